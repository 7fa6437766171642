// SPDX-License-Identifier: Apache-2.0
// A whole reactor with the real core and store: one replica is opened, granted, appended to, read, and
// found again after a restart. Over the fake fabric and over libfabric's tcp provider.
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "dataplane/memory/core_claims.h"
#include "scripted.h"

#define CHUNK 42u
#define PEER 0x88u // server id of the first secondary
#define SERVERS 2u
#define PATIENCE_NS (60u * PAWL_NS_PER_S) // what hangs fails; what is slow does not

static char dir[64];
static struct bench bench;
static struct client client;
static struct server server[SERVERS]; // of the tests that have secondaries

// With claims it may spin, on core 3.
static void reactor_start_on(const struct core_claims *claims)
{
    struct reactor_options options = {
        .size = sizeof(options),
        .name = "cs1",
        .dir = dir,
        .fabrics = {{.provider = bench.provider, .host = "127.0.0.1"}},
        .fabrics_count = 1,
        .region_bytes = BUFFERS_REGION_MIN_BYTES,
        .journal_segment_bytes = 4u << 20,
        .journal_segments_count = 2,
        .numa_node = UINT32_MAX,
        .no_huge = true,
        .no_lock = true,
        .may_spin = claims != NULL,
        .claims = claims,
        .claimed_core = 3,
    };
    bench.now_ns = pawl_clock_ns();
    assert_int_equal(reactor_open(&options, bench.now_ns, &bench.reactor), 0);
}

static void reactor_start(void)
{
    reactor_start_on(NULL);
}

// Turns until *count reaches `wanted`; fails instead of waiting for ever.
static void turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (bench.now_ns < end_ns && *count < wanted && !client.closed) {
        bench.now_ns = pawl_clock_ns();
        bench_turn(&bench);
    }
    assert_false(client.closed);
    assert_int_equal(*count, wanted);
}

static struct mail *mail_wait(enum mail_type type)
{
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (bench.now_ns < end_ns) {
        struct mail *mail = mailbox_take(reactor_outbox(bench.reactor));
        if (mail != NULL && mail->type == type) {
            return mail;
        }
        mail_free(mail);
        bench.now_ns = pawl_clock_ns();
        bench_turn(&bench);
    }
    fail_msg("no mail of type %d", (int)type);
    return NULL;
}

// Gives the reactor a command of the master; returns the code of its answer.
static int command(const Pawl__Request *request)
{
    uint8_t packed[1024];
    size_t bytes = pawl__request__pack(request, packed);
    struct mail *mail = mail_new(MAIL_COMMAND);
    mail->command = pawl__request__unpack(NULL, bytes, packed);
    mailbox_post(reactor_inbox(bench.reactor), mail);
    struct mail *answer = mail_wait(MAIL_ANSWER);
    Pawl__Reply *reply = pawl__reply__unpack(NULL, answer->bytes_count, answer->bytes);
    assert_non_null(reply);
    int code = reply->code;
    pawl__reply__free_unpacked(reply, NULL);
    mail_free(answer);
    return code;
}

static void chunk_open(uint64_t handle)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Open open = PAWL__OPEN__INIT;
    open.term = 1;
    open.handle = handle;
    open.version = 1;
    open.file_id = 7;
    open.chunk_bytes = 8u << 20;
    request.body_case = PAWL__REQUEST__BODY_OPEN;
    request.open = &open;
    assert_int_equal(command(&request), 0);
}

