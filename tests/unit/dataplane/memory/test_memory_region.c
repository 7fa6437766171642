// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/memory_region.c.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "dataplane/memory/memory.h"

static void test_region_when_opened_then_is_aligned_and_writable(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = (3u << 20) + 1, .no_lock = true, .any_node = true};

    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_int_equal(region.bytes, 4u << 20);
    assert_int_equal((uintptr_t)region.base % MEMORY_HUGE_BYTES, 0);
    memset(region.base, 0xa5, region.bytes);
    assert_non_null(strstr(memory_region_describe(&region), "unlocked as configured"));
    memory_region_close(&region);
    assert_null(region.base);
    memory_region_close(&region);
}

static void test_region_when_zero_bytes_then_is_refused(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.any_node = true};

    assert_int_equal(memory_region_open(&region, &options), -EINVAL);
}

static void test_region_when_memlock_is_small_then_opens_unlocked_and_says_so(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 4u << 20, .any_node = true, .no_huge = true};
    struct rlimit old;

    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &old), 0);
    struct rlimit small = {.rlim_cur = 1u << 20, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &small), 0);
    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_int_equal(region.pages, MEMORY_PAGES_NORMAL);
    if (geteuid() == 0) { // CAP_IPC_LOCK: the limit doesn't hold
        assert_true(region.locked || strstr(region.describe, "RLIMIT_MEMLOCK is 1 MiB"));
    } else {
        assert_non_null(strstr(region.describe, "RLIMIT_MEMLOCK is 1 MiB"));
    }
    memory_region_close(&region);
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &old), 0);
}

static void test_region_when_node_does_not_exist_then_opens_and_says_so(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 2u << 20, .no_lock = true, .numa_node = 999};

    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_false(region.node_bound);
    assert_non_null(strstr(region.describe, "could not bind to node 999"));
    memory_region_close(&region);
}

static void test_carve_when_full_then_returns_null(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 2u << 20, .no_lock = true, .any_node = true};

    assert_int_equal(memory_region_open(&region, &options), 0);
    unsigned char *first = memory_region_carve(&region, 100, 1);
    unsigned char *second = memory_region_carve(&region, 4096, 65536);
    assert_ptr_equal(first, region.base);
    assert_ptr_equal(second, first + 65536);
    assert_null(memory_region_carve(&region, 2u << 20, 4096));
    assert_null(memory_region_carve(&region, 0, 4096));
    assert_non_null(memory_region_carve(&region, (2u << 20) - 65536 - 4096, 4096));
    assert_null(memory_region_carve(&region, 1, 1));
    memory_region_close(&region);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region_when_opened_then_is_aligned_and_writable),
        cmocka_unit_test(test_region_when_zero_bytes_then_is_refused),
        cmocka_unit_test(test_region_when_memlock_is_small_then_opens_unlocked_and_says_so),
        cmocka_unit_test(test_region_when_node_does_not_exist_then_opens_and_says_so),
        cmocka_unit_test(test_carve_when_full_then_returns_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
