"""Watches one execution, kills all of it at a limit, and takes out what was asked for.

Run by `labkit.grading.box.sandbox`, or in a fork of `labkit.grading.box.warm`. It reads a
specification, one line of JSON, from its standard input and prints how the execution ended as JSON.
If its standard input ends first, the grader is gone: the execution is killed, its folders deleted.

Behind the wall of namespaces the folder that an execution writes to is a file system in memory, of
the size that it may fill: it is not the machine's disk, whatever is done to it, and goes with this
process.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import uuid
from functools import partial

import psutil

_POLL = 0.05  # seconds
_KEPT = 20_000  # bytes of output
_PLACE = 4096  # bytes that even an empty file takes
THREADS = 8  # of a process, on average


def main() -> None:
    """Run and watch what the first line of standard input says; print how it ended."""
    spec = json.loads(sys.stdin.readline())
    if sys.platform.startswith("linux"):
        from labkit.grading.box import linux

        # What a submission leaves in the background becomes our child, wherever it hides.
        linux.call("prctl", linux.CHILD_SUBREAPER, 1, 0, 0, 0)
        if _has_own_disk(spec):
            linux.enter(linux.NEW_NS)
            size = spec["limits"]["disk_mb"] * 1_000_000
            options = f"mode=0700,size={size},nr_inodes={size // _PLACE}"
            linux.mount("tmpfs", spec["folder"], "tmpfs", linux.NOSUID | linux.NODEV, options)
    shutil.copytree(spec["given"], spec["folder"], dirs_exist_ok=True)
    ended = _run(spec)
    if ended["status"] == "gone":  # the grader, which would have deleted its folders
        if _has_own_disk(spec):
            linux.unmount(spec["folder"])
        delete(spec["place"])
    else:
        json.dump(ended, sys.stdout)
        sys.stdout.flush()
    os._exit(0)  # the thread still reads the standard input


def _watch_grader(gone: threading.Event) -> None:
    sys.stdin.read()
    gone.set()


def _run(spec: dict) -> dict:
    started = time.monotonic()
    process = _start(spec)
    gone = threading.Event()
    threading.Thread(target=_watch_grader, args=(gone,), daemon=True).start()
    output = bytearray()
    reader = threading.Thread(target=_drain, args=(process.stdout, output), daemon=True)
    reader.start()
    with contextlib.suppress(OSError):
        process.stdin.write(bytes.fromhex(spec["input"]))
        process.stdin.close()
    watch = _Watch(spec, started)
    status = None
    while status is None and process.poll() is None:
        status = "gone" if gone.is_set() else watch.violation()
        if status is None:
            gone.wait(_POLL)
    code = process.poll()
    survived = _kill_all(process)
    reader.join(timeout=2)
    if survived:
        status = "infrastructure"
        output += f"\nprocesses could not be killed: {survived}".encode()
    if code is not None and status is None and code != 0:
        # The kernel's own limits end a process by a signal.
        status = (
            {-signal.SIGXCPU: "cpu", -signal.SIGXFSZ: "disk"}.get(code)
            if os.name == "posix"
            else None
        )
    if status is None and _has_own_disk(spec) and _is_full(spec["folder"]):
        status = "disk"
    _take(spec)
    return {
        "status": status or "ended",
        "code": code,
        "seconds": round(time.monotonic() - started, 3),
        "cpu_seconds": round(watch.cpu, 3),
        "peak_mb": round(watch.peak / 1e6, 1),
        "output": bytes(output).decode("utf-8", "replace"),
    }


def _start(spec: dict) -> subprocess.Popen:
    """Start the execution in a session of its own, under the kernel's resource limits."""
    options = {
        "cwd": spec["folder"],
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
    }
    if spec["backend"] == "namespaces":
        from labkit.grading.box import forks, namespaces

        def enter() -> None:
            _limit(spec)
            namespaces.run(spec["box"], spec["environment"])

        return forks.forked(enter, **options)
    if os.name == "posix":
        options["preexec_fn"] = partial(_limit, spec)
    else:
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP
    return subprocess.Popen(spec["command"], env=spec["environment"], **options)


