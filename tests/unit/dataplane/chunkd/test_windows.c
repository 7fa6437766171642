// SPDX-License-Identifier: Apache-2.0
// Tests of windows: asked for, waited for in order, given back, by peers of this server and by it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "dataplane/fabric/fake.h"
#include "scripted.h"

#define CLIENTS 4u
#define BLOCK (16u << 20)
#define LEFT 1u // number of that block
#define PEER 0x88u

static struct bench bench;
static struct client clients[CLIENTS];
static struct server server;
static void *taken[8]; // blocks of the pool

static int setup(void **state)
{
    (void)state;
    bench_open_with(&bench, 128u << 20);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_open(&clients[i], &bench);
    }
    server_open(&server, &bench);
    memset(taken, 0, sizeof(taken));
    return 0;
}

static void pool_free(void)
{
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(taken); i++) {
        if (taken[i] != NULL) {
            memory_pool_put(&bench.reactor->buffers.windows, taken[i], BLOCK);
            taken[i] = NULL;
        }
    }
}

static int teardown(void **state)
{
    (void)state;
    server_close(&server);
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_close(&clients[i]);
    }
    pool_free();
    bench_close(&bench);
    return 0;
}

// Leaves one block, which is kept neither for servers nor for clients.
static void pool_fill(void)
{
    struct memory_pool *pool = &bench.reactor->buffers.windows;
    assert_in_range(pool->blocks_count, 3, PAWL_ARRAY_COUNT(taken));
    for (unsigned i = 0; i < pool->blocks_count; i++) {
        if (i != LEFT) {
            taken[i] = memory_pool_get(pool, i, 1, BLOCK);
            assert_non_null(taken[i]);
        }
    }
}

static void ask(struct client *client, uint64_t request, uint32_t wanted, uint32_t needed)
{
    struct wire_window window;
    memset(&window, 0, sizeof(window));
    wire_header_init(&window.header, WIRE_WINDOW, sizeof(window), request);
    window.slots_wanted = wanted;
    window.slots_needed = needed;
    client_send(client, &window, sizeof(window));
}

// Slots of the window that its last message brought; UINT32_MAX: it was not that one's answer.
static uint32_t granted(const struct client *client, uint64_t request)
{
    const struct wire_granted *message = (const void *)&client->message;
    if (message->header.type != (WIRE_WINDOW | WIRE_REPLY) || message->header.request != request) {
        return UINT32_MAX;
    }
    assert_int_equal(message->header.status, 0);
    return message->window_slots;
}

static void use_granted(struct client *client)
{
    const struct wire_granted *message = (const void *)&client->message;
    client->welcome.window_address = message->window_address;
    client->welcome.window_key = message->window_key;
    client->welcome.window_slots = message->window_slots;
}

static void hello_all(uint32_t slots)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_hello(&clients[i], 0, slots);
    }
}

// Answers the last APPEND, of which the client has that answer then.
static void append_reply(const struct client *client, uint64_t request)
{
    const struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    struct chunk_action *action = script_action(CHUNK_ACTION_REPLY);
    action->conn = event->event.conn;
    action->request = event->event.request;
    script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client->message.header.type, WIRE_APPEND | WIRE_REPLY);
    assert_int_equal(client->message.header.request, request);
    assert_int_equal(client->message.header.status, 0);
}

static void test_hello_when_welcome_then_without_a_window(void **state)
{
    (void)state;
    client_hello(&clients[1], 0, 0);
    assert_int_equal(clients[1].welcome.window_slots, 0);
    assert_true(clients[1].welcome.requests_count > 0);
    client_append(&clients[1], 1, 100, 0, 0);
    assert_false(clients[1].closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 1);
    append_reply(&clients[1], 1);
    assert_int_equal(clients[1].message.header.flags, 0); // it has none to give back
}

