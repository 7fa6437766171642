// SPDX-License-Identifier: Apache-2.0
// The command line that Pawl's daemons share: --config, --check-config, --help, --version.
#ifndef PAWL_BASE_DAEMON_OPTIONS_H
#define PAWL_BASE_DAEMON_OPTIONS_H

#include <stdbool.h>

#include "base/util.h"

#define PAWL_DAEMON_GO_ON (-1)
#define PAWL_DAEMON_EXIT_OK 0
#define PAWL_DAEMON_EXIT_USAGE 2

struct pawl_daemon_options {
    const char *config; // BORROWED from argv
    bool check;         // only check the configuration
};

// Reads argv; prints usage or version when they are asked for, or when the words are off.
// PAWL_DAEMON_GO_ON with *ret_options filled, or the exit status to end with. Not for threads.
PAWL_MUST_CHECK int pawl_daemon_options_parse(int argc, char **argv, const char *name,
                                              const char *usage,
                                              struct pawl_daemon_options *ret_options);

#endif
