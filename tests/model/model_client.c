// SPDX-License-Identifier: Apache-2.0
// The client's driver: the append core, its calls to the master and its connections; and an
// application that wants its records in the file and asks again for what it was not told.
#include <string.h>

#include <pawl/error.h>

#include "client/core/append_core_private.h"
#include "model.h"

#define ULL(x) ((unsigned long long)(x))
#define DEADLINE_NS (MODEL_NOW_NS + 3600000 * MODEL_NS_PER_MS)

struct model_client *model_client_at(uint32_t client)
{
    pawl_assert(client < MODEL_CLIENTS_MAX);
    return model_part(MODEL_CLIENT(client));
}

static void step(uint32_t client, struct append_event event);

static struct wire_record_id record_id(uint32_t client, uint64_t sequence)
{
    return (struct wire_record_id){
        .producer_hi = 1, .producer_lo = client + 1, .sequence = sequence};
}

// ---- requests ----------------------------------------------------------------------------------------

static void ask(uint32_t client, uint32_t *conn, uint32_t node, struct model_ask ask,
                uint32_t message)
{
    struct model_client *c = model_client_at(client);
    struct model_ask *place = NULL;
    if (*conn == 0) {
        *conn = model_connect(MODEL_CLIENT(client), node);
    }
    ask.conn = *conn;
    ask.request = 1;
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (c->asks[i].kind == 0) {
            place = place != NULL ? place : &c->asks[i];
        } else if (c->asks[i].conn == ask.conn) {
            ask.request = PAWL_MAX(ask.request, c->asks[i].request + 1);
        }
    }
    pawl_assert(place != NULL);
    *place = ask;
    model_send(ask.conn, MODEL_CLIENT(client),
               (struct model_entry){.message = message, .request = (uint16_t)ask.request});
}

static void carry_out_get_tail(uint32_t client, const struct append_action *action)
{
    struct model_client *c = model_client_at(client);
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetTail body = PAWL__GET_TAIL__INIT;
    Pawl__Hint hint = PAWL__HINT__INIT;
    body.file_id = c->file_id;
    body.append = true;
    if (action->hint_code != 0) {
        hint.handle = action->hint_handle;
        hint.version = action->hint_version;
        hint.server_id = action->hint_server;
        hint.code = action->hint_code;
        body.hint = &hint;
    }
    message.body_case = PAWL__REQUEST__BODY_GET_TAIL;
    message.get_tail = &body;
    ask(client, &c->master, MODEL_MASTER, (struct model_ask){.kind = MODEL_ASK_TAIL},
        model_message_packed(MODEL_REQUEST, &message));
}

static void carry_out_send(uint32_t client, const struct append_action *action)
{
    struct model_client *c = model_client_at(client);
    uint32_t server = (uint32_t)(action->server - MODEL_SERVER_ID(0));
    struct wire_append message = {.chunk = action->tail.handle,
                                  .version = action->tail.version,
                                  .id = record_id(client, action->sequence),
                                  .length = action->length,
                                  .crc = action->crc,
                                  .slot_count = 1};
    wire_header_init(&message.header, WIRE_APPEND, sizeof(message), 0);
    ask(client, &c->servers[server], server,
        (struct model_ask){
            .kind = MODEL_ASK_APPEND, .attempt = action->attempt, .sequence = action->sequence},
        model_message_wire(&message, sizeof(message),
                           model_oracle_serial(client, action->sequence)));
}

static void carry_out_lookup(uint32_t client, const struct append_action *action)
{
    struct model_client *c = model_client_at(client);
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = c->file_id;
    body.handle = action->chunk;
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    ask(client, &c->master, MODEL_MASTER,
        (struct model_ask){.kind = MODEL_ASK_PLACE,
                           .attempt = action->attempt,
                           .sequence = action->sequence,
                           .chunk = action->chunk,
                           .length = action->length,
                           .crc = action->crc},
        model_message_packed(MODEL_REQUEST, &message));
}

