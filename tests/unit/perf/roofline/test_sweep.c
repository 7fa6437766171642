// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/sweep.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "perf/roofline/sweep.h"

static bool holds(const struct roofline_point *points, uint32_t count, uint32_t batch,
                  enum roofline_wait wait, uint32_t slice_bytes)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        found += points[i].batch == batch && points[i].wait == wait &&
                 points[i].slice_bytes == slice_bytes;
    }
    assert_true(found <= 1);
    return found == 1;
}

static void test_sweep_when_depth_1_then_only_waits_differ(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    assert_int_equal(sweep_plan(&options, points), 3);
    assert_true(holds(points, 3, 1, ROOFLINE_WAIT_SLEEP, 0));
    assert_true(holds(points, 3, 1, ROOFLINE_WAIT_SPIN, 0));
    assert_true(holds(points, 3, 1, ROOFLINE_WAIT_YIELD, 0));
}

static void test_sweep_when_20_in_flight_then_the_last_batch_holds_all(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    options.depth = 10;
    options.clients = 2;
    options.wait = ROOFLINE_WAIT_SPIN;
    uint32_t count = sweep_plan(&options, points);
    assert_int_equal(count, 4); // 1, 4, 16, 64
    assert_true(holds(points, count, 64, ROOFLINE_WAIT_SPIN, 0));
    assert_false(holds(points, count, 256, ROOFLINE_WAIT_SPIN, 0));
}

static void test_sweep_when_large_then_slices_too(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    options.record_bytes = 1u << 20;
    options.batch = 8;
    options.wait = ROOFLINE_WAIT_SLEEP;
    options.route = ROOFLINE_STAR;
    assert_int_equal(sweep_plan(&options, points), 2);
    assert_true(holds(points, 2, 8, ROOFLINE_WAIT_SLEEP, 0));
    assert_true(holds(points, 2, 8, ROOFLINE_WAIT_SLEEP, 256u << 10));
    options.replicas = 1; // nobody to pass slices on to
    assert_int_equal(sweep_plan(&options, points), 1);
    options.replicas = 3;
    options.slice_bytes = 1u << 20;
    assert_int_equal(sweep_plan(&options, points), 1);
}

static void test_sweep_when_three_replicas_of_large_ones_then_both_routes(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    options.record_bytes = 1u << 20;
    options.batch = 1;
    options.wait = ROOFLINE_WAIT_SLEEP;
    options.slice_bytes = 1u << 20;
    assert_int_equal(sweep_plan(&options, points), 2);
    assert_true(points[0].route == ROOFLINE_STAR && points[1].route == ROOFLINE_CHAIN);
    options.route = ROOFLINE_CHAIN;
    assert_int_equal(sweep_plan(&options, points), 1);
    assert_int_equal(points[0].route, ROOFLINE_CHAIN);
    options.route = ROOFLINE_ROUTE_BEST;
    options.replicas = 2; // star and chain are the same
    assert_int_equal(sweep_plan(&options, points), 1);
    options.replicas = 3;
    options.record_bytes = 1024; // in the PREPARE
    assert_int_equal(sweep_plan(&options, points), 1);
    assert_int_equal(points[0].route, ROOFLINE_STAR);
}

// Reads of one size, with one way to wait.
static void reads_init(struct roofline_options *options, uint32_t record_bytes)
{
    roofline_options_init(options);
    options->what = ROOFLINE_READ;
    options->record_bytes = record_bytes;
    options->wait = ROOFLINE_WAIT_SLEEP;
}

static void test_sweep_when_reads_then_one_server_to_all(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    reads_init(&options, 1u << 20);
    assert_int_equal(sweep_plan(&options, points), 3 * 2); // whole and in slices
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(points[i].sources, i / 2 + 1);
        assert_int_equal(points[i].slice_bytes, i % 2 == 0 ? 0 : 256u << 10);
    }
    options.sources = 2;
    options.record_bytes = 4096;
    assert_int_equal(sweep_plan(&options, points), 1);
    assert_int_equal(points[0].sources, 2);
}

