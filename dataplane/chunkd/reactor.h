// SPDX-License-Identifier: Apache-2.0
// A reactor: one thread with its fabrics, its store, its chunk core and its pinned memory.
//
// OWNS: all of them, and every session, peer and request that hangs off them.
// Thread: the one that opened it. Other threads reach it by its inbox, it reaches the control
// thread by its outbox.
//
// reactor_turn() is one round of the loop and never sleeps, so a test can drive a reactor by hand
// with a clock of its own; reactor_run() turns, spins and sleeps until the reactor has stopped.
#ifndef PAWL_DATAPLANE_CHUNKD_REACTOR_H
#define PAWL_DATAPLANE_CHUNKD_REACTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addresses.h"
#include "base/util.h"
#include "dataplane/chunkd/mailbox.h"

struct reactor;
struct placement;
struct placement_core;
struct core_claims;

// One fabric that a server offers, for this reactor: its own port. No provider comes twice.
struct reactor_fabric {
    const char *provider;
    const char *host;
    uint16_t port;
};

// Strings are BORROWED UNTIL reactor_close().
struct reactor_options {
    size_t size;
    const char *name; // of the server, for logs
    const char *dir;
    uint32_t number;         // among the server's reactors
    uint32_t reactors_count; // of the server; 0: 1
    uint64_t
        server_id; // 0: the store's, or a random one; else the store must have none or the same
    uint64_t incarnation;                              // 0: a random one
    struct reactor_fabric fabrics[PAWL_ADDRESSES_MAX]; // in order of preference towards peers
    uint32_t fabrics_count;                            // 1 at least
    uint64_t region_bytes;                             // pinned memory
    uint64_t space_limit_bytes;
    uint32_t journal_segment_bytes;
    uint32_t journal_segments_count;
    uint32_t inline_max_bytes;
    uint32_t chain_bytes;       // payloads from so many bytes on go by chain; 0: none
    uint32_t requests_count;    // a client may have unanswered, another server no fewer; 0: 128
    uint32_t connections_count; // of each fabric; 0: 512
    uint32_t numa_node;         // of its memory; UINT32_MAX: any
    const struct placement *placement; // BORROWED UNTIL reactor_thread_start() returns
    const struct placement_core *core; // to bind the thread to; NULL: none
    bool no_huge;
    bool no_lock;
    bool
        may_spin; // looks for work for a moment before it sleeps, if nobody else has claimed the core
    const struct core_claims *claims; // NULL: nobody else can have it
    unsigned claimed_core;
};

// Opens store, memory and all fabrics, loads all chunks, listens. Logged in full, errors too.
int reactor_open(const struct reactor_options *options, uint64_t now_ns,
                 struct reactor **ret) PAWL_MUST_CHECK;
// Closes everything at once. NULL is fine.
void reactor_close(struct reactor *reactor);

// One round: polls everything, carries out what follows. Returns how much there was to do that more may follow soon.
int reactor_turn(struct reactor *reactor, uint64_t now_ns);
// Turns until the reactor has stopped (MAIL_STOP), then posts MAIL_STOPPED.
void reactor_run(struct reactor *reactor);

// Mails of the control thread to the reactor, and back.
struct mailbox *reactor_inbox(struct reactor *reactor);
struct mailbox *reactor_outbox(struct reactor *reactor);

// Constant after reactor_open(): safe from any thread. The addresses of this reactor on all fabrics, as a list
// of base/addresses.h.
const char *reactor_address(const struct reactor *reactor);
uint64_t reactor_server_id(const struct reactor *reactor);
uint64_t reactor_incarnation(const struct reactor *reactor);
// As kept by the store when it was opened; 0: none yet.
uint64_t reactor_opened_cluster_id(const struct reactor *reactor);

// The reactor's thread says here how its start went; see reactor_thread_start().
struct reactor_thread;
int reactor_thread_start(const struct reactor_options *options,
                         struct reactor_thread **ret) PAWL_MUST_CHECK;
struct reactor *reactor_thread_reactor(struct reactor_thread *thread);
// Waits for its end (MAIL_STOP was posted before), closes the reactor and frees it. NULL is fine.
void reactor_thread_join(struct reactor_thread *thread);

#endif