// The endpoint is destroyed a little later.
static void carry_out_disconnect(uint32_t client, uint64_t server_id)
{
    struct model_client *c = model_client_at(client);
    uint32_t server = (uint32_t)(server_id - MODEL_SERVER_ID(0));
    uint32_t conn = c->servers[server];
    c->closing[server] = true;
    if (conn != 0) {
        c->servers[server] = 0;
        model_close(conn, MODEL_CLIENT(client));
    }
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (conn != 0 && c->asks[i].conn == conn && c->asks[i].kind == MODEL_ASK_APPEND) {
            c->asks[i] = (struct model_ask){0};
        } else if (conn != 0 && c->asks[i].conn == conn) {
            c->asks[i].conn = MODEL_GHOST; // a lookup; it ends with the endpoint
        }
    }
}

static void carry_out_done(uint32_t client, const struct append_action *done)
{
    uint64_t serial = model_oracle_serial(client, done->sequence);
    model_note("client %u: sequence %llu ends: %s at %llu%s", client + 1, ULL(done->sequence),
               pawl_strerror(done->status), ULL(done->file_offset),
               done->duplicate ? " duplicate" : "");
    if (done->status == 0) {
        model_oracle_told(serial, MODEL_TOLD_OK, done->file_offset);
    } else if (done->status == PAWL_EUNKNOWN) {
        model_oracle_told(serial, MODEL_TOLD_UNKNOWN, 0);
    } else if (done->status == PAWL_EDEADLINE) {
        model_oracle_told(serial, MODEL_TOLD_ABSENT, 0);
    } else {
        model_violation("client %u sequence %llu ends with %d", client + 1, ULL(done->sequence),
                        done->status);
    }
}

static void carry_out(uint32_t client, const struct append_action *action)
{
    switch (action->type) {
    case APPEND_ACTION_GET_TAIL:
        carry_out_get_tail(client, action);
        break;
    case APPEND_ACTION_SEND:
        carry_out_send(client, action);
        break;
    case APPEND_ACTION_LOOKUP:
        carry_out_lookup(client, action);
        break;
    case APPEND_ACTION_DISCONNECT:
        carry_out_disconnect(client, action->server);
        break;
    case APPEND_ACTION_DONE:
        carry_out_done(client, action);
        break;
    }
}

static int core_step(uint32_t client, struct append_event event)
{
    struct model_client *c = model_client_at(client);
    const struct append_actions *actions = NULL;
    event.now_ns = MODEL_NOW_NS;
    int code = append_core_step(c->core, &event, &actions);
    for (uint32_t i = 0; code == 0 && i < actions->count && !model_world.violated; i++) {
        carry_out(client, &actions->items[i]);
    }
    return code;
}

// ---- the application -----------------------------------------------------------------------------------

static int submit(uint32_t client, uint64_t sequence, uint64_t serial, bool named)
{
    return core_step(client, (struct append_event){.type = APPEND_EVENT_SUBMIT,
                                                   .sequence = named ? sequence : 0,
                                                   .length = model_world.config->record_bytes,
                                                   .crc = model_payload_crc(serial),
                                                   .deadline_ns = DEADLINE_NS});
}

void model_client_submit(uint32_t client)
{
    struct model_client *c = model_client_at(client);
    uint64_t sequence = append_core_next_sequence(c->core);
    uint64_t serial = model_oracle_submit(client, sequence);
    int code = submit(client, sequence, serial, false);
    pawl_assert(code == 0);
    model_normalise_client(c->core, c);
    model_world.touched[MODEL_CLIENT(client)] = true;
}

static bool is_under_way(const struct append_core *core, uint64_t sequence)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        if (core->slots[i].sequence == sequence) {
            return true;
        }
    }
    return false;
}

// What is unknown is asked for again under its sequence. What was called absent is given up, and
// another record takes its sequence: that must never turn out to be taken.
static void resubmit(uint32_t client)
{
    struct model_client *c = model_client_at(client);
    uint64_t sequence = 0;
    enum model_told told;
    while (!model_world.violated && model_oracle_open(client, &sequence, &told)) {
        if (is_under_way(c->core, sequence)) {
            continue;
        }
        uint64_t serial = told == MODEL_TOLD_ABSENT ? model_oracle_submit(client, sequence)
                                                    : model_oracle_serial(client, sequence);
        int code = submit(client, sequence, serial, told == MODEL_TOLD_UNKNOWN);
        if (code != 0) {
            model_violation("client %u is refused sequence %llu: %d", client + 1, ULL(sequence),
                            code);
        }
    }
}

