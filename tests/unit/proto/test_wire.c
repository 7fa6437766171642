// SPDX-License-Identifier: Apache-2.0
// Tests of wire_check(): a sound message of each type passes, and each field made wrong is refused.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "base/util.h"
#include "proto/wire.h"

static struct wire_header header_of(uint16_t type, uint32_t bytes, int32_t status)
{
    struct wire_header header;
    wire_header_init(&header, type, bytes, 7);
    header.status = status;
    return header;
}

static const struct wire_record_id some_id = {.producer_hi = 1, .producer_lo = 2, .sequence = 3};

#define MAKE(name, ...)                                                                            \
    do {                                                                                           \
        struct name m_ = {.header = *header, __VA_ARGS__};                                         \
        memcpy(out, &m_, sizeof(m_));                                                              \
    } while (0)

static void make_request(const struct wire_header *header, void *out)
{
    switch (header->type) {
    case WIRE_HELLO:
        MAKE(wire_hello, .server_id = 1, .incarnation = 2);
        break;
    case WIRE_APPEND:
        MAKE(wire_append, .chunk = 1, .version = 1, .id = some_id, .length = 300000,
             .slot_first = 62, .slot_count = 2);
        break;
    case WIRE_PREPARE:
        MAKE(wire_prepare, .chunk = 1, .version = 1, .index = 5, .offset = 100, .id = some_id,
             .commit_count = 5, .length = WIRE_SLOT_BYTES, .slot_first = 63, .slot_count = 1);
        break;
    case WIRE_COMMIT:
        MAKE(wire_commit, .chunk = 1, .version = 1);
        break;
    case WIRE_HOLD:
        MAKE(wire_hold, .chunk = 1, .version = 1, .count = 1);
        break;
    case WIRE_WINDOW:
        MAKE(wire_window, .slots_wanted = 64, .slots_needed = 4);
        break;
    case WIRE_PUSH:
        MAKE(wire_push, .chunk = 1, .version = 1, .id = some_id, .length = 2 * WIRE_SLOT_BYTES,
             .bytes = 2 * WIRE_SLOT_BYTES, .slot_count = 2);
        break;
    case WIRE_READ:
        MAKE(wire_read, .chunk = 1, .length = WIRE_READ_MAX);
        break;
    case WIRE_FETCH:
        MAKE(wire_fetch, .chunk = 1, .version = 1);
        break;
    case WIRE_LOOKUP:
        MAKE(wire_lookup, .chunk = 1, .id = some_id, .length = WIRE_RECORD_MAX, .compare = 1);
        break;
    case WIRE_INSPECT:
        MAKE(wire_inspect, .chunk = 1);
        break;
    default:
        fail_msg("no request of type %u", header->type);
    }
}

static void make_reply(const struct wire_header *header, void *out)
{
    switch (header->type) {
    case WIRE_HELLO | WIRE_REPLY:
        MAKE(wire_welcome, .window_slots = 64, .slot_bytes = WIRE_SLOT_BYTES, .requests_count = 8,
             .run_bytes_max = WIRE_RUN_BYTES_MAX);
        break;
    case WIRE_APPEND | WIRE_REPLY:
    case WIRE_LOOKUP | WIRE_REPLY:
        MAKE(wire_appended, .version = 1, .duplicate = 1);
        break;
    case WIRE_PREPARE | WIRE_REPLY:
        MAKE(wire_prepared, .chunk = 1, .version = 1);
        break;
    case WIRE_WINDOW | WIRE_REPLY:
        MAKE(wire_granted, .window_slots = 64);
        break;
    case WIRE_PUSH | WIRE_REPLY:
    case WIRE_HOLD | WIRE_REPLY:
    case WIRE_COMMIT | WIRE_REPLY:
        memcpy(out, header, sizeof(*header));
        break;
    case WIRE_READ | WIRE_REPLY:
        MAKE(wire_read_done, .length = WIRE_READ_MAX, .sealed = 1);
        break;
    case WIRE_FETCH | WIRE_REPLY:
        MAKE(wire_fetched, .chunk = 1, .id = some_id, .length = WIRE_RECORD_MAX);
        break;
    case WIRE_INSPECT | WIRE_REPLY:
        MAKE(wire_inspected, .sealed = 1, .primary = 1);
        break;
    default:
        fail_msg("no reply of type %u", header->type);
    }
}

