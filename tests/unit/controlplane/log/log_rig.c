// SPDX-License-Identifier: Apache-2.0
// Test rig for the operation log.
#include "log_rig.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

// Lengths differ, so that padding of every size occurs.
size_t log_rig_value(uint64_t lsn, char *ret_text)
{
    size_t length = (size_t)sprintf(ret_text, "record %" PRIu64 " ", lsn);
    for (uint64_t i = 0; i < lsn % 13; i++) {
        ret_text[length++] = (char)('a' + i);
    }
    ret_text[length] = '\0';
    return length;
}

static void check_value(uint64_t lsn, const void *bytes, size_t length)
{
    char text[64];
    assert_int_equal(length, log_rig_value(lsn, text));
    assert_memory_equal(bytes, text, length);
}

static int on_snapshot_record(void *user, const void *bytes, size_t length)
{
    struct log_rig *rig = user;
    assert_int_equal(rig->first_lsn, 0);
    check_value(++rig->snapshot_count, bytes, length);
    rig->last_lsn = rig->snapshot_count;
    return 0;
}

static int on_record(void *user, uint64_t lsn, const void *bytes, size_t length)
{
    struct log_rig *rig = user;
    assert_int_equal(lsn, rig->last_lsn + 1);
    if (rig->first_lsn == 0) {
        rig->first_lsn = lsn;
    }
    rig->last_lsn = lsn;
    check_value(lsn, bytes, length);
    return 0;
}

static void on_durable(void *user, int code, uint64_t lsn)
{
    struct log_rig *rig = user;
    if (code == 0) {
        assert_true(lsn > rig->durable_lsn);
        assert_int_equal(rig->failed_calls, 0);
        rig->durable_calls++;
    } else {
        rig->failed = code;
        rig->failed_calls++;
    }
    assert_int_equal(lsn, oplog_durable_lsn(rig->log));
    rig->durable_lsn = lsn;
}

void log_rig_init(struct log_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    strcpy(rig->directory, "/tmp/pawl-oplog-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    assert_int_equal(uv_loop_init(&rig->loop), 0);
    rig->options =
        (struct oplog_options){.size = sizeof(rig->options), .on_durable = on_durable, .user = rig};
}

void log_rig_fini(struct log_rig *rig)
{
    char path[400];
    struct dirent *entry;
    if (rig->log != NULL) {
        log_rig_close(rig);
    }
    assert_int_equal(uv_loop_close(&rig->loop), 0);
    DIR *directory = opendir(rig->directory);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", rig->directory, entry->d_name);
        (void)unlink(path);
    }
    closedir(directory);
    assert_int_equal(rmdir(rig->directory), 0);
}

int log_rig_try_open(struct log_rig *rig)
{
    const struct oplog_load load = {on_snapshot_record, on_record, rig};
    rig->snapshot_count = rig->first_lsn = rig->last_lsn = 0;
    rig->durable_calls = rig->failed_calls = rig->failed = 0;
    int rc = oplog_open(rig->directory, &rig->loop, &rig->options, &load, &rig->log);
    if (rc == 0) {
        assert_int_equal(oplog_last_lsn(rig->log), rig->last_lsn);
        rig->durable_lsn = rig->last_lsn;
    }
    return rc;
}

void log_rig_open(struct log_rig *rig)
{
    assert_int_equal(log_rig_try_open(rig), 0);
}

void log_rig_close(struct log_rig *rig)
{
    (void)oplog_close(rig->log);
    rig->log = NULL;
    uv_run(&rig->loop, UV_RUN_DEFAULT);
}

void log_rig_append_to(struct log_rig *rig, uint64_t last)
{
    char text[64];
    uint64_t lsn;
    while (oplog_last_lsn(rig->log) < last) {
        size_t length = log_rig_value(oplog_last_lsn(rig->log) + 1, text);
        assert_int_equal(oplog_append(rig->log, text, length, &lsn), 0);
        assert_int_equal(lsn, oplog_last_lsn(rig->log));
    }
}

void log_rig_settle(struct log_rig *rig)
{
    while (rig->durable_lsn < oplog_last_lsn(rig->log) && rig->failed == 0) {
        uv_run(&rig->loop, UV_RUN_ONCE);
    }
}

static void on_snapshot(void *user, int code)
{
    struct log_rig *rig = user;
    rig->snapshot_calls++;
    rig->snapshot_code = code;
}

void log_rig_snapshot(struct log_rig *rig)
{
    char text[64];
    struct oplog_snapshot *snapshot;
    int calls = rig->snapshot_calls;
    assert_int_equal(oplog_snapshot_begin(rig->log, &snapshot), 0);
    for (uint64_t lsn = 1; lsn <= oplog_last_lsn(rig->log); lsn++) {
        size_t length = log_rig_value(lsn, text);
        assert_int_equal(oplog_snapshot_add(snapshot, text, length), 0);
    }
    oplog_snapshot_commit(snapshot, on_snapshot, rig);
    assert_int_equal(rig->snapshot_calls, calls);
    while (rig->snapshot_calls == calls) {
        uv_run(&rig->loop, UV_RUN_ONCE);
    }
}

void log_rig_path(struct log_rig *rig, const char *prefix, uint64_t lsn, char ret_path[160])
{
    snprintf(ret_path, 160, "%s/%s.%020" PRIu64, rig->directory, prefix, lsn);
}

bool log_rig_exists(struct log_rig *rig, const char *prefix, uint64_t lsn)
{
    char path[160];
    log_rig_path(rig, prefix, lsn, path);
    return access(path, F_OK) == 0;
}

uint8_t *log_rig_read(struct log_rig *rig, const char *prefix, uint64_t lsn, size_t *ret_bytes)
{
    char path[160];
    log_rig_path(rig, prefix, lsn, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *data = malloc(1 << 20);
    *ret_bytes = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

void log_rig_write(struct log_rig *rig, const char *prefix, uint64_t lsn, const uint8_t *data,
                   size_t bytes)
{
    char path[160];
    log_rig_path(rig, prefix, lsn, path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    fclose(file);
}
