// SPDX-License-Identifier: Apache-2.0
// Plots as SVG.
#include "perf/svg.h"

#include <math.h>
#include <string.h>

#include "base/util.h"

#define WIDTH 640
#define HEIGHT 360
#define LEFT 70
#define RIGHT 20
#define TOP 16
#define BOTTOM 56
#define LEGEND_LINE 18
#define BAR_HEIGHT 24
#define COLOURS 8u

// ---- axes ---------------------------------------------------------------------------------------

// 1, 2 or 5 times a power of ten, so that about five steps cover the span.
static double round_step(double span)
{
    double power = pow(10, floor(log10(span / 5)));
    double rest = span / 5 / power;
    return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10);
}

void perf_axis_fit(struct perf_axis *axis, double least, double most)
{
    if (axis->log) {
        bool usable = isfinite(least) && isfinite(most) && least > 0 && most >= least;
        axis->min = usable ? pow(10, floor(log10(least))) : 1;
        axis->max = usable ? pow(10, ceil(log10(most))) : 10;
        if (axis->max <= axis->min) {
            axis->max = axis->min * 10;
        }
        return;
    }
    axis->min = 0;
    axis->max = isfinite(most) && most > 0 ? most : 1;
    double step = round_step(axis->max);
    axis->max = ceil(axis->max / step) * step;
}

double perf_axis_at(const struct perf_axis *axis, double value)
{
    double inside = value < axis->min ? axis->min : value > axis->max ? axis->max : value;
    double share = axis->log ? log(inside / axis->min) / log(axis->max / axis->min)
                             : (inside - axis->min) / (axis->max - axis->min);
    return axis->from + share * (axis->to - axis->from);
}

size_t perf_axis_ticks(const struct perf_axis *axis, double ticks[static PERF_TICKS_MAX])
{
    size_t count = 0;
    if (axis->log) {
        for (double value = axis->min; value <= axis->max * 1.0001 && count < PERF_TICKS_MAX;
             value *= 10) {
            ticks[count++] = value;
        }
        return count;
    }
    double step = round_step(axis->max - axis->min);
    double first = ceil(axis->min / step - 1e-9);
    for (size_t i = 0; count < PERF_TICKS_MAX; i++) {
        double value = (first + (double)i) * step;
        if (value > axis->max + step * 1e-6) {
            break;
        }
        ticks[count++] = value;
    }
    return count;
}

void perf_axis_label(double value, char *text, size_t text_bytes)
{
    static const struct {
        double factor;
        const char *unit;
    } units[] = {{1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(units); i++) {
        // 1500 is easier to read than 1.5k.
        if (value >= units[i].factor * (i + 1 == PAWL_ARRAY_COUNT(units) ? 10 : 1)) {
            snprintf(text, text_bytes, "%g%s", value / units[i].factor, units[i].unit);
            return;
        }
    }
    snprintf(text, text_bytes, "%g", value);
}

// ---- text ---------------------------------------------------------------------------------------

void perf_html_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            // No page holds a control character; bytes above are UTF-8, or what a browser makes of them.
            putc((unsigned char)*text < 0x20 ? ' ' : *text, out);
        }
    }
}

static void write_text(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    perf_html_text(out, text);
    fputs("</text>\n", out);
}

// ---- parts --------------------------------------------------------------------------------------

static struct perf_axis y_axis(const struct perf_plot *plot)
{
    struct perf_axis axis = {.from = HEIGHT - BOTTOM, .to = TOP, .log = plot->y_log};
    double least = INFINITY;
    double most = -INFINITY;
    for (size_t i = 0; i < plot->series_count; i++) {
        for (size_t k = 0; k < plot->series[i].points_count; k++) {
            const struct perf_point *point = &plot->series[i].points[k];
            if (!isnan(point->y)) {
                least = fmin(least, fmin(point->y, point->min));
                most = fmax(most, fmax(point->y, point->max));
            }
        }
    }
    perf_axis_fit(&axis, least, most);
    return axis;
}

