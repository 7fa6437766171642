// SPDX-License-Identifier: Apache-2.0
// The null store's disk. Small records gather in batches of the journal; one batch is in flight at a time, as
// a log must have it that is to be read back up to the first torn batch. Large ones are written in
// place, and a journal entry refers to each: once it is durable, or once it is written, where one flush is for both.
// Both files are written with zeros beforehand and used in circles.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "perf/roofline/server.h"

static void batch_begin(struct batch *batch)
{
    batch->bytes = sizeof(struct journal_batch);
    batch->count = 0;
}

static struct batch *batch_at(struct journal *journal, uint64_t number)
{
    return &journal->batches[number % journal->batches_count];
}

// All that is outstanding may stand in batches of one record, or in one batch. A batch ends where a run has no room
// in it: two of them have more records than fit one.
static uint32_t batches_needed(const struct shape *shape, uint32_t batch_max)
{
    return 2 * shape->outstanding / batch_max + 4;
}

int server_disk_open(struct server *server)
{
    struct journal *journal = &server->journal;
    const struct shape *shape = &server->shape;
    uint64_t bytes = 0;

    for (uint32_t batch = 1; batch <= server->config->batch_max; batch *= 2) {
        bytes = PAWL_MAX(bytes, batches_needed(shape, batch) * shape_batch_bytes(shape, batch));
    }
    uint32_t most = server->config->batch_max;
    bytes = PAWL_MAX(bytes, batches_needed(shape, most) * shape_batch_bytes(shape, most));
    journal->memory_bytes = bytes;
    journal->memory = node_memory(bytes);
    journal->batches = calloc(batches_needed(shape, 1), sizeof(*journal->batches));
    server->unflushed = calloc(shape->outstanding, sizeof(*server->unflushed));
    server->flushing = calloc(shape->outstanding, sizeof(*server->flushing));
    if (journal->memory == NULL || journal->batches == NULL || server->unflushed == NULL ||
        server->flushing == NULL) {
        return -ENOMEM;
    }
    server_disk_point(server);
    return 0;
}

void server_disk_close(struct server *server)
{
    free(server->journal.memory);
    free(server->journal.batches);
    free(server->unflushed);
    free(server->flushing);
}

// Divides the memory for another batch size; nothing is under way then.
void server_disk_point(struct server *server)
{
    struct journal *journal = &server->journal;
    uint32_t batch_max = PAWL_MAX(server->point.batch, 1u);

    batch_max = PAWL_MIN(batch_max, server->config->batch_max);
    pawl_assert(!journal->is_in_flight && journal->oldest == journal->gathering);
    journal->batch_max = batch_max;
    journal->batch_bytes = (uint32_t)shape_batch_bytes(&server->shape, batch_max);
    journal->batches_count = batches_needed(&server->shape, batch_max);
    for (uint32_t i = 0; i < journal->batches_count; i++) {
        journal->batches[i].buffer = journal->memory + (uint64_t)i * journal->batch_bytes;
        batch_begin(&journal->batches[i]);
    }
    journal->oldest = 0;
    journal->gathering = 0;
}

// An entry for a run, as Pawl's journal has it, or for a record that came alone.
static void journal_add(struct server *server, const struct record *record, uint32_t count,
                        const void *payload)
{
    struct journal *journal = &server->journal;
    struct batch *batch = batch_at(journal, journal->gathering);

    if (batch->count > 0 && batch->count + count > journal->batch_max) {
        journal->gathering++;
        pawl_assert(journal->gathering - journal->oldest < journal->batches_count);
        batch = batch_at(journal, journal->gathering);
        batch_begin(batch);
    }
    uint8_t *at = batch->buffer + batch->bytes;
    struct journal_entry entry = {
        .magic = SHAPE_MAGIC,
        .bytes = shape_entry_bytes(&server->shape, count),
        .index = record->index,
        .sequence = record->sequence,
        .client = record->client,
        .length = record->length,
        .place = payload != NULL ? JOURNAL_HERE : record->place,
        .count = count,
    };
    pawl_assert(batch->bytes + entry.bytes <= journal->batch_bytes);
    memcpy(at, &entry, sizeof(entry));
    if (payload != NULL) {
        size_t used = sizeof(entry);
        struct disk_run_row row = {.length = record->length};
        for (; used < sizeof(entry) + shape_rows_bytes(count); used += sizeof(row)) {
            memcpy(at + used, &row, sizeof(row));
        }
        memcpy(at + used, payload, (size_t)count * record->length);
        used += (size_t)count * record->length;
        memset(at + used, 0, entry.bytes - used);
    }
    batch->bytes += entry.bytes;
    batch->count += count;
    batch->end_index = entry.index + count;
}

static void record_durable(struct server *server, uint64_t index)
{
    struct record *records = server->records;
    uint64_t mask = server->records_mask;

    records[index & mask].is_durable = true;
    while (records[server->durable_count & mask].is_durable &&
           records[server->durable_count & mask].index == server->durable_count) {
        records[server->durable_count & mask].is_durable = false;
        server->durable_count++;
    }
}

