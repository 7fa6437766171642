// SPDX-License-Identifier: Apache-2.0
// Peers: the chunk servers that this one sends records to, or fetches records from.
//
// There is no resending: when a connection breaks, is refused or misses a deadline, it is given up with all
// that was sent or waits on it, the core hears of each, and what comes later goes by a new connection.
// What is sent, and how: peer_send.c.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "dataplane/chunkd/chunkd_private.h"

static struct pawl_log_limit peer_log_limit;

// ---- connections ------------------------------------------------------------------------------

struct peer *peer_find(struct reactor *reactor, uint64_t server_id, uint64_t handle)
{
    pawl_list_for_each (node, &reactor->peers) {
        struct peer *peer = pawl_container_of(node, struct peer, node);
        if (peer->server_id == server_id &&
            (peer->reactors_count == 1 ||
             peer->number ==
                 reactor_of(chunk_core_owner(reactor->core, handle), peer->reactors_count))) {
            return peer;
        }
    }
    return NULL;
}

// Our fabrics in our order: the first that the peer offers too. 0, or PAWL_EPROVIDER.
static int address_choose(const struct reactor *reactor, const char *addresses,
                          uint32_t *ret_fabric, char ret[PAWL_ADDRESS_BYTES_MAX])
{
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        if (pawl_addresses_find(addresses, reactor->options.fabrics[i].provider, ret) == 0) {
            *ret_fabric = i;
            return 0;
        }
    }
    return PAWL_EPROVIDER;
}

bool peer_reachable(struct reactor *reactor, const Pawl__Member *member)
{
    uint32_t fabric;
    char address[PAWL_ADDRESS_BYTES_MAX];
    if (member == NULL || member->server_id == reactor->server_id ||
        address_choose(reactor, member->fabric_address, &fabric, address) == 0) {
        return true; // or nothing that the core would take
    }
    char theirs[PAWL_ADDRESSES_BYTES_MAX];
    char ours[PAWL_ADDRESSES_BYTES_MAX];
    pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN,
                     "server %s offers %s only, this one %s: add one of them to `fabrics:` of "
                     "either",
                     member->name, pawl_addresses_providers(member->fabric_address, theirs),
                     pawl_addresses_providers(reactor->addresses, ours));
    return false;
}

int peer_connect(struct reactor *reactor, struct peer *peer)
{
    uint32_t fabric;
    char range[PAWL_ADDRESS_BYTES_MAX];
    char address[PAWL_ADDRESS_BYTES_MAX];
    int code = address_choose(reactor, peer->addresses, &fabric, range);
    code = code != 0 ? code : pawl_address_of_reactor(range, peer->number, address);
    if (code != 0) {
        pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN, "server %llx at %s can't be reached: %s",
                         (unsigned long long)peer->server_id, peer->addresses, pawl_strerror(code));
        return code;
    }
    struct link *link = calloc(1, sizeof(*link));
    if (link == NULL) {
        return -ENOMEM;
    }
    link->endpoint.kind = ENDPOINT_LINK;
    link->state = LINK_CONNECTING;
    link->peer = peer;
    link->fabric = fabric;
    pawl_list_init(&link->waiting);
    pawl_list_init(&link->sent);
    pawl_list_init(&link->pumps);
    code = fabric_connect(reactor->fabrics[fabric], address, CHUNKD_CONNECT_MS, link, &link->conn);
    if (code != 0) {
        pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN, "server %llx at %s can't be reached: %s",
                         (unsigned long long)peer->server_id, address, pawl_strerror(code));
        free(link);
        return code;
    }
    pawl_list_push_back(&reactor->links, &link->node);
    peer->link = link;
    return 0;
}

static uint32_t addresses_reactors(const struct reactor *reactor, const char *addresses)
{
    uint32_t fabric;
    char address[PAWL_ADDRESS_BYTES_MAX];
    int code = address_choose(reactor, addresses, &fabric, address);
    return code == 0 ? pawl_address_reactors(address) : 1;
}

