// SPDX-License-Identifier: Apache-2.0
// Making a failing run small: fewer faults first, by delta debugging, then smaller parameters.
//
// Every trial is a run of its own process, so that an assertion is a failure like any other. A trial that
// fails in another way than the first run did counts too: what is left is a small schedule that fails.
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim_runs.h"

#define SET_BYTES 2048u

struct minimise {
    const struct sim_options *options;
    uint64_t seed;
    struct sim_fault_list faults;
    char set[SET_BYTES];
    uint32_t trials_count;
};

// In a process of its own: does it fail, and which faults happened?
struct outcome {
    bool failed;
    struct sim_fault_list happened;
};

static void trial_child(const struct minimise *m, const struct sim_fault_list *only, int out)
{
    // What the failure prints is not of interest here.
    if (freopen("/dev/null", "w", stderr) == NULL || freopen("/dev/null", "w", stdout) == NULL) {
        _exit(3);
    }
    struct sim *sim = sim_new(m->seed, SIM_TRACE_NONE, m->set[0] != '\0' ? m->set : NULL);
    sim->no_validate = m->options->no_validate;
    sim->fault.only = only;
    bool right = sim_run(sim);
    size_t bytes = sim->fault.happened.count * sizeof(sim->fault.happened.items[0]);
    const char *at = (const char *)sim->fault.happened.items;
    while (bytes > 0) {
        ssize_t n = write(out, at, bytes);
        if (n <= 0) {
            break;
        }
        at += n;
        bytes -= (size_t)n;
    }
    _exit(right ? 0 : 1);
}

static struct outcome trial(struct minimise *m, const struct sim_fault_list *only)
{
    struct outcome outcome = {0};
    struct sim_fault_name name;
    int ends[2];
    int status = 0;
    m->trials_count++;
    fflush(stdout);
    pawl_assert(pipe(ends) == 0);
    pid_t pid = fork();
    pawl_assert(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        trial_child(m, only, ends[1]);
    }
    close(ends[1]);
    FILE *in = fdopen(ends[0], "r");
    pawl_assert(in != NULL);
    while (fread(&name, sizeof(name), 1, in) == 1) {
        sim_fault_list_add(&outcome.happened, name);
    }
    fclose(in);
    waitpid(pid, &status, 0);
    outcome.failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return outcome;
}

static bool fails(struct minimise *m, const struct sim_fault_list *only)
{
    struct outcome outcome = trial(m, only);
    free(outcome.happened.items);
    return outcome.failed;
}

// All but [from, to).
static struct sim_fault_list without(const struct sim_fault_list *list, uint32_t from, uint32_t to)
{
    struct sim_fault_list rest = {0};
    for (uint32_t i = 0; i < list->count; i++) {
        if (i < from || i >= to) {
            sim_fault_list_add(&rest, list->items[i]);
        }
    }
    return rest;
}

// Takes one part out of `parts` that is not needed. False: all are.
static bool drop_part(struct minimise *m, uint32_t parts)
{
    uint32_t count = m->faults.count;
    for (uint32_t part = 0; part < parts; part++) {
        uint32_t from = (uint32_t)((uint64_t)count * part / parts);
        uint32_t to = (uint32_t)((uint64_t)count * (part + 1) / parts);
        struct sim_fault_list rest = without(&m->faults, from, to);
        if (to > from && fails(m, &rest)) {
            free(m->faults.items);
            m->faults = rest;
            return true;
        }
        free(rest.items);
    }
    return false;
}

static void fewer_faults(struct minimise *m)
{
    uint32_t parts = 2;
    struct sim_fault_list none = {0};
    if (fails(m, &none)) {
        m->faults.count = 0;
        return;
    }
    while (m->faults.count > 1) {
        parts = PAWL_MIN(parts, m->faults.count);
        if (drop_part(m, parts)) {
            parts = PAWL_MAX(parts - 1, 2u);
        } else if (parts == m->faults.count) {
            return;
        } else {
            parts *= 2;
        }
    }
}

static void set_add(struct minimise *m, const char *name, uint32_t value)
{
    size_t used = strlen(m->set);
    snprintf(m->set + used, SET_BYTES - used, "%s%s=%u", used > 0 ? "," : "", name, value);
}

static void smaller_params(struct minimise *m)
{
    static const struct {
        const char *name;
        uint32_t least;
    } fields[] = {{"clients", 1},   {"files", 1},       {"records", 1},
                  {"depth", 1},     {"faults_ms", 100}, {"record", 64},
                  {"clock_ppm", 0}, {"delay_us", 50},   {"disk_us", 100}};
    struct sim *sim = sim_new(m->seed, SIM_TRACE_NONE, m->set[0] != '\0' ? m->set : NULL);
    struct sim_params params = sim->params;
    sim_free(sim);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(fields); i++) {
        uint32_t *value = sim_params_field(&params, fields[i].name);
        size_t used = strlen(m->set);
        bool changed = false;
        // Toward the least in halves of what is between.
        for (uint32_t step = *value - PAWL_MIN(fields[i].least, *value); step > 0; step /= 2) {
            if (*value < fields[i].least + step) {
                continue;
            }
            // Each name once: what was tried for it before is cut away.
            m->set[used] = '\0';
            set_add(m, fields[i].name, *value - step);
            if (fails(m, &m->faults)) {
                *value -= step;
                changed = true;
            }
            m->set[used] = '\0';
            if (changed) {
                set_add(m, fields[i].name, *value);
            }
        }
    }
}

int sim_minimise(const struct sim_options *options, uint64_t seed)
{
    struct minimise m = {.options = options, .seed = seed};
    const struct sim_fault_list *only =
        options->only_text != NULL || options->only.count > 0 ? &options->only : NULL;
    snprintf(m.set, sizeof(m.set), "%s", options->set != NULL ? options->set : "");
    struct outcome first = trial(&m, only);
    if (!first.failed) {
        printf("seed %llu does not fail: nothing to minimise\n", (unsigned long long)seed);
        free(first.happened.items);
        return 0;
    }
    m.faults = first.happened;
    uint32_t before = m.faults.count;
    // A process that died on an assertion could not say what had happened.
    if (before > 0 && fails(&m, &m.faults)) {
        fewer_faults(&m);
    }
    if (before > 0) {
        smaller_params(&m);
        fewer_faults(&m);
    }
    printf("seed %llu: %u of %u faults are enough, after %u trials\n", (unsigned long long)seed,
           m.faults.count, before, m.trials_count);
    struct sim_options small = *options;
    small.only = m.faults;
    small.only_text = "";
    small.set = m.set[0] != '\0' ? m.set : NULL;
    sim_print_seed(&small, seed);
    sim_print_command(&small, seed, stdout);
    free(m.faults.items);
    return 1;
}
