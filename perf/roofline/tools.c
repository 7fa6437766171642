// SPDX-License-Identifier: Apache-2.0
// Runs fi_pingpong and fio. Each has a deadline and dies with this process; nothing of theirs stays.
#include "perf/roofline/tools.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define TRIES 20u // of fi_pingpong's client, until its server listens
#define TRY_MS 50u
#define MISSING 127

// A tool that runs; its standard output is read here.
struct tool {
    pid_t pid;
    int output_fd;
};

// Of glibc: large memory that malloc() gives is in huge pages where the kernel has some, as our own is. A disk takes a
// large payload in few pieces then; fio gets twice as many MiB a second. Pages that somebody would have to set aside
// (--iomem=mmaphuge) are none of every machine.
static char huge_pages[] = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";

static void child_exec(char *const argv[], pid_t parent, int output_fd)
{
    sigset_t none;
    int null_fd = open("/dev/null", O_RDWR);

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent || null_fd < 0 ||
        dup2(output_fd, STDOUT_FILENO) < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
        dup2(null_fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    (void)close_range(STDERR_FILENO + 1, ~0U, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    putenv(huge_pages);
    execvp(argv[0], argv);
    _exit(errno == ENOENT ? MISSING : 126);
}

static int tool_start(char *const argv[], struct tool *ret)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -errno;
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        child_exec(argv, parent, fds[1]);
    }
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        return -errno;
    }
    *ret = (struct tool){.pid = pid, .output_fd = fds[0]};
    return 0;
}

// Reads what it prints until it closes its output, to a deadline; text is terminated.
static int tool_read(const struct tool *tool, char *text, uint64_t until_ms, int stop_fd)
{
    size_t used = 0;

    for (;;) {
        struct pollfd waits[] = {{.fd = tool->output_fd, .events = POLLIN},
                                 {.fd = stop_fd, .events = POLLIN}};
        uint64_t now_ms = pawl_clock_ms();
        if (now_ms >= until_ms || used + 1 >= TOOL_OUTPUT_MAX) {
            return now_ms >= until_ms ? -ETIMEDOUT : -EBADMSG;
        }
        if (poll(waits, PAWL_ARRAY_COUNT(waits), (int)(until_ms - now_ms)) <= 0) {
            continue;
        }
        if (waits[1].revents != 0) {
            return -EINTR;
        }
        ssize_t got = read(tool->output_fd, text + used, TOOL_OUTPUT_MAX - 1 - used);
        if (got <= 0) {
            text[used] = '\0';
            return got == 0 ? 0 : -errno;
        }
        used += (size_t)got;
    }
}

// Ends it if it does not end by itself. 0: it ended well.
static int tool_end(struct tool *tool, bool is_killed)
{
    int status = 0;

    if (is_killed) {
        kill(tool->pid, SIGKILL);
    }
    while (waitpid(tool->pid, &status, 0) < 0 && errno == EINTR) {
        // interrupted
    }
    close(tool->output_fd);
    if (WIFEXITED(status) && WEXITSTATUS(status) == MISSING) {
        return -ENOENT;
    }
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

// One tool from its start to its end.
static int tool_run(char *const argv[], char *text, uint32_t timeout_ms, int stop_fd)
{
    struct tool tool;
    int rc = tool_start(argv, &tool);

    if (rc != 0) {
        return rc;
    }
    rc = tool_read(&tool, text, pawl_clock_ms() + timeout_ms, stop_fd);
    int ended = tool_end(&tool, rc != 0);
    return rc != 0 ? rc : ended;
}

static void command_say(char *const argv[], char *command, size_t bytes)
{
    size_t used = 0;

    command[0] = '\0';
    for (size_t i = 0; argv[i] != NULL && used < bytes; i++) {
        int wrote = snprintf(command + used, bytes - used, "%s%s", i > 0 ? " " : "", argv[i]);
        used += wrote > 0 ? (size_t)wrote : 0;
    }
}

// ---- fi_pingpong ------------------------------------------------------------------------------

// A port that is free now; another process may take it before it is used: then the run fails, and so the check.
static int port_free(uint16_t *ret)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY)};
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;

    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        rc = -errno;
    }
    close(fd);
    *ret = ntohs(address.sin_port);
    return rc;
}

