// SPDX-License-Identifier: Apache-2.0
// The oracle: an independent model of what must be true, from disks, the log and what clients heard.
//
// For every chunk it keeps the longest log that any disk ever held. As an index is given out once, all
// replicas must agree with it, record by record; what is committed, acknowledged or sealed is then a
// matter of counting.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "sim_oracle_private.h"
#include "sim_write.h"

#define ULL(x) ((unsigned long long)(x))

struct sim_oracle *sim_oracle_new(struct sim *sim)
{
    struct sim_oracle *oracle = sim_alloc(sizeof(*oracle));
    pawl_random_seed(&oracle->random, sim->seed ^ 0x5eed);
    oracle->sessions = sim_sessions_new();
    oracle->held = oracle_held_new();
    return oracle;
}

void sim_oracle_free(struct sim_oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->chunks_count; i++) {
        struct oracle_chunk *chunk = oracle->chunks[i];
        free(chunk->records);
        free(chunk->inherited.rows);
        free(chunk->table.rows);
        free(chunk->answerers);
        free(chunk);
    }
    for (uint64_t i = 0; i < oracle->appends_count; i++) {
        free(oracle->appends[i]->payload);
        free(oracle->appends[i]);
    }
    sim_sessions_free(oracle->sessions);
    oracle_held_free(oracle->held);
    free(oracle->files);
    free(oracle->chunks);
    free(oracle->appends);
    free(oracle);
}

uint64_t sim_oracle_acknowledged(const struct sim_oracle *oracle)
{
    return oracle->acknowledged_count;
}

uint64_t sim_oracle_dropped(const struct sim_oracle *oracle)
{
    return oracle->dropped_count;
}

uint64_t sim_oracle_seals(const struct sim_oracle *oracle)
{
    return oracle->seals_count;
}

struct oracle_chunk *chunk_of(const struct sim_oracle *oracle, uint64_t handle)
{
    for (uint32_t i = oracle->chunks_count; i > 0; i--) {
        if (oracle->chunks[i - 1]->handle == handle) {
            return oracle->chunks[i - 1];
        }
    }
    return NULL;
}

// Of a file that was deleted nothing is promised any more.
bool is_removed(const struct sim_oracle *oracle, uint64_t file_id)
{
    for (uint32_t i = 0; i < oracle->files_count; i++) {
        if (oracle->files[i].file_id == file_id) {
            return oracle->files[i].removed;
        }
    }
    return false;
}

uint64_t records_end(const struct oracle_chunk *chunk, uint64_t count)
{
    const struct pawl_record *last = count > 0 ? &chunk->records[count - 1].record : NULL;
    return last != NULL ? last->offset + last->length : 0;
}

// Index of the record with payload that begins at `offset` of the chunk; records_count if there is
// none.
static uint64_t record_at(const struct oracle_chunk *chunk, uint64_t offset)
{
    uint64_t low = 0;
    uint64_t high = chunk->records_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct pawl_record *r = &chunk->records[middle].record;
        if (r->offset + r->length <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool begins = low < chunk->records_count && chunk->records[low].record.offset == offset;
    return begins ? low : chunk->records_count;
}

// Records that are durable on every member of the logged set: the committed ones, at least.
static uint64_t durable_count(struct sim *sim, const struct oracle_chunk *chunk)
{
    uint64_t count = chunk->sealed ? chunk->count : chunk->records_count;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct sim_node *node = sim_server_node(sim, chunk->set[i]);
        const struct sim_chunk *replica =
            node != NULL ? sim_disk_chunk(sim->disks[node->index], chunk->handle) : NULL;
        uint64_t held = replica != NULL ? replica->records_count : 0;
        uint64_t lost = 0; // by its disk, not by the protocol
        if (node != NULL) {
            (void)sim_disk_lost(sim->disks[node->index], chunk->handle, &lost);
        }
        count = PAWL_MIN(count, PAWL_MAX(held, lost));
    }
    return chunk->set_count != 0 ? count : 0;
}

// Of a sealed chunk all that the log says; its replicas move, and healing is watched in sim_heal.c.
uint64_t committed_count(struct sim *sim, const struct oracle_chunk *chunk)
{
    return chunk->sealed ? chunk->count : durable_count(sim, chunk);
}

