// SPDX-License-Identifier: Apache-2.0
// The client: opening and closing it, and the one turn that makes progress.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAWL_LOG_SUBSYSTEM "client"
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/util.h"
#include "client/client_private.h"
#include "client/extent.h"
#include "proto/reactor.h"

#define CLIENT_REGION_BYTES (64ull << 20)
#define CLIENT_REGION_MAX (1ull << 40)
#define CLIENT_MEMORY_BYTES (1ull << 30)
#define CLIENT_DEPTH_MAX 4096u
#define CLIENT_EVENTS 64
#define CLIENT_TURN_MAX_MS 100u
#define CLIENT_CONTROL_NS 1000000u
#define CLIENT_ATTEMPT_MS 3000u

uint64_t client_deadline_from(const struct pawl *pawl, uint64_t now_ns, uint32_t deadline_ms)
{
    return now_ns + (deadline_ms != 0 ? deadline_ms : pawl->deadline_ms) * PAWL_NS_PER_MS;
}

uint64_t client_deadline_ns(const struct pawl *pawl, uint32_t deadline_ms)
{
    return client_deadline_from(pawl, pawl_clock_ns(), deadline_ms);
}

uint64_t client_attempt_ns(uint64_t deadline_ns)
{
    return PAWL_MIN(deadline_ns, pawl_clock_ns() + CLIENT_ATTEMPT_MS * PAWL_NS_PER_MS);
}

const char *pawl_version(void)
{
    return PAWL_VERSION;
}

static struct pawl_log_limit provider_limit; // asked for again and again

// ---- address book -------------------------------------------------------------------------------

static struct client_server *find_server(const struct pawl *pawl, uint64_t server_id)
{
    for (uint32_t i = 0; i < pawl->servers_count; i++) {
        if (pawl->servers[i].server_id == server_id) {
            return &pawl->servers[i];
        }
    }
    return NULL;
}

static uint32_t reactors_of(const struct pawl *pawl, const char *addresses)
{
    char range[PAWL_ADDRESS_BYTES_MAX];
    return pawl_addresses_find(addresses, pawl->provider, range) == 0 ? pawl_address_reactors(range)
                                                                      : 1;
}

void client_learn(struct pawl *pawl, const Pawl__Member *member)
{
    if (member->server_id == 0 || member->fabric_address == NULL ||
        member->fabric_address[0] == '\0' ||
        strlen(member->fabric_address) >= PAWL_ADDRESSES_BYTES_MAX) {
        return;
    }
    struct client_server *server = find_server(pawl, member->server_id);
    if (server == NULL) {
        if (pawl->servers_count == CLIENT_SERVERS_MAX) {
            return;
        }
        server = &pawl->servers[pawl->servers_count++];
        *server = (struct client_server){.server_id = member->server_id};
    }
    strcpy(server->addresses, member->fabric_address); // bounded above
    server->reactors_count = reactors_of(pawl, server->addresses);
    snprintf(server->name, sizeof server->name, "%s", member->name != NULL ? member->name : "");
}

// Servers' ids are random numbers, and so are these.
static uint64_t place_of(uint64_t server_id, uint32_t reactor)
{
    return reactor == 0 ? server_id : pawl_hash_u64(server_id + reactor);
}

uint64_t client_place(const struct pawl *pawl, uint64_t server_id, uint64_t owner)
{
    const struct client_server *server = find_server(pawl, server_id);
    return server == NULL || server->reactors_count == 1
               ? server_id
               : place_of(server_id, reactor_of(owner, server->reactors_count));
}

static const struct client_server *find_place(const struct pawl *pawl, uint64_t place,
                                              uint32_t *ret_reactor)
{
    for (uint32_t i = 0; i < pawl->servers_count; i++) {
        const struct client_server *server = &pawl->servers[i];
        for (uint32_t reactor = 0; reactor < server->reactors_count; reactor++) {
            if (place_of(server->server_id, reactor) == place) {
                *ret_reactor = reactor;
                return server;
            }
        }
    }
    return NULL;
}

