// SPDX-License-Identifier: Apache-2.0
// Tests of dataplane/chunkd/gather.c and routes.c: what N reactors say becomes one inventory, and what the master
// says goes to the reactor that it is for.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "dataplane/chunkd/gather.h"
#include "dataplane/chunkd/routes.h"

static struct mail *inventory(uint64_t round, bool all, size_t replicas_count, uint64_t first)
{
    struct mail *mail = mail_new(MAIL_INVENTORY);
    assert_non_null(mail);
    mail->number = round;
    mail->all = all;
    mail->replicas_count = replicas_count;
    mail->replicas = calloc(replicas_count + 1, sizeof(mail->replicas[0]));
    for (size_t i = 0; i < replicas_count; i++) {
        pawl__replica__init(&mail->replicas[i]);
        mail->replicas[i].handle = first + i;
    }
    mail->counters = (struct mail_counters){.space_bytes = 1000,
                                            .used_bytes = 100 * first,
                                            .disk_bytes = 100000,
                                            .appends_count = 1,
                                            .duplicates_count = 2,
                                            .mismatches_count = 3};
    return mail;
}

static void test_gather_when_all_have_answered_has_every_replica_once(void **state)
{
    (void)state;
    struct gather gather;
    gather_init(&gather, 3);
    uint64_t round = gather_begin(&gather);
    assert_false(gather_take(&gather, 2, inventory(round, true, 3, 7)));
    assert_false(gather_take(&gather, 0, inventory(round, true, 0, 1)));
    assert_true(gather_take(&gather, 1, inventory(round, true, 2, 3)));
    struct mail *merged = gather_merge(&gather);
    static const uint64_t handles[] = {3, 4, 7, 8, 9};
    assert_true(merged->all);
    assert_int_equal(merged->status, 0);
    assert_int_equal(merged->replicas_count, PAWL_ARRAY_COUNT(handles));
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(handles); i++) {
        assert_int_equal(merged->replicas[i].handle, handles[i]);
    }
    assert_int_equal(merged->counters.appends_count, 3);
    assert_int_equal(merged->counters.duplicates_count, 6);
    assert_int_equal(merged->counters.mismatches_count, 9);
    mail_free(merged);
    gather_fini(&gather);
}

static void test_gather_when_an_answer_is_of_an_older_round_waits_for_the_new_one(void **state)
{
    (void)state;
    struct gather gather;
    gather_init(&gather, 2);
    uint64_t old = gather_begin(&gather);
    assert_false(gather_take(&gather, 0, inventory(old, false, 1, 1)));
    uint64_t round = gather_begin(&gather); // a registration follows a heartbeat
    assert_int_not_equal(round, old);
    assert_false(gather_take(&gather, 1, inventory(old, false, 1, 2)));
    assert_false(gather_take(&gather, 1, inventory(round, true, 1, 3)));
    assert_false(gather_take(&gather, 1, inventory(round, true, 1, 4))); // twice: it counts once
    assert_true(gather_take(&gather, 0, inventory(round, true, 1, 5)));
    struct mail *merged = gather_merge(&gather);
    assert_true(merged->all);
    assert_int_equal(merged->replicas_count, 2);
    assert_int_equal(merged->replicas[0].handle, 5);
    assert_int_equal(merged->replicas[1].handle, 3);
    mail_free(merged);
    assert_false(gather_take(&gather, 0, inventory(gather_begin(&gather), true, 1, 1)));
    gather_fini(&gather); // with an answer in it
}

static void test_gather_when_one_is_incomplete_so_is_the_whole(void **state)
{
    (void)state;
    struct gather gather;
    gather_init(&gather, 2);
    uint64_t round = gather_begin(&gather);
    struct mail *lacking = inventory(round, true, 1, 1);
    lacking->status = PAWL_EBUSY;
    assert_false(gather_take(&gather, 0, inventory(round, true, 1, 1)));
    assert_true(gather_take(&gather, 1, lacking));
    struct mail *merged = gather_merge(&gather);
    assert_int_equal(merged->status, PAWL_EBUSY);
    mail_free(merged);
    gather_fini(&gather);
}

