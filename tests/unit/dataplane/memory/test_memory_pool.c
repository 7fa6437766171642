// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/memory_pool.c.
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

#define BLOCK (64u << 10)

struct fixture {
    struct memory_pool pool;
    unsigned char *memory;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->memory = aligned_alloc(BLOCK, 3 * BLOCK);
    *state = f;
    return memory_pool_init(&f->pool, pawl_alloc_heap(), f->memory, 3 * BLOCK, BLOCK);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    memory_pool_fini(&f->pool);
    free(f->memory);
    free(f);
    return 0;
}

static void *get(struct memory_pool *pool, size_t bytes)
{
    return memory_pool_get(pool, 0, pool->blocks_count, bytes);
}

static void test_get_when_some_blocks_only_may_be_taken_then_no_others_are(void **state)
{
    struct memory_pool *pool = &((struct fixture *)*state)->pool;
    assert_int_equal(memory_pool_free_bytes(pool, 0, 3), 3 * BLOCK);
    unsigned char *small = memory_pool_get(pool, 1, 2, 1);
    assert_ptr_equal(small, pool->base + BLOCK);
    assert_int_equal(memory_pool_free_bytes(pool, 1, 1), BLOCK - BLOCK / 16);
    assert_int_equal(memory_pool_free_bytes(pool, 0, 1), BLOCK);
    assert_ptr_equal(memory_pool_get(pool, 1, 2, BLOCK), pool->base + 2 * BLOCK);
    assert_null(memory_pool_get(pool, 1, 2, BLOCK));
    assert_ptr_equal(memory_pool_get(pool, 0, 1, BLOCK), pool->base);
    assert_null(memory_pool_get(pool, 0, 0, 1));
}

static void test_get_when_sizes_differ_then_classes_are_aligned_and_apart(void **state)
{
    struct memory_pool *pool = &((struct fixture *)*state)->pool;
    unsigned char *small = get(pool, 1);
    unsigned char *quarter = get(pool, BLOCK / 16 + 1);
    unsigned char *whole = get(pool, BLOCK / 4 + 1);

    assert_int_equal(memory_pool_class_bytes(pool, 1), BLOCK / 16);
    assert_int_equal(memory_pool_class_bytes(pool, BLOCK / 4 + 1), BLOCK);
    assert_int_equal(memory_pool_class_bytes(pool, BLOCK + 1), 0);
    assert_int_equal((uintptr_t)quarter % (BLOCK / 4), 0);
    assert_int_equal((uintptr_t)whole % BLOCK, 0);
    // Small ones share a block; the whole one is another.
    assert_int_equal((uintptr_t)small / BLOCK, (uintptr_t)quarter / BLOCK);
    assert_true(quarter >= small + BLOCK / 16 || small >= quarter + BLOCK / 4);
    assert_true((uintptr_t)whole / BLOCK != (uintptr_t)small / BLOCK);
    assert_int_equal(pool->used_bytes, BLOCK + BLOCK / 4 + BLOCK / 16);
}

static void test_get_when_all_is_taken_then_null_until_put(void **state)
{
    struct memory_pool *pool = &((struct fixture *)*state)->pool;
    void *blocks[3];

    for (int i = 0; i < 3; i++) {
        assert_non_null(blocks[i] = get(pool, BLOCK));
    }
    assert_null(get(pool, BLOCK));
    assert_null(get(pool, 1));
    memory_pool_put(pool, blocks[1], BLOCK);
    assert_ptr_equal(get(pool, BLOCK), blocks[1]);
    memory_pool_put(pool, NULL, 1);
}

static void test_get_when_random_then_never_overlaps_and_ends_empty(void **state)
{
    struct memory_pool *pool = &((struct fixture *)*state)->pool;
    static const size_t sizes[] = {1, BLOCK / 16, BLOCK / 4, BLOCK};
    unsigned char *held[48] = {0};
    size_t bytes[48] = {0};
    unsigned seed = 1;

    for (int round = 0; round < 5000; round++) {
        seed = seed * 1103515245u + 12345u;
        unsigned i = (seed >> 16) % 48;
        if (held[i] != NULL) {
            for (size_t k = 0; k < bytes[i]; k += 512) {
                assert_int_equal(held[i][k], i);
            }
            memory_pool_put(pool, held[i], bytes[i]);
            held[i] = NULL;
            continue;
        }
        bytes[i] = sizes[(seed >> 8) % 4];
        held[i] = get(pool, bytes[i]);
        for (size_t k = 0; held[i] != NULL && k < bytes[i]; k += 512) {
            held[i][k] = (unsigned char)i;
        }
    }
    for (unsigned i = 0; i < 48; i++) {
        memory_pool_put(pool, held[i], bytes[i]);
    }
    assert_int_equal(pool->used_bytes, 0);
    for (int i = 0; i < 3; i++) {
        assert_non_null(get(pool, BLOCK));
    }
}

static void test_init_when_sizes_are_wrong_then_refuses(void **state)
{
    (void)state;
    struct memory_pool pool;

    assert_int_equal(memory_pool_init(&pool, pawl_alloc_heap(), &pool, BLOCK - 1, BLOCK), -EINVAL);
    assert_int_equal(memory_pool_init(&pool, pawl_alloc_heap(), &pool, BLOCK * 3, BLOCK + 16),
                     -EINVAL);
    memory_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_get_when_some_blocks_only_may_be_taken_then_no_others_are, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_get_when_sizes_differ_then_classes_are_aligned_and_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_when_all_is_taken_then_null_until_put, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_get_when_random_then_never_overlaps_and_ends_empty,
                                        setup, teardown),
        cmocka_unit_test(test_init_when_sizes_are_wrong_then_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
