// SPDX-License-Identifier: Apache-2.0
// Tests of the record table: rows in order, ids found, truncation.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/core/record_table.h"

static struct pawl_record record_make(uint64_t producer, uint64_t sequence, uint64_t offset)
{
    return (struct pawl_record){
        .offset = offset, .id = {.producer_lo = producer, .sequence = sequence}, .length = 10};
}

static void test_record_table_when_empty_finds_nothing(void **state)
{
    (void)state;
    struct record_table table;
    struct wire_record_id id = {.producer_lo = 1, .sequence = 1};
    record_table_init(&table, pawl_alloc_heap());
    assert_int_equal(record_table_find(&table, &id), RECORD_ABSENT);
    assert_int_equal(record_table_bytes(&table, 0), 0);
    record_table_truncate(&table, 0);
    record_table_fini(&table);
}

static void test_record_table_when_it_grows_finds_every_id(void **state)
{
    (void)state;
    struct record_table table;
    record_table_init(&table, pawl_alloc_heap());
    enum { COUNT = 20000 }; // pages of every size
    for (uint64_t i = 0; i < COUNT; i++) {
        struct pawl_record record = record_make(i % 7, i / 7 + 1, i * 10);
        assert_int_equal(record_table_add(&table, &record), 0);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        struct pawl_record record = record_make(i % 7, i / 7 + 1, i * 10);
        assert_int_equal(record_table_find(&table, &record.id), i);
        assert_int_equal(record_table_at(&table, i)->offset, i * 10);
    }
    assert_int_equal(record_table_bytes(&table, COUNT), COUNT * 10);
    record_table_fini(&table);
}

static void test_record_table_when_truncated_forgets_the_end_only(void **state)
{
    (void)state;
    struct record_table table;
    record_table_init(&table, pawl_alloc_heap());
    for (uint64_t i = 0; i < 100; i++) {
        struct pawl_record record = record_make(1, i + 1, i * 10);
        assert_int_equal(record_table_add(&table, &record), 0);
    }
    record_table_truncate(&table, 40);
    for (uint64_t i = 0; i < 100; i++) {
        struct pawl_record record = record_make(1, i + 1, 0);
        assert_int_equal(record_table_find(&table, &record.id), i < 40 ? i : RECORD_ABSENT);
    }
    struct pawl_record other = record_make(2, 1, 400);
    assert_int_equal(record_table_add(&table, &other), 0);
    assert_int_equal(record_table_find(&table, &other.id), 40);
    record_table_fini(&table);
}

static void test_record_table_when_epoch_repeats_a_sequence_keeps_both_apart(void **state)
{
    (void)state;
    struct record_table table;
    struct pawl_record data = record_make(1, 5, 0);
    struct pawl_record epoch = record_make(1, 5, 10);
    record_table_init(&table, pawl_alloc_heap());
    epoch.id.flags = WIRE_RECORD_EPOCH;
    epoch.id.epoch = 3;
    assert_int_equal(record_table_add(&table, &data), 0);
    assert_int_equal(record_table_add(&table, &epoch), 0);
    assert_int_equal(record_table_find(&table, &data.id), 0);
    epoch.id.sequence = 99; // an epoch record is known by its epoch
    assert_int_equal(record_table_find(&table, &epoch.id), 1);
    epoch.id.epoch = 4;
    assert_int_equal(record_table_find(&table, &epoch.id), RECORD_ABSENT);
    record_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_table_when_empty_finds_nothing),
        cmocka_unit_test(test_record_table_when_it_grows_finds_every_id),
        cmocka_unit_test(test_record_table_when_truncated_forgets_the_end_only),
        cmocka_unit_test(test_record_table_when_epoch_repeats_a_sequence_keeps_both_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
