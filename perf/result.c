// SPDX-License-Identifier: Apache-2.0
// Results as a table for people and as JSON for machines.
#include "perf/result.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "perf/roofline/print.h"

int perf_result_init(struct perf_result *result, const struct perf_options *options)
{
    *result = (struct perf_result){.options = *options, .peak_ops_per_s = NAN};
    result->rounds = calloc(options->repeat, sizeof *result->rounds);
    if (result->rounds == NULL) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < options->repeat; i++) {
        struct perf_round *round = &result->rounds[i];
        pawl_histogram_init(&round->latency_ns);
        perf_stages_init(&round->stages);
        round->roofline = (struct perf_roofline){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
        round->cpu_client_s = round->cpu_master_s = round->cpu_servers_s = NAN;
        for (size_t k = 0; k < PERF_KINDS_COUNT; k++) {
            pawl_histogram_init(&round->kinds[k].latency_ns);
        }
        for (size_t k = 0; k < PERF_FIGURES_COUNT; k++) {
            round->figures[k] = NAN;
        }
    }
    return 0;
}

void perf_result_fini(struct perf_result *result)
{
    for (uint64_t i = 0; result->rounds != NULL && i < result->options.repeat; i++) {
        free(result->rounds[i].files);
        free(result->rounds[i].pauses_ms);
    }
    free(result->rounds);
    result->rounds = NULL;
}

struct perf_spread perf_result_spread(const struct perf_result *result, enum perf_figure figure)
{
    double values[PERF_REPEAT_MAX];
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        values[i] = result->rounds[i].figures[figure];
    }
    return perf_spread_of(values, result->rounds_count);
}

struct perf_spread perf_result_kind_spread(const struct perf_result *result, enum perf_kind kind,
                                           enum perf_figure figure)
{
    double values[PERF_REPEAT_MAX];
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        const struct perf_round *round = &result->rounds[i];
        double figures[PERF_FIGURES_COUNT];
        perf_figures_of(round->kinds[kind].ops, round->kinds[kind].bytes, round->seconds, NAN,
                        &round->kinds[kind].latency_ns, figures);
        values[i] = figures[figure];
    }
    return perf_spread_of(values, result->rounds_count);
}

struct perf_roofline perf_result_roofline(const struct perf_result *result)
{
    static const size_t members[] = {offsetof(struct perf_roofline, ops_per_s),
                                     offsetof(struct perf_roofline, bytes_per_s),
                                     offsetof(struct perf_roofline, p50_us),
                                     offsetof(struct perf_roofline, p999_us),
                                     offsetof(struct perf_roofline, cpu_s_per_gb),
                                     offsetof(struct perf_roofline, replica_cpu_s_per_gb),
                                     offsetof(struct perf_roofline, duties_ops_per_s),
                                     offsetof(struct perf_roofline, duties_p999_us),
                                     offsetof(struct perf_roofline, duties_replica_cpu_s_per_gb)};
    struct perf_roofline median = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    double values[PERF_REPEAT_MAX];
    for (size_t k = 0; k < PAWL_ARRAY_COUNT(members); k++) {
        for (uint32_t i = 0; i < result->rounds_count; i++) {
            values[i] = *(const double *)((const char *)&result->rounds[i].roofline + members[k]);
        }
        *(double *)((char *)&median + members[k]) =
            perf_spread_of(values, result->rounds_count).median;
    }
    return median;
}

void perf_result_stages(const struct perf_result *result, struct perf_stages *ret)
{
    perf_stages_init(ret);
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        perf_stages_merge(ret, &result->rounds[i].stages);
    }
}

double perf_result_roof(const struct perf_result *result, enum perf_figure figure)
{
    struct perf_roofline median = perf_result_roofline(result);
    const double roofs[PERF_FIGURES_COUNT] = {
        [PERF_FIGURE_ops_per_s] = median.ops_per_s,
        [PERF_FIGURE_bytes_per_s] = median.bytes_per_s,
        [PERF_FIGURE_p50_us] = median.p50_us,
        [PERF_FIGURE_p999_us] = median.p999_us,
        [PERF_FIGURE_cpu_s_per_gb] = median.cpu_s_per_gb,
        [PERF_FIGURE_replica_cpu_s_per_gb] = median.replica_cpu_s_per_gb,
    };
    return roofs[figure] > 0 ? roofs[figure] : NAN;
}