def _limit(spec: dict) -> None:
    """Enter a session of this process's own, under resource limits."""
    import resource

    os.setsid()
    limits = spec["limits"]
    own = {
        "RLIMIT_CPU": int(limits["cpu_seconds"]) + 5,
        "RLIMIT_FSIZE": limits["file_mb"] * 1_000_000,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 1024,
    }
    if spec["backend"] != "container":
        # Of private memory: TensorFlow reserves far more addresses than it uses. The watch comes
        # first; this holds back a process that grows between two of its looks.
        own["RLIMIT_DATA"] = int(1.5 * limits["memory_mb"]) * 1_000_000
    if spec["backend"] == "limits":
        # Threads count, and so does whatever else this user runs.
        own["RLIMIT_NPROC"] = THREADS * limits["processes"] + _tasks_of_user()
    for name, value in own.items():
        kind = getattr(resource, name, None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _tasks_of_user() -> int:
    user = os.getuid()
    total = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.uids().real == user:
                total += process.num_threads()
    return total


def _drain(stream, kept: bytearray) -> None:
    """Read whatever is printed, so that no pipe fills up; the beginning and the end are kept."""
    while chunk := stream.read1(65536):
        kept += chunk
        if len(kept) > _KEPT:
            del kept[_KEPT // 4 : len(kept) - 3 * _KEPT // 4]


class _Watch:
    """Measures the tree of processes against the limits."""

    def __init__(self, spec: dict, started: float):
        self.folder, self.limits, self.started = spec["folder"], spec["limits"], started
        self.own_disk = _has_own_disk(spec)
        self.cpu = self.peak = 0.0
        self._cpu_of: dict[tuple[int, float], float] = {}
        self._next_disk = 0.0
        self._own = psutil.Process()

    def violation(self) -> str | None:
        limits, now = self.limits, time.monotonic()
        if now - self.started > limits["seconds"]:
            return "timeout"
        tree = _children(self._own)
        if len(tree) > limits["processes"]:
            return "processes"
        memory = threads = 0
        for process in tree:
            with contextlib.suppress(psutil.Error), process.oneshot():
                memory += process.memory_info().rss
                threads += process.num_threads()
                times = process.cpu_times()
                self._cpu_of[process.pid, process.create_time()] = times.user + times.system
        self.cpu = sum(self._cpu_of.values())
        if memory > limits["memory_mb"] * 1e6:
            memory = sum(map(_memory, tree))
        self.peak = max(self.peak, memory)
        if memory > limits["memory_mb"] * 1e6:
            return "memory"
        if self.cpu > limits["cpu_seconds"]:
            return "cpu"
        if threads > THREADS * limits["processes"]:
            return "processes"
        if now >= self._next_disk:
            full = _is_full(self.folder) if self.own_disk else self._is_too_large()
            # Walking a large folder must not take the time of the watch.
            self._next_disk = now + max(0.2, 10 * (time.monotonic() - now))
            if full:
                return "disk"
        return None

    def _is_too_large(self) -> bool:
        enough = self.limits["disk_mb"] * 1e6
        return _disk(self.folder, enough) > enough


def _has_own_disk(spec: dict) -> bool:
    """Whether the folder is a file system of the execution's own."""
    return spec["backend"] == "namespaces"


def _is_full(folder: str) -> bool:
    """Whether a file system of one's own has no place for one more file."""
    found = os.statvfs(folder)
    return found.f_bfree * found.f_frsize < _PLACE or not found.f_ffree


def _disk(folder: str, enough: float) -> float:
    total, waiting = 0.0, [folder]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += _PLACE
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            status = entry.stat(follow_symlinks=False)
                            total += getattr(status, "st_blocks", status.st_size // 512) * 512
        except OSError:
            continue
    return total


def _take(spec: dict) -> None:
    """Take the files that were asked for out of the folder, now that every process is gone."""
    for name, largest in spec["take"].items():
        content = _read(spec["folder"], name, largest)
        if content is not None:
            target = os.path.join(spec["taken"], name)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as stream:
                stream.write(content)


def _read(folder: str, name: str, largest: int) -> bytes | None:
    """A regular file of the folder, if no link leads to it and it is not too large."""
    path = folder
    for part in name.split("/"):
        path = os.path.join(path, part)
        if os.path.islink(path):
            return None
    try:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with open(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
                return None
            return stream.read(largest)
    except OSError:
        return None


def delete(folder: str | os.PathLike[str]) -> None:
    """Delete a folder, be it deeper than Python can follow or made unwritable.

    What lies in an inner folder is moved up before that one goes, so that no path grows long. What
    cannot be deleted is left to the system's own cleaning of temporary files.
    """
    name, moved = uuid.uuid4().hex, 0
    with contextlib.suppress(OSError):
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    moved += 1
                    os.rename(inner.path, os.path.join(folder, f"{name}-{moved}"))
                os.rmdir(entry.path)
        os.rmdir(folder)


def _memory(process: psutil.Process) -> int:
    """Bytes of a process, of what forks share its part; 0 if it is gone."""
    with contextlib.suppress(psutil.Error):
        found = process.memory_full_info() if sys.platform == "linux" else process.memory_info()
        return getattr(found, "pss", found.rss)
    return 0


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _kill_all(process: subprocess.Popen, seconds: float = 10) -> list[int]:
    """Kill every descendant, those that appear meanwhile too; returns those that survive."""
    own = psutil.Process()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        tree = [p for p in _children(own) if _alive(p)]
        if not tree:
            break
        if hasattr(signal, "SIGSTOP"):
            for each in tree:  # first none of them may fork on
                with contextlib.suppress(psutil.Error):
                    each.suspend()
        for each in tree:
            with contextlib.suppress(psutil.Error):
                each.kill()
        _reap(process)
        time.sleep(0.01)
    _reap(process)
    return [p.pid for p in _children(own) if _alive(p)]


def _alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _reap(process: subprocess.Popen) -> None:
    process.poll()
    if os.name == "posix":
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    main()
