// SPDX-License-Identifier: Apache-2.0
// Tests of the start of a chain: what the primary sends to both secondaries, and when it goes by star.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "dataplane/fabric/fake.h"
#include "scripted.h"

#define FIRST 0x88u
#define SECOND 0x99u
#define LENGTH (2 * WIRE_SLOT_BYTES + 1000u) // three slots

static struct bench bench;
static struct client client; // brings the payloads
static struct server first;
static struct server second;

static int setup(void **state)
{
    (void)state;
    bench_open(&bench);
    bench.reactor->options.chain_bytes = 2 * WIRE_SLOT_BYTES;
    bench.reactor->options.requests_count = 16;
    client_open(&client, &bench);
    client_hello(&client, 0, 64);
    server_open(&first, &bench);
    server_open(&second, &bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close(&second);
    server_close(&first);
    client_close(&client);
    bench_close(&bench);
    return 0;
}

static void connected_with(uint32_t first_slots, uint32_t second_slots, uint32_t requests)
{
    script_connect(&first, FIRST);
    script_connect(&second, SECOND);
    script_run(&bench);
    server_welcome(&first, FIRST, first_slots, requests);
    server_welcome(&second, SECOND, second_slots, requests);
    memset(first.client.memory, 0, CLIENT_BYTES);
    memset(second.client.memory, 0, CLIENT_BYTES);
}

static void connected(uint32_t slots, uint32_t requests)
{
    connected_with(slots, slots, requests);
}

static void prepare_action(uint64_t server, uint64_t payload, uint64_t index, uint32_t length)
{
    struct chunk_action *action = script_prepare(server, payload, index, length);
    action->relay_to = server == FIRST ? SECOND : 0;
    action->relayed_by = server == SECOND ? FIRST : 0;
}

// A record comes in and goes to both, as the core wants it.
static uint64_t record(uint64_t index, uint32_t length, uint16_t slot_first)
{
    client_append(&client, index + 1, length, slot_first,
                  (uint16_t)((length + WIRE_SLOT_BYTES - 1) / WIRE_SLOT_BYTES));
    uint64_t payload = script_last(CHUNK_EVENT_APPEND)->event.payload;
    prepare_action(FIRST, payload, index, length);
    prepare_action(SECOND, payload, index, length);
    script_run(&bench);
    server_turn(&first);
    server_turn(&second);
    return payload;
}

static void answer(struct server *server, uint16_t type, uint64_t request, uint64_t index,
                   int status)
{
    struct wire_prepared prepared;
    memset(&prepared, 0, sizeof(prepared));
    uint32_t bytes = type == WIRE_PUSH ? sizeof(prepared.header) : sizeof(prepared);
    wire_header_init(&prepared.header, type | WIRE_REPLY, bytes, request);
    prepared.header.status = status;
    prepared.chunk = 42;
    prepared.version = 3;
    prepared.index = index;
    assert_int_equal(fabric_send(server->client.conn, &prepared, bytes), 0);
    server_turn(server);
    server_turn(&second);
}

// The send of the first payload's last slice, which knows the second's PREPARE; 0: there is none.
static uint64_t last_slice(void)
{
    uint32_t cursor = 0;
    struct send *send;
    while ((send = slab_next(&bench.reactor->sends, &cursor)) != NULL) {
        if (send->kind == SEND_PUSH && send->pair != 0) {
            return send->name;
        }
    }
    return 0;
}

static void test_record_when_large_goes_to_the_first_in_slices(void **state)
{
    (void)state;
    connected(8, 16);
    record(0, LENGTH, 0);
    assert_int_equal(first.client.messages_count, 1 + 3 + 1); // HELLO, slices, PREPARE
    assert_int_equal(first.client.message.header.type, WIRE_PREPARE);
    assert_int_equal(first.client.message.prepare.flags, 0);
    assert_int_equal(first.client.message.prepare.slot_count, 3);
    assert_memory_equal(first.client.memory, client.memory, LENGTH);
    assert_int_equal(second.client.messages_count, 1 + 1);
    assert_int_equal(second.client.message.prepare.flags, WIRE_PREPARE_PUSHED);
    assert_int_equal(second.client.message.prepare.slot_count, 0);
    static const unsigned char nothing[64];
    assert_memory_equal(second.client.memory, nothing, sizeof(nothing));
    answer(&first, WIRE_PUSH, last_slice(), 0, 0);
    assert_memory_equal(second.client.memory, nothing, sizeof(nothing));
    assert_int_equal(second.client.messages_count, 2);
    assert_int_equal(bench.reactor->relays_failed_count, 0);
}

static void test_record_when_below_the_threshold_goes_to_both(void **state)
{
    (void)state;
    connected(8, 16);
    record(0, 300000, 0);
    assert_int_equal(first.client.messages_count, 2);
    assert_int_equal(second.client.messages_count, 2);
    assert_int_equal(second.client.message.prepare.flags, 0);
    assert_memory_equal(second.client.memory, client.memory, 300000);
}

static void check_star(void)
{
    const struct wire_push *push = (const void *)&second.client.message;
    assert_int_equal(push->header.type, WIRE_PUSH);
    assert_int_equal(push->next, 0);
    assert_int_equal(push->bytes, LENGTH);
    assert_int_equal(push->id.sequence, 1);
    assert_memory_equal(second.client.memory + (size_t)push->slot_first * WIRE_SLOT_BYTES,
                        client.memory, LENGTH);
    assert_int_equal(bench.reactor->relays_failed_count, 1);
}

static void test_record_when_the_first_hands_it_back_goes_by_star(void **state)
{
    (void)state;
    connected(8, 16);
    uint64_t payload = record(0, LENGTH, 0);
    // The core has no use for it any more; its bytes stay until the chain has answered.
    script_action(CHUNK_ACTION_RELEASE)->payload = payload;
    script_run(&bench);
    assert_int_equal(bench.reactor->payloads.used_count, 1);
    answer(&first, WIRE_PUSH, last_slice(), 0, PAWL_EBUSY);
    assert_int_equal(second.client.messages_count, 3);
    check_star();
    answer(&second, WIRE_PUSH, second.client.message.header.request, 0, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 0);
}

static void test_record_when_the_first_is_lost_goes_by_star(void **state)
{
    (void)state;
    connected(8, 16);
    record(0, LENGTH, 0);
    fabric_fake_drop(first.client.conn);
    server_turn(&first);
    server_turn(&second);
    check_star();
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1); // the first one's
}

