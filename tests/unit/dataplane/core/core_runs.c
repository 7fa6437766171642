// SPDX-License-Identifier: Apache-2.0
// Runs in the harness of the core: their rows, and what a disk makes of them.
#include "core_harness.h"

// What follows the first of a run is known from it: 100 bytes each, checksums as of records that come alone. Valid
// until the next call.
const struct wire_run_row *h_run_rows(const struct wire_record_id *first, uint64_t count)
{
    static struct wire_run_row rows[WIRE_RUN_MAX];
    assert_true(count <= WIRE_RUN_MAX);
    for (uint64_t i = 0; i < count; i++) {
        rows[i].length = 100;
        rows[i].crc = h_crc(first->producer_lo, first->sequence + i);
    }
    return count > 0 ? rows : NULL;
}

void h_disk_append(struct h_disk *disk, const struct chunk_action *action)
{
    struct pawl_record record = action->record;
    const struct wire_run_row *rows = h_run_rows(&record.id, action->count);
    for (uint64_t i = 0; i < action->count; i++) {
        if (i > 0) {
            pawl_record_follow(&record, &rows[i]);
        }
        disk->records[action->index + i] = record;
        disk->durable[action->index + i] = true;
    }
    disk->records_count = PAWL_MAX(disk->records_count, action->index + action->count);
}
