// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/segment.c: the journal's files have their blocks, written once, before the first record.
// A flush of a batch would else write what the file system knows of them, too.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "store_fixture.h"

#define EXTENTS_MAX 32u

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

// Where zeros take blocks, and blocks are where they are.
static bool is_plain(const char *dir)
{
    struct statfs stat;
    assert_int_equal(statfs(dir, &stat), 0);
    return stat.f_type == EXT4_SUPER_MAGIC || stat.f_type == XFS_SUPER_MAGIC;
}

// Bytes of the file that are in extents which were written before.
static uint64_t written_bytes(int fd)
{
    struct fiemap *map = calloc(1, sizeof(*map) + EXTENTS_MAX * sizeof(map->fm_extents[0]));
    uint64_t bytes = 0;
    bool is_last = false;
    assert_non_null(map);
    while (!is_last) {
        map->fm_length = FIEMAP_MAX_OFFSET - map->fm_start;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = EXTENTS_MAX;
        assert_int_equal(ioctl(fd, FS_IOC_FIEMAP, map), 0);
        is_last = map->fm_mapped_extents == 0;
        for (uint32_t i = 0; i < map->fm_mapped_extents; i++) {
            const struct fiemap_extent *extent = &map->fm_extents[i];
            bytes += (extent->fe_flags & FIEMAP_EXTENT_UNWRITTEN) == 0 ? extent->fe_length : 0;
            is_last |= (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
            map->fm_start = extent->fe_logical + extent->fe_length;
        }
    }
    free(map);
    return bytes;
}

static void check_segment(const char *path)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat), 0);
    assert_true(stat.st_size > 0);
    assert_true((uint64_t)stat.st_blocks * 512 >= (uint64_t)stat.st_size);
    assert_true(written_bytes(fd) >= (uint64_t)stat.st_size);
    close(fd);
}

// Returns how many there are.
static uint32_t check_segments(const struct fixture *f)
{
    char folder[256];
    char path[600];
    uint32_t count = 0;
    const struct dirent *entry;
    fixture_path(f, "journal", folder, sizeof(folder));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            check_segment(path);
            count++;
        }
    }
    closedir(dir);
    return count;
}

static void test_segments_when_the_store_is_new_then_have_written_blocks(void **state)
{
    struct fixture *f = *state;
    if (!is_plain(f->dir)) {
        skip();
    }
    f->options.journal_segment_bytes = (5u << 20) + 4096; // no multiple of a write
    fixture_open(f);
    assert_int_equal(check_segments(f), 2);
    fixture_close(f);
    f->options.journal_segments_count = 4;
    fixture_open(f);
    assert_int_equal(check_segments(f), 4); // those that are added, too
}

#define FIXTURE_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_segments_when_the_store_is_new_then_have_written_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
