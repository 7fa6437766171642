// SPDX-License-Identifier: Apache-2.0
// Group commit: queued operations become entries of a batch, and one direct, durable write per batch, or a write and
// a flush, acknowledges them all.
//
// One batch is in flight at a time; operations that come meanwhile gather in the other one. So at
// most the last batch of the newest segment can be torn, and whatever stands before a sound batch was
// acknowledged. A segment's header goes out alone, once the last batch of the segment before is
// durable, for the same reason.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/journal_entry.h"
#include "dataplane/store/store_private.h"

_Static_assert(
    DISK_PAGE_BYTES + DISK_PAGE_BYTES + sizeof(struct disk_batch) + 3 * sizeof(struct disk_entry) +
            WIRE_RUN_BYTES_MAX <=
        STORE_SEGMENT_BYTES_MIN,
    "the smallest segment takes the longest run, with a header's page and a mark's block");

static void journal_pump(struct store *store);
static void batch_written(struct store_io_request *request, int result);

void store_journal_open(struct store *store)
{
    struct store_journal *journal = &store->journal;

    pawl_list_init(&journal->waiting);
    for (int i = 0; i < 2; i++) {
        pawl_list_init(&journal->batches[i].ops);
        journal->batches[i].store = store;
    }
}

bool store_journal_is_idle(const struct store *store)
{
    const struct store_journal *journal = &store->journal;

    return !journal->in_flight && journal->opening == NULL &&
           pawl_list_is_empty(&journal->waiting) && journal->batches[journal->gathering].bytes == 0;
}

// What the smallest segment can take in one batch.
size_t store_journal_room_bytes(const struct store *store)
{
    uint64_t bytes = UINT64_MAX;

    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        bytes = PAWL_MIN(bytes, store->journal.segments[i].bytes);
    }
    return (size_t)(bytes - DISK_PAGE_BYTES - store->block_bytes - sizeof(struct disk_batch));
}

size_t store_op_records_bytes(const struct store_op *op)
{
    const struct pawl_records *records = &op->replica->records;

    return (size_t)(pawl_records_bytes(records, op->argument + op->count) -
                    pawl_records_bytes(records, op->argument));
}

static size_t rows_bytes(const struct store_op *op)
{
    return op->count > 1 ? op->count * sizeof(struct disk_run_row) : 0;
}

// What is in an operation's entry.
static size_t op_payload_bytes(const struct store_op *op)
{
    if (op->type == STORE_OP_RECORD) {
        return rows_bytes(op) + (op->place == 0 ? store_op_records_bytes(op) : 0);
    }
    if (op->type == STORE_OP_CREATE) {
        return sizeof(struct disk_create) + footer_body_bytes(0, op->replica->producers_count);
    }
    return 0;
}

size_t store_journal_op_bytes(const struct store_op *op)
{
    return journal_entry_bytes(op_payload_bytes(op));
}

void store_journal_fail(struct store *store, int code)
{
    struct store_batch *batch = &store->journal.batches[store->journal.gathering];

    store_ops_finish(&batch->ops, code);
    batch->bytes = 0;
    store_ops_finish(&store->journal.waiting, code);
}

static void segment_opened(struct store_io_request *request, int result)
{
    struct store_journal *journal = pawl_container_of(request, struct store_journal, header_io);
    struct store *store = pawl_container_of(journal, struct store, journal);
    struct store_segment *segment = journal->opening;

    journal->opening = NULL;
    if (result < 0) {
        store_fail(store, result, "a journal segment's header");
        return;
    }
    if (journal->active != NULL) {
        journal->active->state = STORE_SEGMENT_FULL;
    }
    segment->state = STORE_SEGMENT_ACTIVE;
    segment->tail = DISK_PAGE_BYTES;
    journal->active = segment;
    journal->unmarked = false; // the new header confirms what stands before it
    pawl_log_debug("journal segment %u begins generation %" PRIu64 " at lsn %" PRIu64,
                   segment->index, segment->generation, segment->first_lsn);
    journal_pump(store);
}

