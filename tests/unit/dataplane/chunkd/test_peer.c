// SPDX-License-Identifier: Apache-2.0
// Tests of connections to other chunk servers: order, slots, credits, loss, deadlines, fetches.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/fabric/fake.h"
#include "scripted.h"

#define PEER 0x88u

static struct bench bench;
static struct client client; // brings the payloads
static struct server server;

static int setup(void **state)
{
    (void)state;
    bench_open(&bench);
    client_open(&client, &bench);
    client_hello(&client, 0, 8);
    server_open(&server, &bench);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close(&server);
    client_close(&client);
    bench_close(&bench);
    return 0;
}

static void connect_action(void)
{
    script_connect(&server, PEER);
}

static void prepare_action(uint64_t payload, uint64_t index, uint32_t length)
{
    script_prepare(PEER, payload, index, length);
}

// Brings a payload of `length` bytes to the reactor; returns the core's name of it.
static uint64_t payload_bring(uint64_t request, uint32_t length, uint16_t slot_first,
                              uint16_t slot_count)
{
    client_append(&client, request, length, slot_first, slot_count);
    return script_payload();
}

static void answer_prepares(int status, uint64_t index, uint32_t earlier_count)
{
    struct wire_prepared answer = {
        .header.status = status, .index = index, .earlier_count = earlier_count};
    server_prepared(&server, server.client.message.header.request, &answer);
}

static void answer_prepare(int status, uint64_t index)
{
    answer_prepares(status, index, 0);
}

static void test_prepare_when_small_travels_inline(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 500, 0, 0);
    connect_action();
    prepare_action(payload, 0, 500);
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    assert_int_equal(server.client.messages_count, 2); // HELLO, then what had waited
    struct wire_prepare *prepare = &server.client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_int_equal(prepare->slot_count, 0);
    assert_memory_equal(server.client.message.bytes + sizeof(*prepare), client.memory, 500);
    assert_int_equal(fabric_copied_bytes(bench.reactor->fabrics[0]), 500);
    answer_prepare(0, 0);
    struct script_event *event = script_last(CHUNK_EVENT_PREPARED);
    assert_non_null(event);
    assert_int_equal(event->event.server, PEER);
    assert_int_equal(event->event.handle, 42);
    assert_int_equal(event->event.version, 3);
    assert_int_equal(event->event.index, 0);
    assert_int_equal(event->event.status, 0);
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

// ---- payloads that are sent from the packet that brought them ---------------------------------

#define STAYS_BYTES 4001u

static void test_prepare_when_its_payload_is_long_is_sent_without_a_copy(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, STAYS_BYTES, 0, 0);
    connect_action();
    prepare_action(payload, 0, STAYS_BYTES);
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    struct wire_prepare *prepare = &server.client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_memory_equal(server.client.message.bytes + sizeof(*prepare), client.memory, STAYS_BYTES);
    assert_int_equal(fabric_copied_bytes(bench.reactor->fabrics[0]), 0);
    // The core has the only use of it, and no need to keep it for the peer's answer.
    assert_int_equal(payload_find(bench.reactor, payload)->uses_count, 1);
}

// A payload that is written to a secondary, with which the core is done at once, and whose request is answered.
static void prepare_and_forget(uint64_t request, bool prepares)
{
    uint64_t payload = payload_bring(request, STAYS_BYTES, 0, 0);
    assert_int_equal(payload_find(bench.reactor, payload)->kind, PAYLOAD_INLINE);
    if (prepares) {
        prepare_action(payload, request, STAYS_BYTES);
    }
    struct chunk_action *reply = script_action(CHUNK_ACTION_REPLY);
    reply->request = script_last(CHUNK_EVENT_APPEND)->event.request;
    script_action(CHUNK_ACTION_RELEASE)->payload = payload;
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(bench.reactor->requests.used_count, 0);
}

