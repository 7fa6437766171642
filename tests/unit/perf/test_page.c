// SPDX-License-Identifier: Apache-2.0
// Tests of the page of a report: what is drawn of which run.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/report.h"
#include "perf/targets.h"

static struct perf_cluster cluster;
static struct perf_report report;

static void add_run(const char *group, enum perf_verb verb, uint64_t clients, bool limit)
{
    struct perf_report_run *run = &report.runs[report.runs_count++];
    struct perf_options options;
    perf_options_default(verb, &options);
    options.repeat = 1;
    options.clients = clients;
    run->group = group;
    run->limit = limit;
    assert_int_equal(perf_result_init(&run->result, &options), 0);
    run->result.rounds_count = 1;
    run->result.rounds[0].figures[PERF_FIGURE_ops_per_s] = 0.0123 * (double)clients;
    run->result.rounds[0].figures[PERF_FIGURE_bytes_per_s] = 1e9 * (double)clients;
    if (verb == PERF_APPEND) {
        struct pawl_append_stages told = {.push_ns = 30000, .flush_ns = 50000};
        perf_stages_record(&run->result.rounds[0].stages, 100000, &told);
    }
}

// The last run's roofline, twice its rate; valid or not.
static void add_roofline(bool is_valid)
{
    struct perf_result *result = &report.runs[report.runs_count - 1].result;
    struct perf_round *round = &result->rounds[0];
    result->options.roofline = true;
    result->roofline_valid = is_valid;
    snprintf(result->roofline_why, sizeof result->roofline_why, "%s", is_valid ? "" : "<no tool>");
    round->roofline.ops_per_s = 2 * round->figures[PERF_FIGURE_ops_per_s];
    round->roofline.bytes_per_s = 2 * round->figures[PERF_FIGURE_bytes_per_s];
}

static char *page(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    perf_page_write(out, &report, &cluster);
    assert_int_equal(fclose(out), 0);
    for (size_t i = 0; i < report.runs_count; i++) {
        perf_result_fini(&report.runs[i].result);
    }
    return text;
}

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += strlen(word)) {
        count++;
    }
    return count;
}

static void test_page_when_appends_then_their_stages_are_drawn(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "a <suite>", .about = "about"};
    add_run("appends", PERF_APPEND, 1, false);
    add_run("names", PERF_META, 1, false);
    char *text = page();
    assert_int_equal(count_of(text, "Stages of appends"), 1);
    assert_int_equal(count_of(text, "appends, 1 client: 100 us"), 1);
    assert_int_equal(count_of(text, "names, 1 client: "), 0);
    assert_int_equal(count_of(text, "push: 30.0 %"), 1);
    assert_int_equal(count_of(text, "client: 20.0 %"), 1);
    assert_non_null(strstr(text, "a &lt;suite&gt;"));
    assert_non_null(strstr(text, "0.0123")); // small figures keep their digits
    assert_null(strstr(text, "nan"));
    free(text);
}

static void test_page_when_nothing_was_appended_then_no_stages(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about"};
    add_run("names", PERF_META, 1, false);
    char *text = page();
    assert_null(strstr(text, "Stages of"));
    free(text);
}

static void test_page_when_a_limit_then_dashed_and_left_out_of_latency_and_scaling(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about", .bandwidth = true};
    add_run("limit", PERF_PUSH, 1, true);
    add_run("limit", PERF_PUSH, 2, true);
    add_run("reads", PERF_READ, 1, false);
    add_run("reads", PERF_READ, 2, false);
    report.runs[3].limited_by = "limit";
    report.runs[3].result.rounds[0].figures[PERF_FIGURE_bytes_per_s] = 1.5e9; // of 2 GB/s
    assert_true(isnan(perf_report_limit_share(&report, &report.runs[0])));
    assert_true(isnan(perf_report_limit_share(&report, &report.runs[2])));
    char *text = page();
    const char *throughput = strstr(text, "<h2>Throughput");
    const char *latency = strstr(text, "<h2>Latency");
    const char *scaling = strstr(text, "<h2>Scaling");
    assert_true(throughput != NULL && throughput < latency && latency < scaling);
    // A line and its sample in the legend; the dashed line of scaling is that in proportion.
    assert_int_equal(count_of(throughput, "line dashed") - count_of(latency, "line dashed"), 2);
    assert_int_equal(count_of(latency, "line dashed") - count_of(scaling, "line dashed"), 0);
    assert_int_equal(count_of(scaling, "line dashed"), 2);
    assert_int_equal(count_of(text, "<th>of the limit</th>"), 1);
    assert_int_equal(count_of(text, "<td>1.500</td><td>0.750</td></tr>"), 1);
    free(text);
}

static void test_page_when_no_roofline_then_it_says_so_and_draws_none(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about"};
    add_run("appends", PERF_APPEND, 1, false);
    char *text = page();
    assert_null(strstr(text, "Fraction of the roofline"));
    assert_int_equal(count_of(text, "The roofline was not measured in this run."), 1);
    assert_int_equal(count_of(strstr(text, "<h2>All figures"), "<td>-</td></tr>"), 1);
    free(text);
}

