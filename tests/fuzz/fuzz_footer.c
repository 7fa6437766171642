// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: a chunk file's footer and its rows are checked.
//
// The input's first byte says whether their checksums are repaired first.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "dataplane/store/footer.h"

#define DATA_END (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rows_use(const struct disk_footer *footer, const uint8_t *body)
{
    for (uint64_t i = 0; i < footer->records_count; i++) {
        struct disk_record row;
        struct pawl_record record;
        memcpy(&row, body + i * sizeof(row), sizeof(row));
        footer_row_decode(&row, &record);
        pawl_assert(row.place == 0 || row.place + record.length <= DATA_END);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_footer footer;

    if (size < 1 + sizeof(footer)) {
        return 0;
    }
    size_t bytes = size - 1 - sizeof(footer);
    uint8_t *body = malloc(bytes + 1);
    if (body == NULL) {
        abort();
    }
    memcpy(&footer, data + 1, sizeof(footer));
    memcpy(body, data + 1 + sizeof(footer), bytes);
    if ((data[0] & 1) != 0 && footer.records_count <= DISK_RECORDS_MAX &&
        footer.producers_count <= WIRE_TABLE_ROWS_MAX &&
        footer_body_bytes(footer.records_count, footer.producers_count) <= bytes) {
        size_t rows_bytes = footer_body_bytes(footer.records_count, 0);
        footer.records_crc = pawl_crc32c(0, body, rows_bytes);
        footer.producers_crc =
            pawl_crc32c(0, body + rows_bytes, footer_body_bytes(0, footer.producers_count));
        footer_encode(&footer);
    }
    if (footer_decode(&footer, sizeof(footer), &footer) == 0 &&
        footer_body_check(&footer, body, bytes, DATA_END) == 0) {
        rows_use(&footer, body);
    }
    free(body);
    return 0;
}
