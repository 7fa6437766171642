// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/checkpoint.c: many rounds through a tiny journal, and the footers.
#include <errno.h>

#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "dataplane/store/footer.h"
#include "dataplane/store/store_private.h"

static void setup_tiny(struct fixture *f, uint32_t segments_count)
{
    f->options.journal_segment_bytes = 64u << 10;
    f->options.journal_segments_count = segments_count;
    fixture_open(f);
}

// Goes through the journal several times, so that everything from before is written back.
static void churn(struct fixture *f, uint64_t handle)
{
    fixture_create(f, handle, 1);
    for (int i = 0; i < 24; i++) {
        fixture_append(f, handle, 16000);
    }
    fixture_settle(f);
}

static uint32_t length_of(uint64_t handle, uint64_t index)
{
    return (index * 7 + handle) % 11 == 0 ? 40000 : 300 + (uint32_t)(index * 37 % 1500);
}

static void test_checkpoint_when_journal_wraps_often_then_all_is_there(void **state)
{
    struct fixture *f = *state;
    enum { CHUNKS = 5, RECORDS = 120 };

    setup_tiny(f, 2);
    for (uint64_t c = 1; c <= CHUNKS; c++) {
        fixture_create(f, c, 1);
    }
    for (uint64_t i = 0; i < RECORDS; i++) {
        for (uint64_t c = 1; c <= CHUNKS; c++) {
            fixture_append(f, c, length_of(c, i));
        }
        if (i % 40 == 20) {
            fixture_reopen(f);
        }
    }
    for (int round = 0; round < 2; round++) {
        for (uint64_t c = 1; c <= CHUNKS; c++) {
            assert_int_equal(fixture_check_chunk(f, c), RECORDS);
            assert_int_equal(fixture_find(f, c).chunk.version, 1);
            assert_int_equal(fixture_find(f, c).chunk.file_id, c + 1000);
        }
        fixture_reopen(f);
    }
    assert_int_equal(fixture_count_files(f, "journal"), 2);
    assert_int_equal(fixture_count_files(f, "chunks"), CHUNKS);
}

// More is queued than the journal holds: it waits for segments, and nothing fails.
static void queue_much(struct fixture *f)
{
    enum { RECORDS = 600 };
    void *payloads[RECORDS];
    uint64_t first = f->next_token + 1;
    uint64_t offset = 0;

    fixture_create(f, 1, 1);
    for (uint64_t i = 0; i < RECORDS; i++) {
        uint32_t length = length_of(1, i);
        fixture_append_start(f, 1, i, offset, length, &payloads[i]);
        offset += length;
    }
    for (uint64_t i = 0; i < RECORDS; i++) {
        assert_int_equal(fixture_wait(f, first + i), 0);
        free(payloads[i]);
    }
    assert_int_equal(fixture_check_chunk(f, 1), RECORDS);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), RECORDS);
}

static void test_checkpoint_when_more_is_queued_than_fits_then_it_waits(void **state)
{
    setup_tiny(*state, 2);
    queue_much(*state);
}

static void test_checkpoint_when_without_io_uring_then_works_the_same(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    f->options.no_direct = true;
    setup_tiny(f, 3);
    queue_much(f);
}

static void append_many(struct fixture *f, uint64_t handle, uint64_t records)
{
    void **payloads = calloc(records, sizeof(*payloads));
    assert_non_null(payloads);
    fixture_create(f, handle, 1);
    uint64_t first = f->next_token + 1;
    for (uint64_t i = 0; i < records; i++) {
        fixture_append_start(f, handle, i, 3 * i, 3, &payloads[i]);
    }
    for (uint64_t i = 0; i < records; i++) {
        assert_int_equal(fixture_wait(f, first + i), 0);
        free(payloads[i]);
    }
    free(payloads);
}

static void test_footer_when_of_several_runs_of_rows_then_tells_all(void **state)
{
    struct fixture *f = *state;
    enum { RECORDS = STORE_RUN_ROWS + 900 };

    setup_tiny(f, 4);
    append_many(f, 1, RECORDS);
    for (uint64_t other = 2; other < 10; other++) {
        churn(f, other); // chunk 1 is in footers only from here on
    }
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), RECORDS);
}

// The write-back of the chunk whose footer is half made; NULL: none.
static struct store_write_back *half_made(struct fixture *f, uint64_t handle)
{
    for (uint32_t i = 0; i < STORE_WRITE_BACKS; i++) {
        struct store_write_back *back = &f->store->checkpoint.write_backs[i];
        if (back->replica != NULL && back->replica->handle == handle && back->row > 0 &&
            back->row < back->footer.records_count) {
            return back;
        }
    }
    return NULL;
}

