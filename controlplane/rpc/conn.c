// SPDX-License-Identifier: Apache-2.0
// A connection: its life, its deadlines, and what arrives on it.
#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <netinet/tcp.h>

#define PAWL_LOG_SUBSYSTEM "rpc"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/rpc/rpc_private.h"

#define FLUSH_MS 1000u // a closing connection gets so long to write what is queued

static _Atomic uint64_t conn_last_id;

// Peers can cause these lines: at most so many, lest they fill the disk.
static struct pawl_log_limit closed_limit = {.burst = 100, .interval_ms = 10000};

static uint32_t value_or(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

void rpc_options_fill(struct rpc_options *ret_filled, const struct rpc_options *options)
{
    struct rpc_options given = {.size = sizeof(given)};
    if (options != NULL) {
        pawl_assert(options->size == sizeof(given));
        given = *options;
    }
    *ret_filled = (struct rpc_options){
        .size = sizeof(given),
        .host = given.host,
        .port = given.port,
        .connect_ms = value_or(given.connect_ms, 5000),
        .first_frame_ms = value_or(given.first_frame_ms, 10000),
        .user_timeout_ms = value_or(given.user_timeout_ms, 10000),
        .keepalive_s = value_or(given.keepalive_s, 10),
        .frame_bytes_max = value_or(given.frame_bytes_max, 16u << 20),
        .unpack_bytes_max = value_or(given.unpack_bytes_max, 64u << 20),
        .queue_bytes_max = value_or(given.queue_bytes_max, 64u << 20),
        .requests_count_max = value_or(given.requests_count_max, 16384),
        .connections_count_max = value_or(given.connections_count_max, 4096),
    };
}

uint64_t conn_now_ms(struct rpc_conn *conn)
{
    uv_loop_t *loop = conn->tcp.loop;
    uv_update_time(loop);
    return uv_now(loop);
}

// ---- deadlines -------------------------------------------------------------------------------

static void conn_on_timer(uv_timer_t *timer)
{
    struct rpc_conn *conn = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    conn->timer_due_ms = 0;
    if (conn->state_due_ms != 0 && now_ms >= conn->state_due_ms) {
        conn->state_due_ms = 0;
        if (conn->state == RPC_CONN_CONNECTING) {
            pawl_log_info("connection %" PRIu64 " to %s: no answer in %" PRIu32 " ms", conn->id,
                          conn->peer, conn->options.connect_ms);
            rpc_conn_close(conn, PAWL_EDEADLINE);
        } else if (conn->state == RPC_CONN_OPEN) {
            pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                             "connection %" PRIu64 " from %s closed: no valid frame in %" PRIu32
                             " ms",
                             conn->id, conn->peer, conn->options.first_frame_ms);
            rpc_conn_close(conn, PAWL_EDEADLINE);
        } else {
            rpc_conn_close(conn, conn->why);
        }
        return;
    }
    conn_expire_calls(conn, now_ms);
    conn_arm_timer(conn, conn->state_due_ms);
    conn_arm_timer(conn, conn_calls_due_ms(conn));
}

void conn_arm_timer(struct rpc_conn *conn, uint64_t due_ms)
{
    if (conn->state == RPC_CONN_CLOSING || due_ms == 0 ||
        (conn->timer_due_ms != 0 && conn->timer_due_ms <= due_ms)) {
        return;
    }
    uint64_t now_ms = conn_now_ms(conn);
    conn->timer_due_ms = due_ms;
    int rc = uv_timer_start(&conn->timer, conn_on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    pawl_assert(rc == 0);
}

// ---- life ------------------------------------------------------------------------------------

int conn_new(uv_loop_t *loop, const struct rpc_options *filled, const struct rpc_handlers *handlers,
             void *user, struct rpc_conn **ret_conn)
{
    struct rpc_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return -ENOMEM;
    }
    int rc = uv_tcp_init(loop, &conn->tcp);
    if (rc != 0) {
        free(conn);
        return rc;
    }
    rc = uv_timer_init(loop, &conn->timer);
    pawl_assert(rc == 0);
    rc = uv_idle_init(loop, &conn->idle);
    pawl_assert(rc == 0);
    conn->handles_count = 3;
    conn->tcp.data = conn->timer.data = conn->idle.data = conn;
    conn->state = RPC_CONN_CONNECTING;
    conn->id = atomic_fetch_add(&conn_last_id, 1) + 1;
    conn->options = *filled;
    conn->options.host = NULL; // borrowed by others
    conn->handlers = *handlers;
    conn->user = user;
    conn->next_request_id = 1;
    pawl_list_init(&conn->calls_list);
    pawl_map_init(&conn->calls, pawl_alloc_heap());
    rpc_input_init(&conn->input, filled->frame_bytes_max);
    *ret_conn = conn;
    return 0;
}

