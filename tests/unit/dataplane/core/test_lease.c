// SPDX-License-Identifier: Apache-2.0
// Tests of grants, leases, broken members, and what comes with time.
#include "core_harness.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static void test_grant_when_given_connects_to_the_other_members(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    assert_int_equal(h->connects_count, 2);
    assert_int_equal(h_inspect(h, 0).primary, 1);
    assert_int_equal(h_inspect(h, 1).primary, 0);
}

static void test_grant_when_repeated_extends_the_lease(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->now_ns += 3000000000u;
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ENOTPRIMARY);
    h_expect(h, h_grant(h, 0, 1, 0, 2), 0);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    assert_int_equal(h->connects_count, 1);
}

static void test_grant_when_it_does_not_fit_is_refused(void **state)
{
    struct harness *h = *state;
    h_expect(h, h_grant(h, 0, 1, 0, 1), PAWL_ENOCHUNK);
    h_expect(h, h_open(h, 0, 3, NULL, 0), 0);
    h_expect(h, h_grant(h, 0, 2, 0, 1), PAWL_ESTALE);
    h_expect(h, h_grant(h, 0, 4, 0, 1), PAWL_ESTALE); // never promised here
    h_expect(h, h_grant(h, 0, 3, 1, 1), PAWL_ESTALE); // a longer log than ours
    h_expect(h, h_grant(h, 0, 3, 0, 0), PAWL_EINVALID);
    h_expect(h, h_grant(h, 0, 3, 0, CHUNK_SET_MAX + 1), PAWL_EINVALID);
    h_expect(h, h_open(h, 2, 3, NULL, 0), 0);
    h_expect(h, h_grant(h, 2, 3, 0, 2), PAWL_EINVALID); // this server is no member
    assert_int_equal(h_inspect(h, 0).primary, 0);
    h_expect(h, h_grant(h, 0, 3, 0, 1), 0);
}

static void test_grant_when_promise_is_not_durable_is_busy(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t fence = h_fence(h, 0, 2);
    h_expect(h, h_grant(h, 0, 2, 0, 1), PAWL_EBUSY);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, fence, 0);
    h_expect(h, h_grant(h, 0, 2, 0, 1), 0);
}

// The primary of a version crashes when only a secondary has its last record. Granted the same
// version again, it would give that index to another record.
static void test_grant_when_server_restarted_since_the_promise_is_refused(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[0] = true;
    h_append(h, 0, 1, 1);
    assert_int_equal(h->disk[1].records_count, 1);
    h_crash(h, 0);
    h->hold_store[0] = false;
    h_start(h, 0);
    assert_int_equal(h_inspect(h, 0).count, 0);
    h_expect(h, h_grant(h, 0, 1, 0, 2), PAWL_ESTALE);
    h_expect(h, h_append(h, 0, 2, 1), PAWL_ENOTPRIMARY);
}

static void test_lease_when_renewed_goes_on_for_its_version_only(void **state)
{
    struct harness *h = *state;
    struct chunk_event event = {.type = CHUNK_EVENT_LEASE, .handle = H_CHUNK, .version = 2};
    h_ready(h, 2);
    event.until_ns = h->now_ns + 10000000000u;
    h_step(h, 0, &event);
    h->now_ns += 5000000000u;
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ENOTPRIMARY);
    event.version = 1;
    h_step(h, 0, &event);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    event.until_ns = h->now_ns; // never shortens
    h_step(h, 0, &event);
    h_expect(h, h_append(h, 0, 1, 2), 0);
}

static void test_lease_when_it_ends_in_flight_records_still_commit(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[1] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    h->now_ns += 900000000u;
    h_tick(h, 0, 0);
    h->now_ns += 5000000000u;
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, a, 0);
}

static void test_member_when_late_is_reported_and_again_until_the_version_changes(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_net[2] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    h_tick(h, 0, 999);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 0);
    h_tick(h, 0, 1);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 1);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 2), 0);
    h_tick(h, 0, 499);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 1);
    h_tick(h, 0, 1);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 2);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, a, PAWL_ESTALE);
    h_tick(h, 0, 600);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 2);
    h->hold_net[2] = false;
    h_run(h);
}

static void test_member_when_it_answers_after_its_report_counts(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_net[1] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    h_tick(h, 0, 1000);
    h->hold_net[1] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, h_append(h, 0, 1, 2), PAWL_EBUSY); // recovery is on its way all the same
}

static void test_member_when_its_connection_is_lost_is_reported_once(void **state)
{
    struct harness *h = *state;
    struct chunk_event event = {.type = CHUNK_EVENT_PEER_DOWN, .server = 2};
    h_ready(h, 3);
    h_step(h, 0, &event);
    h_step(h, 0, &event);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 2), 1);
    event.server = 99;
    h_step(h, 0, &event);
    assert_int_equal(h->reports_count, 1);
}

static void test_primary_when_own_write_fails_steps_down_and_reports_itself(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = h_append(h, 0, 1, 2);
    h_store_end(h, 0, 0, -5);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, b, PAWL_ESTALE);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 1), 1);
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ENOTPRIMARY);
    h_expect(h, h_grant(h, 0, 1, 0, 2), -5);
    h_tick(h, 0, 500);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 1), 2);
    h->hold_store[0] = false;
    h_run(h);
    assert_int_equal(h_inspect(h, 0).committed_count, 0);
}

static void test_commit_when_idle_for_a_tick_is_told_once(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_tick(h, 0, 10);
    h_tick(h, 0, 10);
    assert_int_equal(h->commits_count, 0); // nothing to tell
    h_expect(h, h_append(h, 0, 1, 1), 0);
    assert_int_equal(h_inspect(h, 1).committed_count, 0);
    h_tick(h, 0, 10);
    assert_int_equal(h->commits_count, 0);
    h_tick(h, 0, 10);
    assert_int_equal(h->commits_count, 2);
    assert_int_equal(h_inspect(h, 1).committed_count, 1);
    h_tick(h, 0, 10);
    h_tick(h, 0, 10);
    assert_int_equal(h->commits_count, 2);
}

static void test_commit_when_busy_rides_on_the_next_prepare(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    for (uint64_t i = 1; i <= 5; i++) {
        h_expect(h, h_append(h, 0, 1, i), 0);
        assert_int_equal(h_inspect(h, 1).committed_count, i - 1);
        h_tick(h, 0, 10);
    }
    assert_int_equal(h->commits_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_grant_when_given_connects_to_the_other_members),
        TEST(test_grant_when_repeated_extends_the_lease),
        TEST(test_grant_when_it_does_not_fit_is_refused),
        TEST(test_grant_when_promise_is_not_durable_is_busy),
        TEST(test_grant_when_server_restarted_since_the_promise_is_refused),
        TEST(test_lease_when_renewed_goes_on_for_its_version_only),
        TEST(test_lease_when_it_ends_in_flight_records_still_commit),
        TEST(test_member_when_late_is_reported_and_again_until_the_version_changes),
        TEST(test_member_when_it_answers_after_its_report_counts),
        TEST(test_member_when_its_connection_is_lost_is_reported_once),
        TEST(test_primary_when_own_write_fails_steps_down_and_reports_itself),
        TEST(test_commit_when_idle_for_a_tick_is_told_once),
        TEST(test_commit_when_busy_rides_on_the_next_prepare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
