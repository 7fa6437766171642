// SPDX-License-Identifier: Apache-2.0
// Disk requests of a store: an io_uring, or a fall-back that carries them out inside of store_io_poll().
//
// OWNS: the ring and its eventfd. A request is the caller's memory and stays there until its callback,
// which comes exactly once, from store_io_poll() or store_io_wait(), never from store_io_submit().
// Thread: the store's.
#ifndef PAWL_DATAPLANE_STORE_IO_H
#define PAWL_DATAPLANE_STORE_IO_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/util.h"

enum store_io_type {
    STORE_IO_READ = 1,      // result: bytes read, fewer only at the end of the file
    STORE_IO_WRITE,         // result: 0, all is written
    STORE_IO_WRITE_DURABLE, // the same, and on stable storage
    STORE_IO_FLUSH,         // fdatasync
    STORE_IO_SYNC,          // fsync (folders)
    STORE_IO_OPEN,          // `path` in folder fd with `flags`; result: descriptor
    STORE_IO_UNLINK,        // `path` in folder fd
    STORE_IO_RENAME,        // `path` to `new_path`, both in folder fd
    STORE_IO_PUNCH,         // gives the blocks of [offset, offset + bytes) back to the file system
};

struct store_io_request {
    struct pawl_list node;
    enum store_io_type type;
    int fd;
    int flags;
    void *buffer;
    size_t bytes;
    uint64_t offset;
    const char *path;     // BORROWS UNTIL the callback
    const char *new_path; // the same
    size_t done_bytes;
    void (*done)(struct store_io_request *request, int result); // 0 or more; -errno
};

#define STORE_IO_FIXED_MAX 3 // the store's own pages, the journal's images, the caller's region

struct store_io {
    bool uring;
    struct io_uring ring;
    int event_fd;
    struct pawl_list pending;       // not handed to the kernel yet
    unsigned in_flight_count;       // handed to it
    uint64_t transfers_count;       // reads and writes that were handed to it,
    uint64_t fixed_transfers_count; // and those of registered buffers among them
    unsigned fixed_count;
    struct iovec fixed_iov[STORE_IO_FIXED_MAX];
};

// no_uring: the fall-back is taken. `ret_why`: static text why io_uring is not used, or NULL.
int store_io_open(struct store_io *io, bool no_uring, const char **ret_why) PAWL_MUST_CHECK;
void store_io_close(struct store_io *io);
// Registers buffers that requests may point into. It may fail (RLIMIT_MEMLOCK): then they work
// unregistered.
int store_io_register(struct store_io *io, const struct iovec *iov, unsigned count) PAWL_MUST_CHECK;

// Queues the request. All fields but node and done_bytes are the caller's.
void store_io_submit(struct store_io *io, struct store_io_request *request);
// Hands queued requests to the kernel.
void store_io_flush(struct store_io *io);
// Calls back what has ended; true if anything has.
bool store_io_poll(struct store_io *io);
// Waits until something has ended (only while the kernel has something).
void store_io_wait(struct store_io *io);
bool store_io_is_idle(const struct store_io *io);
// Before waiting for event_fd: false when store_io_poll() has something now, or store_io_flush(). Empties event_fd.
bool store_io_try_wait(struct store_io *io);

#endif
