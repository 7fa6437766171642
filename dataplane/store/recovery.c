// SPDX-License-Identifier: Apache-2.0
// Start-up: chunk files describe themselves as far as their footers go, then the journal is replayed on
// top, then what is left over is decided.
//
// A footer header is written after its rows are durable. So: the newest sound header counts; if its rows
// don't match it, or the other place holds neither zeros nor a sound header, bytes have rotted (what the disk can't
// read is no better), and what the lost footer covered may be gone from the journal too. The chunk is then damaged: the older footer
// is used for what it is worth, and the mark goes into the journal.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/store_private.h"

#define RECOVERY_PIECE_BYTES (4u << 20) // of a read

// A chunk file that was met, and what became of it.
struct recovery_file {
    struct recovery_file *next;
    uint64_t handle;
    uint64_t create_lsn;
    uint64_t bytes;
    uint64_t held_bytes; // of its blocks; 0: only a name
    char name[40];
};

struct recovery {
    struct store *store;
    struct recovery_file *files;
    uint8_t *pages; // two
};

void store_replica_damage(struct store_replica *replica, const char *why)
{
    if (!replica->damaged) {
        pawl_log_error("chunk %" PRIx64 " version %" PRIu64 " is damaged: %s", replica->handle,
                       replica->version, why);
    }
    replica->damage_found = replica->damage_found || !replica->damaged;
    replica->damaged = true;
}

// Reads `bytes`; what lies behind the end of the file is zeros.
int store_read_whole(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    size_t at = 0;

    while (at < bytes) {
        size_t piece = PAWL_MIN(bytes - at, (size_t)RECOVERY_PIECE_BYTES);
        ssize_t moved = pread(fd, (uint8_t *)buffer + at, piece, (off_t)(offset + at));
        if (moved < 0 && errno != EINTR) {
            return -errno;
        }
        if (moved == 0 || (moved > 0 && moved % DISK_BLOCK_BYTES_MIN != 0)) {
            at += (size_t)moved;
            memset((uint8_t *)buffer + at, 0, bytes - at);
            return 0;
        }
        at += moved > 0 ? (size_t)moved : 0;
    }
    return 0;
}

static int piece_salvage(const struct store *store, int fd, uint8_t *buffer, size_t bytes,
                         uint64_t offset, size_t *lost_bytes, uint64_t *lost_end)
{
    for (size_t at = 0; at < bytes; at += store->block_bytes) {
        size_t block = PAWL_MIN(bytes - at, (size_t)store->block_bytes);
        int code = store_read_whole(fd, buffer + at, block, offset + at);
        if (store_code_is_medium(code)) {
            memset(buffer + at, 0, block);
            *lost_bytes += block;
            *lost_end = offset + at + block;
        } else if (code != 0) {
            return code;
        }
    }
    return 0;
}

int store_read_salvage(const struct store *store, int fd, void *buffer, size_t bytes,
                       uint64_t offset, size_t *ret_lost_bytes, uint64_t *ret_lost_end)
{
    int code = 0;

    *ret_lost_bytes = 0;
    *ret_lost_end = 0;
    for (size_t at = 0; at < bytes && code == 0; at += RECOVERY_PIECE_BYTES) {
        size_t piece = PAWL_MIN(bytes - at, (size_t)RECOVERY_PIECE_BYTES);
        uint8_t *to = (uint8_t *)buffer + at;
        code = store_read_whole(fd, to, piece, offset + at);
        if (store_code_is_medium(code)) {
            code = piece_salvage(store, fd, to, piece, offset + at, ret_lost_bytes, ret_lost_end);
        }
    }
    return code;
}

