// SPDX-License-Identifier: Apache-2.0
// Tests of client/read.c and client/read_piece.c: reads that are submitted, pieces under way at several
// replicas, what fails under way, and memory that servers write to.
#include "cluster.h"

#include <errno.h>

#include "base/clock.h"
#include "client/client_private.h"

#define CHUNK_BYTES CLUSTER_CHUNK_BYTES // of the sealed ones
#define SEALED 2u
#define FILE_BYTES (SEALED * CHUNK_BYTES)
#define TAIL_BYTES 100000u
#define LONG_MS 20000u // a call that should succeed
#define SHORT_MS 1000u // one that can't
#define MIB (1u << 20)

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char *data; // not registered
};

// A submitted read and what became of it.
struct sent {
    unsigned calls;
    struct pawl_read_result result;
    void (*then)(struct sent *sent);
    struct place *place;
    unsigned char *freed; // by its callback, so that a sanitizer sees who still writes there
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, SEALED, CHUNK_BYTES);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->pawl->read_turn = 0; // the first piece goes to the first server
    place->file = cluster_open(place->pawl);
    place->data = malloc(FILE_BYTES + TAIL_BYTES);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_close(place->pawl); // and the file with it
    cluster_stop(&place->cluster);
    free(place->data);
    free(place);
    return 0;
}

static void on_done(void *user, const struct pawl_read_result *result)
{
    struct sent *sent = user;
    sent->calls++;
    sent->result = *result;
    free(sent->freed);
    sent->freed = NULL;
    if (sent->then != NULL) {
        sent->then(sent);
    }
}

static void submit(struct place *place, struct sent *sent, uint64_t offset, void *data,
                   size_t bytes, uint32_t deadline_ms)
{
    struct pawl_read_options options = {.size = sizeof options, .deadline_ms = deadline_ms};
    sent->place = place;
    assert_int_equal(pawl_read_submit(place->file, offset, data, bytes, &options, on_done, sent),
                     0);
    assert_int_equal(sent->calls, 0); // never from inside
}

static void wait_for(struct place *place, const struct sent *sent)
{
    while (sent->calls == 0) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_int_equal(sent->calls, 1);
}

static void expect_bytes(const unsigned char *data, uint64_t offset, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (data[i] != cluster_byte(offset + i)) {
            fail_msg("byte %zu is wrong", i);
        }
    }
}

static void expect(struct place *place, struct sent *sent, const unsigned char *data,
                   uint64_t offset, size_t bytes)
{
    wait_for(place, sent);
    assert_int_equal(sent->result.status, 0);
    assert_int_equal(sent->result.bytes, bytes);
    expect_bytes(data, offset, bytes);
}

static unsigned reads_of(struct place *place, unsigned server)
{
    return cluster_get(&place->cluster, &place->cluster.servers[server].reads_count);
}

static unsigned held_of(struct place *place, unsigned server)
{
    return cluster_get(&place->cluster, &place->cluster.servers[server].held_count);
}

// Turns until the server holds so many READs.
static void wait_for_held(struct place *place, unsigned server, unsigned count)
{
    while (held_of(place, server) < count) {
        assert_true(pawl_poll(place->pawl, 1) >= 0);
    }
}

static uint64_t failovers(const struct place *place)
{
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    return counters.read_failovers_count;
}

static void fill_tail(struct cluster *cluster, uint64_t bytes)
{
    cluster_lock(cluster);
    struct cluster_chunk *tail = &cluster->chunks[cluster->chunks_count - 1];
    for (uint64_t i = tail->bytes; i < tail->bytes + bytes; i++) {
        tail->data[i] = cluster_byte(FILE_BYTES + i);
    }
    tail->bytes += bytes;
    cluster_unlock(cluster);
}

// ---- the window ---------------------------------------------------------------------------------

