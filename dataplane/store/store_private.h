// SPDX-License-Identifier: Apache-2.0
// Inside of the store: its objects and who calls whom.
//
//   store.c       open, close, poll, what it says about itself
//   queue.c       mutating calls: checks, order, space, completions
//   replica.c     a chunk in memory: its table, its life
//   journal.c     gathers queued operations into batches, writes them, applies what is durable
//   segment.c     the journal's files
//   file.c        chunk files: opening, large records, deleting
//   group.c       small records that are written in their place, not to the journal
//   cover.c       what the journal's flush makes durable of them
//   spare.c       files of deleted chunks that new ones get
//   checkpoint.c  frees the oldest segment: writes its records back, and footers
//   read.c        reads
//   recovery.c    chunk files at start-up; replay.c: the journal on top
//
// Life of a small record: queue.c puts an operation on `waiting`; journal.c encodes it into the
// gathering batch and applies it when the batch is on disk; checkpoint.c moves it to the chunk file. Where many queue up,
// group.c writes them to the chunk file first, and they go on as large ones do.
// Life of a large one: file.c writes it, flushes the file where the journal's flush won't do, and puts it on
// `waiting`: the rest is the same, but that the entry only refers to it.
#ifndef PAWL_DATAPLANE_STORE_PRIVATE_H
#define PAWL_DATAPLANE_STORE_PRIVATE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/paged.h"
#include "dataplane/store/io.h"
#include "dataplane/store/store.h"
#include "proto/disk.h"

#define STORE_BATCH_BYTES (1u << 20)
#define STORE_SEGMENTS_MAX 256u
#define STORE_SEGMENT_BYTES_MIN (64u << 10)
#define STORE_SEGMENT_BYTES_MAX (1u << 30)
#define STORE_INLINE_MAX_BYTES (64u << 10)
#define STORE_CHUNK_BYTES_MAX (UINT64_C(64) << 30)
#define STORE_WRITE_BACKS 4u
#define STORE_GROUPS 4u
#define STORE_GROUP_BYTES (128u << 10)
#define STORE_HUGE_BYTES (2u << 20)
// Of the write-back, in one request: the journal's next write waits for as long as the disk takes for it.
#define STORE_RUN_BYTES (128u << 10)
#define STORE_PACE 4 // bytes of a checkpoint for each byte of the journal
#define STORE_RUN_ROWS                                                                             \
    2048u // of a footer: what a reactor makes at once takes less than half a millisecond
#define STORE_READ_RECORDS 1024u
#define STORE_READ_EXTENTS 64u
#define STORE_READ_LARGE_BYTES (256u << 10) // reads of more than that have their turn at the disk
#define STORE_LARGE_FILES 16u               // that are remembered
// Of a chunk's bytes one in so many has blocks, in a file that is used again.
#define STORE_SPARE_WORTH 4u
#define STORE_UNUSED_BYTES (256u << 10) // of a file's blocks: fewer are not worth giving back
#define STORE_MARK_MS 20u   // the journal's last batch is confirmed after so long a pause
#define STORE_SCARCE_MS 10u // so long it waits before it asks for a descriptor again

// Where a payload lies: 0 nowhere (yet); top bit clear: offset in the chunk file; set: in the journal.
#define STORE_PLACE_JOURNAL (UINT64_C(1) << 63)

static inline uint64_t store_place_journal(uint32_t segment, uint64_t offset)
{
    return STORE_PLACE_JOURNAL | (uint64_t)segment << 32 | offset;
}

static inline bool store_place_is_journal(uint64_t place)
{
    return (place & STORE_PLACE_JOURNAL) != 0;
}

static inline uint32_t store_place_segment(uint64_t place)
{
    return (uint32_t)(place >> 32) & 0x7fffffffu;
}

static inline uint64_t store_place_offset(uint64_t place)
{
    return store_place_is_journal(place) ? (uint32_t)place : place;
}

// Somebody who waits for a chunk file to be open. `ready` may be called at once.
struct store_waiter {
    struct pawl_list node;
    void (*ready)(struct store_waiter *waiter, int code);
    bool impatient; // would rather hear that there is no descriptor than wait for one
};

enum store_op_type {
    STORE_OP_CREATE = 1,
    STORE_OP_RECORD,
    STORE_OP_LARGE,
    STORE_OP_PROMISE,
    STORE_OP_SEAL,
    STORE_OP_DROP,
    STORE_OP_CUT,
    STORE_OP_DAMAGE,
};

