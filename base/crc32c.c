// SPDX-License-Identifier: Apache-2.0
// CRC-32C by ISA-L, which wants a seed of all ones and an inverted result.
#include "base/crc32c.h"

#include <isa-l/crc.h>

#include "base/util.h"

// ISA-L counts in int; a multiple of its block size keeps the pieces aligned.
#define CRC32C_PIECE_BYTES ((size_t)1 << 30)

uint32_t pawl_crc32c(uint32_t crc, const void *data, size_t bytes)
{
    // ISA-L takes a pointer to non-const, but only reads.
    unsigned char *at = (unsigned char *)(uintptr_t)data;
    uint32_t state = ~crc;
    while (bytes > 0) {
        size_t piece = PAWL_MIN(bytes, CRC32C_PIECE_BYTES);
        state = crc32_iscsi(at, (int)piece, state);
        at += piece;
        bytes -= piece;
    }
    return ~state;
}
