// SPDX-License-Identifier: Apache-2.0
// The append core: slots, submits, deadlines, ends. How an answer is met: append_retry.c.
//
// Fixed memory: everything is sized by depth_max at birth, so a step can't run out of it.
#include "client/core/append_core.h"

#include <errno.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "client/core/append_core_private.h"

struct append_action *append_action_add(struct append_core *core, enum append_action_type type)
{
    pawl_assert(core->actions.count < core->actions.capacity);
    struct append_action *action = &core->actions.items[core->actions.count++];
    memset(action, 0, sizeof(*action));
    action->type = type;
    return action;
}

static void slot_remove(struct append_core *core, uint32_t at)
{
    pawl_assert(at < core->slots_count);
    core->slots_count--;
    if (at == 0) { // answers come in order
        core->slots = core->slots_count > 0 ? core->slots + 1 : core->slots_memory;
        return;
    }
    memmove(&core->slots[at], &core->slots[at + 1],
            (core->slots_count - at) * sizeof(core->slots[0]));
}

void append_slot_end(struct append_core *core, uint32_t at, struct append_action done)
{
    const struct append_slot *slot = &core->slots[at];
    struct append_action *action = append_action_add(core, APPEND_ACTION_DONE);
    *action = done;
    action->type = APPEND_ACTION_DONE;
    action->sequence = slot->sequence;
    action->attempt = slot->attempt;
    action->user = slot->user;
    action->length = slot->length;
    action->crc = slot->crc;
    action->record_flags = slot->record_flags;
    slot_remove(core, at);
}

static void unknown_insert(struct append_core *core, const struct append_slot *slot, bool refused)
{
    pawl_assert(core->unknowns_count < core->options.depth_max);
    uint32_t at = core->unknowns_count;
    while (at > 0 && core->unknowns[at - 1].sequence > slot->sequence) {
        core->unknowns[at] = core->unknowns[at - 1];
        at--;
    }
    core->unknowns[at] = (struct append_unknown){
        .sequence = slot->sequence, .length = slot->length, .crc = slot->crc, .refused = refused};
    core->unknowns_count++;
}

static void unknown_remove(struct append_core *core, uint32_t at)
{
    core->unknowns_count--;
    memmove(&core->unknowns[at], &core->unknowns[at + 1],
            (core->unknowns_count - at) * sizeof(core->unknowns[0]));
}

// Sequences commit in order: one that is committed settles all before it.
void append_committed(struct append_core *core, uint64_t sequence, bool durable)
{
    core->durable_sequence = PAWL_MAX(core->durable_sequence, durable ? sequence : 0);
    core->committed_sequence = PAWL_MAX(core->committed_sequence, sequence);
    core->next_sequence = PAWL_MAX(core->next_sequence, sequence + 1);
    while (core->unknowns_count > 0 && core->unknowns[0].sequence <= core->committed_sequence) {
        PAWL_MARK(client_unknown_settled_by_later);
        unknown_remove(core, 0);
    }
    for (uint32_t i = 0; i < core->slots_count; i++) {
        if (core->slots[i].sequence > core->committed_sequence) {
            break;
        }
        core->slots[i].chain = false;
    }
}

// A code that says something of the whole file or producer.
static bool code_is_final(int code)
{
    return code == PAWL_EFENCED || code == PAWL_EDELETED || code == PAWL_ENOTFOUND ||
           code == PAWL_EPROTOCOL || code == PAWL_ESESSION;
}

// Where nothing of the file is left, nothing is unknown.
static bool code_leaves_no_doubt(int code)
{
    return code == PAWL_EDELETED || code == PAWL_ENOTFOUND || code == PAWL_EIDREUSED;
}

// Ends one append with a failure. Every code but PAWL_EUNKNOWN promises that the record is not in
// the file, so an append in doubt ends as PAWL_EUNKNOWN, whatever came last.
void append_slot_fail(struct append_core *core, uint32_t at, int code)
{
    struct append_slot slot = core->slots[at];
    bool epoch = (slot.record_flags & WIRE_RECORD_EPOCH) != 0;
    bool doubt = slot.doubt || slot.state != APPEND_SLOT_WAITING;
    if (doubt && !code_leaves_no_doubt(code)) {
        PAWL_MARK(client_unknown);
        code = PAWL_MUTANT(unknown_is_failed) ? PAWL_EDEADLINE : PAWL_EUNKNOWN;
    }
    append_slot_end(core, at, (struct append_action){.status = code});
    if (code == PAWL_EIDREUSED && !epoch) {
        append_committed(core, slot.sequence, false);
    } else if (PAWL_MUTANT(unknown_sequence_reused) || PAWL_MUTANT(unknown_is_failed)) {
        core->next_sequence = PAWL_MIN(core->next_sequence, slot.sequence);
    } else if (slot.chain && !epoch && core->final == 0) {
        unknown_insert(core, &slot, code != PAWL_EUNKNOWN);
    }
}

