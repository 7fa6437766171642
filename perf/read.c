// SPDX-License-Identifier: Apache-2.0
// read: `depth` reads in flight on one connection, in the file's order, into registered memory.
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "perf/run.h"

struct read_slot {
    struct perf_lane *lane;
    struct read_slot *next; // in the list of free ones
    uint8_t *buffer;
    uint64_t due_ns;
};

struct read_state {
    struct read_slot *free;
    uint64_t in_flight;
    struct read_slot slots[];
};

static void on_done(void *user, const struct pawl_read_result *result)
{
    struct read_slot *slot = user;
    struct perf_lane *lane = slot->lane;
    struct read_state *state = lane->state;
    uint64_t bytes = lane->run->options->bytes;
    if (result->status == 0 && result->bytes == bytes) {
        perf_lane_answered(lane, PERF_KIND_READ, bytes, slot->due_ns, pawl_clock_ns());
    } else {
        perf_lane_failed(lane, result->status != 0 ? result->status : -EIO);
    }
    slot->next = state->free;
    state->free = slot;
    state->in_flight--;
}

static int read_open(struct perf_lane *lane)
{
    uint64_t depth = lane->run->options->depth;
    size_t bytes = pawl_align_up(lane->run->options->bytes, 4096);
    bool heap = lane->run->options->unregistered;
    // The buffers behind it, in whole pages, unless pawl_mem_alloc() has them; pawl_close() frees those.
    size_t state_bytes =
        pawl_align_up(sizeof(struct read_state) + depth * sizeof(struct read_slot), 4096);
    struct read_state *state = aligned_alloc(4096, state_bytes + (heap ? depth * bytes : 0));
    lane->state = state;
    if (state == NULL) {
        return -ENOMEM;
    }
    *state = (struct read_state){0};
    for (uint64_t i = depth; i-- > 0;) {
        uint8_t *buffer =
            heap ? (uint8_t *)state + state_bytes + i * bytes : pawl_mem_alloc(lane->pawl, bytes);
        if (buffer == NULL) {
            return -errno;
        }
        state->slots[i] = (struct read_slot){.lane = lane, .next = state->free, .buffer = buffer};
        state->free = &state->slots[i];
    }
    char path[PERF_PATH_MAX];
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

// Sends all that is due and has room. Returns the time until which there is nothing to do.
static uint64_t send_due(struct perf_lane *lane, uint64_t *index)
{
    const struct perf_run *run = lane->run;
    struct read_state *state = lane->state;
    bool open_loop = run->options->rate_per_s != 0;
    uint64_t now_ns = pawl_clock_ns();
    while (state->free != NULL && !perf_lane_over(lane, now_ns)) {
        struct read_slot *slot = state->free;
        slot->due_ns = open_loop ? perf_schedule_due_ns(&lane->schedule, *index) : now_ns;
        if (slot->due_ns > now_ns) {
            return PAWL_MIN(slot->due_ns, run->end_ns);
        }
        int code = pawl_read_submit(lane->prepared, place_of(lane, *index), slot->buffer,
                                    run->options->bytes, NULL, on_done, slot);
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

static void read_loop(struct perf_lane *lane)
{
    struct read_state *state = lane->state;
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

// The one before the round begins.
static int read_once(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                     uint64_t *ret_bytes)
{
    struct read_state *state = lane->state;
    size_t got = 0;
    *ret_kind = PERF_KIND_READ;
    *ret_bytes = lane->run->options->bytes;
    int code = pawl_read(lane->prepared, place_of(lane, index), state->slots[0].buffer,
                         lane->run->options->bytes, NULL, &got);
    return code == 0 && got != lane->run->options->bytes ? -EIO : code;
}

const struct perf_work perf_read_work = {
    .prepared = true, .open = read_open, .loop = read_loop, .call = read_once};