static int rows_load(struct store_replica *replica, const struct disk_footer *footer,
                     const uint8_t *body)
{
    int code = store_replica_recovered_grow(replica, footer->records_count);

    if (code != 0) {
        return code;
    }
    for (uint64_t i = 0; i < footer->records_count; i++) {
        struct disk_record row;
        memcpy(&row, body + i * sizeof(row), sizeof(row));
        footer_row_decode(&row, store_replica_recovered(replica, i));
        *store_replica_place(replica, i) = row.place;
    }
    replica->queued_count = footer->records_count;
    return 0;
}

// Makes the replica that a sound footer and its rows describe.
static int footer_load(struct recovery *recovery, const struct recovery_file *file,
                       const struct disk_footer *footer, const uint8_t *body)
{
    struct store *store = recovery->store;
    struct store_replica *older = store_replica_find(store, file->handle);
    struct store_replica *replica;
    bool is_zero = (footer->flags & DISK_FOOTER_ZERO) != 0;
    struct store_chunk chunk = {
        .handle = footer->handle,
        .version = footer->version,
        .file_id = footer->file_id,
        .base_offset = footer->base_offset,
        .chunk_bytes = footer->chunk_bytes,
        .index = footer->index,
        .producers =
            (const struct wire_producer *)(const void *)(body + footer->records_count *
                                                                    sizeof(struct disk_record)),
        .producers_count = footer->producers_count,
        .written_handle = is_zero ? 0 : footer->subject,
        .zero_bytes = is_zero ? footer->subject : 0,
    };

    if (older != NULL && older->create_lsn > file->create_lsn) {
        return 0; // an earlier life of the chunk
    }
    int code = store_replica_new(store, &chunk, &replica);
    if (code != 0) {
        return code;
    }
    code = rows_load(replica, footer, body);
    if (code == 0) {
        code = pawl_map_put(&store->map, replica->handle, replica);
    }
    if (code != 0) {
        store_replica_free(replica);
        return code;
    }
    store_replica_free(older);
    pawl_list_push_back(&store->replicas, &replica->node);
    replica->create_lsn = footer->create_lsn;
    replica->created = true;
    replica->sealed = (footer->flags & DISK_FOOTER_SEALED) != 0;
    replica->seal_count = footer->records_count;
    replica->damaged = (footer->flags & DISK_FOOTER_DAMAGED) != 0;
    replica->commit_count = footer->commit_count;
    replica->footer_sequence = footer->sequence;
    replica->footer_generation = footer->generation;
    store_replica_name(replica);
    return 0;
}

// Reads and checks the rows of a sound header; then loads them. PAWL_ECORRUPT: they don't match, or can't be read.
static int footer_try(struct recovery *recovery, const struct recovery_file *file, int fd,
                      uint64_t data_end, const struct disk_footer *footer)
{
    size_t bytes = footer_body_bytes(footer->records_count, footer->producers_count);
    uint64_t place = data_end + footer->sequence % 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES;
    void *body;
    int code = store_aligned_new(bytes, &body);

    if (code != 0) {
        return code;
    }
    code = store_read_whole(fd, body, (size_t)pawl_align_up(bytes, DISK_PAGE_BYTES),
                            place + DISK_PAGE_BYTES);
    if (store_code_is_rot(code)) {
        pawl_log_error("chunks/%s: rows of its footer: %s", file->name, pawl_strerror(code));
        code = PAWL_ECORRUPT;
    }
    if (code == 0) {
        code = footer_body_check(footer, body, bytes, data_end);
    }
    if (code == 0) {
        code = footer_load(recovery, file, footer, body);
    }
    free(body);
    return code;
}

static int footer_header_check(const struct recovery *recovery, const struct recovery_file *file,
                               uint64_t data_end, unsigned place, struct disk_footer *ret)
{
    int code = footer_decode(recovery->pages + place * DISK_PAGE_BYTES, DISK_PAGE_BYTES, ret);

    if (code != 0) {
        return code;
    }
    if (ret->store_id != recovery->store->identity.store_id || ret->handle != file->handle ||
        ret->create_lsn != file->create_lsn || ret->sequence % 2 != place ||
        ret->chunk_bytes > STORE_CHUNK_BYTES_MAX ||
        store_file_bytes(ret->chunk_bytes) - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES != data_end) {
        return -EBADMSG;
    }
    return 0;
}

