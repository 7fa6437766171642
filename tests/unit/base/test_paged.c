// SPDX-License-Identifier: Apache-2.0
// Tests of base/paged.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/paged.h"
#include "tests/unit/base/scarce.h"

struct item {
    uint64_t a, b, c;
};

static struct item *at(const struct pawl_paged *paged, uint64_t index)
{
    return pawl_paged_at(paged, index, sizeof(struct item));
}

static void test_paged_when_it_grows_then_nothing_moves_and_none_overlap(void **state)
{
    (void)state;
    enum { COUNT = 20000 }; // pages of every size
    static struct item *seen[COUNT];
    struct pawl_paged paged;
    pawl_paged_init(&paged, pawl_alloc_heap(), sizeof(struct item));
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(pawl_paged_reserve(&paged, i + 1), 0);
        seen[i] = at(&paged, i);
        assert_true(seen[i]->a == 0 && seen[i]->b == 0 && seen[i]->c == 0);
        *seen[i] = (struct item){.a = i, .b = i + 1, .c = i + 2};
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(at(&paged, i), seen[i]);
        assert_true(seen[i]->a == i && seen[i]->b == i + 1 && seen[i]->c == i + 2);
    }
    pawl_paged_fini(&paged);
}

static void test_paged_when_much_is_reserved_at_once_then_all_of_it_is_there(void **state)
{
    (void)state;
    static const uint64_t counts[] = {1,    15,   16,   17,   31,   32,   33,    2048,
                                      4095, 4096, 4097, 8191, 8192, 8193, 262144};
    struct pawl_paged paged;
    pawl_paged_init(&paged, pawl_alloc_heap(), 1);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(counts); i++) {
        assert_int_equal(pawl_paged_reserve(&paged, counts[i]), 0);
        assert_true(paged.capacity >= counts[i]);
        for (uint64_t j = 0; j < paged.capacity; j++) {
            *(unsigned char *)pawl_paged_at(&paged, j, 1) = 1; // a sanitizer sees one that isn't
        }
        pawl_paged_fini(&paged);
        assert_int_equal(paged.capacity, 0);
    }
}

static void test_paged_when_few_are_there_then_little_is_held(void **state)
{
    (void)state;
    struct pawl_paged paged;
    pawl_paged_init(&paged, pawl_alloc_heap(), sizeof(struct item));
    assert_int_equal(pawl_paged_reserve(&paged, 0), 0);
    assert_null(paged.pages);
    assert_int_equal(pawl_paged_reserve(&paged, 1), 0);
    assert_int_equal(paged.capacity, 16);
    assert_int_equal(pawl_paged_reserve(&paged, 4097), 0);
    assert_int_equal(paged.capacity, 8192);
    assert_int_equal(pawl_paged_reserve(&paged, 8193), 0);
    assert_int_equal(paged.capacity, 12288);
    pawl_paged_fini(&paged);
}

static void test_paged_when_memory_is_short_then_what_was_there_stays(void **state)
{
    (void)state;
    uint64_t left = 0;
    const struct pawl_alloc alloc = scarce_allocator(&left);
    struct pawl_paged paged;
    pawl_paged_init(&paged, &alloc, sizeof(struct item));
    assert_int_equal(pawl_paged_reserve(&paged, 1), -ENOMEM); // no list of pages
    left = 1;
    assert_int_equal(pawl_paged_reserve(&paged, 1), -ENOMEM); // no page
    assert_int_equal(paged.capacity, 0);
    for (uint64_t i = 0; i < 20000; i++) {
        left = 0;
        int rc = pawl_paged_reserve(&paged, i + 1);
        assert_int_equal(rc, i < paged.capacity ? 0 : -ENOMEM);
        left = 2;
        assert_int_equal(pawl_paged_reserve(&paged, i + 1), 0);
        at(&paged, i)->a = i;
    }
    for (uint64_t i = 0; i < 20000; i++) {
        assert_int_equal(at(&paged, i)->a, i);
    }
    pawl_paged_fini(&paged);
}

static void test_paged_when_never_used_then_ends(void **state)
{
    (void)state;
    struct pawl_paged paged = {0};
    pawl_paged_fini(&paged);
    assert_null(paged.pages);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paged_when_it_grows_then_nothing_moves_and_none_overlap),
        cmocka_unit_test(test_paged_when_much_is_reserved_at_once_then_all_of_it_is_there),
        cmocka_unit_test(test_paged_when_few_are_there_then_little_is_held),
        cmocka_unit_test(test_paged_when_memory_is_short_then_what_was_there_stays),
        cmocka_unit_test(test_paged_when_never_used_then_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
