// SPDX-License-Identifier: Apache-2.0
// pawl-sim: runs seeds of the simulator; one seed is one deterministic run.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim_mutants.h"
#include "sim_runs.h"

static int usage(FILE *out, int code)
{
    fprintf(
        out,
        "usage: pawl-sim [--seeds N] [--first S] [--seed S] [--file F] [--jobs N] [--twice] [-v]\n"
        "  --seeds N   run N seeds (100)\n"
        "  --first S   beginning with S (1)\n"
        "  --seed S    run this one only\n"
        "  --file F    run the seeds that F lists\n"
        "  --jobs N    in N processes\n"
        "  --twice     run each twice: both runs must be the same\n"
        "  --marks     print how often each marked path was reached; with %u seeds or more a path\n"
        "              that never was is a failure, printed or not\n"
        "  --minimise  make the failing run of --seed small and print what repeats it\n"
        "  --only-faults LIST  let only these faults happen: crash1,tear7\n"
        "  --set LIST  change parameters of the run: clients=1,records=10\n"
        "  --no-validate  leave out the cores' own checks (for planted bugs)\n"
        "  --mutants   plant each bug of base/mutant_list.h until an oracle sees it, within N "
        "seeds\n"
        "              (20000)\n"
        "  --mutant LIST  only these; with --seed: one of them, and the run as ever\n"
        "  --tail      print the last lines of the trace\n"
        "  -v          print the trace\n"
        "Exit status: 0 nothing was violated, 1 something was, 2 an assertion failed or usage.\n",
        SIM_MARKS_SEEDS);
    return code;
}

enum {
    OPTION_SEEDS = 256,
    OPTION_FIRST,
    OPTION_SEED,
    OPTION_FILE,
    OPTION_JOBS,
    OPTION_TWICE,
    OPTION_MARKS,
    OPTION_MINIMISE,
    OPTION_ONLY,
    OPTION_SET,
    OPTION_NO_VALIDATE,
    OPTION_TAIL,
    OPTION_MUTANTS,
    OPTION_MUTANT,
};

static bool parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *ret)
{
    char *end = NULL;
    *ret = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *ret >= least && *ret <= most;
}

// False: not understood.
static bool parse_one(int c, const char *value, struct sim_options *options)
{
    struct sim_params params = {0};
    uint64_t number = 0;
    switch (c) {
    case OPTION_SEEDS:
        return parse_number(value, 1, UINT64_MAX, &options->count);
    case OPTION_FIRST:
        return parse_number(value, 0, UINT64_MAX, &options->first);
    case OPTION_SEED:
        options->count = 1;
        options->one = true;
        options->file = NULL;
        return parse_number(value, 0, UINT64_MAX, &options->first);
    case OPTION_FILE:
        options->file = value;
        return true;
    case OPTION_JOBS:
        if (!parse_number(value, 1, 64, &number)) {
            return false;
        }
        options->jobs = (uint32_t)number;
        return true;
    case OPTION_TWICE:
        options->twice = true;
        return true;
    case OPTION_MARKS:
        options->marks = true;
        return true;
    case OPTION_MINIMISE:
        options->minimise = true;
        return true;
    case OPTION_ONLY:
        options->only_text = value;
        return sim_fault_list_parse(&options->only, value);
    case OPTION_SET:
        options->set = value;
        return sim_params_set(&params, value);
    case OPTION_NO_VALIDATE:
        options->no_validate = true;
        return true;
    case OPTION_TAIL:
        options->tail = true;
        return true;
    case OPTION_MUTANTS:
        options->mutants = true;
        return true;
    case OPTION_MUTANT:
        options->mutant = value;
        return true;
    case 'v':
        options->verbose = true;
        return true;
    default:
        return false;
    }
}

// 0, -1: help was asked for, -2: not understood.
static int parse(int argc, char **argv, struct sim_options *options)
{
    static const struct option longs[] = {
        {"seeds", required_argument, NULL, OPTION_SEEDS},
        {"first", required_argument, NULL, OPTION_FIRST},
        {"seed", required_argument, NULL, OPTION_SEED},
        {"file", required_argument, NULL, OPTION_FILE},
        {"jobs", required_argument, NULL, OPTION_JOBS},
        {"twice", no_argument, NULL, OPTION_TWICE},
        {"marks", no_argument, NULL, OPTION_MARKS},
        {"minimise", no_argument, NULL, OPTION_MINIMISE},
        {"only-faults", required_argument, NULL, OPTION_ONLY},
        {"set", required_argument, NULL, OPTION_SET},
        {"no-validate", no_argument, NULL, OPTION_NO_VALIDATE},
        {"tail", no_argument, NULL, OPTION_TAIL},
        {"mutants", no_argument, NULL, OPTION_MUTANTS},
        {"mutant", required_argument, NULL, OPTION_MUTANT},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "vh", longs, NULL)) != -1) {
        if (c == 'h') {
            return -1;
        }
        if (!parse_one(c, optarg, options)) {
            return -2;
        }
    }
    return optind == argc ? 0 : -2;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void print_totals(const struct sim_totals *t, double seconds)
{
    double seeds = t->seeds != 0 ? (double)t->seeds : 1;
    printf("seeds %llu events %llu acknowledged %llu crashes %llu partitions %llu faults %llu "
           "seals %llu copies %llu dropped %llu excused %llu beyond %llu violations %llu mean "
           "events %.0f mean "
           "faults %.1f "
           "events/s %.0f\n",
           (unsigned long long)t->seeds, (unsigned long long)t->events,
           (unsigned long long)t->acknowledged, (unsigned long long)t->crashes,
           (unsigned long long)t->partitions, (unsigned long long)t->faults,
           (unsigned long long)t->seals, (unsigned long long)t->copies,
           (unsigned long long)t->dropped, (unsigned long long)t->excused,
           (unsigned long long)t->beyond, (unsigned long long)t->violations,
           (double)t->events / seeds, (double)t->faults / seeds,
           seconds > 0 ? (double)t->events / seconds : 0);
}

int main(int argc, char **argv)
{
    struct sim_options options = {.argc = argc, .argv = argv, .first = 1, .jobs = 1};
    struct sim_totals totals = {0};
    int parsed = parse(argc, argv, &options);
    if (parsed != 0) {
        return parsed == -1 ? usage(stdout, 0) : usage(stderr, 2);
    }
    if (options.mutants || (options.mutant != NULL && !options.one)) {
        return sim_mutants_run(&options);
    }
    if (options.mutant != NULL) {
        options.no_validate = true;
        if (!sim_mutant_activate(options.mutant)) {
            return usage(stderr, 2);
        }
    }
    options.count = options.count != 0 ? options.count : 100;
    if (options.minimise) {
        return sim_minimise(&options, options.first);
    }
    double start_s = now_s();
    int code = sim_batch(&options, &totals);
    if (options.marks) {
        sim_marks_print(stdout);
    }
    if (totals.seeds >= SIM_MARKS_SEEDS && options.only_text == NULL && options.set == NULL &&
        sim_marks_missing(stderr) > 0) {
        code = PAWL_MAX(code, 1);
    }
    print_totals(&totals, now_s() - start_s);
    free(options.only.items);
    return code;
}
