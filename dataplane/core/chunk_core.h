// SPDX-License-Identifier: Apache-2.0
// The chunk core: replication of all chunks of one reactor, as a pure step function.
//
// OWNS: the replicas' state in memory: record tables, producer tables, leases, appends in flight.
// It has no clock, does no I/O, starts no thread; time comes in with each event, memory from the
// allocator given at init. The reactor and the simulator are two drivers of the same function.
//
// Driver's contract:
//  - Actions of a step are carried out in their order. Persisting is asynchronous: its end is an event
//    (CHUNK_EVENT_PERSISTED with the action's token); what depends on it comes out of that step.
//  - A request (append, prepare, fetch, ...) is named by (conn, request). The core answers each exactly
//    once with CHUNK_ACTION_REPLY, unless its connection was reported closed before.
//  - `payload` is the driver's name for the bytes that a request carries (0: none). The core gives it
//    back with exactly one CHUNK_ACTION_RELEASE, after the last action that names it; the driver counts
//    its own uses (a write under way, a forward) on top, and holds the reply of the request that
//    brought the payload until all of them are over: the reply returns the window's slots.
//  - A message to a secondary ends in exactly one CHUNK_EVENT_PREPARED: with the peer's reply, or with
//    a negative status when the connection broke, could not be made or a deadline passed. So does a HOLD,
//    in one CHUNK_EVENT_HELD.
//
// Rules (design.md 3) live here: see the comments over each in chunk_core.c and its neighbours.
#ifndef PAWL_DATAPLANE_CHUNK_CORE_H
#define PAWL_DATAPLANE_CHUNK_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addresses.h"
#include "base/alloc.h"
#include "base/util.h"
#include "control.pb-c.h"
#include "proto/record.h"
#include "proto/wire.h"

#define CHUNK_SET_MAX 8u          // replicas of a chunk
#define CHUNK_RECORDS_MAX 262144u // records of a chunk; more: PAWL_ECHUNKFULL
#define CHUNK_INFLIGHT_MAX 1024u  // appends of a chunk that are not committed yet; more: PAWL_EBUSY
#define CHUNK_READ_SEGMENTS_MAX 64u // pieces that a read is gathered from; more: it ends early
#define CHUNK_NAME_MAX 64u
#define CHUNK_ADDRESS_MAX PAWL_ADDRESSES_BYTES_MAX

struct chunk_core;

struct chunk_core_options {
    uint64_t server_id;
    uint32_t lease_margin_ms; // a lease is not used in its last so many ms; default 200
    uint32_t prepare_ms; // a secondary that has not answered by then is reported; default 1,000
    const struct pawl_alloc *alloc;
};

enum chunk_event_type {
    CHUNK_EVENT_TICK = 1, // time passes (every 10 to 50 ms): deadlines, leases
    CHUNK_EVENT_COMMAND,  // from the master: fence, level, seal, open, grant, drop, copy
    CHUNK_EVENT_LEASE,    // the master has renewed handle/version until `until_ns`
    CHUNK_EVENT_APPEND,   // message: wire_append
    CHUNK_EVENT_PREPARE,  // message: wire_prepare
    CHUNK_EVENT_PREPARED, // reply of `server` to prepare (handle, version, index), or its failure; of
                          // a run the index of its last record
    CHUNK_EVENT_COMMIT,   // message: wire_commit
    CHUNK_EVENT_HOLD,     // message: wire_hold
    CHUNK_EVENT_HELD, // reply of `server` to hold (handle, version, index: its count), or its failure
    CHUNK_EVENT_READ,    // message: wire_read
    CHUNK_EVENT_FETCH,   // message: wire_fetch
    CHUNK_EVENT_FETCHED, // end of an own CHUNK_ACTION_FETCH: token, status, message: wire_fetched,
                         // payload, bytes: what the payload is
    CHUNK_EVENT_LOOKUP,  // message: wire_lookup
    CHUNK_EVENT_INSPECT, // message: wire_inspect
    CHUNK_EVENT_PERSISTED,   // token, status
    CHUNK_EVENT_CONN_CLOSED, // conn: its requests need no reply any more
    CHUNK_EVENT_PEER_DOWN,   // server: connection to it lost, or could not be made
    CHUNK_EVENT_DAMAGED,     // a read of handle found bytes that don't match their checksum
    CHUNK_EVENT_REGISTERING, // an inventory of all that is here is being made, to register with it
    CHUNK_EVENT_REGISTERED,  // term, order: of the master's answer to the last such registration
};