// Begins the next free segment. No free one: the operations wait until the checkpoint has made one.
static void segment_open_next(struct store *store)
{
    struct store_journal *journal = &store->journal;
    struct store_segment *segment = store_segments_next_free(store);

    pawl_assert(!journal->in_flight && journal->opening == NULL);
    if (segment == NULL) {
        return;
    }
    uint64_t oldest = store_segments_oldest(store);
    journal->opening = segment;
    segment->generation = ++journal->generation;
    segment->first_lsn = journal->next_lsn;
    struct disk_segment header = {
        .store_id = store->identity.store_id,
        .generation = segment->generation,
        .first_lsn = segment->first_lsn,
        .oldest_generation = PAWL_MIN(oldest, segment->generation),
        .bytes = segment->bytes,
        .index = segment->index,
    };
    journal_segment_encode(&header);
    memset(journal->header, 0, DISK_PAGE_BYTES);
    memcpy(journal->header, &header, sizeof(header));
    journal->header_io = (struct store_io_request){
        .type = STORE_IO_WRITE_DURABLE,
        .fd = segment->fd,
        .buffer = journal->header,
        .bytes = DISK_PAGE_BYTES,
        .done = segment_opened,
    };
    store_io_submit(&store->io, &journal->header_io);
}

static void batch_reset(struct store_batch *batch)
{
    batch->bytes = 0;
    batch->entries_count = 0;
}

// Gives the batch its place in the journal, if there is one for an entry of `needed` bytes; 0: a mark. A segment's
// last block is for a mark alone.
static bool batch_begin(struct store *store, struct store_batch *batch, size_t needed)
{
    struct store_journal *journal = &store->journal;
    struct store_segment *active = journal->active;

    size_t kept = needed > 0 ? store->block_bytes : 0;
    needed += sizeof(struct disk_batch);
    if (journal->opening != NULL) {
        return false;
    }
    if (active == NULL || active->bytes - active->tail < needed + kept) {
        if (!journal->in_flight) {
            segment_open_next(store);
        }
        return false;
    }
    batch->segment = active;
    batch->offset = active->tail;
    batch->buffer = active->image + active->tail;
    // Only a large producer table needs more than a batch usually has.
    batch->limit = (size_t)PAWL_MIN(active->bytes - active->tail - kept,
                                    (uint64_t)PAWL_MAX(needed, (size_t)STORE_BATCH_BYTES));
    batch->first_lsn = journal->next_lsn;
    batch->features = 0;
    batch->flushes = false;
    batch->entries_count = 0;
    batch->bytes = sizeof(struct disk_batch);
    return true;
}

static enum disk_entry_type op_entry_type(const struct store_op *op)
{
    static const enum disk_entry_type types[] = {
        [STORE_OP_CREATE] = DISK_ENTRY_CREATE,   [STORE_OP_RECORD] = DISK_ENTRY_RECORD,
        [STORE_OP_LARGE] = DISK_ENTRY_REFERENCE, [STORE_OP_PROMISE] = DISK_ENTRY_PROMISE,
        [STORE_OP_SEAL] = DISK_ENTRY_SEAL,       [STORE_OP_DROP] = DISK_ENTRY_DROP,
        [STORE_OP_CUT] = DISK_ENTRY_CUT,         [STORE_OP_DAMAGE] = DISK_ENTRY_DAMAGE,
    };

    return types[op->type];
}

// Writes the payload of a create entry; returns its crc.
static uint32_t create_encode(const struct store_replica *replica, uint8_t *at)
{
    size_t producers_bytes = footer_body_bytes(0, replica->producers_count);
    struct disk_create create = {
        .file_id = replica->file_id,
        .base_offset = replica->base_offset,
        .chunk_bytes = replica->chunk_bytes,
        .index = replica->index,
        .producers_count = replica->producers_count,
        .written_handle = replica->written_handle,
        .zero_bytes = replica->zero_bytes,
    };

    memcpy(at, &create, sizeof(create));
    if (producers_bytes > 0) {
        memcpy(at + sizeof(create), replica->producers, producers_bytes);
    }
    return pawl_crc32c(0, at, sizeof(create) + producers_bytes);
}

