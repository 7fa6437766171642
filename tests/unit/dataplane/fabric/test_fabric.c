// SPDX-License-Identifier: Apache-2.0
// What fabric.h promises, asked of both providers: the fake, and libfabric's tcp on 127.0.0.1.
#include "fabric_pair.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/hash.h"
#include "base/log.h"

static void test_connect_when_a_peer_listens_then_both_sides_know(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    assert_int_equal(strncmp(fabric_address(pair.b.fabric), pair.provider, strlen(pair.provider)),
                     0);
    assert_true(strstr(fabric_provider(pair.b.fabric), pair.provider) != NULL);
    assert_int_equal(fabric_is_stream(pair.b.fabric), strcmp(pair.provider, "tcp") == 0);
    pair_connect(&pair);
    assert_int_equal(pair.a.connected, 1);
    assert_int_equal(pair.b.accepted, 1);
    assert_true(fabric_conn_id(pair.a.conn) != 0);
    assert_true(fabric_conn_id(pair.a.conn) != fabric_conn_id(pair.b.conn));
    assert_true(strlen(fabric_conn_peer(pair.a.conn)) > 0);
    assert_true(strlen(fabric_conn_peer(pair.b.conn)) > 0);
    pair_close(&pair);
}

static void test_connect_when_formats_differ_then_refused_and_the_next_one_works(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pair_open(&pair, provider_of(state), NULL);
    pair.b.fabric->format = FABRIC_GREETING_FORMAT + 1;
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    poll_until(&pair, pair.a.closed == 1);
    // Soft-iWARP may see the peer's socket closed before it has read the refusal.
    bool is_reason_lost = is_iwarp(pair.provider) && pair.a.closed_status == PAWL_EDISCONNECTED;
    assert_true(pair.a.closed_status == PAWL_EPROTOCOL || is_reason_lost);
    assert_int_equal(pair.b.accepted + pair.b.closed, 0);
    pair.b.fabric->format = FABRIC_GREETING_FORMAT;
    pair_connect(&pair);
    pair_close(&pair);
}

static void test_connect_when_the_limit_is_reached_then_refused_and_the_others_live(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pair_open(&pair, provider_of(state), NULL);
    pair.b.fabric->options.connections_max = 1;
    pair_connect(&pair);
    struct fabric_conn *first_a = pair.a.conn;
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    poll_until(&pair, pair.a.closed == 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDISCONNECTED);
    assert_int_equal(pair.b.accepted, 1);
    assert_int_equal(fabric_send(first_a, "still", 5), 0);
    poll_until(&pair, pair.b.messages == 1);
    pair_close(&pair);
}

static void test_connect_when_the_own_limit_is_reached_then_says_so(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    struct fabric_options options = {.connections_max = 1};
    pair_open(&pair, provider_of(state), &options);
    pair_connect(&pair);
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn),
        PAWL_ELIMIT);
    pair_close(&pair);
}

// An address where nobody listens.
static void nobody(const char *provider, char address[FABRIC_ADDRESS_MAX])
{
    struct fabric *fabric = side_open(provider, NULL);
    assert_int_equal(fabric_listen(fabric), 0);
    snprintf(address, FABRIC_ADDRESS_MAX, "%s", fabric_address(fabric));
    fabric_close(fabric);
}

static void test_connect_when_nobody_listens_then_ends(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    char address[FABRIC_ADDRESS_MAX];
    pair_open(&pair, provider_of(state), NULL);
    nobody(pair.provider, address);
    int rc = fabric_connect(pair.a.fabric, address, 5000, NULL, &conn);
    assert_int_equal(rc, 0);
    if (is_iwarp(pair.provider)) { // libfabric does not tell which connection was refused
        pair_poll(&pair);
        pair_advance_ms(&pair, 5000);
    }
    poll_until(&pair, pair.a.closed == 1);
    assert_int_equal(pair.a.closed_status,
                     is_iwarp(pair.provider) ? PAWL_EDEADLINE : PAWL_EDISCONNECTED);
    assert_int_equal(pair.a.connected, 0);
    pair_close(&pair);
}

