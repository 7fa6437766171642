// SPDX-License-Identifier: Apache-2.0
// Results as a table and as JSON; its model, for who prints a roofline beside figures of his own.
#ifndef PAWL_PERF_ROOFLINE_PRINT_H
#define PAWL_PERF_ROOFLINE_PRINT_H

#include <stdio.h>

#include <jansson.h>

#include "perf/roofline/model.h"
#include "perf/roofline/roofline.h"

void roofline_print_table(FILE *out, const struct roofline_options *options,
                          const struct roofline_result *result, bool is_checked);
// Two lines that explain a figure; nothing when there is no model (no steps).
void roofline_print_model(FILE *out, const char *indent, const struct model *model,
                          double ops_per_s);
// A new reference; null when there is no model.
json_t *roofline_model_json(const struct model *model);
void roofline_print_json(FILE *out, const struct roofline_options *options,
                         const struct roofline_result *result);

#endif
