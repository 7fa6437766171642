// SPDX-License-Identifier: Apache-2.0
// The chunk server's data plane: payloads and their uses, requests served, requests to peers.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "sim_chunkd.h"

// ---- payloads ----------------------------------------------------------------------------------------

static struct sim_payload *payload_add(struct sim_chunkd *s, uint32_t bytes)
{
    struct sim_payload *payload = sim_alloc(sizeof(*payload));
    payload->number = ++s->payload_last;
    payload->bytes = bytes;
    payload->uses = 1;
    pawl_assert(pawl_map_put(&s->payloads, payload->number, payload) == 0);
    return payload;
}

struct sim_payload *payload_new(struct sim_chunkd *s, const void *data, uint32_t bytes)
{
    struct sim_payload *payload = payload_add(s, bytes);
    payload->data = sim_copy(data, bytes);
    return payload;
}

// Bytes that stay where the peer has written them. TAKES a use of the window.
static struct sim_payload *payload_landed(struct sim_chunkd *s, struct sim_window *window,
                                          uint32_t at, uint32_t bytes)
{
    struct sim_payload *payload = payload_add(s, bytes);
    payload->window = window;
    payload->data = window->bytes + at;
    return payload;
}

struct sim_payload *payload_of(struct sim *sim, struct sim_chunkd *s, uint64_t number)
{
    struct sim_payload *payload = pawl_map_get(&s->payloads, number);
    if (payload == NULL) {
        sim_violation(sim, "%s uses payload %llu, which was given back", s->node->name,
                      (unsigned long long)number);
    }
    return payload;
}

static void payload_free(struct sim_payload *payload)
{
    sim_frame_free(payload->held);
    if (payload->window == NULL) {
        free(payload->rows != NULL ? (void *)(uintptr_t)payload->rows : payload->data);
    }
    free(payload);
}

static void conn_send(struct sim *sim, struct sim_chunkd *s, uint64_t conn_id,
                      struct sim_frame *frame)
{
    struct sim_conn *conn = sim_conn_of(sim, conn_id);
    sim_send(sim, conn, sim_side_of(conn, s->node), frame);
}

void payload_release(struct sim *sim, struct sim_chunkd *s, uint64_t number)
{
    struct sim_payload *payload = payload_of(sim, s, number);
    if (payload == NULL || --payload->uses > 0) {
        return;
    }
    if (payload->window != NULL) {
        window_unuse(sim, payload->window);
    }
    // With the reply the slots are the peer's again.
    if (payload->held != NULL) {
        conn_send(sim, s, payload->conn, payload->held);
        payload->held = NULL;
    }
    pawl_map_remove(&s->payloads, number);
    payload_free(payload);
}

// ---- requests served ---------------------------------------------------------------------------------

static struct sim_served *served_find(struct sim_chunkd *s, uint64_t conn, uint64_t request)
{
    for (uint32_t i = 0; i < s->served_count; i++) {
        if (s->served[i].conn == conn && s->served[i].request == request) {
            return &s->served[i];
        }
    }
    return NULL;
}

static void served_add(struct sim_chunkd *s, struct sim_served served)
{
    if (s->served_count == s->served_capacity) {
        s->served_capacity = s->served_capacity != 0 ? 2 * s->served_capacity : 64;
        s->served = realloc(s->served, s->served_capacity * sizeof(s->served[0]));
        pawl_assert(s->served != NULL);
    }
    s->served[s->served_count++] = served;
}

static void served_remove(struct sim_chunkd *s, struct sim_served *served)
{
    sim_frame_free(served->frame);
    *served = s->served[--s->served_count];
}

// The one answer of the core to a request; NULL after a violation.
static struct sim_served *served_answer(struct sim *sim, struct sim_chunkd *s, uint64_t conn,
                                        uint64_t request)
{
    struct sim_served *served = served_find(s, conn, request);
    if (served == NULL) {
        sim_violation(sim, "%s answers request %llu twice, or nobody's", s->node->name,
                      (unsigned long long)request);
    }
    return served;
}

