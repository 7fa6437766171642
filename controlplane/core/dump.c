// SPDX-License-Identifier: Apache-2.0
// The state as the shortest log that gives it back. Order: terms, servers, sessions and their last calls, then the tree from the top
// (parents before children, names in order), each file with its producers and chunks; counters last.
// The same state gives the same records, whatever way it came about.
#include "controlplane/core/calls.h"
#include "controlplane/core/master_core_private.h"

struct dump {
    const struct master_core *core;
    int (*emit)(void *user, const Pawl__LogRecord *record);
    void *user;
};

static int emit(const struct dump *dump, Pawl__LogRecord__BodyCase body_case,
                Pawl__LogRecord *record, uint64_t wall_ms)
{
    record->body_case = body_case;
    record->wall_ms = wall_ms;
    return dump->emit(dump->user, record);
}

static int dump_terms(const struct dump *dump)
{
    for (uint32_t i = 0; i < dump->core->terms_count; i++) {
        const struct master_term *from = &dump->core->terms[i];
        Pawl__LogTerm term = PAWL__LOG_TERM__INIT;
        Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
        term.cluster_id = dump->core->cluster_id;
        term.term = from->term;
        term.nonce = from->nonce;
        term.position = from->position;
        record.term = &term;
        int rc = emit(dump, PAWL__LOG_RECORD__BODY_TERM, &record, 0);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int dump_servers(const struct dump *dump)
{
    for (uint32_t i = 0; i < dump->core->servers_count; i++) {
        Pawl__LogServer server = PAWL__LOG_SERVER__INIT;
        Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
        server.server_id = dump->core->servers_order[i]->id;
        server.name = dump->core->servers_order[i]->name;
        record.server = &server;
        int rc = emit(dump, PAWL__LOG_RECORD__BODY_SERVER, &record, 0);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int dump_producers(const struct dump *dump, const struct master_inode *file)
{
    for (struct master_producer *p = file->producers; p; p = p->next) {
        Pawl__LogProducer producer = PAWL__LOG_PRODUCER__INIT;
        Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
        producer.file_id = file->id;
        producer.name = p->name;
        producer.producer_hi = p->hi;
        producer.producer_lo = p->lo;
        producer.epoch = p->epoch;
        record.producer = &producer;
        int rc = emit(dump, PAWL__LOG_RECORD__BODY_PRODUCER, &record, 0);
        if (rc) {
            return rc;
        }
    }
    return 0;
}

// The last chunk's path from creation to what it is now: place or ready, then its version.
static int dump_open_chunk(const struct dump *dump, struct master_chunk *chunk)
{
    uint64_t wall_ms = chunk->file->modified_ms;
    if (chunk->ready) {
        Pawl__LogChunkReady ready = PAWL__LOG_CHUNK_READY__INIT;
        Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
        ready.handle = chunk->handle;
        record.chunk_ready = &ready;
        int rc = emit(dump, PAWL__LOG_RECORD__BODY_CHUNK_READY, &record, wall_ms);
        if (rc) {
            return rc;
        }
    }
    if (chunk->version == 1) {
        return 0;
    }
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    Pawl__LogChunkVersion version = PAWL__LOG_CHUNK_VERSION__INIT;
    Pawl__LogChunkPlace place = PAWL__LOG_CHUNK_PLACE__INIT;
    if (chunk->ready) {
        version.handle = chunk->handle;
        version.version = chunk->version;
        version.set = chunk->set;
        version.n_set = chunk->set_count;
        record.chunk_version = &version;
        return emit(dump, PAWL__LOG_RECORD__BODY_CHUNK_VERSION, &record, wall_ms);
    }
    place.handle = chunk->handle;
    place.version = chunk->version;
    place.set = chunk->set;
    place.n_set = chunk->set_count;
    record.chunk_place = &place;
    return emit(dump, PAWL__LOG_RECORD__BODY_CHUNK_PLACE, &record, wall_ms);
}

static int dump_seal(const struct dump *dump, struct master_chunk *chunk)
{
    Pawl__LogChunkSeal seal = PAWL__LOG_CHUNK_SEAL__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    seal.handle = chunk->handle;
    seal.version = chunk->version;
    seal.length = chunk->length;
    seal.count = chunk->count;
    seal.set = chunk->set;
    seal.n_set = chunk->set_count;
    if (chunk->index + 1 < chunk->file->chunks_count) {
        struct master_chunk *next = chunk->file->chunks[chunk->index + 1];
        seal.next_handle = next->handle;
        seal.next_set = next->set;
        seal.n_next_set = next->set_count;
        seal.next_zero_bytes = next->zero_bytes;
    }
    record.chunk_seal = &seal;
    return emit(dump, PAWL__LOG_RECORD__BODY_CHUNK_SEAL, &record, chunk->file->modified_ms);
}

static int dump_chunks(const struct dump *dump, const struct master_inode *file);

// A chunk's version is in its seal already, so what raised it for the log's sake is not told again. The
// recursion ends: a write log's chunks have none.
static int dump_log(const struct dump *dump, const struct master_chunk *chunk)
{
    Pawl__LogWriteLog log = PAWL__LOG_WRITE_LOG__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    if (!chunk->log) {
        return 0;
    }
    log.handle = chunk->handle;
    log.file_id = chunk->log->id;
    record.write_log = &log;
    int rc = emit(dump, PAWL__LOG_RECORD__BODY_WRITE_LOG, &record, chunk->file->modified_ms);
    return rc ? rc : dump_chunks(dump, chunk->log);
}

static int dump_chunks(const struct dump *dump, const struct master_inode *file)
{
    for (uint32_t i = 0; i < file->chunks_count; i++) {
        struct master_chunk *chunk = file->chunks[i];
        int rc = 0;
        if (i == 0) {
            Pawl__LogChunkCreate create = PAWL__LOG_CHUNK_CREATE__INIT;
            Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
            create.file_id = file->id;
            create.handle = chunk->handle;
            create.set = chunk->set;
            create.n_set = chunk->set_count;
            create.zero_bytes = chunk->zero_bytes;
            record.chunk_create = &create;
            rc = emit(dump, PAWL__LOG_RECORD__BODY_CHUNK_CREATE, &record, file->modified_ms);
        }
        if (rc == 0 && !chunk->ready) {
            rc = master_chunk_sessions_dump(chunk, dump->emit, dump->user);
        }
        if (rc == 0) {
            rc = chunk->sealed ? dump_seal(dump, chunk) : dump_open_chunk(dump, chunk);
        }
        if (rc == 0) {
            rc = dump_log(dump, chunk);
        }
        if (rc) {
            return rc;
        }
    }
    return 0;
}

static int dump_inode(const struct dump *dump, const struct master_inode *inode)
{
    char path[MASTER_PATH_MAX + 1];
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    master_inode_path(inode, path);
    if (inode->directory) {
        Pawl__LogMkdir mkdir = PAWL__LOG_MKDIR__INIT;
        mkdir.path = path;
        mkdir.file_id = inode->id;
        record.mkdir = &mkdir;
        return emit(dump, PAWL__LOG_RECORD__BODY_MKDIR, &record, inode->created_ms);
    }
    Pawl__LogCreate create = PAWL__LOG_CREATE__INIT;
    create.path = path;
    create.file_id = inode->id;
    create.replicas = inode->replicas;
    create.min_replicas = inode->min_replicas;
    create.chunk_bytes = inode->chunk_bytes;
    record.create = &create;
    int rc = emit(dump, PAWL__LOG_RECORD__BODY_CREATE, &record, inode->created_ms);
    if (rc == 0) {
        rc = dump_producers(dump, inode);
    }
    return rc ? rc : dump_chunks(dump, inode);
}

static int dump_counters(const struct dump *dump)
{
    Pawl__LogCounters counters = PAWL__LOG_COUNTERS__INIT;
    Pawl__LogRecord record = PAWL__LOG_RECORD__INIT;
    counters.next_file_id = dump->core->next_file_id;
    counters.next_handle = dump->core->next_handle;
    counters.recoveries_count = dump->core->recoveries_count;
    counters.seals_count = dump->core->seals_count;
    counters.position = dump->core->position;
    record.counters = &counters;
    return emit(dump, PAWL__LOG_RECORD__BODY_COUNTERS, &record, 0);
}

int master_core_dump(const struct master_core *core,
                     int (*emit_record)(void *user, const Pawl__LogRecord *record), void *user)
{
    const struct dump dump = {.core = core, .emit = emit_record, .user = user};
    int rc = dump_terms(&dump);
    if (rc == 0) {
        rc = dump_servers(&dump);
    }
    rc = rc ? rc : master_sessions_dump(core, emit_record, user);
    rc = rc ? rc : master_calls_dump(core, emit_record, user);
    const struct master_inode *inode = master_inode_walk(core->root, core->root);
    for (; rc == 0 && inode; inode = master_inode_walk(core->root, inode)) {
        rc = dump_inode(&dump, inode);
    }
    return rc ? rc : dump_counters(&dump);
}
