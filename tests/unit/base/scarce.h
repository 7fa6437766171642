// SPDX-License-Identifier: Apache-2.0
// An allocator that gives so many times and then no more.
#ifndef PAWL_TESTS_BASE_SCARCE_H
#define PAWL_TESTS_BASE_SCARCE_H

#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"

static inline void *scarce_alloc(void *ctx, size_t bytes)
{
    uint64_t *left = ctx;
    if (*left == 0) {
        return NULL;
    }
    (*left)--;
    return calloc(1, bytes);
}

static inline void scarce_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

// BORROWS *left, which may be set anew at any time.
static inline struct pawl_alloc scarce_allocator(uint64_t *left)
{
    return (struct pawl_alloc){.alloc = scarce_alloc, .free = scarce_free, .ctx = left};
}

#endif
