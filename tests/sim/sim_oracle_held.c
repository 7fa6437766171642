// SPDX-License-Identifier: Apache-2.0
// The oracle's word on the weaker acknowledgement: what was answered when it was in the memory of every
// replica, and by what it may be lost.
//
// Such an answer is right when each member of the set has had the record, under the version that it was ordered
// in: on its disk, or handed to it. From then on each member either holds it, or has lost it: it crashed, or its
// disk refused or failed the write, before it was durable there. The record may be missing from what the master
// settles on only if each member has lost it, or did not answer the fence; and then its client must be told.
// Once it is durable on all of the set it is as good as any other.
#include <stdlib.h>
#include <string.h>

#include "sim_oracle_private.h"

#define ULL(x) ((unsigned long long)(x))

// What a server was handed last of a chunk.
struct held_seen {
    uint64_t handle;
    uint64_t version;
    uint64_t count;
};

struct held_server {
    struct held_seen *seen;
    uint32_t count;
};

struct held_record {
    struct sim_append *append;
    struct oracle_chunk *chunk;
    struct pawl_record record;
    uint64_t index;
    uint64_t set[8];
    uint32_t set_count;
    uint32_t lost; // a bit for each server
    bool durable;  // on all of the set
    bool missing;  // rightly so
};

struct oracle_held {
    struct held_server servers[SIM_SERVERS_MAX];
    struct held_record *records;
    uint32_t count;
    uint32_t open; // those before are durable or missing
    uint32_t capacity;
    uint64_t missing_count;
};

struct oracle_held *oracle_held_new(void)
{
    return sim_alloc(sizeof(struct oracle_held));
}

void oracle_held_free(struct oracle_held *held)
{
    for (uint32_t i = 0; i < SIM_SERVERS_MAX; i++) {
        free(held->servers[i].seen);
    }
    free(held->records);
    free(held);
}

static uint32_t server_of(const struct held_record *held, uint32_t member)
{
    return (uint32_t)(held->set[member] - SIM_SERVER_ID(0));
}

// ---- what servers have had --------------------------------------------------------------------------------

static struct held_seen *seen_of(struct sim *sim, uint32_t server, uint64_t handle)
{
    struct held_server *s = &sim->oracle->held->servers[server];
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->seen[i].handle == handle) {
            return &s->seen[i];
        }
    }
    s->seen = realloc(s->seen, (s->count + 1) * sizeof(s->seen[0]));
    pawl_assert(s->seen != NULL);
    s->seen[s->count] = (struct held_seen){.handle = handle};
    return &s->seen[s->count++];
}

void sim_oracle_handed(struct sim *sim, uint32_t server, const struct sim_disk_op *op)
{
    struct held_seen *seen = seen_of(sim, server, op->handle);
    seen->version = op->record.record.version;
    seen->count = op->index + 1;
}

static bool same(const struct pawl_record *a, const struct pawl_record *b)
{
    return a->offset == b->offset && a->length == b->length && a->crc == b->crc &&
           memcmp(&a->id, &b->id, sizeof(a->id)) == 0;
}

static bool is_on_disk(struct sim *sim, uint32_t server, const struct held_record *held)
{
    const struct sim_chunk *replica = sim_disk_chunk(sim->disks[server], held->chunk->handle);
    return replica != NULL && held->index < replica->records_count &&
           same(&replica->records[held->index].record, &held->record);
}

// On its disk, or on the way there.
static bool has_now(struct sim *sim, uint32_t server, const struct held_record *held)
{
    const struct sim_disk *disk = sim->disks[server];
    bool has = is_on_disk(sim, server, held);
    for (uint32_t i = 0; i < disk->queue_count && !has; i++) {
        const struct sim_disk_op *op = &disk->queue[i];
        has = op->kind == SIM_DISK_APPEND && op->handle == held->chunk->handle && !op->reported &&
              op->index == held->index && same(&op->record.record, &held->record);
    }
    return has;
}

static bool has_had(struct sim *sim, uint32_t server, const struct held_record *held)
{
    const struct held_seen *seen = seen_of(sim, server, held->chunk->handle);
    bool handed = seen->version == held->record.version && seen->count > held->index;
    return handed || is_on_disk(sim, server, held);
}

// ---- answers ----------------------------------------------------------------------------------------------

