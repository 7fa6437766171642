// SPDX-License-Identifier: Apache-2.0
// Configuration of pawl-chunkd: one YAML file.
//
//   master: 127.0.0.1:7700
//   dir: /var/lib/pawl/cs1
//   name: cs1                       # default: the host's name
//   location: rack1                 # default: empty
//   fabric: {provider: tcp, host: 127.0.0.1, port: 0}
//   space_limit: 10GiB              # 0: the file system's
//   memory: {region: 256MiB}
//   journal: {segment: 32MiB, segments: 4}
//   inline_max: 32KiB
//   log_level: info
//   security: none                  # must be said to listen beyond loopback
//   address_file: /run/pawl/cs1     # the fabric address is written there
//
// OWNS its strings. Thread: any one.
#ifndef PAWL_DATAPLANE_CHUNKD_CONFIG_H
#define PAWL_DATAPLANE_CHUNKD_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/util.h"

struct chunkd_config {
    char *master_host;
    uint16_t master_port;
    char *dir;
    char *name;
    char *location;
    char *provider;
    char *host;
    uint16_t port;
    uint64_t space_limit_bytes;
    uint64_t region_bytes;
    uint32_t journal_segment_bytes;
    uint32_t journal_segments_count;
    uint32_t inline_max_bytes;
    enum pawl_log_level log_level;
    bool security_none; // `security: none` was said
    char *address_file; // NULL: none
};

// Loads and checks; what is wrong is logged in one line with file and line. PAWL_EINVALID, -errno.
int chunkd_config_load(const char *path, struct chunkd_config *ret_config) PAWL_MUST_CHECK;
// A zeroed struct is fine.
void chunkd_config_fini(struct chunkd_config *config);

#endif
