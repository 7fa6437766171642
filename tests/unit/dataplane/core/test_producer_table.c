// SPDX-License-Identifier: Apache-2.0
// Tests of the producer table: who may come next, how rows pass from chunk to chunk.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "dataplane/core/producer_table.h"

static struct wire_record_id data_id(uint64_t producer, uint32_t epoch, uint64_t sequence)
{
    return (struct wire_record_id){.producer_lo = producer, .epoch = epoch, .sequence = sequence};
}

static struct wire_record_id epoch_id(uint64_t producer, uint32_t epoch, uint64_t sequence)
{
    struct wire_record_id id = data_id(producer, epoch, sequence);
    id.flags = WIRE_RECORD_EPOCH;
    return id;
}

static void apply(struct producer_table *table, uint64_t chunk, struct wire_record_id id)
{
    assert_true(producer_table_admits(table, &id));
    assert_int_equal(producer_table_apply(table, chunk, &id, 1), 0);
}

static enum producer_verdict judge(const struct producer_table *table, struct wire_record_id id)
{
    return producer_table_judge(table, &id);
}

static void test_producer_table_when_unknown_starts_at_one_only(void **state)
{
    (void)state;
    struct producer_table table;
    producer_table_init(&table, pawl_alloc_heap());
    assert_int_equal(judge(&table, data_id(1, 0, 1)), PRODUCER_NEXT);
    assert_int_equal(judge(&table, data_id(1, 0, 2)), PRODUCER_EARLY);
    assert_int_equal(judge(&table, data_id(1, 1, 1)), PRODUCER_FENCED);
    assert_int_equal(judge(&table, epoch_id(1, 1, 0)), PRODUCER_NEXT);
    producer_table_fini(&table);
}

// A run is what its records are one by one, also where it is the first of a chunk.
static void test_producer_table_when_a_run_comes_is_as_after_each_of_it(void **state)
{
    (void)state;
    struct producer_table run;
    struct producer_table each;
    struct wire_record_id first = data_id(1, 0, 3);
    producer_table_init(&run, pawl_alloc_heap());
    producer_table_init(&each, pawl_alloc_heap());
    for (uint64_t sequence = 1; sequence < 3; sequence++) {
        apply(&run, 9, data_id(1, 0, sequence));
        apply(&each, 9, data_id(1, 0, sequence));
    }
    assert_int_equal(producer_table_apply(&run, 10, &first, 5), 0);
    for (uint64_t sequence = 3; sequence < 8; sequence++) {
        apply(&each, 10, data_id(1, 0, sequence));
    }
    assert_int_equal(run.count, each.count);
    assert_memory_equal(run.rows, each.rows, run.count * sizeof(*run.rows));
    assert_int_equal(judge(&run, data_id(1, 0, 7)), PRODUCER_REPEATED);
    assert_int_equal(judge(&run, data_id(1, 0, 8)), PRODUCER_NEXT);
    producer_table_fini(&run);
    producer_table_fini(&each);
}

static void test_producer_table_when_sequences_come_judges_each(void **state)
{
    (void)state;
    struct producer_table table;
    producer_table_init(&table, pawl_alloc_heap());
    apply(&table, 9, data_id(1, 0, 1));
    apply(&table, 9, data_id(1, 0, 2));
    assert_int_equal(judge(&table, data_id(1, 0, 1)), PRODUCER_REPEATED);
    assert_int_equal(judge(&table, data_id(1, 0, 2)), PRODUCER_REPEATED);
    assert_int_equal(judge(&table, data_id(1, 0, 3)), PRODUCER_NEXT);
    assert_int_equal(judge(&table, data_id(1, 0, 4)), PRODUCER_EARLY);
    producer_table_fini(&table);
}

static void test_producer_table_when_epoch_rises_refuses_the_older_one(void **state)
{
    (void)state;
    struct producer_table table;
    struct wire_record_id wrong = epoch_id(1, 3, 7);
    producer_table_init(&table, pawl_alloc_heap());
    apply(&table, 9, epoch_id(1, 1, 0));
    apply(&table, 9, data_id(1, 1, 1));
    assert_false(producer_table_admits(&table, &wrong)); // the last sequence is 1, not 7
    apply(&table, 9, epoch_id(1, 3, 1));
    assert_int_equal(judge(&table, data_id(1, 1, 2)), PRODUCER_FENCED);
    assert_int_equal(judge(&table, data_id(1, 1, 1)), PRODUCER_FENCED);
    assert_int_equal(judge(&table, data_id(1, 4, 2)), PRODUCER_FENCED);
    assert_int_equal(judge(&table, data_id(1, 3, 2)), PRODUCER_NEXT);
    assert_int_equal(judge(&table, epoch_id(1, 2, 1)), PRODUCER_FENCED);
    assert_int_equal(judge(&table, epoch_id(1, 3, 1)), PRODUCER_REPEATED);
    assert_int_equal(judge(&table, epoch_id(1, 4, 1)), PRODUCER_NEXT);
    producer_table_fini(&table);
}

