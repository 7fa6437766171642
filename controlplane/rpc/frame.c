// SPDX-License-Identifier: Apache-2.0
// Frames of the control plane: encoding, decoding, and cutting a byte stream into frames.
#include "controlplane/rpc/frame.h"

#include <errno.h>
#include <inttypes.h>
#include <pawl/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define INPUT_BYTES_MIN 4096u
#define INPUT_BYTES_KEPT (256u << 10) // a larger buffer is given back when it is empty

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, (uint16_t)value);
    put_u16(at + 2, (uint16_t)(value >> 16));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t get_u32(const uint8_t *at)
{
    return get_u16(at) | (uint32_t)get_u16(at + 2) << 16;
}

static uint64_t get_u64(const uint8_t *at)
{
    return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t ret_header[RPC_FRAME_HEADER_BYTES])
{
    pawl_assert(frame->request_id != 0);
    put_u32(ret_header, RPC_FRAME_MAGIC);
    put_u16(ret_header + 4, RPC_FRAME_FORMAT);
    put_u16(ret_header + 6, (uint16_t)frame->kind);
    put_u32(ret_header + 8, frame->payload_bytes);
    put_u32(ret_header + 12, RPC_FRAME_FEATURES);
    put_u64(ret_header + 16, frame->request_id);
    put_u64(ret_header + 24, 0);
}

#define REFUSE(error, ...)                                                                         \
    (snprintf((error)->text, sizeof((error)->text), __VA_ARGS__), PAWL_EPROTOCOL)

int rpc_frame_decode(const uint8_t header[RPC_FRAME_HEADER_BYTES], uint32_t frame_bytes_max,
                     struct rpc_frame *ret_frame, struct rpc_frame_error *ret_error)
{
    uint32_t magic = get_u32(header);
    uint16_t format = get_u16(header + 4);
    uint16_t kind = get_u16(header + 6);
    uint32_t payload_bytes = get_u32(header + 8);
    uint32_t features = get_u32(header + 12);
    uint64_t request_id = get_u64(header + 16);

    if (magic != RPC_FRAME_MAGIC) {
        return REFUSE(ret_error, "no Pawl frame: it begins with %08" PRIx32 ", ours with %08x",
                      magic, RPC_FRAME_MAGIC);
    }
    if (format != RPC_FRAME_FORMAT) {
        return REFUSE(ret_error, "peer speaks frame format %u, this side format %u", format,
                      RPC_FRAME_FORMAT);
    }
    if ((features & ~RPC_FRAME_FEATURES) != 0 || get_u64(header + 24) != 0) {
        return REFUSE(ret_error, "peer uses features %08" PRIx32 ", this side knows %08x", features,
                      RPC_FRAME_FEATURES);
    }
    if (kind != RPC_FRAME_REQUEST && kind != RPC_FRAME_REPLY) {
        return REFUSE(ret_error, "unknown frame kind %u", kind);
    }
    if (request_id == 0) {
        return REFUSE(ret_error, "frame without a request id");
    }
    if (payload_bytes > frame_bytes_max - RPC_FRAME_HEADER_BYTES) {
        return REFUSE(ret_error, "frame claims %" PRIu32 " bytes of payload, the limit is %" PRIu32,
                      payload_bytes, frame_bytes_max - RPC_FRAME_HEADER_BYTES);
    }
    *ret_frame = (struct rpc_frame){
        .kind = (enum rpc_frame_kind)kind,
        .payload_bytes = payload_bytes,
        .request_id = request_id,
    };
    return 0;
}

void rpc_input_init(struct rpc_input *input, uint32_t frame_bytes_max)
{
    pawl_assert(frame_bytes_max > RPC_FRAME_HEADER_BYTES);
    *input = (struct rpc_input){.frame_bytes_max = frame_bytes_max};
}

void rpc_input_fini(struct rpc_input *input)
{
    free(input->data);
    *input = (struct rpc_input){.frame_bytes_max = input->frame_bytes_max};
}

int rpc_input_room(struct rpc_input *input, uint8_t **ret_room, size_t *ret_bytes)
{
    size_t used = input->end - input->start;
    if (used == 0) {
        input->start = input->end = 0;
        if (input->capacity > INPUT_BYTES_KEPT) {
            rpc_input_fini(input);
        }
    } else if (input->start > 0 && input->capacity - input->end < INPUT_BYTES_MIN) {
        memmove(input->data, input->data + input->start, used);
        input->start = 0;
        input->end = used;
    }
    if (input->end == input->capacity) {
        size_t capacity = PAWL_MAX(input->capacity * 2, INPUT_BYTES_MIN);
        uint8_t *data = realloc(input->data, capacity);
        if (data == NULL) {
            return -ENOMEM;
        }
        input->data = data;
        input->capacity = capacity;
    }
    *ret_room = input->data + input->end;
    *ret_bytes = input->capacity - input->end;
    return 0;
}

void rpc_input_filled(struct rpc_input *input, size_t bytes)
{
    pawl_assert(bytes <= input->capacity - input->end);
    input->end += bytes;
}

int rpc_input_next(struct rpc_input *input, struct rpc_frame *ret_frame,
                   const uint8_t **ret_payload, struct rpc_frame_error *ret_error)
{
    pawl_assert(input->start <= input->end && input->end <= input->capacity);
    size_t used = input->end - input->start;
    if (used < RPC_FRAME_HEADER_BYTES) {
        return 0;
    }
    const uint8_t *header = input->data + input->start;
    int rc = rpc_frame_decode(header, input->frame_bytes_max, ret_frame, ret_error);
    if (rc != 0) {
        return rc;
    }
    if (used - RPC_FRAME_HEADER_BYTES < ret_frame->payload_bytes) {
        return 0;
    }
    *ret_payload = header + RPC_FRAME_HEADER_BYTES;
    input->start += RPC_FRAME_HEADER_BYTES + ret_frame->payload_bytes;
    return 1;
}
