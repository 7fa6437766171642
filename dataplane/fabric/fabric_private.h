// SPDX-License-Identifier: Apache-2.0
// Inside of the fabric room: what the common part and the two providers (libfabric, fake) share.
//
// The common part (fabric.c, conn.c, op.c) keeps the books: connections, operations, deadlines,
// events. A provider moves bytes and reports through fabric_conn_established(), fabric_conn_lost()
// and fabric_op_completed(). Nothing that the header of the room promises depends on a provider
// reporting an operation when its endpoint dies: the books know what was pending.
//
// Life of a connection: CONNECTING or ACCEPTING > OPEN > CLOSING (endpoint destroyed, FABRIC_DONE
// and FABRIC_CLOSED to be delivered) > kept until its last event has been seen and the completion
// queue was found empty > freed. So a completion that comes late still finds its operation.
#ifndef PAWL_DATAPLANE_FABRIC_PRIVATE_H
#define PAWL_DATAPLANE_FABRIC_PRIVATE_H

#include <stdbool.h>

#include "base/list.h"
#include "dataplane/fabric/fabric.h"

#define FABRIC_PEER_MAX 64
#define FABRIC_OPERATION_MS_DEFAULT 10000u
#define FABRIC_IDLE_MS_DEFAULT 30000u
#define FABRIC_SENDS_SLAB 64u // send buffers that are made (and registered) at a time
#define FABRIC_MESSAGE_ALIGN 64u
// Slabs of receives that wait for a connection: 8 MiB at a chunk server, over iWARP 17 MiB (docs/operations.md).
#define FABRIC_SPARES_MAX 4u

// Connection data: 16 bytes, little-endian, sent by both sides when a connection is made. Whoever
// meets another magic or format refuses, and says both sides' versions.
#define FABRIC_GREETING_MAGIC 0x4c574150u // "PAWL"
#define FABRIC_GREETING_FORMAT 3u
struct fabric_greeting {
    uint32_t magic;
    uint16_t format;
    uint16_t features;
    uint32_t message_bytes; // largest message that the sender of this takes
    uint32_t packet_bytes;  // largest packet; it has room for that message
};
_Static_assert(sizeof(struct fabric_greeting) == 16, "fabric_greeting");

// What goes over as one message of the provider is a packet: one or more messages of the owner's, each
// behind a header of 8 bytes, little-endian, and padded with zeros to a multiple of 8 (packet.c).
#define FABRIC_FRAME_ALIGN 8u
// A device has a receive posted for each message that a peer may send, so these are short. Over tcp a
// message may wait in the socket: fewer and longer ones, in as much memory.
#define FABRIC_PACKET_BYTES 16384u
#define FABRIC_PACKET_TCP_FACTOR 8u
struct fabric_frame {
    uint32_t bytes;    // of the message behind it, 1 to message_bytes
    uint32_t reserved; // 0
};
_Static_assert(sizeof(struct fabric_frame) == FABRIC_FRAME_ALIGN, "fabric_frame");

// A packet is sent from so many pieces at most: its own buffer, and payloads that stay where they lie (packet.c).
#define FABRIC_PIECES_MAX 4u
#define FABRIC_REFERS_MAX (FABRIC_PIECES_MAX / 2)
// Shorter ones are copied: a hold and a piece cost more.
#define FABRIC_REFER_BYTES_MIN 1024u
// A packet of its own costs both ends as much as the copy of some 50 KiB: short ones are copied where no piece is left
// (docs/decisions/0043).
#define FABRIC_REFER_PACKET_BYTES_MIN 4096u

// A payload in a packet that was received. The one that is sent holds it until it is over.
struct fabric_refer {
    struct fabric_op *packet;
    unsigned char *memory;
    uint32_t bytes;
    uint32_t pad_bytes; // zeros behind it that lie there, too
    size_t own_bytes;   // what the packet has before it in its own buffer
};

