// SPDX-License-Identifier: Apache-2.0
// The points of a sweep and the choice among them.
#include "perf/roofline/sweep.h"

#include "base/clock.h"
#include "perf/roofline/shape.h"

#define KEPT_UP 0.95 // of the offered rate

static const uint32_t batches[] = {1, 4, 16, 64, 256};
static const enum roofline_wait waits[] = {ROOFLINE_WAIT_SLEEP, ROOFLINE_WAIT_SPIN,
                                           ROOFLINE_WAIT_YIELD};
static const uint32_t slices[] = {0, 256u << 10};
static const uint32_t disk_reads[] = {0, 1, 2}; // 0: all

struct plan {
    struct roofline_point *points;
    uint32_t count;
};

static void plan_add(struct plan *plan, const struct roofline_point *point)
{
    if (plan->count < ROOFLINE_POINTS_MAX) {
        plan->points[plan->count++] = *point;
    }
}

static void plan_waits(struct plan *plan, const struct roofline_options *options,
                       struct roofline_point point)
{
    if (options->wait != ROOFLINE_WAIT_BEST) {
        point.wait = options->wait;
        plan_add(plan, &point);
        return;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(waits); i++) {
        point.wait = waits[i];
        plan_add(plan, &point);
    }
}

// Slices are for payloads that travel by one-sided writes and that somebody passes on, and for reads: a slice is
// on its way to the client while the next one is read.
static void plan_slices(struct plan *plan, const struct roofline_options *options,
                        struct roofline_point point)
{
    bool is_sliced = options->what == ROOFLINE_READ ||
                     (options->replicas > 1 && options->record_bytes > WIRE_INLINE_MAX);

    if (!is_sliced || options->slice_bytes != 0) {
        point.slice_bytes = is_sliced ? options->slice_bytes : 0;
        plan_waits(plan, options, point);
        return;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(slices); i++) {
        if (slices[i] < options->record_bytes) {
            point.slice_bytes = slices[i];
            plan_waits(plan, options, point);
        }
    }
}

// Two replicas have one way only. Small payloads stand in the PREPARE, which goes by star in Pawl, too.
static void plan_routes(struct plan *plan, const struct roofline_options *options, uint32_t batch)
{
    bool is_choice = options->what == ROOFLINE_APPEND && options->replicas > 2 &&
                     options->record_bytes > WIRE_INLINE_MAX &&
                     options->route == ROOFLINE_ROUTE_BEST;
    struct roofline_point point = {
        .batch = batch,
        .route = options->route == ROOFLINE_ROUTE_BEST ? ROOFLINE_STAR : options->route,
        .flush = options->flush == ROOFLINE_FLUSH_BEST ? ROOFLINE_SHARED : options->flush,
        .sources = 1};

    plan_slices(plan, options, point);
    if (is_choice) {
        point.route = ROOFLINE_CHAIN;
        plan_slices(plan, options, point);
    }
}

// As many reads as are outstanding are all of them. Some at once are tried where all servers are read from only: each
// point of a longer sweep would have too little time.
static void plan_disk_reads(struct plan *plan, const struct roofline_options *options,
                            struct roofline_point point, bool is_most_sources)
{
    uint32_t outstanding = options->clients * options->depth;

    if (options->disk_reads != 0) {
        point.disk_reads = options->disk_reads < outstanding ? options->disk_reads : 0;
        plan_slices(plan, options, point);
        return;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(disk_reads); i++) {
        if (i == 0 || (is_most_sources && disk_reads[i] < outstanding)) {
            point.disk_reads = disk_reads[i];
            plan_slices(plan, options, point);
        }
    }
}

static void plan_sources(struct plan *plan, const struct roofline_options *options)
{
    uint32_t first = options->sources != 0 ? options->sources : 1;
    uint32_t last = options->sources != 0 ? options->sources : options->replicas;

    for (uint32_t i = first; i <= last; i++) {
        struct roofline_point point = {
            .batch = 1, .route = ROOFLINE_STAR, .flush = ROOFLINE_FDATASYNC, .sources = i};
        plan_disk_reads(plan, options, point, i == last);
    }
}

