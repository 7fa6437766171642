// SPDX-License-Identifier: Apache-2.0
// The simulator: a cluster of real cores over a simulated network, disks and clock, in one thread.
//
// One seed is one run: every choice is drawn from it. sim_world.c holds the clocks, the queue of
// events and the processes; sim_faults.c what goes wrong; sim_net.c streams that stall and break;
// sim_window.c memory that peers write into; sim_disk.c stores that forget what was not flushed, fill
// up and rot; sim_master.c, sim_chunkd.c and sim_client.c are the drivers of the three cores, as the
// daemons and the library are; sim_oracle.c watches. The oracle knows only what reached a disk and what
// clients were told; it never looks into a core.
//
// main.c runs seeds, sim_batch.c many of them in several processes, sim_minimise.c makes a failing
// run small, sim_marks.c counts rare paths.
#ifndef PAWL_SIM_H
#define PAWL_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/map.h"
#include "base/mutant.h"
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
    uint32_t replicated_permille; // appends of the weaker level
    uint32_t rollback_permyriad;  // crashes after which a disk is in an older state
    uint32_t wipe_permyriad;      // crashes after which a disk is empty
    uint32_t lose_permyriad;      // messages that are lost with the rest of their stream
    uint32_t late_permille;       // one-sided writes of broken streams that land all the same
    uint32_t gather_us;           // appends wait so long for others to go with them; 0: not at all
    uint32_t inline_max;          // payloads above it are pushed into slots
    uint32_t window_slots;        // that a receiver grants to a connection
    uint32_t clock_ppm;           // clocks run faster or slower by so much at most
    uint32_t reset_ms;            // mean time between faults of a kind; 0: none
    uint32_t block_ms;
    uint32_t freeze_ms;
    uint32_t crash_ms;
    uint32_t master_crash_ms;
    uint32_t client_crash_ms;
    uint32_t all_crash_ms;
    uint32_t jump_ms;
    uint32_t rot_ms;
    uint32_t full_ms;
    uint32_t faults_ms; // length of the phase with faults
    uint32_t lease_ms;
    uint32_t suspect_ms;
    uint32_t dead_ms;
    uint32_t command_ms;
    uint32_t session_ms;
    uint32_t cut_ms;        // mean time between clients that are cut off for longer than that
    bool remove;            // files are deleted while they are appended to
    bool named;             // producers have names
    bool shared_name;       // the first two clients fight for one name
    bool overtake;          // flushes of records may end in another order
    bool sessions;          // anonymous producers are bound to sessions
    uint32_t writers_count; // the last so many clients write to sealed chunks instead of appending
};

struct sim;
struct sim_event;
struct sim_conn;
struct sim_frame;
struct sim_oracle;
struct sim_watch;
struct sim_disk;
struct sim_disk_op;
struct sim_append;
struct sim_node;
struct append_action;
struct sim_writes;

enum sim_role { SIM_MASTER = 1, SIM_CHUNKD, SIM_CLIENT };

// A process. `life` changes with every crash: what was meant for an older life is dropped.
struct sim_node {
    enum sim_role role;
    uint32_t index; // among its role
    uint32_t id;    // among all nodes
    bool up;
    uint64_t life;
    uint64_t clock_ns;        // what its clock said at clock_at_ns
    uint64_t clock_at_ns;     // of the world's time
    uint32_t clock_rate;      // its seconds in a million of the world's
    uint64_t echo_until_ns;   // an old message is on its way to it
    uint64_t frozen_until_ns; // stopped, not dead: all that happens to it waits until then
    char name[16];
    void *state; // struct sim_master, sim_chunkd, sim_client; NULL while down
};

typedef void sim_event_fn(struct sim *sim, struct sim_event *event);

