// SPDX-License-Identifier: Apache-2.0
// Loading libfabric when it is first needed, not when the program starts.
//
// Debian's libfabric pulls in libraries whose constructors measure the clock for 0.2 s; a command
// that only talks to the master should not pay for that, and a machine without libfabric should get
// a message instead of a program that doesn't start. All of libfabric but these functions is inline
// (calls through the objects' tables); they are defined here and forwarded.
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <rdma/fabric.h>

#include "base/assert.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

#define LIBRARY "libfabric.so.1"

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static bool loaded;

static struct {
    int (*getinfo)(uint32_t, const char *, const char *, uint64_t, const struct fi_info *,
                   struct fi_info **);
    void (*freeinfo)(struct fi_info *);
    struct fi_info *(*dupinfo)(const struct fi_info *);
    int (*fabric)(struct fi_fabric_attr *, struct fid_fabric **, void *);
    int (*open)(uint32_t, const char *, void *, size_t, uint64_t, struct fid **, void *);
    const char *(*strerror)(int);
} library;

static bool find(void *handle, const char *name, void *ret_function)
{
    void *found = dlsym(handle, name);
    if (!found) {
        pawl_log_error("%s has no %s", LIBRARY, name);
        return false;
    }
    *(void **)ret_function = found; // POSIX: a function's address fits in void *
    return true;
}

// Constructors of libraries below libfabric (PSM's) take SIGINT, SIGTERM and others for themselves.
// They belong to the program: what it has set is put back.
static void *load_library(void)
{
    static const int signals[] = {SIGHUP, SIGINT,  SIGTERM, SIGILL,  SIGABRT,
                                  SIGFPE, SIGSEGV, SIGBUS,  SIGPIPE, SIGTRAP};
    struct sigaction before[PAWL_ARRAY_COUNT(signals)];
    bool known[PAWL_ARRAY_COUNT(signals)];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(signals); i++) {
        known[i] = sigaction(signals[i], NULL, &before[i]) == 0;
    }
    void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(signals); i++) {
        if (known[i]) {
            (void)sigaction(signals[i], &before[i], NULL);
        }
    }
    return handle;
}

static void load(void)
{
    void *handle = load_library();
    if (!handle) {
        pawl_log_error("libfabric can't be loaded (%s): install the package libfabric1", dlerror());
        return;
    }
    loaded = find(handle, "fi_getinfo", &library.getinfo) &&
             find(handle, "fi_freeinfo", &library.freeinfo) &&
             find(handle, "fi_dupinfo", &library.dupinfo) &&
             find(handle, "fi_fabric", &library.fabric) && find(handle, "fi_open", &library.open) &&
             find(handle, "fi_strerror", &library.strerror);
}

int ofi_load(void)
{
    pthread_once(&load_once, load);
    return loaded ? 0 : -ENODATA;
}

int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags,
               const struct fi_info *hints, struct fi_info **info)
{
    pawl_assert(loaded);
    return library.getinfo(version, node, service, flags, hints, info);
}

void fi_freeinfo(struct fi_info *info)
{
    library.freeinfo(info);
}

struct fi_info *fi_dupinfo(const struct fi_info *info)
{
    pawl_assert(loaded);
    return library.dupinfo(info);
}

int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context)
{
    return library.fabric(attr, fabric, context);
}

int fi_open(uint32_t version, const char *name, void *attr, size_t attr_len, uint64_t flags,
            struct fid **fid, void *context)
{
    return library.open(version, name, attr, attr_len, flags, fid, context);
}

const char *fi_strerror(int errnum)
{
    return library.strerror(errnum);
}
