// SPDX-License-Identifier: Apache-2.0
// read: `depth` reads in flight on one connection, in the file's order, into registered memory.
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "perf/run.h"

static void on_done(void *user, const struct pawl_read_result *result)
{
    struct perf_slot *slot = user;
    bool is_short = result->status == 0 && result->bytes != slot->lane->run->options->bytes;
    perf_lane_done(slot, PERF_KIND_READ, is_short ? -EIO : result->status, pawl_clock_ns());
}

static int read_open(struct perf_lane *lane)
{
    uint64_t depth = lane->run->options->depth;
    size_t bytes = pawl_align_up(lane->run->options->bytes, 4096);
    bool heap = lane->run->options->unregistered;
    char path[PERF_PATH_MAX];
    if (heap && (lane->state = aligned_alloc(4096, depth * bytes)) == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < depth; i++) {
        // pawl_close() frees what pawl_mem_alloc() gave.
        uint8_t *buffer =
            heap ? (uint8_t *)lane->state + i * bytes : pawl_mem_alloc(lane->pawl, bytes);
        if (buffer == NULL) {
            return -errno;
        }
        lane->slots[i].buffer = buffer;
    }
    perf_path(path, lane->run->folder, "prepared", lane->file);
    return pawl_open(lane->pawl, path, &lane->prepared);
}

// Each client goes through its file from a place of its own.
static uint64_t place_of(const struct perf_lane *lane, uint64_t index)
{
    const struct perf_options *options = lane->run->options;
    uint64_t blocks = options->file_bytes / options->bytes;
    uint64_t begin = blocks / options->clients * lane->client;
    return (begin + index) % blocks * options->bytes;
}

static int read_submit(struct perf_slot *slot, uint64_t index)
{
    const struct perf_lane *lane = slot->lane;
    return pawl_read_submit(lane->prepared, place_of(lane, index), slot->buffer,
                            lane->run->options->bytes, NULL, on_done, slot);
}

// The one before the round begins.
static int read_once(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                     uint64_t *ret_bytes)
{
    size_t got = 0;
    *ret_kind = PERF_KIND_READ;
    *ret_bytes = lane->run->options->bytes;
    int code = pawl_read(lane->prepared, place_of(lane, index), lane->slots[0].buffer, *ret_bytes,
                         NULL, &got);
    return code == 0 && got != *ret_bytes ? -EIO : code;
}

const struct perf_work perf_read_work = {
    .prepared = true, .open = read_open, .submit = read_submit, .call = read_once};