static void test_submit_when_pieces_arrive_in_any_order_then_the_bytes_are_in_place(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    fill_tail(&place->cluster, TAIL_BYTES);
    cluster_set_all(&place->cluster, faults.read_hold, true);
    submit(place, &sent, 0, place->data, FILE_BYTES + TAIL_BYTES, 0);
    wait_for_held(place, 0, 3);
    wait_for_held(place, 1, 3);
    wait_for_held(place, 2, 2);
    cluster_set(&place->cluster, servers[2].faults.read_hold, false); // each: its last one first
    cluster_set(&place->cluster, servers[1].faults.read_hold, false);
    assert_int_equal(pawl_poll(place->pawl, 20), 0); // the first piece is with the first server
    cluster_set(&place->cluster, servers[0].faults.read_hold, false);
    expect(place, &sent, place->data, 0, FILE_BYTES + TAIL_BYTES);
    assert_int_equal(failovers(place), 0);
}

static void test_submit_when_the_front_is_slow_then_the_window_bounds_what_is_asked(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set_all(&place->cluster, faults.read_hold, true);
    submit(place, &sent, 1000, place->data, FILE_BYTES - 1000, 0);
    wait_for_held(place, 0, 3);
    wait_for_held(place, 1, 3);
    wait_for_held(place, 2, 2);
    assert_int_equal(pawl_poll(place->pawl, 20), 0);
    assert_int_equal(held_of(place, 0) + held_of(place, 1) + held_of(place, 2), 8);
    cluster_lock(&place->cluster);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) { // cut at whole pieces of the chunks
        for (unsigned k = 0; k < place->cluster.servers[i].held_count; k++) {
            const struct wire_read *read = &place->cluster.servers[i].held[k].read;
            assert_true(read->offset == 1000 || read->offset % MIB == 0);
            assert_int_equal((read->offset + read->length) % MIB, 0);
        }
    }
    cluster_unlock(&place->cluster);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    expect(place, &sent, place->data, 1000, FILE_BYTES - 1000);
    assert_int_equal(reads_of(place, 0) + reads_of(place, 1) + reads_of(place, 2), 8);
}

static void test_submit_when_much_is_wanted_then_what_a_server_owes_is_bounded(void **state)
{
    struct place *place = *state;
    struct sent sent[8] = {0};
    unsigned char *memory[8];
    cluster_set_all(&place->cluster, faults.read_hold, true);
    for (unsigned i = 0; i < 8; i++) { // 64 MiB
        memory[i] = pawl_mem_alloc(place->pawl, FILE_BYTES);
        assert_non_null(memory[i]);
        submit(place, &sent[i], 0, memory[i], FILE_BYTES, 0);
    }
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        wait_for_held(place, i, 16);
    }
    assert_int_equal(pawl_poll(place->pawl, 30), 0);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        assert_int_equal(held_of(place, i), 16);
    }
    cluster_set_all(&place->cluster, faults.read_hold, false);
    for (unsigned i = 0; i < 8; i++) {
        expect(place, &sent[i], memory[i], 0, FILE_BYTES);
    }
}

static void test_submit_when_copies_are_needed_then_half_of_staging_is_left(void **state)
{
    struct place *place = *state;
    struct sent sent[8] = {0};
    unsigned char *memory = malloc((size_t)8 * FILE_BYTES);
    unsigned wanted = (unsigned)(place->pawl->region_bytes / 2 / MIB);
    unsigned held = 0;
    cluster_set_all(&place->cluster, faults.read_hold, true);
    for (unsigned i = 0; i < 8; i++) {
        submit(place, &sent[i], 0, memory + (size_t)i * FILE_BYTES, FILE_BYTES, 0);
    }
    while (held < wanted) {
        assert_true(pawl_poll(place->pawl, 1) >= 0);
        held = held_of(place, 0) + held_of(place, 1) + held_of(place, 2);
    }
    assert_int_equal(pawl_poll(place->pawl, 30), 0);
    assert_int_equal(held_of(place, 0) + held_of(place, 1) + held_of(place, 2), wanted);
    void *half = staging_get(&place->pawl->staging, place->pawl->region_bytes / 4);
    assert_non_null(half);
    staging_put(&place->pawl->staging, half, place->pawl->region_bytes / 4);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    for (unsigned i = 0; i < 8; i++) {
        expect(place, &sent[i], memory + (size_t)i * FILE_BYTES, 0, FILE_BYTES);
    }
    free(memory);
}

