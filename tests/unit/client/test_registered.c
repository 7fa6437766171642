// SPDX-License-Identifier: Apache-2.0
// Tests of client/registered.c and client/memory.c, and of appends from such memory: what is copied, and
// that nothing reads it any more when the append has ended, however it ended.
#include "cluster.h"

#include <errno.h>

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u
#define RECORD (256u << 10)

struct place {
    struct cluster cluster;
    struct pawl *pawl;
    struct pawl_file *file;
    unsigned char *own; // registered by pawl_mem_register()
    size_t own_bytes;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 0, 0);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    place->file = cluster_open(place->pawl);
    place->own_bytes = 1u << 20;
    place->own = malloc(place->own_bytes);
    memset(place->own, 'o', place->own_bytes);
    assert_int_equal(pawl_mem_register(place->pawl, place->own, place->own_bytes), 0);
    *state = place;
    return 0;
}

// Tests close the client themselves.
static int tear_down(void **state)
{
    struct place *place = *state;
    cluster_stop(&place->cluster);
    free(place->own);
    free(place);
    return 0;
}

static void close_all(struct place *place)
{
    pawl_file_close(place->file);
    pawl_close(place->pawl);
}

static uint64_t copied(struct place *place)
{
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    return counters.payload_copied_bytes;
}

static void assert_stored(struct place *place, uint64_t offset, unsigned char byte, size_t bytes)
{
    unsigned char *seen = malloc(bytes);
    size_t got = 0;
    assert_int_equal(pawl_read(place->file, offset, seen, bytes, NULL, &got), 0);
    assert_int_equal(got, bytes);
    for (size_t i = 0; i < bytes; i++) {
        assert_int_equal(seen[i], byte);
    }
    free(seen);
}

// ---- what is copied -----------------------------------------------------------------------------

static void test_append_when_memory_is_registered_then_nothing_is_copied(void **state)
{
    struct place *place = *state;
    unsigned char *allocated = pawl_mem_alloc(place->pawl, RECORD);
    memset(allocated, 'a', RECORD);
    assert_int_equal(pawl_append(place->file, allocated, RECORD, NULL, NULL), 0);
    assert_int_equal(pawl_append(place->file, place->own + 12345, RECORD, NULL, NULL), 0);
    assert_int_equal(copied(place), 0);
    assert_stored(place, 0, 'a', RECORD);
    assert_stored(place, RECORD, 'o', RECORD);
    struct pawl_counters counters;
    pawl_counters(place->file, &counters);
    assert_int_equal(counters.payload_bytes, 2 * RECORD);
    pawl_mem_free(place->pawl, allocated);
    close_all(place);
}

static void test_append_when_memory_is_not_registered_then_it_is_copied_once(void **state)
{
    struct place *place = *state;
    unsigned char *heap = malloc(RECORD);
    memset(heap, 'h', RECORD);
    assert_int_equal(pawl_append(place->file, heap, RECORD, NULL, NULL), 0);
    assert_int_equal(copied(place), RECORD);
    assert_stored(place, 0, 'h', RECORD);
    free(heap);
    close_all(place);
}

static void test_append_when_a_record_is_small_then_it_travels_in_the_message(void **state)
{
    struct place *place = *state;
    assert_int_equal(pawl_append(place->file, place->own, WIRE_INLINE_MAX, NULL, NULL), 0);
    assert_int_equal(copied(place), WIRE_INLINE_MAX);
    assert_int_equal(pawl_append(place->file, place->own, WIRE_INLINE_MAX + 1, NULL, NULL), 0);
    assert_int_equal(copied(place), WIRE_INLINE_MAX);
    close_all(place);
}

static void test_append_when_a_buffer_lies_in_two_ranges_then_it_is_copied(void **state)
{
    struct place *place = *state;
    assert_int_equal(pawl_mem_unregister(place->pawl, place->own), 0);
    assert_int_equal(pawl_mem_register(place->pawl, place->own, RECORD), 0);
    assert_int_equal(pawl_mem_register(place->pawl, place->own + RECORD, RECORD), 0);
    assert_int_equal(pawl_append(place->file, place->own + RECORD / 2, RECORD, NULL, NULL), 0);
    assert_int_equal(copied(place), RECORD);
    assert_int_equal(pawl_append(place->file, place->own + RECORD, RECORD, NULL, NULL), 0);
    assert_int_equal(copied(place), RECORD);
    close_all(place);
}

