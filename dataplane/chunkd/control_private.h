// SPDX-License-Identifier: Apache-2.0
// Inside the control thread: its loop's state (control.c) and what it says to the master
// (register.c).
#ifndef PAWL_DATAPLANE_CHUNKD_CONTROL_PRIVATE_H
#define PAWL_DATAPLANE_CHUNKD_CONTROL_PRIVATE_H

#include <stdbool.h>
#include <uv.h>

#include "controlplane/rpc/rpc.h"
#include "dataplane/chunkd/control.h"
#include "dataplane/chunkd/gather.h"
#include "dataplane/chunkd/mailbox.h"
#include "dataplane/chunkd/mark.h"
#include "dataplane/chunkd/routes.h"

enum control_state {
    CONTROL_OFF = 1,    // no connection: the retry timer runs, or it is being made
    CONTROL_GREETING,   // connected, not registered
    CONTROL_REGISTERED, // heartbeats go out
};

struct control;

// The mail of one reactor, in both directions.
struct control_box {
    struct control *control;
    uint32_t number;
    struct mailbox *inbox;
    struct mailbox *outbox;
    uv_poll_t poll; // of the outbox
};

struct control {
    struct control_options options;
    uv_loop_t loop;
    uv_signal_t signals[2];
    uv_timer_t heartbeat;
    uv_timer_t retry;
    unsigned handles_count; // of the above, initialised
    unsigned polls_count;   // of the boxes
    struct control_box boxes[REACTORS_MAX];
    uint32_t reactors_count;
    uint32_t stopped_count; // of them
    uint64_t server_id;
    uint64_t incarnation;
    struct routes routes;
    struct gather gather;
    enum control_state state;
    struct rpc_conn *conn;
    bool asked; // the reactors are making an inventory
    uint64_t asked_ns;
    bool calling; // the master has a Register or Heartbeat of ours
    bool stopping;
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
// TAKES a mail to one reactor; NULL: there was no memory for it, and it is lost as on a bad network.
void control_post(struct control *control, uint32_t reactor, struct mail *mail);
// A copy of the mail, which owns nothing, to each reactor: to all or, without memory, to none. -ENOMEM.
int control_post_all(struct control *control, const struct mail *mail) PAWL_MUST_CHECK;

// An inventory has come from all reactors: it goes out as Register or Heartbeat.
void register_send(struct control *control, const struct mail *inventory);
void heartbeat_send(struct control *control, const struct mail *inventory);
// Makes what was seen of the master's log durable, if it is not.
void mark_keep(struct control *control);
void report_send(struct control *control, const struct mail *mail);

#endif
