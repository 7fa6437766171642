// SPDX-License-Identifier: Apache-2.0
// Inside of the transport: what its two files share.
#ifndef PAWL_PERF_ROOFLINE_TRANSPORT_PRIVATE_H
#define PAWL_PERF_ROOFLINE_TRANSPORT_PRIVATE_H

#include "perf/roofline/transport.h"

int transport_receive_post(struct transport_op *op) PAWL_MUST_CHECK;
// "a peer is gone (server 1)".
void transport_peer_name(const struct transport_conn *conn, char *text, size_t bytes,
                         const char *what);
int transport_events_poll(struct transport *t) PAWL_MUST_CHECK;
bool transport_events_pending(struct transport *t);

#endif
