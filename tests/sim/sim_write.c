// SPDX-License-Identifier: Apache-2.0
// Writes at an offset: the model that reads are checked against, and clients that write.
#include "sim_write.h"

#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#define ULL(x) ((unsigned long long)(x))

// ---- the model -------------------------------------------------------------------------------------

struct write_record {
    uint64_t end;    // in its chunk
    uint64_t offset; // in the written chunk
    uint32_t length;
    uint8_t *payload;
};

struct write_chunk {
    uint64_t handle;
    uint64_t file_id;
    uint64_t base;
    uint64_t count; // sealed
    uint64_t zero_bytes;
    bool ready;
    bool sealed;
    uint64_t set[8];
    uint32_t set_count;
    struct write_record *records; // of write logs only
    uint64_t records_count;
};

struct write_log {
    uint64_t log_id;
    uint64_t handle;
    uint64_t version; // of that chunk, since a chunk of the log was ready
    // The version was raised since the last chunk of the log was ready.
    bool touched;
};

struct write_ack {
    uint64_t log_id;
    uint64_t end; // in the log
};

struct sim_writes {
    struct write_chunk *chunks; // in the order of their creation
    uint32_t chunks_count;
    struct write_log *logs;
    uint32_t logs_count;
    struct write_ack *acks;
    uint64_t acks_count;
};

static void write_chunk_cut(struct write_chunk *chunk, uint64_t count)
{
    while (chunk->records_count > count) {
        free(chunk->records[--chunk->records_count].payload);
    }
}

struct sim_writes *sim_writes_new(void)
{
    return sim_alloc(sizeof(struct sim_writes));
}

void sim_writes_free(struct sim_writes *writes)
{
    if (writes == NULL) {
        return;
    }
    for (uint32_t i = 0; i < writes->chunks_count; i++) {
        write_chunk_cut(&writes->chunks[i], 0);
        free(writes->chunks[i].records);
    }
    free(writes->chunks);
    free(writes->logs);
    free(writes->acks);
    free(writes);
}

static struct write_chunk *chunk_of(const struct sim_writes *writes, uint64_t handle)
{
    for (uint32_t i = writes->chunks_count; i > 0; i--) {
        if (writes->chunks[i - 1].handle == handle) {
            return &writes->chunks[i - 1];
        }
    }
    return NULL;
}

static struct write_log *log_of_file(const struct sim_writes *writes, uint64_t log_id)
{
    for (uint32_t i = 0; i < writes->logs_count; i++) {
        if (writes->logs[i].log_id == log_id) {
            return &writes->logs[i];
        }
    }
    return NULL;
}

static struct write_log *log_of_chunk(const struct sim_writes *writes, uint64_t handle)
{
    for (uint32_t i = 0; i < writes->logs_count; i++) {
        if (writes->logs[i].handle == handle) {
            return &writes->logs[i];
        }
    }
    return NULL;
}

uint64_t sim_writes_zeros(const struct sim *sim, uint64_t handle)
{
    const struct write_chunk *chunk = chunk_of(sim->writes, handle);
    return chunk != NULL ? chunk->zero_bytes : 0;
}

uint64_t sim_writes_about(const struct sim *sim, uint64_t handle)
{
    const struct write_chunk *chunk = chunk_of(sim->writes, handle);
    const struct write_log *log = chunk != NULL ? log_of_file(sim->writes, chunk->file_id) : NULL;
    return log != NULL ? log->handle : 0;
}

bool sim_writes_have_losses(struct sim *sim, uint64_t file_id)
{
    bool lost = false;
    for (uint32_t i = 0; i < sim->writes->logs_count; i++) {
        const struct write_chunk *about = chunk_of(sim->writes, sim->writes->logs[i].handle);
        lost |= about != NULL && about->file_id == file_id &&
                sim_oracle_has_losses(sim, sim->writes->logs[i].log_id);
    }
    return lost;
}