static void test_window_when_there_is_room_is_granted_at_once(void **state)
{
    (void)state;
    client_hello(&clients[0], 0, 0);
    assert_int_equal(clients[0].welcome.window_slots, 0);
    ask(&clients[0], 2, 8, 2);
    assert_in_range(granted(&clients[0], 2), 8, 64);
    use_granted(&clients[0]);
    client_append(&clients[0], 3, 300000, 0, 2);
    assert_false(clients[0].closed);
    append_reply(&clients[0], 3);
    ask(&clients[0], 4, 0, 0);
    assert_int_equal(granted(&clients[0], 4), 0);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
    client_append(&clients[0], 5, 300000, 0, 2);
    assert_true(clients[0].closed); // names slots that it has not
}

static void test_windows_when_there_is_no_room_are_waited_for_in_order(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    assert_int_equal(granted(&clients[0], 2), 64);
    ask(&clients[1], 2, 64, 64);
    ask(&clients[2], 2, 64, 1); // there is no passing
    ask(&clients[3], 2, 64, 1);
    bench_pass(&bench, 1000);
    for (unsigned i = 1; i < CLIENTS; i++) {
        assert_int_equal(granted(&clients[i], 2), UINT32_MAX);
    }
    ask(&clients[0], 3, 64, 1); // back, and behind the others
    assert_int_equal(granted(&clients[0], 3), UINT32_MAX);
    assert_int_equal(granted(&clients[1], 2), 64);
    assert_int_equal(granted(&clients[2], 2), UINT32_MAX);
    client_close(&clients[1]); // what it had is free, too
    client_open(&clients[1], &bench);
    bench_turn(&bench);
    assert_int_equal(granted(&clients[2], 2), 16); // a quarter
    assert_int_equal(granted(&clients[3], 2), 4);
    assert_int_equal(granted(&clients[0], 3), 4);
}

static void give(unsigned number)
{
    memory_pool_put(&bench.reactor->buffers.windows, taken[number], BLOCK);
    taken[number] = NULL;
    bench_turn(&bench);
}

// What is kept for its kind each gets at once; of the rest, who asked first.
static void test_windows_when_servers_and_clients_wait_each_has_a_part(void **state)
{
    (void)state;
    unsigned last = (unsigned)bench.reactor->buffers.windows.blocks_count - 1;
    pool_fill();
    client_hello(&clients[0], 0, 0);
    client_hello(&clients[1], 0, 0);
    client_hello(&clients[2], 0x77, 0);
    client_hello(&clients[3], 0x78, 0);
    ask(&clients[0], 2, 64, 64);
    bench_pass(&bench, 1);
    ask(&clients[1], 2, 64, 64);
    bench_pass(&bench, 1);
    ask(&clients[2], 2, 64, 64);
    ask(&clients[3], 2, 64, 64);
    give(0); // kept for servers
    assert_int_equal(granted(&clients[1], 2), UINT32_MAX);
    assert_int_equal(granted(&clients[2], 2), 64);
    ask(&clients[0], 3, 0, 0); // for anybody
    assert_int_equal(granted(&clients[1], 2), 64);
    ask(&clients[0], 4, 64, 64);
    give(last); // kept for clients
    assert_int_equal(granted(&clients[0], 4), 64);
    assert_int_equal(granted(&clients[3], 2), UINT32_MAX);
    give(2);
    assert_int_equal(granted(&clients[3], 2), 64);
}

// Small windows in a block do not keep a whole one from who waits for it.
static void test_window_when_small_ones_lie_in_every_block_comes_when_they_go_back(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 4, 1);
    ask(&clients[1], 2, 4, 1);
    ask(&clients[2], 2, 64, 64);
    ask(&clients[3], 2, 4, 1); // there would be room for it
    assert_int_equal(granted(&clients[2], 2), UINT32_MAX);
    assert_int_equal(granted(&clients[3], 2), UINT32_MAX);
    ask(&clients[0], 3, 4, 1);
    ask(&clients[1], 3, 4, 1);
    assert_int_equal(granted(&clients[2], 2), 64);
    ask(&clients[2], 3, 0, 0);
    assert_int_equal(granted(&clients[3], 2), 4);
    assert_int_equal(granted(&clients[0], 3), 4);
    assert_int_equal(granted(&clients[1], 3), 4);
}

