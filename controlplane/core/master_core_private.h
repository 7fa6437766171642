// SPDX-License-Identifier: Apache-2.0
// What the files of the master core share: its state, and how they call each other.
//
// State is of two kinds. Durable fields are changed by master_log() > master_apply() only, live and at
// replay alike. Volatile ones say what the servers told us and what is under way; a restart forgets
// them. Facts arrive by events; master_chunk_drive() looks at the facts and does what is next, so that
// an event that comes twice, late or never can't lead anywhere else.
//
// When memory runs out core->failed is set, the step returns it, and the core is of no use any more.
#ifndef PAWL_CONTROLPLANE_MASTER_CORE_PRIVATE_H
#define PAWL_CONTROLPLANE_MASTER_CORE_PRIVATE_H

#include <errno.h>
#include <pawl/error.h>
#include <stdalign.h>
#include <stdarg.h>
#include <string.h>

#include "base/addresses.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mutant.h"
#include "base/random.h"
#include "controlplane/core/master_core.h"
#include "proto/wire.h"

#define MASTER_ROOT_ID 1u
#define MASTER_REPLICAS_DEFAULT 3u
#define MASTER_MIN_REPLICAS_DEFAULT 2u
#define MASTER_CHUNK_BYTES_DEFAULT (UINT64_C(64) << 20)
#define MASTER_CHUNK_BYTES_MIN (UINT64_C(64) << 10)
#define MASTER_CHUNK_BYTES_MAX (UINT64_C(1) << 30)
#define MASTER_CHUNK_BYTES_UNIT 4096u

// Limits on what peers can make us hold.
#define MASTER_FILES_MAX (1u << 24)
#define MASTER_SERVERS_MAX 4096u
#define MASTER_PRODUCERS_MAX 65536u // names of a file; as many as a producer table has rows
#define MASTER_SERVER_NAME_MAX 63u  // what a chunk server takes in a grant
#define MASTER_ADDRESS_MAX (PAWL_ADDRESSES_BYTES_MAX - 1)
#define MASTER_PROVIDERS_MAX 16u // of libfabric, that the servers of a cluster offer
#define MASTER_PROVIDER_NAME_MAX 31u
#define MASTER_LOCATION_MAX 255u
#define MASTER_SESSIONS_MAX 1048576u // clients
#define MASTER_REPLICAS_MAX 16u      // replicas of a chunk that are remembered
#define MASTER_PAGE_DEFAULT 256u
#define MASTER_PAGE_MAX 1024u
#define MASTER_DROPS_MAX 1048576u // waiting drops of a server
#define MASTER_DROPS_INFLIGHT_MAX 32u

#define MASTER_BACKOFF_MIN_MS 200u
#define MASTER_BACKOFF_MAX_MS 2000u
#define MASTER_BLOCKED_MS 30000u // a damaged chunk is tried again so seldom by itself
#define MASTER_AVOID_MS 10000u   // a server that failed at an OPEN is not placed on so long
#define MASTER_HINT_MS 250u      // a client's hint does not end a lease that is younger
#define MASTER_FULL_MS 200u      // a full chunk's primary has so long to drain and report it itself
#define MASTER_LEVEL_FACTOR 3u   // levelling may take so many command deadlines

#define MASTER_NS_PER_MS UINT64_C(1000000)
#define MASTER_SKIP_LEVELS 12u

// Levels of notes: the numbers of enum pawl_log_level, which a core does not include.
enum master_level {
    MASTER_LEVEL_ERROR = 0,
    MASTER_LEVEL_WARN = 1,
    MASTER_LEVEL_INFO = 2,
    MASTER_LEVEL_DEBUG = 3,
};

// ---- namespace ---------------------------------------------------------------------------------

struct master_producer {
    struct master_producer *next;
    uint64_t hi;
    uint64_t lo;
    uint64_t hash; // of the name
    uint32_t epoch;
    char name[];
};

// A file or directory. Children of a directory are a skip list in the order of their names, so that
// a look-up and a page of a listing both cost a logarithm.
struct master_inode {
    uint64_t id;
    struct master_inode *parent; // NULL: the root
    char *name;
    bool directory;
    uint8_t levels; // of `next`
    uint32_t replicas;
    uint32_t min_replicas;
    uint64_t chunk_bytes;
    uint64_t created_ms;
    uint64_t modified_ms;
    uint64_t sealed_bytes;
    uint64_t heal_ns;             // volatile: its tail is not sealed for healing before that
    uint64_t extend_to;           // volatile: bytes that somebody wants the file to have
    struct master_chunk *written; // a write log: the chunk that it is about; NULL: a file
    struct master_chunk **chunks;
    uint32_t chunks_count;
    uint32_t chunks_capacity;
    struct master_producer *producers;
    struct master_producer *producers_last;
    uint32_t producers_count;
    uint32_t children_count;
    struct master_inode **heads; // directories: MASTER_SKIP_LEVELS of them
    struct master_inode *next[];
};

