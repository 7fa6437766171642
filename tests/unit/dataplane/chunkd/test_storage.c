// SPDX-License-Identifier: Apache-2.0
// Tests of mutations, reads, and the mails of the control thread.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/crc32c.h"
#include "scripted.h"

static struct bench bench;
static struct client client;

static int setup(void **state)
{
    (void)state;
    bench_open(&bench);
    client_open(&client, &bench);
    client_hello(&client, 0x77, 4);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_close(&client);
    bench_close(&bench);
    return 0;
}

// Sends READ into client.memory and lets the core say READ of these segments.
static void read_segments(uint64_t request, const struct chunk_segment *segments, uint32_t count)
{
    uint32_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        length += segments[i].length;
    }
    struct wire_read read;
    memset(&read, 0, sizeof(read));
    wire_header_init(&read.header, WIRE_READ, sizeof(read), request);
    read.chunk = 42;
    read.offset = 1000;
    read.length = length;
    read.buffer_address = fabric_region_remote(client.region, client.memory);
    read.buffer_key = fabric_region_key(client.region);
    client_send(&client, &read, sizeof(read));
    struct script_event *event = script_last(CHUNK_EVENT_READ);
    assert_non_null(event);
    struct chunk_action *action = script_action(CHUNK_ACTION_READ);
    action->conn = event->event.conn;
    action->request = event->event.request;
    action->segments = segments;
    action->segments_count = count;
    action->committed_bytes = 5000;
    action->sealed = true;
    script_run(&bench);
}

static void read_begin(uint64_t request, uint32_t length)
{
    struct chunk_segment segment = {.handle = 42, .offset = 1000, .length = length};
    read_segments(request, &segment, 1);
}

static void test_read_when_bytes_are_good_writes_them_before_the_reply(void **state)
{
    (void)state;
    read_begin(5, 3000);
    struct script_call *call = script_call_last("read");
    assert_non_null(call);
    assert_int_equal(call->length, 3000);
    unsigned char *data = (unsigned char *)(uintptr_t)call->memory + 100;
    memset(data, 0x3c, 2000);
    script_complete(call->token, 0, data, 2000);
    bench_turn(&bench);
    assert_int_equal(client.message.header.type, WIRE_READ | WIRE_REPLY);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.reply.read_done.length, 2000);
    assert_int_equal(client.message.reply.read_done.committed_bytes, 5000);
    assert_int_equal(client.message.reply.read_done.sealed, 1);
    assert_memory_equal(client.memory, data, 2000);
    assert_int_equal(client.message.reply.read_done.crc, pawl_crc32c(0, client.memory, 2000));
    assert_int_equal(bench.reactor->buffers.reads.used_bytes, 0);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_read_when_of_a_whole_record_goes_with_the_records_checksum(void **state)
{
    (void)state;
    read_begin(5, 3000);
    struct script_call *call = script_call_last("read");
    script_complete(call->token, 0, call->memory, 3000);
    script.completions[script.completions_count - 1].is_record = true;
    script.completions[script.completions_count - 1].crc = 0x1234;
    bench_turn(&bench);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.reply.read_done.crc, 0x1234);
}

