// SPDX-License-Identifier: Apache-2.0
// Inside the chunk server: what a reactor consists of, and how its parts call each other.
//
// One rule keeps the parts from calling each other in circles: nothing steps the core while the
// actions of a step are being carried out. Whatever comes up meanwhile (a failed send, a store call
// refused at once) is posted with reactor_post() and stepped after them.
//
//   fabric events -> session.c (peers that connected to us), peer.c (those we connected to)
//   store completions -> storage.c        mails -> commands.c
//   all of them -> reactor_step() -> chunk core -> carry_out.c -> session, peer, storage, commands
#ifndef PAWL_DATAPLANE_CHUNKD_PRIVATE_H
#define PAWL_DATAPLANE_CHUNKD_PRIVATE_H

#include "base/addresses.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "dataplane/chunkd/buffers.h"
#include "dataplane/chunkd/reactor.h"
#include "dataplane/chunkd/slab.h"
#include "dataplane/core/chunk_core.h"
#include "dataplane/fabric/fabric.h"
#include "dataplane/memory/memory.h"
#include "dataplane/store/store.h"
#include "proto/reactor.h"
#include "proto/wire.h"

#define CHUNKD_REQUESTS_COUNT 128u
// Another server forwards the records of all clients, and has no more of them in one flush than half of this.
#define CHUNKD_PEER_REQUESTS_COUNT 512u
#define CHUNKD_CONNECTIONS_COUNT 512u
#define CHUNKD_HELLO_MS 5000u   // a connection has so long to say HELLO
#define CHUNKD_LINGER_MS 1000u  // a refused one so long to read the refusal
#define CHUNKD_CONNECT_MS 1000u // to another chunk server; and again for its WELCOME
#define CHUNKD_PREPARE_MS 2000u // a secondary's answer; the core reports it before that
#define CHUNKD_FETCH_MS 5000u
#define CHUNKD_LANDING_MS 10000u // a fetch waits so long for one; for a copy so does the master
// Of payloads that come by chain; all within the second that the core gives a secondary.
#define CHUNKD_RELAY_MS 500u   // between slices, and to the next server's answer; then by star
#define CHUNKD_ARRIVAL_MS 900u // a pushed payload waits so long for its PREPARE
#define CHUNKD_HELD_MS 900u    // a PREPARE waits so long for its payload
#define CHUNKD_SLICES_MAX 8u   // of a payload that goes by chain
// Windows: a server gives an unused one back after so long, or when it is told; who goes on to use one that others wait
// for, or as a client keeps it, is disconnected after a while.
#define CHUNKD_WINDOW_MS 5000u
#define CHUNKD_SIT_MS 3000u
#define CHUNKD_WAITED_MS 60000u // nobody has waited for longer, whatever he says
#define CHUNKD_TELL_MS 500u     // a client that waits for a window hears so often that it does
#define CHUNKD_MOVE_MS 5000u    // unless none was granted for so long
#define CHUNKD_GRANT_MS 5000u // for one; the core of who waits has long reported the server by then
#define CHUNKD_SPARE_MS 1000u // who found none to spare for relays asks again after so long
#define CHUNKD_TICK_MS 10u
#define CHUNKD_STOP_MS 2000u

// ---- payloads -------------------------------------------------------------------------------

enum payload_kind {
    PAYLOAD_INLINE = 1, // lies in the message, whose packet is held
    PAYLOAD_COPIED,     // was in a message, and too many packets of its connection were held
    PAYLOAD_SLOTS,      // lies in the window of its session
    PAYLOAD_LANDING,    // fetched
};

// Bytes that a request brought, or that were fetched. The core has one use until RELEASE; each
// write and forward under way has one on top.
struct payload {
    uint64_t name;
    enum payload_kind kind;
    uint32_t uses_count;
    uint32_t length;
    uint32_t crc;
    unsigned char *bytes;
    const struct wire_run_row *rows; // of a run, in front of the bytes; NULL: none
    struct fabric_op *packet;        // PAYLOAD_INLINE: held; otherwise NULL
    struct window *window;           // PAYLOAD_SLOTS: one use of it
    struct landing *landing;         // PAYLOAD_LANDING
    uint64_t request;                // whose reply waits for the last use; 0: none
};

// With one use. NULL: none to be had.
struct payload *payload_new(struct reactor *reactor, enum payload_kind kind);
void payload_use(struct payload *payload);
// The last one frees it and sends the reply that waits for it.
void payload_unuse(struct reactor *reactor, struct payload *payload);
struct payload *payload_find(struct reactor *reactor, uint64_t name);

