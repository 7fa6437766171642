// SPDX-License-Identifier: Apache-2.0
// Operations: the pool, send buffers, posting in order, deadlines, completions.
//
// An operation of a connection is in exactly one of its lists: posted (the provider knows it),
// queued (it waits for room), or, once the connection closes, doomed (not reported) or grave
// (reported). An operation in the grave goes back to the pool only when no completion can name it
// any more.
//
// All operations have the same time to live, so one list of the whole fabric, in the order in which
// they were accepted, is also the order of their deadlines: a poll looks at its head only. The
// clock is the poll's, so new operations wait in `fresh` for the next poll to stamp them.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/fabric/fabric_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define OPS_SLAB 128u
#define OPS_MAX 4096u // per connection, not over

struct fabric_ops_slab {
    struct fabric_ops_slab *next;
    struct fabric_op ops[OPS_SLAB];
};

// A free send buffer holds its list node and its registration.
struct send_buffer {
    struct pawl_list link;
    void *desc;
};
_Static_assert(sizeof(struct send_buffer) <= FABRIC_MESSAGE_ALIGN, "a free buffer holds its node");

static struct pawl_log_limit op_limit;

static int ops_grow(struct fabric *fabric)
{
    struct fabric_ops_slab *slab = calloc(1, sizeof(*slab));
    if (!slab) {
        return -ENOMEM;
    }
    slab->next = fabric->ops_slabs;
    fabric->ops_slabs = slab;
    for (size_t i = 0; i < OPS_SLAB; i++) {
        pawl_list_init(&slab->ops[i].timed);
        pawl_list_push_back(&fabric->ops_free, &slab->ops[i].link);
    }
    return 0;
}

static int sends_grow(struct fabric *fabric)
{
    struct fabric_sends_slab *slab = calloc(1, sizeof(*slab));
    size_t bytes = pawl_align_up((uint64_t)fabric->stride_bytes * FABRIC_SENDS_SLAB, 4096);
    if (!slab) {
        return -ENOMEM;
    }
    slab->memory = aligned_alloc(4096, bytes);
    if (!slab->memory) {
        free(slab);
        return -ENOMEM;
    }
    if (fabric->needs_local) {
        int rc = fabric_region_open(fabric, slab->memory, bytes, FABRIC_LOCAL, &slab->region);
        if (rc < 0) {
            free(slab->memory);
            free(slab);
            return rc;
        }
    }
    slab->next = fabric->sends_slabs;
    fabric->sends_slabs = slab;
    for (size_t i = 0; i < FABRIC_SENDS_SLAB; i++) {
        struct send_buffer *buffer = (void *)(slab->memory + i * fabric->stride_bytes);
        buffer->desc = slab->region ? slab->region->desc : NULL;
        pawl_list_push_back(&fabric->sends_free, &buffer->link);
    }
    return 0;
}

void fabric_ops_fini(struct fabric *fabric)
{
    while (fabric->ops_slabs) {
        struct fabric_ops_slab *slab = fabric->ops_slabs;
        fabric->ops_slabs = slab->next;
        free(slab);
    }
    while (fabric->sends_slabs) {
        struct fabric_sends_slab *slab = fabric->sends_slabs;
        fabric->sends_slabs = slab->next;
        fabric_region_close(slab->region);
        free(slab->memory);
        free(slab);
    }
}

// Gives the operation a send buffer of its own.
int fabric_send_buffer_take(struct fabric_op *op)
{
    struct fabric *fabric = op->conn->fabric;
    if (pawl_list_is_empty(&fabric->sends_free)) {
        int rc = sends_grow(fabric);
        if (rc < 0) {
            return rc;
        }
    }
    struct send_buffer *buffer =
        pawl_container_of(pawl_list_pop_front(&fabric->sends_free), struct send_buffer, link);
    op->desc = buffer->desc;
    op->memory = buffer;
    return 0;
}

static void send_buffer_return(struct fabric_op *op)
{
    struct send_buffer *buffer = op->memory;
    pawl_list_init(&buffer->link);
    buffer->desc = op->desc;
    pawl_list_push_front(&op->conn->fabric->sends_free, &buffer->link);
    op->memory = NULL;
}

