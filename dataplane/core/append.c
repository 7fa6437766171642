// SPDX-License-Identifier: Apache-2.0
// The primary: what it takes, in which order it looks, and when a record is committed.
//
// A record that is assigned is in the record table and counts for the producer table at once, so a
// repeated APPEND finds it there: committed, or in flight. Nothing is ever taken back by a primary.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"
#include "dataplane/core/written.h"

static struct wire_appended *append_reply(struct chunk_core *core, const struct chunk *chunk,
                                          const struct chunk_waiter *waiter, uint16_t type,
                                          int status)
{
    union chunk_reply *reply = chunk_reply_add(core, waiter->conn, waiter->request, type, status);
    reply->appended.version = chunk->promised;
    return &reply->appended;
}

void chunk_reply_place(struct chunk_core *core, const struct chunk *chunk, uint64_t index,
                       const struct chunk_waiter *waiter, uint16_t type)
{
    struct pawl_record record = record_table_at(&chunk->records, index);
    struct wire_appended *appended = append_reply(core, chunk, waiter, type, 0);
    appended->file_offset = chunk->base_offset + record.offset;
    appended->sequence = record.id.sequence;
    appended->duplicate = waiter->duplicate;
    if (waiter->replicated && index >= chunk->commit_count) {
        appended->flags = WIRE_APPENDED_REPLICATED;
    }
}

void chunk_reply_earlier(struct chunk_core *core, const struct chunk *chunk,
                         const struct wire_record_id *id, const struct chunk_waiter *waiter,
                         uint16_t type)
{
    uint64_t earlier = producer_table_earlier(&chunk->producers, chunk->handle, id);
    // No place in the whole table for a sequence that it counts as used: it was never one (0).
    int status = earlier ? PAWL_EEARLIER : PAWL_EABSENT;
    struct wire_appended *appended = append_reply(core, chunk, waiter, type, status);
    const struct wire_producer *row = producer_table_find(&chunk->producers, id);
    appended->earlier_chunk = earlier;
    appended->sequence = row ? row->last_sequence : 0;
}

// The request is answered when the record has come as far as its level asks for.
static void append_wait(struct chunk_core *core, struct chunk *chunk, uint64_t index,
                        const struct chunk_waiter *waiter)
{
    inflight_wait(core, inflight_at(&chunk->inflight, index), waiter);
    if (waiter->replicated && !core->no_memory) {
        chunk_hold_want(core, chunk, index + 1);
    }
}

// A retry of a record that the table has. It is looked for before anything is refused for want of
// room or a broken member: a record that was committed before a failure must be answered after it,
// or its client would append it again elsewhere.
static void append_repeated(struct chunk_core *core, struct chunk *chunk,
                            const struct wire_append *message, struct chunk_waiter *waiter)
{
    uint64_t index = record_table_find(&chunk->records, &message->id);
    bool is_epoch = (message->id.flags & WIRE_RECORD_EPOCH) != 0;

    waiter->duplicate = true;
    core->counters.duplicates_count++;
    if (index == RECORD_ABSENT && is_epoch) {
        // The epoch was opened in an earlier chunk. Its client appends nothing before it is
        // answered, so the last sequence is still the one before the epoch.
        PAWL_MARK(append_epoch_opened_earlier);
        const struct wire_producer *row = producer_table_find(&chunk->producers, &message->id);
        struct wire_appended *appended = append_reply(core, chunk, waiter, WIRE_APPEND, 0);
        appended->sequence = row->last_sequence;
        appended->duplicate = 1;
        return;
    }
    if (index == RECORD_ABSENT) {
        PAWL_MARK(append_repeats_earlier_chunk);
        chunk_reply_earlier(core, chunk, &message->id, waiter, WIRE_APPEND);
        return;
    }
    struct pawl_record record = record_table_at(&chunk->records, index);
    // What is stored as durable is given up by a recovery unless it is: it can't be promised sooner now.
    waiter->replicated = waiter->replicated && record.replicated;
    // For a write its offset is a part of what is compared.
    bool is_other = record.length != message->length || record.crc != message->crc ||
                    (record.id.flags != message->id.flags && !PAWL_MUTANT(write_offset_unchecked));
    if (is_other && !PAWL_MUTANT(id_reuse_unchecked)) {
        PAWL_MARK(append_id_reused);
        append_reply(core, chunk, waiter, WIRE_APPEND, PAWL_EIDREUSED);
    } else if (index < chunk->commit_count || PAWL_MUTANT(inflight_answered)) {
        PAWL_MARK(append_repeats_committed);
        chunk_reply_place(core, chunk, index, waiter, WIRE_APPEND);
    } else if (chunk_is_held(chunk, index) &&
               (waiter->replicated || PAWL_MUTANT(retry_answered_weaker))) {
        PAWL_MARK(append_repeats_held);
        chunk_reply_place(core, chunk, index, waiter, WIRE_APPEND);
    } else {
        PAWL_MARK(append_joins_inflight);
        // In flight: an answer now would promise what a failure may still take away. The answer meets the level of
        // this request, whatever that of the first was.
        append_wait(core, chunk, index, waiter);
    }
}

