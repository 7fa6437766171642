// SPDX-License-Identifier: Apache-2.0
// Inside of the clients' node: one client, which belongs to one thread.
#ifndef PAWL_PERF_ROOFLINE_CLIENT_H
#define PAWL_PERF_ROOFLINE_CLIENT_H

#include "perf/roofline/node.h"

struct client_server {
    struct transport_conn *conn;
    uint64_t address, key; // its window
    uint32_t reads_count;  // that it has not answered
    bool is_welcomed;
};

// Of reads, which are answered in any order: the slots that are free, as a stack, and whom a slot's read went to.
struct client_slots {
    uint32_t *free;
    uint32_t *servers;
    uint32_t free_count;
};

// When a run begins and ends, the same for all clients.
struct client_run {
    struct control_point point;
    uint64_t start_ns, window_ns,
        end_ns; // clock times: first record, begin and end of the measurement
};

struct client {
    const struct node_config *config;
    uint32_t index;
    uint16_t ports[ROOFLINE_REPLICAS_MAX];
    struct shape shape;
    struct transport transport;
    struct client_server servers[ROOFLINE_REPLICAS_MAX];
    uint32_t servers_count;
    struct outbox outbox;
    struct writes writes;
    struct idler idler;
    uint8_t *memory; // a slot for each record in flight
    struct transport_region region;
    uint64_t next_sequence, answered_count; // over all runs
    uint64_t *starts_ns;                    // by slot; 0: free
    uint32_t *runs; // by slot of a run's first record: records that one answer is for
    struct client_slots slots;
    const struct client_run *run;
    uint64_t run_first; // sequence of the first record of this run
    uint64_t progress_ns, last_answer_ns;
    uint64_t now_ns;
    uint64_t messages_start, message_bytes_start, transfers_start;
    struct node_stats stats;
    struct pawl_histogram latencies;
    int wake_fd; // of the process's main thread: readable when the thread should look
    char error[ROOFLINE_TEXT_MAX];
};

int client_open(struct client *client) PAWL_MUST_CHECK; // connects; waits for the welcomes
int client_work(struct client *client, const struct client_run *run) PAWL_MUST_CHECK;
void client_close(struct client *client);

#endif
