// SPDX-License-Identifier: Apache-2.0
// Bounded little-endian reading and writing.
#include "base/bytes.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"

void pawl_reader_init(struct pawl_reader *reader, const void *data, size_t bytes)
{
    *reader = (struct pawl_reader){.data = data, .bytes = bytes};
}

const void *pawl_reader_view(struct pawl_reader *reader, size_t bytes)
{
    if (reader->error || bytes > reader->bytes - reader->at) {
        reader->error = -EBADMSG;
        return NULL;
    }
    const void *view = reader->data + reader->at;
    reader->at += bytes;
    return view;
}

void pawl_reader_bytes(struct pawl_reader *reader, void *out, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    const void *view = pawl_reader_view(reader, bytes);
    if (view) {
        memcpy(out, view, bytes);
    } else {
        memset(out, 0, bytes);
    }
}

uint8_t pawl_reader_u8(struct pawl_reader *reader)
{
    uint8_t value;
    pawl_reader_bytes(reader, &value, sizeof(value));
    return value;
}

uint16_t pawl_reader_u16(struct pawl_reader *reader)
{
    uint16_t value;
    pawl_reader_bytes(reader, &value, sizeof(value));
    return le16toh(value);
}

uint32_t pawl_reader_u32(struct pawl_reader *reader)
{
    uint32_t value;
    pawl_reader_bytes(reader, &value, sizeof(value));
    return le32toh(value);
}

uint64_t pawl_reader_u64(struct pawl_reader *reader)
{
    uint64_t value;
    pawl_reader_bytes(reader, &value, sizeof(value));
    return le64toh(value);
}

void pawl_writer_init(struct pawl_writer *writer, void *data, size_t bytes)
{
    *writer = (struct pawl_writer){.data = data, .bytes = bytes};
}

// The place of the next `bytes`; NULL when they don't fit.
static uint8_t *writer_take(struct pawl_writer *writer, size_t bytes)
{
    if (writer->error || bytes > writer->bytes - writer->at) {
        writer->error = -ENOBUFS;
        return NULL;
    }
    uint8_t *place = writer->data + writer->at;
    writer->at += bytes;
    return place;
}

void pawl_writer_bytes(struct pawl_writer *writer, const void *data, size_t bytes)
{
    if (bytes == 0) {
        return;
    }
    uint8_t *place = writer_take(writer, bytes);
    if (place) {
        memcpy(place, data, bytes);
    }
}

void pawl_writer_u8(struct pawl_writer *writer, uint8_t value)
{
    pawl_writer_bytes(writer, &value, sizeof(value));
}

void pawl_writer_u16(struct pawl_writer *writer, uint16_t value)
{
    value = htole16(value);
    pawl_writer_bytes(writer, &value, sizeof(value));
}

void pawl_writer_u32(struct pawl_writer *writer, uint32_t value)
{
    value = htole32(value);
    pawl_writer_bytes(writer, &value, sizeof(value));
}

void pawl_writer_u64(struct pawl_writer *writer, uint64_t value)
{
    value = htole64(value);
    pawl_writer_bytes(writer, &value, sizeof(value));
}

void pawl_writer_pad(struct pawl_writer *writer, size_t alignment)
{
    pawl_assert(pawl_is_power_of_two(alignment));
    size_t bytes = (size_t)pawl_align_up(writer->at, alignment) - writer->at;
    uint8_t *place = bytes > 0 ? writer_take(writer, bytes) : NULL;
    if (place) {
        memset(place, 0, bytes);
    }
}
