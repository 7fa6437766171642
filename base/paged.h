// SPDX-License-Identifier: Apache-2.0
// Paged array: things of one size by index, which grows by pages and never moves one.
//
// OWNS its pages. An array that moves as it grows stands still for milliseconds once it is large, and whoever
// waits for its thread with it. Pages are of 16, 16, 32, 64, ... 2048 things, then of 4096 each. Thread: its owner's.
#ifndef PAWL_BASE_PAGED_H
#define PAWL_BASE_PAGED_H

#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"

#define PAWL_PAGED_MIN 16u   // things of the first page
#define PAWL_PAGED_MAX 4096u // of the largest ones
#define PAWL_PAGED_SMALL 9u  // pages of fewer than that

struct pawl_paged {
    const struct pawl_alloc *alloc;
    void **pages;
    uint64_t capacity;
    size_t item_bytes;
    uint32_t pages_count;
    uint32_t pages_capacity;
};

// Takes no memory yet.
void pawl_paged_init(struct pawl_paged *paged, const struct pawl_alloc *alloc, size_t item_bytes);
// Ready for use again, and empty. A zeroed struct is fine.
void pawl_paged_fini(struct pawl_paged *paged);

// pawl_paged_reserve() for whom there is no room yet.
int pawl_paged_grow(struct pawl_paged *paged, uint64_t count) PAWL_MUST_CHECK;

// Room for `count` things at least, new ones zeroed. -ENOMEM: what was there is there still.
PAWL_MUST_CHECK static inline int pawl_paged_reserve(struct pawl_paged *paged, uint64_t count)
{
    return count <= paged->capacity ? 0 : pawl_paged_grow(paged, count);
}

// Thing `index`, which is below the capacity. `item_bytes` is that of pawl_paged_init(): given here as a constant,
// it makes this a few instructions.
static inline void *pawl_paged_at(const struct pawl_paged *paged, uint64_t index, size_t item_bytes)
{
    uint64_t page = PAWL_PAGED_SMALL - 1 + index / PAWL_PAGED_MAX;
    uint64_t at = index % PAWL_PAGED_MAX;

    if (index < PAWL_PAGED_MAX) { // page n begins at 8 << n, but for the first
        uint64_t first = PAWL_PAGED_MIN - 1;
        uint32_t log2 = 63u ^ (uint32_t)__builtin_clzll(index | first);
        page = log2 - 3;
        at = index & (((UINT64_C(1) << log2) - 1) | first);
    }
    return (char *)paged->pages[page] + at * item_bytes;
}

#endif