enum fabric_op_kind {
    FABRIC_OP_RECEIVE = 1,
    FABRIC_OP_SEND,
    FABRIC_OP_WRITE,
    FABRIC_OP_READ,
    FABRIC_OP_PROBE, // the fabric's own; moves nothing, no event tells of it
};

// One operation that the provider knows by the address of `context`. Sends, writes and reads come
// from the fabric's pool, receives from an array of their connection.
struct fabric_op {
    void *context[8]; // belongs to the provider while the operation is posted
    struct fabric_conn *conn;
    struct pawl_list link;  // in one of the conn's lists, the pool's, or the fabric's borrowed
    struct pawl_list timed; // in the fabric's fresh or timed
    enum fabric_op_kind kind;
    bool is_posted;
    uint64_t token;
    uint64_t deadline_ns;
    void *memory;
    size_t bytes;
    size_t taken_bytes;   // of a received packet: what was delivered of it
    uint32_t holds_count; // of a received packet: by fabric_packet_hold()
    bool is_kept;         // it is held, and was no longer borrowed
    void *desc;           // local registration, as the provider wants it
    size_t own_bytes;     // of a packet to be sent: what is in `memory`; the rest of `bytes` is
                          // what it refers to
    uint32_t refers_count;
    struct fabric_refer refers[FABRIC_REFERS_MAX];
    uint64_t remote_address;
    uint64_t remote_key;
};

enum fabric_conn_state {
    FABRIC_CONN_CONNECTING = 1,
    FABRIC_CONN_ACCEPTING,
    FABRIC_CONN_OPEN,
    FABRIC_CONN_CLOSING,
};

struct fabric_conn {
    struct fabric *fabric;
    uint64_t id;
    void *user;
    void *endpoint; // the provider's; NULL once destroyed
    void *resolve;  // the provider's, while it looks for the way to the peer
    enum fabric_conn_state state;
    bool is_known;     // the owner knows it: it gets FABRIC_CLOSED
    bool is_announced; // FABRIC_CONNECTED or FABRIC_ACCEPTED was delivered
    bool is_lost;      // closes with `status` once the completion queue is empty
    int status;
    uint64_t deadline_ms;  // of making the connection
    uint64_t deadline_ns;  // the same, stamped by the first poll; 0: not yet
    uint64_t drain_mark;   // see fabric.drain_count
    uint64_t heard_ns;     // when the peer's host was last known to be there
    uint32_t ops_count;    // sends, writes, reads and probes that are not over
    uint32_t posted_count; // of them: known to the provider
    uint32_t sends_count;  // of them: sends
    uint32_t peer_message_bytes, peer_packet_bytes;
    struct pawl_list link;      // in the fabric's conns, closing, closed or orphans
    struct pawl_list work;      // in the fabric's making, ready or lost
    struct pawl_list waiting;   // in the fabric's backlog
    struct pawl_list gathers;   // in the fabric's gathering
    struct fabric_op *gathered; // the packet that messages are still added to; NULL: none
    struct pawl_list posted;
    struct pawl_list queued; // the provider had no room: posted later, in this order
    struct pawl_list early;  // received packets that wait for the announcement, or for room
    struct pawl_list doomed; // CLOSING: not reported yet
    struct pawl_list grave;  // CLOSING: reported; a late completion may still name them
    struct fabric_op *receives;
    uint32_t holds_count; // packets that are held
    bool is_orphan;       // closed and reported; only held packets are left
    unsigned char *slab;
    struct fabric_region *slab_region;
    char peer[FABRIC_PEER_MAX];
};

struct fabric_region {
    struct fabric *fabric;
    struct pawl_list link;
    unsigned char *memory;
    size_t bytes;
    unsigned access;
    void *handle; // the provider's
    void *desc;
    uint64_t key;
    uint64_t remote_base; // remote address of memory[0]
};

