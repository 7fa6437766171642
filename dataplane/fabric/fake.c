// SPDX-License-Identifier: Apache-2.0
// The fake provider: fabrics of one process, joined by queues under one lock.
//
// Each endpoint has an inbox of records, in the order in which the peer posted them. A record is
// acted on when the owner of the inbox polls: a message needs a posted receive and blocks what is
// behind it until there is one; a write or a read copies memory of both sides, under the lock, and
// answers with a completion. So does a message that refers to payloads. A destroyed endpoint takes
// back what of these has not been acted on, so memory is never touched after the owner has been told
// that it is free again.
#include "dataplane/fabric/fake.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/fabric/fabric_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define INBOX_MAX 4096u

enum fake_kind {
    FAKE_REQUEST = 1, // a client asks; in the inbox of a listening fabric
    FAKE_ACCEPTED,
    FAKE_REFUSED,
    FAKE_SEND,
    FAKE_WRITE,
    FAKE_READ,
    FAKE_COMPLETION,
    FAKE_SHUTDOWN,
};

struct fake_endpoint;

struct fake_record {
    struct pawl_list link;
    enum fake_kind kind;
    struct fake_endpoint *from; // of a request
    struct fabric_op *op; // of a write, read or completion, or of a message that refers to payloads
    size_t bytes;
    unsigned char data[];
};

struct fake {
    struct fabric *fabric;
    struct pawl_list link; // in all
    struct pawl_list requests;
    struct pawl_list endpoints;
    unsigned number;
    uint32_t capacity;
    bool is_dark;
    int event_fd;
};

struct fake_endpoint {
    struct fake *home;
    struct pawl_list link;
    struct fabric_conn *conn;
    struct fake_endpoint *peer;
    struct pawl_list inbox;
    struct pawl_list receives; // posted, by op->link
    uint32_t inbox_count;
    uint32_t pending_count; // own operations without a completion
};

// One lock for all: callbacks of the common part run under it and may come back.
static pthread_mutex_t fake_lock;
static pthread_once_t fake_once = PTHREAD_ONCE_INIT;
static struct pawl_list fake_all;
static unsigned fake_last_number;
static void (*fake_open_hook)(void);

static void fake_init(void)
{
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&fake_lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pawl_list_init(&fake_all);
}

static void lock(void)
{
    pthread_mutex_lock(&fake_lock);
}

static void unlock(void)
{
    pthread_mutex_unlock(&fake_lock);
}

static void wake(struct fake *fake)
{
    uint64_t one = 1;
    ssize_t rc = write(fake->event_fd, &one, sizeof(one));
    (void)rc; // full means awake
}

static struct fake_record *record_new(enum fake_kind kind, const void *data, size_t bytes)
{
    struct fake_record *record = calloc(1, sizeof(*record) + bytes);
    pawl_assert(record != NULL); // a test's helper
    record->kind = kind;
    record->bytes = bytes;
    if (bytes > 0) {
        memcpy(record->data, data, bytes);
    }
    return record;
}

static void inbox_push(struct fake_endpoint *to, struct fake_record *record)
{
    pawl_list_push_back(&to->inbox, &record->link);
    to->inbox_count++;
    wake(to->home);
}

static struct fake_record *inbox_pop(struct fake_endpoint *ep)
{
    struct pawl_list *node = pawl_list_pop_front(&ep->inbox);
    if (!node) {
        return NULL;
    }
    ep->inbox_count--;
    return pawl_container_of(node, struct fake_record, link);
}

static void list_free(struct pawl_list *list)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(list)) != NULL) {
        free(pawl_container_of(node, struct fake_record, link));
    }
}

static int fake_open(struct fabric *fabric)
{
    pthread_once(&fake_once, fake_init);
    if (fake_open_hook) {
        fake_open_hook();
    }
    struct fake *fake = calloc(1, sizeof(*fake));
    if (!fake) {
        return -ENOMEM;
    }
    fake->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fake->event_fd < 0) {
        free(fake);
        return -errno;
    }
    fake->fabric = fabric;
    pawl_list_init(&fake->requests);
    pawl_list_init(&fake->endpoints);
    fabric->state = fake;
    fabric->inject_bytes = 64;
    fabric->pieces_max = FABRIC_PIECES_MAX;
    fabric->can_probe = true;
    snprintf(fabric->description, sizeof(fabric->description), "fake (in this process)");
    lock();
    pawl_list_push_back(&fake_all, &fake->link);
    unlock();
    return 0;
}

static void fake_close(struct fabric *fabric)
{
    struct fake *fake = fabric->state;
    lock();
    pawl_list_remove(&fake->link);
    list_free(&fake->requests); // their clients run into their deadlines
    pawl_assert(pawl_list_is_empty(&fake->endpoints));
    unlock();
    close(fake->event_fd);
    free(fake);
    fabric->state = NULL;
}

