// SPDX-License-Identifier: Apache-2.0
// The least number of replicas: when every member of the set has answered the fence of the version under which
// a chunk is sealed, it stands on as many as its file's minimum. What fewer hold was never acknowledged
// then, and a retry of it would be.
#include "sim_oracle_private.h"

#define ULL(x) ((unsigned long long)(x))

void sim_oracle_fenced(struct sim *sim, uint32_t server, uint64_t token, const Pawl__Fenced *fenced)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, fenced->handle);
    if (chunk == NULL || fenced->version < chunk->fence.version ||
        chunk->fence_tokens[server] != token) {
        return;
    }
    struct oracle_fence *fence = &chunk->fence;
    if (fenced->version > fence->version) {
        *fence = (struct oracle_fence){.version = fenced->version};
    }
    if (!fence->over) {
        fence->servers |= 1u << server;
        fence->counts[server] = fenced->count;
        fence->commit_count = PAWL_MAX(fence->commit_count, fenced->commit_count);
    }
}

// Who is asked again has not answered: the master takes no answer to what it asked before.
void sim_oracle_fence_asked(struct sim *sim, uint32_t server, uint64_t token,
                            const Pawl__Fence *asked)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, asked->handle);
    if (chunk == NULL) {
        return;
    }
    chunk->fence_tokens[server] = token;
    if (chunk->fence.version == asked->version) {
        chunk->fence.servers &= ~(1u << server);
        chunk->fence.over = false;
    }
}

void sim_oracle_fence_over(struct sim *sim, uint64_t handle, uint64_t version)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    if (chunk != NULL && chunk->fence.version == version) {
        chunk->fence.over = true;
    }
}

void sim_oracle_failed(struct sim *sim, uint32_t server)
{
    for (uint32_t i = 0; i < sim->oracle->chunks_count; i++) {
        struct oracle_fence *fence = &sim->oracle->chunks[i]->fence;
        fence->servers &= fence->over ? UINT32_MAX : ~(1u << server);
    }
}

// The master may have been told that the replicas are damaged, whatever a restart makes of them.
void sim_oracle_store_failed(struct sim *sim, uint32_t server)
{
    for (uint32_t i = 0; i < sim->oracle->chunks_count; i++) {
        sim->oracle->chunks[i]->fence.servers &= ~(1u << server);
    }
}

static uint32_t server_of(const struct oracle_chunk *chunk, uint32_t member)
{
    return (uint32_t)(chunk->set[member] - SIM_SERVER_ID(0));
}

// It answered, and nothing has happened to its disk that it may have told the master of in another way.
static bool is_sound(struct sim *sim, const struct oracle_chunk *chunk, uint32_t server)
{
    const struct sim_chunk *replica = sim_disk_chunk(sim->disks[server], chunk->handle);
    return (chunk->fence.servers & 1u << server) != 0 && !sim->disks[server]->failed &&
           replica != NULL && !replica->damaged && replica->rotten_count == 0;
}

// Records of the weaker level may have been acknowledged though a single member held them in the end.
static uint64_t replicated_count(const struct oracle_chunk *chunk)
{
    uint64_t count = chunk->records_count;
    while (count > 0 && !chunk->records[count - 1].record.replicated) {
        count--;
    }
    return count;
}

static bool is_enough(struct sim *sim, const struct oracle_chunk *chunk, uint64_t count)
{
    uint32_t holders = 0;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        holders += chunk->fence.counts[server_of(chunk, i)] >= count;
    }
    uint64_t heard = PAWL_MAX(chunk->heard_count, chunk->fence.commit_count);
    return holders >= sim->params.min_replicas && count >= PAWL_MAX(heard, replicated_count(chunk));
}

void check_least(struct sim *sim, const struct oracle_chunk *chunk, const Pawl__LogChunkSeal *body)
{
    bool possible = false;
    if (chunk->fence.version != body->version || body->n_set >= sim->params.min_replicas) {
        return;
    }
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        if (!is_sound(sim, chunk, server_of(chunk, i))) {
            return;
        }
        possible |= is_enough(sim, chunk, chunk->fence.counts[server_of(chunk, i)]);
    }
    if (possible) {
        sim_violation(sim,
                      "chunk %llu is sealed at %llu records on %zu servers; its whole set had "
                      "answered, and its file's minimum is %u",
                      ULL(body->handle), ULL(body->count), body->n_set, sim->params.min_replicas);
    }
}
