// SPDX-License-Identifier: Apache-2.0
// pawl-chunkd-planted: the chunk server, of the same objects, with one copy of each payload more.
#include <string.h>

#include "dataplane/store/store.h"
#include "proto/wire.h"

int __real_store_append(struct store *store, uint64_t handle, uint64_t index,
                        const struct pawl_record *record, const void *payload,
                        uint64_t commit_count, uint64_t token);
int __wrap_store_append(struct store *store, uint64_t handle, uint64_t index,
                        const struct pawl_record *record, const void *payload,
                        uint64_t commit_count, uint64_t token);

static unsigned char scratch[WIRE_RECORD_MAX];

int __wrap_store_append(struct store *store, uint64_t handle, uint64_t index,
                        const struct pawl_record *record, const void *payload,
                        uint64_t commit_count, uint64_t token)
{
    memcpy(scratch, payload, record->length);
    __asm__ volatile("" ::"r"(scratch) : "memory"); // somebody may look at it
    return __real_store_append(store, handle, index, record, payload, commit_count, token);
}
