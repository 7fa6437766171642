// SPDX-License-Identifier: Apache-2.0
// A server node: its life, what the caller's process asks of it, and its loop.
#include "perf/roofline/server.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CONTROL_EVERY 1024u // turns with work between two looks at the control socket
#define SLEEP_MS 1000
#define SMALL_RECEIVES 256u

int server_fail(struct server *server, int code, const char *why)
{
    const char *said = server->transport.error[0] != '\0' ? server->transport.error
                       : server->disk.error[0] != '\0'    ? server->disk.error
                                                          : why;

    if (server->error[0] == '\0') {
        snprintf(server->error, ROOFLINE_TEXT_MAX, "server %u: %.256s", server->config->index,
                 said);
    }
    return code;
}

// ---- connections ------------------------------------------------------------------------------

static uint32_t accept_peer(void *user, const struct transport_greeting *greeting,
                            uint32_t *ret_bytes)
{
    struct server *server = user;
    const struct shape *shape = &server->shape;
    uint32_t records = shape_message_records(shape, server->config->batch_max);

    if (greeting->is_link != 0) {
        *ret_bytes = shape_prepare_bytes_max(shape, records);
        return greeting->index < server->config->index && server->upstreams[greeting->index] == NULL
                   ? PAWL_MIN(PAWL_MAX(shape->outstanding, 16u), SMALL_RECEIVES)
                   : 0;
    }
    if (greeting->index >= shape->clients || server->clients[greeting->index].conn != NULL) {
        return 0;
    }
    *ret_bytes =
        PAWL_MAX(shape_append_bytes_max(shape, records), (uint32_t)sizeof(struct frame_read));
    return PAWL_MIN(PAWL_MAX(shape->depth, 16u), SMALL_RECEIVES);
}

static int welcome_send(struct server *server, struct transport_conn *conn)
{
    struct outbox_message *message = outbox_take(&server->answers);

    if (message == NULL) {
        return server_fail(server, -EBUSY, "no buffer for a welcome");
    }
    struct frame_welcome *welcome = (void *)message->bytes;
    (void)outbox_add(message, sizeof(*welcome) - sizeof(struct frame));
    welcome->address = server->window_region.remote;
    welcome->key = server->window_region.key;
    welcome->slots_count = server->shape.outstanding;
    welcome->slot_bytes = server->shape.slot_bytes;
    return outbox_send(message, FRAME_WELCOME, &conn, 1);
}

// Our own connections are told apart by where they are; a peer's by what it has said of itself.
static int conn_opened(void *user, struct transport_conn *conn)
{
    struct server *server = user;

    if (conn == server->hops[0] || conn == server->hops[1]) {
        return 0;
    }
    if (conn->greeting.is_link != 0) {
        server->upstreams[conn->greeting.index] = conn;
    } else {
        server->clients[conn->greeting.index].conn = conn;
        conn->user = &server->clients[conn->greeting.index];
    }
    return welcome_send(server, conn);
}

static int conn_message(void *user, struct transport_conn *conn, const void *bytes, uint32_t count)
{
    struct server *server = user;
    const struct frame *frame = bytes;
    const char *why = shape_frame_check(bytes, count);

    if (why != NULL) {
        return server_fail(server, -EBADMSG, why);
    }
    if (conn == server->hops[0] || conn == server->hops[1]) {
        return server_hop_message(server, conn == server->hops[1], frame);
    }
    if (server->upstream != NULL && conn == server->upstream) {
        return server_upstream_message(server, frame);
    }
    if (conn->user == NULL) {
        return server_fail(server, -EBADMSG, "a peer that did not wait for its welcome");
    }
    return server->config->options.what == ROOFLINE_READ
               ? server_read_message(server, conn->user, frame)
               : server_client_message(server, conn->user, frame);
}

static void op_done(void *user, struct transport_op *op)
{
    struct server *server = user;

    if (op->kind == TRANSPORT_WRITE) {
        writes_done(&server->writes, op);
    } else {
        outbox_done(op);
    }
}

static const struct transport_calls server_calls = {
    .accept = accept_peer,
    .opened = conn_opened,
    .message = conn_message,
    .done = op_done,
};

// ---- opening ----------------------------------------------------------------------------------

static int window_open(struct server *server)
{
    const struct shape *shape = &server->shape;
    bool is_used = shape->is_pushed || server->config->options.what == ROOFLINE_READ;
    uint32_t slots = is_used ? shape->outstanding : 1;

    server->window_bytes = (uint64_t)slots * shape->slot_bytes;
    server->window = node_memory(server->window_bytes);
    if (server->window == NULL) {
        return -ENOMEM;
    }
    return transport_region_open(&server->transport, server->window, server->window_bytes,
                                 &server->window_region);
}

