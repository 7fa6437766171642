// SPDX-License-Identifier: Apache-2.0
// What verbs share: connecting, messages, sizes, server names.
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/local/local.h"

static const char *hint_of(int code)
{
    switch (code) {
    case PAWL_EDEADLINE:
    case PAWL_EDISCONNECTED:
        return "is the cluster running? `pawl local status`, `pawl servers`, `pawl doctor`";
    case PAWL_ENOSERVERS:
        return "`pawl servers` shows who is missing; start them again or lower min_replicas";
    case PAWL_ENOSPACE:
        return "`pawl servers` shows the space; remove files or raise space_limit";
    case PAWL_EUNKNOWN:
        return "run the same command again: nothing is stored twice";
    case PAWL_EDAMAGED:
        return "`pawl stat` shows the chunk's replicas; bring servers back that are down";
    case PAWL_EEXISTS:
        return "choose another name or remove it first";
    case PAWL_EPROVIDER:
        return "`pawl servers` shows what each server offers: choose it by --provider, or add to "
               "`fabrics:` of its configuration what you have";
    case -ENODATA:
        return "is the libfabric provider there? `pawl doctor` tells";
    case PAWL_EPASTEND:
        return "`pawl extend PATH BYTES` adds zeros at the end";
    case PAWL_ENOTEMPTY:
        return "`pawl rm -r` removes a directory with all below it";
    default:
        return NULL;
    }
}

static int exit_of(int code)
{
    switch (code) {
    case PAWL_EDEADLINE:
    case PAWL_EDISCONNECTED:
    case PAWL_ENOSERVERS:
        return CLI_UNREACHABLE;
    case PAWL_EUNKNOWN:
        return CLI_UNKNOWN;
    case PAWL_EDAMAGED:
    case PAWL_ECORRUPT:
        return CLI_DAMAGED;
    case PAWL_EINVALID:
        return CLI_USAGE;
    default:
        return CLI_FAILED;
    }
}

int cli_fail(const char *what, int code)
{
    return cli_fail_with(what, code, hint_of(code));
}

int cli_fail_with(const char *what, int code, const char *hint)
{
    fprintf(stderr, "pawl: %s: %s\n", what, pawl_strerror(code));
    if (hint != NULL) {
        fprintf(stderr, "      %s\n", hint);
    }
    return exit_of(code);
}

int cli_usage(const char *verb, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "pawl %s: ", verb);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n      `pawl %s --help` tells more\n", verb);
    va_end(arguments);
    return CLI_USAGE;
}

// By a cluster.yaml alone; says what is wrong with it.
static int local_place(const struct cli *cli, struct cli_place *ret)
{
    struct local_cluster cluster = {0};
    struct pawl_config_error error;
    const char *config = getenv("PAWL_CONFIG");
    int code = !cli->dir_given && config != NULL ? local_load_file(config, &cluster, &error)
                                                 : local_load(cli->dir, &cluster, &error);
    if (code != 0 && code != PAWL_ENOTFOUND) {
        fprintf(stderr, "pawl: %s\n", error.text);
    }
    if (code == 0) {
        snprintf(ret->master, sizeof ret->master, "%s", cluster.master);
        snprintf(ret->provider, sizeof ret->provider, "%s", cluster.provider);
    }
    return code;
}

int cli_place(const struct cli *cli, struct cli_place *ret)
{
    int code = 0;
    *ret = (struct cli_place){0};
    if (cli->master == NULL) {
        code = local_place(cli, ret);
    } else if (snprintf(ret->master, sizeof ret->master, "%s", cli->master) >=
               (int)sizeof ret->master) {
        code = PAWL_EINVALID;
    }
    if (code == 0 && cli->provider != NULL &&
        snprintf(ret->provider, sizeof ret->provider, "%s", cli->provider) >=
            (int)sizeof ret->provider) {
        code = PAWL_EINVALID;
    }
    return code;
}

int cli_connect(const struct cli *cli, struct pawl **ret)
{
    struct cli_place place;
    int code = cli_place(cli, &place);
    if (code != 0 && code != PAWL_ENOTFOUND) {
        return cli->master != NULL ? cli_fail("--master or --provider", code)
                                   : CLI_UNREACHABLE; // said already
    }
    if (code != 0) {
        fprintf(stderr,
                "pawl: no cluster found in %s\n"
                "      start one with `pawl local start`, or name one with --master HOST:PORT, "
                "--dir DIR or PAWL_CONFIG\n",
                cli->dir);
        return CLI_UNREACHABLE;
    }
    struct pawl_options options = {.size = sizeof options,
                                   .master = place.master,
                                   .provider = place.provider[0] != '\0' ? place.provider : NULL,
                                   .fabric_host = cli->fabric_host,
                                   .deadline_ms = cli->deadline_ms};
    code = pawl_connect(&options, ret);
    if (code != 0) {
        char what[400];
        snprintf(what, sizeof what, "connecting to the master at %s", place.master);
        return cli_fail(what, code);
    }
    return 0;
}

const char *cli_bytes_text(uint64_t bytes, char *buffer, size_t buffer_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < PAWL_ARRAY_COUNT(units)) {
        value /= 1024.0;
        unit++;
    }
    snprintf(buffer, buffer_bytes, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return buffer;
}

json_t *cli_json_text(const char *text)
{
    json_t *string = json_string(text);
    char *plain = string == NULL ? strdup(text) : NULL;
    for (char *at = plain; at != NULL && *at != '\0'; at++) {
        *at = (unsigned char)*at < 0x80 ? *at : '?';
    }
    string = plain == NULL ? string : json_string(plain);
    free(plain);
    return string;
}

struct server_search {
    const char *name;
    uint64_t number;
    uint64_t found;
};

static int match_server(void *user, const struct pawl_server_info *server)
{
    struct server_search *search = user;
    if (strcmp(server->name, search->name) == 0 ||
        (search->number != 0 && server->server_id == search->number)) {
        search->found = server->server_id;
        return 1;
    }
    return 0;
}

int cli_server_find(struct pawl *pawl, const char *name, uint64_t *ret)
{
    char *end;
    struct server_search search = {.name = name, .number = strtoull(name, &end, 16)};
    search.number = *end == '\0' ? search.number : 0;
    int code = pawl_servers(pawl, NULL, match_server, &search);
    if (code < 0) {
        return code;
    }
    if (search.found == 0) {
        fprintf(stderr, "pawl: no chunk server %s; `pawl servers` lists them\n", name);
        return PAWL_ENOTFOUND;
    }
    *ret = search.found;
    return 0;
}
