// SPDX-License-Identifier: Apache-2.0
// A pinned region: mapped, placed on its node, touched and locked, in this order.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "dataplane/memory/memory.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26)
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MEMORY_MPOL_PREFERRED 1
#define MEMORY_PAGE_BYTES 4096u
#define MEMORY_LOOKS_MAX 1024u

// A preference and no binding: where a node that pages are bound to runs out of memory, the kernel kills a process
// instead of taking another node's. So it is looked at afterwards what came of it.
bool memory_prefer_node(void *base, size_t bytes, unsigned node)
{
    unsigned long mask[16] = {0};
    const unsigned word_bits = 8 * sizeof(mask[0]);

    if (node >= PAWL_ARRAY_COUNT(mask) * word_bits) {
        return false;
    }
    mask[node / word_bits] = 1ul << (node % word_bits);
    return syscall(SYS_mbind, base, bytes, MEMORY_MPOL_PREFERRED, mask,
                   (unsigned long)PAWL_ARRAY_COUNT(mask) * word_bits, 0) == 0;
}

struct memory_share memory_look(const void *base, size_t bytes, unsigned node)
{
    void *pages[MEMORY_LOOKS_MAX];
    int nodes[MEMORY_LOOKS_MAX];
    size_t pages_count = bytes / MEMORY_PAGE_BYTES;
    size_t looks_count = PAWL_MIN(pages_count, (size_t)MEMORY_LOOKS_MAX);
    struct memory_share share = {0};

    for (size_t i = 0; i < looks_count; i++) {
        size_t page = i * pages_count / looks_count;
        pages[i] = (void *)((uintptr_t)base + page * MEMORY_PAGE_BYTES);
        nodes[i] = -ENOENT;
    }
    // With no nodes to move to it only tells where they are.
    if (syscall(SYS_move_pages, 0, (unsigned long)looks_count, pages, NULL, nodes, 0) != 0) {
        return share;
    }
    for (size_t i = 0; i < looks_count; i++) {
        share.looked_count += nodes[i] >= 0;
        share.there_count += nodes[i] >= 0 && (unsigned)nodes[i] == node;
    }
    return share;
}

void memory_share_describe(struct memory_share share, unsigned node, bool node_asked, char *text,
                           size_t bytes)
{
    if (!node_asked) {
        snprintf(text, bytes, "could not bind to node %u", node);
    } else if (share.looked_count == 0) {
        snprintf(text, bytes, "node %u asked for; the kernel doesn't tell where it is", node);
    } else if (share.there_count == share.looked_count) {
        snprintf(text, bytes, "on node %u", node);
    } else {
        snprintf(text, bytes, "%u %% on node %u, the rest elsewhere: it has not enough free memory",
                 100 * share.there_count / share.looked_count, node);
    }
}

// Touches every page. hugetlb pages that can't be had after all fail here and not by a signal
// later.
static int region_populate(void *base, size_t bytes, bool huge)
{
    if (madvise(base, bytes, MADV_POPULATE_WRITE) == 0) {
        return 0;
    }
    if (errno != EINVAL) {
        return -errno;
    }
    if (huge) {
        return -ENOMEM; // an old kernel: a page that is missing would be a SIGBUS
    }
    for (size_t i = 0; i < bytes; i += MEMORY_PAGE_BYTES) {
        ((volatile unsigned char *)base)[i] = 0;
    }
    return 0;
}

static int region_map_huge(struct memory_region *region, const struct memory_options *options)
{
    void *base = mmap(NULL, region->bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);

    if (base == MAP_FAILED) {
        return -errno;
    }
    region->node_asked =
        !options->any_node && memory_prefer_node(base, region->bytes, options->numa_node);
    int code = region_populate(base, region->bytes, true);
    if (code != 0) {
        munmap(base, region->bytes);
        return code;
    }
    region->base = base;
    region->pages = MEMORY_PAGES_HUGE;
    return 0;
}

