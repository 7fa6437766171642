// SPDX-License-Identifier: Apache-2.0
// Staging: one registered region, given out in contiguous runs of blocks.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "client/client_private.h"

int staging_open(struct staging *staging, struct fabric *fabric, size_t bytes)
{
    memset(staging, 0, sizeof *staging);
    bytes = pawl_align_up(bytes, CLIENT_STAGING_BLOCK);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return -errno;
    }
    staging->memory = memory;
    staging->bytes = bytes;
    staging->blocks_count = (uint32_t)(bytes / CLIENT_STAGING_BLOCK);
    staging->used = calloc(staging->blocks_count, 1);
    int code = staging->used == NULL
                   ? -ENOMEM
                   : fabric_region_open(fabric, memory, bytes, FABRIC_LOCAL | FABRIC_REMOTE_WRITE,
                                        &staging->region);
    if (code != 0) {
        staging_close(staging);
    }
    return code;
}

void staging_close(struct staging *staging)
{
    fabric_region_close(staging->region);
    free(staging->used);
    if (staging->memory != NULL) {
        munmap(staging->memory, staging->bytes);
    }
    memset(staging, 0, sizeof *staging);
}

static uint32_t blocks_of(size_t bytes)
{
    return (uint32_t)((bytes + CLIENT_STAGING_BLOCK - 1) / CLIENT_STAGING_BLOCK);
}

// First fit from the hint, once around.
static uint32_t find_run(const struct staging *staging, uint32_t from, uint32_t to, uint32_t count)
{
    uint32_t run = 0;
    for (uint32_t i = from; i < to; i++) {
        run = staging->used[i] ? 0 : run + 1;
        if (run == count) {
            return i + 1 - count;
        }
    }
    return UINT32_MAX;
}

static void *take_run(struct staging *staging, uint32_t first, uint32_t count)
{
    if (first == UINT32_MAX) {
        return NULL;
    }
    memset(staging->used + first, 1, count);
    return staging->memory + (size_t)first * CLIENT_STAGING_BLOCK;
}

void *staging_get(struct staging *staging, size_t bytes)
{
    uint32_t count = blocks_of(bytes);
    uint32_t half = staging->blocks_count / 2;
    uint32_t from = PAWL_MAX(staging->hint, half);
    uint32_t first = find_run(staging, from, staging->blocks_count, count);
    first = first != UINT32_MAX ? first : find_run(staging, half, staging->blocks_count, count);
    first = first != UINT32_MAX ? first : find_run(staging, 0, staging->blocks_count, count);
    if (first != UINT32_MAX) {
        staging->hint = first + count == staging->blocks_count ? 0 : first + count;
    }
    return take_run(staging, first, count);
}

void *staging_get_low(struct staging *staging, size_t bytes)
{
    uint32_t count = blocks_of(bytes);
    return take_run(staging, find_run(staging, 0, staging->blocks_count / 2, count), count);
}

void staging_put(struct staging *staging, void *memory, size_t bytes)
{
    size_t offset = (size_t)((uint8_t *)memory - staging->memory);
    pawl_assert(offset % CLIENT_STAGING_BLOCK == 0 && offset + bytes <= staging->bytes);
    memset(staging->used + offset / CLIENT_STAGING_BLOCK, 0, blocks_of(bytes));
}
