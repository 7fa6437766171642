// SPDX-License-Identifier: Apache-2.0
// The store as a whole: opening, closing, polling, failing, and what it says about itself.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/lock.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/store_private.h"

#define STORE_INLINE_DEFAULT_BYTES (32u << 10)
#define STORE_GROUP_MIN_DEFAULT_BYTES (32u << 10)
#define STORE_FILES_MAX 4096u
#define STORE_LOCK_MS 30000u

// A process that was killed may still have direct writes in the kernel, which would land on top of what
// is written now. They hold their file open, and so its lock: it is free when the last one is over.
int store_file_lock(int fd)
{
    return pawl_lock(fd, STORE_LOCK_MS);
}

int store_aligned_new(size_t bytes, void **ret)
{
    size_t whole = (size_t)pawl_align_up(PAWL_MAX(bytes, (size_t)1), DISK_PAGE_BYTES);
    void *memory = aligned_alloc(DISK_PAGE_BYTES, whole);

    if (memory == NULL) {
        return -ENOMEM;
    }
    memset(memory, 0, whole);
    *ret = memory;
    return 0;
}

int store_huge_new(size_t bytes, void **ret)
{
    size_t whole = (size_t)pawl_align_up(PAWL_MAX(bytes, (size_t)1), STORE_HUGE_BYTES);
    void *memory = aligned_alloc(STORE_HUGE_BYTES, whole);

    if (memory == NULL) {
        return -ENOMEM;
    }
    (void)madvise(memory, whole, MADV_HUGEPAGE); // a hint
    *ret = memory;
    return 0;
}

void store_fail(struct store *store, int code, const char *what)
{
    pawl_assert(code < 0);
    if (store->failed != 0) {
        return;
    }
    store->failed = code;
    pawl_log_error("%s: %s: the store is out of service, it only reads now", what,
                   pawl_strerror(code));
    store_journal_fail(store, code);
    store_groups_fail(store, code);
    pawl_list_for_each_safe (node, &store->replicas)
        store_file_fail(pawl_container_of(node, struct store_replica, node), code);
    pawl_list_for_each_safe (node, &store->dropped)
        store_file_fail(pawl_container_of(node, struct store_replica, node), code);
}

static int folder_open(int parent, const char *name, int *ret)
{
    if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST) {
        return -errno;
    }
    *ret = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *ret < 0 ? -errno : 0;
}

static int folders_open(struct store *store, const struct store_options *options)
{
    int code = folder_open(AT_FDCWD, options->dir, &store->dir_fd);

    if (code == 0) {
        code = pawl_lock(store->dir_fd, options->lock_ms);
    }
    if (code == 0) {
        code = folder_open(store->dir_fd, "journal", &store->journal_fd);
    }
    if (code == 0) {
        code = folder_open(store->dir_fd, "chunks", &store->chunks_fd);
    }
    if (code == 0) {
        code = folder_open(store->dir_fd, "damaged", &store->damaged_fd);
    }
    if (code == 0 && fsync(store->dir_fd) != 0) {
        code = -errno;
    }
    return code;
}

static void folders_close(struct store *store)
{
    const int fds[] = {store->damaged_fd, store->chunks_fd, store->journal_fd, store->dir_fd};

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

// Whether the file system takes O_DIRECT, and in which blocks.
static int direct_probe(struct store *store, bool no_direct)
{
    struct statx statx_data = {0};
    int fd = openat(store->dir_fd, "probe", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        return -errno;
    }
    close(fd);
    store->block_bytes = DISK_PAGE_BYTES;
    fd = no_direct ? -1 : openat(store->dir_fd, "probe", O_RDWR | O_DIRECT | O_CLOEXEC);
    store->direct = fd >= 0;
    if (fd >= 0 && statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &statx_data) == 0 &&
        (statx_data.stx_mask & STATX_DIOALIGN) != 0) {
        uint32_t align = PAWL_MAX(statx_data.stx_dio_offset_align, statx_data.stx_dio_mem_align);
        store->direct = align != 0 && align <= DISK_PAGE_BYTES && pawl_is_power_of_two(align);
        store->block_bytes =
            store->direct ? PAWL_MAX(align, DISK_BLOCK_BYTES_MIN) : DISK_PAGE_BYTES;
    }
    if (fd >= 0) {
        close(fd);
    }
    unlinkat(store->dir_fd, "probe", 0);
    if (!store->direct) {
        pawl_log_warn("files are written through the page cache: %s",
                      no_direct ? "O_DIRECT is switched off" : "the file system has no O_DIRECT");
    }
    return 0;
}

