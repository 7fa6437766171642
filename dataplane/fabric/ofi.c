// SPDX-License-Identifier: Apache-2.0
// The libfabric provider of the fabric: domain, queues, registered memory, descriptors.
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/assert.h"
#include "base/clock.h"
#include "dataplane/fabric/ofi_private.h"

#define PAWL_LOG_SUBSYSTEM "fabric"
#include "base/log.h"

// Entries of the completion queue. Devices count from 0 and have 2^n - 1 of them; asking for 2^n
// would give half.
#define CQ_SIZE_MIN 255u
#define CQ_SIZE_MAX 65535u
#define CQ_SIZE_MAX_DEVICE ((UINT32_C(1) << 20) - 1)

static pthread_once_t environment_once = PTHREAD_ONCE_INIT;

// Memory is registered once, for long: a cache of registrations costs and gives nothing. It is
// chosen by the environment when libfabric first looks at it.
static void environment_init(void)
{
    setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
    ofi_log_import();
}

static struct fi_info *hints_new(const struct fabric *fabric)
{
    struct fi_info *hints = fi_allocinfo();
    if (!hints) {
        return NULL;
    }
    hints->caps = FI_MSG | FI_RMA;
    hints->mode = FI_CONTEXT | FI_CONTEXT2 | FI_RX_CQ_DATA;
    hints->ep_attr->type = FI_EP_MSG;
    hints->domain_attr->mr_mode = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
    hints->domain_attr->threading = FI_THREAD_DOMAIN;
    hints->tx_attr->msg_order = FI_ORDER_SAW | FI_ORDER_SAS;
    hints->rx_attr->msg_order = FI_ORDER_SAW | FI_ORDER_SAS;
    hints->fabric_attr->prov_name = strdup(fabric->options.provider);
    if (!hints->fabric_attr->prov_name) {
        fi_freeinfo(hints);
        return NULL;
    }
    return hints;
}

static void providers_log(const char *wanted)
{
    char names[256] = "";
    size_t used = 0;
    struct fi_info *list = NULL;
    if (fi_getinfo(OFI_VERSION, NULL, NULL, 0, NULL, &list) == 0) {
        for (const struct fi_info *info = list; info; info = info->next) {
            const char *name = info->fabric_attr->prov_name;
            if (strchr(name, ';') || strstr(names, name) ||
                used + strlen(name) + 2 > sizeof(names)) {
                continue;
            }
            used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", name);
        }
        fi_freeinfo(list);
    }
    pawl_log_error("provider %s offers no connected endpoints here; libfabric has:%s", wanted,
                   used ? names : " none");
}

// Without an address of its own verbs asks for the name localhost.
static void localhost_check(const struct fabric *fabric)
{
    struct addrinfo *found = NULL;
    int rc = getaddrinfo("localhost", NULL, NULL, &found);
    if (rc == 0) {
        freeaddrinfo(found);
        return;
    }
    pawl_log_error("provider %s without a local address needs the name localhost (%s): add "
                   "\"127.0.0.1 localhost\" to /etc/hosts, or give an address (--fabric-host)",
                   fabric->options.provider, gai_strerror(rc));
}

static int info_get(const struct fabric *fabric, struct fi_info **ret_info)
{
    const struct ofi *ofi = fabric->state;
    struct fi_info *hints = hints_new(fabric);
    struct fi_info *list = NULL;
    char port[8];
    if (!hints) {
        return -ENOMEM;
    }
    snprintf(port, sizeof(port), "%u", fabric->options.port);
    const char *host = fabric->options.host;
    const char *service = host || fabric->options.port ? port : NULL;
    uint64_t flags = service ? FI_SOURCE : 0;
    hints->rx_attr->size = fabric->receives_count;
    if (!ofi->is_tcp) { // the queue costs entries of the completion queue: a message and its write
        hints->tx_attr->size = 2 * (size_t)fabric->options.receives_count;
    }
    int rc = fi_getinfo(OFI_VERSION, host, service, flags, hints, &list);
    if (rc == -FI_ENODATA) { // perhaps it has no queues as long as that
        hints->rx_attr->size = 0;
        hints->tx_attr->size = 0;
        rc = fi_getinfo(OFI_VERSION, host, service, flags, hints, &list);
    }
    fi_freeinfo(hints);
    if (rc < 0) {
        return rc;
    }
    for (struct fi_info *info = list; info; info = info->next) {
        if (strcmp(info->fabric_attr->prov_name, fabric->options.provider) == 0) {
            *ret_info = fi_dupinfo(info);
            fi_freeinfo(list);
            return *ret_info ? 0 : -ENOMEM;
        }
    }
    fi_freeinfo(list);
    return -ENODATA;
}

