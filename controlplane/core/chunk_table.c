// SPDX-License-Identifier: Apache-2.0
// Chunks: what the log says of each, and what chunk servers have reported of its replicas.
#include "controlplane/core/master_core_private.h"

struct master_chunk *master_chunk_get(const struct master_core *core, uint64_t handle)
{
    return pawl_map_get(&core->chunks, handle);
}

struct master_chunk *master_file_tail(const struct master_inode *file)
{
    return file->chunks_count > 0 ? file->chunks[file->chunks_count - 1] : NULL;
}

static int file_reserve_chunk(struct master_core *core, struct master_inode *file)
{
    if (file->chunks_count < file->chunks_capacity) {
        return 0;
    }
    uint32_t capacity = PAWL_MAX(file->chunks_capacity * 2, 4u);
    struct master_chunk **chunks = pawl_alloc_grow(core->alloc, file->chunks, file->chunks_capacity,
                                                   capacity, sizeof(struct master_chunk *));
    if (!chunks) {
        return -ENOMEM;
    }
    file->chunks = chunks;
    file->chunks_capacity = capacity;
    return 0;
}

int master_chunk_new(struct master_core *core, struct master_inode *file, uint64_t handle,
                     struct master_chunk **ret)
{
    if (file_reserve_chunk(core, file)) {
        return -ENOMEM;
    }
    const struct master_chunk *before = master_file_tail(file);
    pawl_assert(!before || before->sealed || PAWL_MUTANT(successor_first));
    struct master_chunk *chunk = pawl_alloc_new(core->alloc, sizeof(*chunk));
    struct master_work *work = pawl_alloc_new(core->alloc, sizeof(*work));
    if (!chunk || !work || pawl_map_put(&core->chunks, handle, chunk)) {
        pawl_alloc_free(core->alloc, chunk);
        pawl_alloc_free(core->alloc, work);
        return -ENOMEM;
    }
    chunk->handle = handle;
    chunk->file = file;
    chunk->index = file->chunks_count;
    uint64_t before_length = !before                          ? 0
                             : PAWL_MUTANT(base_offset_wrong) ? file->chunk_bytes
                                                              : before->length;
    chunk->base_offset = before ? before->base_offset + before_length : 0;
    chunk->version = 1;
    chunk->work = work;
    work->granted_count = UINT64_MAX;
    pawl_list_init(&chunk->active_node);
    pawl_list_init(&chunk->heal_node);
    pawl_list_init(&chunk->open_node);
    pawl_list_push_back(&core->open_chunks, &chunk->open_node);
    file->chunks[file->chunks_count++] = chunk;
    *ret = chunk;
    return 0;
}

static void work_free(struct master_core *core, struct master_chunk *chunk)
{
    if (!chunk->work) {
        return;
    }
    if (chunk->work->phase >= MASTER_PHASE_GRANTING) {
        struct master_server *primary = master_server_get(core, chunk->work->primary_id);
        primary->primaries_count--;
    }
    pawl_alloc_free(core->alloc, chunk->work->sessions);
    pawl_alloc_free(core->alloc, chunk->work->table);
    pawl_alloc_free(core->alloc, chunk->work);
    chunk->work = NULL;
}

// Only the last chunk of its file: chunks go with the whole file. Tells its servers to drop theirs.
void master_chunk_free(struct master_core *core, struct master_chunk *chunk)
{
    pawl_assert(master_file_tail(chunk->file) == chunk);
    chunk->file->chunks_count--;
    master_healing_forget(core, chunk);
    for (uint32_t i = 0; core->started && i < chunk->set_count; i++) {
        struct master_server *server = master_chunk_member(core, chunk, i);
        if (server && server->conn) {
            master_server_drop(core, server, chunk->handle, chunk->version);
        }
    }
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        struct master_replica *replica = &chunk->replicas[i];
        if (!master_replica_is_valid(replica)) {
            continue;
        }
        replica->server->chunks_count--;
        if (core->started && replica->server->conn &&
            master_chunk_member_index(chunk, replica->server->id) < 0) {
            master_server_drop(core, replica->server, chunk->handle, chunk->version);
        }
    }
    // Behind the chunk itself: nobody shall read it without what was written to it.
    master_log_free(core, chunk);
    work_free(core, chunk);
    pawl_list_remove(&chunk->open_node);
    pawl_list_remove(&chunk->active_node);
    pawl_map_remove(&core->chunks, chunk->handle);
    pawl_alloc_free(core->alloc, chunk->replicas);
    pawl_alloc_free(core->alloc, chunk);
}

