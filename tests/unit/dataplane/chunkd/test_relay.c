// SPDX-License-Identifier: Apache-2.0
// Tests of the middle of a chain: slices that go on, and what happens when they can't.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/fabric/fake.h"
#include "scripted.h"

#define PRIMARY 0x77u
#define NEXT 0x88u
#define SLICE WIRE_SLOT_BYTES
#define LENGTH (2 * SLICE + 1000u) // three slots

static struct bench bench;
static struct client primary;
static struct server next;

static int setup(void **state)
{
    (void)state;
    bench_open(&bench);
    client_open(&primary, &bench);
    client_hello(&primary, PRIMARY, 64);
    server_open(&next, &bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close(&next);
    client_close(&primary);
    bench_close(&bench);
    return 0;
}

// The bench knows the next server already.
static void connected(uint32_t slots)
{
    script_connect(&next, NEXT);
    script_run(&bench);
    server_welcome(&next, NEXT, slots, 4);
    memset(next.client.memory, 0, CLIENT_BYTES);
}

static void push(uint64_t request, uint32_t offset, uint32_t bytes, uint16_t slot_first)
{
    struct {
        struct wire_push push;
        char address[64];
    } message;
    memset(&message, 0, sizeof(message));
    uint32_t address_bytes = offset == 0 ? (uint32_t)strlen(fabric_address(next.fabric)) : 0;
    memcpy(message.address, fabric_address(next.fabric), address_bytes);
    wire_header_init(&message.push.header, WIRE_PUSH,
                     (uint32_t)sizeof(message.push) + address_bytes, request);
    message.push.chunk = 42;
    message.push.version = 1;
    message.push.id.producer_lo = 1;
    message.push.id.sequence = 9;
    message.push.next = NEXT;
    message.push.length = LENGTH;
    message.push.offset = offset;
    message.push.bytes = bytes;
    message.push.slot_first = slot_first;
    message.push.slot_count = 3;
    uint64_t remote =
        primary.welcome.window_address + (uint64_t)slot_first * primary.welcome.slot_bytes + offset;
    assert_int_equal(fabric_write(primary.conn, primary.region, primary.memory + offset, bytes,
                                  remote, primary.welcome.window_key, 1),
                     0);
    client_send(&primary, &message, (uint32_t)sizeof(message.push) + address_bytes);
    server_turn(&next);
}

static void push_all(uint64_t request, uint16_t slot_first)
{
    push(request, 0, SLICE, slot_first);
    push(request + 1, SLICE, SLICE, slot_first);
    push(request + 2, 2 * SLICE, LENGTH - 2 * SLICE, slot_first);
}

static void next_answers(int status)
{
    struct wire_header reply;
    wire_header_init(&reply, WIRE_PUSH | WIRE_REPLY, sizeof(reply),
                     next.client.message.header.request);
    reply.status = status;
    assert_int_equal(fabric_send(next.client.conn, &reply, sizeof(reply)), 0);
    server_turn(&next);
}

static void answered(unsigned messages, uint64_t request, int status)
{
    assert_int_equal(primary.messages_count, messages);
    assert_int_equal(primary.message.header.type, WIRE_PUSH | WIRE_REPLY);
    assert_int_equal(primary.message.header.request, request);
    assert_int_equal(primary.message.header.status, status);
}

static void prepare(uint64_t request, uint16_t slot_first)
{
    struct wire_prepare message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PREPARE, sizeof(message), request);
    message.chunk = 42;
    message.version = 1;
    message.id.producer_lo = 1;
    message.id.sequence = 9;
    message.length = LENGTH;
    message.slot_first = slot_first;
    message.slot_count = 3;
    client_send(&primary, &message, sizeof(message));
}

// What the core answers, and gives back.
static void prepared(void)
{
    const struct script_event *event = script_last(CHUNK_EVENT_PREPARE);
    assert_non_null(event);
    struct chunk_action *action = script_action(CHUNK_ACTION_REPLY);
    action->conn = event->event.conn;
    action->request = event->event.request;
    script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
    script_run(&bench);
    bench_turn(&bench);
}

