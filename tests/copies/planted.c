// SPDX-License-Identifier: Apache-2.0
// pawl-chunkd-planted: the chunk server, of the same objects, with one copy more. Of a payload above the threshold of
// messages, and of runs whose first record has 512 bytes: on its way to the disk, and nobody's account knows it. Of one
// below: into the message for each of the others, as the servers' accounts say.
#include <string.h>

#include "dataplane/fabric/fabric.h"
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

int __real_fabric_send_from(struct fabric_conn *conn, const struct iovec *pieces,
                            uint32_t pieces_count, struct fabric_op *packet);
int __wrap_fabric_send_from(struct fabric_conn *conn, const struct iovec *pieces,
                            uint32_t pieces_count, struct fabric_op *packet);

static unsigned char scratch[WIRE_RECORD_MAX];

int __wrap_store_append(struct store *store, uint64_t handle, uint64_t index,
                        const struct pawl_record *record, const void *payload,
                        uint64_t commit_count, uint64_t token)
{
    if (record->length > WIRE_INLINE_MAX) {
        memcpy(scratch, payload, record->length);
        __asm__ volatile("" ::"r"(scratch) : "memory"); // somebody may look at it
    }
    return __real_store_append(store, handle, index, record, payload, commit_count, token);
}

int __wrap_store_append_run(struct store *store, uint64_t handle, uint64_t index,
                            const struct pawl_record *first, const struct wire_run_row *rows,
                            uint32_t count, const void *payload, uint64_t commit_count,
                            uint64_t token)
{
    const unsigned char *at = payload;
    for (uint32_t i = 0; i < count && first->length == 512; i++) {
        memcpy(scratch, at, rows[i].length);
        __asm__ volatile("" ::"r"(scratch) : "memory");
        at += rows[i].length;
    }
    return __real_store_append_run(store, handle, index, first, rows, count, payload, commit_count,
                                   token);
}

int __wrap_fabric_send_from(struct fabric_conn *conn, const struct iovec *pieces,
                            uint32_t pieces_count, struct fabric_op *packet)
{
    (void)packet;
    return __real_fabric_send_from(conn, pieces, pieces_count, NULL);
}
