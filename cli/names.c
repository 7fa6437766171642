// SPDX-License-Identifier: Apache-2.0
// Verbs on names: ls, mkdir, mv, rm.
#include <getopt.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"

struct ls_state {
    bool listing; // -l
    json_t *array;
};

static json_t *entry_json(const char *name, const struct pawl_stat *stat)
{
    return json_pack("{s:o,s:s,s:I,s:b,s:I,s:i,s:i,s:I,s:I}", "name", cli_json_text(name), "type",
                     stat->directory ? "directory" : "file", "bytes", (json_int_t)stat->bytes,
                     "bytes_are_lower_bound", stat->tail_unknown, "chunk_bytes",
                     (json_int_t)stat->chunk_bytes, "chunks", (int)stat->chunks_count, "replicas",
                     (int)stat->replicas, "created_ms", (json_int_t)stat->created_ms, "modified_ms",
                     (json_int_t)stat->modified_ms);
}

static void print_long(const char *name, const struct pawl_stat *stat)
{
    char when[32] = "-";
    time_t seconds = (time_t)(stat->modified_ms / 1000);
    struct tm parts;
    if (localtime_r(&seconds, &parts) != NULL) {
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &parts);
    }
    printf("%c %2u/%u %6u chunks %s%14llu  %s  %s%s\n", stat->directory ? 'd' : '-', stat->replicas,
           stat->min_replicas, stat->chunks_count, stat->tail_unknown ? ">=" : "  ",
           (unsigned long long)stat->bytes, when, name, stat->directory ? "/" : "");
}

static int show_entry(void *user, const struct pawl_entry *entry)
{
    struct ls_state *state = user;
    if (state->array != NULL) {
        json_array_append_new(state->array, entry_json(entry->name, &entry->stat));
    } else if (state->listing) {
        print_long(entry->name, &entry->stat);
    } else {
        printf("%s%s\n", entry->name, entry->stat.directory ? "/" : "");
    }
    return 0;
}

static int ls_path(struct pawl *pawl, const char *path, struct ls_state *state)
{
    struct pawl_stat stat;
    int code = pawl_stat(pawl, path, &stat);
    if (code != 0) {
        return code;
    }
    if (stat.directory) {
        return pawl_list(pawl, path, show_entry, state);
    }
    struct pawl_entry entry = {.name = path, .stat = stat};
    return show_entry(state, &entry);
}

int cli_ls(struct cli *cli, int argc, char **argv)
{
    struct ls_state state = {0};
    int option;
    while ((option = getopt(argc, argv, "l")) != -1) {
        if (option != 'l') {
            return cli_usage("ls", "unknown option");
        }
        state.listing = true;
    }
    if (argc - optind > 1) {
        return cli_usage("ls", "one path at most");
    }
    const char *path = optind < argc ? argv[optind] : "/";
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    state.array = cli->json ? json_array() : NULL;
    code = ls_path(pawl, path, &state);
    if (state.array != NULL && code == 0) {
        json_dumpf(state.array, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(state.array);
    pawl_close(pawl);
    return code == 0 ? CLI_OK : cli_fail(path, code);
}

// A verb that takes any number of paths and at most one option, a letter that stands for a flag.
static int each_path(struct cli *cli, int argc, char **argv, char letter, unsigned flag,
                     int (*act)(struct pawl *pawl, const char *path, unsigned flags))
{
    const char letters[] = {letter, '\0'};
    unsigned flags = 0;
    int option;
    while ((option = getopt(argc, argv, letters)) != -1) {
        if (option != letter) {
            return cli_usage(argv[0], "unknown option");
        }
        flags = flag;
    }
    if (optind == argc) {
        return cli_usage(argv[0], "needs a PATH");
    }
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    int result = CLI_OK;
    for (int i = optind; i < argc; i++) {
        code = act(pawl, argv[i], flags);
        result = code == 0 ? result : cli_fail(argv[i], code);
    }
    pawl_close(pawl);
    return result;
}

int cli_mkdir(struct cli *cli, int argc, char **argv)
{
    return each_path(cli, argc, argv, 'p', PAWL_PARENTS, pawl_mkdir);
}

int cli_rm(struct cli *cli, int argc, char **argv)
{
    return each_path(cli, argc, argv, 'r', PAWL_RECURSIVE, pawl_remove);
}

int cli_mv(struct cli *cli, int argc, char **argv)
{
    if (getopt(argc, argv, "") != -1) {
        return cli_usage("mv", "unknown option");
    }
    if (argc - optind != 2) {
        return cli_usage("mv", "needs FROM and TO");
    }
    const char *from = argv[optind];
    const char *to = argv[optind + 1];
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    code = pawl_rename(pawl, from, to);
    pawl_close(pawl);
    if (code == PAWL_EUNKNOWN) {
        return cli_fail_with(from, code, "`pawl ls` shows which of the names is there");
    }
    return code == 0 ? CLI_OK : cli_fail(code == PAWL_EEXISTS ? to : from, code);
}