// ---- producers: order and gaps (invariant 9) -------------------------------------------------------------

static struct sim_producer *table_row(struct oracle_table *table, const struct wire_record_id *id)
{
    for (uint32_t i = 0; i < table->count; i++) {
        if (table->rows[i].hi == id->producer_hi && table->rows[i].lo == id->producer_lo) {
            return &table->rows[i];
        }
    }
    table->rows = realloc(table->rows, (table->count + 1) * sizeof(table->rows[0]));
    pawl_assert(table->rows != NULL);
    table->rows[table->count] = (struct sim_producer){.hi = id->producer_hi, .lo = id->producer_lo};
    return &table->rows[table->count++];
}

static bool table_take(struct oracle_table *table, const struct wire_record_id *id)
{
    struct sim_producer *row = table_row(table, id);
    bool epoch_record = (id->flags & WIRE_RECORD_EPOCH) != 0;
    bool right = epoch_record ? id->epoch > row->epoch && id->sequence == row->last_sequence
                              : id->epoch == row->epoch && id->sequence == row->last_sequence + 1;
    row->epoch = id->epoch;
    row->last_sequence = id->sequence;
    return right;
}

static void table_copy(struct oracle_table *to, const struct oracle_table *from)
{
    free(to->rows);
    to->rows = sim_copy(from->rows, from->count * sizeof(from->rows[0]));
    to->count = from->count;
}

// ---- appends as their applications know them ---------------------------------------------------------------

struct sim_append *sim_oracle_submit(struct sim *sim, uint64_t file_id,
                                     const struct wire_record_id *id, uint32_t length)
{
    struct sim_oracle *oracle = sim->oracle;
    if (oracle->appends_count == oracle->appends_capacity) {
        oracle->appends_capacity =
            oracle->appends_capacity != 0 ? 2 * oracle->appends_capacity : 64;
        oracle->appends =
            realloc(oracle->appends, oracle->appends_capacity * sizeof(oracle->appends[0]));
        pawl_assert(oracle->appends != NULL);
    }
    struct sim_append *append = sim_alloc(sizeof(*append));
    pawl_assert(length >= sizeof(append->serial));
    oracle->appends[oracle->appends_count++] = append;
    append->serial = oracle->appends_count;
    append->file_id = file_id;
    append->id = *id;
    append->length = length;
    append->payload = sim_alloc(length);
    for (uint32_t i = 0; i < length; i += 8) {
        uint64_t word = pawl_random_next(&oracle->random);
        memcpy(append->payload + i, &word, PAWL_MIN(8u, length - i));
    }
    memcpy(append->payload, &append->serial, sizeof(append->serial));
    append->crc = pawl_crc32c(0, append->payload, length);
    return append;
}

static struct sim_append *append_of(const struct sim_oracle *oracle, const uint8_t *payload,
                                    uint32_t length)
{
    uint64_t serial = 0;
    if (length < sizeof(serial)) {
        return NULL;
    }
    memcpy(&serial, payload, sizeof(serial));
    return serial >= 1 && serial <= oracle->appends_count ? oracle->appends[serial - 1] : NULL;
}

static void told_ok(struct sim *sim, struct sim_append *append, uint64_t offset)
{
    struct sim_oracle *oracle = sim->oracle;
    if (append->told == SIM_TOLD_OK && append->offset != offset) {
        sim_violation(sim, "append %llu was told offset %llu and now %llu", ULL(append->serial),
                      ULL(append->offset), ULL(offset));
        return;
    }
    for (uint32_t i = 0; i < oracle->chunks_count; i++) {
        const struct oracle_chunk *chunk = oracle->chunks[i];
        uint64_t count = chunk->sealed ? chunk->count : chunk->records_count;
        if (chunk->file_id != append->file_id || offset < chunk->base) {
            continue;
        }
        uint64_t index = record_at(chunk, offset - chunk->base);
        if (index < count && chunk->records[index].append == append) {
            oracle->acknowledged_count += append->told == SIM_TOLD_OK ? 0 : 1;
            sim_writes_acked(sim, append);
            append->told = SIM_TOLD_OK;
            append->offset = offset;
            return;
        }
    }
    sim_violation(sim,
                  "append %llu (sequence %llu) is not at the offset %llu that its client heard",
                  ULL(append->serial), ULL(append->id.sequence), ULL(offset));
}