// ---- sessions: connections that were made to us -----------------------------------------------

enum endpoint_kind { ENDPOINT_SESSION = 1, ENDPOINT_LINK };

// What a fabric connection's user pointer points to.
struct endpoint {
    enum endpoint_kind kind;
};

enum session_state {
    SESSION_FRESH = 1, // has not said HELLO
    SESSION_OPEN,
    SESSION_REFUSED, // was told so; may close by itself until the deadline
    SESSION_CLOSING, // FABRIC_CLOSED is on its way
};

struct session {
    struct endpoint endpoint;
    struct pawl_list node;
    enum session_state state;
    struct fabric_conn *conn;
    uint32_t fabric; // number of the one that the connection belongs to
    uint64_t id;
    uint64_t deadline_ns;      // FRESH, REFUSED
    uint64_t server_id;        // 0: a client
    struct window *window;     // NULL: none now
    uint64_t window_used_ns;   // when it was granted, or a slot of it was last in use
    uint64_t window_scarce_ns; // when it was first asked back; 0: it was not
    uint64_t window_request;   // the WINDOW that waits; 0: none
    uint64_t window_asked_ns;
    uint64_t window_since_ns; // of a client: when its payload began to wait, as it says
    uint64_t window_told_ns;  // it was told last that it waits
    uint32_t window_wanted;   // slots, and the fewest of use
    uint32_t window_needed;
    struct pawl_list window_waits;
    uint64_t slots_used; // bit n: slot n is named by an unanswered request
    uint32_t requests_count;
    struct pawl_list requests;
    struct pawl_list answers; // in the reactor's list, while `prepared` is held back
    struct wire_prepared
        prepared; // the answer that leaves at the end of the turn; header.bytes 0: none
};

// An unanswered request. The core knows it by `name`, the peer by `id`.
struct request {
    uint64_t name;
    uint64_t id;
    uint16_t type;
    uint16_t slot_first;
    uint16_t slot_count;
    uint16_t run_count; // PREPARE: as in the message
    bool replied;       // the core has answered; the payload is still in use
    bool joins;         // PREPARE: may be answered by the answer for a later record
    struct session *session;
    struct pawl_list node;
    uint64_t payload;        // 0: none or over
    uint64_t buffer_address; // READ, FETCH: where the peer wants the bytes
    uint64_t buffer_key;
    // APPEND: when it came, was given to the core, was durable here, was committed; 0: not (yet)
    uint64_t arrived_ns;
    uint64_t handed_ns;
    uint64_t durable_ns;
    uint64_t committed_ns;
    union chunk_reply reply;
};

// Requests that a client or another server may have unanswered over that fabric.
uint32_t session_requests_limit(const struct reactor *reactor, uint32_t fabric, bool is_server);
void session_accept(struct reactor *reactor, struct fabric_conn *conn, uint32_t fabric);
void session_message(struct reactor *reactor, struct session *session,
                     const struct fabric_event *event);
void session_closed(struct reactor *reactor, struct session *session, int status);
// Answers at once with a message of another kind than the core's.
void request_answer_bytes(struct reactor *reactor, struct request *request, const void *message,
                          uint32_t bytes);
void session_send(struct session *session, const void *message, uint32_t bytes);
void session_tick(struct reactor *reactor);
// Sends what was held back for more of its kind.
void sessions_answer(struct reactor *reactor);
void session_close(struct session *session, int status);
void session_free_all(struct reactor *reactor);

// Answers: sends at once, or when the payload's last use is over.
void request_reply(struct reactor *reactor, uint64_t name, const union chunk_reply *reply);
// The core's answer. Of an APPEND it keeps the times for the answer's stages.
void request_answer(struct reactor *reactor, const struct chunk_action *action);
// An answer from memory that still waits for its payload: the write failed, so this replica has it no more.
void request_take_back(struct reactor *reactor, uint64_t name);
void request_refuse(struct reactor *reactor, struct request *request, int status);
// The event that a request of the peer is for the core.
void session_step(struct reactor *reactor, struct session *session, uint64_t request,
                  const struct wire_header *header, struct payload *payload);
void request_payload_over(struct reactor *reactor, uint64_t name);

// ---- windows of sessions ----------------------------------------------------------------------

void windows_init(struct reactor *reactor);
// NULL, or what is wrong with it where it stands. It is answered now or later.
const char *windows_request(struct reactor *reactor, struct session *session,
                            struct request *request, const struct wire_window *message);
