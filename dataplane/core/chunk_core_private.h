// SPDX-License-Identifier: Apache-2.0
// The inside of the chunk core: what a chunk is in memory, and the parts that its files share.
//
//   chunk_core.c   new, free, load, the step's dispatch, inventory
//   actions.c      the list of actions: replies, answers, reports, store operations
//   inflight.c     records that are not settled yet and the requests that wait for them
//   append.c       the primary: APPEND, commit
//   hold.c         acknowledgements of records that are in every replica's memory: both sides
//   lease.c        the primary: grant, lease, broken members, time
//   prepare.c      a secondary: PREPARE, COMMIT
//   recovery.c     the master's commands, pending until they are carried out: OPEN, FENCE, SEAL, DROP
//   level.c        LEVEL: fetching the records that are missing here
//   copy.c         COPY: fetching a sealed chunk that is not here at all
//   persisted.c    ends of store operations, and their failures
//   serve.c        READ, FETCH, LOOKUP, INSPECT: nothing changes
//   written.c      write logs, and reads of the chunks that they are about (overlay.c)
//   validate.c     every invariant, for tests and the simulator
//
// Life of a record here: assigned (it is in the record table and counts for the producer table at
// once), durable here, committed (durable on every member of the set). The three counts of a chunk
// say how far each has come: commit_count <= durable_count <= records.count. A primary knows one more: the
// records that every member has in memory (hold.c), which is enough for the weaker acknowledgement.
//
// Out of memory: core->no_memory is set, what is under way finishes without its effect, the step
// returns -ENOMEM and the process ends. So nothing is undone.
#ifndef PAWL_DATAPLANE_CHUNK_CORE_PRIVATE_H
#define PAWL_DATAPLANE_CHUNK_CORE_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "base/mutant.h"
#include "dataplane/core/chunk_core.h"
#include "dataplane/core/producer_table.h"
#include "dataplane/core/record_table.h"

#define CHUNK_NS_PER_MS 1000000u
#define CHUNK_REPORT_NS (500ull * CHUNK_NS_PER_MS) // between repetitions of a report
#define CHUNK_RECORD_SHARE 4u                      // a record is at most this part of its chunk

// A request that is answered later.
struct chunk_waiter {
    struct chunk_waiter *next;
    uint64_t conn;
    uint64_t request;
    bool duplicate;  // it joined a record that was under way already
    bool replicated; // it is answered when every member has the record in memory
};

struct inflight_slot {
    struct chunk_waiter *waiters; // in the order in which they came
    uint64_t sent_ns;
    uint64_t durable_ns;
    bool durable; // here; out of order it may be ahead of durable_count
};

// A ring of the records [first, end) that are not settled: at a primary those that are not
// committed, elsewhere those that are not durable.
struct inflight {
    struct inflight_slot *slots; // by index & (capacity - 1)
    uint32_t capacity;           // 0 or a power of two
    uint64_t first;
    uint64_t end; // == records.count
};

enum chunk_state {
    CHUNK_STATE_CREATING = 1, // the creation is not durable yet
    CHUNK_STATE_OPEN,
    CHUNK_STATE_SEALING, // cut and closed in memory, not durable yet
    CHUNK_STATE_SEALED,
    CHUNK_STATE_COPYING,  // not whole yet: out of service, as if it were not here
    CHUNK_STATE_DROPPING, // out of service
    CHUNK_STATE_GONE,     // freed as soon as nothing refers to it
};

struct chunk_member {
    uint64_t server_id;
    uint64_t prepared_count; // records that it has durable, by its own word
    uint64_t held_count;     // that it has in memory; what it has prepared not counted
    uint64_t hold_asked;     // the HOLD under way asks for so many; 0: none is
    bool broken;             // it refused, failed or was late: recovery has to come
};

// What a grant gave; of a primary only.
struct chunk_lease {
    uint64_t until_ns;
    uint64_t told_count; // highest commit count that the secondaries were sent
    uint64_t
        hold_wanted; // somebody waits, or has waited, for so many records to be in every memory
    uint64_t
        held_count; // of those, so many are; less than commit_count when nobody has asked for long
    uint32_t secondaries_count;
    bool quiet; // nothing was in flight at the last tick, nor since
    struct chunk_member secondaries[CHUNK_SET_MAX];
};

