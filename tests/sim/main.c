// SPDX-License-Identifier: Apache-2.0
// pawl-sim: runs seeds of the simulator; one seed is one deterministic run.
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"
#include "sim_mutants.h"

struct sim_options {
    uint64_t first;
    uint64_t count;
    bool verbose;
    bool no_validate;
    bool twice; // run each seed twice and compare
    const char *file;
    bool one; // seed
    bool mutants;
    const char *mutant;
    uint32_t jobs;
};

struct sim_totals {
    uint64_t seeds;
    uint64_t events;
    uint64_t acknowledged;
    uint64_t crashes;
    uint64_t seals;
    uint64_t violations;
};

static struct sim *current; // for the handler of an abort

static void print_tail(const struct sim *sim, FILE *out)
{
    uint64_t count = PAWL_MIN(sim->trace_count, (uint64_t)SIM_TRACE_LINES);
    if (sim->verbose) {
        return; // it was printed already
    }
    for (uint64_t i = sim->trace_count - count; i < sim->trace_count; i++) {
        fprintf(out, "%s\n", sim->trace[i % SIM_TRACE_LINES]);
    }
}

// An assertion of a core is a violation too: say of which seed.
static void on_abort(int signal_number)
{
    (void)signal_number;
    if (current != NULL) {
        fflush(stdout);
        print_tail(current, stderr);
        fprintf(stderr,
                "seed %llu: VIOLATION an assertion failed; repeat: pawl-sim --seed %llu -v\n",
                (unsigned long long)current->seed, (unsigned long long)current->seed);
        fflush(stderr);
    }
    _exit(2);
}

static void print_params(const struct sim_params *p)
{
    printf(
        "servers %u clients %u files %u replicas %u min %u chunk %u record %u depth %u think %u us "
        "deadline %u attempt %u delay %u us spike %u disk %u us stall %u tear %u double %u trip %u "
        "error %u reset %u block %u freeze %u crash %u master %u client %u all %u faults %u "
        "ms%s%s%s%s\n",
        p->servers_count, p->clients_count, p->files_count, p->replicas, p->min_replicas,
        p->chunk_bytes, p->record_bytes_max, p->depth_max, p->think_max_us, p->deadline_ms,
        p->attempt_ms, p->delay_max_us, p->spike_permille, p->disk_max_us, p->stall_permille,
        p->tear_permille, p->double_permille, p->trip_permyriad, p->error_permyriad, p->reset_ms,
        p->block_ms, p->freeze_ms, p->crash_ms, p->master_crash_ms, p->client_crash_ms,
        p->all_crash_ms, p->faults_ms, p->named ? " named" : "", p->shared_name ? " shared" : "",
        p->overtake ? " overtake" : "", p->remove ? " remove" : "");
}

static uint64_t run_once(const struct sim_options *options, uint64_t seed, bool verbose,
                         struct sim_totals *totals)
{
    struct sim *sim = sim_new(seed, verbose);
    sim->no_validate = options->no_validate;
    current = sim;
    if (verbose) {
        print_params(&sim->params);
    }
    bool right = sim_run(sim);
    if (!right) {
        print_tail(sim, stderr);
        fprintf(stderr, "seed %llu failed; repeat: pawl-sim --seed %llu -v\n",
                (unsigned long long)seed, (unsigned long long)seed);
    }
    totals->seeds++;
    totals->events += sim->events_count;
    totals->acknowledged += sim_oracle_acknowledged(sim->oracle);
    totals->crashes += sim->crashes_count;
    totals->seals += sim_oracle_seals(sim->oracle);
    totals->violations += right ? 0 : 1;
    uint64_t hash = sim->hash;
    current = NULL;
    sim_free(sim);
    return hash;
}

static void run_seed(const struct sim_options *options, uint64_t seed, struct sim_totals *totals)
{
    uint64_t hash = run_once(options, seed, options->verbose, totals);
    if (options->twice && hash != run_once(options, seed, false, totals)) {
        fprintf(stderr, "seed %llu: VIOLATION two runs of it differ\n", (unsigned long long)seed);
        totals->violations++;
    }
}

