// SPDX-License-Identifier: Apache-2.0
// A pool of blocks that split into quarters and sixteenths: one 16-bit mask per block is all its
// state.
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "dataplane/memory/memory.h"

#define POOL_UNITS 16u
#define POOL_BLOCK_BYTES_MIN (64u << 10)

// Sixteenths of a block that a get of `bytes` takes: 1, 4 or 16; 0 if it is more than a block.
static unsigned pool_units(const struct memory_pool *pool, size_t bytes)
{
    if (bytes <= pool->block_bytes / 16) {
        return 1;
    }
    if (bytes <= pool->block_bytes / 4) {
        return 4;
    }
    return bytes <= pool->block_bytes ? POOL_UNITS : 0;
}

static uint16_t pool_mask(unsigned units, unsigned at)
{
    return (uint16_t)(((1u << units) - 1) << at);
}

int memory_pool_init(struct memory_pool *pool, const struct pawl_alloc *alloc, void *memory,
                     size_t bytes, size_t block_bytes)
{
    memset(pool, 0, sizeof(*pool));
    if (block_bytes < POOL_BLOCK_BYTES_MIN || (block_bytes & (block_bytes - 1)) != 0 ||
        bytes < block_bytes) {
        return -EINVAL;
    }
    pool->used = alloc->alloc(alloc->ctx, bytes / block_bytes * sizeof(*pool->used));
    if (pool->used == NULL) {
        return -ENOMEM;
    }
    pool->alloc = alloc;
    pool->base = memory;
    pool->block_bytes = block_bytes;
    pool->blocks_count = bytes / block_bytes;
    return 0;
}

void memory_pool_fini(struct memory_pool *pool)
{
    if (pool->used != NULL) {
        pool->alloc->free(pool->alloc->ctx, pool->used);
    }
    memset(pool, 0, sizeof(*pool));
}

size_t memory_pool_class_bytes(const struct memory_pool *pool, size_t bytes)
{
    return pool->block_bytes / POOL_UNITS * pool_units(pool, bytes);
}

// How well a free place fits: the more of its surroundings is taken, the better, so that whole
// blocks and whole quarters stay whole. -1: not free.
static int pool_fit(uint16_t used, unsigned units, unsigned at)
{
    if ((used & pool_mask(units, at)) != 0) {
        return -1;
    }
    uint16_t quarter = pool_mask(4, at & ~3u);
    return __builtin_popcount(used) + POOL_UNITS * __builtin_popcount(used & quarter);
}

size_t memory_pool_free_bytes(const struct memory_pool *pool, size_t first, size_t count)
{
    size_t units = 0;

    pawl_assert(first + count <= pool->blocks_count);
    for (size_t i = first; i < first + count; i++) {
        units += POOL_UNITS - (unsigned)__builtin_popcount(pool->used[i]);
    }
    return pool->block_bytes / POOL_UNITS * units;
}

void *memory_pool_get(struct memory_pool *pool, size_t first, size_t count, size_t bytes)
{
    unsigned units = pool_units(pool, bytes);
    int best = -1;
    size_t best_block = 0;
    unsigned best_at = 0;

    if (units == 0) {
        return NULL;
    }
    pawl_assert(first + count <= pool->blocks_count);
    for (size_t i = first; i < first + count; i++) {
        for (unsigned at = 0; at < POOL_UNITS; at += units) {
            int fit = pool_fit(pool->used[i], units, at);
            if (fit > best) {
                best = fit;
                best_block = i;
                best_at = at;
            }
        }
    }
    if (best < 0) {
        return NULL;
    }
    pool->used[best_block] |= pool_mask(units, best_at);
    pool->used_bytes += pool->block_bytes / POOL_UNITS * units;
    return pool->base + best_block * pool->block_bytes + best_at * (pool->block_bytes / POOL_UNITS);
}

void memory_pool_put(struct memory_pool *pool, void *block, size_t bytes)
{
    unsigned units = pool_units(pool, bytes);

    if (block == NULL) {
        return;
    }
    size_t offset = (size_t)((unsigned char *)block - pool->base);
    size_t unit_bytes = pool->block_bytes / POOL_UNITS;
    size_t i = offset / pool->block_bytes;
    unsigned at = (unsigned)(offset % pool->block_bytes / unit_bytes);
    pawl_assert(units > 0 && i < pool->blocks_count && offset % (unit_bytes * units) == 0);
    uint16_t mask = pool_mask(units, at);
    pawl_assert((pool->used[i] & mask) == mask); // a block given back twice
    pool->used[i] &= (uint16_t)~mask;
    pool->used_bytes -= unit_bytes * units;
}
