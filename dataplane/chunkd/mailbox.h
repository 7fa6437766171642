// SPDX-License-Identifier: Apache-2.0
// Mailboxes between the control thread and a reactor: one writer, one reader, no lock. Each reactor has an inbox and an
// outbox of its own; reactors don't write to each other.
//
// OWNS: the ring, an eventfd that wakes the reader, mails that were posted and not taken.
// Threads: post and flush belong to the writer, take and the descriptor to the reader. A mail that
// doesn't fit in the ring waits on the writer's side until a later post or flush: nobody blocks and
// nothing is dropped.
#ifndef PAWL_DATAPLANE_CHUNKD_MAILBOX_H
#define PAWL_DATAPLANE_CHUNKD_MAILBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/spsc.h"
#include "base/util.h"
#include "control.pb-c.h"

enum mail_type {
    // control to reactor
    MAIL_COMMAND = 1,   // command, conn, request: a request of the master
    MAIL_INVENTORY_ASK, // all; number: of the round
    MAIL_LEASES,        // leases, leases_count, until_ns
    MAIL_REGISTERED,    // number: the cluster id, to be kept; term, order
    MAIL_STOP,          // drain and end
    // reactor to control
    MAIL_ANSWER,       // bytes, bytes_count: a packed Pawl__Reply for (conn, request)
    MAIL_INVENTORY,    // all, replicas, replicas_count, counters; number: of the round
    MAIL_REPORT,       // kind, handle, version, number: the server
    MAIL_CLUSTER_KEPT, // status
    MAIL_STOPPED,      // status
};

struct mail_lease {
    uint64_t handle;
    uint64_t version;
};

struct mail_counters {
    uint64_t space_bytes;
    uint64_t used_bytes;
    uint64_t disk_bytes; // free in the file system, whosoever's they will be
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
};

// The pointers are OWNED by the mail.
struct mail {
    struct mail *next;
    enum mail_type type;
    bool all;
    int status;
    int kind;
    uint64_t conn;
    uint64_t request;
    uint64_t handle;
    uint64_t version;
    uint64_t number;
    uint64_t term;
    uint64_t order;
    uint64_t until_ns;
    Pawl__Request *command;
    struct mail_lease *leases;
    size_t leases_count;
    Pawl__Replica *replicas;
    size_t replicas_count;
    uint8_t *bytes;
    size_t bytes_count;
    struct mail_counters counters;
};

// A zeroed mail of this type, or NULL.
struct mail *mail_new(enum mail_type type);
// Frees it and what it owns. NULL is fine.
void mail_free(struct mail *mail);

struct mailbox {
    struct pawl_spsc ring;
    struct mail *waiting_first; // the writer's
    struct mail **waiting_last;
    int fd;
};

// -ENOMEM, -errno of eventfd.
int mailbox_init(struct mailbox *box) PAWL_MUST_CHECK;
// Frees the mails inside. Neither side may use it any more.
void mailbox_fini(struct mailbox *box);

// Writer: TAKES the mail and wakes the reader.
void mailbox_post(struct mailbox *box, struct mail *mail);
// Writer: moves on what did not fit before.
void mailbox_flush(struct mailbox *box);

// Reader: the next mail, OWNED by the caller, or NULL.
struct mail *mailbox_take(struct mailbox *box);
// Reader: readable when there may be mail; cleared by mailbox_clear() before taking.
int mailbox_fd(const struct mailbox *box);
void mailbox_clear(struct mailbox *box);

#endif