static int pages_new(struct store *store)
{
    size_t pages = 2 + STORE_WRITE_BACKS; // zeros, headers of segments and of footers
    size_t bytes = pages * DISK_PAGE_BYTES + STORE_WRITE_BACKS * (size_t)STORE_RUN_BYTES +
                   STORE_GROUPS * (size_t)STORE_GROUP_BYTES;
    int code = store_aligned_new(bytes, &store->pages);

    if (code != 0) {
        return code;
    }
    store->pages_bytes = bytes;
    uint8_t *at = store->pages;
    store->zeros = at;
    store->journal.header = at + DISK_PAGE_BYTES;
    at += 2 * (size_t)DISK_PAGE_BYTES;
    for (uint32_t i = 0; i < STORE_WRITE_BACKS; i++) {
        store->checkpoint.write_backs[i].header = at;
        store->checkpoint.write_backs[i].run = at + DISK_PAGE_BYTES;
        at += DISK_PAGE_BYTES + STORE_RUN_BYTES;
    }
    for (uint32_t i = 0; i < STORE_GROUPS; i++) {
        store->groups.flying[i].buffer = at;
        at += STORE_GROUP_BYTES;
    }
    return 0;
}

static int io_start(struct store *store, const struct store_options *options)
{
    const char *why;
    struct iovec iov[STORE_IO_FIXED_MAX];
    unsigned wanted = 0;
    int code = store_io_open(&store->io, options->no_uring, &why);

    if (code != 0) {
        return code;
    }
    if (why != NULL) {
        pawl_log_warn("io_uring is not used: %s; requests are carried out one by one", why);
        return 0;
    }
    iov[wanted++] = (struct iovec){store->pages, store->pages_bytes};
    iov[wanted++] = (struct iovec){store->journal.images, store->journal.images_bytes};
    if (options->fixed_memory != NULL && options->fixed_bytes > 0) {
        iov[wanted++] = (struct iovec){options->fixed_memory, options->fixed_bytes};
    }
    // All may be too much for RLIMIT_MEMLOCK, and the first ones not.
    for (unsigned count = wanted; count > 0 && store->io.fixed_count == 0; count--) {
        int refused = store_io_register(&store->io, iov, count);
        code = code != 0 ? code : refused;
    }
    if (store->io.fixed_count < wanted) {
        pawl_log_warn("%u of %u buffers are not registered with io_uring (%s; RLIMIT_MEMLOCK?): "
                      "somewhat slower",
                      wanted - store->io.fixed_count, wanted, strerror(-code));
    }
    return 0;
}

static void limits_set(struct store *store, const struct store_options *options)
{
    struct rlimit files = {.rlim_cur = 1024};
    uint32_t inline_max = options->inline_max_bytes;
    uint64_t room = store_journal_room_bytes(store) - 2 * sizeof(struct disk_entry);

    inline_max = inline_max != 0 ? inline_max : STORE_INLINE_DEFAULT_BYTES;
    inline_max = PAWL_MIN(inline_max, STORE_INLINE_MAX_BYTES);
    store->inline_max_bytes = (uint32_t)PAWL_MIN((uint64_t)inline_max, room);
    store->group_bytes_min =
        options->group_bytes_min != 0 ? options->group_bytes_min : STORE_GROUP_MIN_DEFAULT_BYTES;
    store->space_limit_bytes = options->space_limit_bytes;
    getrlimit(RLIMIT_NOFILE, &files);
    store->stores_count = PAWL_MAX(options->stores_count, 1u);
    rlim_t share = files.rlim_cur / 2 / store->stores_count;
    store->files_max = (uint32_t)PAWL_MAX(PAWL_MIN(share, (rlim_t)STORE_FILES_MAX), (rlim_t)1);
}

static void describe(struct store *store)
{
    char disk[48] = "page cache";

    if (store->direct) {
        snprintf(disk, sizeof(disk), "O_DIRECT (%u-byte blocks)", store->block_bytes);
    }
    snprintf(store->describe, sizeof(store->describe), "%s%s, %s, journal %u x %" PRIu64 " KiB",
             store->io.uring ? "io_uring" : "no io_uring",
             store->io.fixed_count == STORE_IO_FIXED_MAX ? " with registered memory" : "", disk,
             store->journal.segments_count, store->journal.segments[0].bytes >> 10);
}

static struct store *store_new(void)
{
    struct store *store = calloc(1, sizeof(*store));

    if (store == NULL) {
        return NULL;
    }
    store->dir_fd = store->journal_fd = store->chunks_fd = store->damaged_fd = -1;
    store->io.event_fd = -1;
    pawl_map_init(&store->map, pawl_alloc_heap());
    pawl_list_init(&store->replicas);
    pawl_list_init(&store->dropped);
    pawl_list_init(&store->reads_waiting);
    pawl_list_init(&store->files_open);
    pawl_list_init(&store->files_scarce);
    pawl_list_init(&store->spares);
    pawl_list_init(&store->io.pending);
    return store;
}

