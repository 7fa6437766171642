// SPDX-License-Identifier: Apache-2.0
// Marks on rare paths of the cores (base/mark.h): counted over a whole run of many seeds.
#include <stdlib.h>
#include <string.h>

#include "base/mark.h"
#include "sim_runs.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct sim_mark_total *)a)->name,
                  ((const struct sim_mark_total *)b)->name);
}

uint32_t sim_marks_take(struct sim_mark_total marks[SIM_MARKS_MAX])
{
    uint32_t all = 0;
    uint32_t count = 0;
    for (struct pawl_mark *const *at = pawl_marks_begin(); at < pawl_marks_end(); at++) {
        pawl_assert(all < SIM_MARKS_MAX);
        marks[all++] = (struct sim_mark_total){.name = (*at)->name, .count = (*at)->count};
    }
    qsort(marks, all, sizeof(marks[0]), by_name);
    for (uint32_t i = 0; i < all; i++) {
        if (count > 0 && strcmp(marks[count - 1].name, marks[i].name) == 0) {
            marks[count - 1].count += marks[i].count;
        } else {
            marks[count++] = marks[i];
        }
    }
    return count;
}

void sim_marks_add(const uint64_t *counts, uint32_t count)
{
    struct sim_mark_total marks[SIM_MARKS_MAX];
    pawl_assert(sim_marks_take(marks) == count);
    for (struct pawl_mark *const *at = pawl_marks_begin(); at < pawl_marks_end(); at++) {
        for (uint32_t i = 0; i < count; i++) {
            if (marks[i].name != NULL && strcmp(marks[i].name, (*at)->name) == 0) {
                (*at)->count += counts[i];
                marks[i].name = NULL; // the first of several of one name stands for all
                break;
            }
        }
    }
}

void sim_marks_print(FILE *out)
{
    struct sim_mark_total marks[SIM_MARKS_MAX];
    uint32_t count = sim_marks_take(marks);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(out, "mark %-40s %llu\n", marks[i].name, (unsigned long long)marks[i].count);
    }
}

uint32_t sim_marks_missing(FILE *out)
{
    struct sim_mark_total marks[SIM_MARKS_MAX];
    uint32_t count = sim_marks_take(marks);
    uint32_t missing = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (marks[i].count == 0) {
            fprintf(out, "mark %s was never reached\n", marks[i].name);
            missing++;
        }
    }
    return missing;
}
