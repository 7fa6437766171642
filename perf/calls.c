// SPDX-License-Identifier: Apache-2.0
// write, meta, mixed: calls that wait, one after the other on each lane.
#include <errno.h>
#include <stdio.h>

#include "perf/run.h"

static int open_prepared(struct perf_lane *lane)
{
    char path[PERF_PATH_MAX];
    perf_path(path, lane->run->folder, "prepared", lane->file);
    return pawl_open(lane->pawl, path, &lane->prepared);
}

static int open_mixed(struct perf_lane *lane)
{
    char path[PERF_PATH_MAX];
    perf_path(path, lane->run->round_folder, "file", lane->file);
    int code = pawl_open(lane->pawl, path, &lane->appended);
    return code != 0 ? code : open_prepared(lane);
}

static int open_nothing(struct perf_lane *lane)
{
    (void)lane;
    return 0;
}

// ---- places in prepared files -------------------------------------------------------------------

static uint64_t blocks_of(const struct perf_lane *lane)
{
    return lane->run->options->file_bytes / lane->run->options->bytes;
}

// Each client goes through its file from a place of its own; its lanes take the blocks in turn.
static uint64_t sequential(const struct perf_lane *lane, uint64_t index)
{
    const struct perf_options *options = lane->run->options;
    uint64_t blocks = blocks_of(lane);
    uint64_t begin = blocks / options->clients * lane->client;
    return (begin + index * options->depth + lane->turn) % blocks * options->bytes;
}

static uint64_t anywhere(struct perf_lane *lane)
{
    return pawl_random_below(&lane->random, blocks_of(lane)) * lane->run->options->bytes;
}

static int read_at(struct perf_lane *lane, uint64_t offset)
{
    size_t got = 0;
    int code =
        pawl_read(lane->prepared, offset, lane->buffer, lane->run->options->bytes, NULL, &got);
    return code == 0 && got != lane->run->options->bytes ? -EIO : code;
}

static int write_at(struct perf_lane *lane, uint64_t offset)
{
    struct pawl_write_result result;
    return pawl_write(lane->prepared, offset, lane->buffer, lane->run->options->bytes, NULL,
                      &result);
}

static int call_write(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                      uint64_t *ret_bytes)
{
    *ret_kind = PERF_KIND_WRITE;
    *ret_bytes = lane->run->options->bytes;
    return write_at(lane, sequential(lane, index));
}

// ---- names --------------------------------------------------------------------------------------

// A file of its own each time: created, asked for, removed.
static int meta_step(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                     uint64_t *ret_bytes)
{
    struct pawl_create_options options = {.size = sizeof options, .exclusive = true};
    char path[PERF_PATH_MAX];
    char what[48];
    struct pawl_file *file;
    struct pawl_stat stat;
    int code;
    *ret_bytes = 0;
    snprintf(what, sizeof what, "%llu", (unsigned long long)(index / 3));
    perf_path(path, lane->run->round_folder, what, lane->index);
    switch (index % 3) {
    case 0:
        *ret_kind = PERF_KIND_CREATE;
        code = pawl_create(lane->pawl, path, &options, &file);
        if (code == 0) {
            pawl_file_close(file);
        }
        return code;
    case 1:
        *ret_kind = PERF_KIND_STAT;
        return pawl_stat(lane->pawl, path, &stat);
    default:
        *ret_kind = PERF_KIND_REMOVE;
        return pawl_remove(lane->pawl, path, 0);
    }
}

// Lanes begin at different steps, so that the kinds mix at any moment, and in a round that is short.
static int call_meta(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                     uint64_t *ret_bytes)
{
    uint64_t ahead = lane->index % 3;
    int code = 0;
    for (uint64_t step = 0; code == 0 && index == 0 && step < ahead; step++) {
        code = meta_step(lane, step, ret_kind, ret_bytes);
    }
    return code != 0 ? code : meta_step(lane, index + ahead, ret_kind, ret_bytes);
}

// ---- mixed --------------------------------------------------------------------------------------

static enum perf_kind drawn_kind(struct perf_lane *lane)
{
    const uint64_t *mix = lane->run->options->mix;
    uint64_t at = pawl_random_below(&lane->random, 100);
    enum perf_kind kind = PERF_KIND_APPEND;
    while (kind < PERF_KIND_STAT && at >= mix[kind]) {
        at -= mix[kind++];
    }
    return kind;
}

static int call_mixed(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                      uint64_t *ret_bytes)
{
    struct pawl_append_options options = {.size = sizeof options,
                                          .ack = perf_ack(lane->run->options)};
    struct pawl_append_result result;
    struct pawl_stat stat;
    char path[PERF_PATH_MAX];
    (void)index;
    *ret_kind = drawn_kind(lane);
    *ret_bytes = *ret_kind == PERF_KIND_STAT ? 0 : lane->run->options->bytes;
    switch (*ret_kind) {
    case PERF_KIND_APPEND:
        return pawl_append(lane->appended, lane->buffer, lane->run->options->bytes, &options,
                           &result);
    case PERF_KIND_READ:
        return read_at(lane, anywhere(lane));
    case PERF_KIND_WRITE:
        return write_at(lane, anywhere(lane));
    default:
        perf_path(path, lane->run->folder, "prepared", lane->file);
        return pawl_stat(lane->pawl, path, &stat);
    }
}

const struct perf_work perf_write_work = {
    .prepared = true, .threads = true, .open = open_prepared, .call = call_write};
const struct perf_work perf_meta_work = {.threads = true, .open = open_nothing, .call = call_meta};
const struct perf_work perf_mixed_work = {
    .appends = true, .prepared = true, .threads = true, .open = open_mixed, .call = call_mixed};
