// SPDX-License-Identifier: Apache-2.0
// Chunk files: opened when needed, the least recently used ones closed; large records go straight into
// them. Those into blocks of a deleted chunk's file become durable with their entry in the journal, where its flush
// covers them (cover.c), or else by themselves; others, which allocate blocks,
// share a flush with what queues up to the same file. Files of deleted chunks go to spare.c.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

#define FILES_ROOM 8u // are closed when there are no descriptors

static struct pawl_log_limit scarce_limit;

int store_file_flags(const struct store *store)
{
    return O_CLOEXEC | (store->direct ? O_DIRECT : 0);
}

// The data area holds every record once, each on a page of its own in the worst case. It is sparse: only
// what is written takes space.
uint64_t store_file_bytes(uint64_t chunk_bytes)
{
    return DISK_PAGE_BYTES + pawl_align_up(chunk_bytes, DISK_PAGE_BYTES) +
           (uint64_t)DISK_RECORDS_MAX * DISK_PAGE_BYTES + 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;
}

uint64_t store_file_footer_place(const struct store_replica *replica, uint64_t sequence)
{
    return replica->data_end + (sequence % 2) * (uint64_t)DISK_FOOTER_PLACE_BYTES;
}

// The caller gets the descriptor.
int store_file_detach(struct store_replica *replica)
{
    int fd = replica->fd;

    pawl_assert(replica->file_state == STORE_FILE_OPEN && replica->file_uses == 0);
    replica->fd = -1;
    replica->file_state = STORE_FILE_CLOSED;
    pawl_list_remove(&replica->lru);
    replica->store->files_count--;
    return fd;
}

static void file_shut(struct store_replica *replica)
{
    close(store_file_detach(replica));
}

// A file without a name, once its last use is over: else it would keep its blocks, and a place among the open ones.
static void file_shut_if_gone(struct store_replica *replica)
{
    if (replica->unlinked && replica->file_state == STORE_FILE_OPEN && replica->file_uses == 0) {
        file_shut(replica);
    }
}

// Keeps the number of open files bounded, spares among them; files in use stay.
static void files_trim(struct store *store)
{
    pawl_list_for_each_safe (node, &store->files_open) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, lru);
        if (store->files_count + store->spares_count <= store->files_max) {
            return;
        }
        if (replica->file_uses == 0) {
            file_shut(replica);
        }
    }
}

// Closes some that nobody uses, least recently used first, or else gives a spare up. False: there are none.
static bool files_make_room(struct store *store)
{
    uint32_t closed = 0;

    pawl_list_for_each_safe (node, &store->files_open) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, lru);
        if (replica->file_uses == 0 && closed < FILES_ROOM) {
            file_shut(replica);
            closed++;
        }
    }
    return closed > 0 || store_spare_give_up(store);
}

static void file_waiters_call(struct store_replica *replica, int code, bool impatient_only)
{
    struct pawl_list waiters;
    struct pawl_list *node;

    replica->uses++; // keeps it until all have heard
    pawl_list_init(&waiters);
    pawl_list_append_all(&waiters, &replica->file_waiters);
    while ((node = pawl_list_pop_front(&waiters)) != NULL) {
        struct store_waiter *waiter = pawl_container_of(node, struct store_waiter, node);
        if (impatient_only && !waiter->impatient) {
            pawl_list_push_back(&replica->file_waiters, node);
            continue;
        }
        if (code != 0) {
            replica->file_uses--;
        }
        waiter->ready(waiter, code);
    }
    replica->uses--;
    store_replica_release(replica);
}

static void file_is_open(struct store_replica *replica)
{
    struct store *store = replica->store;

    replica->file_state = STORE_FILE_OPEN;
    pawl_list_push_back(&store->files_open, &replica->lru);
    store->files_count++;
    file_waiters_call(replica, 0, false);
    files_trim(store);
}

static void file_open_failed(struct store_replica *replica, int code)
{
    pawl_log_error("chunk %" PRIx64 " file %s: %s", replica->handle, replica->name,
                   pawl_strerror(code));
    if (replica->fd >= 0) {
        close(replica->fd);
    }
    replica->fd = -1;
    replica->file_state = STORE_FILE_CLOSED;
    file_waiters_call(replica, code, false);
}