double perf_result_duties(const struct perf_result *result, enum perf_figure figure)
{
    struct perf_roofline median = perf_result_roofline(result);
    const double duties[PERF_FIGURES_COUNT] = {
        [PERF_FIGURE_ops_per_s] = median.duties_ops_per_s,
        [PERF_FIGURE_bytes_per_s] = median.duties_ops_per_s * (double)result->options.bytes,
        [PERF_FIGURE_p999_us] = median.duties_p999_us,
        [PERF_FIGURE_replica_cpu_s_per_gb] = median.duties_replica_cpu_s_per_gb,
    };
    return duties[figure] > 0 ? duties[figure] : NAN;
}

// Medians of the figures as shares of the roofline's; NaN: there is none.
static void ratios_of(const struct perf_result *result, double ret[static PERF_FIGURES_COUNT])
{
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        ret[i] = perf_result_spread(result, i).median / perf_result_roof(result, i);
    }
}

static bool kind_used(const struct perf_result *result, enum perf_kind kind)
{
    bool used = false;
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        used |= result->rounds[i].kinds[kind].ops != 0;
    }
    return used;
}

static unsigned kinds_used(const struct perf_result *result)
{
    unsigned count = 0;
    for (unsigned kind = 0; kind < PERF_KINDS_COUNT; kind++) {
        count += kind_used(result, kind);
    }
    return count;
}

static uint64_t sum_of(const struct perf_result *result, size_t at)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        sum += *(const uint64_t *)((const char *)&result->rounds[i] + at);
    }
    return sum;
}

// ---- table --------------------------------------------------------------------------------------

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

void perf_result_describe(const struct perf_result *result, char *text, size_t text_bytes)
{
    const struct perf_options *options = &result->options;
    char loop[64] = "closed loop";
    char data[120] = "";
    if (options->rate_per_s != 0) {
        snprintf(loop, sizeof loop, "open loop at %llu/s%s",
                 (unsigned long long)options->rate_per_s,
                 isnan(result->peak_ops_per_s) ? "" : ", half of the peak");
    }
    bool data_moves = options->verb != PERF_META;
    bool stores = data_moves && options->verb != PERF_READ && options->verb != PERF_PUSH;
    if (data_moves) {
        snprintf(data, sizeof data, "%llu bytes, %llu replica%s, %llu file%s, ",
                 (unsigned long long)options->bytes, (unsigned long long)options->replicas,
                 plural(options->replicas), (unsigned long long)options->files,
                 plural(options->files));
    }
    if (!perf_options_is_load(options)) {
        snprintf(text, text_bytes, "failover: %s%s", data, options->ack);
        return;
    }
    snprintf(text, text_bytes, "%s: %s%llu client%s, depth %llu, %s%s%s",
             perf_verb_name(options->verb), data, (unsigned long long)options->clients,
             plural(options->clients), (unsigned long long)options->depth,
             stores ? options->ack : "", stores ? ", " : "", loop);
}

static void print_row(FILE *out, const char *text, enum perf_figure figure,
                      struct perf_spread spread)
{
    double shown = perf_figure_shown(figure, spread.median);
    int digits = shown >= 1000 ? 0 : shown >= 10 ? 1 : 4;
    if (!isnan(spread.median)) {
        fprintf(out, "  %-24s %12.*f %12.*f %12.*f\n", text, digits, shown, digits,
                perf_figure_shown(figure, spread.min), digits,
                perf_figure_shown(figure, spread.max));
    }
}

static void print_kind(FILE *out, const struct perf_result *result, enum perf_kind kind)
{
    static const enum perf_figure shown[] = {PERF_FIGURE_ops_per_s, PERF_FIGURE_p50_us,
                                             PERF_FIGURE_p99_us};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(shown); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s: %s", perf_kind_name(kind), perf_figure_text(shown[i]));
        print_row(out, text, shown[i], perf_result_kind_spread(result, kind, shown[i]));
    }
}

static void print_duties(FILE *out, const struct perf_result *result)
{
    if (!result->options.duties) {
        return;
    }
    fputs("  of the roofline with its duties:\n", out);
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        double duties = perf_result_duties(result, i);
        if (!isnan(duties)) {
            fprintf(out, "    %-22s %12.2f of %.*f\n", perf_figure_text(i),
                    perf_result_spread(result, i).median / duties,
                    i == PERF_FIGURE_bytes_per_s ? 4 : 1, perf_figure_shown(i, duties));
        }
    }
}

