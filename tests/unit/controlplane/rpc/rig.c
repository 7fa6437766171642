// SPDX-License-Identifier: Apache-2.0
// Test rig for the RPC layer.
#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

static void on_open(void *user, struct rpc_conn *conn)
{
    struct rig_side *side = user;
    side->opened++;
    side->conn = conn;
    assert_true(rpc_conn_is_open(conn));
}

static void on_request(void *user, struct rpc_conn *conn, uint64_t request_id,
                       const Pawl__Request *request)
{
    struct rig_side *side = user;
    side->requests++;
    assert_int_equal(request->body_case, PAWL__REQUEST__BODY_MKDIR);
    if (side->hold) {
        assert_true(side->held_count < RIG_HELD_MAX);
        side->held[side->held_count++] = (struct rig_held){rpc_conn_id(conn), request_id};
        return;
    }
    char *text = calloc(1, side->reply_text_bytes + 1);
    memset(text, 'x', side->reply_text_bytes);
    rpc_reply_code(conn, request_id, (int)strlen(request->mkdir->path), text);
    free(text);
}

static void on_close(void *user, struct rpc_conn *conn, int why)
{
    struct rig_side *side = user;
    side->closed++;
    side->why = why;
    if (side->conn == conn) {
        side->conn = NULL;
    }
}

const struct rpc_handlers rig_handlers = {
    .on_open = on_open,
    .on_request = on_request,
    .on_close = on_close,
};

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    fprintf(stderr, "rig: the condition did not come true in time\n");
    abort();
}

void rig_watchdog_start(struct rig *rig)
{
    uv_timer_start(&rig->watchdog, on_watchdog, 20000, 0);
}

void rig_watchdog_stop(struct rig *rig)
{
    uv_timer_stop(&rig->watchdog);
}

void rig_start(struct rig *rig, const struct rpc_options *options)
{
    memset(rig, 0, sizeof(*rig));
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    assert_int_equal(uv_timer_init(&rig->loop, &rig->watchdog), 0);
    rig->server_side.rig = rig->client_side.rig = rig;
    assert_int_equal(
        rpc_server_open(&rig->loop, options, &rig_handlers, &rig->server_side, &rig->server), 0);
    assert_true(rpc_server_port(rig->server) != 0);
}

static void on_server_closed(void *user)
{
    struct rig *rig = user;
    rig->server_closed = true;
}

void rig_stop(struct rig *rig)
{
    if (rig->client_side.conn != NULL) {
        rpc_conn_close(rig->client_side.conn, 0);
    }
    rpc_server_close(rig->server, on_server_closed, rig);
    rig_run_until(rig, rig->server_closed);
    uv_close((uv_handle_t *)&rig->watchdog, NULL);
    uv_run(&rig->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    assert_int_equal(rig->server_side.opened, rig->server_side.closed);
}

struct rpc_conn *rig_connect(struct rig *rig, const struct rpc_options *options)
{
    struct rpc_options filled = {.size = sizeof(filled)};
    struct rpc_conn *conn;
    if (options != NULL) {
        filled = *options;
    }
    filled.port = rpc_server_port(rig->server);
    int opened = rig->client_side.opened;
    assert_int_equal(rpc_connect(&rig->loop, &filled, &rig_handlers, &rig->client_side, &conn), 0);
    assert_false(rpc_conn_is_open(conn));
    rig_run_until(rig, rig->client_side.opened > opened);
    return conn;
}

static void on_called(void *user, int code, const Pawl__Reply *reply)
{
    struct rig_calls *calls = user;
    calls->ended++;
    assert_true((code == 0) == (reply != NULL));
    calls->last_code = code != 0 ? code : reply->code;
    calls->last_bytes = code != 0 ? 0 : strlen(reply->text);
    calls->ok += code == 0;
    calls->deadline += code == PAWL_EDEADLINE;
    calls->disconnected += code == PAWL_EDISCONNECTED;
}

static int call_with(struct rpc_conn *conn, struct rig_calls *calls, const char *path,
                     uint32_t deadline_ms)
{
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    Pawl__Request request = PAWL__REQUEST__INIT;
    mkdir.path = (char *)path;
    request.body_case = PAWL__REQUEST__BODY_MKDIR;
    request.mkdir = &mkdir;
    int ended = calls->ended;
    int rc = rpc_call(conn, &request, deadline_ms, on_called, calls);
    assert_int_equal(calls->ended, ended); // never from inside the call
    return rc;
}

void rig_call(struct rpc_conn *conn, struct rig_calls *calls, uint32_t deadline_ms)
{
    assert_int_equal(call_with(conn, calls, "/a/path", deadline_ms), 0);
}

int rig_try_call(struct rpc_conn *conn, struct rig_calls *calls, const char *path)
{
    return call_with(conn, calls, path, 0);
}

int rig_raw_connect(struct rig *rig)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(rpc_server_port(rig->server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int opened = rig->server_side.opened;
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    rig_run_until(rig, rig->server_side.opened > opened);
    return fd;
}

void rig_raw_send(int fd, const void *bytes, size_t count)
{
    assert_int_equal(send(fd, bytes, count, MSG_NOSIGNAL), count);
}