static struct fake *fake_find(unsigned number)
{
    pawl_list_for_each (node, &fake_all) {
        struct fake *fake = pawl_container_of(node, struct fake, link);
        if (number != 0 && fake->number == number) {
            return fake;
        }
    }
    return NULL;
}

static int fake_listen(struct fabric *fabric)
{
    struct fake *fake = fabric->state;
    unsigned number = fabric->options.port;
    int rc = 0;
    lock();
    if (number == 0) {
        number = 100000 + ++fake_last_number; // beyond all ports
    }
    if (fake_find(number)) {
        rc = -EADDRINUSE;
    } else {
        fake->number = number;
        snprintf(fabric->address, sizeof(fabric->address), "fake://%u", number);
    }
    unlock();
    return rc;
}

static struct fake_endpoint *endpoint_new(struct fabric_conn *conn)
{
    struct fake *fake = conn->fabric->state;
    struct fake_endpoint *ep = calloc(1, sizeof(*ep));
    if (!ep) {
        return NULL;
    }
    ep->home = fake;
    ep->conn = conn;
    pawl_list_init(&ep->inbox);
    pawl_list_init(&ep->receives);
    pawl_list_push_back(&fake->endpoints, &ep->link);
    conn->endpoint = ep;
    return ep;
}

static int fake_connect(struct fabric_conn *conn, const char *host, const char *port)
{
    (void)port;
    struct fabric_greeting greeting = fabric_greeting_of(conn->fabric);
    lock();
    struct fake_endpoint *ep = endpoint_new(conn);
    int rc = ep ? fabric_receives_post(conn) : -ENOMEM;
    if (rc == 0) {
        struct fake *target = fake_find((unsigned)strtoul(host, NULL, 10));
        if (target) {
            struct fake_record *record = record_new(FAKE_REQUEST, &greeting, sizeof(greeting));
            record->from = ep;
            pawl_list_push_back(&target->requests, &record->link);
            wake(target);
        } else {
            inbox_push(ep, record_new(FAKE_SHUTDOWN, NULL, 0)); // nobody there
        }
    }
    unlock();
    return rc;
}

// Takes back what `ep` has asked for and nobody has acted on.
static void requests_withdraw(struct fake_endpoint *ep)
{
    pawl_list_for_each (fakes, &fake_all) {
        struct fake *fake = pawl_container_of(fakes, struct fake, link);
        pawl_list_for_each_safe (node, &fake->requests) {
            struct fake_record *record = pawl_container_of(node, struct fake_record, link);
            if (record->from == ep) {
                pawl_list_remove(&record->link);
                free(record);
            }
        }
    }
    if (!ep->peer) {
        return;
    }
    bool behind = false; // a message never overtakes a write: those behind one go with it
    pawl_list_for_each_safe (node, &ep->peer->inbox) {
        struct fake_record *record = pawl_container_of(node, struct fake_record, link);
        bool borrows = record->kind == FAKE_WRITE || record->kind == FAKE_READ ||
                       (record->kind == FAKE_SEND && record->op);
        behind |= borrows;
        if (borrows || (behind && record->kind == FAKE_SEND)) {
            pawl_list_remove(&record->link);
            ep->peer->inbox_count--;
            free(record);
        }
    }
}

static void fake_destroy(struct fabric_conn *conn)
{
    struct fake_endpoint *ep = conn->endpoint;
    lock();
    requests_withdraw(ep);
    if (ep->peer) {
        inbox_push(ep->peer, record_new(FAKE_SHUTDOWN, NULL, 0));
        ep->peer->peer = NULL;
    }
    while (!pawl_list_is_empty(&ep->receives)) {
        (void)pawl_list_pop_front(&ep->receives);
    }
    list_free(&ep->inbox);
    pawl_list_remove(&ep->link);
    unlock();
    free(ep);
}

static void completion_push(struct fake_endpoint *ep, struct fabric_op *op)
{
    struct fake_record *record = record_new(FAKE_COMPLETION, NULL, 0);
    record->op = op;
    inbox_push(ep, record);
}

