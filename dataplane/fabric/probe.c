// SPDX-License-Identifier: Apache-2.0
// Keep-alive of connections that nobody uses.
//
// A queue pair that is idle says nothing, so a host that has lost its power would keep its connection,
// its window and its slot for ever. Whoever has not been heard for idle_ms is sent a read of no bytes.
// It has the deadline of every operation, and with that the connection ends.
//
// A read, because its answer comes from the peer's device on every transport: a write's completion
// over iWARP says only that the bytes were handed to TCP. Of no bytes, because then no key and no
// address are looked at (InfiniBand C9-88; iWARP the same). It takes no receive of the peer, so the
// credits of the layers above don't know of it, and its process is not woken.
//
// A device answers for a process that is stopped: only the end of a host, of a cable or of a driver is
// found here. That is right. A library's user may compute for an hour between two calls, and
// nobody may close its connections for that. Over tcp the same read would be answered by the process; there
// the sockets' own keep-alive does this work, with the same idle_ms (listener_guard.c).
#include "base/clock.h"
#include "dataplane/fabric/fabric_private.h"

static uint64_t idle_ns(const struct fabric *fabric)
{
    return fabric->options.idle_ms * PAWL_NS_PER_MS;
}

void fabric_probe_watch(struct fabric_conn *conn)
{
    struct fabric *fabric = conn->fabric;
    conn->heard_ns = fabric->now_ns;
    if (fabric->can_probe) {
        fabric->probe_ns = PAWL_MIN(fabric->probe_ns, conn->heard_ns + idle_ns(fabric));
    }
}

// Whoever is heard moves its own time only, so probe_ns may be too early, never too late.
void fabric_probe_idle(struct fabric *fabric)
{
    if (fabric->now_ns < fabric->probe_ns) {
        return;
    }
    fabric->probe_ns = UINT64_MAX;
    pawl_list_for_each_safe (node, &fabric->conns) {
        struct fabric_conn *conn = pawl_container_of(node, struct fabric_conn, link);
        if (conn->state != FABRIC_CONN_OPEN || conn->is_lost) {
            continue;
        }
        uint64_t due_ns = conn->heard_ns + idle_ns(fabric);
        if (fabric->now_ns >= due_ns) {
            if (conn->ops_count == 0) { // else their deadlines watch
                fabric_probe_submit(conn);
            }
            due_ns = fabric->now_ns + idle_ns(fabric);
        }
        fabric->probe_ns = PAWL_MIN(fabric->probe_ns, due_ns);
    }
}
