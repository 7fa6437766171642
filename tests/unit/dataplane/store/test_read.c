// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/read.c: ranges over records that lie here and there.
#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/store_private.h"

#define CHUNK 1u

// Appends the records and returns all their bytes in a row.
static uint8_t *fill(struct fixture *f, const uint32_t *lengths, uint32_t count,
                     uint64_t *ret_bytes)
{
    uint8_t *all = NULL;
    uint64_t bytes = 0;

    fixture_create(f, CHUNK, 1);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *payload = fixture_payload(CHUNK, i, lengths[i]);
        all = realloc(all, bytes + lengths[i] + 1);
        memcpy(all + bytes, payload, lengths[i]);
        bytes += lengths[i];
        free(payload);
        fixture_append(f, CHUNK, lengths[i]);
    }
    *ret_bytes = bytes;
    return all;
}

// Reads a range to its end, piece by piece.
static uint64_t read_range(struct fixture *f, uint64_t offset, uint64_t length, uint8_t *ret,
                           size_t buffer_bytes)
{
    uint64_t got = 0;

    while (got < length) {
        uint64_t token = fixture_token(f);
        assert_int_equal(store_read(f->store, CHUNK, offset + got, (uint32_t)(length - got),
                                    f->buffer, buffer_bytes, token),
                         0);
        assert_int_equal(fixture_wait(f, token), 0);
        f->next_token = token;
        if (f->last.bytes == 0) {
            break;
        }
        assert_true(f->last.bytes <= length - got);
        assert_true((const uint8_t *)f->last.data >= (uint8_t *)f->buffer);
        assert_true((const uint8_t *)f->last.data + f->last.bytes <=
                    (uint8_t *)f->buffer + buffer_bytes);
        memcpy(ret + got, f->last.data, f->last.bytes);
        got += f->last.bytes;
    }
    return got;
}

static void check_ranges(struct fixture *f, const uint8_t *all, uint64_t bytes, size_t buffer_bytes)
{
    uint8_t *ret = malloc(bytes);
    uint64_t seed = 7;

    assert_int_equal(read_range(f, 0, bytes, ret, buffer_bytes), bytes);
    assert_memory_equal(ret, all, bytes);
    for (int i = 0; i < 40; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t offset = (seed >> 20) % bytes;
        uint64_t length = 1 + (seed >> 40) % (bytes - offset);
        assert_int_equal(read_range(f, offset, length, ret, buffer_bytes), length);
        assert_memory_equal(ret, all + offset, length);
    }
    free(ret);
}

static const uint32_t MIXED[] = {1000, 3, 40000, 0,   512, 4096,  70000,
                                 1,    0, 32768, 100, 100, 100000};

static void test_read_when_records_are_mixed_then_gives_their_bytes(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;

    fixture_open(f);
    uint8_t *all = fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes);
    check_ranges(f, all, bytes, store_read_buffer_bytes(f->store));
    check_ranges(f, all, bytes, 110592); // little more than the largest record
    free(all);
}

static void test_read_when_records_are_small_then_one_read_gives_many(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[300];
    uint64_t bytes;

    for (uint32_t i = 0; i < 300; i++) {
        lengths[i] = 200 + i;
    }
    fixture_open(f);
    uint8_t *all = fill(f, lengths, 300, &bytes);
    check_ranges(f, all, bytes, 1u << 20);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_read(f->store, CHUNK, 0, (uint32_t)bytes, f->buffer, 1u << 20, token),
                     0);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(f->last.bytes, bytes);
    free(all);
}

