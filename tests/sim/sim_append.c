// SPDX-License-Identifier: Apache-2.0
// The append core's driver in the simulated client: actions out, answers in.
#include "sim_client.h"

#include <pawl/error.h>

#include "sim_write.h"

#define ULL(x) ((unsigned long long)(x))

// ---- actions of the core -------------------------------------------------------------------------------------------

static void carry_out_get_tail(struct sim *sim, struct sim_client *c,
                               const struct append_action *action)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetTail body = PAWL__GET_TAIL__INIT;
    Pawl__Hint hint = PAWL__HINT__INIT;
    body.file_id = c->notes->file_id;
    body.append = true;
    body.wait_ms = SIM_TAIL_WAIT_MS;
    if (action->hint_code != 0) {
        hint.handle = action->hint_handle;
        hint.version = action->hint_version;
        hint.server_id = action->hint_server;
        hint.code = action->hint_code;
        body.hint = &hint;
    }
    message.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    message.get_tail = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_TAIL}, &message);
}

static struct wire_record_id record_id(const struct sim_client *c,
                                       const struct append_action *action)
{
    return (struct wire_record_id){.producer_hi = c->producer_hi,
                                   .producer_lo = c->producer_lo,
                                   .sequence = action->sequence,
                                   .epoch = c->epoch,
                                   .flags = action->record_flags};
}

static void carry_out_send(struct sim *sim, struct sim_client *c,
                           const struct append_action *action)
{
    const struct sim_node *node = sim_server_node(sim, action->server);
    const struct sim_job *job = client_job(c, action->sequence, action->crc);
    bool epoch = (action->record_flags & WIRE_RECORD_EPOCH) != 0;
    struct wire_append message = {.header = {.type = WIRE_APPEND},
                                  .chunk = action->tail.handle,
                                  .version = action->tail.version,
                                  .id = record_id(c, action),
                                  .length = action->length,
                                  .crc = action->crc,
                                  .flags = action->replicated ? WIRE_APPEND_REPLICATED : 0};
    pawl_assert(node != NULL && (epoch || job != NULL));
    sim_note(sim, "%s sends sequence %llu to %s chunk %llu version %llu", c->node->name,
             ULL(action->sequence), node->name, ULL(message.chunk), ULL(message.version));
    struct sim_frame *frame =
        sim_frame_wire(&message, sizeof(message), epoch ? NULL : job->payload, action->length);
    link_ask_server(sim, c, node->index,
                    (struct sim_ask){.kind = SIM_CALL_APPEND,
                                     .attempt = action->attempt,
                                     .sequence = action->sequence,
                                     .length = action->length,
                                     .fresh = action->fresh},
                    frame);
}

static void carry_out_lookup(struct sim *sim, struct sim_client *c,
                             const struct append_action *action)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = c->notes->file_id;
    body.handle = action->chunk;
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    link_ask_master(sim, c,
                    (struct sim_ask){.kind = SIM_CALL_PLACE,
                                     .attempt = action->attempt,
                                     .sequence = action->sequence,
                                     .chunk = action->chunk,
                                     .length = action->length,
                                     .crc = action->crc,
                                     .flags = action->record_flags},
                    &message);
}

static void carry_out(struct sim *sim, struct sim_client *c, const struct append_action *action)
{
    switch (action->type) {
    case APPEND_ACTION_GET_TAIL:
        carry_out_get_tail(sim, c, action);
        break;
    case APPEND_ACTION_SEND:
        carry_out_send(sim, c, action);
        break;
    case APPEND_ACTION_LOOKUP:
        carry_out_lookup(sim, c, action);
        break;
    case APPEND_ACTION_DISCONNECT:
        link_disconnect(sim, c, (uint32_t)(action->server - SIM_SERVER_ID(0)));
        break;
    case APPEND_ACTION_DONE:
        client_done(sim, c, action);
        break;
    }
}

static void on_core_tick(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_client *c = event->node->state;
    if (c->core != NULL && c->tick_ns == event->a) {
        c->tick_ns = UINT64_MAX;
        (void)client_step(sim, c, (struct append_event){.type = APPEND_EVENT_TICK});
    }
}

