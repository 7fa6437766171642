// SPDX-License-Identifier: Apache-2.0
// pawl: the command line's entry: options before the verb, the table of verbs, help.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"

static const struct cli_verb verbs[] = {
    {"local", "start|stop|status|kill ID|restart ID", "run a cluster on this machine",
     "  start [--servers N]   start a master and N chunk servers (3), or those that are down\n"
     "    --reactors N        reactors of each chunk server, when the cluster is made (1)\n"
     "    --route R           of large payloads, when a server is made: auto, star, chain\n"
     "  stop                  stop all; data stays\n"
     "  status                every process with role, pid, address and state\n"
     "  kill ID [--signal S]  send a signal (KILL) to master, cs1, cs2, ...\n"
     "  restart ID            start it (again)\n"
     "The directory is that of --dir; default ~/.local/share/pawl/local.\n",
     cli_local},
    {"put", "[OPTIONS] SOURCE DEST", "store a local file (or - for standard input)",
     "  --record-bytes N   bytes a record (1MiB)\n"
     "  --chunk-bytes N    chunk size of a new file (64MiB)\n"
     "  --replicas N       copies of a new file (3)\n"
     "  --depth N          records in flight (16)\n"
     "  --progress-file F  add lines \"acknowledged total\" to F\n"
     "Interrupted? Run it again: it goes on where it stopped and stores nothing twice.\n",
     cli_put},
    {"get", "[OPTIONS] PATH LOCAL", "fetch a file (LOCAL - for standard output)",
     "  --offset N --length N   a part of it\n"
     "  --server NAME           from this chunk server only\n",
     cli_get},
    {"append", "[OPTIONS] PATH [SOURCE]", "add records from a file or standard input",
     "  --lines            a record for each line\n"
     "  --record-bytes N   otherwise so many bytes a record (1MiB)\n"
     "  --producer NAME    a named producer: run again, it skips what is stored\n"
     "  --ack LEVEL        durable: each record on every disk before the next one; replicated: in\n"
     "                     every memory, and all on every disk at the end (durable)\n",
     cli_append},
    {"write", "--offset N PATH [SOURCE]", "write bytes over those that a file has",
     "  --offset N         where; the bytes must be there (see extend)\n"
     "Writes at most 1 MiB at a time, each whole or not at all on each chunk.\n",
     cli_write},
    {"extend", "PATH BYTES", "add zeros until a file has so many bytes",
     "Appends go on behind them. They take no space until they are written to.\n", cli_extend},
    {"cat", "[OPTIONS] PATH", "write a file to standard output",
     "  --offset N --length N   a part of it\n"
     "  --server NAME           from this chunk server only\n",
     cli_cat},
    {"ls", "[-l] [PATH]", "list a directory", "  -l   replicas, chunks, bytes, time of change\n",
     cli_ls},
    {"stat", "[--quick] PATH", "a file's chunks, replicas, versions and leases",
     "  --quick   ask the master alone: the open tail's length stays unknown\n", cli_stat},
    {"mkdir", "[-p] PATH...", "make directories", "  -p   parents too\n", cli_mkdir},
    {"mv", "FROM TO", "rename; appends under way follow the file", "", cli_mv},
    {"rm", "[-r] PATH...", "remove files", "  -r   directories with all below them\n", cli_rm},
    {"servers", "", "chunk servers with state, space and load", "", cli_servers},
    {"doctor", "", "check this machine: fabric, memory, disk, kernel", "", cli_doctor},
};

const struct cli_verb *cli_verb_find(const char *name)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

static void help(FILE *out)
{
    fputs("usage: pawl [OPTIONS] VERB ...\n\n"
          "Pawl stores append-first files in several copies, each record exactly once.\n\n",
          out);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(verbs); i++) {
        fprintf(out, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    }
    fputs(
        "\noptions, before or behind the verb:\n"
        "  --dir DIR           directory of a local cluster (~/.local/share/pawl/local)\n"
        "  --master HOST:PORT  master of another cluster; also `master:` in the file that\n"
        "                      PAWL_CONFIG names\n"
        "  --provider NAME     libfabric provider (tcp)\n"
        "  --fabric-host ADDR  own address for the data: with verbs it picks the device\n"
        "  --timeout SECONDS   deadline of each operation (30)\n"
        "  --json              JSON output\n"
        "  --verbose           say more on standard error\n"
        "  --help, --version\n"
        "\nexit codes: 0 done; 1 failed; 2 usage; 3 cluster out of reach; 4 outcome unknown, run\n"
        "it again; 5 data damaged on every replica\n"
        "`pawl VERB --help` tells more.\n",
        out);
}

static void help_verb(const struct cli_verb *verb)
{
    printf("usage: pawl %s %s\n%s\n%s", verb->name, verb->arguments, verb->summary, verb->help);
}

static void set_default_dir(struct cli *cli)
{
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (data != NULL && data[0] == '/') {
        snprintf(cli->dir, sizeof cli->dir, "%s/pawl/local", data);
    } else {
        snprintf(cli->dir, sizeof cli->dir, "%s/.local/share/pawl/local",
                 home != NULL ? home : "/tmp");
    }
}

