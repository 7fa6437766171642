// SPDX-License-Identifier: Apache-2.0
// The world of the simulator: clock, queue of events, crashes and other faults, the two phases.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sim.h"
#include "sim_write.h"

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

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return pawl_random_below(&sim->random, bound);
}

bool sim_permille(struct sim *sim, uint32_t permille)
{
    return permille != 0 && pawl_random_below(&sim->random, 1000) < permille;
}

uint64_t sim_clock(const struct sim *sim, const struct sim_node *node)
{
    return sim->now_ns + node->clock_ns;
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
    sim->hash = pawl_hash_bytes(line, strlen(line), sim->hash);
    if (sim->verbose) {
        puts(line);
    }
}

void sim_note(struct sim *sim, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    trace_line(sim, format, args);
    va_end(args);
}

void sim_violation(struct sim *sim, const char *format, ...)
{
    char text[SIM_TRACE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    sim_note(sim, "VIOLATION %s", text);
    if (!sim->violated) {
        fprintf(stderr, "seed %llu: VIOLATION %s\n", (unsigned long long)sim->seed, text);
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

// ---- crashes and other faults --------------------------------------------------------------------

static void node_start(struct sim *sim, struct sim_node *node)
{
    if (node->up) {
        return;
    }
    node->up = true;
    node->life++;
    // A process that starts again may run on another machine's clock.
    node->clock_ns = sim_below(sim, 1000) * SIM_MS;
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
    node_start(sim, event->node);
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
        sim_chunkd_stop(sim, node);
        sim_disk_crash(sim, sim->disks[node->index]);
        break;
    case SIM_CLIENT:
        sim_client_stop(sim, node);
        break;
    }
    node->up = false;
    node->life++;
    node->frozen_until_ns = 0;
    sim_net_node_down(sim, node);
    uint64_t down_ms = sim_permille(sim, 300) ? sim_below(sim, 6000) : 10 + sim_below(sim, 600);
    sim_at(sim, down_ms * SIM_MS, (struct sim_event){.run = on_restart, .node = node});
}

static void on_trip(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life) && sim->faults) {
        sim_crash(sim, event->node);
    }
}

void sim_trip(struct sim *sim, struct sim_node *node, uint32_t permyriad, uint64_t delay_max_ns)
{
    if (sim->faults && permyriad != 0 && sim_below(sim, 10000) < permyriad) {
        sim_at(sim, sim_below(sim, delay_max_ns), (struct sim_event){.run = on_trip, .node = node});
    }
}

static void fault_crash(struct sim *sim)
{
    sim_crash(sim,
              sim_node_of(sim, SIM_CHUNKD, (uint32_t)sim_below(sim, sim->params.servers_count)));
}

static void fault_master_crash(struct sim *sim)
{
    sim_crash(sim, sim_node_of(sim, SIM_MASTER, 0));
}

static void fault_client_crash(struct sim *sim)
{
    sim_crash(sim,
              sim_node_of(sim, SIM_CLIENT, (uint32_t)sim_below(sim, sim->params.clients_count)));
}

static void fault_all_crash(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        if (sim->nodes[i].role != SIM_CLIENT) {
            sim_crash(sim, &sim->nodes[i]);
        }
    }
}

static void fault_reset(struct sim *sim)
{
    for (int tries = 0; tries < 20 && sim->conns_count > 0; tries++) {
        size_t back = sim_below(sim, PAWL_MIN(sim->conns_count, 64u));
        struct sim_conn *conn = sim->conns[sim->conns_count - 1 - back];
        if (conn->side[0].open && conn->side[1].open) {
            sim_note(sim, "conn %llu breaks", (unsigned long long)conn->id);
            sim_break(sim, conn);
            return;
        }
    }
}

// Nothing gets from one node to another for a while: a one-way partition. Streams stall; some break.
static void block(struct sim *sim, uint32_t from, uint32_t to, uint64_t length_ns)
{
    uint64_t until_ns = sim->now_ns + length_ns;
    sim->blocked_until_ns[from][to] = PAWL_MAX(sim->blocked_until_ns[from][to], until_ns);
    for (size_t i = 0; i < sim->conns_count; i++) {
        struct sim_conn *conn = sim->conns[i];
        uint32_t a = conn->side[0].node->id;
        uint32_t b = conn->side[1].node->id;
        bool crosses = (a == from && b == to) || (a == to && b == from);
        if (crosses && conn->side[0].open && conn->side[1].open && sim_permille(sim, 400)) {
            sim_break(sim, conn);
        }
    }
}

static void fault_block(struct sim *sim)
{
    uint32_t from = (uint32_t)sim_below(sim, sim->nodes_count);
    uint32_t to = (uint32_t)sim_below(sim, sim->nodes_count);
    uint64_t length_ns = (50 + sim_below(sim, sim_permille(sim, 200) ? 6000 : 900)) * SIM_MS;
    bool both = sim_permille(sim, 500);
    bool alone = sim_permille(sim, 300); // from everybody
    sim_note(sim, "%s cut off %s %s%s for %llu ms", sim->nodes[from].name,
             both ? "from and for" : "for", alone ? "all" : sim->nodes[to].name, "",
             (unsigned long long)(length_ns / SIM_MS));
    for (uint32_t other = 0; other < sim->nodes_count; other++) {
        if (other == from || (!alone && other != to)) {
            continue;
        }
        block(sim, from, other, length_ns);
        if (both) {
            block(sim, other, from, length_ns);
        }
    }
}