void sim_oracle_told(struct sim *sim, struct sim_append *append, enum sim_told told,
                     uint64_t offset)
{
    if (told == SIM_TOLD_GONE && !is_removed(sim->oracle, append->file_id)) {
        sim_violation(sim, "append %llu hears that its file is deleted, and it is not",
                      ULL(append->serial));
    } else if (is_removed(sim->oracle, append->file_id)) {
        append->told = told;
    } else if (append->told == SIM_TOLD_ABSENT) {
        sim_violation(sim, "append %llu was called absent and is told %d", ULL(append->serial),
                      (int)told);
    } else if (told == SIM_TOLD_OK) {
        told_ok(sim, append, offset);
    } else if (told == SIM_TOLD_HELD) {
        told_held(sim, append, offset);
    } else if (told == SIM_TOLD_LOST) {
        told_lost(sim, append);
    } else if (append->told != SIM_TOLD_OK && append->told != SIM_TOLD_HELD) {
        append->told = told;
    } else if (told == SIM_TOLD_ABSENT) {
        sim_violation(sim, "append %llu was acknowledged and is called absent",
                      ULL(append->serial));
    }
}

void sim_oracle_epoch(struct sim *sim, uint64_t file_id, const struct wire_record_id *id,
                      uint64_t last_sequence)
{
    const struct sim_oracle *oracle = sim->oracle;
    if (is_removed(oracle, file_id)) {
        return;
    }
    for (uint32_t i = oracle->chunks_count; i > 0; i--) {
        const struct oracle_chunk *chunk = oracle->chunks[i - 1];
        uint64_t count = chunk->sealed ? chunk->count : chunk->records_count;
        for (uint64_t r = count; chunk->file_id == file_id && r > 0; r--) {
            const struct wire_record_id *there = &chunk->records[r - 1].record.id;
            if (there->producer_hi == id->producer_hi && there->producer_lo == id->producer_lo &&
                there->epoch == id->epoch && (there->flags & WIRE_RECORD_EPOCH) != 0) {
                if (there->sequence != last_sequence) {
                    sim_violation(sim, "epoch %u was told last sequence %llu, and it is %llu",
                                  id->epoch, ULL(last_sequence), ULL(there->sequence));
                }
                return;
            }
        }
    }
    sim_violation(sim, "epoch %u was opened and has no record", id->epoch);
}

// ---- the log ---------------------------------------------------------------------------------------------

static struct oracle_chunk *chunk_add(struct sim_oracle *oracle, uint64_t handle, uint64_t file_id)
{
    struct oracle_chunk *chunk = sim_alloc(sizeof(*chunk));
    oracle->chunks =
        realloc(oracle->chunks, (oracle->chunks_count + 1) * sizeof(oracle->chunks[0]));
    pawl_assert(oracle->chunks != NULL);
    oracle->chunks[oracle->chunks_count++] = chunk;
    chunk->handle = handle;
    chunk->file_id = file_id;
    return chunk;
}

static void chunk_set(struct oracle_chunk *chunk, const uint64_t *set, size_t count)
{
    pawl_assert(count <= PAWL_ARRAY_COUNT(chunk->set));
    chunk->set_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        chunk->set[i] = set[i];
    }
}

static void on_chunk_create(struct sim *sim, const Pawl__LogChunkCreate *body)
{
    struct sim_oracle *oracle = sim->oracle;
    for (uint32_t i = 0; i < oracle->chunks_count; i++) {
        const struct oracle_chunk *chunk = oracle->chunks[i];
        if (chunk->file_id == body->file_id || chunk->handle == body->handle) {
            sim_violation(sim, "file %llu gets a second %s chunk", ULL(body->file_id),
                          chunk->sealed ? "first" : "unsealed");
            return;
        }
    }
    chunk_set(chunk_add(oracle, body->handle, body->file_id), body->set, body->n_set);
}

