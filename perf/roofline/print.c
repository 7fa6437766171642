// SPDX-License-Identifier: Apache-2.0
// Results of the roofline as a table and as JSON.
#include "perf/roofline/print.h"

#include <inttypes.h>
#include <stdlib.h>

#include <jansson.h>

static const char *what_name(const struct roofline_options *options)
{
    return options->what == ROOFLINE_READ ? "read"
           : options->is_durable          ? "durable append"
                                          : "append in memory";
}

static void point_print(FILE *out, const struct roofline_point *point, const char *mark)
{
    fprintf(out,
            "%5u %-6s %8u %-6s %-9s %7u %7u %12.0f %9.3f %9.1f %9.1f %9.1f %8.2f %8.2f %8.1f %8.1f "
            "%s\n",
            point->batch, roofline_wait_name(point->wait), point->slice_bytes,
            roofline_route_name(point->route), roofline_flush_name(point->flush), point->sources,
            point->disk_reads, point->ops_per_s, point->bytes_per_s / 1e9, point->p50_us,
            point->p99_us, point->p999_us, point->cpu_s_per_gb, point->replica_cpu_s_per_gb,
            point->records_per_flush, point->records_per_message, mark);
}

static void parts_print(FILE *out, const struct roofline_result *result)
{
    fprintf(out, "\n%-34s %12s %12s %-5s %7s  %s\n", "part", "ours", "tool", "unit", "ratio",
            "tool");
    for (uint32_t i = 0; i < result->parts_count; i++) {
        const struct roofline_part *part = &result->parts[i];
        bool is_bandwidth = part->kind == ROOFLINE_PART_WIRE || part->kind == ROOFLINE_PART_DISK;
        double scale = is_bandwidth ? 1e-9 : 1;
        int digits = is_bandwidth ? 3 : 1;
        fprintf(out, "%-34s %12.*f %12.*f %-5s %7.2f  %s\n", part->name, digits, part->ours * scale,
                digits, part->tools * scale, is_bandwidth ? "GB/s" : roofline_part_unit(part->kind),
                part->ratio, part->tool);
    }
    fprintf(out, "%s: %s\n", result->is_valid ? "valid" : "NOT VALID", result->why);
}

void roofline_print_model(FILE *out, const char *indent, const struct model *model,
                          double ops_per_s)
{
    if (model->steps_count == 0) {
        return;
    }
    fprintf(out, "%smodel: a record alone takes %.1f us:", indent, model->latency_us);
    for (uint32_t i = 0; i < model->steps_count; i++) {
        fprintf(out, "%s %s %.1f", i > 0 ? " +" : "", model->steps[i].name, model->steps[i].us);
    }
    fprintf(out, "\n%smodel: %.0f/s, bound by %s:", indent, model->ops_per_s, model->bound);
    for (uint32_t i = 0; i < model->bounds_count; i++) {
        fprintf(out, "%s %s %.0f", i > 0 ? "," : "", model->bounds[i].name,
                model->bounds[i].ops_per_s);
    }
    fprintf(out, "; measured: %.2f of it\n", ops_per_s / model->ops_per_s);
}

// What was measured, as a point of the sweep.
static struct roofline_point best_of(const struct roofline_result *result)
{
    return (struct roofline_point){
        .batch = result->batch,
        .wait = result->wait,
        .slice_bytes = result->slice_bytes,
        .route = result->route,
        .flush = result->flush,
        .sources = result->sources,
        .disk_reads = result->disk_reads,
        .ops_per_s = result->ops_per_s,
        .bytes_per_s = result->bytes_per_s,
        .p50_us = result->p50_us,
        .p99_us = result->p99_us,
        .p999_us = result->p999_us,
        .cpu_s_per_gb = result->cpu_s_per_gb,
        .replica_cpu_s_per_gb = result->replica_cpu_s_per_gb,
        .records_per_flush = result->records_per_flush,
        .records_per_message = result->records_per_message,
    };
}

void roofline_print_table(FILE *out, const struct roofline_options *options,
                          const struct roofline_result *result, bool is_checked)
{
    const struct roofline_point best = best_of(result);
    struct model model;

    fprintf(out, "%s%s, %u bytes, depth %u, %u clients, %u %s, %s\n", what_name(options),
            options->duties != 0 ? " with duties" : "", options->record_bytes, options->depth,
            options->clients, options->replicas,
            options->what == ROOFLINE_READ ? "servers" : "replicas", options->provider);
    fprintf(out, "%5s %-6s %8s %-6s %-9s %7s %7s %12s %9s %9s %9s %9s %8s %8s %8s %8s\n", "batch",
            "wait", "slice", "route", "flush", "sources", "at disk", "records/s", "GB/s", "p50 us",
            "p99 us", "p99.9 us", "CPUs/GB", "replica", "rec/fl", "rec/msg");
    for (uint32_t i = 0; result->points_count > 1 && i < result->points_count; i++) {
        point_print(out, &result->points[i], "");
    }
    point_print(out, &best, options->duties != 0 ? "<- with duties" : "<- roofline");
    fprintf(out,
            "%" PRIu64 " records; of all processes: %" PRIu64 " messages, %" PRIu64
            " one-sided writes, %" PRIu64 " disk writes, %" PRIu64 " flushes, %" PRIu64
            " disk reads\n",
            result->answered_count, result->messages_count, result->transfers_count,
            result->writes_count, result->flushes_count, result->reads_count);
    if (result->verified_count > 0) {
        fprintf(out, "%" PRIu64 " copies were read back and compared\n", result->verified_count);
    }
    if (is_checked) {
        parts_print(out, result);
        model_of(options, result, &model);
        roofline_print_model(out, "", &model, result->ops_per_s);
    }
}

