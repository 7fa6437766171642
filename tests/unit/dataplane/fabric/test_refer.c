// SPDX-License-Identifier: Apache-2.0
// Payloads that are sent from the packet that brought them: which are, and for how long that packet is held.
//
//     c -- payloads --> b -- the same, behind a head --> a
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/log.h"
#include "dataplane/fabric/fake.h"
#include "fabric_pair.h"

#define HEAD_BYTES 40u
#define PAYLOADS_MAX 8192u
#define LONG_BYTES 3000u

struct relay {
    struct pair pair; // b has accepted a's connection first, and then c's
    struct side c;
    struct fabric_conn *to_a, *from_c; // of b
    struct fabric_op *packet;          // the last one that b got, held
    const unsigned char *payload;
    uint32_t payload_bytes;
    unsigned char expected[PAYLOADS_MAX]; // what each payload that went to a is filled with
    uint32_t lengths[PAYLOADS_MAX];
    uint32_t sent_count;
    uint32_t got_count;
};

static struct relay relay;

static void on_payload(struct side *side, const struct fabric_event *event)
{
    (void)side;
    relay.packet = event->packet;
    relay.payload = event->message;
    relay.payload_bytes = event->message_bytes;
    assert_true(fabric_packet_hold(event->packet));
}

// What a gets is whole, in order, and as it was when b sent it.
static void on_relayed(struct side *side, const struct fabric_event *event)
{
    const unsigned char *bytes = event->message;
    uint32_t n = relay.got_count++;
    side->message_errors += n >= relay.sent_count;
    side->message_errors += event->message_bytes != HEAD_BYTES + relay.lengths[n];
    for (uint32_t i = 0; i < event->message_bytes; i++) {
        side->message_errors += bytes[i] != (i < HEAD_BYTES ? 0x11 : relay.expected[n]);
    }
}

static void c_poll(void)
{
    side_poll(&relay.c, relay.pair.now_ns);
    pair_poll(&relay.pair);
}

