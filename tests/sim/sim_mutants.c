// SPDX-License-Identifier: Apache-2.0
// The mutation test: every planted bug, each in a process of its own, until an oracle sees it.
//
// The cores' own checks (validate) are left out, so that the oracles alone have to see it. An assertion
// that a bug runs into proves nothing either: that seed counts as missed, and the next one is tried.
// Afterwards the same seeds are run without any bug, and must pass.
#include "sim_mutants.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim_runs.h"

#define SEED_SECONDS 120u // a run that takes longer hangs
#define MUTANT_SEEDS 20000u

struct sim_mutant {
    const char *name;
    const char *section;
    const char *rule;
};

#define ROW(name, section, rule) {#name, section, rule},
static const struct sim_mutant mutants[PAWL_MUTANTS_END] = {{"none", "", ""},
                                                            PAWL_MUTANT_LIST(ROW)};
#undef ROW

// Of one process, shared with it.
struct sim_hunt {
    int mutant; // PAWL_MUTANT_NONE: the same seeds without a bug
    pid_t pid;  // 0: not running
    uint64_t seed;
    uint64_t end; // the first seed that is not run
    uint64_t aborted_count;
    bool wanted;
    bool violated;
    char text[SIM_TRACE_BYTES];
};

static int mutant_find(const char *name, size_t length)
{
    for (int i = 1; i < PAWL_MUTANTS_END; i++) {
        if (strlen(mutants[i].name) == length && strncmp(mutants[i].name, name, length) == 0) {
            return i;
        }
    }
    return -1;
}

bool sim_mutant_activate(const char *name)
{
    int found = mutant_find(name, strlen(name));
    if (found > 0) {
        pawl_mutant_active = (enum pawl_mutant)found;
    }
    return found > 0;
}

// ---- the process of one hunt -------------------------------------------------------------------------------

static void hunt_seeds(struct sim_hunt *hunt)
{
    pawl_mutant_active = (enum pawl_mutant)hunt->mutant;
    for (; hunt->seed < hunt->end && !hunt->violated; hunt->seed++) {
        alarm(SEED_SECONDS);
        struct sim *sim = sim_new(hunt->seed, SIM_TRACE_NONE, NULL);
        sim->no_validate = hunt->mutant != PAWL_MUTANT_NONE;
        hunt->violated = !sim_run(sim);
        memcpy(hunt->text, sim->violation, sizeof(hunt->text));
        sim_free(sim);
    }
}

static bool hunt_start(struct sim_hunt *hunt)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        // What a bug makes the simulator say is expected.
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(1);
        }
        signal(SIGABRT, SIG_DFL);
        hunt_seeds(hunt);
        _exit(0);
    }
    if (pid < 0) {
        perror("fork");
        return false;
    }
    hunt->pid = pid;
    return true;
}

// A process that was killed by an assertion goes on behind that seed.
static bool hunt_ended(struct sim_hunt *hunt, int status)
{
    hunt->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return true;
    }
    hunt->aborted_count++;
    if (hunt->mutant == PAWL_MUTANT_NONE) {
        hunt->violated = true;
        snprintf(hunt->text, sizeof(hunt->text), "an assertion failed");
        return true;
    }
    hunt->seed++;
    return hunt->seed >= hunt->end || !hunt_start(hunt);
}

// ---- all of them -------------------------------------------------------------------------------------------

static void hunt_print(const struct sim_hunt *hunt, uint64_t first)
{
    const struct sim_mutant *mutant = &mutants[hunt->mutant];
    printf("%-6s %-24s %s: %s | seeds %llu", hunt->violated ? "caught" : "MISSED", mutant->name,
           mutant->section, mutant->rule, (unsigned long long)(hunt->seed - first));
    if (hunt->aborted_count != 0) {
        printf(" (%llu asserted)", (unsigned long long)hunt->aborted_count);
    }
    printf(" | %s\n", hunt->violated ? hunt->text : "");
    fflush(stdout);
}