static void replicas_free(struct pawl_list *list)
{
    struct pawl_list *node;

    while ((node = pawl_list_first(list)) != NULL) {
        store_replica_free(pawl_container_of(node, struct store_replica, node));
    }
}

static void store_free(struct store *store)
{
    replicas_free(&store->replicas);
    replicas_free(&store->dropped);
    store_spares_close(store);
    if (store->io.event_fd >= 0) {
        store_io_close(&store->io);
    }
    store_segments_close(store);
    free(store->pages);
    folders_close(store);
    pawl_map_fini(&store->map);
    free(store->ready);
    free(store);
}

// True while anything moves that a completion or the next start depends on.
static bool store_moves(const struct store *store)
{
    return !store_io_is_idle(&store->io) || !pawl_list_is_empty(&store->files_scarce) ||
           (store->failed == 0 && (!store_journal_is_idle(store) || !store_groups_are_idle(store) ||
                                   !store_checkpoint_is_idle(store)));
}

// Everything that moves by itself: one turn.
static void store_turn(struct store *store)
{
    store_io_poll(&store->io);
    store_files_retry(store);
    do {
        store_journal_step(store);
    } while (store_checkpoint_step(store)); // a free segment: the journal can go on
    store_io_flush(&store->io);
}

// After a crash all segments may be full: one is made free before anything else is written.
static void segment_make_free(struct store *store)
{
    while (store->failed == 0 && store_segments_free_count(store) == 0) {
        store_turn(store);
        store_io_wait(&store->io);
    }
}

static int store_start(struct store *store, const struct store_options *options)
{
    int code = folders_open(store, options);

    if (code == 0) {
        code = store_identity_load(store);
    }
    if (code == 0) {
        code = direct_probe(store, options->no_direct);
    }
    if (code == 0) {
        code = pages_new(store);
    }
    if (code == 0) {
        store_journal_open(store);
        store_groups_open(store);
        code = store_segments_open(store, options);
    }
    if (code == 0) {
        code = io_start(store, options);
    }
    if (code != 0) {
        return code;
    }
    store_checkpoint_open(store);
    limits_set(store, options);
    code = store_recover(store);
    if (code != 0) {
        return code;
    }
    segment_make_free(store);
    if (store->failed != 0) {
        return store->failed;
    }
    store_space_refresh(store);
    describe(store);
    return 0;
}

int store_open(const struct store_options *options, struct store **ret_store)
{
    struct store *store = store_new();

    if (store == NULL) {
        return -ENOMEM;
    }
    int code = store_start(store, options);
    if (code != 0) {
        pawl_log_error("%s can't be opened: %s", options->dir,
                       code == -EBUSY ? "another process has it" : pawl_strerror(code));
        while (!store_io_is_idle(&store->io)) {
            store_io_wait(&store->io);
        }
        store_free(store);
        return code;
    }
    pawl_log_info("%s: %s, %zu chunks", options->dir, store->describe, pawl_map_count(&store->map));
    store->serving = true;
    *ret_store = store;
    return 0;
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    store->closing = true;
    store->serving = false;
    do {
        store_turn(store);
        if (!store_io_is_idle(&store->io)) {
            store_io_wait(&store->io);
        }
    } while (store_moves(store) || (store->failed == 0 && store->journal.unmarked));
    store_free(store);
}

void store_visit(struct store *store, void (*visit)(void *user, const struct store_chunk *chunk),
                 void *user)
{
    pawl_list_for_each (node, &store->replicas) {
        const struct store_replica *replica = pawl_container_of(node, struct store_replica, node);
        struct store_chunk chunk;
        if (!replica->created) {
            continue;
        }
        store_replica_view(replica, &chunk);
        visit(user, &chunk);
    }
}

int store_poll(struct store *store, struct store_completion *completions, int count)
{
    int given = 0;

    store_turn(store);
    while (given < count && store->ready_count > 0) {
        completions[given++] = store->ready[store->ready_first];
        store->ready_first = (store->ready_first + 1) & (store->ready_capacity - 1);
        store->ready_count--;
    }
    return given;
}

bool store_busy(const struct store *store)
{
    return store->ops_count > 0 || store->ready_count > 0 || store_moves(store);
}

int store_try_wait(struct store *store)
{
    // What waits for nothing (memory that was short) is tried again at once; what waits for a descriptor by time.
    bool is_due = store->ready_count > 0 ||
                  (store_io_is_idle(&store->io) && store_moves(store) && !store_files_wait(store));
    return !is_due && store_io_try_wait(&store->io) ? 0 : -EAGAIN;
}

int store_wait_fd(const struct store *store)
{
    return store->io.event_fd;
}

int store_failed(const struct store *store)
{
    return store->failed;
}

const struct store_counters *store_counters(const struct store *store)
{
    return &store->counters;
}

const char *store_describe(const struct store *store)
{
    return store->describe;
}
