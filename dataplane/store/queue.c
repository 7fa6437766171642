// SPDX-License-Identifier: Apache-2.0
// Mutating calls: what is refused at once, in which order the rest takes effect, and how it ends.
//
// Order within a chunk. Everything takes effect in the order of its entries in the journal, and small
// operations get there in the order of their calls. A large record, or a group of small ones, is on its way to the
// chunk file first; what must not overtake it (promise, seal, drop) waits in the chunk's `blocked` list, and so
// does whatever comes behind it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"

#define PAWL_LOG_SUBSYSTEM "store"
#include "base/log.h"
#include "dataplane/store/footer.h"
#include "dataplane/store/store_private.h"

#define QUEUE_READY_MIN 256u
#define QUEUE_FS_LOOK_BYTES (16u << 20)
#define QUEUE_FS_RESERVE_BYTES (UINT64_C(256) << 20)
#define QUEUE_SPARES_SHARE 4u // of what is free, one in so many

// Room for the completion of one more operation, so that an end can never fail.
int store_ready_reserve(struct store *store)
{
    uint32_t needed = store->ops_count + store->ready_count + 1;

    if (needed <= store->ready_capacity) {
        return 0;
    }
    uint32_t capacity = PAWL_MAX(2 * store->ready_capacity, QUEUE_READY_MIN);
    struct store_completion *ready = malloc(capacity * sizeof(*ready));
    if (ready == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < store->ready_count; i++) {
        ready[i] = store->ready[(store->ready_first + i) & (store->ready_capacity - 1)];
    }
    free(store->ready);
    store->ready = ready;
    store->ready_capacity = capacity;
    store->ready_first = 0;
    return 0;
}

void store_ready_push(struct store *store, const struct store_completion *completion)
{
    pawl_assert(store->ready_count < store->ready_capacity);
    store->ready[(store->ready_first + store->ready_count) & (store->ready_capacity - 1)] =
        *completion;
    store->ready_count++;
    store->ops_count--;
}

static int op_new(struct store_replica *replica, enum store_op_type type, uint64_t token,
                  struct store_op **ret)
{
    struct store_op *op = calloc(1, sizeof(*op));

    if (op == NULL) {
        return -ENOMEM;
    }
    if (store_ready_reserve(replica->store) != 0) {
        free(op);
        return -ENOMEM;
    }
    pawl_list_init(&op->node);
    op->type = type;
    op->token = token;
    op->replica = replica;
    op->count = 1;
    replica->ops_count++;
    replica->store->ops_count++;
    *ret = op;
    return 0;
}

static void op_cancel(struct store_op *op)
{
    op->replica->ops_count--;
    op->replica->store->ops_count--;
    free(op);
}

void store_op_finish(struct store_op *op, int code)
{
    struct store_replica *replica = op->replica;
    struct store *store = replica->store;
    struct store_completion completion = {
        .token = op->token,
        .status = code,
        .chunk = replica->handle,
    };

    pawl_list_remove(&op->node);
    if (op->silent) {
        store->ops_count--;
    } else {
        store_ready_push(store, &completion);
    }
    if (op->replaces != NULL) {
        op->replaces->ops_count--;
        store_replica_release(op->replaces);
    }
    free(op->bounce);
    free(op);
    replica->ops_count--;
    store_replica_release(replica);
}

void store_ops_finish(struct pawl_list *ops, int code)
{
    struct pawl_list *node;

    while ((node = pawl_list_first(ops)) != NULL) {
        store_op_finish(pawl_container_of(node, struct store_op, node), code);
    }
}

static bool op_must_wait(const struct store_op *op)
{
    const struct store_replica *replica = op->replica;

    switch (op->type) {
    case STORE_OP_LARGE:
        return !replica->created; // the file's name needs the create entry's number
    case STORE_OP_PROMISE:
    case STORE_OP_SEAL:
    case STORE_OP_DROP:
        return replica->large_count > 0;
    default:
        return false;
    }
}

