// SPDX-License-Identifier: Apache-2.0
// The model check: every interleaving of a small cluster of the real cores.
//
// A world is a handful of parts: each chunk server, the master, each client, the network, the
// oracle. The memory of a part, with all that its core has allocated, lies in a region of its own
// that never moves, so that a state of the part is an image of its region and going back to it is a
// copy. A state of the world is the tuple of its parts' images (model_region.c, model_explore.c).
//
// What may happen next is an event: a message delivered, a flush that ends, a crash, a timer that
// fires (model_events.c). Time does not pass: now is one constant, and each timer of a core that is
// running may fire as an event of its own, which admits every order that any set of clocks could
// give. model_server.c, model_master.c and model_client.c are the drivers; model_oracle.c knows only
// disks, log records, and what clients were told.
#ifndef PAWL_MODEL_H
#define PAWL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/util.h"
#include "control.pb-c.h"
#include "proto/record.h"
#include "proto/wire.h"

#define MODEL_SERVERS_MAX 3u
#define MODEL_CLIENTS_MAX 2u
#define MODEL_NODES (MODEL_SERVERS_MAX + 1u + MODEL_CLIENTS_MAX)
#define MODEL_MASTER MODEL_SERVERS_MAX // node number
#define MODEL_CLIENT(index) (MODEL_SERVERS_MAX + 1u + (index))
#define MODEL_SERVER_ID(index) (101u + (index))

// Parts: the nodes, in order, then these.
#define MODEL_PART_NET MODEL_NODES
#define MODEL_PART_ORACLE (MODEL_NODES + 1u)
#define MODEL_PARTS (MODEL_NODES + 2u)

#define MODEL_CHUNKS_MAX 8u
#define MODEL_RECORDS_MAX 8u // of a chunk
#define MODEL_APPENDS_MAX 8u
#define MODEL_QUEUE_MAX 8u
#define MODEL_LIMBO_MAX 2u
// Servers and clients connect, to servers and the master.
#define MODEL_PAIRS ((MODEL_SERVERS_MAX + MODEL_CLIENTS_MAX) * (MODEL_SERVERS_MAX + 1u))
#define MODEL_GENERATIONS 4u // connections of one pair that are not forgotten yet
#define MODEL_CONNS (MODEL_PAIRS * MODEL_GENERATIONS)
#define MODEL_GHOST 1000u // the connection of late twins; nobody hears what is answered there

#define MODEL_NS_PER_MS UINT64_C(1000000)
#define MODEL_NOW_NS (UINT64_C(1000000) * MODEL_NS_PER_MS)

// ---- configurations ------------------------------------------------------------------------------

// Faults and timers that may strike at any moment, so many times in a run.
enum model_budget {
    MODEL_CRASH = 0,    // a chunk server; it may start again at any time
    MODEL_MASTER_CRASH, // likewise
    MODEL_TWIN,         // a request arrives twice, the second time at any later moment
    MODEL_BREAK,        // a connection breaks; each side learns of it in its time
    MODEL_SUSPECT,      // a primary finds that a secondary is late
    MODEL_ATTEMPT,      // a client finds that its primary is late
    MODEL_DEADLINE,     // an append's own deadline passes
    MODEL_LAPSE,        // a lease runs out, at the server or at the master
    MODEL_HINT,         // a client's hint meets a grant that is not young any more
    MODEL_LATE,         // the master's command deadline passes
    MODEL_BEAT,         // a heartbeat; where nothing else moves they cost nothing
    MODEL_EARLY,        // a timer that otherwise fires when nothing else moves
    MODEL_TORN,         // a payload lands damaged
    MODEL_BUDGETS
};

struct model_config {
    const char *name;
    const char *text;
    uint32_t servers_count;
    uint32_t clients_count;
    uint32_t replicas;
    uint32_t min_replicas;
    uint32_t records_count; // of each client
    uint32_t preload_count; // records of the first client that are there at the start
    uint32_t record_bytes;
    uint32_t depth_max;
    uint32_t chances;      // outcomes of the master's lots that are tried
    uint32_t versions_max; // states with a higher version are not gone on from
    bool settled;          // begins when the master's grace after its start is over
    bool cold;             // begins before the first chunk is opened
    bool overtake;         // flushes of records may end in another order
    bool commits;          // a quiet primary tells its commit count
    uint8_t budgets[MODEL_BUDGETS];
};

