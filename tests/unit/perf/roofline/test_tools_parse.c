// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/tools_parse: what fi_pingpong and fio print.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/roofline/tools.h"

static const char pingpong[] =
    "bytes   #sent   #ack     total       time     MB/sec    usec/xfer   Mxfers/sec\n"
    "1k      2k      =2k      4.2m        0.69s      6.46     173.35       0.01\n";

static void test_pingpong_when_its_table_then_microseconds(void **state)
{
    (void)state;
    double us = 0;
    assert_int_equal(tools_pingpong_parse(pingpong, &us), 0);
    assert_true(us == 173.35);
}

static void test_pingpong_when_anything_else_then_refused(void **state)
{
    (void)state;
    double us = 1;
    assert_int_not_equal(tools_pingpong_parse("", &us), 0);
    assert_int_not_equal(tools_pingpong_parse("a b c d e f 12.5\n", &us), 0); // no heading
    assert_int_not_equal(tools_pingpong_parse("bytes #sent usec/xfer\n1 2 3\n", &us), 0);
    assert_int_not_equal(tools_pingpong_parse("bytes usec/xfer\n1 2 3 4 5 6 0\n", &us), 0);
    assert_int_not_equal(tools_pingpong_parse("bytes usec/xfer\n1 2 3 4 5 6 nan\n", &us), 0);
    assert_true(us == 1);
}

static void test_fio_when_its_json_then_operations_of_that_side(void **state)
{
    (void)state;
    double per_s = 0;
    const char text[] = "fio: a warning\n{\"jobs\": [{\"error\": 0, \"read\": {\"iops\": 12.5},"
                        " \"write\": {\"iops\": 25}}]}\n";
    assert_int_equal(tools_fio_parse(text, true, &per_s), 0);
    assert_true(per_s == 12.5);
    assert_int_equal(tools_fio_parse(text, false, &per_s), 0);
    assert_true(per_s == 25);
}

static void test_fio_when_it_failed_or_anything_else_then_refused(void **state)
{
    (void)state;
    double per_s = 1;
    const char *const texts[] = {
        "",
        "{",
        "{}",
        "[]",
        "{\"jobs\": []}",
        "{\"jobs\": [{\"error\": 5, \"write\": {\"iops\": 25}}]}",
        "{\"jobs\": [{\"write\": {\"iops\": 25}}]}",
        "{\"jobs\": [{\"error\": 0, \"write\": {\"iops\": \"25\"}}]}",
        "{\"jobs\": [{\"error\": 0, \"write\": {\"iops\": 0}}]}",
        "{\"jobs\": {\"error\": 0}}",
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(texts); i++) {
        assert_int_not_equal(tools_fio_parse(texts[i], false, &per_s), 0);
    }
    assert_true(per_s == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pingpong_when_its_table_then_microseconds),
        cmocka_unit_test(test_pingpong_when_anything_else_then_refused),
        cmocka_unit_test(test_fio_when_its_json_then_operations_of_that_side),
        cmocka_unit_test(test_fio_when_it_failed_or_anything_else_then_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
