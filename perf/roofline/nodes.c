// SPDX-License-Identifier: Apache-2.0
// Processes of the roofline and their files, in the caller's process.
#include "perf/roofline/nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "perf/roofline/shape.h"

#define NODE_PROGRAM "pawl-roofline-node"
#define FILL_BYTES (1u << 20)
#define STOP_MS 3000u
#define DEATH_MS 200u // a process that was killed explains more than a peer that misses it

int nodes_fail(struct nodes *nodes, int code, const char *format, ...)
{
    va_list args;

    if (nodes->error[0] == '\0') {
        va_start(args, format);
        vsnprintf(nodes->error, ROOFLINE_TEXT_MAX, format, args);
        va_end(args);
    }
    return code;
}

int nodes_init(struct nodes *nodes, const struct roofline_options *options, char *error)
{
    *nodes = (struct nodes){.stop_fd = options->stop_fd, .error = error};
    if (options->node_program != NULL) {
        snprintf(nodes->program, sizeof(nodes->program), "%s", options->node_program);
        return 0;
    }
    size_t room = sizeof(nodes->program) - sizeof(NODE_PROGRAM);
    ssize_t length = readlink("/proc/self/exe", nodes->program, room);
    if (length <= 0 || (size_t)length >= room) {
        return nodes_fail(nodes, -ENOENT, "this program can't be found in /proc/self/exe");
    }
    nodes->program[length] = '\0';
    char *name = strrchr(nodes->program, '/');
    strcpy(name != NULL ? name + 1 : nodes->program, NODE_PROGRAM);
    if (access(nodes->program, X_OK) != 0) {
        return nodes_fail(nodes, -ENOENT, "%s: %s", nodes->program, strerror(errno));
    }
    return 0;
}

static int stopped(struct nodes *nodes)
{
    return nodes_fail(nodes, -EINTR, "interrupted");
}

// ---- files ------------------------------------------------------------------------------------

static int file_open(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)) {
        return fd >= 0 ? fd : -errno;
    }
    char name[4096];
    snprintf(name, sizeof(name), "%s/.pawl-roofline.XXXXXX", dir);
    fd = mkostemp(name, O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    unlink(name);
    return fd;
}

// As dataplane/store asks for it.
static uint32_t block_of(int fd)
{
    struct statx info = {0};

    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0 ||
        (info.stx_mask & STATX_DIOALIGN) == 0) {
        return SHAPE_PAGE_BYTES;
    }
    uint32_t align = PAWL_MAX(info.stx_dio_offset_align, info.stx_dio_mem_align);
    return align <= SHAPE_PAGE_BYTES && pawl_is_power_of_two(align)
               ? PAWL_MAX(align, DISK_BLOCK_BYTES_MIN)
               : SHAPE_PAGE_BYTES;
}

static bool is_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};

    return poll(&wait, 1, 0) > 0;
}

static int file_fill(int fd, uint64_t bytes, uint32_t pattern_bytes, int stop_fd)
{
    uint32_t piece = pattern_bytes != 0 ? pattern_bytes : FILL_BYTES;
    uint8_t *memory = aligned_alloc(SHAPE_PAGE_BYTES, pawl_align_up(piece, SHAPE_PAGE_BYTES));
    uint64_t at = 0;
    int code = memory != NULL ? 0 : -ENOMEM;

    if (memory != NULL) {
        memset(memory, 0, pawl_align_up(piece, SHAPE_PAGE_BYTES));
    }
    while (code == 0 && at < bytes) {
        uint64_t count = PAWL_MIN(bytes - at, (uint64_t)piece);
        if (pattern_bytes != 0) {
            shape_payload_fill(memory, piece, 0, at / piece, true);
        }
        ssize_t written = pwrite(fd, memory, count, (off_t)at);
        code = written == (ssize_t)count ? 0 : written < 0 ? -errno : -EIO;
        code = code == 0 && is_readable(stop_fd) ? -EINTR : code;
        at += count;
    }
    free(memory);
    return code == 0 && fsync(fd) != 0 ? -errno : code;
}

int nodes_file(struct nodes *nodes, const char *dir, uint64_t bytes, uint32_t pattern_bytes,
               uint32_t *ret_block_bytes)
{
    int fd = file_open(dir);

    if (fd < 0) {
        return nodes_fail(nodes, fd, "a file for O_DIRECT in %s: %s", dir, strerror(-fd));
    }
    *ret_block_bytes = block_of(fd);
    int code = file_fill(fd, bytes, pattern_bytes, nodes->stop_fd);
    if (code != 0) {
        close(fd);
    }
    if (code == -EINTR) {
        return stopped(nodes);
    }
    if (code != 0) {
        return nodes_fail(nodes, code, "%llu bytes in %s: %s", (unsigned long long)bytes, dir,
                          strerror(-code));
    }
    return fd;
}

