// SPDX-License-Identifier: Apache-2.0
// Figures and their spread.
#include "perf/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/util.h"
#include "perf/options.h"

static const struct {
    const char *name;
    const char *text;
    double unit;
} figures[PERF_FIGURES_COUNT] = {
#define PERF_FIGURE_ROW(name, text, unit) {#name, text, unit},
    PERF_FIGURES(PERF_FIGURE_ROW)
#undef PERF_FIGURE_ROW
};

const char *perf_figure_name(enum perf_figure figure)
{
    return figures[figure].name;
}

const char *perf_figure_text(enum perf_figure figure)
{
    return figures[figure].text;
}

double perf_figure_shown(enum perf_figure figure, double value)
{
    return value / figures[figure].unit;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

struct perf_spread perf_spread_of(const double *values, size_t count)
{
    double sorted[PERF_REPEAT_MAX];
    size_t known = 0;
    for (size_t i = 0; i < count && known < PERF_REPEAT_MAX; i++) {
        if (!isnan(values[i])) {
            sorted[known++] = values[i];
        }
    }
    if (known == 0) {
        return (struct perf_spread){NAN, NAN, NAN};
    }
    qsort(sorted, known, sizeof sorted[0], by_value);
    return (struct perf_spread){.median = (sorted[(known - 1) / 2] + sorted[known / 2]) / 2,
                                .min = sorted[0],
                                .max = sorted[known - 1]};
}

void perf_figures_of(uint64_t ops, uint64_t bytes, double seconds, double cpu_s,
                     const struct pawl_histogram *latency_ns, double ret[static PERF_FIGURES_COUNT])
{
    static const struct {
        enum perf_figure figure;
        double percent;
    } percentiles[] = {
        {PERF_FIGURE_p50_us, 50}, {PERF_FIGURE_p99_us, 99}, {PERF_FIGURE_p999_us, 99.9}};
    for (size_t i = 0; i < PERF_FIGURES_COUNT; i++) {
        ret[i] = NAN;
    }
    if (seconds > 0) {
        ret[PERF_FIGURE_ops_per_s] = (double)ops / seconds;
        ret[PERF_FIGURE_bytes_per_s] = (double)bytes / seconds;
    }
    if (latency_ns->count != 0) {
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(percentiles); i++) {
            ret[percentiles[i].figure] =
                (double)pawl_histogram_percentile(latency_ns, percentiles[i].percent) / 1e3;
        }
        ret[PERF_FIGURE_max_us] = (double)latency_ns->max / 1e3;
    }
    if (bytes != 0) {
        ret[PERF_FIGURE_cpu_s_per_gb] = cpu_s / ((double)bytes / 1e9);
    }
}

int perf_proc_ticks(const char *text, uint64_t *ret_ticks)
{
    // The second field, in parentheses, may hold anything: fields are counted behind its end.
    const char *field = strrchr(text, ')');
    uint64_t ticks = 0;
    unsigned number = 2;
    if (field == NULL) {
        return PAWL_EINVALID;
    }
    for (field++; *field != '\0' && number < 15; field++) {
        if (*field == ' ' && ++number >= 14) {
            char *end;
            ticks += strtoull(field + 1, &end, 10);
            if (end == field + 1) {
                return PAWL_EINVALID;
            }
        }
    }
    if (number < 15) {
        return PAWL_EINVALID;
    }
    *ret_ticks = ticks;
    return 0;
}