static void reply_send(struct sim *sim, struct sim_chunkd *s, struct sim_served *served,
                       struct sim_frame *frame)
{
    struct wire_header header;
    memcpy(&header, frame->data, sizeof(header));
    struct wire_header request;
    memcpy(&request, served->frame->data, sizeof(request));
    header.magic = request.magic;
    header.format = request.format;
    header.features = request.features;
    header.request = served->request;
    header.bytes = frame->bytes;
    header.flags = 0;
    header.type = request.type | WIRE_REPLY;
    memcpy(frame->data, &header, sizeof(header));
    struct sim_payload *payload =
        served->payload != 0 ? pawl_map_get(&s->payloads, served->payload) : NULL;
    if (payload != NULL) {
        payload->held = frame;
    } else {
        conn_send(sim, s, served->conn, frame);
    }
    served_remove(s, served);
}

static void carry_out_reply(struct sim *sim, struct sim_chunkd *s,
                            const struct chunk_action *action)
{
    struct sim_served *served = served_answer(sim, s, action->conn, action->request);
    if (served == NULL) {
        return;
    }
    const struct wire_header *header = &action->reply.header;
    struct wire_header request;
    memcpy(&request, served->frame->data, sizeof(request));
    if (header->type != (request.type | WIRE_REPLY)) {
        sim_violation(sim, "%s answers a %s with type %x", s->node->name,
                      wire_type_name(request.type), header->type);
        return;
    }
    if (request.type == WIRE_APPEND && header->status == 0) {
        sim_run_answer(sim, s->node->index, served->frame, &action->reply.appended);
    }
    if (request.type == WIRE_PREPARE && header->status == 0) {
        sim_watch_prepared(sim, s->node->index, &action->reply.prepared);
    }
    uint32_t bytes = wire_struct_bytes(header->type);
    reply_send(sim, s, served, sim_frame_wire(&action->reply, bytes, NULL, 0));
}

static void on_damage(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life)) {
        chunkd_step(sim, event->node->state,
                    (struct chunk_event){.type = CHUNK_EVENT_DAMAGED, .handle = event->a});
    }
}

// What does not match its checksum is never given out; the core hears of it in the next turn.
static void reply_corrupt(struct sim *sim, struct sim_chunkd *s, struct sim_served *served,
                          uint64_t handle)
{
    struct wire_header request;
    union chunk_reply reply = {.header = {.status = PAWL_ECORRUPT}};
    memcpy(&request, served->frame->data, sizeof(request));
    sim_note(sim, "%s chunk %llu does not match its checksums", s->node->name,
             (unsigned long long)handle);
    reply_send(sim, s, served,
               sim_frame_wire(&reply, wire_struct_bytes(request.type | WIRE_REPLY), NULL, 0));
    sim_at(sim, 0, (struct sim_event){.run = on_damage, .node = s->node, .a = handle});
}

// Bytes [offset, offset + length) of what is durable, as one dense run.
static uint32_t chunk_read(const struct sim_chunk *chunk, uint64_t offset, uint32_t length,
                           uint8_t *buf)
{
    uint32_t done = 0;
    for (uint64_t i = 0; i < chunk->records_count; i++) {
        const struct sim_record *r = &chunk->records[i];
        uint64_t from = PAWL_MAX(offset, r->record.offset);
        uint64_t to = PAWL_MIN(offset + length, r->record.offset + r->record.length);
        if (from < to) {
            memcpy(buf + done, r->payload + (from - r->record.offset), to - from);
            done += (uint32_t)(to - from);
        }
    }
    return done;
}

