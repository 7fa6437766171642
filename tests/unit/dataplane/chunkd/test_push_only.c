// SPDX-License-Identifier: Apache-2.0
// Tests of pushing alone: the payload goes to every replica and nothing is asked of the core.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "scripted.h"

#define FIRST 0x88u
#define SECOND 0x99u
#define LENGTH (2 * WIRE_SLOT_BYTES + 1000u) // three slots

static struct bench bench;
static struct client client; // pushes
static struct server first;
static struct server second;

static int setup(void **state)
{
    (void)state;
    bench_open_with(&bench, 128u << 20);
    client_open(&client, &bench);
    client_hello(&client, 0, 64);
    server_open(&first, &bench);
    server_open(&second, &bench);
    script.secondaries[0] = FIRST;
    script.secondaries[1] = SECOND;
    script.secondaries_count = 2;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close(&second);
    server_close(&first);
    client_close(&client);
    bench_close(&bench);
    script.secondaries_count = 0;
    return 0;
}

static void connected(void)
{
    const struct server *servers[] = {&first, &second};
    const uint64_t ids[] = {FIRST, SECOND};
    for (int i = 0; i < 2; i++) {
        script_connect(servers[i], ids[i]);
    }
    script_run(&bench);
    server_welcome(&first, FIRST, 8, 16);
    server_welcome(&second, SECOND, 8, 16);
}

static void push_by(struct client *from, uint64_t request, uint32_t length, uint16_t slot_first)
{
    struct wire_push message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PUSH, sizeof(message), request);
    message.chunk = 42;
    message.version = 3;
    message.id.producer_lo = 1;
    message.id.sequence = request;
    message.length = length;
    message.bytes = length;
    message.slot_first = slot_first;
    message.slot_count = (uint16_t)((length + WIRE_SLOT_BYTES - 1) / WIRE_SLOT_BYTES);
    client_send(from, &message, sizeof(message));
}

static void push(uint64_t request, uint64_t next)
{
    struct wire_push message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PUSH, sizeof(message), request);
    message.chunk = 42;
    message.version = 3;
    message.id.producer_lo = 1;
    message.id.sequence = request;
    message.next = next;
    message.length = LENGTH;
    message.bytes = LENGTH;
    message.slot_count = 3;
    assert_int_equal(fabric_write(client.conn, client.region, client.memory, LENGTH,
                                  client.welcome.window_address, client.welcome.window_key, 1),
                     0);
    client_send(&client, &message, sizeof(message));
    server_turn(&first);
    server_turn(&second);
}

static void answer(struct server *server, int status)
{
    struct wire_prepared answer = {.header.status = status,
                                   .index = server->client.message.prepare.index};
    server_prepared(server, server->client.message.header.request, &answer);
}

static void expect_answer(unsigned count, int status)
{
    assert_int_equal(client.messages_count, count);
    assert_int_equal(client.message.header.type, WIRE_PUSH | WIRE_REPLY);
    assert_int_equal(client.message.header.status, status);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(bench.reactor->requests.used_count, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->push_onlys));
    assert_int_equal(script.events_count, 0); // the core knows nothing of it
}

static void expect_prepare(const struct server *server)
{
    const struct wire_prepare *prepare = &server->client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_int_equal(prepare->flags, WIRE_PREPARE_PUSH_ONLY);
    assert_int_equal(prepare->id.flags,
                     WIRE_RECORD_PUSH); // not the client's, which may be a record's
    assert_int_equal(prepare->slot_count, 3);
    assert_int_equal(prepare->crc, pawl_crc32c(0, client.memory, LENGTH));
    assert_memory_equal(server->client.memory, client.memory, LENGTH);
}

static void test_push_when_all_have_it_then_answered(void **state)
{
    (void)state;
    connected();
    push(5, 0);
    expect_prepare(&first);
    expect_prepare(&second);
    answer(&first, 0);
    assert_int_equal(client.messages_count, 1);
    answer(&second, 0);
    expect_answer(2, 0);
    push(6, 0); // its slots are free again
    assert_false(client.closed);
}

static void test_push_when_by_chain_then_the_second_gets_it_from_the_first(void **state)
{
    (void)state;
    bench.reactor->options.chain_bytes = WIRE_SLOT_BYTES;
    bench.reactor->options.requests_count = 16;
    connected();
    push(5, 0);
    assert_int_equal(second.client.message.prepare.flags,
                     WIRE_PREPARE_PUSH_ONLY | WIRE_PREPARE_PUSHED);
    assert_int_equal(second.client.message.prepare.slot_count, 0);
    assert_int_equal(first.client.message.prepare.flags, WIRE_PREPARE_PUSH_ONLY);
    assert_true(first.client.messages_count > 2); // HELLO, slices, PREPARE
    assert_int_equal(second.client.message.prepare.id.flags, WIRE_RECORD_PUSH);
    assert_memory_equal(&second.client.message.prepare.id, &first.client.message.prepare.id,
                        sizeof(struct wire_record_id));
}

static void test_push_when_a_replica_refuses_then_told(void **state)
{
    (void)state;
    connected();
    push(5, 0);
    answer(&first, PAWL_EBADPAYLOAD);
    answer(&second, 0);
    expect_answer(2, PAWL_EBADPAYLOAD);
}

static void test_push_when_a_replica_is_lost_then_told(void **state)
{
    (void)state;
    connected();
    push(5, 0);
    answer(&first, 0);
    fabric_conn_close(second.client.conn, PAWL_EDISCONNECTED);
    server_turn(&second);
    assert_int_equal(client.messages_count, 2);
    assert_int_equal(client.message.header.type, WIRE_PUSH | WIRE_REPLY);
    assert_int_not_equal(client.message.header.status, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->push_onlys));
}