static void print_roofline(FILE *out, const struct perf_result *result)
{
    double ratios[PERF_FIGURES_COUNT];
    if (!result->options.roofline) {
        return;
    }
    ratios_of(result, ratios);
    fputs("  share of the roofline:\n", out);
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        if (!isnan(ratios[i])) {
            fprintf(out, "    %-22s %12.2f of %.*f\n", perf_figure_text(i), ratios[i],
                    i == PERF_FIGURE_bytes_per_s ? 4 : 1,
                    perf_figure_shown(i, perf_result_spread(result, i).median / ratios[i]));
        }
    }
    print_duties(out, result);
    fprintf(out, "  roofline: %s%s%s\n", result->roofline_valid ? "valid" : "NOT VALID",
            result->roofline_why[0] != '\0' ? ": " : "", result->roofline_why);
    roofline_print_model(out, "  ", &result->roofline_model,
                         perf_result_roofline(result).ops_per_s);
}

static void print_stages(FILE *out, const struct perf_result *result)
{
    static struct perf_stages stages;
    perf_result_stages(result, &stages);
    if (stages.ns[0].count == 0) {
        return;
    }
    fprintf(out, "  %-24s %12s %12s %12s\n", "stages of an append", "P50, us", "P99, us", "share");
    for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
        struct perf_stage_figures figures = perf_stage_figures(&stages, stage);
        fprintf(out, "    %-22s %12.1f %12.1f %11.1f%%\n", perf_stage_name(stage), figures.p50_us,
                figures.p99_us, 100 * figures.share);
    }
}

void perf_result_print(FILE *out, const struct perf_result *result,
                       const struct perf_cluster *cluster)
{
    char text[256];
    perf_result_describe(result, text, sizeof text);
    fprintf(out, "%s\n", text);
    fprintf(out, "cluster: %u servers, %s, on %s%s\n", cluster->local.servers_count,
            cluster->transport, cluster->file_system,
            cluster->direct ? "" : " without O_DIRECT: the page cache takes part");
    fprintf(out, "  %-24s %12s %12s %12s\n", "", "median", "min", "max");
    for (unsigned figure = 0; figure < PERF_FIGURES_COUNT; figure++) {
        if (figure != PERF_FIGURE_bytes_per_s || result->options.verb != PERF_META) {
            print_row(out, perf_figure_text(figure), figure, perf_result_spread(result, figure));
        }
    }
    for (unsigned kind = 0; kinds_used(result) > 1 && kind < PERF_KINDS_COUNT; kind++) {
        if (kind_used(result, kind)) {
            print_kind(out, result, kind);
        }
    }
    print_stages(out, result);
    if (result->rounds_count != 0 && result->rounds[0].syscalls_why[0] != '\0') {
        fprintf(out, "  system calls were not counted: %s\n", result->rounds[0].syscalls_why);
    }
    print_roofline(out, result);
    uint64_t errors = sum_of(result, offsetof(struct perf_round, errors));
    uint64_t retries = sum_of(result, offsetof(struct perf_round, retries));
    fprintf(out, "%u round%s, %llu error%s, %llu %s", result->rounds_count,
            plural(result->rounds_count), (unsigned long long)errors, plural(errors),
            (unsigned long long)retries, retries == 1 ? "retry" : "retries");
    if (result->options.rate_per_s != 0) {
        fprintf(out, ", %llu due but unsent at the end",
                (unsigned long long)sum_of(result, offsetof(struct perf_round, unsent)));
    }
    fputs("\n", out);
}

// ---- JSON ---------------------------------------------------------------------------------------

static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *figures_json(const double *figures)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        json_object_set_new(object, perf_figure_name(i), number(figures[i]));
    }
    return object;
}

static json_t *kinds_json(const struct perf_round *round)
{
    json_t *object = json_object();
    for (unsigned kind = 0; kind < PERF_KINDS_COUNT; kind++) {
        const struct perf_tally *tally = &round->kinds[kind];
        double figures[PERF_FIGURES_COUNT];
        if (tally->ops == 0) {
            continue;
        }
        perf_figures_of(tally->ops, tally->bytes, round->seconds, NAN, &tally->latency_ns, figures);
        json_t *item = figures_json(figures);
        json_object_set_new(item, "ops", json_integer((json_int_t)tally->ops));
        json_object_set_new(item, "bytes", json_integer((json_int_t)tally->bytes));
        json_object_set_new(object, perf_kind_name(kind), item);
    }
    return object;
}