uint32_t sweep_plan(const struct roofline_options *options,
                    struct roofline_point points[ROOFLINE_POINTS_MAX])
{
    struct plan plan = {.points = points};
    uint32_t outstanding = options->clients * options->depth;

    if (options->what == ROOFLINE_READ) {
        plan_sources(&plan, options);
        return plan.count;
    }
    if (options->batch != 0) {
        plan_routes(&plan, options, options->batch);
        return plan.count;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(batches); i++) {
        if (i == 0 ||
            batches[i - 1] < outstanding) { // the last one holds all that can be in flight
            plan_routes(&plan, options, batches[i]);
        }
    }
    return plan.count;
}

static bool is_better(const struct roofline_options *options, const struct roofline_point *a,
                      const struct roofline_point *b)
{
    if (options->rate_per_s > 0) {
        bool a_kept = a->ops_per_s >= KEPT_UP * options->rate_per_s;
        bool b_kept = b->ops_per_s >= KEPT_UP * options->rate_per_s;
        if (a_kept != b_kept) {
            return a_kept;
        }
        if (a_kept) {
            return a->p999_us < b->p999_us;
        }
    }
    return a->ops_per_s > b->ops_per_s;
}

uint32_t sweep_best(const struct roofline_options *options, const struct roofline_point *points,
                    uint32_t count)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < count; i++) {
        if (is_better(options, &points[i], &points[best])) {
            best = i;
        }
    }
    return best;
}

void sweep_rank(const struct roofline_options *options, const struct roofline_point *points,
                uint32_t count, uint32_t ret_places[ROOFLINE_POINTS_MAX])
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && is_better(options, &points[i], &points[ret_places[at - 1]]); at--) {
            ret_places[at] = ret_places[at - 1];
        }
        ret_places[at] = i;
    }
}

uint32_t sweep_variants(const struct roofline_options *options, bool lacks_fua,
                        const struct roofline_point *point,
                        struct roofline_point ret[SWEEP_VARIANTS_MAX])
{
    static const enum roofline_flush others[] = {ROOFLINE_FDATASYNC, ROOFLINE_DSYNC,
                                                 ROOFLINE_SHARED_DSYNC};
    uint32_t count = 1;
    bool is_in_place = options->what == ROOFLINE_APPEND && options->is_durable &&
                       options->record_bytes > SHAPE_JOURNALED_MAX;

    ret[0] = *point;
    if (!is_in_place || options->flush != ROOFLINE_FLUSH_BEST) {
        return count;
    }
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(others); i++) {
        if (others[i] != ROOFLINE_SHARED_DSYNC || lacks_fua) {
            ret[count] = *point;
            ret[count++].flush = others[i];
        }
    }
    return count;
}

static double ratio_of(double a, double b)
{
    return b > 0 ? a / b : 0;
}

void sweep_point_fill(struct roofline_point *point, const struct roofline_options *options,
                      const struct pawl_histogram *latencies, const struct sweep_counts *counts)
{
    double window_s = (double)counts->window_ns / (double)PAWL_NS_PER_S;
    double all_gb = (double)counts->records_count * options->record_bytes / 1e9;

    point->ops_per_s = ratio_of((double)counts->window_count, window_s);
    point->bytes_per_s = point->ops_per_s * options->record_bytes;
    point->p50_us = (double)pawl_histogram_percentile(latencies, 50) / 1e3;
    point->p99_us = (double)pawl_histogram_percentile(latencies, 99) / 1e3;
    point->p999_us = (double)pawl_histogram_percentile(latencies, 99.9) / 1e3;
    point->cpu_s_per_gb = ratio_of((double)counts->cpu_ns / 1e9, all_gb);
    point->replica_cpu_s_per_gb =
        ratio_of((double)counts->servers_cpu_ns / 1e9 / options->replicas, all_gb);
    point->records_per_flush =
        ratio_of((double)counts->records_count, (double)counts->primary_flushes_count);
    point->records_per_message =
        ratio_of((double)counts->primary_entries_count, (double)counts->primary_messages_count);
}
