// SPDX-License-Identifier: Apache-2.0
// Tests of restarts of the master: after a stop, after SIGKILL, from snapshots.
#include "master_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int snapshots_count(struct master_rig *rig)
{
    int count = 0;
    struct dirent *entry;
    DIR *directory = opendir(rig->directory);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        count += strncmp(entry->d_name, "snapshot.", 9) == 0;
    }
    closedir(directory);
    return count;
}

static void test_master_when_stopped_and_started_has_all_and_a_new_term(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply;
    uint64_t cluster_id = 0;
    char path[32];
    master_rig_init(&rig);
    for (uint64_t term = 1; term <= 4; term++) {
        master_rig_start(&rig);
        master_rig_connect(&rig, master_port(rig.master));
        master_rig_servers(&rig, &reply);
        assert_int_equal(reply.term, term);
        assert_true(cluster_id == 0 || reply.cluster_id == cluster_id);
        cluster_id = reply.cluster_id;
        for (uint64_t i = 1; i < term; i++) {
            snprintf(path, sizeof(path), "/file%d", (int)i);
            assert_int_equal(master_rig_stat(&rig, path), 0);
        }
        snprintf(path, sizeof(path), "/file%d", (int)term);
        assert_int_equal(master_rig_create_wait(&rig, path), 0);
        master_rig_disconnect(&rig);
        master_rig_stop(&rig);
    }
    master_rig_fini(&rig);
}

static void test_master_when_snapshots_are_taken_starts_from_them(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply;
    char path[32];
    master_rig_init(&rig);
    rig.config.snapshot_after_bytes = 4096;
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    master_rig_servers(&rig, &reply);
    uint64_t cluster_id = reply.cluster_id;
    int created = 0;
    for (; snapshots_count(&rig) < 2; created++) { // by themselves, as the log grows
        snprintf(path, sizeof(path), "/file%d", created);
        assert_int_equal(master_rig_create_wait(&rig, path), 0);
    }
    assert_true(created > 20);
    assert_int_equal(master_rig_create_wait(&rig, "/behind"), 0);
    master_rig_disconnect(&rig);
    master_rig_stop(&rig);
    master_rig_start(&rig);
    master_rig_connect(&rig, master_port(rig.master));
    for (int i = 0; i < created; i++) {
        snprintf(path, sizeof(path), "/file%d", i);
        assert_int_equal(master_rig_stat(&rig, path), 0);
    }
    assert_int_equal(master_rig_stat(&rig, "/behind"), 0);
    assert_int_equal(master_rig_stat(&rig, "/never"), PAWL_ENOTFOUND);
    master_rig_servers(&rig, &reply);
    assert_int_equal(reply.term, 2);
    assert_true(reply.cluster_id == cluster_id);
    master_rig_fini(&rig);
}

static void test_master_open_when_log_is_of_another_kind_refuses(void **state)
{
    (void)state;
    struct master_rig rig;
    char path[100];
    master_rig_init(&rig);
    snprintf(path, sizeof(path), "%s/log.%020d", rig.directory, 1);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "this is no log at all, but it is long enough", 44), 44);
    close(fd);
    assert_int_equal(master_rig_try_start(&rig), PAWL_EFORMAT);
    master_rig_fini(&rig);
}

// The child is the master; it tells its port through the pipe and is killed in the middle of creates.
static pid_t start_child(struct master_rig *rig, uint16_t *ret_port)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uv_loop_t loop;
        struct master *master;
        uv_loop_init(&loop);
        if (master_open(&loop, &rig->config, NULL, NULL, &master) != 0) {
            _exit(1);
        }
        uint16_t port = master_port(master);
        if (write(fds[1], &port, sizeof(port)) != sizeof(port)) {
            _exit(1);
        }
        uv_run(&loop, UV_RUN_DEFAULT);
        _exit(1);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], ret_port, sizeof(*ret_port)), sizeof(*ret_port));
    close(fds[0]);
    return child;
}

static void test_master_when_killed_has_all_that_was_acknowledged(void **state)
{
    (void)state;
    struct master_rig rig;
    struct rig_reply reply[400];
    char path[32];
    uint16_t port;
    master_rig_init(&rig);
    rig.config.snapshot_after_bytes = 8192;
    int acknowledged = 0;
    for (int round = 0; round < 4; round++) {
        memset(reply, 0, sizeof(reply));
        pid_t child = start_child(&rig, &port);
        master_rig_connect(&rig, port);
        for (int i = 0; i < 400; i++) {
            snprintf(path, sizeof(path), "/r%d-%d", round, i);
            master_rig_create(&rig, path, &reply[i]);
        }
        master_rig_run_until(&rig, reply[round * 100].ended == 1);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        master_rig_run_until(&rig, rig.client == NULL);
        child = start_child(&rig, &port);
        master_rig_connect(&rig, port);
        for (int i = 0; i < 400; i++) {
            if (reply[i].ok == 1) {
                snprintf(path, sizeof(path), "/r%d-%d", round, i);
                assert_int_equal(master_rig_stat(&rig, path), 0);
                acknowledged++;
            }
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        master_rig_run_until(&rig, rig.client == NULL);
    }
    assert_true(acknowledged >= 1 + 101 + 201 + 301);
    master_rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_master_when_killed_has_all_that_was_acknowledged), // forks: first
        cmocka_unit_test(test_master_when_stopped_and_started_has_all_and_a_new_term),
        cmocka_unit_test(test_master_when_snapshots_are_taken_starts_from_them),
        cmocka_unit_test(test_master_open_when_log_is_of_another_kind_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
