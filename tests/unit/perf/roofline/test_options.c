// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/options.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "perf/roofline/shape.h"

static struct roofline_options options_sound(void)
{
    struct roofline_options options;

    roofline_options_init(&options);
    return options;
}

static void refused(const struct roofline_options *options)
{
    const char *why = NULL;

    assert_int_not_equal(roofline_options_check(options, &why), 0);
    assert_non_null(why);
}

static void test_options_when_defaults_then_sound(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    const char *why = "unset";
    assert_int_equal(roofline_options_check(&options, &why), 0);
    assert_null(why);
}

static void test_options_when_out_of_bounds_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    uint32_t *const small[] = {&options.record_bytes, &options.depth,       &options.clients,
                               &options.replicas,     &options.duration_ms, &options.operation_ms};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(small); i++) {
        uint32_t sound = *small[i];
        *small[i] = 0;
        refused(&options);
        *small[i] = UINT32_MAX;
        if (small[i] != &options.operation_ms) {
            refused(&options);
        }
        *small[i] = sound;
    }
    options.replicas = 4;
    refused(&options);
}

static void test_options_when_duties_then_known_ones_of_appends(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    const char *why = NULL;
    options.duties = ROOFLINE_DUTIES_ALL;
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.duties = ROOFLINE_DUTIES_ALL + 1;
    refused(&options);
    options.duties = ROOFLINE_DUTY_SECOND_WRITE;
    options.batch = ROOFLINE_SECOND_WRITE_MAX / options.record_bytes;
    refused(&options);
    options.batch = 0;
    options.is_durable = false;
    refused(&options);
    options.is_durable = true;
    options.record_bytes = 1 << 20;
    refused(&options);
    options.duties = ROOFLINE_DUTY_CHECKSUM;
    options.what = ROOFLINE_READ;
    options.record_bytes = 4096;
    refused(&options);
}

static void test_options_when_another_version_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    options.size--;
    refused(&options);
}

static void test_options_when_records_in_flight_too_large_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    options.record_bytes = 16u << 20;
    options.depth = 64;
    const char *why;
    assert_int_equal(roofline_options_check(&options, &why), 0); // 1 GiB
    options.depth = 65;
    refused(&options);
}

static void test_options_when_rate_is_no_number_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    options.rate_per_s = -1;
    refused(&options);
    options.rate_per_s = __builtin_nan("");
    refused(&options);
}

static void test_options_when_read_is_no_page_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    options.what = ROOFLINE_READ;
    options.record_bytes = 1000;
    refused(&options);
    options.record_bytes = 4096;
    const char *why;
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.clients = 64;
    options.file_bytes =
        32 * 4096 * 8; // 1 MiB: a page for each client, but not two records of 1 MiB
    options.record_bytes = 1u << 20;
    refused(&options);
}

static void test_options_when_sources_exceed_servers_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    const char *why;
    options.what = ROOFLINE_READ;
    options.record_bytes = 4096;
    options.sources = 3;
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.sources = 4;
    refused(&options);
}

static void test_options_when_more_disk_reads_than_could_be_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    const char *why;
    options.what = ROOFLINE_READ;
    options.record_bytes = 4096;
    options.disk_reads = ROOFLINE_DISK_READS_MAX; // more than are outstanding: all
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.disk_reads++;
    refused(&options);
}

static void test_options_when_verified_in_used_files_then_refused(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    struct roofline_files files = {0};
    const char *why;
    options.is_verified = true;
    options.records_max = 100;
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.files = &files;
    refused(&options);
}

static void test_options_when_verified_then_files_must_hold_all(void **state)
{
    (void)state;
    struct roofline_options options = options_sound();
    const char *why;
    options.is_verified = true;
    refused(&options); // for ever
    options.file_bytes = 1u << 20;
    options.records_max = 100;
    assert_int_equal(roofline_options_check(&options, &why), 0);
    options.records_max = 200; // each may have a batch and a padded page of its own
    refused(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_when_defaults_then_sound),
        cmocka_unit_test(test_options_when_out_of_bounds_then_refused),
        cmocka_unit_test(test_options_when_duties_then_known_ones_of_appends),
        cmocka_unit_test(test_options_when_another_version_then_refused),
        cmocka_unit_test(test_options_when_records_in_flight_too_large_then_refused),
        cmocka_unit_test(test_options_when_rate_is_no_number_then_refused),
        cmocka_unit_test(test_options_when_read_is_no_page_then_refused),
        cmocka_unit_test(test_options_when_sources_exceed_servers_then_refused),
        cmocka_unit_test(test_options_when_more_disk_reads_than_could_be_then_refused),
        cmocka_unit_test(test_options_when_verified_in_used_files_then_refused),
        cmocka_unit_test(test_options_when_verified_then_files_must_hold_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
