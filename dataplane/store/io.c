// SPDX-License-Identifier: Apache-2.0
// Disk requests through io_uring, or one by one where the kernel refuses it.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "dataplane/store/io.h"

#define IO_RING_ENTRIES 256u

static bool io_has_operations(struct io_uring *ring)
{
    static const int needed[] = {IORING_OP_READ,        IORING_OP_WRITE,    IORING_OP_READ_FIXED,
                                 IORING_OP_WRITE_FIXED, IORING_OP_FSYNC,    IORING_OP_OPENAT,
                                 IORING_OP_UNLINKAT,    IORING_OP_RENAMEAT, IORING_OP_FALLOCATE};
    struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
    bool all = probe != NULL;

    for (size_t i = 0; all && i < PAWL_ARRAY_COUNT(needed); i++) {
        all = io_uring_opcode_supported(probe, needed[i]);
    }
    io_uring_free_probe(probe);
    return all;
}

// Whoever polls the ring has no use for an interrupt with each completion: it is taken in with the next system call, and a
// look at the ring makes one if there has been none (TASKRUN_FLAG): over verbs a reactor may turn without any.
static int io_ring_init(struct io_uring *ring)
{
    unsigned flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    int code = io_uring_queue_init(IO_RING_ENTRIES, ring, flags);
    return code == -EINVAL ? io_uring_queue_init(IO_RING_ENTRIES, ring, 0)
                           : code; // before Linux 5.19
}

static const char *io_ring_open(struct store_io *io)
{
    if (io_ring_init(&io->ring) != 0) {
        return "the kernel refuses io_uring";
    }
    if (!io_has_operations(&io->ring)) {
        io_uring_queue_exit(&io->ring);
        return "the kernel's io_uring lacks operations";
    }
    if (io_uring_register_eventfd(&io->ring, io->event_fd) != 0) {
        io_uring_queue_exit(&io->ring);
        return "the kernel's io_uring takes no eventfd";
    }
    io->uring = true;
    return NULL;
}

int store_io_open(struct store_io *io, bool no_uring, const char **ret_why)
{
    memset(io, 0, sizeof(*io));
    pawl_list_init(&io->pending);
    io->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (io->event_fd < 0) {
        return -errno;
    }
    *ret_why = no_uring ? "it is switched off" : io_ring_open(io);
    return 0;
}

void store_io_close(struct store_io *io)
{
    pawl_assert(store_io_is_idle(io));
    if (io->uring) {
        io_uring_queue_exit(&io->ring);
    }
    close(io->event_fd);
}

int store_io_register(struct store_io *io, const struct iovec *iov, unsigned count)
{
    pawl_assert(count <= STORE_IO_FIXED_MAX);
    if (!io->uring) {
        return -ENOSYS;
    }
    int code = io_uring_register_buffers(&io->ring, iov, count);
    if (code != 0) {
        return code;
    }
    memcpy(io->fixed_iov, iov, count * sizeof(*iov));
    io->fixed_count = count;
    return 0;
}

void store_io_submit(struct store_io *io, struct store_io_request *request)
{
    request->done_bytes = 0;
    pawl_list_push_back(&io->pending, &request->node);
}

bool store_io_is_idle(const struct store_io *io)
{
    return io->in_flight_count == 0 && pawl_list_is_empty(&io->pending);
}

static bool io_is_transfer(const struct store_io_request *request)
{
    return request->type == STORE_IO_READ || request->type == STORE_IO_WRITE ||
           request->type == STORE_IO_WRITE_DURABLE;
}

