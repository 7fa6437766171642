// SPDX-License-Identifier: Apache-2.0
// The journal's files: made of zeros once, used by turns in the order of their generations.
//
// Each has its image in memory: batches are encoded where they will lie and written from there, and the checkpoint
// takes records from there. So nothing of the journal is read but at the start, to replay it.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/device.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // of linux/mman.h; the C library's may be older
#endif

static int segment_fill(int fd, uint64_t bytes)
{
    void *zeros;
    int code = store_aligned_new(STORE_BATCH_BYTES, &zeros);

    if (code != 0) {
        return code;
    }
    for (uint64_t at = 0; code == 0 && at < bytes;) {
        size_t piece = (size_t)PAWL_MIN(bytes - at, (uint64_t)STORE_BATCH_BYTES);
        ssize_t written = pwrite(fd, zeros, piece, (off_t)at);
        if (written <= 0) {
            code = written < 0 ? -errno : -EIO;
        } else {
            at += (uint64_t)written;
        }
    }
    if (code == 0 && fsync(fd) != 0) {
        code = -errno;
    }
    free(zeros);
    return code;
}

// Under another name until it is whole: a crash in between leaves nothing that looks like a segment.
static int segment_create(struct store *store, const char *name, uint64_t bytes)
{
    int fd = openat(store->journal_fd, "new", O_RDWR | O_CREAT | O_TRUNC | store_file_flags(store),
                    0600);

    if (fd < 0) {
        return -errno;
    }
    int code = segment_fill(fd, bytes);
    close(fd);
    if (code == 0 && (renameat(store->journal_fd, "new", store->journal_fd, name) != 0 ||
                      fsync(store->journal_fd) != 0)) {
        code = -errno;
    }
    if (code != 0) {
        unlinkat(store->journal_fd, "new", 0);
        pawl_log_error("journal segment %s of %" PRIu64 " bytes could not be made: %s", name, bytes,
                       pawl_strerror(code));
    }
    return code;
}