// The chunk of a read, or of its log, whose bytes on this disk are not what they were; 0: all are.
static uint64_t read_damaged(const struct sim_chunkd *s, const struct chunk_action *action)
{
    for (uint32_t i = 0; i < action->segments_count; i++) {
        const struct chunk_segment *segment = &action->segments[i];
        const struct sim_chunk *chunk =
            segment->handle != 0 ? sim_disk_chunk(s->disk, segment->handle) : NULL;
        if (chunk != NULL && !sim_chunk_is_sound(chunk, segment->offset, segment->length)) {
            return segment->handle;
        }
    }
    return 0;
}

static void carry_out_read(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    struct sim_served *served = served_answer(sim, s, action->conn, action->request);
    struct wire_read request;
    if (served == NULL) {
        return;
    }
    uint64_t damaged = read_damaged(s, action);
    if (damaged != 0) {
        reply_corrupt(sim, s, served, damaged);
        return;
    }
    uint8_t *data = sim_alloc(action->length);
    struct wire_read_done done = {.header = {.type = WIRE_READ | WIRE_REPLY},
                                  .committed_bytes = action->committed_bytes,
                                  .sealed = action->sealed,
                                  .log_chunks = action->log_chunks,
                                  .log_bytes = action->log_bytes};
    for (uint32_t i = 0; i < action->segments_count; i++) {
        const struct chunk_segment *segment = &action->segments[i];
        const struct sim_chunk *chunk = sim_disk_chunk(s->disk, segment->handle);
        uint32_t got = segment->length; // of zeros
        if (segment->handle != 0) {
            got = chunk == NULL
                      ? 0
                      : chunk_read(chunk, segment->offset, segment->length, data + done.length);
        }
        if (got != segment->length || segment->length > action->length - done.length) {
            sim_violation(sim, "%s reads chunk %llu, which it does not have", s->node->name,
                          (unsigned long long)segment->handle);
            break;
        }
        done.length += got;
    }
    done.crc = pawl_crc32c(0, data, done.length);
    memcpy(&request, served->frame->data, sizeof(request));
    sim_oracle_read(sim, s->node->index, &request, &done, data);
    struct sim_frame *frame = sim_frame_wire(&done, sizeof(done), NULL, 0);
    sim_frame_extra(frame, data, done.length);
    reply_send(sim, s, served, frame);
    free(data);
}

// What a server fetches lands where its request says.
static void reply_fetched(struct sim *sim, struct sim_chunkd *s, struct sim_served *served,
                          const struct wire_fetched *fetched, const void *data)
{
    struct sim_frame *frame = sim_frame_wire(fetched, sizeof(*fetched), NULL, 0);
    struct wire_fetch request;
    memcpy(&request, served->frame->data, sizeof(request));
    sim_frame_extra(frame, data, fetched->length);
    frame->target = SIM_TARGET_LANDING;
    frame->target_number = (uint32_t)request.buffer_address - 1;
    reply_send(sim, s, served, frame);
}

static void carry_out_send_record(struct sim *sim, struct sim_chunkd *s,
                                  const struct chunk_action *action)
{
    struct sim_served *served = served_answer(sim, s, action->conn, action->request);
    const struct sim_chunk *chunk = sim_disk_chunk(s->disk, action->handle);
    if (served == NULL || chunk == NULL || action->index >= chunk->records_count) {
        sim_violation(sim, "%s sends record %llu of chunk %llu, which it does not have",
                      s->node->name, (unsigned long long)action->index,
                      (unsigned long long)action->handle);
        return;
    }
    if (!sim_record_is_sound(chunk, action->index)) {
        reply_corrupt(sim, s, served, action->handle);
        return;
    }
    const struct sim_record *r = &chunk->records[action->index];
    struct wire_fetched fetched = {.header = {.type = WIRE_FETCH | WIRE_REPLY},
                                   .chunk = action->handle,
                                   .index = action->index,
                                   .offset = r->record.offset,
                                   .id = r->record.id,
                                   .length = r->record.length,
                                   .crc = r->record.crc};
    reply_fetched(sim, s, served, &fetched, r->payload);
}

