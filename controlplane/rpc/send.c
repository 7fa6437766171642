// SPDX-License-Identifier: Apache-2.0
// What leaves a connection: frames gather during a turn of the loop and go out in one write.
//
// The idle handle runs once per turn, before the loop sleeps, and keeps it from sleeping: so frames
// that any callback of a turn has queued, whatever kind of callback it was, leave in the next.
#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "rpc"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/rpc/rpc_private.h"

#define OUTPUT_BYTES_MIN 4096u
#define OUTPUT_BYTES_KEPT (256u << 10)

size_t conn_queued_bytes(const struct rpc_conn *conn)
{
    return conn->outputs[0].bytes + conn->outputs[1].bytes;
}

static int output_reserve(struct rpc_output *output, size_t bytes)
{
    if (bytes <= output->capacity - output->bytes) {
        return 0;
    }
    size_t capacity = PAWL_MAX(output->capacity * 2, (size_t)OUTPUT_BYTES_MIN);
    while (capacity - output->bytes < bytes) {
        capacity *= 2;
    }
    uint8_t *data = realloc(output->data, capacity);
    if (data == NULL) {
        return -ENOMEM;
    }
    output->data = data;
    output->capacity = capacity;
    return 0;
}

int conn_frame(struct rpc_conn *conn, enum rpc_frame_kind kind, uint64_t request_id,
               size_t payload_bytes, uint8_t **ret_payload)
{
    pawl_assert(conn->state == RPC_CONN_OPEN);
    struct rpc_output *output = &conn->outputs[conn->gathering];
    if (payload_bytes > conn->options.frame_bytes_max - RPC_FRAME_HEADER_BYTES) {
        return PAWL_ETOOLARGE;
    }
    size_t frame_bytes = RPC_FRAME_HEADER_BYTES + payload_bytes;
    size_t queued_bytes = conn_queued_bytes(conn);
    // An empty queue takes any frame, so that the bound can't forbid one for ever.
    if (queued_bytes != 0 && queued_bytes + frame_bytes > conn->options.queue_bytes_max) {
        return -EAGAIN;
    }
    int rc = output_reserve(output, frame_bytes);
    if (rc != 0) {
        return rc;
    }
    const struct rpc_frame frame = {
        .kind = kind,
        .payload_bytes = (uint32_t)payload_bytes,
        .request_id = request_id,
    };
    rpc_frame_encode(&frame, output->data + output->bytes);
    *ret_payload = output->data + output->bytes + RPC_FRAME_HEADER_BYTES;
    output->bytes += frame_bytes;
    if (!conn->writing && !uv_is_active((uv_handle_t *)&conn->idle)) {
        rc = uv_idle_start(&conn->idle, conn_flush_idle);
        pawl_assert(rc == 0);
    }
    return 0;
}

static int conn_send(struct rpc_conn *conn, enum rpc_frame_kind kind, uint64_t request_id,
                     const ProtobufCMessage *message)
{
    uint8_t *payload;
    size_t payload_bytes = protobuf_c_message_get_packed_size(message);
    int rc = conn_frame(conn, kind, request_id, payload_bytes, &payload);
    if (rc == 0) {
        size_t packed = protobuf_c_message_pack(message, payload);
        pawl_assert(packed == payload_bytes);
    }
    return rc;
}

static void output_empty(struct rpc_output *output)
{
    output->bytes = 0;
    if (output->capacity > OUTPUT_BYTES_KEPT) {
        free(output->data);
        *output = (struct rpc_output){0};
    }
}

static void conn_write(struct rpc_conn *conn);

static void conn_on_written(uv_write_t *request, int status)
{
    struct rpc_conn *conn = request->data;
    conn->writing = false;
    output_empty(&conn->outputs[!conn->gathering]);
    if (conn->state == RPC_CONN_CLOSING) {
        return;
    }
    if (status < 0) {
        pawl_log_info("connection %" PRIu64 " with %s lost: %s", conn->id, conn->peer,
                      uv_strerror(status));
        rpc_conn_close(conn, PAWL_EDISCONNECTED);
        return;
    }
    conn_write(conn);
}