uint64_t client_place_server(const struct pawl *pawl, uint64_t place)
{
    uint32_t reactor;
    const struct client_server *server = find_place(pawl, place, &reactor);
    return server != NULL ? server->server_id : place;
}

int client_address(const struct pawl *pawl, uint64_t place, struct client_address *ret)
{
    char range[PAWL_ADDRESS_BYTES_MAX];
    const struct client_server *server = find_place(pawl, place, &ret->reactor);
    if (server == NULL) {
        return PAWL_EDISCONNECTED;
    }
    ret->server_id = server->server_id;
    ret->reactors_count = server->reactors_count;
    int code = pawl_addresses_find(server->addresses, pawl->provider, range);
    if (code == 0) {
        return pawl_address_of_reactor(range, ret->reactor, ret->text);
    }
    if (code != 0) {
        char offered[PAWL_ADDRESSES_BYTES_MAX];
        pawl_addresses_providers(server->addresses, offered);
        pawl_log_limited(
            &provider_limit, PAWL_LOG_WARN,
            "server %s offers %s only; this client speaks %s: choose another provider, "
            "or add %s to `fabrics:` of that server",
            server->name, offered, pawl->provider, pawl->provider);
    }
    return code;
}

void client_avoid(struct pawl *pawl, uint64_t server_id, uint32_t ms)
{
    struct client_server *server = find_server(pawl, server_id);
    if (server != NULL) {
        server->avoid_until_ns = pawl_clock_ns() + ms * PAWL_NS_PER_MS;
    }
}

bool client_avoided(const struct pawl *pawl, uint64_t server_id)
{
    const struct client_server *server = find_server(pawl, server_id);
    return server != NULL && server->avoid_until_ns != 0 &&
           pawl_clock_ns() < server->avoid_until_ns;
}

uint64_t client_reading(const struct pawl *pawl, uint64_t server_id)
{
    const struct client_server *server = find_server(pawl, server_id);
    return server != NULL ? server->reading_bytes : 0;
}

void client_reading_add(struct pawl *pawl, uint64_t server_id, int64_t more)
{
    struct client_server *server = find_server(pawl, server_id);
    if (server != NULL) {
        server->reading_bytes += (uint64_t)more;
    }
}

// ---- progress -----------------------------------------------------------------------------------

static int poll_fabric(struct pawl *pawl, uint64_t now_ns)
{
    struct fabric_event events[CLIENT_EVENTS];
    if (pawl->fabric == NULL) {
        return 0;
    }
    int count = fabric_poll(pawl->fabric, now_ns, events, CLIENT_EVENTS);
    for (int i = 0; i < count; i++) {
        link_event(pawl, &events[i]);
    }
    return count;
}

static bool run_files(struct pawl *pawl, uint64_t now_ns)
{
    bool busy = false;
    pawl_list_for_each (node, &pawl->files) {
        busy |= file_run(pawl_container_of(node, struct pawl_file, node), now_ns);
    }
    return busy;
}

// Files are freed here only, where nobody is in the middle of one.
static void free_closed_files(struct pawl *pawl)
{
    pawl_list_for_each_safe (node, &pawl->files) {
        struct pawl_file *file = pawl_container_of(node, struct pawl_file, node);
        if (file->closed && file->outside_count == 0 && pawl_list_is_empty(&file->done) &&
            pawl_list_is_empty(&file->reads)) {
            file_free(file);
        }
    }
}

int client_callbacks(struct pawl *pawl)
{
    int ran = 0;
    int more;
    pawl->in_callback = true;
    do { // a callback may close a file that had its turn already
        more = 0;
        pawl_list_for_each (node, &pawl->files) {
            more += file_callbacks(pawl_container_of(node, struct pawl_file, node));
        }
        ran += more;
    } while (more != 0);
    pawl->in_callback = false;
    if (!pawl->closing) {
        free_closed_files(pawl);
    }
    return ran;
}

