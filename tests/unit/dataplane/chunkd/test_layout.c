// SPDX-License-Identifier: Apache-2.0
// Tests of dataplane/chunkd/layout.c and ports.c: directories and ports of several reactors.
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <pawl/error.h>

#include "dataplane/chunkd/layout.h"
#include "dataplane/chunkd/ports.h"
#include "dataplane/store/store.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "layout-XXXXXX");
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

// What a reactor does with its directory.
static void store_make(const char *path, uint64_t server_id, uint64_t cluster_id)
{
    struct store_options options = {
        .dir = path, .journal_segment_bytes = 64 << 10, .journal_segments_count = 2};
    struct store *store = NULL;
    assert_int_equal(store_open(&options, &store), 0);
    if (server_id != 0) {
        assert_int_equal(store_identity_set(store, server_id, cluster_id), 0);
    }
    store_close(store);
}

static void part_make(const struct layout *layout, uint32_t reactor, uint64_t cluster_id)
{
    char path[PATH_MAX];
    assert_int_equal(layout_dir(layout, reactor, path), 0);
    store_make(path, layout->server_id, cluster_id);
}

static int try_open(uint32_t count)
{
    struct layout layout;
    int code = layout_open(dir, count, 0, &layout);
    if (code == 0) {
        layout_close(&layout);
    }
    return code;
}

static void test_layout_when_it_is_new_has_one_id_for_all_reactors(void **state)
{
    (void)state;
    struct layout layout;
    assert_int_equal(layout_peek(dir), 0);
    assert_int_equal(layout_open(dir, 3, 0, &layout), 0);
    uint64_t server_id = layout.server_id;
    assert_int_not_equal(server_id, 0);
    char path[PATH_MAX];
    assert_int_equal(layout_dir(&layout, 2, path), 0);
    assert_string_equal(path + strlen(dir), "/reactor-02");
    assert_int_equal(try_open(3), -EBUSY); // another process
    layout_close(&layout);
    assert_int_equal(layout_peek(dir), 3);
    assert_int_equal(layout_open(dir, 3, 0, &layout), 0);
    assert_true(layout.server_id == server_id);
    layout_close(&layout);
}

static void test_layout_when_there_is_one_reactor_is_its_store(void **state)
{
    (void)state;
    struct layout layout;
    char path[PATH_MAX];
    assert_int_equal(layout_open(dir, 1, 0, &layout), 0);
    assert_int_equal(layout_dir(&layout, 0, path), 0);
    assert_string_equal(path, dir);
    assert_int_equal(layout.server_id, 0); // the store's
    store_make(dir, 77, 0);
    layout_close(&layout);
    assert_int_equal(layout_peek(dir), 1);
    assert_int_equal(try_open(1), 0);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
    assert_int_equal(try_open(1), 0); // and nothing has changed
}

static void test_layout_when_the_number_differs_is_refused(void **state)
{
    (void)state;
    assert_int_equal(try_open(4), 0);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
    assert_int_equal(try_open(5), PAWL_EFORMAT);
    assert_int_equal(try_open(1), PAWL_EFORMAT);
    assert_int_equal(try_open(4), 0);
}

static void test_layout_when_it_crashed_between_two_stores_goes_on(void **state)
{
    (void)state;
    struct layout layout;
    assert_int_equal(layout_open(dir, 3, 0, &layout), 0);
    part_make(&layout, 0, 0);
    layout_close(&layout);
    assert_int_equal(layout_open(dir, 3, 0, &layout), 0);
    part_make(&layout, 1, 0);
    char path[PATH_MAX];
    assert_int_equal(layout_dir(&layout, 2, path), 0);
    store_make(path, 0, 0); // before it got the id
    layout_close(&layout);
    assert_int_equal(layout_open(dir, 3, 0, &layout), 0);
    part_make(&layout, 2, 0);
    part_make(&layout, 1, 0xc1); // the cluster is kept by one after the other
    layout_close(&layout);
    assert_int_equal(try_open(3), 0);
}

static void test_layout_when_a_store_of_a_member_is_missing_is_refused(void **state)
{
    (void)state;
    struct layout layout;
    assert_int_equal(layout_open(dir, 2, 0, &layout), 0);
    part_make(&layout, 0, 0xc1);
    layout_close(&layout);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
}

static void test_layout_when_a_store_is_of_another_server_is_refused(void **state)
{
    (void)state;
    struct layout layout;
    char path[PATH_MAX];
    assert_int_equal(layout_open(dir, 2, 0, &layout), 0);
    part_make(&layout, 0, 0);
    assert_int_equal(layout_dir(&layout, 1, path), 0);
    store_make(path, layout.server_id + 1, 0);
    layout_close(&layout);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
}

static void test_layout_when_a_store_is_of_another_cluster_is_refused(void **state)
{
    (void)state;
    struct layout layout;
    assert_int_equal(layout_open(dir, 2, 0, &layout), 0);
    part_make(&layout, 0, 0xc1);
    part_make(&layout, 1, 0xc2);
    layout_close(&layout);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
}

static void test_layout_when_its_file_is_damaged_or_lost_is_refused(void **state)
{
    (void)state;
    struct layout layout;
    char path[96];
    assert_int_equal(layout_open(dir, 2, 0, &layout), 0);
    part_make(&layout, 0, 0);
    layout_close(&layout);
    snprintf(path, sizeof(path), "%s/reactors", dir);
    for (off_t at = 0; at < 32; at++) {
        unsigned char byte;
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x04;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        assert_int_equal(try_open(2), PAWL_EFORMAT);
        assert_int_equal(try_open(1), PAWL_EFORMAT);
        byte ^= 0x04;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
    }
    assert_int_equal(try_open(2), 0);
    assert_int_equal(truncate(path, 31), 0);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(2), PAWL_EFORMAT);
}

// ---- ports --------------------------------------------------------------------------------------

static int bind_to(uint16_t port, bool reuse)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (reuse) {
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)), 0);
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -errno;
    }
    return fd;
}

static void test_ports_when_held_are_in_a_row_and_our_listeners(void **state)
{
    (void)state;
    struct ports ports;
    struct ports others;
    assert_int_equal(ports_hold("127.0.0.1", 5, &ports), 0);
    assert_int_equal(ports.count, 5);
    assert_int_equal(ports_hold("127.0.0.1", 5, &others), 0);
    assert_true(others.first + 5 <= ports.first || ports.first + 5 <= others.first);
    for (uint16_t i = 0; i < 5; i++) {
        assert_int_equal(bind_to((uint16_t)(ports.first + i), false), -EADDRINUSE);
        int fd = bind_to((uint16_t)(ports.first + i), true);
        assert_true(fd >= 0);
        assert_int_equal(listen(fd, 1), 0);
        close(fd);
    }
    ports_release(&ports);
    ports_release(&ports);
    ports_release(&others);
    assert_int_equal(ports_hold("no such host.", 2, &ports), -EINVAL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_layout_when_it_is_new_has_one_id_for_all_reactors),
        T(test_layout_when_there_is_one_reactor_is_its_store),
        T(test_layout_when_the_number_differs_is_refused),
        T(test_layout_when_it_crashed_between_two_stores_goes_on),
        T(test_layout_when_a_store_of_a_member_is_missing_is_refused),
        T(test_layout_when_a_store_is_of_another_server_is_refused),
        T(test_layout_when_a_store_is_of_another_cluster_is_refused),
        T(test_layout_when_its_file_is_damaged_or_lost_is_refused),
        cmocka_unit_test(test_ports_when_held_are_in_a_row_and_our_listeners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