static void test_connect_when_the_peer_never_answers_then_ends_by_its_deadline(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pair_open(&pair, provider_of(state), NULL);
    pair.b.is_off = true;
    assert_int_equal(fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 700, NULL, &conn),
                     0);
    pair_poll(&pair);
    assert_true(fabric_deadline_ns(pair.a.fabric) == pair.now_ns + 700 * PAWL_NS_PER_MS);
    pair_advance_ms(&pair, 699);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 0);
    pair_advance_ms(&pair, 1);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDEADLINE);
    // The peer wakes up and finds nobody.
    pair.b.is_off = false;
    poll_until(&pair, pawl_list_is_empty(&pair.b.fabric->conns));
    assert_int_equal(pair.b.accepted, pair.b.closed);
    pair_close(&pair);
}

static void test_connect_when_the_address_is_wrong_then_says_so(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pair_open(&pair, provider_of(state), NULL);
    assert_int_equal(fabric_connect(pair.a.fabric, "other://1:2", 500, NULL, &conn), PAWL_EINVALID);
    assert_int_equal(fabric_connect(pair.a.fabric, "", 500, NULL, &conn), PAWL_EINVALID);
    if (strcmp(pair.provider, "tcp") == 0) {
        const char *wrong[] = {"tcp://", "tcp://127.0.0.1", "tcp://:1", "tcp://localhost:1",
                               "tcp://127.0.0.1:"};
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
            assert_int_equal(fabric_connect(pair.a.fabric, wrong[i], 500, NULL, &conn),
                             PAWL_EINVALID);
        }
    }
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 0); // it was never a connection
    pair_close(&pair);
}

// Messages are numbered; size and bytes follow from the number.
struct stream {
    uint64_t next;
};

static uint32_t numbered_bytes(uint64_t n)
{
    return 8 + (uint32_t)(pawl_hash_u64(n) % (MESSAGE_BYTES - 7));
}

static void numbered_send(struct pair *pair, struct fabric_conn *conn, uint64_t n)
{
    unsigned char message[MESSAGE_BYTES];
    memset(message, (int)(n & 0xff), sizeof(message));
    memcpy(message, &n, sizeof(n));
    int rc;
    while ((rc = fabric_send2(conn, message, 8, message + 8, numbered_bytes(n) - 8)) == -EAGAIN) {
        pair_poll(pair);
    }
    assert_int_equal(rc, 0);
}

static void numbered_check(struct side *side, const struct fabric_event *event)
{
    struct stream *stream = side->ctx;
    uint64_t n;
    memcpy(&n, event->message, sizeof(n));
    const unsigned char *bytes = event->message;
    bool is_whole = event->message_bytes == numbered_bytes(n);
    for (uint32_t i = 8; is_whole && i < event->message_bytes; i++) {
        is_whole = bytes[i] == (n & 0xff);
    }
    if (n != stream->next || !is_whole) {
        side->message_errors++;
    }
    stream->next = n + 1;
}

static void test_messages_when_many_both_ways_then_all_whole_and_in_order(void **state)
{
    struct pair pair;
    struct stream to_a = {0}, to_b = {0};
    if (is_iwarp(provider_of(state))) {
        skip(); // more messages than receives
    }
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    pair.a.on_message = pair.b.on_message = numbered_check;
    pair.a.ctx = &to_a;
    pair.b.ctx = &to_b;
    for (uint64_t n = 0; n < 1500; n++) {
        numbered_send(&pair, pair.a.conn, n);
        numbered_send(&pair, pair.b.conn, n);
    }
    poll_until(&pair, pair.a.messages == 1500 && pair.b.messages == 1500);
    assert_int_equal(pair.a.message_errors + pair.b.message_errors, 0);
    pair_close(&pair);
}

// Each message is answered while its receive is still the caller's, and the answer brings the next message:
// `window` messages are always under way, as with a peer that uses all of its credits.
static void answer(struct side *side, const struct fabric_event *event)
{
    assert_int_equal(fabric_send(event->conn, event->message, event->message_bytes), 0);
    (void)side;
}

