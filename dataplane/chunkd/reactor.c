// SPDX-License-Identifier: Apache-2.0
// The reactor's loop: polls fabric, store, mail and time, steps the core, carries out what it says.
//
// It turns while there is work and sleeps on the descriptors of all its sources when there is none for a moment:
// in that moment it looks again and again, and gives way between two looks, unless it has a core to itself.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/reactor.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/patience.h"
#include "dataplane/chunkd/chunkd_private.h"
#include "dataplane/memory/core_claims.h"

#define REACTOR_BATCH_COUNT 64
#define REACTOR_SPIN_NS 30000u
#define REACTOR_IDLE_MS 50u   // between ticks, when nothing is under way
#define REACTOR_QUIET_MS 250u // and nothing was for a second: each tick costs a wake-up
#define REACTOR_QUIET_NS (1000u * PAWL_NS_PER_MS)
#define REACTOR_LINGER_MS 50u

// ---- the core ---------------------------------------------------------------------------------

static void step_one(struct reactor *reactor, const struct chunk_event *event)
{
    const struct chunk_actions *actions = NULL;
    pawl_assert(!reactor->stepping);
    reactor->stepping = true;
    int code = chunk_core_step(reactor->core, event, &actions);
    if (code != 0) {
        // Nothing half done was sent, so a restart is as safe as any crash; going on is not.
        pawl_log_error("stopping at once: the core can't go on: %s", pawl_strerror(code));
        abort();
    }
    for (uint32_t i = 0; i < actions->count; i++) {
        carry_out(reactor, &actions->items[i]);
    }
    reactor->stepping = false;
}

void reactor_step(struct reactor *reactor, const struct chunk_event *event)
{
    step_one(reactor, event);
    reactor_drain(reactor);
}

void reactor_post(struct reactor *reactor, const struct chunk_event *event)
{
    pawl_assert(event->command == NULL && event->message == NULL);
    if (reactor->posted_count == reactor->posted_capacity) {
        size_t capacity = reactor->posted_capacity == 0 ? 64 : reactor->posted_capacity * 2;
        struct chunk_event *grown = realloc(reactor->posted, capacity * sizeof(*grown));
        if (grown == NULL) {
            pawl_log_error("stopping at once: out of memory");
            abort();
        }
        reactor->posted = grown;
        reactor->posted_capacity = capacity;
    }
    reactor->posted[reactor->posted_count++] = *event;
}

void reactor_drain(struct reactor *reactor)
{
    for (size_t i = 0; i < reactor->posted_count; i++) {
        struct chunk_event event = reactor->posted[i]; // the array may move
        step_one(reactor, &event);
    }
    reactor->posted_count = 0;
}

// ---- the fabric -------------------------------------------------------------------------------

// A message may come in one batch with the ACCEPTED that it follows, before the user was set.
static struct endpoint *endpoint_of(struct reactor *reactor, const struct fabric_event *event)
{
    if (event->user != NULL) {
        return event->user;
    }
    pawl_list_for_each (node, &reactor->sessions) {
        struct session *session = pawl_container_of(node, struct session, node);
        if (session->conn == event->conn) {
            return &session->endpoint;
        }
    }
    return NULL;
}

static void fabric_deliver(struct reactor *reactor, uint32_t fabric,
                           const struct fabric_event *event)
{
    if (event->type == FABRIC_ACCEPTED) {
        session_accept(reactor, event->conn, fabric);
        return;
    }
    if (event->type == FABRIC_DONE) {
        storage_written(reactor, event->token);
        return;
    }
    struct endpoint *endpoint = endpoint_of(reactor, event);
    if (endpoint == NULL) {
        return; // accepted, but there was no memory for its session
    }
    bool is_link = endpoint->kind == ENDPOINT_LINK;
    struct link *link = is_link ? pawl_container_of(endpoint, struct link, endpoint) : NULL;
    struct session *session =
        is_link ? NULL : pawl_container_of(endpoint, struct session, endpoint);
    if (event->type == FABRIC_CONNECTED && is_link) {
        peer_connected(reactor, link);
    } else if (event->type == FABRIC_MESSAGE && is_link) {
        peer_message(reactor, link, event->message, event->message_bytes);
    } else if (event->type == FABRIC_MESSAGE) {
        session_message(reactor, session, event);
    } else if (event->type == FABRIC_CLOSED && is_link) {
        peer_closed(reactor, link, event->status);
    } else if (event->type == FABRIC_CLOSED) {
        session_closed(reactor, session, event->status);
    }
}