int fabric_op_new(struct fabric_conn *conn, enum fabric_op_kind kind, struct fabric_op **ret_op)
{
    struct fabric *fabric = conn->fabric;
    if (conn->state == FABRIC_CONN_CLOSING || conn->is_lost) {
        return PAWL_EDISCONNECTED;
    }
    if (conn->state != FABRIC_CONN_OPEN || conn->ops_count >= OPS_MAX) {
        return -EAGAIN;
    }
    if (pawl_list_is_empty(&fabric->ops_free)) {
        int rc = ops_grow(fabric);
        if (rc < 0) {
            return rc;
        }
    }
    struct fabric_op *op =
        pawl_container_of(pawl_list_pop_front(&fabric->ops_free), struct fabric_op, link);
    op->conn = conn;
    op->kind = kind;
    op->is_posted = false;
    op->deadline_ns = 0;
    op->refers_count = 0;
    conn->ops_count++;
    if (kind == FABRIC_OP_SEND) {
        conn->sends_count++;
    }
    *ret_op = op;
    return 0;
}

void fabric_op_release(struct fabric_op *op)
{
    struct fabric_conn *conn = op->conn;
    pawl_list_remove(&op->link);
    pawl_list_remove(&op->timed);
    conn->ops_count--;
    if (op->kind == FABRIC_OP_SEND) {
        conn->sends_count--;
        fabric_packet_forget(op);
        if (op->memory) {
            send_buffer_return(op);
        }
    }
    pawl_list_push_front(&conn->fabric->ops_free, &op->link);
    op->conn = NULL;
}

int fabric_op_submit(struct fabric_op *op)
{
    struct fabric_conn *conn = op->conn;
    struct fabric *fabric = conn->fabric;
    int rc = -EAGAIN;
    if (pawl_list_is_empty(&conn->queued) && conn->posted_count < fabric->posts_max) {
        rc = fabric->provider->post(op);
    }
    if (rc == 0) {
        op->is_posted = true;
        conn->posted_count++;
        pawl_list_push_back(&conn->posted, &op->link);
    } else if (rc == -EAGAIN) {
        pawl_list_push_back(&conn->queued, &op->link);
        if (pawl_list_is_empty(&conn->waiting)) {
            pawl_list_push_back(&fabric->backlog, &conn->waiting);
        }
    } else {
        pawl_log_limited(&op_limit, PAWL_LOG_WARN, "connection %llu with %s refuses work: %s",
                         (unsigned long long)conn->id, conn->peer, pawl_strerror(rc));
        pawl_list_init(&op->link);
        fabric_op_release(op);
        fabric_conn_close(conn, PAWL_EDISCONNECTED);
        return PAWL_EDISCONNECTED;
    }
    pawl_list_push_back(&fabric->fresh, &op->timed);
    return 0;
}

void fabric_backlog_retry(struct fabric *fabric)
{
    pawl_list_for_each_safe (node, &fabric->backlog) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, waiting);
        int rc = 0;
        while (!pawl_list_is_empty(&conn->queued) && conn->posted_count < fabric->posts_max) {
            struct fabric_op *op =
                pawl_container_of(pawl_list_first(&conn->queued), struct fabric_op, link);
            rc = fabric->provider->post(op);
            if (rc < 0) {
                break;
            }
            op->is_posted = true;
            conn->posted_count++;
            pawl_list_remove(&op->link);
            pawl_list_push_back(&conn->posted, &op->link);
        }
        if (rc < 0 && rc != -EAGAIN) {
            fabric_conn_close(conn, PAWL_EDISCONNECTED);
        } else if (pawl_list_is_empty(&conn->queued)) {
            pawl_list_remove(&conn->waiting);
        }
    }
}

void fabric_ops_stamp(struct fabric *fabric)
{
    uint64_t deadline_ns = fabric->now_ns + fabric->options.operation_ms * PAWL_NS_PER_MS;
    pawl_list_for_each (node, &fabric->fresh) {
        pawl_container_of(node, struct fabric_op, timed)->deadline_ns = deadline_ns;
    }
    pawl_list_append_all(&fabric->timed, &fabric->fresh);
}

void fabric_ops_expire(struct fabric *fabric)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&fabric->timed)) != NULL) {
        struct fabric_op *op = pawl_container_of(node, struct fabric_op, timed);
        if (fabric->now_ns < op->deadline_ns) {
            return;
        }
        pawl_log_limited(&op_limit, PAWL_LOG_WARN,
                         "connection %llu with %s: an operation is not over after %u ms",
                         (unsigned long long)op->conn->id, op->conn->peer,
                         fabric->options.operation_ms);
        fabric_conn_close(op->conn, PAWL_EDEADLINE); // takes all its operations off this list
    }
}

