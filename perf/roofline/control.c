// SPDX-License-Identifier: Apache-2.0
// Packets between the caller's process and the nodes.
#include "perf/roofline/control.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define CONTROL_MAGIC 0x43465250u // "PRFC"

void control_message_init(struct control_message *message, enum control_type type)
{
    memset(message, 0, sizeof(*message));
    message->magic = CONTROL_MAGIC;
    message->type = type;
}

int control_send(int fd, struct control_message *message)
{
    bool has_latencies = message->type == CONTROL_RUN;

    message->bytes = has_latencies ? (uint32_t)sizeof(*message)
                                   : (uint32_t)offsetof(struct control_message, latencies);
    ssize_t sent;
    do {
        sent = send(fd, message, message->bytes, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == ECONNRESET ? -EPIPE : -errno;
    }
    return (uint32_t)sent == message->bytes ? 0 : -EIO;
}

int control_receive(int fd, int timeout_ms, struct control_message *ret)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ready;

    do {
        ready = poll(&wait, 1, timeout_ms);
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) {
        return ready < 0 ? -errno : 0;
    }
    ssize_t got = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (got <= 0) {
        return got == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    }
    if ((size_t)got < offsetof(struct control_message, latencies) || ret->magic != CONTROL_MAGIC ||
        ret->bytes != (uint32_t)got || (ret->type == CONTROL_RUN && (size_t)got != sizeof(*ret))) {
        return -EBADMSG;
    }
    return 1;
}
