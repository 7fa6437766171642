// SPDX-License-Identifier: Apache-2.0
// Inside the control thread: its loop's state (control.c) and what it says to the master
// (register.c).
#ifndef PAWL_DATAPLANE_CHUNKD_CONTROL_PRIVATE_H
#define PAWL_DATAPLANE_CHUNKD_CONTROL_PRIVATE_H

#include <stdbool.h>
#include <uv.h>

#include "controlplane/rpc/rpc.h"
#include "dataplane/chunkd/control.h"
#include "dataplane/chunkd/mailbox.h"
#include "dataplane/chunkd/mark.h"

enum control_state {
    CONTROL_OFF = 1,    // no connection: the retry timer runs, or it is being made
    CONTROL_GREETING,   // connected, not registered
    CONTROL_REGISTERED, // heartbeats go out
};

struct control {
    struct control_options options;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t heartbeat;
    uv_timer_t retry;
    uv_poll_t outbox_poll;
    unsigned handles_count; // of the above, initialised
    struct reactor *reactor;
    struct mailbox *inbox;
    struct mailbox *outbox;
    enum control_state state;
    struct rpc_conn *conn;
    bool asked;   // the reactor is making an inventory
    bool calling; // the master has a Register or Heartbeat of ours
    bool stopping;
    bool stopped; // the reactor has
    int exit_code;
    uint64_t cluster_id;
    uint64_t sent_ns; // of the heartbeat under way
    uint32_t heartbeat_ms;
    uint32_t lease_ms;
    uint32_t retry_ms;
    bool said_lost;   // that the master is gone: once each time
    int said_refused; // why it refuses this server
    struct mark mark; // the newest seen of its log
    uint64_t mark_saved_ns;
    bool mark_saved;
    bool mark_failed; // said once
};

// Ends the process in good order with this exit code.
void control_stop(struct control *control, int exit_code);
// Begins again from registration on the connection that there is.
void control_register_again(struct control *control);
void control_inventory_ask(struct control *control, bool all);
void control_post(struct control *control, struct mail *mail);

// An inventory has come from the reactor: it goes out as Register or Heartbeat.
void register_send(struct control *control, const struct mail *inventory);
void heartbeat_send(struct control *control, const struct mail *inventory);
// Makes what was seen of the master's log durable, if it is not.
void mark_keep(struct control *control);
void report_send(struct control *control, const struct mail *mail);

#endif
