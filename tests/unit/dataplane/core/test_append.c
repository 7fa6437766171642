// SPDX-License-Identifier: Apache-2.0
// Tests of the primary: every row of the APPEND table of docs/protocol.md, and when a record commits.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static void test_append_when_all_is_well_is_answered_with_its_place(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = h_append(h, 0, 1, 2);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    assert_int_equal(h_appended(h, a)->file_offset, H_BASE);
    assert_int_equal(h_appended(h, b)->file_offset, H_BASE + 100);
    assert_int_equal(h_appended(h, b)->sequence, 2);
    assert_int_equal(h_appended(h, b)->version, 1);
    assert_int_equal(h_appended(h, b)->duplicate, 0);
    assert_int_equal(h->requests[a].type, WIRE_APPEND | WIRE_REPLY);
    for (uint32_t s = 0; s < 3; s++) {
        assert_int_equal(h->disk[s].records_count, 2);
        assert_memory_equal(h->disk[s].records, h->disk[0].records, 2 * sizeof(struct pawl_record));
    }
    assert_int_equal(chunk_core_counters(h->core[0])->appends_count, 2);
}

// The time at which the primary's own disk had it, for the answer's stages; the others took longer.
static void test_append_when_committed_tells_when_it_was_durable_here(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_store[0] = true;
    h->hold_net[1] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    h->now_ns += 5000;
    uint64_t durable_ns = h->now_ns;
    h_store_end(h, 0, 0, 0);
    assert_false(h_is_answered(h, a));
    h->now_ns += 7000;
    h->hold_net[1] = false;
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].action.durable_ns, durable_ns);
}

static void test_secondaries_when_primary_are_the_others_of_the_set(void **state)
{
    struct harness *h = *state;
    uint64_t servers[CHUNK_SET_MAX];
    h_ready(h, 3);
    assert_int_equal(chunk_core_secondaries(h->core[0], H_CHUNK, 1, servers), 2);
    assert_int_not_equal(servers[0], servers[1]);
    assert_int_equal(chunk_core_secondaries(h->core[1], H_CHUNK, 1, servers), PAWL_ENOTPRIMARY);
    assert_int_equal(chunk_core_secondaries(h->core[0], H_CHUNK, 2, servers), PAWL_ESTALE);
    assert_int_equal(chunk_core_secondaries(h->core[0], H_CHUNK + 1, 1, servers), PAWL_ENOCHUNK);
    h_tick(h, 0, H_LEASE_MS); // its lease has run out
    assert_int_equal(chunk_core_secondaries(h->core[0], H_CHUNK, 1, servers), PAWL_ENOTPRIMARY);
}

static void test_append_when_chunk_is_unknown_or_stale_is_refused(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .sequence = 1, .version = 2};
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ENOCHUNK);
    h_ready(h, 3);
    h_expect(h, h_append_send(h, 0, &append), PAWL_ESTALE);
    h_expect(h, h_append(h, 1, 1, 1), PAWL_ENOTPRIMARY);
    assert_int_equal(h_inspect(h, 0).count, 0);
}

static void test_append_when_lease_runs_out_is_refused_before_its_margin(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->now_ns += (H_LEASE_MS - 201) * 1000000ull;
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->now_ns += 1000000;
    h_expect(h, h_append(h, 0, 1, 2), PAWL_ENOTPRIMARY);
    assert_int_equal(h_inspect(h, 0).primary, 0);
}

static void test_append_when_chunk_is_sealed_is_refused(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_seal(h, 0, 2, 1, 100), 0);
    struct h_append append = {.producer = 1, .sequence = 2, .version = 2};
    h_expect(h, h_append_send(h, 0, &append), PAWL_ESTALE);
}

static void test_append_when_payload_is_bad_is_refused_and_may_be_sent_again(void **state)
{
    struct harness *h = *state;
    struct h_append bad = {.producer = 1, .sequence = 1, .bad_payload = true};
    h_ready(h, 3);
    h_expect(h, h_append_send(h, 0, &bad), PAWL_EBADPAYLOAD);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    assert_int_equal(chunk_core_counters(h->core[0])->mismatches_count, 1);
}

