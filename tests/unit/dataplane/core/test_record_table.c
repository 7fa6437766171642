// SPDX-License-Identifier: Apache-2.0
// Tests of the record table: rows in order, ids found, truncation.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/random.h"
#include "dataplane/core/record_table.h"
#include "tests/unit/base/scarce.h"

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
        assert_int_equal(record_table_at(&table, i).offset, i * 10);
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

// Each id is found after each record, wherever the larger slots have got to with taking it over.
static void test_record_table_while_its_slots_grow_finds_every_id(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    struct record_table table;
    record_table_init(&table, pawl_alloc_heap());
    for (uint64_t i = 0; i < COUNT; i++) {
        struct pawl_record record = record_make(i % 3, i / 3 + 1, i * 10);
        assert_int_equal(record_table_find(&table, &record.id), RECORD_ABSENT);
        assert_int_equal(record_table_add(&table, &record), 0);
        assert_true(table.slots.count >= 2 * table.anchors_count);
        for (uint64_t j = 0; j <= i; j++) {
            record = record_make(j % 3, j / 3 + 1, 0);
            assert_int_equal(record_table_find(&table, &record.id), j);
        }
    }
    record_table_fini(&table);
}

// Producers that write to many files by turns leave every 16th sequence, or every 5th, in each.
static void test_record_table_when_sequences_have_gaps_finds_every_id(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static const uint64_t steps[] = {1, 2, 5, 16, 17, 32, 1024};
    for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
        struct record_table table;
        record_table_init(&table, pawl_alloc_heap());
        for (uint64_t i = 0; i < COUNT; i++) {
            struct pawl_record record = record_make(7, i * steps[s] + 1, i * 10);
            assert_int_equal(record_table_add(&table, &record), 0);
        }
        for (uint64_t i = 0; i < COUNT; i++) {
            struct pawl_record record = record_make(7, i * steps[s] + 1, 0);
            assert_int_equal(record_table_find(&table, &record.id), i);
            record = record_make(8, i * steps[s] + 1, 0);
            assert_int_equal(record_table_find(&table, &record.id), RECORD_ABSENT);
        }
        record_table_fini(&table);
    }
}

static void test_record_table_when_truncated_while_its_slots_grow_forgets_the_end_only(void **state)
{
    (void)state;
    struct record_table table;
    for (uint64_t count = 0; count < 67; count += 6) {
        record_table_init(&table, pawl_alloc_heap());
        for (uint64_t i = 0; i < 67; i++) {
            struct pawl_record record = record_make(i % 2, i / 2 + 1, i * 10);
            assert_int_equal(record_table_add(&table, &record), 0);
        }
        assert_non_null(table.old.items); // 128 places were to be looked at
        record_table_truncate(&table, count);
        for (uint64_t i = count; i < 300; i++) {
            struct pawl_record record = record_make(i % 2, i / 2 + 1, i * 10);
            assert_int_equal(record_table_find(&table, &record.id), RECORD_ABSENT);
            assert_int_equal(record_table_add(&table, &record), 0);
        }
        for (uint64_t i = 0; i < 300; i++) {
            struct pawl_record record = record_make(i % 2, i / 2 + 1, 0);
            assert_int_equal(record_table_find(&table, &record.id), i);
        }
        record_table_fini(&table);
    }
}

static void test_record_table_when_records_continue_each_other_few_are_in_the_index(void **state)
{
    (void)state;
    enum { COUNT = 1600 };
    struct record_table table;
    record_table_init(&table, pawl_alloc_heap());
    for (uint64_t i = 0; i < COUNT; i++) {
        struct pawl_record record = record_make(1, i + 1, i * 10);
        assert_int_equal(record_table_add(&table, &record), 0);
    }
    assert_int_equal(table.anchors_count, COUNT / RECORD_ANCHORS_EVERY + 1);
    record_table_truncate(&table, 20);
    assert_int_equal(table.anchors_count, 2);
    record_table_fini(&table);
}

static uint64_t end_of(const struct record_table *table)
{
    return record_table_bytes(table, record_table_count(table));
}

