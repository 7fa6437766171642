// SPDX-License-Identifier: Apache-2.0
// The control thread: connects to the master and connects again, passes mail between it and the
// reactor.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/log.h"
#include "dataplane/chunkd/control_private.h"

#define CONTROL_CONNECT_MS 2000u
#define CONTROL_RETRY_MS_MIN 50u
#define CONTROL_RETRY_MS_MAX 1000u

static void control_connect(struct control *control);

// A mail that there was no memory for is lost, as on a bad network.
void control_post(struct control *control, struct mail *mail)
{
    if (mail != NULL) {
        mailbox_post(control->inbox, mail);
    }
}

void control_inventory_ask(struct control *control, bool all)
{
    struct mail *mail = mail_new(MAIL_INVENTORY_ASK);
    if (mail == NULL) {
        return;
    }
    mail->all = all;
    control->asked = true;
    control_post(control, mail);
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

static bool request_is_command(const Pawl__Request *request)
{
    switch (request->body_case) {
    case PAWL__REQUEST__BODY_FENCE:
    case PAWL__REQUEST__BODY_LEVEL:
    case PAWL__REQUEST__BODY_SEAL:
    case PAWL__REQUEST__BODY_OPEN:
    case PAWL__REQUEST__BODY_GRANT:
    case PAWL__REQUEST__BODY_DROP:
    case PAWL__REQUEST__BODY_COPY:
        return true;
    default:
        return false;
    }
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
    if (!request_is_command(request)) {
        rpc_reply_code(conn, request_id, PAWL_EPROTOCOL,
                       "a chunk server doesn't take this request");
        return;
    }
    struct mail *mail = mail_new(MAIL_COMMAND);
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
    control_post(control, mail);
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

// ---- mail of the reactor ----------------------------------------------------------------------

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

static void mail_inventory(struct control *control, const struct mail *mail)
{
    control->asked = false;
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

static void mail_cluster_kept(struct control *control, const struct mail *mail)
{
    if (mail->status == PAWL_ECLUSTER) {
        control_stop(control, CONTROL_EXIT_CLUSTER);
    } else if (mail->status != 0) {
        control_stop(control, CONTROL_EXIT_FAILED);
    }
}

static void control_close_handles(struct control *control);

static void control_mail(struct control *control, const struct mail *mail)
{
    switch (mail->type) {
    case MAIL_ANSWER:
        mail_answer(control, mail);
        break;
    case MAIL_INVENTORY:
        mail_inventory(control, mail);
        break;
    case MAIL_REPORT:
        if (control->state == CONTROL_REGISTERED) {
            report_send(control, mail);
        }
        break;
    case MAIL_CLUSTER_KEPT:
        mail_cluster_kept(control, mail);
        break;
    case MAIL_STOPPED:
        control->stopped = true;
        break;
    default:
        pawl_assert(false);
    }
}

static void outbox_ready(uv_poll_t *poll, int status, int events)
{
    struct control *control = poll->data;
    struct mail *mail;
    (void)status;
    (void)events;
    mailbox_clear(control->outbox);
    while ((mail = mailbox_take(control->outbox)) != NULL) {
        control_mail(control, mail);
        mail_free(mail);
    }
    if (control->stopped) {
        control_close_handles(control);
    }
}

// ---- time and signals -------------------------------------------------------------------------

static void heartbeat_due(uv_timer_t *timer)
{
    struct control *control = timer->data;
    mailbox_flush(control->inbox);
    uv_timer_start(timer, heartbeat_due, PAWL_MAX(control->heartbeat_ms, 50u), 0);
    if (control->state == CONTROL_OFF || control->asked || control->calling || control->stopping) {
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
    struct mail *mail = mail_new(MAIL_STOP);
    if (mail == NULL) {
        _exit(CONTROL_EXIT_FAILED); // as safe as any crash
    }
    control_post(control, mail);
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

static void control_close_handles(struct control *control)
{
    if (control->conn != NULL && rpc_conn_is_open(control->conn)) {
        rpc_conn_close_flushed(control->conn, PAWL_ESHUTDOWN);
    } else if (control->conn != NULL) {
        rpc_conn_close(control->conn, PAWL_ESHUTDOWN);
    }
    uv_handle_t *handles[] = {(uv_handle_t *)&control->signals[0],
                              (uv_handle_t *)&control->signals[1],
                              (uv_handle_t *)&control->heartbeat, (uv_handle_t *)&control->retry,
                              (uv_handle_t *)&control->outbox_poll};
    for (unsigned i = 0; i < control->handles_count; i++) {
        if (!uv_is_closing(handles[i])) {
            uv_close(handles[i], NULL);
        }
    }
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
    int code = uv_poll_init(&control->loop, &control->outbox_poll, mailbox_fd(control->outbox));
    if (code != 0) {
        return code;
    }
    control->handles_count++;
    control->outbox_poll.data = control;
    return uv_poll_start(&control->outbox_poll, UV_READABLE, outbox_ready);
}

// The reactor is told to stop in any case, so that its thread can be joined.
static int control_fail(struct control *control, int code)
{
    pawl_log_error("the control thread can't start: %s", uv_strerror(code));
    control_stop(control, CONTROL_EXIT_FAILED);
    control_close_handles(control);
    return CONTROL_EXIT_FAILED;
}

int control_run(const struct control_options *options, struct reactor *reactor)
{
    struct control control;
    memset(&control, 0, sizeof(control));
    control.options = *options;
    control.reactor = reactor;
    control.inbox = reactor_inbox(reactor);
    control.outbox = reactor_outbox(reactor);
    control.cluster_id = reactor_opened_cluster_id(reactor);
    control.state = CONTROL_OFF;
    int code = uv_loop_init(&control.loop);
    if (code != 0) {
        struct mail *mail = mail_new(MAIL_STOP);
        control_post(&control, mail);
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
    code = uv_loop_close(&control.loop);
    pawl_assert(code == 0);
    return control.exit_code;
}
