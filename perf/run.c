// SPDX-License-Identifier: Apache-2.0
// Rounds: files made, lanes started, the time that is measured, files looked at and removed.
#include "perf/run.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "perf/beside.h"
#include "perf/interrupt.h"
#include "perf/perf.h"

#define PREPARE_DEPTH 8u
#define PEAK_ROUNDS 3u

static const struct perf_work *const works[PERF_VERBS_COUNT] = {
    [PERF_APPEND] = &perf_append_work,     [PERF_READ] = &perf_read_work,
    [PERF_WRITE] = &perf_write_work,       [PERF_META] = &perf_meta_work,
    [PERF_MIXED] = &perf_mixed_work,       [PERF_PUSH] = &perf_push_work,
    [PERF_FAILOVER] = &perf_failover_work,
};

void perf_path(char ret[static PERF_PATH_MAX], const char *folder, const char *what,
               uint32_t number)
{
    int length = snprintf(ret, PERF_PATH_MAX, "%s/%s-%u", folder, what, number);
    pawl_assert(length > 0 && length < PERF_PATH_MAX);
}

static int failed(const char *what, int code)
{
    fprintf(stderr, "pawl-perf: %s: %s\n", what, pawl_strerror(code));
    return code == PAWL_EDEADLINE || code == PAWL_EDISCONNECTED || code == PAWL_ENOSERVERS
               ? PERF_UNREACHABLE
               : PERF_FAILED;
}

static int interrupted(void)
{
    return perf_interrupted() != 0 ? PERF_SIGNAL + perf_interrupted() : 0;
}

// ---- files --------------------------------------------------------------------------------------

static int create_file(struct pawl *pawl, const struct perf_options *options, const char *path,
                       struct pawl_file **ret)
{
    struct pawl_create_options create = {.size = sizeof create,
                                         .replicas = (uint32_t)options->replicas,
                                         .chunk_bytes = options->chunk_bytes,
                                         .exclusive = true};
    if (options->verb == PERF_FAILOVER) { // goes on without the one that is killed
        create.min_replicas = options->replicas > 2 ? 2 : 1;
    }
    return pawl_create(pawl, path, &create, ret);
}

struct prepare {
    uint64_t in_flight;
    int error;
};

static void on_prepared(void *user, const struct pawl_append_result *result)
{
    struct prepare *prepare = user;
    prepare->in_flight--;
    prepare->error = prepare->error != 0 ? prepare->error : result->status;
}

static int prepare_file(const struct perf_options *options, struct pawl *pawl,
                        struct pawl_file *file)
{
    struct prepare prepare = {0};
    struct pawl_random random;
    size_t bytes = options->record_bytes;
    uint64_t left = (options->file_bytes + bytes - 1) / bytes;
    uint8_t *data = malloc(bytes);
    if (data == NULL) {
        return -ENOMEM;
    }
    pawl_random_seed(&random, 1);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(pawl_random_next(&random) >> 56);
    }
    while (prepare.in_flight != 0 || (left != 0 && prepare.error == 0 && perf_interrupted() == 0)) {
        int code = -EAGAIN;
        if (left != 0 && prepare.error == 0 && prepare.in_flight < PREPARE_DEPTH) {
            code = pawl_append_submit(file, data, bytes, NULL, on_prepared, &prepare);
        }
        if (code == 0) {
            prepare.in_flight++;
            left--;
        } else if (code != -EAGAIN) {
            prepare.error = code;
        } else {
            (void)pawl_poll(pawl, 100);
        }
    }
    free(data);
    return prepare.error;
}

// The files that are read and written to, once for all rounds.
static int prepare_files(const struct perf_run *run)
{
    const struct perf_options *options = run->options;
    struct pawl_options connection =
        perf_cluster_options(run->cluster, PREPARE_DEPTH, options->record_bytes);
    struct pawl *pawl;
    int code = pawl_connect(&connection, &pawl);
    if (code != 0) {
        return failed("connecting", code);
    }
    char path[PERF_PATH_MAX] = "";
    struct perf_copies before;
    perf_copies_now(pawl, &before);
    for (uint32_t i = 0; code == 0 && i < options->files && perf_interrupted() == 0; i++) {
        struct pawl_file *file;
        perf_path(path, run->folder, "prepared", i);
        code = create_file(pawl, options, path, &file);
        if (code == 0) {
            code = prepare_file(options, pawl, file);
            pawl_file_close(file);
        }
    }
    if (code == 0 && perf_interrupted() == 0) { // so that none of it is in a round's copies
        perf_copies_wait(pawl, &before, options->files * options->file_bytes * options->replicas, 0,
                         &before);
    }
    pawl_close(pawl);
    return code != 0 ? failed(path, code) : interrupted();
}