static void test_messages_when_the_window_is_kept_full_then_the_connection_lives(void **state)
{
    struct pair pair;
    struct fabric_options options = {.receives_count = 8};
    pair_open(&pair, provider_of(state), &options);
    pair_connect(&pair);
    pair.a.on_message = pair.b.on_message = answer;
    for (uint64_t n = 0; n < options.receives_count; n++) {
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
    }
    poll_until(&pair, pair.a.messages >= 2000 || pair.a.closed + pair.b.closed > 0);
    assert_int_equal(pair.a.closed + pair.b.closed, 0);
    pair_close(&pair);
}

static void test_messages_when_events_are_taken_one_by_one_then_none_is_lost(void **state)
{
    struct pair pair;
    struct stream to_b = {0};
    pair_open(&pair, provider_of(state), NULL);
    pair.a.events_at_once = pair.b.events_at_once = 1;
    pair_connect(&pair);
    pair.b.on_message = numbered_check;
    pair.b.ctx = &to_b;
    for (uint64_t n = 0; n < 200; n++) {
        numbered_send(&pair, pair.a.conn, n);
    }
    fabric_conn_close(pair.b.conn, 0); // with messages under way
    poll_until(&pair, pair.a.closed == 1 && pair.b.closed == 1);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

// More receives than a provider takes are not an error: it posts fewer, and the sender waits.
static void test_receives_when_more_are_wanted_than_there_can_be_then_messages_pass(void **state)
{
    struct pair pair;
    struct stream to_b = {0};
    struct fabric_options options = {.receives_count = 3000};
    pair_open(&pair, provider_of(state), &options);
    pair_connect(&pair);
    pair.b.on_message = numbered_check;
    pair.b.ctx = &to_b;
    for (uint64_t n = 0; n < 600; n++) {
        numbered_send(&pair, pair.a.conn, n);
    }
    poll_until(&pair, pair.b.messages == 600);
    assert_int_equal(pair.b.message_errors, 0);
    pair_close(&pair);
}

static void test_send_when_arguments_or_state_are_wrong_then_says_so(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    struct fabric_region *region = NULL;
    unsigned char whole[4097], *memory = whole + 1, message[MESSAGE_BYTES + 1] = {0};
    pair_open(&pair, provider_of(state), NULL);
    assert_int_equal(fabric_region_open(pair.a.fabric, memory, 4096, FABRIC_LOCAL, &region), 0);
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    assert_int_equal(fabric_send(conn, message, 1), -EAGAIN); // not connected yet
    poll_until(&pair, pair.a.connected == 1);
    assert_int_equal(fabric_send(conn, message, 0), -EINVAL);
    assert_int_equal(fabric_send(conn, message, MESSAGE_BYTES + 1), -EMSGSIZE);
    assert_int_equal(fabric_send2(conn, message, MESSAGE_BYTES, message, 1), -EMSGSIZE);
    assert_int_equal(fabric_send(conn, message, MESSAGE_BYTES), 0);
    assert_int_equal(fabric_write(conn, region, memory, 4096 + 1, 0, 0, 1), -EINVAL);
    assert_int_equal(fabric_write(conn, region, memory + 1, 4096, 0, 0, 1), -EINVAL);
    assert_int_equal(fabric_write(conn, region, whole, 1, 0, 0, 1), -EINVAL);
    assert_int_equal(fabric_read(conn, region, memory, 0, 0, 0, 1), -EINVAL);
    poll_until(&pair, pair.b.messages == 1);
    assert_int_equal(pair.b.message_bytes, MESSAGE_BYTES);
    fabric_conn_close(conn, 0);
    assert_int_equal(fabric_send(conn, message, 1), PAWL_EDISCONNECTED);
    assert_int_equal(fabric_write(conn, region, memory, 1, 0, 0, 1), PAWL_EDISCONNECTED);
    fabric_conn_close(conn, 0); // again
    poll_until(&pair, pair.a.closed == 1);
    assert_int_equal(pair.a.done, 0); // nothing was accepted
    fabric_region_close(region);
    pair_close(&pair);
}

// Memory of one side, registered.
struct memory {
    unsigned char *bytes;
    size_t size;
    struct fabric_region *region;
};

static void memory_open(struct memory *memory, struct fabric *fabric, size_t size, unsigned access)
{
    memory->bytes = aligned_alloc(4096, size);
    assert_non_null(memory->bytes);
    memset(memory->bytes, 0, size);
    memory->size = size;
    assert_int_equal(fabric_region_open(fabric, memory->bytes, size, access, &memory->region), 0);
}

static void memory_close(struct memory *memory)
{
    fabric_region_close(memory->region);
    free(memory->bytes);
}

#define SLOTS 4u
#define ROUNDS 240u

struct slot_message {
    uint64_t round;
    uint32_t slot;
    uint32_t padding;
};

static void slot_fill(unsigned char *slot, uint64_t round)
{
    uint64_t words[512];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(words); i++) {
        words[i] = round * 1000003 + i;
    }
    for (size_t at = 0; at < MIB; at += sizeof(words)) {
        words[0] = round * 1000003 + at;
        memcpy(slot + at, words, sizeof(words));
    }
}

