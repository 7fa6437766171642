// SPDX-License-Identifier: Apache-2.0
// Linear probing with backward-shift deletion: no tombstones, so lookups stay short for ever.
#include "base/map.h"

#include <errno.h>

#include "base/assert.h"
#include "base/hash.h"

#define MAP_SLOTS_MIN 16

void pawl_map_init(struct pawl_map *map, const struct pawl_alloc *alloc)
{
    *map = (struct pawl_map){.alloc = alloc};
}

void pawl_map_fini(struct pawl_map *map)
{
    if (map->slots) {
        pawl_alloc_free(map->alloc, map->slots);
    }
    *map = (struct pawl_map){.alloc = map->alloc};
}

static size_t map_home(const struct pawl_map *map, uint64_t key)
{
    return (size_t)pawl_hash_u64(key) & (map->slots_count - 1);
}

// The slot that holds the key, or the free one where it belongs. There is always a free slot.
static struct pawl_map_slot *map_find(const struct pawl_map *map, uint64_t key)
{
    size_t at = map_home(map, key);
    while (map->slots[at].value && map->slots[at].key != key) {
        at = (at + 1) & (map->slots_count - 1);
    }
    return &map->slots[at];
}

void *pawl_map_get(const struct pawl_map *map, uint64_t key)
{
    return map->slots ? map_find(map, key)->value : NULL;
}

int pawl_map_reserve(struct pawl_map *map, size_t count)
{
    if (count > SIZE_MAX / 4) {
        return -ENOMEM;
    }
    // At most three quarters full.
    size_t slots_count = map->slots_count ? map->slots_count : MAP_SLOTS_MIN;
    while (slots_count - slots_count / 4 < count) {
        slots_count *= 2;
    }
    if (slots_count == map->slots_count) {
        return 0;
    }
    struct pawl_map grown = {.alloc = map->alloc, .slots_count = slots_count, .count = map->count};
    grown.slots = pawl_alloc_array(map->alloc, slots_count, sizeof(*grown.slots));
    if (!grown.slots) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < map->slots_count; i++) {
        if (map->slots[i].value) {
            *map_find(&grown, map->slots[i].key) = map->slots[i];
        }
    }
    pawl_alloc_free(map->alloc, map->slots);
    *map = grown;
    return 0;
}

int pawl_map_put(struct pawl_map *map, uint64_t key, void *value)
{
    pawl_assert(value);
    if (map->slots) {
        struct pawl_map_slot *slot = map_find(map, key);
        if (slot->value) {
            slot->value = value;
            return 0;
        }
    }
    int rc = pawl_map_reserve(map, map->count + 1);
    if (rc) {
        return rc;
    }
    *map_find(map, key) = (struct pawl_map_slot){.key = key, .value = value};
    map->count++;
    return 0;
}

// Closes the gap at `hole`: whoever probed across it moves back into it.
static void map_close_gap(struct pawl_map *map, size_t hole)
{
    size_t mask = map->slots_count - 1;
    for (size_t at = (hole + 1) & mask; map->slots[at].value; at = (at + 1) & mask) {
        size_t home = map_home(map, map->slots[at].key);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            hole = at;
        }
    }
    map->slots[hole] = (struct pawl_map_slot){0};
}

void *pawl_map_remove(struct pawl_map *map, uint64_t key)
{
    if (!map->slots) {
        return NULL;
    }
    struct pawl_map_slot *slot = map_find(map, key);
    void *value = slot->value;
    if (value) {
        map_close_gap(map, (size_t)(slot - map->slots));
        map->count--;
    }
    return value;
}

bool pawl_map_iterate(const struct pawl_map *map, size_t *cursor, uint64_t *key, void **value)
{
    while (*cursor < map->slots_count) {
        const struct pawl_map_slot *slot = &map->slots[(*cursor)++];
        if (slot->value) {
            *key = slot->key;
            *value = slot->value;
            return true;
        }
    }
    return false;
}
