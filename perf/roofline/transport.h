// SPDX-License-Identifier: Apache-2.0
// Inside of a node: connections straight over libfabric, without Pawl's own fabric, which is what is to be measured.
//
// Connected endpoints (FI_EP_MSG), one domain and one completion queue per thread (FI_THREAD_DOMAIN). A write and
// then a message arrive in this order. Any connection that ends, and any operation that fails, is an
// error of transport_poll(), with `error` filled: a run has no use for what is left.
// Thread: the one that opened it.
#ifndef PAWL_PERF_ROOFLINE_TRANSPORT_H
#define PAWL_PERF_ROOFLINE_TRANSPORT_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>

#include "perf/roofline/roofline.h"

#define TRANSPORT_CONNS_MAX 80u
#define TRANSPORT_FDS 2

struct transport;
struct transport_conn;

enum transport_kind { TRANSPORT_RECEIVE = 1, TRANSPORT_SEND, TRANSPORT_WRITE };

// Belongs to the transport from transport_post() until `done`.
struct transport_op {
    struct fi_context2 context; // first: libfabric hands its address back
    struct transport_conn *conn;
    struct transport_op *next; // in the connection's queue, or its owner's pool
    void *memory;
    size_t bytes;
    void *desc;
    uint64_t remote, key; // of a write
    enum transport_kind kind;
    void *user;
};

struct transport_region {
    struct fid_mr *mr;
    void *desc;
    uint64_t key;
    uint64_t remote; // of the first byte, for peers
};

// What a connector says of itself.
struct transport_greeting {
    uint32_t magic;
    uint32_t is_link; // a server; else a client
    uint32_t index;
    uint32_t reserved;
};

struct transport_conn {
    struct transport *transport;
    struct fid_ep *ep;
    struct transport_greeting greeting; // of the connector
    bool is_open;
    void *user;
    struct transport_op *receives;
    uint32_t receives_count, receive_bytes;
    uint8_t *slab;
    struct transport_region slab_region;
    struct transport_op *queue, **queue_end; // waits for the provider to have room
};

struct transport_calls {
    // Completions have no descriptor to sleep on: libfabric then waits by a cheaper system call. As fi_pingpong.
    bool is_spinning;
    // A connector is about to be accepted: how many messages of which size may be on their way? 0: refuse.
    uint32_t (*accept)(void *user, const struct transport_greeting *greeting, uint32_t *ret_bytes);
    int (*opened)(void *user, struct transport_conn *conn);
    // The bytes are gone when this returns.
    int (*message)(void *user, struct transport_conn *conn, const void *bytes, uint32_t count);
    void (*done)(void *user, struct transport_op *op); // sends and writes
};

struct transport {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_cq *cq;
    struct fid_eq *eq;
    struct fid_pep *pep;
    int fds[TRANSPORT_FDS];
    bool needs_local, is_virtual;
    size_t inject_bytes;
    uint64_t next_key;
    uint32_t empty_polls;
    const struct transport_calls *calls;
    void *user;
    struct transport_conn *conns[TRANSPORT_CONNS_MAX];
    uint32_t conns_count;
    uint64_t messages_count, message_bytes, transfers_count;
    char error[ROOFLINE_TEXT_MAX];
};

// host: this side's address for listeners, NULL for those that only connect.
int transport_open(struct transport *t, const char *provider, const char *host,
                   const struct transport_calls *calls, void *user) PAWL_MUST_CHECK;
void transport_close(struct transport *t); // also what is half open
int transport_listen(struct transport *t, uint16_t *ret_port) PAWL_MUST_CHECK;
int transport_connect(struct transport *t, const char *host, uint16_t port,
                      const struct transport_greeting *greeting, uint32_t receives_count,
                      uint32_t receive_bytes, struct transport_conn **ret) PAWL_MUST_CHECK;
int transport_region_open(struct transport *t, void *memory, size_t bytes,
                          struct transport_region *ret) PAWL_MUST_CHECK;
void transport_region_close(struct transport_region *region);

// Sends or writes. Takes it even when the provider has no room now.
int transport_post(struct transport_conn *conn, struct transport_op *op) PAWL_MUST_CHECK;

// Completions and connections; how many, or -errno.
int transport_poll(struct transport *t) PAWL_MUST_CHECK;
// True: the thread may sleep on t->fds.
bool transport_may_sleep(struct transport *t);

int transport_fail(struct transport *t, int code, const char *what);

#endif
