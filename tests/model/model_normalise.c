// SPDX-License-Identifier: Apache-2.0
// Takes out of a core what tells of its past and has no part in what it does: two pasts that led to
// the same state then count once.
//
// Nothing here may change what a core does next. Left over: old actions, counters for people, free
// list order, names of operations that have ended. A field that is forgotten here costs states, no
// truth.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "client/core/append_core_private.h"
#include "controlplane/core/master_core_private.h"
#include "dataplane/core/chunk_core_private.h"
#include "model.h"

// ---- chunk core --------------------------------------------------------------------------------------

// A token is used once and the driver has ended all that are free, so a name may come again.
static void ops_normalise(struct chunk_core *core)
{
    core->ops_free = 0;
    for (uint32_t slot = core->ops_count; slot-- > 0;) {
        struct chunk_op *op = &core->ops[slot];
        if (op->kind == CHUNK_OP_NONE) {
            *op = (struct chunk_op){.next_free = core->ops_free};
            core->ops_free = slot + 1;
        }
    }
}

// What stands behind the last record was cut.
static void records_normalise(struct pawl_records *records)
{
    uint64_t count = records->count;
    for (uint64_t i = count / PAWL_RECORDS_BLOCK; i < records->blocks.capacity; i++) {
        struct pawl_records_block *block = pawl_paged_at(&records->blocks, i, sizeof(*block));
        uint64_t kept = i == count / PAWL_RECORDS_BLOCK ? count % PAWL_RECORDS_BLOCK : 0;
        for (uint64_t k = kept; k < PAWL_RECORDS_BLOCK; k++) {
            block->groups[k] = 0;
            block->rows[k] = (struct pawl_records_row){0};
        }
        if (kept == 0) {
            block->offset = 0;
            block->group = 0;
        }
    }
    for (uint64_t i = records->groups_count; i < records->groups.capacity; i++) {
        struct pawl_records_group *group = pawl_paged_at(&records->groups, i, sizeof(*group));
        *group = (struct pawl_records_group){0};
    }
}

static void chunk_normalise(struct chunk *chunk)
{
    struct inflight *inflight = &chunk->inflight;
    for (uint32_t i = 0; i < inflight->capacity; i++) {
        uint64_t index = inflight->first + ((i - inflight->first) & (inflight->capacity - 1));
        if (index >= inflight->end) {
            inflight->slots[i] = (struct inflight_slot){0};
        }
    }
    records_normalise(&chunk->records.records);
    uint64_t token = chunk->create_token;
    chunk->create_token = chunk->state == CHUNK_STATE_CREATING ? token : 0;
}

void model_normalise_server(struct chunk_core *core)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        chunk_normalise(value);
    }
    ops_normalise(core);
    while (core->waiters_free) {
        struct chunk_waiter *waiter = core->waiters_free;
        core->waiters_free = waiter->next;
        pawl_alloc_free(core->alloc, waiter);
    }
    core->order = 0; // as in the master's core
    chunk_answer_memory_free(core);
    pawl_alloc_free(core->alloc, core->actions.items); // grows again when it is needed
    core->actions = (struct chunk_actions){0};
    memset(&core->counters, 0, sizeof(core->counters));
}

// ---- master core -------------------------------------------------------------------------------------

static uint64_t chance_seed(uint64_t chance)
{
    return 0x6d6f64656c + chance * 7919;
}

void model_normalise_chance(struct master_core *core, uint64_t chance)
{
    pawl_random_seed(&core->random, chance_seed(chance));
}

static void work_normalise(struct master_work *work)
{
    // Pauses grow, but a timer that runs is a timer that runs.
    if (work->backoff_ms != 0) {
        work->backoff_ms = MASTER_BACKOFF_MIN_MS;
    }
    if (work->retry_ns > MODEL_NOW_NS) {
        work->retry_ns = MODEL_NOW_NS + master_ms_to_ns(MASTER_BACKOFF_MIN_MS);
    } else {
        work->retry_ns = 0;
    }
    if (work->cause == MASTER_CAUSE_NONE) {
        work->cause_server = 0;
    }
    if (model_world.merge && work->phase != MASTER_PHASE_LEVELLING) {
        work->source_id = 0;
    }
    work->regrants = PAWL_MIN(work->regrants, MASTER_SET_MAX);
}