// ---- the table ----------------------------------------------------------------------------------

static void test_register_when_ranges_overlap_then_eexist(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = place->pawl;
    assert_int_equal(pawl_mem_unregister(pawl, place->own), 0);
    assert_int_equal(pawl_mem_register(pawl, place->own + 4096, 4096), 0);
    assert_int_equal(pawl_mem_register(pawl, place->own + 4096, 4096), -EEXIST);
    assert_int_equal(pawl_mem_register(pawl, place->own, 4097), -EEXIST);
    assert_int_equal(pawl_mem_register(pawl, place->own + 8191, 1), -EEXIST);
    assert_int_equal(pawl_mem_register(pawl, place->own, place->own_bytes), -EEXIST);
    assert_int_equal(pawl_mem_register(pawl, place->own, 4096), 0);
    assert_int_equal(pawl_mem_register(pawl, place->own + 8192, 1), 0);
    close_all(place);
}

static void test_unregister_when_it_is_no_range_then_einval(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = place->pawl;
    void *allocated = pawl_mem_alloc(pawl, 1);
    assert_int_equal(pawl_mem_unregister(pawl, place->own + 1), PAWL_EINVALID);
    assert_int_equal(pawl_mem_unregister(pawl, place), PAWL_EINVALID);
    assert_int_equal(pawl_mem_unregister(pawl, allocated), PAWL_EINVALID);
    assert_int_equal(pawl_mem_unregister(pawl, NULL), PAWL_EINVALID);
    assert_int_equal(pawl_mem_unregister(pawl, place->own), 0);
    assert_int_equal(pawl_mem_unregister(pawl, place->own), PAWL_EINVALID);
    assert_int_equal(pawl_mem_register(pawl, place->own, 0), PAWL_EINVALID);
    assert_int_equal(pawl_mem_register(pawl, NULL, 1), PAWL_EINVALID);
    assert_int_equal(pawl_mem_register(pawl, place->own, SIZE_MAX), PAWL_EINVALID);
    close_all(place);
}

