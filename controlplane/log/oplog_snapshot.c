// SPDX-License-Identifier: Apache-2.0
// Snapshots of the operation log: built in memory, written by the pool, then older files go.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "oplog"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/log/oplog_private.h"

#define SNAPSHOT_BYTES_MIN (64u << 10)

// Room for so many bytes and the footer.
static int snapshot_reserve(struct oplog_snapshot *snapshot, size_t bytes)
{
    bytes += sizeof(struct oplog_footer);
    if (bytes <= snapshot->capacity - snapshot->bytes) {
        return 0;
    }
    size_t capacity = PAWL_MAX(snapshot->capacity * 2, (size_t)SNAPSHOT_BYTES_MIN);
    while (capacity - snapshot->bytes < bytes) {
        capacity *= 2;
    }
    uint8_t *data = realloc(snapshot->data, capacity);
    if (data == NULL) {
        return -ENOMEM;
    }
    snapshot->data = data;
    snapshot->capacity = capacity;
    return 0;
}

static void snapshot_free(struct oplog_snapshot *snapshot)
{
    free(snapshot->data);
    free(snapshot);
}

int oplog_snapshot_begin(struct oplog *log, struct oplog_snapshot **ret_snapshot)
{
    if (log->snapshot != NULL || log->snapshot_job.busy) {
        return PAWL_EBUSY;
    }
    // The log must reach the snapshot, or an older snapshot would find a hole behind itself.
    int rc = oplog_flush(log);
    if (rc != 0) {
        return rc;
    }
    struct oplog_snapshot *snapshot = calloc(1, sizeof(*snapshot));
    if (snapshot == NULL) {
        return -ENOMEM;
    }
    snapshot->log = log;
    snapshot->lsn = log->last_lsn;
    snapshot->tail_bytes = log->tail_bytes;
    rc = snapshot_reserve(snapshot, sizeof(struct oplog_file_header));
    if (rc != 0) {
        snapshot_free(snapshot);
        return rc;
    }
    oplog_file_header_encode(OPLOG_SNAPSHOT_MAGIC, snapshot->lsn, snapshot->data);
    snapshot->bytes = sizeof(struct oplog_file_header);
    log->snapshot = snapshot;
    log->roll = log->last_lsn != 0; // so that the segments before can go later
    *ret_snapshot = snapshot;
    return 0;
}

int oplog_snapshot_add(struct oplog_snapshot *snapshot, const void *bytes, size_t length)
{
    pawl_assert(snapshot->lsn == snapshot->log->last_lsn); // no append meanwhile
    if (length == 0) {
        return PAWL_EINVALID;
    }
    if (length > OPLOG_RECORD_BYTES_MAX) {
        return PAWL_ETOOLARGE;
    }
    size_t total = oplog_record_total(length);
    int rc = snapshot_reserve(snapshot, total);
    if (rc != 0) {
        return rc;
    }
    const struct oplog_record record = {
        .lsn = ++snapshot->count,
        .payload = bytes,
        .payload_bytes = (uint32_t)length,
    };
    oplog_record_encode(&record, snapshot->data + snapshot->bytes);
    snapshot->bytes += total;
    return 0;
}

void oplog_snapshot_cancel(struct oplog_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return;
    }
    pawl_assert(snapshot->log->snapshot == snapshot && !snapshot->log->snapshot_job.busy);
    snapshot->log->snapshot = NULL;
    snapshot_free(snapshot);
}

static int prune_one(struct oplog *log, const char *prefix, uint64_t lsn)
{
    char name[LOG_NAME_BYTES];
    log_name(name, prefix, lsn);
    if (unlinkat(log->directory_fd, name, 0) == 0 || errno == ENOENT) {
        return 0;
    }
    int rc = -errno;
    pawl_log_warn("%s/%s: can't be removed: %s", log->directory, name, pawl_strerror(rc));
    return rc;
}