void master_chunk_set_place(struct master_chunk *chunk, const uint64_t *set, size_t count)
{
    pawl_assert(count <= MASTER_SET_MAX);
    chunk->set_count = (uint32_t)count;
    memset(chunk->set, 0, sizeof(chunk->set));
    if (count > 0) {
        memcpy(chunk->set, set, count * sizeof(*set));
    }
}

void master_chunk_set_sealed(struct master_core *core, struct master_chunk *chunk)
{
    chunk->sealed = true;
    chunk->ready = true;
    work_free(core, chunk);
    pawl_list_remove(&chunk->open_node);
}

int master_chunk_member_index(const struct master_chunk *chunk, uint64_t server_id)
{
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (chunk->set[i] == server_id) {
            return (int)i;
        }
    }
    return -1;
}

struct master_server *master_chunk_member(const struct master_core *core,
                                          const struct master_chunk *chunk, uint32_t index)
{
    pawl_assert(index < chunk->set_count);
    return master_server_get(core, chunk->set[index]);
}

void master_chunk_wake(struct master_core *core, struct master_chunk *chunk)
{
    if (pawl_list_is_empty(&chunk->active_node)) {
        pawl_list_push_back(&core->active_chunks, &chunk->active_node);
    }
}

// ---- replicas ------------------------------------------------------------------------------------

bool master_replica_is_valid(const struct master_replica *replica)
{
    return replica->registration != 0 && replica->registration == replica->server->registration;
}

// Wherever it stands, valid or not.
static struct master_replica *replica_slot(const struct master_chunk *chunk,
                                           const struct master_server *server)
{
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        if (chunk->replicas[i].server == server) {
            return &chunk->replicas[i];
        }
    }
    return NULL;
}

struct master_replica *master_replica_find(const struct master_chunk *chunk,
                                           const struct master_server *server)
{
    struct master_replica *replica = replica_slot(chunk, server);
    return replica && master_replica_is_valid(replica) ? replica : NULL;
}

static struct master_replica *replica_free_slot(struct master_core *core,
                                                struct master_chunk *chunk)
{
    if (chunk->replicas_count < chunk->replicas_capacity) {
        return &chunk->replicas[chunk->replicas_count++];
    }
    if (chunk->replicas_capacity == MASTER_REPLICAS_MAX) {
        for (uint32_t i = 0; i < chunk->replicas_count; i++) {
            if (!master_replica_is_valid(&chunk->replicas[i])) {
                return &chunk->replicas[i];
            }
        }
        return NULL;
    }
    uint8_t capacity =
        (uint8_t)PAWL_MIN(PAWL_MAX(chunk->replicas_capacity * 2u, 4u), MASTER_REPLICAS_MAX);
    struct master_replica *replicas = pawl_alloc_grow(
        core->alloc, chunk->replicas, chunk->replicas_capacity, capacity, sizeof(*replicas));
    if (!replicas) {
        core->failed = -ENOMEM;
        return NULL;
    }
    chunk->replicas = replicas;
    chunk->replicas_capacity = capacity;
    return &chunk->replicas[chunk->replicas_count++];
}

struct master_replica *master_replica_add(struct master_core *core, struct master_chunk *chunk,
                                          struct master_server *server)
{
    pawl_assert(server->registration != 0);
    struct master_replica *replica = replica_slot(chunk, server);
    if (replica && master_replica_is_valid(replica)) {
        return replica;
    }
    if (!replica) {
        replica = replica_free_slot(core, chunk);
        if (!replica) {
            return NULL;
        }
    }
    *replica = (struct master_replica){.server = server, .registration = server->registration};
    server->chunks_count++;
    return replica;
}

void master_replica_remove(struct master_chunk *chunk, struct master_server *server)
{
    struct master_replica *replica = replica_slot(chunk, server);
    if (!replica) {
        return;
    }
    if (master_replica_is_valid(replica)) {
        server->chunks_count--;
    }
    *replica = chunk->replicas[--chunk->replicas_count];
}

bool master_replica_is_good(const struct master_chunk *chunk, const struct master_replica *replica)
{
    if (!master_replica_is_valid(replica) || replica->damaged || replica->stale) {
        return false;
    }
    return chunk->sealed
               ? replica->count >= chunk->count && master_log_is_held(chunk, replica->server)
               : master_chunk_member_index(chunk, replica->server->id) >= 0;
}

