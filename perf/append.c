// SPDX-License-Identifier: Apache-2.0
// append: `depth` records in flight on one connection, without a thread for each.
#include "base/clock.h"
#include "perf/run.h"

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct perf_slot *slot = user;
    uint64_t now_ns = pawl_clock_ns();
    if (result->status == 0 && perf_lane_counts(slot->lane, slot->due_ns)) {
        perf_stages_record(slot->lane->stages, now_ns - slot->due_ns, &result->stages);
    }
    perf_lane_done(slot, PERF_KIND_APPEND, result->status, now_ns);
}

static int append_open(struct perf_lane *lane)
{
    char path[PERF_PATH_MAX];
    perf_path(path, lane->run->round_folder, "file", lane->file);
    return pawl_open(lane->pawl, path, &lane->appended);
}

static int append_submit(struct perf_slot *slot, uint64_t index)
{
    const struct perf_lane *lane = slot->lane;
    struct pawl_append_options options = {.size = sizeof options,
                                          .ack = perf_ack(lane->run->options)};
    (void)index;
    return pawl_append_submit(lane->appended, lane->buffer, lane->run->options->bytes, &options,
                              on_done, slot);
}

// The one before the round begins: it opens connections, and a new file's first chunk.
static int append_once(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                       uint64_t *ret_bytes)
{
    struct pawl_append_result result;
    (void)index;
    *ret_kind = PERF_KIND_APPEND;
    *ret_bytes = lane->run->options->bytes;
    return pawl_append(lane->appended, lane->buffer, *ret_bytes, NULL, &result);
}

// The same; the engine kills and takes the time.
const struct perf_work perf_failover_work = {.appends = true,
                                             .kills = true,
                                             .open = append_open,
                                             .submit = append_submit,
                                             .call = append_once};
const struct perf_work perf_append_work = {
    .appends = true, .open = append_open, .submit = append_submit, .call = append_once};
