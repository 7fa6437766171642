// SPDX-License-Identifier: Apache-2.0
// local: a cluster on this machine: start, stop, status, kill, restart.
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/local/local.h"

#define STOP_MS 10000u
#define GONE_MS 60000u // a flush in the kernel keeps even a killed process

// ---- start --------------------------------------------------------------------------------------

struct live_count {
    uint32_t live;
};

static int count_live(void *user, const struct pawl_server_info *server)
{
    ((struct live_count *)user)->live += strcmp(server->state, "live") == 0;
    return 0;
}

// Waits until every server has registered, as long as any call may take.
static int wait_live(const struct cli *cli, const struct local_cluster *cluster)
{
    struct cli there = *cli;
    there.master = cluster->master;
    struct pawl *pawl;
    int code = cli_connect(&there, &pawl);
    if (code != 0) {
        return code;
    }
    uint64_t until_ms = pawl_clock_ms() + cli->deadline_ms;
    struct live_count count;
    do {
        count.live = 0;
        code = pawl_servers(pawl, NULL, count_live, &count);
        if (code == 0 && count.live < cluster->servers_count) {
            (void)pawl_poll(pawl, 50);
        }
    } while (count.live < cluster->servers_count && pawl_clock_ms() < until_ms);
    pawl_close(pawl);
    if (count.live < cluster->servers_count) {
        fprintf(stderr,
                "pawl: %u of %u chunk servers have registered; %s/cs*/log tells what the others "
                "are missing\n",
                count.live, cluster->servers_count, cluster->dir);
        return CLI_FAILED;
    }
    return 0;
}

static int spawn_one(const struct local_cluster *cluster, uint32_t i, const char *program)
{
    int code = local_spawn(cluster, i, program);
    if (code != 0) {
        char id[LOCAL_ID_MAX];
        local_id(i, id);
        fprintf(stderr, "pawl: starting %s: %s\n", id, pawl_strerror(code));
    }
    return code;
}

// 0 and "": not given.
struct start_options {
    uint32_t servers_count;
    uint32_t reactors_count;
    const char *route;
};

static int start_parse(int argc, char **argv, struct start_options *ret)
{
    static const struct option options[] = {{"servers", required_argument, NULL, 's'},
                                            {"reactors", required_argument, NULL, 'r'},
                                            {"route", required_argument, NULL, 'w'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'w') {
            ret->route = optarg;
            if (strcmp(optarg, "auto") != 0 && strcmp(optarg, "star") != 0 &&
                strcmp(optarg, "chain") != 0) {
                return cli_usage("local", "--route is auto, star or chain");
            }
            continue;
        }
        bool is_servers = option == 's';
        unsigned long max = is_servers ? LOCAL_SERVERS_MAX : LOCAL_REACTORS_MAX;
        char *end = NULL;
        unsigned long number = option == '?' ? 0 : strtoul(optarg, &end, 10);
        if (end == NULL || *end != '\0' || number == 0 || number > max) {
            return cli_usage("local", "--servers and --reactors need a number from 1 to 64");
        }
        *(is_servers ? &ret->servers_count : &ret->reactors_count) = (uint32_t)number;
    }
    return optind == argc ? CLI_OK
                          : cli_usage("local", "start takes no argument: %s", argv[optind]);
}

// Servers may be added; how many reactors they have is in their directories.
static int start_apply(struct local_cluster *cluster, bool is_new,
                       const struct start_options *options)
{
    if (options->servers_count != 0) {
        cluster->servers_count = options->servers_count;
    }
    if (options->reactors_count == 0) {
        return CLI_OK;
    }
    if (!is_new && options->reactors_count != PAWL_MAX(cluster->reactors_count, 1u)) {
        return cli_usage("local",
                         "the servers in %s have %u reactors each: another number needs "
                         "another directory",
                         cluster->dir, PAWL_MAX(cluster->reactors_count, 1u));
    }
    cluster->reactors_count = options->reactors_count;
    return CLI_OK;
}

