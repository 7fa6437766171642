// SPDX-License-Identifier: Apache-2.0
// Suites: what is run, and in which order.
#include "perf/report.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "perf/beside.h"
#include "perf/perf.h"
#include "perf/run.h"
#include "perf/targets.h"

#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)

struct suite_run {
    const char *group;
    enum perf_verb verb;
    uint64_t clients;
    uint64_t files;
    uint64_t bytes;
    uint64_t depth;
    uint64_t ops;      // 0: by time
    uint64_t replicas; // 0: as was said
};

struct suite {
    const char *name;
    const char *about;
    bool bandwidth;
    uint64_t duration_ms;
    uint64_t warm_up_ms;
    uint64_t repeat;
    uint64_t file_bytes; // of each file that is read
    const struct suite_run *runs;
    size_t runs_count;
};

static const struct suite_run quick[] = {
    {"1 KiB append", PERF_APPEND, 1, 1, KIB, 1, 0, 0},
    {"1 KiB append", PERF_APPEND, 2, 1, KIB, 1, 0, 0},
    {"1 KiB append", PERF_APPEND, 4, 1, KIB, 1, 0, 0},
    {"1 KiB append, depth 64", PERF_APPEND, 1, 1, KIB, 64, 0, 0},
    {"1 KiB append, depth 64", PERF_APPEND, 2, 1, KIB, 64, 0, 0},
    {"1 KiB append, depth 64", PERF_APPEND, 4, 1, KIB, 64, 0, 0},
    {"1 MiB append, depth 8", PERF_APPEND, 1, 1, MIB, 8, 0, 0},
    {"1 MiB read, depth 4", PERF_READ, 1, 1, MIB, 4, 0, 0},
    {"names", PERF_META, 1, 1, KIB, 1, 0, 0},
};

static const struct suite_run reference[] = {
    {"1 KiB append", PERF_APPEND, 1, 1, KIB, 1, 0, 0},
    {"1 KiB append", PERF_APPEND, 2, 1, KIB, 1, 0, 0},
    {"1 KiB append", PERF_APPEND, 3, 1, KIB, 1, 0, 0},
    {"1 KiB append", PERF_APPEND, 4, 1, KIB, 1, 0, 0},
    {"latency of 200 appends", PERF_APPEND, 1, 1, KIB, 1, 200, 0},
};

// The network alone: what readers of one server each, and writers, could have of it.
#define GFS_READ_LIMIT "limit: pushed to one server"
#define GFS_WRITE_LIMIT "limit: pushed to all replicas"

static const struct suite_run gfs[] = {
    {GFS_READ_LIMIT, PERF_PUSH, 1, 1, MIB, 4, 0, 1},
    {GFS_READ_LIMIT, PERF_PUSH, 2, 2, MIB, 4, 0, 1},
    {GFS_READ_LIMIT, PERF_PUSH, 4, 4, MIB, 4, 0, 1},
    {GFS_WRITE_LIMIT, PERF_PUSH, 1, 1, MIB, 4, 0, 0},
    {GFS_WRITE_LIMIT, PERF_PUSH, 2, 2, MIB, 4, 0, 0},
    {GFS_WRITE_LIMIT, PERF_PUSH, 4, 4, MIB, 4, 0, 0},
    {"readers", PERF_READ, 1, 1, MIB, 4, 0, 0},
    {"readers", PERF_READ, 2, 2, MIB, 4, 0, 0},
    {"readers", PERF_READ, 4, 4, MIB, 4, 0, 0},
    {"writers, a file each", PERF_APPEND, 1, 1, MIB, 4, 0, 0},
    {"writers, a file each", PERF_APPEND, 2, 2, MIB, 4, 0, 0},
    {"writers, a file each", PERF_APPEND, 4, 4, MIB, 4, 0, 0},
    {"appenders to one file", PERF_APPEND, 1, 1, MIB, 4, 0, 0},
    {"appenders to one file", PERF_APPEND, 2, 1, MIB, 4, 0, 0},
    {"appenders to one file", PERF_APPEND, 4, 1, MIB, 4, 0, 0},
};

