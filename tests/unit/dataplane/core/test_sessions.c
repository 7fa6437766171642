// SPDX-License-Identifier: Apache-2.0
// Tests of sessions in a chunk: which rows it inherits, which producers may start, what a lookup says.
#include "core_harness.h"

#include <string.h>

#define TEST(name) cmocka_unit_test_setup_teardown(name, h_setup, h_teardown)
#define HI(session) (WIRE_SESSION_BIT | (session))

struct range {
    uint64_t first;
    uint64_t last;
};

// OPEN of the chunk on a server, for these sessions.
static uint64_t open_for(struct harness *h, uint32_t server, uint64_t version,
                         const struct wire_producer *rows, uint32_t rows_count,
                         const struct range *ranges, uint32_t ranges_count)
{
    Pawl__Request command = PAWL__REQUEST__INIT;
    Pawl__Open open = PAWL__OPEN__INIT;
    Pawl__SessionRange messages[WIRE_SESSIONS_MAX + 1];
    Pawl__SessionRange *pointers[WIRE_SESSIONS_MAX + 1];
    for (uint32_t i = 0; i < ranges_count; i++) {
        pawl__session_range__init(&messages[i]);
        messages[i].first = ranges[i].first;
        messages[i].last = ranges[i].last;
        pointers[i] = &messages[i];
    }
    open.term = h->term;
    open.handle = H_CHUNK;
    open.version = version;
    open.file_id = H_FILE;
    open.base_offset = H_BASE;
    open.chunk_bytes = H_CHUNK_BYTES;
    open.producers.data = (uint8_t *)(uintptr_t)rows;
    open.producers.len = rows_count * sizeof(*rows);
    open.sessions = pointers;
    open.n_sessions = ranges_count;
    command.body_case = PAWL__REQUEST__BODY_OPEN;
    command.open = &open;
    return h_command(h, server, &command);
}

static struct wire_producer row_of(uint64_t hi, uint64_t lo, uint32_t epoch)
{
    return (struct wire_producer){.producer_hi = hi,
                                  .producer_lo = lo,
                                  .last_sequence = 3,
                                  .last_chunk = 41,
                                  .first_sequence = 1,
                                  .epoch = epoch};
}

static const struct range live[] = {{4, 4}, {10, WIRE_SESSION_MAX}};

// Rows: a caller's id, a named one whose id has the bit, sessions 3 (ended), 4 (live), 9 (ended), 10.
static void ready(struct harness *h, uint32_t members)
{
    const struct wire_producer rows[] = {row_of(7, 7, 0),     row_of(HI(5), 8, 2),
                                         row_of(HI(3), 1, 0), row_of(HI(4), 1, 0),
                                         row_of(HI(9), 1, 0), row_of(HI(10), 1, 0)};
    for (uint32_t server = 0; server < members; server++) {
        h_expect(h, open_for(h, server, 1, rows, 6, live, 2), 0);
    }
    h_expect(h, h_grant(h, 0, 1, 0, members), 0);
}

static int append(struct harness *h, uint64_t hi, uint64_t lo, uint64_t sequence)
{
    struct h_append append = {.producer_hi = hi, .producer = lo, .sequence = sequence};
    uint64_t request = h_append_send(h, 0, &append);
    assert_true(h_is_answered(h, request));
    return h_status(h, request);
}

static int lookup(struct harness *h, uint32_t server, uint64_t hi, uint64_t lo, uint64_t sequence)
{
    union h_message message = {
        .lookup = {.chunk = H_CHUNK,
                   .id = {.producer_hi = hi, .producer_lo = lo, .sequence = sequence}}};
    uint64_t request = h_message_send(h, server, CHUNK_EVENT_LOOKUP, &message, 0);
    assert_true(h_is_answered(h, request));
    return h_status(h, request);
}

static void test_open_when_sessions_have_ended_then_only_their_rows_go(void **state)
{
    struct harness *h = *state;
    ready(h, 3);
    for (uint32_t server = 0; server < 3; server++) {
        const struct h_disk *disk = &h->disk[server];
        assert_int_equal(disk->create.producers_count,
                         6); // two rows of sessions, four of producers
        assert_int_equal(disk->producers[0].producer_hi, 0);
        assert_int_equal(disk->producers[0].producer_lo, 0);
        assert_memory_equal(disk->producers, h->disk[0].producers,
                            6 * sizeof(struct wire_producer));
    }
    assert_int_equal(append(h, 7, 7, 4), 0);
    assert_int_equal(append(h, HI(4), 1, 4), 0);
    assert_int_equal(append(h, HI(10), 1, 4), 0);
}

