// SPDX-License-Identifier: Apache-2.0
// Requests that a test makes on the links of a client itself, to the servers of a cluster that it plays.
#ifndef PAWL_TESTS_CLIENT_LINKS_H
#define PAWL_TESTS_CLIENT_LINKS_H

#include "cluster.h"

#include "client/client_private.h"

#define LONG_MS 10000u

struct place {
    struct cluster cluster; // one sealed chunk of 1000 bytes
    struct pawl *pawl;
    struct pawl_file *file;
};

// What became of a request.
struct call {
    unsigned calls;
    int status;
    int reply_status; // 1: there was no reply
    unsigned *order;  // counts calls, if there are several; NULL: nobody does
    unsigned at;      // by it
    struct link_use use;
};

// Connected, and the addresses of all servers are known. `window`: WELCOME brings one.
struct place *place_open(bool window);
int place_tear_down(void **state);

// APPEND to the open chunk; its payload is sent from `data`.
struct link_request append_request(struct call *call, const void *data, uint32_t bytes,
                                   uint64_t sequence, uint32_t deadline_ms);
// For link_request.done and its user, a struct call.
void call_done(void *user, int status, const struct wire_header *reply);
// Turns until it was done, once.
void turn_until(struct place *place, const struct call *call);

#endif
