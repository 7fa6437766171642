// SPDX-License-Identifier: Apache-2.0
// Tests of pushing alone: what leaves, what comes back, and that a file stays as it is.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/push.h"
#include "cluster.h"

#define LONG_MS 60000u
#define DEPTH 3u
#define BYTES 300000u

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    struct client_pusher *pusher;
    void *data; // of pawl_mem_alloc()
    unsigned done_count;
    int last_status;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    place->data = pawl_mem_alloc(place->pawl, BYTES);
    assert_non_null(place->data);
    memset(place->data, 'o', BYTES);
    assert_int_equal(pawl_append(place->file, place->data, 5000, NULL, NULL), 0);
    assert_int_equal(client_pusher_open(place->file, DEPTH, &place->pusher), 0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

static void on_done(void *user, int status)
{
    struct place *place = user;
    place->done_count++;
    place->last_status = status;
}

static void await(struct place *place, unsigned count)
{
    while (place->done_count < count) {
        assert_true(pawl_poll(place->pawl, LONG_MS) > 0);
    }
    assert_int_equal(place->done_count, count);
}

static void test_push_when_depth_is_reached_then_again_later(void **state)
{
    struct place *place = *state;
    for (unsigned round = 1; round <= 4; round++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            assert_int_equal(client_push_submit(place->pusher, place->data, BYTES, on_done, place),
                             0);
        }
        assert_int_equal(client_push_submit(place->pusher, place->data, BYTES, on_done, place),
                         -EAGAIN);
        await(place, round * DEPTH);
        assert_int_equal(place->last_status, 0);
    }
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].pushes_count),
                     4 * DEPTH);
    assert_int_equal(cluster_bytes(&place->cluster), 5000);
    // The file's own producer goes on as if nothing had been.
    assert_int_equal(pawl_append(place->file, place->data, 5000, NULL, NULL), 0);
    assert_int_equal(cluster_bytes(&place->cluster), 10000);
}

static void test_push_when_counted_then_those_that_arrived_and_what_was_copied(void **state)
{
    struct place *place = *state;
    struct client_push_counters counters;
    unsigned char *heap = malloc(BYTES);
    memset(heap, 'o', BYTES);
    assert_int_equal(client_push_submit(place->pusher, place->data, BYTES, on_done, place), 0);
    assert_int_equal(client_push_submit(place->pusher, heap, BYTES, on_done, place), 0);
    await(place, 2);
    client_push_counters(place->pusher, &counters);
    assert_int_equal(counters.bytes, 2 * BYTES);
    assert_int_equal(counters.copied_bytes, BYTES);
    cluster_set(&place->cluster, servers[0].faults.push_status, PAWL_ESTALE);
    assert_int_equal(client_push_submit(place->pusher, heap, BYTES, on_done, place), 0);
    await(place, 3);
    client_push_counters(place->pusher, &counters);
    assert_int_equal(counters.bytes, 2 * BYTES);
    assert_int_equal(counters.copied_bytes, 2 * BYTES);
    free(heap);
}

static void test_push_when_refused_then_told(void **state)
{
    struct place *place = *state;
    cluster_lock(&place->cluster);
    place->cluster.servers[0].faults.push_status = PAWL_ESTALE;
    cluster_unlock(&place->cluster);
    assert_int_equal(client_push_submit(place->pusher, place->data, BYTES, on_done, place), 0);
    await(place, 1);
    assert_int_equal(place->last_status, PAWL_ESTALE);
}

static void test_push_when_payload_is_small_then_refused_at_once(void **state)
{
    struct place *place = *state;
    assert_int_equal(client_push_submit(place->pusher, place->data, 8192, on_done, place),
                     PAWL_EINVALID);
    assert_int_equal(place->done_count, 0);
}

static void test_pusher_when_the_file_has_one_then_no_second(void **state)
{
    struct place *place = *state;
    struct client_pusher *second;
    assert_int_equal(client_pusher_open(place->file, DEPTH, &second), -EEXIST);
}

static void test_push_when_closed_under_way_then_it_ends_once(void **state)
{
    struct place *place = *state;
    assert_int_equal(client_push_submit(place->pusher, place->data, BYTES, on_done, place), 0);
    pawl_close(place->pawl);
    assert_int_equal(place->done_count, 1);
    place->pawl = NULL;
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_push_when_depth_is_reached_then_again_later),
        T(test_push_when_counted_then_those_that_arrived_and_what_was_copied),
        T(test_push_when_refused_then_told),
        T(test_push_when_payload_is_small_then_refused_at_once),
        T(test_pusher_when_the_file_has_one_then_no_second),
        T(test_push_when_closed_under_way_then_it_ends_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
