// SPDX-License-Identifier: Apache-2.0
// Tests of client/control.c and client/names.c: lost connections, slow masters, wrong answers, pages.
#include "cluster.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client_private.h"

#define LONG_MS 10000u
#define SHORT_MS 1000u

struct place {
    struct cluster cluster;
    struct pawl *pawl;
};

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    cluster_start(&place->cluster, 3, 1000);
    place->pawl = cluster_connect(&place->cluster, LONG_MS);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    pawl_close(place->pawl);
    cluster_stop(&place->cluster);
    free(place);
    return 0;
}

static void answer(struct place *place, int code, unsigned count)
{
    cluster_lock(&place->cluster);
    place->cluster.master.code = code;
    place->cluster.master.code_left = count;
    cluster_unlock(&place->cluster);
}

static void lose(struct place *place, unsigned count)
{
    cluster_set(&place->cluster, master.drop_left, count);
}

// ---- connecting ---------------------------------------------------------------------------------

static void test_connect_when_options_are_wrong_then_einvalid(void **state)
{
    struct place *place = *state;
    struct pawl *pawl = NULL;
    struct pawl_options options = {.size = sizeof options, .master = place->cluster.address};
    assert_int_equal(pawl_connect(NULL, &pawl), PAWL_EINVALID);
    assert_int_equal(pawl_connect(&options, NULL), PAWL_EINVALID);
    options.size--;
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EINVALID);
    options = (struct pawl_options){.size = sizeof options};
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EINVALID);
    options.master = "no port";
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EINVALID);
    options.master = place->cluster.address;
    options.depth_max = 4097;
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EINVALID);
    options.depth_max = 0;
    options.region_bytes = UINT64_MAX;
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EINVALID);
    assert_null(pawl);
}

static void test_connect_when_nobody_listens_then_it_ends_by_its_deadline(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0); // bound, not listening
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    char master[32];
    snprintf(master, sizeof master, "127.0.0.1:%u", ntohs(address.sin_port));
    struct pawl_options options = {
        .size = sizeof options, .master = master, .deadline_ms = SHORT_MS};
    struct pawl *pawl = NULL;
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EDEADLINE);
    assert_null(pawl);
    close(fd);
}

static void test_connect_when_the_master_says_nothing_then_it_ends_by_its_deadline(void **state)
{
    struct place *place = *state;
    struct pawl_options options = {
        .size = sizeof options, .master = place->cluster.address, .deadline_ms = SHORT_MS};
    struct pawl *pawl = NULL;
    cluster_set(&place->cluster, master.ignore_left, UINT_MAX);
    assert_int_equal(pawl_connect(&options, &pawl), PAWL_EDEADLINE);
}

// ---- calls --------------------------------------------------------------------------------------

static void test_call_when_the_connection_is_lost_then_it_is_made_again(void **state)
{
    struct place *place = *state;
    struct pawl_stat stat;
    unsigned before = cluster_get(&place->cluster, &place->cluster.master.requests_count);
    lose(place, 2);
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), 0);
    assert_int_equal(stat.file_id, CLUSTER_FILE);
    unsigned after = cluster_get(&place->cluster, &place->cluster.master.requests_count);
    assert_in_range(after, before + 3, before + 4); // the session may be asked for again by then
}

static void test_call_when_the_master_is_slow_then_edeadline_and_the_next_one_works(void **state)
{
    struct place *place = *state;
    struct pawl_stat stat = {.file_id = 42};
    cluster_set(&place->cluster, master.ignore_left, UINT_MAX); // one would be asked again in time
    place->pawl->deadline_ms = SHORT_MS;
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), PAWL_EDEADLINE);
    assert_int_equal(stat.file_id, 42); // untouched
    cluster_set(&place->cluster, master.ignore_left, 0);
    place->pawl->deadline_ms = LONG_MS;
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), 0);
}

static void test_call_when_the_master_refuses_then_its_code_is_told(void **state)
{
    struct place *place = *state;
    struct pawl_stat stat;
    answer(place, PAWL_ENOTDIR, 1);
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), PAWL_ENOTDIR);
    answer(place, 7, 1); // no code at all
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), PAWL_EPROTOCOL);
}

static int count_entry(void *user, const struct pawl_entry *entry)
{
    (void)entry;
    ++*(unsigned *)user;
    return 0;
}

static void test_call_when_the_reply_has_another_body_then_eprotocol(void **state)
{
    struct place *place = *state;
    struct pawl_stat stat;
    struct pawl_file *file = NULL;
    unsigned count = 0;
    cluster_set(&place->cluster, master.wrong_body, true);
    assert_int_equal(pawl_stat_sealed(place->pawl, "/f", &stat), PAWL_EPROTOCOL);
    assert_int_equal(pawl_open(place->pawl, "/f", &file), PAWL_EPROTOCOL);
    assert_int_equal(pawl_create(place->pawl, "/f", NULL, &file), PAWL_EPROTOCOL);
    assert_int_equal(pawl_list(place->pawl, "/", count_entry, &count), PAWL_EPROTOCOL);
    assert_int_equal(pawl_servers(place->pawl, NULL, NULL, NULL), PAWL_EPROTOCOL);
    assert_null(file);
    assert_int_equal(count, 0);
}

