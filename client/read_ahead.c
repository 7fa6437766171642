// SPDX-License-Identifier: Apache-2.0
// Read-ahead: what a sequential reader will want next is fetched into staging memory before he asks.
//
// It begins when several reads in a row have each begun where the one before ended. The window doubles with
// each extent that was used up, and halves when one was too old to be used. A seek drops all of it, and after
// a seek that threw most of it away more reads in a row are needed than before.
//
// Only bytes that don't change are kept: those of sealed chunks that have no write log, as far as this file
// knows. Somebody else's write may come meanwhile, so no extent is used that was asked for longer ago than
// AHEAD_FRESH_MS (docs/consistency.md).
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "client/read_private.h"

#define AHEAD_READ_MAX READ_PIECE_BYTES // larger reads keep the wire busy by themselves
#define AHEAD_RUN 2u
#define AHEAD_RUN_MAX 32u
#define AHEAD_WINDOW_MIN (128u << 10)
#define AHEAD_WINDOW_MAX (8u << 20)
#define AHEAD_EXTENT_MIN CLIENT_STAGING_BLOCK
#define AHEAD_FRESH_MS 1000u
#define AHEAD_DEADLINE_MS 3000u
#define AHEAD_SHARE 4u // of staging, at most one in so many

struct ahead_extent {
    struct pawl_list node;
    uint64_t handle;
    uint64_t offset; // in the file
    size_t bytes;
    size_t used; // up to here, from the front
    uint64_t asked_ns;
    uint8_t *memory;
    struct read_job *job; // NULL: it has arrived
};

struct read_ahead {
    struct pawl_file *file;
    struct pawl_list extents; // by offset, without gaps
    uint64_t next_offset;     // where a sequential reader goes on
    uint64_t end_offset;      // of the extents
    uint32_t run;             // reads in a row
    uint32_t run_needed;
    size_t window_bytes;
    size_t held_bytes;
};

static struct read_ahead *ahead_get(struct pawl_file *file)
{
    if (file->read_ahead == NULL) {
        struct read_ahead *ahead = calloc(1, sizeof *ahead);
        if (ahead == NULL) {
            return NULL; // then without
        }
        ahead->file = file;
        ahead->run_needed = AHEAD_RUN;
        ahead->window_bytes = AHEAD_WINDOW_MIN;
        pawl_list_init(&ahead->extents);
        file->read_ahead = ahead;
    }
    return file->read_ahead;
}

// ---- extents ------------------------------------------------------------------------------------

static void extent_release(struct pawl *pawl, struct ahead_extent *extent)
{
    staging_put(&pawl->staging, extent->memory, extent->bytes);
    pawl->ahead_bytes -= extent->bytes;
    free(extent);
}

// Out of the list. One that is under way is released when its job has ended.
static void extent_drop(struct read_ahead *ahead, struct ahead_extent *extent)
{
    pawl_list_remove(&extent->node);
    pawl_list_init(&extent->node);
    ahead->held_bytes -= extent->bytes;
    if (extent->job != NULL) {
        read_job_stop(extent->job, PAWL_ESHUTDOWN);
    } else {
        extent_release(ahead->file->pawl, extent);
    }
}

void read_ahead_drop(struct pawl_file *file)
{
    struct read_ahead *ahead = file->read_ahead;
    if (ahead == NULL) {
        return;
    }
    while (!pawl_list_is_empty(&ahead->extents)) {
        extent_drop(ahead,
                    pawl_container_of(pawl_list_first(&ahead->extents), struct ahead_extent, node));
    }
    ahead->end_offset = 0;
}

void read_ahead_free(struct pawl_file *file)
{
    read_ahead_drop(file);
    free(file->read_ahead);
    file->read_ahead = NULL;
}

// Did it all come? What came with a write is not used: the file has seen its write log now.
static void extent_landed(struct read_job *job)
{
    struct ahead_extent *extent = job->user;
    struct pawl_file *file = job->file;
    bool dropped = pawl_list_is_empty(&extent->node);
    extent->job = NULL;
    if (dropped) {
        extent_release(file->pawl, extent);
    } else if (job->status != 0 || job->got < job->bytes) {
        file->read_ahead->run = 0;
        read_ahead_drop(file); // the reader asks for himself, and meets the failure, if it lasts
    }
}

// ---- what may be kept ---------------------------------------------------------------------------

static const struct file_chunk *lasting_chunk(const struct pawl_file *file, uint64_t offset)
{
    const struct file_chunk *chunk = file_chunk_at(file, offset);
    bool lasting = chunk != NULL && chunk->sealed && chunk->log_chunks == 0 &&
                   chunk->log_primary_id == 0 && file_seen_bytes(file, chunk->handle) == 0;
    return lasting ? chunk : NULL;
}

static bool is_fresh(const struct pawl_file *file, const struct ahead_extent *extent,
                     uint64_t now_ns)
{
    const struct file_chunk *chunk = lasting_chunk(file, extent->offset);
    return chunk != NULL && chunk->handle == extent->handle &&
           now_ns - extent->asked_ns < AHEAD_FRESH_MS * PAWL_NS_PER_MS;
}

// ---- the reader ---------------------------------------------------------------------------------