static void test_window_when_others_wait_is_asked_back_with_each_answer(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    use_granted(&clients[0]);
    client_append(&clients[0], 3, 300000, 0, 2);
    append_reply(&clients[0], 3);
    assert_int_equal(clients[0].message.header.flags, 0);
    ask(&clients[1], 2, 64, 64);
    client_append(&clients[0], 4, 300000, 0, 2);
    append_reply(&clients[0], 4);
    assert_int_equal(clients[0].message.header.flags, WIRE_SCARCE);
    ask(&clients[0], 5, 0, 0);
    assert_int_equal(granted(&clients[1], 2), 64);
}

static void
test_window_when_it_lies_idle_and_others_wait_is_asked_back_without_an_answer(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    unsigned before = clients[0].messages_count;
    bench_pass(&bench, 60);
    assert_int_equal(clients[0].messages_count, before);
    ask(&clients[1], 2, 64, 64);
    bench_pass(&bench, 60);
    assert_int_equal(clients[0].messages_count, before + 1);
    assert_int_equal(clients[0].message.header.type, WIRE_WINDOW | WIRE_REPLY);
    assert_int_equal(clients[0].message.header.request, 0);
    assert_int_equal(clients[0].message.header.flags, WIRE_SCARCE);
    bench_pass(&bench, 60); // once is enough
    assert_int_equal(clients[0].messages_count, before + 1);
    ask(&clients[0], 3, 0, 0);
    assert_int_equal(granted(&clients[1], 2), 64);
}

static void test_window_when_its_slots_are_in_use_is_not_taken_back(void **state)
{
    (void)state;
    client_hello(&clients[0], 0, 8);
    client_append(&clients[0], 1, 300000, 0, 2);
    ask(&clients[0], 2, 0, 0);
    assert_true(clients[0].closed);
    script_action(CHUNK_ACTION_RELEASE)->payload = script_last(CHUNK_EVENT_APPEND)->event.payload;
    script_run(&bench);
}

static void test_window_when_asked_for_twice_closes(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    ask(&clients[1], 2, 64, 64);
    assert_false(clients[1].closed);
    ask(&clients[1], 3, 64, 64);
    assert_true(clients[1].closed);
    ask(&clients[2], 2, 64, 64); // who is gone does not hold up the others
    ask(&clients[0], 3, 0, 0);
    assert_int_equal(granted(&clients[2], 2), 64);
}

static void ask_again(struct client *client, uint64_t request, uint32_t waited_ms)
{
    struct wire_window window;
    memset(&window, 0, sizeof(window));
    wire_header_init(&window.header, WIRE_WINDOW, sizeof(window), request);
    window.slots_wanted = window.slots_needed = 64;
    window.waited_ms = waited_ms;
    client_send(client, &window, sizeof(window));
}

// Somewhere else, that is; or a liar, who has what he wants once.
static void test_windows_when_a_client_has_waited_for_longer_then_it_is_first(void **state)
{
    static const uint32_t waited_ms[] = {0, 10, 20, UINT32_MAX};
    static const unsigned order[] = {3, 2, 1};
    (void)state;
    _Static_assert(CLIENTS == PAWL_ARRAY_COUNT(waited_ms), "a client for each");
    pool_fill();
    hello_all(0);
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(waited_ms); i++) {
        ask_again(&clients[i], 2, waited_ms[i]);
        bench_turn(&bench);
    }
    assert_int_equal(granted(&clients[0], 2), 64); // there was room
    unsigned last = 0;
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(order); i++) {
        ask(&clients[last], 3, 0, 0);
        bench_turn(&bench);
        last = order[i];
        assert_int_equal(granted(&clients[last], 2), 64);
    }
}

