// SPDX-License-Identifier: Apache-2.0
// Connections straight over libfabric: listening, connecting, accepting, the event queue.
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "perf/roofline/transport_private.h"

#define GREETING_MAGIC 0x47465250u // "PRFG"

void transport_peer_name(const struct transport_conn *conn, char *text, size_t bytes,
                         const char *what)
{
    snprintf(text, bytes, "%s (%s %u)", what, conn->greeting.is_link ? "server" : "client",
             conn->greeting.index);
}

static int receives_open(struct transport_conn *conn)
{
    struct transport *t = conn->transport;
    size_t stride = pawl_align_up(conn->receive_bytes, 64);
    size_t bytes = pawl_align_up(stride * conn->receives_count, 4096);

    conn->slab = aligned_alloc(4096, bytes);
    conn->receives = calloc(conn->receives_count, sizeof(*conn->receives));
    if (conn->slab == NULL || conn->receives == NULL) {
        return -ENOMEM;
    }
    if (t->needs_local) {
        int rc = transport_region_open(t, conn->slab, bytes, &conn->slab_region);
        if (rc != 0) {
            return rc;
        }
    }
    for (uint32_t i = 0; i < conn->receives_count; i++) {
        struct transport_op *op = &conn->receives[i];
        op->kind = TRANSPORT_RECEIVE;
        op->conn = conn;
        op->memory = conn->slab + i * stride;
        op->bytes = conn->receive_bytes;
        op->desc = conn->slab_region.desc;
        int rc = transport_receive_post(op);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

// The connection is in t->conns, half open, even when this fails.
static int conn_open(struct transport *t, struct fi_info *info,
                     const struct transport_greeting *greeting, uint32_t receives_count,
                     uint32_t receive_bytes, struct transport_conn **ret)
{
    if (t->conns_count == TRANSPORT_CONNS_MAX) {
        return -EMFILE;
    }
    struct transport_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        return -ENOMEM;
    }
    conn->transport = t;
    conn->queue_end = &conn->queue;
    conn->greeting = *greeting;
    conn->receives_count = receives_count;
    conn->receive_bytes = receive_bytes;
    t->conns[t->conns_count++] = conn;
    int rc = fi_endpoint(t->domain, info, &conn->ep, conn);
    if (rc == 0) {
        rc = fi_ep_bind(conn->ep, &t->eq->fid, 0);
    }
    if (rc == 0) {
        rc = fi_ep_bind(conn->ep, &t->cq->fid, FI_TRANSMIT | FI_RECV);
    }
    if (rc == 0) {
        rc = fi_enable(conn->ep);
    }
    if (rc == 0) {
        rc = receives_open(conn);
    }
    *ret = conn;
    return rc;
}

int transport_listen(struct transport *t, uint16_t *ret_port)
{
    struct sockaddr_storage address = {0};
    size_t bytes = sizeof(address);
    int rc = fi_passive_ep(t->fabric, t->info, &t->pep, NULL);

    if (rc == 0) {
        rc = fi_pep_bind(t->pep, &t->eq->fid, 0);
    }
    if (rc == 0) {
        rc = fi_listen(t->pep);
    }
    if (rc == 0) {
        rc = fi_getname(&t->pep->fid, &address, &bytes);
    }
    if (rc != 0) {
        return transport_fail(t, rc, "listening");
    }
    const struct sockaddr_in *in = (const void *)&address;
    const struct sockaddr_in6 *in6 = (const void *)&address;
    *ret_port = ntohs(address.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
    return 0;
}

// A copy of our info that leads to host and port.
static struct fi_info *info_to(const struct transport *t, const char *host, uint16_t port)
{
    struct addrinfo want = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                            .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char service[8];

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &want, &found) != 0) {
        return NULL;
    }
    struct fi_info *info = fi_dupinfo(t->info);
    void *address = malloc(found->ai_addrlen);
    if (info != NULL && address != NULL) {
        memcpy(address, found->ai_addr, found->ai_addrlen);
        free(info->src_addr);
        info->src_addr = NULL;
        info->src_addrlen = 0;
        free(info->dest_addr);
        info->dest_addr = address;
        info->dest_addrlen = found->ai_addrlen;
        info->addr_format = found->ai_family == AF_INET6 ? FI_SOCKADDR_IN6 : FI_SOCKADDR_IN;
    } else {
        free(address);
    }
    freeaddrinfo(found);
    return info;
}

