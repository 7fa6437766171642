// SPDX-License-Identifier: Apache-2.0
// The command line of the roofline: pawl-roofline, or a verb of another program.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perf/roofline/print.h"
#include "perf/roofline/roofline.h"

#define EXIT_USAGE 2
#define EXIT_INVALID 3

static const char usage[] =
    "usage: pawl-roofline [OPTION]...\n"
    "What this machine gives for appends or reads of Pawl's shape, with no file system in it.\n"
    "\n"
    "  --read              reads instead of appends\n"
    "  --bytes N           of a record, of a read: 1024, 64K or 64KiB, 1M or 1MiB (1024)\n"
    "  --depth N           records in flight per client (1)\n"
    "  --clients N         (1)\n"
    "  --replicas N        1 to 3 (3)\n"
    "  --route ROUTE       star or chain (of large payloads to three replicas: sweep; else star)\n"
    "  --flush HOW         of large payloads: fdatasync, dsync, shared with the journal's flush, "
    "or "
    "shared-dsync\n"
    "                      with its durable write, for disks without FUA (sweep)\n"
    "  --sources N         servers that reads come from (sweep up to --replicas)\n"
    "  --disk-reads N      reads that one server has at its disk at once, the others wait "
    "(sweep: all, 1, 2);\n"
    "                      depth x clients or more: all\n"
    "  --memory            answered from memory; the disk is not written\n"
    "  --duty NAME         with a duty of a store, so that the result is not the roofline: "
    "checksum,\n"
    "                      table, second-write (of records up to 32K) or all; may be repeated\n"
    "  --duration T        of the measurement: 500ms, 2s, or 2000 for milliseconds; points of the "
    "sweep take\n"
    "                      a quarter (2s)\n"
    "  --warm-up T         (200ms)\n"
    "  --batch N           records per message and flush at most (sweep)\n"
    "  --wait HOW          sleep, spin or yield (sweep)\n"
    "  --slice N           bytes of a slice of a large payload or read (sweep)\n"
    "  --rate N            open loop: records a second over all clients\n"
    "  --records N         per client: end after so many\n"
    "  --verify            whole payloads, files are read back; with --records, one point\n"
    "  --deadline T        no progress for so long ends the run (10s)\n"
    "  --file-bytes N      of each server's files (256MiB)\n"
    "  --dir DIR           on the disk to use (.)\n"
    "  --provider NAME     tcp or verbs (tcp)\n"
    "  --host ADDRESS      of this machine (127.0.0.1)\n"
    "  --check             compare the parts with fi_pingpong and fio, and model the figure from "
    "them\n"
    "  --json              one JSON object\n"
    "  --help\n"
    "\n"
    "Exit status: 0; 1 the run failed; 2 usage; 3 with --check: the roofline is not valid.\n";

enum option_name {
    OPTION_READ = 256,
    OPTION_BYTES,
    OPTION_DEPTH,
    OPTION_CLIENTS,
    OPTION_REPLICAS,
    OPTION_ROUTE,
    OPTION_FLUSH,
    OPTION_SOURCES,
    OPTION_DISK_READS,
    OPTION_MEMORY,
    OPTION_DUTY,
    OPTION_DURATION,
    OPTION_WARM_UP,
    OPTION_BATCH,
    OPTION_WAIT,
    OPTION_SLICE,
    OPTION_RATE,
    OPTION_RECORDS,
    OPTION_VERIFY,
    OPTION_DEADLINE,
    OPTION_FILE_BYTES,
    OPTION_DIR,
    OPTION_PROVIDER,
    OPTION_HOST,
    OPTION_CHECK,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"read", no_argument, NULL, OPTION_READ},
    {"bytes", required_argument, NULL, OPTION_BYTES},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"clients", required_argument, NULL, OPTION_CLIENTS},
    {"replicas", required_argument, NULL, OPTION_REPLICAS},
    {"route", required_argument, NULL, OPTION_ROUTE},
    {"flush", required_argument, NULL, OPTION_FLUSH},
    {"sources", required_argument, NULL, OPTION_SOURCES},
    {"disk-reads", required_argument, NULL, OPTION_DISK_READS},
    {"memory", no_argument, NULL, OPTION_MEMORY},
    {"duty", required_argument, NULL, OPTION_DUTY},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"warm-up", required_argument, NULL, OPTION_WARM_UP},
    {"batch", required_argument, NULL, OPTION_BATCH},
    {"wait", required_argument, NULL, OPTION_WAIT},
    {"slice", required_argument, NULL, OPTION_SLICE},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"records", required_argument, NULL, OPTION_RECORDS},
    {"verify", no_argument, NULL, OPTION_VERIFY},
    {"deadline", required_argument, NULL, OPTION_DEADLINE},
    {"file-bytes", required_argument, NULL, OPTION_FILE_BYTES},
    {"dir", required_argument, NULL, OPTION_DIR},
    {"provider", required_argument, NULL, OPTION_PROVIDER},
    {"host", required_argument, NULL, OPTION_HOST},
    {"check", no_argument, NULL, OPTION_CHECK},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

