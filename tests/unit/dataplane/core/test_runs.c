// SPDX-License-Identifier: Apache-2.0
// Tests of runs: what a run leaves is what its records would have left one by one, and it is taken whole or not at all.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static uint64_t run(struct harness *h, uint32_t server, uint64_t producer, uint64_t first,
                    uint16_t count)
{
    struct h_append append = {.producer = producer, .sequence = first, .run_count = count};
    return h_append_send(h, server, &append);
}

static void test_run_when_all_is_well_then_is_answered_with_its_last_place(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    uint64_t a = run(h, 0, 1, 2, 5);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->sequence, 6);
    assert_int_equal(h_appended(h, a)->file_offset, H_BASE + 500);
    assert_int_equal(h_appended(h, a)->duplicate, 0);
    for (uint32_t s = 0; s < 3; s++) {
        assert_int_equal(h->disk[s].records_count, 6);
        for (uint32_t i = 0; i < 6; i++) {
            const struct pawl_record *record = &h->disk[s].records[i];
            assert_int_equal(record->id.sequence, i + 1);
            assert_int_equal(record->offset, 100 * i);
            assert_int_equal(record->length, 100);
            assert_int_equal(record->crc, h_crc(1, i + 1));
        }
    }
    assert_int_equal(chunk_core_counters(h->core[0])->appends_count, 6);
    assert_int_equal(h_inspect(h, 0).committed_count, 6);
    h_expect(h, h_append(h, 0, 1, 7), 0);
}

static void test_run_when_one_replica_lacks_it_then_none_of_it_is_committed(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_store[2] = true;
    uint64_t a = run(h, 0, 1, 1, 4);
    assert_false(h_is_answered(h, a));
    assert_int_equal(h_inspect(h, 0).committed_count, 0);
    h->hold_store[2] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_int_equal(h_inspect(h, 0).committed_count, 4);
}

static void test_records_of_a_run_when_repeated_one_by_one_then_each_has_its_place(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_store[1] = true;
    uint64_t a = run(h, 0, 1, 1, 3);
    uint64_t early = h_append(h, 0, 1, 2); // joins it in flight
    assert_false(h_is_answered(h, early));
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, early, 0);
    assert_int_equal(h_appended(h, early)->file_offset, H_BASE + 100);
    for (uint64_t i = 1; i <= 3; i++) {
        uint64_t again = h_append(h, 0, 1, i);
        h_expect(h, again, 0);
        assert_int_equal(h_appended(h, again)->duplicate, 1);
        assert_int_equal(h_appended(h, again)->file_offset, H_BASE + 100 * (i - 1));
    }
    assert_int_equal(h->disk[0].records_count, 3);
}

static void
test_run_when_it_begins_with_what_is_there_then_is_put_off_and_leaves_nothing(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, run(h, 0, 1, 1, 3), PAWL_EBUSY); // two of it would be new
    assert_int_equal(h->disk[0].records_count, 1);
    h_expect(h, run(h, 0, 1, 2, 3), 0);
    h_expect(h, run(h, 0, 1, 2, 3), PAWL_EBUSY);
    assert_int_equal(h->disk[0].records_count, 4);
}

static void test_run_when_it_is_too_early_then_the_expected_one_is_named(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    uint64_t a = run(h, 0, 1, 3, 2);
    h_expect(h, a, PAWL_EEXPECT);
    assert_int_equal(h_appended(h, a)->sequence, 2);
    assert_int_equal(h->disk[0].records_count, 1);
}

static void test_run_when_its_payload_is_torn_then_is_refused_whole(void **state)
{
    struct harness *h = *state;
    struct h_append torn = {.producer = 1, .sequence = 1, .run_count = 3, .bad_payload = true};
    h_ready(h, 3);
    h_expect(h, h_append_send(h, 0, &torn), PAWL_EBADPAYLOAD);
    assert_int_equal(h->disk[0].records_count, 0);
    h->corrupt[1] = 1; // on its way to a secondary: that one is reported
    uint64_t a = run(h, 0, 1, 1, 3);
    assert_false(h_is_answered(h, a));
    assert_int_equal(h->disk[1].records_count, 0);
    assert_int_equal(h->disk[2].records_count, 3);
    h_conn_closed(h, 0, 1); // no answer is due any more
    h->requests[a].closed = true;
}

static void test_run_when_it_does_not_fit_then_the_chunk_is_full(void **state)
{
    struct harness *h = *state;
    struct h_append large = {.producer = 2, .sequence = 1, .length = H_CHUNK_BYTES / 4};
    h_ready(h, 1);
    for (large.sequence = 1; large.sequence <= 3; large.sequence++) {
        h_expect(h, h_append_send(h, 0, &large), 0);
    }
    large.length = H_CHUNK_BYTES / 4 - 250;
    h_expect(h, h_append_send(h, 0, &large), 0);
    h_expect(h, run(h, 0, 1, 1, 3), PAWL_ECHUNKFULL); // two of it would fit
    h_expect(h, h_append(h, 0, 1, 1), PAWL_ECHUNKFULL);
    assert_int_equal(h->disk[0].records_count, 4);
}

