// SPDX-License-Identifier: Apache-2.0
// A writer that keeps a store busy and notes what it was told, and the check of a store against that.
#include "crash_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The writer's view.
struct writer {
    struct store *store;
    struct told *told;
    struct pawl_random random;
    uint64_t next[CRASH_CHUNKS]; // record
    uint64_t end[CRASH_CHUNKS];
    bool done[CRASH_CHUNKS][CRASH_RECORDS + 1];
    uint32_t pending_count;
    void *payloads[CRASH_DEPTH];
    uint32_t counts[CRASH_DEPTH]; // records of each
};

#define SEAL_VERSION 1000000u
#define RUN_RECORDS 6u
#define RUN_LENGTH_MAX 3000u // of a record

enum { OP_APPEND, OP_CREATE, OP_PROMISE, OP_SEAL, OP_DROP };

static void must(int code)
{
    if (code != 0) {
        fprintf(stderr, "writer: the store says %d\n", code);
        abort();
    }
}

// A token says all that its end needs: operation, slot, chunk, index or version.
static uint64_t token_of(uint64_t op, uint64_t slot, uint64_t chunk, uint64_t value)
{
    return op << 60 | slot << 48 | chunk << 40 | value;
}

static uint64_t handle_of(uint64_t chunk, uint64_t life)
{
    return (chunk + 1) << 32 | life;
}

static uint32_t length_of(uint64_t handle, uint64_t index, uint32_t try)
{
    uint64_t x = (handle * 31 + index + try * 7919ull) * 2654435761u;

    return x % 9 == 4 ? 33000 + (uint32_t)(x >> 8) % 60000 : (uint32_t)(x >> 8) % 3000;
}

static void writer_completed(struct writer *w, const struct store_completion *completion)
{
    uint64_t token = completion->token;
    uint64_t chunk = token >> 40 & 0xff;
    uint64_t value = token & 0xffffffffff;
    uint64_t slot = token >> 48 & 0xfff;

    must(completion->status);
    switch (token >> 60) {
    case OP_APPEND:
        free(w->payloads[slot]);
        w->payloads[slot] = NULL;
        memset(&w->done[chunk][value], true, w->counts[slot]);
        while (w->done[chunk][w->told->records[chunk]]) {
            w->told->records[chunk]++;
        }
        break;
    case OP_PROMISE:
        w->told->version[chunk] = value;
        break;
    case OP_SEAL:
        w->told->sealed[chunk] = w->told->life[chunk];
        break;
    case OP_DROP:
        w->told->dropped[chunk] = value;
        break;
    default:
        break;
    }
    w->pending_count--;
    w->told->completed_count++;
}

static void writer_poll(struct writer *w)
{
    struct store_completion completions[8];
    int count = store_poll(w->store, completions, 8);

    for (int i = 0; i < count; i++) {
        writer_completed(w, &completions[i]);
    }
}

static void writer_create(struct writer *w, uint64_t chunk)
{
    uint64_t life = w->told->life[chunk] + 1;
    struct store_chunk new_chunk = fixture_new_chunk(handle_of(chunk, life), 1);

    new_chunk.chunk_bytes = CRASH_CHUNK_BYTES;
    new_chunk.file_id = 1; // all of one file, so that files are made ahead
    w->told->records[chunk] = 0;
    w->told->started[chunk] = 0;
    w->told->version[chunk] = 0;
    w->told->life[chunk] = life;
    w->next[chunk] = 0;
    w->end[chunk] = 0;
    memset(w->done[chunk], 0, sizeof(w->done[chunk]));
    must(store_create(w->store, &new_chunk, token_of(OP_CREATE, 0, chunk, 0)));
    w->pending_count++;
}

// How many of the next records, some of which are no matter for a run, are appended together; fills their rows.
static uint32_t run_plan(struct writer *w, uint64_t handle, uint64_t index, uint32_t try,
                         struct wire_run_row rows[RUN_RECORDS])
{
    uint32_t most = pawl_random_chance(&w->random, 1, 3) ? RUN_RECORDS : 1;
    uint32_t count = 0;

