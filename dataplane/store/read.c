// SPDX-License-Identifier: Apache-2.0
// Reads: whole records, gathered from where they lie, verified, and made dense in the caller's buffer.
//
// A record that is still in the journal is copied out of its segment's image in memory: the journal is a cache of
// what was appended last, and who reads nothing else waits for no disk. It is verified in the image; only what was
// asked for is copied, at the end, to where it belongs: once.
//
// The others come from the chunk file. Records that lie near each other there share a request (an extent); the
// blocks between them are read and left out again. Meanwhile a segment whose image will be copied from isn't used
// anew, and a chunk that is being read isn't forgotten.
//
// A disk that has many large reads shares itself among them, and all of them end at the same moment: then it rests
// while their bytes travel, and the wires while it reads. So at most half of the bytes that are wanted are at the disk
// at once, one read at least; the others wait in line (docs/decisions/0046). Small reads pass them.
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

// Of the chunk file.
struct store_read_extent {
    struct store_read *read;
    uint64_t start; // whole blocks
    uint64_t end;   // of the last record, not rounded
    size_t buffer_at;
    struct store_io_request io;
};

// A record. Its place is kept: a checkpoint may move it while the chunk file is being read.
struct store_read_part {
    uint64_t place;
    size_t
        at; // in the buffer: where the file's bytes come to; those of an image go here or further to the front
};

struct store_read {
    struct pawl_list node; // in store->reads_waiting
    struct store_replica *replica;
    uint64_t token;
    uint64_t skip_bytes; // of the first record
    uint32_t length;
    uint8_t *buffer;
    size_t buffer_bytes;
    size_t planned_end; // of the last record in the buffer
    uint64_t first;     // record
    uint32_t records_count;
    uint32_t extents_count;
    uint32_t pending_count;
    uint64_t large_bytes; // from the chunk file; 0: the read is small
    int failed;           // 0; what the file or its opening failed with
    struct store_waiter waiter;
    struct store_read_extent extents[STORE_READ_EXTENTS];
    struct store_read_part parts[STORE_READ_RECORDS];
};

size_t store_read_buffer_bytes(const struct store *store)
{
    (void)store;
    return WIRE_RECORD_MAX + 2 * DISK_PAGE_BYTES;
}

// Bytes of the buffer that are taken once the last record ends at `end` of it: its last block may be read whole.
static size_t buffer_end(const struct store *store, size_t end)
{
    return (size_t)pawl_align_up(end, store->block_bytes);
}

static bool room_take(struct store_read *read, size_t end)
{
    if (buffer_end(read->replica->store, end) > read->buffer_bytes) {
        return false;
    }
    read->planned_end = end;
    return true;
}

// Adds the record to the last extent, if it lies near its end and nothing else comes between them.
static bool extent_extend(struct store_read *read, uint64_t from, uint64_t length)
{
    struct store_read_extent *last;

    if (read->extents_count == 0) {
        return false;
    }
    last = &read->extents[read->extents_count - 1];
    if (read->planned_end != last->buffer_at + (size_t)(last->end - last->start) ||
        from < last->end || from - last->end > READ_GAP_BYTES ||
        !room_take(read, last->buffer_at + (size_t)(from + length - last->start))) {
        return false;
    }
    last->end = from + length;
    return true;
}

static bool extent_add(struct store_read *read, uint64_t from, uint64_t length)
{
    struct store *store = read->replica->store;
    struct store_read_extent extent = {
        .read = read,
        .start = pawl_align_down(from, store->block_bytes),
        .end = from + length,
        .buffer_at = buffer_end(store, read->planned_end),
    };

    if (read->extents_count == STORE_READ_EXTENTS ||
        !room_take(read, extent.buffer_at + (size_t)(extent.end - extent.start))) {
        return false;
    }
    read->extents[read->extents_count++] = extent;
    return true;
}

// Plans the record as the next one, if there is room for it.
static bool part_add(struct store_read *read, uint64_t index)
{
    const struct store_replica *replica = read->replica;
    uint64_t length = pawl_records_length(&replica->records, index);
    uint64_t place = *store_replica_place(replica, index);
    uint64_t from = store_place_offset(place);

    if (length > 0 && store_place_is_journal(place)) {
        if (!room_take(read, read->planned_end + (size_t)length)) {
            return false;
        }
    } else if (length > 0 && !extent_extend(read, from, length) &&
               !extent_add(read, from, length)) {
        return false;
    }
    read->parts[read->records_count++] = (struct store_read_part){
        .place = place,
        .at = read->planned_end - (size_t)length,
    };
    return true;
}

