// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/recovery.c and replay.c: what a crash or bad bytes leave behind.
#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/journal_entry.h"

#define SEGMENT_BYTES (64u << 10)

// Offset of the last sound batch in a segment.
static size_t last_batch(const uint8_t *data, size_t bytes, struct disk_batch *ret)
{
    size_t last = 0;

    for (size_t at = DISK_PAGE_BYTES; at < bytes; at += DISK_BLOCK_BYTES_MIN) {
        if (journal_batch_decode(data + at, bytes - at, ret) == 0) {
            last = at;
        }
    }
    assert_true(last != 0);
    assert_int_equal(journal_batch_decode(data + last, bytes - last, ret), 0);
    return last;
}

static void test_recovery_when_last_batch_is_torn_then_cuts_it_and_goes_on(void **state)
{
    struct fixture *f = *state;
    char path[128];
    size_t bytes;
    struct disk_batch batch;

    fixture_open_small(f);
    fixture_fill(f, 3, 6);
    fixture_crash(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    uint8_t *data = fixture_slurp(path, &bytes);
    size_t at = last_batch(data, bytes, &batch);
    assert_int_equal(batch.entries_count, 6);
    uint64_t least = 9;
    for (size_t keep = 0; keep < batch.bytes; keep += DISK_BLOCK_BYTES_MIN) {
        static const uint8_t zeros[8192];
        fixture_write(path, 0, data, bytes);
        fixture_write(path, at + keep, zeros, batch.bytes - keep);
        char other[128]; // the second segment as it was: never used
        fixture_path(f, "journal/01", other, sizeof(other));
        unlink(other);
        fixture_open(f);
        struct fixture_chunk found = fixture_find(f, 1);
        assert_false(found.chunk.damaged);
        uint64_t count = fixture_check_chunk(f, 1);
        assert_true(count >= 3 && count < 9);
        least = count < least ? count : least;
        fixture_append(f, 1, 900); // other bytes than what was cut
        fixture_reopen(f);
        assert_int_equal(fixture_check_chunk(f, 1), count + 1);
        found = fixture_find(f, 1);
        assert_int_equal(store_chunk_record(&found.chunk, count).length, 900);
        fixture_close(f);
    }
    assert_int_equal(least, 3);
    free(data);
}

static const uint32_t run_lengths[] = {700, 1, 900, 33, 2000};
enum { RUN_COUNT = 5 };

// Three records, then a run of five; closed.
static void run_fill(struct fixture *f)
{
    void *payload;

    fixture_open_small(f);
    fixture_fill(f, 3, 0);
    uint64_t token = fixture_run_start(f, 1, run_lengths, RUN_COUNT, &payload);
    assert_int_equal(fixture_wait(f, token), 0);
    free(payload);
}

// The last entry of that type, and where it is.
static uint64_t entry_of(const char *path, enum disk_entry_type type, struct disk_entry *ret)
{
    size_t bytes;
    uint8_t *data = fixture_slurp(path, &bytes);
    uint64_t found = UINT64_MAX;

    for (size_t at = DISK_PAGE_BYTES; at + sizeof(*ret) <= bytes; at += 8) {
        struct disk_entry entry;
        if (journal_entry_decode(data + at, bytes - at, &entry) == 0 && entry.type == type) {
            *ret = entry;
            found = at;
        }
    }
    free(data);
    assert_true(found != UINT64_MAX);
    return found;
}

static uint64_t run_entry(const char *path, struct disk_entry *ret)
{
    uint64_t at = entry_of(path, DISK_ENTRY_RUN, ret);

    assert_int_equal(journal_run_count(ret), RUN_COUNT);
    return at;
}

// What nobody was told of goes as a whole.
static void test_recovery_when_a_run_is_torn_then_cuts_all_of_it(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct disk_entry entry;

    run_fill(f);
    fixture_crash(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    uint64_t at = run_entry(path, &entry);
    fixture_flip(path, at + entry.bytes - 100); // in its last payload
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, 1), 3);
    assert_false(fixture_find(f, 1).chunk.damaged);
    fixture_append(f, 1, 50);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 4);
}

