// SPDX-License-Identifier: Apache-2.0
// The chunk server's driver: the chunk core between its disk, its peers and the master.
#include <string.h>

#include <pawl/error.h>

#include "dataplane/core/chunk_core_private.h"
#include "model.h"

#define ULL(x) ((unsigned long long)(x))
#define LEASE_NS (2000 * MODEL_NS_PER_MS)

struct model_server *model_server_at(uint32_t server)
{
    pawl_assert(server < MODEL_SERVERS_MAX);
    return model_part(server);
}

static void step(uint32_t server, struct chunk_event event);

// ---- requests to peers -------------------------------------------------------------------------------

static uint32_t peer_conn(uint32_t server, uint32_t peer)
{
    struct model_server *s = model_server_at(server);
    if (s->peers[peer] == 0) {
        s->peers[peer] = model_connect(server, peer);
    }
    return s->peers[peer];
}

static void call(uint32_t server, uint64_t server_id, struct model_call call, uint32_t message)
{
    struct model_server *s = model_server_at(server);
    call.peer = server_id - MODEL_SERVER_ID(0);
    pawl_assert(call.peer < model_world.config->servers_count && call.peer != server);
    call.conn = peer_conn(server, (uint32_t)call.peer);
    struct model_call *place = NULL;
    call.request = 1;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (s->calls[i].conn == 0) {
            place = place != NULL ? place : &s->calls[i];
        } else if (s->calls[i].conn == call.conn) {
            call.request = PAWL_MAX(call.request, (uint16_t)(s->calls[i].request + 1));
        }
    }
    pawl_assert(place != NULL);
    *place = call;
    model_send(call.conn, server,
               (struct model_entry){.message = message, .request = call.request});
}

static void carry_out_prepare(uint32_t server, const struct chunk_action *action)
{
    struct wire_prepare prepare = action->prepare;
    wire_header_init(&prepare.header, WIRE_PREPARE, sizeof(prepare), 0);
    prepare.slot_count = prepare.length != 0 ? 1 : 0;
    call(server, action->server,
         (struct model_call){.type = WIRE_PREPARE,
                             .handle = prepare.chunk,
                             .version = prepare.version,
                             .index = prepare.index},
         model_message_wire(&prepare, sizeof(prepare), action->payload));
}

// Nobody cares for the reply to a COMMIT, so none is waited for.
static void carry_out_commit(uint32_t server, const struct chunk_action *action)
{
    struct wire_commit commit = action->commit;
    wire_header_init(&commit.header, WIRE_COMMIT, sizeof(commit), 0);
    uint32_t conn = peer_conn(server, (uint32_t)(action->server - MODEL_SERVER_ID(0)));
    model_send(conn, server,
               (struct model_entry){.message = model_message_wire(&commit, sizeof(commit), 0)});
}

static void carry_out_hold(uint32_t server, const struct chunk_action *action)
{
    struct wire_hold hold = action->hold;
    wire_header_init(&hold.header, WIRE_HOLD, sizeof(hold), 0);
    call(server, action->server,
         (struct model_call){
             .type = WIRE_HOLD, .handle = hold.chunk, .version = hold.version, .index = hold.count},
         model_message_wire(&hold, sizeof(hold), 0));
}

static void carry_out_fetch(uint32_t server, const struct chunk_action *action)
{
    struct wire_fetch fetch = action->fetch;
    wire_header_init(&fetch.header, WIRE_FETCH, sizeof(fetch), 0);
    call(server, action->server, (struct model_call){.type = WIRE_FETCH, .token = action->token},
         model_message_wire(&fetch, sizeof(fetch), 0));
}

// ---- requests served ---------------------------------------------------------------------------------

static struct model_served *served_find(uint32_t server, uint32_t conn, uint64_t request)
{
    struct model_server *s = model_server_at(server);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        struct model_served *served = &s->served[i];
        if (served->conn == conn && served->request == request && served->number == 0) {
            return served;
        }
    }
    model_violation("cs%u answers request %llu twice, or nobody's", server + 1, ULL(request));
    return NULL;
}

static struct model_served *served_add(uint32_t server, struct model_served served)
{
    struct model_server *s = model_server_at(server);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (s->served[i].conn == 0) {
            s->served[i] = served;
            return &s->served[i];
        }
    }
    pawl_assert(false);
    return NULL;
}

