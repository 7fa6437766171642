// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: which points a sweep has, and which of them is the best. Pure.
#ifndef PAWL_PERF_ROOFLINE_SWEEP_H
#define PAWL_PERF_ROOFLINE_SWEEP_H

#include "base/histogram.h"
#include "perf/roofline/roofline.h"

#define SWEEP_VARIANTS_MAX 4u

// Fills what is swept; returns how many points.
uint32_t sweep_plan(const struct roofline_options *options,
                    struct roofline_point points[ROOFLINE_POINTS_MAX]);

// Closed loop: the most operations a second. Open loop: of the points that kept up with the rate the one with the
// lowest P99.9.
uint32_t sweep_best(const struct roofline_options *options, const struct roofline_point *points,
                    uint32_t count);

// The places of all points, the best first.
void sweep_rank(const struct roofline_options *options, const struct roofline_point *points,
                uint32_t count, uint32_t ret_places[ROOFLINE_POINTS_MAX]);

// A point that has done well, and what of it is worth trying besides, which would make a sweep of all too long. What
// only disks without FUA do for a large payload is tried where `lacks_fua`.
uint32_t sweep_variants(const struct roofline_options *options, bool lacks_fua,
                        const struct roofline_point *point,
                        struct roofline_point ret[SWEEP_VARIANTS_MAX]);

// What the processes counted in one run, from the first record to the last answer.
struct sweep_counts {
    uint64_t records_count; // answered, warm-up included
    uint64_t window_count;  // answered within the measurement proper
    uint64_t cpu_ns, servers_cpu_ns;
    uint64_t primary_flushes_count;
    uint64_t primary_messages_count; // APPENDs that came and PREPAREs that went
    uint64_t primary_entries_count;  // records in them
    uint64_t window_ns;              // of the measurement proper
};
void sweep_point_fill(struct roofline_point *point, const struct roofline_options *options,
                      const struct pawl_histogram *latencies, const struct sweep_counts *counts);

#endif
