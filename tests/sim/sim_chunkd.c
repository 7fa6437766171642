// SPDX-License-Identifier: Apache-2.0
// The chunk server's driver: core, store, registration, heartbeats and commands.
#include "sim_chunkd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/alloc.h"
#include "base/crc32c.h"

// ---- actions of the core -------------------------------------------------------------------------

static void control_call(struct sim *sim, struct sim_chunkd *s, const Pawl__Request *message)
{
    struct sim_frame *frame = sim_frame_request(++s->control_request, message);
    sim_send(sim, s->control, sim_side_of(s->control, s->node), frame);
}

static void carry_out_report(struct sim *sim, struct sim_chunkd *s,
                             const struct chunk_action *action)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Report report = PAWL__REPORT__INIT;
    sim_note(sim, "%s reports %d of chunk %llu version %llu server %llu", s->node->name,
             (int)action->report.kind, (unsigned long long)action->handle,
             (unsigned long long)action->version, (unsigned long long)action->report.server_id);
    if (!s->control_open || !s->registered) {
        return;
    }
    report.kind = action->report.kind;
    report.handle = action->handle;
    report.version = action->version;
    report.server_id = action->report.server_id;
    message.body_case = PAWL__REQUEST__BODY_REPORT;
    message.report = &report;
    control_call(sim, s, &message);
}

static void carry_out_answer(struct sim *sim, struct sim_chunkd *s,
                             const struct chunk_action *action)
{
    struct sim_served *served = pawl_map_remove(&s->commands, action->request);
    if (served == NULL) {
        sim_violation(sim, "%s answers command %llu twice, or nobody's", s->node->name,
                      (unsigned long long)action->request);
        return;
    }
    struct sim_conn *conn = sim_conn_of(sim, served->conn);
    if (conn == NULL) { // planted: nobody asked
        free(served);
        return;
    }
    sim_note(sim, "%s answers command %llu with %d", s->node->name,
             (unsigned long long)action->request, action->answer.code);
    sim_watch_answer(sim, s->node->index, served->command, served->handle, &action->answer);
    sim_send(sim, conn, sim_side_of(conn, s->node),
             sim_frame_reply(served->request, &action->answer));
    free(served);
}

static void on_refused(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life)) {
        struct sim_done done = {.token = event->a, .status = (int)(int64_t)event->b};
        sim_chunkd_persisted(sim, event->node, &done);
    }
}

// What the store refuses at once ends in the next turn.
static void disk_queue(struct sim *sim, struct sim_chunkd *s, struct sim_disk_op *op)
{
    int code = sim_disk_queue(sim, s->disk, op);
    if (code == 0) {
        return;
    }
    sim_note(sim, "%s chunk %llu: the store refuses a change with %d", s->node->name,
             (unsigned long long)op->handle, code);
    if (op->payload != 0) {
        payload_release(sim, s, op->payload);
    }
    sim_oracle_held_look(sim, s->node->index);
    sim_at(sim, 0,
           (struct sim_event){
               .run = on_refused, .node = s->node, .a = op->token, .b = (uint64_t)(int64_t)code});
}

static void store_create(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    const struct chunk_create *create = &action->create;
    size_t bytes = create->producers_count * sizeof(create->producers[0]);
    struct sim_disk_op op = {.kind = SIM_DISK_CREATE,
                             .token = action->token,
                             .handle = create->handle,
                             .create = {.handle = create->handle,
                                        .version = create->version,
                                        .file_id = create->file_id,
                                        .base_offset = create->base_offset,
                                        .chunk_bytes = create->chunk_bytes,
                                        .commit_count = create->commit_count,
                                        .index = create->index,
                                        .written_handle = create->written_handle,
                                        .zero_bytes = create->zero_bytes,
                                        .producers_count = create->producers_count,
                                        .producers = sim_copy(create->producers, bytes)}};
    disk_queue(sim, s, &op);
}

// The disk takes the records of a run one by one; the core hears of the last that ends.
static void run_add(struct sim_chunkd *s, const struct chunk_action *action)
{
    s->runs = realloc(s->runs, (s->runs_count + 1) * sizeof(s->runs[0]));
    pawl_assert(s->runs != NULL);
    s->runs[s->runs_count++] =
        (struct sim_run){.token = action->token, .left = (uint32_t)action->count};
}

