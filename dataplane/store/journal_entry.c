// SPDX-License-Identifier: Apache-2.0
// The journal's format. See proto/disk.h for the layout, journal_entry.h for the rules.
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/journal_entry.h"

// The crc of a struct that must not be changed, its crc field taken as zero: three pieces instead of a copy.
static uint32_t struct_crc(const void *data, size_t bytes, size_t crc_at)
{
    static const uint32_t zero = 0;
    const uint8_t *p = data;
    uint32_t crc = pawl_crc32c(0, p, crc_at);

    crc = pawl_crc32c(crc, &zero, sizeof(zero));
    return pawl_crc32c(crc, p + crc_at + sizeof(zero), bytes - crc_at - sizeof(zero));
}

#define STRUCT_CRC(s) struct_crc((s), sizeof(*(s)), offsetof(__typeof__(*(s)), crc))

void journal_segment_encode(struct disk_segment *segment)
{
    segment->magic = DISK_SEGMENT_MAGIC;
    segment->format = DISK_FORMAT;
    segment->features = DISK_FEATURES;
    segment->crc = 0;
    segment->crc = pawl_crc32c(0, segment, sizeof(*segment));
}

void journal_batch_encode(struct disk_batch *batch)
{
    batch->magic = DISK_BATCH_MAGIC;
    batch->format = DISK_FORMAT;
    batch->crc = 0;
    batch->crc = pawl_crc32c(0, batch, sizeof(*batch));
}

void journal_entry_encode(struct disk_entry *entry)
{
    entry->magic = DISK_ENTRY_MAGIC;
    entry->format = DISK_FORMAT;
    entry->crc = 0;
    entry->crc = pawl_crc32c(0, entry, sizeof(*entry));
}

int journal_segment_decode(const void *data, size_t bytes, struct disk_segment *ret)
{
    struct disk_segment segment;

    if (bytes < sizeof(segment)) {
        return -EBADMSG;
    }
    memcpy(&segment, data, sizeof(segment));
    if (segment.magic != DISK_SEGMENT_MAGIC || segment.crc != STRUCT_CRC(&segment)) {
        return -EBADMSG;
    }
    if (segment.format != DISK_FORMAT || segment.features != DISK_FEATURES) {
        return PAWL_EFORMAT;
    }
    if (segment.generation == 0 || segment.first_lsn == 0) {
        return -EBADMSG;
    }
    *ret = segment;
    return 0;
}

int journal_batch_decode(const void *data, size_t bytes, struct disk_batch *ret)
{
    struct disk_batch batch;
    uint32_t magic;

    if (bytes < sizeof(batch)) {
        return -EBADMSG;
    }
    memcpy(&magic, data, sizeof(magic));
    if (magic != DISK_BATCH_MAGIC) {
        return -EBADMSG;
    }
    memcpy(&batch, data, sizeof(batch));
    if (batch.crc != STRUCT_CRC(&batch)) {
        return -EBADMSG;
    }
    *ret = batch;
    if (batch.format != DISK_FORMAT || (batch.features & ~DISK_BATCH_FEATURES) != 0) {
        return PAWL_EFORMAT;
    }
    if (batch.bytes < sizeof(batch) || batch.bytes > bytes ||
        batch.entries_count > (batch.bytes - sizeof(batch)) / sizeof(struct disk_entry) ||
        batch.first_lsn == 0) {
        return -EBADMSG;
    }
    return 0;
}

size_t journal_entry_payload_bytes(const struct disk_entry *entry)
{
    bool inside = entry->type == DISK_ENTRY_CREATE || entry->type == DISK_ENTRY_RECORD ||
                  entry->type == DISK_ENTRY_RUN || entry->type == DISK_ENTRY_RUN_REFERENCE;

    return inside ? entry->record.length : 0;
}

