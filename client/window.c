// SPDX-License-Identifier: Apache-2.0
// The window of a link: asked for when a payload needs one, given back when others wait for it or when it has not
// been used for a while. A client that reads, or appends small records, never has one.
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"

#define WINDOW_UNUSED_MS 1000u
// Well before an attempt ends (2 s): who waits in line is no reason to call a server silent.
#define WINDOW_PUT_OFF_MS 1000u
#define WINDOW_SILENT_MS 2000u // servers say every 500 ms who waits
#define WINDOW_KEEP_MS 250u    // for what was put off, which may pause for 200 ms
#define WINDOW_GROW_MS 1000u   // one that is smaller than was wanted is tried again after so long

// Gives back what there is; `wanted` 0: and that is all. 0, or -EAGAIN: not yet; or why the link is to be closed.
// `since_ns`: since when that is waited for.
static int window_ask(struct link *link, uint32_t wanted, uint32_t needed, uint64_t since_ns)
{
    if (link->requests_sent >= link->requests_max) {
        return -EAGAIN;
    }
    struct wire_window window = {0};
    uint64_t now_ns = pawl_clock_ns();
    uint64_t id = link->next_id++;
    wire_header_init(&window.header, WIRE_WINDOW, sizeof window, id);
    window.slots_wanted = wanted;
    window.slots_needed = needed;
    window.waited_ms =
        (uint32_t)PAWL_MIN((now_ns - since_ns) / PAWL_NS_PER_MS, (uint64_t)UINT32_MAX);
    int code = fabric_send(link->conn, &window, sizeof window);
    if (code != 0) {
        return code;
    }
    link->window_request = id;
    link->window_told_ns = now_ns;
    link->window_needed = needed;
    link->window_slots = 0;
    link->window_yields = false;
    link->requests_sent++;
    return 0;
}

void window_welcome(struct link *link, uint64_t address, uint64_t key, uint32_t slots)
{
    link->window_address = address;
    link->window_key = key;
    link->window_slots = slots;
    link->window_granted_ns = pawl_clock_ns();
    link->window_idle_ns = link->window_granted_ns;
    link->window_fresh = true;
}

static void wait_begin(uint64_t *since_ns)
{
    if (*since_ns == 0) {
        *since_ns = pawl_clock_ns();
    }
}

int window_serves(struct link *link, uint32_t slots, uint64_t *since_ns)
{
    if (slots > WIRE_WINDOW_SLOTS_MAX) {
        return PAWL_ETOOLARGE; // of such slots as this server has
    }
    if (link->window_request != 0) {
        wait_begin(since_ns);
        return -EAGAIN;
    }
    if (slots <= link->window_slots && (!link->window_yields || link->window_fresh)) {
        return 0;
    }
    if (link->slots_used != 0) {
        return -EAGAIN; // what is in use comes back first
    }
    wait_begin(since_ns);
    int code = window_ask(link, WIRE_WINDOW_SLOTS_MAX, slots, *since_ns);
    return code != 0 ? code : -EAGAIN;
}

void window_is_full(struct link *link)
{
    link->window_yields |=
        link->window_slots < WIRE_WINDOW_SLOTS_MAX &&
        pawl_clock_ns() >= link->window_granted_ns + WINDOW_GROW_MS * PAWL_NS_PER_MS;
}

void window_reply(struct link *link, const struct wire_header *header)
{
    link->window_yields |= (header->flags & WIRE_SCARCE) != 0 && link->window_slots > 0;
    link->window_told_ns = pawl_clock_ns();
}

void window_slots_free(struct link *link)
{
    link->window_idle_ns = pawl_clock_ns();
}

int window_granted(struct link *link, const struct wire_header *header)
{
    const struct wire_granted *granted = (const struct wire_granted *)header;
    link->window_request = 0;
    link->requests_sent--;
    if (header->type != (WIRE_WINDOW | WIRE_REPLY)) {
        return PAWL_EPROTOCOL;
    }
    if (header->status != 0) {
        return header->status;
    }
    if (granted->window_slots < link->window_needed) {
        pawl_log_warn("server %016llx granted a window that is smaller than what is needed",
                      (unsigned long long)link->server_id);
        return PAWL_EPROTOCOL;
    }
    window_welcome(link, granted->window_address, granted->window_key, granted->window_slots);
    return 0;
}

static bool window_is_idle(const struct link *link)
{
    return link->state == LINK_READY && link->window_slots > 0 && link->slots_used == 0 &&
           link->requests_sent < link->requests_max; // else an answer comes first
}

void window_pushed(struct link *link, bool has_room)
{
    if (has_room) {
        link->window_fresh = false;
        link->window_put_off_ns = 0;
    } else if (link->window_put_off_ns == 0) {
        link->window_put_off_ns = pawl_clock_ns() + WINDOW_PUT_OFF_MS * PAWL_NS_PER_MS;
    }
}

bool window_puts_off(struct link *link, uint64_t now_ns)
{
    if (link->window_put_off_ns == 0 || now_ns < link->window_put_off_ns ||
        pawl_list_is_empty(&link->queue)) {
        return false;
    }
    link->window_put_off_ns = 0;
    link->window_paused_ns = now_ns;
    return true;
}

// Something waits for a window that was asked for.
static bool window_is_awaited(const struct link *link)
{
    return link->window_request != 0 && !pawl_list_is_empty(&link->queue);
}

// How long one that others want stays: what it was asked for may be put off just now.
static uint64_t window_kept_ns(const struct link *link)
{
    return link->window_fresh && link->window_paused_ns != 0
               ? link->window_paused_ns + WINDOW_KEEP_MS * PAWL_NS_PER_MS
               : 0;
}

// One that others want goes at once, unless something waits here: that one asks for another.
int window_turn(struct link *link, uint64_t now_ns)
{
    if (window_is_awaited(link)) {
        bool silent = now_ns >= link->window_told_ns + WINDOW_SILENT_MS * PAWL_NS_PER_MS;
        return silent ? PAWL_EDEADLINE : 0;
    }
    if (!window_is_idle(link)) {
        return 0;
    }
    bool unused = now_ns >= link->window_idle_ns + WINDOW_UNUSED_MS * PAWL_NS_PER_MS;
    bool unwanted = pawl_list_is_empty(&link->queue) && now_ns >= window_kept_ns(link);
    if (!unused && !(link->window_yields && unwanted)) {
        return 0;
    }
    int code = window_ask(link, 0, 0, pawl_clock_ns());
    return code == -EAGAIN ? 0 : code;
}

static uint64_t window_goes_ns(const struct link *link)
{
    uint64_t unused_ns = link->window_idle_ns + WINDOW_UNUSED_MS * PAWL_NS_PER_MS;
    return link->window_yields && pawl_list_is_empty(&link->queue)
               ? PAWL_MIN(unused_ns, window_kept_ns(link))
               : unused_ns;
}

uint64_t window_wake_ns(const struct link *link)
{
    uint64_t wake_ns = UINT64_MAX;
    if (window_is_awaited(link)) {
        wake_ns = link->window_told_ns + WINDOW_SILENT_MS * PAWL_NS_PER_MS;
    } else if (window_is_idle(link)) {
        wake_ns = window_goes_ns(link);
    }
    if (link->window_put_off_ns != 0 && !pawl_list_is_empty(&link->queue)) {
        wake_ns = PAWL_MIN(wake_ns, link->window_put_off_ns);
    }
    return wake_ns;
}
