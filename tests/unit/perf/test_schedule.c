// SPDX-License-Identifier: Apache-2.0
// Tests of perf/schedule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "perf/schedule.h"

static void test_schedule_when_one_lane_then_evenly_spaced(void **state)
{
    (void)state;
    struct perf_schedule schedule = {.begin_ns = 500, .rate_per_s = 1000, .lanes_count = 1};
    for (uint64_t i = 0; i < 1000; i++) {
        assert_true(perf_schedule_due_ns(&schedule, i) == 500 + i * 1000000);
    }
}

static void test_schedule_when_long_then_no_drift(void **state)
{
    (void)state;
    // A third of a microsecond doesn't go into nanoseconds; after a day the error is still below one.
    struct perf_schedule schedule = {.rate_per_s = 3000000, .lanes_count = 1};
    uint64_t day = 86400;
    assert_true(perf_schedule_due_ns(&schedule, day * 3000000) == day * PAWL_NS_PER_S);
    assert_true(perf_schedule_due_ns(&schedule, day * 3000000 + 1) == day * PAWL_NS_PER_S + 333);
}

static void test_schedule_when_lanes_then_together_as_one(void **state)
{
    (void)state;
    struct perf_schedule all = {.begin_ns = 77, .rate_per_s = 7919, .lanes_count = 1};
    for (uint32_t lane = 0; lane < 5; lane++) {
        struct perf_schedule one = {
            .begin_ns = 77, .rate_per_s = 7919, .lane = lane, .lanes_count = 5};
        for (uint64_t i = 0; i < 100; i++) {
            assert_true(perf_schedule_due_ns(&one, i) == perf_schedule_due_ns(&all, i * 5 + lane));
        }
    }
}

static void test_schedule_when_counted_then_as_many_as_are_due(void **state)
{
    (void)state;
    static const uint64_t rates[] = {1, 3, 1000, 333333, 100000000};
    for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
        for (uint32_t lane = 0; lane < 3; lane++) {
            struct perf_schedule schedule = {
                .begin_ns = 1000, .rate_per_s = rates[r], .lane = lane, .lanes_count = 3};
            for (uint64_t i = 0; i < 50; i++) {
                uint64_t due = perf_schedule_due_ns(&schedule, i);
                // This one is due at `due`: not before it, but before the next nanosecond.
                assert_true(perf_schedule_before(&schedule, due) <= i);
                assert_true(perf_schedule_before(&schedule, due + 1) > i);
                uint64_t count = perf_schedule_before(&schedule, due);
                assert_true(count == 0 || perf_schedule_due_ns(&schedule, count - 1) < due);
                assert_true(perf_schedule_due_ns(&schedule, count) >= due);
            }
        }
    }
}

static void test_schedule_when_before_the_beginning_then_none(void **state)
{
    (void)state;
    struct perf_schedule schedule = {.begin_ns = 1000, .rate_per_s = 10, .lanes_count = 2};
    assert_true(perf_schedule_before(&schedule, 0) == 0);
    assert_true(perf_schedule_before(&schedule, 1000) == 0);
    assert_true(perf_schedule_before(&schedule, 1001) == 1);
    schedule.lane = 1;
    assert_true(perf_schedule_before(&schedule, 1001) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedule_when_one_lane_then_evenly_spaced),
        cmocka_unit_test(test_schedule_when_long_then_no_drift),
        cmocka_unit_test(test_schedule_when_lanes_then_together_as_one),
        cmocka_unit_test(test_schedule_when_counted_then_as_many_as_are_due),
        cmocka_unit_test(test_schedule_when_before_the_beginning_then_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
