// SPDX-License-Identifier: Apache-2.0
// How often a byte is copied from memory to memory on its way: by the client, and by the servers.
#ifndef PAWL_PERF_COPIES_H
#define PAWL_PERF_COPIES_H

#include <stdint.h>

#include <pawl/pawl.h>

struct client_pusher;

// Bytes, and how many were copied for them: of clients, payload that was appended, written or pushed, and read; of the
// servers together, what was stored (each replica's) and read.
struct perf_copies {
    uint64_t stored_bytes;
    uint64_t pushed_bytes; // so much of these was pushed and not stored; servers don't tell
    uint64_t copied_bytes;
    uint64_t read_bytes;
    uint64_t read_copied_bytes;
};

// Adds what a client has counted for a file; NULL: nothing.
void perf_copies_add(struct perf_copies *copies, const struct pawl_file *file);
// The same of pushes.
void perf_copies_add_pushes(struct perf_copies *copies, const struct client_pusher *pusher);
void perf_copies_merge(struct perf_copies *copies, const struct perf_copies *from);

// As the servers have reported; 0 when the master can't be asked.
void perf_copies_now(struct pawl *pawl, struct perf_copies *ret);
// The same once it has grown by so many bytes since `begin`, or after two seconds.
void perf_copies_wait(struct pawl *pawl, const struct perf_copies *begin, uint64_t stored_bytes,
                      uint64_t read_bytes, struct perf_copies *ret);

// From a client's memory to the disk of one replica (what was pushed: to its memory), or from there back; both together,
// by bytes. NaN: not known. Servers report some times a second, bytes and copies of one moment together: what is in no
// report yet doesn't change the share. What was pushed has reached `replicas` servers. Pure.
double perf_copies_per_byte(const struct perf_copies *clients, const struct perf_copies *begin,
                            const struct perf_copies *end, uint64_t replicas);

#endif
