// SPDX-License-Identifier: Apache-2.0
// Unit tests of base/patience.c.
#include "base/patience.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SHORT_NS (PAWL_PATIENCE_CROWD_NS - 1)

static void test_patience_lasts_for_a_moment_after_an_event(void **state)
{
    (void)state;
    struct pawl_patience patience = {0};
    assert_false(pawl_patience_has(&patience, 500));
    assert_false(pawl_patience_has(&patience, 1000));
    pawl_patience_renew(&patience, 1000);
    assert_true(pawl_patience_has(&patience, 3000)); // work came between: the wait begins here
    assert_true(pawl_patience_has(&patience, 3000 + PAWL_PATIENCE_MIN_NS - 1));
    assert_false(pawl_patience_has(&patience, 3000 + PAWL_PATIENCE_MIN_NS));
    assert_false(pawl_patience_has(&patience, 9000 + PAWL_PATIENCE_MIN_NS)); // the same wait
}

// Waits from `now_ns` on until an event comes `waited_ns` later. Returns how long patience is after it.
static uint64_t length_after_wait(struct pawl_patience *patience, uint64_t now_ns,
                                  uint64_t waited_ns)
{
    (void)pawl_patience_wait(patience, now_ns);
    (void)pawl_patience_wait(patience, now_ns + waited_ns / 2); // the wait began with the first one
    pawl_patience_renew(patience, now_ns + waited_ns);
    return patience->length_ns;
}

static void test_patience_is_as_long_as_waits_are(void **state)
{
    (void)state;
    struct pawl_patience patience = {.crowded_until_ns = UINT64_MAX}; // so that nothing yields
    uint64_t min_ns = PAWL_PATIENCE_MIN_NS;
    uint64_t max_ns = PAWL_PATIENCE_MAX_NS;
    assert_int_equal(length_after_wait(&patience, 1000, min_ns), min_ns);
    assert_int_equal(length_after_wait(&patience, 2000, min_ns + 1), 2 * min_ns);
    assert_int_equal(length_after_wait(&patience, 3000, min_ns + 1), 2 * min_ns);
    assert_int_equal(length_after_wait(&patience, 4000, max_ns), max_ns);
    assert_int_equal(length_after_wait(&patience, 5000, max_ns), max_ns);
    assert_int_equal(length_after_wait(&patience, 6000, 1), max_ns);
    assert_int_equal(length_after_wait(&patience, 7000, max_ns + 1), max_ns / 2);
    assert_int_equal(length_after_wait(&patience, 8000, max_ns + 1), max_ns / 4);
    assert_int_equal(length_after_wait(&patience, 9000, max_ns + 1), min_ns);
}

static void test_patience_takes_work_for_no_wait(void **state)
{
    (void)state;
    struct pawl_patience patience = {.crowded_until_ns = UINT64_MAX};
    (void)length_after_wait(&patience, 1000, PAWL_PATIENCE_MIN_NS + 1);
    pawl_patience_renew(&patience, 1000 * (uint64_t)PAWL_PATIENCE_MAX_NS); // no wait before it
    assert_int_equal(patience.length_ns, 2 * PAWL_PATIENCE_MIN_NS);
}

static void test_patience_ends_where_others_want_the_core(void **state)
{
    (void)state;
    struct pawl_patience patience = {0};
    uint64_t took_ns = 3000000;
    uint64_t over_ns = 5000 + took_ns * PAWL_PATIENCE_CALM;
    pawl_patience_renew(&patience, 5000);
    pawl_patience_learn(&patience, 5000, took_ns);
    assert_false(pawl_patience_has(&patience, 5000));
    pawl_patience_renew(&patience, over_ns - 1); // events alone don't bring it back
    assert_false(pawl_patience_has(&patience, over_ns - 1));
    assert_true(pawl_patience_has(&patience, over_ns));
}

static void test_patience_stays_when_yields_are_short(void **state)
{
    (void)state;
    struct pawl_patience patience = {0};
    pawl_patience_renew(&patience, 5000);
    for (uint64_t i = 0; i < 100; i++) {
        pawl_patience_learn(&patience, 5000 + i, SHORT_NS);
    }
    assert_true(pawl_patience_has(&patience, 5100));
}

static void test_patience_that_is_over_does_not_yield(void **state)
{
    (void)state;
    struct pawl_patience patience = {.length_ns = 10};
    assert_true(pawl_patience_wait(&patience, 100));
    patience.crowded_until_ns = 0; // whatever that yield really took
    assert_true(pawl_patience_wait(&patience, 109));
    patience.crowded_until_ns = 0;
    assert_false(pawl_patience_wait(&patience, 110));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patience_lasts_for_a_moment_after_an_event),
        cmocka_unit_test(test_patience_is_as_long_as_waits_are),
        cmocka_unit_test(test_patience_takes_work_for_no_wait),
        cmocka_unit_test(test_patience_ends_where_others_want_the_core),
        cmocka_unit_test(test_patience_stays_when_yields_are_short),
        cmocka_unit_test(test_patience_that_is_over_does_not_yield),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
