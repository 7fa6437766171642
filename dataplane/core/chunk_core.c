// SPDX-License-Identifier: Apache-2.0
// The chunk core: chunks that it holds, what the store knew of them, and the step's dispatch.
//
// The rules of design.md 3 stand over the code that keeps them: append.c (what a primary takes, when
// a record is committed), prepare.c (what a secondary takes), lease.c (who may order), recovery.c
// (promises, fences, seals), level.c (how short logs grow), copy.c (how sealed chunks are copied).
#include "dataplane/core/chunk_core.h"

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/core/chunk_core_private.h"
#include "dataplane/core/written.h"

int chunk_core_new(const struct chunk_core_options *options, struct chunk_core **ret)
{
    pawl_assert(options->alloc && options->server_id != 0);
    struct chunk_core *core = pawl_alloc_new(options->alloc, sizeof(*core));
    if (!core) {
        return -ENOMEM;
    }
    core->options = *options;
    if (core->options.lease_margin_ms == 0) {
        core->options.lease_margin_ms = 200;
    }
    if (core->options.prepare_ms == 0) {
        core->options.prepare_ms = 1000;
    }
    core->alloc = options->alloc;
    pawl_map_init(&core->chunks, core->alloc);
    pawl_map_init(&core->written, core->alloc);
    pawl_list_init(&core->active);
    *ret = core;
    return 0;
}

static void chunk_memory_free(struct chunk_core *core, struct chunk *chunk)
{
    while (chunk->commands) {
        struct chunk_command *command = chunk->commands;
        chunk->commands = command->next;
        pawl_alloc_free(core->alloc, command);
    }
    pawl_list_remove(&chunk->active);
    inflight_fini(core, &chunk->inflight);
    record_table_fini(&chunk->records);
    producer_table_fini(&chunk->producers);
    pawl_alloc_free(core->alloc, chunk->inherited);
    pawl_alloc_free(core->alloc, chunk->copy);
    pawl_alloc_free(core->alloc, chunk);
}

void chunk_free(struct chunk_core *core, struct chunk *chunk)
{
    pawl_assert(chunk->persisting_count == 0 && chunk->fetching_count == 0);
    written_remove(core, chunk);
    pawl_map_remove(&core->chunks, chunk->handle);
    chunk_memory_free(core, chunk);
}

void chunk_core_free(struct chunk_core *core)
{
    if (!core) {
        return;
    }
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        chunk_memory_free(core, value);
    }
    while (core->waiters_free) {
        struct chunk_waiter *waiter = core->waiters_free;
        core->waiters_free = waiter->next;
        pawl_alloc_free(core->alloc, waiter);
    }
    for (uint32_t i = 0; i < core->ops_count; i++) {
        pawl_alloc_free(core->alloc, core->ops[i].owned);
    }
    chunk_answer_memory_free(core);
    written_fini(core);
    pawl_map_fini(&core->chunks);
    pawl_alloc_free(core->alloc, core->ops);
    pawl_alloc_free(core->alloc, core->actions.items);
    pawl_alloc_free(core->alloc, core);
}

// ---- chunks ----------------------------------------------------------------------------------

struct chunk *chunk_find(const struct chunk_core *core, uint64_t handle)
{
    struct chunk *chunk = pawl_map_get(&core->chunks, handle);
    return chunk && chunk->state < CHUNK_STATE_COPYING ? chunk : NULL;
}

struct wire_producer *chunk_producers_copy(struct chunk_core *core, const void *rows,
                                           uint32_t count)
{
    if (count == 0) {
        return NULL;
    }
    struct wire_producer *copy = pawl_alloc_array(core->alloc, count, sizeof(*copy));
    if (!copy) {
        core->no_memory = true;
        return NULL;
    }
    memcpy(copy, rows, count * sizeof(*copy));
    return copy;
}