static void test_read_when_buffer_is_as_long_as_said_then_nothing_is_left_out(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    uint64_t seed = 11;

    fixture_open(f);
    free(fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes));
    assert_true(store_read_bytes(f->store, CHUNK, 0, 10) <= 2 * 4096);
    for (int i = 0; i < 40; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t offset = (seed >> 20) % bytes;
        uint32_t length = (uint32_t)(1 + (seed >> 40) % (bytes - offset));
        size_t needed = store_read_bytes(f->store, CHUNK, offset, length);
        uint64_t token = fixture_token(f);
        assert_true(needed >= length && needed <= store_read_buffer_bytes(f->store));
        assert_int_equal(store_read(f->store, CHUNK, offset, length, f->buffer, needed, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
        assert_int_equal(f->last.bytes, length);
    }
    for (uint64_t i = 0; i < PAWL_ARRAY_COUNT(MIXED); i++) {
        struct pawl_record record;
        uint64_t token = fixture_token(f);
        size_t needed = store_read_record_bytes(f->store, CHUNK, i);
        assert_int_equal(store_read_record(f->store, CHUNK, i, &record, f->buffer, needed, token),
                         0);
        assert_int_equal(fixture_wait(f, token), 0);
        assert_int_equal(f->last.bytes, MIXED[i]);
    }
    assert_int_equal(store_read_bytes(f->store, CHUNK, bytes, 10), 0);
    assert_int_equal(store_read_bytes(f->store, 2, 0, 10), 0);
    assert_int_equal(store_read_record_bytes(f->store, CHUNK, PAWL_ARRAY_COUNT(MIXED)), 0);
}

static void test_read_when_of_a_whole_record_then_its_checksum_comes_along(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    static const struct {
        uint64_t offset;
        uint32_t length;
        bool is_record;
    } CASES[] = {{1003, 40000, true},  {1000, 3, true},      {1003, 39999, false},
                 {1004, 39999, false}, {1000, 40003, false}, {0, 1003, false}};

    fixture_open(f);
    uint8_t *all = fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(CASES); i++) {
        uint64_t token = fixture_token(f);
        assert_int_equal(store_read(f->store, CHUNK, CASES[i].offset, CASES[i].length, f->buffer,
                                    store_read_buffer_bytes(f->store), token),
                         0);
        assert_int_equal(fixture_wait(f, token), 0);
        assert_int_equal(f->last.bytes, CASES[i].length);
        assert_int_equal(f->last.is_record, CASES[i].is_record);
        if (CASES[i].is_record) {
            assert_int_equal(f->last.crc, pawl_crc32c(0, all + CASES[i].offset, CASES[i].length));
        }
    }
    free(all);
}

static void test_read_when_past_the_end_then_gives_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    uint8_t ret[16];

    fixture_open(f);
    uint8_t *all = fill(f, MIXED, 3, &bytes);
    assert_int_equal(read_range(f, bytes, 10, ret, 1u << 20), 0);
    assert_int_equal(read_range(f, UINT64_MAX, 10, ret, 1u << 20), 0);
    assert_int_equal(read_range(f, bytes - 4, 10, ret, 1u << 20), 4);
    assert_memory_equal(ret, all + bytes - 4, 4);
    free(all);
}

static void test_read_when_arguments_are_wrong_then_is_refused(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    struct pawl_record record;

    fixture_open(f);
    free(fill(f, MIXED, 3, &bytes));
    uint8_t *buffer = f->buffer;
    assert_int_equal(store_read(f->store, 2, 0, 10, buffer, 1u << 20, 1), PAWL_ENOCHUNK);
    assert_int_equal(store_read(f->store, CHUNK, 0, 10, buffer + 512, 1u << 20, 1), -EINVAL);
    assert_int_equal(store_read(f->store, CHUNK, 1003, 10, buffer, 32768, 1), -EINVAL);
    assert_int_equal(store_read_record(f->store, CHUNK, 3, &record, buffer, 1u << 20, 1), -ENOENT);
    assert_int_equal(store_read_record(f->store, CHUNK, 2, &record, buffer, 32768, 1), -EINVAL);
    assert_false(store_busy(f->store));
}

// A little of it is in the journal, the rest was written back.
static void test_read_when_records_are_written_back_in_part_then_gives_their_bytes(void **state)
{
    struct fixture *f = *state;
    uint32_t lengths[300];
    uint64_t bytes;

    for (uint32_t i = 0; i < 300; i++) {
        lengths[i] = 200 + 3 * i;
    }
    f->options.journal_segment_bytes = 64u << 10;
    fixture_open(f);
    uint8_t *all = fill(f, lengths, 300, &bytes);
    struct store_replica *replica = store_replica_find(f->store, CHUNK);
    assert_false(store_place_is_journal(*store_replica_place(replica, 0)));
    assert_true(store_place_is_journal(*store_replica_place(replica, 299)));
    check_ranges(f, all, bytes, store_read_buffer_bytes(f->store));
    check_ranges(f, all, bytes, 8192);
    free(all);
}

static uint64_t read_start(struct fixture *f, uint64_t offset, uint32_t length)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_read(f->store, CHUNK, offset, length, f->buffer,
                                store_read_buffer_bytes(f->store), token),
                     0);
    return token;
}

