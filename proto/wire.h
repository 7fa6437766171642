// SPDX-License-Identifier: Apache-2.0
// Data-plane messages: fixed little-endian structs that travel over the fabric.
//
// Every message is a request or the one reply to it; only PREPARED may answer for a run of records. A
// reply repeats the request's id and type (with WIRE_REPLY set) and carries a status: 0 or a code of
// <pawl/error.h>. A peer may have at most `requests_count` requests unanswered on a connection (WELCOME
// says how many): that is the message credit. Payload up to WIRE_INLINE_MAX bytes follows the struct in
// the same message, and so does a run; a larger one is written by RDMA into slots of the window that the
// receiver has granted, before the message that names them. Slots named by a request belong to the receiver until its reply is
// sent; the reply returns them.
//
// A window comes with WELCOME or in answer to WINDOW. That one first gives back the window that the
// connection has, of which no slot may be named by an unanswered request, and then waits until there is
// room: servers are served in the order in which they asked, clients in that in which their payloads began to wait, also
// where that was in another server's line. One for which any number will do
// is answered at once, by what is to spare, or by no window. A reply with WIRE_SCARCE
// says that others wait: who reads it gives its window back as soon as no slot is in use. A GRANTED of request 0
// answers nothing and only says that, to a peer that has asked nothing.
//
// A reply that refuses (status below 0) may be a bare header: its fields say nothing. Except for
// PAWL_EEXPECT, PAWL_EEARLIER and PAWL_EABSENT in answer to APPEND and LOOKUP: they need the struct.
//
// All checks of bytes from a peer are in wire_check(): magic, format, type, size, limits.
#ifndef PAWL_PROTO_WIRE_H
#define PAWL_PROTO_WIRE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/util.h"

#define WIRE_MAGIC 0x4c575750u // "PWWL"
#define WIRE_FORMAT                                                                                \
    5u // 2: runs; 3: windows are asked for; 4: WELCOME tells how long a run may be; 5: longer runs, WINDOW tells how long was waited
#define WIRE_FEATURES 0u // bits of optional features; none yet
#define WIRE_REPLY 0x8000u
#define WIRE_INLINE_MAX 8192u // payload bytes of a record that may travel inside a message
#define WIRE_RUN_BYTES_MAX                                                                         \
    56832u // rows and payloads of a run: the smallest segment of a journal takes it
#define WIRE_STRUCT_MAX 256u // no struct is longer
#define WIRE_MESSAGE_MAX (WIRE_RUN_BYTES_MAX + WIRE_STRUCT_MAX)
#define WIRE_DEVICE_MESSAGE_MAX                                                                    \
    (WIRE_INLINE_MAX + WIRE_STRUCT_MAX) // where each has a receive posted for it
#define WIRE_RECORD_MAX (16u << 20)     // bytes of the largest record
#define WIRE_READ_MAX (16u << 20)       // bytes of the largest read request
#define WIRE_SLOT_BYTES (256u << 10)    // bytes of a window slot
#define WIRE_WINDOW_SLOTS_MAX 64u

enum wire_type {
    WIRE_HELLO = 1,   // connecting peer says who it is; reply: WELCOME
    WIRE_APPEND = 2,  // client to primary
    WIRE_PREPARE = 3, // primary to secondary
    WIRE_COMMIT = 4,  // primary to secondary, when idle
    WIRE_READ = 5,    // anyone to a replica
    WIRE_FETCH = 6,   // a replica that grows, to the one that it grows from: one record by index
    WIRE_LOOKUP = 7,  // client to a replica: where is this record id?
    WIRE_INSPECT = 8, // anyone to a replica: state and committed length of a chunk
    WIRE_PUSH =
        9, // a slice of a payload, or from a client a whole one, has landed in the receiver's slots
    WIRE_HOLD = 10,   // primary to secondary: answered when it has so many records in memory
    WIRE_WINDOW = 11, // the window comes back, and another one is asked for; reply: GRANTED
    WIRE_TYPES
};

