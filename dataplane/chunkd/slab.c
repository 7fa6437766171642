// SPDX-License-Identifier: Apache-2.0
// Slabs: named items that don't move. A name is (generation << 32 | index + 1).
#include "dataplane/chunkd/slab.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define SLAB_PAGE_COUNT 64u

struct slab_head {
    uint32_t generation;
    uint32_t next; // while free: index + 1 of the next free one
    uint64_t used;
};

static struct slab_head *slab_at(const struct slab *slab, uint32_t index)
{
    unsigned char *page = slab->pages[index / SLAB_PAGE_COUNT];
    return (struct slab_head *)(void *)(page + (index % SLAB_PAGE_COUNT) * slab->stride_bytes);
}

void slab_init(struct slab *slab, size_t item_bytes, uint32_t limit_count)
{
    memset(slab, 0, sizeof(*slab));
    slab->stride_bytes = sizeof(struct slab_head) + (size_t)pawl_align_up(item_bytes, 16);
    slab->limit_count = limit_count;
}

void slab_fini(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->pages_count; i++) {
        free(slab->pages[i]);
    }
    free(slab->pages);
    memset(slab, 0, sizeof(*slab));
}

static bool slab_grow(struct slab *slab)
{
    unsigned char **pages = realloc(slab->pages, (slab->pages_count + 1) * sizeof(slab->pages[0]));
    if (pages == NULL) {
        return false;
    }
    slab->pages = pages;
    pages[slab->pages_count] = calloc(SLAB_PAGE_COUNT, slab->stride_bytes);
    if (pages[slab->pages_count] == NULL) {
        return false;
    }
    slab->pages_count++;
    return true;
}

void *slab_get(struct slab *slab, uint64_t *ret_name)
{
    if (slab->used_count >= slab->limit_count) {
        return NULL;
    }
    uint32_t index;
    if (slab->free_first != 0) {
        index = slab->free_first - 1;
        slab->free_first = slab_at(slab, index)->next;
        if (slab->free_first != 0) {
            __builtin_prefetch(slab_at(slab, slab->free_first - 1),
                               1); // it is wanted soon, and cold
        }
    } else {
        index = slab->made_count;
        if (index == slab->pages_count * SLAB_PAGE_COUNT && !slab_grow(slab)) {
            return NULL;
        }
        slab->made_count++;
    }
    struct slab_head *head = slab_at(slab, index);
    pawl_assert(!head->used);
    head->used = 1;
    head->next = 0;
    slab->used_count++;
    memset(head + 1, 0, slab->stride_bytes - sizeof(*head));
    *ret_name = (uint64_t)head->generation << 32 | (index + 1);
    return head + 1;
}

void *slab_find(const struct slab *slab, uint64_t name)
{
    uint32_t number = (uint32_t)name;
    if (number == 0 || number > slab->made_count) {
        return NULL;
    }
    struct slab_head *head = slab_at(slab, number - 1);
    return head->used && head->generation == (uint32_t)(name >> 32) ? head + 1 : NULL;
}

void slab_put(struct slab *slab, uint64_t name)
{
    pawl_assert(slab_find(slab, name) != NULL);
    uint32_t index = (uint32_t)name - 1;
    struct slab_head *head = slab_at(slab, index);
    head->used = 0;
    head->generation++;
    head->next = slab->free_first;
    slab->free_first = index + 1;
    slab->used_count--;
}

void *slab_next(const struct slab *slab, uint32_t *cursor)
{
    while (*cursor < slab->made_count) {
        struct slab_head *head = slab_at(slab, (*cursor)++);
        if (head->used) {
            return head + 1;
        }
    }
    return NULL;
}
