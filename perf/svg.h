// SPDX-License-Identifier: Apache-2.0
// Plots as SVG inside a page: axes, lines, ranges, legend. Colours come from the page's style, classes c0 to c7.
// Pure but for the FILE that is written to.
#ifndef PAWL_PERF_SVG_H
#define PAWL_PERF_SVG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PERF_TICKS_MAX 16
#define PERF_POINTS_MAX 16
#define PERF_SERIES_MAX 12

// From values to pixels.
struct perf_axis {
    double min; // of values; max > min, and min > 0 when log
    double max;
    double from; // pixel of min
    double to;   // pixel of max
    bool log;
};

// Sets min and max so that both values lie within, at round numbers. Linear ones begin at 0. Values that are
// no numbers, or not above 0 on a logarithmic axis, give an axis all the same.
void perf_axis_fit(struct perf_axis *axis, double least, double most);
// Values outside stay at the ends.
double perf_axis_at(const struct perf_axis *axis, double value);
// Round numbers between min and max, both included: 1, 2 or 5 times a power of ten; logarithmic: powers of ten.
size_t perf_axis_ticks(const struct perf_axis *axis, double ticks[static PERF_TICKS_MAX]);
// "0.5", "1500", "20k", "3M"
void perf_axis_label(double value, char *text, size_t text_bytes);

struct perf_point {
    double x;
    double y; // NaN: no point
    double min;
    double max; // a range when above min
};

struct perf_series {
    char label[48];
    struct perf_point points[PERF_POINTS_MAX];
    size_t points_count;
    bool dashed; // something to compare with, not measured
};

struct perf_plot {
    const char *title;
    const char *x_label;
    const char *y_label;
    bool y_log;
    double x_min; // pixels are shared out evenly from here
    double x_max;
    double x_ticks[PERF_TICKS_MAX];
    const char *x_texts[PERF_TICKS_MAX]; // NULL: the number
    size_t x_ticks_count;
    struct perf_series series[PERF_SERIES_MAX];
    size_t series_count;
};

void perf_plot_write(FILE *out, const struct perf_plot *plot);

#define PERF_PARTS_MAX 8

// A bar of parts that make up the whole.
struct perf_bar {
    char label[128];
    double parts[PERF_PARTS_MAX]; // none below 0
};

struct perf_bars {
    const char *title;
    const char *names[PERF_PARTS_MAX]; // of the parts
    size_t parts_count;
    struct perf_bar bars[PERF_POINTS_MAX];
    size_t bars_count;
};

// Bars of one length each, one under the other. One whose parts are all 0 is left empty.
void perf_bars_write(FILE *out, const struct perf_bars *bars);

// A bar from 0 to a value.
struct perf_level {
    char label[192];
    double value; // NaN: no bar
    double mark;  // NaN: none
    bool hollow;  // it does not count
};

struct perf_levels {
    const char *title;
    const char *x_label;
    double line; // across all bars, at this value
    struct perf_level levels[PERF_POINTS_MAX];
    size_t levels_count;
};

// One under the other, on one axis that begins at 0.
void perf_levels_write(FILE *out, const struct perf_levels *levels);

// Text as it may stand in HTML and SVG, in attributes too.
void perf_html_text(FILE *out, const char *text);

#endif
