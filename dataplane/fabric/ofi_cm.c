// SPDX-License-Identifier: Apache-2.0
// The libfabric provider of the fabric: listening, connecting, accepting, and the event queue.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/config.h"
#include "base/host.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define EVENT_DATA_MAX 512 // connection data that a provider may hand over

static struct pawl_log_limit cm_limit;

void ofi_address_text(const void *address, char *text, size_t bytes)
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr *sa = address;
    if (sa && sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = address;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(text, bytes, "%s:%u", host, ntohs(in->sin_port));
    } else if (sa && sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = address;
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(text, bytes, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        snprintf(text, bytes, "unknown");
    }
}

static uint16_t address_port(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;
    return ntohs(address->ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
}

static bool address_is_loopback(const struct sockaddr_storage *address)
{
    const struct sockaddr_in *in = (const void *)address;
    const struct sockaddr_in6 *in6 = (const void *)address;
    return address->ss_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr)
                                          : ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

// rdma_cm takes a loopback address for "any device of this host", and listens on that one's address.
static void loopback_check(const struct fabric *fabric, const struct sockaddr_storage *address)
{
    const char *host = fabric->options.host;
    if (host && pawl_host_is_loopback(host) && !address_is_loopback(address)) {
        pawl_log_warn("%s was to be listened on, but provider %s has no loopback: %s can be "
                      "reached by others",
                      host, fabric->options.provider, fabric->address);
    }
}

int ofi_listen(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    struct sockaddr_storage address;
    size_t bytes = sizeof(address);
    char text[FABRIC_PEER_MAX];
    memset(&address, 0, sizeof(address));
    int rc = fi_passive_ep(ofi->fabric, ofi->info, &ofi->pep, NULL);
    if (rc == 0) {
        rc = fi_pep_bind(ofi->pep, &ofi->eq->fid, 0);
    }
    if (rc == 0) {
        rc = fi_listen(ofi->pep);
    }
    if (rc == 0) {
        rc = fi_getname(&ofi->pep->fid, &address, &bytes);
    }
    if (rc < 0) {
        pawl_log_error("listening on %s port %u: %s",
                       fabric->options.host ? fabric->options.host : "any", fabric->options.port,
                       fi_strerror(-rc));
        if (ofi->pep) {
            fi_close(&ofi->pep->fid);
            ofi->pep = NULL;
        }
        return rc;
    }
    ofi_address_text(&address, text, sizeof(text));
    snprintf(fabric->address, sizeof(fabric->address), "%s://%s", fabric->options.provider, text);
    loopback_check(fabric, &address);
    if (ofi->is_tcp && listener_guard_new(fabric, address_port(&address), &ofi->guard) < 0) {
        pawl_log_warn("%s has no guard against peers that never speak", fabric->address);
    }
    return 0;
}

// The listener's port is not the port to connect from.
static void source_take(struct fi_info *info)
{
    struct sockaddr_in *in = info->src_addr;
    struct sockaddr_in6 *in6 = info->src_addr;
    if (in && in->sin_family == AF_INET) {
        in->sin_port = 0;
    } else if (in6 && in6->sin6_family == AF_INET6) {
        in6->sin6_port = 0;
    }
}

// A copy of our info that leads to host and port. libfabric's own look at the route (fi_getinfo) would
// stop this thread for as long as a device needs to find out that the host is dead, and the
// endpoint takes that look anyway. A device is tied to its own address, so that a peer on another
// device of this machine is reached from there; tcp must not be tied to the address that it was
// opened for.
static int info_to(const struct fabric *fabric, const char *host, const char *port,
                   struct fi_info **ret_info)
{
    const struct ofi *ofi = fabric->state;
    struct addrinfo want = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                            .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, port, &want, &found) != 0) {
        return PAWL_EINVALID;
    }
    struct fi_info *info = fi_dupinfo(ofi->info);
    void *address = malloc(found->ai_addrlen);
    if (!info || !address) {
        free(address);
        fi_freeinfo(info);
        freeaddrinfo(found);
        return -ENOMEM;
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    if (ofi->is_tcp) {
        free(info->src_addr);
        info->src_addr = NULL;
        info->src_addrlen = 0;
    } else {
        source_take(info);
    }
    free(info->dest_addr);
    info->dest_addr = address;
    info->dest_addrlen = found->ai_addrlen;
    info->addr_format = found->ai_family == AF_INET6 ? FI_SOCKADDR_IN6 : FI_SOCKADDR_IN;
    freeaddrinfo(found);
    *ret_info = info;
    return 0;
}

