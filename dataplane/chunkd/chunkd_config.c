// SPDX-License-Identifier: Apache-2.0
// Configuration of pawl-chunkd: schema, defaults, and what has to fit together.
#include "dataplane/chunkd/chunkd_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pawl/error.h>

#include "base/host.h"
#include "controlplane/rpc/rpc.h"
#include "dataplane/store/store.h"
#include "proto/reactor.h"
#include "proto/wire.h"

#define REGION_BYTES_MIN (UINT64_C(96) << 20)
#define REGION_BYTES_DEFAULT (UINT64_C(256) << 20)

#define CHAIN_BYTES_DEFAULT (UINT64_C(256) << 10)

enum security { SECURITY_UNSET = 0, SECURITY_NONE = 1 };
enum route { ROUTE_UNSET = 0, ROUTE_AUTO, ROUTE_STAR, ROUTE_CHAIN };

// As libcyaml fills it: zero is "not given".
struct fabric_yaml {
    char *provider;
    char *host;
    uint16_t port;
};

struct memory_yaml {
    char *region;
};

struct journal_yaml {
    char *segment;
    uint32_t segments;
};

struct push_yaml {
    enum route route;
    char *chain_min;
};

struct chunkd_yaml {
    char *master;
    char *dir;
    char *name;
    char *location;
    struct fabric_yaml *fabric;
    struct fabric_yaml *fabrics;
    unsigned fabrics_count;
    char *reactors;
    enum chunkd_pin pin;
    char *space_limit;
    struct memory_yaml memory;
    struct journal_yaml journal;
    struct push_yaml push;
    char *inline_max;
    enum pawl_log_level *log_level;
    enum security security;
    char *address_file;
};

static const cyaml_strval_t log_levels[] = {
    {"error", PAWL_LOG_ERROR}, {"warn", PAWL_LOG_WARN},   {"info", PAWL_LOG_INFO},
    {"debug", PAWL_LOG_DEBUG}, {"trace", PAWL_LOG_TRACE},
};

static const cyaml_strval_t routes[] = {
    {"auto", ROUTE_AUTO}, {"star", ROUTE_STAR}, {"chain", ROUTE_CHAIN}};
static const cyaml_strval_t pins[] = {
    {"auto", CHUNKD_PIN_AUTO}, {"true", CHUNKD_PIN_TRUE}, {"false", CHUNKD_PIN_FALSE}};

static const cyaml_strval_t securities[] = {{"none", SECURITY_NONE}};

#define STRING (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)

static const cyaml_schema_field_t fabric_fields[] = {
    CYAML_FIELD_STRING_PTR("provider", STRING, struct fabric_yaml, provider, 1, 64),
    CYAML_FIELD_STRING_PTR("host", STRING, struct fabric_yaml, host, 1, 255),
    CYAML_FIELD_UINT("port", CYAML_FLAG_OPTIONAL, struct fabric_yaml, port),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t fabric_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct fabric_yaml, fabric_fields),
};

