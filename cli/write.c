// SPDX-License-Identifier: Apache-2.0
// write and extend: bytes over those that a file has, and zeros at its end.
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "cli/cli.h"

#define WRITE_BYTES (1u << 20)

struct write_verb {
    struct pawl *pawl;
    struct pawl_file *file;
    const char *target;
    const char *source;
    const char *failed; // what the error is about, if it isn't the target
    uint64_t offset;
    uint64_t written_bytes;
    bool json;
};

// Piece by piece; each is atomic on each chunk.
static int write_all(struct write_verb *verb, FILE *input)
{
    size_t room = (size_t)PAWL_MIN((uint64_t)WRITE_BYTES, pawl_record_bytes_max(verb->file));
    char *buffer = malloc(room);
    int code = buffer == NULL ? -ENOMEM : 0;
    size_t got = 1;
    while (code == 0 && (got = fread(buffer, 1, room, input)) > 0) {
        struct pawl_write_result result;
        code =
            pawl_write(verb->file, verb->offset + verb->written_bytes, buffer, got, NULL, &result);
        verb->written_bytes += result.bytes;
    }
    if (code == 0 && ferror(input)) {
        verb->failed = verb->source;
        code = -EIO;
    }
    free(buffer);
    return code;
}

static int run_write(struct write_verb *verb, FILE *input)
{
    int code = pawl_open(verb->pawl, verb->target, &verb->file);
    code = code != 0 ? code : write_all(verb, input);
    if (code == 0 && verb->json) {
        printf("{\"offset\": %llu, \"bytes\": %llu}\n", (unsigned long long)verb->offset,
               (unsigned long long)verb->written_bytes);
    } else if (code == 0) {
        printf("%s: %llu bytes written at %llu\n", verb->target,
               (unsigned long long)verb->written_bytes, (unsigned long long)verb->offset);
    }
    return code;
}

static int write_failed(const struct write_verb *verb, int code)
{
    if (verb->file != NULL) {
        fprintf(stderr, "pawl: write: %llu bytes at %llu are written\n",
                (unsigned long long)verb->written_bytes, (unsigned long long)verb->offset);
    }
    if (code == PAWL_EUNKNOWN) {
        return cli_fail_with(verb->target, code,
                             "the next ones may be; run the same command again");
    }
    return cli_fail(verb->failed != NULL ? verb->failed : verb->target, code);
}

int cli_write(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{"offset", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    struct write_verb verb = {.json = cli->json};
    bool has_offset = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'o' || pawl_config_bytes(optarg, &verb.offset) != 0) {
            return cli_usage("write", "bad option or value");
        }
        has_offset = true;
    }
    if (!has_offset || argc - optind < 1 || argc - optind > 2) {
        return cli_usage("write", "needs --offset N, PATH, and SOURCE if it isn't standard input");
    }
    verb.target = argv[optind];
    verb.source = optind + 1 < argc ? argv[optind + 1] : "-";
    FILE *input = strcmp(verb.source, "-") == 0 ? stdin : fopen(verb.source, "re");
    if (input == NULL) {
        return cli_fail(verb.source, -errno);
    }
    int code = cli_connect(cli, &verb.pawl);
    if (code == 0) {
        code = run_write(&verb, input);
        pawl_close(verb.pawl);
        code = code != 0 ? write_failed(&verb, code) : CLI_OK;
    }
    if (input != stdin) {
        fclose(input);
    }
    return code;
}

static int run_extend(struct cli *cli, struct pawl *pawl, const char *path, uint64_t bytes)
{
    struct pawl_file *file;
    int code = pawl_open(pawl, path, &file);
    code = code != 0 ? code : pawl_extend(file, bytes);
    code = code != 0 ? code : pawl_file_bytes(file, &bytes);
    if (code == 0) {
        if (cli->json) {
            printf("{\"bytes\": %llu}\n", (unsigned long long)bytes);
        } else {
            printf("%s: %llu bytes\n", path, (unsigned long long)bytes);
        }
    }
    return code;
}

int cli_extend(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = {{NULL, 0, NULL, 0}};
    uint64_t bytes = 0;
    if (getopt_long(argc, argv, "", options, NULL) != -1 || argc - optind != 2 ||
        pawl_config_bytes(argv[optind + 1], &bytes) != 0) {
        return cli_usage("extend", "needs PATH and BYTES");
    }
    struct pawl *pawl;
    int code = cli_connect(cli, &pawl);
    if (code != 0) {
        return code;
    }
    code = run_extend(cli, pawl, argv[optind], bytes);
    pawl_close(pawl);
    return code != 0 ? cli_fail(argv[optind], code) : CLI_OK;
}
