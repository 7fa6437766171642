// SPDX-License-Identifier: Apache-2.0
// The master's driver: the operation log, the rule that actions wait for it, requests and commands.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/alloc.h"
#include "controlplane/core/master_core.h"
#include "sim.h"

struct sim_packed {
    uint8_t *data;
    uint32_t bytes;
};

// The log's disk: survives the process.
struct sim_log {
    struct sim_packed *records;
    uint64_t count;   // appended
    uint64_t durable; // flushed
    uint64_t capacity;
    uint64_t flushing; // what the flush under way reaches to
};

// An action that waits until the log is durable up to `need`.
struct sim_out {
    uint64_t need;
    bool command;
    bool drop;
    uint64_t conn;
    uint64_t request; // replies: the peer's
    uint64_t token;   // commands
    uint32_t deadline_ms;
    struct sim_frame *frame;
};

struct sim_asked {
    uint64_t conn;
    uint64_t request;
};

struct sim_master {
    struct master_core *core;
    struct sim_node *node;
    struct sim_log *log;
    struct sim_out *outs;
    size_t outs_first;
    size_t outs_count;
    size_t outs_capacity;
    struct pawl_map requests;             // number > struct sim_asked
    struct pawl_map commands;             // our request id > struct sim_asked (conn, token)
    struct pawl_map tokens;               // token > struct sim_asked (conn, our request id)
    uint64_t registered[SIM_SERVERS_MAX]; // connection of each server's last Register; 0: closed
    uint64_t request_last;
    uint64_t command_last;
    uint64_t steps;
};

struct sim_log *sim_log_new(void)
{
    return sim_alloc(sizeof(struct sim_log));
}

static void log_cut(struct sim_log *log, uint64_t count)
{
    while (log->count > count) {
        free(log->records[--log->count].data);
    }
}

void sim_log_free(struct sim_log *log)
{
    if (log != NULL) {
        log_cut(log, 0);
        free(log->records);
        free(log);
    }
}

static void log_append(struct sim_log *log, const Pawl__LogRecord *record)
{
    if (log->count == log->capacity) {
        log->capacity = log->capacity != 0 ? 2 * log->capacity : 256;
        log->records = realloc(log->records, log->capacity * sizeof(log->records[0]));
        pawl_assert(log->records != NULL);
    }
    struct sim_packed *packed = &log->records[log->count++];
    packed->bytes = (uint32_t)pawl__log_record__get_packed_size(record);
    packed->data = sim_alloc(packed->bytes);
    pawl__log_record__pack(record, packed->data);
}

static Pawl__LogRecord *log_unpack(const struct sim_packed *packed)
{
    Pawl__LogRecord *record = pawl__log_record__unpack(NULL, packed->bytes, packed->data);
    pawl_assert(record != NULL);
    return record;
}

static void log_now_durable(struct sim *sim, struct sim_log *log, uint64_t count)
{
    for (; log->durable < count; log->durable++) {
        Pawl__LogRecord *record = log_unpack(&log->records[log->durable]);
        sim_oracle_log(sim, record);
        if (sim->script != NULL) {
            sim->script->logged(sim, record);
        }
        pawl__log_record__free_unpacked(record, NULL);
    }
}

// ---- actions ---------------------------------------------------------------------------------------

static void master_step(struct sim *sim, struct sim_master *m, struct master_event event);
static void flush_begin(struct sim *sim, struct sim_master *m);

static void command_ended(struct sim *sim, struct sim_master *m, uint64_t token, int status,
                          const Pawl__Reply *answer)
{
    struct sim_asked *asked = pawl_map_remove(&m->tokens, token);
    if (asked == NULL) {
        return; // has ended already
    }
    struct sim_conn *conn = sim_conn_of(sim, asked->conn);
    if (status != 0 && conn != NULL) {
        sim_oracle_failed(sim, conn->side[0].node->index);
    }
    free(pawl_map_remove(&m->commands, asked->request));
    free(asked);
    master_step(
        sim, m,
        (struct master_event){
            .type = MASTER_EVENT_ANSWER, .status = status, .token = token, .answer = answer});
}

