// SPDX-License-Identifier: Apache-2.0
// Tests of the namespace: paths, directories, listings, rename, remove.
#include "controlplane/core/master_core_private.h"
#include "master_harness.h"

static struct world world;

static void test_path_when_valid_is_normalised(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/", "/"},
        {"//", "/"},
        {"/a", "/a"},
        {"/a/", "/a"},
        {"//a///b//", "/a/b"},
        {"/./a/./b/.", "/a/b"},
        {"/..a/b..", "/..a/b.."},
        {"/\xc3\xa4/\xe2\x82\xac", "/\xc3\xa4/\xe2\x82\xac"},
        {"/a b", "/a b"},
    };
    char out[MASTER_PATH_MAX + 1];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        assert_int_equal(master_path_normalise(cases[i][0], out), 0);
        assert_string_equal(out, cases[i][1]);
    }
}

static void test_path_when_hostile_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",
        "a",
        "a/b",
        "/..",
        "/a/../b",
        "/a\nb",
        "/a\x1b[31m",
        "/a\x7f",
        "/\xff",
        "/\xc3",
        "/\xc0\xaf",
        "/\xed\xa0\x80",
        "/\xf5\x80\x80\x80",
        "/\xe2\x82",
        "/\x80",
    };
    char out[MASTER_PATH_MAX + 1];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        assert_int_equal(master_path_normalise(cases[i], out), PAWL_EINVALID);
    }
    assert_int_equal(master_path_normalise(NULL, out), PAWL_EINVALID);
}

static void test_path_when_at_its_limits_is_taken_and_beyond_refused(void **state)
{
    (void)state;
    char path[2 * MASTER_PATH_MAX];
    char out[MASTER_PATH_MAX + 1];
    path[0] = '/';
    memset(path + 1, 'n', MASTER_NAME_MAX + 1);
    path[1 + MASTER_NAME_MAX] = '\0';
    assert_int_equal(master_path_normalise(path, out), 0);
    path[1 + MASTER_NAME_MAX] = 'n';
    path[2 + MASTER_NAME_MAX] = '\0';
    assert_int_equal(master_path_normalise(path, out), PAWL_ELIMIT);
    for (size_t i = 0; i < sizeof(path); i++) {
        path[i] = i % 2 ? 'd' : '/';
    }
    path[MASTER_PATH_MAX] = '\0';
    assert_int_equal(master_path_normalise(path, out), 0);
    assert_int_equal(strlen(out), MASTER_PATH_MAX);
    path[MASTER_PATH_MAX] = '/';
    path[MASTER_PATH_MAX + 2] = '\0';
    assert_int_equal(master_path_normalise(path, out), PAWL_ELIMIT);
}

static void test_create_when_things_are_in_the_way_says_which(void **state)
{
    (void)state;
    world_init(&world, 0);
    assert_true(world_create(&world, "/f", 0, 0) > 1);
    assert_int_equal(world.reply->file->replicas, 3);
    assert_int_equal(world.reply->file->min_replicas, 2);
    assert_int_equal(world_create(&world, "/d/f", 0, 0), 0);
    assert_int_equal(world.reply->code, PAWL_ENOTFOUND);
    assert_int_equal(world_create(&world, "/f/g", 0, 0), 0);
    assert_int_equal(world.reply->code, PAWL_ENOTDIR);
    assert_int_equal(world_mkdir(&world, "/d"), 0);
    assert_int_equal(world_mkdir(&world, "/d"), PAWL_EEXISTS);
    assert_int_equal(world_mkdir(&world, "/f"), PAWL_EEXISTS);
    assert_int_equal(world_mkdir(&world, "/"), PAWL_EEXISTS);
    assert_int_equal(world_create(&world, "/d", 0, 0), 0);
    assert_int_equal(world.reply->code, PAWL_EISDIR);
    assert_int_equal(world_create(&world, "/", 0, 0), 0);
    assert_int_equal(world.reply->code, PAWL_EISDIR);
    world_fini(&world);
}

