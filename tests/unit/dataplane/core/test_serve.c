// SPDX-License-Identifier: Apache-2.0
// Tests of READ, FETCH, LOOKUP and INSPECT.
#include "core_harness.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static uint64_t fetch_send(struct harness *h, uint32_t server, uint64_t version, uint64_t index)
{
    union h_message message = {.fetch = {.chunk = H_CHUNK, .version = version, .index = index}};
    return h_message_send(h, server, CHUNK_EVENT_FETCH, &message, 0);
}

static void test_read_when_within_committed_bytes_reads_up_to_them(void **state)
{
    struct harness *h = *state;
    h_expect(h, h_read(h, 0, 0, 10), PAWL_ENOCHUNK);
    h_ready(h, 2);
    h_append(h, 0, 1, 1);
    h_append(h, 0, 1, 2);
    h->hold_store[1] = true;
    h_append(h, 0, 1, 3); // not committed
    uint64_t a = h_read(h, 0, 150, 1000);
    const struct chunk_action *action = &h->requests[a].action;
    assert_int_equal(action->type, CHUNK_ACTION_READ);
    assert_int_equal(action->offset, 150);
    assert_int_equal(action->length, 50);
    assert_int_equal(action->committed_bytes, 200);
    assert_false(action->sealed);
    uint64_t b = h_read(h, 0, 10, 20);
    assert_int_equal(h->requests[b].action.length, 20);
    uint64_t c = h_read(h, 1, 0, 1000); // a secondary knows what it was told
    assert_int_equal(h->requests[c].action.length, 200);
    uint64_t d = h_read(h, 1, 200, 1000);
    h_expect(h, d, 0);
    assert_int_equal(h->requests[d].reply.read_done.length, 0);
    assert_int_equal(h->requests[d].reply.read_done.committed_bytes, 200);
    uint64_t e = h_read(h, 0, UINT64_MAX, 1000);
    assert_int_equal(h->requests[e].reply.read_done.length, 0);
    h->hold_store[1] = false;
    h_run(h);
}

static void test_read_when_sealed_reads_all_and_says_so(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_append(h, 0, 1, 1);
    h_fence(h, 0, 2);
    h_expect(h, h_seal(h, 0, 2, 1, 100), 0);
    uint64_t a = h_read(h, 0, 0, 1000);
    assert_int_equal(h->requests[a].action.length, 100);
    assert_true(h->requests[a].action.sealed);
    uint64_t b = h_read(h, 0, 100, 1);
    assert_int_equal(h->requests[b].reply.read_done.sealed, 1);
}

static void test_fetch_when_version_and_index_fit_sends_the_record(void **state)
{
    struct harness *h = *state;
    h_expect(h, fetch_send(h, 0, 1, 0), PAWL_ENOCHUNK);
    h_ready(h, 2);
    h->hold_store[0] = true;
    h_append(h, 0, 1, 1);
    h_expect(h, fetch_send(h, 0, 1, 0), PAWL_EEXPECT); // not durable yet
    h_expect(h, fetch_send(h, 0, 2, 0), PAWL_ESTALE);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, fetch_send(h, 0, 1, 1), PAWL_EEXPECT);
    struct chunk_event damaged = {.type = CHUNK_EVENT_DAMAGED, .handle = H_CHUNK};
    h_step(h, 0, &damaged);
    h_expect(h, fetch_send(h, 0, 1, 0), PAWL_ECORRUPT);
}

static void test_lookup_when_record_is_here_tells_its_place(void **state)
{
    struct harness *h = *state;
    h_expect(h, h_lookup(h, 0, 1, 1), PAWL_ENOCHUNK);
    h_ready(h, 2);
    h_append(h, 0, 1, 1);
    h_append(h, 0, 1, 2);
    uint64_t a = h_lookup(h, 0, 1, 2);
    h_expect(h, a, 0);
    assert_int_equal(h_appended(h, a)->file_offset, H_BASE + 100);
    assert_int_equal(h->requests[a].type, WIRE_LOOKUP | WIRE_REPLY);
    union h_message message = {.lookup = {.chunk = H_CHUNK,
                                          .id = {.producer_lo = 1, .sequence = 2},
                                          .length = 100,
                                          .crc = h_crc(1, 2),
                                          .compare = 1}};
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_LOOKUP, &message, 0), 0);
    message.lookup.crc++;
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_LOOKUP, &message, 0), PAWL_EIDREUSED);
    message.lookup.compare = 0;
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_LOOKUP, &message, 0), 0);
}

static void test_lookup_when_record_is_in_flight_is_busy(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->hold_store[1] = true;
    h_append(h, 0, 1, 1);
    h_expect(h, h_lookup(h, 0, 1, 1), PAWL_EBUSY);
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, h_lookup(h, 0, 1, 1), 0);
    h_expect(h, h_lookup(h, 1, 1, 1), PAWL_EBUSY); // the secondary was not told yet
}

