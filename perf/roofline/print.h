// SPDX-License-Identifier: Apache-2.0
// Inside of the roofline: results as a table and as JSON.
#ifndef PAWL_PERF_ROOFLINE_PRINT_H
#define PAWL_PERF_ROOFLINE_PRINT_H

#include <stdio.h>

#include "perf/roofline/roofline.h"

void roofline_print_table(FILE *out, const struct roofline_options *options,
                          const struct roofline_result *result, bool is_checked);
void roofline_print_json(FILE *out, const struct roofline_options *options,
                         const struct roofline_result *result);

#endif