static int create_round(const struct perf_run *run, struct pawl *pawl)
{
    struct perf_round *round = run->round;
    int code = pawl_mkdir(pawl, run->round_folder, 0);
    for (uint32_t i = 0; code == 0 && i < round->files_count; i++) {
        struct pawl_file *file;
        perf_path(round->files[i].path, run->round_folder, "file", i);
        code = create_file(pawl, run->options, round->files[i].path, &file);
        if (code == 0) {
            pawl_file_close(file);
        }
    }
    return code != 0 ? failed(run->round_folder, code) : 0;
}

enum pawl_ack perf_ack(const struct perf_options *options)
{
    return strcmp(options->ack, "replicated") == 0 ? PAWL_ACK_REPLICATED : PAWL_ACK_DURABLE;
}

// A length counts what is durable: the last records of the weaker level are about to be.
static int stat_durable(const struct perf_options *options, struct pawl *pawl,
                        const struct perf_file *file, struct pawl_stat *ret)
{
    uint64_t until_ns = pawl_clock_ns() + 10 * PAWL_NS_PER_S;
    int code = pawl_stat(pawl, file->path, ret);
    while (code == 0 && perf_ack(options) == PAWL_ACK_REPLICATED && ret->bytes < file->bytes &&
           pawl_clock_ns() < until_ns) {
        (void)pawl_poll(pawl, 1);
        code = pawl_stat(pawl, file->path, ret);
    }
    return code;
}

// Nothing is reported that isn't there: the cluster is asked how long the files have become. An append with
// an error may or may not be in its file.
static int check_round(const struct perf_run *run, struct pawl *pawl)
{
    struct perf_round *round = run->round;
    for (uint32_t i = 0; i < round->files_count; i++) {
        struct perf_file *file = &round->files[i];
        struct pawl_stat stat;
        int code = stat_durable(run->options, pawl, file, &stat);
        if (code != 0) {
            return failed(file->path, code);
        }
        file->stat_bytes = stat.bytes;
        if (stat.bytes < file->bytes || (round->errors == 0 && stat.bytes != file->bytes)) {
            fprintf(stderr, "pawl-perf: %s has %llu bytes, %llu were acknowledged\n", file->path,
                    (unsigned long long)stat.bytes, (unsigned long long)file->bytes);
            return PERF_FAILED;
        }
    }
    return 0;
}

// ---- lanes --------------------------------------------------------------------------------------

static int lanes_start(struct perf_run *run)
{
    uint64_t turns = run->work->threads ? run->options->depth : 1;
    uint32_t wanted = (uint32_t)(run->options->clients * turns);
    run->lanes = calloc(wanted, sizeof *run->lanes);
    run->lanes_count = 0;
    if (run->lanes == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < wanted; i++) {
        struct perf_lane *lane = &run->lanes[i];
        lane->run = run;
        lane->index = i;
        lane->client = (uint32_t)(i / turns);
        lane->turn = (uint32_t)(i % turns);
        lane->file = (uint32_t)(lane->client % run->options->files);
        int code = pthread_create(&lane->thread, NULL, perf_lane_main, lane);
        if (code != 0) {
            atomic_store(&run->stop, true);
            return -code;
        }
        run->lanes_count++; // read by lanes behind `go` only
    }
    return 0;
}

// Until then, or until so many lanes are there, or the round is to end early.
static void wait_for(struct perf_run *run, const atomic_uint *count, uint64_t until_ns)
{
    while (pawl_clock_ns() < until_ns && atomic_load(count) < run->lanes_count &&
           !atomic_load(&run->stop)) {
        perf_wait_until(until_ns, run->event_fd);
        if (perf_interrupted() != 0) {
            atomic_store(&run->stop, true);
        }
    }
}

static void lanes_go(struct perf_run *run)
{
    run->go_ns = pawl_clock_ns();
    run->begin_ns = run->go_ns + run->options->warm_up_ms * PAWL_NS_PER_MS;
    run->end_ns = run->begin_ns + run->options->duration_ms * PAWL_NS_PER_MS;
    pthread_mutex_lock(&run->mutex);
    atomic_store(&run->go, true);
    pthread_cond_broadcast(&run->gone);
    pthread_mutex_unlock(&run->mutex);
}

