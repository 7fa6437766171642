// SPDX-License-Identifier: Apache-2.0
// The append core: how an answer is met, when something is sent again, and where to.
#include <pawl/error.h>

#include "base/assert.h"
#include "base/mark.h"
#include "client/core/append_core_private.h"

// Pauses double from retry_min_ms to retry_max_ms; each is drawn from its upper half, so that
// clients that failed together don't come back together.
static uint64_t pause_ns(struct append_core *core, uint32_t failures_count)
{
    uint64_t pause_ms = core->options.retry_min_ms;
    for (uint32_t i = 1; i < failures_count && pause_ms < core->options.retry_max_ms; i++) {
        pause_ms *= 2;
    }
    pause_ms = PAWL_MIN(pause_ms, core->options.retry_max_ms);
    uint64_t half_ns = pause_ms * APPEND_NS_PER_MS / 2;
    return half_ns + pawl_random_below(&core->random, half_ns + 1);
}

// Many appends in flight fail of one cause: a pause that has begun is not made longer.
static void pause_begin(struct append_core *core)
{
    if (core->pause_until_ns > core->now_ns) {
        return;
    }
    core->failures_count++;
    core->pause_until_ns = core->now_ns + pause_ns(core, core->failures_count);
}

// The tail is no longer trusted. The first question after a success goes out at once.
static void tail_drop(struct append_core *core, int code, uint64_t server)
{
    if (!core->tail_known) {
        return;
    }
    core->tail_known = false;
    core->hint = (struct append_action){.hint_handle = core->tail.handle,
                                        .hint_version = core->tail.version,
                                        .hint_server = server,
                                        .hint_code = code};
    if (code != PAWL_ECHUNKFULL) {
        core->counters.failovers_count++;
    }
    if (core->failures_count > 0) {
        pause_begin(core);
    } else {
        core->failures_count = 1;
    }
}

static void disconnect(struct append_core *core, uint64_t server)
{
    if (append_closing(core, server) ||
        core->closing_count == core->options.depth_max + APPEND_CLOSING_SPARE) {
        return;
    }
    core->closing[core->closing_count++] = server;
    append_action_add(core, APPEND_ACTION_DISCONNECT)->server = server;
}

void append_on_tail(struct append_core *core, const struct append_event *event)
{
    core->tail_asked = false;
    core->tail_status = event->status;
    if (event->status == 0) {
        bool moved = event->tail.handle != core->tail.handle;
        core->tail = event->tail;
        core->tail_known = true;
        core->tail_end = 0;
        core->sent_bytes = 0;
        core->place++;
        core->hint = (struct append_action){0};
        core->counters.chunks_count += moved ? 1 : 0;
        return;
    }
    // The question's own deadline and a lost master are no verdict about the file.
    bool give_up = pawl_error_reaction(event->status) == PAWL_REACTION_GIVE_UP &&
                   event->status != PAWL_EDEADLINE;
    if (give_up) {
        append_all_fail(core, event->status);
    } else {
        pause_begin(core);
    }
}

static struct append_slot *slot_of_attempt(struct append_core *core, uint64_t attempt,
                                           enum append_slot_state state, uint32_t *ret_at)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        if (core->slots[i].attempt == attempt && core->slots[i].state == state) {
            *ret_at = i;
            return &core->slots[i];
        }
    }
    return NULL;
}

static void slot_ask(struct append_core *core, struct append_slot *slot)
{
    slot->state = APPEND_SLOT_ASKING;
    slot->attempt = ++core->attempt_last;
    struct append_action *action = append_action_add(core, APPEND_ACTION_LOOKUP);
    action->chunk = slot->lookup_chunk;
    action->sequence = slot->sequence;
    action->attempt = slot->attempt;
    action->length = slot->length;
    action->crc = slot->crc;
    action->record_flags = slot->record_flags;
}

static void slot_ask_later(struct append_core *core, struct append_slot *slot)
{
    slot->state = APPEND_SLOT_ASK_LATER;
    slot->lookup_failures++;
    slot->retry_ns = core->now_ns + pause_ns(core, slot->lookup_failures);
}

// Where a record lies says how full its chunk is, if that is the tail's.
static void tail_learn(struct append_core *core, const struct append_slot *slot,
                       uint64_t file_offset)
{
    if (!core->tail_known || slot->place != core->place || slot->state != APPEND_SLOT_SENT) {
        return;
    }
    core->sent_bytes -= PAWL_MIN(core->sent_bytes, (uint64_t)slot->length);
    if (file_offset >= core->tail.base_offset) {
        core->tail_end =
            PAWL_MAX(core->tail_end, file_offset - core->tail.base_offset + slot->length);
    }
}

bool append_tail_overflows(const struct append_core *core)
{
    return core->sent_bytes > 0 && core->tail_end + core->sent_bytes > core->tail.chunk_bytes;
}

