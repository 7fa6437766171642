// SPDX-License-Identifier: Apache-2.0
// Processes of the local cluster: spawning daemons, finding and signalling them by their pid files.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <pawl/error.h>

#include "base/clock.h"
#include "cli/local/local.h"

void local_id(uint32_t i, char ret[LOCAL_ID_MAX])
{
    if (i == 0) {
        snprintf(ret, LOCAL_ID_MAX, "master");
    } else {
        snprintf(ret, LOCAL_ID_MAX, "cs%u", i);
    }
}

int local_number(const struct local_cluster *cluster, const char *id)
{
    char name[LOCAL_ID_MAX];
    for (uint32_t i = 0; i <= cluster->servers_count; i++) {
        local_id(i, name);
        if (strcmp(name, id) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static int path_of(const struct local_cluster *cluster, uint32_t i, const char *name, char *ret)
{
    char id[LOCAL_ID_MAX];
    local_id(i, id);
    int length = snprintf(ret, PATH_MAX, "%s/%s/%s", cluster->dir, id, name);
    return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

// Start time of a process in clock ticks, from /proc; 0 when there is none or it is a zombie.
static unsigned long long start_time(pid_t pid)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    // The second field, in parentheses, may hold anything: fields are counted behind its end.
    char *field = strrchr(text, ')');
    if (field == NULL || field[1] == '\0' || field[2] == 'Z') {
        return 0;
    }
    unsigned number = 2;
    for (field++; *field != '\0'; field++) {
        if (*field == ' ' && ++number == 22) {
            return strtoull(field + 1, NULL, 10);
        }
    }
    return 0;
}

pid_t local_pid(const struct local_cluster *cluster, uint32_t i)
{
    char path[PATH_MAX];
    int pid = 0;
    unsigned long long started = 0;
    if (path_of(cluster, i, "pid", path) != 0) {
        return 0;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return 0;
    }
    int fields = fscanf(file, "%d %llu", &pid, &started);
    fclose(file);
    return fields == 2 && pid > 1 && started != 0 && start_time(pid) == started ? pid : 0;
}

static int pid_write(const struct local_cluster *cluster, uint32_t i, pid_t pid)
{
    char path[PATH_MAX];
    int code = path_of(cluster, i, "pid", path);
    if (code != 0) {
        return code;
    }
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        return -errno;
    }
    fprintf(file, "%d %llu\n", (int)pid, start_time(pid));
    return fclose(file) == 0 ? 0 : -errno;
}

static int daemon_path(const char *program, uint32_t i, char *ret)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", program);
    int length =
        snprintf(ret, PATH_MAX, "%s/%s", dirname(copy), i == 0 ? "pawl-master" : "pawl-chunkd");
    if (length >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    return access(ret, X_OK) == 0 ? 0 : -errno;
}

// In the child: a session of its own, the log as output, nothing inherited.
static void become_daemon(char *daemon, char *config, int log)
{
    int null = open("/dev/null", O_RDONLY);
    setsid();
    signal(SIGPIPE, SIG_DFL);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(log, STDERR_FILENO) < 0) {
        _exit(126);
    }
    closefrom(STDERR_FILENO + 1);
    char option[] = "--config";
    char *arguments[] = {daemon, option, config, NULL};
    execv(daemon, arguments);
    _exit(127);
}

int local_spawn(const struct local_cluster *cluster, uint32_t i, const char *program)
{
    char daemon[PATH_MAX];
    char config[PATH_MAX];
    char log_path[PATH_MAX];
    if (local_pid(cluster, i) != 0) {
        return 0;
    }
    int code = daemon_path(program, i, daemon);
    code = code != 0 ? code : path_of(cluster, i, "config.yaml", config);
    code = code != 0 ? code : path_of(cluster, i, "log", log_path);
    if (code != 0) {
        return code;
    }
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (log < 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_daemon(daemon, config, log);
    }
    code = pid < 0 ? -errno : 0;
    close(log);
    return code != 0 ? code : pid_write(cluster, i, pid);
}

int local_signal(const struct local_cluster *cluster, uint32_t i, int signal_number,
                 uint32_t wait_ms)
{
    pid_t pid = local_pid(cluster, i);
    if (pid == 0) {
        return PAWL_ENOTFOUND;
    }
    if (kill(pid, signal_number) != 0) {
        return -errno;
    }
    if (signal_number != SIGKILL && signal_number != SIGTERM) {
        return 0;
    }
    uint64_t until_ms = pawl_clock_ms() + wait_ms;
    while (local_pid(cluster, i) != 0) {
        if (pawl_clock_ms() >= until_ms) {
            return PAWL_EDEADLINE;
        }
        (void)waitpid(pid, NULL, WNOHANG); // when it is a child of this very process
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    return 0;
}