int chunk_define(struct chunk_core *core, struct chunk *chunk, const struct chunk_create *create,
                 struct wire_producer *inherited)
{
    struct producer_table producers;
    producer_table_init(&producers, core->alloc);
    uint32_t known_count = PAWL_MUTANT(inherited_not_asked) ? 0 : create->producers_count;
    int rc = producer_table_inherit(&producers, inherited, known_count);
    if (rc) {
        core->no_memory |= rc == -ENOMEM;
        producer_table_fini(&producers);
        return rc;
    }
    producer_table_fini(&chunk->producers);
    chunk->producers = producers;
    chunk->inherited = inherited;
    chunk->inherited_count = create->producers_count;
    chunk->handle = create->handle;
    chunk->file_id = create->file_id;
    chunk->base_offset = create->base_offset;
    chunk->chunk_bytes = create->chunk_bytes;
    chunk->index = create->index;
    chunk->zero_bytes = create->zero_bytes;
    chunk->promised = create->version;
    return 0;
}

int chunk_create_check(const struct chunk_create *create)
{
    bool wrong = create->written_handle == create->handle ||
                 create->zero_bytes > create->chunk_bytes ||
                 (create->written_handle != 0 && create->zero_bytes != 0);
    return wrong ? PAWL_EINVALID : 0;
}

struct chunk *chunk_new(struct chunk_core *core, const struct chunk_create *create,
                        struct wire_producer *inherited, int *ret_rc)
{
    struct chunk *chunk = pawl_alloc_new(core->alloc, sizeof(*chunk));
    if (!chunk) {
        core->no_memory = true;
        *ret_rc = -ENOMEM;
        return NULL;
    }
    chunk->written_handle = create->written_handle;
    pawl_list_init(&chunk->active);
    record_table_init(&chunk->records, core->alloc);
    producer_table_init(&chunk->producers, core->alloc);
    *ret_rc = chunk_define(core, chunk, create, inherited);
    if (*ret_rc == 0) {
        *ret_rc = pawl_map_put(&core->chunks, chunk->handle, chunk);
        core->no_memory |= *ret_rc != 0;
    }
    if (*ret_rc == 0 && written_add(core, chunk)) {
        pawl_map_remove(&core->chunks, chunk->handle);
        core->no_memory = true;
        *ret_rc = -ENOMEM;
    }
    if (*ret_rc) {
        chunk->inherited = NULL; // the caller's still
        chunk_memory_free(core, chunk);
        return NULL;
    }
    return chunk;
}

int chunk_record_check(const struct chunk *chunk, const struct pawl_record *record)
{
    bool is_epoch = (record->id.flags & WIRE_RECORD_EPOCH) != 0;
    if (record->offset != chunk_bytes_at(chunk, record_table_count(&chunk->records))) {
        return PAWL_EEXPECT;
    }
    if (record->length > WIRE_RECORD_MAX || is_epoch != (record->length == 0) ||
        chunk->zero_bytes != 0 ||
        (!is_epoch && wire_record_is_write(&record->id) != (chunk->written_handle != 0))) {
        return PAWL_EPROTOCOL;
    }
    if (record_table_count(&chunk->records) >= CHUNK_RECORDS_MAX ||
        record->length > chunk->chunk_bytes - record->offset) {
        return PAWL_ECHUNKFULL;
    }
    return producer_table_admits(&chunk->producers, &record->id) ? 0 : PAWL_EEXPECT;
}

void chunk_record_add(struct chunk_core *core, struct chunk *chunk,
                      const struct pawl_record *record)
{
    int rc = producer_table_apply(&chunk->producers, chunk->handle, &record->id, 1);
    if (rc == 0) {
        rc = record_table_add(&chunk->records, record);
    }
    core->no_memory |= rc != 0;
}

void chunk_records_add(struct chunk_core *core, struct chunk *chunk,
                       const struct pawl_record *first, const struct wire_run_row *rows,
                       uint32_t count)
{
    struct pawl_record record = *first;
    int rc = producer_table_apply(&chunk->producers, chunk->handle, &first->id, count);
    for (uint32_t i = 0; i < count && rc == 0 && !core->no_memory; i++) {
        if (i > 0) {
            pawl_record_follow(&record, &rows[i]);
        }
        rc = record_table_add(&chunk->records, &record);
        (void)inflight_push(core, &chunk->inflight);
    }
    core->no_memory |= rc != 0;
}

