// SPDX-License-Identifier: Apache-2.0
// doctor's look at the disk's cache, in trees that look like /sys and /proc of different machines.
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

#include "cli/doctor.h"

static char root[64];
static char said[512];

static void take(void *user, const char *check, bool well, const char *found, const char *advice)
{
    (void)user;
    assert_string_equal(check, "disk flushes");
    assert_int_equal(well, advice[0] == '\0');
    assert_string_equal(said, ""); // one finding only
    snprintf(said, sizeof said, "%s %s", well ? "ok" : "note", found);
}

static void expect(unsigned major, unsigned minor, const char *begin)
{
    struct doctor_report report = {.finding = take};
    said[0] = '\0';
    doctor_disk(root, major, minor, &report);
    if (strncmp(said, begin, strlen(begin)) != 0) {
        fail_msg("it says \"%s\", wanted \"%s\"", said, begin);
    }
}

static void file(const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

// A disk 8:0 with a partition 8:1, linked as the kernel does.
static void disk(const char *cache)
{
    char path[PATH_MAX];
    file("sys/devices/sda/queue/write_cache", cache);
    file("sys/devices/sda/sda1/partition", "1\n");
    file("sys/dev/block/README", "");
    snprintf(path, sizeof path, "%s/sys/dev/block/8:0", root);
    assert_int_equal(symlink("../../devices/sda", path), 0);
    snprintf(path, sizeof path, "%s/sys/dev/block/8:1", root);
    assert_int_equal(symlink("../../devices/sda/sda1", path), 0);
}

static void test_disk_when_it_has_a_cache_then_flushes_are_sent(void **state)
{
    (void)state;
    disk("write back\n");
    expect(8, 0, "ok write back: ");
    expect(8, 1, "ok write back: "); // a partition goes by its disk
    expect(8, 2, "ok not known: device 8:2 ");
}

static void test_disk_when_the_kernel_takes_it_for_safe_then_says_what_that_asks(void **state)
{
    (void)state;
    disk("write through\n");
    expect(8, 1, "ok write through: no flushes are sent");
}

static void test_disk_when_it_is_mounted_without_barriers_then_warns(void **state)
{
    (void)state;
    disk("write back\n");
    file("proc/self/mountinfo", "36 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro\n"
                                "37 36 8:0 / /nobarrier rw,relatime shared:1 - ext4 /dev/sda rw\n"
                                "38 36 8:17 / /data rw - ext4 /dev/sdb1 rw,nobarrier\n");
    expect(8, 1, "ok write back: ");
    expect(8, 0, "ok write back: "); // the word is the name of a folder only
    expect(8, 17, "note mounted without barriers");
    file("proc/self/mountinfo", "36 1 8:1 / / rw - ext4 /dev/sda1 rw,barrier=0,data=ordered\n");
    expect(8, 1, "note mounted without barriers");
}

static void test_disk_when_the_tree_is_nonsense_then_it_is_survived(void **state)
{
    (void)state;
    expect(0, 42, "ok not known: device 0:42 ");
    disk("");
    file("proc/self/mountinfo", "\n8:1 - nobarrier\n");
    expect(8, 1, "ok not known: device 8:1 ");
}

static int tree_new(void **state)
{
    (void)state;
    strcpy(root, "doctor-disk-XXXXXX");
    return mkdtemp(root) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static int tree_free(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#define in_tree(test) cmocka_unit_test_setup_teardown(test, tree_new, tree_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_tree(test_disk_when_it_has_a_cache_then_flushes_are_sent),
        in_tree(test_disk_when_the_kernel_takes_it_for_safe_then_says_what_that_asks),
        in_tree(test_disk_when_it_is_mounted_without_barriers_then_warns),
        in_tree(test_disk_when_the_tree_is_nonsense_then_it_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
