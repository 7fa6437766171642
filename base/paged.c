// SPDX-License-Identifier: Apache-2.0
// Paged array: taking pages and giving them back.
#include "base/paged.h"

#include <errno.h>

#include "base/assert.h"

#define PAGES_MIN 16u

void pawl_paged_init(struct pawl_paged *paged, const struct pawl_alloc *alloc, size_t item_bytes)
{
    pawl_assert(item_bytes > 0);
    *paged = (struct pawl_paged){.alloc = alloc, .item_bytes = item_bytes};
}

void pawl_paged_fini(struct pawl_paged *paged)
{
    for (uint32_t i = 0; i < paged->pages_count; i++) {
        pawl_alloc_free(paged->alloc, paged->pages[i]);
    }
    pawl_alloc_free(paged->alloc, paged->pages);
    *paged = (struct pawl_paged){.alloc = paged->alloc, .item_bytes = paged->item_bytes};
}

static uint64_t page_items(uint32_t page)
{
    if (page >= PAWL_PAGED_SMALL) {
        return PAWL_PAGED_MAX;
    }
    return page == 0 ? PAWL_PAGED_MIN : UINT64_C(8) << page;
}

static int page_add(struct pawl_paged *paged)
{
    if (paged->pages_count == paged->pages_capacity) {
        uint32_t capacity = paged->pages_capacity ? paged->pages_capacity * 2 : PAGES_MIN;
        void **pages = pawl_alloc_grow(paged->alloc, paged->pages, paged->pages_capacity, capacity,
                                       sizeof(*pages));
        if (!pages) {
            return -ENOMEM;
        }
        paged->pages = pages;
        paged->pages_capacity = capacity;
    }
    uint64_t items = page_items(paged->pages_count);
    void *page = pawl_alloc_array(paged->alloc, items, paged->item_bytes);
    if (!page) {
        return -ENOMEM;
    }
    paged->pages[paged->pages_count++] = page;
    paged->capacity += items;
    return 0;
}

int pawl_paged_grow(struct pawl_paged *paged, uint64_t count)
{
    int rc = 0;

    while (rc == 0 && paged->capacity < count) {
        rc = page_add(paged);
    }
    return rc;
}
