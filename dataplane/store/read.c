// SPDX-License-Identifier: Apache-2.0
// Reads: whole records, gathered from where they lie, verified, and made dense in the caller's buffer.
//
// Records that lie near each other in one file share a request (an extent); the blocks between them
// are read and left out again. A segment of the journal that is being read isn't used anew, and a chunk
// that is being read isn't forgotten.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/crc32c.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

#define READ_GAP_BYTES 4096u // read through a gap of this size rather than make another request

struct store_read;

struct store_read_extent {
    struct store_read *read;
    struct store_segment *segment; // NULL: the chunk file
    uint64_t start;                // in the file, whole blocks
    uint64_t end;                  // of the last record, not rounded
    size_t buffer_at;
    struct store_io_request io;
};

struct store_read {
    struct store_replica *replica;
    uint64_t token;
    uint64_t skip_bytes; // of the first record
    uint32_t length;
    uint8_t *buffer;
    size_t buffer_bytes;
    uint64_t first; // record
    uint32_t records_count;
    uint32_t extents_count;
    uint32_t pending_count;
    bool uses_file;
    bool failed;
    struct store_waiter waiter;
    struct store_read_extent extents[STORE_READ_EXTENTS];
    size_t at[STORE_READ_RECORDS]; // of each payload in the buffer
};

size_t store_read_buffer_bytes(const struct store *store)
{
    (void)store;
    return WIRE_RECORD_MAX + 2 * DISK_PAGE_BYTES;
}

// Bytes of the buffer that are taken once the extents so far end at `end` of the last one.
static size_t extent_buffer_end(const struct store *store, const struct store_read_extent *extent,
                                uint64_t end)
{
    return extent->buffer_at + (size_t)(pawl_align_up(end, store->block_bytes) - extent->start);
}

static struct store_segment *place_segment(struct store *store, uint64_t place)
{
    return store_place_is_journal(place) ? &store->journal.segments[store_place_segment(place)]
                                         : NULL;
}

// Adds the record to the last extent, if it lies near its end.
static bool extent_extend(struct store_read *read, struct store_segment *segment, uint64_t from,
                          uint64_t length)
{
    struct store_read_extent *last;

    if (read->extents_count == 0) {
        return false;
    }
    last = &read->extents[read->extents_count - 1];
    if (last->segment != segment || from < last->end || from - last->end > READ_GAP_BYTES ||
        extent_buffer_end(read->replica->store, last, from + length) > read->buffer_bytes) {
        return false;
    }
    last->end = from + length;
    return true;
}

static bool extent_add(struct store_read *read, struct store_segment *segment, uint64_t from,
                       uint64_t length)
{
    struct store *store = read->replica->store;
    size_t buffer_at = 0;

    if (read->extents_count == STORE_READ_EXTENTS) {
        return false;
    }
    if (read->extents_count > 0) {
        const struct store_read_extent *last = &read->extents[read->extents_count - 1];
        buffer_at = extent_buffer_end(store, last, last->end);
    }
    struct store_read_extent extent = {
        .read = read,
        .segment = segment,
        .start = pawl_align_down(from, store->block_bytes),
        .end = from + length,
        .buffer_at = buffer_at,
    };
    if (extent_buffer_end(store, &extent, extent.end) > read->buffer_bytes) {
        return false;
    }
    read->extents[read->extents_count++] = extent;
    return true;
}

// Plans as many records from `first` on as the buffer takes, until `end` bytes of the chunk are covered.
static void read_plan(struct store_read *read, uint64_t end)
{
    struct store_replica *replica = read->replica;
    struct store *store = replica->store;

    for (uint64_t i = read->first; i < replica->durable_count; i++) {
        const struct pawl_record *record = store_replica_record(replica, i);
        uint64_t place = *store_replica_place(replica, i);
        uint64_t from = store_place_offset(place);
        struct store_segment *segment = place_segment(store, place);
        if (record->offset >= end || read->records_count == STORE_READ_RECORDS) {
            return;
        }
        if (record->length > 0 && !extent_extend(read, segment, from, record->length) &&
            !extent_add(read, segment, from, record->length)) {
            return;
        }
        if (record->length > 0) {
            const struct store_read_extent *extent = &read->extents[read->extents_count - 1];
            read->at[read->records_count] = extent->buffer_at + (size_t)(from - extent->start);
        }
        read->records_count++;
    }
}

static void read_finish(struct store_read *read, const struct store_completion *completion)
{
    struct store_replica *replica = read->replica;

    store_ready_push(replica->store, completion);
    free(read);
    replica->uses--;
    store_replica_release(replica);
}

