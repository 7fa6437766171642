// SPDX-License-Identifier: Apache-2.0
// Opening a reactor: memory, store, the chunks that the store holds, fabrics; and closing in
// reverse.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/lock.h"
#include "base/random.h"
#include "dataplane/chunkd/chunkd_private.h"

// Limits of what can be under way at once. Requests are bounded by the peers' credits already;
// these are the ends of what memory a reactor takes for them.
#define REACTOR_REQUESTS_COUNT 65536u
#define REACTOR_PAYLOADS_COUNT 65536u
#define REACTOR_SENDS_COUNT 262144u
#define REACTOR_IOS_COUNT 262144u
#define REACTOR_COMMANDS_COUNT 65536u

static int random_id(uint64_t *ret_id)
{
    *ret_id = 0;
    while (*ret_id == 0) {
        int code = pawl_random_os(ret_id, sizeof(*ret_id));
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static int open_memory(struct reactor *reactor)
{
    const struct reactor_options *options = &reactor->options;
    struct memory_options memory = {
        .bytes = options->region_bytes,
        .no_huge = options->no_huge,
        .no_lock = options->no_lock,
        .any_node = options->numa_node == UINT32_MAX,
        .numa_node = options->numa_node == UINT32_MAX ? 0 : options->numa_node,
    };
    int code = buffers_open(&reactor->buffers, &memory);
    if (code == 0) {
        const struct memory_region *region = &reactor->buffers.region;
        pawl_log_at(memory_region_well_placed(region) ? PAWL_LOG_INFO : PAWL_LOG_WARN, "memory: %s",
                    memory_region_describe(region));
    }
    return code;
}

static int open_identity(struct reactor *reactor)
{
    uint64_t wanted_id = reactor->options.server_id;
    int code = store_identity_get(reactor->store, &reactor->server_id, &reactor->cluster_id);
    if (code == -ENOENT || (code == 0 && reactor->server_id == 0)) {
        reactor->cluster_id = 0;
        reactor->server_id = wanted_id;
        code = wanted_id != 0 ? 0 : random_id(&reactor->server_id);
        if (code == 0) {
            code = store_identity_set(reactor->store, reactor->server_id, 0);
        }
    }
    if (code == 0 && wanted_id != 0 && reactor->server_id != wanted_id) {
        pawl_log_error("%s is of server %llx, and the other reactors' directories of server %llx",
                       reactor->options.dir, (unsigned long long)reactor->server_id,
                       (unsigned long long)wanted_id);
        return PAWL_EFORMAT;
    }
    if (code == 0 && reactor->incarnation == 0) {
        code = random_id(&reactor->incarnation);
    }
    if (code != 0) {
        pawl_log_error("the server's id can't be read or kept in %s: %s", reactor->options.dir,
                       pawl_strerror(code));
    }
    reactor->opened_cluster_id = reactor->cluster_id;
    return code;
}

static int open_store(struct reactor *reactor)
{
    const struct reactor_options *options = &reactor->options;
    struct store_options store = {
        .dir = options->dir,
        .space_limit_bytes = options->space_limit_bytes,
        .journal_segment_bytes = options->journal_segment_bytes,
        .journal_segments_count = options->journal_segments_count,
        .inline_max_bytes = options->inline_max_bytes,
        .stores_count = options->reactors_count,
        .lock_ms = PAWL_LOCK_FORERUNNER_MS,
        .fixed_memory = reactor->buffers.region.base,
        .fixed_bytes = reactor->buffers.region.bytes,
    };
    int code = store_open(&store, &reactor->store);
    if (code != 0) {
        pawl_log_error("the store in %s can't be opened: %s%s", options->dir, pawl_strerror(code),
                       code == -EBUSY ? "; does another pawl-chunkd use it?" : "");
        return code;
    }
    code = buffers_divide(&reactor->buffers, store_read_buffer_bytes(reactor->store));
    if (code != 0) {
        pawl_log_error("memory region of %zu bytes is too small to be divided: raise memory.region",
                       reactor->buffers.region.bytes);
    }
    return code;
}

struct load {
    struct reactor *reactor;
    int code;
    uint64_t chunks_count;
    uint64_t records_count;
    uint64_t damaged_count;
};

static struct pawl_record record_at(const void *rows, uint64_t index)
{
    return store_chunk_record(rows, index);
}

// One chunk that makes no sense is no reason to be without all the others. False: it is damaged, or left out.
static bool load_core(struct load *load, struct chunk_load *chunk)
{
    unsigned long long handle = chunk->create.handle;
    int code = chunk_core_load(load->reactor->core, chunk);
    if (code == 0) {
        return true;
    }
    if (code == PAWL_EFORMAT) {
        pawl_log_error("chunk %llu is damaged: its records don't follow each other", handle);
        chunk->salvages = true;
        code = chunk_core_load(load->reactor->core, chunk);
    }
    if (code == PAWL_EFORMAT) {
        pawl_log_error("chunk %llu is left out: what the store has of it makes no sense", handle);
        code = 0;
    }
    if (code != 0) {
        pawl_log_error("chunk %llu can't be loaded: %s", handle, pawl_strerror(code));
    }
    load->code = code;
    return false;
}

static void load_chunk(void *user, const struct store_chunk *chunk)
{
    struct load *load = user;
    if (load->code != 0) {
        return;
    }
    struct chunk_load core;
    memset(&core, 0, sizeof(core));
    core.create.handle = chunk->handle;
    core.create.version = chunk->version;
    core.create.file_id = chunk->file_id;
    core.create.base_offset = chunk->base_offset;
    core.create.chunk_bytes = chunk->chunk_bytes;
    core.create.index = chunk->index;
    core.create.producers_count = chunk->producers_count;
    core.create.producers = chunk->producers;
    core.create.written_handle = chunk->written_handle;
    core.create.zero_bytes = chunk->zero_bytes;
    core.version = chunk->version;
    core.commit_count = chunk->commit_count;
    core.sealed = chunk->sealed;
    core.damaged = chunk->damaged;
    core.record_at = record_at;
    core.rows = chunk;
    core.records_count = chunk->records_count;
    bool sound = load_core(load, &core);
    load->chunks_count++;
    load->records_count += chunk->records_count;
    load->damaged_count += chunk->damaged || !sound ? 1 : 0;
}

static int open_core(struct reactor *reactor)
{
    struct chunk_core_options options = {
        .server_id = reactor->server_id,
        .alloc = pawl_alloc_heap(),
    };
    int code = chunk_core_new(&options, &reactor->core);
    if (code != 0) {
        return code;
    }
    struct load load = {.reactor = reactor};
    store_visit(reactor->store, load_chunk, &load);
    if (load.code == 0) {
        pawl_log_info("loaded %llu chunks with %llu records, %llu of the chunks damaged",
                      (unsigned long long)load.chunks_count, (unsigned long long)load.records_count,
                      (unsigned long long)load.damaged_count);
    }
    return load.code;
}

static_assert(FABRIC_ADDRESS_MAX <= PAWL_ADDRESS_BYTES_MAX, "each address fits");

static int open_fabric(struct reactor *reactor, const struct reactor_fabric *options,
                       uint32_t number)
{
    struct fabric_options fabric = {
        .provider = options->provider,
        .host = options->host,
        .port = options->port,
        .message_bytes = WIRE_DEVICE_MESSAGE_MAX,
        .stream_message_bytes = WIRE_MESSAGE_MAX,
        // HELLO, and one too many to be told of
        .receives_count = reactor->options.requests_count + 2,
        .connections_max = reactor->options.connections_count,
    };
    int code = fabric_open(&fabric, &reactor->fabrics[number]);
    if (code == 0) {
        code = buffers_register(&reactor->buffers, reactor->fabrics[number], number);
    }
    if (code == 0) {
        code = fabric_listen(reactor->fabrics[number]);
    }
    if (code == 0) {
        code = pawl_addresses_add(reactor->addresses, fabric_address(reactor->fabrics[number]));
    }
    if (code != 0) {
        pawl_log_error("fabric provider %s on %s can't be opened: %s", options->provider,
                       options->host != NULL ? options->host : "any address", pawl_strerror(code));
        return code;
    }
    pawl_log_info("fabric: %s at %s", fabric_provider(reactor->fabrics[number]),
                  fabric_address(reactor->fabrics[number]));
    return 0;
}

// All or none: a server that lacks a fabric which it was to offer would look well until its first
// client comes.
static int open_fabrics(struct reactor *reactor)
{
    const struct reactor_options *options = &reactor->options;
    if (options->fabrics_count == 0 || options->fabrics_count > PAWL_ADDRESSES_MAX) {
        return -EINVAL;
    }
    int code = 0;
    for (uint32_t i = 0; i < options->fabrics_count && code == 0; i++) {
        code = open_fabric(reactor, &options->fabrics[i], i);
        reactor->fabrics_count += code == 0;
    }
    if (code == 0) {
        pawl_log_info("memory: %zu windows of %u MiB at most, %zu MiB for reads",
                      reactor->buffers.windows.blocks_count,
                      (unsigned)(reactor->buffers.windows.block_bytes >> 20),
                      reactor->buffers.reads.units_count * reactor->buffers.reads.unit_bytes >> 20);
    }
    return code;
}

static struct reactor *reactor_new(const struct reactor_options *options, uint64_t now_ns)
{
    // The mailboxes' rings keep to cache lines of their own.
    size_t bytes = (size_t)pawl_align_up(sizeof(struct reactor), PAWL_CACHE_LINE_BYTES);
    struct reactor *reactor = aligned_alloc(PAWL_CACHE_LINE_BYTES, bytes);
    if (reactor == NULL) {
        return NULL;
    }
    memset(reactor, 0, bytes);
    reactor->options = *options;
    if (reactor->options.reactors_count == 0) {
        reactor->options.reactors_count = 1;
    }
    if (reactor->options.requests_count == 0) {
        reactor->options.requests_count = CHUNKD_REQUESTS_COUNT;
    }
    if (reactor->options.connections_count == 0) {
        reactor->options.connections_count = CHUNKD_CONNECTIONS_COUNT;
    }
    reactor->incarnation = options->incarnation;
    reactor->now_ns = now_ns;
    slab_init(&reactor->payloads, sizeof(struct payload), REACTOR_PAYLOADS_COUNT);
    slab_init(&reactor->requests, sizeof(struct request), REACTOR_REQUESTS_COUNT);
    slab_init(&reactor->sends, sizeof(struct send), REACTOR_SENDS_COUNT);
    slab_init(&reactor->ios, sizeof(struct io), REACTOR_IOS_COUNT);
    slab_init(&reactor->commands, sizeof(struct command), REACTOR_COMMANDS_COUNT);
    pawl_list_init(&reactor->sessions);
    windows_init(reactor);
    pawl_list_init(&reactor->answering);
    pawl_list_init(&reactor->links);
    pawl_list_init(&reactor->peers);
    pawl_list_init(&reactor->pumps);
    pawl_list_init(&reactor->reads);
    pawl_list_init(&reactor->fetches);
    pawl_list_init(&reactor->relays);
    pawl_list_init(&reactor->arrivals);
    pawl_list_init(&reactor->held);
    pawl_list_init(&reactor->push_onlys);
    return reactor;
}

static int open_mailboxes(struct reactor *reactor)
{
    int code = mailbox_init(&reactor->inbox);
    if (code == 0) {
        reactor->inbox_open = true;
        code = mailbox_init(&reactor->outbox);
        reactor->outbox_open = code == 0;
    }
    return code;
}

int reactor_open(const struct reactor_options *options, uint64_t now_ns, struct reactor **ret)
{
    struct reactor *reactor = reactor_new(options, now_ns);
    if (reactor == NULL) {
        return -ENOMEM;
    }
    int (*const parts[])(struct reactor *) = {open_mailboxes, open_memory, open_store,
                                              open_identity,  open_core,   open_fabrics};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(parts); i++) {
        int code = parts[i](reactor);
        if (code != 0) {
            reactor_close(reactor);
            return code;
        }
    }
    *ret = reactor;
    return 0;
}

// Windows that payloads still hold.
static void payload_free_all(struct reactor *reactor)
{
    uint32_t cursor = 0;
    struct payload *payload;
    while ((payload = slab_next(&reactor->payloads, &cursor)) != NULL) {
        if (payload->kind == PAYLOAD_COPIED) {
            free(payload->rows != NULL ? (void *)(uintptr_t)payload->rows : payload->bytes);
        }
        window_unuse(&reactor->buffers, payload->window);
    }
}

void reactor_close(struct reactor *reactor)
{
    if (reactor == NULL) {
        return;
    }
    // The store first: what it is still writing comes out of windows.
    store_close(reactor->store);
    pushed_free_all(reactor);
    push_only_free_all(reactor);
    relay_free_all(reactor);
    session_free_all(reactor);
    peer_free_all(reactor);
    payload_free_all(reactor);
    buffers_unregister(&reactor->buffers);
    for (uint32_t i = 0; i < PAWL_ADDRESSES_MAX; i++) {
        fabric_close(reactor->fabrics[i]); // also one whose opening failed half-way
    }
    chunk_core_free(reactor->core);
    buffers_close(&reactor->buffers);
    slab_fini(&reactor->payloads);
    slab_fini(&reactor->requests);
    slab_fini(&reactor->sends);
    storage_fini(reactor);
    slab_fini(&reactor->ios);
    slab_fini(&reactor->commands);
    free(reactor->posted);
    if (reactor->inbox_open) {
        mailbox_fini(&reactor->inbox);
    }
    if (reactor->outbox_open) {
        mailbox_fini(&reactor->outbox);
    }
    free(reactor);
}
