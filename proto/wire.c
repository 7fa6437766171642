// SPDX-License-Identifier: Apache-2.0
// Checks of data-plane messages: everything that can be said about one without any state.
//
// A message is copied into a union before it is looked at, so that the caller's buffer needs no
// alignment and a check can't read past what arrived.
#include "proto/wire.h"

#include <stdbool.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "proto/reactor.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the wire is little-endian, and so are we");

union wire_any {
    struct wire_header header;
    struct wire_hello hello;
    struct wire_welcome welcome;
    struct wire_window window;
    struct wire_granted granted;
    struct wire_append append;
    struct wire_appended appended;
    struct wire_prepare prepare;
    struct wire_prepared prepared;
    struct wire_push push;
    struct wire_commit commit;
    struct wire_hold hold;
    struct wire_read read;
    struct wire_read_done read_done;
    struct wire_fetch fetch;
    struct wire_fetched fetched;
    struct wire_lookup lookup;
    struct wire_inspect inspect;
    struct wire_inspected inspected;
};
static_assert(sizeof(union wire_any) <= WIRE_STRUCT_MAX, "WIRE_STRUCT_MAX");

// A check returns NULL, or the reason for which the message is refused. `inline_bytes` is what
// follows the struct.
typedef const char *wire_check_fn(const union wire_any *any, uint32_t inline_bytes);

static const char *check_id(const struct wire_record_id *id, uint32_t length)
{
    bool is_epoch = (id->flags & WIRE_RECORD_EPOCH) != 0;

    if (!wire_record_flags_known(id))
        return "record has unknown flags";
    if (id->producer_hi == 0 && id->producer_lo == 0)
        return "record has no producer";
    if (is_epoch && id->epoch == 0)
        return "epoch record without an epoch";
    if (is_epoch && length != 0)
        return "epoch record with a payload";
    if (!is_epoch && length == 0)
        return "record without a payload";
    if (!is_epoch && id->sequence == 0)
        return "record's sequence is 0";
    if (length > WIRE_RECORD_MAX)
        return "record is larger than the limit";
    return NULL;
}

static const char *check_push_id(const struct wire_record_id *id, uint32_t length)
{
    if (id->flags != WIRE_RECORD_PUSH)
        return "payload is pushed alone under the id of a record";
    if (length <= WIRE_INLINE_MAX)
        return "nothing to push";
    if (length > WIRE_RECORD_MAX)
        return "record is larger than the limit";
    return NULL;
}

static const char *check_payload(uint32_t length, uint16_t slot_first, uint16_t slot_count,
                                 uint32_t inline_bytes)
{
    if (slot_count == 0) {
        if (slot_first != 0)
            return "first slot named without a slot";
        if (length > WIRE_INLINE_MAX)
            return "inline payload is larger than the limit";
        if (length != inline_bytes)
            return "inline payload is not as long as the record";
        return NULL;
    }
    if (inline_bytes != 0)
        return "payload both inline and in slots";
    if (length == 0)
        return "slots named for no payload";
    if ((uint32_t)slot_first + slot_count > WIRE_WINDOW_SLOTS_MAX)
        return "slots lie outside of any window";
    if (length > (uint64_t)slot_count * WIRE_SLOT_BYTES)
        return "payload doesn't fit in its slots";
    return NULL;
}

static const char *check_chunk(uint64_t chunk, uint64_t version)
{
    if (chunk == 0)
        return "chunk is 0";
    if (version == 0)
        return "version is 0";
    return NULL;
}

static const char *check_bare(const union wire_any *any, uint32_t inline_bytes)
{
    (void)any;
    return inline_bytes == 0 ? NULL : "message is longer than its struct";
}

// A server of one reactor is spoken to as if there was no other kind.
static const char *check_reactor(uint16_t reactor, uint16_t reactors_count)
{
    if (reactors_count == 1 || reactors_count > REACTORS_MAX)
        return "number of reactors that no server gives";
    if (reactor != 0 && reactor >= reactors_count)
        return "reactor beyond their number";
    return NULL;
}

