// SPDX-License-Identifier: Apache-2.0
// Ports in a row.
#include "dataplane/chunkd/ports.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

#define PORTS_ATTEMPTS 64u

static void port_set(struct sockaddr_storage *address, uint16_t port)
{
    if (address->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)address)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)address)->sin_port = htons(port);
    }
}

static uint16_t port_get(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

// A socket bound to that port, or to a free one that *address tells then.
static int port_hold(struct sockaddr_storage *address, socklen_t bytes, int *ret_fd)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    if (fd < 0) {
        return -errno;
    }
    // The port is shared only once it is ours: another server may be doing the same.
    if (bind(fd, (struct sockaddr *)address, bytes) != 0 ||
        getsockname(fd, (struct sockaddr *)address, &bytes) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) != 0) {
        int code = -errno;
        close(fd);
        return code;
    }
    *ret_fd = fd;
    return 0;
}

static int ports_try(const struct sockaddr_storage *host, socklen_t bytes, uint32_t count,
                     struct ports *ports)
{
    struct sockaddr_storage address = *host;
    port_set(&address, 0);
    int code = port_hold(&address, bytes, &ports->fds[0]);
    if (code != 0) {
        return code;
    }
    ports->count = 1;
    ports->first = port_get(&address);
    if (ports->first + count - 1 > UINT16_MAX) {
        return -EADDRINUSE;
    }
    while (ports->count < count) {
        port_set(&address, (uint16_t)(ports->first + ports->count));
        code = port_hold(&address, bytes, &ports->fds[ports->count]);
        if (code != 0) {
            return code;
        }
        ports->count++;
    }
    return 0;
}

int ports_hold(const char *host, uint32_t count, struct ports *ret)
{
    pawl_assert(count > 0 && count <= REACTORS_MAX);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return -EINVAL;
    }
    struct sockaddr_storage address;
    memset(&address, 0, sizeof(address));
    memcpy(&address, found->ai_addr, PAWL_MIN((size_t)found->ai_addrlen, sizeof(address)));
    socklen_t bytes = found->ai_addrlen;
    freeaddrinfo(found);
    int code = -EADDRINUSE;
    for (unsigned i = 0; i < PORTS_ATTEMPTS && code == -EADDRINUSE; i++) {
        *ret = (struct ports){0};
        code = ports_try(&address, bytes, count, ret);
        if (code != 0) {
            ports_release(ret);
        }
    }
    return code;
}

void ports_release(struct ports *ports)
{
    for (uint32_t i = 0; i < ports->count; i++) {
        close(ports->fds[i]);
    }
    ports->count = 0;
}
