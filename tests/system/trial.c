// SPDX-License-Identifier: Apache-2.0
// pawl-trial: what system tests need of the client library that the command line does not do: many
// appenders that remember what they were told, a check of the file against that, repeated record
// ids.
//
//   pawl-trial appenders MASTER PATH LOG CLIENTS SECONDS SEED   append until SIGTERM, or SECONDS have
//                                                               passed
//   pawl-trial check MASTER PATH LOG SEED                       every acknowledged record once, ...
//   pawl-trial repeat MASTER PATH PRODUCER SEQUENCE BYTES FILL  append one record by its id
//   pawl-trial forget MASTER PATH PRODUCER SEQUENCE BYTES FILL  the same, dying before it tells
//   pawl-trial write MASTER PATH OFFSET PRODUCER SEQUENCE BYTES FILL
//                                                               write over the file by an id
//   pawl-trial history MASTER PATH PRODUCER COUNT BYTES FILL CHUNK_BYTES DEPTH
//                                                               append records 1 to COUNT
//   pawl-trial bench MASTER PATH CLIENTS SECONDS BYTES DEPTH [EACH]
//                                                               rate, latency, longest pause, appends of the slowest
//                                                               client and of the fastest; until SIGTERM, or SECONDS
//                                                               have passed, or each client has had EACH appends
//
// PAWL_TEST_PROVIDER in the environment names the libfabric provider; appenders keep to pace.h.
// LOG has a line an append: client, sequence, "acked" or "unknown", offset.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/histogram.h"
#include "base/random.h"
#include "base/util.h"
#include <pawl/pawl.h>

#include "pace.h"

#define RECORD_BYTES 1024u
#define CLIENTS_MAX 64u
#define RESOLVE_MS 90000u

static atomic_bool stopped; // set by a signal, read by all threads

static void on_stop(int number)
{
    (void)number;
    stopped = true;
}

struct record {
    uint32_t magic;
    uint32_t client;
    uint64_t sequence;
    uint64_t seed;
    uint8_t body[RECORD_BYTES - 28];
    uint32_t crc;
};
static_assert(sizeof(struct record) == RECORD_BYTES, "record");
#define RECORD_MAGIC 0x54524944u

static void record_make(struct record *record, uint32_t client, uint64_t sequence, uint64_t seed)
{
    struct pawl_random random;
    pawl_random_seed(&random, seed ^ ((uint64_t)client << 48) ^ sequence);
    record->magic = RECORD_MAGIC;
    record->client = client;
    record->sequence = sequence;
    record->seed = seed;
    for (size_t i = 0; i < sizeof record->body; i++) {
        record->body[i] = (uint8_t)pawl_random_next(&random);
    }
    record->crc = pawl_crc32c(0, record, offsetof(struct record, crc));
}

static int connect_to(const char *master, uint32_t deadline_ms, struct pawl **ret)
{
    struct pawl_options options = {.size = sizeof options,
                                   .master = master,
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = deadline_ms};
    int code = pawl_connect(&options, ret);
    if (code != 0) {
        fprintf(stderr, "connecting to %s: %s\n", master, pawl_strerror(code));
    }
    return code;
}

// ---- appenders
// ---------------------------------------------------------------------------------------

struct appender {
    pthread_t thread;
    const char *master;
    const char *path;
    FILE *log;
    uint32_t client;
    uint64_t seed;
    uint64_t until_ns;
    uint64_t acked_count;
    uint64_t unknown_count; // that had to be resolved
    int status;
};

// Repeats a record whose outcome is unknown, by its id, until it is known.
static int resolve(struct pawl_file *file, const struct record *record,
                   struct pawl_append_result *result)
{
    struct pawl_append_options options = {
        .size = sizeof options, .sequence = record->sequence, .deadline_ms = RESOLVE_MS};
    int code = pawl_append(file, record, sizeof *record, &options, result);
    if (code == PAWL_EDEADLINE) {
        code = PAWL_EUNKNOWN;
    }
    return code;
}