void sim_writes_copied(struct sim *sim, uint64_t handle, uint64_t version)
{
    const struct sim_writes *writes = sim->writes;
    const struct write_log *log = log_of_chunk(writes, handle);
    if (log == NULL || version < log->version) {
        return; // begun earlier, and of no use
    }
    for (uint32_t i = 0; i < writes->chunks_count; i++) {
        const struct write_chunk *chunk = &writes->chunks[i];
        if (chunk->file_id == log->log_id && chunk->ready && !chunk->sealed) {
            sim_violation(sim,
                          "chunk %llu was copied while chunk %llu of its write log took writes",
                          ULL(handle), ULL(chunk->handle));
        }
    }
}

static void chunk_set(struct write_chunk *chunk, const uint64_t *set, size_t count)
{
    chunk->set_count = (uint32_t)PAWL_MIN(count, (size_t)8);
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        chunk->set[i] = set[i];
    }
}

static struct write_chunk *chunk_add(struct sim_writes *writes, uint64_t handle, uint64_t file_id,
                                     uint64_t base, uint64_t zero_bytes)
{
    size_t bytes = (writes->chunks_count + 1) * sizeof(writes->chunks[0]);
    writes->chunks = realloc(writes->chunks, bytes);
    pawl_assert(writes->chunks != NULL);
    struct write_chunk *chunk = &writes->chunks[writes->chunks_count++];
    *chunk = (struct write_chunk){
        .handle = handle, .file_id = file_id, .base = base, .zero_bytes = zero_bytes};
    return chunk;
}

static void log_add(struct sim_writes *writes, const Pawl__LogWriteLog *body)
{
    writes->logs = realloc(writes->logs, (writes->logs_count + 1) * sizeof(writes->logs[0]));
    pawl_assert(writes->logs != NULL);
    writes->logs[writes->logs_count++] =
        (struct write_log){.log_id = body->file_id, .handle = body->handle};
}

static const struct sim_chunk *on_disk(struct sim *sim, uint64_t server_id, uint64_t handle)
{
    const struct sim_node *node = sim_server_node(sim, server_id);
    return node != NULL ? sim_disk_chunk(sim->disks[node->index], handle) : NULL;
}

// A chunk of a write log may stand only where the written chunk is whole, with all of its log so far.
static void check_current(struct sim *sim, const struct write_log *log,
                          const struct write_chunk *part)
{
    const struct sim_writes *writes = sim->writes;
    for (uint32_t i = 0; i < writes->chunks_count; i++) {
        const struct write_chunk *other = &writes->chunks[i];
        bool needed = other->handle == log->handle || other->file_id == log->log_id;
        if (!needed || other->handle == part->handle) {
            continue;
        }
        for (uint32_t s = 0; s < part->set_count; s++) {
            const struct sim_chunk *disk = on_disk(sim, part->set[s], other->handle);
            if (disk == NULL || !other->sealed || disk->records_count < other->count) {
                sim_violation(sim, "log chunk %llu is ready on a server that lacks a part of %llu",
                              ULL(part->handle), ULL(other->handle));
                return;
            }
        }
    }
}

static void on_ready(struct sim *sim, uint64_t handle)
{
    struct sim_writes *writes = sim->writes;
    struct write_chunk *chunk = chunk_of(writes, handle);
    struct write_log *log = chunk != NULL ? log_of_file(writes, chunk->file_id) : NULL;
    if (log == NULL) {
        return;
    }
    chunk->ready = true;
    if (!log->touched) {
        sim_violation(sim, "log chunk %llu is ready and the version of chunk %llu was not raised",
                      ULL(handle), ULL(log->handle));
    }
    log->touched = false;
    check_current(sim, log, chunk);
}

static void on_seal(struct sim_writes *writes, const Pawl__LogChunkSeal *body)
{
    struct write_chunk *chunk = chunk_of(writes, body->handle);
    if (chunk == NULL) {
        return;
    }
    chunk->sealed = true;
    chunk->count = body->count;
    chunk_set(chunk, body->set, body->n_set);
    write_chunk_cut(chunk, body->count); // what was beyond never happened
    if (body->next_handle != 0) {
        chunk = chunk_add(writes, body->next_handle, chunk->file_id, chunk->base + body->length,
                          body->next_zero_bytes);
        chunk_set(chunk, body->next_set, body->n_next_set);
    }
}

