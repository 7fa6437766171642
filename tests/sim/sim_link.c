// SPDX-License-Identifier: Apache-2.0
// The client's connections: requests to the master and to chunk servers, each answered exactly once.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "sim_client.h"
#include "sim_write.h"

static void link_reset(struct sim_link *link)
{
    for (uint32_t i = 0; i < link->waiting_count; i++) {
        sim_frame_free(link->waiting[i]);
    }
    free(link->waiting);
    free(link->asks);
    *link = (struct sim_link){0};
}

static void link_add(struct sim_link *link, struct sim_ask ask)
{
    link->asks = realloc(link->asks, (link->asks_count + 1) * sizeof(link->asks[0]));
    pawl_assert(link->asks != NULL);
    link->asks[link->asks_count++] = ask;
}

static bool link_take(struct sim_link *link, uint64_t request, struct sim_ask *ret)
{
    for (uint32_t i = 0; i < link->asks_count; i++) {
        if (link->asks[i].request == request) {
            *ret = link->asks[i];
            link->asks_count--;
            memmove(&link->asks[i], &link->asks[i + 1],
                    (link->asks_count - i) * sizeof(link->asks[0]));
            return true;
        }
    }
    return false;
}

// Moves the payload of an APPEND from the message into slots. False: there are none free.
static bool frame_push(const struct sim *sim, struct sim_link *link, struct sim_frame *frame)
{
    struct wire_append append;
    memcpy(&append.header, frame->data, sizeof(append.header));
    if (append.header.type != WIRE_APPEND) {
        return true; // and shorter
    }
    uint32_t bytes = frame->bytes - (uint32_t)sizeof(append);
    memcpy(&append, frame->data, sizeof(append));
    uint16_t count = sim_slots_count(sim, bytes);
    if (count == 0) {
        return true;
    }
    if (!sim_slots_take(&link->slots_used, sim->params.window_slots, count, &append.slot_first)) {
        return false;
    }
    append.slot_count = count;
    append.header.bytes = sizeof(append);
    sim_frame_extra(frame, frame->data + sizeof(append), bytes);
    memcpy(frame->data, &append, sizeof(append));
    frame->bytes = sizeof(append);
    frame->target = SIM_TARGET_WINDOW;
    frame->target_number = append.slot_first;
    for (uint32_t i = 0; i < link->asks_count; i++) {
        if (link->asks[i].request == append.header.request) {
            link->asks[i].slot_first = append.slot_first;
            link->asks[i].slot_count = count;
        }
    }
    return true;
}

// Sends what may go now, in order.
static void link_pump(struct sim *sim, struct sim_link *link)
{
    uint32_t sent = 0;
    while (link->open && sent < link->waiting_count &&
           (link->waiting[sent]->control || frame_push(sim, link, link->waiting[sent]))) {
        sim_send(sim, link->conn, 0, link->waiting[sent++]);
    }
    link->waiting_count -= sent;
    if (sent != 0) {
        memmove(link->waiting, link->waiting + sent,
                link->waiting_count * sizeof(link->waiting[0]));
    }
}

static void link_send(struct sim *sim, struct sim_link *link, struct sim_frame *frame)
{
    link->waiting = realloc(link->waiting, (link->waiting_count + 1) * sizeof(link->waiting[0]));
    pawl_assert(link->waiting != NULL);
    link->waiting[link->waiting_count++] = frame;
    link_pump(sim, link);
}

static void link_lost(struct sim *sim, struct sim_client *c, struct sim_link *link, uint32_t server)
{
    struct sim_link old = *link;
    bool appends = false;
    *link = (struct sim_link){0};
    for (uint32_t i = 0; i < old.asks_count; i++) {
        if (link == &c->master) {
            client_master_answer(sim, c, &old.asks[i], PAWL_EDISCONNECTED, NULL);
        } else if (old.asks[i].kind == SIM_CALL_LOOKUP) {
            client_server_answer(sim, c, &old.asks[i], PAWL_EDISCONNECTED, NULL);
        } else if (old.asks[i].kind == SIM_CALL_SCAN_READ) {
            reader_failed(sim, c);
        } else {
            appends |= old.asks[i].kind == SIM_CALL_APPEND;
        }
    }
    link_reset(&old);
    if (link != &c->master && appends) {
        client_disconnected(sim, c, server);
    }
}

