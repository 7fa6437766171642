// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/file.c: how large records become durable.
#include <errno.h>

#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "dataplane/store/store_private.h"
#include "fake_cover.h"

#define CHUNK_BYTES (1u << 20)
#define LARGE_BYTES 400000u

// What was asked of the disk, of writes as long as a large record, of reads and of flushes.
static struct {
    uint32_t writes;
    uint32_t durable_writes;
    uint32_t flushes;
    uint32_t reads;
    bool durable_writes_fail;
    bool reads_fail;
    bool reads_wait;
    struct store_io_request *read; // that waits
} asked;

void __real_store_io_submit(struct store_io *io, struct store_io_request *request);
void __wrap_store_io_submit(struct store_io *io, struct store_io_request *request);

void __wrap_store_io_submit(struct store_io *io, struct store_io_request *request)
{
    if (request->type == STORE_IO_READ && asked.reads_wait) {
        asked.read = request;
        return;
    }
    if (request->type == STORE_IO_READ) {
        asked.reads++;
        request->fd = asked.reads_fail ? -1 : request->fd;
    } else if (request->type == STORE_IO_FLUSH) {
        asked.flushes++;
    } else if (request->bytes >= LARGE_BYTES) {
        asked.writes += request->type == STORE_IO_WRITE;
        asked.durable_writes += request->type == STORE_IO_WRITE_DURABLE;
        if (request->type == STORE_IO_WRITE_DURABLE && asked.durable_writes_fail) {
            request->fd = -1;
        }
    }
    __real_store_io_submit(io, request);
}

static int setup(void **state)
{
    memset(&covered, 0, sizeof(covered));
    memset(&asked, 0, sizeof(asked));
    return fixture_setup(state);
}

// Leaves the file of a chunk with one large record behind.
static void leave(struct fixture *f, uint64_t handle)
{
    fixture_create_sized(f, handle, CHUNK_BYTES);
    fixture_append(f, handle, LARGE_BYTES);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_drop(f->store, handle, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_settle(f);
}

static void test_large_record_when_its_blocks_are_new_then_is_flushed(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    memset(&asked, 0, sizeof(asked));
    fixture_append(f, 1, LARGE_BYTES);
    assert_int_equal(asked.writes, 1);
    assert_int_equal(asked.durable_writes, 0);
    assert_int_equal(asked.flushes, 1);
}

static void test_large_record_when_in_a_recycled_file_then_its_write_is_durable(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES);
    memset(&asked, 0, sizeof(asked));
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    assert_int_equal(asked.writes, 0);
    assert_int_equal(asked.durable_writes, 1);
    assert_int_equal(asked.flushes, 0);
    fixture_reopen(f);
    fixture_append(f, 2, LARGE_BYTES); // that its file has blocks is not known any more
    assert_int_equal(asked.writes, 1);
    assert_int_equal(asked.durable_writes, 1);
    assert_int_equal(fixture_check_chunk(f, 2), 2);
}

static void test_large_record_when_its_durable_write_fails_then_out_of_service(void **state)
{
    struct fixture *f = *state;
    uint64_t tokens[2];
    void *payloads[2];

    fixture_open(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES);
    asked.durable_writes_fail = true;
    for (uint64_t i = 0; i < 2; i++) {
        tokens[i] = fixture_append_start(f, 2, i, i * LARGE_BYTES, LARGE_BYTES, &payloads[i]);
    }
    for (uint64_t i = 0; i < 2; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), -EBADF);
        free(payloads[i]);
    }
    asked.durable_writes_fail = false;
    assert_int_equal(store_failed(f->store), -EBADF);
    assert_false(store_busy(f->store));
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 0);
}

// A store with chunk 2 in a recycled file, of which so much is covered by the journal's flush.
static void open_covered(struct fixture *f, uint64_t end, bool write_covers)
{
    covered.end = end;
    covered.write_covers = write_covers;
    fixture_open(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES);
    memset(&asked, 0, sizeof(asked));
}

// A large record, all of which is covered: it is only written.
static void append_covered(struct fixture *f, bool write_covers)
{
    open_covered(f, UINT64_MAX, write_covers);
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(asked.writes, 1);
    assert_int_equal(asked.durable_writes, 0);
}

