// SPDX-License-Identifier: Apache-2.0
// The bench: a reactor that is turned by hand, and peers of it over the fake fabric.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "scripted.h"

static struct fabric *fabric_of(const char *provider)
{
    struct fabric_options options = {
        .provider = provider,
        .host = "127.0.0.1",
        .message_bytes = WIRE_MESSAGE_MAX,
        .receives_count = 256,
        .connections_max = 64,
    };
    struct fabric *fabric = NULL;
    assert_int_equal(fabric_open(&options, &fabric), 0);
    return fabric;
}

void bench_init(struct bench *bench, const char *provider)
{
    memset(bench, 0, sizeof(*bench));
    bench->provider = provider;
    bench->now_ns = 1000 * SCRIPT_MS;
    bench->fabric = fabric_of(provider);
}

void bench_close(struct bench *bench)
{
    fabric_close(bench->fabric);
    reactor_close(bench->reactor);
}

static void client_event(struct client *client, const struct fabric_event *event)
{
    switch (event->type) {
    case FABRIC_CONNECTED:
    case FABRIC_ACCEPTED:
        client->connected = true;
        break;
    case FABRIC_MESSAGE:
        client->messages_count++;
        memcpy(&client->message, event->message, event->message_bytes);
        break;
    case FABRIC_DONE:
        client->done_count++;
        break;
    case FABRIC_CLOSED:
        client->closed = true;
        client->closed_status = event->status;
        break;
    }
}

// Peers of one fabric are told apart by the user pointer.
static void fabric_turn(struct fabric *fabric, uint64_t now_ns, struct client *only)
{
    struct fabric_event events[16];
    int count = fabric_poll(fabric, now_ns, events, 16);
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].user != NULL ? events[i].user : only;
        if (client == NULL) {
            continue;
        }
        if (events[i].type == FABRIC_ACCEPTED) {
            client->conn = events[i].conn;
            fabric_conn_set_user(events[i].conn, client);
        }
        client_event(client, &events[i]);
    }
}

void bench_turn(struct bench *bench)
{
    for (int i = 0; i < 6; i++) {
        fabric_turn(bench->fabric, bench->now_ns, NULL);
        reactor_turn(bench->reactor, bench->now_ns);
    }
    fabric_turn(bench->fabric, bench->now_ns, NULL);
}

void bench_pass(struct bench *bench, uint64_t ms)
{
    bench->now_ns += ms * SCRIPT_MS;
    bench_turn(bench);
}

static void client_memory_open(struct client *client, struct fabric *fabric)
{
    client->memory = aligned_alloc(4096, CLIENT_BYTES);
    assert_non_null(client->memory);
    for (unsigned i = 0; i < CLIENT_BYTES; i++) {
        client->memory[i] = (unsigned char)(i * 7 + i / 251);
    }
    assert_int_equal(fabric_region_open(fabric, client->memory, CLIENT_BYTES,
                                        FABRIC_LOCAL | FABRIC_REMOTE_WRITE, &client->region),
                     0);
}

void client_open(struct client *client, struct bench *bench)
{
    memset(client, 0, sizeof(*client));
    client->bench = bench;
    client_memory_open(client, bench->fabric);
    char address[PAWL_ADDRESS_BYTES_MAX];
    assert_int_equal(pawl_addresses_find(reactor_address(bench->reactor), bench->provider, address),
                     0);
    assert_int_equal(fabric_connect(bench->fabric, address, 1000, client, &client->conn), 0);
    for (int i = 0; i < 20 && !client->connected; i++) {
        bench_turn(bench); // who never waits looks for connections at each 16th poll only
    }
    assert_true(client->connected);
}

void client_close(struct client *client)
{
    if (!client->closed) {
        fabric_conn_close(client->conn, 0);
        bench_turn(client->bench);
        assert_true(client->closed);
    }
    fabric_region_close(client->region);
    free(client->memory);
}

void client_send(struct client *client, const void *message, uint32_t bytes)
{
    assert_int_equal(fabric_send(client->conn, message, bytes), 0);
    bench_turn(client->bench);
}

static void client_window(struct client *client, uint32_t slots)
{
    struct wire_window window;
    memset(&window, 0, sizeof(window));
    wire_header_init(&window.header, WIRE_WINDOW, sizeof(window), UINT64_MAX); // no test's own
    window.slots_wanted = slots;
    window.slots_needed = 1;
    client_send(client, &window, sizeof(window));
    assert_int_equal(client->messages_count, 2);
    assert_int_equal(client->message.header.type, WIRE_WINDOW | WIRE_REPLY);
    assert_int_equal(client->message.header.status, 0);
    client->messages_count = 1;
    client->welcome.window_address = client->message.granted.window_address;
    client->welcome.window_key = client->message.granted.window_key;
    client->welcome.window_slots = client->message.granted.window_slots;
}

void client_hello(struct client *client, uint64_t server_id, uint32_t slots)
{
    struct wire_hello hello;
    memset(&hello, 0, sizeof(hello));
    wire_header_init(&hello.header, WIRE_HELLO, sizeof(hello), 1);
    hello.cluster_id = client->bench->reactor->cluster_id;
    hello.server_id = server_id;
    hello.target_id = reactor_server_id(client->bench->reactor);
    client_send(client, &hello, sizeof(hello));
    assert_false(client->closed);
    assert_int_equal(client->messages_count, 1);
    assert_int_equal(client->message.header.type, WIRE_HELLO | WIRE_REPLY);
    assert_int_equal(client->message.header.status, 0);
    client->welcome = client->message.welcome;
    if (slots > 0) {
        client_window(client, slots);
    }
}

