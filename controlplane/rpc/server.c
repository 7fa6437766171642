// SPDX-License-Identifier: Apache-2.0
// A server: listens, accepts, and knows its connections by id.
#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdlib.h>

#define PAWL_LOG_SUBSYSTEM "rpc"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/rpc/rpc_private.h"

#define LISTEN_BACKLOG 511

static void server_free(struct rpc_server *server)
{
    pawl_assert(server->conns_count == 0);
    pawl_map_fini(&server->conns);
    rpc_arena_fini(&server->arena);
    free(server);
}

static void server_end_if_empty(struct rpc_server *server)
{
    if (!server->closing || !server->listener_closed || server->conns_count != 0) {
        return;
    }
    if (server->on_closed != NULL) {
        server->on_closed(server->closed_user);
    }
    server_free(server);
}

void server_forget(struct rpc_server *server, struct rpc_conn *conn)
{
    pawl_assert(server->conns_count > 0);
    (void)pawl_map_remove(&server->conns, conn->id);
    server->conns_count--;
    server_end_if_empty(server);
}

// Takes one connection off the queue of the listener. Without memory or descriptors it stays there.
static void server_accept(struct rpc_server *server)
{
    struct rpc_conn *conn;
    int rc = conn_new(server->loop, &server->options, &server->handlers, server->user, &conn);
    if (rc == 0) {
        rc = pawl_map_put(&server->conns, conn->id, conn);
        if (rc == 0) {
            conn->server = server;
            conn->arena = &server->arena;
            server->conns_count++;
            rc = uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&conn->tcp);
        }
        if (rc == 0) {
            rc = conn_open(conn);
        }
        if (rc == 0 && server->conns_count > server->options.connections_count_max) {
            rc = PAWL_ELIMIT;
        }
        if (rc != 0) {
            rpc_conn_close(conn, rc);
        }
    }
    if (rc != 0) {
        static struct pawl_log_limit limit;
        pawl_log_limited(&limit, PAWL_LOG_WARN, "%s: connection not accepted: %s, %zu are open",
                         server->address, pawl_strerror(rc), server->conns_count);
        return;
    }
    pawl_log_debug("connection %" PRIu64 " from %s accepted", conn->id, conn->peer);
    conn->announced = true;
    if (server->handlers.on_open != NULL) {
        server->handlers.on_open(server->user, conn);
    }
}

static void server_on_connection(uv_stream_t *listener, int status)
{
    struct rpc_server *server = listener->data;
    if (server->closing) {
        return;
    }
    if (status < 0) {
        pawl_log_warn("%s: connection not accepted: %s", server->address, uv_strerror(status));
        return;
    }
    server_accept(server);
}

static int server_listen(struct rpc_server *server, const char *host, uint16_t port)
{
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    uv_getaddrinfo_t request;
    snprintf(service, sizeof(service), "%u", port);
    // Without a callback it looks the name up at once.
    int rc = uv_getaddrinfo(server->loop, &request, NULL, host, service, &hints);
    if (rc != 0) {
        return rc;
    }
    rc = uv_tcp_bind(&server->listener, request.addrinfo->ai_addr, 0);
    uv_freeaddrinfo(request.addrinfo);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&server->listener, LISTEN_BACKLOG, server_on_connection);
    }
    if (rc != 0) {
        return rc;
    }

    struct sockaddr_storage bound;
    int length = sizeof(bound);
    rc = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&bound, &length);
    if (rc != 0) {
        return rc;
    }
    server->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                     : ((struct sockaddr_in *)&bound)->sin_port);
    rpc_address_format((struct sockaddr *)&bound, server->address, sizeof(server->address));
    return 0;
}

static void server_on_listener_closed(uv_handle_t *handle)
{
    struct rpc_server *server = handle->data;
    server->listener_closed = true;
    server_end_if_empty(server);
}

int rpc_server_open(uv_loop_t *loop, const struct rpc_options *options,
                    const struct rpc_handlers *handlers, void *user, struct rpc_server **ret_server)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return -ENOMEM;
    }
    server->loop = loop;
    server->handlers = *handlers;
    server->user = user;
    rpc_options_fill(&server->options, options);
    pawl_map_init(&server->conns, pawl_alloc_heap());
    rpc_arena_init(&server->arena, server->options.unpack_bytes_max);
    int rc = uv_tcp_init(loop, &server->listener);
    if (rc != 0) {
        server_free(server);
        return rc;
    }
    server->listener.data = server;
    const char *host = server->options.host != NULL ? server->options.host : "127.0.0.1";
    rc = server_listen(server, host, server->options.port);
    server->options.host = NULL; // was borrowed
    if (rc != 0) {
        pawl_log_error("%s:%u: can't listen: %s", host, server->options.port, uv_strerror(rc));
        rpc_server_close(server, NULL, NULL);
        return rc;
    }
    *ret_server = server;
    return 0;
}

uint16_t rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

const char *rpc_server_address(const struct rpc_server *server)
{
    return server->address;
}

size_t rpc_server_connections_count(const struct rpc_server *server)
{
    return server->conns_count;
}

struct rpc_conn *rpc_server_find(struct rpc_server *server, uint64_t conn_id)
{
    struct rpc_conn *conn = pawl_map_get(&server->conns, conn_id);
    return conn != NULL && conn->state == RPC_CONN_OPEN ? conn : NULL;
}

void rpc_server_reply(struct rpc_server *server, uint64_t conn_id, uint64_t request_id,
                      const Pawl__Reply *reply)
{
    struct rpc_conn *conn = rpc_server_find(server, conn_id);
    if (conn != NULL) {
        rpc_reply(conn, request_id, reply);
    }
}

void rpc_server_close(struct rpc_server *server, void (*on_closed)(void *user), void *user)
{
    if (server == NULL || server->closing) {
        return;
    }
    server->closing = true;
    server->on_closed = on_closed;
    server->closed_user = user;
    size_t cursor = 0;
    uint64_t id;
    void *value;
    while (pawl_map_iterate(&server->conns, &cursor, &id, &value)) {
        rpc_conn_close_flushed(value, PAWL_ESHUTDOWN);
    }
    uv_close((uv_handle_t *)&server->listener, server_on_listener_closed);
}