static void test_large_record_when_covered_then_the_journals_flush_is_its_own(void **state)
{
    struct fixture *f = *state;

    append_covered(f, false);
    assert_int_equal(asked.flushes, 1);
    fixture_append(f, 2, 100); // no matter for a flush
    assert_int_equal(asked.flushes, 1);
    assert_int_equal(fixture_check_chunk(f, 2), 2);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 2);
}

static void test_large_record_when_durable_writes_flush_then_there_is_no_flush_beside(void **state)
{
    struct fixture *f = *state;

    append_covered(f, true);
    assert_int_equal(asked.flushes, 0);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
}

static void test_large_record_when_behind_what_is_covered_then_its_write_is_durable(void **state)
{
    struct fixture *f = *state;
    uint64_t first = pawl_align_up(LARGE_BYTES, DISK_PAGE_BYTES);

    open_covered(f, DISK_PAGE_BYTES + 2 * first - 1,
                 false); // all of the first, not all of the second
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(asked.durable_writes, 0);
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(asked.writes, 1);
    assert_int_equal(asked.durable_writes, 1);
    assert_int_equal(fixture_check_chunk(f, 2), 2);
}

// A byte of the last record of chunk 2.
static void payload_flip(const struct fixture *f)
{
    char path[256];

    fixture_find_file(f, "chunks", "0000000000000002.", path, sizeof(path));
    fixture_flip(path, DISK_PAGE_BYTES + pawl_align_up(LARGE_BYTES, DISK_PAGE_BYTES) + 300000);
}

static void test_recovery_when_the_last_payload_is_torn_then_its_record_never_was(void **state)
{
    struct fixture *f = *state;

    for (int torn = 0; torn < 2; torn++) {
        open_covered(f, UINT64_MAX, torn == 0);
        fixture_append(f, 2, LARGE_BYTES);
        fixture_append(f, 2, LARGE_BYTES);
        fixture_crash(f);
        if (torn) {
            payload_flip(f);
        }
        fixture_open(f);
        assert_int_equal(fixture_check_chunk(f, 2), torn ? 1 : 2);
        assert_false(fixture_find(f, 2).chunk.damaged);
        fixture_append(f, 2, 100000);
        assert_int_equal(fixture_check_chunk(f, 2), torn ? 2 : 3);
        fixture_close(f);
        fixture_remove_tree(f->dir);
    }
}

// The place of a record that a hole cuts off is written to again. The next start must not compare it any more: what
// else is in that batch may have been acknowledged.
static void
test_recovery_when_the_last_payload_was_found_once_then_it_is_not_compared_again(void **state)
{
    struct fixture *f = *state;

    for (int write_covers = 0; write_covers < 2; write_covers++) {
        open_covered(f, UINT64_MAX, write_covers);
        fixture_append(f, 2, LARGE_BYTES);
        fixture_append(f, 2, LARGE_BYTES);
        fixture_crash(f);
        fixture_open(f);
        fixture_crash(f);
        payload_flip(f);
        fixture_open(f);
        assert_int_equal(fixture_find(f, 2).chunk.records_count, 2);
        assert_int_equal(fixture_read_record(f, 2, 1), PAWL_ECORRUPT);
        fixture_append(f, 2, 100000);
        assert_int_equal(fixture_find(f, 2).chunk.records_count, 3);
        fixture_close(f);
        fixture_remove_tree(f->dir);
    }
}

// Of no block's length, and some behind each other in one block; below and above what goes to the journal first.
static void append_odd(struct fixture *f, uint64_t handle)
{
    static const uint32_t lengths[] = {1,
                                       3,
                                       511,
                                       513,
                                       4095,
                                       4097,
                                       8191,
                                       0,
                                       32767,
                                       32769,
                                       100003,
                                       7,
                                       999,
                                       1025,
                                       5,
                                       2,
                                       LARGE_BYTES + 1,
                                       12289};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(lengths); i++) {
        fixture_append(f, handle, lengths[i]);
    }
}

