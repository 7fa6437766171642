// SPDX-License-Identifier: Apache-2.0
// Which reactor of this server a command or a lease is for.
//
// The handle tells, but for the chunks of write logs: they are with the chunk that was written, whose handle few
// commands name. Where those are is learnt from the commands that make them, and from the reactors' inventories: what
// a server holds is known before its master has registered it, and so before any command can come. A chunk that is not
// known is not here, and any reactor may say so.
//
// OWNS: a table of the chunks that are not where their handle says; it has an entry for each chunk of a write log
// that this process has met. Thread: the control thread.
#ifndef PAWL_DATAPLANE_CHUNKD_ROUTES_H
#define PAWL_DATAPLANE_CHUNKD_ROUTES_H

#include <stdint.h>

#include "base/map.h"
#include "base/util.h"
#include "control.pb-c.h"

struct routes {
    uint32_t reactors_count;
    struct pawl_map away; // handle > number of its reactor, plus 1
};

void routes_init(struct routes *routes, uint32_t reactors_count);
void routes_fini(struct routes *routes);

uint32_t routes_of(const struct routes *routes, uint64_t handle);

// The chunk is with that reactor. -ENOMEM.
int routes_learn(struct routes *routes, uint64_t handle, uint32_t reactor) PAWL_MUST_CHECK;

// The reactor of a command of the master; learns from it. PAWL_EPROTOCOL: it is no such command. -ENOMEM.
int routes_of_command(struct routes *routes, const Pawl__Request *request,
                      uint32_t *ret_reactor) PAWL_MUST_CHECK;

#endif
