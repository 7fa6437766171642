// SPDX-License-Identifier: Apache-2.0
// Connections: making, announcing, closing and freeing them. See the life of one in
// fabric_private.h.
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/fabric/fabric_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

// Lines that a peer can cause.
static struct pawl_log_limit refuse_limit;
static struct pawl_log_limit close_limit;

static uint64_t next_id(void)
{
    static _Atomic uint64_t last_id;
    return atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
}

// Memory for receives that waits for the next connection: its head. All slabs of a fabric are alike.
struct spare {
    struct pawl_list link;
    struct fabric_region *region;
};
_Static_assert(sizeof(struct spare) <= FABRIC_MESSAGE_ALIGN, "a spare slab holds its head");

// Registering a slab pins each of its pages, on the thread that accepts. So it outlives its
// connection; when it gets here the endpoint is gone and the completion queue was empty.
static int slab_take(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    size_t bytes = pawl_align_up((uint64_t)fabric->stride_bytes * fabric->receives_count, 4096);
    struct pawl_list *node = pawl_list_pop_front(&fabric->spares);
    if (node) {
        struct spare *spare = pawl_container_of(node, struct spare, link);
        fabric->spares_count--;
        conn->slab_region = spare->region;
        conn->slab = (unsigned char *)spare;
        return 0;
    }
    conn->slab = aligned_alloc(4096, bytes);
    if (!conn->slab) {
        return -ENOMEM;
    }
    return fabric->needs_local
               ? fabric_region_open(fabric, conn->slab, bytes, FABRIC_LOCAL, &conn->slab_region)
               : 0;
}

static void slab_free(unsigned char *slab, struct fabric_region *region)
{
    fabric_region_close(region);
    free(slab);
}

static void slab_return(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    if (fabric->spares_count >= FABRIC_SPARES_MAX) {
        slab_free(conn->slab, conn->slab_region);
        return;
    }
    struct spare *spare = (void *)conn->slab;
    pawl_list_init(&spare->link);
    spare->region = conn->slab_region;
    pawl_list_push_front(&fabric->spares, &spare->link);
    fabric->spares_count++;
}

void fabric_spares_free(struct fabric *fabric)
{
    struct pawl_list *node;
    while ((node = pawl_list_pop_front(&fabric->spares)) != NULL) {
        struct spare *spare = pawl_container_of(node, struct spare, link);
        slab_free((unsigned char *)spare, spare->region);
    }
    fabric->spares_count = 0;
}

static int receives_new(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    conn->receives = calloc(fabric->receives_count, sizeof(*conn->receives));
    int rc = conn->receives ? slab_take(conn) : -ENOMEM;
    if (rc < 0) {
        return rc;
    }
    for (uint32_t i = 0; i < fabric->receives_count; i++) {
        struct fabric_op *op = &conn->receives[i];
        op->kind = FABRIC_OP_RECEIVE;
        op->conn = conn;
        op->memory = conn->slab + (size_t)i * fabric->stride_bytes;
        op->desc = conn->slab_region ? conn->slab_region->desc : NULL;
        pawl_list_init(&op->link);
        pawl_list_init(&op->timed);
    }
    return 0;
}

struct fabric_conn *fabric_conn_new(struct fabric *fabric, enum fabric_conn_state state)
{
    struct fabric_conn *conn = calloc(1, sizeof(*conn));
    if (!conn) {
        return NULL;
    }
    conn->fabric = fabric;
    conn->id = next_id();
    conn->state = state;
    conn->peer_message_bytes = fabric->options.message_bytes;
    conn->peer_packet_bytes = fabric->packet_bytes;
    conn->deadline_ms = fabric->options.operation_ms;
    pawl_list_init(&conn->link);
    pawl_list_init(&conn->work);
    pawl_list_init(&conn->waiting);
    pawl_list_init(&conn->gathers);
    pawl_list_init(&conn->posted);
    pawl_list_init(&conn->queued);
    pawl_list_init(&conn->early);
    pawl_list_init(&conn->doomed);
    pawl_list_init(&conn->grave);
    int rc = receives_new(conn);
    if (rc < 0) {
        pawl_log_error("connection %llu has no receive buffers: %s", (unsigned long long)conn->id,
                       pawl_strerror(rc));
        slab_free(conn->slab, conn->slab_region);
        free(conn->receives);
        free(conn);
        return NULL;
    }
    pawl_list_push_back(&fabric->conns, &conn->link);
    pawl_list_push_back(&fabric->making, &conn->work);
    fabric->conns_count++;
    return conn;
}