// A seal takes records away between two runs of rows: the pace holds the second one until it is durable.
static void test_footer_when_cut_between_runs_of_rows_then_begins_again(void **state)
{
    struct fixture *f = *state;
    enum { RECORDS = STORE_RUN_ROWS + 900, KEPT = STORE_RUN_ROWS + 300 };
    struct store_write_back *back = NULL;
    uint64_t seal = 0;

    setup_tiny(f, 8);
    append_many(f, 1, RECORDS);
    fixture_settle(f); // with free segments: without any nothing is held
    fixture_create(f, 2, 1);
    for (uint64_t i = 0; back == NULL; i++) {
        void *payload;
        assert_true(i < 2000);
        uint64_t token = fixture_append_start(f, 2, i, 3000 * i, 3000, &payload);
        while (f->status[token] == FIXTURE_PENDING && back == NULL) {
            fixture_step(f);
            back = half_made(f, 1);
        }
        if (back != NULL) {
            f->store->checkpoint.budget_bytes = INT64_MIN / 2;
            seal = fixture_token(f);
            assert_int_equal(store_seal(f->store, 1, 2, KEPT, seal), 0);
        }
        assert_int_equal(fixture_wait(f, token), 0);
        free(payload);
    }
    assert_int_equal(fixture_wait(f, seal), 0);
    assert_int_equal(back->replica->handle, 1);
    while (back->replica != NULL && back->footer.records_count != KEPT) {
        fixture_step(f);
    }
    assert_int_equal(back->footer.records_count, KEPT);
    fixture_settle(f);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.sealed);
    assert_int_equal(fixture_check_chunk(f, 1), KEPT);
}

