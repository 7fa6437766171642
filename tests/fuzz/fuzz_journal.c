// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: a segment of the store's journal is walked.
//
// The input's first byte says whether checksums of what looks like headers are repaired first (behind
// a checksum no mutation would get) and whether a later segment names the end.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "dataplane/store/journal_entry.h"

#define REPAIR 1u
#define HAS_END 2u
#define END_LSN 20u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    const uint8_t *image;
    size_t bytes;
    uint64_t next_lsn;
};

static int walk_visit(void *user, const struct disk_entry *entry, size_t payload_at, bool intact)
{
    struct walk *walk = user;

    pawl_assert(entry->lsn >= walk->next_lsn);
    walk->next_lsn = entry->lsn + 1;
    pawl_assert(payload_at <= walk->bytes &&
                journal_entry_payload_bytes(entry) <= walk->bytes - payload_at);
    pawl_assert(intact || journal_entry_payload_bytes(entry) > 0);
    // Who replays a run takes the rows as they are.
    if (journal_entry_is_run(entry)) {
        uint32_t count = journal_run_count(entry);
        size_t rows_bytes = count * sizeof(struct disk_run_row);
        uint64_t bytes = 0;
        pawl_assert(count >= 2 && count <= DISK_RUN_MAX && rows_bytes <= entry->record.length);
        for (uint32_t i = 0; i < count; i++) {
            bytes += journal_run_row(walk->image + payload_at, i).length;
        }
        pawl_assert(entry->type == DISK_ENTRY_RUN ? rows_bytes + bytes == entry->record.length
                                                  : bytes <= WIRE_RECORD_MAX);
    }
    return 0;
}

static int walk_is_there(void *user, const struct disk_entry *entry, size_t payload_at)
{
    const struct walk *walk = user;

    pawl_assert(journal_entry_payload_bytes(entry) <= walk->bytes - payload_at);
    return entry->record.crc % 8 != 0;
}

static void walk_lost(void *user, uint64_t from_lsn, uint64_t to_lsn, size_t offset)
{
    struct walk *walk = user;

    pawl_assert(from_lsn < to_lsn && from_lsn >= walk->next_lsn && offset <= walk->bytes);
    walk->next_lsn = to_lsn;
}

// The checksum of a run's rows.
static void repair_rows(struct disk_entry *entry, const uint8_t *rows, size_t bytes)
{
    if (journal_entry_is_run(entry)) {
        uint64_t rows_bytes = (uint64_t)journal_run_count(entry) * sizeof(struct disk_run_row);
        entry->record.crc = rows_bytes <= bytes ? pawl_crc32c(0, rows, (size_t)rows_bytes) : 0;
    }
}

static void repair(uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at + sizeof(struct disk_batch) <= bytes; at += 8) {
        uint32_t magic;
        memcpy(&magic, data + at, sizeof(magic));
        if (magic == DISK_BATCH_MAGIC) {
            struct disk_batch batch;
            memcpy(&batch, data + at, sizeof(batch));
            journal_batch_encode(&batch);
            memcpy(data + at, &batch, sizeof(batch));
        } else if (magic == DISK_ENTRY_MAGIC && at + sizeof(struct disk_entry) <= bytes) {
            struct disk_entry entry;
            memcpy(&entry, data + at, sizeof(entry));
            repair_rows(&entry, data + at + sizeof(entry), bytes - at - sizeof(entry));
            journal_entry_encode(&entry);
            memcpy(data + at, &entry, sizeof(entry));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_segment header;

    if (size == 0 || size > 1u << 16) {
        return 0;
    }
    struct walk walk = {.bytes = DISK_PAGE_BYTES + size - 1};
    uint8_t *image = calloc(1, walk.bytes);
    if (image == NULL) {
        abort();
    }
    walk.image = image;
    memcpy(image + DISK_PAGE_BYTES, data + 1, size - 1);
    if ((data[0] & REPAIR) != 0) {
        repair(image + DISK_PAGE_BYTES, size - 1);
    }
    struct journal_scan scan = {
        .data = image,
        .bytes = walk.bytes,
        .store_id = 1,
        .generation = 1,
        .next_lsn = 1,
        .end_lsn = (data[0] & HAS_END) != 0 ? END_LSN : 0,
        .user = &walk,
        .visit = walk_visit,
        .is_there = walk_is_there,
        .lost = walk_lost,
    };
    int code = journal_scan(&scan);
    pawl_assert(code != 0 || scan.end_lsn == 0 || scan.next_lsn == END_LSN);
    pawl_assert(code != 0 || scan.next_lsn >= walk.next_lsn);
    code = journal_segment_decode(data, size, &header);
    pawl_assert(code != 0 || header.generation != 0);
    free(image);
    return 0;
}