struct command {
    struct roofline_options options;
    bool is_checked, is_json, is_help;
};

static int u32_take(int code, uint64_t value, uint32_t *ret)
{
    if (code != 0 || value > UINT32_MAX) {
        return -EINVAL;
    }
    *ret = (uint32_t)value;
    return 0;
}

// A size, or a count, which may be a large one, too.
static int u32_parse(const char *text, uint32_t *ret)
{
    uint64_t value = 0;
    int code = roofline_bytes_parse(text, &value);

    return u32_take(code, value, ret);
}

static int ms_parse(const char *text, uint32_t *ret)
{
    uint64_t value = 0;
    int code = roofline_ms_parse(text, &value);

    return u32_take(code, value, ret);
}

static int rate_parse(const char *text, double *ret)
{
    char *end = NULL;

    *ret = strtod(text, &end);
    return end != text && *end == '\0' ? 0 : -EINVAL;
}

static int wait_parse(const char *text, enum roofline_wait *ret)
{
    for (int wait = ROOFLINE_WAIT_SLEEP; wait <= ROOFLINE_WAIT_YIELD; wait++) {
        if (strcmp(text, roofline_wait_name((enum roofline_wait)wait)) == 0) {
            *ret = (enum roofline_wait)wait;
            return 0;
        }
    }
    return -EINVAL;
}

static int route_parse(const char *text, enum roofline_route *ret)
{
    if (strcmp(text, "star") != 0 && strcmp(text, "chain") != 0) {
        return -EINVAL;
    }
    *ret = strcmp(text, "chain") == 0 ? ROOFLINE_CHAIN : ROOFLINE_STAR;
    return 0;
}

static int flush_parse(const char *text, enum roofline_flush *ret)
{
    for (int flush = ROOFLINE_FDATASYNC; flush <= ROOFLINE_SHARED_DSYNC; flush++) {
        if (strcmp(text, roofline_flush_name((enum roofline_flush)flush)) == 0) {
            *ret = (enum roofline_flush)flush;
            return 0;
        }
    }
    return -EINVAL;
}

static int duty_parse(const char *text, uint32_t *duties)
{
    static const enum roofline_duty all[] = {ROOFLINE_DUTY_CHECKSUM, ROOFLINE_DUTY_TABLE,
                                             ROOFLINE_DUTY_SECOND_WRITE, ROOFLINE_DUTIES_ALL};

    for (size_t i = 0; i < PAWL_ARRAY_COUNT(all); i++) {
        if (strcmp(text, roofline_duty_name(all[i])) == 0) {
            *duties |= (uint32_t)all[i];
            return 0;
        }
    }
    return -EINVAL;
}

