// SPDX-License-Identifier: Apache-2.0
// Tests of perf/roofline/server_read: how many reads the disk has at once, in which order, and that all are answered.
// Disk and network are stubs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#include "perf/roofline/server.h"

#define READ_BYTES (256u << 10)
#define SLICE_BYTES (64u << 10)
#define CLIENTS 2u
#define DEPTH 4u
#define READS (CLIENTS * DEPTH)
#define REQUESTS_MAX (READS * (READ_BYTES / SLICE_BYTES))

static struct node_config config;
static struct server server;
static uint8_t window[READS * READ_BYTES];
static struct outbox_message message;
static struct frame_read_done answer;

// What the disk has, in the order in which it came.
static struct disk_request *at_disk[REQUESTS_MAX];
static uint32_t at_disk_count;
static uint32_t unsubmitted_count;
static uint32_t most;          // reads that it may have
static uint64_t starts[READS]; // offsets of reads as they started
static uint32_t starts_count;
static uint64_t written_bytes;
static uint32_t answers[READS];
static uint32_t answers_count;

static const struct server_read *read_of(const struct disk_request *request)
{
    return ((const struct read_slice *)request->owner)->read;
}

static bool has_any_of(const struct server_read *read)
{
    for (uint32_t i = 0; i < at_disk_count; i++) {
        if (read_of(at_disk[i]) == read) {
            return true;
        }
    }
    return false;
}

static uint32_t reads_at_disk(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < READS; i++) {
        count += has_any_of(&server.reads[i]);
    }
    return count;
}

int disk_read(struct disk *disk, struct disk_request *request, enum disk_file file,
              const struct iovec *into, uint64_t offset)
{
    assert_ptr_equal(disk, &server.disk);
    assert_int_equal(file, DISK_DATA);
    assert_int_equal(into->iov_len,
                     server.point.slice_bytes != 0 ? server.point.slice_bytes : READ_BYTES);
    assert_true(at_disk_count < REQUESTS_MAX);
    if (!has_any_of(read_of(request))) {
        starts[starts_count++] = offset;
    }
    at_disk[at_disk_count++] = request;
    unsubmitted_count++;
    assert_true(reads_at_disk() <= most);
    return 0;
}

int disk_submit(struct disk *disk)
{
    (void)disk;
    unsubmitted_count = 0;
    return 0;
}

int writes_post(struct writes *writes, struct transport_conn *conn, const struct iovec *from,
                void *desc, uint64_t remote, uint64_t key)
{
    (void)writes, (void)conn, (void)desc, (void)remote, (void)key;
    assert_int_equal(unsubmitted_count, 0); // the disk is at work meanwhile
    written_bytes += from->iov_len;
    return 0;
}

struct outbox_message *outbox_take(struct outbox *outbox)
{
    (void)outbox;
    answer = (struct frame_read_done){0};
    message.bytes = (void *)&answer;
    return &message;
}

void *outbox_add(struct outbox_message *to, uint32_t bytes)
{
    (void)bytes;
    return to->bytes;
}

int outbox_send(struct outbox_message *sent, enum frame_type type,
                struct transport_conn *const *conns, uint32_t conns_count)
{
    (void)conns;
    assert_ptr_equal(sent, &message);
    assert_int_equal(type, FRAME_READ_DONE);
    assert_int_equal(conns_count, 1);
    assert_int_equal(answer.length, READ_BYTES);
    assert_true(answers_count < READS);
    answers[answers_count++] = (uint32_t)answer.sequence;
    return 0;
}

int server_fail(struct server *failed, int code, const char *why)
{
    (void)failed, (void)why;
    return code;
}

static void opened(uint32_t disk_reads, uint32_t slice_bytes)
{
    config = (struct node_config){.options = {.what = ROOFLINE_READ,
                                              .record_bytes = READ_BYTES,
                                              .depth = DEPTH,
                                              .clients = CLIENTS,
                                              .replicas = 1,
                                              .file_bytes = READS * READ_BYTES}};
    server = (struct server){.config = &config, .window = window};
    shape_init(&server.shape, &config.options);
    assert_int_equal(server_read_open(&server), 0);
    server.point = (struct control_point){.disk_reads = disk_reads, .slice_bytes = slice_bytes};
    most = disk_reads != 0 ? disk_reads : READS;
    at_disk_count = unsubmitted_count = starts_count = answers_count = 0;
    written_bytes = 0;
}

