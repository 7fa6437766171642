// SPDX-License-Identifier: Apache-2.0
// Memory for unpacking one protobuf message at a time, with a hard bound.
#include "controlplane/rpc/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/util.h"

#define ARENA_ALIGN 16u
#define ARENA_BLOCK_BYTES (64u << 10)

struct rpc_arena_block {
    struct rpc_arena_block *next;
    size_t capacity;
    size_t used;
    alignas(ARENA_ALIGN) uint8_t data[];
};

static void *arena_alloc(void *context, size_t bytes)
{
    return rpc_arena_alloc(context, bytes);
}

static void arena_free(void *context, void *pointer)
{
    (void)context; // freed altogether, by a reset
    (void)pointer;
}

void rpc_arena_init(struct rpc_arena *arena, size_t bytes_max)
{
    *arena = (struct rpc_arena){.bytes_max = bytes_max};
    arena->allocator = (ProtobufCAllocator){
        .alloc = arena_alloc,
        .free = arena_free,
        .allocator_data = arena,
    };
}

void rpc_arena_fini(struct rpc_arena *arena)
{
    while (arena->blocks != NULL) {
        struct rpc_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena->used_bytes = 0;
    arena->exhausted = false;
}

void rpc_arena_reset(struct rpc_arena *arena)
{
    struct rpc_arena_block *kept = NULL;
    while (arena->blocks != NULL) {
        struct rpc_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        if (kept == NULL && block->capacity == ARENA_BLOCK_BYTES) {
            kept = block;
            kept->used = 0;
            kept->next = NULL;
        } else {
            free(block);
        }
    }
    arena->blocks = kept;
    arena->used_bytes = 0;
    arena->exhausted = false;
}

static struct rpc_arena_block *arena_grow(struct rpc_arena *arena, size_t bytes)
{
    size_t capacity = PAWL_MAX(bytes, (size_t)ARENA_BLOCK_BYTES);
    struct rpc_arena_block *block = malloc(sizeof(*block) + capacity);
    if (block == NULL) {
        return NULL;
    }
    block->capacity = capacity;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
    return block;
}

void *rpc_arena_alloc(struct rpc_arena *arena, size_t bytes)
{
    pawl_assert(arena->used_bytes <= arena->bytes_max);
    struct rpc_arena_block *block = arena->blocks;
    if (bytes > arena->bytes_max - arena->used_bytes) {
        arena->exhausted = true;
        return NULL;
    }
    size_t aligned = (size_t)pawl_align_up(PAWL_MAX(bytes, (size_t)1), ARENA_ALIGN);
    if (block == NULL || aligned > block->capacity - block->used) {
        block = arena_grow(arena, aligned);
    }
    if (block == NULL) {
        arena->exhausted = true;
        return NULL;
    }
    uint8_t *pointer = block->data + block->used;
    block->used += aligned;
    arena->used_bytes = PAWL_MIN(arena->used_bytes + aligned, arena->bytes_max);
    memset(pointer, 0, aligned);
    return pointer;
}
