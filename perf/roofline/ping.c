// SPDX-License-Identifier: Apache-2.0
// A part of the roofline by itself: a ping-pong between two processes over the same transport, as messages or as
// one-sided writes with a small message behind each. Both sides spin, as fi_pingpong does; after a while without a
// ping the other side naps.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "perf/roofline/node.h"

#define TURNS_PER_CLOCK 256u
#define MESSAGES 4u
#define IDLE_NS (2 * PAWL_NS_PER_MS)
#define IDLE_SLEEP_MS 20 // the tool has the processors meanwhile

struct ping {
    const struct node_config *config;
    struct transport transport;
    struct outbox outbox;
    struct writes writes;
    uint8_t *memory; // source and target, one after the other
    struct transport_region region;
    size_t bytes;
    struct transport_conn *peer;
    uint64_t remote, key; // where the peer wants our payload
    bool is_welcomed, is_stopping;
    uint64_t received_count;
    char *error;
};

static int ping_fail(struct ping *ping, int code, const char *why)
{
    return node_error(ping->error, code,
                      ping->transport.error[0] != '\0' ? ping->transport.error : why);
}

static uint32_t message_bytes(const struct ping *ping)
{
    uint32_t least = sizeof(struct frame_welcome);

    return ping->config->is_written ? least : PAWL_MAX(least, ping->config->options.record_bytes);
}

static int ping_send(struct ping *ping)
{
    struct outbox_message *message = outbox_take(&ping->outbox);
    uint32_t bytes = ping->config->options.record_bytes;
    int rc = 0;

    if (message == NULL) {
        return ping_fail(ping, -EBUSY, "no buffer for a ping");
    }
    if (ping->config->is_written) {
        struct iovec from = {.iov_base = ping->memory, .iov_len = bytes};
        rc = writes_post(&ping->writes, ping->peer, &from, ping->region.desc, ping->remote,
                         ping->key);
    } else if (bytes > sizeof(struct frame)) {
        message->used = bytes; // what else stands in the buffer goes along
    }
    return rc == 0 ? outbox_send(message, FRAME_PING, &ping->peer, 1) : rc;
}

static int welcome_send(struct ping *ping)
{
    struct outbox_message *message = outbox_take(&ping->outbox);

    if (message == NULL) {
        return ping_fail(ping, -EBUSY, "no buffer for a welcome");
    }
    struct frame_welcome *welcome = (void *)message->bytes;
    (void)outbox_add(message, sizeof(*welcome) - sizeof(struct frame));
    welcome->address = ping->region.remote + ping->bytes;
    welcome->key = ping->region.key;
    return outbox_send(message, FRAME_WELCOME, &ping->peer, 1);
}

static uint32_t accept_peer(void *user, const struct transport_greeting *greeting,
                            uint32_t *ret_bytes)
{
    const struct ping *ping = user;

    (void)greeting;
    *ret_bytes = message_bytes(ping);
    return ping->peer == NULL ? MESSAGES : 0;
}

static int conn_opened(void *user, struct transport_conn *conn)
{
    struct ping *ping = user;

    ping->peer = conn;
    return welcome_send(ping);
}

static int conn_message(void *user, struct transport_conn *conn, const void *bytes, uint32_t count)
{
    struct ping *ping = user;
    const struct frame *frame = bytes;
    const char *why = shape_frame_check(bytes, count);

    (void)conn;
    if (why != NULL) {
        return ping_fail(ping, -EBADMSG, why);
    }
    if (frame->type == FRAME_WELCOME) {
        const struct frame_welcome *welcome = bytes;
        ping->remote = welcome->address;
        ping->key = welcome->key;
        ping->is_welcomed = true;
        return 0;
    }
    ping->received_count++;
    return ping->config->role == NODE_PONG ? ping_send(ping) : 0;
}

static void op_done(void *user, struct transport_op *op)
{
    struct ping *ping = user;

    if (op->kind == TRANSPORT_WRITE) {
        writes_done(&ping->writes, op);
    } else {
        outbox_done(op);
    }
}

static const struct transport_calls ping_calls = {
    .is_spinning = true,
    .accept = accept_peer,
    .opened = conn_opened,
    .message = conn_message,
    .done = op_done,
};

static int ping_open(struct ping *ping, uint16_t *ret_port)
{
    const struct node_config *config = ping->config;
    bool is_pong = config->role == NODE_PONG;
    int rc = transport_open(&ping->transport, config->provider, is_pong ? config->host : NULL,
                            &ping_calls, ping);

    ping->bytes = pawl_align_up(config->options.record_bytes, SHAPE_PAGE_BYTES);
    ping->memory = rc == 0 ? node_memory(2 * ping->bytes) : NULL;
    if (rc == 0 && ping->memory == NULL) {
        rc = -ENOMEM;
    }
    if (rc == 0) {
        memset(ping->memory, 0x5a, 2 * ping->bytes);
        rc = transport_region_open(&ping->transport, ping->memory, 2 * ping->bytes, &ping->region);
    }
    if (rc == 0) {
        rc = outbox_open(&ping->outbox, &ping->transport, MESSAGES, message_bytes(ping));
    }
    if (rc == 0) {
        memset(ping->outbox.memory, 0, (size_t)MESSAGES * message_bytes(ping));
        rc = writes_open(&ping->writes, MESSAGES);
    }
    rc = rc == 0 && is_pong ? transport_listen(&ping->transport, ret_port) : rc;
    return rc == 0 ? 0 : ping_fail(ping, rc, strerror(-rc));
}

