// SPDX-License-Identifier: Apache-2.0
// The honesty check: the roofline's parts alone, each beside an independent tool that does the same.
//
// A part and its tool run by turns, and the best of their rounds are compared: what else runs on the machine only
// ever takes away, so the best is the steadiest figure that both have.
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "perf/roofline/model.h"
#include "perf/roofline/nodes.h"
#include "perf/roofline/run.h"
#include "perf/roofline/shape.h"
#include "perf/roofline/tools.h"

#define ROUNDS 7u
#define ROUND_MS 250u
#define OPEN_MS 20000u
#define ANSWER_MS 15000u
#define TOOL_MS 30000u
#define WIRE_BYTES_MAX (1u << 20)
#define DISK_DEPTH_MAX 64u
#define FILE_BYTES (UINT64_C(64) << 20)

struct check {
    const struct roofline_options *options;
    struct roofline_result *result;
    struct shape shape;
    struct nodes nodes;
};

static struct roofline_part *part_add(struct check *check, enum roofline_part_kind kind,
                                      uint32_t bytes)
{
    struct roofline_part *part = &check->result->parts[check->result->parts_count++];

    memset(part, 0, sizeof(*part));
    part->kind = kind;
    part->bytes = bytes;
    return part;
}

static bool is_time(const struct roofline_part *part)
{
    return part->kind == ROOFLINE_PART_MESSAGE;
}

// What one side measured in its rounds.
struct rounds {
    double values[ROUNDS];
    uint32_t count;
};