static void write_axes(FILE *out, const struct perf_plot *plot, const struct perf_axis *x,
                       const struct perf_axis *y)
{
    double ticks[PERF_TICKS_MAX];
    char text[32];
    size_t count = perf_axis_ticks(y, ticks);
    for (size_t i = 0; i < count; i++) {
        double at = perf_axis_at(y, ticks[i]);
        fprintf(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, at, WIDTH - RIGHT);
        perf_axis_label(ticks[i], text, sizeof text);
        write_text(out, LEFT - 8, at + 4, "end", text);
    }
    for (size_t i = 0; i < plot->x_ticks_count; i++) {
        double at = perf_axis_at(x, plot->x_ticks[i]);
        fprintf(out, "<path class=\"axis\" d=\"M%.1f %dv6\"/>\n", at, HEIGHT - BOTTOM);
        perf_axis_label(plot->x_ticks[i], text, sizeof text);
        write_text(out, at, HEIGHT - BOTTOM + 20, "middle",
                   plot->x_texts[i] != NULL ? plot->x_texts[i] : text);
    }
    fprintf(out, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM,
            WIDTH - RIGHT);
    write_text(out, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - BOTTOM + 42, "middle", plot->x_label);
    fprintf(out, "<g transform=\"translate(16 %.1f) rotate(-90)\">", (TOP + HEIGHT - BOTTOM) / 2.0);
    write_text(out, 0, 0, "middle", plot->y_label);
    fputs("</g>\n", out);
}

// Behind the last colour they begin again, dotted.
static const char *line_class(const struct perf_series *series, size_t number)
{
    return series->dashed ? "line dashed" : number >= COLOURS ? "line dotted" : "line";
}

static void write_series(FILE *out, const struct perf_series *series, size_t number,
                         const struct perf_axis *x, const struct perf_axis *y)
{
    bool begun = false;
    fprintf(out, "<g class=\"c%zu\"><path class=\"%s\" d=\"", number % COLOURS,
            line_class(series, number));
    for (size_t i = 0; i < series->points_count; i++) {
        const struct perf_point *point = &series->points[i];
        if (!isnan(point->y)) {
            fprintf(out, "%s%.1f %.1f", begun ? "L" : "M", perf_axis_at(x, point->x),
                    perf_axis_at(y, point->y));
            begun = true;
        }
    }
    fputs(begun ? "\"/>\n" : "M0 0\"/>\n", out);
    for (size_t i = 0; i < series->points_count && !series->dashed; i++) {
        const struct perf_point *point = &series->points[i];
        if (isnan(point->y)) {
            continue;
        }
        double at = perf_axis_at(x, point->x);
        if (point->max > point->min) {
            fprintf(out, "<path class=\"range\" d=\"M%.1f %.1fV%.1fm-4 0h8M%.1f %.1fh8\"/>\n", at,
                    perf_axis_at(y, point->min), perf_axis_at(y, point->max), at - 4,
                    perf_axis_at(y, point->min));
        }
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\"><title>", at,
                perf_axis_at(y, point->y));
        perf_html_text(out, series->label);
        fprintf(out, ": %g</title></circle>\n", point->y);
    }
    fputs("</g>\n", out);
}

static void write_legend(FILE *out, const struct perf_plot *plot)
{
    for (size_t i = 0; i < plot->series_count; i++) {
        double y = HEIGHT + 8 + (double)(i / 2) * LEGEND_LINE;
        double x = LEFT + (double)(i % 2) * (WIDTH - LEFT - RIGHT) / 2.0;
        fprintf(out, "<g class=\"c%zu\"><path class=\"%s\" d=\"M%.1f %.1fh24\"/></g>\n",
                i % COLOURS, line_class(&plot->series[i], i), x, y - 4);
        write_text(out, x + 30, y, "start", plot->series[i].label);
    }
}

void perf_plot_write(FILE *out, const struct perf_plot *plot)
{
    struct perf_axis x = {
        .min = plot->x_min, .max = plot->x_max, .from = LEFT + 16, .to = WIDTH - RIGHT - 16};
    struct perf_axis y = y_axis(plot);
    if (x.max <= x.min) { // one place only
        x.max = x.min + 1;
    }
    int height = HEIGHT + (int)(plot->series_count + 1) / 2 * LEGEND_LINE;
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, height);
    perf_html_text(out, plot->title);
    fputs("\" xmlns=\"http://www.w3.org/2000/svg\">\n", out);
    write_axes(out, plot, &x, &y);
    for (size_t i = 0; i < plot->series_count; i++) {
        write_series(out, &plot->series[i], i, &x, &y);
    }
    write_legend(out, plot);
    fputs("</svg>\n", out);
}

// ---- bars of parts ------------------------------------------------------------------------------