static void carry_out_send_table(struct sim *sim, struct sim_chunkd *s,
                                 const struct chunk_action *action)
{
    struct sim_served *served = served_answer(sim, s, action->conn, action->request);
    if (served == NULL) {
        return;
    }
    uint32_t bytes = action->table.count * (uint32_t)sizeof(struct wire_producer);
    struct wire_fetched fetched = {.header = {.type = WIRE_FETCH | WIRE_REPLY},
                                   .chunk = action->handle,
                                   .index = WIRE_FETCH_TABLE,
                                   .length = bytes,
                                   .crc = pawl_crc32c(0, action->table.rows, bytes)};
    reply_fetched(sim, s, served, &fetched, action->table.rows);
}

// ---- requests to peers -------------------------------------------------------------------------------

static struct sim_peer *peer_of(struct sim *sim, struct sim_chunkd *s, uint64_t server_id)
{
    const struct sim_node *node = sim_server_node(sim, server_id);
    if (node == NULL || node == s->node) {
        sim_violation(sim, "%s talks to server %llu", s->node->name, (unsigned long long)server_id);
        return NULL;
    }
    struct sim_peer *peer = &s->peers[node->index];
    if (peer->conn == NULL) {
        peer->conn = sim_connect(sim, s->node, sim_server_node(sim, server_id), false);
        peer->open = false;
    }
    return peer;
}

// The message of a PREPARE, with its payload inside or in slots.
static struct sim_frame *prepare_frame(const struct sim_call *call,
                                       const struct sim_payload *payload)
{
    struct wire_prepare prepare;
    memcpy(&prepare, call->frame->data, sizeof(prepare));
    uint32_t rows_bytes = wire_rows_bytes(prepare.run_count);
    uint32_t bytes = payload != NULL ? prepare.length + rows_bytes : 0;
    uint32_t inside = call->slot_count == 0 ? bytes : 0;
    prepare.slot_first = call->slot_first;
    prepare.slot_count = call->slot_count;
    wire_header_init(&prepare.header, WIRE_PREPARE, (uint32_t)sizeof(prepare) + inside,
                     call->request);
    struct sim_frame *frame = sim_frame_wire(
        &prepare, sizeof(prepare), inside != 0 ? payload->data - rows_bytes : NULL, inside);
    if (call->slot_count != 0) {
        sim_frame_extra(frame, payload->data, bytes);
        frame->target = SIM_TARGET_WINDOW;
        frame->target_number = call->slot_first;
    }
    return frame;
}

static void peer_send(struct sim *sim, struct sim_chunkd *s, struct sim_peer *peer,
                      struct sim_call *call)
{
    struct sim_frame *frame = call->frame;
    if (call->type == WIRE_PREPARE) {
        frame = prepare_frame(call, call->payload != 0 ? payload_of(sim, s, call->payload) : NULL);
        sim_frame_free(call->frame);
    }
    call->frame = NULL;
    call->sent = true;
    if (call->slot_count == 0 && call->type != WIRE_FETCH &&
        sim_fault(sim, SIM_FAULT_DOUBLE, sim->params.double_permille * 10)) {
        // The same again under a request id that nobody waits for.
        struct sim_frame *twin = sim_frame_copy(frame);
        struct wire_header header;
        memcpy(&header, twin->data, sizeof(header));
        header.request = ++s->call_last;
        memcpy(twin->data, &header, sizeof(header));
        sim_send(sim, peer->conn, sim_side_of(peer->conn, s->node), twin);
    }
    // Memory that it would write into may be another's by then: only a message by itself.
    if (call->type == WIRE_PREPARE && call->slot_count == 0 &&
        sim_fault(sim, SIM_FAULT_ECHO, sim->params.double_permille * 10)) {
        struct sim_frame *late = sim_frame_copy(frame);
        struct wire_header header;
        memcpy(&header, late->data, sizeof(header));
        header.request = UINT64_MAX;
        memcpy(late->data, &header, sizeof(header));
        sim_echo(sim, peer->conn, 1 - sim_side_of(peer->conn, s->node), late);
        sim_frame_free(late);
    }
    sim_send(sim, peer->conn, sim_side_of(peer->conn, s->node), frame);
}

