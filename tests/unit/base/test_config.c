// SPDX-License-Identifier: Apache-2.0
// Tests of configuration files: every error names its line.
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <pawl/error.h>

#include "base/config.h"

struct inner {
    char *provider;
    uint32_t port;
};

struct outer {
    char *directory;
    uint32_t heartbeat_ms;
    bool loud;
    struct inner *fabric;
};

static const cyaml_schema_field_t inner_fields[] = {
    CYAML_FIELD_STRING_PTR("provider", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct inner,
                           provider, 1, 32),
    CYAML_FIELD_UINT("port", CYAML_FLAG_OPTIONAL, struct inner, port),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t outer_fields[] = {
    CYAML_FIELD_STRING_PTR("dir", CYAML_FLAG_POINTER, struct outer, directory, 1, 100),
    CYAML_FIELD_UINT("heartbeat_ms", CYAML_FLAG_OPTIONAL, struct outer, heartbeat_ms),
    CYAML_FIELD_BOOL("loud", CYAML_FLAG_OPTIONAL, struct outer, loud),
    CYAML_FIELD_MAPPING_PTR("fabric", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct outer,
                            fabric, inner_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct outer, outer_fields),
};

static void test_config_parse_when_right_gives_the_values(void **state)
{
    (void)state;
    static const char text[] = "# a comment\n"
                               "dir: /var/lib/pawl\n"
                               "heartbeat_ms: 250\n"
                               "loud: yes\n"
                               "fabric:\n"
                               "  provider: tcp\n"
                               "  port: 7000\n";
    struct pawl_config_error error;
    void *data;
    assert_int_equal(pawl_config_parse("t", text, strlen(text), &schema, &data, &error), 0);
    struct outer *outer = data;
    assert_string_equal(outer->directory, "/var/lib/pawl");
    assert_int_equal(outer->heartbeat_ms, 250);
    assert_true(outer->loud);
    assert_string_equal(outer->fabric->provider, "tcp");
    assert_int_equal(outer->fabric->port, 7000);
    pawl_config_free(&schema, data);
    pawl_config_free(&schema, NULL);
}

static void test_config_parse_when_wrong_names_line_and_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"dir: x\n\nlisen: 1\n", "t:3: unknown key 'lisen'"},
        {"dir: x\nfabric:\n  port: 1\n  prot: 2\n", "t:4: unknown key 'prot'"},
        {"dir: x\nfabric: {port: 1, zap: 2}\n", "t:2: unknown key 'zap'"},
        {"dir: x\n\"odd\": 1\n", "t:2: unknown key 'odd'"},
        {"dir: x\nheartbeat_ms: soon\n", "t:2: invalid"},
        {"dir: x\nheartbeat_ms: -1\n", "t:2: invalid"},
        {"dir: x\nheartbeat_ms: 99999999999\n", "t:2: invalid"},
        {"dir: x\nfabric:\n  port: [1]\n", "t:3: expecting UINT"},
        {"dir: x\nfabric: 7\n", "t:2: expecting MAPPING"},
        {"heartbeat_ms: 3\n", "t:1: missing required mapping field: dir"},
        {"dir: x\n\ndir: y\n", "t:3: key 'dir' stands twice"},
        {"dir: x\n  bad: : y\n", "t:2: "},
        {"dir: x\n\tloud: yes\n", "t:2: "},
        {"dir: &a x\nfabric: *a\n", "t:2: aliases"},
        {"dir: x\n---\ndir: y\n", "t:2: only one document"},
        {"- 1\n", "t:1: expecting MAPPING"},
        {"dir: \"\"\n", "t:1: STRING length < 1"},
        {"", "t: is empty"},
        {"# nothing\n", "t: is empty"},
        {"null\n", "t:1: expecting MAPPING"},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(cases); i++) {
        struct pawl_config_error error = {.text = ""};
        void *data = NULL;
        int rc =
            pawl_config_parse("t", cases[i].text, strlen(cases[i].text), &schema, &data, &error);
        if (rc != PAWL_EINVALID ||
            strncmp(error.text, cases[i].message, strlen(cases[i].message)) != 0) {
            fail_msg("case %zu: %d '%s' instead of '%s'", i, rc, error.text, cases[i].message);
        }
        assert_null(data);
        assert_null(strchr(error.text, '\n'));
    }
}

static void test_config_load_when_file_is_there_or_not(void **state)
{
    (void)state;
    char path[] = "/tmp/pawl-config-XXXXXX";
    struct pawl_config_error error;
    void *data;
    assert_int_equal(pawl_config_load("/nonexistent/x.yaml", &schema, &data, &error), -ENOENT);
    assert_non_null(strstr(error.text, "/nonexistent/x.yaml"));
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "dir: a\n", 7), 7);
    assert_int_equal(pawl_config_load(path, &schema, &data, &error), 0);
    pawl_config_free(&schema, data);
    // Too large: mostly comment.
    char *comment = malloc(PAWL_CONFIG_BYTES_MAX);
    memset(comment, '#', PAWL_CONFIG_BYTES_MAX);
    assert_int_equal(write(fd, comment, PAWL_CONFIG_BYTES_MAX), PAWL_CONFIG_BYTES_MAX);
    free(comment);
    assert_int_equal(pawl_config_load(path, &schema, &data, &error), PAWL_EINVALID);
    assert_non_null(strstr(error.text, "larger"));
    close(fd);
    unlink(path);
}

static void test_config_bytes_when_given_units_understands_them(void **state)
{
    (void)state;
    uint64_t value;
    static const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {
        {"0", 0},
        {"512", 512},
        {"64B", 64},
        {"4KiB", 4096},
        {"64 MiB", UINT64_C(64) << 20},
        {"10GiB", UINT64_C(10) << 30},
        {"2TiB", UINT64_C(2) << 40},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(right); i++) {
        assert_int_equal(pawl_config_bytes(right[i].text, &value), 0);
        assert_true(value == right[i].bytes);
    }
    static const char *const wrong[] = {
        "",           "MiB", "-1",  "1.5GiB", "1MB",
        "1mib",       " 1",  "1 x", "1KiBx",  "18446744073709551616",
        "17000000TiB"};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(wrong); i++) {
        assert_int_equal(pawl_config_bytes(wrong[i], &value), PAWL_EINVALID);
    }
}

static void test_config_ms_when_given_units_understands_them(void **state)
{
    (void)state;
    uint64_t value;
    assert_int_equal(pawl_config_ms("500ms", &value), 0);
    assert_int_equal(value, 500);
    assert_int_equal(pawl_config_ms("2 s", &value), 0);
    assert_int_equal(value, 2000);
    assert_int_equal(pawl_config_ms("3min", &value), 0);
    assert_int_equal(value, 180000);
    assert_int_equal(pawl_config_ms("1h", &value), 0);
    assert_int_equal(value, 3600000);
    assert_int_equal(pawl_config_ms("5", &value), PAWL_EINVALID); // five of what?
    assert_int_equal(pawl_config_ms("5 m", &value), PAWL_EINVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_parse_when_right_gives_the_values),
        cmocka_unit_test(test_config_parse_when_wrong_names_line_and_reason),
        cmocka_unit_test(test_config_load_when_file_is_there_or_not),
        cmocka_unit_test(test_config_bytes_when_given_units_understands_them),
        cmocka_unit_test(test_config_ms_when_given_units_understands_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