static void test_find_when_there_are_many_ranges_then_the_one_that_holds_all_of_it(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = place->pawl;
    assert_int_equal(pawl_mem_unregister(pawl, place->own), 0);
    for (unsigned i = 0; i < 100; i++) { // in no order, with gaps
        unsigned at = i * 37 % 100;
        assert_int_equal(pawl_mem_register(pawl, place->own + at * 1000, 900), 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        unsigned char *begin = place->own + i * 1000;
        struct registered *range = registered_find(pawl, begin, 900);
        assert_non_null(range);
        assert_ptr_equal(registered_find(pawl, begin + 899, 1), range);
        assert_null(registered_find(pawl, begin + 1, 900));
        assert_null(registered_find(pawl, begin + 900, 1));
        assert_null(registered_find(pawl, begin, SIZE_MAX));
    }
    assert_null(registered_find(pawl, place->own - 1, 2));
    close_all(place);
}

// ---- allocation ---------------------------------------------------------------------------------

static void test_alloc_when_the_bound_is_reached_then_enomem_until_something_is_freed(void **state)
{
    struct place *place = *state;
    struct pawl_options options = {.size = sizeof options,
                                   .master = place->cluster.address,
                                   .provider = "fake",
                                   .memory_bytes_max = 80u << 20};
    struct pawl *pawl = NULL;
    assert_int_equal(pawl_connect(&options, &pawl), 0);
    void *first = pawl_mem_alloc(pawl, 48u << 20);
    void *second = pawl_mem_alloc(pawl, 16u << 20);
    void *third = pawl_mem_alloc(pawl, 16u << 20); // an extent of what is left of the bound
    assert_true(first != NULL && second != NULL && third != NULL);
    errno = 0;
    assert_null(pawl_mem_alloc(pawl, 1));
    assert_int_equal(errno, ENOMEM);
    assert_null(pawl_mem_alloc(pawl, SIZE_MAX));
    pawl_mem_free(pawl, second);
    assert_ptr_equal(pawl_mem_alloc(pawl, 16u << 20), second);
    errno = 0;
    assert_null(pawl_mem_alloc(pawl, 0));
    assert_int_equal(errno, EINVAL);
    pawl_close(pawl);
    close_all(place);
}

static void
test_alloc_when_it_is_larger_than_an_extent_then_free_gives_the_memory_back(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = place->pawl;
    void *small = pawl_mem_alloc(pawl, 1);
    uint64_t before = pawl->memory_bytes;
    uint32_t ranges = pawl->registered.count;
    unsigned char *large = pawl_mem_alloc(pawl, (100u << 20) + 1);
    large[100u << 20] = 1;
    assert_int_equal(pawl->memory_bytes, before + (100u << 20) + 4096);
    assert_int_equal(pawl->registered.count, ranges + 1);
    pawl_mem_free(pawl, large);
    assert_int_equal(pawl->memory_bytes, before);
    assert_int_equal(pawl->registered.count, ranges);
    pawl_mem_free(pawl, small);
    pawl_mem_free(pawl, NULL);
    assert_int_equal(pawl->memory_bytes, before); // ordinary extents stay
    close_all(place);
}

// ---- who may use the memory, and when -------------------------------------------------------------

struct sent {
    struct place *place;
    unsigned calls;
    int status;
    int unregistered; // what pawl_mem_unregister() says once the append has ended
};

static void on_done(void *user, const struct pawl_append_result *result)
{
    struct sent *sent = user;
    sent->calls++;
    sent->status = result->status;
    sent->unregistered = pawl_mem_unregister(sent->place->pawl, sent->place->own);
    memset(sent->place->own, 'n', sent->place->own_bytes);
}

// An append whose write is under way and stays so: its server does nothing more.
static void submit_frozen(struct place *place, struct sent *sent, uint32_t deadline_ms)
{
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = deadline_ms};
    assert_int_equal(pawl_append(place->file, "x", 1, NULL, NULL), 0); // the link is up
    cluster_set(&place->cluster, servers[0].faults.frozen, true);
    *sent = (struct sent){.place = place, .unregistered = 1};
    assert_int_equal(pawl_append_submit(place->file, place->own, RECORD, &options, on_done, sent),
                     0);
    while (pawl_mem_unregister(place->pawl, place->own) != -EBUSY) {
        assert_int_equal(pawl_mem_register(place->pawl, place->own, place->own_bytes), 0);
        assert_int_equal(pawl_poll(place->pawl, 0), 0);
    }
    assert_int_equal(sent->calls, 0);
}

static void assert_given_back(const struct sent *sent)
{
    assert_int_equal(sent->calls, 1);
    assert_int_equal(sent->status, PAWL_EUNKNOWN);
    assert_int_equal(sent->unregistered, 0);
}

static void test_append_when_its_deadline_passes_under_a_write_then_the_memory_is_free(void **state)
{
    struct place *place = *state;
    struct sent sent;
    submit_frozen(place, &sent, SHORT_MS);
    while (sent.calls == 0) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_given_back(&sent);
    // What the callback put there after the end is not what the server may find.
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    struct pawl_append_result result;
    assert_int_equal(pawl_append(place->file, "y", 1, NULL, &result), PAWL_EUNKNOWN);
    assert_int_equal(cluster_bytes(&place->cluster), 1);
    close_all(place);
}

static void test_file_close_when_a_write_is_under_way_then_the_memory_is_free(void **state)
{
    struct place *place = *state;
    struct sent sent;
    submit_frozen(place, &sent, LONG_MS);
    pawl_file_close(place->file);
    assert_given_back(&sent);
    while (!pawl_list_is_empty(&place->pawl->files)) { // it is freed behind the link
        assert_int_equal(pawl_poll(place->pawl, 10), 0);
    }
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    pawl_close(place->pawl);
}

static void test_close_when_a_write_is_under_way_then_the_memory_is_free(void **state)
{
    struct place *place = *state;
    struct sent sent;
    submit_frozen(place, &sent, LONG_MS);
    pawl_close(place->pawl);
    assert_given_back(&sent);
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
}

// The other file's callback closes this one, whose write goes on until its memory is given back.
static void on_done_close(void *user, const struct pawl_append_result *result)
{
    struct sent *sent = user;
    sent->calls++;
    sent->status = result->status;
    pawl_file_close(sent->place->file);
}

