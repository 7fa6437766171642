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
    uint16_t count = append.run_count != 0 ? 0 : sim_slots_count(sim, bytes);
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

// ---- runs ----------------------------------------------------------------------------------------------

static struct sim_ask *ask_of(struct sim_link *link, uint64_t request)
{
    for (uint32_t i = 0; i < link->asks_count; i++) {
        if (link->asks[i].request == request) {
            return &link->asks[i];
        }
    }
    return NULL;
}

// The append in a frame that may go in a run; false: it may not.
static bool run_part(const struct sim *sim, struct sim_link *link, const struct sim_frame *frame,
                     struct wire_append *ret)
{
    struct wire_header header;
    if (frame->control) {
        return false;
    }
    memcpy(&header, frame->data, sizeof(header));
    if (header.type != WIRE_APPEND) {
        return false;
    }
    memcpy(ret, frame->data, sizeof(*ret));
    const struct sim_ask *ask = ask_of(link, header.request);
    return ask != NULL && ask->fresh && ret->id.flags == 0 && ret->run_count == 0 &&
           frame->target == 0 && sim_slots_count(sim, ret->length) == 0;
}

static bool follows(const struct wire_append *a, const struct wire_append *b)
{
    return a->chunk == b->chunk && a->version == b->version && a->flags == b->flags &&
           a->id.producer_hi == b->id.producer_hi && a->id.producer_lo == b->id.producer_lo &&
           a->id.epoch == b->id.epoch && a->id.sequence + 1 == b->id.sequence;
}

// How many of the frames from `at` on may go as one.
static uint32_t run_reach(const struct sim *sim, struct sim_link *link, uint32_t at)
{
    uint64_t most = PAWL_MIN((uint64_t)WIRE_RUN_BYTES_MAX, sim->params.chunk_bytes / 4);
    struct wire_append last;
    struct wire_append next;
    if (!run_part(sim, link, link->waiting[at], &last)) {
        return 1;
    }
    uint32_t count = 1;
    uint64_t bytes = last.length + wire_rows_bytes(1);
    while (count < WIRE_RUN_MAX && at + count < link->waiting_count &&
           run_part(sim, link, link->waiting[at + count], &next) && follows(&last, &next) &&
           bytes + next.length + wire_rows_bytes(1) <= most) {
        bytes += next.length + wire_rows_bytes(1);
        last = next;
        count++;
    }
    return count;
}

static struct sim_frame *run_frame(struct sim_link *link, uint32_t at, uint32_t count)
{
    struct wire_run_row rows[WIRE_RUN_MAX];
    uint8_t bytes[WIRE_RUN_BYTES_MAX];
    uint32_t rows_bytes = wire_rows_bytes((uint16_t)count);
    struct wire_append run;
    memcpy(&run, link->waiting[at]->data, sizeof(run));
    run.length = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct sim_frame *frame = link->waiting[at + i];
        struct wire_append one;
        memcpy(&one, frame->data, sizeof(one));
        rows[i] = (struct wire_run_row){.length = one.length, .crc = one.crc};
        memcpy(bytes + rows_bytes + run.length, frame->data + sizeof(one), one.length);
        run.length += one.length;
        ask_of(link, one.header.request)->run = i > 0 ? run.header.request : 0;
    }
    memcpy(bytes, rows, rows_bytes);
    run.crc = pawl_crc32c(0, rows, rows_bytes);
    run.run_count = (uint16_t)count;
    run.header.bytes = (uint32_t)sizeof(run) + rows_bytes + run.length;
    return sim_frame_wire(&run, sizeof(run), bytes, rows_bytes + run.length);
}

// What waits and may go as one becomes one.
static void runs_form(const struct sim *sim, struct sim_link *link)
{
    for (uint32_t at = 0; at < link->waiting_count; at++) {
        uint32_t count = run_reach(sim, link, at);
        if (count == 1) {
            continue;
        }
        struct sim_frame *run = run_frame(link, at, count);
        for (uint32_t i = 0; i < count; i++) {
            sim_frame_free(link->waiting[at + i]);
        }
        link->waiting[at] = run;
        link->waiting_count -= count - 1;
        memmove(&link->waiting[at + 1], &link->waiting[at + count],
                (link->waiting_count - at - 1) * sizeof(link->waiting[0]));
    }
}

// The appends that a reply answers: of a run all, in order. They are the caller's to free.
static struct sim_ask *run_take(struct sim_link *link, const struct sim_ask *first,
                                uint32_t *ret_count)
{
    struct sim_ask *asks = sim_alloc((link->asks_count + 1) * sizeof(*asks));
    uint32_t count = 0;
    asks[count++] = *first;
    for (uint32_t i = 0; i < link->asks_count;) {
        struct sim_ask ask = link->asks[i];
        if (first->kind == SIM_CALL_APPEND && ask.run == first->request) {
            asks[count++] = ask;
            (void)link_take(link, ask.request, &ask);
        } else {
            i++;
        }
    }
    *ret_count = count;
    return asks;
}

// Sends what may go now, in order.
static void link_pump(struct sim *sim, struct sim_link *link)
{
    uint32_t sent = 0;
    if (link->open && sim->params.gather_us != 0) {
        runs_form(sim, link);
    }
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
    if (!link->gathers) {
        link_pump(sim, link);
    }
}

static void on_gathered(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_client *c = event->node->state;
    struct sim_link *link = &c->servers[event->b];
    if (link->conn != NULL && link->conn->id == event->a) {
        link->gathers = false;
        link_pump(sim, link);
    }
}

// What is sent in one turn may go together; here a turn is as long as it likes.
static void link_gather(struct sim *sim, struct sim_client *c, uint32_t server)
{
    struct sim_link *link = &c->servers[server];
    if (sim->params.gather_us == 0 || link->gathers) {
        return;
    }
    link->gathers = true;
    sim_at(
        sim, sim_below(sim, sim->params.gather_us) * SIM_US,
        (struct sim_event){.run = on_gathered, .node = c->node, .a = link->conn->id, .b = server});
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
    link_gather(sim, c, server);
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
    uint32_t count = 0;
    struct sim_ask *asks = run_take(link, &ask, &count);
    uint64_t offset = reply.file_offset;
    for (uint32_t i = count - 1; i > 0; i--) { // the answer is the last one's
        offset -= asks[i - 1].length;
    }
    for (uint32_t i = 0; i < count && !sim->violated; i++) {
        struct wire_appended one = reply;
        if (count > 1 && header.status == 0) {
            one.sequence = asks[i].sequence;
            one.file_offset = offset;
            offset += asks[i].length;
        }
        client_server_answer(sim, c, &asks[i], header.status, &one);
    }
    free(asks);
}
