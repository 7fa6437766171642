// SPDX-License-Identifier: Apache-2.0
// The suite `targets`: what Pawl is to reach on the machine that it runs on, as shares of the roofline of the same run,
// and what it has reached. Pure, but for the output.
#ifndef PAWL_PERF_TARGETS_H
#define PAWL_PERF_TARGETS_H

#include <jansson.h>

#include "perf/report.h"

// The names of runs, by which targets find theirs.
#define PERF_TARGETS_ALONE "1 KiB append, depth 1"
#define PERF_TARGETS_MANY "1 KiB append, depth 64"
#define PERF_TARGETS_LARGE "1 MiB append, depth 8"
#define PERF_TARGETS_COLD "1 MiB read, depth 8, cold"
#define PERF_TARGETS_HOT "1 MiB read, depth 8, hot"
#define PERF_TARGETS_HALF "1 KiB append, half of the peak"
#define PERF_TARGETS_REFERENCE "1 KiB append, 20 s"

// What a run of that name has that the suite as a whole hasn't. `said`: what stood on the command line goes before.
void perf_targets_options(const char *group, const struct perf_options *said,
                          struct perf_options *options);

struct perf_target {
    const char *what;
    const char *group;
    enum perf_figure figure;
    double bound; // of the share of the roofline's; 0: the figure itself is reported
    bool at_least;
};

// Of a target and a result; NaN: not measured.
struct perf_target_state {
    double reached, roofline, share;
    double duties;                    // the roofline's with its duties
    bool is_met;                      // the bound holds, as far as the figures count
    bool is_valid;                    // the roofline of that run counts
    const struct perf_result *result; // NULL: there was no such run
};

size_t perf_targets_count(void);
const struct perf_target *perf_target_at(size_t index);
struct perf_target_state perf_target_look(const struct perf_target *target,
                                          const struct perf_report *report);

void perf_targets_print(FILE *out, const struct perf_report *report);
void perf_targets_html(FILE *out, const struct perf_report *report);
// A new reference.
json_t *perf_targets_json(const struct perf_report *report);

#endif
