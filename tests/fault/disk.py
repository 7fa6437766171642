# SPDX-License-Identifier: Apache-2.0
"""Disks of a fault test: small file systems that can be filled, and taken away under those who use them."""
import os
import time

from isolate import skip
from net import command

BALLAST = "ballast"
BUSY_S = 30  # for the kernel to let go of a disk


class Disk:
    """An ext4 in a sparse file by a loop device, or a tmpfs, at `path`."""

    def __init__(self, path, kind, mib):
        self.path, self.kind, self.mib = path, kind, mib
        self.image = path + ".image"
        self.loop = None
        self.is_full = False
        self.hangs = False
        os.makedirs(path, exist_ok=True)
        try:
            self.make()
        except OSError as error:
            skip(f"no {kind} of its own: {error}")

    def make(self):
        if self.kind == "tmpfs":
            command("mount", "-t", "tmpfs", "-o", f"size={self.mib}m", "tmpfs", self.path)
            return
        with open(self.image, "wb") as file:
            file.truncate(self.mib << 20)
        command("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0",
                self.image)
        self.loop = command("losetup", "--find", "--show", self.image).strip()
        try:
            command("mount", "-t", "ext4", self.loop, self.path)
        finally:
            # In use it stays until the last unmount, and is gone then.
            command("losetup", "--detach", self.loop)

    # ---- full -------------------------------------------------------------------------------------

    def fill(self, leave=0):
        """Takes all space that is left but `leave` bytes."""
        self.is_full = True
        with open(os.path.join(self.path, BALLAST), "ab") as file:
            step = 1 << 20
            while step >= 4096:
                space = os.statvfs(self.path)
                free = space.f_bavail * space.f_frsize - leave
                step = min(step, max(free, 0) // 4096 * 4096) or step // 2
                if free < 4096:
                    return
                try:
                    at = file.seek(0, os.SEEK_END)
                    os.posix_fallocate(file.fileno(), at, step)
                except OSError:
                    step //= 2

    def empty(self):
        self.is_full = False
        os.unlink(os.path.join(self.path, BALLAST))

    # ---- hanging ----------------------------------------------------------------------------------

    def hang(self):
        """Writes wait, without an error and without an end."""
        command("fsfreeze", "--freeze", self.path)
        self.hangs = True

    def go_on(self):
        if self.hangs:
            command("fsfreeze", "--unfreeze", self.path)
        self.hangs = False

    # ---- gone -------------------------------------------------------------------------------------

    def break_off(self, keep_mib):
        """Cuts the device to its first MiB: reads and writes beyond fail with EIO, flushes are lost."""
        os.truncate(self.image, keep_mib << 20)
        command("losetup", "--set-capacity", self.loop)

    def mend(self):
        """The device has its size again, with zeros where it was cut. The file system stays as it is."""
        os.truncate(self.image, self.mib << 20)
        command("losetup", "--set-capacity", self.loop)

    def replace(self):
        """A new, empty disk. Nobody may use the old one any more, but the kernel closes the files of a killed
        process's io_uring a while after its death."""
        until = time.monotonic() + BUSY_S
        while True:
            try:
                command("umount", self.path)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        self.make()
