// SPDX-License-Identifier: Apache-2.0
// Tests of the RPC server against peers that break the rules: the connection ends, the server
// lives.
#include "rig.h"

#include <sys/socket.h>
#include <unistd.h>

#include "controlplane/rpc/frame.h"

// Every test ends with this: another peer is still served.
static void check_alive(struct rig *rig)
{
    struct rig_calls calls = {0};
    struct rpc_conn *conn = rig_connect(rig, NULL);
    rig->server_side.hold = false;
    rig->server_side.reply_text_bytes = 0;
    rig_call(conn, &calls, 0);
    rig_run_until(rig, calls.ok == 1);
}

static size_t make_frame(uint8_t *bytes, uint64_t id, const void *payload, size_t payload_bytes)
{
    struct rpc_frame frame = {RPC_FRAME_REQUEST, (uint32_t)payload_bytes, id};
    rpc_frame_encode(&frame, bytes);
    if (payload_bytes != 0) {
        memcpy(bytes + RPC_FRAME_HEADER_BYTES, payload, payload_bytes);
    }
    return RPC_FRAME_HEADER_BYTES + payload_bytes;
}

static size_t make_mkdir(uint8_t *bytes, uint64_t id)
{
    static const uint8_t mkdir[] = {1 << 3 | 2, 3, 1 << 3 | 2, 1, '/'};
    return make_frame(bytes, id, mkdir, sizeof(mkdir));
}

