// SPDX-License-Identifier: Apache-2.0
// Checkpoint: makes the oldest segment of the journal free.
//
// Each chunk that has entries in it gets its records of that segment written into its file, in packed runs
// out of the segment's image, and a new footer that covers every entry of the chunk up to that generation. Order per chunk: runs and footer rows, one flush, footer header (durable
// by itself). Only then do the new places take effect. A footer may have rows that are not there yet
// (place 0): their entries are in later generations.
//
// Records wait for the same disk, so a checkpoint keeps the journal's pace: STORE_PACE bytes are
// written for each byte that the journal takes. A segment is written once, footers come on top: so
// it is free again when little more than a quarter of another one has been filled. Nothing waits when the journal
// has nothing to do, or no free segment.
//
// A deleted chunk has its turn too: its segment is free only once its file's deletion, or its new name as
// a spare, is durable, or the file would come back without the entry that deletes it.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/crc32c.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/store_private.h"

static struct pawl_log_limit rot_limit; // a bad memory may hold thousands of records

void store_checkpoint_open(struct store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;

    checkpoint->store = store;
    for (uint32_t i = 0; i < STORE_WRITE_BACKS; i++) {
        checkpoint->write_backs[i].checkpoint = checkpoint;
    }
}

static bool write_backs_are_idle(const struct store_checkpoint *checkpoint)
{
    for (uint32_t i = 0; i < STORE_WRITE_BACKS; i++) {
        if (checkpoint->write_backs[i].replica != NULL) {
            return false;
        }
    }
    return true;
}

bool store_checkpoint_is_idle(const struct store *store)
{
    return store->checkpoint.segment == NULL ||
           (store->failed != 0 && write_backs_are_idle(&store->checkpoint));
}

void store_checkpoint_pace(struct store *store, size_t journal_bytes)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;
    int64_t budget = checkpoint->budget_bytes + STORE_PACE * (int64_t)journal_bytes;

    checkpoint->budget_bytes = PAWL_MIN(budget, (int64_t)STORE_RUN_BYTES);
}

static bool pace_allows(const struct store *store)
{
    return store->checkpoint.budget_bytes > 0 || store->closing || store->failed != 0 ||
           store_segments_free_count(store) == 0 || store_journal_is_idle(store);
}

// True: the write-back goes on with `resume` later.
static bool pace_holds(struct store_write_back *back, void (*resume)(struct store_write_back *back))
{
    bool holds = !pace_allows(back->replica->store);

    back->resume = holds ? resume : NULL;
    return holds;
}

static bool record_is_here(const struct store_write_back *back, uint64_t i)
{
    uint64_t place = *store_replica_place(back->replica, i);

    return store_place_is_journal(place) &&
           store_place_segment(place) == back->checkpoint->segment->index;
}

static void write_back_end(struct store_write_back *back, int code, const char *what)
{
    struct store_replica *replica = back->replica;
    struct store *store = replica->store;

    back->replica = NULL;
    back->checkpoint->drained = false;
    replica->writing_back = false;
    if (code != 0 && store->failed == 0) {
        store_fail(store, code, what);
    }
    store_replica_let_go(replica);
}

// After each request of a write-back: true if it is over, because the request failed or the store has.
static bool write_back_is_over(struct store_write_back *back, int result, const char *what)
{
    if (result >= 0 && back->replica->store->failed == 0) {
        return false;
    }
    store_file_release(back->replica);
    write_back_end(back, result < 0 ? result : -EIO, what);
    return true;
}

static void rest_punched(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);
    struct store_replica *replica = back->replica;

    if (result < 0) {
        pawl_log_warn("chunk %" PRIx64 " file %s keeps blocks that it does not need: %s",
                      replica->handle, replica->name, pawl_strerror(result));
    }
    store_file_release(replica);
    if (!replica->dropped) {
        store_replica_space(replica, replica->space_bytes, 0);
    }
    write_back_end(back, 0, "");
}

// A sealed chunk grows no more: what its recycled file has behind the last record is given back.
static void rest_punch(struct store_write_back *back)
{
    struct store_replica *replica = back->replica;

    back->io = (struct store_io_request){
        .type = STORE_IO_PUNCH,
        .fd = replica->fd,
        .bytes = (size_t)(replica->data_end - replica->tail),
        .offset = replica->tail,
        .done = rest_punched,
    };
    store_io_submit(&replica->store->io, &back->io);
}

static bool file_has_rest(const struct store_replica *replica)
{
    return replica->sealed && !replica->dropped && !replica->damaged &&
           replica->dirty_generation == 0 &&
           replica->held_bytes > replica->space_bytes + STORE_UNUSED_BYTES &&
           replica->data_end > replica->tail;
}

