// SPDX-License-Identifier: Apache-2.0
// Inside the append core: its slots and the functions that its two files share.
#ifndef PAWL_CLIENT_APPEND_CORE_PRIVATE_H
#define PAWL_CLIENT_APPEND_CORE_PRIVATE_H

#include "base/mutant.h"
#include "base/random.h"
#include "client/core/append_core.h"

#define APPEND_DEPTH_MAX 4096u
#define APPEND_CLOSING_SPARE 64u
#define APPEND_NS_PER_MS 1000000ull

enum append_slot_state {
    APPEND_SLOT_WAITING = 1, // to be sent (again)
    APPEND_SLOT_SENT,        // a primary has it, or had
    APPEND_SLOT_ASKING,      // a lookup is under way
    APPEND_SLOT_ASK_LATER,   // a lookup failed: again at `retry_ns`
};

// One append that the caller waits for.
struct append_slot {
    enum append_slot_state state;
    // The record may be in the file: an attempt ended without an answer that excludes it, or the
    // caller named the sequence itself and may have sent it in an earlier life.
    bool doubt;
    // It is the producer's next, or behind it: what comes later needs it. Repeats of sequences that
    // are committed are not in the chain.
    bool chain;
    bool was_sent;
    // What an earlier attempt left is to be judged for this record by itself. Cleared by PAWL_ECHUNKFULL and
    // PAWL_EEXPECT: they left nothing.
    bool alone;
    bool replicated;
    uint64_t sequence;
    uint64_t deadline_ns;
    uint64_t user;
    uint64_t attempt; // of the request under way
    uint64_t place;   // that it was sent to
    uint64_t server;
    uint64_t sent_ns;
    uint64_t committed_at_send;
    uint64_t retry_ns;
    uint64_t lookup_chunk;
    uint32_t lookup_failures;
    uint32_t length;
    uint32_t crc;
    uint32_t record_flags;
};

// A sequence whose record was given back to the caller and which stands, or may stand, in the way
// of later ones.
struct append_unknown {
    uint64_t sequence;
    uint32_t length;
    uint32_t crc;
    bool refused; // surely not in the file: any payload may take its place
};

struct append_core {
    struct append_core_options options;
    const struct pawl_alloc *alloc;
    struct append_slot *slots; // by rising sequence, up to depth_max; moves on in `slots_memory`
    uint32_t slots_count;
    struct append_slot *slots_memory;
    uint32_t
        slots_capacity; // more than depth_max, so that the first one goes without moving the rest
    struct append_unknown *unknowns; // by rising sequence; depth_max of them
    uint32_t unknowns_count;
    uint64_t *closing; // servers whose DISCONNECTED is awaited; depth_max + spare of them
    uint32_t closing_count;
    uint64_t committed_sequence; // highest that was answered, or is known to be committed
    uint64_t durable_sequence;   // highest that is known to be durable
    uint64_t lost_sequence;      // final is PAWL_ELOST
    uint64_t next_sequence;
    uint64_t attempt_last;
    struct append_tail tail;
    uint64_t place;      // counts tails
    uint64_t tail_end;   // of the tail's bytes, as far as answers have told
    uint64_t sent_bytes; // of records that are sent to the tail and not answered
    bool tail_known;
    bool tail_asked;
    int tail_status; // of the last answer about the tail
    int final;       // not 0: the producer is done for, every append ends with this code
    struct append_action hint;
    uint32_t failures_count; // in a row
    uint64_t put_off_place;  // where something was put off with no success since; 0: nowhere
    uint64_t put_off_ns;     // since when
    uint64_t pause_until_ns;
    uint64_t now_ns; // of the last event
    // All slots stand sent at the tail's place, and nothing but an answer or `due_ns` can change that: a
    // submit is sent and an answer met without a look at the others.
    bool quiet;
    uint64_t due_ns; // not later than the first deadline or end of an attempt of a slot
    struct pawl_random random;
    struct append_actions actions;
    struct append_counters counters;
};

// append_core.c: slots and their ends.
struct append_action *append_action_add(struct append_core *core, enum append_action_type type);
void append_slot_end(struct append_core *core, uint32_t at, struct append_action done);
void append_slot_fail(struct append_core *core, uint32_t at, int code);
void append_all_fail(struct append_core *core, int code);
void append_committed(struct append_core *core, uint64_t sequence, bool durable);
// Every replica has lost the records from `sequence` on.
void append_lost(struct append_core *core, uint64_t sequence);
bool append_closing(const struct append_core *core, uint64_t server);

// append_retry.c: answers, failures, pauses, sending.
void append_on_tail(struct append_core *core, const struct append_event *event);
void append_on_reply(struct append_core *core, const struct append_event *event);
void append_on_looked_up(struct append_core *core, const struct append_event *event);
void append_on_disconnected(struct append_core *core, uint64_t server);
void append_pump(struct append_core *core);
// For the last submit, while the core is quiet.
void append_slot_send(struct append_core *core, struct append_slot *slot);
// What was sent already does not fit into the tail's chunk.
bool append_tail_overflows(const struct append_core *core);

#endif