static int values_compare(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

// The best round, and how much of it the median is, as a speed.
static double rounds_best(struct rounds *rounds, bool is_less_better, double *ret_steadiness)
{
    qsort(rounds->values, rounds->count, sizeof(rounds->values[0]), values_compare);
    double median = rounds->values[rounds->count / 2];
    double best = rounds->values[is_less_better ? 0 : rounds->count - 1];

    *ret_steadiness = is_less_better ? best / median : median / best;
    return best;
}

static void part_end(struct roofline_part *part, struct rounds *ours, struct rounds *tools)
{
    double steadiness[2] = {1, 1};

    if (ours->count > 0) {
        part->ours = rounds_best(ours, is_time(part), &steadiness[0]);
    }
    if (tools->count < ROUNDS) {
        return; // the judgement says that there was no comparison
    }
    part->tools = rounds_best(tools, is_time(part), &steadiness[1]);
    part->ratio = is_time(part) ? part->tools / part->ours : part->ours / part->tools;
    part->steadiness = PAWL_MIN(steadiness[0], steadiness[1]);
}

// ---- the wire ---------------------------------------------------------------------------------

static int pair_start(struct check *check, uint32_t bytes, bool is_written)
{
    const int none[2] = {-1, -1};
    struct node_config config;
    struct node *node = NULL;

    run_config_fill(&config, check->options, 1, SHAPE_PAGE_BYTES);
    config.options.what = ROOFLINE_APPEND;
    config.options.is_verified = false;
    config.options.record_bytes = bytes;
    config.options.depth = 1;
    config.options.clients = 1;
    config.is_written = is_written;
    config.role = NODE_PONG;
    int rc = nodes_start(&check->nodes, &config, none, &node);
    if (rc == 0) {
        config.role = NODE_PING;
        rc = nodes_start(&check->nodes, &config, none, &node);
    }
    rc = rc == 0 ? nodes_ask(&check->nodes, 0, 2, CONTROL_OPEN, OPEN_MS) : rc;
    if (rc == 0) {
        check->nodes.items[1]->said.ports[0] = check->nodes.items[0]->said.ports[0];
        rc = nodes_ask(&check->nodes, 1, 1, CONTROL_CONNECT, OPEN_MS);
    }
    return rc;
}

// Asks a node for one round of its work: operations and the time that they took.
static int round_run(struct check *check, uint32_t index, double *ret_count, double *ret_us)
{
    struct node *node = check->nodes.items[index];

    node->said.u.point = (struct control_point){.batch = 1, .duration_ms = ROUND_MS};
    int rc = nodes_ask(&check->nodes, index, 1, CONTROL_RUN, ANSWER_MS);
    *ret_count = (double)node->said.latencies.count;
    *ret_us = (double)node->said.window_ns / 1e3;
    return rc;
}

static int ping_rounds(struct check *check, struct roofline_part *part, uint32_t bytes)
{
    struct tool_ping ping = {.provider = check->options->provider,
                             .host = check->options->host,
                             .bytes = bytes,
                             .timeout_ms = TOOL_MS,
                             .stop_fd = check->options->stop_fd};
    struct rounds ours = {0};
    struct rounds tools = {0};

    for (uint32_t i = 0; i < ROUNDS; i++) {
        double count, took_us, tool_us;
        int rc = round_run(check, 1, &count, &took_us);
        if (rc != 0) {
            return rc;
        }
        double us = took_us / count / 2;
        ours.values[ours.count++] = is_time(part) ? us : bytes / us * 1e6;
        double rounds = ROUND_MS * 1e3 / (2 * us);
        rounds = PAWL_MAX(rounds, 10.0);
        ping.rounds = (uint32_t)PAWL_MIN(rounds, 1e6);
        rc = tools_pingpong(&ping, part->tool, sizeof(part->tool), &tool_us);
        if (rc == -EINTR) {
            return rc;
        }
        if (rc != 0) {
            break;
        }
        tools.values[tools.count++] = is_time(part) ? tool_us : bytes / tool_us * 1e6;
    }
    part_end(part, &ours, &tools);
    return 0;
}

// Large payloads travel by one-sided writes.
static bool is_one_sided(const struct check *check, enum roofline_part_kind kind)
{
    return kind == ROOFLINE_PART_WIRE &&
           (check->shape.is_pushed || check->options->what == ROOFLINE_READ);
}

static int ping_part(struct check *check, enum roofline_part_kind kind, uint32_t bytes)
{
    struct roofline_part *part = part_add(check, kind, bytes);
    bool is_written = is_one_sided(check, kind);

    snprintf(part->name, sizeof(part->name), "%s of %u bytes",
             is_written ? "one-sided write" : "message", bytes);
    int rc = pair_start(check, bytes, is_written);
    rc = rc == 0 ? ping_rounds(check, part, bytes) : rc;
    int ended = nodes_stop(&check->nodes);
    return rc == 0 ? ended : rc;
}

static int pings_check(struct check *check)
{
    const struct shape *shape = &check->shape;
    const struct roofline_result *result = check->result;
    bool is_read = check->options->what == ROOFLINE_READ;
    uint32_t records = (uint32_t)(result->records_per_message + 0.5);
    uint32_t bulk = shape_prepare_bytes(shape, PAWL_MAX(records, 1u));
    uint32_t small = is_read ? (uint32_t)sizeof(struct frame_read) : shape_append_bytes(shape, 1);
    int rc = ping_part(check, ROOFLINE_PART_MESSAGE, small);

    if (shape->is_pushed || is_read) {
        uint32_t slice = result->slice_bytes == 0 ? shape->record_bytes : result->slice_bytes;
        slice = PAWL_MIN(slice, shape->record_bytes);
        bulk = PAWL_MIN(slice, WIRE_BYTES_MAX);
        return rc == 0 ? ping_part(check, ROOFLINE_PART_WIRE, bulk) : rc;
    }
    if (rc == 0 && bulk >= 2 * small) {
        rc = ping_part(check, ROOFLINE_PART_WIRE, bulk);
    }
    return rc;
}

// ---- the disk ---------------------------------------------------------------------------------

static int disk_rounds(struct check *check, struct roofline_part *part,
                       const struct tool_disk *disk)
{
    struct rounds ours = {0};
    struct rounds tools = {0};

    for (uint32_t i = 0; i < ROUNDS; i++) {
        double count, took_us, tool_per_s;
        int rc = round_run(check, 0, &count, &took_us);
        if (rc != 0) {
            return rc;
        }
        double scale = part->kind == ROOFLINE_PART_DISK ? disk->bytes : 1;
        ours.values[ours.count++] = count / took_us * 1e6 * scale;
        rc = tools_fio(disk, part->tool, sizeof(part->tool), &tool_per_s);
        if (rc == -EINTR) {
            return rc;
        }
        if (rc != 0) {
            break;
        }
        tools.values[tools.count++] = tool_per_s * scale;
    }
    part_end(part, &ours, &tools);
    return 0;
}

static int disk_part(struct check *check, struct roofline_part *part, struct tool_disk *disk)
{
    uint32_t block_bytes;
    struct node_config config;
    struct node *node = NULL;
    char path[64];
    uint64_t file_bytes = PAWL_MIN(check->options->file_bytes, FILE_BYTES);
    int fds[2] = {-1, -1};

    file_bytes = PAWL_MAX(file_bytes, 2 * (uint64_t)disk->bytes) & ~UINT64_C(4095);
    fds[1] = nodes_file(&check->nodes, check->options->dir, file_bytes, 0, &block_bytes);
    if (fds[1] < 0) {
        return fds[1];
    }
    // The file has no name; the tool finds it among our descriptors.
    snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fds[1]);
    run_config_fill(&config, check->options, 1, block_bytes);
    config.role = NODE_DISK;
    config.is_local_flush = disk->is_durable;
    config.options.what = disk->is_read ? ROOFLINE_READ : ROOFLINE_APPEND;
    config.options.is_verified = false;
    config.options.record_bytes = disk->bytes;
    config.options.depth = disk->depth;
    config.options.clients = 1;
    config.options.file_bytes = file_bytes;
    int rc = nodes_start(&check->nodes, &config, fds, &node);
    rc = rc == 0 ? nodes_ask(&check->nodes, 0, 1, CONTROL_OPEN, OPEN_MS) : rc;
    disk->path = path;
    disk->file_bytes = file_bytes;
    disk->duration_ms = ROUND_MS;
    disk->timeout_ms = TOOL_MS;
    disk->stop_fd = check->options->stop_fd;
    rc = rc == 0 ? disk_rounds(check, part, disk) : rc;
    int ended = nodes_stop(&check->nodes);
    return rc == 0 ? ended : rc;
}