// The message must find its slot whole; the answer returns the slot.
static void slot_check(struct side *side, const struct fabric_event *event)
{
    static unsigned char expected[MIB];
    struct memory *window = side->ctx;
    struct slot_message message;
    assert_int_equal(event->message_bytes, sizeof(message));
    memcpy(&message, event->message, sizeof(message));
    slot_fill(expected, message.round);
    if (memcmp(window->bytes + (size_t)message.slot * MIB, expected, MIB) != 0) {
        side->message_errors++;
    }
    assert_int_equal(fabric_send(event->conn, &message, sizeof(message)), 0);
}

static void test_message_when_it_follows_a_write_then_the_bytes_are_in_place(void **state)
{
    struct pair pair;
    struct memory source, window;
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&source, pair.a.fabric, SLOTS * MIB, FABRIC_LOCAL);
    memory_open(&window, pair.b.fabric, SLOTS * MIB, FABRIC_REMOTE_WRITE);
    pair_connect(&pair);
    pair.b.on_message = slot_check;
    pair.b.ctx = &window;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        // A slot is free again when the answer to its last use has come.
        poll_until(&pair, pair.a.messages + SLOTS > round && pair.a.done + SLOTS > round);
        size_t at = (size_t)(round % SLOTS) * MIB;
        struct slot_message message = {.round = round, .slot = round % SLOTS};
        slot_fill(source.bytes + at, round);
        assert_int_equal(fabric_write(pair.a.conn, source.region, source.bytes + at, MIB,
                                      fabric_region_remote(window.region, window.bytes + at),
                                      fabric_region_key(window.region), round),
                         0);
        assert_int_equal(fabric_send(pair.a.conn, &message, sizeof(message)), 0);
    }
    poll_until(&pair, pair.a.messages == ROUNDS && pair.a.done == ROUNDS);
    assert_int_equal(pair.b.message_errors, 0);
    assert_int_equal(pair.a.done_failed, 0);
    memory_close(&source);
    memory_close(&window);
    pair_close(&pair);
}

static void test_read_when_memory_is_offered_then_its_bytes_come(void **state)
{
    struct pair pair;
    struct memory target, offered;
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&target, pair.a.fabric, 2 * MIB, FABRIC_LOCAL);
    memory_open(&offered, pair.b.fabric, 2 * MIB, FABRIC_REMOTE_READ);
    slot_fill(offered.bytes, 1);
    slot_fill(offered.bytes + MIB, 2);
    pair_connect(&pair);
    for (uint32_t i = 0; i < 32; i++) { // more than a few at a time, each an odd piece
        size_t at = i * 65536;
        assert_int_equal(fabric_read(pair.a.conn, target.region, target.bytes + at, 65536,
                                     fabric_region_remote(offered.region, offered.bytes + at),
                                     fabric_region_key(offered.region), i),
                         0);
    }
    poll_until(&pair, pair.a.done == 32);
    assert_int_equal(pair.a.done_failed, 0);
    assert_memory_equal(target.bytes, offered.bytes, 2 * MIB);
    memory_close(&target);
    memory_close(&offered);
    pair_close(&pair);
}

