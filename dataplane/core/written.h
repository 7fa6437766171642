// SPDX-License-Identifier: Apache-2.0
// Written chunks: sealed chunks with a write log. See docs/decisions/0013-write-logs-are-chunks.md.
//
// The chunks of a log are found here by the chunk that they are about, in the order of their index. What
// a reader may see is made of their committed records, from the first one on without a gap: `applied`
// says how far the overlay has come. It catches up when it is asked for.
#ifndef PAWL_DATAPLANE_WRITTEN_H
#define PAWL_DATAPLANE_WRITTEN_H

#include "dataplane/core/chunk_core_private.h"

// Notes a chunk of a write log that has come into the map of chunks, or is leaving it. -ENOMEM.
int written_add(struct chunk_core *core, struct chunk *chunk) PAWL_MUST_CHECK;
void written_remove(struct chunk_core *core, struct chunk *chunk);
void written_fini(struct chunk_core *core);

// May this record stand in this chunk: writes in write logs only, inside the chunk that they are about.
// 0, PAWL_EINVALID, PAWL_ENOCHUNK.
int written_record_check(const struct chunk_core *core, const struct chunk *chunk,
                         const struct wire_record_id *id, uint32_t length);

// Plans a read of [offset, offset + length) of `chunk`: fills action->segments and length, log_chunks and
// log_bytes. 0, or what the read is refused with: PAWL_ESTALE when chunks of the log that the reader
// knows are not here, PAWL_EBUSY when less of it is known to be committed, PAWL_ECORRUPT.
int written_plan(struct chunk_core *core, const struct chunk *chunk,
                 const struct wire_read *message, struct chunk_action *action);
// How much of its log a reader of the chunk sees here; the same refusals.
int written_seen(struct chunk_core *core, const struct chunk *chunk,
                 const struct wire_read *message, uint32_t *ret_chunks, uint64_t *ret_bytes);
void written_validate(const struct chunk_core *core);

#endif
