// SPDX-License-Identifier: Apache-2.0
// Inside of the client library: the objects behind the opaque handles and how events reach them.
//
// One thread. client_turn() is the only place that makes progress: it runs the control plane's loop
// and the fabric, hands what arrived to links, lets every file's append core take its events, and then
// calls the user's callbacks. Nothing else calls back into the user's code.
#ifndef PAWL_CLIENT_PRIVATE_H
#define PAWL_CLIENT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/addresses.h"
#include "base/list.h"
#include "base/map.h"
#include "base/patience.h"
#include "base/pool.h"
#include "base/random.h"
#include "client/core/append_core.h"
#include "client/registered.h"
#include "controlplane/rpc/rpc.h"
#include "dataplane/fabric/fabric.h"
#include "proto/wire.h"
#include <pawl/pawl.h>

#define CLIENT_STAGING_BLOCK (64u << 10)
#define CLIENT_SERVERS_MAX 1024u

// ---- staging: registered memory for payloads on their way ---------------------------------------

struct staging {
    uint8_t *memory;
    size_t bytes;
    uint32_t blocks_count;
    uint32_t hint; // where the next search begins
    uint8_t *used; // a byte per block
    struct fabric_region *region;
};

int staging_open(struct staging *staging, struct fabric *fabric, size_t bytes) PAWL_MUST_CHECK;
void staging_close(struct staging *staging);
// Contiguous room for `bytes`; NULL when there is none now.
void *staging_get(struct staging *staging, size_t bytes);
// The same in the lower half: reads, which are small and many, leave the largest append its place.
void *staging_get_low(struct staging *staging, size_t bytes);
void staging_put(struct staging *staging, void *memory, size_t bytes);

// ---- links: connections to chunk servers --------------------------------------------------------

// status 0 with the reply, or a negative code without: the request may or may not have been carried
// out. A reply's own error is in its header's status.
typedef void link_done_fn(void *user, int status, const struct wire_header *reply);

enum link_state { LINK_CONNECTING = 1, LINK_GREETING, LINK_READY, LINK_CLOSING };

// What links do with a payload of the owner's.
struct link_use {
    uint32_t requests_count; // that are not answered, of all attempts
    uint32_t writes_count;   // that read from its memory now
    uint64_t copied_bytes;
    uint64_t window_since_ns;         // when a window was first asked for it; 0: not yet
    struct pawl_append_stages stages; // of the append that was answered
};

struct link_request {
    struct pawl_list node; // in the link's queue or its list of sent ones
    uint64_t id;
    union {
        struct wire_header header;
        struct wire_append append;
        struct wire_read read;
        struct wire_lookup lookup;
        struct wire_inspect inspect;
        struct wire_push push;
        struct wire_hello hello;
    } message;
    // BORROWS UNTIL it was sent, done, or link_cancel(owner), and if it is written from registered memory
    // until use->writes_count is lowered again.
    const void *payload;
    const void *owner; // of the payload
    uint32_t payload_bytes;
    uint32_t run_bytes_max; // APPEND: it may go in a run of so many bytes; 0: alone
    uint32_t run_count;     // it was sent as the first of so many that share its id
    uint32_t slot_first;
    uint32_t slot_count;
    void *staged;                // its copy
    struct registered *borrowed; // or the memory that it is written from, held while `writing`
    struct link_use *use;        // of the payload; NULL: none, or its owner is gone
    uint64_t sent_ns;            // when its bytes began to leave
    uint64_t drain_ns;    // the owner wants it back: the link is closed when it passes; 0: no
    uint64_t deadline_ns; // the link is closed when it passes, but for questions that have not left
    bool answered;        // done was called
    bool writing;         // FABRIC_DONE is to come
    link_done_fn *done;
    void *user;
};

