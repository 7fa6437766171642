// SPDX-License-Identifier: Apache-2.0
// Bounded little-endian reading and writing. The first step past the end sets an error that sticks:
// later gets give zeros, later puts do nothing, and the caller checks once at the end.
#ifndef PAWL_BASE_BYTES_H
#define PAWL_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

// BORROWS the bytes that it reads.
struct pawl_reader {
    const uint8_t *data;
    size_t bytes;
    size_t at;
    int error; // 0 or -EBADMSG
};

void pawl_reader_init(struct pawl_reader *reader, const void *data, size_t bytes);
uint8_t pawl_reader_u8(struct pawl_reader *reader);
uint16_t pawl_reader_u16(struct pawl_reader *reader);
uint32_t pawl_reader_u32(struct pawl_reader *reader);
uint64_t pawl_reader_u64(struct pawl_reader *reader);

// Copies `bytes` out; zeros on error.
void pawl_reader_bytes(struct pawl_reader *reader, void *out, size_t bytes);

// A view of the next `bytes`, which it steps over; NULL on error.
const void *pawl_reader_view(struct pawl_reader *reader, size_t bytes);

static inline size_t pawl_reader_left(const struct pawl_reader *reader)
{
    return reader->error ? 0 : reader->bytes - reader->at;
}

// BORROWS the buffer that it writes into.
struct pawl_writer {
    uint8_t *data;
    size_t bytes; // size of the buffer
    size_t at;    // written so far
    int error;    // 0 or -ENOBUFS
};

void pawl_writer_init(struct pawl_writer *writer, void *data, size_t bytes);
void pawl_writer_u8(struct pawl_writer *writer, uint8_t value);
void pawl_writer_u16(struct pawl_writer *writer, uint16_t value);
void pawl_writer_u32(struct pawl_writer *writer, uint32_t value);
void pawl_writer_u64(struct pawl_writer *writer, uint64_t value);
void pawl_writer_bytes(struct pawl_writer *writer, const void *data, size_t bytes);

// Zeros up to the next multiple of `alignment` (a power of two) from the buffer's start.
void pawl_writer_pad(struct pawl_writer *writer, size_t alignment);

#endif