static void step(uint32_t client, struct append_event event)
{
    struct model_client *c = model_client_at(client);
    int code = core_step(client, event);
    pawl_assert(code == 0);
    resubmit(client);
    model_normalise_client(c->core, c);
    model_world.touched[MODEL_CLIENT(client)] = true;
}

void model_client_start(uint32_t client, uint64_t file_id)
{
    struct model_client *c = model_client_at(client);
    struct append_core_options options = {
        .file_id = file_id,
        .producer_hi = 1,
        .producer_lo = client + 1,
        .depth_max = model_world.config->depth_max,
        .retry_min_ms = 1,
        .retry_max_ms = 1,
        .random_seed = 1,
        .alloc = model_region_alloc(model_world.regions[MODEL_CLIENT(client)])};
    c->file_id = file_id;
    pawl_assert(append_core_new(&options, &c->core) == 0);
    model_normalise_client(c->core, c);
    model_world.touched[MODEL_CLIENT(client)] = true;
}

// ---- answers -------------------------------------------------------------------------------------------

static void on_tail(uint32_t client, int status, const Pawl__Reply *reply)
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
    step(client, event);
}

static void looked_up(uint32_t client, const struct model_ask *ask, int status,
                      const struct wire_appended *reply)
{
    struct append_event event = {.type = APPEND_EVENT_LOOKED_UP,
                                 .status = status,
                                 .sequence = ask->sequence,
                                 .attempt = ask->attempt};
    event.reply = reply != NULL ? *reply : event.reply;
    step(client, event);
}

// The replica that is asked is left to chance.
static void on_place(uint32_t client, struct model_ask found, int status, const Pawl__Reply *reply,
                     uint32_t chance)
{
    struct model_client *c = model_client_at(client);
    const Pawl__Chunk *chunk =
        status == 0 && reply->chunks->n_chunks == 1 ? reply->chunks->chunks[0] : NULL;
    if (chunk == NULL || chunk->n_replicas == 0) {
        looked_up(client, &found, status != 0 ? status : PAWL_ENOCHUNK, NULL);
        return;
    }
    model_world.lots |= chunk->n_replicas > 1;
    const Pawl__Member *replica = chunk->replicas[chance % chunk->n_replicas];
    uint32_t server = (uint32_t)(replica->server_id - MODEL_SERVER_ID(0));
    struct wire_lookup message = {.chunk = found.chunk,
                                  .id = record_id(client, found.sequence),
                                  .length = found.length,
                                  .crc = found.crc,
                                  .compare = 1};
    wire_header_init(&message.header, WIRE_LOOKUP, sizeof(message), 0);
    found.kind = MODEL_ASK_LOOKUP;
    ask(client, &c->servers[server], server, found,
        model_message_wire(&message, sizeof(message), 0));
    model_normalise_client(c->core, c);
    model_world.touched[MODEL_CLIENT(client)] = true;
}

static void answered(uint32_t client, const struct model_ask *ask,
                     const struct model_message *message, uint32_t chance)
{
    if (message->kind == MODEL_REPLY) {
        const Pawl__Reply *reply = message->reply;
        if (ask->kind == MODEL_ASK_TAIL) {
            on_tail(client, reply->code, reply);
        } else {
            on_place(client, *ask, reply->code, reply, chance);
        }
        return;
    }
    const struct wire_appended *reply = (const void *)message->data;
    if (ask->kind == MODEL_ASK_LOOKUP) {
        looked_up(client, ask, reply->header.status, reply);
    } else {
        step(client, (struct append_event){.type = APPEND_EVENT_REPLY,
                                           .status = reply->header.status,
                                           .sequence = ask->sequence,
                                           .attempt = ask->attempt,
                                           .reply = *reply});
    }
}

void model_client_frame(uint32_t client, uint32_t conn, const struct model_entry *entry,
                        uint32_t chance)
{
    struct model_client *c = model_client_at(client);
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (c->asks[i].kind != 0 && c->asks[i].conn == conn &&
            c->asks[i].request == entry->request) {
            struct model_ask found = c->asks[i];
            c->asks[i] = (struct model_ask){0};
            answered(client, &found, model_message_at(entry->message), chance);
            return;
        }
    }
}

