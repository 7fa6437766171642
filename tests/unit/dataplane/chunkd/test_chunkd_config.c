// SPDX-License-Identifier: Apache-2.0
// Tests of pawl-chunkd's configuration.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "dataplane/chunkd/chunkd_config.h"

static int parse(const char *text, struct chunkd_config *config, struct pawl_config_error *error)
{
    return chunkd_config_parse("c.yaml", text, strlen(text), config, error);
}

static void test_chunkd_config_when_minimal_has_defaults(void **state)
{
    (void)state;
    struct chunkd_config config;
    struct pawl_config_error error;
    assert_int_equal(parse("master: 127.0.0.1:7400\ndir: /var/pawl/cs7\n", &config, &error), 0);
    assert_string_equal(config.master_host, "127.0.0.1");
    assert_int_equal(config.master_port, 7400);
    assert_string_equal(config.directory, "/var/pawl/cs7");
    assert_string_equal(config.name, "cs7");
    assert_string_equal(config.location, "");
    assert_string_equal(config.fabrics[0].provider, "tcp");
    assert_string_equal(config.fabrics[0].host, "127.0.0.1");
    assert_int_equal(config.fabrics[0].port, 0);
    assert_int_equal(config.fabrics_count, 1);
    assert_int_equal(config.space_limit_bytes, 0);
    assert_int_equal(config.region_bytes, 256 << 20);
    assert_int_equal(config.log_level, PAWL_LOG_INFO);
    assert_null(config.address_file);
    chunkd_config_fini(&config);
}

static void test_chunkd_config_when_all_is_given_takes_it(void **state)
{
    (void)state;
    struct chunkd_config config;
    struct pawl_config_error error;
    assert_int_equal(parse("master: m.example.org:7400\ndir: /d\nname: one\nlocation: rack3\n"
                           "fabric: {provider: verbs, host: 10.0.0.2, port: 7500}\n"
                           "space_limit: 10GiB\nmemory: {region: 512MiB}\n"
                           "journal: {segment: 1MiB, segments: 8}\ninline_max: 4KiB\n"
                           "push: {route: auto, chain_min: 2MiB}\n"
                           "log_level: debug\nsecurity: none\naddress_file: /a\n",
                           &config, &error),
                     0);
    assert_string_equal(config.master_host, "m.example.org");
    assert_string_equal(config.name, "one");
    assert_string_equal(config.location, "rack3");
    assert_string_equal(config.fabrics[0].provider, "verbs");
    assert_string_equal(config.fabrics[0].host, "10.0.0.2");
    assert_int_equal(config.fabrics[0].port, 7500);
    assert_true(config.space_limit_bytes == UINT64_C(10) << 30);
    assert_int_equal(config.region_bytes, 512 << 20);
    assert_int_equal(config.journal_segment_bytes, 1 << 20);
    assert_int_equal(config.journal_segments_count, 8);
    assert_int_equal(config.inline_max_bytes, 4096);
    assert_int_equal(config.chain_bytes, 2 << 20);
    assert_int_equal(config.log_level, PAWL_LOG_DEBUG);
    assert_true(config.security_none);
    assert_string_equal(config.address_file, "/a");
    chunkd_config_fini(&config);
}

#define MINIMAL "master: 127.0.0.1:1\ndir: /d\n"

static void test_chunkd_config_when_a_route_is_given_takes_it_for_all_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t chain_bytes;
    } cases[] = {
        {MINIMAL, 256 << 10},
        {MINIMAL "push: {route: star}\n", 0},
        {MINIMAL "push: {route: star, chain_min: 1MiB}\n", 0},
        {MINIMAL "push: {route: chain, chain_min: 1MiB}\n", 1},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        struct chunkd_config config;
        struct pawl_config_error error;
        assert_int_equal(parse(cases[i].text, &config, &error), 0);
        assert_int_equal(config.chain_bytes, cases[i].chain_bytes);
        chunkd_config_fini(&config);
    }
}

static void test_chunkd_config_when_there_are_several_fabrics_keeps_their_order(void **state)
{
    (void)state;
    struct chunkd_config config;
    struct pawl_config_error error;
    assert_int_equal(parse("master: 127.0.0.1:7400\ndir: /d\nsecurity: none\nfabrics:\n"
                           "- {provider: verbs, host: 10.0.0.2, port: 7500}\n- host: 10.0.0.3\n",
                           &config, &error),
                     0);
    assert_int_equal(config.fabrics_count, 2);
    assert_string_equal(config.fabrics[0].provider, "verbs");
    assert_string_equal(config.fabrics[0].host, "10.0.0.2");
    assert_int_equal(config.fabrics[0].port, 7500);
    assert_string_equal(config.fabrics[1].provider, "tcp");
    assert_string_equal(config.fabrics[1].host, "10.0.0.3");
    assert_int_equal(config.fabrics[1].port, 0);
    chunkd_config_fini(&config);
}

