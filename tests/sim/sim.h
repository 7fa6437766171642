// SPDX-License-Identifier: Apache-2.0
// The simulator: a cluster of real cores over a simulated network, disks and clock, in one thread.
//
// One seed is one run: every choice is drawn from it. sim_world.c holds the clock, the queue of
// events and the faults; sim_net.c streams that stall and break; sim_disk.c stores that forget what
// was not flushed; sim_master.c, sim_chunkd.c and sim_client.c are the drivers of the three cores, as
// the daemons and the library are; sim_oracle.c watches. The oracle knows only what reached a disk
// and what clients were told; it never looks into a core.
#ifndef PAWL_SIM_H
#define PAWL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/random.h"
#include "base/util.h"
#include "control.pb-c.h"
#include "proto/record.h"
#include "proto/wire.h"

#define SIM_SERVERS_MAX 5u
#define SIM_CLIENTS_MAX 4u
#define SIM_FILES_MAX 2u
#define SIM_NODES_MAX (1u + SIM_SERVERS_MAX + SIM_CLIENTS_MAX)
#define SIM_US 1000ull
#define SIM_MS 1000000ull
#define SIM_SERVER_ID(index) (101u + (index))
#define SIM_TRACE_LINES 256u
#define SIM_TRACE_BYTES 240u

// What is drawn from the seed before the run.
struct sim_params {
    uint32_t servers_count;
    uint32_t clients_count;
    uint32_t files_count;
    uint32_t replicas;
    uint32_t min_replicas;
    uint32_t chunk_bytes;
    uint32_t record_bytes_max;
    uint32_t depth_max;
    uint32_t records_count; // that a client wants to append while there are faults
    uint32_t think_max_us;  // between two submits
    uint32_t deadline_ms;   // of an append
    uint32_t attempt_ms;
    uint32_t delay_max_us;    // of a message
    uint32_t spike_permille;  // messages that take up to 300 ms
    uint32_t disk_max_us;     // of a flush
    uint32_t stall_permille;  // flushes that take up to 800 ms
    uint32_t tear_permille;   // payloads that arrive damaged
    uint32_t double_permille; // requests that arrive twice
    uint32_t trip_permyriad;  // flushes and commands that their process does not outlive for long
    uint32_t error_permyriad; // flushes that fail: the store is out of service, its server gives up
    uint32_t reset_ms;        // mean time between faults of a kind; 0: none
    uint32_t block_ms;
    uint32_t freeze_ms;
    uint32_t crash_ms;
    uint32_t master_crash_ms;
    uint32_t client_crash_ms;
    uint32_t all_crash_ms;
    uint32_t faults_ms;     // length of the phase with faults
    bool remove;            // files are deleted while they are appended to
    bool named;             // producers have names
    bool shared_name;       // the first two clients fight for one name
    bool overtake;          // flushes of records may end in another order
    uint32_t writers_count; // the last so many clients write to sealed chunks instead of appending
};

struct sim;
struct sim_event;
struct sim_conn;
struct sim_frame;
struct sim_oracle;
struct sim_disk;
struct sim_writes;

enum sim_role { SIM_MASTER = 1, SIM_CHUNKD, SIM_CLIENT };

// A process. `life` changes with every crash: what was meant for an older life is dropped.
struct sim_node {
    enum sim_role role;
    uint32_t index; // among its role
    uint32_t id;    // among all nodes
    bool up;
    uint64_t life;
    uint64_t clock_ns;        // its clock's distance from the world's
    uint64_t frozen_until_ns; // stopped, not dead: all that happens to it waits until then
    char name[16];
    void *state; // struct sim_master, sim_chunkd, sim_client; NULL while down
};

typedef void sim_event_fn(struct sim *sim, struct sim_event *event);

struct sim_event {
    uint64_t at_ns;
    uint64_t order;
    sim_event_fn *run;
    struct sim_node *node; // with `life`: run gets it, and checks sim_alive() where it matters
    uint64_t life;
    void *p;
    uint64_t a;
    uint64_t b;
};

struct sim {
    uint64_t seed;
    struct sim_params params;
    struct pawl_random random;
    uint64_t now_ns;
    uint64_t order;
    uint64_t events_count;
    uint64_t crashes_count;
    uint64_t hash; // of everything that was traced: two runs of a seed must agree
    struct sim_event *heap;
    size_t heap_count;
    size_t heap_capacity;
    struct sim_node nodes[SIM_NODES_MAX];
    uint32_t nodes_count;
    struct sim_conn **conns;
    size_t conns_count;
    size_t conns_capacity;
    uint64_t blocked_until_ns[SIM_NODES_MAX][SIM_NODES_MAX]; // [from][to]
    struct sim_oracle *oracle;
    struct sim_writes *writes; // the oracle's model of writes at an offset; sim_write.c
    struct sim_disk *disks[SIM_SERVERS_MAX];
    void *master_disk;                   // struct sim_log
    void *client_notes[SIM_CLIENTS_MAX]; // what a client's application remembers
    bool faults;                         // phase one
    bool violated;
    bool verbose;
    bool no_validate; // the cores' own checks are left out: the oracle alone has to find it
    char (*trace)[SIM_TRACE_BYTES];
    uint64_t trace_count;
};