static void ahead_seek(struct read_ahead *ahead)
{
    size_t unused = 0;
    pawl_list_for_each (node, &ahead->extents) {
        const struct ahead_extent *extent = pawl_container_of(node, struct ahead_extent, node);
        unused += extent->bytes - extent->used;
    }
    if (unused > ahead->held_bytes / 2) {
        ahead->run_needed = PAWL_MIN(ahead->run_needed * 2, AHEAD_RUN_MAX);
    }
    ahead->run = 1;
    ahead->window_bytes = AHEAD_WINDOW_MIN;
    read_ahead_drop(ahead->file);
}

void read_ahead_note(struct pawl_file *file, uint64_t offset, size_t bytes, bool *ret_sequential)
{
    struct read_ahead *ahead = ahead_get(file);
    if (ahead == NULL) {
        return;
    }
    if (offset == ahead->next_offset && bytes <= AHEAD_READ_MAX) {
        ahead->run += ahead->run < AHEAD_RUN_MAX + 1;
    } else {
        ahead_seek(ahead);
    }
    ahead->next_offset = offset + bytes;
    *ret_sequential = !pawl_list_is_empty(&ahead->extents);
}

static struct ahead_extent *extent_at(struct read_ahead *ahead, uint64_t offset)
{
    pawl_list_for_each (node, &ahead->extents) {
        struct ahead_extent *extent = pawl_container_of(node, struct ahead_extent, node);
        if (offset >= extent->offset && offset - extent->offset < extent->bytes) {
            return extent;
        }
    }
    return NULL;
}

size_t read_ahead_take(struct read_job *job, uint64_t now_ns, bool *ret_wait)
{
    struct read_ahead *ahead = job->file->read_ahead;
    uint64_t offset = job->offset + job->got;
    struct ahead_extent *extent = ahead == NULL ? NULL : extent_at(ahead, offset);
    if (extent == NULL) {
        return 0;
    }
    if (!is_fresh(job->file, extent, now_ns)) {
        ahead->window_bytes = PAWL_MAX(ahead->window_bytes / 2, (size_t)AHEAD_WINDOW_MIN);
        read_ahead_drop(job->file);
        return 0;
    }
    if (extent->job != NULL) {
        *ret_wait = true;
        return 0;
    }
    size_t from = (size_t)(offset - extent->offset);
    size_t bytes = PAWL_MIN(extent->bytes - from, job->bytes - job->got);
    memcpy(job->data + job->got, extent->memory + from, bytes);
    job->file->read_copied_bytes += bytes;
    extent->used = from + bytes;
    if (extent->used == extent->bytes) {
        extent_drop(ahead, extent);
        ahead->run_needed = AHEAD_RUN;
        ahead->window_bytes = PAWL_MIN(ahead->window_bytes * 2, (size_t)AHEAD_WINDOW_MAX);
    }
    return bytes;
}

// ---- fetching -----------------------------------------------------------------------------------

static size_t extent_size(const struct read_ahead *ahead, const struct file_chunk *chunk,
                          uint64_t offset)
{
    size_t bytes = PAWL_MIN(ahead->window_bytes / 2, (size_t)READ_PIECE_BYTES);
    uint64_t inside = offset - chunk->base_offset;
    bytes = PAWL_MAX(bytes, (size_t)AHEAD_EXTENT_MIN);
    bytes -= inside % AHEAD_EXTENT_MIN; // ends on a boundary: there records begin, if anywhere
    return (size_t)PAWL_MIN((uint64_t)bytes, chunk->bytes - inside);
}

static bool extent_fetch(struct read_ahead *ahead, const struct file_chunk *chunk, uint64_t now_ns)
{
    struct pawl_file *file = ahead->file;
    struct pawl *pawl = file->pawl;
    size_t bytes = extent_size(ahead, chunk, ahead->end_offset);
    if (pawl->ahead_bytes + bytes > pawl->staging.bytes / AHEAD_SHARE) {
        return false;
    }
    struct ahead_extent *extent = calloc(1, sizeof *extent);
    uint8_t *memory = extent == NULL ? NULL : staging_get_low(&pawl->staging, bytes);
    if (memory == NULL) {
        free(extent);
        return false;
    }
    *extent = (struct ahead_extent){.handle = chunk->handle,
                                    .offset = ahead->end_offset,
                                    .bytes = bytes,
                                    .asked_ns = now_ns,
                                    .memory = memory};
    struct read_job job = {.file = file,
                           .offset = extent->offset,
                           .data = memory,
                           .bytes = bytes,
                           .in_staging = true,
                           .deadline_ns = now_ns + AHEAD_DEADLINE_MS * PAWL_NS_PER_MS,
                           .landed = extent_landed,
                           .user = extent};
    if (read_job_start(&job, &extent->job) != 0) {
        staging_put(&pawl->staging, memory, bytes);
        free(extent);
        return false;
    }
    pawl_list_push_back(&ahead->extents, &extent->node);
    pawl->ahead_bytes += bytes;
    ahead->held_bytes += bytes;
    ahead->end_offset += bytes;
    return true;
}

bool read_ahead_run(struct pawl_file *file, uint64_t now_ns)
{
    struct read_ahead *ahead = file->read_ahead;
    bool busy = false;
    if (ahead->run <= ahead->run_needed) {
        return false;
    }
    ahead->end_offset = PAWL_MAX(ahead->end_offset, ahead->next_offset);
    while (ahead->end_offset - ahead->next_offset < ahead->window_bytes) {
        const struct file_chunk *chunk = lasting_chunk(file, ahead->end_offset);
        if (chunk == NULL || !extent_fetch(ahead, chunk, now_ns)) {
            break;
        }
        busy = true;
    }
    return busy;
}
