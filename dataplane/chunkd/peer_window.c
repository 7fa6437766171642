// SPDX-License-Identifier: Apache-2.0
// The window that a peer grants us: asked for when a payload is to go there, given back when others wait for it or
// when it has not been used for a while.
#include <string.h>

#include <pawl/error.h>

#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

// Gives back what there is. Without a credit it is tried again at the next answer or tick.
static void window_ask(struct reactor *reactor, struct link *link, uint32_t wanted, uint32_t needed)
{
    struct send *send = NULL;
    if (link->state == LINK_OPEN && link->requests_count < link->requests_limit) {
        send = send_new(reactor, SEND_WINDOW, link->peer->server_id);
    }
    if (send == NULL) {
        return;
    }
    struct wire_window *window = &send->message.window;
    memset(window, 0, sizeof(*window));
    wire_header_init(&window->header, WIRE_WINDOW, sizeof(*window), send->name);
    window->slots_wanted = wanted;
    window->slots_needed = needed;
    int code = fabric_send(link->conn, window, sizeof(*window));
    if (code != 0) {
        slab_put(&reactor->sends, send->name);
        link_give_up(reactor, link, code, pawl_strerror(code));
        return;
    }
    send->link = link;
    link->requests_count++;
    pawl_list_push_back(&link->sent, &send->node);
    link->window_slots = 0;
    link->window_yields = false;
    link->window_asked = true;
}

static bool window_is_idle(const struct link *link)
{
    return link->window_slots > 0 && link->slots_used == 0;
}

bool link_window_serves(const struct link *link, uint32_t slots)
{
    return slots <= link->window_slots && !link->window_yields;
}

void link_window_ask(struct reactor *reactor, struct link *link, uint32_t slots)
{
    if (!link->window_asked && link->slots_used == 0) {
        window_ask(reactor, link, WIRE_WINDOW_SLOTS_MAX, slots);
    }
}

void link_window_spare(struct reactor *reactor, struct link *link, uint32_t slots)
{
    if (slots > link->window_slots && !link->window_asked && link->slots_used == 0 &&
        reactor->now_ns >= link->spare_ns) {
        link->spare_ns = reactor->now_ns + CHUNKD_SPARE_MS * PAWL_NS_PER_MS;
        window_ask(reactor, link, WIRE_WINDOW_SLOTS_MAX, 0);
    }
}

void link_granted(struct reactor *reactor, struct link *link, const struct wire_window *asked,
                  const struct wire_granted *granted)
{
    link->window_asked = false;
    link->window_spare = asked->slots_needed == 0 && granted->window_slots < WIRE_WINDOW_SLOTS_MAX;
    link->window_address = granted->window_address;
    link->window_key = granted->window_key;
    link->window_slots = granted->window_slots;
    link->window_used_ns = reactor->now_ns;
}

void link_window_turn(struct reactor *reactor, struct link *link)
{
    // Something waits: link_pump() asks for the next one with what is needed then.
    if (link->state == LINK_OPEN && link->window_yields && window_is_idle(link) &&
        pawl_list_is_empty(&link->waiting)) {
        window_ask(reactor, link, 0, 0);
    }
}

void link_window_tick(struct reactor *reactor, struct link *link)
{
    link_pump(reactor, link); // slots of a relay that failed may have come back
    link_window_turn(reactor, link);
    if (link->state != LINK_OPEN || !window_is_idle(link)) {
        link->window_used_ns = reactor->now_ns;
    } else if (reactor->now_ns >= link->window_used_ns + CHUNKD_WINDOW_MS * PAWL_NS_PER_MS) {
        window_ask(reactor, link, 0, 0);
    }
}