// Sends what may go now, in the order of the calls: the first that finds no slots holds the others.
static void peer_pump(struct sim *sim, struct sim_chunkd *s, struct sim_peer *peer)
{
    for (uint32_t i = 0; peer->open && i < peer->calls_count && !sim->violated; i++) {
        struct sim_call *call = &peer->calls[i];
        if (call->sent) {
            continue;
        }
        if (call->slot_count != 0 && !sim_slots_take(&peer->slots_used, sim->params.window_slots,
                                                     call->slot_count, &call->slot_first)) {
            return;
        }
        uint64_t payload = call->payload;
        peer_send(sim, s, peer, call);
        call->payload = 0;
        if (payload != 0) {
            payload_release(sim, s, payload);
        }
    }
}

static void peer_call(struct sim *sim, struct sim_chunkd *s, uint64_t server_id,
                      struct sim_call call)
{
    struct sim_peer *peer = peer_of(sim, s, server_id);
    if (peer == NULL) {
        sim_frame_free(call.frame);
        return; // a violation
    }
    if (peer->calls_count == peer->calls_capacity) {
        peer->calls_capacity = peer->calls_capacity != 0 ? 2 * peer->calls_capacity : 32;
        peer->calls = realloc(peer->calls, peer->calls_capacity * sizeof(peer->calls[0]));
        pawl_assert(peer->calls != NULL);
    }
    call.deadline_ns = sim_clock(sim, s->node) + SIM_OPERATION_MS * SIM_MS;
    peer->calls[peer->calls_count++] = call;
    peer_pump(sim, s, peer);
}

static void carry_out_prepare(struct sim *sim, struct sim_chunkd *s,
                              const struct chunk_action *action)
{
    const struct wire_prepare *prepare = &action->prepare;
    struct sim_payload *payload = action->payload != 0 ? payload_of(sim, s, action->payload) : NULL;
    sim_watch_order(sim, s->node->index, prepare->chunk, prepare->version);
    if (sim->violated) {
        return;
    }
    struct sim_call call = {.request = ++s->call_last,
                            .type = WIRE_PREPARE,
                            .handle = prepare->chunk,
                            .version = prepare->version,
                            .index = wire_prepare_last(prepare)};
    if (payload != NULL) {
        payload->uses++;
        call.payload = payload->number;
        call.slot_count = prepare->run_count != 0 ? 0 : sim_slots_count(sim, prepare->length);
    }
    call.frame = sim_frame_wire(prepare, sizeof(*prepare), NULL, 0);
    peer_call(sim, s, action->server, call);
}

static void carry_out_commit(struct sim *sim, struct sim_chunkd *s,
                             const struct chunk_action *action)
{
    struct wire_commit commit = action->commit;
    struct sim_call call = {.request = ++s->call_last, .type = WIRE_COMMIT};
    wire_header_init(&commit.header, WIRE_COMMIT, sizeof(commit), call.request);
    call.frame = sim_frame_wire(&commit, sizeof(commit), NULL, 0);
    peer_call(sim, s, action->server, call);
}

static void carry_out_hold(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    struct wire_hold hold = action->hold;
    struct sim_call call = {.request = ++s->call_last,
                            .type = WIRE_HOLD,
                            .handle = hold.chunk,
                            .version = hold.version,
                            .index = hold.count};
    wire_header_init(&hold.header, WIRE_HOLD, sizeof(hold), call.request);
    call.frame = sim_frame_wire(&hold, sizeof(hold), NULL, 0);
    peer_call(sim, s, action->server, call);
}