static void
test_file_close_in_a_callback_when_a_write_is_under_way_then_its_end_comes_later(void **state)
{
    struct place *place = *state;
    struct pawl_append_options options = {.size = sizeof options, .deadline_ms = SHORT_MS};
    struct sent sent;
    struct sent closer = {.place = place};
    struct pawl_file *other = cluster_open(place->pawl);
    submit_frozen(place, &sent, LONG_MS);
    assert_int_equal(pawl_append_submit(other, "z", 1, &options, on_done_close, &closer), 0);
    while (closer.calls == 0) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    while (sent.calls == 0) {
        assert_true(pawl_poll(place->pawl, 1000) >= 0);
    }
    assert_given_back(&sent);
    assert_int_equal(sent.calls, 1);
    while (pawl_list_first(&place->pawl->files) != &other->node) {
        assert_int_equal(pawl_poll(place->pawl, 10), 0);
    }
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
    pawl_close(place->pawl);
}

// ---- a message that can't follow its bytes -------------------------------------------------------

int __real_fabric_send2(struct fabric_conn *conn, const void *head, uint32_t head_bytes,
                        const void *tail, uint32_t tail_bytes);
int __wrap_fabric_send2(struct fabric_conn *conn, const void *head, uint32_t head_bytes,
                        const void *tail, uint32_t tail_bytes);

static unsigned refusals_left; // of messages of appends whose bytes went before them
static unsigned refused_count;

int __wrap_fabric_send2(struct fabric_conn *conn, const void *head, uint32_t head_bytes,
                        const void *tail, uint32_t tail_bytes)
{
    const struct wire_header *header = head;
    if (refusals_left > 0 && header->type == WIRE_APPEND && tail_bytes == 0) {
        refusals_left--;
        refused_count++;
        return -EAGAIN;
    }
    return __real_fabric_send2(conn, head, head_bytes, tail, tail_bytes);
}

static void test_append_when_its_message_is_refused_then_it_goes_by_another_connection(void **state)
{
    struct place *place = *state;
    refused_count = 0;
    refusals_left = 1;
    assert_int_equal(pawl_append(place->file, place->own, RECORD, NULL, NULL), 0);
    assert_int_equal(refused_count, 1);
    assert_int_equal(copied(place), 0);
    assert_stored(place, 0, 'o', RECORD);
    assert_int_equal(pawl_mem_unregister(place->pawl, place->own), 0);
    close_all(place);
}

static void test_close_when_a_message_was_refused_then_the_memory_is_free(void **state)
{
    struct place *place = *state;
    struct sent sent = {.place = place, .unregistered = 1};
    assert_int_equal(pawl_append(place->file, "x", 1, NULL, NULL), 0); // the link is up
    cluster_set(&place->cluster, servers[0].faults.frozen, true);
    refused_count = 0;
    refusals_left = 1;
    assert_int_equal(pawl_append_submit(place->file, place->own, RECORD, NULL, on_done, &sent), 0);
    while (refused_count == 0) {
        assert_int_equal(client_turn(place->pawl, 0), 0);
    }
    pawl_close(place->pawl);
    assert_given_back(&sent);
    cluster_set(&place->cluster, servers[0].faults.frozen, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_append_when_memory_is_registered_then_nothing_is_copied),
        TEST(test_append_when_memory_is_not_registered_then_it_is_copied_once),
        TEST(test_append_when_a_record_is_small_then_it_travels_in_the_message),
        TEST(test_append_when_a_buffer_lies_in_two_ranges_then_it_is_copied),
        TEST(test_register_when_ranges_overlap_then_eexist),
        TEST(test_unregister_when_it_is_no_range_then_einval),
        TEST(test_find_when_there_are_many_ranges_then_the_one_that_holds_all_of_it),
        TEST(test_alloc_when_the_bound_is_reached_then_enomem_until_something_is_freed),
        TEST(test_alloc_when_it_is_larger_than_an_extent_then_free_gives_the_memory_back),
        TEST(test_append_when_its_deadline_passes_under_a_write_then_the_memory_is_free),
        TEST(test_file_close_when_a_write_is_under_way_then_the_memory_is_free),
        TEST(test_close_when_a_write_is_under_way_then_the_memory_is_free),
        TEST(test_append_when_its_message_is_refused_then_it_goes_by_another_connection),
        TEST(test_close_when_a_message_was_refused_then_the_memory_is_free),
        TEST(test_file_close_in_a_callback_when_a_write_is_under_way_then_its_end_comes_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