static const struct suite_run targets[] = {
    {PERF_TARGETS_ALONE, PERF_APPEND, 1, 1, KIB, 1, 0, 0},
    {PERF_TARGETS_MANY, PERF_APPEND, 4, 1, KIB, 64, 0, 0},
    {PERF_TARGETS_LARGE, PERF_APPEND, 1, 1, MIB, 8, 0, 0},
    {PERF_TARGETS_COLD, PERF_READ, 1, 1, MIB, 8, 0, 0},
    {PERF_TARGETS_HOT, PERF_READ, 1, 1, MIB, 8, 0, 0},
    {PERF_TARGETS_HALF, PERF_APPEND, 4, 1, KIB, 64, 0, 0},
    {PERF_TARGETS_REFERENCE, PERF_APPEND, 1, 1, KIB, 1, 0, 0},
    {PERF_TARGETS_REFERENCE, PERF_APPEND, 2, 1, KIB, 1, 0, 0},
    {PERF_TARGETS_REFERENCE, PERF_APPEND, 3, 1, KIB, 1, 0, 0},
    {PERF_TARGETS_REFERENCE, PERF_APPEND, 4, 1, KIB, 1, 0, 0},
};

static const struct suite suites[] = {
    {"quick", "A look at everything, in about a minute: small appends, large ones, reads, names.",
     false, 1000, 300, 3, 64 * MIB, quick, PAWL_ARRAY_COUNT(quick)},
    {"reference",
     "1 KiB appends at depth 1, each durable on every replica before the next, by 1 to 4 clients "
     "for 20 "
     "s; and the latency of 200 of them.",
     false, 20000, 1000, 5, 64 * MIB, reference, PAWL_ARRAY_COUNT(reference)},
    {"gfs",
     "After the GFS paper: N readers, N writers with a file each, N appenders to one file, all in "
     "records of 1 MiB; aggregate rate, beside what the network alone gives: the same payloads "
     "pushed to one server, "
     "and to all replicas, and let go again.",
     true, 5000, 1000, 3, 256 * MIB, gfs, PAWL_ARRAY_COUNT(gfs)},
    {"targets",
     "What is to be reached on the machine that it is measured on, beside the roofline of the same "
     "run: the same processes, messages, bytes and flushes with no file system in them.",
     false, 2000, 500, 5, 256 * MIB, targets, PAWL_ARRAY_COUNT(targets)},
};

static const struct suite *find_suite(const char *name)
{
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(suites); i++) {
        if (strcmp(suites[i].name, name) == 0) {
            return &suites[i];
        }
    }
    return NULL;
}

// What was said on the command line goes before what the suite says.
static struct perf_options run_options(const struct suite *suite, const struct suite_run *run,
                                       const struct perf_options *said)
{
    struct perf_options options;
    perf_options_default(run->verb, &options);
    options.clients = run->clients;
    options.files = run->files;
    options.bytes = run->bytes;
    options.depth = run->depth;
    options.ops = run->ops;
    options.file_bytes = suite->file_bytes;
    options.servers = said->servers;
    options.timeout_ms = said->timeout_ms;
    options.keep = said->keep;
    options.replicas = run->replicas != 0 ? run->replicas : said->replicas;
    options.duration_ms =
        perf_options_was_given(said, "--duration") ? said->duration_ms : suite->duration_ms;
    options.warm_up_ms =
        perf_options_was_given(said, "--warm-up") ? said->warm_up_ms : suite->warm_up_ms;
    options.settle = said->settle;
    options.repeat = perf_options_was_given(said, "--repeat") ? said->repeat : suite->repeat;
    if (suite->runs == targets) {
        perf_targets_options(run->group, said, &options);
    }
    return options;
}

// Of appends and reads there is a roofline, if it has such a shape.
static bool has_roofline(const struct perf_options *options, const struct perf_cluster *cluster)
{
    struct perf_beside beside;
    const char *why;
    return (options->verb == PERF_APPEND || options->verb == PERF_READ) &&
           perf_beside_init(options, cluster, &beside, &why) == 0;
}

// What the network alone gives to such a run.
static const char *limit_of(const struct suite *suite, const struct suite_run *run)
{
    if (suite->runs != gfs || run->verb == PERF_PUSH) {
        return NULL;
    }
    return run->verb == PERF_READ ? GFS_READ_LIMIT : GFS_WRITE_LIMIT;
}

static int run_suite(const struct suite *suite, const struct perf_options *options,
                     const struct perf_cluster *cluster, struct perf_report *report)
{
    int code = 0;
    for (size_t i = 0; code == 0 && i < suite->runs_count; i++) {
        struct perf_report_run *run = &report->runs[i];
        run->group = suite->runs[i].group;
        run->limit = suite->runs[i].verb == PERF_PUSH;
        run->limited_by = limit_of(suite, &suite->runs[i]);
        // The result keeps a copy of its options, so they must not be read through it meanwhile.
        struct perf_options own = run_options(suite, &suite->runs[i], options);
        run->roofline_none = !has_roofline(&own, cluster);
        own.roofline |= options->roofline && suite->runs != targets && !run->roofline_none;
        fprintf(stderr, "pawl-perf: %zu of %zu: %s, %llu clients\n", i + 1, suite->runs_count,
                run->group, (unsigned long long)own.clients);
        code = perf_run_rounds(&own, cluster, &run->result);
        report->runs_count++;
    }
    return code;
}

