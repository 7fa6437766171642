// SPDX-License-Identifier: Apache-2.0
// Routes of commands and leases to reactors.
#include "dataplane/chunkd/routes.h"

#include <pawl/error.h>

#include "base/assert.h"
#include "proto/reactor.h"

void routes_init(struct routes *routes, uint32_t reactors_count)
{
    pawl_assert(reactors_count > 0 && reactors_count <= REACTORS_MAX);
    routes->reactors_count = reactors_count;
    pawl_map_init(&routes->away, pawl_alloc_heap());
}

void routes_fini(struct routes *routes)
{
    pawl_map_fini(&routes->away);
}

uint32_t routes_of(const struct routes *routes, uint64_t handle)
{
    void *away = pawl_map_get(&routes->away, handle);
    return away != NULL ? (uint32_t)((uintptr_t)away - 1)
                        : reactor_of(handle, routes->reactors_count);
}

int routes_learn(struct routes *routes, uint64_t handle, uint32_t reactor)
{
    pawl_assert(reactor < routes->reactors_count);
    if (routes_of(routes, handle) == reactor) {
        return 0;
    }
    return pawl_map_put(&routes->away, handle, (void *)((uintptr_t)reactor + 1));
}

struct command_place {
    uint64_t handle;
    uint64_t written_handle;
};

static int place_of(const Pawl__Request *request, struct command_place *ret)
{
    *ret = (struct command_place){0};
    switch (request->body_case) {
    case PAWL__REQUEST__BODY_FENCE:
        ret->handle = request->fence->handle;
        return 0;
    case PAWL__REQUEST__BODY_LEVEL:
        ret->handle = request->level->handle;
        return 0;
    case PAWL__REQUEST__BODY_SEAL:
        ret->handle = request->seal->handle;
        return 0;
    case PAWL__REQUEST__BODY_OPEN:
        ret->handle = request->open->handle;
        ret->written_handle = request->open->written_handle;
        return 0;
    case PAWL__REQUEST__BODY_GRANT:
        ret->handle = request->grant->handle;
        return 0;
    case PAWL__REQUEST__BODY_DROP:
        ret->handle = request->drop->handle;
        return 0;
    case PAWL__REQUEST__BODY_COPY:
        ret->handle = request->copy->handle;
        ret->written_handle = request->copy->written_handle;
        return 0;
    default:
        return PAWL_EPROTOCOL;
    }
}

int routes_of_command(struct routes *routes, const Pawl__Request *request, uint32_t *ret_reactor)
{
    struct command_place place;
    int code = place_of(request, &place);
    if (code == 0 && place.written_handle != 0) {
        code = routes_learn(routes, place.handle,
                            reactor_of(place.written_handle, routes->reactors_count));
    }
    if (code == 0) {
        *ret_reactor = routes_of(routes, place.handle);
    }
    return code;
}
