// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: a byte stream of the control plane is cut into frames and their payload is
// unpacked.
//
// The first two bytes choose where the stream is split; frames must come out the same as from one
// piece.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "control.pb-c.h"
#include "controlplane/rpc/arena.h"
#include "controlplane/rpc/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAME_MAX (64u << 10)
#define UNPACK_MAX (256u << 10)

struct outcome {
    uint32_t frames;
    uint32_t crc; // of headers and payloads
    int last;     // 0, or the error that ended it
};

static void take_frame(const struct rpc_frame *frame, const uint8_t *payload,
                       struct outcome *outcome)
{
    struct rpc_arena arena;
    rpc_arena_init(&arena, UNPACK_MAX);
    outcome->frames++;
    outcome->crc = pawl_crc32c(outcome->crc, &frame->request_id, sizeof(frame->request_id));
    outcome->crc = pawl_crc32c(outcome->crc, payload, frame->payload_bytes);
    if (frame->kind == RPC_FRAME_REQUEST) {
        Pawl__Request *request =
            pawl__request__unpack(&arena.allocator, frame->payload_bytes, payload);
        if (request != NULL) {
            pawl_assert(pawl__request__get_packed_size(request) <= 4 * UNPACK_MAX);
        }
    } else {
        Pawl__Reply *reply = pawl__reply__unpack(&arena.allocator, frame->payload_bytes, payload);
        if (reply != NULL) {
            pawl_assert(strlen(reply->text) <= frame->payload_bytes);
        }
    }
    pawl_assert(arena.used_bytes <= UNPACK_MAX);
    rpc_arena_fini(&arena);
}

static void feed(struct rpc_input *input, const uint8_t *data, size_t size, struct outcome *outcome)
{
    struct rpc_frame frame;
    struct rpc_frame_error error;
    const uint8_t *payload;
    while (size > 0 && outcome->last == 0) {
        uint8_t *room;
        size_t room_bytes;
        if (rpc_input_room(input, &room, &room_bytes) != 0) {
            abort();
        }
        size_t taken = PAWL_MIN(size, room_bytes);
        memcpy(room, data, taken);
        rpc_input_filled(input, taken);
        data += taken;
        size -= taken;
        int rc;
        while ((rc = rpc_input_next(input, &frame, &payload, &error)) > 0) {
            take_frame(&frame, payload, outcome);
        }
        outcome->last = rc;
    }
}

static struct outcome run(const uint8_t *data, size_t size, size_t split)
{
    struct outcome outcome = {0};
    struct rpc_input input;
    rpc_input_init(&input, FRAME_MAX);
    feed(&input, data, split, &outcome);
    feed(&input, data + split, size - split, &outcome);
    pawl_assert(input.capacity <= 2 * PAWL_MAX(size, (size_t)4096));
    rpc_input_fini(&input);
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t split = (size_t)data[0] | (size_t)data[1] << 8;
    data += 2;
    size -= 2;
    struct outcome whole = run(data, size, size);
    struct outcome parts = run(data, size, split % (size + 1));
    pawl_assert(whole.frames == parts.frames && whole.crc == parts.crc && whole.last == parts.last);
    return 0;
}
