// SPDX-License-Identifier: Apache-2.0
// Tests of the weaker acknowledgement: when it is given, what it changes for nobody else, and what fences know of it.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static uint64_t append_replicated(struct harness *h, uint32_t server, uint64_t sequence)
{
    struct h_append append = {.producer = 1, .sequence = sequence, .replicated = true};
    return h_append_send(h, server, &append);
}

static void hold_stores(struct harness *h, bool hold)
{
    for (uint32_t s = 0; s < 3; s++) {
        h->hold_store[s] = hold;
    }
}

static void test_append_when_replicated_is_answered_before_any_flush(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    uint64_t a = append_replicated(h, 0, 1);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->flags, WIRE_APPENDED_REPLICATED);
    assert_int_equal(h_appended(h, a)->file_offset, H_BASE);
    assert_int_equal(h->holds_count, 2);
    // Nobody else sees it yet.
    assert_int_equal(h_inspect(h, 0).committed_count, 0);
    h_expect(h, h_lookup(h, 0, 1, 1), PAWL_EBUSY);
    hold_stores(h, false);
    h_run(h);
    assert_int_equal(h_inspect(h, 0).committed_count, 1);
    h_expect(h, h_lookup(h, 0, 1, 1), 0);
}

static void test_append_when_one_member_has_not_taken_it_waits(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    h->hold_net[2] = true;
    uint64_t a = append_replicated(h, 0, 1);
    assert_false(h_is_answered(h, a));
    h->hold_net[2] = false;
    h_run(h);
    h_expect(h, a, 0);
}

static void test_append_when_durable_waits_behind_a_replicated_one(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = append_replicated(h, 0, 2);
    uint64_t c = h_append(h, 0, 1, 3);
    assert_false(h_is_answered(h, a));
    h_expect(h, b, 0);
    assert_false(h_is_answered(h, c));
    hold_stores(h, false);
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, c, 0);
    assert_int_equal(h_appended(h, c)->flags, 0);
}

static void test_append_when_repeated_is_answered_at_the_level_of_the_repeat(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    h_expect(h, append_replicated(h, 0, 1), 0);
    uint64_t durable = h_append(h, 0, 1, 1);
    uint64_t again = append_replicated(h, 0, 1);
    assert_false(h_is_answered(h, durable));
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->duplicate, 1);
    assert_int_equal(h_appended(h, again)->flags, WIRE_APPENDED_REPLICATED);
    uint64_t later = h_append(h, 0, 1, 2);
    // Of one that was durable's at first: recovery may give it up, so it waits, too.
    uint64_t weaker = append_replicated(h, 0, 2);
    assert_false(h_is_answered(h, later));
    assert_false(h_is_answered(h, weaker));
    hold_stores(h, false);
    h_run(h);
    h_expect(h, durable, 0);
    assert_int_equal(h_appended(h, durable)->flags, 0);
    h_expect(h, later, 0);
    h_expect(h, weaker, 0);
    again = append_replicated(h, 0, 1);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->flags, 0); // it is durable by now
}

static void test_append_when_there_is_one_replica_is_durable(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    hold_stores(h, true);
    uint64_t a = append_replicated(h, 0, 1);
    assert_false(h_is_answered(h, a));
    hold_stores(h, false);
    h_run(h);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->flags, 0);
}

static void test_hold_when_many_are_queued_asks_for_them_at_once(void **state)
{
    struct harness *h = *state;
    uint64_t requests[8];
    h_ready(h, 3);
    hold_stores(h, true);
    h->hold_net[0] = true; // the answers
    for (uint64_t i = 0; i < 8; i++) {
        requests[i] = append_replicated(h, 0, i + 1);
    }
    assert_int_equal(h->holds_count, 2);
    h->hold_net[0] = false;
    h_run(h);
    assert_int_equal(h->holds_count, 4);
    for (uint32_t i = 0; i < 8; i++) {
        h_expect(h, requests[i], 0);
    }
}

