// SPDX-License-Identifier: Apache-2.0
// pawl-master: the control plane's server, as a program.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#define PAWL_LOG_SUBSYSTEM "master"
#include "base/assert.h"
#include "base/daemon_options.h"
#include "base/descriptors.h"
#include "base/log.h"
#include "base/slice.h"
#include "controlplane/master/master.h"

#define EXIT_FAILED 1 // could not start, or not go on

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
    return program.code == 0 ? PAWL_DAEMON_EXIT_OK : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct pawl_daemon_options options;
    struct master_config config;
    struct pawl_config_error error;
    int code = pawl_daemon_options_parse(argc, argv, "pawl-master", usage_text, &options);
    if (code != PAWL_DAEMON_GO_ON) {
        return code;
    }
    if (master_config_load(options.config, &config, &error) != 0) {
        fprintf(stderr, "pawl-master: %s\n", error.text);
        return PAWL_DAEMON_EXIT_USAGE;
    }
    if (options.check) {
        printf("%s: ok\n", options.config);
        code = PAWL_DAEMON_EXIT_OK;
    } else {
        signal(SIGPIPE, SIG_IGN);
        pawl_log_init(config.log_level, STDERR_FILENO);
        pawl_descriptors_raise();
        pawl_slice_shorten();
        code = master_run(&config);
    }
    master_config_fini(&config);
    return code;
}
