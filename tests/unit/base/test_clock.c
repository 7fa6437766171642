// SPDX-License-Identifier: Apache-2.0
// Tests of base/clock.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "base/clock.h"

static void test_clock_ns_when_read_often_then_never_goes_back(void **state)
{
    (void)state;
    uint64_t last = pawl_clock_ns();
    for (int i = 0; i < 100000; i++) {
        uint64_t now = pawl_clock_ns();
        assert_true(now >= last);
        last = now;
    }
}

static void test_clock_ms_when_read_between_then_is_boottime(void **state)
{
    (void)state;
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_BOOTTIME, &before);
    uint64_t now_ms = pawl_clock_ms();
    clock_gettime(CLOCK_BOOTTIME, &after);
    assert_true(now_ms >= (uint64_t)before.tv_sec * 1000 + (uint64_t)before.tv_nsec / 1000000);
    assert_true(now_ms <= (uint64_t)after.tv_sec * 1000 + (uint64_t)after.tv_nsec / 1000000);
}

static void test_clock_wall_when_read_then_between_time_and_time(void **state)
{
    (void)state;
    time_t before = time(NULL);
    uint64_t wall_ms = pawl_clock_wall_ms();
    // time() is the coarse clock: it may lag by a tick.
    assert_true(wall_ms / 1000 >= (uint64_t)before);
    assert_true(wall_ms / 1000 <= (uint64_t)time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_ns_when_read_often_then_never_goes_back),
        cmocka_unit_test(test_clock_ms_when_read_between_then_is_boottime),
        cmocka_unit_test(test_clock_wall_when_read_then_between_time_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
