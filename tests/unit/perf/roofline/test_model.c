// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/model.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "perf/roofline/model.h"
#include "proto/wire.h"

#define MESSAGE_US 10.0
#define FLUSH_US 100.0
#define MIB (1u << 20)
#define WIRE_MIB_US 400.0 // for a MiB
#define DISK_MIB_US 500.0

static struct roofline_options options_of(uint32_t bytes, uint32_t depth, uint32_t clients)
{
    struct roofline_options options;

    roofline_options_init(&options);
    options.record_bytes = bytes;
    options.depth = depth;
    options.clients = clients;
    return options;
}

static struct model_parts parts_of(double records)
{
    return (struct model_parts){
        .message_us = MESSAGE_US,
        .wire_bytes_per_s = MIB / WIRE_MIB_US * 1e6,
        .flushes_per_s = 1e6 / FLUSH_US,
        .disk_bytes_per_s = MIB / DISK_MIB_US * 1e6,
        .cpu_s_per_record = 4e-6,
        .journal_records = records,
        .message_records = records,
        .processors = 2,
        .sources = 1,
    };
}

static double step_us(const struct model *model, const char *name)
{
    for (uint32_t i = 0; i < model->steps_count; i++) {
        if (strcmp(model->steps[i].name, name) == 0) {
            return model->steps[i].us;
        }
    }
    return -1;
}

static double bound_of(const struct model *model, const char *name)
{
    for (uint32_t i = 0; i < model->bounds_count; i++) {
        if (strcmp(model->bounds[i].name, name) == 0) {
            return model->bounds[i].ops_per_s;
        }
    }
    return -1;
}

// Floating-point sums in another order differ in their last digits.
static void assert_near(double value, double expected)
{
    assert_true(value > expected * (1 - 1e-9) && value < expected * (1 + 1e-9));
}

// Steps add up, and the smallest bound is named.
static void assert_adds_up(const struct model *model)
{
    double sum_us = 0;
    double least = model->bounds[0].ops_per_s;

    assert_true(model->steps_count > 0 && model->bounds_count > 0);
    for (uint32_t i = 0; i < model->steps_count; i++) {
        assert_true(model->steps[i].us > 0);
        sum_us += model->steps[i].us;
    }
    for (uint32_t i = 0; i < model->bounds_count; i++) {
        assert_true(model->bounds[i].ops_per_s > 0);
        least = PAWL_MIN(least, model->bounds[i].ops_per_s);
    }
    assert_near(model->latency_us, sum_us);
    assert_near(model->ops_per_s, least);
    assert_near(bound_of(model, model->bound), least);
}

static void test_model_when_one_small_record_then_four_messages_and_a_flush(void **state)
{
    (void)state;
    struct roofline_options options = options_of(1024, 1, 1);
    struct model_parts parts = parts_of(1);
    struct model model;
    assert_true(model_make(&options, &parts, &model));
    assert_adds_up(&model);
    assert_int_equal(model.steps_count, 5);
    assert_string_equal(model.steps[0].name, "APPEND");
    assert_string_equal(model.steps[4].name, "APPENDED");
    assert_near(model.latency_us, 4 * MESSAGE_US + FLUSH_US);
    // One in flight: the latency is the bound.
    assert_string_equal(model.bound, "latency");
    assert_near(model.ops_per_s, 1e6 / (4 * MESSAGE_US + FLUSH_US));
}

static void test_model_when_chain_then_each_hop_adds(void **state)
{
    (void)state;
    struct roofline_options options = options_of(1024, 1, 1);
    struct model_parts parts = parts_of(1);
    struct model model;
    parts.is_chain = true;
    assert_true(model_make(&options, &parts, &model));
    assert_near(model.latency_us, 6 * MESSAGE_US + FLUSH_US);
}

static void test_model_when_one_replica_or_memory_then_fewer_steps(void **state)
{
    (void)state;
    struct roofline_options options = options_of(1024, 1, 1);
    struct model_parts parts = parts_of(1);
    struct model model;
    options.replicas = 1;
    assert_true(model_make(&options, &parts, &model));
    assert_near(model.latency_us, 2 * MESSAGE_US + FLUSH_US);
    options.is_durable = false;
    parts.flushes_per_s = 0; // not needed then
    assert_true(model_make(&options, &parts, &model));
    assert_near(model.latency_us, 2 * MESSAGE_US);
    assert_true(bound_of(&model, "disk flushes") < 0);
}