#undef MAKE

// One sound message of a type, without inline payload.
static uint32_t make_message(uint16_t type, void *out)
{
    uint32_t bytes = wire_struct_bytes(type);
    struct wire_header header = header_of(type, bytes, 0);
    if ((type & WIRE_REPLY) != 0) {
        make_reply(&header, out);
    } else {
        make_request(&header, out);
    }
    return bytes;
}

static int check(const void *message, uint32_t bytes)
{
    // Exactly as large as it says, so that a sanitizer sees a read beyond it.
    void *copy = malloc(bytes ? bytes : 1);
    assert_non_null(copy);
    memcpy(copy, message, bytes);
    const char *why = NULL;
    int rc = wire_check(copy, bytes, &why);
    free(copy);
    if (rc == 0)
        assert_null(why);
    else
        assert_true(why && *why);
    return rc;
}

static const uint16_t all_types[] = {
    WIRE_HELLO,   WIRE_HELLO | WIRE_REPLY,   WIRE_APPEND,  WIRE_APPEND | WIRE_REPLY,
    WIRE_PREPARE, WIRE_PREPARE | WIRE_REPLY, WIRE_COMMIT,  WIRE_COMMIT | WIRE_REPLY,
    WIRE_READ,    WIRE_READ | WIRE_REPLY,    WIRE_FETCH,   WIRE_FETCH | WIRE_REPLY,
    WIRE_LOOKUP,  WIRE_LOOKUP | WIRE_REPLY,  WIRE_INSPECT, WIRE_INSPECT | WIRE_REPLY,
    WIRE_PUSH,    WIRE_PUSH | WIRE_REPLY,    WIRE_HOLD,    WIRE_HOLD | WIRE_REPLY,
    WIRE_WINDOW,  WIRE_WINDOW | WIRE_REPLY,
};
static_assert(PAWL_ARRAY_COUNT(all_types) == 2 * (WIRE_TYPES - 1), "a type is missing");

static void test_check_when_message_is_sound_then_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(all_types); i++) {
        uint8_t message[256];
        uint32_t bytes = make_message(all_types[i], message);
        assert_int_equal(check(message, bytes), 0);
    }
}

static void test_check_when_a_table_was_fetched_then_it_is_of_whole_rows(void **state)
{
    (void)state;
    static const struct {
        uint32_t length;
        int code;
    } tables[] = {
        {0, 0},
        {64, 0},
        {WIRE_TABLE_ROWS_MAX * 64, 0},
        {63, PAWL_EPROTOCOL},
        {65, PAWL_EPROTOCOL},
        {WIRE_TABLE_ROWS_MAX * 64 + 64, PAWL_EPROTOCOL},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(tables); i++) {
        struct wire_fetched message = {
            .chunk = 1, .index = WIRE_FETCH_TABLE, .length = tables[i].length};
        wire_header_init(&message.header, WIRE_FETCH | WIRE_REPLY, sizeof(message), 1);
        assert_int_equal(check(&message, sizeof(message)), tables[i].code);
    }
}

// A byte pattern of one field of a message type that must be refused.
struct wrong {
    uint16_t type;
    size_t offset, bytes;
    uint64_t value;
};
#define WRONG(type, name, field, value)                                                            \
    {                                                                                              \
        type, offsetof(struct name, field), sizeof(((struct name *)0)->field), value               \
    }
#define REPLY(type) ((type) | WIRE_REPLY)
#define U64_MAX 0xffffffffffffffffull

