// SPDX-License-Identifier: Apache-2.0
// Tests of torn tails, which are cut, and of damage, which is refused.
#include "log_rig.h"

#include "controlplane/log/log_format.h"

// Log files of `groups` groups of five records each.
static void make_log(struct log_rig *rig, int groups)
{
    log_rig_init(rig);
    log_rig_open(rig);
    for (int i = 1; i <= groups; i++) {
        log_rig_append_to(rig, (uint64_t)i * 5);
        log_rig_settle(rig);
    }
    log_rig_close(rig);
}

// Offset of a record in a segment that begins with record 1.
static size_t offset_of(const uint8_t *data, size_t bytes, uint64_t lsn)
{
    struct oplog_scan scan;
    struct oplog_record record;
    struct oplog_error error;
    assert_int_equal(oplog_scan_init(&scan, data, bytes, &error), 0);
    while (scan.next_lsn < lsn) {
        assert_int_equal(oplog_scan_next(&scan, &record), 1);
    }
    return scan.offset;
}

static void test_oplog_open_when_last_record_is_cut_at_any_byte_drops_only_it(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_log(&rig, 2);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    size_t last = offset_of(data, bytes, 10);
    for (size_t size = last; size < bytes; size++) {
        log_rig_write(&rig, "log", 1, data, size);
        log_rig_open(&rig);
        assert_int_equal(rig.last_lsn, 9);
        // The log goes on behind the cut.
        log_rig_append_to(&rig, 12);
        log_rig_settle(&rig);
        log_rig_close(&rig);
        log_rig_open(&rig);
        assert_int_equal(rig.last_lsn, 12);
        log_rig_close(&rig);
    }
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_tail_is_garbage_cuts_it(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_log(&rig, 1);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    for (size_t garbage = 1; garbage < 600; garbage += 37) {
        memset(data + bytes, garbage % 2 ? 0 : 0x5a, garbage);
        log_rig_write(&rig, "log", 1, data, bytes + garbage);
        log_rig_open(&rig);
        assert_int_equal(rig.last_lsn, 5);
        log_rig_close(&rig);
    }
    free(data);
    log_rig_fini(&rig);
}

// Any flipped bit in front of the last group is refused; nothing is changed on disk then.
static void test_oplog_open_when_a_byte_in_the_middle_is_wrong_refuses(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes, again_bytes;
    make_log(&rig, 3);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    size_t last_group = offset_of(data, bytes, 11);
    for (size_t at = 0; at < last_group; at++) {
        data[at] ^= 0x10;
        log_rig_write(&rig, "log", 1, data, bytes);
        assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
        data[at] ^= 0x10;
    }
    uint8_t *again = log_rig_read(&rig, "log", 1, &again_bytes);
    assert_int_equal(again_bytes, bytes);
    free(again);
    log_rig_write(&rig, "log", 1, data, bytes);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 15);
    free(data);
    log_rig_fini(&rig);
}

// Inside the last group, with records of the same group behind it: damage, unless it was never
// written.
static void test_oplog_open_when_inside_the_last_group_tells_damage_from_unwritten(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_log(&rig, 2);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    size_t third = offset_of(data, bytes, 8), fourth = offset_of(data, bytes, 9);
    data[third + 40] ^= 1;
    log_rig_write(&rig, "log", 1, data, bytes);
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    data[third + 40] ^= 1;
    uint8_t kept[200];
    memcpy(kept, data + third, fourth - third);
    memset(data + third, 0, fourth - third);
    log_rig_write(&rig, "log", 1, data, bytes);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 7);
    log_rig_close(&rig);
    memcpy(data + third, kept, fourth - third);
    // The same zeros in an earlier group lie in front of acknowledged records.
    size_t early = offset_of(data, bytes, 3), next = offset_of(data, bytes, 4);
    memset(data + early, 0, next - early);
    log_rig_write(&rig, "log", 1, data, bytes);
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_a_record_is_missing_or_double_refuses(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_log(&rig, 2);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    size_t from = offset_of(data, bytes, 4), to = offset_of(data, bytes, 5);
    uint8_t *shorter = malloc(bytes);
    memcpy(shorter, data, from);
    memcpy(shorter + from, data + to, bytes - to);
    log_rig_write(&rig, "log", 1, shorter, bytes - (to - from));
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    free(shorter);
    // The last record twice.
    size_t last = offset_of(data, bytes, 10);
    memcpy(data + bytes, data + last, bytes - last);
    log_rig_write(&rig, "log", 1, data, bytes + (bytes - last));
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    free(data);
    log_rig_fini(&rig);
}

