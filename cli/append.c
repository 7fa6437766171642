// SPDX-License-Identifier: Apache-2.0
// append: adds records from a file or standard input to a file of the cluster.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cli/cli.h"

#define APPEND_RECORD_BYTES (1u << 20)

struct append {
    struct pawl *pawl;
    struct pawl_file *file;
    const char *target;
    const char *source;
    const char *producer;
    const char *failed; // what the error is about, if it isn't the target
    uint64_t stored;    // records of this run
    uint64_t record_bytes;
    uint64_t skip;                  // records that the named producer has stored already
    struct pawl_append_result last; // that was acknowledged
    enum pawl_ack ack;
    bool lines;
    bool json;
};

// The next record into *buffer (grown by getline when records are lines); 0 bytes at the end.
static int next_record(struct append *append, FILE *input, char **buffer, size_t *room,
                       size_t *ret_bytes)
{
    if (append->lines) {
        ssize_t got = getline(buffer, room, input);
        *ret_bytes = got < 0 ? 0 : (size_t)got;
    } else {
        *ret_bytes = fread(*buffer, 1, append->record_bytes, input);
    }
    append->failed = ferror(input) ? append->source : NULL;
    return ferror(input) ? -EIO : 0;
}

static void show(const struct append *append, const struct pawl_append_result *result, size_t bytes)
{
    if (append->json) {
        printf("{\"sequence\": %llu, \"offset\": %llu, \"bytes\": %zu, \"duplicate\": %s}\n",
               (unsigned long long)result->id.sequence, (unsigned long long)result->offset, bytes,
               result->duplicate ? "true" : "false");
    }
}

static int append_all(struct append *append, FILE *input, uint64_t *ret_count)
{
    size_t room = append->record_bytes;
    char *buffer = malloc(room);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    struct pawl_append_options options = {.size = sizeof options, .ack = append->ack};
    uint64_t count = 0;
    size_t bytes;
    int code = next_record(append, input, &buffer, &room, &bytes);
    while (code == 0 && bytes != 0) {
        if (++count > append->skip) {
            struct pawl_append_result result;
            code = pawl_append(append->file, buffer, bytes, &options, &result);
            append->last = code == 0 ? result : append->last;
            if (code == 0) {
                append->stored++;
                show(append, &result, bytes);
            }
        }
        if (code == 0) {
            code = next_record(append, input, &buffer, &room, &bytes);
        }
    }
    free(buffer);
    *ret_count = count;
    return code;
}

static int run(struct append *append, FILE *input)
{
    int code = pawl_create(append->pawl, append->target, NULL, &append->file);
    if (code == 0 && append->producer != NULL) {
        code = pawl_producer_open(append->file, append->producer, &append->skip);
    }
    if (code != 0) {
        return code;
    }
    append->record_bytes = PAWL_MIN(append->record_bytes, pawl_record_bytes_max(append->file));
    uint64_t count = 0;
    code = append_all(append, input, &count);
    // The command ends when all of it is durable, however fast its records were taken.
    if (code == 0 && append->stored > 0 && !append->last.durable) {
        struct pawl_append_result found;
        code = pawl_resolve(append->file, &append->last.id, &found);
        code = code == PAWL_EABSENT ? PAWL_ELOST : code;
    }
    if (code == 0 && !append->json) {
        printf("%s: %llu records appended, %llu were there already\n", append->target,
               (unsigned long long)(count - PAWL_MIN(count, append->skip)),
               (unsigned long long)PAWL_MIN(count, append->skip));
    }
    return code;
}

static int failed(const struct append *append, int code)
{
    fprintf(stderr, "pawl: append: %llu records of this run are stored\n",
            (unsigned long long)append->stored);
    if (code == PAWL_EUNKNOWN && append->producer == NULL) {
        return cli_fail_with(append->target, code,
                             "one more may be stored; with --producer a second run would know");
    }
    if (code == PAWL_ELOST) {
        return cli_fail_with(append->target, code,
                             "with --producer a second run would append them again");
    }
    return cli_fail(append->failed != NULL ? append->failed : append->target, code);
}

int cli_append(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"producer", required_argument, NULL, 'p'},
                                            {"record-bytes", required_argument, NULL, 'b'},
                                            {"lines", no_argument, NULL, 'l'},
                                            {"ack", required_argument, NULL, 'a'},
                                            {NULL, 0, NULL, 0}};
    struct append append = {.source = "-", .record_bytes = APPEND_RECORD_BYTES, .json = cli->json};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p') {
            append.producer = optarg;
        } else if (option == 'l') {
            append.lines = true;
        } else if (option == 'a' && strcmp(optarg, "replicated") == 0) {
            append.ack = PAWL_ACK_REPLICATED;
        } else if (option == 'a' && strcmp(optarg, "durable") == 0) {
            append.ack = PAWL_ACK_DURABLE;
        } else if (option == 'a') {
            return cli_usage("append", "--ack is durable or replicated");
        } else if (option == '?' || pawl_config_bytes(optarg, &append.record_bytes) != 0 ||
                   append.record_bytes == 0) {
            return cli_usage("append", "bad option or value");
        }
    }
    if (argc - optind < 1 || argc - optind > 2) {
        return cli_usage("append", "needs PATH, and SOURCE if it isn't standard input");
    }
    append.target = argv[optind];
    append.source = optind + 1 < argc ? argv[optind + 1] : "-";
    FILE *input = strcmp(append.source, "-") == 0 ? stdin : fopen(append.source, "re");
    if (input == NULL) {
        return cli_fail(append.source, -errno);
    }
    int code = cli_connect(cli, &append.pawl);
    if (code == 0) {
        code = run(&append, input);
        pawl_close(append.pawl);
        code = code != 0 ? failed(&append, code) : CLI_OK;
    }
    if (input != stdin) {
        fclose(input);
    }
    return code;
}