// Own write first, then the messages to the secondaries.
static void append_assign(struct chunk_core *core, struct chunk *chunk,
                          const struct chunk_event *event, const struct chunk_waiter *waiter)
{
    const struct wire_append *message = (const void *)event->message;
    uint64_t index = record_table_count(&chunk->records);
    uint32_t count = wire_records_count(message->run_count);
    bool is_run = message->run_count != 0;
    uint16_t prepare_flags = waiter->replicated ? WIRE_PREPARE_REPLICATED : 0;
    struct pawl_record record = {.offset = chunk_bytes_at(chunk, index),
                                 .id = message->id,
                                 .version = chunk->promised,
                                 .length = is_run ? event->rows[0].length : message->length,
                                 .crc = is_run ? event->rows[0].crc : message->crc,
                                 .replicated = waiter->replicated};
    if (message->id.flags & WIRE_RECORD_EPOCH) {
        const struct wire_producer *row = producer_table_find(&chunk->producers, &message->id);
        record.id.sequence = row ? row->last_sequence : 0;
    }
    chunk_records_add(core, chunk, &record, event->rows, count);
    if (core->no_memory) {
        return;
    }
    chunk_persist_records(core, chunk, index, count, event->payload);
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_PREPARE);
        action->server = chunk->lease.secondaries[i].server_id;
        // Chains of two: each first one may forward the payload to the second (docs/decisions/0024).
        if (i % 2 != 0) {
            action->relayed_by = chunk->lease.secondaries[i - 1].server_id;
        } else if (i + 1 < chunk->lease.secondaries_count) {
            action->relay_to = chunk->lease.secondaries[i + 1].server_id;
        }
        action->payload = event->payload;
        action->prepare = (struct wire_prepare){.chunk = chunk->handle,
                                                .version = chunk->promised,
                                                .index = index,
                                                .offset = record.offset,
                                                .id = record.id,
                                                .commit_count = chunk->commit_count,
                                                .length = message->length,
                                                .crc = message->crc,
                                                .flags = prepare_flags,
                                                .run_count = message->run_count};
    }
    chunk->lease.told_count = chunk->commit_count;
    chunk->lease.quiet = false;
    if (PAWL_MUTANT(epoch_not_committed) && record.length == 0) {
        chunk_reply_place(core, chunk, index, waiter, WIRE_APPEND);
    } else {
        // The last of a run answers for all of it. Its HOLD goes out behind the PREPAREs.
        append_wait(core, chunk, index + count - 1, waiter);
    }
}