// Keeps this snapshot, the one before it, and the log behind that one. Failing is not fatal: what
// is left over is only more than needed.
static void prune(struct oplog *log, uint64_t lsn)
{
    struct log_listing listing;
    int rc = log_listing_read(log->directory_fd, false, &listing);
    if (rc != 0) {
        pawl_log_warn("%s: can't be listed: %s", log->directory, pawl_strerror(rc));
        return;
    }
    uint64_t previous = 0; // without one, the whole log is the way back
    for (size_t i = 0; i < listing.snapshots.count && listing.snapshots.items[i] < lsn; i++) {
        previous = listing.snapshots.items[i];
    }
    for (size_t i = 0; i < listing.snapshots.count && listing.snapshots.items[i] < previous; i++) {
        (void)prune_one(log, LOG_SNAPSHOT_PREFIX, listing.snapshots.items[i]);
    }
    // Oldest first, and no further than the first that stays, so that no hole is ever left.
    for (size_t i = 0; i + 1 < listing.segments.count; i++) {
        if (listing.segments.items[i + 1] > previous + 1 ||
            prune_one(log, LOG_SEGMENT_PREFIX, listing.segments.items[i]) != 0) {
            break;
        }
    }
    log_listing_fini(&listing);
}

// On the pool.
static void snapshot_run(uv_work_t *work)
{
    struct oplog *log = work->data;
    struct oplog_snapshot *snapshot = log->snapshot;
    char name[LOG_NAME_BYTES];
    log_name(name, LOG_SNAPSHOT_PREFIX, snapshot->lsn);
    oplog_footer_encode(snapshot->count, snapshot->data, snapshot->bytes,
                        snapshot->data + snapshot->bytes);
    int rc = file_create(log->directory_fd, name, snapshot->data,
                         snapshot->bytes + sizeof(struct oplog_footer), NULL);
    if (rc == 0) {
        prune(log, snapshot->lsn);
    }
    log->snapshot_job.code = rc;
    uv_sem_post(&log->snapshot_job.done);
}

void log_snapshot_collect(struct oplog *log)
{
    struct log_job *job = &log->snapshot_job;
    struct oplog_snapshot *snapshot = log->snapshot;
    if (!job->busy || job->collected) {
        return;
    }
    log_job_wait(job);
    if (job->code == 0) {
        log->tail_bytes -= snapshot->tail_bytes;
        pawl_log_info("%s: snapshot %" PRIu64 " written: %" PRIu64 " records, %zu bytes",
                      log->directory, snapshot->lsn, snapshot->count, snapshot->bytes);
    } else {
        pawl_log_error("%s: snapshot %" PRIu64 " could not be written: %s; the log goes on",
                       log->directory, snapshot->lsn, pawl_strerror(job->code));
    }
}

static void snapshot_ended(uv_work_t *work, int status)
{
    struct oplog *log = work->data;
    struct oplog_snapshot *snapshot = log->snapshot;
    pawl_assert(status == 0); // never cancelled
    log_snapshot_collect(log);
    log->snapshot_job.busy = false;
    log->snapshot = NULL;
    if (snapshot->callback != NULL && !log->closing) {
        snapshot->callback(snapshot->user, log->snapshot_job.code);
    }
    snapshot_free(snapshot);
    if (log->closing) {
        log_free_if_ended(log);
    }
}

void oplog_snapshot_commit(struct oplog_snapshot *snapshot, void (*callback)(void *user, int code),
                           void *user)
{
    struct oplog *log = snapshot->log;
    struct log_job *job = &log->snapshot_job;
    pawl_assert(log->snapshot == snapshot && !job->busy);
    snapshot->callback = callback;
    snapshot->user = user;
    job->busy = true;
    job->collected = false;
    job->work.data = log;
    int rc = uv_queue_work(log->loop, &job->work, snapshot_run, snapshot_ended);
    pawl_assert(rc == 0);
}
