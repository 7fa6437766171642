// SPDX-License-Identifier: Apache-2.0
// Records of one chunk in order, packed: what struct pawl_record says of each, in a few bytes.
//
// Most records continue the one before them: the same producer, the next sequence. Of such a group the id is kept once.
// A record takes 10 bytes then, and 48 for each group; offsets follow from lengths, for records leave no gap. Nothing
// moves as the list grows. OWNS its memory. Thread: its owner's.
#ifndef PAWL_PROTO_RECORDS_H
#define PAWL_PROTO_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/paged.h"
#include "base/util.h"
#include "proto/record.h"

#define PAWL_RECORDS_BLOCK 16u // records that share an offset to count from

// Records that continue each other.
struct pawl_records_group {
    struct wire_record_id id; // of the first one
    uint64_t version;
    uint32_t first; // index
    bool replicated;
    uint8_t reserved[3];
};
static_assert(sizeof(struct pawl_records_group) == 48, "pawl_records_group");

struct pawl_records_row {
    uint32_t end; // of the record, from the block's offset on
    uint32_t crc;
};

struct pawl_records_block {
    uint64_t offset;                    // in the chunk, of its first record
    uint32_t group;                     // number of that record's group
    uint8_t groups[PAWL_RECORDS_BLOCK]; // of each record, counted from there
    struct pawl_records_row rows[PAWL_RECORDS_BLOCK];
};
static_assert((uint64_t)PAWL_RECORDS_BLOCK * WIRE_RECORD_MAX <= UINT32_MAX, "ends fit");

struct pawl_records {
    struct pawl_paged blocks;
    struct pawl_paged groups;
    uint64_t count;
    uint32_t groups_count;
};

// Takes no memory yet.
void pawl_records_init(struct pawl_records *records, const struct pawl_alloc *alloc);
// Ready for use again, and empty. A zeroed struct is fine.
void pawl_records_fini(struct pawl_records *records);

// Room for `count` records in `groups_count` groups more. -ENOMEM: what was there is there still.
int pawl_records_reserve(struct pawl_records *records, uint64_t count,
                         uint32_t groups_count) PAWL_MUST_CHECK;

// The next record, for which there is room. Its offset is where the one before it ends.
void pawl_records_add(struct pawl_records *records, const struct pawl_record *record);

// Forgets all records from `count` on.
void pawl_records_truncate(struct pawl_records *records, uint64_t count);

// Record `index`. Who wants only a part of it has less to do with one of the functions below.
void pawl_records_get(const struct pawl_records *records, uint64_t index, struct pawl_record *ret);

static inline struct pawl_record pawl_records_at(const struct pawl_records *records, uint64_t index)
{
    struct pawl_record record;

    pawl_records_get(records, index, &record);
    return record;
}

static inline const struct pawl_records_block *
pawl_records_block(const struct pawl_records *records, uint64_t index)
{
    return pawl_paged_at(&records->blocks, index / PAWL_RECORDS_BLOCK,
                         sizeof(struct pawl_records_block));
}

// The group that it is in.
static inline const struct pawl_records_group *
pawl_records_group(const struct pawl_records *records, uint64_t index)
{
    const struct pawl_records_block *block = pawl_records_block(records, index);

    return pawl_paged_at(&records->groups, block->group + block->groups[index % PAWL_RECORDS_BLOCK],
                         sizeof(struct pawl_records_group));
}

static inline struct wire_record_id pawl_records_id(const struct pawl_records *records,
                                                    uint64_t index)
{
    const struct pawl_records_group *group = pawl_records_group(records, index);
    struct wire_record_id id = group->id;

    id.sequence += index - group->first;
    return id;
}

static inline uint32_t pawl_records_length(const struct pawl_records *records, uint64_t index)
{
    const struct pawl_records_block *block = pawl_records_block(records, index);
    uint64_t at = index % PAWL_RECORDS_BLOCK;

    return block->rows[at].end - (at == 0 ? 0 : block->rows[at - 1].end);
}

static inline uint32_t pawl_records_crc(const struct pawl_records *records, uint64_t index)
{
    return pawl_records_block(records, index)->rows[index % PAWL_RECORDS_BLOCK].crc;
}

// Where the record ends: its offset and its length.
static inline uint64_t pawl_records_end(const struct pawl_records *records, uint64_t index)
{
    const struct pawl_records_block *block = pawl_records_block(records, index);

    return block->offset + block->rows[index % PAWL_RECORDS_BLOCK].end;
}

// Bytes of the first `count` records.
static inline uint64_t pawl_records_bytes(const struct pawl_records *records, uint64_t count)
{
    return count == 0 ? 0 : pawl_records_end(records, count - 1);
}

#endif
