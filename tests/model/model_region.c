// SPDX-License-Identifier: Apache-2.0
// A part's memory: a region that never moves, a small heap in it, its images and their hash.
//
// Free memory is zero, so that an image is short: only lines that are not zero are kept. The hash
// follows pointers from the root and gives each block a number in the order in which it is met, so
// that states which differ only in where the heap put their blocks count as one. A word is a pointer
// when its value lies in the region; regions lie where no number of a core does.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"

#define REGION_BYTES MODEL_REGION_BYTES
#define LINE_BYTES 64u
#define LINES_MAX (REGION_BYTES / LINE_BYTES)
#define BLOCKS_MAX 512u
#define ROUND 16u

struct block {
    uint32_t bytes; // behind this
    uint32_t used;
    uint64_t align;
};

// At the beginning of a region.
struct model_region {
    struct pawl_alloc alloc;
    uint32_t heap; // offset of the first block
    uint32_t end;  // offset behind the last one
    uint64_t align;
};

static struct block *block_at(struct model_region *region, uint32_t offset)
{
    return (struct block *)(void *)((char *)region + offset);
}

static uint32_t block_next(struct model_region *region, uint32_t offset)
{
    return offset + (uint32_t)sizeof(struct block) + block_at(region, offset)->bytes;
}

static void *take(struct model_region *region, uint32_t offset, uint32_t bytes)
{
    struct block *block = block_at(region, offset);
    if (block->bytes >= bytes + sizeof(*block) + ROUND) {
        uint32_t rest = block->bytes - bytes - (uint32_t)sizeof(*block);
        block->bytes = bytes;
        *block_at(region, block_next(region, offset)) = (struct block){.bytes = rest};
    }
    block->used = 1;
    return block + 1;
}

static void *region_alloc(void *ctx, size_t wanted)
{
    struct model_region *region = ctx;
    uint32_t bytes = (uint32_t)pawl_align_up(wanted, (size_t)ROUND);
    for (uint32_t at = region->heap; at < region->end; at = block_next(region, at)) {
        if (!block_at(region, at)->used && block_at(region, at)->bytes >= bytes) {
            return take(region, at, bytes);
        }
    }
    uint32_t at = region->end;
    pawl_assert(at + sizeof(struct block) + bytes <= REGION_BYTES);
    *block_at(region, at) = (struct block){.bytes = bytes, .used = 1};
    region->end = block_next(region, at);
    return block_at(region, at) + 1;
}

// Neighbours that are free become one; behind the last one that is used there is nothing.
static void merge(struct model_region *region)
{
    uint32_t last_end = region->heap;
    for (uint32_t at = region->heap; at < region->end; at = block_next(region, at)) {
        struct block *block = block_at(region, at);
        while (!block->used && block_next(region, at) < region->end &&
               !block_at(region, block_next(region, at))->used) {
            struct block *next = block_at(region, block_next(region, at));
            block->bytes += next->bytes + (uint32_t)sizeof(*next);
            *next = (struct block){0};
        }
        if (block->used) {
            last_end = block_next(region, at);
        }
    }
    if (last_end < region->end) {
        *block_at(region, last_end) = (struct block){0};
        region->end = last_end;
    }
}

static void region_free(void *ctx, void *p)
{
    struct block *block = (struct block *)p - 1;
    pawl_assert(block->used == 1);
    block->used = 0;
    memset(p, 0, block->bytes);
    merge(ctx);
}

struct model_region *model_region_new(size_t root_bytes)
{
    struct model_region *region =
        mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pawl_assert(region != MAP_FAILED);
    region->alloc = (struct pawl_alloc){.alloc = region_alloc, .free = region_free, .ctx = region};
    region->heap = (uint32_t)pawl_align_up(sizeof(*region) + root_bytes, (size_t)LINE_BYTES);
    region->end = region->heap;
    return region;
}

void *model_region_root(struct model_region *region)
{
    return region + 1;
}

const struct pawl_alloc *model_region_alloc(struct model_region *region)
{
    return &region->alloc;
}

void model_region_reset(struct model_region *region)
{
    memset((char *)region + region->heap, 0, region->end - region->heap);
    region->end = region->heap;
}

// ---- hash ------------------------------------------------------------------------------------------

struct walk {
    struct model_region *region;
    struct model_hash hash;
    uint32_t starts[BLOCKS_MAX]; // of the blocks in use, by offset
    uint16_t names[BLOCKS_MAX];  // + 1, in the order in which they are met; 0: not met
    uint16_t order[BLOCKS_MAX];
    uint32_t count;
    uint32_t met;
};

