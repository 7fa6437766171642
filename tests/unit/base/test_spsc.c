// SPDX-License-Identifier: Apache-2.0
// Tests of base/spsc.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "base/spsc.h"

#define ITEMS 200000

static void test_spsc_when_full_then_push_is_refused_until_popped(void **state)
{
    (void)state;
    struct pawl_spsc ring;
    int items[5];
    assert_int_equal(pawl_spsc_init(&ring, pawl_alloc_heap(), 4), 0);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            assert_true(pawl_spsc_push(&ring, &items[i]));
        }
        assert_false(pawl_spsc_push(&ring, &items[4]));
        assert_ptr_equal(pawl_spsc_pop(&ring), &items[0]);
        assert_true(pawl_spsc_push(&ring, &items[4]));
        for (int i = 1; i < 5; i++) {
            assert_ptr_equal(pawl_spsc_pop(&ring), &items[i]);
        }
        assert_null(pawl_spsc_pop(&ring));
    }
    pawl_spsc_fini(&ring);
}

static void test_spsc_when_capacity_is_no_power_of_two_then_refused(void **state)
{
    (void)state;
    struct pawl_spsc ring;
    assert_int_equal(pawl_spsc_init(&ring, pawl_alloc_heap(), 3), -EINVAL);
    assert_int_equal(pawl_spsc_init(&ring, pawl_alloc_heap(), 0), -EINVAL);
}

static int spsc_numbers[ITEMS];

// Writes each item just before it is pushed, so that a missing barrier shows as a wrong number.
static void *produce(void *arg)
{
    struct pawl_spsc *ring = arg;
    for (int i = 0; i < ITEMS; i++) {
        spsc_numbers[i] = i + 1;
        while (!pawl_spsc_push(ring, &spsc_numbers[i])) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_spsc_when_two_threads_then_all_in_order(void **state)
{
    (void)state;
    struct pawl_spsc ring;
    pthread_t producer;
    assert_int_equal(pawl_spsc_init(&ring, pawl_alloc_heap(), 64), 0);
    assert_int_equal(pthread_create(&producer, NULL, produce, &ring), 0);
    for (int i = 0; i < ITEMS; i++) {
        int *number;
        while (!(number = pawl_spsc_pop(&ring))) {
            sched_yield();
        }
        assert_int_equal(*number, i + 1);
    }
    assert_int_equal(pthread_join(producer, NULL), 0);
    assert_null(pawl_spsc_pop(&ring));
    pawl_spsc_fini(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spsc_when_full_then_push_is_refused_until_popped),
        cmocka_unit_test(test_spsc_when_capacity_is_no_power_of_two_then_refused),
        cmocka_unit_test(test_spsc_when_two_threads_then_all_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
