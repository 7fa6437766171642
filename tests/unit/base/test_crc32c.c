// SPDX-License-Identifier: Apache-2.0
// Tests of base/crc32c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "base/crc32c.h"
#include "base/random.h"

// Bit by bit, from the definition (reflected polynomial 0x82f63b78).
static uint32_t crc32c_slow(const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0U;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (0x82f63b78U & -(crc & 1));
        }
    }
    return ~crc;
}

static void test_crc32c_when_check_string_then_check_value(void **state)
{
    (void)state;
    assert_int_equal(pawl_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(pawl_crc32c(0, "", 0), 0);
}

static void test_crc32c_when_chained_then_as_in_one_piece(void **state)
{
    (void)state;
    uint8_t data[1500];
    struct pawl_random random;
    pawl_random_seed(&random, 42);
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)pawl_random_next(&random);
    }
    uint32_t whole = crc32c_slow(data, sizeof(data));
    assert_int_equal(pawl_crc32c(0, data, sizeof(data)), whole);
    for (size_t cut = 0; cut <= sizeof(data); cut += 37) {
        uint32_t crc = pawl_crc32c(0, data, cut);
        assert_int_equal(pawl_crc32c(crc, data + cut, sizeof(data) - cut), whole);
    }
}

// What the processor says is in use of the vector registers' upper halves (XINUSE, Intel SDM vol. 1, 13.6):
// bit 2 those of AVX, bit 6 those of AVX-512.
static void test_crc32c_when_over_then_upper_halves_of_vector_registers_are_clear(void **state)
{
    (void)state;
#ifdef __x86_64__
    static uint8_t data[4096];
    uint32_t a = 0, b, c, d, low, high;
    if (!__get_cpuid_count(0xd, 1, &a, &b, &c, &d) || (a & 4) == 0) {
        skip();
    }
    for (size_t bytes = 16; bytes <= sizeof(data); bytes *= 2) {
        uint32_t crc = pawl_crc32c(0, data, bytes);
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1), "r"(crc));
        assert_int_equal(low & ((1U << 2) | (1U << 6)), 0);
    }
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_when_check_string_then_check_value),
        cmocka_unit_test(test_crc32c_when_chained_then_as_in_one_piece),
        cmocka_unit_test(test_crc32c_when_over_then_upper_halves_of_vector_registers_are_clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
