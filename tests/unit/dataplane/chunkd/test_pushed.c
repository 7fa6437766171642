// SPDX-License-Identifier: Apache-2.0
// Tests of the end of a chain: payload and PREPARE come by two connections, in any order.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/fabric/fake.h"
#include "scripted.h"

#define LENGTH 300000u // two slots

static struct bench bench;
static struct client primary;
static struct client neighbour; // the one that forwards
static uint64_t version;        // of the next PREPAREs

static int setup(void **state)
{
    (void)state;
    version = 1;
    bench_open(&bench);
    client_open(&primary, &bench);
    client_hello(&primary, 0x77, 8);
    client_open(&neighbour, &bench);
    client_hello(&neighbour, 0x88, 8);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_close(&neighbour);
    client_close(&primary);
    bench_close(&bench);
    return 0;
}

static void push_as(struct client *from, uint64_t request, struct wire_record_id id,
                    uint16_t slot_first)
{
    struct wire_push message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PUSH, sizeof(message), request);
    message.chunk = 42;
    message.version = 1;
    message.id = id;
    message.length = LENGTH;
    message.bytes = LENGTH;
    message.slot_first = slot_first;
    message.slot_count = 2;
    uint64_t remote =
        from->welcome.window_address + (uint64_t)slot_first * from->welcome.slot_bytes;
    assert_int_equal(fabric_write(from->conn, from->region, from->memory + id.sequence, LENGTH,
                                  remote, from->welcome.window_key, 1),
                     0);
    client_send(from, &message, sizeof(message));
}

static void push(struct client *from, uint64_t request, uint64_t sequence, uint16_t slot_first)
{
    push_as(from, request, (struct wire_record_id){.producer_lo = 1, .sequence = sequence},
            slot_first);
}

// Sequence and index are the same here; small ones carry their payload.
static void prepare(uint64_t request, uint64_t chunk, uint64_t sequence, bool small)
{
    struct {
        struct wire_prepare prepare;
        unsigned char bytes[100];
    } message;
    memset(&message, 0, sizeof(message));
    uint32_t inline_bytes = small ? sizeof(message.bytes) : 0;
    wire_header_init(&message.prepare.header, WIRE_PREPARE,
                     (uint32_t)sizeof(message.prepare) + inline_bytes, request);
    message.prepare.chunk = chunk;
    message.prepare.version = version;
    message.prepare.index = sequence;
    message.prepare.id.producer_lo = 1;
    message.prepare.id.sequence = sequence;
    message.prepare.length = small ? inline_bytes : LENGTH;
    message.prepare.flags = small ? 0 : WIRE_PREPARE_PUSHED;
    client_send(&primary, &message, (uint32_t)sizeof(message.prepare) + inline_bytes);
}

static const struct script_event *stepped(unsigned count, uint64_t index)
{
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), count);
    const struct script_event *event = script_last(CHUNK_EVENT_PREPARE);
    const struct wire_prepare *message = (const void *)&event->message;
    assert_int_equal(message->index, index);
    assert_int_equal(event->event.server, 0x77);
    return event;
}

static void settle(const struct script_event *event)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_REPLY);
    action->conn = event->event.conn;
    action->request = event->event.request;
    script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
    script_run(&bench);
    bench_turn(&bench);
}

static void test_payload_when_it_comes_first_waits_for_its_prepare(void **state)
{
    (void)state;
    push(&neighbour, 2, 5, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
    prepare(2, 42, 5, false);
    const struct script_event *event = stepped(1, 5);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, neighbour.memory + 5, LENGTH));
    assert_int_equal(neighbour.messages_count, 1); // its slots are in use
    settle(event);
    assert_int_equal(neighbour.messages_count, 2);
    assert_int_equal(neighbour.message.header.type, WIRE_PUSH | WIRE_REPLY);
    assert_int_equal(neighbour.message.header.status, 0);
    assert_int_equal(primary.messages_count, 2);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(bench.reactor->requests.used_count, 0);
}

static void test_prepare_when_it_comes_first_waits_for_its_payload(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
    push(&neighbour, 2, 6, 0); // another record's
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
    push(&neighbour, 3, 5, 2);
    const struct script_event *event = stepped(1, 5);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, neighbour.memory + 5, LENGTH));
    settle(event);
    assert_int_equal(neighbour.message.header.request, 3);
    prepare(3, 42, 6, false);
    settle(stepped(2, 6));
    assert_int_equal(bench.reactor->payloads.used_count, 0);
}

// The core takes records in the order of their indices, whatever came by which way.
static void test_prepares_behind_one_that_waits_keep_their_order(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    prepare(3, 42, 6, true);
    prepare(4, 42, 7, false);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
    prepare(5, 43, 1, true); // of another chunk
    stepped(1, 1);
    push(&neighbour, 2, 7, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 1);
    push(&neighbour, 3, 5, 2);
    stepped(4, 7);
    assert_true(pawl_list_is_empty(&bench.reactor->held));
}