static int outboxes_open(struct server *server)
{
    const struct shape *shape = &server->shape;
    uint32_t batch = server->config->batch_max;
    uint32_t records = shape_message_records(shape, batch);
    uint32_t answer = PAWL_MAX(shape_appended_bytes(batch), (uint32_t)sizeof(struct frame_welcome));
    uint32_t slices = shape->record_bytes / (64u << 10) + 2;
    int rc = outbox_open(&server->answers, &server->transport, 2 * shape->outstanding + 80, answer);

    if (rc == 0) {
        rc = outbox_open(&server->prepares, &server->transport,
                         shape->outstanding * (shape->is_pushed ? slices : 1) + 4,
                         shape_prepare_bytes_max(shape, records));
    }
    return rc == 0 ? writes_open(&server->writes, 2 * shape->outstanding * slices + 4) : rc;
}

static int server_open(struct server *server, uint16_t *ret_port)
{
    const struct node_config *config = server->config;
    int rc =
        transport_open(&server->transport, config->provider, config->host, &server_calls, server);

    rc = rc == 0 ? window_open(server) : rc;
    rc = rc == 0 ? outboxes_open(server) : rc;
    rc = rc == 0 ? server_append_open(server) : rc;
    rc = rc == 0 ? server_disk_open(server) : rc;
    rc = rc == 0 ? duties_open(&server->duties, &config->options) : rc;
    if (rc == 0 && config->options.what == ROOFLINE_READ) {
        rc = server_read_open(server);
    }
    if (rc == 0) {
        const int fds[2] = {CONTROL_JOURNAL_FD, CONTROL_DATA_FD};
        const struct iovec buffers[3] = {
            {.iov_base = server->window, .iov_len = server->window_bytes},
            {.iov_base = server->journal.memory, .iov_len = server->journal.memory_bytes},
            duties_memory(&server->duties),
        };
        uint32_t count = buffers[2].iov_len > 0 ? 3 : 2;
        rc = disk_open(&server->disk, fds, buffers, count, server);
    }
    rc = rc == 0 ? transport_listen(&server->transport, ret_port) : rc;
    return rc == 0 ? 0 : server_fail(server, rc, strerror(-rc));
}

static void server_close(struct server *server)
{
    disk_close(&server->disk);
    outbox_close(&server->answers);
    outbox_close(&server->prepares);
    transport_region_close(&server->window_region);
    transport_close(&server->transport);
    writes_close(&server->writes);
    server_read_close(server);
    server_disk_close(server);
    duties_close(&server->duties);
    server_append_close(server);
    free(server->window);
}

// ---- control ----------------------------------------------------------------------------------

static int hops_connect(struct server *server, const struct control_message *message)
{
    const struct node_config *config = server->config;
    uint32_t hops[2];
    uint32_t count =
        shape_next_hops(config->options.route, config->options.replicas, config->index, hops);
    struct transport_greeting greeting = {.is_link = 1, .index = config->index};

    if (config->options.what == ROOFLINE_READ) {
        count = 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        int rc =
            transport_connect(&server->transport, config->host, message->ports[hops[i]], &greeting,
                              SMALL_RECEIVES, sizeof(struct frame_welcome), &server->hops[i]);
        if (rc != 0) {
            return server_fail(server, rc, "a next hop");
        }
        server->hops[i]->greeting.index = hops[i];
    }
    server->links_count = count;
    server->is_connecting = true; // answered when the hops have welcomed us
    return 0;
}

// The next hops of the present route, and whose next hop this server is: all are connected.
static void route_take(struct server *server, enum roofline_route route)
{
    const struct node_config *config = server->config;
    uint32_t hops[2];

    server->hops_count = PAWL_MIN(
        shape_next_hops(route, config->options.replicas, config->index, hops), server->links_count);
    server->upstream = NULL;
    if (config->index != 0) {
        server->upstream = server->upstreams[route == ROOFLINE_CHAIN ? config->index - 1 : 0];
    }
}

static void stats_begin(struct server *server)
{
    server->cpu_start_ns = node_cpu_ns();
    server->messages_start = server->transport.messages_count;
    server->message_bytes_start = server->transport.message_bytes;
    server->transfers_start = server->transport.transfers_count;
    server->writes_start = server->disk.writes_count;
    server->flushes_start = server->disk.flushes_count;
    server->reads_start = server->disk.reads_count;
    server->stats = (struct node_stats){0};
}