static void test_page_when_system_calls_were_counted_then_by_whom_else_why_not(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about"};
    add_run("appends", PERF_APPEND, 1, false);
    struct perf_round *round = &report.runs[0].result.rounds[0];
    round->figures[PERF_FIGURE_syscalls_per_op] = 31;
    round->figures[PERF_FIGURE_client_syscalls_per_op] = 11;
    round->figures[PERF_FIGURE_server_syscalls_per_op] = 19;
    round->figures[PERF_FIGURE_replica_cpu_s_per_gb] = 7;
    char *text = page();
    const char *figures = strstr(text, "<h2>All figures");
    assert_non_null(strstr(figures, "<th>system calls per op</th><th>by the client</th>"
                                    "<th>by the servers</th>"));
    assert_non_null(strstr(figures, "<td>31.0"));
    assert_non_null(strstr(figures, "<td>11.0"));
    assert_non_null(strstr(figures, "<td>19.0"));
    assert_non_null(strstr(figures, "<td>7.000"));
    assert_null(strstr(text, "System calls were not counted"));
    free(text);
    report = (struct perf_report){.suite = "suite", .about = "about"};
    add_run("appends", PERF_APPEND, 1, false);
    strcpy(report.runs[0].result.rounds[0].syscalls_why, "<no leave>");
    text = page();
    assert_non_null(strstr(text, "System calls were not counted: &lt;no leave&gt;"));
    free(text);
}

static void test_page_when_roofline_then_fractions_and_what_does_not_count(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about"};
    add_run("appends", PERF_APPEND, 1, false);
    add_roofline(true);
    add_run("appends", PERF_APPEND, 2, false);
    add_roofline(false);
    add_run("others", PERF_APPEND, 1, false);
    add_run("names", PERF_META, 1, false);
    report.runs[report.runs_count - 1].roofline_none = true;
    char *text = page();
    const char *plot = strstr(text, "aria-label=\"Fraction of the roofline\"");
    const char *figures = strstr(text, "<h2>All figures");
    assert_true(plot != NULL && figures != NULL);
    // Of what was measured only: half of an axis up to 1.
    assert_int_equal(count_of(plot, "width=\"310.00\""), 2);
    assert_int_equal(count_of(plot, "class=\"c0 hollow\""), 1);
    assert_int_equal(count_of(plot, "class=\"mark\""), 0);
    assert_non_null(strstr(plot, "appends, 1 client, operations/s: 0.500<"));
    assert_non_null(strstr(plot, "appends, 2 clients, operations/s: 0.500, not valid<"));
    assert_non_null(strstr(plot, "Not valid: appends, 2 clients: &lt;no tool&gt;"));
    assert_int_equal(count_of(figures, "<td>0.500</td></tr>"), 1);
    assert_int_equal(count_of(figures, "<td>0.500 <small>not valid</small></td></tr>"), 1);
    assert_int_equal(count_of(figures, "<td>-</td></tr>"), 1);
    assert_int_equal(count_of(figures, "<td>none</td></tr>"), 1);
    assert_null(strstr(text, "was not measured in this run"));
    assert_null(strstr(text, "nan"));
    free(text);
}

static void test_page_when_targets_then_they_are_marked_and_longer_is_better(void **state)
{
    (void)state;
    report = (struct perf_report){.suite = "suite", .about = "about", .targets = true};
    add_run(PERF_TARGETS_ALONE, PERF_APPEND, 1, false);
    add_roofline(true);
    struct perf_round *round = &report.runs[0].result.rounds[0];
    round->figures[PERF_FIGURE_p50_us] = 250;
    round->roofline.p50_us = 100;
    char *text = page();
    const char *plot = strstr(text, "aria-label=\"Fraction of the roofline\"");
    assert_non_null(plot);
    // At most 1.25 times the roofline's: at least 0.8 of it.
    assert_int_equal(count_of(plot, "class=\"mark\""), 1);
    assert_int_equal(count_of(plot, "<title>0.800</title>"), 1);
    assert_int_equal(count_of(plot, "<title>0.400</title>"), 1);
    assert_non_null(strstr(plot, "latency P50, us: 0.400, target 0.80<"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_when_appends_then_their_stages_are_drawn),
        cmocka_unit_test(test_page_when_nothing_was_appended_then_no_stages),
        cmocka_unit_test(test_page_when_a_limit_then_dashed_and_left_out_of_latency_and_scaling),
        cmocka_unit_test(test_page_when_no_roofline_then_it_says_so_and_draws_none),
        cmocka_unit_test(test_page_when_system_calls_were_counted_then_by_whom_else_why_not),
        cmocka_unit_test(test_page_when_roofline_then_fractions_and_what_does_not_count),
        cmocka_unit_test(test_page_when_targets_then_they_are_marked_and_longer_is_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