static void test_append_when_sequence_is_early_is_told_the_expected_one(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    uint64_t a = h_append(h, 0, 1, 2); // an unknown producer starts at 1
    h_expect(h, a, PAWL_EEXPECT);
    assert_int_equal(h_appended(h, a)->sequence, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    uint64_t b = h_append(h, 0, 1, 5);
    h_expect(h, b, PAWL_EEXPECT);
    assert_int_equal(h_appended(h, b)->sequence, 2);
    assert_int_equal(h_inspect(h, 0).count, 1);
}

static void test_append_when_repeated_is_answered_with_the_first_place(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_append(h, 0, 1, 1);
    h_append(h, 0, 1, 2);
    uint64_t again = h_append(h, 0, 1, 1);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->file_offset, H_BASE);
    assert_int_equal(h_appended(h, again)->duplicate, 1);
    assert_int_equal(h_inspect(h, 0).count, 2);
    assert_int_equal(chunk_core_counters(h->core[0])->duplicates_count, 1);
}

static void test_append_when_id_is_reused_is_refused(void **state)
{
    struct harness *h = *state;
    struct h_append other_crc = {.producer = 1, .sequence = 1, .crc = 77};
    struct h_append other_length = {.producer = 1, .sequence = 1, .length = 101};
    h_ready(h, 3);
    h_append(h, 0, 1, 1);
    h_expect(h, h_append_send(h, 0, &other_crc), PAWL_EIDREUSED);
    h_expect(h, h_append_send(h, 0, &other_length), PAWL_EIDREUSED);
    h->hold_store[1] = true;
    uint64_t a = h_append(h, 0, 1, 2); // in flight
    other_crc.sequence = 2;
    h_expect(h, h_append_send(h, 0, &other_crc), PAWL_EIDREUSED);
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, a, 0);
}

static void test_append_when_repeated_in_flight_joins_and_is_answered_once(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_store[2] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = h_append(h, 0, 1, 1);
    uint64_t c = h_append(h, 0, 1, 1);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b) || h_is_answered(h, c));
    assert_int_equal(h->store_tail[2] - h->store_head[2], 1); // one record, not three
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    h_expect(h, c, 0);
    assert_int_equal(h_appended(h, a)->duplicate, 0);
    assert_int_equal(h_appended(h, c)->duplicate, 1);
    assert_int_equal(h_inspect(h, 0).committed_count, 1);
}

static void test_append_when_record_lies_in_an_earlier_chunk_names_it(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[1] = {{.producer_lo = 1,
                                     .last_sequence = 9,
                                     .last_chunk = 41,
                                     .first_sequence = 5,
                                     .previous_chunk = 40}};
    h_expect(h, h_open(h, 0, 1, rows, 1), 0);
    h_expect(h, h_grant(h, 0, 1, 0, 1), 0);
    uint64_t a = h_append(h, 0, 1, 7);
    h_expect(h, a, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, a)->earlier_chunk, 41);
    uint64_t b = h_append(h, 0, 1, 4);
    h_expect(h, b, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, b)->earlier_chunk, 40);
    h_expect(h, h_append(h, 0, 1, 10), 0);
    uint64_t c = h_append(h, 0, 1, 4); // the chunk before goes on from there
    h_expect(h, c, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, c)->earlier_chunk, 41);
}

static void test_append_when_epoch_is_old_or_unopened_is_fenced(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .epoch = 2, .flags = WIRE_RECORD_EPOCH};
    struct h_append data = {.producer = 1, .sequence = 1, .epoch = 2};
    h_ready(h, 3);
    h_expect(h, h_append_send(h, 0, &data), PAWL_EFENCED); // epoch 2 was never opened
    h_expect(h, h_append_send(h, 0, &append), 0);
    h_expect(h, h_append_send(h, 0, &data), 0);
    data.epoch = 1;
    h_expect(h, h_append_send(h, 0, &data), PAWL_EFENCED); // even a repeated one
    data.epoch = 3;
    data.sequence = 2;
    h_expect(h, h_append_send(h, 0, &data), PAWL_EFENCED);
    append.epoch = 1;
    h_expect(h, h_append_send(h, 0, &append), PAWL_EFENCED);
}

static void test_append_when_epoch_opens_tells_the_last_sequence(void **state)
{
    struct harness *h = *state;
    struct h_append epoch = {.producer = 1, .epoch = 1, .flags = WIRE_RECORD_EPOCH};
    struct h_append data = {.producer = 1, .sequence = 1, .epoch = 1};
    h_ready(h, 3);
    uint64_t a = h_append_send(h, 0, &epoch);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->sequence, 0);
    h_expect(h, h_append_send(h, 0, &data), 0);
    data.sequence = 2;
    h->hold_store[1] = true;
    uint64_t last = h_append_send(h, 0, &data);
    epoch.epoch = 2;
    uint64_t b = h_append_send(h, 0, &epoch); // its sequence counts what is in flight ...
    uint64_t join = h_append_send(h, 0, &epoch);
    assert_false(h_is_answered(h, b) || h_is_answered(h, join));
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, last, 0); // ... and is told only when that is committed too
    h_expect(h, b, 0);
    h_expect(h, join, 0);
    assert_int_equal(h_appended(h, b)->sequence, 2);
    assert_int_equal(h_appended(h, b)->duplicate, 0);
    assert_int_equal(h_appended(h, join)->duplicate, 1);
    uint64_t again = h_append_send(h, 0, &epoch);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->sequence, 2);
    assert_int_equal(h_inspect(h, 0).committed_bytes, 200); // epoch records have no bytes
    assert_int_equal(h_inspect(h, 0).committed_count, 4);
}

