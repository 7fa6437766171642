// SPDX-License-Identifier: Apache-2.0
// The cluster that is measured: one that runs, or one that is started by the program `pawl` and taken
// down again. Main thread only.
#ifndef PAWL_PERF_CLUSTER_H
#define PAWL_PERF_CLUSTER_H

#include "cli/local/local.h"
#include "perf/options.h"
#include <pawl/pawl.h>

#define PERF_TRANSPORT_MAX 64

struct perf_cluster {
    struct local_cluster local;
    const struct perf_options *options; // BORROWED
    char folder[PATH_MAX];              // of an own cluster; "": it isn't ours
    char file_system[24];
    char transport[PERF_TRANSPORT_MAX]; // the provider, and of tcp its congestion control
    bool direct; // its file system takes O_DIRECT: servers then read and write past the page cache
};

// Finds or starts it. 0, or an exit code; what is wrong is said on standard error. Either way
// perf_cluster_close() takes down what was started.
int perf_cluster_open(const struct perf_options *options, struct perf_cluster *ret) PAWL_MUST_CHECK;
// 0 or an exit code.
int perf_cluster_close(struct perf_cluster *cluster) PAWL_MUST_CHECK;

// A connection for names and small things. Says what is wrong. 0 or an exit code.
int perf_cluster_connect(const struct perf_cluster *cluster, struct pawl **ret) PAWL_MUST_CHECK;
// The options of a connection that has `depth` operations of `bytes` bytes under way.
struct pawl_options perf_cluster_options(const struct perf_cluster *cluster, uint64_t depth,
                                         uint64_t bytes);

// Runs `pawl --dir DIR local ACTION [ID]` of the cluster. 0 or an exit code.
int perf_cluster_local(const struct perf_cluster *cluster, const char *action,
                       const char *id) PAWL_MUST_CHECK;
// Ends and starts the processes of a cluster that is ours, so that a round has others than the one before: where the
// scheduler puts them, which stays so for long, is then a matter of the median. Another's is left alone. 0 or an exit
// code.
int perf_cluster_restart(const struct perf_cluster *cluster) PAWL_MUST_CHECK;
// Waits until all its chunk servers are live. 0 or an exit code.
int perf_cluster_wait_live(const struct perf_cluster *cluster) PAWL_MUST_CHECK;

// CPU seconds since the start: of this process, of the master, of the chunk servers together.
struct perf_cpu {
    bool known; // every daemon could be asked
    double client_s;
    double master_s;
    double servers_s;
    uint64_t pids_hash; // of the daemons: differences mean something only between equal ones
};
struct perf_cpu perf_cluster_cpu(const struct perf_cluster *cluster);

#endif
