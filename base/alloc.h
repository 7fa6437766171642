// SPDX-License-Identifier: Apache-2.0
// Where memory comes from: an allocator that is handed in, so that a pure core never calls malloc.
#ifndef PAWL_BASE_ALLOC_H
#define PAWL_BASE_ALLOC_H

#include <stddef.h>

#include "base/util.h"

struct pawl_alloc {
    // Zeroed bytes, aligned for any type; NULL when there are none. Never called with 0 bytes.
    void *(*alloc)(void *ctx, size_t bytes);
    // Takes back what alloc gave; never called with NULL.
    void (*free)(void *ctx, void *p);
    void *ctx;
};

// The process's heap. Static; any thread.
const struct pawl_alloc *pawl_alloc_heap(void);

// `count` zeroed things of `bytes` each; NULL when out of memory, when the product overflows or is
// 0.
void *pawl_alloc_array(const struct pawl_alloc *alloc, size_t count, size_t bytes);

// One zeroed thing of `bytes`.
static inline void *pawl_alloc_new(const struct pawl_alloc *alloc, size_t bytes)
{
    return pawl_alloc_array(alloc, 1, bytes);
}

// A larger copy of an array of `old_count` things, its new end zeroed; the old array is freed. NULL
// when out of memory: the old array is then still the caller's.
void *pawl_alloc_grow(const struct pawl_alloc *alloc, void *old, size_t old_count, size_t new_count,
                      size_t bytes);

// Does nothing for NULL.
void pawl_alloc_free(const struct pawl_alloc *alloc, void *p);

#endif
