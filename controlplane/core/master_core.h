// SPDX-License-Identifier: Apache-2.0
// The master core: namespace, chunk table, servers, leases, placement and recovery, as a pure step
// function.
//
// OWNS: the whole state of the master in memory. No clock, no I/O, no threads; memory from the
// allocator given at init.
//
// Driver's contract:
//  - Actions of a step are carried out in order. MASTER_ACTION_LOG appends a record to the
//  operation
//    log; every later action, of this and of all following steps, waits until that record is
//    durable. The core has applied the record already: what it decides on top of it can't be seen
//    before it is durable either.
//  - A request from a client or chunk server is named by `request` (the driver's number); the core
//    answers each exactly once with MASTER_ACTION_REPLY, in this step or, where the request allows it
//    (GetTail.wait_ms), in a later one.
//  - A command to a chunk server ends in exactly one MASTER_EVENT_ANSWER with its token: the
//  server's
//    reply, or a negative status when the connection broke or the deadline passed.
//  - Replay: master_core_apply() of every logged record, in order, on a new core; then
//    master_core_start(), which logs the new term.
#ifndef PAWL_CONTROLPLANE_MASTER_CORE_H
#define PAWL_CONTROLPLANE_MASTER_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"
#include "control.pb-c.h"

#define MASTER_PATH_MAX 4096u
#define MASTER_NAME_MAX 255u
#define MASTER_SET_MAX 8u

struct master_core;

struct master_core_options {
    uint32_t heartbeat_ms;  // 200
    uint32_t suspect_ms;    // 1,000: no heartbeat for so long: suspect, not placed on
    uint32_t dead_ms;       // 3,000
    uint32_t lease_ms;      // 2,000
    uint32_t command_ms;    // 1,000: deadline of a command to a chunk server
    uint32_t session_ms;    // 300,000: a client that stays away for so long has no session any more
    uint32_t session_block; // 1,000: numbers of sessions that are logged at once
    uint32_t surplus_ms;    // 10,000: a replica more than its file wants is kept so long
    uint64_t random_seed;   // placement's tie breaks, ids
    const struct pawl_alloc *alloc;
};

enum master_event_type {
    MASTER_EVENT_TICK = 1,    // every 50 to 100 ms
    MASTER_EVENT_REQUEST,     // request, conn, message: a client's or chunk server's call
    MASTER_EVENT_ANSWER,      // token, status, answer: a command's end
    MASTER_EVENT_CONN_CLOSED, // conn: of a client or of a chunk server
};

struct master_event {
    enum master_event_type type;
    int status;
    uint64_t now_ns;  // monotonic
    uint64_t wall_ms; // for time stamps only
    uint64_t conn;    // never used again
    uint64_t request;
    uint64_t token;
    const Pawl__Request *message; // BORROWS UNTIL the step returns
    const Pawl__Reply *answer;    // BORROWS UNTIL the step returns; NULL when status != 0
};

enum master_action_type {
    MASTER_ACTION_LOG = 1, // record
    MASTER_ACTION_REPLY,   // request, reply
    MASTER_ACTION_COMMAND, // conn, token, command, deadline_ms
    MASTER_ACTION_NOTE,    // text: one line for the log, at `level` (enum pawl_log_level's number)
};

// Messages inside actions live in the core's arena UNTIL the next step: the driver packs or copies
// them at once.
struct master_action {
    enum master_action_type type;
    uint64_t conn;
    uint64_t request;
    uint64_t token;
    uint32_t deadline_ms;
    int level;
    const Pawl__LogRecord *record;
    const Pawl__Reply *reply;
    const Pawl__Request *command;
    const char *text;
};

struct master_actions {
    struct master_action *items;
    uint32_t count;
    uint32_t capacity;
};

int master_core_new(const struct master_core_options *options,
                    struct master_core **ret) PAWL_MUST_CHECK;
void master_core_free(struct master_core *core);

// Applies a logged record. PAWL_EFORMAT when it does not fit the state (a log of another history).
int master_core_apply(struct master_core *core, const Pawl__LogRecord *record) PAWL_MUST_CHECK;

// After replay: draws a cluster id if there is none (from `random`, not 0), raises the term.
int master_core_start(struct master_core *core, uint64_t random, uint64_t now_ns, uint64_t wall_ms,
                      const struct master_actions **ret_actions) PAWL_MUST_CHECK;

// The step. -ENOMEM only: to be treated as a crash.
int master_core_step(struct master_core *core, const struct master_event *event,
                     const struct master_actions **ret_actions) PAWL_MUST_CHECK;

// Writes the state as the shortest log that gives it back; `emit` packs or copies each record.
int master_core_dump(const struct master_core *core,
                     int (*emit)(void *user, const Pawl__LogRecord *record),
                     void *user) PAWL_MUST_CHECK;

uint64_t master_core_term(const struct master_core *core);
uint64_t master_core_cluster_id(const struct master_core *core);

// Asserts every internal invariant; for tests and the simulator.
void master_core_validate(const struct master_core *core);

#endif
