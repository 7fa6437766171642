// SPDX-License-Identifier: Apache-2.0
// Parts of the page of a report: words that they share, and what it says of the roofline. Main thread only.
#ifndef PAWL_PERF_PAGE_H
#define PAWL_PERF_PAGE_H

#include "perf/report.h"

// "<tag>text</tag>", escaped.
void perf_page_cell(FILE *out, const char *tag, const char *text);
// "-": NaN
void perf_page_number(double value, char *text, size_t text_bytes);
// "1 KiB append, 4 clients"
void perf_page_label(const struct perf_report_run *run, char *text, size_t text_bytes);

// Fractions of the roofline: plot and table. Nothing when none was measured.
void perf_page_roofline(FILE *out, const struct perf_report *report);
// A run's cell in the table of all figures, and what is to be known of that column.
void perf_page_roofline_cell(FILE *out, const struct perf_report *report,
                             const struct perf_report_run *run);
const char *perf_page_roofline_words(const struct perf_report *report);

#endif
