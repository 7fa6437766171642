// SPDX-License-Identifier: Apache-2.0
// pawl-trial-write: writers that write over a file at random while somebody kills servers, and readers
// that look on.
//
//   pawl-trial-write MASTER PATH EXPECTED WRITERS SECONDS SEED
//
// The file: WRITERS areas of several chunks, half of it appended, half of it made by extending. Each writer
// has an area for itself and remembers its bytes; after each write it reads them back. The first area
// begins with a block that is always written as a whole, with one number; a reader must never see two
// numbers in it, nor one that is older than the last it saw. At SIGTERM, or after SECONDS, the file is
// read and compared, and what it is to hold is stored in the local file EXPECTED.
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/util.h"
#include <pawl/pawl.h>

#include "pace.h"

#define CHUNK_BYTES (256u << 10)
#define AREA_BYTES (640u << 10) // does not begin with a chunk
#define BLOCK_BYTES (32u << 10)
#define WRITE_BYTES (48u << 10)
#define WRITERS_MAX 16u
#define PATIENCE_MS 90000u

static atomic_bool stopped; // set by a signal, or by whoever has found something wrong
static atomic_bool failed;
static atomic_uint_fast64_t block_next; // number of the last write to the block that was begun
static atomic_uint_fast64_t unknown_count;
static atomic_uint_fast64_t duplicates_count;
static const char *master;
static const char *path;

struct writer {
    pthread_t thread;
    uint32_t number;
    uint64_t seed;
    uint64_t writes_count;
    uint8_t *bytes; // the area as it is to be
};

static void on_stop(int number)
{
    (void)number;
    stopped = true;
}

static void wrong(const char *what, uint32_t who, int code)
{
    fprintf(stderr, "%s %u: %s\n", what, who, pawl_strerror(code));
    failed = true;
    stopped = true;
}

static bool open_file(struct pawl **ret_pawl, struct pawl_file **ret_file)
{
    struct pawl_options options = {.size = sizeof options,
                                   .master = master,
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = PATIENCE_MS};
    int code = pawl_connect(&options, ret_pawl);
    code = code != 0 ? code : pawl_open(*ret_pawl, path, ret_file);
    if (code != 0) {
        wrong("open", 0, code);
    }
    return code == 0;
}

// Writes all of it, however often it takes: what is unknown is told again with its id.
static int write_all(struct pawl_file *file, uint64_t offset, const uint8_t *data, size_t bytes)
{
    struct pawl_write_result result = {0};
    struct pawl_write_options options = {.size = sizeof options, .deadline_ms = 1500};
    uint64_t until_ns = pawl_clock_ns() + PATIENCE_MS * UINT64_C(1000000);
    int code = 0;
    while (bytes > 0 && pawl_clock_ns() < until_ns) {
        struct pawl_record_id id = result.id;
        bool again = code == PAWL_EUNKNOWN;
        options.id = again ? &id : NULL;
        code = pawl_write(file, offset, data, again ? result.part_bytes : bytes, &options, &result);
        offset += result.bytes;
        data += result.bytes;
        bytes -= result.bytes;
        unknown_count += code == PAWL_EUNKNOWN;
        duplicates_count += again && code == 0 && result.duplicate;
        if (code != 0 && code != PAWL_EUNKNOWN && code != PAWL_EDEADLINE &&
            code != PAWL_ENOSERVERS) {
            return code;
        }
    }
    return bytes == 0 ? 0 : code;
}

static int check_range(struct pawl_file *file, const struct writer *writer, uint64_t from,
                       size_t bytes, uint8_t *buffer)
{
    size_t got = 0;
    int code =
        pawl_read(file, (uint64_t)writer->number * AREA_BYTES + from, buffer, bytes, NULL, &got);
    if (code == 0 && (got != bytes || memcmp(buffer, writer->bytes + from, bytes) != 0)) {
        code = PAWL_ECORRUPT;
    }
    return code;
}

static void fill_block(uint8_t *block, uint64_t number)
{
    for (size_t i = 0; i < BLOCK_BYTES; i += sizeof number) {
        memcpy(block + i, &number, sizeof number);
    }
}

static void draw(struct writer *writer, struct pawl_random *random, uint64_t *ret_from,
                 size_t *ret_bytes)
{
    // The first writer's block is written as a whole, one time in three.
    uint64_t least = writer->number == 0 ? BLOCK_BYTES : 0;
    if (writer->number == 0 && pawl_random_below(random, 3) == 0) {
        *ret_from = 0;
        *ret_bytes = BLOCK_BYTES;
        fill_block(writer->bytes, ++block_next);
        return;
    }
    *ret_bytes = 1 + (size_t)pawl_random_below(random, WRITE_BYTES);
    *ret_from = least + pawl_random_below(random, AREA_BYTES - least - *ret_bytes);
    for (size_t i = 0; i < *ret_bytes; i++) {
        writer->bytes[*ret_from + i] = (uint8_t)pawl_random_next(random);
    }
}

static void *write_on(void *user)
{
    struct writer *writer = user;
    struct pawl_random random;
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    uint8_t *buffer = malloc(AREA_BYTES);
    pawl_random_seed(&random, writer->seed);
    bool going = buffer != NULL && open_file(&pawl, &file);
    while (going && !stopped) {
        uint64_t from;
        size_t bytes;
        draw(writer, &random, &from, &bytes);
        int code = write_all(file, (uint64_t)writer->number * AREA_BYTES + from,
                             writer->bytes + from, bytes);
        code = code != 0 ? code : check_range(file, writer, from, bytes, buffer);
        if (code != 0) {
            wrong("writer", writer->number, code);
        }
        going = code == 0;
        writer->writes_count++;
        pace();
    }
    pawl_close(pawl);
    free(buffer);
    return NULL;
}