// iWARP ends a connection whose peer finds no receive posted, and receives come back one poll late
// (fabric_borrowed_return()), when answers to their messages may have gone: there, twice as many.
static int receives_double(struct fabric *fabric, struct ofi *ofi)
{
    struct fi_info *info = NULL;
    fabric->receives_count *= 2;
    int rc = info_get(fabric, &info);
    if (rc == 0) {
        fi_freeinfo(ofi->info);
        ofi->info = info;
    }
    return rc;
}

static void limits_take(struct fabric *fabric, struct ofi *ofi)
{
    const struct fi_info *info = ofi->info;
    ofi->mr_mode = (uint64_t)info->domain_attr->mr_mode;
    fabric->needs_local = (ofi->mr_mode & FI_MR_LOCAL) != 0;
    fabric->can_probe = !ofi->is_tcp;
    fabric->inject_bytes = (uint32_t)PAWL_MIN(info->tx_attr->inject_size, (size_t)UINT32_MAX);
    fabric->pieces_max = (uint32_t)PAWL_MIN(PAWL_MAX(info->tx_attr->iov_limit, (size_t)1),
                                            (size_t)FABRIC_PIECES_MAX);
    if (info->tx_attr->size > 0) {
        fabric->posts_max = (uint32_t)PAWL_MIN(info->tx_attr->size, (size_t)1024);
    }
    if (info->rx_attr->size > 0 && info->rx_attr->size < fabric->receives_count) {
        pawl_log_info("provider %s posts %zu receives per connection, not %u",
                      fabric->options.provider, info->rx_attr->size, fabric->receives_count);
        fabric->receives_count = (uint32_t)info->rx_attr->size;
    }
}

// As large as all connections could need, or as the device has it. On a device an overrun is fatal:
// there the queue bounds the connections.
static int cq_open(struct fabric *fabric, struct ofi *ofi)
{
    uint64_t conn_entries = fabric->receives_count + fabric->posts_max;
    uint64_t wanted = conn_entries * fabric->options.connections_max;
    struct fi_cq_attr attr = {.format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_FD};
    uint64_t size_max = ofi->is_tcp ? CQ_SIZE_MAX : CQ_SIZE_MAX_DEVICE;
    uint64_t size = CQ_SIZE_MIN;
    int rc;
    while (size < wanted && size < size_max) {
        size = 2 * size + 1;
    }
    for (;;) {
        attr.size = size;
        ofi_log_hush(size > CQ_SIZE_MIN);
        rc = fi_cq_open(ofi->domain, &attr, &ofi->cq, NULL);
        ofi_log_hush(false);
        if (rc == 0 || size <= CQ_SIZE_MIN) {
            break;
        }
        size /= 2;
    }
    if (rc < 0) {
        return rc;
    }
    ofi->cq_size = size;
    if (!ofi->is_tcp && wanted > size) {
        fabric->options.connections_max = (uint32_t)PAWL_MAX(size / conn_entries, (uint64_t)1);
        pawl_log_info("completion queue has %llu entries: %u connections at most",
                      (unsigned long long)size, fabric->options.connections_max);
    }
    return 0;
}