static int append_one(struct appender *appender, struct pawl_file *file, uint64_t sequence,
                      struct pawl_random *random)
{
    struct record record;
    struct pawl_append_result result;
    // Now and then a deadline that a recovery outlasts, so that unknown outcomes are met.
    uint32_t deadline_ms = pawl_random_below(random, 20) == 0 ? 30 : RESOLVE_MS;
    struct pawl_append_options options = {
        .size = sizeof options, .sequence = sequence, .deadline_ms = deadline_ms};
    record_make(&record, appender->client, sequence, appender->seed);
    int code = pawl_append(file, &record, sizeof record, &options, &result);
    if (code == PAWL_EUNKNOWN || code == PAWL_EDEADLINE || code == PAWL_ENOSPACE ||
        code == PAWL_ENOSERVERS) {
        appender->unknown_count++;
        code = resolve(file, &record, &result);
    }
    if (code == 0) {
        appender->acked_count++;
        fprintf(appender->log, "%u %" PRIu64 " acked %" PRIu64 "\n", appender->client, sequence,
                result.offset);
    } else {
        fprintf(appender->log, "%u %" PRIu64 " unknown 0\n", appender->client, sequence);
        fprintf(stderr, "client %u sequence %" PRIu64 ": %s\n", appender->client, sequence,
                pawl_strerror(code));
    }
    return code;
}

static void *appender_run(void *user)
{
    struct appender *appender = user;
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    struct pawl_random random;
    pawl_random_seed(&random, appender->seed + appender->client);
    int code = connect_to(appender->master, RESOLVE_MS, &pawl);
    code = code != 0 ? code : pawl_open(pawl, appender->path, &file);
    for (uint64_t sequence = 1; code == 0 && !stopped && pawl_clock_ns() < appender->until_ns;
         sequence++) {
        code = append_one(appender, file, sequence, &random);
        pace();
    }
    appender->status = code;
    pawl_file_close(file);
    pawl_close(pawl);
    return NULL;
}

static int appenders(char **arguments)
{
    static struct appender all[CLIENTS_MAX];
    unsigned long clients = strtoul(arguments[3], NULL, 10);
    uint64_t until_ns = pawl_clock_ns() + strtoull(arguments[4], NULL, 10) * PAWL_NS_PER_S;
    FILE *log = fopen(arguments[2], "we");
    signal(SIGTERM, on_stop);
    if (log == NULL || clients == 0 || clients > CLIENTS_MAX) {
        return 2;
    }
    setvbuf(log, NULL, _IOLBF, 0); // others watch it grow
    for (uint32_t i = 0; i < clients; i++) {
        all[i] = (struct appender){.master = arguments[0],
                                   .path = arguments[1],
                                   .log = log,
                                   .client = i,
                                   .seed = strtoull(arguments[5], NULL, 10),
                                   .until_ns = until_ns};
        int code = pthread_create(&all[i].thread, NULL, appender_run, &all[i]);
        pawl_assert(code == 0);
    }
    uint64_t acked = 0;
    uint64_t unknown = 0;
    int failed = 0;
    for (uint32_t i = 0; i < clients; i++) {
        pthread_join(all[i].thread, NULL);
        acked += all[i].acked_count;
        unknown += all[i].unknown_count;
        failed += all[i].status != 0;
    }
    fclose(log);
    printf("{\"acked\": %" PRIu64 ", \"resolved\": %" PRIu64 ", \"failed_clients\": %d}\n", acked,
           unknown, failed);
    return failed == 0 ? 0 : 1;
}

// ---- check
// -------------------------------------------------------------------------------------------

struct told {
    uint64_t offset;
    bool acked;
    uint32_t seen;
};

struct check {
    struct told *told[CLIENTS_MAX]; // by sequence
    uint64_t count[CLIENTS_MAX];    // highest sequence told of, + 1
    uint64_t seed;
    uint64_t bad_count;
    uint64_t records_count;
};

