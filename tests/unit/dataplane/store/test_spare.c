// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/spare.c: which files are kept, who gets them, and when they go.
#include <errno.h>

#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "dataplane/store/store_private.h"

#define CHUNK_BYTES (1u << 20)
#define LARGE_BYTES 400000u
#define SPARES_MAX 128u // of spare.c

// At the next sync of the folder of chunk files this spare still has to have its footers.
static const char *footers_until_synced;
static uint32_t syncs_count; // of that folder
static int sync_that_fails;  // the so manieth from now on; 0: none does

int __real_fsync(int fd);
int __wrap_fsync(int fd);

static void drop(struct fixture *f, uint64_t handle)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_drop(f->store, handle, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
}

static void seal(struct fixture *f, uint64_t handle, uint64_t count)
{
    uint64_t token = fixture_token(f);

    assert_int_equal(store_seal(f->store, handle, 2, count, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
}

// Writes a chunk with one large record.
static void write_one(struct fixture *f, uint64_t handle)
{
    fixture_create_sized(f, handle, CHUNK_BYTES);
    fixture_append(f, handle, LARGE_BYTES);
}

// A chunk of the same file as chunk 1; returns the token of its creation.
static uint64_t create_next(struct fixture *f, uint64_t handle, uint64_t version)
{
    struct store_chunk chunk = fixture_new_chunk(handle, version);
    uint64_t token = fixture_token(f);

    chunk.file_id = fixture_new_chunk(1, 1).file_id;
    chunk.chunk_bytes = CHUNK_BYTES;
    assert_int_equal(store_create(f->store, &chunk, token), 0);
    return token;
}

// Leaves the file of a chunk behind.
static void leave(struct fixture *f, uint64_t handle)
{
    write_one(f, handle);
    drop(f, handle);
    fixture_settle(f);
}

static struct stat stat_of(struct fixture *f, const char *prefix)
{
    char path[192];
    struct stat ret;

    fixture_find_file(f, "chunks", prefix, path, sizeof(path));
    assert_int_equal(stat(path, &ret), 0);
    return ret;
}

static uint32_t spares_count(struct fixture *f)
{
    char path[128];
    uint32_t count = 0;

    for (unsigned i = 0; i < 2 * SPARES_MAX; i++) {
        snprintf(path, sizeof(path), "%s/chunks/spare-%u", f->dir, i);
        count += access(path, F_OK) == 0;
    }
    return count;
}

// Goes round the journal, so that everything from before is in footers only.
static void churn(struct fixture *f, uint64_t handle)
{
    fixture_create_sized(f, handle, 2 * CHUNK_BYTES);
    for (int i = 0; i < 30; i++) {
        fixture_append(f, handle, 16000);
    }
    fixture_settle(f);
}

static void setup_tiny(struct fixture *f)
{
    f->options.journal_segment_bytes = 64u << 10;
    fixture_open(f);
}

static void test_spare_when_a_chunk_is_dropped_then_the_next_one_gets_its_file(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    ino_t inode = stat_of(f, "0000000000000001").st_ino;
    drop(f, 1);
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
    assert_int_equal(stat_of(f, "spare-").st_ino, inode);
    write_one(f, 2);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
    assert_int_equal(stat_of(f, "0000000000000002").st_ino, inode);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    for (int round = 0; round < 2; round++) {
        assert_false(fixture_find(f, 1).found);
        assert_int_equal(fixture_check_chunk(f, 2), 1);
        fixture_reopen(f);
    }
}

static void test_spare_when_without_io_uring_then_works_the_same(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    f->options.no_direct = true;
    test_spare_when_a_chunk_is_dropped_then_the_next_one_gets_its_file(state);
}

static void test_file_when_the_last_chunk_took_large_records_then_is_made_ahead(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    leave(f, 3);
    write_one(f, 1);
    assert_int_equal(spares_count(f), 0);
    leave(f, 4);
    assert_int_equal(spares_count(f), 1);
    assert_int_equal(fixture_wait(f, create_next(f, 2, 1)), 0);
    fixture_create_sized(f, 5, CHUNK_BYTES); // of a file that nothing is known of
    fixture_settle(f);
    assert_int_equal(spares_count(f), 0);
    assert_int_equal(fixture_count_files(f, "chunks"), 2);
    ino_t inode = stat_of(f, "0000000000000002").st_ino;
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(stat_of(f, "0000000000000002").st_ino, inode);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
}

static void test_file_when_the_chunk_is_dropped_while_it_is_made_then_goes(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    for (uint64_t handle = 2; handle < 20; handle++) {
        uint64_t made = create_next(f, handle, 1);
        uint64_t token = fixture_token(f);
        if (handle % 2 == 0) { // else both are in one batch
            assert_int_equal(fixture_wait(f, made), 0);
        }
        assert_int_equal(store_drop(f->store, handle, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
    }
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
    fixture_reopen(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
}

// The kernel tells of it once: who syncs the file or folder again, because it needs the file, would hear that all is well.
static void test_file_when_its_sync_fails_while_it_is_made_then_out_of_service(void **state)
{
    struct fixture *f = *state;

    f->options.no_uring = true;
    for (int failing = 1; failing <= 2; failing++) { // the file's, the folder's
        fixture_open(f);
        write_one(f, 1);
        fixture_settle(f);
        sync_that_fails = failing;
        (void)fixture_wait(f, create_next(f, 2, 1));
        fixture_settle(f);
        assert_int_equal(sync_that_fails, 0);
        assert_int_equal(store_failed(f->store), -EIO);
        fixture_close(f);
        fixture_remove_tree(f->dir);
    }
}

static void test_file_when_the_chunk_is_replaced_while_it_is_made_then_goes(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    for (uint64_t version = 1; version < 20; version++) {
        assert_int_equal(fixture_wait(f, create_next(f, 2, version)), 0);
    }
    fixture_append(f, 2, LARGE_BYTES);
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 2);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
}

static void test_spare_when_of_another_size_then_is_not_taken(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES + DISK_PAGE_BYTES);
    fixture_append(f, 2, LARGE_BYTES);
    assert_int_equal(spares_count(f), 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 2);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 0);
}

static void test_spare_when_a_chunk_has_few_bytes_then_is_not_taken(void **state)
{
    struct fixture *f = *state;

    setup_tiny(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES);
    fixture_append(f, 2, 100);
    churn(f, 3);
    assert_int_equal(spares_count(f), 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 3);
}

static void test_spare_when_small_records_are_many_then_is_taken(void **state)
{
    enum { COUNT = 60, BYTES = 16000 };
    struct fixture *f = *state;

    f->options.journal_segment_bytes = 512u << 10;
    fixture_open(f);
    leave(f, 1);
    ino_t inode = stat_of(f, "spare-").st_ino;
    fixture_create_sized(f, 2, CHUNK_BYTES);
    for (unsigned i = 0; i < COUNT; i++) {
        fixture_append(f, 2, BYTES);
    }
    fixture_settle(f);
    assert_int_equal(spares_count(f), 0);
    assert_int_equal(stat_of(f, "0000000000000002").st_ino, inode);
    assert_int_equal(fixture_check_chunk(f, 2), COUNT);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), COUNT);
}

