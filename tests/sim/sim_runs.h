// SPDX-License-Identifier: Apache-2.0
// Runs of the simulator: one, many, smaller ones. main.c reads the command line.
#ifndef PAWL_SIM_RUNS_H
#define PAWL_SIM_RUNS_H

#include "sim.h"

#define SIM_MARKS_MAX 256u
#define SIM_MARKS_SEEDS 2000u // so many seeds come by every mark

struct sim_options {
    int argc;
    char **argv;
    uint64_t first;
    uint64_t count;
    uint32_t jobs; // processes
    bool verbose;
    bool tail; // keep the trace, print its last lines whatever happens
    bool no_validate;
    bool twice; // run each seed twice and compare
    bool minimise;
    bool one; // --seed
    bool mutants;
    const char *mutant;    // names; NULL: all
    bool marks;            // print them
    const char *file;      // of seeds
    const char *only_text; // as given
    const char *set;       // parameters that are not as drawn
    struct sim_fault_list only;
};

struct sim_totals {
    uint64_t seeds;
    uint64_t events;
    uint64_t acknowledged;
    uint64_t crashes;
    uint64_t partitions;
    uint64_t beyond; // runs that ended with more faults at once than anything is promised for
    uint64_t excused;
    uint64_t faults;
    uint64_t seals;
    uint64_t copies;
    uint64_t dropped; // rows of ended sessions
    uint64_t violations;
};

// sim_batch.c

// All seeds that the options name. 0, 1: something was violated, 2: an assertion failed.
int sim_batch(const struct sim_options *options, struct sim_totals *totals);
// One seed, in this process. The hash of its events.
uint64_t sim_run_seed(const struct sim_options *options, uint64_t seed, struct sim_totals *totals);
// The same with its trace, for people.
void sim_print_seed(const struct sim_options *options, uint64_t seed);
// "pawl-sim --seed 7 --only-faults crash1": what repeats a run.
void sim_print_command(const struct sim_options *options, uint64_t seed, FILE *out);

// sim_minimise.c

// Looks for a small set of faults, and for small parameters, with which the seed still fails. Prints what
// repeats it. 0: the seed does not fail at all.
int sim_minimise(const struct sim_options *options, uint64_t seed);

// sim_marks.c

struct sim_mark_total {
    const char *name;
    uint64_t count;
};
// Marks by name, sorted; those of the same name added up.
uint32_t sim_marks_take(struct sim_mark_total marks[SIM_MARKS_MAX]);
// What another process counted, in the order of sim_marks_take().
void sim_marks_add(const uint64_t *counts, uint32_t count);
void sim_marks_print(FILE *out);
// Prints the marks that were never reached; how many there are.
uint32_t sim_marks_missing(FILE *out);

#endif
