// SPDX-License-Identifier: Apache-2.0
// doctor: whether this client, and the servers among themselves, speak a provider in common.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addresses.h"
#include "cli/cli.h"
#include "cli/doctor.h"

#define DOCTOR_CLUSTER_MS 2000u
#define DOCTOR_SERVERS_MAX 4096u

struct servers {
    struct pawl_server_info *items;
    uint32_t count;
    uint32_t capacity;
};

static int servers_add(void *user, const struct pawl_server_info *server)
{
    struct servers *servers = user;
    if (servers->count == servers->capacity) {
        uint32_t capacity = servers->capacity == 0 ? 16 : servers->capacity * 2;
        struct pawl_server_info *grown = capacity > DOCTOR_SERVERS_MAX
                                             ? NULL
                                             : realloc(servers->items, capacity * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        servers->items = grown;
        servers->capacity = capacity;
    }
    servers->items[servers->count++] = *server;
    return 0;
}

static bool lists_share(const char *a, const char *b)
{
    struct pawl_address mine;
    while (pawl_addresses_next(&a, &mine)) {
        const char *cursor = b;
        struct pawl_address other;
        while (pawl_addresses_next(&cursor, &other)) {
            if (other.provider_bytes == mine.provider_bytes &&
                memcmp(other.text, mine.text, mine.provider_bytes) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool is_up(const struct pawl_server_info *server)
{
    return server->address[0] != '\0' && strcmp(server->state, "dead") != 0;
}

// True when this client has an address of each server.
static bool check_client(const struct servers *servers, const char *provider,
                         const struct doctor_report *report)
{
    bool well = true;
    for (uint32_t i = 0; i < servers->count; i++) {
        const struct pawl_server_info *server = &servers->items[i];
        char address[PAWL_ADDRESS_BYTES_MAX];
        char offered[PAWL_ADDRESSES_BYTES_MAX];
        char found[400];
        if (!is_up(server) || pawl_addresses_find(server->address, provider, address) == 0) {
            continue;
        }
        well = false;
        snprintf(found, sizeof found, "%s offers %s only; this client speaks %s", server->name,
                 pawl_addresses_providers(server->address, offered), provider);
        report->finding(report->user, "cluster fabric", false, found,
                        "choose the provider by --provider or in cluster.yaml, or add it to "
                        "`fabrics:` of that server's configuration");
    }
    return well;
}

// The first pair that has nothing in common.
static bool check_servers(const struct servers *servers, const struct doctor_report *report)
{
    for (uint32_t i = 0; i < servers->count; i++) {
        for (uint32_t j = i + 1; j < servers->count; j++) {
            const struct pawl_server_info *a = &servers->items[i];
            const struct pawl_server_info *b = &servers->items[j];
            char found[200];
            if (!is_up(a) || !is_up(b) || lists_share(a->address, b->address)) {
                continue;
            }
            snprintf(found, sizeof found, "%s and %s have no provider in common", a->name, b->name);
            report->finding(
                report->user, "cluster fabric", false, found,
                "replicas go only to servers that share the provider which most of them "
                "offer: add it to `fabrics:` of the others");
            return false;
        }
    }
    return true;
}

static void check_list(const struct servers *servers, const char *provider,
                       const struct doctor_report *report)
{
    bool well = check_client(servers, provider, report);
    well = check_servers(servers, report) && well;
    if (well) {
        char found[100];
        snprintf(found, sizeof found, "%u servers, this client reaches them by %s", servers->count,
                 provider);
        report->finding(report->user, "cluster fabric", true, found, "");
    }
}

void doctor_cluster(const struct cli *cli, const struct doctor_report *report)
{
    struct cli_place place;
    struct servers servers = {0};
    struct pawl *pawl = NULL;
    struct pawl_cluster_info info;
    if (cli_place(cli, &place) != 0) {
        return; // no cluster is named: nothing to look at
    }
    const char *provider = place.provider[0] != '\0' ? place.provider : "tcp";
    struct pawl_options options = {.size = sizeof options,
                                   .master = place.master,
                                   .provider = provider,
                                   .deadline_ms = DOCTOR_CLUSTER_MS};
    int code = pawl_connect(&options, &pawl);
    code = code != 0 ? code : pawl_servers(pawl, &info, servers_add, &servers);
    if (code == 0) {
        check_list(&servers, provider, report);
    } else {
        char found[400];
        snprintf(found, sizeof found, "master at %s: %s", place.master, pawl_strerror(code));
        report->finding(report->user, "cluster", false, found,
                        "is it running? `pawl local status` for a local cluster");
    }
    pawl_close(pawl);
    free(servers.items);
}
