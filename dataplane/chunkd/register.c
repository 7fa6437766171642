// SPDX-License-Identifier: Apache-2.0
// What a chunk server says to the master: Register, Heartbeat, Report; and what it does with the
// answers.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <stdlib.h>

#include <pawl/error.h>

#include "base/clock.h"
#include "base/log.h"
#include "dataplane/chunkd/control_private.h"

#define REGISTER_MS 5000u
#define HEARTBEAT_MS_MIN 10u
#define HEARTBEAT_MS_MAX 60000u
#define MARK_MS 1000u // so often what was seen of the master's log is made durable

// Pointers to the inventory's replicas, as protobuf wants them. NULL when there are none or no
// memory.
static Pawl__Replica **replica_pointers(const struct mail *inventory)
{
    if (inventory->replicas_count == 0) {
        return NULL;
    }
    Pawl__Replica **pointers = calloc(inventory->replicas_count, sizeof(pointers[0]));
    for (size_t i = 0; pointers != NULL && i < inventory->replicas_count; i++) {
        pointers[i] = &inventory->replicas[i];
    }
    return pointers;
}

// ---- Register ---------------------------------------------------------------------------------

static void registered_refused(struct control *control, const Pawl__Reply *reply)
{
    const char *text =
        reply->text != NULL && reply->text[0] != '\0' ? reply->text : pawl_strerror(reply->code);
    if (reply->code != control->said_refused) { // it is asked again and again
        control->said_refused = reply->code;
        pawl_log_error("the master at %s refuses this server: %s", rpc_conn_peer(control->conn),
                       text);
    }
    if (reply->code == PAWL_ECLUSTER) {
        pawl_log_error("this server's chunks belong to cluster %llx, and nothing of them is "
                       "touched. Point it to that cluster's master; to let it join another "
                       "cluster, give it another directory. If the master's disk was lost, see "
                       "docs/operations.md",
                       (unsigned long long)control->cluster_id);
        control_stop(control, CONTROL_EXIT_CLUSTER);
        return;
    }
    rpc_conn_close(control->conn, reply->code);
}

// ---- what was seen of the master's log ----------------------------------------------------------

void mark_keep(struct control *control)
{
    if (control->mark_saved || control->options.dir == NULL) {
        return;
    }
    int code = mark_save(control->options.dir, &control->mark);
    control->mark_saved_ns = pawl_clock_ns();
    control->mark_saved = code == 0;
    if (code != 0 && !control->mark_failed) {
        pawl_log_warn("%s/mark can't be written: %s", control->options.dir, pawl_strerror(code));
    }
    control->mark_failed = code != 0;
}

// A master that does not look at marks itself is looked at here.
static bool master_is_behind(const struct control *control, const Pawl__Registered *body)
{
    const struct mark *mark = &control->mark;
    if (mark->cluster_id != body->cluster_id) {
        return false;
    }
    return body->term < mark->term || (body->term == mark->term && body->nonce != mark->nonce);
}

// Before any command of a new term is carried out: that it was there is durable first.
static void mark_term(struct control *control, const Pawl__Registered *body)
{
    struct mark seen = {.cluster_id = body->cluster_id,
                        .term = body->term,
                        .nonce = body->nonce,
                        .position = body->position};
    control->mark = seen;
    control->mark_saved = false;
    mark_keep(control);
}

static void mark_position(struct control *control, uint64_t position)
{
    if (position > control->mark.position) {
        control->mark.position = position;
        control->mark_saved = false;
    }
    if (pawl_clock_ns() - control->mark_saved_ns >= MARK_MS * PAWL_NS_PER_MS) {
        mark_keep(control);
    }
}

static int registered_post(struct control *control, const Pawl__Registered *body)
{
    // Before any command that follows this answer, with each reactor.
    struct mail mail = {.type = MAIL_REGISTERED,
                        .number = body->cluster_id,
                        .term = body->term,
                        .order = body->order};
    control->cluster_id = body->cluster_id;
    return control_post_all(control, &mail);
}

