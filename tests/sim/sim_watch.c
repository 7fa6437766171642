// SPDX-License-Identifier: Apache-2.0
// The second half of the oracle: what servers say, against what is on their disks at that moment, and from
// time to time all disks against each other. It knows nothing of cores either.
//
//   who orders records of a version (invariant 3)       at each PREPARE that goes out
//   what a replica calls durable (5)                     at each PREPARED, FENCED, LEVELLED, SEALED, OPEN
//   replicas of a chunk are prefixes of each other (4)   every so many events, and at the end
//   no request is left without an answer (10)            at the end
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim_chunkd.h"

#define ULL(x) ((unsigned long long)(x))

struct sim_watch {
    struct pawl_map orderers; // chunk and version > server + 1
    struct pawl_map fences;   // chunk and server > the version that was answered last
};

struct sim_watch *sim_watch_new(void)
{
    struct sim_watch *watch = sim_alloc(sizeof(*watch));
    pawl_map_init(&watch->orderers, pawl_alloc_heap());
    pawl_map_init(&watch->fences, pawl_alloc_heap());
    return watch;
}

void sim_watch_free(struct sim_watch *watch)
{
    pawl_map_fini(&watch->orderers);
    pawl_map_fini(&watch->fences);
    free(watch);
}

// Handles and versions are small here.
static uint64_t key_of(uint64_t handle, uint64_t other)
{
    pawl_assert(handle < 1ull << 31 && other < 1ull << 32);
    return handle << 32 | other;
}

static void map_set(struct pawl_map *map, uint64_t key, uint64_t value)
{
    pawl_assert(pawl_map_put(map, key, (void *)(uintptr_t)value) == 0);
}

static uint64_t map_get(const struct pawl_map *map, uint64_t key)
{
    return (uint64_t)(uintptr_t)pawl_map_get(map, key);
}

// ---- what servers say ------------------------------------------------------------------------------------

void sim_watch_order(struct sim *sim, uint32_t server, uint64_t handle, uint64_t version)
{
    struct pawl_map *orderers = &sim->watch->orderers;
    uint64_t before = map_get(orderers, key_of(handle, version));
    if (before == 0) {
        map_set(orderers, key_of(handle, version), server + 1u);
    } else if (before != server + 1u) {
        sim_violation(sim, "cs%u and cs%llu both order records of chunk %llu version %llu",
                      server + 1, ULL(before), ULL(handle), ULL(version));
    }
}

void sim_watch_prepared(struct sim *sim, uint32_t server, const struct wire_prepared *prepared)
{
    const struct sim_chunk *chunk = sim_disk_chunk(sim->disks[server], prepared->chunk);
    uint64_t fenced = map_get(&sim->watch->fences, key_of(prepared->chunk, server));
    if (chunk == NULL || chunk->records_count <= prepared->index) {
        sim_violation(sim,
                      "cs%u answers PREPARED for chunk %llu record %llu, which is not on its disk",
                      server + 1, ULL(prepared->chunk), ULL(prepared->index));
    } else if (prepared->version < fenced) {
        sim_violation(sim,
                      "cs%u answers PREPARED of chunk %llu version %llu after its fence of %llu",
                      server + 1, ULL(prepared->chunk), ULL(prepared->version), ULL(fenced));
    }
}

// The barrier: the promise is durable, and the log that was counted is all that there will be.
static void check_fenced(struct sim *sim, uint32_t server, const Pawl__Fenced *fenced,
                         const struct sim_chunk *chunk)
{
    if (fenced->sealed) {
        return; // nothing is ordered in it any more
    }
    if (chunk == NULL || chunk->version < fenced->version) {
        sim_violation(sim, "cs%u answers a fence of chunk %llu version %llu that is not durable",
                      server + 1, ULL(fenced->handle), ULL(fenced->version));
    } else if (chunk->records_count != fenced->count ||
               sim_disk_is_writing(sim->disks[server], fenced->handle)) {
        sim_violation(
            sim, "cs%u answers a fence of chunk %llu with %llu records, its disk has %llu",
            server + 1, ULL(fenced->handle), ULL(fenced->count), ULL(chunk->records_count));
    } else {
        map_set(&sim->watch->fences, key_of(fenced->handle, server), fenced->version);
    }
}