// Instead of a seed: a script that draws, decides about each message and sees all that happens
// (tests/golden). It may crash nodes where it is asked about a message, and nowhere else.
struct sim_script {
    void *user;
    uint64_t (*draw)(struct sim *sim, uint64_t bound);
    // False: the script has TAKEN the frame.
    bool (*arrives)(struct sim *sim, struct sim_conn *conn, int to, struct sim_frame *frame);
    void (*lost)(struct sim *sim, struct sim_conn *conn, int to, const struct sim_frame *frame);
    void (*closed)(struct sim *sim, const struct sim_conn *conn, int side);
    void (*durable)(struct sim *sim, const struct sim_node *node, const struct sim_disk_op *op);
    void (*logged)(struct sim *sim, const Pawl__LogRecord *record);
    void (*told)(struct sim *sim, const struct sim_node *client, const struct append_action *done);
    void (*noted)(struct sim *sim, const char *text);
};

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

// What can go wrong. Each fault that happens is named by its kind and its number among them, and draws
// what it needs from a stream of its own: leaving one out moves the others as little as possible.
enum sim_fault_kind {
    SIM_FAULT_CRASH = 0,
    SIM_FAULT_MASTER_CRASH,
    SIM_FAULT_CLIENT_CRASH,
    SIM_FAULT_ALL_CRASH,
    SIM_FAULT_TRIP,
    SIM_FAULT_RESET,
    SIM_FAULT_BLOCK,
    SIM_FAULT_FREEZE,
    SIM_FAULT_JUMP,
    SIM_FAULT_ROT,
    SIM_FAULT_FULL,
    SIM_FAULT_CUT,
    SIM_FAULT_LOSE,
    SIM_FAULT_LATE,
    SIM_FAULT_DOUBLE,
    SIM_FAULT_ECHO,
    SIM_FAULT_ROLLBACK,
    SIM_FAULT_WIPE,
    SIM_FAULT_TEAR,
    SIM_FAULT_ERROR,
    SIM_FAULT_STALL, // from here on: only slow
    SIM_FAULT_SPIKE,
    SIM_FAULT_KINDS
};

// Nothing passes from one node to another. A partial one lets some connections through.
struct sim_block {
    uint64_t until_ns;
    uint32_t leak_permille;
    uint32_t salt; // which ones
};

struct sim_fault_name {
    enum sim_fault_kind kind;
    uint32_t number; // from 1
};

// What happened, or what may happen.
struct sim_fault_list {
    struct sim_fault_name *items;
    uint32_t count;
    uint32_t capacity;
};

struct sim_faults {
    struct pawl_random random[SIM_FAULT_KINDS];
    uint32_t count[SIM_FAULT_KINDS];
    struct pawl_random draw; // of the fault that happens now
    struct sim_fault_list happened;
    const struct sim_fault_list *only; // NULL: all
};

struct sim {
    uint64_t seed;
    struct sim_params params;
    struct pawl_random random;
    uint64_t now_ns;
    uint64_t order;
    uint64_t events_count;
    uint64_t crashes_count;
    uint64_t partitions_count;
    uint64_t copies_count;
    uint64_t excused_count; // clients that could not end, as their file has lost something
    uint64_t hash;          // of all events: two runs of a seed must agree
    struct sim_faults fault;
    struct sim_event *heap;
    size_t heap_count;
    size_t heap_capacity;
    struct sim_node nodes[SIM_NODES_MAX];
    uint32_t nodes_count;
    struct sim_conn **conns;
    size_t conns_count;
    size_t conns_capacity;
    struct sim_block blocks[SIM_NODES_MAX][SIM_NODES_MAX]; // [from][to]
    struct sim_oracle *oracle;
    struct sim_watch *watch;
    struct sim_writes *writes; // the oracle's model of writes at an offset; sim_write.c
    struct sim_disk *disks[SIM_SERVERS_MAX];
    void *master_disk;                   // struct sim_log
    void *client_notes[SIM_CLIENTS_MAX]; // what a client's application remembers
    bool faults;                         // phase one
    bool violated;
    bool
        beyond; // more went wrong at once than anything is promised for: nothing is checked any more
    char violation[SIM_TRACE_BYTES]; // the first one
    bool verbose;                    // the trace is printed as it comes
    bool tracing;                    // the last lines of it are kept
    const struct sim_script *script; // NULL: the seed decides
    bool no_validate; // the cores' own checks are left out: the oracle alone has to find it
    char (*trace)[SIM_TRACE_BYTES];
    uint64_t trace_count;
};

