// SPDX-License-Identifier: Apache-2.0
// Every invariant of the state, asserted one by one. For tests and the simulator: it walks all.
#include "controlplane/core/master_core_private.h"

static void validate_directory(const struct master_inode *directory)
{
    uint32_t count = 0;
    const struct master_inode *before = NULL;
    for (const struct master_inode *at = directory->heads[0]; at; at = at->next[0]) {
        pawl_assert(at->parent == directory);
        pawl_assert(!before || strcmp(before->name, at->name) < 0);
        pawl_assert(master_inode_child(directory, at->name, strlen(at->name)) == at);
        before = at;
        count++;
    }
    pawl_assert(count == directory->children_count);
}

// "A file has at most one unsealed chunk"; offsets follow each other without hole or overlap.
static void validate_file(const struct master_core *core, const struct master_inode *file)
{
    uint64_t offset = 0;
    pawl_assert(file->min_replicas >= 1 && file->min_replicas <= file->replicas);
    pawl_assert(file->replicas <= MASTER_SET_MAX);
    for (uint32_t i = 0; i < file->chunks_count; i++) {
        const struct master_chunk *chunk = file->chunks[i];
        pawl_assert(master_chunk_get(core, chunk->handle) == chunk);
        pawl_assert(chunk->file == file && chunk->index == i);
        pawl_assert(chunk->base_offset == offset);
        pawl_assert(chunk->sealed || i + 1 == file->chunks_count);
        pawl_assert(chunk->length <= file->chunk_bytes);
        pawl_assert(chunk->zero_bytes <= file->chunk_bytes);
        pawl_assert(!chunk->sealed || !chunk->zero_bytes || chunk->length == chunk->zero_bytes);
        offset += chunk->length;
    }
    pawl_assert(file->sealed_bytes == offset);
}

// Write logs: each belongs to a sealed chunk of a file that has a name. Returns their chunks.
static size_t validate_logs(const struct master_core *core)
{
    size_t cursor = 0;
    size_t chunks_count = 0;
    uint64_t id;
    void *value;
    while (pawl_map_iterate(&core->logs, &cursor, &id, &value)) {
        const struct master_inode *log = value;
        pawl_assert(log->id == id && id < core->next_file_id && !master_inode_get(core, id));
        pawl_assert(log->written->log == log && log->written->sealed);
        pawl_assert(!log->written->file->written);
        pawl_assert(master_chunk_get(core, log->written->handle) == log->written);
        validate_file(core, log);
        chunks_count += log->chunks_count;
    }
    return chunks_count;
}

static void validate_namespace(const struct master_core *core)
{
    size_t count = 0;
    size_t chunks_count = 0;
    for (const struct master_inode *at = core->root; at; at = master_inode_walk(core->root, at)) {
        count++;
        chunks_count += at->chunks_count;
        pawl_assert(master_inode_get(core, at->id) == at);
        pawl_assert(at->id < core->next_file_id);
        pawl_assert(master_inode_path_bytes(at) <= MASTER_PATH_MAX);
        pawl_assert(at->directory == (at->heads != NULL));
        if (at->directory) {
            pawl_assert(at->chunks_count == 0 && at->producers_count == 0);
            validate_directory(at);
        } else {
            validate_file(core, at);
        }
    }
    pawl_assert(count == pawl_map_count(&core->inodes));
    chunks_count += validate_logs(core);
    pawl_assert(chunks_count == pawl_map_count(&core->chunks));
}

// A member that is asked has a command that knows it; one that is not has no token.
static void validate_members(const struct master_core *core, const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    for (uint32_t i = 0; i < MASTER_SET_MAX; i++) {
        const struct master_member *member = &work->members[i];
        pawl_assert((member->step == MASTER_STEP_ASKED) == (member->token != 0));
        pawl_assert(i < chunk->set_count || member->step == MASTER_STEP_NONE);
        if (member->token == 0) {
            continue;
        }
        const struct master_command *command = pawl_map_get(&core->commands, member->token);
        pawl_assert(command && command->handle == chunk->handle);
        pawl_assert(command->server->id == chunk->set[i]);
    }
}

static bool phase_needs_time(enum master_phase phase)
{
    return phase != MASTER_PHASE_IDLE && phase != MASTER_PHASE_GRANTED;
}