static void peer_move(struct reactor *reactor, struct peer *peer, const char *addresses)
{
    if (strncmp(peer->addresses, addresses, sizeof(peer->addresses)) == 0) {
        return;
    }
    // The server was restarted somewhere else: the old connection leads to nobody.
    if (peer->link != NULL) {
        link_give_up(reactor, peer->link, PAWL_EDISCONNECTED, "it has a new address");
    }
    size_t bytes = strnlen(addresses, sizeof(peer->addresses) - 1);
    memcpy(peer->addresses, addresses, bytes);
    peer->addresses[bytes] = '\0';
    peer->reactors_count = addresses_reactors(reactor, peer->addresses);
}

void peer_learn(struct reactor *reactor, uint64_t server_id, const char *addresses, uint64_t handle)
{
    pawl_list_for_each (node, &reactor->peers) {
        struct peer *known = pawl_container_of(node, struct peer, node);
        if (known->server_id == server_id) {
            peer_move(reactor, known, addresses);
        }
    }
    struct peer *peer = peer_find(reactor, server_id, handle);
    if (peer == NULL) {
        peer = calloc(1, sizeof(*peer));
        if (peer == NULL) {
            return; // what is sent to it fails, and the master hears of it
        }
        peer->server_id = server_id;
        peer->reactors_count = 1;
        peer_move(reactor, peer, addresses);
        peer->number = reactor_of(chunk_core_owner(reactor->core, handle), peer->reactors_count);
        pawl_list_push_back(&reactor->peers, &peer->node);
    }
    if (peer->link == NULL && peer_connect(reactor, peer) != 0) {
        return; // the first send tries again
    }
}

// Ends everything on the link and takes it off its peer, so that the next send makes a new one. The
// link itself stays until the fabric says that the endpoint is gone: landings may be written until
// then.
void link_give_up(struct reactor *reactor, struct link *link, int status, const char *why)
{
    if (link->peer == NULL) {
        return;
    }
    struct peer *peer = link->peer;
    pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN, "connection to server %llx at %s lost: %s",
                     (unsigned long long)peer->server_id, fabric_conn_peer(link->conn), why);
    peer->link = NULL;
    link->peer = NULL;
    if (link->state != LINK_CLOSING) {
        link->state = LINK_CLOSING;
        fabric_conn_close(link->conn, status);
    }
    relay_link_lost(reactor, link);
    pawl_list_append_all(&link->sent, &link->waiting);
    struct pawl_list *node;
    while ((node = pawl_list_first(&link->sent)) != NULL) {
        struct send *send = pawl_container_of(node, struct send, node);
        if (send->landing != NULL) {
            link->landings |= 1u << send->landing->number;
        }
        send_end(reactor, send, status);
    }
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_PEER_DOWN);
    event.server = peer->server_id;
    event.status = status;
    reactor_post(reactor, &event);
}

void peer_connected(struct reactor *reactor, struct link *link)
{
    if (link->peer == NULL) {
        return;
    }
    struct wire_hello hello;
    memset(&hello, 0, sizeof(hello));
    wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello), 1);
    hello.cluster_id = reactor->cluster_id;
    hello.server_id = reactor->server_id;
    hello.incarnation = reactor->incarnation;
    hello.target_id = link->peer->server_id;
    hello.reactor = (uint16_t)link->peer->number;
    hello.reactors_count = wire_reactors_count(link->peer->reactors_count);
    link->state = LINK_GREETING;
    link->deadline_ns = reactor->now_ns + CHUNKD_CONNECT_MS * PAWL_NS_PER_MS;
    int code = fabric_send(link->conn, &hello, sizeof(hello));
    if (code != 0) {
        link_give_up(reactor, link, code, pawl_strerror(code));
    }
}

// ---- fetches ----------------------------------------------------------------------------------

// Gives waiting fetches the landings that are free.
static void fetches_pump(struct reactor *reactor)
{
    struct landing *landing;
    while (!pawl_list_is_empty(&reactor->fetches) &&
           (landing = buffers_landing_get(&reactor->buffers)) != NULL) {
        struct pawl_list *node = pawl_list_pop_front(&reactor->fetches);
        struct send *send = pawl_container_of(node, struct send, node);
        send->landing = landing;
        peer_send(reactor, send);
    }
}

void peer_landing_put(struct reactor *reactor, struct landing *landing)
{
    // Waiting fetches get it in the next turn: this may be called from anywhere.
    buffers_landing_put(&reactor->buffers, landing);
}

