// SPDX-License-Identifier: Apache-2.0
// Pinned memory of a reactor: one region, taken once at start, and inside it pools of blocks and spans.
//
// OWNS: the mapping. It stays where it is from open to close, so it can be registered with the NIC
// and the disk ring once. Every page is touched at open: nothing faults later. Thread: the reactor
// that opened it. A pool is used by one thread.
#ifndef PAWL_DATAPLANE_MEMORY_H
#define PAWL_DATAPLANE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"

#define MEMORY_HUGE_BYTES (2u << 20)

struct memory_options {
    size_t bytes;  // rounded up to 2 MiB
    bool no_huge;  // don't ask for huge pages
    bool no_lock;  // don't lock the pages
    bool any_node; // leave placement to the kernel; else it is to lie on numa_node
    unsigned numa_node;
};

enum memory_pages {
    MEMORY_PAGES_NORMAL = 0,
    MEMORY_PAGES_TRANSPARENT, // asked for with madvise; the kernel gives what it can
    MEMORY_PAGES_HUGE,        // hugetlb: huge for certain
};

// Of pages that were looked at, those that lie where they should. None looked at: the kernel doesn't tell.
struct memory_share {
    unsigned looked_count;
    unsigned there_count;
};

struct memory_region {
    void *base; // aligned to 2 MiB
    size_t bytes;
    size_t carved_bytes;
    enum memory_pages pages;
    bool locked;
    bool any_node;
    bool node_asked; // the kernel knows the node and was asked for it
    struct memory_share on_node;
    char describe[256];
};

// Maps, places, touches and locks a region (caller's memory for the struct), and looks where its pages lie. What could
// not be had (huge pages, the lock, the node) is no error: the struct and memory_region_describe() tell.
// Errors: -EINVAL for 0 bytes, -ENOMEM.
int memory_region_open(struct memory_region *region,
                       const struct memory_options *options) PAWL_MUST_CHECK;
// Unmaps. A zeroed struct is fine.
void memory_region_close(struct memory_region *region);

// "256 MiB, transparent huge pages, unlocked: RLIMIT_MEMLOCK is 8 MiB, raise it (...), on node 1".
const char *memory_region_describe(const struct memory_region *region);
// False: pages lie elsewhere than on the node that was asked for, or the node could not be asked for.
bool memory_region_well_placed(const struct memory_region *region);

// Takes `bytes` (rounded up to 4096) off the region for good, aligned to `align` (a power of two);
// NULL when it doesn't fit. There is no way to give it back but to close the region.
void *memory_region_carve(struct memory_region *region, size_t bytes, size_t align);

// Pages of that range that are not there yet are to come from this memory node (the kernel's number); when it has no
// more, from another one. Where they came from is memory_look()'s to say. False: no such node, or the kernel has none.
bool memory_prefer_node(void *base, size_t bytes, unsigned node);

// Looks where pages of that range lie, at most 1,024 of them at even distances; those that are not there yet don't
// count.
struct memory_share memory_look(const void *base, size_t bytes, unsigned node);

// "on node 1", "30 % on node 1, the rest elsewhere: it has not enough free memory", "node 1 asked for; ...". node_asked
// false: "could not bind to node 1".
void memory_share_describe(struct memory_share share, unsigned node, bool node_asked, char *text,
                           size_t bytes);

// A pool over a piece of a region: blocks of block_bytes, each of which may be split into quarters
// and sixteenths. With blocks of 16 MiB the classes are 16, 4 and 1 MiB. All bookkeeping lies
// outside of the blocks, so a late remote write can't harm it.
struct memory_pool {
    const struct pawl_alloc *alloc;
    unsigned char *base;
    size_t block_bytes;
    size_t blocks_count;
    size_t used_bytes;
    uint16_t *used; // per block: bit n set: sixteenth n is taken
};

// BORROWS the memory UNTIL fini; as many whole blocks as fit. block_bytes: a power of two, at least
// 64 KiB. Errors: -EINVAL, -ENOMEM.
int memory_pool_init(struct memory_pool *pool, const struct pawl_alloc *alloc, void *memory,
                     size_t bytes, size_t block_bytes) PAWL_MUST_CHECK;
void memory_pool_fini(struct memory_pool *pool);

// A piece of at least `bytes` in the smallest class that holds it, aligned to its class, of one of the `count` blocks
// from `first` on; NULL: none is free there now (wait for a put), or bytes is more than a block.
void *memory_pool_get(struct memory_pool *pool, size_t first, size_t count, size_t bytes);
// What is free in `count` blocks from `first` on, in places of any size.
size_t memory_pool_free_bytes(const struct memory_pool *pool, size_t first, size_t count);
// Gives back what memory_pool_get() returned, with the same `bytes`. NULL is fine.
void memory_pool_put(struct memory_pool *pool, void *block, size_t bytes);
// What a get of `bytes` really takes; 0 if it can't be had from this pool.
size_t memory_pool_class_bytes(const struct memory_pool *pool, size_t bytes);

// A piece of a region that is given away in spans of any length, in whole units, lowest place first.
struct memory_spans {
    const struct pawl_alloc *alloc;
    unsigned char *base;
    size_t unit_bytes;
    size_t units_count;
    size_t used_bytes;
    uint64_t *used; // bit n: unit n is taken
};

// BORROWS the memory UNTIL fini; as many whole units as fit. unit_bytes: a power of two. Errors: -EINVAL, -ENOMEM.
int memory_spans_init(struct memory_spans *spans, const struct pawl_alloc *alloc, void *memory,
                      size_t bytes, size_t unit_bytes) PAWL_MUST_CHECK;
void memory_spans_fini(struct memory_spans *spans);

// At least `bytes` and one unit; NULL: there is no gap of this size now (wait for a put).
void *memory_spans_get(struct memory_spans *spans, size_t bytes);
// Gives back what memory_spans_get() returned, with the same `bytes`. NULL is fine.
void memory_spans_put(struct memory_spans *spans, void *span, size_t bytes);

#endif