static void lane_collect(const struct perf_run *run, struct perf_lane *lane,
                         struct perf_round *round)
{
    for (size_t i = 0; lane->tallies != NULL && i <= PERF_OWED; i++) {
        const struct perf_tally *tally = &lane->tallies[i];
        round->ops += tally->ops;
        round->bytes += tally->bytes;
        pawl_histogram_merge(&round->latency_ns, &tally->latency_ns);
        if (i < PERF_KINDS_COUNT) {
            round->kinds[i].ops += tally->ops;
            round->kinds[i].bytes += tally->bytes;
            pawl_histogram_merge(&round->kinds[i].latency_ns, &tally->latency_ns);
        }
    }
    if (run->work->appends && lane->stored_ops != NULL) {
        round->files[lane->file].ops += lane->stored_ops[lane->file];
        round->files[lane->file].bytes += lane->stored_ops[lane->file] * run->options->bytes;
    }
    if (lane->stages != NULL) {
        perf_stages_merge(&round->stages, lane->stages);
    }
    round->errors += lane->errors;
    round->retries += lane->retries;
    perf_copies_merge(&round->copies, &lane->copies);
    round->unsent += lane->unsent;
    round->warm_ops += lane->warm_ops;
    round->error = round->error != 0 ? round->error : lane->error;
    round->error = round->error != 0 ? round->error : lane->survived;
    free(lane->tallies);
    free(lane->stages);
    free(lane->stored_ops);
}

// What ends early, by --ops or by an error, ends with the last answer.
static double seconds_of(const struct perf_run *run)
{
    uint64_t end_ns = run->end_ns;
    if (run->options->ops != 0 || atomic_load(&run->stop)) {
        end_ns = run->begin_ns;
        for (uint32_t i = 0; i < run->lanes_count; i++) {
            end_ns = PAWL_MAX(end_ns, run->lanes[i].ended_ns);
        }
    }
    return (double)(end_ns - run->begin_ns) / 1e9;
}

static void cpu_between(const struct perf_cpu *begin, const struct perf_cpu *end,
                        struct perf_round *round)
{
    bool known = begin->known && end->known && begin->pids_hash == end->pids_hash;
    round->cpu_client_s = known ? end->client_s - begin->client_s : NAN;
    round->cpu_master_s = known ? end->master_s - begin->master_s : NAN;
    round->cpu_servers_s = known ? end->servers_s - begin->servers_s : NAN;
}

// Of the warm-up, all processes.
static void syscalls_begin(const struct perf_run *run, struct perf_syscalls *syscalls)
{
    perf_syscalls_init(syscalls);
    perf_syscalls_add(syscalls, getpid(), PERF_PROCESS_CLIENT);
    for (uint32_t i = 0; i <= run->cluster->local.servers_count; i++) {
        perf_syscalls_add(syscalls, local_pid(&run->cluster->local, i),
                          i == 0 ? PERF_PROCESS_MASTER : PERF_PROCESS_SERVER);
    }
}

static void syscalls_end(struct perf_syscalls *syscalls, const uint64_t *counts,
                         struct perf_round *round)
{
    double ops = (double)round->warm_ops;
    if (syscalls->why[0] == '\0' && round->warm_ops == 0) {
        snprintf(syscalls->why, sizeof syscalls->why,
                 "they are counted in the warm-up, and nothing was answered in it");
    }
    snprintf(round->syscalls_why, sizeof round->syscalls_why, "%s", syscalls->why);
    if (syscalls->why[0] != '\0') {
        return;
    }
    uint64_t sum = 0;
    for (unsigned i = 0; i < PERF_PROCESSES_COUNT; i++) {
        sum += counts[i];
    }
    round->figures[PERF_FIGURE_syscalls_per_op] = (double)sum / ops;
    round->figures[PERF_FIGURE_client_syscalls_per_op] = (double)counts[PERF_PROCESS_CLIENT] / ops;
    round->figures[PERF_FIGURE_server_syscalls_per_op] = (double)counts[PERF_PROCESS_SERVER] / ops;
}

