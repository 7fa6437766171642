// SPDX-License-Identifier: Apache-2.0
// The master core: its life, and the one step function that all events come through.
#include "base/hash.h"
#include "controlplane/core/master_core_private.h"

static void options_defaults(struct master_core_options *options)
{
    options->heartbeat_ms = options->heartbeat_ms ? options->heartbeat_ms : 200;
    options->suspect_ms = options->suspect_ms ? options->suspect_ms : 1000;
    options->dead_ms = options->dead_ms ? options->dead_ms : 3000;
    options->lease_ms = options->lease_ms ? options->lease_ms : 2000;
    options->command_ms = options->command_ms ? options->command_ms : 1000;
    options->session_ms = options->session_ms ? options->session_ms : 300000;
    options->session_block = options->session_block ? options->session_block : 1000;
    options->surplus_ms = options->surplus_ms ? options->surplus_ms : 10000;
}

int master_core_new(const struct master_core_options *options, struct master_core **ret)
{
    struct master_core *core = pawl_alloc_new(options->alloc, sizeof(*core));
    if (!core) {
        return -ENOMEM;
    }
    core->alloc = options->alloc;
    core->options = *options;
    options_defaults(&core->options);
    core->next_handle = 1;
    core->next_token = 1;
    pawl_map_init(&core->chunks, core->alloc);
    pawl_map_init(&core->logs, core->alloc);
    pawl_map_init(&core->servers, core->alloc);
    pawl_map_init(&core->conns, core->alloc);
    pawl_map_init(&core->commands, core->alloc);
    master_sessions_init(core);
    pawl_list_init(&core->open_chunks);
    pawl_list_init(&core->active_chunks);
    pawl_list_init(&core->questions);
    pawl_list_init(&core->heal_surplus);
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(core->heal_short); i++) {
        pawl_list_init(&core->heal_short[i]);
    }
    pawl_random_seed(&core->random, options->random_seed);
    int rc = master_namespace_init(core);
    if (rc) {
        master_core_free(core);
        return rc;
    }
    *ret = core;
    return 0;
}

void master_core_free(struct master_core *core)
{
    if (!core) {
        return;
    }
    core->started = false; // nobody is told to drop anything
    master_questions_end(core, 0, NULL);
    master_namespace_fini(core);
    master_servers_fini(core);
    master_sessions_fini(core);
    size_t cursor = 0;
    uint64_t token;
    void *command;
    while (pawl_map_iterate(&core->commands, &cursor, &token, &command)) {
        pawl_alloc_free(core->alloc, command);
    }
    pawl_map_fini(&core->commands);
    pawl_map_fini(&core->conns);
    pawl_map_fini(&core->chunks);
    pawl_map_fini(&core->logs);
    pawl_alloc_free(core->alloc, core->actions.items);
    master_arena_fini(core);
    pawl_alloc_free(core->alloc, core);
}

int master_core_apply(struct master_core *core, const Pawl__LogRecord *record)
{
    pawl_assert(!core->started);
    return master_apply(core, record);
}

uint64_t master_core_term(const struct master_core *core)
{
    return core->term;
}

uint64_t master_core_cluster_id(const struct master_core *core)
{
    return core->cluster_id;
}

static void step_begin(struct master_core *core, uint64_t now_ns, uint64_t wall_ms)
{
    core->actions.count = 0;
    core->moved = false;
    master_arena_reset(core);
    core->now_ns = PAWL_MAX(core->now_ns, now_ns);
    core->wall_ms = wall_ms;
}

int master_core_start(struct master_core *core, uint64_t random, uint64_t now_ns, uint64_t wall_ms,
                      const struct master_actions **ret_actions)
{
    pawl_assert(!core->started && random != 0);
    step_begin(core, now_ns, wall_ms);
    // The term is in it, so that no two terms draw the same ids, whatever the driver's chance is worth.
    pawl_random_seed(&core->random, pawl_hash_u64(core->options.random_seed + core->term) ^ random);
    Pawl__LogRecord *record = master_record(core, PAWL__LOG_RECORD__BODY_TERM);
    // By pointers of its own: without memory all messages lie in the same spare bytes.
    Pawl__LogTerm *term = MASTER_MESSAGE(core, Pawl__LogTerm, pawl__log_term__init);
    term->cluster_id = core->cluster_id ? core->cluster_id : random;
    term->term = core->term + 1;
    term->nonce = pawl_hash_u64(random) | 1;
    term->position = core->position + 1;
    record->term = term;
    master_log(core, record);
    core->started = true;
    core->grace_ns = core->now_ns + master_ms_to_ns(core->options.suspect_ms);
    master_sessions_start(core);
    core->heal_ns = core->now_ns + master_ms_to_ns(core->options.dead_ms);
    core->heal_scan = true;
    pawl_list_for_each (node, &core->open_chunks) {
        struct master_chunk *chunk = pawl_container_of(node, struct master_chunk, open_node);
        if (chunk->ready) {
            chunk->work->phase = MASTER_PHASE_IDLE; // until its primary says that it is one
        } else {
            master_chunk_wake(core, chunk);
        }
    }
    master_note(core, MASTER_LEVEL_INFO, "cluster %016lx term %lu begins: files %zu chunks %zu",
                core->cluster_id, core->term, pawl_map_count(&core->inodes) - 1,
                pawl_map_count(&core->chunks));
    *ret_actions = &core->actions;
    return core->failed;
}