int client_step(struct sim *sim, struct sim_client *c, struct append_event event)
{
    const struct append_actions *actions = NULL;
    if (c->core == NULL) {
        return 0; // for a core that is gone
    }
    event.now_ns = sim_clock(sim, c->node);
    int code = append_core_step(c->core, &event, &actions);
    for (uint32_t i = 0; code == 0 && i < actions->count && !sim->violated; i++) {
        carry_out(sim, c, &actions->items[i]);
    }
    uint64_t wake_ns = append_core_wake_ns(c->core);
    if (wake_ns != UINT64_MAX && wake_ns != c->tick_ns) {
        uint64_t now_ns = sim_clock(sim, c->node);
        c->tick_ns = wake_ns;
        // Rounding may wake it a moment early: the core then asks to be woken again.
        uint64_t wait_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
        sim_at(sim, sim_world_ns(c->node, wait_ns) + (wait_ns != 0 ? 1 : 0),
               (struct sim_event){.run = on_core_tick, .node = c->node, .a = wake_ns});
    }
    return code;
}

// ---- answers -----------------------------------------------------------------------------------------------------------

static void on_tail(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply)
{
    struct append_event event = {.type = APPEND_EVENT_TAIL, .status = status};
    if (status == 0) {
        const Pawl__Tail *tail = reply->tail;
        event.tail = (struct append_tail){.handle = tail->chunk->handle,
                                          .version = tail->chunk->version,
                                          .base_offset = tail->chunk->base_offset,
                                          .chunk_bytes = tail->chunk_bytes,
                                          .primary_id = tail->chunk->primary_id};
    }
    (void)client_step(sim, c, event);
}

// A replica of a chunk, any of them; NULL when none is listed.
static const struct sim_node *any_replica(struct sim *sim, const Pawl__Chunk *chunk)
{
    size_t count = chunk->n_replicas;
    return count == 0 ? NULL
                      : sim_server_node(sim, chunk->replicas[sim_below(sim, count)]->server_id);
}

static void on_place(struct sim *sim, struct sim_client *c, const struct sim_ask *ask, int status,
                     const Pawl__Reply *reply)
{
    const struct sim_node *node = NULL;
    if (status == 0 && reply->chunks->n_chunks == 1) {
        node = any_replica(sim, reply->chunks->chunks[0]);
    }
    if (node == NULL) {
        (void)client_step(sim, c,
                          (struct append_event){.type = APPEND_EVENT_LOOKED_UP,
                                                .status = status != 0 ? status : PAWL_ENOCHUNK,
                                                .sequence = ask->sequence,
                                                .attempt = ask->attempt});
        return;
    }
    struct sim_ask lookup = *ask;
    struct append_action action = {.sequence = ask->sequence, .record_flags = ask->flags};
    lookup.kind = SIM_CALL_LOOKUP;
    struct wire_lookup message = {.header = {.type = WIRE_LOOKUP},
                                  .chunk = ask->chunk,
                                  .id = record_id(c, &action),
                                  .length = ask->length,
                                  .crc = ask->crc,
                                  .compare = 1};
    link_ask_server(sim, c, node->index, lookup,
                    sim_frame_wire(&message, sizeof(message), NULL, 0));
}

static void on_chunks(struct sim *sim, struct sim_client *c, const struct sim_ask *ask, int status,
                      const Pawl__Reply *reply)
{
    if (status != 0 || reply->chunks->n_chunks == 0) {
        return;
    }
    const Pawl__Chunk *chunk = reply->chunks->chunks[sim_below(sim, reply->chunks->n_chunks)];
    // Now and then one that the master does not name: it has no copy, or an old one, and must say so.
    bool named = !sim_permille(sim, 200);
    bool all = named && sim_permille(sim, 800);
    const struct sim_node *node =
        named ? any_replica(sim, chunk)
              : sim_server_node(sim, SIM_SERVER_ID(sim_below(sim, sim->params.servers_count)));
    if (node == NULL) {
        return;
    }
    struct wire_read message = {.header = {.type = WIRE_READ},
                                .chunk = chunk->handle,
                                .offset = sim_below(sim, sim->params.chunk_bytes),
                                .buffer_address = 1,
                                .length = 1 + (uint32_t)sim_below(sim, 20000),
                                .log_chunks = chunk->log_chunks,
                                .log_bytes = sim_write_acked_bytes(c, chunk->handle),
                                .flags = all ? WIRE_READ_ALL : 0};
    message.offset = sim_permille(sim, 300) ? 0 : message.offset;
    message.log_bytes = sim_permille(sim, 500) ? 0 : message.log_bytes;
    link_ask_server(sim, c, node->index,
                    (struct sim_ask){.kind = SIM_CALL_READ,
                                     .chunk = chunk->handle,
                                     .acks_count = all ? ask->acks_count : 0},
                    sim_frame_wire(&message, sizeof(message), NULL, 0));
}