#define relay_until(expr)                                                                          \
    do {                                                                                           \
        uint64_t start_ms_ = pawl_clock_ms();                                                      \
        while (!(expr)) {                                                                          \
            c_poll();                                                                              \
            if (is_hopeless(start_ms_)) {                                                          \
                fail_msg("%s: never: %s", relay.pair.provider, #expr);                             \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void relay_open(void **state)
{
    struct fabric_options options = {.receives_count = 128};
    struct pair *pair = &relay.pair;
    memset(&relay, 0, sizeof(relay));
    pair_open(pair, provider_of(state), &options);
    pair_connect(pair);
    relay.to_a = pair->b.conn;
    relay.c.fabric = side_open(provider_of(state), &options);
    struct fabric_conn *conn = NULL;
    assert_int_equal(
        fabric_connect(relay.c.fabric, fabric_address(pair->b.fabric), 5000, &relay.c, &conn), 0);
    relay_until(relay.c.connected == 1 && pair->b.accepted == 2);
    relay.from_c = pair->b.conn;
    pair->b.on_message = on_payload;
    pair->a.on_message = on_relayed;
}

static void relay_close(void)
{
    assert_int_equal(relay.pair.a.message_errors, 0);
    fabric_close(relay.c.fabric);
    pair_close(&relay.pair);
}

// Brings a payload to b, which holds it.
static void bring(unsigned char byte, uint32_t bytes)
{
    unsigned char payload[MESSAGE_BYTES];
    uint64_t before = relay.pair.b.messages;
    memset(payload, byte, bytes);
    relay_until(fabric_send(relay.c.conn, payload, bytes) != -EAGAIN);
    relay_until(relay.pair.b.messages > before);
    assert_int_equal(relay.payload_bytes, bytes);
}

static int pass_on(struct fabric_op *packet)
{
    static const unsigned char head[HEAD_BYTES] = {[0 ... HEAD_BYTES - 1] = 0x11};
    struct iovec pieces[] = {
        {.iov_base = (void *)(uintptr_t)head, .iov_len = 8},
        {.iov_base = (void *)(uintptr_t)(head + 8), .iov_len = HEAD_BYTES - 8},
        {.iov_base = (void *)(uintptr_t)relay.payload, .iov_len = relay.payload_bytes}};
    assert_true(relay.sent_count < PAYLOADS_MAX);
    relay.expected[relay.sent_count] = relay.payload[0];
    relay.lengths[relay.sent_count] = relay.payload_bytes;
    int rc = fabric_send_from(relay.to_a, pieces, PAWL_ARRAY_COUNT(pieces), packet);
    relay.sent_count += rc == 0;
    return rc;
}

// Brings a payload and passes it on; b's own hold of it is over at once.
static void bring_and_pass(unsigned char byte, uint32_t bytes)
{
    bring(byte, bytes);
    assert_int_equal(pass_on(relay.packet), 0);
    fabric_packet_release(relay.packet);
}

// Brings payloads before any of them is passed on: those of one packet to a.
static void pass_together(const uint32_t *lengths, uint32_t count)
{
    struct fabric_op *packets[16];
    const unsigned char *payloads[16];
    assert_true(count <= 16);
    for (uint32_t i = 0; i < count; i++) {
        bring((unsigned char)(i + 1), lengths[i]);
        packets[i] = relay.packet;
        payloads[i] = relay.payload;
    }
    for (uint32_t i = 0; i < count; i++) {
        relay.payload = payloads[i];
        relay.payload_bytes = lengths[i];
        assert_int_equal(pass_on(packets[i]), 0);
        fabric_packet_release(packets[i]);
    }
}

static void all_arrives(void)
{
    relay_until(relay.got_count == relay.sent_count && relay.to_a->sends_count == 0);
    assert_int_equal(relay.pair.a.message_errors, 0);
    assert_int_equal(relay.from_c->holds_count, 0);
}

// ---- which stay ---------------------------------------------------------------------------------

static void test_payload_when_long_then_it_is_sent_from_where_it_lies(void **state)
{
    static const uint32_t lengths[] = {1024, 1025, 1031, LONG_BYTES, MESSAGE_BYTES - HEAD_BYTES};
    relay_open(state);
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(lengths); i++) {
        bring_and_pass((unsigned char)(i + 1), lengths[i]);
        assert_int_equal(relay.to_a->gathered->refers_count, 1);
        assert_int_equal(relay.from_c->holds_count, 1);
        all_arrives();
    }
    assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric), 0);
    relay_close();
}

static void test_payload_when_short_or_of_no_packet_then_copied(void **state)
{
    relay_open(state);
    bring_and_pass(1, 1023);
    assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric), 1023);
    bring(2, LONG_BYTES);
    assert_int_equal(pass_on(NULL), 0);
    assert_int_equal(relay.to_a->gathered->refers_count, 0);
    fabric_packet_release(relay.packet);
    assert_int_equal(relay.from_c->holds_count, 0);
    all_arrives();
    assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric), 1023 + LONG_BYTES);
    relay_close();
}

// Registered with another fabric, and gone with that one.
static void test_payload_when_of_another_fabric_then_copied(void **state)
{
    relay_open(state);
    struct fabric_conn *to_a = relay.to_a;
    relay.to_a = relay.c.conn; // c sends what b holds, to b
    relay.pair.b.on_message = on_payload;
    bring(1, LONG_BYTES);
    struct fabric_op *packet = relay.packet;
    uint64_t before = relay.pair.b.messages;
    assert_int_equal(pass_on(packet), 0);
    fabric_packet_release(packet);
    assert_int_equal(relay.c.conn->gathered->refers_count, 0);
    assert_int_equal(fabric_copied_bytes(relay.c.fabric), LONG_BYTES);
    relay_until(relay.pair.b.messages > before);
    assert_int_equal(relay.payload_bytes, HEAD_BYTES + LONG_BYTES);
    fabric_packet_release(relay.packet);
    relay.to_a = to_a;
    relay_close();
}