static void test_sweep_when_reads_in_flight_then_some_at_the_disk_with_all_servers(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    reads_init(&options, 4096);
    options.depth = 4;
    options.clients = 2;
    static const uint32_t wanted[][2] = {{1, 0}, {2, 0}, {3, 0}, {3, 1}, {3, 2}};
    assert_int_equal(sweep_plan(&options, points), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(points[i].sources, wanted[i][0]);
        assert_int_equal(points[i].disk_reads, wanted[i][1]);
    }
    options.sources = 1;
    assert_int_equal(sweep_plan(&options, points), 3);
    assert_true(points[2].sources == 1 && points[2].disk_reads == 2);
    options.depth = 1; // two in flight: two are all
    assert_int_equal(sweep_plan(&options, points), 2);
    assert_int_equal(points[1].disk_reads, 1);
    options.clients = 1;
    assert_int_equal(sweep_plan(&options, points), 1);
    assert_int_equal(points[0].disk_reads, 0);
}

static void test_sweep_when_disk_reads_are_given_then_only_they(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    reads_init(&options, 4096);
    options.depth = 8;
    options.disk_reads = 5;
    assert_int_equal(sweep_plan(&options, points), 3); // servers
    assert_true(points[0].disk_reads == 5 && points[2].disk_reads == 5);
    options.disk_reads = 8; // all that are in flight
    assert_int_equal(sweep_plan(&options, points), 3);
    assert_true(points[0].disk_reads == 0 && points[2].disk_reads == 0);
    options.what = ROOFLINE_APPEND;
    options.disk_reads = 2;
    options.batch = 1;
    assert_int_equal(sweep_plan(&options, points), 1);
    assert_int_equal(points[0].disk_reads, 0);
}

static void test_variants_when_in_place_then_all_flushes(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point point = {.batch = 4, .flush = ROOFLINE_SHARED};
    struct roofline_point variants[SWEEP_VARIANTS_MAX];
    roofline_options_init(&options);
    options.record_bytes = 1u << 20;
    assert_int_equal(sweep_variants(&options, true, &point, variants), 4);
    assert_int_equal(variants[0].flush, ROOFLINE_SHARED);
    assert_int_equal(variants[1].flush, ROOFLINE_FDATASYNC);
    assert_int_equal(variants[2].flush, ROOFLINE_DSYNC);
    assert_int_equal(variants[3].flush, ROOFLINE_SHARED_DSYNC);
    assert_int_equal(variants[3].batch, 4);
    // With FUA a durable write of the journal does nothing for the payloads.
    assert_int_equal(sweep_variants(&options, false, &point, variants), 3);
    assert_int_equal(variants[2].flush, ROOFLINE_DSYNC);
    options.flush = ROOFLINE_FDATASYNC;
    assert_int_equal(sweep_variants(&options, true, &point, variants), 1);
    options.flush = ROOFLINE_FLUSH_BEST;
    options.record_bytes = 1024; // the journal's write is its flush
    assert_int_equal(sweep_variants(&options, true, &point, variants), 1);
}

static void test_sweep_when_everything_varies_then_it_fits(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    options.record_bytes = 1u << 20;
    options.depth = 8;
    options.clients = 64;
    uint32_t count = sweep_plan(&options, points);
    assert_int_equal(count, 5 * 3 * 2 * 2);
    assert_true(count < ROOFLINE_POINTS_MAX);
    options.what = ROOFLINE_READ;
    assert_int_equal(sweep_plan(&options, points), (3 + 2) * 3 * 2); // 400 ms for each
}

static void test_best_when_closed_loop_then_most_operations(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[3] = {{.ops_per_s = 10, .p999_us = 1},
                                       {.ops_per_s = 30, .p999_us = 9},
                                       {.ops_per_s = 20, .p999_us = 2}};
    roofline_options_init(&options);
    assert_int_equal(sweep_best(&options, points, 3), 1);
}

