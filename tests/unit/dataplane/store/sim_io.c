// SPDX-License-Identifier: Apache-2.0
// A simulated disk below the store. See sim_io.h.
#include "sim_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/random.h"
#include "crash_writer.h"
#include "dataplane/store/io.h"

#define BLOCK_BYTES 512u
#define AT_ONCE 3u // requests that end in one poll, at most
#define COVERED_MAX 64u

// Something that a power cut may undo.
struct undo {
    struct pawl_list node;
    int fd; // of the file, or of the folder
    ino_t inode;
    bool size; // of a file that was made
    // A write.
    bool covered; // by the flush of any file
    uint8_t *old;
    size_t bytes;
    uint64_t offset;
    // A name: made, or deleted and kept under another name, or changed.
    char name[64];
    char aside[80];
    bool renamed; // from `name` to `aside`
};

static struct {
    struct pawl_random random;
    enum sim_io_lie lie;
    bool cut;
    bool write_covers;      // a durable write is a flush, too
    struct pawl_list undos; // oldest first
    struct {
        ino_t inode;
        uint64_t end;
    } covered[COVERED_MAX]; // files whose blocks are there, up to their end; a ring
    unsigned covered_count;
    unsigned asides;
} sim;

void sim_io_start(uint64_t seed, enum sim_io_lie lie)
{
    pawl_random_seed(&sim.random, seed);
    sim.lie = lie;
    sim.cut = false;
    memset(sim.covered, 0, sizeof(sim.covered));
    pawl_list_init(&sim.undos);
}

void sim_io_cut(void)
{
    sim.cut = true;
}

static void undo_free(struct undo *undo)
{
    pawl_list_remove(&undo->node);
    if (undo->aside[0] != '\0' && !undo->renamed) {
        unlinkat(undo->fd, undo->aside, 0);
    }
    close(undo->fd);
    free(undo->old);
    free(undo);
}

static void undo_apply(struct undo *undo)
{
    if (undo->old == NULL) {
        if (!pawl_random_chance(&sim.random, 1, 2)) {
            return;
        }
        if (undo->size) {
            if (ftruncate(undo->fd, 0) != 0) {
                abort();
            }
        } else if (undo->aside[0] != '\0') {
            renameat(undo->fd, undo->aside, undo->fd, undo->name);
            undo->aside[0] = '\0';
        } else {
            unlinkat(undo->fd, undo->name, 0);
        }
        return;
    }
    for (size_t at = 0; at < undo->bytes; at += BLOCK_BYTES) {
        size_t bytes = undo->bytes - at < BLOCK_BYTES ? undo->bytes - at : BLOCK_BYTES;
        if (pawl_random_chance(&sim.random, 1, 2) &&
            pwrite(undo->fd, undo->old + at, bytes, (off_t)(undo->offset + at)) < 0) {
            abort();
        }
    }
}

void sim_io_settle(void)
{
    struct pawl_list *node;

    while ((node = pawl_list_last(&sim.undos)) != NULL) {
        struct undo *undo = pawl_container_of(node, struct undo, node);
        undo_apply(undo);
        undo_free(undo);
    }
    sim.cut = false;
    memset(sim.covered, 0,
           sizeof(sim.covered)); // the next store covers nothing that it did not recycle
}

static struct undo *undo_new(int fd)
{
    struct undo *undo = calloc(1, sizeof(*undo));
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        abort();
    }
    undo->fd = dup(fd);
    undo->inode = stat.st_ino;
    pawl_list_push_back(&sim.undos, &undo->node);
    return undo;
}

static bool is_covered(ino_t inode, uint64_t end)
{
    for (unsigned i = 0; i < COVERED_MAX; i++) {
        if (sim.covered[i].inode == inode && end <= sim.covered[i].end) {
            return true;
        }
    }
    return false;
}

// A new file may have the number of one that is gone.
static void uncover(int fd)
{
    struct stat stat;

    if (fstat(fd, &stat) != 0) {
        abort();
    }
    for (unsigned i = 0; i < COVERED_MAX; i++) {
        if (sim.covered[i].inode == stat.st_ino) {
            sim.covered[i].inode = 0;
        }
    }
}

struct store;

// In the place of cover.c, whose answer hangs on the real disk: recycled files have all their blocks, or the first
// ones.
uint64_t __wrap_store_covered_end(const struct store *store, int fd);

uint64_t __wrap_store_covered_end(const struct store *store, int fd)
{
    struct stat stat;

    (void)store;
    if (fstat(fd, &stat) != 0) {
        abort();
    }
    uint64_t end = (uint64_t)stat.st_size;
    if (pawl_random_chance(&sim.random, 1, 2)) {
        end = pawl_random_below(&sim.random, CRASH_CHUNK_BYTES);
    }
    uncover(fd);
    sim.covered[sim.covered_count % COVERED_MAX].inode = stat.st_ino;
    sim.covered[sim.covered_count++ % COVERED_MAX].end = end;
    return end;
}

bool __wrap_pawl_device_lacks_fua(int fd);

bool __wrap_pawl_device_lacks_fua(int fd)
{
    (void)fd;
    sim.write_covers = pawl_random_chance(&sim.random, 1, 2);
    return sim.write_covers;
}

// All that was written to this file, or folder, lasts now (0: none), and whatever else needs only the disk's cache
// to be emptied.
static void undo_cover(ino_t inode)
{
    pawl_list_for_each_safe (node, &sim.undos) {
        struct undo *undo = pawl_container_of(node, struct undo, node);
        if (undo->inode == inode || (undo->covered && sim.lie != SIM_IO_FLUSH_IS_OF_ONE_FILE)) {
            undo_free(undo);
        }
    }
}