// Read `number` of READS, by turns of the clients.
static int ask(uint32_t number)
{
    const struct frame_read asked = {.frame = {.type = FRAME_READ},
                                     .client = number % CLIENTS,
                                     .sequence = number / CLIENTS,
                                     .length = READ_BYTES,
                                     .offset = (uint64_t)number * READ_BYTES};

    return server_read_message(&server, &server.clients[asked.client], &asked.frame);
}

static void complete(uint32_t place)
{
    struct disk_request *request = at_disk[place];

    at_disk_count--;
    for (uint32_t i = place; i < at_disk_count; i++) {
        at_disk[i] = at_disk[i + 1];
    }
    request->done(&server, request);
}

// The disk ends the latest first: no order but that of arrival is left to start by.
static void all_complete(void)
{
    assert_int_equal(disk_submit(&server.disk), 0);
    while (at_disk_count > 0) {
        assert_int_equal(reads_at_disk(), PAWL_MIN(most, READS - answers_count));
        complete(at_disk_count - 1);
    }
}

static void all_answered(void)
{
    uint32_t counts[DEPTH] = {0};

    assert_int_equal(answers_count, READS);
    assert_int_equal(server.stats.records_count, READS);
    assert_int_equal(written_bytes, READS * READ_BYTES);
    for (uint32_t i = 0; i < READS; i++) {
        counts[answers[i]]++;
    }
    for (uint32_t i = 0; i < DEPTH; i++) {
        assert_int_equal(counts[i], CLIENTS);
    }
}

static void test_read_when_some_at_the_disk_then_never_more_and_all_in_their_order(void **state)
{
    (void)state;
    static const uint32_t slices[] = {0, SLICE_BYTES};
    for (uint32_t disk_reads = 0; disk_reads <= 3; disk_reads++) {
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(slices); i++) {
            opened(disk_reads, slices[i]);
            for (uint32_t number = 0; number < READS; number++) {
                assert_int_equal(ask(number), 0);
            }
            assert_int_equal(reads_at_disk(), most);
            all_complete();
            all_answered();
            for (uint32_t number = 0; number < READS; number++) {
                assert_int_equal(starts[number], (uint64_t)number * READ_BYTES);
            }
            server_read_close(&server);
        }
    }
}

static void test_read_when_in_slices_then_the_next_starts_behind_the_last_slice(void **state)
{
    (void)state;
    opened(1, SLICE_BYTES);
    assert_int_equal(ask(0), 0);
    assert_int_equal(ask(1), 0);
    assert_int_equal(disk_submit(&server.disk), 0);
    for (uint32_t left = READ_BYTES / SLICE_BYTES; left > 0; left--) {
        assert_int_equal(starts_count, 1);
        assert_int_equal(at_disk_count, left);
        complete(0);
    }
    assert_int_equal(starts_count, 2);
    assert_int_equal(at_disk_count, READ_BYTES / SLICE_BYTES);
    server_read_close(&server);
}

static void test_read_when_none_waits_then_the_next_ones_are_taken_as_before(void **state)
{
    (void)state;
    opened(1, 0);
    for (uint32_t number = 0; number < READS; number++) {
        assert_int_equal(ask(number), 0);
        assert_int_equal(reads_at_disk(), 1);
        assert_int_equal(disk_submit(&server.disk), 0);
        complete(0);
        assert_int_equal(answers_count, number + 1);
    }
    all_answered();
    server_read_close(&server);
}

static void test_read_when_its_slot_waits_then_a_second_is_refused(void **state)
{
    (void)state;
    opened(1, 0);
    assert_int_equal(ask(0), 0);
    assert_int_equal(ask(1), 0);
    assert_int_equal(ask(1), -EBADMSG);
    server_read_close(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_when_some_at_the_disk_then_never_more_and_all_in_their_order),
        cmocka_unit_test(test_read_when_in_slices_then_the_next_starts_behind_the_last_slice),
        cmocka_unit_test(test_read_when_none_waits_then_the_next_ones_are_taken_as_before),
        cmocka_unit_test(test_read_when_its_slot_waits_then_a_second_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