// There was no descriptor, or no memory. That is over once something else is closed, so it says nothing about the
// disk: what is to be written waits. Reads have other replicas to go to.
static void file_open_scarce(struct store_replica *replica, int code)
{
    struct store *store = replica->store;

    if (files_make_room(store)) {
        store_io_submit(&store->io, &replica->file_io);
        return;
    }
    if (store->failed != 0 || !store->serving) {
        file_open_failed(replica, code);
        return;
    }
    pawl_log_limited(&scarce_limit, PAWL_LOG_WARN, "chunk %" PRIx64 " file %s: %s", replica->handle,
                     replica->name, pawl_strerror(code));
    replica->uses++;
    file_waiters_call(replica, code, true);
    if (pawl_list_is_empty(&replica->file_waiters)) {
        replica->file_state = STORE_FILE_CLOSED;
    } else {
        store->files_scarce_ms = pawl_clock_ms();
        pawl_list_push_back(&store->files_scarce, &replica->scarce);
    }
    replica->uses--;
    store_replica_release(replica);
}

bool store_files_wait(const struct store *store)
{
    return !pawl_list_is_empty(&store->files_scarce) && store->failed == 0 && store->serving &&
           pawl_clock_ms() - store->files_scarce_ms < STORE_SCARCE_MS;
}

void store_files_retry(struct store *store)
{
    struct pawl_list due;
    struct pawl_list *node;

    if (pawl_list_is_empty(&store->files_scarce) || store_files_wait(store)) {
        return;
    }
    pawl_list_init(&due);
    pawl_list_append_all(&due, &store->files_scarce);
    while ((node = pawl_list_pop_front(&due)) != NULL) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, scarce);
        store_io_submit(&store->io, &replica->file_io);
    }
}

// The kernel tells of it once: who tries again would hear that all is well.
static void file_sync_failed(struct store_replica *replica, int code)
{
    store_fail(replica->store, code, "a new chunk file");
    file_open_failed(replica, code);
}

static void folder_synced(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, file_io);

    if (result < 0) {
        file_sync_failed(replica, result);
        return;
    }
    replica->file_exists = true;
    file_is_open(replica);
}

static void folder_sync(struct store_replica *replica)
{
    replica->file_io = (struct store_io_request){
        .type = STORE_IO_SYNC,
        .fd = replica->store->chunks_fd,
        .done = folder_synced,
    };
    store_io_submit(&replica->store->io, &replica->file_io);
}

static void size_synced(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, file_io);

    if (result < 0) {
        file_sync_failed(replica, result);
    } else {
        folder_sync(replica);
    }
}

static void file_opened(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, file_io);

    // Nobody else has it open: the lock is there to outlive this process, see store_file_lock().
    if (result >= 0 && flock(result, LOCK_EX | LOCK_NB) != 0) {
        int code = -errno;
        close(result);
        result = code;
    }
    if (store_code_is_scarce(result)) {
        file_open_scarce(replica, result);
        return;
    }
    if (result < 0) {
        file_open_failed(replica, result);
        return;
    }
    replica->fd = result;
    if (replica->file_exists) {
        file_is_open(replica);
        return;
    }
    // The size tells where the footer is: size and name have to last before anything refers to the file.
    if (ftruncate(replica->fd, (off_t)store_file_bytes(replica->chunk_bytes)) != 0) {
        file_open_failed(replica, -errno);
        return;
    }
    replica->file_io = (struct store_io_request){
        .type = STORE_IO_SYNC,
        .fd = replica->fd,
        .done = size_synced,
    };
    store_io_submit(&replica->store->io, &replica->file_io);
}

static void file_open(struct store_replica *replica, int flags)
{
    struct store *store = replica->store;

    replica->file_io = (struct store_io_request){
        .type = STORE_IO_OPEN,
        .fd = store->chunks_fd,
        .path = replica->name,
        .flags = O_RDWR | store_file_flags(store) | flags,
        .done = file_opened,
    };
    store_io_submit(&store->io, &replica->file_io);
}

// Its size has lasted since it was made.
static void file_recycled(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, file_io);
    struct store_spare *spare = replica->spare;

    replica->spare = NULL;
    if (result == 0) {
        replica->fd = spare->fd;
        replica->overwrites = true;
        replica->covered_end = store_covered_end(replica->store, spare->fd);
        if (replica->dropped) {
            replica->held_bytes = spare->counted_bytes; // as store_replica_drop() leaves it
        } else {
            store_replica_space(replica, replica->space_bytes, spare->counted_bytes);
        }
        replica->store->counters.recycled_files_count++;
        folder_sync(replica);
    } else {
        pawl_log_warn("chunks/%s could not be renamed: %s", spare->name, pawl_strerror(result));
        close(spare->fd);
        unlinkat(replica->store->chunks_fd, spare->name, 0);
        file_open(replica, O_CREAT);
    }
    free(spare);
}