static struct told *told_of(struct check *check, uint32_t client, uint64_t sequence)
{
    if (client >= CLIENTS_MAX || sequence > 100000000u) {
        return NULL;
    }
    if (sequence >= check->count[client]) {
        uint64_t count = PAWL_MAX(sequence + 1, check->count[client] * 2);
        check->told[client] = realloc(check->told[client], count * sizeof(struct told));
        pawl_assert(check->told[client] != NULL);
        memset(check->told[client] + check->count[client], 0,
               (count - check->count[client]) * sizeof(struct told));
        check->count[client] = count;
    }
    return &check->told[client][sequence];
}

static void bad(struct check *check, const char *what, uint32_t client, uint64_t sequence,
                uint64_t offset)
{
    if (check->bad_count++ < 20) {
        fprintf(stderr, "%s: client %u sequence %" PRIu64 " offset %" PRIu64 "\n", what, client,
                sequence, offset);
    }
}

static int load_log(struct check *check, const char *path)
{
    FILE *log = fopen(path, "re");
    uint32_t client;
    uint64_t sequence;
    uint64_t offset;
    char how[16];
    if (log == NULL) {
        return -errno;
    }
    while (fscanf(log, "%u %" SCNu64 " %15s %" SCNu64, &client, &sequence, how, &offset) == 4) {
        struct told *told = told_of(check, client, sequence);
        pawl_assert(told != NULL);
        told->acked = strcmp(how, "acked") == 0;
        told->offset = offset;
    }
    fclose(log);
    return 0;
}

static void check_record(struct check *check, const struct record *record, uint64_t offset)
{
    struct record wanted;
    struct told *told = told_of(check, record->client, record->sequence);
    if (record->magic != RECORD_MAGIC || told == NULL) {
        bad(check, "not a record", record->client, record->sequence, offset);
        return;
    }
    record_make(&wanted, record->client, record->sequence, check->seed);
    if (memcmp(&wanted, record, sizeof wanted) != 0) {
        bad(check, "wrong bytes", record->client, record->sequence, offset);
    }
    if (++told->seen > 1) {
        bad(check, "stored twice", record->client, record->sequence, offset);
    }
    if (told->acked && told->offset != offset) {
        bad(check, "not at its acknowledged offset", record->client, record->sequence, offset);
    }
    check->records_count++;
}

static int check_file(struct check *check, struct pawl_file *file)
{
    static uint8_t buffer[1024 * RECORD_BYTES];
    uint64_t offset = 0;
    for (;;) {
        size_t got = 0;
        int code = pawl_read(file, offset, buffer, sizeof buffer, NULL, &got);
        if (code != 0 || got == 0) {
            return code;
        }
        if (got % RECORD_BYTES != 0) {
            bad(check, "torn record at the end", 0, 0, offset + got);
        }
        for (size_t i = 0; i + RECORD_BYTES <= got; i += RECORD_BYTES) {
            struct record record;
            memcpy(&record, buffer + i, sizeof record);
            check_record(check, &record, offset + i);
        }
        offset += got;
    }
}

static void check_missing(struct check *check)
{
    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        for (uint64_t sequence = 1; sequence < check->count[client]; sequence++) {
            const struct told *told = &check->told[client][sequence];
            if (told->acked && told->seen == 0) {
                bad(check, "acknowledged and lost", client, sequence, told->offset);
            }
        }
        free(check->told[client]);
    }
}

static int check(char **arguments)
{
    static struct check state;
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    state.seed = strtoull(arguments[3], NULL, 10);
    int code = load_log(&state, arguments[2]);
    code = code != 0 ? code : connect_to(arguments[0], 60000, &pawl);
    code = code != 0 ? code : pawl_open(pawl, arguments[1], &file);
    code = code != 0 ? code : check_file(&state, file);
    if (code != 0) {
        fprintf(stderr, "check: %s\n", pawl_strerror(code));
        state.bad_count++;
    }
    check_missing(&state);
    pawl_file_close(file);
    pawl_close(pawl);
    printf("{\"records\": %" PRIu64 ", \"bad\": %" PRIu64 "}\n", state.records_count,
           state.bad_count);
    return state.bad_count == 0 ? 0 : 1;
}

// ---- repeat
// ------------------------------------------------------------------------------------------

