// SPDX-License-Identifier: Apache-2.0
// Unit tests of base/descriptors.c.
#include "base/descriptors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>

#include <cmocka.h>

static void test_descriptors_when_the_soft_limit_is_lower_then_it_becomes_the_hard_one(void **state)
{
    (void)state;
    struct rlimit before, after;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit low = {.rlim_cur = 64, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(pawl_descriptors_raise(), before.rlim_max);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
    assert_int_equal(after.rlim_cur, before.rlim_max);
    assert_int_equal(after.rlim_max, before.rlim_max);
    assert_int_equal(pawl_descriptors_raise(), before.rlim_max); // once more changes nothing
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_descriptors_when_the_soft_limit_is_lower_then_it_becomes_the_hard_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