static void op_go(struct store_op *op)
{
    struct store *store = op->replica->store;

    if (store->failed != 0) {
        store_op_finish(op, store->failed);
    } else if (op->type == STORE_OP_LARGE) {
        op->replica->large_count++;
        store_file_append(op);
    } else if (store_group_takes(op)) {
        store_group_add(op);
    } else {
        store_group_prepare(op);
        pawl_list_push_back(&store->journal.waiting, &op->node);
    }
}

void store_op_launch(struct store_op *op)
{
    bool waits = !pawl_list_is_empty(&op->replica->blocked) || op_must_wait(op);

    if (waits && op->replica->store->failed == 0) {
        pawl_list_push_back(&op->replica->blocked, &op->node);
    } else {
        op_go(op);
    }
}

void store_blocked_release(struct store_replica *replica)
{
    struct pawl_list *node;

    while ((node = pawl_list_first(&replica->blocked)) != NULL) {
        struct store_op *op = pawl_container_of(node, struct store_op, node);
        if (op_must_wait(op)) {
            return;
        }
        pawl_list_remove(node);
        op_go(op);
    }
}

int store_op_queue_silent(struct store_replica *replica, enum store_op_type type, uint64_t argument)
{
    struct store_op *op;
    int code = op_new(replica, type, 0, &op);

    if (code != 0) {
        return code;
    }
    op->silent = true;
    op->argument = argument;
    op->version = replica->version;
    store_op_launch(op);
    return 0;
}

// Looks at the file system. What the journal holds will want its place in chunk files too.
void store_space_refresh(struct store *store)
{
    struct statvfs fs;

    store->fs_since_bytes = 0;
    if (fstatvfs(store->dir_fd, &fs) != 0) {
        return;
    }
    uint64_t total = (uint64_t)fs.f_blocks * fs.f_frsize;
    uint64_t reserve = PAWL_MIN(total / 100, QUEUE_FS_RESERVE_BYTES) + store_segments_held(store);
    // Others take space too, unseen until the next look, and want places for what their journals hold.
    uint64_t others = store->stores_count > 1 ? store->stores_count - 1 : 0;
    reserve += others * (store_segments_bytes(store) + QUEUE_FS_LOOK_BYTES);
    store->fs_free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    store->fs_reserve_bytes = reserve;
    store_spares_trim(store);
}

static uint64_t space_used(const struct store *store)
{
    return store_segments_bytes(store) + store->chunks_space_bytes;
}

static void space_as_seen(const struct store *store, struct store_space *ret_space)
{
    uint64_t used = space_used(store);
    uint64_t fs_free = store->fs_free_bytes + store->spares_bytes;

    fs_free -= PAWL_MIN(fs_free, store->fs_reserve_bytes + store->fs_since_bytes);
    uint64_t total = used + fs_free;
    if (store->space_limit_bytes != 0) {
        total = PAWL_MIN(total, store->space_limit_bytes);
    }
    *ret_space = (struct store_space){
        .total_bytes = total,
        .used_bytes = used,
        .free_bytes = total > used ? total - used : 0,
        .disk_bytes = fs_free,
    };
}

bool store_space_allows_spares(const struct store *store, uint64_t more_bytes)
{
    struct store_space space;
    uint64_t kept = store->spares_bytes - store->spares_leaving_bytes + store->unused_bytes;

    space_as_seen(store, &space);
    return kept + more_bytes <= space.free_bytes / QUEUE_SPARES_SHARE;
}

// Others write to this file system too: each look is a new one.
void store_space(struct store *store, struct store_space *ret_space)
{
    store_space_refresh(store);
    space_as_seen(store, ret_space);
}

// Takes the space, or refuses: before the disk is full, so that what was accepted can be written.
static int space_take(struct store_replica *replica, uint64_t bytes)
{
    struct store *store = replica->store;
    struct store_space space;

    space_as_seen(store, &space);
    if (space.free_bytes < bytes || store->fs_since_bytes >= QUEUE_FS_LOOK_BYTES) {
        store_space(store, &space);
    }
    if (space.free_bytes < bytes) {
        return PAWL_ENOSPACE;
    }
    store_replica_space(replica, replica->space_bytes + bytes, replica->held_bytes);
    store->fs_since_bytes += bytes;
    store_spares_trim(store);
    return 0;
}

