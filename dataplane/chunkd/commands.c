// SPDX-License-Identifier: Apache-2.0
// Mails of the control thread: the master's commands in, answers, inventories and reports out.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdlib.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/chunkd/chunkd_private.h"

// Without memory for a mail the other side misses it, as if the network had lost it: the master
// asks again.
static void commands_post(struct reactor *reactor, struct mail *mail)
{
    if (mail != NULL) {
        mailbox_post(&reactor->outbox, mail);
    }
}

static void answer_pack(struct reactor *reactor, const struct command *command,
                        const Pawl__Reply *reply)
{
    struct mail *mail = mail_new(MAIL_ANSWER);
    if (mail == NULL) {
        return;
    }
    mail->conn = command->conn;
    mail->request = command->request;
    mail->bytes_count = pawl__reply__get_packed_size(reply);
    mail->bytes = malloc(mail->bytes_count > 0 ? mail->bytes_count : 1);
    if (mail->bytes == NULL) {
        mail_free(mail);
        return;
    }
    pawl__reply__pack(reply, mail->bytes);
    commands_post(reactor, mail);
}

void commands_answer(struct reactor *reactor, uint64_t name, const Pawl__Reply *reply)
{
    struct command *command = slab_find(&reactor->commands, name);
    pawl_assert(command != NULL);
    answer_pack(reactor, command, reply);
    slab_put(&reactor->commands, name);
}

void commands_report(struct reactor *reactor, const struct chunk_action *action)
{
    struct mail *mail = mail_new(MAIL_REPORT);
    if (mail != NULL) {
        mail->kind = (int)action->report.kind;
        mail->handle = action->handle;
        mail->version = action->version;
        mail->number = action->report.server_id;
        commands_post(reactor, mail);
    }
}

// An error of configuration, not a failure of anybody: answered before the core takes up what it could
// only end by reporting a server that is well.
static bool members_reachable(struct reactor *reactor, const Pawl__Request *command)
{
    switch (command->body_case) {
    case PAWL__REQUEST__BODY_GRANT:
        for (size_t i = 0; i < command->grant->n_members; i++) {
            if (!peer_reachable(reactor, command->grant->members[i])) {
                return false;
            }
        }
        return true;
    case PAWL__REQUEST__BODY_LEVEL:
        return peer_reachable(reactor, command->level->source);
    case PAWL__REQUEST__BODY_COPY:
        return peer_reachable(reactor, command->copy->source);
    default:
        return true;
    }
}

static void command_refuse(struct reactor *reactor, const struct mail *mail, int code)
{
    Pawl__Reply reply = PAWL__REPLY__INIT;
    struct command refused = {.conn = mail->conn, .request = mail->request};
    reply.code = code;
    answer_pack(reactor, &refused, &reply);
}

static void commands_run(struct reactor *reactor, const struct mail *mail)
{
    uint64_t name = 0;
    if (reactor->stopping) {
        command_refuse(reactor, mail, PAWL_ESHUTDOWN);
        return;
    }
    if (!members_reachable(reactor, mail->command)) {
        command_refuse(reactor, mail, PAWL_EPROVIDER);
        return;
    }
    struct command *command = slab_get(&reactor->commands, &name);
    if (command == NULL) {
        command_refuse(reactor, mail, PAWL_EBUSY);
        return;
    }
    command->name = name;
    command->conn = mail->conn;
    command->request = mail->request;
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_COMMAND);
    event.request = name;
    event.command = mail->command;
    reactor_step(reactor, &event);
}

static void inventory_add(void *user, const Pawl__Replica *replica)
{
    struct mail *mail = user;
    // Room for one more at each power of two.
    if ((mail->replicas_count & (mail->replicas_count - 1)) == 0) {
        size_t room = mail->replicas_count == 0 ? 1 : mail->replicas_count * 2;
        Pawl__Replica *grown = realloc(mail->replicas, room * sizeof(*grown));
        if (grown == NULL) {
            mail->status = PAWL_EBUSY;
            return;
        }
        mail->replicas = grown;
    }
    if (mail->status == 0) {
        mail->replicas[mail->replicas_count++] = *replica;
    }
}

