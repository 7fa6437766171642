// SPDX-License-Identifier: Apache-2.0
// Formats of the operation log's files: encoding, decoding, and telling a torn tail from damage.
#include "controlplane/log/log_format.h"

#include <inttypes.h>
#include <pawl/error.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "controlplane/log/oplog.h"

#define SECTOR_BYTES 512u

#define REFUSE(error, code, at, ...)                                                               \
    (snprintf((error)->text, sizeof((error)->text), __VA_ARGS__), (error)->offset = (at), (code))

// ---- records ---------------------------------------------------------------------------------

size_t oplog_record_total(size_t payload_bytes)
{
    return sizeof(struct oplog_record_header) + (size_t)pawl_align_up(payload_bytes, OPLOG_ALIGN);
}

static uint32_t record_crc(struct oplog_record_header header, const uint8_t *behind, size_t bytes)
{
    header.crc = 0;
    return pawl_crc32c(pawl_crc32c(0, &header, sizeof(header)), behind, bytes);
}

void oplog_record_encode(const struct oplog_record *record, uint8_t *ret_bytes)
{
    pawl_assert(record->lsn > record->durable_lsn);
    struct oplog_record_header header = {
        .magic = OPLOG_RECORD_MAGIC,
        .format = OPLOG_FORMAT,
        .bytes = record->payload_bytes,
        .lsn = record->lsn,
        .durable_lsn = record->durable_lsn,
    };
    uint8_t *behind = ret_bytes + sizeof(header);
    size_t behind_bytes = oplog_record_total(record->payload_bytes) - sizeof(header);
    memset(behind, 0, behind_bytes);
    if (record->payload_bytes != 0) {
        memcpy(behind, record->payload, record->payload_bytes);
    }
    header.crc = record_crc(header, behind, behind_bytes);
    memcpy(ret_bytes, &header, sizeof(header));
}

int oplog_record_decode(const uint8_t *bytes, size_t size, struct oplog_record *ret_record)
{
    struct oplog_record_header header;
    if (size < sizeof(header)) {
        return PAWL_EFORMAT;
    }
    memcpy(&header, bytes, sizeof(header));
    if (header.magic != OPLOG_RECORD_MAGIC || header.format != OPLOG_FORMAT ||
        header.features != OPLOG_FEATURES || header.bytes > OPLOG_RECORD_BYTES_MAX) {
        return PAWL_EFORMAT;
    }
    size_t total = oplog_record_total(header.bytes);
    if (size < total ||
        record_crc(header, bytes + sizeof(header), total - sizeof(header)) != header.crc ||
        header.durable_lsn >= header.lsn) {
        return PAWL_EFORMAT;
    }
    *ret_record = (struct oplog_record){
        .lsn = header.lsn,
        .durable_lsn = header.durable_lsn,
        .payload = bytes + sizeof(header),
        .payload_bytes = header.bytes,
        .total_bytes = total,
    };
    return 0;
}

// ---- headers and footers ---------------------------------------------------------------------

void oplog_file_header_encode(uint32_t magic, uint64_t lsn, uint8_t *ret_bytes)
{
    struct oplog_file_header header = {
        .magic = magic,
        .format = OPLOG_FORMAT,
        .features = OPLOG_FEATURES,
        .lsn = lsn,
    };
    header.crc = pawl_crc32c(0, &header, sizeof(header));
    memcpy(ret_bytes, &header, sizeof(header));
}

int oplog_file_header_decode(const uint8_t *bytes, size_t size, uint32_t magic, uint64_t *ret_lsn,
                             struct oplog_error *ret_error)
{
    struct oplog_file_header header;
    if (size < sizeof(header)) {
        return REFUSE(ret_error, PAWL_EFORMAT, 0, "is shorter than a header");
    }
    memcpy(&header, bytes, sizeof(header));
    uint32_t crc = header.crc;
    header.crc = 0;
    if (header.magic != magic) {
        return REFUSE(ret_error, PAWL_EFORMAT, 0, "begins with %08" PRIx32 " instead of %08" PRIx32,
                      header.magic, magic);
    }
    // Every format keeps the checksum of its header here, so a whole one of another version is
    // seen.
    if (pawl_crc32c(0, &header, sizeof(header)) != crc) {
        return REFUSE(ret_error, PAWL_EFORMAT, 0, "has a header that does not match its checksum");
    }
    if (header.format != OPLOG_FORMAT || (header.features & ~OPLOG_FEATURES) != 0) {
        return REFUSE(ret_error, PAWL_EPROTOCOL, 0,
                      "has format %u features %" PRIx32
                      ", this program knows format %u features %x",
                      header.format, header.features, OPLOG_FORMAT, OPLOG_FEATURES);
    }
    *ret_lsn = header.lsn;
    return 0;
}

static uint32_t footer_crc(struct oplog_footer footer)
{
    footer.crc = 0;
    return pawl_crc32c(0, &footer, sizeof(footer));
}

void oplog_footer_encode(uint64_t count, const uint8_t *body, size_t body_bytes, uint8_t *ret_bytes)
{
    struct oplog_footer footer = {
        .magic = OPLOG_FOOTER_MAGIC,
        .format = OPLOG_FORMAT,
        .body_crc = pawl_crc32c(0, body, body_bytes),
        .count = count,
        .body_bytes = body_bytes,
    };
    footer.crc = footer_crc(footer);
    memcpy(ret_bytes, &footer, sizeof(footer));
}

// ---- segments --------------------------------------------------------------------------------

