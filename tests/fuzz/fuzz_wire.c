// SPDX-License-Identifier: Apache-2.0
// Fuzz harness of wire_check(): whatever arrives is refused with a reason or is safe to read.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "proto/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

// The records of a run are all of its payload.
static void check_rows(const uint8_t *at, uint16_t run_count, uint32_t length)
{
    for (uint16_t i = 0; i < run_count; i++) {
        struct wire_run_row row;
        memcpy(&row, at + i * sizeof(row), sizeof(row));
        pawl_assert(row.length > 0 && row.length <= length && row.length <= WIRE_INLINE_MAX);
        length -= row.length;
    }
    pawl_assert(run_count == 0 || length == 0);
}

// What a server relies on once a message has passed.
static void check_promises(const uint8_t *message, uint32_t bytes)
{
    struct wire_header header;
    pawl_assert(bytes >= sizeof(header) && bytes <= WIRE_MESSAGE_MAX);
    memcpy(&header, message, sizeof(header));
    pawl_assert(header.bytes == bytes && header.magic == WIRE_MAGIC);
    pawl_assert(wire_struct_bytes(header.type) != 0);
    pawl_assert(strcmp(wire_type_name(header.type), "unknown") != 0);
    if (header.status == 0)
        pawl_assert(bytes >= wire_struct_bytes(header.type));
    if (header.type == (WIRE_HELLO | WIRE_REPLY) && header.status == 0) {
        struct wire_welcome welcome;
        memcpy(&welcome, message, sizeof(welcome));
        pawl_assert(welcome.run_bytes_max >= WIRE_INLINE_MAX &&
                    welcome.run_bytes_max <= WIRE_RUN_BYTES_MAX);
    }
    if (header.type == WIRE_PREPARE) {
        struct wire_prepare prepare;
        memcpy(&prepare, message, sizeof(prepare));
        if (prepare.run_count != 0)
            pawl_assert(prepare.length + wire_rows_bytes(prepare.run_count) ==
                        bytes - sizeof(prepare));
        check_rows(message + sizeof(prepare), prepare.run_count, prepare.length);
    }
    if (header.type == WIRE_APPEND) {
        struct wire_append append;
        memcpy(&append, message, sizeof(append));
        pawl_assert(append.slot_first + append.slot_count <= WIRE_WINDOW_SLOTS_MAX);
        if (append.slot_count == 0)
            pawl_assert(append.length + wire_rows_bytes(append.run_count) ==
                        bytes - sizeof(append));
        check_rows(message + sizeof(append), append.run_count, append.length);
    }
}

static void check_one(const uint8_t *data, size_t bytes)
{
    // A copy of exactly this size, so that a sanitizer sees any step beyond it.
    uint8_t *message = calloc(1, bytes ? bytes : 1);
    if (!message)
        return;
    if (bytes)
        memcpy(message, data, bytes);
    const char *why = NULL;
    int rc = wire_check(message, (uint32_t)bytes, &why);
    pawl_assert(rc == 0 || (rc == PAWL_EPROTOCOL && why && *why));
    if (rc == 0)
        check_promises(message, (uint32_t)bytes);
    free(message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    check_one(data, bytes);
    // The same with a header that passes, so that the fuzzer needn't guess magic and length.
    uint8_t fixed[WIRE_MESSAGE_MAX];
    if (bytes < sizeof(struct wire_header) || bytes > sizeof(fixed))
        return 0;
    memcpy(fixed, data, bytes);
    struct wire_header header;
    memcpy(&header, fixed, sizeof(header));
    header.magic = WIRE_MAGIC;
    header.format = WIRE_FORMAT;
    header.bytes = (uint32_t)bytes;
    header.features = WIRE_FEATURES;
    header.flags = 0;
    memcpy(fixed, &header, sizeof(header));
    check_one(fixed, bytes);
    return 0;
}
