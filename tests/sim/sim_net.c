// SPDX-License-Identifier: Apache-2.0
// The simulated network: ordered streams with delays that stall in a partition and break in a fault.
//
// As with TCP a message is never lost from the middle of a stream: what is lost is its end, and the
// two sides learn of that at different times, or only by their own deadlines.
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "sim.h"

struct sim_conn *sim_conn_of(struct sim *sim, uint64_t id)
{
    return id >= 1 && id <= sim->conns_count ? sim->conns[id - 1] : NULL;
}

int sim_side_of(const struct sim_conn *conn, const struct sim_node *node)
{
    return conn->side[0].node == node ? 0 : 1;
}

static void opened(struct sim *sim, struct sim_conn *conn, int side)
{
    switch (conn->side[side].node->role) {
    case SIM_MASTER:
        sim_master_opened(sim, conn, side);
        break;
    case SIM_CHUNKD:
        sim_chunkd_opened(sim, conn, side);
        break;
    case SIM_CLIENT:
        sim_client_opened(sim, conn, side);
        break;
    }
}

static void closed(struct sim *sim, struct sim_conn *conn, int side)
{
    switch (conn->side[side].node->role) {
    case SIM_MASTER:
        sim_master_closed(sim, conn, side);
        break;
    case SIM_CHUNKD:
        sim_chunkd_closed(sim, conn, side);
        break;
    case SIM_CLIENT:
        sim_client_closed(sim, conn, side);
        break;
    }
}

static uint64_t delay(struct sim *sim)
{
    uint64_t us = 10 + sim_below(sim, sim->params.delay_max_us);
    if (sim_fault(sim, SIM_FAULT_SPIKE, sim->params.spike_permille * 10)) {
        us += sim_fault_below(sim, 300000);
    }
    return us * SIM_US;
}

bool sim_block_leaks(const struct sim_block *block, const struct sim_conn *conn)
{
    return block->leak_permille != 0 &&
           pawl_hash_u64(conn->id ^ (uint64_t)block->salt << 32) % 1000 < block->leak_permille;
}

// When something that is sent now reaches `to` of the connection: behind all before it.
static uint64_t arrival(struct sim *sim, struct sim_conn *conn, int to)
{
    uint32_t from_id = conn->side[1 - to].node->id;
    uint32_t to_id = conn->side[to].node->id;
    const struct sim_block *block = &sim->blocks[from_id][to_id];
    bool blocked = block->until_ns > sim->now_ns && !sim_block_leaks(block, conn);
    uint64_t from_ns = blocked ? block->until_ns : sim->now_ns;
    uint64_t at_ns = PAWL_MAX(from_ns + delay(sim), conn->side[to].last_ns);
    conn->side[to].last_ns = at_ns;
    return at_ns - sim->now_ns;
}

// Whether remote writes still land there.
static bool endpoint_there(const struct sim_conn *conn, int side)
{
    return conn->side[side].endpoint && sim_alive(conn->side[side].node, conn->side[side].life);
}

static void endpoint_gone(struct sim *sim, struct sim_conn *conn, int side)
{
    if (endpoint_there(conn, side)) {
        conn->side[side].endpoint = PAWL_MUTANT(window_reused);
        if (conn->side[side].node->role == SIM_CHUNKD && !conn->control) {
            sim_chunkd_gone(sim, conn, side);
        }
    }
}

static void on_endpoint_gone(struct sim *sim, struct sim_event *event)
{
    endpoint_gone(sim, sim_conn_of(sim, event->a), (int)event->b);
}

static bool side_alive(const struct sim_conn *conn, int side)
{
    return conn->side[side].open && sim_alive(conn->side[side].node, conn->side[side].life);
}

static void on_learn_closed(struct sim *sim, struct sim_event *event)
{
    struct sim_conn *conn = sim_conn_of(sim, event->a);
    int side = (int)event->b;
    if (side_alive(conn, side)) {
        conn->side[side].open = false;
        endpoint_gone(sim, conn, side);
        if (sim->script != NULL) {
            sim->script->closed(sim, conn, side);
        }
        closed(sim, conn, side);
    }
}

