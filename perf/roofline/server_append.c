// SPDX-License-Identifier: Apache-2.0
// The null store's records: the primary gives out indices, everybody stores and passes on, answers come back in
// the order of indices once a record is durable here and at all next hops.
//
// Small records come as runs. What Pawl does once for a run is done once here: checks, a place in the ring, copying it
// on, its entry of the journal, the answer.
//
// A large payload has landed in a slot of this server's window when a message names it; it is written on
// from there. A slice that is not the last one is passed on at once, with a message of its own.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "perf/roofline/server.h"

int server_append_open(struct server *server)
{
    const struct shape *shape = &server->shape;
    uint64_t count = 1;

    while (count < 2 * (uint64_t)shape->outstanding) {
        count *= 2;
    }
    server->records_mask = count - 1;
    server->records = calloc(count, sizeof(*server->records));
    if (server->records == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < count; i++) {
        server->records[i].index = UINT64_MAX;
    }
    for (uint32_t i = 0; i < shape->clients && server->config->index == 0; i++) {
        server->clients[i].slice_indices = calloc(shape->depth, sizeof(uint64_t));
        if (server->clients[i].slice_indices == NULL) {
            return -ENOMEM;
        }
    }
    return 0;
}

void server_append_close(struct server *server)
{
    for (uint32_t i = 0; i < ROOFLINE_CLIENTS_MAX; i++) {
        free(server->clients[i].slice_indices);
    }
    free(server->records);
}

// ---- passing on -------------------------------------------------------------------------------

static int prepare_flush(struct server *server)
{
    struct outbox_message *message = server->prepare;

    if (message == NULL || message->count == 0) {
        return 0;
    }
    server->prepare = NULL;
    server->stats.prepares_count++;
    server->stats.entries_count += message->records;
    return outbox_send(message, FRAME_PREPARE, server->hops, server->hops_count);
}

// `behind`: what follows the entry of small records. A run is never divided, so it may have to wait for the next message.
static int prepare_add(struct server *server, const struct prepare_entry *entry, const void *behind)
{
    uint32_t most = shape_message_records(&server->shape, server->point.batch);
    bool is_full = server->prepare != NULL && server->prepare->records + entry->count > most;
    int rc = is_full ? prepare_flush(server) : 0;

    if (rc != 0) {
        return rc;
    }
    if (server->prepare == NULL) {
        server->prepare = outbox_take(&server->prepares);
        if (server->prepare == NULL) {
            return server_fail(server, -EBUSY, "too many PREPAREs on their way");
        }
    }
    uint32_t bytes = shape_run_bytes(&server->shape, entry->count);
    void *at = outbox_entry(server->prepare, sizeof(*entry), bytes > 0 ? behind : NULL, bytes);
    memcpy(at, entry, sizeof(*entry));
    server->prepare->records += entry->count;
    return server->prepare->records >= most ? prepare_flush(server) : 0;
}

// Writes a slice, which may be all, of a payload into the next hops' windows.
static int slice_forward(struct server *server, uint8_t *slot, const struct prepare_entry *slice)
{
    struct iovec from = {.iov_base = slot + slice->offset, .iov_len = slice->bytes};
    uint64_t at =
        slice->index % server->shape.outstanding * server->shape.slot_bytes + slice->offset;
    int rc = 0;

    for (uint32_t i = 0; i < server->hops_count && rc == 0; i++) {
        rc = writes_post(&server->writes, server->hops[i], &from, server->window_region.desc,
                         server->hop_address[i] + at, server->hop_key[i]);
    }
    return rc;
}

static int slice_announce(struct server *server, const struct prepare_entry *slice)
{
    struct outbox_message *message = outbox_take(&server->prepares);

    if (message == NULL) {
        return server_fail(server, -EBUSY, "too many slices on their way");
    }
    struct append_entry *entry = outbox_entry(message, sizeof(*entry), NULL, 0);
    entry->index = slice->index;
    entry->sequence = slice->sequence;
    entry->client = slice->client;
    entry->length = slice->length;
    entry->offset = slice->offset;
    entry->bytes = slice->bytes;
    entry->count = 1;
    return outbox_send(message, FRAME_SLICE, server->hops, server->hops_count);
}

// ---- taking -----------------------------------------------------------------------------------

