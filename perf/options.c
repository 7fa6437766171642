// SPDX-License-Identifier: Apache-2.0
// Verbs and options of pawl-perf: one table for parser, checks and help.
#include "perf/options.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/config.h"
#include "perf/roofline/roofline.h"
#include "proto/wire.h"

static const struct {
    const char *name;
    const char *summary;
} verbs[PERF_VERBS_COUNT] = {
    [PERF_APPEND] = {"append", "durable appends: rate, bandwidth, latency"},
    [PERF_READ] = {"read", "sequential reads of files that are written first"},
    [PERF_WRITE] = {"write", "writes at an offset of files that are written first"},
    [PERF_PUSH] = {"push", "payloads to all replicas by the route of appends, and nothing else"},
    [PERF_META] = {"meta", "names: create, stat and remove, in turn"},
    [PERF_MIXED] = {"mixed", "appends, reads, writes and stats by shares"},
    [PERF_FAILOVER] =
        {"failover",
         "from SIGKILL of the primary to the next acknowledged append; under load with any of "
         "--clients, --depth, --files, --rate, --duration, --warm-up"},
    [PERF_REPORT] = {"report", "a named suite as one HTML page with plots"},
};

static const char *const kinds[PERF_KINDS_COUNT] = {
    [PERF_KIND_APPEND] = "append", [PERF_KIND_READ] = "read",     [PERF_KIND_WRITE] = "write",
    [PERF_KIND_STAT] = "stat",     [PERF_KIND_CREATE] = "create", [PERF_KIND_REMOVE] = "remove",
    [PERF_KIND_PUSH] = "push",
};

enum value_type {
    TYPE_COUNT,
    TYPE_BYTES,
    TYPE_TIME,
    TYPE_TEXT,
    TYPE_CHOICE,
    TYPE_MIX,
    TYPE_RATE,
    TYPE_FLAG
};

#define ON(verb) (1u << (verb))
#define ON_FILES (ON(PERF_READ) | ON(PERF_WRITE) | ON(PERF_MIXED))
#define ON_DATA (ON(PERF_APPEND) | ON_FILES)
#define ON_PAYLOADS (ON_DATA | ON(PERF_PUSH))
#define ON_CALLS (ON(PERF_WRITE) | ON(PERF_META) | ON(PERF_MIXED)) // which wait
#define ON_LOOPS (ON_PAYLOADS | ON(PERF_META))
#define ON_SUBMITS ((ON_LOOPS & ~ON_CALLS) | ON(PERF_FAILOVER))
#define ON_LOADS (ON_LOOPS | ON(PERF_FAILOVER))
#define ON_APPENDS (ON_DATA | ON(PERF_FAILOVER))
#define ON_CREATES (ON_APPENDS | ON(PERF_PUSH))
#define ON_RUNS (ON_LOOPS | ON(PERF_FAILOVER))
#define ON_ALL (ON_RUNS | ON(PERF_REPORT))
#define AT(member) offsetof(struct perf_options, member)

struct option {
    const char *name;
    const char *value; // its name in the help; NULL: a flag
    enum value_type type;
    unsigned verbs;
    size_t at;
    uint64_t min;
    uint64_t max;
    const char *help;
    const char *choices; // "a|b"
};