static void registered(struct control *control, const Pawl__Registered *body)
{
    if (control->cluster_id != 0 && control->cluster_id != body->cluster_id) {
        pawl_log_error("the master at %s leads cluster %llx, but this server's chunks belong to "
                       "cluster %llx. Point it to its own master, or give it an empty directory",
                       rpc_conn_peer(control->conn), (unsigned long long)body->cluster_id,
                       (unsigned long long)control->cluster_id);
        control_stop(control, CONTROL_EXIT_CLUSTER);
        return;
    }
    if (master_is_behind(control, body)) {
        pawl_log_error("the master at %s is at term %llu, but this server has seen term %llu of "
                       "its cluster: its log is not the newest. See docs/operations.md, \"The "
                       "master's disk is lost\"",
                       rpc_conn_peer(control->conn), (unsigned long long)body->term,
                       (unsigned long long)control->mark.term);
        rpc_conn_close(control->conn, PAWL_EHISTORY);
        return;
    }
    mark_term(control, body);
    if (registered_post(control, body) != 0) {
        rpc_conn_close(control->conn, PAWL_EBUSY); // once more
        return;
    }
    control->state = CONTROL_REGISTERED;
    control->said_refused = 0;
    control->retry_ms = 0;
    control->said_lost = false;
    control->heartbeat_ms =
        PAWL_MIN(PAWL_MAX(body->heartbeat_ms, HEARTBEAT_MS_MIN), HEARTBEAT_MS_MAX);
    control->lease_ms = body->lease_ms;
    pawl_log_info("registered with the master at %s: cluster %llx term %llu, heartbeat %u ms, "
                  "lease %u ms",
                  rpc_conn_peer(control->conn), (unsigned long long)body->cluster_id,
                  (unsigned long long)body->term, control->heartbeat_ms, control->lease_ms);
}

static void register_answered(void *user, int code, const Pawl__Reply *reply)
{
    struct control *control = user;
    control->calling = false;
    if (control->conn == NULL || control->stopping) {
        return;
    }
    if (code != 0) {
        pawl_log_warn("the master does not answer the registration: %s", pawl_strerror(code));
        rpc_conn_close(control->conn, code);
    } else if (reply->code != 0) {
        registered_refused(control, reply);
    } else if (reply->body_case != PAWL__REPLY__BODY_REGISTERED ||
               reply->registered->cluster_id == 0) {
        pawl_log_warn("the master's answer to the registration makes no sense");
        rpc_conn_close(control->conn, PAWL_EPROTOCOL);
    } else {
        registered(control, reply->registered);
        if (control->state == CONTROL_REGISTERED) {
            // A heartbeat at once: chunks that this server leads get their leases renewed.
            control_inventory_ask(control, false);
        }
    }
}

static void call_failed(struct control *control, const char *what, int code)
{
    pawl_log_warn("%s can't be sent to the master: %s", what, pawl_strerror(code));
    control->calling = false;
    rpc_conn_close(control->conn, code);
}

void register_send(struct control *control, const struct mail *inventory)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Register body = PAWL__REGISTER__INIT;
    Pawl__Replica **replicas = replica_pointers(inventory);
    if (replicas == NULL && inventory->replicas_count > 0) {
        call_failed(control, "the registration", PAWL_EBUSY);
        return;
    }
    body.server_id = control->server_id;
    body.incarnation = control->incarnation;
    body.cluster_id = control->cluster_id;
    body.name = (char *)control->options.name;
    body.fabric_address = (char *)control->options.address;
    body.location = (char *)control->options.location;
    body.space_bytes = inventory->counters.space_bytes;
    body.used_bytes = inventory->counters.used_bytes;
    body.replicas = replicas;
    body.n_replicas = inventory->replicas_count;
    if (control->mark.cluster_id == control->cluster_id) {
        body.seen_term = control->mark.term;
        body.seen_nonce = control->mark.nonce;
        body.seen_position = control->mark.position;
    }
    request.body_case = PAWL__REQUEST__BODY_REGISTER;
    request.register_ = &body;
    control->calling = true;
    int code = rpc_call(control->conn, &request, REGISTER_MS, register_answered, control);
    free(replicas);
    if (code != 0) {
        call_failed(control, "the registration", code);
    }
}

// ---- Heartbeat --------------------------------------------------------------------------------

// A lease runs from the moment at which the heartbeat was sent: the master counts from a later one.
static struct mail *leases_mail(const struct control *control, const Pawl__HeartbeatAnswer *answer)
{
    struct mail *mail = mail_new(MAIL_LEASES);
    if (mail != NULL) {
        mail->leases = calloc(answer->n_renewals, sizeof(mail->leases[0]));
    }
    if (mail == NULL || mail->leases == NULL) {
        mail_free(mail);
        return NULL; // they lapse
    }
    mail->until_ns = control->sent_ns + control->lease_ms * PAWL_NS_PER_MS;
    return mail;
}

