// SPDX-License-Identifier: Apache-2.0
// Values of options as text.
#include <stdio.h>
#include <string.h>

#include <pawl/error.h>

#include "base/config.h"
#include "perf/roofline/roofline.h"

int roofline_bytes_parse(const char *text, uint64_t *ret_bytes)
{
    char with_unit[40];
    size_t length = strlen(text);
    bool is_short = length > 0 && strchr("KMGT", text[length - 1]) != NULL;

    if (length + sizeof("iB") > sizeof(with_unit)) {
        return PAWL_EINVALID;
    }
    snprintf(with_unit, sizeof(with_unit), "%s%s", text, is_short ? "iB" : "");
    return pawl_config_bytes(with_unit, ret_bytes);
}

int roofline_ms_parse(const char *text, uint64_t *ret_ms)
{
    char with_unit[40];
    size_t length = strlen(text);
    bool is_bare = length > 0 && strspn(text, "0123456789") == length;

    if (length + sizeof("ms") > sizeof(with_unit)) {
        return PAWL_EINVALID;
    }
    snprintf(with_unit, sizeof(with_unit), "%s%s", text, is_bare ? "ms" : "");
    return pawl_config_ms(with_unit, ret_ms);
}