// False: others of its run are still under way.
static bool run_ends(struct sim_chunkd *s, uint64_t token, int *status)
{
    for (uint32_t i = 0; i < s->runs_count; i++) {
        struct sim_run *run = &s->runs[i];
        if (run->token != token) {
            continue;
        }
        run->status = run->status != 0 ? run->status : *status;
        *status = run->status;
        if (--run->left > 0) {
            return false;
        }
        *run = s->runs[--s->runs_count];
        return true;
    }
    return true;
}

static void store_append(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    struct sim_payload *payload = NULL;
    struct pawl_record record = action->record;
    uint64_t begin = record.offset;
    if (action->payload != 0) {
        payload = payload_of(sim, s, action->payload);
        if (payload == NULL || payload->bytes < record.length) {
            sim_violation(sim, "%s stores a record without its payload", s->node->name);
            return;
        }
    }
    if (action->count > 1) {
        run_add(s, action);
    }
    for (uint64_t i = 0; i < action->count; i++) {
        if (i > 0) {
            pawl_record_follow(&record, &payload->rows[i]);
        }
        struct sim_disk_op op = {.kind = SIM_DISK_APPEND,
                                 .token = action->token,
                                 .handle = action->handle,
                                 .index = action->index + i,
                                 .commit_count = action->commit_count,
                                 .record = {.record = record}};
        if (payload != NULL) {
            payload->uses++;
            op.payload = payload->number;
            op.source = payload->data + (record.offset - begin);
        }
        sim_oracle_handed(sim, s->node->index, &op);
        disk_queue(sim, s, &op);
    }
}

static void store_other(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action,
                        enum sim_disk_kind kind)
{
    struct sim_disk_op op = {.kind = kind,
                             .token = action->token,
                             .handle = action->handle,
                             .version = action->version,
                             .count = action->count};
    disk_queue(sim, s, &op);
}

static void carry_out(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action)
{
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
        store_create(sim, s, action);
        break;
    case CHUNK_ACTION_APPEND:
        store_append(sim, s, action);
        break;
    case CHUNK_ACTION_PROMISE:
        store_other(sim, s, action, SIM_DISK_PROMISE);
        break;
    case CHUNK_ACTION_SEAL:
        store_other(sim, s, action, SIM_DISK_SEAL);
        break;
    case CHUNK_ACTION_DROP:
        store_other(sim, s, action, SIM_DISK_DROP);
        break;
    case CHUNK_ACTION_ANSWER:
        carry_out_answer(sim, s, action);
        break;
    case CHUNK_ACTION_REPORT:
        carry_out_report(sim, s, action);
        break;
    case CHUNK_ACTION_RELEASE:
        payload_release(sim, s, action->payload);
        break;
    default:
        fabric_carry_out(sim, s, action);
        break;
    }
}

void chunkd_step(struct sim *sim, struct sim_chunkd *s, struct chunk_event event)
{
    const struct chunk_actions *actions = NULL;
    event.now_ns = sim_clock(sim, s->node);
    int code = chunk_core_step(s->core, &event, &actions);
    pawl_assert(code == 0);
    if (sim_validates(sim, &s->steps)) {
        chunk_core_validate(s->core);
    }
    for (uint32_t i = 0; i < actions->count && !sim->violated; i++) {
        carry_out(sim, s, &actions->items[i]);
    }
}

void sim_chunkd_persisted(struct sim *sim, struct sim_node *node, const struct sim_done *done)
{
    struct sim_chunkd *s = node->state;
    int status = done->status;
    if (done->payload != 0) {
        const struct sim_payload *payload = payload_of(sim, s, done->payload);
        if (payload == NULL) {
            return;
        }
        // A slot that was written to meanwhile may have been stored torn.
        if (status == 0 && payload->window != NULL && !PAWL_MUTANT(stored_unchecked) &&
            pawl_crc32c(0, payload->data, payload->bytes) != done->crc) {
            sim_note(sim, "%s a payload has changed while it was stored", node->name);
            status = PAWL_ECORRUPT;
        }
        payload_release(sim, s, done->payload);
    }
    if (run_ends(s, done->token, &status)) {
        chunkd_step(sim, s,
                    (struct chunk_event){
                        .type = CHUNK_EVENT_PERSISTED, .token = done->token, .status = status});
    }
}

// ---- registration and heartbeats -------------------------------------------------------------------

struct sim_inventory {
    Pawl__Replica *replicas;
    Pawl__Replica **pointers;
    size_t count;
    size_t capacity;
};

