// SPDX-License-Identifier: Apache-2.0
// Connections straight over libfabric: opening, registering, posting, completions.
#include "perf/roofline/transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "perf/roofline/transport_private.h"

#define FI_WANTED FI_VERSION(1, 17)
#define CQ_ENTRIES 16384u
#define CQ_BATCH 32u
#define POLL_BATCHES 4u // then the disk has its turn
#define EQ_EVERY 64u    // polls in a row without a completion between two looks at the event queue

int transport_fail(struct transport *t, int code, const char *what)
{
    if (t->error[0] == '\0') {
        snprintf(t->error, sizeof(t->error), "%s: %s", what, fi_strerror(-code));
    }
    return code < 0 ? code : -EIO;
}

static int info_get(struct transport *t, const char *provider, const char *host)
{
    struct fi_info *hints = fi_allocinfo();

    if (hints == NULL) {
        return -ENOMEM;
    }
    hints->caps = FI_MSG | FI_RMA;
    hints->mode = FI_CONTEXT | FI_CONTEXT2 | FI_RX_CQ_DATA;
    hints->ep_attr->type = FI_EP_MSG;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->tx_attr->msg_order = FI_ORDER_SAW | FI_ORDER_SAS;
    hints->rx_attr->msg_order = FI_ORDER_SAW | FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(provider);
    struct fi_info *list = NULL;
    int rc = fi_getinfo(FI_WANTED, host, host != NULL ? "0" : NULL, host != NULL ? FI_SOURCE : 0,
                        hints, &list);
    fi_freeinfo(hints);
    if (rc < 0) {
        return rc;
    }
    for (struct fi_info *info = list; info != NULL && t->info == NULL; info = info->next) {
        if (strcmp(info->fabric_attr->prov_name, provider) == 0) {
            t->info = fi_dupinfo(info);
        }
    }
    fi_freeinfo(list);
    return t->info != NULL ? 0 : -FI_ENODATA;
}

static int queues_open(struct transport *t)
{
    struct fi_eq_attr eq = {.wait_obj = FI_WAIT_FD};
    bool is_spinning = t->calls->is_spinning;
    struct fi_cq_attr cq = {.size = CQ_ENTRIES,
                            .format = FI_CQ_FORMAT_MSG,
                            .wait_obj = is_spinning ? FI_WAIT_NONE : FI_WAIT_FD};
    int rc = fi_eq_open(t->fabric, &eq, &t->eq, NULL);

    if (rc == 0) {
        rc = fi_cq_open(t->domain, &cq, &t->cq, NULL);
    }
    if (rc == 0 && !is_spinning) {
        rc = fi_control(&t->cq->fid, FI_GETWAIT, &t->fds[0]);
    }
    if (rc == 0 && !is_spinning) {
        rc = fi_control(&t->eq->fid, FI_GETWAIT, &t->fds[1]);
    }
    return rc;
}

int transport_open(struct transport *t, const char *provider, const char *host,
                   const struct transport_calls *calls, void *user)
{
    memset(t, 0, sizeof(*t));
    t->calls = calls;
    t->user = user;
    int rc = info_get(t, provider, host);
    if (rc == 0) {
        rc = fi_fabric(t->info->fabric_attr, &t->fabric, NULL);
    }
    if (rc == 0) {
        rc = fi_domain(t->fabric, t->info, &t->domain, NULL);
    }
    if (rc == 0) {
        rc = queues_open(t);
    }
    if (rc != 0) {
        return transport_fail(t, rc, "the provider can't be opened");
    }
    t->needs_local = (t->info->domain_attr->mr_mode & FI_MR_LOCAL) != 0;
    t->is_virtual = (t->info->domain_attr->mr_mode & FI_MR_VIRT_ADDR) != 0;
    t->inject_bytes = t->info->tx_attr->inject_size;
    return 0;
}

static void fid_close(struct fid *fid)
{
    if (fid != NULL) {
        (void)fi_close(fid); // the process is about to end
    }
}

void transport_close(struct transport *t)
{
    for (uint32_t i = 0; i < t->conns_count; i++) {
        struct transport_conn *conn = t->conns[i];
        fid_close(conn->ep != NULL ? &conn->ep->fid : NULL);
        transport_region_close(&conn->slab_region);
        free(conn->slab);
        free(conn->receives);
        free(conn);
    }
    fid_close(t->pep != NULL ? &t->pep->fid : NULL);
    fid_close(t->cq != NULL ? &t->cq->fid : NULL);
    fid_close(t->domain != NULL ? &t->domain->fid : NULL);
    fid_close(t->eq != NULL ? &t->eq->fid : NULL);
    fid_close(t->fabric != NULL ? &t->fabric->fid : NULL);
    if (t->info != NULL) {
        fi_freeinfo(t->info);
    }
    *t = (struct transport){0};
}

int transport_region_open(struct transport *t, void *memory, size_t bytes,
                          struct transport_region *ret)
{
    uint64_t access = FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE;
    int rc = fi_mr_reg(t->domain, memory, bytes, access, 0, ++t->next_key, 0, &ret->mr, NULL);

    if (rc != 0) {
        return transport_fail(t, rc, "registering memory (RLIMIT_MEMLOCK?)");
    }
    ret->desc = fi_mr_desc(ret->mr);
    ret->key = fi_mr_key(ret->mr);
    ret->remote = t->is_virtual ? (uintptr_t)memory : 0;
    return 0;
}

