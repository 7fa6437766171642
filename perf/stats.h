// SPDX-License-Identifier: Apache-2.0
// Figures of a round and their spread over rounds. Pure.
#ifndef PAWL_PERF_STATS_H
#define PAWL_PERF_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"

// X(name in JSON, text in tables, what its value is divided by there)
#define PERF_FIGURES(X)                                                                            \
    X(ops_per_s, "operations/s", 1)                                                                \
    X(bytes_per_s, "GB/s", 1e9)                                                                    \
    X(p50_us, "latency P50, us", 1)                                                                \
    X(p99_us, "latency P99, us", 1)                                                                \
    X(p999_us, "latency P99.9, us", 1)                                                             \
    X(max_us, "latency max, us", 1)                                                                \
    X(cpu_s_per_gb, "CPU s per GB", 1)                                                             \
    X(replica_cpu_s_per_gb, "CPU s per GB, replica", 1)                                            \
    X(copies_per_byte, "copies per byte", 1)                                                       \
    X(syscalls_per_op, "system calls per op", 1)                                                   \
    X(client_syscalls_per_op, "  by the client", 1)                                                \
    X(server_syscalls_per_op, "  by the servers", 1)                                               \
    X(failover_ms, "failover, ms", 1)                                                              \
    X(failover_max_ms, "  of the slowest client", 1)

#define PERF_FIGURE_ENUM(name, text, unit) PERF_FIGURE_##name,
enum perf_figure { PERF_FIGURES(PERF_FIGURE_ENUM) PERF_FIGURES_COUNT };
#undef PERF_FIGURE_ENUM

// NaN: not known, not meant.
struct perf_spread {
    double median;
    double min;
    double max;
};

// Values that are NaN are left out; NaN when none is left. An even number: the middle of the two.
struct perf_spread perf_spread_of(const double *values, size_t count);

// Counts of a round into its figures; NaN where there is nothing to tell. cpu_s may be NaN.
void perf_figures_of(uint64_t ops, uint64_t bytes, double seconds, double cpu_s,
                     const struct pawl_histogram *latency_ns,
                     double ret[static PERF_FIGURES_COUNT]);

// CPU time of a process in clock ticks out of the text of /proc/PID/stat. PAWL_EINVALID.
int perf_proc_ticks(const char *text, uint64_t *ret_ticks);

const char *perf_figure_name(enum perf_figure figure);
const char *perf_figure_text(enum perf_figure figure);
// In the table's unit.
double perf_figure_shown(enum perf_figure figure, double value);

#endif