// ---- servers -----------------------------------------------------------------------------------

enum master_server_state {
    MASTER_SERVER_UNKNOWN = 0, // logged, but not seen in this term
    MASTER_SERVER_LIVE,
    MASTER_SERVER_SUSPECT,
    MASTER_SERVER_DEAD,
};

struct master_server {
    uint64_t id;   // durable
    char *name;    // durable
    uint64_t conn; // 0: not connected
    uint64_t incarnation;
    uint64_t registration; // raised by every registration: older reports of replicas are void
    enum master_server_state state;
    char address[MASTER_ADDRESS_MAX + 1]; // a list of base/addresses.h
    uint32_t providers;                   // that are in it: bits of struct master_providers
    bool providers_warned;                // its being in the minority was said
    char location[MASTER_LOCATION_MAX + 1];
    uint64_t space_bytes;
    uint64_t used_bytes;
    uint64_t reserved_bytes; // placed since the last heartbeat
    uint32_t chunks_count;   // replicas reported in this registration
    uint32_t primaries_count;
    uint64_t appends_count;
    uint64_t duplicates_count;
    uint64_t mismatches_count;
    uint64_t stored_bytes;
    uint64_t copied_bytes;
    uint64_t written_back_bytes;
    uint64_t read_bytes;
    uint64_t read_copied_bytes;
    uint64_t relayed_count;
    uint64_t relays_failed_count;
    uint64_t recycled_files_count;
    uint64_t heard_ns;
    uint64_t avoid_ns;  // not placed on before that, if there is a choice
    uint32_t copies_in; // under way to it, and from it
    uint32_t copies_out;
    uint64_t copy_avoid_ns; // no target of copies before that, if there is a choice
    bool warned;            // of a chunk that nobody knows; once per registration
    struct pawl_map drops;  // handle > struct master_drop
    struct pawl_list drops_waiting;
    struct pawl_list drops_sent;
    uint32_t drops_inflight;
};

// Names of the providers that servers have offered, in the order in which they were first heard of. Not
// durable.
struct master_providers {
    char names[MASTER_PROVIDERS_MAX][MASTER_PROVIDER_NAME_MAX + 1];
    uint32_t count;
};

struct master_drop {
    struct pawl_list node;
    uint64_t handle;
    uint64_t version;
    uint64_t token; // 0: waits
    uint64_t retry_ns;
};

// ---- chunks ------------------------------------------------------------------------------------

// Where an open chunk stands. NEW of the protocol is WAITING, TABLE and OPENING here; READY is IDLE
// and GRANTED; sealing is one log record and no phase of the sealed chunk.
enum master_phase {
    MASTER_PHASE_WAITING = 0, // never ready: needs a set, or its members
    MASTER_PHASE_TABLE,       // waits for the producer table of the chunk before
    MASTER_PHASE_OPENING,     // OPEN is with the set
    MASTER_PHASE_IDLE,        // ready; nobody holds a lease
    MASTER_PHASE_FENCING,
    MASTER_PHASE_LEVELLING,
    MASTER_PHASE_GRANTING,
    MASTER_PHASE_GRANTED,
    MASTER_PHASES
};

enum master_step {
    MASTER_STEP_NONE = 0, // not asked
    MASTER_STEP_ASKED,    // command `token` is with it
    MASTER_STEP_DONE,
    MASTER_STEP_FAILED,
};

enum master_cause {
    MASTER_CAUSE_NONE = 0,
    MASTER_CAUSE_UNLEASED, // somebody wants the tail and nobody holds a lease
    MASTER_CAUSE_LOST,     // a member's connection or heartbeats
    MASTER_CAUSE_BROKEN,   // the primary can't reach a member
    MASTER_CAUSE_HINT,     // a client can't append
    MASTER_CAUSE_DAMAGED,
    MASTER_CAUSE_FULL,
    MASTER_CAUSE_HEAL, // to open the next one on more servers
};

// What a member of the set has to do, and has said, in the present phase. Same index as in the set.
struct master_member {
    enum master_step step;
    uint64_t token;
    bool fenced;  // it has answered the fence: with count, length
    bool level;   // holds all records that the chunk is to have
    bool refused; // it answered, with an error
    uint64_t count;
    uint64_t length;
    uint64_t
        replicated_count; // of those, so many may have been acknowledged when they were in memory only
};

