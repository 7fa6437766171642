// SPDX-License-Identifier: Apache-2.0
// Faults: their names, whether one happens, and those that come by time.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sim.h"

static const char *const names[SIM_FAULT_KINDS] = {
    [SIM_FAULT_CRASH] = "crash",
    [SIM_FAULT_MASTER_CRASH] = "mastercrash",
    [SIM_FAULT_CLIENT_CRASH] = "clientcrash",
    [SIM_FAULT_ALL_CRASH] = "allcrash",
    [SIM_FAULT_TRIP] = "trip",
    [SIM_FAULT_RESET] = "reset",
    [SIM_FAULT_BLOCK] = "block",
    [SIM_FAULT_FREEZE] = "freeze",
    [SIM_FAULT_JUMP] = "jump",
    [SIM_FAULT_ROT] = "rot",
    [SIM_FAULT_FULL] = "full",
    [SIM_FAULT_CUT] = "cut",
    [SIM_FAULT_LOSE] = "lose",
    [SIM_FAULT_LATE] = "late",
    [SIM_FAULT_DOUBLE] = "double",
    [SIM_FAULT_ECHO] = "echo",
    [SIM_FAULT_ROLLBACK] = "rollback",
    [SIM_FAULT_WIPE] = "wipe",
    [SIM_FAULT_TEAR] = "tear",
    [SIM_FAULT_ERROR] = "error",
    [SIM_FAULT_STALL] = "stall",
    [SIM_FAULT_SPIKE] = "spike",
};

const char *sim_fault_kind_name(enum sim_fault_kind kind)
{
    return names[kind];
}

// ---- lists of names ------------------------------------------------------------------------------

void sim_fault_list_add(struct sim_fault_list *list, struct sim_fault_name name)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity != 0 ? 2 * list->capacity : 64;
        list->items = realloc(list->items, list->capacity * sizeof(list->items[0]));
        pawl_assert(list->items != NULL);
    }
    list->items[list->count++] = name;
}

static bool parse_one(const char *text, size_t bytes, struct sim_fault_name *ret)
{
    for (int kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        size_t length = strlen(names[kind]);
        if (length < bytes && strncmp(text, names[kind], length) == 0 &&
            isdigit((unsigned char)text[length])) {
            char *end = NULL;
            unsigned long number = strtoul(text + length, &end, 10);
            *ret = (struct sim_fault_name){.kind = (enum sim_fault_kind)kind,
                                           .number = (uint32_t)number};
            return end == text + bytes && number != 0;
        }
    }
    return false;
}

bool sim_fault_list_parse(struct sim_fault_list *list, const char *text)
{
    while (*text != '\0') {
        struct sim_fault_name name;
        size_t bytes = strcspn(text, ",");
        if (!parse_one(text, bytes, &name)) {
            return false;
        }
        sim_fault_list_add(list, name);
        text += bytes;
        text += *text == ',' ? 1 : 0;
    }
    return true;
}

void sim_fault_list_print(const struct sim_fault_list *list, FILE *out)
{
    for (uint32_t i = 0; i < list->count; i++) {
        fprintf(out, "%s%s%u", i > 0 ? "," : "", names[list->items[i].kind], list->items[i].number);
    }
}

// ---- one fault -------------------------------------------------------------------------------------

void sim_faults_init(struct sim *sim)
{
    for (uint64_t kind = 0; kind < SIM_FAULT_KINDS; kind++) {
        pawl_random_seed(&sim->fault.random[kind], pawl_hash_u64(sim->seed) ^ (kind + 1) << 32);
    }
}

void sim_faults_fini(struct sim *sim)
{
    free(sim->fault.happened.items);
}

static bool is_allowed(const struct sim_faults *faults, struct sim_fault_name name)
{
    if (faults->only == NULL) {
        return true;
    }
    for (uint32_t i = 0; i < faults->only->count; i++) {
        const struct sim_fault_name *item = &faults->only->items[i];
        if (item->kind == name.kind && item->number == name.number) {
            return true;
        }
    }
    return false;
}

bool sim_fault(struct sim *sim, enum sim_fault_kind kind, uint32_t permyriad)
{
    struct sim_faults *faults = &sim->fault;
    if (!sim->faults || permyriad == 0 ||
        pawl_random_below(&faults->random[kind], 10000) >= permyriad) {
        return false;
    }
    struct sim_fault_name name = {.kind = kind, .number = ++faults->count[kind]};
    if (!is_allowed(faults, name)) {
        return false;
    }
    pawl_random_seed(&faults->draw,
                     pawl_hash_u64(sim->seed ^ ((uint64_t)kind << 32 | name.number)));
    sim_fault_list_add(&faults->happened, name);
    sim_note(sim, "fault %s%u", names[kind], name.number);
    return true;
}