static void validate_open(const struct master_core *core, const struct master_chunk *chunk)
{
    const struct master_work *work = chunk->work;
    pawl_assert(!pawl_list_is_empty(&chunk->open_node));
    pawl_assert(chunk->length == 0 && chunk->count == 0);
    if (!core->started) {
        return;
    }
    pawl_assert(chunk->ready == (work->phase >= MASTER_PHASE_IDLE));
    // Nothing hangs: what waits is looked at by every tick.
    pawl_assert(!phase_needs_time(work->phase) || !pawl_list_is_empty(&chunk->active_node));
    pawl_assert(!chunk->ready || chunk->set_count > 0);
    if (work->phase == MASTER_PHASE_GRANTED || work->phase == MASTER_PHASE_GRANTING) {
        pawl_assert(master_chunk_member_index(chunk, work->primary_id) >= 0);
        pawl_assert(!work->wanted);
    }
    validate_members(core, chunk);
}

static void validate_replicas(const struct master_core *core, const struct master_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        pawl_assert(master_server_get(core, replica->server->id) == replica->server);
        for (uint32_t j = 0; j < i; j++) {
            pawl_assert(chunk->replicas[j].server != replica->server);
        }
        pawl_assert(!(replica->stale && replica->sealed));
        if (master_replica_is_valid(replica) && chunk->sealed && replica->sealed) {
            pawl_assert(replica->count == chunk->count && replica->length == chunk->length);
        }
    }
}

static void validate_copy(const struct master_chunk *chunk)
{
    const struct master_copy *copy = chunk->copy;
    if (copy) {
        pawl_assert(chunk->sealed && copy->source != copy->target);
        pawl_assert(copy->version == chunk->version && copy->count <= chunk->count);
    }
    pawl_assert(chunk->sealed || (pawl_list_is_empty(&chunk->heal_node) && !chunk->surplus_ns));
}

static void validate_chunks(const struct master_core *core)
{
    size_t cursor = 0;
    size_t open_count = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct master_chunk *chunk = value;
        pawl_assert(chunk->handle == handle && handle < core->next_handle && chunk->version > 0);
        pawl_assert(chunk->sealed == (chunk->work == NULL));
        pawl_assert(!chunk->sealed || (chunk->ready && chunk->set_count > 0));
        for (uint32_t i = 0; i < chunk->set_count; i++) {
            pawl_assert(master_server_get(core, chunk->set[i]));
            pawl_assert(master_chunk_member_index(chunk, chunk->set[i]) == (int)i);
        }
        validate_replicas(core, chunk);
        validate_copy(chunk);
        if (chunk->sealed) {
            pawl_assert(pawl_list_is_empty(&chunk->open_node));
        } else {
            validate_open(core, chunk);
            open_count++;
        }
    }
    pawl_list_for_each (node, &core->open_chunks) {
        open_count--;
    }
    pawl_assert(open_count == 0);
}

static uint32_t count_primaries(const struct master_core *core, const struct master_server *server)
{
    uint32_t count = 0;
    pawl_list_for_each (node, &core->open_chunks) {
        const struct master_chunk *chunk = pawl_container_of(node, struct master_chunk, open_node);
        const struct master_work *work = chunk->work;
        bool has = work->phase == MASTER_PHASE_GRANTING || work->phase == MASTER_PHASE_GRANTED;
        count += has && work->primary_id == server->id;
    }
    return count;
}

static void count_copies(const struct master_core *core, const struct master_server *server,
                         uint32_t *ret_in, uint32_t *ret_out)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    *ret_in = *ret_out = 0;
    while (pawl_map_iterate(&core->chunks, &cursor, &handle, &value)) {
        const struct master_copy *copy = ((const struct master_chunk *)value)->copy;
        *ret_in += copy && copy->target == server;
        *ret_out += copy && copy->source == server;
    }
}

static void validate_servers(const struct master_core *core)
{
    size_t connected_count = 0;
    pawl_assert(core->servers_count == pawl_map_count(&core->servers));
    for (uint32_t i = 0; i < core->servers_count; i++) {
        const struct master_server *server = core->servers_order[i];
        pawl_assert(master_server_get(core, server->id) == server);
        pawl_assert(server->name && server->name[0]);
        if (server->conn) {
            connected_count++;
            pawl_assert(pawl_map_get(&core->conns, server->conn) == server);
            pawl_assert(server->state != MASTER_SERVER_UNKNOWN && server->registration > 0);
        } else {
            pawl_assert(pawl_map_count(&server->drops) == 0);
        }
        pawl_assert(server->drops_inflight <= MASTER_DROPS_INFLIGHT_MAX);
        pawl_assert(server->primaries_count == count_primaries(core, server));
        uint32_t in;
        uint32_t out;
        count_copies(core, server, &in, &out);
        pawl_assert(server->copies_in == in && server->copies_out == out);
    }
    pawl_assert(connected_count == pawl_map_count(&core->conns));
}

void master_core_validate(const struct master_core *core)
{
    if (core->failed) {
        return;
    }
    validate_namespace(core);
    validate_chunks(core);
    validate_servers(core);
    master_sessions_validate(core);
}