static int duties_do(struct server *server, const struct record *record, const void *payload,
                     uint32_t crc)
{
    const char *why = NULL;
    int rc = duties_check(&server->duties, payload, record->length, crc, &why);

    rc = rc == 0 ? duties_note(&server->duties, record, &why) : rc;
    return rc == 0 ? 0 : server_fail(server, rc, why);
}

// A record of its own, which is in its slot, whole now.
static int record_take(struct server *server, const struct prepare_entry *entry, uint8_t *slot)
{
    struct record *record = &server->records[entry->index & server->records_mask];

    if (entry->index - server->answered_count > server->records_mask ||
        record->index == entry->index) {
        return server_fail(server, -EBADMSG, "a record with an index that is not free");
    }
    record->index = entry->index;
    record->sequence = entry->sequence;
    record->client = entry->client;
    record->length = entry->length;
    record->count = 1;
    record->is_durable = false;
    server->stats.records_count++;
    server->taken_count++;
    int rc = duties_do(server, record, slot, entry->crc);
    if (rc == 0 && server->hops_count > 0) {
        rc = slice_forward(server, slot, entry);
        rc = rc == 0 ? prepare_add(server, entry, NULL) : rc;
    }
    return rc == 0 ? server_record_store(server, record, slot) : rc;
}

static int run_duties_do(struct server *server, const struct record *run, const uint8_t *rows,
                         const uint8_t *payloads, uint32_t crc)
{
    struct record record = *run;
    int rc = 0;

    if (server->duties.which == 0) {
        return 0;
    }
    for (uint32_t i = 0; i < run->count && rc == 0; i++) {
        struct wire_run_row row = {.crc = crc};
        if (run->count > 1) {
            memcpy(&row, rows + i * sizeof(row), sizeof(row));
        }
        record.index = run->index + i;
        record.sequence = run->sequence + i;
        rc = duties_do(server, &record, payloads + (size_t)i * run->length, row.crc);
    }
    return rc;
}

// Small records, one or a run, which come in the order of indices; `behind`: rows, if there are any, and payloads.
static int run_take(struct server *server, const struct prepare_entry *entry, const uint8_t *behind)
{
    struct record *run = &server->records[entry->index & server->records_mask];
    const uint8_t *payloads = behind + shape_rows_bytes(entry->count);

    if (entry->index != server->taken_count ||
        entry->index + entry->count - server->answered_count > server->shape.outstanding) {
        return server_fail(server, -EBADMSG, "a record with an index that is not the next one");
    }
    run->index = entry->index;
    run->sequence = entry->sequence;
    run->client = entry->client;
    run->length = server->shape.record_bytes;
    run->count = entry->count;
    server->stats.records_count += entry->count;
    server->taken_count += entry->count;
    int rc = run_duties_do(server, run, behind, payloads, entry->crc);
    if (rc == 0 && server->hops_count > 0) {
        rc = prepare_add(server, entry, behind);
    }
    if (rc == 0) {
        server_run_store(server, run, payloads);
    }
    return rc;
}

static int slice_take(struct server *server, const struct prepare_entry *slice, uint8_t *slot)
{
    if (server->hops_count == 0) {
        return 0;
    }
    int rc = slice_forward(server, slot, slice);
    return rc == 0 ? slice_announce(server, slice) : rc;
}

// True when offset and bytes are a slice of the record, and the last one if it is to be.
static bool slice_is_sound(uint64_t offset, uint32_t bytes, uint32_t length, bool is_last)
{
    return bytes > 0 && offset < length && bytes <= length - offset &&
           is_last == (offset + bytes == length);
}

// A large record, or a slice of one.
static int client_entry(struct server *server, struct server_client *client,
                        const struct append_entry *entry, bool is_last)
{
    const struct shape *shape = &server->shape;
    uint64_t place = entry->sequence % shape->depth;
    struct prepare_entry prepare = {
        .sequence = entry->sequence,
        .client = entry->client,
        .length = entry->length,
        .offset = entry->offset,
        .bytes = entry->bytes,
        .crc = entry->crc,
        .count = 1,
    };

    // Slices of later records may overtake the message that a record waits in.
    uint64_t ahead = entry->sequence - client->taken_count;
    if (client != &server->clients[entry->client % ROOFLINE_CLIENTS_MAX] ||
        entry->length != shape->record_bytes || entry->count != 1 ||
        ahead >= (is_last ? 1 : shape->depth) ||
        !slice_is_sound(entry->offset, entry->bytes, entry->length, is_last)) {
        return server_fail(server, -EBADMSG, "a client sent what it must not");
    }
    uint8_t *slot = server->window + (entry->client * shape->depth + place) * shape->slot_bytes;
    if (entry->offset == 0) {
        client->slice_indices[place] = server->next_index++;
    }
    prepare.index = client->slice_indices[place];
    if (!is_last) {
        return slice_take(server, &prepare, slot);
    }
    client->taken_count++;
    return record_take(server, &prepare, slot);
}