static void served_end(uint32_t server, struct model_served *served, uint32_t message)
{
    struct model_served old = *served;
    *served = (struct model_served){0};
    if (old.conn != MODEL_GHOST && old.request != 0) {
        model_send(old.conn, server,
                   (struct model_entry){
                       .message = message, .request = (uint16_t)old.request, .reply = true});
    }
}

static void carry_out_reply(uint32_t server, const struct chunk_action *action)
{
    struct model_served *served = served_find(server, (uint32_t)action->conn, action->request);
    if (served == NULL) {
        return;
    }
    const struct wire_header *request = model_message_header(model_message_at(served->message));
    union chunk_reply reply = action->reply;
    if (reply.header.type != (request->type | WIRE_REPLY)) {
        model_violation("cs%u answers a %s with type %x", server + 1, wire_type_name(request->type),
                        reply.header.type);
        return;
    }
    if (request->type == WIRE_APPEND && reply.header.status == 0) {
        model_oracle_answer(server, (const void *)request, &reply.appended);
    }
    uint32_t bytes = wire_struct_bytes(reply.header.type);
    served_end(server, served, model_message_wire(&reply, bytes, 0));
}

static void carry_out_send_record(uint32_t server, const struct chunk_action *action)
{
    struct model_served *served = served_find(server, (uint32_t)action->conn, action->request);
    const struct model_chunk *chunk = model_disk_chunk(server, action->handle);
    if (served == NULL || chunk == NULL || action->index >= chunk->records_count) {
        model_violation("cs%u sends record %llu of chunk %llu, which it does not have", server + 1,
                        ULL(action->index), ULL(action->handle));
        return;
    }
    const struct model_record *r = &chunk->records[action->index];
    struct wire_fetched fetched = {.chunk = action->handle,
                                   .index = action->index,
                                   .offset = r->record.offset,
                                   .id = r->record.id,
                                   .length = r->record.length,
                                   .crc = r->record.crc};
    wire_header_init(&fetched.header, WIRE_FETCH | WIRE_REPLY, sizeof(fetched), 0);
    served_end(server, served, model_message_wire(&fetched, sizeof(fetched), r->payload));
}

// ---- the master ----------------------------------------------------------------------------------------

static void carry_out_answer(uint32_t server, const struct chunk_action *action)
{
    struct model_server *s = model_server_at(server);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (s->served[i].conn != 0 && s->served[i].number == action->request) {
            s->served[i].number = 0;
            served_end(server, &s->served[i], model_message_packed(MODEL_REPLY, &action->answer));
            return;
        }
    }
    model_violation("cs%u answers command %llu twice, or nobody's", server + 1,
                    ULL(action->request));
}

static void tell_master(uint32_t server, const Pawl__Request *request, uint16_t number)
{
    const struct model_server *s = model_server_at(server);
    if (s->control != 0) {
        model_send(s->control, server,
                   (struct model_entry){.message = model_message_packed(MODEL_REQUEST, request),
                                        .request = number});
    }
}

static void carry_out_report(uint32_t server, const struct chunk_action *action)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Report body = PAWL__REPORT__INIT;
    body.kind = action->report.kind;
    body.server_id = action->report.server_id;
    body.handle = action->handle;
    body.version = action->version;
    message.body_case = PAWL__REQUEST__BODY_REPORT;
    message.report = &body;
    tell_master(server, &message, 0);
}

struct inventory {
    Pawl__Replica replicas[MODEL_CHUNKS_MAX];
    Pawl__Replica *pointers[MODEL_CHUNKS_MAX];
    size_t count;
};

static void take_replica(void *user, const Pawl__Replica *replica)
{
    struct inventory *inventory = user;
    pawl_assert(inventory->count < MODEL_CHUNKS_MAX);
    inventory->pointers[inventory->count] = &inventory->replicas[inventory->count];
    inventory->replicas[inventory->count++] = *replica;
}

static void send_register(uint32_t server)
{
    static char names[][4] = {"cs1", "cs2", "cs3"};
    const struct model_server *s = model_server_at(server);
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Register body = PAWL__REGISTER__INIT;
    struct inventory inventory = {0};
    chunk_core_visit(s->core, false, take_replica, &inventory);
    body.server_id = MODEL_SERVER_ID(server);
    body.incarnation = s->life;
    body.name = names[server];
    body.fabric_address = names[server];
    body.space_bytes = UINT64_C(1) << 40;
    body.n_replicas = inventory.count;
    body.replicas = inventory.pointers;
    message.body_case = PAWL__REQUEST__BODY_REGISTER;
    message.register_ = &body;
    tell_master(server, &message, 0);
}

