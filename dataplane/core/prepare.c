// SPDX-License-Identifier: Apache-2.0
// A secondary: what it takes from the primary, and when it says that it has it.
//
// A log grows here only at its end, only under the version that was promised last, so the logs of a
// chunk's replicas are prefixes of each other, always.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

static void prepare_reply(struct chunk_core *core, const struct chunk_waiter *waiter,
                          const struct wire_prepared *place, int status)
{
    union chunk_reply *reply =
        chunk_reply_add(core, waiter->conn, waiter->request, WIRE_PREPARE, status);
    reply->prepared.chunk = place->chunk;
    reply->prepared.version = place->version;
    reply->prepared.index = place->index;
}

// The sender knows more than we do only about records that we have told it are durable here; a count
// beyond them comes from no sound sender.
static void commit_learn(struct chunk *chunk, uint64_t count)
{
    chunk->commit_count = PAWL_MAX(chunk->commit_count, PAWL_MIN(count, chunk->durable_count));
}

// Who may order here now: the primary of the version that was promised last, once the promise is
// durable and the master has been told of it.
int chunk_order_check(const struct chunk *chunk, uint64_t version)
{
    if (!chunk) {
        return PAWL_ENOCHUNK;
    }
    bool is_older = version < chunk->promised && !PAWL_MUTANT(older_prepare_taken);
    if (is_older || version > chunk->promised || chunk->promised_durable != chunk->promised ||
        chunk->state != CHUNK_STATE_OPEN) {
        PAWL_MARK(prepare_of_other_version);
        return PAWL_ESTALE;
    }
    // Two primaries of one version there can't be. While a command is carried out (a fence drains, a
    // log levels) the master has not yet granted this version to anybody.
    if (chunk->primary || chunk->commands) {
        return PAWL_ESTALE;
    }
    if (chunk->cut_wanted) {
        return PAWL_ENOSPACE; // what comes behind a record that the store refused has no place
    }
    return chunk->damaged ? chunk->damage_code : 0;
}

// The first record that a PREPARE carries.
static struct pawl_record prepare_record(const struct chunk_event *event)
{
    const struct wire_prepare *message = (const void *)event->message;
    bool is_run = message->run_count != 0;
    return (struct pawl_record){.offset = message->offset,
                                .id = message->id,
                                .version = message->version,
                                .length = is_run ? event->rows[0].length : message->length,
                                .crc = is_run ? event->rows[0].crc : message->crc,
                                .replicated = (message->flags & WIRE_PREPARE_REPLICATED) != 0};
}

static bool record_is(const struct pawl_record *record, const struct pawl_record *other)
{
    const struct wire_record_id *a = &record->id;
    const struct wire_record_id *b = &other->id;
    return a->producer_hi == b->producer_hi && a->producer_lo == b->producer_lo &&
           a->sequence == b->sequence && a->epoch == b->epoch && a->flags == b->flags &&
           record->offset == other->offset && record->length == other->length &&
           record->crc == other->crc;
}

// A repeated PREPARE is answered like the first one; another record at a used index is refused.
static int prepare_repeated(struct chunk_core *core, struct chunk *chunk,
                            const struct chunk_event *event, const struct chunk_waiter *waiter)
{
    const struct wire_prepare *message = (const void *)event->message;
    struct pawl_record record = prepare_record(event);
    uint32_t count = wire_records_count(message->run_count);
    uint64_t last = wire_prepare_last(message);

    // Of a run that was cut short there is no answer for the whole. What its rows say is looked at only if it is sound.
    if (last >= record_table_count(&chunk->records) ||
        (message->run_count != 0 && event->payload_crc != message->crc)) {
        return PAWL_EEXPECT;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            pawl_record_follow(&record, &event->rows[i]);
        }
        struct pawl_record there = record_table_at(&chunk->records, message->index + i);
        if (!record_is(&there, &record)) {
            return PAWL_EEXPECT;
        }
    }
    if (last < chunk->durable_count) {
        struct wire_prepared place = {
            .chunk = chunk->handle, .version = chunk->promised, .index = last};
        PAWL_MARK(prepare_repeats_durable);
        prepare_reply(core, waiter, &place, 0);
    } else {
        PAWL_MARK(prepare_joins_inflight);
        inflight_wait(core, inflight_at(&chunk->inflight, last), waiter);
    }
    return 0;
}

