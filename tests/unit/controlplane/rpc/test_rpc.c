// SPDX-License-Identifier: Apache-2.0
// Tests of calls and connections between two well-behaved sides.
#include "rig.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static void test_call_when_answered_gives_the_reply(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    assert_non_null(strstr(rpc_conn_peer(conn), "127.0.0.1:"));
    assert_string_equal(rpc_conn_peer(conn), rpc_server_address(rig.server));
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ended == 1);
    assert_int_equal(calls.ok, 1);
    assert_int_equal(calls.last_code, strlen("/a/path"));
    rig_stop(&rig);
}

static void test_call_when_a_thousand_are_pipelined_answers_each_once(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig.server_side.hold = true;
    for (int i = 0; i < 1000; i++) {
        rig_call(conn, &calls, 0);
    }
    rig_run_until(&rig, rig.server_side.held_count == 1000);
    // Answered in the opposite order.
    for (int i = 999; i >= 0; i--) {
        Pawl__Reply reply = PAWL__REPLY__INIT;
        reply.code = i;
        rpc_server_reply(rig.server, rig.server_side.held[i].conn_id,
                         rig.server_side.held[i].request_id, &reply);
    }
    rig_run_until(&rig, calls.ended == 1000);
    assert_int_equal(calls.ok, 1000);
    assert_int_equal(calls.last_code, 0); // the first request's answer came last
    rig_stop(&rig);
}

static void test_call_when_deadline_passes_ends_and_a_late_reply_is_ignored(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls slow = {0}, fast = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig.server_side.hold = true;
    rig_call(conn, &slow, 60000); // the earlier deadline is not that of the earlier call
    rig_call(conn, &fast, 10);
    rig_run_until(&rig, fast.ended == 1);
    assert_int_equal(fast.deadline, 1);
    assert_int_equal(slow.ended, 0);
    rig_run_until(&rig, rig.server_side.held_count == 2);
    for (int i = 1; i >= 0; i--) {
        rpc_reply_code(rig.server_side.conn, rig.server_side.held[i].request_id, 7, NULL);
    }
    rig_run_until(&rig, slow.ended == 1);
    assert_int_equal(slow.last_code, 7);
    assert_int_equal(fast.ended, 1);
    assert_true(rpc_conn_is_open(conn));
    rig_stop(&rig);
}

static void test_close_when_calls_are_pending_ends_them_before_on_close(void **state)
{
    (void)state;
    for (int by_server = 0; by_server < 2; by_server++) {
        struct rig rig;
        struct rig_calls calls = {0};
        rig_start(&rig, NULL);
        struct rpc_conn *conn = rig_connect(&rig, NULL);
        rig.server_side.hold = true;
        for (int i = 0; i < 100; i++) {
            rig_call(conn, &calls, 0);
        }
        rig_run_until(&rig, rig.server_side.held_count == 100);
        rpc_conn_close(by_server ? rig.server_side.conn : conn, PAWL_ECLUSTER);
        assert_int_equal(calls.ended, 0);
        rig_run_until(&rig, rig.client_side.closed == 1 && rig.server_side.closed == 1);
        assert_int_equal(calls.disconnected, 100);
        assert_int_equal(rig.client_side.why, by_server ? PAWL_EDISCONNECTED : PAWL_ECLUSTER);
        assert_int_equal(rig.server_side.why, by_server ? PAWL_ECLUSTER : PAWL_EDISCONNECTED);
        // Replying now has no effect.
        Pawl__Reply reply = PAWL__REPLY__INIT;
        rpc_server_reply(rig.server, rig.server_side.held[0].conn_id,
                         rig.server_side.held[0].request_id, &reply);
        rig_stop(&rig);
    }
}

static void test_call_when_closed_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rpc_conn_close(conn, 0);
    rpc_conn_close(conn, PAWL_EINTERNAL); // the first one counts
    assert_int_equal(rig_try_call(conn, &calls, "/"), PAWL_EDISCONNECTED);
    rig_run_until(&rig, rig.client_side.closed == 1);
    assert_int_equal(rig.client_side.why, 0);
    assert_int_equal(calls.ended, 0);
    rig_stop(&rig);
}

static void test_call_when_both_sides_ask_answers_both(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls from_client = {0}, from_server = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig_run_until(&rig, rig.server_side.conn != NULL);
    for (int i = 0; i < 100; i++) {
        rig_call(conn, &from_client, 0);
        rig_call(rig.server_side.conn, &from_server, 0);
    }
    rig_run_until(&rig, from_client.ended == 100 && from_server.ended == 100);
    assert_int_equal(from_client.ok + from_server.ok, 200);
    assert_int_equal(rig.client_side.requests, 100);
    rig_stop(&rig);
}

