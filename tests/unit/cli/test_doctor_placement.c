// SPDX-License-Identifier: Apache-2.0
// doctor's words about where reactors would run, on topologies that are not this machine's.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/doctor.h"
#include "tests/unit/dataplane/memory/net_tree.h"
#include "tests/unit/dataplane/memory/synthetic.h"

static char said[4096]; // a line for each finding

static void take(void *user, const char *check, bool well, const char *found, const char *advice)
{
    (void)user;
    assert_string_equal(check, "placement");
    assert_true(well);
    assert_string_equal(advice, "");
    size_t used = strlen(said);
    assert_true(used + strlen(found) + 2 < sizeof said);
    snprintf(said + used, sizeof said - used, "%s\n", found);
}

// With eth7 on node 1, if there is one.
static struct placement *topology_of(const char *topology, const char *cpus)
{
    bool has_node_1 = strstr(topology, "[numa]") != NULL;
    return synthetic_open(&(struct synthetic){
        .topology = topology,
        .cpus = cpus,
        .on_node_1 = has_node_1 ? SYNTHETIC_DEVICE("9001", "eth7", SYNTHETIC_ETHERNET) : NULL});
}

static void expect(const char *synthetic, const char *cpus, const char *text)
{
    static const char *const devices[] = {"lo", "eth7"};
    const char *root = "/nowhere";
    struct doctor_report report = {.finding = take};
    struct placement *placement = topology_of(synthetic, cpus);
    said[0] = '\0';
    doctor_placement(placement, root, devices, PAWL_ARRAY_COUNT(devices), &report);
    assert_string_equal(said, text);
    placement_close(placement);
}

static void test_placement_when_the_card_is_on_node_1_names_its_threads_first(void **state)
{
    (void)state;
    expect("package:2 [numa] core:8 pu:1", NULL,
           "eth7 is on NUMA node 1; `reactors: auto` is 8; hardware threads in this order: "
           "8,9,10,11,12,13,14,15 of node 1; 0,1,2,3,4,5,6,7 of node 0\n");
}

static void test_placement_when_cores_have_two_threads_says_where_they_are_shared(void **state)
{
    (void)state;
    expect("package:2 [numa] core:2 pu:2", NULL,
           "eth7 is on NUMA node 1; `reactors: auto` is 2; hardware threads in this order: "
           "4,6 of node 1; 0,2 of node 0; 5,7 of node 1 on cores that have one already; "
           "1,3 of node 0 on cores that have one already\n");
}

static void test_placement_when_the_cpuset_is_restricted_names_what_is_left(void **state)
{
    (void)state;
    expect("package:2 [numa] core:8 pu:2", "6-7,30-31",
           "eth7 is on NUMA node 1; `reactors: auto` is 1; hardware threads in this order: "
           "30 of node 1; 6 of node 0; 31 of node 1 on cores that have one already; "
           "7 of node 0 on cores that have one already\n");
}

static void test_placement_when_no_device_tells_its_node_says_so(void **state)
{
    (void)state;
    expect("core:1 pu:1", NULL,
           "no network device tells its node; `reactors: auto` is 1; hardware threads in this "
           "order: 0 of node 0\n");
}

static void test_placement_when_there_are_very_many_threads_tells_of_64(void **state)
{
    (void)state;
    static const char *const devices[] = {"eth7"};
    const char *root = "/nowhere";
    struct doctor_report report = {.finding = take};
    struct placement *placement = topology_of("package:2 [numa] core:128 pu:2", NULL);
    said[0] = '\0';
    doctor_placement(placement, root, devices, PAWL_ARRAY_COUNT(devices), &report);
    assert_non_null(strstr(said, "`reactors: auto` is 64; "));
    assert_non_null(strstr(said, ": 256,258,260,"));
    assert_non_null(strstr(said, ",380,382 of node 1\n")); // the 64th, and all is there
    placement_close(placement);
}

static void test_placement_when_there_is_a_bond_tells_of_it_as_a_server_does(void **state)
{
    static const char *const devices[] = {"bond0"};
    const char *root = *state;
    struct doctor_report report = {.finding = take};
    struct placement *placement = topology_of("package:2 [numa] core:2 pu:1", NULL);
    net_tree_lower(root, "bond0", "eth7");
    said[0] = '\0';
    doctor_placement(placement, root, devices, PAWL_ARRAY_COUNT(devices), &report);
    assert_string_equal(said, "bond0 is on NUMA node 1; `reactors: auto` is 2; hardware threads in "
                              "this order: 2,3 of node 1; 0,1 of node 0\n");
    placement_close(placement);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_placement_when_the_card_is_on_node_1_names_its_threads_first),
        cmocka_unit_test(test_placement_when_cores_have_two_threads_says_where_they_are_shared),
        cmocka_unit_test(test_placement_when_the_cpuset_is_restricted_names_what_is_left),
        cmocka_unit_test(test_placement_when_no_device_tells_its_node_says_so),
        cmocka_unit_test(test_placement_when_there_are_very_many_threads_tells_of_64),
        cmocka_unit_test_setup_teardown(
            test_placement_when_there_is_a_bond_tells_of_it_as_a_server_does, net_tree_setup,
            net_tree_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
