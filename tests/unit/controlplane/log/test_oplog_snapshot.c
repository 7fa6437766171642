// SPDX-License-Identifier: Apache-2.0
// Tests of snapshots: what they replace, what is kept, and what a bad one costs.
#include "log_rig.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

// Snapshots at 10, 20 and 30; the log goes to 35.
static void make_snapshots(struct log_rig *rig)
{
    log_rig_init(rig);
    log_rig_open(rig);
    for (uint64_t lsn = 10; lsn <= 30; lsn += 10) {
        log_rig_append_to(rig, lsn);
        log_rig_snapshot(rig);
        assert_int_equal(rig->snapshot_code, 0);
        assert_int_equal(oplog_tail_bytes(rig->log), 0);
    }
    log_rig_append_to(rig, 35);
    log_rig_settle(rig);
    log_rig_close(rig);
}

static void test_oplog_snapshot_when_reopened_stands_for_the_log_before(void **state)
{
    (void)state;
    struct log_rig rig;
    make_snapshots(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.snapshot_count, 30);
    assert_int_equal(rig.first_lsn, 31);
    assert_int_equal(rig.last_lsn, 35);
    log_rig_fini(&rig);
}

static void test_oplog_snapshot_when_committed_keeps_the_one_before_and_its_log(void **state)
{
    (void)state;
    struct log_rig rig;
    make_snapshots(&rig);
    assert_true(log_rig_exists(&rig, "snapshot", 30));
    assert_true(log_rig_exists(&rig, "snapshot", 20));
    assert_false(log_rig_exists(&rig, "snapshot", 10));
    assert_true(log_rig_exists(&rig, "log", 31));
    assert_true(log_rig_exists(&rig, "log", 21));
    assert_false(log_rig_exists(&rig, "log", 11));
    assert_false(log_rig_exists(&rig, "log", 1));
    log_rig_fini(&rig);
}

static void test_oplog_open_when_newest_snapshot_is_bad_takes_the_older_one(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    make_snapshots(&rig);
    uint8_t *data = log_rig_read(&rig, "snapshot", 30, &bytes);
    for (size_t at = 0; at < bytes; at += at < 100 || at + 100 > bytes ? 1 : 41) {
        for (int cut = 0; cut < 2; cut++) {
            data[at] ^= 0x40;
            log_rig_write(&rig, "snapshot", 30, data, cut ? at : bytes);
            data[at] ^= 0x40;
            log_rig_open(&rig);
            assert_int_equal(rig.snapshot_count, 20);
            assert_int_equal(rig.first_lsn, 21);
            assert_int_equal(rig.last_lsn, 35);
            assert_false(log_rig_exists(&rig, "snapshot", 30)); // put aside
            log_rig_close(&rig);
        }
    }
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_no_snapshot_is_good_refuses_again_and_again(void **state)
{
    (void)state;
    struct log_rig rig;
    make_snapshots(&rig);
    log_rig_write(&rig, "snapshot", 30, (const uint8_t *)"x", 1);
    log_rig_write(&rig, "snapshot", 20, (const uint8_t *)"y", 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    }
    char path[160];
    log_rig_path(&rig, "log", 31, path);
    assert_int_equal(unlink(path), 0);
    log_rig_path(&rig, "log", 21, path);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 3; i++) { // never taken for an empty directory
        assert_int_equal(log_rig_try_open(&rig), PAWL_EFORMAT);
    }
    log_rig_fini(&rig);
}

static void test_oplog_open_when_first_snapshot_is_bad_replays_all(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 10);
    log_rig_snapshot(&rig);
    log_rig_append_to(&rig, 12);
    log_rig_close(&rig);
    log_rig_write(&rig, "snapshot", 10, (const uint8_t *)"", 0);
    log_rig_open(&rig);
    assert_int_equal(rig.snapshot_count, 0);
    assert_int_equal(rig.first_lsn, 1);
    assert_int_equal(rig.last_lsn, 12);
    log_rig_fini(&rig);
}

