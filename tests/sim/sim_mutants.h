// SPDX-License-Identifier: Apache-2.0
// Runs planted bugs (base/mutant.h) until an oracle sees them.
#ifndef PAWL_SIM_MUTANTS_H
#define PAWL_SIM_MUTANTS_H

#include <stdbool.h>

struct sim_options;

// Makes one active in this process. False: there is none of that name.
bool sim_mutant_activate(const char *name);

// A line for each that options->mutant names (NULL: all), then `caught N of M`. Exit code: 0 all were
// caught by an oracle, and no seed that was needed fails without its bug; 1 otherwise; 2 usage.
int sim_mutants_run(const struct sim_options *options);

#endif
