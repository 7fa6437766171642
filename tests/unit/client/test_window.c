// SPDX-License-Identifier: Apache-2.0
// Tests of client/window.c: asked for when a payload needs one, given back, larger ones, and servers that do it wrong.
#include "links.h"

#include "base/clock.h"

#define SERVER 0xa1u
#define SLOT WIRE_SLOT_BYTES
#define ONE_SLOT 10000u // bytes: too many for a message

static unsigned char data[8 * SLOT]; // a chunk has twice as many

static int set_up(void **state)
{
    *state = place_open(false);
    return 0;
}

static void append(struct place *place, struct call *call, uint32_t bytes, uint64_t sequence,
                   uint32_t deadline_ms)
{
    struct link_request request = append_request(call, data, bytes, sequence, deadline_ms);
    assert_int_equal(link_submit(place->pawl, SERVER, &request), 0);
}

static struct link *link_of(struct place *place)
{
    pawl_list_for_each (node, &place->pawl->links) {
        struct link *link = pawl_container_of(node, struct link, node);
        if (link->place == SERVER) {
            return link;
        }
    }
    fail_msg("no link");
    return NULL;
}

static unsigned windows_count(struct place *place)
{
    return cluster_get(&place->cluster, &place->cluster.servers[0].windows_count);
}

struct outcome {
    unsigned calls;
    int status;
};

static void on_outcome(void *user, const struct pawl_append_result *result)
{
    struct outcome *outcome = user;
    outcome->calls++;
    outcome->status = result->status;
}

static void submit(struct place *place, struct outcome *outcome, size_t bytes)
{
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = 500};
    assert_int_equal(pawl_append_submit(place->file, data, bytes, &options, on_outcome, outcome),
                     0);
}

static void test_append_when_it_is_small_then_no_window_is_asked_for(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    append(place, &call, 100, 1, LONG_MS);
    turn_until(place, &call);
    assert_int_equal(call.reply_status, 0);
    assert_int_equal(windows_count(place), 0);
}

static void
test_append_when_there_is_no_window_then_it_waits_for_one_and_others_behind_it(void **state)
{
    struct place *place = *state;
    struct call calls[6] = {0};
    for (unsigned i = 0; i < 6; i++) {
        append(place, &calls[i], i % 2 == 0 ? 2 * SLOT + 1 : 100, i + 1, LONG_MS);
    }
    turn_until(place, &calls[5]);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(calls[i].calls, 1);
        assert_int_equal(calls[i].reply_status, 0); // a gap would have been PAWL_EEXPECT
    }
    assert_int_equal(windows_count(place), 1);
    assert_int_equal(link_of(place)->slots_used, 0);
}

static void test_append_when_the_window_is_too_small_then_a_larger_one_is_asked_for(void **state)
{
    struct place *place = *state;
    struct call calls[3] = {0};
    append(place, &calls[0], ONE_SLOT, 1, LONG_MS);
    turn_until(place, &calls[0]);
    link_of(place)->window_slots = 4; // as if that was all that there was
    append(place, &calls[1], 4 * SLOT, 2, LONG_MS);
    append(place, &calls[2], 8 * SLOT, 3, LONG_MS); // behind what is still in the first one
    turn_until(place, &calls[2]);
    assert_int_equal(calls[1].reply_status, 0);
    assert_int_equal(calls[2].reply_status, 0);
    assert_int_equal(windows_count(place), 2);
}

static void test_append_when_others_wait_then_the_window_goes_and_comes_again(void **state)
{
    struct place *place = *state;
    struct call calls[6] = {0};
    cluster_set(&place->cluster, servers[0].faults.scarce, true);
    for (unsigned i = 0; i < 6; i++) {
        append(place, &calls[i], 2 * SLOT + 1, i + 1, LONG_MS); // five of them at a time
    }
    turn_until(place, &calls[5]);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(calls[i].reply_status, 0);
    }
    assert_int_equal(windows_count(place), 2);
    // Nothing waits: it goes, and no other one is asked for.
    while (link_of(place)->window_slots > 0 || link_of(place)->window_request != 0) {
        client_turn(place->pawl, UINT64_MAX);
    }
    assert_int_equal(windows_count(place), 2);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].returns_count), 1);
}

