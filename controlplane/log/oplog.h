// SPDX-License-Identifier: Apache-2.0
// Operation log: records of opaque bytes, made durable in groups, and snapshots that shorten it.
//
// A directory holds `log.<first lsn>` segments and `snapshot.<lsn>` files (formats: log_format.h),
// and a lock that keeps a second process out. Log sequence numbers (lsn) count records from 1
// without gaps. A snapshot at lsn L stands for the records 1 to L. The newest two snapshots and the
// log behind the older one are kept, so that one damaged snapshot loses nothing.
//
// Threads: all calls and callbacks on the thread of the loop; writing and flushing happen on
// libuv's pool. Callbacks never come from inside a call. The first error of a write or a flush ends
// the log: nothing is retried, as nobody knows what the disk holds after it.
#ifndef PAWL_CONTROLPLANE_LOG_OPLOG_H
#define PAWL_CONTROLPLANE_LOG_OPLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/util.h"

struct oplog;
struct oplog_snapshot;

// Zero means the default.
struct oplog_options {
    size_t size;            // sizeof(struct oplog_options)
    uint64_t segment_bytes; // a segment that has grown so large is followed by a new one, 64 MiB
    uint64_t pending_bytes_max; // appended and not yet durable, 64 MiB
    uint32_t lock_ms; // to wait for who has the directory: one that was killed may be ending; 0
    // Everything up to `lsn` is durable (code 0), or the log has failed for good (code < 0, once).
    void (*on_durable)(void *user, int code, uint64_t lsn);
    void *user;
};

// What oplog_open() hands over, in this order: all records of the newest whole snapshot, then the
// log behind it. A negative code ends the loading and is returned by oplog_open(). Bytes are
// BORROWED.
struct oplog_load {
    int (*on_snapshot_record)(void *user, const void *bytes, size_t length);
    int (*on_record)(void *user, uint64_t lsn, const void *bytes, size_t length);
    void *user;
};

// Opens, creating the directory when it is missing; locks it, loads what it holds, cuts a torn tail
// (logged). PAWL_EBUSY: another process has it. PAWL_EFORMAT: damaged in the middle, or another
// format; the log names file, offset and what to do. Or a negative errno.
PAWL_MUST_CHECK int oplog_open(const char *directory, uv_loop_t *loop,
                               const struct oplog_options *options, const struct oplog_load *load,
                               struct oplog **ret_log);

// Takes a record into memory (COPIES) and has it flushed soon, together with others: on_durable
// tells. PAWL_EINVALID (empty), PAWL_ETOOLARGE (over OPLOG_RECORD_BYTES_MAX), PAWL_ELIMIT (pending
// bytes), -ENOMEM, or the code that the log failed with.
#define OPLOG_RECORD_BYTES_MAX (16u << 20)
PAWL_MUST_CHECK int oplog_append(struct oplog *log, const void *bytes, size_t length,
                                 uint64_t *ret_lsn);

// Waits until everything appended is durable. on_durable still comes, later, from the loop.
PAWL_MUST_CHECK int oplog_flush(struct oplog *log);

uint64_t oplog_last_lsn(const struct oplog *log);    // appended; 0: none
uint64_t oplog_durable_lsn(const struct oplog *log); // flushed
// Bytes appended and not yet durable.
uint64_t oplog_pending_bytes(const struct oplog *log);
// Bytes of log behind the newest snapshot: decides when the next one is due.
uint64_t oplog_tail_bytes(const struct oplog *log);
// Flushes so far; records per flush say how well they group.
uint64_t oplog_flushes_count(const struct oplog *log);

// A snapshot of the state as of oplog_last_lsn(): begin, add every record, commit; all in one go,
// with no append between begin and the last add. One at a time: PAWL_EBUSY. begin waits for a
// flush.
PAWL_MUST_CHECK int oplog_snapshot_begin(struct oplog *log, struct oplog_snapshot **ret_snapshot);
PAWL_MUST_CHECK int oplog_snapshot_add(struct oplog_snapshot *snapshot, const void *bytes,
                                       size_t length);
// Writes it on the pool; then callback(user, code) from the loop (may be NULL), exactly once. With
// code 0 it is durable and older files are gone; otherwise (logged) all is as before, and the log
// goes on. TAKES the snapshot.
void oplog_snapshot_commit(struct oplog_snapshot *snapshot, void (*callback)(void *user, int code),
                           void *user);
// Drops it. NULL is ignored.
void oplog_snapshot_cancel(struct oplog_snapshot *snapshot);

// Flushes, waits for a snapshot that is being written, unlocks. No callbacks come any more. The
// loop must run on for a while for the last memory to be freed. Returns the code of the flush. NULL
// is ignored.
int oplog_close(struct oplog *log);

#endif
