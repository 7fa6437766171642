// SPDX-License-Identifier: Apache-2.0
// The newest that this server has been told of its master's log, kept in DIR/mark: it shows to a master
// that comes up with an older log that records are missing.
#ifndef PAWL_DATAPLANE_CHUNKD_MARK_H
#define PAWL_DATAPLANE_CHUNKD_MARK_H

#include <stdint.h>

#include "base/util.h"

struct mark {
    uint64_t cluster_id;
    uint64_t term; // 0: nothing was seen yet
    uint64_t nonce;
    uint64_t position;
};

// Zeros when there is none, or none that can be read (logged): it is a help, not a condition.
void mark_load(const char *dir, struct mark *ret);
// Durable at return. -errno.
int mark_save(const char *dir, const struct mark *mark) PAWL_MUST_CHECK;

#endif