static void test_window_when_the_server_asks_for_it_then_it_goes_back(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    cluster_set(&place->cluster, servers[0].faults.recall, true);
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    turn_until(place, &call);
    assert_int_equal(call.reply_status, 0);
    while (link_of(place)->window_slots > 0 || link_of(place)->window_request != 0) {
        client_turn(place->pawl, UINT64_MAX);
    }
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].returns_count), 1);
}

static void test_window_when_it_is_not_used_then_it_goes_back_after_a_while(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    turn_until(place, &call);
    struct link *link = link_of(place);
    uint64_t wake_ns = window_wake_ns(link);
    assert_int_equal(window_turn(link, wake_ns - 1), 0);
    assert_true(link->window_slots > 0);
    assert_int_equal(window_turn(link, wake_ns), 0);
    assert_int_equal(link->window_slots, 0);
    assert_int_equal(window_wake_ns(link), UINT64_MAX);
    struct call next = {0};
    append(place, &next, ONE_SLOT, 2, LONG_MS); // while it is on its way back
    turn_until(place, &next);
    assert_int_equal(next.reply_status, 0);
    assert_int_equal(windows_count(place), 2);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].returns_count), 1);
}

static void test_window_when_only_other_requests_are_answered_then_it_counts_as_unused(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    turn_until(place, &call);
    uint64_t wake_ns = window_wake_ns(link_of(place));
    struct call small = {0};
    append(place, &small, 100, 2, LONG_MS);
    turn_until(place, &small);
    assert_int_equal(window_wake_ns(link_of(place)), wake_ns);
}

static void
test_window_when_it_is_full_and_small_for_long_then_a_larger_one_is_asked_for(void **state)
{
    struct place *place = *state;
    struct call calls[4] = {0};
    append(place, &calls[0], ONE_SLOT, 1, LONG_MS);
    turn_until(place, &calls[0]);
    link_of(place)->window_slots = 4;
    link_of(place)->window_granted_ns -= 2000 * PAWL_NS_PER_MS;
    for (unsigned i = 1; i < 4; i++) {
        append(place, &calls[i], 3 * SLOT, i + 1, LONG_MS);
    }
    turn_until(place, &calls[3]);
    assert_int_equal(windows_count(place), 2);
    assert_int_equal(link_of(place)->window_slots, CLUSTER_SLOTS_MAX);
}

static void test_window_when_it_does_not_come_then_the_append_ends_at_its_deadline(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    cluster_set(&place->cluster, servers[0].faults.window_hold, true);
    append(place, &call, ONE_SLOT, 1, 100);
    turn_until(place, &call);
    assert_int_equal(call.status, PAWL_EDISCONNECTED);
}

// Neither the place in the line nor the connection is lost.
static void
test_append_when_the_line_is_long_then_it_is_put_off_and_the_window_still_asked_for(void **state)
{
    struct place *place = *state;
    struct call calls[2] = {0};
    cluster_set(&place->cluster, servers[0].faults.window_hold, true);
    for (unsigned i = 0; i < 2; i++) {
        append(place, &calls[i], ONE_SLOT, 1, LONG_MS);
        while (windows_count(place) == 0) {
            client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
        }
        assert_int_equal(calls[i].calls, 0);
        while (link_of(place)->window_put_off_ns == 0) {
            client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
        }
        link_of(place)->window_put_off_ns = 1; // long ago
        turn_until(place, &calls[i]);
        assert_int_equal(calls[i].status, PAWL_EBUSY);
    }
    assert_int_equal(link_of(place)->state, LINK_READY);
    assert_int_not_equal(link_of(place)->window_request, 0);
    assert_int_equal(windows_count(place), 1);
}

// Wherever that was.
static void test_window_when_it_is_asked_for_then_the_server_hears_how_long_was_waited(void **state)
{
    struct place *place = *state;
    struct call call = {.use.window_since_ns = pawl_clock_ns() - 3000 * PAWL_NS_PER_MS};
    struct call next = {0};
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    turn_until(place, &call);
    assert_true(cluster_get(&place->cluster, &place->cluster.servers[0].waited_ms) >= 3000);
    append(place, &next, 2 * SLOT, 2, LONG_MS);
    turn_until(place, &next);
    assert_int_equal(next.use.window_since_ns, 0); // there was one that served
}