static json_t *point_json(const struct roofline_point *point)
{
    return json_pack(
        "{s:I, s:s, s:I, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "batch",
        (json_int_t)point->batch, "wait", roofline_wait_name(point->wait), "slice_bytes",
        (json_int_t)point->slice_bytes, "route", roofline_route_name(point->route), "flush",
        roofline_flush_name(point->flush), "sources", (json_int_t)point->sources, "disk_reads",
        (json_int_t)point->disk_reads, "ops_per_s", point->ops_per_s, "bytes_per_s",
        point->bytes_per_s, "p50_us", point->p50_us, "p99_us", point->p99_us, "p999_us",
        point->p999_us, "cpu_s_per_gb", point->cpu_s_per_gb, "replica_cpu_s_per_gb",
        point->replica_cpu_s_per_gb, "records_per_flush", point->records_per_flush,
        "records_per_message", point->records_per_message);
}

static json_t *part_json(const struct roofline_part *part)
{
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:f}", "name", part->name, "tool", part->tool,
                     "unit", roofline_part_unit(part->kind), "ours", part->ours, "tools",
                     part->tools, "ratio", part->ratio, "steadiness", part->steadiness);
}

json_t *roofline_model_json(const struct model *model)
{
    if (model->steps_count == 0) {
        return json_null();
    }
    json_t *steps = json_array();
    json_t *bounds = json_array();
    for (uint32_t i = 0; i < model->steps_count; i++) {
        json_array_append_new(
            steps, json_pack("{s:s, s:f}", "name", model->steps[i].name, "us", model->steps[i].us));
    }
    for (uint32_t i = 0; i < model->bounds_count; i++) {
        json_array_append_new(bounds, json_pack("{s:s, s:f}", "name", model->bounds[i].name,
                                                "ops_per_s", model->bounds[i].ops_per_s));
    }
    return json_pack("{s:f, s:o, s:f, s:s, s:o}", "latency_us", model->latency_us, "steps", steps,
                     "ops_per_s", model->ops_per_s, "bound", model->bound, "bounds", bounds);
}

static json_t *duties_json(uint32_t duties)
{
    json_t *names = json_array();
    for (uint32_t duty = 1; duty < ROOFLINE_DUTIES_ALL; duty *= 2) {
        if ((duties & duty) != 0) {
            json_array_append_new(names, json_string(roofline_duty_name((enum roofline_duty)duty)));
        }
    }
    return names;
}

static json_t *options_json(const struct roofline_options *options)
{
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:b, s:f, s:o}", "what",
                     options->what == ROOFLINE_READ ? "read" : "append", "provider",
                     options->provider, "record_bytes", (json_int_t)options->record_bytes, "depth",
                     (json_int_t)options->depth, "clients", (json_int_t)options->clients,
                     "replicas", (json_int_t)options->replicas, "route",
                     roofline_route_name(options->route), "is_durable", options->is_durable,
                     "rate_per_s", options->rate_per_s, "duties", duties_json(options->duties));
}

static json_t *counts_json(const struct roofline_result *result)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sent",
                     (json_int_t)result->sent_count, "answered", (json_int_t)result->answered_count,
                     "messages", (json_int_t)result->messages_count, "message_bytes",
                     (json_int_t)result->message_bytes, "transfers",
                     (json_int_t)result->transfers_count, "disk_writes",
                     (json_int_t)result->writes_count, "flushes", (json_int_t)result->flushes_count,
                     "disk_reads", (json_int_t)result->reads_count, "verified",
                     (json_int_t)result->verified_count);
}

void roofline_print_json(FILE *out, const struct roofline_options *options,
                         const struct roofline_result *result)
{
    const struct roofline_point best = best_of(result);
    json_t *root = point_json(&best);
    json_t *points = json_array();
    json_t *parts = json_array();
    struct model model;

    for (uint32_t i = 0; i < result->points_count; i++) {
        json_array_append_new(points, point_json(&result->points[i]));
    }
    for (uint32_t i = 0; i < result->parts_count; i++) {
        json_array_append_new(parts, part_json(&result->parts[i]));
    }
    json_object_set_new(root, "options", options_json(options));
    json_object_set_new(root, "counts", counts_json(result));
    json_object_set_new(root, "points", points);
    json_object_set_new(root, "is_valid", json_boolean(result->is_valid));
    json_object_set_new(root, "why", json_string(result->why));
    json_object_set_new(root, "parts", parts);
    model_of(options, result, &model);
    json_object_set_new(root, "model", roofline_model_json(&model));
    json_dumpf(root, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    fputc('\n', out);
    json_decref(root);
}