// True when no record from `at` on can be, or get, in the file.
static bool rest_is_unsent(const struct append_core *core, uint32_t at)
{
    for (uint32_t i = at; i < core->slots_count; i++) {
        const struct append_slot *slot = &core->slots[i];
        if (slot->doubt || slot->state != APPEND_SLOT_WAITING) {
            return false;
        }
    }
    return core->unknowns_count == 0 ||
           core->unknowns[core->unknowns_count - 1].sequence < core->slots[at].sequence;
}

// A record that surely never reached the file leaves no hole behind it: it and all that were to
// follow end now, and their sequences are free again.
static void end_unsent(struct append_core *core, uint32_t at, int code)
{
    PAWL_MARK(client_sequence_given_back);
    core->next_sequence = core->slots[at].sequence;
    while (core->slots_count > at) {
        append_slot_end(core, at, (struct append_action){.status = code});
    }
}

// Ends everything. A final code ends the producer too.
void append_all_fail(struct append_core *core, int code)
{
    if (code_is_final(code)) {
        core->final = code;
    }
    while (core->slots_count > 0) {
        if (core->slots[0].chain && rest_is_unsent(core, 0)) {
            end_unsent(core, 0, code);
        } else {
            append_slot_fail(core, 0, code);
        }
    }
}

// Whoever orders now does not have `sequence`, so it has none behind it, and takes none: they are ended as
// surely absent, also those that were sent and not answered, as their version is over.
void append_lost(struct append_core *core, uint64_t sequence)
{
    PAWL_MARK(client_told_of_loss);
    core->final = PAWL_ELOST;
    core->lost_sequence = sequence;
    while (core->slots_count > 0) {
        if (core->slots[0].sequence < sequence) {
            append_slot_fail(core, 0, PAWL_ELOST);
        } else {
            append_slot_end(
                core, 0, (struct append_action){.status = PAWL_ELOST, .lost_sequence = sequence});
        }
    }
}

bool append_closing(const struct append_core *core, uint64_t server)
{
    for (uint32_t i = 0; i < core->closing_count; i++) {
        if (core->closing[i] == server) {
            return true;
        }
    }
    return false;
}

// What an append ends with that surely reached nobody: why the master gave out no tail, if that is
// something that somebody can mend.
static int deadline_code(const struct append_core *core)
{
    bool mendable = core->tail_status == PAWL_ENOSPACE || core->tail_status == PAWL_ENOSERVERS;
    return mendable ? core->tail_status : PAWL_EDEADLINE;
}

static void expire(struct append_core *core)
{
    uint32_t at = 0;
    while (at < core->slots_count) {
        struct append_slot *slot = &core->slots[at];
        bool epoch = (slot->record_flags & WIRE_RECORD_EPOCH) != 0;
        if (slot->deadline_ns > core->now_ns) {
            at++;
        } else if (slot->chain && rest_is_unsent(core, at)) {
            end_unsent(core, at, deadline_code(core));
        } else {
            PAWL_MARK(client_deadline_after_send);
            // A repeat of a committed sequence may not be called absent, sent or not.
            slot->doubt |= !epoch;
            append_slot_fail(core, at, slot->doubt ? PAWL_EUNKNOWN : deadline_code(core));
        }
    }
}

static struct append_slot *slot_insert(struct append_core *core, uint64_t sequence)
{
    uint32_t at = core->slots_count;
    if (core->slots + at == core->slots_memory + core->slots_capacity) {
        memmove(core->slots_memory, core->slots, at * sizeof(core->slots[0]));
        core->slots = core->slots_memory;
    }
    while (at > 0 && core->slots[at - 1].sequence > sequence) {
        core->slots[at] = core->slots[at - 1];
        at--;
    }
    core->slots_count++;
    memset(&core->slots[at], 0, sizeof(core->slots[at]));
    core->slots[at].sequence = sequence;
    return &core->slots[at];
}

static bool epoch_pending(const struct append_core *core)
{
    return core->slots_count > 0 && (core->slots[0].record_flags & WIRE_RECORD_EPOCH) != 0;
}

