// SPDX-License-Identifier: Apache-2.0
// Tests of sessions: HELLO, windows and slots, credits, payloads and the replies that wait for them.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/fabric/fabric_private.h"
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

static struct chunk_action *reply_append(const struct script_event *event, int status)
{
    struct chunk_action *action = script_action(CHUNK_ACTION_REPLY);
    action->conn = event->event.conn;
    action->request = event->event.request;
    action->reply.header.status = status;
    action->reply.appended.file_offset = 4711;
    return action;
}

static void release(const struct script_event *event)
{
    script_action(CHUNK_ACTION_RELEASE)->payload = event->event.payload;
}

// ---- ticks ------------------------------------------------------------------------------------

static unsigned ticks_in_a_second(void)
{
    unsigned before = script.ticks_count;
    for (int i = 0; i < 100; i++) {
        bench_pass(&bench, 10);
    }
    return script.ticks_count - before;
}

static void test_ticks_when_nothing_comes_for_a_second_are_few_until_something_does(void **state)
{
    (void)state;
    bench_pass(&bench, 2000);
    assert_int_equal(ticks_in_a_second(), 4);
    client_hello(&client, 0, 8);
    unsigned busy = ticks_in_a_second();
    assert_true(busy >= 19 && busy <= 21);
    assert_int_equal(ticks_in_a_second(), 4);
}

static void test_ticks_when_a_request_is_under_way_are_many(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    bench_pass(&bench, 2000);
    client_append(&client, 1, 100, 0, 0);
    assert_int_equal(ticks_in_a_second(),
                     100 - 4); // the long tick that it came in was cut to 50 ms
}

// ---- HELLO ------------------------------------------------------------------------------------

static void test_hello_when_all_is_well_grants_a_window(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    assert_int_equal(client.welcome.server_id, 0x51);
    assert_int_equal(client.welcome.incarnation, 0x1c);
    assert_int_equal(client.welcome.cluster_id, SCRIPT_CLUSTER);
    assert_int_equal(client.welcome.slot_bytes, WIRE_SLOT_BYTES);
    assert_int_equal(client.welcome.requests_count, 4);
    assert_true(client.welcome.window_slots >= 4 && client.welcome.window_slots <= 64);
}

// What a server may have unanswered: as much as a client where each request needs its receive, more over a stream.
static void test_hello_of_a_server_grants_more_requests_over_a_stream_only(void **state)
{
    (void)state;
    assert_int_equal(session_requests_limit(bench.reactor, 0, true), 4);
    bench.reactor->fabrics[0]->is_stream = true;
    assert_int_equal(session_requests_limit(bench.reactor, 0, false), 4);
    client_hello(&client, 0x77, 8);
    assert_int_equal(client.welcome.requests_count, CHUNKD_PEER_REQUESTS_COUNT);
    for (uint64_t i = 1; i <= 5; i++) { // one more than a client
        client_append(&client, i, 10, 0, 0);
    }
    assert_false(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 5);
}

static void hello_refused(uint64_t cluster_id, uint64_t target_id, int expected)
{
    struct wire_hello hello;
    memset(&hello, 0, sizeof(hello));
    wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello), 7);
    hello.cluster_id = cluster_id;
    hello.target_id = target_id;
    client_send(&client, &hello, sizeof(hello));
    assert_int_equal(client.messages_count, 1);
    assert_int_equal(client.message.header.status, expected);
    assert_int_equal(client.message.header.request, 7);
    assert_false(client.closed); // it may read that first
    bench_pass(&bench, CHUNKD_LINGER_MS + 1);
    bench_pass(&bench, CHUNKD_TICK_MS * 10);
    assert_true(client.closed);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
}

static void test_hello_when_cluster_differs_is_refused(void **state)
{
    (void)state;
    hello_refused(SCRIPT_CLUSTER + 1, 0, PAWL_ECLUSTER);
}

static void test_hello_when_another_server_is_wanted_is_refused(void **state)
{
    (void)state;
    hello_refused(SCRIPT_CLUSTER, 0x99, PAWL_ESTALE);
}

static void hello_to_reactor(uint16_t reactor, uint16_t reactors_count)
{
    struct wire_hello hello;
    memset(&hello, 0, sizeof(hello));
    wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello), 7);
    hello.cluster_id = SCRIPT_CLUSTER;
    hello.reactor = reactor;
    hello.reactors_count = reactors_count;
    client_send(&client, &hello, sizeof(hello));
}