static void test_read_when_of_the_journal_then_copies_what_was_asked_for_once(void **state)
{
    struct fixture *f = *state;
    static const uint32_t LENGTHS[] = {1000, 20000, 3, 32768};
    uint64_t bytes;

    fixture_open(f);
    uint8_t *all = fill(f, LENGTHS, PAWL_ARRAY_COUNT(LENGTHS), &bytes);
    fixture_settle(f);
    const struct store_counters *counters = store_counters(f->store);
    uint64_t token = read_start(f, 1500, 25000);
    assert_true(store_io_is_idle(&f->store->io)); // no disk
    assert_int_equal(f->status[token], FIXTURE_PENDING);
    assert_int_equal(fixture_wait(f, token), 0);
    assert_int_equal(f->last.bytes, 25000);
    assert_memory_equal(f->last.data, all + 1500, 25000);
    assert_int_equal(counters->read_bytes, 25000);
    assert_int_equal(counters->read_copied_bytes, 25000);
    free(all);
}

// The bytes of a batch are in the image before it is written: nobody may read them yet.
static void test_read_when_a_batch_is_in_flight_then_shows_nothing_of_it(void **state)
{
    struct fixture *f = *state;
    void *payload;

    f->options.no_uring = true; // each poll carries out what was queued before it
    fixture_open(f);
    fixture_create(f, CHUNK, 1);
    uint64_t append = fixture_append_start(f, CHUNK, 0, 0, 1000, &payload);
    fixture_step(f);
    const struct store_journal *journal = &f->store->journal;
    assert_non_null(memmem(journal->images, journal->images_bytes, payload, 1000));
    assert_int_equal(f->status[append], FIXTURE_PENDING);
    assert_int_equal(store_read_bytes(f->store, CHUNK, 0, 1000), 0);
    assert_int_equal(fixture_wait(f, read_start(f, 0, 1000)), 0);
    assert_int_equal(f->last.bytes, 0);
    assert_int_equal(fixture_wait(f, append), 0);
    assert_int_equal(fixture_wait(f, read_start(f, 0, 1000)), 0);
    assert_int_equal(f->last.bytes, 1000);
    assert_memory_equal(f->last.data, payload, 1000);
    free(payload);
}

enum { AROUND = 20 }; // appends, more than the journal of check_held_image() takes

// The disk has not answered a read of a record in the chunk file and one in the journal; meanwhile the journal
// would go around.
static void check_held_image(struct fixture *f, const uint8_t *all, struct pawl_list *request)
{
    struct store_replica *replica = store_replica_find(f->store, CHUNK);
    const struct store_segment *segment = &f->store->journal.segments[0];
    void *payloads[AROUND];
    uint64_t tokens[AROUND];
    uint64_t read = f->next_token - 1;

    fixture_create(f, 2, 1);
    for (uint64_t i = 0; i < AROUND; i++) {
        tokens[i] = fixture_append_start(f, 2, i, 16000 * i, 16000, &payloads[i]);
    }
    do {
        fixture_step(f);
    } while (!store_io_is_idle(&f->store->io));
    assert_false(store_place_is_journal(*store_replica_place(replica, 1))); // was written back,
    assert_int_equal(segment->state, STORE_SEGMENT_FULL); // and stays for the read
    assert_int_equal(f->status[tokens[AROUND - 1]], FIXTURE_PENDING);
    assert_int_equal(f->status[read], FIXTURE_PENDING);
    pawl_list_push_back(&f->store->io.pending, request);
    while (f->status[read] == FIXTURE_PENDING) {
        fixture_step(f);
    }
    assert_int_equal(f->status[read], 0);
    assert_memory_equal(f->buffer, all, 40700);
    for (uint64_t i = 0; i < AROUND; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), 0);
        free(payloads[i]);
    }
    assert_int_equal(segment->readers, 0);
    assert_int_equal(fixture_check_chunk(f, CHUNK), 2);
}

static void test_read_when_a_segment_would_be_used_anew_then_it_waits_for_the_read(void **state)
{
    struct fixture *f = *state;
    static const uint32_t LENGTHS[] = {40000, 700};
    uint64_t bytes;

    f->options.no_uring = true;
    f->options.journal_segment_bytes = 64u << 10;
    f->options.journal_segments_count = 3;
    fixture_open(f);
    uint8_t *all = fill(f, LENGTHS, 2, &bytes);
    fixture_settle(f);
    read_start(f, 0, (uint32_t)bytes);
    struct pawl_list *request = pawl_list_pop_front(&f->store->io.pending);
    assert_non_null(request);
    assert_true(store_io_is_idle(&f->store->io));
    check_held_image(f, all, request);
    free(all);
}

static void check_corrupt(struct fixture *f, uint64_t index)
{
    assert_int_equal(fixture_read_record(f, CHUNK, index), PAWL_ECORRUPT);
    assert_int_equal(f->last.chunk, CHUNK);
    assert_int_equal(f->last.record_index, index);
    uint64_t token = read_start(f, 0, 1u << 20);
    assert_int_equal(fixture_wait(f, token), PAWL_ECORRUPT);
    assert_int_equal(f->last.record_index, index);
}

