// SPDX-License-Identifier: Apache-2.0
// Which bytes of a chunk file the flush of a journal segment makes durable as well.
//
// A flush empties the whole device's cache. So what a finished direct write left there is durable with the next
// flush of any file of that device, if its file system has nothing of its own to write down: blocks that are there
// and have been written before, no copy on write, no detour through the page cache. Known for certain of ext4, whose
// fdatasync flushes the device in any case (ext4_sync_file of Linux), and whose direct writes end in the device also
// when they had to take that detour. XFS leaves such bytes in the page cache, has real-time devices, and copies what
// `cp` has shared; others may ask a server, or several devices, for each file.
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "dataplane/store/store_private.h"

#define COVER_EXTENTS 64u // a file in more pieces is covered up to there

// Anything but an ordinary piece of the device: the file system has a word to say before it is durable.
#define COVER_EXTENT_FLAGS (~(uint32_t)(FIEMAP_EXTENT_LAST | FIEMAP_EXTENT_MERGED))

static bool file_system_is_known(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC;
}

// Without the page cache: some mounts and files take O_DIRECT and go through it all the same (data=journal).
static bool file_is_direct(int fd, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_DIOALIGN, ret) == 0 &&
           (ret->stx_mask & STATX_DIOALIGN) != 0 && ret->stx_dio_offset_align != 0 &&
           ret->stx_dio_offset_align <= DISK_PAGE_BYTES &&
           ret->stx_dio_mem_align <= DISK_PAGE_BYTES;
}

static bool is_on_one_device(const struct store *store, int fd)
{
    struct statx file, journal;

    return file_is_direct(fd, &file) && file_is_direct(store->journal.segments[0].fd, &journal) &&
           file.stx_dev_major == journal.stx_dev_major &&
           file.stx_dev_minor == journal.stx_dev_minor;
}

// Up to where the data area's blocks are there, and written.
static uint64_t written_end(int fd)
{
    union {
        struct fiemap map; // its extents lie behind it
        unsigned char bytes[sizeof(struct fiemap) + COVER_EXTENTS * sizeof(struct fiemap_extent)];
    } query;
    uint64_t end = DISK_PAGE_BYTES;

    memset(&query, 0, sizeof(query));
    query.map.fm_start = DISK_PAGE_BYTES;
    query.map.fm_length = FIEMAP_MAX_OFFSET - DISK_PAGE_BYTES;
    query.map.fm_extent_count = COVER_EXTENTS;
    if (ioctl(fd, FS_IOC_FIEMAP, &query) != 0) {
        return 0;
    }
    uint32_t count = PAWL_MIN(query.map.fm_mapped_extents, COVER_EXTENTS);
    for (uint32_t i = 0; i < count; i++) {
        const struct fiemap_extent *extent = &query.map.fm_extents[i];
        if (extent->fe_logical > end || (extent->fe_flags & COVER_EXTENT_FLAGS) != 0) {
            break;
        }
        end = PAWL_MAX(end, extent->fe_logical + extent->fe_length);
    }
    return end;
}

uint64_t store_covered_end(const struct store *store, int fd)
{
    return store->direct && file_system_is_known(fd) && is_on_one_device(store, fd)
               ? written_end(fd)
               : 0;
}