static void conn_free(struct rpc_conn *conn)
{
    pawl_assert(conn->calls_count == 0);
    pawl_map_fini(&conn->calls);
    rpc_input_fini(&conn->input);
    if (conn->arena == &conn->own_arena) {
        rpc_arena_fini(&conn->own_arena);
    }
    free(conn->outputs[0].data);
    free(conn->outputs[1].data);
    free(conn);
}

static void conn_on_handle_closed(uv_handle_t *handle)
{
    struct rpc_conn *conn = handle->data;
    pawl_assert(conn->state == RPC_CONN_CLOSING && conn->handles_count > 0);
    if (--conn->handles_count > 0) {
        return;
    }
    conn_end_calls(conn, PAWL_EDISCONNECTED);
    if (conn->announced && conn->handlers.on_close != NULL) {
        conn->handlers.on_close(conn->user, conn, conn->why);
    }
    if (conn->server != NULL) {
        server_forget(conn->server, conn);
    }
    conn_free(conn);
}

void rpc_conn_close(struct rpc_conn *conn, int why)
{
    if (conn->state == RPC_CONN_CLOSING) {
        return;
    }
    conn->state = RPC_CONN_CLOSING;
    conn->why = why;
    if (conn->resolve != NULL) {
        conn->resolve->conn = NULL;
        (void)uv_cancel((uv_req_t *)&conn->resolve->request); // too late is fine: it frees itself
        conn->resolve = NULL;
    }
    uv_close((uv_handle_t *)&conn->tcp, conn_on_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, conn_on_handle_closed);
    uv_close((uv_handle_t *)&conn->idle, conn_on_handle_closed);
}

void rpc_conn_close_flushed(struct rpc_conn *conn, int why)
{
    if (conn->state == RPC_CONN_CONNECTING) {
        rpc_conn_close(conn, why);
    }
    if (conn->state != RPC_CONN_OPEN) {
        return;
    }
    conn->state = RPC_CONN_FLUSHING;
    conn->why = why;
    conn->state_due_ms = conn_now_ms(conn) + FLUSH_MS;
    conn_arm_timer(conn, conn->state_due_ms);
    conn_shut_when_written(conn);
}

// ---- what arrives ----------------------------------------------------------------------------

// Answers with an error and hangs up: the peer's next frame would be no better.
static void conn_refuse(struct rpc_conn *conn, uint64_t request_id, const char *text)
{
    pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                     "connection %" PRIu64 " with %s closed: request %" PRIu64 ": %s", conn->id,
                     conn->peer, request_id, text);
    rpc_reply_code(conn, request_id, PAWL_EPROTOCOL, text);
    rpc_conn_close_flushed(conn, PAWL_EPROTOCOL);
}

static void conn_take_request(struct rpc_conn *conn, const struct rpc_frame *frame,
                              const uint8_t *payload)
{
    if (conn->requests_count >= conn->options.requests_count_max) {
        pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                         "connection %" PRIu64 " with %s closed: more than %" PRIu32
                         " requests at once",
                         conn->id, conn->peer, conn->options.requests_count_max);
        rpc_conn_close(conn, PAWL_ELIMIT);
        return;
    }
    conn->requests_count++;
    Pawl__Request *request =
        pawl__request__unpack(&conn->arena->allocator, frame->payload_bytes, payload);
    if (request == NULL) {
        conn_refuse(conn, frame->request_id,
                    conn->arena->exhausted ? "it unpacks to more memory than is allowed"
                                           : "its bytes are no valid message");
    } else if (request->body_case == PAWL__REQUEST__BODY__NOT_SET) {
        conn_refuse(conn, frame->request_id, "unknown request: is the peer of a newer version?");
    } else if (conn->handlers.on_request == NULL) {
        conn_refuse(conn, frame->request_id, "this side takes no requests");
    } else {
        conn->handlers.on_request(conn->user, conn, frame->request_id, request);
    }
}

static void conn_take_frame(struct rpc_conn *conn, const struct rpc_frame *frame,
                            const uint8_t *payload)
{
    conn->heard = true;
    conn->state_due_ms = 0; // the first frame has come
    if (frame->kind == RPC_FRAME_REQUEST) {
        conn_take_request(conn, frame, payload);
    } else if (frame->request_id >= conn->next_request_id) {
        pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                         "connection %" PRIu64 " with %s closed: reply to request %" PRIu64
                         ", which was never sent",
                         conn->id, conn->peer, frame->request_id);
        rpc_conn_close(conn, PAWL_EPROTOCOL);
    } else {
        Pawl__Reply *reply =
            pawl__reply__unpack(&conn->arena->allocator, frame->payload_bytes, payload);
        if (reply != NULL) {
            conn_take_reply(conn, frame->request_id, reply);
        } else {
            pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                             "connection %" PRIu64 " with %s closed: reply to request %" PRIu64
                             " %s",
                             conn->id, conn->peer, frame->request_id,
                             conn->arena->exhausted ? "unpacks to more memory than is allowed"
                                                    : "is no valid message");
            rpc_conn_close(conn, PAWL_EPROTOCOL);
        }
    }
    rpc_arena_reset(conn->arena);
}

