// SPDX-License-Identifier: Apache-2.0
// Pool: items of one size that are taken and given back all the time, without the heap each time.
//
// OWNS the memory of all items; it grows by pages and keeps what it has until pawl_pool_fini(). What was given
// back last is taken next, since it is in the cache. Under AddressSanitizer each item comes from the heap, so that
// one that is used after it was given back is found. Thread: its owner's.
#ifndef PAWL_BASE_POOL_H
#define PAWL_BASE_POOL_H

#include <stddef.h>

#include "base/util.h"

struct pawl_pool {
    size_t item_bytes;
    void *free_first; // each free one begins with a pointer to the next
    void *pages;      // the same
};

// Takes no memory yet.
void pawl_pool_init(struct pawl_pool *pool, size_t item_bytes);
// All items must have been given back. A zeroed struct is fine.
void pawl_pool_fini(struct pawl_pool *pool);

// An item of whatever was there, aligned for any type; NULL when memory is short.
void *pawl_pool_get(struct pawl_pool *pool);
// Does nothing for NULL.
void pawl_pool_put(struct pawl_pool *pool, void *item);

#endif
