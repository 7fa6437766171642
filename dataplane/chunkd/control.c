// SPDX-License-Identifier: Apache-2.0
// The control thread: connects to the master and connects again, passes mail between it and the
// reactors.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "dataplane/chunkd/control_private.h"

#define CONTROL_ASK_MS 10000u // a large inventory takes its time
#define CONTROL_CONNECT_MS 2000u
#define CONTROL_RETRY_MS_MIN 50u
#define CONTROL_RETRY_MS_MAX 1000u

static void control_connect(struct control *control);

void control_post(struct control *control, uint32_t reactor, struct mail *mail)
{
    if (mail != NULL) {
        mailbox_post(control->boxes[reactor].inbox, mail);
    }
}

int control_post_all(struct control *control, const struct mail *mail)
{
    struct mail *copies[REACTORS_MAX];
    for (uint32_t i = 0; i < control->reactors_count; i++) {
        copies[i] = mail_new(mail->type);
        if (copies[i] == NULL) {
            while (i-- > 0) {
                mail_free(copies[i]);
            }
            return -ENOMEM;
        }
        *copies[i] = *mail;
    }
    for (uint32_t i = 0; i < control->reactors_count; i++) {
        control_post(control, i, copies[i]);
    }
    return 0;
}

void control_inventory_ask(struct control *control, bool all)
{
    struct mail mail = {
        .type = MAIL_INVENTORY_ASK, .all = all, .number = gather_begin(&control->gather)};
    control->asked = control_post_all(control, &mail) == 0;
    control->asked_ns = pawl_clock_ns();
}

void control_register_again(struct control *control)
{
    control->state = CONTROL_GREETING;
    control_inventory_ask(control, true);
}

// ---- the connection to the master -------------------------------------------------------------

static void retry_due(uv_timer_t *timer)
{
    control_connect(timer->data);
}

static void control_retry(struct control *control)
{
    uint32_t ms = PAWL_MAX(control->retry_ms, CONTROL_RETRY_MS_MIN);
    control->retry_ms = PAWL_MIN(ms * 2, CONTROL_RETRY_MS_MAX);
    uv_timer_start(&control->retry, retry_due, ms, 0);
}

static void on_open(void *user, struct rpc_conn *conn)
{
    struct control *control = user;
    pawl_log_debug("connected to the master at %s", rpc_conn_peer(conn));
    control->conn = conn;
    control_register_again(control);
}

static void on_close(void *user, struct rpc_conn *conn, int why)
{
    struct control *control = user;
    (void)conn;
    control->conn = NULL;
    control->calling = false;
    control->state = CONTROL_OFF;
    if (control->stopping) {
        return;
    }
    if (!control->said_lost) {
        control->said_lost = true;
        pawl_log_warn("no connection to the master at %s:%u: %s; trying again and again",
                      control->options.master_host, (unsigned)control->options.master_port,
                      pawl_strerror(why));
    }
    control_retry(control);
}

// A copy that the reactor owns; the original dies with the callback.
static Pawl__Request *request_copy(const Pawl__Request *request)
{
    size_t bytes = pawl__request__get_packed_size(request);
    uint8_t *packed = malloc(bytes > 0 ? bytes : 1);
    if (packed == NULL) {
        return NULL;
    }
    pawl__request__pack(request, packed);
    Pawl__Request *copy = pawl__request__unpack(NULL, bytes, packed);
    free(packed);
    return copy;
}

static void on_request(void *user, struct rpc_conn *conn, uint64_t request_id,
                       const Pawl__Request *request)
{
    struct control *control = user;
    uint32_t reactor;
    int code = routes_of_command(&control->routes, request, &reactor);
    if (code == PAWL_EPROTOCOL) {
        rpc_reply_code(conn, request_id, PAWL_EPROTOCOL,
                       "a chunk server doesn't take this request");
        return;
    }
    struct mail *mail = code == 0 ? mail_new(MAIL_COMMAND) : NULL;
    if (mail != NULL) {
        mail->command = request_copy(request);
    }
    if (mail == NULL || mail->command == NULL) {
        mail_free(mail);
        rpc_reply_code(conn, request_id, PAWL_EBUSY, "out of memory");
        return;
    }
    mail->conn = rpc_conn_id(conn);
    mail->request = request_id;
    control_post(control, reactor, mail);
}

static void control_connect(struct control *control)
{
    struct rpc_options options = {
        .size = sizeof(options),
        .host = control->options.master_host,
        .port = control->options.master_port,
        .connect_ms = CONTROL_CONNECT_MS,
    };
    struct rpc_handlers handlers = {
        .on_open = on_open, .on_request = on_request, .on_close = on_close};
    if (control->stopping) {
        return;
    }
    control->state = CONTROL_OFF;
    int code = rpc_connect(&control->loop, &options, &handlers, control, &control->conn);
    if (code != 0) {
        control->conn = NULL;
        on_close(control, NULL, code);
    }
}

