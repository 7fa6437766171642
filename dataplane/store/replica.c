// SPDX-License-Identifier: Apache-2.0
// A chunk in memory: its record table, what is queued and what is durable, and when it may be forgotten.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/store_private.h"

static void replica_lists_init(struct store_replica *replica)
{
    pawl_list_init(&replica->node);
    pawl_list_init(&replica->blocked);
    pawl_list_init(&replica->lru);
    pawl_list_init(&replica->file_waiters);
    pawl_list_init(&replica->gathers);
    pawl_list_init(&replica->gathering);
    pawl_list_init(&replica->scarce);
    pawl_list_init(&replica->unflushed);
    pawl_list_init(&replica->flushing);
}

int store_replica_new(struct store *store, const struct store_chunk *chunk,
                      struct store_replica **ret)
{
    struct store_replica *replica = calloc(1, sizeof(*replica));

    if (replica == NULL) {
        return -ENOMEM;
    }
    replica_lists_init(replica);
    pawl_records_init(&replica->records, pawl_alloc_heap());
    pawl_paged_init(&replica->recovered, pawl_alloc_heap(), sizeof(struct pawl_record));
    pawl_paged_init(&replica->places, pawl_alloc_heap(), sizeof(uint64_t));
    replica->store = store;
    replica->handle = chunk->handle;
    replica->version = chunk->version;
    replica->file_id = chunk->file_id;
    replica->base_offset = chunk->base_offset;
    replica->chunk_bytes = chunk->chunk_bytes;
    replica->commit_count = chunk->commit_count;
    replica->index = chunk->index;
    replica->written_handle = chunk->written_handle;
    replica->zero_bytes = chunk->zero_bytes;
    replica->fd = -1;
    replica->tail = DISK_PAGE_BYTES;
    replica->data_end =
        store_file_bytes(chunk->chunk_bytes) - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;
    if (chunk->producers_count > 0) {
        size_t bytes = chunk->producers_count * sizeof(*replica->producers);
        replica->producers = malloc(bytes);
        if (replica->producers == NULL) {
            free(replica);
            return -ENOMEM;
        }
        memcpy(replica->producers, chunk->producers, bytes);
        replica->producers_count = chunk->producers_count;
    }
    *ret = replica;
    return 0;
}

void store_replica_free(struct store_replica *replica)
{
    if (replica == NULL) {
        return;
    }
    pawl_list_remove(&replica->node);
    pawl_list_remove(&replica->lru);
    pawl_list_remove(&replica->scarce);
    if (replica->file_state == STORE_FILE_OPEN) {
        replica->store->files_count--;
    }
    if (replica->fd >= 0) {
        close(replica->fd);
    }
    free(replica->producers);
    pawl_records_fini(&replica->records);
    pawl_paged_fini(&replica->recovered);
    pawl_paged_fini(&replica->places);
    free(replica);
}

struct store_replica *store_replica_find(const struct store *store, uint64_t handle)
{
    return pawl_map_get(&store->map, handle);
}

int store_replica_grow(struct store_replica *replica, uint32_t count)
{
    int code = pawl_records_reserve(&replica->records, count, 1);

    return code != 0 ? code : pawl_paged_reserve(&replica->places, replica->queued_count + count);
}

int store_replica_recovered_grow(struct store_replica *replica, uint64_t count)
{
    int code = pawl_paged_reserve(&replica->recovered, count);

    return code != 0 ? code : pawl_paged_reserve(&replica->places, count);
}

void store_replica_advance(struct store_replica *replica)
{
    while (replica->durable_count < replica->queued_count &&
           *store_replica_place(replica, replica->durable_count) != 0) {
        replica->durable_count++;
    }
}

void store_replica_cut(struct store_replica *replica, uint64_t count)
{
    for (uint64_t i = count; i < replica->queued_count; i++) {
        *store_replica_place(replica, i) = 0;
    }
    replica->queued_count = PAWL_MIN(replica->queued_count, count);
    replica->durable_count = PAWL_MIN(replica->durable_count, count);
    pawl_records_truncate(&replica->records, PAWL_MIN(replica->records.count, count));
}

