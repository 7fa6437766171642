// SPDX-License-Identifier: Apache-2.0
// What the page says of the roofline: the fraction that each run reached.
//
// A fraction is what was reached over the roofline's, or the other way round where less is better: longer bars are better
// everywhere, and 1 is the roofline.
#include <math.h>
#include <string.h>

#include "perf/page.h"
#include "perf/svg.h"
#include "perf/targets.h"

// One bar: a figure of a run.
struct fraction {
    const struct perf_report_run *run;
    enum perf_figure figure;
    double reached, roofline;
    double value;  // NaN: not known
    double target; // as a fraction; NaN: none
};

static bool is_measured(const struct perf_report_run *run)
{
    return run->result.options.roofline;
}

static bool is_any_measured(const struct perf_report *report)
{
    bool any = false;
    for (size_t i = 0; i < report->runs_count; i++) {
        any |= is_measured(&report->runs[i]);
    }
    return any;
}

static bool is_more_better(enum perf_figure figure)
{
    return figure == PERF_FIGURE_ops_per_s || figure == PERF_FIGURE_bytes_per_s;
}

static struct fraction fraction_of(const struct perf_report_run *run, enum perf_figure figure)
{
    struct fraction fraction = {.run = run, .figure = figure, .target = NAN};
    fraction.reached = perf_result_spread(&run->result, figure).median;
    fraction.roofline = perf_result_roof(&run->result, figure);
    double share = fraction.reached / fraction.roofline;
    fraction.value = is_more_better(figure) ? share : share > 0 ? 1 / share : NAN;
    return fraction;
}

// What a run is measured by where no target says it: its rate; where that is given, the tail of its latency.
static enum perf_figure main_figure(const struct perf_report *report,
                                    const struct perf_report_run *run)
{
    return run->result.options.rate_per_s != 0 ? PERF_FIGURE_p999_us
           : report->bandwidth                 ? PERF_FIGURE_bytes_per_s
                                               : PERF_FIGURE_ops_per_s;
}

// The figures of a run that have targets, or else its main one. Returns their number.
static size_t fractions_of_run(const struct perf_report *report, const struct perf_report_run *run,
                               size_t room, struct fraction *ret)
{
    size_t count = 0;
    for (size_t i = 0; report->targets && i < perf_targets_count(); i++) {
        const struct perf_target *target = perf_target_at(i);
        if (count < room && target->bound > 0 && strcmp(target->group, run->group) == 0) {
            ret[count] = fraction_of(run, target->figure);
            ret[count++].target =
                is_more_better(target->figure) ? target->bound : 1 / target->bound;
        }
    }
    if (count == 0 && room > 0) {
        ret[count++] = fraction_of(run, main_figure(report, run));
    }
    return count;
}

static size_t fractions_of(const struct perf_report *report,
                           struct fraction ret[static PERF_POINTS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < report->runs_count; i++) {
        if (is_measured(&report->runs[i])) {
            count +=
                fractions_of_run(report, &report->runs[i], PERF_POINTS_MAX - count, &ret[count]);
        }
    }
    return count;
}

// ---- plot and table -----------------------------------------------------------------------------

static void set_level(const struct fraction *fraction, struct perf_level *level)
{
    char run[100];
    char value[40];
    char target[60] = "";
    bool is_valid = fraction->run->result.roofline_valid;
    perf_page_label(fraction->run, run, sizeof run);
    perf_page_number(fraction->value, value, sizeof value);
    if (!isnan(fraction->target)) {
        snprintf(target, sizeof target, ", target %.2f", fraction->target);
    }
    *level = (struct perf_level){
        .value = fraction->value, .mark = fraction->target, .hollow = !is_valid};
    snprintf(level->label, sizeof level->label, "%s, %s: %s%s%s", run,
             perf_figure_text(fraction->figure), value, target, is_valid ? "" : ", not valid");
}

static void write_row(FILE *out, const struct fraction *fraction)
{
    const double numbers[] = {perf_figure_shown(fraction->figure, fraction->reached),
                              perf_figure_shown(fraction->figure, fraction->roofline),
                              fraction->value, fraction->target};
    char text[100];
    perf_page_label(fraction->run, text, sizeof text);
    fputs("<tr>", out);
    perf_page_cell(out, "td", text);
    perf_page_cell(out, "td", perf_figure_text(fraction->figure));
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(numbers); i++) {
        perf_page_number(numbers[i], text, sizeof text);
        perf_page_cell(out, "td", text);
    }
    perf_page_cell(out, "td", fraction->run->result.roofline_valid ? "yes" : "not valid");
    fputs("</tr>\n", out);
}

static void write_table(FILE *out, const struct fraction *fractions, size_t count)
{
    static const char *const titles[] = {"run",      "figure", "reached", "roofline",
                                         "fraction", "target", "valid"};
    fputs("<div><table><tr>", out);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(titles); i++) {
        perf_page_cell(out, "th", titles[i]);
    }
    fputs("</tr>\n", out);
    for (size_t i = 0; i < count; i++) {
        write_row(out, &fractions[i]);
    }
    fputs("</table></div>\n", out);
}

// Where there are targets, their table has told it.
static void write_reasons(FILE *out, const struct perf_report *report)
{
    for (size_t i = 0; !report->targets && i < report->runs_count; i++) {
        const struct perf_report_run *run = &report->runs[i];
        char text[512];
        char label[100];
        if (is_measured(run) && !run->result.roofline_valid) {
            perf_page_label(run, label, sizeof label);
            snprintf(text, sizeof text, "Not valid: %s: %s", label, run->result.roofline_why);
            perf_page_cell(out, "p", text);
            putc('\n', out);
        }
    }
}

void perf_page_roofline(FILE *out, const struct perf_report *report)
{
    static struct perf_levels levels;
    struct fraction fractions[PERF_POINTS_MAX];
    size_t count = fractions_of(report, fractions);
    if (count == 0) {
        return;
    }
    levels = (struct perf_levels){.title = "Fraction of the roofline",
                                  .x_label = "fraction of the roofline",
                                  .line = 1,
                                  .levels_count = count};
    for (size_t i = 0; i < count; i++) {
        set_level(&fractions[i], &levels.levels[i]);
    }
    fputs("<h2>Fraction of the roofline</h2>\n<p>Of a null store of the same shape, measured by "
          "turns with each run: medians over rounds. Where less is better it is the roofline's "
          "figure over what was reached, so 1 is the roofline, and longer is better. A thick line "
          "is a target; a hollow bar says nothing, for its roofline is not "
          "valid.</p>\n<div class=\"pair\">\n",
          out);
    perf_levels_write(out, &levels);
    write_table(out, fractions, count);
    fputs("</div>\n", out);
    write_reasons(out, report);
}

// ---- all figures --------------------------------------------------------------------------------

void perf_page_roofline_cell(FILE *out, const struct perf_report *report,
                             const struct perf_report_run *run)
{
    char text[60];
    if (!is_measured(run)) {
        perf_page_cell(out, "td", run->roofline_none ? "none" : "-");
        return;
    }
    struct fraction fraction = fraction_of(run, main_figure(report, run));
    perf_page_number(fraction.value, text, sizeof text);
    fprintf(out, "<td>%s%s</td>", text,
            run->result.roofline_valid ? "" : " <small>not valid</small>");
}

const char *perf_page_roofline_words(const struct perf_report *report)
{
    return is_any_measured(report)
               ? "Share of the roofline: of its rate; in an open loop, of its P99.9. -: it was not "
                 "measured; none: of such a run there is none."
               : "The roofline was not measured in this run.";
}
