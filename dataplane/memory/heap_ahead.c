// SPDX-License-Identifier: Apache-2.0
// Heap ahead: the hooks of jemalloc's arena, and the thread that has the kernel fill what comes next.
#include "dataplane/memory/heap_ahead.h"

#include <errno.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "dataplane/memory/memory.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// Addresses only: what is never touched costs nothing.
#define HEAP_RANGE_BYTES ((size_t)64 << 30)
#define HEAP_PIECE_BYTES ((size_t)2 << 20) // by which the arena grows
#define HEAP_STEP_BYTES ((size_t)64 << 10) // filled at once: others wait for the core meanwhile
#define HEAP_NICE 19                       // a reactor that wakes up goes first

// The program decides by linking whether malloc() is jemalloc's.
#pragma weak mallctl

struct heap_ahead {
    extent_hooks_t hooks; // first: jemalloc hands its address back
    unsigned char *base;
    size_t ahead_bytes;
    atomic_size_t taken_bytes;
    atomic_size_t ready_bytes;
    sem_t wanted;
};

// ---- hooks: under the arena's lock ---------------------------------------------------------------

static void *range_take(struct heap_ahead *heap, size_t bytes, size_t alignment)
{
    size_t taken = atomic_load_explicit(&heap->taken_bytes, memory_order_relaxed);
    size_t first;

    do {
        first = (size_t)pawl_align_up(taken, alignment); // the base is aligned to a huge page
        if (first > HEAP_RANGE_BYTES || bytes > HEAP_RANGE_BYTES - first) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&heap->taken_bytes, &taken, first + bytes));
    if (first + bytes + heap->ahead_bytes > atomic_load(&heap->ready_bytes)) {
        sem_post(&heap->wanted);
    }
    return heap->base + first;
}

static void *on_alloc(extent_hooks_t *hooks, void *wanted, size_t bytes, size_t alignment,
                      bool *zero, bool *commit, unsigned arena)
{
    (void)arena;
    if (wanted != NULL || alignment > HEAP_PIECE_BYTES) {
        return NULL;
    }
    void *memory = range_take((struct heap_ahead *)hooks, bytes, alignment);
    if (memory == NULL) { // the range is used up
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            return NULL;
        }
    }
    *zero = true;
    *commit = true;
    return memory;
}

// True: refused, as jemalloc has it. It keeps the extent then and uses it again.
static bool on_dalloc(extent_hooks_t *hooks, void *memory, size_t bytes, bool committed,
                      unsigned arena)
{
    (void)hooks;
    (void)memory;
    (void)bytes;
    (void)committed;
    (void)arena;
    return true;
}

static bool on_purge(extent_hooks_t *hooks, void *memory, size_t bytes, size_t offset,
                     size_t length, unsigned arena)
{
    (void)hooks;
    (void)bytes;
    (void)arena;
    return madvise((unsigned char *)memory + offset, length, MADV_DONTNEED) != 0;
}

static bool on_split(extent_hooks_t *hooks, void *memory, size_t bytes, size_t left, size_t right,
                     bool committed, unsigned arena)
{
    (void)hooks;
    (void)memory;
    (void)bytes;
    (void)left;
    (void)right;
    (void)committed;
    (void)arena;
    return false;
}

static bool on_merge(extent_hooks_t *hooks, void *a, size_t a_bytes, void *b, size_t b_bytes,
                     bool committed, unsigned arena)
{
    const struct heap_ahead *heap = (const struct heap_ahead *)hooks;

    (void)a_bytes;
    (void)b_bytes;
    (void)committed;
    (void)arena;
    return heap_ahead_owns(heap, a) != heap_ahead_owns(heap, b);
}

// ---- the helper ----------------------------------------------------------------------------------

static bool step_fill(struct heap_ahead *heap, size_t at)
{
    int code;

    do {
        code = madvise(heap->base + at, HEAP_STEP_BYTES, MADV_POPULATE_WRITE);
    } while (code != 0 && errno == EINTR);
    return code == 0;
}