static int start(struct cli *cli, int argc, char **argv)
{
    struct start_options options = {.route = ""};
    if (start_parse(argc, argv, &options) != CLI_OK) {
        return CLI_USAGE;
    }
    struct local_cluster cluster;
    struct pawl_config_error error;
    int code = local_load(cli->dir, &cluster, &error);
    bool is_new = code == PAWL_ENOTFOUND;
    if (code != 0 && !is_new) {
        fprintf(stderr, "pawl: %s\n", error.text);
    }
    if (is_new) {
        uint16_t port;
        code = local_free_port(&port);
        snprintf(cluster.master, sizeof cluster.master, "127.0.0.1:%u", code == 0 ? port : 0u);
        snprintf(cluster.provider, sizeof cluster.provider, "%s",
                 cli->provider != NULL ? cli->provider : "tcp");
        cluster.servers_count = 3;
    }
    if (code == 0 && start_apply(&cluster, is_new, &options) != CLI_OK) {
        return CLI_USAGE;
    }
    snprintf(cluster.route, sizeof cluster.route, "%s", options.route);
    code = code != 0 ? code : local_create(&cluster);
    if (code != 0) {
        return cli_fail(cli->dir, code);
    }
    for (uint32_t i = 0; code == 0 && i <= cluster.servers_count; i++) {
        code = spawn_one(&cluster, i, cli->program);
    }
    code = code != 0 ? CLI_FAILED : wait_live(cli, &cluster);
    if (code == 0 && !cli->json) {
        printf("master at %s and %u chunk servers (%s) run in %s\n", cluster.master,
               cluster.servers_count, cluster.provider, cluster.dir);
    }
    return code;
}

// ---- stop, kill, restart ------------------------------------------------------------------------

static int stop(const struct cli *cli, const struct local_cluster *cluster)
{
    int result = CLI_OK;
    // Chunk servers first: they flush while the master can still hear them.
    for (uint32_t i = cluster->servers_count + 1; i-- > 0;) {
        int code = local_signal(cluster, i, SIGTERM, STOP_MS);
        if (code == PAWL_EDEADLINE) {
            code = local_signal(cluster, i, SIGKILL, GONE_MS);
        }
        if (code != 0 && code != PAWL_ENOTFOUND) {
            result = cli_fail(cluster->dir, code);
        }
    }
    if (result == CLI_OK && !cli->json) {
        printf("stopped; data stays in %s\n", cluster->dir);
    }
    return result;
}

static int signal_parse(const char *text)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {{"KILL", SIGKILL}, {"TERM", SIGTERM}, {"STOP", SIGSTOP}, {"CONT", SIGCONT},
                 {"INT", SIGINT},   {"HUP", SIGHUP},   {"ABRT", SIGABRT}};
    const char *bare = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(names); i++) {
        if (strcasecmp(bare, names[i].name) == 0) {
            return names[i].number;
        }
    }
    char *end;
    long number = strtol(text, &end, 10);
    return end != text && *end == '\0' && number > 0 && number < 32 ? (int)number : -1;
}