// A mutation, from its call to its completion. In one list at a time.
struct store_op {
    struct pawl_list node;
    enum store_op_type type;
    bool silent; // the store's own: no completion
    uint64_t token;
    struct store_replica *replica;
    struct store_replica *replaces; // create: the empty chunk that goes
    uint64_t argument;              // record index or count
    uint32_t count; // records from that index on; their payloads lie behind each other
    uint64_t version;
    uint64_t commit_count;
    const void *payload; // BORROWS UNTIL the completion
    uint64_t place;      // in the chunk file; 0: the payload is in the entry
    size_t batch_at;     // record: of its first entry in the batch
    bool covered;        // its payload is durable with the journal's flush, and no sooner
    void *bounce;        // large record whose payload is not aligned
    struct store_waiter waiter;
    struct store_io_request io;
};

enum store_file_state { STORE_FILE_CLOSED = 0, STORE_FILE_OPENING, STORE_FILE_OPEN };

// What to do where a chunk has no file yet.
enum store_file_how { STORE_FILE_EXISTING = 0, STORE_FILE_CREATE, STORE_FILE_RECYCLE };

// A file that a deleted chunk has left. In store->spares, but while a chunk is taking it.
struct store_spare {
    struct pawl_list node;
    struct store *store;
    struct store_replica *replica; // whose it still is
    uint64_t number;
    uint64_t file_bytes;
    uint64_t counted_bytes; // of its blocks, in store->spares_bytes
    unsigned zeroed_count;  // of its footers
    int fd;                 // locked
    bool ready;
    bool leaving; // given up
    char name[32];
    struct store_io_request io;
};

// A chunk.
struct store_replica {
    struct store *store;
    struct pawl_list node; // store->replicas or store->dropped
    uint64_t handle;
    uint64_t create_lsn; // 0: its create entry is not in a batch yet
    uint64_t version;
    uint64_t file_id;
    uint64_t base_offset;
    uint64_t chunk_bytes;
    uint64_t written_handle;
    uint64_t zero_bytes;
    uint32_t index;
    uint32_t producers_count;
    bool created; // durably
    bool sealed;
    bool damaged;
    uint64_t commit_count;
    struct wire_producer *producers;

    // The table. [0, durable_count) is what a crash would leave; places of later ones may be set.
    struct pawl_records records; // as many as are queued; while the store is opened: none
    struct pawl_paged places;    // of uint64_t; 0: none yet
    uint64_t queued_count;
    uint64_t durable_count;

    // As queued: what the calls so far will have made of it.
    bool seal_queued;
    bool drop_queued;
    uint32_t ops_count;
    uint32_t large_count;     // on the way to the journal, those of groups as well
    struct pawl_list blocked; // operations that wait for those, and everything behind them

    // Journal. Entries of generations >= dirty_generation are not in the footer; 0: none.
    uint64_t dirty_generation;
    uint64_t last_generation;

    // File.
    char name[40];
    enum store_file_state file_state;
    bool file_exists; // its name is durable
    int fd;
    uint32_t file_uses;
    uint64_t tail;     // where the next bytes go; whole pages
    uint64_t data_end; // bytes of the file's data area
    struct pawl_list lru;
    struct pawl_list file_waiters;
    struct pawl_list gathers;   // in store->groups.gathering: it has some
    struct pawl_list gathering; // small records that may be a group
    size_t gathering_bytes;
    uint32_t groups_count;      // that are being written
    struct pawl_list scarce;    // in store->files_scarce: the process has no descriptor for it
    struct pawl_list unflushed; // large records that are written
    struct pawl_list flushing;
    struct store_io_request file_io;
    struct store_io_request flush_io;
    uint64_t footer_sequence;
    struct store_spare *spare; // that becomes its file
    struct store_waiter ahead; // for the file that is made before it is needed
    bool making_file;

    // Recovery only.
    struct pawl_paged
        recovered; // of struct pawl_record: they come in any order, and become `records` at the end
    uint64_t footer_generation; // what the footer covers
    bool damage_found;          // now, and not yet written down
    uint64_t seal_count;        // sealed: rows of the table, also while some are still to come
    uint64_t met_bytes;         // of its file's blocks

    bool unsound; // a read found bytes that were not what was written
    bool writing_back;
    bool dropped;
    bool unlinked;
    struct store_op *drop_op;
    uint32_t uses; // reads under way
    uint64_t space_bytes;
    uint64_t held_bytes; // of a recycled file's blocks, used or not yet
    bool overwrites;     // its file is a recycled one: it has blocks
    uint64_t
        covered_end; // of its file: what is written up to there lasts once the journal is flushed
};