enum { OPTION_DIR = 1, OPTION_MASTER, OPTION_PROVIDER, OPTION_FABRIC_HOST, OPTION_TIMEOUT };

static const struct {
    const char *name;
    int option;
} valued[] = {{"--dir", OPTION_DIR},
              {"--master", OPTION_MASTER},
              {"--provider", OPTION_PROVIDER},
              {"--fabric-host", OPTION_FABRIC_HOST},
              {"--timeout", OPTION_TIMEOUT}};

// Absolute, since daemons keep it in their configuration.
static int set_dir(struct cli *cli, const char *value)
{
    char here[PATH_MAX];
    int length;
    if (value[0] == '/') {
        length = snprintf(cli->dir, sizeof cli->dir, "%s", value);
    } else if (getcwd(here, sizeof here) != NULL) {
        length = snprintf(cli->dir, sizeof cli->dir, "%s/%s", here, value);
    } else {
        return -errno;
    }
    return length < (int)sizeof cli->dir ? 0 : PAWL_EINVALID;
}

static int set_option(struct cli *cli, int option, const char *value)
{
    char *end;
    double seconds;
    switch (option) {
    case OPTION_DIR:
        cli->dir_given = true;
        return set_dir(cli, value);
    case OPTION_MASTER:
        cli->master = value;
        return 0;
    case OPTION_PROVIDER:
        cli->provider = value;
        return 0;
    case OPTION_FABRIC_HOST:
        cli->fabric_host = value;
        return *value != '\0' ? 0 : PAWL_EINVALID;
    default:
        seconds = strtod(value, &end);
        if (end == value || *end != '\0' || !(seconds > 0 && seconds < 86400)) {
            return PAWL_EINVALID;
        }
        cli->deadline_ms = (uint32_t)(seconds * 1000.0) + 1;
        return 0;
    }
}

// Takes argv[*i] when it is an option that all verbs share. 1: taken, 0: not one, -1: wrong.
static int take_common(struct cli *cli, int argc, char **argv, int *i)
{
    if (strcmp(argv[*i], "--json") == 0) {
        cli->json = true;
        return 1;
    }
    if (strcmp(argv[*i], "--verbose") == 0) {
        pawl_log_init(PAWL_LOG_DEBUG, STDERR_FILENO);
        return 1;
    }
    for (size_t k = 0; k < PAWL_ARRAY_COUNT(valued); k++) {
        size_t length = strlen(valued[k].name);
        if (strncmp(argv[*i], valued[k].name, length) != 0) {
            continue;
        }
        const char *value = NULL;
        if (argv[*i][length] == '=') {
            value = argv[*i] + length + 1;
        } else if (argv[*i][length] == '\0' && *i + 1 < argc) {
            value = argv[++*i];
        }
        if (value == NULL || set_option(cli, valued[k].option, value) != 0) {
            fprintf(stderr, "pawl: %s needs a good value\n", valued[k].name);
            return -1;
        }
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static char program[PATH_MAX];
    struct cli cli = {.program = program, .deadline_ms = 30000};
    const struct cli_verb *verb = NULL;
    char *rest[256];
    int rest_count = 0;
    bool want_help = argc == 1;
    set_default_dir(&cli);
    pawl_log_init(PAWL_LOG_WARN, STDERR_FILENO);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    program[length > 0 ? length : 0] = '\0';
    bool only_arguments = false; // behind --
    for (int i = 1; i < argc; i++) {
        int taken = only_arguments ? 0 : take_common(&cli, argc, argv, &i);
        if (taken < 0) {
            return CLI_USAGE;
        }
        only_arguments = only_arguments || strcmp(argv[i], "--") == 0;
        if (taken > 0) {
            continue;
        }
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            want_help = true;
        } else if (verb == NULL && strcmp(argv[i], "--version") == 0) {
            printf("pawl %s\n", pawl_version());
            return CLI_OK;
        } else if (verb == NULL) {
            verb = cli_verb_find(argv[i]);
            if (verb == NULL) {
                fprintf(stderr, "pawl: no verb %s; `pawl --help` lists them\n", argv[i]);
                return CLI_USAGE;
            }
            rest[rest_count++] = argv[i];
        } else if (rest_count < (int)PAWL_ARRAY_COUNT(rest) - 1) {
            rest[rest_count++] = argv[i];
        } else {
            return cli_usage(verb->name, "too many arguments");
        }
    }
    rest[rest_count] = NULL;
    if (want_help) {
        verb == NULL ? help(stdout) : help_verb(verb);
        return CLI_OK;
    }
    if (verb == NULL) {
        help(stderr);
        return CLI_USAGE;
    }
    optind = 1;
    int result = verb->run(&cli, rest_count, rest);
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && result == CLI_OK) {
        return cli_fail("standard output", -errno);
    }
    return result;
}
