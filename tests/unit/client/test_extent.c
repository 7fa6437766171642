// SPDX-License-Identifier: Apache-2.0
// Tests of client/extent.c: runs of pages never overlap, and merge again.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "client/extent.h"

#define PAGES 1000u
#define RUNS 200u

struct place {
    struct extent extent;
    uint8_t *memory;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    place->memory = aligned_alloc(EXTENT_PAGE_BYTES, (size_t)PAGES * EXTENT_PAGE_BYTES);
    assert_int_equal(extent_init(&place->extent, place->memory, (size_t)PAGES * EXTENT_PAGE_BYTES),
                     0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    extent_fini(&place->extent);
    free(place->memory);
    free(place);
    return 0;
}

static void test_get_when_all_is_free_then_all_can_be_had_once(void **state)
{
    struct place *place = *state;
    uint8_t *all = extent_get(&place->extent, (size_t)PAGES * EXTENT_PAGE_BYTES);
    assert_ptr_equal(all, place->memory);
    assert_null(extent_get(&place->extent, 1));
    extent_put(&place->extent, all);
    assert_int_equal(place->extent.used_count, 0);
    assert_ptr_equal(extent_get(&place->extent, 1), place->memory);
}

static void test_get_when_it_is_more_than_there_is_then_null(void **state)
{
    struct place *place = *state;
    assert_null(extent_get(&place->extent, (size_t)PAGES * EXTENT_PAGE_BYTES + 1));
    assert_null(extent_get(&place->extent, SIZE_MAX));
}

// A run of just the length that is wanted lies in a bin with shorter ones.
static void test_get_when_only_a_run_of_its_own_bin_is_left_then_it_is_found(void **state)
{
    struct place *place = *state;
    uint8_t *wanted = extent_get(&place->extent, 9u * EXTENT_PAGE_BYTES);
    void *wall = extent_get(&place->extent, 1);
    uint8_t *shorter = extent_get(&place->extent, 8u * EXTENT_PAGE_BYTES);
    void *rest = extent_get(&place->extent, (size_t)(PAGES - 18) * EXTENT_PAGE_BYTES);
    assert_non_null(wall);
    assert_non_null(rest);
    extent_put(&place->extent, wanted);
    extent_put(&place->extent, shorter); // the same bin, and in front
    assert_ptr_equal(extent_get(&place->extent, 9u * EXTENT_PAGE_BYTES), wanted);
}

static void test_put_when_neighbours_are_free_then_all_is_one_run(void **state)
{
    struct place *place = *state;
    void *runs[3];
    for (unsigned order = 0; order < 6; order++) {
        static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                             {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
        for (unsigned i = 0; i < 3; i++) {
            runs[i] = extent_get(&place->extent, (size_t)(100 * i + 1) * EXTENT_PAGE_BYTES);
        }
        for (unsigned i = 0; i < 3; i++) {
            extent_put(&place->extent, runs[orders[order][i]]);
        }
        void *all = extent_get(&place->extent, (size_t)PAGES * EXTENT_PAGE_BYTES);
        assert_ptr_equal(all, place->memory);
        extent_put(&place->extent, all);
    }
}

struct run {
    uint8_t *memory;
    size_t bytes;
};

// Every page says which run it belongs to.
static void run_fill(const struct run *run, uint8_t name)
{
    memset(run->memory, name, run->bytes);
}

static void run_check(const struct run *run, uint8_t name)
{
    for (size_t at = 0; at < run->bytes; at++) {
        assert_int_equal(run->memory[at], name);
    }
}

static void run_give_back(struct place *place, struct run *run, uint8_t name)
{
    run_check(run, name);
    extent_put(&place->extent, run->memory);
    run->memory = NULL;
}

static void test_get_and_put_when_sizes_are_random_then_runs_never_overlap(void **state)
{
    struct place *place = *state;
    struct run runs[RUNS] = {0};
    struct pawl_random random;
    unsigned refused = 0;
    pawl_random_seed(&random, 7);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t name = (uint8_t)pawl_random_below(&random, RUNS);
        struct run *run = &runs[name];
        if (run->memory != NULL) {
            run_give_back(place, run, name);
            continue;
        }
        run->bytes = 1 + pawl_random_below(&random, 1u << (2 + pawl_random_below(&random, 18)));
        run->memory = extent_get(&place->extent, run->bytes);
        if (run->memory == NULL) {
            refused++;
            continue;
        }
        assert_true(run->memory >= place->memory &&
                    run->memory + run->bytes <= place->memory + (size_t)PAGES * EXTENT_PAGE_BYTES);
        assert_int_equal((uintptr_t)run->memory % EXTENT_PAGE_BYTES, 0);
        run_fill(run, name);
    }
    assert_true(refused > 0 && refused < 10000); // it was full now and then
    for (unsigned i = 0; i < RUNS; i++) {
        if (runs[i].memory != NULL) {
            run_give_back(place, &runs[i], (uint8_t)i);
        }
    }
    assert_int_equal(place->extent.used_count, 0);
    assert_ptr_equal(extent_get(&place->extent, (size_t)PAGES * EXTENT_PAGE_BYTES), place->memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_get_when_all_is_free_then_all_can_be_had_once),
        TEST(test_get_when_it_is_more_than_there_is_then_null),
        TEST(test_get_when_only_a_run_of_its_own_bin_is_left_then_it_is_found),
        TEST(test_put_when_neighbours_are_free_then_all_is_one_run),
        TEST(test_get_and_put_when_sizes_are_random_then_runs_never_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