// ---- sim_world.c
enum sim_trace { SIM_TRACE_NONE = 0, SIM_TRACE_TAIL, SIM_TRACE_PRINT };
// `set` (or NULL): parameters that are not as drawn, see sim_params_set().
struct sim *sim_new(uint64_t seed, enum sim_trace trace, const char *set);
// No node runs yet; see sim_start(), sim_run_until().
struct sim *sim_new_scripted(const struct sim_params *params, const struct sim_script *script);
void sim_free(struct sim *sim);
// Runs both phases. True when nothing was violated.
bool sim_run(struct sim *sim);
void sim_run_until(struct sim *sim, uint64_t end_ns);
void sim_start(struct sim *sim, struct sim_node *node);
void sim_at(struct sim *sim, uint64_t delay_ns, struct sim_event event);
bool sim_alive(const struct sim_node *node, uint64_t life);
uint64_t sim_clock(const struct sim *sim, const struct sim_node *node);
// Time of the world in which so much of the node's own time passes.
uint64_t sim_world_ns(const struct sim_node *node, uint64_t own_ns);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_permille(struct sim *sim, uint32_t permille);
// A line of the trace; costs nothing unless somebody wants it.
#define sim_note(sim, ...)                                                                         \
    do {                                                                                           \
        if ((sim)->tracing) {                                                                      \
            sim_note_line((sim), __VA_ARGS__);                                                     \
        }                                                                                          \
    } while (0)
void sim_note_line(struct sim *sim, const char *format, ...) PAWL_PRINTF(2, 3);
void sim_violation(struct sim *sim, const char *format, ...) PAWL_PRINTF(2, 3);
void sim_crash(struct sim *sim, struct sim_node *node);
struct sim_node *sim_node_of(struct sim *sim, enum sim_role role, uint32_t index);
struct sim_node *sim_server_node(struct sim *sim, uint64_t server_id);
// Whether a core checks itself now: that takes longer than the step. Always in a script.
bool sim_validates(const struct sim *sim, uint64_t *steps);
void *sim_alloc(size_t bytes); // zeroed, never NULL
void *sim_copy(const void *data, size_t bytes);

// ---- sim_params.c
void sim_params_draw(struct sim_params *params, struct pawl_random *random);
// Losses of disks are not drawn but follow from the seed, so that they move nothing else.
void sim_params_losses(struct sim_params *params, uint64_t seed);
void sim_params_print(const struct sim_params *params, FILE *out);
// "name=value,name=value": what is named is not as drawn. False: an unknown name, or no number.
bool sim_params_set(struct sim_params *params, const char *text);
// The value of a parameter by its name, as sim_params_print() calls it; NULL: there is none.
uint32_t *sim_params_field(struct sim_params *params, const char *name);

// ---- sim_faults.c
void sim_faults_init(struct sim *sim);
void sim_faults_fini(struct sim *sim);
void sim_faults_begin(struct sim *sim);
void sim_faults_end(struct sim *sim);
// Does a fault of this kind happen here, by this chance? Its number is traced, and what else it needs is
// drawn by sim_fault_below().
bool sim_fault(struct sim *sim, enum sim_fault_kind kind, uint32_t permyriad);
uint64_t sim_fault_below(struct sim *sim, uint64_t bound);
// Called where a crash would hurt most: now and then the node goes down within `delay_max_ns`.
void sim_trip(struct sim *sim, struct sim_node *node, uint32_t permyriad, uint64_t delay_max_ns);
// Without those that are only slow.
uint64_t sim_faults_count(const struct sim *sim);
const char *sim_fault_kind_name(enum sim_fault_kind kind);
// "crash1,rot2" into a list, and back. False: not understood.
bool sim_fault_list_parse(struct sim_fault_list *list, const char *text);
void sim_fault_list_print(const struct sim_fault_list *list, FILE *out);
void sim_fault_list_add(struct sim_fault_list *list, struct sim_fault_name name);