static void test_recovery_when_a_payload_of_a_run_rots_then_only_that_record_is_bad(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct disk_entry entry;

    run_fill(f);
    fixture_close(f); // confirms the run: it was acknowledged
    fixture_path(f, "journal/00", path, sizeof(path));
    uint64_t at = run_entry(path, &entry) + sizeof(entry) + RUN_COUNT * sizeof(struct disk_run_row);
    for (uint64_t i = 0; i < RUN_COUNT; i++) {
        fixture_flip(path, at);
        fixture_open(f);
        assert_int_equal(fixture_find(f, 1).chunk.records_count, 3 + RUN_COUNT);
        assert_false(fixture_find(f, 1).chunk.damaged);
        for (uint64_t k = 0; k < 3 + RUN_COUNT; k++) {
            assert_int_equal(fixture_read_record(f, 1, k), k == 3 + i ? PAWL_ECORRUPT : 0);
        }
        fixture_close(f);
        fixture_flip(path, at);
        at += run_lengths[i];
    }
}

static void test_recovery_when_a_row_of_a_run_rots_then_the_chunk_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[128];
    struct disk_entry entry;

    run_fill(f);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    fixture_flip(path, run_entry(path, &entry) + sizeof(entry) + sizeof(struct disk_run_row));
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 3);
}

static void
test_recovery_when_a_payload_in_the_journal_rots_then_only_that_record_is_bad(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 3, 3);
    fixture_close(f); // confirms the last batch: all of it was acknowledged
    fixture_path(f, "journal/00", path, sizeof(path));
    for (uint64_t i = 0; i < 6; i++) {
        void *payload = fixture_payload(1, i, 700);
        uint64_t at = fixture_search(path, payload, 700, 0);
        free(payload);
        assert_true(at != UINT64_MAX);
        fixture_flip(path, at + 300);
        fixture_open(f);
        assert_int_equal(fixture_find(f, 1).chunk.records_count, 6);
        assert_false(fixture_find(f, 1).chunk.damaged);
        for (uint64_t k = 0; k < 6; k++) {
            assert_int_equal(fixture_read_record(f, 1, k), k == i ? PAWL_ECORRUPT : 0);
        }
        fixture_close(f);
        fixture_flip(path, at + 300);
    }
}

static void test_recovery_when_an_entry_rots_then_open_chunks_are_damaged_for_good(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_create(f, 2, 1);
    fixture_append(f, 2, 100);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_seal(f->store, 2, 1, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_fill(f, 4, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    void *payload = fixture_payload(1, 2, 700);
    uint64_t at = fixture_search(path, payload, 700, 0);
    free(payload);
    fixture_flip(path, at - 20); // in the header before it
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 2);
    assert_false(fixture_find(f, 2).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
    struct pawl_record record = fixture_record(1400, 1, 2, 700);
    assert_int_equal(store_append(f->store, 1, 2, &record, f->buffer, 0, 1), PAWL_EDAMAGED);
    // New chunks aren't touched by it, now or later.
    fixture_create(f, 3, 1);
    fixture_append(f, 3, 100);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_false(fixture_find(f, 3).chunk.damaged);
    // Nor when the bad segment has been used anew.
    for (int i = 0; i < 100; i++) {
        fixture_append(f, 3, 1500);
    }
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_false(fixture_find(f, 3).chunk.damaged);
    assert_false(fixture_find(f, 2).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 3), 101);
}

// A run of one or two records of version 2, behind two of version 1; the second has one byte.
static void append_two(struct fixture *f, uint32_t length, uint32_t count)
{
    struct pawl_record record = fixture_record(1400, 1, 2, length);
    uint8_t *payload = fixture_payload(1, 2, length);
    uint64_t token = fixture_token(f);

    record.version = 2;
    payload[length] = 7;
    struct wire_run_row rows[2] = {{.length = length},
                                   {.length = 1, .crc = pawl_crc32c(0, payload + length, 1)}};
    assert_int_equal(store_append_run(f->store, 1, 2, &record, rows, count, payload, 0, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    free(payload);
}

// The segment with the promise is free already: a footer had it, which rots.
static void test_recovery_when_a_footer_rots_then_records_tell_the_version(void **state)
{
    struct fixture *f = *state;
    char path[192];
    struct stat file;
    struct disk_footer footers[2];

    fixture_open_small(f);
    fixture_fill(f, 2, 0);
    fixture_create(f, 2, 1);
    fixture_go_round(f);
    fixture_promise_two(f);
    fixture_go_round(f);
    append_two(f, 100, 1);
    fixture_close(f);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    assert_int_equal(stat(path, &file), 0);
    uint64_t place = (uint64_t)file.st_size - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;
    for (unsigned i = 0; i < 2; i++) {
        fixture_peek(path, place + i * (uint64_t)DISK_FOOTER_PLACE_BYTES, &footers[i],
                     sizeof(footers[i]));
    }
    unsigned newest = footers[1].sequence > footers[0].sequence;
    assert_int_equal(footers[newest].version, 2);
    assert_int_equal(footers[!newest].version, 1);
    fixture_flip(path, place + newest * (uint64_t)DISK_FOOTER_PLACE_BYTES + DISK_PAGE_BYTES + 10);
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_find(f, 1).chunk.version, 2);
    assert_int_equal(fixture_find(f, 1).chunk.records_count, 3);
}

static void test_recovery_when_a_promise_rots_then_its_records_tell_the_version(void **state)
{
    static const uint32_t lengths[] = {100, 100000};
    struct fixture *f = *state;

    for (int kind = 0; kind < 3; kind++) {
        char path[128];
        struct disk_entry entry;
        fixture_open_small(f);
        fixture_fill(f, 2, 0);
        fixture_promise_two(f);
        append_two(f, lengths[kind == 1], kind == 2 ? 2 : 1);
        fixture_close(f);
        fixture_path(f, "journal/00", path, sizeof(path));
        fixture_flip(path, entry_of(path, DISK_ENTRY_PROMISE, &entry) + 40);
        fixture_open(f);
        assert_true(fixture_find(f, 1).chunk.damaged);
        assert_int_equal(fixture_find(f, 1).chunk.version, 2);
        assert_int_equal(fixture_find(f, 1).chunk.records_count, kind == 2 ? 4 : 3);
        fixture_close(f);
        fixture_remove_tree(f->dir);
    }
    fixture_open(f);
}

static void test_recovery_when_a_batch_header_rots_then_open_chunks_are_damaged(void **state)
{
    struct fixture *f = *state;
    char path[128];
    uint32_t magic = DISK_BATCH_MAGIC;

    fixture_open_small(f);
    fixture_fill(f, 4, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    uint64_t at = fixture_search(path, &magic, sizeof(magic), DISK_PAGE_BYTES);
    at = fixture_search(path, &magic, sizeof(magic), at + 1);
    at = fixture_search(path, &magic, sizeof(magic), at + 1); // the second append's
    fixture_flip(path, at + 20);
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
}

static void test_recovery_when_a_segment_header_rots_then_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 5, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    fixture_flip(path, offsetof(struct disk_segment, generation));
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, 1), 6);
    assert_false(fixture_find(f, 1).chunk.damaged);
    fixture_append(f, 1, 10);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 7);
}

