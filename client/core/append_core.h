// SPDX-License-Identifier: Apache-2.0
// The append core: one producer's appends to one file, retried and resolved until their deadline,
// as a pure step function.
//
// OWNS: sequences, the appends in flight, what is known of the file's tail. No clock, no I/O, no
// threads; memory from the allocator given at init. One object per open (file, producer).
//
// Rules:
//  - Sequences are sent in order on one connection to the tail's primary; up to depth_max in
//  flight.
//  - An error is handled by its reaction class (pawl_error_reaction): RETRY pauses and sends again
//  to
//    the same place (for attempt_ms with no success; then it is a REFRESH), REFRESH and NEXT_CHUNK ask the master for the tail, FAILOVER drops the
//    connection and asks with a hint, GIVE_UP ends the append with that code.
//  - After a change of place or a lost connection everything unanswered is sent again in order,
//  with
//    the same ids: the file's producer table decides what is a duplicate.
//  - PAWL_EEARLIER is followed chunk by chunk with LOOKUP to learn the old offset.
//  - Every status but 0 and PAWL_EUNKNOWN promises that the record is not in the file. So an append
//    that is given up while its outcome is open ends as PAWL_EUNKNOWN, whatever the reason; one
//    that reached nobody, or was refused each time, ends with the reason (at its
//    deadline PAWL_ENOSPACE or PAWL_ENOSERVERS if that was the master's last word, else
//    PAWL_EDEADLINE), together with those that were to follow it, and its sequence is free again.
//  - While a sequence is unknown new appends are refused with PAWL_EUNKNOWN. It is resolved by a
//    submit that names it (same length and crc), by append_core_resolved(), or by a later sequence
//    that turns out to be committed. Those in flight behind it are sent on until their own
//    deadlines.
//  - A record may be answered when it is in every replica's memory, if its submit says so. What was answered
//    like that settles the sequences before it no less, and no more. When a primary then expects one that was
//    answered, every replica has lost its memory: PAWL_ELOST ends the producer, and names the first such one.
//    All from there on is not in the file, and can't get there.
//  - A submit that names a sequence may repeat what an earlier life of the producer sent: its
//  outcome
//    is open from the start.
#ifndef PAWL_CLIENT_APPEND_CORE_H
#define PAWL_CLIENT_APPEND_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/util.h"
#include "proto/wire.h"

#define APPEND_SET_MAX 8u

struct append_core;

struct append_core_options {
    uint64_t file_id;
    uint64_t producer_hi;
    uint64_t producer_lo;
    uint32_t epoch;         // 0: anonymous
    uint64_t last_sequence; // that is committed already; the next append gets last_sequence + 1
    uint32_t depth_max;     // appends in flight; default 32
    uint32_t attempt_ms;    // an unanswered request for so long: its connection is dropped; 2,000
    uint32_t retry_min_ms;  // pauses double from here (2) ...
    uint32_t retry_max_ms;  // ... to here (200), with jitter
    uint64_t random_seed;
    const struct pawl_alloc *alloc;
};

// The tail as the master gave it.
struct append_tail {
    uint64_t handle;
    uint64_t version;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint64_t primary_id;
};

enum append_event_type {
    APPEND_EVENT_SUBMIT =
        1,              // a new append: sequence (0: the next one), length, crc, deadline_ns, user
    APPEND_EVENT_TAIL,  // status, tail: the master's answer
    APPEND_EVENT_REPLY, // status, sequence, attempt, reply: a primary's answer to an append
    APPEND_EVENT_LOOKED_UP,    // status, sequence, attempt, reply: an answer to a lookup
    APPEND_EVENT_DISCONNECTED, // server: the connection is gone, its endpoint destroyed
    APPEND_EVENT_TICK,         // the time asked for by append_core_wake_ns() has come
};

