// SPDX-License-Identifier: Apache-2.0
// Names and addresses of hosts.
#ifndef PAWL_BASE_HOST_H
#define PAWL_BASE_HOST_H

#include <stdbool.h>

// True when the host is an address of this machine's loopback, or "localhost". Until there is security,
// daemons listen elsewhere only if their configuration says `security: none`. Any thread.
bool pawl_host_is_loopback(const char *host);

#endif
