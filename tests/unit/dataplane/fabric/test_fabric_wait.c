// SPDX-License-Identifier: Apache-2.0
// Sleeping on the fabric's descriptors, and what is left when connections come and go.
#include "fabric_pair.h"

#include <malloc.h>
#include <poll.h>
#include <unistd.h>

#include "base/log.h"

static void side_sleep(struct side *side)
{
    int fds[FABRIC_FDS_MAX];
    struct pollfd polls[FABRIC_FDS_MAX];
    if (fabric_try_wait(side->fabric) != 0) {
        return;
    }
    int count = fabric_wait_fds(side->fabric, fds);
    assert_in_range(count, 1, FABRIC_FDS_MAX);
    for (int i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    // Longer than any wait here: a lost wake-up fails the test.
    assert_true(poll(polls, (nfds_t)count, 20000) > 0);
}

static void test_wait_when_a_message_comes_then_the_sleeper_wakes(void **state)
{
    struct pair pair;
    pair_open(&pair, provider_of(state), NULL);
    pair_connect(&pair);
    for (uint64_t n = 0; n < 200; n++) {
        assert_int_equal(fabric_send(pair.a.conn, &n, sizeof(n)), 0);
        while (pair.b.messages == n) {
            side_sleep(&pair.b);
            side_poll(&pair.b, pair.now_ns);
        }
        assert_int_equal(fabric_send(pair.b.conn, &n, sizeof(n)), 0);
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

int main(void)
{
    pawl_log_init(PAWL_LOG_ERROR, STDERR_FILENO);
    const struct CMUnitTest tests[] = {
        both(test_wait_when_a_message_comes_then_the_sleeper_wakes),
        both(test_wait_when_a_peer_connects_then_the_sleeper_wakes),
        both(test_wait_when_nothing_happens_then_it_may_sleep),
        both(test_reconnect_when_repeated_then_nothing_is_left_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