// It gets no more bytes: most of the blocks would be given back.
static void test_spare_when_a_sealed_chunk_is_half_full_then_is_not_taken(void **state)
{
    struct fixture *f = *state;

    f->options.journal_segment_bytes = 512u << 10;
    fixture_open(f);
    leave(f, 1);
    fixture_create_sized(f, 2, CHUNK_BYTES);
    for (unsigned i = 0; i < 30; i++) {
        fixture_append(f, 2, 16000);
    }
    seal(f, 2, 30);
    fixture_create_sized(f, 3, 4 * CHUNK_BYTES);
    for (unsigned i = 0; i < 40; i++) {
        fixture_append(f, 3, 16000);
    }
    fixture_settle(f);
    assert_true(store_replica_find(f->store, 2)->file_exists);
    assert_int_equal(spares_count(f), 1);
    assert_int_equal(fixture_check_chunk(f, 2), 30);
}

static void test_spare_when_its_chunk_is_dropped_meanwhile_then_holds_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    leave(f, 30);
    for (uint64_t handle = 2; handle < 8; handle++) {
        uint64_t token;
        (void)create_next(f, handle, 1);
        token = fixture_token(f);
        assert_int_equal(store_drop(f->store, handle, token), 0);
        assert_int_equal(fixture_wait(f, token), 0);
        fixture_settle(f);
    }
    assert_true(store_counters(f->store)->recycled_files_count > 0);
    assert_int_equal(f->store->unused_bytes, 0);
}