// The block is one number at any time, and it never goes back.
static void *look_on(void *user)
{
    static uint8_t block[BLOCK_BYTES];
    uint64_t *reads_count = user;
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    uint64_t last = 0;
    bool going = open_file(&pawl, &file);
    while (going && !stopped) {
        size_t got = 0;
        uint64_t number;
        int code = pawl_read(file, 0, block, sizeof block, NULL, &got);
        memcpy(&number, block, sizeof number);
        for (size_t i = 0; code == 0 && i < sizeof block; i += sizeof number) {
            code = got != sizeof block || memcmp(block + i, &number, sizeof number) != 0 ||
                           number < last || number > block_next
                       ? PAWL_ECORRUPT
                       : 0;
        }
        if (code != 0) {
            fprintf(stderr, "block: number %" PRIu64 " after %" PRIu64 "\n", number, last);
            wrong("reader", 0, code);
        }
        going = code == 0;
        last = number;
        (*reads_count)++;
        pace();
    }
    pawl_close(pawl);
    return NULL;
}

// The first half is appended, the rest is zeros; all but the block begins as what the writers remember.
static bool make_file(const struct writer *writers, uint32_t count)
{
    struct pawl_create_options create = {.size = sizeof create,
                                         .replicas = 3,
                                         .min_replicas = 1,
                                         .chunk_bytes = CHUNK_BYTES,
                                         .exclusive = true};
    struct pawl_options options = {.size = sizeof options,
                                   .master = master,
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = PATIENCE_MS};
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    int code = pawl_connect(&options, &pawl);
    code = code != 0 ? code : pawl_create(pawl, path, &create, &file);
    for (uint64_t at = 0; code == 0 && at < count / 2 * (uint64_t)AREA_BYTES; at += BLOCK_BYTES) {
        code = pawl_append(file, writers[at / AREA_BYTES].bytes + at % AREA_BYTES, BLOCK_BYTES,
                           NULL, NULL);
    }
    code = code != 0 ? code : pawl_extend(file, (uint64_t)count * AREA_BYTES);
    if (code != 0) {
        wrong("making the file", 0, code);
    }
    pawl_close(pawl);
    return code == 0;
}

static bool check_all(const struct writer *writers, uint32_t count, const char *expected)
{
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    uint8_t *buffer = malloc(AREA_BYTES);
    FILE *out = fopen(expected, "we");
    bool good = buffer != NULL && out != NULL && open_file(&pawl, &file);
    for (uint32_t i = 0; good && i < count; i++) {
        int code = check_range(file, &writers[i], 0, AREA_BYTES, buffer);
        if (code != 0) {
            wrong("at the end: area", i, code);
        }
        good = code == 0 && fwrite(writers[i].bytes, 1, AREA_BYTES, out) == AREA_BYTES;
    }
    if (out != NULL) {
        good = fclose(out) == 0 && good;
    }
    pawl_close(pawl);
    free(buffer);
    return good;
}

static void run(struct writer *writers, uint32_t count, uint32_t seconds)
{
    uint64_t reads_count = 0;
    uint64_t writes_count = 0;
    pthread_t reader;
    pawl_assert(pthread_create(&reader, NULL, look_on, &reads_count) == 0);
    for (uint32_t i = 0; i < count; i++) {
        pawl_assert(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]) == 0);
    }
    uint64_t until_ns = pawl_clock_ns() + seconds * UINT64_C(1000000000);
    while (!stopped && pawl_clock_ns() < until_ns) {
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    stopped = true;
    pthread_join(reader, NULL);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(writers[i].thread, NULL);
        writes_count += writers[i].writes_count;
    }
    printf("writes %" PRIu64 " unknown %" PRIu64 " duplicates %" PRIu64
           " reads of the block %" PRIu64 " number %" PRIu64 "\n",
           writes_count, (uint64_t)unknown_count, (uint64_t)duplicates_count, reads_count,
           (uint64_t)block_next);
}

int main(int argc, char **argv)
{
    static struct writer writers[WRITERS_MAX];
    if (argc != 7) {
        fprintf(stderr, "usage: pawl-trial-write MASTER PATH EXPECTED WRITERS SECONDS SEED\n");
        return 2;
    }
    master = argv[1];
    path = argv[2];
    uint32_t count = (uint32_t)PAWL_MIN(strtoul(argv[4], NULL, 10), (unsigned long)WRITERS_MAX);
    uint64_t seed = strtoull(argv[6], NULL, 10);
    signal(SIGTERM, on_stop);
    for (uint32_t i = 0; i < count; i++) {
        writers[i].number = i;
        writers[i].seed = seed * WRITERS_MAX + i;
        writers[i].bytes = calloc(1, AREA_BYTES);
        pawl_assert(writers[i].bytes != NULL);
        memset(writers[i].bytes, i < count / 2 ? (int)(i + 1) : 0, AREA_BYTES);
    }
    fill_block(writers[0].bytes, 0);
    if (!make_file(writers, count)) {
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    run(writers, count, (uint32_t)strtoul(argv[5], NULL, 10));
    return !failed && check_all(writers, count, argv[3]) ? 0 : 1;
}
