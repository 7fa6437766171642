// SPDX-License-Identifier: Apache-2.0
// Packets that are held: their bytes outlive the poll that brought them, and their connection.
#include <string.h>

#include "fabric_pair.h"

#define HELD_MAX 8u

struct held {
    struct fabric_op *packets[HELD_MAX];
    const unsigned char *messages[HELD_MAX];
    uint32_t count;
};

static void hold(struct side *side, const struct fabric_event *event)
{
    struct held *held = side->ctx;
    if (held->count < HELD_MAX) {
        assert_true(fabric_packet_hold(event->packet));
        held->packets[held->count] = event->packet;
        held->messages[held->count++] = event->message;
    }
}

static void send_byte(struct pair *pair, unsigned char byte)
{
    unsigned char message[200];
    memset(message, byte, sizeof(message));
    uint64_t before = pair->b.messages;
    poll_until(pair, fabric_send(pair->a.conn, message, sizeof(message)) == 0);
    poll_until(pair, pair->b.messages > before);
}

static void held_expect(const struct held *held, uint32_t at, unsigned char byte)
{
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(held->messages[at][i], byte);
    }
}

// Eight packets are held while many more come; they keep their bytes, and what is given back is used again.
static void test_packet_when_held_then_its_bytes_stay_and_others_pass(void **state)
{
    struct pair pair;
    struct held held = {.count = 0};
    struct fabric_options options = {.receives_count = 128};
    pair_open(&pair, provider_of(state), &options);
    pair_connect(&pair);
    pair.b.on_message = hold;
    pair.b.ctx = &held;
    for (unsigned n = 0; n < 200; n++) {
        send_byte(&pair, (unsigned char)n);
    }
    assert_int_equal(held.count, HELD_MAX);
    assert_true(fabric_packet_hold(held.packets[0]));
    for (uint32_t i = 0; i < HELD_MAX; i++) {
        held_expect(&held, i, (unsigned char)i);
        fabric_packet_release(held.packets[i]);
    }
    send_byte(&pair, 201);
    held_expect(&held, 0, 0); // the second hold of it
    fabric_packet_release(held.packets[0]);
    for (unsigned n = 0; n < 200; n++) {
        send_byte(&pair, (unsigned char)n);
    }
    pair_close(&pair);
}

static void test_packet_when_its_connection_ends_then_it_stays_until_released(void **state)
{
    struct pair pair;
    struct held held = {.count = 0};
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    pair.b.on_message = hold;
    pair.b.ctx = &held;
    send_byte(&pair, 7);
    send_byte(&pair, 8);
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.b.closed == 1);
    fabric_packet_release(held.packets[0]);
    poll_until(&pair, pawl_list_is_empty(&pair.b.fabric->closed));
    assert_false(pawl_list_is_empty(&pair.b.fabric->orphans));
    held_expect(&held, 1, 8);
    fabric_packet_release(held.packets[1]);
    assert_true(pawl_list_is_empty(&pair.b.fabric->orphans));
    // Who closes the fabric has no need of it any more.
    pair_connect(&pair);
    held.count = 0;
    send_byte(&pair, 9);
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.b.closed == 2);
    pair_close(&pair);
}

static void hold_all(struct side *side, const struct fabric_event *event)
{
    struct held *held = side->ctx;
    held->count += fabric_packet_hold(event->packet) ? 1 : 0;
}

// What is held may wait for a packet that is still to come: there is always a place for that one.
static void test_packet_when_too_many_are_held_then_no_more_and_messages_still_pass(void **state)
{
    struct pair pair;
    struct held held = {.count = 0};
    struct fabric_options options = {.receives_count = 128};
    pair_open(&pair, provider_of(state), &options);
    pair_connect(&pair);
    pair.b.on_message = hold_all;
    pair.b.ctx = &held;
    for (unsigned n = 0; n < 200; n++) {
        send_byte(&pair, (unsigned char)n);
    }
    assert_int_equal(held.count, pair.b.fabric->receives_count / 4 * 3);
    pair_close(&pair);
}

int main(void)
{
    pair_take_environment();
    const struct CMUnitTest tests[] = {
        both(test_packet_when_held_then_its_bytes_stay_and_others_pass),
        both(test_packet_when_its_connection_ends_then_it_stays_until_released),
        both(test_packet_when_too_many_are_held_then_no_more_and_messages_still_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
