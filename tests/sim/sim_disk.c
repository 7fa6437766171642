// SPDX-License-Identifier: Apache-2.0
// The simulated store: what is queued becomes durable later, batch by batch, and a crash forgets the
// rest.
//
// As in the real store, calls of one chunk take effect in their order, while flushes of records may
// end in another one: a record that is on disk behind one that is not is cut away by a crash. What is
// written is read from the driver's memory when it is written. Bytes may rot (sim_rot.c).
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "sim.h"

struct sim_disk *sim_disk_new(struct sim_node *node)
{
    struct sim_disk *disk = sim_alloc(sizeof(*disk));
    disk->node = node;
    return disk;
}

static void chunk_fini(struct sim_chunk *chunk)
{
    for (uint64_t i = 0; i < chunk->records_count; i++) {
        free(chunk->records[i].payload);
    }
    free(chunk->records);
    free(chunk->producers);
}

static void op_fini(struct sim_disk_op *op)
{
    free(op->record.payload);
    free(op->create.producers);
}

void sim_disk_clear(struct sim_disk *disk)
{
    for (uint32_t i = 0; i < disk->chunks_count; i++) {
        chunk_fini(&disk->chunks[i]);
    }
    disk->chunks_count = 0;
}

void sim_disk_free(struct sim_disk *disk)
{
    if (disk == NULL) {
        return;
    }
    sim_disk_clear(disk);
    free(disk->losses);
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        op_fini(&disk->queue[i]);
    }
    sim_frame_free(disk->grant);
    free(disk->chunks);
    free(disk->queue);
    free(disk);
}

struct sim_chunk *sim_disk_chunk(const struct sim_disk *disk, uint64_t handle)
{
    for (uint32_t i = 0; i < disk->chunks_count; i++) {
        if (disk->chunks[i].handle == handle) {
            return &disk->chunks[i];
        }
    }
    return NULL;
}

bool sim_disk_is_writing(const struct sim_disk *disk, uint64_t handle)
{
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        const struct sim_disk_op *op = &disk->queue[i];
        if (op->kind == SIM_DISK_APPEND && op->handle == handle && !op->reported) {
            return true;
        }
    }
    return false;
}

static void remove_chunk(struct sim_disk *disk, struct sim_chunk *chunk)
{
    chunk_fini(chunk);
    *chunk = disk->chunks[--disk->chunks_count];
}

static void apply_create(struct sim *sim, struct sim_disk *disk, struct sim_disk_op *op)
{
    struct sim_chunk *old = sim_disk_chunk(disk, op->handle);
    if (old != NULL && (old->records_count != 0 || old->version > op->create.version)) {
        sim_violation(sim, "%s creates chunk %llu over one with records or a newer version",
                      disk->node->name, (unsigned long long)op->handle);
        return;
    }
    if (old != NULL) {
        remove_chunk(disk, old);
    }
    if (disk->chunks_count == disk->chunks_capacity) {
        disk->chunks_capacity = disk->chunks_capacity != 0 ? 2 * disk->chunks_capacity : 16;
        disk->chunks = realloc(disk->chunks, disk->chunks_capacity * sizeof(disk->chunks[0]));
        pawl_assert(disk->chunks != NULL);
    }
    disk->chunks[disk->chunks_count++] = op->create;
    op->create.producers = NULL;
}

static void apply_append(struct sim *sim, struct sim_disk *disk, struct sim_chunk *chunk,
                         struct sim_disk_op *op)
{
    if (chunk->sealed) {
        sim_violation(sim, "%s chunk %llu is sealed and stores a record", disk->node->name,
                      (unsigned long long)op->handle);
        return;
    }
    while (PAWL_MUTANT(primary_truncates) && op->index < chunk->records_count) {
        free(chunk->records[--chunk->records_count].payload);
    }
    if (op->index != chunk->records_count) {
        sim_violation(sim, "%s chunk %llu stores record %llu while it has %llu", disk->node->name,
                      (unsigned long long)op->handle, (unsigned long long)op->index,
                      (unsigned long long)chunk->records_count);
        return;
    }
    if (chunk->records_count == chunk->records_capacity) {
        chunk->records_capacity = chunk->records_capacity != 0 ? 2 * chunk->records_capacity : 16;
        chunk->records =
            realloc(chunk->records, chunk->records_capacity * sizeof(chunk->records[0]));
        pawl_assert(chunk->records != NULL);
    }
    chunk->records[chunk->records_count++] = op->record;
    op->record.payload = NULL;
    chunk->commit_count = PAWL_MAX(chunk->commit_count, op->commit_count);
    sim_oracle_record(sim, disk->node->index, chunk, op->index);
}

