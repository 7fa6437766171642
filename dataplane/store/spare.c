// SPDX-License-Identifier: Apache-2.0
// Files of deleted chunks that are kept for new ones: writes into blocks that were written before make the
// file system change nothing of its own, and a flush is then a flush and no commit.
//
// A deleted chunk's file is renamed where it would be unlinked. Once the new name is durable, so that no
// power cut can bring the old one back, the headers of both footers are overwritten with zeros: the file
// says nothing about anybody then, and may be given a new chunk's name. The other bytes need no care:
// records are found by rows and entries of their own chunk only, and those are written after them.
//
// Blocks of spares count as free. The bound of a share of what is free makes that true: spares are given
// up while there still is a multiple of them elsewhere.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

#define SPARES_MAX 128u

static struct store_spare *spare_new(struct store *store, uint64_t number, int fd)
{
    struct store_spare *spare = calloc(1, sizeof(*spare));

    if (spare == NULL) {
        return NULL;
    }
    spare->store = store;
    spare->number = number;
    spare->fd = fd;
    snprintf(spare->name, sizeof(spare->name), DISK_SPARE_PREFIX "%" PRIu64, number);
    pawl_list_push_back(&store->spares, &spare->node);
    store->spares_count++;
    store->spares_next = PAWL_MAX(store->spares_next, number + 1);
    return spare;
}

static void spare_forget(struct store_spare *spare)
{
    pawl_list_remove(&spare->node);
    spare->store->spares_count--;
    spare->store->spares_bytes -= spare->counted_bytes;
    spare->store->spares_leaving_bytes -= spare->leaving ? spare->counted_bytes : 0;
    if (spare->fd >= 0) {
        close(spare->fd);
    }
    free(spare);
}

static int spare_measure(struct store_spare *spare)
{
    struct stat stat;

    if (fstat(spare->fd, &stat) != 0) {
        return -errno;
    }
    spare->file_bytes = (uint64_t)stat.st_size;
    spare->counted_bytes = (uint64_t)stat.st_blocks * 512;
    spare->store->spares_bytes += spare->counted_bytes;
    return 0;
}

static uint32_t spares_max(const struct store *store)
{
    return PAWL_MIN(SPARES_MAX, store->files_max / 2); // they are open
}

void store_spares_close(struct store *store)
{
    pawl_list_for_each_safe (node, &store->spares)
        spare_forget(pawl_container_of(node, struct store_spare, node));
}

// ---- giving up --------------------------------------------------------------------------------

static void spare_unlinked(struct store_io_request *request, int result)
{
    struct store_spare *spare = pawl_container_of(request, struct store_spare, io);
    struct store *store = spare->store;

    if (result < 0 && result != -ENOENT) {
        pawl_log_error("chunks/%s could not be deleted: %s", spare->name, pawl_strerror(result));
    }
    spare_forget(spare);
    store_space_refresh(store);
}

static void spare_unlink(struct store_spare *spare)
{
    close(spare->fd); // for the reason that store_file_unlink() has
    spare->fd = -1;
    spare->io = (struct store_io_request){
        .type = STORE_IO_UNLINK,
        .fd = spare->store->chunks_fd,
        .path = spare->name,
        .done = spare_unlinked,
    };
    store_io_submit(&spare->store->io, &spare->io);
}

// One that is being made ready goes once it is.
static void spare_leave(struct store_spare *spare)
{
    spare->leaving = true;
    spare->store->spares_leaving_bytes += spare->counted_bytes;
    if (spare->ready) {
        spare_unlink(spare);
    }
}

bool store_spare_give_up(struct store *store)
{
    pawl_list_for_each (node, &store->spares) {
        struct store_spare *spare = pawl_container_of(node, struct store_spare, node);
        if (spare->ready && !spare->leaving) {
            spare_leave(spare);
            return true;
        }
    }
    return false;
}

void store_spares_trim(struct store *store)
{
    if (store->failed != 0) {
        return;
    }
    pawl_list_for_each_safe (node, &store->spares) {
        struct store_spare *spare = pawl_container_of(node, struct store_spare, node);
        if (store_space_allows_spares(store, 0)) {
            return;
        }
        if (!spare->leaving && spare->replica == NULL) {
            spare_leave(spare);
        }
    }
}

// ---- making ready -----------------------------------------------------------------------------

static void spare_zeroed(struct store_io_request *request, int result);