static const struct wrong wrongs[] = {
    WRONG(WIRE_HELLO, wire_hello, server_id, 0), // a client with an incarnation
    WRONG(WIRE_HELLO, wire_hello, reserved, 1),
    WRONG(WIRE_HELLO, wire_hello, reactor, 1), // of one
    WRONG(WIRE_HELLO, wire_hello, reactors_count, 1),
    WRONG(WIRE_HELLO, wire_hello, reactors_count, 65),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, window_slots, 65),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, slot_bytes, 0),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, slot_bytes, WIRE_SLOT_BYTES + 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, requests_count, 0),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, run_bytes_max, WIRE_INLINE_MAX - 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, run_bytes_max, WIRE_RUN_BYTES_MAX + 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, reserved, 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, reactor, 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, reactors_count, 1),
    WRONG(REPLY(WIRE_HELLO), wire_welcome, reactors_count, 65),
    WRONG(WIRE_APPEND, wire_append, chunk, 0),
    WRONG(WIRE_APPEND, wire_append, version, 0),
    WRONG(WIRE_APPEND, wire_append, id.sequence, 0),
    WRONG(WIRE_APPEND, wire_append, id.flags, 4),
    WRONG(WIRE_APPEND, wire_append, id.flags, WIRE_RECORD_EPOCH),
    WRONG(WIRE_APPEND, wire_append, id.flags, WIRE_RECORD_PUSH),
    WRONG(WIRE_APPEND, wire_append, length, 0),
    WRONG(WIRE_APPEND, wire_append, length, 2 * WIRE_SLOT_BYTES + 1),
    WRONG(WIRE_APPEND, wire_append, length, WIRE_RECORD_MAX + 1),
    WRONG(WIRE_APPEND, wire_append, length, 0xffffffff),
    WRONG(WIRE_APPEND, wire_append, slot_first, 63),
    WRONG(WIRE_APPEND, wire_append, slot_first, 0xffff),
    WRONG(WIRE_APPEND, wire_append, slot_count, 0),
    WRONG(WIRE_APPEND, wire_append, slot_count, 1),
    WRONG(WIRE_APPEND, wire_append, slot_count, 0xffff),
    WRONG(WIRE_APPEND, wire_append, flags, 2),
    WRONG(REPLY(WIRE_APPEND), wire_appended, duplicate, 2),
    WRONG(REPLY(WIRE_APPEND), wire_appended, flags, 2),
    WRONG(WIRE_PREPARE, wire_prepare, chunk, 0),
    WRONG(WIRE_PREPARE, wire_prepare, version, 0),
    WRONG(WIRE_PREPARE, wire_prepare, index, 4), // below the commit count
    WRONG(WIRE_PREPARE, wire_prepare, offset, U64_MAX),
    WRONG(WIRE_PREPARE, wire_prepare, id.sequence, 0),
    WRONG(WIRE_PREPARE, wire_prepare, id.flags, 0x80000000),
    WRONG(WIRE_PREPARE, wire_prepare, id.flags, WIRE_RECORD_PUSH),    // and a record
    WRONG(WIRE_PREPARE, wire_prepare, flags, WIRE_PREPARE_PUSH_ONLY), // and a record's id
    WRONG(WIRE_PREPARE, wire_prepare, commit_count, 6),
    WRONG(WIRE_PREPARE, wire_prepare, length, 0),
    WRONG(WIRE_PREPARE, wire_prepare, length, WIRE_SLOT_BYTES + 1),
    WRONG(WIRE_PREPARE, wire_prepare, slot_first, 64),
    WRONG(WIRE_PREPARE, wire_prepare, slot_count, 2),
    WRONG(WIRE_PREPARE, wire_prepare, slot_count, 0),
    WRONG(WIRE_PREPARE, wire_prepare, flags, WIRE_PREPARE_PUSHED), // and slots
    WRONG(WIRE_PREPARE, wire_prepare, flags, 8),
    WRONG(WIRE_WINDOW, wire_window, slots_wanted, 65),
    WRONG(WIRE_WINDOW, wire_window, slots_wanted, 3), // fewer than needed
    WRONG(WIRE_WINDOW, wire_window, slots_wanted, 0),
    WRONG(WIRE_WINDOW, wire_window, slots_needed, 65),
    WRONG(WIRE_WINDOW, wire_window, reserved, 1),
    WRONG(REPLY(WIRE_WINDOW), wire_granted, window_slots, 65),
    WRONG(REPLY(WIRE_WINDOW), wire_granted, reserved, 1),
    WRONG(WIRE_HOLD, wire_hold, chunk, 0),
    WRONG(WIRE_HOLD, wire_hold, version, 0),
    WRONG(WIRE_HOLD, wire_hold, count, 0),
    WRONG(WIRE_PUSH, wire_push, chunk, 0),
    WRONG(WIRE_PUSH, wire_push, version, 0),
    WRONG(WIRE_PUSH, wire_push, id.sequence, 0),
    WRONG(WIRE_PUSH, wire_push, length, 0),
    WRONG(WIRE_PUSH, wire_push, length, 2 * WIRE_SLOT_BYTES + 1),
    WRONG(WIRE_PUSH, wire_push, bytes, 0),
    WRONG(WIRE_PUSH, wire_push, bytes, 2 * WIRE_SLOT_BYTES - 1), // and goes nowhere
    WRONG(WIRE_PUSH, wire_push, bytes, 2 * WIRE_SLOT_BYTES + 1),
    WRONG(WIRE_PUSH, wire_push, offset, 1),
    WRONG(WIRE_PUSH, wire_push, slot_first, 63),
    WRONG(WIRE_PUSH, wire_push, slot_count, 0),
    WRONG(WIRE_PUSH, wire_push, slot_count, 1),
    WRONG(REPLY(WIRE_PREPARE), wire_prepared, chunk, 0),
    WRONG(REPLY(WIRE_PREPARE), wire_prepared, version, 0),
    WRONG(REPLY(WIRE_PREPARE), wire_prepared, earlier_count, 1 << 20),
    WRONG(REPLY(WIRE_PREPARE), wire_prepared, reserved, 1),
    WRONG(WIRE_COMMIT, wire_commit, chunk, 0),
    WRONG(WIRE_COMMIT, wire_commit, version, 0),
    WRONG(WIRE_READ, wire_read, chunk, 0),
    WRONG(WIRE_READ, wire_read, offset, U64_MAX),
    WRONG(WIRE_READ, wire_read, buffer_address, U64_MAX),
    WRONG(WIRE_READ, wire_read, length, 0),
    WRONG(WIRE_READ, wire_read, length, WIRE_READ_MAX + 1),
    WRONG(WIRE_READ, wire_read, reserved, 1),
    WRONG(WIRE_READ, wire_read, flags, 2),
    WRONG(REPLY(WIRE_READ), wire_read_done, length, WIRE_READ_MAX + 1),
    WRONG(REPLY(WIRE_READ), wire_read_done, sealed, 2),
    WRONG(WIRE_FETCH, wire_fetch, chunk, 0),
    WRONG(WIRE_FETCH, wire_fetch, version, 0),
    WRONG(WIRE_FETCH, wire_fetch, buffer_address, U64_MAX),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, chunk, 0),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, offset, U64_MAX),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, id.sequence, 0),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, id.flags, 4),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, length, 0),
    WRONG(REPLY(WIRE_FETCH), wire_fetched, length, WIRE_RECORD_MAX + 1),
    WRONG(WIRE_LOOKUP, wire_lookup, chunk, 0),
    WRONG(WIRE_LOOKUP, wire_lookup, id.flags, 4),
    WRONG(WIRE_LOOKUP, wire_lookup, length, WIRE_RECORD_MAX + 1),
    WRONG(WIRE_LOOKUP, wire_lookup, compare, 2),
    WRONG(WIRE_LOOKUP, wire_lookup, reserved, 1),
    WRONG(REPLY(WIRE_LOOKUP), wire_appended, duplicate, 2),
    WRONG(REPLY(WIRE_LOOKUP), wire_appended, flags, 2),
    WRONG(WIRE_INSPECT, wire_inspect, chunk, 0),
    WRONG(REPLY(WIRE_INSPECT), wire_inspected, sealed, 2),
    WRONG(REPLY(WIRE_INSPECT), wire_inspected, primary, 2),
};

