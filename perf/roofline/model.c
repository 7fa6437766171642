// SPDX-License-Identifier: Apache-2.0
// A model of the roofline: latencies add, throughput is the smallest of the shared resources.
#include "perf/roofline/model.h"

#include "base/assert.h"
#include "perf/roofline/shape.h"

static void step_add(struct model *model, const char *name, double us)
{
    pawl_assert(model->steps_count < MODEL_STEPS_MAX);
    model->steps[model->steps_count++] = (struct model_step){name, us};
    model->latency_us += us;
}

static void bound_add(struct model *model, const char *name, double ops_per_s)
{
    pawl_assert(model->bounds_count < MODEL_BOUNDS_MAX);
    model->bounds[model->bounds_count++] = (struct model_bound){name, ops_per_s};
    if (model->bound == NULL || ops_per_s < model->ops_per_s) {
        model->bound = name;
        model->ops_per_s = ops_per_s;
    }
}

static double bytes_us(double bytes, double bytes_per_s)
{
    return bytes / bytes_per_s * 1e6;
}

static uint32_t slice_of(const struct shape *shape, const struct model_parts *parts)
{
    return parts->slice_bytes == 0 ? shape->record_bytes
                                   : PAWL_MIN(parts->slice_bytes, shape->record_bytes);
}

// ---- latency ----------------------------------------------------------------------------------

// A large payload is passed on slice by slice as it comes. By star the primary's link has it once for each secondary, by
// chain each link has it once.
static void payload_steps(struct model *model, const struct shape *shape,
                          const struct model_parts *parts)
{
    double whole_us = bytes_us(shape->record_bytes, parts->wire_bytes_per_s);
    double slice_us = bytes_us(slice_of(shape, parts), parts->wire_bytes_per_s);
    uint32_t hops = shape->replicas - 1;

    step_add(model, "payload and APPEND", hops == 0 || parts->is_chain ? whole_us : slice_us);
    if (hops > 0) {
        step_add(model, "payload and PREPARE", hops * (parts->is_chain ? slice_us : whole_us));
    }
}

// The secondaries' disks work while the primary's does: one is on the way. The disk is one and the same for all, so
// payloads come after each other.
static void append_steps(struct model *model, const struct roofline_options *options,
                         const struct shape *shape, const struct model_parts *parts)
{
    uint32_t hops = shape->replicas - 1;
    double passed_us = parts->message_us * (parts->is_chain ? hops : PAWL_MIN(hops, 1u));

    if (shape->is_pushed) {
        payload_steps(model, shape, parts);
    } else {
        step_add(model, "APPEND", parts->message_us);
        if (hops > 0) {
            step_add(model, "PREPARE", passed_us);
        }
    }
    if (options->is_durable && shape->is_in_place) {
        double bytes = (double)shape->replicas * shape->record_bytes;
        step_add(model, "payloads to disk", bytes_us(bytes, parts->disk_bytes_per_s));
        if (!parts->is_flush_shared) {
            step_add(model, "their flush", 1e6 / parts->flushes_per_s);
        }
    }
    if (options->is_durable) {
        step_add(model, "journal", 1e6 / parts->flushes_per_s);
    }
    if (hops > 0) {
        step_add(model, "PREPARED", passed_us);
    }
    step_add(model, "APPENDED", parts->message_us);
}

// Slices travel while the next ones are read: behind the disk only the last one is left, and what a slower wire has
// gathered.
static void read_steps(struct model *model, const struct shape *shape,
                       const struct model_parts *parts)
{
    double slice = slice_of(shape, parts);
    double rest = shape->record_bytes - slice;
    double behind_us =
        bytes_us(rest, parts->wire_bytes_per_s) - bytes_us(rest, parts->disk_bytes_per_s);

    step_add(model, "READ", parts->message_us);
    step_add(model, "disk", bytes_us(shape->record_bytes, parts->disk_bytes_per_s));
    step_add(model, "payload and READ_DONE",
             bytes_us(slice, parts->wire_bytes_per_s) + PAWL_MAX(behind_us, 0.0));
}

// ---- throughput -------------------------------------------------------------------------------

// Bytes that the busiest link has for a record, in one direction: the primary's to its next hops, or to it when there
// is none.
static double link_bytes(const struct shape *shape, const struct model_parts *parts)
{
    uint32_t hops = parts->is_chain ? 1 : PAWL_MAX(shape->replicas - 1, 1u);
    uint32_t records = (uint32_t)PAWL_MAX(parts->message_records + 0.5, 1.0);
    double bytes = shape->is_pushed ? shape->record_bytes
                                    : (double)shape_prepare_bytes(shape, records) / records;

    return hops * bytes;
}