// A new record that comes next of its producer: is there room, and anybody to keep it?
static int append_admit(struct chunk_core *core, struct chunk *chunk,
                        const struct wire_append *message)
{
    uint32_t count = wire_records_count(message->run_count);
    if (message->length > chunk->chunk_bytes / CHUNK_RECORD_SHARE) {
        // It would not fit in the next chunk either; the records of a run may, each by itself.
        return message->run_count != 0 ? PAWL_EBUSY : PAWL_ETOOLARGE;
    }
    if (producer_table_is_full(&chunk->producers, &message->id)) {
        return PAWL_ELIMIT; // nor would the next chunk's table have room
    }
    // What a broken member doesn't get can't be committed any more: don't begin it.
    if (chunk_has_broken_member(chunk) || !inflight_has_room(&chunk->inflight, count)) {
        PAWL_MARK(append_while_member_broken);
        return PAWL_EBUSY;
    }
    uint64_t end = chunk_bytes_at(chunk, record_table_count(&chunk->records));
    if (message->length > chunk->chunk_bytes - end ||
        record_table_count(&chunk->records) + count > CHUNK_RECORDS_MAX) {
        PAWL_MARK(append_fills_chunk);
        chunk->full = true;
    }
    // From then on for every new sequence: a smaller record that still fits must not pass one of the
    // same producer that has gone on to the next chunk.
    if (chunk->full) {
        chunk_full_check(core, chunk);
        return PAWL_ECHUNKFULL;
    }
    return 0;
}

static void append_judge(struct chunk_core *core, struct chunk *chunk,
                         const struct chunk_event *event, struct chunk_waiter *waiter)
{
    const struct wire_append *message = (const void *)event->message;
    const struct wire_producer *row = producer_table_find(&chunk->producers, &message->id);
    int rc;

    switch (producer_table_judge(&chunk->producers, &message->id)) {
    case PRODUCER_ENDED:
        append_reply(core, chunk, waiter, WIRE_APPEND, PAWL_ESESSION);
        break;
    case PRODUCER_FENCED:
        PAWL_MARK(append_of_older_epoch);
        append_reply(core, chunk, waiter, WIRE_APPEND, PAWL_EFENCED);
        break;
    case PRODUCER_REPEATED:
        if (message->run_count != 0) {
            // Some of it may be elsewhere, or new: its records are judged one by one.
            append_reply(core, chunk, waiter, WIRE_APPEND, PAWL_EBUSY);
        } else {
            append_repeated(core, chunk, message, waiter);
        }
        break;
    case PRODUCER_EARLY:
        // Never held: a gap that is filled by somebody's later record would be no order at all.
        PAWL_MARK(append_too_early);
        append_reply(core, chunk, waiter, WIRE_APPEND, PAWL_EEXPECT)->sequence =
            (row ? row->last_sequence : 0) + 1;
        break;
    case PRODUCER_NEXT:
        rc = append_admit(core, chunk, message);
        if (rc) {
            append_reply(core, chunk, waiter, WIRE_APPEND, rc);
        } else {
            append_assign(core, chunk, event, waiter);
        }
        break;
    }
}

void chunk_append(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_append *message = (const void *)event->message;
    struct chunk *chunk = chunk_find(core, message->chunk);
    struct chunk_waiter waiter = {.conn = event->conn, .request = event->request};
    int rc = 0;

    pawl_assert(message->run_count == 0 || event->rows);
    if (!chunk) {
        rc = PAWL_ENOCHUNK;
    } else if (chunk_is_sealed(chunk) || message->version != chunk->promised) {
        rc = PAWL_ESTALE;
    } else if (!chunk_lease_is_held(core, chunk)) {
        PAWL_MARK(append_without_lease);
        rc = PAWL_ENOTPRIMARY;
    } else if (event->payload_crc != message->crc && !PAWL_MUTANT(crc_unchecked_primary)) {
        PAWL_MARK(append_payload_torn);
        rc = PAWL_EBADPAYLOAD;
        core->counters.mismatches_count++;
    } else if (message->run_count != 0 && chunk->written_handle != 0) {
        rc = PAWL_EINVALID; // writes come alone
    } else if (!(message->id.flags & WIRE_RECORD_EPOCH) || chunk->written_handle != 0) {
        rc = written_record_check(core, chunk, &message->id, message->length);
    }
    if (rc) {
        chunk_reply_add(core, event->conn, event->request, WIRE_APPEND, rc);
    } else {
        // An epoch and a write are always durable: others stand on them. So is what has one replica: its memory
        // alone is no replication, and its store may refuse the record in the next turn.
        waiter.replicated = (message->flags & WIRE_APPEND_REPLICATED) != 0 &&
                            !(message->id.flags & WIRE_RECORD_EPOCH) &&
                            chunk->written_handle == 0 && chunk->lease.secondaries_count > 0;
        append_judge(core, chunk, event, &waiter);
    }
}