// When the control plane wants a turn though nothing goes on.
static uint64_t control_wake_ns(const struct pawl *pawl)
{
    uint64_t wake = pawl->control_ns + (uint64_t)CLIENT_TURN_MAX_MS * 1000000u;
    // By the loop's clock, which stands between turns; 0 when there is nothing in it at all.
    int timeout_ms = uv_loop_alive(&pawl->loop) ? uv_backend_timeout(&pawl->loop) : -1;
    if (timeout_ms >= 0) {
        wake = PAWL_MIN(wake, pawl->control_ns + (uint64_t)timeout_ms * 1000000u);
    }
    return pawl->master == NULL ? PAWL_MIN(wake, pawl->master_retry_ns) : wake;
}

static uint64_t wake_ns(struct pawl *pawl, uint64_t now_ns, uint64_t until_ns)
{
    uint64_t wake = PAWL_MIN(until_ns, now_ns + (uint64_t)CLIENT_TURN_MAX_MS * 1000000u);
    if (pawl->control_due) {
        wake = PAWL_MIN(wake, pawl->control_ns + CLIENT_CONTROL_NS);
    }
    wake = PAWL_MIN(wake, link_wake_ns(pawl));
    if (pawl->fabric != NULL) {
        wake = PAWL_MIN(wake, fabric_deadline_ns(pawl->fabric));
    }
    pawl_list_for_each (node, &pawl->files) {
        struct pawl_file *file = pawl_container_of(node, struct pawl_file, node);
        wake = PAWL_MIN(wake, file_chunks_wake_ns(file));
        wake = PAWL_MIN(wake, file_reads_wake_ns(file));
        if (file->closed) {
            continue;
        }
        if (!pawl_list_is_empty(&file->events)) {
            return now_ns; // an answer that came after the files had their turn
        }
        wake = PAWL_MIN(wake, append_core_wake_ns(file->core));
    }
    return PAWL_MIN(wake, control_wake_ns(pawl));
}

static void sleep_until(struct pawl *pawl, uint64_t until_ns)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t wake = wake_ns(pawl, now_ns, until_ns);
    if (wake <= now_ns || (pawl->fabric != NULL && fabric_try_wait(pawl->fabric) != 0)) {
        pawl->control_due = true; // nobody asks its descriptor
        return;
    }
    int fds[FABRIC_FDS_MAX];
    int fds_count = pawl->fabric != NULL ? fabric_wait_fds(pawl->fabric, fds) : 0;
    struct pollfd polls[FABRIC_FDS_MAX + 1];
    for (int i = 0; i < fds_count; i++) {
        polls[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    }
    polls[fds_count] = (struct pollfd){.fd = uv_backend_fd(&pawl->loop), .events = POLLIN};
    uint64_t ns = wake - now_ns;
    struct timespec timeout = {.tv_sec = (time_t)(ns / 1000000000u),
                               .tv_nsec = (long)(ns % 1000000000u)};
    int got = ppoll(polls, (nfds_t)fds_count + 1, &timeout, NULL);
    pawl->control_ready = got < 0 || (got > 0 && polls[fds_count].revents != 0);
}