void model_server_register(uint32_t server)
{
    struct model_server *s = model_server_at(server);
    s->control = model_connect(server, MODEL_MASTER);
    send_register(server);
}

void model_server_beat(uint32_t server)
{
    const struct model_server *s = model_server_at(server);
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Heartbeat body = PAWL__HEARTBEAT__INIT;
    struct inventory inventory = {0};
    chunk_core_visit(s->core, true, take_replica, &inventory);
    body.server_id = MODEL_SERVER_ID(server);
    body.incarnation = s->life;
    body.space_bytes = UINT64_C(1) << 40;
    body.n_replicas = inventory.count;
    body.replicas = inventory.pointers;
    message.body_case = PAWL__REQUEST__BODY_HEARTBEAT;
    message.heartbeat = &body;
    tell_master(server, &message, 1);
}

static void on_beat_answer(uint32_t server, const Pawl__Reply *reply)
{
    const Pawl__HeartbeatAnswer *answer = reply->heartbeat;
    for (size_t i = 0; i < answer->n_renewals; i++) {
        step(server, (struct chunk_event){.type = CHUNK_EVENT_LEASE,
                                          .handle = answer->renewals[i]->handle,
                                          .version = answer->renewals[i]->version,
                                          .until_ns = MODEL_NOW_NS + LEASE_NS});
    }
    if (answer->register_again) {
        send_register(server);
    }
}

static void on_command(uint32_t server, uint32_t conn, const struct model_entry *entry,
                       uint64_t request)
{
    struct model_server *s = model_server_at(server);
    uint64_t number = 1;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        number = PAWL_MAX(number, s->served[i].number + 1);
    }
    served_add(server,
               (struct model_served){
                   .conn = conn, .request = request, .message = entry->message, .number = number});
    step(server, (struct chunk_event){.type = CHUNK_EVENT_COMMAND,
                                      .request = number,
                                      .command = model_message_at(entry->message)->request});
}

// ---- store -----------------------------------------------------------------------------------------

static void store(uint32_t server, const struct chunk_action *action, enum model_op_kind kind)
{
    struct model_disk *disk = &model_server_at(server)->disk;
    pawl_assert(disk->queue_count < MODEL_QUEUE_MAX);
    struct model_op *op = &disk->queue[disk->queue_count++];
    *op = (struct model_op){.kind = kind,
                            .token = action->token,
                            .handle = action->handle,
                            .version = action->version,
                            .index = action->index,
                            .count = action->count,
                            .commit_count = action->commit_count};
    if (kind == MODEL_OP_APPEND) {
        op->record = (struct model_record){.record = action->record, .payload = action->payload};
    } else if (kind == MODEL_OP_CREATE) {
        const struct chunk_create *create = &action->create;
        pawl_assert(create->producers_count <= MODEL_CLIENTS_MAX);
        op->create = (struct model_create){.version = create->version,
                                           .file_id = create->file_id,
                                           .base_offset = create->base_offset,
                                           .chunk_bytes = create->chunk_bytes,
                                           .index = create->index,
                                           .producers_count = create->producers_count};
        if (create->producers_count > 0) {
            memcpy(op->create.producers, create->producers,
                   create->producers_count * sizeof(create->producers[0]));
        }
    }
}

// ---- the step ----------------------------------------------------------------------------------------

