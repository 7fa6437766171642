// SPDX-License-Identifier: Apache-2.0
// Write logs: what of them is committed, in the overlays of the chunks that they are about; reads.
#include "dataplane/core/written.h"

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "dataplane/core/overlay.h"

struct written {
    uint64_t handle;    // of the chunk that was written
    struct chunk **log; // its write log, by index, as far as it is here
    uint32_t log_count;
    uint32_t log_capacity;
    struct overlay overlay;
    uint32_t applied_chunks; // log chunks whose records are all in the overlay
    uint64_t applied_count;  // records of the next one that are
};

static void written_free(struct chunk_core *core, struct written *written)
{
    overlay_reset(&written->overlay);
    pawl_alloc_free(core->alloc, written->log);
    pawl_alloc_free(core->alloc, written);
}

void written_fini(struct chunk_core *core)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->written, &cursor, &handle, &value)) {
        written_free(core, value);
    }
    pawl_map_fini(&core->written);
}

static struct written *written_get(struct chunk_core *core, uint64_t handle)
{
    struct written *written = pawl_map_get(&core->written, handle);
    if (written) {
        return written;
    }
    written = pawl_alloc_new(core->alloc, sizeof(*written));
    if (!written || pawl_map_put(&core->written, handle, written)) {
        pawl_alloc_free(core->alloc, written);
        return NULL;
    }
    written->handle = handle;
    overlay_init(&written->overlay, core->alloc);
    return written;
}

// What was applied may have come from a chunk that is gone: it is all applied anew when it is asked for.
static void written_restart(struct written *written)
{
    overlay_reset(&written->overlay);
    written->applied_chunks = 0;
    written->applied_count = 0;
}

int written_add(struct chunk_core *core, struct chunk *chunk)
{
    if (chunk->written_handle == 0) {
        return 0;
    }
    struct written *written = written_get(core, chunk->written_handle);
    if (!written) {
        return -ENOMEM;
    }
    if (written->log_count == written->log_capacity) {
        uint32_t capacity = PAWL_MAX(written->log_capacity * 2, 2u);
        struct chunk **log = pawl_alloc_grow(core->alloc, written->log, written->log_capacity,
                                             capacity, sizeof(struct chunk *));
        if (!log) {
            return -ENOMEM;
        }
        written->log = log;
        written->log_capacity = capacity;
    }
    uint32_t at = written->log_count++;
    for (; at > 0 && written->log[at - 1]->index > chunk->index; at--) {
        written->log[at] = written->log[at - 1];
    }
    written->log[at] = chunk;
    written_restart(written);
    return 0;
}

void written_remove(struct chunk_core *core, struct chunk *chunk)
{
    struct written *written =
        chunk->written_handle ? pawl_map_get(&core->written, chunk->written_handle) : NULL;
    for (uint32_t i = 0; written && i < written->log_count; i++) {
        if (written->log[i] != chunk) {
            continue;
        }
        written->log_count--;
        memmove(&written->log[i], &written->log[i + 1],
                (written->log_count - i) * sizeof(struct chunk *));
        written_restart(written);
        break;
    }
    if (written && written->log_count == 0) {
        pawl_map_remove(&core->written, written->handle);
        written_free(core, written);
    }
}

// ---- records -----------------------------------------------------------------------------------

int written_record_check(const struct chunk_core *core, const struct chunk *chunk,
                         const struct wire_record_id *id, uint32_t length)
{
    if (wire_record_is_write(id) != (chunk->written_handle != 0) || chunk->zero_bytes != 0) {
        return PAWL_EINVALID;
    }
    if (chunk->written_handle == 0) {
        return 0;
    }
    const struct chunk *about = chunk_find(core, chunk->written_handle);
    if (!about || !chunk_is_sealed(about)) {
        return PAWL_ENOCHUNK;
    }
    uint64_t bytes = chunk_bytes_at(about, record_table_count(&about->records));
    uint64_t offset = wire_record_offset(id);
    return offset < bytes && length <= bytes - offset ? 0 : PAWL_EINVALID;
}

// ---- catching up -------------------------------------------------------------------------------

static bool is_in_service(const struct chunk *chunk)
{
    return chunk->state != CHUNK_STATE_CREATING && chunk->state < CHUNK_STATE_COPYING;
}

// The next chunk of the log whose records are to be seen; NULL: not here. Behind an open one nothing is:
// what it holds beyond its commit point is not known yet.
static const struct chunk *next_chunk(const struct written *written)
{
    uint32_t at = written->applied_chunks;
    const struct chunk *chunk = at < written->log_count ? written->log[at] : NULL;
    return chunk && chunk->index == at && is_in_service(chunk) ? chunk : NULL;
}

static int apply_records(struct written *written, const struct chunk *chunk)
{
    uint64_t count =
        PAWL_MUTANT(write_seen_early) ? record_table_count(&chunk->records) : chunk->commit_count;
    for (; written->applied_count < count; written->applied_count++) {
        struct pawl_record record = record_table_at(&chunk->records, written->applied_count);
        uint64_t start = wire_record_offset(&record.id);
        struct overlay_extent extent = {.start = start,
                                        .end = start + record.length,
                                        .source = chunk->handle,
                                        .offset = record.offset};
        if (record.length > 0 && overlay_put(&written->overlay, &extent)) {
            return -ENOMEM;
        }
    }
    return 0;
}

