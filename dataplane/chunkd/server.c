// SPDX-License-Identifier: Apache-2.0
// Opening and closing the reactors of a chunk server.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include "dataplane/chunkd/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/random.h"
#include "dataplane/chunkd/layout.h"
#include "dataplane/chunkd/places.h"
#include "dataplane/chunkd/ports.h"
#include "dataplane/chunkd/reactor.h"
#include "dataplane/memory/core_claims.h"
#include "dataplane/memory/placement.h"
#include "dataplane/store/store.h"

struct server {
    const struct chunkd_config *config;
    struct layout layout;
    struct placement *placement; // NULL: the topology can't be read
    struct places places;
    struct core_claims claims; // of the cores that reactors are bound to
    uint32_t count;
    uint64_t incarnation;
    uint32_t started_count;
    struct reactor_thread *threads[REACTORS_MAX];
    struct reactor *reactors[REACTORS_MAX];
    char dirs[REACTORS_MAX][PATH_MAX];
    char address[PAWL_ADDRESSES_BYTES_MAX];
};

// ---- where they run -----------------------------------------------------------------------------

static void placement_say(const struct server *server)
{
    const struct placement *placement = server->placement;
    const struct places *places = &server->places;
    if (!places->known) {
        pawl_log_warn("placement: the machine's topology can't be read");
        return;
    }
    pawl_log_info("placement: %u reactor%s, %s; %u cores, %u hardware threads may be used, NUMA "
                  "node of the first: %d",
                  server->count, server->count == 1 ? "" : "s",
                  places->bound ? "each bound to a core" : "not bound to a core",
                  placement_cores_count(placement), placement_pus_count(placement),
                  places->cores[0].has_node ? (int)places->cores[0].numa_node : -1);
    if (places->device[0] != '\0') {
        pawl_log_info("placement: cores of NUMA node %u come first, where %s is", places->near_node,
                      places->device);
    } else if (places->unknown[0] != '\0') {
        pawl_log_info("placement: cores of all NUMA nodes in the machine's order: it does not tell "
                      "on which one %s is",
                      places->unknown);
    }
    for (uint32_t i = 0; places->bound && i < server->count; i++) {
        const struct placement_core *core = &places->cores[i];
        pawl_log_info("placement: reactor %u on hardware thread %u, NUMA node %d%s", i, core->pu,
                      core->has_node ? (int)core->numa_node : -1,
                      core->shared ? ", a core that another reactor has too" : "");
    }
}

// So that servers see each other. Without claims each would take its cores for its own; that is slow where it is
// wrong, and no more.
static void cores_claim(struct server *server)
{
    if (!server->places.bound) {
        return;
    }
    int code = core_claims_open(CORE_CLAIMS_FILE, &server->claims);
    for (uint32_t i = 0; i < server->count && code == 0; i++) {
        code = core_claims_take(&server->claims, server->places.cores[i].core);
    }
    if (code != 0) {
        pawl_log_warn(
            "placement: other servers on these cores are not seen: %s can't be locked: %s",
            CORE_CLAIMS_FILE, pawl_strerror(code));
        core_claims_close(&server->claims);
    }
}

// ---- what each gets -----------------------------------------------------------------------------

// The first `total % count` get one more.
static uint64_t share(uint64_t total, uint32_t count, uint32_t number)
{
    return total / count + (number < total % count ? 1 : 0);
}

