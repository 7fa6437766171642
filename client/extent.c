// SPDX-License-Identifier: Apache-2.0
// Runs of pages: see extent.h.
#include "client/extent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define NO_PAGE UINT32_MAX

// The first and the last page of a run know its length; the first one of a free run is in its bin's list.
struct extent_page {
    uint32_t run; // pages of the run that begins or ends here; 0: inside of one
    bool used;
    uint32_t next;
    uint32_t prev;
};

// ---- bins ---------------------------------------------------------------------------------------

// Runs of up to 7 pages have bins of their own, then there are four for each power of two.
static uint32_t bin_of(uint32_t count)
{
    if (count < 8) {
        return count;
    }
    uint32_t log = 31 - (uint32_t)__builtin_clz(count);
    uint32_t bin = 8 + (log - 3) * 4 + ((count >> (log - 2)) & 3);
    return PAWL_MIN(bin, EXTENT_BINS - 1);
}

// The first bin all of whose runs have `count` pages, the last bin excepted.
static uint32_t bin_above(uint32_t count)
{
    if (count < 8) {
        return count;
    }
    uint32_t log = 31 - (uint32_t)__builtin_clz(count);
    return bin_of(count + (1u << (log - 2)) - 1);
}

static void run_mark(struct extent *extent, uint32_t first, uint32_t count, bool used)
{
    struct extent_page *head = &extent->pages[first];
    struct extent_page *tail = &extent->pages[first + count - 1];
    head->run = tail->run = count;
    head->used = tail->used = used;
}

static void bin_add(struct extent *extent, uint32_t first, uint32_t count)
{
    uint32_t bin = bin_of(count);
    struct extent_page *page = &extent->pages[first];
    run_mark(extent, first, count, false);
    page->prev = NO_PAGE;
    page->next = extent->bins[bin];
    if (page->next != NO_PAGE) {
        extent->pages[page->next].prev = first;
    }
    extent->bins[bin] = first;
    extent->bins_used |= 1ull << bin;
}

static void bin_remove(struct extent *extent, uint32_t first)
{
    const struct extent_page *page = &extent->pages[first];
    uint32_t bin = bin_of(page->run);
    if (page->next != NO_PAGE) {
        extent->pages[page->next].prev = page->prev;
    }
    if (page->prev != NO_PAGE) {
        extent->pages[page->prev].next = page->next;
    } else {
        extent->bins[bin] = page->next;
    }
    if (extent->bins[bin] == NO_PAGE) {
        extent->bins_used &= ~(1ull << bin);
    }
}

static uint32_t bin_find(const struct extent *extent, uint32_t bin, uint32_t count)
{
    uint32_t first = extent->bins[bin];
    while (first != NO_PAGE && extent->pages[first].run < count) {
        first = extent->pages[first].next;
    }
    return first;
}

// A run of at least `count` pages: from a bin where the first one will do, or, before the memory is said
// to be full, from the bin in which runs of that length and shorter ones are.
static uint32_t run_find(const struct extent *extent, uint32_t count)
{
    uint64_t bins = extent->bins_used & ~((1ull << bin_above(count)) - 1);
    for (; bins != 0; bins &= bins - 1) {
        uint32_t first = bin_find(extent, (uint32_t)__builtin_ctzll(bins), count);
        if (first != NO_PAGE) {
            return first;
        }
    }
    return bin_find(extent, bin_of(count), count);
}

// ---- the extent ---------------------------------------------------------------------------------

int extent_init(struct extent *extent, void *memory, size_t bytes)
{
    pawl_assert(bytes > 0 && bytes % EXTENT_PAGE_BYTES == 0 &&
                bytes / EXTENT_PAGE_BYTES <= EXTENT_PAGES_MAX);
    *extent =
        (struct extent){.memory = memory, .pages_count = (uint32_t)(bytes / EXTENT_PAGE_BYTES)};
    extent->pages = calloc(extent->pages_count, sizeof *extent->pages);
    if (extent->pages == NULL) {
        return -ENOMEM;
    }
    memset(extent->bins, 0xff, sizeof extent->bins); // NO_PAGE
    bin_add(extent, 0, extent->pages_count);
    return 0;
}

void extent_fini(struct extent *extent)
{
    free(extent->pages);
    *extent = (struct extent){0};
}

void *extent_get(struct extent *extent, size_t bytes)
{
    pawl_assert(bytes > 0);
    if (bytes > (size_t)extent->pages_count * EXTENT_PAGE_BYTES) {
        return NULL;
    }
    uint32_t count = (uint32_t)((bytes + EXTENT_PAGE_BYTES - 1) / EXTENT_PAGE_BYTES);
    uint32_t first = run_find(extent, count);
    if (first == NO_PAGE) {
        return NULL;
    }
    uint32_t run = extent->pages[first].run;
    bin_remove(extent, first);
    if (run > count) {
        bin_add(extent, first + count, run - count);
    }
    run_mark(extent, first, count, true);
    extent->used_count += count;
    return extent->memory + (size_t)first * EXTENT_PAGE_BYTES;
}

void extent_put(struct extent *extent, void *memory)
{
    size_t offset = (size_t)((uint8_t *)memory - extent->memory);
    uint32_t first = (uint32_t)(offset / EXTENT_PAGE_BYTES);
    pawl_assert(offset % EXTENT_PAGE_BYTES == 0 && first < extent->pages_count);
    struct extent_page *pages = extent->pages;
    uint32_t count = pages[first].run;
    pawl_assert(pages[first].used && count != 0 && count <= extent->pages_count - first);
    extent->used_count -= count;
    uint32_t last = first + count - 1;
    pages[first].used = pages[last].used = false;
    pages[first].run = pages[last].run = 0;
    if (last + 1 < extent->pages_count && !pages[last + 1].used) {
        uint32_t behind = pages[last + 1].run;
        bin_remove(extent, last + 1);
        pages[last + 1].run = 0;
        count += behind;
    }
    if (first > 0 && !pages[first - 1].used) {
        uint32_t before = pages[first - 1].run;
        bin_remove(extent, first - before);
        pages[first - 1].run = 0;
        first -= before;
        count += before;
    }
    bin_add(extent, first, count);
}