// A script's reader: the map first, as every client asks for it, then the replica that was named.
void sim_client_read(struct sim *sim, struct sim_node *node, uint64_t handle, uint32_t server)
{
    struct sim_client *c = node->state;
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = client_named_file(c->notes);
    body.handle = handle;
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    link_ask_master(sim, c,
                    (struct sim_ask){.kind = SIM_CALL_LOOK,
                                     .server = server,
                                     .acks_count = sim_writes_acks_count(sim)},
                    &message);
}

static void on_look(struct sim *sim, struct sim_client *c, const struct sim_ask *ask, int status,
                    const Pawl__Reply *reply)
{
    if (status != 0 || reply->chunks->n_chunks != 1) {
        return;
    }
    const Pawl__Chunk *chunk = reply->chunks->chunks[0];
    struct wire_read message = {.header = {.type = WIRE_READ},
                                .chunk = chunk->handle,
                                .buffer_address = 1,
                                .length = SIM_LOOK_BYTES,
                                .log_chunks = chunk->log_chunks,
                                .flags = WIRE_READ_ALL};
    struct sim_ask read = {
        .kind = SIM_CALL_READ, .chunk = chunk->handle, .acks_count = ask->acks_count};
    link_ask_server(sim, c, ask->server, read, sim_frame_wire(&message, sizeof(message), NULL, 0));
}

void client_master_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask,
                          int status, const Pawl__Reply *reply)
{
    switch (ask->kind) {
    case SIM_CALL_CREATE:
        client_created(sim, c, status, reply);
        break;
    case SIM_CALL_PRODUCER:
        client_producer(sim, c, status, reply);
        break;
    case SIM_CALL_SESSION:
        session_answer(sim, c, status, reply);
        break;
    case SIM_CALL_TAIL:
        on_tail(sim, c, status, reply);
        break;
    case SIM_CALL_PLACE:
        on_place(sim, c, ask, status, reply);
        break;
    case SIM_CALL_SCAN_CHUNKS:
        reader_chunks(sim, c, status, reply);
        break;
    case SIM_CALL_CHUNKS:
        on_chunks(sim, c, ask, status, reply);
        break;
    case SIM_CALL_LOOK:
        on_look(sim, c, ask, status, reply);
        break;
    case SIM_CALL_TARGETS:
    case SIM_CALL_WRITE_LOG:
        c->gone |= sim->params.remove && (status == PAWL_EDELETED || status == PAWL_ENOTFOUND);
        sim_write_answer(sim, c, ask, status, reply);
        break;
    default:
        break;
    }
}

void client_server_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask,
                          int status, const struct wire_appended *reply)
{
    struct append_event event = {.type = ask->kind == SIM_CALL_APPEND ? APPEND_EVENT_REPLY
                                                                      : APPEND_EVENT_LOOKED_UP,
                                 .status = status,
                                 .sequence = ask->sequence,
                                 .attempt = ask->attempt};
    if (reply != NULL) {
        event.reply = *reply;
    }
    (void)client_step(sim, c, event);
}

void client_disconnected(struct sim *sim, struct sim_client *c, uint32_t server)
{
    (void)client_step(
        sim, c,
        (struct append_event){.type = APPEND_EVENT_DISCONNECTED, .server = SIM_SERVER_ID(server)});
}