static int prepare_next(struct chunk_core *core, struct chunk *chunk,
                        const struct chunk_event *event, const struct chunk_waiter *waiter)
{
    const struct wire_prepare *message = (const void *)event->message;
    uint32_t count = wire_records_count(message->run_count);
    // What landed is checked, not what was sent: a slot may have been torn or overwritten.
    if (event->payload_crc != message->crc && !PAWL_MUTANT(crc_unchecked_secondary)) {
        PAWL_MARK(prepare_payload_torn);
        core->counters.mismatches_count++;
        return PAWL_EBADPAYLOAD;
    }
    struct pawl_record record = prepare_record(event);
    if (PAWL_MUTANT(prepare_hole_filled)) {
        record.offset = chunk_bytes_at(chunk, record_table_count(&chunk->records));
    }
    // As one record that is as long as all: what the others need beyond that follows from the first.
    struct pawl_record whole = record;
    whole.length = message->length;
    int rc = chunk_record_check(chunk, &whole);
    if (rc) {
        return rc;
    }
    if (record_table_count(&chunk->records) + count > CHUNK_RECORDS_MAX) {
        return PAWL_ECHUNKFULL;
    }
    if (!inflight_has_room(&chunk->inflight, count)) {
        return PAWL_EBUSY;
    }
    uint64_t index = record_table_count(&chunk->records);
    chunk_records_add(core, chunk, &record, event->rows, count);
    if (core->no_memory) {
        return 0;
    }
    if (PAWL_MUTANT(prepared_before_durable)) {
        struct wire_prepared place = {
            .chunk = chunk->handle, .version = chunk->promised, .index = index + count - 1};
        prepare_reply(core, waiter, &place, 0);
    } else {
        inflight_wait(core, inflight_at(&chunk->inflight, index + count - 1), waiter);
    }
    chunk_persist_records(core, chunk, index, count, event->payload);
    chunk->promise_used = true;
    chunk_hold_answer(core, chunk, 0);
    return 0;
}

void chunk_prepare(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_prepare *message = (const void *)event->message;
    struct chunk *chunk = chunk_find(core, message->chunk);
    struct chunk_waiter waiter = {.conn = event->conn, .request = event->request};
    int rc = chunk_order_check(chunk, message->version);

    pawl_assert(message->run_count == 0 || event->rows);
    if (rc == 0) {
        commit_learn(chunk, message->commit_count);
        if (message->index < record_table_count(&chunk->records)) {
            rc = prepare_repeated(core, chunk, event, &waiter);
        } else if (message->index > record_table_count(&chunk->records) &&
                   !PAWL_MUTANT(prepare_hole_filled)) {
            PAWL_MARK(prepare_leaves_hole);
            rc = PAWL_EEXPECT; // a hole is never filled later: the primary reports it
        } else {
            rc = prepare_next(core, chunk, event, &waiter);
        }
    }
    if (rc) {
        struct wire_prepared place = {
            .chunk = message->chunk, .version = message->version, .index = message->index};
        prepare_reply(core, &waiter, &place, rc);
    }
}

// PREPARED goes out when the record and all before it are durable. Closed here: a later record is
// durable before an earlier one, is counted as prepared, and a crash leaves the earlier one a hole
// that cuts the log. Waiters of an older version were refused when the promise was raised, so nobody
// is told PREPARED after a fence has counted.
void chunk_prepare_advance(struct chunk_core *core, struct chunk *chunk)
{
    struct chunk_waiter waiter;
    for (uint64_t index = chunk->inflight.first; index < chunk->durable_count; index++) {
        struct inflight_slot *slot = inflight_at(&chunk->inflight, index);
        while (inflight_waiter_pop(core, slot, &waiter)) {
            struct wire_prepared place = {
                .chunk = chunk->handle, .version = chunk->promised, .index = index};
            prepare_reply(core, &waiter, &place, 0);
        }
    }
    inflight_settle(&chunk->inflight, chunk->durable_count);
}

void chunk_waiters_refuse(struct chunk_core *core, struct chunk *chunk, int code)
{
    struct chunk_waiter waiter;
    chunk_hold_answer(core, chunk, code);
    for (uint64_t index = chunk->inflight.first; index < chunk->inflight.end; index++) {
        struct inflight_slot *slot = inflight_at(&chunk->inflight, index);
        while (inflight_waiter_pop(core, slot, &waiter)) {
            if (chunk->primary) {
                chunk_reply_add(core, waiter.conn, waiter.request, WIRE_APPEND, code);
                continue;
            }
            struct wire_prepared place = {
                .chunk = chunk->handle, .version = chunk->promised, .index = index};
            prepare_reply(core, &waiter, &place, code);
        }
    }
}

void chunk_commit(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_commit *message = (const void *)event->message;
    struct chunk *chunk = chunk_find(core, message->chunk);
    int rc = chunk_order_check(chunk, message->version);

    if (rc == 0) {
        commit_learn(chunk, message->commit_count);
    }
    chunk_reply_add(core, event->conn, event->request, WIRE_COMMIT, rc);
}
