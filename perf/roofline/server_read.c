// SPDX-License-Identifier: Apache-2.0
// The null store's reads: O_DIRECT into a registered buffer, a one-sided write into the client's memory, and a
// small message behind it.
#include <errno.h>
#include <stdlib.h>

#include "perf/roofline/server.h"

int server_read_open(struct server *server)
{
    server->reads = calloc(server->shape.outstanding, sizeof(*server->reads));
    return server->reads != NULL ? 0 : -ENOMEM;
}

void server_read_close(struct server *server)
{
    free(server->reads);
}

static uint8_t *buffer_of(const struct server *server, const struct server_read *read)
{
    return server->window + (uint64_t)(read - server->reads) * server->shape.slot_bytes;
}

static int read_answer(struct server *server, struct server_read *read)
{
    struct iovec from = {.iov_base = buffer_of(server, read), .iov_len = read->asked.length};
    struct outbox_message *message = outbox_take(&server->answers);
    int rc = writes_post(&server->writes, read->client->conn, &from, server->window_region.desc,
                         read->asked.address, read->asked.key);

    if (rc != 0 || message == NULL) {
        return server_fail(server, rc != 0 ? rc : -EBUSY, "too many reads on their way");
    }
    struct frame_read_done *done = (void *)message->bytes;
    (void)outbox_add(message, sizeof(*done) - sizeof(struct frame));
    done->sequence = read->asked.sequence;
    done->length = read->asked.length;
    return outbox_send(message, FRAME_READ_DONE, &read->client->conn, 1);
}

static void read_done(void *user, struct disk_request *request)
{
    struct server *server = user;

    if (read_answer(server, request->owner) == 0) {
        server->stats.records_count++;
    } // else the error is kept, and the loop ends with it
}

int server_read_message(struct server *server, struct server_client *client,
                        const struct frame *frame)
{
    const struct frame_read *asked = (const void *)frame;
    const struct shape *shape = &server->shape;

    if (frame->type != FRAME_READ || asked->length != shape->record_bytes ||
        asked->offset % SHAPE_PAGE_BYTES != 0 ||
        asked->offset > server->config->options.file_bytes - asked->length ||
        client != &server->clients[asked->client % ROOFLINE_CLIENTS_MAX]) {
        return server_fail(server, -EBADMSG, "a client asked for what it must not");
    }
    uint64_t place = asked->client * shape->depth + asked->sequence % shape->depth;
    struct server_read *read = &server->reads[place];
    read->asked = *asked;
    read->client = client;
    read->request.done = read_done;
    read->request.owner = read;
    struct iovec into = {.iov_base = buffer_of(server, read), .iov_len = asked->length};
    return disk_read(&server->disk, &read->request, DISK_DATA, &into, asked->offset);
}
