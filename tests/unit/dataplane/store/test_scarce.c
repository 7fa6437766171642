// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/file.c and read.c when the process has no descriptor left: that is no word about the disk.
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <pawl/error.h>

#include "dataplane/store/store_private.h"

#define CHUNK_BYTES (1u << 20)
#define LARGE_BYTES 400000u

static struct rlimit saved_limit;
static int taken[1024];
static int taken_count;

// Leaves no descriptor.
static void take_all(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &saved_limit), 0);
    struct rlimit limit = {.rlim_cur = (rlim_t)fd + 16, .rlim_max = saved_limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    taken_count = 0;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
        taken[taken_count++] = fd;
    }
    assert_int_equal(errno, EMFILE);
}

static void give_back(void)
{
    while (taken_count > 0) {
        assert_int_equal(close(taken[--taken_count]), 0);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &saved_limit), 0);
}

static int teardown(void **state)
{
    if (taken_count > 0) {
        give_back();
    }
    return fixture_teardown(state);
}

static void steps(struct fixture *f)
{
    for (int i = 0; i < 20; i++) {
        fixture_step(f);
    }
}

static void check_write(struct fixture *f)
{
    void *payload;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, 100);
    take_all();
    uint64_t token = fixture_append_start(f, 1, 1, 100, LARGE_BYTES, &payload);
    steps(f);
    assert_int_equal(f->status[token], FIXTURE_PENDING);
    assert_int_equal(store_failed(f->store), 0);
    assert_true(store_busy(f->store));
    fixture_create_sized(f, 2, CHUNK_BYTES); // others go on
    fixture_append(f, 2, 100);
    assert_true(f->scarce_waits > 0); // until it was tried again its owner could sleep
    give_back();
    assert_int_equal(fixture_wait(f, token), 0);
    free(payload);
    assert_int_equal(fixture_check_chunk(f, 1), 2);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 2);
}

static void test_write_when_there_is_no_descriptor_then_waits_for_one(void **state)
{
    check_write(*state);
}

static void test_write_when_there_is_no_descriptor_without_io_uring_then_waits(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    check_write(f);
}

static void test_checkpoint_when_there_is_no_descriptor_then_waits_for_one(void **state)
{
    struct fixture *f = *state;
    void *payloads[200];
    uint64_t tokens[200];

    f->options.journal_segment_bytes = 64u << 10;
    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    take_all();
    for (uint64_t i = 0; i < 200; i++) { // more than the journal takes
        tokens[i] = fixture_append_start(f, 1, i, i * 3000, 3000, &payloads[i]);
    }
    steps(f);
    assert_int_equal(f->status[tokens[199]], FIXTURE_PENDING);
    assert_int_equal(store_failed(f->store), 0);
    give_back();
    for (uint64_t i = 0; i < 200; i++) {
        assert_int_equal(fixture_wait(f, tokens[i]), 0);
        free(payloads[i]);
    }
    assert_int_equal(fixture_check_chunk(f, 1), 200);
}

static void test_close_when_a_write_waits_for_a_descriptor_then_ends(void **state)
{
    struct fixture *f = *state;
    void *payload;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, 100);
    take_all();
    (void)fixture_append_start(f, 1, 1, 100, LARGE_BYTES, &payload);
    steps(f);
    fixture_close(f);
    free(payload);
    give_back();
    fixture_open(f);
    assert_int_equal(fixture_check_chunk(f, 1), 1);
}

static void test_read_when_there_is_no_descriptor_then_says_busy_and_nothing_is_wrong(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    fixture_reopen(f); // its file is closed
    take_all();
    assert_int_equal(fixture_read_record(f, 1, 0), PAWL_EBUSY);
    assert_false(store_busy(f->store)); // nobody waits for the file any more
    assert_false(store_replica_find(f->store, 1)->unsound);
    give_back();
    assert_int_equal(fixture_read_record(f, 1, 0), 0);
}

static void test_read_when_an_idle_file_has_the_last_descriptor_then_gets_it(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    for (uint64_t handle = 1; handle <= 2; handle++) {
        fixture_create_sized(f, handle, CHUNK_BYTES);
        fixture_append(f, handle, LARGE_BYTES);
    }
    fixture_reopen(f);
    assert_int_equal(fixture_read_record(f, 1, 0), 0);
    assert_int_equal(f->store->files_count, 1);
    take_all();
    assert_int_equal(fixture_read_record(f, 2, 0), 0);
    assert_int_equal(f->store->files_count, 1);
    assert_int_equal(fixture_read_record(f, 1, 0), 0);
}

static void test_write_when_a_spare_has_the_last_descriptor_then_gets_it(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create_sized(f, 1, CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_settle(f);
    assert_int_equal(f->store->spares_count, 1);
    take_all();
    fixture_create_sized(f, 2, CHUNK_BYTES / 2); // of another size
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(f->store->spares_count, 0);
}

// Files and spares share what the store may have open.
static void test_files_when_there_are_spares_then_fewer_stay_open(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    f->store->files_max = 4;
    for (uint64_t handle = 1; handle <= 2; handle++) {
        fixture_create_sized(f, handle, CHUNK_BYTES);
        fixture_append(f, handle, LARGE_BYTES);
    }
    for (uint64_t handle = 1; handle <= 2; handle++) {
        uint64_t token = fixture_token(f);
        assert_int_equal(store_drop(f->store, handle, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
    }
    fixture_settle(f);
    for (uint64_t handle = 3; handle <= 6; handle++) {
        fixture_create_sized(f, handle, CHUNK_BYTES / 4);
        fixture_append(f, handle, LARGE_BYTES / 4);
    }
    assert_int_equal(f->store->spares_count, 2);
    assert_int_equal(f->store->files_count, 2);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_write_when_there_is_no_descriptor_then_waits_for_one),
        FIXTURE_TEST(test_write_when_there_is_no_descriptor_without_io_uring_then_waits),
        FIXTURE_TEST(test_checkpoint_when_there_is_no_descriptor_then_waits_for_one),
        FIXTURE_TEST(test_close_when_a_write_waits_for_a_descriptor_then_ends),
        FIXTURE_TEST(test_read_when_there_is_no_descriptor_then_says_busy_and_nothing_is_wrong),
        FIXTURE_TEST(test_read_when_an_idle_file_has_the_last_descriptor_then_gets_it),
        FIXTURE_TEST(test_write_when_a_spare_has_the_last_descriptor_then_gets_it),
        FIXTURE_TEST(test_files_when_there_are_spares_then_fewer_stay_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
