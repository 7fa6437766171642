// SPDX-License-Identifier: Apache-2.0
// A run of the roofline: processes, sweep, measurement, and what the files hold in the end.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/device.h"
#include "perf/roofline/nodes.h"
#include "perf/roofline/run.h"
#include "perf/roofline/shape.h"
#include "perf/roofline/sweep.h"

#define OPEN_MS 20000u
#define ASK_MS 5000u
#define POINT_MS_MIN 100u     // of a point of the sweep, unless the measurement is shorter
#define SWEEP_MS 12000u       // of all points, warm-up excluded
#define POINT_WARM_UP_MS 200u // of a point, at most: the processes are warm from the one before
#define AGAIN_COUNT 5u        // the best points, which are measured again

struct run {
    const struct roofline_options *options;
    struct roofline_result *result;
    struct shape shape;
    struct nodes nodes; // servers, then the clients
    uint32_t servers_count, clients_at;
    const struct roofline_files *files;
};

void run_config_fill(struct node_config *config, const struct roofline_options *options,
                     uint32_t batch_max, uint32_t block_bytes)
{
    *config = (struct node_config){
        .options = *options,
        .batch_max = batch_max,
        .block_bytes = block_bytes,
    };
    snprintf(config->provider, sizeof(config->provider), "%s", options->provider);
    snprintf(config->host, sizeof(config->host), "%s", options->host);
}

// ---- processes --------------------------------------------------------------------------------

// What the shape doesn't use is one page.
static int server_files(struct nodes *nodes, const struct roofline_options *options, int fds[2],
                        uint32_t *ret_block_bytes)
{
    struct shape shape;
    shape_init(&shape, options);
    bool is_read = options->what == ROOFLINE_READ;
    bool has_journal = !is_read && options->is_durable;
    bool has_data =
        is_read || (options->is_durable &&
                    (shape.is_in_place || (options->duties & ROOFLINE_DUTY_SECOND_WRITE) != 0));

    fds[0] = nodes_file(nodes, options->dir, has_journal ? options->file_bytes : 4096, 0,
                        ret_block_bytes);
    if (fds[0] < 0) {
        return fds[0];
    }
    fds[1] = nodes_file(nodes, options->dir, has_data ? options->file_bytes : 4096,
                        is_read ? options->record_bytes : 0, ret_block_bytes);
    if (fds[1] < 0) {
        int rc = fds[1];
        close(fds[0]);
        fds[0] = fds[1] = -1;
        return rc;
    }
    return 0;
}

int roofline_files_open(const struct roofline_options *options, struct roofline_files *ret_files,
                        char *error)
{
    struct nodes nodes = {.stop_fd = options->stop_fd, .error = error};
    const char *why = NULL;
    int rc = roofline_options_check(options, &why);

    *ret_files = (struct roofline_files){0};
    if (rc != 0) {
        snprintf(error, ROOFLINE_TEXT_MAX, "%s", why);
        return rc;
    }
    for (uint32_t i = 0; i < options->replicas && rc == 0; i++) {
        rc = server_files(&nodes, options, ret_files->fds[i], &ret_files->block_bytes);
        ret_files->count += rc == 0;
    }
    ret_files->lacks_fua = rc == 0 && pawl_device_lacks_fua(ret_files->fds[0][0]);
    if (rc != 0) {
        roofline_files_close(ret_files);
    }
    return rc;
}

void roofline_files_close(struct roofline_files *files)
{
    for (uint32_t i = 0; i < files->count; i++) {
        close(files->fds[i][0]);
        close(files->fds[i][1]);
    }
    files->count = 0;
}

// The node takes its descriptors: of files that stay it gets others.
static int server_start(struct run *run, uint32_t index, uint32_t batch_max)
{
    int fds[2] = {-1, -1};
    struct node_config config;
    struct node *node = NULL;

    for (int i = 0; i < 2; i++) {
        fds[i] = fcntl(run->files->fds[index][i], F_DUPFD_CLOEXEC, 0);
        if (fds[i] < 0) {
            int rc = -errno;
            if (i == 1) {
                close(fds[0]);
            }
            return nodes_fail(&run->nodes, rc, "a descriptor: %s", strerror(-rc));
        }
    }
    run_config_fill(&config, run->options, batch_max, run->files->block_bytes);
    config.role = NODE_SERVER;
    config.index = index;
    return nodes_start(&run->nodes, &config, fds, &node);
}