void fabric_conn_forget(struct fabric_conn *conn)
{
    for (uint32_t i = 0; i < conn->fabric->receives_count; i++) {
        pawl_list_remove(&conn->receives[i].link);
    }
    pawl_list_remove(&conn->link);
    conn->fabric->orphans_count -= conn->is_orphan ? 1 : 0;
    slab_return(conn);
    free(conn->receives);
    free(conn);
}

void fabric_conn_free(struct fabric_conn *conn)
{
    pawl_assert(conn->state == FABRIC_CONN_CLOSING && !conn->endpoint);
    pawl_list_append_all(&conn->grave, &conn->doomed);
    while (!pawl_list_is_empty(&conn->grave)) {
        struct pawl_list *node = pawl_list_pop_front(&conn->grave);
        fabric_op_release(pawl_container_of(node, struct fabric_op, link));
    }
    if (conn->holds_count > 0) {
        conn->is_orphan = true;
        conn->fabric->orphans_count++;
        pawl_list_remove(&conn->link);
        pawl_list_push_back(&conn->fabric->orphans, &conn->link);
        return;
    }
    fabric_conn_forget(conn);
}

void fabric_orphans_free(struct fabric *fabric)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(&fabric->orphans)) != NULL) {
        fabric_conn_forget(pawl_container_of(node, struct fabric_conn, link));
    }
}

// 0, or PAWL_EPROTOCOL with the versions of both sides in the log.
static int greeting_check(const struct fabric *fabric, const void *data, size_t bytes,
                          const char *peer, struct fabric_greeting *ret_greeting)
{
    struct fabric_greeting greeting;
    if (bytes < sizeof(greeting)) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                         "peer %s refused: greeting of %zu bytes, this side wants %zu", peer, bytes,
                         sizeof(greeting));
        return PAWL_EPROTOCOL;
    }
    memcpy(&greeting, data, sizeof(greeting));
    if (greeting.magic != FABRIC_GREETING_MAGIC) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                         "peer %s refused: magic %08x is not Pawl's (%08x, format %u)", peer,
                         greeting.magic, FABRIC_GREETING_MAGIC, fabric->format);
        return PAWL_EPROTOCOL;
    }
    if (greeting.format != fabric->format || greeting.features != 0) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                         "peer %s refused: it speaks format %u features %#x, this side format %u "
                         "features 0",
                         peer, greeting.format, greeting.features, fabric->format);
        return PAWL_EPROTOCOL;
    }
    if (greeting.message_bytes < 64 ||
        greeting.packet_bytes < fabric_frame_bytes(greeting.message_bytes)) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN, "peer %s refused: greeting is damaged",
                         peer);
        return PAWL_EPROTOCOL;
    }
    *ret_greeting = greeting;
    return 0;
}

struct fabric_conn *fabric_conn_request(struct fabric *fabric, const void *greeting, size_t bytes,
                                        const char *peer)
{
    struct fabric_greeting theirs;
    if (greeting_check(fabric, greeting, bytes, peer, &theirs) < 0) {
        return NULL;
    }
    // What is left of those that are gone takes as much memory.
    if (fabric->conns_count + fabric->orphans_count >= fabric->options.connections_max) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                         "peer %s refused: %u connections are open and %u not over, the limit",
                         peer, fabric->conns_count, fabric->orphans_count);
        return NULL;
    }
    struct fabric_conn *conn = fabric_conn_new(fabric, FABRIC_CONN_ACCEPTING);
    if (!conn) {
        pawl_log_limited(&refuse_limit, PAWL_LOG_ERROR, "peer %s refused: out of memory", peer);
        return NULL;
    }
    conn->peer_message_bytes = theirs.message_bytes;
    conn->peer_packet_bytes = theirs.packet_bytes;
    snprintf(conn->peer, sizeof(conn->peer), "%s", peer);
    return conn;
}

int fabric_refusal_status(const struct fabric_conn *conn, const void *greeting, size_t bytes)
{
    struct fabric_greeting theirs;
    if (bytes < sizeof(theirs)) {
        return PAWL_EDISCONNECTED;
    }
    memcpy(&theirs, greeting, sizeof(theirs));
    if (theirs.magic != FABRIC_GREETING_MAGIC || theirs.format == conn->fabric->format) {
        return PAWL_EDISCONNECTED;
    }
    pawl_log_limited(&refuse_limit, PAWL_LOG_WARN,
                     "peer %s refused us: it speaks format %u, this side format %u", conn->peer,
                     theirs.format, conn->fabric->format);
    return PAWL_EPROTOCOL;
}