// Verifies each record and moves it up against the one before it: the gaps only ever shrink towards
// the front, so nothing is overwritten that is still needed.
static void read_complete(struct store_read *read)
{
    struct store_replica *replica = read->replica;
    struct store_completion completion = {
        .token = read->token,
        .chunk = replica->handle,
    };
    size_t used = 0;

    for (uint32_t i = 0; i < read->records_count; i++) {
        const struct pawl_record *record = store_replica_record(replica, read->first + i);
        if (record->length == 0) {
            continue;
        }
        if (read->failed ||
            pawl_crc32c(0, read->buffer + read->at[i], record->length) != record->crc) {
            replica->unsound = true;
            completion.status = PAWL_ECORRUPT;
            completion.record_index = read->first + i;
            pawl_log_error("chunk %" PRIx64 " record %" PRIu64 " at offset %" PRIu64
                           " does not match its checksum",
                           replica->handle, completion.record_index, record->offset);
            read_finish(read, &completion);
            return;
        }
        if (i == 0) {
            used = read->at[0];
        } else if (used != read->at[i]) {
            memmove(read->buffer + used, read->buffer + read->at[i], record->length);
            replica->store->counters.read_copied_bytes += record->length;
        }
        if (i == 0 || completion.data == NULL) {
            completion.data = read->buffer + used;
        }
        used += record->length;
    }
    if (completion.data != NULL) {
        size_t bytes = (size_t)(read->buffer + used - (const uint8_t *)completion.data);
        completion.data = (const uint8_t *)completion.data + read->skip_bytes;
        completion.bytes = (uint32_t)PAWL_MIN(bytes - read->skip_bytes, (uint64_t)read->length);
        completion.is_record = read->records_count == 1 && completion.bytes == bytes;
        completion.crc = store_replica_record(replica, read->first)->crc;
        replica->store->counters.read_bytes += completion.bytes;
    }
    read_finish(read, &completion);
}

static void extent_read(struct store_io_request *request, int result)
{
    struct store_read_extent *extent = pawl_container_of(request, struct store_read_extent, io);
    struct store_read *read = extent->read;

    if (result < 0) {
        pawl_log_error("chunk %" PRIx64 " can't be read at %" PRIu64 " of its %s: %s",
                       read->replica->handle, request->offset,
                       extent->segment != NULL ? "journal" : "file", pawl_strerror(result));
        read->failed = true;
    } else if ((size_t)result < request->bytes) { // cut short: its checksum will tell
        memset((uint8_t *)request->buffer + result, 0, request->bytes - (size_t)result);
    }
    if (extent->segment != NULL) {
        extent->segment->readers--;
    }
    if (--read->pending_count > 0) {
        return;
    }
    if (read->uses_file) {
        store_file_release(read->replica);
    }
    read_complete(read);
}

static void read_submit(struct store_read *read)
{
    struct store *store = read->replica->store;

    for (uint32_t i = 0; i < read->extents_count; i++) {
        struct store_read_extent *extent = &read->extents[i];
        extent->io = (struct store_io_request){
            .type = STORE_IO_READ,
            .fd = extent->segment != NULL ? extent->segment->fd : read->replica->fd,
            .buffer = read->buffer + extent->buffer_at,
            .bytes = (size_t)(pawl_align_up(extent->end, store->block_bytes) - extent->start),
            .offset = extent->start,
            .done = extent_read,
        };
        store_io_submit(&store->io, &extent->io);
    }
}

static void read_file_ready(struct store_waiter *waiter, int code)
{
    struct store_read *read = pawl_container_of(waiter, struct store_read, waiter);

    if (code == 0) {
        read_submit(read);
        return;
    }
    for (uint32_t i = 0; i < read->extents_count; i++) {
        if (read->extents[i].segment != NULL) {
            read->extents[i].segment->readers--;
        }
    }
    read->failed = true;
    read_complete(read);
}

static void read_start(struct store_read *read)
{
    for (uint32_t i = 0; i < read->extents_count; i++) {
        if (read->extents[i].segment != NULL) {
            read->extents[i].segment->readers++;
        } else {
            read->uses_file = true;
        }
    }
    read->pending_count = read->extents_count;
    if (read->extents_count == 0) {
        read_complete(read);
    } else if (read->uses_file) {
        read->waiter.ready = read_file_ready;
        store_file_acquire(read->replica, &read->waiter, STORE_FILE_EXISTING);
    } else {
        read_submit(read);
    }
}

