// SPDX-License-Identifier: Apache-2.0
// Configuration files: libyaml finds errors of syntax and their lines, libcyaml those against the schema.
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include <pawl/error.h>

#include "base/assert.h"

// What libcyaml has said about one load: its first line is the reason, a later one has the place.
struct parse_log {
    char reason[300];
    unsigned long line;
};

int pawl_config_refuse(struct pawl_config_error *ret_error, const char *name, const char *format,
                       ...)
{
    va_list arguments;
    char reason[400];
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    snprintf(ret_error->text, sizeof(ret_error->text), "%s: %s", name, reason);
    return PAWL_EINVALID;
}

static int refuse_at(struct pawl_config_error *ret_error, const char *name, unsigned long line,
                     const char *reason)
{
    snprintf(ret_error->text, sizeof(ret_error->text), "%s:%lu: %s", name, line, reason);
    return PAWL_EINVALID;
}

// ---- syntax ----------------------------------------------------------------------------------

static int refuse_event(const yaml_event_t *event, int documents,
                        struct pawl_config_error *ret_error, const char *name)
{
    unsigned long line = event->start_mark.line + 1;
    if (event->type == YAML_ALIAS_EVENT) {
        return refuse_at(ret_error, name, line, "aliases (*name) are not supported");
    }
    if (event->type == YAML_DOCUMENT_START_EVENT && documents > 1) {
        return refuse_at(ret_error, name, line, "only one document (---) is expected");
    }
    return 0;
}

static int check_syntax(const char *name, const char *text, size_t bytes,
                        struct pawl_config_error *ret_error)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int rc = 0, documents = 0;
    bool more = true;
    if (!yaml_parser_initialize(&parser)) {
        (void)pawl_config_refuse(ret_error, name, "out of memory");
        return -ENOMEM;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, bytes);
    while (rc == 0 && more) {
        if (!yaml_parser_parse(&parser, &event)) {
            rc = refuse_at(ret_error, name, parser.problem_mark.line + 1,
                           parser.problem != NULL ? parser.problem : "no YAML");
            break;
        }
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        rc = refuse_event(&event, documents, ret_error, name);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (rc == 0 && documents == 0) {
        rc = pawl_config_refuse(ret_error, name, "is empty");
    }
    return rc;
}

// ---- schema ----------------------------------------------------------------------------------

PAWL_PRINTF(3, 0) // the formats are cyaml's own
static void on_cyaml_log(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    struct parse_log *log = context;
    char line[300];
    (void)level;
    vsnprintf(line, sizeof(line), format, arguments);
    line[strcspn(line, "\n")] = '\0';
    const char *place = strstr(line, "(line: ");
    if (place != NULL && strncmp(line, "  in ", 5) == 0) {
        if (log->line == 0) { // the innermost comes first
            log->line = strtoul(place + strlen("(line: "), NULL, 10);
        }
    } else if (log->reason[0] == '\0' && strstr(line, "Backtrace") == NULL) {
        const char *reason = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
        snprintf(log->reason, sizeof(log->reason), "%s", reason);
    }
}

// libcyaml gives the place before a key that it did not expect. This finds the key itself: the first line
// from there on that has it in front of a colon.
static unsigned long find_key(const char *text, size_t bytes, const char *key,
                              unsigned long from_line)
{
    size_t key_length = strlen(key);
    const char *end = text + bytes;
    unsigned long line = 1;
    for (const char *at = text; at < end; at++) {
        if (line >= from_line && key_length != 0 && (size_t)(end - at) > key_length &&
            memcmp(at, key, key_length) == 0 &&
            (at == text || strchr(" \t\n{,\"'", at[-1]) != NULL)) {
            const char *behind = at + key_length;
            while (behind < end && strchr(" \t\"'", *behind) != NULL && *behind != '\0') {
                behind++;
            }
            if (behind < end && *behind == ':') {
                return line;
            }
        }
        line += *at == '\n';
    }
    return from_line;
}