static uint64_t find_by_looking(const struct record_table *table, const struct wire_record_id *id)
{
    for (uint64_t i = 0; i < record_table_count(table); i++) {
        struct wire_record_id there = record_table_at(table, i).id;
        bool is_epoch = (id->flags & WIRE_RECORD_EPOCH) != 0;
        if (there.producer_lo == id->producer_lo && there.flags == id->flags &&
            (is_epoch ? there.epoch == id->epoch : there.sequence == id->sequence)) {
            return i;
        }
    }
    return RECORD_ABSENT;
}

// Runs of all lengths by several producers, epochs and gaps between them, ends cut off: as who looks at every row.
static void test_record_table_when_anything_was_added_finds_what_is_there(void **state)
{
    (void)state;
    struct pawl_random random;
    pawl_random_seed(&random, 4711);
    struct record_table table;
    record_table_init(&table, pawl_alloc_heap());
    uint64_t next[4] = {1, 1, 1, 1};
    uint32_t epoch = 0;
    for (unsigned round = 0; round < 400; round++) {
        uint64_t producer = pawl_random_below(&random, 4);
        uint64_t run = 1 + pawl_random_below(&random, 40);
        next[producer] += pawl_random_below(&random, 4) == 0 ? pawl_random_below(&random, 20) : 0;
        for (uint64_t i = 0; i < run; i++) {
            struct pawl_record record = record_make(producer, next[producer]++, end_of(&table));
            assert_int_equal(record_table_add(&table, &record), 0);
        }
        if (pawl_random_below(&random, 8) == 0) {
            struct pawl_record record = record_make(producer, next[producer] - 1, end_of(&table));
            record.id.flags = WIRE_RECORD_EPOCH;
            record.id.epoch = ++epoch;
            assert_int_equal(record_table_add(&table, &record), 0);
        }
        if (pawl_random_below(&random, 16) == 0) { // what was cut off comes again or never
            uint64_t count = record_table_count(&table);
            record_table_truncate(&table,
                                  count - pawl_random_below(&random, PAWL_MIN(count, 50ul)));
        }
        for (unsigned i = 0; i < 50; i++) {
            struct wire_record_id id = {.producer_lo = pawl_random_below(&random, 4)};
            id.sequence = 1 + pawl_random_below(&random, next[id.producer_lo] + 20);
            assert_int_equal(record_table_find(&table, &id), find_by_looking(&table, &id));
            id.flags = WIRE_RECORD_EPOCH;
            id.epoch = (uint32_t)pawl_random_below(&random, epoch + 2);
            assert_int_equal(record_table_find(&table, &id), find_by_looking(&table, &id));
        }
    }
    assert_true(record_table_count(&table) > 1000);
    record_table_fini(&table);
}

static void test_record_table_when_memory_is_short_stays_as_it_was(void **state)
{
    (void)state;
    uint64_t left = 0;
    int refused = 0;
    const struct pawl_alloc alloc = scarce_allocator(&left);
    struct record_table table;
    record_table_init(&table, &alloc);
    for (uint64_t i = 0; i < 1000; i++) {
        struct pawl_record record = record_make(i % 3, i / 3 + 1, i * 10);
        int rc;
        for (left = 0; (rc = record_table_add(&table, &record)) != 0; left = 1) { // one at a time
            assert_int_equal(rc, -ENOMEM);
            assert_int_equal(record_table_count(&table), i);
            assert_int_equal(record_table_find(&table, &record.id), RECORD_ABSENT);
            refused++;
        }
        for (uint64_t j = i / 2; j <= i; j++) {
            record = record_make(j % 3, j / 3 + 1, 0);
            assert_int_equal(record_table_find(&table, &record.id), j);
        }
    }
    assert_true(refused > 10);
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
        cmocka_unit_test(test_record_table_while_its_slots_grow_finds_every_id),
        cmocka_unit_test(test_record_table_when_sequences_have_gaps_finds_every_id),
        cmocka_unit_test(
            test_record_table_when_truncated_while_its_slots_grow_forgets_the_end_only),
        cmocka_unit_test(test_record_table_when_records_continue_each_other_few_are_in_the_index),
        cmocka_unit_test(test_record_table_when_anything_was_added_finds_what_is_there),
        cmocka_unit_test(test_record_table_when_memory_is_short_stays_as_it_was),
        cmocka_unit_test(test_record_table_when_epoch_repeats_a_sequence_keeps_both_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
