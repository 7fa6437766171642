// SPDX-License-Identifier: Apache-2.0
// Small words that every file uses: must-check results, sizes, alignment, cleanup.
#ifndef PAWL_BASE_UTIL_H
#define PAWL_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The result says whether it worked, so a caller that drops it is wrong.
#define PAWL_MUST_CHECK __attribute__((warn_unused_result))

// Checks a printf-like format string: positions of the format and of the first argument.
#define PAWL_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

// Calls fn(&variable) when the variable goes out of scope.
#define PAWL_CLEANUP(fn) __attribute__((cleanup(fn)))

#define PAWL_ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define PAWL_MIN(a, b)                                                                             \
    __extension__({                                                                                \
        __typeof__(a) pawl_min_a_ = (a);                                                           \
        __typeof__(b) pawl_min_b_ = (b);                                                           \
        pawl_min_a_ < pawl_min_b_ ? pawl_min_a_ : pawl_min_b_;                                     \
    })

#define PAWL_MAX(a, b)                                                                             \
    __extension__({                                                                                \
        __typeof__(a) pawl_max_a_ = (a);                                                           \
        __typeof__(b) pawl_max_b_ = (b);                                                           \
        pawl_max_a_ > pawl_max_b_ ? pawl_max_a_ : pawl_max_b_;                                     \
    })

// The struct that holds `pointer` as its member.
#define pawl_container_of(pointer, type, member)                                                   \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

// Rounds up to a multiple of `alignment`, a power of two. The caller keeps value + alignment in
// range.
static inline uint64_t pawl_align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t pawl_align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

static inline bool pawl_is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

#endif