void transport_region_close(struct transport_region *region)
{
    fid_close(region->mr != NULL ? &region->mr->fid : NULL);
    region->mr = NULL;
}

static ssize_t op_submit(struct transport_op *op)
{
    struct transport_conn *conn = op->conn;

    if (op->kind == TRANSPORT_WRITE) {
        return fi_write(conn->ep, op->memory, op->bytes, op->desc, FI_ADDR_UNSPEC, op->remote,
                        op->key, &op->context);
    }
    struct iovec iov = {.iov_base = op->memory, .iov_len = op->bytes};
    struct fi_msg msg = {
        .msg_iov = &iov, .desc = &op->desc, .iov_count = 1, .context = &op->context};
    uint64_t inject = op->bytes <= conn->transport->inject_bytes ? FI_INJECT : 0;
    return fi_sendmsg(conn->ep, &msg, FI_COMPLETION | inject);
}

int transport_post(struct transport_conn *conn, struct transport_op *op)
{
    struct transport *t = conn->transport;

    op->conn = conn;
    op->next = NULL;
    if (op->kind == TRANSPORT_WRITE) {
        t->transfers_count++;
    } else {
        t->messages_count++;
        t->message_bytes += op->bytes;
    }
    ssize_t rc = conn->queue != NULL ? -FI_EAGAIN : op_submit(op);
    if (rc == -FI_EAGAIN) {
        *conn->queue_end = op;
        conn->queue_end = &op->next;
        return 0;
    }
    return rc == 0 ? 0 : transport_fail(t, (int)rc, "sending");
}

static int queue_retry(struct transport_conn *conn)
{
    while (conn->queue != NULL) {
        struct transport_op *op = conn->queue;
        ssize_t rc = op_submit(op);
        if (rc == -FI_EAGAIN) {
            return 0;
        }
        if (rc != 0) {
            return transport_fail(conn->transport, (int)rc, "sending");
        }
        conn->queue = op->next;
        if (conn->queue == NULL) {
            conn->queue_end = &conn->queue;
        }
    }
    return 0;
}

int transport_receive_post(struct transport_op *op)
{
    ssize_t rc =
        fi_recv(op->conn->ep, op->memory, op->bytes, op->desc, FI_ADDR_UNSPEC, &op->context);

    return rc == 0 ? 0 : transport_fail(op->conn->transport, (int)rc, "posting a receive");
}

static int completion_error(struct transport *t)
{
    struct fi_cq_err_entry entry = {0};
    ssize_t rc = fi_cq_readerr(t->cq, &entry, 0);

    if (rc == -FI_EAGAIN) {
        return 0;
    }
    struct transport_op *op = rc > 0 ? entry.op_context : NULL;
    char what[96];
    if (op == NULL) {
        return transport_fail(t, -EIO, "a completion with an error");
    }
    transport_peer_name(op->conn, what, sizeof(what), "a peer is gone");
    return transport_fail(t, entry.err > 0 ? -entry.err : -EIO, what);
}

static int completion_take(struct transport *t, const struct fi_cq_msg_entry *entry)
{
    struct transport_op *op = entry->op_context;

    if (op->kind != TRANSPORT_RECEIVE) {
        t->calls->done(t->user, op);
        return 0;
    }
    int rc = t->calls->message(t->user, op->conn, op->memory, (uint32_t)entry->len);
    return rc != 0 ? rc : transport_receive_post(op);
}

static int completions_poll(struct transport *t)
{
    struct fi_cq_msg_entry entries[CQ_BATCH];
    int taken = 0;

    for (uint32_t i = 0; i < POLL_BATCHES; i++) {
        ssize_t count = fi_cq_read(t->cq, entries, CQ_BATCH);
        if (count == -FI_EAGAIN) {
            break;
        }
        if (count == -FI_EAVAIL) {
            int rc = completion_error(t);
            if (rc != 0) {
                return rc;
            }
            continue;
        }
        if (count < 0) {
            return transport_fail(t, (int)count, "the completion queue");
        }
        for (ssize_t j = 0; j < count; j++) {
            int rc = completion_take(t, &entries[j]);
            if (rc != 0) {
                return rc;
            }
        }
        taken += (int)count;
        if (count < CQ_BATCH) {
            break; // what came is answered before another look
        }
    }
    return taken;
}

int transport_poll(struct transport *t)
{
    for (uint32_t i = 0; i < t->conns_count; i++) {
        int rc = t->conns[i]->queue != NULL ? queue_retry(t->conns[i]) : 0;
        if (rc != 0) {
            return rc;
        }
    }
    int taken = completions_poll(t);
    if (taken > 0) {
        t->empty_polls = 0;
        return taken;
    }
    if (taken < 0 || ++t->empty_polls % EQ_EVERY != 0) {
        return taken;
    }
    return transport_events_poll(t);
}

bool transport_may_sleep(struct transport *t)
{
    struct fid *fids[] = {&t->cq->fid, &t->eq->fid};

    pawl_assert(!t->calls->is_spinning);
    for (uint32_t i = 0; i < t->conns_count; i++) {
        if (t->conns[i]->queue != NULL) {
            return false;
        }
    }
    t->empty_polls = EQ_EVERY - 1; // the next poll looks at the event queue, whatever woke us
    return fi_trywait(t->fabric, fids, 2) == 0 && !transport_events_pending(t);
}