static void test_check_when_a_field_is_wrong_then_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrongs); i++) {
        const struct wrong *w = &wrongs[i];
        uint8_t message[256];
        uint32_t bytes = make_message(w->type, message);
        memcpy(message + w->offset, &w->value, w->bytes);
        if (check(message, bytes) != PAWL_EPROTOCOL)
            fail_msg("case %zu: %s with %zu bytes at %zu = %llu passes", i, wire_type_name(w->type),
                     w->bytes, w->offset, (unsigned long long)w->value);
    }
}

static void test_check_when_the_header_is_wrong_then_refuses(void **state)
{
    (void)state;
    static const struct wrong cases[] = {
        WRONG(0, wire_header, magic, 0),          WRONG(0, wire_header, magic, WIRE_MAGIC + 1),
        WRONG(0, wire_header, format, 0),         WRONG(0, wire_header, format, WIRE_FORMAT + 1),
        WRONG(0, wire_header, type, 0),           WRONG(0, wire_header, type, WIRE_TYPES),
        WRONG(0, wire_header, type, WIRE_REPLY),  WRONG(0, wire_header, type, 0x7fff),
        WRONG(0, wire_header, type, 0xffff),      WRONG(0, wire_header, bytes, 0),
        WRONG(0, wire_header, bytes, 0xffffffff), WRONG(0, wire_header, status, 1),
        WRONG(0, wire_header, features, 1),       WRONG(0, wire_header, features, 0x80000000),
        WRONG(0, wire_header, flags, 2),          WRONG(0, wire_header, flags, 0x80000000),
    };
    for (size_t t = 0; t < PAWL_ARRAY_COUNT(all_types); t++) {
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
            uint8_t message[256];
            uint32_t bytes = make_message(all_types[t], message);
            memcpy(message + cases[i].offset, &cases[i].value, cases[i].bytes);
            assert_int_equal(check(message, bytes), PAWL_EPROTOCOL);
        }
    }
}

