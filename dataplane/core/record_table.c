// SPDX-License-Identifier: Apache-2.0
// Record table: packed records, and an open-addressing index over the ids of anchors that grows little by little.
#include "dataplane/core/record_table.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mutant.h"

#define SLOTS_MIN 32u
#define SLOTS_LINE_COUNT 16u // of a cache line
#define SLOTS_TAKEN_OVER 4u  // with each record; two would do
static_assert(RECORD_ANCHORS_EVERY == SLOTS_LINE_COUNT, "where an anchor may be is one line");

void record_table_init(struct record_table *table, const struct pawl_alloc *alloc)
{
    *table = (struct record_table){.alloc = alloc};
    pawl_records_init(&table->records, alloc);
}

void record_table_fini(struct record_table *table)
{
    pawl_records_fini(&table->records);
    pawl_alloc_free(table->alloc, table->slots.items);
    pawl_alloc_free(table->alloc, table->old.items);
    record_table_init(table, table->alloc);
}

static struct wire_record_id id_at(const struct record_table *table, uint64_t index)
{
    return pawl_records_id(&table->records, index);
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

// Neighbours of one producer share a cache line of slots. Where in it the first of them lies differs from line
// to line: sequences that are multiples of something fill all of it, too.
static uint64_t id_hash(const struct wire_record_id *id)
{
    uint64_t number = id_is_epoch(id) ? ~(uint64_t)id->epoch : id->sequence;
    uint64_t hash = pawl_hash_u64(id->producer_hi + 0x9e3779b97f4a7c15u);
    hash = pawl_hash_u64(hash ^ id->producer_lo);
    hash = pawl_hash_u64(hash ^ (number / SLOTS_LINE_COUNT));
    uint64_t place = ((hash >> 60) + number) % SLOTS_LINE_COUNT;
    return (hash & ~(uint64_t)(SLOTS_LINE_COUNT - 1)) | place;
}

// The slot that names the id, or the free one where it belongs. There is always a free slot. Who finds his place
// taken looks at the same place of the next line: neighbours would all find the next ones taken as well.
static uint32_t *slot_find(const struct record_table *table, const struct record_slots *slots,
                           const struct wire_record_id *id)
{
    uint64_t mask = slots->count - 1;
    uint64_t at = id_hash(id) & mask;
    uint64_t lines = slots->count / SLOTS_LINE_COUNT;
    for (uint64_t probes = 1; slots->items[at] != 0; probes++) {
        struct wire_record_id there = id_at(table, slots->items[at] - 1);
        if (id_matches(&there, id)) {
            break;
        }
        at = (at + (probes % lines == 0 ? SLOTS_LINE_COUNT + 1 : SLOTS_LINE_COUNT)) & mask;
    }
    return &slots->items[at];
}

static bool is_anchor(const struct record_table *table, uint64_t index)
{
    const struct pawl_records_group *group = pawl_records_group(&table->records, index);
    uint64_t follows = index - group->first;
    return follows == 0 || (group->id.sequence + follows) % RECORD_ANCHORS_EVERY == 0;
}

static void slots_take(struct record_table *table, uint64_t index)
{
    struct wire_record_id id = id_at(table, index);
    uint32_t *slot = slot_find(table, &table->slots, &id);
    pawl_assert(*slot == 0 ||
                PAWL_MUTANT(dedupe_skipped)); // the producer table admits every id once
    *slot = (uint32_t)(index + 1);
}

static void old_free(struct record_table *table)
{
    pawl_alloc_free(table->alloc, table->old.items);
    table->old = (struct record_slots){0};
    table->old_next = 0;
}

static void old_take_over(struct record_table *table)
{
    uint64_t end = PAWL_MIN(table->old_next + SLOTS_TAKEN_OVER, table->old.count);
    for (; table->old_next < end; table->old_next++) {
        uint32_t slot = table->old.items[table->old_next];
        if (slot != 0) {
            slots_take(table, slot - 1);
        }
    }
    if (table->old_next == table->old.count) {
        old_free(table);
    }
}

// At least two slots an anchor, so that probes are short.
static int slots_grow(struct record_table *table)
{
    pawl_assert(!table->old.items); // so many anchors were added since that all were taken over
    uint64_t count = table->slots.count ? 2 * table->slots.count : SLOTS_MIN;
    uint32_t *items = pawl_alloc_array(table->alloc, count, sizeof(*items));
    if (!items) {
        return -ENOMEM;
    }
    table->old = table->slots;
    table->slots = (struct record_slots){.items = items, .count = count};
    return 0;
}

int record_table_add(struct record_table *table, const struct pawl_record *record)
{
    int rc = pawl_records_reserve(&table->records, 1, 1);
    if (rc == 0 && table->slots.count < 2 * (table->anchors_count + 1)) {
        rc = slots_grow(table);
    }
    if (rc) {
        return rc;
    }
    uint64_t index = table->records.count;
    pawl_records_add(&table->records, record);
    if (is_anchor(table, index)) {
        slots_take(table, index);
        table->anchors_count++;
    }
    if (table->old.items) {
        old_take_over(table);
    }
    return 0;
}

static uint64_t anchor_find(const struct record_table *table, const struct wire_record_id *id)
{
    uint32_t slot = table->slots.items ? *slot_find(table, &table->slots, id) : 0;
    if (slot == 0 && table->old.items) {
        slot = *slot_find(table, &table->old, id);
    }
    return slot ? slot - 1 : RECORD_ABSENT;
}

// The anchor before it is the nearest one: what stands between them continues it, or is not there.
uint64_t record_table_find(const struct record_table *table, const struct wire_record_id *id)
{
    struct wire_record_id anchor = *id;
    uint64_t index = anchor_find(table, &anchor);
    while (index == RECORD_ABSENT && !id_is_epoch(id) &&
           anchor.sequence % RECORD_ANCHORS_EVERY != 0) {
        anchor.sequence--;
        index = anchor_find(table, &anchor);
    }
    if (index == RECORD_ABSENT || anchor.sequence == id->sequence) {
        return index;
    }
    index += id->sequence - anchor.sequence;
    if (index >= table->records.count) {
        return RECORD_ABSENT;
    }
    struct wire_record_id there = id_at(table, index);
    return id_matches(&there, id) ? index : RECORD_ABSENT;
}

void record_table_truncate(struct record_table *table, uint64_t count)
{
    pawl_assert(count <= table->records.count);
    if (count == table->records.count) {
        return;
    }
    pawl_records_truncate(&table->records, count);
    table->anchors_count = 0;
    old_free(table);
    memset(table->slots.items, 0, table->slots.count * sizeof(*table->slots.items));
    for (uint64_t i = 0; i < count; i++) {
        if (is_anchor(table, i)) {
            slots_take(table, i);
            table->anchors_count++;
        }
    }
}
