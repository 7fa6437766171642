// SPDX-License-Identifier: Apache-2.0
// xoshiro256** (Blackman and Vigna, public domain), seeded by splitmix64; and getrandom.
#include "base/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/hash.h"

void pawl_random_seed(struct pawl_random *random, uint64_t seed)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(random->state); i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        random->state[i] = pawl_hash_u64(seed);
    }
}

static uint64_t rotate_left(uint64_t value, int by)
{
    return (value << by) | (value >> (64 - by));
}

uint64_t pawl_random_next(struct pawl_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t pawl_random_below(struct pawl_random *random, uint64_t bound)
{
    pawl_assert(bound > 0);
    // Numbers below 2^64 mod bound would make small results more likely: draw again.
    uint64_t reject_below = -bound % bound;
    uint64_t value;
    do {
        value = pawl_random_next(random);
    } while (value < reject_below);
    return value % bound;
}

bool pawl_random_chance(struct pawl_random *random, uint64_t numerator, uint64_t denominator)
{
    return pawl_random_below(random, denominator) < numerator;
}

int pawl_random_os(void *buf, size_t bytes)
{
    char *at = buf;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}
