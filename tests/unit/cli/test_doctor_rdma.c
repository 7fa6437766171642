// SPDX-License-Identifier: Apache-2.0
// doctor's look at RDMA, in trees that look like /sys, /dev and /etc of different machines.
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "cli/doctor.h"

#define FINDINGS_MAX 32

struct found {
    char check[96], found[320], advice[512];
    bool well;
};

struct machine {
    char root[64];
    struct found findings[FINDINGS_MAX];
    size_t findings_count;
};

static void take(void *user, const char *check, bool well, const char *found, const char *advice)
{
    struct machine *machine = user;
    assert_true(machine->findings_count < FINDINGS_MAX);
    struct found *finding = &machine->findings[machine->findings_count++];
    snprintf(finding->check, sizeof finding->check, "%s", check);
    snprintf(finding->found, sizeof finding->found, "%s", found);
    snprintf(finding->advice, sizeof finding->advice, "%s", advice);
    finding->well = well;
    assert_true(well || strlen(advice) > 20); // whatever is not well says what to do
}

static void look(struct machine *machine)
{
    struct doctor_report report = {.finding = take, .user = machine};
    machine->findings_count = 0;
    doctor_rdma(machine->root, &report);
}

static const struct found *find(const struct machine *machine, const char *check)
{
    for (size_t i = 0; i < machine->findings_count; i++) {
        if (strcmp(machine->findings[i].check, check) == 0) {
            return &machine->findings[i];
        }
    }
    fail_msg("no finding about %s", check);
    return NULL;
}

// A finding that is well or not, with a text in what was found, and one in the advice.
static void expect(const struct machine *machine, const char *check, bool well, const char *found,
                   const char *advice)
{
    const struct found *finding = find(machine, check);
    if (finding->well != well || strstr(finding->found, found) == NULL ||
        (!well && strstr(finding->advice, advice) == NULL)) {
        fail_msg("%s: well %d found \"%s\" advice \"%s\"", check, finding->well, finding->found,
                 finding->advice);
    }
}

static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
}

static void file(const struct machine *machine, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", machine->root, name);
    make_folders(path);
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    fprintf(out, "%s\n", text);
    assert_int_equal(fclose(out), 0);
}

static void link_to(const struct machine *machine, const char *name, const char *target)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", machine->root, name);
    make_folders(path);
    assert_int_equal(symlink(target, path), 0);
}

static void removed(const struct machine *machine, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", machine->root, name);
    assert_int_equal(remove(path), 0);
}

#define PORT(device) "sys/class/infiniband/" device "/ports/1/"

// What all machines with a working device have.
static void common(const struct machine *machine)
{
    file(machine, "sys/module/ib_uverbs/version", "1");
    file(machine, "sys/module/rdma_ucm/version", "1");
    file(machine, "dev/infiniband/uverbs0", "");
    file(machine, "dev/infiniband/rdma_cm", "");
    file(machine, "etc/libibverbs.d/mlx5.driver", "driver mlx5");
    file(machine, "etc/libibverbs.d/rxe.driver", "driver rxe");
}

static void soft_roce(const struct machine *machine)
{
    common(machine);
    file(machine, "sys/class/infiniband/rxe0/parent", "eth0");
    file(machine, PORT("rxe0") "state", "4: ACTIVE");
    file(machine, PORT("rxe0") "phys_state", "5: LinkUp");
    file(machine, PORT("rxe0") "link_layer", "Ethernet");
    file(machine, PORT("rxe0") "rate", "10 Gb/sec (1X FDR10)");
    file(machine, PORT("rxe0") "gids/0", "fe80:0000:0000:0000:20e0:9dff:fe0f:ebe3");
    file(machine, PORT("rxe0") "gids/1", "0000:0000:0000:0000:0000:ffff:0a4d:0001");
    file(machine, PORT("rxe0") "gids/2", "0000:0000:0000:0000:0000:0000:0000:0000");
    file(machine, PORT("rxe0") "gid_attrs/types/0", "RoCE v2");
    file(machine, PORT("rxe0") "gid_attrs/types/1", "RoCE v2");
    file(machine, PORT("rxe0") "gid_attrs/ndevs/0", "eth0");
    file(machine, PORT("rxe0") "gid_attrs/ndevs/1", "eth0");
    file(machine, "sys/class/net/eth0/mtu", "9000");
}

static void card(const struct machine *machine, const char *layer)
{
    common(machine);
    link_to(machine, "sys/class/infiniband/mlx5_0/device/driver",
            "../../../bus/pci/drivers/mlx5_core");
    file(machine, PORT("mlx5_0") "state", "4: ACTIVE");
    file(machine, PORT("mlx5_0") "phys_state", "5: LinkUp");
    file(machine, PORT("mlx5_0") "link_layer", layer);
    file(machine, PORT("mlx5_0") "rate", "200 Gb/sec (4X HDR)");
    file(machine, PORT("mlx5_0") "gids/0", "fe80:0000:0000:0000:20e0:9dff:fe0f:ebe3");
}

