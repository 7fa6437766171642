// SPDX-License-Identifier: Apache-2.0
// The way to a peer over verbs, looked for without waiting.
//
// fi_endpoint() of the verbs provider waits for the peer's address to be resolved (ARP, neighbour
// discovery; up to 2 s), and the thread that would wait is the one that answers heartbeats and
// renews leases. So rdma_cm is asked first, on an event channel of our own. When it knows the
// neighbour, so does the kernel's table, and the endpoint's own look at it takes no time.
//
// A thread for making endpoints is no way: FI_THREAD_DOMAIN wants all calls on the objects of one
// domain one after the other, and the owner polls without a lock.
//
// librdmacm is loaded, not linked, for the same reason as libfabric; where verbs works it is there,
// because libfabric's provider needs it. What it gives is used as rdma_cma.h says, without state
// of libfabric's.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rdma/rdma_cma.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define LIBRARY "librdmacm.so.1"

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool loaded;
static struct pawl_log_limit resolve_limit;

static struct {
    struct rdma_event_channel *(*create_event_channel)(void);
    void (*destroy_event_channel)(struct rdma_event_channel *);
    int (*create_id)(struct rdma_event_channel *, struct rdma_cm_id **, void *,
                     enum rdma_port_space);
    int (*destroy_id)(struct rdma_cm_id *);
    int (*resolve_addr)(struct rdma_cm_id *, struct sockaddr *, struct sockaddr *, int);
    int (*get_cm_event)(struct rdma_event_channel *, struct rdma_cm_event **);
    int (*ack_cm_event)(struct rdma_cm_event *);
} library;

// One look: a connection has it until its endpoint is made.
struct ofi_resolve {
    struct fabric_conn *conn;
    struct rdma_cm_id *id;
    struct fi_info *info;
};

static bool find(void *handle, const char *name, void *ret_function)
{
    void *found = dlsym(handle, name);
    *(void **)ret_function = found; // POSIX: a function's address fits in void *
    return found != NULL;
}

static void load(void)
{
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    loaded = handle && find(handle, "rdma_create_event_channel", &library.create_event_channel) &&
             find(handle, "rdma_destroy_event_channel", &library.destroy_event_channel) &&
             find(handle, "rdma_create_id", &library.create_id) &&
             find(handle, "rdma_destroy_id", &library.destroy_id) &&
             find(handle, "rdma_resolve_addr", &library.resolve_addr) &&
             find(handle, "rdma_get_cm_event", &library.get_cm_event) &&
             find(handle, "rdma_ack_cm_event", &library.ack_cm_event);
}

int ofi_resolver_open(struct ofi *ofi)
{
    pthread_once(&load_once, load);
    if (!loaded) {
        pawl_log_error("%s can't be used: install the package librdmacm1", LIBRARY);
        return -ENODATA;
    }
    struct rdma_event_channel *channel = library.create_event_channel();
    if (!channel) {
        return errno > 0 ? -errno : -ENODEV;
    }
    int flags = fcntl(channel->fd, F_GETFL);
    if (flags < 0 || fcntl(channel->fd, F_SETFL, flags | O_NONBLOCK) < 0) {
        int rc = -errno;
        library.destroy_event_channel(channel);
        return rc;
    }
    ofi->resolver = channel;
    return 0;
}

void ofi_resolver_close(struct ofi *ofi)
{
    if (ofi->resolver) {
        library.destroy_event_channel(ofi->resolver);
        ofi->resolver = NULL;
    }
}

int ofi_resolver_fd(const struct ofi *ofi)
{
    const struct rdma_event_channel *channel = ofi->resolver;
    return channel->fd;
}

int ofi_resolve_start(struct fabric_conn *conn, struct fi_info *info)
{
    struct ofi *ofi = conn->fabric->state;
    struct ofi_resolve *resolve = calloc(1, sizeof(*resolve));
    if (!resolve) {
        fi_freeinfo(info);
        return -ENOMEM;
    }
    resolve->conn = conn;
    resolve->info = info;
    conn->resolve = resolve; // from here on ofi_resolve_end() takes it all back
    if (library.create_id(ofi->resolver, &resolve->id, resolve, RDMA_PS_TCP) != 0) {
        resolve->id = NULL;
        return errno > 0 ? -errno : -ENODEV;
    }
    int timeout_ms = (int)PAWL_MIN(conn->deadline_ms, (uint64_t)INT32_MAX);
    if (library.resolve_addr(resolve->id, info->src_addr, info->dest_addr, timeout_ms) != 0) {
        return errno > 0 ? -errno : -EHOSTUNREACH;
    }
    return 0;
}

void ofi_resolve_end(struct fabric_conn *conn)
{
    struct ofi_resolve *resolve = conn->resolve;
    if (!resolve) {
        return;
    }
    conn->resolve = NULL;
    // Takes its events that were not read back from the channel.
    if (resolve->id && library.destroy_id(resolve->id) != 0) {
        pawl_log_error("connection %llu: giving up its look for the way: %s",
                       (unsigned long long)conn->id, strerror(errno));
    }
    fi_freeinfo(resolve->info);
    free(resolve);
}

static void resolved(struct fabric_conn *conn, enum rdma_cm_event_type type, int status)
{
    struct ofi_resolve *resolve = conn->resolve;
    int rc = -EHOSTUNREACH;
    if (type == RDMA_CM_EVENT_ADDR_RESOLVED) {
        struct fi_info *info = resolve->info;
        resolve->info = NULL;
        ofi_resolve_end(conn);
        rc = ofi_connect_to(conn, info);
        fi_freeinfo(info);
    } else if (status < 0) {
        rc = status;
    }
    if (rc < 0) {
        pawl_log_limited(&resolve_limit, PAWL_LOG_INFO, "connection %llu: no way to %s: %s",
                         (unsigned long long)conn->id, conn->peer, strerror(-rc));
        fabric_conn_lost(conn, PAWL_EDISCONNECTED);
    }
}

void ofi_resolver_progress(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    struct rdma_cm_event *event = NULL;
    while (library.get_cm_event(ofi->resolver, &event) == 0) {
        struct ofi_resolve *resolve = event->id->context;
        enum rdma_cm_event_type type = event->event;
        int status = event->status;
        (void)library.ack_cm_event(event); // an id isn't destroyed before its events are answered
        resolved(resolve->conn, type, status);
    }
}
