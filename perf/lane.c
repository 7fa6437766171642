// SPDX-License-Identifier: Apache-2.0
// A lane: its thread, its two loops, and how operations are counted.
#include "perf/run.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"

// Of the operations of --ops; the first lanes take what doesn't divide evenly.
static uint64_t lane_share(const struct perf_lane *lane)
{
    uint64_t ops = lane->run->options->ops;
    uint32_t lanes = lane->run->lanes_count;
    return ops != 0 ? ops / lanes + (lane->index < ops % lanes) : UINT64_MAX;
}

bool perf_lane_over(const struct perf_lane *lane, uint64_t now_ns)
{
    const struct perf_run *run = lane->run;
    return now_ns >= run->end_ns || lane->error != 0 || lane->counted >= lane_share(lane) ||
           atomic_load_explicit(&run->stop, memory_order_relaxed);
}

bool perf_lane_counts(const struct perf_lane *lane, uint64_t due_ns)
{
    return due_ns >= lane->run->begin_ns && due_ns < lane->run->end_ns;
}

void perf_lane_answered(struct perf_lane *lane, enum perf_kind kind, uint64_t bytes,
                        uint64_t due_ns, uint64_t now_ns)
{
    const struct perf_run *run = lane->run;
    struct perf_tally *tally = &lane->tallies[kind];
    if (now_ns >= run->begin_ns && now_ns < run->end_ns) {
        tally->ops++;
        tally->bytes += bytes;
        lane->ended_ns = now_ns;
    }
    lane->warm_ops += now_ns < run->begin_ns;
    uint64_t killed_ns = atomic_load_explicit(&run->killed_ns, memory_order_relaxed);
    if (killed_ns != 0 && now_ns > killed_ns) {
        lane->pause_ns = PAWL_MAX(lane->pause_ns, now_ns - lane->answered_ns);
    }
    lane->answered_ns = now_ns;
    if (perf_lane_counts(lane, due_ns)) {
        pawl_histogram_record(&tally->latency_ns, now_ns > due_ns ? now_ns - due_ns : 0);
    }
    if (kind == PERF_KIND_APPEND) {
        lane->stored_ops[lane->file]++;
    }
}

void perf_lane_failed(struct perf_lane *lane, int code)
{
    lane->errors++;
    lane->error = lane->error != 0 ? lane->error : code;
}

void perf_lane_wait(struct perf_lane *lane, uint64_t until_ns)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t left_ms = until_ns > now_ns ? (until_ns - now_ns) / PAWL_NS_PER_MS : 0;
    int ran = pawl_poll(lane->pawl, (uint32_t)PAWL_MIN(left_ms, UINT64_C(100)));
    if (ran < 0) {
        perf_lane_failed(lane, ran);
    } else if (ran == 0 && left_ms == 0) {
        sched_yield(); // the servers may need this processor
    }
}

// What an open loop owed when it ended counts with the time that it had waited so far: leaving it out would
// hide the very stall that made it late.
void perf_lane_leave(struct perf_lane *lane, uint64_t index)
{
    const struct perf_run *run = lane->run;
    if (run->options->rate_per_s == 0 || lane->error != 0 || atomic_load(&run->stop)) {
        return;
    }
    uint64_t owed = perf_schedule_before(&lane->schedule, run->end_ns);
    for (; index < owed && lane->counted < lane_share(lane); index++) {
        uint64_t due_ns = perf_schedule_due_ns(&lane->schedule, index);
        if (due_ns >= run->begin_ns) {
            lane->counted++;
            pawl_histogram_record(&lane->tallies[PERF_OWED].latency_ns, run->end_ns - due_ns);
            lane->unsent++;
        }
    }
}

// ---- operations in flight -----------------------------------------------------------------------

void perf_lane_done(struct perf_slot *slot, enum perf_kind kind, int status, uint64_t now_ns)
{
    struct perf_lane *lane = slot->lane;
    if (status == 0) {
        perf_lane_answered(lane, kind, lane->run->options->bytes, slot->due_ns, now_ns);
    } else if (lane->run->work->kills) {
        lane->errors++;
        lane->survived = lane->survived != 0 ? lane->survived : status;
    } else {
        perf_lane_failed(lane, status);
    }
    slot->next = lane->free;
    lane->free = slot;
    lane->in_flight--;
}