// The peer takes nothing yet. Others use the client's receives, and then the client goes.
static void test_prepare_when_under_way_keeps_its_bytes_whoever_goes(void **state)
{
    (void)state;
    unsigned char bytes[STAYS_BYTES];
    connect_action();
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    memcpy(bytes, client.memory, sizeof(bytes));
    prepare_and_forget(1, true);
    memset(client.memory, 0xee, sizeof(bytes));
    for (uint64_t i = 2; i < 40; i++) {
        prepare_and_forget(i, false);
    }
    fabric_conn_close(client.conn, 0);
    bench_turn(&bench);
    assert_true(client.closed);
    assert_true(pawl_list_is_empty(&bench.reactor->sessions));
    server_turn(&server);
    const struct wire_prepare *prepare = &server.client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_memory_equal(server.client.message.bytes + sizeof(*prepare), bytes, sizeof(bytes));
    answer_prepare(0, 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, 0);
}

// The peer goes with payloads of many on their way to it: what brought them is free again, however often.
static void test_peer_when_lost_gives_the_packets_back_that_were_on_their_way(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 6; round++) {
        connect_action();
        script_run(&bench);
        server.client.connected = false;
        server_welcome(&server, PEER, 8, 4);
        prepare_and_forget(2 * round + 1, true);
        prepare_and_forget(2 * round + 2, true);
        fabric_conn_close(server.client.conn, 0);
        server_turn(&server);
        bench_turn(&bench);
        assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), round + 1);
    }
    assert_int_equal(bench.reactor->copied_bytes, 0); // none found its receives held
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

static void test_prepare_when_large_is_written_into_slots_first(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 300000, 0, 2);
    connect_action();
    prepare_action(payload, 0, 300000);
    script_run(&bench);
    memset(server.client.memory, 0, CLIENT_BYTES);
    server_welcome(&server, PEER, 8, 4);
    struct wire_prepare *prepare = &server.client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_int_equal(prepare->slot_first, 0);
    assert_int_equal(prepare->slot_count, 2);
    assert_memory_equal(server.client.memory, client.memory, 300000);
}

static void test_prepare_when_refused_hands_the_code_on(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 500, 0, 0);
    connect_action();
    prepare_action(payload, 6, 500);
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    answer_prepare(PAWL_ESTALE, 6);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_ESTALE);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 6);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
}

// Four slots: the second large one waits for those of the first, and the small one behind it too.
static void test_prepare_when_no_slot_is_free_waits_in_order(void **state)
{
    (void)state;
    uint64_t first = payload_bring(1, 700000, 0, 3);
    uint64_t second = payload_bring(2, 700000, 3, 3);
    uint64_t third = payload_bring(3, 100, 0, 0);
    connect_action();
    prepare_action(first, 0, 700000);
    prepare_action(second, 1, 700000);
    prepare_action(third, 2, 100);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    assert_int_equal(server.client.messages_count, 2);
    assert_int_equal(server.client.message.prepare.index, 0);
    answer_prepare(0, 0);
    assert_int_equal(server.client.messages_count, 4);
    assert_int_equal(server.client.message.prepare.index, 2);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
}

// The answer to the last one is for those before it, too; their credits come back with it.
static void test_prepares_when_answered_together_end_together(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    for (uint64_t i = 0; i < 6; i++) {
        prepare_action(payload, i, 100);
    }
    script_run(&bench);
    server_welcome(&server, PEER, 4, 3);
    assert_int_equal(server.client.message.prepare.index, 2);
    answer_prepares(0, 2, 2);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 2);
    assert_int_equal(server.client.message.prepare.index, 5);
    assert_int_equal(bench.reactor->sends.used_count, 3);
    answer_prepares(0, 5, 2);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 5);
    assert_int_equal(bench.reactor->sends.used_count, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
}

static void run_action(uint64_t payload, uint64_t index, uint16_t count)
{
    prepare_action(payload, index, 10u * count);
    script.actions[script.actions_count - 1].prepare.run_count = count;
}

// Brings a run of `count` records of 10 bytes; returns the core's name of its payload.
static uint64_t run_bring(uint64_t request, uint16_t count)
{
    client_run(&client, &(struct client_run){.type = WIRE_APPEND,
                                             .count = count,
                                             .each = 10,
                                             .chunk = 42,
                                             .index = request - 1,
                                             .request = request});
    return script_payload();
}

