// SPDX-License-Identifier: Apache-2.0
// Patience: how a thread waits for events that follow each other closely.
//
// To be put to sleep and woken takes longer than to look again a few times. So for a moment after each event the
// thread goes on looking, and offers its core between two looks (sched_yield): whoever wants it has it.
//
// How long that moment is follows what waiting was like (as in KVM's halt polling): twice as long after a wait
// that it was just too short for, half as long after one that even the longest would not have met.
// When yields turn out to take long, others compute, and a sleeper is given a core sooner than one that yields:
// then there is no more of it for a time that grows with what it took, so that no more than a small share of all time
// can be lost. The threads of Pawl itself keep each other waiting for up to 1 ms on few cores: that is no such sign.
//
// A plain value, zeros at first; thread: its owner's. All times are those of pawl_clock_ns().
#ifndef PAWL_BASE_PATIENCE_H
#define PAWL_BASE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define PAWL_PATIENCE_MIN_NS 100000u    // after an event, at least
#define PAWL_PATIENCE_MAX_NS 400000u    // and at most
#define PAWL_PATIENCE_CROWD_NS 1000000u // a yield that took so long: others want the core ...
#define PAWL_PATIENCE_CALM 64u          // ... and there is none for so many times as long

struct pawl_patience {
    uint64_t length_ns; // 0: there was no event yet
    uint64_t since_ns;  // when the present wait began; 0: there is none
    uint64_t until_ns;
    uint64_t crowded_until_ns;
};

// An event has come: the wait is over, and the next one may begin.
void pawl_patience_renew(struct pawl_patience *patience, uint64_t now_ns);

// Part of a wait, which the first call after an event begins. Is it worth looking again, rather than to sleep?
bool pawl_patience_has(struct pawl_patience *patience, uint64_t now_ns);

// A yield has taken so long.
void pawl_patience_learn(struct pawl_patience *patience, uint64_t now_ns, uint64_t took_ns);

// The same, and yields if it is worth it. False: sleep.
bool pawl_patience_wait(struct pawl_patience *patience, uint64_t now_ns);

#endif