static void write_bar(FILE *out, const struct perf_bars *bars, const struct perf_bar *bar, double y)
{
    double sum = 0;
    double x = 0;
    for (size_t i = 0; i < bars->parts_count; i++) {
        sum += bar->parts[i];
    }
    write_text(out, 0, y + 14, "start", bar->label);
    for (size_t i = 0; i < bars->parts_count && sum > 0; i++) {
        double width = bar->parts[i] / sum * WIDTH;
        fprintf(out,
                "<rect class=\"c%zu\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\"><title>",
                i % COLOURS, x, y + 20, width, BAR_HEIGHT);
        perf_html_text(out, bars->names[i]);
        fprintf(out, ": %.1f %%</title></rect>\n", 100 * bar->parts[i] / sum);
        x += width;
    }
}

void perf_bars_write(FILE *out, const struct perf_bars *bars)
{
    int step = BAR_HEIGHT + 32;
    int end = (int)bars->bars_count * step;
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH,
            end + LEGEND_LINE + 8);
    perf_html_text(out, bars->title);
    fputs("\" xmlns=\"http://www.w3.org/2000/svg\">\n", out);
    for (size_t i = 0; i < bars->bars_count; i++) {
        write_bar(out, bars, &bars->bars[i], (double)i * step);
    }
    for (size_t i = 0; i < bars->parts_count; i++) {
        double x = (double)i * WIDTH / (double)bars->parts_count;
        fprintf(out, "<rect class=\"c%zu\" x=\"%.1f\" y=\"%d\" width=\"14\" height=\"14\"/>\n",
                i % COLOURS, x, end + 6);
        write_text(out, x + 20, end + 18, "start", bars->names[i]);
    }
    fputs("</svg>\n", out);
}

// ---- bars on an axis ----------------------------------------------------------------------------

#define LEVEL_STEP (BAR_HEIGHT + 32)

static struct perf_axis levels_axis(const struct perf_levels *levels)
{
    struct perf_axis axis = {.from = 0, .to = WIDTH - RIGHT};
    double most = levels->line;
    for (size_t i = 0; i < levels->levels_count; i++) {
        most =
            fmax(most, fmax(levels->levels[i].value, levels->levels[i].mark)); // of NaN the other
    }
    perf_axis_fit(&axis, 0, most);
    return axis;
}

// Lines run beside bars only, so that none goes through the text above.
static void write_level(FILE *out, const struct perf_level *level, const struct perf_axis *axis,
                        double line, double y)
{
    double ticks[PERF_TICKS_MAX];
    size_t count = perf_axis_ticks(axis, ticks);
    write_text(out, 0, y + 14, "start", level->label);
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "<path class=\"grid\" d=\"M%.1f %.1fv%d\"/>\n", perf_axis_at(axis, ticks[i]),
                y + 20, BAR_HEIGHT);
    }
    if (!isnan(level->value)) {
        fprintf(out,
                "<rect class=\"c0%s\" x=\"0\" y=\"%.1f\" width=\"%.2f\" height=\"%d\"><title>%.3f"
                "</title></rect>\n",
                level->hollow ? " hollow" : "", y + 20, perf_axis_at(axis, level->value),
                BAR_HEIGHT, level->value);
    }
    fprintf(out, "<path class=\"axis\" d=\"M%.1f %.1fv%d\"/>\n", perf_axis_at(axis, line), y + 17,
            BAR_HEIGHT + 6);
    if (!isnan(level->mark)) {
        fprintf(out, "<path class=\"mark\" d=\"M%.2f %.1fv%d\"><title>%.3f</title></path>\n",
                perf_axis_at(axis, level->mark), y + 17, BAR_HEIGHT + 6, level->mark);
    }
}

void perf_levels_write(FILE *out, const struct perf_levels *levels)
{
    struct perf_axis axis = levels_axis(levels);
    double ticks[PERF_TICKS_MAX];
    char text[32];
    size_t count = perf_axis_ticks(&axis, ticks);
    int end = (int)levels->levels_count * LEVEL_STEP;
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, end + 40);
    perf_html_text(out, levels->title);
    fputs("\" xmlns=\"http://www.w3.org/2000/svg\">\n", out);
    for (size_t i = 0; i < count; i++) {
        double at = perf_axis_at(&axis, ticks[i]);
        perf_axis_label(ticks[i], text, sizeof text);
        write_text(out, at, end + 10, i == 0 ? "start" : "middle", text);
    }
    for (size_t i = 0; i < levels->levels_count; i++) {
        write_level(out, &levels->levels[i], &axis, levels->line, (double)i * LEVEL_STEP);
    }
    write_text(out, (WIDTH - RIGHT) / 2.0, end + 32, "middle", levels->x_label);
    fputs("</svg>\n", out);
}
