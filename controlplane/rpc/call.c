// SPDX-License-Identifier: Apache-2.0
// Calls: requests of this side that wait for their replies.
#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "rpc"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/rpc/rpc_private.h"

#define CALL_MS 30000u

static struct rpc_call *call_of(struct pawl_list *link)
{
    return pawl_container_of(link, struct rpc_call, link);
}

// Takes a call out of the connection; it is the caller's to end.
static void call_unlink(struct rpc_conn *conn, struct rpc_call *call)
{
    pawl_assert(conn->calls_count > 0);
    (void)pawl_map_remove(&conn->calls, call->id);
    pawl_list_remove(&call->link);
    conn->calls_count--;
}

static void call_end(struct rpc_call *call, int code, const Pawl__Reply *reply)
{
    call->callback(call->user, code, reply);
    free(call);
}

// The calls were unlinked before, so that callbacks may do to the connection what they like.
static void calls_end(struct pawl_list *calls, int code)
{
    struct pawl_list *link;
    while ((link = pawl_list_pop_front(calls)) != NULL) {
        call_end(call_of(link), code, NULL);
    }
}

// Everything but the payload, which the caller fills in.
static int call_start(struct rpc_conn *conn, size_t payload_bytes, const struct rpc_call *wanted,
                      uint8_t **ret_payload)
{
    if (conn->state != RPC_CONN_OPEN) {
        return PAWL_EDISCONNECTED;
    }
    if (conn->calls_count >= conn->options.requests_count_max) {
        return -EAGAIN;
    }
    struct rpc_call *call = malloc(sizeof(*call));
    if (call == NULL) {
        return -ENOMEM;
    }
    *call = *wanted;
    call->id = conn->next_request_id;
    call->due_ms = conn_now_ms(conn) + (wanted->due_ms != 0 ? wanted->due_ms : CALL_MS);
    int rc = pawl_map_put(&conn->calls, call->id, call);
    if (rc != 0) {
        free(call);
        return rc;
    }
    rc = conn_frame(conn, RPC_FRAME_REQUEST, call->id, payload_bytes, ret_payload);
    if (rc != 0) {
        (void)pawl_map_remove(&conn->calls, call->id);
        free(call);
        return rc;
    }
    conn->next_request_id++;
    conn->calls_count++;
    pawl_list_push_back(&conn->calls_list, &call->link);
    conn_arm_timer(conn, call->due_ms);
    return 0;
}

int rpc_call(struct rpc_conn *conn, const Pawl__Request *request, uint32_t deadline_ms,
             rpc_call_fn *callback, void *user)
{
    const struct rpc_call wanted = {.due_ms = deadline_ms, .callback = callback, .user = user};
    uint8_t *payload;
    size_t bytes = pawl__request__get_packed_size(request);
    int rc = call_start(conn, bytes, &wanted, &payload);
    if (rc == 0) {
        size_t packed = pawl__request__pack(request, payload);
        pawl_assert(packed == bytes);
    }
    return rc;
}

int rpc_call_packed(struct rpc_conn *conn, const struct rpc_packed *request, uint32_t deadline_ms,
                    rpc_call_fn *callback, void *user)
{
    const struct rpc_call wanted = {.due_ms = deadline_ms, .callback = callback, .user = user};
    uint8_t *payload;
    int rc = call_start(conn, request->count, &wanted, &payload);
    if (rc == 0 && request->count != 0) {
        memcpy(payload, request->bytes, request->count);
    }
    return rc;
}

void conn_take_reply(struct rpc_conn *conn, uint64_t request_id, const Pawl__Reply *reply)
{
    struct rpc_call *call = pawl_map_get(&conn->calls, request_id);
    if (call == NULL) {
        pawl_log_debug("connection %" PRIu64 " with %s: reply to request %" PRIu64
                       " came after its deadline",
                       conn->id, conn->peer, request_id);
        return;
    }
    call_unlink(conn, call);
    call_end(call, 0, reply);
}

void conn_expire_calls(struct rpc_conn *conn, uint64_t now_ms)
{
    struct pawl_list expired;
    pawl_list_init(&expired);
    pawl_list_for_each_safe (link, &conn->calls_list) {
        struct rpc_call *call = call_of(link);
        if (call->due_ms <= now_ms) {
            call_unlink(conn, call);
            pawl_list_push_back(&expired, &call->link);
        }
    }
    calls_end(&expired, PAWL_EDEADLINE);
}

void conn_end_calls(struct rpc_conn *conn, int code)
{
    struct pawl_list ended;
    struct pawl_list *link;
    pawl_list_init(&ended);
    while ((link = pawl_list_first(&conn->calls_list)) != NULL) {
        call_unlink(conn, call_of(link));
        pawl_list_push_back(&ended, link);
    }
    calls_end(&ended, code);
}

uint64_t conn_calls_due_ms(const struct rpc_conn *conn)
{
    uint64_t due_ms = 0;
    pawl_list_for_each (link, &conn->calls_list) {
        uint64_t call_ms = call_of(link)->due_ms;
        due_ms = due_ms == 0 ? call_ms : PAWL_MIN(due_ms, call_ms);
    }
    return due_ms;
}
