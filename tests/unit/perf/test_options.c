// SPDX-License-Identifier: Apache-2.0
// Tests of perf/options: what is wrong is an error that names the option and what is right.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "perf/options.h"

static struct perf_options options;
static struct perf_options_error error;

// A command line of words that blanks part.
static int parse(const char *line)
{
    static char copy[512];
    char name[] = "pawl-perf";
    char *words[32] = {name};
    int count = 1;
    strncpy(copy, line, sizeof copy - 1);
    char *rest = copy;
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        if (*word != '\0') {
            words[count++] = word;
        }
    }
    error.text[0] = '\0';
    return perf_options_parse(count, words, &options, &error);
}

static void refused(const char *line, const char *text)
{
    struct perf_options before = options;
    assert_int_equal(parse(line), PAWL_EINVALID);
    if (strstr(error.text, text) == NULL || strchr(error.text, '\n') != NULL) {
        fail_msg("%s: '%s' does not speak of '%s'", line, error.text, text);
    }
    assert_memory_equal(&before, &options, sizeof options); // outputs stay untouched
}

static void test_options_when_nothing_is_said_then_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse("append"), 0);
    assert_int_equal(options.verb, PERF_APPEND);
    assert_int_equal(options.bytes, 1024);
    assert_int_equal(options.depth, 1);
    assert_int_equal(options.repeat, 5);
    assert_int_equal(options.rate_per_s, 0);
    assert_null(options.cluster);
    assert_int_equal(parse("read"), 0);
    assert_int_equal(options.bytes, 1 << 20);
}

static void test_options_when_given_then_taken_in_both_forms(void **state)
{
    (void)state;
    assert_int_equal(parse("append --bytes 64KiB --depth=8 --clients 4 --files 2 --duration 2s "
                           "--warm-up=0s --cluster /c --json --keep --ops 100"),
                     0);
    assert_int_equal(options.bytes, 65536);
    assert_int_equal(options.depth, 8);
    assert_int_equal(options.clients, 4);
    assert_int_equal(options.files, 2);
    assert_int_equal(options.duration_ms, 2000);
    assert_int_equal(options.warm_up_ms, 0);
    assert_int_equal(options.ops, 100);
    assert_string_equal(options.cluster, "/c");
    assert_true(options.json && options.keep);
    assert_true(perf_options_was_given(&options, "--depth"));
    assert_int_equal(parse("append --bytes 64K"), 0);
    assert_int_equal(options.bytes, 65536);
    assert_false(perf_options_was_given(&options, "--rate"));
}

static void test_options_when_rate_then_deeper_unless_said(void **state)
{
    (void)state;
    assert_int_equal(parse("append --rate 100"), 0);
    assert_int_equal(options.depth, 64);
    assert_int_equal(parse("append --rate half"), 0);
    assert_true(options.rate_half && options.rate_per_s == 0 && options.depth == 64);
    assert_int_equal(parse("append --rate half --rate 100"), 0); // the last one counts
    assert_true(!options.rate_half && options.rate_per_s == 100);
    assert_int_equal(parse("append --depth 2 --rate 100"), 0);
    assert_int_equal(options.depth, 2);
}

static void test_options_when_threads_then_clients_or_where_calls_wait_depth(void **state)
{
    (void)state;
    assert_int_equal(parse("append --threads 3"), 0);
    assert_true(options.clients == 3 && options.depth == 1);
    assert_true(perf_options_was_given(&options, "--clients"));
    assert_false(perf_options_was_given(&options, "--depth"));
    assert_int_equal(parse("push --threads 2 --clients 5"), 0); // the last one counts
    assert_int_equal(options.clients, 5);
    assert_int_equal(parse("write --threads 4 --rate 100"), 0);
    assert_true(options.clients == 1 && options.depth == 4);
    assert_int_equal(parse("meta --threads=6"), 0);
    assert_int_equal(options.depth, 6);
    refused("append --threads 257", "--threads 257: right is 1 to 256");
    refused("mixed --threads 0", "--threads 0: right is 1 to 4096");
    refused("report --threads 2", "--threads is no option of report");
}

static void test_options_when_failover_then_a_load_is_asked_for(void **state)
{
    (void)state;
    assert_int_equal(parse("failover --repeat 2 --bytes 2KiB --ack replicated"), 0);
    assert_false(perf_options_is_load(&options));
    const char *const loads[] = {"failover --clients 2",  "failover --threads 2",
                                 "failover --depth 4",    "failover --rate half",
                                 "failover --warm-up 0s", "failover --duration 2s",
                                 "failover --files 1"};
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
        assert_int_equal(parse(loads[i]), 0);
        assert_true(perf_options_is_load(&options));
    }
    assert_int_equal(parse("append"), 0);
    assert_true(perf_options_is_load(&options));
}

