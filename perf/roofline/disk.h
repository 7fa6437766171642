// SPDX-License-Identifier: Apache-2.0
// Inside of a node: O_DIRECT requests through an io_uring with registered buffers and files.
//
// A request is the caller's memory until `done`, which comes from disk_poll(). Thread: the one that opened it.
#ifndef PAWL_PERF_ROOFLINE_DISK_H
#define PAWL_PERF_ROOFLINE_DISK_H

#include <liburing.h>

#include "perf/roofline/roofline.h"

#define DISK_ENTRIES 512u
#define DISK_BUFFERS_MAX 3u

enum disk_file { DISK_JOURNAL = 0, DISK_DATA };

struct disk;
struct disk_request {
    void (*done)(void *user, struct disk_request *request);
    uint32_t expected; // bytes; less is an error
    void *owner;
};

struct disk {
    struct io_uring ring;
    bool is_open;
    int event_fd;
    uint32_t in_flight_count;
    bool has_queued; // not handed to the kernel yet
    struct iovec buffers[DISK_BUFFERS_MAX];
    uint32_t buffers_count; // 0: not registered (RLIMIT_MEMLOCK)
    void *user;
    uint64_t writes_count, flushes_count, reads_count;
    char error[ROOFLINE_TEXT_MAX];
};

// The descriptors are BORROWED until disk_close().
int disk_open(struct disk *disk, const int fds[2], const struct iovec *buffers, uint32_t count,
              void *user) PAWL_MUST_CHECK;
void disk_close(struct disk *disk);
// A write; is_durable: and its own flush (RWF_DSYNC).
int disk_write(struct disk *disk, struct disk_request *request, enum disk_file file,
               const struct iovec *from, uint64_t offset, bool is_durable) PAWL_MUST_CHECK;
int disk_read(struct disk *disk, struct disk_request *request, enum disk_file file,
              const struct iovec *into, uint64_t offset) PAWL_MUST_CHECK;
// fdatasync of what was written before.
int disk_flush(struct disk *disk, struct disk_request *request,
               enum disk_file file) PAWL_MUST_CHECK;
// Hands requests to the kernel.
int disk_submit(struct disk *disk) PAWL_MUST_CHECK;
// The same, and waits until something has ended: one system call, for who waits for nothing else.
int disk_submit_wait(struct disk *disk) PAWL_MUST_CHECK;
// Takes what has ended: how many, or -errno.
int disk_poll(struct disk *disk) PAWL_MUST_CHECK;

#endif
