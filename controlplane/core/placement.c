// SPDX-License-Identifier: Apache-2.0
// Where a new chunk's replicas go: to servers that share a fabric, distinct locations first, then the least
// loaded ones.
#include "controlplane/core/master_core_private.h"

struct candidate {
    const struct master_server *server;
    uint64_t free_bytes;
    uint64_t lot; // random: breaks ties
};

uint64_t master_server_free_bytes(const struct master_server *server)
{
    uint64_t taken = server->used_bytes + server->reserved_bytes;
    return server->space_bytes > taken ? server->space_bytes - taken : 0;
}

static bool candidate_is_better(const struct candidate *a, const struct candidate *b)
{
    if (a->server->chunks_count != b->server->chunks_count) {
        return a->server->chunks_count < b->server->chunks_count;
    }
    if (a->free_bytes != b->free_bytes) {
        return a->free_bytes > b->free_bytes;
    }
    return a->lot < b->lot;
}

static bool set_has(const struct master_core *core, const uint64_t *set, uint32_t count,
                    const struct master_server *server, bool by_location)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct master_server *other = master_server_get(core, set[i]);
        if (other == server || (by_location && strcmp(other->location, server->location) == 0)) {
            return true;
        }
    }
    return false;
}

// The best server that is not in the set yet; NULL when there is none.
static const struct master_server *pick(struct master_core *core, uint64_t bytes, bool avoiding,
                                        bool by_location, const uint64_t *set, uint32_t count)
{
    struct candidate best = {0};
    uint32_t provider = master_provider_common(core);
    for (uint32_t i = 0; i < core->servers_count; i++) {
        const struct master_server *server = core->servers_order[i];
        struct candidate it = {.server = server, .free_bytes = master_server_free_bytes(server)};
        if (!master_server_is_live(server) || it.free_bytes < bytes ||
            (server->providers & provider) == 0 || (avoiding && server->avoid_ns > core->now_ns) ||
            set_has(core, set, count, server, by_location)) {
            continue;
        }
        it.lot = pawl_random_next(&core->random);
        if (!best.server || candidate_is_better(&it, &best)) {
            best = it;
        }
    }
    return best.server;
}

// Adds servers to a set of `count` until it has `wanted`; returns how many it has then.
static uint32_t fill(struct master_core *core, const struct master_inode *file, bool avoiding,
                     uint32_t wanted, uint64_t *set, uint32_t count)
{
    while (count < wanted) {
        const struct master_server *server =
            pick(core, file->chunk_bytes, avoiding, true, set, count);
        if (!server) {
            server = pick(core, file->chunk_bytes, avoiding, false, set, count);
        }
        if (!server) {
            break;
        }
        set[count++] = server->id;
    }
    return count;
}

int master_place(struct master_core *core, const struct master_inode *file,
                 uint64_t set[MASTER_SET_MAX], uint32_t *ret_count)
{
    if (file->written && !PAWL_MUTANT(write_set_any)) {
        return master_log_place(core, file, set, ret_count);
    }
    // Of servers that have just failed only as many are used as the file's minimum needs: two that can't
    // reach each other are both among them, and in one set they would fail again and again.
    uint32_t count = fill(core, file, true, file->replicas, set, 0);
    if (count < file->min_replicas) {
        count = fill(core, file, false, file->min_replicas, set, count);
    }
    if (count >= file->min_replicas) {
        *ret_count = count;
        return 0;
    }
    uint32_t live_count = 0;
    uint32_t provider = master_provider_common(core);
    for (uint32_t i = 0; i < core->servers_count; i++) {
        const struct master_server *server = core->servers_order[i];
        live_count += master_server_is_live(server) && (server->providers & provider) != 0;
    }
    return live_count < file->min_replicas ? PAWL_ENOSERVERS : PAWL_ENOSPACE;
}

void master_place_reserve(struct master_core *core, const uint64_t *set, uint32_t count,
                          uint64_t bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        master_server_get(core, set[i])->reserved_bytes += bytes;
    }
}
