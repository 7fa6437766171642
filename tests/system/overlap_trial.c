// SPDX-License-Identifier: Apache-2.0
// pawl-trial-overlap: writers that write over each other while somebody breaks servers, and remember what
// they were told; a check of the file against that.
//
//   pawl-trial-overlap writers MASTER PATH TOLD WRITERS SECONDS SEED   until SIGTERM, or SECONDS have passed
//   pawl-trial-overlap check MASTER PATH TOLD                          each byte is of a write that may be there
//
// Each word of the file names the write that it is of: its writer, the write's number, the word's place.
// Writer 0 is whoever made the file; zeros are where it was extended. TOLD has a line for each piece of a
// write that may be in the file: writer, number, "acked" or "unknown", offset, bytes, and when the
// write began and ended on one clock. The check: a word is of a write that covers it and that was told;
// that write had not ended before another one began that was acknowledged and covers it too. An unknown
// write never ends: half of them are left alone, and may still come.
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

#define CHUNK_BYTES (256u << 10)
#define PIECE_BYTES (60u << 10)
#define APPENDED_PIECES                                                                            \
    11u // more than two chunks; the open tail is the fourth part of one at the end
#define EXTENDED_BYTES (300u << 10)
#define FILE_BYTES ((APPENDED_PIECES + 1) * PIECE_BYTES + EXTENDED_BYTES)
#define WORD_BYTES 8u
#define WORDS (FILE_BYTES / WORD_BYTES)
#define WRITERS_MAX 16u
#define PATIENCE_MS 90000u
#define PACE_NS                                                                                    \
    5000000 // between two writes of a writer: written bytes stay until the file is removed

static atomic_bool stopped; // set by a signal, or by a writer that gave up
static atomic_bool failed;
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;

struct writer {
    pthread_t thread;
    const char *master;
    const char *path;
    FILE *told;
    uint64_t seed;
    uint32_t number; // from 1
    uint32_t last_write;
    uint64_t acked_count;
    uint64_t unknown_count;
    uint64_t left_count; // unknown, and never asked about again
    struct pawl *pawl;
    struct pawl_file *file;
};

struct write {
    uint64_t offset;
    size_t bytes;
    uint64_t begin_ns;
    uint32_t number;
};

static void on_stop(int number)
{
    (void)number;
    stopped = true;
}

static uint64_t word_of(uint32_t writer, uint32_t number, uint64_t index)
{
    return ((uint64_t)(writer + 1) << 56) | ((uint64_t)number << 24) | index;
}

static void fill(uint64_t *words, uint32_t writer, uint32_t number, uint64_t offset, size_t bytes)
{
    for (size_t i = 0; i < bytes / WORD_BYTES; i++) {
        words[i] = word_of(writer, number, offset / WORD_BYTES + i);
    }
}

static int open_file(const char *master, const char *path, struct pawl **ret_pawl,
                     struct pawl_file **ret_file)
{
    struct pawl_options options = {.size = sizeof options,
                                   .master = master,
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = PATIENCE_MS};
    int code = pawl_connect(&options, ret_pawl);
    return code != 0 ? code : pawl_open(*ret_pawl, path, ret_file);
}

// ---- writers -----------------------------------------------------------------------------------

static void tell(struct writer *writer, const struct write *write, bool acked, uint64_t offset,
                 size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    pthread_mutex_lock(&told_lock);
    fprintf(writer->told, "%u %u %s %" PRIu64 " %zu %" PRIu64 " %" PRIu64 "\n", writer->number,
            write->number, acked ? "acked" : "unknown", offset, bytes, write->begin_ns,
            acked ? pawl_clock_ns() : UINT64_MAX);
    fflush(writer->told);
    pthread_mutex_unlock(&told_lock);
}

// A file that holds an unknown write takes no other one to that chunk: it is left, with its producer.
static int leave(struct writer *writer)
{
    writer->left_count++;
    pawl_file_close(writer->file);
    writer->file = NULL;
    return pawl_open(writer->pawl, writer->path, &writer->file);
}

// Repeats the piece until it is known.
static int ask_again(struct writer *writer, uint64_t offset, const uint8_t *data, size_t bytes,
                     const struct pawl_record_id *id)
{
    struct pawl_write_options options = {.size = sizeof options, .id = id, .deadline_ms = 1500};
    uint64_t until_ns = pawl_clock_ns() + PATIENCE_MS * UINT64_C(1000000);
    int code = PAWL_EUNKNOWN;
    while (pawl_clock_ns() < until_ns &&
           (code == PAWL_EUNKNOWN || code == PAWL_EDEADLINE || code == PAWL_ENOSERVERS)) {
        code = pawl_write(writer->file, offset, data, bytes, &options, NULL);
    }
    return code;
}