// The lease, with the test's servers as secondaries.
static void grant(uint64_t handle, uint32_t secondaries_count)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Grant grant = PAWL__GRANT__INIT;
    Pawl__Member self = PAWL__MEMBER__INIT;
    Pawl__Member peers[SERVERS];
    Pawl__Member *members[1 + SERVERS] = {&self};
    self.server_id = reactor_server_id(bench.reactor);
    self.fabric_address = (char *)(uintptr_t)reactor_address(bench.reactor);
    for (uint32_t i = 0; i < secondaries_count; i++) {
        pawl__member__init(&peers[i]);
        peers[i].server_id = PEER + i;
        peers[i].name = (char *)(uintptr_t) "peer";
        peers[i].fabric_address = (char *)(uintptr_t)fabric_address(server[i].fabric);
        members[1 + i] = &peers[i];
    }
    grant.term = 1;
    grant.handle = handle;
    grant.version = 1;
    grant.lease_ms = 60000;
    grant.n_members = 1 + secondaries_count;
    grant.members = members;
    request.body_case = PAWL__REQUEST__BODY_GRANT;
    request.grant = &grant;
    assert_int_equal(command(&request), 0);
}

static void chunk_open_and_grant(void)
{
    struct mail *mail = mail_new(MAIL_REGISTERED);
    mail->number = SCRIPT_CLUSTER;
    mailbox_post(reactor_inbox(bench.reactor), mail);
    mail = mail_wait(MAIL_CLUSTER_KEPT);
    assert_int_equal(mail->status, 0);
    mail_free(mail);
    chunk_open(CHUNK);
    grant(CHUNK, 0);
}

static int setup(void **state)
{
    strcpy(dir, "reactor-XXXXXX");
    assert_non_null(mkdtemp(dir));
    bench_init(&bench, *state);
    reactor_start();
    chunk_open_and_grant();
    client_open(&client, &bench);
    client_hello(&client, 0, 8);
    return 0;
}

static int entry_remove(const char *path, const struct stat *stat, int flag, struct FTW *ftw)
{
    (void)stat;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    client_close(&client);
    bench_close(&bench);
    nftw(dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

static void append_expect(uint64_t sequence, uint32_t length, uint16_t slots, uint64_t offset,
                          uint32_t duplicate)
{
    unsigned before = client.messages_count;
    client_append(&client, sequence, length, 0, slots);
    turn_until(&client.messages_count, before + 1);
    assert_int_equal(client.message.header.type, WIRE_APPEND | WIRE_REPLY);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.reply.appended.file_offset, offset);
    assert_int_equal(client.message.reply.appended.duplicate, duplicate);
}

// Reads into the second MiB of the client's memory.
static void read_expect(uint64_t offset, uint32_t length, const unsigned char *expected)
{
    unsigned char *target = client.memory + (1u << 20);
    unsigned before = client.messages_count;
    struct wire_read read;
    memset(&read, 0, sizeof(read));
    memset(target, 0, length);
    wire_header_init(&read.header, WIRE_READ, sizeof(read), 1000 + offset);
    read.chunk = CHUNK;
    read.offset = offset;
    read.length = length;
    read.buffer_address = fabric_region_remote(client.region, target);
    read.buffer_key = fabric_region_key(client.region);
    client_send(&client, &read, sizeof(read));
    turn_until(&client.messages_count, before + 1);
    assert_int_equal(client.message.header.type, WIRE_READ | WIRE_REPLY);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.reply.read_done.length, length);
    assert_int_equal(client.message.reply.read_done.crc, pawl_crc32c(0, expected, length));
    assert_memory_equal(target, expected, length);
}

static void test_records_when_appended_are_read_back_and_survive_a_restart(void **state)
{
    (void)state;
    append_expect(1, 1000, 0, 0, 0);
    append_expect(2, 400000, 2, 1000, 0);
    append_expect(3, 10, 0, 401000, 0);
    append_expect(2, 400000, 2, 1000, 1); // a retry: the same place
    read_expect(0, 1000, client.memory);
    read_expect(1000 + 5000, 300000, client.memory + 5000);

    client_close(&client);
    reactor_close(bench.reactor);
    reactor_start();
    assert_int_equal(bench.reactor->cluster_id, SCRIPT_CLUSTER);
    struct mail *ask = mail_new(MAIL_INVENTORY_ASK);
    ask->all = true;
    mailbox_post(reactor_inbox(bench.reactor), ask);
    struct mail *inventory = mail_wait(MAIL_INVENTORY);
    assert_int_equal(inventory->replicas_count, 1);
    assert_int_equal(inventory->replicas[0].handle, CHUNK);
    assert_int_equal(inventory->replicas[0].count, 3);
    assert_int_equal(inventory->replicas[0].length, 401010);
    assert_false(inventory->replicas[0].primary);
    mail_free(inventory);
    client_open(&client, &bench);
    client_hello(&client, 0, 8);
    // What was committed when the last record was written is still known to be.
    read_expect(0, 1000, client.memory);
}

