// SPDX-License-Identifier: Apache-2.0
// Fuzz harness: any bytes as a configuration file give a value or one line of refusal.
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/config.h"
#include "base/host.h"
#include "controlplane/master/master_config.h"
#include "dataplane/chunkd/chunkd_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inner {
    char *text;
    uint32_t number;
    bool flag;
};

struct outer {
    char *text;
    int32_t number;
    struct inner *inner;
};

static const cyaml_schema_field_t inner_fields[] = {
    CYAML_FIELD_STRING_PTR("text", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct inner, text, 0,
                           64),
    CYAML_FIELD_UINT("number", CYAML_FLAG_OPTIONAL, struct inner, number),
    CYAML_FIELD_BOOL("flag", CYAML_FLAG_OPTIONAL, struct inner, flag),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t outer_fields[] = {
    CYAML_FIELD_STRING_PTR("text", CYAML_FLAG_POINTER, struct outer, text, 1, 64),
    CYAML_FIELD_INT("number", CYAML_FLAG_OPTIONAL, struct outer, number),
    CYAML_FIELD_MAPPING_PTR("inner", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct outer, inner,
                            inner_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct outer, outer_fields),
};

// The schemas of the daemons, and the checks behind them.
static void parse_daemons(const char *text, size_t size)
{
    struct pawl_config_error error = {.text = ""};
    struct master_config master;
    struct chunkd_config chunkd;
    if (master_config_parse("fuzz", text, size, &master, &error) == 0) {
        pawl_assert(master.directory != NULL && master.lease_ms >= master.heartbeat_ms);
        pawl_assert(master.security_none || pawl_host_is_loopback(master.host));
        master_config_fini(&master);
    }
    if (chunkd_config_parse("fuzz", text, size, &chunkd, &error) == 0) {
        pawl_assert(chunkd.directory != NULL && chunkd.region_bytes != 0);
        pawl_assert(chunkd.fabrics_count >= 1 && chunkd.fabrics_count <= PAWL_ADDRESSES_MAX);
        for (uint32_t i = 0; i < chunkd.fabrics_count; i++) {
            pawl_assert(chunkd.security_none || pawl_host_is_loopback(chunkd.fabrics[i].host));
        }
        chunkd_config_fini(&chunkd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse_daemons((const char *)data, size);
    struct pawl_config_error error = {.text = ""};
    void *value = NULL;
    if (pawl_config_parse("fuzz", (const char *)data, size, &schema, &value, &error) == 0) {
        struct outer *outer = value;
        pawl_assert(outer->text != NULL && strlen(outer->text) >= 1 && strlen(outer->text) <= 64);
        pawl_config_free(&schema, value);
    } else {
        pawl_assert(value == NULL && error.text[0] != '\0');
    }
    return 0;
}