static int write_one(struct writer *writer, const struct write *write, const uint64_t *words,
                     bool patient)
{
    const uint8_t *data = (const uint8_t *)words;
    struct pawl_write_options options = {.size = sizeof options,
                                         .deadline_ms = patient ? 1500 : 300};
    struct pawl_write_result result;
    int code = pawl_write(writer->file, write->offset, data, write->bytes, &options, &result);
    tell(writer, write, true, write->offset, result.bytes);
    writer->acked_count += code == 0;
    if (code == PAWL_EUNKNOWN) {
        uint64_t offset = write->offset + result.bytes;
        struct pawl_record_id id = result.id;
        size_t bytes = result.part_bytes;
        writer->unknown_count++;
        code = patient ? ask_again(writer, offset, data + result.bytes, bytes, &id) : PAWL_EUNKNOWN;
        tell(writer, write, code == 0, offset, bytes);
        return patient ? code : leave(writer);
    }
    bool later = code == PAWL_EDEADLINE || code == PAWL_ENOSERVERS || code == PAWL_ENOSPACE;
    return later ? 0 : code; // what is not told is not there
}

static void *write_on(void *user)
{
    static const uint32_t most[] = {64, 512, 512, 4096 /* words */};
    struct writer *writer = user;
    struct pawl_random random;
    uint64_t *words = calloc(4096, WORD_BYTES);
    pawl_random_seed(&random, writer->seed);
    int code = words == NULL
                   ? -ENOMEM
                   : open_file(writer->master, writer->path, &writer->pawl, &writer->file);
    while (code == 0 && !stopped) {
        uint64_t count = 1 + pawl_random_below(&random, most[pawl_random_below(&random, 4)]);
        struct write write = {.number = ++writer->last_write,
                              .bytes = count * WORD_BYTES,
                              .offset = pawl_random_below(&random, WORDS - count + 1) * WORD_BYTES,
                              .begin_ns = pawl_clock_ns()};
        fill(words, writer->number, write.number, write.offset, write.bytes);
        code = write_one(writer, &write, words, pawl_random_below(&random, 2) == 0);
        struct timespec pace = {.tv_nsec = PACE_NS};
        nanosleep(&pace, NULL);
    }
    if (code != 0) {
        fprintf(stderr, "writer %u: %s\n", writer->number, pawl_strerror(code));
        failed = true;
        stopped = true;
    }
    pawl_close(writer->pawl);
    free(words);
    return NULL;
}

// Appended, extended, appended: with an open tail.
static int make_file(const char *master, const char *path)
{
    struct pawl_create_options create = {.size = sizeof create,
                                         .replicas = 3,
                                         .min_replicas = 2,
                                         .chunk_bytes = CHUNK_BYTES,
                                         .exclusive = true};
    struct pawl_options options = {.size = sizeof options,
                                   .master = master,
                                   .provider = getenv("PAWL_TEST_PROVIDER"),
                                   .deadline_ms = PATIENCE_MS};
    static uint64_t words[PIECE_BYTES / WORD_BYTES];
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    int code = pawl_connect(&options, &pawl);
    code = code != 0 ? code : pawl_create(pawl, path, &create, &file);
    uint64_t end = 0;
    for (unsigned i = 0; code == 0 && i <= APPENDED_PIECES; i++) {
        if (i == APPENDED_PIECES) {
            end += EXTENDED_BYTES;
            code = pawl_extend(file, end);
        }
        fill(words, 0, 0, end, PIECE_BYTES);
        code = code != 0 ? code : pawl_append(file, words, PIECE_BYTES, NULL, NULL);
        end += PIECE_BYTES;
    }
    pawl_close(pawl);
    return code;
}

static int writers(char **arguments)
{
    static struct writer all[WRITERS_MAX];
    uint32_t count =
        (uint32_t)PAWL_MIN(strtoul(arguments[3], NULL, 10), (unsigned long)WRITERS_MAX);
    uint64_t until_ns = pawl_clock_ns() + strtoull(arguments[4], NULL, 10) * UINT64_C(1000000000);
    uint64_t acked_count = 0;
    uint64_t unknown_count = 0;
    uint64_t left_count = 0;
    int code = make_file(arguments[0], arguments[1]);
    FILE *told = fopen(arguments[2], "we");
    if (code != 0 || told == NULL) {
        fprintf(stderr, "making the file: %s\n", pawl_strerror(code != 0 ? code : -errno));
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        all[i] = (struct writer){.master = arguments[0],
                                 .path = arguments[1],
                                 .told = told,
                                 .seed = strtoull(arguments[5], NULL, 10) * WRITERS_MAX + i,
                                 .number = i + 1};
        pawl_assert(pthread_create(&all[i].thread, NULL, write_on, &all[i]) == 0);
    }
    while (!stopped && pawl_clock_ns() < until_ns) {
        struct timespec pause = {.tv_nsec = 20000000};
        nanosleep(&pause, NULL);
    }
    stopped = true;
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        acked_count += all[i].acked_count;
        unknown_count += all[i].unknown_count;
        left_count += all[i].left_count;
    }
    printf("writes acked %" PRIu64 " unknown %" PRIu64 " of them left alone %" PRIu64 "\n",
           acked_count, unknown_count, left_count);
    return fclose(told) == 0 && !failed ? 0 : 1;
}

// ---- check -------------------------------------------------------------------------------------

struct piece {
    uint32_t writer;
    uint32_t number;
    bool acked;
    uint64_t offset;
    uint64_t bytes;
    uint64_t begin_ns;
    uint64_t end_ns;
};

