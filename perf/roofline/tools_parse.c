// SPDX-License-Identifier: Apache-2.0
// What fi_pingpong and fio print. Pure.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "perf/roofline/tools.h"

// bytes   #sent   #ack     total       time     MB/sec    usec/xfer   Mxfers/sec
int tools_pingpong_parse(const char *text, double *ret_us)
{
    bool is_table = false;
    double us = 0;

    for (const char *line = text; *line != '\0';) {
        const char *end = strchrnul(line, '\n');
        double read_us = 0;
        if (strncmp(line, "bytes", 5) == 0 && strstr(line, "usec/xfer") != NULL) {
            is_table = true;
        } else if (is_table && sscanf(line, "%*s %*s %*s %*s %*s %*s %lf", &read_us) == 1) {
            us = read_us;
        }
        line = *end == '\0' ? end : end + 1;
    }
    if (!(us > 0)) {
        return -EBADMSG;
    }
    *ret_us = us;
    return 0;
}

int tools_fio_parse(const char *text, bool is_read, double *ret_per_s)
{
    const char *begin = strchr(text, '{'); // warnings may stand before it
    json_t *root = begin != NULL ? json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
    json_t *job = json_array_get(json_object_get(root, "jobs"), 0);
    json_t *error = json_object_get(job, "error");
    json_t *side = json_object_get(job, is_read ? "read" : "write");
    double per_s = json_number_value(json_object_get(side, "iops"));
    bool is_sound = json_is_integer(error) && json_integer_value(error) == 0 && per_s > 0;

    json_decref(root);
    if (!is_sound) {
        return -EBADMSG;
    }
    *ret_per_s = per_s;
    return 0;
}
