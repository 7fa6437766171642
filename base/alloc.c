// SPDX-License-Identifier: Apache-2.0
// The heap as an allocator, and helpers over any allocator.
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static void *heap_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return calloc(1, bytes);
}

static void heap_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

const struct pawl_alloc *pawl_alloc_heap(void)
{
    static const struct pawl_alloc heap = {.alloc = heap_alloc, .free = heap_free, .ctx = NULL};
    return &heap;
}

void *pawl_alloc_array(const struct pawl_alloc *alloc, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total) || total == 0) {
        return NULL;
    }
    return alloc->alloc(alloc->ctx, total);
}

void *pawl_alloc_grow(const struct pawl_alloc *alloc, void *old, size_t old_count, size_t new_count,
                      size_t bytes)
{
    pawl_assert(new_count >= old_count);
    void *grown = pawl_alloc_array(alloc, new_count, bytes);
    if (!grown) {
        return NULL;
    }
    if (old) {
        memcpy(grown, old, old_count * bytes);
        alloc->free(alloc->ctx, old);
    }
    return grown;
}

void pawl_alloc_free(const struct pawl_alloc *alloc, void *p)
{
    if (p) {
        alloc->free(alloc->ctx, p);
    }
}