struct link {
    struct pawl_list node;
    struct pawl *pawl;
    uint64_t place;
    uint64_t server_id;
    uint32_t reactor;
    uint32_t reactors_count;
    struct fabric_conn *conn; // NULL once closed
    enum link_state state;
    uint64_t window_address;
    uint64_t window_key;
    uint32_t window_slots; // 0: none now
    uint32_t window_needed;
    uint64_t window_request;    // id of a WINDOW that is not answered; 0: none
    uint64_t window_granted_ns; // the one that it has
    uint64_t window_idle_ns;    // no slot in use since then
    bool window_yields;         // it goes back as soon as no slot is in use
    bool window_fresh;          // nothing was put into it yet
    uint64_t window_told_ns;    // the server was heard of the WINDOW that waits in its line
    uint64_t
        window_put_off_ns; // the queue waits for room in one, and is put off then; 0: it doesn't
    uint64_t window_paused_ns; // that was so last; 0: never
    uint32_t slot_bytes;
    uint64_t slots_used;    // a bit per slot
    uint32_t run_bytes_max; // that the server takes
    uint32_t requests_max;
    uint32_t requests_sent;
    uint64_t next_id;
    uint64_t wake_ns;       // no deadline of its requests is earlier
    struct pawl_list queue; // not sent yet, in order
    struct pawl_list sent;  // unanswered, or answered with a write under way
};

// ---- window.c: the window of a link
void window_welcome(struct link *link, uint64_t address, uint64_t key, uint32_t slots);
// Whether it takes a payload of so many slots. 0; -EAGAIN: not now, it is asked for or will be; or why it never can.
int window_serves(struct link *link, uint32_t slots, uint64_t *since_ns) PAWL_MUST_CHECK;
// A payload was put into it, or there was no room.
void window_pushed(struct link *link, bool has_room);
// A payload found no room in it: a larger one may be had by now.
void window_is_full(struct link *link);
// Slots of it are free again.
void window_slots_free(struct link *link);
// An answer may say that others wait.
void window_reply(struct link *link, const struct wire_header *header);
// The answer to its WINDOW. 0, or why the link is to be closed.
int window_granted(struct link *link, const struct wire_header *header) PAWL_MUST_CHECK;
// Gives it back if it is not used. 0, or why the link is to be closed.
int window_turn(struct link *link, uint64_t now_ns) PAWL_MUST_CHECK;
// Appends have waited for a window for so long that they are to be put off; true once in a while.
bool window_puts_off(struct link *link, uint64_t now_ns);
uint64_t window_wake_ns(const struct link *link);

// A link leads to one reactor of one server: its place. The place of a chunk on a server is client_place().

// A request on the link to a place, opened if there is none. `message`: the struct without header
// ids; `done` follows exactly once, never from inside this call. Errors: -ENOMEM, PAWL_EDISCONNECTED
// (address unknown or refused at once), PAWL_EPROVIDER (nothing is wrong with the server: it has no address
// for this client).
int link_submit(struct pawl *pawl, uint64_t place,
                const struct link_request *request) PAWL_MUST_CHECK;
void link_close(struct pawl *pawl, uint64_t place, int status);
// The owner takes its payload back: its requests that were not sent yet end with PAWL_ESHUTDOWN, at once;
// writes from its memory end within LINK_DRAIN_MS, with their connection if need be.
void link_cancel(struct pawl *pawl, const void *owner);
void link_event(struct pawl *pawl, const struct fabric_event *event);
void link_deadlines(struct pawl *pawl, uint64_t now_ns);
uint64_t link_wake_ns(const struct pawl *pawl);
void link_fail_all(struct pawl *pawl);
bool link_exists(const struct pawl *pawl, uint64_t place);

// run.c
// How many requests of the queue, from its first on, go as one message.
uint32_t run_reach(const struct link *link, const struct link_request *first);
// Sends so many of them, 2 at least, as one; their place is still the queue. As fabric_send().
int run_send(struct link *link, struct link_request *first, uint32_t count) PAWL_MUST_CHECK;
// What the answer to a run is for each of it. False: it is none for this run. It names the place of the last one;
// `rest_bytes` is how far before it this one lies, at first the first.
bool run_answer_is_sound(const struct link *link, const struct link_request *first,
                         const struct wire_header *reply, uint64_t *ret_rest_bytes);
