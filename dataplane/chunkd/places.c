// SPDX-License-Identifier: Apache-2.0
// Places: the decisions about cores, without a thread or a log.
#include "dataplane/chunkd/places.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"
#include "base/host.h"

void places_find_device(struct places *places, const struct chunkd_config *config,
                        const struct placement *placement, const char *root)
{
    places->unknown[0] = '\0';
    for (uint32_t i = 0; placement != NULL && i < config->fabrics_count; i++) {
        if (pawl_host_interface(config->fabrics[i].host, places->device) != 0) {
            continue;
        }
        if (placement_interface_node(placement, root, places->device, &places->near_node) == 0) {
            places->unknown[0] = '\0';
            return;
        }
        if (places->unknown[0] == '\0') {
            memcpy(places->unknown, places->device, sizeof(places->unknown));
        }
    }
    places->device[0] = '\0';
    places->near_node = PLACEMENT_ANY_NODE;
}

void places_choose(struct places *places, enum chunkd_pin pin, uint32_t count,
                   const struct placement *placement)
{
    pawl_assert(count <= REACTORS_MAX);
    places->count = count;
    places->known = placement != NULL &&
                    placement_choose(placement, places->near_node, count, places->cores) == 0;
    if (!places->known) {
        places->bound = false;
        return;
    }
    // Two reactors that are bound to one hardware thread wait for each other; the kernel does that better.
    bool fits = count <= placement_pus_count(placement);
    places->bound = pin == CHUNKD_PIN_TRUE || (pin == CHUNKD_PIN_AUTO && count > 1 && fits);
}

bool places_may_spin(const struct places *places, uint32_t number)
{
    pawl_assert(number < places->count);
    return places->bound && !places->cores[number].shared;
}