// A process that sleeps for a while and does not know it: SIGSTOP, a machine that swaps.
static void fault_freeze(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_below(sim, sim->nodes_count)];
    uint64_t length_ns = (20 + sim_below(sim, sim_permille(sim, 400) ? 5000 : 400)) * SIM_MS;
    sim_note(sim, "%s freezes for %llu ms", node->name, (unsigned long long)(length_ns / SIM_MS));
    node->frozen_until_ns = sim->now_ns + length_ns;
}

struct sim_fault {
    void (*make)(struct sim *sim);
    size_t mean_at; // of its mean interval in struct sim_params
};
#define FAULT(name, field)                                                                         \
    {                                                                                              \
        fault_##name, offsetof(struct sim_params, field)                                           \
    }
static const struct sim_fault faults[] = {
    FAULT(crash, crash_ms),
    FAULT(master_crash, master_crash_ms),
    FAULT(client_crash, client_crash_ms),
    FAULT(all_crash, all_crash_ms),
    FAULT(reset, reset_ms),
    FAULT(block, block_ms),
    FAULT(freeze, freeze_ms),
};

static void on_fault(struct sim *sim, struct sim_event *event)
{
    const struct sim_fault *fault = &faults[event->a];
    uint32_t mean_ms;
    memcpy(&mean_ms, (const char *)&sim->params + fault->mean_at, sizeof(mean_ms));
    if (!sim->faults) {
        return;
    }
    if (event->b != 0) {
        fault->make(sim);
    }
    sim_at(sim, (1 + sim_below(sim, 2ull * mean_ms)) * SIM_MS,
           (struct sim_event){.run = on_fault, .a = event->a, .b = 1});
}

static void faults_begin(struct sim *sim)
{
    sim->faults = true;
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(faults); i++) {
        uint32_t mean_ms;
        memcpy(&mean_ms, (const char *)&sim->params + faults[i].mean_at, sizeof(mean_ms));
        if (mean_ms != 0) {
            sim_at(sim, 0, (struct sim_event){.run = on_fault, .a = i});
        }
    }
}

static void faults_end(struct sim *sim)
{
    sim_note(sim, "faults end");
    sim->faults = false;
    sim->params.spike_permille = 0;
    sim->params.stall_permille = 0;
    sim->params.tear_permille = 0;
    sim->params.error_permyriad = 0;
    memset(sim->blocked_until_ns, 0, sizeof(sim->blocked_until_ns));
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        bool chunkd = sim->nodes[i].role == SIM_CHUNKD;
        if (chunkd && sim->disks[sim->nodes[i].index]->failed) {
            sim_crash(sim, &sim->nodes[i]); // its store heals with a restart only
        }
        sim->nodes[i].frozen_until_ns = 0;
        node_start(sim, &sim->nodes[i]);
        if (sim->nodes[i].role == SIM_CLIENT) {
            sim_client_finish(sim, &sim->nodes[i]);
        }
    }
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

struct sim *sim_new(uint64_t seed, bool verbose)
{
    struct sim *sim = sim_alloc(sizeof(*sim));
    sim->seed = seed;
    sim->verbose = verbose;
    sim->trace = sim_alloc(SIM_TRACE_LINES * sizeof(sim->trace[0]));
    pawl_random_seed(&sim->random, seed);
    sim_params_draw(&sim->params, &sim->random);
    sim->oracle = sim_oracle_new(sim);
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
    sim_writes_free(sim->writes);
    sim_net_fini(sim);
    free(sim->trace);
    free(sim->heap);
    free(sim);
}

static void run_until(struct sim *sim, uint64_t end_ns)
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
        event.run(sim, &event);
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
        if (node->role == SIM_CLIENT && !sim_client_finished(sim, node)) {
            char text[160];
            sim_client_describe(sim, node, text, sizeof(text));
            sim_violation(sim, "liveness: %s is stuck %llu ms after the last fault: %s", node->name,
                          SIM_LIVENESS_MS, text);
        }
    }
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
        node_start(sim, &sim->nodes[i]);
    }
    // Some clusters are born in peace, some are not.
    run_until(sim, sim_permille(sim, 700) ? 300 * SIM_MS : 0);
    faults_begin(sim);
    run_until(sim, sim->now_ns + sim->params.faults_ms * SIM_MS);
    faults_end(sim);
    uint64_t limit_ns = sim->now_ns + SIM_LIVENESS_MS * SIM_MS;
    while (!sim->violated && !all_finished(sim) && sim->now_ns < limit_ns) {
        run_until(sim, sim->now_ns + 100 * SIM_MS);
    }
    check_liveness(sim);
    if (!sim->violated) {
        run_until(sim, sim->now_ns + 3000 * SIM_MS);
        check_payloads(sim);
        sim_oracle_end(sim);
    }
    return !sim->violated;
}
