// SPDX-License-Identifier: Apache-2.0
// Images: words that never change, each stored once and named by a number. Two are the same when 128
// bits of hash agree.
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define ARENA_WORDS (UINT64_C(1) << 17)

struct image {
    struct model_hash hash;
    const uint64_t *data;
};

struct model_store {
    struct image *images;
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; // image + 1
    uint64_t slots_count;
    uint64_t *arena;
    uint64_t arena_left;
    uint64_t bytes;
};

struct model_store *model_store_new(void)
{
    struct model_store *store = calloc(1, sizeof(*store));
    pawl_assert(store != NULL);
    store->slots_count = 1024;
    store->slots = calloc(store->slots_count, sizeof(store->slots[0]));
    pawl_assert(store->slots != NULL);
    return store;
}

static uint32_t *slot_of(const struct model_store *store, const struct model_hash *hash)
{
    uint64_t at = hash->a & (store->slots_count - 1);
    while (store->slots[at] != 0) {
        const struct image *image = &store->images[store->slots[at] - 1];
        if (image->hash.a == hash->a && image->hash.b == hash->b) {
            break;
        }
        at = (at + 1) & (store->slots_count - 1);
    }
    return &store->slots[at];
}

uint32_t model_store_find(const struct model_store *store, const struct model_hash *hash)
{
    return *slot_of(store, hash) - 1;
}

static void grow(struct model_store *store)
{
    if (store->count == store->capacity) {
        store->capacity = store->capacity != 0 ? store->capacity * 2 : 256;
        store->images = realloc(store->images, store->capacity * sizeof(store->images[0]));
        pawl_assert(store->images != NULL);
    }
    if (store->count * 2ull < store->slots_count) {
        return;
    }
    free(store->slots);
    store->slots_count *= 2;
    store->slots = calloc(store->slots_count, sizeof(store->slots[0]));
    pawl_assert(store->slots != NULL);
    for (uint32_t i = 0; i < store->count; i++) {
        *slot_of(store, &store->images[i].hash) = i + 1;
    }
}

uint32_t model_store_add(struct model_store *store, const struct model_hash *hash,
                         const uint64_t *words, uint32_t count)
{
    grow(store);
    if (store->arena_left < count) {
        store->arena_left = PAWL_MAX(ARENA_WORDS, (uint64_t)count);
        store->arena = malloc(store->arena_left * sizeof(*store->arena));
        pawl_assert(store->arena != NULL);
        store->bytes += store->arena_left * sizeof(*store->arena);
    }
    memcpy(store->arena, words, count * sizeof(*words));
    store->images[store->count] = (struct image){.hash = *hash, .data = store->arena};
    store->arena += count;
    store->arena_left -= count;
    *slot_of(store, hash) = ++store->count;
    return store->count - 1;
}

const uint64_t *model_store_at(const struct model_store *store, uint32_t image)
{
    return store->images[image].data;
}

uint32_t model_store_count(const struct model_store *store)
{
    return store->count;
}

uint64_t model_store_bytes(const struct model_store *store)
{
    return store->bytes + store->capacity * sizeof(store->images[0]) +
           store->slots_count * sizeof(store->slots[0]);
}