static void test_run_when_it_is_larger_than_a_record_may_be_then_is_put_off(void **state)
{
    struct harness *h = *state;
    struct h_append append = {
        .producer = 1, .sequence = 1, .run_count = 2, .length = H_CHUNK_BYTES / 4 + 1};
    h_ready(h, 1);
    h_expect(h, h_append_send(h, 0, &append), PAWL_EBUSY);
    assert_int_equal(h->disk[0].records_count, 0);
}

static void test_run_when_too_many_are_in_flight_then_is_put_off(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    struct h_append small = {.producer = 1, .length = 1};
    for (small.sequence = 1; small.sequence <= CHUNK_INFLIGHT_MAX - 32; small.sequence++) {
        assert_false(h_is_answered(h, h_append_send(h, 0, &small)));
    }
    uint64_t next = small.sequence;
    h_expect(h, run(h, 0, 1, next, 33), PAWL_EBUSY);
    uint64_t last = run(h, 0, 1, next, 32);
    assert_false(h_is_answered(h, last));
    h_expect(h, h_append(h, 0, 1, next + 32), PAWL_EBUSY);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, last, 0);
}

static void test_run_when_its_level_is_memory_then_is_answered_when_all_hold_it(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .sequence = 1, .run_count = 3, .replicated = true};
    h_ready(h, 3);
    for (uint32_t s = 0; s < 3; s++) {
        h->hold_store[s] = true;
    }
    uint64_t a = h_append_send(h, 0, &append);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->flags, WIRE_APPENDED_REPLICATED);
    assert_int_equal(h_appended(h, a)->sequence, 3);
    assert_int_equal(h_inspect(h, 0).committed_count, 0);
}

static void test_prepare_when_a_run_is_repeated_then_is_answered_if_it_is_the_same(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h_expect(h, run(h, 0, 1, 1, 3), 0);
    struct wire_run_row rows[4];
    for (uint32_t i = 0; i < 4; i++) {
        rows[i] = (struct wire_run_row){.length = 100, .crc = h_crc(1, i + 1)};
    }
    struct wire_prepare prepare = {.chunk = H_CHUNK,
                                   .version = 1,
                                   .id = {.producer_lo = 1, .sequence = 1},
                                   .length = 300,
                                   .crc = H_RUN_CRC,
                                   .run_count = 3};
    struct chunk_event event = {.type = CHUNK_EVENT_PREPARE,
                                .conn = 1,
                                .payload_crc = H_RUN_CRC,
                                .rows = rows,
                                .message = &prepare.header};
    const struct chunk_actions *actions = NULL;
    event.request = 1;
    assert_int_equal(chunk_core_step(h->core[1], &event, &actions), 0);
    assert_int_equal(actions->items[0].reply.header.status, 0);
    assert_int_equal(actions->items[0].reply.prepared.index, 2);
    rows[1].crc++; // another record
    assert_int_equal(chunk_core_step(h->core[1], &event, &actions), 0);
    assert_int_equal(actions->items[0].reply.header.status, PAWL_EEXPECT);
    rows[1].crc--;
    prepare.run_count = 4; // a longer one
    prepare.length = 400;
    assert_int_equal(chunk_core_step(h->core[1], &event, &actions), 0);
    assert_int_equal(actions->items[0].reply.header.status, PAWL_EEXPECT);
    assert_int_equal(h->disk[1].records_count, 3);
}

static void test_run_when_a_secondary_crashes_within_then_the_logs_are_prefixes(void **state)
{
    struct harness *h = *state;
    h_ready(h, 3);
    h->hold_store[1] = true;
    uint64_t a = run(h, 0, 1, 1, 4);
    h_crash(h, 1);
    h->hold_store[1] = false;
    h_start(h, 1);
    h_run(h);
    assert_false(h_is_answered(h, a));
    assert_int_equal(h->disk[1].records_count, 0);
    assert_int_equal(h->disk[0].records_count, 4);
    assert_int_equal(h->disk[2].records_count, 4);
    h_conn_closed(h, 0, 1); // no answer is due any more
    h->requests[a].closed = true;
}

static void test_runs_when_they_are_many_then_all_are_there(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    for (uint64_t sequence = 1; sequence < 500; sequence += 50) {
        h_expect(h, run(h, 0, 1, sequence, 50), 0);
    }
    assert_int_equal(h_inspect(h, 0).committed_count, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_run_when_all_is_well_then_is_answered_with_its_last_place),
        TEST(test_run_when_one_replica_lacks_it_then_none_of_it_is_committed),
        TEST(test_records_of_a_run_when_repeated_one_by_one_then_each_has_its_place),
        TEST(test_run_when_it_begins_with_what_is_there_then_is_put_off_and_leaves_nothing),
        TEST(test_run_when_it_is_too_early_then_the_expected_one_is_named),
        TEST(test_run_when_its_payload_is_torn_then_is_refused_whole),
        TEST(test_run_when_it_does_not_fit_then_the_chunk_is_full),
        TEST(test_run_when_it_is_larger_than_a_record_may_be_then_is_put_off),
        TEST(test_run_when_too_many_are_in_flight_then_is_put_off),
        TEST(test_run_when_its_level_is_memory_then_is_answered_when_all_hold_it),
        TEST(test_prepare_when_a_run_is_repeated_then_is_answered_if_it_is_the_same),
        TEST(test_run_when_a_secondary_crashes_within_then_the_logs_are_prefixes),
        TEST(test_runs_when_they_are_many_then_all_are_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
