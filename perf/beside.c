// SPDX-License-Identifier: Apache-2.0
// The roofline of a verb's shape, measured in the same run.
#include "perf/beside.h"

#include <stdlib.h>
#include <string.h>

#include "perf/perf.h"

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
    roofline.route = strcmp(options->route, "chain") == 0 ? ROOFLINE_CHAIN : ROOFLINE_STAR;
    roofline.duration_ms = (uint32_t)PAWL_MIN(options->duration_ms, (uint64_t)UINT32_MAX);
    roofline.warm_up_ms = (uint32_t)PAWL_MIN(options->warm_up_ms, (uint64_t)UINT32_MAX);
    roofline.rate_per_s = (double)options->rate_per_s;
    if (roofline_options_check(&roofline, ret_why) != 0) {
        return PAWL_EINVALID;
    }
    *ret_beside = (struct perf_beside){.options = roofline};
    return 0;
}

static int failed(const struct roofline_result *result)
{
    fprintf(stderr, "pawl-perf: roofline: %s\n", result->error);
    return PERF_FAILED;
}

int perf_beside_round(struct perf_beside *beside, struct perf_round *round)
{
    struct roofline_options *roofline = &beside->options;
    struct roofline_result *result = calloc(1, sizeof *result);
    if (result == NULL) {
        fputs("pawl-perf: roofline: out of memory\n", stderr);
        return PERF_FAILED;
    }
    int code = roofline_run(roofline, result) != 0 ? failed(result) : 0;
    if (code == 0) {
        round->roofline = (struct perf_roofline){.ops_per_s = result->ops_per_s,
                                                 .bytes_per_s = result->bytes_per_s,
                                                 .p50_us = result->p50_us,
                                                 .p999_us = result->p999_us,
                                                 .cpu_s_per_gb = result->cpu_s_per_gb};
        roofline->batch = result->batch;
        roofline->wait = result->wait;
        roofline->slice_bytes = result->slice_bytes;
        beside->slice_bytes = result->slice_bytes;
        beside->records_per_flush = result->records_per_flush;
        beside->records_per_message = result->records_per_message;
    }
    free(result);
    return code;
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
    checked->slice_bytes = beside->slice_bytes;
    checked->records_per_flush = beside->records_per_flush;
    checked->records_per_message = beside->records_per_message;
    int code = roofline_check(&beside->options, checked) != 0 ? failed(checked) : 0;
    if (code == 0) {
        roofline_refute(checked, perf_result_spread(result, PERF_FIGURE_ops_per_s).median,
                        perf_result_spread(result, PERF_FIGURE_p50_us).median);
        result->roofline_valid = checked->is_valid;
        snprintf(result->roofline_why, sizeof result->roofline_why, "%s", checked->why);
    }
    free(checked);
    return code;
}
