// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/judge.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "perf/roofline/roofline.h"

static struct roofline_result result;

static int set_up(void **state)
{
    (void)state;
    memset(&result, 0, sizeof(result));
    return 0;
}

static void part_set(uint32_t index, const char *name, double ratio)
{
    strcpy(result.parts[index].name, name);
    result.parts[index].ratio = ratio;
    result.parts_count = PAWL_MAX(result.parts_count, index + 1);
}

static void test_judge_when_no_part_then_not_valid(void **state)
{
    (void)state;
    result.is_valid = true;
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_true(result.why[0] != '\0');
}

static void test_judge_when_a_part_is_behind_then_not_valid_and_named(void **state)
{
    (void)state;
    part_set(0, "the wire", 1.0);
    part_set(1, "the disk", 0.89);
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_non_null(strstr(result.why, "the disk"));
    assert_null(strstr(result.why, "the wire"));
}

static void test_judge_when_a_tool_is_missing_then_not_valid(void **state)
{
    (void)state;
    part_set(0, "the wire", 1.0);
    part_set(1, "the disk", 0);
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_non_null(strstr(result.why, "the disk was not compared"));
    part_set(1, "the disk", __builtin_nan(""));
    roofline_judge(&result);
    assert_false(result.is_valid);
}

static void test_judge_when_rounds_differ_too_much_then_not_valid(void **state)
{
    (void)state;
    part_set(0, "the wire", 1.4);
    result.parts[0].steadiness = 0.5;
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_non_null(strstr(result.why, "the machine is busy"));
    result.parts[0].steadiness = 0.9;
    roofline_judge(&result);
    assert_true(result.is_valid);
}

static void test_judge_when_within_bounds_or_ahead_then_valid(void **state)
{
    (void)state;
    part_set(0, "the wire", 0.9);
    part_set(1, "the disk", 1.5);
    roofline_judge(&result);
    assert_true(result.is_valid);
    assert_non_null(strstr(result.why, "the disk is ahead (1.50)"));
    assert_null(strstr(result.why, "the wire"));
}

// A part that leaves something out, a flush, say, vouches for nothing.
static void test_judge_when_a_part_is_far_ahead_then_not_valid_and_named(void **state)
{
    (void)state;
    part_set(0, "the wire", 1.0);
    part_set(1, "the disk", 1.51);
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_non_null(strstr(result.why, "the disk is so far ahead"));
    assert_null(strstr(result.why, "the wire"));
}

static void test_judge_when_all_are_behind_then_the_text_fits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < ROOFLINE_PARTS_MAX; i++) {
        part_set(i, "a part with a name that is as long as it may be", 0.5);
    }
    roofline_judge(&result);
    assert_false(result.is_valid);
    assert_non_null(memchr(result.why, '\0', sizeof(result.why)));
}

// Whether a roofline of 100/s, P50 50 us and P99.9 900 us, all rounds alike, stays valid beside such figures.
static bool holds_against(const struct roofline_options *options, double ops_per_s, double p50_us,
                          double p999_us)
{
    struct roofline_claim claim = {ops_per_s, p50_us, p999_us};
    result =
        (struct roofline_result){.is_valid = true, .ops_per_s = 100, .p50_us = 50, .p999_us = 900};
    struct roofline_claim best = {100, 50, 900};
    roofline_refute(options, &result, &best, &claim);
    assert_true(result.is_valid || strstr(result.why, "faster than its roofline") != NULL);
    return result.is_valid;
}

static void test_refute_when_faster_than_the_roofline_then_not_valid(void **state)
{
    (void)state;
    struct roofline_options options;
    roofline_options_init(&options);
    assert_true(holds_against(&options, 100, 50, 900));
    assert_true(holds_against(&options, 0, 0, 0)); // not measured
    assert_false(holds_against(&options, 101, 50, 900));
    assert_false(holds_against(&options, 99, 49, 900));
    assert_true(
        holds_against(&options, 99, 50, 800)); // one tail of a closed loop is as good as another
}

static void test_refute_when_a_round_of_it_was_as_fast_then_valid_up_to_a_tenth(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_claim best = {200, 30, 500};
    roofline_options_init(&options);
    const struct {
        struct roofline_claim claim;
        bool is_valid;
    } cases[] = {
        {{109, 46, 0}, true}, {{111, 50, 0}, false}, {{100, 44, 0}, false}, {{100, 29, 0}, false}};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        result = (struct roofline_result){.is_valid = true, .ops_per_s = 100, .p50_us = 50};
        roofline_refute(&options, &result, &best, &cases[i].claim);
        assert_int_equal(result.is_valid, cases[i].is_valid);
    }
}

static void test_refute_when_many_in_flight_then_the_rate_alone(void **state)
{
    (void)state;
    struct roofline_options options;
    roofline_options_init(&options);
    options.depth = 8;
    assert_true(holds_against(&options, 99, 49, 900));
    assert_false(holds_against(&options, 101, 51, 900));
    options.depth = 1;
    options.clients = 2;
    assert_true(holds_against(&options, 99, 49, 900));
}

static void test_refute_when_open_loop_then_the_tail(void **state)
{
    (void)state;
    struct roofline_options options;
    roofline_options_init(&options);
    options.rate_per_s = 100;
    assert_true(holds_against(&options, 101, 49, 900)); // the rate is what was offered
    assert_false(holds_against(&options, 99, 51, 899));
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_judge_when_no_part_then_not_valid),
        TEST(test_judge_when_a_part_is_behind_then_not_valid_and_named),
        TEST(test_judge_when_a_tool_is_missing_then_not_valid),
        TEST(test_judge_when_rounds_differ_too_much_then_not_valid),
        TEST(test_judge_when_within_bounds_or_ahead_then_valid),
        TEST(test_judge_when_a_part_is_far_ahead_then_not_valid_and_named),
        TEST(test_judge_when_all_are_behind_then_the_text_fits),
        TEST(test_refute_when_faster_than_the_roofline_then_not_valid),
        TEST(test_refute_when_a_round_of_it_was_as_fast_then_valid_up_to_a_tenth),
        TEST(test_refute_when_many_in_flight_then_the_rate_alone),
        TEST(test_refute_when_open_loop_then_the_tail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
