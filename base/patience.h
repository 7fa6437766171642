// SPDX-License-Identifier: Apache-2.0
// Patience: how a thread waits for events that follow each other closely.
//
// To be put to sleep and woken takes longer than to look again a few times. So for a moment after each event the
// thread goes on looking, and offers its core between two looks (sched_yield): whoever wants it has it. When that turns
// out to take long, others do, and a sleeper is given a core sooner than one that yields: then there is no more of
// it for a time that grows with what it took, so that no more than a small share of all time can be lost.
//
// A plain value; thread: its owner's. All times are those of pawl_clock_ns().
#ifndef PAWL_BASE_PATIENCE_H
#define PAWL_BASE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define PAWL_PATIENCE_NS 150000u       // after an event
#define PAWL_PATIENCE_CROWD_NS 100000u // a yield that took so long: others want the core ...
#define PAWL_PATIENCE_CALM 64u         // ... and there is none for so many times as long

struct pawl_patience {
    uint64_t until_ns;
    uint64_t crowded_until_ns;
};

// An event has come.
static inline void pawl_patience_renew(struct pawl_patience *patience, uint64_t now_ns)
{
    patience->until_ns = now_ns + PAWL_PATIENCE_NS;
}

// Is it worth looking again, rather than to sleep?
static inline bool pawl_patience_has(const struct pawl_patience *patience, uint64_t now_ns)
{
    return now_ns < patience->until_ns && now_ns >= patience->crowded_until_ns;
}

// A yield has taken so long.
void pawl_patience_learn(struct pawl_patience *patience, uint64_t now_ns, uint64_t took_ns);

// Yields if it is worth it. False: sleep.
bool pawl_patience_wait(struct pawl_patience *patience, uint64_t now_ns);

#endif