static void test_lookup_when_record_is_absent_is_said_by_primary_or_seal_only(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_append(h, 0, 1, 1);
    uint64_t a = h_lookup(h, 0, 1, 2);
    h_expect(h, a, PAWL_EABSENT);
    assert_int_equal(h_appended(h, a)->sequence, 1);
    h_expect(h, h_lookup(h, 1, 1, 2), PAWL_ENOTPRIMARY);
    h_expect(h, h_lookup(h, 1, 5, 1), PAWL_ENOTPRIMARY);
    h_expect(h, h_fence(h, 1, 2), 0);
    h_expect(h, h_seal(h, 1, 2, 1, 100), 0);
    h_expect(h, h_lookup(h, 1, 1, 2), PAWL_EABSENT);
    h_expect(h, h_lookup(h, 1, 1, 0), PAWL_EABSENT); // no sequence at all
    struct chunk_event event = {.type = CHUNK_EVENT_DAMAGED, .handle = H_CHUNK};
    h_step(h, 1, &event);
    h_expect(h, h_lookup(h, 1, 1, 2), PAWL_ENOTPRIMARY); // it may have lost that
}

static void test_lookup_when_record_is_in_an_earlier_chunk_names_it(void **state)
{
    struct harness *h = *state;
    struct wire_producer rows[1] = {{.producer_lo = 1,
                                     .last_sequence = 9,
                                     .last_chunk = 41,
                                     .first_sequence = 5,
                                     .previous_chunk = 40}};
    h_expect(h, h_open(h, 0, 1, rows, 1), 0);
    uint64_t a = h_lookup(h, 0, 1, 9);
    h_expect(h, a, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, a)->earlier_chunk, 41);
    uint64_t b = h_lookup(h, 0, 1, 4);
    h_expect(h, b, PAWL_EEARLIER);
    assert_int_equal(h_appended(h, b)->earlier_chunk, 40);
}

static void test_inspect_when_asked_tells_the_state(void **state)
{
    struct harness *h = *state;
    union h_message message = {.inspect = {.chunk = H_CHUNK}};
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_INSPECT, &message, 0), PAWL_ENOCHUNK);
    h_ready(h, 2);
    h->hold_store[1] = true;
    h_append(h, 0, 1, 1);
    struct wire_inspected inspected = h_inspect(h, 0);
    assert_int_equal(inspected.version, 1);
    assert_int_equal(inspected.count, 1);
    assert_int_equal(inspected.committed_count, 0);
    assert_int_equal(inspected.committed_bytes, 0);
    assert_int_equal(inspected.primary, 1);
    h->hold_store[1] = false;
    h_run(h);
    assert_int_equal(h_inspect(h, 0).committed_bytes, 100);
}

static void test_damage_when_primary_reads_it_steps_down_and_reports(void **state)
{
    struct harness *h = *state;
    struct chunk_event damaged = {.type = CHUNK_EVENT_DAMAGED, .handle = H_CHUNK};
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_step(h, 0, &damaged);
    assert_int_equal(h_reports(h, 0, H_DAMAGED, 1), 1);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 1), 1);
    h_step(h, 0, &damaged); // more of the same is not said at once
    assert_int_equal(h_reports(h, 0, H_DAMAGED, 1), 1);
    h->now_ns += 600000000u;
    h_step(h, 0, &damaged);
    assert_int_equal(h_reports(h, 0, H_DAMAGED, 1), 2);
    h_expect(h, h_append(h, 0, 1, 2), PAWL_ENOTPRIMARY);
    h_expect(h, h_fence(h, 0, 2), PAWL_ECORRUPT);
    uint64_t a = h_read(h, 0, 0, 100); // each record is verified: the good ones are served
    assert_int_equal(h->requests[a].action.type, CHUNK_ACTION_READ);
    damaged.handle = 999;
    h_step(h, 0, &damaged);
    assert_int_equal(chunk_core_counters(h->core[0])->mismatches_count, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_read_when_within_committed_bytes_reads_up_to_them),
        TEST(test_read_when_sealed_reads_all_and_says_so),
        TEST(test_fetch_when_version_and_index_fit_sends_the_record),
        TEST(test_lookup_when_record_is_here_tells_its_place),
        TEST(test_lookup_when_record_is_in_flight_is_busy),
        TEST(test_lookup_when_record_is_absent_is_said_by_primary_or_seal_only),
        TEST(test_lookup_when_record_is_in_an_earlier_chunk_names_it),
        TEST(test_inspect_when_asked_tells_the_state),
        TEST(test_damage_when_primary_reads_it_steps_down_and_reports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