// The endpoint of a connection, bound and with its receives posted.
static int endpoint_open(struct fabric_conn *conn, struct fi_info *info)
{
    struct ofi *ofi = conn->fabric->state;
    struct fid_ep *ep = NULL;
    int rc = fi_endpoint(ofi->domain, info, &ep, conn);
    if (rc < 0) {
        return rc;
    }
    conn->endpoint = ep;
    rc = fi_ep_bind(ep, &ofi->eq->fid, 0);
    if (rc == 0) {
        rc = fi_ep_bind(ep, &ofi->cq->fid, FI_TRANSMIT | FI_RECV);
    }
    if (rc == 0) {
        rc = fi_enable(ep);
    }
    if (rc == 0) {
        rc = fabric_receives_post(conn);
    }
    return rc;
}

int ofi_connect_to(struct fabric_conn *conn, struct fi_info *info)
{
    struct fabric_greeting greeting = fabric_greeting_of(conn->fabric);
    int rc = endpoint_open(conn, info);
    if (rc == 0) {
        rc = fi_connect(conn->endpoint, info->dest_addr, &greeting, sizeof(greeting));
    }
    return rc;
}

int ofi_connect(struct fabric_conn *conn, const char *host, const char *port)
{
    const struct ofi *ofi = conn->fabric->state;
    struct fi_info *info = NULL;
    int rc = info_to(conn->fabric, host, port, &info);
    if (rc < 0) {
        return rc;
    }
    if (ofi->resolver) {
        return ofi_resolve_start(conn, info);
    }
    rc = ofi_connect_to(conn, info);
    fi_freeinfo(info);
    return rc;
}

void ofi_destroy(struct fabric_conn *conn)
{
    struct fid_ep *ep = conn->endpoint;
    ofi_resolve_end(conn);
    int rc = ep ? fi_close(&ep->fid) : 0;
    if (rc < 0) {
        pawl_log_error("connection %llu: closing its endpoint: %s", (unsigned long long)conn->id,
                       fi_strerror(-rc));
    }
}

// An event names an endpoint that may be gone: look it up, don't trust it.
static struct fabric_conn *conn_of(struct fabric *fabric, const struct fid *fid)
{
    pawl_list_for_each (node, &fabric->conns) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, link);
        struct fid_ep *ep = conn->endpoint;
        if (ep && &ep->fid == fid) {
            return conn;
        }
    }
    return NULL;
}

static void request_handle(struct fabric *fabric, struct fi_info *info, const void *data,
                           size_t bytes)
{
    struct ofi *ofi = fabric->state;
    struct fabric_greeting greeting = fabric_greeting_of(fabric);
    char peer[FABRIC_PEER_MAX];
    ofi_address_text(info->dest_addr, peer, sizeof(peer));
    struct fabric_conn *conn = fabric_conn_request(fabric, data, bytes, peer);
    int rc = conn ? endpoint_open(conn, info) : -ECONNREFUSED;
    if (rc == 0) {
        rc = fi_accept(conn->endpoint, &greeting, sizeof(greeting));
    }
    if (rc < 0) {
        if (conn) {
            pawl_log_limited(&cm_limit, PAWL_LOG_WARN, "peer %s can't be accepted: %s", peer,
                             fi_strerror(-rc));
            fabric_conn_close(conn, rc);
        }
        (void)fi_reject(ofi->pep, info->handle, &greeting, sizeof(greeting));
    }
    fi_freeinfo(info);
}

static void event_error_read(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    unsigned char data[EVENT_DATA_MAX];
    struct fi_eq_err_entry entry;
    memset(&entry, 0, sizeof(entry));
    entry.err_data = data;
    entry.err_data_size = sizeof(data);
    if (fi_eq_readerr(ofi->eq, &entry, 0) < 0) {
        return;
    }
    struct fabric_conn *conn = conn_of(fabric, entry.fid);
    if (!conn) {
        return;
    }
    bool has_data = entry.err_data == data && entry.err_data_size <= sizeof(data);
    int status = PAWL_EDISCONNECTED;
    if (conn->state == FABRIC_CONN_CONNECTING) {
        status = fabric_refusal_status(conn, data, has_data ? entry.err_data_size : 0);
    }
    pawl_log_limited(&cm_limit, PAWL_LOG_INFO, "connection %llu with %s: %s",
                     (unsigned long long)conn->id, conn->peer, fi_strerror(entry.err));
    fabric_conn_lost(conn, status);
}

