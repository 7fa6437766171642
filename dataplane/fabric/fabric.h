// SPDX-License-Identifier: Apache-2.0
// The fabric: connected, ordered, reliable messages and one-sided writes and reads between peers.
//
// OWNS: libfabric's fabric, domain, completion and event queues, endpoints, receive and send
// buffers. Thread: everything that hangs off one struct fabric belongs to the thread that polls it.
// No locks, no threads inside. No libfabric type leaks through this header.
//
// Guarantees that the layers above build on:
//  - Messages of one connection arrive whole, once and in order. A message sent after a write to
//  the
//    same connection arrives after the bytes of that write are in place (FI_ORDER_SAW).
//  - Every write and read that was accepted ends in exactly one FABRIC_DONE event.
//  - FABRIC_CLOSED is the last event of a connection and comes exactly once. When it is delivered
//  the
//    endpoint is destroyed: no remote write of that peer can land any more, no completion is
//    pending, and the window that the peer had may be given to somebody else.
//  - Events are delivered by fabric_poll() only, never from inside another call.
//  - Nothing waits for ever: connecting has a deadline, and an operation that is not complete after
//    `operation_ms` closes its connection.
#ifndef PAWL_DATAPLANE_FABRIC_H
#define PAWL_DATAPLANE_FABRIC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/util.h"

struct fabric;
struct fabric_conn;
struct fabric_region;
struct fabric_op;

#define FABRIC_ADDRESS_MAX 96
#define FABRIC_FDS_MAX 16

struct fabric_options {
    const char *provider;   // "tcp", "verbs", or "fake" (in-process, for tests)
    const char *host;       // local address to bind to: "127.0.0.1"; NULL: any (clients)
    uint16_t port;          // to listen on; 0: a free one
    uint32_t message_bytes; // largest message
    // The same of a fabric that is a stream, where what finds no receive waits; 0: as of the others.
    uint32_t stream_message_bytes;
    // Posted per connection; at least as many as requests and replies a peer may send. Over tcp an eighth,
    // each eight times as long: what finds none waits. Over iWARP twice as many are posted.
    uint32_t receives_count;
    uint32_t connections_max;
    uint32_t operation_ms; // deadline of an accepted write, read or send; 0: 10,000
    // Silence after which a peer's host is asked whether it is there; no answer within operation_ms closes
    // the connection. 0: 30,000. The peer's host answers, not its process; see probe.c.
    uint32_t idle_ms;
};

enum fabric_event_type {
    FABRIC_CONNECTED = 1, // fabric_connect() has succeeded: sends may start
    FABRIC_ACCEPTED,      // a peer has connected to the listener: a new conn
                          // Messages of the same poll carry user NULL: it was not set yet
    FABRIC_MESSAGE,       // message, message_bytes: BORROWED UNTIL the next fabric_poll(), or
                          // longer by fabric_packet_hold()
    FABRIC_DONE,          // a write or read with `token` ended with `status`
    FABRIC_CLOSED,        // the conn is gone: `status` is what fabric_conn_close() was given, or
                          // PAWL_EDISCONNECTED, PAWL_EDEADLINE, PAWL_EPROTOCOL (another format).
                          // Its pointer is dead after the next fabric_poll()
};

struct fabric_event {
    enum fabric_event_type type;
    int status; // 0 or a negative code
    struct fabric_conn *conn;
    void *user; // as set by fabric_conn_set_user or fabric_connect
    uint64_t token;
    const void *message;
    uint32_t message_bytes;
    struct fabric_op *packet; // that the message came in
};

// Opens the provider. *ret_fabric is OWNED by the caller; close with fabric_close(). Errors:
// -ENODATA when the provider isn't there (the log names those that are), -ENOMEM, -EINVAL.
int fabric_open(const struct fabric_options *options, struct fabric **ret_fabric) PAWL_MUST_CHECK;

// Destroys everything, regions included, without events. NULL is fine.
void fabric_close(struct fabric *fabric);

// Starts to accept peers. Peers whose connection data don't carry Pawl's magic and format are
// refused, with a log line that names both sides' versions.
int fabric_listen(struct fabric *fabric) PAWL_MUST_CHECK;

// "tcp://127.0.0.1:40123": what peers give to fabric_connect(). Valid after fabric_listen().
const char *fabric_address(const struct fabric *fabric);

// Name of the provider in use and the device or interface, for logs and `doctor`.
const char *fabric_provider(const struct fabric *fabric);

// True: a message that finds no receive posted waits in the peer's socket and harms nothing, so peers may
// have more requests unanswered than receives are posted. On a device each needs its receive.
bool fabric_is_stream(const struct fabric *fabric);

// The largest message: which of the two options it is.
uint32_t fabric_message_bytes(const struct fabric *fabric);

// Starts to connect. Ends in FABRIC_CONNECTED or FABRIC_CLOSED within deadline_ms. `user` is handed
// back in every event. An address of another provider than this fabric's: PAWL_EINVALID.
int fabric_connect(struct fabric *fabric, const char *address, uint32_t deadline_ms, void *user,
                   struct fabric_conn **ret_conn) PAWL_MUST_CHECK;

