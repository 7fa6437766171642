// SPDX-License-Identifier: Apache-2.0
// DIR/reactors and the stores beside it.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/random.h"
#include "dataplane/store/store.h"
#include "proto/disk.h"
#include "proto/reactor.h"

#define LAYOUT_FILE "reactors"
#define LAYOUT_FILE_NEW "reactors.new"

// ---- the file -----------------------------------------------------------------------------------

static uint32_t layout_crc(const struct disk_reactors *disk)
{
    struct disk_reactors copy = *disk;
    copy.crc = 0;
    return pawl_crc32c(0, &copy, sizeof(copy));
}

// Format before checksum: a newer format may have another layout.
static int layout_check(const char *dir, const struct disk_reactors *disk, size_t bytes)
{
    if (bytes >= 12 && disk->magic == DISK_REACTORS_MAGIC &&
        (disk->format != DISK_FORMAT || disk->features != DISK_FEATURES)) {
        pawl_log_error("%s/" LAYOUT_FILE " has format %u features %#x, this program knows format "
                       "%u features %#x",
                       dir, disk->format, disk->features, DISK_FORMAT, DISK_FEATURES);
        return PAWL_EFORMAT;
    }
    if (bytes != sizeof(*disk) || disk->magic != DISK_REACTORS_MAGIC ||
        disk->crc != layout_crc(disk) || disk->reactors_count < 2 ||
        disk->reactors_count > REACTORS_MAX || disk->server_id == 0) {
        pawl_log_error("%s/" LAYOUT_FILE " is damaged (%zu bytes): restore it, or empty the "
                       "directory to let this server begin anew",
                       dir, bytes);
        return PAWL_EFORMAT;
    }
    return 0;
}

// -ENOENT: there is none.
static int layout_read(const char *dir, struct disk_reactors *ret)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" LAYOUT_FILE, dir) >= (int)sizeof(path)) {
        return -ENAMETOOLONG;
    }
    *ret = (struct disk_reactors){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    ssize_t bytes = read(fd, ret, sizeof(*ret));
    int code = bytes < 0 ? -errno : layout_check(dir, ret, (size_t)bytes);
    close(fd);
    return code;
}