static void test_prepare_of_a_run_carries_its_rows_and_ends_at_its_last_record(void **state)
{
    (void)state;
    uint64_t payload = run_bring(1, 3);
    connect_action();
    run_action(payload, 4, 3);
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    const struct wire_prepare *prepare = &server.client.message.prepare;
    const unsigned char *at = server.client.message.bytes + sizeof(*prepare);
    struct wire_run_row row;
    memcpy(&row, at + wire_rows_bytes(2), sizeof(row));
    assert_int_equal(prepare->run_count, 3);
    assert_int_equal(row.length, 10);
    assert_int_equal(row.crc, pawl_crc32c(0, client.memory + 20, 10));
    assert_memory_equal(at + wire_rows_bytes(3), client.memory, 30);
    answer_prepares(0, 6, 2);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 6);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, 0);
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

static void test_prepares_when_some_are_runs_then_end_together(void **state)
{
    (void)state;
    uint64_t run = run_bring(1, 3);
    uint64_t one = payload_bring(4, 10, 0, 0);
    connect_action();
    run_action(run, 0, 3);
    prepare_action(one, 3, 10);
    run_action(run, 4, 3);
    script_run(&bench);
    server_welcome(&server, PEER, 8, 4);
    answer_prepares(0, 6, 6);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 6);
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

static void test_peer_when_its_answer_ends_within_a_run_is_given_up(void **state)
{
    (void)state;
    static const struct {
        uint64_t index;
        uint32_t earlier_count;
    } wrong[] = {{5, 1}, {6, 1}, {6, 3}, {4, 0}};
    uint64_t payload = run_bring(1, 3);
    connect_action();
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        run_action(payload, 1, 3);
        run_action(payload, 4, 3);
        script_run(&bench);
        server_welcome(&server, PEER, 8, 4);
        answer_prepares(0, wrong[i].index, wrong[i].earlier_count);
        assert_true(server.client.closed);
        assert_int_not_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, 0);
        server_close(&server);
        server_open(&server, &bench);
        connect_action();
    }
    script_run(&bench);
}

static void test_peer_when_it_answers_for_a_record_that_was_not_sent_is_given_up(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    prepare_action(payload, 4, 100);
    prepare_action(payload, 5, 100);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    answer_prepares(0, 5, 2); // 3, 4 and 5
    assert_true(server.client.closed);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.index, 5);
    assert_int_not_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, 0);
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

static void test_prepare_when_credit_is_used_up_waits(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    for (uint64_t i = 0; i < 3; i++) {
        prepare_action(payload, i, 100);
    }
    script_run(&bench);
    server_welcome(&server, PEER, 4, 1);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(server.client.messages_count, 2 + i);
        assert_int_equal(server.client.message.prepare.index, i);
        answer_prepare(0, i);
    }
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 3);
}

static void test_peer_when_lost_fails_what_was_sent_and_what_waits(void **state)
{
    (void)state;
    uint64_t first = payload_bring(1, 700000, 0, 3);
    uint64_t second = payload_bring(2, 700000, 3, 3);
    connect_action();
    prepare_action(first, 0, 700000);
    prepare_action(second, 1, 700000);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    fabric_fake_drop(server.client.conn);
    server_turn(&server);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 2);
    assert_true(script_last(CHUNK_EVENT_PREPARED)->event.status < 0);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 1);
    // PEER_DOWN comes after the failures.
    assert_int_equal(script.events[script.events_count - 1].event.type, CHUNK_EVENT_PEER_DOWN);
    assert_int_equal(bench.reactor->sends.used_count, 0);
    assert_true(pawl_list_is_empty(&bench.reactor->links));
    // Only the core's own uses are left.
    assert_int_equal(payload_find(bench.reactor, first)->uses_count, 1);
    assert_int_equal(payload_find(bench.reactor, second)->uses_count, 1);
}

static void test_peer_when_nobody_listens_fails_the_prepare(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    struct chunk_action *action = script_action(CHUNK_ACTION_CONNECT);
    action->server = PEER;
    strcpy(action->address, "fake://54321");
    prepare_action(payload, 0, 100);
    script_run(&bench);
    bench_turn(&bench);
    bench_pass(&bench, CHUNKD_CONNECT_MS + 100);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
    assert_true(script_last(CHUNK_EVENT_PREPARED)->event.status < 0);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 1);
}

static void test_prepare_when_address_is_unknown_fails(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    prepare_action(payload, 0, 100);
    script_run(&bench);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EDISCONNECTED);
    assert_int_equal(payload_find(bench.reactor, payload)->uses_count, 1);
}