// What a provider does; docs/providers.md tells what is asked of one, and where cxi, efa or shm would
// go. All run on the owner's thread, and none calls back into the common part
// except `progress`.
struct fabric_provider {
    int (*open)(struct fabric *fabric);
    void (*close)(struct fabric *fabric);
    int (*listen)(struct fabric *fabric); // fills fabric->address
    // Makes the endpoint, posts the receives (fabric_receives_post) and starts to connect.
    int (*connect)(struct fabric_conn *conn, const char *host, const char *port);
    // Destroys conn->endpoint or conn->resolve. No byte of the peer lands afterwards.
    void (*destroy)(struct fabric_conn *conn);
    int (*post)(struct fabric_op *op); // 0, -EAGAIN, or an error that ends the connection
    // Reports what happened; stops when fabric_room() is 0. Calls fabric_drained() when nothing was
    // left to report.
    void (*progress)(struct fabric *fabric);
    int (*region_open)(struct fabric_region *region);
    void (*region_close)(struct fabric_region *region);
    int (*wait_fds)(const struct fabric *fabric, int fds[FABRIC_FDS_MAX]);
    int (*try_wait)(struct fabric *fabric);
};

extern const struct fabric_provider fabric_provider_ofi;
extern const struct fabric_provider fabric_provider_fake;

struct fabric_sends_slab {
    struct fabric_sends_slab *next;
    unsigned char *memory;
    struct fabric_region *region;
};

struct fabric {
    const struct fabric_provider *provider;
    void *state; // the provider's
    struct fabric_options options;
    char *provider_name, *host; // copies of the options' strings
    char address[FABRIC_ADDRESS_MAX];
    char description[128];
    bool is_listening;
    bool needs_local; // the provider wants registered local memory
    bool is_stream;   // what finds no receive waits in a socket, and the peer is held back by it
    bool can_probe;   // it takes FABRIC_OP_PROBE, and the peer's host answers without its process
    uint16_t format;  // of the greeting; tests change it
    uint32_t receives_count;
    uint32_t sends_max;  // per connection
    uint32_t posts_max;  // per connection: sends, writes and reads that the provider takes
    uint32_t pieces_max; // that the provider sends a packet from; at most FABRIC_PIECES_MAX
    uint32_t inject_bytes;
    uint64_t now_ns;
    uint64_t
        probe_ns; // before this no connection has been idle for long; UINT64_MAX: nobody to ask
    uint64_t drain_count; // how often the completion queue was found empty
    uint32_t conns_count; // not closing
    uint32_t orphans_count;
    uint64_t copied_bytes; // of payloads that fabric_send_from() was to leave where they lie
    uint32_t packet_bytes; // of the largest packet
    uint32_t stride_bytes; // between two packets in memory
    struct pawl_list conns, closing, closed, orphans;
    struct pawl_list making, ready, lost, backlog, gathering;
    struct pawl_list fresh, timed; // operations: without a deadline yet; in order of deadline
    struct pawl_list finished;     // writes and reads that are over and whose event found no room
    struct pawl_list borrowed; // receives whose bytes the caller may look at until the next poll
    struct pawl_list ops_free, sends_free;
    struct pawl_list spares;
    uint32_t spares_count;
    struct pawl_list regions;
    struct fabric_ops_slab *ops_slabs;
    struct fabric_sends_slab *sends_slabs;
    struct fabric_event *events; // of the poll that is going on
    int events_count, events_used;
};

// fabric.c
int fabric_room(const struct fabric *fabric); // events that the caller can still take
void fabric_emit(struct fabric_conn *conn, enum fabric_event_type type, int status);
void fabric_emit_message(struct fabric_op *packet, const void *message, uint32_t bytes);
void fabric_emit_done(struct fabric_op *op, int status);
void fabric_drained(struct fabric *fabric);
// Something goes on only when nothing was left to report.
bool fabric_awaits_drain(const struct fabric *fabric);
struct fabric_greeting fabric_greeting_of(const struct fabric *fabric);

// conn.c
struct fabric_conn *fabric_conn_new(struct fabric *fabric, enum fabric_conn_state state);
// A peer wants in: checks its greeting and the limits. NULL when it is to be refused (logged).
struct fabric_conn *fabric_conn_request(struct fabric *fabric, const void *greeting, size_t bytes,
                                        const char *peer);
