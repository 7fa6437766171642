// SPDX-License-Identifier: Apache-2.0
// A chunk file's footer. See proto/disk.h for the layout.
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/footer.h"

static uint32_t footer_crc(const struct disk_footer *footer)
{
    struct disk_footer copy = *footer;

    copy.crc = 0;
    return pawl_crc32c(0, &copy, sizeof(copy));
}

static size_t footer_records_bytes(const struct disk_footer *footer)
{
    return (size_t)footer->records_count * sizeof(struct disk_record);
}

static size_t footer_producers_bytes(const struct disk_footer *footer)
{
    return (size_t)footer->producers_count * sizeof(struct wire_producer);
}

size_t footer_body_bytes(uint64_t records_count, uint32_t producers_count)
{
    return (size_t)records_count * sizeof(struct disk_record) +
           (size_t)producers_count * sizeof(struct wire_producer);
}

void footer_encode(struct disk_footer *footer)
{
    footer->magic = DISK_FOOTER_MAGIC;
    footer->format = DISK_FORMAT;
    footer->features = DISK_FEATURES;
    footer->crc = footer_crc(footer);
}

int footer_decode(const void *data, size_t bytes, struct disk_footer *ret)
{
    static const struct disk_footer zeros;
    struct disk_footer footer;

    if (bytes < sizeof(footer)) {
        return -EBADMSG;
    }
    memcpy(&footer, data, sizeof(footer));
    if (memcmp(&footer, &zeros, sizeof(footer)) == 0) {
        return -ENOENT;
    }
    if (footer.magic != DISK_FOOTER_MAGIC || footer.crc != footer_crc(&footer)) {
        return -EBADMSG;
    }
    if (footer.format != DISK_FORMAT || footer.features != DISK_FEATURES) {
        return PAWL_EFORMAT;
    }
    if (footer.records_count > DISK_RECORDS_MAX || footer.producers_count > WIRE_TABLE_ROWS_MAX) {
        return -EBADMSG;
    }
    *ret = footer;
    return 0;
}

// Places inside the data area, lengths in range; where a row is there, its bytes end in the area too.
static bool row_is_sane(const struct disk_record *row, uint64_t data_end)
{
    if (row->length > WIRE_RECORD_MAX) {
        return false;
    }
    return row->place == 0 || (row->place >= DISK_PAGE_BYTES && row->place <= data_end &&
                               row->length <= data_end - row->place);
}

int footer_body_check(const struct disk_footer *footer, const void *body, size_t bytes,
                      uint64_t data_end)
{
    const uint8_t *at = body;
    size_t records_bytes = footer_records_bytes(footer);

    if (bytes < footer_body_bytes(footer->records_count, footer->producers_count)) {
        return PAWL_ECORRUPT;
    }
    if (pawl_crc32c(0, at, records_bytes) != footer->records_crc ||
        pawl_crc32c(0, at + records_bytes, footer_producers_bytes(footer)) !=
            footer->producers_crc) {
        return PAWL_ECORRUPT;
    }
    for (uint64_t i = 0; i < footer->records_count; i++) {
        struct disk_record row;
        memcpy(&row, at + i * sizeof(row), sizeof(row));
        if (!row_is_sane(&row, data_end)) {
            return PAWL_ECORRUPT;
        }
    }
    return 0;
}

void footer_row_encode(struct disk_record *row, const struct pawl_records *records, uint64_t index,
                       uint64_t place)
{
    const struct pawl_records_group *group = pawl_records_group(records, index);

    *row = (struct disk_record){
        .offset = pawl_records_bytes(records, index),
        .producer_hi = group->id.producer_hi,
        .producer_lo = group->id.producer_lo,
        .sequence = group->id.sequence + (index - group->first),
        .epoch = group->id.epoch,
        .flags = group->id.flags | (group->replicated ? DISK_RECORD_REPLICATED : 0),
        .version = group->version,
        .length = pawl_records_length(records, index),
        .crc = pawl_records_crc(records, index),
        .place = place,
    };
}

void footer_row_decode(const struct disk_record *row, struct pawl_record *ret)
{
    // A write's offset takes all bits of its flags.
    bool replicated =
        (row->flags & WIRE_RECORD_WRITE) == 0 && (row->flags & DISK_RECORD_REPLICATED) != 0;
    *ret = (struct pawl_record){
        .offset = row->offset,
        .id =
            {
                .producer_hi = row->producer_hi,
                .producer_lo = row->producer_lo,
                .sequence = row->sequence,
                .epoch = row->epoch,
                .flags = row->flags & ~(replicated ? DISK_RECORD_REPLICATED : 0),
            },
        .version = row->version,
        .length = row->length,
        .crc = row->crc,
        .replicated = replicated,
    };
}