static int slots_new(struct perf_lane *lane)
{
    uint64_t depth = lane->run->options->depth;
    if (lane->run->work->submit == NULL) {
        return 0;
    }
    lane->slots = calloc(depth, sizeof *lane->slots);
    if (lane->slots == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = depth; i-- > 0;) {
        lane->slots[i] = (struct perf_slot){.lane = lane, .next = lane->free};
        lane->free = &lane->slots[i];
    }
    return 0;
}

// Sends all that is due and has room. Returns the time until which there is nothing to do.
static uint64_t send_due(struct perf_lane *lane, uint64_t *index)
{
    const struct perf_run *run = lane->run;
    bool open_loop = run->options->rate_per_s != 0;
    uint64_t now_ns = pawl_clock_ns();
    while (lane->free != NULL && !perf_lane_over(lane, now_ns)) {
        struct perf_slot *slot = lane->free;
        slot->due_ns = open_loop ? perf_schedule_due_ns(&lane->schedule, *index) : now_ns;
        if (slot->due_ns > now_ns) {
            return PAWL_MIN(slot->due_ns, run->end_ns);
        }
        int code = run->work->submit(slot, *index);
        if (code == -EAGAIN) { // a session is being opened
            return now_ns + PAWL_NS_PER_MS;
        }
        if (code != 0) {
            perf_lane_failed(lane, code);
            break;
        }
        lane->free = slot->next;
        lane->in_flight++;
        lane->counted += slot->due_ns >= run->begin_ns;
        (*index)++;
        now_ns = pawl_clock_ns();
    }
    return run->end_ns;
}

static void submit_loop(struct perf_lane *lane)
{
    uint64_t index = 0;
    for (;;) {
        uint64_t until_ns = send_due(lane, &index);
        bool over = perf_lane_over(lane, pawl_clock_ns());
        if (over && lane->in_flight == 0) {
            break;
        }
        // Behind the end what is in flight is waited for; its own deadline bounds that.
        perf_lane_wait(lane, over ? UINT64_MAX : until_ns);
    }
    perf_lane_leave(lane, index);
}

// ---- calls that wait ----------------------------------------------------------------------------

static void call_loop(struct perf_lane *lane)
{
    const struct perf_run *run = lane->run;
    bool open_loop = run->options->rate_per_s != 0;
    uint64_t index = 0;
    uint64_t now_ns = pawl_clock_ns();
    while (!perf_lane_over(lane, now_ns)) {
        uint64_t due_ns = open_loop ? perf_schedule_due_ns(&lane->schedule, index) : now_ns;
        if (due_ns > now_ns) {
            perf_lane_wait(lane, PAWL_MIN(due_ns, run->end_ns));
            now_ns = pawl_clock_ns();
            continue;
        }
        enum perf_kind kind = PERF_KIND_STAT;
        uint64_t bytes = 0;
        lane->counted += due_ns >= run->begin_ns;
        int code = run->work->call(lane, index + 1, &kind, &bytes);
        now_ns = pawl_clock_ns();
        if (code != 0) {
            perf_lane_failed(lane, code);
        } else {
            perf_lane_answered(lane, kind, bytes, due_ns, now_ns);
        }
        index++;
    }
    perf_lane_leave(lane, index);
}

// ---- thread -------------------------------------------------------------------------------------

static void fill(struct perf_lane *lane, size_t bytes)
{
    pawl_random_seed(&lane->random, pawl_clock_ns() ^ ((uint64_t)lane->index << 32));
    for (size_t i = 0; i < bytes; i++) { // bytes that don't compress
        lane->buffer[i] = (uint8_t)(pawl_random_next(&lane->random) >> 56);
    }
}

