// SPDX-License-Identifier: Apache-2.0
// doctor, RDMA: from the card to what a program needs to use it, each step with what to do.
//
// Only files are read (sysfs, /dev, /etc/libibverbs.d): that works without rights, without libibverbs
// and before anything is set up. Whether libfabric can open a device is asked elsewhere.
#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/doctor.h"

#define DEVICES "sys/class/infiniband"
#define GIDS_MAX 256
#define NAME_MAX_BYTES 64
#define ROCE_MTU_WELL 4200u // a packet of 4096 bytes and its headers

struct port {
    const char *root;
    const struct doctor_report *report;
    char device[NAME_MAX_BYTES];
    char number[NAME_MAX_BYTES];
    char layer[NAME_MAX_BYTES];
    char netdev[NAME_MAX_BYTES]; // "" when none is known
    bool is_software;            // rxe, siw
};

PAWL_PRINTF(3, 0)
static void path_of(char path[PATH_MAX], const char *root, const char *format, va_list args)
{
    char rest[PATH_MAX / 2];
    vsnprintf(rest, sizeof rest, format, args);
    if (snprintf(path, PATH_MAX, "%s/%s", root, rest) >= PATH_MAX) {
        path[0] = '\0'; // nothing has this name
    }
}

PAWL_PRINTF(2, 3)
static bool is_there(const char *root, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;
    va_start(args, format);
    path_of(path, root, format, args);
    va_end(args);
    return access(path, F_OK) == 0;
}

// The first line of a file, "" when there is none.
PAWL_PRINTF(4, 5)
static void read_line(const char *root, char *ret, size_t bytes, const char *format, ...)
{
    char path[PATH_MAX];
    va_list args;
    va_start(args, format);
    path_of(path, root, format, args);
    va_end(args);
    FILE *file = fopen(path, "re");
    if (file == NULL || fgets(ret, (int)bytes, file) == NULL) {
        ret[0] = '\0';
    }
    if (file != NULL) {
        fclose(file);
    }
    ret[strcspn(ret, "\n")] = '\0';
}

// Last part of what a symbolic link names, "" when it is none.
PAWL_PRINTF(3, 4)
static void read_target(const char *root, char ret[NAME_MAX_BYTES], const char *format, ...)
{
    char path[PATH_MAX];
    char target[PATH_MAX];
    va_list args;
    va_start(args, format);
    path_of(path, root, format, args);
    va_end(args);
    ssize_t bytes = readlink(path, target, sizeof target - 1);
    target[PAWL_MAX(bytes, 0)] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(ret, NAME_MAX_BYTES, "%.*s", NAME_MAX_BYTES - 1, slash != NULL ? slash + 1 : target);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && strlen(entry->d_name) < NAME_MAX_BYTES;
}

