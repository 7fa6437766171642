// SPDX-License-Identifier: Apache-2.0
// Requests that a test makes on links.
#include "links.h"

#include "base/crc32c.h"

struct place *place_open(bool window)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 1, 1000);
    cluster_set(&place->cluster, servers[0].faults.no_window, !window);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    uint64_t bytes;
    assert_int_equal(pawl_file_bytes(place->file, &bytes), 0);
    return place;
}

int place_tear_down(void **state)
{
    struct place *place = *state;
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

void call_done(void *user, int status, const struct wire_header *reply)
{
    struct call *call = user;
    call->calls++;
    call->status = status;
    call->reply_status = reply != NULL ? reply->status : 1;
    if (call->order != NULL) {
        call->at = (*call->order)++;
    }
}

struct link_request append_request(struct call *call, const void *data, uint32_t bytes,
                                   uint64_t sequence, uint32_t deadline_ms)
{
    struct link_request request = {.done = call_done, .user = call};
    struct wire_append *message = &request.message.append;
    message->header.type = WIRE_APPEND;
    message->chunk = 101;
    message->version = 1;
    message->id = (struct wire_record_id){.producer_lo = 9, .sequence = sequence};
    message->length = bytes;
    message->crc = pawl_crc32c(0, data, bytes);
    request.payload = data;
    request.payload_bytes = bytes;
    request.owner = call;
    request.use = &call->use;
    request.deadline_ns = client_deadline_ns(NULL, deadline_ms);
    return request;
}

void turn_until(struct place *place, const struct call *call)
{
    while (call->calls == 0) {
        client_turn(place->pawl, UINT64_MAX);
    }
    assert_int_equal(call->calls, 1);
}
