// SPDX-License-Identifier: Apache-2.0
// doctor: what this machine offers to Pawl, and what to do about what it lacks.
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <liburing.h>
#include <net/if.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/host.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "dataplane/fabric/fabric.h"
#include "dataplane/memory/placement.h"

#define DEVICES_MAX 64u

struct doctor {
    json_t *array; // NULL: print
    int bad_count;
};

static void finding(struct doctor *doctor, const char *what, bool well, const char *found,
                    const char *advice)
{
    doctor->bad_count += !well;
    if (doctor->array != NULL) {
        json_array_append_new(doctor->array,
                              json_pack("{s:s,s:b,s:s,s:s}", "check", what, "ok", well, "found",
                                        found, "advice", well ? "" : advice));
        return;
    }
    printf("%-4s %-18s %s\n", well ? "ok" : "note", what, found);
    if (!well) {
        printf("%24s-> %s\n", "", advice);
    }
}

static void check_provider(struct doctor *doctor, const char *provider, const char *advice)
{
    struct fabric_options options = {.provider = provider,
                                     .host = strcmp(provider, "tcp") == 0 ? "127.0.0.1" : NULL,
                                     .message_bytes = 4096,
                                     .receives_count = 4,
                                     .connections_max = 4};
    struct fabric *fabric = NULL;
    char what[64];
    snprintf(what, sizeof what, "fabric %s", provider);
    // The finding says it; the library's own lines would only repeat it.
    int silence = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (silence >= 0) {
        pawl_log_init(PAWL_LOG_ERROR, silence);
    }
    int code = fabric_open(&options, &fabric);
    pawl_log_init(PAWL_LOG_WARN, STDERR_FILENO);
    if (silence >= 0) {
        close(silence);
    }
    finding(doctor, what, code == 0, code == 0 ? fabric_provider(fabric) : pawl_strerror(code),
            advice);
    fabric_close(fabric);
}

static void report_finding(void *user, const char *check, bool well, const char *found,
                           const char *advice)
{
    finding(user, check, well, found, advice);
}

static void check_congestion(const struct doctor_report *report)
{
    char name[PAWL_CONGESTION_MAX];
    if (pawl_host_congestion(NULL, 0, name) == 0) {
        doctor_tcp(name, report);
    }
}

static void check_localhost(struct doctor *doctor)
{
    struct addrinfo *found = NULL;
    int rc = getaddrinfo("localhost", NULL, NULL, &found);
    finding(doctor, "localhost", rc == 0, rc == 0 ? "is known" : gai_strerror(rc),
            "clients over verbs look this name up unless they have --fabric-host: add "
            "\"127.0.0.1 localhost\" to /etc/hosts");
    if (rc == 0) {
        freeaddrinfo(found);
    }
}

static void check_memlock(struct doctor *doctor)
{
    struct rlimit limit = {0};
    char found[64] = "unlimited";
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    if (limit.rlim_cur != RLIM_INFINITY) {
        char size[32];
        snprintf(found, sizeof found, "%s", cli_bytes_text(limit.rlim_cur, size, sizeof size));
    }
    finding(doctor, "memlock", limit.rlim_cur >= (1ull << 30), found,
            "pinned buffers stay small or unregistered; raise it: `ulimit -l unlimited`, "
            "LimitMEMLOCK=infinity in a systemd unit, or memlock in /etc/security/limits.conf");
}

