// SPDX-License-Identifier: Apache-2.0
// The fake provider's own faults, and books that only it can bring into these states.
#include "fabric_pair.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/log.h"
#include "dataplane/fabric/fake.h"

static void test_drop_when_operations_are_under_way_then_both_sides_close(void **state)
{
    (void)state;
    struct pair pair;
    unsigned char source[4096] = {1}, window[4096] = {2};
    struct fabric_region *from = NULL, *to = NULL;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    assert_int_equal(fabric_region_open(pair.a.fabric, source, 4096, FABRIC_LOCAL, &from), 0);
    assert_int_equal(fabric_region_open(pair.b.fabric, window, 4096, FABRIC_REMOTE_WRITE, &to), 0);
    for (uint64_t n = 0; n < 3; n++) {
        assert_int_equal(fabric_write(pair.a.conn, from, source, 4096,
                                      fabric_region_remote(to, window), fabric_region_key(to), n),
                         0);
    }
    fabric_fake_drop(pair.a.conn);
    poll_until(&pair, pair.a.closed == 1 && pair.b.closed == 1);
    assert_int_equal(pair.a.done_failed, 3);
    assert_int_equal(window[0], 2); // what was on its way is lost
    assert_int_equal(pair.a.closed_status, PAWL_EDISCONNECTED);
    pair_connect(&pair); // and a new connection works
    pair_close(&pair);
}

static void test_capacity_when_used_up_then_work_waits_in_order(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    fabric_fake_set_capacity(pair.a.fabric, 2);
    for (uint32_t n = 0; n < 50; n++) {
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
        fabric_flush(pair.a.fabric);
    }
    assert_int_equal(pair.a.conn->posted_count, 2);
    for (uint32_t n = 0; n < 50; n++) {
        pair.b.events_at_once = 1;
        poll_until(&pair, pair.b.messages == n + 1);
        uint32_t got;
        memcpy(&got, pair.b.message, sizeof(got));
        assert_int_equal(got, n);
    }
    pair_close(&pair);
}

static void test_close_when_work_waits_in_the_queue_then_it_is_done_too(void **state)
{
    (void)state;
    struct pair pair;
    unsigned char source[64] = {1}, window[64] = {2};
    struct fabric_region *from = NULL, *to = NULL;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    assert_int_equal(fabric_region_open(pair.a.fabric, source, 64, FABRIC_LOCAL, &from), 0);
    assert_int_equal(fabric_region_open(pair.b.fabric, window, 64, FABRIC_REMOTE_WRITE, &to), 0);
    fabric_fake_set_capacity(pair.a.fabric, 2);
    for (uint64_t n = 0; n < 10; n++) {
        assert_int_equal(fabric_write(pair.a.conn, from, source, 64,
                                      fabric_region_remote(to, window), fabric_region_key(to), n),
                         0);
    }
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.a.closed == 1);
    assert_int_equal(pair.a.done, 10);
    assert_int_equal(pair.a.last_token, 9); // in the order in which they were accepted
    assert_int_equal(pair.a.closed_status, 0);
    pair_close(&pair);
}

// A message says that the bytes of the writes before it are there: it goes with a write that is taken back.
static void test_close_when_a_message_is_behind_a_write_then_the_peer_gets_neither(void **state)
{
    (void)state;
    struct pair pair;
    unsigned char source[64] = {1}, window[64] = {2};
    struct fabric_region *from = NULL, *to = NULL;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    assert_int_equal(fabric_region_open(pair.a.fabric, source, 64, FABRIC_LOCAL, &from), 0);
    assert_int_equal(fabric_region_open(pair.b.fabric, window, 64, FABRIC_REMOTE_WRITE, &to), 0);
    assert_int_equal(fabric_send(pair.a.conn, "before", 6), 0);
    assert_int_equal(fabric_write(pair.a.conn, from, source, 64, fabric_region_remote(to, window),
                                  fabric_region_key(to), 1),
                     0);
    assert_int_equal(fabric_send(pair.a.conn, "behind", 6), 0);
    fabric_flush(pair.a.fabric);
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.b.closed == 1);
    assert_int_equal(pair.b.messages, 1);
    assert_memory_equal(pair.b.message, "before", 6);
    assert_int_equal(window[0], 2);
    pair_close(&pair);
}