// The footer is on disk: the new places take effect.
static void footer_written(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);
    struct store_replica *replica = back->replica;
    uint64_t generation = back->checkpoint->segment->generation;
    uint64_t place = back->first_place;

    if (write_back_is_over(back, result, "a footer")) {
        return;
    }
    for (uint64_t i = 0; i < back->end; i++) {
        if (!record_is_here(back, i)) {
            continue;
        }
        *store_replica_place(replica, i) = place;
        place += pawl_records_length(&replica->records, i);
    }
    replica->footer_sequence++;
    if (!replica->dropped) {
        replica->dirty_generation = replica->last_generation > generation ? generation + 1 : 0;
    }
    if (file_has_rest(replica)) {
        rest_punch(back);
        return;
    }
    store_file_release(replica);
    write_back_end(back, 0, "");
}

static void rows_flushed(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);
    struct store_replica *replica = back->replica;

    if (write_back_is_over(back, result, "the flush of a chunk file")) {
        return;
    }
    footer_encode(&back->footer);
    memset(back->header, 0, DISK_PAGE_BYTES);
    memcpy(back->header, &back->footer, sizeof(back->footer));
    back->io = (struct store_io_request){
        .type = STORE_IO_WRITE_DURABLE,
        .fd = replica->fd,
        .buffer = back->header,
        .bytes = DISK_PAGE_BYTES,
        .offset = store_file_footer_place(replica, replica->footer_sequence + 1),
        .done = footer_written,
    };
    store_io_submit(&replica->store->io, &back->io);
}

static void rows_flush(struct store_write_back *back)
{
    struct store_replica *replica = back->replica;

    back->io = (struct store_io_request){
        .type = STORE_IO_FLUSH,
        .fd = replica->fd,
        .done = rows_flushed,
    };
    store_io_submit(&replica->store->io, &back->io);
}

static void footer_begin(struct store_write_back *back)
{
    const struct store_replica *replica = back->replica;

    back->row = 0;
    back->row_place = back->first_place;
    back->footer = (struct disk_footer){
        .flags = (uint16_t)((replica->sealed ? DISK_FOOTER_SEALED : 0) |
                            (replica->damaged ? DISK_FOOTER_DAMAGED : 0) |
                            (replica->zero_bytes != 0 ? DISK_FOOTER_ZERO : 0)),
        .store_id = replica->store->identity.store_id,
        .handle = replica->handle,
        .create_lsn = replica->create_lsn,
        .sequence = replica->footer_sequence + 1,
        .generation = back->checkpoint->segment->generation,
        .version = replica->version,
        .file_id = replica->file_id,
        .base_offset = replica->base_offset,
        .chunk_bytes = replica->chunk_bytes,
        .commit_count = replica->commit_count,
        .records_count = replica->queued_count,
        .index = replica->index,
        .producers_count = replica->producers_count,
        .subject = replica->zero_bytes != 0 ? replica->zero_bytes : replica->written_handle,
    };
}

// A row as it will be once this write-back is over. What is in later generations stays out.
static void row_make(struct store_write_back *back, struct disk_record *row)
{
    const struct store_replica *replica = back->replica;
    uint64_t at = *store_replica_place(replica, back->row);

    if (back->row < back->end && record_is_here(back, back->row)) {
        at = back->row_place;
        back->row_place += pawl_records_length(&replica->records, back->row);
    } else if (store_place_is_journal(at)) {
        at = 0;
    }
    if (at != 0) {
        footer_row_encode(row, &replica->records, back->row, at);
    } else {
        *row = (struct disk_record){0};
    }
}

// Makes rows of records, and behind them those of producers, until the run is full.
static void rows_take(struct store_write_back *back)
{
    _Static_assert(sizeof(struct disk_record) == sizeof(struct wire_producer), "rows of one size");
    _Static_assert(STORE_RUN_ROWS * sizeof(struct disk_record) <= STORE_RUN_BYTES, "a run of rows");
    const struct store_replica *replica = back->replica;
    struct disk_footer *footer = &back->footer;
    struct disk_record *rows = (struct disk_record *)(void *)back->run;
    uint64_t rows_count = footer->records_count + footer->producers_count;
    uint64_t first = back->row;

    uint64_t end = PAWL_MIN(rows_count, first + STORE_RUN_ROWS);
    uint64_t records_end = PAWL_MAX(first, PAWL_MIN(end, footer->records_count));

    for (; back->row < records_end; back->row++) {
        row_make(back, &rows[back->row - first]);
    }
    for (; back->row < end; back->row++) {
        memcpy(&rows[back->row - first], &replica->producers[back->row - footer->records_count],
               sizeof(*rows));
    }
    size_t records_bytes = (size_t)(records_end - first) * sizeof(*rows);
    back->run_bytes = (size_t)(end - first) * sizeof(*rows);
    footer->records_crc = pawl_crc32c(footer->records_crc, back->run, records_bytes);
    footer->producers_crc = pawl_crc32c(footer->producers_crc, back->run + records_bytes,
                                        back->run_bytes - records_bytes);
}

