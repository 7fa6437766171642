// SPDX-License-Identifier: Apache-2.0
// Tests of a reactor with two fabrics, "fake" before "tcp", around the real core and store: clients and peers
// of each are served over their own, and bytes that came by one go on by the other.
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "scripted.h"

#define CHUNK 42u
#define PEER 0x88u
#define PATIENCE_NS (60u * PAWL_NS_PER_S) // what hangs fails; what is slow does not

enum side { FAKE = 0, TCP = 1, SIDES = 2 };

static char dir[64];
// Each with the same reactor, and a fabric of its own for the peers that the test plays.
static struct bench bench[SIDES];
static struct client client[SIDES];
static struct server server[SIDES];

static const char *const providers[SIDES] = {"fake", "tcp"};

static void turn_all(void)
{
    for (int side = 0; side < SIDES; side++) {
        bench[side].now_ns = pawl_clock_ns();
        server_turn(&server[side]);
    }
}

static void turn_until(const unsigned *count, unsigned wanted)
{
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (*count < wanted && pawl_clock_ns() < end_ns) {
        turn_all();
    }
    assert_int_equal(*count, wanted);
}

static struct mail *mail_wait(enum mail_type type)
{
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (pawl_clock_ns() < end_ns) {
        struct mail *mail = mailbox_take(reactor_outbox(bench[FAKE].reactor));
        if (mail != NULL && mail->type == type) {
            return mail;
        }
        mail_free(mail);
        turn_all();
    }
    fail_msg("no mail of type %d", (int)type);
    return NULL;
}

static void command_post(const Pawl__Request *request)
{
    uint8_t packed[1024];
    size_t bytes = pawl__request__pack(request, packed);
    struct mail *mail = mail_new(MAIL_COMMAND);
    mail->command = pawl__request__unpack(NULL, bytes, packed);
    mailbox_post(reactor_inbox(bench[FAKE].reactor), mail);
}

// The code of the answer to a command of the master.
static int command(const Pawl__Request *request)
{
    command_post(request);
    struct mail *answer = mail_wait(MAIL_ANSWER);
    Pawl__Reply *reply = pawl__reply__unpack(NULL, answer->bytes_count, answer->bytes);
    assert_non_null(reply);
    int code = reply->code;
    pawl__reply__free_unpacked(reply, NULL);
    mail_free(answer);
    return code;
}

static void chunk_open(void)
{
    struct mail *mail = mail_new(MAIL_REGISTERED);
    mail->number = SCRIPT_CLUSTER;
    mailbox_post(reactor_inbox(bench[FAKE].reactor), mail);
    mail_free(mail_wait(MAIL_CLUSTER_KEPT));
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Open open = PAWL__OPEN__INIT;
    open.term = 1;
    open.handle = CHUNK;
    open.version = 1;
    open.file_id = 7;
    open.chunk_bytes = 8u << 20;
    request.body_case = PAWL__REQUEST__BODY_OPEN;
    request.open = &open;
    assert_int_equal(command(&request), 0);
}

// The lease, with a second member at these addresses; NULL: without one.
static int grant(const char *addresses)
{
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Grant grant = PAWL__GRANT__INIT;
    Pawl__Member self = PAWL__MEMBER__INIT;
    Pawl__Member peer = PAWL__MEMBER__INIT;
    Pawl__Member *members[] = {&self, &peer};
    self.server_id = reactor_server_id(bench[FAKE].reactor);
    self.fabric_address = (char *)(uintptr_t)reactor_address(bench[FAKE].reactor);
    peer.server_id = PEER;
    peer.name = (char *)(uintptr_t) "cs2";
    peer.fabric_address = (char *)(uintptr_t)addresses;
    grant.term = 1;
    grant.handle = CHUNK;
    grant.version = 1;
    grant.lease_ms = 60000;
    grant.n_members = addresses == NULL ? 1 : 2;
    grant.members = members;
    request.body_case = PAWL__REQUEST__BODY_GRANT;
    request.grant = &grant;
    return command(&request);
}