// The session ends.
void windows_forget(struct reactor *reactor, struct session *session);
// Grants what has become free.
void windows_turn(struct reactor *reactor);
void windows_tick(struct reactor *reactor);
// Flags of an answer to the session: whether it is to give its window back for others.
uint32_t windows_flags(const struct reactor *reactor, struct session *session);

// ---- peers: chunk servers that we connect to --------------------------------------------------

enum link_state {
    LINK_CONNECTING = 1,
    LINK_GREETING, // HELLO sent
    LINK_OPEN,
    LINK_CLOSING, // given up: FABRIC_CLOSED is on its way
};

// One connection to a peer; the next one may be made while an old one is still being closed.
struct link {
    struct endpoint endpoint;
    struct pawl_list node;
    enum link_state state;
    struct peer *peer; // NULL once it was given up
    struct fabric_conn *conn;
    uint32_t fabric;      // number of the one that the connection belongs to
    uint64_t deadline_ns; // GREETING
    uint64_t window_address;
    uint64_t window_key;
    uint32_t window_slots; // 0: none now
    bool window_asked;     // a WINDOW is unanswered
    bool window_spare;     // it was asked for relays: for more than it holds a larger one is asked
    bool window_once;      // it was granted while others waited: what waits here may use it once
    bool window_yields;    // others wait for it: it goes back as soon as no slot is in use
    uint64_t window_used_ns;
    uint64_t spare_ns; // one for relays is not asked for before
    uint32_t slot_bytes;
    uint64_t slots_used; // a payload is in them, or they are kept for one that comes by chain
    uint32_t requests_limit;
    uint32_t requests_count; // unanswered, and credits that are kept
    uint64_t heard_ns;       // the last reply
    // struct send: for slots, a credit, the connection, the other PREPARE of its chain
    struct pawl_list waiting;
    struct pawl_list sent;
    struct pawl_list pumps; // in the reactor's list: something may go now
    unsigned landings;      // bit n: landing n may still be written to until CLOSED
};

// One reactor of another server.
struct peer {
    struct pawl_list node;
    uint64_t server_id;
    uint32_t number;         // of the reactor
    uint32_t reactors_count; // of that server
    struct link *link;       // NULL: not connected
    char addresses[CHUNK_ADDRESS_MAX];
};

enum send_kind { SEND_PREPARE = 1, SEND_COMMIT, SEND_FETCH, SEND_PUSH, SEND_HOLD, SEND_WINDOW };

struct send {
    uint64_t name; // the request's id on the wire
    enum send_kind kind;
    // Of a chain. While a PREPARE waits: the other one, with which it goes. Once they are sent, to the first and in the
    // end its last PUSH: the second's, to bring the payload if the chain does not.
    uint64_t pair;
    uint64_t relay_to;   // PREPARE to the first: the payload goes on to this server
    bool keeps;          // PREPARE to the second: keeps its slots and a credit for that payload
    struct relay *relay; // PUSH: the end of what we forwarded
    struct pawl_list node;
    struct link *link; // it went out there; NULL: waits
    uint64_t token;    // FETCH: the core's
    uint64_t server_id;
    uint64_t since_ns;
    struct payload *payload;
    struct landing *landing;
    uint16_t slot_first;
    uint16_t slot_count;
    bool covered; // PREPARE: the answer for a later record is for this one, too
    union {
        struct wire_header header;
        struct wire_prepare prepare;
        struct wire_commit commit;
        struct wire_hold hold;
        struct wire_fetch fetch;
        struct wire_push push;
        struct wire_window window;
    } message;
};

// Between peer.c, peer_window.c, peer_chain.c and peer_send.c.
// The reactor of that server that a chunk of ours belongs to.
struct peer *peer_find(struct reactor *reactor, uint64_t server_id, uint64_t handle);
int peer_connect(struct reactor *reactor, struct peer *peer) PAWL_MUST_CHECK;
void link_give_up(struct reactor *reactor, struct link *link, int status, const char *why);
struct send *send_new(struct reactor *reactor, enum send_kind kind, uint64_t server_id);
// Ends a send; tells the core unless it is a fetch that brought its record.
void send_end(struct reactor *reactor, struct send *send, int status);
void post_fetch_failed(struct reactor *reactor, uint64_t token, int status);
// Queues a send; makes the connection when there is none. Without one the send fails.
void peer_send(struct reactor *reactor, struct send *send);
// Sends what may go now, there and on the links where that lets something go.
void link_pump(struct reactor *reactor, struct link *link);
void links_pump(struct reactor *reactor);