void fabric_ops_doom(struct fabric_conn *conn)
{
    pawl_list_append_all(&conn->doomed, &conn->posted);
    pawl_list_append_all(&conn->doomed, &conn->queued);
    pawl_list_for_each (node, &conn->doomed) {
        pawl_list_remove(&pawl_container_of(node, struct fabric_op, link)->timed);
    }
    conn->posted_count = 0;
}

static void receive_completed(struct fabric_op *op, size_t bytes)
{
    struct fabric_conn *conn = op->conn;
    op->is_posted = false;
    op->bytes = bytes;
    op->taken_bytes = 0;
    if (!fabric_packet_check(op->memory, bytes, conn->fabric->options.message_bytes)) {
        pawl_log_limited(&op_limit, PAWL_LOG_WARN,
                         "connection %llu with %s: a malformed packet of %zu bytes",
                         (unsigned long long)conn->id, conn->peer, bytes);
        fabric_conn_close(conn, PAWL_EPROTOCOL);
        return;
    }
    // Before the announcement, or behind packets that wait for it: in order.
    if (!conn->is_announced || !pawl_list_is_empty(&conn->early) || !fabric_packet_deliver(op)) {
        pawl_list_push_back(&conn->early, &op->link);
        if (conn->state == FABRIC_CONN_OPEN && pawl_list_is_empty(&conn->work)) {
            pawl_list_push_back(&conn->fabric->ready, &conn->work);
        }
        return;
    }
    pawl_list_push_back(&conn->fabric->borrowed, &op->link);
}

void fabric_op_completed(struct fabric_op *op, int status, size_t bytes)
{
    struct fabric_conn *conn = op->conn;
    if (!conn || conn->state == FABRIC_CONN_CLOSING || !op->is_posted) {
        return; // late: the books were closed without it
    }
    if (status < 0) {
        if (status != -ECANCELED) { // what the provider says of all that it had when a peer goes
            pawl_log_limited(&op_limit, PAWL_LOG_INFO,
                             "connection %llu with %s: operation failed: %s",
                             (unsigned long long)conn->id, conn->peer, pawl_strerror(status));
        }
        fabric_conn_close(conn, conn->is_lost ? conn->status : PAWL_EDISCONNECTED);
        return;
    }
    conn->heard_ns = conn->fabric->now_ns;
    if (op->kind == FABRIC_OP_RECEIVE) {
        receive_completed(op, bytes);
        return;
    }
    conn->posted_count--;
    bool is_transfer = op->kind == FABRIC_OP_WRITE || op->kind == FABRIC_OP_READ;
    // A packet that was completed before it in the same batch may have taken the room with its messages.
    if (is_transfer &&
        (fabric_room(conn->fabric) == 0 || !pawl_list_is_empty(&conn->fabric->finished))) {
        op->is_posted = false;
        pawl_list_remove(&op->link);
        pawl_list_remove(&op->timed);
        pawl_list_push_back(&conn->fabric->finished, &op->link);
        return;
    }
    if (is_transfer) {
        fabric_emit_done(op, 0);
    }
    fabric_op_release(op);
}

bool fabric_ops_report(struct fabric *fabric)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&fabric->finished)) != NULL) {
        struct fabric_op *op = pawl_container_of(node, struct fabric_op, link);
        if (fabric_room(fabric) == 0) {
            return false;
        }
        fabric_emit_done(op, 0);
        fabric_op_release(op);
    }
    return true;
}

static int receive_post(struct fabric_op *op)
{
    op->bytes = op->conn->fabric->packet_bytes;
    int rc = op->conn->fabric->provider->post(op);
    if (rc == 0) {
        op->is_posted = true;
    }
    return rc;
}

int fabric_receives_post(struct fabric_conn *conn)
{
    for (uint32_t i = 0; i < conn->fabric->receives_count; i++) {
        int rc = receive_post(&conn->receives[i]);
        if (rc < 0) {
            return rc;
        }
    }
    return 0;
}

