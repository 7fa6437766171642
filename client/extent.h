// SPDX-License-Identifier: Apache-2.0
// Runs of pages inside one piece of memory: what pawl_mem_alloc() hands out.
//
// Two-level segregated fit (TLSF): free runs stand in bins by size, a bit map tells which bins hold
// one, and a run that is given back merges with its free neighbours. Taking and giving back cost the
// same whatever the memory's size is. All bookkeeping lies outside of the memory, which peers may
// write to. BORROWS the memory. Thread: the owner's.
#ifndef PAWL_CLIENT_EXTENT_H
#define PAWL_CLIENT_EXTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define EXTENT_PAGE_BYTES 4096u
#define EXTENT_PAGES_MAX (1u << 30)
#define EXTENT_BINS 64u

struct extent_page;

struct extent {
    uint8_t *memory;
    struct extent_page *pages;
    uint32_t pages_count;
    uint32_t used_count;        // of them
    uint64_t bins_used;         // bit b: bins[b] is not empty
    uint32_t bins[EXTENT_BINS]; // first page of the first free run
};

// `bytes`: a multiple of EXTENT_PAGE_BYTES. Errors: -ENOMEM.
int extent_init(struct extent *extent, void *memory, size_t bytes) PAWL_MUST_CHECK;
void extent_fini(struct extent *extent);

// Room for `bytes` > 0, aligned to a page, in whole pages. NULL: there is no such run now.
void *extent_get(struct extent *extent, size_t bytes);
// Gives back what extent_get() returned. Anything else is a defect of the caller's.
void extent_put(struct extent *extent, void *memory);

#endif