static void test_push_when_not_the_primary_then_refused(void **state)
{
    (void)state;
    script.secondaries_count = PAWL_ENOTPRIMARY;
    push(5, 0);
    expect_answer(2, PAWL_ENOTPRIMARY);
}

static void test_push_when_client_is_gone_then_it_ends_all_the_same(void **state)
{
    (void)state;
    connected();
    push(5, 0);
    fabric_conn_close(client.conn, PAWL_EDISCONNECTED);
    bench_turn(&bench);
    answer(&first, 0);
    answer(&second, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->push_onlys));
}

// However many clients push, a record finds one window's worth of them on its way before it.
static void test_push_when_many_clients_do_then_some_wait_for_others(void **state)
{
    (void)state;
    enum { CLIENTS = 5, EACH = 2, SLOTS = 8, AT_ONCE = WIRE_WINDOW_SLOTS_MAX / SLOTS };
    struct client clients[CLIENTS];
    script.secondaries_count = 1;
    connected();
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&clients[i], &bench);
        client_hello(&clients[i], 0, EACH * SLOTS);
        for (uint16_t j = 0; j < EACH; j++) {
            push_by(&clients[i], 5u + j, CLIENT_BYTES, (uint16_t)(j * SLOTS));
        }
    }
    assert_int_equal(bench.reactor->sends.used_count, AT_ONCE);
    server_turn(&first);
    for (unsigned i = 1; i <= CLIENTS * EACH; i++) {
        assert_int_equal(first.client.message.prepare.index, i); // in the order in which they came
        answer(&first, 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].messages_count, 1 + EACH);
        assert_int_equal(clients[i].message.header.status, 0);
        client_close(&clients[i]);
    }
    assert_true(pawl_list_is_empty(&bench.reactor->push_onlys));
    assert_int_equal(bench.reactor->push_onlys_slots, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
}

// What has not begun when its client goes never does.
static void test_push_when_its_client_goes_before_it_began_then_is_forgotten(void **state)
{
    (void)state;
    enum { SLOTS = 8, AT_ONCE = WIRE_WINDOW_SLOTS_MAX / SLOTS };
    struct client clients[AT_ONCE + 1];
    script.secondaries_count = 1;
    connected();
    for (int i = 0; i <= AT_ONCE; i++) {
        client_open(&clients[i], &bench);
        client_hello(&clients[i], 0, SLOTS);
        push_by(&clients[i], 5, CLIENT_BYTES, 0);
    }
    assert_int_equal(bench.reactor->sends.used_count, AT_ONCE);
    client_close(&clients[AT_ONCE]);
    bench_turn(&bench);
    server_turn(&first);
    for (int i = 0; i < AT_ONCE; i++) {
        answer(&first, 0);
        client_close(&clients[i]);
    }
    assert_int_equal(bench.reactor->sends.used_count, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->push_onlys));
    assert_int_equal(bench.reactor->push_onlys_slots, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
}

// A chain is the primary's to make.
static void test_push_when_a_client_names_the_next_server_then_disconnected(void **state)
{
    (void)state;
    connected();
    push(5, FIRST);
    bench_turn(&bench);
    assert_true(client.closed);
}

// ---- at another replica ---------------------------------------------------------------------------

static struct client primary;

static void prepare(uint64_t request, uint32_t crc)
{
    struct wire_prepare message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_PREPARE, sizeof(message), request);
    message.chunk = 42;
    message.version = 3;
    message.index = 7;
    message.id.flags = WIRE_RECORD_PUSH;
    message.length = LENGTH;
    message.crc = crc;
    message.slot_count = 3;
    message.flags = WIRE_PREPARE_PUSH_ONLY;
    assert_int_equal(fabric_write(primary.conn, primary.region, primary.memory, LENGTH,
                                  primary.welcome.window_address, primary.welcome.window_key, 1),
                     0);
    client_send(&primary, &message, sizeof(message));
}

static void test_prepare_when_push_only_then_let_go_and_answered(void **state)
{
    (void)state;
    client_open(&primary, &bench);
    client_hello(&primary, 0x77, 8);
    prepare(5, pawl_crc32c(0, primary.memory, LENGTH));
    assert_int_equal(primary.messages_count, 2);
    assert_int_equal(primary.message.header.type, WIRE_PREPARE | WIRE_REPLY);
    assert_int_equal(primary.message.header.status, 0);
    assert_int_equal(primary.message.reply.prepared.index, 7);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(script.events_count, 0);
    prepare(6, 1 ^ pawl_crc32c(0, primary.memory, LENGTH));
    assert_int_equal(primary.message.header.status, PAWL_EBADPAYLOAD);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    client_close(&primary);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_push_when_all_have_it_then_answered),
        T(test_push_when_by_chain_then_the_second_gets_it_from_the_first),
        T(test_push_when_a_replica_refuses_then_told),
        T(test_push_when_a_replica_is_lost_then_told),
        T(test_push_when_not_the_primary_then_refused),
        T(test_push_when_client_is_gone_then_it_ends_all_the_same),
        T(test_push_when_many_clients_do_then_some_wait_for_others),
        T(test_push_when_its_client_goes_before_it_began_then_is_forgotten),
        T(test_push_when_a_client_names_the_next_server_then_disconnected),
        T(test_prepare_when_push_only_then_let_go_and_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