static const struct option table[] = {
    {"--bytes", "N", TYPE_BYTES, ON_CREATES, AT(bytes), 1, PERF_RECORD_MAX,
     "bytes of an operation (1KiB; read, write and push: 1MiB)", NULL},
    {"--depth", "N", TYPE_COUNT, ON_LOADS, AT(depth), 1, PERF_DEPTH_MAX,
     "operations in flight of each client (1; open loop: 64)", NULL},
    {"--clients", "N", TYPE_COUNT, ON_LOADS, AT(clients), 1, PERF_CLIENTS_MAX,
     "clients: threads with a connection of their own (1)", NULL},
    {"--threads", "N", TYPE_COUNT, ON_SUBMITS, AT(clients), 1, PERF_CLIENTS_MAX,
     "the same as --clients: each client is one thread", NULL},
    {"--threads", "N", TYPE_COUNT, ON_CALLS, AT(depth), 1, PERF_DEPTH_MAX,
     "the same as --depth: threads of each client", NULL},
    {"--files", "N", TYPE_COUNT, ON_PAYLOADS | ON(PERF_FAILOVER), AT(files), 1, PERF_FILES_MAX,
     "files that the clients are spread over (1)", NULL},
    {"--replicas", "N", TYPE_COUNT, ON_CREATES, AT(replicas), 1, 8, "copies of each file (3)",
     NULL},
    {"--ack", "LEVEL", TYPE_CHOICE, ON(PERF_APPEND) | ON(PERF_MIXED) | ON(PERF_FAILOVER), AT(ack),
     0, 0, "durable: on stable storage of every replica; replicated: in its memory (durable)",
     "durable|replicated"},
    {"--duration", "T", TYPE_TIME, ON_LOADS | ON(PERF_REPORT), AT(duration_ms), 10, 86400000,
     "time that is measured, in each round (10s; report: the suite's)", NULL},
    {"--warm-up", "T", TYPE_TIME, ON_LOADS | ON(PERF_REPORT), AT(warm_up_ms), 0, 86400000,
     "time before it, which isn't (1s)", NULL},
    {"--ops", "N", TYPE_COUNT, ON_LOOPS, AT(ops), 1, UINT64_C(1) << 40,
     "end a round after so many operations, if its time isn't over before", NULL},
    {"--rate", "R", TYPE_RATE, ON_LOADS, AT(rate_per_s), 1, 100000000,
     "open loop: R operations a second in all, whatever the answers do; half: of the peak, found "
     "first",
     NULL},
    {"--mix", "SHARES", TYPE_MIX, ON(PERF_MIXED), AT(mix), 0, 0,
     "percent of append, read, write, stat (append=50,read=50)", NULL},
    {"--file-bytes", "N", TYPE_BYTES, ON_FILES, AT(file_bytes), 4096, UINT64_C(1) << 42,
     "bytes of each file that is written first (256MiB)", NULL},
    {"--record-bytes", "N", TYPE_BYTES, ON_FILES, AT(record_bytes), 512, PERF_RECORD_MAX,
     "bytes of its records (1MiB)", NULL},
    {"--chunk-bytes", "N", TYPE_BYTES, ON_CREATES, AT(chunk_bytes), 65536, UINT64_C(1) << 30,
     "chunk size of each file (64MiB)", NULL},
    {"--repeat", "N", TYPE_COUNT, ON_ALL, AT(repeat), 1, PERF_REPEAT_MAX,
     "rounds: figures are medians, with least and most (5; report: the suite's)", NULL},
    {"--settle", "N", TYPE_COUNT, ON_LOOPS | ON(PERF_REPORT), AT(settle), 0, PERF_REPEAT_MAX,
     "rounds before the first that aren't counted: servers use the files that these leave, as "
     "those of a "
     "cluster in use (0; report: the suite's)",
     NULL},
    {"--roofline", NULL, TYPE_FLAG, ON(PERF_APPEND) | ON(PERF_READ) | ON(PERF_REPORT), AT(roofline),
     0, 0,
     "measure the roofline by turns with the rounds, and what share of it was reached (report: of "
     "appends and reads; the suite targets always does)",
     NULL},
    {"--duties", NULL, TYPE_FLAG, ON(PERF_APPEND), AT(duties), 0, 0,
     "with --roofline: also what is left of it once its servers check, note and write back records",
     NULL},
    {"--unregistered", NULL, TYPE_FLAG, ON_PAYLOADS, AT(unregistered), 0, 0,
     "payload in ordinary memory, not in that of pawl_mem_alloc()", NULL},
    {"--suite", "NAME", TYPE_CHOICE, ON(PERF_REPORT), AT(suite), 0, 0,
     "quick, reference, gfs or targets (quick)", "quick|reference|gfs|targets"},
    {"--output", "FILE", TYPE_TEXT, ON(PERF_REPORT), AT(output), 0, 0,
     "the page (pawl-perf-SUITE.html)", NULL},
    {"--cluster", "DIR", TYPE_TEXT, ON_ALL, AT(cluster), 0, 0,
     "measure the local cluster that runs at DIR; otherwise one is started", NULL},
    {"--dir", "DIR", TYPE_TEXT, ON_ALL, AT(dir), 0, 0,
     "where the cluster that is started lies: it is this disk that is measured (/tmp)", NULL},
    {"--servers", "N", TYPE_COUNT, ON_ALL, AT(servers), 1, 64,
     "chunk servers of the cluster that is started (3)", NULL},
    {"--provider", "NAME", TYPE_TEXT, ON_ALL, AT(provider), 0, 0,
     "libfabric provider of the cluster that is started (tcp)", NULL},
    {"--route", "ROUTE", TYPE_CHOICE, ON_ALL, AT(route), 0, 0,
     "of payloads to the copies, in the cluster that is started: star, chain or auto (auto)",
     "auto|star|chain"},
    {"--timeout", "T", TYPE_TIME, ON_ALL, AT(timeout_ms), 100, 3600000,
     "deadline of each operation (30s)", NULL},
    {"--keep", NULL, TYPE_FLAG, ON_ALL, AT(keep), 0, 0,
     "leave the files, and the folder of a cluster that was started", NULL},
    {"--json", NULL, TYPE_FLAG, ON_ALL, AT(json), 0, 0, "JSON on standard output", NULL},
    {"--help", NULL, TYPE_FLAG, ON_ALL, AT(help), 0, 0, "help", NULL},
};
static_assert(PAWL_ARRAY_COUNT(table) <= 64, "one bit each in `given`");

