// SPDX-License-Identifier: Apache-2.0
// The control thread of a chunk server: its connection to the master, registration, heartbeats.
//
// OWNS: an event loop, the connection, the signals SIGTERM and SIGINT. It talks to the reactors by
// mail only. Towards the master they are one server. Thread: the caller's, for as long as control_run() lasts.
#ifndef PAWL_DATAPLANE_CHUNKD_CONTROL_H
#define PAWL_DATAPLANE_CHUNKD_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"
#include "dataplane/chunkd/reactor.h"

// Exit codes of the program.
enum control_exit {
    CONTROL_EXIT_OK = 0,
    CONTROL_EXIT_FAILED = 1,
    CONTROL_EXIT_USAGE = 2,   // options or configuration
    CONTROL_EXIT_CLUSTER = 3, // this server belongs to another cluster
};

// BORROWED UNTIL control_run() returns.
struct control_options {
    size_t size;
    const char *master_host;
    uint16_t master_port;
    const char *name;
    const char *location;
    const char *address; // of all reactors, as peers and clients are told it
    const char *dir;     // of the store, for what is seen of the master's log; NULL: not kept
};

// Runs until a signal has come and all reactors have drained (they are told so), or until this server
// can't belong to the master's cluster. Returns the exit code. The reactors stand in the order of their numbers.
int control_run(const struct control_options *options, struct reactor *const reactors[],
                uint32_t reactors_count) PAWL_MUST_CHECK;

#endif
