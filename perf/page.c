// SPDX-License-Identifier: Apache-2.0
// The page of a report: plots, with the numbers beside each.
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "perf/page.h"
#include "perf/svg.h"
#include "perf/targets.h"

// Colours that are told apart by people who see few of them (Okabe and Ito).
static const char style[] =
    ":root{color-scheme:light dark;--ink:#222;--paper:#fff;--faint:#ddd;--soft:#666}\n"
    "@media(prefers-color-scheme:dark){\n"
    ":root{--ink:#ddd;--paper:#181818;--faint:#3a3a3a;--soft:#999}}\n"
    "body{font:16px/1.5 sans-serif;color:var(--ink);background:var(--paper);\n"
    "max-width:76rem;margin:2rem auto;padding:0 1rem}\n"
    "h1{font-size:1.6rem}\n"
    "h2{font-size:1.25rem;margin-top:2.5rem}\n"
    "p{max-width:46rem}\n"
    ".pair{display:flex;flex-wrap:wrap;gap:2rem;align-items:flex-start}\n"
    ".pair>svg{flex:1 1 34rem;max-width:44rem}\n"
    ".pair>div{flex:0 1 auto;overflow-x:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--faint)}\n"
    "th:first-child,td:first-child{text-align:left}\n"
    "td small{color:var(--soft);white-space:nowrap}\n"
    "svg text{font:13px sans-serif;fill:var(--ink)}\n"
    ".grid{stroke:var(--faint)}\n"
    ".axis{stroke:var(--ink);fill:none}\n"
    ".line{fill:none;stroke-width:2}\n"
    ".dashed{stroke-dasharray:5 5}\n"
    ".dotted{stroke-dasharray:2 3}\n"
    ".hollow{fill-opacity:.15;stroke-dasharray:5 5}\n"
    ".mark{stroke:var(--ink);stroke-width:3}\n"
    ".c0{stroke:#0072b2;fill:#0072b2}\n"
    ".c1{stroke:#d55e00;fill:#d55e00}\n"
    ".c2{stroke:#009e73;fill:#009e73}\n"
    ".c3{stroke:#cc79a7;fill:#cc79a7}\n"
    ".c4{stroke:#e69f00;fill:#e69f00}\n"
    ".c5{stroke:#56b4e9;fill:#56b4e9}\n"
    ".c6{stroke:#999;fill:#999}\n"
    ".c7{stroke:#b8a900;fill:#b8a900}\n";

static const struct {
    double percent;
    const char *text;
} percentiles[] = {{50, "50"},     {90, "90"},       {99, "99"},
                   {99.9, "99.9"}, {99.99, "99.99"}, {99.999, "99.999"}};

// ---- words --------------------------------------------------------------------------------------

void perf_page_cell(FILE *out, const char *tag, const char *text)
{
    fprintf(out, "<%s>", tag);
    perf_html_text(out, text);
    fprintf(out, "</%s>", tag);
}

void perf_page_number(double value, char *text, size_t text_bytes)
{
    if (isnan(value)) {
        snprintf(text, text_bytes, "-");
    } else if (value != 0 && fabs(value) < 0.1) { // GB/s of small records
        snprintf(text, text_bytes, "%.3g", value);
    } else {
        snprintf(text, text_bytes, "%.*f", value >= 1000 ? 0 : value >= 10 ? 1 : 3, value);
    }
}

// The median, with least and most in small print behind it.
static void spread_cell(FILE *out, enum perf_figure figure, struct perf_spread spread)
{
    char median[40];
    char least[40];
    char most[40];
    perf_page_number(perf_figure_shown(figure, spread.median), median, sizeof median);
    perf_page_number(perf_figure_shown(figure, spread.min), least, sizeof least);
    perf_page_number(perf_figure_shown(figure, spread.max), most, sizeof most);
    fprintf(out, "<td>%s", median);
    if (spread.max > spread.min) {
        fprintf(out, " <small>%s to %s</small>", least, most);
    }
    fputs("</td>", out);
}

void perf_page_label(const struct perf_report_run *run, char *text, size_t text_bytes)
{
    unsigned clients = (unsigned)run->result.options.clients;
    snprintf(text, text_bytes, "%s, %u client%s", run->group, clients, clients == 1 ? "" : "s");
}