static void rows_write(struct store_write_back *back);

static void rows_written(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);

    if (!write_back_is_over(back, result, "a footer's rows")) {
        rows_write(back);
    }
}

// A run of rows at a time: a reactor that makes those of a whole chunk at once stands still for it.
static void rows_write(struct store_write_back *back)
{
    struct store_replica *replica = back->replica;
    uint64_t first = back->row;

    if (pace_holds(back, rows_write)) {
        return;
    }
    if (replica->queued_count < back->footer.records_count) { // cut by a seal meanwhile
        footer_begin(back);
        first = 0;
    }
    rows_take(back);
    if (back->run_bytes == 0) {
        rows_flush(back);
        return;
    }
    size_t bytes = (size_t)pawl_align_up(back->run_bytes, DISK_PAGE_BYTES);
    back->checkpoint->budget_bytes -= (int64_t)bytes;
    memset(back->run + back->run_bytes, 0, bytes - back->run_bytes);
    back->io = (struct store_io_request){
        .type = STORE_IO_WRITE,
        .fd = replica->fd,
        .buffer = back->run,
        .bytes = bytes,
        .offset = store_file_footer_place(replica, back->footer.sequence) + DISK_PAGE_BYTES +
                  first * sizeof(struct disk_record),
        .done = rows_written,
    };
    store_io_submit(&replica->store->io, &back->io);
}

// Copies the next record's bytes into the run as far as they fit. A payload that doesn't match its
// checksum is moved as it is: reads of it will fail as they do now.
static void run_take(struct store_write_back *back)
{
    const struct store_replica *replica = back->replica;
    uint32_t length = pawl_records_length(&replica->records, back->next);
    const uint8_t *payload = back->checkpoint->segment->image +
                             store_place_offset(*store_replica_place(replica, back->next));
    size_t bytes =
        (size_t)PAWL_MIN(length - back->next_at, (uint64_t)STORE_RUN_BYTES - back->run_bytes);

    if (back->next_at == 0 &&
        pawl_crc32c(0, payload, length) != pawl_records_crc(&replica->records, back->next)) {
        pawl_log_limited(&rot_limit, PAWL_LOG_ERROR,
                         "chunk %" PRIx64 " record %" PRIu64
                         " in the journal does not match its checksum",
                         replica->handle, back->next);
    }
    memcpy(back->run + back->run_bytes, payload + back->next_at, bytes);
    replica->store->counters.written_back_bytes += bytes;
    back->run_bytes += bytes;
    back->next_at += bytes;
    if (back->next_at == length) {
        back->next++;
        back->next_at = 0;
    }
}

static void run_written(struct store_io_request *request, int result);

static void run_write(struct store_write_back *back)
{
    struct store_replica *replica = back->replica;

    if (pace_holds(back, run_write)) {
        return;
    }
    back->run_bytes = 0;
    while (back->next < back->end && back->run_bytes < STORE_RUN_BYTES) {
        if (record_is_here(back, back->next)) {
            run_take(back);
        } else {
            back->next++;
        }
    }
    if (back->run_bytes == 0) {
        footer_begin(back);
        rows_write(back);
        return;
    }
    size_t bytes = (size_t)pawl_align_up(back->run_bytes, DISK_PAGE_BYTES);
    back->checkpoint->budget_bytes -= (int64_t)bytes;
    memset(back->run + back->run_bytes, 0, bytes - back->run_bytes);
    back->io = (struct store_io_request){
        .type = STORE_IO_WRITE,
        .fd = replica->fd,
        .buffer = back->run,
        .bytes = bytes,
        .offset = back->run_place,
        .done = run_written,
    };
    back->run_place += back->run_bytes; // a whole number of pages, but for the last run
    store_io_submit(&replica->store->io, &back->io);
}

static void run_written(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);

    if (!write_back_is_over(back, result, "a chunk file")) {
        run_write(back);
    }
}

// Takes the place of all runs at once, so that large records go on behind it.
static void write_back_ready(struct store_waiter *waiter, int code)
{
    struct store_write_back *back = pawl_container_of(waiter, struct store_write_back, waiter);
    struct store_replica *replica = back->replica;
    uint64_t bytes = 0;

    if (code != 0) {
        write_back_end(back, code, "opening a chunk file");
        return;
    }
    back->end = replica->queued_count;
    for (uint64_t i = 0; i < back->end; i++) {
        bytes += record_is_here(back, i) ? pawl_records_length(&replica->records, i) : 0;
    }
    bytes = pawl_align_up(bytes, DISK_PAGE_BYTES);
    bool fits = bytes <= replica->data_end - replica->tail;
    if (write_back_is_over(back, fits ? 0 : -EFBIG, "a chunk file's data area")) {
        return;
    }
    back->first_place = replica->tail;
    back->run_place = replica->tail;
    back->next = 0;
    back->next_at = 0;
    replica->tail += bytes;
    run_write(back);
}

