// SPDX-License-Identifier: Apache-2.0
// Small steps on the files of the operation log.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controlplane/log/oplog_private.h"

int file_write_all(int fd, const void *bytes, size_t count, uint64_t offset)
{
    const uint8_t *at = bytes;
    while (count > 0) {
        ssize_t written = pwrite(fd, at, count, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? -errno : -EIO;
        }
        at += written;
        count -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

static int fd_read_all(int fd, uint8_t *data, size_t bytes, size_t *ret_bytes)
{
    size_t got = 0;
    while (got < bytes) {
        ssize_t count = pread(fd, data + got, bytes - got, (off_t)got);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return -errno;
        }
        if (count == 0) {
            break;
        }
        got += (size_t)count;
    }
    *ret_bytes = got;
    return 0;
}

int file_read_all(int directory_fd, const char *name, uint8_t **ret_data, size_t *ret_bytes)
{
    struct stat status;
    int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    int rc = 0;
    uint8_t *data = NULL;
    if (fstat(fd, &status) != 0) {
        rc = -errno;
    } else if (!S_ISREG(status.st_mode)) {
        rc = -EINVAL;
    } else if ((data = malloc((size_t)status.st_size + 1)) == NULL) {
        rc = -ENOMEM;
    } else {
        rc = fd_read_all(fd, data, (size_t)status.st_size, ret_bytes);
    }
    close(fd);
    if (rc != 0) {
        free(data);
        return rc;
    }
    *ret_data = data;
    return 0;
}

int file_create(int directory_fd, const char *name, const void *bytes, size_t count, int *ret_fd)
{
    char temp[LOG_NAME_BYTES + sizeof(LOG_TEMP_SUFFIX)];
    snprintf(temp, sizeof(temp), "%s%s", name, LOG_TEMP_SUFFIX);
    int fd = openat(directory_fd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (fd < 0) {
        return -errno;
    }
    int rc = file_write_all(fd, bytes, count, 0);
    if (rc == 0 && (fsync(fd) != 0 || renameat(directory_fd, temp, directory_fd, name) != 0 ||
                    fsync(directory_fd) != 0)) {
        rc = -errno;
    }
    if (rc != 0) {
        (void)unlinkat(directory_fd, temp, 0);
    }
    if (rc != 0 || ret_fd == NULL) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

void log_name(char ret_name[LOG_NAME_BYTES], const char *prefix, uint64_t lsn)
{
    snprintf(ret_name, LOG_NAME_BYTES, "%s%020" PRIu64, prefix, lsn);
}

// Takes only names that log_name() makes.
static bool log_name_parse(const char *name, const char *prefix, uint64_t *ret_lsn)
{
    char again[LOG_NAME_BYTES];
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0) {
        return false;
    }
    uint64_t lsn = strtoull(name + length, NULL, 10);
    log_name(again, prefix, lsn);
    if (strcmp(again, name) != 0) {
        return false;
    }
    *ret_lsn = lsn;
    return true;
}

static int list_add(struct log_list *list, uint64_t lsn)
{
    if (list->count == list->capacity) {
        size_t capacity = PAWL_MAX(list->capacity * 2, (size_t)16);
        uint64_t *items = realloc(list->items, capacity * sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = lsn;
    return 0;
}

static int compare_lsns(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void list_sort(struct log_list *list)
{
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof(list->items[0]), compare_lsns);
    }
}

static bool ends_with(const char *text, const char *end)
{
    size_t text_length = strlen(text), end_length = strlen(end);
    return text_length >= end_length && strcmp(text + text_length - end_length, end) == 0;
}

static int listing_add(int directory_fd, const char *name, bool remove_temps,
                       struct log_listing *listing)
{
    uint64_t lsn;
    if (log_name_parse(name, LOG_SEGMENT_PREFIX, &lsn)) {
        return list_add(&listing->segments, lsn);
    }
    if (log_name_parse(name, LOG_SNAPSHOT_PREFIX, &lsn)) {
        return list_add(&listing->snapshots, lsn);
    }
    bool ours = strncmp(name, LOG_SEGMENT_PREFIX, strlen(LOG_SEGMENT_PREFIX)) == 0 ||
                strncmp(name, LOG_SNAPSHOT_PREFIX, strlen(LOG_SNAPSHOT_PREFIX)) == 0;
    if (remove_temps && ours && ends_with(name, LOG_TEMP_SUFFIX) &&
        unlinkat(directory_fd, name, 0) != 0) {
        return -errno;
    }
    return 0;
}

int log_listing_read(int directory_fd, bool remove_temps, struct log_listing *ret_listing)
{
    struct log_listing listing = {0};
    int fd = openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    int rc = 0;
    struct dirent *entry;
    while (rc == 0 && (errno = 0, entry = readdir(directory)) != NULL) {
        rc = listing_add(directory_fd, entry->d_name, remove_temps, &listing);
    }
    if (rc == 0 && errno != 0) {
        rc = -errno;
    }
    closedir(directory);
    if (rc != 0) {
        log_listing_fini(&listing);
        return rc;
    }
    list_sort(&listing.segments);
    list_sort(&listing.snapshots);
    *ret_listing = listing;
    return 0;
}

void log_listing_fini(struct log_listing *listing)
{
    free(listing->segments.items);
    free(listing->snapshots.items);
    *listing = (struct log_listing){0};
}
