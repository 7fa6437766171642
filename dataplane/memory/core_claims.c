// SPDX-License-Identifier: Apache-2.0
// Core claims: locks of the open file description, each of one byte.
#include "dataplane/memory/core_claims.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

// Locks of <fcntl.h> that belong to the descriptor, not to the process (Linux).
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif

static struct flock lock_of(short type, unsigned core)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = core, .l_len = 1};
}

int core_claims_open(const char *file, struct core_claims *claims)
{
    claims->fd = open(file, O_RDONLY | O_CLOEXEC);
    return claims->fd >= 0 ? 0 : -errno;
}

void core_claims_close(struct core_claims *claims)
{
    if (claims->fd >= 0) {
        close(claims->fd);
    }
    claims->fd = -1;
}

int core_claims_take(const struct core_claims *claims, unsigned core)
{
    struct flock lock = lock_of(F_RDLCK, core);
    return fcntl(claims->fd, F_OFD_SETLK, &lock) == 0 ? 0 : -errno;
}

bool core_claims_others(const struct core_claims *claims, unsigned core)
{
    struct flock lock = lock_of(F_WRLCK, core); // what would stand in the way of it
    return fcntl(claims->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