static void on_connect_late(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_client *c = event->node->state;
    struct sim_link *link = event->b == SIM_SERVERS_MAX ? &c->master : &c->servers[event->b];
    if (link->conn != NULL && link->conn->id == event->a && !link->open) {
        sim_close(sim, link->conn, 0);
        link_lost(sim, c, link, (uint32_t)event->b);
    }
}

static void link_connect(struct sim *sim, struct sim_client *c, struct sim_link *link,
                         uint32_t server)
{
    if (link->conn != NULL) {
        return;
    }
    bool master = link == &c->master;
    struct sim_node *to = sim_node_of(sim, master ? SIM_MASTER : SIM_CHUNKD, master ? 0 : server);
    link->conn = sim_connect(sim, c->node, to, master);
    sim_at(sim, sim_world_ns(c->node, SIM_CONNECT_MS * SIM_MS),
           (struct sim_event){.run = on_connect_late,
                              .node = c->node,
                              .a = link->conn->id,
                              .b = master ? SIM_SERVERS_MAX : server});
}

uint64_t link_ask_master(struct sim *sim, struct sim_client *c, struct sim_ask ask,
                         const Pawl__Request *message)
{
    ask.request = ++c->request_last;
    ask.deadline_ns = sim_clock(sim, c->node) + SIM_CALL_MS * SIM_MS;
    link_connect(sim, c, &c->master, 0);
    link_add(&c->master, ask);
    link_send(sim, &c->master, sim_frame_request(ask.request, message));
    return ask.request;
}

void link_ask_server(struct sim *sim, struct sim_client *c, uint32_t server, struct sim_ask ask,
                     struct sim_frame *frame)
{
    struct sim_link *link = &c->servers[server];
    struct wire_header header;
    ask.request = ++c->request_last;
    memcpy(&header, frame->data, sizeof(header));
    wire_header_init(&header, header.type, frame->bytes, ask.request);
    memcpy(frame->data, &header, sizeof(header));
    link_connect(sim, c, link, server);
    link_add(link, ask);
    link_send(sim, link, frame);
}

static void on_disconnected(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life)) {
        client_disconnected(sim, event->node->state, (uint32_t)event->a);
    }
}

// DISCONNECTED follows in any case, connection or not.
void link_disconnect(struct sim *sim, struct sim_client *c, uint32_t server)
{
    struct sim_link *link = &c->servers[server];
    struct sim_link old = *link;
    *link = (struct sim_link){0};
    if (PAWL_MUTANT(slot_reused) || PAWL_MUTANT(stored_unchecked)) {
        // Planted: the connection and its window are used on, as if nothing were under way.
        *link = (struct sim_link){.conn = old.conn, .open = old.open};
        old.conn = NULL;
    }
    if (old.conn != NULL) {
        sim_close(sim, old.conn, 0);
    }
    for (uint32_t i = 0; i < old.asks_count; i++) {
        if (old.asks[i].kind == SIM_CALL_SCAN_READ) {
            reader_failed(sim, c);
        } else if (old.asks[i].kind == SIM_CALL_LOOKUP) {
            struct sim_ask lookup = old.asks[i];
            lookup.request = ++c->request_last;
            lookup.deadline_ns = sim_clock(sim, c->node); // ends at the next tick
            link_add(&c->master, lookup);
        }
    }
    link_reset(&old);
    sim_at(sim, 0, (struct sim_event){.run = on_disconnected, .node = c->node, .a = server});
}

void link_tick(struct sim *sim, struct sim_client *c)
{
    uint64_t now_ns = sim_clock(sim, c->node);
    for (uint32_t i = 0; i < c->master.asks_count;) {
        struct sim_ask ask = c->master.asks[i];
        if (ask.deadline_ns > now_ns) {
            i++;
            continue;
        }
        (void)link_take(&c->master, ask.request, &ask);
        if (ask.kind == SIM_CALL_LOOKUP) {
            client_server_answer(sim, c, &ask, PAWL_EDISCONNECTED, NULL);
        } else {
            client_master_answer(sim, c, &ask, PAWL_EDEADLINE, NULL);
        }
        i = 0;
    }
}