static int file_load(struct recovery *recovery, struct recovery_file *file, int fd,
                     uint64_t data_end)
{
    struct disk_footer footers[2];
    int codes[2];
    bool rotten = false;

    for (unsigned i = 0; i < 2; i++) {
        int code = store_read_whole(fd, recovery->pages + i * DISK_PAGE_BYTES, DISK_PAGE_BYTES,
                                    data_end + i * (uint64_t)DISK_FOOTER_PLACE_BYTES);
        if (store_code_is_rot(code)) {
            pawl_log_error("chunks/%s: a footer of it: %s", file->name, pawl_strerror(code));
            code = -EBADMSG;
        }
        codes[i] = code != 0 ? code : footer_header_check(recovery, file, data_end, i, &footers[i]);
        if (codes[i] != 0 && codes[i] != -ENOENT && codes[i] != -EBADMSG) {
            return codes[i];
        }
        rotten = rotten || codes[i] == -EBADMSG;
    }
    unsigned newest = codes[1] == 0 && (codes[0] != 0 || footers[1].sequence > footers[0].sequence);
    int code = -ENOENT;
    for (unsigned tried = 0; tried < 2 && (code == -ENOENT || code == PAWL_ECORRUPT); tried++) {
        unsigned i = tried == 0 ? newest : !newest;
        if (codes[i] != 0) {
            continue;
        }
        code = footer_try(recovery, file, fd, data_end, &footers[i]);
        rotten = rotten || code == PAWL_ECORRUPT;
    }
    struct store_replica *replica = store_replica_find(recovery->store, file->handle);
    if (code == 0 && rotten && replica->create_lsn == file->create_lsn) {
        store_replica_damage(replica,
                             "one of its footers does not match its checksum, or can't be read");
    }
    return code == -ENOENT || code == PAWL_ECORRUPT ? 0 : code;
}

static int file_visit(struct recovery *recovery, const char *name)
{
    struct store *store = recovery->store;
    struct recovery_file *file = calloc(1, sizeof(*file));
    char again[40];
    struct stat stat;
    uint64_t number;

    if (store_spare_is(name, &number)) {
        free(file);
        return store_spare_find(store, name, number);
    }
    if (file == NULL) {
        return -ENOMEM;
    }
    file->next = recovery->files;
    recovery->files = file;
    int fields = sscanf(name, "%16" SCNx64 ".%16" SCNx64, &file->handle, &file->create_lsn);
    snprintf(again, sizeof(again), "%016" PRIx64 ".%016" PRIx64, file->handle, file->create_lsn);
    if (fields != 2 || strcmp(name, again) != 0) {
        pawl_log_warn("chunks/%s is no chunk file: left alone", name);
        recovery->files = file->next;
        free(file);
        return 0;
    }
    memcpy(file->name, again, sizeof(again));
    int fd = openat(store->chunks_fd, name, O_RDONLY | store_file_flags(store));
    if (fd < 0) {
        return -errno;
    }
    int code = store_file_lock(fd);
    if (code == 0 && fstat(fd, &stat) != 0) {
        code = -errno;
    }
    uint64_t least = store_file_bytes(0);
    if (code == 0) {
        file->bytes = (uint64_t)stat.st_size;
        file->held_bytes = (uint64_t)stat.st_blocks * 512;
    }
    // A shorter one was made by a crash before it got its size: it has no footer.
    if (code == 0 && file->bytes >= least) {
        code = file_load(recovery, file, fd, file->bytes - 2 * (uint64_t)DISK_FOOTER_PLACE_BYTES);
    }
    close(fd);
    if (code != 0) {
        pawl_log_error("chunks/%s: %s", name, pawl_strerror(code));
    }
    return code;
}