struct chunk_event {
    enum chunk_event_type type;
    uint64_t now_ns; // of a clock that runs through suspend (CLOCK_BOOTTIME)
    uint64_t conn;
    uint64_t request;
    uint64_t server;
    uint64_t payload;     // transfers one use to the core
    uint32_t payload_crc; // crc32c of the bytes that landed, computed by the driver; of a run
                          // wire_run_crc()
    const struct wire_run_row *rows; // of a run; BORROWS UNTIL the step returns
    int status;
    uint64_t token;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t until_ns;
    uint64_t term;
    uint64_t order;
    const struct wire_header *message; // checked by wire_check(); BORROWS UNTIL the step returns
    const Pawl__Request *command;      // BORROWS UNTIL the step returns
    const void *bytes;                 // FETCHED: BORROWS UNTIL the step returns; NULL for none
};

enum chunk_action_type {
    // Store; each ends in CHUNK_EVENT_PERSISTED(token).
    CHUNK_ACTION_CREATE = 1, // create: the new chunk
    CHUNK_ACTION_APPEND, // handle, index, record, count, payload, commit_count: of a run `record` is the
                         // first, the others follow from the rows that came with the payload
    CHUNK_ACTION_PROMISE, // handle, version
    CHUNK_ACTION_SEAL,    // handle, version, count
    CHUNK_ACTION_DROP,    // handle
    // Fabric.
    CHUNK_ACTION_REPLY,   // conn, request, reply (its header's status and type are set)
    CHUNK_ACTION_PREPARE, // server, prepare, payload, relay_to, relayed_by
    CHUNK_ACTION_COMMIT,  // server, commit
    CHUNK_ACTION_HOLD,    // server, hold; behind the PREPAREs that it is about
    CHUNK_ACTION_FETCH,   // server (address known from CONNECT), fetch, token, again
    CHUNK_ACTION_READ,    // conn, request: read the segments one behind the other, then reply as a
                          // wire_read_done with committed_bytes, sealed and log_* as given here
    CHUNK_ACTION_SEND_RECORD, // conn, request: read record `index` of handle, write it to the fetcher's
                              // buffer (message fields in `fetch`), reply wire_fetched
    CHUNK_ACTION_SEND_TABLE, // conn, request: write the rows of `table` to the fetcher's buffer, reply
                             // wire_fetched with index WIRE_FETCH_TABLE and the crc32c of the rows
    CHUNK_ACTION_CONNECT,    // server, address (a list), handle: will be needed for it
    CHUNK_ACTION_RELEASE,    // payload
    // Control plane.
    CHUNK_ACTION_ANSWER, // request: answer of a master's command (BORROWS UNTIL the next step)
    CHUNK_ACTION_REPORT, // report to the master; best effort, repeated by the core if it matters
};

// A new chunk, as it has to be made durable.
struct chunk_create {
    uint64_t handle;
    uint64_t version;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint64_t commit_count; // a copy: records that it lacks as long as it holds fewer
    uint32_t index;
    uint32_t producers_count;
    const struct wire_producer *producers; // BORROWS UNTIL PERSISTED
    uint64_t written_handle;               // chunks of a write log: the chunk that it is about
    uint64_t zero_bytes;                   // not 0: the chunk is so many zeros and takes no record
};

// A piece of a read: bytes of a chunk, or zeros.
struct chunk_segment {
    uint64_t handle; // 0: zeros
    uint64_t offset; // in that chunk
    uint32_t length;
};

union chunk_reply {
    struct wire_header header;
    struct wire_appended appended;
    struct wire_prepared prepared;
    struct wire_read_done read_done;
    struct wire_fetched fetched;
    struct wire_inspected inspected;
};