static struct sim_hunt *hunt_of(struct sim_hunt *hunts, int count, pid_t pid)
{
    for (int i = 0; i < count; i++) {
        if (hunts[i].pid == pid) {
            return &hunts[i];
        }
    }
    return NULL;
}

// Runs the wanted ones, `jobs` at a time.
static bool hunts_run(struct sim_hunt *hunts, int count, uint32_t jobs, uint64_t first)
{
    uint32_t running = 0;
    int next = 0;
    for (;;) {
        for (; next < count && running < jobs; next++) {
            if (hunts[next].wanted) {
                if (!hunt_start(&hunts[next])) {
                    return false;
                }
                running++;
            }
        }
        if (running == 0) {
            return true;
        }
        int status = 0;
        pid_t pid = wait(&status);
        struct sim_hunt *hunt = pid > 0 ? hunt_of(hunts, count, pid) : NULL;
        if (hunt != NULL && hunt_ended(hunt, status)) {
            running--;
            if (hunt->mutant != PAWL_MUTANT_NONE) {
                hunt_print(hunt, first);
            }
        }
    }
}

static bool names_take(const char *names, struct sim_hunt *hunts)
{
    while (names != NULL && *names != '\0') {
        size_t length = strcspn(names, ",");
        int found = mutant_find(names, length);
        if (found < 0) {
            fprintf(stderr, "pawl-sim: no planted bug is called %.*s\n", (int)length, names);
            return false;
        }
        hunts[found].wanted = true;
        names += length + (names[length] == ',' ? 1 : 0);
    }
    return true;
}

// The seeds that were needed, without a bug: shared out among the jobs.
static uint64_t run_without(const struct sim_options *options, struct sim_hunt *hunts, uint64_t end)
{
    uint64_t violations = 0;
    uint64_t each = (end - options->first + options->jobs - 1) / options->jobs;
    for (uint32_t i = 0; i < options->jobs; i++) {
        uint64_t from = PAWL_MIN(options->first + i * each, end);
        hunts[i] =
            (struct sim_hunt){.seed = from, .end = PAWL_MIN(from + each, end), .wanted = true};
    }
    if (!hunts_run(hunts, (int)options->jobs, options->jobs, options->first)) {
        return 1;
    }
    for (uint32_t i = 0; i < options->jobs; i++) {
        violations += hunts[i].violated;
        if (hunts[i].violated) {
            printf("without a bug: seed %llu: %s\n", (unsigned long long)hunts[i].seed - 1,
                   hunts[i].text);
        }
    }
    printf("without a bug: seeds %llu violations %llu\n",
           (unsigned long long)(end - options->first), (unsigned long long)violations);
    return violations;
}

int sim_mutants_run(const struct sim_options *options)
{
    size_t bytes = (PAWL_MUTANTS_END + options->jobs) * sizeof(struct sim_hunt);
    struct sim_hunt *hunts =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (hunts == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (!names_take(options->mutant, hunts)) {
        return 2;
    }
    for (int i = 1; i < PAWL_MUTANTS_END; i++) {
        hunts[i].mutant = i;
        hunts[i].wanted |= options->mutant == NULL;
        hunts[i].seed = options->first;
        hunts[i].end = options->first + (options->count != 0 ? options->count : MUTANT_SEEDS);
    }
    if (!hunts_run(hunts, PAWL_MUTANTS_END, options->jobs, options->first)) {
        return 2;
    }
    uint32_t wanted = 0;
    uint32_t caught = 0;
    uint64_t end = options->first;
    for (int i = 1; i < PAWL_MUTANTS_END; i++) {
        wanted += hunts[i].wanted;
        caught += hunts[i].violated;
        end = hunts[i].violated ? PAWL_MAX(end, hunts[i].seed) : end;
    }
    uint64_t violations = run_without(options, &hunts[PAWL_MUTANTS_END], end);
    printf("caught %u of %u\n", caught, wanted);
    munmap(hunts, bytes);
    return caught == wanted && violations == 0 ? 0 : 1;
}
