// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/duties: what is wrong is found, tables and pieces are used again. The disk is a stub.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "perf/roofline/server.h"

static struct node_config config;
static struct server server;
static struct disk_request *writes[DUTIES_PIECES_COUNT];
static uint64_t offsets[DUTIES_PIECES_COUNT];
static uint32_t writes_count;

void *node_memory(size_t bytes)
{
    return calloc(1, bytes);
}

int disk_write(struct disk *disk, struct disk_request *request, enum disk_file file,
               const struct iovec *from, uint64_t offset, bool is_durable)
{
    assert_ptr_equal(disk, &server.disk);
    assert_int_equal(file, DISK_DATA);
    assert_int_equal(from->iov_len, DUTIES_PIECE_BYTES);
    assert_false(is_durable);
    offsets[writes_count] = offset;
    writes[writes_count++] = request;
    return 0;
}

static int opened(uint32_t duties, uint32_t record_bytes)
{
    config = (struct node_config){.options = {.duties = duties,
                                              .record_bytes = record_bytes,
                                              .file_bytes = 3 * DUTIES_PIECE_BYTES}};
    server = (struct server){.config = &config};
    writes_count = 0;
    return duties_open(&server.duties, &config.options);
}

static int note(uint32_t client, uint64_t sequence)
{
    const struct record record = {.client = client, .sequence = sequence, .length = 8};
    const char *why = NULL;
    int rc = duties_note(&server.duties, &record, &why);

    assert_true((rc == 0) == (why == NULL));
    return rc;
}

static void test_check_when_a_bit_is_wrong_then_found(void **state)
{
    (void)state;
    uint8_t payload[100] = {1, 2, 3};
    uint32_t crc = pawl_crc32c(0, payload, sizeof(payload));
    const char *why = NULL;

    assert_int_equal(opened(ROOFLINE_DUTY_CHECKSUM, 100), 0);
    assert_int_equal(duties_check(&server.duties, payload, sizeof(payload), crc, &why), 0);
    payload[99] ^= 1;
    assert_int_equal(duties_check(&server.duties, payload, sizeof(payload), crc, &why), -EBADMSG);
    assert_non_null(why);
    duties_close(&server.duties);
}

static void test_note_when_twice_then_found(void **state)
{
    (void)state;
    assert_int_equal(opened(ROOFLINE_DUTY_TABLE, 1024), 0);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(note(0, i), 0);
        assert_int_equal(note(1, i), 0);
    }
    assert_int_equal(note(0, 999), -EBADMSG);
    assert_int_equal(note(1, 0), -EBADMSG);
    assert_int_equal(note(2, 0), 0);
    duties_close(&server.duties);
}

static void test_note_when_the_table_is_full_then_it_begins_anew(void **state)
{
    (void)state;
    assert_int_equal(opened(ROOFLINE_DUTY_TABLE, ROOFLINE_RECORD_MAX), 0);
    assert_int_equal(server.duties.rows_max, 4);
    for (uint64_t i = 0; i < 9; i++) {
        assert_int_equal(note(0, i), 0);
    }
    assert_int_equal(server.duties.rows_count, 1);
    duties_close(&server.duties);
}

static void test_write_when_pieces_are_used_up_then_no_room_until_one_is_written(void **state)
{
    (void)state;
    static uint8_t payload[32 << 10];
    uint64_t all = (uint64_t)DUTIES_PIECES_COUNT * DUTIES_PIECE_BYTES;

    assert_int_equal(opened(ROOFLINE_DUTY_SECOND_WRITE, sizeof(payload)), 0);
    assert_true(duties_has_room(&server.duties, all));
    assert_false(duties_has_room(&server.duties, all + 1));
    for (uint64_t at = 0; at < all; at += sizeof(payload)) {
        assert_true(duties_has_room(&server.duties, sizeof(payload)));
        assert_int_equal(duties_write(&server, payload, sizeof(payload)), 0);
    }
    assert_int_equal(writes_count, DUTIES_PIECES_COUNT);
    assert_int_equal(offsets[2], 2 * DUTIES_PIECE_BYTES);
    assert_int_equal(offsets[3], 0); // the file is used in circles
    assert_false(duties_has_room(&server.duties, 1));
    writes[5]->done(&server, writes[5]);
    assert_true(duties_has_room(&server.duties, DUTIES_PIECE_BYTES));
    assert_false(duties_has_room(&server.duties, DUTIES_PIECE_BYTES + 1));
    duties_close(&server.duties);
}

static void test_write_when_a_payload_ends_a_piece_then_its_rest_begins_the_next(void **state)
{
    (void)state;
    static uint8_t payload[DUTIES_PIECE_BYTES - 1];

    assert_int_equal(opened(ROOFLINE_DUTY_SECOND_WRITE, 1024), 0);
    memset(payload, 7, sizeof(payload));
    assert_int_equal(duties_write(&server, payload, sizeof(payload)), 0);
    assert_int_equal(writes_count, 0);
    memset(payload, 8, 3);
    assert_int_equal(duties_write(&server, payload, 3), 0);
    assert_int_equal(writes_count, 1);
    const struct duties_piece *piece = writes[0]->owner;
    assert_int_equal(piece->bytes[DUTIES_PIECE_BYTES - 2], 7);
    assert_int_equal(piece->bytes[DUTIES_PIECE_BYTES - 1], 8);
    assert_int_equal(server.duties.filled_bytes, 2);
    duties_close(&server.duties);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_check_when_a_bit_is_wrong_then_found),
        cmocka_unit_test(test_note_when_twice_then_found),
        cmocka_unit_test(test_note_when_the_table_is_full_then_it_begins_anew),
        cmocka_unit_test(test_write_when_pieces_are_used_up_then_no_room_until_one_is_written),
        cmocka_unit_test(test_write_when_a_payload_ends_a_piece_then_its_rest_begins_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
