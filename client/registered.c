// SPDX-License-Identifier: Apache-2.0
// Registered memory: the table, and pawl_mem_register(). See registered.h.
#include "client/registered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "client/client_private.h"

#define TABLE_ROOM_MIN 16u

struct registered {
    uintptr_t begin;
    uintptr_t end;
    struct fabric_region *region;
    struct extent *extent;
    uint32_t holds_count;
};

// How many ranges begin at `address` or below it.
static uint32_t table_above(const struct registered_table *table, uintptr_t address)
{
    uint32_t low = 0;
    uint32_t high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->ranges[middle]->begin <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int table_reserve(struct registered_table *table)
{
    if (table->count < table->room) {
        return 0;
    }
    uint32_t room = table->room == 0 ? TABLE_ROOM_MIN : 2 * table->room;
    struct registered **ranges =
        (struct registered **)realloc((void *)table->ranges, room * sizeof(struct registered *));
    if (ranges == NULL) {
        return -ENOMEM;
    }
    table->ranges = ranges;
    table->room = room;
    return 0;
}

int registered_add(struct pawl *pawl, void *memory, size_t bytes, struct extent *extent,
                   struct registered **ret)
{
    struct registered_table *table = &pawl->registered;
    uintptr_t begin = (uintptr_t)memory;
    uint32_t at = table_above(table, begin);
    if ((at > 0 && table->ranges[at - 1]->end > begin) ||
        (at < table->count && table->ranges[at]->begin - begin < bytes)) {
        return -EEXIST;
    }
    int code = client_fabric(pawl);
    code = code != 0 ? code : table_reserve(table);
    struct registered *range = code != 0 ? NULL : calloc(1, sizeof *range);
    if (range == NULL) {
        return code != 0 ? code : -ENOMEM;
    }
    *range = (struct registered){.begin = begin, .end = begin + bytes, .extent = extent};
    code = fabric_region_open(pawl->fabric, memory, bytes, FABRIC_LOCAL | FABRIC_REMOTE_WRITE,
                              &range->region);
    if (code != 0) {
        free(range);
        return code;
    }
    memmove((void *)(table->ranges + at + 1), (void *)(table->ranges + at),
            (table->count - at) * sizeof(struct registered *));
    table->ranges[at] = range;
    table->count++;
    *ret = range;
    return 0;
}

static void range_free(struct registered *range)
{
    fabric_region_close(range->region);
    free(range);
}

int registered_remove(struct pawl *pawl, struct registered *range)
{
    struct registered_table *table = &pawl->registered;
    if (range->holds_count > 0) {
        return -EBUSY;
    }
    uint32_t at = table_above(table, range->begin);
    pawl_assert(at > 0 && table->ranges[at - 1] == range);
    memmove((void *)(table->ranges + at - 1), (void *)(table->ranges + at),
            (table->count - at) * sizeof(struct registered *));
    table->count--;
    range_free(range);
    return 0;
}

void registered_close(struct pawl *pawl)
{
    struct registered_table *table = &pawl->registered;
    for (uint32_t i = 0; i < table->count; i++) {
        pawl_assert(table->ranges[i]->holds_count == 0);
        range_free(table->ranges[i]);
    }
    free((void *)table->ranges);
    *table = (struct registered_table){0};
}

struct registered *registered_find(const struct pawl *pawl, const void *data, size_t bytes)
{
    uintptr_t begin = (uintptr_t)data;
    uint32_t at = table_above(&pawl->registered, begin);
    struct registered *range = at == 0 ? NULL : pawl->registered.ranges[at - 1];
    return range != NULL && begin < range->end && bytes <= range->end - begin ? range : NULL;
}

void registered_hold(struct registered *range)
{
    range->holds_count++;
}

void registered_release(struct registered *range)
{
    pawl_assert(range->holds_count > 0);
    range->holds_count--;
}

struct fabric_region *registered_region(const struct registered *range)
{
    return range->region;
}

struct extent *registered_extent(const struct registered *range)
{
    return range->extent;
}

// ---- the user's memory --------------------------------------------------------------------------

int pawl_mem_register(struct pawl *pawl, void *memory, size_t bytes)
{
    if (pawl == NULL || memory == NULL || bytes == 0 || bytes > UINTPTR_MAX - (uintptr_t)memory) {
        return PAWL_EINVALID;
    }
    struct registered *range;
    return registered_add(pawl, memory, bytes, NULL, &range);
}

int pawl_mem_unregister(struct pawl *pawl, void *memory)
{
    struct registered *range =
        pawl == NULL || memory == NULL ? NULL : registered_find(pawl, memory, 1);
    if (range == NULL || range->begin != (uintptr_t)memory || range->extent != NULL) {
        return PAWL_EINVALID;
    }
    return registered_remove(pawl, range);
}