// ---- calls that change names: each is carried out once ---------------------------------------------

static void lose_answer(struct place *place, bool refill)
{
    cluster_lock(&place->cluster);
    place->cluster.master.lose_left = 1;
    place->cluster.master.refill = refill;
    cluster_unlock(&place->cluster);
}

static bool log_is_there(struct place *place)
{
    cluster_lock(&place->cluster);
    bool there = place->cluster.master.log_there;
    cluster_unlock(&place->cluster);
    return there;
}

static unsigned calls_count(struct place *place)
{
    return cluster_get(&place->cluster, &place->cluster.master.calls_count);
}

static void test_remove_when_its_answer_is_lost_then_what_was_made_since_stays(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, master.log_there, true);
    lose_answer(place, true);
    assert_int_equal(pawl_remove(place->pawl, "/log", 0), 0);
    assert_true(log_is_there(place)); // somebody else's
    assert_int_equal(calls_count(place), 1);
    assert_int_equal(pawl_remove(place->pawl, "/log", 0), 0); // another call
    assert_false(log_is_there(place));
    lose_answer(place, true);
    assert_int_equal(pawl_remove(place->pawl, "/log", 0), PAWL_ENOTFOUND);
    assert_true(log_is_there(place));
}

// The master has not looked at it: what it says of this message it does not say of one before.
static void
test_remove_when_the_master_has_no_room_then_it_comes_again_and_is_done_once(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, master.log_there, true);
    cluster_set(&place->cluster, master.code, PAWL_EBUSY);
    cluster_set(&place->cluster, master.code_left, 3);
    assert_int_equal(pawl_remove(place->pawl, "/log", 0), 0);
    assert_false(log_is_there(place));
    assert_int_equal(calls_count(place), 1);
}

static void test_create_when_its_answer_is_lost_then_the_file_is_its_own(void **state)
{
    struct place *place = *state;
    struct pawl_create_options options = {.size = sizeof options, .exclusive = true};
    struct pawl_file *file = NULL;
    lose_answer(place, false);
    assert_int_equal(pawl_create(place->pawl, "/log", &options, &file), 0);
    assert_int_equal(calls_count(place), 1);
    pawl_file_close(file);
    file = NULL;
    lose_answer(place, false);
    assert_int_equal(pawl_create(place->pawl, "/log", &options, &file), PAWL_EEXISTS);
    assert_null(file);
}

static void test_rename_and_mkdir_when_their_answer_is_lost_then_they_are_done_once(void **state)
{
    struct place *place = *state;
    lose_answer(place, false);
    assert_int_equal(pawl_rename(place->pawl, "/a", "/b"), 0);
    assert_int_equal(calls_count(place), 1);
    lose_answer(place, false);
    assert_int_equal(pawl_mkdir(place->pawl, "/d", 0), 0);
    assert_int_equal(calls_count(place), 2);
}

// The master knows the call again, so its word is what counts.
static void test_names_when_the_first_attempt_is_lost_then_the_answer_is_told(void **state)
{
    struct place *place = *state;
    struct pawl_create_options options = {.size = sizeof options, .exclusive = true};
    struct pawl_file *file = NULL;
    lose(place, 1);
    answer(place, PAWL_ENOTFOUND, 1);
    assert_int_equal(pawl_rename(place->pawl, "/a", "/b"), PAWL_ENOTFOUND);
    lose(place, 1);
    answer(place, PAWL_ENOTFOUND, 1);
    assert_int_equal(pawl_remove(place->pawl, "/a", 0), PAWL_ENOTFOUND);
    lose(place, 1);
    answer(place, PAWL_EEXISTS, 1);
    assert_int_equal(pawl_mkdir(place->pawl, "/f", 0), PAWL_EEXISTS);
    lose(place, 1);
    answer(place, PAWL_EEXISTS, 1);
    assert_int_equal(pawl_create(place->pawl, "/f", &options, &file), PAWL_EEXISTS);
    assert_null(file);
}

static void test_names_when_the_session_ends_under_way_then_the_outcome_is_unknown(void **state)
{
    struct place *place = *state;
    struct pawl_create_options options = {.size = sizeof options, .exclusive = true};
    struct pawl_file *file = NULL;
    cluster_set(&place->cluster, master.session_ended, 1);
    lose(place, 1);
    assert_int_equal(pawl_remove(place->pawl, "/a", 0), PAWL_EUNKNOWN);
    assert_int_equal(pawl_remove(place->pawl, "/a", 0), 0); // by session 2
    cluster_set(&place->cluster, master.session_ended, 2);
    lose(place, 1);
    assert_int_equal(pawl_create(place->pawl, "/f", &options, &file), PAWL_EUNKNOWN);
    assert_null(file);
    assert_int_equal(calls_count(place), 1);
}

