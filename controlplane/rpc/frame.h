// SPDX-License-Identifier: Apache-2.0
// Frames of the control plane: a fixed header, then one packed protobuf message.
//
//   offset 0  magic     u32   RPC_FRAME_MAGIC
//          4  format    u16   RPC_FRAME_FORMAT
//          6  kind      u16   enum rpc_frame_kind
//          8  payload   u32   bytes behind the header
//         12  features  u32   bits of optional features that the frame uses
//         16  request   u64   id, chosen by the requester, repeated in the reply; never 0
//         24  reserved  u64   0
//
// All little-endian. Decoding is pure: bytes in, frames out, no I/O. Nothing is allocated for a
// frame before its bytes arrive, whatever its header claims.
#ifndef PAWL_CONTROLPLANE_RPC_FRAME_H
#define PAWL_CONTROLPLANE_RPC_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define RPC_FRAME_MAGIC 0x4c435750u // "PWCL"
#define RPC_FRAME_FORMAT 1u
#define RPC_FRAME_FEATURES 0u // known here; none yet
#define RPC_FRAME_HEADER_BYTES 32u

enum rpc_frame_kind {
    RPC_FRAME_REQUEST = 1,
    RPC_FRAME_REPLY = 2,
};

struct rpc_frame {
    enum rpc_frame_kind kind;
    uint32_t payload_bytes;
    uint64_t request_id;
};

// Why a frame was refused, as text for the log.
struct rpc_frame_error {
    char text[160];
};

void rpc_frame_encode(const struct rpc_frame *frame, uint8_t ret_header[RPC_FRAME_HEADER_BYTES]);

// 0, or PAWL_EPROTOCOL with a reason. frame_bytes_max counts header and payload.
PAWL_MUST_CHECK int rpc_frame_decode(const uint8_t header[RPC_FRAME_HEADER_BYTES],
                                     uint32_t frame_bytes_max, struct rpc_frame *ret_frame,
                                     struct rpc_frame_error *ret_error);

// Bytes of a connection that have arrived and are not used yet. OWNS its buffer, which grows with
// what arrives: never beyond twice that, nor beyond one frame of the largest size plus a read.
struct rpc_input {
    uint8_t *data;
    size_t capacity;
    size_t start; // used up to here
    size_t end;   // arrived up to here
    uint32_t frame_bytes_max;
};

void rpc_input_init(struct rpc_input *input, uint32_t frame_bytes_max);
void rpc_input_fini(struct rpc_input *input);

// Room for the next bytes to arrive: at least one. -ENOMEM. Frames got before are invalid
// afterwards.
PAWL_MUST_CHECK int rpc_input_room(struct rpc_input *input, uint8_t **ret_room, size_t *ret_bytes);
// `bytes` of the room have been filled.
void rpc_input_filled(struct rpc_input *input, size_t bytes);
// 1: a frame (payload BORROWED until the next call of rpc_input_room); 0: more bytes are needed;
// PAWL_EPROTOCOL: with a reason, and the stream is of no use any more.
PAWL_MUST_CHECK int rpc_input_next(struct rpc_input *input, struct rpc_frame *ret_frame,
                                   const uint8_t **ret_payload, struct rpc_frame_error *ret_error);

#endif