static void forget_result(void *user, const struct pawl_append_result *result)
{
    *(int *)user = result->status;
}

static int repeat(char **arguments, bool forget)
{
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    uint64_t producer = strtoull(arguments[2], NULL, 16);
    uint64_t sequence = strtoull(arguments[3], NULL, 10);
    size_t bytes = strtoull(arguments[4], NULL, 10);
    uint8_t *data = malloc(bytes);
    struct pawl_append_result result = {0};
    pawl_assert(data != NULL);
    memset(data, atoi(arguments[5]), bytes);
    int code = connect_to(arguments[0], 60000, &pawl);
    code = code != 0 ? code : pawl_create(pawl, arguments[1], NULL, &file);
    code = code != 0 ? code : pawl_producer_set(file, 1, producer, sequence - 1);
    if (code == 0 && forget) {
        struct pawl_append_options options = {.size = sizeof options, .sequence = sequence};
        int status = 1;
        code = pawl_append_submit(file, data, bytes, &options, forget_result, &status);
        // It is stored, and nobody is told where: as if the process had died before.
        while (code == 0 && status > 0) {
            (void)pawl_poll(pawl, 100);
        }
        _exit(code == 0 && status == 0 ? 0 : 1);
    }
    uint64_t begin_ns = pawl_clock_ns();
    if (code == 0) {
        struct pawl_append_options options = {.size = sizeof options, .sequence = sequence};
        code = pawl_append(file, data, bytes, &options, &result);
    }
    double ms = (double)(pawl_clock_ns() - begin_ns) / 1e6;
    printf("{\"status\": %d, \"text\": \"%s\", \"offset\": %" PRIu64
           ", \"duplicate\": %s, \"ms\": %.1f}\n",
           code, code == 0 ? "" : pawl_strerror(code), result.offset,
           result.duplicate ? "true" : "false", ms);
    pawl_file_close(file);
    pawl_close(pawl);
    free(data);
    return 0;
}

static int write_once(char **arguments)
{
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    size_t bytes = strtoull(arguments[5], NULL, 10);
    uint8_t *data = malloc(bytes);
    struct pawl_record_id id = {.producer_hi = 1,
                                .producer_lo = strtoull(arguments[3], NULL, 16),
                                .sequence = strtoull(arguments[4], NULL, 10)};
    struct pawl_write_options options = {.size = sizeof options, .id = &id};
    struct pawl_write_result result = {0};
    pawl_assert(data != NULL);
    memset(data, atoi(arguments[6]), bytes);
    int code = connect_to(arguments[0], 60000, &pawl);
    code = code != 0 ? code : pawl_open(pawl, arguments[1], &file);
    code = code != 0
               ? code
               : pawl_write(file, strtoull(arguments[2], NULL, 10), data, bytes, &options, &result);
    printf("{\"status\": %d, \"text\": \"%s\", \"bytes\": %zu, \"duplicate\": %s}\n", code,
           code == 0 ? "" : pawl_strerror(code), result.bytes, result.duplicate ? "true" : "false");
    pawl_file_close(file);
    pawl_close(pawl);
    free(data);
    return 0;
}

// ---- history -----------------------------------------------------------------------------------

struct history {
    uint64_t count;
    uint64_t bytes;
    uint64_t acked_count;
    uint64_t retried_count; // acknowledged as duplicates
    int status;
};

// Records of one producer follow each other without gaps, and nobody else writes.
static void on_history(void *user, const struct pawl_append_result *result)
{
    struct history *history = user;
    uint64_t wanted = (result->id.sequence - 1) * history->bytes;
    int code = result->status == 0 && result->offset != wanted ? PAWL_EINTERNAL : result->status;
    if (code != 0 && history->status == 0) {
        fprintf(stderr, "sequence %" PRIu64 " offset %" PRIu64 ": %s\n", result->id.sequence,
                result->offset, pawl_strerror(code));
    }
    history->status = history->status != 0 ? history->status : code;
    history->acked_count++;
    history->retried_count += result->duplicate;
}