// Whole blocks are written, of what is in memory: no block is read first to be changed, neither for a record nor when
// the journal's are written back.
static void test_records_when_of_odd_sizes_then_the_disk_is_not_read(void **state)
{
    struct fixture *f = *state;
    uint64_t written_back_bytes = 0;

    f->options.journal_segment_bytes = 256u << 10; // so that it is written back many times
    f->options.journal_segments_count = 2;
    fixture_open(f);
    for (uint64_t handle = 1; handle <= 3; handle++) {
        fixture_create(f, handle, 1);
    }
    for (int round = 0; round < 12; round++) {
        for (uint64_t handle = 1; handle <= 3; handle++) {
            append_odd(f, handle);
        }
        if (round % 4 == 2) {
            fixture_settle(f);
            written_back_bytes += store_counters(f->store)->written_back_bytes;
            fixture_reopen(f); // what was in memory is not any more
        }
    }
    fixture_settle(f);
    written_back_bytes += store_counters(f->store)->written_back_bytes;
    assert_true(written_back_bytes > 4 * (256u << 10));
    assert_int_equal(asked.reads, 0);
    assert_int_equal(fixture_check_chunk(f, 2), 12 * 18);
    assert_true(asked.reads > 0);
}

// Whatever it was, it was not the disk that had other bytes: the replica is as good as it was.
static void test_read_when_it_fails_and_nothing_has_rotted_then_its_own_code_is_told(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    asked.reads_fail = true;
    int code = fixture_read_record(f, 1, 0);
    asked.reads_fail = false;
    assert_int_equal(code, -EBADF);
    assert_false(store_replica_find(f->store, 1)->unsound);
    assert_int_equal(fixture_read_record(f, 1, 0), 0);
}

static void test_read_when_its_file_is_gone_then_the_record_is_lost(void **state)
{
    struct fixture *f = *state;
    char path[256];

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    fixture_reopen(f); // its file is closed
    fixture_find_file(f, "chunks", "0000000000000001.", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fixture_read_record(f, 1, 0), PAWL_ECORRUPT);
}

static void test_drop_when_the_chunk_is_being_read_then_its_file_is_closed_after_that(void **state)
{
    struct fixture *f = *state;
    struct pawl_record record;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    asked.reads_wait = true;
    uint64_t read = fixture_token(f);
    assert_int_equal(store_read_record(f->store, 1, 0, &record, f->buffer,
                                       store_read_buffer_bytes(f->store), read),
                     0);
    asked.reads_wait = false;
    uint64_t dropped = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, dropped), 0);
    assert_int_equal(fixture_wait(f, dropped), 0);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    assert_int_equal(f->store->files_count, 1);
    store_io_submit(&f->store->io, asked.read);
    assert_int_equal(fixture_wait(f, read), 0);
    assert_int_equal(f->store->files_count, 0);
}

// What stands behind it says that its flush was over.
static void test_recovery_when_a_confirmed_payload_rots_then_its_record_stays(void **state)
{
    struct fixture *f = *state;

    open_covered(f, UINT64_MAX, false);
    fixture_append(f, 2, LARGE_BYTES);
    fixture_append(f, 2, LARGE_BYTES);
    fixture_append(f, 2, 100);
    fixture_crash(f);
    payload_flip(f);
    fixture_open(f);
    assert_int_equal(fixture_find(f, 2).chunk.records_count, 3);
    assert_int_equal(fixture_read_record(f, 2, 0), 0);
    assert_int_equal(fixture_read_record(f, 2, 1), PAWL_ECORRUPT);
    assert_int_equal(fixture_read_record(f, 2, 2), 0);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_large_record_when_its_blocks_are_new_then_is_flushed),
        FIXTURE_TEST(test_large_record_when_in_a_recycled_file_then_its_write_is_durable),
        FIXTURE_TEST(test_large_record_when_its_durable_write_fails_then_out_of_service),
        FIXTURE_TEST(test_large_record_when_covered_then_the_journals_flush_is_its_own),
        FIXTURE_TEST(test_large_record_when_durable_writes_flush_then_there_is_no_flush_beside),
        FIXTURE_TEST(test_large_record_when_behind_what_is_covered_then_its_write_is_durable),
        FIXTURE_TEST(test_read_when_it_fails_and_nothing_has_rotted_then_its_own_code_is_told),
        FIXTURE_TEST(test_read_when_its_file_is_gone_then_the_record_is_lost),
        FIXTURE_TEST(test_drop_when_the_chunk_is_being_read_then_its_file_is_closed_after_that),
        FIXTURE_TEST(test_recovery_when_the_last_payload_is_torn_then_its_record_never_was),
        FIXTURE_TEST(
            test_recovery_when_the_last_payload_was_found_once_then_it_is_not_compared_again),
        FIXTURE_TEST(test_recovery_when_a_confirmed_payload_rots_then_its_record_stays),
        FIXTURE_TEST(test_records_when_of_odd_sizes_then_the_disk_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
