// SPDX-License-Identifier: Apache-2.0
// Groups: small records that queue up are written to their chunk file together, and the journal only refers to them.
//
// A record in the journal is written twice: there, and later in its place. Where the journal's flush makes the chunk
// file durable as well (cover.c), once is enough: what has gathered while the disk was busy goes into its place in
// one write, and then its entries to the journal, as those of large records do (docs/decisions/0054). Each group
// begins on a page that nothing was written to, so none can tear what is there already.
//
// A few records are better off in the journal, by one write instead of two. So only a long queue gathers, and when the
// journal has nothing to do and no group of the chunk is on its way, what has gathered goes there, payloads and all.
//
// A flush takes the disk as long as dozens of records do. So a batch that could go while groups are being written waits for
// them, and takes their entries along.
#include <string.h>

#include "dataplane/store/store_private.h"

// A chunk's first bytes say nothing about how many will come.
#define GROUP_CHUNK_BYTES_MIN (1u << 20)

void store_groups_open(struct store *store)
{
    pawl_list_init(&store->groups.gathering);
    for (uint32_t i = 0; i < STORE_GROUPS; i++) {
        store->groups.flying[i].store = store;
        pawl_list_init(&store->groups.flying[i].ops);
    }
}

void store_groups_await(struct store *store)
{
    for (uint32_t i = 0; i < STORE_GROUPS; i++) {
        store->groups.flying[i].awaited = store->groups.flying[i].replica != NULL;
    }
}

bool store_groups_are_awaited(const struct store *store)
{
    for (uint32_t i = 0; i < STORE_GROUPS; i++) {
        if (store->groups.flying[i].awaited) {
            return true;
        }
    }
    return false;
}

bool store_groups_are_idle(const struct store *store)
{
    return pawl_list_is_empty(&store->groups.gathering); // those on their way have a request
}

// And open: to wait for a descriptor is nothing for small records.
static bool file_is_covered(const struct store_replica *replica)
{
    return replica->file_state == STORE_FILE_OPEN && replica->tail < replica->covered_end &&
           replica->covered_end - replica->tail >= STORE_GROUP_BYTES;
}

// Of the chunk, in all that is not durable yet.
static bool queue_is_long(const struct store_replica *replica)
{
    uint64_t bytes = pawl_records_bytes(&replica->records, replica->queued_count) -
                     pawl_records_bytes(&replica->records, replica->durable_count);

    return bytes >= replica->store->group_bytes_min;
}

bool store_group_takes(const struct store_op *op)
{
    const struct store_replica *replica = op->replica;

    if (op->type != STORE_OP_RECORD || !file_is_covered(replica)) {
        return false;
    }
    size_t bytes = store_op_records_bytes(op);
    return bytes > 0 && bytes <= STORE_GROUP_BYTES &&
           (!pawl_list_is_empty(&replica->gathering) || queue_is_long(replica));
}

void store_group_prepare(const struct store_op *op)
{
    struct store_replica *replica = op->replica;
    const struct store *store = replica->store;

    if (op->type == STORE_OP_RECORD && replica->created && !replica->file_exists &&
        !replica->making_file &&
        pawl_records_bytes(&replica->records, replica->queued_count) >= GROUP_CHUNK_BYTES_MIN &&
        queue_is_long(replica) &&
        store_spare_is_there(store, store_file_bytes(replica->chunk_bytes))) {
        store_file_will_take_large(replica);
        store_file_make_ahead(replica);
    }
}

void store_group_add(struct store_op *op)
{
    struct store_replica *replica = op->replica;

    if (pawl_list_is_empty(&replica->gathering)) {
        pawl_list_push_back(&replica->store->groups.gathering, &replica->gathers);
    }
    pawl_list_push_back(&replica->gathering, &op->node);
    replica->gathering_bytes += store_op_records_bytes(op);
    replica->large_count++;
}

static struct store_op *group_pop(struct store_replica *replica)
{
    struct pawl_list *node = pawl_list_pop_front(&replica->gathering);
    struct store_op *op = pawl_container_of(node, struct store_op, node);

    replica->gathering_bytes -= store_op_records_bytes(op);
    if (pawl_list_is_empty(&replica->gathering)) {
        pawl_list_remove(&replica->gathers);
    }
    return op;
}

