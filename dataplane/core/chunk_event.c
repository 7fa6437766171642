// SPDX-License-Identifier: Apache-2.0
// Which event of the chunk core a request from the wire is: the same for the server and its models.
#include "dataplane/core/chunk_core.h"

enum chunk_event_type chunk_event_of(uint16_t wire_type)
{
    switch (wire_type) {
    case WIRE_APPEND:
        return CHUNK_EVENT_APPEND;
    case WIRE_PREPARE:
        return CHUNK_EVENT_PREPARE;
    case WIRE_COMMIT:
        return CHUNK_EVENT_COMMIT;
    case WIRE_HOLD:
        return CHUNK_EVENT_HOLD;
    case WIRE_READ:
        return CHUNK_EVENT_READ;
    case WIRE_FETCH:
        return CHUNK_EVENT_FETCH;
    case WIRE_LOOKUP:
        return CHUNK_EVENT_LOOKUP;
    default:
        return CHUNK_EVENT_INSPECT;
    }
}
