// SPDX-License-Identifier: Apache-2.0
// The command line: what all verbs share. One file per verb; main.c has the table.
#ifndef PAWL_CLI_CLI_H
#define PAWL_CLI_CLI_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/util.h"
#include <pawl/pawl.h>

// Exit codes; documented in `pawl --help`.
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_UNREACHABLE = 3, // no cluster there, or it did not answer in time
    CLI_UNKNOWN = 4,     // outcome unknown: run the same command again
    CLI_DAMAGED = 5,     // data failed its checksums on every replica
};

// What the options before the verb said.
struct cli {
    const char *program; // path of this program, to find the daemons beside it
    char dir[PATH_MAX];  // of the local cluster
    bool dir_given;
    const char *master;      // --master host:port, or NULL
    const char *provider;    // --provider, or NULL
    const char *fabric_host; // --fabric-host, or NULL
    uint32_t deadline_ms;
    bool json;
};

struct cli_verb {
    const char *name;
    const char *arguments; // for the usage line
    const char *summary;
    const char *help; // options, examples
    int (*run)(struct cli *cli, int argc, char **argv);
};

// argv[0] is the verb's name in all of these.
int cli_append(struct cli *cli, int argc, char **argv);
int cli_cat(struct cli *cli, int argc, char **argv);
int cli_doctor(struct cli *cli, int argc, char **argv);
int cli_extend(struct cli *cli, int argc, char **argv);
int cli_get(struct cli *cli, int argc, char **argv);
int cli_local(struct cli *cli, int argc, char **argv);
int cli_ls(struct cli *cli, int argc, char **argv);
int cli_mkdir(struct cli *cli, int argc, char **argv);
int cli_mv(struct cli *cli, int argc, char **argv);
int cli_put(struct cli *cli, int argc, char **argv);
int cli_rm(struct cli *cli, int argc, char **argv);
int cli_servers(struct cli *cli, int argc, char **argv);
int cli_stat(struct cli *cli, int argc, char **argv);
int cli_write(struct cli *cli, int argc, char **argv);

// The verb's entry in the table, by name; NULL if there is none.
const struct cli_verb *cli_verb_find(const char *name);

// Connects to the cluster that the options, PAWL_CONFIG or the default place name. Prints what is
// wrong and returns an exit code, or 0.
int cli_connect(const struct cli *cli, struct pawl **ret) PAWL_MUST_CHECK;

// Prints "pawl VERB: WHAT: text of code" with a hint for codes that have one; returns the exit code.
int cli_fail(const char *what, int code);
// The same with another hint; NULL: none.
int cli_fail_with(const char *what, int code, const char *hint);
// Prints a message and returns CLI_USAGE.
int cli_usage(const char *verb, const char *format, ...) PAWL_PRINTF(2, 3);

// "1.5 GiB" into buffer.
const char *cli_bytes_text(uint64_t bytes, char *buffer, size_t buffer_bytes);
// A JSON string of any bytes: what is no UTF-8 shows as '?'.
json_t *cli_json_text(const char *text);
// Server id of a name like "cs1" (or a number in hexadecimal). PAWL_ENOTFOUND, and says so.
int cli_server_find(struct pawl *pawl, const char *name, uint64_t *ret) PAWL_MUST_CHECK;

// How a cluster is reached.
struct cli_place {
    char master[272];
    char provider[32]; // "": the library's default
};
// By the options, PAWL_CONFIG or the default place, without a word. PAWL_ENOTFOUND: none is named.
int cli_place(const struct cli *cli, struct cli_place *ret) PAWL_MUST_CHECK;

// ---- progress: a bar on a terminal, a file for scripts ------------------------------------------

struct cli_progress {
    const char *label;
    uint64_t total_bytes;
    uint64_t begin_bytes; // done before this run
    uint64_t begin_ns;
    uint64_t shown_ns;
    bool terminal;
    FILE *file; // lines "done total"; NULL: none
};
// `file_path` may be NULL. Prints nothing unless stderr is a terminal.
int cli_progress_begin(struct cli_progress *progress, const char *label, uint64_t begin_bytes,
                       uint64_t total_bytes, const char *file_path) PAWL_MUST_CHECK;
void cli_progress_show(struct cli_progress *progress, uint64_t done_bytes);
void cli_progress_end(struct cli_progress *progress, uint64_t done_bytes);

#endif
