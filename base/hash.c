// SPDX-License-Identifier: Apache-2.0
// Hash of bytes: the finaliser of splitmix64 over words.
#include "base/hash.h"

#include <string.h>

uint64_t pawl_hash_bytes(const void *data, size_t bytes, uint64_t seed)
{
    const unsigned char *at = data;
    uint64_t hash = pawl_hash_u64(seed ^ (UINT64_C(0x9e3779b97f4a7c15) * (bytes + 1)));
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = pawl_hash_u64(hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
    }
    if (bytes > 0) {
        uint64_t word = 0;
        memcpy(&word, at, bytes);
        hash = pawl_hash_u64(hash ^ word) + UINT64_C(0x9e3779b97f4a7c15);
    }
    return pawl_hash_u64(hash);
}
