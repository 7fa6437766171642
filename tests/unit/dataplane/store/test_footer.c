// SPDX-License-Identifier: Apache-2.0
// Unit tests of dataplane/store/footer.c.
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/crc32c.h"
#include "dataplane/store/footer.h"

#define DATA_END (1u << 20)

struct image {
    struct disk_footer footer;
    struct disk_record rows[2];
    struct wire_producer producers[1];
};

static void image_seal(struct image *image)
{
    image->footer.records_crc = pawl_crc32c(0, image->rows, sizeof(image->rows));
    image->footer.producers_crc = pawl_crc32c(0, image->producers, sizeof(image->producers));
    footer_encode(&image->footer);
}

static struct image image_new(void)
{
    struct image image = {.footer = {.handle = 5, .records_count = 2, .producers_count = 1}};
    struct pawl_record record = {
        .id = {.producer_hi = 1, .sequence = 8}, .version = 3, .length = 100, .replicated = true};
    struct pawl_records records;

    pawl_records_init(&records, pawl_alloc_heap());
    assert_int_equal(pawl_records_reserve(&records, 2, 2), 0);
    pawl_records_add(&records, &record);
    pawl_record_follow(&record, &(struct wire_run_row){.length = 50, .crc = 7});
    pawl_records_add(&records, &record);
    footer_row_encode(&image.rows[0], &records, 1, 8192);
    pawl_records_fini(&records);
    image.producers[0].last_sequence = 44;
    image_seal(&image);
    return image;
}

static int image_check(const struct image *image)
{
    return footer_body_check(&image->footer, image->rows,
                             sizeof(image->rows) + sizeof(image->producers), DATA_END);
}

static void test_footer_when_encoded_then_decodes_to_the_same(void **state)
{
    (void)state;
    struct image image = image_new();
    struct disk_footer ret;
    struct pawl_record record;

    assert_int_equal(footer_decode(&image.footer, sizeof(image.footer), &ret), 0);
    assert_memory_equal(&ret, &image.footer, sizeof(ret));
    assert_int_equal(image_check(&image), 0);
    footer_row_decode(&image.rows[0], &record);
    assert_int_equal(record.offset, 100);
    assert_int_equal(record.id.sequence, 9);
    assert_int_equal(record.version, 3);
    assert_int_equal(record.length, 50);
    assert_int_equal(record.crc, 7);
    assert_true(record.replicated);
}

static void test_footer_when_any_bit_flips_then_refuses(void **state)
{
    (void)state;
    struct image image = image_new();
    uint8_t *at = (uint8_t *)&image;
    struct disk_footer ret;

    for (size_t bit = 0; bit < 8 * sizeof(image); bit++) {
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit < 8 * sizeof(image.footer)) {
            assert_int_equal(footer_decode(at, sizeof(image.footer), &ret), -EBADMSG);
        } else {
            assert_int_equal(image_check(&image), PAWL_ECORRUPT);
        }
        at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_footer_when_nothing_was_written_then_says_so(void **state)
{
    (void)state;
    uint8_t page[DISK_PAGE_BYTES] = {0};
    struct disk_footer ret;

    assert_int_equal(footer_decode(page, sizeof(page), &ret), -ENOENT);
    assert_int_equal(footer_decode(page, sizeof(ret) - 1, &ret), -EBADMSG);
}

static void test_footer_when_format_is_newer_then_says_so(void **state)
{
    (void)state;
    struct image image = image_new();
    struct disk_footer ret;

    image.footer.format++;
    image.footer.crc = 0;
    image.footer.crc = pawl_crc32c(0, &image.footer, sizeof(image.footer));
    assert_int_equal(footer_decode(&image.footer, sizeof(image.footer), &ret), PAWL_EFORMAT);
}

// Sound by their checksums, but outside of the file or of the limits.
static void test_footer_when_sizes_make_no_sense_then_refuses(void **state)
{
    (void)state;
    struct image image = image_new();
    struct disk_footer ret;
    static const uint64_t places[] = {1, DATA_END - 49, DATA_END + 1, UINT64_MAX};

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(places); i++) {
        image.rows[0].place = places[i];
        image_seal(&image);
        assert_int_equal(image_check(&image), PAWL_ECORRUPT);
    }
    image.rows[0].place = DATA_END - 50;
    image_seal(&image);
    assert_int_equal(image_check(&image), 0);
    image.rows[0].length = WIRE_RECORD_MAX + 1;
    image_seal(&image);
    assert_int_equal(image_check(&image), PAWL_ECORRUPT);
    assert_int_equal(footer_body_check(&image.footer, image.rows, sizeof(image.rows), DATA_END),
                     PAWL_ECORRUPT);
    image.footer.records_count = DISK_RECORDS_MAX + 1;
    image.footer.crc = 0;
    image.footer.crc = pawl_crc32c(0, &image.footer, sizeof(image.footer));
    assert_int_equal(footer_decode(&image.footer, sizeof(image.footer), &ret), -EBADMSG);
}

// The first record of a chunk becomes a row and a record again.
static void assert_survives(const struct pawl_record *record)
{
    struct pawl_records records;
    struct pawl_record again;
    struct disk_record row;

    pawl_records_init(&records, pawl_alloc_heap());
    assert_int_equal(pawl_records_reserve(&records, 1, 1), 0);
    pawl_records_add(&records, record);
    footer_row_encode(&row, &records, 0, 0);
    pawl_records_fini(&records);
    footer_row_decode(&row, &again);
    assert_memory_equal(&again, record, sizeof(again));
}

static void test_row_when_record_is_of_the_weaker_level_then_keeps_that_beside_its_id(void **state)
{
    (void)state;
    struct pawl_record record = {
        .id = {.producer_hi = 1, .sequence = 2}, .length = 3, .replicated = true};
    assert_survives(&record);
    // A write's offset may have that bit.
    record.replicated = false;
    record.id.flags = wire_record_write_flags(WIRE_RECORD_OFFSET_MAX);
    assert_survives(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_footer_when_encoded_then_decodes_to_the_same),
        cmocka_unit_test(test_row_when_record_is_of_the_weaker_level_then_keeps_that_beside_its_id),
        cmocka_unit_test(test_footer_when_any_bit_flips_then_refuses),
        cmocka_unit_test(test_footer_when_nothing_was_written_then_says_so),
        cmocka_unit_test(test_footer_when_format_is_newer_then_says_so),
        cmocka_unit_test(test_footer_when_sizes_make_no_sense_then_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