// What a sound header may still get wrong: only a bug of a writer can, but a reader must not trust it.
static bool entry_is_sane(const struct disk_entry *entry, size_t bytes)
{
    if (entry->type == 0 || entry->type >= DISK_ENTRY_TYPES || entry->bytes > bytes) {
        return false;
    }
    if (entry->bytes != journal_entry_bytes(journal_entry_payload_bytes(entry))) {
        return false;
    }
    switch (entry->type) {
    case DISK_ENTRY_CREATE:
        return entry->record.length >= sizeof(struct disk_create);
    case DISK_ENTRY_RECORD:
    case DISK_ENTRY_REFERENCE:
        return entry->argument < DISK_RECORDS_MAX && entry->record.length <= WIRE_RECORD_MAX;
    case DISK_ENTRY_RUN:
        return entry->record.place >= 2 && entry->record.place <= DISK_RUN_MAX &&
               entry->argument <= DISK_RECORDS_MAX - entry->record.place &&
               entry->record.length >= entry->record.place * sizeof(struct disk_run_row);
    case DISK_ENTRY_RUN_REFERENCE:
        return entry->record.length % sizeof(struct disk_run_row) == 0 &&
               journal_run_count(entry) >= 2 && journal_run_count(entry) <= DISK_RUN_MAX &&
               entry->argument <= DISK_RECORDS_MAX - journal_run_count(entry);
    case DISK_ENTRY_SEAL:
    case DISK_ENTRY_CUT:
        return entry->argument <= DISK_RECORDS_MAX;
    default:
        return true;
    }
}

// The rows of a run whose payloads are elsewhere.
static int rows_check(const struct disk_entry *entry, const uint8_t *inside)
{
    uint32_t count = journal_run_count(entry);
    uint64_t bytes = 0;

    if (pawl_crc32c(0, inside, count * sizeof(struct disk_run_row)) != entry->record.crc) {
        return -EBADMSG;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t length = journal_run_row(inside, i).length;
        if (length == 0) {
            return -EBADMSG;
        }
        bytes += length;
    }
    return bytes <= WIRE_RECORD_MAX ? 0 : -EBADMSG;
}

// Rows have to be sound, or nobody knows which records these are: -EBADMSG. PAWL_ECORRUPT: a payload is not.
static int run_check(const struct disk_entry *entry, const uint8_t *inside)
{
    uint32_t count = journal_run_count(entry);
    size_t at = count * sizeof(struct disk_run_row);
    int code = 0;

    if (pawl_crc32c(0, inside, at) != entry->record.crc) {
        return -EBADMSG;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct disk_run_row row = journal_run_row(inside, i);
        if (row.length == 0 || row.length > entry->record.length - at) {
            return -EBADMSG;
        }
        if (pawl_crc32c(0, inside + at, row.length) != row.crc) {
            code = PAWL_ECORRUPT;
        }
        at += row.length;
    }
    return at == entry->record.length ? code : -EBADMSG;
}

int journal_entry_decode(const void *data, size_t bytes, struct disk_entry *ret)
{
    struct disk_entry entry;

    if (bytes < sizeof(entry)) {
        return -EBADMSG;
    }
    memcpy(&entry, data, sizeof(entry));
    if (entry.magic != DISK_ENTRY_MAGIC || entry.crc != STRUCT_CRC(&entry)) {
        return -EBADMSG;
    }
    if (entry.format != DISK_FORMAT) {
        return PAWL_EFORMAT;
    }
    if (!entry_is_sane(&entry, bytes)) {
        return -EBADMSG;
    }
    const uint8_t *payload = (const uint8_t *)data + sizeof(entry);
    if (journal_entry_is_run(&entry)) {
        int code =
            entry.type == DISK_ENTRY_RUN ? run_check(&entry, payload) : rows_check(&entry, payload);
        if (code != -EBADMSG) {
            *ret = entry;
        }
        return code;
    }
    *ret = entry;
    size_t payload_bytes = journal_entry_payload_bytes(&entry);
    if (payload_bytes > 0 && pawl_crc32c(0, payload, payload_bytes) != entry.record.crc) {
        return PAWL_ECORRUPT;
    }
    return 0;
}

size_t journal_batch_find(const struct journal_scan *scan, size_t at, uint64_t lsn,
                          struct disk_batch *ret)
{
    for (at = (size_t)pawl_align_up(at, DISK_BLOCK_BYTES_MIN); at < scan->bytes;
         at += DISK_BLOCK_BYTES_MIN) {
        struct disk_batch batch;
        int code = journal_batch_decode(scan->data + at, scan->bytes - at, &batch);
        if (code != 0 && code != PAWL_EFORMAT) {
            continue;
        }
        if (batch.store_id == scan->store_id && batch.first_lsn >= lsn &&
            (scan->generation == 0 || batch.generation == scan->generation)) {
            *ret = batch;
            return at;
        }
    }
    return SIZE_MAX;
}

// Finds a sound entry header in [at, end) with an lsn in [from, to).
static size_t entry_find(const struct journal_scan *scan, size_t at, size_t end,
                         struct disk_entry *ret, uint64_t from, uint64_t to)
{
    for (; at + sizeof(*ret) <= end; at += 8) {
        int code = journal_entry_decode(scan->data + at, end - at, ret);
        if ((code == 0 || code == PAWL_ECORRUPT) && ret->lsn >= from && ret->lsn < to) {
            return at;
        }
    }
    return SIZE_MAX;
}

