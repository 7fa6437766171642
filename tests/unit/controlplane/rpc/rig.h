// SPDX-License-Identifier: Apache-2.0
// Test rig: a loop with a server on it, clients, and raw sockets; counts what the handlers see.
#ifndef PAWL_TESTS_RPC_RIG_H
#define PAWL_TESTS_RPC_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "controlplane/rpc/rpc.h"

#define RIG_HELD_MAX 4096

struct rig_held {
    uint64_t conn_id;
    uint64_t request_id;
};

// One side of the server's or a client's callbacks.
struct rig_side {
    struct rig *rig;
    int opened;
    int closed;
    int why; // of the last close
    int requests;
    bool hold; // don't answer: put into held
    struct rig_held held[RIG_HELD_MAX];
    int held_count;
    struct rpc_conn *conn;     // last opened
    uint32_t reply_text_bytes; // answers carry so much text
};

struct rig {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct rpc_server *server;
    struct rig_side server_side;
    struct rig_side client_side;
    bool server_closed;
};

// Results of calls.
struct rig_calls {
    int ended;
    int ok;
    int deadline;
    int disconnected;
    int last_code;       // of the reply, or of the call when there was none
    uint64_t last_bytes; // of the reply's text
};

extern const struct rpc_handlers rig_handlers;

void rig_start(struct rig *rig, const struct rpc_options *options);
// Closes everything and checks that each connection that opened has closed, and the loop is empty.
void rig_stop(struct rig *rig);
struct rpc_conn *rig_connect(struct rig *rig, const struct rpc_options *options);
// Runs the loop until the condition holds; fails after some seconds.
#define rig_run_until(rig, condition)                                                              \
    do {                                                                                           \
        rig_watchdog_start(rig);                                                                   \
        while (!(condition))                                                                       \
            uv_run(&(rig)->loop, UV_RUN_ONCE);                                                     \
        rig_watchdog_stop(rig);                                                                    \
    } while (0)
void rig_watchdog_start(struct rig *rig);
void rig_watchdog_stop(struct rig *rig);

void rig_call(struct rpc_conn *conn, struct rig_calls *calls, uint32_t deadline_ms);
int rig_try_call(struct rpc_conn *conn, struct rig_calls *calls, const char *path);

// A plain blocking socket connected to the server.
int rig_raw_connect(struct rig *rig);
void rig_raw_send(int fd, const void *bytes, size_t count);

#endif
