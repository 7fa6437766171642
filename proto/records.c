// SPDX-License-Identifier: Apache-2.0
// Packed records: adding and forgetting.
#include "proto/records.h"

#include <string.h>

#include "base/assert.h"

void pawl_records_init(struct pawl_records *records, const struct pawl_alloc *alloc)
{
    *records = (struct pawl_records){0};
    pawl_paged_init(&records->blocks, alloc, sizeof(struct pawl_records_block));
    pawl_paged_init(&records->groups, alloc, sizeof(struct pawl_records_group));
}

void pawl_records_fini(struct pawl_records *records)
{
    pawl_paged_fini(&records->blocks);
    pawl_paged_fini(&records->groups);
    records->count = 0;
    records->groups_count = 0;
}

int pawl_records_reserve(struct pawl_records *records, uint64_t count, uint32_t groups_count)
{
    uint64_t blocks_count = (records->count + count - 1) / PAWL_RECORDS_BLOCK + 1;
    int code = pawl_paged_reserve(&records->blocks, blocks_count);

    if (code != 0) {
        return code;
    }
    return pawl_paged_reserve(&records->groups, (uint64_t)records->groups_count + groups_count);
}

// Field by field: a struct that is made and then copied waits for its own parts to reach the cache, and for all
// stores in front of them.
void pawl_records_get(const struct pawl_records *records, uint64_t index, struct pawl_record *ret)
{
    const struct pawl_records_block *block = pawl_records_block(records, index);
    const struct pawl_records_group *group = pawl_records_group(records, index);
    uint64_t at = index % PAWL_RECORDS_BLOCK;
    uint32_t start = at == 0 ? 0 : block->rows[at - 1].end;

    ret->offset = block->offset + start;
    ret->id.producer_hi = group->id.producer_hi;
    ret->id.producer_lo = group->id.producer_lo;
    ret->id.sequence = group->id.sequence + (index - group->first);
    ret->id.epoch = group->id.epoch;
    ret->id.flags = group->id.flags;
    ret->version = group->version;
    ret->length = block->rows[at].end - start;
    ret->crc = block->rows[at].crc;
    ret->replicated = group->replicated;
    memset(ret->reserved, 0, sizeof(ret->reserved));
}

static struct pawl_records_block *block_of(const struct pawl_records *records, uint64_t index)
{
    return pawl_paged_at(&records->blocks, index / PAWL_RECORDS_BLOCK,
                         sizeof(struct pawl_records_block));
}

static struct pawl_records_group *group_at(const struct pawl_records *records, uint32_t number)
{
    return pawl_paged_at(&records->groups, number, sizeof(struct pawl_records_group));
}

// An epoch record is a group of its own: it repeats the sequence before it, and has a flag of its own.
static bool group_takes(const struct pawl_records *records, const struct pawl_record *record)
{
    if (records->groups_count == 0) {
        return false;
    }
    const struct pawl_records_group *group = group_at(records, records->groups_count - 1);
    return record->id.sequence == group->id.sequence + (records->count - group->first) &&
           record->id.producer_lo == group->id.producer_lo &&
           record->id.producer_hi == group->id.producer_hi && record->id.epoch == group->id.epoch &&
           record->id.flags == group->id.flags && record->version == group->version &&
           record->replicated == group->replicated;
}

void pawl_records_add(struct pawl_records *records, const struct pawl_record *record)
{
    uint64_t at = records->count % PAWL_RECORDS_BLOCK;

    pawl_assert(records->count < UINT32_MAX && record->length <= WIRE_RECORD_MAX);
    pawl_assert(record->offset == pawl_records_bytes(records, records->count));
    if (!group_takes(records, record)) {
        *group_at(records, records->groups_count++) = (struct pawl_records_group){
            .id = record->id,
            .version = record->version,
            .first = (uint32_t)records->count,
            .replicated = record->replicated,
        };
    }
    struct pawl_records_block *block = block_of(records, records->count);
    if (at == 0) {
        block->offset = record->offset;
        block->group = records->groups_count - 1;
    }
    block->groups[at] = (uint8_t)(records->groups_count - 1 - block->group);
    block->rows[at].end = (uint32_t)(record->offset - block->offset) + record->length;
    block->rows[at].crc = record->crc;
    records->count++;
}

void pawl_records_truncate(struct pawl_records *records, uint64_t count)
{
    pawl_assert(count <= records->count);
    records->count = count;
    records->groups_count = 0;
    if (count > 0) {
        const struct pawl_records_block *block = block_of(records, count - 1);
        records->groups_count = block->group + block->groups[(count - 1) % PAWL_RECORDS_BLOCK] + 1;
    }
}
