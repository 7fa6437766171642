// SPDX-License-Identifier: Apache-2.0
// The thread of a reactor: opens it there, says how that went, runs it to its end.
#define PAWL_LOG_SUBSYSTEM "chunkd"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <pawl/error.h>

#include "base/clock.h"
#include "base/log.h"
#include "dataplane/chunkd/reactor.h"
#include "dataplane/memory/heap_ahead.h"
#include "dataplane/memory/placement.h"

#define REACTOR_AHEAD_BYTES ((size_t)16 << 20) // tables of 100,000 records

struct reactor_thread {
    pthread_t thread;
    sem_t opened;
    struct reactor_options options;
    int status; // of opening; read after `opened`
    struct reactor *reactor;
};

// Before the thread is bound: the helper is to run on other cores.
static void begin_heap(const struct reactor_options *options)
{
    struct heap_ahead_options heap = {
        .ahead_bytes = REACTOR_AHEAD_BYTES,
        .any_node = options->numa_node == UINT32_MAX,
        .numa_node = options->numa_node,
    };
    int code = heap_ahead_begin(&heap, NULL);
    if (code != 0) {
        pawl_log_info("memory of tables is taken when it is wanted: %s", pawl_strerror(code));
    }
}

// As `top -H` and /proc show it. After what begins threads of its own: they would have the name, too.
static void name_thread(unsigned number)
{
    char name[16]; // the kernel takes no longer one
    snprintf(name, sizeof(name), "pawl-reactor-%u", number);
    pthread_setname_np(pthread_self(), name);
}

// Before anything is allocated: memory goes to the node of the thread that touches it first.
static void bind_thread(struct reactor_options *options)
{
    if (options->core == NULL) {
        return;
    }
    int code = placement_bind(options->placement, options->core);
    if (code != 0) {
        pawl_log_warn("reactor %u can't be bound to hardware thread %u: error %d", options->number,
                      options->core->pu, code);
        options->may_spin = false;
    }
}

static void *reactor_thread_main(void *user)
{
    struct reactor_thread *self = user;
    begin_heap(&self->options);
    name_thread(self->options.number);
    bind_thread(&self->options);
    self->status = reactor_open(&self->options, pawl_clock_ns(), &self->reactor);
    bool opened = self->status == 0;
    sem_post(&self->opened);
    if (opened) {
        reactor_run(self->reactor);
    }
    return NULL;
}

// Signals are the control thread's.
static int thread_create_quiet(struct reactor_thread *self)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, reactor_thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -code;
}

int reactor_thread_start(const struct reactor_options *options, struct reactor_thread **ret)
{
    struct reactor_thread *self = calloc(1, sizeof(*self));
    if (self == NULL) {
        return -ENOMEM;
    }
    self->options = *options;
    sem_init(&self->opened, 0, 0);
    int code = thread_create_quiet(self);
    if (code != 0) {
        pawl_log_error("a thread for the reactor can't be had: error %d", code);
        sem_destroy(&self->opened);
        free(self);
        return code;
    }
    while (sem_wait(&self->opened) != 0) {
        // interrupted by a signal
    }
    code = self->status;
    if (code != 0) {
        reactor_thread_join(self);
        return code;
    }
    *ret = self;
    return 0;
}

struct reactor *reactor_thread_reactor(struct reactor_thread *thread)
{
    return thread->reactor;
}

void reactor_thread_join(struct reactor_thread *thread)
{
    if (thread == NULL) {
        return;
    }
    pthread_join(thread->thread, NULL);
    reactor_close(thread->reactor);
    sem_destroy(&thread->opened);
    free(thread);
}
