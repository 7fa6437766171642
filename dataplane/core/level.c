// SPDX-License-Identifier: Apache-2.0
// LEVEL: a log that is too short grows from the longest one, record by record.
//
// It runs between a fence and the next grant: nobody orders records of this version yet, so what the
// source holds does not change and what is added here is what the source has.
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

static int level_check(const struct chunk_core *core, const struct chunk *chunk,
                       const Pawl__Level *level)
{
    int rc = chunk_command_check(chunk, level->version);
    if (rc) {
        return rc;
    }
    // Only under the promise that was made, and before it is used: after a grant the log belongs to
    // the primary. A longer log than the longest one is not this chunk's.
    bool is_longer = record_table_count(&chunk->records) > level->count;
    if (level->version != chunk->promised || chunk->promise_used || is_longer) {
        return PAWL_ESTALE;
    }
    if (chunk_is_sealed(chunk)) {
        return record_table_count(&chunk->records) == level->count ? 0 : PAWL_ESTALE;
    }
    if (chunk->level.source != 0) {
        bool is_same = chunk->level.count == level->count && level->source &&
                       chunk->level.source == level->source->server_id;
        return is_same ? 0 : PAWL_EBUSY;
    }
    if (chunk->commands || chunk->persisting_count) {
        return PAWL_EBUSY;
    }
    const Pawl__Member *source = level->source;
    if (level->count > CHUNK_RECORDS_MAX || !source || source->server_id == 0 ||
        source->server_id == core->options.server_id ||
        strlen(source->fabric_address) >= CHUNK_ADDRESS_MAX) {
        return PAWL_EINVALID;
    }
    return 0;
}

void chunk_level_begin(struct chunk_core *core, const Pawl__Level *level, uint64_t request)
{
    struct chunk *chunk = chunk_find(core, level->handle);
    int rc = chunk ? level_check(core, chunk, level) : PAWL_ENOCHUNK;
    if (rc) {
        chunk_answer_add(core, request, rc);
        return;
    }
    struct chunk_command command = {.kind = PAWL__REQUEST__BODY_LEVEL,
                                    .version = level->version,
                                    .request = request,
                                    .count = level->count};
    chunk_command_add(core, chunk, &command);
    if (!chunk_is_sealed(chunk) && chunk->level.source == 0) {
        chunk->level =
            (struct chunk_level){.source = level->source->server_id, .count = level->count};
        chunk_connect_add(core, chunk, chunk->level.source, level->source->fabric_address);
    }
    chunk_settle(core, chunk);
}

void chunk_level_continue(struct chunk_core *core, struct chunk *chunk)
{
    struct chunk_level *level = &chunk->level;
    if (level->source == 0 || level->token != 0) {
        return;
    }
    if (chunk->durable_count == level->count) {
        *level = (struct chunk_level){0};
        chunk_commands_end(core, chunk, PAWL__REQUEST__BODY_LEVEL, 0);
        return;
    }
    level->token = chunk_op_add(core, chunk, CHUNK_OP_FETCH, chunk->durable_count);
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_FETCH);
    action->token = level->token;
    action->server = level->source;
    action->handle = chunk->handle;
    action->version = chunk->promised;
    action->index = chunk->durable_count;
    action->fetch = (struct wire_fetch){
        .chunk = chunk->handle, .version = chunk->promised, .index = chunk->durable_count};
}

void chunk_level_cancel(struct chunk_core *core, struct chunk *chunk, int code)
{
    chunk->level = (struct chunk_level){0};
    chunk_commands_end(core, chunk, PAWL__REQUEST__BODY_LEVEL, code);
}

static int fetched_check(struct chunk_core *core, const struct chunk *chunk,
                         const struct chunk_event *event, struct pawl_record *ret_record)
{
    const struct wire_fetched *message = (const void *)event->message;
    if (event->status < 0) {
        PAWL_MARK(level_fetch_fails);
        return event->status;
    }
    if (!message || message->header.status != 0 || message->chunk != chunk->handle ||
        message->index != record_table_count(&chunk->records)) {
        return PAWL_EPROTOCOL;
    }
    if (event->payload_crc != message->crc && !PAWL_MUTANT(crc_unchecked_level)) {
        PAWL_MARK(level_payload_torn);
        core->counters.mismatches_count++;
        return PAWL_EBADPAYLOAD;
    }
    // It was ordered before this version: that is what tells it from a record of this version's
    // primary after a restart (promise_used in chunk_core_load).
    *ret_record = (struct pawl_record){.offset = message->offset,
                                       .id = message->id,
                                       .version = chunk->promised - 1,
                                       .length = message->length,
                                       .crc = message->crc};
    return chunk_record_check(chunk, ret_record);
}

void chunk_fetched(struct chunk_core *core, const struct chunk_event *event)
{
    struct chunk_op *op = chunk_op_find(core, event->token);
    if (!op || op->kind != CHUNK_OP_FETCH) {
        return;
    }
    struct chunk *chunk = op->chunk;
    chunk_op_end(core, op);
    if (chunk->state == CHUNK_STATE_COPYING) {
        chunk_copy_fetched(core, chunk, event);
        return;
    }
    if (chunk->level.token != event->token) {
        PAWL_MARK(level_abandoned);
        chunk_settle(core, chunk); // abandoned; a chunk that is gone may have waited for this
        return;
    }
    chunk->level.token = 0;
    struct pawl_record record;
    int rc = fetched_check(core, chunk, event, &record);
    if (rc) {
        chunk_level_cancel(core, chunk, rc);
        return;
    }
    if (record_table_count(&chunk->records) + 1 < chunk->level.count) {
        PAWL_MARK(level_of_several);
    }
    chunk_record_add(core, chunk, &record);
    if (!core->no_memory && inflight_push(core, &chunk->inflight)) {
        chunk_persist_records(core, chunk, record_table_count(&chunk->records) - 1, 1,
                              event->payload);
    }
}