static void test_slices_go_on_as_they_come_and_the_last_is_answered_by_the_next(void **state)
{
    (void)state;
    connected(8);
    push(2, 0, SLICE, 0);
    answered(2, 2, 0);
    assert_memory_equal(next.client.memory, primary.memory, SLICE); // while the others are to come
    assert_int_equal(next.client.messages_count, 1);
    push(3, SLICE, SLICE, 0);
    push(4, 2 * SLICE, LENGTH - 2 * SLICE, 0);
    assert_int_equal(primary.messages_count, 3);
    const struct wire_push *got = (const void *)&next.client.message;
    assert_int_equal(got->header.type, WIRE_PUSH);
    assert_int_equal(got->next, 0);
    assert_int_equal(got->bytes, LENGTH);
    assert_int_equal(got->slot_count, 3);
    assert_memory_equal(next.client.memory, primary.memory, LENGTH);
    next_answers(0);
    answered(4, 4, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
    assert_int_equal(bench.reactor->relayed_count, 1);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
}

// Its slots come back with the reply, so that must wait for the bytes to be read out of them; and for no more.
static void test_prepare_when_its_slots_are_read_is_answered_after_that(void **state)
{
    (void)state;
    connected(8);
    push_all(2, 0);
    struct relay *relay =
        pawl_container_of(pawl_list_first(&bench.reactor->relays), struct relay, node);
    assert_int_equal(relay->writes_count, 0);
    relay->writes_count++; // one that takes its time
    prepare(5, 0);
    prepared();
    assert_int_equal(primary.messages_count, 3);
    relay_written(bench.reactor, relay);
    bench_turn(&bench);
    assert_int_equal(primary.messages_count, 4); // the next server has not answered
    assert_int_equal(primary.message.header.type, WIRE_PREPARE | WIRE_REPLY);
    next_answers(0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
}

// Slots of the next server's window that no slice will fill.
static void test_relay_when_slices_stop_coming_gives_its_slots_back(void **state)
{
    (void)state;
    connected(8);
    push(2, 0, SLICE, 0);
    struct link *link =
        pawl_container_of(pawl_list_first(&bench.reactor->links), struct link, node);
    assert_int_not_equal(link->slots_used, 0);
    bench_pass(&bench, CHUNKD_RELAY_MS + 100);
    assert_int_equal(link->slots_used, 0);
    push(3, SLICE, SLICE, 0);
    push(4, 2 * SLICE, LENGTH - 2 * SLICE, 0);
    answered(4, 4, PAWL_EDEADLINE);
}

static void
test_relay_when_the_next_server_is_not_connected_hands_it_back_and_connects(void **state)
{
    (void)state;
    push_all(2, 0);
    answered(4, 4, PAWL_EBUSY);
    server_welcome(&next, NEXT, 8, 4); // by the address in the first slice
    memset(next.client.memory, 0, CLIENT_BYTES);
    push_all(5, 3);
    assert_memory_equal(next.client.memory, primary.memory, LENGTH);
    next_answers(0);
    answered(7, 7, 0);
}

static void test_relay_when_no_slot_is_free_hands_it_back_at_once(void **state)
{
    (void)state;
    connected(4);
    push_all(2, 0);
    push_all(5, 3);
    answered(6, 7, PAWL_EBUSY); // the first one is still under way
    next_answers(0);
    answered(7, 4, 0);
    push_all(8, 3);
    next_answers(0);
    answered(10, 10, 0);
}

static void next_grants(uint32_t slots)
{
    struct wire_granted granted;
    memset(&granted, 0, sizeof(granted));
    wire_header_init(&granted.header, WIRE_WINDOW | WIRE_REPLY, sizeof(granted),
                     next.client.message.header.request);
    granted.window_address = fabric_region_remote(next.client.region, next.client.memory);
    granted.window_key = fabric_region_key(next.client.region);
    granted.window_slots = slots;
    assert_int_equal(fabric_send(next.client.conn, &granted, sizeof(granted)), 0);
    server_turn(&next);
}

// It takes what nobody waits for, and does not ask for that with each payload.
static void test_relay_when_there_is_no_window_asks_for_one_to_spare_now_and_then(void **state)
{
    (void)state;
    connected(0);
    push_all(2, 0);
    answered(4, 4, PAWL_EBUSY);
    const struct wire_window *window = (const void *)&next.client.message;
    assert_int_equal(next.client.messages_count, 2);
    assert_int_equal(window->header.type, WIRE_WINDOW);
    assert_int_equal(window->slots_wanted, WIRE_WINDOW_SLOTS_MAX);
    assert_int_equal(window->slots_needed, 0);
    next_grants(0);
    push_all(5, 3);
    answered(7, 7, PAWL_EBUSY);
    assert_int_equal(next.client.messages_count, 2);
    bench_pass(&bench, CHUNKD_SPARE_MS);
    push_all(8, 3);
    answered(10, 10, PAWL_EBUSY);
    assert_int_equal(next.client.messages_count, 3);
    next_grants(4);
    push_all(11, 0);
    next_answers(0);
    answered(13, 13, 0);
}

static void test_relay_when_the_next_server_refuses_hands_the_code_on(void **state)
{
    (void)state;
    connected(8);
    push_all(2, 0);
    next_answers(PAWL_EDEADLINE);
    answered(4, 4, PAWL_EDEADLINE);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
    assert_int_equal(bench.reactor->relayed_count, 0);
}

static void test_relay_when_the_next_server_is_lost_hands_it_back(void **state)
{
    (void)state;
    connected(8);
    push_all(2, 0);
    push(5, 0, SLICE, 3); // one that is not whole yet, too
    fabric_fake_drop(next.client.conn);
    server_turn(&next);
    answered(5, 4, PAWL_EDISCONNECTED);
    push(6, SLICE, SLICE, 3);
    push(7, 2 * SLICE, LENGTH - 2 * SLICE, 3);
    answered(7, 7, PAWL_EDISCONNECTED);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
}

// A server that stands still must not make its neighbour look as if it stood still.
static void test_relay_when_the_next_server_is_silent_is_answered_in_time(void **state)
{
    (void)state;
    connected(8);
    push_all(2, 0);
    bench_pass(&bench, CHUNKD_RELAY_MS - 100);
    assert_int_equal(primary.messages_count, 3);
    bench_pass(&bench, 200);
    answered(4, 4, PAWL_EDEADLINE);
    next_answers(0); // late
    assert_int_equal(primary.messages_count, 4);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
}

static void test_relay_when_the_primary_is_lost_ends(void **state)
{
    (void)state;
    connected(8);
    push_all(2, 0);
    push(5, 0, SLICE, 3);
    fabric_fake_drop(primary.conn);
    server_turn(&next);
    assert_true(primary.closed);
    next_answers(0);
    assert_true(pawl_list_is_empty(&bench.reactor->relays));
    assert_int_equal(bench.reactor->requests.used_count, 0);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
    struct link *link =
        pawl_container_of(pawl_list_first(&bench.reactor->links), struct link, node);
    assert_int_equal(link->slots_used, 0);
}

static void test_relay_when_slices_leave_a_gap_is_refused(void **state)
{
    (void)state;
    connected(8);
    push(2, 0, SLICE, 0);
    push(3, 2 * SLICE, LENGTH - 2 * SLICE, 0);
    answered(3, 3, PAWL_EBUSY);
    assert_int_equal(next.client.messages_count, 1);
}

static void test_push_when_a_client_has_it_passed_on_ends_the_connection(void **state)
{
    (void)state;
    struct client client;
    client_open(&client, &bench);
    client_hello(&client, 0, 8);
    struct {
        struct wire_push push;
        char address[64];
    } message;
    memset(&message, 0, sizeof(message));
    uint32_t address_bytes = (uint32_t)strlen(fabric_address(next.fabric));
    memcpy(message.address, fabric_address(next.fabric), address_bytes);
    uint32_t bytes = (uint32_t)sizeof(message.push) + address_bytes;
    wire_header_init(&message.push.header, WIRE_PUSH, bytes, 2);
    message.push.chunk = 42;
    message.push.version = 1;
    message.push.id.producer_lo = 1;
    message.push.id.sequence = 1;
    message.push.length = 100000;
    message.push.bytes = 100000;
    message.push.slot_count = 1;
    message.push.next = NEXT;
    client_send(&client, &message, bytes);
    assert_true(client.closed);
    client_close(&client);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_slices_go_on_as_they_come_and_the_last_is_answered_by_the_next),
        T(test_prepare_when_its_slots_are_read_is_answered_after_that),
        T(test_relay_when_slices_stop_coming_gives_its_slots_back),
        T(test_relay_when_the_next_server_is_not_connected_hands_it_back_and_connects),
        T(test_relay_when_no_slot_is_free_hands_it_back_at_once),
        T(test_relay_when_there_is_no_window_asks_for_one_to_spare_now_and_then),
        T(test_relay_when_the_next_server_refuses_hands_the_code_on),
        T(test_relay_when_the_next_server_is_lost_hands_it_back),
        T(test_relay_when_the_next_server_is_silent_is_answered_in_time),
        T(test_relay_when_the_primary_is_lost_ends),
        T(test_relay_when_slices_leave_a_gap_is_refused),
        T(test_push_when_a_client_has_it_passed_on_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