static void test_model_when_a_resource_is_scarce_then_it_is_named(void **state)
{
    (void)state;
    struct roofline_options options = options_of(1024, 64, 4);
    struct model_parts parts = parts_of(60);
    struct model model;
    assert_true(model_make(&options, &parts, &model));
    assert_adds_up(&model);
    assert_string_equal(model.bound, "processors");
    assert_near(model.ops_per_s, 2 / 4e-6);
    assert_near(bound_of(&model, "disk flushes"), 60 * 1e6 / FLUSH_US);
    assert_near(bound_of(&model, "latency"), 256 * 1e6 / (4 * MESSAGE_US + FLUSH_US));
    // Two secondaries take a message of 60 records in runs: more than the payloads.
    double payloads_alone = parts.wire_bytes_per_s / 2 / 1024;
    assert_true(bound_of(&model, "wire") < payloads_alone);
    assert_true(bound_of(&model, "wire") > 0.95 * payloads_alone);
    parts.flushes_per_s = 1000;
    assert_true(model_make(&options, &parts, &model));
    assert_string_equal(model.bound, "disk flushes");
    parts = parts_of(60);
    parts.wire_bytes_per_s = 1e6;
    assert_true(model_make(&options, &parts, &model));
    assert_string_equal(model.bound, "wire");
    assert_true(model.ops_per_s < 1e6 / 2 / 1024);
}

static void test_model_when_open_loop_then_latency_is_no_bound(void **state)
{
    (void)state;
    struct roofline_options options = options_of(1024, 1, 1);
    struct model_parts parts = parts_of(1);
    struct model model;
    options.rate_per_s = 1000;
    assert_true(model_make(&options, &parts, &model));
    assert_true(bound_of(&model, "latency") < 0);
    assert_string_equal(model.bound, "disk flushes");
}

static void test_model_when_large_then_payloads_take_their_time_on_wire_and_disk(void **state)
{
    (void)state;
    struct roofline_options options = options_of(MIB, 8, 1);
    struct model_parts parts = parts_of(4);
    struct model model;
    assert_true(model_make(&options, &parts, &model));
    assert_adds_up(&model);
    assert_near(step_us(&model, "payload and APPEND"), WIRE_MIB_US);
    assert_near(step_us(&model, "payload and PREPARE"), 2 * WIRE_MIB_US);
    assert_near(step_us(&model, "payloads to disk"), 3 * DISK_MIB_US);
    assert_near(model.latency_us,
                3 * WIRE_MIB_US + 3 * DISK_MIB_US + 2 * FLUSH_US + 2 * MESSAGE_US);
    assert_string_equal(model.bound, "disk bandwidth");
    assert_near(model.ops_per_s, 1e6 / 3 / DISK_MIB_US);
    assert_near(bound_of(&model, "wire"), 1e6 / 2 / WIRE_MIB_US);
    // In slices only one of them goes before the others begin; by chain each link has the payload once.
    parts.slice_bytes = MIB / 4;
    assert_true(model_make(&options, &parts, &model));
    assert_near(step_us(&model, "payload and APPEND"), WIRE_MIB_US / 4);
    assert_near(step_us(&model, "payload and PREPARE"), 2 * WIRE_MIB_US);
    parts.is_chain = true;
    assert_true(model_make(&options, &parts, &model));
    assert_near(step_us(&model, "payload and APPEND"), WIRE_MIB_US);
    assert_near(step_us(&model, "payload and PREPARE"), 2 * WIRE_MIB_US / 4);
    assert_near(bound_of(&model, "wire"), 1e6 / WIRE_MIB_US);
}

static void test_model_when_reads_then_slices_overlap_and_sources_add_links(void **state)
{
    (void)state;
    struct roofline_options options = options_of(MIB, 8, 2);
    struct model_parts parts = parts_of(1);
    struct model model;
    options.what = ROOFLINE_READ;
    parts.flushes_per_s = 0;
    assert_true(model_make(&options, &parts, &model));
    assert_adds_up(&model);
    assert_near(model.latency_us, MESSAGE_US + DISK_MIB_US + WIRE_MIB_US);
    assert_near(bound_of(&model, "wire"), 1e6 / WIRE_MIB_US);
    assert_string_equal(model.bound, "disk bandwidth");
    parts.slice_bytes = MIB / 4;
    parts.sources = 3;
    assert_true(model_make(&options, &parts, &model));
    assert_near(model.latency_us, MESSAGE_US + DISK_MIB_US + WIRE_MIB_US / 4);
    assert_near(bound_of(&model, "wire"), 2 * 1e6 / WIRE_MIB_US); // two clients have as many links
    // A wire that is slower than the disk: what it has gathered is to be brought still.
    parts.wire_bytes_per_s /= 2;
    assert_true(model_make(&options, &parts, &model));
    assert_near(model.latency_us, MESSAGE_US + DISK_MIB_US / 4 + 2 * WIRE_MIB_US);
}

