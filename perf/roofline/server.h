// SPDX-License-Identifier: Apache-2.0
// Inside of a server node: the null store.
//
//   server.c         its life: opening, control, the loop
//   server_append.c  records: taking, passing on, answering
//   server_disk.c    the journal (group commit, one write in flight) and the data file
//   server_read.c    reads
//   duties.c         what a store with Pawl's promises does beside, when it is asked for
#ifndef PAWL_PERF_ROOFLINE_SERVER_H
#define PAWL_PERF_ROOFLINE_SERVER_H

#include "perf/roofline/duties.h"
#include "perf/roofline/node.h"

// A record, or a run of small ones, that is not answered or passed back yet; index & mask, of a run the first one's, is
// its place.
struct record {
    uint64_t index, sequence, place;
    uint32_t client, length; // of each record
    uint32_t count;          // records
    bool is_durable;         // only of those that travel alone: runs become durable in their order
    struct disk_request write;
};

// A batch of the journal: what one durable write holds.
struct batch {
    uint8_t *buffer;
    uint32_t bytes, count;
    uint64_t end_index; // of its last record, and one
    struct disk_request write;
};

struct journal {
    uint8_t *memory;
    uint64_t memory_bytes;
    struct batch *batches; // a ring: [oldest, gathering]
    uint32_t batches_count;
    uint64_t oldest, gathering;
    uint32_t batch_bytes; // capacity of each
    uint32_t batch_max;   // records, of the present point
    bool is_in_flight;
    uint64_t offset; // in the file
};

struct server_client {
    struct transport_conn *conn;
    uint64_t taken_count;    // records that were taken from it
    uint64_t *slice_indices; // by slot: index of the record whose first slice came
    struct outbox_message *answer;
};

struct read_slice {
    struct disk_request request;
    struct server_read *read;
    uint32_t offset, bytes;
};

struct server_read {
    struct frame_read asked;
    struct server_client *client;
    struct read_slice *slices;
    uint32_t left_count;      // slices that the disk has not brought
    struct server_read *next; // that waits for the disk
};

struct server {
    const struct node_config *config;
    struct shape shape;
    struct transport transport;
    struct disk disk;
    struct outbox answers; // small ones: to clients, and PREPARED
    struct outbox prepares;
    struct writes writes;
    struct idler idler;
    struct server_client clients[ROOFLINE_CLIENTS_MAX];
    struct transport_conn *hops[2]; // next hops
    uint64_t hop_address[2], hop_key[2];
    uint64_t hop_prepared[2];
    uint32_t links_count; // of `hops` that are connected
    uint32_t hops_count;  // those of the present route
    uint32_t welcomes_count;
    bool is_connecting; // the caller waits for the welcomes
    struct transport_conn
        *upstreams[ROOFLINE_REPLICAS_MAX]; // by server: who may pass records on to this one
    struct transport_conn *upstream;       // who does, at present
    uint8_t *window;                       // slots; for reads: buffers
    uint64_t window_bytes;
    struct transport_region window_region;
    struct record *records;
    uint64_t records_mask;
    uint64_t next_index;    // the primary's: to be given out
    uint64_t taken_count;   // records
    uint64_t durable_count; // all below are durable here
    uint64_t answered_count;
    struct outbox_message *prepare; // being filled
    struct journal journal;
    struct duties duties;
    uint64_t data_offset;
    struct record **unflushed, **flushing;
    uint32_t unflushed_count, flushing_count;
    struct disk_request flush;
    struct server_read *reads;
    struct read_slice *read_slices; // of all reads
    uint32_t read_slices_max;       // of one
    struct server_read *waiting,
        **waiting_end;      // reads that the disk has not got, in the order in which they came
    uint32_t at_disk_count; // reads that it has got and not brought in all their slices
    struct control_point point;
    struct node_stats stats; // of what libraries don't count
    uint64_t cpu_start_ns, messages_start, message_bytes_start, transfers_start, writes_start,
        flushes_start, reads_start;
    bool is_stopping;
    char *error;
};

int server_fail(struct server *server, int code, const char *why);

// server_append.c
int server_append_open(struct server *server) PAWL_MUST_CHECK;
void server_append_close(struct server *server);
int server_client_message(struct server *server, struct server_client *client,
                          const struct frame *frame) PAWL_MUST_CHECK;
int server_upstream_message(struct server *server, const struct frame *frame) PAWL_MUST_CHECK;
int server_hop_message(struct server *server, uint32_t hop,
                       const struct frame *frame) PAWL_MUST_CHECK;
// Sends what has gathered: PREPAREs, answers, PREPARED.
int server_append_pump(struct server *server) PAWL_MUST_CHECK;

// server_disk.c
int server_disk_open(struct server *server) PAWL_MUST_CHECK;
void server_disk_close(struct server *server);
void server_disk_point(struct server *server);
int server_record_store(struct server *server, struct record *record,
                        const void *payload) PAWL_MUST_CHECK;
void server_run_store(struct server *server, const struct record *run, const uint8_t *payloads);
int server_disk_pump(struct server *server) PAWL_MUST_CHECK;

// server_read.c
int server_read_open(struct server *server) PAWL_MUST_CHECK;
void server_read_close(struct server *server);
int server_read_message(struct server *server, struct server_client *client,
                        const struct frame *frame) PAWL_MUST_CHECK;

#endif