static struct mail_counters merged_of(const struct mail_counters *counters, uint32_t count)
{
    struct gather gather;
    gather_init(&gather, count);
    uint64_t round = gather_begin(&gather);
    bool whole = false;
    for (uint32_t i = 0; i < count; i++) {
        struct mail *mail = inventory(round, true, 0, 0);
        mail->counters = counters[i];
        whole = gather_take(&gather, i, mail);
    }
    assert_true(whole);
    struct mail *merged = gather_merge(&gather);
    struct mail_counters result = merged->counters;
    mail_free(merged);
    gather_fini(&gather);
    return result;
}

static void test_gather_when_stores_share_a_disk_counts_its_free_bytes_once(void **state)
{
    (void)state;
    // No limit: each says what it uses, and that all of the disk is free.
    static const struct mail_counters open[] = {
        {.space_bytes = 100 + 5000, .used_bytes = 100, .disk_bytes = 5000},
        {.space_bytes = 300 + 4990, .used_bytes = 300, .disk_bytes = 4990}};
    struct mail_counters merged = merged_of(open, 2);
    assert_int_equal(merged.used_bytes, 400);
    assert_int_equal(merged.space_bytes, 400 + 4990);
    // A limit of 2000: a chunk may go to either, so the fuller one counts twice.
    static const struct mail_counters limited[] = {
        {.space_bytes = 1000, .used_bytes = 100, .disk_bytes = 5000},
        {.space_bytes = 1000, .used_bytes = 300, .disk_bytes = 5000}};
    merged = merged_of(limited, 2);
    assert_int_equal(merged.used_bytes, 400);
    assert_int_equal(merged.space_bytes, 400 + 2 * 700);
    // A limit that the disk can't keep.
    static const struct mail_counters crowded[] = {
        {.space_bytes = 1000, .used_bytes = 100, .disk_bytes = 950},
        {.space_bytes = 1000, .used_bytes = 100, .disk_bytes = 950}};
    merged = merged_of(crowded, 2);
    assert_int_equal(merged.space_bytes, 200 + 950);
    // A store that has failed has no room, and so has the server.
    static const struct mail_counters failed[] = {
        {.space_bytes = 1000, .used_bytes = 1000, .disk_bytes = 5000},
        {.space_bytes = 1000, .used_bytes = 100, .disk_bytes = 5000}};
    merged = merged_of(failed, 2);
    assert_int_equal(merged.space_bytes - merged.used_bytes, 0);
    // No overflow.
    static const struct mail_counters huge[] = {
        {.space_bytes = UINT64_MAX, .used_bytes = 0, .disk_bytes = 7},
        {.space_bytes = UINT64_MAX, .used_bytes = 0, .disk_bytes = 7}};
    assert_int_equal(merged_of(huge, 2).space_bytes, 7);
}

static void test_gather_when_there_is_one_reactor_is_what_it_said(void **state)
{
    (void)state;
    struct gather gather;
    gather_init(&gather, 1);
    struct mail *mail = inventory(gather_begin(&gather), false, 2, 5);
    assert_true(gather_take(&gather, 0, mail));
    assert_ptr_equal(gather_merge(&gather), mail);
    assert_int_equal(mail->counters.space_bytes, 1000);
    mail_free(mail);
    gather_fini(&gather);
}

// ---- routes -------------------------------------------------------------------------------------

static uint32_t route(struct routes *routes, const Pawl__Request *request)
{
    uint32_t reactor = 99;
    assert_int_equal(routes_of_command(routes, request, &reactor), 0);
    return reactor;
}

