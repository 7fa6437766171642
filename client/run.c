// SPDX-License-Identifier: Apache-2.0
// Runs: appends that wait behind each other for a link leave as one message, and one answer is for all of them.
//
// Nobody waits for company: what has gathered when the link's turn comes goes together. What an earlier attempt may have
// left something of goes alone, so that each record is judged by itself, wherever it was left.
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/util.h"
#include "client/client_private.h"

static struct link_request *request_next(const struct pawl_list *list,
                                         const struct link_request *request)
{
    struct pawl_list *next = request->node.next;
    return next == list ? NULL : pawl_container_of(next, struct link_request, node);
}

static bool follows(const struct link_request *request, const struct link_request *next)
{
    const struct wire_append *a = &request->message.append;
    const struct wire_append *b = &next->message.append;
    return next->run_bytes_max != 0 && a->chunk == b->chunk && a->version == b->version &&
           a->flags == b->flags && a->id.producer_hi == b->id.producer_hi &&
           a->id.producer_lo == b->id.producer_lo && a->id.epoch == b->id.epoch &&
           a->id.sequence + 1 == b->id.sequence;
}

uint32_t run_reach(const struct link *link, const struct link_request *first)
{
    uint64_t bytes = first->payload_bytes + wire_rows_bytes(1);
    uint64_t bytes_max = PAWL_MIN(first->run_bytes_max, link->run_bytes_max);
    uint32_t count = 1;
    if (first->run_bytes_max == 0) {
        return count;
    }
    uint32_t most = PAWL_MIN(WIRE_RUN_MAX, link->requests_max - link->requests_sent);
    for (const struct link_request *last = first; count < most; count++) {
        const struct link_request *next = request_next(&link->queue, last);
        if (next == NULL || !follows(last, next)) {
            break;
        }
        bytes += next->payload_bytes + wire_rows_bytes(1);
        if (bytes > bytes_max) {
            break;
        }
        last = next;
    }
    return count;
}

int run_send(struct link *link, struct link_request *first, uint32_t count)
{
    struct wire_run_row rows[WIRE_RUN_MAX];
    struct iovec pieces[2 + WIRE_RUN_MAX];
    struct wire_append message = first->message.append;
    uint32_t rows_bytes = wire_rows_bytes((uint16_t)count);
    uint64_t now_ns = pawl_clock_ns();
    uint64_t id = link->next_id++;
    pawl_assert(count >= 2 && count <= WIRE_RUN_MAX);
    message.length = 0;
    struct link_request *request = first;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = (struct wire_run_row){.length = request->payload_bytes,
                                        .crc = request->message.append.crc};
        pieces[2 + i] = (struct iovec){.iov_base = (void *)(uintptr_t)request->payload,
                                       .iov_len = request->payload_bytes};
        message.length += request->payload_bytes;
        request->id = id;
        request->sent_ns = now_ns;
        request = request_next(&link->queue, request);
    }
    message.crc = pawl_crc32c(0, rows, rows_bytes);
    message.run_count = (uint16_t)count;
    wire_header_init(&message.header, WIRE_APPEND,
                     (uint32_t)sizeof message + rows_bytes + message.length, id);
    pieces[0] = (struct iovec){.iov_base = &message, .iov_len = sizeof message};
    pieces[1] = (struct iovec){.iov_base = rows, .iov_len = rows_bytes};
    return fabric_sendv(link->conn, pieces, 2 + count);
}

bool run_answer_is_sound(const struct link *link, const struct link_request *first,
                         const struct wire_header *reply, uint64_t *ret_rest_bytes)
{
    const struct wire_appended *appended = (const void *)reply;
    const struct link_request *last = first;
    *ret_rest_bytes = 0;
    for (uint32_t i = 1; i < first->run_count; i++) {
        *ret_rest_bytes += last->payload_bytes;
        last = request_next(&link->sent, last);
        pawl_assert(last != NULL &&
                    last->id == first->id); // nothing leaves the list but by its answer
    }
    return reply->status != 0 || (appended->sequence == last->message.append.id.sequence &&
                                  appended->file_offset >= *ret_rest_bytes);
}

struct wire_appended run_answer(const struct link_request *request, const struct wire_header *reply,
                                uint64_t rest_bytes)
{
    struct wire_appended one = {0};
    memcpy(&one, reply,
           PAWL_MIN((size_t)reply->bytes, sizeof one)); // a refusal may be a bare header
    if (reply->status == 0) {
        one.sequence = request->message.append.id.sequence;
        one.file_offset -= rest_bytes;
    }
    return one;
}
