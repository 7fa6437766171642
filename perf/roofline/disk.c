// SPDX-License-Identifier: Apache-2.0
// O_DIRECT requests through an io_uring.
#include "perf/roofline/disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int disk_fail(struct disk *disk, int code, const char *what)
{
    if (disk->error[0] == '\0') {
        snprintf(disk->error, sizeof(disk->error), "%s: %s", what, strerror(-code));
    }
    return code;
}

// No interrupt with each completion, as Pawl's store has it.
static int ring_init(struct io_uring *ring)
{
    unsigned flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    int code = io_uring_queue_init(DISK_ENTRIES, ring, flags);
    return code == -EINVAL ? io_uring_queue_init(DISK_ENTRIES, ring, 0) : code; // before Linux 5.19
}

int disk_open(struct disk *disk, const int fds[2], const struct iovec *buffers, uint32_t count,
              void *user)
{
    memset(disk, 0, sizeof(*disk));
    disk->user = user;
    disk->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (disk->event_fd < 0) {
        return disk_fail(disk, -errno, "an eventfd");
    }
    int code = ring_init(&disk->ring);
    if (code != 0) {
        close(disk->event_fd);
        return disk_fail(disk, code, "the kernel refuses io_uring");
    }
    disk->is_open = true;
    code = io_uring_register_eventfd(&disk->ring, disk->event_fd);
    if (code == 0) {
        code = io_uring_register_files(&disk->ring, fds, 2);
    }
    if (code != 0) {
        return disk_fail(disk, code, "the kernel's io_uring");
    }
    if (io_uring_register_buffers(&disk->ring, buffers, count) == 0) {
        memcpy(disk->buffers, buffers, count * sizeof(*buffers));
        disk->buffers_count = count;
    }
    return 0;
}

void disk_close(struct disk *disk)
{
    if (disk->is_open) {
        io_uring_queue_exit(&disk->ring);
        close(disk->event_fd);
        disk->is_open = false;
    }
}

static struct io_uring_sqe *sqe_get(struct disk *disk)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&disk->ring);

    if (sqe == NULL && io_uring_submit(&disk->ring) > 0) {
        sqe = io_uring_get_sqe(&disk->ring);
    }
    return sqe;
}

static void sqe_send(struct disk *disk, struct io_uring_sqe *sqe, struct disk_request *request)
{
    sqe->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data(sqe, request);
    disk->in_flight_count++;
    disk->has_queued = true;
}

static int buffer_of(const struct disk *disk, const struct iovec *piece)
{
    for (uint32_t i = 0; i < disk->buffers_count; i++) {
        const uint8_t *base = disk->buffers[i].iov_base;
        size_t offset = (size_t)((const uint8_t *)piece->iov_base - base);
        if ((const uint8_t *)piece->iov_base >= base && offset < disk->buffers[i].iov_len &&
            piece->iov_len <= disk->buffers[i].iov_len - offset) {
            return (int)i;
        }
    }
    return -1;
}

int disk_write(struct disk *disk, struct disk_request *request, enum disk_file file,
               const struct iovec *from, uint64_t offset, bool is_durable)
{
    struct io_uring_sqe *sqe = sqe_get(disk);
    int buffer = buffer_of(disk, from);

    if (sqe == NULL) {
        return disk_fail(disk, -EBUSY, "too many disk requests");
    }
    if (buffer >= 0) {
        io_uring_prep_write_fixed(sqe, (int)file, from->iov_base, (unsigned)from->iov_len, offset,
                                  buffer);
    } else {
        io_uring_prep_write(sqe, (int)file, from->iov_base, (unsigned)from->iov_len, offset);
    }
    if (is_durable) {
        sqe->rw_flags = RWF_DSYNC;
        disk->flushes_count++;
    }
    disk->writes_count++;
    request->expected = (uint32_t)from->iov_len;
    sqe_send(disk, sqe, request);
    return 0;
}

int disk_read(struct disk *disk, struct disk_request *request, enum disk_file file,
              const struct iovec *into, uint64_t offset)
{
    struct io_uring_sqe *sqe = sqe_get(disk);
    int buffer = buffer_of(disk, into);

    if (sqe == NULL) {
        return disk_fail(disk, -EBUSY, "too many disk requests");
    }
    if (buffer >= 0) {
        io_uring_prep_read_fixed(sqe, (int)file, into->iov_base, (unsigned)into->iov_len, offset,
                                 buffer);
    } else {
        io_uring_prep_read(sqe, (int)file, into->iov_base, (unsigned)into->iov_len, offset);
    }
    disk->reads_count++;
    request->expected = (uint32_t)into->iov_len;
    sqe_send(disk, sqe, request);
    return 0;
}

int disk_flush(struct disk *disk, struct disk_request *request, enum disk_file file)
{
    struct io_uring_sqe *sqe = sqe_get(disk);

    if (sqe == NULL) {
        return disk_fail(disk, -EBUSY, "too many disk requests");
    }
    io_uring_prep_fsync(sqe, (int)file, IORING_FSYNC_DATASYNC);
    disk->flushes_count++;
    request->expected = 0;
    sqe_send(disk, sqe, request);
    return 0;
}

int disk_submit(struct disk *disk)
{
    if (!disk->has_queued) {
        return 0;
    }
    int code = io_uring_submit(&disk->ring);
    if (code < 0 && code != -EAGAIN && code != -EBUSY) {
        return disk_fail(disk, code, "handing requests to the kernel");
    }
    disk->has_queued = io_uring_sq_ready(&disk->ring) > 0;
    return 0;
}

int disk_submit_wait(struct disk *disk)
{
    int code = io_uring_submit_and_wait(&disk->ring, 1);

    if (code < 0 && code != -EAGAIN && code != -EBUSY && code != -EINTR) {
        return disk_fail(disk, code, "handing requests to the kernel");
    }
    disk->has_queued = io_uring_sq_ready(&disk->ring) > 0;
    return 0;
}

int disk_poll(struct disk *disk)
{
    struct io_uring_cqe *cqe;
    int taken = 0;

    if (io_uring_cq_ready(&disk->ring) > 0) {
        uint64_t value;
        ssize_t bytes = read(disk->event_fd, &value, sizeof(value));
        (void)bytes; // EAGAIN: it was empty
    }
    while (io_uring_peek_cqe(&disk->ring, &cqe) == 0) {
        struct disk_request *request = io_uring_cqe_get_data(cqe);
        int result = cqe->res;
        io_uring_cqe_seen(&disk->ring, cqe);
        disk->in_flight_count--;
        taken++;
        if (result < 0 || (uint32_t)result < request->expected) {
            return disk_fail(disk, result < 0 ? result : -EIO, "a disk request");
        }
        request->done(disk->user, request);
    }
    return taken;
}