void peer_fetch(struct reactor *reactor, const struct chunk_action *action)
{
    struct send *send = send_new(reactor, SEND_FETCH, action->server);
    if (send == NULL) {
        post_fetch_failed(reactor, action->token, PAWL_EBUSY);
        return;
    }
    send->message.fetch = action->fetch;
    send->token = action->token;
    // A copy holds what it fetched out of order in landings until this one comes: behind others it could wait for them,
    // and they for its landings. The one that it came in goes to it, so there is one for each of these.
    if (action->again) {
        pawl_list_push_front(&reactor->fetches, &send->node);
    } else {
        pawl_list_push_back(&reactor->fetches, &send->node);
    }
    fetches_pump(reactor);
}

// Those that no landing came free for.
static void fetches_tick(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->fetches) {
        struct send *send = pawl_container_of(node, struct send, node);
        if (reactor->now_ns >= send->since_ns + CHUNKD_LANDING_MS * PAWL_NS_PER_MS) {
            pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN,
                             "chunk %llu: no landing came free in time for what is to be fetched",
                             (unsigned long long)send->message.fetch.chunk);
            send_end(reactor, send, PAWL_EDEADLINE);
        }
    }
}

// The record has landed: its bytes become a payload of the core's.
static void fetch_landed(struct reactor *reactor, struct send *send,
                         const struct wire_fetched *fetched)
{
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_FETCHED);
    struct landing *landing = send->landing;
    event.token = send->token;
    event.server = send->server_id;
    event.status = fetched->header.status;
    event.message = event.status == 0 ? &fetched->header : NULL; // a refusal may be a bare header
    struct payload *payload = NULL;
    if (event.status == 0 && fetched->length > 0) {
        payload = payload_new(reactor, PAYLOAD_LANDING);
        if (payload == NULL) {
            event.status = PAWL_EBUSY;
        }
    }
    if (payload != NULL) {
        payload->landing = landing;
        payload->bytes = landing->bytes;
        payload->length = fetched->length;
        payload->crc = pawl_crc32c(0, landing->bytes, fetched->length);
        if (payload->crc != fetched->crc) {
            pawl_log_limited(&peer_log_limit, PAWL_LOG_WARN,
                             "chunk %llu: what came from server %llx does not match its checksum",
                             (unsigned long long)fetched->chunk,
                             (unsigned long long)send->server_id);
        }
        event.payload = payload->name;
        event.payload_crc = payload->crc;
        event.bytes = payload->bytes;
    } else {
        peer_landing_put(reactor, landing);
    }
    send->landing = NULL;
    send_end(reactor, send, 0);
    reactor_step(reactor, &event);
}

// ---- receiving --------------------------------------------------------------------------------

static void link_welcome(struct reactor *reactor, struct link *link,
                         const struct wire_welcome *welcome)
{
    if (welcome->header.status != 0) {
        link_give_up(reactor, link, welcome->header.status, pawl_strerror(welcome->header.status));
        return;
    }
    if (welcome->cluster_id != reactor->cluster_id || welcome->server_id != link->peer->server_id ||
        welcome->reactor != link->peer->number) {
        link_give_up(reactor, link, PAWL_ECLUSTER, "another server has this address now");
        return;
    }
    if (welcome->window_slots > WIRE_WINDOW_SLOTS_MAX || welcome->slot_bytes != WIRE_SLOT_BYTES ||
        welcome->requests_count == 0) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, "its window makes no sense");
        return;
    }
    link->state = LINK_OPEN;
    link->window_address = welcome->window_address;
    link->window_key = welcome->window_key;
    link->window_slots = welcome->window_slots;
    link->window_used_ns = reactor->now_ns;
    link->slot_bytes = welcome->slot_bytes;
    // A device has a receive posted for as many replies as we take requests; of tcp the rest waits in the socket.
    link->requests_limit =
        PAWL_MIN(welcome->requests_count, session_requests_limit(reactor, link->fabric, true));
    pawl_log_info("connected to server %llx at %s over %s, window of %u slots",
                  (unsigned long long)link->peer->server_id, fabric_conn_peer(link->conn),
                  reactor->options.fabrics[link->fabric].provider, link->window_slots);
    link_pump(reactor, link);
}