// However many short ones come, they leave as one packet: of three and more the first and the last stay.
static void
test_payloads_when_short_and_more_than_pieces_then_those_between_are_copied(void **state)
{
    static const uint32_t lengths[] = {1100, 2047, 1200, 1024};
    relay_open(state);
    for (uint32_t count = 1; count <= PAWL_ARRAY_COUNT(lengths); count++) {
        uint64_t before = fabric_copied_bytes(relay.pair.b.fabric), between = 0;
        pass_together(lengths, count);
        for (uint32_t i = 1; i + 1 < count; i++) {
            between += lengths[i];
        }
        assert_int_equal(relay.to_a->sends_count, 1);
        assert_int_equal(relay.to_a->gathered->refers_count, PAWL_MIN(count, 2u));
        assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric) - before, between);
        all_arrives();
    }
    relay_close();
}

// A long one is worth a packet: it stays, and what comes behind two payloads leaves in the next one.
static void test_payloads_when_long_and_more_than_pieces_then_none_is_copied(void **state)
{
    static const uint32_t lengths[] = {4096, 5000, 1024, 4096, 6000, 9, 1024};
    static const uint32_t middle_short[] = {4096, 1024, 4095, 4096};
    relay_open(state);
    pass_together(lengths, PAWL_ARRAY_COUNT(lengths));
    assert_int_equal(relay.to_a->sends_count, 3); // of 2, 2 and 3 messages
    all_arrives();
    assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric), 9);
    pass_together(middle_short, PAWL_ARRAY_COUNT(middle_short));
    assert_int_equal(relay.to_a->sends_count, 1);
    all_arrives();
    assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric), 9 + 1024 + 4095);
    relay_close();
}

// Short messages before, between and behind them; and payloads whose zeros are not where they lie.
static void test_payloads_when_among_short_ones_then_one_packet_is_whole(void **state)
{
    static const uint32_t lengths[] = {9, 2000, 16, 1, 1500, 7, 1700, 24};
    relay_open(state);
    pass_together(lengths, PAWL_ARRAY_COUNT(lengths));
    assert_int_equal(relay.to_a->sends_count, 1);
    all_arrives();
    for (uint32_t i = 0; i < 3; i++) { // the head of a message: behind it is the rest
        bring(5, LONG_BYTES);
        relay.payload_bytes = 1025 + i;
        assert_int_equal(pass_on(relay.packet), 0);
        assert_int_equal(relay.to_a->gathered->refers[0].pad_bytes, 0);
        relay.payload_bytes = 1030 + i;
        assert_int_equal(pass_on(relay.packet), 0);
        relay.payload_bytes = 3;
        assert_int_equal(pass_on(relay.packet), 0);
        fabric_packet_release(relay.packet);
        all_arrives();
    }
    relay_close();
}

static void test_payloads_when_the_provider_takes_fewer_pieces_then_more_are_copied(void **state)
{
    static const uint32_t lengths[] = {1100, 2048, 3000};
    static const uint32_t stay[] = {0, 3000, 1100,
                                    1100 + 3000}; // bytes, with so many pieces and one more
    relay_open(state);
    for (uint32_t i = 0; i < FABRIC_PIECES_MAX; i++) {
        uint64_t before = fabric_copied_bytes(relay.pair.b.fabric);
        relay.pair.b.fabric->pieces_max = i + 1;
        pass_together(lengths, PAWL_ARRAY_COUNT(lengths));
        assert_int_equal(relay.to_a->sends_count, 1);
        assert_int_equal(fabric_copied_bytes(relay.pair.b.fabric) - before, 6148 - stay[i]);
        all_arrives();
    }
    relay_close();
}

// ---- for how long they are held -----------------------------------------------------------------

// So many polls in a row change nothing more: the kernel, which may be busy, has had its time to take what it takes.
#define POLLS_STUCK 20000u
#define HELD_STUCK 6u // some of which TCP may take later, all the same

// a takes nothing until some of what b has sent to it is held back, and stays so.
static void a_is_stuck(void)
{
    relay.pair.a.is_off = true;
    uint32_t polls = 0;
    for (unsigned n = 0; polls < POLLS_STUCK; n++) {
        bring_and_pass((unsigned char)n, LONG_BYTES);
        fabric_flush(relay.pair.b.fabric);
        c_poll();
        for (polls = 0; polls < POLLS_STUCK && relay.from_c->holds_count >= HELD_STUCK; polls++) {
            c_poll();
        }
    }
}

