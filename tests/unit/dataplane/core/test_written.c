// SPDX-License-Identifier: Apache-2.0
// Tests of reads of written chunks and of chunks of zeros, on a core that has just loaded them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "dataplane/core/chunk_core.h"

#define H 5u                     // the written chunk: 1,000 bytes in two records
#define W(index) (50u + (index)) // its write log
#define Z 9u                     // 700 zeros

static struct chunk_core *core;

static int setup(void **state)
{
    struct chunk_core_options options = {.server_id = 1, .alloc = pawl_alloc_heap()};
    (void)state;
    return chunk_core_new(&options, &core);
}

static int teardown(void **state)
{
    (void)state;
    chunk_core_free(core);
    return 0;
}

static struct pawl_record record_of(uint64_t sequence, uint64_t offset, uint32_t length,
                                    uint32_t flags)
{
    return (struct pawl_record){.offset = offset,
                                .id = {.producer_lo = 7, .sequence = sequence, .flags = flags},
                                .version = 1,
                                .length = length};
}

static struct pawl_record record_at(const void *rows, uint64_t index)
{
    const struct pawl_record *records = rows;
    return records[index];
}

static int load(struct chunk_create create, const struct pawl_record *records, uint64_t count,
                uint64_t commit_count, bool sealed)
{
    create.version = 1;
    create.file_id = 3;
    create.chunk_bytes = 65536;
    struct chunk_load load = {.create = create,
                              .version = 1,
                              .commit_count = commit_count,
                              .sealed = sealed,
                              .record_at = record_at,
                              .rows = records,
                              .records_count = count};
    return chunk_core_load(core, &load);
}

static void load_written_chunk(void)
{
    struct pawl_record records[] = {record_of(1, 0, 600, 0), record_of(2, 600, 400, 0)};
    assert_int_equal(load((struct chunk_create){.handle = H}, records, 2, 2, true), 0);
}

// A chunk of the log with `count` writes of 10 bytes, the first at `at`, each 100 bytes further on.
static void load_log(uint32_t index, uint64_t base, uint32_t at, uint64_t count,
                     uint64_t commit_count, bool sealed)
{
    struct pawl_record records[8];
    for (uint32_t i = 0; i < count; i++) {
        records[i] =
            record_of(index * 10 + i + 1, i * 10u, 10, wire_record_write_flags(at + 100 * i));
    }
    struct wire_producer before = {
        .producer_lo = 7, .last_sequence = index * 10u, .last_chunk = 1, .first_sequence = 1};
    struct chunk_create create = {.handle = W(index),
                                  .index = index,
                                  .base_offset = base,
                                  .written_handle = H,
                                  .producers = &before,
                                  .producers_count = index > 0};
    assert_int_equal(load(create, records, count, commit_count, sealed), 0);
    chunk_core_validate(core);
}

// Steps a READ; the action that answers it.
static const struct chunk_action *read_at(struct wire_read read)
{
    const struct chunk_actions *actions;
    wire_header_init(&read.header, WIRE_READ, sizeof(read), 1);
    struct chunk_event event = {
        .type = CHUNK_EVENT_READ, .conn = 1, .request = 1, .message = &read.header};
    assert_int_equal(chunk_core_step(core, &event, &actions), 0);
    chunk_core_validate(core);
    assert_int_equal(actions->count, 1);
    return &actions->items[0];
}

static void expect_refused(struct wire_read read, int code)
{
    const struct chunk_action *action = read_at(read);
    assert_int_equal(action->type, CHUNK_ACTION_REPLY);
    assert_int_equal(action->reply.header.status, code);
}

static void expect_segment(const struct chunk_action *action, uint32_t at, uint64_t handle,
                           uint64_t offset, uint32_t length)
{
    assert_int_equal(action->type, CHUNK_ACTION_READ);
    assert_true(at < action->segments_count);
    assert_int_equal(action->segments[at].handle, handle);
    assert_int_equal(action->segments[at].offset, offset);
    assert_int_equal(action->segments[at].length, length);
}

static void test_read_when_written_is_gathered_from_both(void **state)
{
    (void)state;
    load_written_chunk();
    load_log(0, 0, 100, 2, 2, true);
    const struct chunk_action *action = read_at((struct wire_read){.chunk = H, .length = 5000});
    assert_int_equal(action->length, 1000);
    assert_int_equal(action->segments_count, 5);
    expect_segment(action, 0, H, 0, 100);
    expect_segment(action, 1, W(0), 0, 10);
    expect_segment(action, 2, H, 110, 90);
    expect_segment(action, 3, W(0), 10, 10);
    expect_segment(action, 4, H, 210, 790);
    assert_int_equal(action->log_chunks, 1);
    assert_int_equal(action->log_bytes, 20);
    action = read_at((struct wire_read){.chunk = H, .offset = 105, .length = 2});
    assert_int_equal(action->segments_count, 1);
    expect_segment(action, 0, W(0), 5, 2);
}

