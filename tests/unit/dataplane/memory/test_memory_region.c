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
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
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

// What the kernel says of transparent huge pages: "always [madvise] never".
static bool offers_huge_pages(void)
{
    char text[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

    if (file == NULL) {
        return false;
    }
    bool is_read = fgets(text, sizeof(text), file) != NULL;
    fclose(file);
    return is_read && (strstr(text, "[always]") != NULL || strstr(text, "[madvise]") != NULL);
}

// The kernel's flags of the mapping that begins there; "" where it doesn't tell.
static void flags_find(const void *base, char *ret, size_t bytes)
{
    char line[512];
    bool is_there = false;
    FILE *file = fopen("/proc/self/smaps", "re");

    assert_non_null(file);
    ret[0] = '\0';
    while (ret[0] == '\0' && fgets(line, sizeof(line), file) != NULL) {
        char *end;
        unsigned long long at = strtoull(line, &end, 16);
        if (*end == '-') {
            is_there = at == (uintptr_t)base;
        } else if (is_there && strncmp(line, "VmFlags:", strlen("VmFlags:")) == 0) {
            snprintf(ret, bytes, "%s", line);
        }
    }
    fclose(file);
}

static void test_region_when_the_kernel_has_huge_pages_then_asks_for_them_and_says_so(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 8u << 20, .no_lock = true, .any_node = true};
    char flags[512];

    if (!offers_huge_pages()) {
        skip();
    }
    assert_int_equal(memory_region_open(&region, &options), 0);
    bool is_reserved = region.pages == MEMORY_PAGES_HUGE; // the machine's owner has set some aside
    assert_true(is_reserved || region.pages == MEMORY_PAGES_TRANSPARENT);
    assert_non_null(strstr(memory_region_describe(&region),
                           is_reserved ? ", huge pages" : ", transparent huge pages"));
    flags_find(region.base, flags, sizeof(flags));
    assert_true(flags[0] == '\0' || strstr(flags, is_reserved ? " ht" : " hg") != NULL);
    memory_region_close(&region);
}

static void test_region_when_huge_pages_are_not_wanted_then_asks_for_none(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {
        .bytes = 8u << 20, .no_lock = true, .any_node = true, .no_huge = true};
    char flags[512];

    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_int_equal(region.pages, MEMORY_PAGES_NORMAL);
    assert_non_null(strstr(memory_region_describe(&region), ", normal pages"));
    flags_find(region.base, flags, sizeof(flags));
    assert_true(strstr(flags, " ht") == NULL && strstr(flags, " hg") == NULL);
    memory_region_close(&region);
}

static void test_region_when_node_does_not_exist_then_opens_and_says_so(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 2u << 20, .no_lock = true, .numa_node = 999};

    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_false(region.node_asked);
    assert_false(memory_region_well_placed(&region));
    assert_non_null(strstr(region.describe, "could not bind to node 999"));
    memory_region_close(&region);
}

// The node that this thread runs on has memory, on any machine that has nodes at all.
static unsigned own_node(void)
{
    unsigned cpu = 0;
    unsigned node = 0;
    assert_int_equal(getcpu(&cpu, &node), 0);
    return node;
}

static void test_region_when_node_has_memory_then_lies_there_and_says_so(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 8u << 20, .no_lock = true, .numa_node = own_node()};
    char text[32];

    if (syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) != 0) {
        skip(); // a container may not ask about nodes, or the kernel knows none
    }
    snprintf(text, sizeof(text), ", on node %u", options.numa_node);
    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_true(region.node_asked);
    assert_int_equal(region.on_node.looked_count, 1024);
    assert_int_equal(region.on_node.there_count, 1024);
    assert_true(memory_region_well_placed(&region));
    assert_non_null(strstr(memory_region_describe(&region), text));
    memory_region_close(&region);
}

static void test_region_when_any_node_will_do_then_no_node_is_spoken_of(void **state)
{
    (void)state;
    struct memory_region region;
    struct memory_options options = {.bytes = 2u << 20, .no_lock = true, .any_node = true};

    assert_int_equal(memory_region_open(&region, &options), 0);
    assert_true(memory_region_well_placed(&region));
    assert_null(strstr(memory_region_describe(&region), "node"));
    memory_region_close(&region);
}

static void test_look_when_pages_are_elsewhere_or_nowhere_then_tells(void **state)
{
    (void)state;
    const size_t page = 4096;
    const size_t bytes = 16 * page;
    unsigned char *memory =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    if (syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0) != 0) {
        skip();
    }
    assert_int_equal(madvise(memory, bytes, MADV_NOHUGEPAGE), 0);
    assert_int_equal(memory_look(memory, bytes, own_node()).looked_count, 0); // untouched
    for (size_t i = 0; i < 12; i++) {
        memory[i * page] = 1;
    }
    struct memory_share share = memory_look(memory, bytes, own_node());
    assert_int_equal(share.looked_count, 12);
    assert_true(share.there_count > 0);
    unsigned there_count = share.there_count;
    share = memory_look(memory, bytes, 999); // they are on another node than that one
    assert_int_equal(share.looked_count, 12);
    assert_int_equal(share.there_count, 0);
    assert_int_equal(there_count, 12);
    munmap(memory, bytes);
}

static void test_share_when_described_then_says_where_it_is(void **state)
{
    (void)state;
    static const struct {
        struct memory_share share;
        bool node_asked;
        const char *text;
    } cases[] = {
        {{1024, 1024}, true, "on node 1"},
        {{1024, 308}, true, "30 % on node 1, the rest elsewhere: it has not enough free memory"},
        {{1024, 1023}, true, "99 % on node 1, the rest elsewhere: it has not enough free memory"},
        {{1024, 0}, true, "0 % on node 1, the rest elsewhere: it has not enough free memory"},
        {{0, 0}, true, "node 1 asked for; the kernel doesn't tell where it is"},
        {{1024, 1024}, false, "could not bind to node 1"},
    };
    char text[96];

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        memory_share_describe(cases[i].share, 1, cases[i].node_asked, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
        assert_true(strlen(text) < sizeof(text) - 8); // longer numbers
    }
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
        cmocka_unit_test(test_region_when_the_kernel_has_huge_pages_then_asks_for_them_and_says_so),
        cmocka_unit_test(test_region_when_huge_pages_are_not_wanted_then_asks_for_none),
        cmocka_unit_test(test_region_when_node_does_not_exist_then_opens_and_says_so),
        cmocka_unit_test(test_region_when_node_has_memory_then_lies_there_and_says_so),
        cmocka_unit_test(test_region_when_any_node_will_do_then_no_node_is_spoken_of),
        cmocka_unit_test(test_look_when_pages_are_elsewhere_or_nowhere_then_tells),
        cmocka_unit_test(test_share_when_described_then_says_where_it_is),
        cmocka_unit_test(test_carve_when_full_then_returns_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
