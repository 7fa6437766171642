// SPDX-License-Identifier: Apache-2.0
// Replay of the journal at start-up, oldest needed generation first, on top of what the footers say.
//
// Idempotent: entries up to the generation that a chunk's footer covers are passed over, later ones are
// applied in their order, and the last word about a record counts. Segments below the low mark (the
// oldest generation that the newest header names) are free; from there to the newest none may be missing.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/crc32c.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/journal_entry.h"
#include "dataplane/store/store_private.h"

struct replay {
    struct store *store;
    struct store_segment *segment;
    uint64_t applied_count;
    uint64_t unknown_count; // entries of chunks that are gone
    uint8_t *piece;         // of a payload that is compared; NULL: none was yet
    uint64_t unread_end;    // of the segment: behind the last block that can't be read; 0: all can
};

// Chunks that the replay deletes or replaces; recovery.c deletes their files.
static void replica_retire(struct store_replica *replica)
{
    struct store *store = replica->store;

    pawl_map_remove(&store->map, replica->handle);
    pawl_list_remove(&replica->node);
    pawl_list_push_back(&store->dropped, &replica->node);
}

static int apply_create(struct replay *replay, const struct disk_entry *entry,
                        const uint8_t *payload)
{
    struct store *store = replay->store;
    struct store_replica *old = store_replica_find(store, entry->handle);
    struct store_replica *replica;
    struct disk_create create;

    if (old != NULL && old->create_lsn >= entry->lsn) {
        return 0;
    }
    memcpy(&create, payload, sizeof(create));
    if (create.chunk_bytes == 0 || create.chunk_bytes > STORE_CHUNK_BYTES_MAX ||
        create.zero_bytes > create.chunk_bytes ||
        (create.zero_bytes != 0 && create.written_handle != 0) ||
        entry->record.length != sizeof(create) + footer_body_bytes(0, create.producers_count)) {
        pawl_log_error("chunk %" PRIx64 " create entry lsn %" PRIu64 " makes no sense",
                       entry->handle, entry->lsn);
        return PAWL_EFORMAT;
    }
    struct store_chunk chunk = {
        .handle = entry->handle,
        .version = entry->version,
        .file_id = create.file_id,
        .base_offset = create.base_offset,
        .chunk_bytes = create.chunk_bytes,
        .index = create.index,
        .producers = (const struct wire_producer *)(const void *)(payload + sizeof(create)),
        .producers_count = create.producers_count,
        .written_handle = create.written_handle,
        .zero_bytes = create.zero_bytes,
    };
    int code = store_replica_new(store, &chunk, &replica);
    if (code != 0) {
        return code;
    }
    if (old != NULL) {
        replica_retire(old);
    }
    code = pawl_map_put(&store->map, replica->handle, replica);
    if (code != 0) {
        store_replica_free(replica);
        return code;
    }
    pawl_list_push_back(&store->replicas, &replica->node);
    replica->create_lsn = entry->lsn;
    replica->created = true;
    replica->commit_count = entry->commit_count;
    store_replica_name(replica);
    store_replica_dirty(replica, replay->segment->generation);
    return 0;
}

static int apply_row(struct store_replica *replica, uint64_t index, const struct disk_record *row,
                     uint64_t place)
{
    if (replica->sealed && index >= replica->seal_count) {
        return 0;
    }
    int code = store_replica_recovered_grow(replica, index + 1);
    if (code != 0) {
        return code;
    }
    footer_row_decode(row, store_replica_recovered(replica, index));
    *store_replica_place(replica, index) = place;
    replica->queued_count = PAWL_MAX(replica->queued_count, index + 1);
    return 0;
}

// Bytes of the payloads that an entry refers to.
static uint64_t referred_bytes(const struct replay *replay, const struct disk_entry *entry,
                               size_t payload_at)
{
    uint64_t bytes = 0;

    if (!journal_entry_is_run(entry)) {
        return entry->record.length;
    }
    for (uint32_t i = 0; i < journal_run_count(entry); i++) {
        bytes += journal_run_row(replay->segment->image + payload_at, i).length;
    }
    return bytes;
}

static bool place_is_inside(const struct replay *replay, const struct store_replica *replica,
                            const struct disk_entry *entry, size_t payload_at)
{
    uint64_t place = entry->record.place;

    return place >= DISK_PAGE_BYTES && place <= replica->data_end &&
           referred_bytes(replay, entry, payload_at) <= replica->data_end - place;
}