static void test_routes_when_a_chunk_is_named_go_where_its_handle_leads(void **state)
{
    (void)state;
    struct routes routes;
    routes_init(&routes, 8);
    for (uint64_t handle = 1; handle < 50; handle++) {
        Pawl__Fence fence = PAWL__FENCE__INIT;
        Pawl__Level level = PAWL__LEVEL__INIT;
        Pawl__Seal seal = PAWL__SEAL__INIT;
        Pawl__Open open = PAWL__OPEN__INIT;
        Pawl__Grant grant = PAWL__GRANT__INIT;
        Pawl__Drop drop = PAWL__DROP__INIT;
        Pawl__Copy copy = PAWL__COPY__INIT;
        fence.handle = level.handle = seal.handle = open.handle = grant.handle = drop.handle =
            copy.handle = handle;
        const Pawl__Request requests[] = {{.body_case = PAWL__REQUEST__BODY_FENCE, .fence = &fence},
                                          {.body_case = PAWL__REQUEST__BODY_LEVEL, .level = &level},
                                          {.body_case = PAWL__REQUEST__BODY_SEAL, .seal = &seal},
                                          {.body_case = PAWL__REQUEST__BODY_OPEN, .open = &open},
                                          {.body_case = PAWL__REQUEST__BODY_GRANT, .grant = &grant},
                                          {.body_case = PAWL__REQUEST__BODY_DROP, .drop = &drop},
                                          {.body_case = PAWL__REQUEST__BODY_COPY, .copy = &copy}};
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(requests); i++) {
            assert_int_equal(route(&routes, &requests[i]), reactor_of(handle, 8));
        }
        assert_int_equal(routes_of(&routes, handle), reactor_of(handle, 8)); // a lease
    }
    Pawl__Request other = PAWL__REQUEST__INIT;
    uint32_t reactor;
    other.body_case = PAWL__REQUEST__BODY_HEARTBEAT;
    assert_int_equal(routes_of_command(&routes, &other, &reactor), PAWL_EPROTOCOL);
    routes_fini(&routes);
}

// A handle above `from` that another reactor of 8 than that of `of` has.
static uint64_t handle_apart(uint64_t of, uint64_t from)
{
    while (reactor_of(from, 8) == reactor_of(of, 8)) {
        from++;
    }
    return from;
}

static void test_routes_when_a_chunk_is_of_a_write_log_go_to_the_written_one(void **state)
{
    (void)state;
    struct routes routes;
    routes_init(&routes, 8);
    uint64_t opened = handle_apart(5, 100);
    uint64_t copied = handle_apart(5, opened + 1);
    uint64_t loaded = handle_apart(5, copied + 1);
    Pawl__Fence fence = PAWL__FENCE__INIT;
    Pawl__Request ask = {.body_case = PAWL__REQUEST__BODY_FENCE, .fence = &fence};
    fence.handle = opened;
    assert_int_equal(route(&routes, &ask), reactor_of(opened, 8)); // not known: not here
    Pawl__Open open = PAWL__OPEN__INIT;
    open.handle = opened;
    open.written_handle = 5;
    Pawl__Request request = {.body_case = PAWL__REQUEST__BODY_OPEN, .open = &open};
    assert_int_equal(route(&routes, &request), reactor_of(5, 8));
    Pawl__Copy copy = PAWL__COPY__INIT;
    copy.handle = copied;
    copy.written_handle = 5;
    request = (Pawl__Request){.body_case = PAWL__REQUEST__BODY_COPY, .copy = &copy};
    assert_int_equal(route(&routes, &request), reactor_of(5, 8));
    assert_int_equal(routes_learn(&routes, loaded, reactor_of(5, 8)), 0); // of an inventory
    const uint64_t logs[] = {opened, copied, loaded};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(logs); i++) {
        fence.handle = logs[i];
        assert_int_equal(route(&routes, &ask), reactor_of(5, 8));
        assert_int_equal(routes_of(&routes, logs[i]), reactor_of(5, 8));
    }
    routes_fini(&routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gather_when_all_have_answered_has_every_replica_once),
        cmocka_unit_test(test_gather_when_an_answer_is_of_an_older_round_waits_for_the_new_one),
        cmocka_unit_test(test_gather_when_one_is_incomplete_so_is_the_whole),
        cmocka_unit_test(test_gather_when_stores_share_a_disk_counts_its_free_bytes_once),
        cmocka_unit_test(test_gather_when_there_is_one_reactor_is_what_it_said),
        cmocka_unit_test(test_routes_when_a_chunk_is_named_go_where_its_handle_leads),
        cmocka_unit_test(test_routes_when_a_chunk_is_of_a_write_log_go_to_the_written_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
