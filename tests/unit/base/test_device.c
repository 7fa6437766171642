// SPDX-License-Identifier: Apache-2.0
// Tests of base/device.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/device.h"

// What sysfs is to say. The dots that an open() of another path finds are real.
static struct {
    const char *disk, *partition; // NULL: no such file
    char path[64];
} sysfs;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
    if (strncmp(path, "/sys/dev/block/", 15) != 0) {
        return __real_open(path, flags, 0600);
    }
    const char *text = strstr(path, "/../") != NULL ? sysfs.disk : sysfs.partition;
    snprintf(sysfs.path, sizeof(sysfs.path), "%s", path);
    if (text == NULL) {
        return -1;
    }
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], text, strlen(text)), (ssize_t)strlen(text));
    close(fds[1]);
    return fds[0];
}

static void test_device_when_sysfs_says_none_then_it_lacks_fua(void **state)
{
    (void)state;
    static const struct {
        const char *partition, *disk;
        bool lacks;
    } cases[] = {
        {"0\n", NULL, true},  {"1\n", NULL, false}, {NULL, "0\n", true}, {NULL, "1\n", false},
        {"0\n", "1\n", true}, {NULL, NULL, false},  {"", "0\n", true},   {"00\n", NULL, false},
    };
    FILE *file = tmpfile();
    assert_non_null(file);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        sysfs.partition = cases[i].partition;
        sysfs.disk = cases[i].disk;
        assert_int_equal(pawl_device_lacks_fua(fileno(file)), cases[i].lacks);
    }
    struct stat stat;
    char wanted[64];
    assert_int_equal(fstat(fileno(file), &stat), 0);
    snprintf(wanted, sizeof(wanted), "/sys/dev/block/%u:%u/queue/fua", major(stat.st_dev),
             minor(stat.st_dev));
    assert_string_equal(sysfs.path, wanted); // of the last case
    fclose(file);
}

static void test_device_when_there_is_no_file_then_nothing_is_known(void **state)
{
    (void)state;
    int fds[2];
    sysfs.partition = "0\n";
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    close(fds[1]);
    assert_false(pawl_device_lacks_fua(fds[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_when_sysfs_says_none_then_it_lacks_fua),
        cmocka_unit_test(test_device_when_there_is_no_file_then_nothing_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
