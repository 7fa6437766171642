// SPDX-License-Identifier: Apache-2.0
// Heap ahead: what a thread gets from malloc() was handed out by the kernel before.
//
// A reactor's tables grow with every record, so it touches new memory all the time. The kernel clears that page by
// page, or 2 MiB at once, and the thread waits: 0.3 ms for 2 MiB were seen where the memory was there, 2 to 5 ms where a
// hypervisor had to find it first. So jemalloc's arena of that thread takes its memory from one range of addresses, in order, and
// a helper thread has the kernel fill that range some way ahead of it. See jemalloc(3), "arena.<i>.extent_hooks".
//
// Memory that is freed stays with the arena; the kernel gets its pages back after a while, as of any jemalloc heap.
#ifndef PAWL_DATAPLANE_HEAP_AHEAD_H
#define PAWL_DATAPLANE_HEAP_AHEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/util.h"

struct heap_ahead;

struct heap_ahead_options {
    size_t ahead_bytes; // that are ready and not in use; rounded up to 2 MiB
    bool any_node;      // leave placement to the kernel; else prefer numa_node
    unsigned numa_node;
};

// From now on malloc() of the calling thread works so; once per thread, and for good. The helper may run wherever the
// calling thread may run now. *ret_heap lives as long as the process (NULL: not wanted). Errors leave malloc() as it is: -ENOSYS,
// malloc() isn't jemalloc's, or the kernel is older than 5.14; -ENOMEM, no such range, or no thread; -EIO, jemalloc
// refuses.
int heap_ahead_begin(const struct heap_ahead_options *options,
                     const struct heap_ahead **ret_heap) PAWL_MUST_CHECK;

// Does this memory come from the range? Any thread.
bool heap_ahead_owns(const struct heap_ahead *heap, const void *memory);
// Bytes of the range that the arena has taken, and that the kernel has filled, from its beginning. Any thread.
size_t heap_ahead_taken_bytes(const struct heap_ahead *heap);
size_t heap_ahead_ready_bytes(const struct heap_ahead *heap);

#endif