// So many slots of the peer's window a send needs, with a payload that is not inline.
uint32_t link_slots_count(const struct link *link, const struct send *send);
// Slices are for the first of a chain only. 0: there are no credits for any.
uint32_t link_slices_count(const struct link *link, const struct send *send);
// Whether there are slots and credits for it now.
bool link_fits(const struct link *link, const struct send *send);
// Takes them, and sends it. Without luck the link is given up, and the send has ended.
void link_issue(struct reactor *reactor, struct link *link, struct send *send);
// Brings a payload into those slots of the peer, and says so. 0, or why the link has to be given up.
int link_send_push(struct reactor *reactor, struct link *link, struct send *send,
                   struct payload *payload);
// By the next links_pump(), in this turn.
void link_pump_soon(struct reactor *reactor, struct link *link);

// A PREPARE to the first of a chain, and then the one to the second: from now on they go together, or by star.
void chain_first(struct reactor *reactor, struct send *send, const struct chunk_action *action);
void chain_second(struct reactor *reactor, struct send *send, const struct chunk_action *action);
enum chain_turn {
    CHAIN_NONE = 1, // by star, or no large payload at all: it goes by itself
    CHAIN_WAITS,    // for the other one
    CHAIN_GOES,     // both have gone, or have ended
};
// It is the first that waits on the link.
enum chain_turn chain_turn(struct reactor *reactor, struct link *link, struct send *send);
// Its link has no window: both go by star.
void chain_end(struct reactor *reactor, struct send *send);
// The chain has not brought this payload, or may not have: it goes to the second by star after all.
void chain_bring(struct reactor *reactor, uint64_t second, const struct wire_push *push,
                 struct payload *payload);

// Whether the peer's window has so many slots, used or not, and others don't wait for it.
bool link_window_serves(const struct link *link, uint32_t slots);
// Asks for one, unless it is on its way, or can't be yet.
void link_window_ask(struct reactor *reactor, struct link *link, uint32_t slots);
// The same for a relay, which does not wait for it: asks for what nobody waits for.
void link_window_spare(struct reactor *reactor, struct link *link, uint32_t slots);
void link_granted(struct reactor *reactor, struct link *link, const struct wire_window *asked,
                  const struct wire_granted *granted);
// A reply says that others wait, or slots are free again: what follows of it.
void link_window_turn(struct reactor *reactor, struct link *link);
// An unused window goes back after a while.
void link_window_tick(struct reactor *reactor, struct link *link);

// Where a server is now; connects to the reactor of it that this chunk belongs to.
void peer_learn(struct reactor *reactor, uint64_t server_id, const char *addresses,
                uint64_t handle);
// The open link to the server that a relay goes on to, if its slots are free there now: takes them. NULL
// otherwise; who is not known or not connected is from now on, under `addresses`.
struct link *peer_slots_take(struct reactor *reactor, const struct wire_push *push,
                             const char *addresses, uint16_t *ret_first);
void peer_slots_put(struct link *link, uint16_t first, uint16_t count);
// Tells the peer that a relayed payload is complete in its slots, which the answer returns. False: not now.
bool peer_push(struct reactor *reactor, struct link *link, struct relay *relay);
// False: none of the addresses has a provider of ours. Says so in the log.
bool peer_reachable(struct reactor *reactor, const Pawl__Member *member);
void peer_prepare(struct reactor *reactor, const struct chunk_action *action);
void peer_commit(struct reactor *reactor, const struct chunk_action *action);
void peer_hold(struct reactor *reactor, const struct chunk_action *action);
void peer_fetch(struct reactor *reactor, const struct chunk_action *action);
void peer_connected(struct reactor *reactor, struct link *link);
void peer_message(struct reactor *reactor, struct link *link, const void *message, uint32_t bytes);
void peer_closed(struct reactor *reactor, struct link *link, int status);
void peer_tick(struct reactor *reactor);
// Starts fetches that waited for a landing.
void peer_turn(struct reactor *reactor);
void peer_free_all(struct reactor *reactor);
// Gives a landing back; a fetch that waits for it starts in the next turn.
void peer_landing_put(struct reactor *reactor, struct landing *landing);

// A free run of `count` slots among the first `slots`, or -1; takes it.
int slots_take(uint64_t *used, uint32_t slots, uint32_t count);
// Bits of the run [first, first + count).
uint64_t slots_mask(uint32_t first, uint32_t count);

// ---- pushing alone (push_only.c) --------------------------------------------------------------