double perf_report_limit_share(const struct perf_report *report, const struct perf_report_run *run)
{
    for (size_t i = 0; run->limited_by != NULL && i < report->runs_count; i++) {
        const struct perf_report_run *limit = &report->runs[i];
        if (strcmp(limit->group, run->limited_by) == 0 &&
            limit->result.options.clients == run->result.options.clients) {
            return perf_result_spread(&run->result, PERF_FIGURE_bytes_per_s).median /
                   perf_result_spread(&limit->result, PERF_FIGURE_bytes_per_s).median;
        }
    }
    return NAN;
}

static int print_json(const struct perf_report *report, const char *output,
                      const struct perf_cluster *cluster)
{
    json_t *runs = json_array();
    for (size_t i = 0; i < report->runs_count; i++) {
        json_t *run = perf_result_json(&report->runs[i].result, cluster);
        double share = perf_report_limit_share(report, &report->runs[i]);
        json_object_set_new(run, "group", json_string(report->runs[i].group));
        json_object_set_new(run, "limit_share", isnan(share) ? json_null() : json_real(share));
        json_array_append_new(runs, run);
    }
    json_t *root = json_pack("{s:s,s:s,s:s,s:o}", "verb", "report", "suite", report->suite,
                             "output", output, "runs", runs);
    if (report->targets) {
        json_object_set_new(root, "targets", perf_targets_json(report));
    }
    int code = root == NULL || json_dumpf(root, stdout, PERF_JSON_FLAGS) != 0 ? PERF_FAILED : 0;
    json_decref(root);
    putchar('\n');
    return code;
}

static void print_tables(const struct perf_report *report, const char *output,
                         const struct perf_cluster *cluster)
{
    for (size_t i = 0; i < report->runs_count; i++) {
        double share = perf_report_limit_share(report, &report->runs[i]);
        perf_result_print(stdout, &report->runs[i].result, cluster);
        if (!isnan(share)) {
            printf("%.2f of the %s\n", share, report->runs[i].limited_by);
        }
        putchar('\n');
    }
    if (report->targets) {
        perf_targets_print(stdout, report);
        putchar('\n');
    }
    printf("%s\n", output);
}

static int complain(const char *path)
{
    fprintf(stderr, "pawl-perf: --output %s: %s\n", path, pawl_strerror(-errno));
    return PERF_FAILED;
}

// The page is written beside its place first: one that is there is replaced by a whole one only.
static int write_page(FILE *file, const char *part, const char *output,
                      const struct perf_report *report, const struct perf_cluster *cluster)
{
    perf_page_write(file, report, cluster);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed || rename(part, output) != 0) {
        return complain(output);
    }
    return 0;
}

int perf_report(const struct perf_options *options, const struct perf_cluster *cluster)
{
    static struct perf_report report;
    const struct suite *suite = find_suite(options->suite);
    char output[PATH_MAX];
    char part[PATH_MAX];
    if (suite == NULL ||
        snprintf(output, sizeof output, "%s%s%s",
                 options->output != NULL ? options->output : "pawl-perf-",
                 options->output != NULL ? "" : suite->name,
                 options->output != NULL ? "" : ".html") >= (int)sizeof output ||
        snprintf(part, sizeof part, "%s.part", output) >= (int)sizeof part) {
        errno = ENAMETOOLONG;
        return complain(options->output);
    }
    FILE *file = fopen(part, "we"); // before all the work
    if (file == NULL) {
        return complain(output);
    }
    report = (struct perf_report){
        .suite = suite->name, .about = suite->about, .bandwidth = suite->bandwidth};
    report.targets = suite->runs == targets;
    int code = run_suite(suite, options, cluster, &report);
    if (code != 0) {
        fclose(file);
        unlink(part);
    } else {
        code = write_page(file, part, output, &report, cluster);
    }
    if (code == 0 && options->json) {
        code = print_json(&report, output, cluster);
    } else if (code == 0) {
        print_tables(&report, output, cluster);
    }
    for (size_t i = 0; i < report.runs_count; i++) {
        perf_result_fini(&report.runs[i].result);
    }
    return code;
}