// What stands behind the struct of a run: its bytes, and the message's crc.
static uint32_t run_bytes(const struct client *client, const struct client_run *run,
                          unsigned char *ret, uint32_t *ret_crc)
{
    uint32_t rows_bytes = wire_rows_bytes(run->count);
    for (uint32_t i = 0; i < run->count; i++) {
        struct wire_run_row row = {
            .length = run->each,
            .crc = pawl_crc32c(0, client->memory + (size_t)run->each * i, run->each)};
        memcpy(ret + i * sizeof(row), &row, sizeof(row));
    }
    memcpy(ret + rows_bytes, client->memory, (size_t)run->each * run->count);
    *ret_crc = pawl_crc32c(0, ret, rows_bytes);
    return rows_bytes + run->each * run->count;
}

void client_run(struct client *client, const struct client_run *run)
{
    unsigned char message[WIRE_MESSAGE_MAX] = {0};
    struct wire_record_id id = {.producer_lo = 1, .sequence = run->index + 1};
    struct wire_append append = {.chunk = run->chunk,
                                 .version = 1,
                                 .id = id,
                                 .length = run->each * run->count,
                                 .run_count = run->count};
    struct wire_prepare prepare = {.chunk = run->chunk,
                                   .version = 1,
                                   .index = run->index,
                                   .id = id,
                                   .length = append.length,
                                   .run_count = run->count};
    uint32_t struct_bytes = wire_struct_bytes(run->type);
    uint32_t bytes = struct_bytes + run_bytes(client, run, message + struct_bytes, &append.crc);
    wire_header_init(&append.header, run->type, bytes, run->request);
    prepare.header = append.header;
    prepare.crc = append.crc;
    memcpy(message, run->type == WIRE_APPEND ? (void *)&append : (void *)&prepare, struct_bytes);
    client_send(client, message, bytes);
}

void client_append(struct client *client, uint64_t request, uint32_t length, uint16_t slot_first,
                   uint16_t slot_count)
{
    struct {
        struct wire_append append;
        unsigned char bytes[WIRE_INLINE_MAX];
    } message;
    memset(&message, 0, sizeof(message));
    struct wire_append *append = &message.append;
    uint32_t inline_bytes = slot_count == 0 ? length : 0;
    wire_header_init(&append->header, WIRE_APPEND, (uint32_t)sizeof(*append) + inline_bytes,
                     request);
    append->chunk = 42;
    append->version = 1;
    append->id.sequence = request;
    append->id.producer_lo = 1;
    append->length = length;
    append->crc = pawl_crc32c(0, client->memory, length);
    append->slot_first = slot_first;
    append->slot_count = slot_count;
    if (slot_count > 0) {
        uint64_t remote =
            client->welcome.window_address + (uint64_t)slot_first * client->welcome.slot_bytes;
        assert_int_equal(fabric_write(client->conn, client->region, client->memory, length, remote,
                                      client->welcome.window_key, 1),
                         0);
    } else {
        memcpy(message.bytes, client->memory, length);
    }
    client_send(client, &message, (uint32_t)sizeof(*append) + inline_bytes);
}

// ---- the test as a chunk server -----------------------------------------------------------------

void server_open(struct server *server, struct bench *bench)
{
    memset(server, 0, sizeof(*server));
    server->bench = bench;
    server->fabric = fabric_of(bench->provider);
    assert_int_equal(fabric_listen(server->fabric), 0);
    server->client.bench = bench;
    client_memory_open(&server->client, server->fabric);
}

void server_close(struct server *server)
{
    fabric_region_close(server->client.region);
    fabric_close(server->fabric);
    free(server->client.memory);
}

void server_turn(struct server *server)
{
    for (int i = 0; i < 6; i++) {
        bench_turn(server->bench);
        fabric_turn(server->fabric, server->bench->now_ns, &server->client);
    }
    bench_turn(server->bench);
}

void server_welcome(struct server *server, uint64_t server_id, uint32_t slots, uint32_t requests)
{
    server_welcome_of(server, server_id, slots, requests, 0);
}

void server_welcome_of(struct server *server, uint64_t server_id, uint32_t slots, uint32_t requests,
                       uint16_t reactor)
{
    struct wire_welcome welcome;
    server_turn(server);
    assert_true(server->client.connected);
    assert_int_equal(server->client.message.header.type, WIRE_HELLO);
    memset(&welcome, 0, sizeof(welcome));
    wire_header_init(&welcome.header, WIRE_HELLO | WIRE_REPLY, sizeof(welcome),
                     server->client.message.header.request);
    welcome.cluster_id = server->bench->reactor->cluster_id;
    welcome.server_id = server_id;
    welcome.incarnation = 1;
    welcome.window_address = fabric_region_remote(server->client.region, server->client.memory);
    welcome.window_key = fabric_region_key(server->client.region);
    welcome.window_slots = slots;
    welcome.slot_bytes = WIRE_SLOT_BYTES;
    welcome.requests_count = requests;
    welcome.run_bytes_max = WIRE_INLINE_MAX;
    welcome.reactor = reactor;
    welcome.reactors_count = server->client.message.hello.reactors_count;
    assert_int_equal(fabric_send(server->client.conn, &welcome, sizeof(welcome)), 0);
    server_turn(server);
}
