// SPDX-License-Identifier: Apache-2.0
// Sending to peers: requests in order, payloads by star or by chain.
//
// What is sent to a peer goes out in the order in which the core asked for it: while the first one waits for
// the connection, for slots of the peer's window or for a message credit, the others wait behind it. By
// chain (docs/decisions/0024) the first of two secondaries gets the payload in slices and forwards them to
// the second, which gets the PREPARE without it; if the chain fails the payload goes there by star.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdio.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

static void push_by_star(struct reactor *reactor, uint64_t server_id, const struct wire_push *push,
                         struct payload *payload);

// ---- what is being sent -----------------------------------------------------------------------

struct send *send_new(struct reactor *reactor, enum send_kind kind, uint64_t server_id)
{
    uint64_t name;
    struct send *send = slab_get(&reactor->sends, &name);
    if (send != NULL) {
        send->name = name;
        send->kind = kind;
        send->server_id = server_id;
        send->since_ns = reactor->now_ns;
        pawl_list_init(&send->node);
    }
    return send;
}

static void post_prepared(struct reactor *reactor, uint64_t server_id,
                          const struct wire_prepare *prepare, int status)
{
    if ((prepare->flags & WIRE_PREPARE_PUSH_ONLY) != 0) {
        push_only_prepared(reactor, prepare->index, status);
        return;
    }
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_PREPARED);
    event.server = server_id;
    event.handle = prepare->chunk;
    event.version = prepare->version;
    event.index = wire_prepare_last(prepare);
    event.status = status;
    reactor_post(reactor, &event);
}

static void post_held(struct reactor *reactor, uint64_t server_id, const struct wire_hold *hold,
                      int status)
{
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_HELD);
    event.server = server_id;
    event.handle = hold->chunk;
    event.version = hold->version;
    event.index = hold->count;
    event.status = status;
    reactor_post(reactor, &event);
}

void post_fetch_failed(struct reactor *reactor, uint64_t token, int status)
{
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_FETCHED);
    event.token = token;
    event.status = status;
    reactor_post(reactor, &event);
}

static struct wire_push push_of(const struct wire_prepare *prepare)
{
    return (struct wire_push){.chunk = prepare->chunk,
                              .version = prepare->version,
                              .id = prepare->id,
                              .length = prepare->length};
}

static bool send_is_pledge(const struct send *send)
{
    return send->kind == SEND_PREPARE && (send->message.prepare.flags & WIRE_PREPARE_PUSHED) != 0;
}

void send_end(struct reactor *reactor, struct send *send, int status)
{
    pawl_list_remove(&send->node); // before anything that may end other sends
    if (send_is_pledge(send) && send->link != NULL && --send->link->pledges_count == 0) {
        send->link->pledged_slots = 0;
    }
    if (send->kind == SEND_PREPARE && !send->covered) {
        post_prepared(reactor, send->server_id, &send->message.prepare, status);
    } else if (send->kind == SEND_HOLD) {
        post_held(reactor, send->server_id, &send->message.hold, status);
    } else if (send->kind == SEND_FETCH && status != 0) {
        post_fetch_failed(reactor, send->token, status);
    } else if (send->kind == SEND_PUSH && send->relay != NULL) {
        relay_pushed(reactor, send->relay, status);
    }
    if (send->relay_to != 0 && status != 0) {
        struct wire_push push =
            send->kind == SEND_PUSH ? send->message.push : push_of(&send->message.prepare);
        push_by_star(reactor, send->relay_to, &push, send->payload);
    }
    payload_unuse(reactor, send->payload);
    slab_put(&reactor->sends, send->name);
}

// ---- sending ----------------------------------------------------------------------------------

static uint32_t send_slots_count(const struct link *link, const struct send *send)
{
    if (send->payload == NULL || send->payload->length <= WIRE_INLINE_MAX) {
        return 0;
    }
    return (send->payload->length + link->slot_bytes - 1) / link->slot_bytes;
}