// Who hears nothing for 2 s takes the server for silent.
static void test_window_when_it_is_waited_for_then_the_client_is_told_so(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    use_granted(&clients[0]);
    client_append(&clients[0], 3, 300000, 0, 2); // and it is in use
    ask(&clients[1], 2, 64, 64);
    bench_pass(&bench, CHUNKD_TELL_MS - CHUNKD_TICK_MS);
    unsigned before = clients[1].messages_count;
    for (unsigned i = 1; i < 4; i++) {
        bench_pass(&bench, CHUNKD_TELL_MS);
        assert_int_equal(clients[1].messages_count, before + i);
        assert_int_equal(granted(&clients[1], 0), 0);
        assert_int_equal(clients[1].message.header.flags, 0);
    }
    bench_pass(&bench, CHUNKD_MOVE_MS);
    before = clients[1].messages_count;
    bench_pass(&bench, 2 * CHUNKD_TELL_MS);
    assert_int_equal(clients[1].messages_count, before); // what has come is never stored
    append_reply(&clients[0], 3);
    ask(&clients[0], 4, 0, 0);
    bench_turn(&bench);
    assert_int_equal(granted(&clients[1], 2), 64);
    before = clients[1].messages_count;
    bench_pass(&bench, 2 * CHUNKD_TELL_MS);
    assert_int_equal(clients[1].messages_count, before);
}

static void test_client_when_it_sits_on_a_window_that_others_want_is_disconnected(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    bench_pass(&bench, 2 * CHUNKD_SIT_MS);
    assert_false(clients[0].closed); // nobody wants it
    ask(&clients[1], 2, 64, 64);
    bench_pass(&bench, CHUNKD_SIT_MS - 1); // it may not have heard yet that somebody does
    assert_false(clients[0].closed);
    bench_pass(&bench, 2 * CHUNKD_TICK_MS);
    assert_true(clients[0].closed);
    bench_turn(&bench);
    assert_int_equal(granted(&clients[1], 2), 64);
    bench_pass(&bench, 2 * CHUNKD_SIT_MS);
    assert_false(clients[1].closed);
}

static void
test_client_when_it_goes_on_to_use_a_window_that_was_asked_back_is_disconnected(void **state)
{
    (void)state;
    pool_fill();
    hello_all(0);
    ask(&clients[0], 2, 64, 64);
    use_granted(&clients[0]);
    ask(&clients[1], 2, 64, 64);
    for (uint64_t ms = 0; ms < CHUNKD_SIT_MS; ms += 500) {
        client_append(&clients[0], 3 + ms, 300000, 0, 2);
        append_reply(&clients[0], 3 + ms);
        assert_int_equal(clients[0].message.header.flags, WIRE_SCARCE);
        bench_pass(&bench, 500);
        assert_false(clients[0].closed);
    }
    client_append(&clients[0], 2, 300000, 0, 2);
    assert_true(clients[0].closed);
    bench_turn(&bench);
    assert_int_equal(granted(&clients[1], 2), 64);
}

// Other servers may have all but what is kept for clients, and are asked for it when they have more than is kept for them.
static void test_windows_when_servers_want_all_then_some_are_left_for_clients(void **state)
{
    (void)state;
    struct memory_pool *pool = &bench.reactor->buffers.windows;
    unsigned servers = (unsigned)pool->blocks_count - 1;
    struct client others[8];
    assert_in_range(servers, 2, PAWL_ARRAY_COUNT(others) - 1);
    for (unsigned i = 0; i <= servers; i++) {
        client_open(&others[i], &bench);
        client_hello(&others[i], 0x70 + i, 0);
        ask(&others[i], 2, 64, 64);
        assert_int_equal(granted(&others[i], 2), i < servers ? 64 : UINT32_MAX);
    }
    client_hello(&clients[0], 0, 0);
    ask(&clients[0], 2, 64, 64);
    assert_int_equal(granted(&clients[0], 2), 64);
    client_hello(&clients[1], 0, 0);
    ask(&clients[1], 2, 64, 64);
    client_close(&others[servers]); // no server waits any more
    bench_turn(&bench);
    for (unsigned i = 0; i < 2; i++) { // the first one's is kept for servers
        use_granted(&others[i]);
        client_append(&others[i], 3, 300000, 0, 2);
        append_reply(&others[i], 3);
        assert_int_equal(others[i].message.header.flags, i == 0 ? 0 : WIRE_SCARCE);
    }
    ask(&others[1], 4, 0, 0);
    assert_int_equal(granted(&clients[1], 2), 64);
    for (unsigned i = 0; i < servers; i++) {
        client_close(&others[i]);
    }
}

