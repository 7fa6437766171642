// SPDX-License-Identifier: Apache-2.0
// The directory of a chunk server, divided among its reactors.
//
//   one reactor:  DIR is its store
//   several:      DIR/reactors            one disk_reactors: how many, and whose they are
//                 DIR/reactor-00, -01 ... their stores
//
// Which reactor a chunk is with follows from their number, so a directory is opened with the number it was made
// with, or not at all. The file is durable before the first store is made: after any crash in between, each store
// has the server's id or none yet. Once the server has belonged to a cluster no store may be missing: it would be
// taken for a new one, and its chunks for chunks that nobody has.
//
// OWNS: a lock on DIR when there are several reactors; a single store locks its directory itself. Thread: any one.
#ifndef PAWL_DATAPLANE_CHUNKD_LAYOUT_H
#define PAWL_DATAPLANE_CHUNKD_LAYOUT_H

#include <limits.h>
#include <stdint.h>

#include "base/util.h"

struct layout {
    const char *dir; // BORROWED
    uint32_t reactors_count;
    uint64_t server_id; // 0: one reactor, whose store knows
    int fd;             // -1: not locked
};

// Makes what is missing. Logged in full: PAWL_EFORMAT when the directory was made for another number of reactors or
// its parts don't belong together, -EBUSY when another process has it for lock_ms and more, -errno.
int layout_open(const char *dir, uint32_t reactors_count, uint32_t lock_ms,
                struct layout *ret) PAWL_MUST_CHECK;
// The reactors' directories are there now: makes their names durable.
int layout_sync(const struct layout *layout) PAWL_MUST_CHECK;
void layout_close(struct layout *layout);

// The number of reactors that the directory was made for; 0: it is new, or can't be read.
uint32_t layout_peek(const char *dir);

// The directory of a reactor's store. -ENAMETOOLONG.
int layout_dir(const struct layout *layout, uint32_t reactor, char ret[PATH_MAX]) PAWL_MUST_CHECK;

#endif
