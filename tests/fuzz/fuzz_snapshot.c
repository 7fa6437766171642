// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: a snapshot of the operation log is checked as a whole, then read record by record.
//
// When the input's first byte asks for it, the checksums are repaired first, so that what lies behind
// them is reached.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "controlplane/log/log_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(uint8_t *data, size_t size)
{
    struct oplog_file_header file;
    struct oplog_footer footer;
    if (size < sizeof(file) + sizeof(footer)) {
        return;
    }
    size_t body_bytes = size - sizeof(footer);
    memcpy(&file, data, sizeof(file));
    file.crc = 0;
    file.crc = pawl_crc32c(0, &file, sizeof(file));
    memcpy(data, &file, sizeof(file));
    memcpy(&footer, data + body_bytes, sizeof(footer));
    uint64_t count = footer.count;
    oplog_footer_encode(count, data, body_bytes, data + body_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct oplog_error error = {.text = ""};
    struct oplog_record record;
    uint64_t lsn, count, seen = 0;
    if (size == 0) {
        return 0;
    }
    uint8_t *data = malloc(size);
    if (data == NULL) {
        abort();
    }
    memcpy(data, input + 1, --size);
    if (input[0] & 1) {
        repair(data, size);
    }
    if (oplog_snapshot_check(data, size, &lsn, &count, &error) == 0) {
        size_t offset = 0;
        while (oplog_snapshot_next(data, size, &offset, &record)) {
            seen++;
            pawl_assert(record.payload >= data &&
                        record.payload + record.payload_bytes <= data + size);
        }
        pawl_assert(seen == count);
    } else {
        pawl_assert(strlen(error.text) > 0);
    }
    free(data);
    return 0;
}