static void test_submit_when_too_many_are_under_way_then_eagain(void **state)
{
    struct place *place = *state;
    struct sent sent[33] = {0};
    cluster_set_all(&place->cluster, faults.read_hold, true);
    for (unsigned i = 0; i < 32; i++) {
        submit(place, &sent[i], i * 1000u, place->data + i * 1000u, 1000, 0);
    }
    assert_int_equal(pawl_read_submit(place->file, 0, place->data, 1, NULL, on_done, &sent[32]),
                     -EAGAIN);
    struct pawl_read_options options = {.size = sizeof options, .deadline_ms = SHORT_MS};
    size_t got;
    assert_int_equal(pawl_read(place->file, 0, place->data + 64000, 1, &options, &got),
                     PAWL_EDEADLINE);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    for (unsigned i = 0; i < 32; i++) {
        expect(place, &sent[i], place->data + i * 1000u, i * 1000u, 1000);
    }
    assert_int_equal(sent[32].calls, 0);
    submit(place, &sent[32], 0, place->data, 10, 0);
    expect(place, &sent[32], place->data, 0, 10);
}

static void test_submit_when_arguments_are_wrong_then_einvalid(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    struct pawl_read_options wrong = {.size = 1};
    assert_int_equal(pawl_read_submit(NULL, 0, place->data, 1, NULL, on_done, &sent),
                     PAWL_EINVALID);
    assert_int_equal(pawl_read_submit(place->file, 0, NULL, 1, NULL, on_done, &sent),
                     PAWL_EINVALID);
    assert_int_equal(pawl_read_submit(place->file, 0, place->data, 1, NULL, NULL, &sent),
                     PAWL_EINVALID);
    assert_int_equal(pawl_read_submit(place->file, 0, place->data, 1, &wrong, on_done, &sent),
                     PAWL_EINVALID);
    assert_int_equal(pawl_poll(place->pawl, 0), 0);
}

static void submit_next(struct sent *sent)
{
    if (sent->result.bytes == 1000 && sent->calls < 20) {
        assert_int_equal(pawl_read_submit(sent->place->file, sent->calls * 1000u,
                                          sent->place->data + sent->calls * 1000u, 1000, NULL,
                                          on_done, sent),
                         0);
    }
}

static void test_callback_when_it_submits_then_the_next_read_goes_on(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = submit_next};
    submit(place, &sent, 0, place->data, 1000, 0);
    while (sent.calls < 20) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    expect_bytes(place->data, 0, 20000);
}

// ---- which replica ------------------------------------------------------------------------------

static void test_submit_when_the_chunks_are_sealed_then_all_replicas_take_part(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set_all(&place->cluster, faults.read_hold, true); // so that the loads are known
    submit(place, &sent, 0, place->data, FILE_BYTES, 0);
    wait_for_held(place, 0, 3);
    wait_for_held(place, 1, 3);
    wait_for_held(place, 2, 2);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    expect(place, &sent, place->data, 0, FILE_BYTES);
    assert_true(place->cluster.servers[0].read_bytes == 3 * MIB);
    assert_true(place->cluster.servers[1].read_bytes == 3 * MIB);
    assert_true(place->cluster.servers[2].read_bytes == 2 * MIB);
}

