// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/placement_interface.c: interfaces that are made of others, on a machine of two nodes.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "net_tree.h"
#include "synthetic.h"

// eth0 is on node 0, eth2 and eth3 are on node 1, nobody knows where eth9 is.
static int find(const char *root, const char *interface, uint32_t *ret_node)
{
    struct placement *placement = synthetic_open(
        &(struct synthetic){.topology = "package:2 [numa] core:8 pu:1",
                            .on_node_0 = SYNTHETIC_DEVICE("9000", "eth0", SYNTHETIC_ETHERNET),
                            .on_node_1 = SYNTHETIC_DEVICE("9002", "eth2", SYNTHETIC_ETHERNET)
                                SYNTHETIC_DEVICE("9003", "eth3", SYNTHETIC_ETHERNET),
                            .on_machine = SYNTHETIC_DEVICE("9009", "eth9", SYNTHETIC_ETHERNET)});
    net_tree_device(root, "eth0");
    net_tree_device(root, "eth2");
    net_tree_device(root, "eth3");
    net_tree_device(root, "eth9");
    *ret_node = PLACEMENT_ANY_NODE;
    int code = placement_interface_node(placement, root, interface, ret_node);
    placement_close(placement);
    return code;
}

static void expect_node(const char *root, const char *interface, uint32_t expected)
{
    uint32_t node;
    assert_int_equal(find(root, interface, &node), 0);
    assert_int_equal(node, expected);
}

static void expect_none(const char *root, const char *interface)
{
    uint32_t node;
    assert_int_equal(find(root, interface, &node), -ENODATA);
    assert_int_equal(node, PLACEMENT_ANY_NODE);
}

static void test_interface_when_it_is_a_device_is_on_its_node(void **state)
{
    expect_node(*state, "eth0", 0);
    expect_node(*state, "eth3", 1);
    expect_none(*state, "eth9");
    expect_none(*state, "eth4"); // there is none
}

static void test_interface_when_made_of_devices_of_a_node_is_there(void **state)
{
    net_tree_lower(*state, "bond0", "eth2");
    net_tree_lower(*state, "bond0", "eth3");
    net_tree_lower(*state, "eth0.100", "eth0");
    expect_node(*state, "bond0", 1);
    expect_node(*state, "eth0.100", 0);
}

static void test_interface_when_several_levels_above_a_device_is_there(void **state)
{
    net_tree_lower(*state, "bond0", "eth2");
    net_tree_lower(*state, "bond0", "eth3");
    net_tree_lower(*state, "bond0.100", "bond0");
    net_tree_lower(*state, "br0", "bond0.100");
    net_tree_add(*state, "tap0"); // of a virtual machine
    net_tree_lower(*state, "br0", "tap0");
    net_tree_lower(*state, "br0.7", "br0");
    expect_node(*state, "br0.7", 1);
}

static void test_interface_when_its_devices_disagree_is_nowhere(void **state)
{
    net_tree_lower(*state, "bond0", "eth2");
    net_tree_lower(*state, "bond0", "eth0");
    net_tree_lower(*state, "bond0.100", "bond0");
    expect_none(*state, "bond0");
    expect_none(*state, "bond0.100");
}

static void test_interface_when_one_device_does_not_tell_is_nowhere(void **state)
{
    net_tree_lower(*state, "bond0", "eth2");
    net_tree_lower(*state, "bond0", "eth9");
    expect_none(*state, "bond0");
}

static void test_interface_when_made_of_no_device_is_nowhere(void **state)
{
    net_tree_add(*state, "tap0");
    net_tree_lower(*state, "br0", "tap0");
    net_tree_add(*state, "lo");
    expect_none(*state, "br0");
    expect_none(*state, "lo");
}

static void test_interface_when_levels_have_no_end_is_nowhere(void **state)
{
    net_tree_lower(*state, "br0", "br1");
    net_tree_lower(*state, "br1", "br0");
    expect_none(*state, "br0");
    net_tree_lower(*state, "v0", "eth2");
    for (int i = 1; i < 12; i++) {
        char upper[16];
        char lower[16];
        snprintf(upper, sizeof(upper), "v%d", i);
        snprintf(lower, sizeof(lower), "v%d", i - 1);
        net_tree_lower(*state, upper, lower);
    }
    expect_node(*state, "v6", 1);
    expect_none(*state, "v11");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, net_tree_setup, net_tree_teardown)
    const struct CMUnitTest tests[] = {
        T(test_interface_when_it_is_a_device_is_on_its_node),
        T(test_interface_when_made_of_devices_of_a_node_is_there),
        T(test_interface_when_several_levels_above_a_device_is_there),
        T(test_interface_when_its_devices_disagree_is_nowhere),
        T(test_interface_when_one_device_does_not_tell_is_nowhere),
        T(test_interface_when_made_of_no_device_is_nowhere),
        T(test_interface_when_levels_have_no_end_is_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