// Ends when memory is short: from then on pages come when they are touched, as always.
static void *helper_main(void *user)
{
    struct heap_ahead *heap = user;
    size_t ready = atomic_load(&heap->ready_bytes);

    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), HEAP_NICE); // of this thread only
    for (;;) {
        size_t end =
            PAWL_MIN(atomic_load(&heap->taken_bytes) + heap->ahead_bytes, HEAP_RANGE_BYTES);
        while (ready < end && ready + HEAP_STEP_BYTES <= HEAP_RANGE_BYTES) {
            if (!step_fill(heap, ready)) {
                return NULL;
            }
            ready += HEAP_STEP_BYTES;
            atomic_store(&heap->ready_bytes, ready);
            sched_yield(); // the kernel would let who was woken meanwhile wait for a tick
        }
        while (sem_wait(&heap->wanted) != 0) {
            // interrupted
        }
    }
}

// ---- beginning -----------------------------------------------------------------------------------

static int range_map(struct heap_ahead *heap, const struct heap_ahead_options *options)
{
    size_t bytes = HEAP_RANGE_BYTES + HEAP_PIECE_BYTES;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED) {
        return -ENOMEM;
    }
    heap->base = (unsigned char *)(uintptr_t)pawl_align_up((uintptr_t)memory, HEAP_PIECE_BYTES);
    (void)madvise(heap->base, HEAP_RANGE_BYTES, MADV_NOHUGEPAGE); // a hint; why: decision 0036
    if (!options->any_node) {
        (void)memory_prefer_node(heap->base, HEAP_RANGE_BYTES, options->numa_node); // the same
    }
    if (!step_fill(heap, 0)) {
        int code = errno == EINVAL ? -ENOSYS : -ENOMEM;
        munmap(memory, bytes);
        return code;
    }
    atomic_store(&heap->ready_bytes, HEAP_STEP_BYTES);
    return 0;
}

// An arena grows by ever larger extents; those would be far ahead of the helper.
static int arena_begin(struct heap_ahead *heap)
{
    extent_hooks_t *hooks = &heap->hooks;
    size_t grow_bytes = HEAP_PIECE_BYTES;
    unsigned arena;
    size_t arena_bytes = sizeof(arena);
    char name[64];

    if (mallctl("arenas.create", &arena, &arena_bytes, &hooks, sizeof(hooks)) != 0) {
        return -EIO;
    }
    snprintf(name, sizeof(name), "arena.%u.retain_grow_limit", arena);
    if (mallctl(name, NULL, NULL, &grow_bytes, sizeof(grow_bytes)) != 0) {
        return -EIO;
    }
    return mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena)) == 0 ? 0 : -EIO;
}

int heap_ahead_begin(const struct heap_ahead_options *options, const struct heap_ahead **ret_heap)
{
    pthread_t helper;

    if (mallctl == NULL) {
        return -ENOSYS;
    }
    struct heap_ahead *heap = calloc(1, sizeof(*heap));
    if (heap == NULL) {
        return -ENOMEM;
    }
    heap->hooks = (extent_hooks_t){.alloc = on_alloc,
                                   .dalloc = on_dalloc,
                                   .purge_forced = on_purge,
                                   .split = on_split,
                                   .merge = on_merge};
    heap->ahead_bytes = (size_t)pawl_align_up(options->ahead_bytes, HEAP_PIECE_BYTES);
    sem_init(&heap->wanted, 0, 0);
    int code = range_map(heap, options);
    if (code == 0 && pthread_create(&helper, NULL, helper_main, heap) != 0) {
        munmap(heap->base, HEAP_RANGE_BYTES);
        code = -ENOMEM;
    }
    if (code != 0) {
        sem_destroy(&heap->wanted);
        free(heap);
        return code;
    }
    pthread_detach(helper);
    code = arena_begin(heap); // once jemalloc has the hooks, they stay
    if (code == 0 && ret_heap != NULL) {
        *ret_heap = heap;
    }
    return code;
}

bool heap_ahead_owns(const struct heap_ahead *heap, const void *memory)
{
    uintptr_t at = (uintptr_t)memory - (uintptr_t)heap->base;

    return at < HEAP_RANGE_BYTES;
}

size_t heap_ahead_taken_bytes(const struct heap_ahead *heap)
{
    return atomic_load(&heap->taken_bytes);
}

size_t heap_ahead_ready_bytes(const struct heap_ahead *heap)
{
    return atomic_load(&heap->ready_bytes);
}
