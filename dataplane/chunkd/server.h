// SPDX-License-Identifier: Apache-2.0
// All reactors of a chunk server: where they run, their directories, ports and shares, their threads.
//
// OWNS: the threads with their reactors, the directory's lock. Thread: the control thread's. Between the reactors
// nothing is shared; what they have in common (server id, incarnation, number of reactors) is constant.
#ifndef PAWL_DATAPLANE_CHUNKD_SERVER_H
#define PAWL_DATAPLANE_CHUNKD_SERVER_H

#include <stdint.h>

#include "base/util.h"
#include "dataplane/chunkd/chunkd_config.h"

struct server;
struct reactor;

// Opens the reactors, one after the other, each on its thread; the config is BORROWED UNTIL server_close() and
// learns the number of reactors if that was left to the machine. Logged in full, errors too. -EINVAL: the configuration
// doesn't fit this machine.
int server_open(struct chunkd_config *config, struct server **ret) PAWL_MUST_CHECK;
// Waits for the reactors' ends (MAIL_STOP was posted to each) and closes them.
void server_close(struct server *server);

struct reactor *const *server_reactors(const struct server *server);
uint32_t server_reactors_count(const struct server *server);
// What peers and clients are told: for each fabric the range of the reactors' ports.
const char *server_address(const struct server *server);

#endif