const char *perf_verb_name(enum perf_verb verb)
{
    return verbs[verb].name;
}

const char *perf_kind_name(enum perf_kind kind)
{
    return kinds[kind];
}

bool perf_options_was_given(const struct perf_options *options, const char *name)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(table); i++) {
        if (strcmp(table[i].name, name) == 0) {
            return (options->given >> i & 1) != 0;
        }
    }
    return false;
}

bool perf_options_is_load(const struct perf_options *options)
{
    static const char *const load[] = {"--clients", "--depth",    "--files",
                                       "--rate",    "--duration", "--warm-up"};
    bool given = options->verb != PERF_FAILOVER;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(load); i++) {
        given |= perf_options_was_given(options, load[i]);
    }
    return given;
}

void perf_options_default(enum perf_verb verb, struct perf_options *ret)
{
    bool large = verb == PERF_READ || verb == PERF_WRITE || verb == PERF_PUSH;
    *ret = (struct perf_options){.verb = verb,
                                 .bytes = large ? UINT64_C(1) << 20 : 1024,
                                 .depth = 1,
                                 .clients = 1,
                                 .files = 1,
                                 .replicas = 3,
                                 .servers = 3,
                                 .duration_ms = 10000,
                                 .warm_up_ms = 1000,
                                 .repeat = 5,
                                 .timeout_ms = 30000,
                                 .file_bytes = UINT64_C(256) << 20,
                                 .record_bytes = UINT64_C(1) << 20,
                                 .chunk_bytes = UINT64_C(64) << 20,
                                 .ack = "durable",
                                 .dir = "/tmp",
                                 .provider = "tcp",
                                 .route = "auto",
                                 .suite = "quick"};
    ret->mix[PERF_KIND_APPEND] = 50;
    ret->mix[PERF_KIND_READ] = 50;
}

// ---- values -------------------------------------------------------------------------------------

PAWL_PRINTF(2, 3)
static int refuse(struct perf_options_error *ret_error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(ret_error->text, sizeof ret_error->text, format, arguments);
    va_end(arguments);
    return PAWL_EINVALID;
}

static int parse_count(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    if (*text == '\0') {
        return PAWL_EINVALID;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) {
            return PAWL_EINVALID;
        }
    }
    *ret = value;
    return 0;
}

