// SPDX-License-Identifier: Apache-2.0
// Due times of an open loop.
#include "perf/schedule.h"

#include "base/clock.h"

uint64_t perf_schedule_due_ns(const struct perf_schedule *schedule, uint64_t index)
{
    unsigned __int128 number = (unsigned __int128)index * schedule->lanes_count + schedule->lane;
    return schedule->begin_ns + (uint64_t)(number * PAWL_NS_PER_S / schedule->rate_per_s);
}

uint64_t perf_schedule_before(const struct perf_schedule *schedule, uint64_t until_ns)
{
    if (until_ns <= schedule->begin_ns) {
        return 0;
    }
    // The numbers n of all lanes with floor(n * second / rate) < span are those below ceil(span * rate / second).
    unsigned __int128 span = until_ns - schedule->begin_ns;
    uint64_t all = (uint64_t)((span * schedule->rate_per_s + PAWL_NS_PER_S - 1) / PAWL_NS_PER_S);
    if (all <= schedule->lane) {
        return 0;
    }
    return (all - schedule->lane + schedule->lanes_count - 1) / schedule->lanes_count;
}
