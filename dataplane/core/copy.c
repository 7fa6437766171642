// SPDX-License-Identifier: Apache-2.0
// COPY: a sealed chunk that is not here is fetched whole from a replica that has it: the producer
// table that it inherited, then its records, then the seal.
//
// A half copy counts for nothing. In memory it is out of service like a chunk that is being dropped:
// chunk_find() does not know it, so nobody reads it, fences it or levels from it. On disk it says of
// itself that it lacks records: every entry from its creation on carries the chunk's whole count as
// committed, so that a restart loads it as damaged. It becomes a replica with the durable seal, in one
// step, and only then is the master told.
//
// What fails ends here: a copy that can't go on drops itself, and the master begins another one.
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

#define COPY_ANSWER_NS (300ull * CHUNK_NS_PER_MS) // a COPY is answered after so long at the latest

static struct chunk_copy_slot *slot_at(struct chunk_copy *copy, uint64_t index)
{
    return &copy->slots[index % CHUNK_COPY_FETCHES];
}

// ---- the command -----------------------------------------------------------------------------

static struct chunk_create create_of(const Pawl__Copy *copy)
{
    return (struct chunk_create){.handle = copy->handle,
                                 .version = copy->version,
                                 .file_id = copy->file_id,
                                 .base_offset = copy->base_offset,
                                 .chunk_bytes = copy->chunk_bytes,
                                 .index = copy->index,
                                 .written_handle = copy->written_handle,
                                 .zero_bytes = copy->zero_bytes};
}

static int command_check(const struct chunk_core *core, const Pawl__Copy *copy)
{
    const Pawl__Member *source = copy->source;
    struct chunk_create create = create_of(copy);
    if (copy->count > CHUNK_RECORDS_MAX || copy->chunk_bytes == 0 ||
        copy->length > copy->chunk_bytes || chunk_create_check(&create) ||
        (copy->zero_bytes != 0 && copy->count > 0) || !source || source->server_id == 0 ||
        source->server_id == core->options.server_id ||
        strlen(source->fabric_address) >= CHUNK_ADDRESS_MAX) {
        return PAWL_EINVALID;
    }
    return 0;
}

// The chunk is here in some way. 0: the command joins what is under way, or finds it done.
static int existing_check(struct chunk_core *core, struct chunk *chunk, const Pawl__Copy *copy)
{
    if (chunk->state >= CHUNK_STATE_DROPPING) {
        return PAWL_EBUSY; // that goes first
    }
    if (copy->version < chunk->promised) {
        return PAWL_ESTALE;
    }
    if (chunk->state == CHUNK_STATE_COPYING) {
        bool is_same = copy->version == chunk->promised && copy->count == chunk->copy->count &&
                       copy->length == chunk->copy->length &&
                       copy->source->server_id == chunk->copy->source;
        if (!is_same) {
            // The version was raised: what was fetched may be old. Or another source is named, which would
            // be blamed for what this one sends.
            chunk_copy_stop(core, chunk, PAWL_ESTALE);
            chunk_settle(core, chunk);
        }
        return is_same ? 0 : PAWL_EBUSY;
    }
    bool is_whole = chunk_is_sealed(chunk) && !chunk->damaged &&
                    copy->count == record_table_count(&chunk->records) &&
                    copy->length == chunk_bytes_at(chunk, record_table_count(&chunk->records));
    return is_whole ? 0 : PAWL_EEXISTS;
}

static uint64_t fetch_add(struct chunk_core *core, struct chunk *chunk, uint64_t index,
                          uint32_t *tries)
{
    uint64_t token = chunk_op_add(core, chunk, CHUNK_OP_FETCH, index);
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_FETCH);
    action->token = token;
    action->server = chunk->copy->source;
    action->handle = chunk->handle;
    action->version = chunk->promised;
    action->index = index;
    action->again = *tries > 0;
    action->fetch =
        (struct wire_fetch){.chunk = chunk->handle, .version = chunk->promised, .index = index};
    ++*tries;
    return token;
}

static int copy_new(struct chunk_core *core, const Pawl__Copy *copy, struct chunk **ret)
{
    struct chunk_create create = create_of(copy);
    int rc;
    struct chunk_copy *state = pawl_alloc_new(core->alloc, sizeof(*state));
    struct chunk *chunk = state ? chunk_new(core, &create, NULL, &rc) : NULL;
    if (!chunk) {
        pawl_alloc_free(core->alloc, state);
        core->no_memory = true; // nothing else can be wrong with a chunk without rows
        return 0;
    }
    *state = (struct chunk_copy){
        .source = copy->source->server_id, .count = copy->count, .length = copy->length};
    chunk->copy = state;
    chunk->state = CHUNK_STATE_COPYING;
    chunk_activate(core, chunk);
    chunk_connect_add(core, chunk, state->source, copy->source->fabric_address);
    state->table_token = fetch_add(core, chunk, WIRE_FETCH_TABLE, &state->table_tries);
    *ret = chunk;
    return 0;
}