static void test_check_when_cut_or_extended_then_refuses(void **state)
{
    (void)state;
    for (size_t t = 0; t < PAWL_ARRAY_COUNT(all_types); t++) {
        uint8_t message[256] = {0};
        uint32_t bytes = make_message(all_types[t], message);
        for (uint32_t n = 0; n <= bytes + 8; n++) {
            if (n == bytes)
                continue;
            uint8_t cut[256];
            memcpy(cut, message, sizeof(cut));
            assert_int_equal(check(cut, n), PAWL_EPROTOCOL); // the header's length differs
            memcpy(cut + offsetof(struct wire_header, bytes), &n, sizeof(n));
            assert_int_equal(check(cut, n), PAWL_EPROTOCOL); // the header agrees
        }
    }
}

static void test_check_when_a_request_has_a_status_then_refuses(void **state)
{
    (void)state;
    struct wire_inspect m = {.header = header_of(WIRE_INSPECT, sizeof(m), -5), .chunk = 1};
    assert_int_equal(check(&m, sizeof(m)), PAWL_EPROTOCOL);
    m.header.status = 0;
    assert_int_equal(check(&m, sizeof(m)), 0);
}

static void test_check_when_a_refusal_is_a_bare_header_then_passes(void **state)
{
    (void)state;
    for (size_t t = 0; t < PAWL_ARRAY_COUNT(all_types); t++) {
        if (!(all_types[t] & WIRE_REPLY))
            continue;
        struct wire_header h = header_of(all_types[t], sizeof(h), PAWL_ESTALE);
        assert_int_equal(check(&h, sizeof(h)), 0);
    }
}

static void test_check_when_a_refusal_needs_its_fields_then_a_bare_header_is_refused(void **state)
{
    (void)state;
    static const int codes[] = {PAWL_EEXPECT, PAWL_EEARLIER, PAWL_EABSENT};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(codes); i++) {
        struct wire_header h = header_of(WIRE_APPEND | WIRE_REPLY, sizeof(h), codes[i]);
        assert_int_equal(check(&h, sizeof(h)), PAWL_EPROTOCOL);
        struct wire_appended m = {.header =
                                      header_of(WIRE_APPEND | WIRE_REPLY, sizeof(m), codes[i])};
        assert_int_equal(check(&m, sizeof(m)), 0);
    }
}

static void test_check_when_payload_is_inline_then_its_length_must_fit(void **state)
{
    (void)state;
    uint8_t message[WIRE_MESSAGE_MAX] = {0};
    struct wire_append m = {.chunk = 1, .version = 1, .id = some_id, .length = WIRE_INLINE_MAX};
    uint32_t bytes = sizeof(m) + WIRE_INLINE_MAX;
    m.header = header_of(WIRE_APPEND, bytes, 0);
    memcpy(message, &m, sizeof(m));
    assert_int_equal(check(message, bytes), 0);

    m.length = WIRE_INLINE_MAX - 1;
    memcpy(message, &m, sizeof(m));
    assert_int_equal(check(message, bytes), PAWL_EPROTOCOL);

    m.length = WIRE_INLINE_MAX + 1;
    bytes++;
    m.header.bytes = bytes;
    memcpy(message, &m, sizeof(m));
    assert_int_equal(check(message, bytes), PAWL_EPROTOCOL);
}

