// SPDX-License-Identifier: Apache-2.0
// Tests of base/histogram.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

static void test_histogram_when_empty_then_zero(void **state)
{
    (void)state;
    static struct pawl_histogram histogram;
    pawl_histogram_init(&histogram);
    assert_true(pawl_histogram_percentile(&histogram, 50) == 0);
}

static void test_histogram_when_small_values_then_exact(void **state)
{
    (void)state;
    static struct pawl_histogram histogram;
    pawl_histogram_init(&histogram);
    for (uint64_t value = 1; value <= 30; value++) {
        pawl_histogram_record(&histogram, value);
    }
    assert_true(pawl_histogram_percentile(&histogram, 50) == 15);
    assert_true(pawl_histogram_percentile(&histogram, 100) == 30);
    assert_true(histogram.min == 1);
    assert_true(histogram.sum == 465);
}

static void test_histogram_when_any_value_then_at_most_a_32nd_too_high(void **state)
{
    (void)state;
    static struct pawl_histogram histogram;
    for (int bit = 0; bit < 63; bit++) {
        for (uint64_t extra = 0; extra < 3; extra++) {
            uint64_t value = (UINT64_C(1) << bit) + extra * ((UINT64_C(1) << bit) / 3);
            pawl_histogram_init(&histogram);
            pawl_histogram_record(&histogram, value);
            pawl_histogram_record(&histogram, UINT64_MAX); // so that max does not help
            uint64_t got = pawl_histogram_percentile(&histogram, 50);
            assert_true(got >= value);
            assert_true(got - value <= value / 32);
        }
    }
    assert_true(pawl_histogram_percentile(&histogram, 100) == UINT64_MAX);
}

static void test_histogram_when_merged_then_as_if_recorded_in_one(void **state)
{
    (void)state;
    static struct pawl_histogram one;
    static struct pawl_histogram two;
    static struct pawl_histogram all;
    pawl_histogram_init(&one);
    pawl_histogram_init(&two);
    pawl_histogram_init(&all);
    for (uint64_t i = 0; i < 1000; i++) {
        pawl_histogram_record(i % 3 ? &one : &two, i * i);
        pawl_histogram_record(&all, i * i);
    }
    pawl_histogram_merge(&one, &two);
    assert_memory_equal(&one, &all, sizeof(all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_when_empty_then_zero),
        cmocka_unit_test(test_histogram_when_small_values_then_exact),
        cmocka_unit_test(test_histogram_when_any_value_then_at_most_a_32nd_too_high),
        cmocka_unit_test(test_histogram_when_merged_then_as_if_recorded_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
