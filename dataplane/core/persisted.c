// SPDX-License-Identifier: Apache-2.0
// Ends of store operations: what becomes durable, and what happens when it doesn't.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "dataplane/core/chunk_core_private.h"

// A replica that may have lost something, or found bytes that are not what was written, orders
// nothing, promises nothing and says PREPARED for nothing any more. What it still has is read with
// its checksums.
static void chunk_fail(struct chunk_core *core, struct chunk *chunk, int code)
{
    bool was_primary = chunk->primary;
    bool was_damaged = chunk->damaged;

    chunk_step_down(core, chunk);
    chunk_waiters_refuse(core, chunk, code);
    chunk_level_cancel(core, chunk, code);
    chunk_commands_end(core, chunk, PAWL__REQUEST__BODY__NOT_SET, code);
    if (was_damaged && core->now_ns < chunk->report_next_ns) {
        return;
    }
    chunk->damage_code = was_damaged ? chunk->damage_code : code;
    chunk->damaged = true;
    chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
    chunk_report_add(core, chunk, PAWL__REPORT_KIND__REPORT_DAMAGED, core->options.server_id);
    if (was_primary) {
        PAWL_MARK(primary_fails);
        // Nobody else knows that this chunk has no primary any more.
        chunk->report_self = PAWL__REPORT_KIND__REPORT_BROKEN;
        chunk_report_add(core, chunk, chunk->report_self, core->options.server_id);
        chunk_activate(core, chunk);
    }
}

// The store had no room for a record. It has lost nothing, so this replica is as good as one that
// crashed before it wrote: it orders nothing more under this version, and when all that is under way has
// ended its log is cut back to what is durable (chunk_cut). Recovery makes all equal, and a chunk whose
// primary has no room goes on elsewhere.
static void chunk_refused(struct chunk_core *core, struct chunk *chunk, int code)
{
    bool was_primary = chunk->primary;

    chunk_step_down(core, chunk);
    chunk_waiters_refuse(core, chunk, code);
    chunk_level_cancel(core, chunk, code);
    chunk->cut_wanted = true;
    if (was_primary) {
        chunk->report_self = PAWL__REPORT_KIND__REPORT_BROKEN;
        chunk->report_next_ns = core->now_ns + CHUNK_REPORT_NS;
        chunk_report_add(core, chunk, chunk->report_self, core->options.server_id);
        chunk_activate(core, chunk);
    }
}

void chunk_cut(struct chunk_core *core, struct chunk *chunk)
{
    pawl_assert(chunk->persisting_count == 0 && !chunk->primary);
    chunk->cut_wanted = false;
    if (chunk->damaged || chunk->durable_count == record_table_count(&chunk->records)) {
        return;
    }
    PAWL_MARK(log_cut_for_want_of_room);
    record_table_truncate(&chunk->records, chunk->durable_count);
    chunk->full = false; // what filled it is gone
    chunk_producers_rebuild(core, chunk);
    inflight_cut(&chunk->inflight, chunk->durable_count);
}

void chunk_damaged(struct chunk_core *core, uint64_t handle)
{
    struct chunk *chunk = chunk_find(core, handle);
    core->counters.mismatches_count++;
    if (chunk) {
        PAWL_MARK(damage_found_by_reading);
        chunk_fail(core, chunk, PAWL_ECORRUPT);
    }
}

static void records_durable(struct chunk_core *core, struct chunk *chunk, uint64_t index,
                            uint32_t count)
{
    if (index != chunk->durable_count) {
        PAWL_MARK(durable_out_of_order);
    }
    if (PAWL_MUTANT(durable_out_of_order)) {
        chunk->durable_count = PAWL_MAX(chunk->durable_count, index + count);
    } else {
        for (uint64_t end = index + count; index < end; index++) {
            struct inflight_slot *slot = inflight_at(&chunk->inflight, index);
            slot->durable = true;
            slot->durable_ns = core->now_ns;
        }
    }
    // The store may finish records out of order; what counts is what has no hole before it.
    while (chunk->durable_count < record_table_count(&chunk->records) &&
           inflight_at(&chunk->inflight, chunk->durable_count)->durable) {
        chunk->durable_count++;
    }
    if (chunk->primary) {
        chunk_commit_advance(core, chunk);
    } else {
        chunk_prepare_advance(core, chunk);
    }
}

