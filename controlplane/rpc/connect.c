// SPDX-License-Identifier: Apache-2.0
// The connecting side: from a name to an open connection.
#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdio.h>
#include <stdlib.h>

#define PAWL_LOG_SUBSYSTEM "rpc"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/rpc/rpc_private.h"

static void conn_fail(struct rpc_conn *conn, int code)
{
    pawl_log_info("connection %" PRIu64 " to %s failed: %s", conn->id, conn->peer,
                  uv_strerror(code));
    rpc_conn_close(conn, code);
}

static void conn_on_connected(uv_connect_t *request, int status)
{
    struct rpc_conn *conn = request->data;
    if (conn->state != RPC_CONN_CONNECTING) { // closed meanwhile
        return;
    }
    if (status == 0) {
        status = conn_open(conn);
    }
    if (status != 0) {
        conn_fail(conn, status);
        return;
    }
    pawl_log_debug("connection %" PRIu64 " to %s open", conn->id, conn->peer);
    if (conn->handlers.on_open != NULL) {
        conn->handlers.on_open(conn->user, conn);
    }
}

static void conn_dial(struct rpc_conn *conn, const struct sockaddr *address)
{
    conn->connect_request.data = conn;
    int rc = uv_tcp_connect(&conn->connect_request, &conn->tcp, address, conn_on_connected);
    if (rc != 0) {
        conn_fail(conn, rc);
    }
}

static void conn_on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct rpc_resolve *resolve = request->data;
    struct rpc_conn *conn = resolve->conn;
    if (conn != NULL) {
        conn->resolve = NULL;
        const struct addrinfo *chosen = list;
        for (const struct addrinfo *info = list; info != NULL; info = info->ai_next) {
            if (info->ai_family ==
                AF_INET) { // "localhost" is often both, and servers take v4 first
                chosen = info;
                break;
            }
        }
        if (status == 0 && chosen != NULL) {
            conn_dial(conn, chosen->ai_addr);
        } else {
            conn_fail(conn, status != 0 ? status : -EHOSTUNREACH);
        }
    }
    uv_freeaddrinfo(list);
    free(resolve);
}

static int conn_resolve(struct rpc_conn *conn, const char *host, uint16_t port)
{
    char service[8];
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct rpc_resolve *resolve = calloc(1, sizeof(*resolve));
    if (resolve == NULL) {
        return -ENOMEM;
    }
    resolve->conn = conn;
    resolve->request.data = resolve;
    snprintf(service, sizeof(service), "%u", port);
    int rc =
        uv_getaddrinfo(conn->tcp.loop, &resolve->request, conn_on_resolved, host, service, &hints);
    if (rc != 0) {
        free(resolve);
        return rc;
    }
    conn->resolve = resolve;
    return 0;
}

int rpc_connect(uv_loop_t *loop, const struct rpc_options *options,
                const struct rpc_handlers *handlers, void *user, struct rpc_conn **ret_conn)
{
    struct rpc_options filled;
    struct rpc_conn *conn;
    rpc_options_fill(&filled, options);
    int rc = conn_new(loop, &filled, handlers, user, &conn);
    if (rc != 0) {
        return rc;
    }
    const char *host = filled.host != NULL ? filled.host : "127.0.0.1";
    snprintf(conn->peer, sizeof(conn->peer), "%s:%u", host, filled.port);
    conn->announced = true;
    conn->state_due_ms = conn_now_ms(conn) + filled.connect_ms;
    conn_arm_timer(conn, conn->state_due_ms);

    struct sockaddr_storage address;
    if (uv_ip4_addr(host, filled.port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(host, filled.port, (struct sockaddr_in6 *)&address) == 0) {
        conn_dial(conn, (struct sockaddr *)&address);
    } else if ((rc = conn_resolve(conn, host, filled.port)) != 0) {
        conn_fail(conn, rc);
    }
    *ret_conn = conn;
    return 0;
}