uint64_t sim_fault_below(struct sim *sim, uint64_t bound)
{
    return pawl_random_below(&sim->fault.draw, bound);
}

static bool fault_permille(struct sim *sim, uint32_t permille)
{
    return sim_fault_below(sim, 1000) < permille;
}

uint64_t sim_faults_count(const struct sim *sim)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < sim->fault.happened.count; i++) {
        count += sim->fault.happened.items[i].kind < SIM_FAULT_STALL ? 1 : 0;
    }
    return count;
}

static void on_trip(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life) && sim->faults) {
        sim_crash(sim, event->node);
    }
}

void sim_trip(struct sim *sim, struct sim_node *node, uint32_t permyriad, uint64_t delay_max_ns)
{
    if (sim_fault(sim, SIM_FAULT_TRIP, permyriad)) {
        sim_at(sim, sim_fault_below(sim, delay_max_ns),
               (struct sim_event){.run = on_trip, .node = node});
    }
}

// ---- faults that come by time ----------------------------------------------------------------------

static void fault_crash(struct sim *sim)
{
    uint32_t index = (uint32_t)sim_fault_below(sim, sim->params.servers_count);
    sim_crash(sim, sim_node_of(sim, SIM_CHUNKD, index));
}

static void fault_master_crash(struct sim *sim)
{
    sim_crash(sim, sim_node_of(sim, SIM_MASTER, 0));
}

static void fault_client_crash(struct sim *sim)
{
    uint32_t index = (uint32_t)sim_fault_below(sim, sim->params.clients_count);
    sim_crash(sim, sim_node_of(sim, SIM_CLIENT, index));
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
        size_t back = sim_fault_below(sim, PAWL_MIN(sim->conns_count, 64u));
        struct sim_conn *conn = sim->conns[sim->conns_count - 1 - back];
        if (conn->side[0].open && conn->side[1].open) {
            sim_note(sim, "conn %llu breaks", (unsigned long long)conn->id);
            sim_break(sim, conn);
            return;
        }
    }
}

// Nothing gets from one node to another for a while: a one-way partition. Streams stall; some break.
static void block(struct sim *sim, uint32_t from, uint32_t to, const struct sim_block *block)
{
    if (sim->blocks[from][to].until_ns < block->until_ns) {
        sim->blocks[from][to] = *block;
    }
    for (size_t i = 0; i < sim->conns_count; i++) {
        struct sim_conn *conn = sim->conns[i];
        uint32_t a = conn->side[0].node->id;
        uint32_t b = conn->side[1].node->id;
        bool crosses = (a == from && b == to) || (a == to && b == from);
        if (crosses && conn->side[0].open && conn->side[1].open && !sim_block_leaks(block, conn) &&
            fault_permille(sim, 400)) {
            sim_break(sim, conn);
        }
    }
}

static void fault_block(struct sim *sim)
{
    uint32_t from = (uint32_t)sim_fault_below(sim, sim->nodes_count);
    uint32_t to = (uint32_t)sim_fault_below(sim, sim->nodes_count);
    uint64_t length_ns =
        (50 + sim_fault_below(sim, fault_permille(sim, 200) ? 6000 : 900)) * SIM_MS;
    bool both = fault_permille(sim, 500);
    bool alone = fault_permille(sim, 300); // from everybody
    struct sim_block wall = {.until_ns = sim->now_ns + length_ns,
                             .leak_permille = fault_permille(sim, 300) ? 500 : 0,
                             .salt = (uint32_t)sim_fault_below(sim, UINT32_MAX)};
    sim->partitions_count++;
    sim_note(sim, "%s cut off %s %s%s for %llu ms", sim->nodes[from].name,
             both ? "from and for" : "for", alone ? "all" : sim->nodes[to].name,
             wall.leak_permille != 0 ? " in part" : "", (unsigned long long)(length_ns / SIM_MS));
    for (uint32_t other = 0; other < sim->nodes_count; other++) {
        if (other == from || (!alone && other != to)) {
            continue;
        }
        block(sim, from, other, &wall);
        if (both) {
            block(sim, other, from, &wall);
        }
    }
}