// At the primary: a client's PUSH. TAKES one use of the payload.
void push_only_begin(struct reactor *reactor, struct request *request, const struct wire_push *push,
                     struct payload *payload);
// Sends those on that there is room for.
void push_only_turn(struct reactor *reactor);
// One of its PREPAREs has ended.
void push_only_prepared(struct reactor *reactor, uint64_t number, int status);
// At another replica: the PREPARE and its payload. TAKES one use of it.
void push_only_end(struct reactor *reactor, uint64_t request, const struct wire_prepare *prepare,
                   struct payload *payload);
void push_only_free_all(struct reactor *reactor);

// ---- chains: payloads that come by way of another server ----------------------------------------

// The middle of a chain: a payload that we pass on, slice by slice, out of the slots that it lands in.
struct relay {
    struct pawl_list node;
    struct session *session; // it comes from there; NULL: closed
    struct link *link;       // it goes there; NULL: failed or over
    struct window *window;   // one use
    struct payload *payload; // of the PREPARE that has named the slots: one use
    uint64_t request;        // of the last slice, unanswered; 0: none
    uint64_t deadline_ns;    // of its answer
    struct wire_push push;   // the first slice's
    uint16_t slot_first;     // at the next server
    uint32_t passed_bytes;
    uint32_t writes_count; // under way
    int status;
    bool ended;  // the last slice has come, or no more will: the slots may carry another payload
    bool pushed; // PUSH sent, its end is still to come
};

void relay_slice(struct reactor *reactor, struct session *session, struct request *request,
                 const struct wire_push *push);
// A PREPARE has named these slots: its reply returns them, so it waits for the relay.
void relay_adopt(struct reactor *reactor, struct session *session, struct payload *payload,
                 uint16_t slot_first);
void relay_written(struct reactor *reactor, struct relay *relay);
void relay_pushed(struct reactor *reactor, struct relay *relay, int status);
void relay_link_lost(struct reactor *reactor, struct link *link);
void relay_session_closed(struct reactor *reactor, struct session *session);
void relay_tick(struct reactor *reactor);
void relay_free_all(struct reactor *reactor);

// The end of a chain: a payload and the PREPARE that it belongs to, come by two connections.
struct arrival {
    struct pawl_list node;
    struct wire_push push;
    uint64_t payload; // one use
    uint64_t request;
    uint64_t deadline_ns;
};

// A PREPARE that waits for its payload, or behind such a one of its chunk.
struct held {
    struct pawl_list node;
    struct session *session;
    uint64_t request;
    struct wire_prepare message;
    uint64_t payload; // one use; 0: still to come, if awaited
    uint64_t deadline_ns;
    bool awaited;
};

void pushed_arrive(struct reactor *reactor, struct request *request, const struct wire_push *push,
                   struct payload *payload);
// True: the PREPARE is held. Otherwise *payload is its payload.
bool pushed_hold(struct reactor *reactor, struct request *request,
                 const struct wire_prepare *prepare, struct payload **payload);
void pushed_session_closed(struct reactor *reactor, const struct session *session);
void pushed_tick(struct reactor *reactor);
void pushed_free_all(struct reactor *reactor);

// ---- the store and reads ----------------------------------------------------------------------

enum io_kind {
    IO_PERSIST = 1, // a mutation; token is the core's
    IO_READ,
    IO_RECORD,
    IO_TABLE,   // rows of a producer table, for a fetcher; not from the store
    IO_FORWARD, // an RDMA write of a payload to a secondary
    IO_RELAY,   // the same of a slice that goes on
};

struct io {
    uint64_t name; // token at the store and the fabric
    enum io_kind kind;
    struct pawl_list node; // while a read waits for a buffer
    uint64_t token;
    struct payload *payload;
    struct relay *relay; // IO_RELAY
    uint64_t request;
    unsigned char *buffer;
    size_t buffer_bytes;
    uint64_t handle; // of what is read at present
    uint64_t index;
    uint64_t committed_bytes;
    uint64_t log_bytes;
    uint32_t log_chunks;
    bool sealed;
    struct pawl_record record;
    void *rows; // IO_TABLE: OWNED; record.length bytes
    // A read: its segments go out one after the other, from the one buffer.
    struct chunk_segment *segments; // `first`, or OWNED when there are several
    struct chunk_segment first;
    uint32_t segments_count;
    uint32_t segment;
    uint32_t done_bytes; // given to the fabric
    uint32_t crc;        // of these
    bool replied;
};

