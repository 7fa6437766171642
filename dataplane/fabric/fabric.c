// SPDX-License-Identifier: Apache-2.0
// The fabric as its owner sees it: open and close, polling, waiting, registered memory.
#include "dataplane/fabric/fabric.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/fabric/fabric_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

static void lists_init(struct fabric *fabric)
{
    pawl_list_init(&fabric->conns);
    pawl_list_init(&fabric->closing);
    pawl_list_init(&fabric->closed);
    pawl_list_init(&fabric->orphans);
    pawl_list_init(&fabric->making);
    pawl_list_init(&fabric->ready);
    pawl_list_init(&fabric->lost);
    pawl_list_init(&fabric->backlog);
    pawl_list_init(&fabric->gathering);
    pawl_list_init(&fabric->fresh);
    pawl_list_init(&fabric->timed);
    pawl_list_init(&fabric->finished);
    pawl_list_init(&fabric->borrowed);
    pawl_list_init(&fabric->ops_free);
    pawl_list_init(&fabric->sends_free);
    pawl_list_init(&fabric->spares);
    pawl_list_init(&fabric->regions);
}

static int options_check(const struct fabric_options *options)
{
    if (!options->provider || options->message_bytes < 64 || options->message_bytes > (1u << 24) ||
        options->stream_message_bytes > (1u << 24) ||
        (options->stream_message_bytes != 0 && options->stream_message_bytes < 64)) {
        return -EINVAL;
    }
    if (options->receives_count == 0 || options->receives_count > 65536 ||
        options->connections_max == 0) {
        return -EINVAL;
    }
    return 0;
}

static int options_copy(struct fabric *fabric, const struct fabric_options *options)
{
    fabric->options = *options;
    fabric->provider_name = strdup(options->provider);
    fabric->host = options->host ? strdup(options->host) : NULL;
    if (!fabric->provider_name || (options->host && !fabric->host)) {
        return -ENOMEM;
    }
    fabric->options.provider = fabric->provider_name;
    fabric->options.host = fabric->host;
    if (fabric->options.operation_ms == 0) {
        fabric->options.operation_ms = FABRIC_OPERATION_MS_DEFAULT;
    }
    if (fabric->options.idle_ms == 0) {
        fabric->options.idle_ms = FABRIC_IDLE_MS_DEFAULT;
    }
    fabric->probe_ns = UINT64_MAX;
    fabric->format = FABRIC_GREETING_FORMAT;
    fabric->receives_count = options->receives_count;
    fabric->posts_max = 256;
    fabric->pieces_max = 1;
    fabric->packet_bytes = FABRIC_PACKET_BYTES;
    return 0;
}

static void fabric_free(struct fabric *fabric)
{
    free(fabric->provider_name);
    free(fabric->host);
    free(fabric);
}

int fabric_open(const struct fabric_options *options, struct fabric **ret_fabric)
{
    int rc = options_check(options);
    if (rc < 0) {
        return rc;
    }
    struct fabric *fabric = calloc(1, sizeof(*fabric));
    if (!fabric) {
        return -ENOMEM;
    }
    lists_init(fabric);
    rc = options_copy(fabric, options);
    if (rc < 0) {
        fabric_free(fabric);
        return rc;
    }
    bool is_fake = strcmp(fabric->options.provider, "fake") == 0;
    fabric->provider = is_fake ? &fabric_provider_fake : &fabric_provider_ofi;
    rc = fabric->provider->open(fabric);
    if (rc < 0) {
        fabric_free(fabric);
        return rc;
    }
    if (fabric->is_stream && fabric->options.stream_message_bytes != 0) {
        fabric->options.message_bytes = fabric->options.stream_message_bytes;
    }
    fabric->packet_bytes = (uint32_t)PAWL_MAX(fabric_frame_bytes(fabric->options.message_bytes),
                                              (uint64_t)fabric->packet_bytes);
    fabric->stride_bytes = (uint32_t)pawl_align_up(fabric->packet_bytes, FABRIC_MESSAGE_ALIGN);
    fabric->sends_max = PAWL_MAX(4 * fabric->options.receives_count, 256u);
    pawl_log_info("provider %s opened", fabric->description);
    *ret_fabric = fabric;
    return 0;
}