// Two records of a byte, the later one of an older version: what is left when the entry that cut the first one's
// elders off has rotted.
static void store_confused_chunk(uint64_t handle)
{
    struct store_options options = {
        .dir = dir, .journal_segment_bytes = 4u << 20, .journal_segments_count = 2};
    struct store_chunk chunk = {.handle = handle, .version = 1, .chunk_bytes = 8u << 20};
    struct store_completion completions[3];
    struct store *store;
    int ended = 0;
    assert_int_equal(store_open(&options, &store), 0);
    assert_int_equal(store_create(store, &chunk, 1), 0);
    for (uint64_t i = 0; i < 2; i++) {
        struct pawl_record record = {.offset = i,
                                     .id = {.producer_lo = 1, .sequence = i + 1},
                                     .version = 2 - i,
                                     .length = 1,
                                     .crc = pawl_crc32c(0, "x", 1)};
        assert_int_equal(store_append(store, handle, i, &record, "x", 0, 2 + i), 0);
    }
    while (ended < 3) {
        ended += store_poll(store, completions, 3);
    }
    store_close(store);
}

static void test_reactor_when_a_chunk_makes_no_sense_then_starts_and_calls_it_damaged(void **state)
{
    (void)state;
    client_close(&client);
    reactor_close(bench.reactor);
    store_confused_chunk(CHUNK + 1);
    reactor_start();
    struct mail *ask = mail_new(MAIL_INVENTORY_ASK);
    ask->all = true;
    mailbox_post(reactor_inbox(bench.reactor), ask);
    struct mail *inventory = mail_wait(MAIL_INVENTORY);
    assert_int_equal(inventory->replicas_count, 2);
    for (size_t i = 0; i < 2; i++) {
        bool confused = inventory->replicas[i].handle == CHUNK + 1;
        assert_int_equal(inventory->replicas[i].damaged, confused);
        assert_int_equal(inventory->replicas[i].count, confused ? 1 : 0);
    }
    mail_free(inventory);
    client_open(&client, &bench);
}

// A run of `count` records of 1000 bytes of memory.
static void run_send(uint64_t handle, uint16_t count)
{
    client_run(
        &client,
        &(struct client_run){
            .type = WIRE_APPEND, .count = count, .each = 1000, .chunk = handle, .request = 1});
}

static void test_run_when_it_fills_what_is_welcome_then_is_stored(void **state)
{
    bool is_stream = strcmp(*state, "tcp") == 0;
    uint32_t most = client.welcome.run_bytes_max;
    assert_int_equal(most, is_stream ? WIRE_RUN_BYTES_MAX : WIRE_INLINE_MAX);
    uint16_t count = (uint16_t)(most / (1000 + wire_rows_bytes(1)));
    unsigned before = client.messages_count;
    run_send(CHUNK, count);
    turn_until(&client.messages_count, before + 1);
    assert_int_equal(client.message.header.status, 0);
    assert_int_equal(client.message.reply.appended.sequence, count);
    assert_int_equal(client.message.reply.appended.file_offset, 1000u * (count - 1));
    read_expect(0, 1000u * count, client.memory);
}

static void servers_turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (*count < wanted && pawl_clock_ns() < end_ns) {
        bench.now_ns = pawl_clock_ns();
        for (uint32_t i = 0; i < SERVERS; i++) {
            server_turn(&server[i]);
        }
    }
    assert_int_equal(*count, wanted);
}