// Takes the list apart first: driving a chunk may put it, or its neighbours, back in.
static void step_tick(struct master_core *core)
{
    master_servers_tick(core);
    master_sessions_tick(core);
    struct pawl_list due;
    pawl_list_init(&due);
    pawl_list_append_all(&due, &core->active_chunks);
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&due)) != NULL) {
        master_chunk_drive(core, pawl_container_of(node, struct master_chunk, active_node));
    }
    master_healing_tick(core);
}

static void step_answer(struct master_core *core, const struct master_event *event)
{
    struct master_command *command = pawl_map_remove(&core->commands, event->token);
    if (!command) {
        return; // no driver of ours answers twice, but a core does not depend on it
    }
    int code = event->status ? event->status : event->answer ? event->answer->code : PAWL_EPROTOCOL;
    struct master_chunk *chunk = master_chunk_get(core, command->handle);
    if (command->kind == MASTER_COMMAND_DROP) {
        master_server_dropped(core, command->server, command->handle, command->token, code);
    } else if (chunk && command->kind == MASTER_COMMAND_COPY) {
        master_healing_answered(core, chunk, command, event->status, event->answer);
    } else if (chunk && command->kind == MASTER_COMMAND_SEAL) {
        master_sealing_answered(core, chunk, command, event->status, event->answer);
    } else if (chunk) {
        master_chunk_answered(core, chunk, command, event->status, event->answer);
    }
    pawl_alloc_free(core->alloc, command);
}

static void step_closed(struct master_core *core, const struct master_event *event)
{
    struct master_server *server = pawl_map_get(&core->conns, event->conn);
    if (server) {
        pawl_assert(server->conn == event->conn);
        master_server_lost(core, server, "its connection closed");
    }
    master_session_away(core, event->conn);
}

// Time in which this process did not run (stopped, starved, its machine suspended) is nobody's
// silence: heartbeats of that time wait in the sockets.
static void step_forgive_gap(struct master_core *core, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns > core->now_ns ? now_ns - core->now_ns : 0;
    if (gap_ns <= master_ms_to_ns(core->options.suspect_ms) / 2) {
        return;
    }
    for (uint32_t i = 0; i < core->servers_count; i++) {
        core->servers_order[i]->heard_ns += gap_ns;
    }
    master_sessions_forgive(core, gap_ns);
}

// Of a log that is not the newest nothing is told and nothing is decided: what was acknowledged out of
// the records that are missing would be contradicted.
static void step_halted(struct master_core *core, const struct master_event *event)
{
    if (event->type == MASTER_EVENT_REQUEST) {
        master_reply_code(core, event->request, PAWL_EHISTORY, "%s", core->halted);
    } else if (event->type == MASTER_EVENT_ANSWER) {
        pawl_alloc_free(core->alloc, pawl_map_remove(&core->commands, event->token));
    }
}

static void step_event(struct master_core *core, const struct master_event *event)
{
    switch (event->type) {
    case MASTER_EVENT_TICK:
        step_tick(core);
        break;
    case MASTER_EVENT_REQUEST:
        master_request(core, event);
        break;
    case MASTER_EVENT_ANSWER:
        step_answer(core, event);
        break;
    case MASTER_EVENT_CONN_CLOSED:
        step_closed(core, event);
        break;
    }
}

// A lease that is granted moves its chunk; the time that a question may wait is looked at by ticks.
static void step_questions(struct master_core *core, const struct master_event *event)
{
    if (core->halted[0] != '\0') {
        master_questions_end(core, PAWL_EHISTORY, core->halted);
    } else if (core->moved || event->type == MASTER_EVENT_TICK) {
        master_questions_look(core);
    }
}

int master_core_step(struct master_core *core, const struct master_event *event,
                     const struct master_actions **ret_actions)
{
    pawl_assert(core->started);
    if (core->failed) {
        return core->failed;
    }
    step_forgive_gap(core, event->now_ns);
    step_begin(core, event->now_ns, event->wall_ms);
    if (core->halted[0] != '\0') {
        step_halted(core, event);
    } else {
        step_event(core, event);
    }
    step_questions(core, event);
    *ret_actions = &core->actions;
    return core->failed;
}