static void test_create_when_the_file_exists_returns_it_or_refuses(void **state)
{
    (void)state;
    world_init(&world, 0);
    uint64_t file = world_create(&world, "/f", 4, 1);
    size_t log_count = world.log_count;
    assert_int_equal(world_create(&world, "//f/", 2, 2), file);
    assert_int_equal(world.reply->file->replicas, 4); // as it is
    Pawl__Create create = PAWL__CREATE__INIT;
    create.path = (char *)"/f";
    create.exclusive = true;
    assert_int_equal(world_call(&world, WORLD_BODY(CREATE), &create)->code, PAWL_EEXISTS);
    assert_int_equal(world.log_count, log_count);
    world_fini(&world);
}

static void test_create_when_the_shape_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t replicas;
        uint32_t min_replicas;
        uint64_t chunk_bytes;
        int code;
    } cases[] = {
        {9, 0, 0, PAWL_EINVALID},
        {3, 4, 0, PAWL_EINVALID},
        {1, 2, 0, PAWL_EINVALID},
        {0, 0, 4096, PAWL_EINVALID},
        {0, 0, (1u << 30) + 4096u, PAWL_EINVALID},
        {0, 0, (1u << 20) + 1, PAWL_EINVALID},
        {8, 8, 1u << 30, 0},
        {1, 0, 64u << 10, 0},
        {UINT32_MAX, UINT32_MAX, UINT64_MAX, PAWL_EINVALID},
    };
    world_init(&world, 0);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        Pawl__Create create = PAWL__CREATE__INIT;
        char path[16];
        snprintf(path, sizeof(path), "/f%zu", i);
        create.path = path;
        create.replicas = cases[i].replicas;
        create.min_replicas = cases[i].min_replicas;
        create.chunk_bytes = cases[i].chunk_bytes;
        assert_int_equal(world_call(&world, WORLD_BODY(CREATE), &create)->code, cases[i].code);
    }
    world_fini(&world);
}

static void test_mkdir_when_parents_are_wanted_makes_them(void **state)
{
    (void)state;
    world_init(&world, 0);
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    mkdir.path = (char *)"/a/b/c";
    assert_int_equal(world_call(&world, WORLD_BODY(MKDIR), &mkdir)->code, PAWL_ENOTFOUND);
    mkdir.parents = true;
    assert_int_equal(world_call(&world, WORLD_BODY(MKDIR), &mkdir)->code, 0);
    assert_string_equal(world.reply->file->path, "/a/b/c");
    assert_int_equal(world_call(&world, WORLD_BODY(MKDIR), &mkdir)->code, 0);
    assert_int_equal(world_stat(&world, "/a/b"), 0);
    world_create(&world, "/f", 0, 0);
    mkdir.path = (char *)"/f/x";
    assert_int_equal(world_call(&world, WORLD_BODY(MKDIR), &mkdir)->code, PAWL_ENOTDIR);
    world_fini(&world);
}

static void test_list_when_paged_gives_every_name_once_in_order(void **state)
{
    (void)state;
    world_init(&world, 0);
    assert_int_equal(world_mkdir(&world, "/d"), 0);
    for (uint32_t i = 0; i < 700; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/d/n%03u", i * 331 % 700);
        assert_true(world_create(&world, path, 0, 0) != 0);
    }
    char after[16] = "";
    uint32_t seen = 0;
    for (bool more = true; more;) {
        Pawl__List list = PAWL__LIST__INIT;
        list.path = (char *)"/d";
        list.after = after;
        list.count = 97;
        const Pawl__Reply *reply = world_call(&world, WORLD_BODY(LIST), &list);
        assert_int_equal(reply->code, 0);
        for (size_t i = 0; i < reply->files->n_files; i++) {
            char name[16];
            char path[32];
            snprintf(name, sizeof(name), "n%03u", seen++);
            snprintf(path, sizeof(path), "/d/%s", name);
            assert_string_equal(reply->files->files[i]->name, name);
            assert_string_equal(reply->files->files[i]->path, path);
            strcpy(after, name);
        }
        more = reply->files->more;
    }
    assert_int_equal(seen, 700);
    world_fini(&world);
}

