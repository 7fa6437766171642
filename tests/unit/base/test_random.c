// SPDX-License-Identifier: Apache-2.0
// Tests of base/random.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/random.h"

static void test_random_when_same_seed_then_same_numbers(void **state)
{
    (void)state;
    struct pawl_random one;
    struct pawl_random two;
    struct pawl_random other;
    pawl_random_seed(&one, 1);
    pawl_random_seed(&two, 1);
    pawl_random_seed(&other, 2);
    int differ = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t number = pawl_random_next(&one);
        assert_true(number == pawl_random_next(&two));
        differ += number != pawl_random_next(&other);
    }
    assert_int_equal(differ, 1000);
}

// xoshiro256** from the state 1, 2, 3, 4: the first numbers of the published reference code.
static void test_random_when_reference_state_then_reference_numbers(void **state)
{
    (void)state;
    struct pawl_random random = {.state = {1, 2, 3, 4}};
    assert_true(pawl_random_next(&random) == UINT64_C(11520));
    assert_true(pawl_random_next(&random) == UINT64_C(0));
    assert_true(pawl_random_next(&random) == UINT64_C(1509978240));
    assert_true(pawl_random_next(&random) == UINT64_C(1215971899390074240));
}

static void test_random_below_when_drawn_often_then_even_and_in_bound(void **state)
{
    (void)state;
    struct pawl_random random;
    unsigned counts[10] = {0};
    pawl_random_seed(&random, 3);
    for (int i = 0; i < 100000; i++) {
        uint64_t number = pawl_random_below(&random, 10);
        assert_true(number < 10);
        counts[number]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    assert_true(pawl_random_below(&random, 1) == 0);
}

static void test_random_chance_when_one_in_four_then_a_quarter(void **state)
{
    (void)state;
    struct pawl_random random;
    unsigned hits = 0;
    pawl_random_seed(&random, 4);
    for (int i = 0; i < 100000; i++) {
        hits += pawl_random_chance(&random, 1, 4);
        assert_false(pawl_random_chance(&random, 0, 4));
        assert_true(pawl_random_chance(&random, 4, 4));
    }
    assert_in_range(hits, 24000, 26000);
}

static void test_random_os_when_read_twice_then_different(void **state)
{
    (void)state;
    unsigned char one[32] = {0};
    unsigned char two[32] = {0};
    assert_int_equal(pawl_random_os(one, sizeof(one)), 0);
    assert_int_equal(pawl_random_os(two, sizeof(two)), 0);
    assert_memory_not_equal(one, two, sizeof(one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_when_same_seed_then_same_numbers),
        cmocka_unit_test(test_random_when_reference_state_then_reference_numbers),
        cmocka_unit_test(test_random_below_when_drawn_often_then_even_and_in_bound),
        cmocka_unit_test(test_random_chance_when_one_in_four_then_a_quarter),
        cmocka_unit_test(test_random_os_when_read_twice_then_different),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
