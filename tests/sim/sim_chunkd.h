// SPDX-License-Identifier: Apache-2.0
// Inside the simulated chunk server: sim_chunkd.c (core, store, control plane), sim_fabric.c (data
// plane).
#ifndef PAWL_SIM_CHUNKD_H
#define PAWL_SIM_CHUNKD_H

#include "dataplane/core/chunk_core.h"
#include "sim.h"

#define SIM_OPERATION_MS 1500u // an unanswered request to a peer costs the connection
#define SIM_LANDING_BYTES (64u << 10)

// Memory that a peer writes into (sim_window.c).
struct sim_window {
    uint32_t number;
    uint32_t uses;     // the endpoint, payloads
    uint64_t conn;     // whose endpoint; 0: it is gone
    uint64_t freed_ns; // when its last use ended
    uint8_t *bytes;
};

// Bytes that came with a request, or with a fetched record.
struct sim_payload {
    uint64_t number;
    uint32_t bytes;
    uint32_t uses; // core, disk, messages that wait for their connection
    uint8_t *data;
    const struct wire_run_row *rows; // of a run, in front of `data`
    struct sim_window *window;       // that holds `data`; NULL: the payload does
    uint64_t conn;                   // of the request that brought it; 0: none
    uint64_t request;
    struct sim_frame *held; // its reply, until all uses are over
};

// A run that the core has handed to the disk.
struct sim_run {
    uint64_t token;
    uint32_t left; // records whose ends are still to come
    int status;    // the first failure
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
    bool sent;
    uint16_t slot_first;
    uint16_t slot_count;
    uint64_t payload;           // until it is sent: 0: none
    struct sim_window *landing; // fetches
    struct sim_frame *frame;    // while it waits for the connection, or for slots
};

struct sim_peer {
    struct sim_conn *conn; // NULL: none
    bool open;
    uint64_t slots_used; // of its window
    struct sim_call *calls;
    uint32_t calls_count;
    uint32_t calls_capacity;
};

// A request from outside that the core has not answered.
struct sim_served {
    uint64_t conn;
    uint64_t request;
    uint64_t handle; // of a command
    Pawl__Request__BodyCase command;
    uint64_t payload;
    uint64_t slots;
    struct sim_frame *frame; // a copy: reads and answers are checked against it
};

struct sim_chunkd {
    struct sim_node *node;
    struct sim_disk *disk;
    struct chunk_core *core;
    uint64_t steps;
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
    struct sim_run *runs; // that the disk has parts of
    uint32_t runs_count;
    struct pawl_map payloads; // number > struct sim_payload
    uint64_t payload_last;
    uint64_t call_last;
    struct sim_window **windows;
    uint32_t windows_count;
    struct sim_served *served;
    uint32_t served_count;
    uint32_t served_capacity;
};

// sim_chunkd.c
void chunkd_step(struct sim *sim, struct sim_chunkd *s, struct chunk_event event);

// sim_window.c

// A block for a connection: one that is free, or a new one. With one use, the endpoint's.
struct sim_window *window_get(struct sim *sim, struct sim_chunkd *s, uint64_t conn);
void window_unuse(struct sim *sim, struct sim_window *window);
struct sim_window *window_of_conn(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn);
// Puts down what RDMA wrote before the message.
void window_land(struct sim *sim, struct sim_chunkd *s, struct sim_conn *conn,
                 const struct sim_frame *frame);
void windows_conn_gone(struct sim *sim, struct sim_chunkd *s, uint64_t conn);
void windows_fini(struct sim_chunkd *s);

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

// Records of the run that a request carries; 0: it carries none.
uint16_t sim_run_count(const struct sim_frame *frame);
// Of a run's payload as it landed, see wire_run_crc().
uint32_t sim_run_crc(const struct sim_frame *frame, const struct sim_payload *payload);
// Tells the oracle of an answer to APPEND: of a run's for each of its records.
void sim_run_answer(struct sim *sim, uint32_t server, const struct sim_frame *request,
                    const struct wire_appended *answer);

#endif
