// SPDX-License-Identifier: Apache-2.0
// Configuration of pawl-master: schema, defaults, and what has to fit together.
#include "controlplane/master/master_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/host.h"
#include "controlplane/rpc/rpc.h"

enum security { SECURITY_UNSET = 0, SECURITY_NONE = 1 };

// As libcyaml fills it: zero is "not given".
struct master_yaml {
    char *listen;
    char *dir;
    char *name;
    uint32_t heartbeat_ms;
    uint32_t suspect_ms;
    uint32_t dead_ms;
    uint32_t lease_ms;
    uint32_t session_ms;
    uint32_t surplus_ms;
    enum pawl_log_level *log_level;
    enum security security;
    char *port_file;
    char *snapshot_after;
};

static const cyaml_strval_t log_levels[] = {
    {"error", PAWL_LOG_ERROR}, {"warn", PAWL_LOG_WARN},   {"info", PAWL_LOG_INFO},
    {"debug", PAWL_LOG_DEBUG}, {"trace", PAWL_LOG_TRACE},
};

static const cyaml_strval_t securities[] = {{"none", SECURITY_NONE}};

#define STRING (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_STRING_PTR("listen", CYAML_FLAG_POINTER, struct master_yaml, listen, 3, 255),
    CYAML_FIELD_STRING_PTR("dir", CYAML_FLAG_POINTER, struct master_yaml, dir, 1, 3000),
    CYAML_FIELD_STRING_PTR("name", STRING, struct master_yaml, name, 1, 64),
    CYAML_FIELD_UINT("heartbeat_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, heartbeat_ms),
    CYAML_FIELD_UINT("suspect_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, suspect_ms),
    CYAML_FIELD_UINT("dead_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, dead_ms),
    CYAML_FIELD_UINT("lease_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, lease_ms),
    CYAML_FIELD_UINT("session_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, session_ms),
    CYAML_FIELD_UINT("surplus_ms", CYAML_FLAG_OPTIONAL, struct master_yaml, surplus_ms),
    CYAML_FIELD_ENUM_PTR("log_level", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
                         struct master_yaml, log_level, log_levels, PAWL_ARRAY_COUNT(log_levels)),
    CYAML_FIELD_ENUM("security", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct master_yaml,
                     security, securities, PAWL_ARRAY_COUNT(securities)),
    CYAML_FIELD_STRING_PTR("port_file", STRING, struct master_yaml, port_file, 1, 3000),
    CYAML_FIELD_STRING_PTR("snapshot_after", STRING, struct master_yaml, snapshot_after, 1, 32),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct master_yaml, fields),
};

static uint32_t value_or(uint32_t value, uint32_t fallback)
{
    return value != 0 ? value : fallback;
}

static int check_times(const char *name, const struct master_config *config,
                       struct pawl_config_error *ret_error)
{
    if (config->heartbeat_ms < 10 || config->dead_ms > 3600000 || config->lease_ms > 3600000 ||
        config->surplus_ms > 86400000) {
        return pawl_config_refuse(
            ret_error, name,
            "heartbeat_ms must be at least 10, dead_ms and lease_ms at most an hour, surplus_ms at "
            "most a day");
    }
    if (config->suspect_ms < 2 * config->heartbeat_ms || config->dead_ms <= config->suspect_ms) {
        return pawl_config_refuse(
            ret_error, name,
            "heartbeat_ms %u, suspect_ms %u, dead_ms %u: suspect_ms must be at "
            "least two heartbeats, and dead_ms more than suspect_ms",
            config->heartbeat_ms, config->suspect_ms, config->dead_ms);
    }
    if (config->lease_ms < 3 * config->heartbeat_ms) {
        return pawl_config_refuse(ret_error, name,
                                  "lease_ms %u must be at least three times heartbeat_ms %u: "
                                  "heartbeats renew leases",
                                  config->lease_ms, config->heartbeat_ms);
    }
    if (config->session_ms < 1000 || config->session_ms > 7 * 86400000u) {
        return pawl_config_refuse(ret_error, name, "session_ms must be 1000 to a week");
    }
    return 0;
}

static int check_listen(const char *name, const struct master_yaml *yaml,
                        struct master_config *config, struct pawl_config_error *ret_error)
{
    if (rpc_address_parse(yaml->listen, config->host, sizeof(config->host), &config->port) != 0) {
        return pawl_config_refuse(ret_error, name, "listen '%s' is not host:port", yaml->listen);
    }
    config->security_none = yaml->security == SECURITY_NONE;
    if (!config->security_none && !pawl_host_is_loopback(config->host)) {
        return pawl_config_refuse(
            ret_error, name,
            "listen '%s' is not a loopback address, and there is no authentication "
            "yet: whoever reaches the port could read and delete everything. Say "
            "`security: none` if the network is trusted",
            yaml->listen);
    }
    return 0;
}

// The strings change hands: the struct of libcyaml is freed afterwards.
static char *take(char **string)
{
    char *taken = *string;
    *string = NULL;
    return taken;
}

static int config_fill(const char *name, struct master_yaml *yaml, struct master_config *config,
                       struct pawl_config_error *ret_error)
{
    config->heartbeat_ms = value_or(yaml->heartbeat_ms, 200);
    config->suspect_ms = value_or(yaml->suspect_ms, 5 * config->heartbeat_ms);
    config->dead_ms = value_or(yaml->dead_ms, 3 * config->suspect_ms);
    config->lease_ms = value_or(yaml->lease_ms, 10 * config->heartbeat_ms);
    config->session_ms = value_or(yaml->session_ms, 300000);
    config->surplus_ms = value_or(yaml->surplus_ms, 10000);
    config->log_level = yaml->log_level != NULL ? *yaml->log_level : PAWL_LOG_INFO;
    config->snapshot_after_bytes = UINT64_C(64) << 20;
    if (yaml->snapshot_after != NULL &&
        (pawl_config_bytes(yaml->snapshot_after, &config->snapshot_after_bytes) != 0 ||
         config->snapshot_after_bytes < 4096)) {
        return pawl_config_refuse(
            ret_error, name, "snapshot_after '%s' is not a size of at least 4KiB, such as 64MiB",
            yaml->snapshot_after);
    }
    int rc = check_listen(name, yaml, config, ret_error);
    if (rc == 0) {
        rc = check_times(name, config, ret_error);
    }
    if (rc != 0) {
        return rc;
    }
    config->directory = take(&yaml->dir);
    config->port_file = take(&yaml->port_file);
    config->name = yaml->name != NULL ? take(&yaml->name) : strdup("master");
    if (config->name == NULL) {
        (void)pawl_config_refuse(ret_error, name, "out of memory");
        return -ENOMEM;
    }
    return 0;
}

static int config_take(const char *name, struct master_yaml *yaml, struct master_config *ret_config,
                       struct pawl_config_error *ret_error)
{
    struct master_config config = {0};
    int rc = config_fill(name, yaml, &config, ret_error);
    pawl_config_free(&schema, yaml);
    if (rc != 0) {
        master_config_fini(&config);
        return rc;
    }
    *ret_config = config;
    return 0;
}

int master_config_parse(const char *name, const char *text, size_t bytes,
                        struct master_config *ret_config, struct pawl_config_error *ret_error)
{
    void *yaml;
    int rc = pawl_config_parse(name, text, bytes, &schema, &yaml, ret_error);
    return rc != 0 ? rc : config_take(name, yaml, ret_config, ret_error);
}

int master_config_load(const char *path, struct master_config *ret_config,
                       struct pawl_config_error *ret_error)
{
    void *yaml;
    int rc = pawl_config_load(path, &schema, &yaml, ret_error);
    return rc != 0 ? rc : config_take(path, yaml, ret_config, ret_error);
}

void master_config_fini(struct master_config *config)
{
    free(config->directory);
    free(config->name);
    free(config->port_file);
    *config = (struct master_config){0};
}
