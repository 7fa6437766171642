// SPDX-License-Identifier: Apache-2.0
// Tests of closing with work under way, and of what callbacks may do. Payloads are on the heap and
// freed in their callbacks, so that a sanitizer sees who still reads them.
#include "cluster.h"

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    struct pawl_file *other;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 1, 1000);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    place->other = cluster_open(place->pawl);
    *state = place;
    return 0;
}

// Tests close the client themselves.
static int tear_down(void **state)
{
    struct place *place = *state;
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

// A submitted append and what became of it.
struct sent {
    struct place *place;
    unsigned char *data;
    unsigned calls;
    int status;
    void (*then)(struct sent *sent);
};

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct sent *sent = user;
    sent->calls++;
    sent->status = result->status;
    memset(sent->data, 0xdd, 4);
    free(sent->data);
    if (sent->then != NULL) {
        sent->then(sent);
    }
}

static void submit(struct place *place, struct pawl_file *file, struct sent *sent, size_t bytes,
                   uint32_t deadline_ms)
{
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = deadline_ms};
    sent->place = place;
    sent->data = malloc(bytes);
    memset(sent->data, 'x', bytes);
    assert_int_equal(pawl_append_submit(file, sent->data, bytes, &options, on_done, sent), 0);
}

static void poll_until(struct place *place, const unsigned *calls)
{
    while (*calls == 0) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
}

// Has the link to the first server break: a read that it does not answer in time.
static void break_link(struct place *place)
{
    char byte;
    size_t got;
    struct pawl_read_options options = {
        .size = sizeof options, .server_id = 0xa1, .only_that = true, .deadline_ms = SHORT_MS};
    assert_int_not_equal(pawl_read(place->other, 0, &byte, 1, &options, &got), 0);
}

static void test_file_close_when_appends_are_in_flight_then_they_are_unknown_once(void **state)
{
    struct place *place = *state;
    struct sent sent[5] = {0};
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    for (unsigned i = 0; i < 5; i++) {
        submit(place, place->file, &sent[i], 20000, LONG_MS);
    }
    assert_int_equal(pawl_poll(place->pawl, 30), 0); // they are with the server
    pawl_file_close(place->file);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(sent[i].calls, 1);
        assert_int_equal(sent[i].status, PAWL_EUNKNOWN);
    }
    break_link(place); // the closed file's appends go nowhere
    cluster_set(&place->cluster, servers[0].faults.mute, false);
    assert_int_equal(pawl_append(place->other, "y", 1, NULL, NULL), 0);
    assert_int_equal(cluster_bytes(&place->cluster), 1001);
    assert_ptr_equal(pawl_list_first(&place->pawl->files), &place->other->node); // it was freed
    pawl_close(place->pawl);
}

static void test_file_close_when_the_master_is_still_asked_then_nothing_more_is_heard(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set(&place->cluster, master.ignore_left, 1);
    submit(place, place->file, &sent, 100, SHORT_MS);
    assert_int_equal(pawl_poll(place->pawl, 10), 0); // it waits for the tail
    pawl_file_close(place->file);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(pawl_poll(place->pawl, 2 * SHORT_MS), 0); // past its deadline
    assert_int_equal(sent.calls, 1);
    pawl_close(place->pawl);
}

static void test_file_close_when_appends_wait_in_a_queue_then_their_bytes_are_not_read(void **state)
{
    struct place *place = *state;
    struct sent sent[12] = {0};
    cluster_set(&place->cluster, servers[0].faults.frozen, true);
    for (unsigned i = 0; i < 12; i++) {
        submit(place, place->file, &sent[i], i % 2 == 0 ? 200000 : 100, LONG_MS);
    }
    assert_int_equal(pawl_poll(place->pawl, 10), 0);
    pawl_file_close(place->file);
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    assert_int_equal(pawl_append(place->other, "y", 1, NULL, NULL), 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].appends_count), 1);
    pawl_close(place->pawl);
}