static void spare_zero(struct store_spare *spare)
{
    uint64_t data_end = spare->file_bytes - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;

    spare->io = (struct store_io_request){
        .type = STORE_IO_WRITE_DURABLE,
        .fd = spare->fd,
        .buffer = (void *)(uintptr_t)spare->store->zeros,
        .bytes = DISK_PAGE_BYTES,
        .offset = data_end + spare->zeroed_count * (uint64_t)DISK_FOOTER_PLACE_BYTES,
        .done = spare_zeroed,
    };
    store_io_submit(&spare->store->io, &spare->io);
}

static void spare_zeroed(struct store_io_request *request, int result)
{
    struct store_spare *spare = pawl_container_of(request, struct store_spare, io);

    if (spare->store->failed != 0) {
        spare_forget(spare); // the next start finds it
        return;
    }
    if (result < 0) {
        pawl_log_error("chunks/%s: %s", spare->name, pawl_strerror(result));
    }
    if (result == 0 && ++spare->zeroed_count < 2) {
        spare_zero(spare);
        return;
    }
    spare->ready = true;
    if (spare->leaving) {
        spare_unlink(spare);
    } else if (result < 0) {
        spare_leave(spare);
    }
}

static void spare_named(struct store_io_request *request, int result)
{
    struct store_spare *spare = pawl_container_of(request, struct store_spare, io);

    if (result < 0) {
        // Told once: the sync that the journal's segment waits for would not hear of it any more.
        store_fail(spare->store, result, "the folder of chunk files");
    }
    if (spare->store->failed != 0) {
        spare_forget(spare);
        return;
    }
    spare_zero(spare);
}

// The file stays what it is: a deleted chunk's, to be unlinked.
static void spare_refuse(struct store_spare *spare)
{
    struct store_replica *replica = spare->replica;

    spare_forget(spare);
    store_file_delete(replica);
}

static void spare_renamed(struct store_io_request *request, int result)
{
    struct store_spare *spare = pawl_container_of(request, struct store_spare, io);
    struct store *store = spare->store;
    struct store_replica *replica = spare->replica;

    if (result < 0) {
        pawl_log_error("chunk %" PRIx64 " file %s could not be renamed: %s", replica->handle,
                       replica->name, pawl_strerror(result));
        spare_refuse(spare);
        return;
    }
    spare->replica = NULL;
    spare->io = (struct store_io_request){
        .type = STORE_IO_SYNC,
        .fd = store->chunks_fd,
        .done = spare_named,
    };
    store_io_submit(&store->io, &spare->io);
    store_space_refresh(store);
    store_file_gone(replica);
}

static void spare_rename(struct store_spare *spare)
{
    if (spare_measure(spare) != 0 ||
        spare->file_bytes != store_file_bytes(spare->replica->chunk_bytes)) {
        spare_refuse(spare);
        return;
    }
    spare->io = (struct store_io_request){
        .type = STORE_IO_RENAME,
        .fd = spare->store->chunks_fd,
        .path = spare->replica->name,
        .new_path = spare->name,
        .done = spare_renamed,
    };
    store_io_submit(&spare->store->io, &spare->io);
}

static void spare_opened(struct store_io_request *request, int result)
{
    struct store_spare *spare = pawl_container_of(request, struct store_spare, io);

    spare->fd = result >= 0 ? result : -1;
    if (result < 0 || flock(spare->fd, LOCK_EX | LOCK_NB) != 0) {
        spare_refuse(spare);
    } else {
        spare_rename(spare);
    }
}

// A damaged chunk may lie on a bad spot of the disk. Reads that are under way need the file's bytes.
static bool file_is_worth_it(const struct store_replica *replica)
{
    struct store *store = replica->store;
    uint64_t bytes = PAWL_MAX(replica->tail, replica->held_bytes);

    return store->failed == 0 && !replica->damaged && !replica->unsound &&
           replica->file_uses == 0 && replica->file_state != STORE_FILE_OPENING &&
           bytes >= replica->chunk_bytes / STORE_SPARE_WORTH &&
           store_space_allows_spares(store, bytes);
}

