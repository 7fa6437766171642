// SPDX-License-Identifier: Apache-2.0
// Configuration of pawl-master.
//
//   listen: 127.0.0.1:7400      # port 0: a free one; a loopback address unless security says otherwise
//   dir: /var/lib/pawl/master   # operation log and snapshots
//   name: master                # for the log
//   heartbeat_ms: 200           # how often chunk servers report
//   suspect_ms: 1000            # silent for so long: gets no new chunks
//   dead_ms: 3000               # silent for so long: counts as lost
//   lease_ms: 2000              # how long a primary may order appends without hearing from the master
//   session_ms: 300000          # a client that is cut off for so long loses its session
//   surplus_ms: 10000           # a replica more than its file wants is kept so long
//   log_level: info             # error, warn, info, debug, trace
//   security: none              # needed to listen beyond loopback: anybody who reaches the port is trusted
//   port_file: /run/pawl/port   # the address that it listens on is written there
//   snapshot_after: 64MiB       # of log
//
// Only `listen` and `dir` are required.
#ifndef PAWL_CONTROLPLANE_MASTER_MASTER_CONFIG_H
#define PAWL_CONTROLPLANE_MASTER_MASTER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/config.h"
#include "base/log.h"

struct master_config {
    char host[256];
    uint16_t port;
    char *directory;
    char *name;
    uint32_t heartbeat_ms;
    uint32_t suspect_ms;
    uint32_t dead_ms;
    uint32_t lease_ms;
    uint32_t session_ms;
    uint32_t surplus_ms;
    enum pawl_log_level log_level;
    bool security_none;
    char *port_file; // NULL: none
    uint64_t snapshot_after_bytes;
};

// 0, or a negative code with ret_error filled. The strings are OWNED by the struct: fini frees them.
PAWL_MUST_CHECK int master_config_load(const char *path, struct master_config *ret_config,
                                       struct pawl_config_error *ret_error);
// The same from memory.
PAWL_MUST_CHECK int master_config_parse(const char *name, const char *text, size_t bytes,
                                        struct master_config *ret_config,
                                        struct pawl_config_error *ret_error);
void master_config_fini(struct master_config *config);

#endif