// ---- mail of the reactors ---------------------------------------------------------------------

static void mail_answer(struct control *control, const struct mail *mail)
{
    if (control->conn == NULL || rpc_conn_id(control->conn) != mail->conn) {
        return; // the connection that asked is gone; the master asks again
    }
    Pawl__Reply *reply = pawl__reply__unpack(NULL, mail->bytes_count, mail->bytes);
    if (reply == NULL) {
        rpc_reply_code(control->conn, mail->request, PAWL_EBUSY, "out of memory");
        return;
    }
    rpc_reply(control->conn, mail->request, reply);
    pawl__reply__free_unpacked(reply, NULL);
}

static void inventory_send(struct control *control, const struct mail *mail)
{
    if (control->conn == NULL || !rpc_conn_is_open(control->conn) || control->calling ||
        control->stopping) {
        return;
    }
    bool wanted_all = control->state == CONTROL_GREETING;
    if (mail->status != 0 || (wanted_all && !mail->all)) {
        // Incomplete, or made for a heartbeat before the connection was lost: once more.
        control_inventory_ask(control, wanted_all);
    } else if (wanted_all) {
        register_send(control, mail);
    } else if (control->state == CONTROL_REGISTERED) {
        heartbeat_send(control, mail);
    }
}

// Which reactor holds a chunk that is not where its handle says.
static int inventory_learn(struct control *control, uint32_t reactor, const struct mail *mail)
{
    int code = 0;
    for (size_t i = 0; i < mail->replicas_count && code == 0; i++) {
        code = routes_learn(&control->routes, mail->replicas[i].handle, reactor);
    }
    return code;
}

// TAKES the mail.
static void mail_inventory(struct control *control, uint32_t reactor, struct mail *mail)
{
    if (inventory_learn(control, reactor, mail) != 0) {
        mail->status = PAWL_EBUSY;
    }
    if (!gather_take(&control->gather, reactor, mail)) {
        return;
    }
    control->asked = false;
    struct mail *merged = gather_merge(&control->gather);
    if (merged != NULL) { // else the next heartbeat asks again
        inventory_send(control, merged);
        mail_free(merged);
    }
}

static void mail_cluster_kept(struct control *control, const struct mail *mail)
{
    if (mail->status == PAWL_ECLUSTER) {
        control_stop(control, CONTROL_EXIT_CLUSTER);
    } else if (mail->status != 0) {
        control_stop(control, CONTROL_EXIT_FAILED);
    }
}

static void control_close_handles(struct control *control);

// TAKES the mail.
static void control_mail(struct control *control, uint32_t reactor, struct mail *mail)
{
    switch (mail->type) {
    case MAIL_ANSWER:
        mail_answer(control, mail);
        break;
    case MAIL_INVENTORY:
        mail_inventory(control, reactor, mail);
        return;
    case MAIL_REPORT:
        if (control->state == CONTROL_REGISTERED) {
            report_send(control, mail);
        }
        break;
    case MAIL_CLUSTER_KEPT:
        mail_cluster_kept(control, mail);
        break;
    case MAIL_STOPPED:
        control->stopped_count++;
        break;
    default:
        pawl_assert(false);
    }
    mail_free(mail);
}

static void outbox_ready(uv_poll_t *poll, int status, int events)
{
    struct control_box *box = poll->data;
    struct control *control = box->control;
    struct mail *mail;
    (void)status;
    (void)events;
    mailbox_clear(box->outbox);
    while ((mail = mailbox_take(box->outbox)) != NULL) {
        control_mail(control, box->number, mail);
    }
    if (control->stopped_count == control->reactors_count) {
        control_close_handles(control);
    }
}

// ---- time and signals -------------------------------------------------------------------------

static void heartbeat_due(uv_timer_t *timer)
{
    struct control *control = timer->data;
    for (uint32_t i = 0; i < control->reactors_count; i++) {
        mailbox_flush(control->boxes[i].inbox);
    }
    uv_timer_start(timer, heartbeat_due, PAWL_MAX(control->heartbeat_ms, 50u), 0);
    // A reactor without memory for its part does not answer: it is asked again.
    bool is_asked =
        control->asked && pawl_clock_ns() - control->asked_ns < CONTROL_ASK_MS * PAWL_NS_PER_MS;
    if (control->state == CONTROL_OFF || is_asked || control->calling || control->stopping) {
        return;
    }
    control_inventory_ask(control, control->state == CONTROL_GREETING);
}

void control_stop(struct control *control, int exit_code)
{
    if (control->stopping) {
        return;
    }
    control->stopping = true;
    control->exit_code = exit_code;
    uv_timer_stop(&control->retry);
    struct mail mail = {.type = MAIL_STOP};
    if (control_post_all(control, &mail) != 0) {
        _exit(CONTROL_EXIT_FAILED); // as safe as any crash
    }
}