// Volatile state of a chunk that is not sealed.
struct master_work {
    enum master_phase phase;
    enum master_cause cause;
    uint64_t cause_server;
    bool wanted;      // IDLE: a recovery is to begin
    bool want_seal;   // this recovery ends with a seal
    bool asked_for;   // never ready: a client waits for it
    bool counted;     // as a recovery
    bool blocked;     // damage: nothing more can be done with those who are here
    bool all_heard;   // blocked, and no member was missing
    bool place_again; // the set has failed: another one
    uint32_t attempts;
    uint32_t backoff_ms;
    uint64_t retry_ns;
    uint64_t grace_ns; // missing members are waited for until then
    struct master_member members[MASTER_SET_MAX];
    uint64_t commit_heard; // records that somebody has known to be committed
    uint64_t target_count;
    uint64_t target_length;
    uint64_t source_id;
    uint64_t primary_id; // holds the lease, is to get it, or held it last; 0: none
    uint64_t primary_incarnation;
    uint64_t sent_ns;        // the grant
    uint64_t lease_until_ns; // as far as the master knows
    uint64_t granted_ns;
    uint64_t full_ns;       // when a client first said that the chunk is full; 0: nobody has
    uint64_t granted_count; // records at the last grant; UINT64_MAX: no grant of ours yet
    uint32_t regrants;      // grants in a row that no record came of
    struct master_sessions_range *sessions; // whose producers may start here; until it is ready
    uint32_t sessions_count;
    bool table_known;
    uint8_t *table;
    size_t table_bytes;
};

// A replica as its server reported it. Valid while the server's registration is the same.
struct master_replica {
    struct master_server *server;
    uint64_t registration;
    uint64_t version;
    uint64_t count;
    uint64_t length;
    uint64_t seal_token; // SEAL that is with it
    bool sealed;
    bool refused; // to seal: it is not asked again in this registration
    bool damaged;
    bool stale; // not the sealed chunk: too short, another length, half a copy
};

// A copy of a sealed chunk that is under way. Volatile.
struct master_copy {
    struct master_server *source;
    struct master_server *target;
    uint64_t version; // of the chunk when it began
    uint64_t token;
    uint64_t count; // records that the target had when it last came further
    uint64_t progress_ns;
};

struct master_chunk {
    // Durable.
    uint64_t handle;
    struct master_inode *file;
    uint32_t index;
    uint32_t set_count;
    uint64_t base_offset;
    uint64_t version;
    uint64_t length;
    uint64_t count;
    uint64_t zero_bytes;      // so many zeros and no record; 0: an ordinary chunk
    struct master_inode *log; // its write log; NULL: it was never written to
    uint64_t set[MASTER_SET_MAX];
    bool ready;
    bool sealed;
    // Volatile.
    uint8_t replicas_count;
    uint8_t replicas_capacity;
    struct master_replica *replicas;
    struct master_work *work; // NULL when sealed
    uint64_t seal_retry_ns;
    struct master_copy *copy; // NULL: none
    uint64_t heal_retry_ns;
    uint32_t heal_backoff_ms;
    uint64_t surplus_ns; // in core->heal_surplus until then; 0: no replica too many
    struct pawl_list heal_node;
    struct pawl_list open_node;
    struct pawl_list active_node;
};

// A question for a file's tail that waits for a lease.
struct master_question {
    struct pawl_list node;
    uint64_t request;
    uint64_t file_id;
    uint64_t full_handle; // its client was told that this one, under that version, is full; 0: none
    uint64_t full_version;
    uint64_t until_ns; // then it gets whatever answer there is
    bool append;
};

// ---- sessions of clients -------------------------------------------------------------------------

// Rising numbers, both ends included.
struct master_sessions_range {
    uint64_t first;
    uint64_t last;
};

struct master_session {
    struct pawl_list node; // in away or ending, or in none
    uint64_t id;
    uint64_t conn; // 0: its client is away, or it has ended
    uint64_t away_ns;
    bool ending;
};

struct master_sessions {
    // Durable. A number is live from the block that it came with to the record of its end.
    struct master_sessions_range *live; // rising, not touching each other
    uint32_t live_count;
    uint32_t live_capacity;
    uint64_t next;         // the first that was never in a block
    uint64_t block_first;  // of the newest block; 0: none yet
    struct pawl_map calls; // session > struct master_calls (calls.h)
    // Volatile.
    struct pawl_map by_id;   // those that this term has heard of
    struct pawl_map by_conn; // those whose client is here
    struct pawl_list away;   // longest first
    struct pawl_list ending; // over, and not logged so
    uint32_t ending_count;
    uint64_t ending_ns;    // when the last ends were logged
    uint64_t issue_next;   // of a block of this term; 0: none
    uint64_t before_term;  // lower ones are of earlier terms
    uint64_t unheard_ns;   // those of earlier terms that were not heard of by then have ended
    bool unheard_are_over; // and were logged so
};