struct check {
    struct piece *pieces; // by writer and number
    size_t count;
    uint64_t *words;
    uint64_t *begun_ns; // for each word: when the last acknowledged write over it began; 0: none
    uint64_t bad_count;
};

static int compare(const void *a, const void *b)
{
    const struct piece *one = a;
    const struct piece *two = b;
    uint64_t first = ((uint64_t)one->writer << 32) | one->number;
    uint64_t second = ((uint64_t)two->writer << 32) | two->number;
    return (first > second) - (first < second);
}

static bool load(struct check *check, const char *path)
{
    FILE *told = fopen(path, "re");
    struct piece piece;
    char status[16];
    size_t room = 0;
    while (told != NULL && fscanf(told, "%u %u %15s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
                                  &piece.writer, &piece.number, status, &piece.offset, &piece.bytes,
                                  &piece.begin_ns, &piece.end_ns) == 7) {
        if (check->count == room) {
            room = room * 2 + 1024;
            check->pieces = realloc(check->pieces, room * sizeof piece);
            pawl_assert(check->pieces != NULL);
        }
        piece.acked = strcmp(status, "acked") == 0;
        check->pieces[check->count++] = piece;
        for (uint64_t i = piece.offset / WORD_BYTES;
             piece.acked && i < (piece.offset + piece.bytes) / WORD_BYTES; i++) {
            check->begun_ns[i] = PAWL_MAX(check->begun_ns[i], piece.begin_ns);
        }
    }
    bool all = told != NULL && feof(told);
    if (told != NULL) {
        fclose(told);
    }
    qsort(check->pieces, check->count, sizeof piece, compare);
    return all && check->count > 0;
}

// The piece of a write that covers a word. A write has one for each outcome.
static const struct piece *piece_of(const struct check *check, uint64_t word, uint64_t index)
{
    struct piece wanted = {.writer = (uint32_t)(word >> 56) - 1, .number = (uint32_t)(word >> 24)};
    const struct piece *found =
        bsearch(&wanted, check->pieces, check->count, sizeof wanted, compare);
    uint64_t at = index * WORD_BYTES;
    while (found != NULL && found > check->pieces && compare(found - 1, &wanted) == 0) {
        found--;
    }
    for (; found != NULL && found < check->pieces + check->count && compare(found, &wanted) == 0;
         found++) {
        if (at >= found->offset && at < found->offset + found->bytes) {
            return found;
        }
    }
    return NULL;
}

static void check_word(struct check *check, uint64_t index)
{
    uint64_t word = check->words[index];
    uint64_t first = (APPENDED_PIECES * PIECE_BYTES) / WORD_BYTES;
    bool zero = index >= first && index < first + EXTENDED_BYTES / WORD_BYTES;
    const char *why = NULL;
    if (word == (zero ? 0 : word_of(0, 0, index))) {
        why = check->begun_ns[index] != 0 ? "an acknowledged write is missing" : NULL;
    } else {
        const struct piece *piece = piece_of(check, word, index);
        if (piece == NULL || word != word_of(piece->writer, piece->number, index)) {
            why = "bytes that nobody was told of";
        } else if (piece->end_ns < check->begun_ns[index]) {
            why = "an older write stands over an acknowledged one";
        }
    }
    if (why != NULL && check->bad_count++ < 10) {
        fprintf(stderr, "offset %" PRIu64 ": %016" PRIx64 ": %s\n", index * WORD_BYTES, word, why);
    }
}

static int check_file(char **arguments)
{
    struct check check = {.words = calloc(WORDS, WORD_BYTES),
                          .begun_ns = calloc(WORDS, sizeof(uint64_t))};
    struct pawl *pawl = NULL;
    struct pawl_file *file = NULL;
    uint64_t bytes = 0;
    size_t got = 0;
    pawl_assert(check.words != NULL && check.begun_ns != NULL);
    bool good = load(&check, arguments[2]);
    int code = open_file(arguments[0], arguments[1], &pawl, &file);
    code = code != 0 ? code : pawl_file_bytes(file, &bytes);
    code = code != 0 ? code : pawl_read(file, 0, check.words, FILE_BYTES, NULL, &got);
    pawl_close(pawl);
    for (uint64_t i = 0; code == 0 && i < WORDS; i++) {
        check_word(&check, i);
    }
    good = good && code == 0 && bytes == FILE_BYTES && got == FILE_BYTES && check.bad_count == 0;
    printf("pieces told %zu bytes %" PRIu64 " bad words %" PRIu64 " %s\n", check.count, bytes,
           check.bad_count,
           good        ? "right"
           : code != 0 ? pawl_strerror(code)
                       : "WRONG");
    free(check.pieces);
    free(check.words);
    free(check.begun_ns);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    signal(SIGTERM, on_stop);
    if (argc == 8 && strcmp(argv[1], "writers") == 0) {
        return writers(argv + 2);
    }
    if (argc == 5 && strcmp(argv[1], "check") == 0) {
        return check_file(argv + 2);
    }
    fputs("usage: see the head of tests/system/overlap_trial.c\n", stderr);
    return 2;
}