static int parse_number(const struct option *option, const char *text, uint64_t *ret,
                        struct perf_options_error *ret_error)
{
    uint64_t value = 0;
    int code;
    const char *right;
    if (option->type == TYPE_BYTES) {
        code = roofline_bytes_parse(text, &value);
        right = "a size in bytes, such as 4096, 64KiB or 64K";
    } else if (option->type == TYPE_TIME) {
        code = pawl_config_ms(text, &value);
        right = "a time with its unit, such as 500ms, 20s or 2min";
    } else if (option->type == TYPE_RATE) {
        code = parse_count(text, &value);
        right = "a whole number without a unit, or half";
    } else {
        code = parse_count(text, &value);
        right = "a whole number without a unit";
    }
    if (code != 0) {
        return refuse(ret_error, "%s %s: right is %s", option->name, text, right);
    }
    if (value < option->min || value > option->max) {
        return refuse(ret_error, "%s %s: right is %" PRIu64 " to %" PRIu64 "%s", option->name, text,
                      option->min, option->max,
                      option->type == TYPE_BYTES  ? " bytes"
                      : option->type == TYPE_TIME ? " ms"
                                                  : "");
    }
    *ret = value;
    return 0;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *at = choices; length != 0 && at != NULL; at = strchr(at, '|')) {
        at += *at == '|';
        if (strncmp(at, text, length) == 0 && (at[length] == '\0' || at[length] == '|')) {
            return true;
        }
    }
    return false;
}

// "append=50,read=50": what is not named has no share.
static int parse_mix(const char *text, uint64_t *mix, struct perf_options_error *ret_error)
{
    static const char right[] =
        "right is shares of append, read, write and stat that add up to 100, "
        "such as append=70,read=30";
    uint64_t shares[PERF_KINDS_COUNT] = {0};
    uint64_t sum = 0;
    char copy[128];
    if (snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy) {
        return refuse(ret_error, "--mix: %s", right);
    }
    char *rest = copy;
    for (char *part = strsep(&rest, ","); part != NULL; part = strsep(&rest, ",")) {
        char *number = strchr(part, '=');
        size_t kind = PERF_KINDS_COUNT;
        uint64_t value = 0;
        if (number != NULL) {
            *number++ = '\0';
            for (kind = 0; kind <= PERF_KIND_STAT && strcmp(kinds[kind], part) != 0; kind++) {
            }
        }
        if (number == NULL || kind > PERF_KIND_STAT || parse_count(number, &value) != 0 ||
            value > 100) {
            return refuse(ret_error, "--mix %s: %s", text, right);
        }
        shares[kind] = value;
    }
    for (size_t i = 0; i < PERF_KINDS_COUNT; i++) {
        sum += shares[i];
    }
    if (sum != 100) {
        return refuse(ret_error, "--mix %s: %s", text, right);
    }
    memcpy(mix, shares, sizeof shares);
    return 0;
}

static int set_value(const struct option *option, const char *text, struct perf_options *options,
                     struct perf_options_error *ret_error)
{
    void *at = (char *)options + option->at;
    switch (option->type) {
    case TYPE_FLAG:
        *(bool *)at = true;
        return 0;
    case TYPE_MIX:
        return parse_mix(text, at, ret_error);
    case TYPE_RATE:
        options->rate_half = strcmp(text, "half") == 0;
        options->rate_per_s = 0;
        return options->rate_half ? 0 : parse_number(option, text, at, ret_error);
    case TYPE_CHOICE:
        if (!is_choice(option->choices, text)) {
            return refuse(ret_error, "%s %s: right is %s", option->name, text, option->choices);
        }
        *(const char **)at = text;
        return 0;
    case TYPE_TEXT:
        if (*text == '\0') {
            return refuse(ret_error, "%s: right is a %s that isn't empty", option->name,
                          option->value);
        }
        *(const char **)at = text;
        return 0;
    default:
        return parse_number(option, text, at, ret_error);
    }
}

// ---- command line -------------------------------------------------------------------------------

