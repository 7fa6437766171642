// SPDX-License-Identifier: Apache-2.0
// Disks that lose what they had made durable: one comes back in an older state (it lied about a flush, or
// an old image was restored), one comes back empty. The protocol survives it where others hold what was
// lost; the rules for that cannot be tested otherwise.
#include <stdlib.h>

#include "sim.h"

static void loss_add(struct sim_disk *disk, const struct sim_chunk *chunk)
{
    disk->losses = realloc(disk->losses, (disk->losses_count + 1) * sizeof(disk->losses[0]));
    pawl_assert(disk->losses != NULL);
    disk->losses[disk->losses_count++] =
        (struct sim_loss){.handle = chunk->handle, .count = chunk->records_count};
}

bool sim_disk_lost(const struct sim_disk *disk, uint64_t handle, uint64_t *ret_count)
{
    for (uint32_t i = 0; i < disk->losses_count; i++) {
        if (disk->losses[i].handle == handle) {
            *ret_count = disk->losses[i].count;
            return true;
        }
    }
    return false;
}

// All of it, where each chunk has as many good copies left as the file needs to be read.
static bool wipe(struct sim *sim, struct sim_disk *disk)
{
    for (uint32_t i = 0; i < disk->chunks_count; i++) {
        if (!sim_oracle_may_lose(sim, disk->node->index, disk->chunks[i].handle, 2)) {
            return false;
        }
    }
    sim_note(sim, "%s comes back with an empty disk", disk->node->name);
    for (uint32_t i = 0; i < disk->chunks_count; i++) {
        loss_add(disk, &disk->chunks[i]);
    }
    disk->cluster_id = 0;
    sim_disk_clear(disk);
    return true;
}

// Open chunks lose records. That can be noticed only by somebody who knows that more were committed, so
// as many are lost that the master knows better.
static bool rollback(struct sim *sim, struct sim_disk *disk)
{
    bool lost = false;
    for (uint32_t i = 0; i < disk->chunks_count; i++) {
        struct sim_chunk *chunk = &disk->chunks[i];
        uint64_t heard = sim_oracle_heard_count(sim, chunk->handle);
        uint64_t count = 0;
        if (chunk->sealed || heard == 0 || heard > chunk->records_count ||
            sim_disk_lost(disk, chunk->handle, &count) ||
            !sim_oracle_may_lose(sim, disk->node->index, chunk->handle, 1)) {
            continue;
        }
        count = sim_fault_below(sim, heard);
        loss_add(disk, chunk);
        sim_note(sim, "%s chunk %llu goes back from %llu records to %llu", disk->node->name,
                 (unsigned long long)chunk->handle, (unsigned long long)chunk->records_count,
                 (unsigned long long)count);
        while (chunk->records_count > count) {
            chunk->rotten_count -= chunk->records[chunk->records_count - 1].rotten;
            free(chunk->records[--chunk->records_count].payload);
        }
        chunk->commit_count = PAWL_MIN(chunk->commit_count, count);
        lost = true;
    }
    return lost;
}

// What takes a disk's contents seldom comes alone: the loss hurts most when this replica is the first to be
// back, and nobody else is there to know better.
static void others_down(struct sim *sim, const struct sim_disk *disk, bool master)
{
    for (uint32_t i = 0; i < sim->nodes_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        if (node != disk->node &&
            (node->role == SIM_CHUNKD || (master && node->role == SIM_MASTER))) {
            sim_trip(sim, node, 6000, 100 * SIM_MS);
        }
        if (!master && node != disk->node && node->role == SIM_CHUNKD) {
            // Nor are they soon: the master decides with what this one has.
            uint32_t to = sim_node_of(sim, SIM_MASTER, 0)->id;
            uint64_t until_ns = sim->now_ns + (1000 + sim_below(sim, 6000)) * SIM_MS;
            sim->blocks[node->id][to] = (struct sim_block){.until_ns = until_ns};
            sim->blocks[to][node->id] = sim->blocks[node->id][to];
        }
    }
}

void sim_disk_lose(struct sim *sim, struct sim_disk *disk)
{
    if (sim_fault(sim, SIM_FAULT_ROLLBACK, sim->params.rollback_permyriad) && rollback(sim, disk)) {
        others_down(sim, disk, false);
    } else if (sim_fault(sim, SIM_FAULT_WIPE, sim->params.wipe_permyriad) && wipe(sim, disk)) {
        others_down(sim, disk, true);
    }
}
