// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: a segment of the operation log is scanned, and its end judged.
//
// A checksum that no mutation survives would hide what lies behind it, so the harness first repairs the
// checksums of what looks like headers when the input's first byte asks for it.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "controlplane/log/log_format.h"
#include "controlplane/log/oplog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void repair(uint8_t *data, size_t size)
{
    struct oplog_file_header file;
    struct oplog_record_header record;
    if (size < sizeof(file)) {
        return;
    }
    memcpy(&file, data, sizeof(file));
    file.crc = 0;
    file.crc = pawl_crc32c(0, &file, sizeof(file));
    memcpy(data, &file, sizeof(file));
    for (size_t at = sizeof(file); size - at >= sizeof(record);) {
        memcpy(&record, data + at, sizeof(record));
        if (record.magic != OPLOG_RECORD_MAGIC || record.bytes > OPLOG_RECORD_BYTES_MAX ||
            oplog_record_total(record.bytes) > size - at) {
            at += OPLOG_ALIGN;
            continue;
        }
        size_t total = oplog_record_total(record.bytes);
        record.crc = 0;
        record.crc = pawl_crc32c(pawl_crc32c(0, &record, sizeof(record)),
                                 data + at + sizeof(record), total - sizeof(record));
        memcpy(data + at, &record, sizeof(record));
        at += total;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
    struct oplog_scan scan;
    struct oplog_error error = {.text = ""};
    struct oplog_record record;
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
    if (oplog_scan_init(&scan, data, size, &error) == 0) {
        int rc;
        uint64_t lsn = scan.next_lsn;
        while ((rc = oplog_scan_next(&scan, &record)) > 0) {
            pawl_assert(record.lsn == lsn++ && scan.offset <= size);
            pawl_assert(record.payload >= data &&
                        record.payload + record.payload_bytes <= data + scan.offset);
        }
        pawl_assert(rc != 0 || scan.offset == size);
        if (rc != 0 && oplog_scan_judge(&scan, &error) != 0) {
            pawl_assert(strlen(error.text) > 0 && error.offset <= size);
        }
    }
    free(data);
    return 0;
}
