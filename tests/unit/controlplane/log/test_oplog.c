// SPDX-License-Identifier: Apache-2.0
// Tests of appending, flushing in groups, locking and failing.
#include "log_rig.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controlplane/log/log_format.h"

static void test_oplog_open_when_new_is_empty(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    assert_int_equal(oplog_last_lsn(rig.log), 0);
    assert_int_equal(oplog_tail_bytes(rig.log), 0);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 0);
    log_rig_fini(&rig);
}

static void test_oplog_append_when_durable_is_there_after_reopening(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    for (uint64_t round = 1; round <= 5; round++) {
        log_rig_open(&rig);
        assert_int_equal(rig.last_lsn, (round - 1) * 20);
        log_rig_append_to(&rig, round * 20);
        assert_int_equal(rig.durable_calls, 0); // never from inside the call
        log_rig_settle(&rig);
        assert_int_equal(rig.durable_lsn, round * 20);
        uint64_t tail_bytes = oplog_tail_bytes(rig.log);
        log_rig_close(&rig);
        log_rig_open(&rig);
        assert_int_equal(oplog_tail_bytes(rig.log), tail_bytes);
        log_rig_close(&rig);
    }
    assert_true(log_rig_exists(&rig, "log", 1));
    assert_false(log_rig_exists(&rig, "log", 21)); // one segment goes on
    log_rig_fini(&rig);
}

static void test_oplog_append_when_a_flush_is_running_groups(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 100); // same turn: one group
    log_rig_settle(&rig);
    assert_int_equal(oplog_flushes_count(rig.log), 1);
    assert_int_equal(rig.durable_calls, 1);
    // One record, and whatever gathers while it is being flushed: two more groups at most.
    log_rig_append_to(&rig, 101);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    log_rig_append_to(&rig, 300);
    log_rig_settle(&rig);
    assert_in_range(oplog_flushes_count(rig.log), 2, 3);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 300);
    log_rig_fini(&rig);
}

static void test_oplog_flush_when_called_makes_all_durable_at_once(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    for (uint64_t lsn = 10; lsn <= 200; lsn += 10) {
        log_rig_append_to(&rig, lsn - 5);
        uv_run(&rig.loop, UV_RUN_NOWAIT); // a job may be running now
        log_rig_append_to(&rig, lsn);
        int calls = rig.durable_calls;
        assert_int_equal(oplog_flush(rig.log), 0);
        assert_int_equal(oplog_durable_lsn(rig.log), lsn);
        assert_int_equal(rig.durable_calls, calls);
    }
    log_rig_settle(&rig);
    assert_int_equal(rig.durable_lsn, 200);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 200);
    log_rig_fini(&rig);
}

static void test_oplog_close_when_records_are_pending_flushes_them(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 3);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    log_rig_append_to(&rig, 7);
    int calls = rig.durable_calls;
    assert_int_equal(oplog_close(rig.log), 0);
    rig.log = NULL;
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    assert_int_equal(rig.durable_calls, calls); // silent after close
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 7);
    log_rig_fini(&rig);
}

static void test_oplog_append_when_segment_is_large_begins_another(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    rig.options.segment_bytes = 200;
    log_rig_open(&rig);
    for (uint64_t lsn = 10; lsn <= 50; lsn += 10) {
        log_rig_append_to(&rig, lsn);
        log_rig_settle(&rig);
    }
    for (uint64_t lsn = 1; lsn <= 41; lsn += 10) {
        assert_true(log_rig_exists(&rig, "log", lsn));
    }
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 50);
    log_rig_fini(&rig);
}

static void test_oplog_append_when_record_is_wrong_or_too_much_refuses(void **state)
{
    (void)state;
    struct log_rig rig;
    uint64_t lsn;
    char *large = calloc(1, OPLOG_RECORD_BYTES_MAX + 1);
    log_rig_init(&rig);
    rig.options.pending_bytes_max = 100;
    log_rig_open(&rig);
    assert_int_equal(oplog_append(rig.log, large, 0, &lsn), PAWL_EINVALID);
    assert_int_equal(oplog_append(rig.log, large, OPLOG_RECORD_BYTES_MAX + 1, &lsn),
                     PAWL_ETOOLARGE);
    assert_int_equal(oplog_append(rig.log, "record 1 a", 10, &lsn), 0);
    assert_int_equal(oplog_append(rig.log, "record 2 ab", 11, &lsn), 0);
    assert_int_equal(oplog_append(rig.log, "record 3 abc", 12, &lsn), PAWL_ELIMIT);
    log_rig_settle(&rig);
    assert_int_equal(oplog_append(rig.log, "record 3 abc", 12, &lsn), 0);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 3);
    log_rig_fini(&rig);
    free(large);
}

static size_t segment_size(struct log_rig *rig, uint64_t first_lsn)
{
    struct stat status;
    char path[160];
    log_rig_path(rig, "log", first_lsn, path);
    assert_int_equal(stat(path, &status), 0);
    return (size_t)status.st_size;
}