// Writes bytes of a payload into the slots of the peer's window. The message that names them follows.
static int link_write(struct reactor *reactor, struct link *link, struct send *send,
                      uint32_t offset, uint32_t bytes)
{
    struct payload *payload = send->payload;
    struct io *io = io_new(reactor, IO_FORWARD);
    if (io == NULL) {
        return PAWL_EBUSY;
    }
    uint64_t remote = link->window_address + (uint64_t)send->slot_first * link->slot_bytes + offset;
    int code = fabric_write(link->conn, reactor->buffers.locals[link->fabric],
                            payload->bytes + offset, bytes, remote, link->window_key, io->name);
    if (code != 0) {
        io_free(reactor, io);
        return code;
    }
    payload_use(payload);
    io->payload = payload;
    return 0;
}

// At most CHUNKD_SLICES_MAX slices of whole slots, which take no more than half of the credits. 0: none.
static uint32_t link_slice_bytes(const struct link *link, const struct send *send)
{
    uint32_t slices = PAWL_MIN(CHUNKD_SLICES_MAX, (link->requests_limit - 1) / 2);
    if (slices == 0 || send->relay_to == 0 || send->kind != SEND_PREPARE) {
        return 0;
    }
    return (send_slots_count(link, send) + slices - 1) / slices * link->slot_bytes;
}

static uint32_t link_slices_count(const struct link *link, const struct send *send)
{
    uint32_t bytes = link_slice_bytes(link, send);
    return bytes == 0 ? 0 : (send->payload->length + bytes - 1) / bytes;
}

static int link_send_slice(struct reactor *reactor, struct link *link, struct send *send)
{
    struct wire_push *push = &send->message.push;
    const struct peer *next =
        push->offset == 0 ? peer_find(reactor, push->next, push->chunk) : NULL;
    uint32_t bytes = next != NULL ? (uint32_t)strlen(next->addresses) : 0;
    wire_header_init(&push->header, WIRE_PUSH, (uint32_t)sizeof(*push) + bytes, send->name);
    return fabric_send2(link->conn, push, sizeof(*push), next != NULL ? next->addresses : NULL,
                        bytes);
}

static int link_send_push(struct reactor *reactor, struct link *link, struct send *send)
{
    struct wire_push *push = &send->message.push;
    push->slot_first = send->slot_first;
    push->slot_count = send->slot_count;
    wire_header_init(&push->header, WIRE_PUSH, sizeof(*push), send->name);
    int code = link_write(reactor, link, send, 0, push->length);
    return code != 0 ? code : fabric_send(link->conn, push, sizeof(*push));
}