static void test_read_when_clients_differ_then_they_begin_at_different_replicas(void **state)
{
    struct place *place = *state;
    size_t got;
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        struct pawl *other = cluster_connect(&place->cluster, LONG_MS);
        struct pawl_file *file = cluster_open(other);
        other->read_turn = i; // drawn at random otherwise
        assert_int_equal(pawl_read(file, 0, place->data, 1000, NULL, &got), 0);
        pawl_close(other);
        assert_int_equal(reads_of(place, i), 1);
    }
    unsigned differ = 0;
    for (unsigned i = 0; i < 20; i++) { // and it is drawn
        struct pawl *other = cluster_connect(&place->cluster, LONG_MS);
        differ += other->read_turn % CLUSTER_SERVERS != place->pawl->read_turn % CLUSTER_SERVERS;
        pawl_close(other);
    }
    assert_true(differ > 0);
}

static void test_submit_when_a_replica_has_much_to_do_then_others_are_asked(void **state)
{
    struct place *place = *state;
    struct sent slow = {0};
    struct sent quick[6] = {0};
    cluster_set(&place->cluster, servers[0].faults.read_hold, true);
    submit(place, &slow, 0, place->data, 500000, 0); // the first piece: server 1
    wait_for_held(place, 0, 1);
    for (unsigned i = 0; i < 6; i++) { // would go there too, were it free
        submit(place, &quick[i], 0, place->data + MIB, 1000, 0);
        wait_for(place, &quick[i]);
        assert_int_equal(quick[i].result.status, 0);
    }
    assert_int_equal(held_of(place, 0), 1);
    cluster_set(&place->cluster, servers[0].faults.read_hold, false);
    expect(place, &slow, place->data, 0, 500000);
}

static void test_submit_when_the_tail_is_open_then_its_primary_is_asked(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    fill_tail(&place->cluster, TAIL_BYTES);
    cluster_set(&place->cluster, chunks[SEALED].primary, 3);
    submit(place, &sent, FILE_BYTES, place->data, TAIL_BYTES, 0);
    expect(place, &sent, place->data, FILE_BYTES, TAIL_BYTES);
    assert_int_equal(reads_of(place, 0) + reads_of(place, 1), 0);
}

// ---- failures under way -------------------------------------------------------------------------

static void test_submit_when_a_replica_is_lost_in_the_middle_then_another_is_asked(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set(&place->cluster, servers[1].faults.read_hold, true);
    submit(place, &sent, 0, place->data, FILE_BYTES, 0);
    wait_for_held(place, 1, 1);
    link_close(place->pawl, 0xa2, PAWL_EDISCONNECTED);
    expect(place, &sent, place->data, 0, FILE_BYTES);
    assert_true(failovers(place) >= 1);
    assert_true(client_avoided(place->pawl, 0xa2));
}

static void test_submit_when_a_replica_is_corrupt_then_its_pieces_come_from_others(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set(&place->cluster, servers[2].faults.read_corrupt, true);
    submit(place, &sent, 0, place->data, FILE_BYTES, 0);
    expect(place, &sent, place->data, 0, FILE_BYTES);
    assert_int_equal(failovers(place), SEALED); // for each chunk once
}

static void test_submit_when_all_are_corrupt_then_edamaged_with_the_bytes_in_front(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    struct sent first = {0};
    submit(place, &first, 0, place->data, 10, 0);
    expect(place, &first, place->data, 0, 10);
    cluster_set_all(&place->cluster, faults.read_corrupt, true);
    submit(place, &sent, 0, place->data, FILE_BYTES, 0);
    wait_for(place, &sent);
    assert_int_equal(sent.result.status, PAWL_EDAMAGED);
    assert_int_equal(sent.result.bytes, 0);
}

static void test_submit_when_replies_are_short_then_each_piece_goes_on(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set_all(&place->cluster, faults.read_at_most, 300000);
    submit(place, &sent, 0, place->data, FILE_BYTES, 0);
    expect(place, &sent, place->data, 0, FILE_BYTES);
    assert_int_equal(failovers(place), 0);
}

