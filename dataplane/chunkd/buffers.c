// SPDX-License-Identifier: Apache-2.0
// How a reactor's pinned memory is divided, and who gets how much of it.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/log.h"

#define BUFFERS_BLOCK_BYTES (16u << 20)
#define BUFFERS_WINDOW_MIN_BYTES (1u << 20)

static_assert(BUFFERS_BLOCK_BYTES == WIRE_WINDOW_SLOTS_MAX * WIRE_SLOT_BYTES, "whole window");
static_assert(BUFFERS_BLOCK_BYTES == WIRE_RECORD_MAX, "largest record");

static struct pawl_log_limit buffers_log_limit;

int buffers_open(struct buffers *buffers, const struct memory_options *options)
{
    memset(buffers, 0, sizeof(*buffers));
    if (options->bytes < BUFFERS_REGION_MIN_BYTES) {
        pawl_log_error("memory region of %zu bytes is too small: a reactor needs at least %llu",
                       options->bytes, (unsigned long long)BUFFERS_REGION_MIN_BYTES);
        return -EINVAL;
    }
    int code = memory_region_open(&buffers->region, options);
    if (code != 0) {
        pawl_log_error("memory region of %zu bytes can't be had: error %d", options->bytes, code);
    }
    return code;
}

// A quarter of the region, but enough for the largest record and no more than is of use.
static int divide_reads(struct buffers *buffers, size_t read_bytes)
{
    size_t bytes = PAWL_MIN(buffers->region.bytes / 4, (size_t)BUFFERS_READS_MAX_BYTES);
    bytes = (size_t)pawl_align_up(PAWL_MAX(bytes, read_bytes), BUFFERS_READS_UNIT_BYTES);
    void *memory = memory_region_carve(&buffers->region, bytes, 4096);
    if (memory == NULL) {
        return -ENOMEM;
    }
    buffers->read_bytes = read_bytes;
    return memory_spans_init(&buffers->reads, pawl_alloc_heap(), memory, bytes,
                             BUFFERS_READS_UNIT_BYTES);
}

int buffers_divide(struct buffers *buffers, size_t read_bytes)
{
    size_t bytes = buffers->region.bytes;
    buffers->landings_count = bytes >= (192u << 20) ? BUFFERS_LANDINGS_MAX : 1;
    for (unsigned i = 0; i < buffers->landings_count; i++) {
        struct landing *landing = &buffers->landings[i];
        landing->number = i;
        landing->bytes = memory_region_carve(&buffers->region, WIRE_RECORD_MAX, 4096);
        if (landing->bytes == NULL) {
            return -ENOMEM;
        }
    }
    int code = divide_reads(buffers, read_bytes);
    if (code != 0) {
        return code;
    }
    size_t left =
        pawl_align_down(buffers->region.bytes - buffers->region.carved_bytes, BUFFERS_BLOCK_BYTES);
    void *memory = NULL;
    // Alignment may cost a block at the end.
    while (left > 0 && memory == NULL) {
        memory = memory_region_carve(&buffers->region, left, BUFFERS_WINDOW_MIN_BYTES);
        if (memory == NULL) {
            left -= BUFFERS_BLOCK_BYTES;
        }
    }
    if (memory == NULL) {
        return -ENOMEM;
    }
    return memory_pool_init(&buffers->windows, pawl_alloc_heap(), memory, left,
                            BUFFERS_BLOCK_BYTES);
}

int buffers_register(struct buffers *buffers, struct fabric *fabric, unsigned number)
{
    int code = fabric_region_open(fabric, buffers->region.base, buffers->region.bytes, FABRIC_LOCAL,
                                  &buffers->locals[number]);
    for (unsigned i = 0; i < buffers->landings_count && code == 0; i++) {
        struct landing *landing = &buffers->landings[i];
        code = fabric_region_open(fabric, landing->bytes, WIRE_RECORD_MAX, FABRIC_REMOTE_WRITE,
                                  &landing->regions[number]);
    }
    return code;
}

static void regions_close(struct fabric_region *regions[PAWL_ADDRESSES_MAX])
{
    for (unsigned i = 0; i < PAWL_ADDRESSES_MAX; i++) {
        fabric_region_close(regions[i]);
        regions[i] = NULL;
    }
}

void buffers_unregister(struct buffers *buffers)
{
    for (unsigned i = 0; i < buffers->landings_count; i++) {
        regions_close(buffers->landings[i].regions);
    }
    regions_close(buffers->locals);
}

