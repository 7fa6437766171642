// SPDX-License-Identifier: Apache-2.0
// Tests of base/pool.
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/pool.h"

static void test_pool_when_many_are_out_then_none_overlap(void **state)
{
    (void)state;
    enum { COUNT = 100, BYTES = 41 };
    struct pawl_pool pool;
    unsigned char *items[COUNT];
    pawl_pool_init(&pool, BYTES);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            items[i] = pawl_pool_get(&pool);
            assert_non_null(items[i]);
            assert_int_equal((uintptr_t)items[i] % alignof(max_align_t), 0);
            memset(items[i], i, BYTES);
        }
        for (int i = 0; i < COUNT; i++) {
            for (int j = 0; j < BYTES; j++) {
                assert_int_equal(items[i][j], i);
            }
        }
        for (int i = round; i < COUNT + round; i++) {
            pawl_pool_put(&pool, items[i % COUNT]);
        }
    }
    pawl_pool_fini(&pool);
}

static void test_pool_when_item_is_smaller_than_a_pointer_then_it_still_works(void **state)
{
    (void)state;
    struct pawl_pool pool;
    pawl_pool_init(&pool, 1);
    void *a = pawl_pool_get(&pool);
    void *b = pawl_pool_get(&pool);
    assert_ptr_not_equal(a, b);
    pawl_pool_put(&pool, a);
    pawl_pool_put(&pool, b);
    pawl_pool_put(&pool, NULL);
    pawl_pool_fini(&pool);
}

static void test_pool_when_never_used_then_ends(void **state)
{
    (void)state;
    struct pawl_pool pool = {0};
    pawl_pool_fini(&pool);
    assert_null(pool.pages);
}

#ifndef __SANITIZE_ADDRESS__
static void test_pool_when_given_back_then_taken_next(void **state)
{
    (void)state;
    struct pawl_pool pool;
    pawl_pool_init(&pool, 64);
    void *a = pawl_pool_get(&pool);
    void *b = pawl_pool_get(&pool);
    pawl_pool_put(&pool, b);
    assert_ptr_equal(pawl_pool_get(&pool), b);
    pawl_pool_put(&pool, b);
    pawl_pool_put(&pool, a);
    pawl_pool_fini(&pool);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_when_many_are_out_then_none_overlap),
        cmocka_unit_test(test_pool_when_item_is_smaller_than_a_pointer_then_it_still_works),
        cmocka_unit_test(test_pool_when_never_used_then_ends),
#ifndef __SANITIZE_ADDRESS__
        cmocka_unit_test(test_pool_when_given_back_then_taken_next),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