// The chain has failed, and the primary brings it; what the chain brings after that is in nobody's way.
static void test_payload_when_the_primary_brings_it_is_taken(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    push(&primary, 3, 5, 0);
    settle(stepped(1, 5));
    assert_int_equal(primary.messages_count, 3);
    push(&neighbour, 2, 5, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 1);
    bench_pass(&bench, CHUNKD_ARRIVAL_MS + 100);
    assert_int_equal(neighbour.message.header.type, WIRE_PUSH | WIRE_REPLY);
    assert_int_equal(neighbour.message.header.status, PAWL_EDEADLINE);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
}

static void test_prepare_when_its_payload_never_comes_is_refused_in_time(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    bench_pass(&bench, 100);
    prepare(3, 42, 6, true);
    bench_pass(&bench, CHUNKD_HELD_MS - 50);
    assert_int_equal(primary.messages_count, 2);
    assert_int_equal(primary.message.header.request, 2);
    assert_int_equal(primary.message.header.status, PAWL_EBADPAYLOAD);
    stepped(1, 6); // it leaves a hole: the core refuses it
    assert_true(pawl_list_is_empty(&bench.reactor->held));
    assert_int_equal(CHUNKD_HELD_MS < CHUNKD_PREPARE_MS, 1); // the primary's patience
}

static void prepare_push_only(uint64_t request, uint64_t number)
{
    struct wire_prepare message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PREPARE, sizeof(message), request);
    message.chunk = 42;
    message.version = version;
    message.index = number;
    message.id.sequence = number;
    message.id.flags = WIRE_RECORD_PUSH;
    message.length = LENGTH;
    message.flags = WIRE_PREPARE_PUSHED | WIRE_PREPARE_PUSH_ONLY;
    client_send(&primary, &message, sizeof(message));
}

// A push alone is in no record's way, and no record in its.
static void test_prepare_of_a_push_alone_when_its_payload_is_late_holds_up_nothing(void **state)
{
    (void)state;
    prepare_push_only(2, 5);
    prepare(3, 42, 5, true);
    settle(stepped(1, 5));
    prepare(4, 42, 6, false);
    prepare_push_only(5, 6);
    push(&neighbour, 2, 6, 0); // the record's, of the same sequence
    settle(stepped(2, 6));
    assert_int_equal(primary.message.header.request, 4);
    bench_pass(&bench, CHUNKD_HELD_MS + 100);
    assert_int_equal(primary.message.header.request, 5);
    assert_int_equal(primary.message.header.status, PAWL_EBADPAYLOAD);
    assert_true(pawl_list_is_empty(&bench.reactor->held));
}

static void test_prepare_of_a_push_alone_when_its_payload_comes_is_answered(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    prepare_push_only(3, 1);
    push_as(&neighbour, 2, (struct wire_record_id){.sequence = 1, .flags = WIRE_RECORD_PUSH}, 0);
    assert_int_equal(primary.messages_count, 2);
    assert_int_equal(primary.message.header.request, 3);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
    push(&neighbour, 3, 5, 2);
    settle(stepped(1, 5));
    assert_int_equal(bench.reactor->payloads.used_count, 0);
}

// After a recovery, which takes less time than a lost payload: what was held neither holds up the new ones nor takes
// what is theirs.
static void test_prepare_when_a_newer_version_comes_is_refused(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    version = 2;
    prepare(3, 42, 5, true);
    stepped(1, 5);
    assert_int_equal(primary.messages_count, 2);
    assert_int_equal(primary.message.header.request, 2);
    assert_int_equal(primary.message.header.status, PAWL_ESTALE);
    prepare(4, 42, 6, false);
    push(&neighbour, 2, 6, 0); // of version 1
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 1);
}

static void test_prepare_when_the_primary_is_lost_is_forgotten(void **state)
{
    (void)state;
    prepare(2, 42, 5, false);
    prepare(3, 42, 6, true);
    fabric_fake_drop(primary.conn);
    bench_turn(&bench);
    assert_true(primary.closed);
    assert_true(pawl_list_is_empty(&bench.reactor->held));
    assert_int_equal(bench.reactor->requests.used_count, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARE), 0);
}

// The bytes are here; who brought them is not needed any more.
static void test_payload_when_its_bringer_is_lost_is_used_all_the_same(void **state)
{
    (void)state;
    push(&neighbour, 2, 5, 0);
    fabric_fake_drop(neighbour.conn);
    bench_turn(&bench);
    assert_true(neighbour.closed);
    prepare(2, 42, 5, false);
    const struct script_event *event = stepped(1, 5);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, neighbour.memory + 5, LENGTH));
    settle(event);
    assert_int_equal(primary.messages_count, 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_payload_when_it_comes_first_waits_for_its_prepare),
        T(test_prepare_when_it_comes_first_waits_for_its_payload),
        T(test_prepares_behind_one_that_waits_keep_their_order),
        T(test_payload_when_the_primary_brings_it_is_taken),
        T(test_prepare_when_its_payload_never_comes_is_refused_in_time),
        T(test_prepare_of_a_push_alone_when_its_payload_is_late_holds_up_nothing),
        T(test_prepare_of_a_push_alone_when_its_payload_comes_is_answered),
        T(test_prepare_when_a_newer_version_comes_is_refused),
        T(test_prepare_when_the_primary_is_lost_is_forgotten),
        T(test_payload_when_its_bringer_is_lost_is_used_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