static void learn_closed(struct sim *sim, struct sim_conn *conn, int side, uint64_t delay_ns)
{
    sim_at(sim, delay_ns,
           (struct sim_event){.run = on_learn_closed,
                              .node = conn->side[side].node,
                              .a = conn->id,
                              .b = (uint64_t)side});
}

static void on_open_initiator(struct sim *sim, struct sim_event *event)
{
    struct sim_conn *conn = sim_conn_of(sim, event->a);
    if (side_alive(conn, 0)) {
        opened(sim, conn, 0);
    }
}

static void on_arrive(struct sim *sim, struct sim_event *event)
{
    struct sim_conn *conn = sim_conn_of(sim, event->a);
    struct sim_side *target = &conn->side[1];
    if (!side_alive(conn, 0)) {
        return;
    }
    if (!target->node->up) {
        conn->cut[0] = conn->cut[1] = true;
        learn_closed(sim, conn, 0, delay(sim));
        return;
    }
    target->life = target->node->life;
    target->open = true;
    target->endpoint = true;
    opened(sim, conn, 1);
    sim_at(sim, arrival(sim, conn, 0),
           (struct sim_event){.run = on_open_initiator, .node = conn->side[0].node, .a = conn->id});
}

struct sim_conn *sim_connect(struct sim *sim, struct sim_node *from, struct sim_node *to,
                             bool control)
{
    if (sim->conns_count == sim->conns_capacity) {
        sim->conns_capacity = sim->conns_capacity != 0 ? 2 * sim->conns_capacity : 256;
        sim->conns = realloc(sim->conns, sim->conns_capacity * sizeof(sim->conns[0]));
        pawl_assert(sim->conns != NULL);
    }
    struct sim_conn *conn = sim_alloc(sizeof(*conn));
    sim->conns[sim->conns_count++] = conn;
    conn->id = sim->conns_count;
    conn->control = control;
    conn->side[0] =
        (struct sim_side){.node = from, .life = from->life, .open = true, .endpoint = true};
    conn->side[1] = (struct sim_side){.node = to};
    sim_at(sim, arrival(sim, conn, 1), (struct sim_event){.run = on_arrive, .a = conn->id});
    return conn;
}

static void on_land(struct sim *sim, struct sim_event *event)
{
    struct sim_frame *frame = event->p;
    struct sim_conn *conn = sim_conn_of(sim, event->a);
    int side = (int)event->b;
    if (endpoint_there(conn, side)) {
        sim_chunkd_landed(sim, conn, side, frame);
    }
    sim_frame_free(frame);
}

// The message does not come, and its sender takes it all for lost; but what it wrote before may land, at
// any time until the endpoint is gone.
static bool lands_late(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame)
{
    if (frame->target == SIM_TARGET_READER || !endpoint_there(conn, side) ||
        !sim_fault(sim, SIM_FAULT_LATE, sim->params.late_permille * 10)) {
        return false;
    }
    uint64_t late_us = sim_fault_below(sim, sim_fault_below(sim, 2) != 0 ? 2000000 : 2000);
    sim_at(sim, late_us * SIM_US,
           (struct sim_event){.run = on_land,
                              .node = conn->side[side].node,
                              .p = frame,
                              .a = conn->id,
                              .b = (uint64_t)side});
    return true;
}

static void frame_lost(struct sim *sim, struct sim_conn *conn, int to, struct sim_frame *frame)
{
    if (sim->script != NULL) {
        sim->script->lost(sim, conn, to, frame);
    }
    sim_frame_free(frame);
}

static void on_deliver(struct sim *sim, struct sim_event *event)
{
    struct sim_frame *frame = event->p;
    struct sim_conn *conn = sim_conn_of(sim, event->a);
    int side = (int)event->b;
    bool whole = side_alive(conn, side) && !conn->cut[side];
    if (whole && sim->script != NULL) {
        if (!sim->script->arrives(sim, conn, side, frame)) {
            return;
        }
        whole = side_alive(conn, side) && !conn->cut[side];
    }
    if (!whole) {
        if (!lands_late(sim, conn, side, frame)) {
            frame_lost(sim, conn, side, frame);
        }
        return;
    }
    switch (conn->side[side].node->role) {
    case SIM_MASTER:
        sim_master_frame(sim, conn, side, frame);
        break;
    case SIM_CHUNKD:
        sim_chunkd_frame(sim, conn, side, frame);
        break;
    case SIM_CLIENT:
        sim_client_frame(sim, conn, side, frame);
        break;
    }
    sim_frame_free(frame);
}