int transport_connect(struct transport *t, const char *host, uint16_t port,
                      const struct transport_greeting *greeting, uint32_t receives_count,
                      uint32_t receive_bytes, struct transport_conn **ret)
{
    struct transport_greeting said = *greeting;
    struct fi_info *info = info_to(t, host, port);
    int rc = info != NULL ? 0 : -EINVAL;

    said.magic = GREETING_MAGIC;
    if (rc == 0) {
        rc = conn_open(t, info, &said, receives_count, receive_bytes, ret);
    }
    if (rc == 0) {
        rc = fi_connect((*ret)->ep, info->dest_addr, &said, sizeof(said));
    }
    fi_freeinfo(info);
    return rc == 0 ? 0 : transport_fail(t, rc, "connecting");
}

// Anybody on this machine may knock: who doesn't greet as a node is refused.
static int request_take(struct transport *t, struct fi_info *info, const void *data, size_t bytes)
{
    struct transport_greeting greeting = {0};
    struct transport_conn *conn = NULL;
    uint32_t receive_bytes = 0;
    uint32_t count = 0;
    int rc = 0;

    memcpy(&greeting, data, PAWL_MIN(bytes, sizeof(greeting)));
    if (bytes >= sizeof(greeting) && greeting.magic == GREETING_MAGIC) {
        count = t->calls->accept(t->user, &greeting, &receive_bytes);
    }
    if (count == 0) {
        (void)fi_reject(t->pep, info->handle, NULL, 0);
    } else {
        rc = conn_open(t, info, &greeting, count, receive_bytes, &conn);
        rc = rc == 0 ? fi_accept(conn->ep, NULL, 0) : rc;
    }
    fi_freeinfo(info);
    return rc == 0 ? 0 : transport_fail(t, rc, "accepting");
}

static struct transport_conn *conn_of(struct transport *t, const struct fid *fid)
{
    for (uint32_t i = 0; i < t->conns_count; i++) {
        if (t->conns[i]->ep != NULL && &t->conns[i]->ep->fid == fid) {
            return t->conns[i];
        }
    }
    return NULL;
}

static int event_error(struct transport *t)
{
    struct fi_eq_err_entry entry = {0};

    if (fi_eq_readerr(t->eq, &entry, 0) < 0) {
        return 0;
    }
    return transport_fail(t, entry.err > 0 ? -entry.err : -EIO, "a connection failed");
}

static int event_take(struct transport *t, uint32_t type, struct fi_eq_cm_entry *entry,
                      size_t bytes)
{
    char what[96];

    if (type == FI_CONNREQ) {
        return request_take(t, entry->info, entry->data, bytes - sizeof(*entry));
    }
    struct transport_conn *conn = conn_of(t, entry->fid);
    if (conn == NULL) {
        return 0;
    }
    if (type == FI_CONNECTED) {
        conn->is_open = true;
        return t->calls->opened(t->user, conn);
    }
    transport_peer_name(conn, what, sizeof(what), "a peer is gone");
    return type == FI_SHUTDOWN ? transport_fail(t, -ECONNRESET, what) : 0;
}

union event_buffer {
    struct fi_eq_cm_entry entry;
    unsigned char bytes[sizeof(struct fi_eq_cm_entry) + 512];
};

static ssize_t event_read(struct transport *t, uint32_t *ret_type, union event_buffer *buffer,
                          uint64_t flags)
{
    errno = 0; // the tcp provider takes a stale EAGAIN for its own (dataplane/fabric/ofi_cm.c)
    return fi_eq_read(t->eq, ret_type, buffer, sizeof(*buffer), flags);
}

bool transport_events_pending(struct transport *t)
{
    union event_buffer buffer;
    uint32_t type = 0;

    return event_read(t, &type, &buffer, FI_PEEK) != -FI_EAGAIN;
}

int transport_events_poll(struct transport *t)
{
    union event_buffer buffer;
    int taken = 0;

    for (;;) {
        uint32_t type = 0;
        ssize_t rc = event_read(t, &type, &buffer, 0);
        if (rc == -FI_EAGAIN) {
            return taken;
        }
        int code = rc == -FI_EAVAIL ? event_error(t)
                   : rc < 0         ? transport_fail(t, (int)rc, "the event queue")
                                    : event_take(t, type, &buffer.entry, (size_t)rc);
        if (code != 0) {
            return code;
        }
        taken++;
    }
}