void chunk_copy_begin(struct chunk_core *core, const Pawl__Copy *copy, uint64_t request, bool again)
{
    struct chunk *chunk = pawl_map_get(&core->chunks, copy->handle);
    int rc = command_check(core, copy);
    if (rc == 0 && !chunk && again) {
        rc = PAWL_ESTALE; // the master knows how it ended, and does not wait for another one
    } else if (rc == 0) {
        rc = chunk ? existing_check(core, chunk, copy) : copy_new(core, copy, &chunk);
    }
    if (rc || core->no_memory) {
        chunk_answer_add(core, request, rc);
        return;
    }
    struct chunk_command command = {.kind = PAWL__REQUEST__BODY_COPY,
                                    .version = copy->version,
                                    .request = request,
                                    .since_ns = core->now_ns};
    chunk_command_add(core, chunk, &command);
    chunk_settle(core, chunk);
}

void chunk_copy_tick(struct chunk_core *core, struct chunk *chunk)
{
    const struct chunk_command *first = chunk->commands;
    if (first && core->now_ns >= first->since_ns + COPY_ANSWER_NS) {
        chunk_commands_end(core, chunk, PAWL__REQUEST__BODY_COPY, 0);
    }
}

// ---- the end ---------------------------------------------------------------------------------

static void copy_free(struct chunk_core *core, struct chunk *chunk)
{
    for (uint32_t i = 0; i < CHUNK_COPY_FETCHES; i++) {
        if (chunk->copy->slots[i].payload) {
            chunk_action_add(core, CHUNK_ACTION_RELEASE)->payload = chunk->copy->slots[i].payload;
        }
    }
    pawl_alloc_free(core->alloc, chunk->copy);
    chunk->copy = NULL;
    pawl_list_remove(&chunk->active);
}

void chunk_copy_stop(struct chunk_core *core, struct chunk *chunk, int code)
{
    pawl_assert(chunk->state == CHUNK_STATE_COPYING);
    bool is_stored = chunk->copy->defined;
    copy_free(core, chunk);
    chunk_commands_end(core, chunk, PAWL__REQUEST__BODY__NOT_SET, code);
    chunk->state = is_stored ? CHUNK_STATE_DROPPING : CHUNK_STATE_GONE;
    if (is_stored) {
        chunk_persist_add(core, chunk, CHUNK_OP_DROP, chunk->promised);
    }
}

static void copy_sealed(struct chunk_core *core, struct chunk *chunk)
{
    copy_free(core, chunk);
    chunk->commit_count = record_table_count(&chunk->records);
    chunk->state = CHUNK_STATE_SEALED;
}

// ---- growing ---------------------------------------------------------------------------------

static void record_take(struct chunk_core *core, struct chunk *chunk,
                        const struct pawl_record *record, uint64_t payload)
{
    uint64_t index = record_table_count(&chunk->records);
    chunk_record_add(core, chunk, record);
    if (core->no_memory || !inflight_push(core, &chunk->inflight)) {
        return;
    }
    chunk_persist_records(core, chunk, index, 1, payload);
    chunk_action_last(core)->commit_count = chunk->copy->count;
}

// Takes what has come, in order; asks for more; seals when all of it is durable.
static int copy_advance(struct chunk_core *core, struct chunk *chunk)
{
    struct chunk_copy *copy = chunk->copy;
    // Nothing is appended before it is durable that this is a copy.
    if (chunk->promised_durable != chunk->promised || core->no_memory) {
        return 0;
    }
    while (record_table_count(&chunk->records) < copy->asked_count &&
           slot_at(copy, record_table_count(&chunk->records))->here) {
        struct chunk_copy_slot *slot = slot_at(copy, record_table_count(&chunk->records));
        if (chunk_record_check(chunk, &slot->record)) {
            return PAWL_ECORRUPT; // no log of this chunk goes on like that
        }
        record_take(core, chunk, &slot->record, slot->payload);
        if (slot->payload) {
            chunk_action_add(core, CHUNK_ACTION_RELEASE)->payload = slot->payload;
        }
        *slot = (struct chunk_copy_slot){0};
        if (core->no_memory) {
            return 0;
        }
    }
    while (copy->asked_count < copy->count &&
           copy->asked_count - chunk->durable_count < CHUNK_COPY_FETCHES) {
        uint64_t index = copy->asked_count++;
        struct chunk_copy_slot *slot = slot_at(copy, index);
        slot->token = fetch_add(core, chunk, index, &slot->tries);
    }
    if (chunk->durable_count < copy->count || copy->sealing) {
        return 0;
    }
    if (chunk_bytes_at(chunk, copy->count) != copy->length) {
        return PAWL_ECORRUPT; // the source holds another log than the one that was sealed
    }
    copy->sealing = true;
    chunk_persist_add(core, chunk, CHUNK_OP_SEAL, chunk->promised)->count = copy->count;
    return 0;
}

// ---- what comes back -------------------------------------------------------------------------