void fabric_borrowed_return(struct fabric *fabric)
{
    struct pawl_list list;
    struct pawl_list *node;
    pawl_list_init(&list);
    pawl_list_append_all(&list, &fabric->borrowed);
    while ((node = pawl_list_pop_front(&list)) != NULL) {
        struct fabric_op *op = pawl_container_of(node, struct fabric_op, link);
        if (op->conn->state == FABRIC_CONN_CLOSING) {
            continue;
        }
        if (op->holds_count > 0) {
            op->is_kept = true;
            continue;
        }
        int rc = receive_post(op);
        if (rc == -EAGAIN) {
            pawl_list_push_back(&fabric->borrowed, &op->link); // at the next poll
        } else if (rc < 0) {
            fabric_conn_close(op->conn, PAWL_EDISCONNECTED);
        }
    }
}

bool fabric_packet_hold(struct fabric_op *packet)
{
    struct fabric_conn *conn = packet->conn;
    pawl_assert(packet->kind == FABRIC_OP_RECEIVE && !packet->is_posted);
    if (packet->holds_count == 0) {
        if (conn->holds_count >= conn->fabric->receives_count / 4 * 3) {
            return false;
        }
        conn->holds_count++;
    }
    packet->holds_count++;
    return true;
}

void fabric_packet_release(struct fabric_op *packet)
{
    struct fabric_conn *conn = packet->conn;
    pawl_assert(packet->holds_count > 0 && conn->holds_count > 0);
    if (--packet->holds_count > 0) {
        return;
    }
    conn->holds_count--;
    if (conn->is_orphan && conn->holds_count == 0) {
        fabric_conn_forget(conn);
    } else if (packet->is_kept) {
        packet->is_kept = false;
        if (conn->state != FABRIC_CONN_OPEN || receive_post(packet) < 0) {
            pawl_list_push_back(&conn->fabric->borrowed, &packet->link); // the next poll sees to it
        }
    }
}

void fabric_probe_submit(struct fabric_conn *conn)
{
    struct fabric_op *op = NULL;
    if (fabric_op_new(conn, FABRIC_OP_PROBE, &op) < 0) {
        return; // no memory: at the next look
    }
    op->memory = conn->receives[0].memory; // of no bytes, but a device may look at the place
    op->desc = conn->receives[0].desc;
    op->bytes = 0;
    op->remote_address = 0;
    op->remote_key = 0;
    (void)fabric_op_submit(op);
}

struct transfer {
    enum fabric_op_kind kind;
    void *memory;
    size_t bytes;
    uint64_t remote_address;
    uint64_t remote_key;
    uint64_t token;
};

static int transfer_submit(struct fabric_conn *conn, const struct fabric_region *region,
                           const struct transfer *transfer)
{
    const unsigned char *at = transfer->memory;
    struct fabric_op *op = NULL;
    if (transfer->bytes == 0 || transfer->bytes > region->bytes || at < region->memory ||
        at > region->memory + (region->bytes - transfer->bytes)) {
        return -EINVAL;
    }
    pawl_assert(region->fabric == conn->fabric);
    int rc = fabric_packet_submit(conn); // what was sent before goes before
    rc = rc < 0 ? rc : fabric_op_new(conn, transfer->kind, &op);
    if (rc < 0) {
        return rc;
    }
    op->memory = transfer->memory;
    op->bytes = transfer->bytes;
    op->desc = region->desc;
    op->remote_address = transfer->remote_address;
    op->remote_key = transfer->remote_key;
    op->token = transfer->token;
    return fabric_op_submit(op);
}

int fabric_write(struct fabric_conn *conn, struct fabric_region *region, const void *memory,
                 size_t bytes, uint64_t remote_address, uint64_t remote_key, uint64_t token)
{
    struct transfer transfer = {.kind = FABRIC_OP_WRITE,
                                .memory = (void *)(uintptr_t)memory,
                                .bytes = bytes,
                                .remote_address = remote_address,
                                .remote_key = remote_key,
                                .token = token};
    return transfer_submit(conn, region, &transfer);
}

int fabric_read(struct fabric_conn *conn, struct fabric_region *region, void *memory, size_t bytes,
                uint64_t remote_address, uint64_t remote_key, uint64_t token)
{
    struct transfer transfer = {.kind = FABRIC_OP_READ,
                                .memory = memory,
                                .bytes = bytes,
                                .remote_address = remote_address,
                                .remote_key = remote_key,
                                .token = token};
    return transfer_submit(conn, region, &transfer);
}