static void apply_seal(struct sim *sim, struct sim_disk *disk, struct sim_chunk *chunk,
                       struct sim_disk_op *op)
{
    if (op->count > chunk->records_count) {
        sim_violation(sim, "%s chunk %llu is sealed at %llu records and has %llu", disk->node->name,
                      (unsigned long long)op->handle, (unsigned long long)op->count,
                      (unsigned long long)chunk->records_count);
        return;
    }
    sim_oracle_seal(sim, disk->node->index, chunk, op->count);
    while (chunk->records_count > op->count) {
        free(chunk->records[--chunk->records_count].payload);
    }
    chunk->sealed = true;
    chunk->version = PAWL_MAX(chunk->version, op->version);
    chunk->commit_count = op->count;
}

static void apply(struct sim *sim, struct sim_disk *disk, struct sim_disk_op *op)
{
    struct sim_chunk *chunk = sim_disk_chunk(disk, op->handle);
    if (sim->script != NULL) {
        sim->script->durable(sim, disk->node, op);
    }
    if (op->kind == SIM_DISK_CREATE) {
        apply_create(sim, disk, op);
        return;
    }
    if (chunk == NULL && op->kind == SIM_DISK_DROP) {
        return; // its creation was refused
    }
    if (chunk == NULL) {
        sim_violation(sim, "%s writes to chunk %llu, which it does not have", disk->node->name,
                      (unsigned long long)op->handle);
        return;
    }
    switch (op->kind) {
    case SIM_DISK_APPEND:
        apply_append(sim, disk, chunk, op);
        break;
    case SIM_DISK_PROMISE:
        if (op->version < chunk->version) {
            sim_violation(sim, "%s chunk %llu goes back to version %llu", disk->node->name,
                          (unsigned long long)op->handle, (unsigned long long)op->version);
        }
        chunk->version = op->version;
        break;
    case SIM_DISK_SEAL:
        apply_seal(sim, disk, chunk, op);
        break;
    case SIM_DISK_DROP:
        sim_heal_drop(sim, disk->node->index, chunk);
        remove_chunk(disk, chunk);
        break;
    case SIM_DISK_CREATE:
        break;
    }
}

// Nothing of the same chunk stands before it in the queue.
static bool is_first_of_chunk(const struct sim_disk *disk, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (disk->queue[i].handle == disk->queue[at].handle) {
            return false;
        }
    }
    return true;
}

static void queue_remove(struct sim_disk *disk, uint32_t at)
{
    op_fini(&disk->queue[at]);
    disk->queue_count--;
    memmove(&disk->queue[at], &disk->queue[at + 1],
            (disk->queue_count - at) * sizeof(disk->queue[0]));
}

// Takes effect of everything that is on disk with no hole before it.
static void apply_done(struct sim *sim, struct sim_disk *disk)
{
    for (uint32_t at = 0; at < disk->queue_count;) {
        if (disk->queue[at].done && is_first_of_chunk(disk, at)) {
            struct sim_disk_op op = disk->queue[at];
            apply(sim, disk, &op);
            disk->queue[at] = op;
            queue_remove(disk, at);
            at = 0;
        } else {
            at++;
        }
    }
}

// May this one reach the disk before the ones in front of it? Only a record, and only past records.
static bool may_overtake(const struct sim_disk *disk, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        const struct sim_disk_op *op = &disk->queue[i];
        bool same = op->handle == disk->queue[at].handle && !op->done;
        if (same && (op->kind != SIM_DISK_APPEND || disk->queue[at].kind != SIM_DISK_APPEND)) {
            return false;
        }
    }
    return true;
}

// The next operation that the disk finishes; in order, unless flushes may overtake each other.
static uint32_t next_done(struct sim *sim, const struct sim_disk *disk)
{
    uint32_t first = 0;
    while (disk->queue[first].done) {
        first++;
        pawl_assert(first < disk->queue_count);
    }
    if (!sim->params.overtake) {
        return first;
    }
    uint32_t at = first + (uint32_t)sim_below(sim, disk->queue_count - first);
    return !disk->queue[at].done && may_overtake(disk, at) ? at : first;
}

