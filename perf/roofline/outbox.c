// SPDX-License-Identifier: Apache-2.0
// Registered buffers for messages, and operations for one-sided writes.
#include "perf/roofline/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

int outbox_open(struct outbox *outbox, struct transport *t, uint32_t count, uint32_t message_bytes)
{
    size_t stride = pawl_align_up(message_bytes, 64);
    size_t bytes = pawl_align_up(stride * count, SHAPE_PAGE_BYTES);

    *outbox = (struct outbox){.message_bytes = message_bytes};
    outbox->memory = aligned_alloc(SHAPE_PAGE_BYTES, bytes);
    outbox->messages = calloc(count, sizeof(*outbox->messages));
    if (outbox->memory == NULL || outbox->messages == NULL) {
        return transport_fail(t, -ENOMEM, "buffers for messages");
    }
    int rc = t->needs_local ? transport_region_open(t, outbox->memory, bytes, &outbox->region) : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct outbox_message *message = &outbox->messages[i];
        message->outbox = outbox;
        message->bytes = outbox->memory + i * stride;
        message->next = outbox->pool;
        outbox->pool = message;
    }
    return rc;
}

void outbox_close(struct outbox *outbox)
{
    transport_region_close(&outbox->region);
    free(outbox->memory);
    free(outbox->messages);
    *outbox = (struct outbox){0};
}

struct outbox_message *outbox_take(struct outbox *outbox)
{
    struct outbox_message *message = outbox->pool;

    if (message != NULL) {
        outbox->pool = message->next;
        message->used = sizeof(struct frame);
        message->count = 0;
        message->records = 0;
        memset(message->bytes, 0, sizeof(struct frame));
    }
    return message;
}

void *outbox_add(struct outbox_message *message, uint32_t bytes)
{
    uint8_t *at = message->bytes + message->used;

    pawl_assert(message->used + bytes <= message->outbox->message_bytes);
    memset(at, 0, bytes);
    message->used += bytes;
    return at;
}

void *outbox_entry(struct outbox_message *message, uint32_t entry_bytes, const void *payload,
                   uint32_t payload_bytes)
{
    uint8_t *at = message->bytes + message->used;
    uint32_t padded = (uint32_t)pawl_align_up(payload_bytes, 8);

    pawl_assert(message->used + entry_bytes + padded <= message->outbox->message_bytes);
    memset(at, 0, entry_bytes);
    if (payload != NULL) {
        memcpy(at + entry_bytes, payload, payload_bytes);
    }
    memset(at + entry_bytes + payload_bytes, 0, padded - payload_bytes);
    message->used += entry_bytes + padded;
    message->count++;
    return at;
}

int outbox_send(struct outbox_message *message, enum frame_type type,
                struct transport_conn *const *conns, uint32_t conns_count)
{
    struct frame *frame = (void *)message->bytes;

    pawl_assert(conns_count >= 1 && conns_count <= OUTBOX_TARGETS_MAX);
    frame->magic = SHAPE_MAGIC;
    frame->type = (uint16_t)type;
    frame->bytes = message->used;
    frame->count = message->count;
    message->sends_count = conns_count;
    for (uint32_t i = 0; i < conns_count; i++) {
        struct transport_op *op = &message->ops[i];
        op->kind = TRANSPORT_SEND;
        op->memory = message->bytes;
        op->bytes = message->used;
        op->desc = message->outbox->region.desc;
        op->user = message;
        int rc = transport_post(conns[i], op);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void outbox_done(struct transport_op *op)
{
    struct outbox_message *message = op->user;

    if (--message->sends_count == 0) {
        message->next = message->outbox->pool;
        message->outbox->pool = message;
    }
}

int writes_open(struct writes *writes, uint32_t count)
{
    *writes = (struct writes){.ops = calloc(count, sizeof(*writes->ops))};
    if (writes->ops == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        writes_done(writes, &writes->ops[i]);
    }
    return 0;
}

void writes_close(struct writes *writes)
{
    free(writes->ops);
    *writes = (struct writes){0};
}

int writes_post(struct writes *writes, struct transport_conn *conn, const struct iovec *from,
                void *desc, uint64_t remote, uint64_t key)
{
    struct transport_op *op = writes->pool;

    if (op == NULL) {
        return transport_fail(conn->transport, -EBUSY, "too many one-sided writes");
    }
    writes->pool = op->next;
    op->kind = TRANSPORT_WRITE;
    op->memory = from->iov_base;
    op->bytes = from->iov_len;
    op->desc = desc;
    op->remote = remote;
    op->key = key;
    return transport_post(conn, op);
}

void writes_done(struct writes *writes, struct transport_op *op)
{
    op->next = writes->pool;
    writes->pool = op;
}
