// SPDX-License-Identifier: Apache-2.0
// failover: kills the primary of a file that is appended to and takes the time to the next acknowledged append.
//
// Under load the engine's lanes append, and their pauses are taken. Without one: one record at a time, none in flight when the signal is sent: the time is that of one call, from the
// signal on, in which the library finds the primary gone, the master fences the others and the record
// is stored by those that are left.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "perf/interrupt.h"
#include "perf/perf.h"
#include "perf/run.h"

#define STEADY_APPENDS 20u // before each kill, so that lease and connections are there
#define KILL_WAIT_MS 60000 // a flush in the kernel keeps even a killed process
#define FIND_PAUSE_MS 10u

struct failover {
    const struct perf_options *options;
    const struct perf_cluster *cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    char path[PERF_PATH_MAX];
    uint8_t *data;
    uint64_t acknowledged;
};

static int complain_of(const char *path, const char *what, int code)
{
    fprintf(stderr, "pawl-perf: failover: %s %s: %s\n", what, path, pawl_strerror(code));
    return PERF_FAILED;
}

static int complain(const struct failover *failover, const char *what, int code)
{
    return complain_of(failover->path, what, code);
}

static int append(struct failover *failover)
{
    struct pawl_append_options options = {.size = sizeof options,
                                          .ack = perf_ack(failover->options)};
    struct pawl_append_result result;
    int code =
        pawl_append(failover->file, failover->data, failover->options->bytes, &options, &result);
    failover->acknowledged += code == 0;
    return code;
}

static int keep_primary(void *user, const struct pawl_chunk_info *chunk)
{
    uint64_t *primary_id = user;
    *primary_id = chunk->primary_id; // the last chunk is the tail
    return 0;
}

struct server_search {
    uint64_t id;
    char name[64];
};

static int match_server(void *user, const struct pawl_server_info *server)
{
    struct server_search *search = user;
    if (server->server_id == search->id) {
        snprintf(search->name, sizeof search->name, "%s", server->name);
    }
    return 0;
}

// Number of the process that is the tail's primary; -1: unknown.
static int find_primary(const struct perf_cluster *cluster, struct pawl *pawl, const char *path)
{
    struct server_search search = {0};
    int code = pawl_chunks(pawl, path, keep_primary, &search.id);
    if (code == 0) {
        code = pawl_servers(pawl, NULL, match_server, &search);
    }
    return code == 0 ? local_number(&cluster->local, search.name) : -1;
}

// Returns when the process is dead.
static int kill_server(const struct perf_cluster *cluster, uint32_t number)
{
    pid_t pid = local_pid(&cluster->local, number);
    int process = pid > 0 ? pidfd_open(pid, 0) : -1;
    struct pollfd dead = {.fd = process, .events = POLLIN};
    if (process < 0) {
        return PAWL_ENOTFOUND;
    }
    int code = kill(pid, SIGKILL) != 0 ? -errno : 0;
    if (code == 0 && poll(&dead, 1, KILL_WAIT_MS) != 1) {
        code = PAWL_EDEADLINE;
    }
    close(process);
    return code;
}

// ---- under load ---------------------------------------------------------------------------------

int perf_failover_kill(struct perf_run *run)
{
    const char *path = run->round->files[0].path;
    struct pawl *pawl;
    int code = perf_cluster_connect(run->cluster, &pawl);
    if (code != 0) {
        return code;
    }
    uint64_t until_ms = pawl_clock_ms() + run->options->timeout_ms;
    int primary = find_primary(run->cluster, pawl, path);
    while (primary < 1 && pawl_clock_ms() < until_ms && perf_interrupted() == 0) {
        (void)pawl_poll(pawl, FIND_PAUSE_MS); // between two tails
        primary = find_primary(run->cluster, pawl, path);
    }
    if (primary >= 1) {
        run->killed = primary;
        atomic_store(&run->killed_ns, pawl_clock_ns());
        code = kill_server(run->cluster, (uint32_t)primary);
    }
    pawl_close(pawl);
    if (perf_interrupted() != 0) {
        return PERF_SIGNAL + perf_interrupted();
    }
    return primary < 1 ? complain_of(path, "finding the primary of", PAWL_ENOTFOUND)
           : code != 0 ? complain_of(path, "killing the primary of", code)
                       : 0;
}

// A client that was not answered any more has paused until now, at least.
static void take_pauses(const struct perf_run *run, struct perf_round *round)
{
    uint64_t killed_ns = atomic_load(&run->killed_ns);
    uint64_t now_ns = pawl_clock_ns();
    round->pauses_count = round->pauses_ms != NULL ? run->lanes_count : 0;
    for (uint32_t i = 0; i < round->pauses_count; i++) {
        const struct perf_lane *lane = &run->lanes[i];
        uint64_t pause_ns =
            lane->answered_ns > killed_ns ? lane->pause_ns : now_ns - lane->answered_ns;
        round->pauses_ms[i] = (double)pause_ns / 1e6;
    }
    struct perf_spread spread = perf_spread_of(round->pauses_ms, round->pauses_count);
    round->figures[PERF_FIGURE_failover_ms] = spread.median;
    round->figures[PERF_FIGURE_failover_max_ms] = spread.max;
}

int perf_failover_end(struct perf_run *run)
{
    char id[LOCAL_ID_MAX];
    if (run->killed < 1) {
        return 0;
    }
    run->round->pauses_ms = calloc(run->lanes_count, sizeof *run->round->pauses_ms);
    take_pauses(run, run->round);
    local_id((uint32_t)run->killed, id);
    run->killed = 0;
    int code = perf_cluster_local(run->cluster, "restart", id);
    return code != 0 ? code : perf_cluster_wait_live(run->cluster);
}