struct wire_header {
    uint32_t magic;
    uint16_t format;
    uint16_t type;     // enum wire_type, WIRE_REPLY set in replies
    uint32_t bytes;    // of the whole message, header and inline payload included
    int32_t status;    // replies: 0 or a negative code; requests: 0
    uint64_t request;  // id chosen by the requester, unique on its connection while unanswered
    uint32_t features; // WIRE_FEATURES of the sender
    uint32_t flags;    // WIRE_SCARCE; requests: 0
};
static_assert(sizeof(struct wire_header) == 32, "wire_header");
#define WIRE_SCARCE 1u // of a reply: others wait for a window

// A record id: producer (128 bit), epoch, sequence. Epoch 0 belongs to anonymous producers.
struct wire_record_id {
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t sequence; // from 1; an epoch record has the last sequence before it
    uint32_t epoch;
    uint32_t flags; // WIRE_RECORD_*
};
static_assert(sizeof(struct wire_record_id) == 32, "wire_record_id");
#define WIRE_RECORD_EPOCH 1u // opens an epoch of a named producer; no payload
#define WIRE_RECORD_WRITE 2u // a write: the payload goes to an offset of the chunk that was written
#define WIRE_RECORD_PUSH 3u  // no record: a payload that is pushed alone; its id is the primary's
#define WIRE_RECORD_OFFSET_SHIFT 2u // of that offset in the flags of a write
#define WIRE_RECORD_OFFSET_MAX ((UINT32_C(1) << 30) - 1)

static inline bool wire_record_is_write(const struct wire_record_id *id)
{
    return (id->flags & (WIRE_RECORD_EPOCH | WIRE_RECORD_WRITE)) == WIRE_RECORD_WRITE;
}

static inline uint32_t wire_record_offset(const struct wire_record_id *id)
{
    return id->flags >> WIRE_RECORD_OFFSET_SHIFT;
}

static inline uint32_t wire_record_write_flags(uint32_t offset)
{
    return WIRE_RECORD_WRITE | offset << WIRE_RECORD_OFFSET_SHIFT;
}

// Flags that have a meaning.
static inline bool wire_record_flags_known(const struct wire_record_id *id)
{
    return id->flags <= WIRE_RECORD_EPOCH || wire_record_is_write(id);
}

// An anonymous producer may be bound to its client's session: producer_hi is this bit and the session's
// number. Such a producer is forgotten, and refused, once the end of its session is in the master's log.
#define WIRE_SESSION_BIT (UINT64_C(1) << 63)
#define WIRE_SESSION_MAX (WIRE_SESSION_BIT - 1) // highest number of a session; the lowest is 1

struct wire_hello {
    struct wire_header header;
    uint64_t cluster_id;
    uint64_t server_id;      // 0: a client
    uint64_t incarnation;    // of the server; 0: a client
    uint64_t target_id;      // server id that the sender wants to reach; 0: any
    uint32_t reserved;       // 0
    uint16_t reactor;        // of the server, that the sender wants to reach
    uint16_t reactors_count; // that it takes the server to have; 0: one
};
static_assert(sizeof(struct wire_hello) == 72, "wire_hello");

// Servers of one reactor are spoken to as before there were others.
static inline uint16_t wire_reactors_count(uint32_t count)
{
    return count > 1 ? (uint16_t)count : 0;
}

struct wire_welcome {
    struct wire_header header;
    uint64_t cluster_id;
    uint64_t server_id;
    uint64_t incarnation;
    uint64_t window_address; // remote address of slot 0
    uint64_t window_key;     // remote key of the window, valid on this connection only
    uint32_t window_slots;   // 0..64; 0: no window, and the two fields before say nothing
    uint32_t slot_bytes;
    uint32_t requests_count; // requests that may be unanswered
    uint16_t reactor;        // that answers
    uint16_t reactors_count; // of the server; 0: one
    uint32_t run_bytes_max;  // rows and payloads of a run that the server takes, and can pass on
    uint32_t reserved;       // 0
};
static_assert(sizeof(struct wire_welcome) == 96, "wire_welcome");

struct wire_window {
    struct wire_header header;
    uint32_t slots_wanted; // more would be of no use; 0: the window comes back, and that is all
    uint32_t slots_needed; // fewer would be of no use; 0: answered at once, by what is to spare
    uint32_t waited_ms; // of a client: so long its payload has waited for one, here and elsewhere
    uint32_t reserved;  // 0
};
static_assert(sizeof(struct wire_window) == 48, "wire_window");