#define LONG_RUN (WIRE_RUN_BYTES_MAX / (1000u + sizeof(struct wire_run_row))) // records

// By chain from its length on, and longer than a record may be in a message: it goes in the messages all the same.
static void test_run_when_it_is_long_then_secondaries_get_it_in_their_messages(void **state)
{
    (void)state;
    bench.reactor->options.chain_bytes = WIRE_INLINE_MAX;
    for (uint32_t i = 0; i < SERVERS; i++) {
        server_open(&server[i], &bench);
    }
    chunk_open(CHUNK + 1);
    grant(CHUNK + 1, SERVERS);
    for (uint32_t i = 0; i < SERVERS; i++) {
        servers_turn_until(&server[i].client.messages_count, 1);
        server_welcome(&server[i], PEER + i, 8, 4);
    }
    run_send(CHUNK + 1, LONG_RUN);
    for (uint32_t i = 0; i < SERVERS; i++) {
        servers_turn_until(&server[i].client.messages_count, 2);
        const struct wire_prepare *prepare = &server[i].client.message.prepare;
        const unsigned char *behind = server[i].client.message.bytes + sizeof(*prepare);
        assert_int_equal(prepare->header.type, WIRE_PREPARE);
        assert_int_equal(prepare->run_count, LONG_RUN);
        assert_int_equal(prepare->slot_count, 0);
        assert_int_equal(prepare->flags, 0);
        assert_memory_equal(behind + wire_rows_bytes(LONG_RUN), client.memory, 1000 * LONG_RUN);
        server_close(&server[i]);
    }
}

// ---- a copy from a server of the test's ----------------------------------------------------------

#define COPIED 90u
#define COPIED_RECORDS 9u
#define COPIED_BYTES 1000u // of each

// The master has read what is here: it may order copies.
static void registered(uint64_t term)
{
    struct mail *mail = mail_new(MAIL_INVENTORY_ASK);
    mail->all = true;
    mailbox_post(reactor_inbox(bench.reactor), mail);
    mail_free(mail_wait(MAIL_INVENTORY));
    mail = mail_new(MAIL_REGISTERED);
    mail->number = SCRIPT_CLUSTER;
    mail->term = term;
    mail->order = 1;
    mailbox_post(reactor_inbox(bench.reactor), mail);
    mail_free(mail_wait(MAIL_CLUSTER_KEPT));
}

static void copy_post(uint64_t order)
{
    uint8_t packed[1024];
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Copy copy = PAWL__COPY__INIT;
    Pawl__Member source = PAWL__MEMBER__INIT;
    source.server_id = PEER;
    source.name = (char *)(uintptr_t) "peer";
    source.fabric_address = (char *)(uintptr_t)fabric_address(server[0].fabric);
    copy.term = 1;
    copy.handle = COPIED;
    copy.version = 2;
    copy.file_id = 7;
    copy.chunk_bytes = 8u << 20;
    copy.count = COPIED_RECORDS;
    copy.length = COPIED_RECORDS * COPIED_BYTES;
    copy.source = &source;
    copy.order = order;
    request.body_case = PAWL__REQUEST__BODY_COPY;
    request.copy = &copy;
    size_t bytes = pawl__request__pack(&request, packed);
    struct mail *mail = mail_new(MAIL_COMMAND);
    mail->command = pawl__request__unpack(NULL, bytes, packed);
    mailbox_post(reactor_inbox(bench.reactor), mail);
}

