// SPDX-License-Identifier: Apache-2.0
// The inventories of all reactors, gathered into the one that the master gets.
//
// They are asked for in rounds. A reactor answers each round once; answers to an older round are dropped, so that what
// comes out is of one round and of every reactor. It is taken at as many moments as there are reactors: no chunk is
// with two of them, so nothing in it contradicts itself.
//
// OWNS: the mails that have come. Thread: the control thread.
#ifndef PAWL_DATAPLANE_CHUNKD_GATHER_H
#define PAWL_DATAPLANE_CHUNKD_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/chunkd/mailbox.h"
#include "proto/reactor.h"

struct gather {
    uint32_t reactors_count;
    uint32_t mails_count;
    uint64_t round; // of the last one asked for
    struct mail *mails[REACTORS_MAX];
};

void gather_init(struct gather *gather, uint32_t reactors_count);
void gather_fini(struct gather *gather);

// Begins a round; the number is what the answers carry.
uint64_t gather_begin(struct gather *gather);

// TAKES the answer of a reactor. True when all have answered: gather_merge() follows.
bool gather_take(struct gather *gather, uint32_t reactor, struct mail *mail) PAWL_MUST_CHECK;

// One inventory of them all, OWNED by the caller; NULL: no memory. `all` only when all are; the first status that is
// not 0. Room is what the next chunk finds wherever its handle leads it: with a limit each reactor has an equal part
// of it, and the fullest counts for all; the bytes that are free in the file system count once.
struct mail *gather_merge(struct gather *gather) PAWL_MUST_CHECK;

#endif