static int ping_connect(struct ping *ping, uint16_t port)
{
    struct transport_greeting greeting = {0};
    struct transport_conn *conn = NULL;
    uint64_t until_ns = pawl_clock_ns() + 5 * PAWL_NS_PER_S;
    int rc = transport_connect(&ping->transport, ping->config->host, port, &greeting, MESSAGES,
                               message_bytes(ping), &conn);

    while (rc >= 0 && !ping->is_welcomed) {
        rc = transport_poll(&ping->transport);
        if (rc >= 0 && pawl_clock_ns() >= until_ns) {
            rc = ping_fail(ping, -ETIMEDOUT, "the other side does not welcome us");
        }
    }
    return rc >= 0 ? 0 : ping_fail(ping, rc, "connecting");
}

// One ping and its answer.
static int ping_once(struct ping *ping, uint64_t last_ns)
{
    uint64_t most_ns = ping->config->options.operation_ms * PAWL_NS_PER_MS;
    uint64_t wanted = ping->received_count + 1;
    int rc = ping_send(ping);

    for (uint32_t i = 1; rc >= 0 && ping->received_count < wanted; i++) {
        rc = transport_poll(&ping->transport);
        if (rc >= 0 && i % TURNS_PER_CLOCK == 0 && pawl_clock_ns() >= last_ns + most_ns) {
            rc = ping_fail(ping, -ETIMEDOUT, "no answer to a ping");
        }
    }
    return rc;
}

// Pings until the time is over; one in flight. The first one wakes the other side and doesn't count.
static int ping_work(struct ping *ping, struct control_message *message)
{
    int rc = ping_once(ping, pawl_clock_ns());
    uint64_t start_ns = pawl_clock_ns();
    uint64_t last_ns = start_ns;
    uint64_t end_ns = start_ns + message->u.point.duration_ms * PAWL_NS_PER_MS;

    pawl_histogram_init(&message->latencies);
    while (rc >= 0 && last_ns < end_ns) {
        rc = ping_once(ping, last_ns);
        uint64_t now_ns = pawl_clock_ns();
        pawl_histogram_record(&message->latencies, (now_ns - last_ns) / 2);
        last_ns = now_ns;
    }
    message->window_ns = last_ns - start_ns;
    return rc >= 0 ? 0 : ping_fail(ping, rc, "a ping");
}

static int control_take(struct ping *ping, struct control_message *message)
{
    int rc = 0;

    switch (message->type) {
    case CONTROL_CONNECT:
        rc = ping_connect(ping, message->ports[0]);
        break;
    case CONTROL_RUN:
        rc = ping_work(ping, message);
        break;
    case CONTROL_STOP:
        ping->is_stopping = true;
        return 0;
    default:
        return ping_fail(ping, -EBADMSG, "an unknown command");
    }
    return rc == 0 ? control_send(CONTROL_FD, message) : rc;
}

// Nobody pings: this thread looks now and then only.
static void pong_sleep(void)
{
    struct pollfd control = {.fd = CONTROL_FD, .events = POLLIN};

    (void)poll(&control, 1, IDLE_SLEEP_MS);
}

static int pong_loop(struct ping *ping, struct control_message *message)
{
    uint64_t heard_ns = 0;
    int rc = 0;

    for (uint32_t turns = 1; rc >= 0 && !ping->is_stopping; turns++) {
        uint64_t received_count = ping->received_count;
        rc = transport_poll(&ping->transport);
        if (rc < 0) {
            return ping_fail(ping, rc, "a pong");
        }
        if (ping->received_count != received_count) {
            heard_ns = 0; // known when it matters
        }
        if (turns % TURNS_PER_CLOCK != 0) {
            continue;
        }
        uint64_t now_ns = pawl_clock_ns();
        if (heard_ns == 0) {
            heard_ns = now_ns;
        } else if (now_ns >= heard_ns + IDLE_NS) {
            pong_sleep();
            rc = control_receive(CONTROL_FD, 0, message);
            rc = rc == 1 ? control_take(ping, message) : rc;
            heard_ns = pawl_clock_ns() - IDLE_NS; // a short look, and the next nap
        }
    }
    return rc;
}

static int ping_loop(struct ping *ping, struct control_message *message)
{
    int rc = 0;

    while (rc >= 0 && !ping->is_stopping) {
        rc = control_receive(CONTROL_FD, -1, message);
        rc = rc == 1 ? control_take(ping, message) : rc;
    }
    return rc;
}

int ping_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX])
{
    struct ping ping = {.config = config, .error = error};
    struct control_message *message = malloc(sizeof(*message));

    if (message == NULL) {
        return node_error(error, -ENOMEM, "memory");
    }
    control_message_init(message, CONTROL_OPEN);
    message->ports_count = 1;
    int rc = ping_open(&ping, &message->ports[0]);
    rc = rc == 0 ? control_send(CONTROL_FD, message) : rc;
    if (rc == 0) {
        rc = config->role == NODE_PONG ? pong_loop(&ping, message) : ping_loop(&ping, message);
    }
    outbox_close(&ping.outbox);
    transport_region_close(&ping.region);
    transport_close(&ping.transport);
    writes_close(&ping.writes);
    free(ping.memory);
    free(message);
    return rc;
}