// Turns libcyaml's words into ours where it has the key as well.
static int refuse_schema(const char *name, const char *text, size_t bytes,
                         const struct parse_log *log, struct pawl_config_error *ret_error)
{
    static const char unexpected[] = "Unexpected key: ";
    static const char seen[] = "Mapping field already seen: ";
    unsigned long line = PAWL_MAX(log->line, 1ul);
    char reason[400];
    if (strncmp(log->reason, unexpected, strlen(unexpected)) == 0) {
        const char *key = log->reason + strlen(unexpected);
        line = find_key(text, bytes, key, line);
        snprintf(reason, sizeof(reason), "unknown key '%s'", key);
    } else if (strncmp(log->reason, seen, strlen(seen)) == 0) {
        const char *key = log->reason + strlen(seen);
        line = find_key(text, bytes, key, line + 1);
        snprintf(reason, sizeof(reason), "key '%s' stands twice", key);
    } else {
        snprintf(reason, sizeof(reason), "%s", log->reason);
        if (islower((unsigned char)reason[1])) { // not "STRING"
            reason[0] = (char)tolower((unsigned char)reason[0]);
        }
    }
    return refuse_at(ret_error, name, line, reason);
}

static cyaml_config_t cyaml_settings(struct parse_log *log)
{
    return (cyaml_config_t){
        .log_fn = on_cyaml_log,
        .log_ctx = log,
        .log_level = CYAML_LOG_ERROR,
        .mem_fn = cyaml_mem,
        .flags = CYAML_CFG_NO_ALIAS,
    };
}

int pawl_config_parse(const char *name, const char *text, size_t bytes,
                      const cyaml_schema_value_t *schema, void **ret_data,
                      struct pawl_config_error *ret_error)
{
    struct parse_log log = {.reason = ""};
    cyaml_config_t settings = cyaml_settings(&log);
    cyaml_data_t *data = NULL;
    if (bytes > PAWL_CONFIG_BYTES_MAX) {
        return pawl_config_refuse(ret_error, name, "is larger than %u bytes",
                                  PAWL_CONFIG_BYTES_MAX);
    }
    int rc = check_syntax(name, text, bytes, ret_error);
    if (rc != 0) {
        return rc;
    }
    cyaml_err_t error =
        cyaml_load_data((const uint8_t *)text, bytes, &settings, schema, &data, NULL);
    if (error != CYAML_OK) {
        if (log.reason[0] == '\0') {
            snprintf(log.reason, sizeof(log.reason), "%s", cyaml_strerror(error));
        }
        return refuse_schema(name, text, bytes, &log, ret_error);
    }
    if (data == NULL) {
        return pawl_config_refuse(ret_error, name, "is empty");
    }
    *ret_data = data;
    return 0;
}

int pawl_config_load(const char *path, const cyaml_schema_value_t *schema, void **ret_data,
                     struct pawl_config_error *ret_error)
{
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(PAWL_CONFIG_BYTES_MAX + 1) : NULL;
    int rc = 0;
    size_t bytes = 0;
    if (file == NULL) {
        rc = -errno;
    } else if (text == NULL) {
        rc = -ENOMEM;
    } else {
        bytes = fread(text, 1, PAWL_CONFIG_BYTES_MAX + 1, file);
        rc = ferror(file) ? -EIO : 0;
    }
    if (rc != 0) {
        (void)pawl_config_refuse(ret_error, path, "can't be read: %s", pawl_strerror(rc));
    } else {
        rc = pawl_config_parse(path, text, bytes, schema, ret_data, ret_error);
    }
    free(text);
    if (file != NULL) {
        fclose(file);
    }
    return rc;
}

void pawl_config_free(const cyaml_schema_value_t *schema, void *data)
{
    struct parse_log log = {.reason = ""};
    cyaml_config_t settings = cyaml_settings(&log);
    cyaml_err_t error = cyaml_free(&settings, schema, data, 0);
    pawl_assert(error == CYAML_OK);
}

// ---- sizes and durations ---------------------------------------------------------------------

struct unit {
    const char *name;
    uint64_t factor;
};

static int parse_with_unit(const char *text, const struct unit *units, size_t count,
                           uint64_t *ret_value)
{
    uint64_t value = 0;
    if (text[0] < '0' || text[0] > '9') {
        return PAWL_EINVALID;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value)) {
            return PAWL_EINVALID;
        }
    }
    while (*text == ' ') {
        text++;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, units[i].name) == 0) {
            if (__builtin_mul_overflow(value, units[i].factor, &value)) {
                return PAWL_EINVALID;
            }
            *ret_value = value;
            return 0;
        }
    }
    return PAWL_EINVALID;
}

int pawl_config_bytes(const char *text, uint64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"KiB", UINT64_C(1) << 10},
        {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},
        {"TiB", UINT64_C(1) << 40},
    };
    return parse_with_unit(text, units, PAWL_ARRAY_COUNT(units), ret_bytes);
}

int pawl_config_ms(const char *text, uint64_t *ret_ms)
{
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}};
    return parse_with_unit(text, units, PAWL_ARRAY_COUNT(units), ret_ms);
}
