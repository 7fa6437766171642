// SPDX-License-Identifier: Apache-2.0
// The libfabric provider of the fabric: posting operations and reading their completions.
#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define CQ_BATCH 32
// Between two looks at the event queue while completions keep coming.
#define EQ_NS 100000u
#define EQ_POLLS 16

_Static_assert(sizeof(struct fi_context2) <= sizeof(((struct fabric_op *)0)->context),
               "fabric_op.context");

static struct pawl_log_limit cq_limit;

static ssize_t send_post(struct fid_ep *ep, struct fabric_op *op)
{
    struct iovec pieces[FABRIC_PIECES_MAX];
    void *descs[FABRIC_PIECES_MAX];
    struct fi_msg msg = {
        .msg_iov = pieces,
        .desc = descs,
        .iov_count = fabric_packet_pieces(op, pieces, descs),
        .context = op->context,
    };
    uint64_t inject = op->bytes <= op->conn->fabric->inject_bytes ? FI_INJECT : 0;
    return fi_sendmsg(ep, &msg, FI_COMPLETION | inject);
}

int ofi_post(struct fabric_op *op)
{
    struct fid_ep *ep = op->conn->endpoint;
    ssize_t rc = -FI_EINVAL;
    switch (op->kind) {
    case FABRIC_OP_RECEIVE:
        rc = fi_recv(ep, op->memory, op->bytes, op->desc, FI_ADDR_UNSPEC, op->context);
        break;
    case FABRIC_OP_SEND:
        rc = send_post(ep, op);
        break;
    case FABRIC_OP_WRITE:
        rc = fi_write(ep, op->memory, op->bytes, op->desc, FI_ADDR_UNSPEC, op->remote_address,
                      op->remote_key, op->context);
        break;
    case FABRIC_OP_READ:
    case FABRIC_OP_PROBE:
        rc = fi_read(ep, op->memory, op->bytes, op->desc, FI_ADDR_UNSPEC, op->remote_address,
                     op->remote_key, op->context);
        break;
    }
    return (int)rc;
}

static struct fabric_op *op_of(void *context)
{
    return context ? pawl_container_of(context, struct fabric_op, context) : NULL;
}

// False when there was no error to read after all.
static bool error_read(struct ofi *ofi)
{
    struct fi_cq_err_entry entry;
    memset(&entry, 0, sizeof(entry));
    ssize_t rc = fi_cq_readerr(ofi->cq, &entry, 0);
    if (rc < 0) {
        return false;
    }
    struct fabric_op *op = op_of(entry.op_context);
    if (op) {
        fabric_op_completed(op, entry.err > 0 ? -entry.err : -EIO, 0);
    }
    return true;
}

// True when the queue was found empty.
static bool completions_read(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    struct fi_cq_msg_entry entries[CQ_BATCH];
    int room;
    while ((room = fabric_room(fabric)) > 0) {
        ssize_t wanted = PAWL_MIN(room, CQ_BATCH);
        ssize_t count = fi_cq_read(ofi->cq, entries, (size_t)wanted);
        if (count == -FI_EAGAIN) {
            return true;
        }
        if (count == -FI_EAVAIL) {
            if (!error_read(ofi)) {
                return false;
            }
            continue;
        }
        if (count < 0) {
            pawl_log_limited(&cq_limit, PAWL_LOG_ERROR, "completion queue: %s",
                             fi_strerror((int)-count));
            return false;
        }
        for (ssize_t i = 0; i < count; i++) {
            struct fabric_op *op = op_of(entries[i].op_context);
            if (op) {
                fabric_op_completed(op, 0, entries[i].len);
            }
        }
        // Reading again would cost a system call. Errors may still stand behind what was given, so that
        // only -FI_EAGAIN says empty.
        if (count < wanted && !fabric_awaits_drain(fabric)) {
            return false;
        }
    }
    return false;
}

void ofi_progress(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    int used = fabric->events_used;
    bool is_making = !pawl_list_is_empty(&fabric->making);
    if (is_making && ofi->resolver) {
        ofi_resolver_progress(fabric);
    }
    bool is_due =
        is_making || ++ofi->polls_count >= EQ_POLLS || fabric->now_ns - ofi->eq_ns >= EQ_NS;
    if (is_due) {
        ofi_events_read(fabric);
    }
    bool is_empty = completions_read(fabric);
    is_due = !is_due && (ofi->woken || !ofi->eq_tells);
    ofi->woken = false;
    // A shutdown is reported by the event queue while the completion queue is read.
    if (is_empty && fabric->events_used == used && is_due) {
        ofi_events_read(fabric);
        is_empty = completions_read(fabric);
    }
    if (is_empty) {
        fabric_drained(fabric);
    }
    if (ofi->guard) {
        listener_guard_sweep(ofi->guard, fabric->now_ns);
    }
}