// ---- the core ----------------------------------------------------------------------------------

enum master_command_kind {
    MASTER_COMMAND_FENCE = 1,
    MASTER_COMMAND_LEVEL,
    MASTER_COMMAND_SEAL,
    MASTER_COMMAND_OPEN,
    MASTER_COMMAND_GRANT,
    MASTER_COMMAND_DROP,
    MASTER_COMMAND_COPY,
};

struct master_command {
    enum master_command_kind kind;
    uint64_t token;
    uint64_t handle;
    struct master_server *server;
};

// ---- the log's own history ---------------------------------------------------------------------

#define MASTER_TERMS_MAX 1024u // older ones are forgotten
#define MASTER_HALT_TEXT_BYTES 320u

struct master_term {
    uint64_t term;
    uint64_t nonce;
    uint64_t position; // of its record
};

struct master_arena_block;
#define MASTER_SPARE_BYTES 16384u

struct master_core {
    const struct pawl_alloc *alloc;
    struct master_core_options options;
    // Durable.
    uint64_t cluster_id;
    uint64_t term;
    uint64_t position; // records of the log, those that snapshots have replaced included
    struct master_term terms[MASTER_TERMS_MAX];
    uint32_t terms_count;
    uint64_t next_file_id;
    uint64_t next_handle;
    uint64_t recoveries_count;
    uint64_t seals_count;
    struct pawl_map inodes;
    struct pawl_map logs; // write logs by file id
    struct pawl_map chunks;
    struct pawl_map servers;
    struct master_sessions sessions;
    struct master_inode *root;
    struct master_server **servers_order;
    uint32_t servers_count;
    struct master_providers providers;
    uint32_t servers_capacity;
    // Volatile.
    bool started;
    int failed;                          // -ENOMEM: the core is dead
    char halted[MASTER_HALT_TEXT_BYTES]; // not empty: why it serves nobody any more
    uint64_t now_ns;
    uint64_t wall_ms;
    uint64_t grace_ns;        // servers may need until then to find a master that has just started
    struct pawl_map conns;    // connection > server
    struct pawl_map commands; // token > command
    uint64_t next_token;
    uint64_t order; // of the last DROP, COPY or Registered of this term
    struct pawl_list open_chunks;
    struct pawl_list questions; // struct master_question
    uint32_t questions_count;
    bool moved;                                      // a chunk's phase, in this step
    struct pawl_list active_chunks;                  // need to be looked at by every tick
    struct pawl_list heal_short[MASTER_SET_MAX + 1]; // sealed, too few replicas: by good ones
    struct pawl_list heal_surplus;                   // sealed, too many
    bool heal_scan;                                  // servers have come or gone
    uint64_t heal_ns;                                // nothing is healed before that
    struct pawl_random random;
    struct master_actions actions;
    struct master_arena_block *arena;
    alignas(max_align_t) unsigned char spare[MASTER_SPARE_BYTES];
};

// ---- arena.c: memory of the messages inside a step's actions -------------------------------------

// Zeroed. Up to MASTER_SPARE_BYTES never NULL: when there is no memory core->failed is set, and what
// is built from then on is thrown away with the step. Larger: NULL then.
void *master_arena_alloc(struct master_core *core, size_t bytes);
char *master_arena_text(struct master_core *core, const char *text);
char *master_arena_printf(struct master_core *core, const char *format, ...) PAWL_PRINTF(2, 3);
char *master_arena_vprintf(struct master_core *core, const char *format, va_list args)
    PAWL_PRINTF(2, 0);
void master_arena_reset(struct master_core *core);
void master_arena_fini(struct master_core *core);

// A message of protobuf-c in the arena: MASTER_MESSAGE(core, Pawl__Fence, pawl__fence__init).
#define MASTER_MESSAGE(core, type, init)                                                           \
    __extension__({                                                                                \
        type *master_message_ = master_arena_alloc((core), sizeof(type));                          \
        init(master_message_);                                                                     \
        master_message_;                                                                           \
    })

// ---- history.c -----------------------------------------------------------------------------------

void master_history_add(struct master_core *core, const Pawl__LogTerm *record);
// False, and the core is halted, when a server has seen a log that this one is not the continuation of.
bool master_history_admits(struct master_core *core, const Pawl__Register *reg);

// ---- actions.c ---------------------------------------------------------------------------------