// One remote access that must not happen: the connection ends and no byte has moved.
static void refused_access(const char *provider, unsigned access, bool is_read, uint64_t offset,
                           uint64_t key_change)
{
    struct pair pair;
    struct memory local, remote;
    pair_open(&pair, provider, NULL);
    memory_open(&local, pair.a.fabric, 8192, FABRIC_LOCAL);
    memory_open(&remote, pair.b.fabric, 12288, FABRIC_LOCAL);
    struct fabric_region *middle = NULL;
    assert_int_equal(fabric_region_open(pair.b.fabric, remote.bytes + 4096, 4096, access, &middle),
                     0);
    pair_connect(&pair);
    memset(local.bytes, 0x5a, 8192);
    memset(remote.bytes, 0xa5, 12288);
    uint64_t address = fabric_region_remote(middle, remote.bytes + 4096) + offset;
    uint64_t key = fabric_region_key(middle) + key_change;
    int rc = is_read ? fabric_read(pair.a.conn, local.region, local.bytes, 4096, address, key, 1)
                     : fabric_write(pair.a.conn, local.region, local.bytes, 4096, address, key, 1);
    assert_int_equal(rc, 0);
    poll_until(&pair, pair.a.closed == 1 && pair.b.closed == 1);
    assert_int_equal(pair.a.done, 1);
    for (size_t i = 0; i < 12288; i++) {
        assert_int_equal(remote.bytes[i], 0xa5);
    }
    for (size_t i = 0; i < 8192; i++) {
        assert_int_equal(local.bytes[i], 0x5a);
    }
    fabric_region_close(middle);
    memory_close(&local);
    memory_close(&remote);
    pair_close(&pair);
}

static void test_access_when_not_granted_then_nothing_moves_and_the_connection_ends(void **state)
{
    const char *provider = provider_of(state);
    refused_access(provider, FABRIC_REMOTE_WRITE, false, 1, 0);            // over the end
    refused_access(provider, FABRIC_REMOTE_WRITE, false, (uint64_t)-1, 0); // before the start
    refused_access(provider, FABRIC_REMOTE_WRITE, false, 0, 12345);        // not its key
    refused_access(provider, FABRIC_REMOTE_READ, false, 0, 0);             // may only be read
    if (!is_iwarp(provider)) { // soft-iWARP asks for no right to read
        refused_access(provider, FABRIC_REMOTE_WRITE, true, 0, 0); // may only be written
    }
}

static void test_queue_when_more_than_the_provider_takes_then_all_is_done_in_order(void **state)
{
    struct pair pair;
    struct memory source, window;
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&source, pair.a.fabric, 65536, FABRIC_LOCAL);
    memory_open(&window, pair.b.fabric, 65536, FABRIC_REMOTE_WRITE);
    pair_connect(&pair);
    pair.a.fabric->posts_max = 7;
    struct stream to_b = {0};
    pair.b.on_message = numbered_check;
    pair.b.ctx = &to_b;
    for (uint64_t n = 0; n < 100; n++) {
        assert_int_equal(fabric_write(pair.a.conn, source.region, source.bytes, 65536,
                                      fabric_region_remote(window.region, window.bytes),
                                      fabric_region_key(window.region), n),
                         0);
        numbered_send(&pair, pair.a.conn, n);
    }
    assert_in_range(pair.a.conn->posted_count, 0, 7);
    assert_false(pawl_list_is_empty(&pair.a.conn->queued));
    poll_until(&pair, pair.b.messages == 100 && pair.a.conn->ops_count == 0);
    assert_int_equal(pair.a.done, 100);
    assert_int_equal(pair.b.message_errors, 0);
    assert_int_equal(pair.a.last_token, 99);
    assert_true(pawl_list_is_empty(&pair.a.fabric->backlog));
    memory_close(&source);
    memory_close(&window);
    pair_close(&pair);
}

