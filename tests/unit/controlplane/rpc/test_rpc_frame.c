// SPDX-License-Identifier: Apache-2.0
// Tests of frames and of cutting a stream into them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "controlplane/rpc/frame.h"

#define FRAME_MAX (1u << 20)

static const struct rpc_frame example = {
    .kind = RPC_FRAME_REPLY,
    .payload_bytes = 1000,
    .request_id = UINT64_C(0x1122334455667788),
};

static void test_frame_encode_when_decoded_is_the_same(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    struct rpc_frame frame;
    struct rpc_frame_error error;
    rpc_frame_encode(&example, header);
    assert_int_equal(rpc_frame_decode(header, FRAME_MAX, &frame, &error), 0);
    assert_int_equal(frame.kind, example.kind);
    assert_int_equal(frame.payload_bytes, example.payload_bytes);
    assert_true(frame.request_id == example.request_id);
    // The bytes themselves are the format.
    static const uint8_t expected[16] = {0x50, 0x57, 0x43, 0x4c, 1, 0, 2, 0,
                                         0xe8, 3,    0,    0,    0, 0, 0, 0};
    assert_memory_equal(header, expected, sizeof(expected));
    assert_int_equal(header[16], 0x88);
    assert_int_equal(header[23], 0x11);
}

// One wrong byte per field, and what the reason must name.
static void test_frame_decode_when_a_field_is_wrong_refuses(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t value;
        const char *reason;
    } cases[] = {
        {0, 0x51, "ours with 4c435750"},
        {3, 0, "no Pawl frame"},
        {4, 2, "peer speaks frame format 2, this side format 1"},
        {6, 3, "unknown frame kind 3"},
        {6, 0, "unknown frame kind 0"},
        {11, 0xff, "frame claims 4278191080 bytes"},
        {12, 1, "features 00000001"},
        {24, 1, "features"},
        {31, 1, "features"},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        uint8_t header[RPC_FRAME_HEADER_BYTES];
        struct rpc_frame frame;
        struct rpc_frame_error error = {.text = ""};
        rpc_frame_encode(&example, header);
        header[cases[i].at] = cases[i].value;
        assert_int_equal(rpc_frame_decode(header, FRAME_MAX, &frame, &error), PAWL_EPROTOCOL);
        if (strstr(error.text, cases[i].reason) == NULL) {
            fail_msg("case %zu: '%s' lacks '%s'", i, error.text, cases[i].reason);
        }
    }
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    struct rpc_frame frame;
    struct rpc_frame_error error;
    rpc_frame_encode(&example, header);
    memset(header + 16, 0, 8);
    assert_int_equal(rpc_frame_decode(header, FRAME_MAX, &frame, &error), PAWL_EPROTOCOL);
}

static void test_frame_decode_when_at_the_limit_takes_it(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    struct rpc_frame frame = example;
    struct rpc_frame_error error;
    frame.payload_bytes = FRAME_MAX - RPC_FRAME_HEADER_BYTES;
    rpc_frame_encode(&frame, header);
    assert_int_equal(rpc_frame_decode(header, FRAME_MAX, &frame, &error), 0);
    frame.payload_bytes++;
    rpc_frame_encode(&frame, header);
    assert_int_equal(rpc_frame_decode(header, FRAME_MAX, &frame, &error), PAWL_EPROTOCOL);
}

static void feed(struct rpc_input *input, const uint8_t *bytes, size_t count)
{
    while (count > 0) {
        uint8_t *room;
        size_t room_bytes;
        assert_int_equal(rpc_input_room(input, &room, &room_bytes), 0);
        assert_true(room_bytes > 0);
        size_t taken = PAWL_MIN(count, room_bytes);
        memcpy(room, bytes, taken);
        rpc_input_filled(input, taken);
        bytes += taken;
        count -= taken;
    }
}

// Three frames of 0, 1 and 77 bytes of payload.
static size_t make_stream(uint8_t *bytes)
{
    static const uint32_t payloads[] = {0, 1, 77};
    size_t used = 0;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(payloads); i++) {
        struct rpc_frame frame = {RPC_FRAME_REQUEST, payloads[i], i + 1};
        rpc_frame_encode(&frame, bytes + used);
        used += RPC_FRAME_HEADER_BYTES;
        memset(bytes + used, (int)(0x40 + i), payloads[i]);
        used += payloads[i];
    }
    return used;
}

static void test_input_next_when_split_at_every_byte_gives_the_same_frames(void **state)
{
    (void)state;
    uint8_t bytes[512];
    size_t total = make_stream(bytes);
    for (size_t split = 0; split <= total; split++) {
        struct rpc_input input;
        struct rpc_frame frame;
        struct rpc_frame_error error;
        const uint8_t *payload;
        uint64_t seen = 0;
        rpc_input_init(&input, FRAME_MAX);
        for (int part = 0; part < 2; part++) {
            feed(&input, part == 0 ? bytes : bytes + split, part == 0 ? split : total - split);
            int rc;
            while ((rc = rpc_input_next(&input, &frame, &payload, &error)) == 1) {
                assert_int_equal(frame.request_id, ++seen);
                for (uint32_t i = 0; i < frame.payload_bytes; i++) {
                    assert_int_equal(payload[i], 0x40 + seen - 1);
                }
            }
            assert_int_equal(rc, 0);
        }
        assert_int_equal(seen, 3);
        rpc_input_fini(&input);
    }
}

static void test_input_room_when_a_huge_frame_is_claimed_grows_only_with_what_arrives(void **state)
{
    (void)state;
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    uint8_t filler[1000] = {0};
    struct rpc_input input;
    struct rpc_frame frame = {RPC_FRAME_REQUEST, FRAME_MAX - RPC_FRAME_HEADER_BYTES, 1};
    struct rpc_frame_error error;
    const uint8_t *payload;
    rpc_input_init(&input, FRAME_MAX);
    rpc_frame_encode(&frame, header);
    feed(&input, header, sizeof(header));
    assert_int_equal(rpc_input_next(&input, &frame, &payload, &error), 0);
    assert_true(input.capacity <= 4096);
    size_t fed = sizeof(header);
    while (fed + sizeof(filler) < FRAME_MAX) {
        feed(&input, filler, sizeof(filler));
        fed += sizeof(filler);
        assert_int_equal(rpc_input_next(&input, &frame, &payload, &error), 0);
        assert_true(input.capacity <= PAWL_MAX(2 * fed, (size_t)4096));
    }
    feed(&input, filler, FRAME_MAX - fed);
    assert_int_equal(rpc_input_next(&input, &frame, &payload, &error), 1);
    // The large buffer is given back once it is empty.
    uint8_t *room;
    size_t room_bytes;
    assert_int_equal(rpc_input_room(&input, &room, &room_bytes), 0);
    assert_true(input.capacity <= 4096);
    rpc_input_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_encode_when_decoded_is_the_same),
        cmocka_unit_test(test_frame_decode_when_a_field_is_wrong_refuses),
        cmocka_unit_test(test_frame_decode_when_at_the_limit_takes_it),
        cmocka_unit_test(test_input_next_when_split_at_every_byte_gives_the_same_frames),
        cmocka_unit_test(test_input_room_when_a_huge_frame_is_claimed_grows_only_with_what_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
