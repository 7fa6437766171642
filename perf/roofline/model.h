// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: a model that explains its figure from the parts that were checked. Pure.
//
// Latencies add: a record alone takes the sum of the steps on its way. Throughput is the smallest of what the shared
// resources give, and of what the records in flight can do in such a latency. It is no bound that anything is judged by:
// steps overlap, and parts were measured alone. docs/roofline.md has the formulas.
#ifndef PAWL_PERF_ROOFLINE_MODEL_H
#define PAWL_PERF_ROOFLINE_MODEL_H

#include "perf/roofline/roofline.h"

#define MODEL_STEPS_MAX 8u
#define MODEL_BOUNDS_MAX 5u

// What was measured; 0: was not.
struct model_parts {
    double message_us; // one way
    double wire_bytes_per_s;
    double flushes_per_s;    // durable writes of the journal, one in flight
    double disk_bytes_per_s; // payloads: writes or reads
    double cpu_s_per_record; // of all processes
    double journal_records;  // in one write of the journal
    double message_records;  // in one message between servers
    uint32_t processors;
    uint32_t slice_bytes; // of the point that was measured: 0: whole
    uint32_t sources;
    bool is_chain;
    bool is_flush_shared; // payloads need none of their own
};

struct model_step {
    const char *name; // static
    double us;
};

struct model_bound {
    const char *name; // static
    double ops_per_s;
};

struct model {
    struct model_step steps[MODEL_STEPS_MAX]; // in their order
    uint32_t steps_count;
    double latency_us; // their sum
    struct model_bound bounds[MODEL_BOUNDS_MAX];
    uint32_t bounds_count;
    const char *bound; // name of the smallest
    double ops_per_s;  // it
};

// Parts of a result that was checked; of its point: batches, slices, sources, route, flush and CPU time.
void model_parts_take(const struct roofline_options *options, const struct roofline_result *result,
                      struct model_parts *ret);

// False: what this shape needs was not measured, and *ret has no steps.
bool model_make(const struct roofline_options *options, const struct model_parts *parts,
                struct model *ret);

// Both.
void model_of(const struct roofline_options *options, const struct roofline_result *result,
              struct model *ret);

// Records in one write of the journal, from the records for each flush of any kind: of large records each write, or
// each lot of writes, has its own flush before.
double model_journal_records(const struct roofline_options *options, enum roofline_flush flush,
                             double records_per_flush);

#endif