static void test_call_when_messages_are_large_passes_them_whole(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    size_t bytes = (16u << 20) - 1000;
    char *path = malloc(bytes + 1);
    memset(path, 'p', bytes);
    path[bytes] = '\0';
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    assert_int_equal(rig_try_call(conn, &calls, path), 0);
    rig_run_until(&rig, calls.ended == 1);
    assert_int_equal(calls.last_code, bytes);
    char *longer = realloc(path, bytes + 2001);
    memset(longer, 'p', bytes + 2000);
    longer[bytes + 2000] = '\0';
    assert_int_equal(rig_try_call(conn, &calls, longer), PAWL_ETOOLARGE);
    free(longer);
    rig_stop(&rig);
}

static void test_reply_when_too_large_becomes_an_error_reply(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    const struct rpc_options options = {.size = sizeof(options), .frame_bytes_max = 4096};
    rig_start(&rig, &options);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig.server_side.reply_text_bytes = 5000;
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ended == 1);
    assert_int_equal(calls.last_code, PAWL_ETOOLARGE);
    rig.server_side.reply_text_bytes = 4000;
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ended == 2);
    assert_int_equal(calls.last_bytes, 4000);
    rig_stop(&rig);
}

static void test_call_when_queue_is_full_says_again(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    const struct rpc_options options = {.size = sizeof(options), .queue_bytes_max = 10000};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, &options);
    int made = 0, rc;
    while ((rc = rig_try_call(conn, &calls, "/a/path")) == 0) {
        made++;
    }
    assert_int_equal(rc, -EAGAIN);
    assert_in_range(made, 100, 10000 / 32);
    rig_run_until(&rig, calls.ended == made);
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ended == made + 1);
    assert_int_equal(calls.ok, made + 1);
    rig_stop(&rig);
}

static void test_call_when_too_many_are_pending_says_again(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    const struct rpc_options options = {.size = sizeof(options), .requests_count_max = 3};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, &options);
    for (int i = 0; i < 3; i++) {
        rig_call(conn, &calls, 0);
    }
    assert_int_equal(rig_try_call(conn, &calls, "/"), -EAGAIN);
    rig_run_until(&rig, calls.ended == 3);
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ended == 4);
    rig_stop(&rig);
}

static void test_connect_when_nobody_listens_fails_by_on_close(void **state)
{
    (void)state;
    struct rig rig;
    struct rpc_conn *conn;
    rig_start(&rig, NULL);
    struct rpc_options options = {.size = sizeof(options), .port = 1};
    assert_int_equal(rpc_connect(&rig.loop, &options, &rig_handlers, &rig.client_side, &conn), 0);
    assert_int_equal(rig.client_side.closed, 0);
    rig_run_until(&rig, rig.client_side.closed == 1);
    assert_int_equal(rig.client_side.why, -ECONNREFUSED);
    assert_int_equal(rig.client_side.opened, 0);
    // Closed before it could fail or succeed.
    assert_int_equal(rpc_connect(&rig.loop, &options, &rig_handlers, &rig.client_side, &conn), 0);
    rpc_conn_close(conn, PAWL_ESHUTDOWN);
    rig_run_until(&rig, rig.client_side.closed == 2);
    assert_int_equal(rig.client_side.why, PAWL_ESHUTDOWN);
    rig_stop(&rig);
}

static void test_connect_when_peer_never_answers_ends_by_deadline(void **state)
{
    (void)state;
    struct rig rig;
    struct rpc_conn *conn;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fds[4];
    rig_start(&rig, NULL);
    // A listener whose backlog is full drops further connections.
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&address, &length), 0);
    for (int i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fds[i], (struct sockaddr *)&address, length);
    }
    struct rpc_options options = {
        .size = sizeof(options), .port = ntohs(address.sin_port), .connect_ms = 20};
    assert_int_equal(rpc_connect(&rig.loop, &options, &rig_handlers, &rig.client_side, &conn), 0);
    rig_run_until(&rig, rig.client_side.closed == 1);
    assert_int_equal(rig.client_side.why, PAWL_EDEADLINE);
    for (int i = 0; i < 4; i++) {
        close(fds[i]);
    }
    rig_stop(&rig);
}