static void conn_write(struct rpc_conn *conn)
{
    struct rpc_output *output = &conn->outputs[conn->gathering];
    pawl_assert(!conn->writing);
    if (output->bytes == 0) {
        if (conn->state == RPC_CONN_FLUSHING) {
            conn_shut_when_written(conn);
        }
        return;
    }
    uv_buf_t buffer = uv_buf_init((char *)output->data, (unsigned)output->bytes);
    conn->gathering = !conn->gathering;
    conn->writing = true;
    conn->write_request.data = conn;
    int rc = uv_write(&conn->write_request, (uv_stream_t *)&conn->tcp, &buffer, 1, conn_on_written);
    if (rc != 0) {
        conn->writing = false;
        pawl_log_info("connection %" PRIu64 " with %s lost: %s", conn->id, conn->peer,
                      uv_strerror(rc));
        rpc_conn_close(conn, PAWL_EDISCONNECTED);
    }
}

void conn_flush_idle(uv_idle_t *idle)
{
    struct rpc_conn *conn = idle->data;
    int rc = uv_idle_stop(idle);
    pawl_assert(rc == 0);
    if (!conn->writing && conn->state != RPC_CONN_CLOSING) {
        conn_write(conn);
    }
}

static void conn_on_shut(uv_shutdown_t *request, int status)
{
    (void)request;
    (void)status; // the peer's end, or the deadline, closes it
}

void conn_shut_when_written(struct rpc_conn *conn)
{
    pawl_assert(conn->state == RPC_CONN_FLUSHING);
    if (conn->shut || conn->writing || conn_queued_bytes(conn) != 0) {
        return;
    }
    conn->shut = true;
    if (uv_shutdown(&conn->shutdown_request, (uv_stream_t *)&conn->tcp, conn_on_shut) != 0) {
        rpc_conn_close(conn, conn->why);
    }
}

static const Pawl__Reply reply_none = PAWL__REPLY__INIT;

// What becomes of a reply that could not be queued.
static void reply_failed(struct rpc_conn *conn, uint64_t request_id, int rc)
{
    if (rc == PAWL_ETOOLARGE) {
        Pawl__Reply error = reply_none;
        error.code = PAWL_ETOOLARGE;
        error.text = (char *)"the answer is larger than a frame: ask for less at once";
        rc = conn_send(conn, RPC_FRAME_REPLY, request_id, &error.base);
    }
    if (rc == 0) {
        return;
    }
    pawl_log_warn("connection %" PRIu64
                  " with %s closed: it does not take its replies, %zu bytes wait",
                  conn->id, conn->peer, conn_queued_bytes(conn));
    rpc_conn_close(conn, rc == -EAGAIN ? PAWL_ELIMIT : rc);
}

void rpc_reply(struct rpc_conn *conn, uint64_t request_id, const Pawl__Reply *reply)
{
    if (conn->state != RPC_CONN_OPEN) {
        return;
    }
    pawl_assert(conn->requests_count > 0);
    conn->requests_count--;
    int rc = conn_send(conn, RPC_FRAME_REPLY, request_id, &reply->base);
    if (rc != 0) {
        reply_failed(conn, request_id, rc);
    }
}

void rpc_reply_packed(struct rpc_conn *conn, uint64_t request_id, const void *bytes, size_t count)
{
    uint8_t *payload;
    if (conn->state != RPC_CONN_OPEN) {
        return;
    }
    pawl_assert(conn->requests_count > 0);
    conn->requests_count--;
    int rc = conn_frame(conn, RPC_FRAME_REPLY, request_id, count, &payload);
    if (rc != 0) {
        reply_failed(conn, request_id, rc);
    } else if (count != 0) {
        memcpy(payload, bytes, count);
    }
}

void rpc_reply_code(struct rpc_conn *conn, uint64_t request_id, int code, const char *text)
{
    Pawl__Reply reply = reply_none;
    reply.code = code;
    if (text != NULL) {
        reply.text = (char *)text;
    }
    rpc_reply(conn, request_id, &reply);
}