// Lists the record to be logged and applies it.
void master_log(struct master_core *core, Pawl__LogRecord *record);
Pawl__LogRecord *master_record(struct master_core *core, Pawl__LogRecord__BodyCase body_case);
void master_note(struct master_core *core, int level, const char *format, ...) PAWL_PRINTF(3, 4);
void master_reply(struct master_core *core, uint64_t request, Pawl__Reply *reply);
Pawl__Reply *master_reply_new(struct master_core *core, Pawl__Reply__BodyCase body_case);
// `format`: what to do about it; NULL when the code says all.
void master_reply_code(struct master_core *core, uint64_t request, int code, const char *format,
                       ...) PAWL_PRINTF(4, 5);
// Sends a command to a connected server; returns its token, 0 when the core has failed.
uint64_t master_command(struct master_core *core, struct master_server *server,
                        enum master_command_kind kind, Pawl__Request *request,
                        uint32_t deadline_ms);
Pawl__Member *master_member_message(struct master_core *core, const struct master_server *server);
// A copy of the ids in the arena; NULL for none.
uint64_t *master_arena_ids(struct master_core *core, const uint64_t *ids, size_t count);

// ---- apply.c, dump.c -----------------------------------------------------------------------------

int master_apply(struct master_core *core, const Pawl__LogRecord *record) PAWL_MUST_CHECK;

// ---- path.c ------------------------------------------------------------------------------------

// Into `out` (MASTER_PATH_MAX + 1 bytes): absolute, single slashes, no slash at the end, "/" for the
// root. 0, PAWL_EINVALID or PAWL_ELIMIT.
int master_path_normalise(const char *path, char *out) PAWL_MUST_CHECK;
// Valid UTF-8 of 1..max_bytes bytes without control characters.
bool master_text_is_clean(const char *text, size_t max_bytes);

// ---- namespace.c -------------------------------------------------------------------------------

int master_namespace_init(struct master_core *core) PAWL_MUST_CHECK;
void master_namespace_fini(struct master_core *core);
struct master_inode *master_inode_get(const struct master_core *core, uint64_t id);
// Paths are normalised ones. 0, PAWL_ENOTFOUND, PAWL_ENOTDIR.
int master_resolve(const struct master_core *core, const char *path,
                   struct master_inode **ret) PAWL_MUST_CHECK;
// The directory that `path` lies in, and its last name (points into `path`).
int master_resolve_parent(const struct master_core *core, const char *path,
                          struct master_inode **ret_parent, const char **ret_name) PAWL_MUST_CHECK;
struct master_inode *master_inode_child(const struct master_inode *directory, const char *name,
                                        size_t name_bytes);
// The first child whose name stands behind `after`.
struct master_inode *master_inode_child_after(const struct master_inode *directory,
                                              const char *after);
// A new child; nothing of that name may be there. 0 or -ENOMEM.
int master_inode_new(struct master_core *core, struct master_inode *parent, const char *name,
                     uint64_t id, bool directory, struct master_inode **ret) PAWL_MUST_CHECK;
// Moves to another place. 0 or -ENOMEM.
int master_inode_move(struct master_core *core, struct master_inode *inode,
                      struct master_inode *parent, const char *name) PAWL_MUST_CHECK;
// Removes it and all below, with their chunks.
void master_inode_remove(struct master_core *core, struct master_inode *inode);
bool master_inode_is_below(const struct master_inode *inode, const struct master_inode *top);
// Bytes of the path; 1 for the root.
size_t master_inode_path_bytes(const struct master_inode *inode);
// Bytes of the longest path below and at `top`, counted from the root.
size_t master_inode_deepest_bytes(const struct master_inode *top);
// Next one of a walk in which parents come before children; NULL at the end.
struct master_inode *master_inode_walk(const struct master_inode *top,
                                       const struct master_inode *inode);
// Writes the path into `out` (MASTER_PATH_MAX + 1 bytes).
void master_inode_path(const struct master_inode *inode, char *out);
struct master_producer *master_producer_find(const struct master_inode *file, const char *name);
int master_producer_add(struct master_core *core, struct master_inode *file, const char *name,
                        struct master_producer **ret) PAWL_MUST_CHECK;

// ---- chunk_table.c -----------------------------------------------------------------------------

struct master_chunk *master_chunk_get(const struct master_core *core, uint64_t handle);
// A new last chunk of a file, not ready, version 1. 0 or -ENOMEM.
int master_chunk_new(struct master_core *core, struct master_inode *file, uint64_t handle,
                     struct master_chunk **ret) PAWL_MUST_CHECK;
