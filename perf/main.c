// SPDX-License-Identifier: Apache-2.0
// pawl-perf: the entry: options, the cluster, the verb, its output.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "perf/interrupt.h"
#include "perf/perf.h"
#include "perf/report.h"
#include "perf/roofline/roofline.h"
#include "perf/run.h"

static int print_result(const struct perf_result *result, const struct perf_cluster *cluster)
{
    if (!result->options.json) {
        perf_result_print(stdout, result, cluster);
        return 0;
    }
    json_t *root = perf_result_json(result, cluster);
    int code = root == NULL || json_dumpf(root, stdout, PERF_JSON_FLAGS) != 0 ? PERF_FAILED : 0;
    json_decref(root);
    putchar('\n');
    return code;
}

static int run(const struct perf_options *options, const struct perf_cluster *cluster)
{
    struct perf_result result = {0};
    if (options->verb == PERF_REPORT) {
        return perf_report(options, cluster);
    }
    int code = perf_options_is_load(options) ? perf_run_rounds(options, cluster, &result)
                                             : perf_failover(options, cluster, &result);
    if (result.rounds_count != 0) {
        int printed = print_result(&result, cluster);
        code = code != 0 ? code : printed;
    }
    perf_result_fini(&result);
    return code;
}

static int usage(const struct perf_options_error *error)
{
    fprintf(stderr,
            "pawl-perf: %s\n      `pawl-perf --help` and `pawl-perf VERB --help` tell more\n",
            error->text);
    return PERF_USAGE;
}

int main(int argc, char **argv)
{
    struct perf_options options;
    struct perf_options_error error;
    static struct perf_cluster cluster;
    pawl_log_init(PAWL_LOG_WARN, STDERR_FILENO);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("pawl-perf %s\n", pawl_version());
        return PERF_OK;
    }
    if (argc > 1 && strcmp(argv[1], "roofline") == 0) {
        return roofline_main(argc - 1, argv + 1);
    }
    if (perf_options_parse(argc, argv, &options, &error) != 0) {
        return usage(&error);
    }
    if (options.help) {
        perf_options_help(stdout, options.verb);
        return PERF_OK;
    }
    int code = perf_interrupt_init();
    if (code != 0) {
        fprintf(stderr, "pawl-perf: signals: %s\n", pawl_strerror(code));
        return PERF_FAILED;
    }
    code = perf_cluster_open(&options, &cluster);
    code = code != 0 ? code : run(&options, &cluster);
    int closed = perf_cluster_close(&cluster);
    code = code != 0 ? code : closed;
    if (perf_interrupted() != 0) {
        return PERF_SIGNAL + perf_interrupted();
    }
    if ((fflush(stdout) != 0 || ferror(stdout) != 0) && code == 0) {
        fprintf(stderr, "pawl-perf: standard output: %s\n", pawl_strerror(-errno));
        return PERF_FAILED;
    }
    return code;
}
