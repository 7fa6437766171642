// SPDX-License-Identifier: Apache-2.0
// The clients' node: a thread for each client, and the main thread, which listens to the caller's process.
//
// A thread waits for the next run on a semaphore; the main thread waits for threads on an eventfd, beside the
// control socket: when that ends, the process ends at once.
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "perf/roofline/client.h"

#define START_NS (10 * PAWL_NS_PER_MS)

struct worker {
    struct client client;
    struct clients *clients;
    pthread_t thread;
    sem_t go;
    int code; // of what it did last; read after the eventfd
};

struct clients {
    const struct node_config *config;
    struct worker *workers;
    uint32_t count;
    struct client_run run;
    int done_fd; // counts threads that are done
    atomic_bool is_stopping;
    uint64_t cpu_start_ns;
    char *error;
};

static void done_say(struct clients *clients)
{
    uint64_t one = 1;
    ssize_t written = write(clients->done_fd, &one, sizeof(one));

    (void)written; // it can't be full
}

static void *worker_main(void *user)
{
    struct worker *worker = user;
    struct clients *clients = worker->clients;

    worker->code = client_open(&worker->client);
    done_say(clients);
    for (;;) {
        while (sem_wait(&worker->go) != 0) {
            // interrupted
        }
        if (atomic_load(&clients->is_stopping)) {
            break;
        }
        worker->code = client_work(&worker->client, &clients->run);
        done_say(clients);
    }
    client_close(&worker->client);
    return NULL;
}

// Until `count` threads are done. An error of one is an error; the others are not waited for.
static int workers_wait(struct clients *clients)
{
    uint64_t done = 0;
    struct pollfd polls[] = {
        {.fd = CONTROL_FD, .events = 0}, // POLLHUP
        {.fd = clients->done_fd, .events = POLLIN},
    };

    while (done < clients->count) {
        int ready = poll(polls, PAWL_ARRAY_COUNT(polls), -1);
        if (ready < 0 && errno != EINTR) {
            return node_error(clients->error, -errno, "waiting for clients");
        }
        if (ready > 0 && polls[0].revents != 0) {
            return node_error(clients->error, -EPIPE, "the caller is gone");
        }
        uint64_t more = 0;
        if (ready > 0 && read(clients->done_fd, &more, sizeof(more)) == sizeof(more)) {
            done += more;
        }
        for (uint32_t i = 0; more > 0 && i < clients->count; i++) {
            const struct worker *worker = &clients->workers[i];
            if (worker->client.error[0] != '\0') {
                return node_error(clients->error, -EIO, worker->client.error);
            }
        }
    }
    for (uint32_t i = 0; i < clients->count; i++) {
        if (clients->workers[i].code != 0) {
            return node_error(clients->error, clients->workers[i].code,
                              clients->workers[i].client.error);
        }
    }
    return 0;
}

static int workers_start(struct clients *clients, const struct control_message *message)
{
    for (uint32_t i = 0; i < clients->config->options.clients; i++) {
        struct worker *worker = &clients->workers[i];
        worker->clients = clients;
        worker->client.config = clients->config;
        worker->client.index = i;
        memcpy(worker->client.ports, message->ports, sizeof(worker->client.ports));
        sem_init(&worker->go, 0, 0);
        int code = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (code != 0) {
            return node_error(clients->error, -code, "starting a client");
        }
        clients->count++;
    }
    return workers_wait(clients);
}

static void result_fill(struct clients *clients, struct control_message *message)
{
    uint64_t last_ns = 0;
    uint64_t limited = clients->config->options.records_max;

    pawl_histogram_init(&message->latencies);
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct client *client = &clients->workers[i].client;
        pawl_histogram_merge(&message->latencies, &client->latencies);
        last_ns = PAWL_MAX(last_ns, client->last_answer_ns);
    }
    uint64_t end_ns = limited != 0 ? PAWL_MIN(clients->run.end_ns, last_ns) : clients->run.end_ns;
    message->window_ns = end_ns > clients->run.window_ns ? end_ns - clients->run.window_ns : 1;
}