// An entry of the last batch. What it refers to lasts together with it, and may be as torn as the batch itself.
static int is_there(const struct journal_scan *scan, const struct disk_batch *batch,
                    const struct disk_entry *entry, size_t payload_at)
{
    bool refers = entry->type == DISK_ENTRY_REFERENCE || entry->type == DISK_ENTRY_RUN_REFERENCE;
    bool looks = refers && (batch->features & DISK_BATCH_COVERS) != 0 && scan->is_there != NULL;

    return looks ? scan->is_there(scan->user, entry, payload_at) : 1;
}

// Walks one batch. `last`: nothing sound follows it. *ret_cut: the walk ends inside of it.
static int scan_batch(struct journal_scan *scan, size_t at, const struct disk_batch *batch,
                      bool last, bool *ret_cut)
{
    size_t end = at + batch->bytes;
    uint64_t stop = batch->first_lsn + batch->entries_count;

    at += sizeof(*batch);
    // An earlier recovery cut here: what follows in this batch was never acknowledged.
    if (scan->end_lsn != 0 && stop > scan->end_lsn) {
        stop = scan->end_lsn;
    }
    while (scan->next_lsn < stop) {
        struct disk_entry entry;
        int code = journal_entry_decode(scan->data + at, end - at, &entry);
        if (code == PAWL_EFORMAT) {
            return code;
        }
        bool known = code != -EBADMSG && entry.lsn == scan->next_lsn;
        int there =
            last && known && code == 0 ? is_there(scan, batch, &entry, at + sizeof(entry)) : 1;
        if (there < 0) {
            return there;
        }
        if (last && (!known || code != 0 || there == 0)) {
            scan->torn_bytes = end - at;
            *ret_cut = true;
            return 0;
        }
        if (!known) {
            uint64_t from = scan->next_lsn;
            at = entry_find(scan, at, end, &entry, from, stop);
            scan->next_lsn = at == SIZE_MAX ? stop : entry.lsn;
            if (scan->next_lsn > from) {
                scan->lost(scan->user, from, scan->next_lsn, at == SIZE_MAX ? end : at);
            }
            continue;
        }
        code = scan->visit(scan->user, &entry, at + sizeof(entry), code == 0);
        if (code != 0) {
            return code;
        }
        at += entry.bytes;
        scan->next_lsn++;
    }
    return 0;
}

int journal_scan(struct journal_scan *scan)
{
    size_t at = DISK_PAGE_BYTES;
    bool cut = false;

    scan->torn_bytes = 0;
    scan->covers = false;
    scan->end = at;
    while (!cut && (scan->end_lsn == 0 || scan->next_lsn < scan->end_lsn)) {
        struct disk_batch batch, later;
        at = journal_batch_find(scan, at, scan->next_lsn, &batch);
        if (at == SIZE_MAX) {
            break;
        }
        if (journal_batch_decode(scan->data + at, scan->bytes - at, &batch) != 0) {
            return PAWL_EFORMAT; // of a newer version: to pass it over would lose what it says
        }
        uint64_t first = batch.first_lsn;
        if (scan->end_lsn != 0 && first > scan->end_lsn) {
            first = scan->end_lsn;
        }
        if (first > scan->next_lsn) {
            scan->lost(scan->user, scan->next_lsn, first, at);
        }
        scan->next_lsn = first;
        scan->oldest_generation = PAWL_MAX(scan->oldest_generation, batch.oldest_generation);
        uint64_t follows = batch.first_lsn + batch.entries_count;
        size_t next_at = (size_t)pawl_align_up(at + batch.bytes, DISK_BLOCK_BYTES_MIN);
        bool last =
            scan->end_lsn == 0 && journal_batch_find(scan, next_at, follows, &later) == SIZE_MAX;
        int code = scan_batch(scan, at, &batch, last, &cut);
        if (code != 0) {
            return code;
        }
        scan->covers = last && !cut && (batch.features & DISK_BATCH_COVERS) != 0;
        scan->end = next_at;
        at = next_at;
    }
    if (scan->end_lsn != 0 && scan->next_lsn < scan->end_lsn) {
        scan->lost(scan->user, scan->next_lsn, scan->end_lsn, scan->bytes);
        scan->next_lsn = scan->end_lsn;
    }
    return 0;
}
