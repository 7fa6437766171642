// SPDX-License-Identifier: Apache-2.0
// Targets: their table, and its output as text, HTML and JSON.
#include "perf/targets.h"

#include <math.h>
#include <string.h>

#include "perf/svg.h"

#define REFERENCE_MS 20000u
#define SETTLE_ROUNDS 2u
#define HOT_FILE_BYTES (UINT64_C(16) << 20)

static const struct perf_target targets[] = {
    {"1 KiB durable append, 1 client, depth 1: P50", PERF_TARGETS_ALONE, PERF_FIGURE_p50_us, 1.25,
     false},
    {"1 KiB durable appends, 4 clients, depth 64 each: records/s (aim: 200,000)", PERF_TARGETS_MANY,
     PERF_FIGURE_ops_per_s, 0.8, true},
    {"1 MiB durable append, 1 client, depth 8: GB/s", PERF_TARGETS_LARGE, PERF_FIGURE_bytes_per_s,
     0.85, true},
    {"1 MiB sequential read, depth 8, cold: GB/s", PERF_TARGETS_COLD, PERF_FIGURE_bytes_per_s, 0.85,
     true},
    {"the same, hot: a file of 16 MiB again and again", PERF_TARGETS_HOT, PERF_FIGURE_bytes_per_s,
     0, true},
    {"CPU seconds per GB and replica, 1 MiB appends", PERF_TARGETS_LARGE,
     PERF_FIGURE_replica_cpu_s_per_gb, 1.3, false},
    {"the same, 1 KiB appends, 4 clients", PERF_TARGETS_MANY, PERF_FIGURE_replica_cpu_s_per_gb, 1.3,
     false},
    {"P99.9 at half of the peak, 1 KiB, 4 clients, open loop", PERF_TARGETS_HALF,
     PERF_FIGURE_p999_us, 2, false},
};

void perf_targets_options(const char *group, const struct perf_options *said,
                          struct perf_options *options)
{
    bool is_reference = strcmp(group, PERF_TARGETS_REFERENCE) == 0;
    bool is_hot = strcmp(group, PERF_TARGETS_HOT) == 0;

    options->roofline = !is_reference && !is_hot;
    // Where a target hangs on small records, or on CPU time: what a store has to do beside is measured, too.
    options->duties = strcmp(group, PERF_TARGETS_MANY) == 0 ||
                      strcmp(group, PERF_TARGETS_LARGE) == 0 ||
                      strcmp(group, PERF_TARGETS_HALF) == 0;
    options->rate_half = strcmp(group, PERF_TARGETS_HALF) == 0;
    // The null store's file was written before it is measured. Pawl's chunk files have been, too, once others were deleted.
    bool is_peak = strcmp(group, PERF_TARGETS_LARGE) == 0 || strcmp(group, PERF_TARGETS_MANY) == 0;
    if (is_peak && !perf_options_was_given(said, "--settle")) {
        options->settle = SETTLE_ROUNDS;
    }
    if (is_hot) {
        options->file_bytes = HOT_FILE_BYTES;
    }
    if (is_reference && !perf_options_was_given(said, "--duration")) {
        options->duration_ms = REFERENCE_MS;
    }
    if ((is_reference || is_hot) && !perf_options_was_given(said, "--repeat")) {
        options->repeat = 1;
    }
}

size_t perf_targets_count(void)
{
    return PAWL_ARRAY_COUNT(targets);
}

const struct perf_target *perf_target_at(size_t index)
{
    return &targets[index];
}

struct perf_target_state perf_target_look(const struct perf_target *target,
                                          const struct perf_report *report)
{
    struct perf_target_state state = {NAN, NAN, NAN, NAN, false, false, NULL};

    for (size_t i = 0; i < report->runs_count; i++) {
        if (strcmp(report->runs[i].group, target->group) == 0) {
            state.result = &report->runs[i].result;
        }
    }
    if (state.result == NULL) {
        return state;
    }
    state.reached = perf_result_spread(state.result, target->figure).median;
    state.roofline = perf_result_roof(state.result, target->figure);
    state.share = state.reached / state.roofline;
    state.duties = perf_result_duties(state.result, target->figure);
    state.is_valid = state.result->roofline_valid;
    // A share that is not known meets nothing, and neither does one of a roofline that says nothing.
    state.is_met = state.is_valid && target->bound > 0 &&
                   (target->at_least ? state.share >= target->bound : state.share <= target->bound);
    return state;
}

static void number(double value, char text[32])
{
    if (isnan(value)) {
        snprintf(text, 32, "-");
    } else {
        snprintf(text, 32, "%.*f", value >= 1000 ? 0 : value >= 10 ? 1 : 3, value);
    }
}

#define CELLS_COUNT 7
struct cells {
    char text[CELLS_COUNT][32];
};
static const char *const titles[CELLS_COUNT] = {"target",      "share", "reached", "roofline",
                                                "with duties", "met",   "valid"};

static void cells_fill(const struct perf_target *target, const struct perf_target_state *state,
                       struct cells *cells)
{
    bool is_bound = target->bound > 0;

