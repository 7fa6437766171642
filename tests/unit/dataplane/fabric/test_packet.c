// SPDX-License-Identifier: Apache-2.0
// Packets of messages: what gathers, how it is delivered, and what a peer may make up.
#include "fabric_pair.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/log.h"
#include "proto/wire.h"

// As docs/decisions/0050 says.
_Static_assert(2 * (sizeof(struct fabric_frame) + sizeof(struct wire_prepare) +
                    WIRE_RUN_BYTES_MAX) <=
                   FABRIC_PACKET_BYTES * FABRIC_PACKET_TCP_FACTOR,
               "packets of tcp take two of the longest runs");

#define MANY 60u // of 100 bytes: less than a packet

static void note(struct side *side, const struct fabric_event *event)
{
    uint32_t *next = side->ctx;
    uint32_t n;
    memcpy(&n, event->message, sizeof(n));
    assert_int_equal((uintptr_t)event->message % 8, 0);
    side->message_errors += n != *next || event->message_bytes != 100;
    *next = n + 1;
}

static void send_numbered(struct fabric_conn *conn, uint32_t n)
{
    unsigned char message[100] = {0};
    memcpy(message, &n, sizeof(n));
    assert_int_equal(fabric_send(conn, message, sizeof(message)), 0);
}

static void open_and_send_many(struct pair *pair, const char *provider, uint32_t *next)
{
    *next = 0;
    pair_open(pair, provider, NULL);
    pair_connect(pair);
    pair->b.on_message = note;
    pair->b.ctx = next;
    for (uint32_t n = 0; n < MANY; n++) {
        send_numbered(pair->a.conn, n);
    }
}

