// SPDX-License-Identifier: Apache-2.0
// Tests of pawl-master's configuration.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "controlplane/master/master_config.h"

static int parse(const char *text, struct master_config *config, struct pawl_config_error *error)
{
    return master_config_parse("m.yaml", text, strlen(text), config, error);
}

static void test_master_config_when_minimal_has_defaults(void **state)
{
    (void)state;
    struct master_config config;
    struct pawl_config_error error;
    assert_int_equal(parse("listen: 127.0.0.1:0\ndir: /d\n", &config, &error), 0);
    assert_string_equal(config.host, "127.0.0.1");
    assert_int_equal(config.port, 0);
    assert_string_equal(config.directory, "/d");
    assert_string_equal(config.name, "master");
    assert_int_equal(config.heartbeat_ms, 200);
    assert_int_equal(config.suspect_ms, 1000);
    assert_int_equal(config.dead_ms, 3000);
    assert_int_equal(config.lease_ms, 2000);
    assert_int_equal(config.log_level, PAWL_LOG_INFO);
    assert_int_equal(config.snapshot_after_bytes, 64 << 20);
    assert_null(config.port_file);
    master_config_fini(&config);
}

static void test_master_config_when_all_is_given_takes_it(void **state)
{
    (void)state;
    struct master_config config;
    struct pawl_config_error error;
    assert_int_equal(parse("listen: 10.0.0.1:7400\ndir: /d\nname: m1\nheartbeat_ms: 100\n"
                           "suspect_ms: 300\ndead_ms: 400\nlease_ms: 500\nlog_level: error\n"
                           "security: none\nport_file: /p\nsnapshot_after: 1MiB\n",
                           &config, &error),
                     0);
    assert_string_equal(config.host, "10.0.0.1");
    assert_int_equal(config.port, 7400);
    assert_string_equal(config.name, "m1");
    assert_int_equal(config.suspect_ms, 300);
    assert_int_equal(config.dead_ms, 400);
    assert_int_equal(config.lease_ms, 500);
    assert_int_equal(config.log_level, PAWL_LOG_ERROR);
    assert_true(config.security_none);
    assert_string_equal(config.port_file, "/p");
    assert_int_equal(config.snapshot_after_bytes, 1 << 20);
    master_config_fini(&config);
}

static void test_master_config_when_wrong_says_what(void **state)
{
    (void)state;
#define MINIMAL "listen: 127.0.0.1:1\ndir: /d\n"
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"dir: /d\n", "listen"},
        {"listen: 127.0.0.1:1\n", "dir"},
        {"listen: nonsense\ndir: /d\n", "not host:port"},
        {"listen: 0.0.0.0:1\ndir: /d\n", "security: none"},
        {"listen: host.example.org:1\ndir: /d\n", "security: none"},
        {MINIMAL "security: tls\n", "m.yaml:3:"},
        {MINIMAL "log_level: loud\n", "m.yaml:3:"},
        {MINIMAL "heartbeat: 3\n", "m.yaml:3: unknown key 'heartbeat'"},
        {MINIMAL "heartbeat_ms: 1\n", "heartbeat_ms"},
        {MINIMAL "suspect_ms: 399\n", "suspect_ms"},
        {MINIMAL "dead_ms: 1000\n", "dead_ms"},
        {MINIMAL "lease_ms: 599\n", "lease_ms"},
        {MINIMAL "snapshot_after: 1GB\n", "snapshot_after"},
        {MINIMAL "snapshot_after: 5\n", "snapshot_after"},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        struct master_config config;
        struct pawl_config_error error = {.text = ""};
        assert_int_equal(parse(cases[i].text, &config, &error), PAWL_EINVALID);
        if (strstr(error.text, cases[i].part) == NULL) {
            fail_msg("case %zu: '%s' lacks '%s'", i, error.text, cases[i].part);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_master_config_when_minimal_has_defaults),
        cmocka_unit_test(test_master_config_when_all_is_given_takes_it),
        cmocka_unit_test(test_master_config_when_wrong_says_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