// `place`: of the first payload.
static int apply_run(const struct replay *replay, struct store_replica *replica,
                     const struct disk_entry *entry, size_t payload_at, uint64_t place)
{
    struct disk_record row = entry->record;
    int code = 0;

    row.place = 0;
    for (uint32_t i = 0; i < journal_run_count(entry) && code == 0; i++) {
        struct disk_run_row own = journal_run_row(replay->segment->image + payload_at, i);
        row.length = own.length;
        row.crc = own.crc;
        code = apply_row(replica, entry->argument + i, &row, place);
        row.offset += own.length;
        row.sequence++;
        place += own.length;
    }
    return code;
}

static int apply_reference(const struct replay *replay, struct store_replica *replica,
                           const struct disk_entry *entry, size_t payload_at)
{
    uint64_t place = entry->record.place;

    if (!place_is_inside(replay, replica, entry, payload_at)) {
        store_replica_damage(replica, "an entry refers to a place outside of its file");
        return 0;
    }
    return journal_entry_is_run(entry) ? apply_run(replay, replica, entry, payload_at, place)
                                       : apply_row(replica, entry->argument, &entry->record, place);
}

// The footer may know of the seal while entries from before it, a cut among them, are still to come: so
// the seal only says how many rows there will be.
static void apply_seal(struct store_replica *replica, uint64_t count)
{
    store_replica_cut(replica, count);
    replica->seal_count = count;
    replica->sealed = true;
}

static int apply_entry(struct replay *replay, struct store_replica *replica,
                       const struct disk_entry *entry, size_t payload_at)
{
    store_replica_dirty(replica, replay->segment->generation);
    replica->commit_count = PAWL_MAX(replica->commit_count, entry->commit_count);
    // Nothing is queued under a version that was not promised first: each entry is as good as the promise's own, which may
    // be lost.
    replica->version = PAWL_MAX(replica->version, entry->version);
    switch (entry->type) {
    case DISK_ENTRY_RECORD:
        return apply_row(replica, entry->argument, &entry->record,
                         store_place_journal(replay->segment->index, payload_at));
    case DISK_ENTRY_RUN:
        return apply_run(replay, replica, entry, payload_at,
                         store_place_journal(replay->segment->index,
                                             payload_at + journal_run_count(entry) *
                                                              sizeof(struct disk_run_row)));
    case DISK_ENTRY_REFERENCE:
    case DISK_ENTRY_RUN_REFERENCE:
        return apply_reference(replay, replica, entry, payload_at);
    case DISK_ENTRY_SEAL:
        apply_seal(replica, entry->argument);
        return 0;
    case DISK_ENTRY_CUT:
        store_replica_cut(replica, entry->argument);
        return 0;
    case DISK_ENTRY_DAMAGE:
        replica->damaged = true;
        return 0;
    case DISK_ENTRY_DROP:
        replica_retire(replica);
        return 0;
    default: // a promise: its version was all that it said
        return 0;
    }
}

static void replay_lost(void *user, uint64_t from_lsn, uint64_t to_lsn, size_t offset)
{
    struct replay *replay = user;

    pawl_log_error("journal segment %u generation %" PRIu64 ": entries %" PRIu64 " to %" PRIu64
                   " before offset %zu are damaged and what they said is lost",
                   replay->segment->index, replay->segment->generation, from_lsn, to_lsn - 1,
                   offset);
    // A sealed chunk has nothing more to lose but its deletion, which the master repeats. Of one that was created later
    // nothing was there.
    pawl_list_for_each (node, &replay->store->replicas) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, node);
        if (!replica->sealed && replica->create_lsn < to_lsn) {
            store_replica_damage(replica, "entries of the journal that may be its are lost");
        }
    }
}

static int replay_visit(void *user, const struct disk_entry *entry, size_t payload_at, bool intact)
{
    struct replay *replay = user;
    struct store_replica *replica = store_replica_find(replay->store, entry->handle);
    uint64_t generation = replay->segment->generation;

    if (entry->type == DISK_ENTRY_CREATE && !intact) {
        replay_lost(replay, entry->lsn, entry->lsn + 1, payload_at);
        return 0;
    }
    if (entry->type == DISK_ENTRY_CREATE) {
        return apply_create(replay, entry, replay->segment->image + payload_at);
    }
    if (replica == NULL || replica->create_lsn != entry->create_lsn) {
        replay->unknown_count++;
        return 0;
    }
    if (generation <= replica->footer_generation) {
        return 0;
    }
    if (!intact) {
        pawl_log_error("chunk %" PRIx64 " record %" PRIu64
                       ", or one of the run that it begins, in journal segment %u at %zu does not "
                       "match its checksum",
                       entry->handle, entry->argument, replay->segment->index, payload_at);
    }
    replay->applied_count++;
    return apply_entry(replay, replica, entry, payload_at);
}

