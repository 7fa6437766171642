// SPDX-License-Identifier: Apache-2.0
// append: `depth` records in flight on one connection, without a thread for each.
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "perf/run.h"

struct append_slot {
    struct perf_lane *lane;
    struct append_slot *next; // in the list of free ones
    uint64_t due_ns;
};

struct append_state {
    struct append_slot *free;
    uint64_t in_flight;
    struct append_slot slots[];
};

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct append_slot *slot = user;
    struct perf_lane *lane = slot->lane;
    struct append_state *state = lane->state;
    if (result->status == 0) {
        perf_lane_answered(lane, PERF_KIND_APPEND, lane->run->options->bytes, slot->due_ns,
                           pawl_clock_ns());
    } else {
        perf_lane_failed(lane, result->status);
    }
    slot->next = state->free;
    state->free = slot;
    state->in_flight--;
}

static int append_open(struct perf_lane *lane)
{
    uint64_t depth = lane->run->options->depth;
    struct append_state *state = calloc(1, sizeof *state + depth * sizeof state->slots[0]);
    char path[PERF_PATH_MAX];
    if (state == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < depth; i++) {
        state->slots[i] = (struct append_slot){.lane = lane, .next = state->free};
        state->free = &state->slots[i];
    }
    lane->state = state;
    perf_path(path, lane->run->round_folder, "file", lane->file);
    return pawl_open(lane->pawl, path, &lane->appended);
}

// Sends all that is due and has room. Returns the time until which there is nothing to do.
static uint64_t send_due(struct perf_lane *lane, uint64_t *index)
{
    const struct perf_run *run = lane->run;
    struct append_state *state = lane->state;
    bool open_loop = run->options->rate_per_s != 0;
    struct pawl_append_options options = {.size = sizeof options, .ack = perf_ack(run->options)};
    uint64_t now_ns = pawl_clock_ns();
    while (state->free != NULL && !perf_lane_over(lane, now_ns)) {
        struct append_slot *slot = state->free;
        slot->due_ns = open_loop ? perf_schedule_due_ns(&lane->schedule, *index) : now_ns;
        if (slot->due_ns > now_ns) {
            return PAWL_MIN(slot->due_ns, run->end_ns);
        }
        int code = pawl_append_submit(lane->appended, lane->buffer, run->options->bytes, &options,
                                      on_done, slot);
        if (code == -EAGAIN) { // a session is being opened
            return now_ns + PAWL_NS_PER_MS;
        }
        if (code != 0) {
            perf_lane_failed(lane, code);
            break;
        }
        state->free = slot->next;
        state->in_flight++;
        lane->counted += slot->due_ns >= run->begin_ns;
        (*index)++;
        now_ns = pawl_clock_ns();
    }
    return run->end_ns;
}

static void append_loop(struct perf_lane *lane)
{
    struct append_state *state = lane->state;
    uint64_t index = 0;
    for (;;) {
        uint64_t until_ns = send_due(lane, &index);
        bool over = perf_lane_over(lane, pawl_clock_ns());
        if (over && state->in_flight == 0) {
            break;
        }
        // Behind the end what is in flight is waited for; its own deadline bounds that.
        perf_lane_wait(lane, over ? UINT64_MAX : until_ns);
    }
    perf_lane_leave(lane, index);
}

const struct perf_work perf_append_work = {
    .appends = true, .open = append_open, .loop = append_loop};