// ---- processes --------------------------------------------------------------------------------

// Between fork and exec: system calls only. Descriptors above those of the node are closed.
static void child_exec(const struct nodes *nodes, pid_t parent, const int from[3])
{
    char *const argv[] = {(char *)(uintptr_t)nodes->program, NULL};
    int high[3];
    sigset_t none;

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent) {
        _exit(127);
    }
    for (int i = 0; i < 3; i++) {
        high[i] = from[i] >= 0 ? fcntl(from[i], F_DUPFD, 16) : -1;
    }
    for (int i = 0; i < 3; i++) {
        if (high[i] < 0 && from[i] >= 0) {
            _exit(127);
        }
        (void)close(CONTROL_FD + i);
        if (high[i] >= 0 && dup2(high[i], CONTROL_FD + i) < 0) {
            _exit(127);
        }
    }
    (void)close_range(CONTROL_FD + 3, ~0U, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(nodes->program, argv);
    _exit(127);
}

static int node_fork(struct nodes *nodes, struct node *node)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        return nodes_fail(nodes, -errno, "a control socket: %s", strerror(errno));
    }
    const int from[3] = {pair[1], node->fds[0], node->fds[1]};
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_exec(nodes, parent, from);
    }
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return nodes_fail(nodes, -errno, "a process: %s", strerror(errno));
    }
    node->pid = pid;
    node->control_fd = pair[0];
    return 0;
}

static void fds_close(int fds[2])
{
    for (int i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
        fds[i] = -1;
    }
}

int nodes_start(struct nodes *nodes, const struct node_config *config, const int fds[2],
                struct node **ret)
{
    struct node *node = nodes->count < NODES_MAX ? calloc(1, sizeof(*node)) : NULL;
    int given[2] = {fds[0], fds[1]};

    if (node == NULL) {
        fds_close(given);
        return nodes_fail(nodes, -ENOMEM, "memory for a process");
    }
    node->control_fd = -1;
    memcpy(node->fds, given, sizeof(given));
    node->config = *config;
    node->said.u.config = *config;
    node->said.u.config.options.provider = NULL;
    node->said.u.config.options.host = NULL;
    node->said.u.config.options.dir = NULL;
    node->said.u.config.options.node_program = NULL;
    node->said.u.config.options.files = NULL;
    node->said.u.config.options.stop_fd = -1;
    nodes->items[nodes->count++] = node;
    *ret = node;
    return node_fork(nodes, node);
}

static const char *node_name(const struct node *node, char text[32])
{
    switch (node->config.role) {
    case NODE_SERVER:
        snprintf(text, 32, "server %u", node->config.index);
        break;
    case NODE_CLIENTS:
        snprintf(text, 32, "the clients");
        break;
    default:
        snprintf(text, 32, "a part");
        break;
    }
    return text;
}

// What a process died of, if it did: then nothing else needs to be said.
static bool death_note(struct nodes *nodes, struct node *node)
{
    int status = 0;
    char name[32];

    if (node->pid == 0 || waitpid(node->pid, &status, WNOHANG) != node->pid) {
        return false;
    }
    node->pid = 0;
    if (WIFSIGNALED(status)) {
        nodes->error[0] = '\0';
        nodes_fail(nodes, -EPIPE, "%s (process) was killed by signal %d", node_name(node, name),
                   WTERMSIG(status));
        return true;
    }
    if (WEXITSTATUS(status) == 127) {
        nodes_fail(nodes, -EPIPE, "%s can't be started", nodes->program);
    }
    return false;
}

// After something went wrong: a killed process is the better explanation.
static void deaths_look(struct nodes *nodes)
{
    uint64_t until_ms = pawl_clock_ms() + DEATH_MS;

    do {
        for (uint32_t i = 0; i < nodes->count; i++) {
            if (death_note(nodes, nodes->items[i])) {
                return;
            }
        }
        (void)poll(NULL, 0, 10);
    } while (pawl_clock_ms() < until_ms);
}