static void test_peer_when_it_does_not_answer_is_given_up_at_the_deadline(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    prepare_action(payload, 0, 100);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    bench_pass(&bench, CHUNKD_PREPARE_MS - 100);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 0);
    bench_pass(&bench, 200);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EDEADLINE);
    server_turn(&server);
    assert_true(server.client.closed);
}

static void test_peer_when_it_never_says_welcome_is_given_up(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    prepare_action(payload, 0, 100);
    script_run(&bench);
    server_turn(&server);
    bench_pass(&bench, CHUNKD_CONNECT_MS + 100);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EDEADLINE);
}

// A tick of a quiet reactor may be further away than the end of a connect.
static void test_peer_when_not_connected_in_time_then_a_quiet_reactor_wakes_up(void **state)
{
    (void)state;
    bench_pass(&bench, 2000);
    bench_pass(&bench, 1); // its ticks are far apart from here on
    connect_action();
    script_run(&bench);
    bench_turn(&bench);
    bench_pass(&bench, CHUNKD_CONNECT_MS - 100);
    assert_int_equal(reactor_sleep_ms(bench.reactor, bench.now_ns), 100);
    bench_pass(&bench, 100);
    assert_non_null(script_last(CHUNK_EVENT_PEER_DOWN));
}

static void test_peer_when_it_is_another_server_is_given_up(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    prepare_action(payload, 0, 100);
    script_run(&bench);
    server_welcome(&server, PEER + 1, 4, 4);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_ECLUSTER);
}

static void test_peer_when_reply_names_no_request_is_given_up(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    prepare_action(payload, 0, 100);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    server.client.message.header.request += 1;
    answer_prepare(0, 0);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EPROTOCOL);
    assert_int_equal(script_count(CHUNK_EVENT_PREPARED), 1);
}

static void test_peer_when_lost_is_connected_again_for_the_next_prepare(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 100, 0, 0);
    connect_action();
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    fabric_fake_drop(server.client.conn);
    server_turn(&server);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 1);
    server.client.connected = false;
    server.client.closed = false;
    prepare_action(payload, 0, 100);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    assert_int_equal(server.client.message.header.type, WIRE_PREPARE);
}

// ---- fetches ----------------------------------------------------------------------------------

static struct chunk_action *fetch_action(uint64_t token, uint64_t chunk, uint64_t index)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_FETCH);
    action->server = PEER;
    action->token = token;
    action->fetch.chunk = chunk;
    action->fetch.version = 3;
    action->fetch.index = index;
    return action;
}

static void fetch_begin(uint64_t token)
{
    connect_action();
    fetch_action(token, 42, 5);
    script_run(&bench);
    server_welcome(&server, PEER, 4, 4);
    assert_int_equal(server.client.message.header.type, WIRE_FETCH);
}

// Answers that FETCH with 20,000 bytes; the event that the core has of it.
static struct script_event *answer_fetch(const struct wire_fetch *asked)
{
    struct wire_fetch fetch = *asked;
    struct wire_fetched fetched;
    memset(&fetched, 0, sizeof(fetched));
    wire_header_init(&fetched.header, WIRE_FETCH | WIRE_REPLY, sizeof(fetched),
                     fetch.header.request);
    fetched.chunk = fetch.chunk;
    fetched.index = fetch.index;
    fetched.id.producer_lo = 2;
    fetched.id.sequence = 6;
    fetched.length = 20000;
    assert_int_equal(fabric_write(server.client.conn, server.client.region, server.client.memory,
                                  20000, fetch.buffer_address, fetch.buffer_key, 1),
                     0);
    assert_int_equal(fabric_send(server.client.conn, &fetched, sizeof(fetched)), 0);
    server_turn(&server);
    return script_last(CHUNK_EVENT_FETCHED);
}

static void test_fetch_when_answered_gives_the_core_a_payload(void **state)
{
    (void)state;
    fetch_begin(91);
    struct script_event *event = answer_fetch(&server.client.message.fetch);
    assert_non_null(event);
    assert_int_equal(event->event.token, 91);
    assert_int_equal(event->event.status, 0);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, server.client.memory, 20000));
    assert_true(bench.reactor->buffers.landings[0].used);
    script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
    script_run(&bench);
    assert_false(bench.reactor->buffers.landings[0].used);
}