static void test_hello_when_another_reactor_is_wanted_is_refused(void **state)
{
    (void)state;
    static const uint16_t wrong[][2] = {{0, 4}, {2, 4}, {1, 3}, {1, 2}, {0, 0}};
    bench.reactor->options.number = 1;
    bench.reactor->options.reactors_count = 4;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        client_close(&client);
        client_open(&client, &bench);
        hello_to_reactor(wrong[i][0], wrong[i][1]);
        assert_int_equal(client.message.header.status, PAWL_ESTALE);
        assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
    }
    client_close(&client);
    client_open(&client, &bench);
    hello_to_reactor(1, 4);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.welcome.reactor, 1);
    assert_int_equal(client.message.welcome.reactors_count, 4);
}

static void test_hello_when_the_only_reactor_is_wanted_as_one_of_several_is_refused(void **state)
{
    (void)state;
    hello_to_reactor(0, 2);
    assert_int_equal(client.message.header.status, PAWL_ESTALE);
}

// Clients share what there is, in smaller and smaller windows; what is kept for servers stays.
static void test_window_when_clients_took_theirs_a_server_still_gets_a_whole_one(void **state)
{
    (void)state;
    struct buffers *buffers = &bench.reactor->buffers;
    struct fabric *fabric = bench.reactor->fabrics[0];
    struct memory_pool *pool = &buffers->windows;
    struct window *windows[256];
    unsigned count = 0;
    size_t block_bytes = pool->block_bytes;
    // The bench's small region has too few blocks to keep one back: a larger pool beside it.
    struct memory_pool small = *pool;
    void *memory = aligned_alloc(4096, 6 * block_bytes);
    assert_non_null(memory);
    assert_int_equal(
        memory_pool_init(pool, pawl_alloc_heap(), memory, 6 * block_bytes, block_bytes), 0);
    const struct window_wish of_client = {.slots_wanted = 64, .slots_needed = 1, .shared = true};
    const struct window_wish of_server = {
        .slots_wanted = 64, .slots_needed = 1, .of_server = true, .shared = true};
    while (count < 256 && window_new(buffers, fabric, &of_client, &windows[count]) == 0) {
        assert_true(count == 0 || windows[count]->slots_count <= windows[count - 1]->slots_count);
        count++;
    }
    assert_true(count >= 8 && count < 256);
    assert_int_equal(windows[0]->slots_count, 64);
    assert_int_equal(windows[count - 1]->slots_count, 4);
    struct window *server;
    assert_int_equal(window_new(buffers, fabric, &of_server, &server), 0);
    assert_int_equal(server->slots_count, 64);
    window_unuse(buffers, server);
    while (count > 0) {
        window_unuse(buffers, windows[--count]);
    }
    assert_int_equal(pool->used_bytes, 0);
    memory_pool_fini(pool);
    free(memory);
    *pool = small;
}

static void test_hello_when_said_twice_closes(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    struct wire_hello hello;
    memset(&hello, 0, sizeof(hello));
    wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello), 2);
    client_send(&client, &hello, sizeof(hello));
    assert_true(client.closed);
}

static void test_session_when_silent_is_closed_after_the_deadline(void **state)
{
    (void)state;
    bench_pass(&bench, CHUNKD_HELLO_MS - 1);
    assert_false(client.closed);
    bench_pass(&bench, 250); // a quiet reactor looks four times a second
    assert_true(client.closed);
}

static void test_session_when_first_message_is_garbage_is_closed(void **state)
{
    (void)state;
    unsigned char garbage[300];
    memset(garbage, 0xa5, sizeof(garbage));
    client_send(&client, garbage, sizeof(garbage));
    assert_true(client.closed);
    assert_int_equal(client.messages_count, 0);
    assert_int_equal(script_count(CHUNK_EVENT_CONN_CLOSED), 1);
}

static void test_session_when_first_message_is_no_hello_is_closed(void **state)
{
    (void)state;
    client.welcome.slot_bytes = WIRE_SLOT_BYTES;
    client_append(&client, 1, 100, 0, 0);
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 0);
}

// ---- requests ---------------------------------------------------------------------------------