static int answer_take(struct nodes *nodes, struct node *node, enum control_type type,
                       bool is_asked)
{
    char name[32];
    int rc = control_receive(node->control_fd, 0, &node->said);

    if (rc == 0) {
        return 0;
    }
    if (rc == 1 && node->said.type == CONTROL_ERROR) {
        node->said.u.text[sizeof(node->said.u.text) - 1] = '\0';
        nodes_fail(nodes, -EPIPE, "%s", node->said.u.text);
        rc = -EPIPE;
    } else if (rc == 1 && is_asked && node->said.type == type) {
        node->is_heard = true;
        return 0;
    }
    deaths_look(nodes);
    return nodes_fail(nodes, rc < 0 ? rc : -EBADMSG, "%s has ended", node_name(node, name));
}

// All nodes are listened to: one that wasn't asked may say that it ends.
static int answers_wait(struct nodes *nodes, uint32_t first, uint32_t count, enum control_type type,
                        uint32_t timeout_ms)
{
    uint64_t until_ms = pawl_clock_ms() + timeout_ms;
    struct pollfd polls[NODES_MAX + 1];

    for (;;) {
        uint32_t heard = 0;
        for (uint32_t i = 0; i < nodes->count; i++) {
            polls[i] = (struct pollfd){.fd = nodes->items[i]->control_fd, .events = POLLIN};
            heard += i >= first && i < first + count && nodes->items[i]->is_heard;
        }
        if (heard == count) {
            return 0;
        }
        uint64_t now_ms = pawl_clock_ms();
        if (now_ms >= until_ms) {
            return nodes_fail(nodes, -ETIMEDOUT, "no answer from a process after %u ms",
                              timeout_ms);
        }
        struct pollfd *stop = &polls[nodes->count];
        *stop = (struct pollfd){.fd = nodes->stop_fd, .events = POLLIN};
        if (poll(polls, nodes->count + 1, (int)(until_ms - now_ms)) > 0 && stop->revents != 0) {
            return stopped(nodes);
        }
        for (uint32_t i = 0; i < nodes->count; i++) {
            bool is_asked = i >= first && i < first + count;
            int rc =
                polls[i].revents != 0 ? answer_take(nodes, nodes->items[i], type, is_asked) : 0;
            if (rc != 0) {
                return rc;
            }
        }
    }
}

int nodes_ask(struct nodes *nodes, uint32_t first, uint32_t count, enum control_type type,
              uint32_t timeout_ms)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct node *node = nodes->items[i];
        struct control_message message = node->said;
        control_message_init(&node->said, type);
        memcpy(node->said.ports, message.ports, sizeof(message.ports));
        node->said.ports_count = message.ports_count;
        node->said.u = message.u;
        node->is_heard = false;
        int rc = control_send(node->control_fd, &node->said);
        if (rc != 0) {
            (void)answers_wait(nodes, first, 0, type, 0);
            deaths_look(nodes);
            return nodes_fail(nodes, rc, "a process does not listen: %s", strerror(-rc));
        }
    }
    return answers_wait(nodes, first, count, type, timeout_ms);
}

// Waits for its end, to a deadline; returns its status as waitpid() tells it.
static int node_reap(struct node *node, uint64_t until_ms)
{
    int status = 0;

    while (node->pid != 0) {
        pid_t got = waitpid(node->pid, &status, WNOHANG);
        if (got == node->pid || (got < 0 && errno == ECHILD)) {
            node->pid = 0;
        } else if (pawl_clock_ms() >= until_ms) {
            kill(node->pid, SIGKILL);
            (void)waitpid(node->pid, &status, 0);
            node->pid = 0;
        } else {
            (void)poll(NULL, 0, 2);
        }
    }
    return status;
}

int nodes_stop(struct nodes *nodes)
{
    uint64_t until_ms = pawl_clock_ms() + STOP_MS;
    bool was_well = nodes->error[0] == '\0';
    char name[32];

    for (uint32_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->items[i];
        control_message_init(&node->said, CONTROL_STOP);
        if (node->control_fd >= 0) {
            (void)!control_send(node->control_fd, &node->said);
        }
    }
    for (uint32_t i = 0; i < nodes->count; i++) {
        struct node *node = nodes->items[i];
        int status = node_reap(node, until_ms);
        if (status != 0 && was_well) { // a node that can't end may not have worked either
            nodes_fail(nodes, -EPIPE, "%s did not end well (status %x)", node_name(node, name),
                       (unsigned)status);
        }
        if (node->control_fd >= 0) {
            close(node->control_fd);
        }
        fds_close(node->fds);
        free(node);
    }
    nodes->count = 0;
    return was_well && nodes->error[0] != '\0' ? -EPIPE : 0;
}
