// SPDX-License-Identifier: Apache-2.0
// Hash table from a 64-bit key to a pointer: open addressing, memory from a given allocator. It
// owns its slots and BORROWS the values. The order of iteration depends only on the calls that were
// made, so that a simulation repeats. Owner's thread only.
#ifndef PAWL_BASE_MAP_H
#define PAWL_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"

struct pawl_map_slot {
    uint64_t key;
    void *value; // NULL: free
};

struct pawl_map {
    const struct pawl_alloc *alloc;
    struct pawl_map_slot *slots; // NULL until the first put
    size_t slots_count;          // 0 or a power of two
    size_t count;
};

// Allocates nothing yet. BORROWS `alloc` until fini.
void pawl_map_init(struct pawl_map *map, const struct pawl_alloc *alloc);
void pawl_map_fini(struct pawl_map *map);

// NULL when the key is not there.
void *pawl_map_get(const struct pawl_map *map, uint64_t key);

// Puts or replaces; `value` is not NULL. 0, or -ENOMEM with the map unchanged.
int pawl_map_put(struct pawl_map *map, uint64_t key, void *value) PAWL_MUST_CHECK;

// Room for `count` keys in all, so that puts up to there can't fail. 0 or -ENOMEM.
int pawl_map_reserve(struct pawl_map *map, size_t count) PAWL_MUST_CHECK;

// The removed value; NULL when the key was not there.
void *pawl_map_remove(struct pawl_map *map, uint64_t key);

// Iterates: begin with *cursor = 0, goes on while true is returned. Put and remove only when done.
bool pawl_map_iterate(const struct pawl_map *map, size_t *cursor, uint64_t *key, void **value);

static inline size_t pawl_map_count(const struct pawl_map *map)
{
    return map->count;
}

#endif
