"""The system calls that make a box on Linux, which Python's library does not have."""

from __future__ import annotations

import ctypes
import os
import struct

NEW_NS, NEW_CGROUP, NEW_UTS, NEW_IPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEW_USER, NEW_PID, NEW_NET = 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
NOATIME, NODIRATIME, BIND, REC, PRIVATE, RELATIME = 1024, 2048, 4096, 16384, 1 << 18, 1 << 21
PDEATHSIG, DUMPABLE, CHILD_SUBREAPER, NO_NEW_PRIVS, _SECCOMP = 1, 4, 36, 38, 22
_DETACH = 2
_CAPABILITIES = 0x20080522  # the third version of capset(2)
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

#: What no notebook asks of the kernel, by machine: memory that belongs to no process, further
#: namespaces and mounts, keyrings, other processes' memory, and rarely tried parts of the kernel.
_REFUSED = {
    "x86_64": {
        **{"memfd_create": 319, "shmget": 29, "shmat": 30, "msgget": 68, "semget": 64},
        **{"mq_open": 240, "unshare": 272, "setns": 308, "mount": 165, "umount2": 166},
        **{"pivot_root": 155, "chroot": 161, "userfaultfd": 323, "bpf": 321, "ptrace": 101},
        **{"perf_event_open": 298, "add_key": 248, "request_key": 249, "keyctl": 250},
        **{"process_vm_readv": 310, "process_vm_writev": 311, "kexec_load": 246, "kcmp": 312},
        **{"init_module": 175, "finit_module": 313, "delete_module": 176, "quotactl": 179},
        **{"open_by_handle_at": 304, "name_to_handle_at": 303, "fanotify_init": 300},
        **{"swapon": 167, "reboot": 169},
    },
    "aarch64": {
        **{"memfd_create": 279, "shmget": 194, "shmat": 196, "msgget": 186, "semget": 190},
        **{"mq_open": 180, "unshare": 97, "setns": 268, "mount": 40, "umount2": 39},
        **{"pivot_root": 41, "chroot": 51, "userfaultfd": 282, "bpf": 280, "ptrace": 117},
        **{"perf_event_open": 241, "add_key": 217, "request_key": 218, "keyctl": 219},
        **{"process_vm_readv": 270, "process_vm_writev": 271, "kexec_load": 104, "kcmp": 272},
        **{"init_module": 105, "finit_module": 273, "delete_module": 106, "quotactl": 60},
        **{"open_by_handle_at": 265, "name_to_handle_at": 264, "fanotify_init": 262},
        **{"swapon": 224, "reboot": 142},
    },
}
#: The same numbers on every machine. glibc takes `clone` where there is no `clone3`, whose flags
#: a filter cannot read.
_REFUSED_EVERYWHERE = {
    **{"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428},
    **{"move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
    **{"clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442, "memfd_secret": 447},
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # from here on x86's other table of system calls
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments) -> None:
    """Call a function of the C library.

    Raises:
        OSError: it returns anything but 0.
    """
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


def mount(source, target, kind, flags, options=None) -> None:
    """mount(2), the strings as str or None."""
    encoded = [None if v is None else v.encode() for v in (source, target, kind, options)]
    source, target, kind, options = encoded
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)


def unmount(target: str) -> None:
    """umount2(2), at once; what still uses it goes on."""
    call("umount2", target.encode(), _DETACH)


def enter(flags: int) -> None:
    """Enter new namespaces; those of mounts pass nothing on. With a user's rights where need be.

    Raises:
        OSError: the kernel does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    call("unshare", flags | (NEW_USER if user else 0))
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as stream:
                stream.write(text)
    mount(None, "/", None, REC | PRIVATE)


def give_up_capabilities() -> None:
    """Have no capability in any namespace from here on."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITIES, 0))
    call("capset", header, ctypes.create_string_buffer(24))


def pivot_root(root: str) -> None:
    """Make a mounted folder the root; what was there before is gone."""
    old = f"{root}/old"
    os.mkdir(old)
    call("syscall", _PIVOT_ROOT[os.uname().machine], root.encode(), old.encode())
    os.chdir("/")
    unmount("/old")
    os.rmdir("/old")


def refuse_system_calls() -> None:
    """Let this process and all that it starts do without what no notebook asks of the kernel.

    Needs `NO_NEW_PRIVS`. A refused call ends with ENOSYS, as on a kernel that does not have it;
    `clone` with new namespaces with EPERM; calls of another machine's tables end the process.
    """
    machine = os.uname().machine
    refused = sorted({**_REFUSED[machine], **_REFUSED_EVERYWHERE}.values())
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    namespaces = NEW_NS | NEW_CGROUP | NEW_UTS | NEW_IPC | NEW_USER | NEW_PID | NEW_NET
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, _ARCHITECTURE[machine]),
        (answer, 0, 0, _KILL),
        (load, 0, 0, 0),
        (at_least, 0, 1, _X32),
        (answer, 0, 0, _KILL),
    ]
    for number in refused:
        program += [(equal, 0, 1, number), (answer, 0, 0, _ERROR | _ENOSYS)]
    program += [
        (equal, 0, 3, _CLONE[machine]),
        (load, 0, 0, 16),  # the low half of the first argument
        (any_bit, 0, 1, namespaces),
        (answer, 0, 0, _ERROR | _EPERM),
        (answer, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    call("prctl", _SECCOMP, 2, ctypes.create_string_buffer(header, len(header)), 0, 0)