// libuv writes to sockets without MSG_NOSIGNAL, and a master that was killed must not kill programs that
// leave SIGPIPE as it is.
static int run_loop(struct pawl *pawl, uv_run_mode mode)
{
    sigset_t pipe;
    sigset_t before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    int alive = uv_run(&pawl->loop, mode);
    if (sigismember(&before, SIGPIPE) == 0) {
        (void)sigtimedwait(&pipe, NULL, &(struct timespec){0}); // takes one that has come meanwhile
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    return alive;
}

// The control plane has a turn when its descriptor or a timer says so, and every CLIENT_CONTROL_NS while
// anything goes on: each costs some system calls, and an append under way needs none of it. True when all is
// idle, and what it has begun is known to the kernel.
static bool control_turn(struct pawl *pawl, uint64_t now_ns, bool idle)
{
    pawl->control_due |= !idle;
    bool due = pawl->control_due && now_ns - pawl->control_ns >= CLIENT_CONTROL_NS;
    if (due || (idle && (pawl->control_ready || control_wake_ns(pawl) <= now_ns))) {
        pawl->control_ns = now_ns;
        pawl->control_ready = false;
        pawl->control_due = !idle;
        control_keep(pawl, now_ns);
        (void)run_loop(pawl, UV_RUN_NOWAIT);
        pawl->control_due |= pawl->answered;
    }
    return idle && !pawl->answered;
}

int client_turn(struct pawl *pawl, uint64_t until_ns)
{
    uint64_t now_ns = pawl_clock_ns();
    pawl->answered = false;
    int events = poll_fabric(pawl, now_ns);
    bool busy = run_files(pawl, now_ns);
    link_deadlines(pawl, now_ns);
    int ran = client_callbacks(pawl);
    bool idle = events == 0 && !busy && ran == 0;
    if (!idle) {
        pawl_patience_renew(&pawl->patience, now_ns);
    }
    bool may_sleep = control_turn(pawl, now_ns, idle);
    if (may_sleep && (now_ns >= until_ns || !pawl_patience_wait(&pawl->patience, now_ns))) {
        sleep_until(pawl, until_ns);
    }
    return ran;
}

void client_pause(struct pawl *pawl, uint32_t ms)
{
    uint64_t until_ns = pawl_clock_ns() + ms * PAWL_NS_PER_MS;
    while (pawl_clock_ns() < until_ns) {
        client_turn(pawl, until_ns);
    }
}

int pawl_poll(struct pawl *pawl, uint32_t timeout_ms)
{
    if (pawl == NULL || pawl->in_callback) {
        return PAWL_EINVALID;
    }
    uint64_t until_ns = pawl_clock_ns() + (uint64_t)timeout_ms * 1000000u;
    int ran;
    do {
        ran = client_turn(pawl, until_ns);
    } while (ran == 0 && pawl_clock_ns() < until_ns);
    return ran;
}

// ---- opening and closing ------------------------------------------------------------------------

static int copy_options(struct pawl *pawl, const struct pawl_options *options)
{
    pawl->deadline_ms = options->deadline_ms != 0 ? options->deadline_ms : 30000;
    pawl->region_bytes =
        PAWL_MAX(options->region_bytes != 0 ? options->region_bytes : CLIENT_REGION_BYTES,
                 2ull * WIRE_RECORD_MAX);
    pawl->memory_bytes_max =
        options->memory_bytes_max != 0 ? options->memory_bytes_max : CLIENT_MEMORY_BYTES;
    pawl->memory_bytes_max = pawl_align_up(pawl->memory_bytes_max, EXTENT_PAGE_BYTES);
    pawl->depth_max = options->depth_max != 0 ? options->depth_max : 32;
    pawl->master_text = strdup(options->master);
    pawl->provider = strdup(options->provider != NULL ? options->provider : "tcp");
    pawl->fabric_host = options->fabric_host != NULL ? strdup(options->fabric_host) : NULL;
    pawl->servers = calloc(CLIENT_SERVERS_MAX, sizeof *pawl->servers);
    if (pawl->master_text == NULL || pawl->provider == NULL || pawl->servers == NULL ||
        (options->fabric_host != NULL && pawl->fabric_host == NULL)) {
        return -ENOMEM;
    }
    return rpc_address_parse(options->master, pawl->master_host, sizeof pawl->master_host,
                             &pawl->master_port);
}

int client_fabric(struct pawl *pawl)
{
    if (pawl->fabric != NULL) {
        return 0;
    }
    struct fabric_options options = {.provider = pawl->provider,
                                     .host = pawl->fabric_host,
                                     .message_bytes = WIRE_DEVICE_MESSAGE_MAX,
                                     .stream_message_bytes = WIRE_MESSAGE_MAX,
                                     .receives_count = 128,
                                     .connections_max = 256};
    int code = fabric_open(&options, &pawl->fabric);
    if (code != 0) {
        pawl->fabric = NULL;
        return code;
    }
    code = staging_open(&pawl->staging, pawl->fabric, pawl->region_bytes);
    if (code != 0) {
        fabric_close(pawl->fabric);
        pawl->fabric = NULL;
    }
    return code;
}

static int open_loop(struct pawl *pawl)
{
    int code = uv_loop_init(&pawl->loop);
    pawl->loop_open = code == 0;
    return code; // libuv's codes are negative errno
}

int pawl_connect(const struct pawl_options *options, struct pawl **ret)
{
    if (options == NULL || options->size != sizeof *options || options->master == NULL ||
        options->depth_max > CLIENT_DEPTH_MAX || options->region_bytes > CLIENT_REGION_MAX ||
        options->memory_bytes_max > CLIENT_REGION_MAX || ret == NULL) {
        return PAWL_EINVALID;
    }
    struct pawl *pawl = calloc(1, sizeof *pawl);
    if (pawl == NULL) {
        return -ENOMEM;
    }
    pawl_list_init(&pawl->links);
    pawl_list_init(&pawl->files);
    pawl_list_init(&pawl->memory_extents);
    pawl_pool_init(&pawl->requests, sizeof(struct link_request));
    append_pools_init(pawl);
    pawl->master_pause_ms = 10;
    uint64_t seed = 0;
    int code = pawl_random_os(&seed, sizeof seed);
    pawl_random_seed(&pawl->random, seed);
    pawl->read_turn = pawl_random_next(&pawl->random) >> 1; // sums stay in range
    code = code != 0 ? code : copy_options(pawl, options);
    code = code != 0 ? code : open_loop(pawl);
    code = code != 0 ? code : session_open(pawl, client_deadline_ns(pawl, 0));
    if (code != 0) {
        pawl_close(pawl);
        return code;
    }
    *ret = pawl;
    return 0;
}

static void close_loop(struct pawl *pawl)
{
    if (!pawl->loop_open) {
        return;
    }
    control_close(pawl);
    while (run_loop(pawl, UV_RUN_DEFAULT) != 0) {
    }
    int code = uv_loop_close(&pawl->loop);
    pawl_assert(code == 0);
}

void pawl_close(struct pawl *pawl)
{
    if (pawl == NULL) {
        return;
    }
    pawl_assert(!pawl->in_callback);
    pawl->closing = true;
    pawl_list_for_each (node, &pawl->files) {
        struct pawl_file *file = pawl_container_of(node, struct pawl_file, node);
        file->closed = true; // first, so that a callback submits nothing more
        file_fail_pending(file, PAWL_EUNKNOWN);
        file_reads_close(file, PAWL_ESHUTDOWN);
    }
    link_fail_all(pawl); // the memory of pending appends and reads is their callers' again
    pawl_list_for_each (node, &pawl->files) {
        file_reads_run(pawl_container_of(node, struct pawl_file, node), pawl_clock_ns());
    }
    client_callbacks(pawl);
    close_loop(pawl); // pending calls end here
    staging_close(&pawl->staging);
    registered_close(pawl);
    memory_close(pawl);
    fabric_close(pawl->fabric);
    while (!pawl_list_is_empty(&pawl->files)) {
        file_free(pawl_container_of(pawl_list_first(&pawl->files), struct pawl_file, node));
    }
    pawl_pool_fini(&pawl->requests);
    pawl_pool_fini(&pawl->appends);
    pawl_pool_fini(&pawl->calls);
    pawl_pool_fini(&pawl->events);
    free(pawl->servers);
    free(pawl->master_text);
    free(pawl->provider);
    free(pawl->fabric_host);
    free(pawl);
}
