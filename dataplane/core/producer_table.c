// SPDX-License-Identifier: Apache-2.0
// Producer table: rows in the order of arrival, an open-addressing index over the producers.
#include "dataplane/core/producer_table.h"

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/hash.h"

#define PRODUCER_ROWS_MIN 8u

void producer_table_init(struct producer_table *table, const struct pawl_alloc *alloc)
{
    *table = (struct producer_table){.alloc = alloc};
}

void producer_table_fini(struct producer_table *table)
{
    pawl_alloc_free(table->alloc, table->rows);
    pawl_alloc_free(table->alloc, table->slots);
    producer_table_init(table, table->alloc);
}

// The slot that names the producer, or the free one where it belongs. There is always a free slot.
static uint32_t *slot_find(const struct producer_table *table, uint64_t hi, uint64_t lo)
{
    uint32_t mask = table->slots_count - 1;
    uint32_t at = (uint32_t)pawl_hash_u64(pawl_hash_u64(hi) ^ lo) & mask;
    while (table->slots[at] != 0) {
        const struct wire_producer *row = &table->rows[table->slots[at] - 1];
        if (row->producer_hi == hi && row->producer_lo == lo) {
            break;
        }
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

static int table_grow(struct producer_table *table)
{
    uint32_t capacity = table->capacity ? table->capacity * 2 : PRODUCER_ROWS_MIN;
    uint32_t *slots = pawl_alloc_array(table->alloc, (size_t)capacity * 2, sizeof(*slots));
    if (!slots) {
        return -ENOMEM;
    }
    struct wire_producer *rows =
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
    for (uint32_t i = 0; i < table->count; i++) {
        *slot_find(table, rows[i].producer_hi, rows[i].producer_lo) = i + 1;
    }
    return 0;
}

static int row_add(struct producer_table *table, const struct wire_producer *row)
{
    if (table->count == table->capacity) {
        int rc = table_grow(table);
        if (rc) {
            return rc;
        }
    }
    uint32_t *slot = slot_find(table, row->producer_hi, row->producer_lo);
    if (*slot) {
        return PAWL_EINVALID;
    }
    table->rows[table->count++] = *row;
    *slot = table->count;
    return 0;
}

// A producer without records stands in no chunk; one with records has a first and a last one.
static bool row_is_sound(const struct wire_producer *row)
{
    if (row->last_sequence == 0) {
        return row->last_chunk == 0 && row->first_sequence == 0 && row->previous_chunk == 0;
    }
    return row->last_chunk != 0 && row->first_sequence >= 1 &&
           row->first_sequence <= row->last_sequence &&
           (row->first_sequence == 1) == (row->previous_chunk == 0);
}

int producer_table_inherit(struct producer_table *table, const struct wire_producer *rows,
                           uint32_t count)
{
    producer_table_fini(table);
    if (count > WIRE_PRODUCERS_MAX) {
        return PAWL_EINVALID;
    }
    for (uint32_t i = 0; i < count; i++) {
        int rc = row_is_sound(&rows[i]) ? row_add(table, &rows[i]) : PAWL_EINVALID;
        if (rc) {
            return rc;
        }
    }
    return 0;
}

const struct wire_producer *producer_table_find(const struct producer_table *table,
                                                const struct wire_record_id *id)
{
    if (!table->slots) {
        return NULL;
    }
    uint32_t slot = *slot_find(table, id->producer_hi, id->producer_lo);
    return slot ? &table->rows[slot - 1] : NULL;
}

enum producer_verdict producer_table_judge(const struct producer_table *table,
                                           const struct wire_record_id *id)
{
    const struct wire_producer *row = producer_table_find(table, id);
    uint32_t epoch = row ? row->epoch : 0;
    uint64_t last = row ? row->last_sequence : 0;

    // Older epochs are refused everywhere, and only an epoch record opens a new one: otherwise a
    // writer that was superseded could still put a record behind its successor's first one.
    if (id->flags & WIRE_RECORD_EPOCH) {
        if (id->epoch == epoch && epoch != 0) {
            return PRODUCER_REPEATED;
        }
        return id->epoch > epoch ? PRODUCER_NEXT : PRODUCER_FENCED;
    }
    if (id->epoch != epoch) {
        return PRODUCER_FENCED;
    }
    // An unknown producer may start only at its first sequence: last is 0 then.
    if (id->sequence <= last) {
        return PRODUCER_REPEATED;
    }
    return id->sequence == last + 1 ? PRODUCER_NEXT : PRODUCER_EARLY;
}

bool producer_table_admits(const struct producer_table *table, const struct wire_record_id *id)
{
    if (!wire_record_flags_known(id) || producer_table_judge(table, id) != PRODUCER_NEXT ||
        producer_table_is_full(table, id)) {
        return false;
    }
    if (!(id->flags & WIRE_RECORD_EPOCH)) {
        return true;
    }
    const struct wire_producer *row = producer_table_find(table, id);
    return id->sequence == (row ? row->last_sequence : 0);
}

bool producer_table_is_full(const struct producer_table *table, const struct wire_record_id *id)
{
    return table->count >= WIRE_PRODUCERS_MAX && !producer_table_find(table, id);
}

int producer_table_apply(struct producer_table *table, uint64_t chunk,
                         const struct wire_record_id *id)
{
    pawl_assert(producer_table_admits(table, id));
    if (!producer_table_find(table, id)) {
        struct wire_producer fresh = {.producer_hi = id->producer_hi,
                                      .producer_lo = id->producer_lo};
        int rc = row_add(table, &fresh);
        if (rc) {
            return rc;
        }
    }
    struct wire_producer *row =
        &table->rows[*slot_find(table, id->producer_hi, id->producer_lo) - 1];
    row->epoch = id->epoch;
    if (id->flags & WIRE_RECORD_EPOCH) {
        return 0;
    }
    if (row->last_chunk != chunk) {
        row->previous_chunk = row->last_chunk;
        row->first_sequence = id->sequence;
        row->last_chunk = chunk;
    }
    row->last_sequence = id->sequence;
    return 0;
}

uint64_t producer_table_earlier(const struct producer_table *table, uint64_t chunk,
                                const struct wire_record_id *id)
{
    const struct wire_producer *row = producer_table_find(table, id);
    if (!row) {
        return 0;
    }
    uint64_t place = id->sequence >= row->first_sequence ? row->last_chunk : row->previous_chunk;
    return place == chunk ? 0 : place;
}

static bool producer_is_less(const struct wire_producer *a, const struct wire_producer *b)
{
    return a->producer_hi != b->producer_hi ? a->producer_hi < b->producer_hi
                                            : a->producer_lo < b->producer_lo;
}

// Lets the row at `root` sink to its place in the heap rows[0, count): the largest on top.
static void heap_sink(struct wire_producer *rows, uint32_t root, uint32_t count)
{
    for (uint32_t child = 2 * root + 1; child < count; child = 2 * root + 1) {
        if (child + 1 < count && producer_is_less(&rows[child], &rows[child + 1])) {
            child++;
        }
        if (!producer_is_less(&rows[root], &rows[child])) {
            return;
        }
        struct wire_producer smaller = rows[root];
        rows[root] = rows[child];
        rows[child] = smaller;
        root = child;
    }
}

// A heap sort of our own: the C library's qsort() allocates memory behind our back.
void producer_table_copy_sorted(const struct producer_table *table, struct wire_producer *ret_rows)
{
    if (table->count == 0) {
        return;
    }
    memcpy(ret_rows, table->rows, table->count * sizeof(*ret_rows));
    for (uint32_t root = table->count / 2; root-- > 0;) {
        heap_sink(ret_rows, root, table->count);
    }
    for (uint32_t last = table->count - 1; last > 0; last--) {
        struct wire_producer largest = ret_rows[0];
        ret_rows[0] = ret_rows[last];
        ret_rows[last] = largest;
        heap_sink(ret_rows, 0, last);
    }
}