static void test_chunkd_config_when_wrong_says_what(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *part;
    } cases[] = {
        {"dir: /d\n", "master"},
        {"master: 127.0.0.1:1\n", "dir"},
        {"master: nowhere\ndir: /d\n", "not host:port"},
        {"master: 127.0.0.1:0\ndir: /d\n", "not host:port"},
        {MINIMAL "fabric:\n  host: 0.0.0.0\n", "security: none"},
        {MINIMAL "fabric:\n  prot: 5\n", "c.yaml:4: unknown key 'prot'"},
        {MINIMAL "fabric:\n  port: 70000\n", "c.yaml:4:"},
        {MINIMAL "fabric: {port: 1}\nfabrics:\n- {port: 2}\n", "either fabric or fabrics"},
        {MINIMAL "fabrics:\n- {port: 1}\n- {provider: tcp}\n", "'tcp' twice"},
        {MINIMAL "fabrics:\n- {provider: verbs}\n- {host: 10.0.0.1}\n", "security: none"},
        {MINIMAL "fabrics: []\n", "c.yaml:3:"},
        {MINIMAL "fabrics: [{provider: a}, {provider: b}, {provider: c}, {provider: d}, "
                 "{provider: e}]\n",
         "c.yaml:3:"},
        {MINIMAL "fabrics: {provider: a}\n", "c.yaml:3:"},
        {MINIMAL "reactors: 0\n", "reactors '0'"},
        {MINIMAL "reactors: 65\n", "1 to 64"},
        {MINIMAL "reactors: -1\n", "1 to 64"},
        {MINIMAL "reactors: 2x\n", "1 to 64"},
        {MINIMAL "reactors: all\n", "or auto"},
        {MINIMAL "reactors: 99999999999\n", "c.yaml:3:"},
        {MINIMAL "pin: maybe\n", "c.yaml:3:"},
        {MINIMAL "reactors: 3\nmemory: {region: 256MiB}\n", "too small for 3 reactors"},
        {MINIMAL "reactors: 4\nfabric: {port: 65533}\n", "4 ports in a row"},
        {MINIMAL "space_limit: lots\n", "space_limit"},
        {MINIMAL "memory: {region: 1MiB}\n", "memory.region"},
        {MINIMAL "journal: {segment: 1KiB}\n", "journal.segment"},
        {MINIMAL "journal: {segments: 1}\n", "journal.segments"},
        {MINIMAL "journal: {segment: 512MiB}\n", "more than 1GiB"},
        {MINIMAL "inline_max: 1MiB\n", "inline_max"},
        {MINIMAL "push: {route: ring}\n", "ring"},
        {MINIMAL "push: {chain_min: 17MiB}\n", "push.chain_min"},
        {MINIMAL "security: some\n", "c.yaml:3:"},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        struct chunkd_config config;
        struct pawl_config_error error = {.text = ""};
        assert_int_equal(parse(cases[i].text, &config, &error), PAWL_EINVALID);
        if (strstr(error.text, cases[i].part) == NULL) {
            fail_msg("case %zu: '%s' lacks '%s'", i, error.text, cases[i].part);
        }
    }
}

static void test_chunkd_config_when_reactors_are_given_takes_them(void **state)
{
    (void)state;
    struct chunkd_config config;
    struct pawl_config_error error;
    assert_int_equal(parse(MINIMAL, &config, &error), 0);
    assert_int_equal(config.reactors_count, 1);
    assert_int_equal(config.pin, CHUNKD_PIN_AUTO);
    chunkd_config_fini(&config);
    assert_int_equal(
        parse(MINIMAL "reactors: 64\npin: false\nfabric: {port: 65472}\n", &config, &error), 0);
    assert_int_equal(config.reactors_count, 64);
    assert_int_equal(config.pin, CHUNKD_PIN_FALSE);
    assert_true(config.region_bytes == UINT64_C(64) * (256 << 20)); // of all of them
    chunkd_config_fini(&config);
    assert_int_equal(
        parse(MINIMAL "reactors: 2\nmemory: {region: 192MiB}\npin: true\n", &config, &error), 0);
    assert_true(config.region_bytes == UINT64_C(192) << 20);
    assert_int_equal(config.pin, CHUNKD_PIN_TRUE);
    chunkd_config_fini(&config);
}

static void test_chunkd_config_when_reactors_are_left_to_the_machine_checks_them_later(void **state)
{
    (void)state;
    struct chunkd_config config;
    struct pawl_config_error error;
    assert_int_equal(parse(MINIMAL "reactors: auto\n", &config, &error), 0);
    assert_int_equal(config.reactors_count, 0);
    assert_int_equal(chunkd_config_reactors("c", 8, &config, &error), 0);
    assert_int_equal(config.reactors_count, 8);
    assert_true(config.region_bytes == UINT64_C(8) * (256 << 20));
    chunkd_config_fini(&config);
    assert_int_equal(parse(MINIMAL "reactors: auto\nmemory: {region: 512MiB}\n", &config, &error),
                     0);
    assert_int_equal(chunkd_config_reactors("c", 8, &config, &error), PAWL_EINVALID);
    assert_non_null(strstr(error.text, "too small for 8 reactors"));
    chunkd_config_fini(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunkd_config_when_minimal_has_defaults),
        cmocka_unit_test(test_chunkd_config_when_all_is_given_takes_it),
        cmocka_unit_test(test_chunkd_config_when_a_route_is_given_takes_it_for_all_sizes),
        cmocka_unit_test(test_chunkd_config_when_there_are_several_fabrics_keeps_their_order),
        cmocka_unit_test(test_chunkd_config_when_reactors_are_given_takes_them),
        cmocka_unit_test(
            test_chunkd_config_when_reactors_are_left_to_the_machine_checks_them_later),
        cmocka_unit_test(test_chunkd_config_when_wrong_says_what),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