static void slot_done(struct append_core *core, uint32_t at, const struct append_event *event,
                      bool duplicate)
{
    struct append_slot *slot = &core->slots[at];
    const struct wire_appended *reply = &event->reply;
    bool epoch = (slot->record_flags & WIRE_RECORD_EPOCH) != 0;
    bool replicated = (reply->flags & WIRE_APPENDED_REPLICATED) != 0;
    if ((!epoch && reply->sequence != slot->sequence) || (replicated && !slot->replicated)) {
        slot->doubt = true;
        append_all_fail(core, PAWL_EPROTOCOL);
        return;
    }
    core->counters.duplicates_count += duplicate && slot->was_sent ? 1 : 0;
    tail_learn(core, slot, reply->file_offset);
    append_slot_end(core, at,
                    (struct append_action){.file_offset = reply->file_offset,
                                           .duplicate = duplicate,
                                           .replicated = replicated,
                                           .reply_sequence = reply->sequence});
    append_committed(core, reply->sequence, !replicated);
    core->failures_count = 0;
    core->put_off_place = 0;
}

// Is `sequence` one that we still wait for, and will send before anything behind it?
static bool is_waiting(const struct append_core *core, uint64_t sequence)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        if (core->slots[i].sequence == sequence) {
            return core->slots[i].state == APPEND_SLOT_WAITING;
        }
    }
    return false;
}

// "Too early" names the sequence that the file lacks. It is one that we were refused, or that the
// caller took back: never one that was durable before we asked, and never one behind the refused. One that was
// answered from memory is lost.
static void on_expect(struct append_core *core, uint32_t at, uint64_t expected)
{
    const struct append_slot *slot = &core->slots[at];
    if (expected > core->durable_sequence && expected <= slot->committed_at_send) {
        if (PAWL_MUTANT(loss_not_told)) {
            core->committed_sequence = expected - 1;
            append_all_fail(core, PAWL_EDEADLINE);
            core->next_sequence = expected;
        } else {
            append_lost(core, expected);
        }
        return;
    }
    if (expected <= slot->committed_at_send || expected >= slot->sequence) {
        append_all_fail(core, PAWL_EPROTOCOL);
        return;
    }
    if (PAWL_MUTANT(expect_renumbers)) {
        core->slots[at].sequence = expected;
    }
    if (expected > core->committed_sequence && !is_waiting(core, expected)) {
        PAWL_MARK(client_expects_one_on_its_way);
        pause_begin(core);
    }
}

// True for refusals that come before a record gets its index: this attempt put nothing in the file.
// PAWL_ESTALE is none of them, a fence answers it for records that are in the log already.
static bool code_is_refusal(int code)
{
    switch (code) {
    case PAWL_EEXPECT:
    case PAWL_EBUSY:
    case PAWL_EBADPAYLOAD:
    case PAWL_ECHUNKFULL:
    case PAWL_ENOCHUNK:
    case PAWL_ENOTPRIMARY:
    case PAWL_EFENCED:
    case PAWL_ESESSION:
    case PAWL_EIDREUSED:
    case PAWL_ETOOLARGE:
    case PAWL_EINVALID:
    case PAWL_ENOSPACE:
    case PAWL_ELIMIT:    // the file takes no new producers
    case PAWL_EPROVIDER: // of our own driver: there was no way to send it
        return true;
    case PAWL_ESTALE:
        return PAWL_MUTANT(fence_is_refusal);
    default:
        return false;
    }
}

// A chunk that does not know the producer and won't take it refuses each of its records: also those
// whose answers are still on their way.
static void on_not_taken(struct append_core *core, uint64_t place)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        struct append_slot *slot = &core->slots[i];
        if (slot->state == APPEND_SLOT_SENT && slot->place == place) {
            slot->state = APPEND_SLOT_WAITING;
        }
    }
}

static void on_give_up(struct append_core *core, uint32_t at, int code)
{
    if (code == PAWL_ESESSION || code == PAWL_ELIMIT) {
        on_not_taken(core, core->slots[at].place);
    }
    bool one = code == PAWL_EIDREUSED || code == PAWL_ETOOLARGE || code == PAWL_EINVALID;
    if (one) {
        append_slot_fail(core, at, code);
    } else {
        append_all_fail(core, code);
    }
}

// The driver has no way to the primary, which is well: nothing was sent. All ends, once every answer is
// there: what is still on its way may have been sent after all. The place is asked for anew, without a hint,
// since the server may offer another way by then.
static void on_no_way(struct append_core *core)
{
    bool sent = false;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        sent |= core->slots[i].state == APPEND_SLOT_SENT;
    }
    core->tail_known = false;
    if (sent) {
        pause_begin(core);
    } else {
        append_all_fail(core, PAWL_EPROVIDER);
    }
}

