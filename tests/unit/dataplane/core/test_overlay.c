// SPDX-License-Identifier: Apache-2.0
// Tests of the overlay, most of them against an array that says for each byte who wrote it last.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "dataplane/core/overlay.h"

#define BYTES 2000u

struct byte {
    uint64_t source;
    uint64_t offset;
};

// What the overlay says of each byte, from finds of random ranges.
static void compare(const struct overlay *overlay, const struct byte *model,
                    struct pawl_random *random)
{
    struct overlay_extent extents[BYTES];
    uint64_t start = pawl_random_below(random, BYTES);
    uint64_t end = start + 1 + pawl_random_below(random, BYTES - start);
    uint32_t count = overlay_find(overlay, start, end, extents, BYTES);
    uint32_t at = 0;
    for (uint64_t i = start; i < end; i++) {
        while (at < count && extents[at].end <= i) {
            at++;
        }
        bool covered = at < count && extents[at].start <= i;
        assert_int_equal(covered ? extents[at].source : 0, model[i].source);
        if (covered) {
            assert_int_equal(extents[at].offset + (i - extents[at].start), model[i].offset);
        }
    }
    assert_true(count == 0 || (extents[0].end > start && extents[count - 1].start < end));
}

static void put(struct overlay *overlay, struct byte *model, uint64_t source, uint64_t start,
                uint64_t end)
{
    struct overlay_extent extent = {
        .start = start, .end = end, .source = source, .offset = source * 10000};
    assert_int_equal(overlay_put(overlay, &extent), 0);
    for (uint64_t i = start; i < end; i++) {
        model[i] = (struct byte){.source = source, .offset = source * 10000 + (i - start)};
    }
}

static void test_overlay_when_written_at_random_finds_the_newest(void **state)
{
    static struct byte model[BYTES];
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pawl_random random;
        struct overlay overlay;
        pawl_random_seed(&random, seed);
        overlay_init(&overlay, pawl_alloc_heap());
        memset(model, 0, sizeof(model));
        uint64_t longest = 1 + pawl_random_below(&random, seed % 2 ? 20 : 800);
        for (uint64_t source = 1; source <= 400; source++) {
            uint64_t start = pawl_random_below(&random, BYTES);
            uint64_t length = 1 + pawl_random_below(&random, longest);
            put(&overlay, model, source, start, PAWL_MIN(start + length, (uint64_t)BYTES));
            overlay_validate(&overlay);
            compare(&overlay, model, &random);
        }
        overlay_reset(&overlay);
        assert_int_equal(overlay.count, 0);
        assert_null(overlay.root);
    }
}

static void test_overlay_when_a_write_is_inside_another_both_ends_stay(void **state)
{
    static struct byte model[BYTES];
    struct overlay_extent extents[4];
    struct overlay overlay;
    (void)state;
    overlay_init(&overlay, pawl_alloc_heap());
    put(&overlay, model, 1, 100, 200);
    put(&overlay, model, 2, 140, 150);
    assert_int_equal(overlay_find(&overlay, 0, BYTES, extents, 4), 3);
    assert_int_equal(extents[0].end, 140);
    assert_int_equal(extents[1].source, 2);
    assert_int_equal(extents[2].start, 150);
    assert_int_equal(extents[2].offset, 10050);
    assert_int_equal(overlay_find(&overlay, 150, 151, extents, 4), 1);
    assert_int_equal(overlay_find(&overlay, 200, 300, extents, 4), 0);
    assert_int_equal(overlay_find(&overlay, 0, BYTES, extents, 2), 2); // no more than asked for
    put(&overlay, model, 3, 0, BYTES);
    assert_int_equal(overlay.count, 1);
    overlay_reset(&overlay);
}

static void test_overlay_when_written_in_order_stays_shallow(void **state)
{
    struct overlay overlay;
    struct overlay_extent extent;
    (void)state;
    overlay_init(&overlay, pawl_alloc_heap());
    for (uint64_t i = 0; i < 200000; i++) { // find() and reset recurse: a list would not survive
        extent = (struct overlay_extent){.start = 2 * i, .end = 2 * i + 1, .source = 1};
        assert_int_equal(overlay_put(&overlay, &extent), 0);
    }
    overlay_validate(&overlay);
    assert_int_equal(overlay_find(&overlay, 399998, 400000, &extent, 1), 1);
    overlay_reset(&overlay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overlay_when_written_at_random_finds_the_newest),
        cmocka_unit_test(test_overlay_when_a_write_is_inside_another_both_ends_stay),
        cmocka_unit_test(test_overlay_when_written_in_order_stays_shallow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