void fabric_conn_established(struct fabric_conn *conn, const void *greeting, size_t bytes)
{
    struct fabric *fabric = conn->fabric;
    if (conn->state != FABRIC_CONN_CONNECTING && conn->state != FABRIC_CONN_ACCEPTING) {
        return;
    }
    if (conn->state == FABRIC_CONN_CONNECTING) {
        struct fabric_greeting theirs;
        int rc = greeting_check(fabric, greeting, bytes, conn->peer, &theirs);
        if (rc < 0) {
            fabric_conn_close(conn, rc);
            return;
        }
        conn->peer_message_bytes = theirs.message_bytes;
        conn->peer_packet_bytes = theirs.packet_bytes;
    }
    conn->state = FABRIC_CONN_OPEN;
    pawl_list_remove(&conn->work);
    pawl_list_push_back(&fabric->ready, &conn->work);
    fabric_probe_watch(conn);
}

void fabric_conn_lost(struct fabric_conn *conn, int status)
{
    if (conn->state == FABRIC_CONN_CLOSING || conn->is_lost) {
        return;
    }
    if (conn->state != FABRIC_CONN_OPEN) {
        fabric_conn_close(conn, status); // nothing of it can have arrived
        return;
    }
    conn->is_lost = true;
    conn->status = status;
    if (pawl_list_is_empty(&conn->work)) { // else it goes there from ready
        pawl_list_push_back(&conn->fabric->lost, &conn->work);
    }
}

// What was received before the connection was announced; then the connection needs no more care.
// False when there is no more room for events.
static bool ready_deliver(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    if (!conn->is_announced) {
        if (fabric_room(fabric) == 0) {
            return false;
        }
        bool is_accepted = !conn->is_known;
        conn->is_known = true;
        conn->is_announced = true;
        fabric_emit(conn, is_accepted ? FABRIC_ACCEPTED : FABRIC_CONNECTED, 0);
    }
    struct pawl_list *node;
    while ((node = pawl_list_first(&conn->early)) != NULL) {
        if (!fabric_packet_deliver(pawl_container_of(node, struct fabric_op, link))) {
            return false;
        }
        pawl_list_remove(node);
        pawl_list_push_back(&fabric->borrowed, node);
    }
    pawl_list_remove(&conn->work);
    if (conn->is_lost) {
        pawl_list_push_back(&fabric->lost, &conn->work);
    }
    return true;
}

static bool closing_deliver(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    while (!pawl_list_is_empty(&conn->doomed)) {
        struct fabric_op *op =
            pawl_container_of(pawl_list_first(&conn->doomed), struct fabric_op, link);
        if (op->kind == FABRIC_OP_WRITE || op->kind == FABRIC_OP_READ) {
            if (fabric_room(fabric) == 0) {
                return false;
            }
            fabric_emit_done(op, PAWL_EDISCONNECTED);
        }
        pawl_list_remove(&op->link);
        pawl_list_push_back(&conn->grave, &op->link);
    }
    if (conn->is_known) {
        if (fabric_room(fabric) == 0) {
            return false;
        }
        fabric_emit(conn, FABRIC_CLOSED, conn->status);
        conn->is_known = false;
    }
    pawl_list_remove(&conn->link);
    pawl_list_push_back(&fabric->closed, &conn->link);
    return true;
}

void fabric_conn_deliver(struct fabric *fabric)
{
    if (!fabric_ops_report(fabric)) {
        return; // before the end of their connections
    }
    pawl_list_for_each_safe (node, &fabric->ready) {
        if (!ready_deliver(pawl_container_of(node, struct fabric_conn, work))) {
            return;
        }
    }
    pawl_list_for_each_safe (closing, &fabric->closing) {
        if (!closing_deliver(pawl_container_of(closing, struct fabric_conn, link))) {
            return;
        }
    }
}

void fabric_conn_expire(struct fabric *fabric)
{
    pawl_list_for_each_safe (node, &fabric->making) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, work);
        if (conn->deadline_ns == 0) {
            conn->deadline_ns = fabric->now_ns + conn->deadline_ms * PAWL_NS_PER_MS;
        } else if (fabric->now_ns >= conn->deadline_ns) {
            pawl_log_limited(
                &close_limit, PAWL_LOG_WARN, "connection %llu to %s is not made after %llu ms",
                (unsigned long long)conn->id, conn->peer, (unsigned long long)conn->deadline_ms);
            fabric_conn_close(conn, PAWL_EDEADLINE);
        }
    }
}

