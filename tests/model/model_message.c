// SPDX-License-Identifier: Apache-2.0
// Messages: immutable, each different one stored once and named by a number, so that a queue is a
// few numbers.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/hash.h"
#include "model.h"

#define SLOTS_COUNT (1u << 20)

static struct model_message *messages;
static uint32_t messages_count;
static uint32_t messages_capacity;
static uint32_t slots[SLOTS_COUNT];

static bool is_same(const struct model_message *message, enum model_kind kind, const void *data,
                    uint32_t bytes, uint64_t payload)
{
    return message->kind == kind && message->bytes == bytes && message->payload == payload &&
           memcmp(message->data, data, bytes) == 0;
}

static void unpack(struct model_message *message)
{
    switch (message->kind) {
    case MODEL_REQUEST:
        message->request = pawl__request__unpack(NULL, message->bytes, message->data);
        pawl_assert(message->request != NULL);
        break;
    case MODEL_REPLY:
        message->reply = pawl__reply__unpack(NULL, message->bytes, message->data);
        pawl_assert(message->reply != NULL);
        break;
    case MODEL_LOG:
        message->record = pawl__log_record__unpack(NULL, message->bytes, message->data);
        pawl_assert(message->record != NULL);
        break;
    case MODEL_WIRE:
        break;
    }
}

static uint32_t intern(enum model_kind kind, const void *data, uint32_t bytes, uint64_t payload)
{
    uint64_t at = pawl_hash_bytes(data, bytes, payload * 8 + kind) & (SLOTS_COUNT - 1);
    for (; slots[at] != 0; at = (at + 1) & (SLOTS_COUNT - 1)) {
        if (is_same(&messages[slots[at]], kind, data, bytes, payload)) {
            return slots[at];
        }
    }
    if (messages_count + 1 >= messages_capacity) {
        messages_capacity = messages_capacity != 0 ? messages_capacity * 2 : 1024;
        messages = realloc(messages, messages_capacity * sizeof(messages[0]));
        pawl_assert(messages != NULL && messages_capacity <= SLOTS_COUNT / 2);
    }
    struct model_message *message = &messages[++messages_count];
    *message = (struct model_message){.kind = kind, .bytes = bytes, .payload = payload};
    // Wire structs want to be aligned.
    message->data = malloc(bytes + 1u);
    pawl_assert(message->data != NULL);
    memcpy(message->data, data, bytes);
    unpack(message);
    slots[at] = messages_count;
    return messages_count;
}

uint32_t model_message_packed(enum model_kind kind, const void *message)
{
    static uint8_t buffer[4096];
    const ProtobufCMessage *base = message;
    size_t bytes = protobuf_c_message_get_packed_size(base);
    pawl_assert(bytes <= sizeof(buffer));
    protobuf_c_message_pack(base, buffer);
    return intern(kind, buffer, (uint32_t)bytes, 0);
}

uint32_t model_message_wire(const void *message, uint32_t bytes, uint64_t payload)
{
    union {
        struct wire_header header;
        uint8_t data[256];
    } copy;
    pawl_assert(bytes <= sizeof(copy));
    memcpy(&copy, message, bytes);
    copy.header.request = 0;
    return intern(MODEL_WIRE, &copy, bytes, payload);
}

const struct model_message *model_message_at(uint32_t number)
{
    pawl_assert(number >= 1 && number <= messages_count);
    return &messages[number];
}

const struct wire_header *model_message_header(const struct model_message *message)
{
    return (const void *)message->data;
}

// ---- text ------------------------------------------------------------------------------------------

static const char *body_name(const ProtobufCMessageDescriptor *descriptor, unsigned id)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(descriptor, id);
    return field != NULL ? field->name : "code";
}