// ---- sim_net.c: ordered streams
enum sim_target {
    SIM_TARGET_READER = 0, // a client's own buffer, which is the frame's
    SIM_TARGET_WINDOW,     // target_number: first slot of the receiver's window
    SIM_TARGET_LANDING,    // target_number: of the fetcher's memory
};

struct sim_frame {
    bool control; // packed protobuf; otherwise a wire message
    bool reply;   // control frames
    uint64_t request;
    uint32_t bytes;
    uint32_t extra_bytes; // what RDMA wrote before this message
    uint8_t *data;
    uint8_t *extra;
    enum sim_target target;
    uint32_t target_number;
};

struct sim_side {
    struct sim_node *node;
    uint64_t life;
    bool open;
    bool endpoint;    // remote writes land: it goes a little later than `open`
    uint64_t last_ns; // delivery of the last message towards this side
};

struct sim_conn {
    uint64_t id;
    bool control;
    bool cut[2];             // messages towards this side are lost from now on
    struct sim_side side[2]; // 0 has connected
    uint32_t window;         // of side 1, a chunk server: its number there + 1
};

// Whether a partial partition lets this connection through.
bool sim_block_leaks(const struct sim_block *block, const struct sim_conn *conn);
// Ends in sim_*_opened() on both sides or in sim_*_closed() on side 0.
struct sim_conn *sim_connect(struct sim *sim, struct sim_node *from, struct sim_node *to,
                             bool control);
// TAKES the frame. What is sent on a closed or broken connection is lost.
void sim_send(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);
// Fault: the message, which is sent now, arrives once more, much later, on whatever connection the two nodes
// have then. Its answer must be nobody's.
void sim_echo(struct sim *sim, const struct sim_conn *conn, int to, const struct sim_frame *frame);
// Closes one side at once, without a callback; the other side learns later.
void sim_close(struct sim *sim, struct sim_conn *conn, int side);
// Breaks a connection: both sides learn, each in its time.
void sim_break(struct sim *sim, struct sim_conn *conn);
// TAKES the frame, which a script kept; it asks the script again.
void sim_deliver(struct sim *sim, struct sim_conn *conn, int to, struct sim_frame *frame,
                 uint64_t delay_ns);
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

// ---- sim_window.c: slots of a peer's window, as their sender sees them
#define SIM_SLOT_BYTES 1024u
uint64_t sim_slots_mask(uint32_t first, uint32_t count);
bool sim_slots_take(uint64_t *used, uint32_t slots, uint32_t count, uint16_t *ret_first);
// How many a payload needs; 0: it goes inside the message.
uint16_t sim_slots_count(const struct sim *sim, uint32_t bytes);

// ---- sim_disk.c: the store of a chunk server
struct sim_record {
    struct pawl_record record;
    uint8_t *payload;
    bool rotten; // a byte of it has changed
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
    bool damaged;          // what describes it has rotted: found when the server starts
    uint32_t rotten_count; // records
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
    uint64_t payload;         // the driver's name for it
    const uint8_t *source;    // what is written is read from here when it is written
    struct sim_record record; // OWNS its payload, from then on until applied
    struct sim_chunk create;  // OWNS its producers until applied
};