// The PREPARE of a record that is under way to a server; 0: there is none.
static uint64_t sent_to(uint64_t server, uint64_t index)
{
    uint32_t cursor = 0;
    struct send *send;
    while ((send = slab_next(&bench.reactor->sends, &cursor)) != NULL) {
        if (send->kind == SEND_PREPARE && send->server_id == server && send->link != NULL &&
            send->message.prepare.index == index) {
            return send->name;
        }
    }
    return 0;
}

// It waits for slots of the first one, and nothing of it has gone anywhere yet.
static void test_record_when_the_first_is_lost_before_its_turn_goes_by_star(void **state)
{
    (void)state;
    connected_with(4, 8, 16);
    record(0, LENGTH, 0);
    record(1, LENGTH, 3);
    assert_int_equal(second.client.messages_count, 2);
    assert_int_equal(sent_to(SECOND, 1), 0);
    fabric_fake_drop(first.client.conn);
    server_turn(&first);
    server_turn(&second);
    assert_int_equal(bench.reactor->relays_failed_count, 1); // the other one had not begun
    assert_int_not_equal(sent_to(SECOND, 1), 0);
    assert_int_equal(second.client.messages_count, 4);
}

// What has no slots at the second one yet has none at the first, so that both go by chain in their turn.
static void test_record_when_the_second_has_no_slots_waits_for_both(void **state)
{
    (void)state;
    connected_with(8, 4, 16);
    record(0, LENGTH, 0);
    record(1, LENGTH, 3);
    assert_int_equal(first.client.messages_count, 1 + 4);
    answer(&first, WIRE_PUSH, last_slice(), 0, 0);
    answer(&second, WIRE_PREPARE, sent_to(SECOND, 0), 0, 0);
    server_turn(&first);
    assert_int_equal(first.client.messages_count, 1 + 8);
    assert_int_not_equal(last_slice(), 0);
    assert_int_equal(second.client.message.prepare.index, 1);
    assert_int_equal(second.client.message.prepare.flags, WIRE_PREPARE_PUSHED);
    assert_int_equal(bench.reactor->relays_failed_count, 0);
}