static void test_submit_when_the_file_ends_then_it_ends_there(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    fill_tail(&place->cluster, 5000);
    submit(place, &sent, CHUNK_BYTES, place->data, FILE_BYTES, 0);
    expect(place, &sent, place->data, CHUNK_BYTES, CHUNK_BYTES + 5000);
}

static void test_submit_when_the_tail_grows_meanwhile_then_more_is_read(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    struct sent short_one = {0};
    fill_tail(&place->cluster, 5000);
    submit(place, &short_one, FILE_BYTES, place->data, 5000, 0); // the map is known
    expect(place, &short_one, place->data, FILE_BYTES, 5000);
    cluster_set(&place->cluster, servers[0].faults.known_bytes, 5000);
    cluster_set(&place->cluster, servers[0].faults.read_hold, true);
    submit(place, &sent, FILE_BYTES, place->data, 20000, 0);
    wait_for_held(place, 0, 1);
    fill_tail(&place->cluster, 7000);
    cluster_set(&place->cluster, servers[0].faults.read_hold, false); // it says 5000,
    while (sent.calls == 0 && reads_of(place, 0) < 3) {
        assert_true(pawl_poll(place->pawl, 1) >= 0);
        cluster_set(&place->cluster, servers[0].faults.known_bytes, CLUSTER_EVERY); // and then more
    }
    wait_for(place, &sent);
    assert_int_equal(sent.result.status, 0);
    assert_true(sent.result.bytes == 5000 || sent.result.bytes == 12000);
    expect_bytes(place->data, FILE_BYTES, sent.result.bytes);
}

static void test_submit_when_a_point_is_older_than_one_before_then_it_is_asked_again(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set(&place->cluster, servers[0].faults.log_bytes, 200);
    cluster_set(&place->cluster, servers[1].faults.log_bytes, 100); // behind the others
    cluster_set(&place->cluster, servers[2].faults.log_bytes, 200);
    cluster_set_all(&place->cluster, faults.read_hold,
                    true); // all are asked before one has said 200
    submit(place, &sent, 0, place->data, 3 * MIB, 0);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        wait_for_held(place, i, 1);
    }
    cluster_set_all(&place->cluster, faults.read_hold, false);
    expect(place, &sent, place->data, 0, 3 * MIB);
    assert_int_equal(reads_of(place, 0) + reads_of(place, 1) + reads_of(place, 2), 5);
    assert_int_equal(reads_of(place, 1), 2); // as read; as refused, since it has 100 still
}

// ---- deadlines ----------------------------------------------------------------------------------

static void test_submit_when_its_deadline_passes_then_the_bytes_in_front_are_told(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    struct sent later = {0};
    cluster_set(&place->cluster, servers[1].faults.read_hold, true); // the second piece
    submit(place, &later, 5000, place->data + MIB, 10, LONG_MS);
    wait_for(place, &later);
    submit(place, &sent, 0, place->data, 2 * MIB, SHORT_MS);
    wait_for(place, &sent);
    assert_true(sent.result.status != 0);
    assert_int_equal(sent.result.bytes, MIB);
    expect_bytes(place->data, 0, MIB);
}

static void test_submit_when_deadlines_differ_then_each_has_its_own(void **state)
{
    struct place *place = *state;
    struct sent hasty = {0};
    struct sent patient = {0};
    cluster_set_all(&place->cluster, faults.read_hold, true);
    submit(place, &hasty, 0, place->data, 1000, SHORT_MS);
    submit(place, &patient, 0, place->data + MIB, 1000, LONG_MS);
    wait_for(place, &hasty);
    assert_true(hasty.result.status != 0);
    assert_int_equal(patient.calls, 0);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    expect(place, &patient, place->data + MIB, 0, 1000);
}

// ---- closing ------------------------------------------------------------------------------------