static void event_handle(struct fabric *fabric, uint32_t type, struct fi_eq_cm_entry *entry,
                         size_t bytes)
{
    size_t data_bytes = bytes > sizeof(*entry) ? bytes - sizeof(*entry) : 0;
    if (type == FI_CONNREQ) {
        request_handle(fabric, entry->info, entry->data, data_bytes);
        return;
    }
    struct fabric_conn *conn = conn_of(fabric, entry->fid);
    if (!conn) {
        return;
    }
    if (type == FI_CONNECTED) {
        fabric_conn_established(conn, entry->data, data_bytes);
    } else if (type == FI_SHUTDOWN) {
        fabric_conn_lost(conn, PAWL_EDISCONNECTED);
    }
}

union event_buffer {
    struct fi_eq_cm_entry entry;
    unsigned char bytes[sizeof(struct fi_eq_cm_entry) + EVENT_DATA_MAX];
};

static ssize_t event_read(struct ofi *ofi, uint32_t *ret_type, union event_buffer *buffer,
                          uint64_t flags)
{
    // The tcp provider takes a stale EAGAIN for its own when a peer hangs up before it has said all
    // (recv gives 0 and sets nothing), and then keeps the dead socket for ever, always readable.
    errno = 0;
    return fi_eq_read(ofi->eq, ret_type, buffer, sizeof(*buffer), flags);
}

bool ofi_events_pending(struct fabric *fabric)
{
    union event_buffer buffer;
    uint32_t type = 0;
    return event_read(fabric->state, &type, &buffer, FI_PEEK) != -FI_EAGAIN;
}

void ofi_events_read(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    union event_buffer buffer;
    ofi->eq_ns = fabric->now_ns;
    ofi->polls_count = 0;
    ofi->eq_read = true;
    for (;;) {
        uint32_t type = 0;
        ssize_t rc = event_read(ofi, &type, &buffer, 0);
        if (rc == -FI_EAVAIL) {
            event_error_read(fabric);
        } else if (rc < 0) {
            if (rc != -FI_EAGAIN) {
                pawl_log_limited(&cm_limit, PAWL_LOG_ERROR, "event queue: %s",
                                 fi_strerror((int)-rc));
            }
            return;
        } else {
            event_handle(fabric, type, &buffer.entry, (size_t)rc);
        }
    }
}

static void requests_refuse(struct ofi *ofi)
{
    union event_buffer buffer;
    uint32_t type = 0;
    ssize_t rc;
    while ((rc = event_read(ofi, &type, &buffer, 0)) >= 0 || rc == -FI_EAVAIL) {
        if (rc == -FI_EAVAIL) {
            struct fi_eq_err_entry entry;
            memset(&entry, 0, sizeof(entry));
            if (fi_eq_readerr(ofi->eq, &entry, 0) < 0) {
                return;
            }
        } else if (type == FI_CONNREQ) {
            (void)fi_reject(ofi->pep, buffer.entry.info->handle, NULL, 0);
            fi_freeinfo(buffer.entry.info);
        }
    }
}

// Who has asked and not been answered belongs to the provider, which doesn't free it: a request is
// refused, and a peer that has not spoken is cut off, so that the provider sees its end. The provider
// takes one peer from the backlog at a time.
void ofi_listener_close(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    if (!ofi->pep) {
        return;
    }
    requests_refuse(ofi);
    for (int i = 0; ofi->guard && i < 4096 && listener_guard_drop_all(ofi->guard) > 0; i++) {
        requests_refuse(ofi);
    }
    listener_guard_free(ofi->guard);
    ofi->guard = NULL;
    int rc = fi_close(&ofi->pep->fid);
    if (rc < 0) {
        pawl_log_error("closing the listener: %s", fi_strerror(-rc));
    }
    ofi->pep = NULL;
}
