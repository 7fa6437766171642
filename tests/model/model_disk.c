// SPDX-License-Identifier: Apache-2.0
// A chunk server's disk: operations become durable one by one, in the order in which they were
// queued, or, where it is asked for, records of one chunk in any order.
#include <string.h>

#include "model.h"

#define ULL(x) ((unsigned long long)(x))

static struct model_chunk *chunk_of(uint32_t server, uint64_t handle)
{
    struct model_disk *disk = &model_server_at(server)->disk;
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        if (disk->chunks[i].handle == handle) {
            return &disk->chunks[i];
        }
    }
    return NULL;
}

const struct model_chunk *model_disk_chunk(uint32_t server, uint64_t handle)
{
    return chunk_of(server, handle);
}

static void apply_create(uint32_t server, const struct model_op *op)
{
    struct model_chunk *chunk = chunk_of(server, op->handle);
    if (chunk != NULL && (chunk->records_count != 0 || chunk->version > op->create.version)) {
        model_violation("cs%u creates chunk %llu over one with records or a newer version",
                        server + 1, ULL(op->handle));
        return;
    }
    chunk = chunk != NULL ? chunk : chunk_of(server, 0);
    pawl_assert(chunk != NULL);
    *chunk = (struct model_chunk){
        .handle = op->handle, .version = op->create.version, .create = op->create};
}

static void apply_append(uint32_t server, struct model_chunk *chunk, const struct model_op *op)
{
    if (op->index != chunk->records_count) {
        model_violation("cs%u chunk %llu stores record %llu while it has %u", server + 1,
                        ULL(op->handle), ULL(op->index), chunk->records_count);
        return;
    }
    pawl_assert(chunk->records_count < MODEL_RECORDS_MAX);
    chunk->records[chunk->records_count++] = op->record;
    chunk->commit_count = PAWL_MAX(chunk->commit_count, op->commit_count);
    model_oracle_record(server, chunk, (uint32_t)op->index);
}

static void apply_seal(uint32_t server, struct model_chunk *chunk, const struct model_op *op)
{
    if (op->count > chunk->records_count) {
        model_violation("cs%u chunk %llu is sealed at %llu records and has %u", server + 1,
                        ULL(op->handle), ULL(op->count), chunk->records_count);
        return;
    }
    model_oracle_seal(server, chunk, op->count);
    while (chunk->records_count > op->count) {
        chunk->records[--chunk->records_count] = (struct model_record){0};
    }
    chunk->sealed = 1;
    chunk->version = PAWL_MAX(chunk->version, op->version);
    chunk->commit_count = op->count;
}

static void apply(uint32_t server, const struct model_op *op)
{
    struct model_chunk *chunk = chunk_of(server, op->handle);
    if (op->kind == MODEL_OP_CREATE) {
        apply_create(server, op);
        return;
    }
    if (chunk == NULL) {
        model_violation("cs%u writes to chunk %llu, which it does not have", server + 1,
                        ULL(op->handle));
        return;
    }
    switch (op->kind) {
    case MODEL_OP_APPEND:
        apply_append(server, chunk, op);
        break;
    case MODEL_OP_PROMISE:
        if (op->version < chunk->version) {
            model_violation("cs%u chunk %llu goes back to version %llu", server + 1,
                            ULL(op->handle), ULL(op->version));
        }
        chunk->version = op->version;
        break;
    case MODEL_OP_SEAL:
        apply_seal(server, chunk, op);
        break;
    case MODEL_OP_DROP:
        model_oracle_drop(server, chunk);
        *chunk = (struct model_chunk){0};
        break;
    case MODEL_OP_CREATE:
        break;
    }
}

static bool is_first_of_chunk(const struct model_disk *disk, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (disk->queue[i].handle == disk->queue[at].handle) {
            return false;
        }
    }
    return true;
}

static void queue_remove(struct model_disk *disk, uint32_t at)
{
    disk->queue_count--;
    memmove(&disk->queue[at], &disk->queue[at + 1],
            (disk->queue_count - at) * sizeof(disk->queue[0]));
    disk->queue[disk->queue_count] = (struct model_op){0};
}

// What is behind a hole has no effect yet, and a crash cuts it away.
uint64_t model_disk_done(uint32_t server, uint32_t at)
{
    struct model_disk *disk = &model_server_at(server)->disk;
    uint64_t token = disk->queue[at].token;
    disk->queue[at].done = 1;
    for (uint32_t i = 0; i < disk->queue_count;) {
        if (disk->queue[i].done && is_first_of_chunk(disk, i)) {
            apply(server, &disk->queue[i]);
            queue_remove(disk, i);
            i = 0;
        } else {
            i++;
        }
    }
    return token;
}

bool model_disk_may_finish(uint32_t server, uint32_t at, bool overtake)
{
    const struct model_disk *disk = &model_server_at(server)->disk;
    const struct model_op *op = &disk->queue[at];
    if (at >= disk->queue_count || op->done) {
        return false;
    }
    for (uint32_t i = 0; i < at; i++) {
        const struct model_op *before = &disk->queue[i];
        bool records = overtake && before->handle == op->handle &&
                       before->kind == MODEL_OP_APPEND && op->kind == MODEL_OP_APPEND;
        if (!before->done && !records) {
            return false;
        }
    }
    return true;
}
