// SPDX-License-Identifier: Apache-2.0
// Formats of the operation log's files. Pure: encoding and decoding of bytes in memory.
//
// Segment `log.<first lsn>`: a segment header, then records, each padded to 8 bytes, then zeros that were written
// ahead, or nothing. One write and flush per group; nothing but zeros is ever written over: sectors of a group that
// the disk has not taken read as zeros. Record headers carry the lsn that was known to be durable when their group
// was written. So whatever is wrong in a segment can be told apart:
//   - nothing valid follows: a torn tail, the remains of a group that was never acknowledged: cut;
//   - a valid record follows that knows the bad place as durable: acknowledged bytes are damaged;
//   - a valid record of the same group follows: unwritten sectors (zeros) in the bad place mean
//   that the
//     machine stopped while it wrote the group: torn; anything else is taken for damage.
// (Damage inside the very last group, with nothing behind it, looks like a torn tail. Nothing can
// tell.)
//
// Snapshot `snapshot.<lsn>`: a header, records, a footer with their number and a checksum of all of
// it. It becomes visible by a rename after it is durable, so a bad one is damage and not a crash.
//
// Everything is little-endian, checksums are CRC32C over the struct with `crc` zero, then what
// follows it.
#ifndef PAWL_CONTROLPLANE_LOG_LOG_FORMAT_H
#define PAWL_CONTROLPLANE_LOG_LOG_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "disk structs are little-endian");

#define OPLOG_SEGMENT_MAGIC 0x534c5750u  // "PWLS"
#define OPLOG_RECORD_MAGIC 0x524c5750u   // "PWLR"
#define OPLOG_SNAPSHOT_MAGIC 0x4e4c5750u // "PWLN"
#define OPLOG_FOOTER_MAGIC 0x464c5750u   // "PWLF"
#define OPLOG_FORMAT 1u
#define OPLOG_FEATURES 0u
#define OPLOG_ALIGN 8u

// At the start of segments and snapshots. `lsn`: first of the segment; last that the snapshot
// covers.
struct oplog_file_header {
    uint32_t magic;
    uint16_t format;
    uint16_t reserved0;
    uint32_t features;
    uint32_t crc;
    uint64_t lsn;
    uint64_t reserved1;
};
static_assert(sizeof(struct oplog_file_header) == 32, "oplog_file_header");

// crc covers the padding too.
struct oplog_record_header {
    uint32_t magic;
    uint16_t format;
    uint16_t features;
    uint32_t bytes; // of the payload behind, without padding
    uint32_t crc;
    uint64_t lsn; // snapshots: number of the record, from 1
    uint64_t durable_lsn;
};
static_assert(sizeof(struct oplog_record_header) == 32, "oplog_record_header");

struct oplog_footer {
    uint32_t magic;
    uint16_t format;
    uint16_t features;
    uint32_t body_crc; // header and records
    uint32_t crc;
    uint64_t count;      // records
    uint64_t body_bytes; // header and records
};
static_assert(sizeof(struct oplog_footer) == 32, "oplog_footer");

struct oplog_record {
    uint64_t lsn;
    uint64_t durable_lsn;
    const uint8_t *payload; // BORROWED from the bytes that were decoded
    uint32_t payload_bytes;
    size_t total_bytes; // header, payload, padding
};

// What is wrong with a file, as text for the log, and where.
struct oplog_error {
    char text[200];
    size_t offset;
};

// A record and its padding take so much.
size_t oplog_record_total(size_t payload_bytes);
// ret_bytes has room for oplog_record_total(record->payload_bytes).
void oplog_record_encode(const struct oplog_record *record, uint8_t *ret_bytes);
// 0 or PAWL_EFORMAT (too short, no record, checksum). Bytes beyond the record are not looked at.
PAWL_MUST_CHECK int oplog_record_decode(const uint8_t *bytes, size_t size,
                                        struct oplog_record *ret_record);

void oplog_file_header_encode(uint32_t magic, uint64_t lsn, uint8_t *ret_bytes);
// 0, PAWL_EFORMAT (damaged) or PAWL_EPROTOCOL (whole, but of another format version).
PAWL_MUST_CHECK int oplog_file_header_decode(const uint8_t *bytes, size_t size, uint32_t magic,
                                             uint64_t *ret_lsn, struct oplog_error *ret_error);
void oplog_footer_encode(uint64_t count, const uint8_t *body, size_t body_bytes,
                         uint8_t *ret_bytes);

// Walks over the records of a segment.
struct oplog_scan {
    const uint8_t *data;
    size_t bytes;
    size_t offset;     // of the next record
    uint64_t next_lsn; // that it must have
};

PAWL_MUST_CHECK int oplog_scan_init(struct oplog_scan *scan, const uint8_t *data, size_t bytes,
                                    struct oplog_error *ret_error);
// 1: a record; 0: the end; PAWL_EFORMAT: something else is at `offset`.
PAWL_MUST_CHECK int oplog_scan_next(struct oplog_scan *scan, struct oplog_record *ret_record);
// Nothing but zeros, or nothing, from `offset` on: the segment ends there.
bool oplog_scan_rest_is_zeros(const struct oplog_scan *scan);
// After PAWL_EFORMAT: 0, it is a torn tail and the segment ends at `offset`; or PAWL_EFORMAT,
// damaged.
PAWL_MUST_CHECK int oplog_scan_judge(const struct oplog_scan *scan, struct oplog_error *ret_error);

// Checks a whole snapshot. 0, PAWL_EFORMAT or PAWL_EPROTOCOL as above.
PAWL_MUST_CHECK int oplog_snapshot_check(const uint8_t *data, size_t bytes, uint64_t *ret_lsn,
                                         uint64_t *ret_count, struct oplog_error *ret_error);
// The record at *offset of a snapshot that was checked (start with 0); false behind the last one.
bool oplog_snapshot_next(const uint8_t *data, size_t bytes, size_t *offset,
                         struct oplog_record *ret_record);

#endif