void sim_deliver(struct sim *sim, struct sim_conn *conn, int to, struct sim_frame *frame,
                 uint64_t delay_ns)
{
    sim_at(sim, delay_ns,
           (struct sim_event){.run = on_deliver,
                              .node = conn->side[to].node,
                              .p = frame,
                              .a = conn->id,
                              .b = (uint64_t)to});
}

void sim_send(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame)
{
    int to = 1 - side;
    if (!conn->side[side].open || conn->cut[to]) {
        frame_lost(sim, conn, to, frame);
        return;
    }
    if (sim_fault(sim, SIM_FAULT_LOSE, sim->params.lose_permyriad)) {
        sim_note(sim, "conn %llu breaks: a message to %s is lost", (unsigned long long)conn->id,
                 conn->side[to].node->name);
        sim_break(sim, conn);
        sim_deliver(sim, conn, to, frame, arrival(sim, conn, to)); // its end is cut
        return;
    }
    sim_deliver(sim, conn, to, frame, arrival(sim, conn, to));
}

// An old message comes out of a path that was thought dead. One at a time for each node: two of them
// keep the order in which they were sent.
// A DROP that comes again would delete what was copied there since, under the same version; a COPY would
// make what nobody hears of before the next registration. A server hears its master on one connection at a
// time and closes the last one first, so neither can happen; that a newer version is never dropped has to
// hold all the same.
static bool echo_is_unreal(const struct sim *sim, const struct sim_node *node,
                           const struct sim_frame *frame)
{
    if (!frame->control || node->role != SIM_CHUNKD) {
        return false;
    }
    Pawl__Request *message = pawl__request__unpack(NULL, frame->bytes, frame->data);
    pawl_assert(message != NULL);
    bool unreal = message->body_case == PAWL__REQUEST__BODY_COPY;
    if (message->body_case == PAWL__REQUEST__BODY_DROP) {
        const struct sim_chunk *chunk =
            sim_disk_chunk(sim->disks[node->index], message->drop->handle);
        unreal = chunk != NULL && chunk->version <= message->drop->version;
    }
    pawl__request__free_unpacked(message, NULL);
    return unreal;
}

static void on_echo(struct sim *sim, struct sim_event *event)
{
    struct sim_frame *frame = event->p;
    // A server whose store has failed is about to give up; what it still forgets matters to nobody.
    bool takes = event->node->up && !sim->disks[event->node->index]->failed &&
                 !echo_is_unreal(sim, event->node, frame);
    for (size_t i = takes ? sim->conns_count : 0; i > 0; i--) {
        struct sim_conn *conn = sim->conns[i - 1];
        int side = sim_side_of(conn, event->node);
        if (conn->control == frame->control && conn->side[side].node == event->node &&
            conn->side[1 - side].node->id == event->a && side_alive(conn, side)) {
            sim_note(sim, "%s gets an old message of %s again", event->node->name,
                     conn->side[1 - side].node->name);
            sim_chunkd_frame(sim, conn, side, frame);
            break;
        }
    }
    sim_frame_free(frame);
}

void sim_echo(struct sim *sim, const struct sim_conn *conn, int to, const struct sim_frame *frame)
{
    struct sim_node *node = conn->side[to].node;
    uint64_t late_ms = 1 + sim_fault_below(sim, sim_fault_below(sim, 4) == 0 ? 60000 : 3000);
    if (node->echo_until_ns > sim->now_ns) {
        return;
    }
    node->echo_until_ns = sim->now_ns + late_ms * SIM_MS;
    sim_at(sim, late_ms * SIM_MS,
           (struct sim_event){.run = on_echo,
                              .node = node,
                              .p = sim_frame_copy(frame),
                              .a = conn->side[1 - to].node->id});
}