// One operation before the round begins: it opens connections, and a new file's first chunk.
static int first_call(struct perf_lane *lane)
{
    enum perf_kind kind = PERF_KIND_APPEND;
    uint64_t bytes;
    int code = lane->run->work->call(lane, 0, &kind, &bytes);
    lane->stored_ops[lane->file] += code == 0 && kind == PERF_KIND_APPEND;
    return code;
}

static int buffer_new(struct perf_lane *lane, size_t bytes)
{
    // Names need no fabric.
    bool payload = lane->run->work->appends || lane->run->work->prepared;
    if (!payload || lane->run->options->unregistered) {
        lane->heap = aligned_alloc(4096, pawl_align_up(bytes, 4096));
        lane->buffer = lane->heap;
    } else {
        lane->buffer = pawl_mem_alloc(lane->pawl, bytes);
    }
    if (lane->buffer == NULL) {
        return -ENOMEM;
    }
    fill(lane, bytes);
    return 0;
}

static int lane_open(struct perf_lane *lane)
{
    const struct perf_run *run = lane->run;
    uint64_t depth = run->work->threads ? 1 : run->options->depth;
    struct pawl_options options = perf_cluster_options(run->cluster, depth, run->options->bytes);
    size_t bytes = run->options->bytes;
    lane->tallies = calloc(PERF_OWED + 1, sizeof *lane->tallies);
    lane->stored_ops = calloc(run->options->files, sizeof *lane->stored_ops);
    lane->stages = malloc(sizeof *lane->stages);
    if (lane->tallies == NULL || lane->stored_ops == NULL || lane->stages == NULL) {
        return -ENOMEM;
    }
    perf_stages_init(lane->stages);
    for (size_t i = 0; i <= PERF_OWED; i++) {
        pawl_histogram_init(&lane->tallies[i].latency_ns);
    }
    int code = pawl_connect(&options, &lane->pawl);
    code = code != 0 ? code : buffer_new(lane, bytes);
    code = code != 0 ? code : slots_new(lane);
    code = code != 0 ? code : run->work->open(lane);
    return code != 0 ? code : first_call(lane);
}

static void count_file(struct perf_lane *lane, const struct pawl_file *file)
{
    struct pawl_counters counters;
    if (file != NULL) {
        pawl_counters(file, &counters);
        lane->retries += counters.retries_count;
        perf_copies_add(&lane->copies, file);
    }
}

static void notify(struct perf_run *run, atomic_uint *count)
{
    uint64_t one = 1;
    atomic_fetch_add(count, 1);
    (void)!write(run->event_fd, &one, sizeof one);
}

// A thread's whole life. The connection is closed behind the loop: nothing is pending then.
void *perf_lane_main(void *argument)
{
    struct perf_lane *lane = argument;
    struct perf_run *run = lane->run;
    pawl_slice_shorten(); // as the servers do: on few cores who measures is not to wait for who is measured
    int code = lane_open(lane);
    if (code != 0) {
        perf_lane_failed(lane, code);
        atomic_store(&run->stop, true);
    }
    notify(run, &run->ready_count);
    pthread_mutex_lock(&run->mutex);
    while (!atomic_load(&run->go)) {
        pthread_cond_wait(&run->gone, &run->mutex);
    }
    pthread_mutex_unlock(&run->mutex);
    lane->answered_ns = run->go_ns;
    lane->schedule = (struct perf_schedule){.begin_ns = run->go_ns,
                                            .rate_per_s = run->options->rate_per_s,
                                            .lane = lane->index,
                                            .lanes_count = run->lanes_count};
    if (code == 0) {
        run->work->submit != NULL ? submit_loop(lane) : call_loop(lane);
        count_file(lane, lane->appended);
        count_file(lane, lane->prepared);
        perf_copies_add_pushes(&lane->copies, lane->pusher);
    }
    if (lane->error != 0) { // a round with an error is over
        atomic_store(&run->stop, true);
    }
    notify(run, &run->done_count);
    pawl_close(lane->pawl); // an append that is still open ends in here
    free(lane->heap);
    free(lane->state);
    free(lane->slots);
    return NULL;
}