static void ports_tell(struct run *run)
{
    uint16_t ports[ROOFLINE_REPLICAS_MAX] = {0};
    for (uint32_t j = 0; j < run->servers_count; j++) {
        ports[j] = run->nodes.items[j]->said.ports[0];
    }
    for (uint32_t i = 0; i < run->nodes.count; i++) {
        memcpy(run->nodes.items[i]->said.ports, ports, sizeof(ports));
        run->nodes.items[i]->said.ports_count = run->servers_count;
    }
}

static int processes_start(struct run *run, uint32_t batch_max)
{
    const int none[2] = {-1, -1};
    struct node_config config;
    struct node *node = NULL;
    int rc = 0;

    run->servers_count = run->options->replicas;
    run->clients_at = run->servers_count;
    for (uint32_t i = 0; i < run->servers_count && rc == 0; i++) {
        rc = server_start(run, i, batch_max);
    }
    if (rc == 0) {
        run_config_fill(&config, run->options, batch_max, run->files->block_bytes);
        config.role = NODE_CLIENTS;
        rc = nodes_start(&run->nodes, &config, none, &node);
    }
    rc = rc == 0 ? nodes_ask(&run->nodes, 0, run->nodes.count, CONTROL_OPEN, OPEN_MS) : rc;
    if (rc != 0) {
        return rc;
    }
    ports_tell(run);
    rc = nodes_ask(&run->nodes, 0, run->servers_count, CONTROL_CONNECT, OPEN_MS);
    return rc == 0 ? nodes_ask(&run->nodes, run->clients_at, 1, CONTROL_CONNECT, OPEN_MS) : rc;
}

// ---- one point --------------------------------------------------------------------------------

static void counts_take(struct run *run, struct sweep_counts *counts)
{
    struct roofline_result *result = run->result;

    *counts = (struct sweep_counts){0};
    result->writes_count = 0;
    result->flushes_count = 0;
    result->reads_count = 0;
    result->messages_count = 0;
    result->message_bytes = 0;
    result->transfers_count = 0;
    for (uint32_t i = 0; i < run->nodes.count; i++) {
        const struct node_stats *stats = &run->nodes.items[i]->said.u.stats;
        counts->cpu_ns += stats->cpu_ns;
        counts->servers_cpu_ns += i < run->servers_count ? stats->cpu_ns : 0;
        result->writes_count += stats->writes_count;
        result->flushes_count += stats->flushes_count;
        result->reads_count += stats->reads_count;
        result->messages_count += stats->messages_count;
        result->message_bytes += stats->message_bytes;
        result->transfers_count += stats->transfers_count;
    }
    const struct node_stats *primary = &run->nodes.items[0]->said.u.stats;
    const struct node_stats *clients = &run->nodes.items[run->clients_at]->said.u.stats;
    counts->records_count = clients->records_count;
    counts->window_count = clients->window_count;
    counts->primary_flushes_count = primary->flushes_count;
    counts->primary_messages_count = primary->appends_count + primary->prepares_count;
    counts->primary_entries_count = primary->entries_count;
    result->sent_count = clients->sent_count;
    result->answered_count = clients->records_count;
    if (run->options->what == ROOFLINE_READ) {
        result->verified_count = clients->verified_count;
    }
}

