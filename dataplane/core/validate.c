// SPDX-License-Identifier: Apache-2.0
// Every invariant of the chunk core, for tests and the simulator. Slow: it walks all records.
#include <string.h>

#include "base/assert.h"
#include "dataplane/core/chunk_core_private.h"
#include "dataplane/core/written.h"

static void validate_records(const struct chunk *chunk)
{
    const struct record_table *table = &chunk->records;
    uint64_t offset = 0;
    uint64_t version = 0;

    pawl_assert(record_table_count(table) <= CHUNK_RECORDS_MAX);
    for (uint64_t i = 0; i < record_table_count(table); i++) {
        struct pawl_record record = record_table_at(table, i);
        pawl_assert(record.offset == offset); // no hole, no overlap
        pawl_assert(record.version >= version && record.version <= chunk->promised);
        pawl_assert(record_table_find(table, &record.id) == i);
        offset += record.length;
        version = record.version;
    }
    pawl_assert(offset <= chunk->chunk_bytes);
    pawl_assert(chunk->zero_bytes <= chunk->chunk_bytes);
    pawl_assert(chunk->zero_bytes == 0 || (record_table_count(table) == 0 && !chunk->primary));
}

// The producer table is what was inherited, carried on by the records: nothing else.
static void validate_producers(const struct chunk_core *core, const struct chunk *chunk)
{
    struct producer_table table;
    producer_table_init(&table, core->alloc);
    int rc = producer_table_inherit(&table, chunk->inherited, chunk->inherited_count);
    for (uint64_t i = 0; rc == 0 && i < record_table_count(&chunk->records); i++) {
        struct wire_record_id id = record_table_at(&chunk->records, i).id;
        pawl_assert(producer_table_admits(&table, &id)); // in order, without gaps
        rc = producer_table_apply(&table, chunk->handle, &id, 1);
    }
    if (rc == 0) { // else there was no memory for the check
        pawl_assert(table.count == chunk->producers.count);
        pawl_assert(table.count == 0 ||
                    !memcmp(table.rows, chunk->producers.rows, table.count * sizeof(*table.rows)));
    }
    producer_table_fini(&table);
}

static void validate_inflight(const struct chunk *chunk)
{
    const struct inflight *inflight = &chunk->inflight;
    uint64_t settled = chunk->primary ? chunk->commit_count : chunk->durable_count;

    pawl_assert(chunk->commit_count <= chunk->durable_count);
    pawl_assert(chunk->durable_count <= record_table_count(&chunk->records));
    pawl_assert(inflight->end == record_table_count(&chunk->records));
    pawl_assert(inflight->first == settled);
    pawl_assert(inflight->end - inflight->first <= CHUNK_INFLIGHT_MAX);
    for (uint64_t index = inflight->first; index < inflight->end; index++) {
        const struct inflight_slot *slot = inflight_at(inflight, index);
        pawl_assert(index >= chunk->durable_count || slot->durable);
        pawl_assert(index != chunk->durable_count || !slot->durable);
        pawl_assert(!chunk->damaged || !slot->waiters);
    }
}

static void validate_primary(const struct chunk_core *core, const struct chunk *chunk)
{
    pawl_assert(chunk->state == CHUNK_STATE_OPEN && !chunk->damaged);
    pawl_assert(chunk->promise_fresh && chunk->promise_used);
    pawl_assert(chunk->promised == chunk->promised_durable);
    pawl_assert(!pawl_list_is_empty(&chunk->active));
    pawl_assert(chunk->level.source == 0);
    pawl_assert(chunk->lease.secondaries_count < CHUNK_SET_MAX);
    pawl_assert(chunk->lease.told_count <= chunk->commit_count);
    uint64_t reach = chunk->durable_count;
    for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
        const struct chunk_member *member = &chunk->lease.secondaries[i];
        pawl_assert(member->server_id != core->options.server_id);
        pawl_assert(member->prepared_count <= record_table_count(&chunk->records));
        reach = PAWL_MIN(reach, member->prepared_count);
    }
    pawl_assert(chunk->commit_count == reach); // no more than all have, and answered at once
    pawl_assert(chunk->lease.hold_wanted <= record_table_count(&chunk->records));
    pawl_assert(chunk->lease.held_count <= chunk->lease.hold_wanted);
    pawl_assert(chunk->hold.count == 0);
}

static void validate_state(const struct chunk *chunk)
{
    pawl_assert(chunk->state >= CHUNK_STATE_CREATING && chunk->state <= CHUNK_STATE_GONE);
    pawl_assert(chunk->promised_durable <= chunk->promised);
    pawl_assert(!chunk->damaged == (chunk->damage_code == 0));
    pawl_assert(chunk->hold.count == 0 ||
                (chunk->hold.count > record_table_count(&chunk->records) &&
                 chunk->state == CHUNK_STATE_OPEN && !chunk->damaged));
    if (chunk_is_sealed(chunk)) {
        pawl_assert(chunk->commit_count == record_table_count(&chunk->records));
    }
    if (chunk->state == CHUNK_STATE_CREATING) {
        pawl_assert(record_table_count(&chunk->records) == 0 && chunk->persisting_count > 0);
    }
    // A command that nothing carries on would never be answered.
    if (chunk->commands && !chunk->copy) {
        pawl_assert(chunk->persisting_count > 0 || chunk->level.token != 0);
    }
    pawl_assert((chunk->state == CHUNK_STATE_COPYING) == (chunk->copy != NULL));
    if (chunk->copy) {
        pawl_assert(chunk->persisting_count > 0 || chunk->fetching_count > 0);
        pawl_assert(chunk->copy->asked_count <= chunk->copy->count);
        pawl_assert(chunk->copy->asked_count - chunk->durable_count <= CHUNK_COPY_FETCHES);
        pawl_assert(!chunk->primary && !chunk->damaged);
    }
    pawl_assert((chunk->level.token == 0) || chunk->level.source != 0);
    pawl_assert(chunk->level.count <= CHUNK_RECORDS_MAX);
    // Only these want ticks.
    bool is_active =
        chunk->primary || chunk->copy || chunk->report_self != PAWL__REPORT_KIND__REPORT_NONE;
    pawl_assert(is_active == !pawl_list_is_empty(&chunk->active));
}

static void validate_ops(const struct chunk_core *core, const struct chunk *chunk)
{
    uint32_t persisting_count = 0;
    uint32_t fetching_count = 0;
    for (uint32_t i = 0; i < core->ops_count; i++) {
        const struct chunk_op *op = &core->ops[i];
        if (op->kind == CHUNK_OP_NONE || op->chunk != chunk) {
            continue;
        }
        if (op->kind == CHUNK_OP_FETCH) {
            fetching_count++;
        } else {
            persisting_count++;
        }
    }
    pawl_assert(persisting_count == chunk->persisting_count);
    pawl_assert(fetching_count == chunk->fetching_count);
}

void chunk_core_validate(const struct chunk_core *core)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct chunk *chunk = value;
        pawl_assert(chunk->handle == handle);
        validate_state(chunk);
        validate_records(chunk);
        validate_producers(core, chunk);
        validate_inflight(chunk);
        validate_ops(core, chunk);
        if (chunk->primary) {
            validate_primary(core, chunk);
        }
    }
    written_validate(core);
}