// Plans as many records from `first` on as the buffer takes, until `end` bytes of the chunk are covered.
static void read_plan(struct store_read *read, uint64_t end)
{
    struct store_replica *replica = read->replica;

    for (uint64_t i = read->first; i < replica->durable_count; i++) {
        if (pawl_records_bytes(&replica->records, i) >= end ||
            read->records_count == STORE_READ_RECORDS || !part_add(read, i)) {
            return;
        }
    }
}

static struct store_segment *part_segment(const struct store_read *read,
                                          const struct store_read_part *part)
{
    return &read->replica->store->journal.segments[store_place_segment(part->place)];
}

static void images_hold(struct store_read *read)
{
    for (uint32_t i = 0; i < read->records_count; i++) {
        if (store_place_is_journal(read->parts[i].place)) {
            part_segment(read, &read->parts[i])->readers++;
        }
    }
}

static void images_release(struct store_read *read)
{
    for (uint32_t i = 0; i < read->records_count; i++) {
        if (store_place_is_journal(read->parts[i].place)) {
            part_segment(read, &read->parts[i])->readers--;
        }
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

// Puts a record's bytes at `used` of the buffer, behind those that are there already since `begin`; false: they
// are not what was written.
static bool part_put(struct store_read *read, uint32_t i, size_t begin, size_t used)
{
    const struct store_read_part *part = &read->parts[i];
    const struct store_replica *replica = read->replica;
    uint64_t index = read->first + i;
    uint32_t length = pawl_records_length(&replica->records, index);
    bool in_image = store_place_is_journal(part->place);
    const uint8_t *from = in_image
                              ? part_segment(read, part)->image + store_place_offset(part->place)
                              : read->buffer + part->at;
    uint64_t first = 0;
    uint64_t end = length;

    pawl_assert(used <= part->at);
    if ((read->failed != 0 && !in_image) ||
        pawl_crc32c(0, from, length) != pawl_records_crc(&replica->records, index)) {
        return false;
    }
    if (in_image) { // what was asked for, and not the rest of the record
        uint64_t before = used - begin;
        first = PAWL_MAX(read->skip_bytes, before) - before;
        end = PAWL_MIN(end, read->skip_bytes + read->length - before);
        memcpy(read->buffer + used + first, from + first, (size_t)(end - first));
    } else if (used != part->at) {
        memmove(read->buffer + used, from, length);
    } else {
        return true;
    }
    replica->store->counters.read_copied_bytes += end - first;
    return true;
}

static void read_corrupt(struct store_read *read, uint64_t index)
{
    struct store_replica *replica = read->replica;
    struct store_completion completion = {
        .token = read->token,
        .status = PAWL_ECORRUPT,
        .chunk = replica->handle,
        .record_index = index,
    };

    replica->unsound = true;
    pawl_log_error("chunk %" PRIx64 " record %" PRIu64 " at offset %" PRIu64
                   " does not match its checksum",
                   replica->handle, index, pawl_records_bytes(&replica->records, index));
    read_finish(read, &completion);
}

// The bytes may be all right: nothing is said about the replica. Who reads goes to another one, or comes again.
static void read_refuse(struct store_read *read)
{
    struct store_completion completion = {
        .token = read->token,
        .status = store_code_is_scarce(read->failed) ? PAWL_EBUSY : read->failed,
        .chunk = read->replica->handle,
    };

    read_finish(read, &completion);
}

// A file that is gone is as bad as a block that can't be read, unless its chunk was deleted.
static bool code_says_rot(const struct store_read *read, int code)
{
    return store_code_is_rot(code) || (code == -ENOENT && !read->replica->dropped);
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
    size_t begin = SIZE_MAX;
    size_t used = 0;

    for (uint32_t i = 0; i < read->records_count; i++) {
        uint32_t length = pawl_records_length(&replica->records, read->first + i);
        if (length == 0) {
            continue;
        }
        if (begin == SIZE_MAX) {
            begin = used = read->parts[i].at;
        }
        if (!part_put(read, i, begin, used)) {
            read_corrupt(read, read->first + i);
            return;
        }
        used += length;
    }
    if (begin != SIZE_MAX) {
        size_t bytes = used - begin;
        completion.data = read->buffer + begin + read->skip_bytes;
        completion.bytes = (uint32_t)PAWL_MIN(bytes - read->skip_bytes, (uint64_t)read->length);
        completion.is_record = read->records_count == 1 && completion.bytes == bytes;
        completion.crc = pawl_records_crc(&replica->records, read->first);
        replica->store->counters.read_bytes += completion.bytes;
    }
    read_finish(read, &completion);
}

// After the chunk file was read, or was not.
static void read_file_end(struct store_read *read)
{
    images_release(read);
    if (read->failed == 0 || code_says_rot(read, read->failed)) {
        read_complete(read);
    } else {
        read_refuse(read);
    }
}

static void read_submit(struct store_read *read);

// Large reads whose turn has come. True: there were some.
static bool reads_go_on(struct store *store)
{
    struct pawl_list *node;
    bool any = false;

    while ((node = pawl_list_first(&store->reads_waiting)) != NULL) {
        struct store_read *read = pawl_container_of(node, struct store_read, node);
        uint64_t wanted_bytes = store->reads_flying_bytes + store->reads_waiting_bytes;
        if (store->reads_flying_bytes > 0 &&
            store->reads_flying_bytes + read->large_bytes > wanted_bytes / 2) {
            break;
        }
        pawl_list_remove(node);
        store->reads_waiting_bytes -= read->large_bytes;
        store->reads_flying_bytes += read->large_bytes;
        read_submit(read);
        any = true;
    }
    return any;
}

// The disk has given what was wanted: the next one has it before these bytes are looked at.
static void read_leaves_disk(struct store_read *read)
{
    struct store *store = read->replica->store;

    store->reads_flying_bytes -= read->large_bytes;
    if (read->large_bytes > 0 && reads_go_on(store)) {
        store_io_flush(&store->io);
    }
}

static void extent_read(struct store_io_request *request, int result)
{
    struct store_read_extent *extent = pawl_container_of(request, struct store_read_extent, io);
    struct store_read *read = extent->read;

    if (result < 0) {
        pawl_log_error("chunk %" PRIx64 " can't be read at %" PRIu64 " of its file: %s",
                       read->replica->handle, request->offset, pawl_strerror(result));
        if (read->failed == 0 || code_says_rot(read, result)) { // rot counts for more
            read->failed = result;
        }
    } else if ((size_t)result < request->bytes) { // cut short: its checksum will tell
        memset((uint8_t *)request->buffer + result, 0, request->bytes - (size_t)result);
    }
    if (--read->pending_count > 0) {
        return;
    }
    read_leaves_disk(read);
    store_file_release(read->replica);
    read_file_end(read);
}

static void read_submit(struct store_read *read)
{
    struct store *store = read->replica->store;

    for (uint32_t i = 0; i < read->extents_count; i++) {
        struct store_read_extent *extent = &read->extents[i];
        extent->io = (struct store_io_request){
            .type = STORE_IO_READ,
            .fd = read->replica->fd,
            .buffer = read->buffer + extent->buffer_at,
            .bytes = (size_t)(pawl_align_up(extent->end, store->block_bytes) - extent->start),
            .offset = extent->start,
            .done = extent_read,
        };
        store_io_submit(&store->io, &extent->io);
    }
}

static void read_go(struct store_read *read)
{
    struct store *store = read->replica->store;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < read->extents_count; i++) {
        bytes += read->extents[i].end - read->extents[i].start;
    }
    if (bytes <= STORE_READ_LARGE_BYTES) {
        read_submit(read);
        return;
    }
    read->large_bytes = bytes;
    store->reads_waiting_bytes += bytes;
    pawl_list_push_back(&store->reads_waiting, &read->node);
    (void)reads_go_on(store);
}

static void read_file_ready(struct store_waiter *waiter, int code)
{
    struct store_read *read = pawl_container_of(waiter, struct store_read, waiter);

    if (code == 0) {
        read_go(read);
        return;
    }
    read->failed = code;
    read_file_end(read);
}

// What is in memory alone is copied at once: nothing can move meanwhile. The completion comes from store_poll().
static void read_start(struct store_read *read)
{
    read->pending_count = read->extents_count;
    if (read->extents_count == 0) {
        read_complete(read);
        return;
    }
    images_hold(read);
    read->waiter.ready = read_file_ready;
    read->waiter.impatient = true;
    store_file_acquire(read->replica, &read->waiter, STORE_FILE_EXISTING);
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
        if (pawl_records_end(&replica->records, middle) > offset) {
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
        read->skip_bytes = offset - pawl_records_bytes(&replica->records, read->first);
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
    return buffer_end(store, plan.planned_end);
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
        pawl_records_length(&replica->records, index) == 0) {
        return 0;
    }
    uint64_t place = *store_replica_place(replica, index);
    uint64_t from = store_place_is_journal(place) ? 0 : store_place_offset(place);
    return (size_t)(pawl_align_up(from + pawl_records_length(&replica->records, index),
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
    struct pawl_record record = pawl_records_at(&replica->records, index);
    read->first = index;
    read->length = record.length;
    if (!part_add(read, index)) {
        read_cancel(read);
        return -EINVAL;
    }
    *ret_record = record;
    read_start(read);
    return 0;
}
