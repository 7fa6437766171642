// SPDX-License-Identifier: Apache-2.0
// Tests of perf/stages: they add up to the latency.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/stages.h"

static struct perf_stages stages;

static void test_stages_when_recorded_then_the_rest_is_the_clients(void **state)
{
    (void)state;
    struct pawl_append_stages told = {.push_ns = 20000,
                                      .prepare_ns = 1000,
                                      .flush_ns = 50000,
                                      .commit_ns = 18000,
                                      .answer_ns = 1000};
    double sum_us = 0;
    double shares = 0;
    perf_stages_init(&stages);
    perf_stages_record(&stages, 100000, &told);
    perf_stages_record(&stages, 100000, &told);
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        struct perf_stage_figures figures = perf_stage_figures(&stages, i);
        sum_us += figures.mean_us;
        shares += figures.share;
        assert_true(figures.p50_us == figures.mean_us && figures.p99_us == figures.mean_us);
    }
    assert_true(fabs(sum_us - 100) < 1e-6);
    assert_true(fabs(shares - 1) < 1e-6);
    assert_true(perf_stage_figures(&stages, PERF_STAGE_client).mean_us == 10);
    assert_true(fabs(perf_stage_figures(&stages, PERF_STAGE_flush).share - 0.5) < 1e-6);
}

static void test_stages_when_nothing_is_told_then_nothing_is_counted(void **state)
{
    (void)state;
    struct pawl_append_stages told = {0};
    perf_stages_init(&stages);
    perf_stages_record(&stages, 100000, &told);
    assert_int_equal(stages.ns[PERF_STAGE_client].count, 0);
    assert_true(isnan(perf_stage_figures(&stages, PERF_STAGE_client).p50_us));
    assert_true(isnan(perf_stage_figures(&stages, PERF_STAGE_client).share));
}

// Clocks of two machines run at slightly different rates.
static void test_stages_when_told_more_than_the_latency_then_the_client_has_none(void **state)
{
    (void)state;
    struct pawl_append_stages told = {.push_ns = 70000, .flush_ns = 50000};
    perf_stages_init(&stages);
    perf_stages_record(&stages, 100000, &told);
    assert_int_equal(stages.ns[PERF_STAGE_client].max, 0);
    assert_int_equal(stages.ns[PERF_STAGE_push].max, 70000);
}

static void test_stages_when_merged_then_both_count(void **state)
{
    (void)state;
    static struct perf_stages other;
    struct pawl_append_stages told = {.flush_ns = 1000};
    perf_stages_init(&stages);
    perf_stages_init(&other);
    perf_stages_record(&stages, 2000, &told);
    perf_stages_record(&other, 4000, &told);
    perf_stages_merge(&stages, &other);
    assert_int_equal(stages.ns[PERF_STAGE_flush].count, 2);
    assert_true(perf_stage_figures(&stages, PERF_STAGE_client).mean_us == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_when_recorded_then_the_rest_is_the_clients),
        cmocka_unit_test(test_stages_when_nothing_is_told_then_nothing_is_counted),
        cmocka_unit_test(test_stages_when_told_more_than_the_latency_then_the_client_has_none),
        cmocka_unit_test(test_stages_when_merged_then_both_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