// The tokens of commands are named anew, in their order; the driver holds the same ones.
static void token_rename(struct master_core *core, struct model_master *driver, uint64_t from,
                         uint64_t to)
{
    struct master_command *command = pawl_map_remove(&core->commands, from);
    command->token = to;
    pawl_assert(pawl_map_put(&core->commands, to, command) == 0);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        uint64_t *token = &driver->commands[i].token;
        *token = *token == from ? to : *token;
    }
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct master_chunk *chunk = value;
        for (uint32_t i = 0; chunk->work && i < MASTER_SET_MAX; i++) {
            uint64_t *token = &chunk->work->members[i].token;
            *token = *token == from ? to : *token;
        }
        for (uint32_t i = 0; i < chunk->replicas_count; i++) {
            uint64_t *token = &chunk->replicas[i].seal_token;
            *token = *token == from ? to : *token;
        }
    }
    for (uint32_t i = 0; i < core->servers_count; i++) {
        pawl_list_for_each (node, &core->servers_order[i]->drops_sent) {
            uint64_t *token = &pawl_container_of(node, struct master_drop, node)->token;
            *token = *token == from ? to : *token;
        }
    }
}

static void tokens_normalise(struct master_core *core, struct model_master *driver)
{
    uint64_t last = 0;
    for (uint64_t token = 1; token < core->next_token; token++) {
        if (pawl_map_get(&core->commands, token) != NULL && token != ++last) {
            token_rename(core, driver, token, last);
        }
    }
    core->next_token = last + 1;
    core->order = 0; // without copies the order of DROPs decides nothing that their versions don't
}

bool model_normalise_master(struct master_core *core, struct model_master *driver, uint64_t chance)
{
    struct pawl_random fresh;
    pawl_random_seed(&fresh, chance_seed(chance));
    bool drawn = memcmp(&fresh, &core->random, sizeof(fresh)) != 0;
    pawl_random_seed(&core->random, chance_seed(0));
    pawl_list_for_each (node, &core->open_chunks) {
        struct master_chunk *chunk = pawl_container_of(node, struct master_chunk, open_node);
        if (chunk->work) {
            work_normalise(chunk->work);
        }
    }
    for (uint32_t i = 0; i < core->servers_count; i++) {
        core->servers_order[i]->reserved_bytes = 0; // as a heartbeat would
    }
    tokens_normalise(core, driver);
    core->recoveries_count = 0;
    master_arena_fini(core);
    pawl_alloc_free(core->alloc, core->actions.items);
    core->actions = (struct master_actions){0};
    return drawn;
}

// ---- append core -------------------------------------------------------------------------------------

// Attempts are named anew, in their order: who is still asked for keeps a name of its own.
static void attempts_normalise(struct append_core *core, struct model_client *client)
{
    uint64_t last = 0;
    for (;;) {
        uint64_t least = UINT64_MAX;
        for (uint32_t i = 0; i < core->slots_count; i++) {
            uint64_t attempt = core->slots[i].attempt;
            least = attempt > last ? PAWL_MIN(least, attempt) : least;
        }
        for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
            uint64_t attempt = client->asks[i].attempt;
            least = attempt > last ? PAWL_MIN(least, attempt) : least;
        }
        if (least == UINT64_MAX) {
            break;
        }
        last++;
        for (uint32_t i = 0; i < core->slots_count; i++) {
            core->slots[i].attempt =
                core->slots[i].attempt == least ? last : core->slots[i].attempt;
        }
        for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
            client->asks[i].attempt =
                client->asks[i].attempt == least ? last : client->asks[i].attempt;
        }
    }
    core->attempt_last = last;
}