void store_replica_dirty(struct store_replica *replica, uint64_t generation)
{
    replica->last_generation = generation;
    if (replica->dirty_generation == 0) {
        replica->dirty_generation = generation;
    }
}

void store_replica_name(struct store_replica *replica)
{
    snprintf(replica->name, sizeof(replica->name), "%016" PRIx64 ".%016" PRIx64, replica->handle,
             replica->create_lsn);
}

static uint64_t unused_bytes(const struct store_replica *replica)
{
    return replica->held_bytes - PAWL_MIN(replica->held_bytes, replica->space_bytes);
}

void store_replica_space(struct store_replica *replica, uint64_t space_bytes, uint64_t held_bytes)
{
    struct store *store = replica->store;

    store->unused_bytes -= unused_bytes(replica);
    store->chunks_space_bytes -= replica->space_bytes;
    replica->space_bytes = space_bytes;
    replica->held_bytes = held_bytes;
    store->chunks_space_bytes += space_bytes;
    store->unused_bytes += unused_bytes(replica);
}

// What the chunk takes on disk once all of it is written back; computed anew after recovery.
void store_replica_account(struct store_replica *replica)
{
    uint64_t bytes = 2 * DISK_PAGE_BYTES;
    uint64_t rows = footer_body_bytes(replica->queued_count, replica->producers_count);

    for (uint64_t i = 0; i < replica->queued_count; i++) {
        uint64_t length = pawl_records_length(&replica->records, i);
        bool large = length > replica->store->inline_max_bytes;
        bytes += large ? pawl_align_up(length, DISK_PAGE_BYTES) : length;
    }
    bytes = PAWL_MAX(bytes, replica->tail) + 2 * rows;
    store_replica_space(replica, bytes, replica->held_bytes);
}

void store_replica_drop(struct store_replica *replica)
{
    struct store *store = replica->store;

    if (replica->dropped) {
        return;
    }
    replica->dropped = true;
    if (store_replica_find(store, replica->handle) == replica) {
        pawl_map_remove(&store->map, replica->handle);
    }
    pawl_list_remove(&replica->node);
    pawl_list_push_back(&store->dropped, &replica->node);
    uint64_t held_bytes = replica->held_bytes;
    store_replica_space(replica, 0, 0);
    replica->held_bytes = held_bytes; // counted no more, but it says what the file is worth
    if (!replica->writing_back && !replica->making_file) {
        store_file_unlink(replica);
    }
}

void store_replica_let_go(struct store_replica *replica)
{
    if (replica->dropped && !replica->unlinked && !replica->writing_back && !replica->making_file) {
        store_file_unlink(replica);
    } else {
        store_replica_release(replica);
    }
}

// A deleted chunk is forgotten when nobody uses it and the checkpoint has made its end durable.
void store_replica_release(struct store_replica *replica)
{
    if (replica->dropped && replica->unlinked && replica->dirty_generation == 0 &&
        replica->ops_count == 0 && replica->uses == 0 && replica->file_uses == 0 &&
        replica->file_state != STORE_FILE_OPENING && !replica->writing_back) {
        store_replica_free(replica);
    }
}

void store_replica_view(const struct store_replica *replica, struct store_chunk *ret)
{
    *ret = (struct store_chunk){
        .handle = replica->handle,
        .version = replica->version,
        .file_id = replica->file_id,
        .base_offset = replica->base_offset,
        .chunk_bytes = replica->chunk_bytes,
        .index = replica->index,
        .sealed = replica->sealed,
        .damaged = replica->damaged,
        .commit_count = replica->commit_count,
        .records = &replica->records,
        .records_count = replica->durable_count,
        .producers = replica->producers,
        .producers_count = replica->producers_count,
        .written_handle = replica->written_handle,
        .zero_bytes = replica->zero_bytes,
    };
}
