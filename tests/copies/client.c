// SPDX-License-Identifier: Apache-2.0
// pawl-trial-copies: appends, writes, pushes and reads records that can be told from everything else (see copies.c).
//
//   pawl-trial-copies MASTER PATH append MEMORY BYTES COUNT [DEPTH]    MEMORY: alloc, register, heap; or plant: alloc,
//                                                                      and this program copies each record once more
//   pawl-trial-copies MASTER PATH write MEMORY BYTES COUNT             over the file's first bytes
//   pawl-trial-copies MASTER PATH push MEMORY BYTES COUNT [DEPTH]      to where the file's tail is
//   pawl-trial-copies MASTER PATH read MEMORY BYTES COUNT
//
// The last line of the output: payload_bytes, payload_copied_bytes and retries_count of pawl_counters(), or the two of
// client_push_counters() and 0.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/pawl.h>

#include "client/push.h"

#define COPIES_PAYLOAD 0xa7
#define COPIES_DEPTH 8

struct trial {
    struct pawl *pawl;
    struct pawl_file *file;
    struct client_pusher *pusher;
    const char *memory;
    unsigned char *data;
    size_t bytes;
    uint64_t ended;
    int status;
};

static int fail(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, pawl_strerror(code));
    return 1;
}

static bool is(const struct trial *trial, const char *memory)
{
    return strcmp(trial->memory, memory) == 0;
}

static int memory_get(struct trial *trial)
{
    if (is(trial, "alloc") || is(trial, "plant")) {
        trial->data = pawl_mem_alloc(trial->pawl, trial->bytes);
    } else {
        trial->data = malloc(trial->bytes);
    }
    if (trial->data == NULL) {
        return -12;
    }
    memset(trial->data, COPIES_PAYLOAD, trial->bytes);
    return is(trial, "register") ? pawl_mem_register(trial->pawl, trial->data, trial->bytes) : 0;
}

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct trial *trial = user;
    trial->ended++;
    trial->status = trial->status != 0 ? trial->status : result->status;
}

static void plant(const struct trial *trial)
{
    unsigned char *copy = malloc(trial->bytes);
    if (copy != NULL) {
        memcpy(copy, trial->data, trial->bytes);
        __asm__ volatile("" ::"r"(copy) : "memory");
    }
    free(copy);
}

static void on_pushed(void *user, int status)
{
    struct trial *trial = user;
    trial->ended++;
    trial->status = trial->status != 0 ? trial->status : status;
}

static int submit(struct trial *trial)
{
    return trial->pusher != NULL
               ? client_push_submit(trial->pusher, trial->data, trial->bytes, on_pushed, trial)
               : pawl_append_submit(trial->file, trial->data, trial->bytes, NULL, on_done, trial);
}

// Appends or pushes.
static int send_all(struct trial *trial, uint64_t count, uint64_t depth)
{
    uint64_t sent = 0;
    while (trial->ended < count && trial->status == 0) {
        if (sent < count && sent - trial->ended < depth) {
            if (is(trial, "plant")) {
                plant(trial);
            }
            int code = submit(trial);
            if (code != 0) {
                return code;
            }
            sent++;
        } else {
            pawl_poll(trial->pawl, 1000);
        }
    }
    return trial->status;
}

static int write_all(struct trial *trial, uint64_t count)
{
    int code = 0;
    for (uint64_t i = 0; code == 0 && i < count; i++) {
        code = pawl_write(trial->file, i * trial->bytes, trial->data, trial->bytes, NULL, NULL);
    }
    return code;
}

static int read_all(struct trial *trial, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t got = 0;
        memset(trial->data, 0, trial->bytes);
        int code = pawl_read(trial->file, i * trial->bytes, trial->data, trial->bytes, NULL, &got);
        if (code != 0) {
            return code;
        }
        for (size_t k = 0; k < trial->bytes; k++) {
            if (got != trial->bytes || trial->data[k] != COPIES_PAYLOAD) {
                return PAWL_ECORRUPT;
            }
        }
    }
    return 0;
}

// A program that copies nothing large is to be told from one that nobody counts.
static void copy_something(void)
{
    volatile size_t size = 512; // unknown to the compiler: a call, not moves
    size_t bytes = size;
    char *from = calloc(2, bytes);
    if (from != NULL) {
        memcpy(from + bytes, from, bytes);
        __asm__ volatile("" ::"r"(from) : "memory");
    }
    free(from);
}

static int run(struct trial *trial, const char *what, uint64_t count, uint64_t depth)
{
    if (strcmp(what, "read") == 0) {
        return read_all(trial, count);
    }
    if (strcmp(what, "write") == 0) {
        return write_all(trial, count);
    }
    int code = strcmp(what, "push") == 0
                   ? client_pusher_open(trial->file, (uint32_t)depth, &trial->pusher)
                   : 0;
    return code != 0 ? code : send_all(trial, count, depth);
}

static void tell(const struct trial *trial)
{
    struct pawl_counters counters;
    struct client_push_counters pushes;
    pawl_counters(trial->file, &counters);
    if (trial->pusher != NULL) {
        client_push_counters(trial->pusher, &pushes);
        printf("%" PRIu64 " %" PRIu64 " 0\n", pushes.bytes, pushes.copied_bytes);
        return;
    }
    printf("%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", counters.payload_bytes + counters.read_bytes,
           counters.payload_copied_bytes + counters.read_copied_bytes, counters.retries_count);
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 8) {
        fprintf(stderr, "usage: pawl-trial-copies MASTER PATH append|write|push|read MEMORY BYTES "
                        "COUNT [DEPTH]\n");
        return 2;
    }
    uint64_t depth = argc == 8 ? strtoull(argv[7], NULL, 10) : COPIES_DEPTH;
    struct pawl_options options = {
        .size = sizeof options, .master = argv[1], .depth_max = (uint32_t)depth};
    struct trial trial = {.memory = argv[4], .bytes = strtoull(argv[5], NULL, 10)};
    uint64_t count = strtoull(argv[6], NULL, 10);
    copy_something();
    int code = pawl_connect(&options, &trial.pawl);
    if (code != 0) {
        return fail(argv[1], code);
    }
    code = pawl_create(trial.pawl, argv[2], NULL, &trial.file);
    code = code != 0 ? code : memory_get(&trial);
    code = code != 0 ? code : run(&trial, argv[3], count, depth);
    if (code != 0) {
        return fail(argv[2], code);
    }
    tell(&trial);
    pawl_close(trial.pawl);
    if (is(&trial, "register") || is(&trial, "heap")) {
        free(trial.data);
    }
    return 0;
}
