// SPDX-License-Identifier: Apache-2.0
// Which fabrics chunk servers offer: replicas of a chunk have to reach each other.
//
// The provider's name is all that the master reads of an address. Names are numbered as they are heard of, so
// that a server's are a mask.
#include "controlplane/core/master_core_private.h"

// The bit of a name, which it gets when it is new; 0: it can't be one, or there are too many.
static uint32_t provider_bit(struct master_providers *providers, const char *name, size_t bytes)
{
    if (bytes > MASTER_PROVIDER_NAME_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < providers->count; i++) {
        if (strlen(providers->names[i]) == bytes && memcmp(providers->names[i], name, bytes) == 0) {
            return 1u << i;
        }
    }
    if (providers->count == MASTER_PROVIDERS_MAX) {
        return 0;
    }
    char *slot = providers->names[providers->count];
    memcpy(slot, name, bytes);
    slot[bytes] = '\0';
    return 1u << providers->count++;
}

uint32_t master_providers_of(struct master_core *core, const char *addresses)
{
    uint32_t mask = 0;
    struct pawl_address address;
    while (pawl_addresses_next(&addresses, &address)) {
        mask |= provider_bit(&core->providers, address.text, address.provider_bytes);
    }
    return mask;
}

static void count_offers(const struct master_core *core, uint32_t counts[MASTER_PROVIDERS_MAX])
{
    memset(counts, 0, MASTER_PROVIDERS_MAX * sizeof(counts[0]));
    for (uint32_t i = 0; i < core->servers_count; i++) {
        const struct master_server *server = core->servers_order[i];
        for (uint32_t bit = 0; bit < core->providers.count && master_server_is_live(server);
             bit++) {
            counts[bit] += server->providers >> bit & 1;
        }
    }
}

// With equal counts the one that was heard of first.
static uint32_t most_offered(const struct master_core *core,
                             const uint32_t counts[MASTER_PROVIDERS_MAX])
{
    uint32_t best = 0;
    for (uint32_t bit = 1; bit < core->providers.count; bit++) {
        best = counts[bit] > counts[best] ? bit : best;
    }
    return best;
}

uint32_t master_provider_common(const struct master_core *core)
{
    uint32_t counts[MASTER_PROVIDERS_MAX];
    count_offers(core, counts);
    uint32_t best = most_offered(core, counts);
    return counts[best] == 0 ? UINT32_MAX : 1u << best;
}

// Every provider of the server is offered by fewer servers than the common one.
static bool is_in_minority(const struct master_core *core, const struct master_server *server,
                           const uint32_t counts[MASTER_PROVIDERS_MAX], uint32_t best)
{
    for (uint32_t bit = 0; bit < core->providers.count; bit++) {
        if ((server->providers >> bit & 1) != 0 && counts[bit] == counts[best]) {
            return false;
        }
    }
    return counts[best] != 0;
}

// All are looked at, not only the one that came: after a start the first to come may be the odd one.
void master_providers_warn(struct master_core *core)
{
    uint32_t counts[MASTER_PROVIDERS_MAX];
    count_offers(core, counts);
    uint32_t best = most_offered(core, counts);
    for (uint32_t i = 0; i < core->servers_count; i++) {
        struct master_server *server = core->servers_order[i];
        if (server->providers_warned || !master_server_is_live(server) ||
            !is_in_minority(core, server, counts, best)) {
            continue;
        }
        char offered[PAWL_ADDRESSES_BYTES_MAX];
        server->providers_warned = true;
        master_note(core, MASTER_LEVEL_WARN,
                    "server %s offers %s only, most servers %s: it gets no replicas before "
                    "`fabrics:` of its configuration has that too",
                    server->name, pawl_addresses_providers(server->address, offered),
                    core->providers.names[best]);
    }
}
