// SPDX-License-Identifier: Apache-2.0
// Inside of the libfabric provider of the fabric: what its three files share.
#ifndef PAWL_DATAPLANE_FABRIC_OFI_PRIVATE_H
#define PAWL_DATAPLANE_FABRIC_OFI_PRIVATE_H

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_errno.h>
#include <rdma/fi_rma.h>

#include "base/random.h"
#include "dataplane/fabric/fabric_private.h"

#define OFI_VERSION FI_VERSION(1, 17)

// One completion queue and one event queue serve all connections of a fabric.
struct ofi {
    struct fi_info *info;
    struct fid_fabric *fabric;
    struct fid_domain *domain;
    struct fid_eq *eq;
    struct fid_cq *cq;
    struct fid_pep *pep;
    int eq_fd, cq_fd;
    bool is_tcp; // software: queues grow, and the listening port needs a guard
    uint64_t mr_mode;
    size_t cq_size;
    uint64_t eq_ns;       // when the event queue was read
    uint32_t polls_count; // since then
    // tcp up to 1.17: what the event queue has shows at its descriptor, and stays there until
    // fi_trywait(). So it is looked at when its owner woke without a completion, not at each poll.
    bool eq_tells;
    bool eq_read; // since fi_trywait()
    bool woken;   // the owner has waited since the last poll
    struct listener_guard *guard;
    void *resolver; // event channel of rdma_cm; NULL where the provider resolves without waiting
    struct pawl_random keys;
};

// "192.0.2.1:4711" of a socket address.
void ofi_address_text(const void *address, char *text, size_t bytes);
int ofi_listen(struct fabric *fabric) PAWL_MUST_CHECK;
int ofi_connect(struct fabric_conn *conn, const char *host, const char *port) PAWL_MUST_CHECK;
// Makes the endpoint and starts to connect to info->dest_addr.
int ofi_connect_to(struct fabric_conn *conn, struct fi_info *info) PAWL_MUST_CHECK;
void ofi_listener_close(struct fabric *fabric);
void ofi_destroy(struct fabric_conn *conn);
void ofi_events_read(struct fabric *fabric);
bool ofi_events_pending(struct fabric *fabric);
int ofi_post(struct fabric_op *op) PAWL_MUST_CHECK;
void ofi_progress(struct fabric *fabric);

// ofi_resolve.c: looks for the way to a peer first, and then calls ofi_connect_to().
int ofi_resolver_open(struct ofi *ofi) PAWL_MUST_CHECK;
void ofi_resolver_close(struct ofi *ofi);
int ofi_resolver_fd(const struct ofi *ofi);
void ofi_resolver_progress(struct fabric *fabric);
// TAKES info, also when it fails.
int ofi_resolve_start(struct fabric_conn *conn, struct fi_info *info) PAWL_MUST_CHECK;
void ofi_resolve_end(struct fabric_conn *conn);

// This thread asks libfabric for what it may refuse: its warnings are not wanted.
void ofi_log_hush(bool hush);

// Loads libfabric; -ENODATA (logged) when it isn't there. Before any other call of it.
int ofi_load(void) PAWL_MUST_CHECK;

#endif
