// SPDX-License-Identifier: Apache-2.0
// The operation log: appending, and flushing in groups.
//
// Records gather in one group while the other one is written and flushed by the pool; so however
// slow the disk is, one flush serves all that came during the flush before it.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "oplog"
#include "base/assert.h"
#include "base/lock.h"
#include "base/log.h"
#include "controlplane/log/oplog_private.h"

#define GROUP_BYTES_MIN (64u << 10)
#define GROUP_BYTES_KEPT (4u << 20)
#define RESERVE_BYTES (1u << 20)

// ---- flushing --------------------------------------------------------------------------------

// Gives back what was written ahead. If that doesn't last, zeros stay behind the last record: the same to a reader.
static void segment_trim(struct oplog *log)
{
    if (log->failed == 0 && log->reserved_bytes > log->segment_bytes) {
        (void)!ftruncate(log->segment_fd, (off_t)log->segment_bytes);
        log->reserved_bytes = log->segment_bytes;
    }
}

// Zeros ahead of the records: what is written over them changes neither the file's length nor its blocks, so a flush
// is that of the data and no commit of the file system. Without room for them the file grows as it is written.
static void segment_reserve(struct oplog *log, size_t bytes)
{
    static const uint8_t zeros[64u << 10];
    uint64_t end = log->segment_bytes + bytes;
    if (end <= log->reserved_bytes) {
        return;
    }
    uint64_t wanted =
        PAWL_MAX(end, PAWL_MIN(log->segment_bytes + RESERVE_BYTES, log->options.segment_bytes));
    uint64_t at = PAWL_MAX(log->segment_bytes, log->reserved_bytes);
    while (at < wanted) {
        size_t count = (size_t)PAWL_MIN(wanted - at, (uint64_t)sizeof(zeros));
        if (file_write_all(log->segment_fd, zeros, count, at) != 0) {
            (void)!ftruncate(log->segment_fd, (off_t)at); // without a part of a piece
            return;
        }
        at += count;
        log->reserved_bytes = at;
    }
}

static int segment_begin(struct oplog *log, uint64_t first_lsn)
{
    uint8_t header[sizeof(struct oplog_file_header)];
    char name[LOG_NAME_BYTES];
    int fd;
    log_name(name, LOG_SEGMENT_PREFIX, first_lsn);
    oplog_file_header_encode(OPLOG_SEGMENT_MAGIC, first_lsn, header);
    int rc = file_create(log->directory_fd, name, header, sizeof(header), &fd);
    if (rc != 0) {
        return rc;
    }
    if (log->segment_fd >= 0) {
        segment_trim(log);
        close(log->segment_fd); // all of it is durable: one group at a time
    }
    log->segment_fd = fd;
    log->segment_bytes = log->reserved_bytes = sizeof(header);
    return 0;
}

// On the pool, or on the loop's thread while no job runs.
static int group_write(struct oplog *log, const struct log_group *group)
{
    int rc = 0;
    pawl_assert(group->first_lsn == log->durable_lsn + 1);
    if (group->new_segment) {
        rc = segment_begin(log, group->first_lsn);
    }
    if (rc == 0) {
        segment_reserve(log, group->bytes);
        rc = file_write_all(log->segment_fd, group->data, group->bytes, log->segment_bytes);
    }
    if (rc == 0 && fdatasync(log->segment_fd) != 0) {
        rc = -errno;
    }
    if (rc == 0) {
        log->segment_bytes += group->bytes;
    }
    return rc;
}

// The gathering group becomes the one to write.
static struct log_group *group_take(struct oplog *log)
{
    struct log_group *group = &log->groups[log->gathering];
    pawl_assert(!log->flush_job.busy || log->flush_job.collected);
    group->new_segment =
        log->roll || log->segment_fd < 0 || log->segment_bytes >= log->options.segment_bytes;
    log->roll = false;
    log->gathering = !log->gathering;
    pawl_assert(log->groups[log->gathering].bytes == 0);
    return group;
}

static void group_empty(struct log_group *group)
{
    group->bytes = 0;
    group->first_lsn = group->last_lsn = 0;
    if (group->capacity > GROUP_BYTES_KEPT) {
        free(group->data);
        *group = (struct log_group){0};
    }
}

// Takes the result of a write: the other group than the gathering one was written.
static void group_finish(struct oplog *log, int code)
{
    struct log_group *group = &log->groups[!log->gathering];
    log->flushes_count++;
    if (code == 0) {
        log->durable_lsn = group->last_lsn;
    } else if (log->failed == 0) {
        log->failed = code;
        pawl_log_error("%s: records %" PRIu64 " to %" PRIu64
                       " could not be made durable: %s; the log takes no more records",
                       log->directory, group->first_lsn, group->last_lsn, pawl_strerror(code));
    }
    group_empty(group);
}

static void flush_collect(struct oplog *log)
{
    struct log_job *job = &log->flush_job;
    if (job->busy && !job->collected) {
        log_job_wait(job);
        group_finish(log, job->code);
    }
}

