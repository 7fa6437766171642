// SPDX-License-Identifier: Apache-2.0
// Harness of the chunk core's tests: three cores, each with a store, and a network between them.
//
// Stores and network are instant within h_run(), unless they are held back: hold_store[s] keeps the
// store operations of server s from ending, hold_net[s] keeps messages from reaching it. After every
// step the core is validated; at the end every request must have been answered exactly once (unless
// its connection was closed) and every payload released exactly once.
#ifndef PAWL_TESTS_CORE_HARNESS_H
#define PAWL_TESTS_CORE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "dataplane/core/chunk_core.h"

#define H_SERVERS 3
#define H_CHUNK 42u // the chunk that the tests are about
#define H_FILE 7u
#define H_BASE 1000000u // its base offset in the file
#define H_CHUNK_BYTES 65536u
#define H_REQUESTS 4096u
#define H_RECORDS 4096u
#define H_QUEUE 4096u
#define H_LEASE_MS 2000u

// What a server's disk holds of the chunk.
struct h_disk {
    bool exists;
    bool sealed;
    uint64_t version;
    uint64_t commit_count;
    struct chunk_create create;
    struct wire_producer producers[64];
    struct pawl_record records[H_RECORDS];
    bool durable[H_RECORDS];
    uint64_t records_count; // a crash cuts it at the first one that is not durable
};

struct h_request { // of a client or of the master, by number
    bool asked;
    bool closed; // its connection was: no reply is due
    uint32_t answers_count;
    int status;
    uint16_t type;
    union chunk_reply reply;
    struct chunk_action action; // READ and SEND_RECORD, which are replies of the driver's
    Pawl__Fenced fenced;
    Pawl__Levelled levelled;
    Pawl__Copied copied;
    uint64_t sealed_version;
    uint32_t producers_count;
    struct wire_producer *producers; // of a sealed chunk
};

union h_message {
    struct wire_header header;
    struct wire_append append;
    struct wire_prepare prepare;
    struct wire_commit commit;
    struct wire_hold hold;
    struct wire_read read;
    struct wire_fetch fetch;
    struct wire_fetched fetched;
    struct wire_lookup lookup;
    struct wire_inspect inspect;
};

struct h_packet {
    uint32_t to;
    struct wire_producer *rows; // a table that was fetched
    struct chunk_event event;
    union h_message message;
};

struct h_peer_request { // between servers, by number
    uint32_t from;
    uint32_t to;
    enum chunk_action_type type;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t token;
    bool again; // FETCH
};

struct h_report {
    uint32_t from;
    Pawl__ReportKind kind;
    uint64_t version;
    uint64_t server_id;
};

struct harness {
    struct chunk_core *core[H_SERVERS];
    struct h_disk disk[H_SERVERS];
    struct chunk_action *store[H_SERVERS]; // queue of store operations
    uint32_t store_head[H_SERVERS];
    uint32_t store_tail[H_SERVERS];
    struct h_packet *net[H_SERVERS]; // queue of messages to each server
    uint32_t net_head[H_SERVERS];
    uint32_t net_tail[H_SERVERS];
    bool hold_store[H_SERVERS];
    bool hold_net[H_SERVERS];
    int fail_store[H_SERVERS];   // status that store operations end in
    int fail_peer[H_SERVERS];    // status that messages to the server end in
    uint32_t corrupt[H_SERVERS]; // payloads on their way there are damaged
    struct h_request *requests;
    uint64_t next_request;
    struct h_peer_request *peer_requests;
    uint64_t next_peer_request;
    uint8_t *payloads; // 1: with a core, 2: released
    uint64_t next_payload;
    struct h_report reports[256];
    uint32_t reports_count;
    uint32_t connects_count;
    uint32_t commits_count; // COMMIT messages sent
    uint32_t holds_count;
    uint64_t relay_to[H_SERVERS]; // of the last PREPARE to each
    uint64_t relayed_by[H_SERVERS];
    uint64_t now_ns;
    uint64_t term;
    uint64_t order;          // of the last DROP, COPY or registration
    uint64_t written_handle; // that OPEN and COPY name
    uint64_t zero_bytes;
    const struct pawl_alloc *alloc;
    int rc; // of the last step that failed
};

