// SPDX-License-Identifier: Apache-2.0
// Runs in messages: what a chunk server's driver and the oracle have to know of them.
#include <string.h>

#include "sim_chunkd.h"

// Records of the run that a request carries.
uint16_t sim_run_count(const struct sim_frame *frame)
{
    struct wire_header header;
    memcpy(&header, frame->data, sizeof(header));
    if (header.type == WIRE_APPEND) {
        struct wire_append append;
        memcpy(&append, frame->data, sizeof(append));
        return append.run_count;
    }
    if (header.type == WIRE_PREPARE) {
        struct wire_prepare prepare;
        memcpy(&prepare, frame->data, sizeof(prepare));
        return prepare.run_count;
    }
    return 0;
}

// As the message says it.
uint32_t sim_run_crc(const struct sim_frame *frame, const struct sim_payload *payload)
{
    struct wire_header header;
    struct wire_append append = {0};
    struct wire_prepare prepare = {0};
    memcpy(&header, frame->data, sizeof(header));
    memcpy(header.type == WIRE_APPEND ? (void *)&append : (void *)&prepare, frame->data,
           wire_struct_bytes(header.type));
    return wire_run_crc(payload->rows, sim_run_count(frame), payload->data, payload->bytes,
                        header.type == WIRE_APPEND ? append.crc : prepare.crc);
}

// The answer of a run is its last record's: backwards from there.
void sim_run_answer(struct sim *sim, uint32_t server, const struct sim_frame *request,
                    const struct wire_appended *answer)
{
    struct wire_append append;
    struct wire_appended reply = *answer;
    memcpy(&append, request->data, sizeof(append));
    if (append.run_count == 0) {
        sim_oracle_answer(sim, server, &append, &reply);
        return;
    }
    uint64_t first = append.id.sequence;
    for (uint32_t i = append.run_count; i > 0 && !sim->violated; i--) {
        struct wire_run_row row;
        memcpy(&row, request->data + sizeof(append) + wire_rows_bytes((uint16_t)(i - 1)),
               sizeof(row));
        reply.file_offset -= i < append.run_count ? row.length : 0;
        reply.sequence = first + i - 1;
        append.id.sequence = first + i - 1;
        append.length = row.length;
        append.crc = row.crc;
        sim_oracle_answer(sim, server, &append, &reply);
    }
}
