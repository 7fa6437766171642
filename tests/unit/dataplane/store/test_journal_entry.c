// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/journal_entry.c: a segment in memory, whole, torn, rotten.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/journal_entry.h"

#define STORE_ID 0x1234u
#define GENERATION 5u
#define SEGMENT_BYTES (64u << 10)
#define PAYLOAD_BYTES 700u

// A segment of batches of `per_batch` records; first lsn 100.
struct image {
    uint8_t *data;
    size_t end;          // behind the last batch
    size_t batch_at[16]; // offsets
    uint32_t batches_count;
    uint64_t next_lsn;
    // What a walk told.
    uint64_t seen[256]; // lsn
    uint32_t seen_count;
    uint32_t rotten_count;
    uint64_t lost_from;
    uint64_t lost_to;
    uint32_t lost_count;
    uint64_t missing; // lsn of an entry whose payload is not where it says, or can't be looked at
    int missing_code;
    uint32_t looked_count;
};

static size_t put_record(uint8_t *at, uint64_t lsn)
{
    struct disk_entry entry = {
        .type = DISK_ENTRY_RECORD,
        .bytes = (uint32_t)journal_entry_bytes(PAYLOAD_BYTES),
        .lsn = lsn,
        .handle = 1,
        .argument = lsn,
    };

    memset(at + sizeof(entry), (int)lsn, PAYLOAD_BYTES);
    entry.record.length = PAYLOAD_BYTES;
    entry.record.crc = pawl_crc32c(0, at + sizeof(entry), PAYLOAD_BYTES);
    journal_entry_encode(&entry);
    memcpy(at, &entry, sizeof(entry));
    return entry.bytes;
}

// Turns a record into one whose payload is elsewhere.
static void make_reference(uint8_t *at)
{
    struct disk_entry entry;

    memcpy(&entry, at, sizeof(entry));
    entry.type = DISK_ENTRY_REFERENCE;
    entry.bytes = (uint32_t)journal_entry_bytes(0);
    journal_entry_encode(&entry);
    memcpy(at, &entry, sizeof(entry));
}

// A batch of two references.
static void put_references(struct image *image, uint32_t features)
{
    size_t at = image->end;
    struct disk_batch batch = {
        .features = features,
        .store_id = STORE_ID,
        .generation = GENERATION,
        .first_lsn = image->next_lsn,
        .oldest_generation = 3,
        .bytes = sizeof(batch),
        .entries_count = 2,
    };

    for (uint32_t i = 0; i < 2; i++) {
        (void)put_record(image->data + at + batch.bytes, image->next_lsn++);
        make_reference(image->data + at + batch.bytes);
        batch.bytes += (uint32_t)journal_entry_bytes(0);
    }
    journal_batch_encode(&batch);
    memcpy(image->data + at, &batch, sizeof(batch));
    image->end = (size_t)pawl_align_up(at + batch.bytes, DISK_BLOCK_BYTES_MIN);
}

static void put_batch(struct image *image, uint64_t generation, uint32_t entries_count)
{
    size_t at = image->end;
    struct disk_batch batch = {
        .store_id = STORE_ID,
        .generation = generation,
        .first_lsn = image->next_lsn,
        .oldest_generation = 3,
        .bytes = sizeof(batch),
        .entries_count = entries_count,
    };

    for (uint32_t i = 0; i < entries_count; i++) {
        batch.bytes += (uint32_t)put_record(image->data + at + batch.bytes, image->next_lsn++);
    }
    journal_batch_encode(&batch);
    memcpy(image->data + at, &batch, sizeof(batch));
    image->batch_at[image->batches_count++] = at;
    image->end = (size_t)pawl_align_up(at + batch.bytes, DISK_BLOCK_BYTES_MIN);
}

static int setup(void **state)
{
    struct image *image = calloc(1, sizeof(*image));

    image->data = calloc(1, SEGMENT_BYTES);
    image->end = DISK_PAGE_BYTES;
    image->next_lsn = 100;
    put_batch(image, GENERATION, 3); // 100 to 102
    put_batch(image, GENERATION, 2); // 103, 104
    put_batch(image, GENERATION, 4); // 105 to 108
    *state = image;
    return 0;
}

