// SPDX-License-Identifier: Apache-2.0
// Hashes for tables and for spreading work. Not for secrets, and never stored on disk.
#ifndef PAWL_BASE_HASH_H
#define PAWL_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

// A bijection that mixes all bits: the finaliser of splitmix64.
static inline uint64_t pawl_hash_u64(uint64_t value)
{
    value ^= value >> 30;
    value *= UINT64_C(0xbf58476d1ce4e5b9);
    value ^= value >> 27;
    value *= UINT64_C(0x94d049bb133111eb);
    value ^= value >> 31;
    return value;
}

uint64_t pawl_hash_bytes(const void *data, size_t bytes, uint64_t seed);

#endif