static int setup(void **state)
{
    (void)state;
    struct reactor_options options = {
        .size = sizeof(options),
        .name = "cs1",
        .dir = dir,
        .fabrics = {{.provider = "fake"}, {.provider = "tcp", .host = "127.0.0.1"}},
        .fabrics_count = SIDES,
        .region_bytes = BUFFERS_REGION_MIN_BYTES,
        .journal_segment_bytes = 4u << 20,
        .journal_segments_count = 2,
        .numa_node = UINT32_MAX,
        .no_huge = true,
        .no_lock = true,
    };
    struct reactor *reactor = NULL;
    strcpy(dir, "fabrics-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(reactor_open(&options, pawl_clock_ns(), &reactor), 0);
    for (int side = 0; side < SIDES; side++) {
        bench_init(&bench[side], providers[side]);
        bench[side].reactor = reactor;
        bench[side].now_ns = pawl_clock_ns();
        server_open(&server[side], &bench[side]);
    }
    chunk_open();
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
    struct reactor *reactor = bench[FAKE].reactor;
    for (int side = 0; side < SIDES; side++) {
        server_close(&server[side]);
        fabric_close(bench[side].fabric);
    }
    reactor_close(reactor);
    nftw(dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

// Until the connection is made, which takes tcp a few turns.
static void client_come(enum side side)
{
    client_open(&client[side], &bench[side]);
    client_hello(&client[side], 0, 8);
}

static void client_go(enum side side)
{
    client_close(&client[side]);
}

static void append_expect(enum side side, uint64_t sequence, uint32_t length, uint16_t slots,
                          uint64_t offset)
{
    struct client *from = &client[side];
    unsigned before = from->messages_count;
    client_append(from, sequence, length, 0, slots);
    turn_until(&from->messages_count, before + 1);
    assert_int_equal(from->message.header.type, WIRE_APPEND | WIRE_REPLY);
    assert_int_equal(from->message.header.status, 0);
    assert_int_equal(from->message.reply.appended.file_offset, offset);
}

static void read_expect(enum side side, uint64_t offset, uint32_t length,
                        const unsigned char *expected)
{
    struct client *to = &client[side];
    unsigned char *target = to->memory + (1u << 20);
    unsigned before = to->messages_count;
    struct wire_read read;
    memset(&read, 0, sizeof(read));
    memset(target, 0, length);
    wire_header_init(&read.header, WIRE_READ, sizeof(read), 1000 + offset);
    read.chunk = CHUNK;
    read.offset = offset;
    read.length = length;
    read.buffer_address = fabric_region_remote(to->region, target);
    read.buffer_key = fabric_region_key(to->region);
    client_send(to, &read, sizeof(read));
    turn_until(&to->messages_count, before + 1);
    assert_int_equal(to->message.header.status, 0);
    assert_int_equal(to->message.reply.read_done.length, length);
    assert_memory_equal(target, expected, length);
}

// A run of 9 records of 1000 bytes, more than a message of the fake one takes: as of a client, or of its primary.
static void run_send(enum side side, uint16_t type)
{
    client_run(
        &client[side],
        &(struct client_run){.type = type, .count = 9, .each = 1000, .chunk = CHUNK, .request = 1});
}

// ---- clients ----------------------------------------------------------------------------------

static void test_addresses_when_opened_are_listed_in_the_order_of_the_options(void **state)
{
    (void)state;
    char text[PAWL_ADDRESSES_BYTES_MAX];
    const char *list = reactor_address(bench[FAKE].reactor);
    assert_string_equal(pawl_addresses_providers(list, text), "fake and tcp");
}

static void test_run_when_the_other_fabric_could_not_pass_it_on_then_is_not_welcome(void **state)
{
    (void)state;
    assert_int_equal(grant(NULL), 0);
    for (int side = 0; side < SIDES; side++) {
        client_come(side);
        assert_int_equal(client[side].welcome.run_bytes_max, WIRE_INLINE_MAX);
    }
    run_send(TCP, WIRE_APPEND);
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (!client[TCP].closed && pawl_clock_ns() < end_ns) {
        turn_all();
    }
    assert_true(client[TCP].closed);
    append_expect(FAKE, 1, 1000, 0, 0); // nothing of it is there
    client_go(FAKE);
    client_go(TCP);
}

// Its sender may offer tcp alone, and has promised that to its clients.
static void test_run_when_a_primary_sends_it_then_may_be_as_long_as_its_fabric_takes(void **state)
{
    (void)state;
    client_open(&client[TCP], &bench[TCP]);
    client_hello(&client[TCP], PEER, 0);
    unsigned before = client[TCP].messages_count;
    run_send(TCP, WIRE_PREPARE);
    turn_until(&client[TCP].messages_count, before + 1);
    assert_int_equal(client[TCP].message.header.type, WIRE_PREPARE | WIRE_REPLY);
    assert_int_equal(client[TCP].message.header.status, 0);
    client_go(TCP);
}

static void test_clients_when_they_come_by_both_see_the_same_bytes(void **state)
{
    (void)state;
    assert_int_equal(grant(NULL), 0);
    client_come(FAKE);
    client_come(TCP);
    client[TCP].memory[0] ^= 0xff; // so that their records differ
    append_expect(FAKE, 1, 400000, 2, 0);
    append_expect(TCP, 2, 500000, 2, 400000);
    append_expect(FAKE, 3, 100, 0, 900000);
    read_expect(TCP, 0, 400000, client[FAKE].memory);
    read_expect(FAKE, 400000, 500000, client[TCP].memory);
    read_expect(TCP, 900000, 100, client[FAKE].memory);
    client_go(FAKE);
    client_go(TCP);
}

// ---- peers ------------------------------------------------------------------------------------

// The addresses of the test's chunk servers, the other way round than the reactor's order.
static const char *both_addresses(void)
{
    static char list[PAWL_ADDRESSES_BYTES_MAX];
    list[0] = '\0';
    assert_int_equal(pawl_addresses_add(list, fabric_address(server[TCP].fabric)), 0);
    assert_int_equal(pawl_addresses_add(list, fabric_address(server[FAKE].fabric)), 0);
    return list;
}

static void test_peer_when_it_offers_both_is_reached_by_our_first(void **state)
{
    (void)state;
    assert_int_equal(grant(both_addresses()), 0);
    server_welcome(&server[FAKE], PEER, 8, 4);
    turn_all();
    assert_false(server[TCP].client.connected);
}

static unsigned connected_count(enum side side)
{
    return server[side].client.connected;
}

static void test_record_when_the_peer_offers_the_other_fabric_goes_on_by_it(void **state)
{
    (void)state;
    char list[PAWL_ADDRESSES_BYTES_MAX] = "verbs://10.0.0.9:7500";
    assert_int_equal(pawl_addresses_add(list, fabric_address(server[TCP].fabric)), 0);
    assert_int_equal(grant(list), 0);
    uint64_t end_ns = pawl_clock_ns() + PATIENCE_NS;
    while (connected_count(TCP) == 0 && pawl_clock_ns() < end_ns) {
        turn_all();
    }
    turn_until(&server[TCP].client.messages_count, 1);
    server_welcome(&server[TCP], PEER, 8, 4);
    assert_int_equal(connected_count(FAKE), 0);

    client_come(FAKE);
    memset(server[TCP].client.memory, 0, CLIENT_BYTES);
    client_append(&client[FAKE], 1, 400000, 0, 2);
    turn_until(&server[TCP].client.messages_count, 2);
    const struct wire_prepare *prepare = &server[TCP].client.message.prepare;
    assert_int_equal(prepare->header.type, WIRE_PREPARE);
    assert_int_equal(prepare->slot_count, 2);
    assert_memory_equal(server[TCP].client.memory + prepare->slot_first * WIRE_SLOT_BYTES,
                        client[FAKE].memory, 400000);
    client_go(FAKE);
}

// What a fetch brings lands by the fabric of its connection: its key is good there.
static void test_fetch_when_the_source_offers_the_other_fabric_lands_by_it(void **state)
{
    (void)state;
    Pawl__Request request = PAWL__REQUEST__INIT;
    Pawl__Fence fence = PAWL__FENCE__INIT;
    fence.term = 1;
    fence.handle = CHUNK;
    fence.version = 2;
    request.body_case = PAWL__REQUEST__BODY_FENCE;
    request.fence = &fence;
    assert_int_equal(command(&request), 0);
    Pawl__Level level = PAWL__LEVEL__INIT;
    Pawl__Member source = PAWL__MEMBER__INIT;
    source.server_id = PEER;
    source.name = (char *)(uintptr_t) "cs2";
    source.fabric_address = (char *)(uintptr_t)fabric_address(server[TCP].fabric);
    level.term = 1;
    level.handle = CHUNK;
    level.version = 2;
    level.count = 1;
    level.source = &source;
    request.body_case = PAWL__REQUEST__BODY_LEVEL;
    request.level = &level;
    command_post(&request);
    struct client *peer = &server[TCP].client;
    turn_until(&peer->messages_count, 1);
    server_welcome(&server[TCP], PEER, 8, 4);
    turn_until(&peer->messages_count, 2);
    assert_int_equal(peer->message.header.type, WIRE_FETCH);
    const struct landing *landing = &bench[TCP].reactor->buffers.landings[0];
    assert_int_equal(fabric_write(peer->conn, peer->region, peer->memory, 1000,
                                  peer->message.fetch.buffer_address,
                                  peer->message.fetch.buffer_key, 1),
                     0);
    struct wire_header busy;
    wire_header_init(&busy, WIRE_FETCH | WIRE_REPLY, sizeof(busy), peer->message.header.request);
    busy.status = PAWL_EBUSY;
    assert_int_equal(fabric_send(peer->conn, &busy, sizeof(busy)), 0);
    mail_free(mail_wait(
        MAIL_ANSWER)); // the refusal was heard, and so what was written before it has landed
    assert_memory_equal(landing->bytes, peer->memory, 1000);
}

// ---- nobody to reach --------------------------------------------------------------------------

static void
test_grant_when_a_member_has_no_fabric_of_ours_is_refused_and_nobody_reported(void **state)
{
    (void)state;
    assert_int_equal(grant("verbs://10.0.0.9:7500"), PAWL_EPROVIDER);
    assert_true(pawl_list_is_empty(&bench[FAKE].reactor->peers));
    // It holds no lease: an append is refused, not lost.
    client_come(FAKE);
    client_append(&client[FAKE], 1, 100, 0, 0);
    turn_until(&client[FAKE].messages_count, 2);
    assert_int_equal(client[FAKE].message.header.status, PAWL_ENOTPRIMARY);
    struct mail *mail = mailbox_take(reactor_outbox(bench[FAKE].reactor));
    assert_null(mail);
    client_go(FAKE);
    assert_int_equal(grant(NULL), 0); // the next one is judged anew
}

static void test_open_when_one_fabric_is_missing_does_not_start(void **state)
{
    (void)state;
    struct reactor *reactor = NULL;
    char other[] = "fabrics-XXXXXX";
    assert_non_null(mkdtemp(other));
    struct reactor_options options = {
        .size = sizeof(options),
        .name = "cs3",
        .dir = other,
        .fabrics = {{.provider = "fake"}, {.provider = "tcp", .host = "192.0.2.254"}},
        .fabrics_count = 2,
        .region_bytes = BUFFERS_REGION_MIN_BYTES,
        .journal_segment_bytes = 4u << 20,
        .journal_segments_count = 2,
        .numa_node = UINT32_MAX,
        .no_huge = true,
        .no_lock = true,
    };
    assert_int_not_equal(reactor_open(&options, pawl_clock_ns(), &reactor), 0);
    assert_null(reactor);
    nftw(other, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_addresses_when_opened_are_listed_in_the_order_of_the_options),
        T(test_run_when_the_other_fabric_could_not_pass_it_on_then_is_not_welcome),
        T(test_run_when_a_primary_sends_it_then_may_be_as_long_as_its_fabric_takes),
        T(test_clients_when_they_come_by_both_see_the_same_bytes),
        T(test_peer_when_it_offers_both_is_reached_by_our_first),
        T(test_record_when_the_peer_offers_the_other_fabric_goes_on_by_it),
        T(test_fetch_when_the_source_offers_the_other_fabric_lands_by_it),
        T(test_grant_when_a_member_has_no_fabric_of_ours_is_refused_and_nobody_reported),
        T(test_open_when_one_fabric_is_missing_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
