// SPDX-License-Identifier: Apache-2.0
// Runs of many seeds, in one process or in several; what they add up to.
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim_commit.h"
#include "sim_runs.h"

#define JOBS_MAX 64u
#define ARGS_MAX 64u

static const struct sim_options *current_options; // for the handler of an abort
static struct sim *current;

// ---- one seed --------------------------------------------------------------------------------------

void sim_print_command(const struct sim_options *options, uint64_t seed, FILE *out)
{
    fprintf(out, "pawl-sim --seed %llu", (unsigned long long)seed);
    if (options->only.count > 0 || options->only_text != NULL) {
        fprintf(out, " --only-faults '");
        sim_fault_list_print(&options->only, out);
        fprintf(out, "'");
    }
    if (options->set != NULL) {
        fprintf(out, " --set %s", options->set);
    }
    fprintf(out, "%s -v\n", options->no_validate ? " --no-validate" : "");
}

static void print_tail(const struct sim *sim, FILE *out)
{
    uint64_t count = PAWL_MIN(sim->trace_count, (uint64_t)SIM_TRACE_LINES);
    if (sim->verbose || !sim->tracing) {
        return; // it was printed already, or there is none
    }
    for (uint64_t i = sim->trace_count - count; i < sim->trace_count; i++) {
        fprintf(out, "%s\n", sim->trace[i % SIM_TRACE_LINES]);
    }
}

static struct sim *run(const struct sim_options *options, uint64_t seed, enum sim_trace trace)
{
    struct sim *sim = sim_new(seed, trace, options->set);
    sim->no_validate = options->no_validate;
    sim->fault.only = options->only_text != NULL || options->only.count > 0 ? &options->only : NULL;
    current = sim;
    current_options = options;
    if (trace == SIM_TRACE_PRINT) {
        sim_params_print(&sim->params, stdout);
    }
    (void)sim_run(sim);
    current = NULL;
    return sim;
}

static void print_failure(const struct sim_options *options, uint64_t seed, const char *text)
{
    fprintf(stderr, "seed %llu commit %s: VIOLATION %s\n  repeat:   ", (unsigned long long)seed,
            PAWL_SIM_COMMIT, text);
    sim_print_command(options, seed, stderr);
    fprintf(stderr, "  minimise: pawl-sim --seed %llu --minimise\n", (unsigned long long)seed);
}

void sim_print_seed(const struct sim_options *options, uint64_t seed)
{
    struct sim *sim = run(options, seed, SIM_TRACE_TAIL);
    print_tail(sim, stderr);
    sim_free(sim);
}

static uint64_t run_once(const struct sim_options *options, uint64_t seed, bool first,
                         struct sim_totals *totals)
{
    enum sim_trace trace = !first             ? SIM_TRACE_NONE
                           : options->verbose ? SIM_TRACE_PRINT
                           : options->tail    ? SIM_TRACE_TAIL
                                              : SIM_TRACE_NONE;
    struct sim *sim = run(options, seed, trace);
    totals->seeds++;
    totals->events += sim->events_count;
    totals->acknowledged += sim_oracle_acknowledged(sim->oracle);
    totals->crashes += sim->crashes_count;
    totals->partitions += sim->partitions_count;
    totals->excused += sim->excused_count;
    totals->beyond += sim->beyond;
    totals->faults += sim_faults_count(sim);
    totals->seals += sim_oracle_seals(sim->oracle);
    totals->copies += sim->copies_count;
    totals->dropped += sim_oracle_dropped(sim->oracle);
    uint64_t hash = sim->hash;
    if (sim->violated) {
        totals->violations++;
        print_tail(sim, stderr);
        if (!sim->tracing) {
            sim_print_seed(options, seed); // a seed is a run: the same again, with its trace
        }
        print_failure(options, seed, sim->violation);
    }
    sim_free(sim);
    return hash;
}

uint64_t sim_run_seed(const struct sim_options *options, uint64_t seed, struct sim_totals *totals)
{
    uint64_t hash = run_once(options, seed, true, totals);
    if (options->twice && hash != run_once(options, seed, false, totals)) {
        fprintf(stderr, "seed %llu: VIOLATION two runs of it differ\n", (unsigned long long)seed);
        totals->violations++;
    }
    return hash;
}

// ---- an assertion of a core is a violation too -----------------------------------------------------