static const char *check_hello(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_hello *m = &any->hello;

    if (m->server_id == 0 && m->incarnation != 0)
        return "a client with an incarnation";
    if (m->reserved != 0)
        return "reserved field is not 0";
    const char *why = check_reactor(m->reactor, m->reactors_count);
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_welcome(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_welcome *m = &any->welcome;

    if (m->window_slots > WIRE_WINDOW_SLOTS_MAX)
        return "window has too many slots";
    if (m->slot_bytes == 0 || m->slot_bytes > WIRE_SLOT_BYTES)
        return "window slot is empty, or too large";
    if (m->requests_count == 0)
        return "no credit for requests";
    if (m->run_bytes_max < WIRE_INLINE_MAX || m->run_bytes_max > WIRE_RUN_BYTES_MAX)
        return "runs that are shorter than a record in a message, or too long";
    if (m->reserved != 0)
        return "reserved field is not 0";
    const char *why = check_reactor(m->reactor, m->reactors_count);
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_window(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_window *m = &any->window;

    if (m->slots_wanted > WIRE_WINDOW_SLOTS_MAX)
        return "more window slots wanted than there can be";
    if (m->slots_needed > m->slots_wanted)
        return "more window slots needed than wanted";
    if (m->reserved != 0)
        return "reserved field is not 0";
    return check_bare(any, inline_bytes);
}

static const char *check_granted(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_granted *m = &any->granted;

    if (m->window_slots > WIRE_WINDOW_SLOTS_MAX)
        return "window has too many slots";
    if (m->reserved != 0)
        return "reserved field is not 0";
    return check_bare(any, inline_bytes);
}

// Of a run; its rows are looked at by check_rows().
static const char *check_run(const struct wire_record_id *id, uint16_t run_count,
                             uint16_t slot_first, uint16_t slot_count, uint32_t inline_bytes)
{
    if (run_count < 2 || run_count > WIRE_RUN_MAX)
        return "run of a record, or of too many";
    if (id->flags != 0)
        return "run of records that are not plain";
    if (id->sequence > UINT64_MAX - run_count)
        return "run's sequences overflow";
    if (slot_first != 0 || slot_count != 0)
        return "run whose payload is in slots";
    if (inline_bytes > WIRE_RUN_BYTES_MAX || inline_bytes < wire_rows_bytes(run_count))
        return "run is larger than the limit, or shorter than its rows";
    return NULL;
}

static const char *check_rows(const unsigned char *at, uint16_t run_count, uint32_t length,
                              uint32_t inline_bytes)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < run_count; i++) {
        struct wire_run_row row;
        memcpy(&row, at + i * sizeof(row), sizeof(row));
        if (row.length == 0)
            return "run with a record without a payload";
        if (row.length > WIRE_INLINE_MAX)
            return "run with a record that is too long for a message";
        sum += row.length;
    }
    if (sum != length || sum + wire_rows_bytes(run_count) != inline_bytes)
        return "run is not as long as its records";
    return NULL;
}

static const char *check_append(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_append *m = &any->append;
    const char *why = check_chunk(m->chunk, m->version);

    if (!why)
        why = check_id(&m->id, m->length);
    if (!why)
        why = m->run_count != 0
                  ? check_run(&m->id, m->run_count, m->slot_first, m->slot_count, inline_bytes)
                  : check_payload(m->length, m->slot_first, m->slot_count, inline_bytes);
    if (!why && (m->flags & ~WIRE_APPEND_REPLICATED) != 0)
        why = "append has unknown flags";
    if (!why && m->flags != 0 && m->id.flags != 0)
        why = "only plain records are acknowledged from memory";
    return why;
}

static const char *check_appended(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_appended *m = &any->appended;

    if (m->duplicate > 1)
        return "duplicate is neither 0 nor 1";
    if ((m->flags & ~WIRE_APPENDED_REPLICATED) != 0)
        return "appended has unknown flags";
    return check_bare(any, inline_bytes);
}

static const char *check_pushed(const struct wire_prepare *m, uint32_t inline_bytes)
{
    if (m->length <= WIRE_INLINE_MAX)
        return "pushed payload is small enough for the message";
    if (m->slot_first != 0 || m->slot_count != 0 || inline_bytes != 0)
        return "pushed payload is in the message or its slots too";
    return NULL;
}

