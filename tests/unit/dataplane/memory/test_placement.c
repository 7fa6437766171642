// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/placement.c, on synthetic topologies.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <sched.h>

#include "dataplane/memory/placement.h"

static void test_choose_when_near_node_is_given_then_its_cores_come_first(void **state)
{
    (void)state;
    struct placement *placement;
    struct placement_core cores[6];

    assert_int_equal(placement_open("node:2 core:4 pu:2", &placement), 0);
    assert_int_equal(placement_cores_count(placement), 8);
    assert_int_equal(placement_pus_count(placement), 16);
    assert_int_equal(placement_choose(placement, 1, 6, cores), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(cores[i].numa_node, 1);
        assert_int_equal(cores[i].pu, 8 + 2 * i); // the first hardware thread of each core
        assert_false(cores[i].shared);
    }
    assert_int_equal(cores[4].numa_node, 0);
    assert_int_equal(cores[4].pu, 0);
    assert_int_equal(placement_bind(placement, &cores[0]), -ENOSYS);
    placement_close(placement);
}

static void test_choose_when_cores_run_out_then_threads_and_then_sharing(void **state)
{
    (void)state;
    struct placement *placement;
    struct placement_core cores[5];

    assert_int_equal(placement_open("node:1 core:2 pu:2", &placement), 0);
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 5, cores), 0);
    static const unsigned pus[] = {0, 2, 1, 3, 0};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cores[i].pu, pus[i]);
        assert_int_equal(cores[i].shared, i >= 2);
    }
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 0, cores), -EINVAL);
    placement_close(placement);
}

static void test_open_when_description_is_bad_then_refuses(void **state)
{
    (void)state;
    struct placement *placement = NULL;

    assert_int_equal(placement_open("node:two", &placement), -EINVAL);
    assert_null(placement);
    placement_close(NULL);
}

static void test_bind_when_on_this_machine_then_affinity_is_that_core(void **state)
{
    (void)state;
    struct placement *placement;
    struct placement_core core;
    cpu_set_t before, after;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(placement_open(NULL, &placement), 0);
    assert_true(placement_pus_count(placement) <= (unsigned)CPU_COUNT(&before));
    assert_int_equal(placement_choose(placement, 0, 1, &core), 0);
    assert_int_equal(placement_bind(placement, &core), 0);
    assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
    assert_int_equal(CPU_COUNT(&after), 1);
    assert_true(CPU_ISSET(core.pu, &after));
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    placement_close(placement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose_when_near_node_is_given_then_its_cores_come_first),
        cmocka_unit_test(test_choose_when_cores_run_out_then_threads_and_then_sharing),
        cmocka_unit_test(test_open_when_description_is_bad_then_refuses),
        cmocka_unit_test(test_bind_when_on_this_machine_then_affinity_is_that_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
