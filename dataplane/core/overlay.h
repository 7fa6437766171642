// SPDX-License-Identifier: Apache-2.0
// Overlay: which bytes of a chunk were written after it was sealed, and where the newest of them stand.
//
// A map of disjoint extents in the order of their offsets. A write covers what it meets: extents below
// it are cut. A treap whose priorities are hashed from a counter: no luck of the caller's makes it deep.
// It OWNS its nodes. Pure: no clock, no I/O; memory from the allocator given at init.
#ifndef PAWL_DATAPLANE_OVERLAY_H
#define PAWL_DATAPLANE_OVERLAY_H

#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"

struct overlay_node;

struct overlay {
    const struct pawl_alloc *alloc;
    struct overlay_node *root;
    uint64_t made_count; // nodes ever made: their priorities
    uint32_t count;      // extents
};

// Bytes [start, end) of the chunk; the first of them is byte `offset` of `source`.
struct overlay_extent {
    uint64_t start;
    uint64_t end;
    uint64_t source; // handle of a chunk of the write log
    uint64_t offset;
};

void overlay_init(struct overlay *overlay, const struct pawl_alloc *alloc);
// Back to an empty one.
void overlay_reset(struct overlay *overlay);

// Puts an extent over what is there. 0, or -ENOMEM: then the map is as it was.
int overlay_put(struct overlay *overlay, const struct overlay_extent *extent) PAWL_MUST_CHECK;

// The extents that meet [start, end), in order, not clipped; at most `max` of them. Returns their count.
uint32_t overlay_find(const struct overlay *overlay, uint64_t start, uint64_t end,
                      struct overlay_extent *extents, uint32_t max);

// Asserts order, disjointness and the heap's order.
void overlay_validate(const struct overlay *overlay);

#endif