static void test_fetch_when_refused_frees_its_landing(void **state)
{
    (void)state;
    fetch_begin(91);
    struct wire_header refusal;
    wire_header_init(&refusal, WIRE_FETCH | WIRE_REPLY, sizeof(refusal),
                     server.client.message.header.request);
    refusal.status = PAWL_ESTALE;
    assert_int_equal(fabric_send(server.client.conn, &refusal, sizeof(refusal)), 0);
    server_turn(&server);
    assert_int_equal(script_last(CHUNK_EVENT_FETCHED)->event.status, PAWL_ESTALE);
    assert_int_equal(script_last(CHUNK_EVENT_FETCHED)->event.payload, 0);
    assert_false(bench.reactor->buffers.landings[0].used);
}

static void test_fetch_when_peer_is_lost_frees_its_landing_after_the_close(void **state)
{
    (void)state;
    fetch_begin(91);
    bench_pass(&bench, CHUNKD_FETCH_MS + 100);
    assert_int_equal(script_last(CHUNK_EVENT_FETCHED)->event.status, PAWL_EDEADLINE);
    bench_turn(&bench);
    assert_true(pawl_list_is_empty(&bench.reactor->links));
    assert_false(bench.reactor->buffers.landings[0].used);
}

// Of two copies. There is one landing: what comes before record 5 of chunk 42 would be held in it until that comes.
static void test_fetch_when_it_landed_wrong_goes_before_all_that_wait(void **state)
{
    (void)state;
    fetch_begin(91);
    fetch_action(92, 42, 6);
    fetch_action(93, 43, 0);
    script_run(&bench);
    assert_int_equal(bench.reactor->buffers.landings_count, 1);
    uint64_t torn = answer_fetch(&server.client.message.fetch)->event.payload;
    fetch_action(94, 42, 5)->again = true;
    script_action(CHUNK_ACTION_RELEASE)->payload = torn;
    script_run(&bench);
    const uint64_t tokens[] = {94, 92, 93};
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(tokens); i++) {
        server_turn(&server);
        assert_int_equal(server.client.message.header.type, WIRE_FETCH);
        struct script_event *event = answer_fetch(&server.client.message.fetch);
        assert_int_equal(event->event.token, tokens[i]);
        assert_int_equal(event->event.status, 0);
        script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
        script_run(&bench);
    }
    assert_int_equal(script_count(CHUNK_EVENT_FETCHED), 4);
    assert_int_equal(bench.reactor->sends.used_count, 0);
}

// The core keeps what has come.
static void test_fetch_when_no_landing_comes_free_ends_at_the_deadline(void **state)
{
    (void)state;
    fetch_begin(91);
    fetch_action(92, 42, 6);
    script_run(&bench);
    uint64_t payload = answer_fetch(&server.client.message.fetch)->event.payload;
    bench_pass(&bench, CHUNKD_LANDING_MS - 100);
    assert_int_equal(script_count(CHUNK_EVENT_FETCHED), 1);
    bench_pass(&bench, 200);
    assert_int_equal(script_count(CHUNK_EVENT_FETCHED), 2);
    assert_int_equal(script_last(CHUNK_EVENT_FETCHED)->event.token, 92);
    assert_int_equal(script_last(CHUNK_EVENT_FETCHED)->event.status, PAWL_EDEADLINE);
    assert_true(pawl_list_is_empty(&bench.reactor->fetches));
    script_action(CHUNK_ACTION_RELEASE)->payload = payload;
    script_run(&bench);
    fetch_action(93, 42, 7);
    script_run(&bench);
    server_turn(&server);
    assert_int_equal(server.client.message.fetch.index, 7);
}

// ---- a peer of several reactors -----------------------------------------------------------------

// A range of two ports of which the test's fabric has the one of `reactor`, and nobody the other.
static void connect_range(uint64_t handle, uint32_t reactor)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_CONNECT);
    unsigned number =
        (unsigned)strtoul(fabric_address(server.fabric) + strlen("fake://"), NULL, 10);
    action->server = PEER;
    action->handle = handle;
    snprintf(action->address, sizeof(action->address), "fake://%u-%u", number - reactor,
             number - reactor + 1);
}

