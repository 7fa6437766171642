// SPDX-License-Identifier: Apache-2.0
// Tests of levelling: a short log grows from the longest one.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

// Server 0 has `count` records of version 1, server 1 has `short_count`; both are fenced at 2.
static void uneven(struct harness *h, uint32_t count, uint32_t short_count)
{
    h_ready(h, 2);
    for (uint32_t i = 0; i < short_count; i++) {
        h_expect(h, h_append(h, 0, 1, i + 1), 0);
    }
    h->fail_peer[1] = PAWL_EDISCONNECTED;
    h->hold_net[0] = true;
    for (uint32_t i = short_count; i < count; i++) {
        h_append(h, 0, 1, i + 1);
    }
    h_expect(h, h_fence(h, 0, 2), 0);
    h->fail_peer[1] = 0;
    h->hold_net[0] = false;
    h_run(h);
    h_expect(h, h_fence(h, 1, 2), 0);
    assert_int_equal(h_inspect(h, 0).count, count);
    assert_int_equal(h_inspect(h, 1).count, short_count);
}

static void test_level_when_short_fetches_what_is_missing(void **state)
{
    struct harness *h = *state;
    uneven(h, 5, 2);
    uint64_t a = h_level(h, 1, 2, 5, 0);
    h_expect(h, a, 0);
    assert_int_equal(h->requests[a].levelled.count, 5);
    assert_int_equal(h->requests[a].levelled.length, 500);
    assert_int_equal(h->disk[1].records_count, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_memory_equal(&h->disk[0].records[i], &h->disk[1].records[i],
                            sizeof(struct pawl_record));
    }
    h_expect(h, h_level(h, 1, 2, 5, 0), 0); // repeated
    h_expect(h, h_grant(h, 0, 2, 5, 2), 0);
    struct h_append append = {.producer = 1, .sequence = 6, .version = 2};
    h_expect(h, h_append_send(h, 0, &append), 0);
    h_expect(h, h_level(h, 1, 2, 6, 0), PAWL_ESTALE); // the log belongs to the primary now
}

static void test_level_when_records_are_not_durable_is_not_answered(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->hold_store[1] = true;
    uint64_t a = h_level(h, 1, 2, 3, 0);
    uint64_t b = h_level(h, 1, 2, 3, 0); // joins
    h_expect(h, h_level(h, 1, 2, 2, 0), PAWL_EBUSY);
    assert_false(h_is_answered(h, a) || h_is_answered(h, b));
    assert_int_equal(h->store_tail[1] - h->store_head[1], 1);
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, a, 0);
    h_expect(h, b, 0);
}

static void test_level_when_version_was_not_promised_is_refused(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h_expect(h, h_level(h, 1, 1, 3, 0), PAWL_ESTALE);
    h_expect(h, h_level(h, 1, 3, 3, 0), PAWL_ESTALE);
    h_expect(h, h_level(h, 2, 2, 3, 0), PAWL_ENOCHUNK);
    h_expect(h, h_level(h, 0, 2, 2, 1), PAWL_ESTALE);   // our log is longer than that
    h_expect(h, h_level(h, 1, 2, 3, 1), PAWL_EINVALID); // from itself
    h_expect(h, h_level(h, 1, 2, CHUNK_RECORDS_MAX + 1, 0), PAWL_EINVALID);
    h_expect(h, h_level(h, 1, 2, 3, 0), 0);
}

static void test_level_when_source_is_lost_is_answered_with_the_failure(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->fail_peer[0] = PAWL_EDISCONNECTED;
    h_expect(h, h_level(h, 1, 2, 3, 0), PAWL_EDISCONNECTED);
    h->fail_peer[0] = 0;
    h_expect(h, h_level(h, 1, 2, 3, 0), 0);
}

static void test_level_when_source_has_no_such_record_is_answered_with_its_refusal(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h_expect(h, h_level(h, 1, 2, 4, 0), PAWL_EEXPECT);
    assert_int_equal(h_inspect(h, 1).count, 3); // what it got is sound
    h_expect(h, h_level(h, 1, 2, 3, 0), 0);
}

static void test_level_when_payload_landed_wrong_is_not_taken(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->corrupt[1] = 0x10;
    h_expect(h, h_level(h, 1, 2, 3, 0), PAWL_EBADPAYLOAD);
    assert_int_equal(h->disk[1].records_count, 1);
    h->corrupt[1] = 0;
    h_expect(h, h_level(h, 1, 2, 3, 0), 0);
}

