// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/shape.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "perf/roofline/shape.h"

#define BLOCK 512u
#define RECORDS 4u
#define JOURNAL_BYTES 65536u

static struct shape shape_of(uint32_t record_bytes)
{
    struct roofline_options options;
    struct shape shape;

    roofline_options_init(&options);
    options.record_bytes = record_bytes;
    options.clients = 2;
    options.depth = 8;
    shape_init(&shape, &options);
    return shape;
}

static void test_shape_when_size_grows_then_pushed_and_in_place(void **state)
{
    (void)state;
    struct shape small = shape_of(8192);
    struct shape middle = shape_of(8193);
    struct shape large = shape_of(32769);
    assert_true(!small.is_pushed && !small.is_in_place);
    assert_true(middle.is_pushed && !middle.is_in_place && middle.slot_bytes == 12288);
    assert_true(large.is_pushed && large.is_in_place);
    assert_int_equal(small.outstanding, 16);
}

// What Pawl's own messages and entries have for one record.
static void test_shape_when_one_record_then_as_long_as_pawls_own(void **state)
{
    (void)state;
    struct shape small = shape_of(1024);
    struct shape large = shape_of(1u << 20);
    assert_int_equal(shape_append_bytes(&small, 1), sizeof(struct wire_append) + 1024);
    assert_int_equal(shape_prepare_bytes(&small, 1), sizeof(struct wire_prepare) + 1024);
    assert_int_equal(shape_append_bytes(&large, 1), sizeof(struct wire_append));
    assert_int_equal(shape_appended_bytes(1), sizeof(struct wire_appended));
    assert_int_equal(shape_entry_bytes(&small, 1), sizeof(struct disk_entry) + 1024);
    assert_int_equal(shape_entry_bytes(&large, 1), sizeof(struct disk_entry));
    assert_int_equal(shape_entry_bytes(&small, 3),
                     sizeof(struct disk_entry) + 3 * (sizeof(struct disk_run_row) + 1024));
    small.run_max = 4;
    assert_int_equal(shape_journal_bytes(&small, 9), sizeof(struct disk_batch) +
                                                         2 * shape_entry_bytes(&small, 4) +
                                                         shape_entry_bytes(&small, 1));
}

// What Pawl's own check says of so many records as one message of this type.
static int wire_says(const struct shape *shape, uint16_t type, uint32_t count)
{
    static union {
        struct wire_append append;
        struct wire_prepare prepare;
        uint8_t bytes[2 * WIRE_MESSAGE_MAX];
    } message;
    uint32_t struct_bytes = wire_struct_bytes(type);
    uint32_t length = count * shape->record_bytes;
    uint32_t rows_bytes = count > 1 ? wire_rows_bytes((uint16_t)count) : 0;
    uint16_t run_count = count > 1 ? (uint16_t)count : 0;
    struct wire_record_id id = {.producer_hi = 1, .producer_lo = 2, .sequence = 3};
    const char *why = NULL;

    memset(&message, 0, sizeof(message));
    if (type == WIRE_APPEND) {
        message.append = (struct wire_append){
            .chunk = 4, .version = 5, .id = id, .length = length, .run_count = run_count};
    } else {
        message.prepare = (struct wire_prepare){
            .chunk = 4, .version = 5, .id = id, .length = length, .run_count = run_count};
    }
    for (uint32_t i = 0; i < count && rows_bytes > 0; i++) {
        struct wire_run_row row = {.length = shape->record_bytes};
        memcpy(message.bytes + struct_bytes + i * sizeof(row), &row, sizeof(row));
    }
    uint32_t bytes = struct_bytes + rows_bytes + length;
    wire_header_init(&message.append.header, type, bytes, 6);
    return wire_check(&message, bytes, &why);
}

// As many records as Pawl may send as one run, and not one less; as long as its message of them.
static void
test_run_when_as_long_as_can_be_then_pawls_own_check_takes_it_and_no_longer_one(void **state)
{
    (void)state;
    const uint32_t sizes[] = {1, 8, 57, 119, 120, 121, 879, 880, 881, 1000, 1024, 4088, 4089, 8192};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(sizes); i++) {
        struct shape shape = shape_of(sizes[i]);
        uint32_t most = shape.run_max;
        uint32_t rows_bytes = most > 1 ? most * (uint32_t)sizeof(struct wire_run_row) : 0;
        assert_int_equal(wire_says(&shape, WIRE_APPEND, most), 0);
        assert_int_equal(wire_says(&shape, WIRE_PREPARE, most), 0);
        assert_int_not_equal(wire_says(&shape, WIRE_APPEND, most + 1), 0);
        assert_int_not_equal(wire_says(&shape, WIRE_PREPARE, most + 1), 0);
        uint64_t behind = pawl_align_up(rows_bytes + most * sizes[i], 8);
        assert_int_equal(shape_append_bytes(&shape, most), sizeof(struct wire_append) + behind);
        assert_int_equal(shape_prepare_bytes(&shape, most), sizeof(struct wire_prepare) + behind);
    }
    assert_int_equal(shape_of(1).run_max, WIRE_RUN_MAX);
    assert_int_equal(shape_of(880).run_max, WIRE_RUN_MAX);
    assert_int_equal(shape_of(881).run_max, WIRE_RUN_MAX - 1);
    assert_int_equal(shape_of(1024).run_max, 55);
    assert_int_equal(shape_of(8192).run_max, 6);
    assert_int_equal(shape_of(8193).run_max, 1);
    assert_int_equal(shape_of(1u << 20).run_max, 1);
}