static void carry_out_fetch(struct sim *sim, struct sim_chunkd *s,
                            const struct chunk_action *action)
{
    struct wire_fetch fetch = action->fetch;
    struct sim_call call = {.request = ++s->call_last, .type = WIRE_FETCH, .token = action->token};
    const struct sim_peer *peer = peer_of(sim, s, action->server);
    if (peer == NULL) {
        return;
    }
    call.landing = window_get(sim, s, peer->conn->id);
    wire_header_init(&fetch.header, WIRE_FETCH, sizeof(fetch), call.request);
    fetch.buffer_address = call.landing->number + 1;
    call.frame = sim_frame_wire(&fetch, sizeof(fetch), NULL, 0);
    peer_call(sim, s, action->server, call);
}

void fabric_carry_out(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    switch (action->type) {
    case CHUNK_ACTION_REPLY:
        carry_out_reply(sim, s, action);
        break;
    case CHUNK_ACTION_PREPARE:
        carry_out_prepare(sim, s, action);
        break;
    case CHUNK_ACTION_COMMIT:
        carry_out_commit(sim, s, action);
        break;
    case CHUNK_ACTION_HOLD:
        carry_out_hold(sim, s, action);
        break;
    case CHUNK_ACTION_FETCH:
        carry_out_fetch(sim, s, action);
        break;
    case CHUNK_ACTION_READ:
        carry_out_read(sim, s, action);
        break;
    case CHUNK_ACTION_SEND_RECORD:
        carry_out_send_record(sim, s, action);
        break;
    case CHUNK_ACTION_SEND_TABLE:
        carry_out_send_table(sim, s, action);
        break;
    case CHUNK_ACTION_CONNECT:
        (void)peer_of(sim, s, action->server);
        break;
    default:
        sim_violation(sim, "%s unknown action %d", s->node->name, (int)action->type);
        break;
    }
}

// ---- ends of requests to peers -------------------------------------------------------------------------

// Bytes that land may differ from those that were sent; the checksum has to find out.
static void tear(struct sim *sim, uint8_t *data, uint32_t bytes)
{
    if (bytes != 0 && sim_fault(sim, SIM_FAULT_TEAR, sim->params.tear_permille * 10)) {
        data[sim_fault_below(sim, bytes)] ^= (uint8_t)(1 + sim_fault_below(sim, 255));
    }
}

static void fetch_ended(struct sim *sim, struct sim_chunkd *s, const struct sim_call *call,
                        int status, const struct sim_frame *frame)
{
    struct chunk_event event = {
        .type = CHUNK_EVENT_FETCHED, .token = call->token, .status = status};
    if (status == 0) {
        struct wire_fetched fetched;
        memcpy(&fetched, frame->data, sizeof(fetched));
        // The endpoint's use of the landing becomes the payload's, or ends.
        call->landing->conn = 0;
        if (frame->extra_bytes == 0) {
            window_unuse(sim, call->landing);
        } else {
            struct sim_payload *payload = payload_landed(s, call->landing, 0, frame->extra_bytes);
            tear(sim, payload->data, payload->bytes);
            event.payload = payload->number;
            event.payload_crc = pawl_crc32c(0, payload->data, payload->bytes);
            event.bytes = payload->data;
        }
        event.message = &fetched.header;
        chunkd_step(sim, s, event);
        return;
    }
    if (frame != NULL) {
        call->landing->conn = 0; // refused: nothing will be written
        window_unuse(sim, call->landing);
    }
    chunkd_step(sim, s, event);
}

static void call_ended(struct sim *sim, struct sim_chunkd *s, uint32_t server,
                       const struct sim_call *call, const struct sim_frame *frame, int status)
{
    switch (call->type) {
    case WIRE_PREPARE:
    case WIRE_HOLD:
        chunkd_step(sim, s,
                    (struct chunk_event){.type = call->type == WIRE_HOLD ? CHUNK_EVENT_HELD
                                                                         : CHUNK_EVENT_PREPARED,
                                         .server = SIM_SERVER_ID(server),
                                         .handle = call->handle,
                                         .version = call->version,
                                         .index = call->index,
                                         .status = status});
        break;
    case WIRE_FETCH:
        fetch_ended(sim, s, call, status, frame);
        break;
    default:
        break;
    }
}