static void capture(struct sim_disk_op *op)
{
    if (op->source != NULL && op->record.payload == NULL) {
        op->record.payload = sim_copy(op->source, op->record.record.length);
    }
    op->source = NULL;
}

static struct sim_done done_of(const struct sim_disk_op *op, int status)
{
    return (struct sim_done){
        .token = op->token, .status = status, .payload = op->payload, .crc = op->record.record.crc};
}

static uint32_t undone_count(const struct sim_disk *disk)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        count += disk->queue[i].done || disk->queue[i].reported ? 0 : 1;
    }
    return count;
}

static void write_begin(struct sim *sim, struct sim_disk *disk);

// A flush has failed: what it was to make durable may be on disk or not, and nothing that comes after
// it will be. Everything ends with the error; the server gives up before long.
static void fail(struct sim *sim, struct sim_disk *disk)
{
    struct sim_node *node = disk->node;
    uint64_t life = node->life;
    struct sim_done ends[64];
    uint32_t ends_count = 0;
    if (!disk->failed) {
        sim_note(sim, "%s store fails", node->name);
        sim_oracle_store_failed(sim, node->index);
        disk->failed = true;
        sim_trip(sim, node, 10000, 2000 * SIM_MS);
    }
    for (uint32_t i = 0; i < disk->queue_count && ends_count < PAWL_ARRAY_COUNT(ends); i++) {
        if (!disk->queue[i].reported && !disk->queue[i].done) {
            disk->queue[i].reported = true;
            capture(&disk->queue[i]);
            ends[ends_count++] = done_of(&disk->queue[i], -EIO);
        }
    }
    disk->writing = false;
    sim_oracle_held_look(sim, node->index);
    for (uint32_t i = 0; i < ends_count && sim_alive(node, life); i++) {
        sim_chunkd_persisted(sim, node, &ends[i]);
    }
    if (sim_alive(node, life)) {
        write_begin(sim, disk);
    }
}

static void on_written(struct sim *sim, struct sim_event *event)
{
    struct sim_disk *disk = sim->disks[event->node->index];
    struct sim_done ends[64];
    uint32_t ends_count = 0;
    if (!sim_alive(event->node, event->life)) {
        return;
    }
    if (disk->failed || sim_fault(sim, SIM_FAULT_ERROR, sim->params.error_permyriad)) {
        fail(sim, disk);
        return;
    }
    while (disk->writing_count > 0 && ends_count < PAWL_ARRAY_COUNT(ends)) {
        uint32_t at = next_done(sim, disk);
        disk->queue[at].done = true;
        capture(&disk->queue[at]);
        ends[ends_count++] = done_of(&disk->queue[at], 0);
        disk->writing_count--;
    }
    apply_done(sim, disk);
    disk->writing = false;
    write_begin(sim, disk);
    for (uint32_t i = 0; i < ends_count && sim_alive(event->node, event->life); i++) {
        sim_chunkd_persisted(sim, event->node, &ends[i]);
    }
    sim_trip(sim, event->node, sim->params.trip_permyriad, 500 * SIM_US);
}

// Group commit: what has gathered goes out together, or a part of it.
static void write_begin(struct sim *sim, struct sim_disk *disk)
{
    uint32_t undone = undone_count(disk);
    if (disk->writing || undone == 0) {
        return;
    }
    disk->writing = true;
    disk->writing_count = undone;
    if (sim_permille(sim, 300)) {
        disk->writing_count = 1 + (uint32_t)sim_below(sim, undone);
    }
    disk->writing_count = PAWL_MIN(disk->writing_count, 64u);
    uint64_t us = 20 + sim_below(sim, sim->params.disk_max_us);
    if (sim_fault(sim, SIM_FAULT_STALL, sim->params.stall_permille * 10)) {
        us += sim_fault_below(sim, 800000);
    }
    sim_at(sim, us * SIM_US, (struct sim_event){.run = on_written, .node = disk->node});
}

static void on_told_early(struct sim *sim, struct sim_event *event)
{
    if (sim_alive(event->node, event->life)) {
        sim_chunkd_persisted(sim, event->node, &(struct sim_done){.token = event->a});
    }
}

