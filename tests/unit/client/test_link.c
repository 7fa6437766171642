// SPDX-License-Identifier: Apache-2.0
// Tests of client/link.c: greetings, credits, order, deadlines, answers that were not asked for.
#include "links.h"

#include "proto/reactor.h"

#define SHORT_MS 1000u

static int set_up(void **state)
{
    *state = place_open(true); // and one link is up
    return 0;
}

static struct link_request inspect(struct call *call, uint32_t deadline_ms)
{
    struct link_request request = {.done = call_done, .user = call};
    request.message.inspect.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = 101;
    request.deadline_ns = client_deadline_ns(NULL, deadline_ms);
    return request;
}

static void test_submit_when_the_address_is_unknown_then_edisconnected(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    struct link_request request = inspect(&call, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0x1234, &request), PAWL_EDISCONNECTED);
    assert_int_equal(call.calls, 0);
}

static void test_submit_when_it_is_answered_then_done_comes_later_and_once(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    struct link_request request = inspect(&call, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa2, &request), 0);
    assert_int_equal(call.calls, 0);
    turn_until(place, &call);
    assert_int_equal(call.status, 0);
    assert_int_equal(call.reply_status, 0);
}

static void test_submit_when_slots_run_out_then_requests_wait_in_order(void **state)
{
    struct place *place = *state;
    static unsigned char data[1u << 20];
    struct call calls[8] = {0};
    unsigned order = 0;
    for (unsigned i = 0; i < 8; i++) { // windows full, then small ones behind them
        uint32_t bytes = i % 2 == 0 ? 700000 : 10;
        struct link_request request = append_request(&calls[i], data, bytes, i + 1, LONG_MS);
        calls[i].order = &order;
        assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    }
    turn_until(place, &calls[7]);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(calls[i].calls, 1);
        assert_int_equal(calls[i].reply_status, 0); // a gap would have been PAWL_EEXPECT
        assert_int_equal(calls[i].at, i);
    }
}

static void test_submit_when_credits_run_out_then_requests_wait(void **state)
{
    struct place *place = *state;
    struct call calls[100] = {0}; // 32 may be unanswered
    for (unsigned i = 0; i < 100; i++) {
        struct link_request request = inspect(&calls[i], LONG_MS);
        assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        turn_until(place, &calls[i]);
        assert_int_equal(calls[i].reply_status, 0);
    }
}

