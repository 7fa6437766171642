// SPDX-License-Identifier: Apache-2.0
// Tests of base/alloc.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"

static void test_alloc_array_when_product_overflows_then_null(void **state)
{
    (void)state;
    assert_null(pawl_alloc_array(pawl_alloc_heap(), SIZE_MAX / 2, 3));
    assert_null(pawl_alloc_array(pawl_alloc_heap(), 0, 3));
}

static void test_alloc_new_when_given_then_zeroed(void **state)
{
    (void)state;
    uint64_t *words = pawl_alloc_array(pawl_alloc_heap(), 1000, sizeof(*words));
    assert_non_null(words);
    for (size_t i = 0; i < 1000; i++) {
        assert_true(words[i] == 0);
    }
    pawl_alloc_free(pawl_alloc_heap(), words);
    pawl_alloc_free(pawl_alloc_heap(), NULL);
}

static void test_alloc_grow_when_larger_then_keeps_and_zeroes(void **state)
{
    (void)state;
    const struct pawl_alloc *heap = pawl_alloc_heap();
    uint32_t *array = pawl_alloc_grow(heap, NULL, 0, 2, sizeof(*array));
    assert_non_null(array);
    array[0] = 7;
    array[1] = 8;
    array = pawl_alloc_grow(heap, array, 2, 4, sizeof(*array));
    assert_non_null(array);
    assert_int_equal(array[0], 7);
    assert_int_equal(array[1], 8);
    assert_int_equal(array[2], 0);
    assert_int_equal(array[3], 0);
    pawl_alloc_free(heap, array);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_array_when_product_overflows_then_null),
        cmocka_unit_test(test_alloc_new_when_given_then_zeroed),
        cmocka_unit_test(test_alloc_grow_when_larger_then_keeps_and_zeroes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