// A process that sleeps for a while and does not know it: SIGSTOP, a machine that swaps.
static void fault_freeze(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_fault_below(sim, sim->nodes_count)];
    uint64_t length_ns =
        (20 + sim_fault_below(sim, fault_permille(sim, 400) ? 5000 : 400)) * SIM_MS;
    sim_note(sim, "%s freezes for %llu ms", node->name, (unsigned long long)(length_ns / SIM_MS));
    node->frozen_until_ns = sim->now_ns + length_ns;
}

// A clock leaps ahead: the machine was suspended, or its time was set. CLOCK_BOOTTIME never goes back.
static void fault_jump(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_fault_below(sim, sim->nodes_count)];
    uint64_t jump_ms = 1 + sim_fault_below(sim, fault_permille(sim, 300) ? 60000 : 3000);
    sim_note(sim, "%s clock jumps by %llu ms", node->name, (unsigned long long)jump_ms);
    node->clock_ns += jump_ms * SIM_MS;
}

static void fault_rot(struct sim *sim)
{
    uint32_t index = (uint32_t)sim_fault_below(sim, sim->params.servers_count);
    sim_disk_rot(sim, sim->disks[index]);
}

static void fault_full(struct sim *sim)
{
    uint32_t index = (uint32_t)sim_fault_below(sim, sim->params.servers_count);
    uint64_t length_ns = (50 + sim_fault_below(sim, 3000)) * SIM_MS;
    sim_note(sim, "%s has no space for %llu ms", sim->disks[index]->node->name,
             (unsigned long long)(length_ns / SIM_MS));
    sim->disks[index]->full_until_ns = sim->now_ns + length_ns;
}

struct sim_timed_fault {
    enum sim_fault_kind kind;
    void (*make)(struct sim *sim);
    size_t mean_at; // of its mean interval in struct sim_params
};
#define TIMED(upper, name, field)                                                                  \
    {                                                                                              \
        SIM_FAULT_##upper, fault_##name, offsetof(struct sim_params, field)                        \
    }
static const struct sim_timed_fault timed[] = {
    TIMED(CRASH, crash, crash_ms),
    TIMED(MASTER_CRASH, master_crash, master_crash_ms),
    TIMED(CLIENT_CRASH, client_crash, client_crash_ms),
    TIMED(ALL_CRASH, all_crash, all_crash_ms),
    TIMED(RESET, reset, reset_ms),
    TIMED(BLOCK, block, block_ms),
    TIMED(FREEZE, freeze, freeze_ms),
    TIMED(JUMP, jump, jump_ms),
    TIMED(ROT, rot, rot_ms),
    TIMED(FULL, full, full_ms),
    {SIM_FAULT_CUT, sim_fault_cut, offsetof(struct sim_params, cut_ms)},
};

static void on_timed(struct sim *sim, struct sim_event *event)
{
    const struct sim_timed_fault *fault = &timed[event->a];
    uint32_t mean_ms;
    memcpy(&mean_ms, (const char *)&sim->params + fault->mean_at, sizeof(mean_ms));
    if (!sim->faults) {
        return;
    }
    if (event->b != 0 && sim_fault(sim, fault->kind, 10000)) {
        fault->make(sim);
    }
    uint64_t wait_ms = 1 + pawl_random_below(&sim->fault.random[fault->kind], 2ull * mean_ms);
    sim_at(sim, wait_ms * SIM_MS, (struct sim_event){.run = on_timed, .a = event->a, .b = 1});
}

void sim_faults_begin(struct sim *sim)
{
    sim->faults = true;
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(timed); i++) {
        uint32_t mean_ms;
        memcpy(&mean_ms, (const char *)&sim->params + timed[i].mean_at, sizeof(mean_ms));
        if (mean_ms != 0) {
            sim_at(sim, 0, (struct sim_event){.run = on_timed, .a = i});
        }
    }
}

void sim_faults_end(struct sim *sim)
{
    sim_note(sim, "faults end");
    sim->faults = false;
    memset(sim->blocks, 0, sizeof(sim->blocks));
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        struct sim_disk *disk =
            sim->nodes[i].role == SIM_CHUNKD ? sim->disks[sim->nodes[i].index] : NULL;
        if (disk != NULL) {
            disk->full_until_ns = 0;
        }
        if (disk != NULL && disk->failed) {
            sim_crash(sim, &sim->nodes[i]); // its store heals with a restart only
        }
        // A freeze ends by itself: what waits for its end is not overtaken by what comes later.
        sim_start(sim, &sim->nodes[i]);
        if (sim->nodes[i].role == SIM_CLIENT) {
            sim_client_finish(sim, &sim->nodes[i]);
        }
    }
}
