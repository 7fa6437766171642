# SPDX-License-Identifier: Apache-2.0
"""A room of its own for a fault test: new mount, network and process namespaces.

Everything that a test makes (namespaces of nodes, mounts, processes) lives in there and is taken away
by the kernel when the first process inside ends, however it ends: nothing is left behind after a
failure, SIGTERM or SIGKILL, and two runs can't meet. Loop devices detach at their last unmount.
"""
import ctypes
import os
import shutil
import signal
import subprocess
import sys

SKIPPED = 77  # ctest's SKIP_RETURN_CODE

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def skip(reason):
    """What this machine can't do is said, never passed over."""
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(SKIPPED)


def _unshare(flags):
    if LIBC.unshare(flags) != 0:
        return os.strerror(ctypes.get_errno())
    return None


def _become_root():
    """An ordinary user may be root of a user namespace, where the kernel allows it."""
    uid, gid = os.getuid(), os.getgid()
    why = _unshare(CLONE_NEWUSER)
    if why:
        skip(f"not root, and no user namespaces: {why}")
    try:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    except OSError as error:
        skip(f"not root, and the user namespace can't be set up: {error}")


def pass_on_signals(child):
    """What would end this process ends the child, and so this one a little later."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))


def _parent(child):
    """Waits for the room's first process."""
    pass_on_signals(child)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


def _tool(*words):
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        skip(f"{' '.join(words)}: {result.stderr.strip()}")


def enter(tools):
    """Returns inside of the new room, as its first process; the caller outside never returns."""
    for tool in tools:
        if not shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
            skip(f"'{tool}' is not installed (scripts/install-packages test)")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() != 0:
        _become_root()
    why = _unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID)
    if why:
        skip(f"no namespaces of its own: {why}")
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if child != 0:
        _parent(child)
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() not in (0, parent):  # 0: outside of this process namespace
        os._exit(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _tool("mount", "--make-rprivate", "/")
    _tool("mount", "-t", "proc", "proc", "/proc")
    _tool("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.mkdir("/run/netns")
