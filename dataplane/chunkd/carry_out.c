// SPDX-License-Identifier: Apache-2.0
// Carrying out the core's actions: each goes to the part of the reactor that can do it.
#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

void carry_out(struct reactor *reactor, const struct chunk_action *action)
{
    switch (action->type) {
    case CHUNK_ACTION_CREATE:
    case CHUNK_ACTION_APPEND:
    case CHUNK_ACTION_PROMISE:
    case CHUNK_ACTION_SEAL:
    case CHUNK_ACTION_DROP:
        storage_persist(reactor, action);
        return;
    case CHUNK_ACTION_REPLY:
        request_answer(reactor, action);
        return;
    case CHUNK_ACTION_PREPARE:
        peer_prepare(reactor, action);
        return;
    case CHUNK_ACTION_COMMIT:
        peer_commit(reactor, action);
        return;
    case CHUNK_ACTION_HOLD:
        peer_hold(reactor, action);
        return;
    case CHUNK_ACTION_FETCH:
        peer_fetch(reactor, action);
        return;
    case CHUNK_ACTION_READ:
    case CHUNK_ACTION_SEND_RECORD:
        storage_read(reactor, action);
        return;
    case CHUNK_ACTION_SEND_TABLE:
        storage_table(reactor, action);
        return;
    case CHUNK_ACTION_CONNECT:
        peer_learn(reactor, action->server, action->address, action->handle);
        return;
    case CHUNK_ACTION_RELEASE: {
        struct payload *payload = payload_find(reactor, action->payload);
        pawl_assert(payload != NULL);
        payload_unuse(reactor, payload);
        return;
    }
    case CHUNK_ACTION_ANSWER:
        commands_answer(reactor, action->request, &action->answer);
        return;
    case CHUNK_ACTION_REPORT:
        commands_report(reactor, action);
        return;
    }
    pawl_assert(false);
}