static const cyaml_schema_field_t memory_fields[] = {
    CYAML_FIELD_STRING_PTR("region", STRING, struct memory_yaml, region, 1, 32),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t journal_fields[] = {
    CYAML_FIELD_STRING_PTR("segment", STRING, struct journal_yaml, segment, 1, 32),
    CYAML_FIELD_UINT("segments", CYAML_FLAG_OPTIONAL, struct journal_yaml, segments),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t push_fields[] = {
    CYAML_FIELD_ENUM("route", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct push_yaml, route,
                     routes, PAWL_ARRAY_COUNT(routes)),
    CYAML_FIELD_STRING_PTR("chain_min", STRING, struct push_yaml, chain_min, 1, 32),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_STRING_PTR("master", CYAML_FLAG_POINTER, struct chunkd_yaml, master, 3, 255),
    CYAML_FIELD_STRING_PTR("dir", CYAML_FLAG_POINTER, struct chunkd_yaml, dir, 1, 3000),
    CYAML_FIELD_STRING_PTR("name", STRING, struct chunkd_yaml, name, 1, 64),
    CYAML_FIELD_STRING_PTR("location", STRING, struct chunkd_yaml, location, 1, 255),
    CYAML_FIELD_MAPPING_PTR("fabric", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct chunkd_yaml,
                            fabric, fabric_fields),
    CYAML_FIELD_SEQUENCE("fabrics", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct chunkd_yaml,
                         fabrics, &fabric_value, 1, PAWL_ADDRESSES_MAX),
    CYAML_FIELD_STRING_PTR("reactors", STRING, struct chunkd_yaml, reactors, 1, 8),
    CYAML_FIELD_ENUM("pin", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct chunkd_yaml, pin, pins,
                     PAWL_ARRAY_COUNT(pins)),
    CYAML_FIELD_STRING_PTR("space_limit", STRING, struct chunkd_yaml, space_limit, 1, 32),
    CYAML_FIELD_MAPPING("memory", CYAML_FLAG_OPTIONAL, struct chunkd_yaml, memory, memory_fields),
    CYAML_FIELD_MAPPING("journal", CYAML_FLAG_OPTIONAL, struct chunkd_yaml, journal,
                        journal_fields),
    CYAML_FIELD_MAPPING("push", CYAML_FLAG_OPTIONAL, struct chunkd_yaml, push, push_fields),
    CYAML_FIELD_STRING_PTR("inline_max", STRING, struct chunkd_yaml, inline_max, 1, 32),
    CYAML_FIELD_ENUM_PTR("log_level", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT,
                         struct chunkd_yaml, log_level, log_levels, PAWL_ARRAY_COUNT(log_levels)),
    CYAML_FIELD_ENUM("security", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct chunkd_yaml,
                     security, securities, PAWL_ARRAY_COUNT(securities)),
    CYAML_FIELD_STRING_PTR("address_file", STRING, struct chunkd_yaml, address_file, 1, 3000),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct chunkd_yaml, fields),
};

// A size that was given lies between min and max; one that was not leaves *ret_bytes alone.
struct size_rule {
    const char *key;
    const char *text;
    uint64_t min;
    uint64_t max;
};

static int take_size(const char *name, const struct size_rule *rule, uint64_t *ret_bytes,
                     struct pawl_config_error *ret_error)
{
    uint64_t bytes;
    if (rule->text == NULL) {
        return 0;
    }
    if (pawl_config_bytes(rule->text, &bytes) != 0) {
        return pawl_config_refuse(ret_error, name, "%s '%s' is not a size, such as 64MiB",
                                  rule->key, rule->text);
    }
    if (bytes < rule->min || bytes > rule->max) {
        return pawl_config_refuse(ret_error, name, "%s '%s' is not between %llu and %llu bytes",
                                  rule->key, rule->text, (unsigned long long)rule->min,
                                  (unsigned long long)rule->max);
    }
    *ret_bytes = bytes;
    return 0;
}

static int fill_sizes(const char *name, const struct chunkd_yaml *yaml,
                      struct chunkd_config *config, struct pawl_config_error *ret_error)
{
    uint64_t segment_bytes = 0, inline_bytes = 0, chain_bytes = CHAIN_BYTES_DEFAULT;
    const struct size_rule rules[] = {
        {"space_limit", yaml->space_limit, 0, UINT64_MAX},
        {"memory.region", yaml->memory.region, REGION_BYTES_MIN, UINT64_C(1) << 40},
        {"journal.segment", yaml->journal.segment, 64 << 10, UINT64_C(1) << 30},
        {"inline_max", yaml->inline_max, 512, 64 << 10},
        {"push.chain_min", yaml->push.chain_min, 1, WIRE_RECORD_MAX},
    };
    uint64_t *const places[] = {&config->space_limit_bytes, &config->region_bytes, &segment_bytes,
                                &inline_bytes, &chain_bytes};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(rules); i++) {
        int rc = take_size(name, &rules[i], places[i], ret_error);
        if (rc != 0) {
            return rc;
        }
    }
    config->journal_segment_bytes = (uint32_t)segment_bytes;
    config->inline_max_bytes = (uint32_t)inline_bytes;
    config->chain_bytes = (uint32_t)chain_bytes;
    if (yaml->push.route == ROUTE_STAR || yaml->push.route == ROUTE_CHAIN) {
        config->chain_bytes = yaml->push.route == ROUTE_CHAIN;
    }
    config->journal_segments_count = yaml->journal.segments;
    if (config->journal_segments_count == 1 || config->journal_segments_count > 256) {
        return pawl_config_refuse(ret_error, name, "journal.segments %u is not between 2 and 256",
                                  config->journal_segments_count);
    }
    uint64_t journal_bytes = (segment_bytes != 0 ? segment_bytes : STORE_JOURNAL_SEGMENT_BYTES) *
                             (config->journal_segments_count != 0 ? config->journal_segments_count
                                                                  : STORE_JOURNAL_SEGMENTS);
    if (journal_bytes > STORE_JOURNAL_BYTES_MAX) {
        return pawl_config_refuse(ret_error, name,
                                  "journal.segments times journal.segment is more than 1GiB: each "
                                  "reactor keeps its journal in memory");
    }
    return 0;
}

