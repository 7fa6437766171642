// SPDX-License-Identifier: Apache-2.0
// Inside the simulated chunk server: sim_chunkd.c (core, store, control plane), sim_fabric.c (data
// plane).
#ifndef PAWL_SIM_CHUNKD_H
#define PAWL_SIM_CHUNKD_H

#include "dataplane/core/chunk_core.h"
#include "sim.h"

#define SIM_OPERATION_MS 1500u // an unanswered request to a peer costs the connection

// Bytes that came with a request, or with a fetched record.
struct sim_payload {
    uint64_t number;
    uint32_t bytes;
    uint32_t uses; // core, disk, messages that wait for their connection
    uint8_t *data;
    uint64_t conn; // of the request that brought it; 0: none
    uint64_t request;
    struct sim_frame *held; // its reply, until all uses are over
};

// A request of our own to a peer.
struct sim_call {
    uint64_t request;
    uint16_t type;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t token;
    uint64_t deadline_ns;
    struct sim_frame *frame; // while it waits for the connection
};

struct sim_peer {
    struct sim_conn *conn; // NULL: none
    bool open;
    struct sim_call *calls;
    uint32_t calls_count;
    uint32_t calls_capacity;
};

// A request from outside that the core has not answered.
struct sim_served {
    uint64_t conn;
    uint64_t request;
    uint64_t payload;
    struct sim_frame *frame; // a copy: reads and answers are checked against it
};

struct sim_chunkd {
    struct sim_node *node;
    struct sim_disk *disk;
    struct chunk_core *core;
    uint64_t incarnation;
    // Control plane.
    struct sim_conn *control;
    bool control_open;
    bool registered;
    bool asked; // a registration or heartbeat is under way
    uint64_t asked_request;
    uint64_t asked_ns; // by our clock
    uint32_t lease_ms;
    uint64_t control_request;
    struct pawl_map commands; // number > struct sim_served
    uint64_t command_last;
    // Data plane.
    struct sim_peer peers[SIM_SERVERS_MAX];
    struct pawl_map payloads; // number > struct sim_payload
    uint64_t payload_last;
    uint64_t call_last;
    struct sim_served *served;
    uint32_t served_count;
    uint32_t served_capacity;
};

// sim_chunkd.c
void chunkd_step(struct sim *sim, struct sim_chunkd *s, struct chunk_event event);

// sim_fabric.c
struct sim_payload *payload_new(struct sim_chunkd *s, const void *data, uint32_t bytes);
void payload_release(struct sim *sim, struct sim_chunkd *s, uint64_t number);
struct sim_payload *payload_of(struct sim *sim, struct sim_chunkd *s, uint64_t number);
void fabric_carry_out(struct sim *sim, struct sim_chunkd *s, const struct chunk_action *action);
void fabric_fini(struct sim_chunkd *s);
void fabric_opened(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn, int side);
void fabric_closed(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn, int side);
void fabric_frame(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                  struct sim_frame *frame);
void fabric_tick(struct sim *sim, struct sim_chunkd *s);

#endif
