// SPDX-License-Identifier: Apache-2.0
// Assertions that stay on in every build. For our own invariants only: bytes that came from a
// network or a disk are answered with an error.
#ifndef PAWL_BASE_ASSERT_H
#define PAWL_BASE_ASSERT_H

#define pawl_assert(expr)                                                                          \
    do {                                                                                           \
        if (__builtin_expect(!(expr), 0)) {                                                        \
            pawl_assert_failed(#expr, __FILE__, __LINE__, __func__);                               \
        }                                                                                          \
    } while (0)

// Says on standard error what was false and where, then aborts. Any thread; allocates nothing.
__attribute__((noreturn, cold)) void pawl_assert_failed(const char *expr, const char *file,
                                                        int line, const char *function);

#endif
