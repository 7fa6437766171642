// SPDX-License-Identifier: Apache-2.0
// Tests of base/map.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/map.h"
#include "base/random.h"
#include "tests/unit/base/scarce.h"

#define KEYS 512

// The map against a plain array, over many random steps. Few keys, so that they collide and leave.
static void test_map_when_used_at_random_then_as_a_plain_array(void **state)
{
    (void)state;
    static char *model[KEYS];
    static char values[64];
    struct pawl_map map;
    struct pawl_random random;
    size_t count = 0;
    pawl_map_init(&map, pawl_alloc_heap());
    pawl_random_seed(&random, 7);
    for (int step = 0; step < 100000; step++) {
        uint64_t key = pawl_random_below(&random, KEYS);
        if (pawl_random_chance(&random, 1, 2)) {
            char *value = &values[pawl_random_below(&random, sizeof(values))];
            count += model[key] == NULL;
            model[key] = value;
            assert_int_equal(pawl_map_put(&map, key, value), 0);
        } else {
            count -= model[key] != NULL;
            assert_ptr_equal(pawl_map_remove(&map, key), model[key]);
            model[key] = NULL;
        }
        uint64_t probe = pawl_random_below(&random, KEYS);
        assert_ptr_equal(pawl_map_get(&map, probe), model[probe]);
        assert_int_equal(pawl_map_count(&map), count);
    }
    for (uint64_t key = 0; key < KEYS; key++) {
        assert_ptr_equal(pawl_map_get(&map, key), model[key]);
    }
    pawl_map_fini(&map);
}

static void test_map_when_iterated_then_every_key_once(void **state)
{
    (void)state;
    struct pawl_map map;
    int seen[100] = {0};
    int numbers[100];
    pawl_map_init(&map, pawl_alloc_heap());
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(pawl_map_put(&map, i * UINT64_C(0x100000000), &numbers[i]), 0);
    }
    size_t cursor = 0;
    uint64_t key;
    void *value;
    while (pawl_map_iterate(&map, &cursor, &key, &value)) {
        size_t i = (size_t)(key >> 32);
        assert_ptr_equal(value, &numbers[i]);
        seen[i]++;
    }
    for (int i = 0; i < 100; i++) {
        assert_int_equal(seen[i], 1);
    }
    pawl_map_fini(&map);
}

static void test_map_when_out_of_memory_then_unchanged(void **state)
{
    (void)state;
    uint64_t left = 1;
    int value;
    const struct pawl_alloc scarce = scarce_allocator(&left);
    struct pawl_map map;
    pawl_map_init(&map, &scarce);
    uint64_t key = 0;
    while (pawl_map_put(&map, key, &value) == 0) {
        key++;
    }
    assert_in_range(key, 8, 15);
    assert_int_equal(pawl_map_count(&map), key);
    assert_null(pawl_map_get(&map, key));
    for (uint64_t i = 0; i < key; i++) {
        assert_ptr_equal(pawl_map_get(&map, i), &value);
        assert_int_equal(pawl_map_put(&map, i, &map), 0); // replacing needs no memory
    }
    pawl_map_fini(&map);
}

static void test_map_when_reserved_then_puts_need_no_memory(void **state)
{
    (void)state;
    uint64_t left = 1;
    int value;
    const struct pawl_alloc scarce = scarce_allocator(&left);
    struct pawl_map map;
    pawl_map_init(&map, &scarce);
    assert_int_equal(pawl_map_reserve(&map, 1000), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(pawl_map_put(&map, i, &value), 0);
    }
    assert_int_equal(pawl_map_reserve(&map, SIZE_MAX), -ENOMEM);
    pawl_map_fini(&map);
}

static void test_map_when_empty_then_nothing_found(void **state)
{
    (void)state;
    struct pawl_map map;
    size_t cursor = 0;
    uint64_t key;
    void *value;
    pawl_map_init(&map, pawl_alloc_heap());
    assert_null(pawl_map_get(&map, 1));
    assert_null(pawl_map_remove(&map, 1));
    assert_false(pawl_map_iterate(&map, &cursor, &key, &value));
    pawl_map_fini(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map_when_used_at_random_then_as_a_plain_array),
        cmocka_unit_test(test_map_when_iterated_then_every_key_once),
        cmocka_unit_test(test_map_when_out_of_memory_then_unchanged),
        cmocka_unit_test(test_map_when_reserved_then_puts_need_no_memory),
        cmocka_unit_test(test_map_when_empty_then_nothing_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