// Calls fn for the names in a folder, in order; returns how many there are.
PAWL_PRINTF(4, 5)
static int names_each(const char *root, void (*fn)(void *user, const char *name), void *user,
                      const char *format, ...)
{
    char path[PATH_MAX];
    struct dirent **entries = NULL;
    va_list args;
    va_start(args, format);
    path_of(path, root, format, args);
    va_end(args);
    int count = scandir(path, &entries, is_visible, alphasort);
    for (int i = 0; i < count; i++) {
        fn(user, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return PAWL_MAX(count, 0);
}

PAWL_PRINTF(5, 6)
static void port_finding(const struct port *port, const char *what, bool well, const char *found,
                         const char *advice, ...)
{
    char check[2 * NAME_MAX_BYTES + 32];
    char text[512];
    va_list args;
    va_start(args, advice);
    vsnprintf(text, sizeof text, advice, args);
    va_end(args);
    snprintf(check, sizeof check, "%s/%s%s", port->device, port->number, what);
    port->report->finding(port->report->user, check, well, found, text);
}

// ---- a port -------------------------------------------------------------------------------------

static const char *state_advice(const char *state, const char *phys, bool is_infiniband)
{
    if (is_infiniband && strstr(state, "INIT") != NULL) {
        return "no subnet manager has seen this port: start `opensm` on one host of the network, "
               "or "
               "that of the switch";
    }
    if (strstr(phys, "Disabled") != NULL) {
        return "the port is switched off: `ip link set NETDEV up` (Ethernet), `ibportstate` "
               "(InfiniBand)";
    }
    if (strstr(phys, "Polling") != NULL) {
        return "no partner at the other end: cable, transceiver, or the switch's port; do both "
               "ends "
               "have the same speed?";
    }
    return "bring its interface up: `ip link set NETDEV up`; then look at cable and switch "
           "(`rdma link`)";
}

static void check_state(struct port *port)
{
    char state[NAME_MAX_BYTES], phys[NAME_MAX_BYTES], rate[NAME_MAX_BYTES];
    char found[6 * NAME_MAX_BYTES];
    const char *root = port->root;
    read_line(root, state, sizeof state, DEVICES "/%s/ports/%s/state", port->device, port->number);
    read_line(root, phys, sizeof phys, DEVICES "/%s/ports/%s/phys_state", port->device,
              port->number);
    read_line(root, rate, sizeof rate, DEVICES "/%s/ports/%s/rate", port->device, port->number);
    snprintf(found, sizeof found, "%s%s%s, state %s, link %s, %s", port->layer,
             port->netdev[0] != '\0' ? " on " : "", port->netdev, state, phys, rate);
    bool is_infiniband = strcmp(port->layer, "InfiniBand") == 0;
    port_finding(port, "", strstr(state, "ACTIVE") != NULL, found, "%s",
                 state_advice(state, phys, is_infiniband));
}

struct gid {
    unsigned index;
    char address[64]; // "" when nobody can connect to it
    bool is_v1;
};

static bool gid_read(const struct port *port, unsigned index, struct gid *ret)
{
    char text[NAME_MAX_BYTES], type[NAME_MAX_BYTES];
    unsigned part[8];
    *ret = (struct gid){.index = index};
    read_line(port->root, text, sizeof text, DEVICES "/%s/ports/%s/gids/%u", port->device,
              port->number, index);
    if (sscanf(text, "%4x:%4x:%4x:%4x:%4x:%4x:%4x:%4x", &part[0], &part[1], &part[2], &part[3],
               &part[4], &part[5], &part[6], &part[7]) != 8) {
        return false;
    }
    read_line(port->root, type, sizeof type, DEVICES "/%s/ports/%s/gid_attrs/types/%u",
              port->device, port->number, index);
    ret->is_v1 = strstr(type, "v1") != NULL;
    bool has_head = (part[0] | part[1] | part[2] | part[3] | part[4]) != 0;
    if (!has_head && part[5] == 0xffff) {
        snprintf(ret->address, sizeof ret->address, "%u.%u.%u.%u", part[6] >> 8, part[6] & 255,
                 part[7] >> 8, part[7] & 255);
    } else if (has_head && (part[0] & 0xffc0) != 0xfe80) { // not of this link alone
        snprintf(ret->address, sizeof ret->address, "%s", text);
    }
    return true;
}

// The interface that the port's addresses come from.
static void netdev_find(struct port *port)
{
    for (unsigned i = 0; i < GIDS_MAX && port->netdev[0] == '\0'; i++) {
        read_line(port->root, port->netdev, sizeof port->netdev,
                  DEVICES "/%s/ports/%s/gid_attrs/ndevs/%u", port->device, port->number, i);
    }
}

static const char *netdev_name(const struct port *port)
{
    return port->netdev[0] != '\0' ? port->netdev : "its interface";
}

static void check_roce_address(const struct port *port)
{
    struct gid gid, best = {0};
    for (unsigned i = 0; i < GIDS_MAX && gid_read(port, i, &gid); i++) {
        if (gid.address[0] != '\0' && (best.address[0] == '\0' || best.is_v1)) {
            best = gid;
        }
    }
    char found[160] = "no GID of an IP address";
    if (best.address[0] != '\0') {
        snprintf(found, sizeof found, "%s, GID index %u, RoCE %s%s%s", best.address, best.index,
                 best.is_v1 ? "v1" : "v2", port->netdev[0] != '\0' ? ", " : "", port->netdev);
    }
    if (best.is_v1) {
        port_finding(
            port, " address", false, found,
            "RoCE v1 does not pass routers, and both ends must use the same: turn v2 on in "
            "the card's firmware, then `cma_roce_mode -d %s -p %s -m 2`",
            port->device, port->number);
    } else {
        port_finding(port, " address", best.address[0] != '\0', found,
                     "connections are made by IP address: `ip address add A.B.C.D/24 dev %s`, and "
                     "name it as fabric.host",
                     netdev_name(port));
    }
}

static void check_roce_mtu(const struct port *port)
{
    char text[NAME_MAX_BYTES];
    char found[3 * NAME_MAX_BYTES];
    if (port->netdev[0] == '\0') {
        return; // said already: it has no address
    }
    read_line(port->root, text, sizeof text, "sys/class/net/%s/mtu", port->netdev);
    unsigned long mtu = strtoul(text, NULL, 10);
    snprintf(found, sizeof found, "%s of %s%s", text[0] != '\0' ? text : "unknown", port->netdev,
             mtu >= ROCE_MTU_WELL ? "" : ": RDMA packets of 1024 bytes or less");
    port_finding(
        port, " MTU", mtu >= ROCE_MTU_WELL, found,
        "smaller packets cost throughput; where all hosts and switches of the network allow "
        "it: `ip link set %s mtu 9000`",
        port->netdev);
}

// Congestion control lies in cards and switches; sysfs shows the cards' part, of some drivers.
static void check_congestion(const struct port *port)
{
    unsigned enabled = 0, known = 0;
    char found[96] = "PFC and ECN not visible here";
    for (unsigned priority = 0; priority < 8; priority++) {
        char value[8];
        read_line(port->root, value, sizeof value, "sys/class/net/%s/ecn/roce_rp/enable/%u",
                  port->netdev, priority);
        known += value[0] != '\0';
        enabled += value[0] == '1';
    }
    if (known > 0) {
        snprintf(found, sizeof found, "ECN on for %u of %u priorities", enabled, known);
    }
    port_finding(
        port, " congestion", enabled > 0, found,
        "RoCE wants a network that loses nothing under load: look at `dcb pfc show dev %s` or "
        "`mlnx_qos -i %s`, and at the switches; PFC for RDMA's priority, ECN, or both",
        netdev_name(port), netdev_name(port));
}

static void check_ipoib(const struct port *port)
{
    char name[NAME_MAX_BYTES] = "";
    // An interface belongs to the device, not to the port: one will do.
    if (is_there(port->root, DEVICES "/%s/device/net", port->device)) {
        snprintf(name, sizeof name, "there is one");
    }
    port_finding(port, " IPoIB", name[0] != '\0', name[0] != '\0' ? name : "no interface",
                 "connections are made by IP address: `modprobe ib_ipoib`, then an address on its "
                 "interface (`ip address add A.B.C.D/24 dev ib0`)");
}

static void check_port(void *user, const char *number)
{
    struct port port = *(const struct port *)user;
    snprintf(port.number, sizeof port.number, "%s", number);
    read_line(port.root, port.layer, sizeof port.layer, DEVICES "/%s/ports/%s/link_layer",
              port.device, number);
    netdev_find(&port);
    check_state(&port);
    if (strcmp(port.layer, "InfiniBand") == 0) {
        check_ipoib(&port);
        return;
    }
    check_roce_address(&port);
    check_roce_mtu(&port);
    if (!port.is_software) {
        check_congestion(&port);
    }
}

// ---- a device -----------------------------------------------------------------------------------

// libibverbs has a driver for each kernel driver, in a file of its own.
static const struct {
    const char *kernel;
    const char *user;
} drivers[] = {
    {"mlx5_core", "mlx5"}, {"mlx4_core", "mlx4"}, {"bnxt_en", "bnxt_re"},
    {"ice", "irdma"},      {"i40e", "irdma"},     {"qede", "qedr"},
    {"cxgb4", "cxgb4"},    {"hfi1", "hfi1verbs"}, {"efa", "efa"},
    {"hns3", "hns"},       {"mana", "mana"},      {"vmw_pvrdma", "vmw_pvrdma"},
};

static void check_user_driver(const struct port *port)
{
    char kernel[NAME_MAX_BYTES];
    char check[NAME_MAX_BYTES + 16];
    char found[3 * NAME_MAX_BYTES];
    const char *user = is_there(port->root, DEVICES "/%s/parent", port->device) ? "rxe" : NULL;
    read_target(port->root, kernel, DEVICES "/%s/device/driver", port->device);
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(drivers); i++) {
        user = strcmp(drivers[i].kernel, kernel) == 0 ? drivers[i].user : user;
    }
    if (user == NULL) {
        return; // a driver that this list doesn't know; libfabric tells whether it can be used
    }
    bool well = is_there(port->root, "etc/libibverbs.d/%s.driver", user);
    snprintf(check, sizeof check, "%s driver", port->device);
    snprintf(found, sizeof found, "libibverbs has %s%s", well ? "" : "no ", user);
    port->report->finding(port->report->user, check, well, found,
                          "the kernel has this device, programs don't see it: install "
                          "ibverbs-providers (rdma-core)");
}

static void check_device(void *user, const char *name)
{
    struct port *port = user;
    snprintf(port->device, sizeof port->device, "%s", name);
    port->is_software = !is_there(port->root, DEVICES "/%s/device", name);
    check_user_driver(port);
    if (names_each(port->root, check_port, port, DEVICES "/%s/ports", name) == 0) {
        port->report->finding(port->report->user, name, false, "no ports",
                              "the driver has not finished: `dmesg` tells why");
    }
}

// ---- the machine --------------------------------------------------------------------------------

struct list {
    char text[256];
    size_t used;
};

static void list_add(void *user, const char *name)
{
    struct list *list = user;
    if (list->used < sizeof list->text) {
        int bytes = snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s",
                             list->used != 0 ? " " : "", name);
        list->used += (size_t)PAWL_MAX(bytes, 0);
    }
}