static int client_run(char *const argv[], const struct tool_ping *ping, char *text)
{
    int rc = -EIO;

    for (uint32_t i = 0; i < TRIES && rc == -EIO; i++) {
        (void)poll(NULL, 0, TRY_MS); // the server needs a moment until it listens
        rc = tool_run(argv, text, ping->timeout_ms, ping->stop_fd);
    }
    return rc;
}

int tools_pingpong(const struct tool_ping *ping, char *command, size_t command_bytes,
                   double *ret_us)
{
    char bytes[16], rounds[16], port[8], provider[24], host[72];
    char name[] = "fi_pingpong", p[] = "-p", e[] = "-e", msg[] = "msg", s[] = "-S", n[] = "-I";
    char to[] = "-P", at[] = "-B";
    uint16_t number = 0;
    struct tool server;
    char *text = malloc(TOOL_OUTPUT_MAX);
    int rc = text != NULL ? port_free(&number) : -ENOMEM;

    snprintf(bytes, sizeof(bytes), "%u", ping->bytes);
    snprintf(rounds, sizeof(rounds), "%u", ping->rounds);
    snprintf(port, sizeof(port), "%u", number);
    snprintf(provider, sizeof(provider), "%s", ping->provider);
    snprintf(host, sizeof(host), "%s", ping->host);
    char *const server_argv[] = {name, p, provider, e, msg, s, bytes, n, rounds, at, port, NULL};
    char *const client_argv[] = {name, p,      provider, e,    msg,  s,   bytes,
                                 n,    rounds, to,       port, host, NULL};
    snprintf(command, command_bytes, "fi_pingpong -p %s -e msg -S %u -I %u", ping->provider,
             ping->bytes, ping->rounds);
    rc = rc == 0 ? tool_start(server_argv, &server) : rc;
    if (rc == 0) {
        rc = client_run(client_argv, ping, text);
        int ended = tool_end(&server, true);
        rc = ended == -ENOENT ? ended : rc;
    }
    rc = rc == 0 ? tools_pingpong_parse(text, ret_us) : rc;
    free(text);
    return rc;
}

// ---- fio --------------------------------------------------------------------------------------

int tools_fio(const struct tool_disk *disk, char *command, size_t command_bytes, double *ret_per_s)
{
    char filename[96], bs[32], depth[32], size[40], runtime[32];
    char name[] = "fio", job[] = "--name=roofline", engine[] = "--ioengine=io_uring";
    char direct[] = "--direct=1", fixed[] = "--fixedbufs=1", files[] = "--registerfiles=1";
    char timed[] = "--time_based", none[] = "--fallocate=none", create[] = "--allow_file_create=0";
    char json[] = "--output-format=json", write_word[] = "--rw=write", read_word[] = "--rw=read";
    char dsync[] = "--sync=dsync", async[] = "--sync=none", aligned[] = "--iomem_align=2097152";
    char *text = malloc(TOOL_OUTPUT_MAX);

    if (text == NULL) {
        return -ENOMEM;
    }
    snprintf(filename, sizeof(filename), "--filename=%s", disk->path);
    snprintf(bs, sizeof(bs), "--bs=%u", disk->bytes);
    snprintf(depth, sizeof(depth), "--iodepth=%u", disk->depth);
    snprintf(size, sizeof(size), "--size=%llu",
             (unsigned long long)(disk->file_bytes / disk->bytes * disk->bytes));
    snprintf(runtime, sizeof(runtime), "--runtime=%ums", disk->duration_ms);
    char *const argv[] = {name,
                          disk->is_read ? read_word : write_word,
                          bs,
                          depth,
                          disk->is_durable ? dsync : async,
                          engine,
                          direct,
                          fixed,
                          aligned, // so that huge pages begin with the memory
                          files,
                          job,
                          filename,
                          size,
                          timed,
                          runtime,
                          none,
                          create,
                          json,
                          NULL};
    command_say(argv, command, command_bytes);
    int rc = tool_run(argv, text, disk->timeout_ms, disk->stop_fd);
    rc = rc == 0 ? tools_fio_parse(text, disk->is_read, ret_per_s) : rc;
    free(text);
    return rc;
}
