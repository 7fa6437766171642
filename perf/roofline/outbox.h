// SPDX-License-Identifier: Apache-2.0
// Inside of a node: registered buffers for messages, and operations for one-sided writes.
//
// A message may go to several peers; its buffer comes back when the last send of it is done.
#ifndef PAWL_PERF_ROOFLINE_OUTBOX_H
#define PAWL_PERF_ROOFLINE_OUTBOX_H

#include "perf/roofline/shape.h"
#include "perf/roofline/transport.h"

#define OUTBOX_TARGETS_MAX 2u

struct outbox;

struct outbox_message {
    struct outbox *outbox;
    struct outbox_message *next; // in the pool
    uint8_t *bytes;
    uint32_t used;        // bytes, the frame included
    uint32_t count;       // entries
    uint32_t records;     // that they stand for: who adds entries counts them
    uint32_t sends_count; // that are not done
    struct transport_op ops[OUTBOX_TARGETS_MAX];
};

struct outbox {
    uint8_t *memory;
    size_t memory_bytes;
    uint32_t message_bytes;
    struct transport_region region;
    struct outbox_message *messages;
    struct outbox_message *pool;
};

// `count` messages of up to message_bytes.
int outbox_open(struct outbox *outbox, struct transport *t, uint32_t count,
                uint32_t message_bytes) PAWL_MUST_CHECK;
void outbox_close(struct outbox *outbox);

// A message with a zeroed frame. NULL: none is free.
struct outbox_message *outbox_take(struct outbox *outbox);
// The next `bytes` of the message, zeroed; the caller keeps to message_bytes.
void *outbox_add(struct outbox_message *message, uint32_t bytes);
// An entry and what stands behind it, padded; payload_bytes 0: nothing, `payload` NULL: the caller fills it.
void *outbox_entry(struct outbox_message *message, uint32_t entry_bytes, const void *payload,
                   uint32_t payload_bytes);
// Closes the frame and sends the message to all.
int outbox_send(struct outbox_message *message, enum frame_type type,
                struct transport_conn *const *conns, uint32_t conns_count) PAWL_MUST_CHECK;
void outbox_done(struct transport_op *op);

// Operations of one-sided writes.
struct writes {
    struct transport_op *ops, *pool;
};
int writes_open(struct writes *writes, uint32_t count) PAWL_MUST_CHECK;
void writes_close(struct writes *writes);
int writes_post(struct writes *writes, struct transport_conn *conn, const struct iovec *from,
                void *desc, uint64_t remote, uint64_t key) PAWL_MUST_CHECK;
void writes_done(struct writes *writes, struct transport_op *op);

#endif
