// SPDX-License-Identifier: Apache-2.0
// Ports in a row, one for each reactor, where the configuration leaves the choice to us.
//
// Held by sockets that don't listen: nobody else is given one of them, and a listener of this process may have it
// (SO_REUSEADDR, which libfabric sets too). OWNS: the sockets. Thread: any one.
#ifndef PAWL_DATAPLANE_CHUNKD_PORTS_H
#define PAWL_DATAPLANE_CHUNKD_PORTS_H

#include <stdint.h>

#include "base/util.h"
#include "proto/reactor.h"

struct ports {
    uint32_t count;
    uint16_t first;
    int fds[REACTORS_MAX];
};

// On this host or address. -EADDRINUSE: there are no such ports; -EINVAL: no such address; -errno.
int ports_hold(const char *host, uint32_t count, struct ports *ret) PAWL_MUST_CHECK;
// Once the listeners are there. A zeroed struct is fine.
void ports_release(struct ports *ports);

#endif