// What the chunk file has at `place`: 0; PAWL_ECORRUPT: it is another payload; -errno. `piece`: a page more than
// STORE_BATCH_BYTES, since a small record may begin anywhere.
static int payload_check(int fd, uint8_t *piece, uint64_t place, uint64_t length, uint32_t wanted)
{
    size_t skip = (size_t)(place % DISK_PAGE_BYTES);
    uint32_t crc = 0;
    int code = 0;

    for (uint64_t at = 0; at < length && code == 0; at += STORE_BATCH_BYTES) {
        size_t bytes = (size_t)PAWL_MIN(length - at, (uint64_t)STORE_BATCH_BYTES);
        code = store_read_whole(fd, piece, (size_t)pawl_align_up(skip + bytes, DISK_PAGE_BYTES),
                                place + at - skip);
        crc = pawl_crc32c(crc, piece + skip, bytes);
    }
    return code != 0 || crc == wanted ? code : PAWL_ECORRUPT;
}

// The same of all payloads that an entry refers to.
static int payloads_check(const struct replay *replay, int fd, const struct disk_entry *entry,
                          size_t payload_at)
{
    uint64_t place = entry->record.place;
    uint8_t *piece = replay->piece;
    int code = 0;

    if (!journal_entry_is_run(entry)) {
        code = payload_check(fd, piece, place, entry->record.length, entry->record.crc);
    }
    for (uint32_t i = 0; journal_entry_is_run(entry) && i < journal_run_count(entry) && code == 0;
         i++) {
        struct disk_run_row row = journal_run_row(replay->segment->image + payload_at, i);
        code = payload_check(fd, piece, place, row.length, row.crc);
        place += row.length;
    }
    return code;
}

static int piece_new(struct replay *replay)
{
    void *piece;
    int code =
        replay->piece != NULL ? 0 : store_aligned_new(STORE_BATCH_BYTES + DISK_PAGE_BYTES, &piece);

    if (replay->piece == NULL && code == 0) {
        replay->piece = piece;
    }
    return code;
}

