// SPDX-License-Identifier: Apache-2.0
// get and cat: reading a file, whole or in part, to a local file or to standard output.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "cli/cli.h"
#include "cli/stream.h"

struct get {
    struct pawl *pawl;
    struct pawl_file *file;
    const char *verb;
    const char *source;
    const char *target; // "-": standard output
    const char *server; // read this replica only
    bool said;          // the error has its message already
    struct stream stream;
    struct cli_progress progress;
};

static void show_progress(void *user, uint64_t got)
{
    struct get *get = user;
    cli_progress_show(&get->progress, got);
}

static int copy(struct get *get, int fd)
{
    get->stream.fd = fd;
    return stream_copy(&get->stream);
}

// A device, a pipe: nothing that could be replaced.
static int copy_into(struct get *get)
{
    int fd = open(get->target, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int code = copy(get, fd);
    if (close(fd) != 0 && code == 0) {
        code = -errno;
    }
    return code;
}

// A local file appears under its name only when it is whole. One that is there keeps its mode.
static int copy_to_file(struct get *get)
{
    char part[PATH_MAX];
    struct stat there;
    bool replaces = stat(get->target, &there) == 0;
    if (replaces && !S_ISREG(there.st_mode)) {
        return S_ISDIR(there.st_mode) ? -EISDIR : copy_into(get);
    }
    if (snprintf(part, sizeof part, "%s.part", get->target) >= (int)sizeof part) {
        return -ENAMETOOLONG;
    }
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    int fd = open(part, flags | O_DIRECT, 0666);
    if (fd < 0 && errno == EINVAL) { // a file system without it
        fd = open(part, flags, 0666);
    }
    if (fd < 0) {
        return -errno;
    }
    int code = replaces && fchmod(fd, there.st_mode & 07777) != 0 ? -errno : 0;
    code = code != 0 ? code : copy(get, fd);
    if (code == 0 && fsync(fd) != 0) {
        code = -errno;
    }
    if (close(fd) != 0 && code == 0) {
        code = -errno;
    }
    if (code == 0 && rename(part, get->target) != 0) {
        code = -errno;
    }
    if (code != 0) {
        unlink(part);
    }
    return code;
}

static void report(const struct cli *cli, const struct get *get, double seconds)
{
    struct pawl_counters counters;
    pawl_counters(get->file, &counters);
    double rate = seconds > 0 ? (double)get->stream.got / seconds : 0;
    char size[32];
    char per_second[32];
    if (cli->json) {
        json_t *root = json_pack("{s:o,s:o,s:I,s:f,s:f,s:I}", "path", cli_json_text(get->source),
                                 "target", cli_json_text(get->target), "bytes",
                                 (json_int_t)get->stream.got, "seconds", seconds, "bytes_per_s",
                                 rate, "failovers", (json_int_t)counters.read_failovers_count);
        json_dumpf(root, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(root);
    } else {
        printf("%s: %s in %.2f s (%s/s), %llu replicas left for another one\n", get->target,
               cli_bytes_text(get->stream.got, size, sizeof size), seconds,
               cli_bytes_text((uint64_t)rate, per_second, sizeof per_second),
               (unsigned long long)counters.read_failovers_count);
    }
}

static int run(const struct cli *cli, struct get *get)
{
    uint64_t total = 0;
    int code = pawl_open(get->pawl, get->source, &get->file);
    if (code == 0 && get->server != NULL) {
        code = cli_server_find(get->pawl, get->server, &get->stream.read.server_id);
        get->said = code == PAWL_ENOTFOUND;
        get->stream.read.only_that = true;
    }
    if (code == 0 && strcmp(get->target, "-") != 0 && isatty(STDERR_FILENO) == 1) {
        code = pawl_file_bytes(get->file, &total); // for the bar only
        total -= PAWL_MIN(total, get->stream.offset);
        total = PAWL_MIN(total, get->stream.bytes);
    }
    get->stream.pawl = get->pawl;
    get->stream.file = get->file;
    get->stream.progress = show_progress;
    get->stream.user = get;
    code = code != 0 ? code : stream_init(&get->stream);
    code = code != 0 ? code : cli_progress_begin(&get->progress, get->verb, 0, total, NULL);
    if (code == 0) {
        bool out = strcmp(get->target, "-") == 0;
        get->progress.terminal = get->progress.terminal && !out;
        uint64_t begin_ns = pawl_clock_ns();
        code = out ? copy(get, STDOUT_FILENO) : copy_to_file(get);
        cli_progress_end(&get->progress, get->stream.got);
        if (code == 0 && !out) {
            report(cli, get, (double)(pawl_clock_ns() - begin_ns) / 1e9);
        }
    }
    pawl_file_close(get->file); // which ends reads that are under way
    stream_fini(&get->stream);
    return code;
}

static int parse(struct get *get, int argc, char **argv)
{
    static const struct option options[] = {{"offset", required_argument, NULL, 'o'},
                                            {"length", required_argument, NULL, 'l'},
                                            {"server", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's') {
            get->server = optarg;
        } else if (option == '?' ||
                   pawl_config_bytes(optarg, option == 'o' ? &get->stream.offset
                                                           : &get->stream.bytes) != 0) {
            return cli_usage(get->verb, "bad option or value");
        }
    }
    return 0;
}

static int connect_and_run(struct cli *cli, struct get *get)
{
    int code = cli_connect(cli, &get->pawl);
    if (code != 0) {
        return code;
    }
    code = run(cli, get);
    pawl_close(get->pawl);
    if (get->said) {
        return CLI_FAILED;
    }
    bool local = code > PAWL_ESTALE; // an errno: most likely of writing
    const char *what = strcmp(get->target, "-") == 0 ? "standard output" : get->target;
    return code == 0 ? CLI_OK : cli_fail(local ? what : get->source, code);
}

int cli_get(struct cli *cli, int argc, char **argv)
{
    struct get get = {
        .verb = "get", .stream.bytes = UINT64_MAX, .stream.read.size = sizeof get.stream.read};
    int code = parse(&get, argc, argv);
    if (code != 0) {
        return code;
    }
    if (argc - optind != 2) {
        return cli_usage("get", "needs PATH and LOCAL (or - for standard output)");
    }
    get.source = argv[optind];
    get.target = argv[optind + 1];
    return connect_and_run(cli, &get);
}

int cli_cat(struct cli *cli, int argc, char **argv)
{
    struct get get = {.verb = "cat",
                      .target = "-",
                      .stream.bytes = UINT64_MAX,
                      .stream.read.size = sizeof get.stream.read};
    int code = parse(&get, argc, argv);
    if (code != 0) {
        return code;
    }
    if (argc - optind != 1) {
        return cli_usage("cat", "needs one PATH");
    }
    get.source = argv[optind];
    return connect_and_run(cli, &get);
}
