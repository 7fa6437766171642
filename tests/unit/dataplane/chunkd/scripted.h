// SPDX-License-Identifier: Apache-2.0
// A reactor whose core and store are played by the test, and a peer of it over the fake fabric.
//
// The scripted core keeps every event that it is stepped with; the test says what the next step's
// actions are. The scripted store keeps every call; the test says when each of them completes. Time is
// the test's.
#ifndef PAWL_TESTS_CHUNKD_SCRIPTED_H
#define PAWL_TESTS_CHUNKD_SCRIPTED_H

#include "dataplane/chunkd/chunkd_private.h"

#define SCRIPT_COUNT 512u

struct script_event {
    struct chunk_event event;
    bool has_message;
    union {
        struct wire_header header;
        unsigned char bytes[256];
    } message;
};

struct script_call {
    const char *name;
    uint64_t handle;
    uint64_t index;
    uint64_t token;
    uint64_t version;
    const void *memory; // payload or buffer
    uint32_t length;
    uint32_t count; // records of a run; 0: none
};

struct script {
    struct script_event events[SCRIPT_COUNT]; // without ticks
    unsigned events_count;
    unsigned ticks_count;
    struct chunk_action actions[SCRIPT_COUNT]; // of the next step
    unsigned actions_count;
    struct script_call calls[SCRIPT_COUNT];
    unsigned calls_count;
    struct store_completion completions[SCRIPT_COUNT];
    unsigned completions_count;
    int store_code; // what store calls return
    uint64_t secondaries[CHUNK_SET_MAX];
    int secondaries_count; // or a code
    int store_failed;
    uint64_t server_id; // identity
    uint64_t cluster_id;
    Pawl__Replica replicas[4]; // inventory
    unsigned replicas_count;
    bool visited;            // the inventory was asked for
    bool answer_commands;    // at once, with PAWL_ESTALE
    uint64_t written_handle; // that chunk 42 is of the log of; 0: of none
};

extern struct script script;

#define SCRIPT_CLUSTER 0xc1u
#define SCRIPT_MS UINT64_C(1000000)

// The reactor and its time.
struct bench {
    struct reactor *reactor;
    uint64_t now_ns;
    struct fabric *fabric; // of the peers that the test plays
    const char *provider;
};

// Without a reactor.
void bench_init(struct bench *bench, const char *provider);
// With a reactor over the scripted core and store, and the least memory.
void bench_open(struct bench *bench);
// The same with so much memory: windows for several clients.
void bench_open_with(struct bench *bench, uint64_t region_bytes);
void bench_close(struct bench *bench);
// Some rounds of everything, without time passing.
void bench_turn(struct bench *bench);
void bench_pass(struct bench *bench, uint64_t ms);

// Adds an action to the next step; fill it through the returned pointer.
struct chunk_action *script_action(enum chunk_action_type type);
// Steps the core now with a tick, so that the actions are carried out.
void script_run(struct bench *bench);
// The last event of a type, or NULL; how many there were.
struct script_event *script_last(enum chunk_event_type type);
unsigned script_count(enum chunk_event_type type);
// The last call of this name, or NULL.
struct script_call *script_call_last(const char *name);
void script_complete(uint64_t token, int status, const void *data, uint32_t bytes);

// ---- a peer that connects to the reactor, or that the reactor connects to --------------------------

struct client {
    struct bench *bench;
    struct fabric_conn *conn;
    bool connected;
    bool closed;
    int closed_status;
    unsigned messages_count;
    union {
        struct wire_header header;
        struct wire_welcome welcome;
        struct wire_granted granted;
        struct wire_hello hello;
        struct wire_prepare prepare;
        struct wire_fetch fetch;
        union chunk_reply reply;
        unsigned char bytes[WIRE_MESSAGE_MAX];
    } message; // the last one
    unsigned done_count;
    struct wire_welcome welcome;
    unsigned char *memory; // 2 MiB, registered for everything
    struct fabric_region *region;
};
#define CLIENT_BYTES (2u << 20)

void client_open(struct client *client, struct bench *bench);
void client_close(struct client *client);
// Says HELLO, as a server when server_id is not 0, and expects to be welcome. Asks for a window of up to so many slots, if
// any, and notes what it gets in the welcome, as if both had been one message.
void client_hello(struct client *client, uint64_t server_id, uint32_t slots);
void client_send(struct client *client, const void *message, uint32_t bytes);
// An APPEND of `length` bytes of memory: inline, or in `slot_count` slots that are written first.
void client_append(struct client *client, uint64_t request, uint32_t length, uint16_t slot_first,
                   uint16_t slot_count);

// A run of `count` records of `each` bytes of memory, as an APPEND or a PREPARE (`type`): the first has this index, and
// the sequence behind it.
struct client_run {
    uint16_t type;
    uint16_t count;
    uint32_t each;
    uint64_t chunk;
    uint64_t index;
    uint64_t request;
};
void client_run(struct client *client, const struct client_run *run);

// A listening fabric of the test's: another chunk server. Its accepted connection appears in `client`.
struct server {
    struct fabric *fabric;
    struct client client;
    struct bench *bench;
};
void server_open(struct server *server, struct bench *bench);
void server_close(struct server *server);
void server_turn(struct server *server);
// Accepts HELLO and answers with a window of `slots` slots over client.memory.
void server_welcome(struct server *server, uint64_t server_id, uint32_t slots, uint32_t requests);
// The same as one of the reactors of that server.
void server_welcome_of(struct server *server, uint64_t server_id, uint32_t slots, uint32_t requests,
                       uint16_t reactor);

// ---- appends on their way to that server -----------------------------------------------------------

// The core's name of the payload that the last APPEND has brought.
uint64_t script_payload(void);
// Actions of the next step: to connect to the server, and to send it the PREPARE of a record of chunk 42, version 3.
void script_connect(const struct server *server, uint64_t server_id);
struct chunk_action *script_prepare(uint64_t server_id, uint64_t payload, uint64_t index,
                                    uint32_t length);
// Answers a PREPARE of that chunk; `answer` has what is not 0: status and flags, index, earlier_count.
void server_prepared(struct server *server, uint64_t request, const struct wire_prepared *answer);

#endif