static void test_list_when_asked_for_too_much_gives_a_page(void **state)
{
    (void)state;
    world_init(&world, 0);
    for (uint32_t i = 0; i < 300; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/n%u", i);
        assert_true(world_create(&world, path, 0, 0) != 0);
    }
    Pawl__List list = PAWL__LIST__INIT;
    list.path = (char *)"/";
    assert_int_equal(world_call(&world, WORLD_BODY(LIST), &list)->files->n_files, 256);
    assert_true(world.reply->files->more);
    list.count = UINT32_MAX;
    assert_int_equal(world_call(&world, WORLD_BODY(LIST), &list)->files->n_files, 300);
    list.after = (char *)"zzz";
    assert_int_equal(world_call(&world, WORLD_BODY(LIST), &list)->files->n_files, 0);
    list.path = (char *)"/n1";
    assert_int_equal(world_call(&world, WORLD_BODY(LIST), &list)->code, PAWL_ENOTDIR);
    world_fini(&world);
}

static void test_rename_when_possible_moves_all_below(void **state)
{
    (void)state;
    world_init(&world, 0);
    world_mkdir(&world, "/a");
    world_mkdir(&world, "/a/b");
    world_mkdir(&world, "/t");
    uint64_t file = world_create(&world, "/a/b/f", 0, 0);
    assert_int_equal(world_rename(&world, "/a", "/t/z"), 0);
    assert_int_equal(world_stat(&world, "/a"), PAWL_ENOTFOUND);
    assert_int_equal(world_stat(&world, "/t/z/b/f"), 0);
    assert_int_equal(world.reply->file->file_id, file);
    assert_int_equal(world_rename(&world, "/t/z/b/f", "/t/z/b/f"), 0); // to itself: nothing
    world_fini(&world);
}

static void test_rename_when_impossible_says_why(void **state)
{
    (void)state;
    world_init(&world, 0);
    world_mkdir(&world, "/a");
    world_mkdir(&world, "/a/b");
    world_create(&world, "/f", 0, 0);
    world_create(&world, "/g", 0, 0);
    assert_int_equal(world_rename(&world, "/x", "/y"), PAWL_ENOTFOUND);
    assert_int_equal(world_rename(&world, "/f", "/g"), PAWL_EEXISTS);
    assert_int_equal(world_rename(&world, "/f", "/a"), PAWL_EEXISTS);
    assert_int_equal(world_rename(&world, "/a", "/a/b/c"), PAWL_EINVALID);
    assert_int_equal(world_rename(&world, "/", "/r"), PAWL_EINVALID);
    assert_int_equal(world_rename(&world, "/f", "/"), PAWL_EEXISTS);
    assert_int_equal(world_rename(&world, "/f", "/q/f"), PAWL_ENOTFOUND);
    assert_int_equal(world_rename(&world, "/f", "/g/f"), PAWL_ENOTDIR);
    assert_int_equal(world_rename(&world, "/f", "/../f"), PAWL_EINVALID);
    world_fini(&world);
}

static void test_rename_when_paths_below_grow_too_long_is_refused(void **state)
{
    (void)state;
    world_init(&world, 0);
    char path[MASTER_PATH_MAX + 1];
    for (size_t i = 0; i < MASTER_PATH_MAX - 10; i++) {
        path[i] = i % 2 ? 'd' : '/';
    }
    path[MASTER_PATH_MAX - 10] = '\0';
    Pawl__Mkdir mkdir = PAWL__MKDIR__INIT;
    mkdir.path = path;
    mkdir.parents = true;
    assert_int_equal(world_call(&world, WORLD_BODY(MKDIR), &mkdir)->code, 0);
    assert_int_equal(world_rename(&world, "/d", "/ddddddddddd"), 0); // 10 bytes longer: just fits
    assert_int_equal(world_rename(&world, "/ddddddddddd", "/dddddddddddd"), PAWL_ELIMIT);
    assert_int_equal(world_rename(&world, "/ddddddddddd", "/d"), 0);
    world_fini(&world);
}

static void test_remove_when_not_empty_needs_recursive(void **state)
{
    (void)state;
    world_init(&world, 0);
    world_mkdir(&world, "/a");
    world_mkdir(&world, "/a/b");
    world_create(&world, "/a/b/f", 0, 0);
    world_create(&world, "/a/z", 0, 0);
    world_create(&world, "/b", 0, 0);
    assert_int_equal(world_remove(&world, "/a", false), PAWL_ENOTEMPTY);
    assert_int_equal(world_remove(&world, "/", true), PAWL_EINVALID);
    assert_int_equal(world_remove(&world, "/none", true), PAWL_ENOTFOUND);
    assert_int_equal(world_remove(&world, "/a", true), 0);
    assert_int_equal(world_stat(&world, "/a"), PAWL_ENOTFOUND);
    assert_int_equal(world_stat(&world, "/b"), 0);
    assert_int_equal(world_remove(&world, "/b", false), 0);
    world_fini(&world);
}

