// SPDX-License-Identifier: Apache-2.0
// Finding, starting and taking down the cluster; its processes' CPU time.
#include "perf/cluster.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <linux/magic.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/host.h"
#include "controlplane/rpc/rpc.h"
#include "perf/interrupt.h"
#include "perf/perf.h"
#include "perf/stats.h"

// ---- the program pawl ---------------------------------------------------------------------------

static int pawl_path(char ret[static PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        return -errno;
    }
    self[length] = '\0';
    if (snprintf(ret, PATH_MAX, "%s/pawl", dirname(self)) >= PATH_MAX) {
        return -ENAMETOOLONG;
    }
    return access(ret, X_OK) == 0 ? 0 : -errno;
}

// Its output goes to our standard error, so that standard output is ours alone, or nowhere. Signals that are
// blocked here are not in there.
static int spawn(const char **arguments, bool is_quiet, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    if (is_quiet) {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    } else {
        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    }
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int code = posix_spawn(ret_pid, arguments[0], &actions, &attributes, (char *const *)arguments,
                           environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -code;
}

static int run_pawl(const struct perf_options *options, bool is_quiet, const char **words,
                    size_t count)
{
    char program[PATH_MAX];
    char timeout[24];
    const char *arguments[24] = {program, "--json", "--timeout", timeout};
    size_t used = 4;
    int code = pawl_path(program);
    if (code != 0) {
        fprintf(stderr, "pawl-perf: the program pawl must lie beside this one: %s: %s\n", program,
                pawl_strerror(code));
        return PERF_FAILED;
    }
    snprintf(timeout, sizeof timeout, "%.1f", (double)options->timeout_ms / 1e3);
    for (size_t i = 0; i < count && used + 1 < PAWL_ARRAY_COUNT(arguments); i++) {
        arguments[used++] = words[i];
    }
    pid_t pid = 0;
    int status = 0;
    code = spawn(arguments, is_quiet, &pid);
    while (code == 0 && waitpid(pid, &status, 0) < 0) {
        code = errno == EINTR ? 0 : -errno;
    }
    if (code != 0) {
        fprintf(stderr, "pawl-perf: %s: %s\n", program, pawl_strerror(code));
        return PERF_FAILED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : PERF_FAILED;
}

int perf_cluster_local(const struct perf_cluster *cluster, const char *action, const char *id)
{
    const char *words[] = {"--dir", cluster->local.dir, "local", action, id};
    return run_pawl(cluster->options, false, words, PAWL_ARRAY_COUNT(words) - (id == NULL));
}

int perf_cluster_restart(const struct perf_cluster *cluster)
{
    static const char *const actions[] = {"stop", "start"};
    int code = 0;
    for (size_t i = 0; cluster->folder[0] != '\0' && code == 0 && i < PAWL_ARRAY_COUNT(actions);
         i++) {
        const char *words[] = {"--dir", cluster->local.dir, "local", actions[i]};
        code = run_pawl(cluster->options, true, words, PAWL_ARRAY_COUNT(words));
    }
    if (perf_interrupted() != 0) {
        return PERF_SIGNAL + perf_interrupted();
    }
    return code != 0 || cluster->folder[0] == '\0' ? code : perf_cluster_wait_live(cluster);
}

// ---- open and close -----------------------------------------------------------------------------

static void look_at_disk(struct perf_cluster *cluster)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {{EXT4_SUPER_MAGIC, "ext4"},         {XFS_SUPER_MAGIC, "xfs"},
                 {BTRFS_SUPER_MAGIC, "btrfs"},       {TMPFS_MAGIC, "tmpfs"},
                 {OVERLAYFS_SUPER_MAGIC, "overlay"}, {NFS_SUPER_MAGIC, "nfs"},
                 {F2FS_SUPER_MAGIC, "f2fs"}};
    struct statfs disk;
    char path[PATH_MAX];
    snprintf(cluster->file_system, sizeof cluster->file_system, "unknown");
    if (statfs(cluster->local.dir, &disk) == 0) {
        snprintf(cluster->file_system, sizeof cluster->file_system, "%#lx",
                 (unsigned long)disk.f_type);
        for (size_t i = 0; i < PAWL_ARRAY_COUNT(known); i++) {
            if (known[i].magic == (unsigned long)disk.f_type) {
                snprintf(cluster->file_system, sizeof cluster->file_system, "%s", known[i].name);
            }
        }
    }
    if (snprintf(path, sizeof path, "%s/cluster.yaml", cluster->local.dir) < (int)sizeof path) {
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        cluster->direct = fd >= 0;
        if (fd >= 0) {
            close(fd);
        }
    }
}

static void look_at_transport(struct perf_cluster *cluster)
{
    const char *provider = cluster->local.provider;
    char congestion[PAWL_CONGESTION_MAX];
    char host[sizeof cluster->local.master];
    uint16_t port;
    bool is_tcp = strcmp(provider, "tcp") == 0 &&
                  rpc_address_parse(cluster->local.master, host, sizeof host, &port) == 0 &&
                  pawl_host_congestion(host, port, congestion) == 0;
    snprintf(cluster->transport, sizeof cluster->transport, "%s%s%s%s", provider,
             is_tcp ? " (" : "", is_tcp ? congestion : "", is_tcp ? ")" : "");
}

static int start_own(const struct perf_options *options, struct perf_cluster *cluster)
{
    char servers[24];
    const char *words[] = {"--dir",   cluster->folder, "--provider", options->provider,
                           "local",   "start",         "--servers",  servers,
                           "--route", options->route};
    char where[PATH_MAX];
    // Absolute, since daemons keep it in their configuration.
    if (realpath(options->dir, where) == NULL ||
        snprintf(cluster->folder, sizeof cluster->folder, "%s/pawl-perf-XXXXXX", where) >=
            (int)sizeof cluster->folder ||
        mkdtemp(cluster->folder) == NULL) {
        cluster->folder[0] = '\0';
        fprintf(stderr, "pawl-perf: --dir %s: %s; right is a folder that can be written to\n",
                options->dir, pawl_strerror(-errno));
        return PERF_USAGE;
    }
    snprintf(servers, sizeof servers, "%u", (unsigned)options->servers);
    int code = run_pawl(options, false, words, PAWL_ARRAY_COUNT(words));
    if (code != 0) {
        fprintf(stderr, "pawl-perf: the cluster in %s did not start\n", cluster->folder);
        return code == PERF_UNREACHABLE ? PERF_UNREACHABLE : PERF_FAILED;
    }
    return 0;
}

int perf_cluster_open(const struct perf_options *options, struct perf_cluster *ret)
{
    struct pawl_config_error error;
    *ret = (struct perf_cluster){.options = options};
    int code = options->cluster == NULL ? start_own(options, ret) : 0;
    if (code != 0) {
        return code;
    }
    code =
        local_load(options->cluster != NULL ? options->cluster : ret->folder, &ret->local, &error);
    if (code != 0) {
        fprintf(stderr, "pawl-perf: %s%s\n", options->cluster != NULL ? "--cluster: " : "",
                error.text);
        return code == PAWL_ENOTFOUND ? PERF_UNREACHABLE : PERF_FAILED;
    }
    look_at_disk(ret);
    look_at_transport(ret);
    return 0;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

int perf_cluster_close(struct perf_cluster *cluster)
{
    int code = 0;
    if (cluster->folder[0] == '\0') {
        return 0;
    }
    char path[PATH_MAX];
    snprintf(cluster->local.dir, sizeof cluster->local.dir, "%s", cluster->folder);
    if (snprintf(path, sizeof path, "%s/cluster.yaml", cluster->folder) < (int)sizeof path &&
        access(path, F_OK) == 0) {
        code = perf_cluster_local(cluster, "stop", NULL);
    }
    if (cluster->options->keep || code != 0) {
        fprintf(stderr, "pawl-perf: %s is left\n", cluster->folder);
    } else if (nftw(cluster->folder, remove_entry, 32, FTW_DEPTH | FTW_PHYS) != 0) {
        fprintf(stderr, "pawl-perf: removing %s: %s\n", cluster->folder, pawl_strerror(-errno));
        code = PERF_FAILED;
    }
    cluster->folder[0] = '\0';
    return code != 0 ? PERF_FAILED : 0;
}

// ---- connections --------------------------------------------------------------------------------

struct pawl_options perf_cluster_options(const struct perf_cluster *cluster, uint64_t depth,
                                         uint64_t bytes)
{
    // Room for twice what is under way, so that the region is never what is waited for.
    uint64_t region_bytes = PAWL_MAX(UINT64_C(64) << 20, 2 * depth * bytes);
    return (struct pawl_options){.size = sizeof(struct pawl_options),
                                 .master = cluster->local.master,
                                 .provider = cluster->local.provider,
                                 .deadline_ms = (uint32_t)cluster->options->timeout_ms,
                                 .depth_max = (uint32_t)PAWL_MIN(depth, (uint64_t)PERF_DEPTH_MAX),
                                 .region_bytes = region_bytes,
                                 .memory_bytes_max = 16 * region_bytes};
}

int perf_cluster_connect(const struct perf_cluster *cluster, struct pawl **ret)
{
    struct pawl_options options = perf_cluster_options(cluster, 32, PERF_RECORD_MAX / 32);
    int code = pawl_connect(&options, ret);
    if (code != 0) {
        fprintf(stderr,
                "pawl-perf: connecting to the master at %s: %s\n      is the cluster "
                "running? `pawl --dir %s local status`\n",
                cluster->local.master, pawl_strerror(code), cluster->local.dir);
        return PERF_UNREACHABLE;
    }
    return 0;
}

static int count_live(void *user, const struct pawl_server_info *server)
{
    *(uint32_t *)user += strcmp(server->state, "live") == 0;
    return 0;
}

int perf_cluster_wait_live(const struct perf_cluster *cluster)
{
    struct pawl *pawl;
    uint32_t live = 0;
    int code = perf_cluster_connect(cluster, &pawl);
    if (code != 0) {
        return code;
    }
    uint64_t until_ms = pawl_clock_ms() + PAWL_MAX(cluster->options->timeout_ms, UINT64_C(60000));
    while (code == 0 && perf_interrupted() == 0) {
        live = 0;
        code = pawl_servers(pawl, NULL, count_live, &live);
        if (live >= cluster->local.servers_count || pawl_clock_ms() >= until_ms) {
            break;
        }
        (void)pawl_poll(pawl, 20);
    }
    pawl_close(pawl);
    if (code == 0 && live < cluster->local.servers_count && perf_interrupted() == 0) {
        code = PAWL_ENOSERVERS;
    }
    if (code != 0) {
        fprintf(stderr, "pawl-perf: %u of %u chunk servers are live: %s\n", live,
                cluster->local.servers_count, pawl_strerror(code));
        return PERF_UNREACHABLE;
    }
    return 0;
}

// ---- CPU time -----------------------------------------------------------------------------------

static int ticks_of(pid_t pid, uint64_t *ret)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (file == NULL) {
        return -ESRCH;
    }
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    return perf_proc_ticks(text, ret);
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

struct perf_cpu perf_cluster_cpu(const struct perf_cluster *cluster)
{
    struct perf_cpu cpu = {.known = true};
    struct rusage own;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    for (uint32_t i = 0; i <= cluster->local.servers_count; i++) {
        pid_t pid = local_pid(&cluster->local, i);
        uint64_t ticks = 0;
        cpu.known &= ticks_of(pid, &ticks) == 0;
        *(i == 0 ? &cpu.master_s : &cpu.servers_s) += (double)ticks * tick_s;
        cpu.pids_hash = cpu.pids_hash * 1000003u + (uint64_t)pid;
    }
    cpu.known &= cluster->local.servers_count != 0 && getrusage(RUSAGE_SELF, &own) == 0;
    cpu.client_s = cpu.known ? seconds_of(own.ru_utime) + seconds_of(own.ru_stime) : 0;
    return cpu;
}