// Only of the last batch: a later one would say that the flush behind this one is over. A block that the power cut
// has torn may be one that the disk can't read.
static int payload_is_there(void *user, const struct disk_entry *entry, size_t payload_at)
{
    struct replay *replay = user;
    const struct store *store = replay->store;
    const struct store_replica *replica = store_replica_find(store, entry->handle);

    if (replica == NULL || replica->create_lsn != entry->create_lsn ||
        replay->segment->generation <= replica->footer_generation ||
        !place_is_inside(replay, replica, entry, payload_at)) {
        return 1;
    }
    int fd = openat(store->chunks_fd, replica->name, O_RDONLY | store_file_flags(store));
    if (fd < 0 && errno == ENOENT) {
        return 1; // a file was taken away: the chunk will be called damaged
    }
    int code = fd < 0 ? -errno : piece_new(replay);
    if (code == 0) {
        code = payloads_check(replay, fd, entry, payload_at);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (code != 0) {
        pawl_log_warn("chunk %" PRIx64 " record %" PRIu64 " of the last batch: %s", replica->handle,
                      entry->argument, pawl_strerror(code));
    }
    if (store_code_is_rot(code) || code == PAWL_ECORRUPT) {
        return 0; // what the kernel makes of blocks that can't be read hangs on the device
    }
    return code == 0 ? 1 : code;
}

// What the disk can't give back reads as zeros: of what is in the midst the scan finds out that it is lost.
static int segment_read(struct replay *replay)
{
    const struct store_segment *segment = replay->segment;
    size_t lost_bytes;
    int code = store_read_salvage(replay->store, segment->fd, segment->image,
                                  (size_t)segment->bytes, 0, &lost_bytes, &replay->unread_end);

    if (code == 0 && lost_bytes > 0) {
        pawl_log_error(
            "journal segment %u: %zu bytes can't be read, the last of them before %" PRIu64,
            segment->index, lost_bytes, replay->unread_end);
    }
    return code;
}

// A header that is damaged: the batches still tell the generation. None: the segment is free.
static int segment_guess(struct replay *replay, struct disk_segment *header)
{
    struct store_segment *segment = replay->segment;
    struct journal_scan scan = {
        .data = segment->image,
        .bytes = (size_t)segment->bytes,
        .store_id = replay->store->identity.store_id,
    };
    struct disk_batch batch;
    int code = segment_read(replay);

    if (code != 0) {
        return code;
    }
    size_t first_at = SIZE_MAX;
    *header = (struct disk_segment){0};
    for (size_t at = DISK_PAGE_BYTES; (at = journal_batch_find(&scan, at, 0, &batch)) != SIZE_MAX;
         at += PAWL_MAX(batch.bytes, DISK_BLOCK_BYTES_MIN)) {
        if (batch.generation <= header->generation) {
            continue;
        }
        first_at = at;
        header->generation = batch.generation;
        header->first_lsn = batch.first_lsn;
        header->oldest_generation = batch.oldest_generation;
    }
    // What stood there may be all that is known of some chunks: no guess is good enough.
    if (replay->unread_end != 0 && first_at != DISK_PAGE_BYTES) {
        pawl_log_error(
            "journal segment %u: neither its header nor its first batch can be read: if "
            "that stays so, take this server's chunks from their other replicas and empty "
            "its folder",
            segment->index);
        return -EIO;
    }
    if (header->generation != 0) {
        pawl_log_error("journal segment %u: its header is damaged; by its batches it is generation "
                       "%" PRIu64,
                       segment->index, header->generation);
    }
    return 0;
}

static bool pages_are_zero(const uint8_t *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

static int header_read(struct replay *replay, struct disk_segment *header)
{
    struct store_segment *segment = replay->segment;
    size_t lost_bytes;
    uint64_t lost_end;
    int code = store_read_salvage(replay->store, segment->fd, segment->image, 2 * DISK_PAGE_BYTES,
                                  0, &lost_bytes, &lost_end);

    if (code == 0) {
        code = journal_segment_decode(segment->image, DISK_PAGE_BYTES, header);
    }
    if (code == 0 &&
        (header->store_id != replay->store->identity.store_id || header->bytes != segment->bytes)) {
        pawl_log_error("journal segment %u belongs to another store, or was truncated",
                       segment->index);
        return PAWL_EFORMAT;
    }
    if (code != -EBADMSG) {
        return code;
    }
    *header = (struct disk_segment){0};
    // Never used, if there is nothing behind the empty header either.
    bool is_new = lost_bytes == 0 && pages_are_zero(segment->image, 2 * DISK_PAGE_BYTES);
    return is_new ? 0 : segment_guess(replay, header);
}

// Learns every segment's generation; *ret_oldest: the low mark.
static int headers_read(struct replay *replay, uint64_t *ret_oldest)
{
    struct store_journal *journal = &replay->store->journal;
    uint64_t newest = 0;

    *ret_oldest = 0;
    for (uint32_t i = 0; i < journal->segments_count; i++) {
        struct disk_segment header;
        replay->segment = &journal->segments[i];
        int code = header_read(replay, &header);
        if (code != 0) {
            return code;
        }
        replay->segment->generation = header.generation;
        replay->segment->first_lsn = header.first_lsn;
        *ret_oldest = PAWL_MAX(*ret_oldest, header.oldest_generation);
        newest = PAWL_MAX(newest, header.generation);
    }
    journal->generation = newest;
    return 0;
}

static struct store_segment *segment_of(struct store *store, uint64_t generation)
{
    for (uint32_t i = 0; i < store->journal.segments_count; i++) {
        if (store->journal.segments[i].generation == generation) {
            return &store->journal.segments[i];
        }
    }
    return NULL;
}

// A batch of no entries behind the last one, whose payloads were found: so it counts as whole from now on, whatever
// becomes of their places. A hole may cut off records that it refers to.
static int mark_write(const struct replay *replay, const struct journal_scan *scan)
{
    const struct store *store = replay->store;
    const struct store_segment *segment = replay->segment;
    size_t at = (size_t)pawl_align_up(scan->end, store->block_bytes);
    struct disk_batch mark = {
        .store_id = scan->store_id,
        .generation = scan->generation,
        .first_lsn = scan->next_lsn,
        .oldest_generation = scan->oldest_generation,
        .bytes = sizeof(mark),
    };

    if (segment->bytes - at < store->block_bytes) {
        return 0; // only on a disk of larger blocks than the one that the batch was written to
    }
    journal_batch_encode(&mark);
    memset(segment->image + at, 0, store->block_bytes);
    memcpy(segment->image + at, &mark, sizeof(mark));
    ssize_t written = pwrite(segment->fd, segment->image + at, store->block_bytes, (off_t)at);
    if (written != (ssize_t)store->block_bytes) {
        return written < 0 ? -errno : -EIO;
    }
    return fdatasync(segment->fd) != 0 ? -errno : 0;
}

// A process that was killed may have left its last batch, and payloads that it refers to, in the device's cache.
static int last_batch_settle(const struct replay *replay, const struct journal_scan *scan)
{
    if (fdatasync(replay->segment->fd) != 0) {
        return -errno;
    }
    return scan->covers ? mark_write(replay, scan) : 0;
}

// Zeros behind the last batch, or in it, tell of a write that never ended; those of blocks that can't be read don't.
static bool tail_is_unread(const struct replay *replay, const struct journal_scan *scan)
{
    uint64_t torn = scan->torn_bytes > 0 ? scan->torn_bytes + DISK_BLOCK_BYTES_MIN : 0;

    return replay->unread_end != 0 && replay->unread_end + torn > scan->end;
}

static int segment_replay(struct replay *replay, uint64_t end_lsn)
{
    struct store_segment *segment = replay->segment;
    struct journal_scan scan = {
        .data = segment->image,
        .bytes = (size_t)segment->bytes,
        .store_id = replay->store->identity.store_id,
        .generation = segment->generation,
        .next_lsn = segment->first_lsn,
        .end_lsn = end_lsn,
        .user = replay,
        .visit = replay_visit,
        .is_there = payload_is_there,
        .lost = replay_lost,
    };
    int code = segment_read(replay);

    if (code == 0) {
        code = journal_scan(&scan);
    }
    if (code == 0 && end_lsn == 0 && tail_is_unread(replay, &scan)) {
        // More numbers than there can have been: whoever replays this again, before that is known elsewhere, sees that
        // some are missing, though the next segment's header or a mark stands behind them.
        uint64_t behind = scan.next_lsn + segment->bytes / sizeof(struct disk_entry);
        replay_lost(replay, scan.next_lsn, behind, (size_t)replay->unread_end);
        scan.next_lsn = behind;
    }
    if (code == 0 && end_lsn == 0) {
        code = last_batch_settle(replay, &scan);
    }
    if (code != 0) {
        pawl_log_error("journal segment %u can't be replayed: %s", segment->index,
                       pawl_strerror(code));
        return code;
    }
    if (scan.torn_bytes > 0) {
        pawl_log_warn("journal segment %u generation %" PRIu64
                      ": torn tail of %zu bytes cut at lsn "
                      "%" PRIu64,
                      segment->index, segment->generation, scan.torn_bytes, scan.next_lsn);
    }
    segment->state = STORE_SEGMENT_FULL;
    segment->tail = segment->bytes;
    replay->store->journal.next_lsn = scan.next_lsn;
    return 0;
}

static int segments_replay(struct replay *replay)
{
    struct store *store = replay->store;
    uint64_t newest = store->journal.generation;
    uint64_t oldest;
    int code = headers_read(replay, &oldest);

    if (code != 0) {
        return code;
    }
    newest = store->journal.generation;
    for (uint64_t generation = oldest; newest != 0 && generation <= newest; generation++) {
        const struct store_segment *next = segment_of(store, generation + 1);
        replay->segment = segment_of(store, generation);
        if (replay->segment == NULL) {
            pawl_log_error("journal: the segment of generation %" PRIu64 " is missing (%" PRIu64
                           " to %" PRIu64 " are needed): put it back, or take this server's chunks "
                           "from their other replicas and empty its folder",
                           generation, oldest, newest);
            return PAWL_EFORMAT;
        }
        code = segment_replay(replay, next != NULL ? next->first_lsn : 0);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

int store_replay(struct store *store)
{
    struct replay replay = {.store = store};

    store->journal.next_lsn = 1;
    int code = segments_replay(&replay);
    free(replay.piece);
    pawl_list_for_each (node, &store->replicas) {
        const struct store_replica *replica = pawl_container_of(node, struct store_replica, node);
        store->journal.next_lsn = PAWL_MAX(store->journal.next_lsn, replica->create_lsn + 1);
    }
    if (code == 0 && replay.applied_count + replay.unknown_count > 0) {
        pawl_log_info("journal replayed: %" PRIu64 " entries, %" PRIu64 " of chunks that are gone, "
                      "next lsn %" PRIu64,
                      replay.applied_count, replay.unknown_count, store->journal.next_lsn);
    }
    return code;
}