// Of a batch only the header is there once.
static void test_message_when_several_runs_then_the_rest_is_there_for_each(void **state)
{
    (void)state;
    struct shape small = shape_of(1024);
    struct shape large = shape_of(1u << 20);
    uint32_t append = sizeof(struct wire_append) - sizeof(struct wire_header);
    uint32_t prepare = sizeof(struct wire_prepare) - sizeof(struct wire_header);
    small.run_max = 7;
    uint32_t payloads = 15 * 1024 + 14 * sizeof(struct wire_run_row); // 7, 7 and one alone
    assert_int_equal(shape_append_bytes(&small, 15),
                     sizeof(struct wire_header) + 3 * append + payloads);
    assert_int_equal(shape_prepare_bytes(&small, 15),
                     sizeof(struct wire_header) + 3 * prepare + payloads);
    assert_int_equal(shape_append_bytes(&large, 15), sizeof(struct wire_header) + 15 * append);
    // Nothing is longer than records that are all alone.
    for (uint32_t records = 1; records < 100; records++) {
        assert_true(shape_append_bytes(&small, records) <= shape_append_bytes_max(&small, records));
        assert_true(shape_prepare_bytes(&small, records) <=
                    shape_prepare_bytes_max(&small, records));
    }
    assert_int_equal(shape_append_bytes_max(&small, 2),
                     sizeof(struct wire_header) + 2 * (append + 1024));
    assert_int_equal(shape_prepare_bytes_max(&small, 2),
                     sizeof(struct wire_header) + 2 * (prepare + 1024));
}

static void test_message_when_batch_is_large_then_bounded(void **state)
{
    (void)state;
    struct shape small = shape_of(1024);
    struct shape middle = shape_of(8192);
    assert_int_equal(shape_message_records(&small, 16), 16);
    assert_true(shape_message_records(&small, 100000) < 256);
    uint32_t records = shape_message_records(&middle, 100000);
    assert_true(records >= 1 && shape_prepare_bytes_max(&middle, records) <= SHAPE_MESSAGE_MAX);
}

static void test_hops_when_star_or_chain_then_as_drawn(void **state)
{
    (void)state;
    uint32_t hops[2];
    assert_int_equal(shape_next_hops(ROOFLINE_STAR, 3, 0, hops), 2);
    assert_true(hops[0] == 1 && hops[1] == 2);
    assert_int_equal(shape_next_hops(ROOFLINE_STAR, 3, 1, hops), 0);
    assert_int_equal(shape_next_hops(ROOFLINE_STAR, 1, 0, hops), 0);
    assert_int_equal(shape_next_hops(ROOFLINE_CHAIN, 3, 0, hops), 1);
    assert_int_equal(hops[0], 1);
    assert_int_equal(shape_next_hops(ROOFLINE_CHAIN, 3, 1, hops), 1);
    assert_int_equal(hops[0], 2);
    assert_int_equal(shape_next_hops(ROOFLINE_CHAIN, 3, 2, hops), 0);
    // Either: the hops of each route are the first ones.
    assert_int_equal(shape_next_hops(ROOFLINE_ROUTE_BEST, 3, 0, hops), 2);
    assert_true(hops[0] == 1 && hops[1] == 2);
    assert_int_equal(shape_next_hops(ROOFLINE_ROUTE_BEST, 3, 1, hops), 1);
    assert_int_equal(hops[0], 2);
    assert_int_equal(shape_next_hops(ROOFLINE_ROUTE_BEST, 3, 2, hops), 0);
}

