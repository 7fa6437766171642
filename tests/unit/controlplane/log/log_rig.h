// SPDX-License-Identifier: Apache-2.0
// Test rig: an operation log in a directory of its own, whose records are numbers written as text.
#ifndef PAWL_TESTS_LOG_RIG_H
#define PAWL_TESTS_LOG_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "controlplane/log/oplog.h"

#define RIG_RECORDS_MAX 4096

struct log_rig {
    uv_loop_t loop;
    char directory[64];
    struct oplog_options options;
    struct oplog *log;
    // What the last open has loaded: the record of lsn n, or of a snapshot, is rig_value(n).
    uint64_t snapshot_count;
    uint64_t first_lsn;
    uint64_t last_lsn;
    // What on_durable has told.
    uint64_t durable_lsn;
    int durable_calls;
    int failed;
    int failed_calls;
    // What a snapshot's end has told.
    int snapshot_calls;
    int snapshot_code;
};

void log_rig_init(struct log_rig *rig);
void log_rig_fini(struct log_rig *rig); // removes the directory too
int log_rig_try_open(struct log_rig *rig);
void log_rig_open(struct log_rig *rig);
// Closes and lets the loop run empty.
void log_rig_close(struct log_rig *rig);
// Appends records up to this lsn.
void log_rig_append_to(struct log_rig *rig, uint64_t lsn);
// Runs the loop until everything appended is durable and reported.
void log_rig_settle(struct log_rig *rig);
// A snapshot of the state now: one record for each lsn so far.
void log_rig_snapshot(struct log_rig *rig);
size_t log_rig_value(uint64_t lsn, char *ret_text);

// Files of the directory by name ("log.<first lsn>", "snapshot.<lsn>").
void log_rig_path(struct log_rig *rig, const char *prefix, uint64_t lsn, char ret_path[160]);
bool log_rig_exists(struct log_rig *rig, const char *prefix, uint64_t lsn);
uint8_t *log_rig_read(struct log_rig *rig, const char *prefix, uint64_t lsn, size_t *ret_bytes);
void log_rig_write(struct log_rig *rig, const char *prefix, uint64_t lsn, const uint8_t *data,
                   size_t bytes);

#endif
