// SPDX-License-Identifier: Apache-2.0
// Loading the operation log: the newest whole snapshot, then the records behind it.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "oplog"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/log/oplog_private.h"

#define ADVICE                                                                                     \
    "restore the directory from a copy; to go on without the records behind this place, move the " \
    "file away"

// ---- snapshots -------------------------------------------------------------------------------

static int snapshot_hand_over(const uint8_t *data, size_t bytes, const struct oplog_load *load)
{
    struct oplog_record record;
    size_t offset = 0;
    while (load->on_snapshot_record != NULL && oplog_snapshot_next(data, bytes, &offset, &record)) {
        int rc = load->on_snapshot_record(load->user, record.payload, record.payload_bytes);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

// Damaged snapshots get another name, so that no rule counts on them; only after the state was
// loaded without them, so that a second start does not find an innocent empty directory.
static int snapshots_put_aside(struct oplog *log, const struct log_list *snapshots,
                               uint64_t loaded_lsn)
{
    bool renamed = false;
    for (size_t i = 0; i < snapshots->count; i++) {
        char name[LOG_NAME_BYTES], aside[LOG_NAME_BYTES + 16];
        if (snapshots->items[i] <= loaded_lsn) {
            continue;
        }
        log_name(name, LOG_SNAPSHOT_PREFIX, snapshots->items[i]);
        snprintf(aside, sizeof(aside), "damaged.%s", name);
        if (renameat(log->directory_fd, name, log->directory_fd, aside) != 0) {
            return -errno;
        }
        pawl_log_warn("%s/%s: put aside as %s", log->directory, name, aside);
        renamed = true;
    }
    return renamed && fsync(log->directory_fd) != 0 ? -errno : 0;
}

// Hands it over, or says that it is damaged and an older one may do; codes end the loading.
static int snapshot_load(struct oplog *log, uint64_t lsn, const struct oplog_load *load,
                         bool *ret_damaged)
{
    char name[LOG_NAME_BYTES];
    uint8_t *data;
    size_t bytes;
    uint64_t inner_lsn, count;
    struct oplog_error error = {.text = ""};
    log_name(name, LOG_SNAPSHOT_PREFIX, lsn);
    int rc = file_read_all(log->directory_fd, name, &data, &bytes);
    if (rc != 0) {
        pawl_log_error("%s/%s: can't be read: %s", log->directory, name, pawl_strerror(rc));
        return rc;
    }
    rc = oplog_snapshot_check(data, bytes, &inner_lsn, &count, &error);
    if (rc == 0 && inner_lsn != lsn) {
        rc = PAWL_EFORMAT;
        snprintf(error.text, sizeof(error.text), "is snapshot %" PRIu64 " inside", inner_lsn);
    }
    if (rc == 0) {
        rc = snapshot_hand_over(data, bytes, load);
        pawl_log_info("%s/%s: %" PRIu64 " records loaded", log->directory, name, count);
    } else if (rc == PAWL_EPROTOCOL) {
        pawl_log_error("%s/%s %s", log->directory, name, error.text);
        rc = PAWL_EFORMAT;
    } else {
        pawl_log_error("%s/%s %s (offset %zu); an older one is tried", log->directory, name,
                       error.text, error.offset);
        *ret_damaged = true;
        rc = 0;
    }
    free(data);
    return rc;
}

// *ret_lsn: of the snapshot that was loaded, 0 without any.
static int snapshots_load(struct oplog *log, const struct log_list *snapshots,
                          const struct oplog_load *load, uint64_t *ret_lsn)
{
    for (size_t i = snapshots->count; i > 0; i--) {
        bool damaged = false;
        int rc = snapshot_load(log, snapshots->items[i - 1], load, &damaged);
        if (rc != 0) {
            return rc;
        }
        if (!damaged) {
            *ret_lsn = snapshots->items[i - 1];
            return 0;
        }
    }
    *ret_lsn = 0;
    return 0;
}

// ---- segments --------------------------------------------------------------------------------

// Opens the last segment for appending, without what is torn (else all behind the last record was written ahead).
// Everything in it is made durable first: what was read may have been in the page cache only, and the state that comes
// of it will be acted upon.
static int segment_adopt(struct oplog *log, const char *name, const struct oplog_scan *scan,
                         bool is_torn)
{
    int fd = openat(log->directory_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (is_torn) {
        pawl_log_warn("%s/%s: torn tail cut at offset %zu: %zu bytes of records behind %" PRIu64
                      " that were never acknowledged",
                      log->directory, name, scan->offset, scan->bytes - scan->offset,
                      scan->next_lsn - 1);
        if (ftruncate(fd, (off_t)scan->offset) != 0) {
            int rc = -errno;
            close(fd);
            return rc;
        }
    }
    if (fsync(fd) != 0 || fsync(log->directory_fd) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    log->segment_fd = fd;
    log->segment_bytes = scan->offset;
    log->reserved_bytes = is_torn ? scan->offset : scan->bytes;
    return 0;
}

static int segment_refuse(struct oplog *log, const char *name, const struct oplog_error *error)
{
    pawl_log_error("%s/%s %s (offset %zu): %s", log->directory, name, error->text, error->offset,
                   ADVICE);
    return PAWL_EFORMAT;
}

static int segment_replay(struct oplog *log, struct oplog_scan *scan, const struct oplog_load *load)
{
    struct oplog_record record;
    while (oplog_scan_next(scan, &record) > 0) {
        if (record.lsn <= log->last_lsn) {
            continue; // the snapshot has it
        }
        if (load->on_record != NULL) {
            int rc = load->on_record(load->user, record.lsn, record.payload, record.payload_bytes);
            if (rc != 0) {
                pawl_log_error("%s: record %" PRIu64 " can't be applied: %s", log->directory,
                               record.lsn, pawl_strerror(rc));
                return rc;
            }
        }
        log->last_lsn = record.lsn;
        log->tail_bytes += record.total_bytes;
    }
    return 0;
}

static int segment_load_bytes(struct oplog *log, uint64_t first_lsn, struct oplog_scan *scan,
                              const struct oplog_load *load, bool last)
{
    char name[LOG_NAME_BYTES];
    struct oplog_error error = {.text = ""};
    log_name(name, LOG_SEGMENT_PREFIX, first_lsn);
    int rc = oplog_scan_init(scan, scan->data, scan->bytes, &error);
    if (rc != 0) {
        return segment_refuse(log, name, &error);
    }
    if (scan->next_lsn != first_lsn) {
        snprintf(error.text, sizeof(error.text), "begins with record %" PRIu64 " inside",
                 scan->next_lsn);
        return segment_refuse(log, name, &error);
    }
    rc = segment_replay(log, scan, load);
    if (rc != 0) {
        return rc;
    }
    bool is_torn = !oplog_scan_rest_is_zeros(scan);
    if (is_torn) {
        if (!last) {
            error.offset = scan->offset;
            snprintf(error.text, sizeof(error.text),
                     "is damaged: record %" PRIu64 " is not readable, and later segments exist",
                     scan->next_lsn);
            return segment_refuse(log, name, &error);
        }
        if (oplog_scan_judge(scan, &error) != 0) {
            return segment_refuse(log, name, &error);
        }
    }
    return last ? segment_adopt(log, name, scan, is_torn) : 0;
}

// *next_lsn: where the segment before ended; 0 for the first one.
static int segment_load(struct oplog *log, uint64_t first_lsn, const struct oplog_load *load,
                        bool last, uint64_t *next_lsn)
{
    char name[LOG_NAME_BYTES];
    struct oplog_scan scan;
    uint8_t *data;
    log_name(name, LOG_SEGMENT_PREFIX, first_lsn);
    if (*next_lsn != 0 ? first_lsn != *next_lsn : first_lsn > log->last_lsn + 1) {
        pawl_log_error("%s: records %" PRIu64 " to %" PRIu64 " are missing before %s: %s",
                       log->directory, *next_lsn != 0 ? *next_lsn : log->last_lsn + 1,
                       first_lsn - 1, name, ADVICE);
        return PAWL_EFORMAT;
    }
    int rc = file_read_all(log->directory_fd, name, &data, &scan.bytes);
    if (rc != 0) {
        pawl_log_error("%s/%s: can't be read: %s", log->directory, name, pawl_strerror(rc));
        return rc;
    }
    scan.data = data;
    rc = segment_load_bytes(log, first_lsn, &scan, load, last);
    *next_lsn = scan.next_lsn;
    free(data);
    return rc;
}

// The first segment that is needed behind the snapshot. Older ones are only there for an older
// snapshot.
static size_t segments_first(const struct log_list *segments, uint64_t snapshot_lsn)
{
    size_t first = 0;
    while (first + 1 < segments->count && segments->items[first + 1] <= snapshot_lsn + 1) {
        first++;
    }
    return first;
}

static int load_listed(struct oplog *log, const struct log_listing *listing,
                       const struct oplog_load *load)
{
    const struct log_list *segments = &listing->segments;
    uint64_t snapshot_lsn, next_lsn = 0;
    int rc = snapshots_load(log, &listing->snapshots, load, &snapshot_lsn);
    if (rc != 0) {
        return rc;
    }
    log->last_lsn = snapshot_lsn;
    if (segments->count == 0 && snapshot_lsn == 0 && listing->snapshots.count != 0) {
        pawl_log_error("%s: no snapshot is whole and there is no log: %s", log->directory, ADVICE);
        return PAWL_EFORMAT;
    }
    for (size_t i = segments_first(segments, snapshot_lsn); i < segments->count; i++) {
        rc = segment_load(log, segments->items[i], load, i + 1 == segments->count, &next_lsn);
        if (rc != 0) {
            return rc;
        }
    }
    if (next_lsn != 0 && next_lsn <= snapshot_lsn) {
        // The snapshot covers what is missing; new records must not follow in that segment.
        pawl_log_warn("%s: the log ends at record %" PRIu64 ", before snapshot %" PRIu64,
                      log->directory, next_lsn - 1, snapshot_lsn);
        log->roll = true;
    }
    rc = snapshots_put_aside(log, &listing->snapshots, snapshot_lsn);
    if (rc != 0) {
        pawl_log_error("%s: a damaged snapshot can't be renamed: %s", log->directory,
                       pawl_strerror(rc));
        return rc;
    }
    pawl_log_info("%s: snapshot %" PRIu64 ", log to record %" PRIu64, log->directory, snapshot_lsn,
                  log->last_lsn);
    return 0;
}

int log_load(struct oplog *log, const struct oplog_load *load)
{
    const struct oplog_load nothing = {0};
    struct log_listing listing;
    int rc = log_listing_read(log->directory_fd, true, &listing);
    if (rc != 0) {
        pawl_log_error("%s: can't be listed: %s", log->directory, pawl_strerror(rc));
        return rc;
    }
    rc = load_listed(log, &listing, load != NULL ? load : &nothing);
    log_listing_fini(&listing);
    return rc;
}