// A primary's HOLD that waits for its records.
struct chunk_hold {
    uint64_t count; // 0: none
    uint64_t conn;
    uint64_t request;
};

// Levelling up from `source`, one record after the other.
struct chunk_level {
    uint64_t source; // 0: none under way
    uint64_t count;  // to reach
    uint64_t token;  // of the fetch that is under way; 0: none
};

#define CHUNK_COPY_FETCHES 4u // of one copy that are under way, or fetched and not durable yet
#define CHUNK_COPY_TRIES 8u   // as often a copy asks for one record whose payload lands wrong

// A record of a copy that is asked for, or that came before the one in front of it.
struct chunk_copy_slot {
    uint64_t token;   // of the fetch; 0: none
    uint64_t payload; // held back; 0: none, or it has none
    uint32_t tries;   // how often it was asked for
    bool here;
    struct pawl_record record;
};

// Copying a sealed chunk from `source`: its inherited table first, then the records.
struct chunk_copy {
    uint64_t source;
    uint64_t count; // of the whole
    uint64_t length;
    uint64_t table_token; // fetch of the table; 0: not under way
    uint32_t table_tries;
    bool defined; // the table is here, the creation is ordered
    bool sealing;
    uint64_t asked_count;                             // records asked for
    struct chunk_copy_slot slots[CHUNK_COPY_FETCHES]; // by index
};

// A master's command that is being carried out.
struct chunk_command {
    struct chunk_command *next;
    Pawl__Request__BodyCase kind;
    uint64_t version;
    uint64_t request;
    uint64_t count;    // level, seal
    uint64_t length;   // seal
    uint64_t since_ns; // copy
};

struct chunk {
    uint64_t handle;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint32_t index;          // in the file
    uint64_t written_handle; // of a write log: the chunk that it is about; 0: none
    uint64_t zero_bytes;     // so many zeros and no record; 0: an ordinary chunk
    enum chunk_state state;

    uint64_t promised;         // nothing older is taken, from the moment this is set
    uint64_t promised_durable; // what the store holds of it
    // The promise was made (fence, open) in this life of the server, and nothing was ordered under
    // it yet. See lease.c for the schedules that these two close.
    bool promise_fresh;
    bool promise_used;

    bool primary;
    bool full;
    bool damaged;
    int damage_code; // what mutations are answered with when damaged
    bool cut_wanted; // the store took no more records: those that it has not are to be forgotten

    struct record_table records;
    struct producer_table producers; // inherited + records
    struct wire_producer *inherited;
    uint32_t inherited_count;
    uint64_t durable_count;
    uint64_t commit_count;
    struct inflight inflight;

    struct chunk_lease lease;
    struct chunk_hold hold;
    struct chunk_level level;
    struct chunk_copy *copy;        // of a chunk that is being copied
    struct chunk_command *commands; // in the order in which they came
    uint32_t persisting_count;      // store operations under way
    uint32_t fetching_count;        // fetches under way, abandoned ones included
    uint64_t create_token;          // of the newest creation

    struct pawl_list active;      // in core->active: it wants ticks
    Pawl__ReportKind report_self; // what is repeated about this server itself; NONE: nothing
    uint64_t report_next_ns;
};

enum chunk_op_kind {
    CHUNK_OP_NONE = 0,
    CHUNK_OP_CREATE,
    CHUNK_OP_APPEND,
    CHUNK_OP_PROMISE,
    CHUNK_OP_SEAL,
    CHUNK_OP_DROP,
    CHUNK_OP_FETCH,
};

// What a token stands for.
struct chunk_op {
    enum chunk_op_kind kind;
    uint32_t generation; // a token is used once: late or repeated ends find nothing
    uint32_t next_free;  // slot + 1
    uint64_t value;      // record index, or version
    uint32_t count;      // records from that index on
    struct chunk *chunk;
    void *owned; // freed with the operation
};

// Memory that an answer's body points to; freed at the next step.
struct chunk_answer_memory {
    struct chunk_answer_memory *next;
    uint64_t align;
};