static uint32_t block_of(const struct walk *walk, uint32_t offset)
{
    uint32_t low = 0;
    uint32_t high = walk->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (walk->starts[middle] <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

// A pointer's name: the block, as the walk has met it, and the offset in it.
static uint64_t name_of(struct walk *walk, uint64_t offset)
{
    if (offset < walk->region->heap || walk->count == 0) {
        return offset;
    }
    uint32_t at = block_of(walk, (uint32_t)offset);
    if (walk->names[at] == 0) {
        walk->order[walk->met] = (uint16_t)at;
        walk->names[at] = (uint16_t)++walk->met;
    }
    return (uint64_t)walk->names[at] << 32 | (offset - walk->starts[at]);
}

// Most of a region is zero: eight words are looked at in one go.
static inline bool words_are_zero(const uint64_t *w)
{
    return ((w[0] | w[1]) | (w[2] | w[3]) | (w[4] | w[5]) | (w[6] | w[7])) == 0;
}

static void walk_words(struct walk *walk, uint32_t offset, uint32_t bytes)
{
    const uint64_t *words = (const void *)((const char *)walk->region + offset);
    uint64_t base = (uint64_t)(uintptr_t)walk->region;
    uint32_t count = bytes / 8;
    for (uint32_t i = 0; i < count; i++) {
        while (i + 8 <= count && words_are_zero(words + i)) {
            i += 8;
        }
        uint64_t word = i < count ? words[i] : 0;
        if (word == 0) {
            continue;
        }
        model_hash_mix(&walk->hash, i);
        if (word - base < REGION_BYTES) {
            model_hash_mix(&walk->hash, UINT64_C(0x7000000000000000) | name_of(walk, word - base));
        } else {
            model_hash_mix(&walk->hash, word);
        }
    }
}

struct model_hash model_region_hash(struct model_region *region)
{
    struct walk walk = {.region = region, .hash = {1, 2}};
    for (uint32_t at = region->heap; at < region->end; at = block_next(region, at)) {
        if (block_at(region, at)->used) {
            pawl_assert(walk.count < BLOCKS_MAX);
            walk.starts[walk.count++] = at + (uint32_t)sizeof(struct block);
        }
    }
    walk_words(&walk, sizeof(*region), region->heap - (uint32_t)sizeof(*region));
    for (uint32_t i = 0; i < walk.met; i++) {
        uint32_t start = walk.starts[walk.order[i]];
        uint32_t bytes = block_at(region, start - (uint32_t)sizeof(struct block))->bytes;
        model_hash_mix(&walk.hash, bytes);
        walk_words(&walk, start, bytes);
    }
    // What nobody points to is lost for good: a leak in a core.
    pawl_assert(walk.met == walk.count);
    model_hash_mix(&walk.hash, walk.met);
    return walk.hash;
}

// ---- images ----------------------------------------------------------------------------------------

// The number of lines, a bit for each, then the lines that are not zero.
uint32_t model_region_pack(const struct model_region *region, uint64_t *ret)
{
    const uint64_t *from = (const void *)region;
    uint32_t lines = (region->end + LINE_BYTES - 1) / LINE_BYTES;
    uint64_t *map = ret + 1;
    uint32_t used = 1 + (lines + 63) / 64;
    memset(ret, 0, used * sizeof(*ret));
    ret[0] = lines;
    for (uint32_t line = 0; line < lines; line++) {
        const uint64_t *at = from + (size_t)line * (LINE_BYTES / 8);
        if (!words_are_zero(at)) {
            map[line / 64] |= UINT64_C(1) << line % 64;
            memcpy(&ret[used], at, LINE_BYTES);
            used += LINE_BYTES / 8;
        }
    }
    return used;
}

void model_region_unpack(struct model_region *region, const uint64_t *image)
{
    char *to = (void *)region;
    uint32_t end = region->end;
    uint32_t lines = (uint32_t)image[0];
    uint32_t reached = lines * LINE_BYTES;
    const uint64_t *line = image + 1 + (lines + 63) / 64;
    for (uint32_t i = 0; i < lines; i += 64, to += 64 * LINE_BYTES) {
        uint64_t map = image[1 + i / 64];
        memset(to, 0, (size_t)PAWL_MIN(lines - i, 64u) * LINE_BYTES);
        for (; map != 0; map &= map - 1) {
            memcpy(to + (size_t)__builtin_ctzll(map) * LINE_BYTES, line, LINE_BYTES);
            line += LINE_BYTES / 8;
        }
    }
    // Behind the heap all is zero.
    if (end > reached) {
        memset((char *)region + reached, 0, end - reached);
    }
}