// What the chunk was told stays, when only its footer knows it.
static void test_checkpoint_when_journal_is_gone_then_footer_tells_all(void **state)
{
    struct fixture *f = *state;
    struct wire_producer producer = {.producer_hi = 4, .last_sequence = 17};
    struct store_chunk chunk = fixture_new_chunk(1, 3);

    setup_tiny(f, 2);
    chunk.producers = &producer;
    chunk.producers_count = 1;
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    for (uint64_t i = 0; i < 9; i++) {
        fixture_append(f, 1, i == 5 ? 0 : length_of(1, i));
    }
    token = fixture_token(f);
    assert_int_equal(store_promise(f->store, 1, 6, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    token = fixture_token(f);
    assert_int_equal(store_seal(f->store, 1, 8, 7, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    churn(f, 2);
    fixture_reopen(f);
    struct fixture_chunk found = fixture_find(f, 1);
    assert_true(found.found && found.chunk.sealed && !found.chunk.damaged);
    assert_int_equal(found.chunk.version, 8);
    assert_int_equal(found.chunk.commit_count, 8);
    assert_int_equal(found.chunk.producers_count, 1);
    assert_memory_equal(found.chunk.producers, &producer, sizeof(producer));
    assert_int_equal(fixture_check_chunk(f, 1), 7);
    assert_int_equal(store_chunk_record(&found.chunk, 5).length, 0);
}

static void check_kinds(struct fixture *f)
{
    assert_int_equal(fixture_find(f, 1).chunk.written_handle, 77);
    assert_int_equal(fixture_find(f, 1).chunk.zero_bytes, 0);
    assert_int_equal(fixture_find(f, 2).chunk.written_handle, 0);
    assert_int_equal(fixture_find(f, 2).chunk.zero_bytes, 12345);
}

// Chunks of write logs and of zeros, from the journal and from their footers.
static void test_checkpoint_when_chunks_are_special_then_they_stay_so(void **state)
{
    struct fixture *f = *state;

    setup_tiny(f, 2);
    for (uint64_t handle = 1; handle <= 2; handle++) {
        struct store_chunk chunk = fixture_new_chunk(handle, 1);
        chunk.written_handle = handle == 1 ? 77 : 0;
        chunk.zero_bytes = handle == 2 ? 12345 : 0;
        uint64_t token = fixture_token(f);
        assert_int_equal(store_create(f->store, &chunk, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
        chunk.zero_bytes = chunk.chunk_bytes + 1;
        assert_int_equal(store_create(f->store, &chunk, 1), -EINVAL);
    }
    fixture_reopen(f);
    check_kinds(f);
    churn(f, 3);
    fixture_reopen(f);
    check_kinds(f);
}

static void test_checkpoint_when_chunks_are_dropped_then_they_stay_away(void **state)
{
    struct fixture *f = *state;

    setup_tiny(f, 2);
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t c = 1; c <= 3; c++) {
            fixture_create(f, c, 1);
            for (int i = 0; i < 20; i++) {
                fixture_append(f, c, i == 3 ? 50000 : 3000);
            }
        }
        for (uint64_t c = 1; c <= 2; c++) {
            uint64_t token = fixture_token(f);
            assert_int_equal(store_drop(f->store, c, token), 0);
            assert_int_equal(fixture_wait(f, token), 0);
        }
        fixture_reopen(f);
        assert_false(fixture_find(f, 1).found || fixture_find(f, 2).found);
        assert_int_equal(fixture_check_chunk(f, 3), 20);
        churn(f, 100 + round);
        fixture_reopen(f);
        assert_false(fixture_find(f, 1).found || fixture_find(f, 2).found);
        uint64_t token = fixture_token(f);
        assert_int_equal(store_drop(f->store, 3, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
    }
    assert_int_equal(fixture_count_files(f, "chunks"), 3); // those of churn()
    assert_int_equal(fixture_count_files(f, "damaged"), 0);
}

static void test_checkpoint_when_record_is_written_back_then_rot_in_the_file_is_found(void **state)
{
    struct fixture *f = *state;
    char path[192];

    setup_tiny(f, 2);
    fixture_create(f, 1, 1);
    for (int i = 0; i < 5; i++) {
        fixture_append(f, 1, 700);
    }
    churn(f, 2);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    void *payload = fixture_payload(1, 3, 700);
    uint64_t at = fixture_search(path, payload, 700, 0);
    free(payload);
    assert_true(at != UINT64_MAX);
    fixture_flip(path, at + 10);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(fixture_read_record(f, 1, i), i == 3 ? PAWL_ECORRUPT : 0);
    }
    fixture_reopen(f);
    assert_int_equal(fixture_read_record(f, 1, 3), PAWL_ECORRUPT);
    assert_false(fixture_find(f, 1).chunk.damaged);
}

// Where the chunk's footers stand in its file, newest first; UINT64_MAX for one that isn't there.
static void footers_find(const char *path, uint64_t at[2])
{
    uint32_t magic = DISK_FOOTER_MAGIC;
    struct disk_footer footers[2];

    at[0] = fixture_search(path, &magic, sizeof(magic), 0);
    assert_true(at[0] != UINT64_MAX);
    at[1] = fixture_search(path, &magic, sizeof(magic), at[0] + DISK_PAGE_BYTES);
    if (at[1] == UINT64_MAX) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        fixture_peek(path, at[i], &footers[i], sizeof(footers[i]));
        assert_int_equal(footer_decode(&footers[i], sizeof(footers[i]), &footers[i]), 0);
    }
    if (footers[0].sequence < footers[1].sequence) {
        uint64_t first = at[0];
        at[0] = at[1];
        at[1] = first;
    }
}

// Two footers, everything in them.
static void two_footers(struct fixture *f, char *path, size_t bytes, uint64_t at[2])
{
    setup_tiny(f, 2);
    fixture_create(f, 1, 1);
    fixture_append(f, 1, 700);
    churn(f, 2);
    fixture_append(f, 1, 800);
    churn(f, 3);
    fixture_close(f);
    fixture_find_file(f, "chunks", "0000000000000001", path, bytes);
    footers_find(path, at);
    assert_true(at[1] != UINT64_MAX);
}

static void test_footer_when_newest_rots_then_chunk_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[192];
    uint64_t at[2];

    two_footers(f, path, sizeof(path), at);
    fixture_flip(path, at[0] + offsetof(struct disk_footer, version));
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
    assert_false(fixture_find(f, 2).chunk.damaged);
    // The mark outlives the next footer too.
    churn(f, 4);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
}

static void test_footer_when_rows_of_the_newest_rot_then_chunk_is_damaged(void **state)
{
    struct fixture *f = *state;
    char path[192];
    uint64_t at[2];

    two_footers(f, path, sizeof(path), at);
    fixture_flip(path, at[0] + DISK_PAGE_BYTES + 8);
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
}

// The rows of the older footer are overwritten before the next header is: that is no damage.
static void test_footer_when_rows_of_the_older_are_overwritten_then_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    char path[192];
    uint64_t at[2];

    two_footers(f, path, sizeof(path), at);
    fixture_flip(path, at[1] + DISK_PAGE_BYTES + 8);
    fixture_open(f);
    assert_false(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 2);
}

static void test_footer_when_both_rot_then_file_is_put_aside(void **state)
{
    struct fixture *f = *state;
    char path[192];
    uint64_t at[2];

    two_footers(f, path, sizeof(path), at);
    fixture_flip(path, at[0] + 100);
    fixture_flip(path, at[1] + 100);
    fixture_open(f);
    assert_false(fixture_find(f, 1).found);
    assert_int_equal(fixture_count_files(f, "damaged"), 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 2);
    assert_int_equal(fixture_check_chunk(f, 2), 24);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_checkpoint_when_journal_wraps_often_then_all_is_there),
        FIXTURE_TEST(test_checkpoint_when_more_is_queued_than_fits_then_it_waits),
        FIXTURE_TEST(test_checkpoint_when_without_io_uring_then_works_the_same),
        FIXTURE_TEST(test_footer_when_of_several_runs_of_rows_then_tells_all),
        FIXTURE_TEST(test_footer_when_cut_between_runs_of_rows_then_begins_again),
        FIXTURE_TEST(test_checkpoint_when_journal_is_gone_then_footer_tells_all),
        FIXTURE_TEST(test_checkpoint_when_chunks_are_special_then_they_stay_so),
        FIXTURE_TEST(test_checkpoint_when_chunks_are_dropped_then_they_stay_away),
        FIXTURE_TEST(test_checkpoint_when_record_is_written_back_then_rot_in_the_file_is_found),
        FIXTURE_TEST(test_footer_when_newest_rots_then_chunk_is_damaged),
        FIXTURE_TEST(test_footer_when_rows_of_the_newest_rot_then_chunk_is_damaged),
        FIXTURE_TEST(test_footer_when_rows_of_the_older_are_overwritten_then_nothing_is_lost),
        FIXTURE_TEST(test_footer_when_both_rot_then_file_is_put_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
