// SPDX-License-Identifier: Apache-2.0
// Tests of base/bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static void test_writer_when_put_then_little_endian(void **state)
{
    (void)state;
    uint8_t buffer[32];
    struct pawl_writer writer;
    pawl_writer_init(&writer, buffer, sizeof(buffer));
    pawl_writer_u8(&writer, 0x01);
    pawl_writer_u16(&writer, 0x0203);
    pawl_writer_u32(&writer, 0x04050607);
    pawl_writer_u64(&writer, UINT64_C(0x08090a0b0c0d0e0f));
    pawl_writer_pad(&writer, 8);
    const uint8_t expected[16] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f,
                                  0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, 0x00};
    assert_int_equal(writer.error, 0);
    assert_int_equal(writer.at, 16);
    assert_memory_equal(buffer, expected, sizeof(expected));
}

static void test_reader_when_written_then_same_values(void **state)
{
    (void)state;
    uint8_t buffer[32];
    struct pawl_writer writer;
    pawl_writer_init(&writer, buffer, sizeof(buffer));
    pawl_writer_u64(&writer, UINT64_MAX - 1);
    pawl_writer_u32(&writer, 5);
    pawl_writer_u16(&writer, 6);
    pawl_writer_u8(&writer, 7);
    pawl_writer_bytes(&writer, "abc", 3);

    struct pawl_reader reader;
    pawl_reader_init(&reader, buffer, writer.at);
    assert_true(pawl_reader_u64(&reader) == UINT64_MAX - 1);
    assert_int_equal(pawl_reader_u32(&reader), 5);
    assert_int_equal(pawl_reader_u16(&reader), 6);
    assert_int_equal(pawl_reader_u8(&reader), 7);
    assert_memory_equal(pawl_reader_view(&reader, 3), "abc", 3);
    assert_int_equal(reader.error, 0);
    assert_int_equal(pawl_reader_left(&reader), 0);
}

static void test_reader_when_past_end_then_zero_and_error_sticks(void **state)
{
    (void)state;
    const uint8_t bytes[6] = {1, 2, 3, 4, 5, 6};
    struct pawl_reader reader;
    pawl_reader_init(&reader, bytes, sizeof(bytes));
    assert_int_equal(pawl_reader_u32(&reader), 0x04030201);
    assert_int_equal(pawl_reader_u32(&reader), 0);
    assert_int_equal(reader.error, -EBADMSG);
    // Two bytes are left, but a reader that failed gives nothing any more.
    assert_int_equal(pawl_reader_u8(&reader), 0);
    assert_int_equal(pawl_reader_left(&reader), 0);
    assert_null(pawl_reader_view(&reader, 1));
}

static void test_reader_when_huge_length_then_refused(void **state)
{
    (void)state;
    const uint8_t bytes[4] = {0};
    struct pawl_reader reader;
    pawl_reader_init(&reader, bytes, sizeof(bytes));
    (void)pawl_reader_u8(&reader);
    assert_null(pawl_reader_view(&reader, SIZE_MAX));
    assert_int_equal(reader.error, -EBADMSG);
}

static void test_writer_when_full_then_nothing_past_end(void **state)
{
    (void)state;
    uint8_t buffer[6];
    memset(buffer, 0xee, sizeof(buffer));
    struct pawl_writer writer;
    pawl_writer_init(&writer, buffer, 4);
    pawl_writer_u16(&writer, 1);
    pawl_writer_u32(&writer, 2);
    pawl_writer_u8(&writer, 3);
    assert_int_equal(writer.error, -ENOBUFS);
    assert_int_equal(writer.at, 2);
    assert_int_equal(buffer[2], 0xee);
    assert_int_equal(buffer[4], 0xee);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer_when_put_then_little_endian),
        cmocka_unit_test(test_reader_when_written_then_same_values),
        cmocka_unit_test(test_reader_when_past_end_then_zero_and_error_sticks),
        cmocka_unit_test(test_reader_when_huge_length_then_refused),
        cmocka_unit_test(test_writer_when_full_then_nothing_past_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