static void carry_out(uint32_t server, const struct chunk_action *action)
{
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
        store(server, action, MODEL_OP_CREATE);
        break;
    case CHUNK_ACTION_APPEND:
        store(server, action, MODEL_OP_APPEND);
        break;
    case CHUNK_ACTION_PROMISE:
        store(server, action, MODEL_OP_PROMISE);
        break;
    case CHUNK_ACTION_SEAL:
        store(server, action, MODEL_OP_SEAL);
        break;
    case CHUNK_ACTION_DROP:
        store(server, action, MODEL_OP_DROP);
        break;
    case CHUNK_ACTION_REPLY:
        carry_out_reply(server, action);
        break;
    case CHUNK_ACTION_PREPARE:
        carry_out_prepare(server, action);
        break;
    case CHUNK_ACTION_COMMIT:
        carry_out_commit(server, action);
        break;
    case CHUNK_ACTION_HOLD:
        carry_out_hold(server, action);
        break;
    case CHUNK_ACTION_FETCH:
        carry_out_fetch(server, action);
        break;
    case CHUNK_ACTION_SEND_RECORD:
        carry_out_send_record(server, action);
        break;
    case CHUNK_ACTION_CONNECT:
        (void)peer_conn(server, (uint32_t)(action->server - MODEL_SERVER_ID(0)));
        break;
    case CHUNK_ACTION_ANSWER:
        carry_out_answer(server, action);
        break;
    case CHUNK_ACTION_REPORT:
        carry_out_report(server, action);
        break;
    case CHUNK_ACTION_RELEASE:
        break;
    default:
        pawl_assert(false);
    }
}

static void step(uint32_t server, struct chunk_event event)
{
    struct model_server *s = model_server_at(server);
    const struct chunk_actions *actions = NULL;
    uint32_t released = 0;
    event.now_ns = MODEL_NOW_NS;
    int code = chunk_core_step(s->core, &event, &actions);
    pawl_assert(code == 0);
    if (model_world.validate) {
        chunk_core_validate(s->core);
    }
    for (uint32_t i = 0; i < actions->count && !model_world.violated; i++) {
        released += actions->items[i].type == CHUNK_ACTION_RELEASE;
        carry_out(server, &actions->items[i]);
    }
    if (released != (event.payload != 0)) {
        model_violation("cs%u gives a payload back %u times", server + 1, released);
    }
}

// What a reader would be told now. The step changes nothing; its actions are not carried out.
static void probe_reads(uint32_t server)
{
    struct model_server *s = model_server_at(server);
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        const struct chunk_actions *actions = NULL;
        struct wire_read read = {.chunk = s->disk.chunks[i].handle, .offset = UINT32_MAX};
        struct chunk_event event = {.type = CHUNK_EVENT_READ,
                                    .now_ns = MODEL_NOW_NS,
                                    .conn = MODEL_GHOST,
                                    .message = &read.header};
        if (read.chunk == 0) {
            continue;
        }
        int code = chunk_core_step(s->core, &event, &actions);
        pawl_assert(code == 0 && actions->count == 1);
        const union chunk_reply *reply = &actions->items[0].reply;
        if (reply->header.status == 0) {
            model_oracle_read(server, read.chunk, reply->read_done.committed_bytes,
                              reply->read_done.sealed != 0);
        }
    }
}

static void touch(uint32_t server)
{
    struct model_server *s = model_server_at(server);
    model_world.touched[server] = true;
    if (s->core != NULL) {
        probe_reads(server);
        model_normalise_server(s->core);
    }
}

static struct pawl_record record_at(const void *rows, uint64_t index)
{
    const struct model_chunk *chunk = rows;
    return chunk->records[index].record;
}

static void load_chunk(uint32_t server, const struct model_chunk *chunk)
{
    const struct model_server *s = model_server_at(server);
    struct chunk_load load = {.create = {.handle = chunk->handle,
                                         .version = chunk->version,
                                         .file_id = chunk->create.file_id,
                                         .base_offset = chunk->create.base_offset,
                                         .chunk_bytes = chunk->create.chunk_bytes,
                                         .index = chunk->create.index,
                                         .producers_count = chunk->create.producers_count,
                                         .producers = chunk->create.producers},
                              .version = chunk->version,
                              .commit_count = PAWL_MIN(chunk->commit_count, chunk->records_count),
                              .sealed = chunk->sealed != 0,
                              .record_at = record_at,
                              .rows = chunk,
                              .records_count = chunk->records_count};
    int code = chunk_core_load(s->core, &load);
    if (code != 0) {
        model_violation("cs%u can't go on from its own disk: chunk %llu: %d", server + 1,
                        ULL(chunk->handle), code);
    }
}

void model_server_start(uint32_t server)
{
    struct model_server *s = model_server_at(server);
    struct chunk_core_options options = {.server_id = MODEL_SERVER_ID(server),
                                         .alloc = model_region_alloc(model_world.regions[server])};
    pawl_assert(s->core == NULL && chunk_core_new(&options, &s->core) == 0);
    model_world.up[server] = true;
    s->life++;
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        if (s->disk.chunks[i].handle != 0) {
            load_chunk(server, &s->disk.chunks[i]);
        }
    }
    // Without copies a DROP finds an order in the versions alone.
    step(server, (struct chunk_event){.type = CHUNK_EVENT_REGISTERED});
    touch(server);
}