static void test_read_when_writes_overlap_shows_the_last(void **state)
{
    (void)state;
    load_written_chunk();
    load_log(0, 0, 100, 1, 1, true);
    load_log(1, 10, 105, 1, 1, false);
    const struct chunk_action *action =
        read_at((struct wire_read){.chunk = H, .offset = 100, .length = 15});
    assert_int_equal(action->segments_count, 2);
    expect_segment(action, 0, W(0), 0, 5);
    expect_segment(action, 1, W(1), 0, 10);
    assert_int_equal(action->log_chunks, 2);
    assert_int_equal(action->log_bytes, 20);
}

static void test_read_when_a_write_is_not_committed_does_not_show_it(void **state)
{
    (void)state;
    load_written_chunk();
    load_log(0, 0, 100, 2, 1, false);
    struct wire_read read = {.chunk = H, .offset = 100, .length = 200};
    const struct chunk_action *action = read_at(read);
    assert_int_equal(action->segments_count, 2);
    expect_segment(action, 1, H, 110, 190);
    assert_int_equal(action->log_bytes, 10);
    // It may be committed all the same: who wants all that was acknowledged asks somebody else.
    read.flags = WIRE_READ_ALL;
    expect_refused(read, PAWL_EBUSY);
    read.flags = 0;
    read.log_bytes = 11;
    expect_refused(read, PAWL_EBUSY);
}

static void test_read_when_a_part_of_the_log_is_missing_is_refused(void **state)
{
    (void)state;
    load_written_chunk();
    expect_refused((struct wire_read){.chunk = H, .length = 1, .log_chunks = 1}, PAWL_ESTALE);
    load_log(0, 0, 100, 1, 1, true);
    load_log(2, 20, 300, 1, 1, true); // the one between them is not here
    const struct chunk_action *action =
        read_at((struct wire_read){.chunk = H, .length = 1000, .log_chunks = 1});
    assert_int_equal(action->segments_count, 3);
    assert_int_equal(action->log_chunks, 1);
    expect_refused((struct wire_read){.chunk = H, .length = 1, .log_chunks = 3}, PAWL_ESTALE);
    load_log(1, 10, 200, 1, 1, true);
    action = read_at((struct wire_read){.chunk = H, .length = 1000, .log_chunks = 3});
    assert_int_equal(action->segments_count, 7);
    assert_int_equal(action->log_bytes, 30);
}

static void test_read_when_in_too_many_pieces_ends_early(void **state)
{
    (void)state;
    load_written_chunk();
    struct pawl_record records[80];
    for (uint32_t i = 0; i < 80; i++) {
        records[i] = record_of(i + 1, 2 * i, 2, wire_record_write_flags(10 * i));
    }
    assert_int_equal(
        load((struct chunk_create){.handle = W(0), .written_handle = H}, records, 80, 80, true), 0);
    const struct chunk_action *action = read_at((struct wire_read){.chunk = H, .length = 1000});
    assert_int_equal(action->segments_count, CHUNK_READ_SEGMENTS_MAX);
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < action->segments_count; i++) {
        bytes += action->segments[i].length;
    }
    assert_int_equal(action->length, bytes);
    assert_int_equal(bytes, 320);
}

static void test_read_when_zeros_needs_no_chunk(void **state)
{
    (void)state;
    struct chunk_create create = {.handle = Z, .zero_bytes = 700};
    assert_int_equal(load(create, NULL, 0, 0, true), 0);
    const struct chunk_action *action =
        read_at((struct wire_read){.chunk = Z, .offset = 100, .length = 1000});
    assert_int_equal(action->segments_count, 1);
    expect_segment(action, 0, 0, 100, 600);
    assert_int_equal(action->committed_bytes, 700);
    assert_true(action->sealed);
}

static void test_load_when_records_and_chunk_do_not_match_is_refused(void **state)
{
    (void)state;
    struct pawl_record plain = record_of(1, 0, 10, 0);
    struct pawl_record write = record_of(1, 0, 10, wire_record_write_flags(3));
    assert_int_equal(load((struct chunk_create){.handle = H}, &write, 1, 1, true), PAWL_EFORMAT);
    struct chunk_create log = {.handle = W(0), .written_handle = H};
    assert_int_equal(load(log, &plain, 1, 1, true), PAWL_EFORMAT);
    struct chunk_create zeros = {.handle = Z, .zero_bytes = 700};
    assert_int_equal(load(zeros, &plain, 1, 1, true), PAWL_EFORMAT);
    zeros.written_handle = H;
    assert_int_equal(load(zeros, NULL, 0, 0, true), PAWL_EFORMAT);
    zeros = (struct chunk_create){.handle = Z, .zero_bytes = 65537};
    assert_int_equal(load(zeros, NULL, 0, 0, true), PAWL_EFORMAT);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_read_when_written_is_gathered_from_both),
        T(test_read_when_writes_overlap_shows_the_last),
        T(test_read_when_a_write_is_not_committed_does_not_show_it),
        T(test_read_when_a_part_of_the_log_is_missing_is_refused),
        T(test_read_when_in_too_many_pieces_ends_early),
        T(test_read_when_zeros_needs_no_chunk),
        T(test_load_when_records_and_chunk_do_not_match_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