// NULL, or what is wrong with a reply to `send`.
static const char *reply_check(const struct send *send, const struct wire_header *header)
{
    static const uint16_t types[] = {
        [SEND_PREPARE] = WIRE_PREPARE, [SEND_COMMIT] = WIRE_COMMIT, [SEND_FETCH] = WIRE_FETCH,
        [SEND_PUSH] = WIRE_PUSH,       [SEND_HOLD] = WIRE_HOLD,     [SEND_WINDOW] = WIRE_WINDOW,
    };
    if (header->type != (types[send->kind] | WIRE_REPLY)) {
        return "a reply of the wrong type";
    }
    if (header->status != 0) {
        return NULL;
    }
    if (send->kind == SEND_PREPARE) {
        const struct wire_prepared *prepared = (const void *)header;
        const struct wire_prepare *prepare = &send->message.prepare;
        if (prepared->chunk != prepare->chunk || prepared->version != prepare->version ||
            prepared->index != wire_prepare_last(prepare)) {
            return "a reply for another record";
        }
        if ((prepare->flags & WIRE_PREPARE_PUSH_ONLY) != 0 && prepared->earlier_count != 0) {
            return "a push is answered together with others";
        }
    } else if (send->kind == SEND_FETCH) {
        const struct wire_fetched *fetched = (const void *)header;
        if (fetched->chunk != send->message.fetch.chunk ||
            fetched->index != send->message.fetch.index || fetched->length > WIRE_RECORD_MAX) {
            return "a reply for another record, or one that is too long";
        }
    } else if (send->kind == SEND_WINDOW) {
        const struct wire_granted *granted = (const void *)header;
        if (granted->window_slots < send->message.window.slots_needed) {
            return "a window that is smaller than what is needed";
        }
    }
    return NULL;
}

// It was answered: its credit and its slots are ours again.
static void send_answered(const struct reactor *reactor, struct link *link, const struct send *send)
{
    link->requests_count -= send->keeps ? 2 : 1;
    if (send->slot_count > 0) {
        link->slots_used &= ~slots_mask(send->slot_first, send->slot_count);
        link->window_used_ns = reactor->now_ns;
    }
}

static struct send *sent_find(const struct link *link, const struct wire_prepared *prepared,
                              uint64_t index)
{
    pawl_list_for_each (node, &link->sent) { // in order, so that it is among the first
        struct send *send = pawl_container_of(node, struct send, node);
        const struct wire_prepare *prepare = &send->message.prepare;
        if (send->kind == SEND_PREPARE && prepare->chunk == prepared->chunk &&
            prepare->version == prepared->version && prepare->index == index &&
            (prepare->flags & WIRE_PREPARE_PUSH_ONLY) == 0) {
            return send;
        }
    }
    return NULL;
}

// Ends the PREPAREs before `last` that its PREPARED answers, too. The core hears of the last one: it takes one
// count for all. False: there is none of those, or it answers a part of one.
static bool sends_cover(struct reactor *reactor, struct link *link, const struct send *last,
                        const struct wire_prepared *prepared)
{
    uint64_t index = prepared->index - prepared->earlier_count;
    while (index < last->message.prepare.index) {
        struct send *send = sent_find(link, prepared, index);
        if (send == NULL) {
            return false;
        }
        index += wire_records_count(send->message.prepare.run_count);
        send->covered = true;
        send_answered(reactor, link, send);
        send_end(reactor, send, 0);
    }
    return index == last->message.prepare.index;
}

static void link_reply(struct reactor *reactor, struct link *link, const struct wire_header *header)
{
    link->heard_ns = reactor->now_ns;
    if (header->request == 0 && header->type == (WIRE_WINDOW | WIRE_REPLY)) {
        link->window_yields |= (header->flags & WIRE_SCARCE) != 0 && link->window_slots > 0;
        link_window_turn(reactor, link);
        return;
    }
    struct send *send = slab_find(&reactor->sends, header->request);
    if (send == NULL || send->link != link) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, "a reply to a request that was never made");
        return;
    }
    const char *why = reply_check(send, header);
    if (why != NULL) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, why);
        return;
    }
    if (send->kind == SEND_PREPARE && header->status == 0 &&
        !sends_cover(reactor, link, send, (const void *)header)) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, "an answer for a record that was not sent");
        return;
    }
    send_answered(reactor, link, send);
    bool scarce = (header->flags & WIRE_SCARCE) != 0;
    link->window_once = send->kind == SEND_WINDOW && scarce;
    link->window_yields |= scarce && link->window_slots > 0;
    if (send->kind == SEND_WINDOW && header->status != 0) {
        link_give_up(reactor, link, header->status, pawl_strerror(header->status));
        return;
    }
    if (send->kind == SEND_FETCH) {
        fetch_landed(reactor, send, (const void *)header);
    } else {
        if (send->kind == SEND_WINDOW) {
            link_granted(reactor, link, &send->message.window, (const void *)header);
        }
        send_end(reactor, send, header->status);
    }
    link_pump(reactor, link);
    link->window_yields |= link->window_once && link->window_slots > 0;
    link->window_once = false;
    link_window_turn(reactor, link);
}