static void make_segments(struct log_rig *rig)
{
    log_rig_init(rig);
    rig->options.segment_bytes = 100;
    log_rig_open(rig);
    for (uint64_t lsn = 5; lsn <= 15; lsn += 5) {
        log_rig_append_to(rig, lsn);
        log_rig_settle(rig);
    }
    log_rig_close(rig);
    assert_true(log_rig_exists(rig, "log", 6) && log_rig_exists(rig, "log", 11));
}

static void test_oplog_open_when_a_segment_is_missing_refuses(void **state)
{
    (void)state;
    static const uint64_t firsts[] = {1, 6};
    for (size_t i = 0; i < 2; i++) {
        struct log_rig rig;
        char path[160];
        make_segments(&rig);
        log_rig_path(&rig, "log", firsts[i], path);
        assert_int_equal(remove(path), 0);
        assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
        log_rig_fini(&rig);
    }
}

// A power cut may bring back the zeros behind a full segment; what is missing there is missed as ever.
static void test_oplog_open_when_an_early_segment_ends_in_zeros_goes_on(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_segments(&rig);
    uint8_t *data = log_rig_read(&rig, "log", 6, &bytes);
    data = realloc(data, bytes + 4096);
    memset(data + bytes, 0, 4096);
    log_rig_write(&rig, "log", 6, data, bytes + 4096);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 15);
    log_rig_close(&rig);
    size_t last = offset_of(data, bytes, 10);
    memset(data + last, 0, bytes - last);
    log_rig_write(&rig, "log", 6, data, bytes + 4096);
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    free(data);
    log_rig_fini(&rig);
}

// The rest of a torn group, with what was written ahead behind it.
static void test_oplog_open_when_a_torn_group_stands_before_zeros_cuts_both(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes, again;
    make_log(&rig, 2);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    size_t last = offset_of(data, bytes, 10);
    data = realloc(data, bytes + 8192);
    memset(data + last + 20, 0, bytes + 8192 - last - 20);
    log_rig_write(&rig, "log", 1, data, bytes + 8192);
    free(data);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 9);
    data = log_rig_read(&rig, "log", 1, &again);
    assert_int_equal(again, last);
    free(data);
    log_rig_close(&rig);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_an_early_segment_is_cut_refuses(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_segments(&rig);
    uint8_t *data = log_rig_read(&rig, "log", 6, &bytes);
    for (size_t size = 0; size < bytes; size++) {
        log_rig_write(&rig, "log", 6, data, size);
        assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    }
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_segments_are_swapped_refuses(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_segments(&rig);
    uint8_t *data = log_rig_read(&rig, "log", 6, &bytes);
    log_rig_write(&rig, "log", 11, data, bytes);
    assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_format_is_newer_refuses(void **state)
{
    (void)state;
    struct oplog_error error = {.text = ""};
    uint64_t lsn;
    uint8_t bytes[sizeof(struct oplog_file_header)];
    oplog_file_header_encode(OPLOG_SEGMENT_MAGIC, 7, bytes);
    assert_int_equal(
        oplog_file_header_decode(bytes, sizeof(bytes), OPLOG_SEGMENT_MAGIC, &lsn, &error), 0);
    assert_int_equal(lsn, 7);
    assert_int_equal(
        oplog_file_header_decode(bytes, sizeof(bytes), OPLOG_SNAPSHOT_MAGIC, &lsn, &error),
        PAWL_EFORMAT);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] ^= 1;
        assert_int_equal(
            oplog_file_header_decode(bytes, sizeof(bytes), OPLOG_SEGMENT_MAGIC, &lsn, &error),
            PAWL_EFORMAT);
        bytes[i] ^= 1;
        assert_int_equal(oplog_file_header_decode(bytes, i, OPLOG_SEGMENT_MAGIC, &lsn, &error),
                         PAWL_EFORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oplog_open_when_last_record_is_cut_at_any_byte_drops_only_it),
        cmocka_unit_test(test_oplog_open_when_tail_is_garbage_cuts_it),
        cmocka_unit_test(test_oplog_open_when_a_byte_in_the_middle_is_wrong_refuses),
        cmocka_unit_test(test_oplog_open_when_inside_the_last_group_tells_damage_from_unwritten),
        cmocka_unit_test(test_oplog_open_when_a_record_is_missing_or_double_refuses),
        cmocka_unit_test(test_oplog_open_when_a_segment_is_missing_refuses),
        cmocka_unit_test(test_oplog_open_when_an_early_segment_ends_in_zeros_goes_on),
        cmocka_unit_test(test_oplog_open_when_a_torn_group_stands_before_zeros_cuts_both),
        cmocka_unit_test(test_oplog_open_when_an_early_segment_is_cut_refuses),
        cmocka_unit_test(test_oplog_open_when_segments_are_swapped_refuses),
        cmocka_unit_test(test_oplog_open_when_format_is_newer_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
