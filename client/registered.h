// SPDX-License-Identifier: Apache-2.0
// Registered memory of the program's: ranges that the fabric may read from and write to directly.
//
// A table of disjoint ranges, sorted by address: what pawl_mem_register() was given and the extents
// behind pawl_mem_alloc(). Transfers find the range of a buffer, hold it while the fabric uses it, and
// release it afterwards; a range that is held is not unregistered. Thread: that of the struct pawl.
#ifndef PAWL_CLIENT_REGISTERED_H
#define PAWL_CLIENT_REGISTERED_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct extent;
struct fabric_region;
struct pawl;
struct registered;

struct registered_table {
    struct registered **ranges;
    uint32_t count;
    uint32_t room;
};

// Registers memory (BORROWS it until registered_remove). Opens the data plane if need be. `extent`: NULL for
// memory of the user's. Errors: -EEXIST, it overlaps a range; -ENOMEM; those of client_fabric() and
// fabric_region_open().
int registered_add(struct pawl *pawl, void *memory, size_t bytes, struct extent *extent,
                   struct registered **ret) PAWL_MUST_CHECK;
// -EBUSY: it is held.
int registered_remove(struct pawl *pawl, struct registered *range) PAWL_MUST_CHECK;
// At pawl_close(), when no endpoint is left and before the fabric goes. The extents are the caller's.
void registered_close(struct pawl *pawl);

// The range that holds all of [data, data + bytes); NULL: none does. BORROWED UNTIL the range is removed:
// hold it to keep it.
struct registered *registered_find(const struct pawl *pawl, const void *data, size_t bytes);
// The fabric uses it: from before the transfer is posted until its end, or until its endpoint is destroyed.
void registered_hold(struct registered *range);
void registered_release(struct registered *range);
struct fabric_region *registered_region(const struct registered *range);
struct extent *registered_extent(const struct registered *range);

#endif
