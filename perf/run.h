// SPDX-License-Identifier: Apache-2.0
// The engine: rounds of lanes. A lane is a thread with a connection of its own that calls the library in a
// loop, closed or open, and counts.
//
// What counts: throughput is of operations that were answered within the time that is measured. Latencies are
// of operations that began within it, or were due in it when the loop is open; all of these are waited for, so
// that a slow one is not lost at the end.
#ifndef PAWL_PERF_RUN_H
#define PAWL_PERF_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/random.h"
#include "perf/beside.h"
#include "perf/copies.h"
#include "perf/result.h"
#include "perf/schedule.h"
#include "perf/syscalls.h"

#define PERF_OWED PERF_KINDS_COUNT // tally of what an open loop had not sent at its end

struct perf_run;
struct perf_lane;

// One of the `depth` operations that a lane has in flight.
struct perf_slot {
    struct perf_lane *lane;
    struct perf_slot *next; // in the list of free ones
    uint8_t *buffer;        // of its own, when the verb needs one
    uint64_t due_ns;
};

// One thread's. Fields belong to the thread while it runs.
struct perf_lane {
    struct perf_run *run;
    pthread_t thread;
    uint32_t index;
    uint32_t client;
    uint32_t turn; // which one of its client's lanes
    struct pawl *pawl;
    struct pawl_file
        *appended; // the kinds of operations have a handle each: producers of their own
    struct pawl_file *prepared;
    struct client_pusher *pusher; // of push.c, owned by `appended`
    uint32_t file;
    uint8_t *buffer;         // of pawl_mem_alloc()
    void *heap;              // or, for --unregistered, this
    void *state;             // of the verb, on the heap
    struct perf_slot *slots; // `depth` of them, with `submit`
    struct perf_slot *free;
    uint64_t in_flight;
    struct pawl_random random;
    struct perf_schedule schedule;
    struct perf_tally *tallies; // one for each kind, and PERF_OWED
    struct perf_stages *stages;
    uint64_t *stored_ops; // for each file that is appended to
    uint64_t warm_ops;    // answered in the warm-up
    uint64_t counted;     // operations that began within the time that is measured
    uint64_t ended_ns;    // the last answer within it
    uint64_t errors;
    uint64_t retries;
    struct perf_copies copies; // of the first operation, too
    uint64_t unsent;
    uint64_t answered_ns; // the last one
    uint64_t pause_ns;    // the longest between two answers, the second one behind the kill
    int error;
    int survived; // of `kills`: the first error, which ends nothing
};

// What a verb does, called on the lane's thread; codes are pawl's.
struct perf_work {
    bool appends;  // needs files to append to, one for each lane's `file`
    bool prepared; // needs files that have bytes
    bool kills;    // when the time that is measured begins, the primary; errors then end no lane
    bool threads;  // depth is threads: the library has no such call without waiting
    // Opens what the loop needs, on lane->pawl.
    int (*open)(struct perf_lane *lane);
    // Sends operation number `index` of the lane, which ends in perf_lane_done(); -EAGAIN: not now. NULL: `call` is
    // all that there is.
    int (*submit)(struct perf_slot *slot, uint64_t index);
    // One operation that waits; number 0 is made before the round begins.
    int (*call)(struct perf_lane *lane, uint64_t index, enum perf_kind *ret_kind,
                uint64_t *ret_bytes);
};

struct perf_run {
    const struct perf_options *options;
    const struct perf_cluster *cluster;
    const struct perf_work *work;
    char folder[PERF_PATH_MAX]; // in the cluster
    char round_folder[PERF_PATH_MAX];
    struct perf_beside beside; // with --roofline
    struct perf_round *round;
    struct perf_lane *lanes;
    uint32_t lanes_count;
    uint64_t go_ns; // these three are set before the lanes go
    uint64_t begin_ns;
    uint64_t end_ns;
    atomic_uint_least64_t killed_ns; // 0: nothing was
    int killed;                      // the server's number; 0: none
    atomic_uint ready_count;
    atomic_uint done_count;
    atomic_bool go;
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t gone;
    int event_fd; // lanes that are ready or done
};

extern const struct perf_work perf_append_work;
extern const struct perf_work perf_read_work;
extern const struct perf_work perf_write_work;
extern const struct perf_work perf_push_work;
extern const struct perf_work perf_meta_work;
extern const struct perf_work perf_mixed_work;
extern const struct perf_work perf_failover_work;

// All rounds of a verb. 0 or an exit code; *result is filled as far as it got.
int perf_run_rounds(const struct perf_options *options, const struct perf_cluster *cluster,
                    struct perf_result *result) PAWL_MUST_CHECK;
// Rounds of failover.c: one record at a time.
int perf_failover(const struct perf_options *options, const struct perf_cluster *cluster,
                  struct perf_result *result) PAWL_MUST_CHECK;
// Under load: kills the primary of the round's file, for run->killed and run->killed_ns. 0 or an exit code.
int perf_failover_kill(struct perf_run *run) PAWL_MUST_CHECK;
// When all lanes have ended: their pauses into the round, and the server is started again. 0 or an exit code.
int perf_failover_end(struct perf_run *run) PAWL_MUST_CHECK;

// ---- for lanes ----------------------------------------------------------------------------------

// Whether no more operations are to be begun.
enum pawl_ack perf_ack(const struct perf_options *options);
bool perf_lane_over(const struct perf_lane *lane, uint64_t now_ns);
// Whether an operation that was due then is within the time that is measured.
bool perf_lane_counts(const struct perf_lane *lane, uint64_t due_ns);
// An operation that was answered.
void perf_lane_answered(struct perf_lane *lane, enum perf_kind kind, uint64_t bytes,
                        uint64_t due_ns, uint64_t now_ns);
void perf_lane_failed(struct perf_lane *lane, int code);
// The end of what `submit` has sent: of `bytes` bytes as the options say, and its slot is free again.
void perf_lane_done(struct perf_slot *slot, enum perf_kind kind, int status, uint64_t now_ns);
// Polls until then, or until a callback has run; the last millisecond is spun, giving way to others.
void perf_lane_wait(struct perf_lane *lane, uint64_t until_ns);
// At the loop's end: what an open loop owes from `index` on.
void perf_lane_leave(struct perf_lane *lane, uint64_t index);
// The thread's function; argument: the lane.
void *perf_lane_main(void *argument);

// "FOLDER/what-number"
void perf_path(char ret[static PERF_PATH_MAX], const char *folder, const char *what,
               uint32_t number);

#endif
