// SPDX-License-Identifier: Apache-2.0
// Tests of questions for a tail that wait until somebody holds its lease.
#include "master_harness.h"

static struct world world;

// A file whose first chunk holds records; the answers of chunk servers wait for the test from here on.
static uint64_t file_with_records(uint64_t *ret_handle)
{
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    *ret_handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, *ret_handle, 7));
    return file;
}

static void release(void)
{
    world.hold = false;
    world_pump(&world);
}

static void test_question_is_answered_when_the_lease_is_granted(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_ask_tail(&world, file, 0, 200);
    assert_null(world.answer);
    world_advance(&world, 100);
    assert_null(world.answer);
    release(); // without a tick
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, 0);
    assert_int_equal(world.answer->tail->chunk->primary_id,
                     0xc0 + world_primary(&world, world.answer->tail->chunk->handle));
    world_fini(&world);
}

static void test_question_when_nothing_comes_is_answered_at_its_end(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_ask_tail(&world, file, 0, 200);
    world_advance(&world, 150);
    assert_null(world.answer);
    world_advance(&world, 50);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_EBUSY);
    release();
    world_fini(&world);
}

static void test_question_about_a_full_chunk_is_answered_with_the_next(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(&handle);
    world_ask_tail(&world, file, handle, 200);
    assert_null(world.answer); // its lease is held, and it is no answer
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle, 1,
                 0);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, 0);
    assert_true(world.answer->tail->chunk->handle != handle);
    assert_int_equal(world.answer->tail->chunk->base_offset, 700);
    world_fini(&world);
}

static void test_question_about_a_full_chunk_that_nobody_reports_ends(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(&handle);
    world_ask_tail(&world, file, handle, 100);
    world_advance(&world, 100);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_EBUSY);
    assert_non_null(strstr(world.answer->text, "full"));
    world_fini(&world);
}

static void test_question_when_the_primary_dies_is_answered_with_another(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(&handle);
    uint32_t primary = world_primary(&world, handle);
    world.hold = true;
    world_server_kill(&world, primary);
    world_ask_tail(&world, file, 0, 200);
    assert_null(world.answer);
    release();
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, 0);
    assert_true(world.answer->tail->chunk->primary_id != 0xc0 + primary);
    world_fini(&world);
}

static void test_question_that_can_only_wait_for_servers_does_not(void **state)
{
    (void)state;
    world_init(&world, 1);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world_ask_tail(&world, file, 0, 200);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_ENOSERVERS);
    world_fini(&world);
}

static void test_question_when_its_file_is_deleted_is_told_so(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(&handle);
    world_ask_tail(&world, file, handle, 1000);
    assert_int_equal(world_remove(&world, "/f", false), 0);
    world_advance(&world, 50);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_EDELETED);
    world_fini(&world);
}

static void test_question_waits_no_longer_than_the_masters_bound(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_ask_tail(&world, file, 0, UINT32_MAX);
    world_advance(&world, 1000);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_EBUSY);
    release();
    world_fini(&world);
}

static void test_questions_are_forgotten_with_the_master(void **state)
{
    (void)state;
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    world.hold = true;
    world_ask_tail(&world, file, 0, 200);
    world.hold = false;
    world_master_restart(&world); // nothing of it is left: world_fini() counts
    assert_null(world.answer);
    world_fini(&world);
}

static void test_question_when_the_log_turns_out_to_be_old_is_told_so(void **state)
{
    (void)state;
    uint64_t handle;
    uint64_t file = file_with_records(&handle);
    world_advance(&world, 500);
    world_ask_tail(&world, file, handle, 1000);
    world_server(&world, 1)->seen_position += 1000;
    assert_int_equal(world_server_register(&world, 1)->code, PAWL_EHISTORY);
    assert_non_null(world.answer);
    assert_int_equal(world.answer->code, PAWL_EHISTORY);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_is_answered_when_the_lease_is_granted),
        cmocka_unit_test(test_question_when_nothing_comes_is_answered_at_its_end),
        cmocka_unit_test(test_question_about_a_full_chunk_is_answered_with_the_next),
        cmocka_unit_test(test_question_about_a_full_chunk_that_nobody_reports_ends),
        cmocka_unit_test(test_question_when_the_primary_dies_is_answered_with_another),
        cmocka_unit_test(test_question_that_can_only_wait_for_servers_does_not),
        cmocka_unit_test(test_question_when_its_file_is_deleted_is_told_so),
        cmocka_unit_test(test_question_waits_no_longer_than_the_masters_bound),
        cmocka_unit_test(test_questions_are_forgotten_with_the_master),
        cmocka_unit_test(test_question_when_the_log_turns_out_to_be_old_is_told_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
