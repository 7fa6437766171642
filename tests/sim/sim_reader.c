// SPDX-License-Identifier: Apache-2.0
// At the end a file is read from its first byte to its last, as a client does it: from any replica, and
// from another one where the first has nothing, or nothing sound, to give. The oracle sees every answer;
// here it is only asked for that there is an answer to everything.
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "sim_client.h"
#include "sim_write.h"

static void reader_drop(struct sim_reader *reader)
{
    free(reader->chunks);
    *reader = (struct sim_reader){0};
}

void reader_fini(struct sim_client *c)
{
    reader_drop(&c->reader);
}

static void ask_chunks(struct sim *sim, struct sim_client *c)
{
    struct sim_reader *reader = &c->reader;
    Pawl__Request message = PAWL__REQUEST__INIT;
    Pawl__GetChunks body = PAWL__GET_CHUNKS__INIT;
    body.file_id = client_named_file(c->notes);
    body.from_index = reader->count;
    if (reader->lost) {
        body.handle = reader->chunks[reader->at].handle;
    }
    message.body_case = PAWL__REQUEST__BODY_GET_CHUNKS;
    message.get_chunks = &body;
    reader->asked = true;
    if (reader->count == 0) {
        reader->acks_count = sim_writes_acks_count(sim);
    }
    link_ask_master(sim, c, (struct sim_ask){.kind = SIM_CALL_SCAN_CHUNKS}, &message);
}

static void chunk_take(struct sim_reader_chunk *to, const Pawl__Chunk *chunk)
{
    *to = (struct sim_reader_chunk){.handle = chunk->handle,
                                    .length = chunk->length,
                                    .log_chunks = chunk->log_chunks,
                                    .sealed = chunk->state == PAWL__CHUNK_STATE__CHUNK_SEALED};
    for (size_t i = 0; i < chunk->n_replicas && i < PAWL_ARRAY_COUNT(to->servers); i++) {
        to->servers[to->servers_count++] = chunk->replicas[i]->server_id;
    }
}

void reader_chunks(struct sim *sim, struct sim_client *c, int status, const Pawl__Reply *reply)
{
    struct sim_reader *reader = &c->reader;
    reader->asked = false;
    if (status == PAWL_EDELETED || status == PAWL_ENOTFOUND) {
        if (!sim->params.remove) {
            sim_violation(sim, "%s is told that its file is gone", c->node->name);
        }
        reader->done = true;
        return;
    }
    if (status != 0) {
        return; // again with the next turn
    }
    const Pawl__ChunkList *list = reply->chunks;
    if (reader->lost) {
        reader->lost = false;
        if (list->n_chunks == 1) {
            chunk_take(&reader->chunks[reader->at], list->chunks[0]);
        }
        return;
    }
    reader->chunks =
        realloc(reader->chunks, (reader->count + list->n_chunks + 1) * sizeof(reader->chunks[0]));
    pawl_assert(reader->chunks != NULL);
    for (size_t i = 0; i < list->n_chunks; i++) {
        chunk_take(&reader->chunks[reader->count++], list->chunks[i]);
    }
    reader->listed = !list->more;
}

// The next replica; when all were asked in vain the master is, for where they are now.
static void next_replica(struct sim_reader *reader)
{
    reader->turn++;
    uint32_t count = reader->chunks[reader->at].servers_count;
    reader->lost = count == 0 || reader->turn % count == 0;
}

void reader_failed(struct sim *sim, struct sim_client *c)
{
    (void)sim;
    c->reader.asked = false;
    next_replica(&c->reader);
}

static void next_chunk(struct sim_reader *reader)
{
    reader->at++;
    reader->offset = 0;
    reader->turn = 0;
    reader->lost = false;
}

void reader_read(struct sim *sim, struct sim_client *c, const struct wire_read_done *done)
{
    struct sim_reader *reader = &c->reader;
    const struct sim_reader_chunk *chunk = &reader->chunks[reader->at];
    reader->asked = false;
    if (done->header.status != 0) {
        sim_note(sim, "%s can't read chunk %llu at %llu: %d", c->node->name,
                 (unsigned long long)chunk->handle, (unsigned long long)reader->offset,
                 done->header.status);
        next_replica(reader);
        if (done->header.status == PAWL_ECORRUPT && sim_oracle_is_lost(sim, chunk->handle)) {
            next_chunk(reader);
        }
        return;
    }
    reader->offset += done->length;
    uint64_t end = chunk->sealed ? chunk->length : sim_oracle_told_bytes(sim, chunk->handle);
    if (reader->offset < end) {
        if (done->length == 0) {
            next_replica(reader); // it does not know yet how much is committed
        }
        return;
    }
    next_chunk(reader);
}

static void ask_read(struct sim *sim, struct sim_client *c)
{
    struct sim_reader *reader = &c->reader;
    const struct sim_reader_chunk *chunk = &reader->chunks[reader->at];
    const struct sim_node *node =
        chunk->servers_count == 0
            ? NULL
            : sim_server_node(sim, chunk->servers[reader->turn % chunk->servers_count]);
    if (node == NULL) {
        next_replica(reader);
        return;
    }
    struct wire_read message = {.header = {.type = WIRE_READ},
                                .chunk = chunk->handle,
                                .offset = reader->offset,
                                .buffer_address = 1,
                                .length = 1 + (uint32_t)sim_below(sim, 40000),
                                .log_chunks = chunk->log_chunks,
                                .flags = WIRE_READ_ALL};
    reader->asked = true;
    link_ask_server(sim, c, node->index,
                    (struct sim_ask){.kind = SIM_CALL_SCAN_READ,
                                     .chunk = chunk->handle,
                                     .acks_count = reader->acks_count},
                    sim_frame_wire(&message, sizeof(message), NULL, 0));
}

bool reader_work(struct sim *sim, struct sim_client *c)
{
    struct sim_reader *reader = &c->reader;
    // One client reads each file.
    if (reader->done || c->notes->client >= sim->params.files_count) {
        c->notes->has_read = true;
        return false;
    }
    if (reader->asked) {
        return false;
    }
    if (!reader->listed || reader->lost) {
        ask_chunks(sim, c);
        return false;
    }
    if (reader->at < reader->count) {
        ask_read(sim, c);
    } else {
        sim_note(sim, "%s has read its file: %u chunks", c->node->name, reader->count);
        reader->done = true;
    }
    return true;
}