static void flush_run(uv_work_t *work)
{
    struct oplog *log = work->data;
    log->flush_job.code = group_write(log, &log->groups[!log->gathering]);
    uv_sem_post(&log->flush_job.done);
}

static void flush_ended(uv_work_t *work, int status)
{
    struct oplog *log = work->data;
    pawl_assert(status == 0); // never cancelled
    flush_collect(log);
    log->flush_job.busy = false;
    log_wake(log);
}

static void flush_start(struct oplog *log)
{
    struct log_job *job = &log->flush_job;
    if (job->busy || log->failed != 0 || log->groups[log->gathering].bytes == 0) {
        return;
    }
    (void)group_take(log);
    job->busy = true;
    job->collected = false;
    job->work.data = log;
    int rc = uv_queue_work(log->loop, &job->work, flush_run, flush_ended);
    pawl_assert(rc == 0);
}

int oplog_flush(struct oplog *log)
{
    flush_collect(log);
    if (log->failed == 0 && log->groups[log->gathering].bytes != 0) {
        struct log_group *group = group_take(log);
        group_finish(log, group_write(log, group));
    }
    log_wake(log);
    return log->failed;
}

// ---- the loop's side -------------------------------------------------------------------------

static void log_report(struct oplog *log)
{
    if (log->reported_lsn < log->durable_lsn) {
        log->reported_lsn = log->durable_lsn;
        if (log->options.on_durable != NULL) {
            log->options.on_durable(log->options.user, 0, log->durable_lsn);
        }
    }
    if (log->failed != 0 && !log->failure_reported && !log->closing) {
        log->failure_reported = true;
        if (log->options.on_durable != NULL) {
            log->options.on_durable(log->options.user, log->failed, log->durable_lsn);
        }
    }
}

static void log_on_idle(uv_idle_t *idle)
{
    struct oplog *log = idle->data;
    uv_idle_stop(idle);
    flush_start(log); // first, so that the disk works while the callback does
    log_report(log);
}

void log_wake(struct oplog *log)
{
    if (log->closing) {
        log_free_if_ended(log);
    } else if (!uv_is_active((uv_handle_t *)&log->idle)) {
        int rc = uv_idle_start(&log->idle, log_on_idle);
        pawl_assert(rc == 0);
    }
}

void log_job_wait(struct log_job *job)
{
    pawl_assert(job->busy && !job->collected);
    uv_sem_wait(&job->done);
    job->collected = true;
}

// ---- appending -------------------------------------------------------------------------------

static int group_reserve(struct log_group *group, size_t bytes)
{
    if (bytes <= group->capacity - group->bytes) {
        return 0;
    }
    size_t capacity = PAWL_MAX(group->capacity * 2, (size_t)GROUP_BYTES_MIN);
    while (capacity - group->bytes < bytes) {
        capacity *= 2;
    }
    uint8_t *data = realloc(group->data, capacity);
    if (data == NULL) {
        return -ENOMEM;
    }
    group->data = data;
    group->capacity = capacity;
    return 0;
}

int oplog_append(struct oplog *log, const void *bytes, size_t length, uint64_t *ret_lsn)
{
    struct log_group *group = &log->groups[log->gathering];
    pawl_assert(!log->closing);
    if (log->failed != 0) {
        return log->failed;
    }
    if (length == 0) {
        return PAWL_EINVALID;
    }
    if (length > OPLOG_RECORD_BYTES_MAX) {
        return PAWL_ETOOLARGE;
    }
    size_t total = oplog_record_total(length);
    uint64_t pending = oplog_pending_bytes(log);
    if (pending != 0 && pending + total > log->options.pending_bytes_max) {
        return PAWL_ELIMIT;
    }
    int rc = group_reserve(group, total);
    if (rc != 0) {
        return rc;
    }
    uint64_t lsn = log->last_lsn + 1;
    if (group->first_lsn == 0) {
        group->first_lsn = lsn;
    }
    const struct oplog_record record = {
        .lsn = lsn,
        // Groups are written one after the other, so the one before is durable by then.
        .durable_lsn = group->first_lsn - 1,
        .payload = bytes,
        .payload_bytes = (uint32_t)length,
    };
    oplog_record_encode(&record, group->data + group->bytes);
    group->bytes += total;
    group->last_lsn = log->last_lsn = lsn;
    log->tail_bytes += total;
    log_wake(log);
    *ret_lsn = lsn;
    return 0;
}

uint64_t oplog_last_lsn(const struct oplog *log)
{
    return log->last_lsn;
}

uint64_t oplog_durable_lsn(const struct oplog *log)
{
    return log->durable_lsn;
}

uint64_t oplog_pending_bytes(const struct oplog *log)
{
    return log->groups[0].bytes + log->groups[1].bytes;
}

