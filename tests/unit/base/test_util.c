// SPDX-License-Identifier: Apache-2.0
// Tests of base/util.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"

static void test_align_when_any_value_then_next_multiple(void **state)
{
    (void)state;
    assert_true(pawl_align_up(0, 512) == 0);
    assert_true(pawl_align_up(1, 512) == 512);
    assert_true(pawl_align_up(512, 512) == 512);
    assert_true(pawl_align_up(UINT64_C(0x1000000001), 4096) == UINT64_C(0x1000001000));
    assert_true(pawl_align_down(1023, 512) == 512);
    assert_true(pawl_is_power_of_two(64));
    assert_false(pawl_is_power_of_two(0));
    assert_false(pawl_is_power_of_two(65));
}

static void test_min_max_when_arguments_have_effects_then_evaluated_once(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(PAWL_MIN(++calls, 5), 1);
    assert_int_equal(PAWL_MAX(++calls, 1), 2);
    assert_int_equal(calls, 2);
}

static void count_up(int **counter)
{
    (**counter)++;
}

static void test_cleanup_when_scope_ends_then_called_once(void **state)
{
    (void)state;
    int counter = 0;
    {
        PAWL_CLEANUP(count_up) int *guard = &counter;
        assert_int_equal(*guard, 0);
    }
    assert_int_equal(counter, 1);
}

struct outer {
    char before;
    int inner;
};

static void test_container_of_when_member_given_then_struct(void **state)
{
    (void)state;
    struct outer outer;
    assert_ptr_equal(pawl_container_of(&outer.inner, struct outer, inner), &outer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_align_when_any_value_then_next_multiple),
        cmocka_unit_test(test_min_max_when_arguments_have_effects_then_evaluated_once),
        cmocka_unit_test(test_cleanup_when_scope_ends_then_called_once),
        cmocka_unit_test(test_container_of_when_member_given_then_struct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