static int teardown(void **state)
{
    struct image *image = *state;

    free(image->data);
    free(image);
    return 0;
}

static int image_visit(void *user, const struct disk_entry *entry, size_t payload_at, bool intact)
{
    struct image *image = user;

    assert_true(payload_at + journal_entry_payload_bytes(entry) <= SEGMENT_BYTES);
    assert_int_equal(entry->argument, entry->lsn);
    image->seen[image->seen_count++] = entry->lsn;
    image->rotten_count += !intact;
    return 0;
}

static void image_lost(void *user, uint64_t from_lsn, uint64_t to_lsn, size_t offset)
{
    struct image *image = user;

    assert_true(from_lsn < to_lsn && offset <= SEGMENT_BYTES);
    if (image->lost_count++ == 0) {
        image->lost_from = from_lsn;
    }
    image->lost_to = to_lsn;
}

static int image_is_there(void *user, const struct disk_entry *entry, size_t payload_at)
{
    struct image *image = user;

    assert_true(entry->type == DISK_ENTRY_REFERENCE || entry->type == DISK_ENTRY_RUN_REFERENCE);
    assert_true(payload_at > DISK_PAGE_BYTES && payload_at < image->end);
    image->looked_count++;
    return entry->lsn == image->missing ? image->missing_code : 1;
}

static struct journal_scan image_scan_of(struct image *image, uint64_t end_lsn)
{
    return (struct journal_scan){
        .data = image->data,
        .bytes = SEGMENT_BYTES,
        .store_id = STORE_ID,
        .generation = GENERATION,
        .next_lsn = 100,
        .end_lsn = end_lsn,
        .user = image,
        .visit = image_visit,
        .is_there = image_is_there,
        .lost = image_lost,
    };
}

static struct journal_scan image_scan(struct image *image, uint64_t end_lsn)
{
    struct journal_scan scan = image_scan_of(image, end_lsn);

    image->seen_count = image->rotten_count = image->lost_count = 0;
    assert_int_equal(journal_scan(&scan), 0);
    for (uint32_t i = 1; i < image->seen_count; i++) {
        assert_true(image->seen[i] > image->seen[i - 1]);
    }
    return scan;
}

static void test_scan_when_whole_then_visits_all_in_order(void **state)
{
    struct image *image = *state;
    struct journal_scan scan = image_scan(image, 0);

    assert_int_equal(image->seen_count, 9);
    assert_int_equal(scan.next_lsn, 109);
    assert_int_equal(scan.oldest_generation, 3);
    assert_int_equal(image->lost_count + image->rotten_count + scan.torn_bytes, 0);
    scan = image_scan(image, 109);
    assert_int_equal(image->seen_count, 9);
    assert_int_equal(image->lost_count, 0);
}

// Every length that the last batch may have reached, and each of its blocks missing alone.
static void test_scan_when_last_batch_is_torn_then_cuts_there_and_loses_nothing(void **state)
{
    struct image *image = *state;
    size_t at = image->batch_at[2];
    size_t bytes = image->end - at;
    uint8_t *saved = malloc(bytes);

    memcpy(saved, image->data + at, bytes);
    for (size_t keep = 0; keep < bytes; keep += DISK_BLOCK_BYTES_MIN) {
        memset(image->data + at + keep, 0, bytes - keep);
        struct journal_scan scan = image_scan(image, 0);
        assert_true(image->seen_count >= 5 && image->seen_count < 9);
        assert_int_equal(scan.next_lsn, 100 + image->seen_count);
        assert_int_equal(image->lost_count + image->rotten_count, 0);

        memcpy(image->data + at, saved, bytes);
        memset(image->data + at + keep, 0, DISK_BLOCK_BYTES_MIN);
        scan = image_scan(image, 0);
        assert_true(image->seen_count >= 5 && image->seen_count < 9);
        assert_int_equal(image->lost_count + image->rotten_count, 0);
        memcpy(image->data + at, saved, bytes);
    }
    free(saved);
}