static void entry_make(struct store *store, struct store_op *op, struct disk_entry *ret)
{
    struct store_replica *replica = op->replica;

    *ret = (struct disk_entry){
        .type = (uint16_t)op_entry_type(op),
        .bytes = (uint32_t)journal_entry_bytes(op_payload_bytes(op)),
        .lsn = store->journal.next_lsn++,
        .handle = replica->handle,
        .create_lsn = replica->create_lsn,
        .version = op->version,
        .argument = op->argument,
        .commit_count = op->commit_count,
    };
    if (op->type == STORE_OP_RECORD || op->type == STORE_OP_LARGE) {
        footer_row_encode(&ret->record, &replica->records, op->argument, op->place);
    }
}

// Puts the entry in front of its payload, and zeros behind it.
static void entry_put(struct store_batch *batch, struct disk_entry *entry, size_t payload_bytes)
{
    uint8_t *at = batch->buffer + batch->bytes;
    size_t used = sizeof(*entry) + payload_bytes;

    journal_entry_encode(entry);
    memcpy(at, entry, sizeof(*entry));
    memset(at + used, 0, entry->bytes - used);
    batch->bytes += entry->bytes;
    batch->entries_count++;
}

static void create_add(struct store *store, struct store_batch *batch, struct store_op *op)
{
    struct store_replica *replica = op->replica;
    size_t payload_bytes = op_payload_bytes(op);
    struct disk_entry entry;

    replica->create_lsn = store->journal.next_lsn;
    store_replica_name(replica);
    entry_make(store, op, &entry);
    entry.record.length = (uint32_t)payload_bytes;
    entry.record.crc = create_encode(replica, batch->buffer + batch->bytes + sizeof(entry));
    entry_put(batch, &entry, payload_bytes);
}

// Returns the checksum of a run's rows, which it writes to `at`.
static uint32_t rows_encode(const struct store_op *op, uint8_t *at)
{
    const struct pawl_records *records = &op->replica->records;
    struct disk_run_row rows[DISK_RUN_MAX];

    for (uint32_t i = 0; i < op->count; i++) {
        rows[i] = (struct disk_run_row){
            .length = pawl_records_length(records, op->argument + i),
            .crc = pawl_records_crc(records, op->argument + i),
        };
    }
    memcpy(at, rows, op->count * sizeof(rows[0]));
    return pawl_crc32c(0, rows, op->count * sizeof(rows[0]));
}

static void records_add(struct store *store, struct store_batch *batch, struct store_op *op)
{
    uint8_t *at = batch->buffer + batch->bytes + sizeof(struct disk_entry);
    size_t bytes = store_op_records_bytes(op);
    struct disk_entry entry;

    entry_make(store, op, &entry);
    if (op->count > 1) {
        entry.type = DISK_ENTRY_RUN;
        entry.record.place = op->count;
        entry.record.length = (uint32_t)op_payload_bytes(op);
        entry.record.crc = rows_encode(op, at);
        batch->features |= DISK_BATCH_RUNS;
    }
    // The header before the payload: what reads fresh memory waits for all stores in front of it.
    entry_put(batch, &entry, op_payload_bytes(op));
    if (bytes > 0) { // an epoch has none
        memcpy(at + rows_bytes(op), op->payload, bytes);
        store->counters.copied_bytes += bytes;
    }
}

// The same of records that are in their place already.
static void references_add(struct store *store, struct store_batch *batch, struct store_op *op)
{
    uint8_t *at = batch->buffer + batch->bytes + sizeof(struct disk_entry);
    struct disk_entry entry;

    entry_make(store, op, &entry);
    entry.type = DISK_ENTRY_REFERENCE;
    if (op->count > 1) {
        entry.type = DISK_ENTRY_RUN_REFERENCE;
        entry.record.length = (uint32_t)rows_bytes(op);
        entry.record.crc = rows_encode(op, at);
    }
    batch->features |= DISK_BATCH_GROUPS;
    entry_put(batch, &entry, rows_bytes(op));
}