static void
test_append_when_its_deadline_passes_in_a_queue_then_its_bytes_are_not_read(void **state)
{
    struct place *place = *state;
    struct sent sent = {0};
    cluster_set(&place->cluster, servers[0].faults.frozen, true);
    submit(place, place->file, &sent, 100, SHORT_MS);
    poll_until(place, &sent.calls);
    assert_int_equal(sent.status, PAWL_EUNKNOWN);
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    assert_int_equal(pawl_append(place->other, "y", 1, NULL, NULL), 0);
    assert_int_equal(cluster_get(&place->cluster, &place->cluster.servers[0].appends_count), 1);
    pawl_close(place->pawl);
}

static void test_append_when_slots_are_all_taken_then_a_late_one_is_not_sent(void **state)
{
    struct place *place = *state;
    struct sent held = {0};
    struct sent late = {0};
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    submit(place, place->file, &held, 1000000, LONG_MS); // all four slots
    submit(place, place->file, &late, 20000, SHORT_MS);
    poll_until(place, &late.calls);
    assert_int_equal(late.status, PAWL_EUNKNOWN);
    assert_int_equal(held.calls, 0);
    pawl_close(place->pawl);
    assert_int_equal(held.calls, 1);
    assert_int_equal(late.calls, 1);
}

static void submit_again(struct sent *sent)
{
    assert_int_equal(pawl_append_submit(sent->place->file, "again", 5, NULL, on_done, sent),
                     PAWL_EINVALID);
    assert_int_equal(pawl_append(sent->place->other, "again", 5, NULL, NULL), PAWL_EINVALID);
}

static void test_close_when_a_callback_submits_then_it_is_refused(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = submit_again};
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    submit(place, place->file, &sent, 100, LONG_MS);
    assert_int_equal(pawl_poll(place->pawl, 10), 0);
    pawl_close(place->pawl);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.status, PAWL_EUNKNOWN);
}

static void test_file_close_when_a_callback_submits_then_it_is_refused(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = submit_again};
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    submit(place, place->file, &sent, 100, LONG_MS);
    pawl_file_close(place->file);
    assert_int_equal(sent.calls, 1);
    pawl_close(place->pawl);
    assert_int_equal(sent.calls, 1);
}

static void close_own(struct sent *sent)
{
    pawl_file_close(sent->place->file);
}

static void test_callback_when_it_closes_its_file_then_the_others_are_called_too(void **state)
{
    struct place *place = *state;
    struct sent first = {.then = close_own};
    struct sent second = {0};
    submit(place, place->file, &first, 100, LONG_MS);
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    submit(place, place->file, &second, 500000, LONG_MS);
    poll_until(place, &first.calls);
    assert_int_equal(first.status, 0);
    assert_int_equal(second.calls, 1);
    assert_int_equal(pawl_append(place->other, "y", 1, NULL, NULL), 0);
    pawl_close(place->pawl);
}

// The master answers late, so the callback comes first.
static void
test_callback_when_it_closes_the_file_whose_producer_is_asked_for_then_eshutdown(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = close_own};
    uint64_t last;
    assert_int_equal(pawl_append(place->other, "y", 1, NULL, NULL), 0); // the tail is known
    cluster_set(&place->cluster, master.drop_left, 4);
    submit(place, place->other, &sent, 100, LONG_MS);
    assert_int_equal(pawl_producer_open(place->file, "p", &last), PAWL_ESHUTDOWN);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(pawl_poll(place->pawl, 0), 0);
    assert_ptr_equal(pawl_list_first(&place->pawl->files), &place->other->node); // it was freed
    pawl_close(place->pawl);
}

static void
test_callback_when_it_closes_the_file_whose_epoch_is_on_its_way_then_eshutdown(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = close_own};
    uint64_t last;
    cluster_set(&place->cluster, servers[0].faults.mute, true);
    submit(place, place->other, &sent, 100, SHORT_MS);
    assert_int_equal(pawl_producer_open(place->file, "p", &last), PAWL_ESHUTDOWN);
    assert_int_equal(sent.calls, 1);
    assert_int_equal(sent.status, PAWL_EUNKNOWN);
    pawl_close(place->pawl);
}

