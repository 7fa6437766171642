// SPDX-License-Identifier: Apache-2.0
// Marks on rare paths: a simulation that never came by here has not tested it.
//
//     if (older) {
//         PAWL_MARK(fence_older_version);
//
// Without PAWL_MARKS a mark is nothing. With it, each counts how often it was reached; the linker gathers
// all marks of the program between pawl_marks_begin() and pawl_marks_end(). The same name may stand at
// several places. Only the simulator's own copies of the cores are built with PAWL_MARKS.
#ifndef PAWL_BASE_MARK_H
#define PAWL_BASE_MARK_H

#ifdef PAWL_MARKS

#include <stdint.h>

struct pawl_mark {
    const char *name;
    const char *file;
    int line;
    uint64_t count;
};

// Pointers, as the linker may align the marks themselves as it likes.
#define PAWL_MARK(word)                                                                            \
    do {                                                                                           \
        static struct pawl_mark pawl_mark_##word = {#word, __FILE__, __LINE__, 0};                 \
        static struct pawl_mark *const pawl_mark_at_##word                                         \
            __attribute__((section("pawl_marks"), used)) = &pawl_mark_##word;                      \
        pawl_mark_##word.count++;                                                                  \
    } while (0)

// Defined by the linker; weak, for a program that has no mark.
extern struct pawl_mark *const __start_pawl_marks[] __attribute__((weak));
extern struct pawl_mark *const __stop_pawl_marks[] __attribute__((weak));

static inline struct pawl_mark *const *pawl_marks_begin(void)
{
    return __start_pawl_marks;
}

static inline struct pawl_mark *const *pawl_marks_end(void)
{
    return __stop_pawl_marks;
}

#else

#define PAWL_MARK(word)                                                                            \
    do {                                                                                           \
    } while (0)

#endif

#endif
