// SPDX-License-Identifier: Apache-2.0
// The null store's reads: O_DIRECT into a registered buffer, a one-sided write into the client's memory, and a
// small message behind it. In slices a part is on its way while the next one is read.
//
// A disk that has many large reads completes all of them at the same moment, and then the network works while the disk
// doesn't. So it may be given some at once only (disk_reads of the point); the others wait in the order in which they came.
#include <errno.h>
#include <stdlib.h>

#include "perf/roofline/server.h"

#define SLICE_UNIT (64u << 10)

int server_read_open(struct server *server)
{
    uint32_t outstanding = server->shape.outstanding;

    server->waiting_end = &server->waiting;
    server->read_slices_max = server->shape.record_bytes / SLICE_UNIT + 1;
    server->reads = calloc(outstanding, sizeof(*server->reads));
    server->read_slices =
        calloc((size_t)outstanding * server->read_slices_max, sizeof(*server->read_slices));
    return server->reads != NULL && server->read_slices != NULL ? 0 : -ENOMEM;
}

void server_read_close(struct server *server)
{
    free(server->reads);
    free(server->read_slices);
}

static uint8_t *buffer_of(const struct server *server, const struct server_read *read)
{
    return server->window + (uint64_t)(read - server->reads) * server->shape.slot_bytes;
}

static int read_answer(struct server *server, struct server_read *read)
{
    struct outbox_message *message = outbox_take(&server->answers);

    if (message == NULL) {
        return server_fail(server, -EBUSY, "too many reads on their way");
    }
    struct frame_read_done *done = (void *)message->bytes;
    (void)outbox_add(message, sizeof(*done) - sizeof(struct frame));
    done->sequence = read->asked.sequence;
    done->length = read->asked.length;
    server->stats.records_count++;
    return outbox_send(message, FRAME_READ_DONE, &read->client->conn, 1);
}

static int reads_start(struct server *server);

// The disk has its next read before this one's payload is copied to the network: both work at the same time.
static int read_next(struct server *server)
{
    server->at_disk_count--;
    int rc = reads_start(server);
    return rc == 0 ? disk_submit(&server->disk) : rc;
}

static void slice_done(void *user, struct disk_request *request)
{
    struct server *server = user;
    struct read_slice *slice = request->owner;
    struct server_read *read = slice->read;
    struct iovec from = {.iov_base = buffer_of(server, read) + slice->offset,
                         .iov_len = slice->bytes};

    read->left_count--;
    int rc = read->left_count == 0 ? read_next(server) : 0;
    if (rc == 0) {
        rc = writes_post(&server->writes, read->client->conn, &from, server->window_region.desc,
                         read->asked.address + slice->offset, read->asked.key);
    }
    if (rc != 0) {
        (void)server_fail(server, rc, "too many reads on their way");
        return; // the error is kept, and the loop ends with it
    }
    if (read->left_count == 0) {
        (void)!read_answer(server, read); // kept, too
    }
}

static uint32_t slice_most(const struct server *server, uint32_t length)
{
    return server->point.slice_bytes != 0 ? server->point.slice_bytes : length;
}

static int slices_read(struct server *server, struct server_read *read)
{
    uint32_t length = read->asked.length;
    uint32_t most = slice_most(server, length);
    uint32_t offset = 0;
    int rc = 0;

    for (uint32_t i = 0; offset < length && rc == 0; i++, offset += most) {
        struct read_slice *slice = &read->slices[i];
        slice->request.done = slice_done;
        slice->request.owner = slice;
        slice->read = read;
        slice->offset = offset;
        slice->bytes = PAWL_MIN(most, length - offset);
        struct iovec into = {.iov_base = buffer_of(server, read) + offset, .iov_len = slice->bytes};
        rc = disk_read(&server->disk, &slice->request, DISK_DATA, &into,
                       read->asked.offset + offset);
    }
    return rc;
}

static int reads_start(struct server *server)
{
    uint32_t most = server->point.disk_reads != 0 ? server->point.disk_reads : UINT32_MAX;
    int rc = 0;

    while (rc == 0 && server->waiting != NULL && server->at_disk_count < most) {
        struct server_read *read = server->waiting;
        server->waiting = read->next;
        if (server->waiting == NULL) {
            server->waiting_end = &server->waiting;
        }
        server->at_disk_count++;
        rc = slices_read(server, read);
    }
    return rc;
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
    if (read->left_count != 0) {
        return server_fail(server, -EBADMSG, "a client asked twice for one slot");
    }
    read->asked = *asked;
    read->client = client;
    read->slices = &server->read_slices[place * server->read_slices_max];
    uint32_t most = slice_most(server, asked->length);
    read->left_count = (asked->length + most - 1) / most;
    read->next = NULL;
    *server->waiting_end = read;
    server->waiting_end = &read->next;
    return reads_start(server);
}
