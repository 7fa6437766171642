// SPDX-License-Identifier: Apache-2.0
// Payloads: bytes with counted uses. The last use gives their memory back, and the slots of a
// window with the reply that waited for it.
#include <stdlib.h>

#include "base/assert.h"
#include "dataplane/chunkd/chunkd_private.h"

struct payload *payload_new(struct reactor *reactor, enum payload_kind kind)
{
    uint64_t name;
    struct payload *payload = slab_get(&reactor->payloads, &name);
    if (payload != NULL) {
        payload->name = name;
        payload->kind = kind;
        payload->uses_count = 1;
    }
    return payload;
}

void payload_use(struct payload *payload)
{
    pawl_assert(payload->uses_count > 0);
    payload->uses_count++;
}

void payload_unuse(struct reactor *reactor, struct payload *payload)
{
    if (payload == NULL) {
        return;
    }
    pawl_assert(payload->uses_count > 0);
    if (--payload->uses_count > 0) {
        return;
    }
    uint64_t request = payload->request;
    switch (payload->kind) {
    case PAYLOAD_INLINE:
        fabric_packet_release(payload->packet);
        break;
    case PAYLOAD_COPIED:
        free(payload->rows != NULL ? (void *)(uintptr_t)payload->rows : payload->bytes);
        break;
    case PAYLOAD_SLOTS:
        window_unuse(&reactor->buffers, payload->window);
        break;
    case PAYLOAD_LANDING:
        peer_landing_put(reactor, payload->landing);
        break;
    }
    slab_put(&reactor->payloads, payload->name);
    if (request != 0) {
        request_payload_over(reactor, request);
    }
}

struct payload *payload_find(struct reactor *reactor, uint64_t name)
{
    return slab_find(&reactor->payloads, name);
}
