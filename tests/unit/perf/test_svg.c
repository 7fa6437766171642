// SPDX-License-Identifier: Apache-2.0
// Tests of perf/svg: scaling, ticks, and that nothing of a label becomes markup.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "perf/svg.h"

static bool near(double one, double two)
{
    return fabs(one - two) <= 1e-9 * (1 + fabs(two));
}

static void test_axis_when_linear_then_pixels_in_proportion(void **state)
{
    (void)state;
    struct perf_axis axis = {.min = 0, .max = 10, .from = 300, .to = 100};
    assert_true(near(perf_axis_at(&axis, 0), 300));
    assert_true(near(perf_axis_at(&axis, 10), 100));
    assert_true(near(perf_axis_at(&axis, 2.5), 250));
    assert_true(near(perf_axis_at(&axis, -5), 300)); // outside: at the end
    assert_true(near(perf_axis_at(&axis, 50), 100));
}

static void test_axis_when_logarithmic_then_decades_are_equal(void **state)
{
    (void)state;
    struct perf_axis axis = {.min = 1, .max = 10000, .from = 0, .to = 400, .log = true};
    assert_true(near(perf_axis_at(&axis, 1), 0));
    assert_true(near(perf_axis_at(&axis, 10), 100));
    assert_true(near(perf_axis_at(&axis, 1000), 300));
    assert_true(near(perf_axis_at(&axis, 0), 0));
}

static void test_axis_when_fit_then_all_values_lie_within(void **state)
{
    (void)state;
    static const double most[] = {0.00013, 0.7, 1, 9.99, 10, 4321, 123456789};
    for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
        double ticks[PERF_TICKS_MAX];
        struct perf_axis axis = {0};
        perf_axis_fit(&axis, most[i] / 3, most[i]);
        assert_true(axis.min == 0 && axis.max >= most[i] && axis.max <= 2 * most[i]);
        size_t count = perf_axis_ticks(&axis, ticks);
        assert_true(count >= 3 && count <= 12);
        assert_true(near(ticks[0], axis.min) && near(ticks[count - 1], axis.max));
        struct perf_axis decades = {.log = true};
        perf_axis_fit(&decades, most[i] / 3, most[i]);
        assert_true(decades.min <= most[i] / 3 && decades.max >= most[i] * 0.999999);
        assert_true(decades.max > decades.min);
    }
}

static void test_axis_when_values_are_none_then_an_axis_all_the_same(void **state)
{
    (void)state;
    static const double odd[][2] = {{INFINITY, -INFINITY}, {NAN, NAN}, {0, 0}, {-5, -1}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        for (int log = 0; log < 2; log++) {
            double ticks[PERF_TICKS_MAX];
            struct perf_axis axis = {.to = 1, .log = log};
            perf_axis_fit(&axis, odd[i][0], odd[i][1]);
            assert_true(isfinite(axis.min) && isfinite(axis.max) && axis.max > axis.min);
            assert_true(perf_axis_ticks(&axis, ticks) >= 2);
            assert_true(isfinite(perf_axis_at(&axis, 0.5)));
        }
    }
}

static void test_ticks_when_linear_then_round(void **state)
{
    (void)state;
    double ticks[PERF_TICKS_MAX];
    struct perf_axis axis = {.min = 0, .max = 10};
    assert_int_equal(perf_axis_ticks(&axis, ticks), 6);
    for (int i = 0; i < 6; i++) {
        assert_true(near(ticks[i], 2 * i));
    }
    struct perf_axis decades = {.min = 10, .max = 1e5, .log = true};
    assert_int_equal(perf_axis_ticks(&decades, ticks), 5);
    assert_true(near(ticks[4], 1e5));
}

static void test_label_when_large_then_short(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } labels[] = {{0, "0"},       {0.25, "0.25"}, {1500, "1500"},
                  {20000, "20k"}, {3e6, "3M"},    {2.5e9, "2.5G"}};
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        char text[32];
        perf_axis_label(labels[i].value, text, sizeof text);
        assert_string_equal(text, labels[i].text);
    }
}

// What the function writes; to be freed.
static char *written(void (*write)(FILE *out, const void *what), const void *what)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    write(out, what);
    fclose(out);
    return text;
}

static void write_html(FILE *out, const void *what)
{
    perf_html_text(out, what);
}

