// SPDX-License-Identifier: Apache-2.0
// libpawl-disk-gate.so, for LD_PRELOAD: a disk that takes nothing while the file that PAWL_TEST_GATE names is there.
//
// What a store asks of it stays in the ring, as if the kernel was busy, and is asked again.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

struct io_uring;
int io_uring_submit(struct io_uring *ring);

int io_uring_submit(struct io_uring *ring)
{
    int (*submit)(struct io_uring *) =
        (int (*)(struct io_uring *))dlsym(RTLD_NEXT, "io_uring_submit");
    const char *gate = getenv("PAWL_TEST_GATE");
    return gate != NULL && access(gate, F_OK) == 0 ? 0 : submit(ring);
}