static void test_connect_when_given_a_name_resolves_it(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &found) != 0) {
        skip(); // a system without /etc/hosts
    }
    freeaddrinfo(found);
    const struct rpc_options options = {.size = sizeof(options), .host = "localhost"};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, &options);
    rig_call(conn, &calls, 0);
    rig_run_until(&rig, calls.ok == 1);
    // Closed while the name is being looked up.
    struct rpc_options other = options;
    other.port = 9;
    assert_int_equal(rpc_connect(&rig.loop, &other, &rig_handlers, &rig.client_side, &conn), 0);
    rpc_conn_close(conn, 0);
    rig_run_until(&rig, rig.client_side.closed == 1);
    rig_stop(&rig);
}

static void test_server_close_when_replies_are_queued_writes_them_first(void **state)
{
    (void)state;
    struct rig rig;
    struct rig_calls calls = {0};
    rig_start(&rig, NULL);
    struct rpc_conn *conn = rig_connect(&rig, NULL);
    rig.server_side.hold = true;
    for (int i = 0; i < 50; i++) {
        rig_call(conn, &calls, 0);
    }
    rig_run_until(&rig, rig.server_side.held_count == 50);
    for (int i = 0; i < 50; i++) {
        rpc_reply_code(rig.server_side.conn, rig.server_side.held[i].request_id, 1, NULL);
    }
    rig.client_side.conn = NULL; // closed by the server
    rig_stop(&rig);
    assert_int_equal(calls.ok, 50);
    assert_int_equal(rig.server_side.why, PAWL_ESHUTDOWN);
    assert_int_equal(rig.client_side.closed, 1);
}

static void test_server_open_when_port_is_taken_fails(void **state)
{
    (void)state;
    struct rig rig;
    struct rpc_server *second = NULL;
    rig_start(&rig, NULL);
    struct rpc_options options = {.size = sizeof(options), .port = rpc_server_port(rig.server)};
    assert_int_equal(rpc_server_open(&rig.loop, &options, &rig_handlers, &rig.server_side, &second),
                     -EADDRINUSE);
    assert_null(second);
    rig_stop(&rig);
}

static void test_address_parse_when_given_forms_takes_the_right_ones(void **state)
{
    (void)state;
    char host[64];
    uint16_t port;
    assert_int_equal(rpc_address_parse("127.0.0.1:0", host, sizeof(host), &port), 0);
    assert_string_equal(host, "127.0.0.1");
    assert_int_equal(port, 0);
    assert_int_equal(rpc_address_parse("[::1]:65535", host, sizeof(host), &port), 0);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 65535);
    static const char *const wrong[] = {
        "",     ":",    "a",     "a:",     ":1",   "a:65536",
        "a:-1", "a:1 ", "::1:5", "[::1:5", "[]:1", "a:99999999999999999999"};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        assert_int_equal(rpc_address_parse(wrong[i], host, sizeof(host), &port), PAWL_EINVALID);
    }
    assert_int_equal(rpc_address_parse("abcd:1", host, 4, &port), PAWL_EINVALID);
    assert_int_equal(rpc_address_parse("abc:1", host, 4, &port), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_when_answered_gives_the_reply),
        cmocka_unit_test(test_call_when_a_thousand_are_pipelined_answers_each_once),
        cmocka_unit_test(test_call_when_deadline_passes_ends_and_a_late_reply_is_ignored),
        cmocka_unit_test(test_close_when_calls_are_pending_ends_them_before_on_close),
        cmocka_unit_test(test_call_when_closed_is_refused),
        cmocka_unit_test(test_call_when_both_sides_ask_answers_both),
        cmocka_unit_test(test_call_when_messages_are_large_passes_them_whole),
        cmocka_unit_test(test_reply_when_too_large_becomes_an_error_reply),
        cmocka_unit_test(test_call_when_queue_is_full_says_again),
        cmocka_unit_test(test_call_when_too_many_are_pending_says_again),
        cmocka_unit_test(test_connect_when_nobody_listens_fails_by_on_close),
        cmocka_unit_test(test_connect_when_peer_never_answers_ends_by_deadline),
        cmocka_unit_test(test_connect_when_given_a_name_resolves_it),
        cmocka_unit_test(test_server_close_when_replies_are_queued_writes_them_first),
        cmocka_unit_test(test_server_open_when_port_is_taken_fails),
        cmocka_unit_test(test_address_parse_when_given_forms_takes_the_right_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
