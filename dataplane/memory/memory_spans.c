// SPDX-License-Identifier: Apache-2.0
// Spans of any length out of one piece of memory: first fit over a bit for each unit.
//
// The lowest place is taken, so that as few pages as possible are in turn in the caches.
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "dataplane/memory/memory.h"

static size_t units_of(const struct memory_spans *spans, size_t bytes)
{
    return PAWL_MAX((bytes + spans->unit_bytes - 1) / spans->unit_bytes, (size_t)1);
}

// The first unit from `at` on that is taken (or free); units_count if there is none.
static size_t unit_next(const struct memory_spans *spans, size_t at, bool taken)
{
    while (at < spans->units_count) {
        uint64_t word = taken ? spans->used[at / 64] : ~spans->used[at / 64];
        word >>= at % 64;
        if (word != 0) {
            return PAWL_MIN(at + (size_t)__builtin_ctzll(word), spans->units_count);
        }
        at = (at / 64 + 1) * 64;
    }
    return spans->units_count;
}

static void units_flip(struct memory_spans *spans, size_t at, size_t count, bool taken)
{
    for (size_t i = at; i < at + count; i++) {
        uint64_t bit = UINT64_C(1) << i % 64;
        pawl_assert(((spans->used[i / 64] & bit) != 0) != taken); // a span given back twice
        spans->used[i / 64] ^= bit;
    }
}

int memory_spans_init(struct memory_spans *spans, const struct pawl_alloc *alloc, void *memory,
                      size_t bytes, size_t unit_bytes)
{
    memset(spans, 0, sizeof(*spans));
    if (!pawl_is_power_of_two(unit_bytes) || bytes < unit_bytes) {
        return -EINVAL;
    }
    spans->units_count = bytes / unit_bytes;
    spans->used = pawl_alloc_array(alloc, (spans->units_count + 63) / 64, sizeof(*spans->used));
    if (spans->used == NULL) {
        return -ENOMEM;
    }
    spans->alloc = alloc;
    spans->base = memory;
    spans->unit_bytes = unit_bytes;
    return 0;
}

void memory_spans_fini(struct memory_spans *spans)
{
    if (spans->used != NULL) {
        pawl_alloc_free(spans->alloc, spans->used);
    }
    memset(spans, 0, sizeof(*spans));
}

void *memory_spans_get(struct memory_spans *spans, size_t bytes)
{
    size_t count = units_of(spans, bytes);
    size_t at = unit_next(spans, 0, false);
    while (at < spans->units_count) {
        size_t end = unit_next(spans, at, true);
        if (end - at >= count) {
            units_flip(spans, at, count, true);
            spans->used_bytes += count * spans->unit_bytes;
            return spans->base + at * spans->unit_bytes;
        }
        at = unit_next(spans, end, false);
    }
    return NULL;
}

void memory_spans_put(struct memory_spans *spans, void *span, size_t bytes)
{
    if (span == NULL) {
        return;
    }
    size_t count = units_of(spans, bytes);
    size_t offset = (size_t)((unsigned char *)span - spans->base);
    pawl_assert(offset % spans->unit_bytes == 0 &&
                offset / spans->unit_bytes + count <= spans->units_count);
    units_flip(spans, offset / spans->unit_bytes, count, false);
    spans->used_bytes -= count * spans->unit_bytes;
}
