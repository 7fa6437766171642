// SPDX-License-Identifier: Apache-2.0
// pawl-chunkd: the chunk server's program. Options, configuration, the reactors' threads, the control
// thread (this one), and the way down in reverse.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/daemon_options.h"
#include "base/descriptors.h"
#include "base/host.h"
#include "base/log.h"
#include "base/slice.h"
#include "dataplane/chunkd/chunkd_config.h"
#include "dataplane/chunkd/control.h"
#include "dataplane/chunkd/server.h"

static const char usage_text[] =
    "usage: pawl-chunkd --config FILE [--check-config]\n"
    "\n"
    "Stores chunks and serves the data plane of a Pawl cluster.\n"
    "\n"
    "  -c, --config FILE   configuration (YAML)\n"
    "      --check-config  check the configuration and exit\n"
    "  -h, --help          this text\n"
    "  -V, --version       version\n"
    "\n"
    "Exit status: 0 stopped by a signal, 1 failed, 2 wrong options or configuration,\n"
    "3 this server's chunks belong to another cluster.\n";

// ---- address file -----------------------------------------------------------------------------

// Whole or not at all: readers wait for the file to appear.
static int address_file_write(const char *path, const char *address)
{
    char temporary[4096];
    int bytes = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (bytes < 0 || (size_t)bytes >= sizeof(temporary)) {
        return -ENAMETOOLONG;
    }
    FILE *file = fopen(temporary, "we");
    if (file == NULL) {
        return -errno;
    }
    bool written = fprintf(file, "%s\n", address) > 0;
    written = fclose(file) == 0 && written;
    if (!written || rename(temporary, path) != 0) {
        int code = errno != 0 ? -errno : -EIO;
        unlink(temporary);
        return code;
    }
    return 0;
}

// ---- what is said at the start ----------------------------------------------------------------

static void say_security(const struct chunkd_config *config)
{
    for (uint32_t i = 0; i < config->fabrics_count; i++) {
        if (!pawl_host_is_loopback(config->fabrics[i].host)) {
            pawl_log_warn("security: none. Whoever reaches %s over the network can read, append to "
                          "and damage every chunk here; keep it inside a trusted network",
                          config->fabrics[i].host);
        }
    }
}

// ---- running ----------------------------------------------------------------------------------

static int chunkd_serve(const struct chunkd_config *config, const struct server *server)
{
    if (config->address_file != NULL && config->address_file[0] != '\0') {
        int code = address_file_write(config->address_file, server_address(server));
        if (code != 0) {
            pawl_log_error("the address can't be written to %s: %s", config->address_file,
                           pawl_strerror(code));
        }
    }
    struct control_options options = {
        .size = sizeof(options),
        .master_host = config->master_host,
        .master_port = config->master_port,
        .name = config->name,
        .location = config->location,
        .address = server_address(server),
        .dir = config->directory,
    };
    return control_run(&options, server_reactors(server), server_reactors_count(server));
}

static int chunkd_run(struct chunkd_config *config)
{
    pawl_log_info("pawl-chunkd " PAWL_VERSION " starts as %s, process %ld", config->name,
                  (long)getpid());
    say_security(config);
    struct server *server = NULL;
    if (server_open(config, &server) != 0) {
        return CONTROL_EXIT_FAILED;
    }
    int status = chunkd_serve(config, server);
    server_close(server);
    pawl_log_info("stopped");
    return status;
}

int main(int argc, char **argv)
{
    struct pawl_daemon_options options;
    int status = pawl_daemon_options_parse(argc, argv, "pawl-chunkd", usage_text, &options);
    if (status != PAWL_DAEMON_GO_ON) {
        return status;
    }
    pawl_log_init(PAWL_LOG_INFO, STDERR_FILENO);
    struct chunkd_config config;
    struct pawl_config_error error;
    memset(&config, 0, sizeof(config));
    if (chunkd_config_load(options.config, &config, &error) != 0) {
        fprintf(stderr, "pawl-chunkd: %s\n", error.text);
        return CONTROL_EXIT_USAGE;
    }
    if (options.check) {
        printf("%s: ok\n", options.config);
        status = CONTROL_EXIT_OK;
    } else {
        signal(SIGPIPE, SIG_IGN);
        pawl_log_init(config.log_level, STDERR_FILENO);
        pawl_descriptors_raise();
        pawl_slice_shorten(); // of all threads that follow
        status = chunkd_run(&config);
    }
    chunkd_config_fini(&config);
    return status;
}