// What a crash between the steps leaves behind: a temporary file; a snapshot whose older files are
// still there; a segment without records.
static void test_oplog_open_when_a_snapshot_was_interrupted_goes_on(void **state)
{
    (void)state;
    struct log_rig rig;
    char path[200];
    size_t bytes, old_bytes;
    make_snapshots(&rig);
    uint8_t *snapshot = log_rig_read(&rig, "snapshot", 30, &bytes);
    uint8_t *old_segment = log_rig_read(&rig, "log", 21, &old_bytes);
    log_rig_path(&rig, "snapshot", 35, path);
    strcat(path, ".tmp");
    FILE *file = fopen(path, "wb");
    fwrite(snapshot, 1, bytes / 2, file);
    fclose(file);
    log_rig_open(&rig);
    assert_int_equal(rig.snapshot_count, 30);
    assert_int_equal(access(path, F_OK), -1);
    // Begun and never committed: the next group begins a segment all the same.
    struct oplog_snapshot *begun;
    assert_int_equal(oplog_snapshot_begin(rig.log, &begun), 0);
    assert_int_equal(oplog_snapshot_begin(rig.log, &begun), PAWL_EBUSY);
    oplog_snapshot_cancel(begun);
    log_rig_append_to(&rig, 40);
    log_rig_settle(&rig);
    assert_true(log_rig_exists(&rig, "log", 36));
    log_rig_close(&rig);
    // The new segment was made, its records never came.
    uint8_t *empty = log_rig_read(&rig, "log", 36, &bytes);
    log_rig_write(&rig, "log", 36, empty, 32);
    free(empty);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 35);
    log_rig_append_to(&rig, 41);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 41);
    free(snapshot);
    free(old_segment);
    log_rig_fini(&rig);
}

static void test_oplog_append_when_a_snapshot_is_being_written_goes_on(void **state)
{
    (void)state;
    struct log_rig rig;
    struct oplog_snapshot *snapshot;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 3);
    assert_int_equal(oplog_snapshot_begin(rig.log, &snapshot), 0);
    for (uint64_t lsn = 1; lsn <= 3; lsn++) {
        char text[64];
        assert_int_equal(oplog_snapshot_add(snapshot, text, log_rig_value(lsn, text)), 0);
    }
    oplog_snapshot_commit(snapshot, NULL, NULL);
    log_rig_append_to(&rig, 20);
    log_rig_settle(&rig);
    log_rig_append_to(&rig, 25);
    log_rig_close(&rig); // waits for both
    log_rig_open(&rig);
    assert_int_equal(rig.snapshot_count, 3);
    assert_int_equal(rig.last_lsn, 25);
    log_rig_fini(&rig);
}

static void test_oplog_snapshot_when_disk_is_full_leaves_the_log_as_it_was(void **state)
{
    (void)state;
    struct log_rig rig;
    struct rlimit before, limit;
    signal(SIGXFSZ, SIG_IGN);
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 5);
    log_rig_settle(&rig);
    uint64_t tail_bytes = oplog_tail_bytes(rig.log);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 200;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_rig_snapshot(&rig);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rig.snapshot_code, -EFBIG);
    assert_int_equal(oplog_tail_bytes(rig.log), tail_bytes);
    log_rig_append_to(&rig, 8);
    log_rig_settle(&rig);
    log_rig_snapshot(&rig);
    assert_int_equal(rig.snapshot_code, 0);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.snapshot_count, 8);
    log_rig_fini(&rig);
}

static void test_oplog_snapshot_when_log_is_empty_works(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_snapshot(&rig);
    assert_int_equal(rig.snapshot_code, 0);
    log_rig_append_to(&rig, 2);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 2);
    log_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oplog_snapshot_when_reopened_stands_for_the_log_before),
        cmocka_unit_test(test_oplog_snapshot_when_committed_keeps_the_one_before_and_its_log),
        cmocka_unit_test(test_oplog_open_when_newest_snapshot_is_bad_takes_the_older_one),
        cmocka_unit_test(test_oplog_open_when_no_snapshot_is_good_refuses_again_and_again),
        cmocka_unit_test(test_oplog_open_when_first_snapshot_is_bad_replays_all),
        cmocka_unit_test(test_oplog_open_when_a_snapshot_was_interrupted_goes_on),
        cmocka_unit_test(test_oplog_append_when_a_snapshot_is_being_written_goes_on),
        cmocka_unit_test(test_oplog_snapshot_when_disk_is_full_leaves_the_log_as_it_was),
        cmocka_unit_test(test_oplog_snapshot_when_log_is_empty_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