static void signal_came(uv_signal_t *handle, int number)
{
    struct control *control = handle->data;
    if (control->stopping) {
        pawl_log_warn("stopping at once: another %s came while draining", strsignal(number));
        _exit(CONTROL_EXIT_FAILED);
    }
    pawl_log_info("%s: draining", strsignal(number));
    control_stop(control, CONTROL_EXIT_OK);
}

// ---- start and end ----------------------------------------------------------------------------

static void handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void control_close_handles(struct control *control)
{
    if (control->conn != NULL && rpc_conn_is_open(control->conn)) {
        rpc_conn_close_flushed(control->conn, PAWL_ESHUTDOWN);
    } else if (control->conn != NULL) {
        rpc_conn_close(control->conn, PAWL_ESHUTDOWN);
    }
    uv_handle_t *handles[] = {(uv_handle_t *)&control->signals[0],
                              (uv_handle_t *)&control->signals[1],
                              (uv_handle_t *)&control->heartbeat, (uv_handle_t *)&control->retry};
    for (unsigned i = 0; i < control->handles_count; i++) {
        handle_close(handles[i]);
    }
    for (unsigned i = 0; i < control->polls_count; i++) {
        handle_close((uv_handle_t *)&control->boxes[i].poll);
    }
}

static int control_init_boxes(struct control *control)
{
    int code = 0;
    for (uint32_t i = 0; i < control->reactors_count && code == 0; i++) {
        struct control_box *box = &control->boxes[i];
        code = uv_poll_init(&control->loop, &box->poll, mailbox_fd(box->outbox));
        if (code == 0) {
            control->polls_count++;
            box->poll.data = box;
            code = uv_poll_start(&box->poll, UV_READABLE, outbox_ready);
        }
    }
    return code;
}

static int control_init_handles(struct control *control)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (unsigned i = 0; i < PAWL_ARRAY_COUNT(numbers); i++) {
        int code = uv_signal_init(&control->loop, &control->signals[i]);
        if (code != 0) {
            return code;
        }
        control->handles_count++;
        control->signals[i].data = control;
        code = uv_signal_start(&control->signals[i], signal_came, numbers[i]);
        if (code != 0) {
            return code;
        }
    }
    uv_timer_init(&control->loop, &control->heartbeat);
    uv_timer_init(&control->loop, &control->retry);
    control->handles_count += 2;
    control->heartbeat.data = control;
    control->retry.data = control;
    return control_init_boxes(control);
}

// The reactors are told to stop in any case, so that their threads can be joined.
static int control_fail(struct control *control, int code)
{
    pawl_log_error("the control thread can't start: %s", uv_strerror(code));
    control_stop(control, CONTROL_EXIT_FAILED);
    control_close_handles(control);
    return CONTROL_EXIT_FAILED;
}

static void control_init(struct control *control, const struct control_options *options,
                         struct reactor *const reactors[], uint32_t reactors_count)
{
    memset(control, 0, sizeof(*control));
    control->options = *options;
    control->reactors_count = reactors_count;
    control->server_id = reactor_server_id(reactors[0]);
    control->incarnation = reactor_incarnation(reactors[0]);
    for (uint32_t i = 0; i < reactors_count; i++) {
        control->boxes[i] = (struct control_box){.control = control,
                                                 .number = i,
                                                 .inbox = reactor_inbox(reactors[i]),
                                                 .outbox = reactor_outbox(reactors[i])};
        // One that has not kept it yet, after a crash in between, learns it like a new one.
        uint64_t cluster_id = reactor_opened_cluster_id(reactors[i]);
        control->cluster_id = control->cluster_id != 0 ? control->cluster_id : cluster_id;
        pawl_assert(reactor_server_id(reactors[i]) == control->server_id);
        pawl_assert(reactor_incarnation(reactors[i]) == control->incarnation);
    }
    routes_init(&control->routes, reactors_count);
    gather_init(&control->gather, reactors_count);
    control->state = CONTROL_OFF;
    if (options->dir != NULL) {
        mark_load(options->dir, &control->mark);
        control->mark_saved = true;
    }
}

static void control_fini(struct control *control)
{
    mark_keep(control);
    gather_fini(&control->gather);
    routes_fini(&control->routes);
}

int control_run(const struct control_options *options, struct reactor *const reactors[],
                uint32_t reactors_count)
{
    struct control control;
    control_init(&control, options, reactors, reactors_count);
    int code = uv_loop_init(&control.loop);
    if (code != 0) {
        control_stop(&control, CONTROL_EXIT_FAILED);
        control_fini(&control);
        return CONTROL_EXIT_FAILED;
    }
    code = control_init_handles(&control);
    if (code != 0) {
        control_fail(&control, code);
    } else {
        heartbeat_due(&control.heartbeat);
        control_connect(&control);
    }
    uv_run(&control.loop, UV_RUN_DEFAULT);
    control_fini(&control);
    code = uv_loop_close(&control.loop);
    pawl_assert(code == 0);
    return control.exit_code;
}
