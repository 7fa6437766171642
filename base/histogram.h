// SPDX-License-Identifier: Apache-2.0
// Log-linear histogram of 64-bit values: 32 buckets to each power of two, so a percentile is at
// most 1/32 too high. Fixed size (about 15 KiB), no allocation. Owner's thread only; merge what
// threads have.
#ifndef PAWL_BASE_HISTOGRAM_H
#define PAWL_BASE_HISTOGRAM_H

#include <stdint.h>

#define PAWL_HISTOGRAM_SUB_BITS 5
#define PAWL_HISTOGRAM_BUCKETS ((64 - PAWL_HISTOGRAM_SUB_BITS + 1) << PAWL_HISTOGRAM_SUB_BITS)

struct pawl_histogram {
    uint64_t count;
    uint64_t min; // UINT64_MAX when empty
    uint64_t max;
    uint64_t sum; // wraps; good for means of latencies
    uint64_t buckets[PAWL_HISTOGRAM_BUCKETS];
};

void pawl_histogram_init(struct pawl_histogram *histogram);
void pawl_histogram_record(struct pawl_histogram *histogram, uint64_t value);

// Smallest bucket bound that at least `percent` (0 to 100) of the values do not exceed, never above
// the largest value seen; 0 when empty.
uint64_t pawl_histogram_percentile(const struct pawl_histogram *histogram, double percent);

// Adds all that `from` holds.
void pawl_histogram_merge(struct pawl_histogram *histogram, const struct pawl_histogram *from);

#endif