// ---- groups: runs that differ in clients --------------------------------------------------------

static size_t group_end(const struct perf_report *report, size_t begin)
{
    size_t end = begin + 1;
    while (end < report->runs_count &&
           strcmp(report->runs[end].group, report->runs[begin].group) == 0) {
        end++;
    }
    return end;
}

static void set_clients_axis(const struct perf_report *report, struct perf_plot *plot)
{
    plot->x_label = "clients";
    plot->x_min = INFINITY;
    plot->x_max = -INFINITY;
    for (size_t i = 0; i < report->runs_count; i++) {
        double clients = (double)report->runs[i].result.options.clients;
        size_t k = 0;
        while (k < plot->x_ticks_count && plot->x_ticks[k] != clients) {
            k++;
        }
        if (k == plot->x_ticks_count && k < PERF_TICKS_MAX) {
            plot->x_ticks[plot->x_ticks_count++] = clients;
        }
        plot->x_min = fmin(plot->x_min, clients);
        plot->x_max = fmax(plot->x_max, clients);
    }
}

// A line for each group of more than one run; relative: to the group's first.
static void add_groups(const struct perf_report *report, enum perf_figure figure, bool relative,
                       struct perf_plot *plot)
{
    for (size_t begin = 0; begin < report->runs_count; begin = group_end(report, begin)) {
        size_t end = group_end(report, begin);
        if (end - begin < 2 || plot->series_count == PERF_SERIES_MAX) {
            continue;
        }
        if (relative && report->runs[begin].limit) {
            continue;
        }
        struct perf_series *series = &plot->series[plot->series_count++];
        series->dashed = report->runs[begin].limit;
        double unit = relative ? perf_result_spread(&report->runs[begin].result, figure).median : 1;
        snprintf(series->label, sizeof series->label, "%s", report->runs[begin].group);
        for (size_t i = begin; i < end && series->points_count < PERF_POINTS_MAX; i++) {
            struct perf_spread spread = perf_result_spread(&report->runs[i].result, figure);
            series->points[series->points_count++] = (struct perf_point){
                .x = (double)report->runs[i].result.options.clients,
                .y = perf_figure_shown(relative ? PERF_FIGURE_ops_per_s : figure,
                                       spread.median / unit),
                .min =
                    perf_figure_shown(relative ? PERF_FIGURE_ops_per_s : figure, spread.min / unit),
                .max = perf_figure_shown(relative ? PERF_FIGURE_ops_per_s : figure,
                                         spread.max / unit)};
        }
    }
}

static bool has_limits(const struct perf_report *report)
{
    bool any = false;
    for (size_t i = 0; i < report->runs_count; i++) {
        any |= report->runs[i].limited_by != NULL;
    }
    return any;
}

static void write_group_table(FILE *out, const struct perf_report *report, enum perf_figure figure,
                              bool relative)
{
    fputs("<div><table><tr>", out);
    perf_page_cell(out, "th", "run");
    perf_page_cell(out, "th", relative ? "times the first" : perf_figure_text(figure));
    bool limits = !relative && has_limits(report);
    if (limits) {
        perf_page_cell(out, "th", "of the limit");
    }
    fputs("</tr>\n", out);
    for (size_t begin = 0; begin < report->runs_count; begin = group_end(report, begin)) {
        size_t end = group_end(report, begin);
        double unit = perf_result_spread(&report->runs[begin].result, figure).median;
        for (size_t i = begin; end - begin > 1 && i < end; i++) {
            struct perf_spread spread = perf_result_spread(&report->runs[i].result, figure);
            char text[100];
            perf_page_label(&report->runs[i], text, sizeof text);
            fputs("<tr>", out);
            perf_page_cell(out, "td", text);
            if (relative) {
                perf_page_number(spread.median / unit, text, sizeof text);
                perf_page_cell(out, "td", text);
            } else {
                spread_cell(out, figure, spread);
            }
            if (limits) {
                perf_page_number(perf_report_limit_share(report, &report->runs[i]), text,
                                 sizeof text);
                perf_page_cell(out, "td", text);
            }
            fputs("</tr>\n", out);
        }
    }
    fputs("</table></div>\n", out);
}

