// SPDX-License-Identifier: Apache-2.0
// Random numbers: a seeded generator that repeats, and the system's that does not.
#ifndef PAWL_BASE_RANDOM_H
#define PAWL_BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

// xoshiro256**. The same seed gives the same numbers on every machine. Owner's thread only.
struct pawl_random {
    uint64_t state[4];
};

void pawl_random_seed(struct pawl_random *random, uint64_t seed);

uint64_t pawl_random_next(struct pawl_random *random);

// Uniform in [0, bound); bound > 0.
uint64_t pawl_random_below(struct pawl_random *random, uint64_t bound);

// True with probability numerator / denominator.
bool pawl_random_chance(struct pawl_random *random, uint64_t numerator, uint64_t denominator);

// Bytes that nobody can guess, from the kernel. 0 or -errno. Any thread.
int pawl_random_os(void *buf, size_t bytes) PAWL_MUST_CHECK;

#endif