static void conn_take_input(struct rpc_conn *conn)
{
    struct rpc_frame frame;
    struct rpc_frame_error error;
    const uint8_t *payload;
    int rc = 0;
    while (conn->state == RPC_CONN_OPEN &&
           (rc = rpc_input_next(&conn->input, &frame, &payload, &error)) > 0) {
        conn_take_frame(conn, &frame, payload);
    }
    if (rc < 0) {
        pawl_log_limited(&closed_limit, PAWL_LOG_WARN, "connection %" PRIu64 " with %s closed: %s",
                         conn->id, conn->peer, error.text);
        rpc_conn_close(conn, rc);
    }
}

static void conn_on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buffer)
{
    struct rpc_conn *conn = handle->data;
    uint8_t *room;
    size_t bytes;
    (void)suggested;
    if (conn->state == RPC_CONN_FLUSHING) {
        conn->input.start = conn->input.end; // nobody wants it
    }
    *ret_buffer = uv_buf_init(NULL, 0); // libuv reports ENOBUFS to conn_on_read
    if (rpc_input_room(&conn->input, &room, &bytes) == 0) {
        *ret_buffer = uv_buf_init((char *)room, (unsigned)PAWL_MIN(bytes, (size_t)(1u << 30)));
    }
}

static void conn_on_read(uv_stream_t *stream, ssize_t bytes, const uv_buf_t *buffer)
{
    struct rpc_conn *conn = stream->data;
    (void)buffer;
    if (conn->state == RPC_CONN_CLOSING) {
        return;
    }
    if (bytes > 0) {
        rpc_input_filled(&conn->input, (size_t)bytes);
        if (conn->state == RPC_CONN_OPEN) {
            conn_take_input(conn);
        }
        return;
    }
    if (bytes == 0) { // EAGAIN
        return;
    }
    if (conn->state == RPC_CONN_FLUSHING) {
        rpc_conn_close(conn, conn->why);
        return;
    }
    size_t left = conn->input.end - conn->input.start;
    if (bytes != UV_EOF) {
        pawl_log_info("connection %" PRIu64 " with %s lost: %s", conn->id, conn->peer,
                      uv_strerror((int)bytes));
    } else if (left != 0) {
        pawl_log_limited(&closed_limit, PAWL_LOG_WARN,
                         "connection %" PRIu64
                         " with %s closed: it ended inside a frame, after %zu bytes",
                         conn->id, conn->peer, left);
    } else {
        pawl_log_debug("connection %" PRIu64 " closed by %s", conn->id, conn->peer);
    }
    rpc_conn_close(conn, PAWL_EDISCONNECTED);
}

int conn_open(struct rpc_conn *conn)
{
    pawl_assert(conn->state == RPC_CONN_CONNECTING);
    struct sockaddr_storage address;
    int length = sizeof(address);
    uv_os_fd_t fd;
    int rc = uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &length);
    if (rc != 0) {
        return rc;
    }
    rpc_address_format((struct sockaddr *)&address, conn->peer, sizeof(conn->peer));
    if (conn->arena == NULL) {
        rpc_arena_init(&conn->own_arena, conn->options.unpack_bytes_max);
        conn->arena = &conn->own_arena;
    }
    rc = uv_tcp_nodelay(&conn->tcp, 1);
    if (rc == 0) {
        rc = uv_tcp_keepalive(&conn->tcp, 1, conn->options.keepalive_s);
    }
    if (rc == 0) {
        rc = uv_fileno((uv_handle_t *)&conn->tcp, &fd);
    }
    if (rc == 0 && setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &conn->options.user_timeout_ms,
                              sizeof(conn->options.user_timeout_ms)) != 0) {
        rc = -errno;
    }
    if (rc == 0) {
        rc = uv_read_start((uv_stream_t *)&conn->tcp, conn_on_room, conn_on_read);
    }
    if (rc != 0) {
        return rc;
    }
    conn->state = RPC_CONN_OPEN;
    conn->state_due_ms = 0;
    if (conn->server != NULL) {
        conn->state_due_ms = conn_now_ms(conn) + conn->options.first_frame_ms;
        conn_arm_timer(conn, conn->state_due_ms);
    }
    return 0;
}

uint64_t rpc_conn_id(const struct rpc_conn *conn)
{
    return conn->id;
}

const char *rpc_conn_peer(const struct rpc_conn *conn)
{
    return conn->peer;
}

bool rpc_conn_is_open(const struct rpc_conn *conn)
{
    return conn->state == RPC_CONN_OPEN;
}

void rpc_conn_set_data(struct rpc_conn *conn, void *data)
{
    conn->data = data;
}

void *rpc_conn_data(const struct rpc_conn *conn)
{
    return conn->data;
}
