// SPDX-License-Identifier: Apache-2.0
// Sleeping on the fabric's descriptors, peers that are silent, and what is left when connections come
// and go.
#include "fabric_pair.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/log.h"

static int polls_fill(const struct side *side, struct pollfd polls[FABRIC_FDS_MAX])
{
    int fds[FABRIC_FDS_MAX];
    int count = fabric_wait_fds(side->fabric, fds);
    assert_in_range(count, 1, FABRIC_FDS_MAX);
    for (int i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    return count;
}

static void side_sleep(struct side *side)
{
    struct pollfd polls[FABRIC_FDS_MAX];
    if (fabric_try_wait(side->fabric) != 0) {
        return;
    }
    int count = polls_fill(side, polls);
    // Longer than any wait here: a lost wake-up fails the test.
    assert_true(poll(polls, (nfds_t)count, 20000) > 0);
}

// Until either side has something to do.
static void pair_sleep(struct pair *pair)
{
    struct pollfd polls[2 * FABRIC_FDS_MAX];
    if (fabric_try_wait(pair->a.fabric) != 0 || fabric_try_wait(pair->b.fabric) != 0) {
        return;
    }
    int count = polls_fill(&pair->a, polls);
    count += polls_fill(&pair->b, polls + count);
    assert_true(poll(polls, (nfds_t)count, 20000) > 0);
}

static void test_wait_when_a_message_comes_then_the_sleeper_wakes(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    for (uint64_t n = 0; n < 200; n++) {
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
        fabric_flush(pair.a.fabric);
        while (pair.b.messages == n) {
            side_sleep(&pair.b);
            side_poll(&pair.b, pair.now_ns);
        }
        assert_int_equal(fabric_send(pair.b.conn, &n, sizeof(n)), 0);
        fabric_flush(pair.b.fabric);
        while (pair.a.messages == n) {
            side_sleep(&pair.a);
            side_poll(&pair.a, pair.now_ns);
        }
    }
    fabric_conn_close(pair.a.conn, 0); // and when the peer goes
    while (pair.b.closed == 0) {
        side_sleep(&pair.b);
        side_poll(&pair.b, pair.now_ns);
    }
    pair_close(&pair);
}

static void test_wait_when_a_peer_connects_then_the_sleeper_wakes(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    pair_open(&pair, provider_of(state), NULL);
    side_poll(&pair.b, pair.now_ns);
    assert_int_equal(
        fabric_connect(pair.a.fabric, fabric_address(pair.b.fabric), 5000, NULL, &conn), 0);
    while (pair.b.accepted == 0 || pair.a.connected == 0) {
        if (is_device(pair.provider)) { // the request leaves after several turns of a's
            pair_sleep(&pair);
            pair_poll(&pair);
            continue;
        }
        if (pair.b.accepted == 0) {
            side_poll(&pair.a, pair.now_ns);
            side_sleep(&pair.b);
        }
        side_poll(&pair.b, pair.now_ns);
        if (pair.b.accepted) {
            side_sleep(&pair.a);
        }
        side_poll(&pair.a, pair.now_ns);
    }
    pair_close(&pair);
}

static void test_wait_when_nothing_happens_then_it_may_sleep(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    fabric_conn_close(pair.a.conn, 0);
    poll_until(&pair, pair.a.closed == 1 && pair.b.closed == 1);
    // Settles within a few polls, with descriptors that are quiet.
    for (struct side *side = &pair.a;; side = &pair.b) {
        int polls = 0;
        bool is_quiet = false;
        while (!is_quiet && polls++ < 50) {
            side_poll(side, pair.now_ns);
            int fds[FABRIC_FDS_MAX];
            struct pollfd waits[FABRIC_FDS_MAX];
            if (fabric_try_wait(side->fabric) == 0) {
                int count = fabric_wait_fds(side->fabric, fds);
                for (int i = 0; i < count; i++) {
                    waits[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
                }
                is_quiet = poll(waits, (nfds_t)count, 0) == 0;
            }
        }
        assert_true(is_quiet);
        if (side == &pair.b) {
            break;
        }
    }
    pair_close(&pair);
}

static void test_reconnect_when_repeated_then_nothing_is_left_over(void **state)
{
    struct pair pair;
    int fds = 0;
    size_t heap_bytes = 0;
    pair_open(&pair, provider_of(state), NULL);
    for (int i = 1; i <= 200; i++) {
        pair_connect(&pair);
        assert_int_equal(fabric_send(pair.a.conn, "x", 1), 0);
        if (i % 2) {
            poll_until(&pair, pair.b.messages > 0);
        }
        fabric_conn_close(i % 3 ? pair.a.conn : pair.b.conn, 0);
        poll_until(&pair, pair.a.closed == i && pair.b.closed == i);
        poll_until(&pair, pawl_list_is_empty(&pair.a.fabric->closed) &&
                              pawl_list_is_empty(&pair.b.fabric->closed));
        if (i == 20) { // warm
            fds = fds_count();
            heap_bytes = mallinfo2().uordblks;
        }
    }
    assert_int_equal(fds_count(), fds);
    assert_in_range(mallinfo2().uordblks, 0, heap_bytes + 65536);
    pair_close(&pair);
}

// An address of b's network that no host has.
static void nowhere(const struct pair *pair, char address[FABRIC_ADDRESS_MAX])
{
    snprintf(address, FABRIC_ADDRESS_MAX, "%s", fabric_address(pair->b.fabric));
    char *dot = strrchr(address, '.');
    assert_non_null(dot);
    snprintf(dot, FABRIC_ADDRESS_MAX - (size_t)(dot - address), ".254:4711");
}

// Nobody says that a host is not there; what a device needs to find out is not this thread's time.
static void test_connect_when_the_host_is_silent_then_nothing_waits_for_it(void **state)
{
    struct pair pair;
    struct fabric_conn *conn = NULL;
    char address[FABRIC_ADDRESS_MAX];
    if (!is_device(provider_of(state))) {
        skip(); // the kernel's connect() never waits
    }
    pair_open(&pair, provider_of(state), NULL);
    nowhere(&pair, address);
    pair_connect(&pair);
    struct fabric_conn *open = pair.a.conn;
    assert_int_equal(fabric_connect(pair.a.fabric, address, 5000, NULL, &conn), 0);
    assert_non_null(conn->resolve);
    pair_poll(&pair);
    pair_advance_ms(&pair, 5000);
    pair_poll(&pair);
    assert_int_equal(pair.a.closed, 1);
    assert_int_equal(pair.a.closed_status, PAWL_EDEADLINE);
    // The kernel's word for it, while others are served.
    assert_int_equal(fabric_connect(pair.a.fabric, address, 5000, NULL, &conn), 0);
    assert_int_equal(fabric_send(open, "on", 2), 0);
    poll_until(&pair, pair.b.messages == 1);
    poll_until(&pair, pair.a.closed == 2);
    assert_int_equal(pair.a.closed_status, PAWL_EDISCONNECTED);
    // Given up by its owner, and with the fabric.
    assert_int_equal(fabric_connect(pair.a.fabric, address, 5000, NULL, &conn), 0);
    fabric_conn_close(conn, PAWL_ESHUTDOWN);
    poll_until(&pair, pair.a.closed == 3);
    assert_int_equal(pair.a.closed_status, PAWL_ESHUTDOWN);
    assert_int_equal(fabric_connect(pair.a.fabric, address, 5000, NULL, &conn), 0);
    assert_int_equal(fabric_send(open, "on", 2), 0);
    poll_until(&pair, pair.b.messages == 2);
    pair_close(&pair);
}

static uint32_t regions_count(const struct fabric *fabric)
{
    uint32_t count = 0;
    pawl_list_for_each (node, &fabric->regions) {
        count++;
    }
    return count;
}

static void test_receives_when_connections_go_then_the_next_ones_take_their_memory(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    for (int i = 0; i < (int)FABRIC_SPARES_MAX + 2; i++) {
        pair_connect(&pair);
    }
    while (!pawl_list_is_empty(&pair.a.fabric->conns)) {
        struct pawl_list *node = pawl_list_first(&pair.a.fabric->conns);
        fabric_conn_close(pawl_container_of(node, struct fabric_conn, link), 0);
    }
    poll_until(&pair, pawl_list_is_empty(&pair.b.fabric->conns) &&
                          pawl_list_is_empty(&pair.b.fabric->closing) &&
                          pawl_list_is_empty(&pair.b.fabric->closed));
    assert_int_equal(pair.b.fabric->spares_count, FABRIC_SPARES_MAX); // and no more
    uint32_t regions = regions_count(pair.b.fabric);
    assert_int_equal(regions, pair.b.fabric->needs_local ? FABRIC_SPARES_MAX : 0);
    pair_connect(&pair);
    assert_int_equal(pair.b.fabric->spares_count, FABRIC_SPARES_MAX - 1);
    assert_int_equal(regions_count(pair.b.fabric), regions);
    for (uint64_t n = 0; n < 100; n++) { // each receive of it several times
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
        poll_until(&pair, pair.b.messages == n + 1);
        assert_memory_equal(pair.b.message, &n, sizeof(n));
    }
    pair_close(&pair);
}

// Over a device a read of no bytes asks the peer's host; over tcp the sockets do it, and here nothing is
// sent. Either way the connection lives, and the peer's process is not told.
static void test_idle_when_the_peer_is_frozen_then_the_connection_stays(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    pair.b.is_off = true;
    for (int i = 0; i < 5; i++) {
        pair_advance_ms(&pair, FABRIC_IDLE_MS_DEFAULT);
        pair_poll(&pair);
        poll_until(&pair, pair.a.conn->ops_count == 0);
        if (strcmp(pair.provider, "tcp") != 0) {
            poll_until(&pair,
                       pair.a.conn->heard_ns == pair.now_ns); // it was asked, and has answered
        }
    }
    assert_int_equal(pair.a.closed + (int)pair.a.done, 0);
    pair.b.is_off = false;
    assert_int_equal(fabric_send(pair.a.conn, "still", 5), 0);
    poll_until(&pair, pair.b.messages == 1);
    assert_int_equal(pair.b.closed, 0);
    pair_close(&pair);
}

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    pair_take_environment();
    const struct CMUnitTest tests[] = {
        both(test_wait_when_a_message_comes_then_the_sleeper_wakes),
        both(test_wait_when_a_peer_connects_then_the_sleeper_wakes),
        both(test_wait_when_nothing_happens_then_it_may_sleep),
        both(test_connect_when_the_host_is_silent_then_nothing_waits_for_it),
        both(test_receives_when_connections_go_then_the_next_ones_take_their_memory),
        both(test_idle_when_the_peer_is_frozen_then_the_connection_stays),
        both(test_reconnect_when_repeated_then_nothing_is_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
