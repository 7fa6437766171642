// SPDX-License-Identifier: Apache-2.0
// Tests of a secondary: what it takes, in which order, and when it says PREPARED.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

struct prepare {
    uint64_t version;
    uint64_t index;
    uint64_t offset;
    uint64_t sequence;
    uint64_t commit_count;
    uint32_t length;
    uint32_t crc_error;
};

static uint64_t prepare_send(struct harness *h, struct prepare p)
{
    union h_message message = {
        .prepare = {.chunk = H_CHUNK,
                    .version = p.version ? p.version : 1,
                    .index = p.index,
                    .offset = p.offset,
                    .id = {.producer_lo = 1, .sequence = p.sequence ? p.sequence : p.index + 1},
                    .commit_count = p.commit_count,
                    .length = p.length ? p.length : 100,
                    .crc = 5}};
    return h_message_send(h, 0, CHUNK_EVENT_PREPARE, &message, 5 + p.crc_error);
}

static uint64_t prepare_nth(struct harness *h, uint64_t index)
{
    return prepare_send(h, (struct prepare){.index = index, .offset = index * 100});
}

static void ready(struct harness *h)
{
    h_expect(h, h_open(h, 0, 1, NULL, 0), 0);
}

static void test_prepare_when_next_is_answered_once_durable(void **state)
{
    struct harness *h = *state;
    ready(h);
    h->hold_store[0] = true;
    uint64_t a = prepare_nth(h, 0);
    assert_false(h_is_answered(h, a));
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].reply.prepared.index, 0);
    assert_int_equal(h->requests[a].reply.prepared.version, 1);
    assert_int_equal(h->requests[a].reply.prepared.chunk, H_CHUNK);
    assert_int_equal(h->disk[0].records_count, 1);
}

static void test_prepare_when_durable_out_of_order_waits_for_all_before(void **state)
{
    struct harness *h = *state;
    ready(h);
    h->hold_store[0] = true;
    uint64_t a = prepare_nth(h, 0);
    uint64_t b = prepare_nth(h, 1);
    uint64_t c = prepare_nth(h, 2);
    h_store_end(h, 0, 1, 0);
    assert_false(h_is_answered(h, b));
    assert_int_equal(h_inspect(h, 0).count, 0);
    h_store_end(h, 0, 0, 0);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    assert_false(h_is_answered(h, c));
    assert_int_equal(h_inspect(h, 0).count, 2);
    h_store_end(h, 0, 0, 0);
    h_expect(h, c, 0);
}

static void test_prepare_when_version_is_not_the_promised_one_is_refused(void **state)
{
    struct harness *h = *state;
    h_expect(h, prepare_nth(h, 0), PAWL_ENOCHUNK);
    ready(h);
    h_expect(h, prepare_send(h, (struct prepare){.version = 2}), PAWL_ESTALE);
    h_expect(h, h_fence(h, 0, 3), 0);
    h_expect(h, prepare_send(h, (struct prepare){.version = 1}), PAWL_ESTALE);
    h_expect(h, prepare_send(h, (struct prepare){.version = 3}), 0);
}

static void test_prepare_when_place_is_wrong_is_refused(void **state)
{
    struct harness *h = *state;
    ready(h);
    h_expect(h, prepare_send(h, (struct prepare){.index = 1, .offset = 100}), PAWL_EEXPECT);
    h_expect(h, prepare_send(h, (struct prepare){.offset = 10}), PAWL_EEXPECT);
    h_expect(h, prepare_nth(h, 0), 0);
    h_expect(h, prepare_send(h, (struct prepare){.index = 1, .offset = 99}), PAWL_EEXPECT);
    h_expect(h, prepare_send(h, (struct prepare){.index = 1, .offset = 100, .sequence = 3}),
             PAWL_EEXPECT); // a gap in the producer's sequences
    assert_int_equal(h_inspect(h, 0).count, 1);
}

static void test_prepare_when_payload_landed_wrong_is_refused(void **state)
{
    struct harness *h = *state;
    ready(h);
    h_expect(h, prepare_send(h, (struct prepare){.crc_error = 1}), PAWL_EBADPAYLOAD);
    h_expect(h, prepare_nth(h, 0), 0);
}

static void test_prepare_when_it_does_not_fit_is_refused(void **state)
{
    struct harness *h = *state;
    ready(h);
    h_expect(h, prepare_send(h, (struct prepare){.length = H_CHUNK_BYTES + 1}), PAWL_ECHUNKFULL);
    h_expect(h, prepare_send(h, (struct prepare){.length = H_CHUNK_BYTES}), 0);
}