void model_normalise_client(struct append_core *core, struct model_client *client)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        struct append_slot *slot = &core->slots[i];
        bool open = slot->state == APPEND_SLOT_SENT || slot->state == APPEND_SLOT_ASKING;
        slot->attempt = open ? slot->attempt : 0;
        // Only whether it is the present one is ever asked.
        slot->place = slot->state == APPEND_SLOT_SENT && slot->place == core->place ? 1 : 0;
        if (slot->state != APPEND_SLOT_SENT) {
            slot->sent_ns = 0;
            slot->server = 0;
            slot->committed_at_send = 0;
        }
        slot->lookup_failures = PAWL_MIN(slot->lookup_failures, 1u);
        slot->retry_ns = slot->retry_ns > MODEL_NOW_NS ? MODEL_NOW_NS + 1 : 0;
        slot->alone = false; // there are no runs
    }
    core->place = 1;
    if (!core->tail_known) {
        core->tail = (struct append_tail){0};
    }
    memset(core->slots + core->slots_count, 0,
           (core->options.depth_max - core->slots_count) * sizeof(core->slots[0]));
    memset(core->unknowns + core->unknowns_count, 0,
           (core->options.depth_max - core->unknowns_count) * sizeof(core->unknowns[0]));
    memset(core->closing + core->closing_count, 0,
           (core->options.depth_max + APPEND_CLOSING_SPARE - core->closing_count) *
               sizeof(core->closing[0]));
    attempts_normalise(core, client);
    // It is an append's own end while space or servers are missing, and nothing otherwise.
    bool counts = core->tail_status == PAWL_ENOSPACE || core->tail_status == PAWL_ENOSERVERS;
    if (model_world.merge && !counts) {
        core->tail_status = 0;
    }
    if (model_world.merge) {
        core->put_off_place = 0; // no time passes while one is put off
        core->put_off_ns = 0;
    }
    // Pauses are of one length here: only whether one has been made counts.
    core->failures_count = PAWL_MIN(core->failures_count, 1u);
    core->pause_until_ns = core->pause_until_ns > MODEL_NOW_NS ? MODEL_NOW_NS + 1 : 0;
    memset(&core->counters, 0, sizeof(core->counters));
    memset(core->actions.items, 0, core->actions.capacity * sizeof(core->actions.items[0]));
    core->actions.count = 0;
    pawl_random_seed(&core->random, 1);
}

// ---- drivers -----------------------------------------------------------------------------------------

// What is under way is looked up by its names: which place it has says nothing. It stands in the order
// in which it was sent, connection by connection, and so it ends in that order when one is lost.
static int compare(uint64_t x, uint64_t y)
{
    return x < y ? -1 : x > y;
}

static uint64_t rank(uint32_t conn, uint64_t request, uint64_t number)
{
    // Free places have no names, and come last.
    return conn == 0 && number == 0 ? UINT64_MAX : (uint64_t)conn << 32 | request << 16 | number;
}

static int by_call(const void *x, const void *y)
{
    const struct model_call *a = x;
    const struct model_call *b = y;
    return compare(rank(a->conn, a->request, 0), rank(b->conn, b->request, 0));
}

static int by_served(const void *x, const void *y)
{
    const struct model_served *a = x;
    const struct model_served *b = y;
    return compare(rank(a->conn, a->request, a->number), rank(b->conn, b->request, b->number));
}

static int by_ask(const void *x, const void *y)
{
    const struct model_ask *a = x;
    const struct model_ask *b = y;
    return compare(rank(a->conn, a->request, a->kind), rank(b->conn, b->request, b->kind));
}

void model_normalise_slots(uint32_t part)
{
    if (part < MODEL_MASTER) {
        struct model_server *s = model_server_at(part);
        qsort(s->calls, MODEL_CALLS_MAX, sizeof(s->calls[0]), by_call);
        qsort(s->served, MODEL_CALLS_MAX, sizeof(s->served[0]), by_served);
    } else if (part == MODEL_MASTER) {
        struct model_master *m = model_master_node();
        qsort(m->commands, MODEL_CALLS_MAX, sizeof(m->commands[0]), by_call);
        qsort(m->asked, MODEL_CALLS_MAX, sizeof(m->asked[0]), by_served);
    } else if (part < MODEL_PART_NET) {
        struct model_client *c = model_client_at(part - MODEL_CLIENT(0));
        qsort(c->asks, MODEL_CALLS_MAX, sizeof(c->asks[0]), by_ask);
    }
}

static void served_rename(struct model_served *served, uint32_t from, uint32_t to)
{
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        served[i].conn = served[i].conn == from ? to : served[i].conn;
    }
}

static void master_rename(struct model_master *m, uint32_t from, uint32_t to)
{
    served_rename(m->asked, from, to);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        m->commands[i].conn = m->commands[i].conn == from ? to : m->commands[i].conn;
    }
    struct master_server *server = m->core != NULL ? pawl_map_remove(&m->core->conns, from) : NULL;
    if (server != NULL) {
        server->conn = to;
        pawl_assert(pawl_map_put(&m->core->conns, to, server) == 0);
    }
}

void model_normalise_conn(uint32_t part, uint32_t from, uint32_t to)
{
    if (part == MODEL_MASTER) {
        master_rename(model_master_node(), from, to);
    } else {
        struct model_server *s = model_server_at(part);
        s->control = s->control == from ? to : s->control;
        served_rename(s->served, from, to);
    }
    model_world.touched[part] = true;
}
