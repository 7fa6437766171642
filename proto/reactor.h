// SPDX-License-Identifier: Apache-2.0
// Which reactor of a chunk server a chunk belongs to.
//
// Clients, chunk servers and a server's own control thread all ask this function, so that a request goes to the one
// reactor that holds the chunk. What they give it is the chunk's handle, or, of a chunk of a write log, the handle of
// the chunk that was written: who reads that one has to see its log.
//
// A server's directories are laid out by it, so it never changes. A pure function. Any thread.
#ifndef PAWL_PROTO_REACTOR_H
#define PAWL_PROTO_REACTOR_H

#include <stdint.h>

#include "base/addresses.h"

#define REACTORS_MAX PAWL_ADDRESS_REACTORS_MAX

// The finaliser of splitmix64, and of its upper half the share of `reactors_count`. Handles are numbers in a row: one
// that is a multiple of the other reactors' must not be a habit of a file.
static inline uint32_t reactor_of(uint64_t handle, uint32_t reactors_count)
{
    uint64_t mixed = handle;
    mixed ^= mixed >> 30;
    mixed *= UINT64_C(0xbf58476d1ce4e5b9);
    mixed ^= mixed >> 27;
    mixed *= UINT64_C(0x94d049bb133111eb);
    mixed ^= mixed >> 31;
    return (uint32_t)((mixed >> 32) * reactors_count >> 32);
}

#endif
