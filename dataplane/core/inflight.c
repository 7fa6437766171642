// SPDX-License-Identifier: Apache-2.0
// Records that are not settled yet, and the requests that wait for them.
#include "base/assert.h"
#include "dataplane/core/chunk_core_private.h"

#define INFLIGHT_MIN 16u

bool inflight_has_room(const struct inflight *inflight, uint32_t count)
{
    return inflight->end - inflight->first + count <= CHUNK_INFLIGHT_MAX;
}

struct inflight_slot *inflight_at(const struct inflight *inflight, uint64_t index)
{
    pawl_assert(index >= inflight->first && index < inflight->end);
    return &inflight->slots[index & (inflight->capacity - 1)];
}

static bool inflight_grow(struct chunk_core *core, struct inflight *inflight)
{
    uint32_t capacity = inflight->capacity ? inflight->capacity * 2 : INFLIGHT_MIN;
    struct inflight_slot *slots = pawl_alloc_array(core->alloc, capacity, sizeof(*slots));
    if (!slots) {
        core->no_memory = true;
        return false;
    }
    for (uint64_t index = inflight->first; index < inflight->end; index++) {
        slots[index & (capacity - 1)] = *inflight_at(inflight, index);
    }
    pawl_alloc_free(core->alloc, inflight->slots);
    inflight->slots = slots;
    inflight->capacity = capacity;
    return true;
}

struct inflight_slot *inflight_push(struct chunk_core *core, struct inflight *inflight)
{
    pawl_assert(inflight_has_room(inflight, 1));
    if (inflight->end - inflight->first == inflight->capacity && !inflight_grow(core, inflight)) {
        return NULL;
    }
    inflight->end++;
    struct inflight_slot *slot = inflight_at(inflight, inflight->end - 1);
    *slot = (struct inflight_slot){.sent_ns = core->now_ns};
    return slot;
}

void inflight_settle(struct inflight *inflight, uint64_t index)
{
    pawl_assert(index >= inflight->first && index <= inflight->end);
    for (; inflight->first < index; inflight->first++) {
        pawl_assert(!inflight_at(inflight, inflight->first)->waiters);
    }
}

void inflight_reset(struct inflight *inflight, uint64_t index)
{
    pawl_assert(inflight_is_empty(inflight));
    inflight->first = index;
    inflight->end = index;
}

void inflight_cut(struct inflight *inflight, uint64_t index)
{
    pawl_assert(index >= inflight->first && index <= inflight->end);
    for (; inflight->end > index; inflight->end--) {
        pawl_assert(!inflight_at(inflight, inflight->end - 1)->waiters);
    }
}

static void waiter_free(struct chunk_core *core, struct chunk_waiter *waiter)
{
    waiter->next = core->waiters_free;
    core->waiters_free = waiter;
}

void inflight_fini(struct chunk_core *core, struct inflight *inflight)
{
    struct chunk_waiter waiter;
    for (uint64_t index = inflight->first; index < inflight->end; index++) {
        while (inflight_waiter_pop(core, inflight_at(inflight, index), &waiter)) {
            continue;
        }
    }
    pawl_alloc_free(core->alloc, inflight->slots);
    *inflight = (struct inflight){0};
}

void inflight_wait(struct chunk_core *core, struct inflight_slot *slot,
                   const struct chunk_waiter *waiter)
{
    struct chunk_waiter *copy = core->waiters_free;
    if (copy) {
        core->waiters_free = copy->next;
    } else {
        copy = pawl_alloc_new(core->alloc, sizeof(*copy));
    }
    if (!copy) {
        core->no_memory = true;
        return;
    }
    *copy = *waiter;
    copy->next = NULL;
    struct chunk_waiter **place = &slot->waiters;
    while (*place) {
        place = &(*place)->next;
    }
    *place = copy;
}

static bool waiter_take(struct chunk_core *core, struct chunk_waiter **place,
                        struct chunk_waiter *ret)
{
    struct chunk_waiter *waiter = *place;
    if (!waiter) {
        return false;
    }
    *place = waiter->next;
    *ret = *waiter;
    waiter_free(core, waiter);
    return true;
}

bool inflight_waiter_pop(struct chunk_core *core, struct inflight_slot *slot,
                         struct chunk_waiter *ret)
{
    return waiter_take(core, &slot->waiters, ret);
}

bool inflight_replicated_pop(struct chunk_core *core, struct inflight_slot *slot,
                             struct chunk_waiter *ret)
{
    struct chunk_waiter **place = &slot->waiters;
    while (*place && !(*place)->replicated) {
        place = &(*place)->next;
    }
    return waiter_take(core, place, ret);
}

void inflight_forget(struct chunk_core *core, struct inflight *inflight, uint64_t conn)
{
    for (uint64_t index = inflight->first; index < inflight->end; index++) {
        struct chunk_waiter **place = &inflight_at(inflight, index)->waiters;
        while (*place) {
            struct chunk_waiter *waiter = *place;
            if (waiter->conn == conn) {
                *place = waiter->next;
                waiter_free(core, waiter);
            } else {
                place = &waiter->next;
            }
        }
    }
}