static int point_run(struct run *run, struct roofline_point *point, uint32_t duration_ms,
                     uint32_t warm_up_ms)
{
    struct node *clients = run->nodes.items[run->clients_at];
    struct control_point asked = {
        .batch = point->batch,
        .wait = point->wait,
        .slice_bytes = point->slice_bytes,
        .route = point->route,
        .flush = point->flush,
        .sources = point->sources,
        .disk_reads = point->disk_reads,
        .duration_ms = duration_ms,
        .warm_up_ms = warm_up_ms,
    };
    uint32_t timeout_ms = duration_ms + asked.warm_up_ms + run->options->operation_ms + ASK_MS;
    struct pawl_histogram latencies;
    struct sweep_counts counts;

    for (uint32_t i = 0; i < run->nodes.count; i++) {
        run->nodes.items[i]->said.u.point = asked;
    }
    int rc = nodes_ask(&run->nodes, 0, run->servers_count, CONTROL_POINT, ASK_MS);
    rc = rc == 0 ? nodes_ask(&run->nodes, run->clients_at, 1, CONTROL_RUN, timeout_ms) : rc;
    if (rc != 0) {
        return rc;
    }
    latencies = clients->said.latencies;
    uint64_t window_ns = clients->said.window_ns;
    rc = nodes_ask(&run->nodes, 0, run->nodes.count, CONTROL_STATS, ASK_MS);
    if (rc != 0) {
        return rc;
    }
    counts_take(run, &counts);
    counts.window_ns = window_ns;
    sweep_point_fill(point, run->options, &latencies, &counts);
    if (run->result->sent_count != run->result->answered_count) {
        return nodes_fail(&run->nodes, -EBADMSG, "%llu records sent, %llu answered",
                          (unsigned long long)run->result->sent_count,
                          (unsigned long long)run->result->answered_count);
    }
    return 0;
}

static void result_take(struct roofline_result *result, const struct roofline_point *point)
{
    result->ops_per_s = point->ops_per_s;
    result->bytes_per_s = point->bytes_per_s;
    result->p50_us = point->p50_us;
    result->p99_us = point->p99_us;
    result->p999_us = point->p999_us;
    result->cpu_s_per_gb = point->cpu_s_per_gb;
    result->replica_cpu_s_per_gb = point->replica_cpu_s_per_gb;
    result->batch = point->batch;
    result->wait = point->wait;
    result->slice_bytes = point->slice_bytes;
    result->route = point->route;
    result->flush = point->flush;
    result->sources = point->sources;
    result->disk_reads = point->disk_reads;
    result->records_per_flush = point->records_per_flush;
    result->records_per_message = point->records_per_message;
}

// All points, and then the best of them once more for twice as long: one figure of a noisy machine is no choice. Leaves
// the best one in *ret.
static int points_run(struct run *run, uint32_t each_ms, struct roofline_point *ret)
{
    const struct roofline_options *options = run->options;
    struct roofline_point *points = run->result->points;
    uint32_t count = run->result->points_count;
    uint32_t warm_up_ms = PAWL_MIN(options->warm_up_ms, POINT_WARM_UP_MS);
    uint32_t ranked_count = PAWL_MIN(count, AGAIN_COUNT);
    uint32_t places[ROOFLINE_POINTS_MAX];
    struct roofline_point again[AGAIN_COUNT * SWEEP_VARIANTS_MAX];
    uint32_t again_count = 0;
    int rc = 0;

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = point_run(run, &points[i], each_ms, warm_up_ms);
    }
    sweep_rank(options, points, count, places);
    for (uint32_t i = 0; i < ranked_count; i++) {
        again_count +=
            sweep_variants(options, run->files->lacks_fua, &points[places[i]], &again[again_count]);
    }
    for (uint32_t i = 0; i < again_count && rc == 0; i++) {
        rc = point_run(run, &again[i], 2 * each_ms, warm_up_ms);
    }
    if (rc == 0) {
        *ret = again[sweep_best(options, again, again_count)];
    }
    return rc;
}

static int sweep_run(struct run *run)
{
    const struct roofline_options *options = run->options;
    struct roofline_result *result = run->result;
    struct roofline_point best = result->points[0];
    int rc = 0;

    if (result->points_count > 1) {
        uint32_t each_ms = PAWL_MIN(options->duration_ms / 4, SWEEP_MS / result->points_count);
        each_ms = PAWL_MIN(PAWL_MAX(each_ms, POINT_MS_MIN), options->duration_ms);
        rc = points_run(run, each_ms, &best);
    }
    rc = rc == 0 ? point_run(run, &best, options->duration_ms, options->warm_up_ms) : rc;
    if (rc == 0) {
        result_take(result, &best);
        if (result->points_count == 1) {
            result->points[0] = best;
        }
    }
    return rc;
}

// ---- what the files hold ----------------------------------------------------------------------

static int file_read(const struct run *run, int fd, uint64_t bytes, uint8_t *memory)
{
    (void)run;
    for (uint64_t at = 0; at < bytes;) {
        ssize_t got = pread(fd, memory + at, PAWL_MIN(bytes - at, UINT64_C(1) << 20), (off_t)at);
        if (got <= 0) {
            return got < 0 ? -errno : -EIO;
        }
        at += (uint64_t)got;
    }
    return 0;
}