static void test_check_when_longer_than_any_message_then_refuses(void **state)
{
    (void)state;
    uint8_t message[WIRE_MESSAGE_MAX + 1] = {0};
    struct wire_header h = header_of(WIRE_APPEND, sizeof(message), 0);
    memcpy(message, &h, sizeof(h));
    assert_int_equal(check(message, sizeof(message)), PAWL_EPROTOCOL);
}

static void test_check_when_an_epoch_record_then_it_has_no_payload(void **state)
{
    (void)state;
    struct wire_append m = {.header = header_of(WIRE_APPEND, sizeof(m), 0),
                            .chunk = 1,
                            .version = 1,
                            .id = {.producer_lo = 2, .epoch = 1, .flags = WIRE_RECORD_EPOCH}};
    assert_int_equal(check(&m, sizeof(m)), 0);
    m.id.epoch = 0;
    assert_int_equal(check(&m, sizeof(m)), PAWL_EPROTOCOL);
    m.id.epoch = 1;
    m.slot_count = 1;
    assert_int_equal(check(&m, sizeof(m)), PAWL_EPROTOCOL);
    m.slot_count = 0;
    m.slot_first = 1;
    assert_int_equal(check(&m, sizeof(m)), PAWL_EPROTOCOL);
}

static void test_check_when_pushed_alone_then_under_no_record_id(void **state)
{
    (void)state;
    struct wire_prepare prepare;
    struct wire_push push;
    make_message(WIRE_PREPARE, &prepare);
    make_message(WIRE_PUSH, &push);
    prepare.flags = WIRE_PREPARE_PUSH_ONLY;
    prepare.id.flags = WIRE_RECORD_PUSH;
    push.id.flags = WIRE_RECORD_PUSH;
    assert_int_equal(check(&prepare, sizeof(prepare)), 0);
    assert_int_equal(check(&push, sizeof(push)), 0);
    prepare.length = WIRE_INLINE_MAX;
    push.length = WIRE_INLINE_MAX;
    push.bytes = WIRE_INLINE_MAX;
    assert_int_equal(check(&prepare, sizeof(prepare)), PAWL_EPROTOCOL);
    assert_int_equal(check(&push, sizeof(push)), PAWL_EPROTOCOL);
}

// A sound run of three records in `out`, in an APPEND or a PREPARE; its bytes.
static uint32_t make_run(uint16_t type, uint8_t *out)
{
    const struct wire_run_row rows[3] = {{.length = 5, .crc = 1}, {.length = 1}, {.length = 30}};
    uint32_t bytes = wire_struct_bytes(type) + wire_rows_bytes(3) + 36;
    struct wire_append append = {.chunk = 1, .version = 1, .id = some_id, .length = 36};
    struct wire_prepare prepare = {.chunk = 1, .version = 1, .id = some_id, .length = 36};
    append.run_count = 3;
    prepare.run_count = 3;
    append.header = header_of(type, bytes, 0);
    prepare.header = append.header;
    memset(out, 0, WIRE_MESSAGE_MAX);
    memcpy(out, type == WIRE_APPEND ? (void *)&append : (void *)&prepare, wire_struct_bytes(type));
    memcpy(out + wire_struct_bytes(type), rows, sizeof(rows));
    return bytes;
}

static void test_check_when_a_run_is_sound_then_passes_and_cut_anywhere_is_refused(void **state)
{
    (void)state;
    static const uint16_t types[] = {WIRE_APPEND, WIRE_PREPARE};
    uint8_t message[WIRE_MESSAGE_MAX];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(types); i++) {
        uint32_t bytes = make_run(types[i], message);
        assert_int_equal(check(message, bytes), 0);
        for (uint32_t cut = wire_struct_bytes(types[i]); cut < bytes; cut++) {
            struct wire_header header = header_of(types[i], cut, 0);
            uint8_t *exact = malloc(cut); // so that a sanitizer sees a step beyond it
            memcpy(exact, message, cut);
            memcpy(exact, &header, sizeof(header));
            assert_int_equal(check(exact, cut), PAWL_EPROTOCOL);
            free(exact);
        }
    }
}

