// SPDX-License-Identifier: Apache-2.0
// The world of the simulator: clocks, the queue of events, processes, the two phases.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "sim_write.h"

#define SIM_CLOCK_TRUE 1000000u   // rate of a clock that is right
#define SIM_WATCH_EVENTS 4096u    // between two looks at everything
#define SIM_VALIDATE_STEPS 64u    // between two checks of a core of itself
#define SIM_LIVENESS_MS 120000ull // everything pending ends so long after the last fault

void *sim_alloc(size_t bytes)
{
    void *p = calloc(1, bytes != 0 ? bytes : 1);
    pawl_assert(p != NULL);
    return p;
}

void *sim_copy(const void *data, size_t bytes)
{
    void *p = sim_alloc(bytes);
    if (bytes != 0) {
        memcpy(p, data, bytes);
    }
    return p;
}

bool sim_validates(const struct sim *sim, uint64_t *steps)
{
    return !sim->no_validate && (sim->script != NULL || ++*steps % SIM_VALIDATE_STEPS == 0);
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return sim->script != NULL ? sim->script->draw(sim, bound)
                               : pawl_random_below(&sim->random, bound);
}

bool sim_permille(struct sim *sim, uint32_t permille)
{
    // In a script nothing happens by chance.
    return sim->script == NULL && permille != 0 && pawl_random_below(&sim->random, 1000) < permille;
}

uint64_t sim_clock(const struct sim *sim, const struct sim_node *node)
{
    uint64_t passed_ns = sim->now_ns - node->clock_at_ns;
    return node->clock_ns + passed_ns * node->clock_rate / SIM_CLOCK_TRUE;
}

uint64_t sim_world_ns(const struct sim_node *node, uint64_t own_ns)
{
    return own_ns * SIM_CLOCK_TRUE / node->clock_rate;
}

// A process that starts again may run on another machine, with another clock.
static void clock_draw(struct sim *sim, struct sim_node *node)
{
    uint32_t ppm = sim->params.clock_ppm;
    uint64_t most = SIM_CLOCK_TRUE + ppm;
    uint64_t least = (uint64_t)SIM_CLOCK_TRUE * SIM_CLOCK_TRUE / most;
    node->clock_ns = sim_below(sim, 1000) * SIM_MS;
    node->clock_at_ns = sim->now_ns;
    node->clock_rate = (uint32_t)(least + sim_below(sim, most - least + 1));
}

bool sim_alive(const struct sim_node *node, uint64_t life)
{
    return node->up && node->life == life;
}

struct sim_node *sim_node_of(struct sim *sim, enum sim_role role, uint32_t index)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        if (sim->nodes[i].role == role && sim->nodes[i].index == index) {
            return &sim->nodes[i];
        }
    }
    return NULL;
}

struct sim_node *sim_server_node(struct sim *sim, uint64_t server_id)
{
    bool known =
        server_id >= SIM_SERVER_ID(0) && server_id < SIM_SERVER_ID(sim->params.servers_count);
    return known ? sim_node_of(sim, SIM_CHUNKD, (uint32_t)(server_id - SIM_SERVER_ID(0))) : NULL;
}

// ---- trace -------------------------------------------------------------------------------------

