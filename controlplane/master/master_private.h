// SPDX-License-Identifier: Apache-2.0
// Private to controlplane/master: the master from the inside.
#ifndef PAWL_CONTROLPLANE_MASTER_MASTER_PRIVATE_H
#define PAWL_CONTROLPLANE_MASTER_MASTER_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "controlplane/core/master_core.h"
#include "controlplane/log/oplog.h"
#include "controlplane/master/master.h"
#include "controlplane/rpc/rpc.h"

// A request that the core has not answered yet.
struct master_request {
    uint64_t conn_id;
    uint64_t rpc_id; // of the frame
};

// An action that waits for the log. Its message is packed: the core's own is gone by then.
struct master_deferred {
    struct pawl_list link;
    uint64_t gate_lsn; // must be durable before
    enum master_action_type type;
    uint64_t conn;
    uint64_t request;
    uint64_t token;
    uint32_t deadline_ms;
    int level;
    size_t bytes;
    uint8_t data[];
};

// A command that was sent, or has failed before it could be.
struct master_command {
    struct pawl_list link; // in failed, or in none
    struct master *master;
    uint64_t token;
    int status;
};

struct master {
    uv_loop_t *loop;
    const struct master_config *config;
    struct master_core *core;
    struct oplog *log;
    struct rpc_server *server;
    uv_timer_t tick;
    uint64_t ticked_ns;
    uv_timer_t failures; // runs while `failed` is not empty
    int timers_count;    // not closed yet

    struct pawl_map requests; // number > struct master_request
    uint64_t last_request;
    struct pawl_list deferred; // struct master_deferred, in order
    uint64_t deferred_bytes;
    struct pawl_list failed; // struct master_command: their ANSWER events are due

    uint64_t snapshot_due_bytes; // of log behind the last snapshot
    bool stepping;               // inside a step: its actions must be over before the next
    bool stopping;
    bool ended;
    int end_code;
    void (*on_end)(void *user, int code);
    void *user;
};

// master.c
// Steps the core with an event and carries out what may be.
void master_handle(struct master *master, struct master_event *event);
// Nothing can be promised any more: closes everything without answering. Later steps do nothing.
void master_fail(struct master *master, int code, const char *what);

// carry_out.c
PAWL_MUST_CHECK int master_carry_out(struct master *master, const struct master_actions *actions);
// Carries out what the log has caught up with.
void master_drain(struct master *master);
void master_on_failures(uv_timer_t *timer);
void master_deferred_free(struct master *master);

// persist.c
PAWL_MUST_CHECK int master_load(struct master *master);
PAWL_MUST_CHECK int master_log_record(struct master *master, const Pawl__LogRecord *record);
void master_snapshot_if_due(struct master *master);

#endif