static uint64_t find_in_file(struct fixture *f, uint64_t index, uint32_t length, const char *folder,
                             char *path, size_t path_bytes)
{
    void *payload = fixture_payload(CHUNK, index, length);

    fixture_find_file(f, folder, folder[0] == 'j' ? "00" : "", path, path_bytes);
    uint64_t at = fixture_search(path, payload, length, 0);
    free(payload);
    assert_true(at != UINT64_MAX);
    return at + length / 2;
}

static void test_read_when_bytes_of_a_file_have_rotted_then_corrupt_and_where(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    char path[192];

    fixture_open(f);
    free(fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes));
    for (uint64_t i = 2; i <= 12; i += 10) {
        uint64_t at = find_in_file(f, i, MIXED[i], "chunks", path, sizeof(path));
        fixture_flip(path, at);
        check_corrupt(f, i);
        fixture_flip(path, at);
        assert_int_equal(fixture_read_record(f, CHUNK, i), 0);
    }
}

static void test_read_when_bytes_of_an_image_have_rotted_then_corrupt_and_where(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;

    fixture_open(f);
    free(fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes));
    const struct store_journal *journal = &f->store->journal;
    for (uint64_t i = 0; i <= 9; i += 9) {
        void *payload = fixture_payload(CHUNK, i, MIXED[i]);
        uint8_t *at = memmem(journal->images, journal->images_bytes, payload, MIXED[i]);
        assert_non_null(at);
        at[MIXED[i] - 1] ^= 0x40;
        check_corrupt(f, i);
        // Verified whole, also when other bytes are asked for.
        uint64_t token = read_start(f, i == 0 ? 0 : 115612, 1);
        assert_int_equal(fixture_wait(f, token), PAWL_ECORRUPT);
        assert_int_equal(f->last.record_index, i);
        at[MIXED[i] - 1] ^= 0x40;
        assert_int_equal(fixture_read_record(f, CHUNK, i), 0);
        free(payload);
    }
}

// What is in an image is sound all the same.
static void test_read_when_the_file_is_gone_then_the_record_in_it_is_corrupt(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    char path[192];

    fixture_open(f);
    uint8_t *all = fill(f, MIXED, 3, &bytes);
    fixture_close(f);
    fixture_find_file(f, "chunks", "", path, sizeof(path));
    assert_int_equal(remove(path), 0);
    fixture_open(f);
    check_corrupt(f, 2);
    assert_int_equal(fixture_wait(f, read_start(f, 0, 1003)), 0);
    assert_int_equal(f->last.bytes, 1003);
    assert_memory_equal(f->last.data, all, 1003);
    free(all);
}

// The image is what is read, until the next start reads the disk.
static void test_read_when_the_journal_has_rotted_on_disk_then_a_start_finds_it(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;
    char path[192];

    fixture_open(f);
    uint8_t *all = fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes);
    fixture_flip(path, find_in_file(f, 9, MIXED[9], "journal", path, sizeof(path)));
    check_ranges(f, all, bytes, store_read_buffer_bytes(f->store));
    fixture_reopen(f);
    check_corrupt(f, 9);
    assert_int_equal(fixture_read_record(f, CHUNK, 10), 0);
    free(all);
}

enum { LARGE = 4, LARGE_BYTES = 300000, SMALL_BYTES = 40000, BUFFER_BYTES = 512 << 10 };

static const uint32_t LARGE_ONES[] = {LARGE_BYTES, LARGE_BYTES, LARGE_BYTES, LARGE_BYTES,
                                      SMALL_BYTES};

// The first `count` of those records, in a chunk file; returns their bytes, and buffers to read them.
static uint8_t *fill_large(struct fixture *f, uint32_t count, uint8_t **ret_buffers)
{
    uint64_t bytes;

    fixture_open(f);
    uint8_t *all = fill(f, LARGE_ONES, count, &bytes);
    fixture_settle(f);
    *ret_buffers = aligned_alloc(4096, count * BUFFER_BYTES);
    memset(*ret_buffers, 0, count * BUFFER_BYTES);
    return all;
}

static uint64_t read_begin(struct fixture *f, uint64_t index, void *buffer)
{
    struct pawl_record record;
    uint64_t token = fixture_token(f);

    assert_int_equal(
        store_read_record(f->store, CHUNK, index, &record, buffer, BUFFER_BYTES, token), 0);
    return token;
}