static void stats_fill(const struct server *server, struct node_stats *ret)
{
    *ret = server->stats;
    ret->cpu_ns = node_cpu_ns() - server->cpu_start_ns;
    ret->messages_count = server->transport.messages_count - server->messages_start;
    ret->message_bytes = server->transport.message_bytes - server->message_bytes_start;
    ret->transfers_count = server->transport.transfers_count - server->transfers_start;
    ret->writes_count = server->disk.writes_count - server->writes_start;
    ret->flushes_count = server->disk.flushes_count - server->flushes_start;
    ret->reads_count = server->disk.reads_count - server->reads_start;
}

static int control_take(struct server *server, struct control_message *message)
{
    int rc = 0;

    switch (message->type) {
    case CONTROL_CONNECT:
        return hops_connect(server, message);
    case CONTROL_POINT:
        server->point = message->u.point;
        server->point.batch = PAWL_MIN(server->point.batch, server->config->batch_max);
        server->idler.wait = message->u.point.wait;
        route_take(server, message->u.point.route);
        server_disk_point(server);
        stats_begin(server);
        break;
    case CONTROL_STATS:
        stats_fill(server, &message->u.stats);
        break;
    case CONTROL_STOP:
        server->is_stopping = true;
        return 0;
    default:
        return server_fail(server, -EBADMSG, "an unknown command");
    }
    rc = control_send(CONTROL_FD, message);
    return rc == 0 ? 0 : server_fail(server, rc, "the control socket");
}

static int control_poll(struct server *server)
{
    struct control_message message;
    int rc = control_receive(CONTROL_FD, 0, &message);

    if (rc == 1) {
        return control_take(server, &message);
    }
    return rc == 0 ? 0 : server_fail(server, rc, "the control socket");
}

// ---- the loop ---------------------------------------------------------------------------------

static int server_sleep(struct server *server)
{
    struct pollfd polls[] = {
        {.fd = CONTROL_FD, .events = POLLIN},
        {.fd = server->transport.fds[0], .events = POLLIN},
        {.fd = server->transport.fds[1], .events = POLLIN},
        {.fd = server->disk.event_fd, .events = POLLIN},
    };

    if (!transport_may_sleep(&server->transport)) {
        return 0;
    }
    int ready = poll(polls, PAWL_ARRAY_COUNT(polls), SLEEP_MS);
    return ready > 0 && polls[0].revents != 0 ? control_poll(server) : 0;
}

// What came is passed on before this server's own disk has its turn: others wait for it longer.
static int server_turn(struct server *server)
{
    int taken = transport_poll(&server->transport);
    int rc = taken < 0 ? taken : server_append_pump(server);

    rc = rc == 0 ? server_disk_pump(server) : rc;
    int ended = rc == 0 ? disk_poll(&server->disk) : rc;
    if (ended > 0) {
        rc = server_append_pump(server);
        rc = rc == 0 ? server_disk_pump(server) : rc;
    }
    rc = ended < 0 ? ended : rc;
    if (rc != 0 || server->error[0] != '\0') {
        return server_fail(server, rc != 0 ? rc : -EIO, strerror(-rc));
    }
    return taken + ended;
}

static int welcomed_say(struct server *server)
{
    struct control_message message;

    if (!server->is_connecting || server->welcomes_count < server->links_count) {
        return 0;
    }
    server->is_connecting = false;
    control_message_init(&message, CONTROL_CONNECT);
    int rc = control_send(CONTROL_FD, &message);
    return rc == 0 ? 0 : server_fail(server, rc, "the control socket");
}

static int server_loop(struct server *server)
{
    uint32_t turns = 0;
    int rc = 0;

    while (rc == 0 && !server->is_stopping) {
        int work = server_turn(server);
        rc = work < 0 ? work : welcomed_say(server);
        if (rc == 0 && work > 0 && ++turns % CONTROL_EVERY == 0) {
            rc = control_poll(server);
        } else if (rc == 0 && idler_is_over(&server->idler, work > 0)) {
            rc = server_sleep(server);
        }
    }
    return rc;
}

int server_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX])
{
    struct server *server = calloc(1, sizeof(*server));
    struct control_message message;

    if (server == NULL) {
        return node_error(error, -ENOMEM, "memory for a server");
    }
    server->config = config;
    server->error = error;
    server->point.batch = 1;
    server->idler.wait = ROOFLINE_WAIT_SLEEP;
    shape_init(&server->shape, &config->options);
    control_message_init(&message, CONTROL_OPEN);
    message.ports_count = 1;
    int rc = server_open(server, &message.ports[0]);
    rc = rc == 0 ? control_send(CONTROL_FD, &message) : rc;
    rc = rc == 0 ? server_loop(server) : rc;
    server_close(server);
    free(server);
    return rc;
}
