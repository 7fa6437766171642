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
    op->own_bytes = 0;
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

// ---- payloads that stay where they lie --------------------------------------------------------
//
// A packet that is sent is its own buffer, in which payloads may be missing: they are sent from the packets that
// brought them. Stretches of the buffer and such payloads alternate, a stretch first.
//
//     own buffer      | frame, struct |          | frame, struct |
//     held packets                    | payload  |               | payload |
//     pieces          1               2          3               4
//
// With more payloads than pieces the last one always stays, until the next comes: then a short one is copied, and a long
// one leaves with its packet (docs/decisions/0043, 0053).

uint32_t fabric_packet_pieces(const struct fabric_op *op, struct iovec pieces[FABRIC_PIECES_MAX],
                              void *descs[FABRIC_PIECES_MAX])
{
    unsigned char *own = op->memory;
    uint32_t count = 0;
    size_t at = 0;
    for (uint32_t i = 0; i < op->refers_count; i++) {
        const struct fabric_refer *refer = &op->refers[i];
        pieces[count] = (struct iovec){.iov_base = own + at, .iov_len = refer->own_bytes - at};
        descs[count++] = op->desc;
        pieces[count] =
            (struct iovec){.iov_base = refer->memory, .iov_len = refer->bytes + refer->pad_bytes};
        descs[count++] = refer->packet->desc;
        at = refer->own_bytes;
    }
    if (op->own_bytes > at) {
        pieces[count] = (struct iovec){.iov_base = own + at, .iov_len = op->own_bytes - at};
        descs[count++] = op->desc;
    }
    pawl_assert(count > 0 && count <= FABRIC_PIECES_MAX);
    return count;
}

void fabric_packet_forget(struct fabric_op *op)
{
    while (op->refers_count > 0) {
        fabric_packet_release(op->refers[--op->refers_count].packet);
    }
}

// No piece is left for what comes behind the last payload.
static bool pieces_are_used(const struct fabric_op *op)
{
    return 2 * op->refers_count + 1 > op->conn->fabric->pieces_max;
}

// Then a long payload leaves before it is copied for company.
static bool refer_is_worth_a_packet(const struct fabric_op *op)
{
    return op->refers_count > 0 && pieces_are_used(op) &&
           op->refers[op->refers_count - 1].bytes >= FABRIC_REFER_PACKET_BYTES_MIN;
}

// The last one is copied after all: more is to come, and no piece is left for it.
static void refer_resolve(struct fabric_op *op)
{
    struct fabric_refer refer = op->refers[--op->refers_count];
    unsigned char *at = (unsigned char *)op->memory + op->own_bytes;
    pawl_assert(refer.own_bytes == op->own_bytes);
    memcpy(at, refer.memory, refer.bytes);
    memset(at + refer.bytes, 0, refer.pad_bytes);
    op->own_bytes += refer.bytes + refer.pad_bytes;
    op->conn->fabric->copied_bytes += refer.bytes;
    fabric_packet_release(refer.packet);
}

// Zeros behind a payload take no piece if they lie there already.
static uint32_t refer_pad(const struct fabric_op *packet, const unsigned char *end, uint32_t pad)
{
    static const unsigned char zeros[FABRIC_FRAME_ALIGN];
    size_t at = (size_t)(end - (const unsigned char *)packet->memory);
    return at + pad <= packet->bytes && memcmp(end, zeros, pad) == 0 ? pad : 0;
}

// Whether this payload, with so many zeros behind it, is sent from where it lies in `packet`.
static bool refer_make(const struct fabric_op *op, struct fabric_op *packet,
                       const struct iovec *payload, uint32_t pad, struct fabric_refer *ret)
{
    const struct fabric *fabric = op->conn->fabric;
    // Its memory is registered with its own fabric, and goes with that.
    if (!packet || packet->conn->fabric != fabric || payload->iov_len < FABRIC_REFER_BYTES_MIN) {
        return false;
    }
    const unsigned char *memory = packet->memory;
    unsigned char *at = payload->iov_base;
    pawl_assert(packet->holds_count > 0 && at >= memory &&
                at + payload->iov_len <= memory + packet->bytes);
    uint32_t pad_bytes = refer_pad(packet, at + payload->iov_len, pad);
    uint32_t pieces = 2 * (op->refers_count + 1) + (pad_bytes < pad ? 1 : 0);
    if (op->refers_count == FABRIC_REFERS_MAX || pieces > fabric->pieces_max) {
        return false;
    }
    *ret = (struct fabric_refer){.packet = packet,
                                 .memory = at,
                                 .bytes = (uint32_t)payload->iov_len,
                                 .pad_bytes = pad_bytes};
    return true;
}

// ---- gathering --------------------------------------------------------------------------------

static void own_add(struct fabric_op *op, const void *bytes, size_t count)
{
    if (count > 0) {
        memcpy((unsigned char *)op->memory + op->own_bytes, bytes, count);
        op->own_bytes += count;
    }
}

// What a call of the owner's sends.
struct message {
    const struct iovec *pieces;
    uint32_t pieces_count;
    bool is_from;             // fabric_send_from(): what of the last piece is copied counts
    struct fabric_op *packet; // that the last piece lies in; NULL: it is copied
};

static void packet_add(struct fabric_op *op, const struct message *message, uint32_t bytes)
{
    static const unsigned char zeros[FABRIC_FRAME_ALIGN];
    const struct iovec *last = &message->pieces[message->pieces_count - 1];
    struct fabric_frame frame = {.bytes = bytes};
    struct fabric_refer refer;
    uint64_t end = fabric_frame_bytes(bytes);
    uint32_t pad = (uint32_t)(end - sizeof(frame) - bytes);
    if (pieces_are_used(op)) {
        refer_resolve(op);
    }
    own_add(op, &frame, sizeof(frame));
    for (const struct iovec *piece = message->pieces; piece < last; piece++) {
        own_add(op, piece->iov_base, piece->iov_len);
    }
    if (refer_make(op, message->packet, last, pad, &refer)) {
        refer.packet->holds_count++;
        refer.own_bytes = op->own_bytes;
        op->refers[op->refers_count++] = refer;
        pad -= refer.pad_bytes;
    } else {
        own_add(op, last->iov_base, last->iov_len);
        op->conn->fabric->copied_bytes += message->is_from ? last->iov_len : 0;
    }
    own_add(op, zeros, pad);
    op->bytes += end;
}

static int message_send(struct fabric_conn *conn, const struct message *message)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < message->pieces_count; i++) {
        bytes += message->pieces[i].iov_len;
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
    if (conn->gathered && (conn->gathered->bytes + fabric_frame_bytes(bytes) > packet_max ||
                           refer_is_worth_a_packet(conn->gathered))) {
        rc = fabric_packet_submit(conn);
    }
    if (rc == 0 && !conn->gathered) {
        rc = packet_begin(conn);
    }
    if (rc == 0) {
        packet_add(conn->gathered, message, (uint32_t)bytes);
    }
    return rc;
}

int fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces, uint32_t pieces_count)
{
    struct message message = {.pieces = pieces, .pieces_count = pieces_count};
    return message_send(conn, &message);
}

int fabric_send_from(struct fabric_conn *conn, const struct iovec *pieces, uint32_t pieces_count,
                     struct fabric_op *packet)
{
    struct message message = {
        .pieces = pieces, .pieces_count = pieces_count, .is_from = true, .packet = packet};
    return message_send(conn, &message);
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