// A primary that puts everything off may have been replaced without hearing of it: it waits for
// members that don't answer it any more, and its lease may be good for long. It is believed for as long
// as an answer may take; then the master is asked whether it is still the place.
static void on_put_off(struct append_core *core, int code, uint64_t server)
{
    if (core->put_off_place != core->place) {
        core->put_off_place = core->place;
        core->put_off_ns = core->now_ns;
    }
    if (core->now_ns - core->put_off_ns >= core->options.attempt_ms * APPEND_NS_PER_MS) {
        tail_drop(core, code, server);
    } else {
        pause_begin(core);
    }
}

static void on_refusal(struct append_core *core, uint32_t at, int code, uint64_t expected)
{
    struct append_slot *slot = &core->slots[at];
    bool here = core->tail_known && slot->place == core->place;
    slot->state = APPEND_SLOT_WAITING;
    slot->doubt |= !code_is_refusal(code);
    slot->alone &= code != PAWL_ECHUNKFULL && code != PAWL_EEXPECT;
    if (code == PAWL_EEXPECT) {
        on_expect(core, at, expected);
        return;
    }
    switch (code == PAWL_EDEADLINE ? PAWL_REACTION_FAILOVER : pawl_error_reaction(code)) {
    case PAWL_REACTION_RETRY:
        if (here) {
            on_put_off(core, code, slot->server);
        }
        break;
    case PAWL_REACTION_REFRESH:
    case PAWL_REACTION_NEXT_CHUNK:
        if (here) {
            tail_drop(core, code, slot->server);
        }
        break;
    case PAWL_REACTION_FAILOVER:
        disconnect(core, slot->server);
        if (here) {
            tail_drop(core, code, slot->server);
        }
        break;
    case PAWL_REACTION_GIVE_UP:
        if (code != PAWL_EPROVIDER) {
            on_give_up(core, at, code);
        } else if (slot->place == core->place) { // the first of several has dropped the tail
            on_no_way(core);
        }
        break;
    }
}

void append_on_reply(struct append_core *core, const struct append_event *event)
{
    uint32_t at = 0;
    struct append_slot *slot = slot_of_attempt(core, event->attempt, APPEND_SLOT_SENT, &at);
    if (slot == NULL) {
        PAWL_MARK(client_answer_of_older_attempt);
        return; // an older attempt, or one that was given back
    }
    if (event->status == 0) {
        slot_done(core, at, event, event->reply.duplicate != 0);
    } else if (event->status == PAWL_EEARLIER) {
        PAWL_MARK(client_follows_earlier);
        // It is committed; only its place is to be found.
        slot->lookup_chunk = event->reply.earlier_chunk;
        uint64_t sequence = slot->sequence;
        slot_ask(core, slot);
        append_committed(core, sequence, true);
    } else {
        on_refusal(core, at, event->status, event->reply.sequence);
    }
}

void append_on_looked_up(struct append_core *core, const struct append_event *event)
{
    uint32_t at = 0;
    struct append_slot *slot = slot_of_attempt(core, event->attempt, APPEND_SLOT_ASKING, &at);
    if (slot == NULL) {
        return;
    }
    switch (event->status) {
    case 0:
        slot_done(core, at, event, true);
        break;
    case PAWL_EEARLIER:
        PAWL_MARK(client_walks_back_again);
        slot->lookup_chunk = event->reply.earlier_chunk;
        slot_ask(core, slot);
        break;
    case PAWL_EIDREUSED:
        append_slot_fail(core, at, PAWL_EIDREUSED);
        break;
    case PAWL_EDELETED:
    case PAWL_ENOTFOUND:
        append_all_fail(core, event->status);
        break;
    default:
        PAWL_MARK(client_lookup_again);
        // Even "absent": the tail's table says that it is there, so this replica was a stale one.
        slot_ask_later(core, slot);
        break;
    }
}

void append_on_disconnected(struct append_core *core, uint64_t server)
{
    for (uint32_t i = 0; i < core->closing_count; i++) {
        if (core->closing[i] == server) {
            core->closing[i] = core->closing[--core->closing_count];
            break;
        }
    }
    bool lost = false;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        struct append_slot *slot = &core->slots[i];
        if (slot->state == APPEND_SLOT_SENT && slot->server == server) {
            slot->state = APPEND_SLOT_WAITING;
            PAWL_MARK(client_in_doubt);
            slot->doubt = true;
            if (PAWL_MUTANT(retry_renumbers)) {
                slot->sequence = core->next_sequence++;
            }
            lost |= slot->place == core->place;
        }
    }
    // A connection that nobody used may be gone for many reasons; the next send makes a new one.
    if (lost) {
        tail_drop(core, PAWL_EDISCONNECTED, server);
    }
}

