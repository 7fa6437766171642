// SPDX-License-Identifier: Apache-2.0
// When the operations of an open loop are due: at an even pace that knows nothing of the answers.
//
// Operation n of all lanes together is due n/rate seconds after the beginning; the lanes take them in
// turn. Pure; computed from the index each time, so that nothing drifts.
#ifndef PAWL_PERF_SCHEDULE_H
#define PAWL_PERF_SCHEDULE_H

#include <stdint.h>

struct perf_schedule {
    uint64_t begin_ns;
    uint64_t rate_per_s; // of all lanes; > 0
    uint32_t lane;
    uint32_t lanes_count;
};

uint64_t perf_schedule_due_ns(const struct perf_schedule *schedule, uint64_t index);

// How many operations of this lane are due before that time.
uint64_t perf_schedule_before(const struct perf_schedule *schedule, uint64_t until_ns);

#endif
