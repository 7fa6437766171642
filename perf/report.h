// SPDX-License-Identifier: Apache-2.0
// report: a named suite of runs, and the page that shows them. Main thread only.
#ifndef PAWL_PERF_REPORT_H
#define PAWL_PERF_REPORT_H

#include "perf/result.h"

#define PERF_REPORT_RUNS_MAX 16

struct perf_report_run {
    const char *group;      // runs that differ in `clients` only
    const char *limited_by; // the group that it stands beside; NULL: none
    bool limit;             // something to compare the others with
    bool roofline_none;     // of such a run there is none
    struct perf_result result;
};

struct perf_report {
    const char *suite;
    const char *about; // what the suite is
    bool bandwidth;    // shown in GB/s, otherwise in operations/s
    bool targets;      // the suite of that name
    struct perf_report_run runs[PERF_REPORT_RUNS_MAX];
    size_t runs_count;
};

// Share of the bandwidth that the limit's run of as many clients has: medians. NaN: there is none.
double perf_report_limit_share(const struct perf_report *report, const struct perf_report_run *run);

// Runs the suite and writes the page. 0 or an exit code.
int perf_report(const struct perf_options *options,
                const struct perf_cluster *cluster) PAWL_MUST_CHECK;

// The page: one file of HTML that needs nothing else.
void perf_page_write(FILE *out, const struct perf_report *report,
                     const struct perf_cluster *cluster);

#endif