    for (; count < most && index + count < CRASH_RECORDS; count++) {
        uint32_t length = length_of(handle, index + count, try);
        if (count > 0 && (length == 0 || length > RUN_LENGTH_MAX || rows[0].length == 0 ||
                          rows[0].length > RUN_LENGTH_MAX)) {
            break;
        }
        rows[count] = (struct wire_run_row){
            .length = length, .crc = fixture_record(0, handle, index + count, length).crc};
    }
    return count;
}

// The payloads of a run, one behind the other.
static void *run_payload(uint64_t handle, uint64_t index, const struct wire_run_row rows[],
                         uint32_t count)
{
    uint8_t *payload = malloc((size_t)RUN_RECORDS * RUN_LENGTH_MAX);
    size_t at = 0;

    for (uint32_t i = 0; i < count; i++) {
        void *one = fixture_payload(handle, index + i, rows[i].length);
        memcpy(payload + at, one, rows[i].length);
        at += rows[i].length;
        free(one);
    }
    return payload;
}

static void writer_append(struct writer *w, uint64_t chunk)
{
    uint64_t handle = handle_of(chunk, w->told->life[chunk]);
    uint64_t index = w->next[chunk];
    uint32_t try = w->told->tries_count + 1;
    struct wire_run_row rows[RUN_RECORDS];
    uint64_t slot = 0;

    while (slot < CRASH_DEPTH && w->payloads[slot] != NULL) {
        slot++;
    }
    if (slot == CRASH_DEPTH) {
        return;
    }
    uint32_t count = run_plan(w, handle, index, try, rows);
    struct pawl_record record = fixture_record(w->end[chunk], handle, index, rows[0].length);
    w->payloads[slot] = count > 1 ? run_payload(handle, index, rows, count)
                                  : fixture_payload(handle, index, rows[0].length);
    w->counts[slot] = count;
    record.id.epoch = try;
    w->told->tries_count = try;
    for (uint32_t i = 0; i < count; i++) {
        w->told->tries[chunk][index + i] = try;
        w->end[chunk] += rows[i].length;
    }
    w->told->started[chunk] = index + count;
    must(store_append_run(w->store, handle, index, &record, rows, count, w->payloads[slot], index,
                          token_of(OP_APPEND, slot, chunk, index)));
    w->pending_count++;
    w->next[chunk] += count;
}

// Drops or seals a chunk that has grown, with nothing of it in flight, and begins its next life.
static void writer_renew(struct writer *w, uint64_t chunk)
{
    uint64_t handle = handle_of(chunk, w->told->life[chunk]);

    while (w->pending_count > 0) {
        writer_poll(w);
    }
    if (w->told->life[chunk] % 2 == 0) {
        must(store_drop(w->store, handle, token_of(OP_DROP, 0, chunk, w->told->life[chunk])));
    } else {
        must(store_seal(w->store, handle, SEAL_VERSION, w->next[chunk],
                        token_of(OP_SEAL, 0, chunk, 0)));
    }
    w->pending_count++;
    while (w->pending_count > 0) {
        writer_poll(w);
    }
    writer_create(w, chunk);
}

static void writer_turn(struct writer *w)
{
    uint64_t chunk = pawl_random_below(&w->random, CRASH_CHUNKS);
    uint64_t handle = handle_of(chunk, w->told->life[chunk]);

    if (w->next[chunk] >= CRASH_RECORDS) {
        writer_renew(w, chunk);
    } else if (pawl_random_chance(&w->random, 1, 40)) {
        uint64_t version = w->told->version[chunk] + 2;
        must(store_promise(w->store, handle, version, token_of(OP_PROMISE, 0, chunk, version)));
        w->pending_count++;
    } else {
        writer_append(w, chunk);
    }
}

static void writer_resume(void *user, const struct store_chunk *chunk)
{
    struct writer *w = user;
    uint64_t i = (chunk->handle >> 32) - 1;

    if (chunk->handle == handle_of(i, w->told->life[i])) {
        w->next[i] = chunk->records_count;
        w->end[i] = fixture_chunk_end(chunk);
        w->told->records[i] = chunk->records_count;
        w->told->version[i] = chunk->version;
        memset(w->done[i], 1, chunk->records_count);
        if (chunk->sealed) {
            w->next[i] = UINT32_MAX;
        }
    }
}