// Null when none was measured: only the verb append does.
static json_t *stages_json(const struct perf_stages *stages)
{
    if (stages->ns[0].count == 0) {
        return json_null();
    }
    json_t *object = json_object();
    for (unsigned stage = 0; stage < PERF_STAGES_COUNT; stage++) {
        struct perf_stage_figures figures = perf_stage_figures(stages, stage);
        json_object_set_new(object, perf_stage_name(stage),
                            json_pack("{s:o,s:o,s:o,s:o}", "mean_us", number(figures.mean_us),
                                      "p50_us", number(figures.p50_us), "p99_us",
                                      number(figures.p99_us), "share", number(figures.share)));
    }
    return object;
}

static json_t *files_json(const struct perf_round *round)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < round->files_count; i++) {
        const struct perf_file *file = &round->files[i];
        json_array_append_new(array,
                              json_pack("{s:s,s:I,s:I,s:I}", "path", file->path, "ops",
                                        (json_int_t)file->ops, "bytes", (json_int_t)file->bytes,
                                        "stat_bytes", (json_int_t)file->stat_bytes));
    }
    return array;
}

static json_t *roofline_json(const struct perf_roofline *roofline)
{
    json_t *duties =
        isnan(roofline->duties_ops_per_s)
            ? json_null()
            : json_pack("{s:o,s:o,s:o}", "ops_per_s", number(roofline->duties_ops_per_s), "p999_us",
                        number(roofline->duties_p999_us), "replica_cpu_s_per_gb",
                        number(roofline->duties_replica_cpu_s_per_gb));
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "ops_per_s", number(roofline->ops_per_s),
                     "bytes_per_s", number(roofline->bytes_per_s), "p50_us",
                     number(roofline->p50_us), "p999_us", number(roofline->p999_us), "cpu_s_per_gb",
                     number(roofline->cpu_s_per_gb), "replica_cpu_s_per_gb",
                     number(roofline->replica_cpu_s_per_gb), "duties", duties);
}

// Medians over rounds, and the share of them that the medians of the figures are.
static void set_roofline(json_t *root, const struct perf_result *result)
{
    struct perf_roofline median = perf_result_roofline(result);
    json_t *roofline = roofline_json(&median);
    double ratios[PERF_FIGURES_COUNT];
    bool measured = !isnan(median.ops_per_s);
    ratios_of(result, ratios);
    json_object_set_new(roofline, "valid",
                        measured ? json_boolean(result->roofline_valid) : json_null());
    json_object_set_new(roofline, "why",
                        measured ? json_string(result->roofline_why) : json_null());
    json_object_set_new(roofline, "model", roofline_model_json(&result->roofline_model));
    json_object_set_new(root, "roofline", roofline);
    json_object_set_new(
        root, "ratio",
        json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "ops", number(ratios[PERF_FIGURE_ops_per_s]),
                  "bytes", number(ratios[PERF_FIGURE_bytes_per_s]), "p50",
                  number(ratios[PERF_FIGURE_p50_us]), "p999", number(ratios[PERF_FIGURE_p999_us]),
                  "cpu", number(ratios[PERF_FIGURE_cpu_s_per_gb]), "replica_cpu",
                  number(ratios[PERF_FIGURE_replica_cpu_s_per_gb])));
}

static json_t *round_json(const struct perf_round *round)
{
    json_t *object = figures_json(round->figures);
    json_object_set_new(object, "ops", json_integer((json_int_t)round->ops));
    json_object_set_new(object, "bytes", json_integer((json_int_t)round->bytes));
    json_object_set_new(object, "latencies", json_integer((json_int_t)round->latency_ns.count));
    json_object_set_new(object, "seconds", json_real(round->seconds));
    json_object_set_new(object, "errors", json_integer((json_int_t)round->errors));
    json_object_set_new(object, "error",
                        round->error != 0 ? json_string(pawl_strerror(round->error)) : json_null());
    json_object_set_new(object, "retries", json_integer((json_int_t)round->retries));
    json_object_set_new(object, "unsent", json_integer((json_int_t)round->unsent));
    json_object_set_new(object, "cpu_s",
                        json_pack("{s:o,s:o,s:o}", "client", number(round->cpu_client_s), "master",
                                  number(round->cpu_master_s), "servers",
                                  number(round->cpu_servers_s)));
    json_object_set_new(object, "roofline", roofline_json(&round->roofline));
    json_object_set_new(object, "stages", stages_json(&round->stages));
    json_object_set_new(object, "syscalls_why",
                        round->syscalls_why[0] != '\0' ? json_string(round->syscalls_why)
                                                       : json_null());
    json_object_set_new(object, "kinds", kinds_json(round));
    json_object_set_new(object, "files", files_json(round));
    json_t *pauses = json_array();
    for (uint32_t i = 0; i < round->pauses_count; i++) {
        json_array_append_new(pauses, json_real(round->pauses_ms[i]));
    }
    json_object_set_new(object, "pauses_ms", pauses);
    return object;
}

