// SPDX-License-Identifier: Apache-2.0
// Tests of the page of a report: what is drawn of which run.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/report.h"

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
    char *text = page();
    const char *throughput = strstr(text, "<h2>Throughput");
    const char *latency = strstr(text, "<h2>Latency");
    const char *scaling = strstr(text, "<h2>Scaling");
    assert_true(throughput != NULL && throughput < latency && latency < scaling);
    // A line and its sample in the legend; the dashed line of scaling is that in proportion.
    assert_int_equal(count_of(throughput, "line dashed") - count_of(latency, "line dashed"), 2);
    assert_int_equal(count_of(latency, "line dashed") - count_of(scaling, "line dashed"), 0);
    assert_int_equal(count_of(scaling, "line dashed"), 2);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_when_appends_then_their_stages_are_drawn),
        cmocka_unit_test(test_page_when_nothing_was_appended_then_no_stages),
        cmocka_unit_test(test_page_when_a_limit_then_dashed_and_left_out_of_latency_and_scaling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