struct cards {
    const char *root;
    struct list list;
};

// Cards of which it is known that they do RDMA: InfiniBand ones, and NVIDIA's (Mellanox).
static void card_look(void *user, const char *name)
{
    struct cards *cards = user;
    char class[16], vendor[16], entry[2 * NAME_MAX_BYTES];
    read_line(cards->root, class, sizeof class, "sys/bus/pci/devices/%s/class", name);
    read_line(cards->root, vendor, sizeof vendor, "sys/bus/pci/devices/%s/vendor", name);
    bool is_nvidia = strcmp(vendor, "0x15b3") == 0;
    if (strncmp(class, "0x0207", 6) == 0 || (is_nvidia && strncmp(class, "0x02", 4) == 0)) {
        snprintf(entry, sizeof entry, "%s%s", name, is_nvidia ? " (mlx5)" : "");
        list_add(&cards->list, entry);
    }
}

static void check_no_device(const char *root, const struct doctor_report *report)
{
    struct cards cards = {.root = root};
    char found[320];
    names_each(root, card_look, &cards, "sys/bus/pci/devices");
    if (cards.list.used == 0) {
        report->finding(
            report->user, "RDMA devices", false, "none, and no card that is known for RDMA",
            "optional: soft-RoCE does it on any network card, for trials: "
            "`cluster/setup-softroce up`; a card of another make needs its driver (irdma, "
            "bnxt_re, ...)");
        return;
    }
    snprintf(found, sizeof found, "none, but there are cards: %s", cards.list.text);
    report->finding(
        report->user, "RDMA devices", false, found,
        "load the driver: `modprobe mlx5_ib` (mlx4_ib for older ones); in a virtual machine "
        "or container the device must be passed through");
}