static int history_append(struct history *history, struct pawl *pawl, struct pawl_file *file,
                          const void *data)
{
    uint64_t submitted = 0;
    while (history->status == 0 && history->acked_count < history->count) {
        int code = submitted < history->count
                       ? pawl_append_submit(file, data, history->bytes, NULL, on_history, history)
                       : -EAGAIN;
        if (code == 0) {
            submitted++;
        } else if (code == -EAGAIN) {
            (void)pawl_poll(pawl, 1000);
        } else {
            return code;
        }
    }
    return history->status;
}

static int history(char **arguments)
{
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    struct history history = {.count = strtoull(arguments[3], NULL, 10),
                              .bytes = strtoull(arguments[4], NULL, 10)};
    struct pawl_options options = {.size = sizeof options,
                                   .master = arguments[0],
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = RESOLVE_MS,
                                   .depth_max = (uint32_t)strtoul(arguments[7], NULL, 10)};
    struct pawl_create_options create = {.size = sizeof create,
                                         .chunk_bytes = strtoull(arguments[6], NULL, 10)};
    uint8_t *data = malloc(history.bytes);
    pawl_assert(data != NULL);
    memset(data, atoi(arguments[5]), history.bytes);
    int code = pawl_connect(&options, &pawl);
    code = code != 0 ? code : pawl_create(pawl, arguments[1], &create, &file);
    code = code != 0 ? code : pawl_producer_set(file, 1, strtoull(arguments[2], NULL, 16), 0);
    uint64_t begin_ns = pawl_clock_ns();
    code = code != 0 ? code : history_append(&history, pawl, file, data);
    double seconds = (double)(pawl_clock_ns() - begin_ns) / 1e9;
    printf("{\"status\": %d, \"acked\": %" PRIu64 ", \"retried\": %" PRIu64
           ", \"seconds\": %.1f}\n",
           code, history.acked_count, history.retried_count, seconds);
    pawl_file_close(file);
    pawl_close(pawl);
    free(data);
    return code == 0 ? 0 : 1;
}

// ---- bench -------------------------------------------------------------------------------------

struct bench_slot {
    struct bench *bench;
    uint64_t begin_ns;
    bool busy;
};

struct bench {
    pthread_t thread;
    const char *master;
    const char *path;
    uint64_t until_ns;
    uint64_t each;         // 0: no end by that
    atomic_ulong *lacking; // clients that have not had so many
    size_t bytes;
    uint32_t depth;
    struct bench_slot slots[32];
    struct pawl_histogram latency; // nanoseconds
    uint64_t count;
    uint64_t last_ns;  // when an append was acknowledged
    uint64_t pause_ns; // longest time without one
    int status;
};

static void on_bench(void *user, const struct pawl_append_result *result)
{
    struct bench_slot *slot = user;
    struct bench *bench = slot->bench;
    uint64_t now_ns = pawl_clock_ns();
    slot->busy = false;
    bench->status = bench->status != 0 ? bench->status : result->status;
    bench->count++;
    if (bench->count == bench->each) {
        (*bench->lacking)--;
    }
    bench->pause_ns = PAWL_MAX(bench->pause_ns, now_ns - bench->last_ns);
    bench->last_ns = now_ns;
    pawl_histogram_record(&bench->latency, now_ns - slot->begin_ns);
}

static bool bench_fill(struct bench *bench, struct pawl_file *file, const void *data)
{
    bool busy = false;
    bool over = stopped || pawl_clock_ns() >= bench->until_ns || bench->status != 0 ||
                (bench->each != 0 && *bench->lacking == 0);
    for (uint32_t i = 0; i < bench->depth; i++) {
        struct bench_slot *slot = &bench->slots[i];
        if (!slot->busy && !over) {
            slot->bench = bench;
            slot->begin_ns = pawl_clock_ns();
            int code = pawl_append_submit(file, data, bench->bytes, NULL, on_bench, slot);
            slot->busy = code == 0;
            bench->status = code != 0 ? code : bench->status;
        }
        busy |= slot->busy;
    }
    return busy;
}