static int check_changed_append(void (*change)(struct wire_append *append,
                                               struct wire_run_row *rows))
{
    uint8_t message[WIRE_MESSAGE_MAX];
    struct wire_append append;
    struct wire_run_row rows[3];
    uint32_t bytes = make_run(WIRE_APPEND, message);
    memcpy(&append, message, sizeof(append));
    memcpy(rows, message + sizeof(append), sizeof(rows));
    change(&append, rows);
    memcpy(message, &append, sizeof(append));
    memcpy(message + sizeof(append), rows, sizeof(rows));
    return check(message, bytes);
}

#define CHANGE(name, what)                                                                         \
    static void name(struct wire_append *append, struct wire_run_row *rows)                        \
    {                                                                                              \
        (void)append;                                                                              \
        (void)rows;                                                                                \
        what;                                                                                      \
    }
CHANGE(count_one, append->run_count = 1)
CHANGE(count_two, append->run_count = 2)
CHANGE(count_most, append->run_count = UINT16_MAX)
CHANGE(flags, append->id.flags = WIRE_RECORD_WRITE)
CHANGE(sequence_last, append->id.sequence = UINT64_MAX)
CHANGE(slot, append->slot_count = 1)
CHANGE(slot_first, append->slot_first = 1)
CHANGE(length, append->length++)
CHANGE(row_empty, (rows[0].length = 6, rows[1].length = 0))
CHANGE(row_long, rows[2].length++)
CHANGE(row_overflows, (rows[0].length = UINT32_MAX, rows[1].length = 7))
#undef CHANGE

static void test_check_when_a_run_is_wrong_then_refuses(void **state)
{
    (void)state;
    void (*const changes[])(struct wire_append *, struct wire_run_row *) = {
        count_one,  count_two, count_most, flags,    sequence_last, slot,
        slot_first, length,    row_empty,  row_long, row_overflows};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(changes); i++) {
        assert_int_equal(check_changed_append(changes[i]), PAWL_EPROTOCOL);
    }
}

// A run of two, whose first record has so many bytes and whose rows and payloads together have that many.
static int check_long_run(uint32_t first_bytes, uint32_t inline_bytes)
{
    static uint8_t message[WIRE_MESSAGE_MAX + 64];
    const struct wire_run_row rows[2] = {
        {.length = first_bytes}, {.length = inline_bytes - wire_rows_bytes(2) - first_bytes}};
    struct wire_append append = {.chunk = 1, .version = 1, .id = some_id, .run_count = 2};
    append.length = inline_bytes - wire_rows_bytes(2);
    append.header = header_of(WIRE_APPEND, (uint32_t)sizeof(append) + inline_bytes, 0);
    memcpy(message, &append, sizeof(append));
    memcpy(message + sizeof(append), rows, sizeof(rows));
    return check(message, append.header.bytes);
}

static void
test_check_when_a_run_is_long_then_none_of_its_records_is_too_long_for_a_message(void **state)
{
    (void)state;
    assert_int_equal(check_long_run(WIRE_INLINE_MAX, 9000), 0);
    assert_int_equal(check_long_run(WIRE_INLINE_MAX, WIRE_INLINE_MAX * 2 + wire_rows_bytes(2)), 0);
    assert_int_equal(check_long_run(WIRE_INLINE_MAX + 1, 9000), PAWL_EPROTOCOL);
    assert_int_equal(check_long_run(1, WIRE_INLINE_MAX + wire_rows_bytes(2) + 2), PAWL_EPROTOCOL);
}

static void test_check_when_a_run_is_pushed_then_refuses(void **state)
{
    (void)state;
    static const uint16_t flags[] = {WIRE_PREPARE_PUSHED, WIRE_PREPARE_PUSH_ONLY};
    uint8_t message[WIRE_MESSAGE_MAX];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(flags); i++) {
        struct wire_prepare prepare;
        uint32_t bytes = make_run(WIRE_PREPARE, message);
        memcpy(&prepare, message, sizeof(prepare));
        prepare.flags = flags[i];
        memcpy(message, &prepare, sizeof(prepare));
        assert_int_equal(check(message, bytes), PAWL_EPROTOCOL);
    }
}