static void test_read_when_bytes_are_damaged_says_so_to_peer_and_core(void **state)
{
    (void)state;
    unsigned char before = client.memory[0];
    read_begin(5, 3000);
    script_complete(script_call_last("read")->token, PAWL_ECORRUPT, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(client.message.header.status, PAWL_ECORRUPT);
    assert_int_equal(client.memory[0], before);
    struct script_event *event = script_last(CHUNK_EVENT_DAMAGED);
    assert_non_null(event);
    assert_int_equal(event->event.handle, 42);
    assert_int_equal(bench.reactor->buffers.reads.used_bytes, 0);
}

// Begins reads that need so many bytes each until one has to wait; returns its number.
static unsigned read_until_full(uint64_t request, uint32_t bytes)
{
    for (unsigned i = 0;; i++) {
        unsigned before = script.calls_count;
        read_begin(request + i, bytes);
        if (script.calls_count == before) {
            return i;
        }
    }
}

static void test_read_when_pieces_are_of_a_mebibyte_many_are_under_way(void **state)
{
    (void)state;
    bench.reactor->options.requests_count = 64;
    // 24 MiB of the least region, and a page of slack for each
    assert_int_equal(read_until_full(10, (1u << 20) + 4096), 22);
}

static void test_read_when_no_buffer_is_free_waits_for_one(void **state)
{
    (void)state;
    unsigned count = read_until_full(10, 16u << 20);
    assert_int_equal(count, 1);
    assert_int_equal(script.calls_count, count);
    script_complete(script.calls[0].token, -EIO, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(client.message.header.request, 10);
    assert_int_equal(script.calls_count, count + 1);
}

static void test_read_when_a_large_one_waits_small_ones_wait_behind_it(void **state)
{
    (void)state;
    read_begin(10, 10u << 20);
    read_begin(11, 16u << 20);
    read_begin(12, 4096);
    assert_int_equal(script.calls_count, 1);
    script_complete(script.calls[0].token, -EIO, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(script.calls_count, 3); // side by side
    assert_int_equal(script.calls[1].length, 16u << 20);
    assert_int_equal(script.calls[2].length, 4096);
}

static void test_read_when_peer_of_a_waiting_one_is_gone_forgets_it(void **state)
{
    (void)state;
    read_begin(10, 16u << 20);
    read_begin(11, 16u << 20);
    fabric_conn_close(client.conn, 0);
    bench_turn(&bench);
    assert_int_equal(bench.reactor->ios.used_count, 1); // the one that the store has
    script_complete(script.calls[0].token, 0, script.calls[0].memory, 100);
    bench_turn(&bench);
    assert_int_equal(script.calls_count, 1);
    assert_int_equal(bench.reactor->ios.used_count, 0);
    assert_int_equal(bench.reactor->buffers.reads.used_bytes, 0);
}

static void test_read_when_store_refuses_is_answered(void **state)
{
    (void)state;
    script.store_code = -ENOENT;
    read_begin(5, 100);
    bench_turn(&bench);
    assert_int_equal(client.message.header.request, 5);
    assert_int_equal(client.message.header.status, -ENOENT);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_read_when_peer_is_gone_gives_its_buffer_back(void **state)
{
    (void)state;
    read_begin(5, 100);
    fabric_conn_close(client.conn, 0);
    bench_turn(&bench);
    script_complete(script_call_last("read")->token, 0, script_call_last("read")->memory, 100);
    bench_turn(&bench);
    assert_int_equal(bench.reactor->buffers.reads.used_bytes, 0);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_read_when_of_several_segments_replies_behind_the_last(void **state)
{
    static const struct chunk_segment segments[] = {
        {.handle = 42, .offset = 10, .length = 100},
        {.handle = 0, .length = 50},
        {.handle = 77, .offset = 5, .length = 30},
    };
    (void)state;
    memset(client.memory, 0xee, 200);
    read_segments(5, segments, 3);
    struct script_call *call = script_call_last("read");
    assert_int_equal(call->handle, 42);
    assert_int_equal(call->length, 100);
    unsigned char *data = (unsigned char *)(uintptr_t)call->memory;
    memset(data, 1, 100);
    script_complete(call->token, 0, data, 100);
    for (int i = 0; i < 4; i++) {
        bench_turn(&bench);
    }
    call = script_call_last("read");
    assert_int_equal(call->handle, 77);
    assert_int_equal(call->length, 30);
    assert_int_not_equal(client.message.header.request, 5); // not before all of it is there
    memset(data, 2, 30);
    script_complete(call->token, 0, data, 30);
    bench_turn(&bench);
    assert_int_equal(client.message.header.request, 5);
    assert_int_equal(client.message.reply.read_done.length, 180);
    assert_int_equal(client.message.reply.read_done.crc, pawl_crc32c(0, client.memory, 180));
    assert_int_equal(client.memory[99], 1);
    assert_int_equal(client.memory[100], 0);
    assert_int_equal(client.memory[149], 0);
    assert_int_equal(client.memory[150], 2);
    assert_int_equal(client.memory[180], 0xee);
    assert_int_equal(bench.reactor->buffers.reads.used_bytes, 0);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_read_when_a_segment_is_cut_short_ends_there(void **state)
{
    static const struct chunk_segment segments[] = {
        {.handle = 42, .offset = 10, .length = 100},
        {.handle = 77, .offset = 5, .length = 30},
    };
    (void)state;
    read_segments(5, segments, 2);
    struct script_call *call = script_call_last("read");
    script_complete(call->token, 0, call->memory, 60);
    bench_turn(&bench);
    assert_int_equal(client.message.header.request, 5);
    assert_int_equal(client.message.reply.read_done.length, 60);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_read_when_a_later_segment_is_damaged_names_its_chunk(void **state)
{
    static const struct chunk_segment segments[] = {
        {.handle = 0, .length = 100},
        {.handle = 77, .offset = 5, .length = 30},
    };
    (void)state;
    read_segments(5, segments, 2);
    for (int i = 0; i < 4; i++) {
        bench_turn(&bench);
    }
    script_complete(script_call_last("read")->token, PAWL_ECORRUPT, NULL, 0);
    bench_turn(&bench);
    assert_int_equal(client.message.header.status, PAWL_ECORRUPT);
    struct script_event *event = script_last(CHUNK_EVENT_DAMAGED);
    assert_non_null(event);
    assert_int_equal(event->event.handle, 77);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_record_when_fetched_is_written_with_its_id(void **state)
{
    (void)state;
    struct wire_fetch fetch;
    memset(&fetch, 0, sizeof(fetch));
    wire_header_init(&fetch.header, WIRE_FETCH, sizeof(fetch), 6);
    fetch.chunk = 42;
    fetch.version = 2;
    fetch.index = 3;
    fetch.buffer_address = fabric_region_remote(client.region, client.memory);
    fetch.buffer_key = fabric_region_key(client.region);
    client_send(&client, &fetch, sizeof(fetch));
    struct script_event *event = script_last(CHUNK_EVENT_FETCH);
    assert_non_null(event);
    struct chunk_action *action = script_action(CHUNK_ACTION_SEND_RECORD);
    action->conn = event->event.conn;
    action->request = event->event.request;
    action->handle = 42;
    action->index = 3;
    script_run(&bench);
    struct script_call *call = script_call_last("read_record");
    memcpy((void *)(uintptr_t)call->memory, "hello", 5);
    script_complete(call->token, 0, call->memory, 5);
    bench_turn(&bench);
    assert_int_equal(client.message.header.type, WIRE_FETCH | WIRE_REPLY);
    assert_int_equal(client.message.reply.fetched.index, 3);
    assert_int_equal(client.message.reply.fetched.offset, 77);
    assert_int_equal(client.message.reply.fetched.id.sequence, 9);
    assert_int_equal(client.message.reply.fetched.length, 5);
    assert_int_equal(client.message.reply.fetched.crc, 0x1234);
    assert_memory_equal(client.memory, "hello", 5);
}

static void test_persist_when_store_refuses_tells_the_core_in_a_later_step(void **state)
{
    (void)state;
    script.store_code = -EIO;
    struct chunk_action *action = script_action(CHUNK_ACTION_PROMISE);
    action->handle = 42;
    action->version = 9;
    action->token = 33;
    script_run(&bench);
    struct script_event *event = script_last(CHUNK_EVENT_PERSISTED);
    assert_non_null(event);
    assert_int_equal(event->event.token, 33);
    assert_int_equal(event->event.status, -EIO);
    assert_int_equal(bench.reactor->ios.used_count, 0);
}

static void test_store_when_failed_open_chunks_are_reported_once(void **state)
{
    (void)state;
    Pawl__Replica replica = PAWL__REPLICA__INIT;
    replica.handle = 42;
    script.replicas[0] = replica;
    replica.handle = 43;
    replica.sealed = true;
    script.replicas[1] = replica;
    script.replicas_count = 2;
    script.store_failed = -EIO;
    bench_turn(&bench);
    assert_int_equal(script_count(CHUNK_EVENT_DAMAGED), 1);
    assert_int_equal(script_last(CHUNK_EVENT_DAMAGED)->event.handle, 42);
    struct chunk_action *action = script_action(CHUNK_ACTION_PROMISE);
    action->handle = 43;
    script_run(&bench);
    assert_int_equal(script_last(CHUNK_EVENT_PERSISTED)->event.status, -EIO);
    assert_null(script_call_last("promise"));
}

// ---- mails ------------------------------------------------------------------------------------

static struct mail *mail_expect(enum mail_type type)
{
    struct mail *mail = mailbox_take(reactor_outbox(bench.reactor));
    assert_non_null(mail);
    assert_int_equal(mail->type, type);
    return mail;
}

static void test_command_when_answered_comes_back_packed_to_its_asker(void **state)
{
    (void)state;
    struct mail *mail = mail_new(MAIL_COMMAND);
    mail->conn = 8;
    mail->request = 9;
    mail->command = malloc(sizeof(*mail->command));
    pawl__request__init(mail->command);
    mailbox_post(reactor_inbox(bench.reactor), mail);
    bench_turn(&bench);
    struct script_event *event = script_last(CHUNK_EVENT_COMMAND);
    assert_non_null(event);
    assert_non_null(event->event.command);
    struct chunk_action *action = script_action(CHUNK_ACTION_ANSWER);
    action->request = event->event.request;
    pawl__reply__init(&action->answer);
    action->answer.code = PAWL_ESTALE;
    script_run(&bench);
    struct mail *answer = mail_expect(MAIL_ANSWER);
    assert_int_equal(answer->conn, 8);
    assert_int_equal(answer->request, 9);
    Pawl__Reply *reply = pawl__reply__unpack(NULL, answer->bytes_count, answer->bytes);
    assert_int_equal(reply->code, PAWL_ESTALE);
    pawl__reply__free_unpacked(reply, NULL);
    mail_free(answer);
    assert_int_equal(bench.reactor->commands.used_count, 0);
}

static void test_inventory_when_asked_holds_the_replicas_and_the_space(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        Pawl__Replica replica = PAWL__REPLICA__INIT;
        replica.handle = 100 + i;
        replica.sealed = i > 0;
        script.replicas[i] = replica;
    }
    script.replicas_count = 4;
    struct mail *ask = mail_new(MAIL_INVENTORY_ASK);
    ask->all = true;
    mailbox_post(reactor_inbox(bench.reactor), ask);
    mailbox_post(reactor_inbox(bench.reactor), mail_new(MAIL_INVENTORY_ASK));
    bench_turn(&bench);
    struct mail *all = mail_expect(MAIL_INVENTORY);
    assert_true(all->all);
    assert_int_equal(all->replicas_count, 4);
    assert_int_equal(all->replicas[3].handle, 103);
    assert_int_equal(all->counters.space_bytes, 1000);
    assert_int_equal(all->counters.used_bytes, 300);
    mail_free(all);
    struct mail *open = mail_expect(MAIL_INVENTORY);
    assert_false(open->all);
    assert_int_equal(open->replicas_count, 1);
    mail_free(open);
}

static void test_leases_when_renewed_reach_the_core_with_their_end(void **state)
{
    (void)state;
    struct mail *mail = mail_new(MAIL_LEASES);
    mail->leases = calloc(2, sizeof(mail->leases[0]));
    mail->leases_count = 2;
    mail->leases[1].handle = 42;
    mail->leases[1].version = 7;
    mail->until_ns = 123456;
    mailbox_post(reactor_inbox(bench.reactor), mail);
    bench_turn(&bench);
    assert_int_equal(script_count(CHUNK_EVENT_LEASE), 2);
    struct script_event *event = script_last(CHUNK_EVENT_LEASE);
    assert_int_equal(event->event.handle, 42);
    assert_int_equal(event->event.version, 7);
    assert_int_equal(event->event.until_ns, 123456);
}

static void cluster_offer(uint64_t cluster_id, int expected)
{
    struct mail *mail = mail_new(MAIL_REGISTERED);
    mail->number = cluster_id;
    mailbox_post(reactor_inbox(bench.reactor), mail);
    bench_turn(&bench);
    struct mail *kept = mail_expect(MAIL_CLUSTER_KEPT);
    assert_int_equal(kept->status, expected);
    mail_free(kept);
}

static void test_cluster_when_known_is_kept_and_another_is_refused(void **state)
{
    (void)state;
    cluster_offer(SCRIPT_CLUSTER, 0);
    cluster_offer(SCRIPT_CLUSTER + 1, PAWL_ECLUSTER);
    assert_int_equal(script.cluster_id, SCRIPT_CLUSTER);
    bench.reactor->cluster_id = 0;
    cluster_offer(0xc2, 0);
    assert_int_equal(script.cluster_id, 0xc2);
    assert_int_equal(script.server_id, 0x51);
}

static void test_report_when_made_goes_to_the_control_thread(void **state)
{
    (void)state;
    struct chunk_action *action = script_action(CHUNK_ACTION_REPORT);
    action->handle = 42;
    action->version = 3;
    action->report.kind = PAWL__REPORT_KIND__REPORT_BROKEN;
    action->report.server_id = 0x77;
    script_run(&bench);
    struct mail *mail = mail_expect(MAIL_REPORT);
    assert_int_equal(mail->kind, PAWL__REPORT_KIND__REPORT_BROKEN);
    assert_int_equal(mail->handle, 42);
    assert_int_equal(mail->version, 3);
    assert_int_equal(mail->number, 0x77);
    mail_free(mail);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_read_when_bytes_are_good_writes_them_before_the_reply),
        T(test_read_when_of_a_whole_record_goes_with_the_records_checksum),
        T(test_read_when_bytes_are_damaged_says_so_to_peer_and_core),
        T(test_read_when_pieces_are_of_a_mebibyte_many_are_under_way),
        T(test_read_when_no_buffer_is_free_waits_for_one),
        T(test_read_when_a_large_one_waits_small_ones_wait_behind_it),
        T(test_read_when_peer_of_a_waiting_one_is_gone_forgets_it),
        T(test_read_when_store_refuses_is_answered),
        T(test_read_when_peer_is_gone_gives_its_buffer_back),
        T(test_read_when_of_several_segments_replies_behind_the_last),
        T(test_read_when_a_segment_is_cut_short_ends_there),
        T(test_read_when_a_later_segment_is_damaged_names_its_chunk),
        T(test_record_when_fetched_is_written_with_its_id),
        T(test_persist_when_store_refuses_tells_the_core_in_a_later_step),
        T(test_store_when_failed_open_chunks_are_reported_once),
        T(test_command_when_answered_comes_back_packed_to_its_asker),
        T(test_inventory_when_asked_holds_the_replicas_and_the_space),
        T(test_leases_when_renewed_reach_the_core_with_their_end),
        T(test_cluster_when_known_is_kept_and_another_is_refused),
        T(test_report_when_made_goes_to_the_control_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