// Nothing that was queued reaches the disk: that some of it had done so is the same as a crash a
// little later, after the flush and before anybody heard of it.
void model_server_crash(uint32_t server)
{
    struct model_server *s = model_server_at(server);
    struct model_server left = {.life = s->life, .disk = s->disk};
    memset(left.disk.queue, 0, sizeof(left.disk.queue));
    left.disk.queue_count = 0;
    model_region_reset(model_world.regions[server]);
    *s = left;
    model_world.up[server] = false;
    model_net_crashed(server);
    model_world.touched[server] = true;
}

// ---- from the network ----------------------------------------------------------------------------------

// The bytes that arrived beside a message.
static uint64_t landed(const struct model_message *message, bool torn)
{
    return message->payload ^ (torn ? UINT64_C(1) << 40 : 0);
}

static void call_ended(uint32_t server, const struct model_call *call, int status,
                       const struct model_message *message, bool torn)
{
    struct chunk_event event = {.status = status};
    if (call->type == WIRE_PREPARE || call->type == WIRE_HOLD) {
        event.type = call->type == WIRE_HOLD ? CHUNK_EVENT_HELD : CHUNK_EVENT_PREPARED;
        event.server = MODEL_SERVER_ID(0) + call->peer;
        event.handle = call->handle;
        event.version = call->version;
        event.index = call->index;
    } else {
        event.type = CHUNK_EVENT_FETCHED;
        event.token = call->token;
        if (status == 0) {
            event.message = model_message_header(message);
            event.payload = landed(message, torn);
            event.payload_crc = model_payload_crc(event.payload);
        }
    }
    step(server, event);
}

static void on_reply(uint32_t server, uint32_t conn, const struct model_entry *entry, bool torn)
{
    struct model_server *s = model_server_at(server);
    const struct model_message *message = model_message_at(entry->message);
    if (conn == s->control) {
        on_beat_answer(server, message->reply);
        return;
    }
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (s->calls[i].conn == conn && s->calls[i].request == entry->request) {
            struct model_call call = s->calls[i];
            s->calls[i] = (struct model_call){0};
            call_ended(server, &call, model_message_header(message)->status, message, torn);
            return;
        }
    }
}

static void on_request(uint32_t server, uint32_t conn, const struct model_entry *entry,
                       uint64_t request, bool torn)
{
    const struct model_message *message = model_message_at(entry->message);
    const struct wire_header *header = model_message_header(message);
    uint64_t payload = landed(message, torn);
    served_add(server,
               (struct model_served){.conn = conn, .request = request, .message = entry->message});
    step(server,
         (struct chunk_event){.type = chunk_event_of(header->type),
                              .conn = conn,
                              .request = request,
                              .message = header,
                              .payload = payload,
                              .payload_crc = payload != 0 ? model_payload_crc(payload) : 0});
}

void model_server_frame(uint32_t server, uint32_t conn, const struct model_entry *entry, bool torn)
{
    struct model_server *s = model_server_at(server);
    uint64_t request = entry->request;
    if (conn == MODEL_GHOST) {
        request = 1;
        for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
            bool ghost = s->served[i].conn == MODEL_GHOST;
            request = ghost ? PAWL_MAX(request, s->served[i].request + 1) : request;
        }
    }
    if (entry->reply) {
        on_reply(server, conn, entry, torn);
    } else if (model_message_at(entry->message)->kind == MODEL_REQUEST) {
        on_command(server, conn, entry, request);
    } else {
        on_request(server, conn, entry, request, torn);
    }
    touch(server);
}

