// SPDX-License-Identifier: Apache-2.0
// Tests of proto/reactor.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/reactor.h"

// Directories are laid out by these numbers: whoever changes them loses chunks.
static void test_reactor_of_when_asked_gives_what_it_always_gave(void **state)
{
    (void)state;
    static const struct {
        uint64_t handle;
        uint32_t of_2, of_3, of_64;
    } known[] = {
        {UINT64_C(0x1), 0, 1, 21},
        {UINT64_C(0x2), 1, 2, 54},
        {UINT64_C(0x3), 0, 0, 7},
        {UINT64_C(0x4), 1, 2, 45},
        {UINT64_C(0x3e8), 1, 2, 48},
        {UINT64_C(0x100000000), 1, 2, 54},
        {UINT64_C(0xffffffffffffffff), 1, 2, 45},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        assert_int_equal(reactor_of(known[i].handle, 1), 0);
        assert_int_equal(reactor_of(known[i].handle, 2), known[i].of_2);
        assert_int_equal(reactor_of(known[i].handle, 3), known[i].of_3);
        assert_int_equal(reactor_of(known[i].handle, 64), known[i].of_64);
    }
}

// Handles are given out in a row, and those of one file may be every second or third of them.
static void test_reactor_of_when_handles_come_in_steps_spreads_them(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 64; count *= 2) {
        for (uint64_t step = 1; step <= 4; step++) {
            unsigned seen[64] = {0};
            for (uint64_t i = 1; i <= 6400; i++) {
                uint32_t reactor = reactor_of(i * step, count);
                assert_true(reactor < count);
                seen[reactor]++;
            }
            for (uint32_t i = 0; i < count; i++) {
                assert_in_range(seen[i], 6400 / count / 2, 6400 / count * 2);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reactor_of_when_asked_gives_what_it_always_gave),
        cmocka_unit_test(test_reactor_of_when_handles_come_in_steps_spreads_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
