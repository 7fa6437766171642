// SPDX-License-Identifier: Apache-2.0
// Slots of a window as bits of a word: runs that are taken first-fit.
#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

static_assert(WIRE_WINDOW_SLOTS_MAX <= 64, "a window's slots are the bits of one word");

uint64_t slots_mask(uint32_t first, uint32_t count)
{
    pawl_assert(count <= 64 && first <= 64 - count);
    if (count == 0) {
        return 0;
    }
    return (UINT64_MAX >> (64 - count)) << first;
}

int slots_take(uint64_t *used, uint32_t slots, uint32_t count)
{
    for (uint32_t first = 0; first + count <= slots; first++) {
        uint64_t mask = slots_mask(first, count);
        if ((*used & mask) == 0) {
            *used |= mask;
            return (int)first;
        }
    }
    return -1;
}