static void test_oplog_append_when_there_is_room_ahead_changes_no_length(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 10);
    log_rig_settle(&rig);
    size_t ahead = segment_size(&rig, 1);
    assert_int_equal(ahead, (1u << 20) + sizeof(struct oplog_file_header));
    for (uint64_t lsn = 11; lsn < 100; lsn++) {
        log_rig_append_to(&rig, lsn);
        log_rig_settle(&rig);
        assert_int_equal(segment_size(&rig, 1), ahead);
    }
    log_rig_close(&rig);
    assert_true(segment_size(&rig, 1) < 10000); // given back
    log_rig_fini(&rig);
}

// What a killed master leaves: zeros behind the last record, which are neither torn nor lost.
static void test_oplog_open_when_zeros_were_written_ahead_goes_on_in_them(void **state)
{
    (void)state;
    struct log_rig rig;
    size_t bytes;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 10);
    log_rig_settle(&rig);
    uint8_t *data = log_rig_read(&rig, "log", 1, &bytes);
    log_rig_close(&rig);
    log_rig_write(&rig, "log", 1, data, bytes);
    for (uint64_t lsn = 10; lsn <= 40; lsn += 10) {
        log_rig_open(&rig);
        assert_int_equal(rig.last_lsn, lsn);
        log_rig_append_to(&rig, lsn + 10);
        log_rig_settle(&rig);
        assert_int_equal(segment_size(&rig, 1), bytes);
        free(data);
        data = log_rig_read(&rig, "log", 1, &bytes);
        log_rig_close(&rig);
        log_rig_write(&rig, "log", 1, data, bytes);
    }
    free(data);
    log_rig_fini(&rig);
}

static void test_oplog_append_when_a_segment_is_full_gives_back_what_was_ahead(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    rig.options.segment_bytes = 5000;
    log_rig_open(&rig);
    for (uint64_t lsn = 20; lsn <= 400; lsn += 20) {
        log_rig_append_to(&rig, lsn);
        log_rig_settle(&rig);
    }
    struct oplog_scan scan = {0};
    uint8_t *data = log_rig_read(&rig, "log", 1, &scan.bytes);
    struct oplog_record record;
    struct oplog_error error;
    assert_int_equal(oplog_scan_init(&scan, data, scan.bytes, &error), 0);
    while (oplog_scan_next(&scan, &record) > 0) {
    }
    assert_true(scan.next_lsn < 400); // others follow
    assert_int_equal(scan.offset, scan.bytes);
    free(data);
    log_rig_close(&rig);
    log_rig_fini(&rig);
}

// The loop hears of the end of the flush when another log is there already: that one's records are not to be cut.
static void test_oplog_close_when_another_log_goes_on_cuts_nothing_of_it(void **state)
{
    (void)state;
    struct log_rig rig;
    struct oplog *second = NULL;
    char text[64];
    uint64_t lsn;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 10);
    uv_run(&rig.loop, UV_RUN_NOWAIT); // a flush begins
    assert_int_equal(oplog_close(rig.log), 0);
    rig.log = NULL;
    assert_int_equal(oplog_open(rig.directory, &rig.loop, NULL, NULL, &second), 0);
    size_t length = log_rig_value(11, text);
    assert_int_equal(oplog_append(second, text, length, &lsn), 0);
    assert_int_equal(lsn, 11);
    assert_int_equal(oplog_flush(second), 0);
    size_t ahead = segment_size(&rig, 1);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(segment_size(&rig, 1), ahead);
    assert_int_equal(oplog_close(second), 0);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 11);
    log_rig_close(&rig);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_in_use_is_refused(void **state)
{
    (void)state;
    struct log_rig rig;
    struct oplog *second = NULL;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 1);
    assert_int_equal(oplog_open(rig.directory, &rig.loop, NULL, NULL, &second), PAWL_EBUSY);
    assert_null(second);
    log_rig_close(&rig);
    assert_int_equal(oplog_open(rig.directory, &rig.loop, NULL, NULL, &second), 0);
    assert_int_equal(oplog_close(second), 0);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    log_rig_fini(&rig);
}

// Who has the directory, and lets go of it while another waits: as a process that was killed and is not quite gone.
static struct log_rig *holder;

int __real_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);

int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    struct log_rig *rig = holder;
    holder = NULL;
    if (rig != NULL) {
        log_rig_close(rig);
    }
    return __real_nanosleep(wanted, left);
}

static void test_oplog_open_when_another_lets_go_opens(void **state)
{
    (void)state;
    struct log_rig rig;
    const struct oplog_options options = {.size = sizeof(options), .lock_ms = 60000};
    struct oplog *second = NULL;
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 1);
    holder = &rig;
    assert_int_equal(oplog_open(rig.directory, &rig.loop, &options, NULL, &second), 0);
    assert_null(holder); // it waited
    assert_int_equal(oplog_durable_lsn(second), 1);
    assert_int_equal(oplog_close(second), 0);
    uv_run(&rig.loop, UV_RUN_DEFAULT);
    log_rig_fini(&rig);
}

