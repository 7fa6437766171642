// SPDX-License-Identifier: Apache-2.0
// Private to controlplane/rpc: a connection and a server from the inside.
#ifndef PAWL_CONTROLPLANE_RPC_RPC_PRIVATE_H
#define PAWL_CONTROLPLANE_RPC_RPC_PRIVATE_H

#include <netinet/in.h>

#include "base/list.h"
#include "base/map.h"
#include "controlplane/rpc/arena.h"
#include "controlplane/rpc/frame.h"
#include "controlplane/rpc/rpc.h"

#define RPC_ADDRESS_BYTES (INET6_ADDRSTRLEN + 16)

enum rpc_conn_state {
    RPC_CONN_CONNECTING = 1, // no on_open yet
    RPC_CONN_OPEN,           // frames go both ways
    RPC_CONN_FLUSHING,       // writes what is queued, ignores what comes, waits for the peer's end
    RPC_CONN_CLOSING,        // handles are being closed; then on_close
};

struct rpc_call {
    struct pawl_list link; // in calls_list of its connection, oldest first
    uint64_t id;
    uint64_t due_ms; // loop time
    rpc_call_fn *callback;
    void *user;
};

// Packed frames. Two of them per connection: one gathers while the other is being written.
struct rpc_output {
    uint8_t *data;
    size_t bytes;
    size_t capacity;
};

// A name being looked up. Outlives its connection when that is closed meanwhile.
struct rpc_resolve {
    uv_getaddrinfo_t request;
    struct rpc_conn *conn; // NULL: nobody waits any more
};

struct rpc_conn {
    uv_tcp_t tcp;
    uv_timer_t timer;  // fires at timer_due_ms or earlier than needed
    uv_idle_t idle;    // active while frames wait for this turn's write
    int handles_count; // initialised and not closed yet

    enum rpc_conn_state state;
    int why;               // state CLOSING, FLUSHING: the code of on_close
    bool announced;        // on_close is owed
    bool heard;            // a valid frame has come
    bool writing;          // write_request is under way
    bool shut;             // our end of the stream was sent
    uint64_t timer_due_ms; // 0: not armed
    uint64_t state_due_ms; // deadline of connecting, of the first frame, of flushing; 0: none

    uint64_t id;
    char peer[RPC_ADDRESS_BYTES];
    struct rpc_options options; // all filled in
    struct rpc_handlers handlers;
    void *user;
    void *data;
    struct rpc_server *server;   // NULL: we have connected
    struct rpc_resolve *resolve; // name being looked up, or NULL

    struct rpc_input input;
    struct rpc_arena *arena; // the server's, or own_arena
    struct rpc_arena own_arena;
    struct rpc_output outputs[2];
    int gathering; // index of the output that gathers
    uv_write_t write_request;
    uv_shutdown_t shutdown_request;
    uv_connect_t connect_request;

    struct pawl_map calls; // id > struct rpc_call
    struct pawl_list calls_list;
    uint32_t calls_count;
    uint32_t requests_count; // received and not answered
    uint64_t next_request_id;
};

struct rpc_server {
    uv_tcp_t listener;
    uv_loop_t *loop;
    struct rpc_options options;
    struct rpc_handlers handlers;
    void *user;
    struct pawl_map conns; // id > struct rpc_conn, also those that are closing
    size_t conns_count;
    struct rpc_arena arena;
    uint16_t port;
    char address[RPC_ADDRESS_BYTES];
    bool closing;
    bool listener_closed;
    void (*on_closed)(void *user);
    void *closed_user;
};

// conn.c
void rpc_options_fill(struct rpc_options *ret_filled, const struct rpc_options *options);
PAWL_MUST_CHECK int conn_new(uv_loop_t *loop, const struct rpc_options *filled,
                             const struct rpc_handlers *handlers, void *user,
                             struct rpc_conn **ret_conn);
// The stream stands: from now on frames go both ways. Calls no handler.
PAWL_MUST_CHECK int conn_open(struct rpc_conn *conn);
// Has the timer fire at due_ms if it doesn't earlier.
void conn_arm_timer(struct rpc_conn *conn, uint64_t due_ms);
uint64_t conn_now_ms(struct rpc_conn *conn);

// send.c
// Queues a frame whose payload the caller fills in at once, before anything else is queued.
PAWL_MUST_CHECK int conn_frame(struct rpc_conn *conn, enum rpc_frame_kind kind, uint64_t request_id,
                               size_t payload_bytes, uint8_t **ret_payload);
size_t conn_queued_bytes(const struct rpc_conn *conn);
void conn_flush_idle(uv_idle_t *idle);
// State FLUSHING: ends our side of the stream once all is written.
void conn_shut_when_written(struct rpc_conn *conn);

// call.c
void conn_take_reply(struct rpc_conn *conn, uint64_t request_id, const Pawl__Reply *reply);
void conn_expire_calls(struct rpc_conn *conn, uint64_t now_ms);
void conn_end_calls(struct rpc_conn *conn, int code);
uint64_t conn_calls_due_ms(const struct rpc_conn *conn); // earliest deadline; 0: none

// server.c: the connection has called its on_close and is about to be freed.
void server_forget(struct rpc_server *server, struct rpc_conn *conn);

// address.c
void rpc_address_format(const struct sockaddr *address, char *ret_text, size_t bytes);

#endif