// The end of an operation.
struct sim_done {
    uint64_t token;
    int status;
    uint64_t payload;
    uint32_t crc; // of the record
};
struct sim_loss {
    uint64_t handle;
    uint64_t count;
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
    uint64_t full_until_ns;
    struct sim_loss *losses;
    uint32_t losses_count;
    struct sim_frame *grant; // planted: the last one
};
struct sim_disk *sim_disk_new(struct sim_node *node);
void sim_disk_free(struct sim_disk *disk);
// TAKES what the operation owns. 0, or a code: it does nothing and ends in nothing.
int sim_disk_queue(struct sim *sim, struct sim_disk *disk, const struct sim_disk_op *op);
// What was queued and not flushed is lost, but for what the disk had taken already.
void sim_disk_crash(struct sim *sim, struct sim_disk *disk);
struct sim_chunk *sim_disk_chunk(const struct sim_disk *disk, uint64_t handle);
// Whether a record of the chunk is still to be written.
bool sim_disk_is_writing(const struct sim_disk *disk, uint64_t handle);

// ---- sim_rot.c
// A stored byte changes, of a chunk of which another replica is good from end to end.
void sim_disk_rot(struct sim *sim, struct sim_disk *disk);
// After a crash: what was durable may be gone all the same, if others still hold it.
void sim_disk_lose(struct sim *sim, struct sim_disk *disk);
// Was something of the chunk lost? *ret_count: the records that there were.
bool sim_disk_lost(const struct sim_disk *disk, uint64_t handle, uint64_t *ret_count);
void sim_disk_clear(struct sim_disk *disk);
// Verifies the stored records that hold bytes [offset, offset + length), as the store does before it
// gives any of them out.
bool sim_chunk_is_sound(const struct sim_chunk *chunk, uint64_t offset, uint64_t length);
bool sim_record_is_sound(const struct sim_chunk *chunk, uint64_t index);

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
void sim_chunkd_persisted(struct sim *sim, struct sim_node *node, const struct sim_done *done);
// A one-sided write whose message does not come.
void sim_chunkd_landed(struct sim *sim, struct sim_conn *conn, int side,
                       const struct sim_frame *frame);
// Nothing lands any more.
void sim_chunkd_gone(struct sim *sim, struct sim_conn *conn, int side);
// Payloads that the core never gave back, or -1 when it is down.
int sim_chunkd_payloads(const struct sim_node *node);

struct sim_notes *sim_notes_new(struct sim *sim, uint32_t client);
void sim_notes_free(struct sim_notes *notes);
void sim_client_start(struct sim *sim, struct sim_node *node);
void sim_client_stop(struct sim *sim, struct sim_node *node);
void sim_client_opened(struct sim *sim, struct sim_conn *conn, int side);
void sim_client_closed(struct sim *sim, struct sim_conn *conn, int side);
void sim_client_frame(struct sim *sim, struct sim_conn *conn, int side, struct sim_frame *frame);
// For a script: a new append, or an old one once more, with its own bytes or with others. 0 or what
// the core said.
int sim_client_append(struct sim *sim, struct sim_node *node, uint32_t length,
                      struct sim_append **ret);
int sim_client_repeat(struct sim *sim, struct sim_node *node, struct sim_append *append,
                      bool forged);
// A writer: opens the write log of a sealed chunk of `bytes`, then writes there; a forged repeat has
// another offset.
void sim_client_open_log(struct sim *sim, struct sim_node *node, uint64_t handle, uint64_t bytes);
int sim_client_write(struct sim *sim, struct sim_node *node, uint32_t offset, uint32_t length,
                     struct sim_append **ret);
// Asks where the chunk is, then reads from the server, all that was written.
void sim_client_read(struct sim *sim, struct sim_node *node, uint64_t handle, uint32_t server);
// Asked once: the answer is "busy" until it is done.
void sim_client_seal_tail(struct sim *sim, struct sim_node *node, uint64_t handle);
void sim_client_extend(struct sim *sim, struct sim_node *node, uint64_t bytes);
// Asks the master for the tail, as one that wants to append; nobody waits for the answer.
void sim_client_ask_tail(struct sim *sim, struct sim_node *node);
bool sim_client_is_running(const struct sim_node *node);
void sim_client_retire(const struct sim_node *node);
// Phase two: no new work beyond a few last appends.
void sim_client_finish(struct sim *sim, struct sim_node *node);
bool sim_client_finished(const struct sim *sim, const struct sim_node *node);
// Its file has lost something: nobody can say when it ends.
bool sim_client_is_excused(struct sim *sim, const struct sim_node *node);
void sim_client_describe(const struct sim *sim, const struct sim_node *node, char *buf,
                         size_t bytes);