static void text_request(const Pawl__Request *request, char *buf, size_t bytes)
{
    const char *name = body_name(&pawl__request__descriptor, request->body_case);
    if (request->body_case >= PAWL__REQUEST__BODY_FENCE) {
        // All commands begin with term, handle, version.
        snprintf(buf, bytes, "%s term %lu chunk %lu version %lu", name, request->fence->term,
                 request->fence->handle, request->fence->version);
    } else if (request->body_case == PAWL__REQUEST__BODY_REPORT) {
        snprintf(buf, bytes, "report %d chunk %lu version %lu server %lu", request->report->kind,
                 request->report->handle, request->report->version, request->report->server_id);
    } else if (request->body_case == PAWL__REQUEST__BODY_GET_TAIL && request->get_tail->hint) {
        const Pawl__Hint *hint = request->get_tail->hint;
        snprintf(buf, bytes, "get_tail, hint: version %lu server %lu %s", hint->version,
                 hint->server_id, pawl_strerror(hint->code));
    } else {
        snprintf(buf, bytes, "%s", name);
    }
}

static void text_reply(const Pawl__Reply *reply, char *buf, size_t bytes)
{
    const char *name = body_name(&pawl__reply__descriptor, reply->body_case);
    if (reply->code != 0) {
        snprintf(buf, bytes, "%s", pawl_strerror(reply->code));
    } else if (reply->body_case == PAWL__REPLY__BODY_FENCED) {
        const Pawl__Fenced *fenced = reply->fenced;
        snprintf(buf, bytes, "fenced version %lu count %lu committed %lu", fenced->version,
                 fenced->count, fenced->commit_count);
    } else if (reply->body_case == PAWL__REPLY__BODY_TAIL && reply->tail->chunk) {
        const Pawl__Chunk *chunk = reply->tail->chunk;
        snprintf(buf, bytes, "tail chunk %lu version %lu primary %lu", chunk->handle,
                 chunk->version, chunk->primary_id);
    } else {
        snprintf(buf, bytes, "%s", name);
    }
}

static void text_wire(const struct model_message *message, char *buf, size_t bytes)
{
    const struct wire_header *header = model_message_header(message);
    const char *name = wire_type_name(header->type & (uint16_t)~WIRE_REPLY);
    if (header->type == WIRE_APPEND) {
        const struct wire_append *append = (const void *)header;
        snprintf(buf, bytes, "append chunk %lu version %lu producer %lu sequence %lu",
                 append->chunk, append->version, append->id.producer_lo, append->id.sequence);
    } else if (header->type == WIRE_PREPARE) {
        const struct wire_prepare *prepare = (const void *)header;
        snprintf(buf, bytes, "prepare chunk %lu version %lu index %lu producer %lu sequence %lu",
                 prepare->chunk, prepare->version, prepare->index, prepare->id.producer_lo,
                 prepare->id.sequence);
    } else if (header->type == WIRE_FETCH) {
        const struct wire_fetch *fetch = (const void *)header;
        snprintf(buf, bytes, "fetch chunk %lu version %lu index %lu", fetch->chunk, fetch->version,
                 fetch->index);
    } else if (header->type == (WIRE_APPEND | WIRE_REPLY) && header->status == 0) {
        const struct wire_appended *appended = (const void *)header;
        snprintf(buf, bytes, "appended sequence %lu at %lu%s", appended->sequence,
                 appended->file_offset, appended->duplicate ? " duplicate" : "");
    } else if ((header->type & WIRE_REPLY) != 0) {
        snprintf(buf, bytes, "%s: %s", name,
                 header->status != 0 ? pawl_strerror(header->status) : "done");
    } else {
        snprintf(buf, bytes, "%s", name);
    }
}

void model_message_text(uint32_t number, char *buf, size_t bytes)
{
    const struct model_message *message = model_message_at(number);
    switch (message->kind) {
    case MODEL_REQUEST:
        text_request(message->request, buf, bytes);
        break;
    case MODEL_REPLY:
        text_reply(message->reply, buf, bytes);
        break;
    case MODEL_WIRE:
        text_wire(message, buf, bytes);
        break;
    case MODEL_LOG:
        snprintf(buf, bytes, "%s",
                 body_name(&pawl__log_record__descriptor, message->record->body_case));
        break;
    }
}
