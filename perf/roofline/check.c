// SPDX-License-Identifier: Apache-2.0
// stub
#include "perf/roofline/roofline.h"
int roofline_check(const struct roofline_options *options, struct roofline_result *result)
{
    (void)options;
    (void)result;
    return 0;
}
