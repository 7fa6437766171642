// SPDX-License-Identifier: Apache-2.0
// Tests of cli/local: cluster.yaml, ids, and pids that may be stale.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "cli/local/local.h"

static char folder[] = "test-local-XXXXXX";
static struct local_cluster cluster;
static struct pawl_config_error error;

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static void write_file(const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"cluster.yaml", "cs1/pid", "cs1"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)remove(path);
    }
    return rmdir(folder);
}

static void test_load_when_no_file_then_not_found_and_said(void **state)
{
    (void)state;
    assert_int_equal(local_load("no-such-folder", &cluster, &error), PAWL_ENOTFOUND);
    assert_non_null(strstr(error.text, "no-such-folder/cluster.yaml"));
}

static void test_load_when_good_then_filled(void **state)
{
    (void)state;
    write_file("cluster.yaml", "master: 127.0.0.1:7400\nservers: 5\n");
    assert_int_equal(local_load(folder, &cluster, &error), 0);
    assert_string_equal(cluster.dir, folder);
    assert_string_equal(cluster.master, "127.0.0.1:7400");
    assert_string_equal(cluster.provider, "tcp");
    assert_int_equal(cluster.servers_count, 5);
}

static void test_load_when_bad_then_refused_and_said(void **state)
{
    (void)state;
    write_file("cluster.yaml", "master: 127.0.0.1:7400\nservers: 65\n");
    assert_int_equal(local_load(folder, &cluster, &error), PAWL_EINVALID);
    assert_non_null(strstr(error.text, "servers: 65, at most 64"));
    write_file("cluster.yaml", "master: 127.0.0.1:7400\nserver: 3\n");
    assert_int_equal(local_load(folder, &cluster, &error), PAWL_EINVALID);
    assert_non_null(strstr(error.text, "unknown key 'server'"));
}

static void test_ids_when_of_the_cluster_then_there_and_back(void **state)
{
    (void)state;
    char id[LOCAL_ID_MAX];
    cluster.servers_count = 3;
    for (uint32_t i = 0; i <= 3; i++) {
        local_id(i, id);
        assert_int_equal(local_number(&cluster, id), i);
    }
    assert_int_equal(local_number(&cluster, "cs4"), -1);
    assert_int_equal(local_number(&cluster, "cs"), -1);
}

static void test_pid_when_another_process_has_it_now_then_none(void **state)
{
    (void)state;
    char path[PATH_MAX];
    char text[64];
    snprintf(cluster.dir, sizeof cluster.dir, "%s", folder);
    snprintf(path, sizeof path, "%s/cs1", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(local_pid(&cluster, 1), 0); // no file
    snprintf(text, sizeof text, "%d 1\n",
             (int)getpid()); // of a process that began with the machine
    write_file("cs1/pid", text);
    assert_int_equal(local_pid(&cluster, 1), 0);
    write_file("cs1/pid", "not a pid\n");
    assert_int_equal(local_pid(&cluster, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_when_no_file_then_not_found_and_said),
        cmocka_unit_test(test_load_when_good_then_filled),
        cmocka_unit_test(test_load_when_bad_then_refused_and_said),
        cmocka_unit_test(test_ids_when_of_the_cluster_then_there_and_back),
        cmocka_unit_test(test_pid_when_another_process_has_it_now_then_none),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