static void on_set(struct sim_writes *writes, uint64_t handle, const uint64_t *set, size_t count)
{
    struct write_chunk *chunk = chunk_of(writes, handle);
    if (chunk != NULL) {
        chunk_set(chunk, set, count);
    }
}

void sim_writes_log(struct sim *sim, const Pawl__LogRecord *record)
{
    struct sim_writes *writes = sim->writes;
    switch (record->body_case) {
    case PAWL__LOG_RECORD__BODY_CHUNK_CREATE:
        chunk_add(writes, record->chunk_create->handle, record->chunk_create->file_id, 0,
                  record->chunk_create->zero_bytes);
        on_set(writes, record->chunk_create->handle, record->chunk_create->set,
               record->chunk_create->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_PLACE:
        on_set(writes, record->chunk_place->handle, record->chunk_place->set,
               record->chunk_place->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_VERSION:
        on_set(writes, record->chunk_version->handle, record->chunk_version->set,
               record->chunk_version->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_SEAL:
        on_seal(writes, record->chunk_seal);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_READY:
        on_ready(sim, record->chunk_ready->handle);
        break;
    case PAWL__LOG_RECORD__BODY_WRITE_LOG:
        log_add(writes, record->write_log);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_WRITTEN: {
        struct write_log *log = log_of_chunk(writes, record->chunk_written->handle);
        if (log != NULL) {
            log->touched = true;
            log->version = record->chunk_written->version;
        }
        break;
    }
    default:
        break;
    }
}

void sim_writes_record(struct sim *sim, const struct sim_chunk *replica, uint64_t index)
{
    struct write_chunk *chunk = chunk_of(sim->writes, replica->handle);
    const struct sim_record *r = &replica->records[index];
    const struct write_log *log = chunk != NULL ? log_of_file(sim->writes, chunk->file_id) : NULL;
    bool is_write = wire_record_is_write(&r->record.id);
    if (log == NULL || !is_write) {
        if (is_write || (log != NULL && r->record.length > 0)) {
            sim_violation(sim, "chunk %llu holds a record of the wrong kind", ULL(replica->handle));
        }
        return;
    }
    if (replica->written_handle != log->handle) {
        sim_violation(sim, "log chunk %llu is about chunk %llu, its server says %llu",
                      ULL(replica->handle), ULL(log->handle), ULL(replica->written_handle));
    }
    if (chunk->sealed || index != chunk->records_count) {
        return; // behind the seal: it is cut
    }
    chunk->records =
        realloc(chunk->records, (chunk->records_count + 1) * sizeof(chunk->records[0]));
    pawl_assert(chunk->records != NULL);
    chunk->records[chunk->records_count++] =
        (struct write_record){.end = r->record.offset + r->record.length,
                              .offset = wire_record_offset(&r->record.id),
                              .length = r->record.length,
                              .payload = sim_copy(r->payload, r->record.length)};
}

static void write_over(const struct write_record *record, const struct wire_read *request,
                       const struct wire_read_done *reply, uint8_t *expected)
{
    uint64_t from = PAWL_MAX(request->offset, record->offset);
    uint64_t to = PAWL_MIN(request->offset + reply->length, record->offset + record->length);
    if (from < to) {
        memcpy(expected + (from - request->offset), record->payload + (from - record->offset),
               to - from);
    }
}

void sim_writes_read(struct sim *sim, uint32_t server, const struct wire_read *request,
                     const struct wire_read_done *reply, uint8_t *expected)
{
    const struct sim_writes *writes = sim->writes;
    const struct write_log *log = log_of_chunk(writes, request->chunk);
    uint64_t at = 0; // of the log
    bool over = reply->log_bytes == 0;
    if (reply->log_chunks < request->log_chunks || reply->log_bytes < request->log_bytes) {
        sim_violation(sim, "cs%u chunk %llu shows %llu bytes of its log, asked for were %llu",
                      server + 1, ULL(request->chunk), ULL(reply->log_bytes),
                      ULL(request->log_bytes));
        return;
    }
    for (uint32_t i = 0; log != NULL && !over && i < writes->chunks_count; i++) {
        const struct write_chunk *chunk = &writes->chunks[i];
        uint64_t count =
            chunk->file_id == log->log_id ? sim_oracle_committed(sim, chunk->handle) : 0;
        count = PAWL_MIN(count, chunk->records_count);
        for (uint64_t r = 0; r < count && at < reply->log_bytes; r++) {
            write_over(&chunk->records[r], request, reply, expected);
            at = chunk->base + chunk->records[r].end;
        }
        over = at >= reply->log_bytes;
    }
    if (at != reply->log_bytes) {
        sim_violation(sim,
                      "cs%u chunk %llu shows %llu bytes of its log: no record that is durable on "
                      "all of its set ends there",
                      server + 1, ULL(request->chunk), ULL(reply->log_bytes));
    }
}

void sim_writes_acked(struct sim *sim, const struct sim_append *append)
{
    struct sim_writes *writes = sim->writes;
    writes->acks = realloc(writes->acks, (writes->acks_count + 1) * sizeof(writes->acks[0]));
    pawl_assert(writes->acks != NULL);
    writes->acks[writes->acks_count++] =
        (struct write_ack){.log_id = append->file_id, .end = append->offset + append->length};
}

uint64_t sim_writes_acks_count(const struct sim *sim)
{
    return sim->writes->acks_count;
}

// Its disk has come back without writes that it had called durable: it can't know of them.
static bool has_lost_writes(struct sim *sim, const struct write_log *log, uint32_t server)
{
    for (uint32_t i = 0; i < sim->writes->chunks_count; i++) {
        const struct write_chunk *chunk = &sim->writes->chunks[i];
        uint64_t lost = 0;
        if (chunk->file_id == log->log_id &&
            sim_disk_lost(sim->disks[server], chunk->handle, &lost)) {
            return true;
        }
    }
    return false;
}

void sim_writes_check_all(struct sim *sim, uint64_t handle, uint64_t acks_count, uint32_t server,
                          const struct wire_read_done *done)
{
    const struct write_log *log = log_of_chunk(sim->writes, handle);
    if (log == NULL || has_lost_writes(sim, log, server)) {
        return;
    }
    for (uint64_t i = 0; i < acks_count; i++) {
        const struct write_ack *ack = &sim->writes->acks[i];
        if (ack->log_id == log->log_id && ack->end > done->log_bytes &&
            !sim_oracle_is_removed(sim, log->log_id)) {
            sim_violation(sim,
                          "chunk %llu is read with %llu bytes of its log; %llu had been "
                          "acknowledged before the map was asked for",
                          ULL(handle), ULL(done->log_bytes), ULL(ack->end));
            return;
        }
    }
}

// ---- clients that write ------------------------------------------------------------------------------

static void ask_targets(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = c->notes->real_file_id;
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_TARGETS}, &message);
}

static void ask_write_log(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__OpenWriteLog body = PAWL__OPEN_WRITE_LOG__INIT;
    body.file_id = c->notes->real_file_id;
    body.handle = c->notes->written;
    message.body_case = PAWL__REQUEST__BODY_OPEN_WRITE_LOG;
    message.open_write_log = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_WRITE_LOG}, &message);
}

