// SPDX-License-Identifier: Apache-2.0
// Log-linear histogram.
#include "base/histogram.h"

#include "base/util.h"

#define SUB_COUNT (UINT64_C(1) << PAWL_HISTOGRAM_SUB_BITS)

void pawl_histogram_init(struct pawl_histogram *histogram)
{
    *histogram = (struct pawl_histogram){.min = UINT64_MAX};
}

// Values below SUB_COUNT have a bucket each. Above, the group is the place of the highest bit and
// the next SUB_BITS bits choose the bucket in it.
static unsigned histogram_bucket(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - PAWL_HISTOGRAM_SUB_BITS;
    unsigned sub = (unsigned)((value >> shift) & (SUB_COUNT - 1));
    return ((shift + 1) << PAWL_HISTOGRAM_SUB_BITS) + sub;
}

// The largest value that falls into a bucket.
static uint64_t histogram_bound(unsigned bucket)
{
    if (bucket < SUB_COUNT) {
        return bucket;
    }
    unsigned shift = (bucket >> PAWL_HISTOGRAM_SUB_BITS) - 1;
    uint64_t sub = bucket & (SUB_COUNT - 1);
    return ((SUB_COUNT + sub) << shift) + ((UINT64_C(1) << shift) - 1);
}

void pawl_histogram_record(struct pawl_histogram *histogram, uint64_t value)
{
    histogram->buckets[histogram_bucket(value)]++;
    histogram->count++;
    histogram->sum += value;
    histogram->min = PAWL_MIN(histogram->min, value);
    histogram->max = PAWL_MAX(histogram->max, value);
}

uint64_t pawl_histogram_percentile(const struct pawl_histogram *histogram, double percent)
{
    double wanted = (double)histogram->count * percent / 100.0;
    uint64_t seen = 0;
    for (unsigned i = 0; i < PAWL_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            return PAWL_MIN(histogram_bound(i), histogram->max);
        }
    }
    return histogram->max;
}

void pawl_histogram_merge(struct pawl_histogram *histogram, const struct pawl_histogram *from)
{
    for (unsigned i = 0; i < PAWL_HISTOGRAM_BUCKETS; i++) {
        histogram->buckets[i] += from->buckets[i];
    }
    histogram->count += from->count;
    histogram->sum += from->sum;
    histogram->min = PAWL_MIN(histogram->min, from->min);
    histogram->max = PAWL_MAX(histogram->max, from->max);
}
