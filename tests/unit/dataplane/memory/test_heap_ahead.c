// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/memory/heap_ahead.c. The program is linked with jemalloc, as pawl-chunkd is.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "dataplane/memory/heap_ahead.h"

#define MIB ((size_t)1 << 20)
#define AHEAD_BYTES (4 * MIB)

static bool is_resident(const void *memory, size_t bytes)
{
    unsigned char pages[1024];
    size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)memory / page_bytes * page_bytes;
    size_t count = ((uintptr_t)memory + bytes - first + page_bytes - 1) / page_bytes;

    assert_true(count <= sizeof(pages));
    assert_int_equal(mincore((void *)first, count * page_bytes, pages), 0);
    for (size_t i = 0; i < count; i++) {
        if ((pages[i] & 1) == 0) {
            return false;
        }
    }
    return true;
}

// Asked not to make huge pages of the mapping that `memory` is in (proc_pid_smaps(5), VmFlags); or the kernel has none.
static bool is_of_small_pages(const void *memory)
{
    char line[1024];
    uintptr_t first = 0;
    uintptr_t end = 0;
    bool small = false;

    if (access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) {
        return true;
    }
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        uintptr_t from;
        uintptr_t to;
        if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &from, &to) == 2) {
            first = from;
            end = to;
        } else if (strncmp(line, "VmFlags:", 8) == 0 && first <= (uintptr_t)memory &&
                   (uintptr_t)memory < end) {
            small = strstr(line, " nh") != NULL;
        }
    }
    fclose(maps);
    return small;
}

static void wait_ready(const struct heap_ahead *heap)
{
    uint64_t end_ns = pawl_clock_ns() + 60 * PAWL_NS_PER_S;

    while (heap_ahead_ready_bytes(heap) < heap_ahead_taken_bytes(heap) + AHEAD_BYTES) {
        assert_true(pawl_clock_ns() < end_ns);
        sched_yield();
    }
}

// What it allocates is there before it is touched, and what is freed is used again.
static void *allocate(void *user)
{
    struct heap_ahead_options options = {.ahead_bytes = AHEAD_BYTES, .any_node = true};
    const struct heap_ahead *heap = NULL;

    int code = heap_ahead_begin(&options, &heap);
    if (code == -ENOSYS) { // a kernel that is too old
        *(bool *)user = true;
        return NULL;
    }
    assert_int_equal(code, 0);
    for (unsigned i = 0; i < 64; i++) {
        wait_ready(heap);
        size_t taken = heap_ahead_taken_bytes(heap);
        unsigned char *memory = calloc(1, MIB / 4);
        assert_true(heap_ahead_owns(heap, memory));
        if (heap_ahead_taken_bytes(heap) == taken) { // what was taken before was ready
            assert_true(is_resident(memory, MIB / 4));
        }
        for (size_t at = 0; at < MIB / 4; at++) {
            assert_int_equal(memory[at], 0);
        }
        memset(memory, 0xa5, MIB / 4);
        if (i % 2 == 0) {
            free(memory);
        }
    }
    assert_true(heap_ahead_taken_bytes(heap) >= 8 * MIB); // 32 blocks are in use
    assert_true(heap_ahead_taken_bytes(heap) < 24 * MIB); // and the others were used again
    assert_false(heap_ahead_owns(heap, &options));
    void *some = malloc(MIB);
    assert_true(heap_ahead_owns(heap, some));
    assert_true(is_of_small_pages(some));
    free(some);
    void *large = malloc(40 * MIB); // more than is ahead
    assert_true(heap_ahead_owns(heap, large));
    wait_ready(heap);
    assert_true(is_resident(large, MIB));
    memset(large, 1, 40 * MIB);
    void *grown = realloc(large, 50 * MIB);
    assert_int_equal(((unsigned char *)grown)[40 * MIB - 1], 1);
    free(grown);
    return malloc(100);
}

static void test_heap_when_begun_then_memory_is_ready_before_it_is_wanted(void **state)
{
    pthread_t thread;
    void *left;
    bool too_old = false;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, allocate, &too_old), 0);
    assert_int_equal(pthread_join(thread, &left), 0);
    if (too_old) {
        skip();
    }
    free(left); // by another thread, after the end of its own
}

static void *allocate_a_little(void *user)
{
    struct heap_ahead_options options = {.ahead_bytes = 1, .numa_node = 0};

    (void)user;
    int code = heap_ahead_begin(&options, NULL);
    assert_true(code == 0 || code == -ENOSYS);
    for (unsigned i = 0; i < 1000; i++) {
        free(malloc(i * 64));
    }
    return malloc(1);
}

static void test_heap_when_several_threads_begin_then_each_has_its_own(void **state)
{
    pthread_t threads[4];
    void *left;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_a_little, NULL), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &left), 0);
        free(left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap_when_begun_then_memory_is_ready_before_it_is_wanted),
        cmocka_unit_test(test_heap_when_several_threads_begin_then_each_has_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
