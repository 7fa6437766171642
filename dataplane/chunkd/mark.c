// SPDX-License-Identifier: Apache-2.0
// DIR/mark: replaced as a whole, so that a crash leaves the old one or the new one.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "proto/disk.h"

static uint32_t mark_crc(const struct disk_mark *disk)
{
    struct disk_mark copy = *disk;
    copy.crc = 0;
    return pawl_crc32c(0, &copy, sizeof(copy));
}

static bool mark_is_sound(const struct disk_mark *disk, ssize_t bytes)
{
    return bytes == (ssize_t)sizeof(*disk) && disk->magic == DISK_MARK_MAGIC &&
           disk->format == DISK_FORMAT && disk->features == DISK_FEATURES &&
           disk->crc == mark_crc(disk);
}

void mark_load(const char *dir, struct mark *ret)
{
    struct disk_mark disk = {0};
    *ret = (struct mark){0};
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = dir_fd >= 0 ? openat(dir_fd, "mark", O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        ssize_t bytes = read(fd, &disk, sizeof(disk));
        if (mark_is_sound(&disk, bytes)) {
            *ret = (struct mark){.cluster_id = disk.cluster_id,
                                 .term = disk.term,
                                 .nonce = disk.nonce,
                                 .position = disk.position};
        } else {
            pawl_log_warn("%s/mark can't be read: what was seen of the master's log is forgotten",
                          dir);
        }
        close(fd);
    }
    if (dir_fd >= 0) {
        close(dir_fd);
    }
}

static int mark_write(int dir_fd, const struct disk_mark *disk)
{
    int fd = openat(dir_fd, "mark.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    errno = EIO; // of a short write
    bool written = write(fd, disk, sizeof(*disk)) == (ssize_t)sizeof(*disk) && fsync(fd) == 0;
    int code = written ? 0 : -errno;
    close(fd);
    if (code == 0 && (renameat(dir_fd, "mark.new", dir_fd, "mark") != 0 || fsync(dir_fd) != 0)) {
        code = -errno;
    }
    return code;
}

int mark_save(const char *dir, const struct mark *mark)
{
    struct disk_mark disk = {
        .magic = DISK_MARK_MAGIC,
        .format = DISK_FORMAT,
        .features = DISK_FEATURES,
        .cluster_id = mark->cluster_id,
        .term = mark->term,
        .nonce = mark->nonce,
        .position = mark->position,
    };
    disk.crc = mark_crc(&disk);
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return -errno;
    }
    int code = mark_write(dir_fd, &disk);
    close(dir_fd);
    return code;
}