static void peer_lost(struct sim *sim, struct sim_chunkd *s, uint32_t server)
{
    struct sim_peer *peer = &s->peers[server];
    struct sim_peer old = *peer;
    *peer = (struct sim_peer){0};
    sim_note(sim, "%s has lost its connection to cs%u", s->node->name, server + 1);
    for (uint32_t i = 0; i < old.calls_count; i++) {
        sim_frame_free(old.calls[i].frame);
        if (old.calls[i].payload != 0) {
            payload_release(sim, s, old.calls[i].payload);
        }
        call_ended(sim, s, server, &old.calls[i], NULL, PAWL_EDISCONNECTED);
    }
    free(old.calls);
    chunkd_step(
        sim, s,
        (struct chunk_event){.type = CHUNK_EVENT_PEER_DOWN, .server = SIM_SERVER_ID(server)});
}

static void on_reply(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                     const struct sim_frame *frame)
{
    uint32_t server = conn->side[1 - sim_side_of(conn, s->node)].node->index;
    struct sim_peer *peer = &s->peers[server];
    struct wire_header header;
    memcpy(&header, frame->data, sizeof(header));
    if (peer->conn != conn) {
        return;
    }
    for (uint32_t i = 0; i < peer->calls_count; i++) {
        if (peer->calls[i].request == header.request) {
            struct sim_call call = peer->calls[i];
            peer->slots_used &= ~sim_slots_mask(call.slot_first, call.slot_count);
            peer->calls_count--;
            memmove(&peer->calls[i], &peer->calls[i + 1],
                    (peer->calls_count - i) * sizeof(peer->calls[0]));
            call_ended(sim, s, server, &call, frame, header.status);
            if (s->peers[server].conn == conn) {
                peer_pump(sim, s, &s->peers[server]); // there may be slots again
            }
            return;
        }
    }
}

void fabric_tick(struct sim *sim, struct sim_chunkd *s)
{
    uint64_t now_ns = sim_clock(sim, s->node);
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        struct sim_peer *peer = &s->peers[i];
        if (peer->calls_count > 0 && peer->calls[0].deadline_ns < now_ns) {
            sim_close(sim, peer->conn, sim_side_of(peer->conn, s->node));
            peer_lost(sim, s, i);
        }
    }
}

// ---- connections ---------------------------------------------------------------------------------------

void fabric_opened(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn, int side)
{
    struct sim_peer *peer = &s->peers[conn->side[1 - side].node->index];
    if (side != 0 || peer->conn != conn) {
        return;
    }
    peer->open = true;
    peer_pump(sim, s, peer);
}

static void conn_closed(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn)
{
    for (uint32_t i = 0; i < s->served_count;) {
        if (s->served[i].conn == conn->id) {
            served_remove(s, &s->served[i]);
        } else {
            i++;
        }
    }
    chunkd_step(sim, s, (struct chunk_event){.type = CHUNK_EVENT_CONN_CLOSED, .conn = conn->id});
}

void fabric_closed(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn, int side)
{
    if (side == 1) {
        conn_closed(sim, s, conn);
        return;
    }
    uint32_t server = conn->side[1].node->index;
    if (s->peers[server].conn == conn) {
        peer_lost(sim, s, server);
    }
}

// Slots that a request names are the server's until its reply.
static void slots_check(struct sim *sim, struct sim_chunkd *s, const struct sim_served *served)
{
    for (uint32_t i = 0; i < s->served_count; i++) {
        if (s->served[i].conn == served->conn && (s->served[i].slots & served->slots) != 0 &&
            !PAWL_MUTANT(stored_unchecked)) {
            sim_violation(sim, "%s is sent a request that names slots in use", s->node->name);
        }
    }
}

