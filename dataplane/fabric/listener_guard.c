// SPDX-License-Identifier: Apache-2.0
// Guards a listening port of libfabric's tcp provider (1.17, and no worse with later ones).
//
// The provider reads a connection request from a blocking socket: a peer that sends the header of a
// request and not what the header announces would stop the thread for ever. And a peer that
// connects and never speaks holds a descriptor for ever. libfabric gives no access to these
// sockets; but they are descriptors of this process, and options of the listening socket pass to
// the sockets that it accepts. So:
//  - the listening socket gets a receive timeout (a request is one small segment: it is there
//  whole,
//    or it isn't one) and keep-alive;
//  - from time to time accepted sockets that no connection knows are shut down when they are too
//  old;
//    the provider then sees the end of the stream and frees them.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/clock.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define RECEIVE_TIMEOUT_US 1000
#define SWEEP_EVERY_NS (2 * PAWL_NS_PER_S)
#define SILENCE_MAX_NS (5 * PAWL_NS_PER_S)
#define SUSPECTS_MAX 256

struct suspect {
    int fd;
    bool is_seen;
    uint64_t since_ns;
    char peer[FABRIC_PEER_MAX];
};

struct listener_guard {
    struct fabric *fabric;
    uint16_t port;
    uint64_t next_ns;
    bool is_closing;
    size_t suspects_count;
    struct suspect suspects[SUSPECTS_MAX];
};

static struct pawl_log_limit guard_limit;

// Calls fn for each descriptor of this process.
static void fds_each(struct listener_guard *guard, void (*fn)(struct listener_guard *, int))
{
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) {
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char *end = NULL;
        long fd = strtol(entry->d_name, &end, 10);
        if (end != entry->d_name && *end == 0 && fd != dirfd(folder)) {
            fn(guard, (int)fd);
        }
    }
    closedir(folder);
}

static bool is_on_port(int fd, uint16_t port)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    memset(&address, 0, sizeof(address));
    if (getsockname(fd, (struct sockaddr *)&address, &bytes) < 0) {
        return false;
    }
    if (address.ss_family == AF_INET) {
        return ntohs(((struct sockaddr_in *)(void *)&address)->sin_port) == port;
    }
    if (address.ss_family == AF_INET6) {
        return ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port) == port;
    }
    return false;
}

static bool is_listener(int fd)
{
    int value = 0;
    socklen_t bytes = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &bytes) == 0 && value != 0;
}

static void listener_protect(struct listener_guard *guard, int fd)
{
    struct timeval timeout = {.tv_usec = RECEIVE_TIMEOUT_US};
    int on = 1, interval_s = 10, count = 3;
    int idle_s = (int)PAWL_MAX(guard->fabric->options.idle_ms / 1000, 1u); // see probe.c
    if (!is_on_port(fd, guard->port) || !is_listener(fd)) {
        return;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
        return;
    }
    guard->next_ns = 1; // found
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int listener_guard_new(struct fabric *fabric, uint16_t port, struct listener_guard **ret_guard)
{
    struct listener_guard *guard = calloc(1, sizeof(*guard));
    if (!guard) {
        return -ENOMEM;
    }
    guard->fabric = fabric;
    guard->port = port;
    fds_each(guard, listener_protect);
    if (guard->next_ns == 0) {
        free(guard);
        return -ENOENT;
    }
    *ret_guard = guard;
    return 0;
}

void listener_guard_free(struct listener_guard *guard)
{
    free(guard);
}

static bool is_connection(const struct fabric *fabric, const char *peer)
{
    pawl_list_for_each (node, &fabric->conns) {
        const struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, link);
        if (strcmp(conn->peer, peer) == 0) {
            return true;
        }
    }
    return false;
}

static struct suspect *suspect_find(struct listener_guard *guard, int fd, const char *peer)
{
    for (size_t i = 0; i < guard->suspects_count; i++) {
        struct suspect *suspect = &guard->suspects[i];
        if (suspect->fd == fd && strcmp(suspect->peer, peer) == 0) {
            return suspect;
        }
    }
    return NULL;
}

static void socket_judge(struct listener_guard *guard, int fd)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof(address);
    char peer[FABRIC_PEER_MAX];
    if (!is_on_port(fd, guard->port) || is_listener(fd) ||
        getpeername(fd, (struct sockaddr *)&address, &bytes) < 0) {
        return;
    }
    ofi_address_text(&address, peer, sizeof(peer));
    if (is_connection(guard->fabric, peer)) {
        return;
    }
    struct suspect *suspect = suspect_find(guard, fd, peer);
    uint64_t now_ns = guard->fabric->now_ns;
    if (!suspect) {
        if (guard->suspects_count == SUSPECTS_MAX) {
            return; // its turn comes
        }
        suspect = &guard->suspects[guard->suspects_count++];
        suspect->fd = fd;
        suspect->since_ns = now_ns;
        memcpy(suspect->peer, peer, sizeof(peer));
    }
    if (guard->is_closing || now_ns - suspect->since_ns >= SILENCE_MAX_NS) {
        pawl_log_limited(&guard_limit, PAWL_LOG_WARN,
                         "peer %s has connected and asks for nothing: dropped", peer);
        (void)shutdown(fd, SHUT_RDWR);
    }
    suspect->is_seen = true;
}

size_t listener_guard_drop_all(struct listener_guard *guard)
{
    guard->is_closing = true;
    guard->suspects_count = 0;
    fds_each(guard, socket_judge);
    return guard->suspects_count;
}

void listener_guard_sweep(struct listener_guard *guard, uint64_t now_ns)
{
    if (now_ns < guard->next_ns) {
        return;
    }
    guard->next_ns = now_ns + SWEEP_EVERY_NS;
    for (size_t i = 0; i < guard->suspects_count; i++) {
        guard->suspects[i].is_seen = false;
    }
    fds_each(guard, socket_judge);
    size_t kept = 0;
    for (size_t i = 0; i < guard->suspects_count; i++) {
        if (guard->suspects[i].is_seen) {
            guard->suspects[kept++] = guard->suspects[i];
        }
    }
    guard->suspects_count = kept;
}