static const char *check_prepare(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_prepare *m = &any->prepare;
    const char *why = check_chunk(m->chunk, m->version);

    if (!why)
        why = (m->flags & WIRE_PREPARE_PUSH_ONLY) != 0 ? check_push_id(&m->id, m->length)
                                                       : check_id(&m->id, m->length);
    if (!why &&
        (m->flags & ~(WIRE_PREPARE_PUSHED | WIRE_PREPARE_PUSH_ONLY | WIRE_PREPARE_REPLICATED)) != 0)
        why = "prepare has unknown flags";
    if (!why && m->run_count != 0)
        why = m->flags & (WIRE_PREPARE_PUSHED | WIRE_PREPARE_PUSH_ONLY)
                  ? "run that is pushed"
                  : check_run(&m->id, m->run_count, m->slot_first, m->slot_count, inline_bytes);
    else if (!why)
        why = (m->flags & WIRE_PREPARE_PUSHED) != 0
                  ? check_pushed(m, inline_bytes)
                  : check_payload(m->length, m->slot_first, m->slot_count, inline_bytes);
    if (!why && (m->flags & WIRE_PREPARE_REPLICATED) != 0 && m->id.flags != 0)
        why = "only plain records are acknowledged from memory";
    if (!why && m->offset > UINT64_MAX - m->length)
        why = "offset overflows";
    if (!why && m->commit_count > m->index)
        why = "commit count covers the record itself";
    return why;
}