static void hold_some(struct place *place, struct sent *sent)
{
    cluster_set_all(&place->cluster, faults.read_hold, true);
    sent->freed = malloc(3 * MIB);
    submit(place, sent, 0, sent->freed, 3 * MIB, 0);
    wait_for_held(place, 0, 1);
    wait_for_held(place, 1, 1);
    wait_for_held(place, 2, 1);
}

static void test_file_close_when_reads_are_under_way_then_they_end_once(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    hold_some(place, &sent);
    pawl_file_close(place->file);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.result.status, PAWL_ESHUTDOWN);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    struct pawl_file *file = cluster_open(place->pawl); // the links go on
    size_t got = 0;
    assert_int_equal(pawl_read(file, 0, place->data, FILE_BYTES, NULL, &got), 0);
    assert_int_equal(got, FILE_BYTES);
    assert_int_equal(sent.calls, 1);
    assert_ptr_equal(pawl_list_first(&place->pawl->files), &file->node); // the first was freed
    assert_ptr_equal(pawl_list_last(&place->pawl->files), &file->node);
}

static void test_close_when_reads_are_under_way_then_they_end_once(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    hold_some(place, &sent);
    pawl_close(place->pawl);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.result.status, PAWL_ESHUTDOWN);
    place->pawl = NULL;
}

static void close_own(struct sent *sent)
{
    pawl_file_close(sent->place->file);
}

static void test_callback_when_it_closes_its_file_then_the_other_reads_end(void **state)
{
    struct place *place = *state;
    struct sent other = {0};
    struct sent sent = {.then = close_own};
    hold_some(place, &other);
    submit(place, &sent, 0, place->data, 0, 0); // nothing to wait for
    wait_for(place, &sent);
    wait_for(place, &other);
    assert_int_equal(other.result.status, PAWL_ESHUTDOWN);
    assert_true(pawl_poll(place->pawl, 0) >= 0);
    assert_true(pawl_list_is_empty(&place->pawl->files) ||
                pawl_list_first(&place->pawl->files) == &place->file->node);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    while (!pawl_list_is_empty(&place->pawl->files)) {
        assert_true(pawl_poll(place->pawl, 10) >= 0);
    }
}

// ---- registered memory --------------------------------------------------------------------------

static unsigned char *registered_memory(struct place *place)
{
    unsigned char *memory = pawl_mem_alloc(place->pawl, FILE_BYTES);
    assert_non_null(memory);
    memset(memory, 0xee, FILE_BYTES);
    return memory;
}

static void test_submit_when_the_memory_is_registered_then_servers_write_to_it(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    unsigned char *memory = registered_memory(place);
    struct staging *staging = &place->pawl->staging;
    void *all = staging_get(staging, staging->bytes); // nothing is left for copies
    assert_non_null(all);
    submit(place, &sent, 0, memory, FILE_BYTES, 0);
    expect(place, &sent, memory, 0, FILE_BYTES);
    staging_put(staging, all, staging->bytes);
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    assert_true(counters.read_bytes == FILE_BYTES && counters.read_copied_bytes == 0);
    sent = (struct sent){0};
    submit(place, &sent, 0, place->data, FILE_BYTES, 0); // other memory
    wait_for(place, &sent);
    pawl_counters(place->file, &counters);
    assert_true(counters.read_bytes == 2 * FILE_BYTES && counters.read_copied_bytes == FILE_BYTES);
}

static void test_submit_when_registered_bytes_are_corrupt_then_others_take_their_place(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    unsigned char *memory = registered_memory(place);
    cluster_set(&place->cluster, servers[0].faults.read_corrupt, true);
    cluster_set(&place->cluster, servers[1].faults.read_at_most, 300000);
    submit(place, &sent, 0, memory, FILE_BYTES, 0);
    expect(place, &sent, memory, 0, FILE_BYTES);
    assert_int_equal(failovers(place), SEALED);
}

