// SPDX-License-Identifier: Apache-2.0
// Configuration of pawl-chunkd.
//
//   master: 127.0.0.1:7400
//   dir: /var/lib/pawl/cs1
//   name: cs1                   # unique in the cluster, for people; default: the last part of dir
//   location: rack3             # replicas are spread over locations
//   fabric:
//     provider: tcp             # of libfabric: tcp, verbs
//     host: 127.0.0.1           # local address; loopback unless security says otherwise
//     port: 0                   # 0: a free one
//   fabrics:                    # instead of `fabric`: several, the first that servers share is theirs
//     - {provider: verbs, host: 10.0.0.1, port: 7500}
//     - {provider: tcp, host: 10.0.0.1, port: 7501}
//   reactors: 1                 # threads that store and serve, each with its chunks; 1 to 64, or auto
//   pin: auto                   # each reactor keeps to a core of its own: true, false; auto: when there are several
//   space_limit: 10GiB          # of all reactors; 0: the whole file system
//   memory:
//     region: 256MiB            # pinned; windows and buffers of reads, of all reactors; more comes beside it: docs/operations.md
//   journal:
//     segment: 32MiB
//     segments: 4
//   push:                       # of records from this server as their primary to the others of a set
//     route: auto               # star: to each; chain: through the first to the second; auto: by size
//     chain_min: 256KiB         # auto: larger ones go by chain
//   inline_max: 32KiB           # larger records are written to their chunk file at once
//   log_level: info             # error, warn, info, debug, trace
//   security: none              # needed to listen beyond loopback: anybody who reaches the port is trusted
//   address_file: /run/pawl/cs1 # the fabric address is written there
//
// Only `master` and `dir` are required. A port is the first of as many in a row as there are reactors. Zeros in the struct stand for the store's own defaults.
#ifndef PAWL_DATAPLANE_CHUNKD_CHUNKD_CONFIG_H
#define PAWL_DATAPLANE_CHUNKD_CHUNKD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addresses.h"
#include "base/config.h"
#include "base/log.h"

struct chunkd_config_fabric {
    char *provider;
    char *host;
    uint16_t port;
};

enum chunkd_pin { CHUNKD_PIN_AUTO = 0, CHUNKD_PIN_TRUE, CHUNKD_PIN_FALSE };

struct chunkd_config {
    char master_host[256];
    uint16_t master_port;
    char *directory;
    char *name;
    char *location; // "" when not given
    struct chunkd_config_fabric fabrics[PAWL_ADDRESSES_MAX];
    uint32_t fabrics_count;  // at least 1
    uint32_t reactors_count; // 0: auto
    enum chunkd_pin pin;
    uint64_t space_limit_bytes;
    uint64_t region_bytes; // 0: not given
    uint32_t journal_segment_bytes;
    uint32_t journal_segments_count;
    uint32_t inline_max_bytes;
    uint32_t chain_bytes; // payloads from so many bytes on go by chain; 0: none
    enum pawl_log_level log_level;
    bool security_none;
    char *address_file; // NULL: none
};

// 0, or a negative code with ret_error filled. The strings are OWNED by the struct: fini frees them.
PAWL_MUST_CHECK int chunkd_config_load(const char *path, struct chunkd_config *ret_config,
                                       struct pawl_config_error *ret_error);
// The same from memory.
PAWL_MUST_CHECK int chunkd_config_parse(const char *name, const char *text, size_t bytes,
                                        struct chunkd_config *ret_config,
                                        struct pawl_config_error *ret_error);
// What has to fit a number of reactors: their share of the region. Sets it when it was not given. 0, or a negative
// code with ret_error filled.
PAWL_MUST_CHECK int chunkd_config_reactors(const char *name, uint32_t reactors_count,
                                           struct chunkd_config *config,
                                           struct pawl_config_error *ret_error);
void chunkd_config_fini(struct chunkd_config *config);

#endif
