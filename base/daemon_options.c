// SPDX-License-Identifier: Apache-2.0
// The command line that Pawl's daemons share.
#include "base/daemon_options.h"

#include <getopt.h>
#include <stdio.h>

int pawl_daemon_options_parse(int argc, char **argv, const char *name, const char *usage,
                              struct pawl_daemon_options *ret_options)
{
    enum { OPTION_CHECK = 256 };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct pawl_daemon_options options = {0};
    int option;
    while ((option = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            options.config = optarg;
            break;
        case OPTION_CHECK:
            options.check = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return PAWL_DAEMON_EXIT_OK;
        case 'V':
            printf("%s %s\n", name, PAWL_VERSION);
            return PAWL_DAEMON_EXIT_OK;
        default:
            fputs(usage, stderr);
            return PAWL_DAEMON_EXIT_USAGE;
        }
    }
    if (options.config == NULL || optind != argc) {
        fputs(usage, stderr);
        return PAWL_DAEMON_EXIT_USAGE;
    }
    *ret_options = options;
    return PAWL_DAEMON_GO_ON;
}