static uint64_t attempt_end_ns(const struct append_core *core, const struct append_slot *slot)
{
    return slot->sent_ns + core->options.attempt_ms * APPEND_NS_PER_MS;
}

// A primary that does not answer is left: its connection is dropped and the master is told.
static void time_out_attempts(struct append_core *core)
{
    for (uint32_t i = 0; i < core->slots_count; i++) {
        const struct append_slot *slot = &core->slots[i];
        if (slot->state != APPEND_SLOT_SENT || attempt_end_ns(core, slot) > core->now_ns ||
            append_closing(core, slot->server)) {
            continue;
        }
        PAWL_MARK(client_attempt_times_out);
        disconnect(core, slot->server);
        if (slot->place == core->place || slot->server == core->tail.primary_id) {
            tail_drop(core, PAWL_EDEADLINE, slot->server);
        }
    }
}

void append_slot_send(struct append_core *core, struct append_slot *slot)
{
    slot->state = APPEND_SLOT_SENT;
    slot->attempt = ++core->attempt_last;
    slot->place = core->place;
    slot->server = core->tail.primary_id;
    slot->sent_ns = core->now_ns;
    core->due_ns = PAWL_MIN(core->due_ns, slot->deadline_ns);
    core->due_ns = PAWL_MIN(core->due_ns, attempt_end_ns(core, slot));
    slot->committed_at_send = core->committed_sequence;
    core->sent_bytes += slot->length;
    core->counters.retries_count += slot->was_sent ? 1 : 0;
    struct append_action *action = append_action_add(core, APPEND_ACTION_SEND);
    action->fresh = !slot->alone && !slot->doubt;
    slot->alone = true;
    slot->was_sent = true;
    action->sequence = slot->sequence;
    action->user = slot->user;
    action->attempt = slot->attempt;
    action->server = slot->server;
    action->length = slot->length;
    action->crc = slot->crc;
    action->record_flags = slot->record_flags;
    action->replicated = slot->replicated;
    action->tail = core->tail;
}

// What stands sent at the tail is counted anew: an attempt ends in many ways.
static void sent_count(struct append_core *core)
{
    core->sent_bytes = 0;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        const struct append_slot *slot = &core->slots[i];
        bool here = slot->state == APPEND_SLOT_SENT && slot->place == core->place;
        core->sent_bytes += here ? slot->length : 0;
    }
}

// One that does not fit tells the primary that its chunk is full; what would follow it there waits for the next.
// In order of sequence, and never past one whose answer from an older place is still awaited: the
// new primary would only refuse what comes behind it.
static void send_waiting(struct append_core *core)
{
    sent_count(core);
    for (uint32_t i = 0; i < core->slots_count; i++) {
        struct append_slot *slot = &core->slots[i];
        if (slot->state == APPEND_SLOT_WAITING) {
            if (append_tail_overflows(core)) {
                PAWL_MARK(client_holds_back);
                return;
            }
            append_slot_send(core, slot);
        } else if (slot->state == APPEND_SLOT_SENT && slot->chain && slot->place != core->place) {
            PAWL_MARK(client_waits_for_older_place);
            return;
        }
    }
}

static void ask_for_tail(struct append_core *core)
{
    if (core->tail_asked) {
        return;
    }
    core->tail_asked = true;
    struct append_action *action = append_action_add(core, APPEND_ACTION_GET_TAIL);
    *action = core->hint;
    action->type = APPEND_ACTION_GET_TAIL;
}

static void quiet_find(struct append_core *core)
{
    core->quiet =
        core->tail_known && core->closing_count == 0 && core->pause_until_ns <= core->now_ns;
    core->due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < core->slots_count && core->quiet; i++) {
        const struct append_slot *slot = &core->slots[i];
        core->quiet = slot->state == APPEND_SLOT_SENT && slot->place == core->place;
        core->due_ns = PAWL_MIN(core->due_ns, slot->deadline_ns);
        core->due_ns = PAWL_MIN(core->due_ns, attempt_end_ns(core, slot));
    }
}

static void send_what_waits(struct append_core *core)
{
    bool waiting = false;
    for (uint32_t i = 0; i < core->slots_count; i++) {
        struct append_slot *slot = &core->slots[i];
        waiting |= slot->state == APPEND_SLOT_WAITING ||
                   (slot->state == APPEND_SLOT_SENT && append_closing(core, slot->server));
        if (slot->state == APPEND_SLOT_ASK_LATER && slot->retry_ns <= core->now_ns) {
            slot_ask(core, slot);
        }
    }
    if (!waiting || core->pause_until_ns > core->now_ns) {
        return;
    }
    if (!core->tail_known) {
        ask_for_tail(core);
    } else if (!append_closing(core, core->tail.primary_id)) {
        send_waiting(core);
    }
}

void append_pump(struct append_core *core)
{
    time_out_attempts(core);
    send_what_waits(core);
    quiet_find(core);
}