// A completion that comes when the connection is gone finds its operation closed, not reused.
static void test_completion_when_late_then_ignored(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    assert_int_equal(fabric_send(pair.a.conn, "x", 1), 0);
    fabric_flush(pair.a.fabric);
    struct fabric_op *op =
        pawl_container_of(pawl_list_first(&pair.a.conn->posted), struct fabric_op, link);
    struct fabric_conn *conn = pair.a.conn;
    fabric_conn_close(conn, 0);
    fabric_op_completed(op, 0, 0);
    fabric_op_completed(op, -5, 0);
    fabric_op_completed(&conn->receives[0], -5, 0);
    assert_int_equal(conn->state, FABRIC_CONN_CLOSING);
    poll_until(&pair, pair.a.closed == 1);
    poll_until(&pair, pawl_list_is_empty(&pair.a.fabric->closed));
    fabric_op_completed(op, 0, 0); // back in the pool
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.done, 0);
    pair_close(&pair);
}

// The connection must outlive its last event until the next poll: the owner logs its peer.
static void test_closed_event_when_delivered_then_the_connection_can_still_be_named(void **state)
{
    (void)state;
    struct pair pair;
    struct fabric_event events[8];
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    uint64_t id = fabric_conn_id(pair.a.conn);
    fabric_conn_close(pair.a.conn, 0);
    assert_int_equal(fabric_poll(pair.a.fabric, pair.now_ns, events, 8), 1);
    assert_int_equal(events[0].type, FABRIC_CLOSED);
    assert_int_equal(fabric_conn_id(events[0].conn), id);
    assert_true(strlen(fabric_conn_peer(events[0].conn)) > 0);
    pair_close(&pair);
}

static void test_clock_when_it_goes_back_then_no_deadline_fires(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    pair.now_ns = 5;
    assert_int_equal(fabric_send(pair.a.conn, "x", 1), 0);
    poll_until(&pair, pair.b.messages == 1);
    assert_int_equal(pair.a.closed, 0);
    pair_close(&pair);
}

static void advance_and_poll(struct pair *pair, uint64_t ms)
{
    pair_advance_ms(pair, ms);
    for (int i = 0; i < 4; i++) {
        pair_poll(pair);
    }
}

static void test_idle_when_the_peers_host_is_there_then_the_connection_stays(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "fake", NULL);
    assert_true(fabric_deadline_ns(pair.a.fabric) == UINT64_MAX); // nobody to ask
    pair_connect(&pair);
    pair.b.is_off = true; // its process is stopped, its device answers
    assert_true(fabric_deadline_ns(pair.a.fabric) ==
                pair.now_ns + FABRIC_IDLE_MS_DEFAULT * PAWL_NS_PER_MS);
    advance_and_poll(&pair, FABRIC_IDLE_MS_DEFAULT - 1);
    assert_true(fabric_deadline_ns(pair.a.fabric) == pair.now_ns + PAWL_NS_PER_MS);
    for (int i = 0; i < 20; i++) { // ten minutes
        advance_and_poll(&pair, i == 0 ? 1 : FABRIC_IDLE_MS_DEFAULT);
        assert_int_equal(pair.a.conn->ops_count, 0);
        assert_true(pair.a.conn->heard_ns == pair.now_ns);
    }
    assert_int_equal(pair.a.closed, 0);
    assert_int_equal(pair.a.done, 0); // nobody is told of what nobody has asked for
    pair.b.is_off = false;
    pair_poll(&pair);
    assert_int_equal(pair.b.messages, 0);
    assert_int_equal(pair.b.closed, 0);
    pair_close(&pair);
}