static void trace_line(struct sim *sim, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void trace_line(struct sim *sim, const char *format, va_list args)
{
    char *line = sim->trace[sim->trace_count++ % SIM_TRACE_LINES];
    int n = snprintf(line, SIM_TRACE_BYTES, "%6llu.%06llu ",
                     (unsigned long long)(sim->now_ns / (1000 * SIM_MS)),
                     (unsigned long long)(sim->now_ns / SIM_US % 1000000));
    vsnprintf(line + n, SIM_TRACE_BYTES - (size_t)n, format, args);
    if (sim->script != NULL) {
        sim->script->noted(sim, line + n);
    }
    if (sim->verbose) {
        puts(line);
    }
}

void sim_note_line(struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    trace_line(sim, format, args);
    va_end(args);
}

void sim_violation(struct sim *sim, const char *format, ...)
{
    char text[SIM_TRACE_BYTES - 32];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (sim->beyond) {
        return;
    }
    sim_note(sim, "VIOLATION %s", text);
    if (!sim->violated) {
        memcpy(sim->violation, text, sizeof(text));
    }
    sim->violated = true;
}

// ---- queue of events: a binary heap by (time, order) ---------------------------------------------

static bool earlier(const struct sim_event *x, const struct sim_event *y)
{
    return x->at_ns != y->at_ns ? x->at_ns < y->at_ns : x->order < y->order;
}

static void heap_push(struct sim *sim, struct sim_event event, uint64_t at_ns)
{
    if (sim->heap_count == sim->heap_capacity) {
        sim->heap_capacity = sim->heap_capacity != 0 ? 2 * sim->heap_capacity : 1024;
        sim->heap = realloc(sim->heap, sim->heap_capacity * sizeof(sim->heap[0]));
        pawl_assert(sim->heap != NULL);
    }
    event.at_ns = at_ns;
    event.order = sim->order++;
    size_t at = sim->heap_count++;
    while (at > 0 && earlier(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

void sim_at(struct sim *sim, uint64_t delay_ns, struct sim_event event)
{
    event.life = event.node != NULL ? event.node->life : 0;
    heap_push(sim, event, sim->now_ns + delay_ns);
}

static struct sim_event heap_pop(struct sim *sim)
{
    struct sim_event top = sim->heap[0];
    struct sim_event last = sim->heap[--sim->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < sim->heap_count && earlier(&sim->heap[child + 1], &sim->heap[child])) {
            child++;
        }
        if (child >= sim->heap_count || !earlier(&sim->heap[child], &last)) {
            break;
        }
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    if (sim->heap_count > 0) {
        sim->heap[at] = last;
    }
    return top;
}

// ---- processes -----------------------------------------------------------------------------------

void sim_start(struct sim *sim, struct sim_node *node)
{
    if (node->up) {
        return;
    }
    node->up = true;
    node->life++;
    clock_draw(sim, node);
    sim_note(sim, "%s starts", node->name);
    switch (node->role) {
    case SIM_MASTER:
        sim_master_start(sim, node);
        break;
    case SIM_CHUNKD:
        sim_chunkd_start(sim, node);
        break;
    case SIM_CLIENT:
        sim_client_start(sim, node);
        break;
    }
}

static void on_restart(struct sim *sim, struct sim_event *event)
{
    sim_start(sim, event->node);
}

void sim_crash(struct sim *sim, struct sim_node *node)
{
    if (!node->up) {
        return;
    }
    sim_note(sim, "%s crashes", node->name);
    sim->crashes_count++;
    switch (node->role) {
    case SIM_MASTER:
        sim_master_stop(sim, node);
        break;
    case SIM_CHUNKD:
        // The disk was writing from the process's memory.
        sim_disk_crash(sim, sim->disks[node->index]);
        sim_oracle_held_look(sim, node->index);
        sim_chunkd_stop(sim, node);
        break;
    case SIM_CLIENT:
        sim_client_stop(sim, node);
        break;
    }
    node->up = false;
    node->life++;
    node->frozen_until_ns = 0;
    sim_net_node_down(sim, node);
    if (sim->script != NULL) {
        return; // it starts the node again when it wants to
    }
    uint64_t down_ms = sim_permille(sim, 300) ? sim_below(sim, 6000) : 10 + sim_below(sim, 600);
    sim_at(sim, down_ms * SIM_MS, (struct sim_event){.run = on_restart, .node = node});
}

// ---- the run -------------------------------------------------------------------------------------

static void add_node(struct sim *sim, enum sim_role role, uint32_t index, const char *prefix)
{
    struct sim_node *node = &sim->nodes[sim->nodes_count];
    node->role = role;
    node->index = index;
    node->id = sim->nodes_count++;
    snprintf(node->name, sizeof(node->name), "%s%u", prefix, index + 1);
}

static void populate(struct sim *sim, enum sim_trace trace)
{
    sim->tracing = trace != SIM_TRACE_NONE;
    sim->verbose = trace == SIM_TRACE_PRINT;
    sim->trace = sim->tracing ? sim_alloc(SIM_TRACE_LINES * sizeof(sim->trace[0])) : NULL;
    sim->oracle = sim_oracle_new(sim);
    sim->watch = sim_watch_new();
    sim->writes = sim_writes_new();
    add_node(sim, SIM_MASTER, 0, "m");
    sim->master_disk = sim_log_new();
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        add_node(sim, SIM_CHUNKD, i, "cs");
        sim->disks[i] = sim_disk_new(&sim->nodes[sim->nodes_count - 1]);
    }
    for (uint32_t i = 0; i < sim->params.clients_count; i++) {
        add_node(sim, SIM_CLIENT, i, "c");
        sim->client_notes[i] = sim_notes_new(sim, i);
    }
}

struct sim *sim_new(uint64_t seed, enum sim_trace trace, const char *set)
{
    struct sim *sim = sim_alloc(sizeof(*sim));
    sim->seed = seed;
    pawl_random_seed(&sim->random, seed);
    sim_faults_init(sim);
    sim_params_draw(&sim->params, &sim->random);
    sim_params_losses(&sim->params, seed);
    if (set != NULL) {
        pawl_assert(sim_params_set(&sim->params, set)); // its syntax was checked before
    }
    populate(sim, trace);
    return sim;
}

struct sim *sim_new_scripted(const struct sim_params *params, const struct sim_script *script)
{
    struct sim *sim = sim_alloc(sizeof(*sim));
    sim->params = *params;
    sim->script = script;
    populate(sim, SIM_TRACE_TAIL);
    return sim;
}

void sim_free(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node->up && node->role == SIM_MASTER) {
            sim_master_stop(sim, node);
        } else if (node->up && node->role == SIM_CHUNKD) {
            sim_chunkd_stop(sim, node);
        } else if (node->up) {
            sim_client_stop(sim, node);
        }
        node->up = false;
        node->life++;
    }
    // Frames that were still on their way are freed by their events.
    while (sim->heap_count > 0) {
        struct sim_event event = heap_pop(sim);
        if (event.p != NULL) {
            event.run(sim, &event);
        }
    }
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        sim_disk_free(sim->disks[i]);
    }
    for (uint32_t i = 0; i < SIM_CLIENTS_MAX; i++) {
        sim_notes_free(sim->client_notes[i]);
    }
    sim_log_free(sim->master_disk);
    sim_oracle_free(sim->oracle);
    sim_watch_free(sim->watch);
    sim_writes_free(sim->writes);
    sim_net_fini(sim);
    sim_faults_fini(sim);
    free(sim->trace);
    free(sim->heap);
    free(sim);
}