// That of the verb, of those with this name; if it has none, another verb's.
static const struct option *find_option(enum perf_verb verb, const char *word)
{
    size_t length = strcspn(word, "=");
    const struct option *found = NULL;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(table); i++) {
        if (strncmp(table[i].name, word, length) == 0 && table[i].name[length] == '\0' &&
            (found == NULL || (table[i].verbs & ON(verb)) != 0)) {
            found = &table[i];
        }
    }
    return found;
}

// By whatever name it was given.
static uint64_t bits_of(const struct option *option)
{
    uint64_t bits = 0;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(table); i++) {
        bits |= (uint64_t)(table[i].at == option->at) << i;
    }
    return bits;
}

// Takes argv[*i] and its value.
static int take(int argc, char **argv, int *i, struct perf_options *options,
                struct perf_options_error *ret_error)
{
    const char *verb = perf_verb_name(options->verb);
    const char *word = argv[*i];
    const struct option *option = word[0] == '-' ? find_option(options->verb, word) : NULL;
    const char *value = strchr(word, '=');
    if (option == NULL) {
        return refuse(ret_error, "%s takes no %s %s", verb, word[0] == '-' ? "option" : "argument",
                      word);
    }
    if ((option->verbs & ON(options->verb)) == 0) {
        return refuse(ret_error, "%s is no option of %s", option->name, verb);
    }
    if (option->value == NULL && value != NULL) {
        return refuse(ret_error, "%s takes no value", option->name);
    }
    if (option->value != NULL && value == NULL && *i + 1 >= argc) {
        return refuse(ret_error, "%s needs a value", option->name);
    }
    if (option->value != NULL) {
        value = value != NULL ? value + 1 : argv[++*i];
    }
    options->given |= bits_of(option);
    return set_value(option, value, options, ret_error);
}

int perf_options_parse(int argc, char **argv, struct perf_options *ret,
                       struct perf_options_error *ret_error)
{
    struct perf_options options = {.verb = PERF_VERBS_COUNT};
    for (int i = 1; i < argc; i++) {
        options.help |= strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    }
    for (unsigned verb = 0; argc > 1 && verb < PERF_VERBS_COUNT; verb++) {
        if (strcmp(argv[1], verbs[verb].name) == 0) {
            bool help = options.help;
            perf_options_default(verb, &options);
            options.help = help;
        }
    }
    if (options.help) {
        *ret = options;
        return 0;
    }
    if (options.verb == PERF_VERBS_COUNT) {
        return argc > 1 ? refuse(ret_error, "no verb %s", argv[1])
                        : refuse(ret_error, "a verb is missing");
    }
    int code = 0;
    for (int i = 2; code == 0 && i < argc; i++) {
        code = take(argc, argv, &i, &options, ret_error);
    }
    if ((options.rate_per_s != 0 || options.rate_half) &&
        !perf_options_was_given(&options, "--depth")) {
        options.depth = 64;
    }
    code = code != 0 ? code : perf_options_check(&options, ret_error);
    if (code == 0) {
        *ret = options;
    }
    return code;
}

static int check_cluster(const struct perf_options *options, struct perf_options_error *ret_error)
{
    static const char *const own[] = {"--dir", "--servers", "--provider", "--route"};
    for (size_t i = 0; options->cluster != NULL && i < PAWL_ARRAY_COUNT(own); i++) {
        if (perf_options_was_given(options, own[i])) {
            return refuse(ret_error,
                          "%s is for a cluster that is started, not for one at --cluster", own[i]);
        }
    }
    if (options->cluster == NULL && options->verb != PERF_META &&
        options->replicas > options->servers) {
        return refuse(ret_error,
                      "--servers %" PRIu64 ": right is at least the number of copies, %" PRIu64,
                      options->servers, options->replicas);
    }
    if (options->verb == PERF_FAILOVER && options->replicas < 2) {
        return refuse(ret_error, "--replicas 1: nothing is left when the primary is killed, right "
                                 "is 2 to 8");
    }
    return 0;
}

