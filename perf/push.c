// SPDX-License-Identifier: Apache-2.0
// push: payloads to every replica by the route that appends take, `depth` in flight; no file changes.
#include "client/push.h"
#include "base/clock.h"
#include "perf/run.h"

static void on_done(void *user, int status)
{
    perf_lane_done(user, PERF_KIND_PUSH, status, pawl_clock_ns());
}

static int push_open(struct perf_lane *lane)
{
    char path[PERF_PATH_MAX];
    perf_path(path, lane->run->round_folder, "file", lane->file);
    return pawl_open(lane->pawl, path, &lane->appended);
}

// One record, which is all that the file will have of this lane: it opens the tail.
static int push_first(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                      uint64_t *ret_bytes)
{
    struct pawl_append_result result;
    (void)index;
    *ret_kind = PERF_KIND_APPEND;
    *ret_bytes = lane->run->options->bytes;
    int code = pawl_append(lane->appended, lane->buffer, *ret_bytes, NULL, &result);
    return code != 0 ? code
                     : client_pusher_open(lane->appended, (uint32_t)lane->run->options->depth,
                                          &lane->pusher);
}

static int push_submit(struct perf_slot *slot, uint64_t index)
{
    const struct perf_lane *lane = slot->lane;
    (void)index;
    return client_push_submit(lane->pusher, lane->buffer, lane->run->options->bytes, on_done, slot);
}

const struct perf_work perf_push_work = {
    .appends = true, .open = push_open, .submit = push_submit, .call = push_first};