static int post_locked(struct fake_endpoint *ep, struct fabric_op *op)
{
    if (op->kind == FABRIC_OP_RECEIVE) {
        pawl_list_remove(&op->link);
        pawl_list_push_back(&ep->receives, &op->link);
        return 0;
    }
    if (ep->home->capacity > 0 && ep->pending_count >= ep->home->capacity) {
        return -EAGAIN;
    }
    if (!ep->peer) {
        return 0; // the end of it is on its way here
    }
    if (ep->peer->inbox_count >= INBOX_MAX) {
        return -EAGAIN;
    }
    ep->pending_count++;
    if (ep->home->is_dark || ep->peer->home->is_dark) {
        return 0;
    }
    if (op->kind == FABRIC_OP_PROBE) {
        completion_push(ep, op);
        return 0;
    }
    if (op->kind == FABRIC_OP_SEND && op->refers_count == 0) {
        inbox_push(ep->peer, record_new(FAKE_SEND, op->memory, op->bytes));
        completion_push(ep, op);
        return 0;
    }
    enum fake_kind kind = op->kind == FABRIC_OP_SEND    ? FAKE_SEND
                          : op->kind == FABRIC_OP_WRITE ? FAKE_WRITE
                                                        : FAKE_READ;
    struct fake_record *record = record_new(kind, NULL, 0);
    record->op = op;
    record->bytes = op->kind == FABRIC_OP_SEND ? op->bytes : 0;
    inbox_push(ep->peer, record);
    return 0;
}

static int fake_post(struct fabric_op *op)
{
    lock();
    int rc = post_locked(op->conn->endpoint, op);
    unlock();
    return rc;
}

static struct fabric_region *region_find(struct fabric *fabric, const struct fabric_op *op)
{
    unsigned wanted = op->kind == FABRIC_OP_WRITE ? FABRIC_REMOTE_WRITE : FABRIC_REMOTE_READ;
    pawl_list_for_each (node, &fabric->regions) {
        struct fabric_region *region = pawl_container_of(node, struct fabric_region, link);
        if (region->key != op->remote_key) {
            continue;
        }
        uint64_t offset = op->remote_address - region->remote_base;
        bool is_inside = offset <= region->bytes && op->bytes <= region->bytes - offset;
        return is_inside && (region->access & wanted) ? region : NULL;
    }
    return NULL;
}

static void both_shut_down(struct fake_endpoint *ep)
{
    struct fake_endpoint *peer = ep->peer;
    list_free(&ep->inbox);
    ep->inbox_count = 0;
    inbox_push(ep, record_new(FAKE_SHUTDOWN, NULL, 0));
    ep->peer = NULL;
    if (peer) {
        list_free(&peer->inbox);
        peer->inbox_count = 0;
        inbox_push(peer, record_new(FAKE_SHUTDOWN, NULL, 0));
        peer->peer = NULL;
    }
}

static void transfer_act(struct fake_endpoint *ep, struct fake_record *record)
{
    struct fabric_op *op = record->op;
    struct fabric_region *region = region_find(ep->home->fabric, op);
    if (!region) {
        pawl_log_warn("connection %llu: remote access outside of any region",
                      (unsigned long long)ep->conn->id);
        both_shut_down(ep);
        return;
    }
    unsigned char *at = region->memory + (op->remote_address - region->remote_base);
    if (op->kind == FABRIC_OP_WRITE) {
        memcpy(at, op->memory, op->bytes);
    } else {
        memcpy(op->memory, at, op->bytes);
    }
    completion_push(ep->peer, op);
}

// Of a packet that refers to payloads, as they are now.
static void pieces_gather(const struct fabric_op *op, unsigned char *to)
{
    struct iovec pieces[FABRIC_PIECES_MAX];
    void *descs[FABRIC_PIECES_MAX];
    uint32_t count = fabric_packet_pieces(op, pieces, descs);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(to, pieces[i].iov_base, pieces[i].iov_len);
        to += pieces[i].iov_len;
    }
}

static void message_act(struct fake_endpoint *ep, struct fake_record *record)
{
    struct fabric_op *op =
        pawl_container_of(pawl_list_pop_front(&ep->receives), struct fabric_op, link);
    if (record->bytes > op->bytes) {
        fabric_op_completed(op, -EMSGSIZE, 0);
        return;
    }
    if (record->op) {
        pieces_gather(record->op, op->memory);
        completion_push(ep->peer, record->op);
    } else {
        memcpy(op->memory, record->data, record->bytes);
    }
    fabric_op_completed(op, 0, record->bytes);
}

// May destroy the endpoint.
static void record_act(struct fake_endpoint *ep, struct fake_record *record)
{
    switch (record->kind) {
    case FAKE_SEND:
        message_act(ep, record);
        break;
    case FAKE_WRITE:
    case FAKE_READ:
        transfer_act(ep, record);
        break;
    case FAKE_COMPLETION:
        ep->pending_count--;
        fabric_op_completed(record->op, 0, 0);
        break;
    case FAKE_ACCEPTED:
        fabric_conn_established(ep->conn, record->data, record->bytes);
        break;
    case FAKE_REFUSED:
        fabric_conn_lost(ep->conn, fabric_refusal_status(ep->conn, record->data, record->bytes));
        break;
    case FAKE_SHUTDOWN:
        fabric_conn_lost(ep->conn, PAWL_EDISCONNECTED);
        break;
    case FAKE_REQUEST:
        break;
    }
}