static void test_recovery_when_a_needed_segment_is_missing_then_refuses(void **state)
{
    struct fixture *f = *state;
    char path[128];

    f->options.journal_segments_count = 4;
    fixture_open_small(f);
    fixture_fill(f, 5, 1);
    fixture_reopen(f); // the next entry begins a new segment
    fixture_append(f, 1, 10);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(store_open(&f->options, &f->store), PAWL_EFORMAT);
    f->store = NULL;
}

static void test_recovery_when_a_segment_is_truncated_then_refuses(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 5, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    assert_int_equal(truncate(path, 8192), 0);
    assert_int_equal(store_open(&f->options, &f->store), PAWL_EFORMAT);
    f->store = NULL;
}

// A large record on its way, a small one behind it that is durable already: a crash leaves a hole. One
// request a poll makes the moment certain.
static void test_recovery_when_there_is_a_hole_then_cuts_there_and_goes_on(void **state)
{
    struct fixture *f = *state;
    void *large, *small;

    f->options.no_uring = true;
    fixture_open_small(f);
    fixture_fill(f, 2, 0);
    uint64_t large_token = fixture_append_start(f, 1, 2, 1400, 200000, &large);
    uint64_t small_token = fixture_append_start(f, 1, 3, 201400, 700, &small);
    assert_int_equal(fixture_wait(f, small_token), 0);
    assert_int_equal(f->status[large_token], FIXTURE_PENDING);
    assert_int_equal(fixture_find(f, 1).chunk.records_count, 2);
    fixture_crash(f);
    free(large);
    free(small);
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, 1), 2);
    assert_false(fixture_find(f, 1).chunk.damaged);
    // What is appended now is another record 2 and 3; the old ones must not come back.
    fixture_append(f, 1, 111);
    fixture_append(f, 1, 222);
    for (int round = 0; round < 2; round++) {
        struct fixture_chunk found = fixture_find(f, 1);
        assert_int_equal(fixture_check_chunk(f, 1), 4);
        assert_int_equal(store_chunk_record(&found.chunk, 2).length, 111);
        assert_int_equal(store_chunk_record(&found.chunk, 3).length, 222);
        fixture_reopen(f);
    }
}

