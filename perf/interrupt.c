// SPDX-License-Identifier: Apache-2.0
// Signals by file descriptor.
#include "perf/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static int signals_fd = -1;
static int came; // the first one

int perf_interrupt_init(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return -errno;
    }
    signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return signals_fd < 0 ? -errno : 0;
}

int perf_interrupted(void)
{
    struct signalfd_siginfo info;
    if (came == 0 && read(signals_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        came = (int)info.ssi_signo;
    }
    return came;
}

int perf_interrupt_fd(void)
{
    return signals_fd;
}

void perf_wait_until(uint64_t until_ns, int fd)
{
    uint64_t now_ns = pawl_clock_ns();
    uint64_t ns = until_ns > now_ns ? until_ns - now_ns : 0;
    struct timespec timeout = {.tv_sec = (time_t)(ns / PAWL_NS_PER_S),
                               .tv_nsec = (long)(ns % PAWL_NS_PER_S)};
    struct pollfd polls[] = {{.fd = came == 0 ? signals_fd : -1, .events = POLLIN},
                             {.fd = fd, .events = POLLIN}};
    if (ppoll(polls, PAWL_ARRAY_COUNT(polls), &timeout, NULL) > 0 && polls[1].revents != 0) {
        uint64_t count;
        (void)!read(fd, &count, sizeof count);
    }
}
