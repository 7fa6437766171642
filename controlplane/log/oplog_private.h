// SPDX-License-Identifier: Apache-2.0
// Private to controlplane/log: the log from the inside.
#ifndef PAWL_CONTROLPLANE_LOG_OPLOG_PRIVATE_H
#define PAWL_CONTROLPLANE_LOG_OPLOG_PRIVATE_H

#include <limits.h>

#include "controlplane/log/log_format.h"
#include "controlplane/log/oplog.h"

// ---- files.c: small steps on files, all of them returning 0 or a negative errno ----

PAWL_MUST_CHECK int file_write_all(int fd, const void *bytes, size_t count, uint64_t offset);
// The whole file in memory of the heap.
PAWL_MUST_CHECK int file_read_all(int directory_fd, const char *name, uint8_t **ret_data,
                                  size_t *ret_bytes);
// Creates `name` with these bytes, durably: under a temporary name first, then renamed. *ret_fd
// (may be NULL) stays open for writing.
PAWL_MUST_CHECK int file_create(int directory_fd, const char *name, const void *bytes, size_t count,
                                int *ret_fd);

#define LOG_NAME_BYTES 48u
#define LOG_SEGMENT_PREFIX "log."
#define LOG_SNAPSHOT_PREFIX "snapshot."
#define LOG_TEMP_SUFFIX ".tmp"

void log_name(char ret_name[LOG_NAME_BYTES], const char *prefix, uint64_t lsn);

// Lsns of the files with one prefix, ascending. OWNS items.
struct log_list {
    uint64_t *items;
    size_t count;
    size_t capacity;
};

struct log_listing {
    struct log_list segments;
    struct log_list snapshots;
};

// Lists the directory; with remove_temps, what an interrupted file_create() has left is removed.
PAWL_MUST_CHECK int log_listing_read(int directory_fd, bool remove_temps,
                                     struct log_listing *ret_listing);
void log_listing_fini(struct log_listing *listing);

// ---- the log ----

// Records that are written and flushed together, encoded. Two of them: one gathers, one is written.
struct log_group {
    uint8_t *data;
    size_t bytes;
    size_t capacity;
    uint64_t first_lsn; // 0: empty
    uint64_t last_lsn;
    bool new_segment; // begins one
};

// A job on libuv's pool that the loop's thread can also wait for.
struct log_job {
    uv_work_t work;
    uv_sem_t done;
    bool busy;      // queued; until the loop has seen its end
    bool collected; // its result was taken already, by somebody who waited
    int code;
};

struct oplog_snapshot {
    struct oplog *log;
    uint64_t lsn;
    uint64_t count;
    uint64_t tail_bytes; // of the log when it began
    uint8_t *data;
    size_t bytes;
    size_t capacity;
    void (*callback)(void *user, int code);
    void *user;
};

struct oplog {
    uv_loop_t *loop;
    uv_idle_t idle; // active while something is to be done in the next turn
    struct oplog_options options;
    char *directory;
    int directory_fd;
    int lock_fd;

    // The pool's while flush_job is busy, the loop's otherwise.
    int segment_fd; // -1: the next group begins a segment
    uint64_t segment_bytes;
    uint64_t reserved_bytes; // of its file: zeros stand behind segment_bytes
    struct log_group groups[2];
    int gathering; // index of the group that gathers

    struct log_job flush_job;
    uint64_t last_lsn;
    uint64_t durable_lsn;
    uint64_t reported_lsn; // by on_durable
    int failed;            // the code that ended the log
    bool failure_reported;
    bool roll; // the next group begins a segment
    bool closing;
    uint64_t tail_bytes;
    uint64_t flushes_count;

    struct log_job snapshot_job;
    struct oplog_snapshot *snapshot; // begun, or being written
};

// oplog_load.c
PAWL_MUST_CHECK int log_load(struct oplog *log, const struct oplog_load *load);
// oplog.c
void log_wake(struct oplog *log);
void log_job_wait(struct log_job *job);
void log_free_if_ended(struct oplog *log);
// oplog_snapshot.c
void log_snapshot_collect(struct oplog *log);

#endif