static int clients_run_once(struct clients *clients, struct control_message *message)
{
    const struct control_point *point = &message->u.point;
    struct client_run *run = &clients->run;

    clients->cpu_start_ns = node_cpu_ns();
    run->point = *point;
    run->point.batch = PAWL_MIN(point->batch, clients->config->batch_max);
    run->start_ns = pawl_clock_ns() + START_NS;
    // Of a given number of records all are measured.
    uint32_t warm_up_ms = clients->config->options.records_max != 0 ? 0 : point->warm_up_ms;
    run->window_ns = run->start_ns + warm_up_ms * PAWL_NS_PER_MS;
    run->end_ns = run->window_ns + point->duration_ms * PAWL_NS_PER_MS;
    for (uint32_t i = 0; i < clients->count; i++) {
        sem_post(&clients->workers[i].go);
    }
    int rc = workers_wait(clients);
    if (rc == 0) {
        result_fill(clients, message);
    }
    return rc;
}

static void stats_fill(const struct clients *clients, struct node_stats *ret)
{
    *ret = (struct node_stats){.cpu_ns = node_cpu_ns() - clients->cpu_start_ns};
    for (uint32_t i = 0; i < clients->count; i++) {
        const struct node_stats *stats = &clients->workers[i].client.stats;
        ret->records_count += stats->records_count;
        ret->sent_count += stats->sent_count;
        ret->window_count += stats->window_count;
        ret->messages_count += stats->messages_count;
        ret->message_bytes += stats->message_bytes;
        ret->transfers_count += stats->transfers_count;
        ret->verified_count += stats->verified_count;
    }
}

static int clients_loop(struct clients *clients)
{
    struct control_message *message = malloc(sizeof(*message));
    int rc = message != NULL ? 1 : node_error(clients->error, -ENOMEM, "memory");

    while (rc > 0 && (rc = control_receive(CONTROL_FD, -1, message)) >= 0) {
        if (rc == 0) {
            rc = 1; // interrupted
            continue;
        }
        if (message->type == CONTROL_STOP) {
            rc = 0;
            break;
        }
        int code = message->type == CONTROL_CONNECT ? workers_start(clients, message)
                   : message->type == CONTROL_RUN   ? clients_run_once(clients, message)
                                                    : 0;
        if (message->type == CONTROL_STATS) {
            stats_fill(clients, &message->u.stats);
        }
        rc = code == 0 ? control_send(CONTROL_FD, message) : code;
        rc = rc == 0 ? 1 : rc;
    }
    free(message);
    return rc;
}

// After an error threads may be anywhere: the process ends without them.
static void workers_stop(struct clients *clients)
{
    atomic_store(&clients->is_stopping, true);
    for (uint32_t i = 0; i < clients->count; i++) {
        sem_post(&clients->workers[i].go);
        pthread_join(clients->workers[i].thread, NULL);
        sem_destroy(&clients->workers[i].go);
    }
    free(clients->workers);
    close(clients->done_fd);
}

int clients_run(const struct node_config *config, char error[ROOFLINE_TEXT_MAX])
{
    static struct clients clients; // threads may outlive this call when it fails
    struct control_message message;

    clients.config = config;
    clients.error = error;
    clients.workers = calloc(config->options.clients, sizeof(*clients.workers));
    clients.done_fd = eventfd(0, EFD_CLOEXEC);
    if (clients.workers == NULL || clients.done_fd < 0) {
        return node_error(error, -ENOMEM, "memory for clients");
    }
    control_message_init(&message, CONTROL_OPEN);
    int rc = control_send(CONTROL_FD, &message);
    rc = rc == 0 ? clients_loop(&clients) : rc;
    if (rc == 0) {
        workers_stop(&clients);
    }
    return rc;
}