static void on_command_late(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life)) {
        command_ended(sim, event->node->state, event->a, (int)event->b, NULL);
    }
}

static void command_send(struct sim *sim, struct sim_master *m, struct sim_out *out)
{
    struct sim_conn *conn = sim_conn_of(sim, out->conn);
    struct sim_asked *by_token = sim_alloc(sizeof(*by_token));
    struct sim_asked *by_request = sim_alloc(sizeof(*by_request));
    uint64_t request = ++m->command_last;
    *by_token = (struct sim_asked){.conn = out->conn, .request = request};
    *by_request = (struct sim_asked){.conn = out->conn, .request = out->token};
    pawl_assert(pawl_map_get(&m->tokens, out->token) == NULL);
    pawl_assert(pawl_map_put(&m->tokens, out->token, by_token) == 0);
    pawl_assert(pawl_map_put(&m->commands, request, by_request) == 0);
    int side = conn != NULL ? sim_side_of(conn, m->node) : 0;
    bool open = conn != NULL && conn->side[side].open;
    int late_code = open ? PAWL_EDEADLINE : PAWL_EDISCONNECTED;
    sim_at(sim, open ? sim_world_ns(m->node, out->deadline_ms * SIM_MS) : 0,
           (struct sim_event){.run = on_command_late,
                              .node = m->node,
                              .a = out->token,
                              .b = (uint64_t)(int64_t)late_code});
    if (!open) {
        sim_frame_free(out->frame);
        return;
    }
    if (sim_fault(sim, SIM_FAULT_DOUBLE, sim->params.double_permille * 10)) {
        struct sim_frame *twin = sim_frame_copy(out->frame);
        twin->request = ++m->command_last; // its answer is nobody's
        sim_send(sim, conn, side, twin);
    }
    // Old DROPs are rare, and would hurt most.
    uint32_t echo_permyriad = sim->params.double_permille * (out->drop ? 50 : 10);
    if (sim_fault(sim, SIM_FAULT_ECHO, echo_permyriad)) {
        out->frame->request = UINT64_MAX;
        sim_echo(sim, conn, 1 - side, out->frame);
    }
    out->frame->request = request;
    sim_send(sim, conn, side, out->frame);
}

static void release(struct sim *sim, struct sim_master *m)
{
    while (m->outs_first < m->outs_count && m->outs[m->outs_first].need <= m->log->durable) {
        struct sim_out *out = &m->outs[m->outs_first++];
        struct sim_conn *conn = sim_conn_of(sim, out->conn);
        if (out->command) {
            command_send(sim, m, out);
        } else if (conn != NULL) {
            sim_send(sim, conn, sim_side_of(conn, m->node), out->frame);
        } else {
            sim_frame_free(out->frame);
        }
    }
    if (m->outs_first == m->outs_count) {
        m->outs_first = m->outs_count = 0;
    }
}

static void out_add(struct sim_master *m, struct sim_out out)
{
    if (m->outs_count == m->outs_capacity) {
        m->outs_capacity = m->outs_capacity != 0 ? 2 * m->outs_capacity : 64;
        m->outs = realloc(m->outs, m->outs_capacity * sizeof(m->outs[0]));
        pawl_assert(m->outs != NULL);
    }
    out.need = PAWL_MUTANT(answered_before_log) ? 0 : m->log->count;
    m->outs[m->outs_count++] = out;
}

static void carry_out_reply(struct sim *sim, struct sim_master *m,
                            const struct master_action *action)
{
    struct sim_asked *asked = pawl_map_remove(&m->requests, action->request);
    if (asked == NULL) {
        sim_violation(sim, "master answers request %llu twice, or nobody's",
                      (unsigned long long)action->request);
        return;
    }
    out_add(m, (struct sim_out){.conn = asked->conn,
                                .frame = sim_frame_reply(asked->request, action->reply)});
    free(asked);
}