static void test_cancel_when_a_request_waits_then_it_ends_and_others_go_on(void **state)
{
    struct place *place = *state;
    static unsigned char data[1u << 20];
    struct call first = {0};
    struct call second = {0};
    struct call third = {0};
    struct link_request request = append_request(&first, data, 10, 1, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    request = append_request(&second, data, 1u << 20, 2, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    request = inspect(&third, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    link_cancel(place->pawl, &second);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.status, PAWL_ESHUTDOWN);
    turn_until(place, &first);
    turn_until(place, &third);
    assert_int_equal(second.calls, 1);
    assert_int_equal(cluster_bytes(&place->cluster), 1010);
}

static void test_request_when_it_is_not_answered_then_its_link_goes_and_all_on_it(void **state)
{
    struct place *place = *state;
    struct call hasty = {0};
    struct call patient = {0};
    struct call next = {0};
    cluster_set(&place->cluster, servers[0].faults.mute_left, 2);
    struct link_request request = inspect(&patient, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    request = inspect(&hasty, SHORT_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    turn_until(place, &hasty);
    turn_until(place, &patient);
    assert_int_equal(hasty.status, PAWL_EDISCONNECTED);
    assert_int_equal(patient.status, PAWL_EDISCONNECTED);
    assert_false(link_exists(place->pawl, 0xa1));
    request = inspect(&next, LONG_MS);
    assert_int_equal(link_submit(place->pawl, 0xa1, &request), 0);
    turn_until(place, &next); // on a new link
    assert_int_equal(next.reply_status, 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 2);
}

static void refused(struct place *place, uint32_t deadline_ms, int wanted)
{
    struct call call = {0};
    struct link_request request = inspect(&call, deadline_ms);
    assert_int_equal(link_submit(place->pawl, 0xa2, &request), 0);
    turn_until(place, &call);
    assert_int_equal(call.status, wanted);
    assert_false(link_exists(place->pawl, 0xa2));
}

static void test_greeting_when_it_is_refused_then_requests_end(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[1].faults.refuse, PAWL_ECLUSTER);
    refused(place, LONG_MS, PAWL_EDISCONNECTED);
    cluster_set(&place->cluster, servers[1].faults.refuse, PAWL_EBUSY);
    refused(place, LONG_MS, PAWL_EBUSY);
    cluster_set(&place->cluster, servers[1].faults.refuse, 0);
    cluster_set(&place->cluster, servers[1].faults.wrong_id, true);
    refused(place, LONG_MS, PAWL_EDISCONNECTED);
    cluster_set(&place->cluster, servers[1].faults.wrong_id, false);
    cluster_set(&place->cluster, servers[1].faults.no_welcome, true);
    refused(place, SHORT_MS, PAWL_EDISCONNECTED);
    cluster_set(&place->cluster, servers[1].faults.frozen, true);
    refused(place, SHORT_MS, PAWL_EDISCONNECTED);
}

static void test_reply_when_nothing_was_asked_then_the_link_goes(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[1].faults.unasked, true);
    refused(place, LONG_MS, PAWL_EDISCONNECTED);
    cluster_set(&place->cluster, servers[1].faults.unasked, false);
    cluster_set(&place->cluster, servers[1].faults.garbage, true);
    refused(place, LONG_MS, PAWL_EDISCONNECTED);
}

// An append that waits while its server has no window to give goes on when it has one.
static void test_append_when_the_server_is_busy_for_a_while_then_it_is_stored(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, servers[0].faults.refuse, PAWL_EBUSY);
    link_close(place->pawl, 0xa1, PAWL_EDEADLINE); // the link of the set-up
    while (link_exists(place->pawl, 0xa1)) {
        client_turn(place->pawl, UINT64_MAX);
    }
    struct pawl_append_options hasty = {.size = sizeof hasty, .deadline_ms = SHORT_MS};
    struct pawl_append_result result;
    int code = pawl_append(place->file, "x", 1, &hasty, &result);
    assert_true(code == PAWL_EDEADLINE || code == PAWL_EUNKNOWN);
    cluster_set(&place->cluster, servers[0].faults.refuse, 0);
    assert_int_equal(pawl_append(place->file, "x", 1,
                                 &(struct pawl_append_options){
                                     .size = sizeof hasty, .sequence = 1, .deadline_ms = LONG_MS},
                                 &result),
                     0);
    assert_int_equal(cluster_bytes(&place->cluster), 1001);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, place_tear_down)

// ---- servers of several reactors ----------------------------------------------------------------

static void learn(struct pawl *pawl, uint64_t server_id, const char *addresses)
{
    Pawl__Member member = PAWL__MEMBER__INIT;
    member.server_id = server_id;
    member.name = (char *)(uintptr_t) "many";
    member.fabric_address = (char *)(uintptr_t)addresses;
    client_learn(pawl, &member);
}

static void test_place_when_a_server_has_reactors_leads_to_the_one_of_the_chunk(void **state)
{
    struct pawl *pawl = ((struct place *)*state)->pawl;
    learn(pawl, 0x77, "tcp://10.0.0.1:7500-7503,fake://4000-4003");
    unsigned seen = 0;
    for (uint64_t handle = 1; handle < 100; handle++) {
        uint64_t place = client_place(pawl, 0x77, handle);
        struct client_address address;
        assert_int_equal(client_address(pawl, place, &address), 0);
        assert_int_equal(address.server_id, 0x77);
        assert_int_equal(address.reactor, reactor_of(handle, 4));
        assert_int_equal(address.reactors_count, 4);
        char wanted[32];
        snprintf(wanted, sizeof wanted, "fake://%u", 4000 + address.reactor);
        assert_string_equal(address.text, wanted);
        assert_true(client_place_server(pawl, place) == 0x77);
        seen |= 1u << address.reactor;
    }
    assert_int_equal(seen, 15);
}

static void test_place_when_a_server_has_one_reactor_is_the_server(void **state)
{
    struct pawl *pawl = ((struct place *)*state)->pawl;
    learn(pawl, 0x78, "fake://5000");
    struct client_address address;
    assert_true(client_place(pawl, 0x78, 5) == 0x78);
    assert_int_equal(client_address(pawl, 0x78, &address), 0);
    assert_string_equal(address.text, "fake://5000");
    assert_int_equal(address.reactors_count, 1);
    assert_true(client_place(pawl, 0x79, 5) == 0x79); // not known
    assert_int_equal(client_address(pawl, 0x79, &address), PAWL_EDISCONNECTED);
    learn(pawl, 0x7a, "tcp://10.0.0.1:7500-7503"); // none for this client
    assert_true(client_place(pawl, 0x7a, 5) == 0x7a);
    assert_int_equal(client_address(pawl, 0x7a, &address), PAWL_EPROVIDER);
}

// Of two connections to one server, the end of one leaves the other and what was sent on it alone.
static void test_place_when_one_of_two_reactors_is_refused_the_other_goes_on(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = place->pawl;
    struct link *up = pawl_container_of(pawl_list_first(&pawl->links), struct link, node);
    uint64_t server_id = up->server_id;
    struct cluster_server *server = &place->cluster.servers[(server_id & 0xf) - 1];
    unsigned number =
        (unsigned)strtoul(fabric_address(server->fabric) + strlen("fake://"), NULL, 10);
    char range[PAWL_ADDRESS_BYTES_MAX];
    // This server plays reactor 0 and nobody reactor 1.
    snprintf(range, sizeof range, "fake://%u-%u", number, number + 50);
    learn(pawl, server_id, range);
    uint64_t here = 1;
    uint64_t nowhere = 1;
    while (reactor_of(here, 51) != 0) {
        here++;
    }
    while (reactor_of(nowhere, 51) != 50) {
        nowhere++;
    }
    assert_true(client_place(pawl, server_id, here) == server_id);
    assert_true(link_exists(pawl, server_id));
    struct call lost = {0};
    struct link_request request = inspect(&lost, LONG_MS);
    uint64_t there = client_place(pawl, server_id, nowhere);
    assert_int_equal(link_submit(pawl, there, &request), 0);
    while (lost.calls == 0) {
        client_turn(pawl, client_deadline_ns(pawl, 0));
    }
    assert_int_equal(lost.status, PAWL_EDISCONNECTED);
    assert_false(link_exists(pawl, there));
    assert_true(link_exists(pawl, server_id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_place_when_a_server_has_reactors_leads_to_the_one_of_the_chunk),
        TEST(test_place_when_a_server_has_one_reactor_is_the_server),
        TEST(test_place_when_one_of_two_reactors_is_refused_the_other_goes_on),
        TEST(test_submit_when_the_address_is_unknown_then_edisconnected),
        TEST(test_submit_when_it_is_answered_then_done_comes_later_and_once),
        TEST(test_submit_when_slots_run_out_then_requests_wait_in_order),
        TEST(test_submit_when_credits_run_out_then_requests_wait),
        TEST(test_cancel_when_a_request_waits_then_it_ends_and_others_go_on),
        TEST(test_request_when_it_is_not_answered_then_its_link_goes_and_all_on_it),
        TEST(test_greeting_when_it_is_refused_then_requests_end),
        TEST(test_reply_when_nothing_was_asked_then_the_link_goes),
        TEST(test_append_when_the_server_is_busy_for_a_while_then_it_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
