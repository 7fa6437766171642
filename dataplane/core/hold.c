// SPDX-License-Identifier: Apache-2.0
// The weaker acknowledgement: a record is in the memory of every replica, and on its way to every disk.
//
// PREPARED says durable, and a request has one reply. So the primary asks a second thing behind the PREPAREs,
// on the same ordered connection: HOLD(count), answered when so many records have been taken in. At most
// one is under way to a member; what is appended meanwhile goes with the next one, so a queue costs one HOLD
// for many records and a single append waits for nothing.
//
// What is in memory is nothing to anybody else: readers, LOOKUP, the commit count, FENCE and the next grant
// know durable records only. A fence drains, so a member that lives through it has all that it ever held.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

// ---- the primary -----------------------------------------------------------------------------

static uint64_t member_held(const struct chunk_member *member)
{
    return PAWL_MAX(member->held_count, member->prepared_count);
}

static void member_ask(struct chunk_core *core, const struct chunk *chunk,
                       struct chunk_member *member)
{
    uint64_t count = chunk->lease.hold_wanted;
    if (member->hold_asked != 0 || member->broken || member_held(member) >= count) {
        return;
    }
    member->hold_asked = count;
    struct chunk_action *action = chunk_action_add(core, CHUNK_ACTION_HOLD);
    action->server = member->server_id;
    action->hold =
        (struct wire_hold){.chunk = chunk->handle, .version = chunk->promised, .count = count};
}

bool chunk_is_held(const struct chunk *chunk, uint64_t index)
{
    // The memory of a member that is gone holds nothing.
    uint64_t held_count = chunk_has_broken_member(chunk) ? 0 : chunk->lease.held_count;
    return index < PAWL_MAX(held_count, chunk->commit_count);
}

void chunk_hold_want(struct chunk_core *core, struct chunk *chunk, uint64_t count)
{
    struct chunk_lease *lease = &chunk->lease;
    pawl_assert(chunk->primary && count <= record_table_count(&chunk->records));
    lease->hold_wanted = PAWL_MAX(lease->hold_wanted, count);
    for (uint32_t i = 0; i < lease->secondaries_count; i++) {
        member_ask(core, chunk, &lease->secondaries[i]);
    }
    chunk_hold_advance(core, chunk); // all may have prepared it already
}

void chunk_hold_advance(struct chunk_core *core, struct chunk *chunk)
{
    struct chunk_lease *lease = &chunk->lease;
    uint64_t reach = lease->hold_wanted;
    struct chunk_waiter waiter;

    if (chunk_has_broken_member(chunk)) {
        return; // who waits hears of the commit, or of the next version
    }
    for (uint32_t i = PAWL_MUTANT(held_without_one); i < lease->secondaries_count; i++) {
        reach = PAWL_MIN(reach, member_held(&lease->secondaries[i]));
    }
    uint64_t first = PAWL_MAX(lease->held_count, chunk->commit_count);
    lease->held_count = PAWL_MAX(lease->held_count, reach);
    for (uint64_t index = first; index < reach; index++) {
        struct inflight_slot *slot = inflight_at(&chunk->inflight, index);
        while (inflight_replicated_pop(core, slot, &waiter)) {
            PAWL_MARK(append_answered_from_memory);
            chunk_reply_place(core, chunk, index, &waiter, WIRE_APPEND);
        }
    }
}

// As with PREPARED: an answer of an older version says nothing of what was ordered since.
void chunk_held(struct chunk_core *core, const struct chunk_event *event)
{
    struct chunk *chunk = chunk_find(core, event->handle);
    if (!chunk || !chunk->primary || event->version != chunk->promised) {
        return;
    }
    struct chunk_member *member = chunk_secondary_find(chunk, event->server);
    if (!member) {
        return;
    }
    if (event->status < 0 || event->index != member->hold_asked) {
        chunk_member_break(core, chunk, member);
        return;
    }
    member->held_count = PAWL_MAX(member->held_count, event->index);
    member->hold_asked = 0;
    if (member_held(member) < chunk->lease.hold_wanted) {
        PAWL_MARK(hold_of_several);
    }
    member_ask(core, chunk, member);
    chunk_hold_advance(core, chunk);
}

// ---- a secondary -----------------------------------------------------------------------------

void chunk_hold_answer(struct chunk_core *core, struct chunk *chunk, int code)
{
    struct chunk_hold *hold = &chunk->hold;
    if (hold->count != 0 && (code != 0 || record_table_count(&chunk->records) >= hold->count)) {
        chunk_reply_add(core, hold->conn, hold->request, WIRE_HOLD, code);
        *hold = (struct chunk_hold){0};
    }
}

// The records may still be on their way: a payload that comes by chain keeps its PREPARE waiting.
void chunk_hold(struct chunk_core *core, const struct chunk_event *event)
{
    const struct wire_hold *message = (const void *)event->message;
    struct chunk *chunk = chunk_find(core, message->chunk);
    int rc = chunk_order_check(chunk, message->version);

    if (rc) {
        chunk_reply_add(core, event->conn, event->request, WIRE_HOLD, rc);
        return;
    }
    if (chunk->hold.count != 0 && chunk->hold.conn == event->conn) {
        PAWL_MARK(hold_doubled);
        chunk_reply_add(core, event->conn, event->request, WIRE_HOLD, PAWL_EBUSY);
        return;
    }
    chunk_hold_answer(core, chunk, PAWL_ESTALE); // of a connection that is gone, as it seems
    if (message->count > record_table_count(&chunk->records)) {
        PAWL_MARK(hold_waits_for_records);
    }
    chunk->hold = (struct chunk_hold){
        .count = message->count, .conn = event->conn, .request = event->request};
    chunk_hold_answer(core, chunk, 0);
}