struct wire_granted {
    struct wire_header header;
    uint64_t window_address; // remote address of slot 0
    uint64_t window_key;     // remote key of the window, valid on this connection only
    uint32_t window_slots; // slots_needed..slots_wanted or more; 0: none was wanted, or is to spare
    uint32_t reserved;     // 0
};
static_assert(sizeof(struct wire_granted) == 56, "wire_granted");

// A run: records of one producer with consecutive sequences, plain ones, that travel and are answered as one. The id
// is the first one's; `length` counts the payload bytes of all, and `crc` is over the rows: as many of them as there
// are records stand in front of the payload, and all of it is inline, up to what WELCOME said. A run is taken whole or
// refused whole, and lies in its chunk in one piece, each record a record as if it had come alone. One that does not begin with what
// comes next of its producer is put off (PAWL_EBUSY), unless it is too early: its records are then sent one by one.
// Its answer is that of its last record.
struct wire_run_row {
    uint32_t length; // payload bytes, not 0
    uint32_t crc;    // crc32c of the payload
};
static_assert(sizeof(struct wire_run_row) == 8, "wire_run_row");
#define WIRE_RUN_MAX 64u // records of a run; the fewest are 2

struct wire_append {
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    struct wire_record_id id;
    uint32_t length; // payload bytes; 0 only for an epoch record
    uint32_t crc;    // crc32c of the payload
    uint16_t slot_first;
    uint16_t slot_count; // 0: the payload is inline
    uint16_t flags;      // WIRE_APPEND_*
    uint16_t run_count;  // records of the run that it carries; 0: one record, and no run
};
static_assert(sizeof(struct wire_append) == 96, "wire_append");
#define WIRE_APPEND_REPLICATED 1u // to be answered as soon as every replica has it in memory

// The four times follow each other: how long the request was at the primary. They are for measurements, by its clock; 0:
// not known, UINT32_MAX: or longer.
struct wire_appended {
    struct wire_header header;
    uint64_t version;
    uint64_t file_offset;   // status 0: where the record stands in the file
    uint64_t sequence;      // status 0: of the record; epoch record: last sequence before it;
                            // PAWL_EEXPECT: the sequence that is expected
    uint64_t earlier_chunk; // PAWL_EEARLIER: the chunk to LOOKUP in
    uint32_t duplicate;     // 1: the record was there before this request
    uint32_t flags;         // WIRE_APPENDED_*
    uint32_t prepare_ns;    // until it was handed to the disk and the other replicas
    uint32_t flush_ns;      // until it was durable at the primary
    uint32_t commit_ns;     // until it was committed
    uint32_t answer_ns;     // until the answer left
};
static_assert(sizeof(struct wire_appended) == 88, "wire_appended");
#define WIRE_APPENDED_REPLICATED 1u // in memory of every replica, not yet durable on all

struct wire_prepare {
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    uint64_t index;  // of the record in the chunk, from 0
    uint64_t offset; // of its first byte in the chunk
    struct wire_record_id id;
    uint64_t commit_count; // records of the chunk that the sender knows to be committed
    uint32_t length;
    uint32_t crc;
    uint16_t slot_first;
    uint16_t slot_count;
    uint16_t flags;     // WIRE_PREPARE_*
    uint16_t run_count; // as in wire_append; index and offset are the first record's
};
static_assert(sizeof(struct wire_prepare) == 120, "wire_prepare");
#define WIRE_PREPARE_PUSHED 1u // no slots are named: the payload comes from another server by PUSH
#define WIRE_PREPARE_PUSH_ONLY 4u  // the payload is let go again: nothing is ordered or stored
#define WIRE_PREPARE_REPLICATED 2u // its client may be answered before it is durable

struct wire_prepared {
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    uint64_t index;         // of a run, its last record's
    uint32_t earlier_count; // records right before it that this answers, too, in whole PREPAREs
    uint32_t reserved;      // 0
};
static_assert(sizeof(struct wire_prepared) == 64, "wire_prepared");

