// SPDX-License-Identifier: Apache-2.0
// The master: drives the pure core with requests, answers, time and a durable log.
//
// OWNS: the core, the operation log, the RPC server, timers. Thread: that of the loop.
// The rule that it keeps: no action of the core has an effect before all log records that the core emitted
// before it are durable. So a restart never takes back what somebody was told.
#ifndef PAWL_CONTROLPLANE_MASTER_MASTER_H
#define PAWL_CONTROLPLANE_MASTER_MASTER_H

#include <stdint.h>
#include <uv.h>

#include "base/util.h"
#include "controlplane/master/master_config.h"

struct master;

// Loads the state, logs a new term durably, then listens and writes the port file. The config is BORROWED
// until on_end. on_end(user, code) comes once, from the loop, when all is closed and the master freed: code 0
// after master_stop(), negative when the master could not go on (logged). Fails with a negative code,
// logged; on_end does not come then, but the loop must run to free what is left.
PAWL_MUST_CHECK int master_open(uv_loop_t *loop, const struct master_config *config,
                                void (*on_end)(void *user, int code), void *user,
                                struct master **ret_master);

// Refuses new requests, makes durable and answers what was accepted, closes. Idempotent.
void master_stop(struct master *master);

uint16_t master_port(const struct master *master);
// Writes a snapshot now, whatever the size of the log. PAWL_EBUSY while one is being written.
PAWL_MUST_CHECK int master_snapshot(struct master *master);

#endif
