// SPDX-License-Identifier: Apache-2.0
// pawl-golden: plays scenarios and compares what happened with what their files say.
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden.h"

#define SEEDS_MAX 512u

struct options {
    bool update;
    bool print;
};

static const char *current; // for the handler of an abort

static void on_abort(int signal_number)
{
    (void)signal_number;
    fprintf(stderr, "%s: an assertion failed\n", current);
    _exit(2);
}

// The first line that differs, with the two before it.
static void print_difference(const char *expected, const char *actual)
{
    const char *before[2] = {NULL, NULL};
    uint32_t line = 1;
    while (*expected != 0 && *actual != 0) {
        size_t e = strcspn(expected, "\n");
        size_t a = strcspn(actual, "\n");
        if (e != a || memcmp(expected, actual, e) != 0) {
            break;
        }
        before[0] = before[1];
        before[1] = actual;
        expected += e + (expected[e] != 0);
        actual += a + (actual[a] != 0);
        line++;
    }
    fprintf(stderr, "the trace differs from its line %u on\n", line);
    for (int i = 0; i < 2; i++) {
        if (before[i] != NULL) {
            fprintf(stderr, " %.*s\n", (int)strcspn(before[i], "\n"), before[i]);
        }
    }
    for (int i = 0; i < 4 && *expected != 0; i++) {
        size_t e = strcspn(expected, "\n");
        fprintf(stderr, "-%.*s\n", (int)e, expected);
        expected += e + (expected[e] != 0);
    }
    for (int i = 0; i < 4 && *actual != 0; i++) {
        size_t a = strcspn(actual, "\n");
        fprintf(stderr, "+%.*s\n", (int)a, actual);
        actual += a + (actual[a] != 0);
    }
}

static const char *text_of(const struct golden_text *text)
{
    return text->data != NULL ? text->data : "";
}

// Under the first seed that lets the master draw the primaries that the case wants.
static bool play(const struct golden_case *test, struct golden_run *run)
{
    for (uint64_t seed = 1; seed <= SEEDS_MAX; seed++) {
        bool right = golden_play(test, seed, run);
        if (!run->drawn_wrong) {
            return right;
        }
        if (seed < SEEDS_MAX) {
            golden_run_free(run);
        }
    }
    golden_error(run, 0, "no seed gives the primaries that the case wants");
    return false;
}

static bool run_case(const struct options *options, const struct golden_scenario *scenario,
                     struct golden_case *test)
{
    struct golden_run *run = sim_alloc(sizeof(*run));
    bool right = play(test, run);
    if (run->playing) {
        right &= golden_judge(run);
    }
    bool equal = strcmp(text_of(&run->trace), text_of(&test->trace)) == 0;
    if (options->print && test->name[0] != 0) {
        printf("case %s\n", test->name);
    }
    if (options->print || (!right && !equal)) {
        fputs(text_of(&run->trace), options->print ? stdout : stderr);
    }
    if (options->update && right) {
        free(test->trace.data);
        test->trace = run->trace;
        run->trace = (struct golden_text){0};
    } else if (right && !equal && !options->print) {
        print_difference(text_of(&test->trace), text_of(&run->trace));
        right = false;
    }
    if (!right) {
        fprintf(stderr, "%s%s%s: FAILED%s\n", scenario->path, test->name[0] != 0 ? ": " : "",
                test->name, options->update ? "; its trace was left as it was" : "");
    }
    golden_run_free(run);
    free(run);
    return right;
}

static bool scenario_write(const struct golden_scenario *scenario)
{
    FILE *file = fopen(scenario->path, "w");
    if (file == NULL) {
        perror(scenario->path);
        return false;
    }
    for (uint32_t i = 0; i < scenario->cases_count; i++) {
        fputs(text_of(&scenario->cases[i].before), file);
        fputs(text_of(&scenario->cases[i].trace), file);
        if (i + 1 < scenario->cases_count) {
            fputc('\n', file);
        }
    }
    return fclose(file) == 0;
}

static bool run_file(const struct options *options, const char *path)
{
    struct golden_scenario scenario = {0};
    current = path;
    bool right = golden_read(path, &scenario);
    uint32_t cases_count = right ? scenario.cases_count : 0;
    for (uint32_t i = 0; i < cases_count; i++) {
        right &= run_case(options, &scenario, &scenario.cases[i]);
    }
    if (options->update && cases_count > 0) {
        right &= scenario_write(&scenario);
    }
    if (scenario.cases != NULL) {
        golden_scenario_free(&scenario);
    }
    return right;
}

static int usage(FILE *out, int code)
{
    fprintf(out, "usage: pawl-golden [--update] [--print] FILE...\n"
                 "  --update  write the traces anew, where all expectations hold\n"
                 "  --print   print the traces, compare nothing\n"
                 "Exit status: 0 all as expected, 1 something was not, 2 an assertion failed or "
                 "usage.\n");
    return code;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"update", no_argument, NULL, 'u'},
        {"print", no_argument, NULL, 'p'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options options = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c == 'h') {
            return usage(stdout, 0);
        }
        if (c == '?') {
            return usage(stderr, 2);
        }
        options.update |= c == 'u';
        options.print |= c == 'p';
    }
    if (optind == argc) {
        return usage(stderr, 2);
    }
    signal(SIGABRT, on_abort);
    int failed_count = 0;
    for (int i = optind; i < argc; i++) {
        failed_count += run_file(&options, argv[i]) ? 0 : 1;
    }
    printf("scenarios %d failed %d\n", argc - optind, failed_count);
    return failed_count == 0 ? 0 : 1;
}