// What a later segment says about the end is believed: the cut tail stays cut, also when it looks whole.
static void test_scan_when_next_segment_begins_earlier_then_stops_there(void **state)
{
    struct image *image = *state;
    struct journal_scan scan = image_scan(image, 106);

    assert_int_equal(image->seen_count, 6);
    assert_int_equal(scan.next_lsn, 106);
    assert_int_equal(image->lost_count, 0);
}

static void test_scan_when_a_payload_rots_then_record_is_kept(void **state)
{
    struct image *image = *state;

    image->data[image->batch_at[1] + sizeof(struct disk_batch) + sizeof(struct disk_entry) + 9] ^=
        1;
    image_scan(image, 0);
    assert_int_equal(image->seen_count, 9);
    assert_int_equal(image->rotten_count, 1);
    assert_int_equal(image->lost_count, 0);
}

// The last batch is torn, or rotten? An empty batch behind it tells.
static void test_scan_when_last_batch_is_confirmed_then_damage_in_it_is_rot(void **state)
{
    struct image *image = *state;
    size_t entry_at = image->batch_at[2] + sizeof(struct disk_batch);

    put_batch(image, GENERATION, 0);
    image->data[entry_at + sizeof(struct disk_entry) + 9] ^= 1;
    struct journal_scan scan = image_scan(image, 0);
    assert_int_equal(image->seen_count, 9);
    assert_int_equal(image->rotten_count, 1);
    assert_int_equal(scan.next_lsn, 109);
}

static void test_scan_when_an_entry_header_rots_then_tells_what_is_lost(void **state)
{
    struct image *image = *state;
    size_t bytes = journal_entry_bytes(PAYLOAD_BYTES);

    image->data[image->batch_at[0] + sizeof(struct disk_batch) + bytes + 30] ^= 1;
    image_scan(image, 0);
    assert_int_equal(image->seen_count, 8);
    assert_int_equal(image->lost_count, 1);
    assert_int_equal(image->lost_from, 101);
    assert_int_equal(image->lost_to, 102);
}

static void test_scan_when_a_batch_header_rots_then_tells_what_is_lost(void **state)
{
    struct image *image = *state;

    image->data[image->batch_at[1] + 20] ^= 1;
    image_scan(image, 0);
    assert_int_equal(image->seen_count, 7);
    assert_int_equal(image->lost_count, 1);
    assert_int_equal(image->lost_from, 103);
    assert_int_equal(image->lost_to, 105);
}

static void test_scan_when_the_end_is_missing_then_tells_what_is_lost(void **state)
{
    struct image *image = *state;

    memset(image->data + image->batch_at[1], 0, image->end - image->batch_at[1]);
    struct journal_scan scan = image_scan(image, 109);
    assert_int_equal(image->seen_count, 3);
    assert_int_equal(image->lost_from, 103);
    assert_int_equal(image->lost_to, 109);
    assert_int_equal(scan.next_lsn, 109);
}

static void test_scan_when_batches_are_of_another_use_then_ignores_them(void **state)
{
    struct image *image = *state;
    struct journal_scan scan;

    put_batch(image, GENERATION - 1, 2); // stale: of the segment's use before
    scan = image_scan(image, 0);
    assert_int_equal(image->seen_count, 9);
    assert_int_equal(scan.next_lsn, 109);
    scan.store_id = STORE_ID + 1;
    scan.next_lsn = 100;
    image->seen_count = 0;
    assert_int_equal(journal_scan(&scan), 0);
    assert_int_equal(image->seen_count, 0);
}

