// SPDX-License-Identifier: Apache-2.0
// A cluster on this machine: processes of a master and chunk servers under one directory.
//
// What `pawl local` starts and pawl-perf measures; one thread at a time.
//
//   DIR/cluster.yaml     what clients need: master's address; also: provider, number of servers
//   DIR/<id>/config.yaml the daemon's configuration; <id> is master, cs1, cs2, ...
//   DIR/<id>/data/       its data      DIR/<id>/log  its log      DIR/<id>/pid  "pid start-time"
#ifndef PAWL_CLI_LOCAL_LOCAL_H
#define PAWL_CLI_LOCAL_LOCAL_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/config.h"
#include "base/util.h"

#define LOCAL_SERVERS_MAX 64u
#define LOCAL_ID_MAX 16

struct local_cluster {
    char dir[PATH_MAX];
    char master[272]; // 127.0.0.1:port; a host's name in a file of PAWL_CONFIG
    char provider[32];
    char route[8]; // of pushes, for configurations that are still to be written; "": the default
    uint32_t servers_count;
};

// A port of the loopback address that is free now.
int local_free_port(uint16_t *ret_port) PAWL_MUST_CHECK;

// Reads DIR/cluster.yaml. PAWL_ENOTFOUND when there is none. ret_error says what is wrong with it.
int local_load(const char *dir, struct local_cluster *ret,
               struct pawl_config_error *ret_error) PAWL_MUST_CHECK;
// The same from a file of any name; ret->dir stays.
int local_load_file(const char *path, struct local_cluster *ret,
                    struct pawl_config_error *ret_error) PAWL_MUST_CHECK;
// Writes it and the daemons' configurations; keeps those that are there.
int local_create(const struct local_cluster *cluster) PAWL_MUST_CHECK;

// Id of process number i: 0 is the master.
void local_id(uint32_t i, char ret[LOCAL_ID_MAX]);
// Number of the process with this id; -1: none.
int local_number(const struct local_cluster *cluster, const char *id);

// The pid of a running daemon, 0 when it doesn't run (a pid that was given to another process since
// counts as not running).
pid_t local_pid(const struct local_cluster *cluster, uint32_t i);
// Starts a daemon unless it runs. `program`: path of pawl, whose folder holds the daemons.
int local_spawn(const struct local_cluster *cluster, uint32_t i,
                const char *program) PAWL_MUST_CHECK;
// Sends a signal; waits for the end when it is SIGTERM or SIGKILL, up to wait_ms.
int local_signal(const struct local_cluster *cluster, uint32_t i, int signal,
                 uint32_t wait_ms) PAWL_MUST_CHECK;

#endif