void fabric_conn_reap(struct fabric *fabric)
{
    pawl_list_for_each_safe (node, &fabric->closed) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, link);
        if (fabric->drain_count > conn->drain_mark) {
            fabric_conn_free(conn);
        }
    }
}

// Splits "tcp://host:port" or "tcp://[host]:port". `copy` holds the parts.
static int address_split(const struct fabric *fabric, const char *address,
                         char copy[FABRIC_ADDRESS_MAX], char **ret_host, char **ret_port)
{
    size_t provider_bytes = strlen(fabric->options.provider);
    if (strncmp(address, fabric->options.provider, provider_bytes) != 0 ||
        strncmp(address + provider_bytes, "://", 3) != 0) {
        return PAWL_EINVALID;
    }
    int bytes = snprintf(copy, FABRIC_ADDRESS_MAX, "%s", address + provider_bytes + 3);
    if (bytes >= FABRIC_ADDRESS_MAX) {
        return PAWL_EINVALID;
    }
    char *colon = strrchr(copy, ':');
    *ret_host = copy;
    *ret_port = colon ? colon + 1 : copy;
    if (fabric->provider == &fabric_provider_fake) {
        return 0;
    }
    if (!colon || colon == copy || colon[1] == 0) {
        return PAWL_EINVALID;
    }
    *colon = 0;
    if (copy[0] == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        *ret_host = copy + 1;
    }
    return 0;
}

int fabric_connect(struct fabric *fabric, const char *address, uint32_t deadline_ms, void *user,
                   struct fabric_conn **ret_conn)
{
    char copy[FABRIC_ADDRESS_MAX];
    char *host, *port;
    int rc = address_split(fabric, address, copy, &host, &port);
    if (rc < 0) {
        pawl_log_error("address %s is not one of provider %s", address, fabric->options.provider);
        return rc;
    }
    if (fabric->conns_count >= fabric->options.connections_max) {
        return PAWL_ELIMIT;
    }
    struct fabric_conn *conn = fabric_conn_new(fabric, FABRIC_CONN_CONNECTING);
    if (!conn) {
        return -ENOMEM;
    }
    conn->user = user;
    conn->deadline_ms = deadline_ms;
    snprintf(conn->peer, sizeof(conn->peer), "%.*s", (int)sizeof(conn->peer) - 1,
             address + strlen(fabric->options.provider) + 3);
    rc = fabric->provider->connect(conn, host, port);
    if (rc < 0) {
        // Not known to the owner: goes away without an event.
        pawl_log_limited(&close_limit, PAWL_LOG_WARN, "connecting to %s failed: %s", address,
                         pawl_strerror(rc));
        fabric_conn_close(conn, rc);
        return rc;
    }
    conn->is_known = true;
    *ret_conn = conn;
    return 0;
}

void fabric_conn_close(struct fabric_conn *conn, int status)
{
    struct fabric *fabric = conn->fabric;
    if (conn->state == FABRIC_CONN_CLOSING) {
        return;
    }
    pawl_log_limited(&close_limit, PAWL_LOG_INFO, "connection %llu with %s closes: %s",
                     (unsigned long long)conn->id, conn->peer,
                     status ? pawl_strerror(status) : "asked for");
    fabric_packet_abandon(conn);
    if (conn->endpoint || conn->resolve) {
        fabric->provider->destroy(conn);
        conn->endpoint = NULL;
    }
    conn->state = FABRIC_CONN_CLOSING;
    conn->status = status;
    conn->drain_mark = fabric->drain_count;
    fabric_ops_doom(conn);
    pawl_list_remove(&conn->work);
    pawl_list_remove(&conn->waiting);
    pawl_list_remove(&conn->link);
    pawl_list_push_back(&fabric->closing, &conn->link);
    fabric->conns_count--;
}

void fabric_conn_set_user(struct fabric_conn *conn, void *user)
{
    conn->user = user;
}

uint64_t fabric_conn_id(const struct fabric_conn *conn)
{
    return conn->id;
}

const char *fabric_conn_peer(const struct fabric_conn *conn)
{
    return conn->peer;
}
