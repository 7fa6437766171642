// SPDX-License-Identifier: Apache-2.0
// pawl-golden: scenarios of the protocol, in virtual time, with the trace that they must leave.
//
// scenario.c reads a file, script.c plays it in the simulator (tests/sim) with no chance in it,
// trace.c says what happens in one line each, expect.c judges the outcome, main.c compares. The
// language is explained in README.md.
#ifndef PAWL_GOLDEN_H
#define PAWL_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/core/append_core.h"
#include "tests/sim/sim.h"

#define GOLDEN_TEXT 240u
#define GOLDEN_CASES_MAX 16u
#define GOLDEN_RULES_MAX 64u
#define GOLDEN_ACTIONS_MAX 6u
#define GOLDEN_EXPECTS_MAX 48u
#define GOLDEN_DRAWS_MAX 8u
#define GOLDEN_APPENDS_MAX 128u
#define GOLDEN_NAMES_MAX 32u

enum golden_verb {
    GOLDEN_CRASH = 1, // node, keep
    GOLDEN_START,     // node
    GOLDEN_FREEZE,    // node, time
    GOLDEN_CUT,       // node, other, one_way, time
    GOLDEN_RESET,     // node, other
    GOLDEN_LOSE,      // the message, and all behind it on its connection
    GOLDEN_HOLD,      // the message, and all behind it on its connection: time
    GOLDEN_TWICE,     // the message arrives once more under another request number: time, later
    GOLDEN_APPEND,    // node, number times, bytes
    GOLDEN_REPEAT,    // node, number: its sequence
    GOLDEN_FORGE,     // the same with other bytes; of a write, at another offset
    GOLDEN_OPENS,     // node, chunk: its write log
    GOLDEN_WRITE,     // node, number: the offset, bytes
    GOLDEN_READ,      // node, chunk, other: the server
    GOLDEN_SEAL,      // node, chunk: an open tail
    GOLDEN_EXTEND,    // node, number: bytes of the file
};

struct golden_action {
    enum golden_verb verb;
    char node[8];
    char other[8]; // "all"
    char chunk[8];
    bool one_way;
    uint64_t after_ns;
    uint64_t time_ns;
    uint64_t number;
    uint32_t bytes;
};

// What is done at a time, or when the nth line like `pattern` is about to be traced.
struct golden_rule {
    bool timed;
    uint64_t at_ns;
    uint32_t nth;
    uint32_t seen;
    char pattern[GOLDEN_TEXT];
    struct golden_action actions[GOLDEN_ACTIONS_MAX];
    uint32_t actions_count;
    uint32_t line;
};

struct golden_expect {
    char text[GOLDEN_TEXT];
    uint32_t line;
};

// A text that grows by lines.
struct golden_text {
    char *data;
    size_t bytes;
    size_t capacity;
};

struct golden_case {
    char name[GOLDEN_TEXT];
    struct sim_params params;
    char draws[GOLDEN_DRAWS_MAX][8]; // primaries, in the order of their grants
    uint32_t draws_count;
    bool later[SIM_CLIENTS_MAX]; // started by the script
    bool later_servers[SIM_SERVERS_MAX];
    bool cold; // the file's first chunk is not opened before time 0
    uint64_t until_ns;
    struct golden_rule rules[GOLDEN_RULES_MAX];
    uint32_t rules_count;
    struct golden_expect expects[GOLDEN_EXPECTS_MAX];
    uint32_t expects_count;
    struct golden_text before; // the file's own lines before the trace
    struct golden_text trace;  // as the file has it
};

struct golden_scenario {
    const char *path;
    struct golden_case *cases;
    uint32_t cases_count;
};

// An append of the script, and how it ended.
struct golden_append {
    struct sim_append *append;
    uint32_t client;
    uint32_t times_told;
    int status; // of the last end
    uint64_t offset;
    uint64_t told_ns; // of the first success; UINT64_MAX
    int first_status;
};

struct golden_name {
    uint64_t hi;
    uint64_t lo;
};

struct golden_chunk {
    uint64_t handle;
    uint32_t file;
    uint32_t index;
    uint64_t versions[32];
    uint32_t versions_count;
    bool sealed;
    uint64_t count;
    uint64_t length;
};

// A request under way: what its answer answers.
struct golden_request {
    uint64_t conn;
    uint64_t request;
    bool control;
    int from; // side
    char what[64];
};

struct golden_run {
    const struct golden_case *test;
    struct sim *sim;
    struct sim_script script;
    struct golden_rule *rules; // with their counts
    uint64_t zero_ns;
    bool playing;
    bool over;
    bool failed; // said on stderr
    // chance, so far as there is any left
    uint64_t seed;
    uint64_t draws;
    uint64_t keep;
    char granted[GOLDEN_DRAWS_MAX][8];
    uint32_t granted_count;
    uint64_t grant_handle;
    uint64_t grant_version;
    bool drawn_wrong;
    // names
    struct golden_name producers[GOLDEN_NAMES_MAX];
    uint32_t producers_count;
    uint64_t files[GOLDEN_NAMES_MAX];
    uint32_t files_count;
    struct golden_chunk chunks[64];
    uint32_t chunks_count;
    struct golden_request *requests;
    uint32_t requests_count;
    uint32_t requests_capacity;
    // what happened
    struct golden_append appends[GOLDEN_APPENDS_MAX];
    uint32_t appends_count;
    struct golden_text trace;
    struct golden_text lines;   // all, those that are not shown too
    bool busy[SIM_CLIENTS_MAX]; // its last answer was "busy": more of these are not shown
    // streams that a script holds back
    struct {
        uint64_t conn;
        int to;
        uint64_t until_ns;
    } holds[16];
    uint32_t holds_count;
    struct sim_frame *released[64];
    uint32_t released_count;
};

// scenario.c
bool golden_read(const char *path, struct golden_scenario *ret);
void golden_scenario_free(struct golden_scenario *scenario);
bool golden_time(const char *word, uint64_t *ret_ns);
void golden_text_add(struct golden_text *text, const char *format, ...) PAWL_PRINTF(2, 3);

// script.c: plays the case with a seed for what the master draws. False: the file is wrong, and why
// was said; run->drawn_wrong: try another seed.
bool golden_play(const struct golden_case *test, uint64_t seed, struct golden_run *run);
void golden_run_free(struct golden_run *run);
void golden_error(struct golden_run *run, uint32_t line, const char *format, ...) PAWL_PRINTF(3, 4);
struct sim_node *golden_node(struct golden_run *run, const char *name);

// trace.c
struct golden_line {
    char text[GOLDEN_TEXT];
    bool hidden; // matched by rules, not shown
};
void golden_describe(struct golden_run *run, const struct sim_conn *conn, int to,
                     const struct sim_frame *frame, struct golden_line *ret);
void golden_describe_log(struct golden_run *run, const Pawl__LogRecord *record,
                         struct golden_line *ret);
void golden_describe_disk(struct golden_run *run, const struct sim_node *node,
                          const struct sim_disk_op *op, struct golden_line *ret);
void golden_id(struct golden_run *run, const struct wire_record_id *id, char *buf, size_t bytes);
const char *golden_code(int code);
struct golden_chunk *golden_chunk_of(struct golden_run *run, uint64_t handle);
struct golden_chunk *golden_chunk_named(struct golden_run *run, const char *name);
// The words of `pattern` stand in the line, in their order.
bool golden_like(const char *line, const char *pattern);

// expect.c: says on stderr what does not hold.
bool golden_judge(struct golden_run *run);

#endif
