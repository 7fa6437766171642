// SPDX-License-Identifier: Apache-2.0
// The oracle: what must be true, from disks, the log and what clients heard (design: the numbered
// invariants). It never looks into a core.
//
// For every chunk it keeps the longest log that any disk ever held. As an index is given out once,
// all replicas must agree with it, record by record.
#include <string.h>

#include "base/crc32c.h"
#include "model.h"

#define ULL(x) ((unsigned long long)(x))
#define ANSWERERS_MAX 12u

struct oracle_append {
    uint64_t sequence; // 0: none
    uint64_t offset;
    uint32_t client;
    enum model_told told;
};

struct oracle_record {
    struct pawl_record record;
    uint64_t serial;
};

struct oracle_chunk {
    uint64_t handle; // 0: none
    uint64_t version;
    uint64_t base;
    uint64_t length;
    uint32_t count; // sealed
    uint32_t answered_count;
    uint32_t records_count;
    uint32_t set_count;
    uint8_t set[MODEL_SERVERS_MAX];
    bool sealed;
    bool ready;
    uint8_t answerers[ANSWERERS_MAX];      // by version: the server that acknowledged, + 1
    uint64_t inherited[MODEL_CLIENTS_MAX]; // last sequences
    uint64_t table[MODEL_CLIENTS_MAX];
    struct oracle_record records[MODEL_RECORDS_MAX];
};

struct oracle {
    struct oracle_chunk chunks[MODEL_CHUNKS_MAX];
    struct oracle_append appends[MODEL_APPENDS_MAX];
};

size_t model_oracle_bytes(void)
{
    return sizeof(struct oracle);
}

static struct oracle *oracle(void)
{
    return model_part(MODEL_PART_ORACLE);
}

static void changed(void)
{
    model_world.touched[MODEL_PART_ORACLE] = true;
}

static struct oracle_chunk *chunk_of(uint64_t handle)
{
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        if (oracle()->chunks[i].handle == handle) {
            return &oracle()->chunks[i];
        }
    }
    return NULL;
}

static uint64_t records_end(const struct oracle_chunk *chunk, uint64_t count)
{
    const struct pawl_record *last = count > 0 ? &chunk->records[count - 1].record : NULL;
    return last != NULL ? last->offset + last->length : 0;
}

// Records that are durable on every member of the logged set.
static uint32_t durable_count(const struct oracle_chunk *chunk)
{
    uint32_t count = chunk->sealed ? chunk->count : chunk->records_count;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct model_chunk *replica = model_disk_chunk(chunk->set[i], chunk->handle);
        count = PAWL_MIN(count, replica != NULL ? replica->records_count : 0);
    }
    return chunk->set_count != 0 ? count : 0;
}

// ---- appends -----------------------------------------------------------------------------------------

uint64_t model_oracle_submit(uint32_t client, uint64_t sequence)
{
    changed();
    for (uint32_t i = 0; i < MODEL_APPENDS_MAX; i++) {
        if (oracle()->appends[i].sequence == 0) {
            oracle()->appends[i] = (struct oracle_append){.sequence = sequence, .client = client};
            return i + 1;
        }
    }
    pawl_assert(false);
    return 0;
}

uint32_t model_payload_crc(uint64_t payload)
{
    return pawl_crc32c(0, &payload, sizeof(payload));
}

uint64_t model_oracle_serial(uint32_t client, uint64_t sequence)
{
    for (uint32_t i = MODEL_APPENDS_MAX; i > 0; i--) {
        const struct oracle_append *append = &oracle()->appends[i - 1];
        if (append->sequence == sequence && append->client == client) {
            return i;
        }
    }
    model_violation("client %u speaks of sequence %llu, which it never submitted", client + 1,
                    ULL(sequence));
    return 0;
}

bool model_oracle_open(uint32_t client, uint64_t *sequence, enum model_told *ret_told)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < MODEL_APPENDS_MAX; i++) {
        const struct oracle_append *append = &oracle()->appends[i];
        bool open = append->told == MODEL_TOLD_UNKNOWN || append->told == MODEL_TOLD_ABSENT;
        if (append->sequence > *sequence && append->sequence < next && append->client == client &&
            open && model_oracle_serial(client, append->sequence) == i + 1) {
            next = append->sequence;
            *ret_told = append->told;
        }
    }
    *sequence = next;
    return next != UINT64_MAX;
}

bool model_oracle_all_answered(void)
{
    for (uint32_t i = 0; i < MODEL_APPENDS_MAX; i++) {
        const struct oracle_append *append = &oracle()->appends[i];
        if (append->sequence != 0 && append->told != MODEL_TOLD_OK &&
            append->told != MODEL_TOLD_ABSENT) {
            return false;
        }
    }
    return true;
}