static void write_throughput(FILE *out, const struct perf_report *report)
{
    enum perf_figure figure = report->bandwidth ? PERF_FIGURE_bytes_per_s : PERF_FIGURE_ops_per_s;
    static struct perf_plot plot;
    plot =
        (struct perf_plot){.title = "Throughput by clients", .y_label = perf_figure_text(figure)};
    set_clients_axis(report, &plot);
    add_groups(report, figure, false, &plot);
    if (plot.series_count == 0) {
        return;
    }
    fputs("<h2>Throughput</h2>\n<p>Of all clients together. Medians over rounds; bars from the "
          "least to the "
          "most.</p>\n<div class=\"pair\">\n",
          out);
    perf_plot_write(out, &plot);
    write_group_table(out, report, figure, false);
    fputs("</div>\n", out);
}

static void write_scaling(FILE *out, const struct perf_report *report)
{
    static struct perf_plot plot;
    plot = (struct perf_plot){.title = "Scaling by clients", .y_label = "times one client"};
    set_clients_axis(report, &plot);
    add_groups(report, PERF_FIGURE_ops_per_s, true, &plot);
    if (plot.series_count == 0) {
        return;
    }
    if (plot.series_count < PERF_SERIES_MAX) {
        plot.series[plot.series_count++] =
            (struct perf_series){.label = "in proportion",
                                 .points = {{plot.x_min, 1, 1, 1},
                                            {plot.x_max, plot.x_max / plot.x_min,
                                             plot.x_max / plot.x_min, plot.x_max / plot.x_min}},
                                 .points_count = 2,
                                 .dashed = true};
    }
    fputs("<h2>Scaling</h2>\n<p>Throughput over that of the fewest clients. Clients, servers and "
          "disks share "
          "one machine here: a line in proportion is no goal.</p>\n<div class=\"pair\">\n",
          out);
    perf_plot_write(out, &plot);
    write_group_table(out, report, PERF_FIGURE_ops_per_s, true);
    fputs("</div>\n", out);
}

// ---- latency ------------------------------------------------------------------------------------

// Where a percentile stands: as far apart as the tails are rare.
static double percentile_place(double percent)
{
    return -log10(1 - percent / 100);
}

static void merged(const struct perf_result *result, struct pawl_histogram *ret)
{
    pawl_histogram_init(ret);
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        pawl_histogram_merge(ret, &result->rounds[i].latency_ns);
    }
}

// NaN where fewer than one operation lies beyond.
static double percentile_us(const struct pawl_histogram *latency_ns, double percent)
{
    bool enough = (double)latency_ns->count * (100 - percent) / 100 >= 1;
    return enough ? (double)pawl_histogram_percentile(latency_ns, percent) / 1e3 : NAN;
}