static struct reactor_options options_of(const struct server *server, uint32_t number,
                                         const struct ports ports[PAWL_ADDRESSES_MAX])
{
    const struct chunkd_config *config = server->config;
    const struct places *places = &server->places;
    const struct placement_core *core = &places->cores[number];
    struct reactor_options options = {
        .size = sizeof(options),
        .name = config->name,
        .dir = server->dirs[number],
        .number = number,
        .reactors_count = server->count,
        .server_id = server->layout.server_id,
        .incarnation = server->incarnation,
        .fabrics_count = config->fabrics_count,
        .region_bytes = config->region_bytes / server->count,
        .space_limit_bytes = share(config->space_limit_bytes, server->count, number),
        .journal_segment_bytes = config->journal_segment_bytes,
        .journal_segments_count = config->journal_segments_count,
        .inline_max_bytes = config->inline_max_bytes,
        .chain_bytes = config->chain_bytes,
        .numa_node = places->bound && core->has_node ? core->numa_node : UINT32_MAX,
        .placement = places->bound ? server->placement : NULL,
        .core = places->bound ? core : NULL,
        .may_spin = places_may_spin(places, number),
        .claims = &server->claims,
        .claimed_core = core->core,
    };
    for (uint32_t i = 0; i < config->fabrics_count; i++) {
        uint32_t first = config->fabrics[i].port != 0 ? config->fabrics[i].port : ports[i].first;
        options.fabrics[i] =
            (struct reactor_fabric){.provider = config->fabrics[i].provider,
                                    .host = config->fabrics[i].host,
                                    .port = (uint16_t)(first != 0 ? first + number : 0)};
    }
    return options;
}

static uint64_t journal_bytes(const struct chunkd_config *config)
{
    uint64_t bytes = config->journal_segment_bytes;
    uint64_t count = config->journal_segments_count;
    return (bytes != 0 ? bytes : STORE_JOURNAL_SEGMENT_BYTES) *
           (count != 0 ? count : STORE_JOURNAL_SEGMENTS);
}

// As configured: a directory that was made with more journal keeps what it has.
static void memory_say(const struct server *server)
{
    uint64_t journals = journal_bytes(server->config) * server->count;
    uint64_t regions = server->config->region_bytes;
    pawl_log_info("memory: %llu MiB are taken at the start: regions of %llu MiB, journals of %llu "
                  "MiB; connections and tables come beside it",
                  (unsigned long long)(regions + journals) >> 20, (unsigned long long)regions >> 20,
                  (unsigned long long)journals >> 20);
}

// ---- their threads ------------------------------------------------------------------------------

static int reactors_start(struct server *server, const struct ports ports[PAWL_ADDRESSES_MAX])
{
    for (uint32_t i = 0; i < server->count; i++) {
        struct reactor_options options = options_of(server, i, ports);
        int code = reactor_thread_start(&options, &server->threads[i]);
        if (code != 0) {
            return code;
        }
        server->reactors[i] = reactor_thread_reactor(server->threads[i]);
        server->started_count++;
    }
    return 0;
}

// Where the configuration names no port, as many free ones as there are reactors.
static int ports_choose(const struct server *server, struct ports ports[PAWL_ADDRESSES_MAX])
{
    const struct chunkd_config *config = server->config;
    for (uint32_t i = 0; i < config->fabrics_count && server->count > 1; i++) {
        if (config->fabrics[i].port != 0) {
            continue;
        }
        int code = ports_hold(config->fabrics[i].host, server->count, &ports[i]);
        if (code != 0) {
            pawl_log_error("%s has no %u free ports in a row: %s", config->fabrics[i].host,
                           server->count, pawl_strerror(code));
            return code;
        }
    }
    return 0;
}

static int reactors_open(struct server *server)
{
    struct ports ports[PAWL_ADDRESSES_MAX];
    memset(ports, 0, sizeof(ports));
    int code = ports_choose(server, ports);
    code = code != 0 ? code : reactors_start(server, ports);
    for (uint32_t i = 0; i < PAWL_ADDRESSES_MAX; i++) {
        ports_release(&ports[i]);
    }
    return code;
}

// ---- their address ------------------------------------------------------------------------------

// All reactors are where the range says that they are.
static int range_check(const struct server *server, const char *provider, const char *range)
{
    for (uint32_t i = 0; i < server->count; i++) {
        char wanted[PAWL_ADDRESS_BYTES_MAX];
        char is[PAWL_ADDRESS_BYTES_MAX];
        int code = pawl_address_of_reactor(range, i, wanted);
        code = code != 0 ? code
                         : pawl_addresses_find(reactor_address(server->reactors[i]), provider, is);
        if (code != 0 || strcmp(wanted, is) != 0) {
            return PAWL_EINVALID;
        }
    }
    return 0;
}

