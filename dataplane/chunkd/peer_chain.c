// SPDX-License-Identifier: Apache-2.0
// The start of a chain (docs/decisions/0024): one payload, and a PREPARE to each of two secondaries.
//
// Both PREPAREs go out at the same time, when there are slots and credits for the payload at both servers. Those at
// the second one are kept: if the chain does not bring the payload, it goes there by star, and waits for nothing. So
// what has gone out needs no memory that something else may have, and what has not gone out has none anywhere, nor has
// a relay any for it. Therefore nothing that was sent waits for what was not sent, and no two payloads wait for each
// other.
//
// A PREPARE that could go waits for the other one as long as that one's server answers: links have their PREPAREs in
// one order, so the oldest pair is the first on both. Where a window is missing or wanted by others nothing waits: the
// two part, and each goes by star in its turn.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

void chain_first(struct reactor *reactor, struct send *send, const struct chunk_action *action)
{
    send->relay_to = action->relay_to;
    reactor->chain_first_name = send->name;
}

void chain_second(struct reactor *reactor, struct send *send, const struct chunk_action *action)
{
    struct send *first = slab_find(&reactor->sends, reactor->chain_first_name);
    reactor->chain_first_name = 0;
    if (first != NULL && first->relay_to == send->server_id &&
        first->server_id == action->relayed_by &&
        first->message.prepare.chunk == action->prepare.chunk &&
        first->message.prepare.index == action->prepare.index) {
        first->pair = send->name;
        send->pair = first->name;
    }
}

// Where a send waits; NULL: it doesn't, or not for an open connection.
static struct link *waits_at(struct reactor *reactor, const struct send *send)
{
    const struct peer *peer = send->link == NULL
                                  ? peer_find(reactor, send->server_id, send->message.prepare.chunk)
                                  : NULL;
    return peer != NULL && peer->link != NULL && peer->link->state == LINK_OPEN ? peer->link : NULL;
}

void chain_end(struct reactor *reactor, struct send *send)
{
    struct send *other = slab_find(&reactor->sends, send->pair);
    send->pair = 0;
    send->relay_to = 0;
    struct link *link = other != NULL ? waits_at(reactor, other) : NULL;
    if (link != NULL) {
        other->pair = 0;
        other->relay_to = 0;
        link_pump_soon(reactor, link); // it may go now
    }
}

// Something there is unanswered, and nothing has been answered for a while.
static bool is_silent(const struct reactor *reactor, const struct link *link)
{
    struct pawl_list *node = pawl_list_first(&link->sent);
    if (node == NULL) {
        return false;
    }
    const struct send *oldest = pawl_container_of(node, struct send, node);
    uint64_t since_ns = PAWL_MAX(oldest->since_ns, link->heard_ns);
    return reactor->now_ns >= since_ns + CHUNKD_RELAY_MS * PAWL_NS_PER_MS;
}

// The second's goes first: if it has no luck the first's parts from it in its next turn.
static void issue_both(struct reactor *reactor, struct send *first, struct send *second)
{
    struct link *first_link = waits_at(reactor, first);
    struct link *second_link = waits_at(reactor, second);
    uint64_t names[] = {first->name, second->name};
    second->pair = 0;
    second->keeps = true;
    second->message.prepare.flags |= WIRE_PREPARE_PUSHED;
    link_issue(reactor, second_link, second);
    if (slab_find(&reactor->sends, names[1]) != NULL &&
        slab_find(&reactor->sends, names[0]) == first && first_link->state == LINK_OPEN) {
        link_issue(reactor, first_link, first);
    }
    link_pump_soon(reactor, first_link);
    link_pump_soon(reactor, second_link);
}

enum chain_turn chain_turn(struct reactor *reactor, struct link *link, struct send *send)
{
    if (send->kind != SEND_PREPARE || (send->pair == 0 && send->relay_to == 0)) {
        return CHAIN_NONE;
    }
    struct send *other = slab_find(&reactor->sends, send->pair);
    struct link *other_link = other != NULL ? waits_at(reactor, other) : NULL;
    bool is_first = send->relay_to != 0;
    if (other_link == NULL ||
        !link_window_serves(other_link, link_slots_count(other_link, other)) ||
        link_slices_count(is_first ? link : other_link, is_first ? send : other) == 0 ||
        (is_first ? other_link : link)->requests_limit < 2) {
        chain_end(reactor, send);
        return CHAIN_NONE;
    }
    bool fits = link_fits(link, send);
    if (fits && pawl_list_first(&other_link->waiting) == &other->node &&
        link_fits(other_link, other)) {
        issue_both(reactor, is_first ? send : other, is_first ? other : send);
        return CHAIN_GOES;
    }
    if (link->window_once || is_silent(reactor, other_link)) {
        chain_end(reactor, send);
        return CHAIN_NONE;
    }
    return CHAIN_WAITS;
}

void chain_bring(struct reactor *reactor, uint64_t second, const struct wire_push *push,
                 struct payload *payload)
{
    struct send *prepare = slab_find(&reactor->sends, second);
    if (prepare == NULL) {
        return; // answered: it has come
    }
    struct link *link = prepare->link;
    struct send *send = NULL;
    pawl_assert(link != NULL && prepare->keeps); // it went out first, and this ends once
    reactor->relays_failed_count++;
    if (link->state == LINK_OPEN) {
        send = send_new(reactor, SEND_PUSH, prepare->server_id);
    }
    if (send == NULL) {
        return; // the PREPARE that waits for it there is refused in time
    }
    send->message.push = *push;
    send->message.push.next = 0;
    send->message.push.offset = 0;
    send->message.push.bytes = push->length;
    send->slot_first = prepare->slot_first;
    send->slot_count = prepare->slot_count;
    send->link = link;
    prepare->slot_count = 0; // they are the PUSH's, and so is the credit
    prepare->keeps = false;
    pawl_list_push_back(&link->sent, &send->node);
    int code = link_send_push(reactor, link, send, payload);
    if (code != 0) {
        link_give_up(reactor, link, code, pawl_strerror(code));
    }
}
