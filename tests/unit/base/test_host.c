// SPDX-License-Identifier: Apache-2.0
// Tests of base/host.
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/host.h"
#include "base/util.h"

static void test_host_is_loopback_when_given_hosts_knows_them(void **state)
{
    (void)state;
    assert_true(pawl_host_is_loopback("127.0.0.1"));
    assert_true(pawl_host_is_loopback("127.1.2.3"));
    assert_true(pawl_host_is_loopback("::1"));
    assert_true(pawl_host_is_loopback("localhost"));
    static const char *const others[] = {
        "0.0.0.0", "128.0.0.1", "::", "10.0.0.1", "127.example.org", "localhost.example.org", ""};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(others); i++) {
        assert_false(pawl_host_is_loopback(others[i]));
    }
}

static void test_host_interface_when_an_address_is_ours_names_it(void **state)
{
    (void)state;
    char name[IF_NAMESIZE] = "";
    assert_int_equal(pawl_host_interface("127.0.0.1", name), 0);
    assert_int_not_equal(if_nametoindex(name), 0);
    assert_int_equal(pawl_host_interface("240.0.0.1", name), -ENODATA); // reserved
    assert_int_equal(pawl_host_interface("no such host.", name), -ENODATA);
    assert_int_equal(pawl_host_interface("", name), -ENODATA);
}

// The name that the kernel shows elsewhere.
static void test_host_congestion_when_asked_then_as_the_kernel_says(void **state)
{
    (void)state;
    char name[PAWL_CONGESTION_MAX];
    char line[64] = "";
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_congestion_control", "re");
    if (file == NULL) {
        skip();
    }
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    line[strcspn(line, "\n")] = '\0';
    assert_int_equal(pawl_host_congestion(NULL, 0, name), 0);
    assert_string_equal(name, line);
}

static void test_host_congestion_when_a_host_is_named_then_of_a_connection_to_it(void **state)
{
    (void)state;
    char name[PAWL_CONGESTION_MAX];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &bytes), 0);
    uint16_t port = ntohs(address.sin_port);
    assert_int_equal(pawl_host_congestion("127.0.0.1", port, name), -ECONNREFUSED);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(pawl_host_congestion("127.0.0.1", port, name), 0);
    assert_true(strlen(name) > 0);
    close(fd);
    assert_int_equal(pawl_host_congestion("no such host.", port, name), -ENODATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_interface_when_an_address_is_ours_names_it),
        cmocka_unit_test(test_host_congestion_when_asked_then_as_the_kernel_says),
        cmocka_unit_test(test_host_congestion_when_a_host_is_named_then_of_a_connection_to_it),
        cmocka_unit_test(test_host_is_loopback_when_given_hosts_knows_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
