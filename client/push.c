// SPDX-License-Identifier: Apache-2.0
// Pushing alone.
#include "client/push.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "client/client_private.h"

#define PUSH_MS 10000u

struct push_slot {
    struct pawl_list node; // in the list of free ones, or of done ones, or in none
    struct client_pusher *pusher;
    client_push_fn *done;
    void *user;
    int status;
    uint32_t bytes;
    struct link_use use; // free again only when no write reads from its data
};

struct client_pusher {
    struct pawl_file *file;
    uint64_t handle;
    uint64_t version;
    uint64_t place;
    struct wire_record_id
        id; // none of the file's producer; the primary passes the payload on under one of its own
    struct pawl_list free;
    struct pawl_list done; // callbacks to run
    struct client_push_counters counters;
    struct push_slot slots[];
};

int client_pusher_open(struct pawl_file *file, uint32_t depth, struct client_pusher **ret)
{
    uint64_t deadline_ns = client_deadline_ns(file->pawl, 0);
    struct wire_inspected tail = {0};
    if (file->pusher != NULL) {
        return -EEXIST;
    }
    int code = file_chunks_settle(file, deadline_ns);
    if (code != 0) {
        return code;
    }
    const struct file_chunk *chunk =
        file->chunks_count == 0 ? NULL : &file->chunks[file->chunks_count - 1];
    if (chunk == NULL || chunk->sealed) {
        return PAWL_EINVALID;
    }
    uint64_t handle = chunk->handle;
    uint64_t place = file_place(file, chunk->primary_id, handle);
    code = file_tail_inspect(file, chunk, deadline_ns, &tail); // the map may change meanwhile
    struct client_pusher *pusher =
        code == 0 ? calloc(1, sizeof *pusher + depth * sizeof pusher->slots[0]) : NULL;
    if (pusher == NULL) {
        return code != 0 ? code : -ENOMEM;
    }
    pusher->file = file;
    pusher->handle = handle;
    pusher->version = tail.version;
    pusher->place = place;
    pusher->id.producer_hi = pawl_random_next(&file->pawl->random) & ~WIRE_SESSION_BIT;
    pusher->id.producer_lo = pawl_random_next(&file->pawl->random) | 1;
    pawl_list_init(&pusher->free);
    pawl_list_init(&pusher->done);
    for (uint32_t i = 0; i < depth; i++) {
        pusher->slots[i].pusher = pusher;
        pawl_list_push_back(&pusher->free, &pusher->slots[i].node);
    }
    file->pusher = pusher;
    *ret = pusher;
    return 0;
}

static void on_pushed(void *user, int status, const struct wire_header *reply)
{
    struct push_slot *slot = user;
    struct client_push_counters *counters = &slot->pusher->counters;
    slot->status = status == 0 && reply != NULL ? reply->status : status;
    counters->bytes += slot->status == 0 ? slot->bytes : 0;
    counters->copied_bytes += slot->use.copied_bytes;
    pawl_list_push_back(&slot->pusher->done, &slot->node);
}

int client_push_submit(struct client_pusher *pusher, const void *data, size_t bytes,
                       client_push_fn *done, void *user)
{
    struct pawl_file *file = pusher->file;
    if (file->closed || bytes <= WIRE_INLINE_MAX || bytes > WIRE_RECORD_MAX) {
        return PAWL_EINVALID;
    }
    if (pawl_list_is_empty(&pusher->free)) {
        return -EAGAIN;
    }
    struct push_slot *slot =
        pawl_container_of(pawl_list_first(&pusher->free), struct push_slot, node);
    struct link_request request = {0};
    struct wire_push *message = &request.message.push;
    message->header.type = WIRE_PUSH;
    message->chunk = pusher->handle;
    message->version = pusher->version;
    message->id = pusher->id;
    message->id.sequence = ++pusher->id.sequence;
    message->length = (uint32_t)bytes;
    message->bytes = (uint32_t)bytes;
    slot->bytes = (uint32_t)bytes;
    slot->use = (struct link_use){0};
    slot->done = done;
    slot->user = user;
    request.payload = data;
    request.owner = slot;
    request.payload_bytes = (uint32_t)bytes;
    request.use = &slot->use;
    request.deadline_ns = client_deadline_ns(file->pawl, PUSH_MS);
    request.done = on_pushed;
    request.user = slot;
    int code = link_submit(file->pawl, pusher->place, &request);
    if (code == 0) {
        file_keep(file);
        pawl_list_remove(&slot->node);
    }
    return code;
}

void client_push_counters(const struct client_pusher *pusher, struct client_push_counters *ret)
{
    *ret = pusher->counters;
}

int pusher_callbacks(struct client_pusher *pusher)
{
    int ran = 0;
    while (pusher != NULL && !pawl_list_is_empty(&pusher->done)) {
        struct push_slot *slot =
            pawl_container_of(pawl_list_first(&pusher->done), struct push_slot, node);
        if (slot->use.writes_count > 0) {
            break; // its memory is still read; the link sees to it that it ends
        }
        pawl_list_remove(&slot->node);
        pawl_list_push_back(&pusher->free, &slot->node);
        file_outside_done(pusher->file); // not before its write is over: that one names the slot
        slot->done(slot->user, slot->status);
        ran++;
    }
    return ran;
}