static int queues_open(struct fabric *fabric, struct ofi *ofi)
{
    struct fi_eq_attr attr = {.wait_obj = FI_WAIT_FD};
    int rc = fi_eq_open(ofi->fabric, &attr, &ofi->eq, NULL);
    if (rc == 0) {
        rc = cq_open(fabric, ofi);
    }
    if (rc == 0) {
        rc = fi_control(&ofi->eq->fid, FI_GETWAIT, &ofi->eq_fd);
    }
    if (rc == 0) {
        rc = fi_control(&ofi->cq->fid, FI_GETWAIT, &ofi->cq_fd);
    }
    return rc;
}

static void ofi_close(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    struct fid *fids[] = {
        ofi->cq ? &ofi->cq->fid : NULL,
        ofi->domain ? &ofi->domain->fid : NULL,
        ofi->eq ? &ofi->eq->fid : NULL,
        ofi->fabric ? &ofi->fabric->fid : NULL,
    };
    ofi_listener_close(fabric);
    ofi_resolver_close(ofi);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(fids); i++) {
        int rc = fids[i] ? fi_close(fids[i]) : 0;
        if (rc < 0) {
            pawl_log_error("closing provider %s: %s", fabric->options.provider, fi_strerror(-rc));
        }
    }
    if (ofi->info) {
        fi_freeinfo(ofi->info);
    }
    free(ofi);
    fabric->state = NULL;
}

// The tcp provider takes an address that is nobody's here and goes on without it; a device's says so.
static int host_check(const char *host)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, NULL, &want, &found) != 0) {
        return -EADDRNOTAVAIL;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 ? 0 : -errno;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(found);
    return rc;
}

static int ofi_open_objects(struct fabric *fabric, struct ofi *ofi)
{
    uint64_t seed;
    int rc = pawl_random_os(&seed, sizeof(seed));
    if (rc < 0) {
        return rc;
    }
    pawl_random_seed(&ofi->keys, seed);
    rc = info_get(fabric, &ofi->info);
    if (rc < 0) {
        if (rc == -FI_ENODATA) {
            providers_log(fabric->options.provider);
            if (!ofi->is_tcp && !fabric->options.host) {
                localhost_check(fabric);
            }
        }
        return rc;
    }
    if (ofi->info->ep_attr->protocol == FI_PROTO_IWARP) {
        rc = receives_double(fabric, ofi);
        if (rc < 0) {
            return rc;
        }
    }
    limits_take(fabric, ofi);
    rc = fi_fabric(ofi->info->fabric_attr, &ofi->fabric, NULL);
    if (rc == 0) {
        rc = fi_domain(ofi->fabric, ofi->info, &ofi->domain, NULL);
    }
    if (rc == 0) {
        rc = queues_open(fabric, ofi);
    }
    if (rc == 0 && strcmp(fabric->options.provider, "verbs") == 0) {
        rc = ofi_resolver_open(ofi);
    }
    return rc;
}

static int ofi_open(struct fabric *fabric)
{
    int rc = ofi_load();
    if (rc < 0) {
        return rc;
    }
    pthread_once(&environment_once, environment_init);
    struct ofi *ofi = calloc(1, sizeof(*ofi));
    if (!ofi) {
        return -ENOMEM;
    }
    fabric->state = ofi;
    const char *name = fabric->options.provider;
    ofi->is_tcp =
        strcmp(name, "tcp") == 0 || strcmp(name, "net") == 0 || strcmp(name, "sockets") == 0;
    const char *host = fabric->options.host;
    if (ofi->is_tcp) {
        fabric->is_stream = true;
        fabric->packet_bytes *= FABRIC_PACKET_TCP_FACTOR;
        fabric->receives_count = PAWL_MAX(fabric->receives_count / FABRIC_PACKET_TCP_FACTOR,
                                          PAWL_MIN(fabric->receives_count, 4u));
    }
    rc = ofi->is_tcp && host ? host_check(host) : 0;
    rc = rc < 0 ? rc : ofi_open_objects(fabric, ofi);
    if (rc < 0) {
        pawl_log_error("provider %s can't be opened at %s: %s", name, host ? host : "any address",
                       fi_strerror(-rc));
        ofi_close(fabric);
        return rc;
    }
    uint32_t version = ofi->info->fabric_attr->prov_version; // 117.0: libfabric 1.17
    ofi->eq_tells = strcmp(name, "tcp") == 0 && FI_MAJOR(version) <= 117;
    snprintf(fabric->description, sizeof(fabric->description),
             "%s (version %u.%u, domain %s, network %s)", name, FI_MAJOR(version),
             FI_MINOR(version), ofi->info->domain_attr->name, ofi->info->fabric_attr->name);
    return 0;
}

