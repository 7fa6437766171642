// SPDX-License-Identifier: Apache-2.0
// How a reactor's pinned memory is divided: windows of peers, read buffers, landings.
//
// OWNS: the region, its registrations with the fabric. All sizes are fixed at open: what is used up
// makes peers wait, it never grows.
// Thread: the reactor's.
//
//   [ landings | read buffers: spans, each as long as its read needs | windows: pool of 16 MiB blocks ... ]
//
// The whole region is registered once with each fabric, for local use (source of writes). Each window
// and each landing has a registration of its own on top, so a peer's remote key reaches its own bytes
// only; a window's is with the fabric of its peer.
#ifndef PAWL_DATAPLANE_CHUNKD_BUFFERS_H
#define PAWL_DATAPLANE_CHUNKD_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addresses.h"
#include "base/util.h"
#include "dataplane/fabric/fabric.h"
#include "dataplane/memory/memory.h"
#include "proto/wire.h"

#define BUFFERS_REGION_MIN_BYTES (96ull << 20)
#define BUFFERS_LANDINGS_MAX 2u
#define BUFFERS_READS_MAX_BYTES (128ull << 20)
#define BUFFERS_READS_UNIT_BYTES (64u << 10)

// A window granted to one peer. The session has one use of it, each payload in it another: the
// block goes to somebody else only after the last.
struct window {
    unsigned char *bytes;
    size_t bytes_count; // as asked of the pool
    uint32_t slots_count;
    uint32_t uses_count;
    struct fabric_region *region;
};

// Room for one fetched record.
struct landing {
    unsigned char *bytes;
    struct fabric_region *regions[PAWL_ADDRESSES_MAX]; // by number of the fabric
    unsigned number;
    bool used;
};

struct buffers {
    struct memory_region region;
    struct memory_pool windows;
    size_t servers_bytes;                             // of windows that servers have
    struct fabric_region *locals[PAWL_ADDRESSES_MAX]; // by number of the fabric
    struct landing landings[BUFFERS_LANDINGS_MAX];
    unsigned landings_count;
    struct memory_spans reads;
    size_t read_bytes; // the longest buffer of a read
};

// Takes the region; the store may register it before buffers_divide(). Errors are logged.
int buffers_open(struct buffers *buffers, const struct memory_options *options) PAWL_MUST_CHECK;
// read_bytes: what the store needs for the largest record; there is room for one such read at least.
int buffers_divide(struct buffers *buffers, size_t read_bytes) PAWL_MUST_CHECK;
// With the fabric of this number, below PAWL_ADDRESSES_MAX.
int buffers_register(struct buffers *buffers, struct fabric *fabric,
                     unsigned number) PAWL_MUST_CHECK;
// Before fabric_close(): gives up the registrations with all fabrics. A zeroed struct is fine.
void buffers_unregister(struct buffers *buffers);
void buffers_close(struct buffers *buffers);

struct window_wish {
    uint32_t slots_wanted; // more would be of no use
    uint32_t slots_needed; // fewer would be of no use; 1..slots_wanted
    bool of_server;
    bool shared;      // not only from what is kept for its kind
    bool others_wait; // after it
};

// A window with one use. A quarter of the memory is kept for servers, and one for clients. Chunk servers get the
// largest window that there is and that is of use, clients, and everybody while others wait, at most a quarter of what
// is free, but what is needed. 0; -EAGAIN: there is none now; or why none can be registered.
int window_new(struct buffers *buffers, struct fabric *fabric, const struct window_wish *wish,
               struct window **ret) PAWL_MUST_CHECK;
// Whether it lies in what is kept for servers.
bool window_is_of_servers(const struct buffers *buffers, const struct window *window);
void window_unuse(struct buffers *buffers, struct window *window);

// NULL: there is no room for so many bytes now. At most read_bytes.
unsigned char *buffers_read_get(struct buffers *buffers, size_t bytes);
void buffers_read_put(struct buffers *buffers, unsigned char *buffer, size_t bytes);
struct landing *buffers_landing_get(struct buffers *buffers);
void buffers_landing_put(struct buffers *buffers, struct landing *landing);

#endif