void chunk_producers_rebuild(struct chunk_core *core, struct chunk *chunk)
{
    int rc = producer_table_inherit(&chunk->producers, chunk->inherited, chunk->inherited_count);
    for (uint64_t i = 0; rc == 0 && i < record_table_count(&chunk->records); i++) {
        struct wire_record_id id = record_table_at(&chunk->records, i).id;
        rc = producer_table_apply(&chunk->producers, chunk->handle, &id, 1);
    }
    pawl_assert(rc == 0 || rc == -ENOMEM); // it was built of the same rows before
    core->no_memory |= rc != 0;
}

void chunk_activate(struct chunk_core *core, struct chunk *chunk)
{
    pawl_list_remove(&chunk->active);
    pawl_list_push_back(&core->active, &chunk->active);
}

// ---- load ------------------------------------------------------------------------------------

// What was lost below the store may leave records that don't follow each other: up to there they are sound.
static int load_records(struct chunk_core *core, struct chunk *chunk, const struct chunk_load *load)
{
    uint64_t version = 0;
    for (uint64_t i = 0; i < load->records_count; i++) {
        struct pawl_record record = load->record_at(load->rows, i);
        if (chunk_record_check(chunk, &record) || record.version < version ||
            record.version > load->version) {
            return load->salvages ? 0 : PAWL_EFORMAT;
        }
        version = record.version;
        chunk_record_add(core, chunk, &record);
        if (core->no_memory) {
            return -ENOMEM;
        }
    }
    return 0;
}

int chunk_core_load(struct chunk_core *core, const struct chunk_load *load)
{
    const struct chunk_create *create = &load->create;
    if (create->handle == 0 || pawl_map_get(&core->chunks, create->handle) || load->version == 0 ||
        create->chunk_bytes == 0 || chunk_create_check(create)) {
        return PAWL_EFORMAT;
    }
    struct wire_producer *inherited =
        chunk_producers_copy(core, create->producers, create->producers_count);
    if (core->no_memory) {
        return -ENOMEM;
    }
    int rc;
    struct chunk *chunk = chunk_new(core, create, inherited, &rc);
    if (!chunk) {
        pawl_alloc_free(core->alloc, inherited);
        return rc == -ENOMEM ? rc : PAWL_EFORMAT;
    }
    rc = load_records(core, chunk, load);
    if (rc) {
        chunk_free(core, chunk);
        return rc;
    }
    uint64_t count = record_table_count(&chunk->records);
    chunk->state = load->sealed ? CHUNK_STATE_SEALED : CHUNK_STATE_OPEN;
    chunk->promised = load->version;
    chunk->promised_durable = load->version;
    // Whether something was ordered under the present version is seen from the last record.
    chunk->promise_used =
        count && record_table_at(&chunk->records, count - 1).version == load->version;
    chunk->durable_count = count;
    chunk->commit_count = load->sealed ? count : PAWL_MIN(load->commit_count, count);
    // Fewer records than were known to be committed: this log has lost some.
    chunk->damaged = load->damaged || load->commit_count > count || count < load->records_count;
    chunk->damage_code = chunk->damaged ? PAWL_ECORRUPT : 0;
    inflight_reset(&chunk->inflight, count);
    return 0;
}

// ---- the step --------------------------------------------------------------------------------

static void conn_closed(struct chunk_core *core, uint64_t conn)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        struct chunk *chunk = value;
        inflight_forget(core, &chunk->inflight, conn);
        if (chunk->hold.conn == conn) {
            chunk->hold = (struct chunk_hold){0};
        }
    }
}

static void step_message(struct chunk_core *core, const struct chunk_event *event)
{
    switch (event->type) {
    case CHUNK_EVENT_APPEND:
        chunk_append(core, event);
        break;
    case CHUNK_EVENT_PREPARE:
        chunk_prepare(core, event);
        break;
    case CHUNK_EVENT_COMMIT:
        chunk_commit(core, event);
        break;
    case CHUNK_EVENT_HOLD:
        chunk_hold(core, event);
        break;
    case CHUNK_EVENT_READ:
        chunk_read(core, event);
        break;
    case CHUNK_EVENT_FETCH:
        chunk_fetch(core, event);
        break;
    case CHUNK_EVENT_LOOKUP:
        chunk_lookup(core, event);
        break;
    default:
        pawl_assert(event->type == CHUNK_EVENT_INSPECT);
        chunk_inspect(core, event);
    }
}

