// SPDX-License-Identifier: Apache-2.0
// Names and addresses of hosts, and how they send.
#ifndef PAWL_BASE_HOST_H
#define PAWL_BASE_HOST_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

// True when the host is an address of this machine's loopback, or "localhost". Until there is security,
// daemons listen elsewhere only if their configuration says `security: none`. Any thread.
bool pawl_host_is_loopback(const char *host);

// The network interface of this machine that has the address ("10.0.0.1": "eth0"). -ENODATA: none has; -errno. Looks
// names up, so it may wait. Any thread.
int pawl_host_interface(const char *host, char ret[IF_NAMESIZE]) PAWL_MUST_CHECK;

#define PAWL_CONGESTION_MAX 16 // the kernel's TCP_CA_NAME_MAX

// The congestion control, by the kernel's name ("cubic"), of a new connection to this host and port, which is made and
// closed again; a route may have its own. `host` NULL: what connections have where no route says anything. 0 or
// -errno. Waits for a second at most, and for a name as long as that takes. Any thread.
int pawl_host_congestion(const char *host, uint16_t port,
                         char ret[PAWL_CONGESTION_MAX]) PAWL_MUST_CHECK;

#endif
