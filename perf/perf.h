// SPDX-License-Identifier: Apache-2.0
// Exit codes of pawl-perf; documented in `pawl-perf --help`. The same numbers as those of pawl.
#ifndef PAWL_PERF_PERF_H
#define PAWL_PERF_PERF_H

enum perf_exit {
    PERF_OK = 0,
    PERF_FAILED = 1,
    PERF_USAGE = 2,
    PERF_UNREACHABLE = 3, // no cluster there, or it did not answer in time
    PERF_SIGNAL = 128,    // and the number of the signal that ended it
};

#endif