uint64_t oplog_tail_bytes(const struct oplog *log)
{
    return log->tail_bytes;
}

uint64_t oplog_flushes_count(const struct oplog *log)
{
    return log->flushes_count;
}

// ---- opening and closing ---------------------------------------------------------------------

// A directory that was just made is as durable as its parent's entry of it.
static int directory_create(const char *path)
{
    if (mkdir(path, 0750) != 0) {
        return errno == EEXIST ? 0 : -errno;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int parent_fd = fd < 0 ? -1 : openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = parent_fd < 0 || fsync(parent_fd) != 0 ? -errno : 0;
    if (parent_fd >= 0) {
        close(parent_fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

static int directory_open(struct oplog *log)
{
    int created = directory_create(log->directory);
    if (created != 0) {
        pawl_log_error("%s: can't be created: %s", log->directory, pawl_strerror(created));
        return created;
    }
    log->directory_fd = open(log->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->directory_fd >= 0) {
        log->lock_fd = openat(log->directory_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    }
    if (log->directory_fd < 0 || log->lock_fd < 0) {
        int rc = -errno;
        pawl_log_error("%s: can't be opened: %s", log->directory, pawl_strerror(rc));
        return rc;
    }
    int rc = pawl_lock(log->lock_fd, log->options.lock_ms);
    if (rc != 0) {
        pawl_log_error("%s: can't be locked: %s", log->directory,
                       rc == -EBUSY ? "another process is using it" : pawl_strerror(rc));
    }
    return rc == -EBUSY ? PAWL_EBUSY : rc;
}

// Releases all but the handles of the loop.
static void log_release(struct oplog *log)
{
    if (log->segment_fd >= 0) {
        close(log->segment_fd);
    }
    if (log->lock_fd >= 0) {
        close(log->lock_fd);
    }
    if (log->directory_fd >= 0) {
        close(log->directory_fd);
    }
    free(log->groups[0].data);
    free(log->groups[1].data);
    free(log->directory);
    uv_sem_destroy(&log->flush_job.done);
    uv_sem_destroy(&log->snapshot_job.done);
    log->segment_fd = log->lock_fd = log->directory_fd = -1;
}

static struct oplog *log_new(const char *directory, uv_loop_t *loop,
                             const struct oplog_options *options)
{
    struct oplog *log = calloc(1, sizeof(*log));
    if (log == NULL) {
        return NULL;
    }
    log->directory = strdup(directory);
    if (log->directory == NULL) {
        free(log);
        return NULL;
    }
    log->loop = loop;
    log->directory_fd = log->lock_fd = log->segment_fd = -1;
    if (options != NULL) {
        pawl_assert(options->size == sizeof(*options));
        log->options = *options;
    }
    if (log->options.segment_bytes == 0) {
        log->options.segment_bytes = 64u << 20;
    }
    if (log->options.pending_bytes_max == 0) {
        log->options.pending_bytes_max = 64u << 20;
    }
    int rc = uv_sem_init(&log->flush_job.done, 0);
    pawl_assert(rc == 0);
    rc = uv_sem_init(&log->snapshot_job.done, 0);
    pawl_assert(rc == 0);
    return log;
}

int oplog_open(const char *directory, uv_loop_t *loop, const struct oplog_options *options,
               const struct oplog_load *load, struct oplog **ret_log)
{
    struct oplog *log = log_new(directory, loop, options);
    if (log == NULL) {
        return -ENOMEM;
    }
    int rc = directory_open(log);
    if (rc == 0) {
        rc = log_load(log, load);
    }
    if (rc != 0) {
        log_release(log);
        free(log);
        return rc;
    }
    log->durable_lsn = log->reported_lsn = log->last_lsn;
    rc = uv_idle_init(loop, &log->idle);
    pawl_assert(rc == 0);
    log->idle.data = log;
    *ret_log = log;
    return 0;
}

static void log_on_idle_closed(uv_handle_t *handle)
{
    free(handle->data);
}

// Once the loop has no job of the log any more. The idle handle is the last thing to go.
void log_free_if_ended(struct oplog *log)
{
    pawl_assert(log->closing);
    if (!log->flush_job.busy && !log->snapshot_job.busy &&
        !uv_is_closing((uv_handle_t *)&log->idle)) {
        log_release(log);
        uv_close((uv_handle_t *)&log->idle, log_on_idle_closed);
    }
}

int oplog_close(struct oplog *log)
{
    if (log == NULL) {
        return 0;
    }
    int rc = oplog_flush(log);
    log->closing = true;
    if (log->snapshot_job.busy) {
        log_snapshot_collect(log);
    } else {
        oplog_snapshot_cancel(log->snapshot);
    }
    if (log->segment_fd >= 0) {
        segment_trim(log); // while nobody else can have opened it
    }
    (void)flock(log->lock_fd, LOCK_UN); // what remains is memory
    uv_idle_stop(&log->idle);
    log_free_if_ended(log);
    return rc;
}