// The caller takes no more events when a write ends in the same batch of completions as a packet of messages.
static void test_done_when_there_is_no_room_then_it_is_told_at_the_next_poll(void **state)
{
    struct pair pair;
    struct fabric_event event;
    struct fabric_op *op;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    struct fabric *fabric = pair.a.fabric;
    assert_int_equal(fabric_op_new(pair.a.conn, FABRIC_OP_WRITE, &op), 0);
    op->token = 77;
    op->is_posted = true;
    pair.a.conn->posted_count++;
    pawl_list_push_back(&pair.a.conn->posted, &op->link);
    pawl_list_push_back(&fabric->fresh, &op->timed);
    fabric->events = &event;
    fabric->events_count = 1;
    fabric->events_used = 1;
    fabric_op_completed(op, 0, 0);
    fabric->events = NULL;
    assert_int_equal(fabric_try_wait(fabric), -EAGAIN); // nobody sleeps over it
    assert_int_equal(pair.a.done, 0);
    pair_poll(&pair);
    assert_int_equal(pair.a.done, 1);
    assert_int_equal(pair.a.last_token, 77);
    assert_int_equal(pair.a.conn->ops_count, 0);
    pair_close(&pair);
}

static void test_send_when_the_queue_is_full_then_says_so_and_recovers(void **state)
{
    struct pair pair;
    unsigned char message[MESSAGE_BYTES] = {0};
    if (is_iwarp(provider_of(state))) {
        skip(); // more messages than receives
    }
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    pair.b.is_off = true;
    uint64_t sent = 0;
    int rc = 0;
    while (sent < 100000 && (rc = fabric_send(pair.a.conn, message, sizeof(message))) == 0) {
        sent++;
        pair_poll(&pair);
    }
    if (rc == 0) {
        fail_msg("%s: %llu messages to a frozen peer and no end", pair.provider,
                 (unsigned long long)sent);
    }
    assert_int_equal(rc, -EAGAIN);
    pair.b.is_off = false;
    poll_until(&pair, pair.b.messages == sent);
    assert_int_equal(fabric_send(pair.a.conn, message, 8), 0);
    poll_until(&pair, pair.b.messages == sent + 1);
    pair_close(&pair);
}

static void
test_close_when_operations_are_pending_then_each_is_done_once_and_closed_is_last(void **state)
{
    struct pair pair;
    struct memory source, window;
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&source, pair.a.fabric, MIB, FABRIC_LOCAL);
    memory_open(&window, pair.b.fabric, MIB, FABRIC_REMOTE_WRITE | FABRIC_REMOTE_READ);
    pair_connect(&pair);
    pair.a.events_at_once = 3; // the events of the end come in several polls
    uint64_t address = fabric_region_remote(window.region, window.bytes);
    uint64_t key = fabric_region_key(window.region);
    for (uint64_t n = 0; n < 20; n++) {
        assert_int_equal(
            fabric_write(pair.a.conn, source.region, source.bytes, MIB, address, key, n), 0);
        assert_int_equal(
            fabric_read(pair.a.conn, source.region, source.bytes, MIB, address, key, n), 0);
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
    }
    fabric_conn_close(pair.a.conn, PAWL_ESHUTDOWN);
    assert_int_equal(pair.a.done + (uint64_t)pair.a.closed, 0); // not from inside of the call
    uint64_t start_ms = pawl_clock_ms();
    while (pair.a.closed == 0) {
        assert_false(is_hopeless(start_ms));
        pair_poll(&pair);
    }
    assert_int_equal(pair.a.done, 40);
    assert_int_equal(pair.a.closed_status, PAWL_ESHUTDOWN);
    poll_until(&pair, pair.b.closed == 1);
    for (int i = 0; i < 20; i++) {
        pair_poll(&pair);
    }
    assert_int_equal(pair.a.done, 40);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.b.closed, 1);
    assert_true(pawl_list_is_empty(&pair.a.fabric->closed)); // freed
    memory_close(&source);
    memory_close(&window);
    pair_close(&pair);
}

static void test_close_when_messages_were_sent_before_then_the_peer_gets_them(void **state)
{
    struct pair pair;
    struct stream to_b = {0};
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    pair.b.on_message = numbered_check;
    pair.b.ctx = &to_b;
    for (uint64_t n = 0; n < 5; n++) {
        numbered_send(&pair, pair.a.conn, n);
    }
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.b.closed == 1);
    assert_int_equal(pair.b.messages, 5);
    assert_int_equal(pair.b.message_errors, 0);
    assert_int_equal(pair.b.closed_status, PAWL_EDISCONNECTED);
    pair_close(&pair);
}