static void carry_out_command(struct sim *sim, struct sim_master *m,
                              const struct master_action *action)
{
    struct sim_out out = {.command = true,
                          .conn = action->conn,
                          .token = action->token,
                          .deadline_ms = action->deadline_ms,
                          .frame = sim_frame_request(0, action->command)};
    out.drop = action->command->body_case == PAWL__REQUEST__BODY_DROP;
    const struct sim_conn *conn = sim_conn_of(sim, action->conn);
    if (action->command->body_case == PAWL__REQUEST__BODY_FENCE && conn != NULL) {
        sim_oracle_fence_asked(sim, conn->side[0].node->index, action->token,
                               action->command->fence);
    }
    if (action->command->body_case == PAWL__REQUEST__BODY_LEVEL) {
        sim_oracle_fence_over(sim, action->command->level->handle, action->command->level->version);
    }
    if (out.drop && PAWL_MUTANT(drop_before_log)) {
        command_send(sim, m, &out);
    } else {
        out_add(m, out);
    }
    if (action->command->body_case == PAWL__REQUEST__BODY_GRANT) {
        // The next master finds a version that is in use.
        sim_trip(sim, m->node,
                 sim->params.master_crash_ms != 0 ? 5 * sim->params.trip_permyriad : 0,
                 500 * SIM_MS);
    }
}

static void carry_out(struct sim *sim, struct sim_master *m, const struct master_actions *actions)
{
    for (uint32_t i = 0; i < actions->count && !sim->violated; i++) {
        const struct master_action *action = &actions->items[i];
        switch (action->type) {
        case MASTER_ACTION_LOG:
            log_append(m->log, action->record);
            if (action->record->body_case == PAWL__LOG_RECORD__BODY_CHUNK_SEAL) {
                const Pawl__LogChunkSeal *seal = action->record->chunk_seal;
                sim_oracle_fence_over(sim, seal->handle, seal->version);
                sim_oracle_sealing(sim, seal);
            }
            break;
        case MASTER_ACTION_REPLY:
            carry_out_reply(sim, m, action);
            break;
        case MASTER_ACTION_COMMAND:
            carry_out_command(sim, m, action);
            break;
        case MASTER_ACTION_NOTE:
            sim_note(sim, "m1 note: %s", action->text);
            break;
        }
    }
    flush_begin(sim, m);
    release(sim, m);
}

static void master_step(struct sim *sim, struct sim_master *m, struct master_event event)
{
    const struct master_actions *actions = NULL;
    event.now_ns = sim_clock(sim, m->node);
    event.wall_ms = 1700000000000ull + sim->now_ns / SIM_MS;
    int code = master_core_step(m->core, &event, &actions);
    pawl_assert(code == 0);
    carry_out(sim, m, actions);
    if (sim_validates(sim, &m->steps)) {
        master_core_validate(m->core);
    }
}

static void on_flushed(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    struct sim_master *m = event->node->state;
    log_now_durable(sim, m->log, m->log->flushing);
    m->log->flushing = 0;
    release(sim, m);
    flush_begin(sim, m);
    sim_trip(sim, m->node, sim->params.master_crash_ms != 0 ? sim->params.trip_permyriad : 0,
             500 * SIM_US);
}

static void flush_begin(struct sim *sim, struct sim_master *m)
{
    if (m->log->flushing != 0 || m->log->durable == m->log->count) {
        return;
    }
    m->log->flushing = m->log->count;
    uint64_t us = 20 + sim_below(sim, sim->params.disk_max_us);
    if (sim_fault(sim, SIM_FAULT_STALL, sim->params.stall_permille * 10)) {
        us += sim_fault_below(sim, 800000);
    }
    sim_at(sim, us * SIM_US, (struct sim_event){.run = on_flushed, .node = m->node});
}

// ---- start and stop ----------------------------------------------------------------------------------

static int keep_record(void *user, const Pawl__LogRecord *record)
{
    log_append(user, record);
    return 0;
}