static int read_new(struct store_replica *replica, void *buffer, size_t buffer_bytes,
                    uint64_t token, struct store_read **ret)
{
    struct store_read *read;

    if ((uintptr_t)buffer % DISK_PAGE_BYTES != 0) {
        return -EINVAL;
    }
    read = malloc(sizeof(*read));
    if (read == NULL) {
        return -ENOMEM;
    }
    memset(read, 0, offsetof(struct store_read, extents));
    if (store_ready_reserve(replica->store) != 0) {
        free(read);
        return -ENOMEM;
    }
    read->replica = replica;
    read->token = token;
    read->buffer = buffer;
    read->buffer_bytes = buffer_bytes;
    replica->uses++;
    replica->store->ops_count++;
    *ret = read;
    return 0;
}

static void read_cancel(struct store_read *read)
{
    read->replica->store->ops_count--;
    read->replica->uses--;
    free(read);
}

// The record that holds the byte at `offset`; durable_count if there is none. Records of no bytes are
// never it.
static uint64_t record_at(const struct store_replica *replica, uint64_t offset)
{
    uint64_t low = 0;
    uint64_t high = replica->durable_count;

    while (low < high) { // the first one that ends behind offset
        uint64_t middle = low + (high - low) / 2;
        const struct pawl_record *record = store_replica_record(replica, middle);
        if (record->offset + record->length > offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

// Finds the first record and plans from there.
static void range_plan(struct store_read *read, uint64_t offset, uint32_t length)
{
    const struct store_replica *replica = read->replica;

    read->first = record_at(replica, offset);
    read->length = length;
    if (read->first < replica->durable_count && length > 0) {
        read->skip_bytes = offset - store_replica_record(replica, read->first)->offset;
        read_plan(read, offset + length < offset ? UINT64_MAX : offset + length);
    }
}

size_t store_read_bytes(struct store *store, uint64_t handle, uint64_t offset, uint32_t length)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_read plan;

    if (replica == NULL) {
        return 0;
    }
    memset(&plan, 0, offsetof(struct store_read, extents));
    plan.replica = replica;
    plan.buffer_bytes = store_read_buffer_bytes(store);
    range_plan(&plan, offset, length);
    if (plan.extents_count == 0) {
        return 0;
    }
    const struct store_read_extent *last = &plan.extents[plan.extents_count - 1];
    return extent_buffer_end(store, last, last->end);
}

int store_read(struct store *store, uint64_t handle, uint64_t offset, uint32_t length, void *buffer,
               size_t buffer_bytes, uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_read *read;

    if (replica == NULL) {
        return PAWL_ENOCHUNK;
    }
    int code = read_new(replica, buffer, buffer_bytes, token, &read);
    if (code != 0) {
        return code;
    }
    range_plan(read, offset, length);
    if (read->first < replica->durable_count && length > 0 && read->records_count == 0) {
        read_cancel(read);
        return -EINVAL; // the buffer doesn't hold the first record
    }
    read_start(read);
    return 0;
}

size_t store_read_record_bytes(struct store *store, uint64_t handle, uint64_t index)
{
    const struct store_replica *replica = store_replica_find(store, handle);

    if (replica == NULL || index >= replica->durable_count ||
        store_replica_record(replica, index)->length == 0) {
        return 0;
    }
    uint64_t from = store_place_offset(*store_replica_place(replica, index));
    return (size_t)(pawl_align_up(from + store_replica_record(replica, index)->length,
                                  store->block_bytes) -
                    pawl_align_down(from, store->block_bytes));
}

int store_read_record(struct store *store, uint64_t handle, uint64_t index,
                      struct pawl_record *ret_record, void *buffer, size_t buffer_bytes,
                      uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_read *read;

    if (replica == NULL) {
        return PAWL_ENOCHUNK;
    }
    if (index >= replica->durable_count) {
        return -ENOENT;
    }
    int code = read_new(replica, buffer, buffer_bytes, token, &read);
    if (code != 0) {
        return code;
    }
    const struct pawl_record *record = store_replica_record(replica, index);
    read->first = index;
    read->length = record->length;
    if (record->length > 0) {
        uint64_t place = *store_replica_place(replica, index);
        uint64_t from = store_place_offset(place);
        if (!extent_add(read, place_segment(store, place), from, record->length)) {
            read_cancel(read);
            return -EINVAL;
        }
        read->at[0] = (size_t)(from - read->extents[0].start);
        read->records_count = 1;
    }
    *ret_record = *record;
    read_start(read);
    return 0;
}
