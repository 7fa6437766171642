// SPDX-License-Identifier: Apache-2.0
// Memory for unpacking one protobuf message at a time, with a hard bound.
//
// A few bytes on the wire can ask for many in memory (an empty element of a repeated field takes
// two bytes there and a hundred here), so a limit on frames is no limit on memory: this one is. One
// message at a time; owner's thread only.
#ifndef PAWL_CONTROLPLANE_RPC_ARENA_H
#define PAWL_CONTROLPLANE_RPC_ARENA_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct rpc_arena_block;

struct rpc_arena {
    struct rpc_arena_block *blocks; // newest first; one small one is kept between messages
    size_t used_bytes;              // given out since the last reset
    size_t bytes_max;
    bool exhausted; // an allocation was refused since the last reset
    ProtobufCAllocator allocator;
};

void rpc_arena_init(struct rpc_arena *arena, size_t bytes_max);
void rpc_arena_fini(struct rpc_arena *arena);
// Frees all that was given out.
void rpc_arena_reset(struct rpc_arena *arena);
// Zeroed, aligned to 16; NULL at the bound.
void *rpc_arena_alloc(struct rpc_arena *arena, size_t bytes);

#endif