static void test_spare_when_little_was_written_then_file_is_not_kept(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    fixture_create_sized(f, 1, 8 * CHUNK_BYTES);
    fixture_append(f, 1, LARGE_BYTES);
    drop(f, 1);
    fixture_settle(f);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
}

// Its bytes must not become another chunk's while somebody reads them.
static void test_spare_when_the_file_is_being_read_then_it_is_not_kept(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    struct store_replica *replica = store_replica_find(f->store, 1);
    replica->file_uses++;
    drop(f, 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    store_file_release(replica);
    store_replica_release(replica);
}

static void test_spare_when_the_chunk_is_damaged_then_file_is_not_kept(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    store_replica_find(f->store, 1)->damaged = true;
    drop(f, 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
}

// The disk may have a bad spot there: nobody's next records are to lie on it.
static void test_spare_when_a_read_has_found_rot_then_file_is_not_kept(void **state)
{
    struct fixture *f = *state;
    char path[192];

    fixture_open(f);
    write_one(f, 1);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    fixture_flip(path, DISK_PAGE_BYTES + LARGE_BYTES / 2);
    assert_int_equal(fixture_read_record(f, 1, 0), PAWL_ECORRUPT);
    drop(f, 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
}

static void test_spare_when_many_chunks_are_dropped_then_their_number_is_bounded(void **state)
{
    struct fixture *f = *state;
    enum { CHUNKS = SPARES_MAX + 9 };

    fixture_open(f);
    for (uint64_t handle = 1; handle <= CHUNKS; handle++) {
        write_one(f, handle);
    }
    for (uint64_t handle = 1; handle <= CHUNKS; handle++) {
        drop(f, handle);
    }
    for (int round = 0; round < 2; round++) {
        fixture_settle(f);
        assert_int_equal(spares_count(f), SPARES_MAX);
        assert_int_equal(fixture_count_files(f, "chunks"), SPARES_MAX);
        fixture_reopen(f);
    }
}

static void test_spare_when_there_are_too_many_at_start_then_the_rest_goes(void **state)
{
    struct fixture *f = *state;
    char from[192], to[192];

    fixture_open(f);
    leave(f, 1);
    fixture_close(f);
    fixture_find_file(f, "chunks", "spare-", from, sizeof(from));
    for (unsigned i = 1; i < SPARES_MAX + 5; i++) {
        fixture_path(f, "chunks/spare-", to, sizeof(to));
        snprintf(to + strlen(to), sizeof(to) - strlen(to), "%u", i);
        fclose(fopen(to, "w"));
        assert_int_equal(truncate(to, (off_t)store_file_bytes(CHUNK_BYTES)), 0);
    }
    fixture_path(f, "chunks/spare-007", to, sizeof(to)); // no name of ours: left alone
    fclose(fopen(to, "w"));
    fixture_open(f);
    fixture_settle(f);
    assert_int_equal(spares_count(f), SPARES_MAX);
    assert_int_equal(fixture_count_files(f, "chunks"), SPARES_MAX + 1);
    assert_int_equal(fixture_count_files(f, "damaged"), 0);
}

static void test_spare_when_one_can_not_be_opened_then_the_store_opens_without_it(void **state)
{
    struct fixture *f = *state;
    char path[192];

    fixture_open(f);
    fixture_close(f);
    fixture_path(f, "chunks/spare-3", path, sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_open(f);
    leave(f, 1); // under another name
    assert_int_equal(fixture_count_files(f, "chunks"), 2);
    write_one(f, 2);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    assert_int_equal(rmdir(path), 0);
}

static void test_spare_when_restarted_then_is_there_and_taken(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    leave(f, 1);
    ino_t inode = stat_of(f, "spare-").st_ino;
    fixture_reopen(f);
    leave(f, 2); // takes it, and leaves it again
    assert_int_equal(stat_of(f, "spare-").st_ino, inode);
    write_one(f, 3);
    assert_int_equal(stat_of(f, "0000000000000003").st_ino, inode);
    assert_int_equal(spares_count(f), 0);
    assert_int_equal(fixture_check_chunk(f, 3), 1);
}

// After a restart chunks' files are closed until somebody needs them.
static void test_spare_when_the_dropped_chunks_file_is_closed_then_it_is_kept(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    fixture_reopen(f);
    drop(f, 1);
    fixture_settle(f);
    assert_int_equal(spares_count(f), 1);
    write_one(f, 2);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
}

// What a crash, or somebody, has done to the files: a drop and a write go on without a spare.
static void test_spare_when_it_can_not_be_made_then_the_drop_goes_on(void **state)
{
    struct fixture *f = *state;
    char path[192];

    f->options.journal_segments_count = 8; // no checkpoint, which needs the files
    fixture_open(f);
    write_one(f, 1);
    fixture_path(f, "chunks/spare-0", path, sizeof(path));
    assert_int_equal(mkdir(path, 0700), 0);
    drop(f, 1); // it can't be renamed to that
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    write_one(f, 2);
    fixture_find_file(f, "chunks", "0000000000000002", path, sizeof(path));
    assert_int_equal(truncate(path, 1 << 20), 0);
    drop(f, 2); // it has not its size
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    write_one(f, 3);
    fixture_reopen(f);
    fixture_find_file(f, "chunks", "0000000000000003", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    drop(f, 3); // it can't be opened
    assert_int_equal(fixture_count_files(f, "chunks"), 0);
    assert_int_equal(f->store->spares_bytes, 0);
}

static void test_spare_when_it_has_gone_then_a_new_file_is_made(void **state)
{
    struct fixture *f = *state;
    char path[192];

    fixture_open(f);
    leave(f, 1);
    fixture_find_file(f, "chunks", "spare-", path, sizeof(path));
    assert_int_equal(unlink(path), 0);
    write_one(f, 2);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 0);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
    assert_int_equal(fixture_count_files(f, "chunks"), 1);
}

static void footers_of(const char *path, struct disk_footer ret[2])
{
    uint64_t data_end = store_file_bytes(CHUNK_BYTES) - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;

    for (unsigned i = 0; i < 2; i++) {
        fixture_peek(path, data_end + i * (uint64_t)DISK_FOOTER_PLACE_BYTES, &ret[i],
                     sizeof(ret[i]));
    }
}

static bool is_folder_of_chunks(int fd)
{
    char link[64], path[256];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t bytes = readlink(link, path, sizeof(path));
    return bytes > 7 && memcmp(path + bytes - 7, "/chunks", 7) == 0;
}

int __wrap_fsync(int fd)
{
    struct disk_footer footers[2];

    if (is_folder_of_chunks(fd)) {
        syncs_count++;
        if (footers_until_synced != NULL) {
            footers_of(footers_until_synced, footers);
            assert_int_equal(footers[0].magic, DISK_FOOTER_MAGIC);
            footers_until_synced = NULL;
        }
    }
    if (sync_that_fails > 0 && --sync_that_fails == 0) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

// A chunk with both footers and nothing in the journal.
static void write_footers(struct fixture *f, uint64_t handle)
{
    write_one(f, handle);
    churn(f, handle + 1);
    fixture_append(f, handle, 100);
    churn(f, handle + 2);
}

static void test_spare_when_ready_then_has_no_footers(void **state)
{
    struct fixture *f = *state;
    static const struct disk_footer none[2];
    struct disk_footer footers[2];
    char path[192];

    setup_tiny(f);
    write_footers(f, 1);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    footers_of(path, footers);
    assert_int_equal(footers[0].magic, DISK_FOOTER_MAGIC);
    assert_int_equal(footers[1].magic, DISK_FOOTER_MAGIC);
    drop(f, 1);
    fixture_settle(f);
    fixture_find_file(f, "chunks", "spare-", path, sizeof(path));
    footers_of(path, footers);
    assert_memory_equal(footers, none, sizeof(none));
}

// A crash between the renaming and the zeros: the next start makes up for it, once the name lasts.
static void test_spare_when_it_still_has_footers_then_they_go_at_start(void **state)
{
    struct fixture *f = *state;
    char path[192], spare[192];

    setup_tiny(f);
    write_footers(f, 1);
    fixture_find_file(f, "chunks", "0000000000000001", path, sizeof(path));
    fixture_path(f, "copy", spare, sizeof(spare));
    assert_int_equal(link(path, spare), 0);
    f->store->files_max = 0; // no spares
    drop(f, 1);
    fixture_close(f);
    fixture_path(f, "copy", path, sizeof(path));
    fixture_path(f, "chunks/spare-5", spare, sizeof(spare));
    assert_int_equal(rename(path, spare), 0);
    footers_until_synced = spare;
    fixture_open(f);
    assert_null(footers_until_synced);
    assert_int_equal(spares_count(f), 1);
    assert_int_equal(fixture_count_files(f, "damaged"), 0);
    write_one(f, 10);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 1);
    churn(f, 11); // one footer of its own
    fixture_reopen(f);
    assert_false(fixture_find(f, 1).found);
    assert_false(fixture_find(f, 10).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 10), 1);
}

// A process that was killed may have given a name and not synced it: entries refer to the file from now on.
static void test_spare_when_its_chunk_is_adopted_then_the_folder_is_synced(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    write_one(f, 1);
    fixture_close(f);
    syncs_count = 0;
    fixture_open(f);
    assert_int_equal(syncs_count, 1);
}

static void write_half(struct fixture *f, uint64_t handle)
{
    fixture_create_sized(f, handle, CHUNK_BYTES / 2);
    fixture_append(f, handle, LARGE_BYTES);
}

static void test_spare_when_another_size_comes_into_use_then_the_old_ones_go(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    f->store->files_max = 4; // two spares
    write_one(f, 1);
    write_one(f, 2);
    drop(f, 1);
    drop(f, 2);
    fixture_settle(f);
    write_half(f, 3);
    write_half(f, 4);
    drop(f, 3);
    drop(f, 4);
    fixture_settle(f);
    assert_int_equal(spares_count(f), 2);
    write_half(f, 5);
    write_half(f, 6);
    assert_int_equal(store_counters(f->store)->recycled_files_count, 2);
    assert_int_equal(spares_count(f), 0);
}

// No write is refused for space that a spare holds.
static void test_spare_when_the_limit_comes_near_then_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct store_space space;

    f->options.space_limit_bytes = 2 * (1u << 20) + 8 * LARGE_BYTES;
    fixture_open(f);
    fixture_create_sized(f, 9, 16 * CHUNK_BYTES);
    store_space(f->store, &space);
    uint64_t free_bytes = space.free_bytes;
    leave(f, 1);
    store_space(f->store, &space);
    assert_int_equal(space.free_bytes, free_bytes);
    assert_int_equal(spares_count(f), 1);
    for (int i = 0; i < 7; i++) {
        fixture_append(f, 9, LARGE_BYTES);
    }
    fixture_settle(f);
    assert_int_equal(spares_count(f), 0);
    struct pawl_record record = fixture_record(7 * LARGE_BYTES, 9, 7, 2 * LARGE_BYTES);
    assert_int_equal(store_append(f->store, 9, 7, &record, f->buffer, 0, 1), PAWL_ENOSPACE);
}

static void test_spare_when_its_chunk_is_sealed_then_the_rest_goes_back(void **state)
{
    struct fixture *f = *state;

    setup_tiny(f);
    leave(f, 1);
    blkcnt_t before = stat_of(f, "spare-").st_blocks;
    fixture_create_sized(f, 2, CHUNK_BYTES);
    fixture_append(f, 2, 40000);
    assert_int_equal(stat_of(f, "0000000000000002").st_blocks, before);
    assert_true(f->store->unused_bytes > 300000);
    seal(f, 2, 1);
    churn(f, 3);
    assert_true(stat_of(f, "0000000000000002").st_blocks < before / 2);
    assert_int_equal(f->store->unused_bytes, 0);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
    assert_false(fixture_find(f, 2).chunk.damaged);
}

// What the checkpoint didn't give back, the next start does; of an open chunk it only knows it.
static void test_spare_when_restarted_then_unused_blocks_are_known(void **state)
{
    struct fixture *f = *state;
    char path[192];

    setup_tiny(f);
    fixture_create_sized(f, 1, 4 * CHUNK_BYTES);
    for (int i = 0; i < 8; i++) {
        fixture_append(f, 1, LARGE_BYTES);
    }
    drop(f, 1);
    fixture_settle(f);
    fixture_create_sized(f, 2, 4 * CHUNK_BYTES);
    fixture_append(f, 2, 40000);
    uint64_t unused_bytes = f->store->unused_bytes;
    assert_true(unused_bytes > 3000000);
    churn(f, 3);
    fixture_reopen(f);
    assert_true(f->store->unused_bytes > 3000000);
    seal(f, 2, 1);
    churn(f, 4);
    assert_int_equal(f->store->unused_bytes, 0);
    fixture_close(f);
    fixture_find_file(f, "chunks", "0000000000000002", path, sizeof(path));
    void *zeros = calloc(1, 2 * CHUNK_BYTES);
    fixture_write(path, CHUNK_BYTES, zeros, 2 * CHUNK_BYTES);
    free(zeros);
    fixture_open(f);
    assert_true(stat_of(f, "0000000000000002").st_blocks < 2 * CHUNK_BYTES / 512);
    assert_int_equal(f->store->unused_bytes, 0);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_spare_when_a_chunk_is_dropped_then_the_next_one_gets_its_file),
        FIXTURE_TEST(test_spare_when_without_io_uring_then_works_the_same),
        FIXTURE_TEST(test_file_when_the_last_chunk_took_large_records_then_is_made_ahead),
        FIXTURE_TEST(test_file_when_the_chunk_is_dropped_while_it_is_made_then_goes),
        FIXTURE_TEST(test_file_when_its_sync_fails_while_it_is_made_then_out_of_service),
        FIXTURE_TEST(test_file_when_the_chunk_is_replaced_while_it_is_made_then_goes),
        FIXTURE_TEST(test_spare_when_of_another_size_then_is_not_taken),
        FIXTURE_TEST(test_spare_when_a_chunk_has_few_bytes_then_is_not_taken),
        FIXTURE_TEST(test_spare_when_small_records_are_many_then_is_taken),
        FIXTURE_TEST(test_spare_when_a_sealed_chunk_is_half_full_then_is_not_taken),
        FIXTURE_TEST(test_spare_when_its_chunk_is_dropped_meanwhile_then_holds_nothing),
        FIXTURE_TEST(test_spare_when_little_was_written_then_file_is_not_kept),
        FIXTURE_TEST(test_spare_when_the_file_is_being_read_then_it_is_not_kept),
        FIXTURE_TEST(test_spare_when_the_chunk_is_damaged_then_file_is_not_kept),
        FIXTURE_TEST(test_spare_when_a_read_has_found_rot_then_file_is_not_kept),
        FIXTURE_TEST(test_spare_when_many_chunks_are_dropped_then_their_number_is_bounded),
        FIXTURE_TEST(test_spare_when_there_are_too_many_at_start_then_the_rest_goes),
        FIXTURE_TEST(test_spare_when_one_can_not_be_opened_then_the_store_opens_without_it),
        FIXTURE_TEST(test_spare_when_restarted_then_is_there_and_taken),
        FIXTURE_TEST(test_spare_when_the_dropped_chunks_file_is_closed_then_it_is_kept),
        FIXTURE_TEST(test_spare_when_it_can_not_be_made_then_the_drop_goes_on),
        FIXTURE_TEST(test_spare_when_it_has_gone_then_a_new_file_is_made),
        FIXTURE_TEST(test_spare_when_ready_then_has_no_footers),
        FIXTURE_TEST(test_spare_when_it_still_has_footers_then_they_go_at_start),
        FIXTURE_TEST(test_spare_when_its_chunk_is_adopted_then_the_folder_is_synced),
        FIXTURE_TEST(test_spare_when_another_size_comes_into_use_then_the_old_ones_go),
        FIXTURE_TEST(test_spare_when_the_limit_comes_near_then_is_given_up),
        FIXTURE_TEST(test_spare_when_its_chunk_is_sealed_then_the_rest_goes_back),
        FIXTURE_TEST(test_spare_when_restarted_then_unused_blocks_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