// Small records: one or a run.
static int client_run(struct server *server, struct server_client *client,
                      const struct append_entry *entry, const uint8_t *behind)
{
    struct prepare_entry prepare = {
        .index = server->next_index,
        .sequence = entry->sequence,
        .client = entry->client,
        .length = entry->length,
        .crc = entry->crc,
        .count = entry->count,
    };

    if (client != &server->clients[entry->client % ROOFLINE_CLIENTS_MAX] ||
        entry->length != entry->count * server->shape.record_bytes ||
        entry->sequence != client->taken_count) {
        return server_fail(server, -EBADMSG, "a client sent what it must not");
    }
    server->next_index += entry->count;
    client->taken_count += entry->count;
    return run_take(server, &prepare, behind);
}

// Bytes of an entry and of what stands behind it; 0: more than there are, or no such run.
static uint32_t stride_of(const struct shape *shape, uint32_t entry_bytes, uint32_t count,
                          size_t left_bytes)
{
    uint32_t stride = 0;

    if (count >= 1 && count <= shape->run_max) {
        stride = entry_bytes + shape_run_bytes(shape, count);
    }
    return stride <= left_bytes ? stride : 0;
}

int server_client_message(struct server *server, struct server_client *client,
                          const struct frame *frame)
{
    const uint8_t *at = (const uint8_t *)(frame + 1);
    const uint8_t *end = (const uint8_t *)frame + frame->bytes;
    bool is_append = frame->type == FRAME_APPEND;
    uint32_t stride = 0;

    if (!is_append && (frame->type != FRAME_SLICE || !server->shape.is_pushed)) {
        return server_fail(server, -EBADMSG, "a client sent a message that is not a client's");
    }
    for (uint32_t i = 0; i < frame->count; i++, at += stride) {
        const struct append_entry *entry = (const void *)at;
        size_t left_bytes = (size_t)(end - at);
        stride = left_bytes < sizeof(*entry)
                     ? 0
                     : stride_of(&server->shape, sizeof(*entry), entry->count, left_bytes);
        if (stride == 0) {
            return server_fail(server, -EBADMSG, "an APPEND that is too short");
        }
        server->stats.entries_count += is_append ? entry->count : 0;
        int rc = server->shape.is_pushed
                     ? client_entry(server, client, entry, is_append)
                     : client_run(server, client, entry, (const uint8_t *)(entry + 1));
        if (rc != 0) {
            return rc;
        }
    }
    server->stats.appends_count += is_append;
    return 0;
}