static int layout_write(int dir_fd, const struct disk_reactors *disk)
{
    int fd = openat(dir_fd, LAYOUT_FILE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    errno = EIO; // of a short write
    bool written = write(fd, disk, sizeof(*disk)) == (ssize_t)sizeof(*disk) && fsync(fd) == 0;
    int code = written ? 0 : -errno;
    close(fd);
    if (code == 0 &&
        (renameat(dir_fd, LAYOUT_FILE_NEW, dir_fd, LAYOUT_FILE) != 0 || fsync(dir_fd) != 0)) {
        code = -errno;
    }
    return code;
}

// ---- one reactor --------------------------------------------------------------------------------

static int other_number(const char *dir, uint32_t had, uint32_t wanted)
{
    pawl_log_error("%s was made for %u reactor%s, and the configuration wants %u. A chunk's place "
                   "depends on their number: say `reactors: %u`, or drain this server and give it "
                   "an empty directory",
                   dir, had, had == 1 ? "" : "s", wanted, had);
    return PAWL_EFORMAT;
}

static int file_lost(const char *dir)
{
    pawl_log_error("%s has stores of reactors, but no file `" LAYOUT_FILE "`: restore it, or empty "
                   "the directory to let this server begin anew",
                   dir);
    return PAWL_EFORMAT;
}

static int open_single(const char *dir)
{
    struct disk_reactors disk;
    int code = layout_read(dir, &disk);
    if (code == -ENOENT) {
        char path[PATH_MAX];
        bool fits = snprintf(path, sizeof(path), "%s/reactor-00", dir) < (int)sizeof(path);
        return fits && access(path, F_OK) == 0 ? file_lost(dir) : 0;
    }
    return code != 0 ? code : other_number(dir, disk.reactors_count, 1);
}

// ---- several ------------------------------------------------------------------------------------

static int dir_lock(struct layout *layout, uint32_t lock_ms)
{
    if (mkdir(layout->dir, 0700) != 0 && errno != EEXIST) {
        return -errno;
    }
    layout->fd = open(layout->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->fd < 0) {
        return -errno;
    }
    return pawl_lock(layout->fd, lock_ms);
}

static bool has(const struct layout *layout, const char *name)
{
    return faccessat(layout->fd, name, F_OK, 0) == 0;
}

static int layout_create(struct layout *layout)
{
    if (has(layout, "identity") || has(layout, "journal")) {
        return other_number(layout->dir, 1, layout->reactors_count);
    }
    if (has(layout, "reactor-00")) {
        return file_lost(layout->dir);
    }
    struct disk_reactors disk = {.magic = DISK_REACTORS_MAGIC,
                                 .format = DISK_FORMAT,
                                 .features = DISK_FEATURES,
                                 .reactors_count = layout->reactors_count};
    while (disk.server_id == 0) {
        int code = pawl_random_os(&disk.server_id, sizeof(disk.server_id));
        if (code != 0) {
            return code;
        }
    }
    disk.crc = layout_crc(&disk);
    layout->server_id = disk.server_id;
    return layout_write(layout->fd, &disk);
}

struct parts {
    uint32_t made_count; // stores that have the server's id
    uint32_t missing;    // number of one that has none
    uint64_t cluster_id; // 0: no store has kept one
};

static int part_judge(const struct layout *layout, uint32_t reactor, struct parts *parts)
{
    char dir[PATH_MAX];
    uint64_t server_id = 0;
    uint64_t cluster_id = 0;
    int code = layout_dir(layout, reactor, dir);
    code = code != 0 ? code : store_identity_peek(dir, &server_id, &cluster_id);
    if (code == -ENOENT || (code == 0 && server_id == 0)) {
        parts->missing = reactor;
        return 0;
    }
    if (code != 0) {
        pawl_log_error("%s: its identity can't be read: %s", dir, pawl_strerror(code));
        return code;
    }
    parts->made_count++;
    bool same_cluster =
        parts->cluster_id == 0 || cluster_id == 0 || cluster_id == parts->cluster_id;
    if (server_id != layout->server_id || !same_cluster) {
        pawl_log_error("%s is of server %llx in cluster %llx, the other reactors' directories of "
                       "server %llx in cluster %llx: they don't belong together",
                       dir, (unsigned long long)server_id, (unsigned long long)cluster_id,
                       (unsigned long long)layout->server_id,
                       (unsigned long long)parts->cluster_id);
        return PAWL_EFORMAT;
    }
    parts->cluster_id = cluster_id != 0 ? cluster_id : parts->cluster_id;
    return 0;
}

static int parts_judge(const struct layout *layout)
{
    struct parts parts = {0};
    for (uint32_t i = 0; i < layout->reactors_count; i++) {
        int code = part_judge(layout, i, &parts);
        if (code != 0) {
            return code;
        }
    }
    // A cluster is joined when all stores are there, so what is missing now was lost.
    if (parts.cluster_id != 0 && parts.made_count < layout->reactors_count) {
        pawl_log_error("%s/reactor-%02u is missing or empty, but this server has belonged to a "
                       "cluster: restore it, or let this server begin anew with an empty "
                       "directory, and its chunks are copied from the other servers",
                       layout->dir, parts.missing);
        return PAWL_EFORMAT;
    }
    return 0;
}

static int open_several(struct layout *layout, uint32_t lock_ms)
{
    struct disk_reactors disk;
    int code = dir_lock(layout, lock_ms);
    if (code != 0) {
        pawl_log_error("%s can't be opened: %s", layout->dir,
                       code == -EBUSY ? "another process has it" : pawl_strerror(code));
        return code;
    }
    code = layout_read(layout->dir, &disk);
    if (code == -ENOENT) {
        code = layout_create(layout);
    } else if (code == 0 && disk.reactors_count != layout->reactors_count) {
        code = other_number(layout->dir, disk.reactors_count, layout->reactors_count);
    } else if (code == 0) {
        layout->server_id = disk.server_id;
    }
    if (code != 0 && code != PAWL_EFORMAT) {
        pawl_log_error("%s/" LAYOUT_FILE ": %s", layout->dir, pawl_strerror(code));
    }
    return code != 0 ? code : parts_judge(layout);
}

int layout_open(const char *dir, uint32_t reactors_count, uint32_t lock_ms, struct layout *ret)
{
    pawl_assert(reactors_count > 0 && reactors_count <= REACTORS_MAX);
    struct layout layout = {.dir = dir, .reactors_count = reactors_count, .fd = -1};
    int code = reactors_count == 1 ? open_single(dir) : open_several(&layout, lock_ms);
    if (code != 0) {
        layout_close(&layout);
        return code;
    }
    *ret = layout;
    return 0;
}

uint32_t layout_peek(const char *dir)
{
    struct disk_reactors disk;
    uint64_t server_id;
    uint64_t cluster_id;
    int code = layout_read(dir, &disk);
    if (code == 0) {
        return disk.reactors_count;
    }
    return code == -ENOENT && store_identity_peek(dir, &server_id, &cluster_id) == 0 ? 1 : 0;
}

int layout_sync(const struct layout *layout)
{
    return layout->fd >= 0 && fsync(layout->fd) != 0 ? -errno : 0;
}

void layout_close(struct layout *layout)
{
    if (layout->fd >= 0) {
        close(layout->fd);
        layout->fd = -1;
    }
}

int layout_dir(const struct layout *layout, uint32_t reactor, char ret[PATH_MAX])
{
    int bytes = layout->reactors_count == 1
                    ? snprintf(ret, PATH_MAX, "%s", layout->dir)
                    : snprintf(ret, PATH_MAX, "%s/reactor-%02u", layout->dir, reactor);
    return bytes < 0 || bytes >= PATH_MAX ? -ENAMETOOLONG : 0;
}
