"""Enters Linux namespaces of its own and runs Python there, in a fork of `box.supervisor`'s.

What runs there sees the folders that it may read (read-only), the one that it may write, a few
devices, its own processes and a loopback interface; it has no capability, a user of its own (or the
grader's, in a user namespace of its own, where the grader is not root), and a filter of system
calls. What bubblewrap does (https://github.com/containers/bubblewrap), for machines that lack it,
and the user and the filter besides.
"""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import struct
from collections.abc import Callable
from functools import partial

from labkit.grading.box import forks, linux

#: Users of executions where the grader is root: beyond those that systems give out.
_FIRST_USER = 1 << 30


def run(box: dict, environment: dict[str, str]) -> None:
    """Enter namespaces of this process's own, run a command there and end with it.

    Args:
        box: "command" as `forks.run_python` takes it, "folder" that it may write, "shown" as
            `_new_root` takes it, and how many "tasks" there may be.
        environment: variables besides this interpreter's.
    """
    own = None if os.geteuid() else _FIRST_USER + os.getpid()
    linux.enter(linux.NEW_NS | linux.NEW_UTS | linux.NEW_IPC | linux.NEW_PID | linux.NEW_NET)
    if own:
        _give(box["folder"], own)
    linux.call("prctl", linux.PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    init = os.fork()  # the first process of the new namespace: with it, all others end
    if init:
        _, status = os.waitpid(init, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    linux.call("prctl", linux.PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _loopback_up()
    _new_root(box["folder"], box["shown"])
    # Of this user in this namespace alone: no execution takes another one's tasks.
    resource.setrlimit(resource.RLIMIT_NPROC, (box["tasks"], box["tasks"]))
    if own:
        os.setgroups([])
        os.setresgid(own, own, own)
        os.setresuid(own, own, own)
    linux.call("prctl", linux.NO_NEW_PRIVS, 1, 0, 0, 0)
    linux.refuse_system_calls()
    os.chdir(box["folder"])
    _run_and_reap(partial(forks.run_python, box["command"], environment))


def _run_and_reap(function: Callable[[], None]) -> None:
    """As the namespace's first process: call a function, collect orphans, end with it."""
    main_process = os.fork()
    if not main_process:
        linux.give_up_capabilities()  # it is no root in its own namespace, either
        linux.call("prctl", linux.DUMPABLE, 1, 0, 0, 0)  # else its own /proc/self is not its own
        forks.finish(function)
    while True:
        pid, status = os.wait()
        if pid == main_process:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _new_root(folder: str, shown: list[list]) -> None:
    """Make a root that holds nothing but the folder, devices, and what is shown.

    Args:
        shown: [path, whether it is shown or hidden], the outer before the inner.
    """
    root = os.path.join(folder, "tmp", "root")
    os.mkdir(root)
    linux.mount("tmpfs", root, "tmpfs", linux.NOSUID | linux.NODEV, "mode=0755,size=1m")
    # Before what lies below it: the course itself may be in /tmp.
    bind(os.path.join(folder, "tmp"), f"{root}/tmp", deep=False)
    empty = []
    for path, visible in shown:
        if visible:
            bind(path, root + path, read_only=True)
        elif os.path.isdir(root + path):
            linux.mount("tmpfs", root + path, "tmpfs", linux.NOSUID | linux.NODEV, "size=64k")
            empty.append(root + path)
    for path in empty:  # now that what is shown below them has its place
        flags = linux.REMOUNT | linux.BIND | linux.RDONLY | linux.NOSUID | linux.NODEV
        linux.mount(None, path, None, flags)
    for device in ("null", "zero", "full", "random", "urandom"):
        bind(f"/dev/{device}", f"{root}/dev/{device}")
    os.makedirs(f"{root}/dev/shm")
    own = linux.NOSUID | linux.NODEV
    linux.mount("tmpfs", f"{root}/dev/shm", "tmpfs", own, "mode=1777,size=64m")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    os.makedirs(f"{root}/proc")
    linux.mount("proc", f"{root}/proc", "proc", own | linux.NOEXEC)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        if os.path.exists(f"{root}/proc/{name}"):
            bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)
    bind(folder, root + folder, deep=False)  # else the new root would show in itself
    linux.pivot_root(root)
    linux.mount(None, "/", None, linux.REMOUNT | linux.BIND | linux.RDONLY | own)


def bind(source: str, target: str, read_only: bool = False, deep: bool = True) -> None:
    """Show a file or folder at another place; deep: with what is mounted below it."""
    if os.path.islink(source):  # /lib -> usr/lib; an interpreter in a virtual environment
        if not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "ab"):
            pass
    linux.mount(source, target, None, linux.BIND | (linux.REC if deep else 0))
    if read_only:
        # A remount must keep the flags that the source's mount has, or the kernel refuses it.
        flags = linux.REMOUNT | linux.BIND | linux.RDONLY | linux.NOSUID | _kept_flags(target)
        linux.mount(None, target, None, flags)


def _kept_flags(path: str) -> int:
    found = os.statvfs(path).f_flag
    pairs = {
        os.ST_NOSUID: linux.NOSUID,
        os.ST_NODEV: linux.NODEV,
        os.ST_NOEXEC: linux.NOEXEC,
        os.ST_NOATIME: linux.NOATIME,
        os.ST_NODIRATIME: linux.NODIRATIME,
        os.ST_RELATIME: linux.RELATIME,
    }
    return sum(flag for bit, flag in pairs.items() if found & bit)


def _loopback_up() -> None:
    """A notebook's kernel talks to its front end over the loopback interface."""
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(probe, get_flags, request))[1]
        fcntl.ioctl(probe, set_flags, struct.pack("16sH14s", b"lo", flags | up, b""))


def _give(folder: str, user: int) -> None:
    for parent, folders, names in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in folders + names)):
            os.chown(path, user, user, follow_symlinks=False)