static void test_producer_table_when_inherited_walks_back_chunk_by_chunk(void **state)
{
    (void)state;
    struct producer_table first, second, third;
    struct wire_producer rows[4];
    struct wire_record_id id;
    producer_table_init(&first, pawl_alloc_heap());
    producer_table_init(&second, pawl_alloc_heap());
    producer_table_init(&third, pawl_alloc_heap());
    apply(&first, 100, data_id(1, 0, 1));
    apply(&first, 100, data_id(1, 0, 2));
    producer_table_copy_sorted(&first, rows);
    assert_int_equal(producer_table_inherit(&second, rows, first.count), 0);
    apply(&second, 200, data_id(1, 0, 3));
    apply(&second, 200, data_id(1, 0, 4));
    producer_table_copy_sorted(&second, rows);
    assert_int_equal(rows[0].first_sequence, 3);
    assert_int_equal(rows[0].previous_chunk, 100);
    assert_int_equal(producer_table_inherit(&third, rows, second.count), 0);

    id = data_id(1, 0, 4); // nothing of this producer in chunk 300 yet
    assert_int_equal(producer_table_earlier(&third, 300, &id), 200);
    id = data_id(1, 0, 2);
    assert_int_equal(producer_table_earlier(&third, 300, &id), 100);
    apply(&third, 300, data_id(1, 0, 5));
    id = data_id(1, 0, 4);
    assert_int_equal(producer_table_earlier(&third, 300, &id), 200);
    id = data_id(1, 0, 2); // chunk 200 goes on from there
    assert_int_equal(producer_table_earlier(&third, 300, &id), 200);
    assert_int_equal(producer_table_earlier(&second, 200, &id), 100);
    producer_table_fini(&first);
    producer_table_fini(&second);
    producer_table_fini(&third);
}

static void test_producer_table_when_epoch_opens_in_a_new_chunk_keeps_the_place(void **state)
{
    (void)state;
    struct producer_table table;
    struct wire_producer row = {
        .producer_lo = 1, .last_sequence = 5, .last_chunk = 100, .first_sequence = 1, .epoch = 1};
    struct wire_record_id id = data_id(1, 2, 5);
    producer_table_init(&table, pawl_alloc_heap());
    assert_int_equal(producer_table_inherit(&table, &row, 1), 0);
    apply(&table, 200, epoch_id(1, 2, 5));
    assert_int_equal(producer_table_find(&table, &id)->last_chunk, 100);
    assert_int_equal(producer_table_earlier(&table, 200, &id), 100);
    producer_table_fini(&table);
}

static void test_producer_table_when_rows_contradict_refuses_them(void **state)
{
    (void)state;
    struct producer_table table;
    struct wire_producer twice[2] = {{.producer_lo = 1}, {.producer_lo = 1}};
    struct wire_producer bad = {.producer_lo = 1, .last_sequence = 4};
    producer_table_init(&table, pawl_alloc_heap());
    assert_int_equal(producer_table_inherit(&table, twice, 2), PAWL_EINVALID);
    assert_int_equal(producer_table_inherit(&table, &bad, 1), PAWL_EINVALID);
    assert_int_equal(producer_table_inherit(&table, NULL, WIRE_TABLE_ROWS_MAX + 1), PAWL_EINVALID);
    assert_int_equal(producer_table_inherit(&table, twice, 1), 0);
    producer_table_fini(&table);
}

static void test_producer_table_when_copied_stands_in_order(void **state)
{
    (void)state;
    struct producer_table table;
    struct wire_producer rows[1000];
    producer_table_init(&table, pawl_alloc_heap());
    for (uint64_t i = 0; i < 1000; i++) {
        struct wire_record_id id = data_id((i * 7919) % 1009, 0, 1);
        id.producer_hi = i % 3;
        apply(&table, 9, id);
    }
    producer_table_copy_sorted(&table, rows);
    for (uint32_t i = 1; i < 1000; i++) {
        const struct wire_producer *a = &rows[i - 1];
        const struct wire_producer *b = &rows[i];
        assert_true(a->producer_hi < b->producer_hi ||
                    (a->producer_hi == b->producer_hi && a->producer_lo < b->producer_lo));
    }
    producer_table_fini(&table);
}

static void test_producer_table_when_full_admits_known_producers_only(void **state)
{
    (void)state;
    struct producer_table table;
    struct wire_producer *rows = calloc(WIRE_PRODUCERS_MAX, sizeof(*rows));
    for (uint32_t i = 0; i < WIRE_PRODUCERS_MAX; i++) {
        rows[i].producer_lo = i + 1;
    }
    producer_table_init(&table, pawl_alloc_heap());
    assert_int_equal(producer_table_inherit(&table, rows, WIRE_PRODUCERS_MAX), 0);
    struct wire_record_id known = data_id(5, 0, 1);
    struct wire_record_id unknown = data_id(UINT32_MAX, 0, 1);
    assert_true(producer_table_admits(&table, &known));
    assert_false(producer_table_admits(&table, &unknown));
    assert_true(producer_table_is_full(&table, &unknown));
    producer_table_fini(&table);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_producer_table_when_unknown_starts_at_one_only),
        cmocka_unit_test(test_producer_table_when_a_run_comes_is_as_after_each_of_it),
        cmocka_unit_test(test_producer_table_when_sequences_come_judges_each),
        cmocka_unit_test(test_producer_table_when_epoch_rises_refuses_the_older_one),
        cmocka_unit_test(test_producer_table_when_inherited_walks_back_chunk_by_chunk),
        cmocka_unit_test(test_producer_table_when_epoch_opens_in_a_new_chunk_keeps_the_place),
        cmocka_unit_test(test_producer_table_when_rows_contradict_refuses_them),
        cmocka_unit_test(test_producer_table_when_copied_stands_in_order),
        cmocka_unit_test(test_producer_table_when_full_admits_known_producers_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
