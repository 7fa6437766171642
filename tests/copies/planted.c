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

int __real_store_append_run(struct store *store, uint64_t handle, uint64_t index,
                            const struct pawl_record *first, const struct wire_run_row *rows,
                            uint32_t count, const void *payload, uint64_t commit_count,
                            uint64_t token);
int __wrap_store_append_run(struct store *store, uint64_t handle, uint64_t index,
                            const struct pawl_record *first, const struct wire_run_row *rows,
                            uint32_t count, const void *payload, uint64_t commit_count,
                            uint64_t token);

static unsigned char scratch[WIRE_RECORD_MAX];

int __wrap_store_append(struct store *store, uint64_t handle, uint64_t index,
                        const struct pawl_record *record, const void *payload,
                        uint64_t commit_count, uint64_t token)
{
    memcpy(scratch, payload, record->length);
    __asm__ volatile("" ::"r"(scratch) : "memory"); // somebody may look at it
    return __real_store_append(store, handle, index, record, payload, commit_count, token);
}

int __wrap_store_append_run(struct store *store, uint64_t handle, uint64_t index,
                            const struct pawl_record *first, const struct wire_run_row *rows,
                            uint32_t count, const void *payload, uint64_t commit_count,
                            uint64_t token)
{
    const unsigned char *at = payload;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(scratch, at, rows[i].length);
        __asm__ volatile("" ::"r"(scratch) : "memory");
        at += rows[i].length;
    }
    return __real_store_append_run(store, handle, index, first, rows, count, payload, commit_count,
                                   token);
}
