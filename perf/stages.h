// SPDX-License-Identifier: Apache-2.0
// Where the time of appends goes, stage by stage. Stages follow each other: of each append they add up to its
// latency. Pure; owner's thread only.
#ifndef PAWL_PERF_STAGES_H
#define PAWL_PERF_STAGES_H

#include <stdint.h>

#include "base/histogram.h"
#include <pawl/pawl.h>

// X(name, what it is)
#define PERF_STAGES(X)                                                                             \
    X(client, "in the client, before it is sent and after it is answered")                         \
    X(push, "on the way: payload and request to the primary, the answer back")                     \
    X(prepare, "at the primary, until disk and replicas have it to do")                            \
    X(flush, "until it is durable at the primary")                                                 \
    X(commit, "until it is durable on the other replicas, too")                                    \
    X(answer, "at the primary, until the answer leaves")

#define PERF_STAGE_ENUM(name, text) PERF_STAGE_##name,
enum perf_stage { PERF_STAGES(PERF_STAGE_ENUM) PERF_STAGES_COUNT };
#undef PERF_STAGE_ENUM

struct perf_stages {
    struct pawl_histogram ns[PERF_STAGES_COUNT];
};

// NaN when nothing was recorded.
struct perf_stage_figures {
    double mean_us;
    double p50_us;
    double p99_us;
    double share; // of the sum of all stages, 0 to 1
};

void perf_stages_init(struct perf_stages *stages);
// What the library tells of an append, and the rest of its latency as the client's. Nothing when it tells nothing.
void perf_stages_record(struct perf_stages *stages, uint64_t latency_ns,
                        const struct pawl_append_stages *told);
void perf_stages_merge(struct perf_stages *stages, const struct perf_stages *from);
struct perf_stage_figures perf_stage_figures(const struct perf_stages *stages,
                                             enum perf_stage stage);

const char *perf_stage_name(enum perf_stage stage);
const char *perf_stage_text(enum perf_stage stage);

#endif