void master_chunk_free(struct master_core *core, struct master_chunk *chunk);
void master_chunk_set_place(struct master_chunk *chunk, const uint64_t *set, size_t count);
// Durable part of sealing: the volatile work is over.
void master_chunk_set_sealed(struct master_core *core, struct master_chunk *chunk);
struct master_chunk *master_file_tail(const struct master_inode *file);
int master_chunk_member_index(const struct master_chunk *chunk, uint64_t server_id); // or -1
struct master_server *master_chunk_member(const struct master_core *core,
                                          const struct master_chunk *chunk, uint32_t index);
// NULL when the server has not reported one in its present registration.
struct master_replica *master_replica_find(const struct master_chunk *chunk,
                                           const struct master_server *server);
// Finds or adds; NULL when there is no room or no memory (then core->failed).
struct master_replica *master_replica_add(struct master_core *core, struct master_chunk *chunk,
                                          struct master_server *server);
void master_replica_remove(struct master_chunk *chunk, struct master_server *server);
bool master_replica_is_valid(const struct master_replica *replica);
// It holds the whole sealed chunk (or, of an open one, its place in the set), undamaged.
bool master_replica_is_good(const struct master_chunk *chunk, const struct master_replica *replica);
// Live good replicas.
uint32_t master_chunk_good_count(const struct master_core *core, const struct master_chunk *chunk);
void master_chunk_wake(struct master_core *core, struct master_chunk *chunk);
Pawl__Chunk *master_chunk_message(struct master_core *core, const struct master_chunk *chunk);

// ---- server_table.c ----------------------------------------------------------------------------

struct master_server *master_server_get(const struct master_core *core, uint64_t id);
int master_server_set(struct master_core *core, uint64_t id, const char *name) PAWL_MUST_CHECK;
void master_servers_fini(struct master_core *core);
// Open connection and heartbeats in time.
bool master_server_is_live(const struct master_server *server);
// A registration or heartbeat. Nothing else counts: leases live by heartbeats.
void master_server_heard(struct master_core *core, struct master_server *server);
void master_servers_tick(struct master_core *core);
// Not more than connection, state and commands: registration calls it for a new incarnation too.
void master_server_lost(struct master_core *core, struct master_server *server, const char *why);
void master_server_drop(struct master_core *core, struct master_server *server, uint64_t handle,
                        uint64_t version);
void master_server_pump_drops(struct master_core *core, struct master_server *server);
void master_server_dropped(struct master_core *core, struct master_server *server, uint64_t handle,
                           uint64_t token, int code);

// ---- session.c ---------------------------------------------------------------------------------

void master_sessions_init(struct master_core *core);
void master_sessions_fini(struct master_core *core);
void master_sessions_start(struct master_core *core);
void master_sessions_tick(struct master_core *core);
void master_sessions_forgive(struct master_core *core, uint64_t gap_ns);
// The connection is gone; it may have been nobody's.
void master_session_away(struct master_core *core, uint64_t conn);
void master_request_open_session(struct master_core *core, const struct master_event *event);
void master_request_close_session(struct master_core *core, const struct master_event *event);
void master_sessions_validate(const struct master_core *core);

// May a client act by it: it was given out, and is not over.
bool master_session_serves(const struct master_core *core, uint64_t id);

// ---- session_log.c: the durable part of sessions ---------------------------------------------------

bool master_session_is_live(const struct master_core *core, uint64_t id);
int master_apply_sessions(struct master_core *core,
                          const Pawl__LogSessions *record) PAWL_MUST_CHECK;
int master_apply_sessions_end(struct master_core *core,
                              const Pawl__LogSessionsEnd *record) PAWL_MUST_CHECK;
int master_apply_chunk_sessions(struct master_core *core,
                                const Pawl__LogChunkSessions *record) PAWL_MUST_CHECK;
// The sessions whose producers may start in a chunk that is created now. -ENOMEM.
int master_chunk_set_sessions(struct master_core *core, struct master_chunk *chunk) PAWL_MUST_CHECK;
// In the arena; NULL for none.
Pawl__SessionRange **master_sessions_message(struct master_core *core,
                                             const struct master_sessions_range *ranges,
                                             size_t count);
int master_sessions_dump(const struct master_core *core,
                         int (*emit)(void *user, const Pawl__LogRecord *record),
                         void *user) PAWL_MUST_CHECK;
int master_chunk_sessions_dump(const struct master_chunk *chunk,
                               int (*emit)(void *user, const Pawl__LogRecord *record),
                               void *user) PAWL_MUST_CHECK;

// ---- placement.c -------------------------------------------------------------------------------

// A set for a new chunk of the file. 0, PAWL_ENOSERVERS or PAWL_ENOSPACE.
int master_place(struct master_core *core, const struct master_inode *file,
                 uint64_t set[MASTER_SET_MAX], uint32_t *ret_count) PAWL_MUST_CHECK;