static void batch_encode(struct store *store, struct store_batch *batch, struct store_op *op)
{
    struct disk_entry entry;

    op->batch_at = batch->bytes;
    switch (op->type) {
    case STORE_OP_CREATE:
        create_add(store, batch, op);
        break;
    case STORE_OP_RECORD:
        if (op->place != 0) {
            references_add(store, batch, op);
        } else {
            records_add(store, batch, op);
        }
        break;
    default:
        entry_make(store, op, &entry);
        entry_put(batch, &entry, 0);
        break;
    }
    if (op->covered) {
        batch->features |= DISK_BATCH_COVERS;
        batch->flushes = !store->journal.write_covers;
    }
    store_replica_dirty(op->replica, batch->segment->generation);
}

static void journal_gather(struct store *store)
{
    struct store_journal *journal = &store->journal;
    struct store_batch *batch = &journal->batches[journal->gathering];
    struct pawl_list *node;

    while ((node = pawl_list_first(&journal->waiting)) != NULL) {
        struct store_op *op = pawl_container_of(node, struct store_op, node);
        size_t bytes = store_journal_op_bytes(op);
        if (batch->bytes == 0 && !batch_begin(store, batch, bytes)) {
            return;
        }
        if (batch->bytes + bytes > batch->limit) {
            return;
        }
        batch_encode(store, batch, op);
        pawl_list_remove(node);
        pawl_list_push_back(&batch->ops, node);
    }
}

static void apply_seal(struct store_op *op)
{
    struct store_replica *replica = op->replica;

    replica->sealed = true;
    store_replica_cut(replica, op->argument);
    pawl_log_debug("chunk %" PRIx64 " version %" PRIu64 " sealed at %" PRIu64 " records",
                   replica->handle, replica->version, op->argument);
}

static void apply_large(struct store_op *op)
{
    struct store_replica *replica = op->replica;

    replica->commit_count = PAWL_MAX(replica->commit_count, op->commit_count);
    *store_replica_place(replica, op->argument) = op->place;
    store_replica_advance(replica);
}

static void apply_records(struct store_op *op, const struct store_batch *batch)
{
    struct store_replica *replica = op->replica;
    uint64_t at = batch->offset + op->batch_at + sizeof(struct disk_entry) + rows_bytes(op);

    if (op->place == 0) {
        at = store_place_journal(batch->segment->index, at);
    } else {
        at = op->place;
    }
    replica->commit_count = PAWL_MAX(replica->commit_count, op->commit_count);
    for (uint32_t i = 0; i < op->count; i++) {
        *store_replica_place(replica, op->argument + i) = at;
        at += pawl_records_length(&replica->records, op->argument + i);
    }
    store_replica_advance(replica);
}

// What is durable now takes effect, in the order of the entries.
static void op_apply(struct store_op *op, const struct store_batch *batch)
{
    struct store_replica *replica = op->replica;

    if (op->type != STORE_OP_RECORD && op->type != STORE_OP_LARGE) {
        replica->version = PAWL_MAX(replica->version, op->version);
    }
    switch (op->type) {
    case STORE_OP_CREATE:
        replica->created = true;
        if (op->replaces != NULL && !op->replaces->drop_queued) {
            store_replica_drop(op->replaces); // else its own operation does that
        }
        store_file_make_ahead(replica);
        store_blocked_release(replica);
        break;
    case STORE_OP_RECORD:
        apply_records(op, batch);
        if (op->place != 0) {
            replica->large_count--;
            store_blocked_release(replica);
        }
        break;
    case STORE_OP_LARGE:
        apply_large(op);
        replica->large_count--;
        store_blocked_release(replica);
        break;
    case STORE_OP_SEAL:
        apply_seal(op);
        break;
    case STORE_OP_DROP:
        replica->drop_op = op; // ends when the file is gone
        pawl_list_remove(&op->node);
        store_replica_drop(replica);
        return;
    case STORE_OP_PROMISE:
    case STORE_OP_CUT:
    case STORE_OP_DAMAGE:
        break;
    }
    store_op_finish(op, 0);
}

