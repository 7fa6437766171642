// SPDX-License-Identifier: Apache-2.0
// The roofline of a verb's shape, measured in the same run.
#include "perf/beside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "perf/interrupt.h"
#include "perf/perf.h"
#include "perf/run.h"

#define SHORT_MS                                                                                   \
    1000u // a round that short doesn't go through large files, which take longer to write
#define OPS_MS 2000u
#define SHORT_FILE_BYTES (UINT64_C(32) << 20)

int perf_beside_init(const struct perf_options *options, const struct perf_cluster *cluster,
                     struct perf_beside *ret_beside, const char **ret_why)
{
    struct roofline_options roofline;
    roofline_options_init(&roofline);
    roofline.what = options->verb == PERF_READ ? ROOFLINE_READ : ROOFLINE_APPEND;
    roofline.provider = cluster->local.provider;
    roofline.dir = cluster->local.dir;
    roofline.record_bytes = (uint32_t)options->bytes;
    // What is beyond any bound of its own is refused below.
    roofline.depth = (uint32_t)PAWL_MIN(options->depth, (uint64_t)UINT32_MAX);
    roofline.clients = (uint32_t)options->clients;
    roofline.replicas = (uint32_t)options->replicas;
    roofline.route = strcmp(options->route, "chain") == 0  ? ROOFLINE_CHAIN
                     : strcmp(options->route, "star") == 0 ? ROOFLINE_STAR
                                                           : ROOFLINE_ROUTE_BEST;
    roofline.duration_ms = (uint32_t)PAWL_MIN(options->duration_ms, (uint64_t)UINT32_MAX);
    if (options->ops != 0) { // a round is over with them, whatever time it was given
        roofline.duration_ms = PAWL_MIN(roofline.duration_ms, OPS_MS);
    }
    roofline.warm_up_ms = (uint32_t)PAWL_MIN(options->warm_up_ms, (uint64_t)UINT32_MAX);
    roofline.rate_per_s = (double)options->rate_per_s;
    roofline.is_durable = perf_ack(options) == PAWL_ACK_DURABLE;
    roofline.stop_fd = perf_interrupt_fd();
    if (options->duration_ms < SHORT_MS) {
        roofline.file_bytes = PAWL_MAX(SHORT_FILE_BYTES, 4 * pawl_align_up(options->bytes, 4096) *
                                                             PAWL_MIN(options->clients, 64u));
    }
    if (roofline_options_check(&roofline, ret_why) != 0) {
        return PAWL_EINVALID;
    }
    *ret_beside = (struct perf_beside){.options = roofline, .has_duties = options->duties};
    return 0;
}

void perf_beside_fini(struct perf_beside *beside)
{
    roofline_files_close(&beside->files);
}

static int failed(const struct roofline_result *result)
{
    // One that a terminal sends goes to the roofline's processes, too: that they have ended is no news then.
    if (perf_interrupted() != 0) {
        return PERF_SIGNAL + perf_interrupted();
    }
    fprintf(stderr, "pawl-perf: roofline: %s\n", result->error);
    return PERF_FAILED;
}

// What is acknowledged from memory is written nowhere, so not twice.
static uint32_t duties_of(const struct roofline_options *options)
{
    return options->is_durable ? ROOFLINE_DUTIES_ALL
                               : ROOFLINE_DUTIES_ALL & ~ROOFLINE_DUTY_SECOND_WRITE;
}

// The same point with all duties, for the round's explanation. These are processes of their own, so how to wait is tried
// once more.
static int duties_round(const struct roofline_options *roofline, struct roofline_result *result,
                        struct perf_round *round)
{
    struct roofline_options options = *roofline;
    options.duties = duties_of(roofline);
    if (roofline_run(&options, result) != 0) {
        return failed(result);
    }
    round->roofline.duties_ops_per_s = result->ops_per_s;
    round->roofline.duties_p999_us = result->p999_us;
    round->roofline.duties_replica_cpu_s_per_gb = result->replica_cpu_s_per_gb;
    return 0;
}