struct chunk_action {
    enum chunk_action_type type;
    uint64_t token;
    uint64_t conn;
    uint64_t request;
    uint64_t server;
    uint64_t relay_to;   // PREPARE: the payload may go on from `server` to this one; 0: nowhere
    uint64_t relayed_by; // PREPARE: the payload may come from this one; 0: from us only
    uint64_t payload;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t count;
    uint64_t commit_count;
    uint64_t offset;
    uint64_t committed_bytes;
    uint64_t durable_ns; // REPLY to an APPEND: when the record was durable here; 0: not known
    uint32_t length;
    uint32_t log_chunks;
    uint64_t log_bytes;
    const struct chunk_segment *segments; // BORROWS UNTIL the next step
    uint32_t segments_count;
    bool sealed;
    // FETCH: its payload landed wrong. It takes the room that is free with that, before any other
    // fetch: what is behind it is held here until it comes.
    bool again;
    union {
        struct pawl_record record;
        struct chunk_create create;
        union chunk_reply reply;
        struct wire_prepare prepare; // header is left to the driver
        struct wire_commit commit;
        struct wire_hold hold;
        struct wire_fetch fetch;
        struct wire_read read;
        struct {
            const struct wire_producer *rows; // BORROWS UNTIL the next step
            uint32_t count;
        } table;
        char address[CHUNK_ADDRESS_MAX];
        Pawl__Reply answer; // its pointers BORROW from the core UNTIL the next step
        struct {
            Pawl__ReportKind kind;
            uint64_t server_id;
        } report;
    };
};

// Ordered actions of one step; grows through the core's allocator.
struct chunk_actions {
    struct chunk_action *items;
    uint32_t count;
    uint32_t capacity;
};

// What the driver read from the store at start-up.
struct chunk_load {
    struct chunk_create create;
    uint64_t version; // promised
    uint64_t commit_count;
    bool sealed;
    bool damaged;
    bool
        salvages; // records that make no sense, and all behind them, are left out, and the chunk is damaged
    struct pawl_record (*record_at)(const void *rows, uint64_t index);
    const void *rows;
    uint64_t records_count;
};

struct chunk_core_counters {
    uint64_t appends_count;    // records committed by this server as a primary
    uint64_t duplicates_count; // appends that were answered from the table
    uint64_t mismatches_count; // damaged reads, bad payloads
    uint64_t fences_count;
};

int chunk_core_new(const struct chunk_core_options *options,
                   struct chunk_core **ret) PAWL_MUST_CHECK;
void chunk_core_free(struct chunk_core *core);

// Adds a chunk that the store holds. Before the first step. -ENOMEM; PAWL_EFORMAT: it makes no sense, and nothing was added.
int chunk_core_load(struct chunk_core *core, const struct chunk_load *load) PAWL_MUST_CHECK;

// The event that a request of this wire type is. Any other type is taken for WIRE_INSPECT, which changes
// nothing.
enum chunk_event_type chunk_event_of(uint16_t wire_type);

// The step. `actions` is emptied first and stays owned by the core. -ENOMEM only: the caller must
// treat that as a crash (stop the process); nothing half done was sent.
int chunk_core_step(struct chunk_core *core, const struct chunk_event *event,
                    const struct chunk_actions **ret_actions) PAWL_MUST_CHECK;

// Inventory for registration and heartbeats. `open_only`: replicas that are not sealed.
void chunk_core_visit(const struct chunk_core *core, bool open_only,
                      void (*visit)(void *user, const Pawl__Replica *replica), void *user);

// The chunk by whose handle the reactor is chosen that this one belongs to: of a chunk of a write log the one that is
// written, of any other, known or not, itself.
uint64_t chunk_core_owner(const struct chunk_core *core, uint64_t handle);

// The servers that a primary's messages about a chunk go to. Their number, or why this server may not order anything for
// it under this version.
int chunk_core_secondaries(const struct chunk_core *core, uint64_t handle, uint64_t version,
                           uint64_t ret_servers[CHUNK_SET_MAX]);

const struct chunk_core_counters *chunk_core_counters(const struct chunk_core *core);

// Asserts every internal invariant; for tests and the simulator.
void chunk_core_validate(const struct chunk_core *core);

#endif