// Answers a FETCH of that chunk; a record's bytes may be the wrong ones.
static void copy_serve(const struct wire_fetch *asked, bool torn)
{
    struct wire_fetch fetch = *asked;
    struct client *peer = &server[0].client;
    struct wire_fetched fetched;
    memset(&fetched, 0, sizeof(fetched));
    wire_header_init(&fetched.header, WIRE_FETCH | WIRE_REPLY, sizeof(fetched),
                     fetch.header.request);
    fetched.chunk = COPIED;
    fetched.index = fetch.index;
    if (fetch.index != WIRE_FETCH_TABLE) {
        unsigned char *bytes = peer->memory + fetch.index * COPIED_BYTES;
        fetched.offset = fetch.index * COPIED_BYTES;
        fetched.id.producer_lo = 2;
        fetched.id.sequence = fetch.index + 1;
        fetched.length = COPIED_BYTES;
        fetched.crc = pawl_crc32c(0, bytes, COPIED_BYTES);
        assert_int_equal(fabric_write(peer->conn, peer->region, bytes + torn, COPIED_BYTES,
                                      fetch.buffer_address, fetch.buffer_key, 1),
                         0);
    }
    assert_int_equal(fabric_send(peer->conn, &fetched, sizeof(fetched)), 0);
}

static bool copy_is_sealed(const struct mail *mail)
{
    Pawl__Reply *reply = pawl__reply__unpack(NULL, mail->bytes_count, mail->bytes);
    assert_non_null(reply);
    assert_int_equal(reply->code, 0);
    assert_int_equal(reply->body_case, PAWL__REPLY__BODY_COPIED);
    bool sealed = reply->copied->sealed;
    pawl__reply__free_unpacked(reply, NULL);
    return sealed;
}

// There is one landing, and a copy asks for four records: those behind a torn one are not to get it first.
static void test_copy_when_records_land_torn_then_comes_to_its_end(void **state)
{
    (void)state;
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    uint32_t served[COPIED_RECORDS] = {0};
    bool sealed = false;
    uint64_t order = 2;
    registered(1);
    server_open(&server[0], &bench);
    assert_int_equal(bench.reactor->buffers.landings_count, 1);
    copy_post(order);
    while (server[0].client.messages_count < 1 && bench.now_ns < end_ns) {
        bench.now_ns = pawl_clock_ns();
        server_turn(&server[0]);
    }
    server_welcome(&server[0], PEER, 0, 8);
    for (unsigned seen = 1; !sealed && bench.now_ns < end_ns;) {
        const struct wire_fetch *fetch = &server[0].client.message.fetch;
        if (server[0].client.messages_count > seen) {
            assert_int_equal(server[0].client.messages_count, ++seen); // one landing: one at a time
            assert_int_equal(fetch->header.type, WIRE_FETCH);
            bool torn = fetch->index % 4 == 0 && served[fetch->index % COPIED_RECORDS] < 2;
            served[fetch->index % COPIED_RECORDS] += fetch->index < COPIED_RECORDS;
            copy_serve(fetch, torn);
        }
        bench.now_ns = pawl_clock_ns();
        server_turn(&server[0]);
        struct mail *mail = mailbox_take(reactor_outbox(bench.reactor));
        if (mail != NULL && mail->type == MAIL_ANSWER && !(sealed = copy_is_sealed(mail))) {
            copy_post(++order);
        }
        mail_free(mail);
    }
    assert_true(sealed);
    assert_int_equal(served[8], 3);
    assert_int_equal(served[7], 1);
    assert_false(bench.reactor->buffers.landings[0].used);
    server_close(&server[0]);
}

static void test_append_when_crc_is_wrong_is_refused(void **state)
{
    (void)state;
    struct {
        struct wire_append append;
        unsigned char bytes[16];
    } message;
    memset(&message, 0, sizeof(message));
    wire_header_init(&message.append.header, WIRE_APPEND, sizeof(message), 5);
    message.append.chunk = CHUNK;
    message.append.version = 1;
    message.append.id.producer_lo = 1;
    message.append.id.sequence = 1;
    message.append.length = 16;
    message.append.crc = 1;
    unsigned before = client.messages_count;
    client_send(&client, &message, sizeof(message));
    turn_until(&client.messages_count, before + 1);
    assert_int_equal(client.message.header.status, PAWL_EBADPAYLOAD);
    append_expect(1, 1000, 0, 0, 0);
}