// The cut itself is durable: the old record 3 stays away even if only record 2 is written again.
static void test_recovery_when_a_hole_is_filled_again_then_old_records_stay_away(void **state)
{
    struct fixture *f = *state;
    void *large, *small;

    f->options.no_uring = true;
    f->options.journal_segments_count = 4; // nothing is written back: the journal alone has to tell
    fixture_open_small(f);
    fixture_fill(f, 2, 0);
    fixture_append_start(f, 1, 2, 1400, 200000, &large);
    uint64_t small_token = fixture_append_start(f, 1, 3, 201400, 700, &small);
    assert_int_equal(fixture_wait(f, small_token), 0);
    fixture_crash(f);
    free(large);
    free(small);
    fixture_open(f);
    fixture_append(f, 1, 200000);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 3);
}

static void test_recovery_when_a_chunk_file_was_never_used_then_is_removed(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open(f);
    fixture_close(f);
    fixture_path(f, "chunks/00000000000000aa.0000000000000bbb", path, sizeof(path));
    fclose(fopen(path, "w"));
    fixture_path(f, "chunks/README", path, sizeof(path));
    fclose(fopen(path, "w"));
    fixture_open(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 1); // no file of ours: left alone
    assert_false(fixture_find(f, 0xaa).found);
}

// A crash came between the making of a chunk's file and its size, which tells where the footers are.
static void test_recovery_when_a_chunk_file_has_no_size_then_gets_it(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 5, 0);
    fixture_close(f);
    fixture_path(f, "chunks/0000000000000001.0000000000000001", path, sizeof(path));
    fclose(fopen(path, "w"));
    fixture_open(f);
    fixture_create(f, 2, 1);
    for (int i = 0; i < 30; i++) { // the journal goes round: only footers know chunk 1
        fixture_append(f, 2, 16000);
    }
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 5);
    assert_false(fixture_find(f, 1).chunk.damaged);
}

static void test_recovery_when_a_chunk_file_is_truncated_then_is_put_aside(void **state)
{
    struct fixture *f = *state;
    char path[192];

    fixture_open_small(f);
    fixture_fill(f, 5, 0);
    fixture_create(f, 2, 1);
    for (int i = 0; i < 30; i++) {
        fixture_append(f, 2, 16000);
    }
    fixture_close(f);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    assert_int_equal(truncate(path, 1 << 20), 0);
    fixture_open(f);
    assert_false(fixture_find(f, 1).found);
    assert_int_equal(fixture_count_files(f, "damaged"), 1);
    assert_int_equal(fixture_check_chunk(f, 2), 30);
}

static void test_recovery_when_a_chunk_file_is_missing_then_chunk_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[192];

    fixture_open(f);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 100000);
    fixture_close(f);
    fixture_find_file(f, "chunks", "", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_read_record(f, 1, 0), PAWL_ECORRUPT);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_recovery_when_last_batch_is_torn_then_cuts_it_and_goes_on),
        FIXTURE_TEST(test_recovery_when_a_run_is_torn_then_cuts_all_of_it),
        FIXTURE_TEST(test_recovery_when_a_payload_of_a_run_rots_then_only_that_record_is_bad),
        FIXTURE_TEST(test_recovery_when_a_row_of_a_run_rots_then_the_chunk_is_damaged),
        FIXTURE_TEST(test_recovery_when_a_payload_in_the_journal_rots_then_only_that_record_is_bad),
        FIXTURE_TEST(test_recovery_when_an_entry_rots_then_open_chunks_are_damaged_for_good),
        FIXTURE_TEST(test_recovery_when_a_footer_rots_then_records_tell_the_version),
        FIXTURE_TEST(test_recovery_when_a_promise_rots_then_its_records_tell_the_version),
        FIXTURE_TEST(test_recovery_when_a_batch_header_rots_then_open_chunks_are_damaged),
        FIXTURE_TEST(test_recovery_when_a_segment_header_rots_then_nothing_is_lost),
        FIXTURE_TEST(test_recovery_when_a_needed_segment_is_missing_then_refuses),
        FIXTURE_TEST(test_recovery_when_a_segment_is_truncated_then_refuses),
        FIXTURE_TEST(test_recovery_when_there_is_a_hole_then_cuts_there_and_goes_on),
        FIXTURE_TEST(test_recovery_when_a_hole_is_filled_again_then_old_records_stay_away),
        FIXTURE_TEST(test_recovery_when_a_chunk_file_was_never_used_then_is_removed),
        FIXTURE_TEST(test_recovery_when_a_chunk_file_has_no_size_then_gets_it),
        FIXTURE_TEST(test_recovery_when_a_chunk_file_is_truncated_then_is_put_aside),
        FIXTURE_TEST(test_recovery_when_a_chunk_file_is_missing_then_chunk_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
