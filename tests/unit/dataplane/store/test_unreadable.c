// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/recovery.c and replay.c: what the disk can't read at the start.
#include "store_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/disk.h"

// Records of version 2 tell that it was promised, be they small, large, or a run.
// Where the disk can't read any more.
static struct {
    ino_t inode; // 0: nowhere
    uint64_t at;
    uint64_t end;
} unreadable;

ssize_t __real_pread(int fd, void *buffer, size_t bytes, off_t offset);
ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset);

ssize_t __wrap_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    struct stat stat;

    if (unreadable.inode != 0 && fstat(fd, &stat) == 0 && stat.st_ino == unreadable.inode &&
        (uint64_t)offset < unreadable.end && (uint64_t)offset + bytes > unreadable.at) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, buffer, bytes, offset);
}

// Opens the store while a part of that file can't be read.
static int open_without(struct fixture *f, const char *path, uint64_t at, uint64_t end)
{
    struct stat file;

    assert_int_equal(stat(path, &file), 0);
    unreadable.at = at;
    unreadable.end = end;
    unreadable.inode = file.st_ino;
    int code = store_open(&f->options, &f->store);
    unreadable.inode = 0;
    if (code != 0) {
        f->store = NULL;
    }
    return code;
}

static void open_with_bad_sector(struct fixture *f, const char *path, uint64_t at)
{
    assert_int_equal(open_without(f, path, at, at + DISK_BLOCK_BYTES_MIN), 0);
}

// Where the batch that has an entry of this type begins; UINT64_MAX: there is none.
static uint64_t batch_of(const char *path, enum disk_entry_type wanted)
{
    struct {
        uint32_t magic;
        uint16_t format, type;
    } entry = {.magic = DISK_ENTRY_MAGIC, .format = DISK_FORMAT, .type = (uint16_t)wanted};
    uint64_t at = fixture_search(path, &entry, sizeof(entry), 0);

    return at == UINT64_MAX ? at : at / DISK_BLOCK_BYTES_MIN * DISK_BLOCK_BYTES_MIN;
}

// To a scan they are zeros, as if nothing had been written there: a fenced primary would be let in again.
static void
test_unreadable_when_the_last_batches_cannot_be_read_then_open_chunks_are_damaged(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 3, 0);
    fixture_promise_two(f);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    assert_int_equal(open_without(f, path, batch_of(path, DISK_ENTRY_PROMISE), UINT64_MAX), 0);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 3);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
}

// The next segment's header was written, and then the process was killed: no entry of it says what was lost.
static void test_unreadable_when_a_loss_was_not_written_down_then_it_is_found_again(void **state)
{
    struct fixture *f = *state;
    char path[128];
    uint8_t zeros[2 * DISK_PAGE_BYTES] = {0};

    f->options.journal_segments_count = 8; // so that no footer tells it either
    fixture_open_small(f);
    fixture_fill(f, 3, 0);
    fixture_promise_two(f);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    assert_int_equal(open_without(f, path, batch_of(path, DISK_ENTRY_PROMISE), UINT64_MAX), 0);
    fixture_settle(f);
    fixture_close(f);
    fixture_path(f, "journal/01", path, sizeof(path));
    assert_int_equal(batch_of(path, DISK_ENTRY_DAMAGE),
                     DISK_PAGE_BYTES); // the first behind the header
    fixture_write(path, DISK_PAGE_BYTES, zeros, sizeof(zeros));
    assert_int_equal(batch_of(path, DISK_ENTRY_DAMAGE), UINT64_MAX);
    fixture_open(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    fixture_create(f, 2, 1);
    fixture_append(f, 2, 100);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_false(fixture_find(f, 2).chunk.damaged); // it came later
    assert_int_equal(fixture_check_chunk(f, 2), 1);
}

// Its header can: a batch that was torn looks the same.
static void
test_unreadable_when_the_last_batch_cannot_be_read_whole_then_open_chunks_are_damaged(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 3, 0);
    fixture_append(f, 1, 3000);
    fixture_crash(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    uint8_t *payload = fixture_payload(1, 3, 3000);
    uint64_t at = fixture_search(path, payload + 1500, 100, 0);
    free(payload);
    open_with_bad_sector(f, path, at / DISK_BLOCK_BYTES_MIN * DISK_BLOCK_BYTES_MIN);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 1), 3);
}

