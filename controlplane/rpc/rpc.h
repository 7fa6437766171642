// SPDX-License-Identifier: Apache-2.0
// RPC of the control plane: requests and replies of proto/control.proto over TCP, on a libuv loop.
//
// A connection is symmetrical: both sides may send requests and answer those of the other side, any
// number at once. Servers accept connections, rpc_connect() opens one.
//
// Threads: everything runs on the thread of the loop and may be called from there only.
// Callbacks come from the loop, never from inside a call of this header. They may call anything
// here. Ownership: a connection is valid until its on_close has returned. Requests and replies that
// are passed to callbacks are BORROWED: they die when the callback returns. Those that are passed
// in are packed at once and never kept. Memory is bounded per connection: by the largest frame, by
// the bytes queued for writing, by the bytes that a message may unpack to, and by the number of
// unanswered requests.
#ifndef PAWL_CONTROLPLANE_RPC_RPC_H
#define PAWL_CONTROLPLANE_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/util.h"
#include "control.pb-c.h"

struct rpc_server;
struct rpc_conn;

// Zero means the default everywhere but in port.
struct rpc_options {
    size_t size;                    // sizeof(struct rpc_options)
    const char *host;               // name or address; NULL: 127.0.0.1. COPIED
    uint16_t port;                  // servers: 0 takes a free one
    uint32_t connect_ms;            // deadline of rpc_connect(), 5000
    uint32_t first_frame_ms;        // servers close a peer that sends no valid frame so long, 10000
    uint32_t user_timeout_ms;       // TCP_USER_TIMEOUT: unacknowledged bytes so long end it, 10000
    uint32_t keepalive_s;           // idle seconds before TCP keepalive probes, 10
    uint32_t frame_bytes_max;       // largest frame, 16 MiB
    uint32_t unpack_bytes_max;      // what one message may unpack to, 64 MiB
    uint32_t queue_bytes_max;       // waiting to be written, 64 MiB
    uint32_t requests_count_max;    // unanswered in one direction, 16384
    uint32_t connections_count_max; // of a server, 4096
};

// `user` is the pointer given to rpc_server_open() or rpc_connect(). A NULL handler does nothing;
// without on_request every request is answered PAWL_EPROTOCOL.
struct rpc_handlers {
    // Accepted or connected: calls may be made from now on.
    void (*on_open)(void *user, struct rpc_conn *conn);
    // Answer it with rpc_reply() or rpc_server_reply(), now or later, once.
    void (*on_request)(void *user, struct rpc_conn *conn, uint64_t request_id,
                       const Pawl__Request *request);
    // Exactly once per connection, the last callback of it: also when rpc_connect() fails later on
    // (then on_open never came) and after rpc_conn_close() (`why` is the code given there).
    // All pending calls have been ended before. The connection is freed when this returns.
    void (*on_close)(void *user, struct rpc_conn *conn, int why);
};

// Listens. Handlers are COPIED. Fails with a negative errno, logged.
PAWL_MUST_CHECK int rpc_server_open(uv_loop_t *loop, const struct rpc_options *options,
                                    const struct rpc_handlers *handlers, void *user,
                                    struct rpc_server **ret_server);
// The port that it listens on, and "host:port" (valid until the server is closed).
uint16_t rpc_server_port(const struct rpc_server *server);
const char *rpc_server_address(const struct rpc_server *server);
size_t rpc_server_connections_count(const struct rpc_server *server);
// The connection of this id, or NULL when it is gone or closing.
struct rpc_conn *rpc_server_find(struct rpc_server *server, uint64_t conn_id);
// rpc_reply() by connection id; no effect when the connection is gone.
void rpc_server_reply(struct rpc_server *server, uint64_t conn_id, uint64_t request_id,
                      const Pawl__Reply *reply);
// Stops listening and closes all connections (their on_close comes, with PAWL_ESHUTDOWN), after the
// replies that are queued were written or a second has passed. Then on_closed(user) is called
// (may be NULL) and the server is freed. NULL is ignored.
void rpc_server_close(struct rpc_server *server, void (*on_closed)(void *user), void *user);

// Starts to connect. On success on_open, or else on_close, follows. Handlers are COPIED.
PAWL_MUST_CHECK int rpc_connect(uv_loop_t *loop, const struct rpc_options *options,
                                const struct rpc_handlers *handlers, void *user,
                                struct rpc_conn **ret_conn);
// Ends the connection: queued frames are dropped, on_close(why) follows from the loop. Idempotent.
void rpc_conn_close(struct rpc_conn *conn, int why);
// The same after the frames queued so far were written, or a second has passed. No further
// callbacks but those of pending calls and on_close.
void rpc_conn_close_flushed(struct rpc_conn *conn, int why);

// Unique in the process, never 0, never used again.
uint64_t rpc_conn_id(const struct rpc_conn *conn);
// Address of the peer as text, for logs. Valid as long as the connection.
const char *rpc_conn_peer(const struct rpc_conn *conn);
// True between on_open and the start of closing.
bool rpc_conn_is_open(const struct rpc_conn *conn);
// A pointer of the caller's, NULL at first. BORROWED.
void rpc_conn_set_data(struct rpc_conn *conn, void *data);
void *rpc_conn_data(const struct rpc_conn *conn);

// `code` is 0 and `reply` is there (the reply's own code may tell of an error of the peer), or it
// is PAWL_EDEADLINE or PAWL_EDISCONNECTED (the peer may or may not have done it) and `reply` is
// NULL.
typedef void rpc_call_fn(void *user, int code, const Pawl__Reply *reply);

// Sends a request. 0: callback(user, ...) follows exactly once. Otherwise it never comes:
// PAWL_EDISCONNECTED (not open), -EAGAIN (queue or number of calls at its bound), PAWL_ETOOLARGE
// (frame), -ENOMEM. deadline_ms 0: 30 seconds.
PAWL_MUST_CHECK int rpc_call(struct rpc_conn *conn, const Pawl__Request *request,
                             uint32_t deadline_ms, rpc_call_fn *callback, void *user);

// Answers a request. When it can't be queued (bound reached, memory) the connection is closed,
// logged. No effect on a connection that is closing.
void rpc_reply(struct rpc_conn *conn, uint64_t request_id, const Pawl__Reply *reply);
// Answers with a code and a text (NULL: none) and no body.
void rpc_reply_code(struct rpc_conn *conn, uint64_t request_id, int code, const char *text);

// The same with messages that were packed before. Bytes are COPIED.
struct rpc_packed {
    const void *bytes;
    size_t count;
};
PAWL_MUST_CHECK int rpc_call_packed(struct rpc_conn *conn, const struct rpc_packed *request,
                                    uint32_t deadline_ms, rpc_call_fn *callback, void *user);
void rpc_reply_packed(struct rpc_conn *conn, uint64_t request_id, const void *bytes, size_t count);

// "host:port" or "[v6]:port" into its parts; host_bytes is the room in ret_host. PAWL_EINVALID.
PAWL_MUST_CHECK int rpc_address_parse(const char *text, char *ret_host, size_t host_bytes,
                                      uint16_t *ret_port);

#endif