static struct master_core *core_new(struct sim *sim)
{
    struct master_core_options options = {.heartbeat_ms = 200,
                                          .suspect_ms = sim->params.suspect_ms,
                                          .dead_ms = sim->params.dead_ms,
                                          .lease_ms = sim->params.lease_ms,
                                          .command_ms = sim->params.command_ms,
                                          .session_ms = sim->params.session_ms,
                                          .session_block = 3,
                                          .surplus_ms = 2000,
                                          .random_seed = sim_below(sim, UINT64_MAX),
                                          .alloc = pawl_alloc_heap()};
    struct master_core *core = NULL;
    pawl_assert(master_core_new(&options, &core) == 0);
    return core;
}

static void core_replay(struct sim *sim, struct master_core *core, const struct sim_log *log)
{
    for (uint64_t i = 0; i < log->count; i++) {
        Pawl__LogRecord *record = log_unpack(&log->records[i]);
        int code = master_core_apply(core, record);
        if (code != 0) {
            sim_violation(sim, "master refuses its own log, record %llu: %d", (unsigned long long)i,
                          code);
        }
        pawl__log_record__free_unpacked(record, NULL);
    }
}

static bool logs_equal(const struct sim_log *x, const struct sim_log *y)
{
    bool equal = x->count == y->count;
    for (uint64_t i = 0; equal && i < x->count; i++) {
        equal = x->records[i].bytes == y->records[i].bytes &&
                memcmp(x->records[i].data, y->records[i].data, x->records[i].bytes) == 0;
    }
    return equal;
}

// A snapshot gives the same state back: the core that goes on is one that was read from it.
static struct master_core *core_by_snapshot(struct sim *sim, struct master_core *core)
{
    struct sim_log *first = sim_log_new();
    struct sim_log *second = sim_log_new();
    struct master_core *other = core_new(sim);
    pawl_assert(master_core_dump(core, keep_record, first) == 0);
    core_replay(sim, other, first);
    pawl_assert(master_core_dump(other, keep_record, second) == 0);
    if (!logs_equal(first, second)) {
        sim_violation(sim, "master's snapshot does not give the same snapshot again");
    }
    sim_log_free(first);
    sim_log_free(second);
    master_core_free(core);
    return other;
}

static void on_tick(struct sim *sim, struct sim_event *event)
{
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    master_step(sim, event->node->state, (struct master_event){.type = MASTER_EVENT_TICK});
    sim_at(sim, sim_world_ns(event->node, (50 + sim_below(sim, 50)) * SIM_MS),
           (struct sim_event){.run = on_tick, .node = event->node});
}

void sim_master_start(struct sim *sim, struct sim_node *node)
{
    struct sim_master *m = sim_alloc(sizeof(*m));
    const struct master_actions *actions = NULL;
    node->state = m;
    m->node = node;
    m->log = sim->master_disk;
    pawl_map_init(&m->requests, pawl_alloc_heap());
    pawl_map_init(&m->commands, pawl_alloc_heap());
    pawl_map_init(&m->tokens, pawl_alloc_heap());
    m->core = core_new(sim);
    core_replay(sim, m->core, m->log);
    if (sim_permille(sim, 500)) {
        m->core = core_by_snapshot(sim, m->core);
    }
    int code = master_core_start(m->core, 1 + sim_below(sim, UINT64_MAX - 1), sim_clock(sim, node),
                                 1700000000000ull + sim->now_ns / SIM_MS, &actions);
    pawl_assert(code == 0);
    carry_out(sim, m, actions);
    sim_at(sim, 10 * SIM_MS, (struct sim_event){.run = on_tick, .node = node});
}

static void map_fini(struct pawl_map *map)
{
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(map, &cursor, &key, &value)) {
        free(value);
    }
    pawl_map_fini(map);
}

void sim_master_stop(struct sim *sim, struct sim_node *node)
{
    struct sim_master *m = node->state;
    // Of the flush under way any part may have reached the disk.
    uint64_t torn = m->log->flushing > m->log->durable ? m->log->flushing - m->log->durable : 0;
    log_now_durable(sim, m->log, m->log->durable + sim_below(sim, torn + 1));
    log_cut(m->log, m->log->durable);
    m->log->flushing = 0;
    while (m->outs_first < m->outs_count) {
        sim_frame_free(m->outs[m->outs_first++].frame);
    }
    free(m->outs);
    map_fini(&m->requests);
    map_fini(&m->commands);
    map_fini(&m->tokens);
    master_core_free(m->core);
    free(m);
    node->state = NULL;
}

