// SPDX-License-Identifier: Apache-2.0
// Runs planted bugs (base/mutant.h) until an oracle sees them.
#ifndef PAWL_SIM_MUTANTS_H
#define PAWL_SIM_MUTANTS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_mutants_options {
    const char *names; // separated by commas; NULL: all
    uint64_t first;
    uint64_t count; // seeds that each may take
    uint32_t jobs;  // processes at a time
};

// Makes one active in this process. False: there is none of that name.
bool sim_mutant_activate(const char *name);

// A line for each, then `caught N of M`. Exit code: 0 all were caught by an oracle, and no seed that was
// needed fails without its bug; 1 otherwise; 2 usage.
int sim_mutants_run(const struct sim_mutants_options *options);

#endif