static void request_act(struct fake *fake, struct fake_record *record)
{
    struct fabric_greeting greeting = fabric_greeting_of(fake->fabric);
    char peer[FABRIC_PEER_MAX];
    snprintf(peer, sizeof(peer), "fake-%llu", (unsigned long long)record->from->conn->id);
    struct fabric_conn *conn = fabric_conn_request(fake->fabric, record->data, record->bytes, peer);
    struct fake_endpoint *ep = conn ? endpoint_new(conn) : NULL;
    if (!ep || fabric_receives_post(conn) < 0) {
        if (conn) {
            fabric_conn_close(conn, -ENOMEM);
        }
        inbox_push(record->from, record_new(FAKE_REFUSED, &greeting, sizeof(greeting)));
        return;
    }
    ep->peer = record->from;
    record->from->peer = ep;
    inbox_push(record->from, record_new(FAKE_ACCEPTED, &greeting, sizeof(greeting)));
    fabric_conn_established(conn, NULL, 0);
}

// An endpoint whose first record can be acted on now.
static struct fake_endpoint *endpoint_ready(struct fake *fake)
{
    pawl_list_for_each (node, &fake->endpoints) {
        struct fake_endpoint *ep = pawl_container_of(node, struct fake_endpoint, link);
        struct pawl_list *first = pawl_list_first(&ep->inbox);
        if (!first) {
            continue;
        }
        struct fake_record *record = pawl_container_of(first, struct fake_record, link);
        if (record->kind != FAKE_SEND || !pawl_list_is_empty(&ep->receives)) {
            return ep;
        }
    }
    return NULL;
}

static void fake_progress(struct fabric *fabric)
{
    struct fake *fake = fabric->state;
    struct fake_endpoint *ep = NULL;
    uint64_t count;
    ssize_t rc = read(fake->event_fd, &count, sizeof(count));
    (void)rc; // nothing there is normal
    lock();
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&fake->requests)) != NULL) {
        struct fake_record *record = pawl_container_of(node, struct fake_record, link);
        request_act(fake, record);
        free(record);
    }
    while (fabric_room(fabric) > 0 && (ep = endpoint_ready(fake)) != NULL) {
        struct fake_record *record = inbox_pop(ep);
        pawl_list_remove(&ep->link); // every endpoint gets its turn
        pawl_list_push_back(&fake->endpoints, &ep->link);
        record_act(ep, record);
        free(record);
    }
    bool is_empty = fabric_room(fabric) > 0;
    unlock();
    if (is_empty) {
        fabric_drained(fabric);
    }
}

static int fake_region_open(struct fabric_region *region)
{
    static uint64_t last_key;
    lock();
    region->key = (++last_key << 8) | 0xfe;
    unlock();
    region->remote_base = (uintptr_t)region->memory;
    return 0;
}

static void fake_region_close(struct fabric_region *region)
{
    (void)region;
}

static int fake_wait_fds(const struct fabric *fabric, int fds[FABRIC_FDS_MAX])
{
    const struct fake *fake = fabric->state;
    fds[0] = fake->event_fd;
    return 1;
}

static int fake_try_wait(struct fabric *fabric)
{
    struct fake *fake = fabric->state;
    lock();
    bool has_work = !pawl_list_is_empty(&fake->requests) || endpoint_ready(fake);
    unlock();
    return has_work ? -EAGAIN : 0;
}

void fabric_fake_drop(struct fabric_conn *conn)
{
    lock();
    if (conn->state != FABRIC_CONN_CLOSING) {
        both_shut_down(conn->endpoint);
    }
    unlock();
}

void fabric_fake_set_dark(struct fabric *fabric)
{
    struct fake *fake = fabric->state;
    lock();
    fake->is_dark = true;
    unlock();
}

void fabric_fake_set_open_hook(void (*hook)(void))
{
    fake_open_hook = hook;
}

void fabric_fake_set_capacity(struct fabric *fabric, uint32_t count)
{
    struct fake *fake = fabric->state;
    lock();
    fake->capacity = count;
    unlock();
}

const struct fabric_provider fabric_provider_fake = {
    .open = fake_open,
    .close = fake_close,
    .listen = fake_listen,
    .connect = fake_connect,
    .destroy = fake_destroy,
    .post = fake_post,
    .progress = fake_progress,
    .region_open = fake_region_open,
    .region_close = fake_region_close,
    .wait_fds = fake_wait_fds,
    .try_wait = fake_try_wait,
};
