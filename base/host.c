// SPDX-License-Identifier: Apache-2.0
// Names and addresses of hosts: which are this machine alone.
#include "base/host.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

bool pawl_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return ntohl(v4.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcmp(host, "localhost") == 0;
}