static void test_window_when_the_server_says_nothing_for_long_then_the_link_goes(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    cluster_set(&place->cluster, servers[0].faults.window_hold, true);
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    while (windows_count(place) == 0) {
        client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
    }
    struct wire_header told = {.type = WIRE_WINDOW | WIRE_REPLY};
    link_of(place)->window_told_ns = 0;
    window_reply(link_of(place), &told); // it has said that it waits
    client_turn(place->pawl, pawl_clock_ns());
    assert_int_equal(call.calls, 0);
    link_of(place)->window_told_ns = 0;
    turn_until(place, &call);
    assert_int_equal(call.status, PAWL_EDISCONNECTED);
}

// What it was asked for may be put off just now.
static void test_window_when_others_want_it_and_it_is_fresh_then_it_stays_for_a_while(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    append(place, &call, ONE_SLOT, 1, LONG_MS);
    turn_until(place, &call);
    struct link *link = link_of(place);
    assert_false(link->window_fresh);
    link->window_fresh = true; // as if nobody had used it
    link->window_yields = true;
    link->window_paused_ns = pawl_clock_ns();
    uint64_t wake_ns = window_wake_ns(link);
    assert_true(wake_ns > link->window_paused_ns);
    assert_int_equal(window_turn(link, wake_ns - 1), 0);
    assert_true(link->window_slots > 0);
    uint64_t since_ns = 0;
    assert_int_equal(window_serves(link, 1, &since_ns), 0); // for what comes again in time
    assert_int_equal(since_ns, 0);
    assert_int_equal(window_turn(link, wake_ns), 0);
    assert_int_equal(link->window_slots, 0);
    assert_int_equal(window_serves(link, 1, &since_ns), -EAGAIN);
    assert_int_not_equal(since_ns, 0);
}

// A question behind it that can't leave is no reason to end what waits.
static void test_question_when_an_append_before_it_waits_too_long_then_it_ends_alone(void **state)
{
    struct place *place = *state;
    static struct call waiting; // it ends when the client does
    struct call question = {0};
    memset(&waiting, 0, sizeof waiting);
    cluster_set(&place->cluster, servers[0].faults.window_hold, true);
    append(place, &waiting, ONE_SLOT, 1, LONG_MS);
    struct link_request request = {
        .done = call_done, .user = &question, .deadline_ns = client_deadline_ns(NULL, 100)};
    request.message.header.type = WIRE_INSPECT;
    request.message.inspect.chunk = 101;
    assert_int_equal(link_submit(place->pawl, SERVER, &request), 0);
    turn_until(place, &question);
    assert_int_equal(question.status, PAWL_EBUSY);
    assert_int_equal(question.reply_status, 1);
    assert_int_equal(waiting.calls, 0);
    assert_int_equal(link_of(place)->state, LINK_READY);
    assert_int_equal(windows_count(place), 1);
}

static void test_window_when_it_is_smaller_than_needed_then_the_link_goes(void **state)
{
    struct place *place = *state;
    struct call call = {0};
    cluster_set(&place->cluster, servers[0].faults.window_small, true);
    append(place, &call, 2 * SLOT, 1, LONG_MS);
    turn_until(place, &call);
    assert_int_equal(call.status, PAWL_EDISCONNECTED);
}

// One that was sent and isn't answered, and another behind it that no window is given for.
static void send_and_be_refused(struct place *place, struct call *sent, struct call *waiting,
                                int status)
{
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    append(place, sent, 100, 1, LONG_MS);
    while (cluster_get(&place->cluster, &place->cluster.servers[0].appends_count) == 0) {
        client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
    }
    cluster_set(&place->cluster, servers[0].faults.window_status, status);
    append(place, waiting, ONE_SLOT, 2, LONG_MS);
    turn_until(place, waiting);
}

static void test_window_when_it_is_refused_as_busy_then_only_what_waits_is_refused(void **state)
{
    struct place *place = *state;
    static struct call sent; // it ends when the client does
    struct call waiting = {0};
    struct call next = {0};
    memset(&sent, 0, sizeof sent);
    send_and_be_refused(place, &sent, &waiting, PAWL_EBUSY);
    assert_int_equal(waiting.status, PAWL_EBUSY);
    assert_int_equal(sent.calls, 0);
    cluster_set(&place->cluster, servers[0].faults.window_status, 0);
    append(place, &next, ONE_SLOT, 2, LONG_MS);
    turn_until(place, &next);
    assert_int_equal(next.reply_status, 0);
    assert_int_equal(windows_count(place), 2);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 1);
}

