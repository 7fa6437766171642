// SPDX-License-Identifier: Apache-2.0
// Tests of base/hash.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"

static void test_hash_u64_when_one_bit_flips_then_half_of_the_bits_flip(void **state)
{
    (void)state;
    unsigned flips = 0;
    unsigned pairs = 0;
    for (uint64_t value = 1; value <= 64; value++) {
        for (int bit = 0; bit < 64; bit++, pairs++) {
            uint64_t other = value ^ (UINT64_C(1) << bit);
            flips += (unsigned)__builtin_popcountll(pawl_hash_u64(value) ^ pawl_hash_u64(other));
        }
    }
    // 32 of 64 on average.
    assert_in_range(flips / pairs, 30, 34);
}

static void test_hash_bytes_when_length_seed_or_byte_differs_then_hash_differs(void **state)
{
    (void)state;
    const char data[20] = "0123456789abcdefghi";
    uint64_t hash = pawl_hash_bytes(data, 19, 1);
    assert_true(hash == pawl_hash_bytes("0123456789abcdefghi", 19, 1));
    assert_true(hash != pawl_hash_bytes(data, 18, 1));
    assert_true(hash != pawl_hash_bytes(data, 20, 1)); // one more zero byte
    assert_true(hash != pawl_hash_bytes(data, 19, 2));
    assert_true(hash != pawl_hash_bytes("0123456789abcdefghj", 19, 1));
    assert_true(hash != pawl_hash_bytes("89abcdef01234567ghi", 19, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_u64_when_one_bit_flips_then_half_of_the_bits_flip),
        cmocka_unit_test(test_hash_bytes_when_length_seed_or_byte_differs_then_hash_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