static void deletion_synced(struct store_io_request *request, int result)
{
    struct store_write_back *back = pawl_container_of(request, struct store_write_back, io);

    if (result == 0) {
        back->replica->dirty_generation = 0;
    }
    write_back_end(back, result, "the folder of chunk files");
}

// A chunk with few bytes would only hold another one's blocks, or give them back if it gets no more.
static enum store_file_how file_how(const struct store_replica *replica)
{
    uint64_t part = replica->chunk_bytes / STORE_SPARE_WORTH;
    uint64_t wanted = replica->sealed ? replica->chunk_bytes - part : part;
    bool is_worth_it = pawl_records_bytes(&replica->records, replica->queued_count) >= wanted;

    return is_worth_it ? STORE_FILE_RECYCLE : STORE_FILE_CREATE;
}

static void write_back_begin(struct store_write_back *back, struct store_replica *replica)
{
    struct store *store = replica->store;

    back->replica = replica;
    replica->writing_back = true;
    if (!replica->dropped) {
        back->waiter.ready = write_back_ready;
        store_file_acquire(replica, &back->waiter, file_how(replica));
        return;
    }
    back->io = (struct store_io_request){
        .type = STORE_IO_SYNC,
        .fd = store->chunks_fd,
        .done = deletion_synced,
    };
    store_io_submit(&store->io, &back->io);
}

// The next chunk with entries in the segment; *ret_waits: there is one, but its file is being deleted.
static struct store_replica *write_back_candidate(struct pawl_list *replicas, uint64_t generation,
                                                  bool *ret_waits)
{
    pawl_list_for_each (node, replicas) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, node);
        if (replica->dirty_generation == 0 || replica->dirty_generation > generation ||
            replica->writing_back) {
            continue;
        }
        if (!replica->dropped || replica->unlinked) {
            return replica;
        }
        *ret_waits = true;
    }
    return NULL;
}

static void write_backs_fill(struct store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;
    uint64_t generation = checkpoint->segment->generation;

    for (uint32_t i = 0; i < STORE_WRITE_BACKS && !checkpoint->drained; i++) {
        struct store_write_back *back = &checkpoint->write_backs[i];
        bool waits = false;
        if (back->replica != NULL) {
            continue;
        }
        struct store_replica *replica = write_back_candidate(&store->replicas, generation, &waits);
        if (replica == NULL) {
            replica = write_back_candidate(&store->dropped, generation, &waits);
        }
        if (replica != NULL) {
            write_back_begin(back, replica);
        } else {
            checkpoint->drained = !waits;
        }
        if (store->failed != 0 || replica == NULL) {
            return;
        }
    }
}

static void checkpoint_begin(struct store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;
    struct store_segment *segment = store_segments_oldest_full(store);

    if (segment == NULL || 2 * store_segments_free_count(store) >= store->journal.segments_count) {
        return;
    }
    checkpoint->segment = segment;
    checkpoint->drained = false;
}

// Goes on with what the pace has held up.
static void checkpoint_resume(struct store_checkpoint *checkpoint)
{
    if (!pace_allows(checkpoint->store)) {
        return;
    }
    for (uint32_t i = 0; i < STORE_WRITE_BACKS; i++) {
        struct store_write_back *back = &checkpoint->write_backs[i];
        void (*resume)(struct store_write_back *) = back->resume;
        back->resume = NULL;
        if (resume != NULL && !write_back_is_over(back, 0, "")) {
            resume(back);
        }
    }
}

bool store_checkpoint_step(struct store *store)
{
    struct store_checkpoint *checkpoint = &store->checkpoint;

    if (checkpoint->segment != NULL) {
        checkpoint_resume(checkpoint);
    }
    if (store->failed != 0) {
        return false;
    }
    if (checkpoint->segment == NULL) {
        checkpoint_begin(store);
    }
    if (checkpoint->segment == NULL) {
        return false;
    }
    write_backs_fill(store);
    if (store->failed != 0 || !checkpoint->drained || !write_backs_are_idle(checkpoint) ||
        checkpoint->segment->readers > 0) {
        return false;
    }
    pawl_log_debug("journal segment %u of generation %" PRIu64 " is free",
                   checkpoint->segment->index, checkpoint->segment->generation);
    checkpoint->segment->state = STORE_SEGMENT_FREE;
    checkpoint->segment = NULL;
    return true;
}