static int files_visit(struct recovery *recovery)
{
    struct dirent *entry;
    int code = 0;
    int fd = openat(recovery->store->chunks_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    if (folder == NULL) {
        code = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    while (code == 0 && (entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            code = file_visit(recovery, entry->d_name);
        }
    }
    closedir(folder);
    return code;
}

// The file belongs to no chunk. Files of deleted chunks may come back after a crash. Any other one that
// has bytes is all that is left of a replica, its footers being damaged: a human may want it.
static void file_discard(struct recovery *recovery, const struct recovery_file *file)
{
    struct store *store = recovery->store;
    const struct store_replica *replica = store_replica_find(store, file->handle);
    bool deleted = replica != NULL;

    pawl_list_for_each (node, &store->dropped) {
        const struct store_replica *gone = pawl_container_of(node, struct store_replica, node);
        deleted = deleted || (gone->handle == file->handle && gone->create_lsn >= file->create_lsn);
    }
    if (deleted || file->held_bytes == 0) {
        unlinkat(store->chunks_fd, file->name, 0);
        return;
    }
    pawl_log_error("chunk %" PRIx64
                   ": both footers of its file are damaged and the journal does not "
                   "know it: moved to damaged/%s",
                   file->handle, file->name);
    if (renameat(store->chunks_fd, file->name, store->damaged_fd, file->name) != 0) {
        pawl_log_error("damaged/%s: %s", file->name, pawl_strerror(-errno));
    }
}

// A crash may have come between a file's making and its size: nothing refers to it yet, and without its
// size nobody would find its footers later.
static int file_adopt(struct store_replica *replica, const struct recovery_file *file)
{
    uint64_t bytes = store_file_bytes(replica->chunk_bytes);
    int code = 0;

    replica->file_exists = true;
    replica->met_bytes = file->held_bytes;
    if (file->bytes == bytes) {
        return 0;
    }
    int fd = openat(replica->store->chunks_fd, file->name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (ftruncate(fd, (off_t)bytes) != 0 || fsync(fd) != 0) {
        code = -errno;
    }
    close(fd);
    return code;
}

static int files_settle(struct recovery *recovery)
{
    struct store *store = recovery->store;

    for (const struct recovery_file *file = recovery->files; file != NULL; file = file->next) {
        struct store_replica *replica = store_replica_find(store, file->handle);
        if (replica != NULL && replica->create_lsn == file->create_lsn) {
            int code = file_adopt(replica, file);
            if (code != 0) {
                return code;
            }
        } else {
            file_discard(recovery, file);
        }
    }
    // Also for names that were given, and not synced, by a process that was killed.
    if (fsync(store->chunks_fd) != 0 || fsync(store->damaged_fd) != 0) {
        return -errno;
    }
    store_spares_settle(store);
    // Their files are gone for good.
    pawl_list_for_each_safe (node, &store->dropped)
        store_replica_free(pawl_container_of(node, struct store_replica, node));
    return 0;
}

// The table has to be dense, and its bytes have to be somewhere.
static void replica_check(struct store_replica *replica)
{
    uint64_t end = 0;

    for (uint64_t i = 0; i < replica->durable_count; i++) {
        const struct pawl_record *record = store_replica_recovered(replica, i);
        uint64_t place = *store_replica_place(replica, i);
        if (record->offset != end || record->length > replica->chunk_bytes - end) {
            store_replica_damage(replica, "its record table has a gap");
            replica->durable_count = i;
            return;
        }
        end += record->length;
        if (store_place_is_journal(place)) {
            continue;
        }
        if (!replica->file_exists) {
            store_replica_damage(replica, "its file is missing");
        }
    }
}

// Behind all that is in the file, also what a hole cuts off: until the cut lasts, the next start compares it once more.
static void replica_tail(struct store_replica *replica)
{
    for (uint64_t i = 0; i < replica->queued_count; i++) {
        uint64_t place = *store_replica_place(replica, i);
        uint64_t length = store_replica_recovered(replica, i)->length;
        if (place != 0 && !store_place_is_journal(place)) {
            replica->tail = PAWL_MAX(replica->tail, pawl_align_up(place + length, DISK_PAGE_BYTES));
        }
    }
}

// Gives back the rest of a recycled file, if a crash came before the checkpoint did.
static void replica_trim(struct store_replica *replica)
{
    uint64_t end = pawl_align_up(replica->tail, DISK_PAGE_BYTES);
    int fd = openat(replica->store->chunks_fd, replica->name, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)end,
                            (off_t)(replica->data_end - end)) != 0) {
        pawl_log_warn("chunks/%s: %s", replica->name, pawl_strerror(-errno));
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void replica_hold(struct store_replica *replica)
{
    if (replica->met_bytes < replica->space_bytes + STORE_UNUSED_BYTES) {
        return; // no more than rounding and what the file system adds
    }
    if (replica->sealed && !replica->damaged && replica->dirty_generation == 0) {
        replica_trim(replica);
    } else {
        store_replica_space(replica, replica->space_bytes, replica->met_bytes);
    }
}

// Rows that were recovered become the chunk's records. They leave no gap now.
static int replica_pack(struct store_replica *replica)
{
    int code = 0;

    for (uint64_t i = 0; i < replica->durable_count && code == 0; i++) {
        code = store_replica_grow(replica, 1);
        if (code == 0) {
            pawl_records_add(&replica->records, store_replica_recovered(replica, i));
        }
    }
    pawl_paged_fini(&replica->recovered);
    return code;
}

// Decides about records behind a hole: they were never acknowledged, or acknowledged behind one that
// was not, so the log ends at the hole.
static int replica_settle(struct store_replica *replica)
{
    int code = replica->sealed ? store_replica_recovered_grow(replica, replica->seal_count) : 0;

    if (code != 0) {
        return code;
    }
    if (replica->sealed) {
        replica->queued_count = replica->seal_count;
    }
    store_replica_advance(replica);
    replica_check(replica);
    replica_tail(replica);
    uint64_t behind = replica->queued_count - replica->durable_count;
    if (behind > 0 && replica->sealed) {
        store_replica_damage(replica, "it is sealed, but records of it are missing");
    }
    if (behind > 0 && !replica->damaged) {
        pawl_log_warn("chunk %" PRIx64 " version %" PRIu64 " has a hole at record %" PRIu64
                      ": cut there, %" PRIu64 " rows dropped",
                      replica->handle, replica->version, replica->durable_count, behind);
        code = store_op_queue_silent(replica, STORE_OP_CUT, replica->durable_count);
    }
    store_replica_cut(replica, replica->durable_count);
    if (code == 0) {
        code = replica_pack(replica);
    }
    if (code != 0) {
        return code; // the store isn't opened; the rows are not where the rest looks for them
    }
    replica->seal_queued = replica->sealed;
    if (replica->damage_found) {
        code = store_op_queue_silent(replica, STORE_OP_DAMAGE, 0);
    }
    store_replica_account(replica);
    replica_hold(replica);
    return code;
}

int store_recover(struct store *store)
{
    struct recovery recovery = {.store = store};
    void *pages;
    int code = store_aligned_new(2 * DISK_PAGE_BYTES, &pages);

    if (code != 0) {
        return code;
    }
    recovery.pages = pages;
    code = files_visit(&recovery);
    if (code == 0) {
        code = store_replay(store);
    }
    if (code == 0) {
        code = files_settle(&recovery);
    }
    pawl_list_for_each (node, &store->replicas) {
        if (code == 0) {
            code = replica_settle(pawl_container_of(node, struct store_replica, node));
        }
    }
    while (recovery.files != NULL) {
        struct recovery_file *next = recovery.files->next;
        free(recovery.files);
        recovery.files = next;
    }
    free(pages);
    return code;
}
