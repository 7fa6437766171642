// SPDX-License-Identifier: Apache-2.0
// Sizes and layouts of what the roofline sends and stores.
#include "perf/roofline/shape.h"

#include <errno.h>
#include <string.h>

// As many as fit, rows and payloads together: what Pawl's client does with what waits for its turn.
static uint32_t run_max_of(uint32_t record_bytes)
{
    if (record_bytes > WIRE_INLINE_MAX) {
        return 1;
    }
    uint32_t most = WIRE_RUN_BYTES_MAX / (record_bytes + (uint32_t)sizeof(struct wire_run_row));

    return PAWL_MIN(most, WIRE_RUN_MAX);
}

void shape_init(struct shape *shape, const struct roofline_options *options)
{
    *shape = (struct shape){
        .record_bytes = options->record_bytes,
        .depth = options->depth,
        .clients = options->clients,
        .replicas = options->replicas,
        .outstanding = options->clients * options->depth,
        .is_pushed = options->record_bytes > WIRE_INLINE_MAX,
        .is_in_place = options->record_bytes > SHAPE_JOURNALED_MAX,
        .slot_bytes = (uint32_t)pawl_align_up(options->record_bytes, SHAPE_PAGE_BYTES),
        .run_max = run_max_of(options->record_bytes),
    };
}

uint32_t shape_rows_bytes(uint32_t run_records)
{
    return run_records > 1 ? run_records * (uint32_t)sizeof(struct wire_run_row) : 0;
}

uint32_t shape_run_bytes(const struct shape *shape, uint32_t run_records)
{
    uint32_t bytes = shape_rows_bytes(run_records) + run_records * shape->record_bytes;

    return shape->is_pushed ? 0 : (uint32_t)pawl_align_up(bytes, 8);
}

uint32_t shape_message_records(const struct shape *shape, uint32_t batch)
{
    uint32_t each = (uint32_t)sizeof(struct prepare_entry) + shape_run_bytes(shape, 1);
    uint32_t most = (SHAPE_MESSAGE_MAX - (uint32_t)sizeof(struct frame)) / each;

    return PAWL_MAX(PAWL_MIN(batch, most), 1u);
}

static uint32_t message_bytes(const struct shape *shape, size_t entry_bytes, uint32_t records)
{
    uint32_t runs = records / shape->run_max;
    uint32_t rest = records % shape->run_max;
    size_t bytes = sizeof(struct frame);

    bytes += runs * (entry_bytes + shape_run_bytes(shape, shape->run_max));
    bytes += rest > 0 ? entry_bytes + shape_run_bytes(shape, rest) : 0;
    return (uint32_t)bytes;
}

uint32_t shape_append_bytes(const struct shape *shape, uint32_t records)
{
    return message_bytes(shape, sizeof(struct append_entry), records);
}

uint32_t shape_prepare_bytes(const struct shape *shape, uint32_t records)
{
    return message_bytes(shape, sizeof(struct prepare_entry), records);
}

// An entry is longer than the rows that a run of two needs.
static_assert(sizeof(struct append_entry) >= 2 * sizeof(struct wire_run_row),
              "the longest message");

uint32_t shape_append_bytes_max(const struct shape *shape, uint32_t records)
{
    size_t each = sizeof(struct append_entry) + shape_run_bytes(shape, 1);

    return (uint32_t)(sizeof(struct frame) + records * each);
}

uint32_t shape_prepare_bytes_max(const struct shape *shape, uint32_t records)
{
    size_t each = sizeof(struct prepare_entry) + shape_run_bytes(shape, 1);

    return (uint32_t)(sizeof(struct frame) + records * each);
}

uint32_t shape_appended_bytes(uint32_t runs)
{
    return (uint32_t)(sizeof(struct frame) + runs * sizeof(struct appended_entry));
}

uint32_t shape_entry_bytes(const struct shape *shape, uint32_t run_records)
{
    uint32_t inside =
        shape->is_in_place ? 0 : shape_rows_bytes(run_records) + run_records * shape->record_bytes;

    return (uint32_t)(sizeof(struct journal_entry) + pawl_align_up(inside, 8));
}

uint32_t shape_journal_bytes(const struct shape *shape, uint32_t records)
{
    uint32_t rest = records % shape->run_max;
    uint32_t bytes = (uint32_t)sizeof(struct journal_batch) +
                     records / shape->run_max * shape_entry_bytes(shape, shape->run_max);

    return bytes + (rest > 0 ? shape_entry_bytes(shape, rest) : 0);
}

uint64_t shape_batch_bytes(const struct shape *shape, uint32_t records)
{
    uint64_t bytes = sizeof(struct journal_batch) + (uint64_t)records * shape_entry_bytes(shape, 1);

    return pawl_align_up(bytes, SHAPE_PAGE_BYTES);
}

uint32_t shape_next_hops(enum roofline_route route, uint32_t replicas, uint32_t index,
                         uint32_t ret_hops[2])
{
    uint32_t count = 0;

    // To be able to go both ways: what either needs. The ones of each are the first ones of these.
    if (route == ROOFLINE_CHAIN || (route == ROOFLINE_ROUTE_BEST && index != 0)) {
        if (index + 1 < replicas) {
            ret_hops[count++] = index + 1;
        }
        return count;
    }
    for (uint32_t i = 1; index == 0 && i < replicas && count < 2; i++) {
        ret_hops[count++] = i;
    }
    return count;
}

static size_t entry_bytes_of(uint16_t type)
{
    switch (type) {
    case FRAME_APPEND:
    case FRAME_SLICE:
        return sizeof(struct append_entry);
    case FRAME_PREPARE:
        return sizeof(struct prepare_entry);
    case FRAME_APPENDED:
        return sizeof(struct appended_entry);
    default:
        return 0;
    }
}