static int turn_fabric(struct reactor *reactor, uint32_t fabric)
{
    struct fabric_event events[REACTOR_BATCH_COUNT];
    int count = fabric_poll(reactor->fabrics[fabric], reactor->now_ns, events, REACTOR_BATCH_COUNT);
    for (int i = 0; i < count; i++) {
        if (i + 1 < count && events[i + 1].type == FABRIC_MESSAGE) {
            __builtin_prefetch(events[i + 1].message);
            __builtin_prefetch((const char *)events[i + 1].message + 64);
        }
        fabric_deliver(reactor, fabric, &events[i]);
        reactor_drain(reactor);
    }
    return PAWL_MAX(count, 0);
}

// ---- the store and time -----------------------------------------------------------------------

static int turn_store(struct reactor *reactor)
{
    struct store_completion completions[REACTOR_BATCH_COUNT];
    int count = store_poll(reactor->store, completions, REACTOR_BATCH_COUNT);
    for (int i = 0; i < count; i++) {
        storage_completed(reactor, &completions[i]);
    }
    storage_check(reactor);
    return PAWL_MAX(count, 0);
}

static bool reactor_is_idle(const struct reactor *reactor)
{
    return reactor->requests.used_count == 0 && reactor->commands.used_count == 0 &&
           reactor->sends.used_count == 0 && reactor->ios.used_count == 0 &&
           !store_busy(reactor->store);
}

static uint64_t tick_pace_ns(const struct reactor *reactor)
{
    bool is_quiet = reactor->now_ns - reactor->active_ns >= REACTOR_QUIET_NS;

    if (!reactor_is_idle(reactor)) {
        return CHUNKD_TICK_MS * PAWL_NS_PER_MS;
    }
    return (is_quiet ? REACTOR_QUIET_MS : REACTOR_IDLE_MS) * PAWL_NS_PER_MS;
}

// Work ends a quiet time: its deadlines are not to wait for the end of a long tick.
static void tick_hasten(struct reactor *reactor, int count)
{
    if (count > 0 || !reactor_is_idle(reactor)) {
        reactor->active_ns = reactor->now_ns;
        reactor->tick_ns =
            PAWL_MIN(reactor->tick_ns, reactor->now_ns + REACTOR_IDLE_MS * PAWL_NS_PER_MS);
    }
}

// The control thread has woken us up: what is due soon is done at once, instead of in a wake-up of its own.
static void tick_join(struct reactor *reactor, int count)
{
    if (count > 0) {
        reactor->tick_ns =
            PAWL_MIN(reactor->tick_ns, reactor->ticked_ns + REACTOR_IDLE_MS * PAWL_NS_PER_MS);
    }
}

// Another server may take the same core at any time, and give it up again.
static void spins_renew(struct reactor *reactor)
{
    const struct reactor_options *options = &reactor->options;
    bool spins = options->may_spin && (options->claims == NULL ||
                                       !core_claims_others(options->claims, options->claimed_core));
    if (!options->may_spin || (spins == reactor->spins && reactor->spins_said)) {
        return;
    }
    reactor->spins = spins;
    reactor->spins_said = true;
    pawl_log_info("placement: reactor %u %s", options->number,
                  spins ? "has its core to itself: looks for work for a moment before it sleeps"
                        : "shares its core with another server: sleeps when it has no work");
}

static int turn_tick(struct reactor *reactor)
{
    if (reactor->now_ns < reactor->tick_ns) {
        return 0;
    }
    spins_renew(reactor);
    session_tick(reactor);
    windows_tick(reactor);
    peer_tick(reactor);
    relay_tick(reactor);
    pushed_tick(reactor);
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_TICK);
    reactor_step(reactor, &event);
    reactor->ticked_ns = reactor->now_ns;
    reactor->tick_ns = reactor->now_ns + tick_pace_ns(reactor);
    return 0;
}

int reactor_turn(struct reactor *reactor, uint64_t now_ns)
{
    reactor->now_ns = now_ns;
    int count = 0;
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        count += turn_fabric(reactor, i);
    }
    tick_hasten(reactor, count);
    int commands = commands_turn(reactor);
    tick_join(reactor, commands);
    turn_tick(reactor);
    peer_turn(reactor);
    push_only_turn(reactor);
    storage_turn(reactor);
    reactor_drain(reactor);
    windows_turn(reactor);
    sessions_answer(reactor);
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        fabric_flush(reactor->fabrics[i]); // peers have a longer way than our disk
    }
    count += turn_store(reactor);
    sessions_answer(reactor);
    // Mail alone is no sign that more will follow soon: the control thread asks now and then.
    return commands == COMMANDS_AT_ONCE ? count + 1 : count;
}

// ---- spinning and sleeping --------------------------------------------------------------------