static void test_best_when_open_loop_then_lowest_tail_of_those_that_kept_up(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[3] = {{.ops_per_s = 90, .p999_us = 1},
                                       {.ops_per_s = 100, .p999_us = 9},
                                       {.ops_per_s = 96, .p999_us = 2}};
    roofline_options_init(&options);
    options.rate_per_s = 100;
    assert_int_equal(sweep_best(&options, points, 3), 2);
    options.rate_per_s = 1000; // nobody keeps up
    assert_int_equal(sweep_best(&options, points, 3), 1);
}

static void test_rank_when_points_differ_then_the_best_first(void **state)
{
    (void)state;
    struct roofline_options options;
    struct roofline_point points[4] = {
        {.ops_per_s = 10}, {.ops_per_s = 30}, {.ops_per_s = 20}, {.ops_per_s = 40}};
    uint32_t places[ROOFLINE_POINTS_MAX];
    roofline_options_init(&options);
    sweep_rank(&options, points, 4, places);
    assert_true(places[0] == 3 && places[1] == 1 && places[2] == 2 && places[3] == 0);
}

static void test_point_when_filled_then_rates_and_shares(void **state)
{
    (void)state;
    static struct pawl_histogram latencies;
    struct roofline_options options;
    struct roofline_point point = {0};
    pawl_histogram_init(&latencies);
    for (uint32_t i = 0; i < 1000; i++) {
        pawl_histogram_record(&latencies, 2000);
    }
    roofline_options_init(&options);
    options.record_bytes = 1000000;
    struct sweep_counts counts = {
        .records_count = 2000, // 2 GB
        .cpu_ns = 4 * PAWL_NS_PER_S,
        .servers_cpu_ns = 3 * PAWL_NS_PER_S,
        .primary_flushes_count = 500,
        .primary_messages_count = 100,
        .primary_entries_count = 250,
        .window_count = 1000,
        .window_ns = PAWL_NS_PER_S / 2,
    };
    sweep_point_fill(&point, &options, &latencies, &counts);
    assert_true(point.ops_per_s == 2000 && point.bytes_per_s == 2e9);
    assert_true(point.p50_us == 2 && point.p999_us == 2);
    assert_true(point.cpu_s_per_gb == 2 && point.replica_cpu_s_per_gb == 0.5);
    assert_true(point.records_per_flush == 4 && point.records_per_message == 2.5);
}

static void test_point_when_nothing_was_measured_then_zeros(void **state)
{
    (void)state;
    static struct pawl_histogram latencies;
    struct roofline_options options;
    struct roofline_point point = {.batch = 4};
    struct sweep_counts counts = {0};
    pawl_histogram_init(&latencies);
    roofline_options_init(&options);
    sweep_point_fill(&point, &options, &latencies, &counts);
    assert_true(point.ops_per_s == 0 && point.cpu_s_per_gb == 0 && point.records_per_flush == 0);
    assert_int_equal(point.batch, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sweep_when_depth_1_then_only_waits_differ),
        cmocka_unit_test(test_sweep_when_20_in_flight_then_the_last_batch_holds_all),
        cmocka_unit_test(test_sweep_when_large_then_slices_too),
        cmocka_unit_test(test_sweep_when_three_replicas_of_large_ones_then_both_routes),
        cmocka_unit_test(test_sweep_when_reads_then_one_server_to_all),
        cmocka_unit_test(test_sweep_when_reads_in_flight_then_some_at_the_disk_with_all_servers),
        cmocka_unit_test(test_sweep_when_disk_reads_are_given_then_only_they),
        cmocka_unit_test(test_variants_when_in_place_then_all_flushes),
        cmocka_unit_test(test_sweep_when_everything_varies_then_it_fits),
        cmocka_unit_test(test_best_when_closed_loop_then_most_operations),
        cmocka_unit_test(test_best_when_open_loop_then_lowest_tail_of_those_that_kept_up),
        cmocka_unit_test(test_rank_when_points_differ_then_the_best_first),
        cmocka_unit_test(test_point_when_filled_then_rates_and_shares),
        cmocka_unit_test(test_point_when_nothing_was_measured_then_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
