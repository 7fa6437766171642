// SPDX-License-Identifier: Apache-2.0
// What pawl-perf was asked to do: the one table of verbs and options, and its strict parser.
//
// The parser does no I/O: what is wrong comes back as a text that names the option and what would be
// right. Any thread.
#ifndef PAWL_PERF_OPTIONS_H
#define PAWL_PERF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/util.h"

#define PERF_CLIENTS_MAX 256u
#define PERF_FILES_MAX 1024u
#define PERF_DEPTH_MAX 4096u
#define PERF_LANES_MAX 1024u // threads of a run
#define PERF_REPEAT_MAX 100u
#define PERF_RECORD_MAX (UINT64_C(16) << 20)

enum perf_verb {
    PERF_APPEND,
    PERF_READ,
    PERF_WRITE,
    PERF_PUSH,
    PERF_META,
    PERF_MIXED,
    PERF_FAILOVER,
    PERF_REPORT,
    PERF_VERBS_COUNT
};

// What operations a figure may be of.
enum perf_kind {
    PERF_KIND_APPEND,
    PERF_KIND_READ,
    PERF_KIND_WRITE,
    PERF_KIND_STAT,
    PERF_KIND_CREATE,
    PERF_KIND_REMOVE,
    PERF_KIND_PUSH,
    PERF_KINDS_COUNT
};

// Texts are BORROWED from argv.
struct perf_options {
    enum perf_verb verb;
    uint64_t bytes; // of one operation
    uint64_t depth; // operations in flight of a client
    uint64_t clients;
    uint64_t files;
    uint64_t replicas;
    uint64_t servers;
    uint64_t duration_ms;
    uint64_t warm_up_ms;
    uint64_t rate_per_s; // of all clients together; 0: closed loop
    bool rate_half;      // half of the peak, which is measured first
    uint64_t ops;        // stop after so many; 0: by time alone
    uint64_t repeat;
    uint64_t settle;     // rounds before them, which are not counted
    uint64_t timeout_ms; // of every operation
    uint64_t file_bytes; // of files that are written before they are measured
    uint64_t record_bytes;
    uint64_t chunk_bytes;
    uint64_t mix[PERF_KINDS_COUNT]; // percent
    const char *ack;
    const char *cluster; // directory of a cluster that runs; NULL: an own one
    const char *dir;     // where the own one lies
    const char *provider;
    const char *route;
    const char *suite;
    const char *output;
    bool keep;
    bool roofline;
    bool duties;
    bool unregistered;
    bool json;
    bool help;
    uint64_t given; // bit for each entry of the table, in its order
};

struct perf_options_error {
    char text[512]; // one line, without a newline
};

// argv[1] is the verb. 0 with *ret filled; PAWL_EINVALID with ret_error. With --help the rest may be
// missing: ret->help is set; ret->verb is PERF_VERBS_COUNT when none was named.
int perf_options_parse(int argc, char **argv, struct perf_options *ret,
                       struct perf_options_error *ret_error) PAWL_MUST_CHECK;

// The settings of a verb when nothing was said.
void perf_options_default(enum perf_verb verb, struct perf_options *ret);

// What can't be checked option by option. 0 or PAWL_EINVALID with ret_error.
int perf_options_check(const struct perf_options *options,
                       struct perf_options_error *ret_error) PAWL_MUST_CHECK;

bool perf_options_was_given(const struct perf_options *options, const char *name);

// False: a failover of one record at a time. With any option of a load it is one under load.
bool perf_options_is_load(const struct perf_options *options);

const char *perf_verb_name(enum perf_verb verb);
const char *perf_kind_name(enum perf_kind kind);

// verb PERF_VERBS_COUNT: of the program.
void perf_options_help(FILE *out, enum perf_verb verb);

#endif
