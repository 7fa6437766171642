// SPDX-License-Identifier: Apache-2.0
// Two fabrics of one process, polled by hand.
#include "fabric_pair.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX 64

char fake_name[] = "fake", tcp_name[16] = "tcp";
static char hosts[2][64] = {"127.0.0.1", "127.0.0.1"}; // of a pair's a and b

void pair_take_environment(void)
{
    const char *text = getenv("PAWL_TEST_FABRIC");
    if (text && sscanf(text, "%15s %63s %63s", tcp_name, hosts[0], hosts[1]) != 3) {
        fprintf(stderr, "PAWL_TEST_FABRIC is \"PROVIDER HOST HOST\", not \"%s\"\n", text);
        exit(2);
    }
}

bool is_iwarp(const char *provider)
{
    return provider == tcp_name && getenv("PAWL_TEST_IWARP");
}

const char *provider_of(void **state)
{
    return *state;
}

bool is_device(const char *provider)
{
    return strcmp(provider, "fake") != 0 && strcmp(provider, "tcp") != 0;
}

static struct fabric *open_at(const char *provider, const struct fabric_options *extra,
                              const char *host)
{
    struct fabric *fabric = NULL;
    struct fabric_options options = {0};
    if (extra) {
        options = *extra;
    }
    options.provider = provider;
    options.host = options.host ? options.host : host;
    options.message_bytes = options.message_bytes ? options.message_bytes : MESSAGE_BYTES;
    options.receives_count = options.receives_count ? options.receives_count : 32;
    options.connections_max = options.connections_max ? options.connections_max : 8;
    options.operation_ms = options.operation_ms ? options.operation_ms : OPERATION_MS;
    assert_int_equal(fabric_open(&options, &fabric), 0);
    return fabric;
}

struct fabric *side_open(const char *provider, const struct fabric_options *extra)
{
    return open_at(provider, extra, hosts[0]);
}

void pair_open(struct pair *pair, const char *provider, const struct fabric_options *extra)
{
    memset(pair, 0, sizeof(*pair));
    pair->provider = provider;
    pair->now_ns = 1000 * PAWL_NS_PER_S;
    pair->a.fabric = open_at(provider, extra, hosts[0]);
    pair->b.fabric = open_at(provider, extra, hosts[1]);
    assert_int_equal(fabric_listen(pair->b.fabric), 0);
}

void pair_connect(struct pair *pair)
{
    int connected = pair->a.connected, accepted = pair->b.accepted;
    struct fabric_conn *conn = NULL;
    assert_int_equal(
        fabric_connect(pair->a.fabric, fabric_address(pair->b.fabric), 5000, &pair->a, &conn), 0);
    poll_until(pair, pair->a.connected > connected && pair->b.accepted > accepted);
    assert_ptr_equal(pair->a.conn, conn);
}

void pair_close(struct pair *pair)
{
    fabric_close(pair->a.fabric);
    fabric_close(pair->b.fabric);
}

static void event_take(struct side *side, const struct fabric_event *event)
{
    switch (event->type) {
    case FABRIC_CONNECTED:
        side->connected++;
        side->conn = event->conn;
        break;
    case FABRIC_ACCEPTED:
        side->accepted++;
        side->conn = event->conn;
        break;
    case FABRIC_MESSAGE:
        side->messages++;
        side->message_bytes = event->message_bytes;
        assert_true(event->message_bytes <= sizeof(side->message));
        memcpy(side->message, event->message, event->message_bytes);
        if (side->on_message) {
            side->on_message(side, event);
        }
        break;
    case FABRIC_DONE:
        side->done++;
        side->done_failed += event->status != 0;
        side->last_token = event->token;
        break;
    case FABRIC_CLOSED:
        side->closed++;
        side->closed_status = event->status;
        if (side->conn == event->conn) {
            side->conn = NULL;
        }
        break;
    }
}

void side_poll(struct side *side, uint64_t now_ns)
{
    struct fabric_event events[EVENTS_MAX];
    int room = side->events_at_once ? side->events_at_once : EVENTS_MAX;
    int count = fabric_poll(side->fabric, now_ns, events, room);
    assert_in_range(count, 0, room);
    for (int i = 0; i < count; i++) {
        event_take(side, &events[i]);
    }
}

void pair_poll(struct pair *pair)
{
    if (!pair->a.is_off) {
        side_poll(&pair->a, pair->now_ns);
    }
    if (!pair->b.is_off) {
        side_poll(&pair->b, pair->now_ns);
    }
}

void pair_advance_ms(struct pair *pair, uint64_t ms)
{
    pair->now_ns += ms * PAWL_NS_PER_MS;
}

bool is_hopeless(uint64_t start_ms)
{
    return pawl_clock_ms() - start_ms > 30000;
}

int fds_count(void)
{
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    int count = 0;
    while (readdir(folder)) {
        count++;
    }
    closedir(folder);
    return count - 3; // ".", ".." and the folder itself
}