static void test_run_crc_when_anything_differs_then_is_another(void **state)
{
    (void)state;
    static const char bytes[] = "onetwothree";
    struct wire_run_row rows[3] = {{.length = 3, .crc = pawl_crc32c(0, "one", 3)},
                                   {.length = 3, .crc = pawl_crc32c(0, "two", 3)},
                                   {.length = 5, .crc = pawl_crc32c(0, "three", 5)}};
    uint32_t crc = pawl_crc32c(0, rows, sizeof(rows));
    assert_int_equal(wire_run_crc(rows, 3, bytes, 11, crc), crc);
    assert_int_not_equal(wire_run_crc(rows, 3, "onetwoThree", 11, crc), crc);
    assert_int_not_equal(wire_run_crc(rows, 3, bytes, 10, crc), crc); // never reads beyond it
    assert_int_not_equal(wire_run_crc(rows, 3, bytes, 12, crc), crc);
    rows[0].length = UINT32_MAX; // torn rows are not believed
    assert_int_not_equal(wire_run_crc(rows, 3, bytes, 11, crc), crc);
}

static void test_header_init_then_all_fields_are_set(void **state)
{
    (void)state;
    struct wire_header h;
    memset(&h, 0xff, sizeof(h));
    wire_header_init(&h, WIRE_COMMIT, 56, 9);
    assert_int_equal(h.magic, WIRE_MAGIC);
    assert_int_equal(h.format, WIRE_FORMAT);
    assert_int_equal(h.type, WIRE_COMMIT);
    assert_int_equal(h.bytes, 56);
    assert_int_equal(h.status, 0);
    assert_int_equal(h.request, 9);
    assert_int_equal(h.features, WIRE_FEATURES);
    assert_int_equal(h.flags, 0);
}

static void test_names_and_sizes_when_type_is_unknown_then_say_so(void **state)
{
    (void)state;
    assert_string_equal(wire_type_name(WIRE_APPEND), "append");
    assert_string_equal(wire_type_name(WIRE_APPEND | WIRE_REPLY), "appended");
    assert_string_equal(wire_type_name(0), "unknown");
    assert_string_equal(wire_type_name(WIRE_TYPES), "unknown");
    assert_int_equal(wire_struct_bytes(WIRE_TYPES | WIRE_REPLY), 0);
    assert_int_equal(wire_struct_bytes(WIRE_REPLY), 0);
    assert_int_equal(wire_struct_bytes(WIRE_COMMIT | WIRE_REPLY), sizeof(struct wire_header));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_when_message_is_sound_then_passes),
        cmocka_unit_test(test_check_when_a_table_was_fetched_then_it_is_of_whole_rows),
        cmocka_unit_test(test_check_when_a_field_is_wrong_then_refuses),
        cmocka_unit_test(test_check_when_the_header_is_wrong_then_refuses),
        cmocka_unit_test(test_check_when_cut_or_extended_then_refuses),
        cmocka_unit_test(test_check_when_a_request_has_a_status_then_refuses),
        cmocka_unit_test(test_check_when_a_refusal_is_a_bare_header_then_passes),
        cmocka_unit_test(test_check_when_a_refusal_needs_its_fields_then_a_bare_header_is_refused),
        cmocka_unit_test(test_check_when_payload_is_inline_then_its_length_must_fit),
        cmocka_unit_test(test_check_when_longer_than_any_message_then_refuses),
        cmocka_unit_test(test_check_when_an_epoch_record_then_it_has_no_payload),
        cmocka_unit_test(test_check_when_pushed_alone_then_under_no_record_id),
        cmocka_unit_test(test_check_when_a_run_is_sound_then_passes_and_cut_anywhere_is_refused),
        cmocka_unit_test(test_check_when_a_run_is_wrong_then_refuses),
        cmocka_unit_test(test_check_when_a_run_is_pushed_then_refuses),
        cmocka_unit_test(
            test_check_when_a_run_is_long_then_none_of_its_records_is_too_long_for_a_message),
        cmocka_unit_test(test_run_crc_when_anything_differs_then_is_another),
        cmocka_unit_test(test_header_init_then_all_fields_are_set),
        cmocka_unit_test(test_names_and_sizes_when_type_is_unknown_then_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