static void on_chunk_version(struct sim *sim, uint64_t handle, uint64_t version,
                             const uint64_t *set, size_t set_count)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    if (chunk == NULL || chunk->sealed || version <= chunk->version) {
        sim_violation(sim, "chunk %llu gets version %llu after %llu", ULL(handle), ULL(version),
                      chunk != NULL ? ULL(chunk->version) : 0);
        return;
    }
    chunk->version = version;
    chunk_set(chunk, set, set_count);
}

static const struct oracle_chunk *chunk_before(const struct sim_oracle *oracle,
                                               const struct oracle_chunk *chunk)
{
    for (uint32_t i = oracle->chunks_count; i > 0; i--) {
        const struct oracle_chunk *other = oracle->chunks[i - 1];
        if (other->file_id == chunk->file_id && other->index + 1 == chunk->index) {
            return other;
        }
    }
    return NULL;
}

static bool inherits(struct sim *sim, struct oracle_chunk *chunk, const struct sim_chunk *replica,
                     uint64_t *dropped_count)
{
    const struct oracle_chunk *before = chunk_before(sim->oracle, chunk);
    struct sim_legacy legacy = {.sessions = sim->oracle->sessions,
                                .before = before != NULL ? &before->allowed : NULL,
                                .rows = chunk->inherited.rows,
                                .rows_count = chunk->inherited.count};
    return sim_sessions_inherits(sim, &legacy, replica, &chunk->allowed, dropped_count);
}

// From here on the chunk may hold records: all of its set must have been told what came before.
static void on_chunk_ready(struct sim *sim, uint64_t handle)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, handle);
    if (chunk == NULL || chunk->ready || chunk->set_count == 0) {
        sim_violation(sim, "chunk %llu is called ready twice, or has no set", ULL(handle));
        return;
    }
    uint64_t dropped_count = 0;
    chunk->ready = true;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct sim_node *node = sim_server_node(sim, chunk->set[i]);
        const struct sim_chunk *replica = sim_disk_chunk(sim->disks[node->index], handle);
        struct sim_allowed first = chunk->allowed;
        uint64_t lost = 0;
        if (replica == NULL && sim_disk_lost(sim->disks[node->index], handle, &lost)) {
            continue;
        }
        bool sound = replica != NULL && inherits(sim, chunk, replica, &dropped_count);
        if (sound && i > 0 && memcmp(&first, &chunk->allowed, sizeof(first)) != 0) {
            sim_violation(sim, "chunk %llu: %s takes other sessions than the first replica",
                          ULL(handle), node->name);
        }
        if (!sound) {
            sim_violation(sim, "chunk %llu is called ready, and %s has not made it durable",
                          ULL(handle), node->name);
            return;
        }
    }
    sim->oracle->dropped_count += dropped_count;
}

static void on_chunk_seal(struct sim *sim, const Pawl__LogChunkSeal *body)
{
    struct sim_oracle *oracle = sim->oracle;
    struct oracle_chunk *chunk = chunk_of(oracle, body->handle);
    if (chunk == NULL || chunk->sealed) {
        sim_violation(sim, "chunk %llu is sealed twice, or unknown", ULL(body->handle));
        return;
    }
    if (body->count < chunk->answered_count && chunk->beyond) {
        sim_note(sim, "chunk %llu has lost records with the disks of its servers",
                 ULL(body->handle));
        sim->beyond = true;
        return;
    }
    uint64_t zero_bytes = sim_writes_zeros(sim, body->handle);
    if (body->count > chunk->records_count || body->count < chunk->answered_count ||
        body->length != (zero_bytes != 0 ? zero_bytes : records_end(chunk, body->count))) {
        sim_violation(sim,
                      "chunk %llu is sealed at %llu records, %llu bytes; disks held %llu, "
                      "clients were told of %llu",
                      ULL(body->handle), ULL(body->count), ULL(body->length),
                      ULL(chunk->records_count), ULL(chunk->answered_count));
        return;
    }
    check_least(sim, chunk, body);
    chunk->sealed = true;
    chunk->length = body->length;
    chunk->count = body->count;
    chunk->version = body->version;
    chunk_set(chunk, body->set, body->n_set);
    oracle->seals_count++;
    check_held_sealed(sim, chunk);
    if (durable_count(sim, chunk) < body->count) {
        sim_violation(sim, "chunk %llu is sealed and a member of its set lacks records",
                      ULL(body->handle));
    }
    // What was on disks beyond the seal never happened.
    table_copy(&chunk->table, &chunk->inherited);
    for (uint64_t i = 0; i < chunk->count; i++) {
        (void)table_take(&chunk->table, &chunk->records[i].record.id);
    }
    if (body->next_handle != 0) {
        struct oracle_chunk *next = chunk_add(oracle, body->next_handle, chunk->file_id);
        next->base = chunk->base + chunk->length;
        next->index = chunk->index + 1;
        chunk_set(next, body->next_set, body->n_next_set);
        table_copy(&next->inherited, &chunk->table);
        table_copy(&next->table, &chunk->table);
    }
}

