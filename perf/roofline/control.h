// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: what the caller's process and the nodes say to each other.
//
// A socket pair of packets, one fixed struct each; the nodes are children and the same build. A node
// answers each request by one packet of the same type, or by CONTROL_ERROR at any time, after which it ends.
// The end of the socket is the end of the node, whichever side goes.
#ifndef PAWL_PERF_ROOFLINE_CONTROL_H
#define PAWL_PERF_ROOFLINE_CONTROL_H

#include "base/histogram.h"
#include "perf/roofline/roofline.h"

// Descriptors that a node inherits.
#define CONTROL_FD 3
#define CONTROL_JOURNAL_FD 4 // -1 in the config: none
#define CONTROL_DATA_FD 5

enum control_type {
    CONTROL_OPEN = 1, // node_config; answer: the port that it listens on
    CONTROL_CONNECT,  // ports of its next hops, or of the servers
    CONTROL_POINT,    // the point that follows; counters begin anew
    CONTROL_RUN,      // clients and parts: work; answer: latencies
    CONTROL_STATS,    // answer: counters
    CONTROL_STOP,
    CONTROL_ERROR,
};

enum node_role {
    NODE_SERVER = 1,
    NODE_CLIENTS, // all of them, a thread each
    NODE_PONG,    // parts of the check: one side of a ping-pong,
    NODE_PING,    // the other,
    NODE_DISK,    // and writes or reads of the disk
};

// Options without pointers.
struct node_config {
    enum node_role role;
    uint32_t index;
    struct roofline_options options; // its pointers are NULL
    uint32_t batch_max;              // of the sweep
    uint32_t block_bytes;            // what O_DIRECT wants
    bool is_local_flush;             // NODE_DISK: each write is durable by itself
    bool is_written;                 // NODE_PING: the payload by a one-sided write
    char provider[16];
    char host[64];
};

struct node_stats {
    uint64_t cpu_ns;
    uint64_t records_count; // taken (servers), answered (clients)
    uint64_t sent_count;    // clients
    uint64_t window_count;  // clients: answered within the measurement proper
    uint64_t messages_count, message_bytes, transfers_count;
    uint64_t writes_count, flushes_count, reads_count;
    uint64_t appends_count, prepares_count; // messages
    uint64_t entries_count;                 // in them
    uint64_t verified_count;                // reads
};

struct control_point {
    uint32_t batch;
    enum roofline_wait wait;
    uint32_t slice_bytes;
    enum roofline_route route;
    enum roofline_flush flush;
    uint32_t sources;
    uint32_t disk_reads; // of each server at once; 0: all
    uint32_t duration_ms, warm_up_ms;
};

struct control_message {
    uint32_t magic;
    uint32_t bytes;
    enum control_type type;
    uint32_t ports_count;
    uint16_t ports[4];
    union {
        struct node_config config;
        struct control_point point;
        struct node_stats stats;
        char text[ROOFLINE_TEXT_MAX];
    } u;
    uint64_t window_ns;
    struct pawl_histogram latencies; // of CONTROL_RUN only: others end before it
};

void control_message_init(struct control_message *message, enum control_type type);
// 0, or -errno. -EPIPE: the other side is gone.
int control_send(int fd, struct control_message *message) PAWL_MUST_CHECK;
// 1: a message; 0: none within timeout_ms (0: at once, -1: for ever); -EPIPE: the other side is gone; -EBADMSG.
int control_receive(int fd, int timeout_ms, struct control_message *ret) PAWL_MUST_CHECK;

#endif
