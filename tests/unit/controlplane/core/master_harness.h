// SPDX-License-Identifier: Apache-2.0
// A small world around one master core: fake chunk servers that answer commands, a log that survives
// the master, a clock that is set by hand. Not a simulator: messages arrive when the test says so.
#ifndef PAWL_TESTS_MASTER_HARNESS_H
#define PAWL_TESTS_MASTER_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/assert.h"
#include "base/random.h"
#include "controlplane/core/master_core.h"
#include "proto/wire.h"

#define WORLD_SERVERS 6
#define WORLD_CHUNKS 512
#define RECORD_BYTES 100u
#define WORLD_LEASE_NS UINT64_C(2000000000)

struct fake_replica {
    bool exists;
    uint64_t version;
    uint64_t count;
    uint64_t commit_count;
    bool sealed;
    bool primary;
    bool damaged;
    bool copying;
    uint64_t lease_until_ns;
    uint64_t zero_bytes;
    uint64_t written_handle;
    size_t table_bytes;
    size_t sessions_count; // ranges that came with OPEN
    uint64_t sessions[WIRE_SESSIONS_MAX][2];
    uint32_t members_count;
    uint64_t members[MASTER_SET_MAX];
};

static inline uint64_t fake_bytes(const struct fake_replica *replica)
{
    return replica->zero_bytes + replica->count * RECORD_BYTES;
}

struct fake_server {
    uint64_t id;
    uint64_t conn; // 0: down
    uint64_t incarnation;
    uint64_t cluster_id;
    uint64_t seen_term; // with nonce and position: the newest that it was told of the master's log
    uint64_t seen_nonce;
    uint64_t seen_position;
    char name[16];
    char location[16];
    const char *address; // NULL: one of its own
    uint64_t space_bytes;
    bool mute;             // takes commands, answers none
    bool late;             // mute, but carries them out when it is too late
    bool silent;           // sends no heartbeats
    int refuse;            // code of every command's answer
    int refuse_opens;      // the same, of OPEN only
    int refuse_seals;      // the same, of SEAL only
    int refuse_copies;     // the same, of COPY only
    bool shy;              // its data plane reaches nobody
    uint64_t copy_step;    // records that a COPY brings; 0: all
    uint64_t copies_count; // that were completed
    uint64_t order_term;   // of the last DROP or COPY
    uint64_t order;
    uint64_t drops_count;
    struct fake_replica replicas[WORLD_CHUNKS]; // by handle
};

struct world_command {
    struct world_command *next;
    uint64_t conn;
    uint64_t token;
    uint64_t deadline_ns;
    Pawl__Request *request;
};

struct world_record {
    uint8_t *data;
    size_t bytes;
};

struct world {
    struct master_core *core;
    uint64_t now_ns;
    uint64_t heartbeat_ns;
    uint64_t next_conn;
    uint64_t next_request;
    uint64_t next_incarnation;
    struct fake_server servers[WORLD_SERVERS];
    uint32_t servers_count;
    uint32_t starts_count;          // of the master
    struct world_command *commands; // FIFO
    struct world_command *held;     // with mute servers
    bool hold;                      // commands stay in the queue until the test pumps
    int64_t halt_in;                // half commands until `hold` sets itself; -1: never
    bool carrying_late;
    struct world_record *log;
    size_t log_count;
    size_t log_capacity;
    Pawl__Reply *reply; // of the last call
    uint64_t reply_request;
    uint64_t question;   // for a tail, that may wait; 0: none
    Pawl__Reply *answer; // to it; NULL: not yet
    char notes[65536];
    size_t notes_bytes;
    uint64_t acked[WORLD_CHUNKS]; // records of each chunk that were acknowledged
    struct pawl_alloc alloc;
    int64_t alloc_fail_at; // -1: never; else the allocation that fails
    int64_t alloc_live;
};

// A running master with `servers_count` registered servers cs1, cs2, ...
void world_init(struct world *world, uint32_t servers_count);
// Checks that the log gives the state back, then frees all.
void world_fini(struct world *world);

// One event; records what comes out, validates, then lets the commands be answered.
void world_event(struct world *world, struct master_event *event);
void world_pump(struct world *world);
// Time in steps of 50 ms, with heartbeats.
void world_advance(struct world *world, uint64_t ms);

// A request from a client; the reply is the world's until the next call.
const Pawl__Reply *world_call(struct world *world, Pawl__Request__BodyCase body_case, void *body);
const Pawl__Reply *world_call_on(struct world *world, uint64_t conn,
                                 Pawl__Request__BodyCase body_case, void *body);

// Server `i` counts from 1, as its name does.
struct fake_server *world_server(struct world *world, uint32_t i);
void world_server_start(struct world *world, uint32_t i);     // new incarnation, registers
void world_server_kill(struct world *world, uint32_t i);      // connection closed, leases void
void world_server_reconnect(struct world *world, uint32_t i); // same incarnation, new connection
const Pawl__Reply *world_server_register(struct world *world, uint32_t i);
void world_heartbeat(struct world *world, uint32_t i);
void world_report(struct world *world, uint32_t i, Pawl__ReportKind kind, uint64_t handle,
                  uint64_t version, uint64_t server_id);

// The master dies with all connections and comes back with its log; servers don't register yet.
void world_master_restart(struct world *world);

// Requests, shortened.
uint64_t world_create(struct world *world, const char *path, uint32_t replicas,
                      uint32_t min_replicas);
int world_mkdir(struct world *world, const char *path);
int world_remove(struct world *world, const char *path, bool recursive);
int world_rename(struct world *world, const char *from, const char *to);
int world_stat(struct world *world, const char *path);
const Pawl__Reply *world_tail(struct world *world, uint64_t file_id);
const Pawl__Reply *world_tail_hint(struct world *world, uint64_t file_id, uint64_t handle,
                                   uint64_t version, int code);
// Asks for the tail with time to wait for it; world->answer is the answer, then or later. One at a time.
void world_ask_tail(struct world *world, uint64_t file_id, uint64_t full_handle, uint32_t wait_ms);
// Asks for the tail until a lease is there; fails after `ms`.
const Pawl__Chunk *world_granted(struct world *world, uint64_t file_id, uint64_t ms);
const Pawl__Chunk *world_chunk(struct world *world, uint64_t handle);

// Records through the protocol's rule: acknowledged only when every member of the grant has them.
// False when the primary holds no lease or a member refuses.
bool world_append(struct world *world, uint64_t handle, uint64_t count);
// Index (from 1) of the server that holds the lease; 0: none.
uint32_t world_primary(struct world *world, uint64_t handle);

bool world_noted(const struct world *world, const char *text);
void world_notes_clear(struct world *world);

// Every acknowledged record is in a chunk that is open, or sealed behind it.
void world_check_acked(struct world *world);

// State as text: the packed dump.
struct world_record world_dump(const struct master_core *core);
struct master_core *world_replayed(struct world *world);

// Between the world and its servers.
void world_answer(struct world *world, const struct world_command *command, int status,
                  const Pawl__Reply *reply);
struct fake_server *fake_of_conn(struct world *world, uint64_t conn);
struct fake_server *fake_of_id(struct world *world, uint64_t id);
struct fake_replica *fake_replica_of(struct fake_server *server, uint64_t handle);
void fake_carry_out(struct world *world, struct fake_server *server,
                    const struct world_command *command);

#define WORLD_BODY(case_name) PAWL__REQUEST__BODY_##case_name

#endif