const struct model_config *model_config_find(const char *name);
// NULL behind the last one.
const struct model_config *model_config_at(size_t index);

// ---- model_region.c: memory with images ------------------------------------------------------------

struct model_hash {
    uint64_t a;
    uint64_t b;
};

struct model_region;

// A region whose first `root_bytes` are the part's own struct; the rest is its heap.
struct model_region *model_region_new(size_t root_bytes);
void *model_region_root(struct model_region *region);
// Memory from the region's heap; the allocator itself lies in the region.
const struct pawl_alloc *model_region_alloc(struct model_region *region);
// The heap is empty again. The root stays as it is.
void model_region_reset(struct model_region *region);
// Of what can be reached from the root, whatever its addresses: two regions with one hash are equal
// but for where their blocks lie.
struct model_hash model_region_hash(struct model_region *region);

#define MODEL_REGION_BYTES (256u << 10)
#define MODEL_IMAGE_WORDS (MODEL_REGION_BYTES / 8u + MODEL_REGION_BYTES / 4096u + 2u)

// Its image; returns the number of words.
uint32_t model_region_pack(const struct model_region *region, uint64_t *ret);
void model_region_unpack(struct model_region *region, const uint64_t *image);

// ---- model_store.c: images, each stored once -----------------------------------------------------------

#define MODEL_NO_IMAGE UINT32_MAX

struct model_store;
struct model_store *model_store_new(void);
uint32_t model_store_find(const struct model_store *store, const struct model_hash *hash);
// One that was not found.
uint32_t model_store_add(struct model_store *store, const struct model_hash *hash,
                         const uint64_t *words, uint32_t count);
const uint64_t *model_store_at(const struct model_store *store, uint32_t image);
uint32_t model_store_count(const struct model_store *store);
uint64_t model_store_bytes(const struct model_store *store);

