// SPDX-License-Identifier: Apache-2.0
// What a record is, without its payload: the row of a chunk's record table, in memory.
#ifndef PAWL_PROTO_RECORD_H
#define PAWL_PROTO_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/wire.h"

struct pawl_record {
    uint64_t offset; // in the chunk, bytes
    struct wire_record_id id;
    uint64_t version; // of the chunk when it was written
    uint32_t length;  // payload bytes; 0 for an epoch record
    uint32_t crc;     // crc32c of the payload
    // Its client may have been answered before it was durable everywhere. Told from the primary's message, and
    // not passed on by FETCH: what is levelled or copied has been settled.
    bool replicated;
    uint8_t reserved[7]; // 0: rows are compared as bytes
};

// Makes of a record of a run the one behind it, whose row this is.
static inline void pawl_record_follow(struct pawl_record *record, const struct wire_run_row *row)
{
    record->offset += record->length;
    record->id.sequence++;
    record->length = row->length;
    record->crc = row->crc;
}

#endif