// A device that has durable writes of its own (FUA) keeps payloads in its cache whatever is written durably: hence a
// flush, which covers the batch as well.
static bool batch_flush(struct store_batch *batch)
{
    if (!batch->flushes) {
        return false;
    }
    batch->flushes = false;
    batch->io = (struct store_io_request){
        .type = STORE_IO_FLUSH,
        .fd = batch->segment->fd,
        .done = batch_written,
    };
    store_io_submit(&batch->store->io, &batch->io);
    return true;
}

static void batch_written(struct store_io_request *request, int result)
{
    struct store_batch *batch = pawl_container_of(request, struct store_batch, io);
    struct store *store = batch->store;
    struct store_journal *journal = &store->journal;
    struct pawl_list *node;

    if (result >= 0 && store->failed == 0 && batch_flush(batch)) {
        return;
    }
    journal->in_flight = false;
    if (result < 0 || store->failed != 0) {
        if (store->failed == 0) {
            store_fail(store, result, "the journal");
        }
        store_ops_finish(&batch->ops, store->failed);
        batch_reset(batch);
        return;
    }
    journal->unmarked = batch->entries_count > 0;
    journal->batch_ms = pawl_clock_ms();
    while ((node = pawl_list_first(&batch->ops)) != NULL) {
        op_apply(pawl_container_of(node, struct store_op, node), batch);
    }
    batch_reset(batch);
    if (journal->unmarked) { // a mark was no reason for anybody to gather
        store_groups_await(store);
    }
    journal_pump(store);
}

static void batch_submit(struct store *store)
{
    struct store_journal *journal = &store->journal;
    struct store_batch *batch = &journal->batches[journal->gathering];
    size_t bytes = (size_t)pawl_align_up(batch->bytes, store->block_bytes);
    struct disk_batch header = {
        .features = batch->features,
        .store_id = store->identity.store_id,
        .generation = batch->segment->generation,
        .first_lsn = batch->first_lsn,
        .oldest_generation = store_segments_oldest(store),
        .bytes = (uint32_t)batch->bytes,
        .entries_count = batch->entries_count,
    };

    pawl_assert(batch->segment == journal->active && batch->offset == batch->segment->tail);
    pawl_assert(batch->offset + bytes <= batch->segment->bytes);
    journal_batch_encode(&header);
    memcpy(batch->buffer, &header, sizeof(header));
    memset(batch->buffer + batch->bytes, 0, bytes - batch->bytes);
    batch->io = (struct store_io_request){
        .type = batch->flushes ? STORE_IO_WRITE : STORE_IO_WRITE_DURABLE,
        .fd = batch->segment->fd,
        .buffer = batch->buffer,
        .bytes = bytes,
        .offset = batch->offset,
        .done = batch_written,
    };
    batch->segment->tail += bytes;
    journal->in_flight = true;
    journal->gathering ^= 1;
    store_io_submit(&store->io, &batch->io);
    store_checkpoint_pace(store, bytes);
}

// The last batch is told from a torn one by what stands behind it: in a pause, and before the store is
// closed, a batch of no entries does that.
static void journal_mark(struct store *store)
{
    struct store_journal *journal = &store->journal;

    if (!journal->unmarked || journal->in_flight || journal->opening != NULL) {
        return;
    }
    if (!store->closing && pawl_clock_ms() - journal->batch_ms < STORE_MARK_MS) {
        return;
    }
    struct store_batch *batch = &journal->batches[journal->gathering];
    if (batch->bytes == 0 && journal->active->bytes > journal->active->tail &&
        batch_begin(store, batch, 0)) {
        batch_submit(store);
    }
    journal->unmarked = false; // no room: the next header will do
}

static void journal_pump(struct store *store)
{
    struct store_journal *journal = &store->journal;

    if (store->failed != 0) {
        return;
    }
    store_groups_step(store);
    journal_gather(store);
    if (!journal->in_flight && journal->batches[journal->gathering].bytes > 0 &&
        !store_groups_are_awaited(store)) {
        batch_submit(store);
        journal_gather(store);
    }
}

void store_journal_step(struct store *store)
{
    if (store->failed != 0) {
        return;
    }
    journal_pump(store);
    journal_mark(store);
}