struct chunk_core {
    struct chunk_core_options options;
    const struct pawl_alloc *alloc;
    struct pawl_map chunks;  // handle > struct chunk
    struct pawl_map written; // handle > struct written; written.c
    struct pawl_list active;
    struct chunk_op *ops;
    uint32_t ops_count;
    uint32_t ops_free; // slot + 1 of the first free one; 0: none
    struct chunk_waiter *waiters_free;
    struct chunk_answer_memory *answer_memory;
    struct chunk_actions actions;
    struct chunk_action spare; // takes what there was no memory for
    bool no_memory;
    bool payload_held; // the event's payload stays here: it is released later
    uint64_t now_ns;
    uint64_t term;  // highest that a command carried
    uint64_t order; // of that term: of the last DROP or COPY that was taken, or of the registration
    bool registered; // the master has read the last whole inventory
    struct chunk_core_counters counters;
    struct chunk_segment segments[CHUNK_READ_SEGMENTS_MAX]; // of the read in this step
};

// chunk_core.c

// The chunk, or NULL when there is none that is in service.
struct chunk *chunk_find(const struct chunk_core *core, uint64_t handle);
// Gives a chunk the fields of `create` and its inherited table. TAKES `inherited` ON SUCCESS. -ENOMEM
// or PAWL_EINVALID: the chunk is unchanged.
int chunk_define(struct chunk_core *core, struct chunk *chunk, const struct chunk_create *create,
                 struct wire_producer *inherited) PAWL_MUST_CHECK;
// What no chunk can be: 0 or PAWL_EINVALID.
int chunk_create_check(const struct chunk_create *create) PAWL_MUST_CHECK;
// A new chunk in the map, defined like that; NULL: *ret_rc says why.
struct chunk *chunk_new(struct chunk_core *core, const struct chunk_create *create,
                        struct wire_producer *inherited, int *ret_rc);
// Takes it out of the map and frees it. Nothing may refer to it any more.
void chunk_free(struct chunk_core *core, struct chunk *chunk);
// A copy of producer rows, which may lie unaligned in a message; NULL for none, or no_memory.
struct wire_producer *chunk_producers_copy(struct chunk_core *core, const void *rows,
                                           uint32_t count);
// Whether a record that came from elsewhere continues this chunk's log: 0 or what it is refused with.
int chunk_record_check(const struct chunk *chunk, const struct pawl_record *record);
// Puts a record behind the last one: record table, producer table.
void chunk_record_add(struct chunk_core *core, struct chunk *chunk,
                      const struct pawl_record *record);
// Puts what a message carries behind the last one, in flight: `first`, and if it carries a run those behind it in
// `rows`. There is room for them.
void chunk_records_add(struct chunk_core *core, struct chunk *chunk,
                       const struct pawl_record *first, const struct wire_run_row *rows,
                       uint32_t count);
// Rebuilds the producer table from what was inherited and the records.
void chunk_producers_rebuild(struct chunk_core *core, struct chunk *chunk);
void chunk_activate(struct chunk_core *core, struct chunk *chunk);
static inline bool chunk_is_sealed(const struct chunk *chunk)
{
    return chunk->state == CHUNK_STATE_SEALING || chunk->state == CHUNK_STATE_SEALED;
}
static inline uint64_t chunk_bytes_at(const struct chunk *chunk, uint64_t count)
{
    return chunk->zero_bytes ? chunk->zero_bytes : record_table_bytes(&chunk->records, count);
}

// actions.c

struct chunk_action *chunk_action_add(struct chunk_core *core, enum chunk_action_type type);
// A reply with its header set, all else 0. BORROWS UNTIL the next action is added.
// The one that was added last.
struct chunk_action *chunk_action_last(struct chunk_core *core);
union chunk_reply *chunk_reply_add(struct chunk_core *core, uint64_t conn, uint64_t request,
                                   uint16_t type, int status);
// A store operation: its action, with a new token.
struct chunk_action *chunk_persist_add(struct chunk_core *core, struct chunk *chunk,
                                       enum chunk_op_kind kind, uint64_t value);
// `count` records from `index` on that came with one payload.
void chunk_persist_records(struct chunk_core *core, struct chunk *chunk, uint64_t index,
                           uint32_t count, uint64_t payload);