static void test_entry_decode_when_any_header_bit_flips_then_refuses(void **state)
{
    struct image *image = *state;
    uint8_t *at = image->data + image->batch_at[0] + sizeof(struct disk_batch);
    size_t bytes = journal_entry_bytes(PAYLOAD_BYTES);
    struct disk_entry entry;

    assert_int_equal(journal_entry_decode(at, bytes, &entry), 0);
    for (size_t bit = 0; bit < 8 * sizeof(entry); bit++) {
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(journal_entry_decode(at, bytes, &entry), -EBADMSG);
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    at[sizeof(entry) + 5] ^= 1;
    assert_int_equal(journal_entry_decode(at, bytes, &entry), PAWL_ECORRUPT);
    at[sizeof(entry) + 5] ^= 1;
    assert_int_equal(journal_entry_decode(at, bytes - 1, &entry), -EBADMSG);
    assert_int_equal(journal_entry_decode(at, sizeof(entry) - 1, &entry), -EBADMSG);
}

// Headers that are sound by their checksum, but say what can't be.
static void test_entry_decode_when_header_makes_no_sense_then_refuses(void **state)
{
    struct image *image = *state;
    uint8_t *at = image->data + image->batch_at[0] + sizeof(struct disk_batch);
    struct disk_entry good, bad, ret;

    memcpy(&good, at, sizeof(good));
    for (int i = 0; i < 5; i++) {
        bad = good;
        switch (i) {
        case 0:
            bad.type = DISK_ENTRY_TYPES;
            break;
        case 1:
            bad.bytes -= 8;
            break;
        case 2:
            bad.record.length += 8;
            break;
        case 3:
            bad.argument = DISK_RECORDS_MAX;
            break;
        default:
            bad.type = DISK_ENTRY_PROMISE; // no payload, but the bytes of one
            break;
        }
        journal_entry_encode(&bad);
        memcpy(at, &bad, sizeof(bad));
        assert_int_equal(journal_entry_decode(at, good.bytes, &ret), -EBADMSG);
    }
}

struct run {
    struct disk_entry entry;
    struct disk_run_row rows[3];
    uint8_t payload[64]; // 20 + 1 + 30 bytes and padding
};

static struct run run_make(void)
{
    static const uint32_t lengths[] = {20, 1, 30};
    struct run run = {
        .entry = {.type = DISK_ENTRY_RUN,
                  .bytes = (uint32_t)journal_entry_bytes(sizeof(run.rows) + 51),
                  .lsn = 7,
                  .argument = 4,
                  .record = {.length = sizeof(run.rows) + 51, .place = 3}},
    };
    size_t at = 0;

    for (uint32_t i = 0; i < 3; i++) {
        memset(run.payload + at, (int)i + 1, lengths[i]);
        run.rows[i] = (struct disk_run_row){.length = lengths[i],
                                            .crc = pawl_crc32c(0, run.payload + at, lengths[i])};
        at += lengths[i];
    }
    return run;
}

// With checksums that fit what it says.
static int run_decode(struct run *run)
{
    struct disk_entry ret;

    run->entry.record.crc = pawl_crc32c(0, run->rows, sizeof(run->rows));
    journal_entry_encode(&run->entry);
    return journal_entry_decode(run, sizeof(*run), &ret);
}

static void test_entry_decode_when_it_is_a_run_then_checks_rows_and_payloads(void **state)
{
    (void)state;
    struct run run = run_make();
    struct disk_entry ret;

    assert_int_equal(run_decode(&run), 0);
    for (size_t bit = 0; bit < 8 * sizeof(run.rows); bit++) {
        uint8_t *rows = (uint8_t *)run.rows;
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(journal_entry_decode(&run, sizeof(run), &ret), -EBADMSG);
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t at = 0; at < 51; at++) {
        run.payload[at] ^= 1;
        assert_int_equal(journal_entry_decode(&run, sizeof(run), &ret), PAWL_ECORRUPT);
        assert_int_equal(journal_run_count(&ret), 3);
        run.payload[at] ^= 1;
    }
    assert_int_equal(journal_entry_decode(&run, run.entry.bytes - 1, &ret), -EBADMSG);
}

static void test_entry_decode_when_a_run_makes_no_sense_then_refuses(void **state)
{
    (void)state;
    struct run run;

    for (int i = 0; i < 9; i++) {
        run = run_make();
        switch (i) {
        case 0:
            run.entry.record.place = 1;
            break;
        case 1:
            run.entry.record.place = DISK_RUN_MAX + 1;
            break;
        case 2:
            run.entry.record.place = UINT64_MAX;
            break;
        case 3:
            run.entry.argument = DISK_RECORDS_MAX - 2;
            break;
        case 4:
            run.entry.argument = UINT64_MAX - 1;
            break;
        case 5:
            run.rows[1].length = 0;
            break;
        case 6:
            run.rows[2].length = 29; // less than what is there
            break;
        case 7:
            run.rows[0].length = UINT32_MAX;
            break;
        default:
            run.entry.record.length = sizeof(run.rows) - 8;
            run.entry.bytes = (uint32_t)journal_entry_bytes(sizeof(run.rows) - 8);
            break;
        }
        assert_int_equal(run_decode(&run), -EBADMSG);
    }
}

// The same without payloads, which are in the chunk file.
static struct run run_make_reference(void)
{
    struct run run = run_make();

    run.entry.type = DISK_ENTRY_RUN_REFERENCE;
    run.entry.bytes = (uint32_t)journal_entry_bytes(sizeof(run.rows));
    run.entry.record.length = sizeof(run.rows);
    run.entry.record.place = 3 * DISK_PAGE_BYTES;
    memset(run.payload, 0, sizeof(run.payload));
    return run;
}

static void test_entry_decode_when_a_run_refers_then_checks_rows(void **state)
{
    struct run run = run_make_reference();
    struct disk_entry ret;

    (void)state;
    assert_int_equal(run_decode(&run), 0);
    assert_int_equal(journal_entry_decode(&run, run.entry.bytes, &ret), 0);
    assert_int_equal(journal_run_count(&ret), 3);
    assert_int_equal(journal_entry_payload_bytes(&ret), sizeof(run.rows));
    for (size_t bit = 0; bit < 8 * sizeof(run.rows); bit++) {
        uint8_t *rows = (uint8_t *)run.rows;
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(journal_entry_decode(&run, sizeof(run), &ret), -EBADMSG);
        rows[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(journal_entry_decode(&run, run.entry.bytes - 1, &ret), -EBADMSG);
}

static void test_entry_decode_when_a_run_that_refers_makes_no_sense_then_refuses(void **state)
{
    struct run run;

    (void)state;
    for (int what = 0; what < 6; what++) {
        run = run_make_reference();
        switch (what) {
        case 0:
            run.entry.record.length = sizeof(run.rows[0]);
            run.entry.bytes = (uint32_t)journal_entry_bytes(sizeof(run.rows[0]));
            break;
        case 1:
            run.entry.record.length = sizeof(run.rows) - 1; // no whole number of rows
            break;
        case 2:
            run.entry.argument = DISK_RECORDS_MAX - 2;
            break;
        case 3:
            run.entry.argument = UINT64_MAX - 1;
            break;
        case 4:
            run.rows[1].length = 0;
            break;
        default:
            run.rows[0].length = UINT32_MAX; // more than a chunk's record may have
            break;
        }
        assert_int_equal(run_decode(&run), -EBADMSG);
    }
    // More rows than a run may have.
    struct {
        struct disk_entry entry;
        struct disk_run_row rows[DISK_RUN_MAX + 1];
    } long_run = {.entry = run_make_reference().entry};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(long_run.rows); i++) {
        long_run.rows[i].length = 1;
    }
    for (uint32_t count = DISK_RUN_MAX; count <= DISK_RUN_MAX + 1; count++) {
        struct disk_entry ret;
        size_t bytes = count * sizeof(long_run.rows[0]);
        long_run.entry.bytes = (uint32_t)journal_entry_bytes(bytes);
        long_run.entry.record.length = (uint32_t)bytes;
        long_run.entry.record.crc = pawl_crc32c(0, long_run.rows, bytes);
        journal_entry_encode(&long_run.entry);
        assert_int_equal(journal_entry_decode(&long_run, sizeof(long_run), &ret),
                         count <= DISK_RUN_MAX ? 0 : -EBADMSG);
    }
}

static void
test_scan_when_the_last_batch_covers_payloads_then_it_ends_at_a_missing_one(void **state)
{
    struct image *image = *state;
    struct journal_scan scan;

    put_references(image, DISK_BATCH_COVERS); // 109 and 110, not the last
    put_references(image, DISK_BATCH_COVERS); // 111, 112
    scan = image_scan(image, 0);
    assert_int_equal(image->seen_count, 13);
    assert_int_equal(image->looked_count, 2); // of the last batch alone
    assert_int_equal(scan.torn_bytes, 0);
    image->missing = 112;
    image->seen_count = 0;
    scan = image_scan(image, 0);
    assert_int_equal(image->seen_count, 12);
    assert_int_equal(scan.next_lsn, 112);
    assert_int_equal(scan.torn_bytes, journal_entry_bytes(0));
    image->missing = 109;
    image->seen_count = 0;
    (void)image_scan(image, 0);
    assert_int_equal(image->seen_count, 13);
    assert_int_equal(image->lost_count, 0);
}

static void test_scan_when_the_last_batch_covers_a_run_then_looks_at_it(void **state)
{
    struct image *image = *state;
    struct run run = run_make_reference();
    size_t at = image->end;
    struct disk_batch batch = {
        .features = DISK_BATCH_GROUPS | DISK_BATCH_COVERS,
        .store_id = STORE_ID,
        .generation = GENERATION,
        .first_lsn = image->next_lsn,
        .oldest_generation = 3,
        .bytes = (uint32_t)(sizeof(batch) + run.entry.bytes),
        .entries_count = 1,
    };

    run.entry.lsn = run.entry.argument = image->next_lsn;
    assert_int_equal(run_decode(&run), 0);
    journal_batch_encode(&batch);
    memcpy(image->data + at, &batch, sizeof(batch));
    memcpy(image->data + at + sizeof(batch), &run, run.entry.bytes);
    image->end = at + batch.bytes;
    (void)image_scan(image, 0);
    assert_int_equal(image->seen_count, 10);
    assert_int_equal(image->looked_count, 1);
    image->missing = batch.first_lsn;
    struct journal_scan scan = image_scan(image, 0);
    assert_int_equal(image->seen_count, 9);
    assert_int_equal(scan.next_lsn, batch.first_lsn);
}

static void test_scan_when_a_payload_can_not_be_looked_at_then_says_why(void **state)
{
    struct image *image = *state;

    put_references(image, DISK_BATCH_COVERS);
    image->missing = 110;
    image->missing_code = -EMFILE;
    struct journal_scan scan = image_scan_of(image, 0);
    assert_int_equal(journal_scan(&scan), -EMFILE);
}

// Their payloads were durable before.
static void test_scan_when_the_last_batch_only_refers_then_payloads_are_not_looked_at(void **state)
{
    struct image *image = *state;

    put_references(image, 0);
    image->missing = 110;
    (void)image_scan(image, 0);
    assert_int_equal(image->seen_count, 11);
    assert_int_equal(image->looked_count, 0);
}

// To pass it over would be to lose what it says, quietly if it is the last.
static void test_scan_when_a_batch_needs_what_is_not_known_then_refuses_the_segment(void **state)
{
    struct image *image = *state;

    put_references(image, DISK_BATCH_FEATURES + 1);
    struct journal_scan scan = image_scan_of(image, 0);
    assert_int_equal(journal_scan(&scan), PAWL_EFORMAT);
    assert_int_equal(image->seen_count, 9); // what stands before it
    scan.store_id++;
    scan.next_lsn = 100;
    assert_int_equal(journal_scan(&scan), 0); // it is not ours
}

static void test_batch_decode_when_it_needs_what_is_not_known_then_says_so(void **state)
{
    (void)state;
    struct disk_batch batch = {
        .features = DISK_BATCH_FEATURES, .first_lsn = 1, .bytes = sizeof(batch)};
    struct disk_batch ret;

    journal_batch_encode(&batch);
    assert_int_equal(journal_batch_decode(&batch, sizeof(batch), &ret), 0);
    batch.features = DISK_BATCH_FEATURES + 1;
    journal_batch_encode(&batch);
    assert_int_equal(journal_batch_decode(&batch, sizeof(batch), &ret), PAWL_EFORMAT);
}

static void test_segment_decode_when_bad_or_newer_then_says_which(void **state)
{
    (void)state;
    uint8_t page[DISK_PAGE_BYTES] = {0};
    struct disk_segment segment = {
        .store_id = STORE_ID, .generation = 1, .first_lsn = 1, .bytes = SEGMENT_BYTES};
    struct disk_segment ret;

    assert_int_equal(journal_segment_decode(page, sizeof(page), &ret), -EBADMSG);
    journal_segment_encode(&segment);
    memcpy(page, &segment, sizeof(segment));
    assert_int_equal(journal_segment_decode(page, sizeof(page), &ret), 0);
    assert_memory_equal(&ret, &segment, sizeof(ret));
    page[30] ^= 1;
    assert_int_equal(journal_segment_decode(page, sizeof(page), &ret), -EBADMSG);
    assert_int_equal(journal_segment_decode(page, sizeof(segment) - 1, &ret), -EBADMSG);
    segment.format = DISK_FORMAT + 1;
    segment.crc = 0;
    segment.crc = pawl_crc32c(0, &segment, sizeof(segment));
    assert_int_equal(journal_segment_decode(&segment, sizeof(segment), &ret), PAWL_EFORMAT);
}

#define IMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IMAGE_TEST(test_scan_when_whole_then_visits_all_in_order),
        IMAGE_TEST(test_scan_when_last_batch_is_torn_then_cuts_there_and_loses_nothing),
        IMAGE_TEST(test_scan_when_next_segment_begins_earlier_then_stops_there),
        IMAGE_TEST(test_scan_when_a_payload_rots_then_record_is_kept),
        IMAGE_TEST(test_scan_when_last_batch_is_confirmed_then_damage_in_it_is_rot),
        IMAGE_TEST(test_scan_when_an_entry_header_rots_then_tells_what_is_lost),
        IMAGE_TEST(test_scan_when_a_batch_header_rots_then_tells_what_is_lost),
        IMAGE_TEST(test_scan_when_the_end_is_missing_then_tells_what_is_lost),
        IMAGE_TEST(test_scan_when_batches_are_of_another_use_then_ignores_them),
        IMAGE_TEST(test_scan_when_the_last_batch_covers_a_run_then_looks_at_it),
        IMAGE_TEST(test_scan_when_the_last_batch_covers_payloads_then_it_ends_at_a_missing_one),
        IMAGE_TEST(test_scan_when_a_payload_can_not_be_looked_at_then_says_why),
        IMAGE_TEST(test_scan_when_the_last_batch_only_refers_then_payloads_are_not_looked_at),
        IMAGE_TEST(test_scan_when_a_batch_needs_what_is_not_known_then_refuses_the_segment),
        IMAGE_TEST(test_entry_decode_when_any_header_bit_flips_then_refuses),
        IMAGE_TEST(test_entry_decode_when_header_makes_no_sense_then_refuses),
        cmocka_unit_test(test_entry_decode_when_it_is_a_run_then_checks_rows_and_payloads),
        cmocka_unit_test(test_entry_decode_when_a_run_refers_then_checks_rows),
        cmocka_unit_test(test_entry_decode_when_a_run_that_refers_makes_no_sense_then_refuses),
        cmocka_unit_test(test_entry_decode_when_a_run_makes_no_sense_then_refuses),
        cmocka_unit_test(test_batch_decode_when_it_needs_what_is_not_known_then_says_so),
        cmocka_unit_test(test_segment_decode_when_bad_or_newer_then_says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
