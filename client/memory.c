// SPDX-License-Identifier: Apache-2.0
// pawl_mem_alloc(): memory that is registered already.
//
// It comes from extents: large pieces that are mapped and registered when those that are there have no
// room, and kept until pawl_close(). One that was made for a single allocation larger than an ordinary
// extent goes when that is freed.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/log.h"
#include "client/client_private.h"
#include "client/extent.h"

#define MEMORY_EXTENT_BYTES (64ull << 20)
#define MEMORY_HUGE_BYTES (2ull << 20)

struct memory_extent {
    struct extent extent; // first: registered_extent() gives it
    struct pawl_list node;
    struct registered *range;
    size_t bytes;
    bool single; // larger than an ordinary one
};

// Aligned, so that huge pages fit; the kernel gives those that it has.
static void *map_aligned(size_t bytes)
{
    size_t room = bytes + MEMORY_HUGE_BYTES;
    uint8_t *mapped = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        return NULL;
    }
    size_t before =
        (size_t)(pawl_align_up((uintptr_t)mapped, MEMORY_HUGE_BYTES) - (uint64_t)(uintptr_t)mapped);
    if (before > 0) {
        munmap(mapped, before);
    }
    if (before < MEMORY_HUGE_BYTES) {
        munmap(mapped + before + bytes, MEMORY_HUGE_BYTES - before);
    }
    (void)madvise(mapped + before, bytes, MADV_HUGEPAGE);
    return mapped + before;
}

static void extent_free(struct pawl *pawl, struct memory_extent *extent)
{
    pawl_list_remove(&extent->node);
    pawl->memory_bytes -= extent->bytes;
    munmap(extent->extent.memory, extent->bytes);
    extent_fini(&extent->extent);
    free(extent);
}

static int extent_new(struct pawl *pawl, size_t bytes, struct memory_extent **ret)
{
    struct memory_extent *extent = calloc(1, sizeof *extent);
    void *memory = extent == NULL ? NULL : map_aligned(bytes);
    int code = memory == NULL ? -ENOMEM : extent_init(&extent->extent, memory, bytes);
    if (code != 0) {
        if (memory != NULL) {
            munmap(memory, bytes);
        }
        free(extent);
        return code;
    }
    extent->bytes = bytes;
    extent->single = bytes > MEMORY_EXTENT_BYTES;
    pawl_list_push_back(&pawl->memory_extents, &extent->node);
    pawl->memory_bytes += bytes;
    code = registered_add(pawl, memory, bytes, &extent->extent, &extent->range);
    if (code != 0) {
        extent_free(pawl, extent);
        return code;
    }
    pawl_log_debug("%zu MiB more of registered memory, %llu MiB in all", bytes >> 20,
                   (unsigned long long)pawl->memory_bytes >> 20);
    *ret = extent;
    return 0;
}

// An extent with room for `bytes`, within the bound.
static int grow(struct pawl *pawl, size_t bytes, struct memory_extent **ret)
{
    uint64_t left = pawl->memory_bytes_max - pawl->memory_bytes; // a multiple of a page
    if (bytes > left) {
        return -ENOMEM;
    }
    uint64_t wanted = PAWL_MAX(pawl_align_up(bytes, EXTENT_PAGE_BYTES), MEMORY_EXTENT_BYTES);
    return extent_new(pawl, (size_t)PAWL_MIN(wanted, left), ret);
}

static int get(struct pawl *pawl, size_t bytes, void **ret)
{
    pawl_list_for_each (node, &pawl->memory_extents) {
        struct memory_extent *extent = pawl_container_of(node, struct memory_extent, node);
        *ret = extent_get(&extent->extent, bytes);
        if (*ret != NULL) {
            return 0;
        }
    }
    struct memory_extent *extent;
    int code = grow(pawl, bytes, &extent);
    if (code == 0) {
        *ret = extent_get(&extent->extent, bytes);
        pawl_assert(*ret != NULL);
    }
    return code;
}

void *pawl_mem_alloc(struct pawl *pawl, size_t bytes)
{
    if (pawl == NULL || bytes == 0) {
        errno = EINVAL;
        return NULL;
    }
    void *memory;
    int code = get(pawl, bytes, &memory);
    if (code != 0) {
        errno = code > -4096 ? -code : EIO; // ours are below
        return NULL;
    }
    return memory;
}

void pawl_mem_free(struct pawl *pawl, void *memory)
{
    if (memory == NULL) {
        return;
    }
    struct registered *range = registered_find(pawl, memory, 1);
    pawl_assert(range != NULL && registered_extent(range) != NULL);
    struct memory_extent *extent =
        pawl_container_of(registered_extent(range), struct memory_extent, extent);
    extent_put(&extent->extent, memory);
    // A range that is held was freed too early: it stays, and so no write of ours leaves from memory
    // that is somebody else's by then.
    if (extent->single && extent->extent.used_count == 0 && registered_remove(pawl, range) == 0) {
        extent_free(pawl, extent);
    }
}

void memory_close(struct pawl *pawl)
{
    while (!pawl_list_is_empty(&pawl->memory_extents)) {
        extent_free(pawl, pawl_container_of(pawl_list_first(&pawl->memory_extents),
                                            struct memory_extent, node));
    }
}
