// SPDX-License-Identifier: Apache-2.0
// Tests of perf/result: what the JSON says of rounds.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "perf/result.h"

static struct perf_options options;
static struct perf_cluster cluster;

static double real_at(const json_t *root, const char *object, const char *key)
{
    const json_t *value = json_object_get(json_object_get(root, object), key);
    assert_true(json_is_real(value));
    return json_real_value(value);
}

// Two rounds with these operations a second and P50.
static void two_rounds(struct perf_result *result, const double ops_per_s[2],
                       const double p50_us[2])
{
    perf_options_default(PERF_APPEND, &options);
    options.repeat = 2;
    cluster.options = &options;
    assert_int_equal(perf_result_init(result, &options), 0);
    result->rounds_count = 2;
    for (int i = 0; i < 2; i++) {
        result->rounds[i].figures[PERF_FIGURE_ops_per_s] = ops_per_s[i];
        result->rounds[i].figures[PERF_FIGURE_bytes_per_s] = ops_per_s[i] * 1024;
        result->rounds[i].figures[PERF_FIGURE_p50_us] = p50_us[i];
    }
}

static void test_json_when_no_roofline_then_null(void **state)
{
    (void)state;
    struct perf_result result;
    two_rounds(&result, (double[]){100, 300}, (double[]){50, 70});
    json_t *root = perf_result_json(&result, &cluster);
    assert_non_null(root);
    assert_true(json_real_value(json_object_get(root, "ops_per_s")) == 200);
    assert_true(real_at(json_object_get(root, "spread"), "p50_us", "max") == 70);
    assert_true(json_is_null(json_object_get(json_object_get(root, "roofline"), "ops_per_s")));
    assert_true(json_is_null(json_object_get(json_object_get(root, "ratio"), "p50")));
    assert_true(json_is_null(json_object_get(root, "failover_ms")));
    assert_true(json_is_null(json_object_get(root, "copies_per_byte")));
    assert_true(json_is_null(json_object_get(root, "stages")));
    json_decref(root);
    perf_result_fini(&result);
}

static void test_json_when_roofline_then_ratios_of_medians(void **state)
{
    (void)state;
    struct perf_result result;
    two_rounds(&result, (double[]){100, 300}, (double[]){50, 70});
    result.rounds[0].roofline = (struct perf_roofline){300, 300 * 1024, 20, 90, 2, 0.5, 200, 30, 1};
    result.rounds[1].roofline =
        (struct perf_roofline){500, 500 * 1024, 28, 110, 4, 0.7, 300, 50, 3};
    json_t *root = perf_result_json(&result, &cluster);
    assert_non_null(root);
    assert_true(real_at(root, "roofline", "ops_per_s") == 400);
    assert_true(real_at(root, "ratio", "ops") == 0.5);
    assert_true(real_at(root, "ratio", "bytes") == 0.5);
    assert_true(real_at(root, "ratio", "p50") == 2.5);
    const json_t *duties = json_object_get(json_object_get(root, "roofline"), "duties");
    assert_true(json_real_value(json_object_get(duties, "ops_per_s")) == 250);
    assert_true(json_real_value(json_object_get(duties, "p999_us")) == 40);
    assert_true(json_real_value(json_object_get(duties, "replica_cpu_s_per_gb")) == 2);
    assert_true(perf_result_duties(&result, PERF_FIGURE_bytes_per_s) == 250 * 1024);
    json_decref(root);
    perf_result_fini(&result);
}

static void test_json_when_a_round_has_an_error_then_it_is_told(void **state)
{
    (void)state;
    struct perf_result result;
    two_rounds(&result, (double[]){1, 1}, (double[]){1, 1});
    result.rounds[1].errors = 1;
    result.rounds[1].error = PAWL_EDEADLINE;
    json_t *root = perf_result_json(&result, &cluster);
    const json_t *round = json_array_get(json_object_get(root, "rounds"), 1);
    assert_int_equal(json_integer_value(json_object_get(root, "errors")), 1);
    assert_string_equal(json_string_value(json_object_get(round, "error")),
                        pawl_strerror(PAWL_EDEADLINE));
    json_decref(root);
    perf_result_fini(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_when_no_roofline_then_null),
        cmocka_unit_test(test_json_when_roofline_then_ratios_of_medians),
        cmocka_unit_test(test_json_when_a_round_has_an_error_then_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