int perf_options_check(const struct perf_options *options, struct perf_options_error *ret_error)
{
    uint64_t record_max = PAWL_MIN(PERF_RECORD_MAX, options->chunk_bytes / 4);
    bool files = (ON(options->verb) & ON_FILES) != 0;
    if (options->duties && !options->roofline) {
        return refuse(ret_error, "--duties: right is together with --roofline");
    }
    bool calls = options->verb != PERF_APPEND && options->verb != PERF_PUSH &&
                 (ON(options->verb) & ON_LOOPS) != 0;
    if (options->chunk_bytes % 4096 != 0) {
        return refuse(ret_error, "--chunk-bytes %" PRIu64 ": right is a multiple of 4096",
                      options->chunk_bytes);
    }
    if (options->bytes > record_max && options->verb != PERF_READ) {
        return refuse(ret_error,
                      "--bytes %" PRIu64 ": right is at most %" PRIu64
                      ", a quarter of --chunk-bytes",
                      options->bytes, record_max);
    }
    if (options->verb == PERF_PUSH && options->bytes <= WIRE_INLINE_MAX) {
        return refuse(ret_error,
                      "--bytes %" PRIu64 ": right is above %u: smaller ones travel in messages",
                      options->bytes, WIRE_INLINE_MAX);
    }
    if (files && options->record_bytes > record_max) {
        return refuse(ret_error,
                      "--record-bytes %" PRIu64 ": right is at most %" PRIu64
                      ", a quarter of --chunk-bytes",
                      options->record_bytes, record_max);
    }
    if (files && options->bytes > options->file_bytes) {
        return refuse(ret_error, "--bytes %" PRIu64 ": the files have --file-bytes %" PRIu64,
                      options->bytes, options->file_bytes);
    }
    if (options->files > options->clients) {
        return refuse(ret_error,
                      "--files %" PRIu64
                      ": a client takes one, right is at most --clients %" PRIu64,
                      options->files, options->clients);
    }
    if (calls && options->clients * options->depth > PERF_LANES_MAX) {
        return refuse(ret_error,
                      "--clients %" PRIu64 " --depth %" PRIu64
                      ": their product is the number of threads, right is at most %u",
                      options->clients, options->depth, PERF_LANES_MAX);
    }
    return check_cluster(options, ret_error);
}

// ---- help ---------------------------------------------------------------------------------------

static void help_program(FILE *out)
{
    fputs("usage: pawl-perf VERB [OPTIONS]\n\n"
          "Measures a Pawl cluster on this machine: one that runs, or one that it starts and takes "
          "down.\n\n",
          out);
    for (size_t i = 0; i < PERF_VERBS_COUNT; i++) {
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].summary);
    }
    fprintf(out, "  %-9s %s\n", "roofline",
            "the same work with no file system in it; options of its own");
}

static void help_options(FILE *out, unsigned on)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(table); i++) {
        const struct option *option = &table[i];
        char name[40];
        if (option->verbs != on && (on == ON_ALL || (option->verbs & on) == 0)) {
            continue;
        }
        snprintf(name, sizeof name, "%s%s%s", option->name, option->value != NULL ? " " : "",
                 option->value != NULL ? option->value : "");
        fprintf(out, "  %-17s %s\n", name, option->help);
    }
}

void perf_options_help(FILE *out, enum perf_verb verb)
{
    if (verb == PERF_VERBS_COUNT) {
        help_program(out);
        fputs("\noptions of every verb:\n", out);
        help_options(out, ON_ALL);
        fputs("\nand --version. Sizes: 4096, 64KiB or 64K, 1MiB or 1M; times: 500ms, 20s, 2min.\n",
              out);
    } else {
        fprintf(out, "usage: pawl-perf %s [OPTIONS]\n%s\n\n", verbs[verb].name,
                verbs[verb].summary);
        help_options(out, ON(verb));
    }
    fputs(
        "\nexit codes: 0 done; 1 failed, or an operation failed; 2 usage; 3 cluster out of reach;\n"
        "130 ended by SIGINT; 143 ended by SIGTERM\n",
        out);
    if (verb == PERF_VERBS_COUNT) {
        fputs("`pawl-perf VERB --help` tells more.\n", out);
    }
}
