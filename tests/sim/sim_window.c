// SPDX-License-Identifier: Apache-2.0
// Memory of a chunk server that its peers write into: windows of slots for payloads, landings for records
// that were fetched.
//
// A block belongs to one connection until the endpoint is gone: a write that was under way when its
// sender gave up may land until then. After that, and when nothing of our own uses it any more, the next
// connection gets it: the one that was used last first, where a write that comes too late would hurt.
#include <stdlib.h>
#include <string.h>

#include "sim_chunkd.h"

struct sim_window *window_get(struct sim *sim, struct sim_chunkd *s, uint64_t conn)
{
    struct sim_window *window = NULL;
    for (uint32_t i = 0; i < s->windows_count; i++) {
        if (s->windows[i]->uses == 0 &&
            (window == NULL || s->windows[i]->freed_ns >= window->freed_ns)) {
            window = s->windows[i];
        }
    }
    if (window == NULL) {
        s->windows = realloc(s->windows, (s->windows_count + 1) * sizeof(struct sim_window *));
        pawl_assert(s->windows != NULL);
        window = sim_alloc(sizeof(*window));
        window->number = s->windows_count;
        window->bytes = sim_alloc(
            PAWL_MAX(sim->params.window_slots * SIM_SLOT_BYTES, (uint32_t)SIM_LANDING_BYTES));
        s->windows[s->windows_count++] = window;
    }
    window->conn = conn;
    window->uses = 1;
    return window;
}

void window_unuse(struct sim *sim, struct sim_window *window)
{
    pawl_assert(window->uses > 0);
    if (--window->uses == 0) {
        window->freed_ns = sim->now_ns;
    }
}

void windows_conn_gone(struct sim *sim, struct sim_chunkd *s, uint64_t conn)
{
    for (uint32_t i = 0; i < s->windows_count; i++) {
        if (s->windows[i]->conn == conn) {
            s->windows[i]->conn = 0;
            window_unuse(sim, s->windows[i]);
        }
    }
}

void windows_fini(struct sim_chunkd *s)
{
    for (uint32_t i = 0; i < s->windows_count; i++) {
        free(s->windows[i]->bytes);
        free(s->windows[i]);
    }
    free(s->windows);
}

// The window that this connection's peer was granted.
struct sim_window *window_of_conn(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn)
{
    if (conn->window == 0) {
        conn->window = window_get(sim, s, conn->id)->number + 1;
    }
    return s->windows[conn->window - 1];
}

// Each connection has its own keys: what names another one's memory is refused by the device.
static struct sim_window *target_of(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                                    const struct sim_frame *frame)
{
    if (frame->target == SIM_TARGET_WINDOW) {
        return window_of_conn(sim, s, conn);
    }
    return frame->target_number < s->windows_count ? s->windows[frame->target_number] : NULL;
}

void window_land(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                 const struct sim_frame *frame)
{
    struct sim_window *window = target_of(sim, s, conn, frame);
    if (window == NULL || window->conn != conn->id) {
        sim_note(sim, "%s refuses a write into memory that is not the peer's", s->node->name);
        return;
    }
    uint32_t at = frame->target == SIM_TARGET_WINDOW ? frame->target_number * SIM_SLOT_BYTES : 0;
    memcpy(window->bytes + at, frame->extra, frame->extra_bytes);
}

void sim_chunkd_landed(struct sim *sim, struct sim_conn *conn, int side,
                       const struct sim_frame *frame)
{
    struct sim_chunkd *s = conn->side[side].node->state;
    sim_note(sim, "%s: %u bytes land late", s->node->name, frame->extra_bytes);
    window_land(sim, s, conn, frame);
}

void sim_chunkd_gone(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_chunkd *s = conn->side[side].node->state;
    windows_conn_gone(sim, s, conn->id);
}

// ---- slots of a peer's window, as their sender sees them --------------------------------------------

uint64_t sim_slots_mask(uint32_t first, uint32_t count)
{
    return count == 0 ? 0 : (UINT64_MAX >> (64 - count)) << first;
}

bool sim_slots_take(uint64_t *used, uint32_t slots, uint32_t count, uint16_t *ret_first)
{
    for (uint32_t first = 0; first + count <= slots; first++) {
        if ((*used & sim_slots_mask(first, count)) == 0) {
            *used |= sim_slots_mask(first, count);
            *ret_first = (uint16_t)first;
            return true;
        }
    }
    return false;
}

uint16_t sim_slots_count(const struct sim *sim, uint32_t bytes)
{
    bool push = sim->params.window_slots != 0 && bytes > sim->params.inline_max;
    return push ? (uint16_t)((bytes + SIM_SLOT_BYTES - 1) / SIM_SLOT_BYTES) : 0;
}
