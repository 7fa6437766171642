// SPDX-License-Identifier: Apache-2.0
// Ring of pointers from one producing thread to one consuming thread, without locks. It BORROWS the
// pointers; what a pushed pointer points to is visible to whoever pops it.
#ifndef PAWL_BASE_SPSC_H
#define PAWL_BASE_SPSC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/util.h"

#define PAWL_CACHE_LINE_BYTES 64

struct pawl_spsc {
    const struct pawl_alloc *alloc;
    void **slots;
    size_t mask;
    // Each side on its own cache line, with its own copy of the other side's last seen place.
    _Alignas(PAWL_CACHE_LINE_BYTES) _Atomic size_t head; // next to push; written by the producer
    size_t tail_seen;
    _Alignas(PAWL_CACHE_LINE_BYTES) _Atomic size_t tail; // next to pop; written by the consumer
    size_t head_seen;
};

// `capacity` is a power of two. 0, -EINVAL or -ENOMEM. BORROWS `alloc` until fini. Before both
// threads start.
int pawl_spsc_init(struct pawl_spsc *ring, const struct pawl_alloc *alloc,
                   size_t capacity) PAWL_MUST_CHECK;
// After both threads ended.
void pawl_spsc_fini(struct pawl_spsc *ring);

// Producer's thread. False when the ring is full; `pointer` is not NULL.
bool pawl_spsc_push(struct pawl_spsc *ring, void *pointer) PAWL_MUST_CHECK;

// Consumer's thread. NULL when the ring is empty.
void *pawl_spsc_pop(struct pawl_spsc *ring);

#endif
