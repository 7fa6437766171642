// SPDX-License-Identifier: Apache-2.0
// Core claims: whether threads of other processes are bound to a core as well.
//
// A claim is a read lock on one byte of a file that each process may read, the kernel's list of its cores; the byte's
// place is the core's number. Nothing is written and no folder has to be agreed on, claims of several processes
// on one core go together, each sees that the others are there, and the kernel takes a claim back when its process
// ends, however it ends. What is not seen: processes in another network namespace (a sysfs of its own) or in another
// virtual machine.
//
// OWNS: a descriptor, which holds the locks. Thread: open, take and close: one at a time; others(): any.
#ifndef PAWL_DATAPLANE_CORE_CLAIMS_H
#define PAWL_DATAPLANE_CORE_CLAIMS_H

#include <stdbool.h>

#include "base/util.h"

#define CORE_CLAIMS_FILE "/sys/devices/system/cpu/possible"

struct core_claims {
    int fd; // -1: closed
};

// Errors: -errno; the claims are closed then.
int core_claims_open(const char *file, struct core_claims *claims) PAWL_MUST_CHECK;
// Gives up all claims. Closed ones are fine.
void core_claims_close(struct core_claims *claims);

// Taking a core twice is fine. Errors: -errno.
int core_claims_take(const struct core_claims *claims, unsigned core) PAWL_MUST_CHECK;

// True while somebody else has claimed the core, by claims of theirs. False also if that can't be known.
bool core_claims_others(const struct core_claims *claims, unsigned core);

#endif