void link_forget(struct sim *sim, struct sim_client *c)
{
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        if (c->servers[i].conn != NULL) {
            sim_close(sim, c->servers[i].conn, 0);
        }
        link_reset(&c->servers[i]);
    }
    c->master.asks_count = 0;
    c->asked = false;
    c->reader.asked = false;
    c->session_asked = false;
}

void link_fini(struct sim_client *c)
{
    link_reset(&c->master);
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        link_reset(&c->servers[i]);
    }
}

// ---- from the network ----------------------------------------------------------------------------------

static struct sim_link *link_of(struct sim_client *c, const struct sim_conn *conn)
{
    struct sim_link *link = conn->control ? &c->master : &c->servers[conn->side[1].node->index];
    return link->conn == conn ? link : NULL;
}

void sim_client_opened(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_link *link = link_of(conn->side[side].node->state, conn);
    if (link == NULL) {
        return;
    }
    link->open = true;
    link_pump(sim, link);
}

void sim_client_closed(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_client *c = conn->side[side].node->state;
    struct sim_link *link = link_of(c, conn);
    if (link != NULL) {
        link_lost(sim, c, link, conn->side[1].node->index);
    }
}

static void on_master_frame(struct sim *sim, struct sim_client *c, const struct sim_frame *frame)
{
    struct sim_ask ask;
    if (!link_take(&c->master, frame->request, &ask)) {
        return;
    }
    Pawl__Reply *reply = pawl__reply__unpack(NULL, frame->bytes, frame->data);
    pawl_assert(reply != NULL);
    client_master_answer(sim, c, &ask, reply->code, reply);
    pawl__reply__free_unpacked(reply, NULL);
}

static void check_read(struct sim *sim, const struct sim_client *c, uint32_t server,
                       const struct sim_ask *ask, const struct sim_frame *frame)
{
    struct wire_read_done done = {0};
    memcpy(&done, frame->data, PAWL_MIN(sizeof(done), (size_t)frame->bytes));
    if (done.header.status == 0 && done.length > 0) {
        sim_writes_check_all(sim, ask->chunk, ask->acks_count, server, &done);
    }
    if (done.header.status == 0 && (done.length != frame->extra_bytes ||
                                    pawl_crc32c(0, frame->extra, frame->extra_bytes) != done.crc)) {
        sim_violation(sim, "%s got bytes that don't match their checksum", c->node->name);
    }
}

void sim_client_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame)
{
    struct sim_client *c = conn->side[side].node->state;
    struct sim_link *link = link_of(c, conn);
    struct wire_header header;
    struct sim_ask ask;
    const char *why = NULL;
    if (link == NULL) {
        return;
    }
    if (frame->control) {
        on_master_frame(sim, c, frame);
        return;
    }
    int code = wire_check(frame->data, frame->bytes, &why);
    if (code != 0) {
        sim_violation(sim, "%s got an answer that is not right: %s", c->node->name, why);
        return;
    }
    memcpy(&header, frame->data, sizeof(header));
    if (!link_take(link, header.request, &ask)) {
        return;
    }
    link->slots_used &= ~sim_slots_mask(ask.slot_first, ask.slot_count);
    link_pump(sim, link);
    if (ask.kind == SIM_CALL_READ || ask.kind == SIM_CALL_SCAN_READ) {
        struct wire_read_done done;
        memcpy(&done, frame->data, sizeof(done));
        check_read(sim, c, conn->side[1].node->index, &ask, frame);
        if (ask.kind == SIM_CALL_SCAN_READ) {
            reader_read(sim, c, &done);
        }
        return;
    }
    struct wire_appended reply = {0};
    memcpy(&reply, frame->data, PAWL_MIN(sizeof(reply), (size_t)frame->bytes));
    client_server_answer(sim, c, &ask, header.status, &reply);
}