struct wire_appended run_answer(const struct link_request *request, const struct wire_header *reply,
                                uint64_t rest_bytes);

// ---- the client ---------------------------------------------------------------------------------

struct client_server {
    uint64_t server_id;
    char name[64];
    char addresses[PAWL_ADDRESSES_BYTES_MAX];
    uint32_t reactors_count; // at this client's provider
    uint64_t avoid_until_ns;
    uint64_t reading_bytes; // asked for and not there yet
};

struct pawl {
    char *master_text;
    char *provider;
    char *fabric_host;
    char master_host[256];
    uint16_t master_port;
    uint32_t deadline_ms;
    uint32_t depth_max;
    uint64_t region_bytes;
    uv_loop_t loop;
    bool loop_open;
    struct rpc_conn *master; // NULL: not connected, not connecting
    uint64_t control_ns;     // when the control plane had its last turn
    bool control_due;        // something has gone on since
    bool control_ready;      // its descriptor said so
    struct pawl_patience patience;
    uint64_t master_retry_ns;
    uint32_t master_pause_ms;
    uint64_t cluster_id;
    uint64_t session;         // 0: not yet
    uint64_t producers_count; // given to files under that session
    uint64_t calls_count;     // that change names
    uint64_t session_retry_ns;
    bool session_here;     // the master has it on this connection
    bool session_asked;    // a call is under way
    struct fabric *fabric; // NULL until the data plane is first needed
    struct staging staging;
    struct registered_table registered;
    struct pawl_list memory_extents; // memory.c: behind pawl_mem_alloc()
    uint64_t memory_bytes;           // of them
    uint64_t memory_bytes_max;
    struct pawl_list links;
    struct pawl_list files;
    struct client_server *servers; // address book
    uint32_t servers_count;
    struct pawl_random random;
    struct pawl_pool requests; // link_request
    struct pawl_pool appends;  // what append.c has for each append
    struct pawl_pool calls;
    struct pawl_pool events;
    uint64_t read_turn;   // which of equal replicas this client begins with
    uint64_t ahead_bytes; // of staging, by all files together
    uint64_t read_staged_bytes;
    bool in_callback;
    bool answered; // somebody has had an answer in this turn, or none for good: don't sleep
    bool closing;
};

// Opens the data plane unless it is open.
int client_fabric(struct pawl *pawl) PAWL_MUST_CHECK;
// So many milliseconds after `now_ns`; 0: as many as the connection's own deadline has.
uint64_t client_deadline_from(const struct pawl *pawl, uint64_t now_ns, uint32_t deadline_ms);
// The same, from now.
uint64_t client_deadline_ns(const struct pawl *pawl, uint32_t deadline_ms);
// Deadline of one attempt at one server: others may be better.
uint64_t client_attempt_ns(uint64_t deadline_ns);
void client_pause(struct pawl *pawl, uint32_t ms);
// Makes progress once; waits until something happens, `until_ns` at most. Returns callbacks run.
int client_turn(struct pawl *pawl, uint64_t until_ns);
// Runs the callbacks that are due, then frees the files that were closed and that nothing waits for.
int client_callbacks(struct pawl *pawl);
void client_learn(struct pawl *pawl, const Pawl__Member *member);
// The reactor of a server that a chunk belongs to, as one number: the server's own id when it has one reactor, or isn't
// known. `owner`: the chunk's handle, or of a chunk of a write log that of the chunk which is written.
uint64_t client_place(const struct pawl *pawl, uint64_t server_id, uint64_t owner);
// The server of a place; itself when none of those that are known has it.
uint64_t client_place_server(const struct pawl *pawl, uint64_t place);
// Where a place is, for this client's provider.
struct client_address {
    uint64_t server_id;
    uint32_t reactor;
    uint32_t reactors_count;
    char text[PAWL_ADDRESS_BYTES_MAX];
};
// 0; PAWL_EDISCONNECTED when the server is unknown; PAWL_EPROVIDER when it offers other providers only: the log
// says which.
int client_address(const struct pawl *pawl, uint64_t place,
                   struct client_address *ret) PAWL_MUST_CHECK;
