// SPDX-License-Identifier: Apache-2.0
// PAWL_API marks what libpawl offers to programs; everything else stays inside the library.
#ifndef PAWL_API_H
#define PAWL_API_H

#if defined(__GNUC__)
#define PAWL_API __attribute__((visibility("default")))
#else
#define PAWL_API
#endif

#endif
