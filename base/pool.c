// SPDX-License-Identifier: Apache-2.0
// Pools: pages of items, and a list of those that are free.
#include "base/pool.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define POOL_ALIGN alignof(max_align_t)

static void *next_of(const void *item)
{
    void *next;
    memcpy(&next, item, sizeof(next));
    return next;
}

void pawl_pool_init(struct pawl_pool *pool, size_t item_bytes)
{
    size_t bytes = PAWL_MAX(item_bytes, sizeof(void *));

    *pool = (struct pawl_pool){.item_bytes = (size_t)pawl_align_up(bytes, POOL_ALIGN)};
}

void pawl_pool_fini(struct pawl_pool *pool)
{
    while (pool->pages != NULL) {
        void *page = pool->pages;
        pool->pages = next_of(page);
        free(page);
    }
    pool->free_first = NULL;
}

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 // as gcc has it
#endif
#endif

#ifdef __SANITIZE_ADDRESS__

void *pawl_pool_get(struct pawl_pool *pool)
{
    return malloc(pool->item_bytes);
}

void pawl_pool_put(struct pawl_pool *pool, void *item)
{
    (void)pool;
    free(item);
}

#else

#define POOL_PAGE_ITEMS 32u

static void push(void **list, void *item)
{
    memcpy(item, list, sizeof(*list));
    *list = item;
}

// A page begins with the pointer to the next one.
static void pool_grow(struct pawl_pool *pool)
{
    unsigned char *page = malloc(POOL_ALIGN + POOL_PAGE_ITEMS * pool->item_bytes);

    if (page == NULL) {
        return;
    }
    push(&pool->pages, page);
    for (unsigned i = POOL_PAGE_ITEMS; i-- > 0;) {
        push(&pool->free_first, page + POOL_ALIGN + i * pool->item_bytes);
    }
}

void *pawl_pool_get(struct pawl_pool *pool)
{
    if (pool->free_first == NULL) {
        pool_grow(pool);
    }
    void *item = pool->free_first;
    if (item != NULL) {
        pool->free_first = next_of(item);
    }
    return item;
}

void pawl_pool_put(struct pawl_pool *pool, void *item)
{
    if (item != NULL) {
        push(&pool->free_first, item);
    }
}

#endif