static size_t struct_bytes_of(uint16_t type)
{
    switch (type) {
    case FRAME_WELCOME:
        return sizeof(struct frame_welcome);
    case FRAME_PREPARED:
        return sizeof(struct frame_prepared);
    case FRAME_READ:
        return sizeof(struct frame_read);
    case FRAME_READ_DONE:
        return sizeof(struct frame_read_done);
    default:
        return sizeof(struct frame);
    }
}

const char *shape_frame_check(const void *message, uint32_t bytes)
{
    const struct frame *frame = message;

    if (bytes < sizeof(*frame) || frame->magic != SHAPE_MAGIC) {
        return "a message without the roofline's header";
    }
    if (frame->type == 0 || frame->type >= FRAME_TYPES || frame->bytes != bytes) {
        return "a message of an unknown type, or of another length than it says";
    }
    if (bytes < struct_bytes_of(frame->type) ||
        (bytes - sizeof(*frame)) / PAWL_MAX(entry_bytes_of(frame->type), (size_t)1) <
            frame->count) {
        return "a message that is too short";
    }
    return NULL;
}

static uint64_t word_of(uint32_t client, uint64_t sequence, uint64_t position)
{
    uint64_t word = sequence * UINT64_C(0x9e3779b97f4a7c15) + client + 1;

    return word ^ (position * UINT64_C(0xc2b2ae3d27d4eb4f));
}

void shape_payload_fill(void *payload, uint32_t bytes, uint32_t client, uint64_t sequence,
                        bool is_whole)
{
    uint8_t *at = payload;
    uint32_t end = is_whole ? bytes : PAWL_MIN(bytes, 16u);

    for (uint32_t i = 0; i < end; i += 8) {
        uint64_t word = word_of(client, sequence, i);
        memcpy(at + i, &word, PAWL_MIN(end - i, 8u));
    }
}

bool shape_payload_is(const void *payload, uint32_t bytes, uint32_t client, uint64_t sequence)
{
    const uint8_t *at = payload;

    for (uint32_t i = 0; i < bytes; i += 8) {
        uint64_t word = word_of(client, sequence, i);
        if (memcmp(at + i, &word, PAWL_MIN(bytes - i, 8u)) != 0) {
            return false;
        }
    }
    return true;
}

static const char *entry_check(const struct shape *shape, const struct journal_entry *entry,
                               const uint8_t *data, uint64_t data_bytes, uint64_t records_max)
{
    const uint8_t *payload = (const uint8_t *)(entry + 1) + shape_rows_bytes(entry->count);

    if (entry->client >= shape->clients || entry->sequence >= records_max ||
        entry->count > records_max - entry->sequence || entry->length != shape->record_bytes) {
        return "an entry of a record that was never sent";
    }
    if (shape->is_in_place != (entry->place != JOURNAL_HERE)) {
        return "a payload in the wrong file";
    }
    if (shape->is_in_place) {
        if (entry->place > data_bytes || entry->length > data_bytes - entry->place) {
            return "a payload outside of its file";
        }
        payload = data + entry->place;
    }
    for (uint32_t i = 0; i < entry->count; i++, payload += entry->length) {
        if (!shape_payload_is(payload, entry->length, entry->client, entry->sequence + i)) {
            return "a payload that is not the one that was sent";
        }
    }
    return NULL;
}

static const char *entry_note(const struct journal_entry *entry, uint64_t records_max,
                              struct shape_found *found)
{
    for (uint32_t i = 0; i < entry->count; i++) {
        uint8_t *seen = &found->seen[entry->client * records_max + entry->sequence + i];
        if (*seen != 0) {
            return "a record that is there twice";
        }
        *seen = 1;
        found->found_count++;
    }
    return NULL;
}

static const char *batch_walk(const struct shape *shape, const uint8_t *at, const uint8_t *data,
                              uint64_t data_bytes, uint64_t records_max, struct shape_found *found)
{
    const struct journal_batch *batch = (const void *)at;
    uint32_t used = sizeof(*batch);

    for (uint32_t records = 0; records < batch->count;) {
        const struct journal_entry *entry = (const void *)(at + used);
        if (batch->bytes - used < sizeof(*entry) || entry->magic != SHAPE_MAGIC ||
            entry->count == 0 || entry->count > shape->run_max ||
            entry->bytes != shape_entry_bytes(shape, entry->count) ||
            entry->bytes > batch->bytes - used) {
            return "a torn entry";
        }
        const char *why = entry_check(shape, entry, data, data_bytes, records_max);
        why = why == NULL ? entry_note(entry, records_max, found) : why;
        if (why != NULL) {
            return why;
        }
        records += entry->count;
        used += entry->bytes;
    }
    return used == batch->bytes ? NULL : "a torn batch";
}

int64_t shape_journal_walk(const struct shape *shape, const uint8_t *journal, uint64_t bytes,
                           const uint8_t *data, uint64_t data_bytes, uint32_t block_bytes,
                           uint64_t records_max, struct shape_found *found)
{
    uint64_t at = 0;

    while (bytes - at >= sizeof(struct journal_batch)) {
        const struct journal_batch *batch = (const void *)(journal + at);
        if (batch->magic != SHAPE_MAGIC) {
            break; // zeros: nothing was written from here on
        }
        if (batch->bytes < sizeof(*batch) || batch->bytes > bytes - at) {
            found->why = "a batch of no sound length";
            return -EBADMSG;
        }
        found->why = batch_walk(shape, journal + at, data, data_bytes, records_max, found);
        if (found->why != NULL) {
            return -EBADMSG;
        }
        at += pawl_align_up(batch->bytes, block_bytes);
    }
    return (int64_t)found->found_count;
}
