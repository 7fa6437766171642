// SPDX-License-Identifier: Apache-2.0
// Planted bugs: each leaves out one rule of the protocol, to show that the simulator would notice.
//
//     if (index < chunk->commit_count || PAWL_MUTANT(inflight_answered)) {
//
// Without PAWL_MUTANTS a mutant is the constant false and its name is nothing. Only the simulator and its own
// copies of the cores are built with PAWL_MUTANTS; only tests/sim/sim_mutants.c makes one active, one
// at a time. What each is for: docs/protocol.md, "Rules and their mutants".
#ifndef PAWL_BASE_MUTANT_H
#define PAWL_BASE_MUTANT_H

#ifdef PAWL_MUTANTS

#include "base/mutant_list.h"

#define PAWL_MUTANT_ENUM(name, section, rule) PAWL_MUTANT_##name,
enum pawl_mutant { PAWL_MUTANT_NONE = 0, PAWL_MUTANT_LIST(PAWL_MUTANT_ENUM) PAWL_MUTANTS_END };
#undef PAWL_MUTANT_ENUM

// Weak, so that every test which links a core that was built with mutants has it.
__attribute__((weak)) enum pawl_mutant pawl_mutant_active;

#define PAWL_MUTANT(name) __builtin_expect(pawl_mutant_active == PAWL_MUTANT_##name, 0)

#else

#define PAWL_MUTANT(name) false

#endif

#endif