// Reads that are at the disk, or will be with the next turn.
static unsigned disk_count(const struct fixture *f)
{
    unsigned count = f->store->io.in_flight_count;

    pawl_list_for_each (node, &f->store->io.pending) {
        count++;
    }
    return count;
}

static void test_read_when_many_are_large_then_half_of_them_are_at_the_disk(void **state)
{
    struct fixture *f = *state;
    const unsigned at_the_disk[] = {1, 1, 1, 2};
    uint64_t tokens[LARGE + 1];
    uint8_t *buffers;
    uint8_t *all = fill_large(f, LARGE + 1, &buffers);

    for (unsigned i = 0; i < LARGE; i++) {
        tokens[i] = read_begin(f, i, buffers + i * BUFFER_BYTES);
        assert_int_equal(disk_count(f), at_the_disk[i]);
    }
    tokens[LARGE] = read_begin(f, LARGE, buffers + LARGE * BUFFER_BYTES);
    assert_int_equal(disk_count(f), 3); // a small one passes them
    for (unsigned i = 0; i <= LARGE; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), 0);
        assert_memory_equal(buffers + i * BUFFER_BYTES, all + i * LARGE_BYTES, LARGE_ONES[i]);
    }
    assert_int_equal(f->store->reads_flying_bytes, 0);
    assert_int_equal(f->store->reads_waiting_bytes, 0);
    assert_true(pawl_list_is_empty(&f->store->reads_waiting));
    free(all);
    free(buffers);
}

// A read that fails gives its turn to the next one, too.
static void test_read_when_a_large_one_fails_then_the_others_go_on(void **state)
{
    struct fixture *f = *state;
    uint64_t tokens[LARGE];
    uint8_t *buffers;
    uint8_t *all = fill_large(f, LARGE, &buffers);
    char path[192];

    fixture_find_file(f, "chunks", "", path, sizeof(path));
    assert_int_equal(truncate(path, 0), 0);
    for (unsigned i = 0; i < LARGE; i++) {
        tokens[i] = read_begin(f, i, buffers + i * BUFFER_BYTES);
    }
    for (unsigned i = 0; i < LARGE; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), PAWL_ECORRUPT);
    }
    assert_int_equal(f->store->reads_flying_bytes, 0);
    free(all);
    free(buffers);
}

// Those that wait are carried out before the store is closed.
static void test_close_when_large_reads_wait_then_they_end_first(void **state)
{
    struct fixture *f = *state;
    uint8_t *buffers;
    uint8_t *all = fill_large(f, LARGE, &buffers);

    for (unsigned i = 0; i < LARGE; i++) {
        (void)read_begin(f, i, buffers + i * BUFFER_BYTES);
    }
    fixture_close(f);
    for (unsigned i = 0; i < LARGE; i++) {
        assert_memory_equal(buffers + i * BUFFER_BYTES, all + i * LARGE_BYTES, LARGE_ONES[i]);
    }
    free(all);
    free(buffers);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_read_when_records_are_mixed_then_gives_their_bytes),
        FIXTURE_TEST(test_read_when_records_are_small_then_one_read_gives_many),
        FIXTURE_TEST(test_read_when_buffer_is_as_long_as_said_then_nothing_is_left_out),
        FIXTURE_TEST(test_read_when_of_a_whole_record_then_its_checksum_comes_along),
        FIXTURE_TEST(test_read_when_past_the_end_then_gives_nothing),
        FIXTURE_TEST(test_read_when_arguments_are_wrong_then_is_refused),
        FIXTURE_TEST(test_read_when_records_are_written_back_in_part_then_gives_their_bytes),
        FIXTURE_TEST(test_read_when_of_the_journal_then_copies_what_was_asked_for_once),
        FIXTURE_TEST(test_read_when_a_batch_is_in_flight_then_shows_nothing_of_it),
        FIXTURE_TEST(test_read_when_a_segment_would_be_used_anew_then_it_waits_for_the_read),
        FIXTURE_TEST(test_read_when_bytes_of_a_file_have_rotted_then_corrupt_and_where),
        FIXTURE_TEST(test_read_when_bytes_of_an_image_have_rotted_then_corrupt_and_where),
        FIXTURE_TEST(test_read_when_the_file_is_gone_then_the_record_in_it_is_corrupt),
        FIXTURE_TEST(test_read_when_the_journal_has_rotted_on_disk_then_a_start_finds_it),
        FIXTURE_TEST(test_read_when_many_are_large_then_half_of_them_are_at_the_disk),
        FIXTURE_TEST(test_read_when_a_large_one_fails_then_the_others_go_on),
        FIXTURE_TEST(test_close_when_large_reads_wait_then_they_end_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