static void batch_written(void *user, struct disk_request *request)
{
    struct server *server = user;
    struct journal *journal = &server->journal;
    struct batch *batch = request->owner;
    uint32_t at = sizeof(struct journal_batch);
    bool is_written_twice =
        !server->shape.is_in_place && (server->duties.which & ROOFLINE_DUTY_SECOND_WRITE) != 0;
    int rc = 0;

    journal->is_in_flight = false;
    if (!server->shape.is_pushed) {
        server->durable_count = batch->end_index;
    }
    while (at < batch->bytes && (server->shape.is_pushed || is_written_twice)) {
        const struct journal_entry *entry = (const void *)(batch->buffer + at);
        if (server->shape.is_pushed) {
            record_durable(server, entry->index);
        }
        if (is_written_twice) {
            const uint8_t *payload = (const uint8_t *)(entry + 1) + shape_rows_bytes(entry->count);
            rc = rc == 0 ? duties_write(server, payload, entry->count * entry->length) : rc;
        }
        at += entry->bytes;
    }
    if (rc != 0) {
        (void)server_fail(server, rc, "the second write");
    }
    journal->oldest++;
    batch_begin(batch);
}

// In the disk's cache, beside the payloads that it refers to.
static void batch_cached(void *user, struct disk_request *request)
{
    struct server *server = user;

    request->done = batch_written;
    int rc = disk_flush(&server->disk, request, DISK_JOURNAL);
    if (rc != 0) {
        (void)server_fail(server, rc, "the journal's flush");
    }
}

static int journal_write(struct server *server)
{
    struct journal *journal = &server->journal;
    struct batch *batch = batch_at(journal, journal->oldest);

    if (journal->is_in_flight || batch->count == 0 ||
        !duties_has_room(&server->duties, batch->bytes)) {
        return 0;
    }
    uint32_t bytes = (uint32_t)pawl_align_up(batch->bytes, server->config->block_bytes);
    if (journal->offset + bytes > server->config->options.file_bytes) {
        journal->offset = 0;
    }
    struct journal_batch head = {
        .magic = SHAPE_MAGIC, .bytes = batch->bytes, .count = batch->count};
    memcpy(batch->buffer, &head, sizeof(head));
    memset(batch->buffer + batch->bytes, 0, bytes - batch->bytes);
    if (journal->oldest == journal->gathering) { // what comes now goes into the next one
        journal->gathering++;
        batch_begin(batch_at(journal, journal->gathering));
    }
    struct iovec from = {.iov_base = batch->buffer, .iov_len = bytes};
    bool is_flushed = server->shape.is_in_place && server->point.flush == ROOFLINE_SHARED;
    batch->write.done = is_flushed ? batch_cached : batch_written;
    batch->write.owner = batch;
    journal->is_in_flight = true;
    uint64_t offset = journal->offset;
    journal->offset += bytes;
    return disk_write(&server->disk, &batch->write, DISK_JOURNAL, &from, offset, !is_flushed);
}

static void data_flushed(void *user, struct disk_request *request)
{
    struct server *server = user;

    (void)request;
    for (uint32_t i = 0; i < server->flushing_count; i++) {
        journal_add(server, server->flushing[i], 1, NULL);
    }
    server->flushing_count = 0;
}

static void data_written(void *user, struct disk_request *request)
{
    struct server *server = user;

    if (server->point.flush != ROOFLINE_FDATASYNC) {
        journal_add(server, request->owner, 1, NULL);
        return;
    }
    server->unflushed[server->unflushed_count++] = request->owner;
}

static int data_flush(struct server *server)
{
    if (server->flushing_count > 0 || server->unflushed_count == 0) {
        return 0;
    }
    uint32_t count = PAWL_MIN(server->unflushed_count, server->journal.batch_max);
    memcpy(server->flushing, server->unflushed, count * sizeof(*server->flushing));
    server->flushing_count = count;
    server->unflushed_count -= count;
    memmove(server->unflushed, server->unflushed + count,
            server->unflushed_count * sizeof(*server->unflushed));
    server->flush.done = data_flushed;
    return disk_flush(&server->disk, &server->flush, DISK_DATA);
}

int server_record_store(struct server *server, struct record *record, const void *payload)
{
    if (!server->config->options.is_durable) {
        record_durable(server, record->index);
        return 0;
    }
    if (!server->shape.is_in_place) {
        journal_add(server, record, 1, payload);
        return 0;
    }
    struct iovec from = {
        .iov_base = (void *)(uintptr_t)payload,
        .iov_len = pawl_align_up(record->length, server->config->block_bytes),
    };
    if (server->data_offset + server->shape.slot_bytes > server->config->options.file_bytes) {
        server->data_offset = 0;
    }
    record->place = server->data_offset;
    server->data_offset += server->shape.slot_bytes;
    record->write.done = data_written;
    record->write.owner = record;
    return disk_write(&server->disk, &record->write, DISK_DATA, &from, record->place,
                      server->point.flush == ROOFLINE_DSYNC);
}

void server_run_store(struct server *server, const struct record *run, const uint8_t *payloads)
{
    if (!server->config->options.is_durable) {
        server->durable_count = run->index + run->count;
        return;
    }
    journal_add(server, run, run->count, payloads);
}

int server_disk_pump(struct server *server)
{
    int rc = data_flush(server);

    rc = rc == 0 ? journal_write(server) : rc;
    return rc == 0 ? disk_submit(&server->disk) : rc;
}