enum store_segment_state { STORE_SEGMENT_FREE = 0, STORE_SEGMENT_ACTIVE, STORE_SEGMENT_FULL };

struct store_segment {
    int fd;
    uint32_t index;
    enum store_segment_state state;
    uint64_t bytes;
    uint64_t generation;
    uint64_t first_lsn;
    uint64_t tail;    // of what is written or in flight
    uint32_t readers; // records that reads under way will copy from its image
    uint8_t *image;   // its bytes in memory, `bytes` of them; while it is free, anything
};

struct store_batch {
    uint8_t *buffer; // its place in the segment's image
    size_t limit;
    size_t bytes;      // 0: not begun
    uint32_t features; // that its entries need
    bool flushes;      // its entries need more than to be durable themselves
    uint32_t entries_count;
    uint64_t first_lsn;
    struct store_segment *segment;
    uint64_t offset;
    struct pawl_list ops;
    struct store *store;
    struct store_io_request io;
};

struct store_journal {
    struct store_segment *segments; // by index
    uint32_t segments_count;
    void *images; // of all segments
    size_t images_bytes;
    struct store_segment *active; // NULL: the next entry opens a segment
    struct store_segment *opening;
    void *header; // a page; its memory is the store's
    struct store_io_request header_io;
    uint64_t generation; // highest given out
    uint64_t next_lsn;
    struct store_batch batches[2];
    unsigned gathering; // the other one may be in flight
    bool in_flight;
    bool unmarked;     // the last batch has nothing behind it
    bool write_covers; // its durable writes flush the device's cache
    uint64_t batch_ms;
    struct pawl_list waiting;
};

// Small records on their way to their chunk file.
struct store_group {
    struct store *store;
    struct store_replica *replica; // NULL: idle
    struct pawl_list ops;
    struct store_io_request io;
    bool awaited;    // the journal's next batch is to have its entries
    uint8_t *buffer; // STORE_GROUP_BYTES; its memory is the store's
};

struct store_groups {
    struct pawl_list gathering; // replicas
    struct store_group flying[STORE_GROUPS];
};

struct store_write_back {
    struct store_checkpoint *checkpoint;
    struct store_replica *replica; // NULL: idle
    struct store_waiter waiter;
    struct store_io_request io;
    void (*resume)(struct store_write_back *back); // what the pace holds up; NULL: nothing
    uint8_t *run; // STORE_RUN_BYTES: records, then rows of the footer; its memory is the store's
    size_t run_bytes;
    uint64_t run_place;
    uint64_t next; // record to look at
    uint64_t next_at;
    uint64_t end;
    uint64_t first_place;      // of the first byte that is written
    struct disk_footer footer; // of the replica as it was when its first rows were made
    uint8_t *header;           // a page, the same
    uint64_t row;              // the next one to be made
    uint64_t row_place;        // of its record, if that is one that was written back
};

struct store_checkpoint {
    struct store *store;
    struct store_segment *segment; // NULL: nothing to do
    bool drained;                  // no replica is left to write back
    int64_t budget_bytes;          // that may be written until the journal has gone on
    struct store_write_back write_backs[STORE_WRITE_BACKS];
};

struct store {
    int dir_fd;
    int journal_fd;
    int chunks_fd;
    int damaged_fd;
    bool direct;
    uint32_t block_bytes;
    uint32_t inline_max_bytes;
    uint32_t group_bytes_min;
    uint64_t space_limit_bytes;
    struct disk_identity identity;
    int failed;
    bool serving; // open, and not being closed
    bool closing;
    struct store_io io;
    void *
        pages; // that the store fills and writes, beside the images, in one piece: one registered buffer
    size_t pages_bytes;
    const uint8_t *zeros; // one of them
    struct store_journal journal;
    struct store_groups groups;
    struct store_checkpoint checkpoint;
    struct pawl_map map;            // handle > replica
    struct pawl_list replicas;      // all in the map
    struct pawl_list dropped;       // deleted, not forgotten yet
    struct pawl_list reads_waiting; // large ones, for their turn at the disk
    uint64_t reads_waiting_bytes;
    uint64_t reads_flying_bytes;   // of large ones that are there
    struct pawl_list files_open;   // least recently used first
    struct pawl_list files_scarce; // replicas whose file is to be opened later
    uint64_t files_scarce_ms;      // when that was tried
    struct pawl_list spares;       // oldest first
    uint64_t
        large_files[STORE_LARGE_FILES]; // ids of files that large records or groups came to; a ring
    uint32_t large_files_next;
    uint32_t spares_count;
    uint64_t spares_next;  // number
    uint64_t spares_bytes; // of their blocks
    uint64_t spares_leaving_bytes;
    uint32_t files_count;
    uint32_t files_max;
    uint32_t stores_count;          // on this file system, this one included
    uint32_t ops_count;             // mutations and reads not completed yet
    struct store_completion *ready; // a ring
    uint32_t ready_first;
    uint32_t ready_count;
    uint32_t ready_capacity;
    uint64_t chunks_space_bytes;
    uint64_t unused_bytes;  // blocks of recycled files that their chunks don't use yet
    uint64_t fs_free_bytes; // as of the last look
    uint64_t fs_reserve_bytes;
    uint64_t fs_since_bytes; // written since
    struct store_counters counters;
    char describe[160];
};

