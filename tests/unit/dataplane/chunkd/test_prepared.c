// SPDX-License-Identifier: Apache-2.0
// Tests of PREPAREs and their answers at a session: runs, and one answer for several in a row.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "scripted.h"

static struct bench bench;
static struct client client;

static int setup(void **state)
{
    (void)state;
    bench_open(&bench);
    client_open(&client, &bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_close(&client);
    bench_close(&bench);
    return 0;
}

static void prepare_send(uint64_t index)
{
    struct {
        struct wire_prepare prepare;
        unsigned char payload[8];
    } message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.prepare.header, WIRE_PREPARE, sizeof(message), 100 + index);
    message.prepare.chunk = 42;
    message.prepare.version = 1;
    message.prepare.index = index;
    message.prepare.id.producer_lo = 1;
    message.prepare.id.sequence = index + 1;
    message.prepare.length = sizeof(message.payload);
    client_send(&client, &message, sizeof(message));
}

// The core's answer to the PREPARE of `index`, in the next step.
static void prepared_action(const uint64_t requests[], uint64_t index, int status)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_REPLY);
    action->request = requests[index];
    wire_header_init(&action->reply.header, WIRE_PREPARE | WIRE_REPLY, sizeof(struct wire_prepared),
                     requests[index]);
    action->reply.header.status = status;
    action->reply.prepared.chunk = 42;
    action->reply.prepared.version = 1;
    action->reply.prepared.index = index;
}

static void test_prepares_when_answered_in_one_turn_share_an_answer(void **state)
{
    (void)state;
    uint64_t requests[3];
    client_hello(&client, 0x77, 64);
    for (uint64_t i = 0; i < 3; i++) {
        prepare_send(i);
        requests[i] = script_last(CHUNK_EVENT_PREPARE)->event.request;
    }
    unsigned before = client.messages_count;
    for (uint64_t i = 0; i < 3; i++) {
        prepared_action(requests, i, 0);
    }
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, before + 1);
    assert_int_equal(client.message.header.type, WIRE_PREPARE | WIRE_REPLY);
    assert_int_equal(client.message.header.request, 102);
    assert_int_equal(client.message.reply.prepared.index, 2);
    assert_int_equal(client.message.reply.prepared.earlier_count, 2);
    assert_int_equal(bench.reactor->requests.used_count, 0);
}

// A PREPARE of a run: records [index, index + count), of 10 bytes each.
static void prepare_send_run(uint64_t index, uint16_t count)
{
    client_run(&client, &(struct client_run){.type = WIRE_PREPARE,
                                             .count = count,
                                             .each = 10,
                                             .chunk = 42,
                                             .index = index,
                                             .request = 100 + index});
}

static void test_run_when_it_comes_then_core_and_store_get_its_rows_and_bytes(void **state)
{
    (void)state;
    client_hello(&client, 0x77, 64);
    prepare_send_run(0, 3);
    const struct chunk_event *event = &script_last(CHUNK_EVENT_PREPARE)->event;
    const struct wire_prepare *prepare = (const void *)event->message;
    assert_int_equal(event->payload_crc, prepare->crc);
    struct chunk_action *action = script_action(CHUNK_ACTION_APPEND);
    action->token = 5;
    action->handle = 42;
    action->payload = event->payload;
    action->count = 3;
    action->record.length = 10;
    script_run(&bench);
    const struct script_call *call = script_call_last("append");
    assert_int_equal(call->count, 3);
    assert_int_equal(call->length, 30);
    assert_memory_equal(call->memory, client.memory, 30);
    assert_false(client.closed);
}

static void test_prepares_when_some_are_runs_then_an_answer_counts_records(void **state)
{
    (void)state;
    uint64_t requests[8];
    static const struct {
        uint64_t index;
        uint16_t count;
    } sent[] = {{0, 3}, {3, 0}, {4, 2}};
    client_hello(&client, 0x77, 64);
    unsigned before = client.messages_count;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(sent); i++) {
        uint64_t last = sent[i].index + wire_records_count(sent[i].count) - 1;
        if (sent[i].count != 0) {
            prepare_send_run(sent[i].index, sent[i].count);
        } else {
            prepare_send(sent[i].index);
        }
        requests[last] = script_last(CHUNK_EVENT_PREPARE)->event.request;
    }
    prepared_action(requests, 2, 0);
    prepared_action(requests, 3, 0);
    prepared_action(requests, 5, 0);
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, before + 1);
    assert_int_equal(client.message.header.request, 104);
    assert_int_equal(client.message.reply.prepared.index, 5);
    assert_int_equal(client.message.reply.prepared.earlier_count, 5);
}

// One that isn't the next, and a refusal, are answered by themselves, in order.
static void test_prepares_when_no_run_are_answered_one_by_one(void **state)
{
    (void)state;
    uint64_t requests[4];
    client_hello(&client, 0x77, 64);
    for (uint64_t i = 0; i < 4; i++) {
        prepare_send(i);
        requests[i] = script_last(CHUNK_EVENT_PREPARE)->event.request;
    }
    unsigned before = client.messages_count;
    prepared_action(requests, 0, 0);
    prepared_action(requests, 2, 0);
    prepared_action(requests, 3, PAWL_ESTALE);
    prepared_action(requests, 1, 0);
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, before + 4);
    assert_int_equal(client.message.header.request, 101);
    assert_int_equal(client.message.reply.prepared.earlier_count, 0);
    assert_int_equal(bench.reactor->requests.used_count, 0);
}

static void test_prepared_when_connection_ends_while_it_is_held_back_is_dropped(void **state)
{
    (void)state;
    uint64_t requests[1];
    client_hello(&client, 0x77, 64);
    prepare_send(0);
    requests[0] = script_last(CHUNK_EVENT_PREPARE)->event.request;
    prepared_action(requests, 0, 0);
    script_run(&bench);
    assert_false(pawl_list_is_empty(&bench.reactor->answering));
    session_free_all(bench.reactor);
    assert_true(pawl_list_is_empty(&bench.reactor->answering));
    fabric_conn_close(client.conn, 0);
    client.closed = true;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_prepares_when_answered_in_one_turn_share_an_answer),
        T(test_run_when_it_comes_then_core_and_store_get_its_rows_and_bytes),
        T(test_prepares_when_some_are_runs_then_an_answer_counts_records),
        T(test_prepares_when_no_run_are_answered_one_by_one),
        T(test_prepared_when_connection_ends_while_it_is_held_back_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
