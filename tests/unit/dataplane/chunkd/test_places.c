// SPDX-License-Identifier: Apache-2.0
// Tests of dataplane/chunkd/places.c: which cores reactors get and who may spin, on topologies that are not this
// machine's. The address 127.0.0.1 and its device lo are real; where lo is, the topology says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dataplane/chunkd/places.h"
#include "tests/unit/dataplane/memory/net_tree.h"
#include "tests/unit/dataplane/memory/synthetic.h"

// With lo on node 1, or nowhere.
static struct placement *topology_of(const char *topology, const char *cpus, bool with_device)
{
    return synthetic_open(&(struct synthetic){
        .topology = topology,
        .cpus = cpus,
        .on_node_1 = with_device ? SYNTHETIC_DEVICE("9001", "lo", SYNTHETIC_ETHERNET) : NULL});
}

// On a machine whose interfaces are as that folder shows them.
static void find_device_in(struct places *places, const struct placement *placement,
                           const char *root)
{
    char nobodys[] = "192.0.2.1";
    char loopback[] = "127.0.0.1";
    struct chunkd_config config = {
        .fabrics = {{.host = nobodys}, {.host = loopback}},
        .fabrics_count = 2,
    };
    memset(places, 0x5a, sizeof(*places));
    places_find_device(places, &config, placement, root);
}

static void find_device(struct places *places, const struct placement *placement)
{
    find_device_in(places, placement, "/nowhere");
}

static unsigned spinning(const struct places *places)
{
    unsigned count = 0;
    for (uint32_t i = 0; i < places->count; i++) {
        count += places_may_spin(places, i);
    }
    return count;
}

static void test_places_when_the_device_is_on_node_1_take_its_cores_first(void **state)
{
    (void)state;
    struct placement *placement = topology_of("package:2 [numa] core:8 pu:2", NULL, true);
    struct places places;
    find_device(&places, placement);
    assert_int_equal(places.near_node, 1);
    assert_string_equal(places.device, "lo");
    assert_string_equal(places.unknown, "");
    places_choose(&places, CHUNKD_PIN_AUTO, 9, placement);
    assert_true(places.known && places.bound);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(places.cores[i].pu, 16 + 2 * i);
        assert_int_equal(places.cores[i].numa_node, 1);
    }
    assert_int_equal(places.cores[8].pu, 0);
    assert_int_equal(spinning(&places), 9);
    placement_close(placement);
}

static void test_places_when_no_device_tells_its_node_take_any(void **state)
{
    (void)state;
    struct placement *placement = topology_of("package:2 [numa] core:8 pu:1", NULL, false);
    struct places places;
    find_device(&places, placement);
    assert_int_equal(places.near_node, PLACEMENT_ANY_NODE);
    assert_string_equal(places.device, "");
    assert_string_equal(places.unknown, "lo"); // the log says so
    places_choose(&places, CHUNKD_PIN_TRUE, 1, placement);
    assert_int_equal(places.cores[0].pu, 0);
    placement_close(placement);
}

static void test_places_when_the_interface_is_made_of_devices_take_their_node(void **state)
{
    struct placement *placement = synthetic_open(
        &(struct synthetic){.topology = "package:2 [numa] core:8 pu:1",
                            .on_node_1 = SYNTHETIC_DEVICE("9001", "eth7", SYNTHETIC_ETHERNET)});
    struct places places;
    net_tree_lower(*state, "lo", "eth7");
    find_device_in(&places, placement, *state);
    assert_int_equal(places.near_node, 1);
    assert_string_equal(places.device, "lo");
    assert_string_equal(places.unknown, "");
    places_choose(&places, CHUNKD_PIN_TRUE, 1, placement);
    assert_int_equal(places.cores[0].pu, 8);
    placement_close(placement);
}

static void test_places_when_the_cpuset_is_restricted_keep_to_it(void **state)
{
    (void)state;
    struct placement *placement = topology_of("package:2 [numa] core:8 pu:2", "6-7,30-31", true);
    struct places places;
    find_device(&places, placement);
    places_choose(&places, CHUNKD_PIN_AUTO, 2, placement);
    assert_true(places.bound);
    assert_int_equal(places.cores[0].pu, 30);
    assert_int_equal(places.cores[1].pu, 6);
    assert_int_equal(spinning(&places), 2);
    places_choose(&places, CHUNKD_PIN_AUTO, 5, placement); // more than there are hardware threads
    assert_false(places.bound);
    assert_int_equal(spinning(&places), 0);
    placement_close(placement);
}

static void test_spin_when_reactors_outnumber_cores_is_off_where_they_meet(void **state)
{
    (void)state;
    struct placement *placement = topology_of("core:2 pu:2", NULL, false);
    struct places places;
    find_device(&places, placement);
    places_choose(&places, CHUNKD_PIN_AUTO, 2, placement);
    assert_int_equal(spinning(&places), 2);
    places_choose(&places, CHUNKD_PIN_AUTO, 3, placement); // the third is the first one's sibling
    assert_false(places_may_spin(&places, 0));
    assert_true(places_may_spin(&places, 1));
    assert_false(places_may_spin(&places, 2));
    places_choose(&places, CHUNKD_PIN_AUTO, 4, placement);
    assert_true(places.bound);
    assert_int_equal(spinning(&places), 0);
    places_choose(&places, CHUNKD_PIN_TRUE, 9, placement);
    assert_true(places.bound);
    assert_int_equal(spinning(&places), 0);
    placement_close(placement);
}

static void test_spin_when_nobody_is_bound_is_off(void **state)
{
    (void)state;
    struct placement *placement = topology_of("core:1 pu:1", NULL, false);
    struct places places;
    find_device(&places, placement);
    places_choose(&places, CHUNKD_PIN_AUTO, 1, placement); // it alone need not be bound
    assert_false(places.bound);
    assert_int_equal(spinning(&places), 0);
    places_choose(&places, CHUNKD_PIN_FALSE, 1, placement);
    assert_int_equal(spinning(&places), 0);
    places_choose(&places, CHUNKD_PIN_TRUE, 1, placement);
    assert_int_equal(spinning(&places), 1);
    places_choose(&places, CHUNKD_PIN_TRUE, 2, placement);
    assert_int_equal(spinning(&places), 0);
    places_choose(&places, CHUNKD_PIN_AUTO, 2, placement);
    assert_false(places.bound);
    placement_close(placement);
}

static void test_places_when_there_is_no_topology_are_none(void **state)
{
    (void)state;
    struct places places;
    find_device(&places, NULL);
    assert_int_equal(places.near_node, PLACEMENT_ANY_NODE);
    assert_string_equal(places.unknown, "");
    places_choose(&places, CHUNKD_PIN_TRUE, 2, NULL);
    assert_false(places.known || places.bound);
    assert_int_equal(spinning(&places), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places_when_the_device_is_on_node_1_take_its_cores_first),
        cmocka_unit_test(test_places_when_no_device_tells_its_node_take_any),
        cmocka_unit_test_setup_teardown(
            test_places_when_the_interface_is_made_of_devices_take_their_node, net_tree_setup,
            net_tree_teardown),
        cmocka_unit_test(test_places_when_the_cpuset_is_restricted_keep_to_it),
        cmocka_unit_test(test_spin_when_reactors_outnumber_cores_is_off_where_they_meet),
        cmocka_unit_test(test_spin_when_nobody_is_bound_is_off),
        cmocka_unit_test(test_places_when_there_is_no_topology_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