static void test_append_when_inline_reaches_the_core_with_its_payload(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 1000, 0, 0);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    assert_true(event->has_message && event->event.payload != 0);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, client.memory, 1000));
    struct payload *payload = payload_find(bench.reactor, event->event.payload);
    assert_int_equal(payload->length, 1000);
    assert_memory_equal(payload->bytes, client.memory, 1000);
    // Nobody gives slots back: its reply waits for nothing.
    reply_append(event, 0);
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, 2);
    assert_int_equal(client.message.header.type, WIRE_APPEND | WIRE_REPLY);
    assert_int_equal(client.message.header.request, 11);
    assert_int_equal(client.message.reply.appended.file_offset, 4711);
    release(event);
    script_run(&bench);
    assert_null(payload_find(bench.reactor, event->event.payload));
}

// Each stage begins where the one before it has ended.
static void test_append_when_answered_then_its_stages_add_up(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 300000, 1, 2);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    struct chunk_action *append = script_action(CHUNK_ACTION_APPEND);
    append->payload = event->event.payload;
    append->token = 5;
    append->handle = 42;
    append->record.length = 300000;
    script_run(&bench);
    uint64_t begin_ns = bench.now_ns;
    bench_pass(&bench, 7);
    reply_append(event, 0)->durable_ns = begin_ns + 4 * SCRIPT_MS;
    release(event);
    script_run(&bench);
    bench_pass(&bench, 2); // held for its slots
    script_complete(script_call_last("append")->token, 0, NULL, 0);
    bench_turn(&bench);
    const struct wire_appended *appended = &client.message.reply.appended;
    assert_int_equal(client.message.header.type, WIRE_APPEND | WIRE_REPLY);
    assert_int_equal(appended->prepare_ns, 0);
    assert_int_equal(appended->flush_ns, 4 * SCRIPT_MS);
    assert_int_equal(appended->commit_ns, 3 * SCRIPT_MS);
    assert_int_equal(appended->answer_ns, 2 * SCRIPT_MS);
}

static void test_append_when_refused_then_no_stages_are_told(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 1000, 0, 0);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    bench_pass(&bench, 7);
    reply_append(event, PAWL_EEXPECT);
    release(event);
    script_run(&bench);
    bench_turn(&bench);
    const struct wire_appended *appended = &client.message.reply.appended;
    assert_int_equal(client.message.header.status, PAWL_EEXPECT);
    assert_int_equal(appended->flush_ns | appended->commit_ns | appended->answer_ns, 0);
}

// Three quarters of the receives may be held; what comes then is copied and is the same to the core.
static void test_append_when_many_packets_are_held_the_next_payload_is_copied(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    unsigned copied = 0;
    unsigned count = bench.reactor->options.requests_count;
    for (unsigned i = 0; i < count; i++) {
        client_append(&client, 11 + i, 1000, 0, 0);
        struct script_event *event = script_last(CHUNK_EVENT_APPEND);
        struct payload *payload = payload_find(bench.reactor, event->event.payload);
        assert_memory_equal(payload->bytes, client.memory, 1000);
        copied += payload->kind == PAYLOAD_COPIED;
    }
    assert_int_equal(copied, count - (count + 2) / 4 * 3);
    assert_int_equal(bench.reactor->copied_bytes, copied * 1000);
}

static void test_append_when_payload_is_in_slots_reply_waits_for_the_last_use(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 300000, 1, 2);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    assert_int_equal(event->event.payload_crc, pawl_crc32c(0, client.memory, 300000));
    // The store has it, and the core answers before that is over.
    struct chunk_action *append = script_action(CHUNK_ACTION_APPEND);
    append->payload = event->event.payload;
    append->token = 5;
    append->handle = 42;
    append->record.length = 300000;
    script_run(&bench);
    struct script_call *call = script_call_last("append");
    assert_non_null(call);
    assert_memory_equal(call->memory, client.memory, 300000);
    reply_append(event, 0);
    release(event);
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, 1); // held
    script_complete(call->token, 0, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, 2);
    assert_int_equal(client.message.header.request, 11);
    assert_int_equal(script_last(CHUNK_EVENT_PERSISTED)->event.token, 5);
    // The slots are the peer's again.
    client_append(&client, 12, 300000, 1, 2);
    assert_false(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 2);
}