// Nobody waits for it, nor does it wait: a part of what is free, or nothing.
static void test_window_to_spare_is_granted_at_once_or_not_at_all(void **state)
{
    (void)state;
    pool_fill();
    client_hello(&clients[0], 0x77, 0);
    client_hello(&clients[1], 0x78, 0);
    ask(&clients[0], 1, 64, 0);
    assert_int_equal(granted(&clients[0], 1), 16); // of 64
    ask(&clients[1], 1, 64, 64);
    assert_int_equal(granted(&clients[1], 1), UINT32_MAX); // waits
    ask(&clients[0], 2, 64, 0);
    assert_int_equal(granted(&clients[0], 2), 0);
    assert_int_equal(granted(&clients[1], 1), 64);
    ask(&clients[0], 3, 64, 0);
    assert_int_equal(granted(&clients[0], 3), 0);
}

// ---- this server as the one that asks ------------------------------------------------------------

static uint64_t payload_bring(struct client *client, uint64_t request, uint32_t length,
                              uint16_t slot_first, uint16_t slot_count)
{
    client_append(client, request, length, slot_first, slot_count);
    return script_payload();
}

static void prepare(uint64_t payload, uint64_t index, uint32_t length)
{
    script_prepare(PEER, payload, index, length);
    script_run(&bench);
}

static void peer_open(uint32_t slots)
{
    client_hello(&clients[0], 0, 8);
    script_connect(&server, PEER);
    script_run(&bench);
    server_welcome(&server, PEER, slots, 8);
}

static const struct wire_window *asked(void)
{
    const struct wire_window *window = (const void *)&server.client.message;
    assert_int_equal(window->header.type, WIRE_WINDOW);
    return window;
}

static void grant(uint32_t slots)
{
    struct wire_granted message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.header, WIRE_WINDOW | WIRE_REPLY, sizeof(message),
                     server.client.message.header.request);
    message.window_address = fabric_region_remote(server.client.region, server.client.memory);
    message.window_key = fabric_region_key(server.client.region);
    message.window_slots = slots;
    assert_int_equal(fabric_send(server.client.conn, &message, sizeof(message)), 0);
    server_turn(&server);
}

static void answer_prepare(uint64_t request, uint64_t index, uint32_t flags)
{
    struct wire_prepared answer = {.header.flags = flags, .index = index};
    server_prepared(&server, request, &answer);
}

static void test_prepare_when_the_peer_has_granted_no_window_asks_for_one(void **state)
{
    (void)state;
    peer_open(0);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    server_turn(&server);
    assert_int_equal(asked()->slots_wanted, 64);
    assert_int_equal(asked()->slots_needed, 2);
    memset(server.client.memory, 0, CLIENT_BYTES);
    grant(4);
    assert_int_equal(server.client.message.header.type, WIRE_PREPARE);
    assert_int_equal(server.client.message.prepare.slot_count, 2);
    assert_memory_equal(server.client.memory, clients[0].memory, 300000);
    answer_prepare(server.client.message.header.request, 0, 0);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, 0);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
}