static void test_model_when_a_part_was_not_measured_then_there_is_none(void **state)
{
    (void)state;
    struct roofline_options options = options_of(MIB, 8, 1);
    struct model model;
    for (int i = 0; i < 5; i++) {
        struct model_parts parts = parts_of(4);
        double *const needed[] = {&parts.message_us, &parts.wire_bytes_per_s, &parts.flushes_per_s,
                                  &parts.disk_bytes_per_s, &parts.journal_records};
        assert_true(model_make(&options, &parts, &model));
        *needed[i] = 0;
        assert_false(model_make(&options, &parts, &model));
    }
    // CPU time is one bound of several.
    struct model_parts parts = parts_of(4);
    parts.cpu_s_per_record = 0;
    assert_true(model_make(&options, &parts, &model));
    assert_true(bound_of(&model, "processors") < 0);
}

static void test_journal_when_large_then_its_own_writes_alone(void **state)
{
    (void)state;
    struct roofline_options small = options_of(1024, 8, 1);
    struct roofline_options large = options_of(MIB, 8, 1);
    assert_near(model_journal_records(&small, ROOFLINE_FDATASYNC, 5), 5);
    assert_near(model_journal_records(&small, ROOFLINE_DSYNC, 0.8), 0.8);
    assert_near(model_journal_records(&large, ROOFLINE_FDATASYNC, 2), 4);
    // Four records, four flushes, and one of the journal's.
    assert_near(model_journal_records(&large, ROOFLINE_DSYNC, 4.0 / 5), 4);
    assert_near(model_journal_records(&large, ROOFLINE_DSYNC, 1), 1);
    assert_true(model_journal_records(&large, ROOFLINE_DSYNC, 0) == 0);
    assert_near(model_journal_records(&large, ROOFLINE_SHARED, 3), 3);
    assert_near(model_journal_records(&large, ROOFLINE_SHARED_DSYNC, 3), 3);
}

static void test_parts_when_checked_then_each_goes_to_its_place(void **state)
{
    (void)state;
    static struct roofline_result result;
    struct roofline_options options = options_of(1024, 1, 1);
    struct model_parts parts;
    memset(&result, 0, sizeof(result));
    result.parts[0] = (struct roofline_part){
        .kind = ROOFLINE_PART_MESSAGE, .bytes = sizeof(struct wire_append) + 1024, .ours = 10};
    result.parts[1] = (struct roofline_part){.kind = ROOFLINE_PART_FLUSH, .ours = 9000};
    result.parts_count = 2;
    result.cpu_s_per_gb = 3;
    result.processors_count = 4;
    result.records_per_flush = 1.5;
    result.records_per_message = 2.5;
    result.route = ROOFLINE_CHAIN;
    model_parts_take(&options, &result, &parts);
    assert_near(parts.message_us, 10);
    assert_near(parts.flushes_per_s, 9000);
    assert_near(parts.cpu_s_per_record, 3 * 1024 / 1e9);
    assert_near(parts.journal_records, 1.5);
    assert_near(parts.message_records, 2.5);
    assert_true(parts.processors == 4 && parts.is_chain && parts.disk_bytes_per_s == 0);
    // No longer message was measured: that one, again and again.
    assert_near(parts.wire_bytes_per_s, result.parts[0].bytes / 10e-6);
    result.parts[2] = (struct roofline_part){.kind = ROOFLINE_PART_WIRE, .ours = 2e9};
    result.parts[3] = (struct roofline_part){.kind = ROOFLINE_PART_DISK, .ours = 1e9};
    result.parts_count = 4;
    model_parts_take(&options, &result, &parts);
    assert_near(parts.wire_bytes_per_s, 2e9);
    assert_near(parts.disk_bytes_per_s, 1e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_when_one_small_record_then_four_messages_and_a_flush),
        cmocka_unit_test(test_model_when_chain_then_each_hop_adds),
        cmocka_unit_test(test_model_when_one_replica_or_memory_then_fewer_steps),
        cmocka_unit_test(test_model_when_a_resource_is_scarce_then_it_is_named),
        cmocka_unit_test(test_model_when_open_loop_then_latency_is_no_bound),
        cmocka_unit_test(test_model_when_large_then_payloads_take_their_time_on_wire_and_disk),
        cmocka_unit_test(test_model_when_reads_then_slices_overlap_and_sources_add_links),
        cmocka_unit_test(test_model_when_a_part_was_not_measured_then_there_is_none),
        cmocka_unit_test(test_journal_when_large_then_its_own_writes_alone),
        cmocka_unit_test(test_parts_when_checked_then_each_goes_to_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