static unsigned long long meminfo(const char *key)
{
    char line[256];
    unsigned long long value = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            value = strtoull(line + strlen(key), NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

static void check_huge_pages(struct doctor *doctor)
{
    unsigned long long total = meminfo("HugePages_Total:");
    char found[128];
    snprintf(found, sizeof found, "%llu of %llu kB each, %llu free", total,
             meminfo("Hugepagesize:"), meminfo("HugePages_Free:"));
    finding(doctor, "huge pages", total != 0, found,
            "optional: `sysctl vm.nr_hugepages=256` saves TLB misses in large pinned regions");
}

static void check_uring(struct doctor *doctor)
{
    struct io_uring ring;
    int code = io_uring_queue_init(8, &ring, 0);
    if (code == 0) {
        io_uring_queue_exit(&ring);
    }
    finding(
        doctor, "io_uring", code == 0, code == 0 ? "available" : strerror(-code),
        "the store falls back to plain writes; allow it with `sysctl kernel.io_uring_disabled=0` "
        "or in the container's seccomp profile");
}

static void check_direct(struct doctor *doctor, const char *dir)
{
    char path[PATH_MAX];
    char where[PATH_MAX];
    struct stat stat_dir;
    snprintf(where, sizeof where, "%s", stat(dir, &stat_dir) == 0 ? dir : ".");
    if (snprintf(path, sizeof path, "%s/.pawl-doctor-XXXXXX", where) >= (int)sizeof path) {
        return;
    }
    int fd = mkostemp(path, O_DIRECT | O_CLOEXEC);
    int error = errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    finding(doctor, "O_DIRECT", fd >= 0, fd >= 0 ? where : strerror(error),
            "the store falls back to buffered writes and fdatasync; ext4 and xfs have O_DIRECT");
}

static void check_disk(const char *dir, const struct doctor_report *report)
{
    struct stat stat_dir;
    if (stat(dir, &stat_dir) == 0 || stat(".", &stat_dir) == 0) {
        doctor_disk("", major(stat_dir.st_dev), minor(stat_dir.st_dev), report);
    }
}

static void check_kernel(struct doctor *doctor)
{
    struct utsname name;
    if (uname(&name) == 0) {
        char found[200];
        int major = atoi(name.release);
        snprintf(found, sizeof found, "%.60s %.60s on %.60s", name.sysname, name.release,
                 name.machine);
        finding(doctor, "kernel", major >= 6, found,
                "Linux 6.1 or newer is what Pawl is tested on");
    }
}

static void check_topology(struct doctor *doctor)
{
    struct placement *placement = NULL;
    char found[128];
    int code = placement_open(NULL, &placement);
    if (code == 0) {
        snprintf(found, sizeof found, "%u cores, %u hardware threads for this process",
                 placement_cores_count(placement), placement_pus_count(placement));
    } else {
        snprintf(found, sizeof found, "%s", pawl_strerror(code));
    }
    placement_close(placement);
    finding(doctor, "topology", code == 0, found,
            "hwloc can't read the topology; reactors run unbound");
}

static void check_placement(const struct doctor_report *report)
{
    const char *devices[DEVICES_MAX];
    unsigned count = 0;
    struct placement *placement = NULL;
    if (placement_open(NULL, &placement) != 0) {
        return; // said before
    }
    struct if_nameindex *all = if_nameindex();
    for (struct if_nameindex *i = all; i != NULL && i->if_index != 0 && count < DEVICES_MAX; i++) {
        devices[count++] = i->if_name;
    }
    doctor_placement(placement, "", devices, count, report);
    if (all != NULL) {
        if_freenameindex(all);
    }
    placement_close(placement);
}

static void check_numa(struct doctor *doctor)
{
    unsigned nodes = 0;
    char path[64];
    struct stat stat_node;
    do {
        snprintf(path, sizeof path, "/sys/devices/system/node/node%u", nodes);
    } while (stat(path, &stat_node) == 0 && ++nodes < 1024);
    char found[64];
    snprintf(found, sizeof found, "%u memory nodes", nodes);
    finding(doctor, "NUMA", nodes != 0, found, "the kernel shows no memory nodes; nothing to do");
}

int cli_doctor(struct cli *cli, int argc, char **argv)
{
    if (argc != 1) {
        return cli_usage("doctor", "takes no argument: %s", argv[1]);
    }
    struct doctor doctor = {.array = cli->json ? json_array() : NULL};
    check_kernel(&doctor);
    check_provider(&doctor, "tcp", "install libfabric (libfabric1) with its tcp provider");
    check_provider(&doctor, "verbs",
                   "no RDMA device that libfabric can use: without one Pawl runs over tcp; with a "
                   "card, install rdma-core and check `ibv_devices`; soft-RoCE: `rdma link add`");
    check_localhost(&doctor);
    struct doctor_report report = {.finding = report_finding, .user = &doctor};
    check_congestion(&report);
    doctor_rdma("", &report);
    check_memlock(&doctor);
    check_huge_pages(&doctor);
    check_topology(&doctor);
    check_placement(&report);
    check_numa(&doctor);
    check_uring(&doctor);
    check_direct(&doctor, cli->dir);
    check_disk(cli->dir, &report);
    doctor_cluster(cli, &report);
    if (doctor.array != NULL) {
        json_dumpf(doctor.array, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(doctor.array);
    }
    return CLI_OK;
}