// ---- connections -------------------------------------------------------------------------------------

void sim_master_opened(struct sim *sim, struct sim_conn *conn, int side)
{
    (void)sim;
    (void)conn;
    (void)side;
}

void sim_master_closed(struct sim *sim, struct sim_conn *conn, int side)
{
    struct sim_master *m = conn->side[side].node->state;
    uint64_t tokens[64];
    size_t tokens_count = 0;
    size_t cursor = 0;
    uint64_t key = 0;
    void *value = NULL;
    while (pawl_map_iterate(&m->tokens, &cursor, &key, &value)) {
        const struct sim_asked *asked = value;
        if (asked->conn == conn->id && tokens_count < PAWL_ARRAY_COUNT(tokens)) {
            tokens[tokens_count++] = key;
        }
    }
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        m->registered[i] = m->registered[i] == conn->id ? 0 : m->registered[i];
    }
    for (size_t i = 0; i < tokens_count; i++) {
        command_ended(sim, m, tokens[i], PAWL_EDISCONNECTED, NULL);
    }
    master_step(sim, m, (struct master_event){.type = MASTER_EVENT_CONN_CLOSED, .conn = conn->id});
}

static void on_answer(struct sim *sim, struct sim_master *m, const struct sim_frame *frame)
{
    const struct sim_asked *asked = pawl_map_get(&m->commands, frame->request);
    if (asked == NULL) {
        return; // too late, or the answer of a twin
    }
    Pawl__Reply *reply = pawl__reply__unpack(NULL, frame->bytes, frame->data);
    pawl_assert(reply != NULL);
    uint32_t server = sim_conn_of(sim, asked->conn)->side[0].node->index;
    // Who is lost meanwhile has not answered.
    bool counts = reply->code == 0 && m->registered[server] == asked->conn;
    if (counts && reply->body_case == PAWL__REPLY__BODY_COPIED) {
        sim_heal_registered(sim, server, reply->copied);
    }
    if (counts && reply->body_case == PAWL__REPLY__BODY_FENCED) {
        sim_oracle_fenced(sim, server, asked->request, reply->fenced);
    }
    command_ended(sim, m, asked->request, 0, reply);
    pawl__reply__free_unpacked(reply, NULL);
}

static void heartbeat_heard(struct sim *sim, const Pawl__Heartbeat *heartbeat)
{
    for (size_t i = 0; i < heartbeat->n_replicas; i++) {
        const Pawl__Replica *replica = heartbeat->replicas[i];
        sim_oracle_heard(sim, heartbeat->server_id, replica->handle, replica->commit_count);
    }
}

void sim_master_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame)
{
    struct sim_master *m = conn->side[side].node->state;
    if (frame->reply) {
        on_answer(sim, m, frame);
        return;
    }
    Pawl__Request *message = pawl__request__unpack(NULL, frame->bytes, frame->data);
    struct sim_asked *asked = sim_alloc(sizeof(*asked));
    pawl_assert(message != NULL);
    *asked = (struct sim_asked){.conn = conn->id, .request = frame->request};
    if (message->body_case == PAWL__REQUEST__BODY_REGISTER) {
        m->registered[conn->side[1 - side].node->index] = conn->id;
    }
    if (message->body_case == PAWL__REQUEST__BODY_HEARTBEAT) {
        heartbeat_heard(sim, message->heartbeat);
    }
    uint64_t number = ++m->request_last;
    pawl_assert(pawl_map_put(&m->requests, number, asked) == 0);
    master_step(
        sim, m,
        (struct master_event){
            .type = MASTER_EVENT_REQUEST, .conn = conn->id, .request = number, .message = message});
    pawl__request__free_unpacked(message, NULL);
}