// A submit that names its sequence: the next one, one that is unknown, or one that is committed.
static int check_named(const struct append_core *core, const struct append_event *event,
                       const struct append_unknown **ret_unknown)
{
    if (event->sequence > core->next_sequence) {
        return PAWL_EINVALID;
    }
    for (uint32_t i = 0; i < core->slots_count; i++) {
        if (core->slots[i].sequence == event->sequence) {
            return PAWL_EINVALID; // is under way
        }
    }
    for (uint32_t i = 0; i < core->unknowns_count; i++) {
        const struct append_unknown *unknown = &core->unknowns[i];
        if (unknown->sequence == event->sequence) {
            bool same = unknown->length == event->length && unknown->crc == event->crc;
            *ret_unknown = unknown;
            return same || unknown->refused ? 0 : PAWL_EINVALID;
        }
    }
    return 0;
}

static int check_submit(const struct append_core *core, const struct append_event *event,
                        const struct append_unknown **ret_unknown)
{
    bool epoch = (event->record_flags & WIRE_RECORD_EPOCH) != 0;
    if (core->final != 0) {
        return core->final;
    }
    if (epoch ? event->length != 0 || core->options.epoch == 0 : event->length == 0) {
        return PAWL_EINVALID;
    }
    if (core->slots_count == core->options.depth_max || epoch_pending(core) ||
        (epoch && core->slots_count > 0)) {
        return -EAGAIN;
    }
    if (epoch) {
        return 0;
    }
    int code = event->sequence == 0 ? 0 : check_named(core, event, ret_unknown);
    if (code != 0 || *ret_unknown != NULL) {
        return code;
    }
    bool repeat = event->sequence != 0 && event->sequence < core->next_sequence;
    return core->unknowns_count > 0 && !repeat ? PAWL_EUNKNOWN : 0;
}

static int submit(struct append_core *core, const struct append_event *event)
{
    const struct append_unknown *unknown = NULL;
    int code = check_submit(core, event, &unknown);
    if (code != 0) {
        return code;
    }
    bool epoch = (event->record_flags & WIRE_RECORD_EPOCH) != 0;
    uint64_t sequence = event->sequence != 0 ? event->sequence : core->next_sequence;
    struct append_slot *slot = slot_insert(core, epoch ? core->committed_sequence : sequence);
    slot->state = APPEND_SLOT_WAITING;
    slot->chain = !epoch && sequence > core->committed_sequence;
    slot->doubt = !epoch && event->sequence != 0 && (unknown == NULL || !unknown->refused);
    slot->deadline_ns = event->deadline_ns;
    slot->user = event->user;
    slot->length = event->length;
    slot->crc = event->crc;
    slot->record_flags = event->record_flags;
    slot->replicated = event->replicated && !epoch;
    if (unknown != NULL) {
        PAWL_MARK(client_resolves_unknown);
        unknown_remove(core, (uint32_t)(unknown - core->unknowns));
    } else if (!epoch) {
        core->next_sequence = PAWL_MAX(core->next_sequence, sequence + 1);
    }
    core->counters.appends_count++;
    if (core->quiet && core->now_ns < PAWL_MIN(core->due_ns, slot->deadline_ns) &&
        !append_tail_overflows(core)) {
        append_slot_send(core, slot);
    } else {
        core->quiet = false;
    }
    return 0;
}

int append_core_step(struct append_core *core, const struct append_event *event,
                     const struct append_actions **ret_actions)
{
    uint64_t before_ns = core->now_ns;
    core->actions.count = 0;
    core->now_ns = PAWL_MAX(core->now_ns, event->now_ns);
    *ret_actions = &core->actions;
    switch (event->type) {
    case APPEND_EVENT_SUBMIT: {
        int code = submit(core, event);
        if (code != 0) {
            // Time too: a pause that is over would count as noticed, and nobody would be woken for it.
            core->now_ns = before_ns;
            return code;
        }
        break;
    }
    case APPEND_EVENT_TAIL:
        append_on_tail(core, event);
        break;
    case APPEND_EVENT_REPLY:
        append_on_reply(core, event);
        break;
    case APPEND_EVENT_LOOKED_UP:
        append_on_looked_up(core, event);
        break;
    case APPEND_EVENT_DISCONNECTED:
        append_on_disconnected(core, event->server);
        break;
    case APPEND_EVENT_TICK:
        break;
    default:
        return PAWL_EINVALID;
    }
    bool is_plain = event->type == APPEND_EVENT_SUBMIT ||
                    (event->type == APPEND_EVENT_REPLY && event->status == 0);
    if (!core->quiet || !is_plain || core->now_ns >= core->due_ns) {
        expire(core);
        append_pump(core);
    }
    return 0;
}

