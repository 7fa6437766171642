// SPDX-License-Identifier: Apache-2.0
// Bit rot: what is stored changes, and nobody is told. A changed record is found by whoever reads it, a
// changed table by the server when it starts.
#include "base/crc32c.h"
#include "sim.h"

bool sim_record_is_sound(const struct sim_chunk *chunk, uint64_t index)
{
    const struct sim_record *r = &chunk->records[index];
    // Checksums of good records are right, as the oracle has seen when they were stored.
    return chunk->rotten_count == 0 || r->record.length == 0 ||
           pawl_crc32c(0, r->payload, r->record.length) == r->record.crc;
}

bool sim_chunk_is_sound(const struct sim_chunk *chunk, uint64_t offset, uint64_t length)
{
    for (uint64_t i = 0; chunk->rotten_count != 0 && i < chunk->records_count; i++) {
        const struct pawl_record *record = &chunk->records[i].record;
        bool touched = record->offset < offset + length && record->offset + record->length > offset;
        if (touched && !sim_record_is_sound(chunk, i)) {
            return false;
        }
    }
    return true;
}

void sim_disk_rot(struct sim *sim, struct sim_disk *disk)
{
    if (disk->chunks_count == 0) {
        return;
    }
    struct sim_chunk *chunk = &disk->chunks[sim_fault_below(sim, disk->chunks_count)];
    uint64_t committed = sim_oracle_spare(sim, disk->node->index, chunk->handle);
    committed = PAWL_MIN(committed, chunk->records_count);
    if (committed == 0) {
        return;
    }
    if (sim_fault_below(sim, 4) == 0) {
        sim_note(sim, "%s chunk %llu: its table rots", disk->node->name,
                 (unsigned long long)chunk->handle);
        chunk->damaged = true;
        return;
    }
    uint64_t index = sim_fault_below(sim, committed);
    struct sim_record *r = &chunk->records[index];
    if (r->record.length == 0 || r->rotten) {
        return;
    }
    sim_note(sim, "%s chunk %llu record %llu rots", disk->node->name,
             (unsigned long long)chunk->handle, (unsigned long long)index);
    r->payload[sim_fault_below(sim, r->record.length)] ^= (uint8_t)(1 + sim_fault_below(sim, 255));
    r->rotten = true;
    chunk->rotten_count++;
}