// Takes the next ask of a connection that is gone; appends end with DISCONNECTED.
static bool take_lost(struct model_client *c, uint32_t conn, struct model_ask *ret,
                      bool *ret_appends)
{
    for (uint32_t i = 0; i < MODEL_CALLS_MAX; i++) {
        if (c->asks[i].kind == 0 || c->asks[i].conn != conn) {
            continue;
        }
        *ret = c->asks[i];
        c->asks[i] = (struct model_ask){0};
        if (ret->kind != MODEL_ASK_APPEND) {
            return true;
        }
        *ret_appends = true;
    }
    return false;
}

static void end_lost(uint32_t client, uint32_t conn, bool *ret_appends)
{
    struct model_ask ask;
    while (!model_world.violated && take_lost(model_client_at(client), conn, &ask, ret_appends)) {
        if (ask.kind == MODEL_ASK_TAIL) {
            on_tail(client, PAWL_EDISCONNECTED, NULL);
        } else {
            looked_up(client, &ask, PAWL_EDISCONNECTED, NULL);
        }
    }
}

void model_client_closed(uint32_t client, uint32_t conn)
{
    struct model_client *c = model_client_at(client);
    uint32_t node = model_conn_to(conn);
    bool appends = false;
    model_close(conn, MODEL_CLIENT(client));
    model_world.touched[MODEL_CLIENT(client)] = true;
    if (conn == c->master) {
        c->master = 0;
    } else {
        c->servers[node] = 0;
    }
    end_lost(client, conn, &appends);
    if (appends) {
        step(client, (struct append_event){.type = APPEND_EVENT_DISCONNECTED,
                                           .server = MODEL_SERVER_ID(node)});
    }
}

void model_client_destroyed(uint32_t client, uint32_t server)
{
    bool appends = false;
    model_client_at(client)->closing[server] = false;
    end_lost(client, MODEL_GHOST, &appends);
    step(client, (struct append_event){.type = APPEND_EVENT_DISCONNECTED,
                                       .server = MODEL_SERVER_ID(server)});
}

// ---- timers --------------------------------------------------------------------------------------------

static bool slot_timer(struct append_core *core, struct append_slot *slot, enum model_budget which,
                       bool fire)
{
    bool runs = false;
    switch (which) {
    case MODEL_ATTEMPT:
        runs = slot->state == APPEND_SLOT_SENT && !append_closing(core, slot->server);
        slot->sent_ns = runs && fire ? 0 : slot->sent_ns;
        break;
    case MODEL_DEADLINE:
        runs = true;
        slot->deadline_ns = fire ? MODEL_NOW_NS : slot->deadline_ns;
        break;
    case MODEL_EARLY: // pauses
        runs = slot->state == APPEND_SLOT_ASK_LATER && slot->retry_ns > MODEL_NOW_NS;
        slot->retry_ns = runs && fire ? 0 : slot->retry_ns;
        break;
    default:
        break;
    }
    return runs;
}

static bool pause_runs(const struct append_core *core)
{
    bool waits = false;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        waits |= core->slots[i].state == APPEND_SLOT_WAITING;
    }
    return waits && core->pause_until_ns > MODEL_NOW_NS;
}

bool model_client_has_timer(uint32_t client, enum model_budget which)
{
    struct append_core *core = model_client_at(client)->core;
    if (core == NULL) {
        return false; // before the start
    }
    bool runs = which == MODEL_EARLY && pause_runs(core);
    for (uint32_t i = 0; i < core->slots_count; i++) {
        runs |= slot_timer(core, &core->slots[i], which, false);
    }
    return runs;
}

void model_client_timer(uint32_t client, enum model_budget which)
{
    struct append_core *core = model_client_at(client)->core;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        (void)slot_timer(core, &core->slots[i], which, true);
    }
    core->pause_until_ns = which == MODEL_EARLY ? 0 : core->pause_until_ns;
    step(client, (struct append_event){.type = APPEND_EVENT_TICK});
}