// Options with a number.
static int number_take(struct roofline_options *options, int name, const char *text)
{
    switch (name) {
    case OPTION_BYTES:
        return u32_parse(text, &options->record_bytes);
    case OPTION_DEPTH:
        return u32_parse(text, &options->depth);
    case OPTION_CLIENTS:
        return u32_parse(text, &options->clients);
    case OPTION_REPLICAS:
        return u32_parse(text, &options->replicas);
    case OPTION_SOURCES:
        return u32_parse(text, &options->sources);
    case OPTION_DISK_READS:
        return u32_parse(text, &options->disk_reads);
    case OPTION_DURATION:
        return ms_parse(text, &options->duration_ms);
    case OPTION_WARM_UP:
        return ms_parse(text, &options->warm_up_ms);
    case OPTION_BATCH:
        return u32_parse(text, &options->batch);
    case OPTION_SLICE:
        return u32_parse(text, &options->slice_bytes);
    case OPTION_RATE:
        return rate_parse(text, &options->rate_per_s);
    case OPTION_RECORDS:
        return u32_parse(text, &options->records_max);
    case OPTION_DEADLINE:
        return ms_parse(text, &options->operation_ms);
    default:
        return roofline_bytes_parse(text, &options->file_bytes);
    }
}

static int option_take(struct command *command, int name, const char *text)
{
    struct roofline_options *options = &command->options;

    switch (name) {
    case OPTION_READ:
        options->what = ROOFLINE_READ;
        return 0;
    case OPTION_MEMORY:
        options->is_durable = false;
        return 0;
    case OPTION_VERIFY:
        options->is_verified = true;
        return 0;
    case OPTION_CHECK:
        command->is_checked = true;
        return 0;
    case OPTION_JSON:
        command->is_json = true;
        return 0;
    case OPTION_HELP:
        command->is_help = true;
        return 0;
    case OPTION_DIR:
        options->dir = text;
        return 0;
    case OPTION_PROVIDER:
        options->provider = text;
        return 0;
    case OPTION_HOST:
        options->host = text;
        return 0;
    case OPTION_ROUTE:
        return route_parse(text, &options->route);
    case OPTION_DUTY:
        return duty_parse(text, &options->duties);
    case OPTION_FLUSH:
        return flush_parse(text, &options->flush);
    case OPTION_WAIT:
        return wait_parse(text, &options->wait);
    default:
        return number_take(options, name, text);
    }
}

static int command_parse(struct command *command, int argc, char **argv)
{
    int name;
    int index = 0;

    roofline_options_init(&command->options);
    optind = 1;
    while ((name = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (name == '?') {
            return -EINVAL;
        }
        if (option_take(command, name, optarg) != 0) {
            fprintf(stderr, "pawl-roofline: --%s: %s makes no sense\n", long_options[index].name,
                    optarg);
            return -EINVAL;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "pawl-roofline: what is %s?\n", argv[optind]);
        return -EINVAL;
    }
    return 0;
}

static int command_run(const struct command *command, struct roofline_result *result)
{
    int rc = roofline_run(&command->options, result);

    if (rc == 0 && command->is_checked) {
        rc = roofline_check(&command->options, result);
    }
    if (rc != 0) {
        fprintf(stderr, "pawl-roofline: %s\n", result->error);
        return 1;
    }
    if (command->is_json) {
        roofline_print_json(stdout, &command->options, result);
    } else {
        roofline_print_table(stdout, &command->options, result, command->is_checked);
    }
    return command->is_checked && !result->is_valid ? EXIT_INVALID : 0;
}

int roofline_main(int argc, char **argv)
{
    struct command command = {0};
    const char *why = NULL;

    if (command_parse(&command, argc, argv) != 0) {
        fputs("Try --help.\n", stderr);
        return EXIT_USAGE;
    }
    if (command.is_help) {
        fputs(usage, stdout);
        return 0;
    }
    if (command.is_checked && command.options.duties != 0) {
        fputs("pawl-roofline: --check is of the roofline, without --duty\n", stderr);
        return EXIT_USAGE;
    }
    if (roofline_options_check(&command.options, &why) != 0) {
        fprintf(stderr, "pawl-roofline: %s\n", why);
        return EXIT_USAGE;
    }
    struct roofline_result *result = malloc(sizeof(*result));
    if (result == NULL) {
        fputs("pawl-roofline: out of memory\n", stderr);
        return 1;
    }
    int status = command_run(&command, result);
    free(result);
    return status;
}