static void conns_free(struct pawl_list *list)
{
    struct pawl_list *node;
    while ((node = pawl_list_first(list)) != NULL) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, link);
        if (conn->state != FABRIC_CONN_CLOSING) {
            conn->is_known = false; // nobody polls any more: no events
            fabric_conn_close(conn, PAWL_ESHUTDOWN);
        }
        fabric_conn_free(conn);
    }
}

void fabric_close(struct fabric *fabric)
{
    if (!fabric) {
        return;
    }
    conns_free(&fabric->conns);
    conns_free(&fabric->closing);
    conns_free(&fabric->closed);
    fabric_orphans_free(fabric);
    fabric_spares_free(fabric);
    fabric_ops_fini(fabric);
    while (!pawl_list_is_empty(&fabric->regions)) {
        struct pawl_list *node = pawl_list_first(&fabric->regions);
        fabric_region_close(pawl_container_of(node, struct fabric_region, link));
    }
    fabric->provider->close(fabric);
    fabric_free(fabric);
}

int fabric_listen(struct fabric *fabric)
{
    if (fabric->is_listening) {
        return -EALREADY;
    }
    int rc = fabric->provider->listen(fabric);
    if (rc < 0) {
        return rc;
    }
    fabric->is_listening = true;
    pawl_log_info("listening on %s", fabric->address);
    return 0;
}

const char *fabric_address(const struct fabric *fabric)
{
    return fabric->address;
}

const char *fabric_provider(const struct fabric *fabric)
{
    return fabric->description;
}

bool fabric_is_stream(const struct fabric *fabric)
{
    return fabric->is_stream;
}

uint32_t fabric_message_bytes(const struct fabric *fabric)
{
    return fabric->options.message_bytes;
}

uint64_t fabric_copied_bytes(const struct fabric *fabric)
{
    return fabric->copied_bytes;
}

struct fabric_greeting fabric_greeting_of(const struct fabric *fabric)
{
    return (struct fabric_greeting){
        .magic = FABRIC_GREETING_MAGIC,
        .format = fabric->format,
        .message_bytes = fabric->options.message_bytes,
        .packet_bytes = fabric->packet_bytes,
    };
}

int fabric_region_open(struct fabric *fabric, void *memory, size_t bytes, unsigned access,
                       struct fabric_region **ret_region)
{
    if (!memory || bytes == 0 || access == 0) {
        return -EINVAL;
    }
    struct fabric_region *region = calloc(1, sizeof(*region));
    if (!region) {
        return -ENOMEM;
    }
    region->fabric = fabric;
    region->memory = memory;
    region->bytes = bytes;
    region->access = access;
    int rc = fabric->provider->region_open(region);
    if (rc < 0) {
        free(region);
        return rc;
    }
    pawl_list_push_back(&fabric->regions, &region->link);
    *ret_region = region;
    return 0;
}

void fabric_region_close(struct fabric_region *region)
{
    if (!region) {
        return;
    }
    region->fabric->provider->region_close(region);
    pawl_list_remove(&region->link);
    free(region);
}

uint64_t fabric_region_key(const struct fabric_region *region)
{
    return region->key;
}

uint64_t fabric_region_remote(const struct fabric_region *region, const void *memory)
{
    const unsigned char *at = memory;
    pawl_assert(at >= region->memory && at <= region->memory + region->bytes);
    return region->remote_base + (uint64_t)(at - region->memory);
}

int fabric_room(const struct fabric *fabric)
{
    return fabric->events_count - fabric->events_used;
}

static struct fabric_event *event_add(struct fabric_conn *conn, enum fabric_event_type type)
{
    struct fabric *fabric = conn->fabric;
    pawl_assert(fabric_room(fabric) > 0);
    struct fabric_event *event = &fabric->events[fabric->events_used++];
    *event = (struct fabric_event){.type = type, .conn = conn, .user = conn->user};
    return event;
}

void fabric_emit(struct fabric_conn *conn, enum fabric_event_type type, int status)
{
    event_add(conn, type)->status = status;
}

