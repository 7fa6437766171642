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

// With equal counts the one that was heard of first.
uint32_t master_provider_common(const struct master_core *core)
{
    uint32_t counts[MASTER_PROVIDERS_MAX] = {0};
    uint32_t best = 0;
    for (uint32_t i = 0; i < core->servers_count; i++) {
        const struct master_server *server = core->servers_order[i];
        for (uint32_t bit = 0; bit < core->providers.count && master_server_is_live(server);
             bit++) {
            counts[bit] += server->providers >> bit & 1;
        }
    }
    for (uint32_t bit = 1; bit < core->providers.count; bit++) {
        best = counts[bit] > counts[best] ? bit : best;
    }
    return counts[best] == 0 ? UINT32_MAX : 1u << best;
}

void master_providers_warn(struct master_core *core, const struct master_server *server)
{
    uint32_t common = master_provider_common(core);
    if ((server->providers & common) != 0 || common == UINT32_MAX) {
        return;
    }
    char offered[PAWL_ADDRESSES_BYTES_MAX];
    uint32_t bit = 0;
    while ((common >> bit & 1) == 0) {
        bit++;
    }
    master_note(
        core, MASTER_LEVEL_WARN,
        "server %s offers %s only, most servers %s: it gets no replicas before `fabrics:` of "
        "its configuration has that too",
        server->name, pawl_addresses_providers(server->address, offered),
        core->providers.names[bit]);
}