static void test_prepare_when_repeated_is_answered_like_the_first(void **state)
{
    struct harness *h = *state;
    ready(h);
    h->hold_store[0] = true;
    uint64_t a = prepare_nth(h, 0);
    uint64_t b = prepare_nth(h, 0);
    assert_false(h_is_answered(h, b));
    h_expect(h, prepare_send(h, (struct prepare){.sequence = 2}), PAWL_EEXPECT);
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
    h_expect(h, prepare_nth(h, 0), 0);
    h_expect(h, prepare_send(h, (struct prepare){.length = 99}), PAWL_EEXPECT);
    assert_int_equal(h->disk[0].records_count, 1);
}

static void test_prepare_when_commit_count_rides_along_moves_the_commit_point(void **state)
{
    struct harness *h = *state;
    ready(h);
    h_expect(h, prepare_nth(h, 0), 0);
    assert_int_equal(h_inspect(h, 0).committed_count, 0);
    h->hold_store[0] = true;
    uint64_t a = prepare_send(h, (struct prepare){.index = 1, .offset = 100, .commit_count = 1});
    assert_int_equal(h_inspect(h, 0).committed_count, 1);
    union h_message commit = {.commit = {.chunk = H_CHUNK, .version = 1, .commit_count = 9}};
    uint64_t b = h_message_send(h, 0, CHUNK_EVENT_COMMIT, &commit, 0);
    h_expect(h, b, 0);
    assert_int_equal(h_inspect(h, 0).committed_count, 1); // no more than is durable here
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_COMMIT, &commit, 0), 0);
    assert_int_equal(h_inspect(h, 0).committed_count, 2);
    commit.commit.version = 2;
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_COMMIT, &commit, 0), PAWL_ESTALE);
    assert_int_equal(h->disk[0].commit_count, 1);
}

static void test_prepare_when_fenced_in_flight_is_refused_and_never_answered_prepared(void **state)
{
    struct harness *h = *state;
    ready(h);
    h->hold_store[0] = true;
    uint64_t a = prepare_nth(h, 0);
    uint64_t fence = h_fence(h, 0, 2);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, prepare_send(h, (struct prepare){.version = 2, .index = 1, .offset = 100}),
             PAWL_ESTALE); // not before the fence is answered
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 1);
}

static void test_prepare_when_this_server_is_primary_is_refused(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, prepare_nth(h, 0), PAWL_ESTALE);
    union h_message commit = {.commit = {.chunk = H_CHUNK, .version = 1, .commit_count = 0}};
    h_expect(h, h_message_send(h, 0, CHUNK_EVENT_COMMIT, &commit, 0), PAWL_ESTALE);
}

static void test_prepare_when_write_fails_is_refused_from_then_on(void **state)
{
    struct harness *h = *state;
    ready(h);
    h->hold_store[0] = true;
    uint64_t a = prepare_nth(h, 0);
    uint64_t b = prepare_nth(h, 1);
    h_store_end(h, 0, 0, -5);
    h_expect(h, a, -5);
    h_expect(h, b, -5);
    h_store_end(h, 0, 0, 0); // the second one is durable, but what is before it is not
    h->hold_store[0] = false;
    h_expect(h, prepare_send(h, (struct prepare){.index = 2, .offset = 200}), -5);
    h_expect(h, h_fence(h, 0, 2), -5);
    assert_int_equal(h_inspect(h, 0).count, 0);
    assert_int_equal(h_reports(h, 0, H_DAMAGED, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_prepare_when_next_is_answered_once_durable),
        TEST(test_prepare_when_durable_out_of_order_waits_for_all_before),
        TEST(test_prepare_when_version_is_not_the_promised_one_is_refused),
        TEST(test_prepare_when_place_is_wrong_is_refused),
        TEST(test_prepare_when_payload_landed_wrong_is_refused),
        TEST(test_prepare_when_it_does_not_fit_is_refused),
        TEST(test_prepare_when_repeated_is_answered_like_the_first),
        TEST(test_prepare_when_commit_count_rides_along_moves_the_commit_point),
        TEST(test_prepare_when_fenced_in_flight_is_refused_and_never_answered_prepared),
        TEST(test_prepare_when_this_server_is_primary_is_refused),
        TEST(test_prepare_when_write_fails_is_refused_from_then_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
