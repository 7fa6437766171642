// SPDX-License-Identifier: Apache-2.0
// The core's state on disk: replay, records, snapshots.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "master"
#include "base/assert.h"
#include "base/lock.h"
#include "base/log.h"
#include "controlplane/master/master_private.h"

// ---- loading ---------------------------------------------------------------------------------

static int apply_bytes(struct master *master, const void *bytes, size_t length)
{
    Pawl__LogRecord *record = pawl__log_record__unpack(NULL, length, bytes);
    if (record == NULL || record->body_case == PAWL__LOG_RECORD__BODY__NOT_SET) {
        pawl_log_error(
            "a log record of %zu bytes is of no kind known here: was it written by a newer "
            "version?",
            length);
        if (record != NULL) {
            pawl__log_record__free_unpacked(record, NULL);
        }
        return PAWL_EFORMAT;
    }
    int rc = master_core_apply(master->core, record);
    if (rc != 0) {
        pawl_log_error("a log record of kind %d does not fit the state: %s", record->body_case,
                       pawl_strerror(rc));
    }
    pawl__log_record__free_unpacked(record, NULL);
    return rc;
}

static int on_snapshot_record(void *user, const void *bytes, size_t length)
{
    return apply_bytes(user, bytes, length);
}

static int on_record(void *user, uint64_t lsn, const void *bytes, size_t length)
{
    (void)lsn;
    return apply_bytes(user, bytes, length);
}

static void on_durable(void *user, int code, uint64_t lsn)
{
    struct master *master = user;
    (void)lsn;
    if (code != 0) {
        master_fail(master, code, "the operation log has failed");
    } else {
        master_drain(master);
    }
}

int master_load(struct master *master)
{
    const struct oplog_options options = {
        .size = sizeof(options),
        .lock_ms = PAWL_LOCK_FORERUNNER_MS,
        .on_durable = on_durable,
        .user = master,
    };
    const struct oplog_load load = {
        .on_snapshot_record = on_snapshot_record,
        .on_record = on_record,
        .user = master,
    };
    return oplog_open(master->config->directory, master->loop, &options, &load, &master->log);
}

// ---- records and snapshots -------------------------------------------------------------------

// Packs into memory of the heap.
static int record_pack(const Pawl__LogRecord *record, uint8_t **ret_data, size_t *ret_bytes)
{
    size_t bytes = pawl__log_record__get_packed_size(record);
    uint8_t *data = malloc(bytes + 1);
    if (data == NULL) {
        return -ENOMEM;
    }
    *ret_bytes = pawl__log_record__pack(record, data);
    *ret_data = data;
    return 0;
}

int master_log_record(struct master *master, const Pawl__LogRecord *record)
{
    uint8_t *data;
    size_t bytes;
    uint64_t lsn;
    int rc = record_pack(record, &data, &bytes);
    if (rc == 0) {
        rc = oplog_append(master->log, data, bytes, &lsn);
        free(data);
    }
    return rc;
}

static int snapshot_emit(void *user, const Pawl__LogRecord *record)
{
    uint8_t *data;
    size_t bytes;
    int rc = record_pack(record, &data, &bytes);
    if (rc == 0) {
        rc = oplog_snapshot_add(user, data, bytes);
        free(data);
    }
    return rc;
}

// The next one is due when the log has grown by the configured size again, also after a failure.
static void snapshot_on_written(void *user, int code)
{
    struct master *master = user;
    (void)code; // logged where it was decided
    master->snapshot_due_bytes =
        oplog_tail_bytes(master->log) + master->config->snapshot_after_bytes;
    if (code == 0) {
        master->snapshot_due_bytes = master->config->snapshot_after_bytes;
    }
}

int master_snapshot(struct master *master)
{
    struct oplog_snapshot *snapshot;
    pawl_assert(!master->stepping); // the state and the log are of one mind
    int rc = oplog_snapshot_begin(master->log, &snapshot);
    if (rc != 0) {
        return rc;
    }
    rc = master_core_dump(master->core, snapshot_emit, snapshot);
    if (rc != 0) {
        oplog_snapshot_cancel(snapshot);
        pawl_log_error("snapshot of %" PRIu64 " not taken: %s", oplog_last_lsn(master->log),
                       pawl_strerror(rc));
        return rc;
    }
    oplog_snapshot_commit(snapshot, snapshot_on_written, master);
    return 0;
}

void master_snapshot_if_due(struct master *master)
{
    if (oplog_tail_bytes(master->log) < master->snapshot_due_bytes) {
        return;
    }
    int rc = master_snapshot(master);
    if (rc != 0 && rc != PAWL_EBUSY) {
        snapshot_on_written(master, rc);
    }
}