static void close_other(struct sent *sent)
{
    pawl_file_close(sent->place->other);
}

static void
test_callback_when_it_closes_the_file_that_is_read_then_the_read_still_ends(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = close_other};
    unsigned char data[1000];
    size_t got;
    submit(place, place->file, &sent, 100, LONG_MS);
    while (sent.calls == 0) { // the callback comes in the middle of one of these
        assert_int_equal(pawl_read(place->other, 0, data, sizeof data, NULL, &got), 0);
        assert_int_equal(got, 1000);
    }
    assert_int_equal(pawl_poll(place->pawl, 0), 0);
    assert_ptr_equal(pawl_list_first(&place->pawl->files), &place->file->node);
    pawl_close(place->pawl);
}

static void call_waiting(struct sent *sent)
{
    struct pawl *pawl = sent->place->pawl;
    struct pawl_file *file = sent->place->other;
    struct pawl_stat stat;
    struct pawl_file *opened;
    struct pawl_append_result result;
    uint64_t number;
    char byte;
    size_t got;
    assert_int_equal(pawl_poll(pawl, 0), PAWL_EINVALID);
    assert_int_equal(pawl_append(file, "x", 1, NULL, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_read(file, 0, &byte, 1, NULL, &got), PAWL_EINVALID);
    assert_int_equal(pawl_file_bytes(file, &number), PAWL_EINVALID);
    assert_int_equal(pawl_resolve(file, &(struct pawl_record_id){0}, &result), PAWL_EINVALID);
    assert_int_equal(pawl_producer_open(file, "p", &number), PAWL_EINVALID);
    assert_int_equal(pawl_stat(pawl, "/f", &stat), PAWL_EINVALID);
    assert_int_equal(pawl_open(pawl, "/f", &opened), PAWL_EINVALID);
    assert_int_equal(pawl_create(pawl, "/f", NULL, &opened), PAWL_EINVALID);
    assert_int_equal(pawl_mkdir(pawl, "/d", 0), PAWL_EINVALID);
    assert_int_equal(pawl_rename(pawl, "/d", "/e"), PAWL_EINVALID);
    assert_int_equal(pawl_remove(pawl, "/d", 0), PAWL_EINVALID);
    assert_int_equal(pawl_servers(pawl, NULL, NULL, NULL), PAWL_EINVALID);
}

static void test_callback_when_it_calls_what_waits_then_einvalid(void **state)
{
    struct place *place = *state;
    struct sent sent = {.then = call_waiting};
    submit(place, place->file, &sent, 100, LONG_MS);
    poll_until(place, &sent.calls);
    pawl_close(place->pawl);
}

static void test_close_when_nothing_is_there_then_it_is_ignored(void **state)
{
    struct place *place = *state;
    pawl_close(NULL);
    pawl_file_close(NULL);
    pawl_close(place->pawl); // with both files open
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file_close_when_the_master_is_still_asked_then_nothing_more_is_heard),
        TEST(test_file_close_when_appends_are_in_flight_then_they_are_unknown_once),
        TEST(test_file_close_when_appends_wait_in_a_queue_then_their_bytes_are_not_read),
        TEST(test_append_when_its_deadline_passes_in_a_queue_then_its_bytes_are_not_read),
        TEST(test_append_when_slots_are_all_taken_then_a_late_one_is_not_sent),
        TEST(test_close_when_a_callback_submits_then_it_is_refused),
        TEST(test_file_close_when_a_callback_submits_then_it_is_refused),
        TEST(test_callback_when_it_closes_its_file_then_the_others_are_called_too),
        TEST(test_callback_when_it_closes_the_file_that_is_read_then_the_read_still_ends),
        TEST(test_callback_when_it_closes_the_file_whose_producer_is_asked_for_then_eshutdown),
        TEST(test_callback_when_it_closes_the_file_whose_epoch_is_on_its_way_then_eshutdown),
        TEST(test_callback_when_it_calls_what_waits_then_einvalid),
        TEST(test_close_when_nothing_is_there_then_it_is_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
