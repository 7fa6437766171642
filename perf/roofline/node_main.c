// SPDX-License-Identifier: Apache-2.0
// pawl-roofline-node: a process of the roofline. Started by roofline_run() only, with its control socket as descriptor 3.
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/slice.h"
#include "perf/roofline/node.h"

#define HUGE_BYTES (2u << 20)
#define OPEN_MS 10000
#define STOP_MS 300
#define SPIN_NS 30000u // as a reactor of Pawl
#define YIELD_NS PAWL_NS_PER_MS

bool idler_is_over(struct idler *idler, bool had_work)
{
    if (had_work) {
        idler->is_spinning = false;
        return false;
    }
    if (idler->wait == ROOFLINE_WAIT_SLEEP) {
        return true;
    }
    uint64_t now_ns = pawl_clock_ns();
    if (!idler->is_spinning) {
        idler->is_spinning = true;
        idler->spin_until_ns = now_ns + (idler->wait == ROOFLINE_WAIT_YIELD ? YIELD_NS : SPIN_NS);
        return false;
    }
    if (now_ns >= idler->spin_until_ns) {
        idler->is_spinning = false;
        return true;
    }
    if (idler->wait == ROOFLINE_WAIT_YIELD) {
        (void)sched_yield();
    }
    return false;
}

void *node_memory(size_t bytes)
{
    size_t unit = bytes >= HUGE_BYTES ? HUGE_BYTES : SHAPE_PAGE_BYTES;
    size_t whole = (size_t)pawl_align_up(bytes, unit);
    void *memory = aligned_alloc(unit, whole);

    if (memory != NULL) {
        if (unit == HUGE_BYTES) {
            (void)madvise(memory, whole, MADV_HUGEPAGE); // else small ones
        }
        memset(memory, 0, whole); // no first touch in a measurement
    }
    return memory;
}

uint64_t node_cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * PAWL_NS_PER_S + (uint64_t)now.tv_nsec;
}

int node_error(char error[ROOFLINE_TEXT_MAX], int code, const char *why)
{
    if (error[0] == '\0') {
        snprintf(error, ROOFLINE_TEXT_MAX, "%s", why);
    }
    return code;
}

static bool is_node(void)
{
    struct stat stat;

    return fstat(CONTROL_FD, &stat) == 0 && S_ISSOCK(stat.st_mode);
}

static bool config_is_sound(struct node_config *config)
{
    const char *why = NULL;

    config->provider[sizeof(config->provider) - 1] = '\0';
    config->host[sizeof(config->host) - 1] = '\0';
    config->options.provider = config->provider;
    config->options.host = config->host;
    config->options.dir = "";
    config->options.node_program = NULL;
    return roofline_options_check(&config->options, &why) == 0 && config->batch_max >= 1 &&
           config->batch_max <= ROOFLINE_CLIENTS_MAX * ROOFLINE_DEPTH_MAX &&
           pawl_is_power_of_two(config->block_bytes) && config->block_bytes >= 512 &&
           config->block_bytes <= SHAPE_PAGE_BYTES && config->index < ROOFLINE_REPLICAS_MAX;
}

// Others may have been told to stop, and be gone, a moment earlier: a peer that is gone is no error then.
static bool is_told_to_stop(struct control_message *message)
{
    int rc;

    while ((rc = control_receive(CONTROL_FD, STOP_MS, message)) == 1) {
        if (message->type == CONTROL_STOP) {
            return true;
        }
    }
    return rc == -EPIPE;
}

static int role_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX])
{
    bool is_part = config->role != NODE_SERVER && config->role != NODE_CLIENTS;
    // The best at a given rate; in a closed loop it is without. Parts are compared with tools that have none.
    if (config->options.rate_per_s > 0 && !is_part) {
        pawl_slice_shorten();
    }
    switch (config->role) {
    case NODE_SERVER:
        return server_run(config, error);
    case NODE_CLIENTS:
        return clients_run(config, error);
    case NODE_PING:
    case NODE_PONG:
        return ping_run(config, error);
    case NODE_DISK:
        return disk_part_run(config, error);
    }
    return node_error(error, -EINVAL, "an unknown role");
}

int main(void)
{
    static struct node_config config;
    static struct control_message message;
    static char error[ROOFLINE_TEXT_MAX];

    if (!is_node()) {
        fprintf(stderr, "pawl-roofline-node is started by pawl-roofline\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    setenv("FI_MR_CACHE_MAX_COUNT", "0", 0);
    int rc = control_receive(CONTROL_FD, OPEN_MS, &message);
    if (rc != 1 || message.type != CONTROL_OPEN) {
        return 1;
    }
    config = message.u.config;
    rc = config_is_sound(&config) ? role_run(&config, error)
                                  : node_error(error, -EINVAL, "options that make no sense");
    if (rc == 0 || (config.role != NODE_CLIENTS && is_told_to_stop(&message))) {
        return 0;
    }
    control_message_init(&message, CONTROL_ERROR);
    snprintf(message.u.text, sizeof(message.u.text), "%s",
             error[0] != '\0' ? error : strerror(-rc));
    (void)!control_send(CONTROL_FD, &message);
    _exit(1); // threads may be anywhere
}
