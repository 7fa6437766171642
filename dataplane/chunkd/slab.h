// SPDX-License-Identifier: Apache-2.0
// A slab: items of one type, each under a 64-bit name that is never used twice.
//
// OWNS: the items' memory. It grows by pages up to a limit and keeps what it has; items don't move.
// A name that has been given back finds nothing any more, so a late completion or a late answer of
// the core that names something gone is recognised instead of hitting its successor. Thread: its
// owner's.
#ifndef PAWL_DATAPLANE_CHUNKD_SLAB_H
#define PAWL_DATAPLANE_CHUNKD_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct slab {
    size_t stride_bytes;
    uint32_t limit_count;
    uint32_t made_count; // items that memory was taken for
    uint32_t used_count;
    uint32_t free_first; // index + 1; 0: none
    unsigned char **pages;
    uint32_t pages_count;
};

// Items of item_bytes, at most limit_count of them at once. Takes no memory yet.
void slab_init(struct slab *slab, size_t item_bytes, uint32_t limit_count);
// Frees all memory, whatever is still in use. A zeroed struct is fine.
void slab_fini(struct slab *slab);

// A zeroed item, or NULL when the limit is reached or memory is short. Its name is not 0.
void *slab_get(struct slab *slab, uint64_t *ret_name);
// The item of this name; NULL: it is gone, or there never was one.
void *slab_find(const struct slab *slab, uint64_t name);
// Gives the item back; the name must be in use.
void slab_put(struct slab *slab, uint64_t name);

// Visits items in use: start with *cursor = 0; NULL at the end. Items may be given back meanwhile.
void *slab_next(const struct slab *slab, uint32_t *cursor);

#endif
