// SPDX-License-Identifier: Apache-2.0
// The store's identity file: replaced as a whole, so that a crash leaves the old one or the new one.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "base/random.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

static uint32_t identity_crc(const struct disk_identity *identity)
{
    struct disk_identity copy = *identity;

    copy.crc = 0;
    return pawl_crc32c(0, &copy, sizeof(copy));
}

static int identity_write(struct store *store, const struct disk_identity *identity)
{
    int fd = openat(store->dir_fd, "identity.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int code = 0;

    if (fd < 0) {
        return -errno;
    }
    errno = EIO; // of a short write
    if (write(fd, identity, sizeof(*identity)) != (ssize_t)sizeof(*identity) || fsync(fd) != 0) {
        code = -errno;
    }
    close(fd);
    if (code != 0) {
        return code;
    }
    if (renameat(store->dir_fd, "identity.new", store->dir_fd, "identity") != 0 ||
        fsync(store->dir_fd) != 0) {
        return -errno;
    }
    return 0;
}

static int identity_save(struct store *store, uint64_t server_id, uint64_t cluster_id)
{
    struct disk_identity identity = store->identity;

    identity.magic = DISK_IDENTITY_MAGIC;
    identity.format = DISK_FORMAT;
    identity.features = DISK_FEATURES;
    identity.server_id = server_id;
    identity.cluster_id = cluster_id;
    identity.crc = identity_crc(&identity);
    int code = identity_write(store, &identity);
    if (code != 0) {
        pawl_log_error("identity could not be written: %s", pawl_strerror(code));
        return code;
    }
    store->identity = identity;
    return 0;
}

// Format before checksum: a newer format may have another layout.
static int identity_check(const struct disk_identity *identity, size_t bytes)
{
    if (bytes >= 8 && identity->magic == DISK_IDENTITY_MAGIC &&
        (identity->format != DISK_FORMAT || (bytes >= 12 && identity->features != DISK_FEATURES))) {
        pawl_log_error(
            "store has format %u features %#x, this program knows format %u features %#x",
            identity->format, identity->features, DISK_FORMAT, DISK_FEATURES);
        return PAWL_EFORMAT;
    }
    if (bytes != sizeof(*identity) || identity->magic != DISK_IDENTITY_MAGIC ||
        identity->crc != identity_crc(identity)) {
        pawl_log_error(
            "identity file is damaged (%zu bytes): restore it, or empty the folder to let "
            "this server begin anew",
            bytes);
        return PAWL_EFORMAT;
    }
    return 0;
}

// A store that has a journal, but lost its identity, is not to be taken for a new one.
static bool store_is_new(const struct store *store)
{
    return faccessat(store->journal_fd, "00", F_OK, 0) != 0;
}

int store_identity_load(struct store *store)
{
    struct disk_identity identity = {0};
    int fd = openat(store->dir_fd, "identity", O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT && store_is_new(store)) {
        int code = pawl_random_os(&store->identity.store_id, sizeof(store->identity.store_id));
        return code != 0 ? code : identity_save(store, 0, 0);
    }
    if (fd < 0) {
        int code = errno == ENOENT ? PAWL_EFORMAT : -errno;
        pawl_log_error("identity file of a store that has a journal: %s", pawl_strerror(code));
        return code;
    }
    ssize_t bytes = read(fd, &identity, sizeof(identity));
    int code = bytes < 0 ? -errno : identity_check(&identity, (size_t)bytes);
    close(fd);
    if (code == 0) {
        store->identity = identity;
    }
    return code;
}

int store_identity_get(struct store *store, uint64_t *ret_server_id, uint64_t *ret_cluster_id)
{
    if (store->identity.server_id == 0) {
        return -ENOENT;
    }
    *ret_server_id = store->identity.server_id;
    *ret_cluster_id = store->identity.cluster_id;
    return 0;
}

int store_identity_peek(const char *dir, uint64_t *ret_server_id, uint64_t *ret_cluster_id)
{
    struct disk_identity identity = {0};
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) {
        return -errno;
    }
    int fd = openat(dir_fd, "identity", O_RDONLY | O_CLOEXEC);
    int code = fd < 0 ? -errno : 0;
    close(dir_fd);
    if (code != 0) {
        return code;
    }
    ssize_t bytes = read(fd, &identity, sizeof(identity));
    code = bytes < 0 ? -errno : identity_check(&identity, (size_t)bytes);
    close(fd);
    if (code == 0) {
        *ret_server_id = identity.server_id;
        *ret_cluster_id = identity.cluster_id;
    }
    return code;
}

int store_identity_set(struct store *store, uint64_t server_id, uint64_t cluster_id)
{
    return server_id == 0 ? -EINVAL : identity_save(store, server_id, cluster_id);
}
