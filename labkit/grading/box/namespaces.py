"""Enters Linux namespaces of its own and starts a command there. Run by `box.sandbox`.

The command sees the folders that it may read (read-only), the one that it may write, a few devices,
its own processes and a loopback interface; it has no capability and no user's rights but those of
`nobody` (or of the grader's user, where that is not root).

What bubblewrap does (https://github.com/containers/bubblewrap), for machines that lack it.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys

_NEW_NS, _NEW_UTS, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_PID, _NEW_NET = 0x10000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT = 1, 2, 4, 8, 32
_NOATIME, _NODIRATIME, _BIND, _REC, _PRIVATE, _RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "s390x": 217, "riscv64": 41}
_NOBODY = 65534

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Enter the namespaces and start the command; both are in the first argument, JSON."""
    box = json.loads(sys.argv[1])
    user, group = os.geteuid(), os.getegid()
    flags = _NEW_NS | _NEW_UTS | _NEW_IPC | _NEW_PID | _NEW_NET
    if user:
        _call("unshare", flags | _NEW_USER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
    else:
        _give(box["folder"], _NOBODY)
        _call("unshare", flags)
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    init = os.fork()  # the first process of the new namespace: with it, all others end
    if init:
        _, status = os.waitpid(init, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    _loopback_up()
    _new_root(box["folder"], box["readable"])
    if not user:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.chdir(box["folder"])
    _start_and_reap(box["command"])


def _start_and_reap(command: list[str]) -> None:
    """As the namespace's first process: run the command, collect orphans, end with it."""
    main_process = os.fork()
    if not main_process:
        # Its capabilities in its own namespace end here: it is no root there.
        os.execvpe(command[0], command, os.environ)
    while True:
        pid, status = os.wait()
        if pid == main_process:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _new_root(folder: str, readable: list[str]) -> None:
    _mount(None, "/", None, _REC | _PRIVATE)
    root = os.path.join(folder, "tmp", "root")
    os.mkdir(root)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "mode=0755,size=1m")
    # Before what lies below it: the course itself may be in /tmp.
    _bind(os.path.join(folder, "tmp"), f"{root}/tmp", deep=False)
    for path in readable:
        _bind(path, root + path, read_only=True)
    for device in ("null", "zero", "full", "random", "urandom"):
        _bind(f"/dev/{device}", f"{root}/dev/{device}")
    os.makedirs(f"{root}/dev/shm")
    _mount("tmpfs", f"{root}/dev/shm", "tmpfs", _NOSUID | _NODEV, "mode=1777,size=256m")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    os.makedirs(f"{root}/proc")
    _mount("proc", f"{root}/proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    for name in ("sys", "sysrq-trigger", "irq", "bus"):
        if os.path.exists(f"{root}/proc/{name}"):
            _bind(f"{root}/proc/{name}", f"{root}/proc/{name}", read_only=True)
    _bind(folder, root + folder, deep=False)  # else the new root would show in itself
    old = f"{root}/old"
    os.mkdir(old)
    number = _PIVOT_ROOT[os.uname().machine]
    _call("syscall", number, root.encode(), old.encode())
    os.chdir("/")
    _call("umount2", b"/old", _DETACH)
    os.rmdir("/old")
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)


def _bind(source: str, target: str, read_only: bool = False, deep: bool = True) -> None:
    """Show a file or folder at another place; deep: with what is mounted below it."""
    if os.path.islink(source):  # /lib -> usr/lib; an interpreter in a virtual environment
        if not os.path.lexists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(source), target)
        return
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "ab"):
            pass
    _mount(source, target, None, _BIND | (_REC if deep else 0))
    if read_only:
        # A remount must keep the flags that the source's mount has, or the kernel refuses it.
        _mount(None, target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _kept_flags(target))


def _kept_flags(path: str) -> int:
    found = os.statvfs(path).f_flag
    pairs = {
        os.ST_NOSUID: _NOSUID,
        os.ST_NODEV: _NODEV,
        os.ST_NOEXEC: _NOEXEC,
        os.ST_NOATIME: _NOATIME,
        os.ST_NODIRATIME: _NODIRATIME,
        os.ST_RELATIME: _RELATIME,
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


def _mount(source, target, kind, flags, options=None) -> None:
    encoded = [None if v is None else v.encode() for v in (source, target, kind, options)]
    source, target, kind, options = encoded
    _call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def _write(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


def _call(name: str, *arguments) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


if __name__ == "__main__":
    main()