// "An unknown producer may start only at its first sequence", and not at all once its row may be gone.
static void test_append_when_the_session_has_ended_then_it_is_refused(void **state)
{
    struct harness *h = *state;
    ready(h, 3);
    for (uint64_t sequence = 1; sequence <= 4; sequence++) {
        assert_int_equal(append(h, HI(3), 1, sequence), PAWL_ESESSION);
        assert_int_equal(append(h, HI(9), 1, sequence), PAWL_ESESSION);
        assert_int_equal(append(h, HI(5), 1, sequence), PAWL_ESESSION);
    }
    assert_int_equal(append(h, HI(4), 2, 1), 0); // lives: another producer of it may start
    assert_int_equal(append(h, HI(4000), 1, 1), 0);
    assert_int_equal(append(h, HI(4000), 2, 2), PAWL_EEXPECT);
    assert_int_equal(append(h, 8, 8, 1), 0); // of no session: never forgotten, always welcome
    assert_int_equal(h_inspect(h, 0).count, 3);
}

static void test_append_when_a_named_producer_has_the_bit_then_its_epoch_tells(void **state)
{
    struct harness *h = *state;
    ready(h, 1);
    struct h_append next = {.producer_hi = HI(5), .producer = 8, .sequence = 4, .epoch = 2};
    h_expect(h, h_append_send(h, 0, &next), 0);
    assert_int_equal(append(h, HI(5), 8, 5), PAWL_EFENCED); // without an epoch
}

static void test_lookup_when_the_session_has_ended_then_nothing_is_called_absent(void **state)
{
    struct harness *h = *state;
    ready(h, 3);
    assert_int_equal(lookup(h, 0, HI(3), 1, 1), PAWL_ESESSION);
    assert_int_equal(lookup(h, 1, HI(3), 1, 1), PAWL_ESESSION); // any replica knows
    assert_int_equal(lookup(h, 0, HI(4), 7, 1), PAWL_EABSENT);
    assert_int_equal(lookup(h, 0, HI(4), 1, 2), PAWL_EEARLIER);
    assert_int_equal(lookup(h, 0, HI(4), 1, 4), PAWL_EABSENT);
}

static void test_chunk_when_all_restart_then_sessions_are_still_known(void **state)
{
    struct harness *h = *state;
    ready(h, 3);
    assert_int_equal(append(h, HI(11), 1, 1), 0);
    for (uint32_t server = 0; server < 3; server++) {
        h_crash(h, server);
        h_start(h, server);
    }
    for (uint32_t server = 0; server < 3; server++) {
        h_expect(h, h_fence(h, server, 2), 0);
    }
    h_expect(h, h_grant(h, 0, 2, 1, 3), 0);
    struct h_append late = {.producer_hi = HI(3), .producer = 1, .sequence = 1, .version = 2};
    h_expect(h, h_append_send(h, 0, &late), PAWL_ESESSION);
    struct h_append again = {.producer_hi = HI(11), .producer = 1, .sequence = 1, .version = 2};
    uint64_t request = h_append_send(h, 0, &again);
    h_expect(h, request, 0);
    assert_int_equal(h_appended(h, request)->duplicate, 1);
}

static void test_seal_then_its_table_has_producers_only(void **state)
{
    struct harness *h = *state;
    ready(h, 1);
    h_expect(h, h_fence(h, 0, 2), 0);
    uint64_t request = h_seal(h, 0, 2, 0, 0);
    h_expect(h, request, 0);
    assert_int_equal(h->requests[request].producers_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_not_equal(h->requests[request].producers[i].producer_lo, 0);
    }
}

static void test_open_when_ranges_are_wrong_then_it_is_refused(void **state)
{
    struct harness *h = *state;
    static const struct range wrong[][2] = {{{0, 4}, {10, 20}},
                                            {{4, 3}, {10, 20}},
                                            {{4, 10}, {10, 20}},
                                            {{4, 5}, {10, WIRE_SESSION_BIT}}};
    struct range many[WIRE_SESSIONS_MAX + 1];
    for (uint32_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        h_expect(h, open_for(h, 0, 1, NULL, 0, wrong[i], 2), PAWL_EINVALID);
    }
    for (uint32_t i = 0; i <= WIRE_SESSIONS_MAX; i++) {
        many[i] = (struct range){2 * i + 1, 2 * i + 1};
    }
    h_expect(h, open_for(h, 0, 1, NULL, 0, many, WIRE_SESSIONS_MAX + 1), PAWL_EINVALID);
    h_expect(h, open_for(h, 0, 1, NULL, 0, many, WIRE_SESSIONS_MAX), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_open_when_sessions_have_ended_then_only_their_rows_go),
        TEST(test_append_when_the_session_has_ended_then_it_is_refused),
        TEST(test_append_when_a_named_producer_has_the_bit_then_its_epoch_tells),
        TEST(test_lookup_when_the_session_has_ended_then_nothing_is_called_absent),
        TEST(test_chunk_when_all_restart_then_sessions_are_still_known),
        TEST(test_seal_then_its_table_has_producers_only),
        TEST(test_open_when_ranges_are_wrong_then_it_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