// A small one behind them would take the last credit or slots, and wait there for what they can't bring then.
static void test_slots_and_credits_are_kept_for_each_payload_that_goes_by_chain(void **state)
{
    (void)state;
    connected(8, 16);
    record(0, LENGTH, 0);
    record(1, LENGTH, 3);
    record(2, 300000, 6); // two slots, of which there are two
    record(3, 300000, 8);
    assert_int_equal(sent_to(SECOND, 3), 0);
    const struct send *prepare = slab_find(&bench.reactor->sends, sent_to(SECOND, 0));
    const struct link *link = prepare->link;
    assert_int_equal(link->slots_used, 0xff);
    assert_int_equal(link->requests_count, 5); // three PREPAREs, and two PUSHes that may come
    // Handed back in another order than they have there: neither waits.
    uint32_t cursor = 0;
    struct send *send;
    uint64_t slices[2] = {0, 0};
    while ((send = slab_next(&bench.reactor->sends, &cursor)) != NULL) {
        if (send->kind == SEND_PUSH && send->pair != 0) {
            slices[send->message.push.id.sequence - 1] = send->name;
        }
    }
    unsigned before = second.client.messages_count;
    answer(&first, WIRE_PUSH, slices[1], 0, PAWL_EBUSY);
    assert_int_equal(second.client.messages_count, before + 1);
    answer(&first, WIRE_PUSH, slices[0], 0, PAWL_EBUSY);
    assert_int_equal(second.client.messages_count, before + 2);
    assert_int_equal(bench.reactor->relays_failed_count, 2);
    assert_int_equal(link->requests_count, 5);
    assert_int_equal(link->slots_used, 0xff);
    answer(&second, WIRE_PUSH, second.client.message.header.request, 0, 0);
    answer(&second, WIRE_PREPARE, sent_to(SECOND, 0), 0, 0);
    assert_int_equal(link->requests_count,
                     4); // the last record has gone, into the slots of the PUSH
    assert_int_not_equal(sent_to(SECOND, 3), 0);
}

// Two of three: the last one would be the payload's.
static void test_record_when_the_second_has_one_credit_waits_for_both(void **state)
{
    (void)state;
    script_connect(&first, FIRST);
    script_connect(&second, SECOND);
    script_run(&bench);
    server_welcome(&first, FIRST, 8, 16);
    server_welcome(&second, SECOND, 8, 3);
    record(0, LENGTH, 0);
    record(1, LENGTH, 3);
    assert_int_equal(sent_to(SECOND, 1), 0);
    assert_int_equal(sent_to(FIRST, 1), 0);
    answer(&second, WIRE_PREPARE, sent_to(SECOND, 0), 0, 0);
    assert_int_not_equal(sent_to(SECOND, 1), 0);
    assert_int_equal(second.client.message.prepare.flags, WIRE_PREPARE_PUSHED);
}

static void
test_record_when_it_was_prepared_before_the_chain_answers_is_not_brought_again(void **state)
{
    (void)state;
    connected(8, 16);
    record(0, LENGTH, 0);
    answer(&second, WIRE_PREPARE, sent_to(SECOND, 0), 0, 0);
    answer(&first, WIRE_PUSH, last_slice(), 0, PAWL_EDEADLINE);
    assert_int_equal(second.client.messages_count, 2);
    assert_int_equal(bench.reactor->relays_failed_count, 0);
}