void peer_message(struct reactor *reactor, struct link *link, const void *message, uint32_t bytes)
{
    if (link->peer == NULL) {
        return;
    }
    const struct wire_header *header = message;
    const char *why = NULL;
    if (wire_check(message, bytes, &why) != 0) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, why != NULL ? why : "malformed message");
    } else if ((header->type & WIRE_REPLY) == 0) {
        link_give_up(reactor, link, PAWL_EPROTOCOL, "a request on a connection that we made");
    } else if (link->state == LINK_GREETING && header->type == (WIRE_HELLO | WIRE_REPLY)) {
        link_welcome(reactor, link, message);
    } else if (link->state == LINK_OPEN) {
        link_reply(reactor, link, header);
    } else {
        link_give_up(reactor, link, PAWL_EPROTOCOL, "a reply before WELCOME");
    }
}

// ---- the end ----------------------------------------------------------------------------------

static void link_free(struct reactor *reactor, struct link *link)
{
    for (unsigned i = 0; i < reactor->buffers.landings_count; i++) {
        if ((link->landings & 1u << i) != 0) {
            peer_landing_put(reactor, &reactor->buffers.landings[i]);
        }
    }
    pawl_list_remove(&link->node);
    pawl_list_remove(&link->pumps);
    free(link);
}

void peer_closed(struct reactor *reactor, struct link *link, int status)
{
    link->state = LINK_CLOSING; // nothing is left to close
    link_give_up(reactor, link, status != 0 ? status : PAWL_EDISCONNECTED,
                 pawl_strerror(status != 0 ? status : PAWL_EDISCONNECTED));
    link_free(reactor, link);
}

static bool link_is_late(const struct reactor *reactor, const struct link *link)
{
    if (link->state == LINK_GREETING) {
        return reactor->now_ns >= link->deadline_ns;
    }
    if (link->state != LINK_OPEN) {
        return false; // what waits, waits for the connection
    }
    pawl_list_for_each (node, &link->sent) {
        const struct send *send = pawl_container_of(node, struct send, node);
        uint64_t ms = send->kind == SEND_FETCH    ? CHUNKD_FETCH_MS
                      : send->kind == SEND_WINDOW ? CHUNKD_GRANT_MS
                                                  : CHUNKD_PREPARE_MS;
        // A HOLD waits for PREPAREs, and one chunk's trouble is its own.
        if (send->kind != SEND_HOLD && reactor->now_ns >= send->since_ns + ms * PAWL_NS_PER_MS) {
            return true;
        }
        if (send->kind != SEND_HOLD && send->kind != SEND_WINDOW) {
            return false; // those behind it were sent later
        }
    }
    return false; // what waits, waits for something that was sent
}

void peer_tick(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->links) {
        struct link *link = pawl_container_of(node, struct link, node);
        if (link->peer != NULL && link_is_late(reactor, link)) {
            link_give_up(reactor, link, PAWL_EDEADLINE, "it does not answer");
        } else if (link->peer != NULL) {
            link_window_tick(reactor, link);
        }
    }
    fetches_tick(reactor);
}

void peer_turn(struct reactor *reactor)
{
    fetches_pump(reactor);
    links_pump(reactor);
}

void peer_free_all(struct reactor *reactor)
{
    pawl_list_for_each_safe (node, &reactor->links) {
        link_free(reactor, pawl_container_of(node, struct link, node));
    }
    pawl_list_for_each_safe (peer_node, &reactor->peers) {
        struct peer *peer = pawl_container_of(peer_node, struct peer, node);
        pawl_list_remove(&peer->node);
        free(peer);
    }
}