static void test_reactor_when_stopped_answers_what_is_in_flight(void **state)
{
    (void)state;
    client_append(&client, 1, 1000, 0, 0);
    mailbox_post(reactor_inbox(bench.reactor), mail_new(MAIL_STOP));
    turn_until(&client.messages_count, 2);
    assert_int_equal(client.message.header.status, 0);
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (!bench.reactor->stopping && bench.now_ns < end_ns) { // the order goes its own way
        bench.now_ns = pawl_clock_ns();
        bench_turn(&bench);
    }
    client_append(&client, 2, 1000, 0, 0);
    turn_until(&client.messages_count, 3);
    assert_int_equal(client.message.header.status, PAWL_ESHUTDOWN);
    reactor_run(bench.reactor); // ends by itself
    mail_free(mail_wait(MAIL_STOPPED));
}

static void test_reactor_when_stopped_and_quiet_then_it_does_not_sleep_past_its_end(void **state)
{
    (void)state;
    mailbox_post(reactor_inbox(bench.reactor), mail_new(MAIL_STOP));
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while ((!bench.reactor->stopping || store_busy(bench.reactor->store)) &&
           bench.now_ns < end_ns) {
        bench.now_ns = pawl_clock_ns();
        bench_turn(&bench);
    }
    assert_true(bench.reactor->stopping);
    bench.now_ns = bench.reactor->stop_ns - 20 * PAWL_NS_PER_MS;
    bench_turn(&bench);
    assert_int_equal(reactor_sleep_ms(bench.reactor, bench.now_ns), 20);
}

static void test_spinning_when_another_server_has_the_core_is_off_until_it_goes(void **state)
{
    (void)state;
    struct core_claims own;
    struct core_claims others;
    assert_false(bench.reactor->spins); // it is not bound
    client_close(&client);
    reactor_close(bench.reactor);
    assert_int_equal(core_claims_open("/proc/self/exe", &own), 0);
    assert_int_equal(core_claims_open("/proc/self/exe", &others), 0);
    assert_int_equal(core_claims_take(&own, 3), 0);
    assert_int_equal(core_claims_take(&others, 2), 0);
    reactor_start_on(&own);
    bench_pass(&bench, 1);
    assert_true(bench.reactor->spins);
    assert_int_equal(core_claims_take(&others, 3), 0);
    bench_pass(&bench, 1000);
    assert_false(bench.reactor->spins);
    core_claims_close(&others);
    bench_pass(&bench, 1000);
    assert_true(bench.reactor->spins);
    client_open(&client, &bench); // for teardown
    bench.reactor->options.claims = NULL;
    core_claims_close(&own);
}

int main(void)
{
#define T(name, provider)                                                                          \
    {                                                                                              \
#name " " provider, name, setup, teardown, (void *)(uintptr_t)provider                     \
    }
    const struct CMUnitTest tests[] = {
        T(test_records_when_appended_are_read_back_and_survive_a_restart, "fake"),
        T(test_reactor_when_a_chunk_makes_no_sense_then_starts_and_calls_it_damaged, "fake"),
        T(test_run_when_it_fills_what_is_welcome_then_is_stored, "fake"),
        T(test_run_when_it_fills_what_is_welcome_then_is_stored, "tcp"),
        T(test_run_when_it_is_long_then_secondaries_get_it_in_their_messages, "tcp"),
        T(test_copy_when_records_land_torn_then_comes_to_its_end, "fake"),
        T(test_append_when_crc_is_wrong_is_refused, "fake"),
        T(test_reactor_when_stopped_answers_what_is_in_flight, "fake"),
        T(test_reactor_when_stopped_and_quiet_then_it_does_not_sleep_past_its_end, "fake"),
        T(test_spinning_when_another_server_has_the_core_is_off_until_it_goes, "fake"),
        T(test_records_when_appended_are_read_back_and_survive_a_restart, "tcp"),
        T(test_append_when_crc_is_wrong_is_refused, "tcp"),
        T(test_reactor_when_stopped_answers_what_is_in_flight, "tcp"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