static void test_oplog_open_when_path_is_no_directory_fails(void **state)
{
    (void)state;
    struct log_rig rig;
    struct oplog *log = NULL;
    log_rig_init(&rig);
    assert_int_equal(oplog_open("/dev/null", &rig.loop, NULL, NULL, &log), -ENOTDIR);
    assert_int_equal(oplog_open("/nonexistent/a/b", &rig.loop, NULL, NULL, &log), -ENOENT);
    assert_null(log);
    log_rig_fini(&rig);
}

// A limit on file sizes stands for a full disk: the write fails after a part of it.
static void test_oplog_append_when_disk_is_full_fails_once_and_for_good(void **state)
{
    (void)state;
    struct log_rig rig;
    struct rlimit before, limit;
    uint64_t lsn;
    signal(SIGXFSZ, SIG_IGN);
    log_rig_init(&rig);
    log_rig_open(&rig);
    log_rig_append_to(&rig, 10);
    log_rig_settle(&rig);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_rig_append_to(&rig, 40);
    while (rig.failed_calls == 0) {
        uv_run(&rig.loop, UV_RUN_ONCE);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rig.failed, -EFBIG);
    assert_int_equal(rig.durable_lsn, 10);
    // There is room again, but nothing is retried.
    assert_int_equal(oplog_append(rig.log, "x", 1, &lsn), -EFBIG);
    assert_int_equal(oplog_flush(rig.log), -EFBIG);
    uv_run(&rig.loop, UV_RUN_NOWAIT);
    assert_int_equal(rig.failed_calls, 1);
    struct oplog_snapshot *snapshot;
    assert_int_equal(oplog_snapshot_begin(rig.log, &snapshot), -EFBIG);
    log_rig_close(&rig);
    // The torn group is cut: what was acknowledged is there.
    log_rig_open(&rig);
    assert_in_range(rig.last_lsn, 10, 39);
    log_rig_append_to(&rig, 50);
    log_rig_settle(&rig);
    log_rig_close(&rig);
    log_rig_open(&rig);
    assert_int_equal(rig.last_lsn, 50);
    log_rig_fini(&rig);
}

// A child appends and reports each durable lsn through a pipe until it is killed.
static void run_child(struct log_rig *rig, int fd)
{
    log_rig_open(rig);
    uint64_t told = 0;
    for (;;) {
        // A slow disk must not make the child run into the log's limit of pending records.
        bool room = oplog_last_lsn(rig->log) - rig->durable_lsn < 500;
        if (room) {
            log_rig_append_to(rig, oplog_last_lsn(rig->log) + 7);
        }
        uv_run(&rig->loop, room ? UV_RUN_NOWAIT : UV_RUN_ONCE);
        if (rig->durable_lsn > told) {
            told = rig->durable_lsn;
            if (write(fd, &told, sizeof(told)) != sizeof(told)) {
                _exit(1);
            }
        }
        if (told % 400 < 7) {
            log_rig_snapshot(rig);
        }
    }
}

static void test_oplog_when_killed_keeps_all_that_was_durable(void **state)
{
    (void)state;
    struct log_rig rig;
    log_rig_init(&rig);
    rig.options.segment_bytes = 8192;
    for (int round = 0; round < 5; round++) {
        int fds[2];
        assert_int_equal(pipe(fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            uv_loop_init(&rig.loop);
            run_child(&rig, fds[1]);
        }
        close(fds[1]);
        uint64_t durable = 0, value;
        for (int i = 0; i < 20 + round; i++) {
            assert_int_equal(read(fds[0], &value, sizeof(value)), sizeof(value));
            durable = value;
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(fds[0], &value, sizeof(value)) == sizeof(value)) {
            durable = value;
        }
        close(fds[0]);
        log_rig_open(&rig);
        assert_true(rig.last_lsn >= durable);
        log_rig_close(&rig);
    }
    log_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_oplog_when_killed_keeps_all_that_was_durable), // forks: before threads
        cmocka_unit_test(test_oplog_open_when_new_is_empty),
        cmocka_unit_test(test_oplog_append_when_durable_is_there_after_reopening),
        cmocka_unit_test(test_oplog_append_when_a_flush_is_running_groups),
        cmocka_unit_test(test_oplog_flush_when_called_makes_all_durable_at_once),
        cmocka_unit_test(test_oplog_close_when_records_are_pending_flushes_them),
        cmocka_unit_test(test_oplog_append_when_segment_is_large_begins_another),
        cmocka_unit_test(test_oplog_append_when_record_is_wrong_or_too_much_refuses),
        cmocka_unit_test(test_oplog_append_when_there_is_room_ahead_changes_no_length),
        cmocka_unit_test(test_oplog_open_when_zeros_were_written_ahead_goes_on_in_them),
        cmocka_unit_test(test_oplog_append_when_a_segment_is_full_gives_back_what_was_ahead),
        cmocka_unit_test(test_oplog_close_when_another_log_goes_on_cuts_nothing_of_it),
        cmocka_unit_test(test_oplog_open_when_in_use_is_refused),
        cmocka_unit_test(test_oplog_open_when_another_lets_go_opens),
        cmocka_unit_test(test_oplog_open_when_path_is_no_directory_fails),
        cmocka_unit_test(test_oplog_append_when_disk_is_full_fails_once_and_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