uint32_t reactor_sleep_ms(const struct reactor *reactor, uint64_t now_ns)
{
    uint64_t wake_ns =
        reactor->stopping ? PAWL_MIN(reactor->tick_ns, reactor->stop_ns) : reactor->tick_ns;
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        wake_ns = PAWL_MIN(wake_ns, fabric_deadline_ns(reactor->fabrics[i]));
    }
    uint64_t left_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
    uint32_t ms = (uint32_t)((left_ns + PAWL_NS_PER_MS - 1) / PAWL_NS_PER_MS);
    // Work that came in since the last tick wants its deadlines watched at the shorter pace.
    return reactor_is_idle(reactor) ? ms : PAWL_MIN(ms, CHUNKD_TICK_MS);
}

// What wakes the thread when a fabric has something. False: one of them must be polled first.
static bool fabrics_polls(const struct reactor *reactor, struct pollfd *polls, nfds_t *count)
{
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        int fds[FABRIC_FDS_MAX];
        if (fabric_try_wait(reactor->fabrics[i]) != 0) {
            return false;
        }
        int fds_count = fabric_wait_fds(reactor->fabrics[i], fds);
        for (int j = 0; j < fds_count; j++) {
            polls[(*count)++] = (struct pollfd){.fd = fds[j], .events = POLLIN};
        }
    }
    return true;
}

static void reactor_sleep(struct reactor *reactor, uint64_t now_ns)
{
    struct pollfd polls[PAWL_ADDRESSES_MAX * FABRIC_FDS_MAX + 2];
    nfds_t count = 0;
    int store_fd = store_wait_fd(reactor->store);
    if (store_fd < 0 && store_busy(reactor->store)) {
        return; // a store that can't wake us
    }
    if (!fabrics_polls(reactor, polls, &count) || store_try_wait(reactor->store) != 0) {
        return;
    }
    nfds_t inbox = count;
    polls[count++] = (struct pollfd){.fd = mailbox_fd(&reactor->inbox), .events = POLLIN};
    if (store_fd >= 0) {
        polls[count++] = (struct pollfd){.fd = store_fd, .events = POLLIN};
    }
    int got = poll(polls, count, (int)reactor_sleep_ms(reactor, now_ns));
    if (got > 0 && polls[inbox].revents != 0) {
        mailbox_clear(&reactor->inbox);
    }
}

static void reactor_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

// True when what was in flight is over, or has had its time. Replies get a moment to leave.
static bool reactor_has_stopped(struct reactor *reactor)
{
    if (!reactor->stopping) {
        return false;
    }
    if (reactor_is_idle(reactor) && !reactor->stop_idle) {
        reactor->stop_idle = true;
        uint64_t linger_ns = reactor->now_ns + REACTOR_LINGER_MS * PAWL_NS_PER_MS;
        reactor->stop_ns = PAWL_MIN(reactor->stop_ns, linger_ns);
    }
    return reactor->now_ns >= reactor->stop_ns;
}

void reactor_run(struct reactor *reactor)
{
    struct pawl_patience patience = {0};
    uint64_t spin_until_ns = 0;
    reactor->clock_ns = pawl_clock_ns;
    for (;;) {
        uint64_t now_ns = pawl_clock_ns();
        int count = reactor_turn(reactor, now_ns);
        if (reactor_has_stopped(reactor)) {
            break; // looked at before it sleeps: the end may be sooner than the next tick
        }
        if (count > 0) {
            spin_until_ns = reactor->spins ? now_ns + REACTOR_SPIN_NS : 0;
            pawl_patience_renew(&patience, now_ns);
        } else if (now_ns < spin_until_ns) {
            reactor_pause();
        } else if (!pawl_patience_wait(&patience, now_ns)) {
            reactor_sleep(reactor, now_ns);
        }
    }
    pawl_log_info("drained: %u requests were left unanswered", reactor->requests.used_count);
    struct mail *mail = mail_new(MAIL_STOPPED);
    if (mail == NULL) {
        _exit(1); // nobody would hear of the end; as safe as any crash
    }
    mailbox_post(&reactor->outbox, mail);
}

struct mailbox *reactor_inbox(struct reactor *reactor)
{
    return &reactor->inbox;
}

struct mailbox *reactor_outbox(struct reactor *reactor)
{
    return &reactor->outbox;
}

const char *reactor_address(const struct reactor *reactor)
{
    return reactor->addresses;
}

uint64_t reactor_server_id(const struct reactor *reactor)
{
    return reactor->server_id;
}

uint64_t reactor_incarnation(const struct reactor *reactor)
{
    return reactor->incarnation;
}

uint64_t reactor_opened_cluster_id(const struct reactor *reactor)
{
    return reactor->opened_cluster_id;
}