static inline void model_hash_mix(struct model_hash *hash, uint64_t word)
{
    hash->a = ((hash->a << 29 | hash->a >> 35) ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    hash->b = ((hash->b << 37 | hash->b >> 27) + word) * UINT64_C(0xc2b2ae3d27d4eb4f);
    hash->a ^= hash->a >> 32;
    hash->b ^= hash->b >> 29;
}

// ---- messages: immutable, each stored once -----------------------------------------------------------

enum model_kind { MODEL_REQUEST = 1, MODEL_REPLY, MODEL_WIRE, MODEL_LOG };

struct model_message {
    enum model_kind kind;
    uint32_t bytes;
    uint8_t *data;
    uint64_t payload; // stands for the bytes that were written beside it; 0: none
    Pawl__Request *request;
    Pawl__Reply *reply;
    Pawl__LogRecord *record;
};

uint32_t model_message_packed(enum model_kind kind, const void *message);
// The header's request id is not part of it: see struct model_entry.
uint32_t model_message_wire(const void *message, uint32_t bytes, uint64_t payload);
const struct model_message *model_message_at(uint32_t number);
const struct wire_header *model_message_header(const struct model_message *message);
void model_message_text(uint32_t number, char *buf, size_t bytes);

// ---- model_net.c -------------------------------------------------------------------------------------

struct model_entry {
    uint32_t message;
    uint16_t request; // on its connection
    bool reply;
};

struct model_conn {
    bool cut;     // nothing that is sent from now on arrives
    bool open[2]; // side 0 has connected
    uint8_t count[2];
    struct model_entry queue[2][MODEL_QUEUE_MAX]; // towards this side
};

struct model_late {
    uint32_t message; // 0: none
    uint16_t conn;
    uint8_t node;
};

struct model_net {
    uint64_t used[(MODEL_CONNS + 64) / 64]; // connections, a bit for each number
    uint8_t budgets[MODEL_BUDGETS];
    struct model_late limbo[MODEL_LIMBO_MAX];
    struct model_conn conns[MODEL_CONNS];
};

// What a node does to the network, so that it can be done again: model_memo.c.
enum model_net_op_kind {
    MODEL_NET_CONNECT = 1,
    MODEL_NET_SEND,
    MODEL_NET_CLOSE,
    MODEL_NET_CUT,
    MODEL_NET_CRASHED
};

struct model_net_op {
    uint8_t kind;
    uint8_t node;
    uint16_t conn; // CONNECT: what came of it
    uint32_t to;   // CONNECT
    struct model_entry entry;
};

#define MODEL_NET_OPS_MAX 64u

struct model_net_log {
    uint32_t count;
    struct model_net_op ops[MODEL_NET_OPS_MAX];
};

// What is done from now on is written there too; NULL: nowhere.
void model_net_record(struct model_net_log *log);
// False: a connection did not get the number that it had.
bool model_net_repeat(const struct model_net_op *ops, uint32_t count);
// Which numbers the next connections of a node would get.
uint32_t model_net_next(uint32_t node);

// Its image: what is in use, and nothing else.
uint32_t model_net_pack(uint64_t *ret);
void model_net_unpack(const uint64_t *image);

// Connections are numbered from 1.
struct model_conn *model_conn_at(uint32_t conn);
// The least number that is free for a connection of a server to the master; 0: `conn` is less.
uint32_t model_conn_lower(uint32_t conn);
void model_conn_rename(uint32_t from, uint32_t to);
// The next one after `conn` that is in use; 0: none. The first one: after 0.
uint32_t model_conn_next(uint32_t conn);
uint32_t model_conn_from(uint32_t conn); // node of side 0
uint32_t model_conn_to(uint32_t conn);
int model_conn_side(uint32_t conn, uint32_t node);
uint32_t model_connect(uint32_t from, uint32_t to);
void model_send(uint32_t conn, uint32_t from, struct model_entry entry);
void model_close(uint32_t conn, uint32_t node);
void model_cut(uint32_t conn); // nothing that is sent there from now on arrives
void model_net_crashed(uint32_t node);

// ---- model_server.c ----------------------------------------------------------------------------------

struct model_record {
    struct pawl_record record;
    uint64_t payload;
};

// What a chunk is created with.
struct model_create {
    uint64_t version;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint32_t index;
    uint32_t producers_count;
    struct wire_producer producers[MODEL_CLIENTS_MAX];
};

struct model_chunk {
    uint64_t handle; // 0: none
    struct model_create create;
    uint64_t version;
    uint64_t commit_count;
    uint32_t sealed;
    uint32_t records_count;
    struct model_record records[MODEL_RECORDS_MAX];
};

enum model_op_kind {
    MODEL_OP_CREATE = 1,
    MODEL_OP_APPEND,
    MODEL_OP_PROMISE,
    MODEL_OP_SEAL,
    MODEL_OP_DROP
};

struct model_op {
    enum model_op_kind kind;
    uint32_t done;
    uint64_t token;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t count;
    uint64_t commit_count;
    struct model_record record;
    struct model_create create;
};

struct model_disk {
    struct model_chunk chunks[MODEL_CHUNKS_MAX];
    struct model_op queue[MODEL_QUEUE_MAX];
    uint32_t queue_count;
};

// These have no padding: what is left in it would tell equal states apart.

// A request of a node that is not answered yet.
struct model_call {
    uint32_t conn; // 0: none
    uint16_t request;
    uint16_t type;
    uint64_t peer;
    uint64_t handle;
    uint64_t version;
    uint64_t index;
    uint64_t token;
};

// A request to a node that is not answered yet.
struct model_served {
    uint32_t conn; // 0: none
    uint32_t message;
    uint64_t request;
    uint64_t number; // commands: the core's name for it
};

#define MODEL_CALLS_MAX 16u

struct model_server {
    struct chunk_core *core; // NULL: down
    uint32_t life;
    uint32_t control; // connection; 0: none
    uint32_t peers[MODEL_SERVERS_MAX];
    struct model_call calls[MODEL_CALLS_MAX];
    struct model_served served[MODEL_CALLS_MAX];
    struct model_disk disk;
};

struct model_server *model_server_at(uint32_t server);
void model_server_start(uint32_t server);
void model_server_crash(uint32_t server);
void model_server_register(uint32_t server);
void model_server_beat(uint32_t server);
void model_server_frame(uint32_t server, uint32_t conn, const struct model_entry *entry, bool torn);
void model_server_closed(uint32_t server, uint32_t conn);
void model_server_flushed(uint32_t server, uint32_t at);
// Timers. The first says whether there is one that runs.
bool model_server_has_timer(uint32_t server, enum model_budget timer);
void model_server_timer(uint32_t server, enum model_budget timer);
bool model_server_has_commit(uint32_t server);
void model_server_tell_commit(uint32_t server);

// ---- model_disk.c
const struct model_chunk *model_disk_chunk(uint32_t server, uint64_t handle);
// The operation at `at` of the queue is durable; its token.
uint64_t model_disk_done(uint32_t server, uint32_t at);
bool model_disk_may_finish(uint32_t server, uint32_t at, bool overtake);

// ---- model_master.c ----------------------------------------------------------------------------------

#define MODEL_LOG_MAX 64u

struct model_master {
    struct master_core *core; // NULL: down
    uint64_t request_last;
    struct model_served asked[MODEL_CALLS_MAX];
    struct model_call commands[MODEL_CALLS_MAX];
    uint32_t log_count;
    uint32_t log[MODEL_LOG_MAX];
};

struct model_master *model_master_node(void);
void model_master_start(void);
void model_master_crash(void);
// For the start of a world: a request that comes from nobody. The reply is in the store of messages.
uint32_t model_master_call(const Pawl__Request *request);
void model_master_frame(uint32_t conn, const struct model_entry *entry, bool old);
void model_master_closed(uint32_t conn);
void model_master_late(uint32_t command);
// A hint of a client would be taken if the grant were old.
bool model_master_hint_counts(const struct model_message *message);
bool model_master_has_timer(uint32_t which);
void model_master_timer(uint32_t which);

enum model_master_timer { MODEL_TIMER_RETRY = 0, MODEL_TIMER_GRACE, MODEL_TIMER_LEASE };

// ---- model_client.c ----------------------------------------------------------------------------------

enum model_ask_kind { MODEL_ASK_TAIL = 1, MODEL_ASK_PLACE, MODEL_ASK_APPEND, MODEL_ASK_LOOKUP };

struct model_ask {
    enum model_ask_kind kind; // 0: none
    uint32_t conn;
    uint64_t request;
    uint64_t attempt;
    uint64_t sequence;
    uint64_t chunk;
    uint32_t length;
    uint32_t crc;
};

struct model_client {
    struct append_core *core;
    uint64_t file_id;
    uint32_t master;                     // connection; 0: none
    uint32_t servers[MODEL_SERVERS_MAX]; // likewise
    bool closing[MODEL_SERVERS_MAX];     // DISCONNECTED is to come
    struct model_ask asks[MODEL_CALLS_MAX];
};

struct model_client *model_client_at(uint32_t client);
void model_client_start(uint32_t client, uint64_t file_id);
void model_client_submit(uint32_t client);
void model_client_frame(uint32_t client, uint32_t conn, const struct model_entry *entry,
                        uint32_t chance);
void model_client_closed(uint32_t client, uint32_t conn);
void model_client_destroyed(uint32_t client, uint32_t server);
bool model_client_has_timer(uint32_t client, enum model_budget timer);
void model_client_timer(uint32_t client, enum model_budget timer);

// ---- model_oracle.c ----------------------------------------------------------------------------------

enum model_told { MODEL_TOLD_NOTHING = 0, MODEL_TOLD_OK, MODEL_TOLD_UNKNOWN, MODEL_TOLD_ABSENT };

// Serials are numbered from 1; a record's payload is its serial.
uint64_t model_oracle_submit(uint32_t client, uint64_t sequence);
uint32_t model_payload_crc(uint64_t payload);
// The newest append of a sequence.
uint64_t model_oracle_serial(uint32_t client, uint64_t sequence);
// The client's first append behind *sequence that was told to be unknown or absent.
bool model_oracle_open(uint32_t client, uint64_t *sequence, enum model_told *ret_told);
void model_oracle_told(uint64_t serial, enum model_told told, uint64_t offset);
void model_oracle_log(const Pawl__LogRecord *record);
void model_oracle_record(uint32_t server, const struct model_chunk *replica, uint32_t index);
void model_oracle_seal(uint32_t server, const struct model_chunk *replica, uint64_t count);
void model_oracle_drop(uint32_t server, const struct model_chunk *replica);
void model_oracle_answer(uint32_t server, const struct wire_append *request,
                         const struct wire_appended *reply);
void model_oracle_read(uint32_t server, uint64_t handle, uint64_t committed_bytes, bool sealed);
// Everything that must hold in every state.
void model_oracle_check(void);
bool model_oracle_all_answered(void);
uint64_t model_oracle_version(void); // the highest
size_t model_oracle_bytes(void);

// ---- model_normalise.c: takes from a core what only tells of its past ----------------------------------

struct chunk_core;
struct master_core;
struct append_core;
void model_normalise_server(struct chunk_core *core);
void model_normalise_chance(struct master_core *core, uint64_t chance);
// True when the master drew lots in the step before.
bool model_normalise_master(struct master_core *core, struct model_master *driver, uint64_t chance);
void model_normalise_client(struct append_core *core, struct model_client *client);
void model_normalise_slots(uint32_t part); // before an image is taken
// A connection of a server to the master gets another number, at the one or at the other.
void model_normalise_conn(uint32_t part, uint32_t from, uint32_t to);

// ---- model_events.c ----------------------------------------------------------------------------------

enum model_event_kind {
    MODEL_EV_DELIVER = 1, // a: connection, b: side
    MODEL_EV_CLOSED,      // a: connection, b: side
    MODEL_EV_FLUSH,       // a: server, b: place in its queue
    MODEL_EV_REGISTER,    // a: server
    MODEL_EV_DESTROYED,   // a: client, b: server
    MODEL_EV_COMMIT,      // a: server
    MODEL_EV_GHOST,       // a: place in limbo
    MODEL_EV_RESTART,     // a: server
    MODEL_EV_MASTER_RESTART,
    // Time, where nothing else moves.
    MODEL_EV_WAKE,         // a: client
    MODEL_EV_MASTER_TIMER, // a: which
    MODEL_EV_REPORT,       // a: server
    MODEL_EV_BEAT,         // a: server
    // Faults.
    MODEL_EV_CRASH, // a: server
    MODEL_EV_MASTER_CRASH,
    MODEL_EV_BREAK,  // a: connection
    MODEL_EV_TWIN,   // like DELIVER, and it will come again
    MODEL_EV_TORN,   // like DELIVER
    MODEL_EV_HINT,   // like DELIVER, and the grant is old
    MODEL_EV_SERVER, // a: server, b: enum model_budget
    MODEL_EV_CLIENT, // a: client, b: enum model_budget
    MODEL_EV_LEASE,  // the master's idea of it
    MODEL_EV_LATE,   // a: place among the master's commands
    MODEL_EV_RENAME, // no event: a connection gets the number `a` instead of act.conn
    MODEL_EV_KINDS
};

// What an event and the exploration ask of a part; kept with its image, so that most of the time
// the part itself need not be there.
struct model_facts {
    uint64_t conns[2]; // by number: on which a server owes an answer, on which a client waits for
                       // one, from which the master knows a server
    uint16_t flushes;  // operations of the disk that may end
    uint16_t timers;   // enum model_budget; the master: enum model_master_timer
    uint16_t commands; // the master: those that may be late
    uint8_t closing;   // clients: servers whose endpoint is to be destroyed
    bool up;
    uint16_t control; // servers: the connection to the master; 0: none
    bool commit;
    bool answered; // the oracle
    uint64_t version;
    struct model_hash disk; // servers: what is durable
};

void model_facts_take(uint32_t part, struct model_facts *ret);

struct model_event {
    uint8_t kind;
    uint8_t b;
    uint8_t chance; // which of the outcomes of a lot
    uint8_t fault;
    uint16_t a;
};

#define MODEL_EVENTS_MAX 128u

// What may happen now.
uint32_t model_events(struct model_event *ret);
void model_event_apply(struct model_event event);
// What an event does at one node, when the network has done its part.
struct model_act {
    struct model_event event;
    struct model_entry entry; // that is delivered
    uint32_t node;
    uint32_t conn;
};
void model_act(const struct model_act *act);
void model_event_text(struct model_event event, char *buf, size_t bytes);

// ---- model_reduce.c: partial order reduction -------------------------------------------------------------

// Puts the events in front that are enough, and returns how many; 0: all are needed.
uint32_t model_reduce(struct model_event *events, uint32_t count);

// ---- model_world.c -----------------------------------------------------------------------------------

struct model_world {
    const struct model_config *config;
    struct model_region *regions[MODEL_PARTS];
    const struct model_facts *facts[MODEL_PARTS]; // of the state that model_events looks at
    bool stale[MODEL_PARTS];                      // another image is to be loaded first
    bool touched[MODEL_PARTS];
    bool up[MODEL_NODES]; // servers and the master
    bool violated;
    bool validate; // the cores' own checks too
    bool verbose;
    bool images;     // the world is made of images
    bool merge;      // what is under way has no order and no numbers but those that count
    bool forgets;    // nothing is ever repeated from memory
    bool fresh;      // nothing is repeated from memory
    bool unrepeated; // the event could not be repeated
    bool refused;    // a connection was refused in this event
    bool lots;       // the master drew lots in this event
    uint32_t chance; // seed of this event
    char violation[256];
};

extern struct model_world model_world;

void model_images_fetch(uint32_t part);

// A part's root.
static inline void *model_part(uint32_t part)
{
    if (model_world.stale[part]) {
        model_images_fetch(part);
    }
    return model_region_root(model_world.regions[part]);
}

void model_world_new(const struct model_config *config);
// To the state that the exploration begins with.
void model_world_boot(void);
void model_violation(const char *format, ...) PAWL_PRINTF(1, 2);
void model_note(const char *format, ...) PAWL_PRINTF(1, 2);

// ---- model_memo.c: images of the world, and what nodes did before --------------------------------------

// From now on the world is made of images.
void model_images_begin(void);
void model_images_set(const uint32_t *images);
// Of the world's present state.
void model_images_save(uint32_t *images);
// Only as long as no other image is saved.
const struct model_facts *model_images_facts(uint32_t part, uint32_t image);
uint32_t model_images_count(uint32_t part);
uint64_t model_images_bytes(void);
// Does what `act` says, or what it did the last time. False: it can't be repeated, and the state is
// lost: load it again, and do it with `fresh`.
bool model_memo_act(const struct model_act *act);

// ---- model_explore.c -----------------------------------------------------------------------------------

struct model_limits {
    uint64_t states_max;
    double seconds_max;
    bool liveness;
    bool reduce; // leave out orders that make no difference
    bool quiet;
};

struct model_result {
    uint64_t states;
    uint64_t transitions;
    uint64_t bounded;  // states that were not gone on from: their version is too high
    uint64_t answered; // states in which all is answered
    uint64_t stuck;    // states from which nobody gets there without another fault
    uint32_t depth;
    double seconds;
    bool complete;
    bool violated;
};

void model_explore(const struct model_limits *limits, struct model_result *ret);
// Prints the path to where an assertion has failed.
void model_explore_last_words(void);
// Runs the events of `path` and prints what happens. False: it is no path.
bool model_replay(const char *path);

#endif
