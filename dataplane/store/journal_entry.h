// SPDX-License-Identifier: Apache-2.0
// The journal's format: encoding and checking segments, batches and entries. Pure: memory only.
//
// What the checks tell apart, for a reader that goes through a segment after a crash:
//  - the tail: the last batch of the newest segment may be torn; nothing in it was acknowledged unless
//    a later batch exists, so everything from its first bad entry on is cut, and one whose payload, elsewhere, was to
//    become durable with it and doesn't match is as bad;
//  - a payload that doesn't match its checksum anywhere else: bit rot; the entry is known, its record
//    is kept, and reads of it will fail;
//  - a header that doesn't match its checksum anywhere else: entries are lost, and with them what they
//    said about their chunks; the reader is told the range of their numbers.
// Thread: any.
#ifndef PAWL_DATAPLANE_JOURNAL_ENTRY_H
#define PAWL_DATAPLANE_JOURNAL_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/util.h"
#include "proto/disk.h"

// Fill magic, format and crc, and a segment's features; the rest is the caller's.
void journal_segment_encode(struct disk_segment *segment);
void journal_batch_encode(struct disk_batch *batch);
void journal_entry_encode(struct disk_entry *entry);

// 0; -EBADMSG: not a segment header, or damaged; PAWL_EFORMAT: of an unknown format.
int journal_segment_decode(const void *data, size_t bytes,
                           struct disk_segment *ret) PAWL_MUST_CHECK;
// The same for a batch; its entries lie inside `bytes`, but are not checked here. PAWL_EFORMAT, also when it has
// features that are unknown: *ret is filled, and its fields are not checked.
int journal_batch_decode(const void *data, size_t bytes, struct disk_batch *ret) PAWL_MUST_CHECK;
// The same for an entry; PAWL_ECORRUPT: only the payload is damaged, *ret is good.
int journal_entry_decode(const void *data, size_t bytes, struct disk_entry *ret) PAWL_MUST_CHECK;

// Payload bytes inside the entry (0 for a reference), a run's rows included.
size_t journal_entry_payload_bytes(const struct disk_entry *entry);
static inline bool journal_entry_is_run(const struct disk_entry *entry)
{
    return entry->type == DISK_ENTRY_RUN || entry->type == DISK_ENTRY_RUN_REFERENCE;
}
// Records of a run's entry that was decoded.
static inline uint32_t journal_run_count(const struct disk_entry *entry)
{
    return entry->type == DISK_ENTRY_RUN
               ? (uint32_t)entry->record.place
               : entry->record.length / (uint32_t)sizeof(struct disk_run_row);
}
// Row i of a run, of what is inside its entry.
static inline struct disk_run_row journal_run_row(const uint8_t *inside, uint32_t i)
{
    struct disk_run_row row;

    memcpy(&row, inside + i * sizeof(row), sizeof(row));
    return row;
}
// Bytes of an entry with so many payload bytes.
static inline size_t journal_entry_bytes(size_t payload_bytes)
{
    return (size_t)pawl_align_up(sizeof(struct disk_entry) + payload_bytes, 8);
}

// A walk through one segment in memory.
struct journal_scan {
    const uint8_t *data; // the segment from its first byte
    size_t bytes;
    uint64_t store_id;
    uint64_t generation;
    uint64_t next_lsn; // in: of the first entry; out: of the entry that would follow the last one
    uint64_t end_lsn;  // first lsn of the next segment; 0: this is the newest one
    // out
    uint64_t oldest_generation; // highest that a batch names
    size_t torn_bytes;          // cut at the tail
    bool covers; // the last batch was compared with payloads elsewhere, and they were all there
    size_t end;  // of the last batch, in the segment
    void *user;
    // An entry, its payload at `payload_at`; intact: the payload matches. Not 0: the walk ends with it.
    int (*visit)(void *user, const struct disk_entry *entry, size_t payload_at, bool intact);
    // What an entry of the last batch refers to: 1, it is there; 0, it is not; negative: the walk ends with it.
    // NULL: not looked at. `payload_at`: as in visit.
    int (*is_there)(void *user, const struct disk_entry *entry, size_t payload_at);
    // Entries [from, to) can't be read, though later ones can.
    void (*lost)(void *user, uint64_t from_lsn, uint64_t to_lsn, size_t offset);
};

// 0, what visit returned, or PAWL_EFORMAT.
int journal_scan(struct journal_scan *scan) PAWL_MUST_CHECK;

// Finds the first sound batch, one of an unknown format included, at or behind `at` of that generation (0: any) with an lsn of at least
// `lsn`. Returns its offset and fills *ret; SIZE_MAX: none.
size_t journal_batch_find(const struct journal_scan *scan, size_t at, uint64_t lsn,
                          struct disk_batch *ret);

#endif