static void append_bounds(struct model *model, const struct roofline_options *options,
                          const struct shape *shape, const struct model_parts *parts)
{
    bound_add(model, "wire", parts->wire_bytes_per_s / link_bytes(shape, parts));
    if (options->is_durable) {
        bound_add(model, "disk flushes", parts->flushes_per_s * parts->journal_records);
    }
    if (options->is_durable && shape->is_in_place) {
        bound_add(model, "disk bandwidth",
                  parts->disk_bytes_per_s / shape->replicas / shape->record_bytes);
    }
}

static void read_bounds(struct model *model, const struct shape *shape,
                        const struct model_parts *parts)
{
    uint32_t links = PAWL_MIN(PAWL_MAX(parts->sources, 1u), shape->clients);

    bound_add(model, "wire", links * parts->wire_bytes_per_s / shape->record_bytes);
    bound_add(model, "disk bandwidth", parts->disk_bytes_per_s / shape->record_bytes);
}

// ---- both -------------------------------------------------------------------------------------

static bool is_measured(const struct roofline_options *options, const struct shape *shape,
                        const struct model_parts *parts)
{
    bool is_read = options->what == ROOFLINE_READ;
    bool has_flushes = !is_read && options->is_durable;
    bool has_payloads = is_read || (options->is_durable && shape->is_in_place);

    return parts->message_us > 0 && parts->wire_bytes_per_s > 0 &&
           (!has_flushes || (parts->flushes_per_s > 0 && parts->journal_records > 0)) &&
           (!has_payloads || parts->disk_bytes_per_s > 0);
}

bool model_make(const struct roofline_options *options, const struct model_parts *parts,
                struct model *ret)
{
    struct shape shape;

    *ret = (struct model){0};
    shape_init(&shape, options);
    if (!is_measured(options, &shape, parts)) {
        return false;
    }
    if (options->what == ROOFLINE_READ) {
        read_steps(ret, &shape, parts);
        read_bounds(ret, &shape, parts);
    } else {
        append_steps(ret, options, &shape, parts);
        append_bounds(ret, options, &shape, parts);
    }
    if (parts->cpu_s_per_record > 0 && parts->processors > 0) {
        bound_add(ret, "processors", parts->processors / parts->cpu_s_per_record);
    }
    if (!(options->rate_per_s > 0)) {
        bound_add(ret, "latency", shape.outstanding / ret->latency_us * 1e6);
    }
    return true;
}

double model_journal_records(const struct roofline_options *options, enum roofline_flush flush,
                             double records_per_flush)
{
    if (options->record_bytes <= SHAPE_JOURNALED_MAX || !(records_per_flush > 0)) {
        return records_per_flush;
    }
    switch (flush) {
    case ROOFLINE_DSYNC: // one for each record, and the journal's
        return records_per_flush < 1 ? 1 / (1 / records_per_flush - 1) : records_per_flush;
    case ROOFLINE_SHARED:
    case ROOFLINE_SHARED_DSYNC:
        return records_per_flush;
    default: // one of the data file for each of the journal's
        return 2 * records_per_flush;
    }
}

void model_parts_take(const struct roofline_options *options, const struct roofline_result *result,
                      struct model_parts *ret)
{
    *ret = (struct model_parts){
        .cpu_s_per_record = result->cpu_s_per_gb * options->record_bytes / 1e9,
        .journal_records = model_journal_records(options, result->flush, result->records_per_flush),
        .message_records = result->records_per_message,
        .processors = result->processors_count,
        .slice_bytes = result->slice_bytes,
        .sources = result->sources,
        .is_chain = result->route == ROOFLINE_CHAIN,
        .is_flush_shared =
            result->flush == ROOFLINE_SHARED || result->flush == ROOFLINE_SHARED_DSYNC,
    };
    for (uint32_t i = 0; i < result->parts_count; i++) {
        const struct roofline_part *part = &result->parts[i];
        switch (part->kind) {
        case ROOFLINE_PART_MESSAGE:
            ret->message_us = part->ours;
            break;
        case ROOFLINE_PART_WIRE:
            ret->wire_bytes_per_s = part->ours;
            break;
        case ROOFLINE_PART_FLUSH:
            ret->flushes_per_s = part->ours;
            break;
        case ROOFLINE_PART_DISK:
            ret->disk_bytes_per_s = part->ours;
            break;
        }
        // One small message at a time is all that such a shape has on its wire.
        if (part->kind == ROOFLINE_PART_MESSAGE && part->ours > 0 && ret->wire_bytes_per_s == 0) {
            ret->wire_bytes_per_s = part->bytes / part->ours * 1e6;
        }
    }
}

void model_of(const struct roofline_options *options, const struct roofline_result *result,
              struct model *ret)
{
    struct model_parts parts;

    model_parts_take(options, result, &parts);
    (void)model_make(options, &parts, ret);
}