static void file_recycle(struct store_replica *replica)
{
    replica->file_io = (struct store_io_request){
        .type = STORE_IO_RENAME,
        .fd = replica->store->chunks_fd,
        .path = replica->spare->name,
        .new_path = replica->name,
        .done = file_recycled,
    };
    store_io_submit(&replica->store->io, &replica->file_io);
}

void store_file_use(struct store_replica *replica)
{
    pawl_assert(replica->file_state == STORE_FILE_OPEN);
    replica->file_uses++;
    pawl_list_remove(&replica->lru);
    pawl_list_push_back(&replica->store->files_open, &replica->lru);
}

void store_file_acquire(struct store_replica *replica, struct store_waiter *waiter,
                        enum store_file_how how)
{
    struct store *store = replica->store;

    if (replica->file_state == STORE_FILE_OPEN) {
        store_file_use(replica);
        waiter->ready(waiter, 0);
        return;
    }
    replica->file_uses++;
    pawl_list_push_back(&replica->file_waiters, &waiter->node);
    if (replica->file_state == STORE_FILE_OPENING) {
        return;
    }
    replica->file_state = STORE_FILE_OPENING;
    if (how == STORE_FILE_RECYCLE && !replica->file_exists) {
        replica->spare = store_spare_take(store, store_file_bytes(replica->chunk_bytes));
    }
    if (replica->spare != NULL) {
        file_recycle(replica);
    } else {
        file_open(replica, how != STORE_FILE_EXISTING && !replica->file_exists ? O_CREAT : 0);
    }
}

void store_file_release(struct store_replica *replica)
{
    pawl_assert(replica->file_uses > 0);
    replica->file_uses--;
    file_shut_if_gone(replica);
}

static void large_fail(struct store_op *op, int code, const char *what)
{
    struct store_replica *replica = op->replica;
    struct store *store = replica->store;

    if (store->failed == 0) {
        store_fail(store, code, what);
    }
    replica->large_count--;
    store_op_finish(op, store->failed);
}

// What is in the journal refers to the payload: it is durable by now, or will be together with the entry.
static void large_note(struct store_op *op)
{
    store_file_release(op->replica);
    pawl_list_push_back(&op->replica->store->journal.waiting, &op->node);
}

static void large_flush(struct store_replica *replica);

static void large_flushed(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, flush_io);
    struct store *store = replica->store;
    struct pawl_list flushed;
    struct pawl_list *node;

    pawl_list_init(&flushed);
    pawl_list_append_all(&flushed, &replica->flushing);
    replica->uses++; // keeps it while its operations end
    while ((node = pawl_list_pop_front(&flushed)) != NULL) {
        struct store_op *op = pawl_container_of(node, struct store_op, node);
        if (result < 0 || store->failed != 0) {
            store_file_release(replica);
            large_fail(op, result, "the flush of a chunk file");
        } else {
            large_note(op);
        }
    }
    large_flush(replica);
    replica->uses--;
    store_replica_release(replica);
}

// One flush at a time for a file: what is written meanwhile shares the next one.
static void large_flush(struct store_replica *replica)
{
    if (!pawl_list_is_empty(&replica->flushing) || pawl_list_is_empty(&replica->unflushed)) {
        return;
    }
    pawl_list_append_all(&replica->flushing, &replica->unflushed);
    replica->flush_io = (struct store_io_request){
        .type = STORE_IO_FLUSH,
        .fd = replica->fd,
        .done = large_flushed,
    };
    store_io_submit(&replica->store->io, &replica->flush_io);
}

static void large_written(struct store_io_request *request, int result)
{
    struct store_op *op = pawl_container_of(request, struct store_op, io);
    struct store_replica *replica = op->replica;

    if (result < 0 || replica->store->failed != 0) {
        store_file_release(replica);
        large_fail(op, result, "a chunk file");
        return;
    }
    if (request->type == STORE_IO_WRITE_DURABLE || op->covered) {
        large_note(op);
        return;
    }
    pawl_list_push_back(&replica->unflushed, &op->node);
    large_flush(replica);
}

static void large_ready(struct store_waiter *waiter, int code)
{
    struct store_op *op = pawl_container_of(waiter, struct store_op, waiter);
    struct store_replica *replica = op->replica;
    struct store *store = replica->store;
    uint32_t length = pawl_records_length(&replica->records, op->argument);

    if (code != 0) {
        large_fail(op, code, "opening a chunk file");
        return;
    }
    if (store->failed != 0) {
        store_file_release(replica);
        large_fail(op, store->failed, "");
        return;
    }
    op->covered = op->place + pawl_align_up(length, DISK_PAGE_BYTES) <= replica->covered_end;
    op->io = (struct store_io_request){
        .type = replica->overwrites && !op->covered ? STORE_IO_WRITE_DURABLE : STORE_IO_WRITE,
        .fd = replica->fd,
        .buffer = op->bounce != NULL ? op->bounce : (void *)(uintptr_t)op->payload,
        .bytes = store->direct ? (size_t)pawl_align_up(length, store->block_bytes) : length,
        .offset = op->place,
        .done = large_written,
    };
    store_io_submit(&store->io, &op->io);
}

