// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/read.c: ranges over records that lie here and there.
#include "store_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"

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

static void check_rot(struct fixture *f, const char *folder, uint64_t index)
{
    struct fixture_chunk found = fixture_find(f, CHUNK);
    const struct pawl_record *record = store_chunk_record(&found.chunk, index);
    void *payload = fixture_payload(CHUNK, index, record->length);
    char path[192];

    fixture_find_file(f, folder, folder[0] == 'j' ? "00" : "", path, sizeof(path));
    uint64_t at = fixture_search(path, payload, record->length, 0);
    assert_true(at != UINT64_MAX);
    fixture_flip(path, at + record->length / 2);
    assert_int_equal(fixture_read_record(f, CHUNK, index), PAWL_ECORRUPT);
    assert_int_equal(f->last.chunk, CHUNK);
    assert_int_equal(f->last.record_index, index);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_read(f->store, CHUNK, 0, 1u << 20, f->buffer,
                                store_read_buffer_bytes(f->store), token),
                     0);
    assert_int_equal(fixture_wait(f, token), PAWL_ECORRUPT);
    assert_int_equal(f->last.record_index, index);
    fixture_flip(path, at + record->length / 2);
    assert_int_equal(fixture_read_record(f, CHUNK, index), 0);
    free(payload);
}

static void test_read_when_bytes_have_rotted_then_corrupt_and_where(void **state)
{
    struct fixture *f = *state;
    uint64_t bytes;

    fixture_open(f);
    free(fill(f, MIXED, PAWL_ARRAY_COUNT(MIXED), &bytes));
    check_rot(f, "journal", 0);
    check_rot(f, "journal", 9);
    check_rot(f, "chunks", 2);
    check_rot(f, "chunks", 12);
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
        FIXTURE_TEST(test_read_when_bytes_have_rotted_then_corrupt_and_where),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