// The handle that leads to that reactor of two.
static uint64_t handle_at(uint32_t reactor)
{
    uint64_t handle = 1;
    while (reactor_of(handle, 2) != reactor) {
        handle++;
    }
    return handle;
}

static void expect_hello(uint32_t reactor)
{
    server_turn(&server);
    assert_true(server.client.connected);
    assert_int_equal(server.client.message.header.type, WIRE_HELLO);
    assert_int_equal(server.client.message.hello.reactor, reactor);
    assert_int_equal(server.client.message.hello.reactors_count, 2);
}

static void test_peer_when_it_has_two_reactors_goes_to_the_one_of_the_chunk(void **state)
{
    (void)state;
    connect_range(handle_at(1), 1);
    script_run(&bench);
    expect_hello(1);
}

static void test_peer_when_the_chunk_is_of_a_write_log_goes_where_the_written_one_is(void **state)
{
    (void)state;
    uint32_t natural = reactor_of(42, 2);
    script.written_handle = handle_at(1 - natural);
    uint64_t payload = payload_bring(1, 500, 0, 0);
    connect_range(42, 1 - natural);
    prepare_action(payload, 0, 500); // for chunk 42
    script_run(&bench);
    expect_hello(1 - natural);
    server_welcome_of(&server, PEER, 8, 4, (uint16_t)(1 - natural));
    assert_int_equal(server.client.message.header.type, WIRE_PREPARE);
}

static void test_peer_when_another_reactor_answers_gives_the_link_up(void **state)
{
    (void)state;
    uint64_t payload = payload_bring(1, 500, 0, 0);
    uint32_t reactor = reactor_of(42, 2);
    connect_range(42, reactor);
    prepare_action(payload, 0, 500);
    script_run(&bench);
    expect_hello(reactor);
    server_welcome_of(&server, PEER, 8, 4, (uint16_t)(1 - reactor));
    assert_true(script_last(CHUNK_EVENT_PREPARED)->event.status < 0);
    assert_int_equal(script_last(CHUNK_EVENT_PEER_DOWN)->event.server, PEER);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_prepare_when_small_travels_inline),
        T(test_peer_when_it_has_two_reactors_goes_to_the_one_of_the_chunk),
        T(test_peer_when_the_chunk_is_of_a_write_log_goes_where_the_written_one_is),
        T(test_peer_when_another_reactor_answers_gives_the_link_up),
        T(test_prepare_when_large_is_written_into_slots_first),
        T(test_prepare_when_its_payload_is_long_is_sent_without_a_copy),
        T(test_prepare_when_under_way_keeps_its_bytes_whoever_goes),
        T(test_peer_when_lost_gives_the_packets_back_that_were_on_their_way),
        T(test_prepare_when_refused_hands_the_code_on),
        T(test_prepare_when_no_slot_is_free_waits_in_order),
        T(test_prepares_when_answered_together_end_together),
        T(test_prepare_of_a_run_carries_its_rows_and_ends_at_its_last_record),
        T(test_prepares_when_some_are_runs_then_end_together),
        T(test_peer_when_its_answer_ends_within_a_run_is_given_up),
        T(test_peer_when_it_answers_for_a_record_that_was_not_sent_is_given_up),
        T(test_prepare_when_credit_is_used_up_waits),
        T(test_peer_when_lost_fails_what_was_sent_and_what_waits),
        T(test_peer_when_nobody_listens_fails_the_prepare),
        T(test_prepare_when_address_is_unknown_fails),
        T(test_peer_when_it_does_not_answer_is_given_up_at_the_deadline),
        T(test_peer_when_it_never_says_welcome_is_given_up),
        T(test_peer_when_not_connected_in_time_then_a_quiet_reactor_wakes_up),
        T(test_peer_when_it_is_another_server_is_given_up),
        T(test_peer_when_reply_names_no_request_is_given_up),
        T(test_peer_when_lost_is_connected_again_for_the_next_prepare),
        T(test_fetch_when_answered_gives_the_core_a_payload),
        T(test_fetch_when_refused_frees_its_landing),
        T(test_fetch_when_peer_is_lost_frees_its_landing_after_the_close),
        T(test_fetch_when_it_landed_wrong_goes_before_all_that_wait),
        T(test_fetch_when_no_landing_comes_free_ends_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