static void test_unreadable_when_a_segments_beginning_cannot_be_read_then_refuses(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 5, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    assert_int_equal(open_without(f, path, 0, 2 * (uint64_t)DISK_PAGE_BYTES), -EIO);
    assert_int_equal(open_without(f, path, 0, UINT64_MAX), -EIO);
    fixture_open(f); // it was the cable
    assert_int_equal(fixture_check_chunk(f, 1), 6);
    assert_false(fixture_find(f, 1).chunk.damaged);
}

static void test_unreadable_when_a_segment_header_cannot_be_read_then_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_fill(f, 5, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    open_with_bad_sector(f, path, 0);
    assert_int_equal(fixture_check_chunk(f, 1), 6);
    assert_false(fixture_find(f, 1).chunk.damaged);
    fixture_append(f, 1, 10);
    fixture_reopen(f);
    assert_int_equal(fixture_check_chunk(f, 1), 7);
}

static void test_unreadable_when_a_sector_of_the_journal_cannot_be_read_then_it_is_rot(void **state)
{
    struct fixture *f = *state;
    char path[128];

    fixture_open_small(f);
    fixture_create(f, 2, 1);
    fixture_append(f, 2, 100);
    uint64_t token = fixture_token(f);
    assert_int_equal(store_seal(f->store, 2, 1, 1, token), 0);
    assert_int_equal(fixture_wait(f, token), 0);
    fixture_fill(f, 6, 1);
    fixture_close(f);
    fixture_path(f, "journal/00", path, sizeof(path));
    void *payload = fixture_payload(1, 3, 700);
    uint64_t at = fixture_search(path, payload, 700, 0);
    free(payload);
    open_with_bad_sector(f, path, at / DISK_BLOCK_BYTES_MIN * DISK_BLOCK_BYTES_MIN);
    assert_true(fixture_find(f, 1).chunk.damaged); // the sector has its entry, too
    assert_int_equal(fixture_check_chunk(f, 1), 3);
    assert_false(fixture_find(f, 2).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 2), 1);
    fixture_create(f, 3, 1);
    fixture_append(f, 3, 100);
    fixture_reopen(f);
    assert_true(fixture_find(f, 1).chunk.damaged);
    assert_int_equal(fixture_check_chunk(f, 3), 1);
}

// The header, and the rows, of each of the two.
static void test_unreadable_when_a_footer_cannot_be_read_then_its_chunk_is_damaged(void **state)
{
    struct fixture *f = *state;
    int damaged_count = 0;

    for (unsigned i = 0; i < 4; i++) {
        char path[192];
        struct stat file;
        fixture_open_small(f);
        fixture_fill(f, 5, 0);
        fixture_create(f, 2, 1);
        fixture_go_round(f);
        fixture_close(f);
        fixture_find_file(f, "chunks", "0000000000000002", path, sizeof(path));
        assert_int_equal(stat(path, &file), 0);
        uint64_t footer = (uint64_t)file.st_size - (1 + i % 2) * (uint64_t)DISK_FOOTER_PLACE_BYTES;
        uint8_t magic[4];
        fixture_peek(path, footer, magic, sizeof(magic));
        assert_true(magic[0] != 0); // there is one
        open_with_bad_sector(f, path, footer + i / 2 * (uint64_t)DISK_PAGE_BYTES);
        bool damaged = fixture_find(f, 2).chunk.damaged;
        damaged_count += damaged;
        assert_true(damaged || i >= 2); // nobody looks at the older one's rows
        assert_int_equal(fixture_check_chunk(f, 1), 5);
        assert_false(fixture_find(f, 1).chunk.damaged);
        fixture_close(f);
        fixture_remove_tree(f->dir);
    }
    assert_int_equal(damaged_count, 3);
    fixture_open(f);
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(
            test_unreadable_when_the_last_batches_cannot_be_read_then_open_chunks_are_damaged),
        FIXTURE_TEST(test_unreadable_when_a_loss_was_not_written_down_then_it_is_found_again),
        FIXTURE_TEST(
            test_unreadable_when_the_last_batch_cannot_be_read_whole_then_open_chunks_are_damaged),
        FIXTURE_TEST(test_unreadable_when_a_segments_beginning_cannot_be_read_then_refuses),
        FIXTURE_TEST(test_unreadable_when_a_segment_header_cannot_be_read_then_nothing_is_lost),
        FIXTURE_TEST(test_unreadable_when_a_sector_of_the_journal_cannot_be_read_then_it_is_rot),
        FIXTURE_TEST(test_unreadable_when_a_footer_cannot_be_read_then_its_chunk_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