// A remote key of our own choice is drawn by lot, so that a peer can't guess another's window.
static uint64_t key_draw(struct ofi *ofi)
{
    size_t bytes = ofi->info->domain_attr->mr_key_size;
    uint64_t mask = bytes >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes)) - 1;
    return pawl_random_next(&ofi->keys) & mask;
}

static int ofi_region_open(struct fabric_region *region)
{
    struct ofi *ofi = region->fabric->state;
    struct fid_mr *mr = NULL;
    uint64_t access = 0;
    int rc;
    if (region->access & FABRIC_LOCAL) {
        access |= FI_SEND | FI_RECV | FI_READ | FI_WRITE;
    }
    if (region->access & FABRIC_REMOTE_WRITE) {
        access |= FI_REMOTE_WRITE | FI_RECV; // a device wants the right to write locally too
    }
    if (region->access & FABRIC_REMOTE_READ) {
        access |= FI_REMOTE_READ;
    }
    for (int i = 0; i < 8; i++) { // again only when the key was taken
        rc = fi_mr_reg(ofi->domain, region->memory, region->bytes, access, 0, key_draw(ofi), 0, &mr,
                       NULL);
        if (rc != -FI_ENOKEY) {
            break;
        }
    }
    if (rc < 0) {
        pawl_log_error("registering %zu bytes: %s%s", region->bytes, fi_strerror(-rc),
                       rc == -FI_ENOMEM ? " (RLIMIT_MEMLOCK?)" : "");
        return rc;
    }
    region->handle = mr;
    region->desc = fi_mr_desc(mr);
    region->key = fi_mr_key(mr);
    region->remote_base = (ofi->mr_mode & FI_MR_VIRT_ADDR) ? (uintptr_t)region->memory : 0;
    return 0;
}

static void ofi_region_close(struct fabric_region *region)
{
    struct fid_mr *mr = region->handle;
    int rc = fi_close(&mr->fid);
    if (rc < 0) {
        pawl_log_error("unregistering %zu bytes: %s", region->bytes, fi_strerror(-rc));
    }
}

static int ofi_wait_fds(const struct fabric *fabric, int fds[FABRIC_FDS_MAX])
{
    const struct ofi *ofi = fabric->state;
    fds[0] = ofi->cq_fd;
    fds[1] = ofi->eq_fd;
    if (ofi->resolver) {
        fds[2] = ofi_resolver_fd(ofi);
        return 3;
    }
    return 2;
}

static int ofi_try_wait(struct fabric *fabric)
{
    struct ofi *ofi = fabric->state;
    struct fid *fids[] = {&ofi->cq->fid, &ofi->eq->fid};
    bool is_eq_due = ofi->eq_read || !ofi->eq_tells;
    if (!ofi->eq_tells) {
        ofi->eq_ns = 0; // the next poll reads the event queue, whatever woke us
    }
    ofi->woken = true;
    if (fi_trywait(ofi->fabric, fids, is_eq_due ? 2 : 1) != 0) {
        return -EAGAIN;
    }
    if (is_eq_due && ofi_events_pending(fabric)) {
        return -EAGAIN;
    }
    ofi->eq_read = false;
    return 0;
}

const struct fabric_provider fabric_provider_ofi = {
    .open = ofi_open,
    .close = ofi_close,
    .listen = ofi_listen,
    .connect = ofi_connect,
    .destroy = ofi_destroy,
    .post = ofi_post,
    .progress = ofi_progress,
    .region_open = ofi_region_open,
    .region_close = ofi_region_close,
    .wait_fds = ofi_wait_fds,
    .try_wait = ofi_try_wait,
};