static void test_window_when_it_is_refused_for_good_then_what_was_sent_is_in_doubt(void **state)
{
    struct place *place = *state;
    struct call sent = {0};
    struct call waiting = {0};
    send_and_be_refused(place, &sent, &waiting, PAWL_EINVALID);
    assert_int_equal(waiting.status, PAWL_EDISCONNECTED);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.status, PAWL_EDISCONNECTED);
}

static void test_link_when_it_is_closed_as_busy_then_what_was_sent_is_in_doubt(void **state)
{
    struct place *place = *state;
    struct call sent = {0};
    struct call waiting = {0};
    cluster_set(&place->cluster, servers[0].faults.forget_left, 1);
    cluster_set(&place->cluster, servers[0].faults.window_hold, true);
    append(place, &sent, 100, 1, LONG_MS);
    append(place, &waiting, ONE_SLOT, 2, LONG_MS);
    while (windows_count(place) == 0) {
        client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
    }
    link_close(place->pawl, SERVER, PAWL_EBUSY);
    turn_until(place, &waiting);
    assert_int_equal(waiting.status, PAWL_EBUSY);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.status, PAWL_EDISCONNECTED);
}

// It is in the file, so it must not be called absent.
static void test_append_when_a_window_is_refused_meanwhile_then_its_outcome_is_unknown(void **state)
{
    struct place *place = *state;
    struct outcome small = {0};
    struct outcome large = {0};
    cluster_set(&place->cluster, servers[0].faults.window_status, PAWL_EBUSY);
    cluster_set(&place->cluster, servers[0].faults.forget_left, CLUSTER_RECORDS);
    submit(place, &small, 100);
    while (cluster_get(&place->cluster, &place->cluster.servers[0].appends_count) == 0) {
        client_turn(place->pawl, pawl_clock_ns() + PAWL_NS_PER_MS);
    }
    submit(place, &large, ONE_SLOT);
    while (small.calls == 0 || large.calls == 0) {
        client_turn(place->pawl, UINT64_MAX);
    }
    assert_int_equal(small.status, PAWL_EUNKNOWN);
    assert_int_equal(cluster_bytes(&place->cluster), 1100);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, place_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_it_is_small_then_no_window_is_asked_for),
        TEST(test_append_when_there_is_no_window_then_it_waits_for_one_and_others_behind_it),
        TEST(test_append_when_the_window_is_too_small_then_a_larger_one_is_asked_for),
        TEST(test_append_when_others_wait_then_the_window_goes_and_comes_again),
        TEST(test_window_when_the_server_asks_for_it_then_it_goes_back),
        TEST(test_window_when_it_is_not_used_then_it_goes_back_after_a_while),
        TEST(test_window_when_only_other_requests_are_answered_then_it_counts_as_unused),
        TEST(test_window_when_it_is_full_and_small_for_long_then_a_larger_one_is_asked_for),
        TEST(test_window_when_it_does_not_come_then_the_append_ends_at_its_deadline),
        TEST(test_append_when_the_line_is_long_then_it_is_put_off_and_the_window_still_asked_for),
        TEST(test_window_when_it_is_asked_for_then_the_server_hears_how_long_was_waited),
        TEST(test_window_when_the_server_says_nothing_for_long_then_the_link_goes),
        TEST(test_window_when_others_want_it_and_it_is_fresh_then_it_stays_for_a_while),
        TEST(test_question_when_an_append_before_it_waits_too_long_then_it_ends_alone),
        TEST(test_window_when_it_is_smaller_than_needed_then_the_link_goes),
        TEST(test_window_when_it_is_refused_as_busy_then_only_what_waits_is_refused),
        TEST(test_window_when_it_is_refused_for_good_then_what_was_sent_is_in_doubt),
        TEST(test_link_when_it_is_closed_as_busy_then_what_was_sent_is_in_doubt),
        TEST(test_append_when_a_window_is_refused_meanwhile_then_its_outcome_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
