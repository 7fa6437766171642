// SPDX-License-Identifier: Apache-2.0
// The end of a process whose invariant does not hold.
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"

void pawl_assert_failed(const char *expr, const char *file, int line, const char *function)
{
    char text[512];
    int length = snprintf(text, sizeof(text), "%s:%d: %s: assertion failed: %s\n", file, line,
                          function, expr);
    if (length > 0) {
        ssize_t written = write(STDERR_FILENO, text, PAWL_MIN((size_t)length, sizeof(text) - 1));
        (void)written;
    }
    abort();
}
