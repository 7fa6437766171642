// SPDX-License-Identifier: Apache-2.0
// Pushing alone: a client's PUSH brings a payload to every replica of a chunk, and changes nothing.
//
// It lands in the primary's window, the primary sends it on as it would send that of an APPEND, star or chain, with
// PREPAREs that say so, and every replica lets it go where the core would have been asked. The answer comes when all
// have had it. So the routes are measured by the code that appends use.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

// Slots of payloads that are on their way at once: a record waits behind so much, however many clients push.
#define PUSH_ONLY_SLOTS_MAX WIRE_WINDOW_SLOTS_MAX

struct push_only {
    struct pawl_list node;
    uint64_t number;  // the index that its PREPAREs have
    uint64_t request; // the client's
    uint64_t payload; // one use until it has begun; then 0
    struct wire_push push;
    uint32_t awaited_count;
    int status; // the first failure
};

static uint32_t push_only_slots(const struct push_only *only)
{
    return (only->push.length + WIRE_SLOT_BYTES - 1) / WIRE_SLOT_BYTES;
}

static struct push_only *find(struct reactor *reactor, uint64_t number)
{
    pawl_list_for_each (node, &reactor->push_onlys) {
        struct push_only *only = pawl_container_of(node, struct push_only, node);
        if (only->number == number) {
            return only;
        }
    }
    return NULL;
}

void push_only_prepared(struct reactor *reactor, uint64_t number, int status)
{
    struct push_only *only = find(reactor, number);
    pawl_assert(only != NULL && only->awaited_count > 0); // each send ends once
    only->status = only->status != 0 ? only->status : status;
    if (--only->awaited_count > 0) {
        return;
    }
    struct request *request = slab_find(&reactor->requests, only->request);
    if (request != NULL) { // its client is there
        request_refuse(reactor, request, only->status);
    }
    reactor->push_onlys_slots -= push_only_slots(only);
    pawl_list_remove(&only->node);
    free(only);
}

// No record has one like it, whatever its producer calls itself; nor has another push of this chunk.
static struct wire_record_id push_only_id(const struct reactor *reactor, uint64_t number)
{
    return (struct wire_record_id){.producer_hi = reactor->server_id,
                                   .producer_lo = reactor->incarnation,
                                   .sequence = number,
                                   .flags = WIRE_RECORD_PUSH};
}

static void send_to(struct reactor *reactor, const struct wire_push *push,
                    const struct payload *payload, uint64_t number, const uint64_t *servers,
                    uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct chunk_action action = {.type = CHUNK_ACTION_PREPARE,
                                      .server = servers[i],
                                      .payload = payload->name,
                                      .prepare = {.chunk = push->chunk,
                                                  .version = push->version,
                                                  .index = number,
                                                  .id = push_only_id(reactor, number),
                                                  .length = push->length,
                                                  .crc = payload->crc,
                                                  .flags = WIRE_PREPARE_PUSH_ONLY}};
        // Chains of two, as the core makes them.
        if (i % 2 != 0) {
            action.relayed_by = servers[i - 1];
        } else if (i + 1 < count) {
            action.relay_to = servers[i + 1];
        }
        peer_prepare(reactor, &action);
    }
}

static void push_only_start(struct reactor *reactor, struct push_only *only)
{
    uint64_t servers[CHUNK_SET_MAX];
    struct payload *payload = payload_find(reactor, only->payload);
    struct wire_push push = only->push; // it may end in here
    uint64_t number = only->number;
    int count = chunk_core_secondaries(reactor->core, push.chunk, push.version, servers);
    reactor->push_onlys_slots += push_only_slots(only);
    only->payload = 0;
    only->awaited_count = (uint32_t)PAWL_MAX(count, 0) + 1; // and we, until all are sent
    send_to(reactor, &push, payload, number, servers, (uint32_t)PAWL_MAX(count, 0));
    push_only_prepared(reactor, number, PAWL_MIN(count, 0));
    payload_unuse(reactor, payload);
}

// Its client has gone before it began.
static bool push_only_is_orphan(struct reactor *reactor, const struct push_only *only)
{
    return slab_find(&reactor->requests, only->request) == NULL;
}

// In the order in which they came; those that have begun stand before the others.
void push_only_turn(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->push_onlys) {
        struct push_only *only = pawl_container_of(node, struct push_only, node);
        if (only->payload == 0) {
            continue;
        }
        if (push_only_is_orphan(reactor, only)) {
            pawl_list_remove(&only->node);
            payload_unuse(reactor, payload_find(reactor, only->payload));
            free(only);
            continue;
        }
        if (reactor->push_onlys_slots + push_only_slots(only) > PUSH_ONLY_SLOTS_MAX) {
            return;
        }
        push_only_start(reactor, only);
    }
}

void push_only_begin(struct reactor *reactor, struct request *request, const struct wire_push *push,
                     struct payload *payload)
{
    struct push_only *only = calloc(1, sizeof(*only));
    if (only == NULL) {
        request_refuse(reactor, request, PAWL_EBUSY);
        payload_unuse(reactor, payload);
        return;
    }
    only->number = ++reactor->push_onlys_count;
    only->request = request->name;
    only->payload = payload->name;
    only->push = *push;
    pawl_list_push_back(&reactor->push_onlys, &only->node);
}

void push_only_end(struct reactor *reactor, uint64_t request, const struct wire_prepare *prepare,
                   struct payload *payload)
{
    union chunk_reply reply;
    memset(&reply, 0, sizeof(reply));
    bool whole = payload != NULL && payload->crc == prepare->crc;
    reply.header.status = whole ? 0 : PAWL_EBADPAYLOAD;
    reply.prepared.chunk = prepare->chunk;
    reply.prepared.version = prepare->version;
    reply.prepared.index = prepare->index;
    request_reply(reactor, request, &reply);
    payload_unuse(reactor, payload);
}

void push_only_free_all(struct reactor *reactor)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&reactor->push_onlys)) != NULL) {
        free(pawl_container_of(node, struct push_only, node));
    }
}