static void space_give(struct store_replica *replica, uint64_t bytes)
{
    store_replica_space(replica, replica->space_bytes - bytes, replica->held_bytes);
}

static int create_check(const struct store *store, const struct store_chunk *chunk)
{
    size_t payload_bytes =
        sizeof(struct disk_create) + chunk->producers_count * sizeof(struct wire_producer);

    if (chunk->chunk_bytes == 0 || chunk->chunk_bytes > STORE_CHUNK_BYTES_MAX ||
        chunk->producers_count > WIRE_TABLE_ROWS_MAX || chunk->zero_bytes > chunk->chunk_bytes ||
        (chunk->zero_bytes != 0 && chunk->written_handle != 0)) {
        return -EINVAL;
    }
    // The producer table is one entry: it has to fit a journal segment.
    if (payload_bytes + 2 * sizeof(struct disk_entry) > store_journal_room_bytes(store)) {
        return PAWL_ELIMIT;
    }
    return 0;
}

int store_create(struct store *store, const struct store_chunk *chunk, uint64_t token)
{
    struct store_replica *old = store_replica_find(store, chunk->handle);
    struct store_replica *replica;
    struct store_op *op;
    int code = create_check(store, chunk);

    if (code != 0) {
        return code;
    }
    if (old != NULL && !old->drop_queued &&
        (old->queued_count > 0 || old->seal_queued || old->version >= chunk->version)) {
        return -EEXIST;
    }
    code = store_replica_new(store, chunk, &replica);
    if (code != 0) {
        return code;
    }
    code = op_new(replica, STORE_OP_CREATE, token, &op);
    if (code != 0) {
        goto fail;
    }
    code =
        space_take(replica, 2 * (DISK_PAGE_BYTES + footer_body_bytes(0, chunk->producers_count)));
    if (code == 0) {
        code = pawl_map_put(&store->map, replica->handle, replica);
    }
    if (code != 0) {
        goto fail_op;
    }
    op->version = chunk->version;
    op->commit_count = chunk->commit_count;
    op->replaces = old;
    if (old != NULL) {
        old->ops_count++; // until this one ends
    }
    pawl_list_push_back(&store->replicas, &replica->node);
    store_op_launch(op);
    return 0;

fail_op:
    space_give(replica, replica->space_bytes);
    op_cancel(op);
fail:
    store_replica_free(replica);
    return code;
}

// `length`: of all records from `index` on, `record` being the first.
static int append_check(const struct store_replica *replica, uint64_t index,
                        const struct pawl_record *record, uint64_t length, uint32_t count)
{
    if (replica->damaged) {
        return PAWL_EDAMAGED;
    }
    if (count == 0 || count > DISK_RUN_MAX || replica->seal_queued || replica->drop_queued ||
        index != replica->queued_count ||
        record->offset != pawl_records_bytes(&replica->records, replica->records.count) ||
        length > WIRE_RECORD_MAX || length > replica->chunk_bytes - record->offset) {
        return -EINVAL;
    }
    return index + count <= DISK_RECORDS_MAX ? 0 : PAWL_ELIMIT;
}

// O_DIRECT takes whole blocks from aligned memory: another payload is copied now, while failing is
// still harmless.
static int op_bounce(struct store_op *op, const void *payload, size_t bytes)
{
    struct store *store = op->replica->store;

    op->payload = payload;
    if (op->type != STORE_OP_LARGE || !store->direct || (uintptr_t)payload % DISK_PAGE_BYTES == 0) {
        return 0;
    }
    op->bounce = aligned_alloc(DISK_PAGE_BYTES, (size_t)pawl_align_up(bytes, DISK_PAGE_BYTES));
    if (op->bounce == NULL) {
        return -ENOMEM;
    }
    memcpy(op->bounce, payload, bytes);
    store->counters.copied_bytes += bytes;
    memset((uint8_t *)op->bounce + bytes, 0, (size_t)(-bytes & (DISK_PAGE_BYTES - 1)));
    return 0;
}

