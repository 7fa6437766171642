// SPDX-License-Identifier: Apache-2.0
// Record table: rows in pages, and an open-addressing index over their ids.
#include "dataplane/core/record_table.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mutant.h"

#define PAGE_ROWS_MIN 16u
#define PAGE_ROWS_MAX 4096u
#define PAGES_SMALL 9u // up to the first of PAGE_ROWS_MAX rows
#define PAGES_MIN 16u
#define SLOTS_LINE_COUNT 16u // of a cache line

void record_table_init(struct record_table *table, const struct pawl_alloc *alloc)
{
    *table = (struct record_table){.alloc = alloc};
}

void record_table_fini(struct record_table *table)
{
    for (uint32_t i = 0; i < table->pages_count; i++) {
        pawl_alloc_free(table->alloc, table->pages[i]);
    }
    pawl_alloc_free(table->alloc, table->pages);
    pawl_alloc_free(table->alloc, table->slots);
    record_table_init(table, table->alloc);
}

static struct pawl_record *row_at(const struct record_table *table, uint64_t index)
{
    if (index < PAGE_ROWS_MIN) {
        return &table->pages[0][index];
    }
    if (index < PAGE_ROWS_MAX) { // page n begins at row 8 << n
        uint32_t log2 = 63u - (uint32_t)__builtin_clzll(index);
        return &table->pages[log2 - 3][index - (UINT64_C(1) << log2)];
    }
    return &table->pages[PAGES_SMALL - 1 + index / PAGE_ROWS_MAX][index % PAGE_ROWS_MAX];
}

static uint64_t page_rows(uint32_t page)
{
    if (page >= PAGES_SMALL) {
        return PAGE_ROWS_MAX;
    }
    return page == 0 ? PAGE_ROWS_MIN : UINT64_C(8) << page;
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
    while (table->slots[at] != 0 && !id_matches(&row_at(table, table->slots[at] - 1)->id, id)) {
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

static void slots_fill(struct record_table *table)
{
    for (uint64_t i = 0; i < table->count; i++) {
        *slot_find(table, &row_at(table, i)->id) = (uint32_t)(i + 1);
    }
}

static int page_add(struct record_table *table)
{
    if (table->pages_count == table->pages_capacity) {
        uint32_t capacity = table->pages_capacity ? table->pages_capacity * 2 : PAGES_MIN;
        struct pawl_record **pages = pawl_alloc_grow(
            table->alloc, table->pages, table->pages_capacity, capacity, sizeof(*pages));
        if (!pages) {
            return -ENOMEM;
        }
        table->pages = pages;
        table->pages_capacity = capacity;
    }
    uint64_t rows = page_rows(table->pages_count);
    struct pawl_record *page = pawl_alloc_array(table->alloc, rows, sizeof(*page));
    if (!page) {
        return -ENOMEM;
    }
    table->pages[table->pages_count++] = page;
    table->capacity += rows;
    return 0;
}

// At least two slots a row, so that probes are short.
static int slots_grow(struct record_table *table, uint64_t rows)
{
    uint64_t count = table->slots_count ? table->slots_count : 2 * PAGE_ROWS_MIN;
    while (count < 2 * rows) {
        count *= 2;
    }
    uint32_t *slots = pawl_alloc_array(table->alloc, count, sizeof(*slots));
    if (!slots) {
        return -ENOMEM;
    }
    pawl_alloc_free(table->alloc, table->slots);
    table->slots = slots;
    table->slots_count = count;
    slots_fill(table);
    return 0;
}

static int table_grow(struct record_table *table)
{
    uint64_t rows = table->capacity + page_rows(table->pages_count);
    int rc = table->slots_count < 2 * rows ? slots_grow(table, rows) : 0;

    return rc ? rc : page_add(table);
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
    *row_at(table, table->count++) = *record;
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
    return row_at(table, index);
}

uint64_t record_table_bytes(const struct record_table *table, uint64_t count)
{
    pawl_assert(count <= table->count);
    if (count == 0) {
        return 0;
    }
    const struct pawl_record *last = row_at(table, count - 1);
    return last->offset + last->length;
}