// What waits for that window stands before the other PREPARE: nothing else waits for it.
static void test_record_when_a_server_has_no_window_goes_by_star_at_once(void **state)
{
    (void)state;
    connected_with(8, 0, 16);
    record(0, 300000, 0);
    record(1, LENGTH, 2);
    assert_int_equal(first.client.messages_count, 3);
    assert_int_equal(first.client.message.prepare.index, 1);
    assert_int_equal(first.client.message.prepare.slot_count, 3);
    assert_int_equal(second.client.message.header.type, WIRE_WINDOW);
    assert_int_equal(last_slice(), 0);
}

// Others wait for the window of the second one: what waits here for the first one's slots doesn't let them wait.
static void test_record_when_others_wait_for_a_window_goes_by_star(void **state)
{
    (void)state;
    connected_with(4, 0, 16);
    record(0, 300000, 0); // goes to the first
    record(1, LENGTH, 2); // by star, and has no slots there
    record(2, LENGTH, 5);
    struct wire_granted granted;
    memset(&granted, 0, sizeof(granted));
    wire_header_init(&granted.header, WIRE_WINDOW | WIRE_REPLY, sizeof(granted),
                     second.client.message.header.request);
    granted.header.flags = WIRE_SCARCE;
    granted.window_address = fabric_region_remote(second.client.region, second.client.memory);
    granted.window_key = fabric_region_key(second.client.region);
    granted.window_slots = 8;
    assert_int_equal(fabric_send(second.client.conn, &granted, sizeof(granted)), 0);
    server_turn(&second);
    assert_int_not_equal(sent_to(SECOND, 1), 0);
    assert_int_not_equal(sent_to(SECOND, 2), 0);
    assert_int_equal(second.client.message.prepare.index, 2);
    assert_int_equal(second.client.message.prepare.flags, 0);
}

// One that hangs does not keep the other from its records.
static void test_record_when_the_second_is_silent_goes_to_the_first_by_star(void **state)
{
    (void)state;
    connected_with(8, 4, 16);
    record(0, LENGTH, 0);
    record(1, LENGTH, 3);
    answer(&first, WIRE_PUSH, last_slice(), 0, 0);
    assert_int_equal(sent_to(FIRST, 1), 0);
    bench_pass(&bench, CHUNKD_RELAY_MS + 20);
    server_turn(&first);
    assert_int_not_equal(sent_to(FIRST, 1), 0);
    assert_int_equal(first.client.message.prepare.index, 1);
    assert_int_equal(last_slice(), 0);
}

static void test_record_when_there_are_no_credits_for_slices_goes_by_star(void **state)
{
    (void)state;
    connected(8, 1);
    record(0, LENGTH, 0);
    assert_int_equal(first.client.messages_count, 2);
    assert_int_equal(first.client.message.header.type, WIRE_PREPARE);
    assert_int_equal(second.client.message.header.type, WIRE_PREPARE);
    assert_int_equal(second.client.message.prepare.flags, 0);
    assert_memory_equal(second.client.memory, client.memory, LENGTH);
    assert_int_equal(bench.reactor->relays_failed_count, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_record_when_large_goes_to_the_first_in_slices),
        T(test_record_when_below_the_threshold_goes_to_both),
        T(test_record_when_the_first_hands_it_back_goes_by_star),
        T(test_record_when_the_first_is_lost_goes_by_star),
        T(test_record_when_the_first_is_lost_before_its_turn_goes_by_star),
        T(test_record_when_the_second_has_no_slots_waits_for_both),
        T(test_slots_and_credits_are_kept_for_each_payload_that_goes_by_chain),
        T(test_record_when_the_second_has_one_credit_waits_for_both),
        T(test_record_when_it_was_prepared_before_the_chain_answers_is_not_brought_again),
        T(test_record_when_a_server_has_no_window_goes_by_star_at_once),
        T(test_record_when_others_wait_for_a_window_goes_by_star),
        T(test_record_when_the_second_is_silent_goes_to_the_first_by_star),
        T(test_record_when_there_are_no_credits_for_slices_goes_by_star),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
