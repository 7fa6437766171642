// SPDX-License-Identifier: Apache-2.0
// Descriptors: how many a process may have open.
//
// The soft limit is 1024 in most places, for the sake of programs that call select(). A server of many chunks and
// connections comes to it, and then opens fail that have nothing to do with each other.
#ifndef PAWL_BASE_DESCRIPTORS_H
#define PAWL_BASE_DESCRIPTORS_H

#include <stdint.h>

// Raises the soft limit of this process to its hard one, and logs it. Returns the limit as it is now. If the kernel
// refuses, all is as before. At the start of a program, before anybody shares the limit out.
uint64_t pawl_descriptors_raise(void);

#endif