// ---- sim_world.c
struct sim *sim_new(uint64_t seed, bool verbose);
void sim_free(struct sim *sim);
// Runs both phases. True when nothing was violated.
bool sim_run(struct sim *sim);
void sim_at(struct sim *sim, uint64_t delay_ns, struct sim_event event);
bool sim_alive(const struct sim_node *node, uint64_t life);
uint64_t sim_clock(const struct sim *sim, const struct sim_node *node);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_permille(struct sim *sim, uint32_t permille);
void sim_note(struct sim *sim, const char *format, ...) PAWL_PRINTF(2, 3);
void sim_violation(struct sim *sim, const char *format, ...) PAWL_PRINTF(2, 3);
void sim_crash(struct sim *sim, struct sim_node *node);
// Called where a crash would hurt most: now and then the node goes down within `delay_max_ns`.
void sim_trip(struct sim *sim, struct sim_node *node, uint32_t permyriad, uint64_t delay_max_ns);
struct sim_node *sim_node_of(struct sim *sim, enum sim_role role, uint32_t index);
struct sim_node *sim_server_node(struct sim *sim, uint64_t server_id);
void *sim_alloc(size_t bytes); // zeroed, never NULL
void *sim_copy(const void *data, size_t bytes);

// ---- sim_params.c
void sim_params_draw(struct sim_params *params, struct pawl_random *random);

// ---- sim_net.c: ordered streams
struct sim_frame {
    bool control; // packed protobuf; otherwise a wire message
    bool reply;   // control frames
    uint64_t request;
    uint32_t bytes;
    uint32_t extra_bytes; // what RDMA wrote before this message
    uint8_t *data;
    uint8_t *extra;
};

struct sim_side {
    struct sim_node *node;
    uint64_t life;
    bool open;
    uint64_t last_ns; // delivery of the last message towards this side
};

struct sim_conn {
    uint64_t id;
    bool control;
    bool cut[2];             // messages towards this side are lost from now on
    struct sim_side side[2]; // 0 has connected
    uint64_t user[2];
};

// Ends in sim_*_opened() on both sides or in sim_*_closed() on side 0.
struct sim_conn *sim_connect(struct sim *sim, struct sim_node *from, struct sim_node *to,
                             bool control);
// TAKES the frame. What is sent on a closed or broken connection is lost.
void sim_send(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);
// Closes one side at once, without a callback; the other side learns later.
void sim_close(struct sim *sim, struct sim_conn *conn, int side);
// Breaks a connection: both sides learn, each in its time.
void sim_break(struct sim *sim, struct sim_conn *conn);
void sim_net_node_down(struct sim *sim, const struct sim_node *node);
void sim_net_fini(struct sim *sim);
struct sim_conn *sim_conn_of(struct sim *sim, uint64_t id);
int sim_side_of(const struct sim_conn *conn, const struct sim_node *node);

struct sim_frame *sim_frame_wire(const void *message, uint32_t bytes, const void *payload,
                                 uint32_t payload_bytes);
struct sim_frame *sim_frame_request(uint64_t request, const Pawl__Request *message);
struct sim_frame *sim_frame_reply(uint64_t request, const Pawl__Reply *message);
struct sim_frame *sim_frame_copy(const struct sim_frame *frame);
void sim_frame_extra(struct sim_frame *frame, const void *data, uint32_t bytes);
void sim_frame_free(struct sim_frame *frame);

// ---- sim_disk.c: the store of a chunk server
struct sim_record {
    struct pawl_record record;
    uint8_t *payload;
};
struct sim_chunk {
    uint64_t handle;
    uint64_t version;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint32_t index;
    uint32_t producers_count;
    struct wire_producer *producers;
    uint64_t written_handle;
    uint64_t zero_bytes;
    uint64_t commit_count;
    bool sealed;
    struct sim_record *records;
    uint64_t records_count;
    uint64_t records_capacity;
};
enum sim_disk_kind {
    SIM_DISK_CREATE = 1,
    SIM_DISK_APPEND,
    SIM_DISK_PROMISE,
    SIM_DISK_SEAL,
    SIM_DISK_DROP
};
struct sim_disk_op {
    enum sim_disk_kind kind;
    bool done;     // on disk
    bool reported; // failed: its end was told, and nobody knows what is on disk
    uint64_t token;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t count;
    uint64_t commit_count;
    struct sim_record record; // OWNS its payload until applied
    struct sim_chunk create;  // OWNS its producers until applied
};
struct sim_disk {
    struct sim_node *node;
    uint64_t cluster_id;
    struct sim_chunk *chunks;
    uint32_t chunks_count;
    uint32_t chunks_capacity;
    struct sim_disk_op *queue;
    uint32_t queue_count;
    uint32_t queue_capacity;
    uint32_t writing_count; // ops of the batch under way
    bool writing;
    bool failed; // until its server starts again
};
struct sim_disk *sim_disk_new(struct sim_node *node);
void sim_disk_free(struct sim_disk *disk);
void sim_disk_queue(struct sim *sim, struct sim_disk *disk, const struct sim_disk_op *op);
// What was queued and not flushed is lost, but for what the disk had taken already.
void sim_disk_crash(struct sim *sim, struct sim_disk *disk);
struct sim_chunk *sim_disk_chunk(const struct sim_disk *disk, uint64_t handle);

