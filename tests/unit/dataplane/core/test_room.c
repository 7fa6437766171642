// SPDX-License-Identifier: Apache-2.0
// A store without room: a refused record is not there, and nothing else has changed.
#include "core_harness.h"

#include <errno.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)

static void test_append_when_store_has_no_room_stops_the_primary_without_damage(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->fail_store[0] = PAWL_ENOSPACE;
    h_expect(h, h_append(h, 0, 1, 2), PAWL_ESTALE);
    assert_int_equal(h_reports(h, 0, H_BROKEN, 1), 1);
    assert_int_equal(h_reports(h, 0, H_DAMAGED, 1), 0);
    assert_int_equal(h_inspect(h, 0).count, 1);
    h_tick(h, 0, 600); // until somebody hears it
    assert_int_equal(h_reports(h, 0, H_BROKEN, 1), 2);
    // It orders nothing more under this version: the index was given out.
    h->fail_store[0] = 0;
    h_expect(h, h_append(h, 0, 1, 2), PAWL_ENOTPRIMARY);
    h_expect(h, h_grant(h, 0, 1, 1, 1), PAWL_ESTALE);
    // The next one goes on as if the record had never come.
    uint64_t fence = h_fence(h, 0, 2);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 1);
    h_expect(h, h_grant(h, 0, 2, 1, 1), 0);
    struct h_append append = {.producer = 1, .sequence = 2, .version = 2};
    uint64_t again = h_append_send(h, 0, &append);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->duplicate, 0);
}

static void test_append_when_records_behind_fail_too_is_cut_at_the_first(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    uint64_t a = h_append(h, 0, 1, 1);
    uint64_t b = h_append(h, 0, 1, 2);
    uint64_t c = h_append(h, 0, 1, 3);
    h_store_end(h, 0, 1, PAWL_ENOSPACE); // refused at once, while the first is being written
    h_store_end(h, 0, 1, -EINVAL);       // not the next one
    assert_int_equal(h_inspect(h, 0).count, 0);
    h_expect(h, a, PAWL_ESTALE);
    h_expect(h, b, PAWL_ESTALE);
    h_expect(h, c, PAWL_ESTALE);
    h_store_end(h, 0, 0, 0);
    h->hold_store[0] = false;
    uint64_t fence = h_fence(h, 0, 2);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 1);
}

static void test_full_chunk_when_what_filled_it_is_refused_is_not_full(void **state)
{
    struct harness *h = *state;
    struct h_append append = {.producer = 1, .length = H_CHUNK_BYTES / 4};
    h_ready(h, 1);
    h->hold_store[0] = true;
    for (append.sequence = 1; append.sequence <= 4; append.sequence++) {
        h_append_send(h, 0, &append);
    }
    h_expect(h, h_append_send(h, 0, &append), PAWL_ECHUNKFULL);
    for (uint32_t i = 4; i-- > 0;) {
        h_store_end(h, 0, i, PAWL_ENOSPACE);
    }
    h->hold_store[0] = false;
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_grant(h, 0, 2, 0, 1), 0);
    append.sequence = 1;
    append.version = 2;
    h_expect(h, h_append_send(h, 0, &append), 0);
    assert_int_equal(h_reports(h, 0, H_FULL, 2), 0);
}

static void test_fence_when_a_record_is_refused_meanwhile_counts_without_it(void **state)
{
    struct harness *h = *state;
    h_ready(h, 1);
    h->hold_store[0] = true;
    h_append(h, 0, 1, 1);
    uint64_t fence = h_fence(h, 0, 2);
    h_store_end(h, 0, 0, PAWL_ENOSPACE);
    assert_false(h_is_answered(h, fence));
    h->hold_store[0] = false;
    h_run(h);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 0);
    h_expect(h, h_grant(h, 0, 2, 0, 1), 0);
}

static void test_prepare_when_store_has_no_room_is_refused_and_reported(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h_expect(h, h_append(h, 0, 1, 1), 0);
    h->fail_store[1] = PAWL_ENOSPACE;
    uint64_t a = h_append(h, 0, 1, 2);
    assert_false(h_is_answered(h, a));
    assert_int_equal(h_reports(h, 0, H_BROKEN, 2), 1);
    assert_int_equal(h_reports(h, 1, H_DAMAGED, 2), 0);
    assert_int_equal(h_inspect(h, 1).count, 1);
    // Levelling brings it the record when there is room again.
    h->fail_store[1] = 0;
    h_expect(h, h_fence(h, 0, 2), 0);
    uint64_t fence = h_fence(h, 1, 2);
    h_expect(h, fence, 0);
    assert_int_equal(h->requests[fence].fenced.count, 1);
    h_expect(h, h_level(h, 1, 2, 2, 0), 0);
    h_expect(h, h_grant(h, 0, 2, 2, 2), 0);
    struct h_append append = {.producer = 1, .sequence = 2, .version = 2};
    uint64_t again = h_append_send(h, 0, &append);
    h_expect(h, again, 0);
    assert_int_equal(h_appended(h, again)->duplicate, 1);
}

static void test_level_when_store_has_no_room_ends_and_may_come_again(void **state)
{
    struct harness *h = *state;
    h_ready(h, 2);
    h->fail_store[1] = PAWL_ENOSPACE;
    h_append(h, 0, 1, 1);
    h->fail_store[1] = 0; // a promise needs none
    h_expect(h, h_fence(h, 0, 2), 0);
    h_expect(h, h_fence(h, 1, 2), 0);
    h->fail_store[1] = PAWL_ENOSPACE;
    h_expect(h, h_level(h, 1, 2, 1, 0), PAWL_ENOSPACE);
    assert_int_equal(h_inspect(h, 1).count, 0);
    h->fail_store[1] = 0;
    h_expect(h, h_level(h, 1, 2, 1, 0), 0);
    assert_int_equal(h_inspect(h, 1).count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_store_has_no_room_stops_the_primary_without_damage),
        TEST(test_append_when_records_behind_fail_too_is_cut_at_the_first),
        TEST(test_full_chunk_when_what_filled_it_is_refused_is_not_full),
        TEST(test_fence_when_a_record_is_refused_meanwhile_counts_without_it),
        TEST(test_prepare_when_store_has_no_room_is_refused_and_reported),
        TEST(test_level_when_store_has_no_room_ends_and_may_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