int perf_beside_round(struct perf_beside *beside, struct perf_round *round)
{
    struct roofline_options *roofline = &beside->options;
    struct roofline_result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        fputs("pawl-perf: roofline: out of memory\n", stderr);
        return PERF_FAILED;
    }
    int code = 0;
    if (beside->files.count == 0) {
        struct roofline_options files = *roofline;
        files.duties = beside->has_duties ? duties_of(roofline) : 0; // they need a data file
        code = roofline_files_open(&files, &beside->files, result->error);
    }
    roofline->files = &beside->files;
    code = code != 0 || roofline_run(roofline, result) != 0 ? failed(result) : 0;
    if (code == 0) {
        round->roofline =
            (struct perf_roofline){.duties_ops_per_s = NAN,
                                   .duties_p999_us = NAN,
                                   .duties_replica_cpu_s_per_gb = NAN,
                                   .ops_per_s = result->ops_per_s,
                                   .bytes_per_s = result->bytes_per_s,
                                   .p50_us = result->p50_us,
                                   .p999_us = result->p999_us,
                                   .cpu_s_per_gb = result->cpu_s_per_gb,
                                   .replica_cpu_s_per_gb = result->replica_cpu_s_per_gb};
        roofline->batch = result->batch;
        roofline->route = result->route;
        roofline->flush = result->flush;
        roofline->sources = result->sources;
        // All at once, said so that nothing is swept again.
        roofline->disk_reads =
            result->disk_reads != 0 ? result->disk_reads : ROOFLINE_DISK_READS_MAX;
        // How to wait is tried in each round: what is best hangs on where the scheduler has put the processes.
        // Whole payloads are one slice, said so that nothing is swept again.
        roofline->slice_bytes = result->slice_bytes != 0
                                    ? result->slice_bytes
                                    : (uint32_t)pawl_align_up(roofline->record_bytes, 64u << 10);
        beside->slice_bytes = result->slice_bytes;
        beside->records_per_flush = result->records_per_flush;
        beside->records_per_message = result->records_per_message;
    }
    if (code == 0 && beside->has_duties) {
        code = duties_round(roofline, result, round);
    }
    free(result);
    return code;
}

static struct roofline_claim best_rounds(const struct perf_result *result)
{
    struct roofline_claim best = {.p50_us = INFINITY, .p999_us = INFINITY};
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        const struct perf_roofline *round = &result->rounds[i].roofline;
        best.ops_per_s = fmax(best.ops_per_s, round->ops_per_s);
        best.p50_us = fmin(best.p50_us, round->p50_us);
        best.p999_us = fmin(best.p999_us, round->p999_us);
    }
    return best;
}

int perf_beside_check(const struct perf_beside *beside, struct perf_result *result)
{
    struct roofline_result *checked = calloc(1, sizeof *checked);
    if (checked == NULL) {
        fputs("pawl-perf: roofline: out of memory\n", stderr);
        return PERF_FAILED;
    }
    struct perf_roofline median = perf_result_roofline(result);
    checked->size = sizeof *checked;
    checked->ops_per_s = median.ops_per_s;
    checked->bytes_per_s = median.bytes_per_s;
    checked->p50_us = median.p50_us;
    checked->p999_us = median.p999_us;
    checked->cpu_s_per_gb = median.cpu_s_per_gb;
    checked->route = beside->options.route;
    checked->flush = beside->options.flush;
    checked->sources = beside->options.sources;
    checked->disk_reads = beside->options.disk_reads;
    checked->slice_bytes = beside->slice_bytes;
    checked->records_per_flush = beside->records_per_flush;
    checked->records_per_message = beside->records_per_message;
    int code = roofline_check(&beside->options, checked) != 0 ? failed(checked) : 0;
    if (code == 0) {
        struct roofline_claim claim = {
            .ops_per_s = perf_result_spread(result, PERF_FIGURE_ops_per_s).median,
            .p50_us = perf_result_spread(result, PERF_FIGURE_p50_us).median,
            .p999_us = perf_result_spread(result, PERF_FIGURE_p999_us).median};
        struct roofline_claim best = best_rounds(result);
        roofline_refute(&beside->options, checked, &best, &claim);
        result->roofline_valid = checked->is_valid;
        snprintf(result->roofline_why, sizeof result->roofline_why, "%s", checked->why);
        model_of(&beside->options, checked, &result->roofline_model);
    }
    free(checked);
    return code;
}
