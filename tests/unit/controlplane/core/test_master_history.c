// SPDX-License-Identifier: Apache-2.0
// Tests of a master whose log is not the newest: it tells so, and serves nobody.
#include "master_harness.h"

static struct world world;

// The log loses its last records, as a copy of an older day has lost them.
static void log_cut(size_t count)
{
    assert_true(count <= world.log_count);
    while (world.log_count > count) {
        free(world.log[--world.log_count].data);
    }
}

// A file with a granted chunk; everybody has heard of all of the log.
static uint64_t furnish(void)
{
    world_init(&world, 3);
    uint64_t file = world_create(&world, "/f", 3, 2);
    uint64_t handle = world_granted(&world, file, 0)->handle;
    assert_true(world_append(&world, handle, 3));
    world_advance(&world, 500);
    return handle;
}

static void forget_marks(void)
{
    for (uint32_t i = 1; i <= 3; i++) {
        world_server(&world, i)->seen_term = 0;
    }
}

static void expect_halted(const char *text)
{
    const Pawl__Reply *reply = world_server_register(&world, 1);
    assert_int_equal(reply->code, PAWL_EHISTORY);
    assert_non_null(strstr(reply->text, text));
    assert_non_null(strstr(reply->text, "newest copy"));
    assert_true(world_noted(&world, "records of this log are missing"));
    // Nobody is served any more, those that know nothing included.
    size_t logged = world.log_count;
    assert_int_equal(world_mkdir(&world, "/d"), PAWL_EHISTORY);
    assert_int_equal(world_stat(&world, "/"), PAWL_EHISTORY);
    forget_marks();
    assert_int_equal(world_server_register(&world, 2)->code, PAWL_EHISTORY);
    struct master_event closed = {.type = MASTER_EVENT_CONN_CLOSED,
                                  .conn = world_server(&world, 2)->conn};
    world_event(&world, &closed);
    struct master_event tick = {.type = MASTER_EVENT_TICK};
    world_event(&world, &tick);
    assert_int_equal(world.log_count, logged);
    assert_null(world.commands);
    world_fini(&world);
}

static void test_master_when_its_log_is_whole_is_admitted(void **state)
{
    (void)state;
    furnish();
    for (int i = 0; i < 3; i++) {
        world_master_restart(&world);
        for (uint32_t s = 1; s <= 3; s++) {
            assert_int_equal(world_server_register(&world, s)->code, 0);
        }
        assert_int_equal(world_mkdir(&world, i == 0 ? "/a" : i == 1 ? "/b" : "/c"), 0);
    }
    world_fini(&world);
}

static void test_server_when_it_was_away_for_some_terms_is_admitted(void **state)
{
    (void)state;
    furnish();
    world_server_kill(&world, 3);
    for (int i = 0; i < 3; i++) {
        world_master_restart(&world);
        assert_int_equal(world_server_register(&world, 1)->code, 0);
        assert_int_equal(world_server_register(&world, 2)->code, 0);
    }
    world_server_start(&world, 3);
    world_fini(&world);
}

static void test_log_when_cut_inside_a_term_halts(void **state)
{
    (void)state;
    furnish();
    size_t before = world.log_count;
    assert_int_equal(world_mkdir(&world, "/seen"), 0); // leaves no trace but the position
    world_advance(&world, 500);
    log_cut(before);
    world_master_restart(&world);
    expect_halted("has seen term 1");
}

static void test_log_when_an_older_copy_takes_the_same_term_halts(void **state)
{
    (void)state;
    furnish();
    size_t copy = world.log_count;
    world_master_restart(&world);
    assert_int_equal(world_server_register(&world, 1)->code, 0);
    log_cut(copy);
    world_master_restart(&world); // term 2 once more, with another nonce
    for (int i = 0; i < 20; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/later%d", i);
        assert_int_equal(world_mkdir(&world, path), 0); // its position is soon the higher one
    }
    expect_halted("has seen term 2");
}

static void test_log_when_terms_are_missing_halts(void **state)
{
    (void)state;
    furnish();
    size_t copy = world.log_count;
    for (int i = 0; i < 3; i++) {
        world_master_restart(&world);
        assert_int_equal(world_server_register(&world, 1)->code, 0);
    }
    log_cut(copy);
    world_master_restart(&world);
    expect_halted("has seen term 4");
}

static void test_chunk_when_the_log_never_made_it_halts(void **state)
{
    (void)state;
    world_init(&world, 3);
    size_t copy = world.log_count;
    uint64_t file = world_create(&world, "/f", 3, 2);
    world_granted(&world, file, 0);
    log_cut(copy);
    forget_marks();
    world_master_restart(&world);
    expect_halted("holds chunk 1 version 1, which was never made here");
}

static void test_version_when_the_log_has_an_older_one_halts(void **state)
{
    (void)state;
    uint64_t handle = furnish();
    size_t copy = world.log_count;
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_BROKEN, handle, 1,
                 0xc1);
    assert_int_equal(world_chunk(&world, handle)->version, 2);
    log_cut(copy);
    forget_marks();
    world_master_restart(&world);
    expect_halted("holds chunk 1 version 2, which has an older version here");
}

static void test_seal_when_the_log_lacks_it_halts(void **state)
{
    (void)state;
    uint64_t handle = furnish();
    world_report(&world, world_primary(&world, handle), PAWL__REPORT_KIND__REPORT_FULL, handle, 1,
                 0);
    size_t seal = 0;
    for (size_t i = 0; i < world.log_count; i++) {
        Pawl__LogRecord *record =
            pawl__log_record__unpack(NULL, world.log[i].bytes, world.log[i].data);
        seal = record->body_case == PAWL__LOG_RECORD__BODY_CHUNK_SEAL ? i : seal;
        pawl__log_record__free_unpacked(record, NULL);
    }
    assert_true(seal > 0);
    log_cut(seal);
    for (uint32_t i = 1; i <= 3; i++) { // of the successor nobody speaks here
        world_server(&world, i)->replicas[handle + 1].exists = false;
    }
    forget_marks();
    world_master_restart(&world);
    expect_halted("sealed, which is not sealed here");
}

static void test_history_when_it_is_long_forgets_its_oldest_terms(void **state)
{
    (void)state;
    furnish();
    world_server_kill(&world, 3);
    for (int i = 0; i < 1100; i++) {
        world_master_restart(&world);
    }
    world_server_start(&world, 3);
    assert_int_equal(world_server_register(&world, 1)->code, 0);
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_master_when_its_log_is_whole_is_admitted),
        cmocka_unit_test(test_server_when_it_was_away_for_some_terms_is_admitted),
        cmocka_unit_test(test_log_when_cut_inside_a_term_halts),
        cmocka_unit_test(test_log_when_an_older_copy_takes_the_same_term_halts),
        cmocka_unit_test(test_log_when_terms_are_missing_halts),
        cmocka_unit_test(test_chunk_when_the_log_never_made_it_halts),
        cmocka_unit_test(test_version_when_the_log_has_an_older_one_halts),
        cmocka_unit_test(test_seal_when_the_log_lacks_it_halts),
        cmocka_unit_test(test_history_when_it_is_long_forgets_its_oldest_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