static void test_operation_when_the_peer_is_frozen_then_ends_by_its_deadline(void **state)
{
    struct pair pair;
    struct memory target, offered;
    if (is_device(provider_of(state))) {
        skip(); // it answers reads for its process
    }
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&target, pair.a.fabric, 4096, FABRIC_LOCAL);
    memory_open(&offered, pair.b.fabric, 4096, FABRIC_REMOTE_READ);
    pair_connect(&pair);
    pair.b.is_off = true;
    for (uint64_t n = 0; n < 3; n++) {
        assert_int_equal(fabric_read(pair.a.conn, target.region, target.bytes, 4096,
                                     fabric_region_remote(offered.region, offered.bytes),
                                     fabric_region_key(offered.region), n),
                         0);
    }
    pair_poll(&pair);
    assert_true(fabric_deadline_ns(pair.a.fabric) == pair.now_ns + OPERATION_MS * PAWL_NS_PER_MS);
    pair_advance_ms(&pair, OPERATION_MS - 1);
    pair_poll(&pair);
    assert_int_equal(pair.a.done + (uint64_t)pair.a.closed, 0);
    pair_advance_ms(&pair, 1);
    pair_poll(&pair);
    assert_int_equal(pair.a.done, 3);
    assert_int_equal(pair.a.done_failed, 3);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDEADLINE);
    assert_true(fabric_deadline_ns(pair.a.fabric) == UINT64_MAX);
    memset(target.bytes, 7, 4096);
    pair.b.is_off = false; // thaws: nothing of it may land any more
    poll_until(&pair, pair.b.closed == 1);
    for (size_t i = 0; i < 4096; i++) {
        assert_int_equal(target.bytes[i], 7);
    }
    memory_close(&target);
    memory_close(&offered);
    pair_close(&pair);
}

// A device takes messages for a frozen process as long as it has receives, and then holds the sender
// off (RNR) for ever.
static void
test_operation_when_a_frozen_peer_has_no_receives_then_ends_by_its_deadline(void **state)
{
    struct pair pair;
    if (!is_device(provider_of(state))) {
        skip(); // where sockets' buffers take what the process doesn't
    }
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    uint32_t sends_count = pair.b.fabric->receives_count + 8;
    pair.b.is_off = true;
    for (uint32_t n = 0; n < sends_count; n++) {
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
        fabric_flush(pair.a.fabric); // a receive for each
    }
    if (is_iwarp(pair.provider)) {
        poll_until(&pair, pair.a.closed == 1);
        assert_int_equal(pair.a.closed_status, PAWL_EDISCONNECTED);
        pair_close(&pair);
        return;
    }
    poll_until(&pair, pair.a.conn->ops_count <= 8);
    pair_advance_ms(&pair, OPERATION_MS - 1);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 0);
    pair_advance_ms(&pair, 1);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDEADLINE);
    pair.b.is_off = false;
    poll_until(&pair, pair.b.closed == 1);
    assert_true(pair.b.messages <= sends_count);
    pair_close(&pair);
}

static void test_operation_when_it_is_done_in_time_then_the_deadline_is_forgotten(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fabric_send(pair.a.conn, "x", 1), 0);
        poll_until(&pair, pair.b.messages == (uint64_t)i + 1 && pair.a.conn->ops_count == 0);
        pair_advance_ms(&pair, OPERATION_MS - 1);
    }
    pair_advance_ms(&pair, 10 * OPERATION_MS);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed + pair.b.closed, 0);
    pair_close(&pair);
}