// Applies what has been committed since; tells how much of the log is in the overlay. *ret_open: the chunk
// behind which it can't be known; NULL: none.
static int catch_up(struct written *written, uint32_t *ret_chunks, uint64_t *ret_bytes,
                    const struct chunk **ret_open)
{
    const struct chunk *chunk;
    *ret_open = NULL;
    *ret_chunks = 0;
    *ret_bytes = 0;
    while ((chunk = next_chunk(written)) != NULL) {
        if (chunk->damaged) {
            return PAWL_ECORRUPT; // it may have lost what a reader has to see
        }
        if (apply_records(written, chunk)) {
            return -ENOMEM;
        }
        *ret_chunks = written->applied_chunks + 1;
        *ret_bytes = chunk->base_offset + chunk_bytes_at(chunk, chunk->commit_count);
        if (!chunk_is_sealed(chunk)) {
            *ret_open = chunk;
            return 0;
        }
        written->applied_chunks++;
        written->applied_count = 0;
    }
    if (written->applied_chunks > 0) {
        chunk = written->log[written->applied_chunks - 1];
        *ret_chunks = written->applied_chunks;
        *ret_bytes = chunk->base_offset + chunk_bytes_at(chunk, chunk->commit_count);
    }
    return 0;
}

int written_seen(struct chunk_core *core, const struct chunk *chunk,
                 const struct wire_read *message, uint32_t *ret_chunks, uint64_t *ret_bytes)
{
    struct written *written = pawl_map_get(&core->written, chunk->handle);
    const struct chunk *open = NULL;
    *ret_chunks = 0;
    *ret_bytes = 0;
    int rc = written ? catch_up(written, ret_chunks, ret_bytes, &open) : 0;
    if (rc == -ENOMEM) {
        core->no_memory = true;
    }
    if (rc) {
        return rc;
    }
    if (PAWL_MUTANT(write_log_left_out)) {
        return 0;
    }
    if (*ret_chunks < message->log_chunks) {
        return PAWL_ESTALE;
    }
    // A write that was acknowledged is durable here, if this server is of the set. So one that knows of no
    // other record than committed ones knows of every acknowledged write; so does a primary.
    bool doubt = open && open->commit_count < record_table_count(&open->records) &&
                 !chunk_lease_is_held(core, open) && (message->flags & WIRE_READ_ALL) &&
                 !PAWL_MUTANT(write_doubt_ignored);
    return doubt || *ret_bytes < message->log_bytes ? PAWL_EBUSY : 0;
}

// ---- planning a read ---------------------------------------------------------------------------

struct plan {
    struct chunk_segment *segments;
    uint32_t count;
    uint64_t at; // planned up to here
};

static void plan_add(struct plan *plan, uint64_t handle, uint64_t offset, uint64_t end)
{
    if (plan->count < CHUNK_READ_SEGMENTS_MAX && plan->at < end) {
        plan->segments[plan->count++] = (struct chunk_segment){
            .handle = handle, .offset = offset, .length = (uint32_t)(end - plan->at)};
        plan->at = end;
    }
}

// Bytes of the chunk itself: its records, or zeros.
static void plan_base(struct plan *plan, const struct chunk *chunk, uint64_t end)
{
    plan_add(plan, chunk->zero_bytes ? 0 : chunk->handle, plan->at, end);
}

int written_plan(struct chunk_core *core, const struct chunk *chunk,
                 const struct wire_read *message, struct chunk_action *action)
{
    struct overlay_extent extents[CHUNK_READ_SEGMENTS_MAX];
    const struct written *written = pawl_map_get(&core->written, chunk->handle);
    struct plan plan = {.segments = core->segments, .at = action->offset};
    uint64_t end = action->offset + action->length;
    int rc = written_seen(core, chunk, message, &action->log_chunks, &action->log_bytes);
    if (rc) {
        return rc;
    }
    uint32_t count = written ? overlay_find(&written->overlay, action->offset, end, extents,
                                            CHUNK_READ_SEGMENTS_MAX)
                             : 0;
    for (uint32_t i = 0; i < count && plan.count < CHUNK_READ_SEGMENTS_MAX; i++) {
        const struct overlay_extent *extent = &extents[i];
        plan_base(&plan, chunk, PAWL_MAX(extent->start, action->offset));
        plan_add(&plan, extent->source, extent->offset + (plan.at - extent->start),
                 PAWL_MIN(extent->end, end));
    }
    if (count < CHUNK_READ_SEGMENTS_MAX) { // else there may be more extents than were asked for
        plan_base(&plan, chunk, end);
    }
    action->segments = plan.segments;
    action->segments_count = plan.count;
    action->length = (uint32_t)(plan.at - action->offset);
    return 0;
}

void written_validate(const struct chunk_core *core)
{
    size_t cursor = 0;
    uint64_t handle;
    void *value;
    while (pawl_map_iterate(&core->written, &cursor, &handle, &value)) {
        const struct written *written = value;
        pawl_assert(written->handle == handle && written->log_count > 0);
        pawl_assert(written->applied_chunks <= written->log_count);
        overlay_validate(&written->overlay);
        for (uint32_t i = 0; i < written->log_count; i++) {
            const struct chunk *chunk = written->log[i];
            pawl_assert(chunk->written_handle == handle);
            pawl_assert(pawl_map_get(&core->chunks, chunk->handle) == chunk);
            pawl_assert(i == 0 || written->log[i - 1]->index < chunk->index);
        }
    }
}