static int address_make(struct server *server)
{
    for (uint32_t i = 0; i < server->config->fabrics_count; i++) {
        const char *provider = server->config->fabrics[i].provider;
        char first[PAWL_ADDRESS_BYTES_MAX];
        char range[PAWL_ADDRESS_BYTES_MAX];
        int code = pawl_addresses_find(reactor_address(server->reactors[0]), provider, first);
        code = code != 0 ? code : pawl_address_range(first, server->count, range);
        code = code != 0 ? code : range_check(server, provider, range);
        code = code != 0 ? code : pawl_addresses_add(server->address, range);
        if (code != 0) {
            pawl_log_error("the addresses of the reactors on provider %s can't be told as one, "
                           "beginning with %s",
                           provider, reactor_address(server->reactors[0]));
            return code;
        }
    }
    return 0;
}

// ---- opening and closing ------------------------------------------------------------------------

static int dirs_make(struct server *server)
{
    int code = layout_open(server->config->directory, server->count, PAWL_LOCK_FORERUNNER_MS,
                           &server->layout);
    for (uint32_t i = 0; i < server->count && code == 0; i++) {
        code = layout_dir(&server->layout, i, server->dirs[i]);
    }
    return code;
}

static int incarnation_draw(struct server *server)
{
    int code = 0;
    while (server->incarnation == 0 && code == 0) {
        code = pawl_random_os(&server->incarnation, sizeof(server->incarnation));
    }
    return code;
}

// The number of reactors: what is written, or what the directory was made with, or what the machine has.
static int count_settle(struct chunkd_config *config, const struct placement *placement,
                        uint32_t near_node)
{
    if (config->reactors_count != 0) {
        return 0;
    }
    struct pawl_config_error error;
    uint32_t count = layout_peek(config->directory);
    if (count == 0) {
        count = placement != NULL ? placement_cores_near(placement, near_node) : 1;
        count = PAWL_MIN(PAWL_MAX(count, 1u), REACTORS_MAX);
    }
    int code = chunkd_config_reactors("reactors: auto", count, config, &error);
    if (code != 0) {
        pawl_log_error("%s", error.text);
    }
    return code;
}

static void reactors_stop(struct server *server)
{
    for (uint32_t i = 0; i < server->started_count; i++) {
        struct mail *mail = mail_new(MAIL_STOP);
        if (mail == NULL) {
            abort(); // its thread would run for ever; as safe as any crash
        }
        mailbox_post(reactor_inbox(server->reactors[i]), mail);
    }
}

int server_open(struct chunkd_config *config, struct server **ret)
{
    struct server *server = calloc(1, sizeof(*server));
    if (server == NULL) {
        return -ENOMEM;
    }
    server->config = config;
    server->layout.fd = -1;
    server->claims.fd = -1;
    if (placement_open(NULL, &server->placement) != 0) {
        server->placement = NULL;
    }
    places_find_device(&server->places, config, server->placement, "");
    int code = count_settle(config, server->placement, server->places.near_node);
    server->count = config->reactors_count;
    if (code == 0) {
        places_choose(&server->places, config->pin, server->count, server->placement);
        placement_say(server);
        memory_say(server);
        cores_claim(server);
    }
    code = code != 0 ? code : incarnation_draw(server);
    code = code != 0 ? code : dirs_make(server);
    code = code != 0 ? code : reactors_open(server);
    code = code != 0 ? code : layout_sync(&server->layout);
    code = code != 0 ? code : address_make(server);
    if (code != 0) {
        reactors_stop(server);
        server_close(server);
        return code;
    }
    *ret = server;
    return 0;
}

void server_close(struct server *server)
{
    for (uint32_t i = 0; i < server->started_count; i++) {
        reactor_thread_join(server->threads[i]);
    }
    core_claims_close(&server->claims);
    layout_close(&server->layout);
    placement_close(server->placement);
    free(server);
}

struct reactor *const *server_reactors(const struct server *server)
{
    return server->reactors;
}

uint32_t server_reactors_count(const struct server *server)
{
    return server->count;
}

const char *server_address(const struct server *server)
{
    return server->address;
}