void fabric_emit_message(struct fabric_op *packet, const void *message, uint32_t bytes)
{
    struct fabric_event *event = event_add(packet->conn, FABRIC_MESSAGE);
    event->packet = packet;
    event->message = message;
    event->message_bytes = bytes;
}

void fabric_emit_done(struct fabric_op *op, int status)
{
    struct fabric_event *event = event_add(op->conn, FABRIC_DONE);
    event->status = status;
    event->token = op->token;
}

bool fabric_awaits_drain(const struct fabric *fabric)
{
    return !pawl_list_is_empty(&fabric->lost) || !pawl_list_is_empty(&fabric->closed);
}

void fabric_drained(struct fabric *fabric)
{
    fabric->drain_count++;
    while (!pawl_list_is_empty(&fabric->lost)) {
        struct pawl_list *node = pawl_list_first(&fabric->lost);
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, work);
        fabric_conn_close(conn, conn->status);
    }
}

int fabric_poll(struct fabric *fabric, uint64_t now_ns, struct fabric_event *events, int count)
{
    pawl_assert(count > 0);
    fabric->now_ns = PAWL_MAX(now_ns, fabric->now_ns);
    fabric->events = events;
    fabric->events_count = count;
    fabric->events_used = 0;

    fabric_borrowed_return(fabric);
    fabric_conn_reap(fabric);
    fabric_flush(fabric);
    fabric_ops_stamp(fabric);
    fabric_backlog_retry(fabric);
    fabric_conn_deliver(fabric);
    if (fabric_room(fabric) > 0) {
        fabric->provider->progress(fabric);
    }
    // Deadlines are judged after progress: what has arrived in time counts, however late the poll.
    fabric_ops_expire(fabric);
    fabric_conn_expire(fabric);
    fabric_probe_idle(fabric);
    fabric_backlog_retry(fabric);
    fabric_conn_deliver(fabric);
    fabric->events = NULL;
    return fabric->events_used;
}

uint64_t fabric_deadline_ns(const struct fabric *fabric)
{
    uint64_t deadline_ns = fabric->conns_count > 0 ? fabric->probe_ns : UINT64_MAX;
    struct pawl_list *node = pawl_list_first(&fabric->timed);
    if (node) {
        uint64_t ns = pawl_container_of(node, struct fabric_op, timed)->deadline_ns;
        deadline_ns = PAWL_MIN(deadline_ns, ns);
    } else if (!pawl_list_is_empty(&fabric->fresh)) {
        uint64_t ns = fabric->now_ns + fabric->options.operation_ms * PAWL_NS_PER_MS;
        deadline_ns = PAWL_MIN(deadline_ns, ns);
    }
    pawl_list_for_each (making, &fabric->making) {
        const struct fabric_conn *conn = pawl_container_of(making, struct fabric_conn, work);
        uint64_t ns = conn->deadline_ns ? conn->deadline_ns
                                        : fabric->now_ns + conn->deadline_ms * PAWL_NS_PER_MS;
        deadline_ns = PAWL_MIN(deadline_ns, ns);
    }
    return deadline_ns;
}

int fabric_wait_fds(const struct fabric *fabric, int fds[FABRIC_FDS_MAX])
{
    return fabric->provider->wait_fds(fabric, fds);
}

int fabric_try_wait(struct fabric *fabric)
{
    // Work that no descriptor announces.
    if (!pawl_list_is_empty(&fabric->gathering) || !pawl_list_is_empty(&fabric->closing) ||
        !pawl_list_is_empty(&fabric->closed) || !pawl_list_is_empty(&fabric->ready) ||
        !pawl_list_is_empty(&fabric->lost) || !pawl_list_is_empty(&fabric->borrowed) ||
        !pawl_list_is_empty(&fabric->finished)) {
        return -EAGAIN;
    }
    pawl_list_for_each (node, &fabric->backlog) {
        if (pawl_container_of(node, struct fabric_conn, waiting)->posted_count == 0) {
            return -EAGAIN;
        }
    }
    return fabric->provider->try_wait(fabric);
}
