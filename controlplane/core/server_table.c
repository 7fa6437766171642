// SPDX-License-Identifier: Apache-2.0
// Chunk servers: who is there, since when nothing was heard of them, and what they are to drop.
#include "controlplane/core/master_core_private.h"

struct master_server *master_server_get(const struct master_core *core, uint64_t id)
{
    return pawl_map_get(&core->servers, id);
}

static int servers_reserve(struct master_core *core)
{
    if (core->servers_count < core->servers_capacity) {
        return 0;
    }
    uint32_t capacity = PAWL_MAX(core->servers_capacity * 2, 8u);
    struct master_server **order =
        pawl_alloc_grow(core->alloc, core->servers_order, core->servers_capacity, capacity,
                        sizeof(struct master_server *));
    if (!order) {
        return -ENOMEM;
    }
    core->servers_order = order;
    core->servers_capacity = capacity;
    return 0;
}

static struct master_server *server_new(struct master_core *core, uint64_t id)
{
    struct master_server *server = pawl_alloc_new(core->alloc, sizeof(*server));
    if (!server || servers_reserve(core) || pawl_map_put(&core->servers, id, server)) {
        pawl_alloc_free(core->alloc, server);
        return NULL;
    }
    server->id = id;
    pawl_map_init(&server->drops, core->alloc);
    pawl_list_init(&server->drops_waiting);
    pawl_list_init(&server->drops_sent);
    core->servers_order[core->servers_count++] = server;
    return server;
}

int master_server_set(struct master_core *core, uint64_t id, const char *name)
{
    size_t bytes = strlen(name) + 1;
    char *copy = pawl_alloc_new(core->alloc, bytes);
    if (!copy) {
        return -ENOMEM;
    }
    memcpy(copy, name, bytes);
    struct master_server *server = master_server_get(core, id);
    if (!server) {
        server = server_new(core, id);
    }
    if (!server) {
        pawl_alloc_free(core->alloc, copy);
        return -ENOMEM;
    }
    pawl_alloc_free(core->alloc, server->name);
    server->name = copy;
    return 0;
}

static void drop_free(struct master_core *core, struct master_server *server,
                      struct master_drop *drop)
{
    if (drop->token) {
        server->drops_inflight--;
    }
    pawl_map_remove(&server->drops, drop->handle);
    pawl_list_remove(&drop->node);
    pawl_alloc_free(core->alloc, drop);
}

static void drops_clear(struct master_core *core, struct master_server *server)
{
    struct pawl_list *node;
    pawl_list_append_all(&server->drops_waiting, &server->drops_sent);
    while ((node = pawl_list_first(&server->drops_waiting)) != NULL) {
        drop_free(core, server, pawl_container_of(node, struct master_drop, node));
    }
}

void master_servers_fini(struct master_core *core)
{
    for (uint32_t i = 0; i < core->servers_count; i++) {
        struct master_server *server = core->servers_order[i];
        drops_clear(core, server);
        pawl_map_fini(&server->drops);
        pawl_alloc_free(core->alloc, server->name);
        pawl_alloc_free(core->alloc, server);
    }
    pawl_alloc_free(core->alloc, core->servers_order);
    pawl_map_fini(&core->servers);
}

// ---- state ---------------------------------------------------------------------------------------

bool master_server_is_live(const struct master_server *server)
{
    return server->conn != 0 && server->state == MASTER_SERVER_LIVE;
}

void master_server_heard(struct master_core *core, struct master_server *server)
{
    server->heard_ns = core->now_ns;
    if (server->conn && server->state != MASTER_SERVER_LIVE) {
        core->heal_scan = true;
        if (server->state != MASTER_SERVER_UNKNOWN) {
            master_note(core, MASTER_LEVEL_INFO, "server %s live again", server->name);
        }
        server->state = MASTER_SERVER_LIVE;
    }
}

// The open chunks that it belongs to look at what has changed. A chunk that is sealed by this leaves
// the list and its successor joins at the end: both are safe for this walk.
static void server_tell_chunks(struct master_core *core, struct master_server *server)
{
    pawl_list_for_each_safe (node, &core->open_chunks) {
        struct master_chunk *chunk = pawl_container_of(node, struct master_chunk, open_node);
        if (master_chunk_member_index(chunk, server->id) >= 0) {
            master_chunk_member_lost(core, chunk, server);
        }
    }
}

void master_server_lost(struct master_core *core, struct master_server *server, const char *why)
{
    master_note(core, MASTER_LEVEL_WARN, "server %s lost: %s", server->name, why);
    pawl_map_remove(&core->conns, server->conn);
    server->conn = 0;
    if (server->state == MASTER_SERVER_LIVE) {
        server->state = MASTER_SERVER_SUSPECT;
    }
    drops_clear(core, server); // its next inventory brings them back
    server_tell_chunks(core, server);
}