void sim_run_until(struct sim *sim, uint64_t end_ns)
{
    while (!sim->violated && sim->heap_count > 0 && sim->heap[0].at_ns <= end_ns) {
        struct sim_event event = heap_pop(sim);
        pawl_assert(event.at_ns >= sim->now_ns);
        sim->now_ns = event.at_ns;
        if (event.node != NULL && event.node->frozen_until_ns > sim->now_ns) {
            heap_push(sim, event, event.node->frozen_until_ns);
            continue;
        }
        sim->events_count++;
        sim->hash = (sim->hash ^ event.at_ns ^ event.order << 40) * 0x9e3779b97f4a7c15u;
        event.run(sim, &event);
        if (sim->events_count % SIM_WATCH_EVENTS == 0) {
            sim_watch_all(sim);
        }
    }
    sim->now_ns = PAWL_MAX(sim->now_ns, end_ns);
}

static bool all_finished(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        if (sim->nodes[i].role == SIM_CLIENT && !sim_client_finished(sim, &sim->nodes[i])) {
            return false;
        }
    }
    return true;
}

static void check_liveness(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nodes_count && !sim->violated; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->role != SIM_CLIENT || sim_client_finished(sim, node)) {
            continue;
        }
        if (sim_client_is_excused(sim, node)) {
            sim_note(sim, "%s does not end: its file has lost something", node->name);
            sim->excused_count++;
        } else {
            char text[160];
            sim_client_describe(sim, node, text, sizeof(text));
            sim_violation(sim, "liveness: %s is stuck %llu ms after the last fault: %s", node->name,
                          SIM_LIVENESS_MS, text);
        }
    }
}

static bool payloads_are_held(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        if (sim_chunkd_payloads(sim_node_of(sim, SIM_CHUNKD, i)) > 0) {
            return true;
        }
    }
    return false;
}

static void check_payloads(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->params.servers_count && !sim->violated; i++) {
        const struct sim_node *node = sim_node_of(sim, SIM_CHUNKD, i);
        int payloads_count = sim_chunkd_payloads(node);
        if (payloads_count > 0) {
            sim_violation(sim, "%s holds %d payloads that nobody waits for", node->name,
                          payloads_count);
        }
    }
}

bool sim_run(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        sim_start(sim, &sim->nodes[i]);
    }
    // Some clusters are born in peace, some are not.
    sim_run_until(sim, sim_permille(sim, 700) ? 300 * SIM_MS : 0);
    sim_faults_begin(sim);
    sim_run_until(sim, sim->now_ns + sim->params.faults_ms * SIM_MS);
    sim_faults_end(sim);
    uint64_t limit_ns = sim->now_ns + SIM_LIVENESS_MS * SIM_MS;
    while (!sim->violated && !all_finished(sim) && sim->now_ns < limit_ns) {
        sim_run_until(sim, sim->now_ns + 100 * SIM_MS);
    }
    while (!sim->violated && !sim_heal_is_done(sim) && sim->now_ns < limit_ns) {
        sim_run_until(sim, sim->now_ns + 100 * SIM_MS);
    }
    check_liveness(sim);
    sim_heal_end(sim);
    if (!sim->violated) {
        sim_run_until(sim, sim->now_ns + 3000 * SIM_MS);
        while (!sim->violated && payloads_are_held(sim) && sim->now_ns < limit_ns) {
            sim_run_until(sim, sim->now_ns + 100 * SIM_MS); // a copy may be under way
        }
        check_payloads(sim);
        sim_oracle_end(sim);
        sim_watch_end(sim);
    }
    return !sim->violated;
}
