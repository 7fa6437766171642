// SPDX-License-Identifier: Apache-2.0
// Tests of client/staging.c: contiguous runs of one registered region.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/client_private.h"

#define BLOCK CLIENT_STAGING_BLOCK
#define BLOCKS 8u

struct place {
    struct fabric *fabric;
    struct staging staging;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct fabric_options options = {
        .provider = "fake", .message_bytes = 256, .receives_count = 4, .connections_max = 2};
    assert_int_equal(fabric_open(&options, &place->fabric), 0);
    assert_int_equal(staging_open(&place->staging, place->fabric, BLOCKS * BLOCK), 0);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    staging_close(&place->staging);
    fabric_close(place->fabric);
    free(place);
    return 0;
}

static void test_get_when_all_is_free_then_the_whole_region_is_given(void **state)
{
    struct staging *staging = &((struct place *)*state)->staging;
    unsigned char *all = staging_get(staging, BLOCKS * BLOCK);
    assert_ptr_equal(all, staging->memory);
    memset(all, 1, BLOCKS * BLOCK);
    assert_null(staging_get(staging, 1));
    staging_put(staging, all, BLOCKS * BLOCK);
    assert_non_null(staging_get(staging, BLOCKS * BLOCK));
}

static void test_get_when_more_is_wanted_than_there_is_then_null(void **state)
{
    struct staging *staging = &((struct place *)*state)->staging;
    assert_null(staging_get(staging, BLOCKS * BLOCK + 1));
}

static void test_get_when_runs_are_out_then_they_do_not_overlap(void **state)
{
    struct staging *staging = &((struct place *)*state)->staging;
    unsigned char *runs[BLOCKS / 2];
    for (unsigned i = 0; i < BLOCKS / 2; i++) {
        runs[i] = staging_get(staging, BLOCK + 1); // two blocks
        assert_non_null(runs[i]);
        memset(runs[i], (int)i, 2 * BLOCK);
    }
    assert_null(staging_get(staging, 1));
    for (unsigned i = 0; i < BLOCKS / 2; i++) {
        assert_int_equal(runs[i][0], i);
        assert_int_equal(runs[i][2 * BLOCK - 1], i);
        staging_put(staging, runs[i], BLOCK + 1);
    }
}

static void test_get_when_holes_are_too_small_then_null_until_they_join(void **state)
{
    struct staging *staging = &((struct place *)*state)->staging;
    unsigned char *blocks[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        assert_non_null(staging_get(staging, BLOCK));
        blocks[i] = staging->memory + (size_t)i * BLOCK;
    }
    for (unsigned i = 0; i < BLOCKS; i += 2) {
        staging_put(staging, blocks[i], BLOCK);
    }
    assert_null(staging_get(staging, 2 * BLOCK));
    staging_put(staging, blocks[3], BLOCK);
    assert_ptr_equal(staging_get(staging, 3 * BLOCK), blocks[2]);
}

// Small ones of reads, wherever they lie, leave room for a large one.
static void test_get_low_when_reads_take_theirs_then_the_upper_half_is_whole(void **state)
{
    struct staging *staging = &((struct place *)*state)->staging;
    while (staging_get_low(staging, BLOCK) != NULL) {
        // as many as there are
    }
    unsigned char *large = staging_get(staging, BLOCKS / 2 * BLOCK);
    assert_ptr_equal(large, staging->memory + (size_t)(BLOCKS / 2) * BLOCK);
    assert_null(staging_get(staging, BLOCK));
    staging_put(staging, staging->memory, BLOCK);
    assert_ptr_equal(staging_get(staging, BLOCK), staging->memory); // appends may have all of it
}

static void test_open_when_the_size_is_no_multiple_then_it_is_rounded_up(void **state)
{
    struct place *place = *state;
    struct staging odd;
    assert_int_equal(staging_open(&odd, place->fabric, BLOCK + 1), 0);
    assert_int_equal(odd.blocks_count, 2);
    assert_non_null(staging_get(&odd, 2 * BLOCK));
    staging_close(&odd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get_when_all_is_free_then_the_whole_region_is_given,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_get_when_more_is_wanted_than_there_is_then_null,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_get_when_runs_are_out_then_they_do_not_overlap, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_get_when_holes_are_too_small_then_null_until_they_join,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_get_low_when_reads_take_theirs_then_the_upper_half_is_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            test_open_when_the_size_is_no_multiple_then_it_is_rounded_up, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