static void sim_flush(int fd)
{
    struct stat stat;

    if (sim.lie != SIM_IO_FLUSH_DOES_NOTHING && fstat(fd, &stat) == 0) {
        undo_cover(stat.st_ino);
    }
}

static int sim_write(struct store_io_request *request)
{
    struct undo *undo = undo_new(request->fd);

    undo->covered = is_covered(undo->inode, request->offset + request->bytes);
    undo->bytes = request->bytes;
    undo->offset = request->offset;
    undo->old = calloc(1, request->bytes);
    if (pread(request->fd, undo->old, request->bytes, (off_t)request->offset) < 0 ||
        pwrite(request->fd, request->buffer, request->bytes, (off_t)request->offset) !=
            (ssize_t)request->bytes) {
        abort();
    }
    if (request->type == STORE_IO_WRITE_DURABLE && sim.lie != SIM_IO_DURABLE_DOES_NOTHING) {
        undo_free(undo);
        if (sim.write_covers) {
            undo_cover(0);
        }
    }
    return 0;
}

static int sim_open(struct store_io_request *request)
{
    bool is_new = faccessat(request->fd, request->path, F_OK, 0) != 0;
    int fd = openat(request->fd, request->path, request->flags, 0600);

    if (fd < 0) {
        return -errno;
    }
    if (is_new) {
        struct undo *undo = undo_new(request->fd);
        snprintf(undo->name, sizeof(undo->name), "%s", request->path);
        undo_new(fd)->size = true;
        uncover(fd);
    }
    return fd;
}

static int sim_unlink(struct store_io_request *request)
{
    char aside[80];

    snprintf(aside, sizeof(aside), ".aside.%u", sim.asides++);
    if (renameat(request->fd, request->path, request->fd, aside) != 0) {
        return -errno;
    }
    struct undo *undo = undo_new(request->fd);
    snprintf(undo->name, sizeof(undo->name), "%s", request->path);
    memcpy(undo->aside, aside, sizeof(aside));
    return 0;
}

static int sim_rename(struct store_io_request *request)
{
    if (renameat(request->fd, request->path, request->fd, request->new_path) != 0) {
        return -errno;
    }
    struct undo *undo = undo_new(request->fd);
    undo->renamed = true;
    snprintf(undo->name, sizeof(undo->name), "%s", request->path);
    snprintf(undo->aside, sizeof(undo->aside), "%s", request->new_path);
    return 0;
}

// Nobody needs the bytes: whether they last is the same to all.
static int sim_punch(struct store_io_request *request)
{
    return fallocate(request->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                     (off_t)request->offset, (off_t)request->bytes) != 0
               ? -errno
               : 0;
}

static int sim_execute(struct store_io_request *request)
{
    switch (request->type) {
    case STORE_IO_READ:
        return (int)pread(request->fd, request->buffer, request->bytes, (off_t)request->offset);
    case STORE_IO_WRITE:
    case STORE_IO_WRITE_DURABLE:
        return sim_write(request);
    case STORE_IO_FLUSH:
    case STORE_IO_SYNC:
        sim_flush(request->fd);
        return 0;
    case STORE_IO_OPEN:
        return sim_open(request);
    case STORE_IO_RENAME:
        return sim_rename(request);
    case STORE_IO_PUNCH:
        return sim_punch(request);
    default:
        return sim_unlink(request);
    }
}

// ---- the interface of io.h -------------------------------------------------------------------

int store_io_open(struct store_io *io, bool no_uring, const char **ret_why)
{
    (void)no_uring;
    memset(io, 0, sizeof(*io));
    pawl_list_init(&io->pending);
    io->event_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    *ret_why = NULL;
    return 0;
}

void store_io_close(struct store_io *io)
{
    close(io->event_fd);
}

int store_io_register(struct store_io *io, const struct iovec *iov, unsigned count)
{
    (void)iov;
    io->fixed_count = count;
    return 0;
}

void store_io_submit(struct store_io *io, struct store_io_request *request)
{
    pawl_list_push_back(&io->pending, &request->node);
}

void store_io_flush(struct store_io *io)
{
    (void)io;
}

// The cut comes between any two requests; those that were pending then have happened in part.
static void sim_break_off(struct store_io_request *request)
{
    bool writes = request->type == STORE_IO_WRITE || request->type == STORE_IO_WRITE_DURABLE;

    if (writes && pawl_random_chance(&sim.random, 1, 2)) {
        enum sim_io_lie lie = sim.lie;
        sim.lie = SIM_IO_DURABLE_DOES_NOTHING; // keeps it undoable
        sim_write(request);
        sim.lie = lie;
    }
}

bool store_io_poll(struct store_io *io)
{
    uint64_t count = 0;

    pawl_list_for_each (node, &io->pending) {
        count++;
    }
    if (count == 0) {
        return false;
    }
    uint64_t ends = sim.cut ? count : 1 + pawl_random_below(&sim.random, AT_ONCE);
    for (uint64_t i = 0; i < ends && count > 0; i++, count--) {
        uint64_t which = pawl_random_below(&sim.random, count);
        struct pawl_list *node = pawl_list_first(&io->pending);
        while (which-- > 0) {
            node = node->next;
        }
        struct store_io_request *request = pawl_container_of(node, struct store_io_request, node);
        pawl_list_remove(node);
        if (sim.cut) {
            sim_break_off(request);
        }
        request->done(request, sim.cut ? -EIO : sim_execute(request));
    }
    return true;
}

void store_io_wait(struct store_io *io)
{
    store_io_poll(io);
}

bool store_io_is_idle(const struct store_io *io)
{
    return pawl_list_is_empty(&io->pending);
}

bool store_io_try_wait(struct store_io *io)
{
    return pawl_list_is_empty(&io->pending);
}