// A server was out of reach: readers ask others first for a while.
void client_avoid(struct pawl *pawl, uint64_t server_id, uint32_t ms);
bool client_avoided(const struct pawl *pawl, uint64_t server_id);
// Bytes that this client reads from the server now; `more` of them are added.
uint64_t client_reading(const struct pawl *pawl, uint64_t server_id);
void client_reading_add(struct pawl *pawl, uint64_t server_id, int64_t more);

// ---- memory.c -----------------------------------------------------------------------------------

// Frees what pawl_mem_alloc() gave out and was not given back; registered_close() goes before.
void memory_close(struct pawl *pawl);

// ---- control plane ------------------------------------------------------------------------------

// Copies what it wants out of a reply whose code is 0; its result is the call's.
typedef int control_take_fn(void *user, const Pawl__Reply *reply);

// Of a call and its reply together; a positive one of the master's is PAWL_EPROTOCOL.
int control_code(int code, const Pawl__Reply *reply);
// Whether a call may just be made again: there was no answer.
bool control_is_transient(int code);
// One call, retried over lost connections until the deadline. ret_attempts may be NULL.
int control_call(struct pawl *pawl, const Pawl__Request *request, uint64_t deadline_ns,
                 control_take_fn *take, void *user, uint32_t *ret_attempts) PAWL_MUST_CHECK;
// A call that changes names: the master carries it out once, however often it is sent. PAWL_EUNKNOWN when
// the session, by which the master would know it again, has ended under way. One at a time: such calls are not
// made from callbacks, and none is begun before the one before has ended.
int control_call_once(struct pawl *pawl, Pawl__Request *request, uint64_t deadline_ns,
                      control_take_fn *take, void *user) PAWL_MUST_CHECK;
// The same as control_call without waiting: one attempt. `done` follows exactly once unless this fails.
int control_submit(struct pawl *pawl, const Pawl__Request *request, uint32_t deadline_ms,
                   rpc_call_fn *done, void *user) PAWL_MUST_CHECK;
void control_keep(struct pawl *pawl, uint64_t now_ns);
void control_close(struct pawl *pawl);

// ---- session.c ----------------------------------------------------------------------------------

// The first one; waits.
int session_open(struct pawl *pawl, uint64_t deadline_ns) PAWL_MUST_CHECK;
// The master says that this one has ended: waits until it has given another. 0 or PAWL_EDEADLINE.
int session_another(struct pawl *pawl, uint64_t session, uint64_t deadline_ns) PAWL_MUST_CHECK;
// Takes it up again on a new connection.
void session_keep(struct pawl *pawl, uint64_t now_ns);
// Says goodbye; the connection is closed behind it.
void session_close(struct pawl *pawl);
// Gives the file an anonymous producer of the session, one that was never used.
int session_producer(struct pawl_file *file) PAWL_MUST_CHECK;
// Changes a file over whose producer's session has ended, if nothing is under way. -EAGAIN: not yet.
int session_renew(struct pawl_file *file) PAWL_MUST_CHECK;
// Where is a record whose producer the tail refuses with PAWL_ESESSION? 0, PAWL_EEARLIER, PAWL_EABSENT.
int session_lookup(struct pawl_file *file, const struct pawl_record_id *id, uint64_t deadline_ns,
                   struct wire_appended *ret) PAWL_MUST_CHECK;

// ---- files --------------------------------------------------------------------------------------

