// SPDX-License-Identifier: Apache-2.0
// Record table: a growing array of rows and an open-addressing index over their ids.
#include "dataplane/core/record_table.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mutant.h"

#define RECORD_ROWS_MIN 16u
#define SLOTS_LINE_COUNT 16u // of a cache line

void record_table_init(struct record_table *table, const struct pawl_alloc *alloc)
{
    *table = (struct record_table){.alloc = alloc};
}

void record_table_fini(struct record_table *table)
{
    pawl_alloc_free(table->alloc, table->rows);
    pawl_alloc_free(table->alloc, table->slots);
    record_table_init(table, table->alloc);
}

static bool id_is_epoch(const struct wire_record_id *id)
{
    return (id->flags & WIRE_RECORD_EPOCH) != 0;
}

static bool id_matches(const struct wire_record_id *a, const struct wire_record_id *b)
{
    if (a->producer_hi != b->producer_hi || a->producer_lo != b->producer_lo) {
        return false;
    }
    if (id_is_epoch(a) != id_is_epoch(b)) {
        return false;
    }
    return id_is_epoch(a) ? a->epoch == b->epoch : a->sequence == b->sequence;
}

// Neighbours of one producer come one after the other: they share a cache line of slots.
static uint64_t id_hash(const struct wire_record_id *id)
{
    uint64_t number = id_is_epoch(id) ? ~(uint64_t)id->epoch : id->sequence;
    uint64_t hash = pawl_hash_u64(id->producer_hi + 0x9e3779b97f4a7c15u);
    hash = pawl_hash_u64(hash ^ id->producer_lo);
    hash = pawl_hash_u64(hash ^ (number / SLOTS_LINE_COUNT));
    return (hash & ~(uint64_t)(SLOTS_LINE_COUNT - 1)) | (number % SLOTS_LINE_COUNT);
}

// The slot that names the id, or the free one where it belongs. There is always a free slot.
static uint32_t *slot_find(const struct record_table *table, const struct wire_record_id *id)
{
    uint64_t mask = table->slots_count - 1;
    uint64_t at = id_hash(id) & mask;
    while (table->slots[at] != 0 && !id_matches(&table->rows[table->slots[at] - 1].id, id)) {
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

static void slots_fill(struct record_table *table)
{
    for (uint64_t i = 0; i < table->count; i++) {
        *slot_find(table, &table->rows[i].id) = (uint32_t)(i + 1);
    }
}

// Rows double; slots stay at least twice as many as rows, so that probes are short.
static int table_grow(struct record_table *table)
{
    uint64_t capacity = table->capacity ? table->capacity * 2 : RECORD_ROWS_MIN;
    uint32_t *slots = pawl_alloc_array(table->alloc, capacity * 2, sizeof(*slots));
    if (!slots) {
        return -ENOMEM;
    }
    struct pawl_record *rows =
        pawl_alloc_grow(table->alloc, table->rows, table->capacity, capacity, sizeof(*rows));
    if (!rows) {
        pawl_alloc_free(table->alloc, slots);
        return -ENOMEM;
    }
    pawl_alloc_free(table->alloc, table->slots);
    table->rows = rows;
    table->capacity = capacity;
    table->slots = slots;
    table->slots_count = capacity * 2;
    slots_fill(table);
    return 0;
}

int record_table_add(struct record_table *table, const struct pawl_record *record)
{
    pawl_assert(table->count < UINT32_MAX);
    if (table->count == table->capacity) {
        int rc = table_grow(table);
        if (rc) {
            return rc;
        }
    }
    uint32_t *slot = slot_find(table, &record->id);
    pawl_assert(*slot == 0 ||
                PAWL_MUTANT(dedupe_skipped)); // the producer table admits every id once
    table->rows[table->count++] = *record;
    *slot = (uint32_t)table->count;
    return 0;
}

uint64_t record_table_find(const struct record_table *table, const struct wire_record_id *id)
{
    if (!table->slots) {
        return RECORD_ABSENT;
    }
    uint32_t slot = *slot_find(table, id);
    return slot ? slot - 1 : RECORD_ABSENT;
}

void record_table_truncate(struct record_table *table, uint64_t count)
{
    pawl_assert(count <= table->count);
    if (count == table->count) {
        return;
    }
    table->count = count;
    memset(table->slots, 0, table->slots_count * sizeof(*table->slots));
    slots_fill(table);
}

const struct pawl_record *record_table_at(const struct record_table *table, uint64_t index)
{
    pawl_assert(index < table->count);
    return &table->rows[index];
}

uint64_t record_table_bytes(const struct record_table *table, uint64_t count)
{
    pawl_assert(count <= table->count);
    if (count == 0) {
        return 0;
    }
    return table->rows[count - 1].offset + table->rows[count - 1].length;
}
