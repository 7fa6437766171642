// SPDX-License-Identifier: Apache-2.0
// Stages of an append.
#include "perf/stages.h"

#include <math.h>

static const struct {
    const char *name;
    const char *text;
} stages_table[PERF_STAGES_COUNT] = {
#define PERF_STAGE_ROW(name, text) {#name, text},
    PERF_STAGES(PERF_STAGE_ROW)
#undef PERF_STAGE_ROW
};

const char *perf_stage_name(enum perf_stage stage)
{
    return stages_table[stage].name;
}

const char *perf_stage_text(enum perf_stage stage)
{
    return stages_table[stage].text;
}

void perf_stages_init(struct perf_stages *stages)
{
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        pawl_histogram_init(&stages->ns[i]);
    }
}

void perf_stages_record(struct perf_stages *stages, uint64_t latency_ns,
                        const struct pawl_append_stages *told)
{
    uint64_t ns[PERF_STAGES_COUNT] = {
        [PERF_STAGE_push] = told->push_ns,     [PERF_STAGE_prepare] = told->prepare_ns,
        [PERF_STAGE_flush] = told->flush_ns,   [PERF_STAGE_commit] = told->commit_ns,
        [PERF_STAGE_answer] = told->answer_ns,
    };
    uint64_t sum_ns = 0;
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        sum_ns += ns[i];
    }
    if (sum_ns == 0) {
        return;
    }
    ns[PERF_STAGE_client] = latency_ns > sum_ns ? latency_ns - sum_ns : 0;
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        pawl_histogram_record(&stages->ns[i], ns[i]);
    }
}

void perf_stages_merge(struct perf_stages *stages, const struct perf_stages *from)
{
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        pawl_histogram_merge(&stages->ns[i], &from->ns[i]);
    }
}

struct perf_stage_figures perf_stage_figures(const struct perf_stages *stages,
                                             enum perf_stage stage)
{
    const struct pawl_histogram *ns = &stages->ns[stage];
    double sum_ns = 0;
    for (unsigned i = 0; i < PERF_STAGES_COUNT; i++) {
        sum_ns += (double)stages->ns[i].sum;
    }
    if (ns->count == 0) {
        return (struct perf_stage_figures){NAN, NAN, NAN, NAN};
    }
    return (struct perf_stage_figures){
        .mean_us = (double)ns->sum / (double)ns->count / 1e3,
        .p50_us = (double)pawl_histogram_percentile(ns, 50) / 1e3,
        .p99_us = (double)pawl_histogram_percentile(ns, 99) / 1e3,
        .share = sum_ns > 0 ? (double)ns->sum / sum_ns : NAN,
    };
}
