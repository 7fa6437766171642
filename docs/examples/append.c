// SPDX-License-Identifier: Apache-2.0
// Appends the lines of standard input to a file of a Pawl cluster, each exactly once, and reads the
// file back.
//
//   cc append.c $(pkg-config --cflags --libs pawl) -o append
//   seq 1000 | ./append 127.0.0.1:7400 /jobs/log worker-1
//
// The producer has a name, so the program may be killed and run again with the same input at any
// time: it asks how many lines are in the file already and goes on behind them.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/pawl.h>

static int fail(const char *what, int code)
{
    fprintf(stderr, "%s: %s\n", what, pawl_strerror(code));
    // The outcome of an append can be unknown, for instance when the cluster was cut off for longer
    // than the deadline. Nothing is lost or doubled by running this program again.
    return code == PAWL_EUNKNOWN ? 2 : 1;
}

// Line n of the input is the record with sequence n. Lines that the file has are skipped.
static int append_lines(struct pawl_file *file, uint64_t skip)
{
    char line[65536];
    uint64_t number = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (++number <= skip) {
            continue;
        }
        struct pawl_append_result result;
        int code = pawl_append(file, line, strlen(line), NULL, &result);
        if (code != 0) {
            return code;
        }
        fprintf(stderr, "line %" PRIu64 " at offset %" PRIu64 "%s\n", number, result.offset,
                result.duplicate ? ", was there already" : "");
    }
    return 0;
}

static int copy_out(struct pawl_file *file)
{
    char buffer[65536];
    uint64_t offset = 0;
    size_t got;
    do {
        int code = pawl_read(file, offset, buffer, sizeof buffer, NULL, &got);
        if (code != 0) {
            return code;
        }
        fwrite(buffer, 1, got, stdout);
        offset += got;
    } while (got != 0);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: append HOST:PORT PATH PRODUCER <LINES\n");
        return 1;
    }
    struct pawl_options options = {.size = sizeof options, .master = argv[1]};
    struct pawl *pawl;
    int code = pawl_connect(&options, &pawl);
    if (code != 0) {
        return fail(argv[1], code);
    }
    struct pawl_file *file;
    uint64_t last = 0;
    code = pawl_create(pawl, argv[2], NULL, &file);
    if (code == 0) {
        code = pawl_producer_open(file, argv[3], &last);
    }
    if (code == 0) {
        code = append_lines(file, last);
    }
    if (code == 0) {
        code = copy_out(file);
    }
    pawl_close(pawl); // closes the file too
    return code == 0 ? EXIT_SUCCESS : fail(argv[2], code);
}