// Maps one huge page more than needed and cuts both ends off, so that the base is aligned.
static int region_map_normal(struct memory_region *region, const struct memory_options *options)
{
    size_t bytes = region->bytes + MEMORY_HUGE_BYTES;
    unsigned char *raw =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (raw == MAP_FAILED) {
        return -errno;
    }
    unsigned char *base = (unsigned char *)pawl_align_up((uintptr_t)raw, MEMORY_HUGE_BYTES);
    size_t head = (size_t)(base - raw);
    if (head > 0) {
        munmap(raw, head);
    }
    munmap(base + region->bytes, MEMORY_HUGE_BYTES - head);
    region->pages = MEMORY_PAGES_NORMAL;
    if (!options->no_huge && madvise(base, region->bytes, MADV_HUGEPAGE) == 0) {
        region->pages = MEMORY_PAGES_TRANSPARENT;
    }
    region->node_asked =
        !options->any_node && memory_prefer_node(base, region->bytes, options->numa_node);
    int code = region_populate(base, region->bytes, false);
    if (code != 0) {
        munmap(base, region->bytes);
        return code;
    }
    region->base = base;
    return 0;
}

static void region_describe(struct memory_region *region, const struct memory_options *options,
                            int lock_errno)
{
    static const char *const pages[] = {
        [MEMORY_PAGES_NORMAL] = "normal pages",
        [MEMORY_PAGES_TRANSPARENT] = "transparent huge pages",
        [MEMORY_PAGES_HUGE] = "huge pages",
    };
    char lock[160] = "locked";
    char node[96] = "";
    struct rlimit limit = {0};

    if (options->no_lock) {
        snprintf(lock, sizeof(lock), "unlocked as configured");
    } else if (!region->locked && getrlimit(RLIMIT_MEMLOCK, &limit) == 0 &&
               limit.rlim_cur < region->bytes) {
        snprintf(
            lock, sizeof(lock),
            "unlocked: RLIMIT_MEMLOCK is %llu MiB, raise it (LimitMEMLOCK= of systemd, memlock "
            "in limits.conf)",
            (unsigned long long)limit.rlim_cur >> 20);
    } else if (!region->locked) {
        snprintf(lock, sizeof(lock), "unlocked: %s", strerror(lock_errno));
    }
    if (!options->any_node) {
        memory_share_describe(region->on_node, options->numa_node, region->node_asked, node,
                              sizeof(node));
    }
    snprintf(region->describe, sizeof(region->describe), "%zu MiB, %s, %s%s%s", region->bytes >> 20,
             pages[region->pages], lock, options->any_node ? "" : ", ", node);
}

int memory_region_open(struct memory_region *region, const struct memory_options *options)
{
    int lock_errno = 0;
    int code = -ENOMEM;

    memset(region, 0, sizeof(*region));
    if (options->bytes == 0 || options->bytes > SIZE_MAX / 2) {
        return -EINVAL;
    }
    region->bytes = (size_t)pawl_align_up(options->bytes, MEMORY_HUGE_BYTES);
    if (!options->no_huge) {
        code = region_map_huge(region, options);
    }
    if (code != 0) {
        code = region_map_normal(region, options);
    }
    if (code != 0) {
        memset(region, 0, sizeof(*region));
        return code;
    }
    if (!options->any_node) {
        region->on_node = memory_look(region->base, region->bytes, options->numa_node);
    }
    region->any_node = options->any_node;
    if (!options->no_lock) {
        region->locked = mlock(region->base, region->bytes) == 0;
        lock_errno = region->locked ? 0 : errno;
    }
    region_describe(region, options, lock_errno);
    return 0;
}

void memory_region_close(struct memory_region *region)
{
    if (region->base != NULL) {
        munmap(region->base, region->bytes);
    }
    memset(region, 0, sizeof(*region));
}

const char *memory_region_describe(const struct memory_region *region)
{
    return region->describe;
}

bool memory_region_well_placed(const struct memory_region *region)
{
    return region->any_node ||
           (region->node_asked && region->on_node.there_count == region->on_node.looked_count);
}

void *memory_region_carve(struct memory_region *region, size_t bytes, size_t align)
{
    pawl_assert(align > 0 && (align & (align - 1)) == 0);
    uint64_t at = pawl_align_up((uintptr_t)region->base + region->carved_bytes,
                                PAWL_MAX(align, (size_t)MEMORY_PAGE_BYTES)) -
                  (uintptr_t)region->base;

    if (bytes == 0 || at > region->bytes || bytes > region->bytes - at) {
        return NULL;
    }
    region->carved_bytes =
        (size_t)PAWL_MIN(at + pawl_align_up(bytes, MEMORY_PAGE_BYTES), (uint64_t)region->bytes);
    return (unsigned char *)region->base + at;
}