// The bytes that came with a request: inside it, or in the slots that it names.
static struct sim_payload *payload_of_frame(struct sim *sim, struct sim_chunkd *s,
                                            struct sim_conn *conn, const struct sim_frame *frame,
                                            struct sim_served *served)
{
    struct wire_header header;
    memcpy(&header, frame->data, sizeof(header));
    uint32_t fixed_bytes = wire_struct_bytes(header.type);
    uint32_t rows_bytes = wire_rows_bytes(sim_run_count(frame));
    if (rows_bytes != 0) {
        uint32_t bytes = frame->bytes - fixed_bytes;
        struct sim_payload *payload = payload_new(s, frame->data + fixed_bytes, bytes);
        tear(sim, payload->data, bytes);
        payload->rows = (const void *)payload->data;
        payload->data += rows_bytes;
        payload->bytes -= rows_bytes;
        return payload;
    }
    if (frame->bytes > fixed_bytes) {
        return payload_new(s, frame->data + fixed_bytes, frame->bytes - fixed_bytes);
    }
    if (frame->target != SIM_TARGET_WINDOW) {
        return NULL;
    }
    struct sim_window *window = window_of_conn(sim, s, conn);
    uint32_t count = (frame->extra_bytes + SIM_SLOT_BYTES - 1) / SIM_SLOT_BYTES;
    served->slots = sim_slots_mask(frame->target_number, count);
    slots_check(sim, s, served);
    window->uses++;
    return payload_landed(s, window, frame->target_number * SIM_SLOT_BYTES, frame->extra_bytes);
}

void fabric_frame(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                  struct sim_frame *frame)
{
    struct wire_header header;
    const char *why = NULL;
    int code = wire_check(frame->data, frame->bytes, &why);
    if (code != 0) {
        sim_violation(sim, "%s got a message that is not right: %s", s->node->name, why);
        return;
    }
    memcpy(&header, frame->data, sizeof(header));
    if (frame->target != SIM_TARGET_READER) {
        window_land(sim, s, conn, frame);
    }
    if ((header.type & WIRE_REPLY) != 0) {
        on_reply(sim, s, conn, frame);
        return;
    }
    uint32_t head_bytes = wire_struct_bytes(header.type) + wire_rows_bytes(sim_run_count(frame));
    struct sim_served served = {.conn = conn->id,
                                .request = header.request,
                                .frame = sim_frame_wire(frame->data, head_bytes, NULL, 0)};
    struct chunk_event event = {
        .type = chunk_event_of(header.type), .conn = conn->id, .request = header.request};
    struct sim_payload *payload = payload_of_frame(sim, s, conn, frame, &served);
    if (payload != NULL) {
        payload->conn = conn->id;
        payload->request = header.request;
        served.payload = payload->number;
        event.payload = payload->number;
        event.rows = payload->rows;
        if (payload->rows != NULL) {
            event.payload_crc = sim_run_crc(frame, payload);
        } else {
            tear(sim, payload->data, payload->bytes);
            event.payload_crc = pawl_crc32c(0, payload->data, payload->bytes);
        }
    }
    served_add(s, served);
    // The frame stays where it is for the length of the step.
    event.message = (const struct wire_header *)(const void *)frame->data;
    chunkd_step(sim, s, event);
}

void fabric_fini(struct sim_chunkd *s)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(&s->payloads, &cursor, &key, &value)) {
        payload_free(value);
    }
    pawl_map_fini(&s->payloads);
    for (uint32_t i = 0; i < s->served_count; i++) {
        sim_frame_free(s->served[i].frame);
    }
    free(s->served);
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        for (uint32_t c = 0; c < s->peers[i].calls_count; c++) {
            sim_frame_free(s->peers[i].calls[c].frame);
        }
        free(s->peers[i].calls);
    }
}