// Seeds that once failed, one a line; what follows the number is for readers.
static int run_file(const struct sim_options *options, struct sim_totals *totals)
{
    char line[256];
    FILE *file = fopen(options->file, "r");
    if (file == NULL) {
        perror(options->file);
        return 2;
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end = NULL;
        unsigned long long seed = strtoull(line, &end, 10);
        if (end != line) {
            run_seed(options, seed, totals);
        }
    }
    fclose(file);
    return 0;
}

static int usage(FILE *out, int code)
{
    fprintf(
        out,
        "usage: pawl-sim [--seeds N] [--first S] [--seed S] [--file F] [--twice] [-v]\n"
        "  --seeds N   run N seeds (100)\n"
        "  --first S   beginning with S (1)\n"
        "  --seed S    run this one only\n"
        "  --file F    run the seeds that F lists\n"
        "  --twice     run each twice: both runs must be the same\n"
        "  --no-validate  leave out the cores' own checks (for planted bugs)\n"
        "  --mutants   plant each bug of base/mutant_list.h until an oracle sees it, within N "
        "seeds\n"
        "              (20000); --jobs J at a time\n"
        "  --mutant A,B  only these; with --seed: one, and the run as ever\n"
        "  -v          print the trace\n"
        "Exit status: 0 nothing was violated, 1 something was, 2 an assertion failed or usage.\n");
    return code;
}

static int parse(int argc, char **argv, struct sim_options *options)
{
    static const struct option longs[] = {
        {"seeds", required_argument, NULL, 'n'},  {"first", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},   {"file", required_argument, NULL, 'l'},
        {"twice", no_argument, NULL, 't'},        {"verbose", no_argument, NULL, 'v'},
        {"no-validate", no_argument, NULL, 'c'},  {"mutants", no_argument, NULL, 'm'},
        {"mutant", required_argument, NULL, 'M'}, {"jobs", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "vh", longs, NULL)) != -1) {
        switch (c) {
        case 'n':
            options->count = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            options->first = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options->first = strtoull(optarg, NULL, 10);
            options->count = 1;
            options->one = true;
            break;
        case 'l':
            options->file = optarg;
            break;
        case 't':
            options->twice = true;
            break;
        case 'v':
            options->verbose = true;
            break;
        case 'c':
            options->no_validate = true;
            break;
        case 'm':
            options->mutants = true;
            break;
        case 'M':
            options->mutant = optarg;
            break;
        case 'j':
            options->jobs = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'h':
            return -1;
        default:
            return -2;
        }
    }
    return optind == argc ? 0 : -2;
}

int main(int argc, char **argv)
{
    struct sim_options options = {.first = 1, .jobs = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN)};
    struct sim_totals totals = {0};
    int parsed = parse(argc, argv, &options);
    if (parsed != 0) {
        return parsed == -1 ? usage(stdout, 0) : usage(stderr, 2);
    }
    if (options.mutants || (options.mutant != NULL && !options.one)) {
        return sim_mutants_run(
            &(struct sim_mutants_options){.names = options.mutant,
                                          .first = options.first,
                                          .count = options.count != 0 ? options.count : 20000,
                                          .jobs = PAWL_MAX(options.jobs, 1u)});
    }
    if (options.mutant != NULL) {
        options.no_validate = true;
        if (!sim_mutant_activate(options.mutant)) {
            return usage(stderr, 2);
        }
    }
    options.count = options.count != 0 ? options.count : 100;
    signal(SIGABRT, on_abort);
    if (options.file != NULL) {
        int code = run_file(&options, &totals);
        if (code != 0) {
            return code;
        }
    }
    for (uint64_t i = 0; options.file == NULL && i < options.count; i++) {
        run_seed(&options, options.first + i, &totals);
    }
    printf("seeds %llu events %llu acknowledged %llu crashes %llu seals %llu violations %llu\n",
           (unsigned long long)totals.seeds, (unsigned long long)totals.events,
           (unsigned long long)totals.acknowledged, (unsigned long long)totals.crashes,
           (unsigned long long)totals.seals, (unsigned long long)totals.violations);
    return totals.violations == 0 ? 0 : 1;
}