// ---- the three drivers
struct sim_log *sim_log_new(void);
void sim_log_free(struct sim_log *log);
void sim_master_start(struct sim *sim, struct sim_node *node);
void sim_master_stop(struct sim *sim, struct sim_node *node);
void sim_master_opened(struct sim *sim, struct sim_conn *conn, int side);
void sim_master_closed(struct sim *sim, struct sim_conn *conn, int side);
void sim_master_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);

void sim_chunkd_start(struct sim *sim, struct sim_node *node);
void sim_chunkd_stop(struct sim *sim, struct sim_node *node);
void sim_chunkd_opened(struct sim *sim, struct sim_conn *conn, int side);
void sim_chunkd_closed(struct sim *sim, struct sim_conn *conn, int side);
void sim_chunkd_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);
void sim_chunkd_persisted(struct sim *sim, struct sim_node *node, uint64_t token, int status);
// Payloads that the core never gave back, or -1 when it is down.
int sim_chunkd_payloads(const struct sim_node *node);

struct sim_notes *sim_notes_new(struct sim *sim, uint32_t client);
void sim_notes_free(struct sim_notes *notes);
void sim_client_start(struct sim *sim, struct sim_node *node);
void sim_client_stop(struct sim *sim, struct sim_node *node);
void sim_client_opened(struct sim *sim, struct sim_conn *conn, int side);
void sim_client_closed(struct sim *sim, struct sim_conn *conn, int side);
void sim_client_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);
// Phase two: no new work beyond a few last appends.
void sim_client_finish(struct sim *sim, struct sim_node *node);
bool sim_client_finished(const struct sim *sim, const struct sim_node *node);
void sim_client_describe(const struct sim *sim, const struct sim_node *node, char *buf,
                         size_t bytes);

// ---- sim_oracle.c
enum sim_told {
    SIM_TOLD_NOTHING = 0,
    SIM_TOLD_OK,
    SIM_TOLD_UNKNOWN,
    SIM_TOLD_ABSENT,
    SIM_TOLD_GONE
};

// An append as its application knows it. Its payload begins with `serial`.
struct sim_append {
    uint64_t serial;
    uint64_t file_id;
    struct wire_record_id id;
    uint32_t length;
    uint32_t crc;
    uint8_t *payload;
    enum sim_told told;
    uint64_t offset;
};

struct sim_oracle *sim_oracle_new(struct sim *sim);
void sim_oracle_free(struct sim_oracle *oracle);
// OWNED by the oracle, for the length of the run.
struct sim_append *sim_oracle_submit(struct sim *sim, uint64_t file_id,
                                     const struct wire_record_id *id, uint32_t length);
void sim_oracle_told(struct sim *sim, struct sim_append *append, enum sim_told told,
                     uint64_t offset);
// A producer's new epoch was answered with the last sequence before it.
void sim_oracle_epoch(struct sim *sim, uint64_t file_id, const struct wire_record_id *id,
                      uint64_t last_sequence);
// Disks and log: called when something has become durable.
void sim_oracle_log(struct sim *sim, const Pawl__LogRecord *record);
void sim_oracle_record(struct sim *sim, uint32_t server, const struct sim_chunk *chunk,
                       uint64_t index);
void sim_oracle_seal(struct sim *sim, uint32_t server, const struct sim_chunk *chunk,
                     uint64_t count);
void sim_oracle_drop(struct sim *sim, uint32_t server, const struct sim_chunk *chunk);
// A server answers an append with success, now.
void sim_oracle_answer(struct sim *sim, uint32_t server, const struct wire_append *request,
                       const struct wire_appended *reply);
void sim_oracle_read(struct sim *sim, uint32_t server, const struct wire_read *request,
                     const struct wire_read_done *reply, const uint8_t *data);
bool sim_oracle_is_removed(const struct sim *sim, uint64_t file_id);
void sim_oracle_end(struct sim *sim);
uint64_t sim_oracle_acknowledged(const struct sim_oracle *oracle);
uint64_t sim_oracle_seals(const struct sim_oracle *oracle);

#endif