void append_core_resolved(struct append_core *core, uint64_t sequence)
{
    append_committed(core, sequence, true);
}

// Actions of one step: per slot at most an end, a send or lookup, and a disconnect; and one
// question.
static int allocate(struct append_core *core)
{
    uint32_t depth = core->options.depth_max;
    core->actions.capacity = 3 * depth + 4;
    core->slots_capacity = depth + depth / 2 + 8;
    core->slots_memory =
        pawl_alloc_array(core->alloc, core->slots_capacity, sizeof(core->slots[0]));
    core->slots = core->slots_memory;
    core->unknowns = pawl_alloc_array(core->alloc, depth, sizeof(core->unknowns[0]));
    core->closing =
        pawl_alloc_array(core->alloc, depth + APPEND_CLOSING_SPARE, sizeof(core->closing[0]));
    core->actions.items =
        pawl_alloc_array(core->alloc, core->actions.capacity, sizeof(core->actions.items[0]));
    bool whole = core->slots_memory != NULL && core->unknowns != NULL && core->closing != NULL &&
                 core->actions.items != NULL;
    return whole ? 0 : -ENOMEM;
}

int append_core_new(const struct append_core_options *options, struct append_core **ret)
{
    if (options->depth_max > APPEND_DEPTH_MAX || options->last_sequence == UINT64_MAX) {
        return PAWL_EINVALID;
    }
    struct append_core *core = pawl_alloc_new(options->alloc, sizeof(*core));
    if (core == NULL) {
        return -ENOMEM;
    }
    core->options = *options;
    core->alloc = options->alloc;
    struct append_core_options *o = &core->options;
    o->depth_max = o->depth_max != 0 ? o->depth_max : 32;
    o->attempt_ms = o->attempt_ms != 0 ? o->attempt_ms : 2000;
    o->retry_min_ms = o->retry_min_ms != 0 ? o->retry_min_ms : 2;
    o->retry_max_ms = PAWL_MAX(o->retry_max_ms != 0 ? o->retry_max_ms : 200, o->retry_min_ms);
    core->committed_sequence = o->last_sequence;
    core->next_sequence = o->last_sequence + 1;
    pawl_random_seed(&core->random, o->random_seed);
    int code = allocate(core);
    if (code != 0) {
        append_core_free(core);
        return code;
    }
    *ret = core;
    return 0;
}

void append_core_free(struct append_core *core)
{
    if (core == NULL) {
        return;
    }
    pawl_alloc_free(core->alloc, core->slots_memory);
    pawl_alloc_free(core->alloc, core->unknowns);
    pawl_alloc_free(core->alloc, core->closing);
    pawl_alloc_free(core->alloc, core->actions.items);
    pawl_alloc_free(core->alloc, core);
}

uint64_t append_core_wake_ns(const struct append_core *core)
{
    uint64_t wake_ns = UINT64_MAX;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        const struct append_slot *slot = &core->slots[i];
        uint64_t attempt_ns = core->options.attempt_ms * APPEND_NS_PER_MS;
        wake_ns = PAWL_MIN(wake_ns, slot->deadline_ns);
        if (slot->state == APPEND_SLOT_SENT && !append_closing(core, slot->server)) {
            wake_ns = PAWL_MIN(wake_ns, slot->sent_ns + attempt_ns);
        } else if (slot->state == APPEND_SLOT_ASK_LATER) {
            wake_ns = PAWL_MIN(wake_ns, slot->retry_ns);
        } else if (slot->state == APPEND_SLOT_WAITING && core->pause_until_ns > core->now_ns) {
            wake_ns = PAWL_MIN(wake_ns, core->pause_until_ns);
        }
    }
    return wake_ns;
}

bool append_core_is_clear(const struct append_core *core)
{
    return core->slots_count == 0 && core->unknowns_count == 0;
}

bool append_core_is_settled(const struct append_core *core)
{
    for (uint32_t i = 0; i < core->unknowns_count; i++) {
        if (!core->unknowns[i].refused) {
            return false;
        }
    }
    return core->slots_count == 0;
}

int append_core_final(const struct append_core *core)
{
    return core->final;
}

uint64_t append_core_lost_sequence(const struct append_core *core)
{
    return core->lost_sequence;
}

uint64_t append_core_next_sequence(const struct append_core *core)
{
    return core->next_sequence;
}

uint32_t append_core_inflight(const struct append_core *core)
{
    return core->slots_count;
}

const struct append_counters *append_core_counters(const struct append_core *core)
{
    return &core->counters;
}