int chunk_core_secondaries(const struct chunk_core *core, uint64_t handle, uint64_t version,
                           uint64_t ret_servers[CHUNK_SET_MAX])
{
    const struct chunk *chunk = chunk_find(core, handle);
    if (!chunk) {
        return PAWL_ENOCHUNK;
    }
    if (chunk_is_sealed(chunk) || version != chunk->promised) {
        return PAWL_ESTALE;
    }
    if (!chunk_lease_is_held(core, chunk)) {
        return PAWL_ENOTPRIMARY;
    }
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        ret_servers[i] = chunk->lease.secondaries[i].server_id;
    }
    return (int)chunk->lease.secondaries_count;
}

// ---- commit ----------------------------------------------------------------------------------

// Committed is what is durable on every member of the set. Each says PREPARED for a record only when
// all before it are durable there too, so one count per member is enough, and records commit in
// index order: a producer's sequences have no gap at any commit point.
void chunk_commit_advance(struct chunk_core *core, struct chunk *chunk)
{
    uint64_t reach = chunk->durable_count;
    struct chunk_waiter waiter;

    if (!chunk->primary) {
        return;
    }
    for (uint32_t i = PAWL_MUTANT(commit_without_one); i < chunk->lease.secondaries_count; i++) {
        reach = PAWL_MIN(reach, chunk->lease.secondaries[i].prepared_count);
    }
    if (reach == chunk->commit_count) {
        return;
    }
    if (reach - chunk->commit_count > 1) {
        PAWL_MARK(commit_of_several);
    }
    while (chunk->commit_count < reach) {
        uint64_t index = chunk->commit_count++;
        struct inflight_slot *slot = inflight_at(&chunk->inflight, index);
        while (inflight_waiter_pop(core, slot, &waiter)) {
            chunk_reply_place(core, chunk, index, &waiter, WIRE_APPEND);
            chunk_action_last(core)->durable_ns = slot->durable_ns;
        }
        core->counters.appends_count++;
    }
    inflight_settle(&chunk->inflight, chunk->commit_count);
    chunk->lease.quiet = false;
    chunk_full_check(core, chunk);
}

struct chunk_member *chunk_secondary_find(struct chunk *chunk, uint64_t server)
{
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        if (chunk->lease.secondaries[i].server_id == server) {
            return &chunk->lease.secondaries[i];
        }
    }
    return NULL;
}

// Answers of an older version are dropped by the version: they say nothing about what was ordered
// since, though the index may be the same.
void chunk_prepared(struct chunk_core *core, const struct chunk_event *event)
{
    struct chunk *chunk = chunk_find(core, event->handle);
    if (!chunk || !chunk->primary || event->version != chunk->promised) {
        PAWL_MARK(prepared_of_older_version);
        return;
    }
    struct chunk_member *member = chunk_secondary_find(chunk, event->server);
    if (!member) {
        return;
    }
    // An index that was never sent is no answer of a sound member.
    if (event->status < 0 || event->index >= record_table_count(&chunk->records)) {
        chunk_member_break(core, chunk, member);
        return;
    }
    if (member->broken) {
        PAWL_MARK(prepared_by_broken_member);
    }
    // A late answer of a member that was reported counts: the record is durable there.
    member->prepared_count = PAWL_MAX(member->prepared_count, event->index + 1);
    chunk_commit_advance(core, chunk);
    chunk_hold_advance(core, chunk); // durable there is held there
}