static int server_verify(struct run *run, uint32_t index, uint8_t *journal, uint8_t *data)
{
    const struct roofline_options *options = run->options;
    const struct node *node = run->nodes.items[index];
    uint64_t records = (uint64_t)options->records_max * options->clients;
    uint64_t data_bytes = run->shape.is_in_place ? options->file_bytes : 0;
    struct shape_found found = {.seen = calloc(1, records)};
    int rc = found.seen != NULL ? 0 : -ENOMEM;

    rc = rc == 0 ? file_read(run, node->fds[0], options->file_bytes, journal) : rc;
    rc = rc == 0 ? file_read(run, node->fds[1], data_bytes, data) : rc;
    if (rc != 0) {
        free(found.seen);
        return nodes_fail(&run->nodes, rc, "reading files back: %s", strerror(-rc));
    }
    int64_t count = shape_journal_walk(&run->shape, journal, options->file_bytes, data, data_bytes,
                                       run->files->block_bytes, options->records_max, &found);
    free(found.seen);
    if (count < 0 || found.found_count != run->result->answered_count) {
        return nodes_fail(&run->nodes, -EBADMSG, "server %u holds %llu of %llu records: %s", index,
                          (unsigned long long)found.found_count,
                          (unsigned long long)run->result->answered_count,
                          found.why != NULL ? found.why : "no more are there");
    }
    run->result->verified_count += found.found_count;
    return 0;
}

static int files_verify(struct run *run)
{
    const struct roofline_options *options = run->options;

    if (!options->is_verified || options->what == ROOFLINE_READ || !options->is_durable) {
        return 0;
    }
    uint8_t *journal = aligned_alloc(SHAPE_PAGE_BYTES, options->file_bytes);
    uint8_t *data = aligned_alloc(SHAPE_PAGE_BYTES, options->file_bytes);
    int rc = journal != NULL && data != NULL ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < run->servers_count && rc == 0; i++) {
        rc = server_verify(run, i, journal, data);
    }
    free(journal);
    free(data);
    return rc;
}

// ---- the run ----------------------------------------------------------------------------------

static uint32_t batch_largest(const struct roofline_result *result, const struct shape *shape)
{
    uint32_t batch = 1;

    for (uint32_t i = 0; i < result->points_count; i++) {
        batch = PAWL_MAX(batch, result->points[i].batch);
    }
    return PAWL_MIN(batch, shape->outstanding);
}

int roofline_run(const struct roofline_options *options, struct roofline_result *ret_result)
{
    struct run run = {.options = options, .result = ret_result};
    const char *why = NULL;

    struct roofline_files own = {0};

    *ret_result = (struct roofline_result){.size = sizeof(*ret_result)};
    snprintf(ret_result->why, sizeof(ret_result->why), "the parts were not checked");
    int rc = roofline_options_check(options, &why);
    if (rc != 0) {
        snprintf(ret_result->error, sizeof(ret_result->error), "%s", why);
        return rc;
    }
    shape_init(&run.shape, options);
    ret_result->points_count = sweep_plan(options, ret_result->points);
    if (options->is_verified && ret_result->points_count > 1) {
        snprintf(
            ret_result->error, sizeof(ret_result->error),
            "what is to be verified is one point: batch, wait, slice, and route or servers and "
            "reads at their disks must be given");
        return -EINVAL;
    }
    rc = nodes_init(&run.nodes, options, ret_result->error);
    run.files = options->files;
    if (rc == 0 && run.files == NULL) {
        rc = roofline_files_open(options, &own, ret_result->error);
        run.files = &own;
    }
    rc = rc == 0 ? processes_start(&run, batch_largest(ret_result, &run.shape)) : rc;
    rc = rc == 0 ? sweep_run(&run) : rc;
    rc = rc == 0 ? files_verify(&run) : rc;
    int ended = nodes_stop(&run.nodes);
    rc = rc == 0 ? ended : rc;
    roofline_files_close(&own);
    if (rc != 0 && ret_result->error[0] == '\0') {
        snprintf(ret_result->error, sizeof(ret_result->error), "%s", strerror(-rc));
    }
    return rc;
}
