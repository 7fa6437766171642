// SPDX-License-Identifier: Apache-2.0
// Tests of perf/stats.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "perf/options.h"
#include "perf/stats.h"

static void test_spread_when_odd_then_the_middle(void **state)
{
    (void)state;
    double values[] = {5, 1, 4, 2, 3};
    struct perf_spread spread = perf_spread_of(values, 5);
    assert_true(spread.median == 3 && spread.min == 1 && spread.max == 5);
    assert_true(values[0] == 5); // the caller's order stays
}

static void test_spread_when_even_then_between_the_two(void **state)
{
    (void)state;
    double values[] = {10, 1, 2, 4};
    struct perf_spread spread = perf_spread_of(values, 4);
    assert_true(spread.median == 3 && spread.min == 1 && spread.max == 10);
}

static void test_spread_when_values_are_missing_then_left_out(void **state)
{
    (void)state;
    double values[] = {NAN, 7, NAN};
    struct perf_spread spread = perf_spread_of(values, 3);
    assert_true(spread.median == 7 && spread.min == 7 && spread.max == 7);
    assert_true(isnan(perf_spread_of(values, 1).median));
    assert_true(isnan(perf_spread_of(values, 0).median));
}

static void test_figures_when_counts_then_rates_and_percentiles(void **state)
{
    (void)state;
    static struct pawl_histogram latency;
    double figures[PERF_FIGURES_COUNT];
    pawl_histogram_init(&latency);
    for (uint64_t i = 1; i <= 1000; i++) {
        pawl_histogram_record(&latency, i * 1000);
    }
    perf_figures_of(500, 1000000000, 2.0, 3.0, &latency, figures);
    assert_true(figures[PERF_FIGURE_ops_per_s] == 250);
    assert_true(figures[PERF_FIGURE_bytes_per_s] == 500000000);
    assert_true(figures[PERF_FIGURE_cpu_s_per_gb] == 3);
    // At most a 32nd too high: the histogram's promise.
    assert_true(figures[PERF_FIGURE_p50_us] >= 500 && figures[PERF_FIGURE_p50_us] < 517);
    assert_true(figures[PERF_FIGURE_p99_us] >= 990 && figures[PERF_FIGURE_p99_us] <= 1000);
    assert_true(figures[PERF_FIGURE_max_us] == 1000);
    assert_true(isnan(figures[PERF_FIGURE_failover_ms]));
    assert_true(perf_figure_shown(PERF_FIGURE_bytes_per_s, 5e8) == 0.5); // GB/s
}

static void test_figures_when_nothing_was_done_then_unknown(void **state)
{
    (void)state;
    static struct pawl_histogram latency;
    double figures[PERF_FIGURES_COUNT];
    pawl_histogram_init(&latency);
    perf_figures_of(0, 0, 0, 1.0, &latency, figures);
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        assert_true(isnan(figures[i]));
    }
    perf_figures_of(1, 10, 1.0, NAN, &latency, figures);
    assert_true(isnan(figures[PERF_FIGURE_cpu_s_per_gb]));
    assert_true(figures[PERF_FIGURE_ops_per_s] == 1);
}

static void test_proc_when_name_is_odd_then_fields_are_found(void **state)
{
    (void)state;
    uint64_t ticks = 0;
    assert_int_equal(
        perf_proc_ticks("42 (pawl-chunkd) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 0 0 "
                        "20 0 3 0 12345 1 2",
                        &ticks),
        0);
    assert_true(ticks == 400);
    assert_int_equal(
        perf_proc_ticks("1 (a) 9 9) R (x) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 0 0", &ticks), 0);
    assert_true(ticks == 12);
}

static void test_proc_when_text_is_no_stat_then_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "1 (a", "1 (a) S 1 2 3",
                                        "1 (a) S 1 42 42 0 -1 4 1 0 0 0 7",
                                        "1 (a) S 1 42 42 0 -1 4 1 0 0 0 x 5 0"};
    uint64_t ticks = 99;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(perf_proc_ticks(texts[i], &ticks), PAWL_EINVALID);
    }
    assert_true(ticks == 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread_when_odd_then_the_middle),
        cmocka_unit_test(test_spread_when_even_then_between_the_two),
        cmocka_unit_test(test_spread_when_values_are_missing_then_left_out),
        cmocka_unit_test(test_figures_when_counts_then_rates_and_percentiles),
        cmocka_unit_test(test_figures_when_nothing_was_done_then_unknown),
        cmocka_unit_test(test_proc_when_name_is_odd_then_fields_are_found),
        cmocka_unit_test(test_proc_when_text_is_no_stat_then_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
