// SPDX-License-Identifier: Apache-2.0
// The middle of a chain: slices of a payload go on to the next server while the next ones arrive.
//
// Nothing waits here for another server's slots or credits, so chains can't wait for each other in a circle:
// what can't go on at once is handed back, and the primary brings the payload by star. The same when the
// next server is lost or silent. What arrives there is judged by its crc, as everything is.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

// The one whose slices are still coming.
static struct relay *relay_find(struct reactor *reactor, const struct session *session,
                                uint16_t slot_first)
{
    pawl_list_for_each (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        if (relay->session == session && relay->push.slot_first == slot_first && !relay->ended) {
            return relay;
        }
    }
    return NULL;
}

static void relay_answer(struct reactor *reactor, struct relay *relay, int status)
{
    struct request *request =
        relay->request != 0 ? slab_find(&reactor->requests, relay->request) : NULL;
    relay->request = 0;
    if (request != NULL) {
        request_refuse(reactor, request, status);
    }
}

// Answers what can be answered, and frees what is over.
static void relay_settle(struct reactor *reactor, struct relay *relay)
{
    if (relay->link == NULL) {
        relay_answer(reactor, relay, relay->status);
    }
    // What was read out of the slots is read: our own answer for them need not wait for the next server's.
    if (relay->ended && relay->writes_count == 0) {
        payload_unuse(reactor, relay->payload);
        relay->payload = NULL;
    }
    if (!relay->ended || relay->pushed || relay->writes_count > 0 || relay->request != 0) {
        return;
    }
    pawl_list_remove(&relay->node);
    window_unuse(&reactor->buffers, relay->window);
    free(relay);
}

// The slots there may be taken again at once: later writes of this connection arrive later.
static void relay_fail(struct relay *relay, int status)
{
    if (relay->link != NULL) {
        peer_slots_put(relay->link, relay->slot_first, relay->push.slot_count);
        relay->link = NULL;
    }
    relay->status = status;
}

static struct relay *relay_new(struct reactor *reactor, struct session *session,
                               const struct wire_push *push)
{
    char addresses[CHUNK_ADDRESS_MAX] = "";
    size_t bytes = push->header.bytes - sizeof(*push);
    struct relay *relay = calloc(1, sizeof(*relay));
    if (relay == NULL) {
        return NULL;
    }
    if (bytes < sizeof(addresses)) {
        memcpy(addresses, push + 1, bytes);
    }
    relay->session = session;
    relay->window = session->window;
    relay->window->uses_count++;
    relay->push = *push;
    relay->status = PAWL_EBUSY;
    relay->link = peer_slots_take(reactor, push, addresses, &relay->slot_first);
    pawl_list_push_back(&reactor->relays, &relay->node);
    return relay;
}

static void relay_write(struct reactor *reactor, struct relay *relay, const struct wire_push *push)
{
    struct link *link = relay->link;
    struct io *io = io_new(reactor, IO_RELAY);
    if (io == NULL) {
        relay_fail(relay, PAWL_EBUSY);
        return;
    }
    io->relay = relay;
    const unsigned char *bytes =
        relay->window->bytes + (size_t)push->slot_first * WIRE_SLOT_BYTES + push->offset;
    uint64_t remote =
        link->window_address + (uint64_t)relay->slot_first * link->slot_bytes + push->offset;
    int code = fabric_write(link->conn, reactor->buffers.locals[link->fabric], bytes, push->bytes,
                            remote, link->window_key, io->name);
    if (code != 0) {
        io_free(reactor, io);
        relay_fail(relay, code);
        return;
    }
    relay->writes_count++;
}

static bool relay_continues(const struct relay *relay, const struct wire_push *push)
{
    const struct wire_push *first = &relay->push;
    return push->offset == relay->passed_bytes && push->chunk == first->chunk &&
           push->next == first->next && push->length == first->length &&
           push->slot_count == first->slot_count;
}

void relay_slice(struct reactor *reactor, struct session *session, struct request *request,
                 const struct wire_push *push)
{
    struct relay *relay = relay_find(reactor, session, push->slot_first);
    if (relay == NULL && push->offset == 0) {
        relay = relay_new(reactor, session, push);
    }
    if (relay == NULL || !relay_continues(relay, push)) {
        request_refuse(reactor, request, PAWL_EBUSY);
        return;
    }
    if (relay->link != NULL) {
        relay_write(reactor, relay, push);
    }
    relay->passed_bytes += push->bytes;
    relay->deadline_ns = reactor->now_ns + CHUNKD_RELAY_MS * PAWL_NS_PER_MS;
    if (relay->passed_bytes < push->length) {
        request_refuse(reactor, request, 0); // the last slice's answer is for all
        return;
    }
    relay->ended = true;
    relay->request = request->name;
    if (relay->link != NULL) {
        relay->pushed = peer_push(reactor, relay->link, relay);
        if (!relay->pushed) {
            relay_fail(relay, PAWL_EBUSY);
        }
    }
    relay_settle(reactor, relay);
}

void relay_adopt(struct reactor *reactor, struct session *session, struct payload *payload,
                 uint16_t slot_first)
{
    pawl_list_for_each (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        if (relay->session == session && relay->push.slot_first == slot_first &&
            relay->payload == NULL && (relay->writes_count > 0 || !relay->ended)) {
            payload_use(payload);
            relay->payload = payload;
        }
    }
}

void relay_written(struct reactor *reactor, struct relay *relay)
{
    pawl_assert(relay->writes_count > 0);
    relay->writes_count--;
    relay_settle(reactor, relay);
}

void relay_pushed(struct reactor *reactor, struct relay *relay, int status)
{
    relay->pushed = false;
    relay->link = NULL; // the slots came back with the answer
    relay->status = status;
    reactor->relayed_count += status == 0;
    relay_settle(reactor, relay);
}

void relay_link_lost(struct reactor *reactor, struct link *link)
{
    pawl_list_for_each_safe (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        if (relay->link == link && !relay->pushed) { // the others end with their PUSH
            relay_fail(relay, PAWL_EDISCONNECTED);
            relay_settle(reactor, relay);
        }
    }
}

void relay_session_closed(struct reactor *reactor, struct session *session)
{
    pawl_list_for_each_safe (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        if (relay->session != session) {
            continue;
        }
        relay->session = NULL;
        relay->ended = true;
        if (!relay->pushed) {
            relay_fail(relay, PAWL_EDISCONNECTED);
        }
        relay->request = 0;
        relay_settle(reactor, relay);
    }
}

void relay_tick(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        if (reactor->now_ns < relay->deadline_ns) {
            continue;
        }
        if (!relay->ended && relay->link != NULL) {
            relay_fail(relay, PAWL_EDEADLINE); // its slots there are wanted by others
        } else if (relay->request != 0) {
            relay_answer(reactor, relay, PAWL_EDEADLINE);
            relay_settle(reactor, relay);
        }
    }
}

void relay_free_all(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->relays) {
        struct relay *relay = pawl_container_of(node, struct relay, node);
        pawl_list_remove(&relay->node);
        window_unuse(&reactor->buffers, relay->window);
        free(relay);
    }
}
