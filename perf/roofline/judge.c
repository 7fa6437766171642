// SPDX-License-Identifier: Apache-2.0
// Whether a roofline counts: docs/decisions/0040-judging-rooflines.md says why so. Pure.
#include <stdio.h>
#include <string.h>

#include "perf/roofline/roofline.h"

#define RATIO_MIN 0.9
#define STEADINESS_MIN 0.6 // below: the machine was too busy to compare anything
#define REFUTED_ABOVE 1.1  // of its median, whatever its best round was
#define RATIO_AHEAD 1.1    // no fault of a roofline, but to be said
#define RATIO_MAX 1.5      // above: it does less than its tool, or the tool was held up

static void why_add(struct roofline_result *result, const char *text, const char *name,
                    double ratio)
{
    size_t used = strlen(result->why);

    snprintf(result->why + used, sizeof(result->why) - used, "%s%s %s (%.2f)", used > 0 ? "; " : "",
             name, text, ratio);
}

void roofline_judge(struct roofline_result *result)
{
    uint32_t bad_count = 0;

    result->why[0] = '\0';
    for (uint32_t i = 0; i < result->parts_count; i++) {
        const struct roofline_part *part = &result->parts[i];
        if (!(part->ratio >= RATIO_MIN)) {
            bad_count++;
            why_add(result, part->ratio > 0 ? "is behind its tool" : "was not compared", part->name,
                    part->ratio);
        } else if (part->ratio > RATIO_MAX) {
            bad_count++;
            why_add(result, "is so far ahead of its tool that they did not do the same", part->name,
                    part->ratio);
        } else if (part->steadiness > 0 && part->steadiness < STEADINESS_MIN) {
            bad_count++;
            why_add(result, "has rounds that differ too much: the machine is busy", part->name,
                    part->steadiness);
        }
    }
    result->is_valid = bad_count == 0 && result->parts_count > 0;
    if (result->parts_count == 0) {
        snprintf(result->why, sizeof(result->why), "the parts were not checked");
    }
    if (!result->is_valid) {
        return;
    }
    snprintf(result->why, sizeof(result->why), "no part is more than 10 %% behind its tool");
    for (uint32_t i = 0; i < result->parts_count; i++) {
        if (result->parts[i].ratio > RATIO_AHEAD) {
            why_add(result, "is ahead", result->parts[i].name, result->parts[i].ratio);
        }
    }
}

// How far below a bound a time is: above 1 it is faster. A rate: the other way round.
static bool is_beyond(double speed_median, double speed_best)
{
    return speed_median > 1 && (speed_best > 1 || speed_median > REFUTED_ABOVE);
}

static bool time_is_beyond(double claim, double median, double best)
{
    return claim > 0 && is_beyond(median / claim, best / claim);
}

void roofline_refute(const struct roofline_options *options, struct roofline_result *result,
                     const struct roofline_claim *best, const struct roofline_claim *claim)
{
    bool is_open = options->rate_per_s > 0;
    bool is_alone = options->clients * options->depth == 1;
    bool is_more =
        !is_open && claim->ops_per_s > 0 &&
        is_beyond(claim->ops_per_s / result->ops_per_s, claim->ops_per_s / best->ops_per_s);
    bool is_sooner =
        !is_open && is_alone && time_is_beyond(claim->p50_us, result->p50_us, best->p50_us);
    bool is_steadier = is_open && time_is_beyond(claim->p999_us, result->p999_us, best->p999_us);

    if (!is_more && !is_sooner && !is_steadier) {
        return;
    }
    result->is_valid = false;
    snprintf(result->why, sizeof(result->why),
             "what was measured is faster than its roofline: %.0f/s against %.0f/s, P50 %.1f us "
             "against %.1f us, P99.9 %.1f us against %.1f us",
             claim->ops_per_s, result->ops_per_s, claim->p50_us, result->p50_us, claim->p999_us,
             result->p999_us);
}