// The slices of a payload that goes by chain, each with the message that lets it be forwarded. The answer to
// the last one says whether it arrived.
static int link_send_slices(struct reactor *reactor, struct link *link, struct send *send)
{
    const struct payload *payload = send->payload;
    uint32_t step = link_slice_bytes(link, send);
    for (uint32_t offset = 0; offset < payload->length; offset += step) {
        struct send *push = send_new(reactor, SEND_PUSH, send->server_id);
        if (push == NULL) {
            return PAWL_EBUSY;
        }
        uint32_t bytes = PAWL_MIN(step, payload->length - offset);
        push->message.push = push_of(&send->message.prepare);
        push->message.push.next = send->relay_to;
        push->message.push.offset = offset;
        push->message.push.bytes = bytes;
        push->message.push.slot_first = send->slot_first;
        push->message.push.slot_count = send->slot_count;
        if (offset + bytes == payload->length) { // from here on it answers for the payload
            push->relay_to = send->relay_to;
            push->payload = send->payload;
            payload_use(push->payload);
            send->relay_to = 0;
        }
        push->link = link;
        link->requests_count++;
        pawl_list_push_back(&link->sent, &push->node);
        int code = link_write(reactor, link, send, offset, bytes);
        code = code == 0 ? link_send_slice(reactor, link, push) : code;
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int link_send_prepare(struct reactor *reactor, struct link *link, struct send *send)
{
    struct wire_prepare *prepare = &send->message.prepare;
    struct payload *payload = send->payload;
    prepare->slot_first = send->slot_first;
    prepare->slot_count = send->slot_count;
    uint32_t inline_bytes = send->slot_count == 0 && payload != NULL ? payload->length : 0;
    uint32_t rows_bytes = wire_rows_bytes(prepare->run_count);
    wire_header_init(&prepare->header, WIRE_PREPARE,
                     (uint32_t)sizeof(*prepare) + rows_bytes + inline_bytes, send->name);
    if (inline_bytes > 0) {
        struct iovec pieces[] = {
            {.iov_base = prepare, .iov_len = sizeof(*prepare)},
            {.iov_base = (void *)(uintptr_t)payload->rows, .iov_len = rows_bytes},
            {.iov_base = payload->bytes, .iov_len = inline_bytes}};
        return fabric_send_from(link->conn, pieces, PAWL_ARRAY_COUNT(pieces), payload->packet);
    }
    if (send->slot_count > 0) {
        int code = link_slice_bytes(link, send) != 0
                       ? link_send_slices(reactor, link, send)
                       : link_write(reactor, link, send, 0, payload->length);
        if (code != 0) {
            return code;
        }
    }
    return fabric_send(link->conn, prepare, sizeof(*prepare));
}

static int link_send_fetch(struct link *link, struct send *send)
{
    struct wire_fetch *fetch = &send->message.fetch;
    const struct landing *landing = send->landing;
    const struct fabric_region *region = landing->regions[link->fabric];
    fetch->buffer_address = fabric_region_remote(region, landing->bytes);
    fetch->buffer_key = fabric_region_key(region);
    wire_header_init(&fetch->header, WIRE_FETCH, sizeof(*fetch), send->name);
    return fabric_send(link->conn, fetch, sizeof(*fetch));
}

static int link_send_hold(struct link *link, struct send *send)
{
    struct wire_hold *hold = &send->message.hold;
    wire_header_init(&hold->header, WIRE_HOLD, sizeof(*hold), send->name);
    return fabric_send(link->conn, hold, sizeof(*hold));
}

static int link_send(struct reactor *reactor, struct link *link, struct send *send)
{
    struct wire_commit *commit = &send->message.commit;
    switch (send->kind) {
    case SEND_PREPARE:
        return link_send_prepare(reactor, link, send);
    case SEND_FETCH:
        return link_send_fetch(link, send);
    case SEND_PUSH:
        return link_send_push(reactor, link, send);
    case SEND_HOLD:
        return link_send_hold(link, send);
    case SEND_COMMIT:
    case SEND_WINDOW: // never waits: peer_window.c
        break;
    }
    wire_header_init(&commit->header, WIRE_COMMIT, sizeof(*commit), send->name);
    return fabric_send(link->conn, commit, sizeof(*commit));
}

// Slots that a send may take. A payload that a chain did not bring may take those that were pledged to it.
static uint32_t link_slots_limit(const struct link *link, const struct send *send)
{
    bool pledged = send != NULL && send->kind == SEND_PUSH;
    uint32_t kept = pledged ? 0 : PAWL_MIN(link->pledged_slots, link->window_slots);
    return link->window_slots - kept;
}

// False: it has to wait for a credit or for slots.
static bool link_takes(struct link *link, struct send *send, uint32_t slots)
{
    // A credit is kept for a payload that the chain does not bring: others may wait for that one.
    uint32_t kept = send->kind != SEND_PUSH && link->pledges_count > 0 && link->requests_limit > 1;
    if (link->requests_count + link_slices_count(link, send) + kept >= link->requests_limit) {
        return false;
    }
    if (slots > 0) {
        int first = slots_take(&link->slots_used, link_slots_limit(link, send), slots);
        if (first < 0) {
            return false;
        }
        send->slot_first = (uint16_t)first;
        send->slot_count = (uint16_t)slots;
    }
    if (send_is_pledge(send)) {
        link->pledges_count++;
        uint32_t wanted = (send->message.prepare.length + link->slot_bytes - 1) / link->slot_bytes;
        link->pledged_slots = PAWL_MAX(link->pledged_slots, wanted);
    }
    return true;
}

// What was inline is copied, or its packet is held by the one that goes out; a write has a use of its own. So
// the bytes need not wait for the peer's answer. To a peer that takes no slices they have gone by star, and to
// the next one too.
static void send_leave_payload(struct reactor *reactor, struct send *send)
{
    struct payload *payload = send->payload;
    uint64_t relay_to = send->relay_to;
    send->payload = NULL;
    send->relay_to = 0; // the send may end in here
    if (relay_to != 0) {
        struct wire_push push = push_of(&send->message.prepare);
        push_by_star(reactor, relay_to, &push, payload);
    }
    payload_unuse(reactor, payload);
}

void link_pump(struct reactor *reactor, struct link *link)
{
    struct pawl_list *node;
    while (link->state == LINK_OPEN && (node = pawl_list_first(&link->waiting)) != NULL) {
        struct send *send = pawl_container_of(node, struct send, node);
        uint32_t slots = send_slots_count(link, send);
        if (slots > 0 && !link_window_serves(reactor, link, send, slots)) {
            return;
        }
        if (!link_takes(link, send, slots)) {
            return;
        }
        pawl_list_remove(&send->node);
        pawl_list_push_back(&link->sent, &send->node);
        send->link = link;
        link->requests_count++;
        send->since_ns = reactor->now_ns;
        int code = link_send(reactor, link, send);
        if (code != 0) {
            link_give_up(reactor, link, code, pawl_strerror(code));
            return;
        }
        send_leave_payload(reactor, send);
    }
}

// A payload passes those that may wait for it, but not an earlier one.
static struct pawl_list *link_place(struct link *link, const struct send *send)
{
    struct pawl_list *place = &link->waiting;
    if (send->kind == SEND_PUSH) {
        do {
            place = place->next;
        } while (place != &link->waiting &&
                 pawl_container_of(place, struct send, node)->kind == SEND_PUSH);
    }
    return place;
}

static uint64_t send_chunk(const struct send *send)
{
    switch (send->kind) {
    case SEND_PREPARE:
        return send->message.prepare.chunk;
    case SEND_COMMIT:
        return send->message.commit.chunk;
    case SEND_PUSH:
        return send->message.push.chunk;
    case SEND_HOLD:
        return send->message.hold.chunk;
    case SEND_FETCH:
    case SEND_WINDOW: // of no chunk
        break;
    }
    return send->message.fetch.chunk;
}

void peer_send(struct reactor *reactor, struct send *send)
{
    struct peer *peer = peer_find(reactor, send->server_id, send_chunk(send));
    int code = peer == NULL ? PAWL_EDISCONNECTED : 0;
    if (code == 0 && peer->link == NULL) {
        code = peer_connect(reactor, peer);
    }
    if (code != 0) {
        if (send->landing != NULL) {
            peer_landing_put(reactor, send->landing);
        }
        send_end(reactor, send, code);
        return;
    }
    pawl_list_insert_before(link_place(peer->link, send), &send->node);
    link_pump(reactor, peer->link);
}

static bool by_chain(const struct reactor *reactor, const struct chunk_action *action)
{
    uint32_t least = reactor->options.chain_bytes;
    return action->payload != 0 && least != 0 && action->prepare.length >= least &&
           action->prepare.length > WIRE_INLINE_MAX;
}

void peer_prepare(struct reactor *reactor, const struct chunk_action *action)
{
    struct send *send = send_new(reactor, SEND_PREPARE, action->server);
    if (send == NULL) {
        post_prepared(reactor, action->server, &action->prepare, PAWL_EBUSY);
        return;
    }
    send->message.prepare = action->prepare;
    bool chain = by_chain(reactor, action);
    if (chain && action->relayed_by != 0) {
        send->message.prepare.flags |= WIRE_PREPARE_PUSHED;
        peer_send(reactor, send);
        return;
    }
    send->relay_to = chain ? action->relay_to : 0;
    send->payload = payload_find(reactor, action->payload);
    if (send->payload != NULL) {
        payload_use(send->payload);
    }
    pawl_assert((send->payload == NULL) == (action->payload == 0));
    peer_send(reactor, send);
}

// A payload that the chain has not brought to a server, or may not have: it is brought there once more, and
// the first to come is taken.
static void push_by_star(struct reactor *reactor, uint64_t server_id, const struct wire_push *push,
                         struct payload *payload)
{
    struct send *send = send_new(reactor, SEND_PUSH, server_id);
    reactor->relays_failed_count++;
    if (send == NULL) {
        return; // the PREPARE that waits for it there is refused in time
    }
    send->message.push = *push;
    send->message.push.next = 0;
    send->message.push.offset = 0;
    send->message.push.bytes = push->length;
    send->payload = payload;
    payload_use(payload);
    peer_send(reactor, send);
}

// What a PUSH says of a server's addresses is news only if nothing is known of it: the master's word is newer.
static void peer_learn_next(struct reactor *reactor, const struct wire_push *push,
                            const char *addresses)
{
    uint32_t count = 0;
    pawl_list_for_each (node, &reactor->peers) {
        const struct peer *peer = pawl_container_of(node, struct peer, node);
        count++;
        if (peer->server_id == push->next) {
            addresses = peer->addresses;
        }
    }
    if (addresses[0] != '\0' && count < CHUNKD_CONNECTIONS_COUNT) {
        char known[CHUNK_ADDRESS_MAX];
        snprintf(known, sizeof(known), "%s", addresses);
        peer_learn(reactor, push->next, known, push->chunk);
    }
}

struct link *peer_slots_take(struct reactor *reactor, const struct wire_push *push,
                             const char *addresses, uint16_t *ret_first)
{
    if (push->next == reactor->server_id) {
        return NULL;
    }
    struct peer *peer = peer_find(reactor, push->next, push->chunk);
    struct link *link = peer != NULL ? peer->link : NULL;
    if (link == NULL) {
        peer_learn_next(reactor, push, addresses);
        return NULL;
    }
    // What waits came first.
    // And where windows are scarce the primary's PREPARE may wait for the very one that the payload would lie in.
    if (link->state != LINK_OPEN || !pawl_list_is_empty(&link->waiting) ||
        reactor->now_ns < link->scarce_until_ns ||
        !link_window_serves(reactor, link, NULL, push->slot_count)) {
        return NULL;
    }
    int first = slots_take(&link->slots_used, link_slots_limit(link, NULL), push->slot_count);
    *ret_first = (uint16_t)PAWL_MAX(first, 0);
    return first < 0 ? NULL : link;
}

void peer_slots_put(struct link *link, uint16_t first, uint16_t count)
{
    link->slots_used &= ~slots_mask(first, count);
}

bool peer_push(struct reactor *reactor, struct link *link, struct relay *relay)
{
    struct send *send = NULL;
    uint32_t kept = link->pledges_count > 0;
    if (link->state == LINK_OPEN && link->requests_count + kept < link->requests_limit) {
        send = send_new(reactor, SEND_PUSH, link->peer->server_id);
    }
    if (send == NULL) {
        return false;
    }
    struct wire_push *push = &send->message.push;
    *push = relay->push;
    push->next = 0;
    push->offset = 0;
    push->bytes = push->length;
    push->slot_first = relay->slot_first;
    wire_header_init(&push->header, WIRE_PUSH, sizeof(*push), send->name);
    if (fabric_send(link->conn, push, sizeof(*push)) != 0) {
        slab_put(&reactor->sends, send->name); // the connection ends
        return false;
    }
    send->relay = relay;
    send->link = link;
    send->slot_first = relay->slot_first;
    send->slot_count = push->slot_count;
    link->requests_count++;
    pawl_list_push_back(&link->sent, &send->node);
    return true;
}

void peer_commit(struct reactor *reactor, const struct chunk_action *action)
{
    struct send *send = send_new(reactor, SEND_COMMIT, action->server);
    if (send != NULL) {
        send->message.commit = action->commit;
        peer_send(reactor, send);
    }
}

void peer_hold(struct reactor *reactor, const struct chunk_action *action)
{
    struct send *send = send_new(reactor, SEND_HOLD, action->server);
    if (send == NULL) {
        post_held(reactor, action->server, &action->hold, PAWL_EBUSY);
        return;
    }
    send->message.hold = action->hold;
    peer_send(reactor, send);
}