// Uses every receive that is not held, several times.
static void others_come(void)
{
    for (unsigned n = 0; n < 200; n++) {
        bring(0xee, LONG_BYTES);
        fabric_packet_release(relay.packet);
    }
}

static void test_packet_when_what_refers_to_it_is_under_way_then_its_bytes_stay(void **state)
{
    relay_open(state);
    a_is_stuck();
    others_come();
    assert_true(relay.from_c->holds_count >= 1);
    relay.pair.a.is_off = false;
    all_arrives();
    relay_close();
}

static void test_packet_when_its_own_connection_ends_then_what_refers_to_it_goes_on(void **state)
{
    relay_open(state);
    a_is_stuck();
    fabric_conn_close(relay.c.conn, 0);
    relay_until(relay.pair.b.closed == 1 && pawl_list_is_empty(&relay.pair.b.fabric->closed));
    assert_false(pawl_list_is_empty(&relay.pair.b.fabric->orphans));
    relay.pair.a.is_off = false;
    relay_until(relay.got_count == relay.sent_count && relay.to_a->sends_count == 0);
    assert_true(pawl_list_is_empty(&relay.pair.b.fabric->orphans));
    relay_close();
}

static void test_packet_when_the_connection_of_what_refers_to_it_ends_then_it_is_free(void **state)
{
    relay_open(state);
    a_is_stuck();
    fabric_conn_close(relay.to_a, PAWL_EDEADLINE);
    assert_true(relay.from_c->holds_count >= 3); // a late completion may still name them
    relay_until(relay.pair.b.closed == 1 && relay.from_c->holds_count == 0);
    others_come();
    relay_close();
}

static void test_packet_when_the_peer_of_what_refers_to_it_is_lost_then_it_is_free(void **state)
{
    relay_open(state);
    a_is_stuck();
    fabric_conn_close(relay.pair.a.conn, PAWL_EBUSY);
    relay_until(relay.pair.b.closed == 1 && relay.from_c->holds_count == 0);
    others_come();
    relay_close();
}

// Gathered and never posted: the connection closes first.
static void test_packet_when_what_refers_to_it_never_leaves_then_it_is_free(void **state)
{
    relay_open(state);
    a_is_stuck();
    bring(1, LONG_BYTES);
    assert_int_equal(pass_on(relay.packet), 0);
    fabric_packet_release(relay.packet);
    fabric_conn_close(relay.to_a, PAWL_EBUSY);
    relay_until(relay.pair.b.closed == 1 && relay.from_c->holds_count == 0);
    relay_close();
}

static void test_close_when_packets_are_held_for_others_then_all_is_given_back(void **state)
{
    relay_open(state);
    a_is_stuck();
    relay_close();
    relay_open(state);
    a_is_stuck();
    fabric_conn_close(relay.c.conn, 0);
    relay_until(relay.pair.b.closed == 1 && pawl_list_is_empty(&relay.pair.b.fabric->closed));
    relay_close();
}

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    pair_take_environment();
    const struct CMUnitTest tests[] = {
        both(test_payload_when_long_then_it_is_sent_from_where_it_lies),
        both(test_payload_when_short_or_of_no_packet_then_copied),
        both(test_payload_when_of_another_fabric_then_copied),
        both(test_payloads_when_short_and_more_than_pieces_then_those_between_are_copied),
        both(test_payloads_when_long_and_more_than_pieces_then_none_is_copied),
        both(test_payloads_when_among_short_ones_then_one_packet_is_whole),
        both(test_payloads_when_the_provider_takes_fewer_pieces_then_more_are_copied),
        both(test_packet_when_what_refers_to_it_is_under_way_then_its_bytes_stay),
        both(test_packet_when_its_own_connection_ends_then_what_refers_to_it_goes_on),
        both(test_packet_when_the_connection_of_what_refers_to_it_ends_then_it_is_free),
        both(test_packet_when_the_peer_of_what_refers_to_it_is_lost_then_it_is_free),
        both(test_packet_when_what_refers_to_it_never_leaves_then_it_is_free),
        both(test_close_when_packets_are_held_for_others_then_all_is_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
