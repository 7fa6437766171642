// SPDX-License-Identifier: Apache-2.0
// READ, FETCH, LOOKUP, INSPECT: requests that change nothing.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"
#include "dataplane/core/written.h"

// Only committed bytes: what is beyond may be cut by a seal, and a reader must never have seen it.
void chunk_read(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_read *message = (const void *)event->message;
    const struct chunk *chunk = chunk_find(core, message->chunk);
    if (!chunk) {
        chunk_reply_add(core, event->conn, event->request, WIRE_READ, PAWL_ENOCHUNK);
        return;
    }
    bool all = PAWL_MUTANT(reads_uncommitted);
    uint64_t committed_bytes =
        chunk_bytes_at(chunk, all ? chunk->durable_count : chunk->commit_count);
    if (message->offset >= committed_bytes) {
        union chunk_reply *reply = chunk_reply_add(core, event->conn, event->request, WIRE_READ, 0);
        reply->read_done.committed_bytes = committed_bytes;
        reply->read_done.sealed = chunk_is_sealed(chunk);
        return;
    }
    struct chunk_action read = {
        .offset = message->offset,
        .length = (uint32_t)PAWL_MIN(message->length, committed_bytes - message->offset)};
    int rc = written_plan(core, chunk, message, &read);
    if (rc) {
        chunk_reply_add(core, event->conn, event->request, WIRE_READ, rc);
        return;
    }
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_READ);
    action->log_chunks = read.log_chunks;
    action->log_bytes = read.log_bytes;
    action->segments = read.segments;
    action->segments_count = read.segments_count;
    action->conn = event->conn;
    action->request = event->request;
    action->handle = chunk->handle;
    action->version = chunk->promised;
    action->offset = message->offset;
    action->length = read.length;
    action->committed_bytes = committed_bytes;
    action->sealed = chunk_is_sealed(chunk);
    action->read = *message;
}

// A source serves what is durable here, to those who recover under the version that it promised. What is
// sealed never changes: it may be copied under a newer version.
void chunk_fetch(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_fetch *message = (const void *)event->message;
    const struct chunk *chunk = chunk_find(core, message->chunk);
    int rc = 0;

    if (!chunk) {
        rc = PAWL_ENOCHUNK;
    } else if (message->version < chunk->promised ||
               (message->version > chunk->promised && !chunk_is_sealed(chunk))) {
        rc = PAWL_ESTALE;
    } else if (chunk->damaged) {
        rc = PAWL_ECORRUPT;
    } else if (message->index == WIRE_FETCH_TABLE ? !chunk_is_sealed(chunk)
                                                  : message->index >= chunk->durable_count) {
        rc = PAWL_EEXPECT;
    }
    if (rc) {
        union chunk_reply *reply =
            chunk_reply_add(core, event->conn, event->request, WIRE_FETCH, rc);
        reply->fetched.chunk = message->chunk;
        reply->fetched.index = message->index;
        return;
    }
    bool is_table = message->index == WIRE_FETCH_TABLE;
    struct chunk_action *action =
        chunk_action_add(core, is_table ? CHUNK_ACTION_SEND_TABLE : CHUNK_ACTION_SEND_RECORD);
    action->conn = event->conn;
    action->request = event->request;
    action->handle = chunk->handle;
    action->version = chunk->promised;
    action->index = message->index;
    if (is_table) {
        action->table.rows = chunk->inherited;
        action->table.count = chunk->inherited_count;
    } else {
        action->fetch = *message;
    }
}

// Where a record id is, for walking back through a file's chunks. A record that is not known to be
// committed here is neither there nor absent yet.
static void lookup_found(struct chunk_core *core, const struct chunk *chunk, uint64_t index,
                         const struct chunk_event *event)
{
    const struct wire_lookup *message = (const void *)event->message;
    struct pawl_record record = record_table_at(&chunk->records, index);
    struct chunk_waiter waiter = {
        .conn = event->conn, .request = event->request, .duplicate = true};
    bool is_other =
        message->compare && (record.length != message->length || record.crc != message->crc ||
                             record.id.flags != message->id.flags);

    if (index >= chunk->commit_count) {
        PAWL_MARK(lookup_of_uncommitted);
        chunk_reply_add(core, event->conn, event->request, WIRE_LOOKUP, PAWL_EBUSY);
    } else if (is_other) {
        chunk_reply_add(core, event->conn, event->request, WIRE_LOOKUP, PAWL_EIDREUSED);
    } else {
        chunk_reply_place(core, chunk, index, &waiter, WIRE_LOOKUP);
    }
}

static void lookup_absent(struct chunk_core *core, const struct chunk *chunk,
                          const struct chunk_event *event)
{
    const struct wire_lookup *message = (const void *)event->message;
    const struct wire_producer *row = producer_table_find(&chunk->producers, &message->id);
    if (producer_table_judge(&chunk->producers, &message->id) == PRODUCER_ENDED) {
        // No chunk behind this one, nor this one, can hold it; those before may, and know.
        chunk_reply_add(core, event->conn, event->request, WIRE_LOOKUP, PAWL_ESESSION);
        return;
    }
    // An open replica may lag behind, and a damaged one may have lost it: that it has no such record says nothing. An
    // open one's primary has all.
    bool is_final = !chunk->damaged && (chunk_is_sealed(chunk) || chunk_lease_is_held(core, chunk));
    union chunk_reply *reply = chunk_reply_add(core, event->conn, event->request, WIRE_LOOKUP,
                                               is_final ? PAWL_EABSENT : PAWL_ENOTPRIMARY);
    reply->appended.version = chunk->promised;
    reply->appended.sequence = row ? row->last_sequence : 0;
}

void chunk_lookup(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_lookup *message = (const void *)event->message;
    const struct chunk *chunk = chunk_find(core, message->chunk);
    if (!chunk) {
        chunk_reply_add(core, event->conn, event->request, WIRE_LOOKUP, PAWL_ENOCHUNK);
        return;
    }
    const struct wire_producer *row = producer_table_find(&chunk->producers, &message->id);
    bool is_epoch = (message->id.flags & WIRE_RECORD_EPOCH) != 0;
    uint64_t index = record_table_find(&chunk->records, &message->id);
    struct chunk_waiter waiter = {.conn = event->conn, .request = event->request};

    if (index != RECORD_ABSENT) {
        lookup_found(core, chunk, index, event);
    } else if (row && !is_epoch && message->id.sequence <= row->last_sequence) {
        PAWL_MARK(lookup_walks_back);
        chunk_reply_earlier(core, chunk, &message->id, &waiter, WIRE_LOOKUP);
    } else {
        lookup_absent(core, chunk, event);
    }
}

void chunk_inspect(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_inspect *message = (const void *)event->message;
    const struct chunk *chunk = chunk_find(core, message->chunk);
    union chunk_reply *reply =
        chunk_reply_add(core, event->conn, event->request, WIRE_INSPECT, chunk ? 0 : PAWL_ENOCHUNK);
    if (!chunk) {
        return;
    }
    reply->inspected.version = chunk->promised;
    reply->inspected.committed_bytes = chunk_bytes_at(chunk, chunk->commit_count);
    reply->inspected.committed_count = chunk->commit_count;
    reply->inspected.count = chunk->durable_count;
    reply->inspected.sealed = chunk_is_sealed(chunk);
    reply->inspected.primary = chunk_lease_is_held(core, chunk);
}