// Room for one more. If there is none, one of another size goes: that size may be in use no more.
static bool spares_have_room(struct store *store, uint64_t file_bytes)
{
    if (store->spares_count < spares_max(store)) {
        return true;
    }
    pawl_list_for_each (node, &store->spares) {
        struct store_spare *spare = pawl_container_of(node, struct store_spare, node);
        if (spare->ready && !spare->leaving && spare->file_bytes != file_bytes) {
            spare_leave(spare);
            return true;
        }
    }
    return false;
}

bool store_spare_keep(struct store_replica *replica)
{
    struct store *store = replica->store;
    struct store_spare *spare = NULL;

    if (file_is_worth_it(replica) &&
        spares_have_room(store, store_file_bytes(replica->chunk_bytes))) {
        spare = spare_new(store, store->spares_next, -1);
    }
    if (spare == NULL) {
        return false;
    }
    spare->replica = replica;
    if (replica->file_state == STORE_FILE_OPEN) {
        spare->fd = store_file_detach(replica);
        spare_rename(spare);
        return true;
    }
    spare->io = (struct store_io_request){
        .type = STORE_IO_OPEN,
        .fd = store->chunks_fd,
        .path = replica->name,
        .flags = O_RDWR | store_file_flags(store),
        .done = spare_opened,
    };
    store_io_submit(&store->io, &spare->io);
    return true;
}

static struct store_spare *spare_of_size(const struct store *store, uint64_t file_bytes)
{
    pawl_list_for_each (node, &store->spares) {
        struct store_spare *spare = pawl_container_of(node, struct store_spare, node);
        if (spare->ready && !spare->leaving && spare->file_bytes == file_bytes) {
            return spare;
        }
    }
    return NULL;
}

bool store_spare_is_there(const struct store *store, uint64_t file_bytes)
{
    return spare_of_size(store, file_bytes) != NULL;
}

struct store_spare *store_spare_take(struct store *store, uint64_t file_bytes)
{
    struct store_spare *spare = spare_of_size(store, file_bytes);

    if (spare != NULL) {
        pawl_list_remove(&spare->node);
        store->spares_count--;
        store->spares_bytes -= spare->counted_bytes;
    }
    return spare;
}

// ---- start-up ---------------------------------------------------------------------------------

bool store_spare_is(const char *name, uint64_t *ret_number)
{
    char again[sizeof(((struct store_spare *)NULL)->name)];

    if (sscanf(name, DISK_SPARE_PREFIX "%19" SCNu64, ret_number) != 1) {
        return false;
    }
    snprintf(again, sizeof(again), DISK_SPARE_PREFIX "%" PRIu64, *ret_number);
    return strcmp(name, again) == 0;
}

int store_spare_find(struct store *store, const char *name, uint64_t number)
{
    int fd = openat(store->chunks_fd, name, O_RDWR | store_file_flags(store));
    int code = fd < 0 ? -errno : store_file_lock(fd);

    store->spares_next = PAWL_MAX(store->spares_next, number + 1);
    if (code != 0) { // it holds nothing of anybody's
        pawl_log_warn("chunks/%s is left alone: %s", name, pawl_strerror(code));
        if (fd >= 0) {
            close(fd);
        }
        return 0;
    }
    struct store_spare *spare = spare_new(store, number, fd);
    if (spare == NULL) {
        close(fd);
        return -ENOMEM;
    }
    return spare_measure(spare);
}

static int spare_clear(struct store_spare *spare)
{
    for (unsigned i = 1; i <= 2; i++) {
        uint64_t place = spare->file_bytes - i * (uint64_t)DISK_FOOTER_PLACE_BYTES;
        errno = EIO; // of a short write
        if (pwrite(spare->fd, spare->store->zeros, DISK_PAGE_BYTES, (off_t)place) !=
            (ssize_t)DISK_PAGE_BYTES) {
            return -errno;
        }
    }
    return fsync(spare->fd) != 0 ? -errno : 0;
}

// A crash may have come before their footers were cleared: all are cleared once more.
void store_spares_settle(struct store *store)
{
    pawl_list_for_each_safe (node, &store->spares) {
        struct store_spare *spare = pawl_container_of(node, struct store_spare, node);
        bool fits = store->spares_count <= spares_max(store) &&
                    spare->file_bytes >= store_file_bytes(0) &&
                    spare->file_bytes % DISK_PAGE_BYTES == 0;
        if (fits && spare_clear(spare) == 0) {
            spare->ready = true;
        } else {
            unlinkat(store->chunks_fd, spare->name, 0);
            spare_forget(spare);
        }
    }
}
