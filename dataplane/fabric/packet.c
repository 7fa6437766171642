// SPDX-License-Identifier: Apache-2.0
// Packets: messages to one peer gather and travel as one message of the provider.
//
//     packet    frame   message            frame   message
//     +-------+-------+---------+--------+-------+---------------+
//     | bytes | 0     | message | zeros  | bytes | ...           |
//     +-------+-------+---------+--------+-------+---------------+
//     4       4       bytes     to 8
//
// A provider pays for each of its messages: a system call at each end over tcp, a work request and two
// completions on a device. Messages that are sent in one turn of their owner share that. None waits for
// company: what is there when the turn is over leaves, so a lone message leaves as early as without.
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/fabric/fabric_private.h"

uint64_t fabric_frame_bytes(uint64_t message_bytes)
{
    return sizeof(struct fabric_frame) + pawl_align_up(message_bytes, FABRIC_FRAME_ALIGN);
}

// ---- sending ----------------------------------------------------------------------------------

static int packet_begin(struct fabric_conn *conn)
{
    struct fabric_op *op = NULL;
    if (conn->sends_count >= conn->fabric->sends_max) {
        return -EAGAIN;
    }
    int rc = fabric_op_new(conn, FABRIC_OP_SEND, &op);
    if (rc < 0) {
        return rc;
    }
    pawl_list_init(&op->link);
    op->memory = NULL;
    rc = fabric_send_buffer_take(op);
    if (rc < 0) {
        fabric_op_release(op);
        return rc;
    }
    op->bytes = 0;
    conn->gathered = op;
    pawl_list_push_back(&conn->fabric->gathering, &conn->gathers);
    return 0;
}

static struct fabric_op *packet_take(struct fabric_conn *conn)
{
    struct fabric_op *op = conn->gathered;
    conn->gathered = NULL;
    pawl_list_remove(&conn->gathers);
    return op;
}

int fabric_packet_submit(struct fabric_conn *conn)
{
    return conn->gathered ? fabric_op_submit(packet_take(conn)) : 0;
}

void fabric_packet_abandon(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    struct fabric_op *op = packet_take(conn);
    if (!op) {
        return;
    }
    if (!conn->is_lost && pawl_list_is_empty(&conn->queued) &&
        conn->posted_count < fabric->posts_max && fabric->provider->post(op) == 0) {
        op->is_posted = true;
        conn->posted_count++;
        pawl_list_push_back(&conn->posted, &op->link);
    } else {
        pawl_list_push_back(&conn->queued, &op->link);
    }
}

void fabric_flush(struct fabric *fabric)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&fabric->gathering)) != NULL) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, gathers);
        (void)fabric_packet_submit(conn); // a failure closes the connection, and that is told
    }
}

static void packet_add(struct fabric_op *op, const struct iovec *pieces, uint32_t pieces_count,
                       uint32_t bytes)
{
    unsigned char *at = (unsigned char *)op->memory + op->bytes;
    struct fabric_frame frame = {.bytes = bytes};
    uint64_t end = fabric_frame_bytes(bytes);
    op->bytes += end;
    memcpy(at, &frame, sizeof(frame));
    at += sizeof(frame);
    for (uint32_t i = 0; i < pieces_count; i++) {
        if (pieces[i].iov_len > 0) {
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        }
        at += pieces[i].iov_len;
    }
    memset(at, 0, end - sizeof(frame) - bytes);
}

int fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces, uint32_t pieces_count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < pieces_count; i++) {
        bytes += pieces[i].iov_len;
    }
    uint32_t message_max = PAWL_MIN(conn->peer_message_bytes, conn->fabric->options.message_bytes);
    uint32_t packet_max = PAWL_MIN(conn->peer_packet_bytes, conn->fabric->packet_bytes);
    if (bytes == 0) {
        return -EINVAL;
    }
    if (bytes > message_max) {
        return -EMSGSIZE;
    }
    if (conn->is_lost) {
        return PAWL_EDISCONNECTED;
    }
    int rc = 0;
    if (conn->gathered && conn->gathered->bytes + fabric_frame_bytes(bytes) > packet_max) {
        rc = fabric_packet_submit(conn);
    }
    if (rc == 0 && !conn->gathered) {
        rc = packet_begin(conn);
    }
    if (rc == 0) {
        packet_add(conn->gathered, pieces, pieces_count, (uint32_t)bytes);
    }
    return rc;
}

int fabric_send2(struct fabric_conn *conn, const void *head, uint32_t head_bytes, const void *tail,
                 uint32_t tail_bytes)
{
    struct iovec pieces[] = {{.iov_base = (void *)(uintptr_t)head, .iov_len = head_bytes},
                             {.iov_base = (void *)(uintptr_t)tail, .iov_len = tail_bytes}};
    return fabric_sendv(conn, pieces, PAWL_ARRAY_COUNT(pieces));
}

int fabric_send(struct fabric_conn *conn, const void *message, uint32_t bytes)
{
    return fabric_send2(conn, message, bytes, NULL, 0);
}

// ---- receiving --------------------------------------------------------------------------------

bool fabric_packet_check(const void *packet, size_t bytes, uint32_t message_bytes)
{
    size_t at = 0;
    while (at < bytes) {
        struct fabric_frame frame;
        if (bytes - at < sizeof(frame)) {
            return false;
        }
        memcpy(&frame, (const unsigned char *)packet + at, sizeof(frame));
        if (frame.bytes == 0 || frame.bytes > message_bytes || frame.reserved != 0 ||
            fabric_frame_bytes(frame.bytes) > bytes - at) {
            return false;
        }
        at += fabric_frame_bytes(frame.bytes);
    }
    return bytes > 0;
}

// The peer's device may write no more to a packet that has landed, so what was checked stays true.
bool fabric_packet_deliver(struct fabric_op *op)
{
    while (op->taken_bytes < op->bytes) {
        const unsigned char *at = (const unsigned char *)op->memory + op->taken_bytes;
        struct fabric_frame frame;
        if (fabric_room(op->conn->fabric) == 0) {
            return false;
        }
        memcpy(&frame, at, sizeof(frame));
        fabric_emit_message(op, at + sizeof(frame), frame.bytes);
        op->taken_bytes += fabric_frame_bytes(frame.bytes);
    }
    return true;
}