static int journal_check(struct check *check)
{
    uint32_t block_bytes = 0;
    int fd = nodes_file(&check->nodes, check->options->dir, SHAPE_PAGE_BYTES, 0, &block_bytes);
    if (fd < 0) {
        return fd;
    }
    close(fd);
    uint32_t records = (uint32_t)(model_journal_records(check->options, check->result->flush,
                                                        check->result->records_per_flush) +
                                  0.5);
    uint32_t bytes = shape_journal_bytes(&check->shape, PAWL_MAX(records, 1u));
    struct tool_disk disk = {
        .bytes = (uint32_t)pawl_align_up(bytes, block_bytes), .depth = 1, .is_durable = true};
    struct roofline_part *part = part_add(check, ROOFLINE_PART_FLUSH, disk.bytes);

    snprintf(part->name, sizeof(part->name), "durable write of %u bytes", disk.bytes);
    return disk_part(check, part, &disk);
}

// Payloads that the disk had at once in the run.
static uint32_t data_depth(const struct check *check)
{
    const struct roofline_result *result = check->result;
    uint64_t depth = check->shape.outstanding;

    if (check->options->what == ROOFLINE_READ && result->disk_reads != 0) {
        depth = PAWL_MIN(depth, (uint64_t)PAWL_MAX(result->sources, 1u) * result->disk_reads);
    }
    return (uint32_t)PAWL_MIN(depth, (uint64_t)DISK_DEPTH_MAX);
}

static int data_check(struct check *check)
{
    bool is_read = check->options->what == ROOFLINE_READ;
    struct tool_disk disk = {
        .bytes = check->shape.slot_bytes,
        .depth = data_depth(check),
        .is_read = is_read,
    };
    struct roofline_part *part = part_add(check, ROOFLINE_PART_DISK, disk.bytes);

    snprintf(part->name, sizeof(part->name), "%s of %u bytes, depth %u", is_read ? "read" : "write",
             disk.bytes, disk.depth);
    return disk_part(check, part, &disk);
}

static int disk_check(struct check *check)
{
    bool is_read = check->options->what == ROOFLINE_READ;
    int rc = 0;

    if (!is_read && check->options->is_durable) {
        rc = journal_check(check);
    }
    if (rc == 0 && (is_read || (check->options->is_durable && check->shape.is_in_place))) {
        rc = data_check(check);
    }
    return rc;
}

static uint32_t processors_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 0;
}

int roofline_check(const struct roofline_options *options, struct roofline_result *result)
{
    struct check check = {.options = options, .result = result};
    const char *why = NULL;

    result->is_valid = false;
    result->parts_count = 0;
    result->processors_count = processors_count();
    int rc = roofline_options_check(options, &why);
    if (rc != 0) {
        snprintf(result->error, sizeof(result->error), "%s", why);
        return rc;
    }
    shape_init(&check.shape, options);
    rc = nodes_init(&check.nodes, options, result->error);
    rc = rc == 0 ? pings_check(&check) : rc;
    rc = rc == 0 ? disk_check(&check) : rc;
    (void)nodes_stop(&check.nodes);
    if (rc != 0) {
        snprintf(result->why, sizeof(result->why), "the check failed: %.280s", result->error);
        return rc;
    }
    roofline_judge(result);
    return 0;
}