// Takes one result. True: the request has ended, *result is what its callback gets; false: a transfer
// was short or interrupted and goes on from where it is.
static bool io_take_result(struct store_io_request *request, int *result)
{
    if (*result == -EINTR || *result == -EAGAIN) {
        return false;
    }
    if (*result < 0 || !io_is_transfer(request)) {
        return true;
    }
    request->done_bytes += (size_t)*result;
    bool whole = request->done_bytes >= request->bytes;
    if (request->type == STORE_IO_READ) {
        // All reads are of whole blocks: a broken one is the last of a file that was cut short.
        bool at_end = *result % 512 != 0 || *result == 0;
        *result = (int)request->done_bytes;
        return whole || at_end;
    }
    if (!whole && *result == 0) {
        *result = -EIO;
        return true;
    }
    *result = 0;
    return whole;
}

static int io_fixed_index(const struct store_io *io, const void *at, size_t bytes)
{
    for (unsigned i = 0; i < io->fixed_count; i++) {
        const uint8_t *base = io->fixed_iov[i].iov_base;
        size_t offset = (size_t)((const uint8_t *)at - base);
        if ((const uint8_t *)at >= base && offset <= io->fixed_iov[i].iov_len &&
            bytes <= io->fixed_iov[i].iov_len - offset) {
            return (int)i;
        }
    }
    return -1;
}

static void io_prepare_transfer(struct store_io *io, struct io_uring_sqe *sqe,
                                struct store_io_request *request)
{
    uint8_t *at = (uint8_t *)request->buffer + request->done_bytes;
    unsigned bytes = (unsigned)(request->bytes - request->done_bytes);
    uint64_t offset = request->offset + request->done_bytes;
    int fixed = io_fixed_index(io, at, bytes);

    io->transfers_count++;
    io->fixed_transfers_count += fixed >= 0;
    if (request->type == STORE_IO_READ) {
        if (fixed >= 0) {
            io_uring_prep_read_fixed(sqe, request->fd, at, bytes, offset, fixed);
        } else {
            io_uring_prep_read(sqe, request->fd, at, bytes, offset);
        }
        return;
    }
    if (fixed >= 0) {
        io_uring_prep_write_fixed(sqe, request->fd, at, bytes, offset, fixed);
    } else {
        io_uring_prep_write(sqe, request->fd, at, bytes, offset);
    }
    if (request->type == STORE_IO_WRITE_DURABLE) {
        sqe->rw_flags = RWF_DSYNC;
    }
}

static void io_prepare(struct store_io *io, struct io_uring_sqe *sqe,
                       struct store_io_request *request)
{
    switch (request->type) {
    case STORE_IO_READ:
    case STORE_IO_WRITE:
    case STORE_IO_WRITE_DURABLE:
        io_prepare_transfer(io, sqe, request);
        break;
    case STORE_IO_FLUSH:
        io_uring_prep_fsync(sqe, request->fd, IORING_FSYNC_DATASYNC);
        break;
    case STORE_IO_SYNC:
        io_uring_prep_fsync(sqe, request->fd, 0);
        break;
    case STORE_IO_OPEN:
        io_uring_prep_openat(sqe, request->fd, request->path, request->flags, 0600);
        break;
    case STORE_IO_UNLINK:
        io_uring_prep_unlinkat(sqe, request->fd, request->path, 0);
        break;
    case STORE_IO_RENAME:
        io_uring_prep_renameat(sqe, request->fd, request->path, request->fd, request->new_path, 0);
        break;
    case STORE_IO_PUNCH:
        io_uring_prep_fallocate(sqe, request->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                (off_t)request->offset, (off_t)request->bytes);
        break;
    }
    io_uring_sqe_set_data(sqe, request);
}

static int io_execute_transfer(struct store_io_request *request)
{
    struct iovec iov = {
        .iov_base = (uint8_t *)request->buffer + request->done_bytes,
        .iov_len = request->bytes - request->done_bytes,
    };
    off_t offset = (off_t)(request->offset + request->done_bytes);
    int flags = request->type == STORE_IO_WRITE_DURABLE ? RWF_DSYNC : 0;
    ssize_t moved = request->type == STORE_IO_READ ? preadv2(request->fd, &iov, 1, offset, 0)
                                                   : pwritev2(request->fd, &iov, 1, offset, flags);

    return moved < 0 ? -errno : (int)moved;
}