static void test_stat_when_by_id_knows_what_was_deleted(void **state)
{
    (void)state;
    world_init(&world, 0);
    uint64_t file = world_create(&world, "/f", 0, 0);
    Pawl__Stat stat = PAWL__STAT__INIT;
    stat.file_id = file;
    assert_string_equal(world_call(&world, WORLD_BODY(STAT), &stat)->file->path, "/f");
    stat.file_id = file + 1;
    assert_int_equal(world_call(&world, WORLD_BODY(STAT), &stat)->code, PAWL_ENOTFOUND);
    stat.file_id = 0;
    assert_int_equal(world_call(&world, WORLD_BODY(STAT), &stat)->code, PAWL_ENOTFOUND);
    world_remove(&world, "/f", false);
    stat.file_id = file;
    assert_int_equal(world_call(&world, WORLD_BODY(STAT), &stat)->code, PAWL_EDELETED);
    assert_int_equal(world_tail(&world, file)->code, PAWL_EDELETED);
    assert_int_equal(world_tail(&world, 1)->code, PAWL_EISDIR);
    assert_int_equal(world_stat(&world, "/"), 0);
    assert_true(world.reply->file->directory);
    world_fini(&world);
}

// Against a list of names that is kept the simple way.
static void test_namespace_when_changed_at_random_agrees_with_a_list(void **state)
{
    (void)state;
    enum { NAMES = 60 };
    bool there[NAMES] = {0};
    struct pawl_random random;
    pawl_random_seed(&random, 7);
    world_init(&world, 0);
    for (int step = 0; step < 1500; step++) {
        uint64_t a = pawl_random_below(&random, NAMES);
        uint64_t b = pawl_random_below(&random, NAMES);
        char from[16];
        char to[16];
        snprintf(from, sizeof(from), "/%lu", a);
        snprintf(to, sizeof(to), "/%lu", b);
        switch (pawl_random_below(&random, 3)) {
        case 0:
            assert_int_equal(world_mkdir(&world, from), there[a] ? PAWL_EEXISTS : 0);
            there[a] = true;
            break;
        case 1:
            assert_int_equal(world_remove(&world, from, false), there[a] ? 0 : PAWL_ENOTFOUND);
            there[a] = false;
            break;
        default:
            assert_int_equal(world_rename(&world, from, to), !there[a]  ? PAWL_ENOTFOUND
                                                             : a == b   ? 0
                                                             : there[b] ? PAWL_EEXISTS
                                                                        : 0);
            if (there[a] && !there[b]) {
                there[a] = false;
                there[b] = true;
            }
            break;
        }
    }
    for (uint64_t i = 0; i < NAMES; i++) {
        char path[16];
        snprintf(path, sizeof(path), "/%lu", i);
        assert_int_equal(world_stat(&world, path), there[i] ? 0 : PAWL_ENOTFOUND);
    }
    world_fini(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path_when_valid_is_normalised),
        cmocka_unit_test(test_path_when_hostile_is_refused),
        cmocka_unit_test(test_path_when_at_its_limits_is_taken_and_beyond_refused),
        cmocka_unit_test(test_create_when_things_are_in_the_way_says_which),
        cmocka_unit_test(test_create_when_the_file_exists_returns_it_or_refuses),
        cmocka_unit_test(test_create_when_the_shape_is_wrong_is_refused),
        cmocka_unit_test(test_mkdir_when_parents_are_wanted_makes_them),
        cmocka_unit_test(test_list_when_paged_gives_every_name_once_in_order),
        cmocka_unit_test(test_list_when_asked_for_too_much_gives_a_page),
        cmocka_unit_test(test_rename_when_possible_moves_all_below),
        cmocka_unit_test(test_rename_when_impossible_says_why),
        cmocka_unit_test(test_rename_when_paths_below_grow_too_long_is_refused),
        cmocka_unit_test(test_remove_when_not_empty_needs_recursive),
        cmocka_unit_test(test_stat_when_by_id_knows_what_was_deleted),
        cmocka_unit_test(test_namespace_when_changed_at_random_agrees_with_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
