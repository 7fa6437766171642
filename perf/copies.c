// SPDX-License-Identifier: Apache-2.0
// Copies of each byte.
#include "perf/copies.h"

#include <math.h>

#include "base/clock.h"
#include "client/push.h"

#define WAIT_MS 2000u

void perf_copies_add(struct perf_copies *copies, const struct pawl_file *file)
{
    struct pawl_counters counters;
    if (file != NULL) {
        pawl_counters(file, &counters);
        copies->stored_bytes += counters.payload_bytes;
        copies->copied_bytes += counters.payload_copied_bytes;
        copies->read_bytes += counters.read_bytes;
        copies->read_copied_bytes += counters.read_copied_bytes;
    }
}

void perf_copies_add_pushes(struct perf_copies *copies, const struct client_pusher *pusher)
{
    struct client_push_counters counters;
    if (pusher != NULL) {
        client_push_counters(pusher, &counters);
        copies->stored_bytes += counters.bytes;
        copies->pushed_bytes += counters.bytes;
        copies->copied_bytes += counters.copied_bytes;
    }
}

void perf_copies_merge(struct perf_copies *copies, const struct perf_copies *from)
{
    copies->stored_bytes += from->stored_bytes;
    copies->pushed_bytes += from->pushed_bytes;
    copies->copied_bytes += from->copied_bytes;
    copies->read_bytes += from->read_bytes;
    copies->read_copied_bytes += from->read_copied_bytes;
}

static int add_server(void *user, const struct pawl_server_info *server)
{
    struct perf_copies *sum = user;
    sum->stored_bytes += server->stored_bytes;
    sum->copied_bytes += server->copied_bytes;
    sum->read_bytes += server->read_bytes;
    sum->read_copied_bytes += server->read_copied_bytes;
    return 0;
}

void perf_copies_now(struct pawl *pawl, struct perf_copies *ret)
{
    *ret = (struct perf_copies){0};
    if (pawl_servers(pawl, NULL, add_server, ret) != 0) {
        *ret = (struct perf_copies){0};
    }
}

void perf_copies_wait(struct pawl *pawl, const struct perf_copies *begin, uint64_t stored_bytes,
                      uint64_t read_bytes, struct perf_copies *ret)
{
    uint64_t until_ns = pawl_clock_ns() + WAIT_MS * PAWL_NS_PER_MS;
    perf_copies_now(pawl, ret);
    while ((ret->stored_bytes < begin->stored_bytes + stored_bytes ||
            ret->read_bytes < begin->read_bytes + read_bytes) &&
           pawl_clock_ns() < until_ns) {
        (void)pawl_poll(pawl, WAIT_MS / 40);
        perf_copies_now(pawl, ret);
    }
}

// What clients copied, and the servers' part by their share; NaN: no server has told of such bytes.
static double copied(uint64_t bytes, uint64_t by_clients, uint64_t servers_bytes,
                     uint64_t by_servers)
{
    if (bytes == 0) {
        return 0;
    }
    return servers_bytes == 0
               ? NAN
               : (double)by_clients + (double)bytes * (double)by_servers / (double)servers_bytes;
}

double perf_copies_per_byte(const struct perf_copies *clients, const struct perf_copies *begin,
                            const struct perf_copies *end, uint64_t replicas)
{
    uint64_t bytes = clients->stored_bytes + clients->read_bytes;
    // Servers that were started anew begin to count anew.
    if (bytes == 0 || end->stored_bytes < begin->stored_bytes ||
        end->copied_bytes < begin->copied_bytes || end->read_bytes < begin->read_bytes ||
        end->read_copied_bytes < begin->read_copied_bytes) {
        return NAN;
    }
    double stored =
        copied(clients->stored_bytes, clients->copied_bytes,
               end->stored_bytes - begin->stored_bytes + clients->pushed_bytes * replicas,
               end->copied_bytes - begin->copied_bytes);
    double read =
        copied(clients->read_bytes, clients->read_copied_bytes, end->read_bytes - begin->read_bytes,
               end->read_copied_bytes - begin->read_copied_bytes);
    return (stored + read) / (double)bytes;
}