uint64_t model_oracle_version(void)
{
    uint64_t version = 0;
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        version = PAWL_MAX(version, oracle()->chunks[i].version);
    }
    return version;
}

// The one place of a record in the file, as far as it can't be taken away any more.
static uint32_t places(uint64_t serial, uint64_t *ret_offset)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        const struct oracle_chunk *chunk = &oracle()->chunks[i];
        uint32_t count = chunk->handle != 0 ? durable_count(chunk) : 0;
        for (uint32_t k = 0; k < count; k++) {
            if (chunk->records[k].serial == serial) {
                found++;
                *ret_offset = chunk->base + chunk->records[k].record.offset;
            }
        }
    }
    return found;
}

void model_oracle_told(uint64_t serial, enum model_told told, uint64_t offset)
{
    if (serial == 0) {
        return; // is a violation already
    }
    struct oracle_append *append = &oracle()->appends[serial - 1];
    if (append->told == MODEL_TOLD_OK || append->told == MODEL_TOLD_ABSENT) {
        model_violation("append %llu was told %d already and is told %d", ULL(serial),
                        (int)append->told, (int)told);
        return;
    }
    append->told = told;
    append->offset = offset;
    changed();
}

// ---- the log -----------------------------------------------------------------------------------------

static void chunk_set(struct oracle_chunk *chunk, const uint64_t *set, size_t count)
{
    memset(chunk->set, 0, sizeof(chunk->set));
    chunk->set_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        chunk->set[i] = (uint8_t)(set[i] - MODEL_SERVER_ID(0));
    }
}

static struct oracle_chunk *chunk_add(uint64_t handle, const uint64_t *set, size_t count)
{
    struct oracle_chunk *chunk = chunk_of(0);
    pawl_assert(chunk != NULL);
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        if (oracle()->chunks[i].handle != 0 && !oracle()->chunks[i].sealed) {
            model_violation("the file gets chunk %llu beside one that is not sealed", ULL(handle));
        }
    }
    chunk->handle = handle;
    chunk->version = 1;
    chunk_set(chunk, set, count);
    return chunk;
}

static void on_version(uint64_t handle, uint64_t version, const uint64_t *set, size_t count)
{
    struct oracle_chunk *chunk = chunk_of(handle);
    if (chunk == NULL || chunk->sealed || version <= chunk->version) {
        model_violation("chunk %llu gets version %llu", ULL(handle), ULL(version));
        return;
    }
    chunk->version = version;
    chunk_set(chunk, set, count);
}

static bool inherits(const struct oracle_chunk *chunk, const struct model_chunk *replica)
{
    uint32_t wanted = 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < MODEL_CLIENTS_MAX; i++) {
        wanted += chunk->inherited[i] != 0;
    }
    for (uint32_t i = 0; i < replica->create.producers_count; i++) {
        const struct wire_producer *row = &replica->create.producers[i];
        found += chunk->inherited[row->producer_lo - 1] == row->last_sequence;
    }
    return found == wanted && replica->create.producers_count == wanted;
}

static void on_ready(uint64_t handle)
{
    struct oracle_chunk *chunk = chunk_of(handle);
    if (chunk == NULL || chunk->ready || chunk->set_count == 0) {
        model_violation("chunk %llu is called ready twice, or has no set", ULL(handle));
        return;
    }
    chunk->ready = true;
    for (uint32_t i = 0; i < chunk->set_count; i++) {
        const struct model_chunk *replica = model_disk_chunk(chunk->set[i], handle);
        if (replica == NULL || !inherits(chunk, replica)) {
            model_violation("chunk %llu is called ready, and cs%u has not made it durable",
                            ULL(handle), chunk->set[i] + 1);
            return;
        }
    }
}

static void on_seal(const Pawl__LogChunkSeal *body)
{
    struct oracle_chunk *chunk = chunk_of(body->handle);
    if (chunk == NULL || chunk->sealed || body->count > chunk->records_count ||
        body->count < chunk->answered_count || body->length != records_end(chunk, body->count)) {
        model_violation("chunk %llu is sealed at %llu records, %llu bytes; disks held %u, clients "
                        "were told of %u",
                        ULL(body->handle), ULL(body->count), ULL(body->length),
                        chunk != NULL ? chunk->records_count : 0,
                        chunk != NULL ? chunk->answered_count : 0);
        return;
    }
    chunk->sealed = true;
    chunk->length = body->length;
    chunk->count = (uint32_t)body->count;
    chunk->version = body->version;
    chunk_set(chunk, body->set, body->n_set);
    // What was on disks beyond the seal never happened.
    memcpy(chunk->table, chunk->inherited, sizeof(chunk->table));
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct wire_record_id *id = &chunk->records[i].record.id;
        chunk->table[id->producer_lo - 1] = id->sequence;
    }
    if (body->next_handle != 0) {
        struct oracle_chunk *next = chunk_add(body->next_handle, body->next_set, body->n_next_set);
        next->base = chunk->base + chunk->length;
        memcpy(next->inherited, chunk->table, sizeof(next->inherited));
        memcpy(next->table, chunk->table, sizeof(next->table));
    }
}

