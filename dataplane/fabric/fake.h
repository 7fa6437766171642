// SPDX-License-Identifier: Apache-2.0
// The fake provider's faults, for tests: provider "fake", addresses "fake://N", one process.
//
// It behaves like a network: a message or a write arrives when its target polls, in order; a write
// is over when it has arrived, so a peer that doesn't poll is a frozen peer. Fabrics may belong to
// different threads.
#ifndef PAWL_DATAPLANE_FABRIC_FAKE_H
#define PAWL_DATAPLANE_FABRIC_FAKE_H

#include "dataplane/fabric/fabric.h"

// Breaks the connection on both sides: what is on its way is lost.
void fabric_fake_drop(struct fabric_conn *conn);

// From now on at most `count` operations of a connection are taken at a time; more get the
// provider's EAGAIN, and wait in the fabric's own queue. 0: no limit.
void fabric_fake_set_capacity(struct fabric *fabric, uint32_t count);

// The host of this fabric has lost its power: it answers nobody any more. A fabric that is only not
// polled is a frozen process, for which its host answers probes.
void fabric_fake_set_dark(struct fabric *fabric);

// Runs while a fabric opens, as devices and memory have their time. NULL: nothing.
void fabric_fake_set_open_hook(void (*hook)(void));

#endif