static void on_create(struct sim *sim, const Pawl__LogCreate *body)
{
    struct sim_oracle *oracle = sim->oracle;
    oracle->files = realloc(oracle->files, (oracle->files_count + 1) * sizeof(oracle->files[0]));
    pawl_assert(oracle->files != NULL);
    struct oracle_file *file = &oracle->files[oracle->files_count++];
    *file = (struct oracle_file){.file_id = body->file_id};
    snprintf(file->path, sizeof(file->path), "%s", body->path);
}

// A write log goes with its file: it gets the same path.
static void on_write_log(struct sim *sim, const Pawl__LogWriteLog *body)
{
    const struct sim_oracle *oracle = sim->oracle;
    const struct oracle_chunk *chunk = chunk_of(oracle, body->handle);
    Pawl__LogCreate create = {.file_id = body->file_id, .path = (char[32]){""}};
    for (uint32_t i = 0; chunk != NULL && i < oracle->files_count; i++) {
        if (oracle->files[i].file_id == chunk->file_id) {
            memcpy(create.path, oracle->files[i].path, sizeof(oracle->files[i].path));
        }
    }
    on_create(sim, &create);
}

static void on_remove(struct sim *sim, const char *path)
{
    struct sim_oracle *oracle = sim->oracle;
    for (uint32_t i = 0; i < oracle->files_count; i++) {
        if (strcmp(oracle->files[i].path, path) == 0) {
            oracle->files[i].removed = true;
        }
    }
}