uint64_t chunk_op_add(struct chunk_core *core, struct chunk *chunk, enum chunk_op_kind kind,
                      uint64_t value);
// The operation of a token; NULL when there is none (any more).
struct chunk_op *chunk_op_find(struct chunk_core *core, uint64_t token);
void chunk_op_end(struct chunk_core *core, struct chunk_op *op);
void chunk_connect_add(struct chunk_core *core, const struct chunk *chunk, uint64_t server,
                       const char *address);
void chunk_report_add(struct chunk_core *core, const struct chunk *chunk, Pawl__ReportKind kind,
                      uint64_t server);
// An answer to a master's command: only a code, or with the chunk's state as the kind wants it.
void chunk_answer_add(struct chunk_core *core, uint64_t request, int code);
void chunk_answer_state(struct chunk_core *core, const struct chunk *chunk,
                        const struct chunk_command *command);
void chunk_answer_memory_free(struct chunk_core *core);

// inflight.c

bool inflight_has_room(const struct inflight *inflight, uint32_t count);
static inline bool inflight_is_empty(const struct inflight *inflight)
{
    return inflight->first == inflight->end;
}
struct inflight_slot *inflight_at(const struct inflight *inflight, uint64_t index);
// Makes room for the record `end`; there must be room. NULL: no_memory.
struct inflight_slot *inflight_push(struct chunk_core *core, struct inflight *inflight);
// Lets go of the records below `index`; nobody waits for them.
void inflight_settle(struct inflight *inflight, uint64_t index);
// Sets an empty ring to begin at `index`.
void inflight_reset(struct inflight *inflight, uint64_t index);
// Forgets the records from `index` on; nobody waits for them.
void inflight_cut(struct inflight *inflight, uint64_t index);
void inflight_fini(struct chunk_core *core, struct inflight *inflight);
void inflight_wait(struct chunk_core *core, struct inflight_slot *slot,
                   const struct chunk_waiter *waiter);
// Takes the first waiter out, into *ret; false: there is none.
bool inflight_waiter_pop(struct chunk_core *core, struct inflight_slot *slot,
                         struct chunk_waiter *ret);
// The first one that waits for the weaker acknowledgement.
bool inflight_replicated_pop(struct chunk_core *core, struct inflight_slot *slot,
                             struct chunk_waiter *ret);
// Forgets all waiters of a connection.
void inflight_forget(struct chunk_core *core, struct inflight *inflight, uint64_t conn);

// append.c

void chunk_append(struct chunk_core *core, const struct chunk_event *event);
void chunk_prepared(struct chunk_core *core, const struct chunk_event *event);
// Commits as far as this replica and all secondaries are durable, and answers.
void chunk_commit_advance(struct chunk_core *core, struct chunk *chunk);
// An answer to APPEND or LOOKUP (type) that names the record's place.
void chunk_reply_place(struct chunk_core *core, const struct chunk *chunk, uint64_t index,
                       const struct chunk_waiter *waiter, uint16_t type);
// Answers a record that `chunk` does not hold itself: EARLIER.
void chunk_reply_earlier(struct chunk_core *core, const struct chunk *chunk,
                         const struct wire_record_id *id, const struct chunk_waiter *waiter,
                         uint16_t type);

// hold.c

// Whether a record of the primary is in every member's memory.
bool chunk_is_held(const struct chunk *chunk, uint64_t index);
// Somebody waits for the first `count` records to be in every memory: asks the secondaries.
void chunk_hold_want(struct chunk_core *core, struct chunk *chunk, uint64_t count);
// Answers those that wait for the weaker acknowledgement, as far as every member has come.
void chunk_hold_advance(struct chunk_core *core, struct chunk *chunk);
void chunk_held(struct chunk_core *core, const struct chunk_event *event);
// A secondary: HOLD, and its answer once the records are here; a code other than 0 refuses it.
void chunk_hold(struct chunk_core *core, const struct chunk_event *event);
void chunk_hold_answer(struct chunk_core *core, struct chunk *chunk, int code);

// lease.c

