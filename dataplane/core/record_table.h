// SPDX-License-Identifier: Apache-2.0
// Record table: the rows of one chunk in index order, and where a record id stands among them.
//
// It OWNS its rows. A data record is found by (producer, sequence), an epoch record by (producer,
// epoch): an epoch record repeats the sequence of the record before it, so the two must not meet.
//
// Most records of a producer stand behind each other, and then one of them in so many is enough to find the others:
// only these anchors are in the index. An anchor is the first record of a group (see proto/records.h), and every
// RECORD_ANCHORS_EVERY-th sequence.
#ifndef PAWL_DATAPLANE_RECORD_TABLE_H
#define PAWL_DATAPLANE_RECORD_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/util.h"
#include "proto/records.h"

#define RECORD_ABSENT UINT64_MAX
#define RECORD_ANCHORS_EVERY 16u

struct record_slots {
    uint32_t *items; // hash of an anchor's id > index + 1; 0: free
    uint64_t count;  // 0 or a power of two, at least twice the anchors
};

// Nothing is moved at once as it grows: records stay where they are, and larger slots take over a few of the old ones
// with each record that is added. A table that did it in one go would stand still for milliseconds.
struct record_table {
    const struct pawl_alloc *alloc;
    struct pawl_records records;
    uint64_t anchors_count;
    struct record_slots slots;
    struct record_slots old; // while `slots` takes them over
    uint64_t old_next;       // the first place of it that was not taken over yet
};

void record_table_init(struct record_table *table, const struct pawl_alloc *alloc);
void record_table_fini(struct record_table *table);

// COPIES the record behind the last one. 0, or -ENOMEM with the table unchanged.
int record_table_add(struct record_table *table, const struct pawl_record *record) PAWL_MUST_CHECK;

// Index of the record with this id, or RECORD_ABSENT. Of the flags only WIRE_RECORD_EPOCH counts.
uint64_t record_table_find(const struct record_table *table, const struct wire_record_id *id);

// Forgets all records from `count` on.
void record_table_truncate(struct record_table *table, uint64_t count);

static inline uint64_t record_table_count(const struct record_table *table)
{
    return table->records.count;
}

static inline struct pawl_record record_table_at(const struct record_table *table, uint64_t index)
{
    pawl_assert(index < table->records.count);
    return pawl_records_at(&table->records, index);
}

// Bytes of the first `count` records.
static inline uint64_t record_table_bytes(const struct record_table *table, uint64_t count)
{
    pawl_assert(count <= table->records.count);
    return pawl_records_bytes(&table->records, count);
}

#endif
