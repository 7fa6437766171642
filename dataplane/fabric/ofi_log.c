// SPDX-License-Identifier: Apache-2.0
// libfabric's warnings in our log.
//
// A provider drops a peer that sends garbage without telling its user; only its own warnings, which
// are off by default, say why. They are written to our log, limited, so that a closed connection
// has a reason there. Whoever sets FI_LOG_LEVEL gets libfabric's own output instead.
#include <rdma/fi_ext.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

static struct pawl_log_limit provider_limit = {.burst = 20};
static _Thread_local bool is_hushed;

void ofi_log_hush(bool hush)
{
    is_hushed = hush;
}

// Warnings about connections and their bytes; libfabric's search for devices says a lot that
// nobody needs.
static int provider_log_enabled(const struct fi_provider *provider, enum fi_log_level level,
                                enum fi_log_subsys subsystem, uint64_t flags)
{
    (void)provider;
    (void)flags;
    return level == FI_LOG_WARN && !is_hushed &&
           (subsystem == FI_LOG_EP_CTRL || subsystem == FI_LOG_EP_DATA || subsystem == FI_LOG_MR ||
            subsystem == FI_LOG_CQ || subsystem == FI_LOG_EQ);
}

static int provider_log_ready(const struct fi_provider *provider, enum fi_log_level level,
                              enum fi_log_subsys subsystem, uint64_t flags, uint64_t *showtime)
{
    (void)showtime;
    return provider_log_enabled(provider, level, subsystem, flags);
}

static void provider_log(const struct fi_provider *provider, enum fi_log_level level,
                         enum fi_log_subsys subsystem, const char *function, int line,
                         const char *message)
{
    (void)level;
    (void)subsystem;
    int bytes = (int)strcspn(message, "\n");
    pawl_log_limited(&provider_limit, PAWL_LOG_WARN, "libfabric %s: %.*s (%s:%d)", provider->name,
                     bytes, message, function, line);
}

static struct fi_ops_log log_ops = {
    .size = sizeof(struct fi_ops_log),
    .enabled = provider_log_enabled,
    .ready = provider_log_ready,
    .log = provider_log,
};
static struct fid_logging log_fid = {.ops = &log_ops};

void ofi_log_import(void)
{
    if (getenv("FI_LOG_LEVEL")) {
        return;
    }
    log_fid.fid.ops = NULL;
    int rc = fi_import_log(FI_VERSION(1, 17), 0, &log_fid);
    if (rc < 0) {
        pawl_log_info("libfabric keeps its warnings to itself: %d", rc);
    }
}