uint64_t master_server_free_bytes(const struct master_server *server);
void master_place_reserve(struct master_core *core, const uint64_t *set, uint32_t count,
                          uint64_t bytes);

// ---- providers.c -------------------------------------------------------------------------------

// The mask of what a list of addresses offers.
uint32_t master_providers_of(struct master_core *core, const char *addresses);
// The bit of the provider that most live servers offer; new chunks go to servers that have it. All bits when
// nobody offers any.
uint32_t master_provider_common(const struct master_core *core);
// A server has registered: says of each live one, once per registration, that it won't be placed on because others are
// in the majority.
void master_providers_warn(struct master_core *core);

// ---- recovery.c: the open chunk's machine --------------------------------------------------------

// Looks at the facts and does what is next. Call after every change of a fact of that chunk.
void master_chunk_drive(struct master_core *core, struct master_chunk *chunk);
void master_chunk_move(struct master_core *core, struct master_chunk *chunk, enum master_phase to);
// A recovery is wanted; begins at once if it can.
void master_chunk_want(struct master_core *core, struct master_chunk *chunk,
                       enum master_cause cause, uint64_t server_id);
// Back to IDLE, to begin again: at once, or after a pause.
void master_chunk_again(struct master_core *core, struct master_chunk *chunk, bool at_once);
void master_chunk_fence(struct master_core *core, struct master_chunk *chunk, uint32_t index);
void master_chunk_backoff(struct master_core *core, struct master_work *work);
void master_chunk_reset_members(struct master_work *work);
uint32_t master_chunk_connected_count(const struct master_core *core,
                                      const struct master_chunk *chunk);

// A chunk of zeros that has just become ready.
void master_chunk_seal_zeros(struct master_core *core, struct master_chunk *chunk);

// ---- grant.c -----------------------------------------------------------------------------------

// From LEVELLING or OPENING: every member of the set holds the same records.
void master_chunk_grant(struct master_core *core, struct master_chunk *chunk);
bool master_granting_drive(struct master_core *core, struct master_chunk *chunk);
bool master_granted_drive(struct master_core *core, struct master_chunk *chunk, bool *ret_waits);
// The primary itself says that it holds the logged version.
void master_chunk_adopt(struct master_core *core, struct master_chunk *chunk,
                        struct master_server *server);

// ---- answers.c ---------------------------------------------------------------------------------

// A chunk server's answer (status 0: `reply`).
void master_chunk_answered(struct master_core *core, struct master_chunk *chunk,
                           const struct master_command *command, int status,
                           const Pawl__Reply *reply);
// A server that may be a member has gone, or has come (back).
void master_chunk_member_lost(struct master_core *core, struct master_chunk *chunk,
                              struct master_server *server);
void master_chunk_member_here(struct master_core *core, struct master_chunk *chunk,
                              struct master_server *server);

// ---- opening.c: chunks that were never ready -----------------------------------------------------

bool master_opening_drive(struct master_core *core, struct master_chunk *chunk);
void master_opening_ask(struct master_core *core, struct master_chunk *chunk, uint32_t index);
// The table of the chunk before has come.
void master_opening_table(struct master_core *core, struct master_chunk *chunk,
                          const ProtobufCBinaryData *table);

// ---- sealing.c: sealed chunks --------------------------------------------------------------------

// Sends SEAL to the replicas that need it; true while some still do.
bool master_sealing_push(struct master_core *core, struct master_chunk *chunk);
// Asks any one replica for the producer table, if no SEAL is under way.
void master_sealing_ask_table(struct master_core *core, struct master_chunk *chunk);
void master_sealing_answered(struct master_core *core, struct master_chunk *chunk,
                             const struct master_command *command, int status,
                             const Pawl__Reply *reply);

// ---- healing.c: sealed chunks have as many replicas as their file wants ---------------------------

// Sees what the chunk needs. Call after every change of a replica of a sealed chunk.
void master_healing_look(struct master_core *core, struct master_chunk *chunk);
// Begins copies as far as servers have room for them.
void master_healing_pump(struct master_core *core);
void master_healing_tick(struct master_core *core);
void master_healing_answered(struct master_core *core, struct master_chunk *chunk,
                             const struct master_command *command, int status,
                             const Pawl__Reply *reply);
// A server says that it holds half a copy. True: it goes on.
bool master_healing_adopt(struct master_core *core, struct master_chunk *chunk,
                          struct master_server *server, uint64_t version);
// A server says that it holds a whole replica.
void master_healing_reported(struct master_core *core, struct master_chunk *chunk,
                             const struct master_server *server);
