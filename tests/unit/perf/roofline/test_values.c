// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/values.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "perf/roofline/roofline.h"

static void test_bytes_when_either_spelling_then_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {
        {"0", 0},
        {"1024", 1024},
        {"64B", 64},
        {"64K", 64 << 10},
        {"64KiB", 64 << 10},
        {"1M", 1 << 20},
        {"1 MiB", 1 << 20},
        {"3G", UINT64_C(3) << 30},
        {"3GiB", UINT64_C(3) << 30},
        {"2T", UINT64_C(2) << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    static const char *const wrong[] = {
        "",      "K",         "1k",
        "1KB",   "1Ki",       "1KK",
        "-1K",   "1.5M",      "18446744073709551616",
        "1KiBK", "17000000T", "0000000000000000000000000000000000000000000000000001"};
    uint64_t value;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(right); i++) {
        assert_int_equal(roofline_bytes_parse(right[i].text, &value), 0);
        assert_true(value == right[i].bytes);
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        assert_int_equal(roofline_bytes_parse(wrong[i], &value), PAWL_EINVALID);
    }
}

static void test_ms_when_bare_then_milliseconds(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } right[] = {{"2000", 2000}, {"500ms", 500}, {"4s", 4000}, {"2 min", 120000}, {"0", 0}};
    static const char *const wrong[] = {"",
                                        "s",
                                        "4S",
                                        "4m",
                                        "1.5s",
                                        "-1",
                                        "99999999999999999999",
                                        "0000000000000000000000000000000000000000000000000001"};
    uint64_t value;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(right); i++) {
        assert_int_equal(roofline_ms_parse(right[i].text, &value), 0);
        assert_true(value == right[i].ms);
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        assert_int_equal(roofline_ms_parse(wrong[i], &value), PAWL_EINVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_when_either_spelling_then_the_same),
        cmocka_unit_test(test_ms_when_bare_then_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
