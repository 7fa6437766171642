// SPDX-License-Identifier: Apache-2.0
// Calls that change names: what is kept of the last ones of each session, so that each is carried out once.
//
// Owned by the core (core->sessions.calls): from the first call of a session to the record of its end.
#ifndef PAWL_CONTROLPLANE_CALLS_H
#define PAWL_CONTROLPLANE_CALLS_H

#include <stdbool.h>
#include <stdint.h>

#include "controlplane/core/master_core.h"

// What became of a call that changes names.
struct master_call {
    uint64_t number;
    uint64_t file_id;     // of the answer; 0: it has none
    uint64_t chunk_bytes; // 0: a directory
    int code;
};

// The last calls of a session: calls.c.
struct master_calls {
    struct master_call changed; // durable: the last that changed a name; number 0: none
    struct master_call heard;   // volatile: the last that did not
};

void master_calls_init(struct master_core *core);
void master_calls_fini(struct master_core *core);
// Answers a request that is not to be carried out: one that was, or is too late. False: it is to be.
bool master_call_settled(struct master_core *core, const struct master_event *event);
// It was carried out: the answer to it is the step's last action.
void master_call_heard(struct master_core *core, const struct master_event *event);
// For the record of the change, in the arena; NULL: the request is of no call.
Pawl__Call *master_call_message(struct master_core *core, const struct master_event *event);
// Around a record that is applied. Before: PAWL_EFORMAT if its call does not fit, or -ENOMEM.
int master_calls_before(struct master_core *core, const Pawl__LogRecord *record) PAWL_MUST_CHECK;
void master_calls_applied(struct master_core *core, const Pawl__LogRecord *record);
int master_apply_last_call(struct master_core *core,
                           const Pawl__LogLastCall *record) PAWL_MUST_CHECK;
// These sessions have ended.
void master_calls_forget(struct master_core *core, uint64_t first, uint64_t last);
int master_calls_dump(const struct master_core *core,
                      int (*emit)(void *user, const Pawl__LogRecord *record),
                      void *user) PAWL_MUST_CHECK;
void master_calls_validate(const struct master_core *core);

#endif