// The chunk's version is raised: a copy that is under way counts for nothing.
void master_healing_cancel(struct master_core *core, struct master_chunk *chunk);
void master_healing_forget(struct master_core *core, struct master_chunk *chunk);

// ---- writes.c ----------------------------------------------------------------------------------

struct master_inode *master_log_get(const struct master_core *core, uint64_t id);
// A file or a write log.
struct master_inode *master_file_get(const struct master_core *core, uint64_t id);
int master_apply_write_log(struct master_core *core,
                           const Pawl__LogWriteLog *record) PAWL_MUST_CHECK;
int master_apply_chunk_written(struct master_core *core, const Pawl__LogChunkWritten *record,
                               uint64_t wall_ms) PAWL_MUST_CHECK;
void master_log_free(struct master_core *core, struct master_chunk *chunk);
// Does the server hold every ready chunk of the chunk's write log?
bool master_log_is_held(const struct master_chunk *chunk, const struct master_server *server);
// Does every member of a log chunk's set hold the written chunk whole? True for other chunks.
bool master_log_admits(const struct master_core *core, const struct master_chunk *chunk);
// May copies of it be made now: it is sealed, and nobody can hold a write lease.
bool master_chunk_is_copyable(const struct master_chunk *chunk);
// May it become ready? One of a write log waits until somebody wants to write, and until no copy is under
// way of what is written to and of the log: on what it is copied to the next one can be opened too.
bool master_log_may_open(const struct master_chunk *chunk);
// A set for a new chunk of a write log. 0, PAWL_ENOSERVERS or PAWL_ENOSPACE.
int master_log_place(const struct master_core *core, const struct master_inode *log,
                     uint64_t set[MASTER_SET_MAX], uint32_t *ret_count) PAWL_MUST_CHECK;
// Could a chunk of a write log be opened on more servers than its set has? False for other chunks.
bool master_log_has_grown(const struct master_core *core, const struct master_chunk *chunk);
// Before a chunk of a write log becomes ready: raises the version of the written chunk. Files: nothing.
void master_log_touch(struct master_core *core, const struct master_inode *file);
void master_log_describe(const struct master_core *core, const struct master_chunk *chunk,
                         Pawl__Chunk *message);
// Zeros that the chunk that begins at `end` of the file is to have; 0: it is an ordinary one.
uint64_t master_extend_zero_bytes(const struct master_inode *file, uint64_t end);
void master_request_open_write_log(struct master_core *core, const struct master_event *event);
void master_request_seal_tail(struct master_core *core, const struct master_event *event);
void master_request_extend(struct master_core *core, const struct master_event *event);

// ---- inventory.c -------------------------------------------------------------------------------

void master_inventory(struct master_core *core, struct master_server *server,
                      const Pawl__Replica *replica);
void master_replica_damaged(struct master_core *core, struct master_chunk *chunk,
                            struct master_server *server);

// ---- requests*.c -------------------------------------------------------------------------------

void master_request(struct master_core *core, const struct master_event *event);
void master_request_get_tail(struct master_core *core, const struct master_event *event);
// Answers the questions for tails that can be answered now.
void master_questions_look(struct master_core *core);
// Forgets all; with a code they are answered first.
void master_questions_end(struct master_core *core, int code, const char *text);
// Somebody wants to append to the chunk, or to read what only a primary knows to be committed.
void master_lease_want(struct master_core *core, struct master_chunk *chunk);
void master_request_get_chunks(struct master_core *core, const struct master_event *event);
void master_request_open_producer(struct master_core *core, const struct master_event *event);
void master_request_list_servers(struct master_core *core, const struct master_event *event);
void master_request_register(struct master_core *core, const struct master_event *event);
void master_request_heartbeat(struct master_core *core, const struct master_event *event);
void master_request_report(struct master_core *core, const struct master_event *event);
// Answers with what is known of a file or directory.
void master_reply_file(struct master_core *core, uint64_t request,
                       const struct master_inode *inode);
// The file of a request; NULL: it was answered why there is none.
struct master_inode *master_request_file(struct master_core *core, uint64_t request,
                                         uint64_t file_id);
// A file's first chunk, or one behind a sealed one. 0 or why there can be none now.
int master_file_create_chunk(struct master_core *core, struct master_inode *file) PAWL_MUST_CHECK;
// Why there is no lease to give out; clients ask again until their own deadline.
void master_reply_no_lease(struct master_core *core, uint64_t request,
                           const struct master_chunk *chunk);
// Code for a file id that leads nowhere: once given out, or never.
int master_file_missing_code(const struct master_core *core, uint64_t file_id);

static inline uint64_t master_ms_to_ns(uint64_t ms)
{
    return ms * MASTER_NS_PER_MS;
}

#endif
