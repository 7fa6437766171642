// SPDX-License-Identifier: Apache-2.0
// What a measurement found: rounds, files, and their output as a table and as JSON. Main thread only.
#ifndef PAWL_PERF_RESULT_H
#define PAWL_PERF_RESULT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/histogram.h"
#include "perf/cluster.h"
#include "perf/copies.h"
#include "perf/options.h"
#include "perf/roofline/model.h"
#include "perf/stages.h"
#include "perf/stats.h"

#define PERF_PATH_MAX 96
#define PERF_JSON_FLAGS (JSON_INDENT(2) | JSON_REAL_PRECISION(9))

// Operations of one kind.
struct perf_tally {
    uint64_t ops;                     // answered within the time that is measured
    uint64_t bytes;                   // of these
    struct pawl_histogram latency_ns; // of those that began, or were due, within that time
};

// A file that was appended to.
struct perf_file {
    char path[PERF_PATH_MAX];
    uint64_t ops; // acknowledged in all, warm-up and end included
    uint64_t bytes;
    uint64_t stat_bytes; // what the cluster says that the file has
};

// What perf/roofline measures beside a round, of the same shape; NaN: not measured.
struct perf_roofline {
    double ops_per_s;
    double bytes_per_s;
    double p50_us;
    double p999_us;
    double cpu_s_per_gb; // of all its processes
    double replica_cpu_s_per_gb;
    // Of the same with its duties, docs/roofline.md: they explain a share and are never the denominator.
    double duties_ops_per_s;
    double duties_p999_us;
    double duties_replica_cpu_s_per_gb;
};

struct perf_round {
    struct perf_roofline roofline;
    struct perf_tally kinds[PERF_KINDS_COUNT];
    struct pawl_histogram latency_ns; // of all kinds
    struct perf_stages stages;        // of appends
    uint64_t ops;
    uint64_t bytes;
    uint64_t errors;
    uint64_t retries;
    struct perf_copies copies; // of clients
    uint64_t unsent;           // open loop: due, but not sent when the round ended
    double seconds;
    double cpu_client_s; // NaN: not known
    double cpu_master_s;
    double cpu_servers_s;
    double figures[PERF_FIGURES_COUNT];
    int error;              // the first one
    uint64_t warm_ops;      // answered in the warm-up
    char syscalls_why[160]; // they were not counted: why
    struct perf_file *files;
    uint32_t files_count;
    double *pauses_ms; // of each client, of a failover under load
    uint32_t pauses_count;
};

struct perf_result {
    struct perf_options options;
    struct perf_round *rounds;   // OWNED; perf_result_fini()
    uint32_t rounds_count;       // that were measured to their end
    double peak_ops_per_s;       // --rate half: that it is the half of; NaN: it isn't
    bool roofline_valid;         // its parts hold beside independent tools, and nothing is above it
    char roofline_why[320];      // why not
    struct model roofline_model; // what its parts add up to; no steps: not known
};

// Room for the rounds that the options ask for. 0 or -ENOMEM.
int perf_result_init(struct perf_result *result,
                     const struct perf_options *options) PAWL_MUST_CHECK;
void perf_result_fini(struct perf_result *result);

struct perf_spread perf_result_spread(const struct perf_result *result, enum perf_figure figure);
// The roofline's median of a figure; NaN: there is none.
double perf_result_roof(const struct perf_result *result, enum perf_figure figure);
// The same of it with its duties.
double perf_result_duties(const struct perf_result *result, enum perf_figure figure);
// Medians over rounds.
struct perf_roofline perf_result_roofline(const struct perf_result *result);
struct perf_spread perf_result_kind_spread(const struct perf_result *result, enum perf_kind kind,
                                           enum perf_figure figure);

// Of all rounds together.
void perf_result_stages(const struct perf_result *result, struct perf_stages *ret);

void perf_result_print(FILE *out, const struct perf_result *result,
                       const struct perf_cluster *cluster);
// A new reference; NULL when out of memory.
json_t *perf_result_json(const struct perf_result *result, const struct perf_cluster *cluster);
// "1 client, depth 1, ..." for titles.
void perf_result_describe(const struct perf_result *result, char *text, size_t text_bytes);

#endif
