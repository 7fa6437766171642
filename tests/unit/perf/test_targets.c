// SPDX-License-Identifier: Apache-2.0
// Tests of perf/targets: what counts as met.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/targets.h"

static struct perf_report report;

// A report of one run of one round, whose figure and roofline are these.
static void report_of(const struct perf_target *target, double reached, double roofline)
{
    struct perf_options options;
    struct perf_result *result = &report.runs[0].result;
    perf_options_default(PERF_APPEND, &options);
    options.repeat = 1;
    options.roofline = true;
    report.runs[0].group = target->group;
    report.runs_count = 1;
    assert_int_equal(perf_result_init(result, &options), 0);
    result->rounds_count = 1;
    result->roofline_valid = true;
    result->rounds[0].figures[target->figure] = reached;
    result->rounds[0].roofline = (struct perf_roofline){.ops_per_s = roofline,
                                                        .bytes_per_s = roofline,
                                                        .p50_us = roofline,
                                                        .p999_us = roofline,
                                                        .cpu_s_per_gb = roofline,
                                                        .replica_cpu_s_per_gb = roofline};
}

static bool is_met(const struct perf_target *target, double reached, double roofline)
{
    report_of(target, reached, roofline);
    bool met = perf_target_look(target, &report).is_met;
    perf_result_fini(&report.runs[0].result);
    return met;
}

static void test_target_when_just_reached_then_met_and_not_beyond(void **state)
{
    (void)state;
    for (size_t i = 0; i < perf_targets_count(); i++) {
        const struct perf_target *target = perf_target_at(i);
        double better = target->at_least ? 1.01 : 0.99;
        if (target->bound == 0) {
            assert_false(is_met(target, 100, 100)); // reported only
            continue;
        }
        assert_true(is_met(target, 100 * target->bound * better, 100));
        assert_false(is_met(target, 100 * target->bound / better, 100));
    }
}

static void test_target_when_nothing_was_measured_then_not_met(void **state)
{
    (void)state;
    report.runs_count = 0;
    for (size_t i = 0; i < perf_targets_count(); i++) {
        struct perf_target_state look = perf_target_look(perf_target_at(i), &report);
        assert_true(isnan(look.share) && !look.is_met && !look.is_valid && look.result == NULL);
        assert_false(is_met(perf_target_at(i), NAN, 100));
        assert_false(is_met(perf_target_at(i), 100, NAN));
        report.runs_count = 0;
    }
}

static void test_target_when_the_roofline_is_not_valid_then_it_is_not_met(void **state)
{
    (void)state;
    const struct perf_target *target = perf_target_at(0);
    report_of(target, 100, 100);
    assert_true(perf_target_look(target, &report).is_valid);
    assert_true(perf_target_look(target, &report).is_met);
    report.runs[0].result.roofline_valid = false;
    assert_false(perf_target_look(target, &report).is_valid);
    assert_false(perf_target_look(target, &report).is_met);
    perf_result_fini(&report.runs[0].result);
}

static void test_json_when_targets_then_one_entry_each(void **state)
{
    (void)state;
    report_of(perf_target_at(0), 120, 100);
    json_t *array = perf_targets_json(&report);
    assert_int_equal(json_array_size(array), perf_targets_count());
    const json_t *first = json_array_get(array, 0);
    assert_true(fabs(json_real_value(json_object_get(first, "share")) - 1.2) < 1e-9);
    assert_true(json_is_true(json_object_get(first, "met")));
    assert_true(json_is_null(json_object_get(first, "at_least")));
    json_decref(array);
    perf_result_fini(&report.runs[0].result);
}

static const struct perf_target *target_of(const char *group, enum perf_figure figure)
{
    for (size_t i = 0; i < perf_targets_count(); i++) {
        const struct perf_target *target = perf_target_at(i);
        if (strcmp(target->group, group) == 0 && target->figure == figure) {
            return target;
        }
    }
    fail_msg("no target of %s", group);
    return NULL;
}

static char *written(void (*write)(FILE *out, const struct perf_report *report))
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    write(out, &report);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_table_when_duties_then_in_their_column_as_text_and_html(void **state)
{
    (void)state;
    report_of(target_of(PERF_TARGETS_MANY, PERF_FIGURE_ops_per_s), 40, 80);
    report.runs[0].result.rounds[0].roofline.duties_ops_per_s = 50;
    char *text = written(perf_targets_print);
    char row[256];
    snprintf(row, sizeof row, " %11s %11s %11s %11s %11s %11s %11s\n", ">= 0.80", "0.500", "40.0",
             "80.0", "50.0", "no", "yes");
    assert_non_null(strstr(text, row));
    free(text);
    text = written(perf_targets_html);
    assert_non_null(strstr(text, "<th>roofline</th><th>with duties</th><th>met</th>"));
    assert_non_null(strstr(text, "<td>40.0</td><td>80.0</td><td>50.0</td><td>no</td>"));
    free(text);
    perf_result_fini(&report.runs[0].result);
}

static uint64_t settle_of(const char *group, char *said_too)
{
    char words[][16] = {"pawl-perf", "report", "--suite", "targets", "--settle"};
    char *argv[] = {words[0], words[1], words[2], words[3], words[4], said_too};
    struct perf_options said, options;
    struct perf_options_error error;
    int argc = said_too != NULL ? 6 : 4;
    assert_int_equal(perf_options_parse(argc, argv, &said, &error), 0);
    perf_options_default(PERF_APPEND, &options);
    options.settle = said.settle;
    perf_targets_options(group, &said, &options);
    return options.settle;
}

static void test_options_when_a_peak_then_files_of_deleted_chunks_are_there(void **state)
{
    (void)state;
    char none[] = "0", one[] = "1";
    assert_int_equal(settle_of(PERF_TARGETS_LARGE, NULL), 2);
    assert_int_equal(settle_of(PERF_TARGETS_LARGE, none), 0);
    assert_int_equal(settle_of(PERF_TARGETS_MANY, NULL), 2);
    assert_int_equal(settle_of(PERF_TARGETS_ALONE, NULL), 0);
    assert_int_equal(settle_of(PERF_TARGETS_ALONE, one), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_when_just_reached_then_met_and_not_beyond),
        cmocka_unit_test(test_target_when_nothing_was_measured_then_not_met),
        cmocka_unit_test(test_target_when_the_roofline_is_not_valid_then_it_is_not_met),
        cmocka_unit_test(test_json_when_targets_then_one_entry_each),
        cmocka_unit_test(test_options_when_a_peak_then_files_of_deleted_chunks_are_there),
        cmocka_unit_test(test_table_when_duties_then_in_their_column_as_text_and_html),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