// After the callback nothing writes there, whatever the servers do late.
static void expect_left_alone(struct place *place, unsigned char *memory)
{
    memset(memory, 0x55, FILE_BYTES);
    cluster_set_all(&place->cluster, faults.read_hold, false);
    for (unsigned i = 0; i < CLUSTER_SERVERS; i++) {
        while (held_of(place, i) != 0) {
            assert_true(pawl_poll(place->pawl, 1) >= 0);
        }
    }
    assert_true(pawl_poll(place->pawl, 20) >= 0);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        if (memory[i] != 0x55) {
            fail_msg("byte %zu was written late", i);
        }
    }
}

static void test_submit_when_a_registered_read_ends_early_then_nothing_lands_late(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    unsigned char *memory = registered_memory(place);
    cluster_set_all(&place->cluster, faults.read_hold, true);
    submit(place, &sent, 0, memory, FILE_BYTES, SHORT_MS);
    wait_for_held(place, 2, 2);
    wait_for(place, &sent);
    assert_true(sent.result.status != 0);
    expect_left_alone(place, memory);
}

static void
test_file_close_when_a_registered_read_is_under_way_then_nothing_lands_late(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    unsigned char *memory = registered_memory(place);
    cluster_set_all(&place->cluster, faults.read_hold, true);
    submit(place, &sent, 0, memory, FILE_BYTES, 0);
    wait_for_held(place, 2, 2);
    pawl_file_close(place->file);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.result.status, PAWL_ESHUTDOWN);
    expect_left_alone(place, memory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_submit_when_pieces_arrive_in_any_order_then_the_bytes_are_in_place),
        TEST(test_submit_when_the_front_is_slow_then_the_window_bounds_what_is_asked),
        TEST(test_submit_when_much_is_wanted_then_what_a_server_owes_is_bounded),
        TEST(test_submit_when_copies_are_needed_then_half_of_staging_is_left),
        TEST(test_submit_when_too_many_are_under_way_then_eagain),
        TEST(test_submit_when_arguments_are_wrong_then_einvalid),
        TEST(test_callback_when_it_submits_then_the_next_read_goes_on),
        TEST(test_submit_when_the_chunks_are_sealed_then_all_replicas_take_part),
        TEST(test_read_when_clients_differ_then_they_begin_at_different_replicas),
        TEST(test_submit_when_a_replica_has_much_to_do_then_others_are_asked),
        TEST(test_submit_when_the_tail_is_open_then_its_primary_is_asked),
        TEST(test_submit_when_a_replica_is_lost_in_the_middle_then_another_is_asked),
        TEST(test_submit_when_a_replica_is_corrupt_then_its_pieces_come_from_others),
        TEST(test_submit_when_all_are_corrupt_then_edamaged_with_the_bytes_in_front),
        TEST(test_submit_when_replies_are_short_then_each_piece_goes_on),
        TEST(test_submit_when_the_file_ends_then_it_ends_there),
        TEST(test_submit_when_the_tail_grows_meanwhile_then_more_is_read),
        TEST(test_submit_when_a_point_is_older_than_one_before_then_it_is_asked_again),
        TEST(test_submit_when_its_deadline_passes_then_the_bytes_in_front_are_told),
        TEST(test_submit_when_deadlines_differ_then_each_has_its_own),
        TEST(test_file_close_when_reads_are_under_way_then_they_end_once),
        TEST(test_close_when_reads_are_under_way_then_they_end_once),
        TEST(test_callback_when_it_closes_its_file_then_the_other_reads_end),
        TEST(test_submit_when_the_memory_is_registered_then_servers_write_to_it),
        TEST(test_submit_when_registered_bytes_are_corrupt_then_others_take_their_place),
        TEST(test_submit_when_a_registered_read_ends_early_then_nothing_lands_late),
        TEST(test_file_close_when_a_registered_read_is_under_way_then_nothing_lands_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
