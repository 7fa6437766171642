// SPDX-License-Identifier: Apache-2.0
// Patience: yields, and what is learnt from them.
#include "base/patience.h"

#include <sched.h>

#include "base/clock.h"
#include "base/util.h"

void pawl_patience_renew(struct pawl_patience *patience, uint64_t now_ns)
{
    uint64_t length_ns = PAWL_MAX(patience->length_ns, (uint64_t)PAWL_PATIENCE_MIN_NS);
    uint64_t waited_ns = patience->since_ns != 0 ? now_ns - patience->since_ns : 0;

    if (waited_ns > PAWL_PATIENCE_MAX_NS) {
        length_ns = PAWL_MAX(length_ns / 2, (uint64_t)PAWL_PATIENCE_MIN_NS);
    } else if (waited_ns > length_ns) {
        length_ns = PAWL_MIN(2 * length_ns, (uint64_t)PAWL_PATIENCE_MAX_NS);
    }
    patience->length_ns = length_ns;
    patience->since_ns = 0;
}

bool pawl_patience_has(struct pawl_patience *patience, uint64_t now_ns)
{
    if (patience->since_ns == 0) {
        patience->since_ns = now_ns;
        patience->until_ns = now_ns + patience->length_ns;
    }
    return now_ns < patience->until_ns && now_ns >= patience->crowded_until_ns;
}

void pawl_patience_learn(struct pawl_patience *patience, uint64_t now_ns, uint64_t took_ns)
{
    if (took_ns >= PAWL_PATIENCE_CROWD_NS) {
        patience->crowded_until_ns = now_ns + took_ns * PAWL_PATIENCE_CALM;
    }
}

bool pawl_patience_wait(struct pawl_patience *patience, uint64_t now_ns)
{
    if (!pawl_patience_has(patience, now_ns)) {
        return false;
    }
    uint64_t before_ns = pawl_clock_ns();
    sched_yield();
    uint64_t after_ns = pawl_clock_ns();
    pawl_patience_learn(patience, after_ns, after_ns - before_ns);
    return true;
}