static void *bench_run(void *user)
{
    struct bench *bench = user;
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    void *data = calloc(1, bench->bytes);
    pawl_assert(data != NULL);
    bench->status = connect_to(bench->master, RESOLVE_MS, &pawl);
    if (bench->status == 0) {
        bench->status = pawl_create(pawl, bench->path, NULL, &file);
    }
    // The first append opens connections and, at times, the file's first chunk: not measured.
    bench->status =
        bench->status != 0 ? bench->status : pawl_append(file, data, bench->bytes, NULL, NULL);
    bench->last_ns = pawl_clock_ns();
    while (bench->status == 0 && bench_fill(bench, file, data)) {
        (void)pawl_poll(pawl, 1000);
    }
    pawl_file_close(file);
    pawl_close(pawl);
    free(data);
    return NULL;
}

static int bench(char **arguments, uint64_t each)
{
    unsigned long clients = strtoul(arguments[2], NULL, 10);
    uint64_t seconds = strtoull(arguments[3], NULL, 10);
    uint64_t begin_ns = pawl_clock_ns();
    uint64_t until_ns = begin_ns + seconds * PAWL_NS_PER_S;
    atomic_ulong lacking = clients;
    signal(SIGTERM, on_stop);
    struct bench *all = calloc(clients, sizeof *all);
    struct pawl_histogram *sum = calloc(1, sizeof *sum);
    pawl_assert(all != NULL && sum != NULL && clients <= CLIENTS_MAX);
    pawl_histogram_init(sum);
    for (uint32_t i = 0; i < clients; i++) {
        all[i] = (struct bench){.master = arguments[0],
                                .path = arguments[1],
                                .until_ns = until_ns,
                                .each = each,
                                .lacking = &lacking,
                                .bytes = strtoull(arguments[4], NULL, 10),
                                .depth = (uint32_t)PAWL_MIN(strtoul(arguments[5], NULL, 10), 32ul)};
        pawl_histogram_init(&all[i].latency);
        int code = pthread_create(&all[i].thread, NULL, bench_run, &all[i]);
        pawl_assert(code == 0);
    }
    uint64_t count = 0;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    uint64_t pause_ns = 0;
    int status = 0;
    for (uint32_t i = 0; i < clients; i++) {
        pthread_join(all[i].thread, NULL);
        least = PAWL_MIN(least, all[i].count);
        most = PAWL_MAX(most, all[i].count);
        pawl_histogram_merge(sum, &all[i].latency);
        count += all[i].count;
        pause_ns = PAWL_MAX(pause_ns, all[i].pause_ns);
        status = status != 0 ? status : all[i].status;
    }
    double taken_s = (double)(pawl_clock_ns() - begin_ns) / 1e9;
    printf("{\"appends_per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"pause_ms\": %.1f, "
           "\"least\": %" PRIu64 ", \"most\": %" PRIu64 ", \"status\": %d}\n",
           (double)count / taken_s, (double)pawl_histogram_percentile(sum, 50.0) / 1e3,
           (double)pawl_histogram_percentile(sum, 99.0) / 1e3, (double)pause_ns / 1e6, least, most,
           status);
    free(all);
    free(sum);
    return status == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "appenders") == 0 && argc == 8) {
        return appenders(argv + 2);
    }
    if (strcmp(verb, "check") == 0 && argc == 6) {
        return check(argv + 2);
    }
    if ((strcmp(verb, "repeat") == 0 || strcmp(verb, "forget") == 0) && argc == 8) {
        return repeat(argv + 2, strcmp(verb, "forget") == 0);
    }
    if (strcmp(verb, "write") == 0 && argc == 9) {
        return write_once(argv + 2);
    }
    if (strcmp(verb, "history") == 0 && argc == 10) {
        return history(argv + 2);
    }
    if (strcmp(verb, "bench") == 0 && (argc == 8 || argc == 9)) {
        return bench(argv + 2, argc == 9 ? strtoull(argv[8], NULL, 10) : 0);
    }
    fputs("usage: see the head of tests/system/trial.c\n", stderr);
    return 2;
}