// store.c
void store_fail(struct store *store, int code, const char *what);

// There is too little of something that the process or the machine shares: no word about the disk.
static inline bool store_code_is_scarce(int code)
{
    return code == -EMFILE || code == -ENFILE || code == -ENOMEM || code == -ENOLCK;
}

// The disk can't give back what was written there.
static inline bool store_code_is_medium(int code)
{
    return code == -EIO || code == -ENODATA || code == -EILSEQ || code == -EREMOTEIO;
}

// Neither can the file system, which finds its own notes of the file damaged.
static inline bool store_code_is_rot(int code)
{
    return store_code_is_medium(code) || code == -EUCLEAN || code == -EBADMSG;
}

int store_file_lock(int fd) PAWL_MUST_CHECK;
// A page-aligned buffer of zeros.
int store_aligned_new(size_t bytes, void **ret) PAWL_MUST_CHECK;
// A large one of whatever was there. It is not touched: a reactor that takes thousands of page faults at
// once stands still for them.
int store_huge_new(size_t bytes, void **ret) PAWL_MUST_CHECK;

// queue.c
int store_ready_reserve(struct store *store) PAWL_MUST_CHECK;
void store_ready_push(struct store *store, const struct store_completion *completion);
void store_op_finish(struct store_op *op, int code);
void store_ops_finish(struct pawl_list *ops, int code);
void store_op_launch(struct store_op *op);
void store_blocked_release(struct store_replica *replica);
int store_op_queue_silent(struct store_replica *replica, enum store_op_type type,
                          uint64_t argument) PAWL_MUST_CHECK;
void store_space_refresh(struct store *store);
// Whether spares, and so many bytes more, are within their share of what is free.
bool store_space_allows_spares(const struct store *store, uint64_t more_bytes);

// identity.c
int store_identity_load(struct store *store) PAWL_MUST_CHECK;

// replica.c
int store_replica_new(struct store *store, const struct store_chunk *chunk,
                      struct store_replica **ret) PAWL_MUST_CHECK;
struct store_replica *store_replica_find(const struct store *store, uint64_t handle);
// Room for a run of `count` records more. -ENOMEM: the table is still sound.
int store_replica_grow(struct store_replica *replica, uint32_t count) PAWL_MUST_CHECK;
// Room for recovered records up to `count`.
int store_replica_recovered_grow(struct store_replica *replica, uint64_t count) PAWL_MUST_CHECK;

static inline struct pawl_record *store_replica_recovered(const struct store_replica *replica,
                                                          uint64_t index)
{
    return pawl_paged_at(&replica->recovered, index, sizeof(struct pawl_record));
}

static inline uint64_t *store_replica_place(const struct store_replica *replica, uint64_t index)
{
    return pawl_paged_at(&replica->places, index, sizeof(uint64_t));
}

void store_replica_advance(struct store_replica *replica);
void store_replica_cut(struct store_replica *replica, uint64_t count);
void store_replica_dirty(struct store_replica *replica, uint64_t generation);
void store_replica_name(struct store_replica *replica);
void store_replica_space(struct store_replica *replica, uint64_t space_bytes, uint64_t held_bytes);
void store_replica_account(struct store_replica *replica);
// Takes it off the map's list; it is freed once nothing refers to it.
void store_replica_drop(struct store_replica *replica);
void store_replica_release(struct store_replica *replica);
// Somebody who held up the end of a deleted chunk's file is done with it.
void store_replica_let_go(struct store_replica *replica);
void store_replica_free(struct store_replica *replica);
void store_replica_view(const struct store_replica *replica, struct store_chunk *ret);