uint32_t master_chunk_good_count(const struct master_core *core, const struct master_chunk *chunk)
{
    (void)core;
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunk->replicas_count; i++) {
        const struct master_replica *replica = &chunk->replicas[i];
        count += master_replica_is_good(chunk, replica) && master_server_is_live(replica->server);
    }
    return count;
}

// ---- for clients ---------------------------------------------------------------------------------

static Pawl__ChunkState chunk_state(const struct master_chunk *chunk)
{
    if (chunk->sealed) {
        return PAWL__CHUNK_STATE__CHUNK_SEALED;
    }
    if (!chunk->ready) {
        return PAWL__CHUNK_STATE__CHUNK_NEW;
    }
    return chunk->work->phase == MASTER_PHASE_GRANTED ? PAWL__CHUNK_STATE__CHUNK_OPEN
                                                      : PAWL__CHUNK_STATE__CHUNK_RECOVERING;
}

// Where a reader of a sealed chunk had better go first: lower is better.
static uint32_t replica_rank(const struct master_replica *replica)
{
    uint32_t rank = master_server_is_live(replica->server) ? 0 : replica->server->conn ? 1 : 2;
    return rank * 2 + (replica->sealed ? 0 : 1) + (replica->damaged ? 8 : 0);
}

// Servers that are gone come late, damaged replicas last. Not listed: what is too short, and what left
// its set and went before it learnt of the seal, and what lacks a part of the write log.
static bool replica_is_listed(const struct master_chunk *chunk,
                              const struct master_replica *replica)
{
    bool known = replica->server->conn != 0 || replica->sealed ||
                 master_chunk_member_index(chunk, replica->server->id) >= 0;
    return master_replica_is_valid(replica) && !replica->stale && replica->count >= chunk->count &&
           known && master_log_is_held(chunk, replica->server);
}

static void message_sealed_replicas(struct master_core *core, const struct master_chunk *chunk,
                                    Pawl__Chunk *message)
{
    for (uint32_t rank = 0; rank < 16; rank++) {
        for (uint32_t i = 0; i < chunk->replicas_count; i++) {
            const struct master_replica *replica = &chunk->replicas[i];
            if (!replica_is_listed(chunk, replica) || replica_rank(replica) != rank) {
                continue;
            }
            Pawl__Member *member = master_member_message(core, replica->server);
            member->damaged = replica->damaged;
            message->replicas[message->n_replicas++] = member;
        }
    }
}

static void message_set(struct master_core *core, const struct master_chunk *chunk,
                        Pawl__Chunk *message)
{
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        struct master_server *server = master_chunk_member(core, chunk, i);
        Pawl__Member *member = master_member_message(core, server);
        const struct master_replica *replica = master_replica_find(chunk, server);
        member->damaged = replica && replica->damaged;
        message->replicas[message->n_replicas++] = member;
    }
}

static void message_lease(struct master_core *core, const struct master_chunk *chunk,
                          Pawl__Chunk *message)
{
    const struct master_work *work = chunk->work;
    if (work->phase == MASTER_PHASE_GRANTED) {
        message->primary_id = work->primary_id;
        if (work->lease_until_ns > core->now_ns) {
            message->lease_ms = (work->lease_until_ns - core->now_ns) / MASTER_NS_PER_MS;
        }
    }
}

Pawl__Chunk *master_chunk_message(struct master_core *core, const struct master_chunk *chunk)
{
    Pawl__Chunk *message = MASTER_MESSAGE(core, Pawl__Chunk, pawl__chunk__init);
    message->handle = chunk->handle;
    message->index = chunk->index;
    message->base_offset = chunk->base_offset;
    message->length = chunk->length;
    message->count = chunk->count;
    message->version = chunk->version;
    message->state = chunk_state(chunk);
    message->under_replicated = master_chunk_good_count(core, chunk) < chunk->file->replicas;
    message->replicas = master_arena_alloc(core, MASTER_REPLICAS_MAX * sizeof(Pawl__Member *));
    if (chunk->sealed) {
        message_sealed_replicas(core, chunk, message);
        master_log_describe(core, chunk, message);
    } else {
        message_set(core, chunk, message);
        message_lease(core, chunk, message);
    }
    return message;
}