// ---- sim_session.c
struct sim_sessions { // as the log has them
    bool *ended;      // by number
    uint64_t *calls;  // by number: the last call that changed a name
    uint64_t next;
    uint64_t ended_count;
};
struct sim_allowed { // whose producers may start in a chunk; none: all
    struct wire_sessions rows[WIRE_SESSIONS_MAX];
    uint32_t count;
};
struct sim_sessions *sim_sessions_new(void);
void sim_sessions_free(struct sim_sessions *sessions);
void sim_sessions_log(struct sim *sim, struct sim_sessions *sessions,
                      const Pawl__LogRecord *record);
// A change of a name, by a call or none: each call is carried out once, and none when its session has ended.
void sim_sessions_call(struct sim *sim, const struct sim_sessions *sessions,
                       const Pawl__Call *call);
struct sim_producer { // a row of a table, by the oracle's count
    uint64_t hi;
    uint64_t lo;
    uint64_t last_sequence;
    uint32_t epoch;
};
struct sim_legacy { // what a chunk inherits
    const struct sim_sessions *sessions;
    const struct sim_allowed *before; // of the chunk before; NULL: it is the first
    const struct sim_producer *rows;  // with those that were dropped
    uint32_t rows_count;
};
bool sim_sessions_inherits(struct sim *sim, const struct sim_legacy *legacy,
                           const struct sim_chunk *replica, struct sim_allowed *ret_allowed,
                           uint64_t *ret_dropped_count);
void sim_fault_cut(struct sim *sim);

// ---- sim_oracle.c
enum sim_told {
    SIM_TOLD_NOTHING = 0,
    SIM_TOLD_OK,
    SIM_TOLD_UNKNOWN,
    SIM_TOLD_ABSENT,
    SIM_TOLD_GONE,
    SIM_TOLD_HELD, // acknowledged when it was in the memory of all replicas
    SIM_TOLD_LOST, // that, and then called lost
};