static void test_frame_when_hostile_then_refused(void **state)
{
    (void)state;
    struct {
        struct frame frame;
        struct append_entry entry;
    } message = {
        .frame = {
            .magic = SHAPE_MAGIC, .type = FRAME_APPEND, .bytes = sizeof(message), .count = 1}};
    assert_null(shape_frame_check(&message, sizeof(message)));
    assert_non_null(shape_frame_check(&message, sizeof(struct frame) - 1));
    assert_non_null(shape_frame_check(&message, sizeof(message) - 1));
    message.frame.count = 2;
    assert_non_null(shape_frame_check(&message, sizeof(message)));
    message.frame.count = UINT32_MAX;
    assert_non_null(shape_frame_check(&message, sizeof(message)));
    message.frame.count = 1;
    message.frame.type = FRAME_TYPES;
    assert_non_null(shape_frame_check(&message, sizeof(message)));
    message.frame.type = FRAME_READ; // its struct needs more than a header
    message.frame.bytes = sizeof(struct frame);
    assert_non_null(shape_frame_check(&message, sizeof(struct frame)));
    message.frame.bytes = sizeof(message);
    message.frame.magic = 0;
    message.frame.type = FRAME_APPEND;
    assert_non_null(shape_frame_check(&message, sizeof(message)));
}

static void test_payload_when_any_byte_differs_then_seen(void **state)
{
    (void)state;
    uint8_t payload[1001];
    shape_payload_fill(payload, sizeof(payload), 3, 7, true);
    assert_true(shape_payload_is(payload, sizeof(payload), 3, 7));
    assert_false(shape_payload_is(payload, sizeof(payload), 3, 8));
    assert_false(shape_payload_is(payload, sizeof(payload), 2, 7));
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] ^= 1;
        assert_false(shape_payload_is(payload, sizeof(payload), 3, 7));
        payload[i] ^= 1;
    }
}

// ---- walking a journal ------------------------------------------------------------------------

struct journal_file {
    uint8_t bytes[JOURNAL_BYTES];
    uint64_t end;
};

static struct journal_entry *entry_write(struct journal_file *file, struct journal_batch *batch,
                                         const struct shape *shape, uint32_t client,
                                         uint64_t sequence)
{
    struct journal_entry *entry =
        (void *)(file->bytes + ((uint8_t *)batch - file->bytes) + batch->bytes);

    *entry = (struct journal_entry){
        .magic = SHAPE_MAGIC,
        .bytes = shape_entry_bytes(shape, 1),
        .sequence = sequence,
        .client = client,
        .length = shape->record_bytes,
        .place = JOURNAL_HERE,
        .count = 1,
    };
    if (!shape->is_in_place) {
        shape_payload_fill(entry + 1, shape->record_bytes, client, sequence, true);
    }
    batch->bytes += entry->bytes;
    batch->count++;
    return entry;
}

// A run of `count` records from that sequence on.
static struct journal_entry *run_write(struct journal_file *file, struct journal_batch *batch,
                                       const struct shape *shape, uint64_t sequence, uint32_t count)
{
    struct journal_entry *entry = (void *)((uint8_t *)batch + batch->bytes);
    uint8_t *payload = (uint8_t *)(entry + 1) + shape_rows_bytes(count);

    *entry = (struct journal_entry){
        .magic = SHAPE_MAGIC,
        .bytes = shape_entry_bytes(shape, count),
        .sequence = sequence,
        .length = shape->record_bytes,
        .place = JOURNAL_HERE,
        .count = count,
    };
    for (uint32_t i = 0; i < count; i++, payload += shape->record_bytes) {
        shape_payload_fill(payload, shape->record_bytes, 0, sequence + i, true);
    }
    assert_true(payload <= file->bytes + sizeof(file->bytes));
    batch->bytes += entry->bytes;
    batch->count += count;
    return entry;
}

static struct journal_batch *batch_begin(struct journal_file *file)
{
    struct journal_batch *batch = (void *)(file->bytes + file->end);

    batch->magic = SHAPE_MAGIC;
    batch->bytes = sizeof(*batch);
    return batch;
}

static void batch_end(struct journal_file *file, const struct journal_batch *batch)
{
    file->end += pawl_align_up(batch->bytes, BLOCK);
}

static int64_t walk(const struct shape *shape, const struct journal_file *file, const uint8_t *data,
                    uint64_t data_bytes)
{
    uint8_t seen[2 * RECORDS] = {0};
    struct shape_found found = {.seen = seen};

    return shape_journal_walk(shape, file->bytes, sizeof(file->bytes), data, data_bytes, BLOCK,
                              RECORDS, &found);
}

static void test_walk_when_sound_then_counts(void **state)
{
    (void)state;
    static struct journal_file file;
    struct shape shape = shape_of(100);
    memset(&file, 0, sizeof(file));
    assert_int_equal(walk(&shape, &file, NULL, 0), 0);
    struct journal_batch *batch = batch_begin(&file);
    entry_write(&file, batch, &shape, 0, 0);
    entry_write(&file, batch, &shape, 1, 3);
    batch_end(&file, batch);
    batch = batch_begin(&file);
    entry_write(&file, batch, &shape, 0, 1);
    batch_end(&file, batch);
    assert_int_equal(walk(&shape, &file, NULL, 0), 3);
}