// segment.c
int store_segments_open(struct store *store, const struct store_options *options) PAWL_MUST_CHECK;
void store_segments_close(struct store *store);
uint64_t store_segments_oldest(const struct store *store);
struct store_segment *store_segments_next_free(struct store *store);
struct store_segment *store_segments_oldest_full(struct store *store);
uint32_t store_segments_free_count(const struct store *store);
uint64_t store_segments_bytes(const struct store *store);
uint64_t store_segments_held(const struct store *store);

// journal.c
void store_journal_open(struct store *store);
void store_journal_step(struct store *store);
// Of what a record's operation appends.
size_t store_op_records_bytes(const struct store_op *op);
size_t store_journal_op_bytes(const struct store_op *op);
size_t store_journal_room_bytes(const struct store *store);
void store_journal_fail(struct store *store, int code);
bool store_journal_is_idle(const struct store *store);

// group.c
void store_groups_open(struct store *store);
void store_groups_step(struct store *store);
// Whether an operation may go into its place without its payload being in the journal.
bool store_group_takes(const struct store_op *op);
// An operation goes to the journal: where many of its chunk do, its file is made, if that is one that takes groups.
void store_group_prepare(const struct store_op *op);
// The journal could go on: with what is on its way now, but not with what comes after that.
void store_groups_await(struct store *store);
bool store_groups_are_awaited(const struct store *store);
void store_group_add(struct store_op *op);
void store_groups_fail(struct store *store, int code);
bool store_groups_are_idle(const struct store *store);

// cover.c
// Up to where a finished direct write to this file, by place, is durable once any file of the journal has been
// flushed. 0: nowhere. The file's extents as they are now have to be durable.
uint64_t store_covered_end(const struct store *store, int fd);

// file.c
void store_file_acquire(struct store_replica *replica, struct store_waiter *waiter,
                        enum store_file_how how);
// The same of one that is open.
void store_file_use(struct store_replica *replica);
void store_file_release(struct store_replica *replica);
void store_file_append(struct store_op *op);
// Notes that chunks of this one's file need theirs at once.
void store_file_will_take_large(const struct store_replica *replica);
// For a chunk of a file that takes large records or groups: makes its file now, not when the first comes.
void store_file_make_ahead(struct store_replica *replica);
void store_file_fail(struct store_replica *replica, int code);
void store_file_unlink(struct store_replica *replica);
void store_file_delete(struct store_replica *replica);
void store_file_gone(struct store_replica *replica);
// Some have no descriptor, and are not to be tried again yet.
bool store_files_wait(const struct store *store);
// Opens those again whose time has come.
void store_files_retry(struct store *store);
int store_file_detach(struct store_replica *replica);
int store_file_flags(const struct store *store);
uint64_t store_file_bytes(uint64_t chunk_bytes);
uint64_t store_file_footer_place(const struct store_replica *replica, uint64_t sequence);

// spare.c
// A deleted chunk's file, if it is worth keeping; ends in store_file_gone() or store_file_delete().
bool store_spare_keep(struct store_replica *replica);
// The caller gets it, or NULL.
struct store_spare *store_spare_take(struct store *store, uint64_t file_bytes);
bool store_spare_is_there(const struct store *store, uint64_t file_bytes);
void store_spares_trim(struct store *store);
// Gives up one that is ready; false: there is none.
bool store_spare_give_up(struct store *store);
bool store_spare_is(const char *name, uint64_t *ret_number);
int store_spare_find(struct store *store, const char *name, uint64_t number) PAWL_MUST_CHECK;
// After the folder was synced.
void store_spares_settle(struct store *store);
void store_spares_close(struct store *store);

// checkpoint.c
void store_checkpoint_open(struct store *store);
void store_checkpoint_pace(struct store *store, size_t journal_bytes);
// True: a segment has become free.
bool store_checkpoint_step(struct store *store);
bool store_checkpoint_is_idle(const struct store *store);

// recovery.c
int store_recover(struct store *store) PAWL_MUST_CHECK;
int store_read_whole(int fd, void *buffer, size_t bytes, uint64_t offset) PAWL_MUST_CHECK;
// The same; blocks that the disk can't give back, twice, are zeros, which are no checksum's bytes. *ret_lost_bytes: of
// those; *ret_lost_end: in the file, behind the last of them.
int store_read_salvage(const struct store *store, int fd, void *buffer, size_t bytes,
                       uint64_t offset, size_t *ret_lost_bytes,
                       uint64_t *ret_lost_end) PAWL_MUST_CHECK;
void store_replica_damage(struct store_replica *replica, const char *why);

// replay.c
int store_replay(struct store *store) PAWL_MUST_CHECK;

#endif