void sim_write_ask(struct sim *sim, struct sim_client *c)
{
    if (c->notes->written == 0) {
        ask_targets(sim, c);
        if (sim_permille(sim, 200)) {
            (void)sim_write_other(sim, c); // something sealed is needed
        }
    } else {
        ask_write_log(sim, c);
    }
}

// A sealed chunk of some length, any of them.
static void on_targets(struct sim *sim, struct sim_client *c, const Pawl__ChunkList *list)
{
    const Pawl__Chunk *pick = NULL;
    uint32_t count = 0;
    for (size_t i = 0; i < list->n_chunks; i++) {
        const Pawl__Chunk *chunk = list->chunks[i];
        c->notes->known_bytes = chunk->base_offset + chunk->length;
        c->notes->tail = chunk->handle;
        if (chunk->state == PAWL__CHUNK_STATE__CHUNK_SEALED && chunk->length >= 64 &&
            sim_below(sim, ++count) == 0) {
            pick = chunk;
        }
    }
    if (pick != NULL && c->state == SIM_OPENING && c->notes->written == 0) {
        c->notes->written = pick->handle;
        c->notes->written_bytes = pick->length;
    }
}

void sim_write_answer(struct sim *sim, struct sim_client *c, const struct sim_ask *ask, int status,
                      const Pawl__Reply *reply)
{
    if (ask->kind == SIM_CALL_TARGETS && status == 0) {
        on_targets(sim, c, reply->chunks);
    } else if (ask->kind == SIM_CALL_WRITE_LOG && status == 0 && c->state == SIM_OPENING) {
        bool same = c->notes->file_id == 0 || c->notes->file_id == reply->write_log->file_id;
        if (!same) {
            sim_violation(sim, "%s finds another log of chunk %llu", c->node->name,
                          ULL(c->notes->written));
        }
        c->notes->file_id = reply->write_log->file_id;
        if (!c->notes->sessions) {
            client_run(sim, c);
        }
    }
}