static void test_append_when_epoch_was_opened_in_an_earlier_chunk_is_a_duplicate(void **state)
{
    struct harness *h = *state;
    struct h_append epoch = {.producer = 1, .epoch = 4, .flags = WIRE_RECORD_EPOCH};
    struct wire_producer rows[1] = {
        {.producer_lo = 1, .last_sequence = 9, .last_chunk = 41, .first_sequence = 1, .epoch = 4}};
    h_expect(h, h_open(h, 0, 1, rows, 1), 0);
    h_expect(h, h_grant(h, 0, 1, 0, 1), 0);
    uint64_t a = h_append_send(h, 0, &epoch);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->sequence, 9);
    assert_int_equal(h_appended(h, a)->duplicate, 1);
    assert_int_equal(h_inspect(h, 0).count, 0);
}

static void test_append_when_member_is_broken_is_busy_but_duplicates_are_answered(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->fail_peer[2] = PAWL_EDISCONNECTED;
    uint64_t lost = h_append(h, 0, 1, 2);
    assert_false(h_is_answered(h, lost));
    assert_int_equal(h_reports(h, 0, H_BROKEN, 3), 1);
    h_expect(h, h_append(h, 0, 1, 3), PAWL_EBUSY);
    h_expect(h, h_append(h, 0, 2, 1), PAWL_EBUSY);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    uint64_t joined = h_append(h, 0, 1, 2);
    assert_false(h_is_answered(h, joined));
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, lost, PAWL_ESTALE);
    h_expect(h, joined, PAWL_ESTALE);
}

static void test_append_when_too_many_are_in_flight_is_busy(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[1] = true;
    for (uint64_t i = 1; i <= CHUNK_INFLIGHT_MAX; i++) {
        struct h_append append = {.producer = 1, .sequence = i, .length = 8};
        assert_false(h_is_answered(h, h_append_send(h, 0, &append)));
    }
    h_expect(h, h_append(h, 0, 1, CHUNK_INFLIGHT_MAX + 1), PAWL_EBUSY);
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, h_append(h, 0, 1, CHUNK_INFLIGHT_MAX + 1), 0);
}

static void test_append_when_record_is_over_a_quarter_is_too_large(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .sequence = 1, .length = H_CHUNK_BYTES / 4 + 1};
    h_ready(h, 1);
    h_expect(h, h_append_send(h, 0, &append), PAWL_ETOOLARGE);
    append.length--;
    h_expect(h, h_append_send(h, 0, &append), 0);
}

static void test_append_when_chunk_is_full_refuses_all_new_and_reports_once_drained(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .length = H_CHUNK_BYTES / 4};
    h_ready(h, 2);
    h->hold_store[1] = true;
    uint64_t requests[3];
    for (uint32_t i = 0; i < 3; i++) {
        append.sequence = i + 1;
        requests[i] = h_append_send(h, 0, &append);
    }
    append.length--; // leaves room for one byte
    append.sequence = 4;
    uint64_t fourth = h_append_send(h, 0, &append);
    append.sequence = 5;
    h_expect(h, h_append_send(h, 0, &append), PAWL_ECHUNKFULL);
    append.length = 1; // would fit, but must not pass what went on to the next chunk
    h_expect(h, h_append_send(h, 0, &append), PAWL_ECHUNKFULL);
    append.producer = 2;
    append.sequence = 1;
    h_expect(h, h_append_send(h, 0, &append), PAWL_ECHUNKFULL);
    h_tick(h, 0, 10);
    assert_int_equal(h_reports(h, 0, H_FULL, 1), 0);
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, requests[2], 0);
    h_expect(h, fourth, 0);
    assert_int_equal(h_reports(h, 0, H_FULL, 1), 1);
    h_expect(h, h_append(h, 0, 1, 1), PAWL_EIDREUSED); // duplicates are still looked for
    h_tick(h, 0, 100);
    assert_int_equal(h_reports(h, 0, H_FULL, 1), 1);
    h_tick(h, 0, 400);
    assert_int_equal(h_reports(h, 0, H_FULL, 1), 2);
}