// The index that the chunk's next record has when all that is queued is done; UINT64_MAX: it takes none.
static uint64_t next_index(const struct sim_disk *disk, uint64_t handle)
{
    const struct sim_chunk *chunk = sim_disk_chunk(disk, handle);
    uint64_t next = chunk != NULL && !chunk->sealed ? chunk->records_count : UINT64_MAX;
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        const struct sim_disk_op *op = &disk->queue[i];
        if (op->handle != handle) {
            continue;
        }
        if (op->kind == SIM_DISK_CREATE) {
            next = 0;
        } else if (op->kind == SIM_DISK_APPEND) {
            next++;
        } else if (op->kind != SIM_DISK_PROMISE) {
            next = UINT64_MAX;
        }
    }
    return next;
}

static int check_queue(const struct sim *sim, const struct sim_disk *disk,
                       const struct sim_disk_op *op)
{
    bool grows = op->kind == SIM_DISK_CREATE || op->kind == SIM_DISK_APPEND;
    if (grows && disk->full_until_ns > sim->now_ns) {
        return PAWL_ENOSPACE;
    }
    bool cuts = PAWL_MUTANT(primary_truncates) || PAWL_MUTANT(shortest_wins);
    bool next = op->index == next_index(disk, op->handle) || cuts;
    return op->kind == SIM_DISK_APPEND && !next ? -EINVAL : 0;
}

int sim_disk_queue(struct sim *sim, struct sim_disk *disk, const struct sim_disk_op *op)
{
    int code = check_queue(sim, disk, op);
    if (code != 0) {
        free(op->create.producers);
        return code;
    }
    if (disk->queue_count == disk->queue_capacity) {
        disk->queue_capacity = disk->queue_capacity != 0 ? 2 * disk->queue_capacity : 64;
        disk->queue = realloc(disk->queue, disk->queue_capacity * sizeof(disk->queue[0]));
        pawl_assert(disk->queue != NULL);
    }
    disk->queue[disk->queue_count++] = *op;
    if (PAWL_MUTANT(persisted_before_flush)) {
        sim_at(sim, 0,
               (struct sim_event){.run = on_told_early, .node = disk->node, .a = op->token});
    }
    write_begin(sim, disk);
    return 0;
}

// Recovery finds that the last record is torn, by its checksum, and cuts it away.
static void apply_torn(struct sim *sim, struct sim_disk *disk)
{
    uint32_t at = 0;
    while (at < disk->queue_count &&
           (disk->queue[at].done || !is_first_of_chunk(disk, at) ||
            disk->queue[at].kind != SIM_DISK_APPEND || disk->queue[at].record.record.length == 0)) {
        at++;
    }
    if (at == disk->queue_count) {
        return;
    }
    struct sim_disk_op *op = &disk->queue[at];
    const struct pawl_record *record = &op->record.record;
    capture(op);
    uint64_t whole = sim_below(sim, record->length);
    memset(op->record.payload + whole, 0, record->length - whole);
    if (pawl_crc32c(0, op->record.payload, record->length) == record->crc) {
        op->done = true; // all that matters had been written
        apply_done(sim, disk);
    }
}

void sim_disk_crash(struct sim *sim, struct sim_disk *disk)
{
    // Of the batch under way, or of what has failed, any part may have reached the disk.
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        disk->writing |= disk->queue[i].reported;
        disk->queue[i].reported = false;
    }
    disk->writing_count =
        disk->failed ? disk->queue_count : PAWL_MIN(disk->writing_count, disk->queue_count);
    disk->failed = false;
    uint32_t lucky = disk->writing ? (uint32_t)sim_below(sim, disk->writing_count + 1u) : 0;
    for (; lucky > 0 && undone_count(disk) > 0; lucky--) {
        uint32_t at = next_done(sim, disk);
        disk->queue[at].done = true;
        capture(&disk->queue[at]);
    }
    apply_done(sim, disk);
    if (disk->writing) {
        apply_torn(sim, disk);
    }
    while (disk->queue_count > 0) {
        queue_remove(disk, disk->queue_count - 1);
    }
    disk->writing = false;
    disk->writing_count = 0;
    sim_disk_lose(sim, disk);
    // Who comes back is asked for its log: a good moment to have rotted.
    if (sim_fault(sim, SIM_FAULT_ROT, sim->params.rot_ms != 0 ? 10000 : 0)) {
        sim_disk_rot(sim, disk);
    }
}