static int check_master(const char *name, const struct chunkd_yaml *yaml,
                        struct chunkd_config *config, struct pawl_config_error *ret_error)
{
    if (rpc_address_parse(yaml->master, config->master_host, sizeof(config->master_host),
                          &config->master_port) != 0 ||
        config->master_port == 0) {
        return pawl_config_refuse(ret_error, name, "master '%s' is not host:port", yaml->master);
    }
    return 0;
}

static int check_fabric(const char *name, const struct chunkd_config *config, uint32_t number,
                        struct pawl_config_error *ret_error)
{
    const struct chunkd_config_fabric *fabric = &config->fabrics[number];
    for (uint32_t i = 0; i < number; i++) {
        if (strcmp(config->fabrics[i].provider, fabric->provider) == 0) {
            return pawl_config_refuse(ret_error, name,
                                      "fabrics has provider '%s' twice: peers choose an address by "
                                      "its provider, and would never use the second one",
                                      fabric->provider);
        }
    }
    if (!config->security_none && !pawl_host_is_loopback(fabric->host)) {
        return pawl_config_refuse(
            ret_error, name,
            "fabric.host '%s' is not a loopback address, and there is no "
            "authentication yet: whoever reaches the port could read and change "
            "every chunk. Say `security: none` if the network is trusted",
            fabric->host);
    }
    return 0;
}