static void write_plot(FILE *out, const void *what)
{
    perf_plot_write(out, what);
}

static void test_html_when_text_is_markup_then_escaped(void **state)
{
    (void)state;
    char *text = written(write_html, "a<b>&\"c\"'\x01 \xc3\xa9");
    assert_string_equal(text, "a&lt;b&gt;&amp;&quot;c&quot;&#39;  \xc3\xa9");
    free(text);
}

static void test_plot_when_values_are_missing_then_no_nan_is_written(void **state)
{
    (void)state;
    static struct perf_plot plot = {
        .title = "<title>",
        .x_label = "x",
        .y_label = "y",
        .x_min = 1,
        .x_max = 1, // one place only
        .x_ticks = {1},
        .x_ticks_count = 1,
        .series = {{.label = "a & b",
                    .points = {{1, NAN, NAN, NAN}, {1, 5, 4, 6}},
                    .points_count = 2},
                   {.label = "none", .points = {{1, NAN, NAN, NAN}}, .points_count = 1}},
        .series_count = 2,
    };
    for (int log = 0; log < 2; log++) {
        plot.y_log = log;
        char *text = written(write_plot, &plot);
        assert_null(strstr(text, "nan"));
        assert_null(strstr(text, "inf"));
        assert_null(strstr(text, "<title>\""));
        assert_non_null(strstr(text, "a &amp; b"));
        assert_non_null(strstr(text, "<circle"));
        assert_non_null(strstr(text, "class=\"range\""));
        free(text);
    }
}

static void write_bars(FILE *out, const void *what)
{
    perf_bars_write(out, what);
}

static void test_bars_when_parts_then_in_proportion(void **state)
{
    (void)state;
    static const struct perf_bars bars = {
        .title = "bars",
        .names = {"a", "b & c"},
        .parts_count = 2,
        .bars = {{.label = "<one>", .parts = {1, 3}}, {.label = "none", .parts = {0, 0}}},
        .bars_count = 2,
    };
    char *text = written(write_bars, &bars);
    assert_non_null(strstr(text, "a: 25.0 %"));
    assert_non_null(strstr(text, "b &amp; c: 75.0 %"));
    assert_non_null(strstr(text, "&lt;one&gt;"));
    assert_null(strstr(text, "nan"));
    free(text);
}

static void write_levels(FILE *out, const void *what)
{
    perf_levels_write(out, what);
}

static void test_levels_when_written_then_bars_from_0_on_one_axis(void **state)
{
    (void)state;
    static const struct perf_levels levels = {
        .title = "<levels>",
        .x_label = "share",
        .line = 1,
        .levels = {{.label = "one", .value = 0.5, .mark = 0.8},
                   {.label = "two", .value = 2, .mark = NAN, .hollow = true},
                   {.label = "none", .value = NAN, .mark = NAN}},
        .levels_count = 3,
    };
    char *text = written(write_levels, &levels);
    assert_non_null(strstr(text, "aria-label=\"&lt;levels&gt;\""));
    assert_non_null(strstr(text, "class=\"c0\" x=\"0\" y=\"20.0\" width=\"155.00\""));
    assert_non_null(strstr(text, "class=\"c0 hollow\" x=\"0\" y=\"76.0\" width=\"620.00\""));
    assert_non_null(strstr(text, "class=\"mark\" d=\"M248.00 17.0v30\""));
    assert_non_null(strstr(text, "class=\"axis\" d=\"M310.0 17.0v30\""));
    assert_non_null(strstr(text, ">none</text>"));
    assert_null(strstr(text, "nan"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axis_when_linear_then_pixels_in_proportion),
        cmocka_unit_test(test_axis_when_logarithmic_then_decades_are_equal),
        cmocka_unit_test(test_axis_when_fit_then_all_values_lie_within),
        cmocka_unit_test(test_axis_when_values_are_none_then_an_axis_all_the_same),
        cmocka_unit_test(test_ticks_when_linear_then_round),
        cmocka_unit_test(test_label_when_large_then_short),
        cmocka_unit_test(test_html_when_text_is_markup_then_escaped),
        cmocka_unit_test(test_plot_when_values_are_missing_then_no_nan_is_written),
        cmocka_unit_test(test_bars_when_parts_then_in_proportion),
        cmocka_unit_test(test_levels_when_written_then_bars_from_0_on_one_axis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