void sim_oracle_log(struct sim *sim, const Pawl__LogRecord *record)
{
    sim_writes_log(sim, record);
    sim_sessions_call(sim, sim->oracle->sessions, record->call);
    switch (record->body_case) {
    case PAWL__LOG_RECORD__BODY_SESSIONS:
    case PAWL__LOG_RECORD__BODY_SESSIONS_END:
        sim_sessions_log(sim, sim->oracle->sessions, record);
        break;
    case PAWL__LOG_RECORD__BODY_WRITE_LOG:
        on_write_log(sim, record->write_log);
        break;
    case PAWL__LOG_RECORD__BODY_CREATE:
        on_create(sim, record->create);
        break;
    case PAWL__LOG_RECORD__BODY_REMOVE:
        on_remove(sim, record->remove->path);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_CREATE:
        on_chunk_create(sim, record->chunk_create);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_PLACE: {
        const struct oracle_chunk *chunk = chunk_of(sim->oracle, record->chunk_place->handle);
        if (chunk != NULL && chunk->records_count != 0) {
            sim_violation(sim, "chunk %llu is placed anew and has records", ULL(chunk->handle));
        }
        on_chunk_version(sim, record->chunk_place->handle, record->chunk_place->version,
                         record->chunk_place->set, record->chunk_place->n_set);
        break;
    }
    case PAWL__LOG_RECORD__BODY_CHUNK_VERSION:
        on_chunk_version(sim, record->chunk_version->handle, record->chunk_version->version,
                         record->chunk_version->set, record->chunk_version->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_READY:
        on_chunk_ready(sim, record->chunk_ready->handle);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_SEAL:
        on_chunk_seal(sim, record->chunk_seal);
        break;
    default:
        break;
    }
}

// ---- disks -------------------------------------------------------------------------------------------------

static void record_add(struct sim *sim, struct oracle_chunk *chunk, const struct sim_record *r,
                       uint64_t chunk_bytes)
{
    struct sim_append *append = NULL;
    const struct pawl_record *record = &r->record;
    if (record->offset != records_end(chunk, chunk->records_count) ||
        record->offset + record->length > chunk_bytes) {
        sim_violation(sim, "chunk %llu record %llu leaves a hole, overlaps or does not fit",
                      ULL(chunk->handle), ULL(chunk->records_count));
        return;
    }
    if (!chunk->sealed && !table_take(&chunk->table, &record->id)) {
        sim_violation(sim,
                      "chunk %llu record %llu: producer %llu epoch %u sequence %llu is out of "
                      "order or doubled",
                      ULL(chunk->handle), ULL(chunk->records_count), ULL(record->id.producer_lo),
                      record->id.epoch, ULL(record->id.sequence));
        return;
    }
    if ((record->id.flags & WIRE_RECORD_EPOCH) == 0) {
        append = append_of(sim->oracle, r->payload, record->length);
        if (append == NULL || append->length != record->length || append->crc != record->crc ||
            append->file_id != chunk->file_id || append->id.sequence != record->id.sequence ||
            append->id.producer_lo != record->id.producer_lo ||
            append->id.flags != record->id.flags ||
            memcmp(append->payload, r->payload, record->length) != 0) {
            sim_violation(sim, "chunk %llu record %llu holds what nobody appended",
                          ULL(chunk->handle), ULL(chunk->records_count));
            return;
        }
    }
    if (chunk->records_count == chunk->records_capacity) {
        chunk->records_capacity = chunk->records_capacity != 0 ? 2 * chunk->records_capacity : 32;
        chunk->records =
            realloc(chunk->records, chunk->records_capacity * sizeof(chunk->records[0]));
        pawl_assert(chunk->records != NULL);
    }
    chunk->records[chunk->records_count++] =
        (struct oracle_record){.record = *record, .append = append};
}

static bool record_equals(const struct oracle_record *known, const struct sim_record *r)
{
    const struct sim_append *append = known->append;
    return known->record.offset == r->record.offset && known->record.length == r->record.length &&
           known->record.crc == r->record.crc &&
           memcmp(&known->record.id, &r->record.id, sizeof(r->record.id)) == 0 &&
           (append == NULL || memcmp(append->payload, r->payload, append->length) == 0);
}

void sim_oracle_record(struct sim *sim, uint32_t server, const struct sim_chunk *replica,
                       uint64_t index)
{
    struct oracle_chunk *chunk = chunk_of(sim->oracle, replica->handle);
    const struct sim_record *r = &replica->records[index];
    if (chunk == NULL || replica->base_offset != chunk->base ||
        replica->file_id != chunk->file_id) {
        sim_violation(sim, "cs%u stores a record in a chunk %llu that is not the log's", server + 1,
                      ULL(replica->handle));
        return;
    }
    if (index > chunk->records_count) {
        sim_violation(sim, "cs%u chunk %llu stores record %llu, nobody has the one before",
                      server + 1, ULL(chunk->handle), ULL(index));
    } else if (index == chunk->records_count) {
        check_held_replaced(sim, chunk, index, &r->record);
        record_add(sim, chunk, r, replica->chunk_bytes);
        sim_writes_record(sim, replica, index);
    } else {
        if (!record_equals(&chunk->records[index], r)) {
            sim_violation(sim, "cs%u chunk %llu record %llu differs from another replica's",
                          server + 1, ULL(chunk->handle), ULL(index));
        }
    }
    sim_oracle_held_durable(sim, replica->handle);
}

void sim_oracle_seal(struct sim *sim, uint32_t server, const struct sim_chunk *replica,
                     uint64_t count)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, replica->handle);
    if (chunk == NULL || !chunk->sealed || chunk->count != count ||
        (replica->sealed && replica->records_count != count)) {
        sim_violation(sim, "cs%u seals chunk %llu at %llu records, the log does not", server + 1,
                      ULL(replica->handle), ULL(count));
    }
}

// ---- for sim_heal.c ----------------------------------------------------------------------------------------

bool sim_oracle_inherits(struct sim *sim, const struct sim_chunk *replica)
{
    uint64_t dropped_count = 0;
    return inherits(sim, chunk_of(sim->oracle, replica->handle), replica, &dropped_count);
}

