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

#include "tests/unit/dataplane/memory/synthetic.h"

static int open_synthetic(const char *synthetic, struct placement **ret)
{
    struct placement_options options = {.synthetic = synthetic};
    return placement_open(&options, ret);
}

static void test_choose_when_near_node_is_given_then_its_cores_come_first(void **state)
{
    (void)state;
    struct placement *placement;
    struct placement_core cores[6];

    assert_int_equal(open_synthetic("node:2 core:4 pu:2", &placement), 0);
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

    assert_int_equal(open_synthetic("node:1 core:2 pu:2", &placement), 0);
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 5, cores), 0);
    static const unsigned pus[] = {0, 2, 1, 3, 0};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cores[i].pu, pus[i]);
        assert_int_equal(cores[i].core, i == 1 || i == 3 ? 2 : 0);
        assert_true(cores[i].shared);
    }
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 3, cores), 0);
    assert_true(cores[0].shared); // the third has its second hardware thread
    assert_false(cores[1].shared);
    assert_true(cores[2].shared);
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 2, cores), 0);
    assert_false(cores[0].shared);
    assert_false(cores[1].shared);
    assert_int_equal(placement_choose(placement, PLACEMENT_ANY_NODE, 0, cores), -EINVAL);
    placement_close(placement);
}

static void test_open_when_description_is_bad_then_refuses(void **state)
{
    (void)state;
    struct placement *placement = NULL;

    assert_int_equal(open_synthetic("node:two", &placement), -EINVAL);
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

// ---- where the network device is ----------------------------------------------------------------

// Two devices on node 1 and one that hangs off the machine.
static struct placement *open_with_devices(const char *topology, const char *cpus)
{
    return synthetic_open(
        &(struct synthetic){.topology = topology,
                            .cpus = cpus,
                            .on_node_1 = SYNTHETIC_DEVICE("9001", "eth7", SYNTHETIC_ETHERNET)
                                SYNTHETIC_DEVICE("9002", "mlx5_0", SYNTHETIC_INFINIBAND),
                            .on_machine = SYNTHETIC_DEVICE("9003", "eth0", SYNTHETIC_ETHERNET)});
}

static void test_device_when_it_is_on_a_node_leads_to_its_cores(void **state)
{
    (void)state;
    struct placement *placement = open_with_devices("package:2 [numa] core:8 pu:2", NULL);
    struct placement_core cores[10];
    uint32_t node = 99;
    assert_int_equal(placement_device_node(placement, "mlx5_0", &node), 0);
    assert_int_equal(node, 1);
    node = 99;
    assert_int_equal(placement_device_node(placement, "eth7", &node), 0);
    assert_int_equal(node, 1);
    assert_int_equal(placement_cores_near(placement, node), 8);
    assert_int_equal(placement_cores_near(placement, PLACEMENT_ANY_NODE), 16);
    assert_int_equal(placement_choose(placement, node, 10, cores), 0);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(cores[i].numa_node, 1);
        assert_int_equal(cores[i].pu, 16 + 2 * i);
    }
    assert_int_equal(cores[8].numa_node, 0); // no more near ones: whole cores before second threads
    assert_int_equal(cores[8].pu, 0);
    assert_false(cores[9].shared);
    placement_close(placement);
}

static void test_device_when_it_is_nowhere_says_so(void **state)
{
    (void)state;
    struct placement *placement = open_with_devices("package:2 [numa] core:8 pu:1", NULL);
    uint32_t node = 99;
    assert_int_equal(placement_device_node(placement, "eth0", &node), -ENODATA);
    assert_int_equal(placement_device_node(placement, "lo", &node), -ENODATA);
    assert_int_equal(placement_device_node(placement, "", &node), -ENODATA);
    assert_int_equal(node, 99);
    placement_close(placement);
}

static void
test_device_when_the_cpuset_is_restricted_leads_to_what_is_left_of_its_node(void **state)
{
    (void)state;
    struct placement *placement = open_with_devices("package:2 [numa] core:8 pu:2", "4-7,20-23");
    struct placement_core cores[5];
    uint32_t node = 99;
    assert_int_equal(placement_cores_count(placement), 4);
    assert_int_equal(placement_pus_count(placement), 8);
    assert_int_equal(placement_device_node(placement, "eth7", &node), 0);
    assert_int_equal(placement_cores_near(placement, node), 2);
    assert_int_equal(placement_choose(placement, node, 5, cores), 0);
    static const unsigned pus[] = {20, 22, 4, 6, 21};
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cores[i].pu, pus[i]);
        assert_int_equal(cores[i].shared, i == 0 || i == 4);
    }
    placement_close(placement);
}

static void test_device_when_its_node_may_not_be_used_leads_nowhere(void **state)
{
    (void)state;
    struct placement *placement = open_with_devices("package:2 [numa] core:8 pu:2", "0-3");
    struct placement_core core;
    uint32_t node = PLACEMENT_ANY_NODE;
    assert_int_equal(placement_device_node(placement, "eth7", &node), -ENODATA);
    assert_int_equal(placement_choose(placement, node, 1, &core), 0);
    assert_int_equal(core.pu, 0);
    placement_close(placement);
}

static void test_choose_when_there_is_one_core_shares_it(void **state)
{
    (void)state;
    struct placement *placement;
    struct placement_core cores[2];
    assert_int_equal(open_synthetic("core:1 pu:1", &placement), 0);
    assert_int_equal(placement_cores_near(placement, 1), 0);
    assert_int_equal(placement_choose(placement, 1, 2, cores), 0); // another node than there is
    assert_int_equal(cores[0].pu, 0);
    assert_true(cores[0].shared);
    assert_int_equal(cores[1].pu, 0);
    assert_true(cores[1].shared);
    placement_close(placement);
}

static void test_open_when_cpus_are_bad_then_refuses(void **state)
{
    (void)state;
    struct placement *placement = NULL;
    struct placement_options options = {.synthetic = "core:2 pu:1", .cpus = "two"};
    assert_int_equal(placement_open(&options, &placement), -EINVAL);
    options.cpus = "7"; // nothing would be left
    assert_int_equal(placement_open(&options, &placement), -EINVAL);
    options = (struct placement_options){.xml = "<no topology>"};
    assert_true(placement_open(&options, &placement) < 0);
    assert_null(placement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_when_it_is_on_a_node_leads_to_its_cores),
        cmocka_unit_test(test_device_when_it_is_nowhere_says_so),
        cmocka_unit_test(
            test_device_when_the_cpuset_is_restricted_leads_to_what_is_left_of_its_node),
        cmocka_unit_test(test_device_when_its_node_may_not_be_used_leads_nowhere),
        cmocka_unit_test(test_choose_when_there_is_one_core_shares_it),
        cmocka_unit_test(test_open_when_cpus_are_bad_then_refuses),
        cmocka_unit_test(test_choose_when_near_node_is_given_then_its_cores_come_first),
        cmocka_unit_test(test_choose_when_cores_run_out_then_threads_and_then_sharing),
        cmocka_unit_test(test_open_when_description_is_bad_then_refuses),
        cmocka_unit_test(test_bind_when_on_this_machine_then_affinity_is_that_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
