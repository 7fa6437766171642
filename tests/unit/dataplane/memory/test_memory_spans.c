// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/memory_spans.c.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <stdlib.h>

#include "dataplane/memory/memory.h"

#define UNIT 4096u
#define UNITS 150u // the last word of the bits isn't full

struct fixture {
    struct memory_spans spans;
    unsigned char *memory;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->memory = aligned_alloc(UNIT, UNITS * UNIT);
    *state = f;
    return memory_spans_init(&f->spans, pawl_alloc_heap(), f->memory, UNITS * UNIT + 100, UNIT);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    memory_spans_fini(&f->spans);
    free(f->memory);
    free(f);
    return 0;
}

static void test_get_when_sizes_differ_then_spans_lie_side_by_side(void **state)
{
    struct fixture *f = *state;

    assert_ptr_equal(memory_spans_get(&f->spans, 0), f->memory);
    assert_ptr_equal(memory_spans_get(&f->spans, 70 * UNIT), f->memory + UNIT);
    assert_ptr_equal(memory_spans_get(&f->spans, UNIT + 1), f->memory + 71 * UNIT);
    assert_ptr_equal(memory_spans_get(&f->spans, UNIT), f->memory + 73 * UNIT);
    assert_int_equal(f->spans.used_bytes, 74 * UNIT);
}

static void test_get_when_all_is_taken_then_null_until_put(void **state)
{
    struct fixture *f = *state;
    void *all = memory_spans_get(&f->spans, UNITS * UNIT);

    assert_ptr_equal(all, f->memory);
    assert_null(memory_spans_get(&f->spans, 1));
    memory_spans_put(&f->spans, all, UNITS * UNIT);
    assert_int_equal(f->spans.used_bytes, 0);
    assert_null(memory_spans_get(&f->spans, UNITS * UNIT + 1));
    assert_ptr_equal(memory_spans_get(&f->spans, UNITS * UNIT), all);
}

static void test_get_when_gaps_are_too_short_then_takes_the_first_that_fits(void **state)
{
    struct fixture *f = *state;
    unsigned char *spans[UNITS / 10];

    for (unsigned i = 0; i < UNITS / 10; i++) {
        spans[i] = memory_spans_get(&f->spans, 10 * UNIT);
        assert_non_null(spans[i]);
    }
    memory_spans_put(&f->spans, spans[2], 10 * UNIT);
    memory_spans_put(&f->spans, spans[6], 10 * UNIT); // with the next one over the end of a word
    assert_null(memory_spans_get(&f->spans, 11 * UNIT));
    memory_spans_put(&f->spans, spans[5], 10 * UNIT);
    assert_ptr_equal(memory_spans_get(&f->spans, 11 * UNIT), spans[5]);
    assert_ptr_equal(memory_spans_get(&f->spans, 9 * UNIT), spans[2]);
    assert_ptr_equal(memory_spans_get(&f->spans, UNIT), spans[2] + 9 * UNIT);
    assert_ptr_equal(memory_spans_get(&f->spans, 9 * UNIT), spans[5] + 11 * UNIT);
    assert_null(memory_spans_get(&f->spans, 1));
}

static void test_init_when_sizes_are_wrong_then_refused(void **state)
{
    struct fixture *f = *state;
    struct memory_spans spans;

    assert_int_equal(memory_spans_init(&spans, pawl_alloc_heap(), f->memory, UNIT - 1, UNIT),
                     -EINVAL);
    assert_int_equal(memory_spans_init(&spans, pawl_alloc_heap(), f->memory, UNITS * UNIT, 3000),
                     -EINVAL);
    memory_spans_fini(&spans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get_when_sizes_differ_then_spans_lie_side_by_side,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_when_all_is_taken_then_null_until_put, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_get_when_gaps_are_too_short_then_takes_the_first_that_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_init_when_sizes_are_wrong_then_refused, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