uint32_t sim_write_draw(struct sim *sim, const struct sim_client *c, uint32_t *ret_length)
{
    uint64_t bytes = c->notes->written_bytes;
    uint32_t most = (uint32_t)PAWL_MIN(bytes, (uint64_t)sim->params.record_bytes_max);
    *ret_length = 8 + (uint32_t)sim_below(sim, most - 7);
    // Half of them meet at the front, so that writes overlap.
    uint64_t room = bytes - *ret_length + 1;
    uint64_t offset = sim_below(sim, sim_permille(sim, 500) ? PAWL_MIN(room, 3000u) : room);
    return wire_record_write_flags((uint32_t)offset);
}

uint32_t sim_write_forge(const struct sim_append *append)
{
    uint32_t offset = wire_record_offset(&append->id);
    return wire_record_write_flags(offset > 0 ? offset - 1 : 1);
}

static void ask_extend(struct sim *sim, struct sim_client *c, uint64_t bytes)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__Extend body = PAWL__EXTEND__INIT;
    body.file_id = client_named_file(c->notes);
    body.bytes = bytes;
    message.body_case = PAWL__REQUEST__BODY_EXTEND;
    message.extend = &body;
    sim_note(sim, "%s extends %s to %llu bytes", c->node->name, c->notes->path, ULL(body.bytes));
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_EXTEND}, &message);
}

static void ask_seal(struct sim *sim, struct sim_client *c)
{
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__SealTail body = PAWL__SEAL_TAIL__INIT;
    body.file_id = client_named_file(c->notes);
    body.handle = c->notes->tail;
    message.body_case = PAWL__REQUEST__BODY_SEAL_TAIL;
    message.seal_tail = &body;
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_EXTEND}, &message);
}

bool sim_write_other(struct sim *sim, struct sim_client *c)
{
    if (sim_permille(sim, 20)) {
        ask_extend(sim, c, c->notes->known_bytes + sim_below(sim, 3ull * sim->params.chunk_bytes));
    } else if (sim_permille(sim, 40)) {
        ask_seal(sim, c);
    } else {
        ask_targets(sim, c);
    }
    return true;
}

// ---- a script's application ------------------------------------------------------------------------

void sim_client_open_log(struct sim *sim, struct sim_node *node, uint64_t handle, uint64_t bytes)
{
    struct sim_client *c = node->state;
    c->notes->written = handle;
    c->notes->written_bytes = bytes;
    ask_write_log(sim, c);
}

void sim_client_seal_tail(struct sim *sim, struct sim_node *node, uint64_t handle)
{
    struct sim_client *c = node->state;
    c->notes->tail = handle;
    ask_seal(sim, c);
}

void sim_client_extend(struct sim *sim, struct sim_node *node, uint64_t bytes)
{
    ask_extend(sim, node->state, bytes);
}

uint64_t sim_write_acked_bytes(const struct sim_client *c, uint64_t handle)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; handle == c->notes->written && i < c->notes->acked_count; i++) {
        const struct sim_append *append = c->notes->acked[i];
        bytes = PAWL_MAX(bytes, append->offset + append->length);
    }
    return bytes;
}
