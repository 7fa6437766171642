// SPDX-License-Identifier: Apache-2.0
// pawl-master: the control plane's server, as a program.
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "master"
#include "base/assert.h"
#include "base/log.h"
#include "controlplane/master/master.h"

#ifndef PAWL_VERSION
#define PAWL_VERSION "0.1.0"
#endif

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1, // could not start, or not go on
    EXIT_USAGE = 2,  // options or configuration
};

static const char usage_text[] =
    "usage: pawl-master --config FILE [--check-config]\n"
    "\n"
    "Keeps the namespace and the chunk table of a Pawl cluster.\n"
    "\n"
    "  -c, --config FILE   configuration (YAML)\n"
    "      --check-config  check the configuration and exit\n"
    "  -h, --help          this text\n"
    "  -V, --version       version\n"
    "\n"
    "Exit status: 0 stopped by a signal, 1 failed, 2 wrong options or\n"
    "configuration.\n";

struct program {
    uv_loop_t loop;
    uv_signal_t signals[2]; // SIGTERM, SIGINT
    struct master *master;
    int code;
};

struct arguments {
    const char *config;
    bool check;
};

// -1: go on; else the exit code.
static int arguments_parse(int argc, char **argv, struct arguments *arguments)
{
    enum { OPTION_CHECK = 256 };
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config = optarg;
            break;
        case OPTION_CHECK:
            arguments->check = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return EXIT_OK;
        case 'V':
            puts("pawl-master " PAWL_VERSION);
            return EXIT_OK;
        default:
            fputs(usage_text, stderr);
            return EXIT_USAGE;
        }
    }
    if (arguments->config == NULL || optind != argc) {
        fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;
    pawl_log_info("signal %d", number);
    master_stop(program->master);
}

static void on_end(void *user, int code)
{
    struct program *program = user;
    program->code = code;
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(program->signals); i++) {
        uv_close((uv_handle_t *)&program->signals[i], NULL);
    }
}

static void signals_start(struct program *program)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(program->signals); i++) {
        int rc = uv_signal_init(&program->loop, &program->signals[i]);
        pawl_assert(rc == 0);
        program->signals[i].data = program;
        rc = uv_signal_start(&program->signals[i], on_signal, numbers[i]);
        pawl_assert(rc == 0);
    }
}

static int master_run(const struct master_config *config)
{
    struct program program = {0};
    int rc = uv_loop_init(&program.loop);
    pawl_assert(rc == 0);
    pawl_log_info("pawl-master %s starts in %s, process %ld", PAWL_VERSION, config->directory,
                  (long)getpid());
    rc = master_open(&program.loop, config, on_end, &program, &program.master);
    if (rc == 0) {
        signals_start(&program);
    } else {
        pawl_log_error("the master can't start: %s", pawl_strerror(rc));
        program.code = rc;
    }
    uv_run(&program.loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&program.loop);
    pawl_assert(rc == 0);
    return program.code == 0 ? EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {0};
    struct master_config config;
    struct pawl_config_error error;
    int code = arguments_parse(argc, argv, &arguments);
    if (code >= 0) {
        return code;
    }
    if (master_config_load(arguments.config, &config, &error) != 0) {
        fprintf(stderr, "pawl-master: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (arguments.check) {
        printf("%s: ok\n", arguments.config);
        code = EXIT_OK;
    } else {
        signal(SIGPIPE, SIG_IGN);
        pawl_log_init(config.log_level, STDERR_FILENO);
        code = master_run(&config);
    }
    master_config_fini(&config);
    return code;
}