static void test_hold_when_version_is_old_or_connection_is_lost(void **state)
{
    struct harness *h = *state;
    union h_message hold = {.hold = {.chunk = H_CHUNK, .version = 2, .count = 1}};
    h_ready(h, 3);
    h_expect(h, h_message_send(h, 1, CHUNK_EVENT_HOLD, &hold, 0), PAWL_ESTALE);
    hold.hold.version = 1;
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_HOLD, &hold, 0), PAWL_ESTALE); // of itself
    uint64_t waits = h_message_send(h, 1, CHUNK_EVENT_HOLD, &hold, 0);
    assert_false(h_is_answered(h, waits));
    h_expect(h, h_message_send(h, 1, CHUNK_EVENT_HOLD, &hold, 0), PAWL_EBUSY); // one at a time
    h_conn_closed(h, 1, 1);
    h->requests[waits].closed = true;
    waits = h_message_send(h, 1, CHUNK_EVENT_HOLD, &hold, 0);
    h_expect(h, h_fence(h, 1, 2), 0);
    h_expect(h, waits, PAWL_ESTALE); // and not behind the fence's answer
}

static void test_fence_when_records_are_in_memory_drains_and_tells_of_them(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    h_expect(h, append_replicated(h, 0, 1), 0);
    uint64_t durable = h_append(h, 0, 1, 2);
    uint64_t fence = h_fence(h, 1, 2);
    assert_false(h_is_answered(h, fence));
    hold_stores(h, false);
    h_run(h);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 2);
    assert_int_equal(h->requests[fence].fenced.replicated_count, 1);
    assert_false(h_is_answered(h, durable)); // a member is fenced
    // The level of a record is as durable as the record.
    h_crash(h, 1);
    h_start(h, 1);
    fence = h_fence(h, 1, 3);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.replicated_count, 1);
}

static void test_append_when_all_memory_is_lost_is_expected_again(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    hold_stores(h, true);
    h_expect(h, append_replicated(h, 0, 2), 0);
    for (uint32_t s = 0; s < 3; s++) {
        h_crash(h, s);
    }
    hold_stores(h, false);
    for (uint32_t s = 0; s < 3; s++) {
        h_start(h, s);
        h_expect(h, h_fence(h, s, 2), 0);
    }
    h_expect(h, h_grant(h, 0, 2, 1, 3), 0);
    struct h_append next = {.producer = 1, .sequence = 3, .version = 2};
    uint64_t request = h_append_send(h, 0, &next);
    h_expect(h, request, PAWL_EEXPECT); // names the first that is lost
    assert_int_equal(h_appended(h, request)->sequence, 2);
}

static void test_append_when_one_server_is_lost_keeps_what_was_in_memory(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    h_expect(h, append_replicated(h, 0, 1), 0);
    h_crash(h, 0);
    hold_stores(h, false);
    h_run(h);
    for (uint32_t s = 1; s < 3; s++) {
        uint64_t fence = h_fence(h, s, 2);
        h_expect(h, fence, 0);
        assert_int_equal(h->requests[fence].fenced.count, 1);
    }
}

// The memory of a member that is gone holds nothing, whatever it has said before.
static void test_append_when_a_member_is_lost_is_not_answered_from_memory(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    hold_stores(h, true);
    h_expect(h, append_replicated(h, 0, 1), 0);
    h_crash(h, 1);
    (void)append_replicated(h, 0, 2); // finds nobody there
    uint64_t again = append_replicated(h, 0, 1);
    h_run(h);
    assert_false(h_is_answered(h, again));
    hold_stores(h, false);
    h_run(h);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, again, PAWL_ESTALE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_replicated_is_answered_before_any_flush),
        TEST(test_append_when_one_member_has_not_taken_it_waits),
        TEST(test_append_when_durable_waits_behind_a_replicated_one),
        TEST(test_append_when_repeated_is_answered_at_the_level_of_the_repeat),
        TEST(test_append_when_there_is_one_replica_is_durable),
        TEST(test_hold_when_many_are_queued_asks_for_them_at_once),
        TEST(test_hold_when_version_is_old_or_connection_is_lost),
        TEST(test_fence_when_records_are_in_memory_drains_and_tells_of_them),
        TEST(test_append_when_all_memory_is_lost_is_expected_again),
        TEST(test_append_when_one_server_is_lost_keeps_what_was_in_memory),
        TEST(test_append_when_a_member_is_lost_is_not_answered_from_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