static void server_tick(struct master_core *core, struct master_server *server)
{
    if (server->state == MASTER_SERVER_UNKNOWN) {
        return;
    }
    uint64_t silent_ns = core->now_ns - server->heard_ns;
    if (silent_ns >= master_ms_to_ns(core->options.dead_ms)) {
        if (server->state != MASTER_SERVER_DEAD) {
            server->state = MASTER_SERVER_DEAD;
            core->heal_scan = true;
            master_note(core, MASTER_LEVEL_WARN, "server %s dead: silent for %u ms", server->name,
                        core->options.dead_ms);
            server_tell_chunks(core, server);
        }
    } else if (silent_ns >= master_ms_to_ns(core->options.suspect_ms) &&
               server->state == MASTER_SERVER_LIVE) {
        server->state = MASTER_SERVER_SUSPECT;
        master_note(core, MASTER_LEVEL_INFO, "server %s suspect: silent for %u ms", server->name,
                    core->options.suspect_ms);
        server_tell_chunks(core, server);
    }
    master_server_pump_drops(core, server);
}

void master_servers_tick(struct master_core *core)
{
    for (uint32_t i = 0; i < core->servers_count; i++) {
        server_tick(core, core->servers_order[i]);
    }
}

// ---- drops: replicas of deleted chunks, and those that nobody needs -----------------------------------------------------------

void master_server_drop(struct master_core *core, struct master_server *server, uint64_t handle,
                        uint64_t version)
{
    struct master_drop *drop = pawl_map_get(&server->drops, handle);
    if (drop) {
        drop->version = PAWL_MAX(drop->version, version);
        return;
    }
    if (core->failed || pawl_map_count(&server->drops) >= MASTER_DROPS_MAX) {
        return; // its next inventory brings it back
    }
    drop = pawl_alloc_new(core->alloc, sizeof(*drop));
    if (!drop || pawl_map_put(&server->drops, handle, drop)) {
        pawl_alloc_free(core->alloc, drop);
        core->failed = -ENOMEM;
        return;
    }
    drop->handle = handle;
    drop->version = version;
    pawl_list_push_front(&server->drops_waiting, &drop->node);
    master_server_pump_drops(core, server);
}

static void drop_send(struct master_core *core, struct master_server *server,
                      struct master_drop *drop)
{
    Pawl__Request *request = MASTER_MESSAGE(core, Pawl__Request, pawl__request__init);
    request->body_case = PAWL__REQUEST__BODY_DROP;
    request->drop = MASTER_MESSAGE(core, Pawl__Drop, pawl__drop__init);
    request->drop->term = core->term;
    request->drop->handle = drop->handle;
    request->drop->version = drop->version;
    request->drop->order = ++core->order;
    drop->token =
        master_command(core, server, MASTER_COMMAND_DROP, request, core->options.command_ms);
    server->drops_inflight += drop->token != 0;
}

// New ones stand in front, those that have failed behind them in the order of their next attempt: the
// first one tells whether any is due.
void master_server_pump_drops(struct master_core *core, struct master_server *server)
{
    while (server->conn && !core->failed && server->drops_inflight < MASTER_DROPS_INFLIGHT_MAX) {
        struct pawl_list *node = pawl_list_first(&server->drops_waiting);
        struct master_drop *drop = node ? pawl_container_of(node, struct master_drop, node) : NULL;
        if (!drop || drop->retry_ns > core->now_ns) {
            return;
        }
        pawl_list_remove(&drop->node);
        pawl_list_push_back(&server->drops_sent, &drop->node);
        drop_send(core, server, drop);
    }
}

void master_server_dropped(struct master_core *core, struct master_server *server, uint64_t handle,
                           uint64_t token, int code)
{
    struct master_drop *drop = pawl_map_get(&server->drops, handle);
    if (!drop || drop->token != token) {
        return;
    }
    if (code == 0 || code == PAWL_ENOCHUNK || code == PAWL_ESTALE) {
        // Stale: it was opened anew since; its next inventory says what it is now.
        drop_free(core, server, drop);
        struct master_chunk *chunk = master_chunk_get(core, handle);
        if (chunk) {
            master_healing_look(core, chunk);
        }
    } else {
        drop->token = 0;
        server->drops_inflight--;
        drop->retry_ns = core->now_ns + master_ms_to_ns(MASTER_BACKOFF_MAX_MS);
        pawl_list_remove(&drop->node);
        pawl_list_push_back(&server->drops_waiting, &drop->node);
    }
    master_server_pump_drops(core, server);
}