void model_server_closed(uint32_t server, uint32_t conn)
{
    struct model_server *s = model_server_at(server);
    model_close(conn, server);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (s->served[i].conn != conn) {
            continue;
        }
        if (s->served[i].number != 0) {
            s->served[i].conn = MODEL_GHOST; // the core answers a command whoever hears it
            s->served[i].request = 0;
        } else {
            s->served[i] = (struct model_served){0};
        }
    }
    if (conn == s->control) {
        s->control = 0;
    } else if (model_conn_from(conn) == server) {
        uint32_t peer = model_conn_to(conn);
        s->peers[peer] = 0;
        for (uint32_t i = 0; i < MODEL_CALLS_MAX && !model_world.violated; i++) {
            if (s->calls[i].conn == conn) {
                struct model_call call = s->calls[i];
                s->calls[i] = (struct model_call){0};
                call_ended(server, &call, PAWL_EDISCONNECTED, NULL, false);
            }
        }
        step(server,
             (struct chunk_event){.type = CHUNK_EVENT_PEER_DOWN, .server = MODEL_SERVER_ID(peer)});
    } else {
        step(server, (struct chunk_event){.type = CHUNK_EVENT_CONN_CLOSED, .conn = conn});
    }
    touch(server);
}

void model_server_flushed(uint32_t server, uint32_t at)
{
    step(server,
         (struct chunk_event){.type = CHUNK_EVENT_PERSISTED, .token = model_disk_done(server, at)});
    touch(server);
}

// ---- timers --------------------------------------------------------------------------------------------

static struct chunk *chunk_next(uint32_t server, size_t *cursor)
{
    uint64_t handle;
    void *value = NULL;
    struct model_server *s = model_server_at(server);
    return pawl_map_iterate(&s->core->chunks, cursor, &handle, &value) ? value : NULL;
}

static bool has_report(const struct chunk *chunk)
{
    bool full = chunk->primary && chunk->full && inflight_is_empty(&chunk->inflight);
    bool any = full || chunk_has_broken_member(chunk) ||
               chunk->report_self != PAWL__REPORT_KIND__REPORT_NONE;
    return any && chunk->report_next_ns > MODEL_NOW_NS;
}

// The timer of one chunk: does it run? With `fire` it is due now.
static bool timer(struct chunk *chunk, enum model_budget which, bool fire)
{
    bool runs = false;
    switch (which) {
    case MODEL_LAPSE:
        runs = chunk->primary && chunk->lease.until_ns > MODEL_NOW_NS;
        chunk->lease.until_ns = runs && fire ? 0 : chunk->lease.until_ns;
        break;
    case MODEL_SUSPECT:
        for (uint32_t i = 0; i < chunk->lease.secondaries_count; i++) {
            const struct chunk_member *member = &chunk->lease.secondaries[i];
            if (member->prepared_count < record_table_count(&chunk->records) && !member->broken) {
                runs = true;
                if (fire) {
                    inflight_at(&chunk->inflight, member->prepared_count)->sent_ns = 0;
                }
            }
        }
        break;
    case MODEL_EARLY: // reports that are repeated
        runs = has_report(chunk);
        chunk->report_next_ns = runs && fire ? 0 : chunk->report_next_ns;
        break;
    case MODEL_BEAT: // a lease that has run out
        runs = chunk->primary && chunk->lease.until_ns <= MODEL_NOW_NS;
        break;
    default:
        break;
    }
    return runs;
}

bool model_server_has_timer(uint32_t server, enum model_budget which)
{
    size_t cursor = 0;
    struct chunk *chunk;
    while (model_server_at(server)->core != NULL && (chunk = chunk_next(server, &cursor)) != NULL) {
        if (timer(chunk, which, false)) {
            return true;
        }
    }
    return false;
}

void model_server_timer(uint32_t server, enum model_budget which)
{
    size_t cursor = 0;
    struct chunk *chunk;
    while ((chunk = chunk_next(server, &cursor)) != NULL) {
        (void)timer(chunk, which, true);
    }
    step(server, (struct chunk_event){.type = CHUNK_EVENT_TICK});
    touch(server);
}

bool model_server_has_commit(uint32_t server)
{
    size_t cursor = 0;
    struct chunk *chunk;
    while (model_server_at(server)->core != NULL && (chunk = chunk_next(server, &cursor)) != NULL) {
        if (chunk->primary && inflight_is_empty(&chunk->inflight) &&
            chunk->lease.told_count != chunk->commit_count) {
            return true;
        }
    }
    return false;
}

// The first tick finds that nothing moves, the second one tells.
void model_server_tell_commit(uint32_t server)
{
    step(server, (struct chunk_event){.type = CHUNK_EVENT_TICK});
    step(server, (struct chunk_event){.type = CHUNK_EVENT_TICK});
    touch(server);
}