// A slice of a record's payload lies in the receiver's slots. Slices of a payload come in order. With `next`
// the receiver forwards each to that server as it comes (the first slice carries the server's addresses
// behind the struct) and answers the last when the whole payload has arrived there, or can't: then the
// sender brings it there itself. The slots are named by a PREPARE that follows on the same connection.
// Without `next` the one slice is the payload, and the reply returns its slots; the PREPARE that it
// belongs to comes from the primary. From a client, always without `next`: the primary brings the payload to every
// replica and answers when all have had it; nothing is stored. To measure routes.
struct wire_push { // its reply is a bare wire_header
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    struct wire_record_id id;
    uint64_t next;       // server id; 0: the payload stays here
    uint32_t length;     // of the whole payload
    uint32_t offset;     // of the slice in it
    uint32_t bytes;      // of the slice
    uint16_t slot_first; // of the whole payload
    uint16_t slot_count;
};
static_assert(sizeof(struct wire_push) == 104, "wire_push");
#define WIRE_PUSH_ADDRESS_MAX 256u // bytes of addresses behind a first slice

struct wire_commit { // its reply is a bare wire_header
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    uint64_t commit_count;
};
static_assert(sizeof(struct wire_commit) == 56, "wire_commit");

// PREPARED says that a record is durable. This asks for less: that records are in the replica's memory, checked,
// and on their way to its disk. At most one is unanswered for a chunk.
struct wire_hold { // its reply is a bare wire_header
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;
    uint64_t count; // records
};
static_assert(sizeof(struct wire_hold) == 56, "wire_hold");

struct wire_read {
    struct wire_header header;
    uint64_t chunk;
    uint64_t offset;         // in the chunk
    uint64_t buffer_address; // remote address that the bytes are written to
    uint64_t buffer_key;
    uint32_t length;     // 1..WIRE_READ_MAX
    uint32_t log_chunks; // of the chunk's write log: at least so many are to be seen,
    uint64_t log_bytes;  // and so many bytes of the log
    uint32_t flags;      // WIRE_READ_*
    uint32_t reserved;
};
static_assert(sizeof(struct wire_read) == 88, "wire_read");
#define WIRE_READ_ALL 1u // not without writes that may be committed and are not known to be

struct wire_read_done {
    struct wire_header header;
    uint64_t committed_bytes; // of the chunk, as far as this replica knows
    uint32_t length;          // bytes written; may be fewer than asked for, 0 past the end
    uint32_t crc;             // crc32c of those bytes, taken from records that were verified
    uint32_t sealed;          // 1: committed_bytes is final
    uint32_t log_chunks;      // of the chunk's write log that the bytes were read with
    uint64_t log_bytes;       // of the log that the bytes were read with
};
static_assert(sizeof(struct wire_read_done) == 64, "wire_read_done");

// Instead of a record: the producer table that a sealed chunk has inherited, as rows of wire_producer.
#define WIRE_FETCH_TABLE UINT64_MAX

struct wire_fetch {
    struct wire_header header;
    uint64_t chunk;
    uint64_t version;        // the fence's; of a copy: the chunk's
    uint64_t index;          // or WIRE_FETCH_TABLE
    uint64_t buffer_address; // room for WIRE_RECORD_MAX bytes
    uint64_t buffer_key;
};
static_assert(sizeof(struct wire_fetch) == 72, "wire_fetch");

struct wire_fetched {
    struct wire_header header;
    uint64_t chunk;
    uint64_t index;
    uint64_t offset;
    struct wire_record_id id;
    uint32_t length; // payload written to the buffer
    uint32_t crc;
};
static_assert(sizeof(struct wire_fetched) == 96, "wire_fetched");

struct wire_lookup {
    struct wire_header header;
    uint64_t chunk;
    struct wire_record_id id;
    uint32_t length; // compared with what is stored when `compare` is 1
    uint32_t crc;
    uint32_t compare;
    uint32_t reserved;
};
static_assert(sizeof(struct wire_lookup) == 88, "wire_lookup");

// Reply to LOOKUP is a wire_appended: 0 with offset; PAWL_EEARLIER with the chunk to ask next;
// PAWL_EABSENT with `sequence` = last sequence that the chunk knows of; PAWL_EIDREUSED.