bool sim_oracle_equals(const struct sim_oracle *oracle, const struct sim_chunk *replica,
                       uint64_t index)
{
    return record_equals(&chunk_of(oracle, replica->handle)->records[index],
                         &replica->records[index]);
}

// ---- answers ----------------------------------------------------------------------------------------------

static void check_answerer(struct sim *sim, struct oracle_chunk *chunk, uint64_t version,
                           uint32_t server)
{
    for (uint32_t i = 0; i < chunk->answerers_count; i++) {
        if (chunk->answerers[i].version == version) {
            if (chunk->answerers[i].server != server) {
                sim_violation(sim, "chunk %llu version %llu has two primaries", ULL(chunk->handle),
                              ULL(version));
            }
            return;
        }
    }
    chunk->answerers =
        realloc(chunk->answerers, (chunk->answerers_count + 1) * sizeof(chunk->answerers[0]));
    pawl_assert(chunk->answerers != NULL);
    chunk->answerers[chunk->answerers_count++] =
        (struct oracle_answerer){.version = version, .server = server};
}

// Which record does an answer speak of? records_count if none fits.
static uint64_t answered_index(const struct oracle_chunk *chunk, const struct wire_append *request,
                               const struct wire_appended *reply)
{
    if ((request->id.flags & WIRE_RECORD_EPOCH) == 0) {
        uint64_t index = reply->file_offset >= chunk->base
                             ? record_at(chunk, reply->file_offset - chunk->base)
                             : chunk->records_count;
        // Epoch records have no length: several may begin where this one does.
        const struct pawl_record *r =
            index < chunk->records_count ? &chunk->records[index].record : NULL;
        bool fits = r != NULL && r->crc == request->crc && r->length == request->length &&
                    r->id.producer_lo == request->id.producer_lo &&
                    r->id.sequence == request->id.sequence;
        return fits ? index : chunk->records_count;
    }
    for (uint64_t i = chunk->records_count; i > 0; i--) {
        const struct wire_record_id *id = &chunk->records[i - 1].record.id;
        if ((id->flags & WIRE_RECORD_EPOCH) != 0 && id->producer_lo == request->id.producer_lo &&
            id->epoch == request->id.epoch) {
            return i - 1;
        }
    }
    return chunk->records_count;
}

void sim_oracle_answer(struct sim *sim, uint32_t server, const struct wire_append *request,
                       const struct wire_appended *reply)
{
    if ((reply->flags & WIRE_APPENDED_REPLICATED) != 0) {
        sim_oracle_answer_held(sim, server, request, reply);
        return;
    }
    struct oracle_chunk *chunk = chunk_of(sim->oracle, request->chunk);
    bool epoch = (request->id.flags & WIRE_RECORD_EPOCH) != 0;
    uint64_t index = chunk != NULL ? answered_index(chunk, request, reply) : 0;
    if (chunk != NULL && is_removed(sim->oracle, chunk->file_id)) {
        return;
    }
    if (chunk != NULL && epoch && index == chunk->records_count && reply->duplicate != 0) {
        return; // lies in an earlier chunk
    }
    if (chunk == NULL || index == chunk->records_count) {
        sim_violation(sim, "cs%u acknowledges sequence %llu in chunk %llu at %llu: no such record",
                      server + 1, ULL(request->id.sequence), ULL(request->chunk),
                      ULL(reply->file_offset));
        return;
    }
    if (index >= committed_count(sim, chunk)) {
        sim_violation(sim,
                      "cs%u acknowledges sequence %llu, chunk %llu record %llu, which is not "
                      "durable on all of its set",
                      server + 1, ULL(request->id.sequence), ULL(chunk->handle), ULL(index));
        return;
    }
    chunk->answered_count = PAWL_MAX(chunk->answered_count, index + 1);
    if (reply->duplicate == 0) {
        check_answerer(sim, chunk, request->version, server);
    }
}