void model_oracle_log(const Pawl__LogRecord *record)
{
    changed();
    switch (record->body_case) {
    case PAWL__LOG_RECORD__BODY_CHUNK_CREATE:
        (void)chunk_add(record->chunk_create->handle, record->chunk_create->set,
                        record->chunk_create->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_PLACE: {
        const struct oracle_chunk *chunk = chunk_of(record->chunk_place->handle);
        if (chunk != NULL && chunk->records_count != 0) {
            model_violation("chunk %llu is placed anew and has records", ULL(chunk->handle));
        }
        on_version(record->chunk_place->handle, record->chunk_place->version,
                   record->chunk_place->set, record->chunk_place->n_set);
        break;
    }
    case PAWL__LOG_RECORD__BODY_CHUNK_VERSION:
        on_version(record->chunk_version->handle, record->chunk_version->version,
                   record->chunk_version->set, record->chunk_version->n_set);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_READY:
        on_ready(record->chunk_ready->handle);
        break;
    case PAWL__LOG_RECORD__BODY_CHUNK_SEAL:
        on_seal(record->chunk_seal);
        break;
    default:
        break;
    }
}

// ---- disks -------------------------------------------------------------------------------------------

static void record_add(struct oracle_chunk *chunk, const struct model_record *r,
                       uint64_t chunk_bytes)
{
    const struct pawl_record *record = &r->record;
    const struct wire_record_id *id = &record->id;
    uint64_t *last = &chunk->table[(id->producer_lo - 1) % MODEL_CLIENTS_MAX];
    if (record->offset != records_end(chunk, chunk->records_count) ||
        record->offset + record->length > chunk_bytes) {
        model_violation("chunk %llu record %u leaves a hole, overlaps or does not fit",
                        ULL(chunk->handle), chunk->records_count);
        return;
    }
    if (!chunk->sealed && id->sequence != *last + 1) {
        model_violation("chunk %llu record %u: producer %llu sequence %llu is out of order or "
                        "doubled",
                        ULL(chunk->handle), chunk->records_count, ULL(id->producer_lo),
                        ULL(id->sequence));
        return;
    }
    const struct oracle_append *append = r->payload >= 1 && r->payload <= MODEL_APPENDS_MAX
                                             ? &oracle()->appends[r->payload - 1]
                                             : NULL;
    if (append == NULL || append->sequence != id->sequence ||
        append->client + 1 != id->producer_lo || record->crc != model_payload_crc(r->payload)) {
        model_violation("chunk %llu record %u holds what nobody appended", ULL(chunk->handle),
                        chunk->records_count);
        return;
    }
    changed();
    *last = chunk->sealed ? *last : id->sequence;
    pawl_assert(chunk->records_count < MODEL_RECORDS_MAX);
    chunk->records[chunk->records_count] =
        (struct oracle_record){.record = *record, .serial = r->payload};
    chunk->records[chunk->records_count++].record.version = 0; // replicas need not agree on it
}

void model_oracle_record(uint32_t server, const struct model_chunk *replica, uint32_t index)
{
    struct oracle_chunk *chunk = chunk_of(replica->handle);
    const struct model_record *r = &replica->records[index];
    if (chunk == NULL || replica->create.base_offset != chunk->base) {
        model_violation("cs%u stores a record in a chunk %llu that is not the log's", server + 1,
                        ULL(replica->handle));
        return;
    }
    if (index > chunk->records_count) {
        model_violation("cs%u chunk %llu stores record %u, nobody has the one before", server + 1,
                        ULL(chunk->handle), index);
    } else if (index == chunk->records_count) {
        record_add(chunk, r, replica->create.chunk_bytes);
    } else {
        const struct pawl_record *known = &chunk->records[index].record;
        bool equal = known->offset == r->record.offset && known->length == r->record.length &&
                     known->crc == r->record.crc && chunk->records[index].serial == r->payload &&
                     memcmp(&known->id, &r->record.id, sizeof(known->id)) == 0;
        if (!equal) {
            model_violation("cs%u chunk %llu record %u differs from another replica's", server + 1,
                            ULL(chunk->handle), index);
        }
    }
}

void model_oracle_seal(uint32_t server, const struct model_chunk *replica, uint64_t count)
{
    const struct oracle_chunk *chunk = chunk_of(replica->handle);
    if (chunk == NULL || !chunk->sealed || chunk->count != count ||
        (replica->sealed && replica->records_count != count)) {
        model_violation("cs%u seals chunk %llu at %llu records, the log does not", server + 1,
                        ULL(replica->handle), ULL(count));
    }
}

void model_oracle_drop(uint32_t server, const struct model_chunk *replica)
{
    const struct oracle_chunk *chunk = chunk_of(replica->handle);
    for (uint32_t i = 0; chunk != NULL && chunk->ready && i < chunk->set_count; i++) {
        if (chunk->set[i] == server) {
            model_violation("cs%u drops chunk %llu with %u records of a file that is there",
                            server + 1, ULL(replica->handle), replica->records_count);
        }
    }
}

// ---- answers -----------------------------------------------------------------------------------------

static void check_answerer(struct oracle_chunk *chunk, uint64_t version, uint32_t server)
{
    pawl_assert(version < ANSWERERS_MAX);
    uint8_t *known = &chunk->answerers[version];
    if (*known != 0 && *known != server + 1) {
        model_violation("chunk %llu version %llu has two primaries", ULL(chunk->handle),
                        ULL(version));
    }
    *known = (uint8_t)(server + 1);
}

void model_oracle_answer(uint32_t server, const struct wire_append *request,
                         const struct wire_appended *reply)
{
    struct oracle_chunk *chunk = chunk_of(request->chunk);
    uint32_t index = 0;
    for (; chunk != NULL && index < chunk->records_count; index++) {
        const struct pawl_record *record = &chunk->records[index].record;
        if (chunk->base + record->offset == reply->file_offset && record->crc == request->crc &&
            record->length == request->length &&
            record->id.producer_lo == request->id.producer_lo &&
            record->id.sequence == request->id.sequence) {
            break;
        }
    }
    if (chunk == NULL || index == chunk->records_count) {
        model_violation("cs%u acknowledges sequence %llu in chunk %llu at %llu: no such record",
                        server + 1, ULL(request->id.sequence), ULL(request->chunk),
                        ULL(reply->file_offset));
        return;
    }
    if (index >= durable_count(chunk)) {
        model_violation("cs%u acknowledges sequence %llu, chunk %llu record %u, which is not "
                        "durable on all of its set",
                        server + 1, ULL(request->id.sequence), ULL(chunk->handle), index);
        return;
    }
    changed();
    chunk->answered_count = PAWL_MAX(chunk->answered_count, index + 1);
    if (reply->duplicate == 0) {
        check_answerer(chunk, request->version, server);
    }
}

void model_oracle_read(uint32_t server, uint64_t handle, uint64_t committed_bytes, bool sealed)
{
    const struct oracle_chunk *chunk = chunk_of(handle);
    uint64_t committed = chunk != NULL ? records_end(chunk, durable_count(chunk)) : 0;
    if (committed_bytes > committed || (sealed && committed_bytes != committed)) {
        model_violation("cs%u chunk %llu would be read up to %llu; committed are %llu", server + 1,
                        ULL(handle), ULL(committed_bytes), ULL(committed));
    }
}

// ---- every state ---------------------------------------------------------------------------------------

void model_oracle_check(void)
{
    for (uint32_t i = 0; i < MODEL_CHUNKS_MAX; i++) {
        const struct oracle_chunk *chunk = &oracle()->chunks[i];
        uint32_t promised = chunk->sealed ? chunk->count : chunk->answered_count;
        if (chunk->handle != 0 && durable_count(chunk) < promised) {
            model_violation("chunk %llu: not all of its set hold its %u records",
                            ULL(chunk->handle), promised);
        }
    }
    for (uint32_t i = 0; i < MODEL_APPENDS_MAX; i++) {
        const struct oracle_append *append = &oracle()->appends[i];
        uint64_t offset = 0;
        uint32_t found = append->sequence != 0 ? places(i + 1, &offset) : 0;
        if (found > 1) {
            model_violation("append %u is in the file twice", i + 1);
        } else if (append->told == MODEL_TOLD_ABSENT && found != 0) {
            model_violation("append %u was called absent and is in the file", i + 1);
        } else if (append->told == MODEL_TOLD_OK && found == 0) {
            model_violation("append %u was acknowledged and is not in the file", i + 1);
        } else if (append->told == MODEL_TOLD_OK && offset != append->offset) {
            model_violation("append %u was told offset %llu and is at %llu", i + 1,
                            ULL(append->offset), ULL(offset));
        }
    }
}