// The record that an answer speaks of, as the server that answers has it.
static bool answered_record(struct sim *sim, uint32_t server, const struct oracle_chunk *chunk,
                            const struct wire_append *request, const struct wire_appended *reply,
                            struct held_record *ret)
{
    const struct sim_disk *disk = sim->disks[server];
    const struct sim_chunk *replica = sim_disk_chunk(disk, chunk->handle);
    ret->record = (struct pawl_record){.offset = reply->file_offset - chunk->base,
                                       .id = request->id,
                                       .length = request->length,
                                       .crc = request->crc};
    for (uint64_t i = 0; replica != NULL && i < replica->records_count; i++) {
        if (same(&replica->records[i].record, &ret->record)) {
            ret->record = replica->records[i].record;
            ret->index = i;
            return true;
        }
    }
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        const struct sim_disk_op *op = &disk->queue[i];
        if (op->kind == SIM_DISK_APPEND && op->handle == chunk->handle &&
            same(&op->record.record, &ret->record)) {
            ret->record = op->record.record;
            ret->index = op->index;
            return true;
        }
    }
    return false;
}

static struct sim_append *append_find(const struct sim_oracle *oracle, uint64_t file_id,
                                      const struct pawl_record *record)
{
    for (uint64_t i = oracle->appends_count; i > 0; i--) {
        struct sim_append *append = oracle->appends[i - 1];
        if (append->file_id == file_id && append->crc == record->crc &&
            append->length == record->length && append->id.sequence == record->id.sequence &&
            append->id.producer_hi == record->id.producer_hi &&
            append->id.producer_lo == record->id.producer_lo) {
            return append;
        }
    }
    return NULL;
}

// The last answer that named this place. An append whose client did not hear of the first one may get another.
static struct held_record *held_find(const struct sim_oracle *oracle,
                                     const struct sim_append *append, uint64_t offset)
{
    for (uint32_t i = oracle->held->count; i > 0; i--) {
        struct held_record *held = &oracle->held->records[i - 1];
        if (held->append == append && held->chunk->base + held->record.offset == offset) {
            return held;
        }
    }
    return NULL;
}

static void held_add(struct oracle_held *held, const struct held_record *record)
{
    if (held->count == held->capacity) {
        held->capacity = held->capacity != 0 ? 2 * held->capacity : 64;
        held->records = realloc(held->records, held->capacity * sizeof(held->records[0]));
        pawl_assert(held->records != NULL);
    }
    held->records[held->count++] = *record;
}

void sim_oracle_answer_held(struct sim *sim, uint32_t server, const struct wire_append *request,
                            const struct wire_appended *reply)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, request->chunk);
    struct held_record held = {.chunk = chunk};
    if (chunk != NULL && is_removed(sim->oracle, chunk->file_id)) {
        return;
    }
    if ((request->flags & WIRE_APPEND_REPLICATED) == 0) {
        sim_violation(sim, "cs%u answers sequence %llu from memory; its client wants it durable",
                      server + 1, ULL(request->id.sequence));
        return;
    }
    if (chunk == NULL || !answered_record(sim, server, chunk, request, reply, &held)) {
        sim_violation(sim, "cs%u acknowledges sequence %llu from memory and has no such record",
                      server + 1, ULL(request->id.sequence));
        return;
    }
    held.append = append_find(sim->oracle, chunk->file_id, &held.record);
    memcpy(held.set, chunk->set, sizeof(held.set));
    held.set_count = chunk->set_count;
    if (held.append == NULL) {
        return;
    }
    const struct held_record *known = held_find(sim->oracle, held.append, reply->file_offset);
    if (known != NULL && known->record.version == held.record.version) {
        return;
    }
    for (uint32_t i = 0; i < held.set_count; i++) {
        uint32_t member = server_of(&held, i);
        if (!has_had(sim, member, &held)) {
            sim_violation(sim,
                          "cs%u acknowledges sequence %llu, chunk %llu record %llu, which cs%u "
                          "never had",
                          server + 1, ULL(request->id.sequence), ULL(chunk->handle),
                          ULL(held.index), member + 1);
            return;
        }
        held.lost |= has_now(sim, member, &held) ? 0 : 1u << member;
    }
    held_add(sim->oracle->held, &held);
}

// ---- losses -----------------------------------------------------------------------------------------------

void sim_oracle_held_look(struct sim *sim, uint32_t server)
{
    struct oracle_held *all = sim->oracle->held;
    for (uint32_t i = all->open; i < all->count; i++) {
        struct held_record *held = &all->records[i];
        for (uint32_t k = 0; k < held->set_count && !held->durable; k++) {
            if (server_of(held, k) == server) {
                held->lost |= has_now(sim, server, held) ? 0 : 1u << server;
            }
        }
    }
}