// An append as its application knows it. Its payload begins with `serial`.
struct sim_append {
    uint64_t serial;
    uint64_t file_id;
    struct wire_record_id id;
    uint32_t length;
    uint32_t crc;
    uint8_t *payload;
    bool replicated; // its level
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
// A server has a record to store, in memory as yet.
void sim_oracle_handed(struct sim *sim, uint32_t server, const struct sim_disk_op *op);
// A server may have lost what it had in memory.
void sim_oracle_held_look(struct sim *sim, uint32_t server);
// Nobody is left who could be told that the append was lost.
void sim_oracle_forget(struct sim_append *append);
// Records that were acknowledged from memory; of those, lost ones.
uint64_t sim_oracle_held_count(const struct sim_oracle *oracle, uint64_t *ret_missing);
// A server answers an append with success, now.
void sim_oracle_answer(struct sim *sim, uint32_t server, const struct wire_append *request,
                       const struct wire_appended *reply);
void sim_oracle_read(struct sim *sim, uint32_t server, const struct wire_read *request,
                     const struct wire_read_done *reply, const uint8_t *data);
// May the server lose what it has of the chunk? If it is open, so many others have it.
bool sim_oracle_may_lose(struct sim *sim, uint32_t server, uint64_t handle, uint32_t others);
// The master has been told that so many records are committed.
void sim_oracle_heard(struct sim *sim, uint64_t server_id, uint64_t handle, uint64_t commit_count);
// The master decides on a seal. Are all servers that it could ask such as have lost records from their disks,
// and all others away? Nothing is promised for what they have lost; the run counts as one of these.
void sim_oracle_sealing(struct sim *sim, const Pawl__LogChunkSeal *body);
// Records of the chunk that may be committed: all of its set hold them.
uint64_t sim_oracle_committed(struct sim *sim, uint64_t handle);
uint64_t sim_oracle_heard_count(const struct sim *sim, uint64_t handle);
bool sim_oracle_is_removed(const struct sim *sim, uint64_t file_id);
void sim_oracle_end(struct sim *sim);
// Whether a chunk may rot on this server: others of the set have all that is committed, in good order.
bool sim_oracle_spares(struct sim *sim, uint32_t server, uint64_t handle);
// No member of the set is good any more: rot, and the others left the set since.
bool sim_oracle_is_lost(struct sim *sim, uint64_t handle);
// Of a chunk of the file: what was lost is waited for, for ever.
bool sim_oracle_has_losses(struct sim *sim, uint64_t file_id);
// Bytes of a chunk that somebody was told of.
uint64_t sim_oracle_told_bytes(const struct sim *sim, uint64_t handle);
uint64_t sim_oracle_acknowledged(const struct sim_oracle *oracle);
// Rows that were dropped from tables.
uint64_t sim_oracle_dropped(const struct sim_oracle *oracle);
uint64_t sim_oracle_seals(const struct sim_oracle *oracle);
// The master reads an answer to a fence; it acts on those of a version.
void sim_oracle_fenced(struct sim *sim, uint32_t server, uint64_t token,
                       const Pawl__Fenced *fenced);
// A command to the server has failed: whatever it answered before, the master may not count on it.
void sim_oracle_failed(struct sim *sim, uint32_t server);
void sim_oracle_fence_asked(struct sim *sim, uint32_t server, uint64_t token,
                            const Pawl__Fence *asked);
void sim_oracle_fence_over(struct sim *sim, uint64_t handle, uint64_t version);
void sim_oracle_store_failed(struct sim *sim, uint32_t server);
// A chunk as the log has it.
struct sim_view {
    uint64_t handle;
    uint64_t file_id;
    uint64_t base;
    uint64_t count; // sealed
    bool sealed;
    bool ready;
    bool removed;
    uint32_t set_count;
    uint64_t set[8];
};
// False: there is no chunk number `at`.
bool sim_oracle_view(const struct sim_oracle *oracle, uint32_t at, struct sim_view *ret);
// Whether a replica of a chunk in the log has its inherited table; its record `index`.
bool sim_oracle_inherits(struct sim *sim, const struct sim_chunk *replica);
bool sim_oracle_equals(const struct sim_oracle *oracle, const struct sim_chunk *replica,
                       uint64_t index);

// ---- sim_heal.c
// A server has told the master that a copy is whole.
void sim_heal_registered(struct sim *sim, uint32_t server, const Pawl__Copied *copied);
// A replica goes from a disk.
void sim_heal_drop(struct sim *sim, uint32_t server, const struct sim_chunk *replica);
bool sim_heal_is_done(struct sim *sim);
void sim_heal_end(struct sim *sim);

// ---- sim_watch.c
struct sim_watch *sim_watch_new(void);
void sim_watch_free(struct sim_watch *watch);
// A server tells another one to store a record.
void sim_watch_order(struct sim *sim, uint32_t server, uint64_t handle, uint64_t version);
// A server has stored it, as it says.
void sim_watch_prepared(struct sim *sim, uint32_t server, const struct wire_prepared *prepared);
// A server answers a command of the master.
void sim_watch_answer(struct sim *sim, uint32_t server, Pawl__Request__BodyCase command,
                      uint64_t handle, const Pawl__Reply *answer);
// Every replica against every other.
void sim_watch_all(struct sim *sim);
void sim_watch_end(struct sim *sim);

#endif