void sim_oracle_read(struct sim *sim, uint32_t server, const struct wire_read *request,
                     const struct wire_read_done *reply, const uint8_t *data)
{
    const struct oracle_chunk *chunk = chunk_of(sim->oracle, request->chunk);
    if (chunk == NULL || is_removed(sim->oracle, chunk->file_id)) {
        return; // was never logged: it has no bytes, the disk would have complained
    }
    uint64_t zero_bytes = sim_writes_zeros(sim, chunk->handle);
    uint64_t committed =
        zero_bytes != 0 ? zero_bytes : records_end(chunk, committed_count(sim, chunk));
    if (reply->committed_bytes > committed ||
        (reply->sealed && reply->committed_bytes != committed) ||
        request->offset + reply->length > committed) {
        sim_violation(sim, "cs%u chunk %llu reads up to %llu, says %llu, committed are %llu",
                      server + 1, ULL(chunk->handle), ULL(request->offset + reply->length),
                      ULL(reply->committed_bytes), ULL(committed));
        return;
    }
    uint8_t *expected = sim_alloc(reply->length);
    for (uint64_t i = 0; i < chunk->records_count; i++) {
        const struct oracle_record *r = &chunk->records[i];
        uint64_t from = PAWL_MAX(request->offset, r->record.offset);
        uint64_t to =
            PAWL_MIN(request->offset + reply->length, r->record.offset + r->record.length);
        if (from < to) {
            memcpy(expected + (from - request->offset),
                   r->append->payload + (from - r->record.offset), to - from);
        }
    }
    sim_writes_read(sim, server, request, reply, expected);
    if (memcmp(data, expected, reply->length) != 0) {
        sim_violation(sim, "cs%u chunk %llu returns wrong bytes at %llu", server + 1,
                      ULL(chunk->handle), ULL(request->offset));
    }
    free(expected);
}

// ---- the end: everything once more ---------------------------------------------------------------------------

static void end_chunk(struct sim *sim, const struct oracle_chunk *chunk, uint8_t *seen)
{
    uint64_t count = chunk->sealed ? chunk->count : chunk->records_count;
    for (uint64_t i = 0; i < count && !sim->violated; i++) {
        const struct sim_append *append = chunk->records[i].append;
        uint64_t offset = chunk->base + chunk->records[i].record.offset;
        if (append == NULL) {
            continue;
        }
        if (seen[append->serial - 1]++ != 0) {
            sim_violation(sim, "append %llu is in the file twice", ULL(append->serial));
        } else if (append->told == SIM_TOLD_ABSENT) {
            sim_violation(sim, "append %llu was called absent and is in the file",
                          ULL(append->serial));
        } else if (append->told == SIM_TOLD_OK && append->offset != offset) {
            sim_violation(sim, "append %llu was told offset %llu and is at %llu",
                          ULL(append->serial), ULL(append->offset), ULL(offset));
        }
    }
    if (committed_count(sim, chunk) < chunk->answered_count) {
        sim_violation(sim, "chunk %llu: not all of its set hold its %llu records at the end",
                      ULL(chunk->handle), ULL(chunk->answered_count));
    }
}

void sim_oracle_end(struct sim *sim)
{
    const struct sim_oracle *oracle = sim->oracle;
    uint8_t *seen = sim_alloc(oracle->appends_count + 1);
    for (uint32_t i = 0; i < oracle->chunks_count && !sim->violated; i++) {
        const struct oracle_chunk *chunk = oracle->chunks[i];
        if (is_removed(oracle, chunk->file_id)) {
            continue;
        }
        end_chunk(sim, chunk, seen);
        for (uint32_t k = 0; k < i; k++) {
            if (oracle->chunks[k]->file_id == chunk->file_id && !oracle->chunks[k]->sealed) {
                sim_violation(sim, "file %llu has two unsealed chunks", ULL(chunk->file_id));
            }
        }
    }
    for (uint64_t i = 0; i < oracle->appends_count && !sim->violated; i++) {
        bool removed = is_removed(oracle, oracle->appends[i]->file_id);
        if (!removed && oracle->appends[i]->told == SIM_TOLD_OK && seen[i] == 0) {
            sim_violation(sim, "append %llu was acknowledged and is not in the file", ULL(i + 1));
        }
        if (!removed) {
            check_held_end(sim, oracle->appends[i], seen[i]);
        }
    }
    free(seen);
}