// To each reactor those of its chunks.
static void leases_post(struct control *control, const Pawl__HeartbeatAnswer *answer)
{
    struct mail *mails[REACTORS_MAX] = {NULL};
    for (size_t i = 0; i < answer->n_renewals; i++) {
        const Pawl__LeaseRenewal *renewal = answer->renewals[i];
        struct mail **mail = &mails[routes_of(&control->routes, renewal->handle)];
        if (*mail == NULL) {
            *mail = leases_mail(control, answer);
        }
        if (*mail != NULL) {
            (*mail)->leases[(*mail)->leases_count++] =
                (struct mail_lease){.handle = renewal->handle, .version = renewal->version};
        }
    }
    for (uint32_t i = 0; i < control->reactors_count; i++) {
        control_post(control, i, mails[i]);
    }
}

static void heartbeat_answered(void *user, int code, const Pawl__Reply *reply)
{
    struct control *control = user;
    control->calling = false;
    if (control->conn == NULL || control->stopping) {
        return;
    }
    if (code != 0) {
        pawl_log_warn("the master does not answer a heartbeat: %s", pawl_strerror(code));
        rpc_conn_close(control->conn, code);
    } else if (reply->code != 0) {
        pawl_log_warn("the master refuses a heartbeat: %s", pawl_strerror(reply->code));
        control_register_again(control);
    } else if (reply->body_case != PAWL__REPLY__BODY_HEARTBEAT) {
        pawl_log_warn("the master's answer to a heartbeat makes no sense");
        rpc_conn_close(control->conn, PAWL_EPROTOCOL);
    } else if (reply->heartbeat->register_again) {
        control_register_again(control);
    } else {
        leases_post(control, reply->heartbeat);
        mark_position(control, reply->heartbeat->position);
    }
}

void heartbeat_send(struct control *control, const struct mail *inventory)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Heartbeat body = PAWL__HEARTBEAT__INIT;
    Pawl__Replica **replicas = replica_pointers(inventory);
    if (replicas == NULL && inventory->replicas_count > 0) {
        return; // the next one
    }
    body.server_id = control->server_id;
    body.incarnation = control->incarnation;
    body.space_bytes = inventory->counters.space_bytes;
    body.used_bytes = inventory->counters.used_bytes;
    body.appends_count = inventory->counters.appends_count;
    body.duplicates_count = inventory->counters.duplicates_count;
    body.mismatches_count = inventory->counters.mismatches_count;
    body.stored_bytes = inventory->counters.stored_bytes;
    body.copied_bytes = inventory->counters.copied_bytes;
    body.written_back_bytes = inventory->counters.written_back_bytes;
    body.read_bytes = inventory->counters.read_bytes;
    body.read_copied_bytes = inventory->counters.read_copied_bytes;
    body.relayed_count = inventory->counters.relayed_count;
    body.relays_failed_count = inventory->counters.relays_failed_count;
    body.recycled_files_count = inventory->counters.recycled_files_count;
    body.replicas = replicas;
    body.n_replicas = inventory->replicas_count;
    request.body_case = PAWL__REQUEST__BODY_HEARTBEAT;
    request.heartbeat = &body;
    control->calling = true;
    control->sent_ns = pawl_clock_ns();
    uint32_t deadline_ms = PAWL_MAX(control->lease_ms, 1000u);
    int code = rpc_call(control->conn, &request, deadline_ms, heartbeat_answered, control);
    free(replicas);
    if (code != 0) {
        call_failed(control, "a heartbeat", code);
    }
}

// ---- Report -----------------------------------------------------------------------------------

static void report_answered(void *user, int code, const Pawl__Reply *reply)
{
    // The core repeats a report for as long as it matters.
    (void)user;
    (void)code;
    (void)reply;
}

void report_send(struct control *control, const struct mail *mail)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Report body = PAWL__REPORT__INIT;
    body.kind = (Pawl__ReportKind)mail->kind;
    body.handle = mail->handle;
    body.version = mail->version;
    body.server_id = mail->number;
    request.body_case = PAWL__REQUEST__BODY_REPORT;
    request.report = &body;
    int code = rpc_call(control->conn, &request, REGISTER_MS, report_answered, control);
    if (code != 0) {
        pawl_log_debug("a report can't be sent: %s", pawl_strerror(code));
    }
}