// Nobody may order while the log still grows: the master has granted this version to nobody.
static void test_level_when_a_prepare_comes_meanwhile_it_is_refused(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->hold_net[0] = true;
    uint64_t level = h_level(h, 1, 2, 3, 0);
    union h_message message = {.prepare = {.chunk = H_CHUNK,
                                           .version = 2,
                                           .index = 1,
                                           .offset = 100,
                                           .id = {.producer_lo = 7, .sequence = 1},
                                           .length = 10,
                                           .crc = 5}};
    h_expect(h, h_message_send(h, 1, CHUNK_EVENT_PREPARE, &message, 5), PAWL_ESTALE);
    h->hold_net[0] = false;
    h_run(h);
    h_expect(h, level, 0);
}

static void test_level_when_a_newer_fence_comes_is_cancelled(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->hold_net[0] = true;
    uint64_t level = h_level(h, 1, 2, 3, 0);
    uint64_t fence = h_fence(h, 1, 3);
    h_expect(h, level, PAWL_ESTALE);
    h_expect(h, fence, 0); // does not wait for the fetch
    h->hold_net[0] = false;
    h_run(h); // the record arrives and is let go
    assert_int_equal(h_inspect(h, 1).count, 1);
}

static void test_level_when_fenced_while_writing_drains_what_it_took(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->hold_store[1] = true;
    uint64_t level = h_level(h, 1, 2, 3, 0);
    uint64_t fence = h_fence(h, 1, 3);
    h_expect(h, level, PAWL_ESTALE);
    assert_false(h_is_answered(h, fence));
    h->hold_store[1] = false;
    h_run(h);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 2);
}

static void test_level_when_dropped_meanwhile_frees_after_the_fetch(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->hold_net[0] = true;
    uint64_t level = h_level(h, 1, 2, 3, 0);
    h_expect(h, h_drop(h, 1, 2), 0);
    h_expect(h, level, PAWL_ESTALE);
    h_expect(h, h_drop(h, 1, 2), 0);
    h->hold_net[0] = false;
    h_run(h);
    h_expect(h, h_open(h, 1, 5, NULL, 0), 0);
}

static void test_level_when_restarted_in_between_goes_on(void **state)
{
    struct harness *h = *state;
    uneven(h, 4, 1);
    h->hold_store[1] = true;
    h_level(h, 1, 2, 4, 0);
    h_store_end(h, 1, 0, 0);
    h_run(h);
    h_crash(h, 1);
    h->hold_store[1] = false;
    h_start(h, 1);
    assert_int_equal(h_inspect(h, 1).count, 2);
    h_expect(h, h_fence(h, 1, 2), 0); // repeated: a levelled record is no use of the version
    h_expect(h, h_level(h, 1, 2, 4, 0), 0);
}

static void test_level_when_write_fails_is_answered_with_it(void **state)
{
    struct harness *h = *state;
    uneven(h, 3, 1);
    h->fail_store[1] = -5;
    h_expect(h, h_level(h, 1, 2, 3, 0), -5);
    h_expect(h, h_level(h, 1, 2, 3, 0), -5);
}

static void test_level_when_sealed_already_is_answered_by_its_count(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_seal(h, 0, 2, 1, 100), 0);
    h_expect(h, h_level(h, 0, 2, 1, 1), 0);
    h_expect(h, h_level(h, 0, 2, 2, 1), PAWL_ESTALE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_level_when_short_fetches_what_is_missing),
        TEST(test_level_when_records_are_not_durable_is_not_answered),
        TEST(test_level_when_version_was_not_promised_is_refused),
        TEST(test_level_when_source_is_lost_is_answered_with_the_failure),
        TEST(test_level_when_source_has_no_such_record_is_answered_with_its_refusal),
        TEST(test_level_when_payload_landed_wrong_is_not_taken),
        TEST(test_level_when_a_prepare_comes_meanwhile_it_is_refused),
        TEST(test_level_when_a_newer_fence_comes_is_cancelled),
        TEST(test_level_when_fenced_while_writing_drains_what_it_took),
        TEST(test_level_when_dropped_meanwhile_frees_after_the_fetch),
        TEST(test_level_when_restarted_in_between_goes_on),
        TEST(test_level_when_write_fails_is_answered_with_it),
        TEST(test_level_when_sealed_already_is_answered_by_its_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