struct io *io_new(struct reactor *reactor, enum io_kind kind);
void io_free(struct reactor *reactor, struct io *io);

void storage_persist(struct reactor *reactor, const struct chunk_action *action);
void storage_read(struct reactor *reactor, const struct chunk_action *action);
void storage_table(struct reactor *reactor, const struct chunk_action *action);
void storage_completed(struct reactor *reactor, const struct store_completion *completion);
// FABRIC_DONE of a write.
void storage_written(struct reactor *reactor, uint64_t name);
// Starts reads that waited for a buffer.
void storage_turn(struct reactor *reactor);
// What reads under way hold, at the end.
void storage_fini(struct reactor *reactor);
// Reports open chunks once the store has failed.
void storage_check(struct reactor *reactor);

// ---- commands and other mails -----------------------------------------------------------------

struct command {
    uint64_t name;
    uint64_t conn;
    uint64_t request;
};

// Of the control thread's mails, so many in a turn at most: as many as that, and there may be more.
#define COMMANDS_AT_ONCE 64
int commands_turn(struct reactor *reactor);
void commands_answer(struct reactor *reactor, uint64_t name, const Pawl__Reply *reply);
void commands_report(struct reactor *reactor, const struct chunk_action *action);

// ---- the reactor ------------------------------------------------------------------------------

struct reactor {
    struct reactor_options options;
    uint64_t server_id;
    uint64_t incarnation;
    uint64_t cluster_id;
    uint64_t opened_cluster_id;
    uint64_t now_ns;
    uint64_t (*clock_ns)(void); // finer than a turn; NULL: now_ns is the only time
    uint64_t ticked_ns;
    uint64_t tick_ns;   // the next one
    uint64_t active_ns; // when something was last under way
    bool stopping;
    bool stop_idle;
    bool stepping;
    bool inbox_open;
    bool outbox_open;
    bool store_failed;
    bool spins; // before it sleeps; see spins_renew()
    bool spins_said;
    uint64_t stop_ns;
    struct fabric *fabrics[PAWL_ADDRESSES_MAX]; // those of the options, in their order
    uint32_t fabrics_count;
    char addresses[PAWL_ADDRESSES_BYTES_MAX];
    struct store *store;
    struct chunk_core *core;
    struct buffers buffers;
    struct slab payloads;
    struct slab requests;
    struct slab sends;
    struct slab ios;
    struct slab commands;
    struct pawl_list sessions;
    struct pawl_list windows_servers; // sessions of servers that wait for a window, in order
    struct pawl_list windows_clients; // the same of clients
    uint64_t windows_since_ns;        // when the first of those that wait now began to
    uint64_t windows_moved_ns;        // when one was granted last
    struct pawl_list answering;       // sessions that hold an answer back
    struct pawl_list links;
    struct pawl_list peers;
    struct pawl_list pumps; // links on which something may go now
    bool pumping;
    uint64_t chain_first_name; // the send whose second one is the next action
    struct pawl_list reads;    // struct io: wait for a read buffer
    struct pawl_list fetches;  // struct send: wait for a landing
    struct pawl_list relays;
    struct pawl_list arrivals;
    struct pawl_list held;        // in the order in which they came
    struct pawl_list push_onlys;  // of clients, under way
    uint64_t push_onlys_count;    // since the start
    uint32_t push_onlys_slots;    // of those that have begun
    uint64_t relayed_count;       // payloads that we passed on
    uint64_t relays_failed_count; // payloads of ours that a chain did not bring
    struct chunk_event *posted;
    size_t posted_count;
    size_t posted_capacity;
    struct mailbox inbox;
    struct mailbox outbox;
    uint64_t copied_bytes; // payloads on arrival; those that go on are counted by the fabrics
};

// Steps the core with this event and all that were posted meanwhile. Not from inside carry_out().
void reactor_step(struct reactor *reactor, const struct chunk_event *event);
// Steps later, in order; the event must not carry a message or command.
void reactor_post(struct reactor *reactor, const struct chunk_event *event);
// Steps what was posted.
void reactor_drain(struct reactor *reactor);
// An event of this type, at the present time.
static inline struct chunk_event reactor_event(const struct reactor *reactor,
                                               enum chunk_event_type type)
{
    return (struct chunk_event){.type = type, .now_ns = reactor->now_ns};
}

// Until the next tick, a deadline of a fabric, or the end of draining.
uint32_t reactor_sleep_ms(const struct reactor *reactor, uint64_t now_ns);

void carry_out(struct reactor *reactor, const struct chunk_action *action);

#endif