// The rows of what an operation appends.
static void append_rows(struct store_replica *replica, uint64_t index,
                        const struct pawl_record *first, const struct wire_run_row *rows,
                        uint32_t count)
{
    struct pawl_record record = *first;

    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            pawl_record_follow(&record, &rows[i]);
        }
        pawl_records_add(&replica->records, &record);
        *store_replica_place(replica, index + i) = 0;
    }
    replica->queued_count += count;
}

int store_append(struct store *store, uint64_t handle, uint64_t index,
                 const struct pawl_record *record, const void *payload, uint64_t commit_count,
                 uint64_t token)
{
    return store_append_run(store, handle, index, record, NULL, 1, payload, commit_count, token);
}

int store_append_run(struct store *store, uint64_t handle, uint64_t index,
                     const struct pawl_record *record, const struct wire_run_row *rows,
                     uint32_t count, const void *payload, uint64_t commit_count, uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    uint64_t length = record->length;
    struct store_op *op;

    if (replica == NULL) {
        return PAWL_ENOCHUNK;
    }
    for (uint32_t i = 1; i < count; i++) {
        length += rows[i].length;
    }
    bool large = count == 1 && length > store->inline_max_bytes;
    uint64_t bytes = large ? pawl_align_up(length, DISK_PAGE_BYTES) : length;
    bytes += 2 * count * sizeof(struct disk_record);
    int code = append_check(replica, index, record, length, count);
    if (code == 0) {
        code = store_replica_grow(replica, count);
    }
    if (code == 0) {
        code = space_take(replica, bytes);
    }
    if (code != 0) {
        return code;
    }
    code = op_new(replica, large ? STORE_OP_LARGE : STORE_OP_RECORD, token, &op);
    if (code == 0) {
        code = op_bounce(op, payload, record->length);
        if (code != 0) {
            op_cancel(op);
        }
    }
    if (code != 0) {
        space_give(replica, bytes);
        return code;
    }
    op->argument = index;
    op->count = count;
    op->version = record->version;
    op->commit_count = commit_count;
    append_rows(replica, index, record, rows, count);
    store->counters.stored_bytes += length;
    store_op_launch(op);
    return 0;
}

int store_promise(struct store *store, uint64_t handle, uint64_t version, uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_op *op;

    if (replica == NULL || replica->drop_queued) {
        return PAWL_ENOCHUNK;
    }
    int code = op_new(replica, STORE_OP_PROMISE, token, &op);
    if (code != 0) {
        return code;
    }
    op->version = version;
    store_op_launch(op);
    return 0;
}

int store_seal(struct store *store, uint64_t handle, uint64_t version, uint64_t count,
               uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_op *op;

    if (replica == NULL || replica->drop_queued) {
        return PAWL_ENOCHUNK;
    }
    if (replica->seal_queued && !replica->sealed) {
        return PAWL_EBUSY;
    }
    if (count > replica->queued_count || (replica->sealed && count != replica->queued_count)) {
        return -EINVAL;
    }
    int code = op_new(replica, STORE_OP_SEAL, token, &op);
    if (code != 0) {
        return code;
    }
    op->version = version;
    op->argument = count;
    replica->seal_queued = true;
    store_op_launch(op);
    return 0;
}

int store_drop(struct store *store, uint64_t handle, uint64_t token)
{
    struct store_replica *replica = store_replica_find(store, handle);
    struct store_op *op;

    if (replica == NULL || replica->drop_queued) {
        return PAWL_ENOCHUNK;
    }
    int code = op_new(replica, STORE_OP_DROP, token, &op);
    if (code != 0) {
        return code;
    }
    op->version = replica->version;
    replica->drop_queued = true;
    store_op_launch(op);
    return 0;
}