static const char *check_prepared(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_prepared *m = &any->prepared;
    const char *why = check_chunk(m->chunk, m->version);

    if (!why && (m->earlier_count > m->index || m->reserved != 0))
        why = "an answer for records before the first";
    if (!why && m->header.status != 0 && m->earlier_count != 0)
        why = "a refusal for several records";
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_push(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_push *m = &any->push;
    const char *why = check_chunk(m->chunk, m->version);

    if (!why)
        why = m->id.flags == WIRE_RECORD_PUSH ? check_push_id(&m->id, m->length)
                                              : check_id(&m->id, m->length);
    if (!why && m->slot_count == 0)
        why = "pushed payload has no slots";
    if (!why)
        why = check_payload(m->length, m->slot_first, m->slot_count, 0);
    if (!why && (m->bytes == 0 || m->offset > m->length || m->bytes > m->length - m->offset))
        why = "slice lies outside of its payload";
    if (!why && m->next == 0 && m->bytes != m->length)
        why = "a slice that goes nowhere";
    if (!why && m->next != 0 && m->offset == 0)
        return inline_bytes <= WIRE_PUSH_ADDRESS_MAX ? NULL : "address is too long";
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_commit(const union wire_any *any, uint32_t inline_bytes)
{
    const char *why = check_chunk(any->commit.chunk, any->commit.version);

    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_hold(const union wire_any *any, uint32_t inline_bytes)
{
    const char *why = check_chunk(any->hold.chunk, any->hold.version);

    if (!why && any->hold.count == 0)
        why = "hold of no record";
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_read(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_read *m = &any->read;

    if (m->chunk == 0)
        return "chunk is 0";
    if (m->length == 0 || m->length > WIRE_READ_MAX)
        return "read of nothing, or of too much";
    if (m->offset > UINT64_MAX - m->length)
        return "offset overflows";
    if (m->buffer_address > UINT64_MAX - m->length)
        return "buffer address overflows";
    if (m->flags & ~WIRE_READ_ALL)
        return "read has unknown flags";
    if (m->reserved != 0)
        return "reserved field is not 0";
    return check_bare(any, inline_bytes);
}

static const char *check_read_done(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_read_done *m = &any->read_done;

    if (m->length > WIRE_READ_MAX)
        return "more bytes read than can be asked for";
    if (m->sealed > 1)
        return "sealed is neither 0 nor 1";
    return check_bare(any, inline_bytes);
}

static const char *check_fetch(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_fetch *m = &any->fetch;
    const char *why = check_chunk(m->chunk, m->version);

    if (!why && m->buffer_address > UINT64_MAX - WIRE_RECORD_MAX)
        why = "buffer address overflows";
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_table(uint32_t length)
{
    if (length % sizeof(struct wire_producer) != 0)
        return "producer table is no whole number of rows";
    if (length / sizeof(struct wire_producer) > WIRE_TABLE_ROWS_MAX)
        return "producer table has too many rows";
    return NULL;
}

static const char *check_fetched(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_fetched *m = &any->fetched;
    const char *why =
        m->index == WIRE_FETCH_TABLE ? check_table(m->length) : check_id(&m->id, m->length);

    if (!why && m->chunk == 0)
        why = "chunk is 0";
    if (!why && m->offset > UINT64_MAX - m->length)
        why = "offset overflows";
    return why ? why : check_bare(any, inline_bytes);
}

static const char *check_lookup(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_lookup *m = &any->lookup;

    if (m->chunk == 0)
        return "chunk is 0";
    if (!wire_record_flags_known(&m->id))
        return "record has unknown flags";
    if (m->length > WIRE_RECORD_MAX)
        return "record is larger than the limit";
    if (m->compare > 1)
        return "compare is neither 0 nor 1";
    if (m->reserved != 0)
        return "reserved field is not 0";
    return check_bare(any, inline_bytes);
}

static const char *check_inspect(const union wire_any *any, uint32_t inline_bytes)
{
    if (any->inspect.chunk == 0)
        return "chunk is 0";
    return check_bare(any, inline_bytes);
}

static const char *check_inspected(const union wire_any *any, uint32_t inline_bytes)
{
    const struct wire_inspected *m = &any->inspected;

    if (m->sealed > 1)
        return "sealed is neither 0 nor 1";
    if (m->primary > 1)
        return "primary is neither 0 nor 1";
    return check_bare(any, inline_bytes);
}

// Index: enum wire_type.
static const struct {
    const char *name, *reply_name;
    uint32_t bytes, reply_bytes;
    wire_check_fn *check, *check_reply;
} wire_types[WIRE_TYPES] = {
    [WIRE_HELLO] = {"hello", "welcome", sizeof(struct wire_hello), sizeof(struct wire_welcome),
                    check_hello, check_welcome},
    [WIRE_WINDOW] = {"window", "granted", sizeof(struct wire_window), sizeof(struct wire_granted),
                     check_window, check_granted},
    [WIRE_APPEND] = {"append", "appended", sizeof(struct wire_append), sizeof(struct wire_appended),
                     check_append, check_appended},
    [WIRE_PREPARE] = {"prepare", "prepared", sizeof(struct wire_prepare),
                      sizeof(struct wire_prepared), check_prepare, check_prepared},
    [WIRE_PUSH] = {"push", "pushed", sizeof(struct wire_push), sizeof(struct wire_header),
                   check_push, check_bare},
    [WIRE_COMMIT] = {"commit", "committed", sizeof(struct wire_commit), sizeof(struct wire_header),
                     check_commit, check_bare},
    [WIRE_HOLD] = {"hold", "held", sizeof(struct wire_hold), sizeof(struct wire_header), check_hold,
                   check_bare},
    [WIRE_READ] = {"read", "read-done", sizeof(struct wire_read), sizeof(struct wire_read_done),
                   check_read, check_read_done},
    [WIRE_FETCH] = {"fetch", "fetched", sizeof(struct wire_fetch), sizeof(struct wire_fetched),
                    check_fetch, check_fetched},
    [WIRE_LOOKUP] = {"lookup", "looked-up", sizeof(struct wire_lookup),
                     sizeof(struct wire_appended), check_lookup, check_appended},
    [WIRE_INSPECT] = {"inspect", "inspected", sizeof(struct wire_inspect),
                      sizeof(struct wire_inspected), check_inspect, check_inspected},
};

// A refusal has nothing to say beyond its status, so it may be a bare header; except for the three
// codes whose fields the asker needs.
static bool refusal_may_be_bare(uint16_t type, int32_t status)
{
    if (status == 0)
        return false;
    if (type != WIRE_APPEND && type != WIRE_LOOKUP)
        return true;
    return status != PAWL_EEXPECT && status != PAWL_EEARLIER && status != PAWL_EABSENT;
}

static const char *check_header(const struct wire_header *header, uint32_t message_bytes)
{
    if (header->magic != WIRE_MAGIC)
        return "magic is not Pawl's";
    if (header->format != WIRE_FORMAT)
        return "format is not the one that this side speaks";
    if (header->features & ~WIRE_FEATURES)
        return "unknown features";
    if (wire_struct_bytes(header->type) == 0)
        return "unknown message type";
    if (header->bytes != message_bytes)
        return "length in the header is not what arrived";
    if (header->flags & ~((header->type & WIRE_REPLY) ? WIRE_SCARCE : 0u))
        return "header has unknown flags";
    if (header->status > 0)
        return "status is positive";
    if (!(header->type & WIRE_REPLY) && header->status != 0)
        return "a request with a status";
    return NULL;
}

static const char *check_message(const void *message, uint32_t message_bytes)
{
    union wire_any any;
    memset(&any, 0, sizeof(any));
    if (message_bytes < sizeof(any.header))
        return "shorter than a header";
    if (message_bytes > WIRE_MESSAGE_MAX)
        return "longer than a message may be";
    memcpy(&any.header, message, sizeof(any.header));
    const char *why = check_header(&any.header, message_bytes);
    if (why)
        return why;

    uint16_t type = any.header.type & (uint16_t)~WIRE_REPLY;
    bool is_reply = (any.header.type & WIRE_REPLY) != 0;
    uint32_t struct_bytes = wire_struct_bytes(any.header.type);
    bool may_be_bare = is_reply && refusal_may_be_bare(type, any.header.status);
    if (may_be_bare && message_bytes == sizeof(any.header))
        return NULL;
    if (message_bytes < struct_bytes)
        return "shorter than the struct of its type";
    if (may_be_bare) // its fields say nothing, so nothing is asked of them
        return check_bare(&any, message_bytes - struct_bytes);
    memcpy(&any, message, struct_bytes);
    wire_check_fn *check = is_reply ? wire_types[type].check_reply : wire_types[type].check;
    uint32_t inline_bytes = message_bytes - struct_bytes;
    const unsigned char *rows = (const unsigned char *)message + struct_bytes;
    why = check(&any, inline_bytes);
    if (!why && any.header.type == WIRE_APPEND && any.append.run_count != 0)
        why = check_rows(rows, any.append.run_count, any.append.length, inline_bytes);
    if (!why && any.header.type == WIRE_PREPARE && any.prepare.run_count != 0)
        why = check_rows(rows, any.prepare.run_count, any.prepare.length, inline_bytes);
    return why;
}

int wire_check(const void *message, uint32_t message_bytes, const char **ret_why)
{
    const char *why = check_message(message, message_bytes);

    if (!why)
        return 0;
    *ret_why = why;
    return PAWL_EPROTOCOL;
}

uint32_t wire_run_crc(const struct wire_run_row *rows, uint16_t run_count, const void *bytes,
                      uint32_t length, uint32_t crc)
{
    uint32_t rows_crc = pawl_crc32c(0, rows, wire_rows_bytes(run_count));
    const unsigned char *at = bytes;
    if (rows_crc != crc)
        return rows_crc; // nothing that they say is looked at
    for (uint32_t i = 0; i < run_count; i++) {
        if (rows[i].length > length || pawl_crc32c(0, at, rows[i].length) != rows[i].crc)
            return ~crc;
        at += rows[i].length;
        length -= rows[i].length;
    }
    return length == 0 ? crc : ~crc;
}

void wire_header_init(struct wire_header *header, uint16_t type, uint32_t bytes, uint64_t request)
{
    *header = (struct wire_header){
        .magic = WIRE_MAGIC,
        .format = WIRE_FORMAT,
        .type = type,
        .bytes = bytes,
        .request = request,
        .features = WIRE_FEATURES,
    };
}

uint32_t wire_struct_bytes(uint16_t type)
{
    uint16_t plain = type & (uint16_t)~WIRE_REPLY;

    if (plain == 0 || plain >= WIRE_TYPES)
        return 0;
    return (type & WIRE_REPLY) ? wire_types[plain].reply_bytes : wire_types[plain].bytes;
}

const char *wire_type_name(uint16_t type)
{
    uint16_t plain = type & (uint16_t)~WIRE_REPLY;

    if (plain == 0 || plain >= WIRE_TYPES)
        return "unknown";
    return (type & WIRE_REPLY) ? wire_types[plain].reply_name : wire_types[plain].name;
}