static void test_close_when_the_fabric_is_busy_then_everything_goes(void **state)
{
    struct pair pair;
    struct memory source, window;
    struct fabric_conn *conn = NULL;
    int fds = fds_count();
    pair_open(&pair, provider_of(state), NULL);
    memory_open(&source, pair.a.fabric, MIB, FABRIC_LOCAL);
    memory_open(&window, pair.b.fabric, MIB, FABRIC_REMOTE_WRITE);
    pair_connect(&pair);
    for (uint64_t n = 0; n < 20; n++) {
        assert_int_equal(fabric_write(pair.a.conn, source.region, source.bytes, MIB,
                                      fabric_region_remote(window.region, window.bytes),
                                      fabric_region_key(window.region), n),
                         0);
        assert_int_equal(fabric_send(pair.b.conn, &n, sizeof(n)), 0);
    }
    side_poll(&pair.a, pair.now_ns);
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    unsigned char *left[] = {source.bytes, window.bytes};
    pair_close(&pair); // regions that are still open go with it
    free(left[0]);
    free(left[1]);
    assert_int_equal(fds_count(), fds);
}

static void test_open_when_options_are_wrong_then_says_so(void **state)
{
    struct fabric *fabric = NULL;
    struct fabric_options options = {.provider = provider_of(state),
                                     .message_bytes = 4096,
                                     .receives_count = 8,
                                     .connections_max = 1};
    struct fabric_options wrong = options;
    wrong.provider = "nonsense";
    assert_int_equal(fabric_open(&wrong, &fabric), -ENODATA);
    wrong = options;
    wrong.message_bytes = 0;
    assert_int_equal(fabric_open(&wrong, &fabric), -EINVAL);
    wrong = options;
    wrong.stream_message_bytes = UINT32_MAX;
    assert_int_equal(fabric_open(&wrong, &fabric), -EINVAL);
    wrong.stream_message_bytes = 63;
    assert_int_equal(fabric_open(&wrong, &fabric), -EINVAL);
    wrong = options;
    wrong.receives_count = 0;
    assert_int_equal(fabric_open(&wrong, &fabric), -EINVAL);
    wrong = options;
    wrong.connections_max = 0;
    assert_int_equal(fabric_open(&wrong, &fabric), -EINVAL);
    assert_null(fabric);
    fabric_close(NULL);
}

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    pair_take_environment();
    const struct CMUnitTest tests[] = {
        both(test_open_when_options_are_wrong_then_says_so),
        both(test_connect_when_a_peer_listens_then_both_sides_know),
        both(test_connect_when_formats_differ_then_refused_and_the_next_one_works),
        both(test_connect_when_the_limit_is_reached_then_refused_and_the_others_live),
        both(test_connect_when_the_own_limit_is_reached_then_says_so),
        both(test_connect_when_nobody_listens_then_ends),
        both(test_connect_when_the_peer_never_answers_then_ends_by_its_deadline),
        both(test_connect_when_the_address_is_wrong_then_says_so),
        both(test_messages_when_many_both_ways_then_all_whole_and_in_order),
        both(test_messages_when_the_window_is_kept_full_then_the_connection_lives),
        both(test_messages_when_events_are_taken_one_by_one_then_none_is_lost),
        both(test_done_when_there_is_no_room_then_it_is_told_at_the_next_poll),
        both(test_receives_when_more_are_wanted_than_there_can_be_then_messages_pass),
        both(test_send_when_arguments_or_state_are_wrong_then_says_so),
        both(test_message_when_it_follows_a_write_then_the_bytes_are_in_place),
        both(test_read_when_memory_is_offered_then_its_bytes_come),
        both(test_access_when_not_granted_then_nothing_moves_and_the_connection_ends),
        both(test_queue_when_more_than_the_provider_takes_then_all_is_done_in_order),
        both(test_send_when_the_queue_is_full_then_says_so_and_recovers),
        both(test_close_when_operations_are_pending_then_each_is_done_once_and_closed_is_last),
        both(test_close_when_messages_were_sent_before_then_the_peer_gets_them),
        both(test_operation_when_the_peer_is_frozen_then_ends_by_its_deadline),
        both(test_operation_when_a_frozen_peer_has_no_receives_then_ends_by_its_deadline),
        both(test_operation_when_it_is_done_in_time_then_the_deadline_is_forgotten),
        both(test_close_when_the_fabric_is_busy_then_everything_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