// Destroys the endpoint; FABRIC_DONE for what was pending and then FABRIC_CLOSED follow at a later
// poll. Idempotent.
void fabric_conn_close(struct fabric_conn *conn, int status);

void fabric_conn_set_user(struct fabric_conn *conn, void *user);

// Number of the connection: never used again in this process, never 0.
uint64_t fabric_conn_id(const struct fabric_conn *conn);

// "127.0.0.1:51234" for logs.
const char *fabric_conn_peer(const struct fabric_conn *conn);

#define FABRIC_REMOTE_WRITE 1u // peers may write here
#define FABRIC_REMOTE_READ 2u  // peers may read here
#define FABRIC_LOCAL 4u        // source of writes, target of reads

// Registers memory (BORROWS it until fabric_region_close). `access` is a mask of the above.
int fabric_region_open(struct fabric *fabric, void *memory, size_t bytes, unsigned access,
                       struct fabric_region **ret_region) PAWL_MUST_CHECK;
void fabric_region_close(struct fabric_region *region);

// What a peer needs to reach `memory`, an address inside the region: remote key and remote address
// (virtual or zero-based, as the provider wants it).
uint64_t fabric_region_key(const struct fabric_region *region);
uint64_t fabric_region_remote(const struct fabric_region *region, const void *memory);

// Sends a message of up to message_bytes (the smaller of both sides'). COPIES it into an own buffer.
// In order with earlier sends and writes of this connection. Failures close the connection. Messages
// to one peer gather and travel together; they leave when there is no more room, or no piece, in their packet, with a
// write or read of the same connection, by fabric_flush(), and by the next fabric_poll().
// -EMSGSIZE, PAWL_EDISCONNECTED, -EAGAIN when more than the queue's bound is pending or the
// connection isn't up yet.
int fabric_send(struct fabric_conn *conn, const void *message, uint32_t bytes) PAWL_MUST_CHECK;

// The same from several pieces, gathered in order.
int fabric_sendv(struct fabric_conn *conn, const struct iovec *pieces,
                 uint32_t pieces_count) PAWL_MUST_CHECK;

// From two: struct and inline payload.
int fabric_send2(struct fabric_conn *conn, const void *head, uint32_t head_bytes, const void *tail,
                 uint32_t tail_bytes) PAWL_MUST_CHECK;

// The same, and the last piece lies in a received packet that the caller holds (NULL: it lies elsewhere). If it
// is long enough to be worth it, and the provider takes enough pieces, it is sent from there, and the packet
// stays held for it until that is over, also when either connection ends before: the caller's hold may end at
// once. Otherwise it is copied as by fabric_sendv().
int fabric_send_from(struct fabric_conn *conn, const struct iovec *pieces, uint32_t pieces_count,
                     struct fabric_op *packet) PAWL_MUST_CHECK;

// Bytes of last pieces that fabric_send_from() has copied after all.
uint64_t fabric_copied_bytes(const struct fabric *fabric);

// Lets go what fabric_send() has gathered.
void fabric_flush(struct fabric *fabric);

// Writes local memory of `region` to the peer. BORROWS memory UNTIL FABRIC_DONE(token), whose status
// is 0 or PAWL_EDISCONNECTED. 0 says that the memory may be used again, not that the bytes have
// arrived: the answer to a message sent after the write says that. Errors as for fabric_send, and
// -EINVAL for memory outside of `region`; no event follows an error. A write that the peer doesn't
// grant ends the connection.
int fabric_write(struct fabric_conn *conn, struct fabric_region *region, const void *memory,
                 size_t bytes, uint64_t remote_address, uint64_t remote_key,
                 uint64_t token) PAWL_MUST_CHECK;

// Reads from the peer into local memory of `region`. The same rules.
int fabric_read(struct fabric_conn *conn, struct fabric_region *region, void *memory, size_t bytes,
                uint64_t remote_address, uint64_t remote_key, uint64_t token) PAWL_MUST_CHECK;

// Makes progress and returns up to `count` events (>= 0). `now_ns` is pawl_clock_ns() (or a test's
// clock): deadlines are judged by it.
int fabric_poll(struct fabric *fabric, uint64_t now_ns, struct fabric_event *events, int count);

// The messages of event.packet stay where they are until the matching fabric_packet_release(), also when
// their connection ends before. Each hold counts. To be called before the next poll. What is held is
// missing where the peer's next packets land, and what is held may wait for one of those: false when
// three quarters of the connection's receives are held.
bool fabric_packet_hold(struct fabric_op *packet) PAWL_MUST_CHECK;
// Not after fabric_close().
void fabric_packet_release(struct fabric_op *packet);

// Descriptors to wait on (level triggered, readable); returns how many. They may change after a
// poll that delivered FABRIC_ACCEPTED, FABRIC_CONNECTED or FABRIC_CLOSED.
int fabric_wait_fds(const struct fabric *fabric, int fds[FABRIC_FDS_MAX]);

// When the next deadline has to be judged, or an idle peer to be asked, on the clock given to
// fabric_poll(); UINT64_MAX: none. A thread that sleeps wakes up by then.
uint64_t fabric_deadline_ns(const struct fabric *fabric);

// 0 when the thread may sleep on those descriptors; -EAGAIN when it must poll first.
int fabric_try_wait(struct fabric *fabric);

#endif