static void test_sends_when_in_one_turn_then_one_packet_carries_them(void **state)
{
    struct pair pair;
    uint32_t next;
    open_and_send_many(&pair, provider_of(state), &next);
    assert_int_equal(pair.a.conn->sends_count, 1);
    assert_int_equal(pair.a.conn->posted_count, 0);
    assert_int_equal(fabric_try_wait(pair.a.fabric), -EAGAIN); // nobody sleeps on them
    fabric_flush(pair.a.fabric);
    assert_int_equal(pair.a.conn->sends_count, 1);
    assert_null(pair.a.conn->gathered);
    poll_until(&pair, pair.b.messages == MANY);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

static void test_poll_when_messages_were_gathered_then_they_leave(void **state)
{
    struct pair pair;
    uint32_t next;
    open_and_send_many(&pair, provider_of(state), &next);
    poll_until(&pair, pair.b.messages == MANY);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

static void test_sends_when_a_packet_is_full_then_the_next_begins(void **state)
{
    struct pair pair;
    uint32_t next, sent = MANY;
    open_and_send_many(&pair, provider_of(state), &next);
    while (pair.a.conn->sends_count < 4) {
        send_numbered(pair.a.conn, sent++);
    }
    assert_true(sent > 3 * (FABRIC_PACKET_BYTES / 128));
    poll_until(&pair, pair.b.messages == sent);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

static void test_packet_when_events_have_less_room_then_it_goes_on(void **state)
{
    struct pair pair;
    uint32_t next;
    open_and_send_many(&pair, provider_of(state), &next);
    pair.b.events_at_once = 7;
    poll_until(&pair, pair.b.messages > 0);
    assert_in_range(pair.b.messages, 1, 7);
    send_numbered(pair.a.conn, MANY); // behind the rest of the first
    poll_until(&pair, pair.b.messages == MANY + 1);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

static void test_close_when_messages_were_gathered_then_the_peer_gets_them(void **state)
{
    struct pair pair;
    uint32_t next;
    open_and_send_many(&pair, provider_of(state), &next);
    fabric_conn_close(pair.a.conn, PAWL_EBUSY);
    poll_until(&pair, pair.a.closed == 1 && pair.b.closed == 1);
    assert_int_equal(pair.b.messages, MANY);
    assert_int_equal(pair.b.message_errors, 0);
    assert_int_equal(pair.a.closed_status, PAWL_EBUSY);
    pair_close(&pair);
}

static void test_write_when_messages_were_gathered_then_it_comes_behind_them(void **state)
{
    struct pair pair;
    uint32_t next;
    unsigned char source[64] = {1}, window[64] = {2};
    struct fabric_region *from = NULL, *to = NULL;
    open_and_send_many(&pair, provider_of(state), &next);
    assert_int_equal(fabric_region_open(pair.a.fabric, source, 64, FABRIC_LOCAL, &from), 0);
    assert_int_equal(fabric_region_open(pair.b.fabric, window, 64, FABRIC_REMOTE_WRITE, &to), 0);
    assert_int_equal(fabric_write(pair.a.conn, from, source, 64, fabric_region_remote(to, window),
                                  fabric_region_key(to), 5),
                     0);
    assert_null(pair.a.conn->gathered);
    assert_int_equal(pair.a.conn->posted_count, 2);
    poll_until(&pair, pair.a.done == 1 && pair.b.messages == MANY);
    pair_close(&pair);
}

// ---- what a peer may make up ------------------------------------------------------------------

static bool is_good(const void *packet, size_t bytes)
{
    return fabric_packet_check(packet, bytes, 64);
}

static void test_check_when_frames_are_whole_then_taken(void **state)
{
    (void)state;
    uint32_t packet[] = {5, 0, 1, 2, 8, 0, 3, 4, 1, 0, 5, 0};
    assert_true(is_good(packet, 16));
    assert_true(is_good(packet, sizeof(packet)));
}

static void test_check_when_a_frame_is_wrong_then_refused(void **state)
{
    (void)state;
    uint32_t packet[24] = {8, 0, 1, 2, 8, 0, 3, 4};
    for (size_t bytes = 0; bytes < 32; bytes++) {
        assert_int_equal(is_good(packet, bytes), bytes == 16); // cut short
    }
    static const uint32_t wrong[] = {0, 65, 9, 1u << 31, UINT32_MAX, UINT32_MAX - 7};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        packet[4] = wrong[i];
        assert_false(is_good(packet, 32));
    }
    packet[4] = 8;
    packet[5] = 1; // reserved
    assert_false(is_good(packet, 32));
    packet[5] = 0;
    assert_true(is_good(packet, 32));
}

// A packet of zeros, by the same provider: its frame has no bytes.
static void test_packet_when_malformed_then_the_connection_closes(void **state)
{
    struct pair pair;
    uint32_t next;
    open_and_send_many(&pair, provider_of(state), &next);
    memset(pair.a.conn->gathered->memory, 0, 64);
    poll_until(&pair, pair.b.closed == 1);
    assert_int_equal(pair.b.closed_status, PAWL_EPROTOCOL);
    assert_int_equal(pair.b.messages, 0);
    pair_close(&pair);
}

static void
test_message_when_the_fabric_is_a_stream_then_may_be_as_long_as_that_option_says(void **state)
{
    struct pair pair;
    struct fabric_options options = {.message_bytes = 256, .stream_message_bytes = MESSAGE_BYTES};
    unsigned char message[MESSAGE_BYTES] = {0};
    pair_open(&pair, provider_of(state), &options);
    uint32_t most = fabric_is_stream(pair.a.fabric) ? MESSAGE_BYTES : 256;
    assert_int_equal(fabric_message_bytes(pair.a.fabric), most);
    pair_connect(&pair);
    assert_int_equal(fabric_send(pair.a.conn, message, most), 0);
    poll_until(&pair, pair.b.messages == 1);
    assert_int_equal(pair.b.message_bytes, most);
    if (most < MESSAGE_BYTES) {
        assert_int_equal(fabric_send(pair.a.conn, message, most + 1), -EMSGSIZE);
    }
    pair_close(&pair);
}

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    pair_take_environment();
    const struct CMUnitTest tests[] = {
        both(test_sends_when_in_one_turn_then_one_packet_carries_them),
        both(test_poll_when_messages_were_gathered_then_they_leave),
        both(test_sends_when_a_packet_is_full_then_the_next_begins),
        both(test_packet_when_events_have_less_room_then_it_goes_on),
        both(test_close_when_messages_were_gathered_then_the_peer_gets_them),
        both(test_write_when_messages_were_gathered_then_it_comes_behind_them),
        cmocka_unit_test(test_check_when_frames_are_whole_then_taken),
        cmocka_unit_test(test_check_when_a_frame_is_wrong_then_refused),
        both(test_packet_when_malformed_then_the_connection_closes),
        both(test_message_when_the_fabric_is_a_stream_then_may_be_as_long_as_that_option_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