static void roce_card(const struct machine *machine)
{
    card(machine, "Ethernet");
    file(machine, PORT("mlx5_0") "gids/1", "0000:0000:0000:0000:0000:ffff:0a01:000b");
    file(machine, PORT("mlx5_0") "gids/2", "0000:0000:0000:0000:0000:ffff:0a01:000b");
    file(machine, PORT("mlx5_0") "gid_attrs/types/1", "IB/RoCE v1");
    file(machine, PORT("mlx5_0") "gid_attrs/types/2", "RoCE v2");
    file(machine, PORT("mlx5_0") "gid_attrs/ndevs/1", "eth2");
    file(machine, "sys/class/net/eth2/mtu", "9000");
}

static void test_soft_roce_when_all_is_there_then_all_is_well(void **state)
{
    struct machine *machine = *state;
    soft_roce(machine);
    look(machine);
    for (size_t i = 0; i < machine->findings_count; i++) {
        assert_true(machine->findings[i].well);
    }
    expect(machine, "RDMA devices", true, "rxe0", "");
    expect(machine, "rxe0 driver", true, "libibverbs has rxe", "");
    expect(machine, "rxe0/1", true, "Ethernet on eth0, state 4: ACTIVE, link 5: LinkUp, 10 Gb/sec",
           "");
    expect(machine, "rxe0/1 address", true, "10.77.0.1, GID index 1, RoCE v2, eth0", "");
    expect(machine, "rxe0/1 MTU", true, "9000 of eth0", "");
    assert_int_equal(machine->findings_count, 7); // nothing about congestion: it is software
}

static void test_no_device_when_there_is_no_card_then_soft_roce_is_named(void **state)
{
    struct machine *machine = *state;
    file(machine, "sys/bus/pci/devices/0000:00:03.0/class", "0x020000");
    file(machine, "sys/bus/pci/devices/0000:00:03.0/vendor", "0x1af4");
    look(machine);
    assert_int_equal(machine->findings_count, 1);
    expect(machine, "RDMA devices", false, "no card that is known", "cluster/setup-softroce up");
}

static void test_no_device_when_there_is_a_card_then_its_driver_is_named(void **state)
{
    struct machine *machine = *state;
    file(machine, "sys/bus/pci/devices/0000:3b:00.0/class", "0x020700");
    file(machine, "sys/bus/pci/devices/0000:3b:00.0/vendor", "0x15b3");
    look(machine);
    expect(machine, "RDMA devices", false, "0000:3b:00.0 (mlx5)", "modprobe mlx5_ib");
}

static void test_modules_when_one_is_missing_then_it_is_named(void **state)
{
    struct machine *machine = *state;
    soft_roce(machine);
    removed(machine, "sys/module/rdma_ucm/version");
    removed(machine, "sys/module/rdma_ucm");
    look(machine);
    expect(machine, "RDMA modules", false, "not all", "`modprobe -a rdma_ucm`");
}

static void test_nodes_when_missing_or_closed_then_says_which(void **state)
{
    struct machine *machine = *state;
    soft_roce(machine);
    look(machine);
    expect(machine, "RDMA nodes", true, "can be opened", "");
    if (geteuid() != 0) { // root may open everything
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/dev/infiniband/uverbs0", machine->root);
        assert_int_equal(chmod(path, 0), 0);
        look(machine);
        expect(machine, "RDMA nodes", false, "may not open uverbs0", "udev");
    }
    removed(machine, "dev/infiniband/rdma_cm");
    look(machine);
    expect(machine, "RDMA nodes", false, "no rdma_cm", "rdma_ucm");
    removed(machine, "dev/infiniband/uverbs0");
    look(machine);
    expect(machine, "RDMA nodes", false, "no uverbs0", "--device /dev/infiniband");
}

static void test_driver_when_user_space_lacks_it_then_says_so(void **state)
{
    struct machine *machine = *state;
    roce_card(machine);
    removed(machine, "etc/libibverbs.d/mlx5.driver");
    look(machine);
    expect(machine, "mlx5_0 driver", false, "libibverbs has no mlx5", "ibverbs-providers");
}

static void test_port_when_down_then_the_reason_decides_the_advice(void **state)
{
    struct machine *machine = *state;
    roce_card(machine);
    file(machine, PORT("mlx5_0") "state", "1: DOWN");
    file(machine, PORT("mlx5_0") "phys_state", "3: Disabled");
    look(machine);
    expect(machine, "mlx5_0/1", false, "state 1: DOWN, link 3: Disabled", "ip link set");
    file(machine, PORT("mlx5_0") "phys_state", "2: Polling");
    look(machine);
    expect(machine, "mlx5_0/1", false, "link 2: Polling", "cable");
}