static int measure(struct perf_run *run)
{
    struct perf_round *round = run->round;
    struct perf_syscalls syscalls;
    uint64_t counts[PERF_PROCESSES_COUNT] = {0};
    atomic_store(&run->ready_count, 0);
    atomic_store(&run->done_count, 0);
    atomic_store(&run->go, false);
    atomic_store(&run->stop, false);
    atomic_store(&run->killed_ns, 0);
    int code = lanes_start(run);
    wait_for(run, &run->ready_count, UINT64_MAX);
    syscalls_begin(run, &syscalls);
    lanes_go(run);
    wait_for(run, &run->done_count, run->begin_ns);
    (void)perf_syscalls_read(&syscalls, counts);
    perf_syscalls_fini(&syscalls);
    struct perf_cpu begin = perf_cluster_cpu(run->cluster);
    int killed = run->work->kills && !atomic_load(&run->stop) ? perf_failover_kill(run) : 0;
    if (killed != 0) {
        atomic_store(&run->stop, true);
    }
    wait_for(run, &run->done_count, run->end_ns);
    struct perf_cpu end = perf_cluster_cpu(run->cluster);
    for (uint32_t i = 0; i < run->lanes_count; i++) {
        pthread_join(run->lanes[i].thread, NULL);
    }
    round->seconds = seconds_of(run);
    for (uint32_t i = 0; i < run->lanes_count; i++) {
        lane_collect(run, &run->lanes[i], round);
    }
    cpu_between(&begin, &end, round);
    perf_figures_of(round->ops, round->bytes, round->seconds,
                    round->cpu_client_s + round->cpu_master_s + round->cpu_servers_s,
                    &round->latency_ns, round->figures);
    // What copies cost is the servers' share; a server may hold copies of several files.
    if (run->options->verb == PERF_APPEND && round->bytes != 0) {
        round->figures[PERF_FIGURE_replica_cpu_s_per_gb] =
            round->cpu_servers_s / (double)run->options->replicas / ((double)round->bytes / 1e9);
    }
    syscalls_end(&syscalls, counts, round);
    int ended = run->work->kills ? perf_failover_end(run) : 0;
    killed = killed != 0 ? killed : ended;
    free(run->lanes);
    if (code != 0) {
        return failed("starting threads", code);
    }
    if (killed != 0) {
        return killed;
    }
    return round->errors != 0 ? failed("a client has stopped", round->error) : interrupted();
}

// ---- rounds -------------------------------------------------------------------------------------

// Names have no payload, and a server that is killed forgets what it has counted.
static bool counts_copies(const struct perf_options *options)
{
    return options->verb != PERF_META && options->verb != PERF_FAILOVER;
}

static void find_copies(const struct perf_run *run, struct pawl *pawl,
                        const struct perf_copies *before)
{
    const struct perf_copies *clients = &run->round->copies;
    struct perf_copies after;
    if (counts_copies(run->options)) { // of one replica at least
        perf_copies_wait(pawl, before, clients->stored_bytes - clients->pushed_bytes,
                         clients->read_bytes, &after);
        run->round->figures[PERF_FIGURE_copies_per_byte] =
            perf_copies_per_byte(clients, before, &after, run->options->replicas);
    }
}

static int run_round(struct perf_run *run, uint32_t number)
{
    struct perf_copies before;
    struct pawl *pawl;
    int code = perf_cluster_connect(run->cluster, &pawl);
    if (code != 0) {
        return code;
    }
    perf_copies_now(pawl, &before);
    perf_path(run->round_folder, run->folder, "round", number);
    code = create_round(run, pawl);
    pawl_close(pawl);
    code = code != 0 ? code : measure(run);
    if (code == PERF_UNREACHABLE || perf_cluster_connect(run->cluster, &pawl) != 0) {
        return code != 0 ? code : PERF_UNREACHABLE;
    }
    find_copies(run, pawl, &before);
    int checked = check_round(run, pawl);
    if (!run->options->keep) {
        int removed = pawl_remove(pawl, run->round_folder, PAWL_RECURSIVE);
        checked = checked == 0 && removed != 0 ? failed(run->round_folder, removed) : checked;
    }
    pawl_close(pawl);
    return code != 0 ? code : checked;
}

// The run's folder in the cluster: made, or removed with all that is in it.
static int folder(const struct perf_run *run, bool make)
{
    struct pawl *pawl;
    int code = perf_cluster_connect(run->cluster, &pawl);
    if (code != 0) {
        return code;
    }
    code = make ? pawl_mkdir(pawl, run->folder, 0) : pawl_remove(pawl, run->folder, PAWL_RECURSIVE);
    pawl_close(pawl);
    return code != 0 ? failed(run->folder, code) : 0;
}

