// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/cover.c, on the disk that the tests run on.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/store/store_private.h"

#define PIECE_BYTES (64u << 10)

struct file {
    struct fixture *f;
    int fd;
    uint8_t *piece;
};

// A file beside the chunks of an open store.
static struct file file_new(struct fixture *f)
{
    struct file file = {.f = f};
    char path[256];

    fixture_path(f, "chunks/cover", path, sizeof(path));
    file.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | store_file_flags(f->store), 0600);
    assert_true(file.fd >= 0);
    file.piece = aligned_alloc(DISK_PAGE_BYTES, PIECE_BYTES);
    assert_non_null(file.piece);
    memset(file.piece, 7, PIECE_BYTES);
    assert_int_equal(ftruncate(file.fd, 1u << 20), 0);
    return file;
}

static void file_free(struct file *file)
{
    free(file->piece);
    close(file->fd);
}

static void file_write(struct file *file, uint64_t offset)
{
    assert_int_equal(pwrite(file->fd, file->piece, PIECE_BYTES, (off_t)offset), PIECE_BYTES);
    assert_int_equal(fdatasync(file->fd), 0);
}

// Elsewhere nothing is covered, whatever is written.
static bool is_known(const struct file *file)
{
    struct statfs fs;

    assert_int_equal(fstatfs(file->fd, &fs), 0);
    return file->f->store->direct && fs.f_type == EXT4_SUPER_MAGIC;
}

static void test_cover_when_blocks_are_written_then_up_to_their_end(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    struct file file = file_new(f);
    assert_in_range(store_covered_end(f->store, file.fd), 0, DISK_PAGE_BYTES);
    file_write(&file, DISK_PAGE_BYTES);
    file_write(&file, DISK_PAGE_BYTES + PIECE_BYTES);
    uint64_t end = store_covered_end(f->store, file.fd);
    if (is_known(&file)) {
        assert_int_equal(end, DISK_PAGE_BYTES + 2 * PIECE_BYTES);
    } else {
        assert_int_equal(end, 0);
    }
    file_write(&file, 512u << 10); // behind a hole
    assert_int_equal(store_covered_end(f->store, file.fd), end);
    file_free(&file);
}

static void test_cover_when_the_first_block_is_missing_then_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    struct file file = file_new(f);
    file_write(&file, 128u << 10);
    assert_in_range(store_covered_end(f->store, file.fd), 0, DISK_PAGE_BYTES);
    file_free(&file);
}

// To write into them changes the file system's own data.
static void test_cover_when_blocks_are_only_reserved_then_nothing(void **state)
{
    struct fixture *f = *state;

    fixture_open(f);
    struct file file = file_new(f);
    assert_int_equal(posix_fallocate(file.fd, 0, 1u << 20), 0);
    assert_int_equal(fsync(file.fd), 0);
    assert_in_range(store_covered_end(f->store, file.fd), 0, DISK_PAGE_BYTES);
    file_write(&file, DISK_PAGE_BYTES);
    assert_in_range(store_covered_end(f->store, file.fd), 0, DISK_PAGE_BYTES + PIECE_BYTES);
    file_free(&file);
}

static void test_cover_when_files_go_through_the_page_cache_then_nothing(void **state)
{
    struct fixture *f = *state;

    f->options.no_direct = true;
    fixture_open(f);
    struct file file = file_new(f);
    file_write(&file, DISK_PAGE_BYTES);
    assert_int_equal(store_covered_end(f->store, file.fd), 0);
    file_free(&file);
}

static void test_cover_when_there_is_no_file_then_nothing(void **state)
{
    struct fixture *f = *state;
    int fds[2];

    fixture_open(f);
    assert_int_equal(pipe(fds), 0); // no file system that is known, no device
    assert_int_equal(store_covered_end(f->store, fds[0]), 0);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(store_covered_end(f->store, fds[0]), 0);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_cover_when_blocks_are_written_then_up_to_their_end),
        FIXTURE_TEST(test_cover_when_the_first_block_is_missing_then_nothing),
        FIXTURE_TEST(test_cover_when_blocks_are_only_reserved_then_nothing),
        FIXTURE_TEST(test_cover_when_files_go_through_the_page_cache_then_nothing),
        FIXTURE_TEST(test_cover_when_there_is_no_file_then_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