int h_setup(void **state);
int h_teardown(void **state);

// A core for a server that has none; what its disk holds is loaded.
void h_start(struct harness *h, uint32_t server);
// Of struct chunk_load, for an array of records.
struct pawl_record h_record_at(const void *rows, uint64_t index);
// The master has answered its registration; h_start() does that, too.
void h_registered(struct harness *h, uint32_t server);
// The server loses all that is not durable: queues, memory.
void h_crash(struct harness *h, uint32_t server);

void h_step(struct harness *h, uint32_t server, const struct chunk_event *event);
// Ends store operations and delivers messages until nothing moves any more.
void h_run(struct harness *h);
// Ends the store operation of a server that is `skip` places behind the first.
void h_store_end(struct harness *h, uint32_t server, uint32_t skip, int status);
void h_tick(struct harness *h, uint32_t server, uint32_t ms);
void h_tick_all(struct harness *h, uint32_t ms);

// Commands; each returns the request's number.
uint64_t h_open(struct harness *h, uint32_t server, uint64_t version,
                const struct wire_producer *producers, uint32_t count);
uint64_t h_fence(struct harness *h, uint32_t server, uint64_t version);
uint64_t h_level(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                 uint32_t source);
uint64_t h_copy(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                uint64_t length, uint32_t source);
uint64_t h_seal(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                uint64_t length);
uint64_t h_grant(struct harness *h, uint32_t server, uint64_t version, uint64_t count,
                 uint32_t members);
uint64_t h_drop(struct harness *h, uint32_t server, uint64_t version);
uint64_t h_command(struct harness *h, uint32_t server, Pawl__Request *command);

// Opens the chunk at version 1 on the first `members` servers and grants it to server 0.
void h_ready(struct harness *h, uint32_t members);

// Requests of clients. crc and length are functions of producer and sequence unless said.
struct h_append {
    uint64_t conn;
    uint64_t version; // 0: 1
    uint64_t producer_hi;
    uint64_t producer;
    uint64_t sequence;
    uint32_t epoch;
    uint32_t flags;
    uint32_t length; // 0: 100, or 0 for an epoch record
    uint32_t crc;    // 0: a function of the id
    bool bad_payload;
    bool replicated;
    uint16_t run_count; // so many records, each of 100 bytes
};
uint64_t h_append_send(struct harness *h, uint32_t server, const struct h_append *append);
uint64_t h_append(struct harness *h, uint32_t server, uint64_t producer, uint64_t sequence);
uint64_t h_message_send(struct harness *h, uint32_t server, enum chunk_event_type type,
                        union h_message *message, uint32_t payload_crc);
uint64_t h_lookup(struct harness *h, uint32_t server, uint64_t producer, uint64_t sequence);
uint64_t h_read(struct harness *h, uint32_t server, uint64_t offset, uint32_t length);
struct wire_inspected h_inspect(struct harness *h, uint32_t server);
uint32_t h_crc(uint64_t producer, uint64_t sequence);
#define H_RUN_CRC 77u // of the rows of any run
void h_conn_closed(struct harness *h, uint32_t server, uint64_t conn);

bool h_is_answered(const struct harness *h, uint64_t request);
int h_status(const struct harness *h, uint64_t request);
#define h_expect(h, request, code)                                                                 \
    do {                                                                                           \
        uint64_t h_request_ = (request);                                                           \
        assert_true(h_is_answered(h, h_request_));                                                 \
        assert_int_equal(h_status(h, h_request_), code);                                           \
    } while (0)
const struct wire_appended *h_appended(const struct harness *h, uint64_t request);
uint32_t h_reports(const struct harness *h, uint32_t from, Pawl__ReportKind kind,
                   uint64_t server_id);

#define H_BROKEN PAWL__REPORT_KIND__REPORT_BROKEN
#define H_FULL PAWL__REPORT_KIND__REPORT_FULL
#define H_DAMAGED PAWL__REPORT_KIND__REPORT_DAMAGED

// core_runs.c: between the harness's files. The rows of a run that begins with `first`, valid until the next call; NULL
// for none.
const struct wire_run_row *h_run_rows(const struct wire_record_id *first, uint64_t count);
void h_disk_append(struct h_disk *disk, const struct chunk_action *action);

#endif