static void test_append_when_a_secondary_is_not_durable_is_not_answered(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    for (uint32_t late = 0; late < 3; late++) {
        h->hold_store[late] = true;
        uint64_t a = h_append(h, 0, 1, late + 1);
        assert_false(h_is_answered(h, a));
        assert_int_equal(h_inspect(h, 0).committed_count, late);
        h->hold_store[late] = false;
        h_run(h);
        h_expect(h, a, 0);
    }
}

static void
test_append_when_there_are_two_secondaries_the_first_may_forward_to_the_second(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    assert_int_equal(h->relay_to[1], 3);
    assert_int_equal(h->relayed_by[1], 0);
    assert_int_equal(h->relay_to[2], 0);
    assert_int_equal(h->relayed_by[2], 2);
}

static void test_append_when_there_is_one_secondary_nobody_forwards(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    assert_int_equal(h->relay_to[1] | h->relayed_by[1], 0);
}

static void test_append_when_durable_out_of_order_commits_in_order(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = h_append(h, 0, 2, 1);
    h_store_end(h, 0, 1, 0); // the second record first
    h_run(h);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b));
    h_store_end(h, 0, 0, 0);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
}

static void test_append_when_prepared_is_of_another_version_counts_nothing(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_net[1] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    struct chunk_event event = {
        .type = CHUNK_EVENT_PREPARED, .server = 2, .handle = H_CHUNK, .version = 2};
    h_step(h, 0, &event);
    event.version = 1;
    event.server = 3; // no member
    h_step(h, 0, &event);
    assert_false(h_is_answered(h, a));
    event.server = 2;
    event.index = 1; // was never sent
    h_step(h, 0, &event);
    assert_false(h_is_answered(h, a));
    assert_int_equal(h_reports(h, 0, H_BROKEN, 2), 1);
    event.index = 0;
    h_step(h, 0, &event);
    h_run(h);
    h_expect(h, a, 0);
    h->hold_net[1] = false;
    h_run(h);
}

static void test_append_when_connection_closes_answers_nobody_but_commits(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .sequence = 1, .conn = 5};
    h_ready(h, 2);
    h->hold_store[1] = true;
    uint64_t a = h_append_send(h, 0, &append);
    uint64_t b = h_append(h, 0, 1, 1); // the same record by another connection
    h_conn_closed(h, 0, 5);
    h->requests[a].closed = true;
    h->hold_store[1] = false;
    h_run(h);
    assert_false(h_is_answered(h, a));
    h_expect(h, b, 0);
    assert_int_equal(h_inspect(h, 0).committed_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_all_is_well_is_answered_with_its_place),
        TEST(test_append_when_committed_tells_when_it_was_durable_here),
        TEST(test_secondaries_when_primary_are_the_others_of_the_set),
        TEST(test_append_when_chunk_is_unknown_or_stale_is_refused),
        TEST(test_append_when_lease_runs_out_is_refused_before_its_margin),
        TEST(test_append_when_chunk_is_sealed_is_refused),
        TEST(test_append_when_payload_is_bad_is_refused_and_may_be_sent_again),
        TEST(test_append_when_sequence_is_early_is_told_the_expected_one),
        TEST(test_append_when_repeated_is_answered_with_the_first_place),
        TEST(test_append_when_id_is_reused_is_refused),
        TEST(test_append_when_repeated_in_flight_joins_and_is_answered_once),
        TEST(test_append_when_record_lies_in_an_earlier_chunk_names_it),
        TEST(test_append_when_epoch_is_old_or_unopened_is_fenced),
        TEST(test_append_when_epoch_opens_tells_the_last_sequence),
        TEST(test_append_when_epoch_was_opened_in_an_earlier_chunk_is_a_duplicate),
        TEST(test_append_when_member_is_broken_is_busy_but_duplicates_are_answered),
        TEST(test_append_when_too_many_are_in_flight_is_busy),
        TEST(test_append_when_record_is_over_a_quarter_is_too_large),
        TEST(test_append_when_chunk_is_full_refuses_all_new_and_reports_once_drained),
        TEST(test_append_when_a_secondary_is_not_durable_is_not_answered),
        TEST(test_append_when_there_are_two_secondaries_the_first_may_forward_to_the_second),
        TEST(test_append_when_there_is_one_secondary_nobody_forwards),
        TEST(test_append_when_durable_out_of_order_commits_in_order),
        TEST(test_append_when_prepared_is_of_another_version_counts_nothing),
        TEST(test_append_when_connection_closes_answers_nobody_but_commits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
