// SPDX-License-Identifier: Apache-2.0
// The roofline beside a verb's rounds: of the same shape, on the same disk, by turns with them. Main thread.
#ifndef PAWL_PERF_BESIDE_H
#define PAWL_PERF_BESIDE_H

#include "perf/result.h"
#include "perf/roofline/roofline.h"

// What is measured beside a verb: the options, and what the last round was like: the check takes parts as large.
struct perf_beside {
    struct roofline_options options;
    bool has_duties;             // they are measured, too
    struct roofline_files files; // the same for all rounds; the processes are new ones in each
    uint32_t slice_bytes;
    double records_per_flush, records_per_message;
};

// 0, or PAWL_EINVALID when there is no roofline of such a shape; *ret_why says why (static text).
int perf_beside_init(const struct perf_options *options, const struct perf_cluster *cluster,
                     struct perf_beside *ret_beside, const char **ret_why) PAWL_MUST_CHECK;

void perf_beside_fini(struct perf_beside *beside);

// Measures it once, for round->roofline. The first time it sweeps, later it takes the best of that sweep:
// `beside` is changed so. 0 or an exit code.
int perf_beside_round(struct perf_beside *beside, struct perf_round *round) PAWL_MUST_CHECK;

// When all rounds are over: its parts beside independent tools, and Pawl's medians beside its own. What is
// wrong is in result->roofline_why. 0 or an exit code.
int perf_beside_check(const struct perf_beside *beside, struct perf_result *result) PAWL_MUST_CHECK;

#endif