static void test_server_when_garbage_comes_closes(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t bytes[1000];
    rig_start(&rig, NULL);
    for (unsigned seed = 0; seed < 20; seed++) {
        int fd = rig_raw_connect(&rig);
        srandom(seed);
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)random();
        }
        rig_raw_send(fd, bytes, sizeof(bytes));
        int closed = rig.server_side.closed;
        rig_run_until(&rig, rig.server_side.closed > closed);
        assert_int_equal(rig.server_side.why, PAWL_EPROTOCOL);
        close(fd);
    }
    assert_int_equal(rig.server_side.requests, 0);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_four_gibibytes_are_claimed_closes_at_the_header(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    struct rpc_frame frame = {RPC_FRAME_REQUEST, UINT32_MAX, 1};
    rig_start(&rig, NULL);
    int fd = rig_raw_connect(&rig);
    rpc_frame_encode(&frame, header);
    rig_raw_send(fd, header, sizeof(header));
    rig_run_until(&rig, rig.server_side.closed == 1);
    assert_int_equal(rig.server_side.why, PAWL_EPROTOCOL);
    close(fd);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_frame_is_truncated_closes(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t bytes[64];
    size_t total = make_mkdir(bytes, 1);
    rig_start(&rig, NULL);
    for (size_t sent = 1; sent < total; sent++) {
        int fd = rig_raw_connect(&rig);
        rig_raw_send(fd, bytes, sent);
        close(fd);
        int closed = rig.server_side.closed;
        rig_run_until(&rig, rig.server_side.closed > closed);
        assert_int_equal(rig.server_side.why, PAWL_EDISCONNECTED);
    }
    assert_int_equal(rig.server_side.requests, 0);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_bytes_come_one_by_one_serves_them(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t bytes[64];
    size_t total = make_mkdir(bytes, 1);
    rig_start(&rig, NULL);
    int fd = rig_raw_connect(&rig);
    for (size_t i = 0; i < total; i++) {
        rig_raw_send(fd, bytes + i, 1);
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    }
    rig_run_until(&rig, rig.server_side.requests == 1);
    close(fd);
    rig_stop(&rig);
}

// Sends one request, expects an error reply and then the end of the stream.
static void expect_refusal(struct rig *rig, const void *payload, size_t payload_bytes)
{
    uint8_t *bytes = malloc(RPC_FRAME_HEADER_BYTES + payload_bytes);
    int fd = rig_raw_connect(rig);
    int closed = rig->server_side.closed;
    rig_raw_send(fd, bytes, make_frame(bytes, 77, payload, payload_bytes));
    free(bytes);
    uint8_t answer[512];
    size_t got = 0;
    ssize_t count = -1;
    rig_watchdog_start(rig);
    while (count != 0) { // to the end of the stream
        uv_run(&rig->loop, UV_RUN_NOWAIT);
        count = recv(fd, answer + got, sizeof(answer) - got, MSG_DONTWAIT);
        got += count > 0 ? (size_t)count : 0;
    }
    close(fd);
    rig_run_until(rig, rig->server_side.closed > closed);
    assert_int_equal(rig->server_side.why, PAWL_EPROTOCOL);
    assert_true(got > RPC_FRAME_HEADER_BYTES);
    struct rpc_frame frame;
    struct rpc_frame_error error;
    assert_int_equal(rpc_frame_decode(answer, 1 << 20, &frame, &error), 0);
    assert_int_equal(frame.kind, RPC_FRAME_REPLY);
    assert_int_equal(frame.request_id, 77);
    assert_int_equal(frame.payload_bytes, got - RPC_FRAME_HEADER_BYTES);
    Pawl__Reply *reply =
        pawl__reply__unpack(NULL, frame.payload_bytes, answer + RPC_FRAME_HEADER_BYTES);
    assert_non_null(reply);
    assert_int_equal(reply->code, PAWL_EPROTOCOL);
    assert_true(strlen(reply->text) > 0);
    pawl__reply__free_unpacked(reply, NULL);
}

static void test_server_when_request_is_unknown_answers_and_closes(void **state)
{
    (void)state;
    struct rig rig;
    static const uint8_t unknown[] = {0xfa, 0x3f, 1, 'x'}; // field 1023
    static const uint8_t broken[] = {1 << 3 | 2, 200, 1};
    rig_start(&rig, NULL);
    expect_refusal(&rig, unknown, sizeof(unknown));
    expect_refusal(&rig, NULL, 0); // a request without a body
    expect_refusal(&rig, broken, sizeof(broken));
    assert_int_equal(rig.server_side.requests, 0);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_message_unpacks_to_too_much_refuses(void **state)
{
    (void)state;
    enum { ELEMENTS = 50000 };
    struct rig rig;
    const struct rpc_options options = {.size = sizeof(options), .unpack_bytes_max = 1 << 20};
    uint8_t *bytes = malloc(8 + ELEMENTS * 2);
    size_t inner = ELEMENTS * 2, at = 0;
    bytes[at++] = 0xa2; // field 20, Register
    bytes[at++] = 0x01;
    for (; inner >= 128; inner >>= 7) {
        bytes[at++] = (uint8_t)(inner | 128);
    }
    bytes[at++] = (uint8_t)inner;
    for (size_t i = 0; i < ELEMENTS; i++) {
        bytes[at++] = 9 << 3 | 2;
        bytes[at++] = 0;
    }
    rig_start(&rig, &options);
    expect_refusal(&rig, bytes, at);
    free(bytes);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_peer_answers_what_nobody_asked_closes(void **state)
{
    (void)state;
    struct rig rig;
    uint8_t header[RPC_FRAME_HEADER_BYTES];
    struct rpc_frame frame = {RPC_FRAME_REPLY, 0, 5};
    rig_start(&rig, NULL);
    int fd = rig_raw_connect(&rig);
    rpc_frame_encode(&frame, header);
    rig_raw_send(fd, header, sizeof(header));
    rig_run_until(&rig, rig.server_side.closed == 1);
    assert_int_equal(rig.server_side.why, PAWL_EPROTOCOL);
    close(fd);
    rig_stop(&rig);
}

static void test_server_when_peer_says_nothing_closes_after_a_while(void **state)
{
    (void)state;
    struct rig rig;
    const struct rpc_options options = {.size = sizeof(options), .first_frame_ms = 1000};
    rig_start(&rig, &options);
    struct rig_calls calls = {0};
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ok == 1);
    int fd = rig_raw_connect(&rig);
    rig_run_until(&rig, rig.server_side.closed == 1);
    assert_int_equal(rig.server_side.why, PAWL_EDEADLINE);
    assert_true(rpc_conn_is_open(conn)); // it has spoken once
    close(fd);
    rig_stop(&rig);
}

static void test_server_when_peer_does_not_read_closes_at_the_bound(void **state)
{
    (void)state;
    struct rig rig;
    const struct rpc_options options = {.size = sizeof(options), .queue_bytes_max = 1 << 20};
    uint8_t bytes[64];
    rig_start(&rig, &options);
    rig.server_side.reply_text_bytes = 100000;
    int fd = rig_raw_connect(&rig);
    rig_watchdog_start(&rig);
    for (uint64_t id = 1; rig.server_side.closed == 0; id++) {
        size_t total = make_mkdir(bytes, id);
        if (send(fd, bytes, total, MSG_NOSIGNAL) < 0) {
            break;
        }
        uv_run(&rig.loop, UV_RUN_NOWAIT);
    }
    rig_run_until(&rig, rig.server_side.closed == 1);
    assert_int_equal(rig.server_side.why, PAWL_ELIMIT);
    close(fd);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_requests_are_too_many_closes(void **state)
{
    (void)state;
    struct rig rig;
    const struct rpc_options options = {.size = sizeof(options), .requests_count_max = 10};
    uint8_t bytes[64];
    rig_start(&rig, &options);
    rig.server_side.hold = true;
    int fd = rig_raw_connect(&rig);
    for (uint64_t id = 1; id <= 11; id++) {
        size_t total = make_mkdir(bytes, id);
        rig_raw_send(fd, bytes, total);
    }
    rig_run_until(&rig, rig.server_side.closed == 1);
    assert_int_equal(rig.server_side.why, PAWL_ELIMIT);
    assert_int_equal(rig.server_side.requests, 10);
    close(fd);
    check_alive(&rig);
    rig_stop(&rig);
}

static void test_server_when_connections_are_too_many_refuses_more(void **state)
{
    (void)state;
    struct rig rig;
    const struct rpc_options options = {.size = sizeof(options), .connections_count_max = 2};
    rig_start(&rig, &options);
    int first = rig_raw_connect(&rig);
    int second = rig_raw_connect(&rig);
    // Accepted by the kernel, then closed by the server without a handler being called.
    struct rpc_conn *third = rig_connect(&rig, NULL);
    assert_non_null(third);
    rig_run_until(&rig, rig.client_side.closed == 1);
    assert_int_equal(rig.server_side.opened, 2);
    close(first);
    close(second);
    rig_run_until(&rig, rig.server_side.closed == 2);
    check_alive(&rig);
    rig_stop(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server_when_garbage_comes_closes),
        cmocka_unit_test(test_server_when_four_gibibytes_are_claimed_closes_at_the_header),
        cmocka_unit_test(test_server_when_frame_is_truncated_closes),
        cmocka_unit_test(test_server_when_bytes_come_one_by_one_serves_them),
        cmocka_unit_test(test_server_when_request_is_unknown_answers_and_closes),
        cmocka_unit_test(test_server_when_message_unpacks_to_too_much_refuses),
        cmocka_unit_test(test_server_when_peer_answers_what_nobody_asked_closes),
        cmocka_unit_test(test_server_when_peer_says_nothing_closes_after_a_while),
        cmocka_unit_test(test_server_when_peer_does_not_read_closes_at_the_bound),
        cmocka_unit_test(test_server_when_requests_are_too_many_closes),
        cmocka_unit_test(test_server_when_connections_are_too_many_refuses_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
