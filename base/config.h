// SPDX-License-Identifier: Apache-2.0
// Configuration files: YAML that is checked against a schema of libcyaml.
//
// Whatever is wrong (unknown key, wrong type, missing key, syntax) ends in one line that says file, line
// and reason. Aliases are refused and files are bounded, so a file can't unfold into endless memory.
// Any thread.
#ifndef PAWL_BASE_CONFIG_H
#define PAWL_BASE_CONFIG_H

#include <cyaml/cyaml.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

#define PAWL_CONFIG_BYTES_MAX (1u << 20)

// One line, without a newline at its end: "pawl.yaml:3: unknown key 'lisen'".
struct pawl_config_error {
    char text[512];
};

// The schema's value is a mapping behind a pointer (CYAML_FLAG_POINTER). *ret_data is to be given to
// pawl_config_free(). 0; PAWL_EINVALID or -errno with ret_error filled.
PAWL_MUST_CHECK int pawl_config_load(const char *path, const cyaml_schema_value_t *schema,
                                     void **ret_data, struct pawl_config_error *ret_error);
// The same from memory; `name` stands for the file in messages.
PAWL_MUST_CHECK int pawl_config_parse(const char *name, const char *text, size_t bytes,
                                      const cyaml_schema_value_t *schema, void **ret_data,
                                      struct pawl_config_error *ret_error);
// NULL is ignored.
void pawl_config_free(const cyaml_schema_value_t *schema, void *data);

// "name: reason"; returns PAWL_EINVALID. For checks that a schema can't make.
int pawl_config_refuse(struct pawl_config_error *ret_error, const char *name, const char *format,
                       ...) PAWL_PRINTF(3, 4);

// Sizes: a whole number, then nothing, B, KiB, MiB, GiB or TiB. PAWL_EINVALID.
PAWL_MUST_CHECK int pawl_config_bytes(const char *text, uint64_t *ret_bytes);
// Durations: a whole number, then ms, s, min or h. PAWL_EINVALID.
PAWL_MUST_CHECK int pawl_config_ms(const char *text, uint64_t *ret_ms);

#endif