static int upstream_slices(struct server *server, const struct frame *frame)
{
    const struct append_entry *entry = (const void *)(frame + 1);

    for (uint32_t i = 0; i < frame->count; i++, entry++) {
        struct prepare_entry slice = {
            .index = entry->index,
            .sequence = entry->sequence,
            .client = entry->client,
            .length = entry->length,
            .offset = entry->offset,
            .bytes = entry->bytes,
        };
        uint64_t place = entry->index % server->shape.outstanding;
        if (!server->shape.is_pushed || entry->length != server->shape.record_bytes ||
            !slice_is_sound(entry->offset, entry->bytes, entry->length, false)) {
            return server_fail(server, -EBADMSG, "a slice that makes no sense");
        }
        int rc = slice_take(server, &slice, server->window + place * server->shape.slot_bytes);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int upstream_prepare(struct server *server, const struct prepare_entry *entry)
{
    const struct shape *shape = &server->shape;

    if (entry->length != entry->count * shape->record_bytes ||
        (shape->is_pushed && !slice_is_sound(entry->offset, entry->bytes, entry->length, true))) {
        return server_fail(server, -EBADMSG, "a PREPARE that makes no sense");
    }
    if (!shape->is_pushed) {
        return run_take(server, entry, (const uint8_t *)(entry + 1));
    }
    return record_take(server, entry,
                       server->window + entry->index % shape->outstanding * shape->slot_bytes);
}

static int upstream_prepares(struct server *server, const struct frame *frame)
{
    const uint8_t *at = (const uint8_t *)(frame + 1);
    const uint8_t *end = (const uint8_t *)frame + frame->bytes;
    uint32_t stride = 0;

    for (uint32_t i = 0; i < frame->count; i++, at += stride) {
        const struct prepare_entry *entry = (const void *)at;
        size_t left_bytes = (size_t)(end - at);
        stride = left_bytes < sizeof(*entry)
                     ? 0
                     : stride_of(&server->shape, sizeof(*entry), entry->count, left_bytes);
        if (stride == 0) {
            return server_fail(server, -EBADMSG, "a PREPARE that is too short");
        }
        int rc = upstream_prepare(server, entry);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

int server_upstream_message(struct server *server, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_PREPARE:
        return upstream_prepares(server, frame);
    case FRAME_SLICE:
        return upstream_slices(server, frame);
    default:
        return server_fail(server, -EBADMSG, "a server sent a message that is not a server's");
    }
}

int server_hop_message(struct server *server, uint32_t hop, const struct frame *frame)
{
    if (frame->type == FRAME_WELCOME) {
        const struct frame_welcome *welcome = (const void *)frame;
        server->hop_address[hop] = welcome->address;
        server->hop_key[hop] = welcome->key;
        server->welcomes_count++;
        return 0;
    }
    if (frame->type != FRAME_PREPARED || frame->first < server->hop_prepared[hop] ||
        frame->first > server->taken_count) {
        return server_fail(server, -EBADMSG, "a next hop sent what it must not");
    }
    server->hop_prepared[hop] = frame->first;
    return 0;
}

// ---- answering --------------------------------------------------------------------------------

static int answer_flush(struct server *server, struct server_client *client)
{
    struct outbox_message *message = client->answer;

    (void)server;
    if (message == NULL) {
        return 0;
    }
    client->answer = NULL;
    return outbox_send(message, FRAME_APPENDED, &client->conn, 1);
}

// One answer for a record or a run.
static int record_answer(struct server *server, const struct record *record)
{
    struct server_client *client = &server->clients[record->client];

    if (client->answer == NULL) {
        client->answer = outbox_take(&server->answers);
        if (client->answer == NULL) {
            return server_fail(server, -EBUSY, "too many answers on their way");
        }
    }
    struct appended_entry *entry = outbox_entry(client->answer, sizeof(*entry), NULL, 0);
    entry->sequence = record->sequence + record->count - 1;
    entry->index = record->index + record->count - 1;
    return client->answer->count >= server->point.batch ? answer_flush(server, client) : 0;
}

static int prepared_send(struct server *server, uint64_t count)
{
    struct outbox_message *message = outbox_take(&server->answers);

    if (message == NULL) {
        return server_fail(server, -EBUSY, "too many PREPAREDs on their way");
    }
    (void)outbox_add(message, sizeof(struct frame_prepared) - sizeof(struct frame));
    ((struct frame *)message->bytes)->first = count;
    server->answered_count = count;
    return outbox_send(message, FRAME_PREPARED, &server->upstream, 1);
}

// A run is answered and passed back whole.
static uint64_t runs_end(const struct server *server, uint64_t upto)
{
    uint64_t at = server->answered_count;

    while (at < upto && at + server->records[at & server->records_mask].count <= upto) {
        at += server->records[at & server->records_mask].count;
    }
    return at;
}

int server_append_pump(struct server *server)
{
    uint64_t upto = server->durable_count;
    int rc = prepare_flush(server);

    for (uint32_t i = 0; i < server->hops_count; i++) {
        upto = PAWL_MIN(upto, server->hop_prepared[i]);
    }
    upto = runs_end(server, upto);
    if (rc != 0 || upto <= server->answered_count) {
        return rc;
    }
    if (server->config->index != 0) {
        return prepared_send(server, upto);
    }
    while (server->answered_count < upto && rc == 0) {
        const struct record *record =
            &server->records[server->answered_count & server->records_mask];
        rc = record_answer(server, record);
        server->answered_count += record->count;
    }
    for (uint32_t i = 0; i < server->shape.clients && rc == 0; i++) {
        rc = answer_flush(server, &server->clients[i]);
    }
    return rc;
}
