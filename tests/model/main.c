// SPDX-License-Identifier: Apache-2.0
// pawl-model: all interleavings of a small cluster of the real cores.
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mutant.h"
#include "model.h"

static void on_abort(int signal_number)
{
    (void)signal_number;
    fputs("VIOLATION an assertion failed\n", stderr);
    model_explore_last_words();
    fflush(stderr);
    _exit(2);
}

static int usage(FILE *out, int code)
{
    fputs("usage: pawl-model --config NAME [--states N] [--seconds S] [--no-liveness]\n"
          "                  [--no-validate] [--mutant NAME] [--violated] [--quiet]\n"
          "                  [--no-reduction] [--no-merging] [--no-memory]\n"
          "                  [--replay PATH]\n"
          "       pawl-model --list\n"
          "  --config NAME   the cluster and its faults\n"
          "  --states N      stop at N states\n"
          "  --seconds S     stop after S seconds\n"
          "  --no-liveness   don't look for states that nothing leads out of\n"
          "  --no-validate   leave out the cores' own checks\n"
          "  --mutant NAME   with a planted bug (base/mutant_list.h), and so without these checks\n"
          "  --violated      something is to be violated: exit 0 then, and 1 otherwise\n"
          "  --no-reduction  every order of all events, also where it makes no difference\n"
          "  --no-merging    states differ also in the order and the numbers of what is under way\n"
          "  --no-memory     run a node for every event, also when it has done the same before\n"
          "  --quiet         say nothing on the way\n"
          "  --replay PATH   run one path and say what happens\n"
          "Exit status: 0 nothing was violated, 1 something was, 2 an assertion failed or usage.\n",
          out);
    return code;
}

static void list_configs(void)
{
    const struct model_config *config;
    for (size_t i = 0; (config = model_config_at(i)) != NULL; i++) {
        printf("%-14s %s\n", config->name, config->text);
    }
}

static int explore(const struct model_limits *limits)
{
    struct model_result result;
    model_explore(limits, &result);
    printf("%s: %llu states, %llu transitions, depth %u, %llu answered, %llu at the bound of "
           "versions, %llu stuck, %.1f s, %s, %s\n",
           model_world.config->name, (unsigned long long)result.states,
           (unsigned long long)result.transitions, result.depth,
           (unsigned long long)result.answered, (unsigned long long)result.bounded,
           (unsigned long long)result.stuck, result.seconds,
           result.complete ? "complete" : "not complete",
           result.violated ? "VIOLATED" : "no violation");
    return result.violated ? 1 : 0;
}

static bool activate(const char *name)
{
#define MODEL_NAME(name, section, rule) #name,
    static const char *const names[PAWL_MUTANTS_END] = {"none", PAWL_MUTANT_LIST(MODEL_NAME)};
#undef MODEL_NAME
    for (int i = 1; i < PAWL_MUTANTS_END; i++) {
        if (strcmp(names[i], name) == 0) {
            pawl_mutant_active = (enum pawl_mutant)i;
            return true;
        }
    }
    return false;
}

struct options {
    const struct model_config *config;
    const char *path;
    struct model_limits limits;
    bool no_validate;
    bool no_merging;
    bool no_memory;
    bool violated;
    bool list;
};

static bool parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},  {"states", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'}, {"replay", required_argument, NULL, 'r'},
        {"no-liveness", no_argument, NULL, 'l'},   {"no-validate", no_argument, NULL, 'v'},
        {"quiet", no_argument, NULL, 'q'},         {"mutant", required_argument, NULL, 'm'},
        {"violated", no_argument, NULL, 'w'},      {"no-reduction", no_argument, NULL, 'o'},
        {"no-merging", no_argument, NULL, 'g'},    {"no-memory", no_argument, NULL, 'f'},
        {"list", no_argument, NULL, 'i'},          {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            options->config = model_config_find(optarg);
            break;
        case 'n':
            options->limits.states_max = strtoull(optarg, NULL, 10);
            break;
        case 's':
            options->limits.seconds_max = strtod(optarg, NULL);
            break;
        case 'r':
            options->path = optarg;
            break;
        case 'l':
            options->limits.liveness = false;
            break;
        case 'v':
            options->no_validate = true;
            break;
        case 'm':
            options->no_validate = true;
            if (!activate(optarg)) {
                return false;
            }
            break;
        case 'w':
            options->violated = true;
            break;
        case 'q':
            options->limits.quiet = true;
            break;
        case 'o':
            options->limits.reduce = false;
            break;
        case 'g':
            options->no_merging = true;
            break;
        case 'f':
            options->no_memory = true;
            break;
        case 'i':
            options->list = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && (options->list || options->config != NULL);
}

int main(int argc, char **argv)
{
    struct options options = {.limits = {.liveness = true, .reduce = true}};
    if (!parse(argc, argv, &options)) {
        return usage(stderr, 2);
    }
    if (options.list) {
        list_configs();
        return 0;
    }
    signal(SIGABRT, on_abort);
    model_world.validate = !options.no_validate;
    model_world.merge = !options.no_merging;
    model_world.forgets = options.no_memory;
    model_world_new(options.config);
    model_world_boot();
    if (options.path == NULL) {
        return explore(&options.limits) == (options.violated ? 1 : 0) ? 0 : 1;
    }
    if (!model_replay(options.path)) {
        fputs("this is no path of the configuration\n", stderr);
        return 2;
    }
    return model_world.violated ? 1 : 0;
}