static void test_idle_when_the_peers_host_is_gone_then_closed_by_a_deadline(void **state)
{
    (void)state;
    struct pair pair;
    struct fabric_options options = {.idle_ms = 7000, .operation_ms = 3000};
    pair_open(&pair, "fake", &options);
    pair_connect(&pair);
    pair.b.is_off = true;
    fabric_fake_set_dark(pair.b.fabric);
    advance_and_poll(&pair, 6999);
    assert_int_equal(pair.a.conn->ops_count, 0);
    advance_and_poll(&pair, 1);
    assert_int_equal(pair.a.conn->ops_count, 1);
    assert_true(fabric_deadline_ns(pair.a.fabric) == pair.now_ns + 3000 * PAWL_NS_PER_MS);
    advance_and_poll(&pair, 2999);
    assert_int_equal(pair.a.closed, 0);
    advance_and_poll(&pair, 1);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDEADLINE);
    assert_int_equal(pair.a.done, 0);
    assert_true(fabric_deadline_ns(pair.a.fabric) == UINT64_MAX);
    pair_close(&pair);
}

// What comes from the peer is an answer too, and what is under way has a deadline of its own.
static void test_idle_when_the_peer_is_heard_then_it_is_not_asked(void **state)
{
    (void)state;
    struct pair pair;
    pair_open(&pair, "fake", NULL);
    pair_connect(&pair);
    advance_and_poll(&pair, FABRIC_IDLE_MS_DEFAULT - 10);
    assert_int_equal(fabric_send(pair.b.conn, "here", 4), 0);
    advance_and_poll(&pair, 1);
    assert_int_equal(pair.a.messages, 1);
    fabric_fake_set_dark(pair.b.fabric); // a question would stay without an answer
    pair.b.is_off = true;
    advance_and_poll(&pair, FABRIC_IDLE_MS_DEFAULT - 1);
    assert_int_equal(pair.a.conn->ops_count, 0);
    assert_int_equal(fabric_send(pair.a.conn, "there?", 6), 0);
    advance_and_poll(&pair, 1);
    assert_int_equal(pair.a.conn->ops_count, 1); // the message alone
    advance_and_poll(&pair, OPERATION_MS);
    assert_int_equal(pair.a.closed, 1);
    pair_close(&pair);
}

struct echo {
    struct fabric *fabric;
    _Atomic bool is_over;
};

static void *echo_run(void *arg)
{
    struct echo *echo = arg;
    struct fabric_event events[16];
    while (!atomic_load(&echo->is_over)) {
        int count = fabric_poll(echo->fabric, 1, events, 16);
        for (int i = 0; i < count; i++) {
            if (events[i].type == FABRIC_MESSAGE &&
                fabric_send(events[i].conn, events[i].message, events[i].message_bytes) < 0) {
                return arg;
            }
        }
    }
    return NULL;
}

static void test_threads_when_each_polls_its_own_fabric_then_messages_pass(void **state)
{
    (void)state;
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pthread_t thread;
    pair_open(&pair, "fake", NULL);
    struct echo echo = {.fabric = pair.b.fabric};
    pair.b.is_off = true; // the thread polls it
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    assert_int_equal(pthread_create(&thread, NULL, echo_run, &echo), 0);
    poll_until(&pair, pair.a.connected == 1);
    for (uint64_t n = 0; n < 500; n++) {
        assert_int_equal(fabric_send(conn, &n, sizeof(n)), 0);
        poll_until(&pair, pair.a.messages == n + 1);
    }
    void *result = NULL;
    atomic_store(&echo.is_over, true);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    pair_close(&pair);
}

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drop_when_operations_are_under_way_then_both_sides_close),
        cmocka_unit_test(test_capacity_when_used_up_then_work_waits_in_order),
        cmocka_unit_test(test_close_when_work_waits_in_the_queue_then_it_is_done_too),
        cmocka_unit_test(test_close_when_a_message_is_behind_a_write_then_the_peer_gets_neither),
        cmocka_unit_test(test_completion_when_late_then_ignored),
        cmocka_unit_test(test_closed_event_when_delivered_then_the_connection_can_still_be_named),
        cmocka_unit_test(test_clock_when_it_goes_back_then_no_deadline_fires),
        cmocka_unit_test(test_idle_when_the_peers_host_is_there_then_the_connection_stays),
        cmocka_unit_test(test_idle_when_the_peers_host_is_gone_then_closed_by_a_deadline),
        cmocka_unit_test(test_idle_when_the_peer_is_heard_then_it_is_not_asked),
        cmocka_unit_test(test_threads_when_each_polls_its_own_fabric_then_messages_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