// The connection is up. `greeting` is what the accepting side sent; ignored on that side.
void fabric_conn_established(struct fabric_conn *conn, const void *greeting, size_t bytes);
// The provider says that it is over: closes after what has arrived before is delivered.
void fabric_conn_lost(struct fabric_conn *conn, int status);
// What a refused peer is told by the other side's greeting.
int fabric_refusal_status(const struct fabric_conn *conn, const void *greeting, size_t bytes);
void fabric_conn_deliver(struct fabric *fabric); // announcements, early messages, closings
void fabric_conn_expire(struct fabric *fabric);
void fabric_conn_reap(struct fabric *fabric);
void fabric_conn_free(struct fabric_conn *conn); // at once, or with the last held packet
void fabric_orphans_free(struct fabric *fabric);
void fabric_conn_forget(struct fabric_conn *conn); // gives its memory back
void fabric_spares_free(struct fabric *fabric);

// packet.c
// Bytes of a packet with one such message.
uint64_t fabric_frame_bytes(uint64_t message_bytes);
// A received packet as a peer may have made it up: is each frame of it whole and in bounds?
bool fabric_packet_check(const void *packet, size_t bytes, uint32_t message_bytes);
// Delivers messages of a checked packet while there is room. True: all of it was, and its memory is
// borrowed until the next poll; false: it goes on where it stopped.
bool fabric_packet_deliver(struct fabric_op *op);
// Ends the gathering of messages for this connection: posts the packet, if there is one.
int fabric_packet_submit(struct fabric_conn *conn);
// The pieces that a packet is sent from, in order; returns how many.
uint32_t fabric_packet_pieces(const struct fabric_op *op, struct iovec pieces[FABRIC_PIECES_MAX],
                              void *descs[FABRIC_PIECES_MAX]);
// It is over, however it ended: lets go of what it refers to.
void fabric_packet_forget(struct fabric_op *op);
// The same for a connection that closes: what can be posted is, without an outcome.
void fabric_packet_abandon(struct fabric_conn *conn);

// op.c
int fabric_op_new(struct fabric_conn *conn, enum fabric_op_kind kind,
                  struct fabric_op **ret_op) PAWL_MUST_CHECK;
// 0: posted or queued. An error: the operation is not accepted, and the connection is closing.
int fabric_op_submit(struct fabric_op *op);
int fabric_send_buffer_take(struct fabric_op *op) PAWL_MUST_CHECK;
int fabric_receives_post(struct fabric_conn *conn) PAWL_MUST_CHECK;
// Failures close the connection.
void fabric_probe_submit(struct fabric_conn *conn);
void fabric_borrowed_return(struct fabric *fabric);
bool fabric_ops_report(struct fabric *fabric); // what is finished; false: no more room
void fabric_ops_stamp(struct fabric *fabric);
void fabric_ops_expire(struct fabric *fabric);
void fabric_backlog_retry(struct fabric *fabric);
// The provider is done with `op` (bytes: of a received message). Late ones of a closed connection
// are recognised here.
void fabric_op_completed(struct fabric_op *op, int status, size_t bytes);
void fabric_op_release(struct fabric_op *op);
void fabric_ops_doom(struct fabric_conn *conn);
void fabric_ops_fini(struct fabric *fabric);

// probe.c
void fabric_probe_watch(struct fabric_conn *conn); // it is open from now on
void fabric_probe_idle(struct fabric *fabric);

// listener_guard.c: keeps peers that never speak from holding on to the listening port.
struct listener_guard;
int listener_guard_new(struct fabric *fabric, uint16_t port,
                       struct listener_guard **ret_guard) PAWL_MUST_CHECK;
void listener_guard_free(struct listener_guard *guard);
// Before the listener closes: shuts down accepted sockets that no connection knows. Returns how many
// there were.
size_t listener_guard_drop_all(struct listener_guard *guard);
void listener_guard_sweep(struct listener_guard *guard, uint64_t now_ns);

// ofi_log.c: libfabric's own warnings go to our log, limited.
void ofi_log_import(void);

#endif
