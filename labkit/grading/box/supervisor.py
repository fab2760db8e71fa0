"""Watches one execution and kills all of it at a limit; run by `labkit.grading.box.sandbox`.

It reads a specification, one line of JSON, from its standard input and prints how the execution
ended as JSON. If its standard input ends first, the grader is gone and the execution is killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

_POLL = 0.05  # seconds
_KEPT = 20_000  # bytes of output
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run and watch what the first line of standard input says; print how it ended."""
    spec = json.loads(sys.stdin.readline())
    if sys.platform.startswith("linux"):
        # What a submission leaves in the background becomes our child, wherever it hides.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    gone = threading.Event()
    threading.Thread(target=_watch_grader, args=(gone,), daemon=True).start()
    json.dump(_run(spec, gone), sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the thread still reads the standard input


def _watch_grader(gone: threading.Event) -> None:
    sys.stdin.read()
    gone.set()


def _run(spec: dict, gone: threading.Event) -> dict:
    limits = spec["limits"]
    started = time.monotonic()
    process = subprocess.Popen(
        spec["command"],
        cwd=spec["folder"],
        env=spec["environment"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **_at_start(spec),
    )
    output = bytearray()
    reader = threading.Thread(target=_drain, args=(process.stdout, output), daemon=True)
    reader.start()
    with contextlib.suppress(OSError):
        process.stdin.write(bytes.fromhex(spec["input"]))
        process.stdin.close()
    watch = _Watch(process.pid, spec["folder"], limits, started)
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
            if os.name == ("posix")
            else None
        )
    return {
        "status": status or "ended",
        "code": code,
        "seconds": round(time.monotonic() - started, 3),
        "cpu_seconds": round(watch.cpu, 3),
        "peak_mb": round(watch.peak / 1e6, 1),
        "output": bytes(output).decode("utf-8", "replace"),
    }


def _at_start(spec: dict) -> dict:
    """How to start the process: in a session of its own, under the kernel's resource limits."""
    if os.name != "posix":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    import resource

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
        # Threads count, and so does whatever else this user runs.
        own["RLIMIT_NPROC"] = 8 * limits["processes"] + _tasks_of_user()

    def limit() -> None:
        os.setsid()
        for name, value in own.items():
            kind = getattr(resource, name, None)
            if kind is None:
                continue
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            with contextlib.suppress(ValueError, OSError):
                resource.setrlimit(kind, (value, value))

    return {"preexec_fn": limit}


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

    def __init__(self, pid: int, folder: str, limits: dict, started: float):
        self.folder, self.limits, self.started = folder, limits, started
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
        memory = 0
        for process in tree:
            with contextlib.suppress(psutil.Error), process.oneshot():
                memory += process.memory_info().rss
                times = process.cpu_times()
                self._cpu_of[process.pid, process.create_time()] = times.user + times.system
        self.cpu = sum(self._cpu_of.values())
        self.peak = max(self.peak, memory)
        if memory > limits["memory_mb"] * 1e6:
            return "memory"
        if self.cpu > limits["cpu_seconds"]:
            return "cpu"
        if now >= self._next_disk:
            used = _disk(self.folder, limits["disk_mb"] * 1e6)
            # Walking a large folder must not take the time of the watch.
            self._next_disk = now + max(0.2, 10 * (time.monotonic() - now))
            if used > limits["disk_mb"] * 1e6:
                return "disk"
        return None


def _disk(folder: str, enough: float) -> float:
    total, waiting = 0.0, [folder]
    while waiting and total <= enough:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    total += 4096  # even an empty file takes a place
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        with contextlib.suppress(OSError):
                            status = entry.stat(follow_symlinks=False)
                            total += getattr(status, "st_blocks", status.st_size // 512) * 512
        except OSError:
            continue
    return total


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