static void test_names_when_the_session_has_ended_before_then_another_one_serves(void **state)
{
    struct place *place = *state;
    cluster_set(&place->cluster, master.session_ended, 4);
    assert_int_equal(pawl_mkdir(place->pawl, "/d", 0), 0);
    assert_int_equal(calls_count(place), 1);
    cluster_lock(&place->cluster);
    assert_int_equal(place->cluster.master.call_session, 5);
    cluster_unlock(&place->cluster);
}

// ---- pages --------------------------------------------------------------------------------------

struct seen {
    struct pawl *pawl;
    unsigned count;
    unsigned stop_at;
};

static int see_entry(void *user, const struct pawl_entry *entry)
{
    struct seen *seen = user;
    struct pawl_stat stat;
    char wanted[16];
    snprintf(wanted, sizeof wanted, "n%06u", seen->count++);
    assert_string_equal(entry->name, wanted);
    if (seen->count % 50 == 0) { // a visit may call what waits
        assert_int_equal(pawl_stat_sealed(seen->pawl, "/f", &stat), 0);
    }
    return seen->count == seen->stop_at ? 77 : 0;
}

static void test_list_when_there_are_pages_then_each_entry_is_visited_once(void **state)
{
    struct place *place = *state;
    struct seen seen = {.pawl = place->pawl};
    cluster_set(&place->cluster, master.entries_count, 250);
    assert_int_equal(pawl_list(place->pawl, "/", see_entry, &seen), 0);
    assert_int_equal(seen.count, 250);
    seen = (struct seen){.pawl = place->pawl, .stop_at = 101};
    assert_int_equal(pawl_list(place->pawl, "/", see_entry, &seen), 77);
    assert_int_equal(seen.count, 101);
}

static void test_list_when_the_master_repeats_itself_then_it_ends(void **state)
{
    struct place *place = *state;
    unsigned count = 0;
    cluster_set(&place->cluster, master.endless, true);
    assert_int_equal(pawl_list(place->pawl, "/", count_entry, &count), 0); // more, but none came
    cluster_set(&place->cluster, master.entries_count, 250);
    assert_int_equal(pawl_list(place->pawl, "/", count_entry, &count), PAWL_EPROTOCOL);
    assert_int_equal(count, 100);
}

static int see_chunk(void *user, const struct pawl_chunk_info *chunk)
{
    struct seen *seen = user;
    assert_int_equal(chunk->index, seen->count++);
    assert_int_equal(chunk->replicas_count, CLUSTER_SERVERS);
    assert_int_equal(chunk->log_chunks_count, chunk->index == 1 ? 1 : 0);
    assert_int_equal(chunk->log_bytes, chunk->index == 1 ? 77 : 0);
    assert_int_equal(chunk->log_under_replicated, chunk->index == 1);
    assert_int_equal(pawl_servers(seen->pawl, NULL, NULL, NULL), 0);
    return seen->count == seen->stop_at ? 77 : 0;
}

static void test_chunks_when_there_are_pages_then_each_chunk_is_visited_once(void **state)
{
    struct place *place = *state;
    struct seen seen = {.pawl = place->pawl};
    cluster_lock(&place->cluster); // as if one was written to
    place->cluster.logs[1] =
        (struct cluster_chunk){.handle = CLUSTER_LOG + 1, .sealed = true, .bytes = 77};
    cluster_unlock(&place->cluster);
    assert_int_equal(pawl_chunks(place->pawl, "/f", see_chunk, &seen), 0);
    assert_int_equal(seen.count, 4);
    seen = (struct seen){.pawl = place->pawl, .stop_at = 3};
    assert_int_equal(pawl_chunks(place->pawl, "/f", see_chunk, &seen), 77);
    assert_int_equal(seen.count, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connect_when_options_are_wrong_then_einvalid),
        TEST(test_connect_when_nobody_listens_then_it_ends_by_its_deadline),
        TEST(test_connect_when_the_master_says_nothing_then_it_ends_by_its_deadline),
        TEST(test_call_when_the_connection_is_lost_then_it_is_made_again),
        TEST(test_call_when_the_master_is_slow_then_edeadline_and_the_next_one_works),
        TEST(test_call_when_the_master_refuses_then_its_code_is_told),
        TEST(test_call_when_the_reply_has_another_body_then_eprotocol),
        TEST(test_remove_when_its_answer_is_lost_then_what_was_made_since_stays),
        TEST(test_remove_when_the_master_has_no_room_then_it_comes_again_and_is_done_once),
        TEST(test_create_when_its_answer_is_lost_then_the_file_is_its_own),
        TEST(test_rename_and_mkdir_when_their_answer_is_lost_then_they_are_done_once),
        TEST(test_names_when_the_first_attempt_is_lost_then_the_answer_is_told),
        TEST(test_names_when_the_session_ends_under_way_then_the_outcome_is_unknown),
        TEST(test_names_when_the_session_has_ended_before_then_another_one_serves),
        TEST(test_list_when_there_are_pages_then_each_entry_is_visited_once),
        TEST(test_list_when_the_master_repeats_itself_then_it_ends),
        TEST(test_chunks_when_there_are_pages_then_each_chunk_is_visited_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
