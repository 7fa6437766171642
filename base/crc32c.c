// SPDX-License-Identifier: Apache-2.0
// CRC-32C by ISA-L, which wants a seed of all ones and an inverted result.
#include "base/crc32c.h"

#include <isa-l/crc.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "base/util.h"

// ISA-L counts in int; a multiple of its block size keeps the pieces aligned.
#define CRC32C_PIECE_BYTES ((size_t)1 << 30)

// ISA-L's AVX-512 code (crc32_iscsi_by16_10) returns with the upper halves of the vector registers in use.
// From then on each SSE instruction of the thread waits for the last one that wrote the same register, and the
// kernel saves 2 KiB more at each switch: a quarter of all CPU time of small appends (Intel's optimization
// manual, "Mixing AVX code with SSE code").
#ifdef __x86_64__
__attribute__((target("avx"))) static void upper_halves_clear(void)
{
    _mm256_zeroupper();
}
#endif

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
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx")) {
        upper_halves_clear();
    }
#endif
    return ~state;
}
