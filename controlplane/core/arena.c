// SPDX-License-Identifier: Apache-2.0
// Bump allocation for the messages of one step; emptied when the next step begins.
#include "controlplane/core/master_core_private.h"

#define ARENA_BLOCK_BYTES (32u << 10)
#define ARENA_ALIGN 16u

struct master_arena_block {
    struct master_arena_block *next; // older
    size_t bytes;
    size_t used;
    alignas(ARENA_ALIGN) unsigned char data[];
};

static void *arena_spare(struct master_core *core, size_t bytes)
{
    core->failed = -ENOMEM;
    if (bytes > sizeof(core->spare)) {
        return NULL;
    }
    memset(core->spare, 0, sizeof(core->spare));
    return core->spare;
}

void *master_arena_alloc(struct master_core *core, size_t bytes)
{
    size_t rounded = pawl_align_up(PAWL_MAX(bytes, (size_t)1), ARENA_ALIGN);
    struct master_arena_block *block = core->arena;
    if (core->failed) {
        return arena_spare(core, rounded);
    }
    if (!block || block->bytes - block->used < rounded) {
        size_t block_bytes = PAWL_MAX(rounded, (size_t)ARENA_BLOCK_BYTES);
        block = pawl_alloc_new(core->alloc, sizeof(*block) + block_bytes);
        if (!block) {
            return arena_spare(core, rounded);
        }
        block->bytes = block_bytes;
        block->next = core->arena;
        core->arena = block;
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    memset(memory, 0, bytes);
    return memory;
}

// Keeps the oldest block, so that a quiet master allocates nothing.
void master_arena_reset(struct master_core *core)
{
    while (core->arena && core->arena->next) {
        struct master_arena_block *block = core->arena;
        core->arena = block->next;
        pawl_alloc_free(core->alloc, block);
    }
    if (core->arena) {
        core->arena->used = 0;
    }
}

void master_arena_fini(struct master_core *core)
{
    master_arena_reset(core);
    pawl_alloc_free(core->alloc, core->arena);
    core->arena = NULL;
}

char *master_arena_text(struct master_core *core, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = master_arena_alloc(core, bytes);
    pawl_assert(copy); // no text of ours is longer than the spare block
    memcpy(copy, text, bytes);
    return copy;
}

char *master_arena_vprintf(struct master_core *core, const char *format, va_list args)
{
    // The built-in, because a core includes no <stdio.h>: formatting is all that is wanted of it.
    char text[512];
    if (__builtin_vsnprintf(text, sizeof(text), format, args) < 0) {
        text[0] = '\0';
    }
    return master_arena_text(core, text);
}

char *master_arena_printf(struct master_core *core, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = master_arena_vprintf(core, format, args);
    va_end(args);
    return text;
}