// *ret_fd is -1 when there is no such segment.
static int segment_open(struct store *store, const char *name, struct store_segment *segment)
{
    struct stat stat;

    segment->fd = openat(store->journal_fd, name, O_RDWR | store_file_flags(store));
    if (segment->fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    int code = store_file_lock(segment->fd);
    if (code == 0 && fstat(segment->fd, &stat) != 0) {
        code = -errno;
    }
    if (code != 0) {
        return code;
    }
    segment->bytes = (uint64_t)stat.st_size;
    if (segment->bytes < STORE_SEGMENT_BYTES_MIN || segment->bytes > STORE_SEGMENT_BYTES_MAX ||
        segment->bytes % DISK_PAGE_BYTES != 0) {
        pawl_log_error("journal segment %s has %" PRIu64 " bytes: it was truncated or is none",
                       name, segment->bytes);
        return PAWL_EFORMAT;
    }
    return 0;
}

// The memory is there now and not when it is needed: it takes the kernel a while, and records would wait.
static void images_populate(uint8_t *images, size_t bytes)
{
    if (madvise(images, bytes, MADV_POPULATE_WRITE) != 0) { // Linux 5.14 and later
        for (size_t at = 0; at < bytes; at += DISK_PAGE_BYTES) {
            images[at] = 0;
        }
    }
}

// Before any is made: what is there is opened whatever it takes.
static int more_check(const struct store *store, uint64_t more_bytes)
{
    uint64_t bytes = store_segments_bytes(store) + more_bytes;

    if (bytes <= STORE_JOURNAL_BYTES_MAX) {
        return 0;
    }
    pawl_log_error("the journal would have %" PRIu64 " bytes, %" PRIu64
                   " are allowed, for it is kept in memory: take fewer or smaller segments",
                   bytes, (uint64_t)STORE_JOURNAL_BYTES_MAX);
    return PAWL_ELIMIT;
}

static int images_new(struct store *store)
{
    struct store_journal *journal = &store->journal;
    uint64_t bytes = store_segments_bytes(store);
    int code = store_huge_new((size_t)bytes, &journal->images);
    if (code != 0) {
        return code;
    }
    journal->images_bytes = (size_t)bytes;
    images_populate(journal->images, (size_t)bytes);
    uint8_t *image = journal->images;
    for (uint32_t i = 0; i < journal->segments_count; i++) {
        journal->segments[i].image = image;
        image += journal->segments[i].bytes;
    }
    return 0;
}

// Those that are there stay as they are; more are made when the options ask for more.
int store_segments_open(struct store *store, const struct store_options *options)
{
    struct store_journal *journal = &store->journal;
    uint32_t wanted = options->journal_segments_count;
    uint64_t bytes = options->journal_segment_bytes;

    wanted = wanted != 0 ? wanted : STORE_JOURNAL_SEGMENTS;
    bytes = bytes != 0 ? pawl_align_up(bytes, DISK_PAGE_BYTES) : STORE_JOURNAL_SEGMENT_BYTES;
    if (wanted < 2 || wanted > STORE_SEGMENTS_MAX || bytes < STORE_SEGMENT_BYTES_MIN ||
        bytes > STORE_SEGMENT_BYTES_MAX) {
        return -EINVAL;
    }
    journal->segments = calloc(STORE_SEGMENTS_MAX, sizeof(*journal->segments));
    if (journal->segments == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < STORE_SEGMENTS_MAX; i++) {
        struct store_segment *segment = &journal->segments[i];
        char name[8];
        snprintf(name, sizeof(name), "%02u", i);
        segment->index = i;
        int code = segment_open(store, name, segment);
        if (code == 0 && segment->fd < 0 && i < wanted) {
            code = more_check(store, (wanted - i) * bytes);
            if (code == 0) {
                code = segment_create(store, name, bytes);
            }
            if (code == 0) {
                code = segment_open(store, name, segment);
            }
        }
        if (segment->fd >= 0) {
            journal->segments_count = i + 1;
        }
        if (code != 0) {
            return code;
        }
        if (segment->fd < 0) {
            break;
        }
    }
    journal->write_covers = pawl_device_lacks_fua(journal->segments[0].fd);
    return images_new(store);
}

void store_segments_close(struct store *store)
{
    struct store_journal *journal = &store->journal;

    for (uint32_t i = 0; i < journal->segments_count; i++) {
        close(journal->segments[i].fd);
    }
    free(journal->segments);
    free(journal->images);
    journal->segments = NULL;
    journal->images = NULL;
    journal->segments_count = 0;
}

uint64_t store_segments_bytes(const struct store *store)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        bytes += store->journal.segments[i].bytes;
    }
    return bytes;
}

// Bytes of segments that hold entries.
uint64_t store_segments_held(const struct store *store)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        const struct store_segment *segment = &store->journal.segments[i];
        bytes += segment->state != STORE_SEGMENT_FREE ? segment->tail : 0;
    }
    return bytes;
}

// The segment of a state with the lowest generation.
static struct store_segment *segments_lowest(const struct store *store,
                                             enum store_segment_state state)
{
    struct store_segment *lowest = NULL;

    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        struct store_segment *segment = &store->journal.segments[i];
        if (segment->state == state &&
            (lowest == NULL || segment->generation < lowest->generation)) {
            lowest = segment;
        }
    }
    return lowest;
}

struct store_segment *store_segments_next_free(struct store *store)
{
    return segments_lowest(store, STORE_SEGMENT_FREE);
}

struct store_segment *store_segments_oldest_full(struct store *store)
{
    return segments_lowest(store, STORE_SEGMENT_FULL);
}

// Generations below this one are free; what is opened next counts as well.
uint64_t store_segments_oldest(const struct store *store)
{
    const struct store_segment *full = segments_lowest(store, STORE_SEGMENT_FULL);

    if (full != NULL) {
        return full->generation;
    }
    return store->journal.active != NULL ? store->journal.active->generation
                                         : store->journal.generation + 1;
}

uint32_t store_segments_free_count(const struct store *store)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        count += store->journal.segments[i].state == STORE_SEGMENT_FREE;
    }
    return count;
}