static void inventory_send(struct reactor *reactor, bool all, uint64_t round)
{
    struct mail *mail = mail_new(MAIL_INVENTORY);
    if (mail == NULL) {
        return;
    }
    mail->all = all;
    mail->number = round;
    if (all) {
        struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_REGISTERING);
        reactor_step(reactor, &event);
    }
    chunk_core_visit(reactor->core, !all, inventory_add, mail);
    struct store_space space;
    store_space(reactor->store, &space);
    const struct chunk_core_counters *counters = chunk_core_counters(reactor->core);
    mail->counters.space_bytes = space.total_bytes;
    // A failed store has no room: the master places nothing here.
    mail->counters.used_bytes =
        reactor->store_failed ? space.total_bytes : space.total_bytes - space.free_bytes;
    mail->counters.disk_bytes = space.disk_bytes;
    mail->counters.appends_count = counters->appends_count;
    mail->counters.duplicates_count = counters->duplicates_count;
    mail->counters.mismatches_count = counters->mismatches_count;
    const struct store_counters *stored = store_counters(reactor->store);
    mail->counters.stored_bytes = stored->stored_bytes;
    mail->counters.copied_bytes = reactor->copied_bytes + stored->copied_bytes;
    for (uint32_t i = 0; i < reactor->fabrics_count; i++) {
        mail->counters.copied_bytes += fabric_copied_bytes(reactor->fabrics[i]);
    }
    mail->counters.written_back_bytes = stored->written_back_bytes;
    mail->counters.read_bytes = stored->read_bytes;
    mail->counters.read_copied_bytes = stored->read_copied_bytes;
    mail->counters.relayed_count = reactor->relayed_count;
    mail->counters.relays_failed_count = reactor->relays_failed_count;
    mail->counters.recycled_files_count = stored->recycled_files_count;
    commands_post(reactor, mail);
}

static void leases_renew(struct reactor *reactor, const struct mail *mail)
{
    for (size_t i = 0; i < mail->leases_count; i++) {
        struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_LEASE);
        event.handle = mail->leases[i].handle;
        event.version = mail->leases[i].version;
        event.until_ns = mail->until_ns;
        reactor_step(reactor, &event);
    }
}

// The cluster is learnt once, at the first registration, and kept for good.
static void cluster_keep(struct reactor *reactor, uint64_t cluster_id)
{
    struct mail *mail = mail_new(MAIL_CLUSTER_KEPT);
    if (mail == NULL) {
        return;
    }
    if (reactor->cluster_id != 0 && reactor->cluster_id != cluster_id) {
        mail->status = PAWL_ECLUSTER;
    } else if (reactor->cluster_id == 0) {
        mail->status = store_identity_set(reactor->store, reactor->server_id, cluster_id);
        if (mail->status == 0) {
            reactor->cluster_id = cluster_id;
            pawl_log_info("joined cluster %llx", (unsigned long long)cluster_id);
        } else {
            pawl_log_error("the cluster's id can't be kept in %s: %s", reactor->options.dir,
                           pawl_strerror(mail->status));
        }
    }
    commands_post(reactor, mail);
}

static void commands_registered(struct reactor *reactor, const struct mail *mail)
{
    struct chunk_event event = reactor_event(reactor, CHUNK_EVENT_REGISTERED);
    event.term = mail->term;
    event.order = mail->order;
    reactor_step(reactor, &event);
    cluster_keep(reactor, mail->number);
}

static void commands_stop(struct reactor *reactor)
{
    if (!reactor->stopping) {
        reactor->stopping = true;
        reactor->stop_ns = reactor->now_ns + CHUNKD_STOP_MS * PAWL_NS_PER_MS;
        pawl_log_info("draining: %u requests in flight", reactor->requests.used_count);
    }
}

static void commands_mail(struct reactor *reactor, const struct mail *mail)
{
    switch (mail->type) {
    case MAIL_COMMAND:
        commands_run(reactor, mail);
        break;
    case MAIL_INVENTORY_ASK:
        inventory_send(reactor, mail->all, mail->number);
        break;
    case MAIL_LEASES:
        leases_renew(reactor, mail);
        break;
    case MAIL_REGISTERED:
        commands_registered(reactor, mail);
        break;
    case MAIL_STOP:
        commands_stop(reactor);
        break;
    default:
        pawl_assert(false);
    }
}

int commands_turn(struct reactor *reactor)
{
    int count = 0;
    struct mail *mail;
    mailbox_flush(&reactor->outbox);
    while (count < COMMANDS_AT_ONCE && (mail = mailbox_take(&reactor->inbox)) != NULL) {
        commands_mail(reactor, mail);
        mail_free(mail);
        count++;
    }
    return count;
}