    snprintf(cells->text[0], 32, "%s %.2f", target->at_least ? ">=" : "<=", target->bound);
    number(state->share, cells->text[1]);
    number(perf_figure_shown(target->figure, state->reached), cells->text[2]);
    number(perf_figure_shown(target->figure, state->roofline), cells->text[3]);
    number(perf_figure_shown(target->figure, state->duties), cells->text[4]);
    snprintf(cells->text[5], 32, "%s", state->is_met ? "yes" : "no");
    snprintf(cells->text[6], 32, "%s", state->is_valid ? "yes" : "no");
    if (!is_bound) {
        snprintf(cells->text[0], 32, "reported");
        snprintf(cells->text[5], 32, "-");
        snprintf(cells->text[6], 32, "-");
    }
}

// Runs whose clients are the point: the reference's benchmark.
static bool is_reference(const struct perf_report_run *run)
{
    return strcmp(run->group, PERF_TARGETS_REFERENCE) == 0;
}

static void reference_fill(const struct perf_report_run *run, char what[80], struct cells *cells)
{
    double reached = perf_result_spread(&run->result, PERF_FIGURE_ops_per_s).median;

    snprintf(what, 80, "the reference's: 1 KiB, 20 s, clients: %u, appends/s",
             (unsigned)run->result.options.clients);
    for (size_t i = 0; i < CELLS_COUNT; i++) {
        snprintf(cells->text[i], 32, "-");
    }
    snprintf(cells->text[0], 32, "reported");
    number(reached, cells->text[2]);
}

static void row_print(FILE *out, const char *what, const struct cells *cells)
{
    fprintf(out, "%-76s", what);
    for (size_t i = 0; i < CELLS_COUNT; i++) {
        fprintf(out, " %11s", cells->text[i]);
    }
    putc('\n', out);
}

void perf_targets_print(FILE *out, const struct perf_report *report)
{
    struct cells cells;
    char what[80];

    for (size_t i = 0; i < CELLS_COUNT; i++) {
        snprintf(cells.text[i], 32, "%s", titles[i]);
    }
    row_print(out, "", &cells);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(targets); i++) {
        struct perf_target_state state = perf_target_look(&targets[i], report);
        cells_fill(&targets[i], &state, &cells);
        row_print(out, targets[i].what, &cells);
    }
    for (size_t i = 0; i < report->runs_count; i++) {
        if (is_reference(&report->runs[i])) {
            reference_fill(&report->runs[i], what, &cells);
            row_print(out, what, &cells);
        }
    }
    for (size_t i = 0; i < report->runs_count; i++) {
        const struct perf_result *result = &report->runs[i].result;
        if (result->options.roofline && !result->roofline_valid) {
            fprintf(out, "%s: not valid: %s\n", report->runs[i].group, result->roofline_why);
        }
    }
}

static void row_html(FILE *out, const char *what, const struct cells *cells)
{
    fputs("<tr><td>", out);
    perf_html_text(out, what);
    fputs("</td>", out);
    for (size_t i = 0; i < CELLS_COUNT; i++) {
        fputs("<td>", out);
        perf_html_text(out, cells->text[i]);
        fputs("</td>", out);
    }
    fputs("</tr>\n", out);
}

void perf_targets_html(FILE *out, const struct perf_report *report)
{
    struct cells cells;
    char what[80];

    fputs("<h2>Targets</h2>\n<p>Shares of the roofline, which is measured by turns with each run: "
          "medians over rounds. A run whose roofline is not valid says nothing. With duties: the "
          "roofline whose servers also check, note and write back records, as a store has to; it "
          "explains a share and is none.</p>\n"
          "<div><table><tr><th></th>",
          out);
    for (size_t i = 0; i < CELLS_COUNT; i++) {
        fprintf(out, "<th>%s</th>", titles[i]);
    }
    fputs("</tr>\n", out);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(targets); i++) {
        struct perf_target_state state = perf_target_look(&targets[i], report);
        cells_fill(&targets[i], &state, &cells);
        row_html(out, targets[i].what, &cells);
    }
    for (size_t i = 0; i < report->runs_count; i++) {
        if (is_reference(&report->runs[i])) {
            reference_fill(&report->runs[i], what, &cells);
            row_html(out, what, &cells);
        }
    }
    fputs("</table></div>\n", out);
    for (size_t i = 0; i < report->runs_count; i++) {
        const struct perf_result *result = &report->runs[i].result;
        if (result->options.roofline && !result->roofline_valid) {
            fputs("<p>Not valid: ", out);
            perf_html_text(out, report->runs[i].group);
            fputs(": ", out);
            perf_html_text(out, result->roofline_why);
            fputs("</p>\n", out);
        }
    }
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *perf_targets_json(const struct perf_report *report)
{
    json_t *array = json_array();

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(targets); i++) {
        const struct perf_target *target = &targets[i];
        struct perf_target_state state = perf_target_look(target, report);
        bool is_bound = target->bound > 0;
        json_t *item = json_pack(
            "{s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "what", target->what, "run",
            target->group, "figure", perf_figure_name(target->figure), "at_least",
            is_bound && target->at_least ? json_real(target->bound) : json_null(), "at_most",
            is_bound && !target->at_least ? json_real(target->bound) : json_null(), "share",
            real(state.share), "reached", real(state.reached), "roofline", real(state.roofline),
            "with_duties", real(state.duties), "met",
            is_bound ? json_boolean(state.is_met) : json_null(), "valid",
            is_bound ? json_boolean(state.is_valid) : json_null());
        json_array_append_new(array, item);
    }
    return array;
}
