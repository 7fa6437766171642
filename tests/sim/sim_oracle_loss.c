// SPDX-License-Identifier: Apache-2.0
// The oracle's word on losses: which replica may rot or be lost so that a file can still be read, what the
// master knows of, and what is lost for good.
#include <string.h>

#include "sim_oracle_private.h"

// Replicas of a sealed chunk move; those of an open one are the members of its set.
static bool may_hold(const struct oracle_chunk *chunk, uint64_t server_id)
{
    bool member = chunk->sealed;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        member |= chunk->set[i] == server_id;
    }
    return member;
}

// Servers, but for one, that hold so many records of the chunk, all of them in good order.
static uint32_t good_count(struct sim *sim, const struct oracle_chunk *chunk, uint64_t but_id,
                           uint64_t count)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        const struct sim_chunk *replica = sim_disk_chunk(sim->disks[i], chunk->handle);
        bool counts = SIM_SERVER_ID(i) != but_id && may_hold(chunk, SIM_SERVER_ID(i));
        good += counts && replica != NULL && replica->records_count >= count &&
                replica->rotten_count == 0 && !replica->damaged;
    }
    return good;
}

bool sim_oracle_spares(struct sim *sim, uint32_t server, uint64_t handle)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    if (chunk == NULL || is_removed(sim->oracle, chunk->file_id) ||
        !may_hold(chunk, SIM_SERVER_ID(server))) {
        return false;
    }
    // The set of an open chunk loses members that are away when it is sealed.
    uint32_t wanted = chunk->sealed ? 1 : 2;
    uint64_t committed = committed_count(sim, chunk);
    return good_count(sim, chunk, SIM_SERVER_ID(server), committed) >= wanted;
}

// A member of an open chunk whose disk has lost some of it, and that has not got them back.
static bool is_losing(struct sim *sim, const struct oracle_chunk *chunk, uint64_t count)
{
    bool losing = false;
    for (uint32_t i = 0; !chunk->sealed && i < sim->params.servers_count; i++) {
        const struct sim_chunk *replica = sim_disk_chunk(sim->disks[i], chunk->handle);
        uint64_t lost = 0;
        losing |= may_hold(chunk, SIM_SERVER_ID(i)) &&
                  sim_disk_lost(sim->disks[i], chunk->handle, &lost) &&
                  (replica == NULL || replica->records_count < count);
    }
    return losing;
}

bool sim_oracle_may_lose(struct sim *sim, uint32_t server, uint64_t handle, uint32_t others)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    if (chunk == NULL || is_removed(sim->oracle, chunk->file_id)) {
        return true;
    }
    if (!chunk->ready) {
        return false; // it may be, in what the master has not logged yet
    }
    uint32_t wanted = chunk->sealed ? 1 : others;
    uint64_t id = SIM_SERVER_ID(server);
    // All that it has, not only what is committed: the master may have settled at the rest already.
    const struct sim_chunk *own = sim_disk_chunk(sim->disks[server], handle);
    uint64_t count = committed_count(sim, chunk);
    count = own != NULL ? PAWL_MAX(count, own->records_count) : count;
    // Of two disks that lose what they called durable, while the third is away, nobody can know.
    return good_count(sim, chunk, id, count) >= wanted && !is_losing(sim, chunk, count);
}

static bool is_reachable(struct sim *sim, const struct sim_node *node)
{
    const struct sim_node *master = sim_node_of(sim, SIM_MASTER, 0);
    bool reached = false;
    for (size_t i = 0; i < sim->conns_count; i++) {
        const struct sim_conn *conn = sim->conns[i];
        reached |= conn != NULL && conn->control && conn->side[0].node == node &&
                   conn->side[1].node == master && conn->side[0].open && conn->side[1].open;
    }
    return reached && node->up && node->frozen_until_ns <= sim->now_ns &&
           sim->blocks[node->id][master->id].until_ns <= sim->now_ns &&
           sim->blocks[master->id][node->id].until_ns <= sim->now_ns;
}

static bool is_beyond(struct sim *sim, const struct oracle_chunk *chunk,
                      const Pawl__LogChunkSeal *body)
{
    for (size_t i = 0; i < body->n_set; i++) {
        const struct sim_node *node = sim_server_node(sim, body->set[i]);
        uint64_t lost = 0;
        if (node == NULL || !sim_disk_lost(sim->disks[node->index], body->handle, &lost)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct sim_node *node = sim_server_node(sim, chunk->set[i]);
        const struct sim_chunk *replica =
            node != NULL ? sim_disk_chunk(sim->disks[node->index], body->handle) : NULL;
        bool holds = replica != NULL && replica->records_count >= chunk->answered_count;
        if (holds && is_reachable(sim, node)) {
            return false;
        }
    }
    return true;
}

void sim_oracle_sealing(struct sim *sim, const Pawl__LogChunkSeal *body)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, body->handle);
    if (chunk != NULL) {
        chunk->beyond = is_beyond(sim, chunk, body);
    }
}

void sim_oracle_heard(struct sim *sim, uint64_t server_id, uint64_t handle, uint64_t commit_count)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    for (uint32_t i = 0; chunk != NULL && chunk->ready && i < chunk->set_count; i++) {
        if (chunk->set[i] == server_id) {
            chunk->heard_count = PAWL_MAX(chunk->heard_count, commit_count);
        }
    }
}

uint64_t sim_oracle_heard_count(const struct sim *sim, uint64_t handle)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    return chunk != NULL && !chunk->sealed && chunk->ready ? chunk->heard_count : 0;
}

uint64_t sim_oracle_committed(struct sim *sim, uint64_t handle)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    return chunk != NULL ? committed_count(sim, chunk) : 0;
}

bool sim_oracle_is_lost(struct sim *sim, uint64_t handle)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    return chunk != NULL && good_count(sim, chunk, 0, committed_count(sim, chunk)) == 0;
}

bool sim_oracle_has_losses(struct sim *sim, uint64_t file_id)
{
    bool lost = false;
    for (uint32_t i = 0; i < sim->oracle->chunks_count; i++) {
        const struct oracle_chunk *chunk = sim->oracle->chunks[i];
        lost |= chunk->file_id == file_id && chunk->ready && sim_oracle_is_lost(sim, chunk->handle);
    }
    return lost;
}

bool sim_oracle_is_removed(const struct sim *sim, uint64_t file_id)
{
    return is_removed(sim->oracle, file_id);
}

uint64_t sim_oracle_told_bytes(const struct sim *sim, uint64_t handle)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    return chunk != NULL ? records_end(chunk, chunk->answered_count) : 0;
}

bool sim_oracle_view(const struct sim_oracle *oracle, uint32_t at, struct sim_view *ret)
{
    if (at >= oracle->chunks_count) {
        return false;
    }
    const struct oracle_chunk *chunk = oracle->chunks[at];
    *ret = (struct sim_view){.handle = chunk->handle,
                             .file_id = chunk->file_id,
                             .base = chunk->base,
                             .count = chunk->count,
                             .sealed = chunk->sealed,
                             .ready = chunk->ready,
                             .removed = is_removed(oracle, chunk->file_id),
                             .set_count = chunk->set_count};
    memcpy(ret->set, chunk->set, sizeof(ret->set));
    return true;
}