static void check_modules(const char *root, const struct doctor_report *report)
{
    static const char *const names[] = {"ib_uverbs", "rdma_ucm"};
    struct list missing = {0};
    char advice[320];
    for (size_t i = 0; i < PAWL_ARRAY_COUNT(names); i++) {
        if (!is_there(root, "sys/module/%s", names[i])) {
            list_add(&missing, names[i]);
        }
    }
    snprintf(advice, sizeof advice, "`modprobe -a %s`; at each start: /etc/modules-load.d/",
             missing.text);
    report->finding(report->user, "RDMA modules", missing.used == 0,
                    missing.used == 0 ? "ib_uverbs rdma_ucm" : "not all are loaded", advice);
}

static bool is_usable(const char *root, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/dev/infiniband/%s", root, name) < PATH_MAX &&
           access(path, R_OK | W_OK) == 0;
}

struct nodes {
    const char *root;
    int uverbs_count;
    struct list closed;
};

static void node_look(void *user, const char *name)
{
    struct nodes *nodes = user;
    bool is_uverbs = strncmp(name, "uverbs", 6) == 0;
    if (is_uverbs || strcmp(name, "rdma_cm") == 0) {
        nodes->uverbs_count += is_uverbs;
        if (!is_usable(nodes->root, name)) {
            list_add(&nodes->closed, name);
        }
    }
}

static void check_nodes(const char *root, const struct doctor_report *report)
{
    struct nodes nodes = {.root = root};
    char found[320] = "uverbs and rdma_cm can be opened";
    names_each(root, node_look, &nodes, "dev/infiniband");
    bool has_cm = is_there(root, "dev/infiniband/rdma_cm");
    if (nodes.uverbs_count == 0 || !has_cm) {
        snprintf(found, sizeof found, "/dev/infiniband has no %s",
                 nodes.uverbs_count == 0 ? "uverbs0" : "rdma_cm");
    } else if (nodes.closed.used != 0) {
        snprintf(found, sizeof found, "this user may not open %s", nodes.closed.text);
    }
    report->finding(
        report->user, "RDMA nodes", nodes.uverbs_count != 0 && has_cm && nodes.closed.used == 0,
        found,
        "the kernel makes them with the modules ib_uverbs and rdma_ucm, udev (rdma-core) opens "
        "them to all; in a container pass them through: --device /dev/infiniband");
}

void doctor_rdma(const char *root, const struct doctor_report *report)
{
    struct port port = {.root = root, .report = report};
    struct list devices = {0};
    if (names_each(root, list_add, &devices, DEVICES) == 0) {
        check_no_device(root, report);
        return;
    }
    report->finding(report->user, "RDMA devices", true, devices.text, "");
    check_modules(root, report);
    check_nodes(root, report);
    names_each(root, check_device, &port, DEVICES);
}
