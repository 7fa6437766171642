// SPDX-License-Identifier: Apache-2.0
// Producer table: rows in the order of arrival, an open-addressing index over the producers.
#include "dataplane/core/producer_table.h"

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mutant.h"

#define PRODUCER_ROWS_MIN 8u

void producer_table_init(struct producer_table *table, const struct pawl_alloc *alloc)
{
    *table = (struct producer_table){.alloc = alloc};
}

void producer_table_fini(struct producer_table *table)
{
    pawl_alloc_free(table->alloc, table->sessions);
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
    if (row->producer_hi == 0 && row->producer_lo == 0) {
        return false; // sessions stand in front
    }
    if (row->last_sequence == 0) {
        return row->last_chunk == 0 && row->first_sequence == 0 && row->previous_chunk == 0;
    }
    return row->last_chunk != 0 && row->first_sequence >= 1 &&
           row->first_sequence <= row->last_sequence &&
           (row->first_sequence == 1) == (row->previous_chunk == 0);
}

// ---- sessions --------------------------------------------------------------------------------

static bool row_is_sessions(const struct wire_producer *row)
{
    return row->producer_hi == 0 && row->producer_lo == 0;
}

static bool sessions_rise(const struct producer_sessions *sessions, uint32_t count)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (sessions[i].first <= before || sessions[i].last < sessions[i].first ||
            sessions[i].last > WIRE_SESSION_MAX) {
            return false;
        }
        before = sessions[i].last;
    }
    return count <= WIRE_SESSIONS_MAX;
}

static bool sessions_allow(const struct producer_sessions *sessions, uint32_t count,
                           uint64_t session)
{
    bool allowed = count == 0;
    for (uint32_t i = 0; i < count; i++) {
        allowed |= session >= sessions[i].first && session <= sessions[i].last;
    }
    return allowed;
}

// COPIES the ranges out of the first `count` rows.
static int sessions_inherit(struct producer_table *table, const struct wire_producer *rows,
                            uint32_t count)
{
    if (count == 0) {
        return 0;
    }
    if (count > WIRE_SESSIONS_MAX) {
        return PAWL_EINVALID;
    }
    table->sessions = pawl_alloc_array(table->alloc, count, sizeof(table->sessions[0]));
    if (!table->sessions) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct wire_sessions row;
        memcpy(&row, &rows[i], sizeof(row));
        table->sessions[i] = (struct producer_sessions){.first = row.first, .last = row.last};
    }
    table->sessions_count = count;
    return sessions_rise(table->sessions, count) ? 0 : PAWL_EINVALID;
}

static uint32_t session_rows_count(const struct wire_producer *rows, uint32_t count)
{
    uint32_t sessions_count = 0;
    while (sessions_count < count && row_is_sessions(&rows[sessions_count])) {
        sessions_count++;
    }
    return sessions_count;
}

// "Entries go only while a chunk is being opened, for sessions whose end is in the master's log."
static bool row_stays(const struct producer_legacy *legacy, const struct wire_producer *row)
{
    if (legacy->sessions_count == 0) {
        return true;
    }
    if (row_is_sessions(row)) {
        return false; // of the chunk before
    }
    struct wire_record_id id = {.producer_hi = row->producer_hi, .epoch = row->epoch};
    uint64_t session = wire_session_of(&id);
    bool allowed = sessions_allow(legacy->sessions, legacy->sessions_count, session);
    return session == 0 || (allowed && !PAWL_MUTANT(live_entries_dropped));
}

int producer_table_legacy(const struct pawl_alloc *alloc, const struct producer_legacy *legacy,
                          struct wire_producer **ret_rows, uint32_t *ret_count)
{
    uint64_t room = (uint64_t)legacy->sessions_count + legacy->producers_count;
    if (!sessions_rise(legacy->sessions, legacy->sessions_count)) {
        return PAWL_EINVALID;
    }
    if (room == 0) {
        *ret_rows = NULL;
        *ret_count = 0;
        return 0;
    }
    struct wire_producer *rows = pawl_alloc_array(alloc, room, sizeof(*rows));
    if (!rows) {
        return -ENOMEM;
    }
    uint32_t count = 0;
    for (; count < legacy->sessions_count; count++) {
        struct wire_sessions row = {.first = legacy->sessions[count].first,
                                    .last = legacy->sessions[count].last};
        memcpy(&rows[count], &row, sizeof(row));
    }
    for (uint32_t i = 0; i < legacy->producers_count; i++) {
        struct wire_producer row;
        memcpy(&row, (const uint8_t *)legacy->producers + i * sizeof(row), sizeof(row));
        if (row_stays(legacy, &row)) {
            rows[count++] = row;
        }
    }
    *ret_rows = rows;
    *ret_count = count;
    return 0;
}

// ---- rows ------------------------------------------------------------------------------------

int producer_table_inherit(struct producer_table *table, const struct wire_producer *rows,
                           uint32_t count)
{
    producer_table_fini(table);
    if (count > WIRE_TABLE_ROWS_MAX) {
        return PAWL_EINVALID;
    }
    uint32_t sessions_count = session_rows_count(rows, count);
    int rc = sessions_inherit(table, rows, sessions_count);
    for (uint32_t i = sessions_count; rc == 0 && i < count; i++) {
        rc = row_is_sound(&rows[i]) ? row_add(table, &rows[i]) : PAWL_EINVALID;
    }
    return rc;
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
    bool is_unknown_taken =
        !row && (PAWL_MUTANT(starts_anywhere) || PAWL_MUTANT(inherited_not_asked));
    bool is_older_taken = id->epoch < epoch && PAWL_MUTANT(epoch_unchecked);
    if (id->epoch != epoch && !is_older_taken && !is_unknown_taken) {
        return PRODUCER_FENCED;
    }
    // Its row may have been dropped: a retry of what it has stored would look like its first record.
    uint64_t session = row ? 0 : wire_session_of(id);
    if (session != 0 && !sessions_allow(table->sessions, table->sessions_count, session) &&
        !PAWL_MUTANT(ended_session_taken)) {
        return PRODUCER_ENDED;
    }
    // An unknown producer may start only at its first sequence: last is 0 then.
    bool is_repeated = id->sequence <= last && !PAWL_MUTANT(dedupe_skipped);
    bool is_early = id->sequence > last + 1 && !PAWL_MUTANT(gap_taken) && !is_unknown_taken;
    return is_repeated ? PRODUCER_REPEATED : is_early ? PRODUCER_EARLY : PRODUCER_NEXT;
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
                         const struct wire_record_id *id, uint32_t count)
{
    pawl_assert(count > 0 && producer_table_admits(table, id));
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
    row->last_sequence = id->sequence + count - 1;
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