static void take_replica(void *user, const Pawl__Replica *replica)
{
    struct sim_inventory *inventory = user;
    if (inventory->count == inventory->capacity) {
        inventory->capacity = inventory->capacity != 0 ? 2 * inventory->capacity : 16;
        inventory->replicas =
            realloc(inventory->replicas, inventory->capacity * sizeof(inventory->replicas[0]));
        pawl_assert(inventory->replicas != NULL);
    }
    inventory->replicas[inventory->count++] = *replica;
}

static void inventory_take(struct sim_inventory *inventory, const struct chunk_core *core,
                           bool open_only)
{
    chunk_core_visit(core, open_only, take_replica, inventory);
    inventory->pointers = sim_alloc((inventory->count + 1) * sizeof(inventory->pointers[0]));
    for (size_t i = 0; i < inventory->count; i++) {
        inventory->pointers[i] = &inventory->replicas[i];
    }
}

static void inventory_fini(struct sim_inventory *inventory)
{
    free(inventory->replicas);
    free(inventory->pointers);
}

static void control_ask(struct sim *sim, struct sim_chunkd *s, const Pawl__Request *message)
{
    s->asked = true;
    s->asked_ns = sim_clock(sim, s->node);
    control_call(sim, s, message);
    s->asked_request = s->control_request;
}

// In a script the master places by order, not by lot: the first has the most room.
static uint64_t space_bytes(const struct sim *sim, const struct sim_chunkd *s)
{
    return (1ull << 40) - (sim->script != NULL ? (uint64_t)s->node->index << 32 : 0);
}

static void send_register(struct sim *sim, struct sim_chunkd *s)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Register body = PAWL__REGISTER__INIT;
    struct sim_inventory inventory = {0};
    char address[32];
    snprintf(address, sizeof(address), "sim://%u", s->node->index);
    chunkd_step(sim, s, (struct chunk_event){.type = CHUNK_EVENT_REGISTERING});
    inventory_take(&inventory, s->core, false);
    body.server_id = SIM_SERVER_ID(s->node->index);
    body.incarnation = s->incarnation;
    body.cluster_id = s->disk->cluster_id;
    body.name = s->node->name;
    body.fabric_address = address;
    body.space_bytes = space_bytes(sim, s);
    body.n_replicas = inventory.count;
    body.replicas = inventory.pointers;
    message.body_case = PAWL__REQUEST__BODY_REGISTER;
    message.register_ = &body;
    control_ask(sim, s, &message);
    inventory_fini(&inventory);
}

static void send_heartbeat(struct sim *sim, struct sim_chunkd *s)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Heartbeat body = PAWL__HEARTBEAT__INIT;
    struct sim_inventory inventory = {0};
    inventory_take(&inventory, s->core, true);
    body.server_id = SIM_SERVER_ID(s->node->index);
    body.incarnation = s->incarnation;
    body.space_bytes = space_bytes(sim, s);
    body.n_replicas = inventory.count;
    body.replicas = inventory.pointers;
    message.body_case = PAWL__REQUEST__BODY_HEARTBEAT;
    message.heartbeat = &body;
    control_ask(sim, s, &message);
    inventory_fini(&inventory);
}

static void on_renewals(struct sim *sim, struct sim_chunkd *s, const Pawl__HeartbeatAnswer *answer)
{
    uint64_t until_ns = s->asked_ns + s->lease_ms * SIM_MS;
    for (size_t i = 0; i < answer->n_renewals; i++) {
        chunkd_step(sim, s,
                    (struct chunk_event){.type = CHUNK_EVENT_LEASE,
                                         .handle = answer->renewals[i]->handle,
                                         .version = answer->renewals[i]->version,
                                         .until_ns = until_ns});
    }
    if (answer->register_again) {
        s->registered = false;
    }
}

static void on_control_reply(struct sim *sim, struct sim_chunkd *s, const struct sim_frame *frame)
{
    if (!s->asked || frame->request != s->asked_request) {
        return; // of a report
    }
    Pawl__Reply *reply = pawl__reply__unpack(NULL, frame->bytes, frame->data);
    pawl_assert(reply != NULL);
    s->asked = false;
    if (reply->code == 0 && reply->body_case == PAWL__REPLY__BODY_REGISTERED) {
        s->registered = true;
        s->lease_ms = reply->registered->lease_ms;
        s->disk->cluster_id = reply->registered->cluster_id;
        chunkd_step(sim, s,
                    (struct chunk_event){.type = CHUNK_EVENT_REGISTERED,
                                         .term = reply->registered->term,
                                         .order = reply->registered->order});
        sim_note(sim, "%s is registered, term %llu", s->node->name,
                 (unsigned long long)reply->registered->term);
    } else if (reply->code == 0 && reply->body_case == PAWL__REPLY__BODY_HEARTBEAT) {
        on_renewals(sim, s, reply->heartbeat);
    } else {
        sim_note(sim, "%s control answer %d", s->node->name, reply->code);
        s->registered = false;
        if (reply->code == PAWL_ECLUSTER) {
            sim_violation(sim, "%s belongs to another cluster", s->node->name);
        }
    }
    pawl__reply__free_unpacked(reply, NULL);
}

