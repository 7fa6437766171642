// SPDX-License-Identifier: Apache-2.0
// On-disk structs of a chunk server's store: fixed width, little-endian, explicit padding.
//
// A store is a directory:
//   identity              one disk_identity: who the store belongs to, and its format
//   mark                  one disk_mark: the newest that was seen of the master's log
//   reactors              one disk_reactors: the server has several stores, in reactor-00, reactor-01, ...,
//                         and beside this file there are only those and the mark
//   journal/NN            segments: one page with a disk_segment, then batches
//   chunks/HANDLE.LSN     chunk files (hexadecimal; LSN of the entry that created the chunk)
//   chunks/spare-N        files of deleted chunks, for new ones
//   damaged/              chunk files that describe themselves no more, kept for a human
//
// Journal. A segment is written with zeros once and used again and again; each use has a generation
// of its own, one higher than the last. A batch is what one flush made durable: a disk_batch, then
// entries, padded with zeros to the logical block; no block is written twice in a generation.
// Entries are numbered (lsn) without a gap through all batches and segments; the first lsn of a
// segment says therefore where the one before it ended. A batch of no entries only tells that the
// one before it is whole. An entry is a disk_entry and its payload, padded to 8 bytes.
//
// Chunk file. Page 0 stays empty (so that place 0 means "not here"). Records follow, in any order:
// a large one begins on a page; small ones are packed, many behind each other, the first one on a page. The last two
// times 32 MiB of the file are the places of its footer, used by turns: one page with a
// disk_footer, then disk_records, then wire_producers. The file is sparse, and its size is set when
// it is made.
//
// A deleted chunk's file may become a spare: it is renamed, then a page of zeros is written over each
// footer's header, then it is renamed to be a new chunk's. Whatever else stands in it is nobody's.
//
// Every struct but the rows of tables begins with magic and format, and has features (an entry's
// stand in its batch). crc is the crc32c of the struct with crc = 0.
#ifndef PAWL_PROTO_DISK_H
#define PAWL_PROTO_DISK_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire.h"

#define DISK_FORMAT 1u
#define DISK_FEATURES 0u       // bits of optional features; none yet but those of batches
#define DISK_BATCH_RUNS 1u     // feature of a batch: it has a DISK_ENTRY_RUN
#define DISK_BATCH_COVERS 2u   // another: payloads elsewhere became durable with it
#define DISK_BATCH_GROUPS 4u   // another: it refers to records that begin anywhere, or to runs
#define DISK_BATCH_FEATURES 7u // all that are known
#define DISK_PAGE_BYTES 4096u
#define DISK_BLOCK_BYTES_MIN 512u // no logical block is smaller: batches stand on multiples of it

#define DISK_IDENTITY_MAGIC 0x44495750u // "PWID"
#define DISK_SEGMENT_MAGIC 0x47535750u  // "PWSG"
#define DISK_BATCH_MAGIC 0x54425750u    // "PWBT"
#define DISK_ENTRY_MAGIC 0x4e455750u    // "PWEN"
#define DISK_FOOTER_MAGIC 0x54465750u   // "PWFT"
#define DISK_MARK_MAGIC 0x4b4d5750u     // "PWMK"
#define DISK_REACTORS_MAGIC 0x45525750u // "PWRE"

struct disk_identity {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved;
    uint32_t features;
    uint32_t crc;
    uint64_t store_id; // random; every segment, batch and footer repeats it
    uint64_t server_id;
    uint64_t cluster_id;
    uint64_t reserved2;
};
static_assert(sizeof(struct disk_identity) == 48, "disk_identity");

struct disk_mark {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved;
    uint32_t features;
    uint32_t crc;
    uint64_t cluster_id;
    uint64_t term;     // of the master
    uint64_t nonce;    // of the term
    uint64_t position; // records of the master's log
};
static_assert(sizeof(struct disk_mark) == 48, "disk_mark");

struct disk_reactors {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved;
    uint32_t features;
    uint32_t crc;
    uint64_t server_id;      // of all stores
    uint32_t reactors_count; // 2..64
    uint32_t reserved2;
};
static_assert(sizeof(struct disk_reactors) == 32, "disk_reactors");

struct disk_segment {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved;
    uint32_t features;
    uint32_t crc;
    uint64_t store_id;
    uint64_t generation;        // from 1
    uint64_t first_lsn;         // of the first entry in this segment
    uint64_t oldest_generation; // segments of lower ones are free
    uint64_t bytes;             // of the segment
    uint32_t index;             // NN
    uint32_t reserved2;
};
static_assert(sizeof(struct disk_segment) == 64, "disk_segment");

struct disk_batch {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved;
    uint32_t features;
    uint32_t crc; // of this struct only
    uint64_t store_id;
    uint64_t generation;
    uint64_t first_lsn;
    uint64_t oldest_generation;
    uint32_t bytes; // of the batch without the padding at its end
    uint32_t entries_count;
    uint64_t reserved2;
};
static_assert(sizeof(struct disk_batch) == 64, "disk_batch");

