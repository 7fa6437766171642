// SPDX-License-Identifier: Apache-2.0
// An appender of the weaker level whose servers are killed, and its account of what it was told.
//
//   pawl-trial-ack MASTER PATH PRODUCER [LOG]
//
// Appends until SIGTERM, or until it is told of a loss; LOG grows by a byte with each acknowledgement. Then each
// record that was acknowledged is looked for by its id and read back: those before the loss must be there with
// their bytes, the others must not. Prints one line of JSON; the status is 0 when the account is right.
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>
#include <pawl/pawl.h>

#include "base/clock.h"
#include "base/util.h"

#define DEPTH 8u
#define RECORDS_MAX 400000u
#define RECORD_BYTES 1024u
#define DEADLINE_MS 90000u

struct told {
    uint64_t offset;
    bool acked;
    bool durable;
};

struct trial {
    struct pawl_file *file;
    struct told *told; // by sequence
    uint64_t producer;
    uint64_t lost_sequence; // 0: none
    uint64_t acked_count;
    uint64_t held_count;   // acknowledged and not durable then
    uint64_t absent_count; // acknowledged and not there
    int status;
    uint32_t in_flight;
    FILE *log; // or NULL
};

struct slot {
    struct trial *trial;
    bool used;
    uint64_t bytes[RECORD_BYTES / sizeof(uint64_t)];
};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    (void)number;
    stopped = 1;
}

static void fill(uint64_t *words, uint64_t producer, uint64_t sequence)
{
    for (size_t i = 0; i < RECORD_BYTES / sizeof(*words); i++) {
        words[i] = (producer << 48) + sequence * 131 + i;
    }
}

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct slot *slot = user;
    struct trial *trial = slot->trial;
    slot->used = false;
    trial->in_flight--;
    if (result->status == 0) {
        struct told *told = &trial->told[result->id.sequence];
        *told = (struct told){.offset = result->offset, .acked = true, .durable = result->durable};
        trial->acked_count++;
        trial->held_count += !result->durable;
        if (trial->log != NULL) {
            fputc('.', trial->log);
            fflush(trial->log);
        }
    } else if (result->status == PAWL_ELOST) {
        trial->lost_sequence = result->lost_sequence;
    } else {
        trial->status = result->status;
    }
}

static int append_until_stopped(struct trial *trial, struct pawl *pawl, struct slot *slots)
{
    struct pawl_append_options options = {
        .size = sizeof options, .deadline_ms = DEADLINE_MS, .ack = PAWL_ACK_REPLICATED};
    uint64_t sequence = 1;
    while (trial->status == 0) {
        bool more = !stopped && trial->lost_sequence == 0 && sequence < RECORDS_MAX;
        for (uint32_t i = 0; i < DEPTH && more; i++) {
            if (slots[i].used) {
                continue;
            }
            slots[i].used = true;
            fill(slots[i].bytes, trial->producer, sequence);
            int code = pawl_append_submit(trial->file, slots[i].bytes, RECORD_BYTES, &options,
                                          on_done, &slots[i]);
            if (code != 0) {
                slots[i].used = false;
                return code == PAWL_ELOST ? 0 : code;
            }
            trial->in_flight++;
            sequence++;
        }
        if (!more && trial->in_flight == 0) {
            return 0;
        }
        int code = pawl_poll(pawl, 100);
        if (code < 0) {
            return code;
        }
    }
    return trial->status;
}

static int check_one(struct trial *trial, uint64_t sequence)
{
    uint64_t expected[RECORD_BYTES / sizeof(uint64_t)];
    uint64_t there[RECORD_BYTES / sizeof(uint64_t)];
    const struct told *told = &trial->told[sequence];
    struct pawl_record_id id = {.producer_lo = trial->producer, .sequence = sequence};
    struct pawl_append_result found;
    size_t got = 0;
    bool lost = trial->lost_sequence != 0 && sequence >= trial->lost_sequence;
    int code = pawl_resolve(trial->file, &id, &found);
    if (lost) {
        trial->absent_count++;
        return code == PAWL_EABSENT && !told->durable ? 0 : PAWL_EINTERNAL;
    }
    if (code != 0 || found.offset != told->offset) {
        return code != 0 ? code : PAWL_EINTERNAL;
    }
    fill(expected, trial->producer, sequence);
    code = pawl_read(trial->file, told->offset, there, sizeof there, NULL, &got);
    if (code != 0) {
        return code;
    }
    return got == sizeof there && memcmp(there, expected, sizeof there) == 0 ? 0 : PAWL_EINTERNAL;
}

// The last hundreds are where a loss would be; of the rest one in a hundred.
static int check_all(struct trial *trial)
{
    uint64_t last = RECORDS_MAX - 1;
    while (last > 0 && !trial->told[last].acked) {
        last--;
    }
    for (uint64_t sequence = 1; sequence <= last; sequence++) {
        bool looked_at = sequence % 100 == 0 || last - sequence < 300;
        int code = looked_at && trial->told[sequence].acked ? check_one(trial, sequence) : 0;
        if (code != 0) {
            fprintf(stderr, "sequence %" PRIu64 " (lost from %" PRIu64 " on): %s\n", sequence,
                    trial->lost_sequence, pawl_strerror(code));
            return code;
        }
    }
    return 0;
}

static int run(struct trial *trial, char **arguments)
{
    static struct slot slots[DEPTH];
    struct pawl_options options = {.size = sizeof options,
                                   .master = arguments[0],
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = DEADLINE_MS};
    struct pawl *pawl = NULL;
    for (uint32_t i = 0; i < DEPTH; i++) {
        slots[i].trial = trial;
    }
    int code = pawl_connect(&options, &pawl);
    code = code != 0 ? code : pawl_create(pawl, arguments[1], NULL, &trial->file);
    code = code != 0 ? code : pawl_producer_set(trial->file, 0, trial->producer, 0);
    code = code != 0 ? code : append_until_stopped(trial, pawl, slots);
    if (code == 0) {
        code = check_all(trial);
    } else {
        fprintf(stderr, "append: %s\n", pawl_strerror(code));
    }
    pawl_file_close(trial->file);
    pawl_close(pawl);
    return code;
}

int main(int argc, char **argv)
{
    if (argc != 4 && argc != 5) {
        fputs("usage: see the head of tests/system/ack_trial.c\n", stderr);
        return 2;
    }
    signal(SIGTERM, on_stop);
    struct trial trial = {.producer = strtoull(argv[3], NULL, 10),
                          .told = calloc(RECORDS_MAX, sizeof(struct told)),
                          .log = argc == 5 ? fopen(argv[4], "w") : NULL};
    bool ready = trial.told != NULL && (argc == 4 || trial.log != NULL);
    int code = ready ? run(&trial, argv + 1) : -ENOMEM;
    if (trial.log != NULL) {
        fclose(trial.log);
    }
    printf("{\"acked\": %" PRIu64 ", \"from_memory\": %" PRIu64 ", \"lost_sequence\": %" PRIu64
           ", \"absent\": %" PRIu64 "}\n",
           trial.acked_count, trial.held_count, trial.lost_sequence, trial.absent_count);
    free(trial.told);
    return code == 0 ? 0 : 1;
}