// Its answer waits for the slots. By then the primary is one of those that have lost it: let it be repeated.
static void test_append_when_answered_from_memory_and_not_stored_is_no_success(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 300000, 1, 2);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    struct chunk_action *append = script_action(CHUNK_ACTION_APPEND);
    append->payload = event->event.payload;
    append->token = 5;
    append->handle = 42;
    append->record.length = 300000;
    script_run(&bench);
    struct script_call *call = script_call_last("append");
    assert_non_null(call);
    reply_append(event, 0)->reply.appended.flags = WIRE_APPENDED_REPLICATED;
    release(event);
    script_run(&bench);
    script_complete(call->token, -EIO, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(client.messages_count, 2);
    assert_int_equal(client.message.header.request, 11);
    assert_int_equal(client.message.header.status, PAWL_ESTALE);
    assert_int_equal(client.message.reply.appended.flags, 0);
    assert_int_equal(script_last(CHUNK_EVENT_PERSISTED)->event.status, -EIO);
}

static void test_append_when_slot_changes_while_it_is_stored_is_no_success(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 300000, 1, 2);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    assert_non_null(event);
    struct chunk_action *append = script_action(CHUNK_ACTION_APPEND);
    append->payload = event->event.payload;
    append->token = 5;
    append->handle = 42;
    append->record.length = 300000;
    script_run(&bench);
    struct script_call *call = script_call_last("append");
    assert_non_null(call);
    // The peer took the append for failed and used the slot again before it was given back.
    ((unsigned char *)(uintptr_t)call->memory)[299999] ^= 1;
    script_complete(call->token, 0, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(script_last(CHUNK_EVENT_PERSISTED)->event.token, 5);
    assert_int_equal(script_last(CHUNK_EVENT_PERSISTED)->event.status, PAWL_ECORRUPT);
    release(event);
    script_run(&bench);
}

static void test_append_when_slot_is_in_use_closes(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 1, 300000, 0, 2);
    assert_false(client.closed);
    client_append(&client, 2, 100000, 1, 1);
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 1);
    // The window stays until the core gives the payload back.
    assert_true(bench.reactor->buffers.windows.used_bytes > 0);
    release(script_last(CHUNK_EVENT_APPEND));
    script_run(&bench);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
}

static void test_append_when_slot_is_beyond_the_window_closes(void **state)
{
    (void)state;
    client_hello(&client, 0, 4);
    struct wire_append append;
    memset(&append, 0, sizeof(append));
    wire_header_init(&append.header, WIRE_APPEND, sizeof(append), 3);
    append.chunk = 42;
    append.version = 1;
    append.id.sequence = 1;
    append.length = 100000;
    append.slot_first = (uint16_t)client.welcome.window_slots;
    append.slot_count = 1;
    assert_true(client.welcome.window_slots < 64);
    client_send(&client, &append, sizeof(append));
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 0);
}

static void test_requests_when_more_than_granted_close(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    for (uint64_t i = 1; i <= client.welcome.requests_count; i++) {
        client_append(&client, i, 10, 0, 0);
    }
    assert_false(client.closed);
    client_append(&client, 99, 10, 0, 0);
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), client.welcome.requests_count);
}

static void test_prepare_when_sent_by_a_client_closes(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    struct wire_commit commit;
    memset(&commit, 0, sizeof(commit));
    wire_header_init(&commit.header, WIRE_COMMIT, sizeof(commit), 3);
    commit.chunk = 42;
    commit.version = 1;
    client_send(&client, &commit, sizeof(commit));
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_COMMIT), 0);
}

static void test_commit_when_sent_by_a_server_is_answered_with_a_header(void **state)
{
    (void)state;
    client_hello(&client, 0x77, 64);
    struct wire_commit commit;
    memset(&commit, 0, sizeof(commit));
    wire_header_init(&commit.header, WIRE_COMMIT, sizeof(commit), 3);
    commit.chunk = 42;
    commit.version = 1;
    client_send(&client, &commit, sizeof(commit));
    struct script_event *event = script_last(CHUNK_EVENT_COMMIT);
    assert_non_null(event);
    assert_int_equal(event->event.server, 0x77);
    reply_append(event, PAWL_ESTALE);
    script_run(&bench);
    bench_turn(&bench);
    assert_int_equal(client.message.header.type, WIRE_COMMIT | WIRE_REPLY);
    assert_int_equal(client.message.header.bytes, sizeof(struct wire_header));
    assert_int_equal(client.message.header.status, PAWL_ESTALE);
}

