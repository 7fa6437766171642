// SPDX-License-Identifier: Apache-2.0
// Sending to peers: requests in order, payloads by star or by chain.
//
// What is sent to a peer goes out in the order in which the core asked for it: while the first one waits for
// the connection, for slots of the peer's window or for a message credit, the others wait behind it. By
// chain (peer_chain.c) the first of two secondaries gets the payload in slices and forwards them to the second, which
// gets the PREPARE without it.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdio.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

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

void send_end(struct reactor *reactor, struct send *send, int status)
{
    pawl_list_remove(&send->node); // before anything that may end other sends
    if (send->kind == SEND_PREPARE && send->link == NULL) {
        chain_end(reactor, send);
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
    if (send->pair != 0 && status != 0) {
        struct wire_push push =
            send->kind == SEND_PUSH ? send->message.push : push_of(&send->message.prepare);
        chain_bring(reactor, send->pair, &push, send->payload);
    }
    payload_unuse(reactor, send->payload);
    slab_put(&reactor->sends, send->name);
}

// ---- sending ----------------------------------------------------------------------------------

uint32_t link_slots_count(const struct link *link, const struct send *send)
{
    if (send->payload == NULL || send->payload->rows != NULL ||
        send->payload->length <= WIRE_INLINE_MAX) {
        return 0; // a run is inline, however long it is
    }
    return (send->payload->length + link->slot_bytes - 1) / link->slot_bytes;
}

// Writes bytes of a payload into the slots of the peer's window. The message that names them follows.
static int link_write(struct reactor *reactor, struct link *link, const struct send *send,
                      struct payload *payload, uint32_t offset, uint32_t bytes)
{
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
    return (link_slots_count(link, send) + slices - 1) / slices * link->slot_bytes;
}

uint32_t link_slices_count(const struct link *link, const struct send *send)
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

int link_send_push(struct reactor *reactor, struct link *link, struct send *send,
                   struct payload *payload)
{
    struct wire_push *push = &send->message.push;
    push->slot_first = send->slot_first;
    push->slot_count = send->slot_count;
    wire_header_init(&push->header, WIRE_PUSH, sizeof(*push), send->name);
    int code = link_write(reactor, link, send, payload, 0, push->length);
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
            push->pair = send->pair;
            send->pair = 0;
            push->payload = send->payload;
            payload_use(push->payload);
        }
        push->link = link;
        link->requests_count++;
        pawl_list_push_back(&link->sent, &push->node);
        int code = link_write(reactor, link, send, send->payload, offset, bytes);
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
    if (send->keeps) { // its payload comes by another server
        prepare->slot_first = 0;
        prepare->slot_count = 0;
        payload = NULL;
    }
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
    if (prepare->slot_count > 0) {
        int code = link_slice_bytes(link, send) != 0
                       ? link_send_slices(reactor, link, send)
                       : link_write(reactor, link, send, payload, 0, payload->length);
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
    case SEND_HOLD:
        return link_send_hold(link, send);
    case SEND_COMMIT:
    case SEND_PUSH: // these never wait: peer_chain.c, peer_window.c
    case SEND_WINDOW:
        break;
    }
    wire_header_init(&commit->header, WIRE_COMMIT, sizeof(*commit), send->name);
    return fabric_send(link->conn, commit, sizeof(*commit));
}

// The second of a chain keeps a credit for the payload.
static uint32_t link_credits_count(const struct link *link, const struct send *send)
{
    bool is_second = send->pair != 0 && send->relay_to == 0;
    return 1 + link_slices_count(link, send) + (is_second ? 1 : 0);
}

bool link_fits(const struct link *link, const struct send *send)
{
    uint32_t slots = link_slots_count(link, send);
    uint64_t used = link->slots_used;
    return link->requests_count + link_credits_count(link, send) <= link->requests_limit &&
           (slots == 0 || slots_take(&used, link->window_slots, slots) >= 0);
}