void sim_watch_answer(struct sim *sim, uint32_t server, Pawl__Request__BodyCase command,
                      uint64_t handle, const Pawl__Reply *answer)
{
    const struct sim_chunk *chunk = sim_disk_chunk(sim->disks[server], handle);
    if (answer->code != 0 || sim->violated) {
        return;
    }
    if (answer->body_case == PAWL__REPLY__BODY_FENCED) {
        check_fenced(sim, server, answer->fenced, chunk);
    } else if (answer->body_case == PAWL__REPLY__BODY_LEVELLED &&
               (chunk == NULL || chunk->records_count != answer->levelled->count)) {
        sim_violation(sim,
                      "cs%u calls chunk %llu level at %llu records, its disk has another number",
                      server + 1, ULL(handle), ULL(answer->levelled->count));
    } else if (answer->body_case == PAWL__REPLY__BODY_SEALED && (chunk == NULL || !chunk->sealed)) {
        sim_violation(sim, "cs%u calls chunk %llu sealed, and it is not on its disk", server + 1,
                      ULL(handle));
    } else if (command == PAWL__REQUEST__BODY_OPEN && chunk == NULL) {
        sim_violation(sim, "cs%u calls chunk %llu open, and it is not on its disk", server + 1,
                      ULL(handle));
    }
}

// ---- all disks -------------------------------------------------------------------------------------------

static bool records_equal(const struct sim_record *x, const struct sim_record *y)
{
    return x->record.offset == y->record.offset && x->record.length == y->record.length &&
           x->record.crc == y->record.crc &&
           memcmp(&x->record.id, &y->record.id, sizeof(x->record.id)) == 0 &&
           (x->rotten || y->rotten || x->record.length == 0 ||
            memcmp(x->payload, y->payload, x->record.length) == 0);
}

static void compare(struct sim *sim, uint32_t a, const struct sim_chunk *x, uint32_t b,
                    const struct sim_chunk *y)
{
    uint64_t count = PAWL_MIN(x->records_count, y->records_count);
    if (x->sealed && y->sealed && x->records_count != y->records_count) {
        sim_violation(sim, "chunk %llu is sealed with %llu records on cs%u and %llu on cs%u",
                      ULL(x->handle), ULL(x->records_count), a + 1, ULL(y->records_count), b + 1);
    }
    for (uint64_t i = 0; i < count && !sim->violated; i++) {
        if (!records_equal(&x->records[i], &y->records[i])) {
            sim_violation(sim, "chunk %llu record %llu differs on cs%u and cs%u", ULL(x->handle),
                          ULL(i), a + 1, b + 1);
        }
    }
}

void sim_watch_all(struct sim *sim)
{
    for (uint32_t a = 0; a < sim->params.servers_count; a++) {
        const struct sim_disk *disk = sim->disks[a];
        for (uint32_t i = 0; i < disk->chunks_count && !sim->violated; i++) {
            // With the next server that has it: all are compared with all, by way of each other.
            for (uint32_t b = a + 1; b < sim->params.servers_count; b++) {
                const struct sim_chunk *other =
                    sim_disk_chunk(sim->disks[b], disk->chunks[i].handle);
                if (other != NULL) {
                    compare(sim, a, &disk->chunks[i], b, other);
                }
            }
        }
    }
}

void sim_watch_end(struct sim *sim)
{
    sim_watch_all(sim);
    for (uint32_t i = 0; i < sim->params.servers_count && !sim->violated; i++) {
        const struct sim_node *node = sim_node_of(sim, SIM_CHUNKD, i);
        const struct sim_chunkd *s = node->state;
        if (node->frozen_until_ns > sim->now_ns) {
            continue; // its answers are still to come
        }
        uint32_t served_count = s != NULL ? s->served_count : 0;
        uint32_t used_count = 0;
        for (uint32_t k = 0; s != NULL && k < s->windows_count; k++) {
            used_count += s->windows[k]->uses != 0 && s->windows[k]->conn == 0;
        }
        if (served_count != 0) {
            sim_violation(sim, "cs%u has left %u requests without an answer", i + 1, served_count);
        } else if (used_count != 0) {
            sim_violation(sim, "cs%u holds %u windows of connections that are gone", i + 1,
                          used_count);
        }
    }
}