static void test_infiniband_when_no_subnet_manager_then_names_opensm(void **state)
{
    struct machine *machine = *state;
    card(machine, "InfiniBand");
    file(machine, PORT("mlx5_0") "state", "2: INIT");
    look(machine);
    expect(machine, "mlx5_0/1", false, "InfiniBand, state 2: INIT", "opensm");
    expect(machine, "mlx5_0/1 IPoIB", false, "no interface", "ib_ipoib");
    file(machine, "sys/class/infiniband/mlx5_0/device/net/ib0/type", "32");
    look(machine);
    expect(machine, "mlx5_0/1 IPoIB", true, "", "");
}

static void
test_roce_card_when_both_versions_are_there_then_takes_v2_and_hints_at_losses(void **state)
{
    struct machine *machine = *state;
    roce_card(machine);
    look(machine);
    expect(machine, "mlx5_0/1 address", true, "10.1.0.11, GID index 2, RoCE v2, eth2", "");
    expect(machine, "mlx5_0/1 congestion", false, "not visible", "mlnx_qos -i eth2");
    file(machine, "sys/class/net/eth2/ecn/roce_rp/enable/0", "0");
    file(machine, "sys/class/net/eth2/ecn/roce_rp/enable/3", "0");
    look(machine);
    expect(machine, "mlx5_0/1 congestion", false, "ECN on for 0 of 2", "switches");
    file(machine, "sys/class/net/eth2/ecn/roce_rp/enable/3", "1");
    look(machine);
    expect(machine, "mlx5_0/1 congestion", true, "ECN on for 1 of 2", "");
}

static void test_address_when_v1_only_or_none_then_says_how_to_get_one(void **state)
{
    struct machine *machine = *state;
    roce_card(machine);
    file(machine, PORT("mlx5_0") "gid_attrs/types/2", "IB/RoCE v1");
    look(machine);
    expect(machine, "mlx5_0/1 address", false, "RoCE v1", "cma_roce_mode -d mlx5_0 -p 1 -m 2");
    removed(machine, PORT("mlx5_0") "gids/1");
    look(machine);
    expect(machine, "mlx5_0/1 address", false, "no GID", "dev eth2");
    file(machine, PORT("mlx5_0") "gids/1", "2001:0db8:0000:0000:0000:0000:0000:0001");
    file(machine, PORT("mlx5_0") "gid_attrs/types/1", "RoCE v2");
    look(machine);
    expect(machine, "mlx5_0/1 address", true, "2001:0db8", "");
}

static void test_mtu_when_small_then_says_what_it_costs(void **state)
{
    struct machine *machine = *state;
    roce_card(machine);
    file(machine, "sys/class/net/eth2/mtu", "1500");
    look(machine);
    expect(machine, "mlx5_0/1 MTU", false, "1500 of eth2: RDMA packets of 1024", "mtu 9000");
}

static void test_tree_when_it_is_nonsense_then_it_is_survived(void **state)
{
    struct machine *machine = *state;
    char text[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    roce_card(machine);
    file(machine, PORT("mlx5_0") "state", text);
    file(machine, PORT("mlx5_0") "rate", text);
    file(machine, PORT("mlx5_0") "gids/1", text);
    file(machine, PORT("mlx5_0") "gid_attrs/ndevs/1", text);
    file(machine, "sys/class/infiniband/empty/node_type", "");
    look(machine);
    expect(machine, "mlx5_0/1", false, "xxxx", "");
    expect(machine, "mlx5_0/1 MTU", false, "unknown", "");
    expect(machine, "empty", false, "no ports", "dmesg");
}

static int machine_new(void **state)
{
    struct machine *machine = calloc(1, sizeof *machine);
    if (machine == NULL) {
        return -1;
    }
    snprintf(machine->root, sizeof machine->root, "/tmp/pawl-doctor-XXXXXX");
    *state = machine;
    return mkdtemp(machine->root) == NULL ? -1 : 0;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int machine_free(void **state)
{
    struct machine *machine = *state;
    int code = nftw(machine->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(machine);
    return code;
}

#define on_machine(test) cmocka_unit_test_setup_teardown(test, machine_new, machine_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_machine(test_soft_roce_when_all_is_there_then_all_is_well),
        on_machine(test_no_device_when_there_is_no_card_then_soft_roce_is_named),
        on_machine(test_no_device_when_there_is_a_card_then_its_driver_is_named),
        on_machine(test_modules_when_one_is_missing_then_it_is_named),
        on_machine(test_nodes_when_missing_or_closed_then_says_which),
        on_machine(test_driver_when_user_space_lacks_it_then_says_so),
        on_machine(test_port_when_down_then_the_reason_decides_the_advice),
        on_machine(test_infiniband_when_no_subnet_manager_then_names_opensm),
        on_machine(test_roce_card_when_both_versions_are_there_then_takes_v2_and_hints_at_losses),
        on_machine(test_address_when_v1_only_or_none_then_says_how_to_get_one),
        on_machine(test_mtu_when_small_then_says_what_it_costs),
        on_machine(test_tree_when_it_is_nonsense_then_it_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