void link_issue(struct reactor *reactor, struct link *link, struct send *send)
{
    uint32_t slots = link_slots_count(link, send);
    if (slots > 0) {
        int first = slots_take(&link->slots_used, link->window_slots, slots);
        pawl_assert(first >= 0);
        send->slot_first = (uint16_t)first;
        send->slot_count = (uint16_t)slots;
    }
    link->requests_count += send->keeps ? 2 : 1;
    pawl_list_remove(&send->node);
    pawl_list_push_back(&link->sent, &send->node);
    send->link = link;
    send->since_ns = reactor->now_ns;
    int code = link_send(reactor, link, send);
    if (code != 0) {
        link_give_up(reactor, link, code, pawl_strerror(code));
        return;
    }
    // What was inline is copied or its packet held, and a write has a use of its own: the bytes need not wait for the
    // peer's answer.
    struct payload *payload = send->payload;
    send->payload = NULL;
    payload_unuse(reactor, payload);
}

// False: it waits, and what is behind it.
static bool link_pass(struct reactor *reactor, struct link *link, struct send *send)
{
    uint32_t slots = link_slots_count(link, send);
    // Records of ours are not to go through what is enough for relays for ever.
    if (slots > 0 && link->window_spare && link->window_slots > 0 && !link_fits(link, send)) {
        link->window_yields = true;
    }
    if (slots > 0 && !link_window_serves(link, slots)) {
        chain_end(reactor, send);
        link_window_ask(reactor, link, slots); // the send may end in here
        return false;
    }
    enum chain_turn turn = chain_turn(reactor, link, send);
    if (turn != CHAIN_NONE) {
        return turn == CHAIN_GOES;
    }
    if (!link_fits(link, send)) {
        return false;
    }
    link_issue(reactor, link, send);
    return true;
}

static void link_pump_now(struct reactor *reactor, struct link *link)
{
    struct pawl_list *node;
    while (link->state == LINK_OPEN && (node = pawl_list_first(&link->waiting)) != NULL) {
        if (!link_pass(reactor, link, pawl_container_of(node, struct send, node))) {
            return;
        }
    }
}

void link_pump_soon(struct reactor *reactor, struct link *link)
{
    if (pawl_list_is_empty(&link->pumps)) {
        pawl_list_push_back(&reactor->pumps, &link->pumps);
    }
}

void links_pump(struct reactor *reactor)
{
    struct pawl_list *node;
    if (reactor->pumping) {
        return; // it is done below
    }
    reactor->pumping = true;
    while ((node = pawl_list_pop_front(&reactor->pumps)) != NULL) {
        link_pump_now(reactor, pawl_container_of(node, struct link, pumps));
    }
    reactor->pumping = false;
}

void link_pump(struct reactor *reactor, struct link *link)
{
    link_pump_soon(reactor, link);
    links_pump(reactor);
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

static void peer_queue(struct reactor *reactor, struct send *send)
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
    pawl_list_push_back(&peer->link->waiting, &send->node);
    link_pump_soon(reactor, peer->link);
}

void peer_send(struct reactor *reactor, struct send *send)
{
    peer_queue(reactor, send);
    links_pump(reactor);
}

static bool by_chain(const struct reactor *reactor, const struct chunk_action *action)
{
    uint32_t least = reactor->options.chain_bytes;
    return action->payload != 0 && least != 0 && action->prepare.length >= least &&
           action->prepare.length > WIRE_INLINE_MAX && action->prepare.run_count == 0;
}

void peer_prepare(struct reactor *reactor, const struct chunk_action *action)
{
    struct send *send = send_new(reactor, SEND_PREPARE, action->server);
    if (send == NULL) {
        post_prepared(reactor, action->server, &action->prepare, PAWL_EBUSY);
        return;
    }
    send->message.prepare = action->prepare;
    send->payload = payload_find(reactor, action->payload);
    if (send->payload != NULL) {
        payload_use(send->payload);
    }
    pawl_assert((send->payload == NULL) == (action->payload == 0));
    if (by_chain(reactor, action) && action->relay_to != 0) {
        chain_first(reactor, send, action);
        peer_queue(reactor, send); // the other one comes next
        return;
    }
    if (by_chain(reactor, action) && action->relayed_by != 0) {
        chain_second(reactor, send, action);
    }
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
    if (link->state != LINK_OPEN || !pawl_list_is_empty(&link->waiting)) {
        return NULL;
    }
    if (!link_window_serves(link, push->slot_count)) {
        link_window_spare(reactor, link, push->slot_count);
        return NULL;
    }
    int first = slots_take(&link->slots_used, link->window_slots, push->slot_count);
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
    if (link->state == LINK_OPEN && link->requests_count < link->requests_limit) {
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