static void write_latency_table(FILE *out, const struct perf_report *report)
{
    static struct pawl_histogram latency_ns;
    fputs("<div><table><tr>", out);
    perf_page_cell(out, "th", "run, us");
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(percentiles); i++) {
        char text[32];
        snprintf(text, sizeof text, "P%s", percentiles[i].text);
        perf_page_cell(out, "th", text);
    }
    perf_page_cell(out, "th", "max");
    fputs("</tr>\n", out);
    for (size_t i = 0; i < report->runs_count; i++) {
        char text[100];
        merged(&report->runs[i].result, &latency_ns);
        perf_page_label(&report->runs[i], text, sizeof text);
        fputs("<tr>", out);
        perf_page_cell(out, "td", text);
        for (size_t k = 0; k < PAWL_ARRAY_COUNT(percentiles); k++) {
            perf_page_number(percentile_us(&latency_ns, percentiles[k].percent), text, sizeof text);
            perf_page_cell(out, "td", text);
        }
        perf_page_number(latency_ns.count != 0 ? (double)latency_ns.max / 1e3 : NAN, text,
                         sizeof text);
        perf_page_cell(out, "td", text);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void write_latency(FILE *out, const struct perf_report *report)
{
    static struct perf_plot plot;
    static struct pawl_histogram latency_ns;
    plot = (struct perf_plot){.title = "Latency percentiles",
                              .x_label = "percentile",
                              .y_label = "us",
                              .y_log = true,
                              .x_min = percentile_place(50)};
    for (size_t i = 0; i < report->runs_count && plot.series_count < PERF_SERIES_MAX; i++) {
        if (report->runs[i].limit) {
            continue;
        }
        struct perf_series *series = &plot.series[plot.series_count++];
        char text[100];
        merged(&report->runs[i].result, &latency_ns);
        perf_page_label(&report->runs[i], text, sizeof text);
        snprintf(series->label, sizeof series->label, "%.47s", text);
        for (size_t k = 0; k < PAWL_ARRAY_COUNT(percentiles); k++) {
            double us = percentile_us(&latency_ns, percentiles[k].percent);
            double x = percentile_place(percentiles[k].percent);
            series->points[series->points_count++] =
                (struct perf_point){.x = x, .y = us, .min = us, .max = us};
            plot.x_max = isnan(us) ? plot.x_max : fmax(plot.x_max, x);
        }
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(percentiles); i++) {
        double x = percentile_place(percentiles[i].percent);
        if (x <= plot.x_max) {
            plot.x_ticks[plot.x_ticks_count] = x;
            plot.x_texts[plot.x_ticks_count++] = percentiles[i].text;
        }
    }
    fputs("<h2>Latency</h2>\n<p>Of all rounds together, in microseconds. A percentile is at most a "
          "32nd too high; "
          "one that fewer than one operation lies beyond isn't shown.</p>\n<div class=\"pair\">\n",
          out);
    perf_plot_write(out, &plot);
    write_latency_table(out, report);
    fputs("</div>\n", out);
}

// ---- stages -------------------------------------------------------------------------------------

static void write_stages_table(FILE *out, const struct perf_report *report)
{
    static struct perf_stages stages;
    fputs("<div><table><tr>", out);
    perf_page_cell(out, "th", "run, us: P50 and P99");
    for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
        perf_page_cell(out, "th", perf_stage_name(stage));
    }
    fputs("</tr>\n", out);
    for (size_t i = 0; i < report->runs_count; i++) {
        char text[100];
        perf_result_stages(&report->runs[i].result, &stages);
        if (stages.ns[0].count == 0) {
            continue;
        }
        perf_page_label(&report->runs[i], text, sizeof text);
        fputs("<tr>", out);
        perf_page_cell(out, "td", text);
        for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
            struct perf_stage_figures figures = perf_stage_figures(&stages, stage);
            perf_page_number(figures.p50_us, text, sizeof text);
            fprintf(out, "<td>%s", text);
            perf_page_number(figures.p99_us, text, sizeof text);
            fprintf(out, " <small>%s</small></td>", text);
        }
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void write_stages(FILE *out, const struct perf_report *report)
{
    static struct perf_stages stages;
    static struct perf_bars bars;
    bars = (struct perf_bars){.title = "Stages of appends", .parts_count = PERF_STAGES_COUNT};
    for (size_t i = 0; i < report->runs_count && bars.bars_count < PERF_POINTS_MAX; i++) {
        struct perf_bar *bar = &bars.bars[bars.bars_count];
        double sum_us = 0;
        char text[100];
        perf_result_stages(&report->runs[i].result, &stages);
        if (stages.ns[0].count == 0) {
            continue;
        }
        for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
            bar->parts[stage] = perf_stage_figures(&stages, stage).mean_us;
            bars.names[stage] = perf_stage_name(stage);
            sum_us += bar->parts[stage];
        }
        perf_page_label(&report->runs[i], text, sizeof text);
        snprintf(bar->label, sizeof bar->label, "%s: %.0f us", text, sum_us);
        bars.bars_count++;
    }
    if (bars.bars_count == 0) {
        return;
    }
    fputs(
        "<h2>Stages of an append</h2>\n<p>Where the time goes, as shares of the mean latency.</p>\n"
        "<div class=\"pair\">\n",
        out);
    perf_bars_write(out, &bars);
    write_stages_table(out, report);
    fputs("</div>\n<ul>\n", out);
    for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
        char text[160];
        snprintf(text, sizeof text, "%s: %s", perf_stage_name(stage), perf_stage_text(stage));
        perf_page_cell(out, "li", text);
        putc('\n', out);
    }
    fputs("</ul>\n", out);
}

// ---- all figures --------------------------------------------------------------------------------

