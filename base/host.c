// SPDX-License-Identifier: Apache-2.0
// Names and addresses of hosts, which are this machine alone, and how this one sends.
#include "base/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static bool is_same_host(const struct sockaddr *one, const struct sockaddr *other)
{
    if (one == NULL || one->sa_family != other->sa_family) {
        return false;
    }
    if (one->sa_family == AF_INET) {
        return ((const struct sockaddr_in *)one)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)other)->sin_addr.s_addr;
    }
    return one->sa_family == AF_INET6 &&
           IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)one)->sin6_addr,
                              &((const struct sockaddr_in6 *)other)->sin6_addr);
}

int pawl_host_interface(const char *host, char ret[IF_NAMESIZE])
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *wanted = NULL;
    struct ifaddrs *all = NULL;
    if (getaddrinfo(host, NULL, &hints, &wanted) != 0) {
        return -ENODATA;
    }
    int code = getifaddrs(&all) != 0 ? -errno : -ENODATA;
    for (struct ifaddrs *i = all; i != NULL && code != 0; i = i->ifa_next) {
        if (is_same_host(i->ifa_addr, wanted->ai_addr)) {
            snprintf(ret, IF_NAMESIZE, "%s", i->ifa_name);
            code = 0;
        }
    }
    if (all != NULL) {
        freeifaddrs(all);
    }
    freeaddrinfo(wanted);
    return code;
}

static int connect_to(int fd, const char *host, uint16_t port)
{
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct timeval most = {.tv_sec = 1};
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        return -ENODATA;
    }
    int code = setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most) != 0 ||
                       connect(fd, found->ai_addr, found->ai_addrlen) != 0
                   ? -errno
                   : 0;
    freeaddrinfo(found);
    return code;
}

int pawl_host_congestion(const char *host, uint16_t port, char ret[PAWL_CONGESTION_MAX])
{
    socklen_t bytes = PAWL_CONGESTION_MAX - 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    memset(ret, 0, PAWL_CONGESTION_MAX);
    int code = host != NULL ? connect_to(fd, host, port) : 0;
    if (code == 0 && getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, ret, &bytes) != 0) {
        code = -errno;
    }
    close(fd);
    return code;
}
