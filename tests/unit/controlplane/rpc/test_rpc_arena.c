// SPDX-License-Identifier: Apache-2.0
// Tests of the arena that messages are unpacked into.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control.pb-c.h"
#include "controlplane/rpc/arena.h"

static void test_arena_alloc_when_used_gives_zeroed_aligned_separate_memory(void **state)
{
    (void)state;
    struct rpc_arena arena;
    rpc_arena_init(&arena, 1 << 20);
    uint8_t *before = NULL;
    for (size_t bytes = 0; bytes < 300; bytes++) {
        uint8_t *pointer = rpc_arena_alloc(&arena, bytes);
        assert_non_null(pointer);
        assert_int_equal((uintptr_t)pointer % 16, 0);
        for (size_t i = 0; i < bytes; i++) {
            assert_int_equal(pointer[i], 0);
        }
        memset(pointer, 0xab, bytes);
        assert_true(pointer != before);
        before = pointer;
    }
    rpc_arena_fini(&arena);
}

static void test_arena_alloc_when_bound_is_reached_refuses(void **state)
{
    (void)state;
    struct rpc_arena arena;
    rpc_arena_init(&arena, 4096);
    assert_null(rpc_arena_alloc(&arena, 4097));
    assert_null(rpc_arena_alloc(&arena, SIZE_MAX));
    assert_true(arena.exhausted);
    rpc_arena_reset(&arena);
    assert_false(arena.exhausted);
    size_t count = 0;
    while (rpc_arena_alloc(&arena, 100) != NULL) {
        count++;
    }
    assert_int_equal(count, 4096 / 112);
    assert_true(arena.exhausted);
    rpc_arena_fini(&arena);
}

static void test_arena_reset_when_called_gives_all_back(void **state)
{
    (void)state;
    struct rpc_arena arena;
    rpc_arena_init(&arena, 1 << 20);
    for (int round = 0; round < 50; round++) {
        assert_non_null(rpc_arena_alloc(&arena, 700 << 10)); // only fits when the last one is gone
        assert_non_null(rpc_arena_alloc(&arena, 10));
        rpc_arena_reset(&arena);
    }
    rpc_arena_fini(&arena);
}

static void test_arena_unpack_when_elements_explode_refuses(void **state)
{
    (void)state;
    enum { ELEMENTS = 100000 };
    // Register with 100,000 empty replicas: two bytes each here, more than a hundred in memory.
    uint8_t *bytes = malloc(ELEMENTS * 2);
    for (size_t i = 0; i < ELEMENTS; i++) {
        bytes[2 * i] = 9 << 3 | 2;
        bytes[2 * i + 1] = 0;
    }
    struct rpc_arena arena;
    rpc_arena_init(&arena, 1 << 20);
    assert_null(pawl__register__unpack(&arena.allocator, ELEMENTS * 2, bytes));
    assert_true(arena.exhausted);
    rpc_arena_fini(&arena);
    rpc_arena_init(&arena, 64 << 20);
    Pawl__Register *message = pawl__register__unpack(&arena.allocator, ELEMENTS * 2, bytes);
    assert_non_null(message);
    assert_int_equal(message->n_replicas, ELEMENTS);
    rpc_arena_fini(&arena);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_alloc_when_used_gives_zeroed_aligned_separate_memory),
        cmocka_unit_test(test_arena_alloc_when_bound_is_reached_refuses),
        cmocka_unit_test(test_arena_reset_when_called_gives_all_back),
        cmocka_unit_test(test_arena_unpack_when_elements_explode_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