void sim_close(struct sim *sim, struct sim_conn *conn, int side)
{
    if (!conn->side[side].open) {
        return;
    }
    conn->side[side].open = false;
    // An orderly end delivers what was sent before it; a reset does not.
    conn->cut[1 - side] |= sim_permille(sim, 500);
    conn->cut[side] = true;
    learn_closed(sim, conn, 1 - side, arrival(sim, conn, 1 - side));
    // The endpoint is torn down while we go on.
    if (conn->side[side].node->role == SIM_CHUNKD && !conn->control) {
        sim_at(sim, sim_below(sim, 20000) * SIM_US,
               (struct sim_event){.run = on_endpoint_gone,
                                  .node = conn->side[side].node,
                                  .a = conn->id,
                                  .b = (uint64_t)side});
    }
}

void sim_break(struct sim *sim, struct sim_conn *conn)
{
    for (int side = 0; side < 2; side++) {
        conn->cut[side] = true;
        uint64_t late_ms = sim_permille(sim, 250) ? sim_below(sim, 4000) : sim_below(sim, 5);
        learn_closed(sim, conn, side, late_ms * SIM_MS);
    }
}

void sim_net_node_down(struct sim *sim, const struct sim_node *node)
{
    for (size_t i = 0; i < sim->conns_count; i++) {
        struct sim_conn *conn = sim->conns[i];
        int side = conn->side[0].node == node && conn->side[0].open ? 0 : 1;
        if (conn->side[side].node != node || !conn->side[side].open) {
            continue;
        }
        conn->side[side].open = false;
        conn->side[side].endpoint = false;
        conn->cut[side] = true;
        // A killed process's peers are told; a machine without power tells nobody.
        uint64_t late_ns = sim_permille(sim, 200) ? sim_below(sim, 4000) * SIM_MS : 0;
        learn_closed(sim, conn, 1 - side, arrival(sim, conn, 1 - side) + late_ns);
    }
}

void sim_net_fini(struct sim *sim)
{
    for (size_t i = 0; i < sim->conns_count; i++) {
        free(sim->conns[i]);
    }
    free(sim->conns);
}

// ---- frames ----------------------------------------------------------------------------------------

struct sim_frame *sim_frame_wire(const void *message, uint32_t bytes, const void *payload,
                                 uint32_t payload_bytes)
{
    struct sim_frame *frame = sim_alloc(sizeof(*frame));
    frame->bytes = bytes + payload_bytes;
    frame->data = sim_alloc(frame->bytes);
    memcpy(frame->data, message, bytes);
    if (payload_bytes != 0) {
        memcpy(frame->data + bytes, payload, payload_bytes);
    }
    return frame;
}

static struct sim_frame *frame_packed(uint64_t request, bool reply, const ProtobufCMessage *message)
{
    struct sim_frame *frame = sim_alloc(sizeof(*frame));
    frame->control = true;
    frame->reply = reply;
    frame->request = request;
    frame->bytes = (uint32_t)protobuf_c_message_get_packed_size(message);
    frame->data = sim_alloc(frame->bytes);
    protobuf_c_message_pack(message, frame->data);
    return frame;
}

struct sim_frame *sim_frame_request(uint64_t request, const Pawl__Request *message)
{
    return frame_packed(request, false, &message->base);
}

struct sim_frame *sim_frame_reply(uint64_t request, const Pawl__Reply *message)
{
    return frame_packed(request, true, &message->base);
}

struct sim_frame *sim_frame_copy(const struct sim_frame *frame)
{
    struct sim_frame *copy = sim_copy(frame, sizeof(*frame));
    copy->data = sim_copy(frame->data, frame->bytes);
    copy->extra = frame->extra != NULL ? sim_copy(frame->extra, frame->extra_bytes) : NULL;
    return copy;
}

void sim_frame_extra(struct sim_frame *frame, const void *data, uint32_t bytes)
{
    frame->extra = sim_copy(data, bytes);
    frame->extra_bytes = bytes;
}

void sim_frame_free(struct sim_frame *frame)
{
    if (frame != NULL) {
        free(frame->data);
        free(frame->extra);
        free(frame);
    }
}