static int io_execute(struct store_io_request *request)
{
    int result = 0;

    switch (request->type) {
    case STORE_IO_READ:
    case STORE_IO_WRITE:
    case STORE_IO_WRITE_DURABLE:
        return io_execute_transfer(request);
    case STORE_IO_FLUSH:
        result = fdatasync(request->fd);
        break;
    case STORE_IO_SYNC:
        result = fsync(request->fd);
        break;
    case STORE_IO_OPEN:
        result = openat(request->fd, request->path, request->flags, 0600);
        break;
    case STORE_IO_UNLINK:
        result = unlinkat(request->fd, request->path, 0);
        break;
    case STORE_IO_RENAME:
        result = renameat(request->fd, request->path, request->fd, request->new_path);
        break;
    case STORE_IO_PUNCH:
        result = fallocate(request->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           (off_t)request->offset, (off_t)request->bytes);
        break;
    }
    return result < 0 ? -errno : result;
}

void store_io_flush(struct store_io *io)
{
    bool queued = false;

    if (!io->uring) {
        return;
    }
    while (io->in_flight_count < IO_RING_ENTRIES && !pawl_list_is_empty(&io->pending)) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
        if (sqe == NULL) {
            break;
        }
        struct pawl_list *node = pawl_list_pop_front(&io->pending);
        io_prepare(io, sqe, pawl_container_of(node, struct store_io_request, node));
        io->in_flight_count++;
        queued = true;
    }
    // What the kernel doesn't take now (EAGAIN, EBUSY) stays in the ring for the next flush.
    if (queued || io_uring_sq_ready(&io->ring) > 0) {
        io_uring_submit(&io->ring);
    }
}

// The fall-back: carries out what was queued before this call, each to its end.
static bool io_execute_pending(struct store_io *io)
{
    struct pawl_list batch;
    struct pawl_list *node;

    pawl_list_init(&batch);
    pawl_list_append_all(&batch, &io->pending);
    if (pawl_list_is_empty(&batch)) {
        return false;
    }
    while ((node = pawl_list_pop_front(&batch)) != NULL) {
        struct store_io_request *request = pawl_container_of(node, struct store_io_request, node);
        int result;
        do {
            result = io_execute(request);
        } while (!io_take_result(request, &result));
        request->done(request, result);
    }
    return true;
}

bool store_io_try_wait(struct store_io *io)
{
    uint64_t value;

    if (!io->uring) {
        return pawl_list_is_empty(&io->pending);
    }
    // A completion is seen before its signal comes: left in event_fd, that would keep its owner awake
    // until the next completion. Emptied before the look, so that none falls between the two.
    (void)!read(io->event_fd, &value, sizeof(value)); // EAGAIN: it was empty
    return io_uring_cq_ready(&io->ring) == 0 && io_uring_sq_ready(&io->ring) == 0;
}

bool store_io_poll(struct store_io *io)
{
    struct io_uring_cqe *cqe;
    bool any = false;

    if (!io->uring) {
        return io_execute_pending(io);
    }
    while (io_uring_peek_cqe(&io->ring, &cqe) == 0) {
        struct store_io_request *request = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&io->ring, cqe);
        io->in_flight_count--;
        any = true;
        if (io_take_result(request, &result)) {
            request->done(request, result);
        } else {
            pawl_list_push_front(&io->pending, &request->node);
        }
    }
    return any;
}

void store_io_wait(struct store_io *io)
{
    struct io_uring_cqe *cqe;

    store_io_flush(io);
    // What the kernel has not taken never ends: the caller comes again, and it is handed over once more.
    if (io->uring && io->in_flight_count > io_uring_sq_ready(&io->ring)) {
        io_uring_wait_cqe(&io->ring, &cqe);
    }
    store_io_poll(io);
}