static bool file_takes_large(const struct store *store, uint64_t file_id)
{
    for (unsigned i = 0; i < STORE_LARGE_FILES; i++) {
        if (store->large_files[i] == file_id) {
            return file_id != 0;
        }
    }
    return false;
}

void store_file_will_take_large(const struct store_replica *replica)
{
    struct store *store = replica->store;

    if (!file_takes_large(store, replica->file_id)) {
        store->large_files[store->large_files_next++ % STORE_LARGE_FILES] = replica->file_id;
    }
}

static void made_ahead(struct store_waiter *waiter, int code)
{
    struct store_replica *replica = pawl_container_of(waiter, struct store_replica, ahead);

    replica->making_file = false;
    if (code == 0) { // else whoever needs it tries again, and hears of it
        store_file_release(replica);
    }
    store_replica_let_go(replica);
}

void store_file_make_ahead(struct store_replica *replica)
{
    if (replica->dropped || replica->file_exists || replica->making_file ||
        replica->zero_bytes != 0 || replica->written_handle != 0 ||
        !file_takes_large(replica->store, replica->file_id)) {
        return;
    }
    replica->making_file = true;
    replica->ahead.ready = made_ahead;
    store_file_acquire(replica, &replica->ahead, STORE_FILE_RECYCLE);
}

void store_file_append(struct store_op *op)
{
    struct store_replica *replica = op->replica;
    uint64_t bytes = pawl_align_up(pawl_records_length(&replica->records, op->argument),
                                   (uint64_t)DISK_PAGE_BYTES);

    if (bytes > replica->data_end - replica->tail) {
        large_fail(op, -EFBIG, "a chunk file's data area");
        return;
    }
    store_file_will_take_large(replica);
    op->place = replica->tail;
    replica->tail += bytes;
    op->waiter.ready = large_ready;
    store_file_acquire(replica, &op->waiter, STORE_FILE_RECYCLE);
}

void store_file_fail(struct store_replica *replica, int code)
{
    struct pawl_list *node;

    replica->uses++;
    store_ops_finish(&replica->blocked, code);
    while ((node = pawl_list_pop_front(&replica->unflushed)) != NULL) {
        store_file_release(replica);
        large_fail(pawl_container_of(node, struct store_op, node), code, "");
    }
    replica->uses--;
    store_replica_release(replica);
}

// No file has the chunk's name any more.
void store_file_gone(struct store_replica *replica)
{
    struct store_op *op = replica->drop_op;

    replica->unlinked = true;
    file_shut_if_gone(replica);
    replica->drop_op = NULL;
    if (op != NULL) {
        store_op_finish(op, 0); // releases the replica too
    } else {
        store_replica_release(replica);
    }
}

static void file_unlink_done(struct store_io_request *request, int result)
{
    struct store_replica *replica = pawl_container_of(request, struct store_replica, flush_io);

    if (result < 0 && result != -ENOENT) {
        pawl_log_error("chunk %" PRIx64 " file %s could not be deleted: %s", replica->handle,
                       replica->name, pawl_strerror(result));
    }
    store_space_refresh(replica->store);
    store_file_gone(replica);
}

void store_file_delete(struct store_replica *replica)
{
    // While it is open its blocks stay, and whoever closes it last has to wait until they are freed:
    // the reactor, or the death of this process, which its peers learn of that much later.
    if (replica->file_state == STORE_FILE_OPEN && replica->file_uses == 0) {
        file_shut(replica);
    }
    replica->flush_io = (struct store_io_request){
        .type = STORE_IO_UNLINK,
        .fd = replica->store->chunks_fd,
        .path = replica->name,
        .done = file_unlink_done,
    };
    store_io_submit(&replica->store->io, &replica->flush_io);
}

// For a chunk that is dropped: nothing large is on its way, so its flush request is free.
void store_file_unlink(struct store_replica *replica)
{
    pawl_assert(replica->dropped && !replica->unlinked && replica->large_count == 0);
    if (!replica->file_exists) {
        store_file_gone(replica);
    } else if (!store_spare_keep(replica)) {
        store_file_delete(replica);
    }
}
