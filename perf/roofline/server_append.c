// SPDX-License-Identifier: Apache-2.0
// The null store's records: the primary gives out indices, everybody stores and passes on, answers come back in
// the order of indices once a record is durable here and at all next hops.
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
    server->stats.entries_count += message->count;
    return outbox_send(message, FRAME_PREPARE, server->hops, server->hops_count);
}

static int prepare_add(struct server *server, const struct prepare_entry *entry,
                       const void *payload)
{
    if (server->prepare == NULL) {
        server->prepare = outbox_take(&server->prepares);
        if (server->prepare == NULL) {
            return server_fail(server, -EBUSY, "too many PREPAREs on their way");
        }
    }
    uint32_t bytes = server->shape.is_pushed ? 0 : entry->length;
    void *at = outbox_entry(server->prepare, sizeof(*entry), payload, bytes);
    memcpy(at, entry, sizeof(*entry));
    if (server->prepare->count >= shape_message_records(&server->shape, server->point.batch)) {
        return prepare_flush(server);
    }
    return 0;
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
    return outbox_send(message, FRAME_SLICE, server->hops, server->hops_count);
}

// ---- taking -----------------------------------------------------------------------------------

// A record, whole now: by the message that it came with, or in its slot.
static int record_take(struct server *server, const struct prepare_entry *entry, uint8_t *slot,
                       const void *payload)
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
    record->is_durable = false;
    server->stats.records_count++;
    server->taken_count++;
    const char *why = NULL;
    int rc = duties_check(&server->duties, slot != NULL ? slot : payload, entry->length, entry->crc,
                          &why);
    rc = rc == 0 ? duties_note(&server->duties, record, &why) : rc;
    if (rc != 0) {
        return server_fail(server, rc, why);
    }
    if (server->hops_count > 0) {
        rc = slot != NULL ? slice_forward(server, slot, entry) : 0;
        rc = rc == 0 ? prepare_add(server, entry, payload) : rc;
    }
    return rc == 0 ? server_record_store(server, record, slot != NULL ? slot : payload) : rc;
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

static int client_entry(struct server *server, struct server_client *client,
                        const struct append_entry *entry, const void *payload, bool is_last)
{
    const struct shape *shape = &server->shape;
    uint64_t place = entry->sequence % shape->depth;
    uint8_t *slot = NULL;
    struct prepare_entry prepare = {
        .sequence = entry->sequence,
        .client = entry->client,
        .length = entry->length,
        .offset = entry->offset,
        .bytes = entry->bytes,
        .crc = entry->crc,
    };

    // Slices of later records may overtake the message that a record waits in.
    uint64_t ahead = entry->sequence - client->taken_count;
    if (client != &server->clients[entry->client % ROOFLINE_CLIENTS_MAX] ||
        entry->length != shape->record_bytes || ahead >= (is_last ? 1 : shape->depth) ||
        (shape->is_pushed &&
         !slice_is_sound(entry->offset, entry->bytes, entry->length, is_last))) {
        return server_fail(server, -EBADMSG, "a client sent what it must not");
    }
    if (shape->is_pushed) {
        slot = server->window + (entry->client * shape->depth + place) * shape->slot_bytes;
    }
    if (entry->offset == 0) {
        client->slice_indices[place] = server->next_index++;
    }
    prepare.index = client->slice_indices[place];
    if (!is_last) {
        return slice_take(server, &prepare, slot);
    }
    client->taken_count++;
    return record_take(server, &prepare, slot, payload);
}

int server_client_message(struct server *server, struct server_client *client,
                          const struct frame *frame)
{
    const uint8_t *at = (const uint8_t *)(frame + 1);
    const uint8_t *end = (const uint8_t *)frame + frame->bytes;
    uint32_t payload = server->shape.is_pushed ? 0 : server->shape.record_bytes;
    uint32_t stride = (uint32_t)(sizeof(struct append_entry) + pawl_align_up(payload, 8));

    if (frame->type != FRAME_APPEND && (frame->type != FRAME_SLICE || !server->shape.is_pushed)) {
        return server_fail(server, -EBADMSG, "a client sent a message that is not a client's");
    }
    if (frame->type == FRAME_APPEND) {
        server->stats.appends_count++;
        server->stats.entries_count += frame->count;
    }
    for (uint32_t i = 0; i < frame->count; i++, at += stride) {
        if ((size_t)(end - at) < stride) {
            return server_fail(server, -EBADMSG, "an APPEND that is too short");
        }
        const struct append_entry *entry = (const void *)at;
        int rc =
            client_entry(server, client, entry, at + sizeof(*entry), frame->type == FRAME_APPEND);
        if (rc != 0) {
            return rc;
        }
    }
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

static int upstream_prepares(struct server *server, const struct frame *frame)
{
    const struct shape *shape = &server->shape;
    const uint8_t *at = (const uint8_t *)(frame + 1);
    const uint8_t *end = (const uint8_t *)frame + frame->bytes;
    uint32_t payload = shape->is_pushed ? 0 : shape->record_bytes;
    uint32_t stride = (uint32_t)(sizeof(struct prepare_entry) + pawl_align_up(payload, 8));

    for (uint32_t i = 0; i < frame->count; i++, at += stride) {
        if ((size_t)(end - at) < stride) {
            return server_fail(server, -EBADMSG, "a PREPARE that is too short");
        }
        const struct prepare_entry *entry = (const void *)at;
        uint8_t *slot = NULL;
        if (entry->length != shape->record_bytes ||
            (shape->is_pushed &&
             !slice_is_sound(entry->offset, entry->bytes, entry->length, true))) {
            return server_fail(server, -EBADMSG, "a PREPARE that makes no sense");
        }
        if (shape->is_pushed) {
            slot = server->window + entry->index % shape->outstanding * shape->slot_bytes;
        }
        int rc = record_take(server, entry, slot, at + sizeof(*entry));
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
    entry->sequence = record->sequence;
    entry->index = record->index;
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

int server_append_pump(struct server *server)
{
    uint64_t upto = server->durable_count;
    int rc = prepare_flush(server);

    for (uint32_t i = 0; i < server->hops_count; i++) {
        upto = PAWL_MIN(upto, server->hop_prepared[i]);
    }
    if (rc != 0 || upto <= server->answered_count) {
        return rc;
    }
    if (server->config->index != 0) {
        return prepared_send(server, upto);
    }
    for (; server->answered_count < upto && rc == 0; server->answered_count++) {
        rc = record_answer(server, &server->records[server->answered_count & server->records_mask]);
    }
    for (uint32_t i = 0; i < server->shape.clients && rc == 0; i++) {
        rc = answer_flush(server, &server->clients[i]);
    }
    return rc;
}