static const char *command_name(const Pawl__Request *message)
{
    switch (message->body_case) {
    case PAWL__REQUEST__BODY_FENCE:
        return "fence";
    case PAWL__REQUEST__BODY_LEVEL:
        return "level";
    case PAWL__REQUEST__BODY_SEAL:
        return "seal";
    case PAWL__REQUEST__BODY_OPEN:
        return "open";
    case PAWL__REQUEST__BODY_GRANT:
        return "grant";
    case PAWL__REQUEST__BODY_DROP:
        return "drop";
    case PAWL__REQUEST__BODY_COPY:
        return "copy";
    default:
        return "unknown";
    }
}

static void on_command(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                       const struct sim_frame *frame)
{
    Pawl__Request *message = pawl__request__unpack(NULL, frame->bytes, frame->data);
    struct sim_served *served = sim_alloc(sizeof(*served));
    pawl_assert(message != NULL);
    served->conn = conn->id;
    served->request = frame->request;
    served->command = message->body_case;
    served->handle = message->fence->handle;
    uint64_t number = ++s->command_last;
    pawl_assert(pawl_map_put(&s->commands, number, served) == 0);
    if (PAWL_MUTANT(restart_keeps_lease) && message->body_case == PAWL__REQUEST__BODY_GRANT) {
        sim_frame_free(s->disk->grant);
        s->disk->grant = sim_frame_copy(frame);
    }
    // All commands begin with term, handle, version.
    sim_note(sim, "%s is told to %s chunk %llu version %llu (command %llu)", s->node->name,
             command_name(message), (unsigned long long)message->fence->handle,
             (unsigned long long)message->fence->version, (unsigned long long)number);
    chunkd_step(
        sim, s,
        (struct chunk_event){.type = CHUNK_EVENT_COMMAND, .request = number, .command = message});
    bool fence = message->body_case == PAWL__REQUEST__BODY_FENCE;
    pawl__request__free_unpacked(message, NULL);
    sim_trip(sim, s->node, sim->params.trip_permyriad, sim->params.disk_max_us * SIM_US + 1);
    if (fence) { // what was promised must outlive the process
        sim_trip(sim, s->node, 5 * sim->params.trip_permyriad, 300 * SIM_MS);
    }
}

static void control_lost(struct sim_chunkd *s)
{
    s->control = NULL;
    s->control_open = false;
    s->registered = false;
    s->asked = false;
}

static void on_control_tick(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_chunkd *s = event->node->state;
    bool late = s->asked && sim_clock(sim, s->node) > s->asked_ns + 1000 * SIM_MS;
    if (late) {
        sim_close(sim, s->control, sim_side_of(s->control, s->node));
        control_lost(s);
    }
    if (s->control == NULL) {
        s->control = sim_connect(sim, s->node, sim_node_of(sim, SIM_MASTER, 0), true);
        s->asked = true; // the connection's own deadline
        s->asked_request = 0;
        s->asked_ns = sim_clock(sim, s->node);
    } else if (s->control_open && !s->asked && !s->registered) {
        send_register(sim, s);
    } else if (s->control_open && !s->asked) {
        send_heartbeat(sim, s);
    }
    sim_at(sim, sim_world_ns(s->node, (150 + sim_below(sim, 100)) * SIM_MS),
           (struct sim_event){.run = on_control_tick, .node = s->node});
}

// ---- start and stop ----------------------------------------------------------------------------------

static struct pawl_record record_at(const void *rows, uint64_t index)
{
    const struct sim_chunk *chunk = rows;
    return chunk->records[index].record;
}