void buffers_close(struct buffers *buffers)
{
    if (buffers->windows.used != NULL) {
        memory_pool_fini(&buffers->windows);
    }
    memory_spans_fini(&buffers->reads);
    memory_region_close(&buffers->region);
    memset(buffers, 0, sizeof(*buffers));
}

static size_t slots_class_bytes(const struct buffers *buffers, uint32_t slots)
{
    size_t bytes = memory_pool_class_bytes(&buffers->windows, (size_t)slots * WIRE_SLOT_BYTES);
    return PAWL_MAX(bytes, (size_t)BUFFERS_WINDOW_MIN_BYTES);
}

// The first blocks are kept for servers and as many of the last for clients: whole ones, since a large window needs
// a whole one.
static size_t kept_blocks(const struct buffers *buffers)
{
    size_t count = buffers->windows.blocks_count;
    return count < 2 ? 0 : PAWL_MAX(count / 4, (size_t)1);
}

bool window_is_of_servers(const struct buffers *buffers, const struct window *window)
{
    size_t offset = (size_t)(window->bytes - buffers->windows.base);
    return offset < kept_blocks(buffers) * buffers->windows.block_bytes;
}

// The blocks that a window may come from.
static void blocks_of(const struct buffers *buffers, const struct window_wish *wish,
                      size_t *ret_first, size_t *ret_count)
{
    size_t count = buffers->windows.blocks_count;
    size_t kept = kept_blocks(buffers);
    size_t reach = wish->shared || kept == 0 ? count - kept : kept;
    *ret_first = wish->of_server ? 0 : count - reach;
    *ret_count = reach;
}

// From what is wanted down to what there is, but to no less than what is needed; 0: there is not even that.
static size_t window_bytes(const struct window_wish *wish, size_t bytes, size_t least,
                           size_t free_bytes)
{
    size_t share = wish->of_server && !wish->others_wait ? free_bytes : free_bytes / 4;
    while (bytes > least && bytes > share) {
        bytes /= 4;
    }
    return bytes <= free_bytes ? bytes : 0;
}

int window_new(struct buffers *buffers, struct fabric *fabric, const struct window_wish *wish,
               struct window **ret)
{
    size_t first;
    size_t count;
    blocks_of(buffers, wish, &first, &count);
    size_t least = slots_class_bytes(buffers, wish->slots_needed);
    size_t bytes = window_bytes(wish, slots_class_bytes(buffers, wish->slots_wanted), least,
                                memory_pool_free_bytes(&buffers->windows, first, count));
    void *memory = NULL;
    while (bytes >= least &&
           (memory = memory_pool_get(&buffers->windows, first, count, bytes)) == NULL) {
        bytes /= 4;
    }
    if (memory == NULL) {
        return -EAGAIN;
    }
    struct window *window = calloc(1, sizeof(*window));
    int code = window == NULL ? -ENOMEM
                              : fabric_region_open(fabric, memory, bytes, FABRIC_REMOTE_WRITE,
                                                   &window->region);
    if (code != 0) {
        pawl_log_limited(&buffers_log_limit, PAWL_LOG_ERROR,
                         "window of %zu bytes can't be registered: error %d", bytes, code);
        memory_pool_put(&buffers->windows, memory, bytes);
        free(window);
        return code == -EAGAIN ? -EIO : code; // not for want of room
    }
    window->bytes = memory;
    window->bytes_count = bytes;
    window->slots_count = (uint32_t)(bytes / WIRE_SLOT_BYTES);
    window->uses_count = 1;
    *ret = window;
    return 0;
}

void window_unuse(struct buffers *buffers, struct window *window)
{
    if (window == NULL) {
        return;
    }
    pawl_assert(window->uses_count > 0);
    if (--window->uses_count > 0) {
        return;
    }
    fabric_region_close(window->region);
    memory_pool_put(&buffers->windows, window->bytes, window->bytes_count);
    free(window);
}

unsigned char *buffers_read_get(struct buffers *buffers, size_t bytes)
{
    pawl_assert(bytes <= buffers->read_bytes);
    return memory_spans_get(&buffers->reads, bytes);
}

void buffers_read_put(struct buffers *buffers, unsigned char *buffer, size_t bytes)
{
    memory_spans_put(&buffers->reads, buffer, bytes);
}

struct landing *buffers_landing_get(struct buffers *buffers)
{
    for (unsigned i = 0; i < buffers->landings_count; i++) {
        if (!buffers->landings[i].used) {
            buffers->landings[i].used = true;
            return &buffers->landings[i];
        }
    }
    return NULL;
}

void buffers_landing_put(struct buffers *buffers, struct landing *landing)
{
    pawl_assert(landing->used && landing->number < buffers->landings_count);
    landing->used = false;
}
