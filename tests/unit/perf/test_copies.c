// SPDX-License-Identifier: Apache-2.0
// Tests of perf/copies: what the share of copied bytes is of.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/copies.h"

static const struct perf_copies begin = {1000, 0, 500, 1000, 100};

static void test_copies_when_appended_then_those_of_the_client_and_of_one_replica(void **state)
{
    (void)state;
    // Copied once by the client; of three replicas, five times in all.
    struct perf_copies clients = {.stored_bytes = 100, .copied_bytes = 100};
    struct perf_copies end = {1300, 0, 1000, 1000, 100};
    assert_true(fabs(perf_copies_per_byte(&clients, &begin, &end, 3) - (1 + 5.0 / 3)) < 1e-9);
}

static void test_copies_when_read_then_what_was_stored_meanwhile_does_not_count(void **state)
{
    (void)state;
    struct perf_copies clients = {.read_bytes = 400, .read_copied_bytes = 100};
    struct perf_copies end = {1300, 0, 1000, 1800, 500}; // half of what servers read
    assert_true(fabs(perf_copies_per_byte(&clients, &begin, &end, 3) - 0.75) < 1e-9);
    end.read_copied_bytes = begin.read_copied_bytes;
    clients.read_copied_bytes = 0;
    assert_true(perf_copies_per_byte(&clients, &begin, &end, 3) == 0);
}

static void test_copies_when_both_then_by_bytes(void **state)
{
    (void)state;
    struct perf_copies clients = {.stored_bytes = 100, .copied_bytes = 200, .read_bytes = 300};
    struct perf_copies end = {1300, 0, 500, 1300, 100};
    assert_true(fabs(perf_copies_per_byte(&clients, &begin, &end, 3) - 0.5) < 1e-9);
}

static void test_copies_when_pushed_then_by_what_servers_have_received(void **state)
{
    (void)state;
    // A record of 100 bytes opens the file: copied once by each of three servers. The client has copied all.
    struct perf_copies clients = {.stored_bytes = 1000, .pushed_bytes = 900, .copied_bytes = 1000};
    struct perf_copies end = {1300, 0, 800, 1000, 100};
    assert_true(fabs(perf_copies_per_byte(&clients, &begin, &end, 3) - 1.1) < 1e-9);
    end.copied_bytes += 3 * 900; // and each server would copy what is pushed
    assert_true(fabs(perf_copies_per_byte(&clients, &begin, &end, 3) - 2) < 1e-9);
}

static void test_copies_when_merged_then_added(void **state)
{
    (void)state;
    struct perf_copies sum = {1, 2, 3, 4, 5};
    perf_copies_merge(&sum, &(struct perf_copies){10, 20, 30, 40, 50});
    assert_memory_equal(&sum, (&(struct perf_copies){11, 22, 33, 44, 55}), sizeof sum);
}

static void test_copies_when_servers_told_nothing_then_not_known(void **state)
{
    (void)state;
    struct perf_copies appends = {.stored_bytes = 100, .copied_bytes = 100};
    struct perf_copies reads = {.read_bytes = 100};
    struct perf_copies none = {0};
    struct perf_copies end = {1100, 0, 500, 1000, 100};
    assert_true(isnan(perf_copies_per_byte(&none, &begin, &end, 3)));
    assert_true(isnan(perf_copies_per_byte(&reads, &begin, &end, 3)));
    assert_true(isnan(perf_copies_per_byte(&appends, &begin, &begin, 3)));
    assert_true(isnan(perf_copies_per_byte(&appends, &end, &none, 3))); // started anew
    assert_true(perf_copies_per_byte(&appends, &begin, &end, 3) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_when_appended_then_those_of_the_client_and_of_one_replica),
        cmocka_unit_test(test_copies_when_read_then_what_was_stored_meanwhile_does_not_count),
        cmocka_unit_test(test_copies_when_both_then_by_bytes),
        cmocka_unit_test(test_copies_when_pushed_then_by_what_servers_have_received),
        cmocka_unit_test(test_copies_when_merged_then_added),
        cmocka_unit_test(test_copies_when_servers_told_nothing_then_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