static void test_options_when_value_is_wrong_then_says_what_is_right(void **state)
{
    (void)state;
    assert_int_equal(parse("append"), 0);
    refused("append --bytes 1x", "--bytes 1x: right is a size");
    refused("append --bytes 1kb", "64KiB");
    refused("append --bytes 0", "--bytes 0: right is 1 to");
    refused("append --bytes 17MiB", "16777216");
    refused("append --duration 20", "such as 500ms, 20s or 2min");
    refused("append --duration 1ms", "--duration 1ms: right is 10 to");
    refused("append --clients -1", "--clients -1: right is a whole number");
    refused("append --clients 1s", "whole number without a unit");
    refused("append --clients 99999999999999999999999", "whole number");
    refused("append --clients 257", "1 to 256");
    refused("append --rate 0", "--rate 0: right is 1 to");
    refused("append --rate 1e3", "--rate 1e3");
    refused("append --rate third", "or half");
    refused("append --ack replicate", "right is durable|replicated");
    refused("read --ack replicated", "--ack");
    refused("append --ack dur", "right is durable");
    refused("append --ack=", "right is durable");
    refused("report --suite all", "quick|reference|gfs");
    refused("append --cluster=", "--cluster: right is a DIR");
}

static void test_options_when_words_are_wrong_then_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("append"), 0);
    refused("", "a verb is missing");
    refused("appends", "no verb appends");
    refused("append file", "no argument file");
    refused("write --roofline", "--roofline is no option of write");
    refused("push --ack durable", "--ack is no option of push");
    refused("push --bytes 8KiB", "above 8192");
    refused("append --byte 5", "no option --byte"); // no abbreviations
    refused("append --depth", "--depth needs a value");
    refused("append --json=1", "--json takes no value");
    refused("meta --bytes 5", "--bytes is no option of meta");
    refused("failover --ops 5", "--ops is no option of failover");
}

static void test_options_when_they_do_not_fit_together_then_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("append"), 0);
    refused("append --replicas 4", "--servers 3: right is at least the number of copies, 4");
    refused("append --cluster c --servers 4", "--servers is for a cluster that is started");
    refused("append --cluster c --dir d", "--dir is for a cluster that is started");
    refused("append --chunk-bytes 64KiB --bytes 16385", "at most 16384");
    refused("append --chunk-bytes 65537", "multiple of 4096");
    refused("read --chunk-bytes 1MiB", "--record-bytes 1048576: right is at most 262144");
    refused("read --file-bytes 64KiB", "--file-bytes 65536");
    refused("append --files 3 --clients 2", "--files 3: a client takes one");
    refused("read --clients 64 --depth 64", "product is the number of threads");
    refused("failover --replicas 1", "right is 2 to 8");
    assert_int_equal(parse("append --clients 64 --depth 64"), 0); // no thread for each there
    assert_int_equal(parse("append --replicas 4 --servers 4"), 0);
    assert_int_equal(parse("append --replicas 4 --cluster c"), 0);
    assert_int_equal(parse("meta --servers 1"), 0);
}

static void test_options_when_mix_then_shares_add_up(void **state)
{
    (void)state;
    assert_int_equal(parse("mixed --mix append=20,read=30,write=40,stat=10"), 0);
    assert_int_equal(options.mix[PERF_KIND_APPEND], 20);
    assert_int_equal(options.mix[PERF_KIND_STAT], 10);
    assert_int_equal(parse("mixed --mix read=100"), 0);
    assert_int_equal(options.mix[PERF_KIND_APPEND], 0);
    refused("mixed --mix append=50", "add up to 100");
    refused("mixed --mix append=50,read=51", "add up to 100");
    refused("mixed --mix create=100", "append, read, write and stat");
    refused("mixed --mix append", "append=70,read=30");
    refused("mixed --mix append=100,", "append=70,read=30");
    refused("mixed --mix append=18446744073709551516,read=200", "add up to 100");
}

static void test_options_when_help_then_nothing_else_is_checked(void **state)
{
    (void)state;
    assert_int_equal(parse("append --bytes --help"), 0);
    assert_true(options.help);
    assert_int_equal(options.verb, PERF_APPEND);
    assert_int_equal(parse("--help"), 0);
    assert_int_equal(options.verb, PERF_VERBS_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_when_nothing_is_said_then_defaults),
        cmocka_unit_test(test_options_when_given_then_taken_in_both_forms),
        cmocka_unit_test(test_options_when_rate_then_deeper_unless_said),
        cmocka_unit_test(test_options_when_threads_then_clients_or_where_calls_wait_depth),
        cmocka_unit_test(test_options_when_failover_then_a_load_is_asked_for),
        cmocka_unit_test(test_options_when_value_is_wrong_then_says_what_is_right),
        cmocka_unit_test(test_options_when_words_are_wrong_then_refused),
        cmocka_unit_test(test_options_when_they_do_not_fit_together_then_refused),
        cmocka_unit_test(test_options_when_mix_then_shares_add_up),
        cmocka_unit_test(test_options_when_help_then_nothing_else_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