struct append_event {
    enum append_event_type type;
    int status;
    uint64_t now_ns;
    uint64_t sequence;
    uint64_t attempt; // as given in the action; answers to older attempts are ignored
    uint64_t server;
    uint64_t deadline_ns;
    uint64_t user; // given back in APPEND_ACTION_SEND and APPEND_ACTION_DONE
    uint32_t length;
    uint32_t crc;
    uint32_t record_flags; // WIRE_RECORD_EPOCH: opens the producer's epoch, length 0
    bool replicated;       // memory of every replica is enough
    struct append_tail tail;
    struct wire_appended reply;
};

enum append_action_type {
    APPEND_ACTION_GET_TAIL = 1, // ask the master; hint_* say what was seen (hint_code 0: nothing)
    APPEND_ACTION_SEND,   // append `sequence` to the tail's primary (tail, attempt); the driver
                          // connects if need be; no connection within its deadline: DISCONNECTED
    APPEND_ACTION_LOOKUP, // ask any replica of `chunk` where id is
    APPEND_ACTION_DISCONNECT, // destroy the connection to `server`; DISCONNECTED follows
    APPEND_ACTION_DONE,       // user, status, file_offset, duplicate, sequence
};

struct append_action {
    enum append_action_type type;
    int status;
    uint64_t sequence;
    uint64_t attempt;
    uint64_t server;
    uint64_t chunk;
    uint64_t user;
    uint64_t file_offset;
    uint64_t reply_sequence; // epoch records: last sequence before
    uint64_t lost_sequence;  // PAWL_ELOST: the first that is lost
    bool fresh;              // SEND: no attempt can have left anything of it: it may go in a run
    bool replicated;         // SEND: as in the submit; DONE: not known to be durable
    bool duplicate;
    uint32_t length;
    uint32_t crc;
    uint32_t record_flags;
    struct append_tail tail;
    uint64_t hint_handle;
    uint64_t hint_version;
    uint64_t hint_server;
    int hint_code;
};

struct append_actions {
    struct append_action *items;
    uint32_t count;
    uint32_t capacity;
};

struct append_counters {
    uint64_t appends_count;
    uint64_t retries_count;    // sends beyond the first of a record
    uint64_t duplicates_count; // records that were there already when a retry came
    uint64_t failovers_count;  // changes of the tail's place after a failure
    uint64_t chunks_count;     // tails used
};

int append_core_new(const struct append_core_options *options,
                    struct append_core **ret) PAWL_MUST_CHECK;
void append_core_free(struct append_core *core);

// The step. Only a submit can be refused, and then changes nothing: PAWL_EINVALID when its sequence
// is under way, leaves a gap or is unknown with another length or crc; -EAGAIN beyond depth_max,
// while an epoch record is under way, and for an epoch record while anything is; PAWL_EUNKNOWN, see
// above; PAWL_EFENCED, PAWL_ESESSION, PAWL_ELOST, PAWL_EDELETED, PAWL_ENOTFOUND, PAWL_EPROTOCOL once one of these
// has ended the producer. Every GET_TAIL, LOOKUP and DISCONNECT is answered by exactly one TAIL, LOOKED_UP or
// DISCONNECTED; a SEND by a REPLY or the DISCONNECTED of its server. Actions are valid until the
// next step.
int append_core_step(struct append_core *core, const struct append_event *event,
                     const struct append_actions **ret_actions) PAWL_MUST_CHECK;

// When the next TICK is needed (absolute, ns); UINT64_MAX: never.
uint64_t append_core_wake_ns(const struct append_core *core);

// The caller learnt elsewhere (a lookup) that `sequence` is committed, and so all before it.
void append_core_resolved(struct append_core *core, uint64_t sequence);

// Nothing is under way, and no outcome unknown.
bool append_core_is_clear(const struct append_core *core);
// The same, but what was refused, and so is surely not in the file, stands in nobody's way.
bool append_core_is_settled(const struct append_core *core);
// The code that has ended the producer; 0: it has not.
int append_core_final(const struct append_core *core);
// With PAWL_ELOST: the first sequence that is lost.
uint64_t append_core_lost_sequence(const struct append_core *core);
uint64_t append_core_next_sequence(const struct append_core *core);
uint32_t append_core_inflight(const struct append_core *core);
const struct append_counters *append_core_counters(const struct append_core *core);

#endif