void sim_oracle_held_durable(struct sim *sim, uint64_t handle)
{
    struct oracle_held *all = sim->oracle->held;
    for (uint32_t i = all->open; i < all->count; i++) {
        struct held_record *held = &all->records[i];
        if (held->chunk->handle != handle || held->durable || held->missing) {
            continue;
        }
        bool durable = true;
        for (uint32_t k = 0; k < held->set_count; k++) {
            uint32_t server = server_of(held, k);
            bool has = is_on_disk(sim, server, held);
            durable &= has;
            held->lost &= has ? ~(1u << server) : UINT32_MAX;
        }
        held->durable = durable;
    }
    while (all->open < all->count &&
           (all->records[all->open].durable || all->records[all->open].missing)) {
        all->open++;
    }
}

// The record is not, or will not be, in the file. A member that still has it and was heard is a witness.
static void held_missing(struct sim *sim, struct held_record *held)
{
    const struct oracle_fence *fence = &held->chunk->fence;
    if (held->missing || is_removed(sim->oracle, held->chunk->file_id)) {
        return;
    }
    for (uint32_t i = 0; i < held->set_count && !held->durable; i++) {
        uint32_t server = server_of(held, i);
        bool heard = (fence->servers & 1u << server) != 0;
        if ((held->lost & 1u << server) == 0 && heard) {
            sim_violation(sim,
                          "append %llu, chunk %llu record %llu, was acknowledged from memory and "
                          "is left out, and cs%u still has it",
                          ULL(held->append->serial), ULL(held->chunk->handle), ULL(held->index),
                          server + 1);
            return;
        }
    }
    if (held->durable) {
        sim_violation(sim,
                      "append %llu, chunk %llu record %llu, was durable everywhere and is lost",
                      ULL(held->append->serial), ULL(held->chunk->handle), ULL(held->index));
        return;
    }
    sim_note(sim, "chunk %llu record %llu is lost with the memory of all replicas",
             ULL(held->chunk->handle), ULL(held->index));
    held->missing = true;
    sim->oracle->held->missing_count++;
}

void check_held_sealed(struct sim *sim, const struct oracle_chunk *chunk)
{
    struct oracle_held *all = sim->oracle->held;
    for (uint32_t i = 0; i < all->count && !sim->violated; i++) {
        if (all->records[i].chunk == chunk && all->records[i].index >= chunk->count) {
            held_missing(sim, &all->records[i]);
        }
    }
}

// Another record has taken the place, under a version that was granted since.
void check_held_replaced(struct sim *sim, const struct oracle_chunk *chunk, uint64_t index,
                         const struct pawl_record *record)
{
    struct oracle_held *all = sim->oracle->held;
    for (uint32_t i = all->open; i < all->count && !sim->violated; i++) {
        struct held_record *held = &all->records[i];
        if (held->chunk == chunk && held->index == index && !same(&held->record, record)) {
            if (held->record.version == record->version && !held->missing) {
                sim_violation(sim, "chunk %llu version %llu has used index %llu twice",
                              ULL(chunk->handle), ULL(record->version), ULL(index));
            }
            held_missing(sim, held);
        }
    }
}

// ---- what clients are told --------------------------------------------------------------------------------

void told_held(struct sim *sim, struct sim_append *append, uint64_t offset)
{
    if (append->told == SIM_TOLD_OK) {
        return; // it was durable before
    }
    if (held_find(sim->oracle, append, offset) == NULL) {
        sim_violation(sim, "append %llu was told offset %llu, and nobody answered that",
                      ULL(append->serial), ULL(offset));
        return;
    }
    append->told = SIM_TOLD_HELD;
    append->offset = offset;
}

void told_lost(struct sim *sim, struct sim_append *append)
{
    struct held_record *held = held_find(sim->oracle, append, append->offset);
    if (append->told != SIM_TOLD_HELD) {
        sim_violation(sim, "append %llu is called lost and was not acknowledged from memory",
                      ULL(append->serial));
        return;
    }
    if (held != NULL) {
        held_missing(sim, held);
    }
    append->told = SIM_TOLD_LOST;
}

void sim_oracle_forget(struct sim_append *append)
{
    if (append->told == SIM_TOLD_HELD) {
        append->told = SIM_TOLD_UNKNOWN;
    }
}

// At the end: seen says how often an append is in its file.
void check_held_end(struct sim *sim, const struct sim_append *append, uint8_t seen)
{
    if (append->told == SIM_TOLD_LOST && seen != 0) {
        sim_violation(sim, "append %llu was called lost and is in the file", ULL(append->serial));
    } else if (append->told == SIM_TOLD_HELD && seen == 0 &&
               !sim_oracle_has_losses(sim, append->file_id)) {
        sim_violation(sim,
                      "append %llu was acknowledged from memory and is lost, and its client was "
                      "not told",
                      ULL(append->serial));
    }
}

uint64_t sim_oracle_held_count(const struct sim_oracle *oracle, uint64_t *ret_missing)
{
    *ret_missing = oracle->held->missing_count;
    return oracle->held->count;
}