static void test_reply_when_connection_is_gone_is_dropped(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    client_append(&client, 11, 300000, 0, 2);
    struct script_event *event = script_last(CHUNK_EVENT_APPEND);
    fabric_conn_close(client.conn, 0);
    bench_turn(&bench);
    assert_true(client.closed);
    assert_int_equal(script_count(CHUNK_EVENT_CONN_CLOSED), 1);
    assert_true(pawl_list_is_empty(&bench.reactor->sessions));
    reply_append(event, 0);
    release(event);
    script_run(&bench);
    assert_int_equal(bench.reactor->requests.used_count, 0);
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
}

static void test_request_when_draining_is_refused(void **state)
{
    (void)state;
    client_hello(&client, 0, 8);
    mailbox_post(reactor_inbox(bench.reactor), mail_new(MAIL_STOP));
    bench_turn(&bench);
    client_append(&client, 11, 10, 0, 0);
    assert_int_equal(client.message.header.status, PAWL_ESHUTDOWN);
    assert_int_equal(script_count(CHUNK_EVENT_APPEND), 0);
}

// Hostile messages in all shapes: the connection may be closed, nothing else may happen.
static void test_session_when_bytes_are_flipped_never_breaks(void **state)
{
    (void)state;
    struct pawl_list *sessions = &bench.reactor->sessions;
    for (unsigned i = 0; i < sizeof(struct wire_append) * 2; i++) {
        struct client other;
        client_open(&other, &bench);
        client_hello(&other, 0, 4);
        unsigned char message[sizeof(struct wire_append) + 16];
        struct wire_append append;
        memset(message, 0, sizeof(message));
        memset(&append, 0, sizeof(append));
        wire_header_init(&append.header, WIRE_APPEND, sizeof(message), 3);
        append.chunk = 42;
        append.version = 1;
        append.id.sequence = 1;
        append.length = 16;
        memcpy(message, &append, sizeof(append));
        message[i / 2] ^= i % 2 == 0 ? 0x01 : 0x80;
        client_send(&other, message, sizeof(message));
        struct script_event *event = script_last(CHUNK_EVENT_APPEND);
        if (event != NULL && event->event.payload != 0 &&
            payload_find(bench.reactor, event->event.payload) != NULL) {
            release(event);
            script_run(&bench);
        }
        client_close(&other);
        script.events_count = 0;
    }
    assert_ptr_equal(pawl_list_first(sessions), pawl_list_last(sessions)); // only `client`
    assert_int_equal(bench.reactor->payloads.used_count, 0);
    assert_int_equal(bench.reactor->requests.used_count, 0);
    assert_int_equal(bench.reactor->buffers.windows.used_bytes, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ticks_when_nothing_comes_for_a_second_are_few_until_something_does),
        T(test_ticks_when_a_request_is_under_way_are_many),
        T(test_hello_when_all_is_well_grants_a_window),
        T(test_hello_of_a_server_grants_more_requests_over_a_stream_only),
        T(test_hello_when_cluster_differs_is_refused),
        T(test_hello_when_another_server_is_wanted_is_refused),
        T(test_hello_when_another_reactor_is_wanted_is_refused),
        T(test_hello_when_the_only_reactor_is_wanted_as_one_of_several_is_refused),
        T(test_window_when_clients_took_theirs_a_server_still_gets_a_whole_one),
        T(test_hello_when_said_twice_closes),
        T(test_session_when_silent_is_closed_after_the_deadline),
        T(test_session_when_first_message_is_garbage_is_closed),
        T(test_session_when_first_message_is_no_hello_is_closed),
        T(test_append_when_inline_reaches_the_core_with_its_payload),
        T(test_append_when_many_packets_are_held_the_next_payload_is_copied),
        T(test_append_when_payload_is_in_slots_reply_waits_for_the_last_use),
        T(test_append_when_answered_then_its_stages_add_up),
        T(test_append_when_refused_then_no_stages_are_told),
        T(test_append_when_answered_from_memory_and_not_stored_is_no_success),
        T(test_append_when_slot_changes_while_it_is_stored_is_no_success),
        T(test_append_when_slot_is_in_use_closes),
        T(test_append_when_slot_is_beyond_the_window_closes),
        T(test_requests_when_more_than_granted_close),
        T(test_prepare_when_sent_by_a_client_closes),
        T(test_commit_when_sent_by_a_server_is_answered_with_a_header),
        T(test_reply_when_connection_is_gone_is_dropped),
        T(test_request_when_draining_is_refused),
        T(test_session_when_bytes_are_flipped_never_breaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