static void load_chunk(struct sim_chunkd *s, const struct sim_chunk *chunk)
{
    struct chunk_load load = {.create = {.handle = chunk->handle,
                                         .version = chunk->version,
                                         .file_id = chunk->file_id,
                                         .base_offset = chunk->base_offset,
                                         .chunk_bytes = chunk->chunk_bytes,
                                         .index = chunk->index,
                                         .written_handle = chunk->written_handle,
                                         .zero_bytes = chunk->zero_bytes,
                                         .producers_count = chunk->producers_count,
                                         .producers = chunk->producers},
                              .version = chunk->version,
                              .commit_count = chunk->commit_count,
                              .sealed = chunk->sealed,
                              .damaged = chunk->damaged,
                              .record_at = record_at,
                              .rows = chunk,
                              .records_count = chunk->records_count};
    pawl_assert(chunk_core_load(s->core, &load) == 0);
}

static void on_tick(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_chunkd *s = event->node->state;
    chunkd_step(sim, s, (struct chunk_event){.type = CHUNK_EVENT_TICK});
    fabric_tick(sim, s);
    sim_at(sim, sim_world_ns(s->node, (10 + sim_below(sim, 30)) * SIM_MS),
           (struct sim_event){.run = on_tick, .node = s->node});
}

// Planted: the last grant is kept over a restart and taken up again.
static void grant_again(struct sim *sim, struct sim_chunkd *s)
{
    if (s->disk->grant == NULL) {
        return;
    }
    Pawl__Request *message =
        pawl__request__unpack(NULL, s->disk->grant->bytes, s->disk->grant->data);
    const struct sim_chunk *chunk = sim_disk_chunk(s->disk, message->grant->handle);
    uint64_t number = ++s->command_last;
    pawl_assert(pawl_map_put(&s->commands, number, sim_alloc(sizeof(struct sim_served))) == 0);
    message->grant->commit_count = chunk != NULL ? chunk->records_count : 0;
    chunkd_step(
        sim, s,
        (struct chunk_event){.type = CHUNK_EVENT_COMMAND, .request = number, .command = message});
    pawl__request__free_unpacked(message, NULL);
}

void sim_chunkd_start(struct sim *sim, struct sim_node *node)
{
    struct sim_chunkd *s = sim_alloc(sizeof(*s));
    struct chunk_core_options options = {.server_id = SIM_SERVER_ID(node->index),
                                         .lease_margin_ms = 200,
                                         .prepare_ms = 1000,
                                         .alloc = pawl_alloc_heap()};
    node->state = s;
    s->node = node;
    s->disk = sim->disks[node->index];
    s->incarnation = 1 + sim_below(sim, UINT64_MAX - 1);
    pawl_map_init(&s->commands, pawl_alloc_heap());
    pawl_map_init(&s->payloads, pawl_alloc_heap());
    pawl_assert(chunk_core_new(&options, &s->core) == 0);
    for (uint32_t i = 0; i < s->disk->chunks_count; i++) {
        load_chunk(s, &s->disk->chunks[i]);
    }
    if (PAWL_MUTANT(restart_keeps_lease)) {
        grant_again(sim, s);
    }
    sim_at(sim, 0, (struct sim_event){.run = on_control_tick, .node = node});
    sim_at(sim, sim_below(sim, 20) * SIM_MS, (struct sim_event){.run = on_tick, .node = node});
}

void sim_chunkd_stop(struct sim *sim, struct sim_node *node)
{
    struct sim_chunkd *s = node->state;
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    (void)sim;
    while (pawl_map_iterate(&s->commands, &cursor, &key, &value)) {
        free(value);
    }
    pawl_map_fini(&s->commands);
    fabric_fini(s);
    windows_fini(s);
    free(s->runs);
    chunk_core_free(s->core);
    free(s);
    node->state = NULL;
}

int sim_chunkd_payloads(const struct sim_node *node)
{
    const struct sim_chunkd *s = node->state;
    return s != NULL ? (int)pawl_map_count(&s->payloads) : -1;
}

// ---- connections -------------------------------------------------------------------------------------

void sim_chunkd_opened(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_chunkd *s = conn->side[side].node->state;
    if (!conn->control) {
        fabric_opened(sim, s, conn, side);
    } else if (conn == s->control) {
        s->control_open = true;
        s->asked = false;
        send_register(sim, s);
    }
}

void sim_chunkd_closed(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_chunkd *s = conn->side[side].node->state;
    if (!conn->control) {
        fabric_closed(sim, s, conn, side);
    } else if (conn == s->control) {
        control_lost(s);
    }
}

void sim_chunkd_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame)
{
    struct sim_chunkd *s = conn->side[side].node->state;
    if (!frame->control) {
        fabric_frame(sim, s, conn, frame);
    } else if (frame->reply) {
        on_control_reply(sim, s, frame);
    } else {
        on_command(sim, s, conn, frame);
    }
}