// A row of a record table.
struct disk_record {
    uint64_t offset; // in the chunk
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t sequence;
    uint32_t epoch;
    uint32_t flags; // WIRE_RECORD_*, DISK_RECORD_REPLICATED
    uint64_t version;
    uint32_t length;
    uint32_t crc;   // crc32c of the payload
    uint64_t place; // offset in the chunk file; 0: not there (a journal entry holds it, or nobody)
};
static_assert(sizeof(struct disk_record) == 64, "disk_record");
// Of a record that is no write: PREPARE said WIRE_PREPARE_REPLICATED.
#define DISK_RECORD_REPLICATED (UINT32_C(1) << 31)

enum disk_entry_type {
    DISK_ENTRY_CREATE =
        1, // payload: disk_create and its producers; record.length, record.crc: of it
    DISK_ENTRY_RECORD = 2,    // record `argument`, payload here
    DISK_ENTRY_REFERENCE = 3, // record `argument`, payload at record.place of the chunk file
    DISK_ENTRY_PROMISE = 4,   // `version` is promised
    DISK_ENTRY_SEAL = 5,      // frozen at `argument` records
    DISK_ENTRY_DROP = 6,      // chunk deleted
    DISK_ENTRY_CUT = 7,       // recovery dropped all records from `argument` on
    DISK_ENTRY_DAMAGE = 8,    // recovery found that entries of this chunk may be lost
    DISK_ENTRY_RUN = 9, // records from `argument` on: rows and payloads here; see disk_run_row
    DISK_ENTRY_RUN_REFERENCE = 10, // the same, payloads at record.place of the chunk file
    DISK_ENTRY_TYPES
};

struct disk_entry {
    uint32_t magic;
    uint16_t format;
    uint16_t type;
    uint32_t bytes; // payload and padding included
    uint32_t crc;   // of this struct only
    uint64_t lsn;
    uint64_t handle;
    uint64_t create_lsn; // of the entry that created the chunk: tells its lives apart
    uint64_t version;
    uint64_t argument;
    uint64_t commit_count;
    struct disk_record record;
};
static_assert(sizeof(struct disk_entry) == 128, "disk_entry");
static_assert(offsetof(struct disk_entry, record) == 64, "disk_entry.record");

// What differs in records of a run, each continuing the one before it. A run's payload is so many rows, then the payloads
// behind each other. In its entry `record` is the first record's row, but: place is the number of records, length the bytes
// of rows and payloads, crc the crc32c of the rows. Of a DISK_ENTRY_RUN_REFERENCE only the rows are in the entry: place is the
// first payload's in the chunk file, length the bytes of the rows.
struct disk_run_row {
    uint32_t length;
    uint32_t crc; // crc32c of the payload
};
static_assert(sizeof(struct disk_run_row) == 8, "disk_run_row");
#define DISK_RUN_MAX WIRE_RUN_MAX // records; the fewest are 2

struct disk_create {
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint32_t index;
    uint32_t producers_count; // wire_producer rows that follow
    uint64_t written_handle;  // chunks of a write log: the chunk that was written; 0: none
    uint64_t zero_bytes;      // a chunk of so many zeros; 0: an ordinary one
};
static_assert(sizeof(struct disk_create) == 48, "disk_create");

#define DISK_FOOTER_SEALED 1u
#define DISK_FOOTER_DAMAGED 2u
#define DISK_FOOTER_ZERO 4u

struct disk_footer {
    uint32_t magic;
    uint16_t format;
    uint16_t flags;
    uint32_t features;
    uint32_t crc;
    uint64_t store_id;
    uint64_t handle;
    uint64_t create_lsn;
    uint64_t sequence;   // of the footers of this file, from 1; footer n stands at place n % 2
    uint64_t generation; // every entry of the chunk up to this journal generation is in here
    uint64_t version;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint64_t commit_count;
    uint64_t records_count;
    uint32_t index;
    uint32_t producers_count;
    uint32_t records_crc;   // crc32c of the rows
    uint32_t producers_crc; // crc32c of the rows
    uint64_t subject;       // written_handle of disk_create; with DISK_FOOTER_ZERO: zero_bytes
};
static_assert(sizeof(struct disk_footer) == 128, "disk_footer");

#define DISK_RECORDS_MAX 262144u
#define DISK_FOOTER_PLACE_BYTES (32u << 20)
#define DISK_SPARE_PREFIX "spare-" // a decimal number follows
static_assert(DISK_PAGE_BYTES + DISK_RECORDS_MAX * sizeof(struct disk_record) +
                      WIRE_TABLE_ROWS_MAX * sizeof(struct wire_producer) <=
                  DISK_FOOTER_PLACE_BYTES,
              "a footer fits its place");

#endif