int oplog_scan_init(struct oplog_scan *scan, const uint8_t *data, size_t bytes,
                    struct oplog_error *ret_error)
{
    uint64_t lsn;
    int rc = oplog_file_header_decode(data, bytes, OPLOG_SEGMENT_MAGIC, &lsn, ret_error);
    if (rc != 0) {
        return rc;
    }
    *scan = (struct oplog_scan){
        .data = data,
        .bytes = bytes,
        .offset = sizeof(struct oplog_file_header),
        .next_lsn = lsn,
    };
    return 0;
}

int oplog_scan_next(struct oplog_scan *scan, struct oplog_record *ret_record)
{
    struct oplog_record record;
    pawl_assert(scan->offset <= scan->bytes);
    if (scan->offset == scan->bytes) {
        return 0;
    }
    int rc = oplog_record_decode(scan->data + scan->offset, scan->bytes - scan->offset, &record);
    if (rc != 0 || record.lsn != scan->next_lsn) {
        return PAWL_EFORMAT;
    }
    scan->offset += record.total_bytes;
    scan->next_lsn++;
    *ret_record = record;
    return 1;
}

bool oplog_scan_rest_is_zeros(const struct oplog_scan *scan)
{
    for (size_t at = scan->offset; at < scan->bytes; at++) {
        if (scan->data[at] != 0) {
            return false;
        }
    }
    return true;
}

// True when part of [start, end) lies in a sector that is all zeros there: the disk never took it.
static bool has_unwritten_sector(const uint8_t *data, size_t start, size_t end)
{
    for (size_t at = start; at < end;) {
        size_t next = PAWL_MIN(end, (at / SECTOR_BYTES + 1) * SECTOR_BYTES);
        size_t zeros = 0;
        while (at + zeros < next && data[at + zeros] == 0) {
            zeros++;
        }
        // A few zeros at the edge of a sector prove nothing.
        if (at + zeros == next && zeros >= sizeof(struct oplog_record_header)) {
            return true;
        }
        at = next;
    }
    return false;
}

int oplog_scan_judge(const struct oplog_scan *scan, struct oplog_error *ret_error)
{
    struct oplog_record record;
    struct oplog_record follower = {0}; // the first valid record behind the bad place
    size_t follower_at = 0;
    bool acknowledged = false;
    for (size_t at = scan->offset; at < scan->bytes;) {
        if (oplog_record_decode(scan->data + at, scan->bytes - at, &record) != 0) {
            at += OPLOG_ALIGN;
            continue;
        }
        if (follower_at == 0) {
            follower_at = at;
            follower = record;
        }
        // A lower number has no business here, and a later group saw this place durable.
        acknowledged |= record.lsn <= scan->next_lsn || record.durable_lsn >= scan->next_lsn;
        at += record.total_bytes;
    }
    if (follower_at == 0 ||
        (!acknowledged && has_unwritten_sector(scan->data, scan->offset, follower_at))) {
        return 0;
    }
    return REFUSE(ret_error, PAWL_EFORMAT, scan->offset,
                  "is damaged: record %" PRIu64 " is not readable there, but record %" PRIu64
                  " at offset %zu is",
                  scan->next_lsn, follower.lsn, follower_at);
}

// ---- snapshots -------------------------------------------------------------------------------

int oplog_snapshot_check(const uint8_t *data, size_t bytes, uint64_t *ret_lsn, uint64_t *ret_count,
                         struct oplog_error *ret_error)
{
    struct oplog_footer footer;
    uint64_t lsn;
    int rc = oplog_file_header_decode(data, bytes, OPLOG_SNAPSHOT_MAGIC, &lsn, ret_error);
    if (rc != 0) {
        return rc;
    }
    if (bytes < sizeof(struct oplog_file_header) + sizeof(footer)) {
        return REFUSE(ret_error, PAWL_EFORMAT, bytes, "ends before its footer");
    }
    size_t body_bytes = bytes - sizeof(footer);
    memcpy(&footer, data + body_bytes, sizeof(footer));
    if (footer.magic != OPLOG_FOOTER_MAGIC || footer.format != OPLOG_FORMAT ||
        footer.features != OPLOG_FEATURES || footer_crc(footer) != footer.crc ||
        footer.body_bytes != body_bytes) {
        return REFUSE(ret_error, PAWL_EFORMAT, body_bytes, "has no valid footer: it was cut short");
    }
    if (pawl_crc32c(0, data, body_bytes) != footer.body_crc) {
        return REFUSE(ret_error, PAWL_EFORMAT, 0, "does not match the checksum in its footer");
    }

    struct oplog_record record;
    size_t offset = sizeof(struct oplog_file_header);
    uint64_t count = 0;
    for (; offset < body_bytes; offset += record.total_bytes) {
        if (oplog_record_decode(data + offset, body_bytes - offset, &record) != 0 ||
            record.lsn != ++count) {
            return REFUSE(ret_error, PAWL_EFORMAT, offset, "holds something else than a record");
        }
    }
    if (count != footer.count) {
        return REFUSE(ret_error, PAWL_EFORMAT, body_bytes,
                      "holds %" PRIu64 " records and its footer says %" PRIu64, count,
                      footer.count);
    }
    *ret_lsn = lsn;
    *ret_count = count;
    return 0;
}

bool oplog_snapshot_next(const uint8_t *data, size_t bytes, size_t *offset,
                         struct oplog_record *ret_record)
{
    pawl_assert(bytes >= sizeof(struct oplog_file_header) + sizeof(struct oplog_footer));
    size_t body_bytes = bytes - sizeof(struct oplog_footer);
    if (*offset == 0) {
        *offset = sizeof(struct oplog_file_header);
    }
    if (*offset >= body_bytes ||
        oplog_record_decode(data + *offset, body_bytes - *offset, ret_record) != 0) {
        return false;
    }
    *offset += ret_record->total_bytes;
    return true;
}