static void test_prepare_when_it_is_larger_than_the_window_waits_for_a_larger_one(void **state)
{
    (void)state;
    peer_open(2);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    uint64_t second = payload_bring(&clients[0], 2, 700000, 2, 3);
    prepare(second, 1, 700000);
    server_turn(&server);
    assert_int_equal(server.client.message.prepare.index, 0);
    answer_prepare(server.client.message.header.request, 0, 0); // its slots come back first
    assert_int_equal(asked()->slots_needed, 3);
    grant(8);
    assert_int_equal(server.client.message.prepare.index, 1);
    assert_int_equal(server.client.message.prepare.slot_count, 3);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
}

// One that was asked for relays is exchanged when records of ours want more.
static void test_window_when_it_was_for_relays_is_exchanged_for_a_larger_one(void **state)
{
    (void)state;
    peer_open(0);
    struct link *link =
        pawl_container_of(pawl_list_first(&bench.reactor->links), struct link, node);
    link_window_spare(bench.reactor, link, 2);
    server_turn(&server);
    assert_int_equal(asked()->slots_needed, 0);
    grant(4);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    prepare(payload_bring(&clients[0], 2, 700000, 2, 3), 1, 700000);
    server_turn(&server);
    assert_int_equal(server.client.message.prepare.index, 0);
    answer_prepare(server.client.message.header.request, 0, 0);
    assert_int_equal(asked()->slots_wanted, 64);
    assert_int_equal(asked()->slots_needed, 3);
    grant(4); // there is no larger one: it is used
    assert_int_equal(server.client.message.prepare.index, 1);
    prepare(payload_bring(&clients[0], 3, 300000, 0, 2), 2, 300000);
    answer_prepare(server.client.message.header.request, 1, 0);
    assert_int_equal(server.client.message.prepare.index, 2);
}

static void test_window_when_the_peer_grants_too_little_the_connection_goes(void **state)
{
    (void)state;
    peer_open(0);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    server_turn(&server);
    grant(1);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EPROTOCOL);
}

static void test_window_when_the_peer_says_that_others_wait_goes_back(void **state)
{
    (void)state;
    peer_open(4);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    server_turn(&server);
    answer_prepare(server.client.message.header.request, 0, WIRE_SCARCE);
    assert_int_equal(asked()->slots_wanted, 0);
    grant(0);
    prepare(payload_bring(&clients[0], 2, 300000, 2, 2), 1, 300000);
    server_turn(&server);
    assert_int_equal(asked()->slots_needed, 2);
}

static void test_window_when_the_peer_asks_for_it_unasked_goes_back(void **state)
{
    (void)state;
    peer_open(4);
    struct wire_granted recall;
    memset(&recall, 0, sizeof(recall));
    wire_header_init(&recall.header, WIRE_WINDOW | WIRE_REPLY, sizeof(recall), 0);
    recall.header.flags = WIRE_SCARCE;
    assert_int_equal(fabric_send(server.client.conn, &recall, sizeof(recall)), 0);
    server_turn(&server);
    assert_int_equal(asked()->slots_wanted, 0);
    grant(0);
    assert_int_equal(fabric_send(server.client.conn, &recall, sizeof(recall)),
                     0); // late: there is none
    server_turn(&server);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
}

static void test_window_when_it_is_not_used_goes_back_after_a_while(void **state)
{
    (void)state;
    peer_open(4);
    unsigned before = server.client.messages_count;
    bench_pass(&bench, CHUNKD_WINDOW_MS - 1);
    server_turn(&server);
    assert_int_equal(server.client.messages_count, before);
    bench_pass(&bench, 300);
    server_turn(&server);
    assert_int_equal(server.client.messages_count, before + 1);
    assert_int_equal(asked()->slots_wanted, 0);
    grant(0);
    bench_pass(&bench, 2 * CHUNKD_WINDOW_MS);
    server_turn(&server);
    assert_int_equal(server.client.messages_count, before + 1);
}