static json_t *options_json(const struct perf_options *options)
{
    json_t *mix = json_object();
    for (unsigned kind = 0; kind <= PERF_KIND_STAT; kind++) {
        json_object_set_new(mix, perf_kind_name(kind),
                            json_integer((json_int_t)options->mix[kind]));
    }
    json_t *object = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "bytes",
        (json_int_t)options->bytes, "depth", (json_int_t)options->depth, "clients",
        (json_int_t)options->clients, "files", (json_int_t)options->files, "replicas",
        (json_int_t)options->replicas, "ack", options->ack, "duration_ms",
        (json_int_t)options->duration_ms, "warm_up_ms", (json_int_t)options->warm_up_ms,
        "rate_per_s", (json_int_t)options->rate_per_s, "ops", (json_int_t)options->ops,
        "file_bytes", (json_int_t)options->file_bytes, "record_bytes",
        (json_int_t)options->record_bytes, "chunk_bytes", (json_int_t)options->chunk_bytes,
        "repeat", (json_int_t)options->repeat, "settle", (json_int_t)options->settle);
    json_object_set_new(object, "mix", mix);
    json_object_set_new(object, "roofline", json_boolean(options->roofline));
    json_object_set_new(object, "duties", json_boolean(options->duties));
    return object;
}

static json_t *machine_json(void)
{
    struct utsname names = {0};
    (void)uname(&names);
    return json_pack("{s:s,s:s,s:I}", "kernel", names.release, "machine", names.machine, "cpus",
                     (json_int_t)sysconf(_SC_NPROCESSORS_ONLN));
}

// Medians at the top, under the same names as in the rounds, and with least and most in `spread`.
static void set_spreads(json_t *root, const struct perf_result *result)
{
    json_t *spreads = json_object();
    for (unsigned i = 0; i < PERF_FIGURES_COUNT; i++) {
        struct perf_spread spread = perf_result_spread(result, i);
        json_object_set_new(root, perf_figure_name(i), number(spread.median));
        json_object_set_new(spreads, perf_figure_name(i),
                            json_pack("{s:o,s:o,s:o}", "median", number(spread.median), "min",
                                      number(spread.min), "max", number(spread.max)));
    }
    json_object_set_new(root, "spread", spreads);
}

json_t *perf_result_json(const struct perf_result *result, const struct perf_cluster *cluster)
{
    json_t *rounds = json_array();
    json_t *root =
        json_pack("{s:s,s:s,s:s,s:o,s:o}", "verb", perf_verb_name(result->options.verb), "version",
                  pawl_version(), "loop", result->options.rate_per_s != 0 ? "open" : "closed",
                  "options", options_json(&result->options), "machine", machine_json());
    if (root == NULL) {
        json_decref(rounds);
        return NULL;
    }
    json_object_set_new(root, "cluster",
                        json_pack("{s:s,s:b,s:i,s:s,s:s,s:s,s:b}", "dir", cluster->local.dir, "own",
                                  cluster->options->cluster == NULL, "servers",
                                  (int)cluster->local.servers_count, "provider",
                                  cluster->local.provider, "transport", cluster->transport,
                                  "file_system", cluster->file_system, "direct", cluster->direct));
    json_object_set_new(root, "peak_ops_per_s", number(result->peak_ops_per_s));
    set_spreads(root, result);
    for (uint32_t i = 0; i < result->rounds_count; i++) {
        json_array_append_new(rounds, round_json(&result->rounds[i]));
    }
    json_object_set_new(
        root, "errors",
        json_integer((json_int_t)sum_of(result, offsetof(struct perf_round, errors))));
    json_object_set_new(
        root, "retries",
        json_integer((json_int_t)sum_of(result, offsetof(struct perf_round, retries))));
    static struct perf_stages stages;
    perf_result_stages(result, &stages);
    json_object_set_new(root, "stages", stages_json(&stages));
    set_roofline(root, result);
    json_object_set_new(root, "rounds", rounds);
    return root;
}