static void persist_done(struct chunk_core *core, struct chunk *chunk, const struct chunk_op *op)
{
    switch (op->kind) {
    case CHUNK_OP_APPEND:
        records_durable(core, chunk, op->value, op->count);
        break;
    case CHUNK_OP_CREATE:
    case CHUNK_OP_PROMISE:
        chunk->promised_durable = PAWL_MAX(chunk->promised_durable, op->value);
        break;
    case CHUNK_OP_SEAL:
        if (chunk->state == CHUNK_STATE_SEALING) {
            chunk->state = CHUNK_STATE_SEALED;
        }
        break;
    case CHUNK_OP_DROP:
        chunk->state = CHUNK_STATE_GONE;
        chunk_commands_end(core, chunk, PAWL__REQUEST__BODY_DROP, 0);
        break;
    default:
        pawl_assert(false);
    }
}

static void persist_failed(struct chunk_core *core, struct chunk *chunk, const struct chunk_op *op,
                           int status)
{
    if (chunk->state == CHUNK_STATE_COPYING) {
        chunk->copy->defined &= op->kind != CHUNK_OP_CREATE; // then there is nothing to drop
        chunk_copy_stop(core, chunk, status);
        return;
    }
    switch (op->kind) {
    case CHUNK_OP_DROP:
        chunk->state = CHUNK_STATE_GONE;
        chunk_commands_end(core, chunk, PAWL__REQUEST__BODY_DROP, status);
        break;
    case CHUNK_OP_CREATE:
        PAWL_MARK(create_fails);
        // It holds nothing: out of service, as if the command had never come. What the creation was to
        // replace is still stored, or about to be, and goes: it was never ready, and nobody would hear of
        // it again.
        if (chunk->state == CHUNK_STATE_CREATING) {
            bool is_stored = chunk->promised_durable > 0 || chunk->persisting_count > 0;
            chunk->state = is_stored ? CHUNK_STATE_DROPPING : CHUNK_STATE_GONE;
            if (is_stored) {
                PAWL_MARK(create_fails_to_replace);
                chunk_persist_add(core, chunk, CHUNK_OP_DROP, chunk->promised);
            }
        }
        chunk_level_cancel(core, chunk, status);
        chunk_commands_end(core, chunk, PAWL__REQUEST__BODY__NOT_SET, status);
        break;
    default:
        // Behind a record that was refused no other one fits: they fail for that, not for want of room.
        if (op->kind == CHUNK_OP_APPEND && (status == PAWL_ENOSPACE || chunk->cut_wanted)) {
            if (chunk->state < CHUNK_STATE_DROPPING) {
                chunk_refused(core, chunk, PAWL_ENOSPACE);
            }
        } else if (chunk->state < CHUNK_STATE_DROPPING) {
            chunk_fail(core, chunk, status);
        }
    }
}

void chunk_persisted(struct chunk_core *core, const struct chunk_event *event)
{
    struct chunk_op *found = chunk_op_find(core, event->token);
    if (!found || found->kind == CHUNK_OP_FETCH) {
        return;
    }
    struct chunk_op op = *found;
    struct chunk *chunk = op.chunk;
    chunk_op_end(core, found);

    if (op.kind == CHUNK_OP_CREATE && event->token != chunk->create_token) {
        PAWL_MARK(create_overtaken);
        // A newer creation has taken its place; the store carries them out in order.
        if (event->status >= 0) {
            chunk->promised_durable = PAWL_MAX(chunk->promised_durable, op.value);
        }
    } else if (event->status < 0 && !PAWL_MUTANT(flush_error_ignored)) {
        persist_failed(core, chunk, &op, event->status);
    } else {
        persist_done(core, chunk, &op);
        if (chunk->state == CHUNK_STATE_COPYING) {
            chunk_copy_persisted(core, chunk, &op);
        }
        if (op.kind == CHUNK_OP_CREATE && chunk->state == CHUNK_STATE_CREATING) {
            chunk->state = CHUNK_STATE_OPEN;
        }
    }
    chunk_settle(core, chunk);
}