static void test_window_when_the_peer_never_grants_it_is_given_up(void **state)
{
    (void)state;
    peer_open(0);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    server_turn(&server);
    bench_pass(&bench, CHUNKD_GRANT_MS - 1);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 0);
    bench_pass(&bench, CHUNKD_TICK_MS + 1);
    bench_pass(&bench, CHUNKD_TICK_MS);
    assert_int_equal(script_count(CHUNK_EVENT_PEER_DOWN), 1);
    assert_int_equal(script_last(CHUNK_EVENT_PREPARED)->event.status, PAWL_EDEADLINE);
}

// Slots of a payload that was to go on to the peer come back, and nothing else is under way to it.
static void test_prepare_when_slots_come_back_from_a_relay_goes_on(void **state)
{
    (void)state;
    peer_open(4);
    struct link *link =
        pawl_container_of(pawl_list_first(&bench.reactor->links), struct link, node);
    link->slots_used = slots_mask(0, 4);
    prepare(payload_bring(&clients[0], 1, 300000, 0, 2), 0, 300000);
    unsigned before = server.client.messages_count;
    server_turn(&server);
    assert_int_equal(server.client.messages_count, before);
    peer_slots_put(link, 0, 4);
    bench_pass(&bench, 60); // until the next tick
    server_turn(&server);
    assert_int_equal(server.client.messages_count, before + 1);
    assert_int_equal(server.client.message.header.type, WIRE_PREPARE);
}

static void test_window_when_its_connection_is_given_up_is_not_asked_for(void **state)
{
    (void)state;
    peer_open(4);
    struct link *link =
        pawl_container_of(pawl_list_first(&bench.reactor->links), struct link, node);
    link->window_yields = true;
    link_give_up(bench.reactor, link, PAWL_EDISCONNECTED, "a test");
    link_window_turn(bench.reactor, link);
    link_window_ask(bench.reactor, link, 8);
    assert_false(link->window_asked);
    bench_turn(&bench);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_hello_when_welcome_then_without_a_window),
        TEST(test_window_when_there_is_room_is_granted_at_once),
        TEST(test_windows_when_there_is_no_room_are_waited_for_in_order),
        TEST(test_windows_when_servers_and_clients_wait_each_has_a_part),
        TEST(test_window_to_spare_is_granted_at_once_or_not_at_all),
        TEST(test_window_when_small_ones_lie_in_every_block_comes_when_they_go_back),
        TEST(test_window_when_others_wait_is_asked_back_with_each_answer),
        TEST(test_window_when_it_lies_idle_and_others_wait_is_asked_back_without_an_answer),
        TEST(test_window_when_its_slots_are_in_use_is_not_taken_back),
        TEST(test_window_when_asked_for_twice_closes),
        TEST(test_windows_when_a_client_has_waited_for_longer_then_it_is_first),
        TEST(test_window_when_it_is_waited_for_then_the_client_is_told_so),
        TEST(test_client_when_it_sits_on_a_window_that_others_want_is_disconnected),
        TEST(test_client_when_it_goes_on_to_use_a_window_that_was_asked_back_is_disconnected),
        TEST(test_windows_when_servers_want_all_then_some_are_left_for_clients),
        TEST(test_prepare_when_slots_come_back_from_a_relay_goes_on),
        TEST(test_window_when_its_connection_is_given_up_is_not_asked_for),
        TEST(test_prepare_when_the_peer_has_granted_no_window_asks_for_one),
        TEST(test_prepare_when_it_is_larger_than_the_window_waits_for_a_larger_one),
        TEST(test_window_when_it_was_for_relays_is_exchanged_for_a_larger_one),
        TEST(test_window_when_the_peer_grants_too_little_the_connection_goes),
        TEST(test_window_when_the_peer_says_that_others_wait_goes_back),
        TEST(test_window_when_the_peer_asks_for_it_unasked_goes_back),
        TEST(test_window_when_it_is_not_used_goes_back_after_a_while),
        TEST(test_window_when_the_peer_never_grants_it_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