static void group_fail(struct store_replica *replica, struct pawl_list *ops, int code)
{
    struct pawl_list *node;

    replica->uses++; // keeps it until all have heard
    while ((node = pawl_list_pop_front(ops)) != NULL) {
        replica->large_count--;
        store_op_finish(pawl_container_of(node, struct store_op, node), code);
    }
    replica->uses--;
    store_replica_release(replica);
}

void store_groups_fail(struct store *store, int code)
{
    struct pawl_list *node;

    while ((node = pawl_list_pop_front(&store->groups.gathering)) != NULL) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, gathers);
        replica->gathering_bytes = 0;
        group_fail(replica, &replica->gathering, code);
    }
}

// Its records are in the device; their entries, and the flush behind these, make them last.
static void group_end(struct store_group *group, int code)
{
    struct store_replica *replica = group->replica;
    struct store *store = group->store;

    group->replica = NULL;
    group->awaited = false;
    replica->groups_count--;
    if (code < 0 && store->failed == 0) {
        store_fail(store, code, "a chunk file");
    }
    if (store->failed != 0) {
        group_fail(replica, &group->ops, store->failed);
    } else {
        pawl_list_append_all(&store->journal.waiting, &group->ops);
    }
}

static void group_written(struct store_io_request *request, int result)
{
    struct store_group *group = pawl_container_of(request, struct store_group, io);

    store_file_release(group->replica);
    group_end(group, result);
}

// Copies what has gathered, as much as a write takes, and gives it its place. Returns the bytes.
static size_t group_fill(struct store_group *group, struct store_replica *replica)
{
    size_t used = 0;

    while (!pawl_list_is_empty(&replica->gathering)) {
        struct pawl_list *node = pawl_list_first(&replica->gathering);
        size_t bytes = store_op_records_bytes(pawl_container_of(node, struct store_op, node));
        if (used + bytes > STORE_GROUP_BYTES) {
            break;
        }
        struct store_op *op = group_pop(replica);
        memcpy(group->buffer + used, op->payload, bytes);
        op->place = replica->tail + used;
        op->covered = true;
        pawl_list_push_back(&group->ops, &op->node);
        used += bytes;
    }
    return used;
}

static void group_begin(struct store_group *group, struct store_replica *replica)
{
    struct store *store = group->store;
    size_t used = group_fill(group, replica);
    size_t bytes = (size_t)pawl_align_up(used, DISK_PAGE_BYTES);

    memset(group->buffer + used, 0, bytes - used);
    store->counters.copied_bytes += used;
    store->counters.grouped_bytes += used;
    store_replica_space(replica, replica->space_bytes + bytes - used, replica->held_bytes);
    store_checkpoint_pace(store, bytes);
    store_file_will_take_large(replica);
    store_file_use(replica);
    group->replica = replica;
    group->io = (struct store_io_request){
        .type = STORE_IO_WRITE,
        .fd = replica->fd,
        .buffer = group->buffer,
        .bytes = bytes,
        .offset = replica->tail,
        .done = group_written,
    };
    replica->tail += bytes;
    replica->groups_count++;
    store_io_submit(&store->io, &group->io);
}

static struct store_group *group_idle(struct store *store)
{
    for (uint32_t i = 0; i < STORE_GROUPS; i++) {
        if (store->groups.flying[i].replica == NULL) {
            return &store->groups.flying[i];
        }
    }
    return NULL;
}

// To the journal, payloads and all.
static void group_give_up(struct store_replica *replica)
{
    while (!pawl_list_is_empty(&replica->gathering)) {
        struct store_op *op = group_pop(replica);
        pawl_list_push_back(&replica->store->journal.waiting, &op->node);
        replica->large_count--;
    }
    store_blocked_release(replica);
}

static bool group_is_due(const struct store_replica *replica)
{
    return replica->gathering_bytes >= replica->store->group_bytes_min && file_is_covered(replica);
}

void store_groups_step(struct store *store)
{
    pawl_list_for_each_safe (node, &store->groups.gathering) {
        struct store_replica *replica = pawl_container_of(node, struct store_replica, gathers);
        struct store_group *group;
        if (store->failed != 0) {
            return;
        }
        while (group_is_due(replica) && (group = group_idle(store)) != NULL) {
            group_begin(group, replica);
        }
        if (!group_is_due(replica) && replica->groups_count == 0 && !store->journal.in_flight) {
            group_give_up(replica);
        }
    }
}
