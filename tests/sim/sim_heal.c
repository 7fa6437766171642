// SPDX-License-Identifier: Apache-2.0
// What the oracle asks of healing: a copy that counts is the sealed chunk byte for byte, no drop takes
// the last one, and when the faults are over every chunk has its replicas again, and none beside them.
#include <string.h>

#include "sim.h"
#include "sim_write.h"

#define ULL(x) ((unsigned long long)(x))

static bool find_view(const struct sim_oracle *oracle, uint64_t handle, struct sim_view *ret)
{
    for (uint32_t i = 0; sim_oracle_view(oracle, i, ret); i++) {
        if (ret->handle == handle) {
            return true;
        }
    }
    return false;
}

static bool is_member(const struct sim_view *view, uint32_t server)
{
    for (uint32_t i = 0; i < view->set_count; i++) {
        if (view->set[i] == SIM_SERVER_ID(server)) {
            return true;
        }
    }
    return false;
}

// The sealed chunk, as a disk holds it: its table, its records, its bytes. What has rotted since is whole
// until somebody finds it.
static bool holds_all(struct sim *sim, const struct sim_view *view, const struct sim_chunk *replica)
{
    if (replica == NULL || replica->records_count < view->count ||
        replica->base_offset != view->base || replica->file_id != view->file_id ||
        !sim_oracle_inherits(sim, replica)) {
        return false;
    }
    for (uint64_t i = 0; i < view->count; i++) {
        if (!replica->records[i].rotten && !sim_oracle_equals(sim->oracle, replica, i)) {
            return false;
        }
    }
    return true;
}

static bool is_whole(struct sim *sim, const struct sim_view *view, const struct sim_chunk *replica)
{
    return holds_all(sim, view, replica) && replica->sealed &&
           replica->records_count == view->count &&
           replica->zero_bytes == sim_writes_zeros(sim, view->handle);
}

// Does any disk but that of `except` hold it all, sealed or not?
static bool is_elsewhere(struct sim *sim, const struct sim_view *view, uint32_t except)
{
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        if (i != except && holds_all(sim, view, sim_disk_chunk(sim->disks[i], view->handle))) {
            return true;
        }
    }
    return false;
}

static uint32_t whole_count(struct sim *sim, const struct sim_view *view)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        count += is_whole(sim, view, sim_disk_chunk(sim->disks[i], view->handle));
    }
    return count;
}

static uint32_t held_count(const struct sim *sim, const struct sim_view *view)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        count += sim_disk_chunk(sim->disks[i], view->handle) != NULL;
    }
    return count;
}

void sim_heal_registered(struct sim *sim, uint32_t server, const Pawl__Copied *copied)
{
    struct sim_view view;
    if (!copied->sealed || !find_view(sim->oracle, copied->handle, &view) || view.removed) {
        return;
    }
    sim->copies_count++;
    sim_writes_copied(sim, view.handle, copied->version);
    uint64_t lost = 0;
    if (sim_disk_lost(sim->disks[server], view.handle, &lost)) {
        return; // it held it when it said so
    }
    if (!view.sealed || !is_whole(sim, &view, sim_disk_chunk(sim->disks[server], view.handle))) {
        sim_violation(sim, "cs%u says that it has copied chunk %llu, and its disk does not hold it",
                      server + 1, ULL(view.handle));
    }
}

// The last good copy of a referenced chunk is never deleted; of an open one, no copy of a member.
void sim_heal_drop(struct sim *sim, uint32_t server, const struct sim_chunk *replica)
{
    struct sim_view view;
    if (!find_view(sim->oracle, replica->handle, &view) || !view.ready || view.removed) {
        return;
    }
    bool needed = view.sealed ? !is_elsewhere(sim, &view, server) &&
                                    (replica->records_count > 0 || is_whole(sim, &view, replica))
                              : is_member(&view, server);
    if (needed) {
        sim_violation(sim, "cs%u drops chunk %llu with %llu records, and nobody else has all of it",
                      server + 1, ULL(replica->handle), ULL(replica->records_count));
    }
}

static bool holds_records(struct sim *sim, const struct sim_view *view)
{
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        const struct sim_chunk *replica = sim_disk_chunk(sim->disks[i], view->handle);
        if (is_member(view, i) && replica != NULL && replica->records_count > 0) {
            return true;
        }
    }
    return false;
}

// An open chunk without records is left as it is.
static bool open_is_healed(struct sim *sim, const struct sim_view *view, uint32_t wanted)
{
    return !view->ready || view->set_count == wanted || !holds_records(sim, view);
}

// Where one has rotted nothing is asked: without a scrub nobody may know, and with no other server there is
// no place for another.
static bool may_be_short(struct sim *sim, uint64_t handle)
{
    for (uint32_t i = 0; i < sim->params.servers_count; i++) {
        const struct sim_chunk *replica = sim_disk_chunk(sim->disks[i], handle);
        if (replica != NULL && (replica->damaged || replica->rotten_count > 0)) {
            return true;
        }
    }
    return false;
}

// A part of a write log stands where the chunk does that it is about, and nowhere else.
static bool sealed_is_healed(struct sim *sim, const struct sim_view *view, uint32_t wanted)
{
    uint64_t written = sim_writes_about(sim, view->handle);
    if (may_be_short(sim, view->handle) || (written != 0 && may_be_short(sim, written))) {
        return true;
    }
    return whole_count(sim, view) == wanted && held_count(sim, view) == wanted;
}

static bool find_unhealed(struct sim *sim, struct sim_view *ret)
{
    uint32_t wanted = PAWL_MIN(sim->params.replicas, sim->params.servers_count);
    for (uint32_t i = 0; sim_oracle_view(sim->oracle, i, ret); i++) {
        bool healed = ret->removed || (ret->sealed ? sealed_is_healed(sim, ret, wanted)
                                                   : open_is_healed(sim, ret, wanted));
        if (!healed) {
            return true;
        }
    }
    return false;
}

bool sim_heal_is_done(struct sim *sim)
{
    struct sim_view view;
    return !find_unhealed(sim, &view);
}

void sim_heal_end(struct sim *sim)
{
    struct sim_view view;
    if (!sim->violated && find_unhealed(sim, &view)) {
        sim_violation(sim,
                      "liveness: %s chunk %llu has %u replicas, %u of them whole, its set has %u; "
                      "its file wants %u",
                      view.sealed ? "sealed" : "open", ULL(view.handle), held_count(sim, &view),
                      view.sealed ? whole_count(sim, &view) : 0, view.set_count,
                      sim->params.replicas);
    }
}