static void test_walk_when_anything_is_off_then_refused(void **state)
{
    (void)state;
    static struct journal_file file;
    struct shape shape = shape_of(100);
    memset(&file, 0, sizeof(file));
    struct journal_batch *batch = batch_begin(&file);
    struct journal_entry *entry = entry_write(&file, batch, &shape, 0, 0);
    batch_end(&file, batch);
    struct journal_entry sound = *entry;
    assert_int_equal(walk(&shape, &file, NULL, 0), 1);
    entry->client = 2;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    *entry = sound;
    entry->sequence = RECORDS;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    *entry = sound;
    entry->bytes += 8;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    *entry = sound;
    entry->place = 0;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    *entry = sound;
    batch->count = 2;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    batch->count = 1;
    batch->bytes = UINT32_MAX;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    batch->bytes = 0;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
}

static void test_walk_when_a_record_is_there_twice_then_refused(void **state)
{
    (void)state;
    static struct journal_file file;
    struct shape shape = shape_of(100);
    memset(&file, 0, sizeof(file));
    struct journal_batch *batch = batch_begin(&file);
    entry_write(&file, batch, &shape, 1, 2);
    entry_write(&file, batch, &shape, 1, 2);
    batch_end(&file, batch);
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
}

static void test_walk_when_there_are_runs_then_each_record_is_looked_at(void **state)
{
    (void)state;
    static struct journal_file file;
    struct shape shape = shape_of(100);
    memset(&file, 0, sizeof(file));
    struct journal_batch *batch = batch_begin(&file);
    struct journal_entry *run = run_write(&file, batch, &shape, 0, 2);
    entry_write(&file, batch, &shape, 1, 1);
    struct journal_entry *other = run_write(&file, batch, &shape, 2, 2);
    batch_end(&file, batch);
    assert_int_equal(walk(&shape, &file, NULL, 0), 5);
    uint8_t *last = (uint8_t *)(run + 1) + shape_rows_bytes(2) + 199;
    *last ^= 1;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    *last ^= 1;
    run->count = 3;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    run->count = 0;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    run->count = UINT32_MAX;
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
    run->count = 2;
    other->sequence = 1; // the run before has it
    shape_payload_fill((uint8_t *)(other + 1) + shape_rows_bytes(2), 100, 0, 1, true);
    shape_payload_fill((uint8_t *)(other + 1) + shape_rows_bytes(2) + 100, 100, 0, 2, true);
    assert_int_equal(walk(&shape, &file, NULL, 0), -EBADMSG);
}

static void test_walk_when_in_place_then_the_data_file_is_compared(void **state)
{
    (void)state;
    static struct journal_file file;
    static uint8_t data[3 * 40960];
    struct shape shape = shape_of(40000);
    memset(&file, 0, sizeof(file));
    struct journal_batch *batch = batch_begin(&file);
    struct journal_entry *entry = entry_write(&file, batch, &shape, 1, 2);
    batch_end(&file, batch);
    entry->place = 40960;
    shape_payload_fill(data + 40960, 40000, 1, 2, true);
    assert_int_equal(walk(&shape, &file, data, sizeof(data)), 1);
    data[40960 + 39999] ^= 1;
    assert_int_equal(walk(&shape, &file, data, sizeof(data)), -EBADMSG);
    data[40960 + 39999] ^= 1;
    assert_int_equal(walk(&shape, &file, data, 40960 + 39999), -EBADMSG);
    entry->place = UINT64_MAX - 10;
    assert_int_equal(walk(&shape, &file, data, sizeof(data)), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_when_size_grows_then_pushed_and_in_place),
        cmocka_unit_test(test_shape_when_one_record_then_as_long_as_pawls_own),
        cmocka_unit_test(
            test_run_when_as_long_as_can_be_then_pawls_own_check_takes_it_and_no_longer_one),
        cmocka_unit_test(test_message_when_several_runs_then_the_rest_is_there_for_each),
        cmocka_unit_test(test_message_when_batch_is_large_then_bounded),
        cmocka_unit_test(test_hops_when_star_or_chain_then_as_drawn),
        cmocka_unit_test(test_frame_when_hostile_then_refused),
        cmocka_unit_test(test_payload_when_any_byte_differs_then_seen),
        cmocka_unit_test(test_walk_when_sound_then_counts),
        cmocka_unit_test(test_walk_when_anything_is_off_then_refused),
        cmocka_unit_test(test_walk_when_a_record_is_there_twice_then_refused),
        cmocka_unit_test(test_walk_when_there_are_runs_then_each_record_is_looked_at),
        cmocka_unit_test(test_walk_when_in_place_then_the_data_file_is_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