// The strings change hands: the struct of libcyaml is freed afterwards.
static char *take_or(char **string, const char *fallback)
{
    char *taken = *string;
    *string = NULL;
    return taken != NULL ? taken : strdup(fallback);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

static int take_fabric(struct fabric_yaml *yaml, struct chunkd_config *config)
{
    struct chunkd_config_fabric *fabric = &config->fabrics[config->fabrics_count++];
    fabric->provider = take_or(&yaml->provider, "tcp");
    fabric->host = take_or(&yaml->host, "127.0.0.1");
    fabric->port = yaml->port;
    return fabric->provider == NULL || fabric->host == NULL ? -ENOMEM : 0;
}

static int fill_fabrics(const char *name, struct chunkd_yaml *yaml, struct chunkd_config *config,
                        struct pawl_config_error *ret_error)
{
    struct fabric_yaml nothing = {0};
    if (yaml->fabric != NULL && yaml->fabrics_count != 0) {
        return pawl_config_refuse(ret_error, name, "give either fabric or fabrics, not both");
    }
    struct fabric_yaml *from = yaml->fabrics;
    uint32_t count = yaml->fabrics_count;
    if (count == 0) {
        from = yaml->fabric != NULL ? yaml->fabric : &nothing;
        count = 1;
    }
    config->security_none = yaml->security == SECURITY_NONE;
    for (uint32_t i = 0; i < count; i++) {
        if (take_fabric(&from[i], config) != 0) {
            (void)pawl_config_refuse(ret_error, name, "out of memory");
            return -ENOMEM;
        }
        int rc = check_fabric(name, config, i, ret_error);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static int fill_reactors(const char *name, const struct chunkd_yaml *yaml,
                         struct chunkd_config *config, struct pawl_config_error *ret_error)
{
    config->pin = yaml->pin;
    config->reactors_count = 1;
    if (yaml->reactors == NULL) {
        return 0;
    }
    if (strcmp(yaml->reactors, "auto") == 0) {
        config->reactors_count = 0;
        return 0;
    }
    char *end;
    unsigned long count = strtoul(yaml->reactors, &end, 10);
    if (yaml->reactors[0] < '0' || yaml->reactors[0] > '9' || *end != '\0' || count == 0 ||
        count > REACTORS_MAX) {
        return pawl_config_refuse(ret_error, name, "reactors '%s' is not 1 to %u, or auto",
                                  yaml->reactors, REACTORS_MAX);
    }
    config->reactors_count = (uint32_t)count;
    return 0;
}

int chunkd_config_reactors(const char *name, uint32_t reactors_count, struct chunkd_config *config,
                           struct pawl_config_error *ret_error)
{
    config->reactors_count = reactors_count;
    if (config->region_bytes == 0) {
        config->region_bytes = REGION_BYTES_DEFAULT * reactors_count;
    }
    if (config->region_bytes / reactors_count < REGION_BYTES_MIN) {
        return pawl_config_refuse(ret_error, name,
                                  "memory.region of %llu bytes is too small for %u reactors: each "
                                  "needs at least %llu",
                                  (unsigned long long)config->region_bytes, reactors_count,
                                  (unsigned long long)REGION_BYTES_MIN);
    }
    for (uint32_t i = 0; i < config->fabrics_count; i++) {
        if (config->fabrics[i].port != 0 &&
            config->fabrics[i].port + reactors_count - 1 > UINT16_MAX) {
            return pawl_config_refuse(ret_error, name,
                                      "port %u leaves no room for %u ports in a row",
                                      config->fabrics[i].port, reactors_count);
        }
    }
    return 0;
}

static int config_fill(const char *name, struct chunkd_yaml *yaml, struct chunkd_config *config,
                       struct pawl_config_error *ret_error)
{
    int rc = check_master(name, yaml, config, ret_error);
    if (rc == 0) {
        rc = fill_fabrics(name, yaml, config, ret_error);
    }
    if (rc == 0) {
        rc = fill_sizes(name, yaml, config, ret_error);
    }
    if (rc == 0) {
        rc = fill_reactors(name, yaml, config, ret_error);
    }
    if (rc == 0 && config->reactors_count != 0) {
        rc = chunkd_config_reactors(name, config->reactors_count, config, ret_error);
    }
    if (rc != 0) {
        return rc;
    }
    config->log_level = yaml->log_level != NULL ? *yaml->log_level : PAWL_LOG_INFO;
    config->name = take_or(&yaml->name, last_part(yaml->dir));
    config->directory = take_or(&yaml->dir, "");
    config->location = take_or(&yaml->location, "");
    config->address_file = yaml->address_file;
    yaml->address_file = NULL;
    if (config->directory == NULL || config->name == NULL || config->location == NULL) {
        (void)pawl_config_refuse(ret_error, name, "out of memory");
        return -ENOMEM;
    }
    return 0;
}

static int config_take(const char *name, struct chunkd_yaml *yaml, struct chunkd_config *ret_config,
                       struct pawl_config_error *ret_error)
{
    struct chunkd_config config = {0};
    int rc = config_fill(name, yaml, &config, ret_error);
    pawl_config_free(&schema, yaml);
    if (rc != 0) {
        chunkd_config_fini(&config);
        return rc;
    }
    *ret_config = config;
    return 0;
}

int chunkd_config_parse(const char *name, const char *text, size_t bytes,
                        struct chunkd_config *ret_config, struct pawl_config_error *ret_error)
{
    void *yaml;
    int rc = pawl_config_parse(name, text, bytes, &schema, &yaml, ret_error);
    return rc != 0 ? rc : config_take(name, yaml, ret_config, ret_error);
}

int chunkd_config_load(const char *path, struct chunkd_config *ret_config,
                       struct pawl_config_error *ret_error)
{
    void *yaml;
    int rc = pawl_config_load(path, &schema, &yaml, ret_error);
    return rc != 0 ? rc : config_take(path, yaml, ret_config, ret_error);
}

void chunkd_config_fini(struct chunkd_config *config)
{
    free(config->directory);
    free(config->name);
    free(config->location);
    for (uint32_t i = 0; i < config->fabrics_count; i++) {
        free(config->fabrics[i].provider);
        free(config->fabrics[i].host);
    }
    free(config->address_file);
    *config = (struct chunkd_config){0};
}
