// SPDX-License-Identifier: Apache-2.0
// Tests of what a store says to be free, on a file system that the test plays.
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define GIB (UINT64_C(1) << 30)
#define JOURNAL_BYTES (UINT64_C(4) * (64 << 10))
#define LOOK_BYTES (UINT64_C(16) << 20) // taken before the next look

static uint64_t disk_free_bytes;

int __wrap_fstatvfs(int fd, struct statvfs *ret);
int __wrap_fstatvfs(int fd, struct statvfs *ret)
{
    (void)fd;
    *ret = (struct statvfs){
        .f_frsize = 4096, .f_blocks = 100 * GIB / 4096, .f_bavail = disk_free_bytes / 4096};
    return 0;
}

static struct store_space space_of(uint32_t stores_count, uint64_t limit_bytes)
{
    char dir[] = "space-XXXXXX";
    char command[64];
    struct store_space space;
    assert_non_null(mkdtemp(dir));
    struct store_options options = {.dir = dir,
                                    .space_limit_bytes = limit_bytes,
                                    .journal_segment_bytes = 64 << 10,
                                    .journal_segments_count = 4,
                                    .stores_count = stores_count};
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store), 0);
    store_space(store, &space);
    store_close(store);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
    return space;
}

static void test_space_when_there_is_one_store_is_the_disks(void **state)
{
    (void)state;
    disk_free_bytes = 50 * GIB;
    struct store_space space = space_of(0, 0);
    assert_true(space.disk_bytes < 50 * GIB && space.disk_bytes > 49 * GIB);
    assert_int_equal(space.free_bytes, space.disk_bytes);
    assert_int_equal(space.used_bytes, JOURNAL_BYTES);
    assert_int_equal(space_of(1, 0).disk_bytes, space.disk_bytes);
    space = space_of(1, GIB);
    assert_int_equal(space.total_bytes, GIB);
    assert_true(space.disk_bytes > 49 * GIB); // the limit is this store's, the disk is not
}

static void test_space_when_stores_share_a_disk_holds_back_what_the_others_may_take(void **state)
{
    (void)state;
    disk_free_bytes = 50 * GIB;
    uint64_t alone = space_of(1, 0).disk_bytes;
    assert_int_equal(space_of(3, 0).disk_bytes, alone - 2 * (JOURNAL_BYTES + LOOK_BYTES));
    disk_free_bytes = GIB / 4 + LOOK_BYTES; // less than is held back
    assert_int_equal(space_of(3, 0).free_bytes, 0);
}

// What a deleted chunk has left counts as free; it goes when others leave no more than a few times as much.
static void test_space_when_the_disk_gets_full_then_spares_are_given_up(void **state)
{
    enum { BYTES = 4 << 20 };
    struct fixture *f;
    struct store_space before, after;
    (void)state;
    assert_int_equal(fixture_setup((void **)&f), 0);
    disk_free_bytes = 50 * GIB;
    fixture_open(f);
    struct store_chunk chunk = fixture_new_chunk(1, 1);
    chunk.chunk_bytes = BYTES;
    uint64_t token = fixture_token(f);
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_append(f, 1, BYTES);
    store_space(f->store, &before);
    token = fixture_token(f);
    assert_int_equal(store_drop(f->store, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_settle(f);
    store_space(f->store, &after);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
    assert_true(after.disk_bytes >=
                before.disk_bytes + BYTES - LOOK_BYTES / 16); // the journal holds more
    disk_free_bytes = GIB / 4 + 32 * (1 << 20);
    store_space(f->store, &after);
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 1); // there is enough besides
    disk_free_bytes = GIB / 4 + 2 * BYTES;
    store_space(f->store, &after);
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    fixture_teardown((void **)&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space_when_there_is_one_store_is_the_disks),
        cmocka_unit_test(test_space_when_stores_share_a_disk_holds_back_what_the_others_may_take),
        cmocka_unit_test(test_space_when_the_disk_gets_full_then_spares_are_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
