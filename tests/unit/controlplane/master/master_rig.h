// SPDX-License-Identifier: Apache-2.0
// Test rig: a master in a directory of its own, and a client of it on the same loop.
#ifndef PAWL_TESTS_MASTER_RIG_H
#define PAWL_TESTS_MASTER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "controlplane/master/master.h"
#include "controlplane/rpc/rpc.h"

struct master_rig {
    uv_loop_t loop;
    uv_timer_t watchdog;
    char directory[64];
    struct master_config config;
    struct master *master;
    int ended;
    int end_code;
    struct rpc_conn *client; // NULL once it is closed
    bool client_open;
    uint64_t requests; // that the master has sent to the client, acting as a chunk server
    int request_kind;  // of the last one
    int answer_code;   // that they get
    bool answer;       // false: they stay unanswered
};

// The result of calls: code of the last one's reply, and how many ended.
struct rig_reply {
    int ended;
    int ok;
    int code;
    uint64_t file_id;
    uint64_t term;
    uint64_t cluster_id;
};

void master_rig_init(struct master_rig *rig);
void master_rig_fini(struct master_rig *rig);
int master_rig_try_start(struct master_rig *rig);
void master_rig_start(struct master_rig *rig);
void master_rig_stop(struct master_rig *rig);
// Connects the client to a port of 127.0.0.1.
void master_rig_connect(struct master_rig *rig, uint16_t port);
void master_rig_disconnect(struct master_rig *rig);

#define master_rig_run_until(rig, condition)                                                       \
    do {                                                                                           \
        master_rig_watchdog(rig, true);                                                            \
        while (!(condition)) {                                                                     \
            uv_run(&(rig)->loop, UV_RUN_ONCE);                                                     \
        }                                                                                          \
        master_rig_watchdog(rig, false);                                                           \
    } while (0)
void master_rig_watchdog(struct master_rig *rig, bool on);

void master_rig_call(struct master_rig *rig, const Pawl__Request *request, struct rig_reply *reply);
void master_rig_create(struct master_rig *rig, const char *path, struct rig_reply *reply);
// Creates and waits; returns the reply's code.
int master_rig_create_wait(struct master_rig *rig, const char *path);
int master_rig_stat(struct master_rig *rig, const char *path);
void master_rig_servers(struct master_rig *rig, struct rig_reply *reply);

#endif