// Of the first run that has none: they all have the same reason.
static void write_syscalls_why(FILE *out, const struct perf_report *report)
{
    for (size_t i = 0; i < report->runs_count; i++) {
        const struct perf_result *result = &report->runs[i].result;
        if (result->rounds_count != 0 && result->rounds[0].syscalls_why[0] != '\0') {
            fputs(" System calls were not counted: ", out);
            perf_html_text(out, result->rounds[0].syscalls_why);
            return;
        }
    }
}

static void write_figures(FILE *out, const struct perf_report *report)
{
    static const enum perf_figure shown[] = {PERF_FIGURE_ops_per_s,
                                             PERF_FIGURE_bytes_per_s,
                                             PERF_FIGURE_p50_us,
                                             PERF_FIGURE_p99_us,
                                             PERF_FIGURE_p999_us,
                                             PERF_FIGURE_cpu_s_per_gb,
                                             PERF_FIGURE_replica_cpu_s_per_gb,
                                             PERF_FIGURE_copies_per_byte,
                                             PERF_FIGURE_syscalls_per_op,
                                             PERF_FIGURE_client_syscalls_per_op,
                                             PERF_FIGURE_server_syscalls_per_op};
    fputs("<h2>All figures</h2>\n<div><table><tr>", out);
    perf_page_cell(out, "th", "run");
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(shown); i++) {
        const char *name = perf_figure_text(shown[i]);
        perf_page_cell(out, "th", name + strspn(name, " ")); // by whom stands behind its sum
    }
    perf_page_cell(out, "th", "share of the roofline");
    fputs("</tr>\n", out);
    for (size_t i = 0; i < report->runs_count; i++) {
        char text[256];
        perf_page_label(&report->runs[i], text, sizeof text);
        fputs("<tr>", out);
        perf_page_cell(out, "td", text);
        for (size_t k = 0; k < PAWL_ARRAY_COUNT(shown); k++) {
            spread_cell(out, shown[k], perf_result_spread(&report->runs[i].result, shown[k]));
        }
        perf_page_roofline_cell(out, report, &report->runs[i]);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n<p>Medians over rounds, with the least and the most. CPU: of the "
          "client, the master and all chunk servers. ",
          out);
    perf_html_text(out, perf_page_roofline_words(report));
    write_syscalls_why(out, report);
    fputs("</p>\n<ul>\n", out);
    for (size_t i = 0; i < report->runs_count; i++) {
        char text[256];
        perf_result_describe(&report->runs[i].result, text, sizeof text);
        perf_page_cell(out, "li", text);
        putc('\n', out);
    }
    fputs("</ul>\n", out);
}

static void write_head(FILE *out, const struct perf_report *report,
                       const struct perf_cluster *cluster)
{
    struct utsname names = {0};
    char when[40] = "";
    char text[512];
    time_t now = time(NULL);
    struct tm utc;
    (void)uname(&names);
    if (gmtime_r(&now, &utc) != NULL) {
        strftime(when, sizeof when, "%Y-%m-%d %H:%M UTC", &utc);
    }
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, "
          "initial-scale=1\">\n<title>pawl-perf: ",
          out);
    perf_html_text(out, report->suite);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>pawl-perf: ", style);
    perf_html_text(out, report->suite);
    fputs("</h1>\n", out);
    perf_page_cell(out, "p", report->about);
    snprintf(
        text, sizeof text,
        "Pawl %s, %s. %u chunk servers over %s on %s%s; kernel %s, %ld processors.", pawl_version(),
        when, cluster->local.servers_count, cluster->transport, cluster->file_system,
        cluster->direct ? ", O_DIRECT: reads come from the disk, not from the servers' page cache"
                        : " without O_DIRECT: the page cache takes part",
        names.release, sysconf(_SC_NPROCESSORS_ONLN));
    fputs("\n", out);
    perf_page_cell(out, "p", text);
    fputs("\n", out);
}

void perf_page_write(FILE *out, const struct perf_report *report,
                     const struct perf_cluster *cluster)
{
    write_head(out, report, cluster);
    if (report->targets) {
        perf_targets_html(out, report);
    }
    write_throughput(out, report);
    perf_page_roofline(out, report);
    write_latency(out, report);
    write_stages(out, report);
    write_scaling(out, report);
    write_figures(out, report);
    fputs("</body>\n</html>\n", out);
}