struct wire_inspect {
    struct wire_header header;
    uint64_t chunk;
};
static_assert(sizeof(struct wire_inspect) == 40, "wire_inspect");

struct wire_inspected {
    struct wire_header header;
    uint64_t version;
    uint64_t committed_bytes;
    uint64_t committed_count;
    uint64_t count; // records that are durable here
    uint32_t sealed;
    uint32_t primary; // 1: this server holds the lease
};
static_assert(sizeof(struct wire_inspected) == 72, "wire_inspected");

// One row of a producer table, as it passes from chunk to chunk (control plane and disk).
struct wire_producer {
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint64_t last_sequence;  // highest committed
    uint64_t last_chunk;     // chunk that holds last_sequence
    uint64_t first_sequence; // first one in last_chunk
    uint64_t previous_chunk; // chunk that holds first_sequence - 1; 0: none
    uint32_t epoch;
    uint32_t reserved;
    uint64_t reserved2;
};
static_assert(sizeof(struct wire_producer) == 64, "wire_producer");

// Rows of the same size in front of the producers of an inherited table: the sessions, as ranges by rising
// number, whose producers may start here. Without such a row all may.
struct wire_sessions {
    uint64_t producer_hi; // 0: no producer has the id 0, 0
    uint64_t producer_lo; // 0
    uint64_t first;
    uint64_t last; // WIRE_SESSION_MAX: and all that are still to be opened
    uint64_t reserved;
    uint64_t reserved2;
    uint64_t reserved3;
    uint64_t reserved4;
};
static_assert(sizeof(struct wire_sessions) == sizeof(struct wire_producer), "rows of one table");
#define WIRE_TABLE_ROWS_MAX 65536u // rows of a table
#define WIRE_SESSIONS_MAX 33u      // of them, ranges of sessions
#define WIRE_PRODUCERS_MAX (WIRE_TABLE_ROWS_MAX - WIRE_SESSIONS_MAX)
static_assert(WIRE_PRODUCERS_MAX == 65503, "documented");

// Number of the session that a producer is bound to; 0: none.
static inline uint64_t wire_session_of(const struct wire_record_id *id)
{
    bool bound = id->epoch == 0 && (id->producer_hi & WIRE_SESSION_BIT) != 0;
    return bound ? id->producer_hi & WIRE_SESSION_MAX : 0;
}

// Checks everything about a received message that needs no state: size against the struct of its
// type, magic, format, type, inline payload length, slot ranges, limits. `message_bytes` is what
// arrived. Returns 0, or PAWL_EPROTOCOL with `ret_why` set to a static text for the log.
// Any thread. Never reads past message_bytes.
int wire_check(const void *message, uint32_t message_bytes, const char **ret_why) PAWL_MUST_CHECK;

// Bytes of the rows in front of a run's payload; 0: no run.
static inline uint32_t wire_rows_bytes(uint16_t run_count)
{
    return run_count * (uint32_t)sizeof(struct wire_run_row);
}

// Records that a message carries.
static inline uint32_t wire_records_count(uint16_t run_count)
{
    return run_count == 0 ? 1 : run_count;
}

// Index of the last record that a PREPARE carries: its PREPARED names that one.
static inline uint64_t wire_prepare_last(const struct wire_prepare *prepare)
{
    return prepare->index + wire_records_count(prepare->run_count) - 1;
}

// The checksum of a payload as it landed, to be compared with the message's `crc`: of the rows, if each record in
// `bytes` matches its row, else something else. `length` bytes, of all records. Any thread.
uint32_t wire_run_crc(const struct wire_run_row *rows, uint16_t run_count, const void *bytes,
                      uint32_t length, uint32_t crc);

// Fills a header: magic, format, type, bytes, status, request, features.
void wire_header_init(struct wire_header *header, uint16_t type, uint32_t bytes, uint64_t request);

// Bytes of the fixed struct of a message type (reply flag included); 0 if the type is unknown.
uint32_t wire_struct_bytes(uint16_t type);

// Name of a message type for logs; "unknown" otherwise. Static storage.
const char *wire_type_name(uint16_t type);

#endif
