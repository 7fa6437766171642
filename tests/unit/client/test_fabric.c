// SPDX-License-Identifier: Apache-2.0
// Tests of when the library opens its fabric: the time that this takes is no server's fault.
//
// The clock is the test's: it jumps over an attempt while the fabric opens.
#include "cluster.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "client/client_private.h"
#include "dataplane/fabric/fake.h"

#define LONG_MS 30000u
#define OPENING_MS 5000u // more than an attempt has (client.c)

static _Atomic uint64_t ahead_ns;

// Names of ld's --wrap. NOLINTBEGIN
uint64_t __real_pawl_clock_ns(void);
uint64_t __wrap_pawl_clock_ns(void);
uint64_t __wrap_pawl_clock_ns(void)
{
    return __real_pawl_clock_ns() + atomic_load(&ahead_ns);
}
// NOLINTEND

static void take_time(void)
{
    atomic_fetch_add(&ahead_ns, OPENING_MS * PAWL_NS_PER_MS);
}

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    fabric_fake_set_open_hook(NULL);
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    fabric_fake_set_open_hook(take_time); // from here on: the library's own
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_file_close(place->file);
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

static void
test_append_when_opening_takes_longer_than_an_attempt_then_no_server_is_blamed(void **state)
{
    struct place *place = *state;
    struct pawl_append_result result;
    uint64_t before_ns = atomic_load(&ahead_ns);
    assert_int_equal(pawl_append(place->file, "record", 6, NULL, &result), 0);
    assert_true(atomic_load(&ahead_ns) - before_ns == OPENING_MS * PAWL_NS_PER_MS); // it was opened
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.hints_count), 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].appends_count), 1);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 1);
}

static void test_bytes_when_opening_takes_longer_than_an_attempt_then_asked_once(void **state)
{
    struct place *place = *state;
    uint64_t bytes = 1;
    unsigned requests = cluster_get(&place->cluster, &place->cluster.master.requests_count);
    assert_int_equal(pawl_file_bytes(place->file, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.master.requests_count),
                     requests + 1);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].hellos_count), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_append_when_opening_takes_longer_than_an_attempt_then_no_server_is_blamed, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(
            test_bytes_when_opening_takes_longer_than_an_attempt_then_asked_once, set_up,
            tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