bool chunk_lease_is_held(const struct chunk_core *core, const struct chunk *chunk);
bool chunk_has_broken_member(const struct chunk *chunk);
void chunk_grant(struct chunk_core *core, const Pawl__Grant *grant, uint64_t request);
void chunk_lease_extend(struct chunk_core *core, const struct chunk_event *event);
// Ends the primary's role, if it has it; waiting appends are answered PAWL_ESTALE.
void chunk_step_down(struct chunk_core *core, struct chunk *chunk);
void chunk_member_break(struct chunk_core *core, struct chunk *chunk, struct chunk_member *member);
void chunk_peer_down(struct chunk_core *core, uint64_t server);
// Reports FULL once nothing is in flight.
void chunk_full_check(struct chunk_core *core, struct chunk *chunk);
void chunk_tick(struct chunk_core *core);

// prepare.c

// Whether the sender of a message under `version` may order here: 0 or what it is refused with. `chunk` may be NULL.
int chunk_order_check(const struct chunk *chunk, uint64_t version);
struct chunk_member *chunk_secondary_find(struct chunk *chunk, uint64_t server); // append.c
void chunk_prepare(struct chunk_core *core, const struct chunk_event *event);
void chunk_commit(struct chunk_core *core, const struct chunk_event *event);
// Answers PREPAREs whose record, and all before it, are durable.
void chunk_prepare_advance(struct chunk_core *core, struct chunk *chunk);
// Refuses all requests that wait for records, APPENDs or PREPAREs.
void chunk_waiters_refuse(struct chunk_core *core, struct chunk *chunk, int code);

// recovery.c

void chunk_command(struct chunk_core *core, const struct chunk_event *event);
void chunk_registered(struct chunk_core *core, uint64_t term, uint64_t order);
// Puts a COPY behind the commands that are being carried out.
void chunk_command_add(struct chunk_core *core, struct chunk *chunk,
                       const struct chunk_command *command);
// Answers all pending commands of a kind (PAWL__REQUEST__BODY__NOT_SET: of every kind) with a code;
// with the chunk's state when it is 0.
void chunk_commands_end(struct chunk_core *core, struct chunk *chunk, Pawl__Request__BodyCase kind,
                        int code);
// Carries pending commands on as far as they can go now, or frees a chunk that is gone.
void chunk_settle(struct chunk_core *core, struct chunk *chunk);
// Takes away the records from `count` on; nothing is in flight.
void chunk_log_cut(struct chunk_core *core, struct chunk *chunk, uint64_t count);
// Code that a command for this chunk is refused with (unknown, older than the promise, damaged).
int chunk_command_check(const struct chunk *chunk, uint64_t version);

// level.c

void chunk_level_begin(struct chunk_core *core, const Pawl__Level *level, uint64_t request);
void chunk_level_continue(struct chunk_core *core, struct chunk *chunk);
void chunk_level_cancel(struct chunk_core *core, struct chunk *chunk, int code);
void chunk_fetched(struct chunk_core *core, const struct chunk_event *event);

// copy.c

// `again`: this very command has been taken before; it begins nothing.
void chunk_copy_begin(struct chunk_core *core, const Pawl__Copy *copy, uint64_t request,
                      bool again);
// Ends of its fetches and store operations.
void chunk_copy_fetched(struct chunk_core *core, struct chunk *chunk,
                        const struct chunk_event *event);
void chunk_copy_persisted(struct chunk_core *core, struct chunk *chunk, const struct chunk_op *op);
// Gives the copy up: answers who waits for it, drops what is stored of it. Followed by
// chunk_settle().
void chunk_copy_stop(struct chunk_core *core, struct chunk *chunk, int code);
// Tells the master how far it has come.
void chunk_copy_tick(struct chunk_core *core, struct chunk *chunk);

// persisted.c

void chunk_persisted(struct chunk_core *core, const struct chunk_event *event);
// Forgets the records that the store did not take, once no operation is under way.
void chunk_cut(struct chunk_core *core, struct chunk *chunk);
// A read found bytes that don't match their checksum.
void chunk_damaged(struct chunk_core *core, uint64_t handle);

// serve.c

void chunk_read(struct chunk_core *core, const struct chunk_event *event);
void chunk_fetch(struct chunk_core *core, const struct chunk_event *event);
void chunk_lookup(struct chunk_core *core, const struct chunk_event *event);
void chunk_inspect(struct chunk_core *core, const struct chunk_event *event);

#endif
