// SPDX-License-Identifier: Apache-2.0
// Tests of packed records: what was put in comes out, groups are shared, ends are cut off.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/random.h"
#include "proto/records.h"

#define LIST_MAX 20000u

static struct pawl_records records;
static struct pawl_record list[LIST_MAX]; // the same, as they were
static uint64_t count;

static int set_up(void **state)
{
    (void)state;
    pawl_records_init(&records, pawl_alloc_heap());
    count = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pawl_records_fini(&records);
    return 0;
}

// The record behind the last one, `record` but for its offset.
static void add(struct pawl_record record)
{
    record.offset = count == 0 ? 0 : list[count - 1].offset + list[count - 1].length;
    assert_true(count < LIST_MAX);
    list[count++] = record;
    assert_int_equal(pawl_records_reserve(&records, 1, 1), 0);
    pawl_records_add(&records, &record);
}

static void assert_same(void)
{
    assert_int_equal(records.count, count);
    assert_int_equal(pawl_records_bytes(&records, 0), 0);
    for (uint64_t i = 0; i < count; i++) {
        struct pawl_record record = pawl_records_at(&records, i);
        assert_memory_equal(&record, &list[i], sizeof(record));
        assert_int_equal(pawl_records_bytes(&records, i + 1), list[i].offset + list[i].length);
    }
}

static struct pawl_record made(uint64_t producer, uint64_t sequence)
{
    return (struct pawl_record){
        .id = {.producer_hi = producer / 2, .producer_lo = producer, .sequence = sequence},
        .version = 3,
        .length = 1 + (uint32_t)(sequence * 7 % 1000),
        .crc = (uint32_t)(sequence * 2654435761u),
    };
}

static void test_records_that_continue_each_other_are_one_group(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        add(made(1, 5 + i));
    }
    assert_same();
    assert_int_equal(records.groups_count, 1);
}

// One thing that differs is enough.
static void test_records_that_differ_begin_a_group(void **state)
{
    (void)state;
    struct pawl_record record = made(1, 1);
    add(record);
    record.id.sequence = 3; // a gap
    add(record);
    record.id.sequence = 3; // again
    add(record);
    record.id.sequence = 4;
    record.version = 4;
    add(record);
    record.id.sequence = 5;
    record.replicated = true;
    add(record);
    record.id.sequence = 6;
    record.id.flags = wire_record_write_flags(77);
    add(record);
    record.id.sequence = 7;
    record.id.epoch = 1;
    add(record);
    record.id.sequence = 8;
    record.id.producer_hi++;
    add(record);
    record.id.sequence = 9;
    record.id.producer_lo++;
    add(record);
    assert_same();
    assert_int_equal(records.groups_count, 9);
}

static void test_records_when_an_epoch_is_between_them_keep_it_apart(void **state)
{
    (void)state;
    add(made(1, 1));
    add((struct pawl_record){
        .id = {.producer_lo = 1, .sequence = 1, .epoch = 2, .flags = WIRE_RECORD_EPOCH}});
    struct pawl_record record = made(1, 2);
    record.id.epoch = 2;
    add(record);
    assert_same();
    assert_int_equal(records.groups_count, 3);
}

static void test_records_of_the_largest_size_have_right_offsets(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 5 * PAWL_RECORDS_BLOCK; i++) {
        struct pawl_record record = made(i % 3, i + 1);
        record.length = WIRE_RECORD_MAX;
        add(record);
    }
    assert_same();
}

// Gives so many times.
static void *short_alloc(void *ctx, size_t bytes)
{
    int *left = ctx;
    return (*left)-- > 0 ? calloc(1, bytes) : NULL;
}

static void short_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

static void test_records_when_memory_is_short_keep_what_they_have(void **state)
{
    (void)state;
    int left = 0;
    unsigned refused = 0;
    const struct pawl_alloc alloc = {.alloc = short_alloc, .free = short_free, .ctx = &left};
    pawl_records_init(&records, &alloc);
    for (uint64_t i = 0; i < 5000; i++) {
        int code;
        for (left = 0; (code = pawl_records_reserve(&records, 1, 1)) != 0;
             left = 1) { // one at a time
            assert_int_equal(code, -ENOMEM);
            assert_int_equal(records.count, i);
            refused++;
        }
        add(made(i % 300, i + 1));
    }
    assert_true(refused > 10);
    assert_same();
    pawl_records_fini(&records);
    pawl_records_init(&records, pawl_alloc_heap());
}

// Runs of all lengths by several producers, epochs, levels and versions; ends that are cut off and grow again.
static void test_records_of_any_kind_come_out_as_they_went_in(void **state)
{
    (void)state;
    struct pawl_random random;
    pawl_random_seed(&random, 11);
    uint64_t next[5] = {1, 1, 1, 1, 1};
    uint64_t version = 1;
    for (unsigned round = 0; round < 500; round++) {
        uint64_t producer = pawl_random_below(&random, 5);
        uint64_t run = 1 + pawl_random_below(&random, 40);
        bool replicated = pawl_random_below(&random, 4) == 0;
        version += pawl_random_below(&random, 10) == 0;
        for (uint64_t i = 0; i < run; i++) {
            struct pawl_record record = made(producer, next[producer]++);
            record.version = version;
            record.replicated = replicated;
            add(record);
        }
        if (pawl_random_below(&random, 9) == 0) {
            struct pawl_record record = made(producer, next[producer] - 1);
            record.version = version;
            record.length = 0;
            record.id.flags = WIRE_RECORD_EPOCH;
            record.id.epoch = round;
            add(record);
        }
        if (pawl_random_below(&random, 10) == 0) {
            count -= pawl_random_below(&random, PAWL_MIN(count, UINT64_C(60)));
            pawl_records_truncate(&records, count);
            version = count > 0 ? list[count - 1].version : 1;
        }
        if (round % 50 == 0) {
            assert_same();
        }
    }
    assert_true(count > 3000);
    assert_same();
    pawl_records_truncate(&records, 0);
    count = 0;
    add(made(1, 9));
    assert_same();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_records_that_continue_each_other_are_one_group, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_records_that_differ_begin_a_group, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_when_an_epoch_is_between_them_keep_it_apart,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_the_largest_size_have_right_offsets, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_records_when_memory_is_short_keep_what_they_have,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_records_of_any_kind_come_out_as_they_went_in, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