// A chunk as the master told it.
struct file_chunk {
    uint64_t handle;
    uint64_t base_offset;
    uint64_t bytes; // sealed ones
    uint64_t primary_id;
    uint64_t version; // that the primary has, if it is open
    uint32_t index;
    bool sealed;
    uint32_t log_chunks;     // of its write log that a reader has to see
    uint64_t log_primary_id; // knows all of it; 0: all replicas do, or nobody known
    uint32_t replicas_count;
    uint32_t well_count; // the first so many are; the others are damaged or dead
    uint64_t replicas[APPEND_SET_MAX];
};

// A fetch of a file's map (chunks.c).
struct chunks_fetch {
    enum { CHUNKS_IDLE, CHUNKS_PAGES, CHUNKS_TOUCH } state;
    bool asked; // a call is under way
    bool settle;
    bool settle_next;
    int code;      // of the one that ended last
    int last_code; // why the tail has no primary
    uint64_t wanted;
    uint64_t begun; // numbers of fetches
    uint64_t ended;
    uint64_t due_ns;
    uint64_t until_ns; // nobody waits longer
    struct file_chunk *chunks;
    uint32_t chunks_count;
};

struct file_append;   // append.c
struct file_event;    // append.c
struct read_ahead;    // read_ahead.c
struct client_pusher; // push.c

struct pawl_file {
    struct pawl_list node;
    struct pawl *pawl;
    uint64_t file_id;
    uint64_t written_handle; // a write log: of the chunk that it is about
    uint64_t chunk_bytes;
    struct pawl_record_id producer; // sequence unused
    struct append_core *core;
    uint32_t core_generation; // raised with each new core
    struct pawl_list events;  // file_event: for the core
    struct pawl_list pending; // file_append: in flight
    struct pawl_list done;    // file_append: callbacks to run
    uint32_t pending_count;
    uint32_t outside_count; // calls on links and to the master whose end is still to come
    uint64_t read_failovers_count;
    uint64_t payload_bytes;
    uint64_t payload_copied_bytes;
    uint64_t read_bytes;
    uint64_t read_copied_bytes;
    struct append_counters past; // of cores before the present one
    struct file_chunk *chunks;   // sorted by index, from 0, without gaps
    uint32_t chunks_count;
    struct chunks_fetch fetch;     // of the next map
    struct pawl_list reads;        // read_job: under way
    struct pawl_list reads_done;   // read_job: callbacks to run
    uint32_t reads_count;          // of the user's that are under way
    struct read_ahead *read_ahead; // NULL: not yet
    struct client_pusher *pusher;  // NULL: none
    struct pawl_list streams;      // write_stream of write.c
    uint32_t streams_count;
    struct pawl_counters written; // of streams that were closed
    struct pawl_map seen;         // chunk > bytes of its write log that were seen; write.c
    bool closed; // takes nothing any more; freed by client_callbacks() once outside_count is 0
    // The last producer that was told of a loss, when another took its place.
    struct pawl_record_id lost;
    bool no_producer; // opening a named producer failed half-way: no appends
};

// A file without an id, in pawl->files.
int file_new(struct pawl *pawl, struct pawl_file **ret) PAWL_MUST_CHECK;
int file_core_reset(struct pawl_file *file, uint64_t producer_hi, uint64_t producer_lo,
                    uint32_t epoch, uint64_t last_sequence) PAWL_MUST_CHECK;
void append_pools_init(struct pawl *pawl);
// Forgets the answers that the file's core hasn't heard of.
void file_events_drop(struct pawl_file *file);
// Lets the cores take what is queued for them. Returns true when something was done.
bool file_run(struct pawl_file *file, uint64_t now_ns);
int file_callbacks(struct pawl_file *file);
// A link is gone, and so are the answers that were to come on it.
void file_disconnected(struct pawl_file *file, uint64_t place);
// Where a chunk of this file is on a server.
uint64_t file_place(const struct pawl_file *file, uint64_t server_id, uint64_t handle);
void file_fail_pending(struct pawl_file *file, int status);
void file_outside_done(struct pawl_file *file);
// A call that waits keeps its file, which a callback may close meanwhile, until file_outside_done().
void file_keep(struct pawl_file *file);
int file_epoch_append(struct pawl_file *file, uint64_t deadline_ns,
                      uint64_t *ret_last_sequence) PAWL_MUST_CHECK;