static int run_all(struct perf_run *run, struct perf_result *result)
{
    int code = folder(run, true);
    if (code != 0) {
        return code;
    }
    code = run->work->prepared ? prepare_files(run) : 0;
    for (uint32_t i = 0; code == 0 && i < run->options->repeat; i++) {
        run->round = &result->rounds[i];
        code = i != 0 ? perf_cluster_restart(run->cluster) : 0;
        code = code != 0 ? code : run_round(run, i);
        if (code == 0 && run->options->roofline) {
            code = perf_beside_round(&run->beside, run->round);
        }
        // One that was ended by an error is shown, one that was ended by a signal is not.
        result->rounds_count += code < PERF_SIGNAL && run->round->seconds > 0;
    }
    if (!run->options->keep && code != PERF_UNREACHABLE) {
        int removed = folder(run, false);
        code = code != 0 ? code : removed;
    }
    if (code == 0 && run->options->roofline) {
        code = perf_beside_check(&run->beside, result);
    }
    return code;
}

// At its known rate, if any.
static int run_rounds(const struct perf_options *options, const struct perf_cluster *cluster,
                      const struct perf_beside *beside, struct perf_result *result)
{
    struct perf_run run = {.options = options, .cluster = cluster, .work = works[options->verb]};
    uint64_t id = 0;
    if (beside != NULL) {
        run.beside = *beside;
    }
    int code = pawl_random_os(&id, sizeof id);
    snprintf(run.folder, sizeof run.folder, "/pawl-perf-%016llx", (unsigned long long)id);
    code = code != 0 ? code : perf_result_init(result, options);
    run.event_fd = code == 0 ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
    if (code == 0 && run.event_fd < 0) {
        code = -errno;
    }
    if (code != 0) {
        return failed("starting", code);
    }
    for (uint64_t i = 0; i < options->repeat && run.work->appends; i++) {
        struct perf_round *round = &result->rounds[i];
        round->files = calloc(options->files, sizeof *round->files);
        round->files_count = round->files != NULL ? (uint32_t)options->files : 0;
        code = round->files != NULL ? code : failed("starting", -ENOMEM);
    }
    pthread_mutex_init(&run.mutex, NULL);
    pthread_cond_init(&run.gone, NULL);
    code = code != 0 ? code : run_all(&run, result);
    perf_beside_fini(&run.beside);
    pthread_cond_destroy(&run.gone);
    pthread_mutex_destroy(&run.mutex);
    close(run.event_fd);
    return code;
}

// What as many clients and operations in flight reach in a closed loop: its median.
static int find_peak(const struct perf_options *options, const struct perf_cluster *cluster,
                     double *ret_ops_per_s)
{
    struct perf_options closed = *options;
    struct perf_result peak = {0};
    closed.verb = options->verb == PERF_FAILOVER ? PERF_APPEND : options->verb;
    closed.rate_half = false;
    closed.roofline = false;
    closed.repeat = PEAK_ROUNDS;
    int code = run_rounds(&closed, cluster, NULL, &peak);
    *ret_ops_per_s = perf_result_spread(&peak, PERF_FIGURE_ops_per_s).median;
    perf_result_fini(&peak);
    if (code == 0 && !(*ret_ops_per_s >= 2)) {
        fputs("pawl-perf: --rate half: the peak is less than two operations a second\n", stderr);
        code = PERF_FAILED;
    }
    return code;
}

// Rounds whose files are deleted, and of which nothing else is left.
static int settle(const struct perf_options *options, const struct perf_cluster *cluster)
{
    struct perf_options before = *options;
    struct perf_result aside = {0};
    before.rate_half = false; // a closed loop, then
    before.roofline = false;
    before.keep = false;
    before.repeat = options->settle;
    int code = run_rounds(&before, cluster, NULL, &aside);
    perf_result_fini(&aside);
    return code;
}

int perf_run_rounds(const struct perf_options *options, const struct perf_cluster *cluster,
                    struct perf_result *result)
{
    struct perf_options own = *options;
    double peak = NAN;
    struct perf_beside beside = {0};
    const char *why = NULL;
    if (options->roofline && perf_beside_init(options, cluster, &beside, &why) != 0) {
        fprintf(stderr, "pawl-perf: --roofline: there is none of this shape: %s\n", why);
        return PERF_USAGE;
    }
    int code = options->settle > 0 ? settle(options, cluster) : 0;
    if (code == 0 && options->rate_half) {
        code = find_peak(options, cluster, &peak);
    }
    if (code != 0) {
        return code;
    }
    if (options->rate_half) {
        own.rate_per_s = (uint64_t)(peak / 2);
        fprintf(stderr, "pawl-perf: the peak is %.0f/s, %llu/s are offered\n", peak,
                (unsigned long long)own.rate_per_s);
    }
    beside.options.rate_per_s = (double)own.rate_per_s;
    code = run_rounds(&own, cluster, options->roofline ? &beside : NULL, result);
    result->peak_ops_per_s = peak;
    return code;
}