struct writer *writer_new(struct store *store, struct told *told, uint64_t seed)
{
    struct writer *w = calloc(1, sizeof(*w));

    w->store = store;
    w->told = told;
    pawl_random_seed(&w->random, seed);
    for (uint64_t i = 0; i < CRASH_CHUNKS; i++) {
        w->next[i] = UINT64_MAX; // no such chunk
    }
    store_visit(w->store, writer_resume, w);
    for (uint64_t i = 0; i < CRASH_CHUNKS; i++) {
        if (w->next[i] == UINT64_MAX && told->records[i] == 0 && told->life[i] > 0 &&
            told->dropped[i] != told->life[i]) {
            told->life[i]--; // its creation was lost: once more
        }
        if (w->next[i] >= UINT32_MAX) {
            writer_create(w, i);
        }
    }
    return w;
}

void writer_free(struct writer *w)
{
    for (uint32_t i = 0; w != NULL && i < CRASH_DEPTH; i++) {
        free(w->payloads[i]);
    }
    free(w);
}

void writer_step(struct writer *w)
{
    for (uint32_t i = 0; i < CRASH_DEPTH && w->pending_count < CRASH_DEPTH; i++) {
        writer_turn(w);
    }
    writer_poll(w);
}

static const char *earlier_lives_broken(struct fixture *f, const struct told *told, uint64_t chunk)
{
    for (uint64_t life = 1; life < told->life[chunk]; life++) {
        struct fixture_chunk found = fixture_find(f, handle_of(chunk, life));
        if (life % 2 == 0 && found.found) {
            return "a dropped chunk is back";
        }
        if (life % 2 == 1 &&
            (!found.found || !found.chunk.sealed || found.chunk.version != SEAL_VERSION ||
             found.chunk.damaged || found.chunk.records_count != CRASH_RECORDS)) {
            return "a sealed chunk has changed";
        }
        // Its bytes, when it is young: later there are too many.
        for (uint64_t i = 0; found.found && life + 2 >= told->life[chunk] && i < CRASH_RECORDS;
             i++) {
            if (fixture_read_record(f, found.chunk.handle, i) != 0) {
                return "a sealed chunk's record can't be read";
            }
        }
    }
    return NULL;
}

static const char *chunk_broken(struct fixture *f, const struct told *told, uint64_t chunk)
{
    uint64_t life = told->life[chunk];
    uint64_t handle = handle_of(chunk, life);
    struct fixture_chunk found = fixture_find(f, handle);

    if (told->dropped[chunk] == life) {
        return found.found ? "a dropped chunk is back" : NULL;
    }
    if (!found.found) { // its creation, or its drop, was under way
        bool may_be_dropped = life % 2 == 0 && told->records[chunk] == CRASH_RECORDS;
        return told->records[chunk] > 0 && !may_be_dropped ? "a chunk is gone" : NULL;
    }
    if (found.chunk.damaged) {
        return "a chunk is damaged";
    }
    if (found.chunk.records_count < told->records[chunk]) {
        return "completed records are gone";
    }
    if (found.chunk.records_count > told->started[chunk]) {
        return "there are records that nobody wrote";
    }
    if (found.chunk.version < told->version[chunk]) {
        return "a promise is gone";
    }
    if (told->sealed[chunk] == life && !found.chunk.sealed) {
        return "a seal is gone";
    }
    for (uint64_t i = 0; i < found.chunk.records_count; i++) {
        struct pawl_record record = store_chunk_record(&found.chunk, i);
        if (record.id.epoch != told->tries[chunk][i] ||
            record.length != length_of(handle, i, record.id.epoch)) {
            return "a record that was cut is back";
        }
        if (fixture_read_record(f, handle, i) != 0) {
            return "a record can't be read";
        }
    }
    return NULL;
}

const char *told_broken(struct fixture *f, const struct told *told)
{
    const char *why = NULL;

    for (uint64_t chunk = 0; chunk < CRASH_CHUNKS && why == NULL; chunk++) {
        why = earlier_lives_broken(f, told, chunk);
        if (why == NULL) {
            why = chunk_broken(f, told, chunk);
        }
    }
    if (why == NULL && fixture_count_files(f, "damaged") > 0) {
        why = "a chunk file was put aside";
    }
    return why;
}