static int fetched_check(struct chunk_core *core, const struct chunk *chunk,
                         const struct chunk_event *event, uint64_t index)
{
    const struct wire_fetched *message = (const void *)event->message;
    if (event->status < 0) {
        return event->status;
    }
    if (!message || message->header.status != 0 || message->chunk != chunk->handle ||
        message->index != index) {
        return PAWL_EPROTOCOL;
    }
    if (event->payload_crc != message->crc && !PAWL_MUTANT(crc_unchecked_copy)) {
        core->counters.mismatches_count++;
        return PAWL_EBADPAYLOAD;
    }
    return 0;
}

// The table is durable with the creation, before any record.
static int table_take(struct chunk_core *core, struct chunk *chunk, const struct chunk_event *event)
{
    const struct wire_fetched *message = (const void *)event->message;
    uint32_t count = message->length / sizeof(struct wire_producer);
    if (message->length % sizeof(struct wire_producer) != 0 || count > WIRE_TABLE_ROWS_MAX ||
        (count > 0 && !event->bytes)) {
        return PAWL_EPROTOCOL;
    }
    struct wire_producer *rows = chunk_producers_copy(core, event->bytes, count);
    if (core->no_memory) {
        return 0;
    }
    struct chunk_create create = {.handle = chunk->handle,
                                  .version = chunk->promised,
                                  .file_id = chunk->file_id,
                                  .base_offset = chunk->base_offset,
                                  .chunk_bytes = chunk->chunk_bytes,
                                  .commit_count = chunk->copy->count,
                                  .index = chunk->index,
                                  .written_handle = chunk->written_handle,
                                  .zero_bytes = chunk->zero_bytes,
                                  .producers_count = count,
                                  .producers = rows};
    int rc = chunk_define(core, chunk, &create, rows);
    if (rc) {
        pawl_alloc_free(core->alloc, rows);
        return rc == PAWL_EINVALID ? PAWL_ECORRUPT : 0;
    }
    chunk->copy->defined = true;
    struct chunk_action *action = chunk_persist_add(core, chunk, CHUNK_OP_CREATE, chunk->promised);
    chunk->create_token = action->token;
    action->create = create;
    return 0;
}

// A record waits in its slot for the one in front of it.
static int record_hold(struct chunk_core *core, const struct chunk *chunk,
                       const struct chunk_event *event, struct chunk_copy_slot *slot)
{
    const struct wire_fetched *message = (const void *)event->message;
    uint64_t payload = message->length > 0 ? event->payload : 0;
    if (message->length > 0 && payload == 0) {
        return PAWL_EPROTOCOL;
    }
    // Ordered before the version that the chunk was sealed under, as in level.c.
    *slot = (struct chunk_copy_slot){.payload = payload,
                                     .here = true,
                                     .record = {.offset = message->offset,
                                                .id = message->id,
                                                .version = chunk->promised - 1,
                                                .length = message->length,
                                                .crc = message->crc}};
    core->payload_held = payload != 0;
    return 0;
}

static int record_fetched(struct chunk_core *core, struct chunk *chunk,
                          const struct chunk_event *event)
{
    struct chunk_copy *copy = chunk->copy;
    uint64_t index = record_table_count(&chunk->records);
    while (index < copy->asked_count && slot_at(copy, index)->token != event->token) {
        index++;
    }
    pawl_assert(index < copy->asked_count); // every fetch of a copy has its slot
    struct chunk_copy_slot *slot = slot_at(copy, index);
    int rc = fetched_check(core, chunk, event, index);
    if (rc == PAWL_EBADPAYLOAD && slot->tries < CHUNK_COPY_TRIES) {
        slot->token = fetch_add(core, chunk, index, &slot->tries); // torn on its way: once more
        return 0;
    }
    return rc ? rc : record_hold(core, chunk, event, slot);
}

static int table_fetched(struct chunk_core *core, struct chunk *chunk,
                         const struct chunk_event *event)
{
    int rc = fetched_check(core, chunk, event, WIRE_FETCH_TABLE);
    struct chunk_copy *copy = chunk->copy;
    if (rc == PAWL_EBADPAYLOAD && copy->table_tries < CHUNK_COPY_TRIES) {
        copy->table_token = fetch_add(core, chunk, WIRE_FETCH_TABLE, &copy->table_tries);
        return 0;
    }
    copy->table_token = 0;
    return rc ? rc : table_take(core, chunk, event);
}

void chunk_copy_fetched(struct chunk_core *core, struct chunk *chunk,
                        const struct chunk_event *event)
{
    int rc = chunk->copy->table_token == event->token ? table_fetched(core, chunk, event)
                                                      : record_fetched(core, chunk, event);
    if (rc == 0) {
        rc = copy_advance(core, chunk);
    }
    if (rc) {
        chunk_copy_stop(core, chunk, rc);
    }
    chunk_settle(core, chunk);
}

void chunk_copy_persisted(struct chunk_core *core, struct chunk *chunk, const struct chunk_op *op)
{
    if (op->kind == CHUNK_OP_SEAL) {
        copy_sealed(core, chunk);
        return;
    }
    int rc = copy_advance(core, chunk);
    if (rc) {
        chunk_copy_stop(core, chunk, rc);
    }
}
