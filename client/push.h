// SPDX-License-Identifier: Apache-2.0
// Pushing payloads to the replicas of a file's tail, by the route that its appends take, and nothing else: no file
// changes. For pawl-perf; no part of the public API.
//
// Owner's thread, as the file's. A pusher ends with its file, and when the tail goes on to another chunk: then pushes are
// refused with PAWL_ESTALE.
#ifndef PAWL_CLIENT_PUSH_H
#define PAWL_CLIENT_PUSH_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

struct pawl_file;
struct client_pusher;

typedef void client_push_fn(void *user, int status);

// The file must have an open tail. Waits. At most `depth` pushes will be in flight. OWNED by the file, which may have
// one. -EEXIST, PAWL_EINVALID (no open tail), -ENOMEM, and what asking for the tail ends with.
int client_pusher_open(struct pawl_file *file, uint32_t depth,
                       struct client_pusher **ret) PAWL_MUST_CHECK;
// Since it was opened: bytes that every replica has had, and what this library copied for pushes that have ended.
struct client_push_counters {
    uint64_t bytes;
    uint64_t copied_bytes;
};
void client_push_counters(const struct client_pusher *pusher, struct client_push_counters *ret);
// More than WIRE_INLINE_MAX bytes, at most WIRE_RECORD_MAX. BORROWS data UNTIL done was called: once, when every replica
// has had them, or with an error; in pawl_poll(). -EAGAIN: as many as may be are in flight.
int client_push_submit(struct client_pusher *pusher, const void *data, size_t bytes,
                       client_push_fn *done, void *user) PAWL_MUST_CHECK;

#endif
