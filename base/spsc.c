// SPDX-License-Identifier: Apache-2.0
// Single-producer single-consumer ring.
#include "base/spsc.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/assert.h"

int pawl_spsc_init(struct pawl_spsc *ring, const struct pawl_alloc *alloc, size_t capacity)
{
    if (!pawl_is_power_of_two(capacity)) {
        return -EINVAL;
    }
    *ring = (struct pawl_spsc){.alloc = alloc, .mask = capacity - 1};
    ring->slots = pawl_alloc_array(alloc, capacity, sizeof(*ring->slots));
    return ring->slots ? 0 : -ENOMEM;
}

void pawl_spsc_fini(struct pawl_spsc *ring)
{
    if (ring->slots) {
        pawl_alloc_free(ring->alloc, ring->slots);
        ring->slots = NULL;
    }
}

bool pawl_spsc_push(struct pawl_spsc *ring, void *pointer)
{
    pawl_assert(pointer);
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->tail_seen > ring->mask) {
        // Acquire: the consumer is done with the slot before we write to it.
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head - ring->tail_seen > ring->mask) {
            return false;
        }
    }
    ring->slots[head & ring->mask] = pointer;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}

void *pawl_spsc_pop(struct pawl_spsc *ring)
{
    size_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail == ring->head_seen) {
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        if (tail == ring->head_seen) {
            return NULL;
        }
    }
    void *pointer = ring->slots[tail & ring->mask];
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
    return pointer;
}