void file_free(struct pawl_file *file);
// One write to a write log. `sequence` 0: the next one. *ret is filled once it was submitted.
int file_write_append(struct pawl_file *log, const void *data, size_t bytes, uint32_t record_flags,
                      uint64_t sequence, uint64_t deadline_ns,
                      struct pawl_append_result *ret) PAWL_MUST_CHECK;
// Readers never see less of a chunk's write log than this file has written or seen of it.
void file_seen_note(struct pawl_file *file, uint64_t handle, uint64_t log_bytes);
uint64_t file_seen_bytes(const struct pawl_file *file, uint64_t handle);
void file_seen_free(struct pawl_file *file);
void file_streams_close(struct pawl_file *file);
// Adds what was done for records of a file's own, and for writes that open streams of it have made.
void file_counters_add(const struct pawl_file *file, struct pawl_counters *sum);
void file_streams_counters_add(const struct pawl_file *file, struct pawl_counters *sum);
// At the end of all files: the logs are freed by themselves.
void file_streams_free(struct pawl_file *file);

// Asks for a new map, the tail's primary included with `settle`; returns the ticket that it will have.
uint64_t file_chunks_want(struct pawl_file *file, bool settle, uint64_t deadline_ns);
// Has that one ended? *ret_code: how. After 0 it is in file->chunks; after a failure there is none.
bool file_chunks_have(const struct pawl_file *file, uint64_t ticket, int *ret_code);
bool file_chunks_run(struct pawl_file *file, uint64_t now_ns);
uint64_t file_chunks_wake_ns(const struct pawl_file *file);
// The same and wait: all chunks; sets file->chunks. The map may change in every turn.
int file_chunks_refresh(struct pawl_file *file, uint64_t deadline_ns) PAWL_MUST_CHECK;
// The same until the open tail, if there is one, has a primary.
int file_chunks_settle(struct pawl_file *file, uint64_t deadline_ns) PAWL_MUST_CHECK;
// The chunk of the map that holds `offset`, or that may: an open one has no end. NULL: none.
const struct file_chunk *file_chunk_at(const struct pawl_file *file, uint64_t offset);
// What the primary of an open chunk says of it: that it holds the lease, or that the chunk is sealed by now.
int file_tail_inspect(struct pawl_file *file, const struct file_chunk *chunk, uint64_t deadline_ns,
                      struct wire_inspected *ret) PAWL_MUST_CHECK;
// Is that what a primary may say, or one who knows of the seal?
int file_tail_check(const struct pawl_file *file, const struct wire_inspected *tail);
// One LOOKUP over the replicas of a chunk.
int file_lookup(struct pawl_file *file, uint64_t handle, const struct pawl_record_id *id,
                uint64_t deadline_ns, struct wire_appended *ret) PAWL_MUST_CHECK;
int file_chunk_by_handle(struct pawl_file *file, uint64_t handle, uint64_t deadline_ns,
                         struct file_chunk *ret) PAWL_MUST_CHECK;

// ---- push.c -------------------------------------------------------------------------------------

// `pusher` may be NULL.
int pusher_callbacks(struct client_pusher *pusher);

// ---- read.c -------------------------------------------------------------------------------------

// Lets reads do what they can. Returns true when something was done.
bool file_reads_run(struct pawl_file *file, uint64_t now_ns);
uint64_t file_reads_wake_ns(const struct pawl_file *file);
int file_reads_callbacks(struct pawl_file *file);
// Ends reads with `status` as soon as no server can write into their memory any more; a pawl_read() that waits
// goes on.
void file_reads_close(struct pawl_file *file, int status);
// At pawl_close(): no link is left.
void file_reads_free(struct pawl_file *file);

#endif