static void on_abort(int signal_number)
{
    (void)signal_number;
    if (current != NULL && current->tracing) {
        fflush(stdout);
        print_tail(current, stderr);
        print_failure(current_options, current->seed, "an assertion failed");
        fflush(stderr);
    } else if (current != NULL) {
        // Without a trace there is little to say: the same again, with one, in this process's place.
        char seed[32];
        snprintf(seed, sizeof(seed), "%llu", (unsigned long long)current->seed);
        const char *args[ARGS_MAX + 8] = {0};
        int count = PAWL_MIN(current_options->argc, (int)ARGS_MAX);
        memcpy(args, current_options->argv, (size_t)count * sizeof(args[0]));
        args[count++] = "--jobs";
        args[count++] = "1";
        args[count++] = "--tail";
        args[count++] = "--seed";
        args[count++] = seed;
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL); // the one that is handled now is blocked
        execv("/proc/self/exe", (char *const *)(uintptr_t)args);
    }
    _exit(2);
}

// ---- many seeds ------------------------------------------------------------------------------------

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
            (void)sim_run_seed(options, seed, totals);
        }
    }
    fclose(file);
    return 0;
}

// What a process tells the one that started it.
struct report {
    struct sim_totals totals;
    uint32_t marks_count;
    uint64_t marks[SIM_MARKS_MAX];
};

static void job(const struct sim_options *options, uint32_t number, int out)
{
    struct report report = {0};
    struct sim_mark_total marks[SIM_MARKS_MAX];
    for (uint64_t i = number; i < options->count; i += options->jobs) {
        (void)sim_run_seed(options, options->first + i, &report.totals);
    }
    report.marks_count = sim_marks_take(marks);
    for (uint32_t i = 0; i < report.marks_count; i++) {
        report.marks[i] = marks[i].count;
    }
    const char *bytes = (const char *)&report;
    for (size_t done = 0; done < sizeof(report);) {
        ssize_t n = write(out, bytes + done, sizeof(report) - done);
        pawl_assert(n > 0);
        done += (size_t)n;
    }
    exit(report.totals.violations == 0 ? 0 : 1);
}

static bool read_report(int in, struct report *ret)
{
    size_t done = 0;
    while (done < sizeof(*ret)) {
        ssize_t n = read(in, (char *)ret + done, sizeof(*ret) - done);
        if (n <= 0) {
            return false; // it died
        }
        done += (size_t)n;
    }
    return true;
}

static void totals_add(struct sim_totals *to, const struct sim_totals *from)
{
    to->seeds += from->seeds;
    to->events += from->events;
    to->acknowledged += from->acknowledged;
    to->crashes += from->crashes;
    to->partitions += from->partitions;
    to->excused += from->excused;
    to->beyond += from->beyond;
    to->faults += from->faults;
    to->seals += from->seals;
    to->copies += from->copies;
    to->dropped += from->dropped;
    to->violations += from->violations;
}

static int run_jobs(const struct sim_options *options, struct sim_totals *totals)
{
    int pipes[JOBS_MAX];
    pid_t pids[JOBS_MAX];
    int worst = 0;
    fflush(stdout);
    for (uint32_t i = 0; i < options->jobs; i++) {
        int ends[2];
        pawl_assert(pipe(ends) == 0);
        pids[i] = fork();
        pawl_assert(pids[i] >= 0);
        if (pids[i] == 0) {
            close(ends[0]);
            job(options, i, ends[1]);
        }
        close(ends[1]);
        pipes[i] = ends[0];
    }
    for (uint32_t i = 0; i < options->jobs; i++) {
        struct report report;
        int status = 0;
        if (read_report(pipes[i], &report)) {
            totals_add(totals, &report.totals);
            sim_marks_add(report.marks, report.marks_count);
        } else {
            totals->violations++;
        }
        close(pipes[i]);
        waitpid(pids[i], &status, 0);
        worst = PAWL_MAX(worst, WIFEXITED(status) ? WEXITSTATUS(status) : 2);
    }
    return worst;
}

int sim_batch(const struct sim_options *options, struct sim_totals *totals)
{
    int code = 0;
    signal(SIGABRT, on_abort);
    if (options->file != NULL) {
        code = run_file(options, totals);
    } else if (options->jobs > 1) {
        pawl_assert(options->jobs <= JOBS_MAX);
        code = run_jobs(options, totals);
    } else {
        for (uint64_t i = 0; i < options->count; i++) {
            (void)sim_run_seed(options, options->first + i, totals);
        }
    }
    return code != 0 ? code : totals->violations == 0 ? 0 : 1;
}