static int kill_one(const struct local_cluster *cluster, int argc, char **argv)
{
    static const struct option options[] = {{"signal", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    int number = SIGKILL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        number = option == 's' ? signal_parse(optarg) : -1;
        if (number < 0) {
            return cli_usage("local", "--signal needs KILL, TERM, STOP, CONT, ... or a number");
        }
    }
    int i = optind < argc ? local_number(cluster, argv[optind]) : -1;
    if (i < 0 || optind + 1 != argc) {
        return cli_usage("local", "kill needs an id: master, cs1, cs2, ...");
    }
    int code = local_signal(cluster, (uint32_t)i, number, GONE_MS);
    return code == 0 ? CLI_OK : cli_fail(argv[optind], code);
}

static int restart_one(const struct cli *cli, const struct local_cluster *cluster, int argc,
                       char **argv)
{
    int i = argc == 2 ? local_number(cluster, argv[1]) : -1;
    if (i < 0) {
        return cli_usage("local", "restart needs an id: master, cs1, cs2, ...");
    }
    int code = local_signal(cluster, (uint32_t)i, SIGTERM, STOP_MS);
    if (code == PAWL_EDEADLINE) {
        code = local_signal(cluster, (uint32_t)i, SIGKILL, GONE_MS);
    }
    if (code != 0 && code != PAWL_ENOTFOUND) {
        return cli_fail(argv[1], code);
    }
    return spawn_one(cluster, (uint32_t)i, cli->program) == 0 ? CLI_OK : CLI_FAILED;
}

// ---- status -------------------------------------------------------------------------------------

struct status {
    struct pawl_server_info servers[LOCAL_SERVERS_MAX];
    uint32_t servers_count;
    bool reachable;
};

static int keep_server(void *user, const struct pawl_server_info *server)
{
    struct status *status = user;
    if (status->servers_count < LOCAL_SERVERS_MAX) {
        status->servers[status->servers_count++] = *server;
    }
    return 0;
}

static void ask_master(const struct local_cluster *cluster, struct status *status)
{
    struct pawl_options options = {
        .size = sizeof options, .master = cluster->master, .deadline_ms = 2000};
    struct pawl *pawl;
    if (local_pid(cluster, 0) == 0 || pawl_connect(&options, &pawl) != 0) {
        return;
    }
    status->reachable = pawl_servers(pawl, NULL, keep_server, status) == 0;
    pawl_close(pawl);
}

static const struct pawl_server_info *server_named(const struct status *status, const char *id)
{
    for (uint32_t i = 0; i < status->servers_count; i++) {
        if (strcmp(status->servers[i].name, id) == 0) {
            return &status->servers[i];
        }
    }
    return NULL;
}

static const char *state_of(const struct status *status, uint32_t i, pid_t pid,
                            const struct pawl_server_info *server)
{
    if (pid == 0) {
        return "stopped";
    }
    if (i == 0) {
        return status->reachable ? "live" : "not answering";
    }
    return server == NULL ? "not registered" : server->state;
}

static int show_status(const struct cli *cli, const struct local_cluster *cluster)
{
    static struct status status;
    json_t *array = json_array();
    ask_master(cluster, &status);
    for (uint32_t i = 0; i <= cluster->servers_count; i++) {
        char id[LOCAL_ID_MAX];
        char number[20] = "";
        local_id(i, id);
        pid_t pid = local_pid(cluster, i);
        const struct pawl_server_info *server = i == 0 ? NULL : server_named(&status, id);
        const char *state = state_of(&status, i, pid, server);
        const char *control = i == 0 ? cluster->master : "";
        const char *fabric = server == NULL ? "" : server->address;
        if (server != NULL) {
            snprintf(number, sizeof number, "%016llx", (unsigned long long)server->server_id);
        }
        if (!cli->json) {
            printf("%-8s %-13s pid %-8d %-14s %s%s\n", id, i == 0 ? "master" : "chunk server",
                   (int)pid, state, control, fabric);
        }
        json_array_append_new(array, json_pack("{s:s,s:s,s:i,s:s,s:s,s:{s:s,s:s}}", "id", id,
                                               "role", i == 0 ? "master" : "chunkd", "pid",
                                               (int)pid, "server_id", number, "state", state,
                                               "addresses", "control", control, "fabric", fabric));
    }
    if (cli->json) {
        json_t *root = json_pack("{s:s,s:s,s:O}", "dir", cluster->dir, "master", cluster->master,
                                 "processes", array);
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
    }
    json_decref(array);
    return CLI_OK;
}

static bool is_action(const char *what)
{
    return strcmp(what, "stop") == 0 || strcmp(what, "status") == 0 || strcmp(what, "kill") == 0 ||
           strcmp(what, "restart") == 0;
}

int cli_local(struct cli *cli, int argc, char **argv)
{
    if (argc < 2) {
        return cli_usage("local", "start, stop, status, kill or restart?");
    }
    const char *what = argv[1];
    if (strcmp(what, "start") == 0) {
        return start(cli, argc - 1, argv + 1);
    }
    if (argc != 2 && (strcmp(what, "stop") == 0 || strcmp(what, "status") == 0)) {
        return cli_usage("local", "%s takes no argument: %s", what, argv[2]);
    }
    if (!is_action(what)) {
        return cli_usage("local", "no such action: %s", what);
    }
    struct local_cluster cluster;
    struct pawl_config_error error;
    int code = local_load(cli->dir, &cluster, &error);
    if (code != 0 && code != PAWL_ENOTFOUND) {
        fprintf(stderr, "pawl: %s\n", error.text);
    }
    if (code == PAWL_ENOTFOUND) {
        fprintf(stderr, "pawl: no cluster in %s; `pawl local start` makes one\n", cli->dir);
        return CLI_UNREACHABLE;
    }
    if (code != 0) {
        return cli_fail(cli->dir, code);
    }
    if (strcmp(what, "stop") == 0) {
        return stop(cli, &cluster);
    }
    if (strcmp(what, "status") == 0) {
        return show_status(cli, &cluster);
    }
    if (strcmp(what, "kill") == 0) {
        return kill_one(&cluster, argc - 1, argv + 1);
    }
    return restart_one(cli, &cluster, argc - 1, argv + 1);
}