static void step_event(struct chunk_core *core, const struct chunk_event *event)
{
    switch (event->type) {
    case CHUNK_EVENT_TICK:
        chunk_tick(core);
        break;
    case CHUNK_EVENT_COMMAND:
        chunk_command(core, event);
        break;
    case CHUNK_EVENT_LEASE:
        chunk_lease_extend(core, event);
        break;
    case CHUNK_EVENT_PREPARED:
        chunk_prepared(core, event);
        break;
    case CHUNK_EVENT_HELD:
        chunk_held(core, event);
        break;
    case CHUNK_EVENT_FETCHED:
        chunk_fetched(core, event);
        break;
    case CHUNK_EVENT_PERSISTED:
        chunk_persisted(core, event);
        break;
    case CHUNK_EVENT_CONN_CLOSED:
        conn_closed(core, event->conn);
        break;
    case CHUNK_EVENT_PEER_DOWN:
        chunk_peer_down(core, event->server);
        break;
    case CHUNK_EVENT_DAMAGED:
        chunk_damaged(core, event->handle);
        break;
    case CHUNK_EVENT_REGISTERING:
        core->registered = false;
        break;
    case CHUNK_EVENT_REGISTERED:
        chunk_registered(core, event->term, event->order);
        break;
    default:
        pawl_assert(event->message);
        step_message(core, event);
    }
}

int chunk_core_step(struct chunk_core *core, const struct chunk_event *event,
                    const struct chunk_actions **ret_actions)
{
    chunk_answer_memory_free(core);
    core->actions.count = 0;
    core->payload_held = false;
    core->now_ns = PAWL_MAX(core->now_ns, event->now_ns);

    step_event(core, event);
    // What uses the payload was named above; only a copy keeps one for a later step.
    if (event->payload && !core->payload_held) {
        chunk_action_add(core, CHUNK_ACTION_RELEASE)->payload = event->payload;
    }
    if (core->no_memory) {
        return -ENOMEM;
    }
    *ret_actions = &core->actions;
    return 0;
}

// ---- inventory -------------------------------------------------------------------------------

static void replica_fill(const struct chunk *chunk, Pawl__Replica *ret)
{
    pawl__replica__init(ret);
    ret->handle = chunk->handle;
    ret->version = chunk->promised_durable;
    ret->count = chunk->durable_count;
    ret->length = chunk_bytes_at(chunk, chunk->durable_count);
    ret->commit_count = chunk->commit_count;
    ret->sealed = chunk->state == CHUNK_STATE_SEALED;
    ret->primary = chunk->primary;
    ret->full = chunk->full;
    ret->damaged = chunk->damaged;
    if (chunk->copy) {
        ret->version = chunk->promised;
        ret->commit_count = chunk->copy->count;
        ret->copying = true;
    }
}

void chunk_core_visit(const struct chunk_core *core, bool open_only,
                      void (*visit)(void *user, const Pawl__Replica *replica), void *user)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct chunk *chunk = value;
        bool is_held = chunk->state != CHUNK_STATE_CREATING && chunk->state < CHUNK_STATE_DROPPING;
        if (!is_held || (open_only && chunk->state == CHUNK_STATE_SEALED)) {
            continue;
        }
        Pawl__Replica replica;
        replica_fill(chunk, &replica);
        visit(user, &replica);
    }
}

uint64_t chunk_core_owner(const struct chunk_core *core, uint64_t handle)
{
    const struct chunk *chunk = pawl_map_get(&core->chunks, handle); // copies under way too
    return chunk && chunk->written_handle != 0 ? chunk->written_handle : handle;
}

const struct chunk_core_counters *chunk_core_counters(const struct chunk_core *core)
{
    return &core->counters;
}