// ---- one record at a time -----------------------------------------------------------------------

static int kill_and_append(struct failover *failover, uint32_t primary, struct perf_round *round)
{
    uint64_t begin_ns = pawl_clock_ns();
    // The append begins when the process is dead, so that no answer of its last moments counts.
    int code = kill_server(failover->cluster, primary);
    if (code != 0) {
        return complain(failover, "killing the primary of", code);
    }
    code = append(failover);
    uint64_t took_ns = pawl_clock_ns() - begin_ns;
    round->seconds = (double)took_ns / 1e9;
    if (code != 0) {
        round->errors = 1;
        round->error = code;
        return complain(failover, "appending to", code);
    }
    round->ops = 1;
    round->bytes = failover->options->bytes;
    round->figures[PERF_FIGURE_failover_ms] = (double)took_ns / 1e6;
    return 0;
}

static uint64_t retries_of(const struct failover *failover)
{
    struct pawl_counters counters;
    pawl_counters(failover->file, &counters);
    return counters.retries_count;
}

static int kill_once(struct failover *failover, struct perf_round *round)
{
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < STEADY_APPENDS; i++) {
        code = append(failover);
    }
    if (code != 0) {
        return complain(failover, "appending to", code);
    }
    // The tail may just have been sealed, so that it is healed: an append opens the next one.
    int primary = find_primary(failover->cluster, failover->pawl, failover->path);
    uint64_t until_ms = pawl_clock_ms() + failover->options->timeout_ms;
    while (primary < 1 && code == 0 && pawl_clock_ms() < until_ms) {
        (void)pawl_poll(failover->pawl, FIND_PAUSE_MS);
        code = append(failover);
        primary = find_primary(failover->cluster, failover->pawl, failover->path);
    }
    if (code != 0) {
        return complain(failover, "appending to", code);
    }
    if (primary < 1) {
        return complain(failover, "finding the primary of", PAWL_ENOTFOUND);
    }
    char id[LOCAL_ID_MAX];
    uint64_t retries = retries_of(failover);
    local_id((uint32_t)primary, id);
    code = kill_and_append(failover, (uint32_t)primary, round);
    round->retries = retries_of(failover) - retries;
    // It is started again whatever came of the append.
    int restarted = perf_cluster_local(failover->cluster, "restart", id);
    return code != 0 ? code : restarted;
}

static int check_file(struct failover *failover, struct perf_result *result)
{
    struct perf_round *last = &result->rounds[result->rounds_count - 1];
    struct pawl_stat stat;
    int code = pawl_stat(failover->pawl, failover->path, &stat);
    if (code != 0) {
        return complain(failover, "looking at", code);
    }
    last->files = calloc(1, sizeof *last->files);
    last->files_count = last->files != NULL;
    if (last->files == NULL) {
        return complain(failover, "looking at", -ENOMEM);
    }
    uint64_t bytes = failover->acknowledged * failover->options->bytes;
    snprintf(last->files[0].path, sizeof last->files[0].path, "%s", failover->path);
    last->files[0].ops = failover->acknowledged;
    last->files[0].bytes = bytes;
    last->files[0].stat_bytes = stat.bytes;
    if (stat.bytes < bytes || (last->errors == 0 && stat.bytes != bytes)) {
        fprintf(stderr, "pawl-perf: %s has %llu bytes, %llu were acknowledged\n", failover->path,
                (unsigned long long)stat.bytes, (unsigned long long)bytes);
        return PERF_FAILED;
    }
    return 0;
}

static int kill_all(struct failover *failover, struct perf_result *result)
{
    int code = 0;
    for (uint32_t i = 0; code == 0 && i < failover->options->repeat; i++) {
        code = perf_cluster_wait_live(failover->cluster);
        code = code != 0 ? code : kill_once(failover, &result->rounds[i]);
        result->rounds_count += result->rounds[i].seconds > 0;
        if (perf_interrupted() != 0) {
            return PERF_SIGNAL + perf_interrupted();
        }
    }
    int live = perf_cluster_wait_live(failover->cluster); // as it was found
    code = code != 0 ? code : live;
    if (result->rounds_count != 0) {
        int checked = check_file(failover, result);
        code = code != 0 ? code : checked;
    }
    return code;
}

int perf_failover(const struct perf_options *options, const struct perf_cluster *cluster,
                  struct perf_result *result)
{
    struct failover failover = {.options = options, .cluster = cluster};
    struct pawl_create_options create = {.size = sizeof create,
                                         .replicas = (uint32_t)options->replicas,
                                         .min_replicas = options->replicas > 2 ? 2 : 1,
                                         .chunk_bytes = options->chunk_bytes,
                                         .exclusive = true};
    uint64_t id = 0;
    int code = perf_cluster_connect(cluster, &failover.pawl);
    if (code != 0) {
        return code;
    }
    code = perf_result_init(result, options);
    failover.data = calloc(1, options->bytes);
    code = code != 0 ? code : failover.data == NULL ? -ENOMEM : pawl_random_os(&id, sizeof id);
    snprintf(failover.path, sizeof failover.path, "/pawl-perf-%016llx", (unsigned long long)id);
    code = code != 0 ? code : pawl_create(failover.pawl, failover.path, &create, &failover.file);
    if (code != 0) {
        code = complain(&failover, "creating", code);
    } else {
        code = kill_all(&failover, result);
        pawl_file_close(failover.file);
        if (!options->keep) {
            int removed = pawl_remove(failover.pawl, failover.path, 0);
            code = code == 0 && removed != 0 ? complain(&failover, "removing", removed) : code;
        }
    }
    pawl_close(failover.pawl);
    free(failover.data);
    return code;
}
